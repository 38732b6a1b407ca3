"""What is done to a block of patterns: picklable functions for :func:`medrange.signals.mapping.map_frames`.

Each takes patterns (n, rows, cols), and where their centers move the shifts (n, 2), and returns a tuple of arrays.
The geometry travels as a small value; the operator behind it is built once in every process.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.angular import angular_correlation
from medrange.kernels.noise import noise_factors, remove_shot_noise
from medrange.kernels.paired import add_pair, paired_sum
from medrange.kernels.rings import FIRST_POWER, RADIAL_MEAN, polar_means, ring_statistics
from medrange.kernels.shifted_noise import shifted_noise_factors
from medrange.kernels.virtual import circular_aperture, shifted_aperture_means, weighted_mean

# A few megabytes: the second look at a frame finds it in the processor's cache.
_CACHED_FRAMES = 64
_SHIFTED_FRAMES = 2048


def ring_maps(
    frames: np.ndarray,
    shifts: np.ndarray | None = None,
    *,
    geometry: DiffractionGeometry,
    grid: PolarGrid,
    gain: float | None = None,
    n_max: int | None = None,
) -> tuple[np.ndarray]:
    """Ring statistics of every ring of ``grid``, (n, n_k, 3 + n_max), less the shot noise if a gain is given."""
    statistics = ring_statistics(frames, geometry, grid, n_max=n_max, shifts=shifts)
    if gain is not None:
        factors = noise_factors(geometry, grid)
        if shifts is not None:
            factors = shifted_noise_factors(shifts, geometry, grid, statistics.dtype.type)
        statistics = remove_shot_noise(statistics, factors, gain).astype(statistics.dtype, copy=False)
    return (statistics,)


def polar_patterns(
    frames: np.ndarray, shifts: np.ndarray | None = None, *, geometry: DiffractionGeometry, grid: PolarGrid
) -> tuple[np.ndarray]:
    """Polar patterns (n, n_phi, n_k)."""
    return (polar_means(frames, geometry, grid, phi_first=True, shifts=shifts),)


def radial_means(
    frames: np.ndarray, shifts: np.ndarray | None = None, *, geometry: DiffractionGeometry, grid: PolarGrid
) -> tuple[np.ndarray]:
    """Azimuthal means (n, n_k); ``grid`` has one azimuthal bin."""
    return (polar_means(frames, geometry, grid, shifts=shifts)[:, :, 0],)


def dark_fields(
    frames: np.ndarray, shifts: np.ndarray | None = None, *, geometry: DiffractionGeometry, grid: PolarGrid
) -> tuple[np.ndarray]:
    """Mean intensity in the azimuthal bins of one ring (n, n_phi)."""
    return (polar_means(frames, geometry, grid, shifts=shifts)[:, 0, :],)


def aperture_means(
    frames: np.ndarray,
    shifts: np.ndarray | None = None,
    *,
    geometry: DiffractionGeometry,
    aperture: dict[str, float],
) -> tuple[np.ndarray]:
    """Mean intensity in a virtual aperture (n,); ``aperture`` is its k, phi and radius."""
    if shifts is not None:
        return (shifted_aperture_means(frames, shifts, geometry, **aperture),)
    return (weighted_mean(frames, circular_aperture(geometry, **aperture)),)


def correlations(
    frames: np.ndarray,
    shifts: np.ndarray | None = None,
    *,
    geometry: DiffractionGeometry,
    grid: PolarGrid,
    dtype: np.dtype,
) -> tuple[np.ndarray]:
    """Angular correlation of every ring (n, n_k, n_phi)."""
    return (angular_correlation(polar_means(frames, geometry, grid, shifts=shifts)).astype(dtype, copy=False),)


def medium_range_order(
    frames: np.ndarray,
    shifts: np.ndarray | None = None,
    *,
    geometry: DiffractionGeometry,
    band: PolarGrid,
    rings: PolarGrid | None,
    n_max: int,
    gain: float | None = None,
) -> tuple[np.ndarray, ...]:
    """Of the band: statistics, and the sums over positions of P_n and of what was summed; the same of all rings.

    Shapes (n, 3 + n_phi // 2), (2, n_phi // 2) with remainders, (n_phi // 2,); of the rings radial profile (n, n_k),
    (2, n_k, n_max), (n_k, n_max). The last three only with ``rings``.
    """
    in_band = partial(ring_maps, geometry=geometry, grid=band, gain=gain)
    if rings is None:
        statistics = in_band(frames, shifts)[0][:, 0]
        return (statistics, *_finite_sums(statistics[:, FIRST_POWER:]))
    of_rings = partial(ring_maps, geometry=geometry, grid=rings, gain=gain, n_max=n_max)
    bands, profiles = [], []
    spectrum = np.zeros((2, rings.n_k, n_max))
    counted = np.zeros((rings.n_k, n_max))
    # Patterns whose centers move are sorted by their sub-pixel center, which wants many.
    size = _CACHED_FRAMES if shifts is None else _SHIFTED_FRAMES
    for start in range(0, len(frames), size):
        own = slice(start, start + size)
        part = (frames[own],) if shifts is None else (frames[own], shifts[own])
        (statistics,) = of_rings(*part)
        bands.append(in_band(*part)[0][:, 0])
        profiles.append(statistics[..., RADIAL_MEAN])
        total, count = _finite_sums(statistics[..., FIRST_POWER:])
        add_pair(spectrum, total)
        counted += count
    in_bands = np.concatenate(bands)
    sums = _finite_sums(in_bands[:, FIRST_POWER:])
    return (in_bands, *sums, np.concatenate(profiles), spectrum, counted)


def _finite_sums(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum over the first axis of what is finite, with its remainder, and how many were."""
    pair = paired_sum(values)
    # A sum is finite only if all that was added is.
    if np.isfinite(pair[0]).all():
        return pair, np.full(values.shape[1:], float(len(values)))
    measured = np.isfinite(values)
    return paired_sum(np.where(measured, values, 0)), measured.sum(axis=0, dtype=np.float64)
