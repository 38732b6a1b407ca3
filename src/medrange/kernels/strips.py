"""Sparse rows applied to many frames, strip by strip: each row is a weighted sum of detector pixels.

Sixteen frames are laid side by side, but only some five hundred pixels of them at a time, which stay in the
processor's fastest cache; the sums of all rows are carried from strip to strip. While a strip is added up, the pixels
of the next ones are already asked for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from medrange.kernels.lanes import (
    FAST,
    LANES,
    aligned_lanes,
    block_width,
    cache_phase,
    fill_block,
    fill_lanes,
    flat_frames,
    full_blocks,
    load,
    pixel_blocks,
    prefetch_block,
    spread,
    store,
    working_type,
)

# Pixels of a strip: 32 KiB of float32.
_STRIP = 32 * LANES
# Blocks asked for ahead of the one that is read: memory answers in about this time.
_AHEAD = 4
# Rows added up side by side: one alone would wait for its own last sum.
_SIDE = 4


class StripRows(NamedTuple):
    """Sparse rows cut into the parts that lie in each strip; within a strip, parts of like length are together.

    Attributes
    ----------
    starts : numpy.ndarray
        First pixel of each block read.
    blocks : numpy.ndarray
        Strip s reads the blocks ``blocks[s]`` to ``blocks[s + 1]``.
    groups : numpy.ndarray
        Strip s has the groups ``groups[s]`` to ``groups[s + 1]``, of four parts each.
    targets : numpy.ndarray
        Row of every part, four to a group; parts that fill a group up go to a row beyond the last.
    items : numpy.ndarray
        Group g has the products ``items[g]`` to ``items[g + 1]``, of its four parts in turn.
    columns, weights : numpy.ndarray
        Pixel among the lanes, and its weight; 0 where a part is shorter than its group.
    """

    starts: np.ndarray
    blocks: np.ndarray
    groups: np.ndarray
    targets: np.ndarray
    items: np.ndarray
    columns: np.ndarray
    weights: np.ndarray


def strip_rows(
    pixels: np.ndarray,
    indptr: np.ndarray,
    columns: np.ndarray,
    weights: np.ndarray,
    n_pixels: int,
    layout: tuple[int, int] = (LANES, 0),
) -> StripRows:
    """Put compressed rows over detector pixels into the form that :func:`apply_rows` takes.

    Parameters
    ----------
    pixels : numpy.ndarray
        Flat numbers of the pixels used, ascending.
    indptr, columns, weights : numpy.ndarray
        Row r sums ``weights[j] * frame[pixels[columns[j]]]``, j from ``indptr[r]`` to ``indptr[r + 1]``; the
        type of ``weights`` is the type of the results.
    n_pixels : int
        Number of pixels of a frame.
    layout : tuple of int
        Pixels of a block, and a pixel that one begins with: of :func:`strip_frames`.

    Returns
    -------
    StripRows
    """
    starts, place = pixel_blocks(pixels, n_pixels, *layout)
    return strip_parts(starts, place[columns], indptr, weights, layout[0])


def strip_parts(
    starts: np.ndarray, place: np.ndarray, indptr: np.ndarray, weights: np.ndarray, width: int
) -> StripRows:
    """Cut compressed rows into strips.

    Parameters
    ----------
    starts : numpy.ndarray
        First pixel of each block, in the order of reading.
    place : numpy.ndarray
        Where the pixel of each product lies: block number * width + place in the block.
    indptr : numpy.ndarray
        Row r has the products ``indptr[r]`` to ``indptr[r + 1]``.
    weights : numpy.ndarray
        Shape (n,), or (n, m) for several weights of each product.
    width : int
        Pixels of a block.

    Returns
    -------
    StripRows
    """
    per = _STRIP // width
    n_strips = -(-starts.size // per)
    n_rows = indptr.size - 1
    # Parts: what a row has in a strip, in the order of its pixels.
    strip, column = place // _STRIP, place % _STRIP
    key = strip * n_rows + np.repeat(np.arange(n_rows), np.diff(indptr))
    order = np.argsort(key, kind="stable")
    part, first, length = np.unique(key[order], return_index=True, return_counts=True)
    own_strip, own_row = np.divmod(part, n_rows)
    by_length = np.lexsort((own_row, length, own_strip))
    own_strip, own_row, first, length = (values[by_length] for values in (own_strip, own_row, first, length))
    # Groups of four parts; the ones that fill up come first, being the shortest.
    count = np.bincount(own_strip, minlength=n_strips)
    fill = -count % _SIDE
    groups = np.concatenate([[0], np.cumsum((count + fill) // _SIDE)])
    before = np.cumsum(count) - count
    slot = groups[own_strip] * _SIDE + fill[own_strip] + np.arange(part.size) - before[own_strip]
    targets, lengths = np.full(groups[-1] * _SIDE, n_rows), np.zeros(groups[-1] * _SIDE, dtype=np.int64)
    targets[slot], lengths[slot] = own_row, length
    longest = lengths.reshape(-1, _SIDE).max(axis=1)
    items = np.concatenate([[0], np.cumsum(longest)])
    # A part shorter than its group repeats its last pixel, without weight.
    group, side = np.divmod(np.repeat(slot, longest[slot // _SIDE]), _SIDE)
    padded = longest[slot // _SIDE]
    within = np.arange(group.size) - np.repeat(np.cumsum(padded) - padded, padded)
    source = order[np.repeat(first, padded) + np.minimum(within, np.repeat(length, padded) - 1)]
    table = np.zeros((items[-1], _SIDE), dtype=np.uint32)
    factors = np.zeros((items[-1], _SIDE, *weights.shape[1:]), dtype=weights.dtype)
    table[items[group] + within, side] = column[source]
    counts = within < np.repeat(length, padded)
    factors[items[group[counts]] + within[counts], side[counts]] = weights[source[counts]]
    # Unsigned numbers spare the kernels a test for negative ones.
    return StripRows(
        starts=starts,
        blocks=np.minimum(np.arange(n_strips + 1) * per, starts.size),
        groups=groups.astype(np.uint64),
        targets=targets.astype(np.uint32),
        items=(items * _SIDE).astype(np.uint64),
        columns=table.ravel(),
        weights=factors.reshape(-1, *weights.shape[1:]),
    )


def strip_frames(frames: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Frames as (n, pixels), see :func:`medrange.kernels.lanes.flat_frames`, and how blocks lie in them.

    That is their width, and a pixel that one begins with (:func:`medrange.kernels.lanes.cache_phase`). The results do
    not depend on the latter: the pixels of a row are added in their order, wherever they are cut into blocks.
    """
    flat = flat_frames(frames)
    if LANES <= flat.shape[1] < block_width(flat.dtype):
        flat = flat.astype(working_type(flat.dtype))
    width = block_width(flat.dtype)
    return flat, (width, cache_phase(flat, width))


def strip_space(rows: StripRows, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Room for a strip of 16 frames and for the sums of the rows, one more than there are."""
    return aligned_lanes(_STRIP, rows.weights.dtype), aligned_lanes(n_rows + 1, rows.weights.dtype)


@njit(nogil=True, fastmath=FAST, cache=True)
def add_strips(frames, first, rows, width, space):  # noqa: ANN001, ANN201
    """Sums of all rows in 16 frames from ``first`` on, into ``space[1]``; ``space[0]`` is overwritten."""
    lanes, sums = space
    starts, weights, columns = rows.starts, rows.weights, rows.columns
    zero = spread(weights.dtype.type(0))
    for i in range(sums.shape[0]):
        store(sums, i, zero)
    for s in range(rows.blocks.size - 1):
        for i in range(rows.blocks[s], rows.blocks[s + 1]):
            ahead = i + _AHEAD
            if ahead < starts.size:
                prefetch_block(frames, first, starts[ahead])
            elif first + LANES < frames.shape[0]:
                prefetch_block(frames, first + LANES, starts[(ahead - starts.size) % starts.size])
            fill_block(frames, first, starts[i], lanes, (i - rows.blocks[s]) * width)
        for g in range(rows.groups[s], rows.groups[s + 1]):
            t = g * np.uint64(_SIDE)
            row_0, row_1 = rows.targets[t], rows.targets[t + np.uint64(1)]
            row_2, row_3 = rows.targets[t + np.uint64(2)], rows.targets[t + np.uint64(3)]
            sum_0, sum_1, sum_2, sum_3 = load(sums, row_0), load(sums, row_1), load(sums, row_2), load(sums, row_3)
            for j in range(rows.items[g], rows.items[g + np.uint64(1)], np.uint64(_SIDE)):
                a, b, c = j + np.uint64(1), j + np.uint64(2), j + np.uint64(3)
                sum_0 = sum_0 + load(lanes, columns[j]) * spread(weights[j])
                sum_1 = sum_1 + load(lanes, columns[a]) * spread(weights[a])
                sum_2 = sum_2 + load(lanes, columns[b]) * spread(weights[b])
                sum_3 = sum_3 + load(lanes, columns[c]) * spread(weights[c])
            store(sums, row_0, sum_0)
            store(sums, row_1, sum_1)
            store(sums, row_2, sum_2)
            store(sums, row_3, sum_3)


@njit(nogil=True, fastmath=FAST, cache=True)
def _apply(frames: np.ndarray, rows: tuple, width: int, order: np.ndarray, space: tuple, out: np.ndarray) -> None:
    sums = space[1]
    work = np.empty((LANES, LANES), dtype=sums.dtype)
    turned = np.empty((LANES, LANES), dtype=sums.dtype)
    for first in range(0, frames.shape[0], LANES):
        add_strips(frames, first, rows, width, space)
        for begin in range(0, order.size, LANES):
            count = min(LANES, order.size - begin)
            for i in range(count):
                store(work, i, load(sums, order[begin + i]))
            fill_lanes(work, 0, 0, turned, 0)
            for lane in range(LANES):
                for i in range(count):
                    out[first + lane, begin + i] = turned[lane, i]


def apply_rows(flat: np.ndarray, rows: StripRows, width: int, order: np.ndarray) -> np.ndarray:
    """Apply sparse rows to all frames.

    Parameters
    ----------
    flat : numpy.ndarray
        Shape (n, pixels), of :func:`strip_frames`; never changed.
    rows : StripRows
        From :func:`strip_rows` for the same width.
    width : int
        Pixels of a block, of :func:`strip_frames`.
    order : numpy.ndarray
        Of all rows, the same or another order.

    Returns
    -------
    numpy.ndarray
        Shape (n, number of rows), of the type of the weights.
    """
    out = np.empty((len(flat), order.size), dtype=rows.weights.dtype)
    space = strip_space(rows, order.size)
    start = 0
    for block, count in full_blocks(flat):
        whole = count == len(block)
        piece = out[start : start + count] if whole else np.empty((len(block), order.size), out.dtype)
        _apply(block, rows, width, order.astype(np.uint64), space, piece)
        if not whole:
            out[start:] = piece[:count]
        start += count
    return out
