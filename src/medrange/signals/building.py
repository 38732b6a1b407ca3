"""Make result signals: axes taken over from the scan, units named, provenance recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from medrange._version import __version__
from medrange.units import standard_units

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal


def axis_like(axis: object, *, navigate: bool, name: str = "") -> dict[str, Any]:
    """Dictionary of an axis with the same scale, on the navigation or the signal side."""
    record = axis.get_axis_dictionary()
    record["navigate"] = navigate
    record["name"] = axis.name if isinstance(axis.name, str) and axis.name else name
    record["units"] = standard_units(axis.units) or ""
    return record


def scan_axes(signal: BaseSignal, *, navigate: bool) -> list[dict[str, Any]]:
    """Axes of the scan in array order (y, x), for a result's navigation or signal space."""
    axes = signal.axes_manager.navigation_axes[::-1]
    names = ("y", "x") if len(axes) == 2 else tuple(f"scan_{i}" for i in range(len(axes)))
    return [axis_like(axis, navigate=navigate, name=name) for axis, name in zip(axes, names, strict=True)]


def map_axes(signal: BaseSignal) -> list[dict[str, Any]]:
    """Axes (y, x) of a map; the scan must be two-dimensional."""
    if signal.axes_manager.navigation_dimension != 2:
        msg = (
            f"a map needs a two-dimensional scan; this signal has navigation shape "
            f"{signal.axes_manager.navigation_shape}. Use radial_profile, to_polar or angular_correlation, or load "
            "with scan_shape=(rows, columns)."
        )
        raise ValueError(msg)
    return scan_axes(signal, navigate=False)


def uniform_axis(name: str, values: np.ndarray, units: str, *, navigate: bool) -> dict[str, Any]:
    """Axis through equally spaced values."""
    step = float(values[1] - values[0]) if len(values) > 1 else 1.0
    return {
        "name": name,
        "size": len(values),
        "offset": float(values[0]),
        "scale": step,
        "units": units,
        "navigate": navigate,
    }


def order_axis(orders: Sequence[int]) -> dict[str, Any]:
    """Navigation axis of the symmetry orders n, which must increase; uniform when their spacing is."""
    values = np.asarray(orders, dtype=float)
    steps = np.diff(values)
    if not (steps > 0).all():
        msg = f"orders are {tuple(orders)}; they must increase."
        raise ValueError(msg)
    if len(set(steps)) <= 1:
        return uniform_axis("n", values, "", navigate=True)
    return {"name": "n", "axis": values, "units": "", "navigate": True, "_type": "DataAxis"}


def build(
    classes: tuple[type, type],
    data: np.ndarray | da.Array,
    axes: list[dict[str, Any]],
    *,
    source: BaseSignal,
    operation: str,
    parameters: dict[str, Any],
    quantity: str,
) -> BaseSignal:
    """Signal of the eager or lazy class, with title, quantity, instrument and provenance.

    Parameters
    ----------
    classes : tuple of type
        The eager and the lazy class.
    data : array
        The values; a dask array makes a lazy signal.
    axes : list of dict
        One per array axis, in array order.
    source : BaseSignal
        The signal the result was made from.
    operation, parameters
        The method and its arguments, for ``metadata.Medrange.Provenance``.
    quantity : str
        Name of the quantity, with unit in brackets.
    """
    title = source.metadata.get_item("General.title", "")
    metadata: dict[str, Any] = {
        "General": {"title": f"{quantity} of {title}" if title else quantity},
        "Signal": {"quantity": quantity},
        "Medrange": {
            "Provenance": {
                "operation": operation,
                "parameters": parameters,
                "version": __version__,
                "source": source.metadata.get_item("General.original_filename", title),
            }
        },
    }
    if source.metadata.has_item("Acquisition_instrument"):
        metadata["Acquisition_instrument"] = source.metadata.Acquisition_instrument.as_dictionary()
    cls = classes[isinstance(data, da.Array)]
    return cls(data, axes=axes, metadata=metadata)
