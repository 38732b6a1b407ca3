"""The alpha shape of a set of atoms: the space they fill, and fields interpolated in it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numba import njit

from medrange.aet.atoms.simplices import part_of, tetrahedron_measures
from medrange.aet.atoms.triangulation import delaunay

# A grid point this far outside a tetrahedron, in barycentric coordinates, still belongs to it: faces have no gaps.
_TOUCH = 1e-9
# Six volumes of a tetrahedron, in cubic grid steps, below which it is flat.
_FLAT = 1e-9
# Default alpha over the median circumradius: above 99 % of the tetrahedra inside metals, silicon and quartz.
_DEFAULT_ALPHA = 2.0


@dataclass(frozen=True, eq=False)
class AlphaShape:
    """Delaunay tetrahedra with a circumradius below alpha, strictly; [Edelsbrunner1994]_ in references.bib.

    Of flat tetrahedra, four points in a plane, those with the circle through the points below alpha are kept:
    their volume is 0.

    Attributes
    ----------
    positions : numpy.ndarray
        Shape (N, 3), angstrom.
    tetrahedra : numpy.ndarray
        Shape (n, 4), indices of positions.
    neighbors : numpy.ndarray
        Shape (n, 4), the tetrahedron across the face opposite to each corner; -1 on the outline.
    radius : float
        Alpha, angstrom.
    """

    positions: np.ndarray
    tetrahedra: np.ndarray
    neighbors: np.ndarray
    radius: float

    @property
    def volumes(self) -> np.ndarray:
        """Volume of each tetrahedron, cubic angstrom; their sum is that of the shape."""
        corners = self.positions[self.tetrahedra]
        edges = corners[:, 1:] - corners[:, :1]
        return np.abs(np.linalg.det(edges)) / 6

    @property
    def centroids(self) -> np.ndarray:
        """Shape (n, 3), angstrom."""
        return self.positions[self.tetrahedra].mean(axis=1)

    @property
    def surface(self) -> np.ndarray:
        """Mask of the positions on the outline, those in no tetrahedron included; shape (N,)."""
        mask = np.ones(len(self.positions), dtype=bool)
        mask[self.tetrahedra] = False
        free, opposite = np.nonzero(self.neighbors < 0)
        for step in (1, 2, 3):
            mask[self.tetrahedra[free, (opposite + step) % 4]] = True
        return mask


@dataclass(frozen=True, eq=False)
class Grid:
    """Points of a cubic lattice: ``origin + step * (i, j, k)``.

    Attributes
    ----------
    origin : numpy.ndarray
        Shape (3,), angstrom.
    step : float
        Distance of points, angstrom.
    shape : tuple of int
        Points along x, y, z.
    """

    origin: np.ndarray
    step: float
    shape: tuple[int, int, int]

    @classmethod
    def around(cls, positions: np.ndarray, step: float, margin: float = 0.0) -> Grid:
        """Grid over the positions and ``margin`` angstrom more on every side."""
        low, high = positions.min(axis=0) - margin, positions.max(axis=0) + margin
        shape = np.ceil((high - low) / step).astype(int) + 1
        # The points sit in the middle of what the rounded size leaves over.
        return cls((low + high - (shape - 1) * step) / 2, float(step), tuple(int(n) for n in shape))

    def nearest(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices of the points nearest to positions inside the grid."""
        indices = np.rint((positions - self.origin) / self.step).astype(int)
        return tuple(np.clip(indices, 0, np.array(self.shape) - 1).T)


def alpha_shape(positions: np.ndarray, radius: float | None = None) -> AlphaShape:
    """Alpha shape of a set of positions.

    Parameters
    ----------
    positions : numpy.ndarray
        Shape (N, 3), angstrom.
    radius : float, optional
        Alpha: the largest hole, angstrom, that is still inside. By default twice the median circumradius, which
        is 1.5 to 2 times the distance of nearest neighbors.

    Returns
    -------
    AlphaShape
        The tetrahedra kept.

    Raises
    ------
    ValueError
        If the positions lie in one plane, or if no tetrahedron is small enough.

    Examples
    --------
    >>> shape = alpha_shape(3.0 * np.indices((3, 3, 3)).reshape(3, -1).T, radius=3.0)
    >>> float(shape.volumes.sum().round(6))
    216.0
    """
    mesh = delaunay(positions)
    radii = tetrahedron_measures(positions, mesh.simplices)[:, 0]
    flat = np.isinf(radii)
    if radius is None:
        radius = _DEFAULT_ALPHA * float(np.median(radii[~flat]))
    if not (radii < radius).any():
        msg = (
            f"alpha radius is {radius!r} Å but the smallest circumscribed sphere of four atoms has {radii.min():.3g} "
            "Å; take about 1.5 times the distance of nearest neighbors."
        )
        raise ValueError(msg)
    # Flat ones, which a perfect crystal has, take up no space; without them its inside would show free faces.
    # Those that span a gap between its parts are left out by the circle through their corners.
    radii[flat] = _circle_radii(positions[mesh.simplices[flat]])
    kept = np.flatnonzero(radii < radius)
    return AlphaShape(positions, *part_of(mesh.simplices, mesh.neighbors, kept), float(radius))


def _circle_radii(corners: np.ndarray) -> np.ndarray:
    """Largest radius of the circles through three of four points (n, 4, 3); inf for points in a line."""
    result = np.zeros(len(corners))
    for face in combinations(range(4), 3):
        a, b, c = (corners[:, corner] for corner in face)
        sides = [np.linalg.norm(edge, axis=1) for edge in (b - a, c - b, a - c)]
        area = 2 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
        straight = np.full(len(corners), np.inf)
        radii = np.divide(np.prod(sides, axis=0), area, out=straight, where=area > 0)
        result = np.maximum(result, radii)
    return result


def interpolated(shape: AlphaShape, grid: Grid, values: np.ndarray | None = None) -> np.ndarray:
    """Values at the atoms, linearly interpolated in the tetrahedra, on a grid.

    Parameters
    ----------
    shape : AlphaShape
        Tetrahedra.
    grid : Grid
        Where.
    values : numpy.ndarray, optional
        Shape (N,), one per position; by default 1, which gives the outline of the shape.

    Returns
    -------
    numpy.ndarray
        Shape of the grid, float32; 0 without ``values`` and NaN with them outside the shape.

    Examples
    --------
    >>> shape = alpha_shape(3.0 * np.indices((3, 3, 3)).reshape(3, -1).T, radius=3.0)
    >>> grid = Grid(np.array([0.75, 1.5, 1.0]), 1.5, (5, 1, 1))
    >>> interpolated(shape, grid, shape.positions[:, 0])[:, 0, 0]
    array([0.75, 2.25, 3.75, 5.25,  nan], dtype=float32)
    """
    out = np.full(grid.shape, 0.0 if values is None else np.nan, dtype=np.float32)
    values = np.ones(len(shape.positions)) if values is None else np.asarray(values, dtype=np.float64)
    _fill((shape.positions - grid.origin) / grid.step, shape.tetrahedra, values, out)
    return out


@njit(cache=True, nogil=True)
def _fill(positions: np.ndarray, tetrahedra: np.ndarray, values: np.ndarray, out: np.ndarray) -> None:
    """Barycentric interpolation at every grid point of every tetrahedron; positions in grid steps."""
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    inverse, edges = np.empty((3, 3)), np.empty((3, 3))
    weights, slopes = np.empty(4), np.empty(4)
    for t in range(tetrahedra.shape[0]):
        corners = tetrahedra[t]
        first = positions[corners[0]]
        for c in range(3):
            smallest, largest = first[c], first[c]
            for e in range(3):
                value = positions[corners[e + 1], c]
                edges[e, c] = value - first[c]
                smallest, largest = min(smallest, value), max(largest, value)
            low[c] = max(0, int(np.ceil(smallest - _TOUCH)))
            high[c] = min(out.shape[c] - 1, int(np.floor(largest + _TOUCH)))
        # Columns of the inverse are the cross products of two edges over the volume.
        for e in range(3):
            a, b = edges[(e + 1) % 3], edges[(e + 2) % 3]
            inverse[0, e] = a[1] * b[2] - a[2] * b[1]
            inverse[1, e] = a[2] * b[0] - a[0] * b[2]
            inverse[2, e] = a[0] * b[1] - a[1] * b[0]
        volume = edges[0, 0] * inverse[0, 0] + edges[0, 1] * inverse[1, 0] + edges[0, 2] * inverse[2, 0]
        # Flat ones hold no point, and those beyond the grid (images of a periodic box) none of it.
        if abs(volume) < _FLAT or low[0] > high[0] or low[1] > high[1] or low[2] > high[2]:
            continue
        for e in range(3):
            for c in range(3):
                inverse[c, e] /= volume
        for i in range(low[0], high[0] + 1):
            for j in range(low[1], high[1] + 1):
                # Along k the four weights are straight lines: the tetrahedron is where none is negative.
                weights[0] = 1.0
                for e in range(3):
                    x, y = i - first[0], j - first[1]
                    weights[e + 1] = x * inverse[0, e] + y * inverse[1, e] - first[2] * inverse[2, e]
                    slopes[e + 1] = inverse[2, e]
                    weights[0] -= weights[e + 1]
                slopes[0] = -(slopes[1] + slopes[2] + slopes[3])
                start, end = float(low[2]), float(high[2])
                value, slope = 0.0, 0.0
                for e in range(4):
                    if slopes[e] > 0:
                        start = max(start, -(weights[e] + _TOUCH) / slopes[e])
                    elif slopes[e] < 0:
                        end = min(end, -(weights[e] + _TOUCH) / slopes[e])
                    elif weights[e] < -_TOUCH:
                        end = low[2] - 1.0
                    value += weights[e] * values[corners[e]]
                    slope += slopes[e] * values[corners[e]]
                # No farther than one beyond the range, whatever the slopes: the limits become integers.
                start, end = min(start, high[2] + 1.0), max(end, low[2] - 1.0)
                for k in range(int(np.ceil(start)), int(np.floor(end)) + 1):
                    out[i, j, k] = value + k * slope
