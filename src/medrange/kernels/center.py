"""Find the center of the patterns: from the direct beam, or from the amorphous ring when it is blocked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage
from scipy.optimize import minimize
from skimage.registration import phase_cross_correlation

from medrange.geometry import DiffractionGeometry
from medrange.kernels.ring_shape import annulus, ring_harmonics

_MAX_ROUNDS = 50
_TOLERANCE = 1e-4  # px


def direct_beam_center(pattern: np.ndarray, mask: np.ndarray | None = None) -> tuple[float, float]:
    """Center of the direct beam: the centroid of the bright disk, on a background of its surroundings.

    The disk is the connected region above half of the (slightly smoothed) maximum. The centroid is taken
    over a circular window 1.5 times as wide, above the intensity at the window's rim, and the window is
    moved until it is centered on the centroid.

    Parameters
    ----------
    pattern : numpy.ndarray
        Shape (rows, cols), mean pattern of a scan.
    mask : numpy.ndarray of bool, optional
        True = excluded.

    Returns
    -------
    tuple of float
        Row and column in pixels.

    Raises
    ------
    ValueError
        If the pattern holds no intensity, or the disk is cut by the mask or by the detector's edge.

    Examples
    --------
    >>> rows, cols = np.indices((64, 64))
    >>> beam = np.exp(-((rows - 30.2) ** 2 + (cols - 33.7) ** 2) / 8)
    >>> [round(x, 2) for x in direct_beam_center(beam)]
    [30.2, 33.7]
    """
    image = np.array(pattern, dtype=float)
    shut = ~np.isfinite(image) if mask is None else mask | ~np.isfinite(image)
    image[shut] = 0
    smooth = ndimage.gaussian_filter(image, 1.0)
    if not smooth.max() > 0:
        msg = "the mean pattern holds no positive intensity; set the center by hand with set_center((row, col))."
        raise ValueError(msg)
    labels, _ = ndimage.label(smooth > smooth.max() / 2)
    disk = labels == labels[np.unravel_index(smooth.argmax(), smooth.shape)]
    radius = 1.5 * np.sqrt(disk.sum() / np.pi) + 2
    rows, cols = np.indices(image.shape)
    center = np.array(ndimage.center_of_mass(disk))
    for _ in range(_MAX_ROUNDS):
        distance = np.hypot(rows - center[0], cols - center[1])
        window = distance <= radius + 1
        if (window & shut).any() or (center < radius).any() or (center > np.array(image.shape) - 1 - radius).any():
            msg = (
                f"the direct beam near row {center[0]:.1f}, column {center[1]:.1f} is cut by the mask or by the "
                "detector's edge; use fit_center(method='ring', k=...), or set_center((row, col))."
            )
            raise ValueError(msg)
        # A soft rim: a pixel leaves the window gradually, so the centroid moves smoothly.
        soft = np.clip(radius + 0.5 - distance, 0, 1)
        rim = np.median(image[(distance > radius - 1) & window])
        weight = np.clip(image - rim, 0, None) * soft
        moved = np.array([(weight * rows).sum(), (weight * cols).sum()]) / weight.sum()
        if np.hypot(*(moved - center)) < _TOLERANCE:
            return float(moved[0]), float(moved[1])
        center = moved
    return float(center[0]), float(center[1])


def friedel_center(pattern: np.ndarray, mask: np.ndarray | None = None) -> tuple[float, float]:
    """Center of symmetry of a mean pattern, without any first guess.

    A mean pattern of a glass is symmetric under k -> -k; the center is where the masked, normalized
    correlation of the pattern's logarithm with its inverse is largest, refined to where the two differ least.

    Parameters
    ----------
    pattern : numpy.ndarray
        Shape (rows, cols), mean pattern of a scan.
    mask : numpy.ndarray of bool, optional
        True = excluded.

    Returns
    -------
    tuple of float
        Row and column in pixels.
    """
    image = np.asarray(pattern, dtype=float)
    good = np.isfinite(image) if mask is None else ~mask & np.isfinite(image)
    positive = image[good & (image > 0)]
    if positive.size == 0:
        msg = "the mean pattern holds no positive intensity; set the center by hand with set_center((row, col))."
        raise ValueError(msg)
    # The logarithm keeps what is left of the direct beam from deciding alone.
    logarithm = np.where(good, np.log(np.maximum(np.where(good, image, 1), positive.min())), 0)
    shift, *_ = phase_cross_correlation(
        logarithm, logarithm[::-1, ::-1], reference_mask=good, moving_mask=good[::-1, ::-1], overlap_ratio=0.3
    )
    row, col = _most_symmetric(logarithm, good, (np.array(image.shape) - 1 + shift) / 2)
    return float(row), float(col)


def _most_symmetric(image: np.ndarray, good: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Center within a pixel of ``guess`` about which the image differs least from its inverse, where both are open."""
    # Masked pixels take the value of their neighbor, and a rim of two is left out: a spline would ring at the edge.
    nearest = ndimage.distance_transform_edt(~good, return_distances=False, return_indices=True)
    filled = image[tuple(nearest)]
    inner = ndimage.binary_erosion(good, iterations=2, border_value=1)

    def asymmetry(center: np.ndarray) -> float:
        # What lies at p is compared with what lies at 2 center - p.
        inverse, share = (
            ndimage.affine_transform(values, [-1, -1], offset=2 * center, order=order, cval=0)
            for values, order in ((filled, 3), (inner.astype(float), 1))
        )
        both = good & (share > 0.999)
        return float(np.mean((image - inverse)[both] ** 2)) if both.any() else np.inf

    start = guess + np.array([[0, 0], [0.5, 0], [0, 0.5]])
    found = minimize(asymmetry, guess, method="Nelder-Mead", options={"initial_simplex": start, "xatol": 1e-3})
    return found.x if np.abs(found.x - guess).max() <= 1 else guess


def ring_center(
    pattern: np.ndarray, geometry: DiffractionGeometry, *, k: float, width: float, n_phi: int = 36
) -> tuple[float, float]:
    """Center of an amorphous ring, for patterns whose direct beam is blocked or saturated.

    The ring's radial profile is compared azimuth by azimuth with its mean; the shifts are fitted by
    ``dk(phi) = x cos phi + y sin phi`` plus an elliptic part in 2 phi, and the center is moved by (x, y)
    until it rests. Masked pixels are left out exactly.

    Parameters
    ----------
    pattern : numpy.ndarray
        Shape (rows, cols), mean pattern of a scan.
    geometry : DiffractionGeometry
        Scale, ellipse, mask and a first guess of the center, within about the ring's width.
    k, width : float
        Radius and full width of the annulus that holds the ring, in the geometry's k units.
    n_phi : int
        Number of azimuths compared.

    Returns
    -------
    tuple of float
        Row and column in pixels.

    Raises
    ------
    ValueError
        If fewer than half of the azimuths can be used, or the center does not come to rest.
    """
    grid = annulus(geometry, k=k, width=width, n_phi=n_phi)
    center = np.array(geometry.center, dtype=float)
    for _ in range(_MAX_ROUNDS):
        trial = replace(geometry, center=tuple(center))
        # Offsets on the detector are those before the ellipse is undone.
        x, y = np.linalg.solve(trial.distortion, ring_harmonics(pattern, trial, grid)[1:3])
        step = np.array([y, x])
        # A linear step is good for a fraction of the ring's width only.
        step *= min(1.0, 0.2 * width / geometry.k_step / max(np.hypot(x, y), 1e-12))
        center = center + step
        if np.hypot(*step) < 10 * _TOLERANCE:
            return float(center[0]), float(center[1])
    msg = (
        f"the center fitted to the ring at k = {k:g} {geometry.k_units} does not come to rest (last step "
        f"{np.hypot(*step):.3g} px); give a better first guess with set_center((row, col)) or another ring."
    )
    raise ValueError(msg)
