"""Strain of an amorphous material from the radius of its ring over azimuth, pattern by pattern."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from medrange.geometry import PolarGrid
from medrange.kernels.ring_shape import N_HARMONICS, harmonics, open_weights, require_azimuths, ring_radius

# Below this share of the brightest ring a bin counts as if it were there: no bin gets boundless weight.
_DIMMEST = 0.05
_BATCH = 4096


def mean_profile(reference: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Azimuthal mean (n_k,) of a polar pattern (n_phi, n_k) by the open area (n_k, n_phi); NaN if none."""
    open_area = np.where(np.isfinite(reference), area.T, 0)
    total = open_area.sum(axis=0)
    weighted = (open_area * np.nan_to_num(reference)).sum(axis=0)
    return np.divide(weighted, total, out=np.full(total.size, np.nan), where=total > 0)


def _estimators(profile: np.ndarray, area: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Rows (n_phi, 2, n_k) that give amplitude b and shift b e of ``b f(k (1 + e)) + c`` from a profile."""
    known = np.isfinite(profile)
    estimators = np.zeros((area.shape[1], 2, k.size))
    if known.sum() < 4 or not np.nanmax(profile) > 0:
        return estimators
    slope = np.zeros(k.size)
    slope[known] = CubicSpline(k[known], profile[known])(k[known], 1)
    f = np.where(known, profile, 0)
    columns = np.stack([f, k * slope, np.full(k.size, f.max())], axis=1)
    # Counting noise: the variance of a bin's mean is its intensity over its area.
    weights = area * open_weights(area) / np.maximum(f, _DIMMEST * f.max())[:, None] * known[:, None]
    whole = weights.sum(axis=0).max()
    for j in range(area.shape[1]):
        weighted = columns * weights[:, j, None]
        normal = columns.T @ weighted
        if weights[:, j].sum() < whole / 2 or np.linalg.cond(normal) > 1e12:
            continue
        estimators[j] = np.linalg.solve(normal, weighted.T)[:2]
    return estimators


def _tensors(polar: np.ndarray, estimators: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Strain (n, 3) against the profile behind the estimators, of polar patterns (n, n_phi, n_k)."""
    patterns = np.where(np.isfinite(polar), polar, 0).astype(np.float64)
    amplitude, shift = np.moveaxis(np.einsum("njk,jik->nji", patterns, estimators), -1, 0)
    # Counting noise once more: an azimuth's shift is known as well as the azimuth is bright.
    weight = np.clip(amplitude, 0, None)
    shift = np.where(weight > 0, shift, 0)
    normal = np.einsum("nj,ja,jb->nab", weight, basis, basis)
    right = np.einsum("nj,ja->na", shift, basis)
    good = (weight > 0).sum(axis=1) >= basis.shape[0] // 2
    good[good] = np.linalg.cond(normal[good]) < 1e6
    series = np.full((len(polar), N_HARMONICS), np.nan)
    series[good] = np.linalg.solve(normal[good], right[good][..., None])[..., 0]
    mean, _, _, cos2, sin2 = series.T
    return np.stack([mean + cos2, mean - cos2, sin2], axis=1)


def ring_strain(
    polar: np.ndarray,
    reference: np.ndarray,
    area: np.ndarray,
    grid: PolarGrid,
    *,
    k0: float | None = None,
    k_units: str = "",
) -> np.ndarray:
    """Strain tensor from the radius of the ring over azimuth, at every position.

    A stretched material has a smaller ring: ``k(phi) = k0 (1 - e(phi))`` with
    ``e(phi) = exx cos^2 phi + eyy sin^2 phi + 2 exy sin phi cos phi``. The profile of each azimuth is taken as
    ``b f(k (1 + e)) + c``, f being the azimuthal mean of the reference; linearized in e, it is fitted by least
    squares weighted for counting noise, with the amplitude b and the background c of each azimuth free. All
    e(phi) together then give the tensor, and with it a shift of the center, which is dropped.

    Parameters
    ----------
    polar : numpy.ndarray
        Shape (..., n_phi, n_k): mean intensities of the annulus, NaN where masked.
    reference : numpy.ndarray
        Shape (n_phi, n_k): the mean of all patterns.
    area : numpy.ndarray
        Shape (n_k, n_phi): open detector area of the bins, in pixels.
    grid : PolarGrid
        The annulus.
    k0 : float, optional
        Radius of the unstrained ring, in the units of k; without it the reference pattern has no strain.
    k_units : str
        Named in the error.

    Returns
    -------
    numpy.ndarray
        Shape (..., 3): exx, eyy, exy, dimensionless; x along +kx, y along +ky. NaN where the ring holds no
        intensity. See [Kang2023]_.

    Raises
    ------
    ValueError
        If fewer than half of the azimuths can be used, or, with k0, no ring is found in the reference.
    """
    # Where the center moves a mask hides other bins at every position: those it hides anywhere do not count.
    area = np.where(np.isfinite(reference).T, area, 0)
    profile = mean_profile(reference, area)
    estimators = _estimators(profile, area, grid.k)
    require_azimuths(estimators.any(axis=(1, 2)), grid, k_units)
    basis = harmonics(grid.phi)
    flat = polar.reshape(-1, *polar.shape[-2:])
    strain = np.empty((len(flat), 3))
    for start in range(0, len(flat), _BATCH):
        strain[start : start + _BATCH] = _tensors(flat[start : start + _BATCH], estimators, basis)
    if k0 is None:
        strain -= _tensors(reference[None], estimators, basis)
    else:
        scale = ring_radius(profile, grid.k) / k0
        strain = np.array([1 - scale, 1 - scale, 0]) + scale * strain
    return strain.reshape(*polar.shape[:-2], 3)
