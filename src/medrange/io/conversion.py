"""Copy a scan into a chunked, compressed store: in blocks, checked, and resumable after an interruption."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np

from medrange._version import __version__
from medrange.io.load import read
from medrange.io.navigator import kept_navigator
from medrange.working import available_cores

if TYPE_CHECKING:
    import zarr

#: Codecs by name; the level that was measured to be worth its time.
CODECS = {"lz4": ("lz4", 5), "zstd": ("zstd", 5), "none": None}

#: Called with (blocks done, blocks in all) after each block.
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Conversion:
    """What :func:`convert` wrote.

    Attributes
    ----------
    path : pathlib.Path
        The store.
    chunks : tuple of int
        Shape of a chunk (y, x, ky, kx).
    codec : str
        Name of the codec.
    source_bytes, stored_bytes : int
        Size of the array, and of the store's files.
    blocks, resumed : int
        Chunks in all, and how many of them an earlier, interrupted run had written.
    checksum : str
        SHA-256 over the CRC-32 of the chunks in order, each compared with what was read back from the store.
    """

    path: Path
    chunks: tuple[int, ...]
    codec: str
    source_bytes: int
    stored_bytes: int
    blocks: int
    resumed: int
    checksum: str

    def __repr__(self) -> str:
        resumed = f", {self.resumed} of them from an interrupted run" if self.resumed else ""
        return (
            f"<Conversion: {self.path}, {self.blocks} chunks of {self.chunks} ({self.codec}){resumed}, "
            f"{self.source_bytes / self.stored_bytes:.2f} times smaller>"
        )


def convert(
    source: str | Path,
    target: str | Path,
    *,
    chunks: tuple[int, ...] | None = None,
    chunk_bytes: int = 32 * 2**20,
    codec: str = "zstd",
    overwrite: bool = False,
    report: Report | None = None,
    **reading: Any,
) -> Conversion:
    """Copy a detector file into a zarr store that HyperSpy and medrange open lazily.

    The scan is read block by block, never whole. Each chunk is written, read back and compared with what came
    from the source, and only then noted in a journal beside the store. Until all is written the store has the
    ending ``.partial``; the same call after an interruption goes on where the journal ends, and the result is
    the same, file for file. Chunks always hold whole patterns.

    Parameters
    ----------
    source : str or path
        Anything :func:`medrange.io.read` reads.
    target : str or path
        Folder to write, ending in ``.zspy`` (as HyperSpy expects) or ``.zarr`` (the same layout).
    chunks : tuple of int, optional
        Scan positions (y, x) of a chunk; by default whole scan lines, as many as fit into ``chunk_bytes``, or a
        part of one.
    chunk_bytes : int
        Size of a chunk before compression, bytes.
    codec : str
        ``"zstd"``, ``"lz4"`` or ``"none"``.
    overwrite : bool
        Replace an existing target, or a partial one made with other settings.
    report : callable, optional
        Called with (chunks done, chunks in all).
    **reading
        ``scan_shape=``, ``flyback=``, ``sync_offset=``, ``dataset=``: see :func:`medrange.io.read`.

    Returns
    -------
    Conversion
        What was written.

    Raises
    ------
    ValueError
        If the ending, the chunks or the codec are not known, or a partial store was made with other settings.
    FileExistsError
        If the target exists and ``overwrite`` is False.
    OSError
        If what is read back differs from what was written.

    Notes
    -----
    Measured on simulated EMPAD and Merlin counts (``benchmarks/conversion.py``, two threads): zstd takes 0.11 and 0.24
    of the raw size and reads in 4 to 6 times the time of summing the array in memory; lz4 takes 0.23 and 0.39 and
    reads in 3 to 6 times. zstd of a lower level is no faster to read. Floating-point patterns with readout noise hardly
    compress (0.88 of the raw size) and are slow to decode: take "none" for those. Chunks of 8 to 32 MB read alike;
    small ones are slow to write from a compressed source, and make many files.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> np.save(folder / "scan.npy", np.zeros((3, 4, 8, 8), "uint16"))
    >>> convert(folder / "scan.npy", folder / "scan.zspy").chunks
    (3, 4, 8, 8)
    """
    source, target = Path(source).expanduser(), Path(target).expanduser()
    _check(target, codec, overwrite)
    dictionary = read(source, lazy=True, navigator=True, **reading)
    data = dictionary["data"]
    if data.ndim not in (3, 4):
        msg = f"{source} holds an array of shape {data.shape}; convert copies scans, (y, x, ky, kx)."
        raise ValueError(msg)
    shape = _chunk_shape(data.shape, data.dtype.itemsize, chunks, chunk_bytes)
    partial, journal = _beside(target, ".partial"), _beside(target, ".partial.journal")
    identity = _identity(source, data, shape, codec)
    done = _earlier(partial, journal, identity, overwrite)
    if done is None:
        _start(partial, journal, dictionary, shape, codec, identity)
        done = {}
    resumed = len(done)
    _copy(data, _stored_array(partial), shape, done, journal, report)
    if target.exists():
        shutil.rmtree(target)
    os.replace(partial, target)
    journal.unlink()
    checksums = b"".join(done[key].to_bytes(4, "big") for key in sorted(done))
    return Conversion(
        target,
        shape,
        codec,
        int(data.nbytes),
        sum(file.stat().st_size for file in target.rglob("*") if file.is_file()),
        len(done),
        resumed,
        hashlib.sha256(checksums).hexdigest(),
    )


def _check(target: Path, codec: str, overwrite: bool) -> None:
    if target.suffix not in (".zspy", ".zarr"):
        msg = f"the target {target.name!r} must end in .zspy or .zarr."
        raise ValueError(msg)
    if codec not in CODECS:
        msg = f"codec is {codec!r}; expected one of {', '.join(CODECS)}."
        raise ValueError(msg)
    if target.exists() and not overwrite:
        msg = f"{target} exists; give another name, or overwrite=True to replace it."
        raise FileExistsError(msg)


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


def _chunk_shape(
    shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...] | None, chunk_bytes: int
) -> tuple[int, ...]:
    """Whole patterns; whole scan lines where one fits."""
    scan, detector = shape[:-2], shape[-2:]
    if chunks is not None:
        if len(chunks) != len(scan) or min(chunks) < 1:
            msg = (
                f"chunks is {chunks}; give {len(scan)} positive numbers of scan positions, such as {(4,) * len(scan)}."
            )
            raise ValueError(msg)
        return (*(min(int(c), n) for c, n in zip(chunks, scan, strict=True)), *detector)
    patterns = max(1, chunk_bytes // (detector[0] * detector[1] * itemsize))
    inner = min(scan[-1], patterns)
    if len(scan) == 1:
        return (inner, *detector)
    return (min(scan[0], max(1, patterns // inner)), inner, *detector)


def _identity(source: Path, data: Any, chunks: tuple[int, ...], codec: str) -> dict[str, Any]:
    """What must be the same for a run to go on with the work of another."""
    status = source.stat()
    return {
        "source": str(source.resolve()),
        "source_bytes": status.st_size,
        "source_changed_ns": status.st_mtime_ns,
        "shape": list(data.shape),
        "dtype": data.dtype.str,
        "chunks": list(chunks),
        "codec": codec,
        "medrange": __version__,
    }


def _earlier(partial: Path, journal: Path, identity: dict, overwrite: bool) -> dict[int, int] | None:
    """Checksums of the chunks an interrupted run has written; None to start from nothing."""
    if not (partial.exists() and journal.exists()):
        return None
    lines = journal.read_text(encoding="utf-8").splitlines()
    try:
        written = json.loads(lines[0])
        # A kill may have cut the last line.
        entries = [json.loads(line) for line in lines[1:] if line.endswith("}")]
    except (IndexError, json.JSONDecodeError):
        return None
    if written != identity:
        changed = ", ".join(key for key in identity if written.get(key) != identity[key])
        if overwrite:
            return None
        msg = (
            f"{partial} was begun with another {changed}. Repeat the call with the same settings to go on, or give "
            "overwrite=True to start again."
        )
        raise ValueError(msg)
    # What a chunk is written to before it gets its name.
    for unfinished in partial.rglob("*.partial"):
        unfinished.unlink()
    return {entry["chunk"]: entry["crc32"] for entry in entries}


def _start(partial: Path, journal: Path, dictionary: dict, chunks: tuple[int, ...], codec: str, identity: dict) -> None:
    """An empty store with axes and metadata, and a journal without entries."""
    import zarr
    from numcodecs import Blosc
    from rsciio.zspy import file_writer

    if partial.exists():
        shutil.rmtree(partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    data = dictionary["data"]
    if "navigator" in dictionary:
        own = dictionary["metadata"].setdefault("_HyperSpy", {})
        own["_sig_navigator"] = kept_navigator(dictionary["navigator"], dictionary["axes"])
    described = {
        "learning_results": {},
        "attributes": {"_lazy": True},
        "models": {},
        "package_info": {"package": "medrange", "package_version": __version__},
        **{key: value for key, value in dictionary.items() if key not in ("data", "navigator")},
    }
    store = zarr.storage.DirectoryStore(str(partial), dimension_separator="/")
    compressor = None
    if CODECS[codec] is not None:
        name, level = CODECS[codec]
        compressor = Blosc(cname=name, clevel=level, shuffle=Blosc.SHUFFLE)
    file_writer(store, described, write_dataset=False, compressor=compressor, consolidate=False)
    group = zarr.open_group(store, mode="r+")["Experiments"]
    next(iter(group.values())).create_dataset(
        "data", shape=data.shape, dtype=data.dtype, chunks=chunks, compressor=compressor, fill_value=0
    )
    _append(journal, identity)


def _stored_array(partial: Path) -> zarr.Array:
    import zarr

    store = zarr.storage.DirectoryStore(str(partial), dimension_separator="/")
    return next(iter(zarr.open_group(store, mode="r+")["Experiments"].values()))["data"]


def _append(journal: Path, entry: dict[str, Any]) -> None:
    """Add a line, and make sure that it is on the disk."""
    with journal.open("a" if journal.exists() and "chunk" in entry else "w", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _slices(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Scan regions of the chunks, in order."""
    counts = [-(-n // c) for n, c in zip(shape[:-2], chunks[:-2], strict=True)]
    for index in np.ndindex(*counts):
        yield tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(index, chunks, shape, strict=False))


def _copy(
    data: Any,
    stored: zarr.Array,
    chunks: tuple[int, ...],
    done: dict[int, int],
    journal: Path,
    report: Report | None,
) -> None:
    """Write the chunks that are missing, several at a time, and note each."""
    regions = list(enumerate(_slices(data.shape, chunks)))
    missing = [(number, region) for number, region in regions if number not in done]

    def write(number: int, region: tuple[slice, ...]) -> tuple[int, int]:
        (block,) = dask.compute(data[region], scheduler="synchronous")
        block = np.ascontiguousarray(block)
        stored[region] = block
        checksum = zlib.crc32(block)
        if zlib.crc32(np.ascontiguousarray(stored[region])) != checksum:
            msg = f"chunk {number} of {journal} reads back differently from what was written: check the disk."
            raise OSError(msg)
        return number, checksum

    with ThreadPoolExecutor(available_cores()) as pool:
        for future in as_completed([pool.submit(write, *job) for job in missing]):
            number, checksum = future.result()
            _append(journal, {"chunk": number, "crc32": checksum})
            done[number] = checksum
            if report is not None:
                report(len(done), len(regions))
