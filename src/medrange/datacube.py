"""At home in py4DSTEM: data cubes to signals and back without a copy, and a cube with medrange's methods.

py4DSTEM's (Rx, Ry, Qx, Qy) are (y, x, ky, kx) here: its x runs along rows. Its ellipse is given by semiaxes a, b and
the angle of a from Qx towards Qy; here by b/a and the angle of a from +kx towards +ky, so theta = pi/2 - angle.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import py4DSTEM
from emdfile import Array, Metadata

from medrange.geometry import DiffractionGeometry
from medrange.signals.calibration import pixel_center
from medrange.signals.loading import from_array, load
from medrange.signals.mro_result import MROResult
from medrange.signals.nanodiffraction import Nanodiffraction
from medrange.units import standard_units, unit_factor

#: Name of the metadata bundle in which a cube carries what its own calibration has no place for.
METADATA = "medrange"
# py4DSTEM knows these units of Q only.
_Q_UNITS = "A^-1"
# A fitted origin that moves by less over the scan stands still.
_STILL = 1e-6


def from_py4dstem(cube: py4DSTEM.DataCube | str | Path, *, lazy: bool = False) -> Nanodiffraction:
    """Scan of a py4DSTEM data cube, with its calibration; the array is shared, not copied.

    Taken over are pixel sizes and units of Q and R, the mean origin, the ellipse, and from a cube that medrange made
    all of its geometry. An origin that was fitted at every position becomes the descan: a plane or a quadratic,
    whichever py4DSTEM's own fit was.

    Parameters
    ----------
    cube : py4DSTEM.DataCube, str or path
        A data cube, or a file with one; results stored with it do not matter.
    lazy : bool
        Make a lazy signal. A cube whose data are not in memory always gives one.

    Returns
    -------
    Nanodiffraction or LazyNanodiffraction
        (y, x | ky, kx).

    Raises
    ------
    TypeError
        If ``cube`` is neither a data cube nor a path.

    Examples
    --------
    >>> import py4DSTEM
    >>> cube = py4DSTEM.DataCube(np.zeros((3, 4, 8, 8), "uint16"))
    >>> from_py4dstem(cube).axes_manager.navigation_shape
    (4, 3)
    """
    if isinstance(cube, (str, Path)):
        return load(cube, lazy=lazy)
    if not isinstance(cube, py4DSTEM.DataCube):
        msg = f"cube is a {type(cube).__name__}; give a py4DSTEM.DataCube, or the path of a file with one."
        raise TypeError(msg)
    signal = from_array(cube.data, lazy=lazy)
    signal.metadata.General.title = cube.name
    _read_calibration(signal, cube)
    return signal


def to_py4dstem(signal: Nanodiffraction, *, name: str = "datacube") -> py4DSTEM.DataCube:
    """Cube with a scan's data and calibration; the array is shared, not copied.

    The descan goes into the origin of every position, (qx0, qy0); the scan-to-detector rotation into ``QR_rotation``.
    The exact geometry, mask included, goes along in the metadata bundle ``medrange``.

    Parameters
    ----------
    signal : Nanodiffraction
        Scan of two dimensions. A lazy one is computed, since py4DSTEM works in memory.
    name : str
        Name of the cube.

    Returns
    -------
    py4DSTEM.DataCube
        (Rx, Ry, Qx, Qy).

    Raises
    ------
    ValueError
        If the scan does not have two dimensions.

    Examples
    --------
    >>> import medrange as mr
    >>> to_py4dstem(mr.load(mr.datasets.sample_scan("empad"))).shape
    (11, 14, 128, 128)
    """
    if signal.data.ndim != 4:
        msg = f"the data have shape {signal.data.shape}; a data cube is (y, x, ky, kx)."
        raise ValueError(msg)
    cube = py4DSTEM.DataCube(signal.data.compute() if signal._lazy else signal.data, name=name)
    _write_calibration(cube, signal)
    return cube


def _read_calibration(signal: Nanodiffraction, cube: py4DSTEM.DataCube) -> None:
    calibration = cube.calibration
    scan_units = standard_units(calibration.get_R_pixel_units())
    if scan_units is not None:
        signal.calibrate(scan_step=float(calibration.get_R_pixel_size()), scan_units=scan_units)
    k_units = standard_units(calibration.get_Q_pixel_units())
    if k_units is not None and k_units.startswith("1/"):
        signal.calibrate(k_step=float(calibration.get_Q_pixel_size()), k_units=k_units)
    text = _kept(cube).get("geometry")
    if text is not None and k_units is not None:
        geometry = DiffractionGeometry.from_json(text)
        if geometry.row_flip is not None:
            # The rows are as the reader of the file left them.
            signal.metadata.set_item("Medrange.Detector.row_flip", geometry.row_flip)
        signal.set_geometry(geometry)
    _read_origin(signal, calibration)
    ellipse = calibration.get_ellipse() if text is None else None
    if ellipse is not None and None not in ellipse:
        a, b, theta = (float(value) for value in ellipse)
        signal.set_ellipse((b / a, float((np.pi / 2 - theta) % np.pi)))


def _read_origin(signal: Nanodiffraction, calibration: Any) -> None:
    """Mean origin, and where it was fitted per position, the descan."""
    origin = calibration.get_origin()
    if origin is None or any(value is None for value in origin):
        origin = calibration.get_origin_mean()
    if any(value is None for value in origin):
        return
    rows, columns = (np.asarray(value, dtype=float) for value in origin)
    if rows.ndim == 0 or max(np.ptp(rows), np.ptp(columns)) < _STILL:
        signal.set_center((float(rows.mean()), float(columns.mean())))
        return
    centers = np.stack([rows, columns], axis=-1)
    if np.abs(signal.fit_descan(1, centers=centers).residual) > _STILL:
        signal.fit_descan(2, centers=centers)


def _write_calibration(cube: py4DSTEM.DataCube, signal: Nanodiffraction) -> None:
    calibration = cube.calibration
    y, x = signal.axes_manager.navigation_axes[::-1]
    scan_units = standard_units(y.units)
    if scan_units is not None:
        if not np.isclose(y.scale, x.scale, rtol=1e-9):
            msg = (
                f"the scan steps are {y.scale:g} (y) and {x.scale:g} (x) {scan_units}; py4DSTEM has one for both axes."
            )
            raise ValueError(msg)
        calibration.set_R_pixel_size(float(y.scale))
        calibration.set_R_pixel_units("A" if scan_units == "Å" else scan_units)
    kept: dict[str, Any] = {"source": str(signal.metadata.get_item("Medrange.Source.file", ""))}
    k_axis = signal.axes_manager.signal_axes[1]
    if standard_units(k_axis.units) is not None:
        calibration.set_Q_pixel_size(float(k_axis.scale * unit_factor(standard_units(k_axis.units), "1/Å")))
        calibration.set_Q_pixel_units(_Q_UNITS)
        if pixel_center(signal) is not None:
            kept["geometry"] = signal.geometry.to_json()
            _write_geometry(calibration, signal)
    cube.metadata = Metadata(METADATA, data=kept)


def _write_geometry(calibration: Any, signal: Nanodiffraction) -> None:
    """Origin, of every position if there is a descan; ellipse; rotation."""
    geometry = signal.geometry
    rows, columns = np.moveaxis(signal.centers, -1, 0)
    calibration.set_origin((rows, columns) if geometry.descan is not None else tuple(map(float, geometry.center)))
    if geometry.ellipse is not None:
        ratio, angle = geometry.ellipse
        calibration.set_ellipse((1.0, float(ratio), float((np.pi / 2 - angle) % np.pi)))
    if geometry.scan_rotation is not None:
        calibration.set_QR_rotation(float(geometry.scan_rotation))


def _kept(cube: py4DSTEM.DataCube) -> dict[str, Any]:
    """What medrange left in a cube."""
    bundle = cube.metadata.get(METADATA)
    return {} if bundle is None else dict(bundle._params)


def _attach(cube: py4DSTEM.DataCube, name: str, result: Any) -> None:
    """Hang a result on the cube's tree: maps, stacks of maps and curves."""
    if isinstance(result, MROResult):
        for part in ("variance", "power", "ring_mean"):
            _attach(cube, f"{name}_{part}", getattr(result, part))
        return
    if not hasattr(result, "axes_manager"):
        return
    axes = result.axes_manager._axes
    node = Array(
        np.asarray(result.data),
        name=name,
        units=str(result.metadata.get_item("Signal.quantity", "")),
        dims=[np.asarray(axis.axis, dtype=float) for axis in axes],
        dim_names=[str(axis.name) for axis in axes],
        dim_units=[standard_units(axis.units) or "" for axis in axes],
    )
    provenance = result.metadata.get_item("Medrange.Provenance")
    if provenance is not None:
        record = {key: str(value) for key, value in provenance.as_dictionary().items()}
        node.metadata = Metadata(METADATA, data=record)
    cube.attach(node)


def _delegated(name: str) -> Callable[..., Any]:
    """Method that does on the cube what the method of the signal does, and keeps the result in its tree."""
    method = getattr(Nanodiffraction, name)

    @functools.wraps(method)
    def on_cube(self: MRODataCube, *arguments: Any, **keywords: Any) -> Any:
        result = method(self.to_nanodiffraction(), *arguments, **keywords)
        _attach(self, name, result)
        return result

    return on_cube


def _calibrating(name: str) -> Callable[..., Any]:
    """Method that calibrates the cube as that of the signal does."""
    method = getattr(Nanodiffraction, name)

    @functools.wraps(method)
    def on_cube(self: MRODataCube, *arguments: Any, **keywords: Any) -> Any:
        signal = self.to_nanodiffraction()
        result = method(signal, *arguments, **keywords)
        _write_calibration(self, signal)
        return result

    return on_cube


class MRODataCube(py4DSTEM.DataCube):
    """py4DSTEM data cube with the methods of :class:`~medrange.Nanodiffraction`.

    The cube's own calibration is used: pixel sizes, origin (per position, if it was fitted), ellipse. Maps and curves
    are returned as signals, and hung on the cube's tree under the method's name, so that ``py4DSTEM.save`` stores them.
    A file holds a plain ``DataCube``, which any py4DSTEM opens; :meth:`from_datacube` makes it one of these again.

    Examples
    --------
    >>> import medrange as mr
    >>> cube = mr.MRODataCube.from_datacube(mr.to_py4dstem(mr.load(mr.datasets.sample_scan("empad"))))
    >>> cube.fit_center()  # doctest: +SKIP
    >>> cube.variance_map(k=4.0, width=0.8).data.shape  # doctest: +SKIP
    (11, 14)
    """

    @classmethod
    def from_datacube(cls, cube: py4DSTEM.DataCube) -> MRODataCube:
        """Same data, calibration and tree, with medrange's methods; nothing is copied."""
        if isinstance(cube, cls):
            return cube
        made = copy.copy(cube)
        made.__class__ = cls
        return made

    def to_nanodiffraction(self) -> Nanodiffraction:
        """Signal with the same data."""
        return from_py4dstem(self)

    def to_h5(self, group: Any) -> Any:
        """Write as a plain ``DataCube``, so that py4DSTEM alone can read it."""
        written = super().to_h5(group)
        written.attrs["python_class"] = "DataCube"
        return written

    calibrate_scan = _calibrating("calibrate")
    fit_center = _calibrating("fit_center")
    fit_descan = _calibrating("fit_descan")
    fit_ellipse = _calibrating("fit_ellipse")
    set_center = _calibrating("set_center")
    set_mask = _calibrating("set_mask")
    set_geometry = _calibrating("set_geometry")

    virtual_dark_field = _delegated("virtual_dark_field")
    annular_dark_field = _delegated("annular_dark_field")
    dark_field_series = _delegated("dark_field_series")
    variance_map = _delegated("variance_map")
    angular_power_map = _delegated("angular_power_map")
    angular_correlation = _delegated("angular_correlation")
    radial_profile = _delegated("radial_profile")
    to_polar = _delegated("to_polar")
    medium_range_order = _delegated("medium_range_order")
    fluctuation_variance = _delegated("fluctuation_variance")
    ring_strain = _delegated("ring_strain")
    quality_report = _delegated("quality_report")

    @property
    def geometry(self) -> DiffractionGeometry:
        """Center, scale, ellipse, mask and descan."""
        return self.to_nanodiffraction().geometry
