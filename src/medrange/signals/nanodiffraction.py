"""Scans of nanodiffraction patterns (y, x | ky, kx): calibration, virtual images and order maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from hyperspy.signal import BaseSignal
from hyperspy.signals import LazySignal2D, Signal2D

from medrange.geometry import PolarGrid
from medrange.kernels.rings import FIRST_POWER, VARIANCE
from medrange.signals import blocks, calibration, exchange, polar_maps, regions
from medrange.signals.building import build, map_axes, order_axis, uniform_axis
from medrange.signals.calibrated import CalibratedPatterns
from medrange.signals.descan import scan_shifts
from medrange.signals.fluctuation import FluctuationVariance, fluctuation_variance
from medrange.signals.grids import all_rings, open_band
from medrange.signals.mro_result import MROResult, analyze
from medrange.signals.order_map import LazyOrderMap, OrderMap
from medrange.signals.plan import Plan, plan
from medrange.signals.polar import PolarNanodiffraction, checked_orders
from medrange.signals.profiles import RadialProfile
from medrange.signals.quality import QualityReport, quality_report
from medrange.signals.ring_record import record_ring
from medrange.signals.strain import RingStrain, analyze_strain

_MAPS = (OrderMap, LazyOrderMap)


class Nanodiffraction(CalibratedPatterns):
    """Nanodiffraction patterns of a scan, (y, x | ky, kx).

    k = 1/d without 2 pi, in the units of the k axes; every k, width and radius given to a method is in
    these units. The center is where both k axes are 0. The patterns are never resampled or changed.

    Examples
    --------
    >>> s = Nanodiffraction(np.random.default_rng(0).poisson(5, (4, 5, 64, 64)).astype("uint16"))
    >>> s.calibrate(scan_step=0.32, scan_units="nm", k_step=0.16, k_units="1/nm", beam_energy=300)
    >>> s.set_center((31.5, 31.5))
    >>> s.variance_map(k=4.0, width=0.4)
    <OrderMap, title: V2D, dimensions: (|5, 4)>
    """

    _signal_type = "nanodiffraction"

    def ring_strain(
        self,
        k: float,
        width: float,
        *,
        n_phi: int = 36,
        reference: float | None = None,
        frame: Literal["detector", "scan"] = "detector",
    ) -> RingStrain:
        """Strain tensor from the ring's radius, ``k0 (1 - exx cos^2 - eyy sin^2 - 2 exy sin cos)`` of phi.

        Positive is stretched. Shifts of the center, well below the ring's width, are dropped. See [Kang2023]_.

        Parameters
        ----------
        k, width : float
            Annulus that holds the ring with some background.
        n_phi : int
            Number of azimuths.
        reference : float, optional
            Radius k0 of the unstrained ring; without it the scan's mean pattern has no strain.
        frame : str
            Axes of the tensor. ``"detector"``: x is +kx, y is +ky (down). ``"scan"``: those of the scan, by the
            rotation set with :meth:`calibrate`.
        """
        return analyze_strain(self, k=k, width=width, n_phi=n_phi, reference=reference, frame=frame)

    def virtual_dark_field(self, k: float, phi: float, radius: float) -> Signal2D:
        """Image of the mean intensity in a circular aperture at (k, phi), phi in radians from +kx to +ky."""
        return polar_maps.virtual_dark_field(self, k, phi, radius)

    def annular_dark_field(self, k: float, width: float) -> Signal2D:
        """Image of the mean intensity in the annulus of radius k and full width ``width``."""
        return polar_maps.annular_dark_field(self, self._band(k, width, 1), {"k": k, "width": width})

    def dark_field_series(self, k: float, width: float, *, n_phi: int = 36) -> Signal2D:
        """Dark-field images of ``n_phi`` azimuthal bins of a ring, (phi | y, x); their variance is V2D."""
        parameters = {"k": k, "width": width, "n_phi": n_phi}
        return polar_maps.dark_field_series(self, self._band(k, width, n_phi), parameters)

    def variance_map(
        self,
        k: float,
        width: float,
        *,
        n_phi: int = 36,
        shot_noise: Literal["poisson"] | None = None,
        gain: float | None = None,
    ) -> OrderMap:
        """V2D(phi): normalized variance of the azimuthal dark-field intensities, ``(<I^2> - <I>^2)/<I>^2``.

        Parameters
        ----------
        k, width : float
            Radius and full width of the ring, which is averaged over k first.
        n_phi : int
            Number of azimuthal bins; 36 are 10 degrees each, the paper's Bragg acceptance angle.
        shot_noise : str, optional
            ``"poisson"`` subtracts the V2D that counting noise alone gives; single values may be below 0.
        gain : float, optional
            Data units per detected electron, for ``shot_noise``; 1 for integer counts, else required.

        Returns
        -------
        OrderMap
            (| y, x), dimensionless; NaN where the ring holds no intensity. See [Im2018]_.
        """
        gain = calibration.detector_gain(self, shot_noise, gain)
        band = self._band(k, width, n_phi)
        statistics = self._ring_maps(band, gain)[..., 0, :]
        parameters = {"k": k, "width": width, "n_phi": n_phi, "shot_noise": shot_noise, "gain": gain}
        result = self._map(_MAPS, statistics[..., VARIANCE], "variance_map", parameters, "V2D")
        return record_ring(result, self, band, gain, statistics=statistics)

    def angular_power_map(
        self,
        k: float,
        width: float,
        *,
        orders: Sequence[int] = range(1, 13),
        n_phi: int = 36,
        k_resolved: bool = False,
        shot_noise: Literal["poisson"] | None = None,
        gain: float | None = None,
    ) -> OrderMap:
        """Angular power per symmetry order n, ``P_n = c_n |I_n|^2/I_0^2``; all orders add up to V2D.

        I_n is the Fourier coefficient over phi of the azimuthal bins after the mean of the open ones was
        subtracted, divided by their share; c_n = 2 counts +n and -n (1 at n = n_phi/2). Bins average over
        2 pi/n_phi, which lowers P_n by sinc^2(n/n_phi): raise n_phi for high n.

        Parameters
        ----------
        k, width : float
            Radius and full width of the ring, which is averaged over k first.
        orders : sequence of int
            Symmetry orders, within 1 .. n_phi/2.
        n_phi : int
            Number of azimuthal bins.
        k_resolved : bool
            Keep rings of about one pixel as a further navigation axis k, instead of averaging them.
        shot_noise, gain
            As in :meth:`variance_map`: subtract the P_n that counting noise alone gives.

        Returns
        -------
        OrderMap
            (n | y, x), or (n, k | y, x). Even orders are strong in any thin sample. See [Im2018]_.
        """
        orders = checked_orders(orders, n_phi)
        band = self._band(k, width, n_phi)
        n_k = max(1, round(width / self.geometry.k_step)) if k_resolved else 1
        grid = PolarGrid(band.k_min, band.k_max, n_k, n_phi)
        columns = [FIRST_POWER + n - 1 for n in orders]
        gain = calibration.detector_gain(self, shot_noise, gain)
        statistics = self._ring_maps(grid, gain)
        data = np.moveaxis(statistics[..., columns], (-2, -1), (0, 1))
        axes = [uniform_axis("k", grid.k, self.geometry.k_units, navigate=True), order_axis(orders)]
        parameters = {"k": k, "width": width, "n_phi": n_phi, "orders": list(orders), "k_resolved": k_resolved}
        parameters |= {"shot_noise": shot_noise, "gain": gain}
        if k_resolved:
            return self._map(_MAPS, data, "angular_power_map", parameters, "P_n", axes)
        result = self._map(_MAPS, data[0], "angular_power_map", parameters, "P_n", axes[1:])
        return record_ring(result, self, band, gain, statistics=statistics[..., 0, :])

    def angular_correlation(self, k: float, width: float, *, n_phi: int = 36, k_resolved: bool = False) -> BaseSignal:
        """Angular correlation ``C(dphi) = (<I(phi) I(phi + dphi)> - <I>^2)/<I>^2`` at every position.

        With masked bins each lag is averaged over its own valid pairs after the masked mean is
        subtracted; a lag without pairs is NaN. Lags run over 0 .. 2 pi in steps of 2 pi/n_phi.

        Returns
        -------
        Signal1D or Signal2D
            (y, x | dphi), or (y, x | dphi, k) with ``k_resolved``. See [Wochner2009]_.
        """
        band = self._band(k, width, n_phi)
        n_k = max(1, round(width / self.geometry.k_step)) if k_resolved else 1
        parameters = {"k": k, "width": width, "n_phi": n_phi, "k_resolved": k_resolved}
        return polar_maps.angular_correlation(self, PolarGrid(band.k_min, band.k_max, n_k, n_phi), parameters)

    def radial_profile(self, *, k_step: float | None = None, k_max: float | None = None) -> RadialProfile:
        """Azimuthal mean intensity I(k) at every position, (y, x | k), by exact pixel areas.

        Parameters
        ----------
        k_step, k_max : float, optional
            Width of a ring (a detector pixel) and end of the last one (the largest full circle).
        """
        return polar_maps.radial_profile(self, self._rings(1, k_step, k_max))

    def fluctuation_variance(
        self,
        method: Literal["annular_mean", "ring_mean", "ring_ensemble", "variance_image"] = "annular_mean",
        *,
        k_step: float | None = None,
        k_max: float | None = None,
        gain: float | None = None,
        scan_mask: np.ndarray | None = None,
        n_bootstrap: int = 0,
        seed: int = 0,
    ) -> FluctuationVariance:
        """Normalized variance of fluctuation microscopy, ``V(k) = <I^2>/<I>^2 - 1``, and its shot noise.

        The four differ in what is averaged, and in size. All pixels count by their exact area in the ring.

        - ``"annular_mean"``: variance over positions of the annular means.
        - ``"ring_mean"``: variance over the pixels of the ring at each position, averaged over positions.
        - ``"ring_ensemble"``: variance over all pixels of the ring and all positions together.
        - ``"variance_image"``: variance over positions of each pixel, averaged over the ring.

        Parameters
        ----------
        method : str
            One of the above.
        k_step, k_max : float, optional
            Width of a ring (a detector pixel) and end of the last one (the largest full circle).
        gain : float, optional
            Data units per detected electron: 1 for a counting detector, from the calibration for others.
            Never guessed: without it ``noise`` and ``corrected`` are NaN.
        scan_mask : numpy.ndarray of bool, optional
            Scan positions (y, x) to leave out, True = excluded: wrong thickness or dose.
        n_bootstrap, seed : int
            Number of resampled scans behind the error band (0 for none, 200 is usual), and its random seed.

        Returns
        -------
        FluctuationVariance
            ``k``, ``raw``, ``noise``, ``corrected`` and ``error``, computed at once, also of a lazy signal.

        Notes
        -----
        Noise is that of independent electrons in independent pixels. Where the detector spreads an electron
        over pixels it is less than ``gain`` says, least so in ``"annular_mean"``. ``"ring_mean"`` divides by
        the ring's mean of a single pattern: below some ten electrons in it take ``"ring_ensemble"``.
        Resampling takes positions as independent; where probes overlap the error is too small. For
        ``"variance_image"`` the resampled V(k) is linearized, and the data are read twice.
        See [Daulton2010]_ and [Treacy2005]_.
        """
        grid = self._rings(1, k_step, k_max)
        options = {"gain": gain, "scan_mask": scan_mask, "n_bootstrap": n_bootstrap, "seed": seed}
        return fluctuation_variance(self, grid, method, **options)

    def to_polar(
        self, *, n_phi: int = 180, k_step: float | None = None, k_max: float | None = None
    ) -> PolarNanodiffraction:
        """Polar patterns, (y, x | phi, k): mean intensity per bin by exact pixel areas; NaN where masked.

        Parameters
        ----------
        n_phi : int
            Number of azimuthal bins.
        k_step, k_max : float, optional
            Width of a ring (a detector pixel) and end of the last one (the largest full circle).
        """
        return polar_maps.to_polar(self, self._rings(n_phi, k_step, k_max))

    def medium_range_order(
        self,
        k: float,
        width: float,
        *,
        orders: Sequence[int] = (2, 4, 6, 8, 10),
        n_phi: int = 36,
        k_resolved: bool = True,
        shot_noise: Literal["poisson"] | None = None,
        gain: float | None = None,
    ) -> MROResult:
        """All maps of one ring in one pass over the data: V2D, P_n, ring mean, I(k) and mean P_n(k).

        Parameters
        ----------
        k, width, orders, n_phi, shot_noise, gain
            As in :meth:`variance_map` and :meth:`angular_power_map`.
        k_resolved : bool
            Also compute the radial profiles and the scan-averaged spectrum P_n(k) of all rings; without
            them only the ring's own pixels are read, which takes a fraction of the time.

        Returns
        -------
        MROResult
            Lazy where the signal is: call its ``compute()``.
        """
        orders = checked_orders(orders, n_phi)
        rings = self._rings(n_phi, None, None) if k_resolved else None
        gain = calibration.detector_gain(self, shot_noise, gain)
        parameters = {"k": k, "width": width, "n_phi": n_phi, "orders": list(orders)}
        parameters |= {"shot_noise": shot_noise, "gain": gain}
        return analyze(self, self._band(k, width, n_phi), rings, parameters)

    def quality_report(self, k: float, width: float, *, gain: float | None = None) -> QualityReport:
        """Dose, saturation, center drift, ellipticity, odd orders and noise at a ring, and what they mean.

        ``gain`` (data units per detected electron) tells the shot noise; without it that is unknown.
        """
        return quality_report(self, k, width, gain=gain)

    def get_integrated_intensity(self, roi: Any) -> Signal2D:
        """Image of the summed intensity in a region of HyperSpy's, ``hs.roi.CircleROI(cx=4.0, cy=0.0, r=0.5)``.

        It is named as pyxem's method of the same result. Masked pixels are left out of the sum; the region lies
        still on the detector, whatever the descan: :meth:`virtual_dark_field` moves along, and gives the mean.
        """
        return regions.integrated_intensity(self, roi)

    @classmethod
    def from_signal(cls, signal: Any) -> Nanodiffraction:
        """Patterns from a signal of HyperSpy, pyxem or kikuchipy, or a data set of quantem; the array is shared.

        Axes and metadata are taken over, and from pyxem center, mask, beam energy and the ellipse of its affine matrix.
        k in 2 pi/length or angles becomes k = 1/d; angles need the beam energy. A quantem data set's ``origin`` is the
        coordinate of its first pixel. The center counts as known where k = 0 lies inside the detector.

        Raises
        ------
        TypeError
            If it is none of these.
        ValueError
            If the patterns are not the last two axes, complex, of bent axes, or the affine matrix is no ellipse.

        Examples
        --------
        >>> Nanodiffraction.from_signal(Signal2D(np.zeros((3, 4, 8, 8))))
        <Nanodiffraction, title: , dimensions: (4, 3|8, 8)>
        """
        return exchange.from_signal(signal, (Nanodiffraction, LazyNanodiffraction))

    def to_pyxem(self) -> Any:
        """Same array and calibration as ``ElectronDiffraction2D`` of pyxem; ImportError where that is not installed.

        Center, scale, mask and ellipse are set through pyxem's ``calibration``, and :meth:`from_signal` brings back
        what it has no place for (the descan, the scan rotation).
        """
        return exchange.to_pyxem(self)

    def plan(
        self,
        methods: Mapping[str, Mapping[str, Any]] | Sequence[str] = ("radial_profile",),
        *,
        together: bool = False,
        n_threads: int | None = None,
    ) -> Plan:
        """Bytes, memory and time of methods before they run: ``s.plan({"variance_map": {"k": 4, "width": 1}})``.

        Up to two chunks are read, and the methods run on them, to measure; nothing else is computed.

        Parameters
        ----------
        methods : mapping or sequence of str
            Names of methods, as a mapping with the arguments of each.
        together : bool
            Plan for the lazy results computed with one ``dask.compute``, which reads every chunk once.
        n_threads : int, optional
            Threads that will work; those of dask.

        Returns
        -------
        Plan
            Shown as a table; ``table``, ``steps``, ``peak_memory`` (an upper bound) and ``advice``.

        Raises
        ------
        ValueError
            For a method that is not known, or whose arguments do not fit the scan.
        """
        return plan(self, methods, together=together, n_threads=n_threads)

    def to_py4dstem(self, *, name: str = "datacube") -> Any:
        """Data cube of py4DSTEM with the same array and calibration; see :func:`medrange.to_py4dstem`."""
        from medrange.datacube import to_py4dstem

        return to_py4dstem(self, name=name)

    def _band(self, k: float, width: float, n_phi: int) -> PolarGrid:
        return open_band(self.geometry, k, width, n_phi)

    def _rings(self, n_phi: int, k_step: float | None, k_max: float | None) -> PolarGrid:
        return all_rings(self.geometry, n_phi, k_step, k_max, scan_shifts(self))

    def _ring_maps(self, grid: PolarGrid, gain: float | None) -> np.ndarray:
        shape = (grid.n_k, FIRST_POWER + grid.n_phi // 2)
        return polar_maps.map_patterns(self, blocks.ring_maps, shape, "ring statistics", grid=grid, gain=gain)

    def _map(
        self,
        classes: tuple[type, type],
        data: np.ndarray,
        operation: str,
        parameters: dict,
        quantity: str,
        first_axes: Sequence[dict] = (),
    ) -> BaseSignal:
        axes = [*first_axes, *map_axes(self)]
        return build(classes, data, axes, source=self, operation=operation, parameters=parameters, quantity=quantity)


class LazyNanodiffraction(LazySignal2D, Nanodiffraction):
    """Lazy twin of :class:`Nanodiffraction`: results are lazy and computed chunk by chunk."""

    _lazy = True
