"""Where a peak on the fine grid has its top: a polynomial fitted over and over around the moving top.

All moments of the weighted normal equations come from sums along one axis at a time, because the weight is a product
and the ball of samples is a stack of lines; the equations themselves are 35 x 35 and solved by Cholesky's method.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from medrange.aet.tomography.fine_grid import MARGIN, FineGrid

#: What the fit of a local maximum came to.
KEPT, NO_MAXIMUM, MOVED_AWAY, TOO_CLOSE, UNSETTLED = 0, -1, -2, -3, -4

_RADIUS = 3
_SIDE = 2 * _RADIUS + 1
_DEGREE = 4
_POWERS = 2 * _DEGREE + 1
# Samples |d| <= 3.5 of the ball; weight exp(-|d - p|^2 / 9) on both sides of the equations.
_BALL = 3.5**2
_WEIGHT = 2 / 9
# Unit of length of the monomials, fine voxels: keeps the normal equations well conditioned.
_UNIT = 1.5
_MOST_STEPS, _CALM_STEPS = 14, 7
_LONGEST_STEP, _FARTHEST = 0.5, 3.0


def _monomials() -> np.ndarray:
    """Exponents (35, 3) to total degree 4; the quadratic and the linear terms come last, for a short solution."""
    grid = np.indices((_DEGREE + 1,) * 3).reshape(3, -1).T
    grid = grid[grid.sum(axis=1) <= _DEGREE]
    rank = np.array([2, 4, 3, 1, 0])[grid.sum(axis=1)]
    return grid[np.argsort(rank, kind="stable")]


def _column_heights() -> np.ndarray:
    """Half lengths along z of the ball's lines at |dx|, |dy|; -1 outside the ball."""
    d = np.arange(_RADIUS + 1)
    room = _BALL - d[:, None] ** 2 - d**2
    return np.where(room >= 0, np.floor(np.sqrt(np.maximum(room, 0))), -1).astype(np.int64)


_EXPONENTS = _monomials()
_N = len(_EXPONENTS)
_PAIRS = _EXPONENTS[:, None] + _EXPONENTS
_MOMENT = (_PAIRS[..., 0] * _POWERS + _PAIRS[..., 1]) * _POWERS + _PAIRS[..., 2]
_DATA = (_EXPONENTS[:, 0] * (_DEGREE + 1) + _EXPONENTS[:, 1]) * (_DEGREE + 1) + _EXPONENTS[:, 2]
_HEIGHTS = _column_heights()
_FIRST = _N - 9
# Rows of the last nine unknowns: xx, yy, zz, xy, xz, yz, x, y, z.
_TERMS = [(2, 0, 0), (0, 2, 0), (0, 0, 2), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
_ROWS = np.array([_EXPONENTS.tolist().index(list(term)) - _FIRST for term in _TERMS])


def fit_peaks(grid: FineGrid, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tops of the peaks around local maxima of the fine grid.

    The samples d in the ball |d| <= 3.5 around a maximum are fitted by a polynomial of total degree 4 in d - p with
    weights exp(-|d - p|^2 / 9), p being the present estimate, 0 at first. A Newton step -H^-1 g of the polynomial at p,
    no longer than 0.5 per axis, moves p; after seven steps in a row of which none had to be shortened, p is the top.

    Parameters
    ----------
    grid : FineGrid
        The volume.
    samples : numpy.ndarray
        Shape (M, 3), integers: the maxima, indices on the fine grid.

    Returns
    -------
    tops : numpy.ndarray
        Shape (M, 3): positions in fine samples; NaN where there is none.
    status : numpy.ndarray
        Shape (M,), int8: 0 for a top, -1 where det H >= 0, -2 if p moved by more than 3 fine samples along an axis,
        -4 if there were no seven steps in a row within 14.
    """
    tops = np.empty((len(samples), 3))
    status = np.empty(len(samples), np.int8)
    _fit_all(grid.coefficients, grid.starts, grid.weights, samples, tops, status)
    return tops, status


@njit(cache=True, nogil=True)
def _fit_all(coefficients, starts, weights, samples, tops, status):  # noqa: ANN001, ANN202
    patch = np.empty((_SIDE, _SIDE, _SIDE))
    system = np.empty((_N, _N + 1))
    work = np.empty((2, 16, 16, 16))
    for m in range(len(samples)):
        _fill_patch(coefficients, starts, weights, samples[m], work, patch)
        status[m] = _fit_one(patch, system, tops[m])
        for axis in range(3):
            tops[m, axis] = tops[m, axis] + samples[m, axis] if status[m] == KEPT else np.nan


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _fill_patch(coefficients, starts, weights, sample, work, patch):  # noqa: ANN001, ANN202
    """The 7 x 7 x 7 fine samples around a sample, one axis after the other."""
    taps = weights[0].shape[1]
    corner = np.empty(3, np.int64)
    size = np.empty(3, np.int64)
    first = np.empty(3, np.int64)
    for axis in range(3):
        first[axis] = sample[axis] + MARGIN - _RADIUS
        corner[axis] = starts[axis][first[axis]]
        size[axis] = starts[axis][first[axis] + _SIDE - 1] + taps - corner[axis]
    work[:, :_SIDE] = 0
    for i in range(_SIDE):
        for t in range(taps):
            weight = weights[0][first[0] + i, t]
            x = starts[0][first[0] + i] + t
            for b in range(size[1]):
                for c in range(size[2]):
                    work[0, i, b, c] += weight * coefficients[x, corner[1] + b, corner[2] + c]
        for j in range(_SIDE):
            for t in range(taps):
                weight = weights[1][first[1] + j, t]
                b = starts[1][first[1] + j] + t - corner[1]
                for c in range(size[2]):
                    work[1, i, j, c] += weight * work[0, i, b, c]
            for k in range(_SIDE):
                total = 0.0
                for t in range(taps):
                    total += weights[2][first[2] + k, t] * work[1, i, j, starts[2][first[2] + k] + t - corner[2]]
                patch[i, j, k] = total


@njit(cache=True, nogil=True)
def _fit_one(patch, system, p):  # noqa: ANN001, ANN202
    """Move p (3,) from 0 to the top of a patch; returns the status."""
    p[:] = 0
    calm = 0
    step = np.empty(3)
    for _ in range(_MOST_STEPS):
        _normal_equations(patch, p, system)
        _eliminate(system)
        if not _newton_step(system, step):
            return NO_MAXIMUM
        calm += 1
        for axis in range(3):
            if not abs(step[axis]) < _LONGEST_STEP:
                step[axis] = _LONGEST_STEP if step[axis] > 0 else -_LONGEST_STEP
                calm = 0
            p[axis] += step[axis]
        if max(abs(p[0]), abs(p[1]), abs(p[2])) > _FARTHEST:
            return MOVED_AWAY
        if calm == _CALM_STEPS:
            return KEPT
    return UNSETTLED


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _normal_equations(patch, p, system):  # noqa: ANN001, ANN202
    """Upper triangle of the weighted normal equations in (d - p) / _UNIT, with the right-hand side in column _N."""
    terms = np.empty((3, _SIDE, _POWERS))
    for axis in range(3):
        for i in range(_SIDE):
            d = i - _RADIUS - p[axis]
            value = np.exp(-_WEIGHT * d * d)
            for power in range(_POWERS):
                terms[axis, i, power] = value
                value *= d / _UNIT
    lines = np.empty((_RADIUS + 1, _POWERS))
    lines[0] = terms[2, _RADIUS]
    for reach in range(1, _RADIUS + 1):
        for c in range(_POWERS):
            lines[reach, c] = lines[reach - 1, c] + terms[2, _RADIUS - reach, c] + terms[2, _RADIUS + reach, c]
    moments = np.zeros(_POWERS * _POWERS * _POWERS)
    data = np.zeros((_DEGREE + 1) ** 3)
    planes = np.zeros((_RADIUS + 1, _POWERS * _POWERS))
    for x in range(_RADIUS + 1):
        for j in range(_SIDE):
            reach = _HEIGHTS[x, abs(j - _RADIUS)]
            if reach < 0:
                continue
            for b in range(_POWERS):
                weight = terms[1, j, b]
                for c in range(_POWERS):
                    planes[x, b * _POWERS + c] += weight * lines[reach, c]
    for i in range(_SIDE):
        plane = planes[abs(i - _RADIUS)]
        for a in range(_POWERS):
            weight = terms[0, i, a]
            base = a * _POWERS * _POWERS
            for bc in range((_POWERS - a) * _POWERS):
                moments[base + bc] += weight * plane[bc]
    _project(patch, terms, data)
    for row in range(_N):
        for column in range(row, _N):
            system[row, column] = moments[_MOMENT[row, column]]
        system[row, _N] = data[_DATA[row]]


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _project(patch, terms, data):  # noqa: ANN001, ANN202
    """Weighted sums of the samples times monomials, exponents to the degree on each axis."""
    n = _DEGREE + 1
    line = np.empty(n)
    plane = np.empty(n * n)
    for i in range(_SIDE):
        plane[:] = 0
        for j in range(_SIDE):
            reach = _HEIGHTS[abs(i - _RADIUS), abs(j - _RADIUS)]
            if reach < 0:
                continue
            line[:] = 0
            for k in range(_RADIUS - reach, _RADIUS + reach + 1):
                value = patch[i, j, k]
                for c in range(n):
                    line[c] += value * terms[2, k, c]
            for b in range(n):
                for c in range(n):
                    plane[b * n + c] += terms[1, j, b] * line[c]
        for a in range(n):
            weight = terms[0, i, a]
            for bc in range(n * n):
                data[a * n * n + bc] += weight * plane[bc]


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _eliminate(system):  # noqa: ANN001, ANN202
    """Cholesky factor of the upper triangle in place; column _N becomes the forward-substituted right-hand side."""
    for k in range(_N):
        scale = 1 / np.sqrt(system[k, k])
        for column in range(k, _N + 1):
            system[k, column] *= scale
        for row in range(k + 1, _N):
            factor = system[k, row]
            for column in range(row, _N + 1):
                system[row, column] -= factor * system[k, column]


@njit(cache=True, nogil=True)
def _newton_step(system, step):  # noqa: ANN001, ANN202
    """-H^-1 g of the fitted polynomial in fine samples; False unless det H < 0."""
    x = np.empty(9)
    for row in range(8, -1, -1):
        total = system[_FIRST + row, _N]
        for column in range(row + 1, 9):
            total -= system[_FIRST + row, _FIRST + column] * x[column]
        x[row] = total / system[_FIRST + row, _FIRST + row]
    xx, yy, zz = 2 * x[_ROWS[0]], 2 * x[_ROWS[1]], 2 * x[_ROWS[2]]
    xy, xz, yz = x[_ROWS[3]], x[_ROWS[4]], x[_ROWS[5]]
    gx, gy, gz = x[_ROWS[6]], x[_ROWS[7]], x[_ROWS[8]]
    ax, ay, az = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    det = xx * ax + xy * ay + xz * az
    if not det < 0:
        return False
    step[0] = -_UNIT * (ax * gx + ay * gy + az * gz) / det
    step[1] = -_UNIT * (ay * gx + (xx * zz - xz * xz) * gy + (xz * xy - xx * yz) * gz) / det
    step[2] = -_UNIT * (az * gx + (xz * xy - xx * yz) * gy + (xx * yy - xy * xy) * gz) / det
    return True
