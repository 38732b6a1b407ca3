"""Networks of bipyramids that share edges: medium-range order of polytetrahedral packing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medrange.aet.atoms.bipyramid_shape import incenters
from medrange.aet.atoms.motif_search import MOTIF_NAMES, Motifs
from medrange.aet.atoms.network_length import displacements, largest_distance, unfolded
from medrange.aet.atoms.network_mesh import network_mesh
from medrange.aet.atoms.saving import save_result
from medrange.aet.atoms.sharing import EDGE_SHARING, common_tetrahedra

if TYPE_CHECKING:
    import ase
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class MotifNetworks:
    """Networks of edge-sharing bipyramids, the largest first.

    Attributes
    ----------
    sizes : numpy.ndarray
        Shape (n,), int64: bipyramids of each network.
    atom_counts : numpy.ndarray
        Shape (n,), int64: different atoms of each network.
    lengths : numpy.ndarray
        Shape (n,), angstrom: largest distance of two atoms of the network; inf where a network hangs together
        with its own periodic image.
    members : tuple of numpy.ndarray
        Per network, the indices of its bipyramids among those of this fold, sorted.
    fold, min_size : int
        Tetrahedra of a bipyramid; least bipyramids of a network.
    motifs : Motifs
        The motifs.
    """

    sizes: np.ndarray
    atom_counts: np.ndarray
    lengths: np.ndarray
    members: tuple[np.ndarray, ...]
    fold: int
    min_size: int
    motifs: Motifs

    def __len__(self) -> int:
        """Count of networks."""
        return len(self.sizes)

    def atom_indices(self, network: int) -> np.ndarray:
        """Atoms of a network, sorted.

        Parameters
        ----------
        network : int
            Index of the network; 0 is the largest.

        Returns
        -------
        numpy.ndarray
            Atom indices.

        Raises
        ------
        IndexError
            If there is no such network.
        """
        return np.unique(self.motifs.atoms(self.fold)[self.members[network]])

    def corners(self, network: int) -> np.ndarray:
        """Positions of the atoms of a network's bipyramids, put together across periodic borders.

        Parameters
        ----------
        network : int
            Index of the network; 0 is the largest.

        Returns
        -------
        numpy.ndarray
            Shape (bipyramids, fold + 2, 3), angstrom: caps A and B, then the ring. Of a network that hangs
            together with its own periodic image each bipyramid is in one piece, the network is not.
        """
        model, atoms = self.motifs.model, self.motifs.atoms(self.fold)[self.members[network]]
        if not model.pbc.any():
            return model.positions[atoms]
        whole = unfolded(model, atoms)
        if whole is None:
            return model.positions[atoms[:, :1]] + displacements(model, atoms[:, :1], atoms)
        return whole[np.searchsorted(np.unique(atoms), atoms)]

    def skeletons(self, network: int) -> np.ndarray:
        """Skeletons of a network's bipyramids: the incenters of their tetrahedra, around the axis.

        Parameters
        ----------
        network : int
            Index of the network; 0 is the largest.

        Returns
        -------
        numpy.ndarray
            Shape (bipyramids, fold, 3), angstrom; see :meth:`corners`.
        """
        return incenters(self.corners(network))

    @property
    def labels(self) -> np.ndarray:
        """Network of each bipyramid of this fold, -1 for those in none; shape (bipyramids,)."""
        labels = np.full(len(self.motifs.of_fold(self.fold)), -1)
        for network, members in enumerate(self.members):
            labels[members] = network
        return labels

    @property
    def table(self) -> pd.DataFrame:
        """One row per network: size (bipyramids), atoms, length (angstrom)."""
        import pandas as pd

        return pd.DataFrame({"size": self.sizes, "atoms": self.atom_counts, "length": self.lengths})

    @property
    def atoms(self) -> ase.Atoms:
        """ASE atoms with the column ``network``: the largest network of the atom, -1 in none."""
        network = np.full(len(self.motifs.model), -1)
        for k in reversed(range(len(self))):
            network[self.atom_indices(k)] = k
        return self.motifs.model.to_ase(network=network)

    def save(self, path: str | PathLike) -> Path:
        """Write the table as .csv, sizes and labels as .npz, the atoms as .xyz or .extxyz, or the mesh as .vtp.

        The mesh, for ParaView, is that of :func:`~medrange.aet.atoms.network_mesh.network_mesh`: centers of the
        bipyramids, lines between linked ones and faces, which ``kind`` and ``network`` tell apart.

        Parameters
        ----------
        path : path
            The suffix says which; see :func:`~medrange.aet.atoms.saving.save_result`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        arrays = {name: getattr(self, name) for name in ("sizes", "atom_counts", "lengths", "labels")}
        arrays |= {"bipyramid_atoms": self.motifs.atoms(self.fold), "positions": self.motifs.model.positions}
        parameters = {"fold": self.fold, "min_size": self.min_size, **self.motifs.tetrahedra.parameters}
        contents = {"table": self.table, "atoms": self.atoms, "arrays": arrays, "parameters": parameters}
        return save_result(path, **contents, mesh=partial(network_mesh, self))

    def plot(self, network: int = 0, *, ax: Axes | None = None) -> Axes:
        """Draw one network in three dimensions; see :func:`medrange.plotting.plot_network`."""
        from medrange.plotting.motifs import plot_network

        return plot_network(self, network, ax=ax)

    def __repr__(self) -> str:
        text = f"<MotifNetworks, {len(self)} of at least {self.min_size} {MOTIF_NAMES[self.fold]} bipyramids"
        if not len(self):
            return f"{text}>"
        return f"{text}, largest {self.sizes[0]} of {self.atom_counts[0]} atoms, {self.lengths[0]:.1f} Å long>"


def motif_networks(motifs: Motifs, fold: int = 5, *, min_size: int = 5) -> MotifNetworks:
    """Networks of bipyramids of one kind, linked where two share an edge of their skeletons.

    Two bipyramids are linked if they have exactly two tetrahedra in common; a network is a connected component
    with at least ``min_size`` bipyramids, [Yuan2022]_ in references.bib.

    Parameters
    ----------
    motifs : Motifs
        From :func:`~medrange.aet.atoms.motif_search.motifs`; ``motifs.select`` for the amorphous part.
    fold : int
        Tetrahedra of a bipyramid, 4 .. 8.
    min_size : int
        Least bipyramids of a network, 1 or more.

    Returns
    -------
    MotifNetworks
        The networks, by falling size.

    Raises
    ------
    ValueError
        If the fold is not that of a bipyramid or min_size below 1.

    Examples
    --------
    >>> from ase.cluster import Icosahedron
    >>> from medrange.aet.atoms import motifs, tetrahedra
    >>> motif_networks(motifs(tetrahedra(Icosahedron("Ta", 2, 4.0), max_edge=3.5)))
    <MotifNetworks, 1 of at least 5 pentagonal bipyramids, largest 12 of 13 atoms, 5.7 Å long>
    """
    if min_size < 1:
        msg = f"min_size is {min_size!r}; a network has 1 bipyramid or more, usual is 5."
        raise ValueError(msg)
    pairs, common = common_tetrahedra(motifs, fold)
    links = pairs[common == EDGE_SHARING]
    atoms = motifs.atoms(fold)
    count = len(atoms)
    graph = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(count, count))
    label = connected_components(graph, directed=False)[1] if count else np.zeros(0, int)
    sizes = np.bincount(label)
    # By size, then by the first bipyramid: stable, whatever order the components came in.
    grouped = np.split(np.argsort(label, kind="stable"), np.cumsum(sizes)[:-1]) if count else []
    members = sorted((m for m in grouped if len(m) >= min_size), key=lambda m: (-len(m), m[0]))
    of_network = [np.unique(atoms[rows]) for rows in members]
    return MotifNetworks(
        sizes=np.array([len(rows) for rows in members], dtype=np.int64),
        atom_counts=np.array([len(own) for own in of_network], dtype=np.int64),
        lengths=_lengths(motifs, atoms, members, of_network),
        members=tuple(members),
        fold=fold,
        min_size=int(min_size),
        motifs=motifs,
    )


def _lengths(motifs: Motifs, atoms: np.ndarray, members: list[np.ndarray], of_network: list[np.ndarray]) -> np.ndarray:
    """Largest distance of two atoms per network, angstrom."""
    model = motifs.model
    if not model.pbc.any():
        return np.array([largest_distance(model.positions[own]) for own in of_network], dtype=float)
    return np.array([largest_distance(unfolded(model, atoms[rows])) for rows in members], dtype=float)
