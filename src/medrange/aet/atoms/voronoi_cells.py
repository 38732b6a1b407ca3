"""Voronoi cells, face by face: each face is a polygon in the plane midway to a neighbor, cut by the other planes.

A cell needs no topology this way: the faces are independent, and where more than three planes meet in a
point (perfect crystals) the edges of zero length are simply not counted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numba import njit

from medrange.working import available_cores

# Half the side of the square a face starts from, in distances of the farthest neighbor: what is left of the
# square belongs to a cell without an end.
_OPEN = 1e5
# Edges shorter than this part of the nearest neighbor's distance are one point, met by several planes.
_TOUCH = 1e-7
# Atoms per work item of a thread.
_CHUNK = 2048


def regulated_cells(
    positions: np.ndarray, offsets: np.ndarray, neighbors: np.ndarray, min_area_fraction: float, min_edge: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voronoi cells without and with regulation.

    Parameters
    ----------
    positions : numpy.ndarray
        Shape (M, 3), float64, angstrom; cells are made of the first N.
    offsets : numpy.ndarray
        Shape (N + 1,), int64: the neighbors of atom i are ``neighbors[offsets[i]:offsets[i + 1]]``.
    neighbors : numpy.ndarray
        Atoms that may share a face with atom i: those it shares a Delaunay edge with.
    min_area_fraction : float
        Neighbors whose face has less than this part of the area of the cell are removed, once.
    min_edge : float
        Edges shorter than this, angstrom, are not counted as edges of a face.

    Returns
    -------
    shapes : numpy.ndarray
        Shape (N, 5), int32: faces with 3, 4, 5, 6 edges and faces in all of the regulated cell; 0 where it is
        open.
    measures : numpy.ndarray
        Shape (N, 4), float64: volume of the cell before regulation, longest edge of the regulated cell (both
        NaN where open), largest distortion of the tetrahedra around the atom, and the distance within which
        atoms decide about the unregulated cell (inf where open).
    kept : numpy.ndarray
        Bool, aligned with ``neighbors``: those with a face of the regulated cell.
    """
    n = offsets.shape[0] - 1
    shapes, measures = np.zeros((n, 5), np.int32), np.full((n, 4), np.nan)
    kept = np.zeros(neighbors.shape[0], np.bool_)
    limits = (min_area_fraction, min_edge)
    work = partial(_cells_from, positions, offsets, neighbors, limits, shapes, measures, kept)
    # Each work item writes rows of its own. Threads of Python: those of numba may not be entered from two threads.
    if n <= _CHUNK:
        work(0)
    else:
        with ThreadPoolExecutor(available_cores()) as pool:
            list(pool.map(work, range(0, n, _CHUNK)))
    return shapes, measures, kept


@njit(cache=True, nogil=True)
def _cells_from(
    positions: np.ndarray,
    offsets: np.ndarray,
    neighbors: np.ndarray,
    limits: tuple[float, float],
    shapes: np.ndarray,
    measures: np.ndarray,
    kept: np.ndarray,
    first: int,
) -> None:
    """The cells of one work item, from atom ``first``."""
    min_area_fraction, min_edge = limits
    last = min(offsets.shape[0] - 1, first + _CHUNK)
    most = 0
    for i in range(first, last):
        most = max(most, offsets[i + 1] - offsets[i])
    vectors, halves, areas = np.empty((most, 3)), np.empty(most), np.empty(most)
    edges, order = np.empty(most, np.int32), np.empty(most, np.int64)
    polygon, spare = np.empty((most + 8, 3)), np.empty((most + 8, 3))
    for i in range(first, last):
        count = _sorted_vectors(positions, i, neighbors[offsets[i] : offsets[i + 1]], vectors, halves, order)
        measured = _cell(vectors, halves, count, (min_edge, False), areas, edges, polygon, spare)
        measures[i, 0], measures[i, 3] = measured[0], measured[3]
        if not np.isfinite(measured[0]):
            continue
        total = areas[:count].sum()
        left = 0
        for k in range(count):
            if areas[k] > 0 and areas[k] >= min_area_fraction * total:
                vectors[left], halves[left], order[left] = vectors[k], halves[k], order[k]
                left += 1
        measured = _cell(vectors, halves, left, (min_edge, True), areas, edges, polygon, spare)
        if not np.isfinite(measured[0]):
            continue
        measures[i, 1], measures[i, 2] = measured[1], measured[2]
        for k in range(left):
            if edges[k] >= 3:
                shapes[i, 4] += 1
                kept[offsets[i] + order[k]] = True
                if edges[k] <= 6:
                    shapes[i, edges[k] - 3] += 1


@njit(cache=True, nogil=True)
def _sorted_vectors(
    positions: np.ndarray, i: int, neighbors: np.ndarray, vectors: np.ndarray, halves: np.ndarray, order: np.ndarray
) -> int:
    """Vectors to the neighbors from near to far, half their squared lengths, and where each one stood."""
    count = neighbors.shape[0]
    for k in range(count):
        x = positions[neighbors[k], 0] - positions[i, 0]
        y = positions[neighbors[k], 1] - positions[i, 1]
        z = positions[neighbors[k], 2] - positions[i, 2]
        half = (x * x + y * y + z * z) / 2
        place = k
        while place > 0 and halves[place - 1] > half:
            vectors[place], halves[place], order[place] = vectors[place - 1], halves[place - 1], order[place - 1]
            place -= 1
        vectors[place, 0], vectors[place, 1], vectors[place, 2] = x, y, z
        halves[place], order[place] = half, k
    return count


@njit(cache=True, nogil=True)
def _cell(
    vectors: np.ndarray,
    halves: np.ndarray,
    count: int,
    options: tuple[float, bool],
    areas: np.ndarray,
    edges: np.ndarray,
    polygon: np.ndarray,
    spare: np.ndarray,
) -> tuple[float, float, float, float]:
    """Areas and edge counts of the faces; volume, longest edge, distortion and reach of the cell.

    The volume is NaN, and the rest worthless, where the cell has no end.
    """
    min_edge, with_distortion = options
    volume, longest, distortion, farthest = 0.0, 0.0, 0.0, 0.0
    if count < 4:
        return np.nan, np.nan, np.nan, np.inf
    touch = max(min_edge, _TOUCH * np.sqrt(2 * halves[0]))
    for j in range(count):
        size = _face(vectors, halves, count, j, polygon, spare)
        double, edges[j] = 0.0, 0
        for v in range(size):
            if polygon[v, 2] < 0:
                return np.nan, np.nan, np.nan, np.inf
            w = v + 1 if v + 1 < size else 0
            double += polygon[v, 0] * polygon[w, 1] - polygon[w, 0] * polygon[v, 1]
            length = np.hypot(polygon[w, 0] - polygon[v, 0], polygon[w, 1] - polygon[v, 1])
            longest = max(longest, length)
            farthest = max(farthest, polygon[v, 0] ** 2 + polygon[v, 1] ** 2 + halves[j] / 2)
            if length > touch:
                edges[j] += 1
        areas[j] = abs(double) / 2
        volume += areas[j] * np.sqrt(2 * halves[j]) / 6
        if with_distortion:
            for v in range(size):
                # The corner where edge v begins is shared with the edge before; each corner once, from its
                # lowest face.
                a, b = int(polygon[v, 2]), int(polygon[v - 1 if v > 0 else size - 1, 2])
                if a > j and b > j:
                    distortion = max(distortion, _distortion(vectors, halves, j, a, b))
    return volume, longest, distortion, 2 * np.sqrt(farthest)


@njit(cache=True, nogil=True)
def _distortion(vectors: np.ndarray, halves: np.ndarray, j: int, a: int, b: int) -> float:
    """Longest over mean edge, less one, of the tetrahedron of the center and three neighbors."""
    ja, jb, ab = 0.0, 0.0, 0.0
    for c in range(3):
        ja += (vectors[a, c] - vectors[j, c]) ** 2
        jb += (vectors[b, c] - vectors[j, c]) ** 2
        ab += (vectors[b, c] - vectors[a, c]) ** 2
    ja, jb, ab = np.sqrt(ja), np.sqrt(jb), np.sqrt(ab)
    rj, ra, rb = np.sqrt(2 * halves[j]), np.sqrt(2 * halves[a]), np.sqrt(2 * halves[b])
    return 6 * max(ja, jb, ab, rj, ra, rb) / (ja + jb + ab + rj + ra + rb) - 1


@njit(cache=True, nogil=True)
def _face(vectors: np.ndarray, halves: np.ndarray, count: int, j: int, polygon: np.ndarray, spare: np.ndarray) -> int:
    """Face towards neighbor j: corners in its plane, from the middle of the bond.

    ``polygon[v]`` holds the corner and the neighbor that made the edge from it to the next corner, -1 for the
    square it all begins with. Neighbor k leaves the half-plane ``a u + b v <= c``. Returns the count of corners.
    """
    x, y, z = vectors[j, 0], vectors[j, 1], vectors[j, 2]
    length = np.sqrt(2 * halves[j])
    # Two directions in the plane; the first is normal to the axis along which the bond is shortest.
    if abs(x) <= abs(y) and abs(x) <= abs(z):
        ux, uy, uz = 0.0, -z, y
    elif abs(y) <= abs(z):
        ux, uy, uz = z, 0.0, -x
    else:
        ux, uy, uz = -y, x, 0.0
    norm = np.sqrt(ux * ux + uy * uy + uz * uz)
    ux, uy, uz = ux / norm, uy / norm, uz / norm
    vx, vy, vz = (y * uz - z * uy) / length, (z * ux - x * uz) / length, (x * uy - y * ux) / length
    side = _OPEN * np.sqrt(2 * halves[count - 1])
    polygon[0, 0], polygon[0, 1] = -side, -side
    polygon[1, 0], polygon[1, 1] = side, -side
    polygon[2, 0], polygon[2, 1] = side, side
    polygon[3, 0], polygon[3, 1] = -side, side
    polygon[:4, 2] = -1.0
    size, farthest = 4, np.inf
    for k in range(count):
        # Planes are sorted: no corner is as far as this one, nor as any later one.
        if halves[k] / 2 > farthest:
            break
        if k == j:
            continue
        a = vectors[k, 0] * ux + vectors[k, 1] * uy + vectors[k, 2] * uz
        b = vectors[k, 0] * vx + vectors[k, 1] * vy + vectors[k, 2] * vz
        c = halves[k] - (vectors[k, 0] * x + vectors[k, 1] * y + vectors[k, 2] * z) / 2
        cuts = False
        for v in range(size):
            if a * polygon[v, 0] + b * polygon[v, 1] > c:
                cuts = True
                break
        if not cuts:
            continue
        size = _cut(polygon, size, a, b, c, k, spare)
        if size == 0:
            return 0
        farthest = 0.0
        for v in range(size):
            farthest = max(farthest, polygon[v, 0] ** 2 + polygon[v, 1] ** 2 + halves[j] / 2)
    return size


@njit(cache=True, nogil=True)
def _cut(polygon: np.ndarray, size: int, a: float, b: float, c: float, label: int, spare: np.ndarray) -> int:
    """Keep what lies in ``a u + b v <= c``; the new edge gets the label."""
    new = 0
    value = a * polygon[0, 0] + b * polygon[0, 1] - c
    for v in range(size):
        w = v + 1 if v + 1 < size else 0
        after = a * polygon[w, 0] + b * polygon[w, 1] - c
        if value <= 0:
            spare[new, 0], spare[new, 1], spare[new, 2] = polygon[v, 0], polygon[v, 1], polygon[v, 2]
            new += 1
        if (value <= 0) != (after <= 0):
            # From the nearer end: the other may be a corner of the far square.
            if abs(value) <= abs(after):
                t = value / (value - after)
                spare[new, 0] = polygon[v, 0] + t * (polygon[w, 0] - polygon[v, 0])
                spare[new, 1] = polygon[v, 1] + t * (polygon[w, 1] - polygon[v, 1])
            else:
                t = after / (after - value)
                spare[new, 0] = polygon[w, 0] + t * (polygon[v, 0] - polygon[w, 0])
                spare[new, 1] = polygon[w, 1] + t * (polygon[v, 1] - polygon[w, 1])
            spare[new, 2] = label if value <= 0 else polygon[v, 2]
            new += 1
        value = after
    for v in range(new):
        polygon[v, 0], polygon[v, 1], polygon[v, 2] = spare[v, 0], spare[v, 1], spare[v, 2]
    return new
