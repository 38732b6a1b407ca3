"""One entry to all formats: look at the content of a file, and hand it to its reader."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from medrange.io.arrays import read_hspy, read_npy, read_zspy
from medrange.io.emd import read_hdf5
from medrange.io.empad import is_empad_xml, read_empad
from medrange.io.frames import ReadOptions
from medrange.io.merlin import read_merlin

#: What can be read, for messages.
SUPPORTED = (
    "EMPAD (.xml or .raw)",
    "Merlin (.mib or .hdr)",
    "HyperSpy (.hspy, .zspy)",
    "py4DSTEM EMD or plain HDF5 (.h5)",
    "NumPy (.npy)",
)

Reader = Callable[[Path, ReadOptions], tuple[dict[str, Any], list[str]]]
_READERS: dict[str, Reader] = {
    "EMPAD": read_empad,
    "Merlin": read_merlin,
    "HyperSpy .hspy": read_hspy,
    "HyperSpy .zspy": read_zspy,
    "HDF5": read_hdf5,
    "NumPy .npy": read_npy,
}


def read(
    path: str | Path,
    *,
    lazy: bool = False,
    scan_shape: tuple[int, ...] | None = None,
    flyback: int = 0,
    sync_offset: int = 0,
    block_bytes: int = 128 * 2**20,
    dataset: str | None = None,
    navigator: bool = False,
) -> dict[str, Any]:
    """Read a nanodiffraction scan from a detector file into a plain dictionary.

    The format is recognized by the content of the file. Frames left out and scan shapes guessed are
    reported in one warning, never silently. The file is not modified.

    Parameters
    ----------
    path : str or pathlib.Path
        EMPAD .xml or .raw, Merlin .mib or .hdr (the other of the pair is found, also after a renaming),
        HyperSpy .hspy or .zspy, py4DSTEM EMD or plain .h5, NumPy .npy.
    lazy : bool
        Give the data as a dask array of blocks of whole patterns that read the file when computed.
    scan_shape : tuple of int or None
        (rows, columns), or (frames,) for a series; None takes it from the file.
    flyback : int
        Frames recorded after each scan line, to be left out.
    sync_offset : int
        Frames recorded before the scan, to be left out.
    block_bytes : int
        Size of the blocks aimed at, in bytes; they come out between half and twice of it.
    dataset : str or None
        Which array to take, in an HDF5 or HyperSpy file that holds several.
    navigator : bool
        Also give ``navigator`` (y, x), an image of the scan from a narrow strip of detector rows, unless the
        metadata bring one; of a large scan of every second, third, ... pattern or chunk.

    Returns
    -------
    dict
        ``data`` (y, x, ky, kx) or (frames, ky, kx), numpy or dask, in native byte order; ``axes`` (list of
        dictionaries: size, index_in_array, name, scale, offset, navigate, and units if calibrated);
        ``metadata``; ``original_metadata``: as a RosettaSciIO reader returns them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read, or its scan shape is unknown or does not fit.

    Examples
    --------
    >>> import numpy as np, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "stack.npy")
    >>> np.save(path, np.zeros((12, 8, 8), "uint16"))
    >>> read(path, scan_shape=(3, 4))["data"].shape
    (3, 4, 8, 8)
    """
    options = ReadOptions(lazy, scan_shape, flyback, sync_offset, block_bytes, dataset, navigator)
    dictionary, notes = _read(Path(path), options)
    if notes:
        warnings.warn(f"{Path(path).name}: {' '.join(notes)}", stacklevel=2)
    return dictionary


def describe(path: str | Path, **keywords: Any) -> dict[str, Any]:
    """Facts about a scan that cost no reading of its frames.

    Parameters
    ----------
    path : str or pathlib.Path
    **keywords
        As for :func:`read`, except ``lazy``.

    Returns
    -------
    dict
        ``file``, ``format``, ``scan_shape``, ``detector_shape``, ``dtype``, ``data_bytes``,
        ``frames_in_file``, ``frames_used``, ``scan_shape_from``, ``calibration`` (only what the file knows:
        axis name -> (scale, units), beam_energy in keV, camera_length in mm), ``chunks`` (of the lazy
        array) and ``notes`` (what :func:`read` would warn about).

    Examples
    --------
    >>> import numpy as np, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "scan.npy")
    >>> np.save(path, np.zeros((3, 4, 8, 8), "uint16"))
    >>> describe(path)["scan_shape"]
    (3, 4)
    """
    keywords.pop("lazy", None)
    dictionary, notes = _read(Path(path), ReadOptions(lazy=True, **keywords))
    data, axes = dictionary["data"], dictionary["axes"]
    source = dictionary["metadata"]["Medrange"]["Source"]
    scan = tuple(int(axis["size"]) for axis in axes if axis["navigate"])
    calibration: dict[str, Any] = {
        axis["name"]: (float(axis["scale"]), axis["units"])
        for axis in axes
        if axis.get("units") not in (None, "", "px") and axis.get("name")
    }
    calibration |= {
        key: value
        for key, value in dictionary["metadata"].get("Acquisition_instrument", {}).get("TEM", {}).items()
        if key in ("beam_energy", "camera_length")
    }
    return {
        "file": str(path),
        "format": source["format"],
        "scan_shape": scan,
        "detector_shape": tuple(int(n) for n in data.shape[len(scan) :]),
        "dtype": str(data.dtype),
        "data_bytes": int(data.nbytes),
        "frames_in_file": source["frames_in_file"],
        "frames_used": source["frames_used"],
        "scan_shape_from": source.get("scan_shape_from", "file"),
        "calibration": calibration,
        "chunks": data.chunks,
        "notes": notes,
    }


def recognize(path: Path) -> str:
    """Name of the format of a file or folder, from its first bytes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the content is not of a supported format.
    """
    if not path.exists():
        msg = f"there is no file {path}."
        raise FileNotFoundError(msg)
    if path.is_dir():
        if (path / ".zgroup").exists() or (path / "zarr.json").exists():
            return "HyperSpy .zspy"
        raise ValueError(_unsupported(path, "a folder that is not a zarr store"))
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise ValueError(_unsupported(path, "an empty file"))
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            return "HyperSpy .hspy" if "Experiments" in file else "HDF5"
    for magic, name in ((b"\x93NUMPY", "NumPy .npy"), (b"MQ1,", "Merlin"), (b"HDR,", "Merlin")):
        if start.startswith(magic):
            return name
    if start.startswith(b"PK") and path.suffix.lower() == ".zspy":
        return "HyperSpy .zspy"
    # Before XML: the first byte of an EMPAD frame can be anything, a "<" too.
    if path.suffix.lower() == ".raw":
        return "EMPAD"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<") or path.suffix.lower() == ".xml":
        if is_empad_xml(path):
            return "EMPAD"
        raise ValueError(_unsupported(path, "an XML file, but not of an EMPAD"))
    raise ValueError(_unsupported(path, f"a file starting with {start[:8]!r}, which is no known format"))


def _unsupported(path: Path, what: str) -> str:
    return (
        f"{path} is {what}. medrange reads {', '.join(SUPPORTED)}. For another format use "
        "hyperspy.api.load, then signal.set_signal_type('nanodiffraction')."
    )


def _read(path: Path, options: ReadOptions) -> tuple[dict[str, Any], list[str]]:
    path = path.expanduser()
    name = "HDF5"
    try:
        name = recognize(path)
        return _READERS[name](path, options)
    except FileNotFoundError:
        raise
    except (OSError, KeyError, EOFError) as error:
        msg = f"{path} was recognized as {name}, but it cannot be read: {error}. medrange reads {', '.join(SUPPORTED)}."
        raise ValueError(msg) from error
