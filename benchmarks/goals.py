"""The speed that medrange promises, measured: one command, one table, every figure a ratio within the same run.

    python benchmarks/goals.py                          # prints the table, and saves goals.csv and goals.md
    python benchmarks/goals.py --quick                  # small sizes, to see that it runs
    python benchmarks/goals.py --peers FOLDER           # also pyxem, py4DSTEM, LiberTEM, installed into FOLDER
    python benchmarks/goals.py --out FOLDER             # where the tables go; the working folder by default

CPU times of this process (all its threads) unless a row says otherwise. `numpy.sum` adds up the same array, "bytes"
reads it once as 64-bit integers, "decode" reads the same store once with as many threads and throws it away. Machines
and neighbors differ: only the ratios mean anything.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import dask
import numpy as np
import pandas as pd
from masks import masked_powers
from reduced_pdf import K_RANGE, K_STEP, R_MAX, R_STEP, synthetic_profiles
from resire import iteration, particle, transforms
from scaling import scaling_tables
from structural_components import synthetic_pdfs
from timing import byte_sum, seconds, synthetic_scan

import medrange as mr
from medrange.aet.tomography.fourier_projector import FourierProjector
from medrange.geometry import PolarGrid
from medrange.kernels.rings import ring_statistics
from medrange.pdf.factorization import factorize
from medrange.pdf.reduced_pdf import reduced_pdf
from medrange.pdf.structure_factor import Reduction, structure_factors

PEERS = ("pyxem", "py4DSTEM", "libertem", "hyperspy", "rosettasciio[zspy]")


def calibrated(data, k_step):
    signal = mr.Nanodiffraction(data)
    signal.calibrate(scan_step=0.32, k_step=k_step, beam_energy=300)
    signal.set_center((data.shape[-1] / 2 - 0.4,) * 2)
    return signal


def goal(what, measured, limit, unit="x", note=""):
    """One row: what was measured, the limit, and whether it holds."""
    print(f"{what:<78} {measured:9.3f} {unit:<10} limit {limit:g} {note}", flush=True)
    return {"what": what, "measured": measured, "unit": unit, "limit": limit, "met": measured <= limit, "note": note}


def kernels(scan):
    """The fused kernel, one thread."""
    rows = []
    for detector, dtype, k_step, base in (
        ((128,) * 2, np.float32, 0.16, "numpy.sum"),
        ((256,) * 2, "u2", 0.08, "bytes"),
    ):
        data = synthetic_scan(scan, detector, np.dtype(dtype))
        geometry, frames = calibrated(data, k_step).geometry, data.reshape(-1, *detector)
        baseline = seconds(data.sum if base == "numpy.sum" else lambda data=data: byte_sum(data))[0]
        band = PolarGrid.band(4.0, 0.64, 36)
        name = f"{np.dtype(dtype)} {detector[0]}^2 / {base}, CPU"

        def ratio(grid, frames=frames, geometry=geometry, baseline=baseline):
            return seconds(lambda: ring_statistics(frames, geometry, grid, n_max=10))[0] / baseline

        rows.append(goal(f"one ring: mean, V2D, P_1..10; {name}", ratio(band), 0.6))
        rows.append(goal(f"60 rings x 72: I(k), V2D(k), P_1..10(k); {name}", ratio(PolarGrid(0, 9.6, 60, 72)), 3.0))
        if dtype == "u2":
            rows.append(goal(f"all 127 rings x 72; {name}", ratio(PolarGrid(0, 127 * k_step, 127, 72)), 8.0))
    return rows


def lazily(scan):
    """All maps from a compressed store, with two threads, in wall time."""
    rows = []
    for detector, dtype, k_step in (((128,) * 2, np.float32, 0.16), ((256,) * 2, np.uint16, 0.08)):
        decode, eager, maps = store_times(synthetic_scan(scan, detector, dtype), k_step)
        what = f"medium_range_order from .zspy, wall / longer of decode and eager; {np.dtype(dtype)} {detector[0]}^2"
        rows.append(goal(what, maps / max(decode, eager), 1.3, note=f"decode {decode:.2f} s, eager {eager:.2f} s"))
    return rows


def store_times(data, k_step):
    """Wall times of decoding a store once, of the maps in memory, and of the maps from the store."""

    def analyzed(signal):
        result = signal.medium_range_order(k=4.0, width=0.64)
        result.compute()
        return result

    signal = calibrated(data, k_step)
    with tempfile.TemporaryDirectory() as folder, dask.config.set(scheduler="threads", num_workers=2):
        signal.save(Path(folder) / "scan.zspy", chunks=(4, *data.shape[1:]))
        lazy = mr.load(Path(folder) / "scan.zspy", lazy=True)
        # One pixel of every chunk: all are decoded, nothing is added up.
        decode = seconds(lambda: lazy.data[..., -1:, -1:].compute(), 3)[1]
        return decode, seconds(lambda: analyzed(signal), 3)[1], seconds(lambda: analyzed(lazy), 3)[1]


def probes(n):
    """G(r) of every position, and its structural types."""
    data = synthetic_profiles((n, n))
    k, r = np.arange(data.shape[-1]) * K_STEP, np.arange(int(R_MAX / R_STEP) + 1) * R_STEP
    reduction = Reduction(k_range=K_RANGE, background="polynomial")

    def chain():
        factors = structure_factors(data, k, "Fe80B20", reduction=reduction)
        return reduced_pdf(factors.values, factors.k, r)

    rows = [goal("I(k) -> S(k) -> G(r), CPU per position", seconds(chain)[0] / n**2 * 1e6, 10, "us")]
    pdfs = synthetic_pdfs((n, n), np.linspace(1.5, 12, 400), 0.1, np.random.default_rng(0))
    factorize(pdfs[:64], 2)
    spent, residual = {}, {}
    for solver in ("sklearn", "compressed"):
        start = time.process_time()
        fit = factorize(pdfs, 3, solver=solver)
        spent[solver], residual[solver] = time.process_time() - start, fit.residual
    note = f"residual over that of scikit-learn {residual['compressed'] / residual['sklearn']:.5f}"
    what = f"NMF, 3 components, {n * n} x 400, CPU / scikit-learn"
    return [*rows, goal(what, spent["compressed"] / spent["sklearn"], 0.2, note=note)]


def masks(n_rings):
    """P_n behind a beam stop, against the open ring."""
    rows = []
    for gap in (20, 40):
        mean, correlation = masked_powers(n_rings, gap)
        rows.append(goal(f"P_2..10 behind a stop of {gap} degrees: |mean / truth - 1|", abs(mean - 1), 0.03, ""))
        rows.append(
            goal(
                f"P_2..10 behind a stop of {gap} degrees: 1 - correlation",
                1 - correlation,
                0.05 if gap == 20 else 0.12,
                "",
            )
        )
    return rows


def tomography(size):
    """One RESIRE iteration."""
    theta = np.arange(-70, 70.1, 3.5)
    angles = np.stack([0 * theta, theta, 0 * theta], axis=1)
    volume, rows = particle(size), []
    for name, own in (("tilts", angles), ("any angles", angles + np.array([0.2, 0, -0.2]))):
        times = []
        for threads in (1, 2):
            projector = FourierProjector(own, (size,) * 2, (size,) * 3, (3,) * 3, threads)
            times.append(seconds(iteration(projector, projector.forward(volume))))
            if threads == 1:
                fft = seconds(transforms(projector.padded_shape, len(theta)))[0]
        what = f"RESIRE iteration, {size}^3, 41 images, {name}, CPU"
        rows.append(goal(what, times[0][0] * 1e3, 83, "ms", note=f"{times[0][0] / fft:.2f} x bare transforms"))
        rows.append(goal(f"the same, wall of 2 threads / 1 thread, {name}", times[1][1] / times[0][1], 1 / 1.7))
    return rows


def start():
    """Import, and the first call of a process once numba's cache is filled."""
    code = "import time; t = time.perf_counter(); import medrange; print(time.perf_counter() - t)"
    spent = min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5))
    calls = (
        "import time, numpy as np, medrange as mr; s = mr.Nanodiffraction(np.ones((8, 8, 128, 128), 'f4'));"
        "s.calibrate(scan_step=1, k_step=.16); s.set_center((64, 64)); t = [];\n"
        "def call():\n b = time.time(); s.medium_range_order(k=4, width=.6)\n t.append(time.time() - b)\n"
        "call(); call()\n"
        "print(t[0] - t[1])"
    )
    first = min(float(subprocess.check_output([sys.executable, "-c", calls])) for _ in range(3))
    return [goal("import medrange", spent, 0.3, "s"), goal("first call over second, in a new process", first, 0.5, "s")]


def peers(folder):
    """V2D of one ring and I(k) by the peers, in an environment of their own."""
    folder = Path(folder)
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    output = subprocess.check_output([python, str(Path(__file__).with_name("peers.py")), "--json"], text=True)
    rows = json.loads(output.splitlines()[-1])
    for row in rows:
        print(f"{row['what']:<78} {row['measured']:9.1f} x numpy.sum")
    return rows


def save(rows, name, folder):
    """A table as CSV and Markdown."""
    table = pd.DataFrame(rows)
    table.to_csv(folder / f"{name}.csv", index=False, float_format="%.4g")
    lines = [" | ".join(table.columns), " | ".join("---" for _ in table.columns)]
    lines += [
        " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row) for row in table.itertuples(index=False)
    ]
    (folder / f"{name}.md").write_text("\n".join(f"| {line} |" for line in lines) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--peers", metavar="FOLDER", help="environment of the peers, made when missing")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER")
    arguments = parser.parse_args()
    quick = arguments.quick
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = [
        *kernels((16, 16) if quick else (64, 64)),
        *lazily((16, 16) if quick else (128, 128)),
        *probes(32 if quick else 128),
        *masks(300 if quick else 3000),
        *tomography(32 if quick else 64),
        *start(),
    ]
    save(rows, "goals", arguments.out)
    for name, table in scaling_tables(quick).items():
        save(table, name, arguments.out)
    if arguments.peers:
        save(peers(arguments.peers), "peers", arguments.out)
    print(f"{sum(row['met'] for row in rows)} of {len(rows)} goals met; tables in {arguments.out.resolve()}")


if __name__ == "__main__":
    main()
