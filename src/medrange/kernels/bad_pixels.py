"""Find dead, stuck and hot detector pixels in the mean and the variance of a scan's patterns."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

# Pixels of like radius that a pixel is held against.
_RING_PIXELS = 201
# A pixel without an electron is dead where this many were to be expected: chance gives exp(-16).
_EXPECTED = 16.0
# With fewer patterns good pixels are constant by chance.
_FEWEST = 20
_NEIGHBORS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
_TO_SIGMA = 1.4826


def _ring_statistics(values: np.ndarray, radius: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and robust standard deviation of the pixels of like radius, at every pixel."""
    order = np.argsort(radius[good], kind="stable")
    sorted_values = values[good][order]
    size = min(_RING_PIXELS, sorted_values.size)
    median = ndimage.median_filter(sorted_values, size, mode="nearest")
    spread = _TO_SIGMA * ndimage.median_filter(np.abs(sorted_values - median), size, mode="nearest")
    middle, deviation = np.full(values.shape, np.nan), np.full(values.shape, np.nan)
    where = np.flatnonzero(good.ravel())[order]
    middle.ravel()[where], deviation.ravel()[where] = median, spread
    return middle, deviation


def _against_neighbors(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Difference of each pixel from the median of its open neighbors, at most eight."""
    padded = np.pad(np.where(good, values, np.nan), 1, constant_values=np.nan)
    rows, cols = np.nonzero(_NEIGHBORS)
    shape = values.shape
    around = np.stack([padded[i : i + shape[0], j : j + shape[1]] for i, j in zip(rows, cols, strict=True)])
    known = np.isfinite(around).any(axis=0)
    median = np.full(shape, np.nan)
    median[known] = np.nanmedian(around[:, known], axis=0)
    return values - median


def _deviation(values: np.ndarray, error: np.ndarray, radius: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Signed deviation from the ring and from the neighbors, the smaller of the two, in robust sigmas."""
    median, spread = _ring_statistics(values, radius, good)
    from_ring = (values - median) / np.maximum(spread, error)
    local = _against_neighbors(values, good)
    middle, local_spread = _ring_statistics(np.nan_to_num(local), radius, good)
    from_neighbors = (local - middle) / np.maximum(local_spread, error)
    # Without a neighbor the ring decides alone.
    from_neighbors = np.where(np.isfinite(from_neighbors), from_neighbors, from_ring)
    same_sign = np.sign(from_ring) == np.sign(from_neighbors)
    smaller = np.where(np.abs(from_ring) < np.abs(from_neighbors), from_ring, from_neighbors)
    return np.where(same_sign & good, np.nan_to_num(smaller), 0.0)


def bad_pixels(
    mean: np.ndarray,
    variance: np.ndarray,
    n_patterns: int,
    radius: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    threshold: float = 8.0,
) -> np.ndarray:
    """Pixels that are dead, stuck, dim, hot or noisy: those unlike both their ring and their neighbors.

    Dead or stuck: constant over the scan where the pixels of like radius are not; at zero only where at least
    16 electrons were to be expected. Dim, hot, noisy: the logarithm of the mean or of the variance lies
    more than ``threshold`` robust standard deviations (1.4826 median absolute deviations, not less than the
    statistical error) from the median of some 200 pixels of like radius, and as far, on the same side, from
    that of its neighbors. So neither the direct beam's edge nor a speckle passes for a bad pixel.

    Parameters
    ----------
    mean, variance : numpy.ndarray
        Shape (rows, cols): of every pixel over the patterns.
    n_patterns : int
        Number of patterns behind them.
    radius : numpy.ndarray
        Shape (rows, cols): distance of the pixels from the center, in any unit.
    mask : numpy.ndarray of bool, optional
        Pixels known to be bad, True = excluded; left out of all medians.
    threshold : float
        In robust standard deviations.

    Returns
    -------
    numpy.ndarray of bool
        Shape (rows, cols): True = bad; those of ``mask`` are not repeated.

    Raises
    ------
    ValueError
        If the threshold is not positive, there are fewer than 20 patterns, or all pixels are masked.
    """
    if not threshold > 0:
        msg = f"threshold is {threshold!r}; it is a number of standard deviations and must be positive: 8 is usual."
        raise ValueError(msg)
    if n_patterns < _FEWEST:
        msg = f"there are {n_patterns} patterns; at least {_FEWEST}, better 200, tell a dead pixel from a dark one."
        raise ValueError(msg)
    good = np.isfinite(mean) & np.isfinite(variance)
    broken = ~good
    if mask is not None:
        good &= ~mask
    if not good.any():
        msg = "no open pixel is left to compare with; take a smaller mask."
        raise ValueError(msg)
    typical_mean, _ = _ring_statistics(mean, radius, good)
    typical_variance, _ = _ring_statistics(variance, radius, good)
    counting = good & (typical_variance > 0)
    # Squared signal to noise of a pixel's sum: its electrons, or fewer where the scan itself fluctuates.
    expected = np.zeros(mean.shape)
    expected[counting] = n_patterns * typical_mean[counting] ** 2 / typical_variance[counting]
    dead = counting & (variance == 0) & ((expected > _EXPECTED) | (mean != 0))
    # In the dark, beyond an aperture, there is no scale to measure by: there a bad pixel counts alone.
    alone = good & (typical_mean == 0) & (_against_neighbors(mean, good) == mean)
    found = alone & (n_patterns * mean**2 > _EXPECTED * variance) & (mean > 0)
    rest = good & ~dead & ~found & (mean > 0) & (variance > 0)
    if rest.any():
        safe_mean, safe_variance = np.where(rest, mean, 1.0), np.where(rest, variance, 1.0)
        relative = np.sqrt(safe_variance / n_patterns) / safe_mean
        typical_error, _ = _ring_statistics(relative, radius, rest)
        for image, error in (
            (np.log(safe_mean), typical_error),
            (np.log(safe_variance), np.maximum(typical_error, np.sqrt(2 / n_patterns))),
        ):
            found |= np.abs(_deviation(image, error, radius, rest)) > threshold
    return (dead | found | broken) & (True if mask is None else ~mask)
