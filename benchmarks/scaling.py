"""How the time of the maps grows: with the scan, the threads, the symmetry orders and the rings.

    python benchmarks/scaling.py            # scans of 32 x 32, 64 x 64, 128 x 128 positions, float32, 128 x 128
    python benchmarks/scaling.py --quick    # smaller

Each table is relative to `numpy.sum` of the same array in the same run; a column is flat where the time grows with the
data alone.
"""

import argparse

import dask
import numpy as np
from timing import seconds, synthetic_scan

import medrange as mr
from medrange.geometry import PolarGrid
from medrange.kernels.rings import ring_statistics

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


def threads(side):
    """One and two threads, wall time of the whole call."""
    data = synthetic_scan((side, side), DETECTOR, np.float32)
    signal, baseline, rows = calibrated(data), seconds(data.sum), []
    for count in (1, 2):
        with dask.config.set(num_workers=count):
            times = seconds(lambda: signal.medium_range_order(k=4.0, width=0.64))
        rows.append(entry("threads, all rings", count, times, baseline))
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
        "threads": threads(side),
        "orders": orders(side),
        "rings": rings(side),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small scans")
    scaling_tables(parser.parse_args().quick)


if __name__ == "__main__":
    main()
