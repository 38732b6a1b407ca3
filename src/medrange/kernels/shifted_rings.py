"""Ring statistics V2D and P_n of patterns whose center moves; see :mod:`medrange.kernels.shifted`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from medrange.kernels.angular import pair_correction, sign_counts
from medrange.kernels.lanes import FAST, LANES, fill_lanes, store
from medrange.kernels.ring_powers import FIRST_POWER, RADIAL_MEAN, RING_MEAN, VARIANCE, fourier_rows, moments, powers
from medrange.kernels.shifted import Batch, batch_means, batches, blended_sum, read_shifted
from medrange.kernels.shifted_rows import ShiftedRows


@njit(nogil=True, fastmath=FAST, cache=True)
def _whole_rings(
    frames: np.ndarray, batch: tuple, blocks: tuple, cell: tuple, bins: tuple, fourier: tuple, out: np.ndarray
) -> None:
    numbers, offsets, blend = batch
    n_k, n_phi = bins[0].shape
    half = (n_phi + 1) // 2
    lanes = np.empty((blocks[0].shape[0] * LANES, LANES), dtype=out.dtype)
    ring = np.empty((n_phi, LANES), dtype=out.dtype)
    folded = (np.empty((half, LANES), dtype=out.dtype), np.empty((half, LANES), dtype=out.dtype))
    # Whole blocks of 16 statistics, so that they can be turned back to frames as vectors.
    padded = (out.shape[2] + LANES - 1) // LANES * LANES
    result = np.zeros((padded, LANES), dtype=out.dtype)
    turned = np.empty((LANES, LANES), dtype=out.dtype)
    for g in range(blend.shape[0]):
        own = slice(g * LANES, (g + 1) * LANES)
        read_shifted(frames, numbers[own], offsets[own], blocks[0], blocks[1], lanes)
        for i_k in range(n_k):
            for b in range(n_phi):
                store(ring, b, blended_sum(lanes, cell, blend[g], i_k * n_phi + b))
            moments(ring, bins, i_k, folded, result)
            powers(folded, fourier, n_phi, bins[2][i_k], result)
            for s in range(0, padded, LANES):
                fill_lanes(result, s, 0, turned, 0)
                for lane in range(LANES):
                    for i in range(min(LANES, out.shape[2] - s)):
                        out[numbers[g * LANES + lane], i_k, s + i] = turned[lane, i]


def shifted_statistics(
    flat: np.ndarray, shifts: np.ndarray, rows: ShiftedRows, mask: np.ndarray | None, area: np.ndarray, n_max: int
) -> np.ndarray:
    """Ring statistics of every pattern at its own center, as :func:`medrange.kernels.rings.ring_statistics`.

    Parameters
    ----------
    flat : numpy.ndarray
        Shape (n, pixels), from :func:`medrange.kernels.lanes.flat_frames`.
    shifts : numpy.ndarray
        Shape (n, 2), in pixels.
    rows : ShiftedRows
        From :func:`medrange.kernels.shifted_rows.polar_rows`.
    mask : numpy.ndarray of bool or None
        The detector's mask, True = excluded.
    area : numpy.ndarray
        Shape (n_k, n_phi): whole area of the bins, in pixels.
    n_max : int
        Highest order.

    Returns
    -------
    numpy.ndarray
        Shape (n, n_k, 3 + n_max).
    """
    dtype = rows.dtype
    n_k, n_phi = area.shape
    out = np.empty((len(flat), n_k, FIRST_POWER + n_max), dtype=dtype)
    share = (area / area.sum(axis=1, keepdims=True)).astype(dtype)
    bins = (share, np.ones((n_k, n_phi), dtype=dtype), np.full(n_k, n_phi, dtype=dtype))
    fourier = fourier_rows(n_phi, n_max, dtype.type)
    for batch in batches(shifts, rows, mask):
        if batch.is_cut:
            out[batch.numbers[: batch.count]] = _cut_rings(flat, batch, rows, mask, area)[..., : out.shape[2]]
            continue
        own = (batch.numbers, batch.offsets, batch.blend)
        blocks = (rows.blocks, rows.shape[1])
        # The kernel writes an even number of orders.
        even = out if len(fourier[0]) == n_max else np.empty((*out.shape[:2], out.shape[2] + 1), dtype=dtype)
        _whole_rings(flat, own, blocks, rows.cells[batch.cell], bins, fourier, even)
        if even is not out:
            out[batch.numbers] = even[batch.numbers, :, :-1]
    return out


def _cut_rings(
    flat: np.ndarray, batch: Batch, rows: ShiftedRows, mask: np.ndarray | None, area: np.ndarray
) -> np.ndarray:
    """Statistics (count, n_k, 3 + n_phi // 2) of patterns in which a bin may be closed; float64."""
    means, shares, is_open = (values.reshape(-1, *area.shape) for values in batch_means(flat, batch, rows, mask, area))
    means = np.where(shares > 0, means, 0).astype(np.float64)
    rings = np.where(is_open, means, 0)
    n_open = is_open.sum(axis=2)
    n_phi = area.shape[1]
    out = np.empty((*n_open.shape, FIRST_POWER + n_phi // 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = area * shares
        out[..., RADIAL_MEAN] = (weight * means).sum(axis=2) / weight.sum(axis=2)
        mean = rings.sum(axis=2) / n_open
        deviations = np.where(is_open, rings - mean[..., None], 0)
        out[..., RING_MEAN] = mean
        out[..., VARIANCE] = (deviations**2).sum(axis=2) / (n_open * mean**2)
        angles = np.outer(np.arange(1, n_phi // 2 + 1), 2 * np.pi * (np.arange(n_phi) + 0.5) / n_phi)
        squared = (deviations @ np.cos(angles).T) ** 2 + (deviations @ np.sin(angles).T) ** 2
        power = sign_counts(n_phi) * squared / (n_phi * n_open * mean**2)[..., None]
    _correct_pairs(power, is_open)
    out[..., FIRST_POWER:] = power
    return out


def _correct_pairs(power: np.ndarray, is_open: np.ndarray) -> None:
    """Correct the power of rings with closed bins for the missing pairs, in place; rings that share theirs at once."""
    n_phi = is_open.shape[2]
    n_open = is_open.sum(axis=2)
    partly = np.nonzero((n_open > 0) & (n_open < n_phi))
    if not partly[0].size:
        return
    packed = np.packbits(is_open[partly], axis=1)
    keys, which = np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_inverse=True)
    for i, key in enumerate(keys):
        mine = tuple(index[which.reshape(-1) == i] for index in partly)
        power[mine] = power[mine] @ _pair_correction(key.tobytes(), n_phi).T


@lru_cache(maxsize=4096)
def _pair_correction(packed: bytes, n_phi: int) -> np.ndarray:
    return pair_correction(np.unpackbits(np.frombuffer(packed, np.uint8))[:n_phi].astype(bool))
