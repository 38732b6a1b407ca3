"""How much of a sphere about an atom lies inside the model: the finite-shape correction of g(r)."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
from scipy import fft
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from medrange.aet.atoms.alpha_shape import AlphaShape, Grid, interpolated
from medrange.aet.atoms.simplices import tetrahedron_measures
from medrange.aet.atoms.triangulation import delaunay

#: Step of the grid of the correlation, angstrom. At 0.5 the fractions agree with direct counting to 0.3 %.
GRID_STEP = 0.5
# Facets along the grid would all be off by the same part of a step; turned by some degrees they cross many
# points, and the errors average out. The mean over directions does not feel it.
_TURN = Rotation.from_rotvec([0.07, 0.09, 0.11]).as_matrix()
# A coarser grid is taken for models that need more points than this; the memory is about 16 bytes per point.
_MAX_POINTS = 1.5e8
# Direct counting goes at radii this far apart, angstrom, and a spline between them.
_DIRECT_STEP = 0.5


def shell_fractions(shape: AlphaShape, centers: np.ndarray, r: np.ndarray, *, step: float = GRID_STEP) -> np.ndarray:
    """Mean over the centers of the part of a sphere that lies inside the shape, by correlation.

    The sum over centers of the fraction at radius r is the average over all directions of the cross-correlation
    of the density of centers with the outline of the shape, which takes three Fourier transforms.

    Parameters
    ----------
    shape : AlphaShape
        Where the model is.
    centers : numpy.ndarray
        Shape (n, 3), angstrom; centers of the spheres.
    r : numpy.ndarray
        Radii, angstrom, increasing.
    step : float
        Grid, angstrom.

    Returns
    -------
    numpy.ndarray
        Fractions, 0 .. 1, one per radius.

    Examples
    --------
    >>> from medrange.aet.atoms.alpha_shape import alpha_shape
    >>> corners = 3.0 * np.indices((9, 9, 9)).reshape(3, -1).T
    >>> shell_fractions(alpha_shape(corners, 3.0), np.array([[12.0, 12.0, 12.0]]), np.array([6.0, 15.0])).round(2)
    array([1. , 0.4])
    """
    reach = float(r[-1]) + 2 * step
    shape = replace(shape, positions=shape.positions @ _TURN.T)
    centers = centers @ _TURN.T
    grid = Grid.around(shape.positions, step, margin=step)
    padded = [fft.next_fast_len(size + int(np.ceil(reach / step)) + 1, real=True) for size in grid.shape]
    if np.prod(padded, dtype=float) > _MAX_POINTS:
        return shell_fractions(replace(shape, positions=shape.positions @ _TURN), centers @ _TURN, r, step=step * 1.25)
    outline = fft.rfftn(interpolated(shape, grid), padded)
    density = fft.rfftn(_deposited(centers, grid), padded)
    np.multiply(outline, density.conj(), out=outline)
    del density
    correlation = fft.irfftn(outline, padded, overwrite_x=True)
    radii, means = _radial_means(correlation, reach / step)
    return np.interp(r, radii * step, means / len(centers))


def counted_fractions(shape: AlphaShape, centers: np.ndarray, r: np.ndarray, *, divisions: int = 2) -> np.ndarray:
    """Mean over the centers of the part of a sphere inside the shape, point by point.

    Every point ``center + r * direction`` is looked up in the tetrahedra, for the nearly uniform directions of a
    divided icosahedron. Slow (minutes for ten thousand atoms); it is the check of :func:`shell_fractions`.

    Parameters
    ----------
    shape : AlphaShape
        Where the model is.
    centers : numpy.ndarray
        Shape (n, 3), angstrom.
    r : numpy.ndarray
        Radii, angstrom, increasing. More of them than one per 0.5 angstrom are interpolated by a spline.
    divisions : int
        Times the icosahedron is divided: 12, 42, 162, 642, 2562 directions for 0 .. 4.

    Returns
    -------
    numpy.ndarray
        Fractions, 0 .. 1, one per radius.

    Examples
    --------
    >>> from medrange.aet.atoms.alpha_shape import alpha_shape
    >>> corners = 3.0 * np.indices((9, 9, 9)).reshape(3, -1).T
    >>> counted_fractions(alpha_shape(corners, 3.0), np.array([[11.0, 12.3, 12.6]]), np.array([6.0, 25.0]))
    array([1., 0.])
    """
    mesh = delaunay(shape.positions)
    inside = tetrahedron_measures(shape.positions, mesh.simplices)[:, 0] < shape.radius
    # The mesh is that of the positions from their mean.
    centers = centers - shape.positions.mean(axis=0)
    directions = icosphere(divisions)
    low, high = mesh.min_bound - 1e-9, mesh.max_bound + 1e-9
    nodes = r if len(r) <= r[-1] / _DIRECT_STEP else np.linspace(0, r[-1], int(np.ceil(r[-1] / _DIRECT_STEP)) + 1)[1:]
    fractions = np.zeros(len(nodes))
    for n, radius in enumerate(nodes):
        for direction in directions:
            points = centers + radius * direction
            # Looking up what is outside the hull is slow; most of it is outside the box already.
            points = points[((points >= low) & (points <= high)).all(axis=1)]
            found = mesh.find_simplex(points)
            # Index -1 is outside the mesh.
            fractions[n] += inside[found[found >= 0]].sum()
    fractions /= len(directions) * len(centers)
    return fractions if nodes is r else np.clip(CubicSpline(nodes, fractions)(r), 0, 1)


def icosphere(divisions: int) -> np.ndarray:
    """Nearly uniform directions: the corners of an icosahedron whose faces are divided in four repeatedly.

    Parameters
    ----------
    divisions : int
        How often.

    Returns
    -------
    numpy.ndarray
        Shape (10 * 4**divisions + 2, 3), unit vectors.

    Examples
    --------
    >>> icosphere(4).shape
    (2562, 3)
    """
    golden = (1 + 5**0.5) / 2
    base = np.array([[0, a, b * golden] for a in (-1, 1) for b in (-1, 1)])
    corners = np.concatenate([np.roll(base, shift, axis=1) for shift in range(3)])
    # Faces of the icosahedron: triples of corners at the distance of an edge, 2.
    near = np.isclose(np.linalg.norm(corners[:, None] - corners, axis=2), 2)
    faces = [face for face in combinations(range(12), 3) if near[np.ix_(face, face)].sum() == 6]
    triangles = corners[np.array(faces)]
    for _ in range(divisions):
        a, b, c = np.moveaxis(triangles, 1, 0)
        ab, bc, ca = a + b, b + c, c + a
        halves = [x / np.linalg.norm(x, axis=1, keepdims=True) * np.linalg.norm(a[0]) for x in (ab, bc, ca)]
        ab, bc, ca = halves
        triangles = np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), halves)])
    points = triangles.reshape(-1, 3) / np.linalg.norm(triangles[0, 0])
    return points[np.unique(points.round(9), axis=0, return_index=True)[1]]


def _deposited(centers: np.ndarray, grid: Grid) -> np.ndarray:
    """Count of centers on a grid, each shared by the eight points about it; float32."""
    density = np.zeros(grid.shape, dtype=np.float32)
    scaled = (centers - grid.origin) / grid.step
    base = np.floor(scaled).astype(int)
    part = scaled - base
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(corner, part, 1 - part).prod(axis=1)
        np.add.at(density, tuple((base + corner).T), weight.astype(np.float32))
    return density


def _radial_means(correlation: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean radius and mean value of the lags in shells one grid step wide, in grid steps.

    Negative lags stand at the end of each axis, as the Fourier transform leaves them.
    """
    count = int(np.ceil(reach)) + 1
    lags = np.arange(-count, count + 1)
    part = correlation[np.ix_(lags, lags, lags)]
    x, y, z = np.ix_(lags, lags, lags)
    radius = np.sqrt(x * x + y * y + z * z)
    shell = np.rint(radius).astype(int).ravel()
    counts = np.bincount(shell)[:count]
    radii = np.bincount(shell, radius.ravel())[:count] / counts
    return radii, np.bincount(shell, part.ravel())[:count] / counts
