"""The polar operator: detector pixels to (k, phi) bins, by exact overlap areas.

A pixel is a square (a parallelogram once the ellipse is undone); it gives to a bin the share of its
area that lies in the bin. The operator is sparse, built once for a geometry and a grid, and kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from medrange.geometry import DiffractionGeometry, PolarGrid

_MAX_VERTICES = 10
# Below this share of a pixel an overlap is rounding, not area.
_SLIVER = 1e-9
#: A bin counts for the statistics over azimuth if at least this share of its area on the detector is open, or if no
#: more than one pixel of it is hidden. A smaller rest at the border of a beam stop is the noise of a point in place of
#: a mean: it adds up to 6 % to P_n (36 bins, speckle of 10 degrees, a stop of 40). From a twentieth on, P_n is within
#: 3 %, and every bin closed beyond that costs more correlation with the open ring than the bin's own noise does.
LEAST_OPEN = 0.05
#: Shares and areas this close to the limits count as there: the same for float32.
NEAR = 1e-5


@dataclass(frozen=True, eq=False, repr=False)
class PolarOperator:
    """Sparse rows that average pixels into bins; bin ``i_k * n_phi + i_phi`` is row ``indptr[bin]``.

    Attributes
    ----------
    grid : PolarGrid
        The bins.
    pixels : numpy.ndarray
        Shape (n_used,): flat indices of the detector pixels that some bin uses, ascending.
    indptr, columns, weights : numpy.ndarray
        Compressed rows: bin b is ``sum(weights[j] * frame[pixels[columns[j]]])``; weights sum to 1 per
        open bin.
    area : numpy.ndarray
        Shape (n_k, n_phi): detector area in each bin, in pixels; 0 where no open pixel lies.
    full : numpy.ndarray
        The same without the mask.
    """

    grid: PolarGrid
    pixels: np.ndarray
    indptr: np.ndarray
    columns: np.ndarray
    weights: np.ndarray
    area: np.ndarray
    full: np.ndarray

    def __repr__(self) -> str:
        shut = int((~self.is_open).sum())
        return (
            f"PolarOperator({self.grid.n_k} k x {self.grid.n_phi} phi bins, {self.pixels.size} px, "
            f"{self.weights.size} overlaps, {shut} bins closed)"
        )

    @property
    def is_open(self) -> np.ndarray:
        """Shape (n_k, n_phi): True where enough of a bin is open, see :func:`open_bins`."""
        return open_bins(self.area, self.full)


def open_bins(area: np.ndarray, full: np.ndarray) -> np.ndarray:
    """Which bins count for the statistics over azimuth: those of which a twentieth or all but one pixel is open.

    Whole rings, with one azimuthal bin, count as soon as any of their pixels is open.

    Parameters
    ----------
    area, full : numpy.ndarray
        Shape (..., n_k, n_phi): area of the open pixels in each bin, and of all the detector's, in pixels.

    Examples
    --------
    >>> open_bins(np.array([[4.0, 0.2, 0.1, 0.05, 0.0]]), np.array([[4.0, 4.0, 4.0, 1.05, 1.0]]))
    array([[ True,  True, False,  True, False]])
    """
    if area.shape[-1] == 1:
        return area > 0
    return (area > 0) & ((area >= (LEAST_OPEN - NEAR) * full) | (full - area <= 1 + NEAR))


@njit(cache=True)
def _clip(vertices: np.ndarray, count: int, nx: float, ny: float, out: np.ndarray) -> int:
    """Keep the part of a convex polygon where ``nx x + ny y >= 0``; return its number of vertices."""
    kept = 0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        di = nx * vertices[i, 0] + ny * vertices[i, 1]
        dj = nx * vertices[j, 0] + ny * vertices[j, 1]
        if di >= 0:
            out[kept, 0] = vertices[i, 0]
            out[kept, 1] = vertices[i, 1]
            kept += 1
        if (di > 0 and dj < 0) or (di < 0 and dj > 0):
            t = di / (di - dj)
            out[kept, 0] = vertices[i, 0] + t * (vertices[j, 0] - vertices[i, 0])
            out[kept, 1] = vertices[i, 1] + t * (vertices[j, 1] - vertices[i, 1])
            kept += 1
    return kept


@njit(cache=True)
def _sector(ax: float, ay: float, bx: float, by: float, radius: float) -> float:
    return 0.5 * radius * radius * np.arctan2(ax * by - ay * bx, ax * bx + ay * by)


@njit(cache=True)
def _disk_edge(ax: float, ay: float, bx: float, by: float, radius: float) -> float:
    """Signed area of the disk around the origin within the triangle (origin, a, b)."""
    squared = radius * radius
    a_in = ax * ax + ay * ay <= squared
    b_in = bx * bx + by * by <= squared
    if a_in and b_in:
        return 0.5 * (ax * by - ay * bx)
    dx, dy = bx - ax, by - ay
    a2 = dx * dx + dy * dy
    if a2 == 0.0:
        return 0.0
    half_b = ax * dx + ay * dy
    root = half_b * half_b - a2 * (ax * ax + ay * ay - squared)
    if root <= 0.0:
        return _sector(ax, ay, bx, by, radius)
    root = np.sqrt(root)
    # Held within the edge: of a corner on the circle itself, rounding may say outside, and then the crossing
    # behind it must not count.
    t1, t2 = max((-half_b - root) / a2, 0.0), min((-half_b + root) / a2, 1.0)
    px, py = ax + t1 * dx, ay + t1 * dy
    qx, qy = ax + t2 * dx, ay + t2 * dy
    if a_in:
        return 0.5 * (ax * qy - ay * qx) + _sector(qx, qy, bx, by, radius)
    if b_in:
        return _sector(ax, ay, px, py, radius) + 0.5 * (px * by - py * bx)
    if t1 >= t2:
        return _sector(ax, ay, bx, by, radius)
    first = _sector(ax, ay, px, py, radius)
    return first + 0.5 * (px * qy - py * qx) + _sector(qx, qy, bx, by, radius)


@njit(cache=True)
def disk_area(vertices: np.ndarray, count: int, radius: float) -> float:
    """Area of a convex polygon within the disk of the given radius around the origin."""
    total = 0.0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        total += _disk_edge(vertices[i, 0], vertices[i, 1], vertices[j, 0], vertices[j, 1], radius)
    return abs(total)


@njit(cache=True)
def _phi_range(corners: np.ndarray, n_phi: int) -> tuple:
    """First bin and number of bins a pixel can touch; all of them when it holds the origin."""
    crossings_left, crossings_right = 0, 0
    for i in range(4):
        j = (i + 1) % 4
        cross = corners[i, 0] * corners[j, 1] - corners[i, 1] * corners[j, 0]
        if cross >= 0:
            crossings_left += 1
        if cross <= 0:
            crossings_right += 1
    if crossings_left == 4 or crossings_right == 4:
        return 0, n_phi
    middle = np.arctan2(corners[:, 1].mean(), corners[:, 0].mean())
    low, high = 0.0, 0.0
    for i in range(4):
        turn = np.arctan2(corners[i, 1], corners[i, 0]) - middle
        turn -= 2 * np.pi * np.round(turn / (2 * np.pi))
        low, high = min(low, turn), max(high, turn)
    step = 2 * np.pi / n_phi
    first = int(np.floor((middle + low) / step - 1e-9))
    last = int(np.floor((middle + high) / step + 1e-9))
    return first, min(last - first + 1, n_phi)


@njit(cache=True)
def _radial_range(corners: np.ndarray, holds_origin: bool, edges: np.ndarray) -> tuple:
    """First and one-past-last ring a pixel can touch, for uniform ``edges``."""
    far, near = 0.0, np.inf
    for i in range(4):
        j = (i + 1) % 4
        far = max(far, np.hypot(corners[i, 0], corners[i, 1]))
        dx, dy = corners[j, 0] - corners[i, 0], corners[j, 1] - corners[i, 1]
        t = -(corners[i, 0] * dx + corners[i, 1] * dy) / (dx * dx + dy * dy)
        t = min(1.0, max(0.0, t))
        near = min(near, np.hypot(corners[i, 0] + t * dx, corners[i, 1] + t * dy))
    if holds_origin:
        near = 0.0
    step = edges[1] - edges[0]
    first = max(0, int(np.floor((near - edges[0]) / step - 1e-9)))
    last = min(edges.size - 2, int(np.floor((far - edges[0]) / step + 1e-9)))
    return first, last + 1


@njit(cache=True)
def _overlaps(shape: tuple, center: np.ndarray, distortion: np.ndarray, edges: np.ndarray, n_phi: int) -> tuple:
    """Triplets (bin, pixel, area) of every overlap of a pixel with a bin; areas in undistorted pixels."""
    bins, pixels, areas = [0], [0], [0.0]
    corners = np.empty((4, 2))
    half = np.empty((_MAX_VERTICES, 2))
    wedge = np.empty((_MAX_VERTICES, 2))
    step = 2 * np.pi / n_phi
    # No point of a pixel is farther from its middle; the Frobenius norm bounds the stretch of its half diagonal.
    reach = np.sqrt(0.5 * (distortion * distortion).sum())
    for row in range(shape[0]):
        for col in range(shape[1]):
            x, y = col - center[1], row - center[0]
            middle = np.hypot(distortion[0, 0] * x + distortion[0, 1] * y, distortion[1, 0] * x + distortion[1, 1] * y)
            if middle - reach > edges[-1] or middle + reach < edges[0]:
                continue
            for i in range(4):
                x = col - center[1] + (0.5 if i in (1, 2) else -0.5)
                y = row - center[0] + (0.5 if i in (2, 3) else -0.5)
                corners[i, 0] = distortion[0, 0] * x + distortion[0, 1] * y
                corners[i, 1] = distortion[1, 0] * x + distortion[1, 1] * y
            first_phi, n_touched = _phi_range(corners, n_phi)
            # With one azimuthal bin every pixel touches all of them, wherever it lies.
            first_k, end_k = _radial_range(corners, n_touched == n_phi and middle <= reach, edges)
            if first_k >= end_k:
                continue
            for turn in range(first_phi, first_phi + n_touched):
                count = 4
                if n_phi == 1:
                    wedge[:4] = corners
                else:
                    low, high = turn * step, (turn + 1) * step
                    count = _clip(corners, 4, -np.sin(low), np.cos(low), half)
                    count = _clip(half, count, np.sin(high), -np.cos(high), wedge)
                if count < 3:
                    continue
                inner = disk_area(wedge, count, edges[first_k]) if edges[first_k] > 0 else 0.0
                for i_k in range(first_k, end_k):
                    outer = disk_area(wedge, count, edges[i_k + 1])
                    if outer - inner > _SLIVER:
                        bins.append(i_k * n_phi + turn % n_phi)
                        pixels.append(row * shape[1] + col)
                        areas.append(outer - inner)
                    inner = outer
    return np.array(bins[1:]), np.array(pixels[1:]), np.array(areas[1:])


@lru_cache(maxsize=16)
def polar_operator(geometry: DiffractionGeometry, grid: PolarGrid) -> PolarOperator:
    """Sparse operator that averages the open pixels of a pattern into the bins of ``grid``.

    The value of a bin is ``sum_i A_i I_i / sum_i A_i`` over unmasked pixels i, with A_i the exact area
    of pixel i inside the bin. The latest operators are kept, so that asking again costs nothing.

    Parameters
    ----------
    geometry : DiffractionGeometry
        Center, scale, ellipse and mask.
    grid : PolarGrid
        The bins, in the same k units.

    Returns
    -------
    PolarOperator

    Examples
    --------
    >>> geometry = DiffractionGeometry((64, 64), (31.5, 31.5), 0.1, "1/nm")
    >>> float(polar_operator(geometry, PolarGrid(1.0, 2.0, 1, 36)).area.sum().round(3))  # pi (20^2 - 10^2)
    942.478
    """
    edges = np.linspace(grid.k_min, grid.k_max, grid.n_k + 1) / geometry.k_step
    shape = (int(geometry.shape[0]), int(geometry.shape[1]))
    center = np.array(geometry.center, dtype=float)
    bins, pixels, areas = _overlaps(shape, center, geometry.distortion, edges, grid.n_phi)
    areas = areas / np.linalg.det(geometry.distortion)
    n_bins = grid.n_k * grid.n_phi
    full = np.bincount(bins, weights=areas, minlength=n_bins).astype(float)
    if geometry.mask is not None:
        keep = ~geometry.mask.ravel()[pixels]
        bins, pixels, areas = bins[keep], pixels[keep], areas[keep]
    # Raster order within a bin keeps the gather close to sequential.
    order = np.lexsort((pixels, bins))
    bins, pixels, areas = bins[order], pixels[order], areas[order]
    area = np.bincount(bins, weights=areas, minlength=n_bins).astype(float)
    used, columns = np.unique(pixels, return_inverse=True)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(bins, minlength=n_bins))])
    return PolarOperator(
        grid=grid,
        pixels=used.astype(np.int64),
        indptr=indptr.astype(np.int64),
        columns=columns.reshape(-1).astype(np.int32),
        weights=areas / area[bins],
        area=area.reshape(grid.n_k, grid.n_phi),
        full=full.reshape(grid.n_k, grid.n_phi),
    )
