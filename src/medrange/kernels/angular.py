"""Angular correlation and angular power of rings of intensity, with or without masked bins.

A ring is an array over azimuth; NaN marks a bin with no open pixel. The mean of the open bins is
subtracted *before* anything else, so that the mask's own shape never enters the result.
"""

from __future__ import annotations

import numpy as np


def _deviations(rings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Deviations from the open bins' mean (0 in closed bins), open bins, and that mean."""
    rings = np.asarray(rings)
    if rings.dtype.kind != "f":
        rings = rings.astype(np.float64)
    is_open = ~np.isnan(rings)
    count = is_open.sum(axis=-1, keepdims=True)
    total = np.where(is_open, rings, 0).sum(axis=-1, keepdims=True, dtype=np.float64)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return np.where(is_open, rings - mean, 0.0), is_open, mean[..., 0]


def intensity_variance(rings: np.ndarray) -> np.ndarray:
    """Normalized variance over azimuth, ``V2D = (<I^2> - <I>^2)/<I>^2``.

    Parameters
    ----------
    rings : numpy.ndarray
        Shape (..., n_phi), intensity; NaN = no open pixel.

    Returns
    -------
    numpy.ndarray
        Shape (...), dimensionless; NaN where the mean is 0 or nothing is open. See [Im2018]_.

    Examples
    --------
    >>> intensity_variance(np.array([1.0, 3.0, 1.0, 3.0]))
    array(0.25)
    """
    deviations, is_open, mean = _deviations(rings)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((deviations**2).sum(axis=-1) / is_open.sum(axis=-1) / mean**2)


def angular_correlation(rings: np.ndarray) -> np.ndarray:
    """Angular correlation ``C(dphi) = (<I(phi) I(phi + dphi)> - <I>^2)/<I>^2``.

    Each lag is averaged over its own pairs of open bins, after the open bins' mean is subtracted.

    Parameters
    ----------
    rings : numpy.ndarray
        Shape (..., n_phi), intensity; NaN = no open pixel.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_phi), lags 0, 2 pi/n_phi, ...; NaN at lags without a pair. See [Wochner2009]_.

    Examples
    --------
    >>> angular_correlation(np.array([1.0, 3.0, 1.0, 3.0]))
    array([ 0.25, -0.25,  0.25, -0.25])
    """
    deviations, is_open, mean = _deviations(rings)
    n_phi = deviations.shape[-1]
    products = np.fft.irfft(np.abs(np.fft.rfft(deviations, axis=-1)) ** 2, n=n_phi, axis=-1)
    pairs = np.fft.irfft(np.abs(np.fft.rfft(is_open, axis=-1)) ** 2, n=n_phi, axis=-1).round()
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(pairs > 0, products / pairs, np.nan) / mean[..., None] ** 2


def angular_power(rings: np.ndarray) -> np.ndarray:
    """Angular power ``P_n = c_n |I_n|^2/(f I_0^2)``, n = 1 .. n_phi/2.

    I_n is the Fourier coefficient over azimuth of the deviations from the open bins' mean I_0, f the
    share of open bins; c_n = 2 counts +n and -n together (1 at n = n_phi/2). Without closed bins the
    sum over n is C(0) = V2D.

    Parameters
    ----------
    rings : numpy.ndarray
        Shape (..., n_phi), intensity; NaN = no open pixel.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_phi // 2), dimensionless. See [Im2018]_.

    Examples
    --------
    >>> phi = 2 * np.pi * np.arange(36) / 36
    >>> angular_power(1 + 0.2 * np.cos(4 * phi))[3].round(6)
    0.02
    """
    deviations, is_open, mean = _deviations(rings)
    n_phi = deviations.shape[-1]
    coefficients = np.fft.rfft(deviations, axis=-1)[..., 1:] / n_phi
    counted = np.full(n_phi // 2, 2.0)
    if n_phi % 2 == 0:
        counted[-1] = 1.0
    share = is_open.mean(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return counted * np.abs(coefficients) ** 2 / (share * mean**2)[..., None]
