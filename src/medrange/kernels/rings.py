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
from medrange.kernels.lanes import FAST, LANES, aligned_lanes, fill_lanes, full_blocks, working_type
from medrange.kernels.polar import polar_operator
from medrange.kernels.ring_powers import (
    FIRST_POWER,
    RADIAL_MEAN,
    RING_MEAN,
    VARIANCE,
    fourier_rows,
    mix_orders,
    moments,
    powers,
)
from medrange.kernels.shifted import shifted_means
from medrange.kernels.shifted_rings import shifted_statistics
from medrange.kernels.shifted_rows import polar_rows
from medrange.kernels.strips import StripRows, add_strips, apply_rows, strip_frames, strip_rows, strip_space

__all__ = ["FIRST_POWER", "RADIAL_MEAN", "RING_MEAN", "VARIANCE", "polar_means", "ring_statistics", "working_type"]


@dataclass(frozen=True, eq=False)
class _Plan:
    """A polar operator and the tables the kernels need, in one floating type."""

    rows: StripRows  # one sparse row per bin
    share: np.ndarray  # (n_k, n_phi) area of a bin over the area of its ring
    is_open: np.ndarray  # (n_k, n_phi) 1 where enough of a bin is open, else 0
    n_open: np.ndarray  # (n_k,)
    corrections: dict[int, np.ndarray]  # ring -> matrix from raw powers to powers over valid pairs


@lru_cache(maxsize=32)
def _plan(geometry: DiffractionGeometry, grid: PolarGrid, dtype: type, layout: tuple[int, int]) -> _Plan:
    operator = polar_operator(geometry, grid)
    ring_area = operator.area.sum(axis=1, keepdims=True)
    # Bins that hold too little for the statistics over azimuth still belong to the mean over the area.
    share = np.divide(operator.area, ring_area, where=ring_area > 0, out=np.full_like(operator.area, np.nan))
    n_pixels = geometry.shape[0] * geometry.shape[1]
    weights = operator.weights.astype(dtype)
    return _Plan(
        rows=strip_rows(operator.pixels, operator.indptr, operator.columns, weights, n_pixels, layout),
        share=share.astype(dtype),
        is_open=operator.is_open.astype(dtype),
        n_open=operator.is_open.sum(axis=1).astype(dtype),
        corrections={
            int(ring): pair_correction(operator.is_open[ring]).astype(dtype)
            for ring in np.flatnonzero(operator.is_open.any(axis=1) & ~operator.is_open.all(axis=1))
        },
    )


def _mixing(
    corrections: dict[int, np.ndarray], grid: PolarGrid, n_max: int, dtype: type
) -> tuple[np.ndarray, np.ndarray]:
    """Which correction each ring needs (-1: none), and the corrections (m, n_max, orders)."""
    which = np.full(grid.n_k, -1)
    which[list(corrections)] = np.arange(len(corrections))
    mixing = np.empty((len(corrections), n_max, grid.n_phi // 2), dtype)
    for own, correction in zip(mixing, corrections.values(), strict=True):
        own[:] = correction[:n_max]
    return which, mixing


def _whole_area(geometry: DiffractionGeometry, grid: PolarGrid) -> np.ndarray:
    """Area of whole bins (n_k, n_phi), in pixels; all round it is the same."""
    edges = np.linspace(grid.k_min, grid.k_max, grid.n_k + 1) / geometry.k_step
    ring = np.pi * np.diff(edges**2) / np.linalg.det(geometry.distortion)
    return np.repeat(ring[:, None] / grid.n_phi, grid.n_phi, axis=1)


@njit(nogil=True, fastmath=FAST, cache=True)
def _ring_block(frames, rows, width, bins, fourier, mix, space, out):  # noqa: ANN001, ANN202
    strip, sums, even, odd, mixed, result = space
    which, mixing = mix
    n_k, n_phi = bins[0].shape
    turned = np.empty((LANES, LANES), dtype=sums.dtype)
    for first in range(0, frames.shape[0], LANES):
        add_strips(frames, first, rows, width, (strip, sums))
        for i_k in range(n_k):
            moments(sums[i_k * n_phi : (i_k + 1) * n_phi], bins, i_k, (even, odd), result)
            powers((even, odd), fourier, n_phi, bins[2][i_k], result)
            if which[i_k] >= 0:
                mix_orders(result, mixing[which[i_k]], mixed)
            for s in range(0, out.shape[2], LANES):
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
        Shape (n, n_k, n_phi); float32 for 8- and 16-bit and float32 input, else float64. A bin that is
        hidden, or too much so (:data:`medrange.kernels.polar.LEAST_OPEN`), is NaN.

    Examples
    --------
    >>> geometry = DiffractionGeometry((32, 32), (15.5, 15.5), 0.1, "1/nm")
    >>> polar_means(np.ones((2, 32, 32)), geometry, PolarGrid(0.2, 1.2, 5, 12)).shape
    (2, 5, 12)
    """
    if shifts is not None:
        rows = polar_rows(geometry, grid, working_type(frames.dtype))
        area = _whole_area(geometry, grid)
        means = shifted_means(frames, shifts, rows, geometry.mask, area).reshape(-1, *area.shape)
        return np.ascontiguousarray(means.swapaxes(1, 2)) if phi_first else means
    flat, layout = strip_frames(frames)
    plan = _plan(geometry, grid, working_type(flat.dtype), layout)
    order, is_open = np.arange(grid.n_k * grid.n_phi).reshape(grid.n_k, grid.n_phi), plan.is_open
    if phi_first:
        order, is_open = order.T, is_open.T
    out = apply_rows(flat, plan.rows, layout[0], order.ravel()).reshape(-1, *order.shape)
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
        P_1 .. P_n_max. Rings without an open pixel are NaN, and bins of which less than a twentieth is open count
        for the radial mean only (:func:`medrange.kernels.polar.open_bins`).

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
    flat, layout = strip_frames(frames)
    dtype = working_type(flat.dtype)
    if shifts is not None:
        rows, area = polar_rows(geometry, grid, dtype), _whole_area(geometry, grid)
        return shifted_statistics(flat, shifts, rows, geometry.mask, area, n_max)
    plan = _plan(geometry, grid, dtype, layout)
    # Closed bins mix the orders: then all are needed.
    fourier = fourier_rows(grid.n_phi, limit if plan.corrections else n_max, dtype)
    padded = -(-(FIRST_POWER + n_max) // LANES) * LANES
    out = np.empty((len(flat), grid.n_k, padded), dtype=dtype)
    bins = (plan.share, plan.is_open, plan.n_open)
    # Whole blocks of 16 statistics, so that they can be turned back to frames as vectors.
    folded = [aligned_lanes((grid.n_phi + 1) // 2, dtype) for _ in range(2)]
    result = aligned_lanes(max(padded, FIRST_POWER + len(fourier[0])), dtype)
    result[:] = 0
    space = (*strip_space(plan.rows, grid.n_k * grid.n_phi), *folded, aligned_lanes(n_max, dtype), result)
    mix = _mixing(plan.corrections, grid, n_max, dtype)
    start = 0
    for block, count in full_blocks(flat):
        piece = out[start : start + count] if count == len(block) else np.empty((len(block), *out.shape[1:]), dtype)
        _ring_block(block, plan.rows, layout[0], bins, fourier, mix, space, piece)
        if count < len(block):
            out[start:] = piece[:count]
        start += count
    return out[:, :, : FIRST_POWER + n_max]
