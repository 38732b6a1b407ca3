"""Counting statistics and counters of real detectors."""

from __future__ import annotations

import numpy as np

_DEPTH_TYPES = {1: np.uint8, 6: np.uint8, 12: np.uint16, 24: np.uint32}


def poisson_counts(expected: np.ndarray, electrons_per_frame: float, seed: int | np.random.Generator = 0) -> np.ndarray:
    """Draw electron counts: Poisson with mean ``expected * electrons_per_frame``.

    Parameters
    ----------
    expected : ndarray
        Fraction of the beam's electrons per pixel, any shape, as :func:`simulate_scan` returns it.
    electrons_per_frame : float
        Electrons that hit the sample during one frame (beam current times dwell time over the elementary
        charge).
    seed : int or numpy.random.Generator
        Source of random numbers.

    Returns
    -------
    ndarray
        Counts, uint32, of the shape of ``expected``.

    Raises
    ------
    ValueError
        If the dose is not positive or an expected value is negative or not a number.

    Examples
    --------
    >>> poisson_counts(np.full((2, 2), 0.25), 4e4, seed=3).dtype
    dtype('uint32')
    """
    if not electrons_per_frame > 0:
        msg = f"electrons_per_frame is {electrons_per_frame!r}; it must be positive."
        raise ValueError(msg)
    expected = np.asarray(expected, float)
    if not np.all(expected >= 0):
        msg = "expected holds negative values or NaN; it must hold fractions of the beam, 0 or larger."
        raise ValueError(msg)
    # 24 significant bits: differences of the last bit between linear-algebra libraries do not reach the draw.
    mean = (expected * electrons_per_frame).astype(np.float32).astype(float)
    return np.random.default_rng(seed).poisson(mean).astype(np.uint32)


def clip_counts(counts: np.ndarray, counter_depth: int = 12) -> np.ndarray:
    """Clip counts at ``2**counter_depth - 1``, as a counter of that depth stores them.

    Parameters
    ----------
    counts : ndarray
        Counts of any integer type and shape.
    counter_depth : int
        Bits of the counter: 1, 6, 12 or 24 as in a Medipix3 chip.

    Returns
    -------
    ndarray
        uint8 (1 and 6 bits), uint16 (12) or uint32 (24), of the shape of ``counts``.

    Raises
    ------
    ValueError
        If the chip has no such counter.

    Examples
    --------
    >>> clip_counts(np.array([12, 5000])).tolist()
    [12, 4095]
    """
    if counter_depth not in _DEPTH_TYPES:
        msg = f"counter_depth is {counter_depth!r}; choose one of {sorted(_DEPTH_TYPES)}."
        raise ValueError(msg)
    return np.minimum(counts, 2**counter_depth - 1).astype(_DEPTH_TYPES[counter_depth])
