"""At home in py4DSTEM: data cubes to signals and back without a copy, and a cube with medrange's methods.

py4DSTEM's (Rx, Ry, Qx, Qy) are (y, x, ky, kx) here: its x runs along rows. What its calibration means in medrange is
said in :mod:`medrange.signals.cube_calibration`. Rows of patterns are never turned over on the way: medrange's reader
of Merlin files turns them (as HyperSpy's does) and py4DSTEM's does not, so the same file lies mirrored in the two, and
a cube that medrange made says in its bundle which it holds.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import emdfile
import numpy as np
import py4DSTEM
from emdfile import Array, Metadata
from tqdm import tqdm

from medrange.geometry import DiffractionGeometry
from medrange.io.emd import BUNDLE, write_cube
from medrange.signals.calibration import pixel_center
from medrange.signals.cube_calibration import kept_beside, take_calibration
from medrange.signals.descan import scan_shifts
from medrange.signals.fluctuation import FluctuationVariance
from medrange.signals.loading import from_array, load
from medrange.signals.mapping import shows_progress
from medrange.signals.mro_result import MROResult
from medrange.signals.nanodiffraction import Nanodiffraction
from medrange.signals.profiles import RadialProfile
from medrange.signals.reduced_pdf import ReducedPDF
from medrange.signals.strain import RingStrain
from medrange.signals.structure_factor import StructureFactor
from medrange.units import standard_units, unit_factor

# py4DSTEM knows these units of Q only.
_Q_UNITS = "A^-1"
_BAR_DELAY = 2.0


def from_py4dstem(cube: py4DSTEM.DataCube | str | Path, *, lazy: bool = False) -> Nanodiffraction:
    """Scan of a py4DSTEM data cube, with its calibration; the array is shared, not copied.

    Taken over are pixel sizes and units of Q and R, the mean origin, the ellipse, the QR rotation, and from a cube that
    medrange made all of its geometry; where py4DSTEM's values were changed since, they count. An origin that was fitted
    at every position becomes the descan: a plane or a quadratic, whichever py4DSTEM's own fit was.

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
    take_calibration(signal, cube.calibration._params, _kept(cube))
    return signal


def to_py4dstem(signal: Nanodiffraction, *, name: str = "datacube") -> py4DSTEM.DataCube:
    """Cube with a scan's data and calibration; the array is shared, not copied.

    The descan goes into the origin of every position, (qx0, qy0); the scan rotation, with the sign that py4DSTEM's axes
    give it, into ``QR_rotation``. The exact geometry, mask included, goes along in the metadata bundle ``medrange``.

    Parameters
    ----------
    signal : Nanodiffraction
        Scan of two dimensions. A lazy one is computed, since py4DSTEM works in memory; :func:`save_py4dstem` writes
        one that is too large for that.
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
    _check_scan(signal)
    cube = py4DSTEM.DataCube(signal.data.compute() if signal._lazy else signal.data, name=name)
    _write_calibration(cube, signal)
    return cube


def save_py4dstem(
    signal: Nanodiffraction, path: str | Path, *, name: str = "datacube", overwrite: bool = False
) -> Path:
    """Write a scan, also one larger than memory, as a data cube that ``py4DSTEM.read`` opens (EMD 1.0).

    A lazy signal is computed and written one block at a time. :func:`medrange.load` reads the file, lazily too, with
    all of the calibration, which is written as :func:`to_py4dstem` does. An interrupted file has the ending
    ``.partial``.

    Parameters
    ----------
    signal : Nanodiffraction
        Scan of two dimensions.
    path : str or path
        File to write, ``"cube.h5"``.
    name : str
        Name of the cube.
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ValueError
        If the scan does not have two dimensions.
    FileExistsError
        If the file is there, and is not to be replaced.

    Examples
    --------
    >>> import medrange as mr, tempfile
    >>> scan = mr.load(mr.datasets.sample_scan("empad"), lazy=True)
    >>> mr.load(save_py4dstem(scan, tempfile.mkdtemp() + "/cube.h5"), lazy=True)
    <LazyNanodiffraction, title: cube, dimensions: (14, 11|128, 128)>
    """
    _check_scan(signal)
    path = Path(path)
    if path.exists() and not overwrite:
        msg = f"there is a file {path}; pass overwrite=True to replace it."
        raise FileExistsError(msg)
    cube = _Streamed(np.broadcast_to(np.zeros((), signal.data.dtype), signal.data.shape), name=name)
    cube.source = signal.data
    _write_calibration(cube, signal)
    partial = path.with_name(f"{path.name}.partial")
    emdfile.save(str(partial), cube, mode="o")
    partial.replace(path)
    return path


class _Streamed(py4DSTEM.DataCube):
    """Cube whose array is written block by block; in memory it has only its shape."""

    def to_h5(self, group: Any) -> Any:
        """Write as a plain ``DataCube``."""
        written = emdfile.Node.to_h5(self, group)
        written.attrs["python_class"] = "DataCube"
        axes = list(zip(self.dims, self.dim_names, self.dim_units, strict=True))
        total = self.source.shape[0] * self.source.shape[1]
        with tqdm(total=total, desc="saving", unit="pattern", delay=_BAR_DELAY, disable=not shows_progress()) as bar:
            write_cube(written, self.source, axes, units=self.units, report=bar.update)
        return written


def _check_scan(signal: Nanodiffraction) -> None:
    if signal.data.ndim != 4:
        msg = f"the data have shape {signal.data.shape}; a data cube is (y, x, ky, kx)."
        raise ValueError(msg)


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
    k_axis = signal.axes_manager.signal_axes[1]
    if standard_units(k_axis.units) is not None:
        calibration.set_Q_pixel_size(float(k_axis.scale * unit_factor(standard_units(k_axis.units), "1/Å")))
        calibration.set_Q_pixel_units(_Q_UNITS)
    kept = kept_beside(signal)
    if pixel_center(signal) is not None:
        _write_geometry(calibration, DiffractionGeometry.from_json(kept["geometry"]), signal)
    cube.metadata = Metadata(BUNDLE, data=kept)


def _write_geometry(calibration: Any, geometry: DiffractionGeometry, signal: Nanodiffraction) -> None:
    """Origin, of every position if there is a descan; ellipse; rotation."""
    shifts = scan_shifts(signal)
    origin = geometry.center if shifts is None else np.moveaxis(geometry.center + shifts, -1, 0)
    calibration.set_origin(tuple(origin) if shifts is not None else tuple(map(float, origin)))
    if geometry.ellipse is not None:
        ratio, angle = geometry.ellipse
        calibration.set_ellipse((1.0, float(ratio), float((np.pi / 2 - angle) % np.pi)))
    if geometry.scan_rotation is not None:
        # py4DSTEM turns from its x, along rows, towards its y: the other way round.
        calibration.set_QR_rotation(-float(geometry.scan_rotation))


def _kept(cube: py4DSTEM.DataCube) -> dict[str, Any]:
    """What medrange left in a cube."""
    bundle = cube.metadata.get(BUNDLE)
    return {} if bundle is None else dict(bundle._params)


def _attach(cube: py4DSTEM.DataCube, name: str, result: Any) -> None:
    """Hang a result on the cube's tree: maps, stacks of maps and curves."""
    if isinstance(result, MROResult | RingStrain):
        parts = {part: getattr(result, part) for part in ("variance", "power", "ring_mean") if hasattr(result, part)}
        for part, signal in (parts or result.signals).items():
            _attach(cube, f"{name}_{part}", signal)
        return
    if isinstance(result, FluctuationVariance):
        _attach_curves(cube, name, result)
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
        node.metadata = Metadata(BUNDLE, data=record)
    cube.attach(node)


def _attach_curves(cube: py4DSTEM.DataCube, name: str, result: FluctuationVariance) -> None:
    """V(k) raw, its noise, corrected and its error, (4, n_k)."""
    names = ("raw", "noise", "corrected", "error")
    node = Array(
        np.stack([getattr(result, part) for part in names]),
        name=name,
        dims=[np.arange(4), np.asarray(result.k, dtype=float)],
        dim_names=[", ".join(names), "k"],
        dim_units=["", result.k_units],
    )
    node.metadata = Metadata(BUNDLE, data={"method": result.method, "gain": str(result.gain)})
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
    fit_k_scale = _calibrating("fit_k_scale")
    set_center = _calibrating("set_center")
    set_descan = _calibrating("set_descan")
    set_ellipse = _calibrating("set_ellipse")
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
    find_bad_pixels = _delegated("find_bad_pixels")
    plan = _delegated("plan")
    get_integrated_intensity = _delegated("get_integrated_intensity")

    def structure_factor(self, composition: Any, **options: Any) -> StructureFactor:
        """``radial_profile().structure_factor(composition, **options)``, S(k) at every position, kept in the tree.

        See :meth:`medrange.RadialProfile.structure_factor`.
        """
        profile: RadialProfile = self.to_nanodiffraction().radial_profile()
        result = profile.structure_factor(composition, **options)
        _attach(self, "structure_factor", result)
        return result

    def reduced_pdf(self, composition: Any, **options: Any) -> ReducedPDF:
        """Reduced pair distribution function G(r) at every position, r in angstrom, kept in the tree with its S(k).

        Parameters
        ----------
        composition : str, dict or ase.Atoms
            Atomic composition, ``"Zr55Co25Al20"``.
        **options
            Arguments of :meth:`medrange.RadialProfile.structure_factor` (``k_range``, ``polynomial_degree``, ...)
            and of :meth:`medrange.StructureFactor.reduced_pdf` (``r_max``, ``r_step``, ``window``, ...).
        """
        names = inspect.signature(StructureFactor.reduced_pdf).parameters
        transform = {name: options.pop(name) for name in names if name in options}
        result = self.structure_factor(composition, **options).reduced_pdf(**transform)
        _attach(self, "reduced_pdf", result)
        return result

    @property
    def centers(self) -> np.ndarray:
        """Row and column of the center at every position, scan shape + (2,), in pixels."""
        return self.to_nanodiffraction().centers

    @property
    def geometry(self) -> DiffractionGeometry:
        """Center, scale, ellipse, mask and descan."""
        return self.to_nanodiffraction().geometry
