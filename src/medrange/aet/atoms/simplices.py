"""Numbers of tetrahedra: circumradius, longest and mean edge; their neighbors among a part of them."""

from __future__ import annotations

import numpy as np
from numba import njit

# Tetrahedra flatter than this, six times the volume over the cube of the longest edge, are four points of a
# plane: Qhull makes them where more than four atoms lie on a sphere, as in a crystal.
_FLATNESS = 1e-5


@njit(cache=True, nogil=True)
def tetrahedron_measures(positions: np.ndarray, simplices: np.ndarray) -> np.ndarray:
    """Circumradius, longest edge and mean edge.

    Parameters
    ----------
    positions : numpy.ndarray
        Shape (N, 3), float64, angstrom.
    simplices : numpy.ndarray
        Shape (n, 4), atom indices.

    Returns
    -------
    numpy.ndarray
        Shape (n, 3), angstrom. The circumradius of a flat one is inf.

    Examples
    --------
    >>> corners = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    >>> tetrahedron_measures(corners, np.array([[0, 1, 2, 3]])) ** 2
    array([[3., 8., 8.]])
    """
    measures = np.empty((simplices.shape[0], 3))
    e, cross, square = np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    for t in range(simplices.shape[0]):
        longest, total = 0.0, 0.0
        for a in range(3):
            for b in range(a + 1, 4):
                length = 0.0
                for c in range(3):
                    length += (positions[simplices[t, b], c] - positions[simplices[t, a], c]) ** 2
                length = np.sqrt(length)
                longest, total = max(longest, length), total + length
        for a in range(3):
            square[a] = 0.0
            for c in range(3):
                e[a, c] = positions[simplices[t, a + 1], c] - positions[simplices[t, 0], c]
                square[a] += e[a, c] ** 2
        for a in range(3):
            b, c = (a + 1) % 3, (a + 2) % 3
            cross[a, 0] = e[b, 1] * e[c, 2] - e[b, 2] * e[c, 1]
            cross[a, 1] = e[b, 2] * e[c, 0] - e[b, 0] * e[c, 2]
            cross[a, 2] = e[b, 0] * e[c, 1] - e[b, 1] * e[c, 0]
        six_volume = abs(e[0, 0] * cross[0, 0] + e[0, 1] * cross[0, 1] + e[0, 2] * cross[0, 2])
        numerator = 0.0
        for c in range(3):
            numerator += (square[0] * cross[0, c] + square[1] * cross[1, c] + square[2] * cross[2, c]) ** 2
        flat = six_volume <= _FLATNESS * longest**3
        measures[t, 0] = np.inf if flat else np.sqrt(numerator) / (2 * six_volume)
        measures[t, 1], measures[t, 2] = longest, total / 6
    return measures


@njit(cache=True, nogil=True)
def part_of(simplices: np.ndarray, neighbors: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some of the tetrahedra, and their neighbors among them.

    Parameters
    ----------
    simplices : numpy.ndarray
        Shape (n, 4), atom indices.
    neighbors : numpy.ndarray
        Shape (n, 4): the tetrahedron across the face opposite to each corner; -1 for none.
    kept : numpy.ndarray
        Indices of the tetrahedra to keep.

    Returns
    -------
    vertices, neighbors : numpy.ndarray
        Shape (kept, 4), int32; neighbors counted among those kept, -1 where the face is free.
    """
    number = np.full(simplices.shape[0], -1, np.int32)
    for k in range(kept.shape[0]):
        number[kept[k]] = k
    vertices, across = np.empty((kept.shape[0], 4), np.int32), np.empty((kept.shape[0], 4), np.int32)
    for k in range(kept.shape[0]):
        for c in range(4):
            vertices[k, c] = simplices[kept[k], c]
            other = neighbors[kept[k], c]
            across[k, c] = number[other] if other >= 0 else -1
    return vertices, across


@njit(cache=True, nogil=True)
def shared_faces(neighbors: np.ndarray) -> np.ndarray:
    """Pairs (i, j), i < j, of tetrahedra with a common face, sorted; int32, shape (pairs, 2).

    Parameters
    ----------
    neighbors : numpy.ndarray
        Shape (n, 4), the tetrahedron across each face, -1 for none.

    Returns
    -------
    numpy.ndarray
        The pairs.
    """
    count = 0
    for t in range(neighbors.shape[0]):
        for c in range(4):
            count += neighbors[t, c] > t
    pairs, row = np.empty((count, 2), np.int32), 0
    for t in range(neighbors.shape[0]):
        first = row
        for c in range(4):
            if neighbors[t, c] > t:
                place = row
                while place > first and pairs[place - 1, 1] > neighbors[t, c]:
                    pairs[place] = pairs[place - 1]
                    place -= 1
                pairs[place, 0], pairs[place, 1] = t, neighbors[t, c]
                row += 1
    return pairs
