"""Radial autocorrelation of a map: the size of what is in it, and how far its neighbors are.

See [Im2018]_ (Fig. 4c and 4d) in references.bib.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

_INVERSE_E = float(np.exp(-1.0))


def radial_autocorrelation(
    image: np.ndarray, *, pixel_size: tuple[float, float] = (1.0, 1.0), max_distance: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Autocorrelation of a map as a function of distance, without the effect of its edges and gaps.

    ``sigma(r) = <z(a) z(b)> / <z^2>`` with ``z`` the map minus its mean and the average over all pairs
    of valid pixels a, b whose distance falls into the bin of r. The pairs are counted by zero-padded
    FFT, so that nothing wraps around and missing pixels (NaN) take no part. A bin is as wide as the
    smaller pixel side.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (y, x); values that are not finite are left out.
    pixel_size : tuple of float
        (dy, dx), a length.
    max_distance : float, optional
        Largest distance, same length; half of the shorter side of the map when not given, beyond
        which few pairs are left.

    Returns
    -------
    r : numpy.ndarray
        Shape (bins,): mean length of the lags in each bin; starts at 0. It depends on shape, pixel
        size and ``max_distance`` only.
    sigma : numpy.ndarray
        Shape (bins,), 1 at r = 0. NaN where no pair is left, and everywhere for a constant map.

    Raises
    ------
    ValueError
        If the map is not two-dimensional, or a length is not positive.

    Examples
    --------
    >>> r, sigma = radial_autocorrelation(np.indices((8, 8)).sum(0) % 2, max_distance=1)
    >>> r.tolist(), sigma.round(3).tolist()
    ([0.0, 1.2071067811865475], [1.0, -0.067])
    """
    image = np.asarray(image, dtype=np.float64)
    if image.ndim != 2:
        msg = f"a map of shape {image.shape} was given; the autocorrelation takes one map (y, x) at a time."
        raise ValueError(msg)
    bin_of_lag, distance = _lag_bins(image.shape, pixel_size, max_distance)
    used = bin_of_lag >= 0
    number = np.bincount(bin_of_lag[used])
    filled = number > 0
    r = np.bincount(bin_of_lag[used], distance[used])[filled] / number[filled]
    valid = np.isfinite(image)
    values = image[valid]
    if values.size == 0 or values.min() == values.max():
        return r, np.full(r.shape, np.nan)
    deviation = np.zeros(image.shape)
    # Scaled to order 1, so that rounding of the FFT does not depend on the units of the map.
    deviation[valid] = (values - values.mean()) / values.std()
    products = np.bincount(bin_of_lag[used], _lag_sums(deviation)[used])[filled]
    pairs = np.bincount(bin_of_lag[used], np.rint(_lag_sums(valid.astype(np.float64)))[used])[filled]
    sigma = np.divide(products, pairs, out=np.full(r.shape, np.nan), where=pairs > 0)
    return r, sigma / sigma[0]


def _lag_sums(image: np.ndarray) -> np.ndarray:
    """Sum of ``image(a) image(a + lag)`` for lags of 0..ny-1 rows and all columns; shape (ny, 2 nx - 1)."""
    ny, nx = image.shape
    shape = (fft.next_fast_len(2 * ny - 1, real=True), fft.next_fast_len(2 * nx - 1, real=True))
    spectrum = fft.rfft2(image, shape)
    sums = fft.irfft2(spectrum.real**2 + spectrum.imag**2, shape)
    return np.concatenate([sums[:ny, :nx], sums[:ny, shape[1] - nx + 1 :]], axis=1)


def _lag_bins(
    shape: tuple[int, int], pixel_size: tuple[float, float], max_distance: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Bin (-1: not used) and length of the lags of :func:`_lag_sums`; bin b is centered on b pixel sides."""
    (ny, nx), (dy, dx) = shape, pixel_size
    if not (dy > 0 and dx > 0):
        msg = f"pixel_size is {pixel_size!r}; both lengths (dy, dx) must be positive."
        raise ValueError(msg)
    if max_distance is None:
        max_distance = min(ny * dy, nx * dx) / 2
    if not max_distance > 0:
        msg = f"max_distance is {max_distance!r}; it must be positive."
        raise ValueError(msg)
    rows = np.arange(ny)[:, np.newaxis]
    columns = np.concatenate([np.arange(nx), np.arange(-nx + 1, 0)])
    distance = np.hypot(rows * dy, columns * dx)
    step = min(dy, dx)
    bins = np.floor(distance / step + 0.5).astype(np.int64)
    # Lags and their negatives give the same pair: in row 0 keep one half.
    unused = (bins * step > max_distance * (1 + 1e-9)) | ((rows == 0) & (columns < 0))
    bins[unused] = -1
    return bins, distance


def correlation_length(r: np.ndarray, sigma: np.ndarray) -> float:
    """Distance at which the autocorrelation first falls to 1/e, interpolated linearly.

    For noise smoothed by a Gaussian of standard deviation s, and for few Gaussian spots of it, it is 2 s.

    Parameters
    ----------
    r, sigma : numpy.ndarray
        Shape (bins,): distance, and autocorrelation with 1 at r = 0. NaN bins are passed over.

    Returns
    -------
    float
        In units of ``r``; NaN where 1/e is never reached.

    Examples
    --------
    >>> r = np.linspace(0, 5, 501)
    >>> round(correlation_length(r, np.exp(-r / 1.5)), 4)
    1.5
    """
    r, sigma = _finite(r, sigma)
    below = np.flatnonzero(sigma <= _INVERSE_E)
    if below.size == 0 or below[0] == 0:
        return float("nan")
    i = below[0]
    share = (sigma[i - 1] - _INVERSE_E) / (sigma[i - 1] - sigma[i])
    return float(r[i - 1] + share * (r[i] - r[i - 1]))


def first_neighbor_peak(r: np.ndarray, sigma: np.ndarray) -> float:
    """Distance of the first maximum of the autocorrelation after its first minimum.

    The vertex of the parabola through the three points of the maximum. Any wiggle counts: a peak in the
    autocorrelation of one map of plain noise is no evidence of a neighbor distance.

    Parameters
    ----------
    r, sigma : numpy.ndarray
        Shape (bins,): distance, and autocorrelation. NaN bins are passed over.

    Returns
    -------
    float
        In units of ``r``; NaN where there is no such maximum.

    Examples
    --------
    >>> r = np.linspace(0, 8, 81)
    >>> round(first_neighbor_peak(r, np.cos(2 * np.pi * r / 5)), 2)
    5.0
    """
    r, sigma = _finite(r, sigma)
    rise = np.diff(sigma)
    minimum = np.flatnonzero((rise[:-1] < 0) & (rise[1:] >= 0)) + 1
    if minimum.size == 0:
        return float("nan")
    maximum = np.flatnonzero((rise[:-1] > 0) & (rise[1:] <= 0)) + 1
    maximum = maximum[maximum > minimum[0]]
    if maximum.size == 0:
        return float("nan")
    i = maximum[0]
    curvature, slope, _ = np.polyfit(r[i - 1 : i + 2] - r[i], sigma[i - 1 : i + 2], 2)
    return float(r[i] - slope / (2 * curvature))


def _finite(r: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r, sigma = np.asarray(r, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
    if r.shape != sigma.shape or r.ndim != 1:
        msg = f"r {r.shape} and sigma {sigma.shape} must be two lists of one length."
        raise ValueError(msg)
    keep = np.isfinite(sigma)
    return r[keep], sigma[keep]
