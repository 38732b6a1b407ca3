"""Elliptical distortion of the patterns, from the shape of the amorphous ring."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medrange.geometry import DiffractionGeometry
from medrange.kernels.ring_shape import annulus, ring_harmonics

_MAX_ROUNDS = 50
_TOLERANCE = 2e-3  # px


def _ellipse_of(distortion: np.ndarray) -> tuple[float, float]:
    """Axis ratio b/a <= 1 and angle of the long axis a of the ring that a matrix makes a circle."""
    lengths, axes = np.linalg.eigh(distortion.T @ distortion)
    # The smaller eigenvalue belongs to the longer axis.
    ratio = float(np.sqrt(lengths[0] / lengths[1]))
    return ratio, float(np.arctan2(axes[1, 0], axes[0, 0]) % np.pi)


def ring_ellipse(
    pattern: np.ndarray, geometry: DiffractionGeometry, *, k: float, width: float, n_phi: int = 36
) -> tuple[float, float]:
    """Axis ratio and angle of the amorphous ring: the elliptical distortion of the patterns.

    The ring's radial profile is compared azimuth by azimuth with its mean
    (:func:`medrange.kernels.ring_shape.ring_harmonics`). The part of the shift in 2 phi changes the ellipse of
    the polar operator, the part in phi its center, until both rest: so a wrong center does not pass for an
    ellipse, and the mask is left out exactly. What is left of the speckle in the mean pattern is taken for part
    of the ring: for 0.1 % some thousand independent probe positions are needed.

    Parameters
    ----------
    pattern : numpy.ndarray
        Shape (rows, cols), mean pattern of a scan.
    geometry : DiffractionGeometry
        Center (within about the ring's width), scale and mask; its ellipse is the first guess.
    k, width : float
        Radius and full width of the annulus that holds the ring, in the geometry's k units.
    n_phi : int
        Number of azimuths compared.

    Returns
    -------
    tuple of float
        Ratio b/a <= 1 of the short to the long axis, and the angle of the long axis a in radians, 0 .. pi from
        +kx towards +ky, as :class:`medrange.geometry.DiffractionGeometry` takes them.

    Raises
    ------
    ValueError
        If fewer than half of the azimuths can be used, or the ellipse does not come to rest.

    Examples
    --------
    >>> rows, cols = np.indices((96, 96)) - 47.5
    >>> pattern = np.exp(-(((np.hypot(cols, rows / 0.98) - 25) / 3) ** 2))
    >>> geometry = DiffractionGeometry((96, 96), (47.5, 47.5), 0.1, "1/nm")
    >>> ratio, angle = ring_ellipse(pattern, geometry, k=2.5, width=1.4)
    >>> round(ratio, 3)
    0.98
    """
    grid = annulus(geometry, k=k, width=width, n_phi=n_phi)
    radius = k / geometry.k_step
    trial = geometry
    distortion = geometry.distortion
    for _ in range(_MAX_ROUNDS):
        _, x, y, cos2, sin2 = ring_harmonics(pattern, trial, grid)
        # A linear step is good for a fraction of the ring's width only.
        largest = max(np.hypot(x, y), np.hypot(cos2, sin2))
        share = min(1.0, 0.2 * width / geometry.k_step / max(largest, 1e-12))
        col, row = np.linalg.solve(distortion, share * np.array([x, y]))
        distortion = (np.eye(2) - share * np.array([[cos2, sin2], [sin2, -cos2]]) / radius) @ distortion
        ellipse = _ellipse_of(distortion)
        trial = replace(trial, center=(trial.center[0] + row, trial.center[1] + col), ellipse=ellipse)
        distortion = trial.distortion
        if largest < _TOLERANCE:
            return ellipse
    msg = (
        f"the ellipse fitted to the ring at k = {k:g} {geometry.k_units} does not come to rest (last shift "
        f"{largest:.3g} px); fit the center first, choose another ring, or use set_ellipse((ratio, angle))."
    )
    raise ValueError(msg)
