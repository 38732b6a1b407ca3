"""Ring statistics V2D and P_n of patterns whose center moves; see :mod:`medrange.kernels.shifted`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit

from medrange.kernels.lanes import FAST, LANES, aligned_lanes, block_width, fill_lanes, load, store
from medrange.kernels.ring_powers import FIRST_POWER, RADIAL_MEAN, VARIANCE, fourier_rows, moments, powers
from medrange.kernels.shifted import Batch, batches, blended_sum, read_shifted
from medrange.kernels.shifted_cuts import (
    closed_bits,
    correct_pairs,
    cut_bins,
    is_cut_ring,
    open_ring,
    pair_tables,
    ring_state,
)
from medrange.kernels.shifted_rows import ShiftedRows
from medrange.kernels.shifted_strips import StripCells, add_shifted, closed_to_some, strip_cells
from medrange.kernels.strips import strip_space

# Patterns for which cut bins are held at once.
_PIECE = 64 * LANES
# Blocks of 16 pixels (1 KiB of float32) up to which a window stays in the cache without being cut into strips.
_SMALL = 384


@njit(nogil=True, fastmath=FAST, cache=True)
def _cut_ring(ring, i_k, own, cut, tables, space):  # noqa: ANN001, ANN202
    """Statistics of a ring in which bins of some patterns hold closed pixels."""
    few, every, pairs, bins, areas = tables
    folded, result, state, lags = space
    n_phi = ring.shape[0]
    mixed = open_ring(ring, i_k, own, cut, areas, state)
    radial, scale = state[0], state[1]
    moments(ring, bins, i_k, folded, result)
    # Closed bins mix the orders: then all are needed.
    fourier = every if mixed else few
    powers(folded, fourier, n_phi, bins[2][i_k], result)
    store(result, RADIAL_MEAN, load(radial, 0))
    for n in range(VARIANCE, FIRST_POWER + fourier[0].shape[0]):
        store(result, n, load(result, n) * load(scale, 0))
    if mixed:
        correct_pairs(result, n_phi, pairs, state, lags)


@njit(nogil=True, fastmath=FAST, cache=True)
def _statistics(frames, piece, rows, cuts, tables, space, out):  # noqa: ANN001, ANN202
    numbers, moved, which, blend = piece
    strips, width = rows
    bits, cut = cuts
    few, bins = tables[0], tables[3]
    lanes, sums, folded, result = space[:4]
    n_k, n_phi = bins[0].shape
    turned = np.empty((LANES, LANES), dtype=out.dtype)
    origins = numbers * (frames.strides[0] // frames.itemsize) + moved
    first, last = strips.starts.min(), strips.starts.max() + width
    closed = np.empty((2, bits.shape[1]), dtype=np.uint64)
    for g in range(blend.shape[0]):
        own = slice(g * LANES, (g + 1) * LANES)
        ahead = slice((g + 1) * LANES, (g + 2) * LANES) if g + 1 < blend.shape[0] else own
        is_inside = moved[own].min() + first >= 0 and moved[own].max() + last <= frames.shape[1]
        group = (numbers[own], moved[own], which[own], origins[own], origins[ahead], is_inside)
        if bits.shape[0]:
            closed_to_some(bits, which[own], closed)
        add_shifted(frames, group, rows, blend[g], (bits, closed), (lanes, sums))
        for i_k in range(n_k):
            ring = sums[i_k * n_phi : (i_k + 1) * n_phi]
            if bits.shape[0] and is_cut_ring(which[own], cut[0], i_k):
                _cut_ring(ring, i_k, (which[own], blend[g]), cut, tables, space[2:])
            else:
                moments(ring, bins, i_k, folded, result)
                powers(folded, few, n_phi, bins[2][i_k], result)
            for s in range(0, out.shape[2], LANES):
                fill_lanes(result, s, 0, turned, 0)
                for lane in range(LANES):
                    for i in range(min(LANES, out.shape[2] - s)):
                        out[numbers[g * LANES + lane], i_k, s + i] = turned[lane, i]


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
    # One order more than asked for is written where their number is odd.
    padded = (out.shape[2] + LANES) // LANES * LANES
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
        Shape (n, pixels), from :func:`medrange.kernels.strips.strip_frames`.
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
    width = block_width(flat.dtype)
    if flat.shape[1] < width:
        msg = f"a pattern has {flat.shape[1]} pixels; at least {width} are needed."
        raise ValueError(msg)
    strips = strip_cells(rows, width)
    out = np.empty((len(flat), n_k, FIRST_POWER + n_max), dtype=dtype)
    tables = _tables(area, n_max, dtype.type)
    space = (*strip_space(strips.strips[0], n_k * n_phi), *_space(n_phi, dtype))
    for batch in batches(shifts, rows, mask):
        if not batch.is_cut and len(rows.blocks) <= _SMALL:
            own, blocks = (batch.numbers, batch.offsets, batch.blend), (rows.blocks, rows.shape[1])
            _whole_rings(flat, own, blocks, rows.cells[batch.cell], tables[3], tables[0], out)
            continue
        own = (strips.strips[batch.cell], width)
        for piece, offsets in _pieces(batch, rows.shape[1]):
            cuts = _cuts(batch, offsets, rows, strips, mask, area.shape)
            _statistics(flat, piece, own, cuts, tables, space, out)
    return out


def _tables(area: np.ndarray, n_max: int, dtype: type) -> tuple:
    """Fourier rows up to ``n_max`` and of all orders, tables for missing pairs, whole bins, and their areas."""
    n_k, n_phi = area.shape
    whole = area.sum(axis=1)
    share = (area / whole[:, None]).astype(dtype)
    bins = (share, np.ones((n_k, n_phi), dtype=dtype), np.full(n_k, n_phi, dtype=dtype))
    few, every = (fourier_rows(n_phi, n, dtype) for n in (n_max, n_phi // 2))
    return few, every, pair_tables(n_phi, n_max, dtype), bins, (area, share, whole)


def _space(n_phi: int, dtype: np.dtype) -> tuple:
    """Room for a ring folded, for its statistics, for what :func:`open_ring` finds, and for lags."""
    folded = tuple(aligned_lanes((n_phi + 1) // 2, dtype) for _ in range(2))
    # Whole blocks of 16 statistics, so that they can be turned back to frames as vectors.
    result = aligned_lanes(-(-(FIRST_POWER + n_phi // 2 + 1) // LANES) * LANES, dtype)
    result[:] = 0
    return folded, result, ring_state(n_phi, dtype), aligned_lanes(n_phi + 10, dtype)


def _pieces(batch: Batch, n_cols: int) -> Iterator[tuple[tuple, np.ndarray]]:
    """Parts of a batch in the order of their whole shifts, each with the different ones of those."""
    for start in range(0, len(batch.numbers), _PIECE):
        own = slice(start, start + _PIECE)
        offsets, which = np.unique(batch.offsets[own], axis=0, return_inverse=True)
        moved = batch.offsets[own] @ np.array([n_cols, 1])
        blend = batch.blend[start // LANES : (start + _PIECE) // LANES]
        yield (batch.numbers[own], moved, which.reshape(-1), blend), offsets


def _cuts(
    batch: Batch,
    offsets: np.ndarray,
    rows: ShiftedRows,
    strips: StripCells,
    mask: np.ndarray | None,
    shape: tuple[int, int],
) -> tuple[np.ndarray, tuple]:
    """Closed pixels and cut bins at each whole shift; of no length if there are none."""
    # A wide block may stick out of a pattern of which all pixels used are open: what it lacks is told by the bits.
    start, moved = (places @ [rows.shape[1], 1] for places in (strips.blocks, offsets))
    low, high = start.min() + moved.min(), start.max() + moved.max() + strips.width
    if not batch.is_cut and low >= 0 and high <= rows.shape[0] * rows.shape[1]:
        nothing = (np.empty((0, 0), np.int64), np.empty(0, np.int32), np.empty((0, 4)), np.empty((0, 4)))
        return np.empty((0, 0), np.uint64), nothing
    is_closed = np.zeros(rows.shape, dtype=bool) if mask is None else mask
    bits = closed_bits(is_closed, offsets, strips.blocks, strips.width)
    off = bits[:0]
    if not batch.is_inside:
        off = closed_bits(np.zeros_like(is_closed), offsets, strips.blocks, strips.width)
    return bits, cut_bins(bits, off, strips.cells[batch.cell], strips.width, shape)
