"""How the time of the maps grows: with the scan, the threads, the symmetry orders and the rings.

    python benchmarks/scaling.py                    # scans of 32 x 32 to 128 x 128 positions, float32, 128 x 128
    python benchmarks/scaling.py --quick            # smaller
    python benchmarks/scaling.py --threads 1 2 4 8  # only how it scales with these; by default up to all cores

Each table is relative to `numpy.sum` of the same array in the same run; a column is flat where the time grows with the
data alone. Of the threads it tells the speedup over the first number given, and the CPU time of the thread that calls:
it shares out the work and puts the results together, and no number of threads takes less than that.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import dask
import numpy as np
from resire import iteration, particle
from timing import byte_sum, seconds, synthetic_scan

import medrange as mr
from medrange.aet.tomography.fourier_projector import FourierProjector
from medrange.aet.tomography.threads import Threads
from medrange.geometry import PolarGrid
from medrange.kernels.rings import ring_statistics
from medrange.signals.mapping import n_workers

DETECTOR, K_STEP = (128, 128), 0.16


def calibrated(data):
    signal = mr.Nanodiffraction(data)
    signal.calibrate(scan_step=0.32, k_step=K_STEP, beam_energy=300)
    signal.set_center((DETECTOR[0] / 2 - 0.4,) * 2)
    return signal


def entry(what, value, times, baseline):
    cpu, wall = times[0] / baseline[0], times[1] / baseline[1]
    print(f"{what:<44} {value:>8} {times[0] * 1e3:10.1f} ms CPU  {cpu:8.2f} x CPU {wall:8.2f} x wall", flush=True)
    return {what: value, "cpu_ms": times[0] * 1e3, "cpu_ratio": cpu, "wall_ratio": wall}


def scan_sizes(sides):
    """1, 4 and 16 times the positions, the whole call with all rings."""
    rows = []
    for side in sides:
        data = synthetic_scan((side, side), DETECTOR, np.float32)
        signal, baseline = calibrated(data), seconds(data.sum)
        times = seconds(lambda signal=signal: signal.medium_range_order(k=4.0, width=0.64), 3)
        rows.append(entry("positions, all rings", side * side, times, baseline))
    return rows


def thread_counts():
    """1, 2, 4, ... and all cores."""
    cores = n_workers()
    return sorted({2**i for i in range(cores.bit_length()) if 2**i < cores} | {cores})


def in_threads(what, counts, make, repeats=3):
    """Rows of a function, ``make(count)()``, with each number of threads."""
    rows = []
    for count in counts:
        with dask.config.set(scheduler="threads", num_workers=count):
            function = make(count)
            function()
            times = []
            for _ in range(repeats):
                start = time.perf_counter(), time.process_time(), time.thread_time()
                function()
                end = time.perf_counter(), time.process_time(), time.thread_time()
                times.append([(b - a) * 1e3 for a, b in zip(start, end, strict=True)])
        row = dict(zip(("wall_ms", "cpu_ms", "calling_ms"), np.min(times, axis=0), strict=True))
        row = {"what": what, "threads": count, **row}
        rows.append(row | {"speedup": (rows or [row])[0]["wall_ms"] / row["wall_ms"]})
        print(
            f"{what:<44} {count:>3} threads {row['wall_ms']:9.1f} ms wall {row['cpu_ms']:9.1f} ms CPU, of it "
            f"{row['calling_ms']:7.1f} in the calling thread; speedup {rows[-1]['speedup']:5.2f}",
            flush=True,
        )
    return rows


def scan_threads(side, counts):
    """Reading memory, and the maps in memory and from a compressed store."""
    data = synthetic_scan((side, side), DETECTOR, np.float32)
    signal, blocks = calibrated(data), np.array_split(data.reshape(-1), 64)
    ring = {"k": 4.0, "width": 0.64}
    rows = in_threads("bytes read once", counts, lambda count: lambda: Threads(count).each(byte_sum, blocks))
    rows += in_threads("one ring", counts, lambda _: lambda: signal.medium_range_order(**ring, k_resolved=False))
    rows += in_threads("all rings", counts, lambda _: lambda: signal.medium_range_order(**ring))
    rows += in_threads("I(k)", counts, lambda _: signal.radial_profile)
    with tempfile.TemporaryDirectory() as folder:
        signal.save(Path(folder) / "scan.zspy", chunks=(1, *data.shape[1:]))
        lazy = mr.load(Path(folder) / "scan.zspy", lazy=True)
        decode = [dask.delayed(len)(chunk) for chunk in lazy.data.to_delayed().ravel()]
        rows += in_threads("decoding a .zspy store", counts, lambda _: lambda: dask.compute(decode))
        rows += in_threads("all rings from it", counts, lambda _: lambda: lazy.medium_range_order(**ring).compute())
    return rows


def null_threads(side, counts):
    """Maps of 16 random objects."""
    signal = calibrated(synthetic_scan((side, side), DETECTOR, np.uint16))
    signal.calibrate(convergence_angle=1.15)
    result = signal.medium_range_order(k=4.0, width=0.64, k_resolved=False)
    return in_threads("null, 16 realizations", counts, lambda _: lambda: result.null(n_realizations=16), 1)


def resire_threads(size, counts):
    """An iteration of RESIRE, 41 images."""
    theta, volume, rows = np.arange(-70, 70.1, 3.5), particle(size), []
    tilts = np.stack([0 * theta, theta, 0 * theta], axis=1)
    for name, angles in (("tilts", tilts), ("any angles", tilts + np.array([0.2, 0, -0.2]))):

        def make(count, angles=angles):
            projector = FourierProjector(angles, (size,) * 2, (size,) * 3, (3,) * 3, count)
            return iteration(projector, projector.forward(volume))

        rows += in_threads(f"RESIRE, {size}^3, {name}", counts, make)
    return rows


def threads(quick, counts):
    """All that is done in threads."""
    rows = scan_threads(32 if quick else 128, counts) + null_threads(16 if quick else 64, counts)
    for size in (32,) if quick else (64, 128):
        rows += resire_threads(size, counts)
    return rows


def orders(side):
    """The kernel with more and more orders, 60 rings of 72 azimuths."""
    data = synthetic_scan((side, side), DETECTOR, np.float32)
    frames, geometry, baseline = data.reshape(-1, *DETECTOR), calibrated(data).geometry, seconds(data.sum)
    grid, rows = PolarGrid(0.0, 60 * K_STEP, 60, 72), []
    for n_max in (2, 5, 10, 20, 36):
        times = seconds(lambda n_max=n_max: ring_statistics(frames, geometry, grid, n_max=n_max))
        rows.append(entry("orders, 60 rings x 72, kernel", n_max, times, baseline))
    return rows


def rings(side):
    """The kernel with more and more rings, out to the same k."""
    data = synthetic_scan((side, side), DETECTOR, np.float32)
    frames, geometry, baseline = data.reshape(-1, *DETECTOR), calibrated(data).geometry, seconds(data.sum)
    rows = []
    for count in (1, 15, 30, 60, 120):
        grid = PolarGrid(0.0, 60 * K_STEP, count, 72)
        times = seconds(lambda grid=grid: ring_statistics(frames, geometry, grid, n_max=10))
        rows.append(entry("rings out to 9.6 1/nm, P_1..10, kernel", count, times, baseline))
    return rows


def scaling_tables(quick):
    """Tables by name."""
    side = 16 if quick else 64
    return {
        "scan_sizes": scan_sizes([side // 2, side, 2 * side]),
        "threads": threads(quick, thread_counts()),
        "orders": orders(side),
        "rings": rings(side),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small scans")
    parser.add_argument("--threads", type=int, nargs="+", metavar="N", help="only the table of these numbers")
    arguments = parser.parse_args()
    # Of the writer of .zspy; and synthetic patterns are no random object.
    warnings.filterwarnings("ignore", message="The NestedDirectoryStore|the bulk of the maps")
    if arguments.threads:
        threads(arguments.quick, arguments.threads)
    else:
        scaling_tables(arguments.quick)


if __name__ == "__main__":
    main()
