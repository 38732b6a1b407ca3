"""Sums that are the same whatever the order of their terms: a sum, and what its rounding left over.

A pair of doubles holds a sum to some 32 digits, so that the sum, rounded to one double at the end, does not tell in
which order or in how many parts it was added up, but for a chance of the order of 1e-10. The remainders are those of
Knuth's and Dekker's error-free sum and product, see [Ogita2005]_ in references.bib.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit

# Values summed together: both parts of their sums stay in the processor's fastest cache.
_TILE = 1024
# Splits a double into two halves of 26 bits.
_SPLITTER = 134217729.0
# So many values of 16 bits, or squares of them, add up without rounding.
_EXACT_TERMS = 2**20


def sum_pair(a: np.ndarray | float, b: np.ndarray | float) -> tuple:
    """``a + b`` as its rounded value and the exact rest; of finite numbers."""
    total = a + b
    shadow = total - a
    return total, (a - (total - shadow)) + (b - shadow)


def product_pair(a: np.ndarray | float, b: np.ndarray | float) -> tuple:
    """``a * b`` as its rounded value and the exact rest; of numbers between 1e-140 and 1e290."""
    product = a * b
    large = _SPLITTER * a
    a_high = large - (large - a)
    a_low = a - a_high
    large = _SPLITTER * b
    b_high = large - (large - b)
    b_low = b - b_high
    return product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


#: The same inside numba.
two_sum = njit(nogil=True, inline="always")(sum_pair)
two_product = njit(nogil=True, inline="always")(product_pair)


@njit(nogil=True, cache=True)
def _add_plain(flat: np.ndarray, sums: np.ndarray) -> None:
    """Add rows (n, m) of small integers to ``sums`` (m,)."""
    for begin in range(0, sums.size, _TILE):
        end = min(begin + _TILE, sums.size)
        total = sums[begin:end]
        for i in range(flat.shape[0]):
            row = flat[i, begin:end]
            for p in range(end - begin):
                total[p] += np.float64(row[p])


@njit(nogil=True, cache=True)
def _add_paired(flat: np.ndarray, sums: np.ndarray) -> None:
    """Add rows (n, m) to ``sums`` (2, m)."""
    for begin in range(0, sums.shape[1], _TILE):
        end = min(begin + _TILE, sums.shape[1])
        total, rest = sums[0, begin:end], sums[1, begin:end]
        for i in range(flat.shape[0]):
            row = flat[i, begin:end]
            for p in range(end - begin):
                total[p], error = two_sum(total[p], np.float64(row[p]))
                rest[p] += error


def adds_exactly(dtype: np.dtype) -> bool:
    """Whether values of this type, and their squares, are so small that a double adds a million without rounding."""
    return dtype.kind in "iub" and dtype.itemsize <= 2


def exact_parts(flat: np.ndarray) -> list[np.ndarray]:
    """Rows (n, m) in parts that are short enough for :func:`adds_exactly`."""
    return [flat[start : start + _EXACT_TERMS] for start in range(0, len(flat), _EXACT_TERMS)]


def paired_sum(values: np.ndarray) -> np.ndarray:
    """Sum over the first axis, and what rounding left over.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (n, ...), any real type and byte order; never changed.

    Returns
    -------
    numpy.ndarray
        Shape (2, ...), float64: the sum, correctly rounded, and the rest; NaN where a value is not finite.

    Examples
    --------
    >>> paired_sum(np.array([1e20, 1.0, -1e20]))
    array([1., 0.])
    """
    values = np.asarray(values)
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    flat = flat.astype(flat.dtype.newbyteorder("="), copy=False)
    sums = np.zeros((2, flat.shape[1]))
    if adds_exactly(flat.dtype):
        for part in exact_parts(flat):
            total = np.zeros(flat.shape[1])
            _add_plain(part, total)
            add_pair(sums, np.stack([total, np.zeros_like(total)]))
    else:
        _add_paired(flat, sums)
    return normalized(sums).reshape(2, *values.shape[1:])


def add_pair(sums: np.ndarray, other: np.ndarray) -> None:
    """Add one sum (2, ...) of pairs to another, in place."""
    with np.errstate(invalid="ignore", over="ignore"):
        total, error = sum_pair(sums[0], other[0])
    sums[1] += other[1] + error
    sums[0] = total


def merged(parts: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Sum of the sums (n, 2, ...) of parts, in any order: (2, ...)."""
    sums = np.array(parts[0], dtype=np.float64)
    for part in parts[1:]:
        add_pair(sums, part)
    return normalized(sums)


def normalized(sums: np.ndarray) -> np.ndarray:
    """The same pairs (2, ...), the first part of each being the rounded sum of both."""
    # What is infinite has no remainder.
    with np.errstate(invalid="ignore", over="ignore"):
        return np.stack(sum_pair(sums[0], sums[1]))
