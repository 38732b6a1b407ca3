"""Run a function of frames over a scan: eagerly in threads, or lazily chunk by chunk, with the same result.

The function takes patterns (n, rows, cols) and returns a tuple of arrays. Outputs come in two kinds: one
value per scan position, shape (n, ...), and sums over positions, which are added up over the blocks.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import dask
import dask.array as da
import dask.system
import numpy as np
from hyperspy.defaults_parser import preferences
from tqdm import tqdm

# Frames per task of the eager path: long enough to hide the call, short enough to share out evenly.
_EAGER_BYTES = 32 * 2**20
# With shifts as many times that.
_SHIFTED = 8
# A bar appears only on work that lasts.
_BAR_DELAY = 2.0


@dataclass(frozen=True)
class Output:
    """One output of a mapped function: shape per position (or of the sum), dtype, and which kind."""

    shape: tuple[int, ...]
    dtype: np.dtype | type
    is_sum: bool = False


FrameFunction = Callable[..., tuple[np.ndarray, ...]]


def map_frames(
    data: np.ndarray | da.Array,
    function: FrameFunction,
    outputs: Sequence[Output],
    *,
    label: str = "",
    shifts: np.ndarray | None = None,
) -> list[np.ndarray | da.Array]:
    """Apply ``function`` to all patterns of ``data`` (..., rows, cols), reading each once.

    Parameters
    ----------
    data : numpy.ndarray or dask.array.Array
        The scan; the last two axes are the detector.
    function : callable
        From patterns (n, rows, cols) to one array per output: (n, ...) per position, or a sum. It must
        be picklable (a partial of a module's function) for a distributed scheduler.
    outputs : sequence of Output
        What the function returns.
    label : str
        Text of the progress bar of the eager path.
    shifts : numpy.ndarray, optional
        Scan shape + (2,): how far each pattern's center is shifted. The function is then called with the
        shifts (n, 2) of its patterns too.

    Returns
    -------
    list
        One array per output: scan shape + shape, or shape for a sum; lazy for lazy data.
    """
    if isinstance(data, da.Array):
        return _map_lazy(_whole_patterns(data), function, outputs, shifts)
    return _map_eager(data, function, outputs, label, shifts)


def _map_eager(
    data: np.ndarray, function: FrameFunction, outputs: Sequence[Output], label: str, shifts: np.ndarray | None
) -> list[np.ndarray]:
    scan_shape = data.shape[:-2]
    frames = data.reshape(-1, *data.shape[-2:])
    size = max(64, _EAGER_BYTES // max(1, frames[:1].nbytes))
    if shifts is not None:
        # Patterns are sorted by their sub-pixel center: more at a time leave fewer lanes empty.
        size = max(size, min(_SHIFTED * size, -(-len(frames) // n_workers())))
        shifts = shifts.reshape(-1, 2)
    starts = range(0, len(frames), size)
    results = [
        np.zeros(o.shape, np.float64) if o.is_sum else np.empty((len(frames), *o.shape), o.dtype) for o in outputs
    ]

    def run(start: int) -> tuple[int, tuple[np.ndarray, ...]]:
        own = slice(start, start + size)
        return start, function(frames[own]) if shifts is None else function(frames[own], shifts[own])

    with (
        ThreadPoolExecutor(n_workers()) as pool,
        tqdm(total=len(frames), desc=label, unit="pattern", delay=_BAR_DELAY, disable=not shows_progress()) as bar,
    ):
        for start, parts in pool.map(run, starts):
            count = min(size, len(frames) - start)
            for result, part, output in zip(results, parts, outputs, strict=True):
                if output.is_sum:
                    result += part
                else:
                    result[start : start + count] = part
            bar.update(count)
    return [r if o.is_sum else r.reshape(scan_shape + o.shape) for r, o in zip(results, outputs, strict=True)]


def n_workers() -> int:
    """Threads of a pass: dask's setting, else all cores."""
    return int(dask.config.get("num_workers", None) or dask.system.CPU_COUNT)


def shows_progress(show_progressbar: bool | None = None) -> bool:
    """Whether to show a progress bar: the argument, else HyperSpy's preference; never in CI."""
    if "CI" in os.environ:
        return False
    return bool(preferences.General.show_progressbar if show_progressbar is None else show_progressbar)


def whole_patterns_advice(data: da.Array) -> str:
    """What to do where the chunks cut the patterns; empty where they do not."""
    if all(len(axis) == 1 for axis in data.chunks[-2:]):
        return ""
    return (
        f"the chunks {data.chunksize} cut the patterns, so each pattern is put together first, which is slow. "
        "Load with medrange.load, or call s.rechunk(nav_chunks='auto', sig_chunks=-1) once and save."
    )


def _whole_patterns(data: da.Array) -> da.Array:
    """Make sure that no chunk cuts a pattern."""
    advice = whole_patterns_advice(data)
    if not advice:
        return data
    warnings.warn(advice, stacklevel=5)
    return data.rechunk({data.ndim - 2: -1, data.ndim - 1: -1})


def _block(
    block: list[list[np.ndarray]],
    shifts: list[list[np.ndarray]] | None = None,
    *,
    function: FrameFunction,
    outputs: tuple[Output, ...],
) -> np.ndarray:
    """All outputs of one chunk, as one object in an array with a single element per chunk.

    The chunk is the only one of two lists, of those along the axes of the detector.
    """
    block, shifts = block[0][0], None if shifts is None else shifts[0][0]
    scan_shape = block.shape[:-2]
    frames = block.reshape(-1, *block.shape[-2:])
    parts = function(frames) if shifts is None else function(frames, shifts.reshape(-1, 2))
    shaped = tuple(
        part if output.is_sum else part.reshape(scan_shape + output.shape)
        for part, output in zip(parts, outputs, strict=True)
    )
    cell = np.empty((1,) * len(scan_shape), dtype=object)
    cell.flat[0] = shaped
    return cell


def _pick(cell: np.ndarray, *, index: int) -> np.ndarray:
    return cell.flat[0][index]


def _pick_sum(cell: np.ndarray, *, index: int) -> np.ndarray:
    return cell.flat[0][index][(None,) * cell.ndim]


def _map_lazy(
    data: da.Array, function: FrameFunction, outputs: Sequence[Output], shifts: np.ndarray | None
) -> list[da.Array]:
    n_scan = data.ndim - 2
    if n_scan == 0:
        lazy = _map_lazy(data[None], function, outputs, None if shifts is None else shifts[None])
        return [array if output.is_sum else array[0] for array, output in zip(lazy, outputs, strict=True)]
    ones = tuple((1,) * len(axis) for axis in data.chunks[:-2])
    scan = tuple(range(n_scan))
    arrays = [data, (*scan, n_scan, n_scan + 1)]
    if shifts is not None:
        # Chunks that match block by block: one more axis stands where the patterns have their rows.
        beside = da.from_array(shifts[..., None, :], chunks=(*data.chunks[:-2], 1, 2))
        arrays += [beside, (*scan, n_scan + 2, n_scan + 3)]
    cells = da.blockwise(
        _block,
        scan,
        *arrays,
        function=function,
        outputs=tuple(outputs),
        dtype=object,
        adjust_chunks=dict(zip(scan, ones, strict=True)),
        # Else dask copies every chunk to join it with no other.
        concatenate=None,
        meta=np.empty((0,) * n_scan, dtype=object),
    )
    results = []
    for index, output in enumerate(outputs):
        new_axes = list(range(n_scan, n_scan + len(output.shape)))
        inner = tuple((size,) for size in output.shape)
        outer = ones if output.is_sum else data.chunks[:-2]
        array = da.map_blocks(
            _pick_sum if output.is_sum else _pick,
            cells,
            index=index,
            dtype=np.float64 if output.is_sum else output.dtype,
            new_axis=new_axes or None,
            chunks=outer + inner,
            meta=np.empty((0,) * (n_scan + len(inner)), dtype=output.dtype),
        )
        results.append(array.sum(axis=tuple(range(n_scan))) if output.is_sum else array)
    return results
