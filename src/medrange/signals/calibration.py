"""Where the geometry of the patterns lives: in the axes of the signal and in ``metadata.Medrange.Geometry``.

The k axes hold the scale, the unit and (as their offset) the center, so slicing and unit conversion keep
them right without help. What axes cannot hold - mask, ellipse, and which part of the detector the mask
belongs to, and what :mod:`medrange.signals.descan` keeps - is metadata. :func:`geometry_of` reads both and makes
one value of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medrange.geometry import DiffractionGeometry
from medrange.signals.descan import (
    NODE,
    check_row_flip,
    scale_in,
    stored_descan,
    stored_rotation,
    stored_row_flip,
    write_descan,
    write_rotation,
)
from medrange.units import standard_units, unit_factor

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

_CALIBRATE = 's.calibrate(scan_step=0.32, scan_units="nm", k_step=0.16, k_units="1/nm", beam_energy=300)'


def signal_axes(signal: BaseSignal) -> tuple:
    """Axes of the detector rows (ky) and columns (kx)."""
    kx, ky = signal.axes_manager.signal_axes
    return ky, kx


def _is_centered(signal: BaseSignal) -> bool:
    """Whether the center is known: fitted or set here, or carried by the axes of a foreign signal."""
    if signal.metadata.has_item(f"{NODE}.center"):
        return True
    return all(axis.offset < 0 < axis.offset + (axis.size - 1) * axis.scale for axis in signal_axes(signal))


def pixel_center(signal: BaseSignal) -> tuple[float, float] | None:
    """Row and column of k = 0 in pixels of the signal as it is, or None when it is not known."""
    if not _is_centered(signal):
        return None
    row, col = (-axis.offset / axis.scale for axis in signal_axes(signal))
    return row, col


def _window_start(signal: BaseSignal) -> tuple[float, float]:
    """Detector pixel at which the (perhaps cropped) signal begins."""
    center = signal.metadata.get_item(f"{NODE}.center", (0.0, 0.0))
    row, col = (axis.offset / axis.scale for axis in signal_axes(signal))
    return row + center[0], col + center[1]


def window_mask(signal: BaseSignal) -> np.ndarray | None:
    """Return the part of the stored detector mask that belongs to the signal as it is."""
    mask = signal.metadata.get_item(f"{NODE}.mask")
    if mask is None:
        return None
    mask = np.asarray(mask, dtype=bool)
    start = np.array(_window_start(signal))
    first = np.rint(start).astype(int)
    sizes = [axis.size for axis in signal_axes(signal)]
    stored = float(signal.metadata.get_item(f"{NODE}.mask_k_step"))
    scale = scale_in(signal, signal.metadata.get_item(f"{NODE}.mask_k_units"))
    fits = np.abs(start - first).max() < 1e-3 and (first >= 0).all() and (first + sizes <= mask.shape).all()
    if not fits or not np.isclose(scale, stored, rtol=1e-6):
        msg = (
            f"the mask was set for a detector of {mask.shape[0]} x {mask.shape[1]} px and does not fit the signal "
            f"of {sizes[0]} x {sizes[1]} px (binned, shifted or padded since); call set_mask again."
        )
        raise ValueError(msg)
    return mask[first[0] : first[0] + sizes[0], first[1] : first[1] + sizes[1]]


def k_scale(signal: BaseSignal) -> tuple[float, str]:
    """Size of a detector pixel in k and its unit; refused while the axes are in pixels or not square."""
    ky, kx = signal_axes(signal)
    units = standard_units(kx.units)
    if units is None or standard_units(ky.units) is None:
        msg = f"the detector axes are in pixels, so k is unknown. Calibrate first, for example\n    {_CALIBRATE}"
        raise ValueError(msg)
    if not np.isclose(kx.scale, ky.scale, rtol=1e-6) or standard_units(ky.units) != units:
        msg = (
            f"the detector axes differ: {kx.scale:g} {units} per column, {ky.scale:g} "
            f"{standard_units(ky.units)} per row; square pixels are needed. Calibrate with one k_step:\n"
            f"    {_CALIBRATE}"
        )
        raise ValueError(msg)
    return kx.scale, units


def stored_ellipse(signal: BaseSignal) -> tuple[float, float] | None:
    """Axis ratio and angle of the elliptical distortion, or None."""
    ellipse = signal.metadata.get_item(f"{NODE}.ellipse")
    return None if ellipse is None else (float(ellipse[0]), float(ellipse[1]))


def geometry_of(signal: BaseSignal) -> DiffractionGeometry:
    """Geometry of the patterns of a signal, from its axes and metadata.

    Raises
    ------
    ValueError
        If the k axes are not calibrated, differ in scale, or the center is unknown; the message shows
        the call to make.
    """
    scale, units = k_scale(signal)
    center = pixel_center(signal)
    if center is None:
        msg = "the center of the patterns is unknown. Call s.fit_center(), or s.set_center((row, col)) in pixels."
        raise ValueError(msg)
    return DiffractionGeometry(
        shape=(signal_axes(signal)[0].size, signal_axes(signal)[1].size),
        center=center,
        k_step=scale,
        k_units=units,
        ellipse=stored_ellipse(signal),
        mask=window_mask(signal),
        descan=stored_descan(signal),
        scan_rotation=stored_rotation(signal),
        row_flip=stored_row_flip(signal),
    )


def write_center(signal: BaseSignal, center: tuple[float, float]) -> None:
    """Put k = 0 at ``center`` (row, col), in pixels of the signal as it is."""
    row, col = (float(value) for value in center)
    if not np.isfinite([row, col]).all():
        msg = f"center is {center!r}; give the row and column of the direct beam in pixels."
        raise ValueError(msg)
    start = _window_start(signal)
    for axis, value in zip(signal_axes(signal), (row, col), strict=True):
        axis.offset = -value * axis.scale
    signal.metadata.set_item(f"{NODE}.center", [row + start[0], col + start[1]])


def write_ellipse(signal: BaseSignal, ellipse: tuple[float, float] | None) -> None:
    """Store the elliptical distortion, axis ratio b/a and angle of a in radians; None removes it."""
    if ellipse is None:
        if signal.metadata.has_item(f"{NODE}.ellipse"):
            del signal.metadata.Medrange.Geometry.ellipse
        return
    ratio, angle = (float(value) for value in ellipse)
    if not (0.5 < ratio < 2 and np.isfinite(angle)):
        msg = (
            f"the ellipse is {ellipse!r}; give the axis ratio b/a, between 0.5 and 2, and the angle of the axis a in "
            "radians from +kx towards +ky, or None."
        )
        raise ValueError(msg)
    signal.metadata.set_item(f"{NODE}.ellipse", [ratio, angle])


def write_geometry(signal: BaseSignal, geometry: DiffractionGeometry) -> None:
    """Put all of a geometry on a signal of the same detector."""
    shape = tuple(axis.size for axis in signal_axes(signal))
    if tuple(geometry.shape) != shape:
        msg = (
            f"the geometry is of a detector of {geometry.shape[0]} x {geometry.shape[1]} px, the patterns have "
            f"{shape[0]} x {shape[1]}; use one of the same detector, binned and cropped alike."
        )
        raise ValueError(msg)
    check_row_flip(signal, geometry)
    # A mask left over from before would be read as the frame of the new center.
    write_mask(signal, None)
    write_descan(signal, None)
    write_k_scale(signal, geometry.k_step, geometry.k_units)
    write_center(signal, geometry.center)
    write_ellipse(signal, geometry.ellipse)
    write_mask(signal, geometry.mask)
    write_descan(signal, geometry.descan)
    write_rotation(signal, geometry.scan_rotation)


def write_k_scale(signal: BaseSignal, k_step: float, k_units: str) -> None:
    """Calibrate the k axes, keeping the center, and the mask, where they are."""
    if not (np.isfinite(k_step) and k_step > 0):
        msg = f"k_step is {k_step!r}; the size of a detector pixel must be positive, for example 0.16 (1/nm)."
        raise ValueError(msg)
    units = standard_units(k_units)
    if units not in ("1/nm", "1/Å"):
        msg = f"k_units is {k_units!r}; use '1/nm' or '1/Å' (k = 1/d, without 2 pi)."
        raise ValueError(msg)
    # Pixels stay pixels: the descan's belong to the new scale from here on.
    descan = stored_descan(signal)
    for axis in signal_axes(signal):
        axis.offset *= k_step / axis.scale
        axis.scale = k_step
        axis.units = units
    if descan is not None:
        write_descan(signal, descan)
    if signal.metadata.has_item(f"{NODE}.mask"):
        _write_mask_scale(signal)


def write_mask(signal: BaseSignal, mask: np.ndarray | None) -> None:
    """Store a detector mask, True = excluded; None removes it."""
    if mask is None:
        if signal.metadata.has_item(f"{NODE}.mask"):
            del signal.metadata.Medrange.Geometry.mask
        return
    mask = np.asarray(mask)
    shape = tuple(axis.size for axis in signal_axes(signal))
    if mask.shape != shape or mask.dtype != bool:
        msg = (
            f"the mask is {mask.dtype} of shape {mask.shape}; a boolean mask of shape {shape} is needed, "
            "True = excluded."
        )
        raise ValueError(msg)
    if mask.all():
        msg = "the mask excludes every pixel; True means excluded - was ~mask meant?"
        raise ValueError(msg)
    center = pixel_center(signal)
    if center is not None:
        # From here on the detector is the frame the mask was drawn in.
        signal.metadata.set_item(f"{NODE}.center", list(center))
    signal.metadata.set_item(f"{NODE}.mask", mask.copy())
    _write_mask_scale(signal)


def _write_mask_scale(signal: BaseSignal) -> None:
    """Record the pixel size the mask belongs to; a binned signal is known by it."""
    axis = signal_axes(signal)[0]
    signal.metadata.set_item(f"{NODE}.mask_k_step", float(axis.scale))
    signal.metadata.set_item(f"{NODE}.mask_k_units", standard_units(axis.units) or "")


def write_scan_scale(signal: BaseSignal, scan_step: float | tuple[float, float] | None, scan_units: str) -> None:
    """Calibrate the navigation axes: one step for all, or one per axis in array order (y, x)."""
    if scan_step is None:
        return
    axes = signal.axes_manager.navigation_axes[::-1]
    steps = np.broadcast_to(np.asarray(scan_step, dtype=float), (len(axes),))
    if not (np.isfinite(steps) & (steps > 0)).all():
        msg = f"scan_step is {scan_step!r}; the distance of probe positions must be positive, for example 0.32 (nm)."
        raise ValueError(msg)
    units = standard_units(scan_units)
    if units is None:
        msg = f"scan_units is {scan_units!r}; use a unit of length such as 'nm' or 'Å'."
        raise ValueError(msg)
    unit_factor(units, "nm")
    descan = stored_descan(signal)
    factors = tuple(step / axis.scale for axis, step in zip(axes, steps, strict=True))
    for axis, step, factor in zip(axes, steps, factors, strict=True):
        axis.offset *= factor
        axis.scale = float(step)
        axis.units = units
    if descan is not None:
        write_descan(signal, descan.scaled(scan=factors, units=units))


def write_beam(signal: BaseSignal, beam_energy: float | None, convergence_angle: float | None) -> None:
    """Record the beam energy (kV) and the convergence half-angle (mrad) where HyperSpy keeps them."""
    for name, value, example in (
        ("beam_energy", beam_energy, "300 (kV)"),
        ("convergence_angle", convergence_angle, "1.15 (mrad)"),
    ):
        if value is None:
            continue
        if not value > 0:
            msg = f"{name} is {value!r}; it must be positive, for example {example}."
            raise ValueError(msg)
        signal.metadata.set_item(f"Acquisition_instrument.TEM.{name}", float(value))


def detector_gain(signal: BaseSignal, shot_noise: str | None, gain: float | None) -> float | None:
    """Gain to correct shot noise with, in data units per detected electron; None for no correction.

    Raises
    ------
    ValueError
        If a correction is asked for on floating data without a gain: it cannot be guessed.
    """
    if shot_noise not in (None, "poisson"):
        msg = f"shot_noise is {shot_noise!r}; use 'poisson' to subtract the expected counting noise, or None."
        raise ValueError(msg)
    if shot_noise is None:
        if gain is not None:
            msg = "gain is only used with shot_noise='poisson'; pass both, or neither."
            raise ValueError(msg)
        return None
    if gain is None and signal.data.dtype.kind in "iu":
        return 1.0
    if gain is None or not (np.isfinite(gain) and gain > 0):
        msg = (
            f"shot_noise='poisson' needs the detector's gain, in data units per detected electron, and it is {gain!r}. "
            "Integer data are taken as counts (gain 1); for others, as of an EMPAD, it cannot be guessed: measure it "
            "from the mean and variance of flat patterns, or take it from the detector's calibration."
        )
        raise ValueError(msg)
    return float(gain)
