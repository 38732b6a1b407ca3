"""What a computation will read, hold in memory and take, before it is run."""

from __future__ import annotations

import time
import tracemalloc
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
from hyperspy.signal import BaseSignal

from medrange.signals.mapping import n_workers, whole_patterns_advice
from medrange.signals.tables import with_units

if TYPE_CHECKING:
    import pandas as pd

    from medrange.signals.nanodiffraction import Nanodiffraction

#: Methods whose work grows with the number of patterns.
METHODS = (
    "medium_range_order", "variance_map", "angular_power_map", "angular_correlation", "radial_profile", "to_polar",
    "dark_field_series", "annular_dark_field", "virtual_dark_field", "fluctuation_variance",
)  # fmt: skip
# Chunks that are read to measure: one for each of two threads.
_SAMPLE_CHUNKS = 2
_SAMPLE_BYTES = 128 * 2**20
# What a reader holds outside of numpy: pages of a file that are mapped, the buffers of a decoder.
_READER_BYTES = 24 * 2**20
# What the allocator keeps of memory that was given back, and dask of its tasks.
_MARGIN = 1.1
_MARGIN_BYTES = 32 * 2**20
# Smaller chunks cost more in tasks than in work.
_SMALL_CHUNK, _MANY_CHUNKS = 4 * 2**20, 1000
_USABLE_MEMORY = 0.7
# Times below, in seconds, are taken twice.
_SHORT = 1.0


@dataclass(frozen=True)
class PlanStep:
    """One pass over a scan.

    Attributes
    ----------
    name : str
        What is done.
    bytes_read : float
        Bytes from the disk, compressed as they are there; NaN where they are not known, as of a part of a scan.
    bytes_decoded : float
        Bytes of patterns that are decoded.
    peak_memory : float
        Upper bound of the memory that is needed beyond what the process holds before, in bytes.
    output_bytes : float
        Bytes of the results.
    seconds : float
        Estimated wall time; NaN where it is not known.
    """

    name: str
    bytes_read: float
    bytes_decoded: float
    peak_memory: float
    output_bytes: float
    seconds: float


@dataclass(frozen=True, repr=False)
class Plan:
    """What the steps of a computation read, hold in memory and take.

    Attributes
    ----------
    steps : tuple of PlanStep
        In the order in which they are done; each keeps its results.
    n_chunks, chunk_bytes : int
        Number of chunks of the scan, and bytes of the largest; one of all patterns where the scan is in memory.
    n_threads : int
        Threads that work at the same time.
    advice : tuple of str
        What to change before running, if anything.
    """

    steps: tuple[PlanStep, ...]
    n_chunks: int
    chunk_bytes: int
    n_threads: int
    advice: tuple[str, ...] = ()

    @property
    def peak_memory(self) -> float:
        """Upper bound of the memory needed beyond what the process holds before, in bytes."""
        kept = accumulate((step.output_bytes for step in self.steps), initial=0.0)
        return max(before + step.peak_memory for before, step in zip(kept, self.steps, strict=False))

    @property
    def table(self) -> pd.DataFrame:
        """One row per step and their total: ``step``, ``read``, ``decoded``, ``peak_memory`` (MB), ``time`` (s)."""
        import pandas as pd

        rows = [(s.name, s.bytes_read / 1e6, s.bytes_decoded / 1e6, s.peak_memory / 1e6, s.seconds) for s in self.steps]
        read, decoded, seconds = (sum(row[i] for row in rows) for i in (1, 2, 4))
        rows.append(("total", read, decoded, self.peak_memory / 1e6, seconds))
        table = pd.DataFrame(rows, columns=["step", "read", "decoded", "peak_memory", "time"])
        return with_units(table, {"read": "MB", "decoded": "MB", "peak_memory": "MB", "time": "s"})

    def __repr__(self) -> str:
        lines = [
            f"Plan: {self.n_chunks} chunks of {_size(self.chunk_bytes)}, {self.n_threads} threads",
            f"{'step':<36}{'read':>10}{'decoded':>10}{'peak memory':>13}{'time':>9}",
        ]
        for row in self.table.itertuples():
            sizes = [_size(value * 1e6) for value in (row.read, row.decoded, row.peak_memory)]
            seconds = f"{row.time:.3g} s" if np.isfinite(row.time) else "-"
            lines.append(f"{row.step:<36}{sizes[0]:>10}{sizes[1]:>10}{sizes[2]:>13}{seconds:>9}")
        return "\n".join([*lines, *(f"advice: {text}" for text in self.advice)])


def _size(n_bytes: float) -> str:
    if not np.isfinite(n_bytes):
        return "-"
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {unit}"
    return f"{n_bytes / 1e3:.3g} kB"


def plan(
    signal: Nanodiffraction,
    methods: Mapping[str, Mapping[str, Any]] | Sequence[str],
    *,
    together: bool = False,
    n_threads: int | None = None,
) -> Plan:
    """Plan for some methods of a scan; the parameters are those of ``Nanodiffraction.plan``."""
    calls = _checked(methods)
    n_threads = n_threads or n_workers()
    data = signal.data
    lazy = isinstance(data, da.Array)
    largest = int(np.prod([max(sizes) for sizes in data.chunks[:-2]])) if lazy else int(np.prod(data.shape[:-2]))
    chunk_bytes = largest * int(np.prod(data.shape[-2:])) * data.dtype.itemsize
    n_chunks = int(np.prod(data.numblocks[:-2])) if lazy else 1
    sample = _Sample(signal, n_threads)
    groups = [calls] if together else [{name: calls[name]} for name in calls]
    steps = tuple(sample.step(group) for group in groups)
    advice = _advice(data, n_chunks, chunk_bytes, n_threads) if lazy else []
    made = Plan(steps, n_chunks, chunk_bytes, n_threads)
    if lazy and len(steps) > 1:
        advice.append(
            "each step reads the scan; dask.compute of all their lazy results together reads it once (together=True)."
        )
    return Plan(steps, n_chunks, chunk_bytes, n_threads, (*advice, *memory_advice(made)))


def _checked(methods: Mapping[str, Mapping[str, Any]] | Sequence[str]) -> dict[str, dict[str, Any]]:
    names = [methods] if isinstance(methods, str) else list(methods)
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        msg = f"methods is {methods!r}; it must name some of {', '.join(METHODS)}."
        raise ValueError(msg)
    return {name: dict(methods[name]) if isinstance(methods, Mapping) else {} for name in names}


def stored_bytes(signal: Nanodiffraction) -> float:
    """Bytes on the disk behind all patterns of a loaded scan; 0 for one in memory, NaN where they are not known."""
    if not isinstance(signal.data, da.Array):
        return 0.0
    path, patterns = signal.tmp_parameters.get_item("path"), signal.tmp_parameters.get_item("patterns")
    if path is not None and Path(path).suffix not in (".zspy", ".hspy", ".zarr"):
        # Of a pair of files, and of a series with flyback, the metadata tell where the frames are, and how many.
        path = signal.metadata.get_item("Medrange.Source.file")
        patterns = signal.metadata.get_item("Medrange.Source.frames_in_file")
    if not (path and patterns and Path(path).exists()):
        return np.nan
    path = Path(path)
    whole = sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size
    return whole * float(np.prod(signal.data.shape[:-2])) / float(patterns)


def read_step(signal: Nanodiffraction, name: str, patterns: float, *, peak_memory: float, seconds: float) -> PlanStep:
    """Step that reads some patterns of a scan and keeps next to nothing."""
    share = patterns / float(np.prod(signal.data.shape[:-2]))
    if not isinstance(signal.data, da.Array):
        return PlanStep(name, 0.0, 0.0, peak_memory, 0.0, seconds)
    return PlanStep(name, share * stored_bytes(signal), share * signal.data.nbytes, peak_memory, 0.0, seconds)


class _Sample:
    """A few chunks of a scan, on which methods are measured."""

    def __init__(self, signal: Nanodiffraction, n_threads: int) -> None:
        self.signal, self.n_threads = signal, n_threads
        self.lazy = isinstance(signal.data, da.Array)
        self.stored = stored_bytes(signal)
        self.n_measured = min(_SAMPLE_CHUNKS, n_threads) if self.lazy else 1
        one, several = _places(signal.data, 1), _places(signal.data, self.n_measured)
        self.tiny = _cut(signal, [slice(place.start, min(place.start + 2, place.stop)) for place in one])
        if self.lazy:
            self.tiny = self.tiny._deepcopy_with_new_data(da.from_array(self.tiny.data.compute()))
        self.one, self.several = _cut(signal, one), _cut(signal, several)
        # The chunks at the end of an axis may be smaller, so that there may be fewer in the sample.
        self.n_measured = int(np.prod(self.several.data.numblocks[:-2])) if self.lazy else 1

    def step(self, calls: Mapping[str, Mapping[str, Any]]) -> PlanStep:
        """What the methods, computed together, need for the whole scan."""
        positions = float(np.prod(self.signal.data.shape[:-2]))
        # Operators are made, and kernels compiled, before anything is measured.
        self._timed(self.tiny, calls, 1)
        start, _, _ = self._timed(self.tiny, calls, 1)
        reading = self._reading_time() if self.lazy else 0.0
        peak, kept, output, of_one_decoded = self._memory(calls)
        seconds, decoded, _ = self._timed(self.several, calls, self.n_measured)
        if seconds < _SHORT:
            # Whatever else the machine did meanwhile makes a short time longer, never shorter.
            seconds = min(seconds, self._timed(self.several, calls, self.n_measured)[0])
        of_one = positions / float(np.prod(self.one.data.shape[:-2]))
        scale = positions / float(np.prod(self.several.data.shape[:-2]))
        passes, once = self._passes(of_one_decoded, decoded)
        busy = self.n_measured / self.n_threads if self.lazy else 1.0
        working = max(seconds - start, 0.0)
        in_flight = min(self.n_threads, of_one) * (peak + _READER_BYTES) if self.lazy else peak
        # Results of the chunks wait until all are there, and are then put together.
        bound = _MARGIN * (in_flight + kept * of_one + output * of_one) + _MARGIN_BYTES
        return PlanStep(
            name=", ".join(calls),
            bytes_read=(passes + once / self.signal.data.nbytes) * self.stored,
            bytes_decoded=passes * self.signal.data.nbytes + once,
            peak_memory=float(bound),
            output_bytes=float(output * of_one),
            seconds=float(start + max(working, passes * reading) * scale * busy),
        )

    def _passes(self, of_one: float, of_several: float) -> tuple[float, float]:
        """How often each pattern is decoded, and bytes that are decoded besides, whatever the size of the scan."""
        one, several = self.one.data.nbytes, self.several.data.nbytes
        passes = (of_several - of_one) / (several - one) if several > one else of_several / several
        return passes, of_one - passes * one

    def _reading_time(self) -> float:
        start = time.perf_counter()
        blocks = self.several.data.to_delayed().ravel()
        dask.compute([dask.delayed(len)(block) for block in blocks], scheduler="threads", num_workers=self.n_measured)
        return time.perf_counter() - start

    def _timed(self, part: Nanodiffraction, calls: Mapping, n_threads: int) -> tuple[float, float, list]:
        """Wall time, bytes decoded and results of the methods on a part of the scan."""
        counted: list[int] = []
        if self.lazy:
            part = part._deepcopy_with_new_data(_counting(part.data, counted))
        options = {"scheduler": "threads" if n_threads > 1 else "synchronous", "num_workers": n_threads}
        if not self.lazy:
            options = {"num_workers": self.n_threads}
        with dask.config.set(**options), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            made = [getattr(part, name)(**keywords) for name, keywords in calls.items()]
            arrays = dask.compute(*[array for result in made for array in _arrays(result)])
            return time.perf_counter() - start, float(sum(counted)), list(arrays)

    def _memory(self, calls: Mapping) -> tuple[float, float, float, float]:
        """Peak memory on one chunk, what is held of it after that, its results, and what was decoded, in bytes."""
        tracing = tracemalloc.is_tracing()
        if not tracing:
            tracemalloc.start()
        try:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            _, decoded, arrays = self._timed(self.one, calls, 1)
            kept, peak = (value - before for value in tracemalloc.get_traced_memory())
            return float(peak), float(max(kept, 0)), float(sum(array.nbytes for array in arrays)), decoded
        finally:
            if not tracing:
                tracemalloc.stop()


def _counting(data: da.Array, counted: list[int]) -> da.Array:
    """The same array, noting the bytes of each chunk that is computed."""

    def count(block: np.ndarray) -> np.ndarray:
        counted.append(block.nbytes)
        return block

    return da.map_blocks(count, data, dtype=data.dtype, meta=np.empty((0,) * data.ndim, data.dtype))


def _places(data: np.ndarray | da.Array, count: int) -> list[slice]:
    """Scan region of ``count`` chunks, one after the other, from the middle; of some rows of an array in memory."""
    if not isinstance(data, da.Array):
        if data.ndim == 2:
            return []
        rows = max(1, min(len(data), _SAMPLE_BYTES // max(1, data[:1].nbytes)))
        return [slice(0, rows), *(slice(0, n) for n in data.shape[1:-2])]
    places = []
    for sizes in data.chunks[:-2]:
        take = min(count, len(sizes))
        count = max(1, count // take)
        first = (len(sizes) - take) // 2
        start = sum(sizes[:first])
        places.append(slice(start, start + sum(sizes[first : first + take])))
    return places


def _cut(signal: Nanodiffraction, places: list[slice]) -> Nanodiffraction:
    return signal.inav[tuple(reversed(places))] if places else signal


def _arrays(result: Any) -> list[np.ndarray | da.Array]:
    """Arrays in a result, whatever its class."""
    if isinstance(result, (np.ndarray, da.Array)):
        return [result]
    if isinstance(result, BaseSignal):
        return [result.data]
    if is_dataclass(result):
        return [array for field in fields(result) for array in _arrays(getattr(result, field.name))]
    return []


def _advice(data: da.Array, n_chunks: int, chunk_bytes: int, n_threads: int) -> list[str]:
    """What is wrong with the chunks."""
    advice = []
    if text := whole_patterns_advice(data):
        advice.append(text)
    if n_chunks > _MANY_CHUNKS and chunk_bytes < _SMALL_CHUNK:
        advice.append(
            f"{n_chunks} chunks of {_size(chunk_bytes)} cost more in tasks than in work: load with "
            "medrange.load, or call s.rechunk(nav_chunks='auto', sig_chunks=-1) once and save."
        )
    if n_chunks < n_threads and data.nbytes > _SAMPLE_BYTES:
        advice.append(
            f"{n_chunks} chunk{'s' * (n_chunks > 1)} cannot keep {n_threads} threads busy: load with "
            f"medrange.load(..., block_bytes={max(_SMALL_CHUNK, data.nbytes // (4 * n_threads))})."
        )
    return advice


def memory_advice(made: Plan) -> Iterable[str]:
    """What to do where a plan needs more memory than the machine, or the container, has."""
    from distributed.system import MEMORY_LIMIT

    if made.peak_memory > _USABLE_MEMORY * MEMORY_LIMIT:
        block = int(made.chunk_bytes * _USABLE_MEMORY * MEMORY_LIMIT / made.peak_memory / 2)
        yield (
            f"the run may need {_size(made.peak_memory)} of memory and the machine has {_size(MEMORY_LIMIT)}: load "
            f"with medrange.load(..., block_bytes={max(block, 2**20)}), or let fewer threads work, "
            "dask.config.set(num_workers=1)."
        )
