"""Time of tracing and classification of a published window, against NumPy's least squares for the same fits.

Run: MEDRANGE_DATA=<folder of published data> python benchmarks/tracing.py
Without the data, a volume of the same size with planted Gaussian atoms is traced.
"""

import itertools
import os
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from medrange.aet import classify_atoms, trace_atoms
from medrange.aet.tomography.fine_grid import MARGIN, FineGrid
from medrange.aet.tomography.peak_fit import fit_peaks

PIXEL = 0.3216
EXPONENTS = np.array([e for e in itertools.product(range(5), repeat=3) if sum(e) <= 4])
BALL = np.array([d for d in itertools.product(range(-3, 4), repeat=3) if sum(x * x for x in d) <= 12.25])


def window():
    """Name and volume of window 65 of the Ta film, or of a stand-in."""
    folder = os.environ.get("MEDRANGE_DATA")
    if folder:
        with np.load(Path(folder) / "ta_film" / "tomography_subarea65.npz") as data:
            return "window 65 of the Ta film", data["reconstruction"]
    rng = np.random.default_rng(0)
    volume = np.zeros((131, 57, 131))
    volume[tuple(rng.integers(0, np.array(volume.shape)[:, None], (3, 1500)))] = rng.uniform(0.5, 1.5, 1500)
    return "simulated window", np.clip(
        ndimage.gaussian_filter(volume + rng.normal(0, 0.02, volume.shape), 1.5), 0, None
    )


def plain_step(values, p):
    """One weighted least-squares fit of the polynomial, as NumPy does it."""
    offset = BALL - p
    weight = np.exp(-(offset**2).sum(axis=1) / 9)
    design = np.prod(offset[:, None] ** EXPONENTS, axis=2) * weight[:, None]
    return np.linalg.lstsq(design, values * weight, rcond=None)[0]


def cpu(function):
    """CPU seconds of a second call, and its result."""
    function()
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def main():
    """Print the table."""
    name, volume = window()
    spent, peaks = cpu(lambda: trace_atoms(volume, pixel_size=PIXEL))
    print(f"{name}, {volume.shape} voxels: {len(peaks)} peaks of {len(peaks.status)} maxima")
    grid = FineGrid.of(volume, 3, "linear")
    search, (samples, _) = cpu(lambda: grid.maxima(0.0))
    fitting, _ = cpu(lambda: fit_peaks(grid, samples))
    values = np.random.default_rng(0).random(len(BALL))
    steps = 200
    plain, _ = cpu(lambda: [plain_step(values, np.full(3, 0.1)) for _ in range(steps)])
    # At least seven fits per maximum that is kept.
    fits = 7 * int((peaks.status != -1).sum())
    print(f"{'CPU seconds':<44}{'':>10}{'x trace_atoms':>16}")
    for label, seconds in (
        ("trace_atoms, linear", spent),
        ("  maxima on the fine grid", search),
        ("  fits", fitting),
        ("trace_atoms, spline", cpu(lambda: trace_atoms(volume, pixel_size=PIXEL, interpolation="spline"))[0]),
        ("classify_atoms, one species", cpu(lambda: classify_atoms(peaks, volume))[0]),
        (f"NumPy least squares, {fits} fits (extrapolated)", plain / steps * fits),
    ):
        print(f"{label:<44}{seconds:10.3f}{seconds / spent:16.2f}")
    print(
        f"fine grid if it were held: {np.prod([n + 2 * MARGIN for n in grid.fine_shape]) * 8 / 2**20:.0f} MiB; not held"
    )


if __name__ == "__main__":
    main()
