"""Image of the scan for browsing, of arrays in HDF5 and zarr files; it is kept in what is saved or converted.

HyperSpy keeps the navigator of a lazy signal in the metadata, and files of its own bring it back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from medrange.io.frames import ArrayFrames, ReadOptions, open_hdf5, open_zarr, strip_rows

# A chunk is decoded whole for a strip of its patterns: of a large scan only so many bytes of them, within a second.
_MOST_BYTES = 256 * 2**20
_READERS = 8
#: What the image shows.
TITLE = "sum of a strip of the patterns"


def with_stored_navigator(dictionary: dict[str, Any], source: ArrayFrames, options: ReadOptions) -> dict[str, Any]:
    """Add ``navigator`` (y, x) where it is asked for, the array is a scan, and the file brings none."""
    own = dictionary["metadata"].get("_HyperSpy", {})
    is_scan = len(source.shape) == 4 and dictionary["data"].shape == source.shape
    if options.navigator and is_scan and "_sig_navigator" not in own:
        dictionary["navigator"] = stored_strip_sums(source)
    return dictionary


def stored_strip_sums(source: ArrayFrames) -> np.ndarray:
    """Sum of a narrow strip of detector rows off the direct beam at every position (rows, columns).

    Of a scan in large chunks only every second, third, ... chunk is read in both directions, and its mean stands for
    its neighbors: the time to open a file does not grow with it.
    """
    scan = source.shape[:2]
    array, close = _open(source)
    try:
        # Of an array without chunks a line is read by itself.
        chunk = tuple(array.chunks[:2]) if array.chunks else (1, scan[1])
        n_chunks = [math.ceil(n / c) for n, c in zip(scan, chunk, strict=True)]
        rows = strip_rows(source.detector_shape[0])
        share = 1.0 if array.chunks else (rows.stop - rows.start) / source.detector_shape[0]
        total = math.prod(source.shape) * source.native_dtype.itemsize * share
        every = max(1, math.ceil(math.sqrt(total / _MOST_BYTES)))
        image = np.empty(scan)
        tasks = list(product(*(range(0, n, every) for n in n_chunks)))
        with ThreadPoolExecutor(_READERS) as pool:
            for place, sums, region in pool.map(partial(_chunk_sums, array, source, chunk, every), tasks):
                image[region] = sums.mean()
                image[place] = sums
        return image
    finally:
        close()


def _open(source: ArrayFrames) -> tuple[Any, Any]:
    """Array in the file, and what closes it."""
    if source.kind == "hdf5":
        file = open_hdf5(source.path)
        return file[source.dataset], file.close
    store, group = open_zarr(source.path)
    return group[source.dataset], (lambda: None) if store is None else store.close


def _chunk_sums(
    array: Any, source: ArrayFrames, chunk: tuple[int, int], every: int, index: tuple[int, int]
) -> tuple[tuple[slice, ...], np.ndarray, tuple[slice, ...]]:
    """Where a chunk lies, its sums, and the region for which it stands: from it to the next that is read."""
    place = tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(index, chunk, source.shape, strict=False))
    region = tuple(slice(i * c, (i + every) * c) for i, c in zip(index, chunk, strict=True))
    strips = array[(*place, strip_rows(source.detector_shape[0]))]
    return place, strips.sum(axis=(2, 3), dtype=np.float64), region


def kept_navigator(image: np.ndarray, axes: list[dict[str, Any]]) -> dict[str, Any]:
    """A navigator as HyperSpy keeps it in a file's metadata.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (y, x).
    axes : list of dict
        Those of the scan first.

    Returns
    -------
    dict
        For ``metadata["_HyperSpy"]["_sig_navigator"]``.
    """
    return {
        "data": image,
        "axes": [{**axis, "navigate": False, "index_in_array": i} for i, axis in enumerate(_scan_axes(axes))],
        "metadata": {"General": {"title": TITLE}, "Signal": {"signal_type": ""}},
        "original_metadata": {},
        "tmp_parameters": {},
        "attributes": {"_lazy": False, "ragged": False},
        "learning_results": {},
    }


def _scan_axes(axes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (axis for axis in axes if axis["navigate"])
