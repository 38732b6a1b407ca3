"""How bipyramids share tetrahedra: vertex and edge sharing of their skeletons, partial icosahedra."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array

from medrange.aet.atoms.motif_search import MOTIF_NAMES, Motifs, check_bipyramid
from medrange.aet.atoms.saving import save_result

if TYPE_CHECKING:
    import ase
    import pandas as pd
    from matplotlib.axes import Axes

#: Common tetrahedra of two bipyramids: one is a common vertex of the skeletons, two are a common edge.
VERTEX_SHARING, EDGE_SHARING = 1, 2
#: Pentagonal bipyramids around an atom that make an icosahedron.
ICOSAHEDRON = 12


@dataclass(frozen=True, eq=False, repr=False)
class MotifSharing:
    """Neighbors of each bipyramid by vertex and by edge sharing.

    The skeleton of a bipyramid joins the middles of its tetrahedra to a ring; a common tetrahedron of two
    bipyramids is a common vertex of their skeletons, two common tetrahedra are a common edge.

    Attributes
    ----------
    vertex_neighbors, edge_neighbors : numpy.ndarray
        Shape (n,), int64: bipyramids that share one, and two, tetrahedra with this one.
    vertex_pairs, edge_pairs : numpy.ndarray
        Shape (pairs, 2), int64: bipyramids i < j that do, sorted.
    fold : int
        Tetrahedra of a bipyramid.
    motifs : Motifs
        The motifs.
    """

    vertex_neighbors: np.ndarray
    edge_neighbors: np.ndarray
    vertex_pairs: np.ndarray
    edge_pairs: np.ndarray
    fold: int
    motifs: Motifs

    @property
    def without_vertex_sharing(self) -> float:
        """Share of the bipyramids that have no neighbor by vertex sharing; NaN without bipyramids."""
        return _share(self.vertex_neighbors == 0)

    @property
    def with_edge_sharing(self) -> float:
        """Share of the bipyramids that have a neighbor by edge sharing; NaN without bipyramids."""
        return _share(self.edge_neighbors > 0)

    @property
    def table(self) -> pd.DataFrame:
        """One row per number of neighbors: neighbors, vertex_sharing and edge_sharing (counts of bipyramids)."""
        import pandas as pd

        most = int(max(self.vertex_neighbors.max(initial=0), self.edge_neighbors.max(initial=0))) + 1
        vertex, edge = (np.bincount(n, minlength=most) for n in (self.vertex_neighbors, self.edge_neighbors))
        return pd.DataFrame({"neighbors": np.arange(most), "vertex_sharing": vertex, "edge_sharing": edge})

    def save(self, path: str | PathLike) -> Path:
        """Write the table as .csv, or neighbors and pairs as .npz.

        Parameters
        ----------
        path : path
            The suffix says which; see :func:`~medrange.aet.atoms.saving.save_result`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        names = ("vertex_neighbors", "edge_neighbors", "vertex_pairs", "edge_pairs")
        arrays = {name: getattr(self, name) for name in names}
        parameters = {"fold": self.fold, **self.motifs.tetrahedra.parameters}
        return save_result(path, table=self.table, arrays=arrays, parameters=parameters)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw numbers of neighbors; see :func:`medrange.plotting.plot_sharing`."""
        from medrange.plotting.motifs import plot_sharing

        return plot_sharing(self, ax=ax)

    def __repr__(self) -> str:
        text = f"<MotifSharing, {len(self.edge_neighbors)} {MOTIF_NAMES[self.fold]} bipyramids"
        text += f", {self.without_vertex_sharing:.1%} without vertex sharing"
        return f"{text}, {self.with_edge_sharing:.1%} with edge sharing>"


@dataclass(frozen=True, eq=False, repr=False)
class PartialIcosahedra:
    """Bipyramids around each atom: twelve pentagonal ones are an icosahedron.

    Attributes
    ----------
    n : numpy.ndarray
        Shape (N,), int64: bipyramids that have the atom as a cap.
    counts : numpy.ndarray
        Shape (longest + 1,): ``counts[k]`` atoms are the cap of k bipyramids, from ``counts[2]``; ``counts[1]`` is
        the number of bipyramids with a cap of no other one, so that a bipyramid with two such caps counts once;
        ``counts[0]`` is 0. At least 13 entries.
    fold : int
        Tetrahedra of a bipyramid.
    motifs : Motifs
        The motifs.
    """

    n: np.ndarray
    counts: np.ndarray
    fold: int
    motifs: Motifs

    @property
    def fractions(self) -> np.ndarray:
        """``counts`` over their sum; NaN without bipyramids."""
        total = self.counts.sum()
        return self.counts / total if total else np.full(len(self.counts), np.nan)

    @property
    def table(self) -> pd.DataFrame:
        """One row per n from 1: n, count, fraction."""
        import pandas as pd

        table = {"n": np.arange(len(self.counts)), "count": self.counts, "fraction": self.fractions}
        return pd.DataFrame(table).iloc[1:].reset_index(drop=True)

    @property
    def atoms(self) -> ase.Atoms:
        """ASE atoms with the column ``bipyramids``, the n of each atom."""
        return self.motifs.model.to_ase(bipyramids=self.n)

    def save(self, path: str | PathLike) -> Path:
        """Write the table as .csv, the numbers as .npz, or the atoms as .xyz or .extxyz.

        Parameters
        ----------
        path : path
            The suffix says which; see :func:`~medrange.aet.atoms.saving.save_result`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        arrays = {"n": self.n, "counts": self.counts}
        parameters = {"fold": self.fold, **self.motifs.tetrahedra.parameters}
        return save_result(path, table=self.table, atoms=self.atoms, arrays=arrays, parameters=parameters)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how many atoms cap how many bipyramids; see :func:`medrange.plotting.plot_partial_icosahedra`."""
        from medrange.plotting.motifs import plot_partial_icosahedra

        return plot_partial_icosahedra(self, ax=ax)

    def __repr__(self) -> str:
        text = f"<PartialIcosahedra, {np.count_nonzero(self.n)} atoms are a cap of {MOTIF_NAMES[self.fold]}"
        return f"{text} bipyramids, at most of {self.n.max(initial=0)}>"


def motif_sharing(motifs: Motifs, fold: int = 5) -> MotifSharing:
    """Vertex and edge sharing among bipyramids of one kind, [Yuan2022]_ in references.bib.

    Parameters
    ----------
    motifs : Motifs
        From :func:`~medrange.aet.atoms.motif_search.motifs`; ``motifs.select`` for the amorphous part.
    fold : int
        Tetrahedra of a bipyramid, 4 .. 8.

    Returns
    -------
    MotifSharing
        Neighbors of each bipyramid.

    Raises
    ------
    ValueError
        If the fold is not that of a bipyramid.

    Examples
    --------
    >>> from ase.cluster import Icosahedron
    >>> from medrange.aet.atoms import motifs, tetrahedra
    >>> sharing = motif_sharing(motifs(tetrahedra(Icosahedron("Ta", 2, 4.0), max_edge=3.5)))
    >>> sharing.edge_neighbors
    array([5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5])
    """
    pairs, common = common_tetrahedra(motifs, fold)
    count = len(motifs.of_fold(fold))
    vertex, edge = pairs[common == VERTEX_SHARING], pairs[common == EDGE_SHARING]
    return MotifSharing(
        vertex_neighbors=np.bincount(vertex.ravel(), minlength=count),
        edge_neighbors=np.bincount(edge.ravel(), minlength=count),
        vertex_pairs=vertex,
        edge_pairs=edge,
        fold=fold,
        motifs=motifs,
    )


def partial_icosahedra(motifs: Motifs, fold: int = 5) -> PartialIcosahedra:
    """Number of bipyramids around each atom, [Yuan2022]_ in references.bib.

    Parameters
    ----------
    motifs : Motifs
        From :func:`~medrange.aet.atoms.motif_search.motifs`; ``motifs.select`` for the amorphous part.
    fold : int
        Tetrahedra of a bipyramid, 4 .. 8.

    Returns
    -------
    PartialIcosahedra
        n of each atom, and how frequent each n is.

    Raises
    ------
    ValueError
        If the fold is not that of a bipyramid.

    Examples
    --------
    >>> from ase.cluster import Icosahedron
    >>> from medrange.aet.atoms import motifs, tetrahedra
    >>> partial_icosahedra(motifs(tetrahedra(Icosahedron("Ta", 2, 4.0), max_edge=3.5))).n
    array([12,  1,  1,  1,  1,  1,  1,  1,  1,  1,  1,  1,  1])
    """
    check_bipyramid(fold)
    caps = motifs.caps[fold]
    n = np.bincount(caps.ravel(), minlength=len(motifs.model))
    counts = np.bincount(n, minlength=ICOSAHEDRON + 1)
    counts[0] = 0
    counts[1] = np.count_nonzero((n[caps] == 1).any(axis=1))
    return PartialIcosahedra(n, counts, fold, motifs)


def common_tetrahedra(motifs: Motifs, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of bipyramids with tetrahedra in common.

    Parameters
    ----------
    motifs : Motifs
        The motifs.
    fold : int
        Tetrahedra of a bipyramid, 4 .. 8.

    Returns
    -------
    pairs : numpy.ndarray
        Shape (pairs, 2), int64, i < j, sorted.
    common : numpy.ndarray
        Shape (pairs,): number of common tetrahedra.

    Raises
    ------
    ValueError
        If the fold is not that of a bipyramid.
    """
    check_bipyramid(fold)
    members = motifs.of_fold(fold)
    rows = np.repeat(np.arange(len(members)), fold)
    shape = (len(members), len(motifs.tetrahedra))
    belongs = coo_array((np.ones(members.size, np.int32), (rows, members.ravel())), shape=shape).tocsr()
    both = (belongs @ belongs.T).tocoo()
    upper = both.row < both.col
    pairs = np.stack([both.row[upper], both.col[upper]], axis=1).astype(np.int64)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order], both.data[upper][order]


def _share(mask: np.ndarray) -> float:
    return float(mask.mean()) if len(mask) else np.nan
