"""Figures of merit of single patterns: dose, saturated pixels, position of the direct beam."""

from __future__ import annotations

import numpy as np
from numba import njit

from medrange.geometry import DiffractionGeometry
from medrange.kernels.lanes import flat_frames

# Counters of 1, 6, 12 and 24 bits end here, whatever integer type they are stored in.
_COUNTER_ENDS = (1, 63, 4095, 16777215)
# Patterns whose beams are looked at together.
_PART = 64


def full_scale(dtype: np.dtype, highest: float) -> float:
    """Value at which a detector saturates, judged by the highest value seen; NaN where nothing suggests it.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the data; floating data never tell.
    highest : float
        Highest value of the data.

    Examples
    --------
    >>> full_scale(np.dtype("uint16"), 4095)
    4095.0
    >>> full_scale(np.dtype("uint16"), 3000)
    nan
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "iu":
        return float("nan")
    ends = (*_COUNTER_ENDS, np.iinfo(dtype).max)
    return float(highest) if int(highest) in ends else float("nan")


@njit(nogil=True, cache=True)
def _figures(flat: np.ndarray, pixels: np.ndarray, out: np.ndarray) -> None:
    """Sum, maximum and count of the maximum of the chosen pixels of frames (n, pixels), into ``out`` (n, 3)."""
    for i in range(flat.shape[0]):
        frame = flat[i]
        total = 0.0
        highest = frame[pixels[0]]
        for p in pixels:
            total += frame[p]
            highest = max(highest, frame[p])
        count = 0
        for p in pixels:
            count += frame[p] == highest
        out[i, 0], out[i, 1], out[i, 2] = total, highest, count


def dose_and_maximum(frames: np.ndarray, is_open: np.ndarray) -> np.ndarray:
    """Sum of the open pixels of every pattern, their maximum, and how many reach it.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n, rows, cols).
    is_open : numpy.ndarray of bool
        Shape (rows, cols): the pixels that count.

    Returns
    -------
    numpy.ndarray
        Shape (n, 3), float64; NaN where no pixel is open.

    Examples
    --------
    >>> dose_and_maximum(np.array([[[1, 5], [5, 9]]]), np.array([[True, True], [True, False]]))
    array([[11.,  5.,  2.]])
    """
    out = np.full((len(frames), 3), np.nan)
    pixels = np.flatnonzero(is_open)
    if pixels.size:
        _figures(flat_frames(frames), pixels, out)
    return out


def beam_window(geometry: DiffractionGeometry, radius: float) -> tuple[slice, slice]:
    """Rows and columns of a square window around the center, cut at the detector's edge."""
    row, col = (round(value) for value in geometry.center)
    half = max(2, round(radius / geometry.k_step))
    rows, cols = geometry.shape
    return slice(max(0, row - half), min(rows, row + half + 1)), slice(max(0, col - half), min(cols, col + half + 1))


def pattern_figures(frames: np.ndarray, geometry: DiffractionGeometry, *, radius: float) -> np.ndarray:
    """Dose, maximum, count of pixels at the maximum, and center of the direct beam of every pattern.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n, rows, cols).
    geometry : DiffractionGeometry
        Mask and nominal center.
    radius : float
        Half the side of the window around the center whose centroid is taken, in k units.

    Returns
    -------
    numpy.ndarray
        Shape (n, 5): sum over the open pixels, their maximum, how many reach it, and the direct beam's
        row and column (NaN where the window is dark or masked).
    """
    out = np.full((len(frames), 5), np.nan)
    is_open = np.ones(geometry.shape, bool) if geometry.mask is None else ~geometry.mask
    out[:, :3] = dose_and_maximum(frames, is_open)
    rows, cols = beam_window(geometry, radius)
    if rows.start >= rows.stop or cols.start >= cols.stop or not is_open[rows, cols].all():
        return out
    y, x = np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop)
    for start in range(0, len(frames), _PART):
        beams = np.asarray(frames[start : start + _PART, rows, cols], dtype=np.float64)
        beams = np.clip(beams - np.median(beams, axis=(1, 2), keepdims=True), 0, None)
        total = beams.sum(axis=(1, 2))
        lit = np.flatnonzero(total > 0)
        # A matrix product that is left to a library rounds a row by how many others there are.
        out[start + lit, 3] = np.einsum("ny,y->n", beams[lit].sum(axis=2), y) / total[lit]
        out[start + lit, 4] = np.einsum("nx,x->n", beams[lit].sum(axis=1), x) / total[lit]
    return out
