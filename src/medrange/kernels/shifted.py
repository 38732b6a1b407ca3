"""Means over pixels whose center moves from pattern to pattern: descan, without touching the patterns.

A shift of the center by whole pixels moves the pixels read and nothing else. In between, the weights of a pattern are
interpolated while they are applied (see :mod:`medrange.kernels.shifted_rows`): sixteen patterns at a time, each lane
with its own place on the detector and its own weights. Where a mask or the detector's edge cuts into the pixels of
a pattern, the weights of those that are open are summed too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit

from medrange.kernels.lanes import FAST, LANES, flat_frames, gather_lanes, load, spread, store
from medrange.kernels.polar import open_bins
from medrange.kernels.shifted_rows import NODES, ShiftedRows

# Shifts are rounded to this share of a node's distance, so that rounding of a whole shift does not open new pixels.
_FINEST = 2.0**-20


@dataclass(frozen=True, eq=False)
class Batch:
    """Patterns that share a cell of sub-pixel centers.

    Attributes
    ----------
    numbers : numpy.ndarray
        Which patterns, (n,), filled up to a multiple of 16 with the last.
    count : int
        How many of them count.
    offsets : numpy.ndarray
        Shape (n, 2): whole pixels of the shift, rows and columns.
    blend : numpy.ndarray
        Shape (n / 16, 3, 16): t, s and t s of each lane.
    cell : int
        Which cell.
    is_cut : bool
        Whether the mask or the detector's edge may cut into the rows of these patterns.
    is_inside : bool
        Whether all that is read lies in the patterns.
    """

    numbers: np.ndarray
    count: int
    offsets: np.ndarray
    blend: np.ndarray
    cell: int
    is_cut: bool
    is_inside: bool


def batches(shifts: np.ndarray, rows: ShiftedRows, mask: np.ndarray | None) -> Iterator[Batch]:
    """Sort patterns by their sub-pixel center.

    Parameters
    ----------
    shifts : numpy.ndarray
        Shape (n, 2): shift of the center of each pattern, rows and columns, in pixels; finite.
    rows : ShiftedRows
        Rows to be applied.
    mask : numpy.ndarray of bool or None
        The detector's mask, True = excluded.
    """
    if not np.isfinite(shifts).all():
        msg = "the shift of the center is not finite for some pattern; every pattern needs a center."
        raise ValueError(msg)
    scaled = np.rint(np.asarray(shifts, dtype=np.float64) * (NODES / _FINEST)) * _FINEST
    node = np.floor(scaled)
    blend = scaled - node
    offsets, cell = np.divmod(node.astype(np.int64), NODES)
    is_inside = _lies_inside(offsets, rows)
    is_cut = ~is_inside if mask is None else ~is_inside | _meets_mask(offsets, rows, mask)
    label = ((cell[:, 0] * NODES + cell[:, 1]) * 2 + is_cut) * 2 + is_inside
    # Within a batch patterns with the same whole shift are together: what is closed to them is the same.
    apart = offsets - offsets.min(axis=0, initial=0)
    n_rows, n_cols = apart.max(axis=0, initial=0) + 1
    order = np.argsort((label * n_rows + apart[:, 0]) * n_cols + apart[:, 1], kind="stable")
    starts = np.flatnonzero(np.diff(label[order], prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
        numbers = order[start:stop]
        filled = np.concatenate([numbers, np.repeat(numbers[-1:], -len(numbers) % LANES)])
        t, s = blend[filled].T
        yield Batch(
            numbers=filled,
            count=len(numbers),
            offsets=offsets[filled],
            blend=np.stack([t, s, t * s], axis=0).reshape(3, -1, LANES).swapaxes(0, 1).astype(rows.dtype, order="C"),
            cell=int(label[numbers[0]]) // 4,
            is_cut=bool(is_cut[numbers[0]]),
            is_inside=bool(is_inside[numbers[0]]),
        )


def _lies_inside(offsets: np.ndarray, rows: ShiftedRows) -> np.ndarray:
    """Whether all pixels used lie on the detector, and what the blocks read beyond them in the pattern, (n,)."""
    first, last = (rows.corners[:, i] + offsets for i in (0, 1))
    start, moved = rows.blocks @ [rows.shape[1], 1], offsets @ [rows.shape[1], 1]
    used = (first >= 0).all(axis=1) & (last < rows.shape).all(axis=1)
    return used & (start.min() + moved >= 0) & (start.max() + moved + LANES <= rows.shape[0] * rows.shape[1])


def _meets_mask(offsets: np.ndarray, rows: ShiftedRows, mask: np.ndarray) -> np.ndarray:
    """Whether a block of a pattern holds a masked pixel, (n,)."""
    reach = np.abs(offsets).max(axis=0)
    padded = np.pad(mask, [(reach[0], reach[0]), (reach[1], reach[1])])
    # Whether a masked pixel lies among the 16 from here on, with as many columns more for blocks over the edge.
    count = np.cumsum(np.pad(padded, [(0, 0), (LANES + 1, LANES)]), axis=1)
    ahead = count[:, LANES:] > count[:, :-LANES]
    width = 2 * int(reach[1]) + 1
    unique, which = np.unique((offsets + reach) @ [width, 1], return_inverse=True)
    touched = np.zeros(len(unique), dtype=bool)
    for i, (down, right) in enumerate(zip(*np.divmod(unique, width), strict=True)):
        row, col = rows.blocks[:, 0] + down, rows.blocks[:, 1] + right + LANES
        inside = (row >= 0) & (row < len(padded)) & (col >= 0) & (col < ahead.shape[1])
        touched[i] = ahead[row[inside], col[inside]].any()
    return touched[which.reshape(-1)]


@njit(nogil=True, fastmath=FAST, cache=True)
def read_shifted(  # noqa: ANN201
    frames,  # noqa: ANN001
    numbers,  # noqa: ANN001
    offsets,  # noqa: ANN001
    blocks,  # noqa: ANN001
    n_cols,  # noqa: ANN001
    lanes,  # noqa: ANN001
):
    """Lay 16 patterns side by side, each from its own place on; all pixels read lie in the patterns."""
    origins = np.empty(LANES, dtype=np.int64)
    stride = frames.strides[0] // frames.itemsize
    for lane in range(LANES):
        origins[lane] = numbers[lane] * stride + offsets[lane, 0] * n_cols + offsets[lane, 1]
    for i in range(blocks.shape[0]):
        gather_lanes(frames, origins, blocks[i, 0] * n_cols + blocks[i, 1], lanes, i * LANES)


@njit(nogil=True, cache=True)
def _read_any(frames, numbers, offsets, blocks, is_open, lanes, opened):  # noqa: ANN001, ANN202
    """As :func:`read_shifted`, with 0 for masked pixels and those off the detector; ``opened`` is 1 for the others."""
    n_rows, n_cols = is_open.shape
    lanes[...] = 0
    opened[...] = 0
    for i in range(blocks.shape[0]):
        for lane in range(LANES):
            row, start = blocks[i, 0] + offsets[lane, 0], blocks[i, 1] + offsets[lane, 1]
            if row < 0 or row >= n_rows:
                continue
            for p in range(max(0, -start), min(LANES, n_cols - start)):
                if is_open[row, start + p]:
                    lanes[i * LANES + p, lane] = frames[numbers[lane], row * n_cols + start + p]
                    opened[i * LANES + p, lane] = 1


@njit(nogil=True, cache=True)
def _read(frames, batch, g, detector, lanes, opened):  # noqa: ANN001, ANN202
    """Lay the 16 patterns of group g side by side, and beside them which pixels are open where some are not."""
    numbers, offsets, _, is_cut, is_inside = batch
    blocks, is_open = detector
    own = slice(g * LANES, (g + 1) * LANES)
    if not is_inside:
        _read_any(frames, numbers[own], offsets[own], blocks, is_open, lanes, opened)
        return
    read_shifted(frames, numbers[own], offsets[own], blocks, is_open.shape[1], lanes)
    if is_cut:
        one = np.zeros(LANES, dtype=np.int64)
        read_shifted(is_open.reshape(1, -1), one, offsets[own], blocks, is_open.shape[1], opened)
        for i in range(lanes.shape[0]):
            for lane in range(LANES):
                # A masked pixel may hold anything, NaN too.
                lanes[i, lane] = lanes[i, lane] if opened[i, lane] > 0 else 0


@njit(nogil=True, fastmath=FAST, cache=True, inline="always")
def blended(weights, j, t, s, ts):  # noqa: ANN001, ANN201
    """Weight j of a cell at each lane's own center."""
    return spread(weights[j, 0]) + t * spread(weights[j, 1]) + s * spread(weights[j, 2]) + ts * spread(weights[j, 3])


@njit(nogil=True, fastmath=FAST, cache=True)
def blended_sum(lanes, cell, blend, row):  # noqa: ANN001, ANN201
    """Sum of one row at each lane's own center; ``blend`` (3, 16) holds t, s and t s."""
    indptr, columns, weights = cell
    t, s, ts = load(blend, 0), load(blend, 1), load(blend, 2)
    total = spread(weights.dtype.type(0))
    for j in range(indptr[row], indptr[row + 1]):
        total = total + load(lanes, columns[j]) * blended(weights, j, t, s, ts)
    return total


@njit(nogil=True, cache=True)
def _sums(frames: np.ndarray, batch: tuple, detector: tuple, cell: tuple, out: tuple) -> None:
    blend, is_cut = batch[2], batch[3]
    sums, shares, places = out
    n_rows = cell[0].size - 1
    lanes = np.empty((detector[0].shape[0] * LANES, LANES), dtype=sums.dtype)
    opened = np.empty((lanes.shape[0] if is_cut else 0, LANES), dtype=sums.dtype)
    work = np.empty((2, LANES), dtype=sums.dtype)
    for g in range(blend.shape[0]):
        _read(frames, batch, g, detector, lanes, opened)
        for row in range(n_rows):
            store(work, 0, blended_sum(lanes, cell, blend[g], row))
            if is_cut:
                store(work, 1, blended_sum(opened, cell, blend[g], row))
            for lane in range(LANES):
                place = places[g * LANES + lane]
                sums[place, row] = work[0, lane]
                if is_cut:
                    shares[place, row] = work[1, lane]


@njit(nogil=True, cache=True)
def _moments(frames: np.ndarray, batch: tuple, detector: tuple, cell: tuple, out: np.ndarray) -> None:
    numbers, blend = batch[0], batch[2]
    indptr, columns, weights = cell
    lanes = np.empty((detector[0].shape[0] * LANES, LANES))
    opened = np.ones((lanes.shape[0], LANES))
    work = np.empty((5, LANES))
    for g in range(blend.shape[0]):
        _read(frames, batch, g, detector, lanes, opened)
        t, s, ts = load(blend[g], 0), load(blend[g], 1), load(blend[g], 2)
        for ring in range(indptr.size - 1):
            # Deviations from one of the ring's own pixels: their squares lose no digits.
            origin = load(lanes, columns[indptr[ring]])
            total, square, shot, share = spread(0.0), spread(0.0), spread(0.0), spread(0.0)
            for j in range(indptr[ring], indptr[ring + 1]):
                value = load(lanes, columns[j])
                weight = blended(weights, j, t, s, ts) * load(opened, columns[j])
                deviation = value - origin
                total = total + weight * deviation
                square = square + weight * deviation * deviation
                shot = shot + weight * weight * value
                share = share + weight
            store(work, 0, total)
            store(work, 1, square)
            store(work, 2, shot)
            store(work, 3, share)
            store(work, 4, origin)
            for lane in range(LANES):
                of = work[3, lane] if work[3, lane] > 0 else np.nan
                mean = work[0, lane] / of
                number = numbers[g * LANES + lane]
                out[number, ring, 0] = work[4, lane] + mean
                out[number, ring, 1] = work[1, lane] / of - mean * mean
                out[number, ring, 2] = work[2, lane] / (of * of)


def _arguments(batch: Batch, rows: ShiftedRows, mask: np.ndarray | None) -> tuple[tuple, tuple, tuple]:
    """Batch, detector and cell as the kernels take them."""
    is_open = np.ones(rows.shape, dtype=np.uint8) if mask is None else (~mask).view(np.uint8)
    own = (batch.numbers, batch.offsets, batch.blend, batch.is_cut, batch.is_inside)
    return own, (rows.blocks, is_open), rows.cells[batch.cell]


def shifted_means(
    frames: np.ndarray, shifts: np.ndarray, rows: ShiftedRows, mask: np.ndarray | None, area: np.ndarray | None = None
) -> np.ndarray:
    """Apply rows to every pattern at its own center.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n, rows, cols), any integer or floating type and byte order; never changed.
    shifts : numpy.ndarray
        Shape (n, 2): shift of each pattern's center, rows and columns, in pixels.
    rows : ShiftedRows
        From :mod:`medrange.kernels.shifted_rows`; the weights of a row sum to 1.
    mask : numpy.ndarray of bool or None
        The detector's mask, True = excluded.
    area : numpy.ndarray, optional
        Shape (n_k, n_phi), of rows that are polar bins: their whole area, in pixels.

    Returns
    -------
    numpy.ndarray
        Shape (n, n_rows): means over the open pixels; NaN where none is open, or too little of a polar bin.
    """
    flat = flat_frames(frames)
    means = np.empty((len(flat), rows.n_rows), dtype=rows.dtype)
    for batch in batches(shifts, rows, mask):
        if batch.is_cut:
            values, _, is_open = batch_means(flat, batch, rows, mask, area)
            means[batch.numbers[: batch.count]] = np.where(is_open, values, np.nan)
        else:
            _sums(flat, *_arguments(batch, rows, mask), (means, np.empty((0, 0), rows.dtype), batch.numbers))
    return means


def batch_means(
    flat: np.ndarray, batch: Batch, rows: ShiftedRows, mask: np.ndarray | None, area: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means over the open pixels of one batch, the share of each row's area that is open, and whether that is enough.

    All (count, n_rows). See :func:`shifted_means` for the parameters.
    """
    sums, shares = (np.ones((len(batch.numbers), rows.n_rows), rows.dtype) for _ in range(2))
    _sums(flat, *_arguments(batch, rows, mask), (sums, shares, np.arange(len(batch.numbers))))
    sums, shares = sums[: batch.count], shares[: batch.count]
    means = np.divide(sums, shares, out=np.full_like(sums, np.nan), where=shares > 0)
    if area is None:
        return means, shares, shares > 0
    full = np.ones_like(shares)
    if not batch.is_inside:
        # The share of each row that lies on the detector.
        full = np.empty((len(batch.numbers), rows.n_rows), rows.dtype)
        whole = _arguments(batch, rows, None)
        _sums(flat, *whole, (np.empty_like(full), full, np.arange(len(batch.numbers))))
        full = full[: batch.count]
    shape = (-1, *area.shape)
    is_open = open_bins(shares.reshape(shape) * area, full.reshape(shape) * area)
    return means, shares, is_open.reshape(shares.shape)


def shifted_moments(frames: np.ndarray, shifts: np.ndarray, rows: ShiftedRows, mask: np.ndarray | None) -> np.ndarray:
    """Mean, variance and shot-noise sum of rings at every pattern's own center, (n, n_rows, 3) in float64.

    As :func:`medrange.kernels.fluctuation.ring_moments`; the other parameters are those of :func:`shifted_means`.
    """
    flat = flat_frames(frames)
    out = np.full((len(flat), rows.n_rows, 3), np.nan)
    for batch in batches(shifts, rows, mask):
        _moments(flat, *_arguments(batch, rows, mask), out)
    return out
