"""Sparse rows applied to many frames: each row is a weighted sum of detector pixels."""

from __future__ import annotations

import numpy as np
from numba import njit

from medrange.kernels.lanes import (
    FAST,
    LANES,
    fill_lanes,
    flat_frames,
    full_blocks,
    load,
    pixel_blocks,
    spread,
    store,
)


@njit(nogil=True, fastmath=FAST, cache=True)
def read_block(frames: np.ndarray, first: int, starts: np.ndarray, lanes: np.ndarray) -> None:
    """Lay 16 frames from ``first`` side by side: the pixel blocks ``starts``, row by row of ``lanes``."""
    for i in range(starts.size):
        fill_lanes(frames, first, starts[i], lanes, i * LANES)


@njit(nogil=True, fastmath=FAST, cache=True)
def row_sum(lanes, indptr, columns, weights, row):  # noqa: ANN001, ANN201
    """Weighted sum of one sparse row in each lane; 0 for an empty row."""
    total = spread(weights.dtype.type(0))
    for j in range(indptr[row], indptr[row + 1]):
        total = total + load(lanes, columns[j]) * spread(weights[j])
    return total


@njit(nogil=True, fastmath=FAST, cache=True)
def _apply(frames: np.ndarray, rows: tuple, order: np.ndarray, lanes: np.ndarray, out: np.ndarray) -> None:
    starts, indptr, columns, weights = rows
    work = np.empty((LANES, LANES), dtype=lanes.dtype)
    turned = np.empty((LANES, LANES), dtype=lanes.dtype)
    for first in range(0, frames.shape[0], LANES):
        read_block(frames, first, starts, lanes)
        for begin in range(0, order.size, LANES):
            count = min(LANES, order.size - begin)
            for i in range(count):
                store(work, i, row_sum(lanes, indptr, columns, weights, order[begin + i]))
            fill_lanes(work, 0, 0, turned, 0)
            for lane in range(LANES):
                for i in range(count):
                    out[first + lane, begin + i] = turned[lane, i]


def sparse_rows(
    pixels: np.ndarray, indptr: np.ndarray, columns: np.ndarray, weights: np.ndarray, n_pixels: int
) -> tuple[np.ndarray, ...]:
    """Put compressed rows over detector pixels into the form the kernels take.

    Parameters
    ----------
    pixels : numpy.ndarray
        Flat numbers of the pixels used, ascending.
    indptr, columns, weights : numpy.ndarray
        Row r sums ``weights[j] * frame[pixels[columns[j]]]``, j from ``indptr[r]`` to ``indptr[r + 1]``; the
        type of ``weights`` is the type of the results.
    n_pixels : int
        Number of pixels of a frame.

    Returns
    -------
    tuple of numpy.ndarray
        Starts of the pixel blocks read, row pointers, columns among the lanes, weights.
    """
    starts, rows = pixel_blocks(pixels, n_pixels)
    # Unsigned numbers spare the kernels a test for negative ones.
    return starts, indptr.astype(np.uint64), rows[columns].astype(np.uint32), weights


def lanes_for(rows: tuple[np.ndarray, ...]) -> np.ndarray:
    """Room for one block of frames."""
    return np.empty((rows[0].size * LANES, LANES), dtype=rows[3].dtype)


def apply_rows(frames: np.ndarray, rows: tuple[np.ndarray, ...], order: np.ndarray | None = None) -> np.ndarray:
    """Apply sparse rows to all frames.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n, rows, cols), any integer or floating type and byte order; never changed.
    rows : tuple
        From :func:`sparse_rows`.
    order : numpy.ndarray, optional
        Which rows, in which order; all when not given.

    Returns
    -------
    numpy.ndarray
        Shape (n, number of rows), of the type of the weights.
    """
    flat = flat_frames(frames)
    order = np.arange(rows[1].size - 1) if order is None else order
    out = np.empty((len(flat), order.size), dtype=rows[3].dtype)
    lanes = lanes_for(rows)
    start = 0
    for block, count in full_blocks(flat):
        whole = count == len(block)
        piece = out[start : start + count] if whole else np.empty((len(block), order.size), out.dtype)
        _apply(block, rows, order, lanes, piece)
        if not whole:
            out[start:] = piece[:count]
        start += count
    return out
