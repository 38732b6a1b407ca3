"""HDF5 files: py4DSTEM's EMD data cubes, read and written, and plain files with one scan in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np

from medrange.io.arrays import check_array, lay_out
from medrange.io.frames import ArrayFrames, ReadOptions, load_frames, open_hdf5
from medrange.io.navigator import with_stored_navigator
from medrange.io.records import Calibration, Origin, record
from medrange.units import standard_units

#: Name of the metadata bundle in which a cube carries what py4DSTEM's calibration has no place for.
BUNDLE = "medrange"
#: Format of a data cube, in ``metadata.Medrange.Source``.
CUBE = "py4DSTEM EMD"
_BLOCK_BYTES = 64 * 2**20


def read_hdf5(path: Path, options: ReadOptions) -> tuple[dict[str, Any], list[str]]:
    """Read the data cube of a py4DSTEM file, or the only scan of any other HDF5 file.

    In a py4DSTEM file the cube is found among the results stored with it; pixel sizes, units and the mean
    origin come from its calibration, all of which is in ``original_metadata``, with what medrange left there.
    (Rx, Ry, Qx, Qy) are (y, x, ky, kx).

    Parameters
    ----------
    path : pathlib.Path
    options : ReadOptions
        ``dataset`` is the path of the array in the file, for a file that holds several.

    Returns
    -------
    dictionary : dict
        As :func:`medrange.io.read`.
    notes : list of str

    Raises
    ------
    ValueError
        If there is not exactly one scan; lists the data sets.
    """
    with open_hdf5(path) as file:
        cubes = find_cubes(file)
        name = _choose(path, file, cubes, options.dataset)
        array = file[name]
        check_array(path, array.shape, array.dtype, f"data set {name!r}")
        stored_lines = array.chunks[0] if array.chunks and array.ndim == 4 else 1
        source = ArrayFrames(str(path), name, "hdf5", array.shape, array.dtype.str, stored_lines)
        values = _calibration_values(file, name) if name in cubes else {}
        original = {"dataset": name, "attributes": {**_attributes(file), **_attributes(array)}}
        if values:
            original["calibration"] = values
        kept = f"{name.rpartition('/')[0]}/metadatabundle/{BUNDLE}"
        if name in cubes and kept in file:
            original[BUNDLE] = _entries(file[kept])
    scan = source.shape[:-2]
    layout, shape_from, notes = lay_out(path, scan, source.count()[0], options)
    data = load_frames(source, layout, options)
    kind = CUBE if name in cubes else "HDF5"
    origin = Origin(path, kind, source.count()[0], shape_from)
    dictionary = record(data, layout, _calibration(values), origin, original)
    return with_stored_navigator(dictionary, source, options), notes


def find_cubes(file: h5py.File) -> list[str]:
    """Paths of the data of all py4DSTEM data cubes (EMD 1.0, and the older 4DSTEM_experiment layout)."""
    found = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(item, h5py.Group) or "data" not in item:
            return
        data = item["data"]
        is_emd = "emd_group_type" in item.attrs or _text(item.attrs.get("python_class")) == "DataCube"
        if is_emd and isinstance(data, h5py.Dataset) and data.ndim == 4:
            found.append(f"{name}/data")

    file.visititems(visit)
    return found


def list_arrays(file: h5py.File) -> list[tuple[str, tuple[int, ...]]]:
    """Path and shape of every array in the file that has at least one axis."""
    found = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim:
            found.append((name, item.shape))

    file.visititems(visit)
    return found


def write_cube(
    group: h5py.Group,
    data: np.ndarray | da.Array,
    axes: Sequence[tuple[np.ndarray, str, str]],
    *,
    units: str = "",
    report: Callable[[int], object] | None = None,
) -> None:
    """Write the array and the axes of an EMD 1.0 data cube into its group, block by block, never whole.

    Parameters
    ----------
    group : h5py.Group
        Of the cube; its attributes and metadata are the caller's.
    data : numpy.ndarray or dask.array.Array
        (Rx, Ry, Qx, Qy). A dask array is computed one block of its chunks at a time.
    axes : sequence of tuple
        First two values, name and unit of each axis.
    units : str
        Unit of the data.
    report : callable, optional
        Called with the number of patterns after each block.
    """
    target = group.create_dataset("data", shape=data.shape, dtype=data.dtype)
    target.attrs["units"] = units
    for n, (values, name, units) in enumerate(axes):
        axis = group.create_dataset(f"dim{n}", data=np.asarray(values, dtype=float)[:2])
        axis.attrs["name"], axis.attrs["units"] = name, units
    for region in _blocks(data):
        block = data[region]
        target[region] = block.compute() if isinstance(block, da.Array) else block
        if report is not None:
            report(block.shape[0] * block.shape[1])


def _blocks(data: np.ndarray | da.Array) -> Iterator[tuple[slice, slice]]:
    """Parts of the scan: a dask array's chunks, else whole lines."""
    if isinstance(data, da.Array):
        sizes = data.chunks[:2]
    else:
        lines = max(1, _BLOCK_BYTES // max(1, data[:1].nbytes))
        sizes = tuple(min(lines, data.shape[0] - start) for start in range(0, data.shape[0], lines)), data.shape[1:2]
    ends = [np.cumsum(axis).tolist() for axis in sizes]
    starts = [[0, *axis[:-1]] for axis in ends]
    for y, x in product(*(zip(a, b, strict=True) for a, b in zip(starts, ends, strict=True))):
        yield slice(*y), slice(*x)


def _choose(path: Path, file: h5py.File, cubes: list[str], wanted: str | None) -> str:
    arrays = list_arrays(file)
    if wanted is not None:
        names = [name for name, _ in arrays]
        candidates = [name for name in (wanted.strip("/"), wanted.strip("/") + "/data") if name in names]
    else:
        candidates = cubes or [
            name for name, shape in arrays if len(shape) in (3, 4) and file[name].dtype.kind in "uifb"
        ]
    if len(candidates) == 1 or (wanted is not None and candidates):
        return candidates[0]
    listed = ", ".join(f"{name} {shape}" for name, shape in arrays) or "no arrays"
    if wanted is not None:
        problem = f"holds no data set {wanted!r}"
    elif candidates:
        problem = f"holds {len(candidates)} scans"
    else:
        problem = "holds neither a py4DSTEM data cube nor any other array of three or four axes"
    msg = f"{path} {problem}. In the file: {listed}. Choose one with dataset=."
    raise ValueError(msg)


def _calibration_values(file: h5py.File, name: str) -> dict[str, Any]:
    """Entries of the calibration that belongs to a cube: its own, or that of the tree it hangs on."""
    parts = name.split("/")[:-1]
    for depth in range(len(parts), 0, -1):
        path = "/".join([*parts[:depth], "metadatabundle", "calibration"])
        if path in file:
            return _entries(file[path])
    return {}


def _entries(group: h5py.Group) -> dict[str, Any]:
    values = {key: _value(item) for key, item in group.items() if isinstance(item, h5py.Dataset)}
    return {key: value for key, value in values.items() if value is not None}


def _text(value: Any) -> Any:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value


def _value(item: h5py.Dataset) -> Any:
    value = _text(item[()])
    if isinstance(value, np.generic):
        return value.item()
    return None if isinstance(value, str) and value == "_None" else value


def _attributes(item: h5py.File | h5py.Dataset) -> dict[str, Any]:
    values = {key: _text(value) for key, value in item.attrs.items()}
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in values.items()}


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and np.isfinite(value) and value > 0 else None


def _center(values: dict[str, Any]) -> tuple[float, float] | None:
    center = []
    for key in ("qx0", "qy0"):
        value = values.get(f"{key}_mean", values.get(key))
        if not isinstance(value, (int, float, np.ndarray)) or not np.isfinite(value).any():
            return None
        center.append(float(np.nanmean(value)))
    return center[0], center[1]


def _calibration(values: dict[str, Any]) -> Calibration:
    """Scales with a unit; pixels and angles count as not calibrated."""
    k_units, scan_units = (standard_units(values.get(f"{space}_pixel_units")) for space in "QR")
    k_step, scan_step = (_positive(values.get(f"{space}_pixel_size")) for space in "QR")
    known = {"center": _center(values)}
    if k_step is not None and k_units is not None and k_units.startswith("1/"):
        known |= {"k_step": k_step, "k_units": k_units}
    if scan_step is not None and scan_units is not None:
        known |= {"scan_step": (scan_step, scan_step), "scan_units": scan_units}
    return Calibration(**known)
