"""Voronoi polyhedra: short-range order around each atom by the faces of its cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medrange.aet.atoms.model import AtomicModel, atom_indices
from medrange.aet.atoms.neighbors import with_images
from medrange.aet.atoms.saving import save_result
from medrange.aet.atoms.triangulation import delaunay, tessellated_model
from medrange.aet.atoms.voronoi_cells import regulated_cells

if TYPE_CHECKING:
    import ase
    import pandas as pd
    from matplotlib.axes import Axes

#: <n3, n4, n5, n6> of the icosahedron and its distorted forms, [Yuan2022]_ in references.bib.
DISTORTED_ICOSAHEDRA = ((0, 0, 12, 0), (0, 1, 10, 2), (0, 2, 8, 2), (0, 2, 8, 1))
# Images within so many mean spacings are tried first, and no farther than so many times that.
_FIRST_REACH, _LARGEST_REACH = 3.0, 4.0


@dataclass(frozen=True, eq=False, repr=False)
class VoronoiIndices:
    """Voronoi indices and cells of every atom.

    Attributes
    ----------
    indices : numpy.ndarray
        Shape (N, 4), int32: faces with 3, 4, 5 and 6 edges of the regulated cell; 0 where ``bounded`` is False.
    coordination : numpy.ndarray
        Shape (N,), int32: all faces of the regulated cell, those with more than 6 edges included.
    volumes : numpy.ndarray
        Shape (N,), cubic angstrom: the cell before regulation; NaN where it is open.
    longest_edge : numpy.ndarray
        Shape (N,), angstrom, of the regulated cell; NaN where it is open. Long edges mark surface atoms.
    distortion : numpy.ndarray
        Shape (N,): largest ``e_max/e_mean - 1`` among the tetrahedra of the atom and three of its neighbors that
        meet in a corner of the regulated cell; NaN where it is open.
    bounded : numpy.ndarray
        Shape (N,), bool: the cell is closed before and after regulation. Atoms at the surface have open cells.
    counted : numpy.ndarray
        Shape (N,), bool: the atoms of the statistics, those bounded unless :meth:`select` leaves some out.
    neighbors : numpy.ndarray
        Shape (P, 2), int64: atom and a neighbor with a face of the regulated cell. Not symmetric: a face may be
        small for one atom and not for the other.
    model : AtomicModel
        The atoms.
    parameters : dict
        ``min_area_fraction`` and ``min_edge`` (angstrom).
    """

    indices: np.ndarray
    coordination: np.ndarray
    volumes: np.ndarray
    longest_edge: np.ndarray
    distortion: np.ndarray
    bounded: np.ndarray
    counted: np.ndarray
    neighbors: np.ndarray
    model: AtomicModel
    parameters: dict[str, float]

    def select(self, selection: np.ndarray) -> VoronoiIndices:
        """The same cells with statistics over a part of the atoms, for example the amorphous ones.

        Parameters
        ----------
        selection : numpy.ndarray
            Boolean mask of shape (N,), or atom indices. Open cells stay out.

        Returns
        -------
        VoronoiIndices
            Only ``counted`` differs.

        Raises
        ------
        ValueError
            If the selection does not fit the model.

        Examples
        --------
        >>> from ase.build import bulk
        >>> cells = voronoi_index(bulk("Cu", cubic=True).repeat(2))
        >>> int(cells.select([0, 5]).counted.sum())
        2
        """
        chosen = np.zeros(len(self.model), bool)
        chosen[atom_indices(selection, len(self.model))] = True
        return replace(self, counted=self.bounded & chosen)

    @property
    def mean_coordination(self) -> float:
        """Mean coordination number of the counted atoms; NaN without any."""
        return float(self.coordination[self.counted].mean()) if self.counted.any() else np.nan

    @property
    def face_fractions(self) -> np.ndarray:
        """Shares of faces with 3, 4, 5, 6 edges among these four kinds, over the counted atoms; shape (4,)."""
        totals = self.indices[self.counted].sum(axis=0)
        return totals / totals.sum() if totals.any() else np.full(4, np.nan)

    @property
    def icosahedral(self) -> np.ndarray:
        """Mask of atoms with <0,0,12,0>, <0,1,10,2>, <0,2,8,2> or <0,2,8,1>; shape (N,)."""
        matches = [(self.indices == index).all(axis=1) for index in DISTORTED_ICOSAHEDRA]
        return np.any(matches, axis=0) & self.bounded

    @property
    def icosahedra_fraction(self) -> float:
        """Share of distorted icosahedra among the counted atoms; NaN without any."""
        return float(self.icosahedral[self.counted].mean()) if self.counted.any() else np.nan

    @property
    def populations(self) -> pd.DataFrame:
        """One row per index, most frequent first: n3, n4, n5, n6, count, fraction of the counted atoms."""
        import pandas as pd

        kinds, counts = np.unique(self.indices[self.counted], axis=0, return_counts=True)
        order = np.lexsort((*kinds.T[::-1], -counts))
        table = pd.DataFrame(kinds[order], columns=["n3", "n4", "n5", "n6"])
        return table.assign(count=counts[order], fraction=counts[order] / max(1, counts.sum()))

    @property
    def table(self) -> pd.DataFrame:
        """One row per atom: n3 .. n6, coordination, volume, longest_edge, distortion, bounded, counted."""
        import pandas as pd

        return pd.DataFrame(self._columns())

    @property
    def atoms(self) -> ase.Atoms:
        """ASE atoms with the columns of the table."""
        return self.model.to_ase(**self._columns())

    def save(self, path: str | PathLike) -> Path:
        """Write the cells as .npz, .csv, .xyz or .extxyz.

        Parameters
        ----------
        path : path
            The suffix says which; see :func:`~medrange.aet.atoms.saving.save_result`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        arrays = {"positions": self.model.positions, **self._columns(), "neighbors": self.neighbors}
        return save_result(path, table=self.table, atoms=self.atoms, arrays=arrays, parameters=self.parameters)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the most frequent indices; see :func:`medrange.plotting.plot_voronoi_populations`."""
        from medrange.plotting.motifs import plot_voronoi_populations

        return plot_voronoi_populations(self, ax=ax)

    def __repr__(self) -> str:
        text = f"<VoronoiIndices, {len(self.indices)} atoms, {self.counted.sum()} counted"
        if not self.counted.any():
            return f"{text}>"
        text += f", coordination {self.mean_coordination:.2f}, {self.face_fractions[2]:.1%} five-edged faces"
        return f"{text}, {self.icosahedra_fraction:.1%} distorted icosahedra>"

    def _columns(self) -> dict[str, np.ndarray]:
        columns = {name: self.indices[:, k] for k, name in enumerate(("n3", "n4", "n5", "n6"))}
        columns |= {"coordination": self.coordination, "volume": self.volumes, "longest_edge": self.longest_edge}
        return columns | {"distortion": self.distortion, "bounded": self.bounded, "counted": self.counted}


def voronoi_index(
    atoms: AtomicModel | np.ndarray | Any, *, min_area_fraction: float = 0.01, min_edge: float = 0.0
) -> VoronoiIndices:
    """Voronoi index <n3, n4, n5, n6>, coordination number and volume of every atom.

    The cell of an atom is what lies nearer to it than to any other atom. Neighbors whose face has less than
    ``min_area_fraction`` of the area of the cell are removed and the cell is made once more from the
    neighbors left, [Yuan2022]_ after [Sheng2006]_ in references.bib. n_i counts faces with i edges of that
    second cell. The volume belongs to the first one, so that volumes fill space.

    Parameters
    ----------
    atoms : ase.Atoms, path, AtomicModel or array
        Positions in angstrom. Periodic directions of the box are followed.
    min_area_fraction : float
        Least area of a face over the area of the cell, 0 .. 1; 0 keeps every face.
    min_edge : float
        Edges shorter than this, angstrom, are not counted as edges of their face. A crystal's corners, where
        more than three faces meet, split at random under thermal motion or in positions of single precision:
        there a value such as 0.1 restores the index. With 0 only edges of rounding length, 1e-7 of the spacing,
        are left out.

    Returns
    -------
    VoronoiIndices
        One row per atom. Atoms with an open cell have index 0 and a NaN volume. In a box that repeats along
        one or two vectors only, a surface cell that reaches farther than about 6 spacings counts as open.

    Raises
    ------
    ValueError
        If an argument is out of range, the model is refused
        (:func:`~medrange.aet.atoms.model.as_model`), or all atoms lie in one plane.

    Examples
    --------
    >>> from ase.build import bulk
    >>> cells = voronoi_index(bulk("Cu", cubic=True))
    >>> cells.indices[0], float(cells.volumes[0].round(3))
    (array([ 0, 12,  0,  0], dtype=int32), 11.761)
    """
    if not 0 <= min_area_fraction < 1:
        msg = f"min_area_fraction is {min_area_fraction!r}; it must lie between 0 and 1, usual is 0.01."
        raise ValueError(msg)
    if not 0 <= min_edge < np.inf:
        msg = f"min_edge is {min_edge!r} Å; it must be 0 or a positive length."
        raise ValueError(msg)
    model = tessellated_model(atoms)
    shapes, measures, pairs = _cells(model, float(min_area_fraction), float(min_edge))
    bounded = shapes[:, 4] > 0
    return VoronoiIndices(
        indices=shapes[:, :4].copy(),
        coordination=shapes[:, 4].copy(),
        volumes=measures[:, 0].copy(),
        longest_edge=np.where(bounded, measures[:, 1], np.nan),
        distortion=np.where(bounded, measures[:, 2], np.nan),
        bounded=bounded,
        counted=bounded.copy(),
        neighbors=pairs,
        model=model,
        parameters={"min_area_fraction": float(min_area_fraction), "min_edge": float(min_edge)},
    )


def _cells(model: AtomicModel, min_area_fraction: float, min_edge: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shapes, measures and neighbor pairs, with as many periodic images as the cells need."""
    count = len(model)
    spacing = (abs(np.linalg.det(model.cell)) / count) ** (1 / 3) if model.pbc.any() else 0.0
    reach, limit = _FIRST_REACH * spacing, _FIRST_REACH * _LARGEST_REACH * spacing
    while True:
        positions, owners = with_images(model, reach)
        starts, others = delaunay(positions).vertex_neighbor_vertices
        offsets, others = starts[: count + 1].astype(np.int64), others[: starts[count]]
        shapes, measures, kept = regulated_cells(positions, offsets, others, min_area_fraction, min_edge)
        if not model.pbc.any():
            break
        # A cell is final where every atom that could cut it was there. Between two images of a box nothing is open.
        beyond = ~(measures[:, 3] <= reach)
        if not beyond.any():
            break
        if reach >= limit and not model.pbc.all():
            shapes[beyond], measures[beyond] = 0, np.nan
            kept &= ~np.repeat(beyond, np.diff(offsets))
            break
        reach *= 2
    centers = np.repeat(np.arange(count), np.diff(offsets))
    return shapes, measures, np.stack([centers[kept], owners[others[kept]]], axis=1)
