"""Maps and curves as files of other programs: TIFF for ImageJ, CSV with units."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medrange.formats.tiff import write_tiff
from medrange.signals.tables import with_units, write_table
from medrange.units import standard_units, unit_factor

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal


def to_tiff(signal: BaseSignal, path: str | PathLike) -> Path:
    """Write a map, or a stack of maps, as float32 TIFF that ImageJ opens with its scale.

    Pixel size and unit are those of the signal axes, the first pixel's position becomes ImageJ's origin. Each
    slice of a stack is labeled with its place on the navigation axis, ``n = 4``. HyperSpy's own ``save("map.tif")``
    writes scale and unit too, but no labels, and not at all orders with unequal steps.

    Parameters
    ----------
    signal : BaseSignal
        (| y, x), or with one navigation axis; a lazy one is computed. Any map: V2D, P_n, strain, weights,
        dark fields, HyperSpy's virtual images.
    path : path
        ``.tif`` or ``.tiff``; an existing file is replaced.

    Returns
    -------
    pathlib.Path
        The file written. Axes without a unit leave it without calibration.

    Raises
    ------
    ValueError
        If the signal is no map or stack of maps, its axes are not uniform, or their units do not fit together.

    Examples
    --------
    >>> import tempfile
    >>> import medrange as mr
    >>> maps = mr.OrderMap.from_array(np.ones((2, 16, 16)), scale=0.32, orders=(2, 4))
    >>> mr.to_tiff(maps, f"{tempfile.mkdtemp()}/power.tif").name
    'power.tif'
    """
    signal = _as_maps(signal)
    x, y = signal.axes_manager.signal_axes
    calibration = {}
    units = standard_units(x.units)
    if units and standard_units(y.units):
        # ImageJ knows one unit.
        factor = unit_factor(y.units, units)
        calibration = {
            "pixel_size": (y.scale * factor, x.scale),
            "units": units,
            "origin": (y.offset * factor, x.offset),
        }
    labels = [f"{name} = {value}{unit}" for name, value, unit in _places(signal)] or None
    return write_tiff(path, np.asarray(signal.data), labels=labels, **calibration)


def to_csv(signal: BaseSignal, path: str | PathLike) -> Path:
    """Write a map or curves as CSV that names its quantities and their units.

    - One map (| y, x): the values as rows and columns; lines that begin with ``#`` give quantity, unit and axes.
    - Maps (n | y, x): a table with a row per pixel: y, x and a column per map, ``n=4``.
    - One curve: its axis and its values; with one navigation axis a column per curve.
    - Curves of a scan (y, x | k): axis, mean and standard deviation over positions, and how many have a value.

    Parameters
    ----------
    signal : BaseSignal
        A lazy one is computed.
    path : path
        The file; an existing one is replaced, missing folders are made.

    Returns
    -------
    pathlib.Path
        The file written: UTF-8, six digits, ``nan`` for no value, units in brackets behind a name.

    Raises
    ------
    ValueError
        If the signal is neither a map nor a curve, or has more navigation axes.

    Examples
    --------
    >>> import tempfile
    >>> import medrange as mr
    >>> scan = mr.load(mr.datasets.sample_scan("empad")).inav[:4, :4]
    >>> scan.calibrate(k_step=0.16, k_units="1/nm")
    >>> scan.set_center((63.6, 64.4))
    >>> path = mr.to_csv(scan.radial_profile(), f"{tempfile.mkdtemp()}/profile.csv")
    >>> path.read_text().splitlines()[0]
    'k [1/nm],intensity mean,intensity std,positions'
    """
    if signal.axes_manager.signal_dimension == 1:
        return write_table(_curve_table(signal), path)
    signal = _as_maps(signal)
    if signal.axes_manager.navigation_dimension:
        return write_table(_map_table(signal), path)
    return _write_matrix(signal, Path(path))


def _as_maps(signal: BaseSignal) -> BaseSignal:
    """The signal with the map in signal space, checked."""
    manager = signal.axes_manager
    if (manager.signal_dimension, manager.navigation_dimension) == (0, 2):
        signal = signal.T
        manager = signal.axes_manager
    if manager.signal_dimension != 2 or manager.navigation_dimension > 1:
        msg = (
            f"the signal has dimensions {manager.navigation_shape} | {manager.signal_shape}; a map (| y, x) or a stack "
            "of maps is needed: choose with .inav[...], or average over positions."
        )
        raise ValueError(msg)
    if not all(axis.is_uniform and axis.scale > 0 for axis in manager.signal_axes):
        msg = "the axes of the map are not uniform with a positive scale; an image has one pixel size."
        raise ValueError(msg)
    return signal


def _quantity(signal: BaseSignal) -> tuple[str, str]:
    """What the values are, and their unit: ``G(r) (1/Å²)`` is ``G(r)`` in ``1/Å²``."""
    text = str(signal.metadata.get_item("Signal.quantity", "") or signal.metadata.get_item("General.title", ""))
    match = re.fullmatch(r"(.+) \(([^()]+)\)", text)
    return (match[1], match[2]) if match else (text or "value", "")


def _places(signal: BaseSignal) -> list[tuple[str, str, str]]:
    """Name, value and unit along the navigation axis; nothing without one."""
    axes = signal.axes_manager.navigation_axes
    if not axes:
        return []
    name = axes[0].name if isinstance(axes[0].name, str) and axes[0].name else "index"
    unit = standard_units(axes[0].units)
    return [(name, f"{value:.6g}", f" {unit}" if unit else "") for value in axes[0].axis]


def _axis_name(axis: object, default: str) -> str:
    return axis.name if isinstance(axis.name, str) and axis.name else default


def _curve_table(signal: BaseSignal) -> pd.DataFrame:
    axis = signal.axes_manager.signal_axes[0]
    place, (quantity, unit) = _axis_name(axis, "axis"), _quantity(signal)
    columns, data = {place: axis.axis}, np.asarray(signal.data)
    dimension = signal.axes_manager.navigation_dimension
    if dimension == 0:
        columns[quantity] = data.ravel()
    elif dimension == 1:
        columns |= {f"{name}={value}": curve for (name, value, _), curve in zip(_places(signal), data, strict=True)}
    elif dimension == 2:
        curves = pd.DataFrame(data.reshape(-1, data.shape[-1]).astype(np.float64))
        columns |= {f"{quantity} mean": curves.mean(), f"{quantity} std": curves.std(), "positions": curves.count()}
    else:
        msg = f"the curves have {dimension} navigation axes; choose with .inav[...], or average over some of them."
        raise ValueError(msg)
    units = {name: "" if name == "positions" else unit for name in columns} | {place: standard_units(axis.units) or ""}
    return with_units(pd.DataFrame(columns), units)


def _map_table(signal: BaseSignal) -> pd.DataFrame:
    x, y = signal.axes_manager.signal_axes
    rows, columns = np.meshgrid(y.axis, x.axis, indexing="ij")
    names = (_axis_name(y, "y"), _axis_name(x, "x"))
    table = {names[0]: rows.ravel(), names[1]: columns.ravel()}
    places = [f"{name}={value}" for name, value, _ in _places(signal)]
    table |= {place: image.ravel() for place, image in zip(places, np.asarray(signal.data), strict=True)}
    units = dict.fromkeys(places, _quantity(signal)[1])
    units |= {name: standard_units(axis.units) or "" for name, axis in zip(names, (y, x), strict=True)}
    return with_units(pd.DataFrame(table), units)


def _write_matrix(signal: BaseSignal, path: Path) -> Path:
    quantity, unit = _quantity(signal)
    lines = [f"{quantity} [{unit}]" if unit else quantity]
    sides = zip(("columns", "rows"), ("x", "y"), signal.axes_manager.signal_axes, strict=True)
    for side, default, axis in sides:
        of_axis = standard_units(axis.units) or "pixels"
        along = f"{side} along {_axis_name(axis, default)} [{of_axis}]"
        lines.append(f"{along}: {axis.size} from {axis.offset:.6g} in steps of {axis.scale:.6g}")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.asarray(signal.data), fmt="%.6g", delimiter=",", header="\n".join(lines), encoding="utf-8")
    return path
