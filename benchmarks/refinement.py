"""Time of one exact gradient of the position refinement, against its bare Fourier transforms.

Run: MEDRANGE_DATA=<folder of published data> python benchmarks/refinement.py
Without the data, a random ball of as many atoms and a regular tilt series are used.
"""

import os
from functools import partial
from pathlib import Path

import numpy as np
from scipy import fft
from timing import seconds

from medrange.aet.tomography.model_projection import ModelImages

PIXEL, SHAPE = 0.3216, (112, 112)


def ball():
    """Name, positions and angles of 510 atoms of the Ta film, or of a stand-in."""
    folder = os.environ.get("MEDRANGE_DATA")
    if folder:
        folder = Path(folder) / "ta_film"
        with np.load(folder / "ta_film_atoms.npz") as data:
            positions = data["positions"].astype(float)
        with np.load(folder / "tomography_subarea65.npz") as data:
            angles = data["angles"]
        positions -= np.median(positions, axis=0)
        return "ball of the Ta film", positions[np.linalg.norm(positions, axis=1) < 14], angles
    positions = np.random.default_rng(0).uniform(-11, 11, (510, 3))
    return "random atoms", positions, np.stack([np.zeros(46), np.linspace(-63, 56, 46), np.zeros(46)], axis=1)


def main():
    """Print the table."""
    name, positions, angles = ball()
    print(f"{name}: {len(positions)} atoms, {len(angles)} images of {SHAPE[0]} x {SHAPE[1]} pixels, one thread")
    half = len(positions) // 2
    species = (("Ta",) * len(positions), ("Ni",) * half + ("Pt",) * (len(positions) - half))
    baseline = None
    for symbols, form_factor in (
        (species[0], "species"),
        (species[1], "species"),
        (species[1], "mean"),
        (species[0], None),
    ):
        images = ModelImages(symbols, angles, shape=SHAPE, pixel_size=PIXEL, form_factor=form_factor, workers=1)
        count = len(images.species)
        heights, b = np.ones(count), np.full(count, 6.0)
        measured = images.project(positions, heights, b)
        if baseline is None:
            stack = np.random.default_rng(0).random((len(angles), *images.padded))

            def transforms(stack=stack, size=images.padded):
                """Two pairs per image: what is calculated, and its residual."""
                for image in (*stack, *stack):
                    fft.irfft2(fft.rfft2(image, workers=1), s=size, workers=1)

            baseline = seconds(transforms)[0]
            print(f"{'CPU seconds':<48}{'':>10}{'x transforms':>16}")
            print(f"{f'two pairs of transforms, {images.padded}':<48}{baseline:10.3f}{1.0:16.2f}")
        point = (positions + 0.1, heights, b)
        for label, function in (
            ("images", partial(images.project, *point)),
            ("gradient", partial(images.derivatives, measured, *point)),
        ):
            cpu = seconds(function)[0]
            print(f"{f'{label}, {count} species, form factor {form_factor}':<48}{cpu:10.3f}{cpu / baseline:16.2f}")


if __name__ == "__main__":
    main()
