"""Rings and chains of face-sharing tetrahedra.

Around an edge AB the tetrahedra form a ring if each face that contains AB belongs to two of them. In the graph
of shared faces that ring is a cycle without a chord whose tetrahedra have A and B in common, and every such
cycle is the ring of an edge: a walk around each edge finds them without any search.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# More tetrahedra than this never fit around an edge: a walk that takes longer goes astray.
_LONGEST = 64


@njit(cache=True, nogil=True)
def edge_rings(vertices: np.ndarray, neighbors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Complete rings of tetrahedra around an edge.

    Parameters
    ----------
    vertices : numpy.ndarray
        Shape (n, 4), int32, atoms of the tetrahedra.
    neighbors : numpy.ndarray
        Shape (n, 4), int32: the tetrahedron across the face opposite to each atom; -1 for none.

    Returns
    -------
    starts : numpy.ndarray
        Shape (rings + 1,), int64: ring r is ``members[starts[r]:starts[r + 1]]``.
    members : numpy.ndarray
        Tetrahedra in the order of the ring, from the lowest index.
    atoms : numpy.ndarray
        Aligned with members: the atom, other than the two of the edge, between this tetrahedron and the next.
    caps : numpy.ndarray
        Shape (rings, 2): the two atoms of the edge, the lower index first.
    """
    n = vertices.shape[0]
    # A tetrahedron stands in at most one ring per edge; rings have at least three.
    members, atoms = np.empty(6 * n, np.int32), np.empty(6 * n, np.int32)
    starts, caps = np.zeros(2 * n + 1, np.int64), np.empty((2 * n, 2), np.int32)
    count, end = 0, 0
    for t in range(n):
        for p in range(3):
            for q in range(p + 1, 4):
                # Off over the face opposite to atom p, with atom q between; the other two are the caps.
                size = _walk(vertices, neighbors, t, p, q, members[end:], atoms[end:])
                if size == 0:
                    continue
                filled = 0
                for c in range(4):
                    if c != p and c != q:
                        caps[count, filled] = vertices[t, c]
                        filled += 1
                if caps[count, 0] > caps[count, 1]:
                    caps[count, 0], caps[count, 1] = caps[count, 1], caps[count, 0]
                end += size
                count += 1
                starts[count] = end
    return starts[: count + 1].copy(), members[:end].copy(), atoms[:end].copy(), caps[:count].copy()


@njit(cache=True, nogil=True)
def _walk(
    vertices: np.ndarray, neighbors: np.ndarray, start: int, p: int, q: int, members: np.ndarray, atoms: np.ndarray
) -> int:
    """Length of the ring from ``start`` around the edge without p and q; 0 where it is broken or told elsewhere."""
    here, leave, between = start, p, q
    size = 0
    while True:
        if size == _LONGEST or size == members.shape[0]:
            return 0
        members[size], atoms[size] = here, vertices[here, between]
        size += 1
        ahead = neighbors[here, leave]
        # A lower index has begun this ring before, or will not close it either.
        if ahead < start:
            return 0
        if ahead == start:
            return size if size > 2 else 0
        # The atom between is left behind next; the new one, opposite to the face just crossed, comes between.
        atom, kept, fresh = vertices[here, between], -1, -1
        for c in range(4):
            if neighbors[ahead, c] == here:
                fresh = c
            elif vertices[ahead, c] == atom:
                kept = c
        if kept < 0 or fresh < 0:
            return 0
        here, leave, between = ahead, kept, fresh


@njit(cache=True, nogil=True)
def open_chains(neighbors: np.ndarray, in_ring: np.ndarray, shortest: int, longest: int) -> np.ndarray:
    """Chains of three tetrahedra with an open end, none of them on a cycle.

    Parameters
    ----------
    neighbors : numpy.ndarray
        Shape (n, 4), int32, the tetrahedron across each face; -1 for none.
    in_ring : numpy.ndarray
        Shape (n,), bool: known to lie on a cycle of those lengths.
    shortest, longest : int
        Lengths of the simple cycles, with chords or without, that keep a tetrahedron out of chains.

    Returns
    -------
    numpy.ndarray
        Shape (chains, 3), int32: the last one has the middle one as its only neighbor.
    """
    n = neighbors.shape[0]
    degree = np.zeros(n, np.int8)
    for t in range(n):
        for c in range(4):
            degree[t] += neighbors[t, c] >= 0
    cyclic = _cores(neighbors, degree)
    for t in range(n):
        if in_ring[t]:
            cyclic[t] = 1
    path, tried = np.empty(longest + 1, np.int32), np.empty(longest + 1, np.int8)
    # Grows where that is too short: a middle has up to six pairs of neighbors.
    chains, count = np.empty((n + 6, 3), np.int32), 0
    for a in range(n):
        if degree[a] < 2 or cyclic[a] == 1 or not _has_open_end(neighbors, degree, a):
            continue
        if _on_cycle(neighbors, cyclic, a, shortest, longest, path, tried):
            continue
        for c in range(4):
            for d in range(c + 1, 4):
                x, b = neighbors[a, c], neighbors[a, d]
                if x < 0 or b < 0:
                    continue
                if degree[b] > 1:
                    x, b = b, x
                if degree[b] > 1 or _on_cycle(neighbors, cyclic, x, shortest, longest, path, tried):
                    continue
                if count == chains.shape[0]:
                    chains = np.concatenate((chains, np.empty_like(chains)))
                chains[count, 0], chains[count, 1], chains[count, 2] = x, a, b
                count += 1
    return chains[:count].copy()


@njit(cache=True, nogil=True)
def _cores(neighbors: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """0 for tetrahedra that are on no cycle because free ends were taken off until they became one; -1 for the rest."""
    n = neighbors.shape[0]
    left, cyclic = degree.copy(), np.full(n, -1, np.int8)
    for start in range(n):
        t = start
        while cyclic[t] < 0 and left[t] < 2:
            cyclic[t] = 0
            following = t
            for c in range(4):
                other = neighbors[t, c]
                if other >= 0 and cyclic[other] < 0:
                    left[other] -= 1
                    following = other
            t = following
    return cyclic


@njit(cache=True, nogil=True)
def _has_open_end(neighbors: np.ndarray, degree: np.ndarray, a: int) -> bool:
    found = False
    for c in range(4):
        found = found or (neighbors[a, c] >= 0 and degree[neighbors[a, c]] == 1)
    return found


@njit(cache=True, nogil=True)
def _on_cycle(
    neighbors: np.ndarray,
    cyclic: np.ndarray,
    start: int,
    shortest: int,
    longest: int,
    path: np.ndarray,
    tried: np.ndarray,
) -> bool:
    """Whether a simple cycle of shortest .. longest tetrahedra goes through ``start``.

    ``cyclic`` remembers: -1 not known, 0 on no such cycle, 1 on one.
    """
    if cyclic[start] >= 0:
        return cyclic[start] == 1
    depth = 0
    path[0], tried[0] = start, 0
    while depth >= 0:
        if tried[depth] == 4:
            depth -= 1
            continue
        ahead = neighbors[path[depth], tried[depth]]
        tried[depth] += 1
        if ahead < 0 or cyclic[ahead] == 0:
            continue
        if ahead == start:
            if depth + 1 >= shortest:
                for k in range(depth + 1):
                    cyclic[path[k]] = 1
                return True
            continue
        seen = depth + 1 >= longest
        for k in range(1, depth + 1):
            seen = seen or path[k] == ahead
        if not seen:
            depth += 1
            path[depth], tried[depth] = ahead, 0
    cyclic[start] = 0
    return False
