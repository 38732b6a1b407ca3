"""Stacks of detector frames in files: cut into scan lines, read at once or as dask blocks.

A source knows where its frames lie and reads any rectangle of the scan; it holds a path, never an open
file, so that a dask task carries a few numbers and runs in any process.
"""

from __future__ import annotations

import contextlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize

# A scan line up to this many times the block size is one block; a longer one is cut between patterns.
_LONGEST_LINE = 1.9
# Mapped pages count as memory of the process until they are unmapped: keep them few.
_MAPPED_BYTES = 16 * 2**20


# The strip read for a navigator: where it begins and what share of the rows it is; a page or two per frame.
_STRIP_PLACE, _STRIP_SHARE = 0.65, 16
# From so many positions at most, which a disk finds in about a second, and read by so many threads.
_MOST_STRIPS = 2**14
_READERS = 8


def strip_rows(height: int) -> slice:
    """Detector rows that make a navigator."""
    start = int(_STRIP_PLACE * height)
    return slice(start, start + max(1, height // _STRIP_SHARE))


@dataclass(frozen=True)
class ReadOptions:
    """The keywords of :func:`medrange.io.read`, checked once and handed to the readers."""

    lazy: bool = False
    scan_shape: tuple[int, ...] | None = None
    flyback: int = 0
    sync_offset: int = 0
    block_bytes: int = 128 * 2**20
    dataset: str | None = None
    navigator: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "scan_shape", _checked_shape(self.scan_shape))
        for name, smallest in (("flyback", 0), ("block_bytes", 1)):
            value = getattr(self, name)
            if not _is_integer(value) or value < smallest:
                msg = f"{name} is {value!r}; it must be an integer of {smallest} or more."
                raise ValueError(msg)
        if not _is_integer(self.sync_offset) or self.sync_offset < 0:
            msg = (
                f"sync_offset is {self.sync_offset!r}; it is the number of frames to skip at the start, 0 or "
                "more. Frames missing at the start cannot be invented: leave the first line out, with "
                "sync_offset=columns - missing and scan_shape=(rows - 1, columns)."
            )
            raise ValueError(msg)

    @property
    def stack_keywords(self) -> list[str]:
        """Names of the given keywords that only make sense for a plain stack of frames."""
        return [name for name in ("flyback", "sync_offset") if getattr(self, name)]


def _is_integer(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _checked_shape(shape: object) -> tuple[int, ...] | None:
    if shape is None:
        return None
    values = tuple(shape) if np.iterable(shape) else (shape,)
    if len(values) not in (1, 2) or not all(_is_integer(v) and v > 0 for v in values):
        msg = f"scan_shape is {shape!r}; give (rows, columns) as positive integers, or (frames,) for a series."
        raise ValueError(msg)
    return tuple(int(v) for v in values)


@dataclass(frozen=True)
class ScanLayout:
    """How the frames of a stack make a scan.

    Attributes
    ----------
    shape : tuple of int
        (rows, columns), or (frames,) for a series.
    first : int
        Index of the first frame used.
    line : int
        Frames from the start of one scan line to the start of the next (columns + flyback).
    """

    shape: tuple[int, ...]
    first: int = 0
    line: int = 1

    @property
    def used(self) -> int:
        """Number of frames that belong to a scan position."""
        return math.prod(self.shape)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns); a series is a column of one-frame lines."""
        return self.shape if len(self.shape) == 2 else (self.shape[0], 1)


@dataclass(frozen=True)
class RawFrames:
    """Uncompressed frames at a fixed distance in a binary file.

    Attributes
    ----------
    path : str
    start : int
        Bytes before the first record.
    header : int
        Bytes of a record before its pixels.
    stride : int
        Bytes of a whole record, whatever follows the pixels included.
    dtype : str
        Pixel type with byte order, for example ``">u2"``.
    detector_shape : tuple of int
        (ky, kx).
    flip_rows : bool
        Hand out the frames upside down.
    """

    path: str
    start: int
    header: int
    stride: int
    dtype: str
    detector_shape: tuple[int, int]
    flip_rows: bool = False

    @property
    def native_dtype(self) -> np.dtype:
        """Pixel type in the byte order of this machine."""
        return np.dtype(self.dtype).newbyteorder("=")

    @property
    def stored_lines(self) -> int:
        """Scan lines that are stored as one piece."""
        return 1

    def count(self) -> tuple[int, int]:
        """Whole frames in the file, and bytes that follow them."""
        return divmod(max(0, Path(self.path).stat().st_size - self.start), self.stride)

    def read_into(self, out: np.ndarray, layout: ScanLayout, rows: slice, columns: slice) -> None:
        """Fill ``out`` (rows, columns, ky, kx) from the file, a few lines at a time."""
        lines = max(1, _MAPPED_BYTES // (layout.line * self.stride))
        for start in range(0, out.shape[0], lines):
            piece = out[start : start + lines]
            first = layout.first + (rows.start + start) * layout.line + columns.start
            np.copyto(piece, self._view(piece.shape, first, layout.line))

    def strip_sums(self, layout: ScanLayout) -> np.ndarray:
        """Sum of a narrow strip of detector rows off the direct beam at every position (rows, columns).

        Of a large scan only every second, third, ... position in both directions is read, and stands for its
        neighbors too: the time to open a file does not grow with it.
        """
        height, width = self.detector_shape
        start, stop = strip_rows(height).start, strip_rows(height).stop
        rows = stop - start
        first_row = height - start - rows if self.flip_rows else start
        place = self.start + self.header + first_row * width * np.dtype(self.dtype).itemsize
        step = math.ceil(math.sqrt(math.prod(layout.grid) / _MOST_STRIPS))
        lines, columns = (np.minimum(np.arange(0, n, step) + step // 2, n - 1).tolist() for n in layout.grid)
        starts = [place + (layout.first + line * layout.line) * self.stride for line in lines]
        with ThreadPoolExecutor(_READERS) as pool:
            # Reads wait for the disk, which serves several at a time.
            sums = np.array(list(pool.map(partial(self._strips, columns, (rows, width)), starts)))
        n_rows, n_columns = layout.grid
        return sums.repeat(step, axis=0)[:n_rows].repeat(step, axis=1)[:, :n_columns]

    def _strips(self, columns: list[int], shape: tuple[int, int], start: int) -> np.ndarray:
        """Sums of the strips of one line; ``start`` is where that of its first frame begins."""
        strips = np.empty((len(columns), *shape), np.dtype(self.dtype))
        with open(self.path, "rb", buffering=0) as file:
            if hasattr(os, "posix_fadvise"):
                # Or the system reads ahead, which is the whole file in the end.
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            for column, strip in zip(columns, strips, strict=True):
                file.seek(start + column * self.stride)
                file.readinto(strip)
        return strips.sum(axis=(1, 2), dtype=np.float64)

    def _view(self, shape: tuple[int, ...], first: int, line: int) -> np.ndarray:
        """Map the frames from number ``first`` as an array (rows, columns, ky, kx) in the file's byte order."""
        mapped = np.memmap(
            self.path,
            dtype=np.uint8,
            mode="r",
            offset=self.start + first * self.stride,
            shape=(((shape[0] - 1) * line + shape[1]) * self.stride,),
        )
        dtype = np.dtype(self.dtype)
        strides = (line * self.stride, self.stride, shape[3] * dtype.itemsize, dtype.itemsize)
        view = np.ndarray(shape, dtype, buffer=mapped, offset=self.header, strides=strides)
        return view[:, :, ::-1] if self.flip_rows else view


@dataclass(frozen=True)
class ArrayFrames:
    """Frames in an HDF5 dataset or a zarr array of shape (frames, ky, kx) or (y, x, ky, kx).

    Attributes
    ----------
    path : str
    dataset : str
        Path of the array inside the file.
    kind : {"hdf5", "zarr"}
    shape : tuple of int
    dtype : str
    stored_lines : int
        Scan lines in one stored chunk; blocks are cut between stored chunks.
    """

    path: str
    dataset: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    stored_lines: int = 1

    @property
    def native_dtype(self) -> np.dtype:
        """Pixel type in the byte order of this machine."""
        return np.dtype(self.dtype).newbyteorder("=")

    @property
    def detector_shape(self) -> tuple[int, int]:
        """(ky, kx)."""
        return self.shape[-2:]

    def count(self) -> tuple[int, int]:
        """Frames in the array; no bytes follow them."""
        return math.prod(self.shape[:-2]), 0

    def read_into(self, out: np.ndarray, layout: ScanLayout, rows: slice, columns: slice) -> None:
        """Fill ``out`` (rows, columns, ky, kx); the file is opened for this block only."""
        if self.kind == "hdf5":
            with open_hdf5(self.path) as file:
                self._fill(out, file[self.dataset], layout, rows, columns)
            return
        store, group = open_zarr(self.path)
        try:
            self._fill(out, group[self.dataset], layout, rows, columns)
        finally:
            if store is not None:
                store.close()

    def _fill(self, out: np.ndarray, array: Any, layout: ScanLayout, rows: slice, columns: slice) -> None:
        if len(self.shape) == 4:
            _read_region(array, (rows, columns), out)
        elif layout.line == out.shape[1]:
            first = layout.first + rows.start * layout.line
            frames = out.reshape(-1, *out.shape[2:])
            _read_region(array, (slice(first, first + len(frames)),), frames)
        else:
            for i in range(out.shape[0]):
                first = layout.first + (rows.start + i) * layout.line + columns.start
                _read_region(array, (slice(first, first + out.shape[1]),), out[i])


def _read_region(array: Any, region: tuple[slice, ...], out: np.ndarray) -> None:
    """Read a region of an HDF5 or zarr array into ``out``, without a copy on the way where the types agree."""
    if array.dtype != out.dtype or not out.flags.c_contiguous:
        out[...] = array[region]
    elif hasattr(array, "read_direct"):
        array.read_direct(out, region)
    else:
        array.get_basic_selection(region, out=out)


def open_hdf5(path: str | Path) -> Any:
    """Open an HDF5 file for reading, with the compression filters of hdf5plugin if it is installed."""
    import h5py

    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401

    return h5py.File(path, "r")


def open_zarr(path: str) -> tuple[Any, Any]:
    """Open a zarr folder or zip for reading: the store to close (None for a folder) and the group."""
    import zarr

    if Path(path).is_dir():
        return None, zarr.open_group(path, mode="r")
    store = zarr.storage.ZipStore(path, mode="r")
    return store, zarr.open_group(store, mode="r")


def fit_scan(
    frames: int, shape: tuple[int, ...], options: ReadOptions, *, short: str = "cut"
) -> tuple[ScanLayout, str | None]:
    """Lay a scan of the wanted shape over the frames that are there.

    Parameters
    ----------
    frames : int
        Whole frames in the file.
    shape : tuple of int
        Wanted (rows, columns) or (frames,).
    options : ReadOptions
        ``flyback`` frames follow each line and ``sync_offset`` frames come first; both are left out.
    short : {"cut", "error"}
        With too few frames: keep the whole lines, or refuse.

    Returns
    -------
    layout : ScanLayout
    note : str or None
        What was left out or is missing, for the user; None when everything fits.

    Raises
    ------
    ValueError
        If not even one line fits, or if frames are missing and ``short`` is "error".
    """
    there = frames - options.sync_offset
    if len(shape) == 1 and options.flyback:
        msg = f"flyback={options.flyback} needs scan lines: give scan_shape=(rows, columns) with it."
        raise ValueError(msg)
    rows, columns = (shape[0], 1) if len(shape) == 1 else shape
    line = columns + options.flyback
    whole = (there - columns) // line + 1 if there >= columns else 0
    if whole < 1 or (whole < rows and short == "error"):
        raise ValueError(_too_few_frames(frames, shape, options, whole))
    kept = min(rows, whole)
    layout = ScanLayout((kept,) if len(shape) == 1 else (kept, columns), options.sync_offset, line)
    unused = max(0, there - kept * line)
    if kept < rows:
        needed = options.sync_offset + (rows - 1) * line + columns
        return layout, (
            f"the scan of {_times(shape)} positions needs {needed} frames, the file has {frames}: "
            f"{_times(layout.shape)} positions are kept, {unused} frames of an incomplete line are dropped."
        )
    if unused:
        note = (
            f"{layout.used} of {frames} frames are used for the scan of {_times(layout.shape)} positions; "
            f"{unused} frames after it are skipped."
        )
        if len(shape) == 2 and rows > 1 and not options.flyback and unused % rows == 0:
            extra = unused // rows
            note += f" They are {extra} per line: if they are the flyback, pass flyback={extra}."
        return layout, note
    return layout, None


def _too_few_frames(frames: int, shape: tuple[int, ...], options: ReadOptions, whole: int) -> str:
    wanted = math.prod(shape)
    extra = ""
    if options.flyback or options.sync_offset:
        extra = f" (flyback={options.flyback}, sync_offset={options.sync_offset})"
    text = f"scan_shape={shape} needs {wanted} frames{extra}, the file has {frames}"
    if whole < 1:
        return f"{text}: not one whole line of {shape[-1]}. Give a scan_shape that fits."
    possible = (whole,) if len(shape) == 1 else (whole, shape[1])
    return f"{text}: give scan_shape={possible} to use the whole lines that are there."


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def scan_chunks(
    shape: tuple[int, ...], pattern_bytes: int, block_bytes: int, *, stored_lines: int = 1
) -> tuple[tuple[int, ...], ...]:
    """Chunks of the scan plane: blocks of whole patterns near ``block_bytes``, whole scan lines if possible.

    Blocks of one scan are of nearly equal size, between half and twice ``block_bytes`` (64 to 256 MB for
    the default), unless the scan is smaller or one pattern is larger.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns) or (frames,).
    pattern_bytes, block_bytes : int
        Size of one pattern, and the size aimed at.
    stored_lines : int
        Cut between multiples of this number of lines if a block holds as many.

    Returns
    -------
    tuple of tuple of int
        Chunk lengths along each axis of the scan.

    Examples
    --------
    >>> scan_chunks((256, 256), 128 * 128 * 4, 128 * 2**20)
    ((8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8), (256,))
    """
    rows, columns = shape if len(shape) == 2 else (shape[0], 1)
    line_bytes = columns * pattern_bytes
    if len(shape) == 2 and line_bytes > _LONGEST_LINE * block_bytes:
        return (1,) * rows, _even_parts(columns, round(line_bytes / block_bytes))
    unit = stored_lines if 1 < stored_lines * line_bytes <= _LONGEST_LINE * block_bytes else 1
    units = math.ceil(rows / unit)
    parts = _even_parts(units, round(rows * line_bytes / block_bytes))
    lengths = [part * unit for part in parts]
    lengths[-1] -= sum(lengths) - rows
    return (tuple(lengths),) if len(shape) == 1 else (tuple(lengths), (columns,))


def _even_parts(total: int, parts: int) -> tuple[int, ...]:
    parts = min(max(1, parts), total)
    small, larger = divmod(total, parts)
    return (small + 1,) * larger + (small,) * (parts - larger)


def load_frames(source: RawFrames | ArrayFrames, layout: ScanLayout, options: ReadOptions) -> np.ndarray | da.Array:
    """Read a scan: a numpy array, or a dask array whose blocks read their part of the file when asked.

    Returns
    -------
    numpy.ndarray or dask.array.Array
        Shape ``layout.shape + (ky, kx)``, native byte order. The dask name follows from the file (path,
        size, time of change) and the layout alone.
    """
    dtype, detector = source.native_dtype, source.detector_shape
    pattern_bytes = math.prod(detector) * dtype.itemsize
    chunks = scan_chunks(layout.shape, pattern_bytes, options.block_bytes, stored_lines=source.stored_lines)
    shape = layout.shape + detector
    if options.lazy:
        # Workers of a cluster may have been started in another folder.
        source = replace(source, path=str(Path(source.path).absolute()))
        state = Path(source.path).stat()
        parameters = (astuple(source), astuple(layout), chunks, state.st_mtime_ns, state.st_size)
        return da.map_blocks(
            partial(_read_block, source, layout),
            chunks=(*chunks, *((n,) for n in detector)),
            dtype=dtype,
            meta=np.empty((0,) * len(shape), dtype),
            name=f"medrange-frames-{tokenize(type(source).__name__, *parameters)}",
        )
    data = np.empty(shape, dtype)
    grid = data.reshape(layout.grid + detector)
    for rows in _slices(chunks[0]):
        for columns in _slices(chunks[1] if len(chunks) == 2 else (1,)):
            source.read_into(grid[rows, columns], layout, rows, columns)
    return data


def with_navigator(
    dictionary: dict[str, Any], source: RawFrames, layout: ScanLayout, options: ReadOptions
) -> dict[str, Any]:
    """Add ``navigator`` (y, x), if asked for: an image of the scan from a narrow strip of each pattern."""
    if options.navigator and len(layout.shape) == 2:
        dictionary["navigator"] = source.strip_sums(layout)
    return dictionary


def _slices(lengths: tuple[int, ...]) -> list[slice]:
    stops = np.cumsum(lengths)
    return [slice(int(stop - n), int(stop)) for n, stop in zip(lengths, stops, strict=True)]


def _read_block(source: RawFrames | ArrayFrames, layout: ScanLayout, block_info: dict | None = None) -> np.ndarray:
    location = block_info[None]["array-location"]
    out = np.empty([stop - start for start, stop in location], source.native_dtype)
    rows = slice(*location[0])
    columns = slice(*location[1]) if len(layout.shape) == 2 else slice(0, 1)
    grid = out if len(layout.shape) == 2 else out[:, np.newaxis]
    source.read_into(grid, layout, rows, columns)
    return out
