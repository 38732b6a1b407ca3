"""Virtual apertures: which share of each detector pixel lies in a circle, and the mean intensity there."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from medrange.geometry import DiffractionGeometry
from medrange.kernels.lanes import working_type
from medrange.kernels.polar import disk_area
from medrange.kernels.shifted import shifted_means
from medrange.kernels.shifted_rows import ShiftedRows, build_rows
from medrange.kernels.strips import apply_rows, strip_frames, strip_rows


@njit(cache=True)
def _disk_shares(shape: tuple, center: np.ndarray, distortion: np.ndarray, aperture: np.ndarray) -> np.ndarray:
    shares = np.zeros(shape)
    corners = np.empty((4, 2))
    for row in range(shape[0]):
        for col in range(shape[1]):
            x, y = col - center[1], row - center[0]
            middle_x = distortion[0, 0] * x + distortion[0, 1] * y - aperture[0]
            middle_y = distortion[1, 0] * x + distortion[1, 1] * y - aperture[1]
            # A pixel whose middle is more than its (stretched) half diagonal away cannot touch the circle.
            if np.hypot(middle_x, middle_y) > aperture[2] + 1.5:
                continue
            for i in range(4):
                x = col - center[1] + (0.5 if i in (1, 2) else -0.5)
                y = row - center[0] + (0.5 if i in (2, 3) else -0.5)
                corners[i, 0] = distortion[0, 0] * x + distortion[0, 1] * y - aperture[0]
                corners[i, 1] = distortion[1, 0] * x + distortion[1, 1] * y - aperture[1]
            shares[row, col] = disk_area(corners, 4, aperture[2])
    return shares


def circular_aperture(geometry: DiffractionGeometry, *, k: float, phi: float, radius: float) -> np.ndarray:
    """Weights of the detector pixels in a circular aperture at (k, phi).

    Parameters
    ----------
    geometry : DiffractionGeometry
        Center, scale, ellipse and mask of the patterns.
    k, radius : float
        Distance of the aperture's center from the direct beam, and its radius, in the geometry's k units.
    phi : float
        Azimuth of the aperture in radians, 0 along +kx, growing towards +ky.

    Returns
    -------
    numpy.ndarray
        Shape of the detector; the exact share of each open pixel's area inside, normalized to sum 1.

    Raises
    ------
    ValueError
        If the radius is not positive, or no open pixel lies in the aperture.

    Examples
    --------
    >>> geometry = DiffractionGeometry((32, 32), (15.5, 15.5), 0.1, "1/nm")
    >>> float(circular_aperture(geometry, k=1.0, phi=0.0, radius=0.2).sum().round(12))
    1.0
    """
    if not radius > 0:
        msg = f"the aperture's radius is {radius!r} {geometry.k_units}; it must be positive."
        raise ValueError(msg)
    position = np.array([k * np.cos(phi), k * np.sin(phi), radius]) / geometry.k_step
    shape = (int(geometry.shape[0]), int(geometry.shape[1]))
    shares = _disk_shares(shape, np.array(geometry.center, dtype=float), geometry.distortion, position)
    if geometry.mask is not None:
        shares[geometry.mask] = 0
    total = shares.sum()
    if total < 1e-9:
        msg = (
            f"no open detector pixel lies in the aperture at k = {k:g}, phi = {phi:g} rad, radius {radius:g} "
            f"{geometry.k_units}; full circles on the detector reach to k = {geometry.k_max:.3g}."
        )
        raise ValueError(msg)
    return shares / total


def weighted_mean(frames: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of every pattern with the given pixel weights, reading only pixels of weight > 0.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n, rows, cols), any integer or floating type.
    weights : numpy.ndarray
        Shape (rows, cols), summing to 1.

    Returns
    -------
    numpy.ndarray
        Shape (n,); float32 for 8- and 16-bit and float32 input, else float64.
    """
    used = np.flatnonzero(weights.ravel())
    factors = weights.ravel()[used].astype(working_type(frames.dtype))
    flat, layout = strip_frames(frames)
    rows = strip_rows(used, np.array([0, used.size]), np.arange(used.size), factors, weights.size, layout)
    return apply_rows(flat, rows, layout[0], np.arange(1))[:, 0]


def shifted_aperture_means(
    frames: np.ndarray, shifts: np.ndarray, geometry: DiffractionGeometry, *, k: float, phi: float, radius: float
) -> np.ndarray:
    """Mean over a circular aperture at (k, phi) from every pattern's own center.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n, rows, cols), any integer or floating type.
    shifts : numpy.ndarray
        Shape (n, 2): how far each pattern's center lies from the geometry's, rows and columns, in pixels.
    geometry, k, phi, radius
        As in :func:`circular_aperture`.

    Returns
    -------
    numpy.ndarray
        Shape (n,); NaN where the mask or the detector's edge hides all of the aperture.
    """
    bare = DiffractionGeometry(geometry.shape, geometry.center, geometry.k_step, geometry.k_units, geometry.ellipse)
    rows = _aperture_rows(bare, k, phi, radius, working_type(frames.dtype))
    return shifted_means(frames, shifts, rows, geometry.mask)[:, 0]


@lru_cache(maxsize=16)
def _aperture_rows(geometry: DiffractionGeometry, k: float, phi: float, radius: float, dtype: type) -> ShiftedRows:
    def rows_at(node: DiffractionGeometry) -> tuple[np.ndarray, ...]:
        weights = circular_aperture(node, k=k, phi=phi, radius=radius).ravel()
        used = np.flatnonzero(weights)
        return used, np.array([0, used.size]), np.arange(used.size), weights[used]

    return build_rows(geometry, k + radius, rows_at, 1, dtype)
