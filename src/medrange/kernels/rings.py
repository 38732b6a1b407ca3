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
from medrange.kernels.lanes import FAST, LANES, fill_lanes, flat_frames, full_blocks, store, working_type
from medrange.kernels.polar import polar_operator
from medrange.kernels.ring_powers import (
    FIRST_POWER,
    RADIAL_MEAN,
    RING_MEAN,
    VARIANCE,
    fourier_rows,
    moments,
    powers,
)
from medrange.kernels.rows import apply_rows, lanes_for, read_block, row_sum, sparse_rows
from medrange.kernels.shifted import shifted_means
from medrange.kernels.shifted_rings import shifted_statistics
from medrange.kernels.shifted_rows import polar_rows

__all__ = ["FIRST_POWER", "RADIAL_MEAN", "RING_MEAN", "VARIANCE", "polar_means", "ring_statistics", "working_type"]


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
            moments(ring, bins, i_k, folded, result)
            powers(folded, fourier, n_phi, bins[2][i_k], result)
            for s in range(0, n_out, LANES):
                fill_lanes(result, s, 0, turned, 0)
                for lane in range(LANES):
                    for i in range(LANES):
                        out[first + lane, i_k, s + i] = turned[lane, i]


def polar_means(
    frames: np.ndarray,
    geometry: DiffractionGeometry,
    grid: PolarGrid,
    *,
    phi_first: bool = False,
    shifts: np.ndarray | None = None,
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
    shifts : numpy.ndarray, optional
        Shape (n, 2): how far each pattern's center lies from the geometry's, rows and columns, in pixels.

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
    if shifts is not None:
        rows = polar_rows(geometry, grid, working_type(frames.dtype))
        means = shifted_means(frames, shifts, rows, geometry.mask).reshape(-1, grid.n_k, grid.n_phi)
        return np.ascontiguousarray(means.swapaxes(1, 2)) if phi_first else means
    plan = _plan(geometry, grid, working_type(frames.dtype))
    order, is_open = np.arange(grid.n_k * grid.n_phi).reshape(grid.n_k, grid.n_phi), plan.is_open
    if phi_first:
        order, is_open = order.T, is_open.T
    out = apply_rows(frames, plan.rows, order.ravel()).reshape(-1, *order.shape)
    if not is_open.all():
        out[:, is_open == 0] = np.nan
    return out


def ring_statistics(
    frames: np.ndarray,
    geometry: DiffractionGeometry,
    grid: PolarGrid,
    *,
    n_max: int | None = None,
    shifts: np.ndarray | None = None,
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
    shifts : numpy.ndarray, optional
        Shape (n, 2): how far each pattern's center lies from the geometry's, rows and columns, in pixels. The
        weights are then interpolated between centers a quarter of a pixel apart; exact where a shift is a
        multiple of that. See :mod:`medrange.kernels.shifted_rows`.

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
    if shifts is not None:
        # Whole bins all round have the same area.
        area = np.repeat(np.diff(np.linspace(grid.k_min, grid.k_max, grid.n_k + 1) ** 2)[:, None], grid.n_phi, axis=1)
        return shifted_statistics(flat, shifts, polar_rows(geometry, grid, dtype), geometry.mask, area, n_max)
    plan = _plan(geometry, grid, dtype)
    # Closed bins mix the orders: then all are needed.
    fourier = fourier_rows(grid.n_phi, limit if plan.corrections else n_max, dtype)
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
