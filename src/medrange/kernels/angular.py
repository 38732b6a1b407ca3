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
    """Angular power P_n: Fourier coefficients of the angular correlation, n = 1 .. n_phi/2.

    ``P_n = c_n / N sum_dphi C(dphi) cos(n dphi)``, which without closed bins is ``c_n |I_n|^2/I_0^2`` with
    I_n the Fourier coefficient of the ring; c_n = 2 counts +n and -n together (1 at n = n_phi/2), and the
    P_n add up to C(0) = V2D. With closed bins C is the correlation over valid pairs: its expectation is
    that of the whole ring, both for a pure n-fold ring and for speckle; single values may then be a
    little below 0. Lags without any pair count as uncorrelated.

    Parameters
    ----------
    rings : numpy.ndarray
        Shape (..., n_phi), intensity; NaN = no open pixel.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_phi // 2), dimensionless; NaN where the mean is 0 or nothing is open. See [Im2018]_.

    Examples
    --------
    >>> phi = 2 * np.pi * np.arange(36) / 36
    >>> float(angular_power(1 + 0.2 * np.cos(4 * phi))[3].round(6))
    0.02
    """
    correlation = angular_correlation(rings)
    n_phi = correlation.shape[-1]
    measured = np.isfinite(correlation[..., :1])
    filled = np.where(np.isnan(correlation) & measured, 0.0, correlation)
    return sign_counts(n_phi) / n_phi * np.fft.rfft(filled, axis=-1).real[..., 1:]


def sign_counts(n_phi: int) -> np.ndarray:
    """How many Fourier coefficients an order n = 1 .. n_phi/2 stands for: 2 (+n and -n), 1 at n_phi/2."""
    counts = np.full(n_phi // 2, 2.0)
    if n_phi % 2 == 0:
        counts[-1] = 1.0
    return counts


def pair_correction(is_open: np.ndarray) -> np.ndarray:
    """Matrix that takes the power of a ring with closed bins set to 0 to the power over valid pairs.

    Parameters
    ----------
    is_open : numpy.ndarray of bool
        Shape (n_phi,): the bins that hold open pixels.

    Returns
    -------
    numpy.ndarray
        Shape (n_phi // 2, n_phi // 2). It acts on ``c_n |D_n|^2/(N N_open I_0^2)`` with D_n the sum of the
        deviations times exp(-i n phi), and gives :func:`angular_power`; the unit matrix if all are open.
    """
    n_phi = is_open.size
    pairs = np.fft.irfft(np.abs(np.fft.rfft(is_open)) ** 2, n=n_phi).round()
    gain = np.divide(is_open.sum(), pairs, out=np.zeros(n_phi), where=pairs > 0)
    cosines = np.cos(2 * np.pi * np.outer(np.arange(1, n_phi // 2 + 1), np.arange(n_phi)) / n_phi)
    return sign_counts(n_phi)[:, None] / n_phi * (cosines * gain) @ cosines.T
