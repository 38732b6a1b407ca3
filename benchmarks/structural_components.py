"""Factorization of PDFs: CPU time and residual against scikit-learn, and a cube larger than memory from disk.

    python benchmarks/structural_components.py            # 16384 x 400, 2 and 3 components, ratios to scikit-learn
    python benchmarks/structural_components.py --quick    # 2048 x 200, to see that it runs
    python benchmarks/structural_components.py --large    # also 1,000,000 x 400 float32 on disk, in its own process

The cube of --large is made in a temporary folder (1.6 GB) and removed. Its peak memory is that of the process that
factorizes; its residual is compared with that of the factorization of a random part in memory.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
import zarr
from scipy.ndimage import gaussian_filter

import medrange as mr
from medrange.pdf.factorization import factorize
from medrange.pdf.fractions import fit_bases


def basis_pdfs(r):
    """Two damped oscillations with first peaks at 2.53 and 2.46 angstrom."""
    peaks = np.array([[2.53, 0.30, 1.0], [2.46, 0.24, 1.3]])
    return np.array([a * np.sin(2 * np.pi * (r / p - 0.75)) * np.exp(-w * (r - 2.5)) for p, w, a in peaks])


def synthetic_pdfs(shape, r, noise, rng):
    """PDFs (y x, r) of two types mixed by a smooth map, with noise that is smooth over r, as after a transform."""
    field = gaussian_filter(rng.standard_normal(shape), 3, mode="wrap")
    weight = np.clip(0.5 + 0.25 * field / field.std(), 0, 1).reshape(-1, 1)
    k = np.arange(0.25, 1.6, 0.0256)
    waves = np.sin(2 * np.pi * k[:, None] * r) * np.sqrt(2 / k.size)
    first, second = basis_pdfs(r)
    return weight * first + (1 - weight) * second + noise * rng.standard_normal((weight.size, k.size)) @ waves


def compare(shape, n_r):
    r = np.linspace(1.5, 12, n_r)
    rng = np.random.default_rng(0)
    data = synthetic_pdfs(shape, r, 0.1, rng)
    factorize(data[:64], 2)
    print(f"{'PDFs ' + str(data.shape):<34} |   CPU s   residual   iterations | CPU ratio to scikit-learn")
    for negatives in ("clip", "offset"):
        for n_components in (2, 3):
            spent = {}
            for solver in ("sklearn", "compressed"):
                start = time.process_time()
                fit = factorize(data, n_components, negatives=negatives, solver=solver)
                spent[solver] = time.process_time() - start
                name = f"{negatives}, {n_components} components, {solver}"
                ratio = spent[solver] / spent["sklearn"]
                print(
                    f"{name:<34} | {spent[solver]:7.2f}  {fit.residual:9.6f}  {fit.iterations:10d}  | {ratio:7.3f}",
                    flush=True,
                )


def peak_memory():
    """Largest resident set of this process so far, GB; that of getrusage begins with the parent's."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return float(status["VmHWM"].split()[0]) / 1e6


def factorize_file(path):
    """Factorize a cube on disk; runs in a process of its own."""
    pdf = mr.LazyReducedPDF(da.from_zarr(str(path)))
    y, x = pdf.axes_manager.navigation_axes[::-1]
    for axis in (y, x):
        axis.scale, axis.units = 1.2, "nm"
    axis = pdf.axes_manager.signal_axes[0]
    axis.name, axis.offset, axis.scale, axis.units = "r", 1.5, 10.5 / 399, "Å"
    before = peak_memory()
    start = time.process_time(), time.perf_counter()
    result = pdf.structural_components(n_components=2)
    spent = time.process_time() - start[0], time.perf_counter() - start[1]
    np.save(Path(path).with_name("basis.npy"), result.basis.data)
    print(
        json.dumps(
            {"peak_gb_before": before, "peak_gb": peak_memory(), "cpu_s": spent[0], "wall_s": spent[1]} | result.quality
        )
    )


def large(shape, n_r, n_part):
    r, rng = np.linspace(1.5, 12, n_r), np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cube.zarr"
        chunks = (50, 250, n_r)
        cube = zarr.open(str(path), mode="w", shape=(*shape, n_r), chunks=chunks, dtype=np.float32, compressor=None)
        for row in range(0, shape[0], 50):
            rows = min(50, shape[0] - row)
            cube[row : row + rows] = synthetic_pdfs((rows, shape[1]), r, 0.1, rng).reshape(rows, shape[1], n_r)
        output = subprocess.run(
            [sys.executable, __file__, "--file", str(path)], check=True, capture_output=True, text=True
        ).stdout
        print(f"\n{shape[0] * shape[1]} x {n_r} float32, {cube.nbytes / 1e9:.2f} GB in chunks of {chunks} on disk")
        print(output.strip())
        chosen = np.sort(rng.choice(shape[0] * shape[1], n_part, replace=False))
        part = cube[:].reshape(-1, n_r)[chosen].astype(float)
        basis = np.load(path.with_name("basis.npy")).astype(float)
    reference = factorize(part, 2, solver="sklearn")
    residual = json.loads(output)["residual"]
    print(
        f"residual of the factorization {residual:.6f}, of scikit-learn on {n_part} of the PDFs "
        f"{reference.residual:.6f}: ratio {residual / reference.residual:.4f}"
    )
    # The same PDFs as measured, on the basis of the whole and on that of the part.
    signed = np.linalg.lstsq(reference.weights, part, rcond=None)[0]
    whole, own = (np.linalg.norm(fit_bases(part, b).residual * np.linalg.norm(part, axis=1)) for b in (basis, signed))
    print(f"PDFs as measured, basis of the whole over basis of the part: ratio of residuals {whole / own:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--large", action="store_true", help="also a cube on disk")
    parser.add_argument("--file", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.file:
        factorize_file(arguments.file)
        return
    compare((32, 64) if arguments.quick else (128, 128), 200 if arguments.quick else 400)
    if arguments.large:
        large((60, 1000) if arguments.quick else (1000, 1000), 400, 4096 if arguments.quick else 16384)


if __name__ == "__main__":
    main()
