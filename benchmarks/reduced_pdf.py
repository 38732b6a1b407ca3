"""Time of the chain I(k) -> S(k) -> G(r) for a whole scan, as microseconds per probe and ratio to the matrix product.

    python benchmarks/reduced_pdf.py                 # 128 x 128 profiles of 400 points
    python benchmarks/reduced_pdf.py --quick         # 32 x 32, to see that it runs
    python benchmarks/reduced_pdf.py --peers PYTHON  # also pyxem's fit of every pixel, in that interpreter

The baseline is one product of matrices (profiles x k) (k x r) in float32: what G(r) costs if S(k) were given. pyxem is
timed on a part of the same profiles and scaled; its fits are of the same kind (N, C, and a quartic without constant).
"""

import argparse
import subprocess
import time
from pathlib import Path

import numpy as np

K_STEP, N_K = 0.004, 400
K_RANGE = (0.25, 1.596)
R_MAX, R_STEP = 15.0, 0.05


def synthetic_profiles(scan_shape, seed=0):
    """Profiles of a glass with counting noise, float32; the scattering factor is a stand-in that peers share."""
    rng = np.random.default_rng(seed)
    k = np.arange(N_K) * K_STEP
    square = (7.2 / (1 + 4.4 * k**2) ** 1.4) ** 2
    r1 = rng.uniform(2.45, 2.55, (*scan_shape, 1))
    s = 1 + np.sinc(2 * k * r1) + 0.8 * np.sinc(2 * k * 1.65 * r1)
    return rng.poisson(500 * square * s).astype(np.float32)


def seconds(function, repeats=5):
    """Smallest CPU and wall time of several calls, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time(), time.perf_counter()
        function()
        times.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    return tuple(min(column) for column in zip(*times, strict=True))


def line(name, times, n_probes, baseline=None):
    """One row: microseconds per probe in CPU and wall time, and the ratio in CPU time to the matrix product."""
    cpu, wall = (t / n_probes * 1e6 for t in times)
    ratio = "" if baseline is None else f" | {times[0] / baseline[0]:8.2f}"
    return f"{name:<62} | {cpu:10.2f} {wall:10.2f}{ratio}"


def ours(scan_shape):
    import medrange as mr
    from medrange.pdf.reduced_pdf import reduced_pdf
    from medrange.pdf.structure_factor import Reduction, structure_factors

    data = synthetic_profiles(scan_shape)
    profile = mr.RadialProfile(data)
    axis = profile.axes_manager[-1]
    axis.name, axis.units, axis.scale = "k", "1/Å", K_STEP
    k, r = axis.axis, np.arange(int(R_MAX / R_STEP) + 1) * R_STEP
    linear, log = (Reduction(k_range=K_RANGE, background=b) for b in ("polynomial", "log_polynomial"))
    factors = structure_factors(data, k, "Fe80B20", reduction=linear)
    flat = factors.values.reshape(-1, factors.k.size)
    matrix = np.random.default_rng(0).random((factors.k.size, r.size), dtype=np.float32)
    n_probes = len(flat)
    baseline = seconds(lambda: flat @ matrix)
    print(f"{scan_shape[0]} x {scan_shape[1]} profiles, {factors.k.size} of {N_K} points of k, {r.size} of r")
    print(f"{'':<62} |     CPU us    wall us | x matrix product (CPU)")
    print(line("matrix product, float32", baseline, n_probes, baseline))

    def chain(reduction):
        values = structure_factors(data, k, "Fe80B20", reduction=reduction)
        return reduced_pdf(values.values, values.k, r)

    def signals(**options):
        factor = profile.structure_factor("Fe80B20", k_range=K_RANGE)
        return factor.reduced_pdf(r_max=R_MAX, r_step=R_STEP, **options)

    works = {
        "arrays: I(k) -> S(k), quartic": lambda: structure_factors(data, k, "Fe80B20", reduction=linear),
        "arrays: I(k) -> G(r), quartic": lambda: chain(linear),
        "arrays: I(k) -> G(r), quartic of the logarithm": lambda: chain(log),
        "signals: structure_factor().reduced_pdf()": signals,
        "first_peak of all G(r)": signals().first_peak,
    }
    for name, work in works.items():
        print(line(name, seconds(work), n_probes, baseline), flush=True)


def pyxem(scan_shape, part=(4, 8)):
    """The same chain by pyxem on a corner of the scan."""
    import contextlib
    import logging
    import os
    import warnings

    from pyxem.generators.pdf_generator1d import PDFGenerator1D
    from pyxem.generators.red_intensity_generator1d import ReducedIntensityGenerator1D
    from pyxem.signals import ElectronDiffraction1D

    logging.getLogger("hyperspy").setLevel(logging.ERROR)
    data = synthetic_profiles(scan_shape)[: part[0], : part[1]].astype(float)

    def chain():
        signal = ElectronDiffraction1D(data.copy())
        signal.axes_manager.signal_axes[0].scale = K_STEP
        generator = ReducedIntensityGenerator1D(signal)
        generator.set_s_cutoff(*K_RANGE)
        generator.fit_atomic_scattering(["Fe", "B"], [0.8, 0.2], N=500, plot_fit=False, show_progressbar=False)
        intensity = generator.get_reduced_intensity()
        intensity.fit_thermal_multiple_scattering_correction(s_max=K_RANGE[1])
        return PDFGenerator1D(intensity).get_pdf(s_min=0.25, s_max=1.6, r_max=R_MAX, r_increment=R_STEP)

    with warnings.catch_warnings(), open(os.devnull, "w") as sink:
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            times = seconds(chain, 1)
    n_probes = data.shape[0] * data.shape[1]
    print(line(f"pyxem: N, C, quartic, G(r) ({n_probes} probes)", times, n_probes))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="32 x 32 positions")
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter with pyxem")
    parser.add_argument("--pyxem", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    scan_shape = (32, 32) if arguments.quick else (128, 128)
    if arguments.pyxem:
        try:
            pyxem(scan_shape)
        except ImportError as error:
            print(f"pyxem: skipped, {error}")
        return
    ours(scan_shape)
    if arguments.peers:
        quick = ["--quick"] if arguments.quick else []
        subprocess.run([arguments.peers, str(Path(__file__)), "--pyxem", *quick], check=True)


if __name__ == "__main__":
    main()
