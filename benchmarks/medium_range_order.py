"""Time of the maps of a whole scan, as ratios to `numpy.sum` and to reading the bytes, in the same process.

    python benchmarks/medium_range_order.py                 # 64 x 64 scan
    python benchmarks/medium_range_order.py --quick         # 16 x 16, to see that it runs
    python benchmarks/medium_range_order.py --peers PYTHON  # also pyxem, py4DSTEM, LiberTEM in that interpreter

A ratio below 1 means that the maps cost less than adding up the array. Making the HyperSpy signals of a
result takes some milliseconds whatever the size of the scan; the kernel rows leave that out.
"""

import argparse
import subprocess
from pathlib import Path

import numpy as np
from timing import byte_sum, header, row, seconds, synthetic_scan

import medrange as mr
from medrange.geometry import PolarGrid
from medrange.kernels.rings import ring_statistics

CASES = {
    "float32, 128 x 128": ((128, 128), np.float32, 0.16),
    "uint16, 256 x 256": ((256, 256), np.uint16, 0.08),
}


def run(title, scan_shape, detector, dtype, k_step):
    data = synthetic_scan(scan_shape, detector, dtype)
    signal = mr.Nanodiffraction(data)
    signal.calibrate(scan_step=0.32, k_step=k_step, beam_energy=300)
    signal.set_center((detector[0] / 2 - 0.4,) * 2)
    baselines = [seconds(data.sum), seconds(lambda: byte_sum(data))]
    band = {"k": 4.0, "width": 0.64}
    print(header(f"{title}, scan {scan_shape[0]} x {scan_shape[1]}"))
    print(row("numpy.sum", baselines[0], baselines))
    print(row("bytes once", baselines[1], baselines))
    frames, geometry, ring = data.reshape(-1, *detector), signal.geometry, PolarGrid.band(4.0, 0.64, 36)
    rings = PolarGrid(0.0, 60 * 0.16, 60, 72)
    works = {
        "kernel, one thread: one ring, V2D + P_1..18 + mean": lambda: ring_statistics(frames, geometry, ring),
        "kernel, one thread: 60 rings x 72, I + V2D + P_1..10": lambda: ring_statistics(
            frames, geometry, rings, n_max=10
        ),
        "one ring: V2D + P_1..18 + mean": lambda: signal.medium_range_order(**band, k_resolved=False),
        "one ring, 72 azimuths: V2D + P_1..36 + mean": lambda: signal.medium_range_order(
            **band, n_phi=72, k_resolved=False
        ),
        "medium_range_order: the same + I(k) + P_1..12(k), all rings": lambda: signal.medium_range_order(**band),
        "the same, 72 azimuths": lambda: signal.medium_range_order(**band, n_phi=72),
        "radial_profile, all rings": signal.radial_profile,
        "to_polar, 180 azimuths": signal.to_polar,
        "dark_field_series, 36 azimuths": lambda: signal.dark_field_series(**band),
        "virtual_dark_field": lambda: signal.virtual_dark_field(k=4.0, phi=0.3, radius=0.4),
    }
    for name, work in works.items():
        print(row(name, seconds(work), baselines), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="16 x 16 positions")
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter with pyxem, py4DSTEM, libertem")
    arguments = parser.parse_args()
    scan_shape = (16, 16) if arguments.quick else (64, 64)
    for title, (detector, dtype, k_step) in CASES.items():
        run(title, scan_shape, detector, dtype, k_step)
    if arguments.peers:
        subprocess.run([arguments.peers, str(Path(__file__).with_name("peers.py"))], check=True)


if __name__ == "__main__":
    main()
