"""Run a function of frames over a scan: eagerly in threads, or lazily chunk by chunk, with the same result.

The function takes patterns (n, rows, cols) and returns a tuple of arrays. Outputs come in two kinds: one
value per scan position, shape (n, ...), and sums over positions, which are added up over the blocks: in pairs of
doubles, so that the blocks, and their order, leave no trace.
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

from medrange.kernels.paired import add_pair, merged, normalized, paired_sum

# Frames per task of the eager path: long enough to hide the call, short enough to share out evenly.
_EAGER_BYTES = 32 * 2**20
# With shifts as many times that.
_SHIFTED = 8
# Sums that one task of dask adds up, along each axis of the scan.
_SPLIT_EVERY = 16
# A bar appears only on work that lasts.
_BAR_DELAY = 2.0


@dataclass(frozen=True)
class Output:
    """One output of a mapped function: shape per position (or of the sum), dtype, and which kind.

    Of a sum the function gives the pair (2, *shape) of :func:`medrange.kernels.paired.paired_sum`, or, where that is
    exact without, the sum itself. ``keeps_rest`` asks for the pair in the end, too.
    """

    shape: tuple[int, ...]
    dtype: np.dtype | type
    is_sum: bool = False
    keeps_rest: bool = False


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
    results = [np.zeros((2, *o.shape)) if o.is_sum else np.empty((len(frames), *o.shape), o.dtype) for o in outputs]

    def run(start: int) -> list[np.ndarray]:
        own = slice(start, start + size)
        parts = function(frames[own]) if shifts is None else function(frames[own], shifts[own])
        # Here and not where the parts are collected: one thread that fills the results would hold up the others.
        for result, part, output in zip(results, parts, outputs, strict=True):
            if not output.is_sum:
                result[own] = part
        return [_as_pair(part, output) for part, output in zip(parts, outputs, strict=True) if output.is_sum]

    totals = [result for result, output in zip(results, outputs, strict=True) if output.is_sum]

    with (
        ThreadPoolExecutor(n_workers()) as pool,
        tqdm(total=len(frames), desc=label, unit="pattern", delay=_BAR_DELAY, disable=not shows_progress()) as bar,
    ):
        # Sums are added in the order of the patterns, whichever thread is first.
        for start, parts in zip(starts, pool.map(run, starts), strict=True):
            for total, part in zip(totals, parts, strict=True):
                add_pair(total, part)
            bar.update(min(size, len(frames) - start))
    return [
        _rounded(normalized(result), output) if output.is_sum else result.reshape(scan_shape + output.shape)
        for result, output in zip(results, outputs, strict=True)
    ]


def _as_pair(part: np.ndarray, output: Output) -> np.ndarray:
    """Sum of a block with its remainder, (2, *shape)."""
    return part if part.shape == (2, *output.shape) else np.stack([part, np.zeros(output.shape)])


def _rounded(pair: np.ndarray | da.Array, output: Output) -> np.ndarray | da.Array:
    return pair if output.keeps_rest else pair[0]


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


def _pick_sums(cell: np.ndarray, *, outputs: dict[int, Output]) -> np.ndarray:
    """All sums of a chunk in one row, and their remainders in another."""
    pairs = [_as_pair(cell.flat[0][index], output).reshape(2, -1) for index, output in outputs.items()]
    return np.concatenate(pairs, axis=1)[(None,) * cell.ndim]


def _as_it_is(pairs: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    return pairs


def _merge(pairs: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """Sum of the pairs of several chunks, whose numbers are the first axes."""
    pair = merged(pairs.reshape(-1, *pairs.shape[len(axis) :]))
    return pair[(None,) * len(axis)] if keepdims else pair


def _merged(pairs: da.Array, n_scan: int) -> da.Array:
    """Sum of pairs (..., 2, ...) over the first ``n_scan`` axes, one pair per chunk of the scan."""
    scan = tuple(range(n_scan))
    return da.reduction(
        pairs,
        chunk=_as_it_is,
        combine=_merge,
        aggregate=_merge,
        axis=scan,
        dtype=np.float64,
        split_every=dict.fromkeys(scan, _SPLIT_EVERY),
        meta=np.empty((0,) * (pairs.ndim - n_scan)),
    )


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
    sums = iter(_sums(cells, ones, outputs))
    results = []
    for index, output in enumerate(outputs):
        if output.is_sum:
            results.append(next(sums))
            continue
        inner = tuple((size,) for size in output.shape)
        array = da.map_blocks(
            _pick,
            cells,
            index=index,
            dtype=output.dtype,
            new_axis=list(range(n_scan, n_scan + len(inner))) or None,
            chunks=data.chunks[:-2] + inner,
            meta=np.empty((0,) * (n_scan + len(inner)), dtype=output.dtype),
        )
        results.append(array)
    return results


def _sums(cells: da.Array, ones: tuple[tuple[int, ...], ...], outputs: Sequence[Output]) -> list[da.Array]:
    """Sums over all chunks, together: with many threads, the time of a pass is that of dask's tasks."""
    summed = {index: output for index, output in enumerate(outputs) if output.is_sum}
    if not summed:
        return []
    n_scan, sizes = cells.ndim, [int(np.prod(output.shape)) for output in summed.values()]
    rows = da.map_blocks(
        _pick_sums,
        cells,
        outputs=summed,
        dtype=np.float64,
        new_axis=[n_scan, n_scan + 1],
        chunks=(*ones, (2,), (sum(sizes),)),
        meta=np.empty((0,) * (n_scan + 2)),
    )
    total = _merged(rows, n_scan)
    ends = np.cumsum(sizes)
    return [
        _rounded(total[:, end - size : end].reshape(2, *output.shape), output)
        for output, size, end in zip(summed.values(), sizes, ends, strict=True)
    ]


def sum_over_scan(values: np.ndarray | da.Array) -> np.ndarray | da.Array:
    """Sum over the first two axes in float64, the same however the array is cut; lazy for a lazy one.

    Parameters
    ----------
    values : numpy.ndarray or dask.array.Array
        Shape (y, x, ...).
    """
    if not isinstance(values, da.Array):
        return _block_sum(values)[0, 0, 0]
    sums = da.map_blocks(
        _block_sum,
        values,
        dtype=np.float64,
        new_axis=[2],
        chunks=(*((1,) * n for n in values.numblocks[:2]), (2,), *values.chunks[2:]),
        meta=np.empty((0,) * (values.ndim + 1)),
    )
    return _merged(sums, 2)[0]


def _block_sum(block: np.ndarray) -> np.ndarray:
    return paired_sum(block.reshape(-1, *block.shape[2:]))[None, None]
