"""Maps of medium-range order over the scan: V2D and the n-fold angular-power maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from hyperspy.signals import LazySignal2D, Signal2D

from medrange._version import __version__
from medrange.kernels.hotspots import normalized_sum
from medrange.signals.autocorrelation import Autocorrelation, autocorrelate_maps
from medrange.signals.building import order_axis
from medrange.signals.exporting import to_csv, to_tiff
from medrange.signals.hotspots import Hotspots, find_hotspots, overlap_table
from medrange.signals.mapping import sum_over_scan
from medrange.signals.null import NullMaps, check_match, null_maps, simulate_null
from medrange.units import standard_units, unit_factor

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal


class OrderMap(Signal2D):
    """Maps of medium-range order: one (| y, x), or one per symmetry order n (n | y, x).

    Data are (y, x) or (n, y, x), dimensionless; a pixel without a value is NaN.

    Examples
    --------
    >>> maps = OrderMap.from_array(np.random.default_rng(0).random((2, 32, 32)), scale=0.32, orders=(2, 4))
    >>> maps.hotspots().summary["n"].tolist()
    [2, 4, 'sum']
    """

    _signal_type = "order_map"

    @classmethod
    def from_array(
        cls,
        data: np.ndarray,
        *,
        scale: float | tuple[float, float],
        units: str = "nm",
        orders: Sequence[int] | None = None,
        offset: tuple[float, float] = (0.0, 0.0),
        title: str = "",
    ) -> Self:
        """Build a map with calibrated axes from an array.

        Parameters
        ----------
        data : numpy.ndarray
            Shape (y, x), or (n, y, x) with ``orders``; a dask array for the lazy class.
        scale : float or tuple of float
            Pixel size, or (dy, dx).
        units : str
            Unit of ``scale`` and ``offset``.
        orders : sequence of int, optional
            The symmetry order n of each map, increasing.
        offset : tuple of float
            Position (y, x) of the center of the first pixel.
        title : str
            Title of the map.

        Raises
        ------
        ValueError
            If data and orders do not match, or the orders do not increase.
        """
        wanted = 2 if orders is None else 3
        if data.ndim != wanted or (orders is not None and len(orders) != data.shape[0]):
            msg = (
                f"data of shape {data.shape} and orders {orders!r} do not match; "
                "give (y, x) without orders, or (n, y, x) with one order per map."
            )
            raise ValueError(msg)
        steps = (scale, scale) if np.isscalar(scale) else scale
        axes = [
            {"name": name, "scale": step, "offset": start, "units": units, "size": size, "navigate": False}
            for name, step, start, size in zip("yx", steps, offset, data.shape[-2:], strict=True)
        ]
        if orders is not None:
            axes.insert(0, order_axis(orders))
        return cls(data, axes=axes, metadata={"General": {"title": title}})

    @property
    def orders(self) -> tuple[int, ...]:
        """Symmetry orders of the maps, from the navigation axis ``n``; ``()`` for a map without one."""
        axes = [axis for axis in self.axes_manager.navigation_axes if axis.name == "n"]
        return tuple(round(float(n)) for n in axes[0].axis) if axes else ()

    def normalized_sum(self) -> OrderMap:
        """Mean of the maps after each was divided by its own mean (Fig. 3f of [Im2018]_).

        Every order takes part with equal weight, though the power falls with n. A pixel that any map
        lacks is NaN. A map whose mean is not positive takes no part, with a warning.

        Returns
        -------
        OrderMap
            Shape (| y, x), mean 1; lazy where the maps are.
        """
        images = self.data.reshape((-1, *self.data.shape[-2:]))
        totals = sum_over_scan(np.moveaxis(np.where(np.isfinite(images), images, 0), 0, -1))
        data = normalized_sum(images, totals=totals)
        axes = [axis.get_axis_dictionary() for axis in self.axes_manager.signal_axes[::-1]]
        result = type(self)(data, axes=axes, metadata=self.metadata.as_dictionary())
        result.metadata.General.title = "normalized sum"
        provenance = {
            "operation": "normalized_sum",
            "parameters": {"orders": list(self.orders)},
            "version": __version__,
        }
        result.metadata.add_dictionary({"Medrange": {"Provenance": provenance}})
        return result

    def hotspots(
        self,
        threshold: str | float = "isodata",
        *,
        thickness: float = 20.0,
        acceptance_angle: float = 10.0,
        include_sum: bool | None = None,
        min_pixels: int = 1,
    ) -> Hotspots:
        """Find the regions of strong order, measure them and estimate the ordered volume.

        In each map, 8-connected regions above the threshold are taken as spheres of the same projected
        area, ``d = 2 sqrt(area / pi)``; the ordered volume fraction is
        ``sum(pi d^3 / 6) / (a / (180 - a) * scanned area * thickness)`` ([Im2018]_).

        Parameters
        ----------
        threshold : str or float
            Per map: ``"isodata"`` (the iterative method of the paper), ``"otsu"``, ``"quantile:0.95"``;
            or one number for all maps, in their units.
        thickness : float
            Thickness of the sample, nm.
        acceptance_angle : float
            Bragg acceptance angle a, degrees.
        include_sum : bool, optional
            Whether the normalized sum is analyzed as one more map. By default it is where there are
            several maps and the threshold is not a number, since the sum has a scale of its own.
        min_pixels : int
            Smaller regions are dropped.

        Returns
        -------
        Hotspots
            Table of regions, summary per order, label images, overlap between orders.

        Raises
        ------
        ValueError
            If the scan axes have no length unit, or a parameter is out of range.
        """
        pixel_size, origin = self._scan_grid()
        images, orders = self._stack()
        if include_sum is None:
            include_sum = len(orders) > 1 and isinstance(threshold, str)
        if include_sum:
            images = np.concatenate([images, normalized_sum(images)[np.newaxis]])
            orders = (*orders, "sum")
        result = find_hotspots(
            images,
            orders,
            pixel_size=pixel_size,
            origin=origin,
            threshold=threshold,
            thickness=thickness,
            acceptance_angle=acceptance_angle,
            min_pixels=min_pixels,
        )
        source = self.metadata.get_item("Medrange.Provenance.source", default=None)
        return replace(result, parameters={**result.parameters, "source": source})

    def overlap_with(self, other: OrderMap, threshold: str | float = "isodata") -> pd.DataFrame:
        """How much of the hotspots of each order lies in the hotspots of another map, for example V2D.

        Parameters
        ----------
        other : OrderMap
            One map of the same scan.
        threshold : str or float
            As in :meth:`hotspots`, for both.

        Returns
        -------
        pandas.DataFrame
            One row per order: ``n``; ``overlap``, the share of its hotspot area inside those of the
            other map; ``expected``, that share if the two had nothing to do with each other (the area
            fraction of the other map's hotspots); ``other_overlap``, the share of the other map's
            hotspot area inside those of the order.

        Raises
        ------
        ValueError
            If ``other`` is not one map of the same shape.
        """
        images, orders = self._stack()
        return overlap_table(images, orders, np.asarray(other.data, dtype=np.float64), threshold)

    def null(
        self,
        seed: int | np.random.Generator = 0,
        *,
        convergence_angle: float | None = None,
        beam_energy: float | None = None,
        n_realizations: int = 20,
        profile: BaseSignal | None = None,
        scan_mask: np.ndarray | None = None,
        match: Literal["parity", "order"] = "parity",
    ) -> NullMaps:
        """Maps that a thin random object would give: same probe, scan, ring, mask and dose, no order.

        Speckle of independent Gaussian Fourier coefficients, with the mean square that the mean pattern asks
        for, goes through the same bins and formulas. Two numbers are fitted: the speckle contrast, so that
        the medians of V2D or of the even P_n agree (strong but few hotspots do not count), and the part
        without Friedel symmetry, from odd against even orders where odd ones are known. Counting noise is
        that of the data where their gain is known, and is subtracted where theirs was. Each realization is
        then scaled as a whole to the medians of the data, to which the two numbers were fitted.

        Parameters
        ----------
        seed : int or numpy.random.Generator
            Same seed, same maps; more realizations leave the first ones as they are.
        convergence_angle : float, optional
            Semi-angle in mrad; from ``metadata.Acquisition_instrument.TEM`` when not given.
        beam_energy : float, optional
            In kV; likewise.
        n_realizations : int
            Number of random objects; p-values are no smaller than 1/(1 + n_realizations).
        profile : RadialProfile, optional
            Mean pattern I(k) of the scan, and with it the dose. Maps made from data in memory, and those of
            ``medium_range_order``, have it on record; without one the object is equally strong at all k.
        scan_mask : numpy.ndarray of bool, optional
            Scan positions (y, x) left out of the fit, True = excluded, to fit to a matrix region alone.
        match : str
            What is scaled together: ``"parity"``, all even and all odd orders, so that an order that is
            strong over much of the field still stands out; or ``"order"``, each to its own median, so that
            only the regions that stand out from the bulk of their map count, whatever the reason of its
            strength. Order in a tenth of the field then raises its own null by a sixth.

        Returns
        -------
        NullMaps
            For :meth:`Hotspots.enrichment`. See [Goodman1976]_ and [Treacy2005]_.

        Raises
        ------
        ValueError
            If the map does not say which ring it is of, the probe is unknown, or ``match`` is neither.

        Warns
        -----
        UserWarning
            If no random object has the contrast of the maps; they are then scaled. If the bulk of an order is
            not as strong as in a random object (:meth:`NullMaps.typical`).
        """
        maps = self
        if self._lazy:
            maps = self.deepcopy()
            maps.compute(show_progressbar=False)
        check_match(match)
        simulated = simulate_null(
            maps,
            seed,
            convergence_angle=convergence_angle,
            beam_energy=beam_energy,
            n_realizations=n_realizations,
            profile=profile,
            scan_mask=scan_mask,
        )
        return null_maps(maps, simulated, match)

    def autocorrelation(self, max_distance: float | None = None) -> Autocorrelation:
        """Autocorrelation of each map as a function of distance (Fig. 4c and 4d of [Im2018]_).

        Parameters
        ----------
        max_distance : float, optional
            Largest distance, nm; half of the shorter side of the scan when not given.

        Raises
        ------
        ValueError
            If the scan axes have no length unit.
        """
        pixel_size, _ = self._scan_grid()
        images, orders = self._stack()
        return autocorrelate_maps(images, orders, pixel_size=pixel_size, max_distance=max_distance)

    def correlation_length(self) -> pd.Series:
        """Distance (nm) at which the autocorrelation of each map first falls to 1/e, by order n."""
        result = self.autocorrelation()
        index = pd.Index(result.orders, name="n")
        series = pd.Series(result.correlation_length, index=index, name="correlation_length")
        series.attrs["units"] = "nm"
        return series

    def plot_grid(self, contour: OrderMap | None = None, **kwargs: Any) -> Any:
        """All maps side by side, with contours of another on top (Fig. 3 of [Im2018]_).

        See :func:`medrange.plotting.plot_order_maps` for the keywords.
        """
        from medrange.plotting import maps

        return maps.plot_order_maps(self, contour=contour, **kwargs)

    def to_tiff(self, path: str | PathLike) -> Path:
        """Write the maps as TIFF for ImageJ, with pixel size and an order per slice: :func:`medrange.to_tiff`."""
        return to_tiff(self, path)

    def to_csv(self, path: str | PathLike) -> Path:
        """Write one map as rows and columns, several as a table, with units: :func:`medrange.to_csv`."""
        return to_csv(self, path)

    def _stack(self) -> tuple[np.ndarray, tuple[int | str, ...]]:
        """Give the maps (n, y, x) in memory as float64, and what each of them is."""
        names = [axis.name for axis in self.axes_manager.navigation_axes]
        if names not in ([], ["n"]):
            msg = f"the navigation axes are {names}; maps have at most one, 'n': choose maps with .inav[...]."
            raise ValueError(msg)
        data = np.asarray(self.data, dtype=np.float64)
        return data.reshape((-1, *data.shape[-2:])), self.orders or ("map",)

    def _scan_grid(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Pixel size (dy, dx) and position (y, x) of the first pixel, nm."""
        axes = self.axes_manager.signal_axes[::-1]
        if not all(axis.is_uniform and standard_units(axis.units) and axis.scale > 0 for axis in axes):
            found = ", ".join(f"{axis.name}: units {axis.units!r}" for axis in axes)
            msg = (
                f"the scan axes have no length unit ({found}). Calibrate the scan before mapping, "
                's.calibrate(scan_step=0.32, scan_units="nm", ...), or set scale (positive) and units of '
                "the map's signal axes."
            )
            raise ValueError(msg)
        factors = [unit_factor(axis.units, "nm") for axis in axes]
        pixel_size = tuple(float(axis.scale) * factor for axis, factor in zip(axes, factors, strict=True))
        origin = tuple(float(axis.offset) * factor for axis, factor in zip(axes, factors, strict=True))
        return pixel_size, origin


class LazyOrderMap(LazySignal2D, OrderMap):
    """Lazy twin of :class:`OrderMap`; results of its analysis are in memory, computed in one pass."""

    _lazy = True
