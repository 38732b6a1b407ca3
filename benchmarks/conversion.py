"""Size and reading speed of converted scans: which codec, which chunk.

    python benchmarks/conversion.py FILE [FILE ...]     # detector files; by default the two sample scans
    python benchmarks/conversion.py --quick             # one small chunk size only

Of each store: its size relative to the raw array, the time to write and check it, and the time to read it back with
two threads, relative to `numpy.sum` of the array in memory in the same run.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import dask

import medrange as mr
from medrange.io import convert, read
from medrange.io.conversion import CODECS

_CHUNKS_MB = (1, 8, 32)


def timed(function, repeats=3):
    """Least wall time of a few calls, seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def row(source, folder, codec, megabytes, baseline):
    target = folder / f"{codec}_{megabytes}.zspy"
    start = time.perf_counter()
    written = convert(source, target, codec=codec, chunk_bytes=int(megabytes * 2**20), overwrite=True)
    writing = time.perf_counter() - start
    data = read(target, lazy=True)["data"]
    with dask.config.set(scheduler="threads", num_workers=2):
        reading = timed(lambda: data.max(axis=(-2, -1)).compute())
    shutil.rmtree(target)
    size = written.stored_bytes / written.source_bytes
    print(f"  {codec:11s} {megabytes:5g} MB {size:8.3f} {writing:10.2f} s {reading / baseline:10.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    files = arguments.files or [mr.datasets.sample_scan(name) for name in ("empad", "merlin")]
    for source in files:
        data = read(source)["data"]
        baseline = timed(lambda data=data: data.sum())
        print(f"{source}: {data.shape} {data.dtype}, {data.nbytes / 1e6:.0f} MB, numpy.sum {baseline * 1e3:.1f} ms")
        print("  codec        chunk   size/raw    writing   reading / numpy.sum")
        with tempfile.TemporaryDirectory() as folder:
            for codec in CODECS:
                for megabytes in _CHUNKS_MB[:1] if arguments.quick else _CHUNKS_MB:
                    row(source, Path(folder), codec, megabytes, baseline)


if __name__ == "__main__":
    main()
