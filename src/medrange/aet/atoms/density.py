"""Local mass density on a grid, and how much denser the motifs are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.data
import numpy as np
from ase.units import _amu
from scipy import ndimage

from medrange.aet.atoms.alpha_shape import AlphaShape, Grid, alpha_shape, interpolated
from medrange.aet.atoms.model import AtomicModel, as_model, atom_indices
from medrange.aet.atoms.neighbors import with_images
from medrange.aet.atoms.saving import save_result
from medrange.aet.atoms.simplices import part_of
from medrange.aet.atoms.voronoi import voronoi_index

if TYPE_CHECKING:
    import ase
    import pandas as pd
    from matplotlib.axes import Axes

# Atomic mass units per cubic angstrom in g/cm^3.
_GRAMS = _amu * 1e3 * 1e24
# Standard deviations in the full width at half maximum of a Gaussian.
_FWHM = 2 * np.sqrt(2 * np.log(2))
# Images within so many spacings show the tetrahedra of the inside.
_ALPHA_REACH = 4
# Where less than this part of the Gaussian lies inside, there is no density.
_LEAST_SHARE = 1e-3


@dataclass(frozen=True, eq=False)
class MassDensity:
    """Local mass density of a model.

    Attributes
    ----------
    density : numpy.ndarray
        Shape of the grid, g/cm^3, float32, index order [x, y, z]; NaN outside the model.
    grid : Grid
        ``origin`` (angstrom), ``step`` (angstrom) and ``shape``.
    depth : numpy.ndarray
        Shape of the grid: distance from the surface, angstrom, 0 outside; inf in a periodic box.
    atomic : numpy.ndarray
        Shape (N,), g/cm^3: mass of the atom over the volume of its Voronoi cell; NaN for open cells.
    model : AtomicModel
        The atoms.
    parameters : dict
        ``fwhm``, ``grid_step`` and ``alpha_radius``, angstrom.
    """

    density: np.ndarray
    grid: Grid
    depth: np.ndarray
    atomic: np.ndarray
    model: AtomicModel
    parameters: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean over the grid, g/cm^3."""
        return float(np.nanmean(self.density, dtype=float))

    def inside(self, vertices: np.ndarray) -> np.ndarray:
        """Grid points inside tetrahedra.

        Parameters
        ----------
        vertices : numpy.ndarray
            Shape (n, 4), atom indices: ``tetrahedra.vertices``, or some of them such as
            ``tetrahedra.vertices[np.unique(motifs.pentagonal)]``.

        Returns
        -------
        numpy.ndarray
            Bool, shape of the grid.

        Raises
        ------
        ValueError
            If these are not four atoms each.
        """
        corners = np.asarray(vertices)
        if corners.ndim != 2 or corners.shape[1] != 4:
            msg = f"vertices have shape {corners.shape}; four atom indices per tetrahedron are needed, (n, 4)."
            raise ValueError(msg)
        indices = atom_indices(corners.ravel(), len(self.model))
        positions = self._unwrapped(self.model.positions[indices].reshape(-1, 4, 3))
        free = np.full((len(positions), 4), -1)
        shape = AlphaShape(positions.reshape(-1, 3), np.arange(4 * len(positions)).reshape(-1, 4), free, np.inf)
        return interpolated(shape, self.grid) > 0

    def in_tetrahedra(
        self, vertices: np.ndarray, *, margin: float = 0.0, atoms: np.ndarray | None = None
    ) -> DensityContrast:
        """Density inside and outside tetrahedra.

        Parameters
        ----------
        vertices : numpy.ndarray
            See :meth:`inside`.
        margin : float
            Leave out what is nearer to the surface, angstrom: cells there are too large, and motifs rare. The
            result depends on it.
        atoms : numpy.ndarray, optional
            Mask or indices, for example of the amorphous atoms: only grid points nearest to one of them count.

        Returns
        -------
        DensityContrast
            Values and means, g/cm^3.
        """
        counted = np.isfinite(self.density) & (self.depth >= margin)
        if atoms is not None:
            chosen = np.zeros(len(self.model), dtype=bool)
            chosen[atom_indices(atoms, len(self.model))] = True
            counted[counted] = chosen[self._nearest_atoms(counted)]
        inside = self.inside(vertices)
        return DensityContrast(self.density[counted & inside], self.density[counted & ~inside])

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per atom: its density and the smoothed one at its place, g/cm^3."""
        import pandas as pd

        local = self.density[self.grid.nearest(self._wrapped)]
        return pd.DataFrame({"density": self.atomic, "local_density": local})

    def save(self, path: str | PathLike) -> Path:
        """Write the grid as .npz, or the values at the atoms as .csv, .xyz or .extxyz.

        Parameters
        ----------
        path : path
            The suffix says which; see :func:`~medrange.aet.atoms.saving.save_result`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        arrays = {"density": self.density, "origin": self.grid.origin, "atomic": self.atomic}
        atoms = self.model.to_ase(**{name: self.table[name].to_numpy() for name in self.table})
        return save_result(path, table=self.table, atoms=atoms, arrays=arrays, parameters=self.parameters)

    def plot(self, *, z: float | None = None, ax: Axes | None = None) -> Axes:
        """Draw a slice; see :func:`medrange.plotting.atoms.plot_density_slice`."""
        from medrange.plotting.atoms import plot_density_slice

        return plot_density_slice(self, z=z, ax=ax)

    def __repr__(self) -> str:
        spread = float(np.nanstd(self.density, dtype=float))
        return (
            f"<MassDensity, {self.mean:.3f} ± {spread:.3f} g/cm^3 over {self.grid.shape} points, "
            f"Gaussian of {self.parameters['fwhm']:g} Å>"
        )

    @property
    def _wrapped(self) -> np.ndarray:
        return with_images(self.model, 0.0)[0][: len(self.model)]

    def _nearest_atoms(self, points: np.ndarray) -> np.ndarray:
        from scipy.spatial import cKDTree

        positions, owners = with_images(self.model, 2 * self.parameters["alpha_radius"])
        places = self.grid.origin + self.grid.step * np.argwhere(points)
        return owners[cKDTree(positions).query(places)[1]]

    def _unwrapped(self, corners: np.ndarray) -> np.ndarray:
        """Corners (n, 4, 3) of tetrahedra in one piece, with the copies that a periodic box has."""
        if not self.model.pbc.any() or not len(corners):
            return corners
        inverse = np.linalg.inv(self.model.cell)
        fractions = corners @ inverse
        fractions -= np.where(self.model.pbc, np.rint(fractions - fractions[:, :1]), 0)
        fractions -= np.where(self.model.pbc, np.floor(fractions[:, :1]), 0)
        steps = [(-1, 0, 1) if periodic else (0,) for periodic in self.model.pbc]
        return np.concatenate([fractions + np.array(shift) for shift in product(*steps)]) @ self.model.cell


@dataclass(frozen=True, eq=False)
class DensityContrast:
    """Densities of grid points inside and outside motifs, g/cm^3.

    Attributes
    ----------
    inside, outside : numpy.ndarray
        Values of the points, one-dimensional.
    """

    inside: np.ndarray
    outside: np.ndarray

    @property
    def means(self) -> tuple[float, float]:
        """Mean inside and outside; NaN where there is no point."""
        return tuple(float(v.mean(dtype=float)) if v.size else np.nan for v in (self.inside, self.outside))

    @property
    def gain(self) -> float:
        """Mean inside over mean outside, less 1."""
        inside, outside = self.means
        return inside / outside - 1

    def __repr__(self) -> str:
        inside, outside = self.means
        return f"<DensityContrast, inside {inside:.3f}, outside {outside:.3f} g/cm^3, gain {self.gain:+.2%}>"


def mass_density(
    atoms: AtomicModel | np.ndarray | Any,
    *,
    fwhm: float,
    volumes: np.ndarray | None = None,
    grid_step: float = 0.5,
    alpha_radius: float | None = None,
) -> MassDensity:
    """Local mass density on a grid.

    The density of an atom is its mass over the volume of its Voronoi cell, without regulation. Densities are
    interpolated linearly in the Delaunay tetrahedra of the atoms, then convolved with a Gaussian, as the text of
    [Yuan2022]_ (references.bib) says. Its details are not published; here the tetrahedra are those of the alpha
    shape, atoms with an open cell have no density, and the Gaussian is normalized to its part inside the model, so
    that the surface does not thin out.

    Parameters
    ----------
    atoms : ase.Atoms, path, AtomicModel or array
        Atoms with symbols, angstrom.
    fwhm : float
        Full width at half maximum of the Gaussian, angstrom: the first valley of g(r).
    volumes : numpy.ndarray, optional
        Volumes of the Voronoi cells, shape (N,), cubic angstrom, NaN where open: ``voronoi_index(atoms).volumes``.
        By default they are computed.
    grid_step : float
        Distance of grid points, angstrom.
    alpha_radius : float, optional
        Radius of the alpha shape; see :func:`~medrange.aet.atoms.alpha_shape.alpha_shape`.

    Returns
    -------
    MassDensity
        Grid, values per atom, and the comparison with motifs.

    Raises
    ------
    ValueError
        If symbols are missing or unknown, if volumes do not fit, or if a length is not positive.

    Examples
    --------
    >>> from ase.build import bulk
    >>> mass_density(bulk("Cu", cubic=True).repeat(2), fwhm=3.0)
    <MassDensity, 8.972 ± 0.000 g/cm^3 over (14, 14, 14) points, Gaussian of 3 Å>
    """
    if not (np.isfinite([fwhm, grid_step]).all() and fwhm > 0 and grid_step > 0):
        msg = f"fwhm is {fwhm!r} and grid_step {grid_step!r} Å; both must be positive."
        raise ValueError(msg)
    model = as_model(atoms, minimum=1)
    masses = _masses(model)
    volumes = voronoi_index(model).volumes if volumes is None else np.asarray(volumes, dtype=float)
    if volumes.shape != (len(model),) or not (np.isnan(volumes) | (volumes > 0)).all():
        msg = f"volumes of shape {volumes.shape} were given; one positive volume or NaN per atom is needed."
        raise ValueError(msg)
    atomic = _GRAMS * masses / volumes
    shape, values, grid = _mesh(model, atomic, 2 * fwhm, grid_step, alpha_radius)
    field = interpolated(shape, grid, values)
    known = np.isfinite(field)
    depth = np.full(grid.shape, np.inf, dtype=np.float32)
    if not model.pbc.all():
        depth = ndimage.distance_transform_edt(known).astype(np.float32) * np.float32(grid_step)
    density = _smoothed(field, known, fwhm / _FWHM / grid_step)
    if model.pbc.any():
        density, depth, grid = _box(model, grid, density, depth)
    parameters = {"fwhm": float(fwhm), "grid_step": float(grid_step), "alpha_radius": shape.radius}
    return MassDensity(density, grid, depth, atomic, model, parameters)


def _masses(model: AtomicModel) -> np.ndarray:
    """Standard atomic masses, u."""
    if model.symbols is None or "X" in model.symbols:
        msg = "the mass density needs the element of every atom; give ase.Atoms or a file with elements."
        raise ValueError(msg)
    return ase.data.atomic_masses[[ase.data.atomic_numbers[symbol] for symbol in model.symbols]]


def _mesh(
    model: AtomicModel, atomic: np.ndarray, reach: float, step: float, alpha_radius: float | None
) -> tuple[AlphaShape, np.ndarray, Grid]:
    """Tetrahedra between atoms of known density, their values, and a grid over the model or its box."""
    if not model.pbc.any():
        shape, values = alpha_shape(model.positions, alpha_radius), atomic
        grid = Grid.around(model.positions, step, margin=step)
    else:
        if alpha_radius is None:
            alpha_radius = alpha_shape(with_images(model, _ALPHA_REACH * _spacing(model))[0]).radius
        positions, owners = with_images(model, reach + 4 * alpha_radius)
        shape, values = alpha_shape(positions, alpha_radius), atomic[owners]
        corners = np.array(list(product((0, 1), repeat=3))) @ model.cell
        grid = Grid.around(np.concatenate([corners, positions[: len(model)]]), step, margin=reach)
    known = np.isfinite(values)[shape.tetrahedra].all(axis=1)
    kept = np.flatnonzero(known)
    if not len(kept):
        msg = f"none of the {len(model)} atoms has a closed Voronoi cell among its neighbors; the model is too small."
        raise ValueError(msg)
    return AlphaShape(shape.positions, *part_of(shape.tetrahedra, shape.neighbors, kept), shape.radius), values, grid


def _spacing(model: AtomicModel) -> float:
    """Edge of the cube that an atom has of the box, angstrom."""
    return float((abs(np.linalg.det(model.cell)) / len(model)) ** (1 / 3))


def _smoothed(field: np.ndarray, known: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian mean over the known points only; NaN where there is none."""
    weights = ndimage.gaussian_filter(known.astype(np.float32), sigma, mode="constant")
    sums = ndimage.gaussian_filter(np.where(known, field, np.float32(0)), sigma, mode="constant")
    empty = np.full(field.shape, np.nan, dtype=np.float32)
    return np.divide(sums, weights, out=empty, where=known & (weights > _LEAST_SHARE))


def _box(model: AtomicModel, grid: Grid, density: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Cut off what lies outside the periodic box."""
    inverse = np.linalg.inv(model.cell)
    axes = [grid.origin[axis] + grid.step * np.arange(size) for axis, size in enumerate(grid.shape)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    outside = np.zeros(grid.shape, dtype=bool)
    for vector in np.flatnonzero(model.pbc):
        fraction = x * inverse[0, vector] + y * inverse[1, vector] + z * inverse[2, vector]
        outside |= (fraction < 0) | (fraction >= 1)
    density[outside] = np.nan
    inside = [np.flatnonzero(~outside.all(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    part = tuple(slice(indices[0], indices[-1] + 1) for indices in inside)
    start = np.array([indices[0] for indices in inside])
    density, depth = density[part].copy(), depth[part].copy()
    return density, depth, Grid(grid.origin + grid.step * start, grid.step, density.shape)
