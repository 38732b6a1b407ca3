"""Products of curves with a matrix that round each curve alike, whatever other curves are there.

A library for matrix products sums in another order for one row than for a hundred: the same curve then gets other
last digits from another chunk of the scan. Here the terms of every number are added in the order of the curve's
points, on any processor.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Rows and columns of a tile of the result, which stays in the processor's registers and nearest cache.
_ROWS, _COLUMNS = 4, 128


@njit(nogil=True, cache=True)
def _multiply(rows: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> None:
    """``out = rows @ matrix`` for whole tiles of rows."""
    n_points, n_columns = matrix.shape
    for start in range(0, n_columns, _COLUMNS):
        stop = min(start + _COLUMNS, n_columns)
        for i in range(0, rows.shape[0], _ROWS):
            a, b, c, d = out[i, start:stop], out[i + 1, start:stop], out[i + 2, start:stop], out[i + 3, start:stop]
            a[:] = 0
            b[:] = 0
            c[:] = 0
            d[:] = 0
            for k in range(n_points):
                factors = matrix[k, start:stop]
                of_a, of_b, of_c, of_d = rows[i, k], rows[i + 1, k], rows[i + 2, k], rows[i + 3, k]
                for j in range(stop - start):
                    factor = factors[j]
                    a[j] += of_a * factor
                    b[j] += of_b * factor
                    c[j] += of_c * factor
                    d[j] += of_d * factor


def row_products(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Matrix product whose rows do not depend on each other.

    Parameters
    ----------
    rows : numpy.ndarray
        Shape (n, k), floating.
    matrix : numpy.ndarray
        Shape (k, m), or (k,).

    Returns
    -------
    numpy.ndarray
        Shape (n, m), or (n,); of the type that both have in common.

    Examples
    --------
    >>> row_products(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    array([[11.]])
    """
    dtype = np.result_type(rows, matrix)
    columns = np.ascontiguousarray(matrix[:, None] if matrix.ndim == 1 else matrix, dtype=dtype)
    n, whole = len(rows), len(rows) // _ROWS * _ROWS
    out = np.empty((n, columns.shape[1]), dtype)
    _multiply(np.ascontiguousarray(rows[:whole], dtype=dtype), columns, out[:whole])
    if whole < n:
        # Full tiles here too, so that there is only one way to add.
        last = np.zeros((_ROWS, rows.shape[1]), dtype)
        last[: n - whole] = rows[whole:]
        made = np.empty((_ROWS, columns.shape[1]), dtype)
        _multiply(last, columns, made)
        out[whole:] = made[: n - whole]
    return out.reshape(n, *matrix.shape[1:])
