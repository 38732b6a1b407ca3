"""One pass over the patterns: polar means, and the ring statistics V2D and P_n, sixteen frames at a time.

The definitions are those of :mod:`medrange.kernels.angular`; here they are fused with the polar
operator, so that a frame is read once and the polar pattern is never stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.angular import pair_correction
from medrange.kernels.lanes import FAST, LANES, fill_lanes, flat_frames, full_blocks, load, spread, store, working_type
from medrange.kernels.polar import polar_operator
from medrange.kernels.rows import apply_rows, lanes_for, read_block, row_sum, sparse_rows

#: Columns of the ring statistics before the powers P_1, P_2, ...
RADIAL_MEAN, RING_MEAN, VARIANCE, FIRST_POWER = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class _Plan:
    """A polar operator and the tables the kernels need, in one floating type."""

    rows: tuple[np.ndarray, ...]  # one sparse row per bin
    share: np.ndarray  # (n_k, n_phi) area of a bin over the area of its ring
    is_open: np.ndarray  # (n_k, n_phi) 1 where a bin holds an open pixel, else 0
    n_open: np.ndarray  # (n_k,)
    corrections: dict[int, np.ndarray]  # ring -> matrix from raw powers to powers over valid pairs


@lru_cache(maxsize=32)
def _plan(geometry: DiffractionGeometry, grid: PolarGrid, dtype: type) -> _Plan:
    operator = polar_operator(geometry, grid)
    ring_area = operator.area.sum(axis=1, keepdims=True)
    share = np.divide(operator.area, ring_area, where=ring_area > 0, out=np.zeros_like(operator.area))
    n_pixels = geometry.shape[0] * geometry.shape[1]
    weights = operator.weights.astype(dtype)
    return _Plan(
        rows=sparse_rows(operator.pixels, operator.indptr, operator.columns, weights, n_pixels),
        share=share.astype(dtype),
        is_open=operator.is_open.astype(dtype),
        n_open=operator.is_open.sum(axis=1).astype(dtype),
        corrections={
            int(ring): pair_correction(operator.is_open[ring]).astype(dtype)
            for ring in np.flatnonzero(operator.is_open.any(axis=1) & ~operator.is_open.all(axis=1))
        },
    )


@lru_cache(maxsize=32)
def _fourier_rows(n_phi: int, n_max: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines (orders, bins of half a turn), for an even number of orders, at least n_max."""
    orders = np.arange(1, n_max + n_max % 2 + 1)[:, None]
    phi = 2 * np.pi * (np.arange((n_phi + 1) // 2) + 0.5) / n_phi
    return np.cos(orders * phi).astype(dtype), np.sin(orders * phi).astype(dtype)


@njit(nogil=True, fastmath=FAST, cache=True)
def _moments(ring: np.ndarray, bins: tuple, i_k: int, folded: tuple, result: np.ndarray) -> None:
    """Means and V2D of a ring of bin means, and its deviations folded about phi = 0.

    Deviations at +phi and -phi are added (for the cosines) and subtracted (for the sines).
    """
    share, is_open, n_open = bins
    even, odd = folded
    n_phi = ring.shape[0]
    zero = n_open.dtype.type(0)
    total, weighted, squares = spread(zero), spread(zero), spread(zero)
    for b in range(n_phi):
        total = total + load(ring, b)
        weighted = weighted + load(ring, b) * spread(share[i_k, b])
    count = spread(n_open[i_k])
    mean = total / count
    for b in range((n_phi + 1) // 2):
        mirror = n_phi - 1 - b
        here = (load(ring, b) - mean) * spread(is_open[i_k, b])
        there = (load(ring, mirror) - mean) * spread(is_open[i_k, mirror])
        squares = squares + here * here
        if mirror == b:
            store(even, b, here)
            store(odd, b, spread(zero))
        else:
            squares = squares + there * there
            store(even, b, here + there)
            store(odd, b, here - there)
    store(result, 0, weighted)
    store(result, 1, mean)
    store(result, 2, squares / (count * mean * mean))


@njit(nogil=True, fastmath=FAST, cache=True)
def _powers(folded: tuple, fourier: tuple, n_phi: int, count: float, result: np.ndarray) -> None:
    """``c_n |D_n|^2/(N N_open <y>^2)`` from the folded deviations, two orders at a time; rows 3, 4, ..."""
    even, odd = folded
    cosines, sines = fourier
    zero = cosines.dtype.type(0)
    mean = load(result, 1)
    inverse = spread(cosines.dtype.type(1)) / (spread(cosines.dtype.type(n_phi)) * spread(count) * mean * mean)
    for n in range(0, cosines.shape[0], 2):
        real_a, imag_a, real_b, imag_b = spread(zero), spread(zero), spread(zero), spread(zero)
        for b in range(even.shape[0]):
            e, o = load(even, b), load(odd, b)
            real_a = real_a + e * spread(cosines[n, b])
            imag_a = imag_a + o * spread(sines[n, b])
            real_b = real_b + e * spread(cosines[n + 1, b])
            imag_b = imag_b + o * spread(sines[n + 1, b])
        # +n and -n count together; at n = n_phi / 2 they are the same.
        both_a = cosines.dtype.type(1 if 2 * (n + 1) == n_phi else 2)
        both_b = cosines.dtype.type(1 if 2 * (n + 2) == n_phi else 2)
        store(result, 3 + n, (real_a * real_a + imag_a * imag_a) * inverse * spread(both_a))
        store(result, 4 + n, (real_b * real_b + imag_b * imag_b) * inverse * spread(both_b))


@njit(nogil=True, fastmath=FAST, cache=True)
def _ring_block(
    frames: np.ndarray, rows: tuple, bins: tuple, fourier: tuple, lanes: np.ndarray, out: np.ndarray
) -> None:
    starts, indptr, columns, weights = rows
    n_k, n_phi = bins[0].shape
    half = (n_phi + 1) // 2
    ring = np.empty((n_phi, LANES), dtype=lanes.dtype)
    folded = (np.empty((half, LANES), dtype=lanes.dtype), np.empty((half, LANES), dtype=lanes.dtype))
    # Whole blocks of 16 statistics, so that they can be turned back to frames as vectors.
    n_out = out.shape[2]
    result = np.zeros((n_out, LANES), dtype=lanes.dtype)
    turned = np.empty((LANES, LANES), dtype=lanes.dtype)
    for first in range(0, frames.shape[0], LANES):
        read_block(frames, first, starts, lanes)
        for i_k in range(n_k):
            if bins[2][i_k] == 0:
                out[first : first + LANES, i_k, :] = np.nan
                continue
            for b in range(n_phi):
                store(ring, b, row_sum(lanes, indptr, columns, weights, i_k * n_phi + b))
            _moments(ring, bins, i_k, folded, result)
            _powers(folded, fourier, n_phi, bins[2][i_k], result)
            for s in range(0, n_out, LANES):
                fill_lanes(result, s, 0, turned, 0)
                for lane in range(LANES):
                    for i in range(LANES):
                        out[first + lane, i_k, s + i] = turned[lane, i]


def polar_means(
    frames: np.ndarray, geometry: DiffractionGeometry, grid: PolarGrid, *, phi_first: bool = False
) -> np.ndarray:
    """Area-weighted mean intensity in every (k, phi) bin.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n, rows, cols), any integer or floating type and byte order; never changed.
    geometry : DiffractionGeometry
        Center, scale, ellipse and mask of the patterns.
    grid : PolarGrid
        The bins.
    phi_first : bool
        Give (n, n_phi, n_k) instead of (n, n_k, n_phi).

    Returns
    -------
    numpy.ndarray
        Shape (n, n_k, n_phi); float32 for 8- and 16-bit and float32 input, else float64. A bin without
        an open pixel is NaN.

    Examples
    --------
    >>> geometry = DiffractionGeometry((32, 32), (15.5, 15.5), 0.1, "1/nm")
    >>> polar_means(np.ones((2, 32, 32)), geometry, PolarGrid(0.2, 1.2, 5, 12)).shape
    (2, 5, 12)
    """
    plan = _plan(geometry, grid, working_type(frames.dtype))
    order, is_open = np.arange(grid.n_k * grid.n_phi).reshape(grid.n_k, grid.n_phi), plan.is_open
    if phi_first:
        order, is_open = order.T, is_open.T
    out = apply_rows(frames, plan.rows, order.ravel()).reshape(-1, *order.shape)
    if not is_open.all():
        out[:, is_open == 0] = np.nan
    return out


def ring_statistics(
    frames: np.ndarray, geometry: DiffractionGeometry, grid: PolarGrid, *, n_max: int | None = None
) -> np.ndarray:
    """Means, V2D and P_n of every ring of every pattern, in one pass over the pixels.

    With y_b the mean intensity in azimuthal bin b and means over the open bins,
    ``V2D = <(y - <y>)^2>/<y>^2`` and ``P_n = c_n |1/N sum (y_b - <y>) exp(-i n phi_b)|^2/<y>^2``, where
    c_n = 2 counts +n and -n together (1 at n = N/2); the P_n add up to V2D. Rings with masked bins are
    corrected for the missing pairs as in :func:`medrange.kernels.angular.angular_power`.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n, rows, cols), any integer or floating type and byte order; never changed.
    geometry : DiffractionGeometry
        Center, scale, ellipse and mask of the patterns.
    grid : PolarGrid
        The rings (k bins) and their azimuthal bins.
    n_max : int, optional
        Highest order; n_phi // 2 when not given.

    Returns
    -------
    numpy.ndarray
        Shape (n, n_k, 3 + n_max): radial mean (area-weighted), ring mean (of the open bins), V2D,
        P_1 .. P_n_max. Rings without an open pixel are NaN.

    See Also
    --------
    medrange.kernels.angular.angular_power : The same power from rings already at hand.

    Examples
    --------
    >>> geometry = DiffractionGeometry((32, 32), (15.5, 15.5), 0.1, "1/nm")
    >>> ring_statistics(np.ones((2, 32, 32)), geometry, PolarGrid.band(1.0, 0.2, 36)).shape
    (2, 1, 21)
    """
    limit = grid.n_phi // 2
    n_max = limit if n_max is None else n_max
    if not 1 <= n_max <= limit:
        msg = f"order {n_max} is not within 1 .. n_phi/2 = {limit}; take n_phi >= {2 * n_max}."
        raise ValueError(msg)
    flat = flat_frames(frames)
    dtype = working_type(flat.dtype)
    plan = _plan(geometry, grid, dtype)
    # Closed bins mix the orders: then all are needed.
    fourier = _fourier_rows(grid.n_phi, limit if plan.corrections else n_max, dtype)
    padded = -(-(FIRST_POWER + len(fourier[0])) // LANES) * LANES
    out = np.empty((len(flat), grid.n_k, padded), dtype=dtype)
    bins = (plan.share, plan.is_open, plan.n_open)
    lanes = lanes_for(plan.rows)
    start = 0
    for block, count in full_blocks(flat):
        piece = out[start : start + count] if count == len(block) else np.empty((len(block), *out.shape[1:]), dtype)
        _ring_block(block, plan.rows, bins, fourier, lanes, piece)
        if count < len(block):
            out[start:] = piece[:count]
        start += count
    powers = slice(FIRST_POWER, FIRST_POWER + limit)
    for ring, correction in plan.corrections.items():
        out[:, ring, powers] = out[:, ring, powers] @ correction.T
    return out[:, :, : FIRST_POWER + n_max]
