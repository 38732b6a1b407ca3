"""Time of one RESIRE iteration, as ratios to the bare Fourier transforms and to SIRT, in the same process.

    python benchmarks/resire.py            # 64^3, 41 tilts, oversampling 3; also the general way and two threads
    python benchmarks/resire.py --quick    # 32^3, to see that it runs
    python benchmarks/resire.py --data DIR # also the film example and a window, with DIR of the published data

The baseline is one three-dimensional real transform of the padded volume plus one two-dimensional inverse per
image, by `scipy.fft` in float32 on one core: what any Fourier-slice projector that pads all axes has to pay.
Peers: SIRT with the real-space projector of this package, and one sweep of scikit-image's `iradon_sart` over
all slices.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
from scipy import fft
from skimage.transform import iradon_sart

from medrange.aet import ResireOptions, Window, resire, resire_windows
from medrange.aet.tomography.fourier_projector import FourierProjector
from medrange.aet.tomography.geometry import extended_shape
from medrange.aet.tomography.real_projector import RealProjector
from medrange.aet.tomography.tilt_series import TiltSeries


def seconds(function, repeats=5):
    """Smallest CPU and wall time of several calls, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time(), time.perf_counter()
        function()
        times.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    return min(t[0] for t in times), min(t[1] for t in times)


def particle(size, seed=0):
    """Blobs of random size in a ball, float32."""
    rng = np.random.default_rng(seed)
    axis = np.arange(size) - size // 2
    volume = np.zeros((size,) * 3, np.float32)
    for center in rng.uniform(-0.2 * size, 0.2 * size, (40, 3)):
        x, y, z = (np.exp(-((axis - c) ** 2) / 8) for c in center)
        volume += np.einsum("x,y,z->xyz", x, y, z).astype(np.float32)
    return volume


def transforms(padded, n_tilts):
    """The bare transforms of one forward projection."""
    volume = np.random.default_rng(0).normal(size=padded).astype(np.float32)
    plane = np.zeros((padded[0], padded[1] // 2 + 1), np.complex64)

    def run():
        fft.rfftn(volume)
        for _ in range(n_tilts):
            fft.irfftn(plane, s=padded[:2])

    return run


def iteration(projector, images):
    """One update of a volume, as in RESIRE."""
    volume = projector.back(images)

    def run():
        residual = projector.forward(volume) - images
        gradient = projector.back(residual)
        np.maximum(volume - np.float32(1e-6) * gradient, 0, out=volume)

    return run


def row(name, times, baseline):
    print(f"{name:<64} | {times[0] * 1e3:9.1f} {times[1] * 1e3:9.1f} | {times[0] / baseline[0]:8.2f}", flush=True)


def header(title):
    print(f"\n{title}\n{'per iteration':<64} |    CPU ms   wall ms | CPU / FFT")


def phantom(size, oversampling):
    theta = np.arange(-70, 70.1, 3.5)
    tilts = np.stack([0 * theta, theta, 0 * theta], axis=1)
    general = tilts + np.array([0.2, 0, -0.2])
    volume = particle(size)
    shape = (size,) * 3
    make = {
        "RESIRE, phi = psi = 0, one thread": FourierProjector(tilts, shape[:2], shape, (oversampling,) * 3, 1),
        "RESIRE, phi = psi = 0, two threads": FourierProjector(tilts, shape[:2], shape, (oversampling,) * 3, 2),
        "RESIRE, any angles, one thread": FourierProjector(general, shape[:2], shape, (oversampling,) * 3, 1),
        "RESIRE, any angles, two threads": FourierProjector(general, shape[:2], shape, (oversampling,) * 3, 2),
        "RESIRE, any angles, compensated, one thread": FourierProjector(
            general, shape[:2], shape, (oversampling,) * 3, 1, compensated=True
        ),
        "real-space projector (SIRT, RESIRE 'real'), one thread": RealProjector(tilts, shape[:2], shape, 1),
    }
    baseline = seconds(transforms(next(iter(make.values())).padded_shape, len(theta)))
    header(f"{size}^3 voxels, {len(theta)} tilts, oversampling {oversampling}")
    row("bare transforms: one 3D, one 2D inverse per image", baseline, baseline)
    for name, projector in make.items():
        row(name, seconds(iteration(projector, projector.forward(volume))), baseline)
    sinogram = FourierProjector(tilts, shape[:2], shape).forward(volume).astype(float)[:, :, size // 2].T
    one = seconds(lambda: iradon_sart(sinogram, theta), 2)
    row("scikit-image iradon_sart, one slice times their number", tuple(t * size for t in one), baseline)
    film(size, baseline)


def film(size, baseline):
    """Per iteration: a flat film as a whole, and in four windows that are cut, reconstructed and patched."""
    theta = np.arange(-60, 61, 6.0)
    images = np.random.default_rng(0).uniform(1, 2, (len(theta), 2 * size + 1, size + 1))
    series, thickness, count = TiltSeries(images, theta), size // 4 + 1, 10
    options = ResireOptions(thickness=thickness, progress=False, workers=1)
    windows = [
        Window((x, y, thickness // 2), (3 * size // 5, size // 3, thickness // 2))
        for x in (3 * size // 5, 2 * size - 3 * size // 5)
        for y in (size // 3, size - size // 3)
    ]
    run = {"iterations": count, "oversampling": (1.5, 3, 3), "options": options}
    whole = seconds(lambda: resire(series, step=1, extended=True, **run), 2)
    cut = seconds(lambda: resire_windows(series, windows, **run), 2)
    row(f"film {2 * size + 1} x {size + 1} x {thickness} as a whole, one thread", [t / count for t in whole], baseline)
    row("the same film in four windows", [t / count for t in cut], baseline)


def published(path):
    series = TiltSeries.load(path)
    shape = extended_shape(series.image_shape, series.image_shape[0], series.angles)
    title = f"{path.name}: images {series.image_shape}, {series.n_tilts} tilts, object {shape}, oversampling 1.5/3/3"
    projectors = [FourierProjector(series.angles, series.image_shape, shape, (1.5, 3, 3), n) for n in (1, 2)]
    baseline = seconds(transforms(projectors[0].padded_shape, series.n_tilts), 2)
    header(title)
    row("bare transforms: one 3D, one 2D inverse per image", baseline, baseline)
    for name, projector in zip(("RESIRE, one thread", "RESIRE, two threads"), projectors, strict=True):
        row(name, seconds(iteration(projector, series.projections), 3), baseline)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="32^3 voxels")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the published data")
    arguments = parser.parse_args()
    phantom(32 if arguments.quick else 64, 3)
    if arguments.data:
        for name in ("film_example", "subarea65"):
            published(arguments.data / f"ta_film/tomography_{name}.npz")
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


if __name__ == "__main__":
    main()
