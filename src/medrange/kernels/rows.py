"""Sparse rows over detector pixels with 16 frames side by side, for kernels that do more than add up."""

from __future__ import annotations

import numpy as np
from numba import njit

from medrange.kernels.lanes import FAST, LANES, aligned_lanes, fill_lanes, pixel_blocks


@njit(nogil=True, fastmath=FAST, cache=True)
def read_block(frames: np.ndarray, first: int, starts: np.ndarray, lanes: np.ndarray) -> None:
    """Lay 16 frames from ``first`` side by side: the pixel blocks ``starts``, row by row of ``lanes``."""
    for i in range(starts.size):
        fill_lanes(frames, first, starts[i], lanes, i * LANES)


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
    return aligned_lanes(rows[0].size * LANES, rows[3].dtype)
