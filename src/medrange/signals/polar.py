"""Polar patterns (y, x | phi, k) and what is computed from their rings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask.array as da
import numpy as np
from hyperspy.signal import BaseSignal
from hyperspy.signals import LazySignal1D, LazySignal2D, Signal1D, Signal2D

from medrange.kernels.angular import angular_correlation, angular_power, intensity_variance
from medrange.signals.building import axis_like, build, scan_axes, uniform_axis


def _over_phi(block: np.ndarray, *, function: Callable, columns: tuple[int, ...] | None) -> np.ndarray:
    """Apply a function of rings (..., n_phi) to polar patterns (..., phi, k); k comes first in the result."""
    result = function(block.swapaxes(-1, -2)).astype(np.result_type(block.dtype, np.float32), copy=False)
    return result if columns is None else result[..., list(columns)]


class PolarNanodiffraction(Signal2D):
    """Patterns in polar coordinates, (y, x | phi, k): mean intensity per (k, phi) bin.

    phi = 0 along +kx, growing towards +ky, in radians; k = 1/d. A bin without an open pixel is NaN.

    Examples
    --------
    >>> rings = PolarNanodiffraction(np.random.default_rng(0).random((2, 3, 36, 8)))
    >>> rings.angular_power(orders=(2, 4)).data.shape
    (2, 3, 8, 2)
    """

    _signal_type = "polar_nanodiffraction"

    def intensity_variance(self) -> Signal1D:
        """V2D(phi) of every ring, ``(<I^2> - <I>^2)/<I>^2`` over phi; (y, x | k). See [Im2018]_."""
        data = self._apply(intensity_variance, 0)
        return self._result((Signal1D, LazySignal1D), data, [], "intensity_variance", "V2D")

    def angular_correlation(self) -> Signal2D:
        """Angular correlation of every ring, ``C(dphi) = (<I(phi) I(phi + dphi)> - <I>^2)/<I>^2``.

        Returns
        -------
        Signal2D
            (y, x | dphi, k): data (..., k, dphi), lags in radians. With masked bins each lag is averaged
            over its own valid pairs after the masked mean is subtracted. See [Wochner2009]_.
        """
        phi = self.axes_manager.signal_axes[1]
        lags = np.arange(phi.size) * 2 * np.pi / phi.size
        data = self._apply(angular_correlation, phi.size)
        axes = [uniform_axis("dphi", lags, "rad", navigate=False)]
        return self._result((Signal2D, LazySignal2D), data, axes, "angular_correlation", "angular correlation")

    def angular_power(self, orders: Sequence[int] = range(1, 13)) -> Signal2D:
        """Angular power P_n of every ring, data (..., k, n); the P_n of all orders add up to V2D.

        Parameters
        ----------
        orders : sequence of int
            Consecutive or equally spaced orders within 1 .. n_phi/2.

        Raises
        ------
        ValueError
            If an order is out of range.
        """
        orders = checked_orders(orders, self.axes_manager.signal_axes[1].size)
        columns = tuple(n - 1 for n in orders)
        data = self._apply(angular_power, len(orders), columns)
        axes = [uniform_axis("n", np.array(orders), "", navigate=False)]
        return self._result((Signal2D, LazySignal2D), data, axes, "angular_power", "angular power P_n")

    def _apply(self, function: Callable, length: int, columns: tuple[int, ...] | None = None) -> Any:
        if not isinstance(self.data, da.Array):
            return _over_phi(self.data, function=function, columns=columns)
        last = self.data.ndim - 1
        data = self.data.rechunk({last - 1: -1})
        chunks = data.chunks[:-2] + (data.chunks[-1],) + (((length,),) if length else ())
        return da.map_blocks(
            _over_phi,
            data,
            function=function,
            columns=columns,
            dtype=np.result_type(data.dtype, np.float32),
            drop_axis=[last - 1, last],
            new_axis=[last - 1, last] if length else [last - 1],
            chunks=chunks,
            meta=np.empty((0,) * len(chunks), np.result_type(data.dtype, np.float32)),
        )

    def _result(
        self, classes: tuple[type, type], data: Any, last_axes: list[dict], operation: str, quantity: str
    ) -> BaseSignal:
        k = axis_like(self.axes_manager.signal_axes[0], navigate=False, name="k")
        axes = [*scan_axes(self, navigate=True), k, *last_axes]
        return build(classes, data, axes, source=self, operation=operation, parameters={}, quantity=quantity)


def checked_orders(orders: Sequence[int], n_phi: int) -> tuple[int, ...]:
    """Orders as increasing integers within 1 .. n_phi/2.

    Raises
    ------
    ValueError
        Naming the order and the limit.
    """
    values = tuple(sorted({int(n) for n in orders}))
    if not values:
        msg = "orders is empty; give at least one symmetry order, for example (2, 4, 6)."
        raise ValueError(msg)
    for n in values:
        if not 1 <= n <= n_phi // 2:
            msg = f"order {n} is not within 1 .. n_phi/2 = {n_phi // 2}; raise n_phi to at least {2 * abs(n)}."
            raise ValueError(msg)
    return values


class LazyPolarNanodiffraction(LazySignal2D, PolarNanodiffraction):
    """Lazy twin of :class:`PolarNanodiffraction`."""

    _lazy = True
