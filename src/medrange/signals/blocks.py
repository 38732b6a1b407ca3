"""What is done to a block of patterns: picklable functions for :func:`medrange.signals.mapping.map_frames`.

Each takes patterns (n, rows, cols) and returns a tuple of arrays. The geometry travels as a small value;
the operator behind it is built once in every process.
"""

from __future__ import annotations

import numpy as np

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.angular import angular_correlation
from medrange.kernels.noise import noise_factors, remove_shot_noise
from medrange.kernels.rings import FIRST_POWER, RADIAL_MEAN, polar_means, ring_statistics
from medrange.kernels.virtual import weighted_mean

# A few megabytes: the second look at a frame finds it in the processor's cache.
_CACHED_FRAMES = 64


def ring_maps(
    frames: np.ndarray,
    geometry: DiffractionGeometry,
    grid: PolarGrid,
    gain: float | None = None,
    n_max: int | None = None,
) -> tuple[np.ndarray]:
    """Ring statistics of every ring of ``grid``, (n, n_k, 3 + n_max), less the shot noise if a gain is given."""
    statistics = ring_statistics(frames, geometry, grid, n_max=n_max)
    if gain is not None:
        statistics = remove_shot_noise(statistics, noise_factors(geometry, grid), gain)
    return (statistics,)


def polar_patterns(frames: np.ndarray, geometry: DiffractionGeometry, grid: PolarGrid) -> tuple[np.ndarray]:
    """Polar patterns (n, n_phi, n_k)."""
    return (polar_means(frames, geometry, grid, phi_first=True),)


def radial_means(frames: np.ndarray, geometry: DiffractionGeometry, grid: PolarGrid) -> tuple[np.ndarray]:
    """Azimuthal means (n, n_k); ``grid`` has one azimuthal bin."""
    return (polar_means(frames, geometry, grid)[:, :, 0],)


def dark_fields(frames: np.ndarray, geometry: DiffractionGeometry, grid: PolarGrid) -> tuple[np.ndarray]:
    """Mean intensity in the azimuthal bins of one ring (n, n_phi)."""
    return (polar_means(frames, geometry, grid)[:, 0, :],)


def aperture_means(frames: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray]:
    """Mean intensity in a virtual aperture (n,)."""
    return (weighted_mean(frames, weights),)


def correlations(
    frames: np.ndarray, geometry: DiffractionGeometry, grid: PolarGrid, dtype: np.dtype
) -> tuple[np.ndarray]:
    """Angular correlation of every ring (n, n_k, n_phi)."""
    return (angular_correlation(polar_means(frames, geometry, grid)).astype(dtype, copy=False),)


def medium_range_order(
    frames: np.ndarray,
    geometry: DiffractionGeometry,
    band: PolarGrid,
    rings: PolarGrid | None,
    n_max: int,
    gain: float | None = None,
) -> tuple[np.ndarray, ...]:
    """Band statistics, radial profile, and the sums over positions of P_n(k) and of what was summed.

    Shapes (n, 3 + n_phi // 2), (n, n_k), (n_k, n_max), (n_k, n_max); the last three only with ``rings``.
    """
    if rings is None:
        return (ring_maps(frames, geometry, band, gain)[0][:, 0],)
    in_band, profiles = [], []
    spectrum = np.zeros((rings.n_k, n_max))
    counted = np.zeros((rings.n_k, n_max))
    for start in range(0, len(frames), _CACHED_FRAMES):
        part = frames[start : start + _CACHED_FRAMES]
        (statistics,) = ring_maps(part, geometry, rings, gain, n_max)
        in_band.append(ring_maps(part, geometry, band, gain)[0][:, 0])
        profiles.append(statistics[..., RADIAL_MEAN])
        power = statistics[..., FIRST_POWER:].astype(np.float64)
        measured = np.isfinite(power)
        spectrum += np.where(measured, power, 0).sum(axis=0)
        counted += measured.sum(axis=0)
    return np.concatenate(in_band), np.concatenate(profiles), spectrum, counted
