"""Tetrahedra of nearly equal edges: the bricks of polytetrahedral packing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medrange.aet.atoms.model import AtomicModel, atom_indices
from medrange.aet.atoms.neighbors import with_images
from medrange.aet.atoms.saving import save_result
from medrange.aet.atoms.simplices import part_of, shared_faces, tetrahedron_measures
from medrange.aet.atoms.triangulation import delaunay, tessellated_model

if TYPE_CHECKING:
    import pandas as pd

#: Atoms of a tetrahedron that must be amorphous for it to count as amorphous, of four.
AMORPHOUS_ATOMS = 3


@dataclass(frozen=True, eq=False, repr=False)
class Triangulation:
    """Delaunay tetrahedra inside the alpha shape, before the limits on shape.

    Attributes
    ----------
    simplices : numpy.ndarray
        Shape (n, 4), int32, atom indices.
    neighbors : numpy.ndarray
        Shape (n, 4), int32: the tetrahedron across the face opposite to each atom; -1 for none.
    longest_edge, mean_edge : numpy.ndarray
        Shape (n,), angstrom.
    n_delaunay : int or None
        Tetrahedra before the alpha shape; None in a periodic box, where the hull of the images would count.
    """

    simplices: np.ndarray
    neighbors: np.ndarray
    longest_edge: np.ndarray
    mean_edge: np.ndarray
    n_delaunay: int | None

    def __repr__(self) -> str:
        return f"<Triangulation, {len(self.simplices)} tetrahedra in the alpha shape>"


@dataclass(frozen=True, eq=False, repr=False)
class Tetrahedra:
    """Accepted tetrahedra of a model.

    Attributes
    ----------
    vertices : numpy.ndarray
        Shape (n, 4), int32, atom indices.
    neighbors : numpy.ndarray
        Shape (n, 4), int32: the accepted tetrahedron across the face opposite to each atom; -1 for none.
    distortion : numpy.ndarray
        Shape (n,): longest over mean edge, less one; 0 for a regular tetrahedron.
    longest_edge : numpy.ndarray
        Shape (n,), angstrom.
    delta, max_edge, alpha_radius : float
        The limits: distortion, edge (angstrom), circumradius (angstrom).
    model : AtomicModel
        The atoms.
    triangulation : Triangulation
        What was chosen from.
    """

    vertices: np.ndarray
    neighbors: np.ndarray
    distortion: np.ndarray
    longest_edge: np.ndarray
    delta: float
    max_edge: float
    alpha_radius: float
    model: AtomicModel
    triangulation: Triangulation

    def __len__(self) -> int:
        """Count of tetrahedra."""
        return len(self.vertices)

    @cached_property
    def face_pairs(self) -> np.ndarray:
        """Pairs (i, j), i < j, of tetrahedra with three common atoms, sorted; shape (pairs, 2), int32."""
        return shared_faces(self.neighbors)

    @cached_property
    def in_tetrahedra(self) -> np.ndarray:
        """Mask of the atoms that are a corner of any tetrahedron; shape (N,)."""
        mask = np.zeros(len(self.model), bool)
        mask[self.vertices] = True
        return mask

    def with_delta(self, delta: float, *, max_edge: float | None = None) -> Tetrahedra:
        """Tetrahedra of the same triangulation under another limit.

        Parameters
        ----------
        delta : float
            Largest distortion, 0 or more.
        max_edge : float, optional
            Longest edge, angstrom; by default unchanged.

        Returns
        -------
        Tetrahedra
            The new choice; the triangulation is not made again.

        Raises
        ------
        ValueError
            If a limit is out of range.
        """
        max_edge = self.max_edge if max_edge is None else max_edge
        return _accepted(self.model, self.triangulation, delta, max_edge, self.alpha_radius)

    def amorphous(self, atoms: np.ndarray) -> np.ndarray:
        """Mask of tetrahedra with at least three amorphous atoms.

        Parameters
        ----------
        atoms : numpy.ndarray
            Amorphous atoms: boolean mask of shape (N,), or indices.

        Returns
        -------
        numpy.ndarray
            Shape (n,), bool.

        Raises
        ------
        ValueError
            If the selection does not fit the model.
        """
        mask = np.zeros(len(self.model), bool)
        mask[atom_indices(atoms, len(self.model))] = True
        return mask[self.vertices].sum(axis=1) >= AMORPHOUS_ATOMS

    @property
    def table(self) -> pd.DataFrame:
        """One row per tetrahedron: atoms a, b, c, d, distortion, longest_edge, shared_faces."""
        import pandas as pd

        table = pd.DataFrame(self.vertices, columns=["a", "b", "c", "d"])
        shared = (self.neighbors >= 0).sum(axis=1)
        return table.assign(distortion=self.distortion, longest_edge=self.longest_edge, shared_faces=shared)

    @property
    def parameters(self) -> dict[str, float]:
        """The limits by name."""
        return {"delta": self.delta, "max_edge": self.max_edge, "alpha_radius": self.alpha_radius}

    def save(self, path: str | PathLike) -> Path:
        """Write the tetrahedra as .npz or .csv, or the atoms with ``in_tetrahedra`` as .xyz or .extxyz.

        Parameters
        ----------
        path : path
            The suffix says which; see :func:`~medrange.aet.atoms.saving.save_result`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        arrays = {"positions": self.model.positions, "vertices": self.vertices, "face_pairs": self.face_pairs}
        return save_result(
            path,
            table=self.table,
            atoms=self.model.to_ase(in_tetrahedra=self.in_tetrahedra),
            arrays={**arrays, "distortion": self.distortion},
            parameters=self.parameters,
        )

    def __repr__(self) -> str:
        text = f"<Tetrahedra, {len(self)} of {len(self.triangulation.simplices)} in the alpha shape"
        text += f" with delta <= {self.delta:g} and edges <= {self.max_edge:g} Å"
        return f"{text}, {len(self.face_pairs)} shared faces, {self.in_tetrahedra.mean():.1%} of the atoms>"


def tetrahedra(
    atoms: AtomicModel | np.ndarray | Any,
    delta: float = 0.255,
    *,
    max_edge: float | None = None,
    alpha_radius: float = 4.0,
) -> Tetrahedra:
    """Tetrahedra of nearly equal edges among the Delaunay tetrahedra of a model.

    Kept are tetrahedra inside the alpha shape, that is with a circumradius below ``alpha_radius``
    ([Edelsbrunner1994]_); of these, accepted are those with ``e_max <= (1 + delta) e_mean`` and
    ``e_max <= max_edge``, with the longest and the mean of the six edges, [Yuan2022]_ in references.bib.

    Parameters
    ----------
    atoms : ase.Atoms, path, AtomicModel or array
        Positions in angstrom. Periodic directions of the box are followed.
    delta : float
        Largest distortion, 0 or more.
    max_edge : float
        Longest edge, angstrom: the first valley of g(r), ``pair_distribution(atoms).first_valley``. It decides
        about every later figure, so that there is no default.
    alpha_radius : float
        Radius of the alpha shape, angstrom.

    Returns
    -------
    Tetrahedra
        Accepted tetrahedra and their neighbors across faces; ``with_delta`` asks again under another limit.

    Raises
    ------
    ValueError
        If max_edge is missing, a limit is out of range, the model is refused
        (:func:`~medrange.aet.atoms.model.as_model`), all atoms lie in one plane, or a periodic box is lower
        than four alpha radii.

    Examples
    --------
    >>> ring = [[2.5 * np.cos(0.4 * np.pi * k), 2.5 * np.sin(0.4 * np.pi * k), 0] for k in range(5)]
    >>> tetrahedra(np.array([[0, 0, 1.5], [0, 0, -1.5], *ring]), max_edge=3.5)
    <Tetrahedra, 5 of 5 in the alpha shape with delta <= 0.255 and edges <= 3.5 Å, 5 shared faces, 100.0% ...
    """
    if max_edge is None:
        msg = "max_edge in angstrom is needed: use pair_distribution(atoms).first_valley."
        raise ValueError(msg)
    _check_limits(delta, max_edge, alpha_radius)
    model = tessellated_model(atoms)
    found = _periodic(model, alpha_radius) if model.pbc.any() else _open(model, alpha_radius)
    return _accepted(model, found, delta, max_edge, alpha_radius)


def _check_limits(delta: float, max_edge: float, alpha_radius: float) -> None:
    if not 0 <= delta < np.inf:
        msg = f"delta is {delta!r}; it must be 0 or more, usual is 0.255."
        raise ValueError(msg)
    for name, value in (("max_edge", max_edge), ("alpha_radius", alpha_radius)):
        if not 0 < value < np.inf:
            msg = f"{name} is {value!r} Å; it must be a positive length."
            raise ValueError(msg)


def _accepted(
    model: AtomicModel, found: Triangulation, delta: float, max_edge: float, alpha_radius: float
) -> Tetrahedra:
    _check_limits(delta, max_edge, alpha_radius)
    chosen = (found.longest_edge <= (1 + delta) * found.mean_edge) & (found.longest_edge <= max_edge)
    kept = np.flatnonzero(chosen)
    vertices, neighbors = part_of(found.simplices, found.neighbors, kept)
    return Tetrahedra(
        vertices=vertices,
        neighbors=neighbors,
        distortion=found.longest_edge[kept] / found.mean_edge[kept] - 1,
        longest_edge=found.longest_edge[kept],
        delta=float(delta),
        max_edge=float(max_edge),
        alpha_radius=float(alpha_radius),
        model=model,
        triangulation=found,
    )


def _open(model: AtomicModel, alpha_radius: float) -> Triangulation:
    found = delaunay(model.positions)
    measures = tetrahedron_measures(model.positions, found.simplices)
    kept = np.flatnonzero(measures[:, 0] < alpha_radius)
    simplices, neighbors = part_of(found.simplices, found.neighbors, kept)
    return Triangulation(simplices, neighbors, measures[kept, 1], measures[kept, 2], len(found.simplices))


def _periodic(model: AtomicModel, alpha_radius: float) -> Triangulation:
    """Tetrahedra of a box with images: of those that are shifted copies of each other, one is kept.

    The sphere through a tetrahedron of the alpha shape reaches 2 alpha from any of its atoms, so that with
    images within 4 alpha the tetrahedra at the box and their neighbors are final. An edge is shorter than 2 alpha;
    in a box of 4 alpha the four atoms then name the tetrahedron.
    """
    heights = 1 / np.linalg.norm(np.linalg.inv(model.cell), axis=0)
    low = float(heights[model.pbc].min())
    if low < 4 * alpha_radius:
        msg = (
            f"the periodic box is {low:.3g} Å high, less than four alpha radii ({4 * alpha_radius:g} Å): a motif "
            "could touch its own image. Repeat the box, for example with atoms.repeat(2)."
        )
        raise ValueError(msg)
    positions, owners = with_images(model, 4 * alpha_radius)
    found = delaunay(positions)
    measures = tetrahedron_measures(positions, found.simplices)
    kept = np.flatnonzero(measures[:, 0] < alpha_radius)
    simplices, neighbors = part_of(found.simplices, found.neighbors, kept)
    names = owners[simplices].astype(np.int32)
    # Of the copies, the one whose first atom lies in the box.
    first = np.take_along_axis(simplices, names.argmin(axis=1)[:, None], axis=1)[:, 0]
    chosen = np.flatnonzero(first < len(model))
    order = np.concatenate([chosen, np.flatnonzero(first >= len(model))])
    _, where, copies = np.unique(np.sort(names[order], axis=1), axis=0, return_index=True, return_inverse=True)
    # Number of a copy, by the place of the chosen one; -1 where none was chosen, which only ties of a crystal do.
    number = np.empty(len(order), np.int32)
    number[order] = np.where(where < len(chosen), where, -1)[copies.reshape(-1)]
    unique = chosen[np.unique(number[chosen])]
    place = np.full(len(order) + 1, -1, np.int32)
    place[np.unique(number[chosen])] = np.arange(len(unique))
    own = np.append(number, -1)[neighbors[unique]]
    return Triangulation(names[unique], place[own], measures[kept[unique], 1], measures[kept[unique], 2], None)
