"""Arrays in general files: NumPy .npy, and HyperSpy .hspy and .zspy through rosettasciio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np

from medrange.io.frames import (
    ArrayFrames,
    RawFrames,
    ReadOptions,
    ScanLayout,
    fit_scan,
    load_frames,
    open_hdf5,
    open_zarr,
    with_navigator,
)
from medrange.io.navigator import with_stored_navigator
from medrange.io.records import Calibration, Origin, axis_dictionaries, record

#: Signal types of other packages that hold plain diffraction patterns.
_PATTERN_TYPES = (
    "",
    "image",
    "diffraction",
    "electron_diffraction",
    "diffraction2d",
    "electron_diffraction2d",
)


def check_array(path: Path, shape: tuple[int, ...], dtype: np.dtype, what: str = "array") -> None:
    """Refuse an array that cannot be a scan of real-valued patterns."""
    if len(shape) not in (3, 4) or 0 in shape or dtype.kind not in "uifb":
        msg = (
            f"{path}: the {what} has shape {tuple(shape)} and type {dtype}; a scan has shape (y, x, ky, kx), "
            "or (frames, ky, kx) with scan_shape=(rows, columns), and integer or real values."
        )
        raise ValueError(msg)


def lay_out(path: Path, scan: tuple[int, ...], frames: int, options: ReadOptions) -> tuple[ScanLayout, str, list[str]]:
    """Scan layout of an array that has a shape of its own.

    Parameters
    ----------
    path : pathlib.Path
    scan : tuple of int
        Scan axes of the array: (rows, columns), or (frames,) for a plain stack.
    frames : int
        Frames that are there.
    options : ReadOptions

    Returns
    -------
    layout : ScanLayout
    shape_from : str
    notes : list of str

    Raises
    ------
    ValueError
        If the keywords contradict a scan shape that the array has.
    """
    if len(scan) == 2:
        if options.scan_shape not in (None, scan) or options.stack_keywords:
            given = ", ".join(["scan_shape"] * (options.scan_shape is not None) + options.stack_keywords)
            msg = (
                f"{path} stores a scan of {scan[0]} x {scan[1]} positions; {given} can only be given for a "
                "stack of frames. Leave it out, and crop the signal with .inav after loading."
            )
            raise ValueError(msg)
        layout, note = fit_scan(frames, scan, options)
        return layout, "array", [note] if note else []
    if options.scan_shape is not None:
        layout, note = fit_scan(frames, options.scan_shape, options, short="error")
        return layout, "argument", [note] if note else []
    layout, note = fit_scan(frames, (max(1, frames - options.sync_offset),), options)
    hint = (
        f"{path.name} holds a stack of {frames} frames without a scan shape: read as a series. Give it: "
        f"medrange.load({path.name!r}, scan_shape=(rows, columns))."
    )
    return layout, "none", [hint]


def read_npy(path: Path, options: ReadOptions) -> tuple[dict[str, Any], list[str]]:
    """Read a .npy file of shape (y, x, ky, kx), or (frames, ky, kx) with a scan shape.

    Parameters
    ----------
    path : pathlib.Path
    options : ReadOptions

    Returns
    -------
    dictionary : dict
        As :func:`medrange.io.read`.
    notes : list of str
    """
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = parse(file)
        start = file.tell()
    check_array(path, shape, dtype)
    if fortran_order:
        msg = (
            f"{path} is stored in Fortran order, where a pattern is not in one piece. Save it again with "
            "numpy.save(path, numpy.ascontiguousarray(array))."
        )
        raise ValueError(msg)
    detector = tuple(shape[-2:])
    stride = detector[0] * detector[1] * dtype.itemsize
    source = RawFrames(str(path), start, 0, stride, dtype.str, detector)
    frames, left_over = source.count()
    layout, shape_from, notes = lay_out(path, tuple(shape[:-2]), frames, options)
    if left_over:
        notes.append(f"the last {left_over} bytes of the file are an incomplete frame and are dropped.")
    data = load_frames(source, layout, options)
    dictionary = record(data, layout, Calibration(), Origin(path, "npy", frames, shape_from), {})
    return with_navigator(dictionary, source, layout, options), notes


def read_hspy(path: Path, options: ReadOptions) -> tuple[dict[str, Any], list[str]]:
    """Read the scan in a HyperSpy .hspy file; see :func:`read_zspy`."""
    # Not the public file_reader: lazily, it keeps the file open for the life of the process.
    from rsciio.hspy._api import HyperspyReader

    with open_hdf5(path) as file:
        dictionaries = HyperspyReader(file).read(lazy=True)
        return _read_hyperspy(path, options, "hdf5", _experiments(file), dictionaries)


def read_zspy(path: Path, options: ReadOptions) -> tuple[dict[str, Any], list[str]]:
    """Read the scan in a HyperSpy .zspy folder or zip.

    Metadata, original metadata and axes are those of rosettasciio, whole. The data are read block by block
    from the file, so that a lazy signal also works with dask.distributed.

    Parameters
    ----------
    path : pathlib.Path
    options : ReadOptions
        ``dataset`` (a title, or the name of the data set in the file) picks one of several data sets.

    Returns
    -------
    dictionary : dict
        As :func:`medrange.io.read`, with the further keys of rosettasciio.
    notes : list of str

    Raises
    ------
    ValueError
        If the file holds no scan, or several.
    """
    from rsciio.zspy import file_reader

    store, group = open_zarr(str(path))
    stored = _experiments(group)
    if store is not None:
        store.close()
    # The mode is fixed for a zip, and "r+" by default for a folder, which may be write-protected.
    keywords = {"mode": "r"} if path.is_dir() else {}
    return _read_hyperspy(path, options, "zarr", stored, file_reader(str(path), lazy=True, **keywords))


def _experiments(file: Any) -> list[tuple[str, int]]:
    """Name, and first length of the stored chunks, of each data set of a HyperSpy file."""
    groups = file.get("Experiments", {})
    found = [(name, groups[name]["data"]) for name in groups if "data" in groups[name]]
    return [(name, int(data.chunks[0]) if data.chunks else 1) for name, data in found]


def _title(dictionary: dict[str, Any]) -> str:
    return dictionary["metadata"].get("General", {}).get("title", "")


def _choose(path: Path, stored: list, dictionaries: list[dict], wanted: str | None) -> int:
    listed = ", ".join(f"{name!r} {tuple(d['data'].shape)}" for (name, _), d in zip(stored, dictionaries, strict=False))
    titles = [(name, _title(d)) for (name, _), d in zip(stored, dictionaries, strict=False)]
    if wanted is not None:
        found = [i for i, names in enumerate(titles) if wanted in names]
    elif len(stored) == 1:
        # A map or profile of our own is as welcome as a scan.
        d = dictionaries[0]
        found = [0] if d["data"].ndim in (3, 4) or "Medrange" in d["metadata"] else []
    else:
        found = [i for i in range(len(stored)) if dictionaries[i]["data"].ndim == 4]
    if len(found) == 1:
        return found[0]
    problem = f"no data set {wanted!r}" if wanted else f"{len(found) or 'no'} 4-D data sets"
    msg = f"{path} holds {problem}; in the file: {listed}. Choose one with dataset=."
    raise ValueError(msg)


def _read_hyperspy(
    path: Path, options: ReadOptions, kind: str, stored: list[tuple[str, int]], dictionaries: list[dict]
) -> tuple[dict[str, Any], list[str]]:
    index = _choose(path, stored, dictionaries, options.dataset)
    name, stored_lines = stored[index]
    dictionary = dictionaries[index]
    data = dictionary["data"]
    for key in ("metadata", "original_metadata", "attributes"):
        dictionary[key] = _in_memory(dictionary.get(key, {}))
    for number, axis in enumerate(dictionary["axes"]):
        axis["index_in_array"] = number
    notes: list[str] = []
    source = None
    frames = used = int(np.prod(data.shape[:-2], dtype=int))
    if data.ndim in (3, 4) and data.dtype.kind in "uifb":
        source = ArrayFrames(str(path), f"Experiments/{name}/data", kind, data.shape, data.dtype.str, stored_lines)
        layout = ScanLayout(data.shape[:-2], line=1 if data.ndim == 3 else data.shape[1])
        if options.scan_shape is not None or options.stack_keywords:
            layout, _, notes = lay_out(path, data.shape[:-2], frames, options)
        data, used = load_frames(source, layout, options), layout.used
        if data.ndim != len(dictionary["axes"]):
            uncalibrated = axis_dictionaries(layout.shape, data.shape[-2:], Calibration())
            detector = [{**axis, "index_in_array": i} for i, axis in enumerate(dictionary["axes"][-2:], 2)]
            dictionary["axes"] = uncalibrated[:2] + detector
    else:
        # A small result, or nothing that can be cut into patterns.
        data = da.from_array(data.compute()) if options.lazy else data.compute()
    dictionary["data"] = data
    dictionary["attributes"]["_lazy"] = options.lazy
    _complete(dictionary, path, kind, frames, used)
    return (dictionary if source is None else with_stored_navigator(dictionary, source, options)), notes


def _complete(dictionary: dict[str, Any], path: Path, kind: str, frames: int, used: int) -> None:
    """Add what medrange needs and the file does not say; nothing in the file is overwritten."""
    metadata, ndim = dictionary["metadata"], dictionary["data"].ndim
    signal = metadata.setdefault("Signal", {})
    if ndim == 4 and str(signal.get("signal_type") or "").lower() in _PATTERN_TYPES:
        signal["signal_type"] = "nanodiffraction"
        if not any(axis.get("navigate") for axis in dictionary["axes"]):
            for axis in dictionary["axes"][:2]:
                axis["navigate"] = True
        for axis, name in zip(dictionary["axes"], ("y", "x", "ky", "kx"), strict=True):
            axis["name"] = axis.get("name") or name
    general = metadata.setdefault("General", {})
    general.setdefault("original_filename", path.name)
    general.setdefault("title", path.stem)
    source = {
        "file": str(path),
        "format": "hspy" if kind == "hdf5" else "zspy",
        "frames_in_file": frames,
        "frames_used": used,
    }
    metadata.setdefault("Medrange", {}).setdefault("Source", source)


def _in_memory(tree: Any) -> Any:
    """Copy nested dictionaries, with numpy arrays where a lazy reader left dask arrays."""
    if isinstance(tree, dict):
        return {key: _in_memory(value) for key, value in tree.items()}
    if isinstance(tree, da.Array):
        return dask.compute(tree, scheduler="synchronous")[0]
    return tree
