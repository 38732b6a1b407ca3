"""Curves of a scan block by block, from memory, from a memory map or from chunks of dask, for several passes."""

from __future__ import annotations

from collections.abc import Iterable

import dask
import dask.array as da
import numpy as np
from tqdm import tqdm

from medrange.pdf.compression import BLOCK_ROWS, BlockSource, array_blocks
from medrange.signals.mapping import shows_progress

# Chunks computed at a time: about so many bytes, and at least one for each of a few threads.
_BATCH_BYTES = 128 * 2**20
_MIN_BATCH = 2
_BAR_DELAY = 2.0


def curve_blocks(data: np.ndarray | da.Array, columns: slice, *, label: str = "") -> BlockSource:
    """Blocks of the curves (..., r), cut to some columns, each with the numbers of its rows.

    Parameters
    ----------
    data : numpy.ndarray or dask.array.Array
        Shape (..., r). Of a dask array few chunks are in memory at a time.
    columns : slice
        Part of the last axis.
    label : str
        Text of the progress bar over the chunks.

    Returns
    -------
    callable
        See :data:`medrange.pdf.compression.BlockSource`; every call reads the data once.
    """
    if not isinstance(data, da.Array):
        return array_blocks(data.reshape(-1, data.shape[-1])[:, columns])
    return _DaskBlocks(data[..., columns], label)


class _DaskBlocks:
    """Blocks of a dask array, computed in batches, and handed out in the same pieces as those of an array in memory.

    Sums over the blocks are then the same, whatever the chunks: they are joined along the scan lines first.
    """

    def __init__(self, data: da.Array, label: str) -> None:
        self._data, self._label = data.rechunk(dict.fromkeys(range(1, data.ndim), -1)), label

    def __call__(self) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        waiting, start = np.empty((0, self._data.shape[-1]), self._data.dtype), 0
        for part in self._parts():
            waiting = np.concatenate([waiting, part])
            while len(waiting) >= BLOCK_ROWS:
                yield np.arange(start, start + BLOCK_ROWS), waiting[:BLOCK_ROWS]
                waiting, start = waiting[BLOCK_ROWS:], start + BLOCK_ROWS
        if len(waiting):
            yield np.arange(start, start + len(waiting)), waiting

    def _parts(self) -> Iterable[np.ndarray]:
        """Curves (n, r) of the chunks, in the order of the scan."""
        data = self._data
        chunks = data.to_delayed().ravel()
        largest = data.dtype.itemsize * int(np.prod(data.chunksize))
        batch = max(_MIN_BATCH, _BATCH_BYTES // max(largest, 1))
        bar = tqdm(total=len(chunks), desc=self._label, unit="chunk", delay=_BAR_DELAY, disable=not shows_progress())
        with bar:
            for start in range(0, len(chunks), batch):
                part = slice(start, start + batch)
                for block in dask.compute(*chunks[part]):
                    yield block.reshape(-1, data.shape[-1])
                bar.update(len(chunks[part]))
