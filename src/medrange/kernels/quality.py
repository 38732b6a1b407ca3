"""Figures of merit of single patterns: dose, saturated pixels, position of the direct beam."""

from __future__ import annotations

import numpy as np

from medrange.geometry import DiffractionGeometry

# Counters of 1, 6, 12 and 24 bits end here, whatever integer type they are stored in.
_COUNTER_ENDS = (1, 63, 4095, 16777215)


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
    rows, cols = beam_window(geometry, radius)
    blocked = rows.start >= rows.stop or cols.start >= cols.stop or not is_open[rows, cols].all()
    y, x = np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop)
    for i, frame in enumerate(frames):
        values = frame[is_open]
        out[i, 0] = values.sum(dtype=np.float64)
        out[i, 1] = values.max()
        out[i, 2] = np.count_nonzero(values == values.max())
        if blocked:
            continue
        beam = frame[rows, cols].astype(np.float64)
        beam -= np.median(beam)
        np.clip(beam, 0, None, out=beam)
        total = beam.sum()
        if total > 0:
            out[i, 3:] = (beam.sum(axis=1) @ y / total, beam.sum(axis=0) @ x / total)
    return out
