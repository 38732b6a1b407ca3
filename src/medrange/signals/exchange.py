"""Patterns from other packages' objects, and back: the array is shared, the calibration translated.

Objects are known by what they have, not by their class, so that none of the packages is needed. pyxem keeps center and
scale in the axes, as medrange does, and mask and affine matrix in ``metadata.General``; quantem's data sets have
``array``, ``sampling``, ``origin`` and ``units``.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from hyperspy.signals import LazySignal2D, Signal2D

from medrange.geometry import DiffractionGeometry
from medrange.signals import calibration
from medrange.signals.descan import NODE
from medrange.units import electron_wavelength, standard_units, unit_factor

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

_NAMES = ("y", "x", "ky", "kx")
_DATASET = ("array", "sampling", "origin", "units")
_TEM = "Acquisition_instrument.TEM"
# pyxem's spelling says that k, not 2 pi k, is meant.
_PYXEM_UNITS = {"1/nm": "k_nm^-1", "1/Å": "k_A^-1"}
_TWO_PI_UNITS = {"q_nm^-1": "1/nm", "q_A^-1": "1/Å"}
_RADIANS = {"rad": 1.0, "2th_rad": 1.0, "mrad": 1e-3, "deg": np.pi / 180, "2th_deg": np.pi / 180}
# What of the geometry another package has no place for, or keeps less exactly.
_KEPT = ("center", "ellipse", "descan", "scan_rotation")
_SAME = 1e-9


def from_signal(source: Any, classes: tuple[type, type]) -> BaseSignal:
    """Patterns of the eager or lazy class; see :meth:`medrange.Nanodiffraction.from_signal`."""
    if hasattr(source, "axes_manager"):
        return _from_hyperspy(source, classes)
    if all(hasattr(source, name) for name in _DATASET):
        return _from_dataset(source, classes)
    msg = (
        f"a {type(source).__name__} has neither HyperSpy's axes_manager nor {', '.join(_DATASET)}. Give a signal of "
        "HyperSpy, pyxem or kikuchipy, or a data set of quantem; for a bare array use medrange.from_array."
    )
    raise TypeError(msg)


def to_pyxem(signal: BaseSignal) -> BaseSignal:
    """Signal of pyxem; see :meth:`medrange.Nanodiffraction.to_pyxem`."""
    if importlib.util.find_spec("pyxem") is None:
        msg = (
            "to_pyxem() needs pyxem, which is not installed: pip install pyxem, or conda install -c conda-forge pyxem."
        )
        raise ImportError(msg)
    made = _twin(signal)
    made.set_signal_type("electron_diffraction")
    if not hasattr(made, "calibration"):
        msg = "the installed pyxem has no signal.calibration; to_pyxem() needs version 0.18 or later."
        raise ImportError(msg)
    write_calibration(made, signal)
    return made


def write_calibration(made: Any, signal: BaseSignal) -> None:
    """Set scale, center, mask, ellipse and microscope through the ``calibration`` of a pyxem signal."""
    own = made.calibration
    ky, kx = calibration.signal_axes(signal)
    own.units = _PYXEM_UNITS.get(standard_units(kx.units), kx.units)
    if np.isclose(ky.scale, kx.scale, rtol=1e-12):
        own.scale = float(kx.scale)
    center = calibration.pixel_center(signal)
    if center is not None:
        own.center = center[::-1]
    mask = calibration.window_mask(signal)
    if mask is not None:
        own.mask = mask.copy()
    ellipse = calibration.stored_ellipse(signal)
    if ellipse is not None:
        own.affine = _affine(ellipse)
    # kV, mrad, and m instead of mm.
    for name, factor in {"beam_energy": 1.0, "convergence_angle": 1.0, "camera_length": 1e-3}.items():
        value = signal.metadata.get_item(f"{_TEM}.{name}")
        if value is not None:
            setattr(own, name, factor * float(value))


def _twin(signal: BaseSignal) -> BaseSignal:
    """Plain signal with the same data, and of medrange's geometry what others have no place for."""
    metadata = signal.metadata.as_dictionary()
    metadata.pop("_HyperSpy", None)
    metadata.setdefault("Signal", {})["signal_type"] = ""
    node = metadata.get("Medrange", {}).pop("Geometry", None)
    if node is not None:
        metadata["Medrange"]["Geometry"] = {name: node[name] for name in _KEPT if name in node}
        center = calibration.pixel_center(signal)
        if center is not None:
            # The mask that goes along is that of the patterns as they are.
            metadata["Medrange"]["Geometry"]["center"] = list(center)
        if node.get("descan") is not None:
            msg = "pyxem has one center for all patterns: its methods know no descan, which is kept for the way back."
            warnings.warn(msg, stacklevel=4)
    made = (LazySignal2D if signal._lazy else Signal2D)(
        signal.data,
        axes=[axis.get_axis_dictionary() for axis in signal.axes_manager._axes],
        metadata=metadata,
        original_metadata=signal.original_metadata.as_dictionary(),
    )
    _share_navigator(made, signal)
    return made


def _from_hyperspy(source: BaseSignal, classes: tuple[type, type]) -> BaseSignal:
    axes = source.axes_manager._axes
    _check_patterns(source.data, [axis.navigate for axis in axes], type(source).__name__)
    metadata = source.metadata.as_dictionary()
    metadata.pop("_HyperSpy", None)
    general = metadata.setdefault("General", {})
    foreign = getattr(source, "calibration", None)
    mask, affine = general.pop("mask", None), general.pop("affine_transformation", None)
    mask = getattr(foreign, "mask", None) if mask is None else mask
    affine = getattr(foreign, "affine", None) if affine is None else affine
    metadata.setdefault("Signal", {})["signal_type"] = classes[0]._signal_type
    is_foreign = foreign is not None or mask is not None or affine is not None
    kept = metadata.get("Medrange", {}).pop("Geometry", {}) if is_foreign else {}
    energy = _microscope(metadata, getattr(foreign, "beam_energy", None))
    records = [
        _named(axis if axis["navigate"] else _k_axis(axis, energy), name)
        for axis, name in zip((axis.get_axis_dictionary() for axis in axes), _names(len(axes)), strict=True)
    ]
    signal = classes[bool(source._lazy)](
        source.data, axes=records, metadata=metadata, original_metadata=source.original_metadata.as_dictionary()
    )
    _share_navigator(signal, source)
    if is_foreign:
        _take_over(signal, kept, mask, affine)
    return signal


def _from_dataset(source: Any, classes: tuple[type, type]) -> BaseSignal:
    """Array with sampling, origin (the coordinate of element 0) and units for every axis."""
    data = source.array
    n_scan = data.ndim - 2
    _check_patterns(data, [index < n_scan for index in range(data.ndim)], type(source).__name__)
    known = zip(data.shape, source.sampling, source.origin, source.units, _names(data.ndim), strict=True)
    axes = []
    for index, (size, scale, offset, units, name) in enumerate(known):
        axis = {"name": name, "size": size, "scale": float(scale), "offset": float(offset), "navigate": index < n_scan}
        axis["units"] = standard_units(units) or ""
        axes.append(axis if index < n_scan else _k_axis(axis, None))
    title = getattr(source, "name", None)
    metadata = {"General": {"title": title if isinstance(title, str) else ""}}
    data = data if isinstance(data, np.ndarray | da.Array) else da.from_array(data)
    return classes[isinstance(data, da.Array)](data, axes=axes, metadata=metadata)


def _check_patterns(data: Any, navigates: Sequence[bool], name: str) -> None:
    n_scan = len(navigates) - 2
    if n_scan < 0 or list(navigates) != [True] * n_scan + [False] * 2:
        msg = (
            f"the {name} has data of shape {tuple(data.shape)} with {sum(navigates)} navigation axes; patterns are the "
            "last two axes of the array and all others the scan: signal.transpose(signal_axes=2)."
        )
        raise ValueError(msg)
    if np.dtype(data.dtype).kind not in "uifb":
        msg = f"the {name} holds {data.dtype}; patterns are of integers or real numbers."
        raise ValueError(msg)


def _names(n_axes: int) -> tuple[str, ...]:
    scan = _NAMES[:2] if n_axes == 4 else ("frame",) if n_axes == 3 else tuple(f"scan_{i}" for i in range(n_axes - 2))
    return (*scan, *_NAMES[2:])


def _named(axis: dict[str, Any], name: str) -> dict[str, Any]:
    given = axis.get("name")
    return axis | {"name": given if isinstance(given, str) and given not in ("", "<undefined>") else name}


def _k_axis(axis: dict[str, Any], energy: float | None) -> dict[str, Any]:
    """Axis of the detector in k = 1/d; pixels if its unit is none."""
    if axis.get("_type", "UniformDataAxis") != "UniformDataAxis":
        msg = (
            f"the axis {axis.get('name')!r} of the patterns is not uniform: pyxem's calibration.detector() bends it "
            "along the Ewald sphere. medrange needs one size for all pixels; make it uniform again with "
            "axis.convert_to_uniform_axis(), then set its scale."
        )
        raise ValueError(msg)
    units = axis.get("units")
    units = units.strip() if isinstance(units, str) else units
    factor, target = 1.0, standard_units(units)
    if units in _TWO_PI_UNITS:
        factor, target = 1 / (2 * np.pi), _TWO_PI_UNITS[units]
    elif units in _RADIANS:
        if energy is None:
            msg = (
                f"the patterns are in {units}, and without the beam energy k is unknown. Set it first: "
                "signal.metadata.set_item('Acquisition_instrument.TEM.beam_energy', 300)  # kV"
            )
            raise ValueError(msg)
        factor, target = _RADIANS[units] / electron_wavelength(energy), "1/Å"
    elif target is not None and not _is_k(target):
        msg = f"the patterns are in {units!r}, which is no unit of k: taken as pixels. Call calibrate(k_step=...)."
        warnings.warn(msg, stacklevel=5)
        target = None
    scale, offset = axis["scale"] * factor, axis["offset"] * factor
    return axis | {"scale": scale, "offset": offset, "units": target or ""}


def _is_k(units: str) -> bool:
    try:
        unit_factor(units, "1/nm")
    except ValueError:
        return False
    return True


def _microscope(metadata: dict[str, Any], energy: float | None) -> float | None:
    """Beam energy in kV; pyxem's camera length, in m, becomes mm in ``metadata``."""
    tem = metadata.get("Acquisition_instrument", {}).get("TEM", {})
    if tem.get("camera_length_units") == "meter":
        tem["camera_length"] = 1e3 * float(tem["camera_length"])
        del tem["camera_length_units"]
    energy = tem.get("beam_energy", energy)
    return None if energy is None else float(energy)


def _take_over(signal: BaseSignal, kept: dict[str, Any], mask: Any, affine: Any) -> None:
    """Geometry of a foreign signal: center from its axes, its mask and affine matrix, and what was kept for it."""
    row, col = (-axis.offset / axis.scale for axis in calibration.signal_axes(signal))
    if "center" in kept or calibration.pixel_center(signal) is not None:
        signal.metadata.set_item(f"{NODE}.center", [row, col])
    ellipse = kept.get("ellipse")
    if affine is not None:
        own = None if ellipse is None else _affine(tuple(ellipse))
        matrix = np.asarray(affine, dtype=float)[:2, :2]
        if own is not None and np.allclose(np.abs(matrix), np.abs(own[:2, :2]), rtol=0, atol=_SAME):
            calibration.write_ellipse(signal, tuple(ellipse))
        else:
            _write_affine(signal, matrix)
    if mask is not None:
        mask = np.asarray(mask.data if hasattr(mask, "axes_manager") else mask)
        calibration.write_mask(signal, mask.astype(bool) if mask.dtype.kind in "uif" else mask)
    if kept.get("scan_rotation") is not None:
        signal.metadata.set_item(f"{NODE}.scan_rotation", float(kept["scan_rotation"]))
    if kept.get("descan") is not None:
        _keep_descan(signal, kept, (row, col))


def _keep_descan(signal: BaseSignal, kept: dict[str, Any], center: tuple[float, float]) -> None:
    if np.allclose(kept.get("center", (np.nan, np.nan)), center, rtol=0, atol=1e-6):
        signal.metadata.set_item(f"{NODE}.descan", kept["descan"])
        return
    msg = "the center was moved since the descan was found, so that the descan is left out; call fit_descan() again."
    warnings.warn(msg, stacklevel=6)


def _affine(ellipse: tuple[float, float]) -> np.ndarray:
    """Matrix (3, 3) with which pyxem's azimuthal integration follows an ellipse.

    It multiplies the (row, column) of its bins' corners by the matrix with the signs of the off-diagonal turned.
    """
    ratio, angle = ellipse
    geometry = DiffractionGeometry((1, 1), (0.0, 0.0), 1.0, "1/nm", (ratio, angle))
    bent = np.linalg.inv(geometry.distortion)[::-1, ::-1]
    matrix = np.eye(3)
    matrix[:2, :2] = bent * np.array([[1, -1], [-1, 1]])
    return matrix


def _write_affine(signal: BaseSignal, matrix: np.ndarray) -> None:
    """Ellipse, and what is left of it the scale, from pyxem's affine matrix."""
    bent = (matrix * np.array([[1, -1], [-1, 1]]))[::-1, ::-1].T
    if not np.linalg.det(bent) > 0:
        msg = f"pyxem's affine matrix {matrix.tolist()} mirrors the patterns or is singular; it must be an ellipse."
        raise ValueError(msg)
    left, stretches, right = np.linalg.svd(bent)
    if not np.allclose(left @ right, np.eye(2), rtol=0, atol=1e-6):
        msg = (
            f"pyxem's affine matrix {matrix.tolist()} turns the patterns besides stretching them, and medrange's "
            "ellipse does not; set calibration.affine to its symmetric part, or None."
        )
        raise ValueError(msg)
    if abs(bent[0, 1]) > _SAME:
        msg = (
            "pyxem changes the sign of its affine matrix's off-diagonal whenever it integrates: the ellipse is read as "
            "before the first integration. Check the angle, or call fit_ellipse()."
        )
        warnings.warn(msg, stacklevel=6)
    # k stays along the axis that is stretched least from 1.
    a = int(np.abs(stretches[1] - 1) <= np.abs(stretches[0] - 1))
    axis = left[:, a]
    for own in calibration.signal_axes(signal):
        own.scale, own.offset = own.scale / stretches[a], own.offset / stretches[a]
    if not np.isclose(stretches[0], stretches[1], rtol=_SAME):
        calibration.write_ellipse(
            signal, (stretches[1 - a] / stretches[a], float(np.arctan2(axis[1], axis[0]) % np.pi))
        )


def _share_navigator(made: BaseSignal, source: BaseSignal) -> None:
    if source._lazy and getattr(source, "navigator", None) is not None:
        made.navigator = source.navigator
