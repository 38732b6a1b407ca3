"""Shot noise of the ring statistics: what Poisson counting alone adds to V2D and P_n."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.angular import sign_counts
from medrange.kernels.polar import PolarOperator, polar_operator
from medrange.kernels.rings import FIRST_POWER, RING_MEAN, VARIANCE


@dataclass(frozen=True, eq=False)
class NoiseFactors:
    """Shot noise of a ring's statistics in units of gain / mean intensity.

    Attributes
    ----------
    mean_square : numpy.ndarray
        Shape (n_k,): relative variance of the ring mean.
    variance : numpy.ndarray
        Shape (n_k,): expected V2D of a structureless ring.
    power : numpy.ndarray
        Shape (n_k, n_phi // 2): expected P_n of a structureless ring.
    """

    mean_square: np.ndarray
    variance: np.ndarray
    power: np.ndarray


def _ring_factors(operator: PolarOperator, ring: int) -> tuple[float, float, np.ndarray]:
    """Factors of one ring, from the covariance of its bins: they share pixels at their borders."""
    n_phi = operator.grid.n_phi
    is_open = operator.is_open[ring]
    rows = slice(operator.indptr[ring * n_phi], operator.indptr[(ring + 1) * n_phi])
    indptr = operator.indptr[ring * n_phi : (ring + 1) * n_phi + 1] - rows.start
    shape = (n_phi, operator.pixels.size)
    weights = sparse.csr_array((operator.weights[rows], operator.columns[rows], indptr), shape=shape)
    covariance = (weights @ weights.T).toarray()
    n_open = is_open.sum()
    mean_square = is_open @ covariance @ is_open / n_open**2
    # Deviations from the open bins' mean, 0 in closed bins.
    centering = np.diag(is_open.astype(float)) - np.outer(is_open, is_open) / n_open
    deviations = centering @ covariance @ centering.T
    lag = (np.arange(n_phi)[None, :] - np.arange(n_phi)[:, None]) % n_phi
    correlation = np.bincount(lag.ravel(), weights=deviations.ravel(), minlength=n_phi)
    pairs = np.fft.irfft(np.abs(np.fft.rfft(is_open)) ** 2, n=n_phi).round()
    correlation = np.divide(correlation, pairs, out=np.zeros(n_phi), where=pairs > 0)
    power = sign_counts(n_phi) / n_phi * np.fft.rfft(correlation).real[1:]
    return mean_square, correlation[0], power


@lru_cache(maxsize=32)
def noise_factors(geometry: DiffractionGeometry, grid: PolarGrid) -> NoiseFactors:
    """Shot noise of the statistics of every ring, per unit of gain / mean intensity.

    A pixel of expected intensity I has the variance ``gain * I``. A bin of weights w then has the variance
    ``gain * I * sum(w^2)``, neighboring bins covary through the pixels they share, and the sums of both give
    the expected V2D and P_n of a ring without any structure, exactly for an intensity that is even
    around the ring.

    Parameters
    ----------
    geometry : DiffractionGeometry
        Center, scale, ellipse and mask of the patterns.
    grid : PolarGrid
        The rings.

    Returns
    -------
    NoiseFactors
        NaN for rings without an open pixel.

    Examples
    --------
    >>> geometry = DiffractionGeometry((64, 64), (31.5, 31.5), 0.1, "1/nm")
    >>> factors = noise_factors(geometry, PolarGrid.band(2.0, 0.4, 36))
    >>> bool(np.isclose(factors.power.sum(), factors.variance[0]))
    True
    """
    return operator_factors(polar_operator(geometry, grid))


def operator_factors(operator: PolarOperator) -> NoiseFactors:
    """As :func:`noise_factors`, for a polar operator at hand."""
    grid = operator.grid
    mean_square, variance = np.full(grid.n_k, np.nan), np.full(grid.n_k, np.nan)
    power = np.full((grid.n_k, grid.n_phi // 2), np.nan)
    for ring in np.flatnonzero(operator.is_open.any(axis=1)):
        mean_square[ring], variance[ring], power[ring] = _ring_factors(operator, ring)
    return NoiseFactors(mean_square, variance, power)


def remove_shot_noise(statistics: np.ndarray, factors: NoiseFactors, gain: float) -> np.ndarray:
    """Subtract the expected shot noise from V2D and P_n.

    ``(value - factor r) / (1 - mean_square r)`` with ``r = gain / ring mean``: the numerator loses its
    expected noise, the squared mean that it was divided by loses its own. Single values may then be below
    0; their mean over structureless patterns is 0.

    Parameters
    ----------
    statistics : numpy.ndarray
        Shape (n, n_k, 3 + n_max) from :func:`medrange.kernels.rings.ring_statistics`.
    factors : NoiseFactors
        Of the same rings, for all patterns or with a first axis over them.
    gain : float
        Data units per detected electron.

    Returns
    -------
    numpy.ndarray
        A new array of the same shape; the means are unchanged.
    """
    result = statistics.copy()
    n_max = statistics.shape[-1] - FIRST_POWER
    expected = np.concatenate([factors.variance[..., None], factors.power[..., :n_max]], axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = gain / statistics[..., RING_MEAN, None]
        own = factors.mean_square[..., None] * ratio
        result[..., VARIANCE:] = (statistics[..., VARIANCE:] - expected * ratio) / (1 - own)
    return result
