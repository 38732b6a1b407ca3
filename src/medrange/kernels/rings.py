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
from medrange.kernels.lanes import FAST, LANES, add_row, fill_lanes, flat_frames, working_type
from medrange.kernels.polar import polar_operator

#: Columns of the ring statistics before the powers P_1, P_2, ...
RADIAL_MEAN, RING_MEAN, VARIANCE, FIRST_POWER = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class _Plan:
    """A polar operator and the tables the ring kernel needs, in one floating type."""

    pixels: np.ndarray  # (n_used,) flat detector indices
    indptr: np.ndarray  # (n_k * n_phi + 1,)
    columns: np.ndarray  # (n_overlaps,)
    weights: np.ndarray  # (n_overlaps,)
    share: np.ndarray  # (n_k, n_phi) area of a bin over the area of its ring
    is_open: np.ndarray  # (n_k, n_phi)
    n_open: np.ndarray  # (n_k,)


@lru_cache(maxsize=32)
def _plan(geometry: DiffractionGeometry, grid: PolarGrid, dtype: type) -> _Plan:
    operator = polar_operator(geometry, grid)
    ring_area = operator.area.sum(axis=1, keepdims=True)
    return _Plan(
        pixels=operator.pixels,
        indptr=operator.indptr,
        columns=operator.columns.astype(np.uint32),
        weights=operator.weights.astype(dtype),
        share=np.divide(operator.area, ring_area, where=ring_area > 0, out=np.zeros_like(operator.area)).astype(dtype),
        is_open=operator.is_open,
        n_open=operator.is_open.sum(axis=1),
    )


@lru_cache(maxsize=32)
def _fourier_rows(n_phi: int, n_max: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine rows over the bins of half a turn (and the middle one of an odd number)."""
    orders = np.arange(1, n_max + 1)[:, None]
    phi = 2 * np.pi * (np.arange((n_phi + 1) // 2) + 0.5) / n_phi
    return np.cos(orders * phi).astype(dtype), np.sin(orders * phi).astype(dtype)


@njit(nogil=True, fastmath=FAST, cache=True)
def _polar_block(frames: np.ndarray, plan: tuple, lanes: np.ndarray, work: np.ndarray, out: np.ndarray) -> None:
    pixels, indptr, columns, weights = plan
    for first in range(0, frames.shape[0], LANES):
        count = min(LANES, frames.shape[0] - first)
        fill_lanes(frames, first, count, pixels, lanes)
        for b in range(indptr.size - 1):
            if indptr[b] == indptr[b + 1]:
                for lane in range(count):
                    out[first + lane, b] = np.nan
                continue
            add_row(lanes, columns, weights, indptr[b], indptr[b + 1], work, 0)
            for lane in range(count):
                out[first + lane, b] = work[0, lane]


@njit(nogil=True, fastmath=FAST, cache=True)
def _center_ring(ring: np.ndarray, share: np.ndarray, is_open: np.ndarray, n_open: int, stats: np.ndarray) -> None:
    """Turn ring values into deviations from the open bins' mean; fill the first three statistics."""
    for lane in range(LANES):
        stats[0, lane] = 0
        stats[1, lane] = 0
        stats[2, lane] = 0
    for b in range(ring.shape[0]):
        for lane in range(LANES):
            stats[0, lane] += share[b] * ring[b, lane]
            stats[1, lane] += ring[b, lane]
    for lane in range(LANES):
        stats[1, lane] /= n_open
    for b in range(ring.shape[0]):
        if not is_open[b]:
            continue
        for lane in range(LANES):
            ring[b, lane] -= stats[1, lane]
            stats[2, lane] += ring[b, lane] * ring[b, lane]
    for lane in range(LANES):
        stats[2, lane] /= n_open * stats[1, lane] * stats[1, lane]


@njit(nogil=True, fastmath=FAST, cache=True)
def _fold(ring: np.ndarray, even: np.ndarray, odd: np.ndarray) -> None:
    """Sum and difference of the bins at +phi and -phi: half the work for cosines and sines."""
    n_phi = ring.shape[0]
    for b in range(n_phi // 2):
        for lane in range(LANES):
            even[b, lane] = ring[b, lane] + ring[n_phi - 1 - b, lane]
            odd[b, lane] = ring[b, lane] - ring[n_phi - 1 - b, lane]
    if n_phi % 2:
        for lane in range(LANES):
            even[n_phi // 2, lane] = ring[n_phi // 2, lane]
            odd[n_phi // 2, lane] = 0


@njit(nogil=True, fastmath=FAST, cache=True)
def _ring_block(
    frames: np.ndarray, plan: tuple, bins: tuple, fourier: tuple, lanes: np.ndarray, out: np.ndarray
) -> None:
    pixels, indptr, columns, weights = plan
    share, is_open, n_open = bins
    cosines, sines, indices = fourier
    n_k, n_phi = share.shape
    n_max, half = cosines.shape
    cosine_rows, sine_rows = cosines.ravel(), sines.ravel()
    ring = np.empty((n_phi, LANES), dtype=lanes.dtype)
    even = np.empty((half, LANES), dtype=lanes.dtype)
    odd = np.empty((half, LANES), dtype=lanes.dtype)
    stats = np.empty((3, LANES), dtype=lanes.dtype)
    part = np.empty((2, LANES), dtype=lanes.dtype)
    for first in range(0, frames.shape[0], LANES):
        count = min(LANES, frames.shape[0] - first)
        fill_lanes(frames, first, count, pixels, lanes)
        for i_k in range(n_k):
            if n_open[i_k] == 0:
                out[first : first + count, i_k, :] = np.nan
                continue
            for b in range(n_phi):
                row = i_k * n_phi + b
                add_row(lanes, columns, weights, indptr[row], indptr[row + 1], ring, b)
            _center_ring(ring, share[i_k], is_open[i_k], n_open[i_k], stats)
            _fold(ring, even, odd)
            for lane in range(count):
                for s in range(3):
                    out[first + lane, i_k, s] = stats[s, lane]
            for n in range(n_max):
                add_row(even, indices, cosine_rows, n * half, (n + 1) * half, part, 0)
                add_row(odd, indices, sine_rows, n * half, (n + 1) * half, part, 1)
                both_signs = 1.0 if 2 * (n + 1) == n_phi else 2.0
                scale = both_signs / (n_phi * n_open[i_k])
                for lane in range(count):
                    power = part[0, lane] * part[0, lane] + part[1, lane] * part[1, lane]
                    out[first + lane, i_k, 3 + n] = scale * power / (stats[1, lane] * stats[1, lane])


def polar_means(frames: np.ndarray, geometry: DiffractionGeometry, grid: PolarGrid) -> np.ndarray:
    """Area-weighted mean intensity in every (k, phi) bin.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n, rows, cols), any integer or floating type and byte order; never changed.
    geometry : DiffractionGeometry
        Center, scale, ellipse and mask of the patterns.
    grid : PolarGrid
        The bins.

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
    flat = flat_frames(frames)
    dtype = working_type(flat.dtype)
    plan = _plan(geometry, grid, dtype)
    out = np.empty((flat.shape[0], grid.n_k * grid.n_phi), dtype=dtype)
    lanes = np.empty((plan.pixels.size, LANES), dtype=dtype)
    work = np.empty((1, LANES), dtype=dtype)
    _polar_block(flat, (plan.pixels, plan.indptr, plan.columns, plan.weights), lanes, work, out)
    return out.reshape(-1, grid.n_k, grid.n_phi)


def ring_statistics(
    frames: np.ndarray, geometry: DiffractionGeometry, grid: PolarGrid, *, n_max: int | None = None
) -> np.ndarray:
    """Means, V2D and P_n of every ring of every pattern, in one pass over the pixels.

    With y_b the mean intensity in azimuthal bin b, the sums over the open bins and f their share,
    ``V2D = <(y - <y>)^2>/<y>^2`` and ``P_n = c_n |1/N sum (y_b - <y>) exp(-i n phi_b)|^2 / (f <y>^2)``,
    where c_n = 2 counts +n and -n together (1 at n = N/2); without masked bins the P_n add up to V2D.

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
    cosines, sines = _fourier_rows(grid.n_phi, n_max, dtype)
    indices = np.tile(np.arange(cosines.shape[1], dtype=np.uint32), n_max)
    out = np.empty((flat.shape[0], grid.n_k, FIRST_POWER + n_max), dtype=dtype)
    lanes = np.empty((plan.pixels.size, LANES), dtype=dtype)
    operator = (plan.pixels, plan.indptr, plan.columns, plan.weights)
    bins = (plan.share, plan.is_open, plan.n_open)
    _ring_block(flat, operator, bins, (cosines, sines, indices), lanes, out)
    return out
