"""Patterns with a calibration: where k = 0 lies, what a pixel is, which pixels count."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from hyperspy.signals import Signal2D

from medrange.geometry import Descan, DiffractionGeometry
from medrange.signals import calibration
from medrange.signals.bad_pixels import find_bad_pixels
from medrange.signals.browsing import with_navigator
from medrange.signals.centering import find_center, find_ellipse, find_k_step
from medrange.signals.descan import scan_shifts, write_descan, write_rotation
from medrange.signals.descan_fit import fit_descan


class CalibratedPatterns(Signal2D):
    """What :class:`~medrange.Nanodiffraction` knows of its calibration; the state is in axes and metadata."""

    def calibrate(
        self,
        *,
        scan_step: float | tuple[float, float] | None = None,
        scan_units: str = "nm",
        k_step: float | None = None,
        k_units: str = "1/nm",
        beam_energy: float | None = None,
        convergence_angle: float | None = None,
        scan_rotation_deg: float | None = None,
    ) -> None:
        """Set the scan step, the size of a detector pixel in k = 1/d, the beam and the scan rotation; in place.

        Parameters
        ----------
        scan_step : float or tuple of float, optional
            Distance of neighboring probe positions, or (dy, dx), in ``scan_units``.
        scan_units : str
            Unit of length, ``"nm"`` or ``"Å"``.
        k_step : float, optional
            Size of a detector pixel, in ``k_units``; a center already set stays where it is.
        k_units : str
            ``"1/nm"`` or ``"1/Å"``.
        beam_energy : float, optional
            In kV.
        convergence_angle : float, optional
            Half-angle of the probe, mrad: what a null model needs.
        scan_rotation_deg : float, optional
            Angle in degrees from directions of the detector to those of the scan: what lies at azimuth phi of the
            pattern (from +kx towards +ky) points along phi + rotation in the scan (from +x towards +y). It is
            used only where a method is asked for the scan's axes.

        Raises
        ------
        ValueError
            If a value is not positive or a unit unknown.
        """
        calibration.write_scan_scale(self, scan_step, scan_units)
        if k_step is not None:
            calibration.write_k_scale(self, k_step, k_units)
        calibration.write_beam(self, beam_energy, convergence_angle)
        if scan_rotation_deg is not None:
            write_rotation(self, np.deg2rad(scan_rotation_deg))

    def save(self, *arguments: Any, **options: Any) -> Any:
        """As of :class:`hyperspy.signals.Signal2D`; the file also gets a navigator, for when it is opened lazily."""
        with with_navigator(self):
            return super().save(*arguments, **options)

    @property
    def geometry(self) -> DiffractionGeometry:
        """Center, scale, ellipse, mask and descan of the patterns; refused while k or the center is unknown."""
        return calibration.geometry_of(self)

    @property
    def centers(self) -> np.ndarray:
        """Row and column of the center at every position, scan shape + (2,), in pixels: what the methods use."""
        shifts = scan_shifts(self)
        return self.geometry.center + (np.zeros((*self.data.shape[:-2], 2)) if shifts is None else shifts)

    def set_center(self, center: tuple[float, float]) -> None:
        """Put k = 0 at ``center``: (row, col) in pixels, 0-based, an integer being a pixel's center.

        With a descan it is the center at the middle of the descan's extent.
        """
        calibration.write_center(self, center)

    def fit_center(
        self,
        method: Literal["direct_beam", "friedel", "ring"] = "direct_beam",
        *,
        k: float | None = None,
        width: float | None = None,
        max_patterns: int = 4096,
    ) -> tuple[float, float]:
        """Find the center in the mean pattern, set it, and return it as (row, col) in pixels.

        Parameters
        ----------
        method : str
            ``"direct_beam"``: centroid of the direct beam. For a beam that is blocked (masked) or saturated:
            ``"friedel"``, the center of symmetry, or ``"ring"``, the amorphous ring (with ``k`` and ``width``).
        k, width : float, optional
            Radius and full width of the annulus that holds the ring.
        max_patterns : int
            About this many patterns, spread over the scan, make the mean pattern.
        """
        center = find_center(self, method, k=k, width=width, max_patterns=max_patterns)
        calibration.write_center(self, center)
        return center

    def fit_descan(
        self,
        degree: Literal[1, 2] = 1,
        method: Literal["direct_beam", "ring"] = "direct_beam",
        *,
        k: float | None = None,
        width: float | None = None,
        centers: np.ndarray | None = None,
    ) -> Descan:
        """Find how the center moves over the scan, set it and the center, and return it.

        Every method then takes each pattern from its own center. Patterns are not shifted, let alone interpolated:
        the weights of their pixels are.

        Parameters
        ----------
        degree : int
            1 for a plane over the scan, 2 for a quadratic.
        method : str
            ``"direct_beam"``: centroid of the direct beam of every pattern. ``"ring"``: the amorphous ring in the
            mean patterns of up to 8 x 8 parts of the scan, for a beam that is blocked or saturated; needs
            calibrated k axes, ``k`` and ``width``. Centers that are far off are left out.
        k, width : float, optional
            Radius and full width of the annulus that holds the ring.
        centers : numpy.ndarray, optional
            Scan shape + (2,): centers found elsewhere, row and column in pixels, NaN where unknown.

        Returns
        -------
        Descan
            Its ``residual`` is the centers' distance from it, root mean square in pixels; above 0.25 a warning
            is given.
        """
        return fit_descan(self, degree, method, k=k, width=width, centers=centers)

    def set_descan(self, descan: Descan | None) -> None:
        """Take over how the center moves over the scan, about the center set; None = not at all."""
        write_descan(self, descan)

    def set_mask(self, mask: np.ndarray | None) -> None:
        """Exclude detector pixels: a boolean array of the detector's shape, True = excluded; None = none."""
        calibration.write_mask(self, mask)

    def set_ellipse(self, ellipse: tuple[float, float] | None) -> None:
        """Undo an elliptical distortion, (b/a, angle of a in radians from +kx to +ky); None = none."""
        calibration.write_ellipse(self, ellipse)

    def fit_ellipse(self, k: float, width: float, *, max_patterns: int = 4096) -> tuple[float, float]:
        """Find the ellipse (b/a, angle) of the amorphous ring in the mean pattern, set it, and return it.

        a is the long axis: k stays as it was along a and grows along b, so scale k after it.
        """
        ellipse = find_ellipse(self, k=k, width=width, max_patterns=max_patterns)
        calibration.write_ellipse(self, ellipse)
        return ellipse

    def fit_k_scale(self, k: float, width: float, *, max_patterns: int = 4096) -> float:
        """Scale k so that a standard's ring, found within ``width`` of its known k = 1/d, lies there."""
        k_step = find_k_step(self, k=k, width=width, max_patterns=max_patterns)
        calibration.write_k_scale(self, k_step, self.geometry.k_units)
        return k_step

    def set_geometry(self, geometry: DiffractionGeometry) -> None:
        """Take over the geometry of another scan, or ``DiffractionGeometry.load(path)``."""
        calibration.write_geometry(self, geometry)

    def find_bad_pixels(self, *, threshold: float = 8.0, max_patterns: int = 4096) -> np.ndarray:
        """Mask of dead, stuck, hot and noisy pixels and of those masked before, for :meth:`set_mask`.

        Off by ``threshold`` robust sigmas from both ring and neighbors, in mean or variance, is bad.
        """
        return find_bad_pixels(self, threshold=threshold, max_patterns=max_patterns)
