"""A large scan through `medrange maps` and `medrange pdf`: peak memory, and time over decoding it once.

    python benchmarks/large_scan.py FOLDER                   # 16 GB in a .zspy store, deleted at the end
    python benchmarks/large_scan.py FOLDER --format empad    # 16 GB of raw frames
    python benchmarks/large_scan.py FOLDER --eager           # the commands with all in memory too: needs 17 GB of it
    python benchmarks/large_scan.py FOLDER --gigabytes 0.5   # to see that it runs

The scan is made of a few different blocks of noisy patterns, written over and over: every chunk is read and decoded
like any other. Each work runs in a process of its own, with two threads or `--threads N`. `decode` loads every chunk
once and drops it, the start of the process included. With `--eager` the same command is run with the whole scan in
memory too: the eager compute is what it takes besides loading the file. A run is held against both.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import medrange as mr

BLOCKS = 4
DECODE = """
import sys, dask, medrange as mr
dask.config.set(num_workers=int(sys.argv[2]))
data = mr.load(sys.argv[1], lazy=True, navigator=False).data
dask.compute([dask.delayed(len)(block) for block in data.to_delayed().ravel()])
"""


def patterns(name, count, rng):
    """Noisy repetitions of the patterns of a sample scan, in random order and of different dose."""
    frames = mr.load(mr.datasets.sample_scan(name)).data
    frames = frames.reshape(-1, *frames.shape[-2:])[rng.integers(0, frames.shape[0] * frames.shape[1], count)]
    return rng.poisson(frames * rng.uniform(0.8, 1.2, (count, 1, 1))).astype(frames.dtype)


def write_zspy(path, n_bytes, rng):
    """(lines, 256 | 256, 256) uint16 in chunks of a line, 32 MiB; the files of a few chunks are copied."""
    import zarr

    lines = max(BLOCKS, round(n_bytes / (256 * 256 * 256 * 2)))
    block = np.stack([patterns("merlin", 256, rng) for _ in range(BLOCKS)])
    np.save(path.with_suffix(".npy"), block)
    mr.io.convert(path.with_suffix(".npy"), path, chunks=(1, 256))
    path.with_suffix(".npy").unlink()
    store = zarr.open_group(zarr.storage.DirectoryStore(str(path), dimension_separator="/"), mode="r+")
    next(iter(store["Experiments"].values()))["data"].resize((lines, 256, 256, 256))
    next(iter(store["Experiments"].values()))["axis-0"].attrs["size"] = lines
    data = next(path.glob("Experiments/*/data"))
    for line in range(BLOCKS, lines):
        shutil.copytree(data / str(line % BLOCKS), data / str(line))


def write_empad(path, n_bytes, rng):
    """(lines, 512 | 128, 128) float32 in records of 130 rows."""
    record = 130 * 128 * 4
    lines = max(BLOCKS, round(n_bytes / (512 * record)))
    block = np.zeros((BLOCKS, 512, 130, 128), np.float32)
    for line in block:
        line[:, :128] = patterns("empad", 512, rng)
    with path.open("wb") as file:
        for line in range(lines):
            file.write(block[line % BLOCKS].data)
    return ["--scan-shape", f"{lines},512"]


def measured(command):
    """Wall time, CPU time and peak resident memory in bytes of a process, and what it took to load the file."""
    environment = os.environ | {"CI": "1", "PYTHONUNBUFFERED": "1"}
    # Where this is set every start compiles all packages anew, which takes longer than to decode the scan.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    output, times = [], []
    for line in process.stdout:
        output.append(line)
        times.append(time.perf_counter())
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{''.join(output)}")
    loading = times[1] - times[0] if len(times) > 1 else 0.0
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, loading


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the scan is written; needs 4 (.zspy) or 17 GB (empad)")
    parser.add_argument("--format", choices=("zspy", "empad"), default="zspy")
    parser.add_argument("--gigabytes", type=float, default=16.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--eager", action="store_true", help="run the commands with the scan in memory too")
    parser.add_argument("--keep", action="store_true", help="leave the scan for another run")
    arguments = parser.parse_args()
    folder, rng = arguments.folder, np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("large.zspy" if arguments.format == "zspy" else f"large_{arguments.gigabytes:g}.raw")
    k_step = 0.08 if arguments.format == "zspy" else 0.16
    n_bytes = arguments.gigabytes * 1e9
    shape = []
    if not path.exists():
        shape = (write_zspy if arguments.format == "zspy" else write_empad)(path, n_bytes, rng) or []
    elif arguments.format == "empad":
        shape = ["--scan-shape", f"{path.stat().st_size // (512 * 130 * 128 * 4)},512"]
    try:
        run(path, folder, k_step, shape, arguments)
    finally:
        if not arguments.keep:
            (shutil.rmtree if path.is_dir() else os.unlink)(path)


def run(path, folder, k_step, shape, arguments):
    if shape:
        # The short scripts find the scan's shape in its name.
        rows, columns = shape[1].split(",")
        named = path.with_name(f"scan_x{columns}_y{rows}.raw")
        path.rename(named)
    else:
        named = path
    try:
        decode = measured([sys.executable, "-c", DECODE, str(named), str(arguments.threads)])
        print(
            f"load {os.getloadavg()[0]:.1f}; decode once: {decode[0]:.1f} s wall, {decode[1]:.1f} s CPU, "
            f"peak {decode[2] / 1e9:.2f} GB",
            flush=True,
        )
        scales = ["--scan-step", "0.5", "--k-step", str(k_step), "--energy", "300", "--convergence", "1.15"]
        works = {"maps": ["--k", "4.0", "--width", "0.8"], "pdf": ["--composition", "Fe85.2Si0.5B9.5P4Cu0.8"]}
        start = (
            f"import dask; dask.config.set(num_workers={arguments.threads}); from medrange.cli.app import main; main()"
        )
        for name, options in works.items():
            out = folder / f"out_{name}"
            command = [sys.executable, "-c", start, name, str(named), "--out", str(out), *options, *scales, *shape]
            wall, cpu, peak, _ = measured(command)
            shutil.rmtree(out)
            text = f"{name:<5} {wall:6.1f} s wall, {cpu:6.1f} s CPU, peak {peak / 1e9:.2f} GB"
            text += f"; {wall / decode[0]:.2f} x decode"
            if arguments.eager:
                whole, _, held, loading = measured([*command, "--eager"])
                shutil.rmtree(out)
                text += (
                    f"; in memory {whole:.1f} s ({held / 1e9:.1f} GB), of which {loading:.1f} s to load: "
                    f"{wall / (whole - loading):.2f} x the rest"
                )
            print(text, flush=True)
    finally:
        if named != path:
            named.rename(path)


if __name__ == "__main__":
    main()
