"""The amorphous ring as a measure: its radius, and how that radius differs from azimuth to azimuth."""

from __future__ import annotations

import numpy as np
from scipy.optimize import curve_fit

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.polar import polar_operator
from medrange.kernels.rings import polar_means

#: Columns of the harmonics: mean, cos phi, sin phi, cos 2 phi, sin 2 phi.
N_HARMONICS = 5
# A bin counts less the more of it is masked: what is left lies off its middle, which passes for a shift.
_HALF_OPEN, _WHOLE = 0.5, 0.95


def annulus(geometry: DiffractionGeometry, *, k: float, width: float, n_phi: int) -> PolarGrid:
    """Grid of an annulus in rings of about one detector pixel, at least eight.

    Raises
    ------
    ValueError
        If the width is not positive, the annulus reaches below k = 0, or n_phi is below 12.
    """
    band = PolarGrid.band(k, width, n_phi)
    if n_phi < 12:
        msg = f"n_phi is {n_phi}; at least 12 azimuths are needed to tell a shift from an ellipse, 36 are usual."
        raise ValueError(msg)
    return PolarGrid(band.k_min, band.k_max, max(8, round(width / geometry.k_step)), int(n_phi))


def open_weights(area: np.ndarray) -> np.ndarray:
    """Weights (n_k, n_phi) of bins of open ``area``: 1 where whole, 0 where half or more is masked.

    In between they change gradually, so that a bin does not flicker between two rounds of a fit.
    """
    whole = area.max(axis=1, keepdims=True)
    share = np.divide(area, whole, out=np.zeros_like(area), where=whole > 0)
    return np.clip((share - _HALF_OPEN) / (_WHOLE - _HALF_OPEN), 0, 1)


def harmonics(phi: np.ndarray) -> np.ndarray:
    """Columns 1, cos phi, sin phi, cos 2 phi, sin 2 phi; shape (n_phi, 5)."""
    return np.stack([np.ones(phi.size), np.cos(phi), np.sin(phi), np.cos(2 * phi), np.sin(2 * phi)], axis=1)


def require_azimuths(usable: np.ndarray, grid: PolarGrid, k_units: str) -> None:
    """Refuse a ring of which fewer than half of the azimuths can be used."""
    if usable.sum() < grid.n_phi // 2:
        msg = (
            f"only {usable.sum()} of {grid.n_phi} azimuths of the ring at k = {(grid.k_min + grid.k_max) / 2:g} "
            f"{k_units} lie on open detector pixels; choose another ring, or set the value by hand."
        )
        raise ValueError(msg)


def _ring_shifts(profiles: np.ndarray, weights: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Radial shift of each azimuth's profile (n_phi, n_k) against their mean, in units of k; NaN if shut."""
    total = weights.sum(axis=0)
    known = total > 0
    shifts = np.full(len(profiles), np.nan)
    if known.sum() < 4:
        return shifts
    reference = (weights * np.nan_to_num(profiles))[:, known].sum(axis=0) / total[known]
    slope = np.gradient(reference, k[known])
    for j, (profile, weight) in enumerate(zip(profiles[:, known], weights[:, known], strict=True)):
        good = weight > 0
        if good.sum() < max(4, k.size // 2):
            continue
        # profile(k) = a + b reference(k) - shift * slope(k): linear in all three.
        design = np.stack([np.ones(good.sum()), reference[good], -slope[good]], axis=1)
        root = np.sqrt(weight[good])
        offset_scale_shift, *_ = np.linalg.lstsq(design * root[:, None], profile[good] * root, rcond=None)
        shifts[j] = offset_scale_shift[2] / max(offset_scale_shift[1], 0.1)
    return shifts


def ring_harmonics(pattern: np.ndarray, geometry: DiffractionGeometry, grid: PolarGrid) -> np.ndarray:
    """Radial shift of the ring over azimuth, as a series up to 2 phi.

    The radial profile of every azimuth is compared with their mean; the shifts are fitted by
    ``dk(phi) = h0 + h1 cos phi + h2 sin phi + h3 cos 2 phi + h4 sin 2 phi``. The comparison is linear: the
    result is good for shifts well below the ring's width, and exact where it is zero.

    Parameters
    ----------
    pattern : numpy.ndarray
        Shape (rows, cols).
    geometry : DiffractionGeometry
        Center, scale, ellipse and mask; phi and the shifts are those after the ellipse is undone.
    grid : PolarGrid
        The annulus that holds the ring.

    Returns
    -------
    numpy.ndarray
        Shape (5,): h0 .. h4 in detector pixels.

    Raises
    ------
    ValueError
        If fewer than half of the azimuths can be used.
    """
    profiles = polar_means(np.asarray(pattern, dtype=float)[None], geometry, grid)[0].T
    weights = open_weights(polar_operator(geometry, grid).area).T
    weights[~np.isfinite(profiles)] = 0
    shifts = _ring_shifts(profiles, weights, grid.k) / geometry.k_step
    usable = np.isfinite(shifts)
    require_azimuths(usable, grid, geometry.k_units)
    return np.linalg.lstsq(harmonics(grid.phi[usable]), shifts[usable], rcond=None)[0]


def _ring_model(k: np.ndarray, height: float, radius: float, sigma: float, level: float, slope: float) -> np.ndarray:
    return height * np.exp(-0.5 * ((k - radius) / sigma) ** 2) + level + slope * (k - k.mean())


def ring_radius(profile: np.ndarray, k: np.ndarray) -> float:
    """Radius of a ring: center of a Gaussian on a linear background, fitted to a radial profile.

    Parameters
    ----------
    profile : numpy.ndarray
        Shape (n_k,): mean intensity; NaN is left out.
    k : numpy.ndarray
        Shape (n_k,).

    Returns
    -------
    float
        In the units of ``k``.

    Raises
    ------
    ValueError
        If the profile holds no ring.

    Examples
    --------
    >>> k = np.linspace(3, 5, 41)
    >>> round(ring_radius(10 * np.exp(-(((k - 4.1) / 0.3) ** 2)) + 9 - k, k), 6)
    4.1
    """
    good = np.isfinite(profile)
    x, y = k[good], np.asarray(profile, dtype=float)[good]
    msg = (
        f"no ring was found between k = {k[0]:.4g} and {k[-1]:.4g}; give the annulus of a ring that stands "
        "out of its background, with some background on either side."
    )
    if x.size < 6 or not np.ptp(y) > 0:
        raise ValueError(msg)
    span = x[-1] - x[0]
    line = np.interp(x, x[[0, -1]], y[[0, -1]])
    peak = int(np.argmax(y - line))
    start = (max(y[peak] - line[peak], 1e-3 * np.ptp(y)), x[peak], span / 6, line.mean(), (y[-1] - y[0]) / span)
    low = (0, x[0], (x[1] - x[0]) / 4, -np.inf, -np.inf)
    high = (np.inf, x[-1], span / 2, np.inf, np.inf)
    try:
        found, _ = curve_fit(_ring_model, x, y, p0=np.clip(start, low, high), bounds=(low, high))
    except RuntimeError as error:
        raise ValueError(msg) from error
    height, radius = found[:2]
    misfit = np.std(y - _ring_model(x, *found))
    at_edge = min(radius - x[0], x[-1] - radius) < 0.1 * span
    if at_edge or height < 3 * misfit:
        raise ValueError(msg)
    return float(radius)
