"""What relates the patterns to the scan: descan, rotation and row flip, in ``metadata.Medrange``.

The descan is stored as a polynomial of the scan's coordinates, not of its indices, so that slicing with ``inav`` and
rechunking keep it right without help; together with the pixel size and the names of the axes that it was made for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medrange.geometry import Descan, DiffractionGeometry
from medrange.units import standard_units, unit_factor

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

NODE = "Medrange.Geometry"
_AXES = ("y", "x")


def scale_in(signal: BaseSignal, units: str) -> float:
    """Pixel size of the k axes in ``units`` ('' = uncalibrated)."""
    axis = signal.axes_manager.signal_axes[1]
    own = standard_units(axis.units) or ""
    return axis.scale if own == units else axis.scale * unit_factor(own, units)


def _scan_axes(signal: BaseSignal) -> tuple:
    """Axes y and x of the scan; refused unless the scan has both."""
    axes = signal.axes_manager.navigation_axes[::-1]
    if len(axes) != 2:
        msg = (
            "the descan is a shift of the center over a two-dimensional scan, and this signal has the navigation shape "
            f"{signal.axes_manager.navigation_shape}: where its patterns lie in the scan is lost. Slice with ranges, "
            "s.inav[3:4, 5:6], or call set_descan(None) and set the center."
        )
        raise ValueError(msg)
    return axes


def _axis_names(axes: tuple) -> list[str]:
    return [axis.name if isinstance(axis.name, str) and axis.name != "<undefined>" else "" for axis in axes]


def _scan_units(axes: tuple) -> str:
    """Unit of the scan's axes, '' where they have none."""
    units = {standard_units(axis.units) or "" for axis in axes}
    if len(units) > 1:
        named = " and ".join(map(repr, sorted(units)))
        msg = f"the scan's axes are in different units, {named}; call calibrate(scan_step=...) first."
        raise ValueError(msg)
    return units.pop()


def _in_units(descan: Descan, units: str) -> Descan:
    if units == descan.units:
        return descan
    if not (units and descan.units):
        msg = (
            f"the descan is known over a scan in {descan.units or 'positions'}, and this scan is in "
            f"{units or 'positions'}. Calibrate the scan with calibrate(scan_step=...), then call fit_descan(), or "
            "set_descan(None)."
        )
        raise ValueError(msg)
    factor = unit_factor(descan.units, units)
    return descan.scaled(scan=(factor, factor), units=units)


def _check_extent(descan: Descan, axes: tuple) -> None:
    """Refuse positions outside those the polynomial was made from."""
    for name, axis, (low, high) in zip(_AXES, axes, descan.extent, strict=True):
        slack = 0.5 * abs(axis.scale) + 1e-6 * (high - low)
        if axis.axis.min() < low - slack or axis.axis.max() > high + slack:
            msg = (
                f"the descan is known for {name} = {low:g} to {high:g} {descan.units}, and this scan runs from "
                f"{axis.axis.min():g} to {axis.axis.max():g}: it would be extrapolated. Call fit_descan() for this "
                "scan, or set_descan(None)."
            )
            raise ValueError(msg)


def stored_descan(signal: BaseSignal) -> Descan | None:
    """Descan of a signal, in pixels and scan units of the signal as it is; None where none is set.

    Raises
    ------
    ValueError
        If the signal is no longer a two-dimensional scan, its axes are others, or it reaches beyond the extent.
    """
    record = signal.metadata.get_item(f"{NODE}.descan")
    if record is None:
        return None
    record = record.as_dictionary()
    axes = _scan_axes(signal)
    residual = float(record["residual"])
    descan = Descan.from_record(record | {"residual": residual if np.isfinite(residual) else None})
    names, stored = _axis_names(axes), [str(name) for name in record["axes"]]
    if names == stored[::-1]:
        descan = descan.transposed()
    elif names != stored:
        msg = (
            f"the descan was set for scan axes named {' and '.join(stored)}, and those of this scan are "
            f"{' and '.join(names)}: which is which is unknown. Name them back, or call fit_descan() again."
        )
        raise ValueError(msg)
    descan = descan.scaled(pixels=float(record["k_step"]) / scale_in(signal, str(record["k_units"])))
    descan = _in_units(descan, _scan_units(axes))
    _check_extent(descan, axes)
    return descan


def write_descan(signal: BaseSignal, descan: Descan | None) -> None:
    """Store how the center moves over the scan; None removes it. Unnamed scan axes are named y and x."""
    if descan is None:
        if signal.metadata.has_item(f"{NODE}.descan"):
            del signal.metadata.Medrange.Geometry.descan
        return
    if not isinstance(descan, Descan):
        msg = f"descan is {descan!r}; give a medrange.geometry.Descan, or None. fit_descan(centers=...) takes centers."
        raise TypeError(msg)
    axes = _scan_axes(signal)
    descan = _in_units(descan, _scan_units(axes))
    _check_extent(descan, axes)
    if len(set(filter(None, _axis_names(axes)))) < 2:
        for axis, name in zip(axes, _AXES, strict=True):
            axis.name = name
    kx = signal.axes_manager.signal_axes[0]
    record = descan.record() | {
        "coefficients": np.array(descan.coefficients),
        "extent": np.array(descan.extent),
        "residual": np.nan if descan.residual is None else descan.residual,
        "axes": _axis_names(axes),
        "k_step": float(kx.scale),
        "k_units": standard_units(kx.units) or "",
    }
    signal.metadata.set_item(f"{NODE}.descan", record)


def scan_extent(signal: BaseSignal) -> tuple[tuple[tuple[float, float], tuple[float, float]], str]:
    """Smallest and largest y and x of the probe positions, and their unit."""
    axes = _scan_axes(signal)
    y, x = ((float(axis.axis.min()), float(axis.axis.max())) for axis in axes)
    return (y, x), _scan_units(axes)


def scan_shifts(signal: BaseSignal) -> np.ndarray | None:
    """Shift of every pattern's center from the geometry's, scan shape + (2,) in pixels; None where there is none."""
    descan = stored_descan(signal)
    if descan is None or not np.any(descan.coefficients):
        return None
    y, x = (axis.axis for axis in _scan_axes(signal))
    return descan.shifts(y[:, None], x[None, :])


def stored_rotation(signal: BaseSignal) -> float | None:
    """Angle from the detector's azimuth to the scan's, in radians, or None."""
    rotation = signal.metadata.get_item(f"{NODE}.scan_rotation")
    return None if rotation is None else float(rotation)


def write_rotation(signal: BaseSignal, rotation: float | None) -> None:
    """Store the angle between scan and detector in radians; None removes it."""
    if rotation is None:
        if signal.metadata.has_item(f"{NODE}.scan_rotation"):
            del signal.metadata.Medrange.Geometry.scan_rotation
        return
    if not np.isfinite(rotation):
        msg = f"the scan rotation is {rotation!r}; give a finite angle, for example scan_rotation_deg=-12.5."
        raise ValueError(msg)
    signal.metadata.set_item(f"{NODE}.scan_rotation", float(rotation))


def stored_row_flip(signal: BaseSignal) -> bool | None:
    """Whether the reader turned the detector's rows over, or None where it did not say."""
    flip = signal.metadata.get_item("Medrange.Detector.row_flip")
    return None if flip is None else bool(flip)


def check_row_flip(signal: BaseSignal, geometry: DiffractionGeometry) -> None:
    """Refuse a geometry of patterns that lie the other way up."""
    own = stored_row_flip(signal)
    if own is None or geometry.row_flip is None or own == geometry.row_flip:
        return
    said = {True: "turned the detector's rows over", False: "left the detector's rows as they are"}
    msg = (
        f"the geometry is of patterns whose reader {said[geometry.row_flip]} (row_flip {geometry.row_flip}), and "
        f"these were read by one that {said[own]} (row_flip {own}): center, mask, ellipse and all angles are mirrored. "
        "Load both scans with medrange.load, or calibrate this one by itself."
    )
    raise ValueError(msg)
