"""Rows of weights at moved centers, applied strip by strip as in :mod:`medrange.kernels.strips`.

Each of the sixteen lanes reads from its own place on the detector. Pixels that are closed to it, by the mask or because
they lie off the detector, are read as 0.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock
from typing import NamedTuple

import numpy as np
from numba import njit

from medrange.kernels.lanes import FAST, LANES, gather_block, load, prefetch_lanes, spread, store
from medrange.kernels.shifted_rows import ShiftedRows
from medrange.kernels.strips import StripRows, strip_parts

_AHEAD = 8
_SIDE = 4
_BUILDING = Lock()


class CellRows(NamedTuple):
    """Rows of a cell of centers, by row and by pixel.

    Attributes
    ----------
    indptr, places, weights : numpy.ndarray
        Row r has the products ``indptr[r]`` to ``indptr[r + 1]``: block number * width + place in the block, and the
        four weights of :class:`medrange.kernels.shifted_rows.ShiftedRows`.
    users, rows : numpy.ndarray
        The pixel at place p is used by ``rows[users[p]]`` to ``rows[users[p + 1]]``.
    """

    indptr: np.ndarray
    places: np.ndarray
    weights: np.ndarray
    users: np.ndarray
    rows: np.ndarray


class StripCells(NamedTuple):
    """Rows for every center, cut into strips.

    Attributes
    ----------
    blocks : numpy.ndarray
        Shape (n_blocks, 2): detector row and first column of each block, for no shift. May lie outside.
    width : int
        Pixels of a block.
    strips : tuple of StripRows
        For each cell, with four weights to a product.
    cells : tuple of CellRows
        The same, by row and by pixel.
    """

    blocks: np.ndarray
    width: int
    strips: tuple[StripRows, ...]
    cells: tuple[CellRows, ...]


def strip_cells(rows: ShiftedRows, width: int) -> StripCells:
    """Cut rows into strips of blocks of ``width`` pixels; the latest are kept."""
    # Two threads that start together shall not do the same twice.
    with _BUILDING:
        return _strip_cells(rows, width)


@lru_cache(maxsize=4)
def _strip_cells(rows: ShiftedRows, width: int) -> StripCells:
    corner = rows.blocks.min(axis=0)
    used = np.unique(np.concatenate([np.unique(columns) for _, columns, _ in rows.cells]))
    row, col = (rows.blocks[used // LANES] - corner).T
    col = col + used % LANES
    span = int(col.max()) // width + 1
    block, which = np.unique(row * span + col // width, return_inverse=True)
    place = np.zeros(len(rows.blocks) * LANES, dtype=np.int64)
    place[used] = which.reshape(-1) * width + col % width
    blocks = np.stack([block // span, block % span * width], axis=1) + corner
    starts = blocks @ [rows.shape[1], 1]
    strips, cells = [], []
    for indptr, columns, weights in rows.cells:
        places = place[columns]
        strips.append(strip_parts(starts, places, indptr.astype(np.int64), weights, width))
        owner = np.repeat(np.arange(rows.n_rows, dtype=np.int32), np.diff(indptr.astype(np.int64)))
        users = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=len(blocks) * width))])
        by_pixel = owner[np.argsort(places, kind="stable")]
        cells.append(CellRows(indptr.astype(np.int64), places.astype(np.int32), weights, users, by_pixel))
    return StripCells(blocks, width, tuple(strips), tuple(cells))


@njit(nogil=True, cache=True)
def _close_shared(lanes, top, width, closed):  # noqa: ANN001, ANN202
    """Set the same pixels of a block to 0 in all lanes."""
    zero = spread(lanes.dtype.type(0))
    for p in range(width):
        if (closed >> np.uint64(p)) & np.uint64(1):
            store(lanes, top + p, zero)


@njit(nogil=True, cache=True)
def _close_own(frames, group, i, start, width, bits, lanes, top):  # noqa: ANN001, ANN202
    """Set the closed pixels of each lane to 0 in block i, and read it anew where it sticks out of the pattern."""
    numbers, moved, which = group[:3]
    last = frames.shape[1] - width
    for lane in range(LANES):
        closed = bits[which[lane], i]
        outside = start + moved[lane] < 0 or start + moved[lane] > last
        p = 0
        while outside and p < width:
            if not (closed >> np.uint64(p)) & np.uint64(1):
                lanes[top + p, lane] = frames[numbers[lane], start + moved[lane] + p]
            p += 1
        p = 0
        while closed:
            if closed & np.uint64(1):
                lanes[top + p, lane] = 0
            closed >>= np.uint64(1)
            p += 1


@njit(nogil=True, cache=True)
def closed_to_some(bits, which, closed):  # noqa: ANN001, ANN201
    """Pixels of each block that are closed to one of 16 patterns, and to all of them: rows 0 and 1."""
    n_blocks = bits.shape[1]
    for i in range(n_blocks):
        closed[0, i] = closed[1, i] = bits[which[0], i]
    for lane in range(1, LANES):
        if which[lane] != which[lane - 1]:
            for i in range(n_blocks):
                closed[0, i] |= bits[which[lane], i]
                closed[1, i] &= bits[which[lane], i]


@njit(nogil=True, fastmath=FAST, cache=True)
def read_strip(frames, group, strips, s, cuts, lanes):  # noqa: ANN001, ANN201
    """Lay strip s of 16 patterns side by side, each from its own place on."""
    moved, origins, following, is_inside = group[1], group[3], group[4], group[5]
    rows, width = strips
    bits, closed = cuts
    last = frames.shape[1] - width
    clamped = np.empty(LANES, dtype=np.int64)
    n_blocks = rows.starts.size
    for i in range(rows.blocks[s], rows.blocks[s + 1]):
        top = (i - rows.blocks[s]) * width
        ahead = i + _AHEAD
        if ahead < n_blocks:
            prefetch_lanes(frames, origins, rows.starts[ahead])
        else:
            prefetch_lanes(frames, following, rows.starts[(ahead - n_blocks) % n_blocks])
        if is_inside:
            gather_block(frames, origins, rows.starts[i], lanes, top)
        else:
            for lane in range(LANES):
                start = rows.starts[i] + moved[lane]
                clamped[lane] = origins[lane] + min(max(start, 0), last) - start
            gather_block(frames, clamped, rows.starts[i], lanes, top)
        if closed.shape[1] and closed[0, i]:
            if is_inside and closed[0, i] == closed[1, i]:
                _close_shared(lanes, top, width, closed[0, i])
            else:
                _close_own(frames, group, i, rows.starts[i], width, bits, lanes, top)


@njit(nogil=True, fastmath=FAST, cache=True, inline="always")
def _blended(weights, j, t, s, ts):  # noqa: ANN001, ANN202
    return spread(weights[j, 0]) + t * spread(weights[j, 1]) + s * spread(weights[j, 2]) + ts * spread(weights[j, 3])


@njit(nogil=True, fastmath=FAST, cache=True)
def add_shifted(frames, group, strips, blend, cuts, space):  # noqa: ANN001, ANN201
    """Sums of all rows in 16 patterns at their own centers, into ``space[1]``; ``space[0]`` is overwritten."""
    lanes, sums = space
    rows = strips[0]
    weights, columns = rows.weights, rows.columns
    zero = spread(weights.dtype.type(0))
    t, u, tu = load(blend, 0), load(blend, 1), load(blend, 2)
    for i in range(sums.shape[0]):
        store(sums, i, zero)
    for s in range(rows.blocks.size - 1):
        read_strip(frames, group, strips, s, cuts, lanes)
        for g in range(rows.groups[s], rows.groups[s + 1]):
            k = g * np.uint64(_SIDE)
            row_0, row_1 = rows.targets[k], rows.targets[k + np.uint64(1)]
            row_2, row_3 = rows.targets[k + np.uint64(2)], rows.targets[k + np.uint64(3)]
            sum_0, sum_1, sum_2, sum_3 = load(sums, row_0), load(sums, row_1), load(sums, row_2), load(sums, row_3)
            for j in range(rows.items[g], rows.items[g + np.uint64(1)], np.uint64(_SIDE)):
                a, b, c = j + np.uint64(1), j + np.uint64(2), j + np.uint64(3)
                sum_0 = sum_0 + load(lanes, columns[j]) * _blended(weights, j, t, u, tu)
                sum_1 = sum_1 + load(lanes, columns[a]) * _blended(weights, a, t, u, tu)
                sum_2 = sum_2 + load(lanes, columns[b]) * _blended(weights, b, t, u, tu)
                sum_3 = sum_3 + load(lanes, columns[c]) * _blended(weights, c, t, u, tu)
            store(sums, row_0, sum_0)
            store(sums, row_1, sum_1)
            store(sums, row_2, sum_2)
            store(sums, row_3, sum_3)
