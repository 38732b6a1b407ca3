"""Pair distribution function g(r), density line and coordination number from G(r)."""

from __future__ import annotations

import numpy as np

from medrange.pdf.peaks import find_peak, neighbor_minima


def density_slope(reduced: np.ndarray, r: np.ndarray, *, r_range: tuple[float, float] = (1.5, 5.0)) -> np.ndarray:
    """Slope of the line from the origin to the valley on the left of the first peak of G(r).

    No two atoms are closer than the first peak: there ``g = 0`` and ``G = -4 pi rho0 r``. The slope is
    ``-4 pi rho0`` times the error of the amplitude. See [Yuan2022]_, where the program SUEPDF did it.

    Parameters
    ----------
    reduced : numpy.ndarray
        Shape (..., n_r): G(r), made without subtracting a polynomial, which takes the line away.
    r : numpy.ndarray
        Shape (n_r,), uniform, angstrom.
    r_range : tuple of float
        Where the first peak is looked for, angstrom.

    Returns
    -------
    numpy.ndarray
        Shape (...), 1/angstrom^3; NaN where there is no valley below 0.

    Examples
    --------
    >>> r = np.linspace(0, 6, 601)
    >>> g = 1 / (1 + np.exp(-30 * (r - 2.2))) + np.exp(-((r - 2.5) / 0.15) ** 2)
    >>> slope = density_slope(4 * np.pi * r * 0.06 * (g - 1), r)
    >>> float((-slope / (4 * np.pi)).round(2))
    0.06
    """
    reduced = np.asarray(reduced, dtype=float)
    peak = find_peak(reduced, r, r_range)
    left, _ = neighbor_minima(reduced, r, peak.position)
    flat, at = reduced.reshape(-1, len(r)), np.nan_to_num(left).ravel()
    index = np.clip(np.rint((at - r[0]) / (r[1] - r[0])).astype(int), 0, len(r) - 1)
    value = flat[np.arange(len(flat)), index].reshape(left.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = value / np.asarray(r)[index].reshape(left.shape)
    return np.where(np.isfinite(left) & (slope < 0), slope, np.nan)


def pair_distribution(
    reduced: np.ndarray, r: np.ndarray, *, density: float | None = None, r_range: tuple[float, float] = (1.5, 5.0)
) -> np.ndarray:
    """Pair distribution function g(r), 1 for a uniform density.

    With a density rho0, ``g = 1 + G/(4 pi rho0 r)``, which needs an absolute amplitude of G. Without, the
    amplitude is set by the density line: ``g = 1 - G/(s r)``, s from :func:`density_slope`.

    Parameters
    ----------
    reduced : numpy.ndarray
        Shape (..., n_r): G(r), 1/angstrom^2.
    r : numpy.ndarray
        Shape (n_r,), uniform, angstrom.
    density : float, optional
        Atoms per cubic angstrom.
    r_range : tuple of float
        Where the first peak is looked for, for the density line.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_r); NaN at r = 0, and everywhere for a curve without a density line.

    Examples
    --------
    >>> r = np.linspace(0.5, 2, 4)
    >>> pair_distribution(-4 * np.pi * 0.06 * r, r, density=0.06)
    array([0., 0., 0., 0.])
    """
    reduced, r = np.asarray(reduced, dtype=float), np.asarray(r, dtype=float)
    if density is None:
        slope = density_slope(reduced, r, r_range=r_range)[..., None]
    else:
        slope = -4 * np.pi * _checked_density(density)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(r > 0, 1 - reduced / (slope * r), np.nan)


def _checked_density(density: float) -> float:
    if not (np.isfinite(density) and 0 < density < 1):
        msg = f"density is {density!r}; give atoms per cubic angstrom, between 0 and 1: metals have 0.03 to 0.09."
        raise ValueError(msg)
    return float(density)


def coordination_number(
    reduced: np.ndarray,
    r: np.ndarray,
    *,
    density: float,
    shell: tuple[float, float] | None = None,
    use_density_line: bool = False,
    r_range: tuple[float, float] = (1.5, 5.0),
) -> np.ndarray:
    """Number of neighbors in a shell, ``int (r G + 4 pi r^2 rho0) dr``.

    Parameters
    ----------
    reduced : numpy.ndarray
        Shape (..., n_r): G(r), 1/angstrom^2.
    r : numpy.ndarray
        Shape (n_r,), uniform, angstrom.
    density : float
        rho0, atoms per cubic angstrom.
    shell : tuple of float, optional
        Limits in angstrom; by default the minima of each curve on both sides of its first peak.
    use_density_line : bool
        Scale each G so that its density line has the slope ``-4 pi rho0``; False trusts the amplitude.
    r_range : tuple of float
        Where the first peak is looked for.

    Returns
    -------
    numpy.ndarray
        Shape (...): neighbors, weighted by the scattering of the elements. NaN where limits are not found.

    Examples
    --------
    >>> r = np.linspace(0, 6, 601)
    >>> shell = 12 * np.exp(-(((r - 2.5) / 0.2) ** 2)) / (0.2 * np.sqrt(np.pi))  # 4 pi r^2 rho0 g(r)
    >>> g = shell / np.maximum(r, 0.01) - 4 * np.pi * r * 0.06
    >>> float(coordination_number(g, r, density=0.06, shell=(1.8, 3.2)).round(2))
    12.0
    """
    reduced, r = np.asarray(reduced, dtype=float), np.asarray(r, dtype=float)
    density = _checked_density(density)
    if use_density_line:
        slope = density_slope(reduced, r, r_range=r_range)
        reduced = reduced * (-4 * np.pi * density / slope)[..., None]
    if shell is None:
        peak = find_peak(reduced, r, r_range)
        low, high = neighbor_minima(reduced, r, peak.position)
    elif r[0] <= shell[0] < shell[1] <= r[-1]:
        low, high = (np.full(reduced.shape[:-1], limit) for limit in shell)
    else:
        msg = f"shell is {shell!r} angstrom; its limits must increase and lie within r, {r[0]:g} to {r[-1]:g}."
        raise ValueError(msg)
    radial = r * reduced + 4 * np.pi * r**2 * density
    step = r[1] - r[0]
    running = np.concatenate(
        [np.zeros((*radial.shape[:-1], 1)), np.cumsum(radial[..., 1:] + radial[..., :-1], axis=-1)], axis=-1
    )
    running *= step / 2
    return _at(running, r, high) - _at(running, r, low)


def _at(curves: np.ndarray, r: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Curves at one position each, by linear interpolation."""
    place = (np.nan_to_num(position, nan=r[0]) - r[0]) / (r[1] - r[0])
    index = np.clip(np.floor(place).astype(int), 0, r.size - 2)
    low = np.take_along_axis(curves, index[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(curves, index[..., None] + 1, axis=-1)[..., 0]
    return np.where(np.isfinite(position), low + (place - index) * (high - low), np.nan)
