"""Histogram of pair distances, without a list of the pairs."""

from __future__ import annotations

import numpy as np
from numba import njit

# Cells per cutoff: small cells waste little outside the sphere, large ones have little to look up.
_CELLS = 3
_MAX_CELLS = 10_000_000


def pair_counts(
    positions: np.ndarray, n_atoms: int, kinds: np.ndarray, edges: tuple[float, int], *, n_kinds: int = 1
) -> np.ndarray:
    """Ordered pairs by distance and by the kinds of their atoms.

    Parameters
    ----------
    positions : numpy.ndarray
        Shape (N + images, 3), angstrom: the atoms, then their periodic images
        (:func:`~medrange.aet.atoms.neighbors.with_images`).
    n_atoms : int
        N; only these are first atoms of a pair.
    kinds : numpy.ndarray
        Shape (N + images,), int, 0 .. n_kinds - 1.
    edges : tuple
        Width of the bins, angstrom, and their count: bin b holds ``b <= r/width < b + 1``.
    n_kinds : int
        How many kinds.

    Returns
    -------
    numpy.ndarray
        Shape (n_kinds, n_kinds, bins), int64; an atom and itself are no pair.

    Examples
    --------
    >>> positions = np.array([[0.0, 0, 0], [1.5, 0, 0], [0, 2.5, 0]])
    >>> pair_counts(positions, 3, np.zeros(3, int), (1.0, 3))[0, 0]
    array([0, 2, 4])
    """
    width, bins = edges
    low, high = positions.min(axis=0), positions.max(axis=0)
    size = width * bins / _CELLS
    while np.prod((high - low) // size + 1) > _MAX_CELLS:
        size *= 2
    cells = ((positions - low) / size).astype(np.int64)
    shape = cells.max(axis=0) + 1
    flat = (cells[:, 0] * shape[1] + cells[:, 1]) * shape[2] + cells[:, 2]
    order = np.argsort(flat, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=int(np.prod(shape))))])
    counts = np.zeros((n_kinds, n_kinds, bins), dtype=np.int64)
    reach = int(np.ceil(width * bins / size))
    sorted_atoms = (positions[order], kinds[order].astype(np.int64), order < n_atoms)
    _count(sorted_atoms, cells[order], (starts, shape), reach, (1 / width, width * bins), counts)
    return counts


@njit(cache=True, nogil=True)
def _count(
    atoms: tuple, cells: np.ndarray, lattice: tuple, reach: int, scale: tuple[float, float], counts: np.ndarray
) -> None:
    positions, kinds, first = atoms
    starts, shape = lattice
    per_angstrom, limit = scale
    bins = counts.shape[2]
    for a in range(positions.shape[0]):
        x, y, z = positions[a, 0], positions[a, 1], positions[a, 2]
        bottom, top = max(0, cells[a, 2] - reach), min(shape[2] - 1, cells[a, 2] + reach)
        for i in range(max(0, cells[a, 0] - reach), min(shape[0] - 1, cells[a, 0] + reach) + 1):
            for j in range(max(0, cells[a, 1] - reach), min(shape[1] - 1, cells[a, 1] + reach) + 1):
                # Cells along z are neighbors in memory. A pair is seen once, from the atom that comes first.
                row = (i * shape[1] + j) * shape[2]
                for b in range(max(a + 1, starts[row + bottom]), starts[row + top + 1]):
                    dx, dy, dz = positions[b, 0] - x, positions[b, 1] - y, positions[b, 2] - z
                    square = dx * dx + dy * dy + dz * dz
                    if square < limit * limit:
                        n = min(int(np.sqrt(square) * per_angstrom), bins - 1)
                        if first[a]:
                            counts[kinds[a], kinds[b], n] += 1
                        if first[b]:
                            counts[kinds[b], kinds[a], n] += 1
