"""Calibration of a py4DSTEM data cube, from memory or from a file, put on a signal.

py4DSTEM's (Rx, Ry, Qx, Qy) are (y, x, ky, kx) here: its x runs along rows. Its ellipse is given by semiaxes a, b and
the angle of a from Qx towards Qy; here by b/a and the angle of a from +kx towards +ky, so theta = pi/2 - angle. Its QR
rotation turns directions of the detector into those of the scan from its x towards its y, the other way round than the
scan rotation here, and so is the negative of it.

Where py4DSTEM's own values say the same as the geometry that medrange left beside them, that geometry is taken, exact
to the last bit; where they were changed since, they count.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from medrange.geometry import DiffractionGeometry
from medrange.signals import calibration
from medrange.signals.descan import (
    check_row_flip,
    scan_shifts,
    stored_descan,
    stored_rotation,
    stored_row_flip,
    write_descan,
    write_rotation,
)
from medrange.units import standard_units, unit_factor

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

_TEM = "Acquisition_instrument.TEM"
_MICROSCOPE = ("beam_energy", "convergence_angle", "camera_length")
# A fitted origin that moves by less over the scan stands still, in pixels.
_STILL = 1e-6
_SAME = 1e-12


def kept_beside(signal: BaseSignal) -> dict[str, Any]:
    """What py4DSTEM's calibration has no place for, as values that its files can hold."""
    axes = signal.axes_manager.navigation_axes[::-1]
    kept: dict[str, Any] = {
        "source": str(signal.metadata.get_item("Medrange.Source.file", "")),
        "scan_offset": json.dumps([float(axis.offset) for axis in axes]),
        "scan_names": json.dumps([axis.name if isinstance(axis.name, str) else "" for axis in axes]),
        "center_known": calibration.pixel_center(signal) is not None,
        "geometry": _geometry(signal).to_json(),
    }
    for name in _MICROSCOPE:
        value = signal.metadata.get_item(f"{_TEM}.{name}")
        if value is not None:
            kept[name] = float(value)
    return kept


def _geometry(signal: BaseSignal) -> DiffractionGeometry:
    """Geometry of a signal whose k axes may be pixels and whose center may be unknown."""
    ky, kx = calibration.signal_axes(signal)
    return DiffractionGeometry(
        shape=(ky.size, kx.size),
        center=calibration.pixel_center(signal) or (0.0, 0.0),
        k_step=float(kx.scale),
        k_units=standard_units(kx.units) or "",
        ellipse=calibration.stored_ellipse(signal),
        mask=calibration.window_mask(signal),
        descan=stored_descan(signal),
        scan_rotation=stored_rotation(signal),
        row_flip=stored_row_flip(signal),
    )


def take_calibration(signal: BaseSignal, values: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    """Put a cube's calibration on the signal of its data, in place.

    Parameters
    ----------
    signal : Nanodiffraction
    values : mapping
        Entries of py4DSTEM's calibration by its names: ``Q_pixel_size``, ``qx0``, ``a``, ...
    kept : mapping
        What :func:`kept_beside` gave, or nothing.
    """
    for name in _MICROSCOPE:
        if kept.get(name) is not None:
            signal.metadata.set_item(f"{_TEM}.{name}", float(kept[name]))
    _take_scan(signal, values, kept)
    geometry = _kept_geometry(signal, kept)
    _take_scale(signal, values, geometry)
    if geometry is not None:
        calibration.write_mask(signal, geometry.mask)
    _take_origin(signal, values, geometry, known=bool(kept.get("center_known", True)))
    _take_ellipse(signal, values, geometry)
    _take_rotation(signal, values, geometry)


def _take_scan(signal: BaseSignal, values: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    units, step = standard_units(values.get("R_pixel_units")), values.get("R_pixel_size")
    if units is not None and step is not None:
        signal.calibrate(scan_step=float(step), scan_units=units)
    axes = signal.axes_manager.navigation_axes[::-1]
    offsets, names = (json.loads(kept.get(name, "[]")) for name in ("scan_offset", "scan_names"))
    if len(offsets) == len(names) == len(axes):
        for axis, offset, name in zip(axes, offsets, names, strict=True):
            axis.offset, axis.name = offset, name or axis.name


def _kept_geometry(signal: BaseSignal, kept: Mapping[str, Any]) -> DiffractionGeometry | None:
    if not kept.get("geometry"):
        return None
    geometry = DiffractionGeometry.from_json(kept["geometry"])
    shape = tuple(axis.size for axis in calibration.signal_axes(signal))
    if tuple(geometry.shape) != shape:
        msg = (
            f"the cube was cropped or binned in py4DSTEM to {shape[0]} x {shape[1]} px since medrange made it for "
            f"{geometry.shape[0]} x {geometry.shape[1]} px: its mask and descan are left out; set them again."
        )
        warnings.warn(msg, stacklevel=5)
        return None
    check_row_flip(signal, geometry)
    if geometry.row_flip is not None:
        # The rows are as the reader of the file left them.
        signal.metadata.set_item("Medrange.Detector.row_flip", geometry.row_flip)
    return geometry


def _take_scale(signal: BaseSignal, values: Mapping[str, Any], geometry: DiffractionGeometry | None) -> None:
    units, step = standard_units(values.get("Q_pixel_units")), values.get("Q_pixel_size")
    if units is None or step is None or not units.startswith("1/"):
        if geometry is not None and not geometry.k_units:
            for axis in calibration.signal_axes(signal):
                axis.scale = geometry.k_step
        return
    step = float(step)
    if geometry is not None and geometry.k_units:
        own = step * unit_factor(units, geometry.k_units)
        # The user's unit is kept, and its exact value unless it was changed.
        step, units = geometry.k_step if np.isclose(own, geometry.k_step, rtol=_SAME) else own, geometry.k_units
    calibration.write_k_scale(signal, step, units)


def _origin(values: Mapping[str, Any], shape: tuple[int, ...]) -> np.ndarray | None:
    """Row and column of the origin: (2,), or scan shape + (2,) if it was fitted at every position; None if unknown."""
    pair = [values.get(name) for name in ("qx0", "qy0")]
    mean = [values.get(f"{name}_mean") for name in ("qx0", "qy0")]
    if any(value is None for value in pair) or np.shape(pair[0]) not in ((), shape):
        pair = [float(np.nanmean(v)) if m is None and v is not None else m for v, m in zip(pair, mean, strict=True)]
    if any(value is None for value in pair):
        return None
    origin = np.stack([np.asarray(value, dtype=float) for value in pair], axis=-1)
    if not np.isfinite(origin).any():
        return None
    spread = np.nanmax(origin, axis=tuple(range(origin.ndim - 1))) - np.nanmin(
        origin, axis=tuple(range(origin.ndim - 1))
    )
    return origin if spread.max() > _STILL else np.nanmean(origin.reshape(-1, 2), axis=0)


def _take_origin(
    signal: BaseSignal, values: Mapping[str, Any], geometry: DiffractionGeometry | None, *, known: bool
) -> None:
    origin = _origin(values, signal.data.shape[:-2])
    descan = None if geometry is None else geometry.descan
    if origin is None:
        if geometry is not None and known:
            calibration.write_center(signal, geometry.center)
        return
    if geometry is not None:
        calibration.write_center(signal, geometry.center)
        if descan is not None and origin.ndim == 3:
            write_descan(signal, descan)
        if np.abs(_centers(signal) - origin).max() < _STILL:
            return
        write_descan(signal, None)
    if origin.ndim == 1:
        calibration.write_center(signal, (float(origin[0]), float(origin[1])))
    elif np.abs(signal.fit_descan(1, centers=origin).residual) > _STILL:
        signal.fit_descan(2, centers=origin)


def _centers(signal: BaseSignal) -> np.ndarray:
    shifts = scan_shifts(signal)
    center = np.array(calibration.pixel_center(signal))
    return center if shifts is None else center + shifts


def _take_ellipse(signal: BaseSignal, values: Mapping[str, Any], geometry: DiffractionGeometry | None) -> None:
    own = None if geometry is None else geometry.ellipse
    ellipse = [values.get(name) for name in ("a", "b", "theta")]
    if any(value is None or np.ndim(value) for value in ellipse):
        calibration.write_ellipse(signal, own)
        return
    a, b, theta = (float(value) for value in ellipse)
    read = (b / a, float((np.pi / 2 - theta) % np.pi))
    if own is not None and np.allclose(own, read, rtol=0, atol=_SAME):
        read = own
    calibration.write_ellipse(signal, read)


def _take_rotation(signal: BaseSignal, values: Mapping[str, Any], geometry: DiffractionGeometry | None) -> None:
    own = None if geometry is None else geometry.scan_rotation
    rotation = values.get("QR_rotation")
    if rotation is None:
        write_rotation(signal, own)
        return
    if values.get("QR_flip"):
        msg = (
            "py4DSTEM's calibration has QR_flip: its scan is mirrored against the patterns, which no rotation undoes, "
            "so that the scan rotation is left out. Flip the patterns first."
        )
        warnings.warn(msg, stacklevel=5)
        return
    same = own is not None and np.isclose(-float(rotation), own, rtol=0, atol=_SAME)
    write_rotation(signal, own if same else -float(rotation))
