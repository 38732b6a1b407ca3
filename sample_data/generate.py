"""Make the sample scans: ``python sample_data/generate.py`` rewrites every file of this folder but this one.

Takes about a minute. Same versions of numpy and scipy, same bits.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from medrange.simulate import (
    Cluster,
    Detector,
    Probe,
    clip_counts,
    glass_with_clusters,
    poisson_counts,
    simulate_scan,
    truth_table,
    write_empad,
    write_merlin,
)

HERE = Path(__file__).resolve().parent
CHECKSUM_HEADING = "## SHA-256\n"
MARGIN = 1.6  # nm of glass around the scanned field
ELECTRONS_PER_PICOAMPERE_SECOND = 6.241509e6


@dataclass(frozen=True)
class Recipe:
    """One sample scan. A cluster is its kind, then y, x and diameter in nm, then the in-plane angle in degrees."""

    name: str
    probe: Probe
    detector: Detector
    scan_shape: tuple[int, int]
    scan_step: float
    beam_current: float  # pA
    dwell_time: float  # s
    pixel_size: float  # of the detector, m
    seed: int
    clusters: tuple[tuple[str, float, float, float, float], ...]
    thickness: float = 4.0  # nm

    @property
    def electrons_per_frame(self) -> int:
        """Beam current times dwell time over the elementary charge."""
        return round(self.beam_current * self.dwell_time * ELECTRONS_PER_PICOAMPERE_SECOND)

    @property
    def camera_length(self) -> float:
        """Camera length in m: pixel size / (wavelength * k_step)."""
        return round(self.pixel_size / (self.probe.wavelength / 10 * self.detector.k_step), 4)


EMPAD = Recipe(
    name="empad",
    probe=Probe(beam_energy=300, convergence_angle=1.15),
    detector=Detector(shape=(128, 128), k_step=0.16, center=(63.62, 64.37)),
    scan_shape=(11, 14),
    scan_step=0.6,
    beam_current=20,
    dwell_time=1e-3,
    pixel_size=150e-6,
    seed=1,
    clusters=(
        ("bcc<110>", 0.75, 0.75, 2.0, 25.0),
        ("decagonal", 0.7, 7.05, 2.1, 7.0),
        ("bcc<100>", 3.0, 3.9, 1.6, 10.0),
        ("bcc<111>", 5.25, 0.75, 1.7, 40.0),
        ("bcc<111>", 5.25, 7.05, 1.6, 15.0),
    ),
)
MERLIN = Recipe(
    name="merlin",
    probe=Probe(beam_energy=300, convergence_angle=1.0),
    detector=Detector(shape=(256, 256), k_step=0.128, center=(129.27, 126.62)),
    scan_shape=(7, 9),
    scan_step=0.8,
    beam_current=10,
    dwell_time=4e-3,
    pixel_size=55e-6,
    seed=3,
    clusters=(
        ("bcc<100>", 0.6, 0.9, 1.6, 20.0),
        ("bcc<111>", 4.3, 0.9, 1.7, 5.0),
        ("decagonal", 2.4, 5.3, 2.0, 12.0),
    ),
)


def simulate_sample(recipe: Recipe) -> tuple[np.ndarray, pd.DataFrame]:
    """Counts (y, x, ky, kx) of a recipe and the table of its clusters."""
    generator = np.random.default_rng(recipe.seed)
    middle = recipe.thickness * 5
    clusters = [
        Cluster(
            kind, (round(10 * (x + MARGIN), 6), round(10 * (y + MARGIN), 6), middle), round(10 * diameter, 6), angle
        )
        for kind, y, x, diameter, angle in recipe.clusters
    ]
    height, width = (10 * (recipe.scan_step * (count - 1) + 2 * MARGIN) for count in recipe.scan_shape)
    atoms = glass_with_clusters((width, height, 10 * recipe.thickness), clusters=clusters, seed=generator)
    expected = simulate_scan(
        atoms,
        probe=recipe.probe,
        detector=recipe.detector,
        scan_shape=recipe.scan_shape,
        scan_step=recipe.scan_step,
        scan_origin=(MARGIN, MARGIN),
    )
    counts = poisson_counts(expected, recipe.electrons_per_frame, generator)
    return counts, truth_table(clusters, probe=recipe.probe, scan_origin=(MARGIN, MARGIN))


def write_sample(recipe: Recipe, folder: Path) -> None:
    """Write detector files, clusters.csv and truth.json of a recipe into a folder."""
    counts, table = simulate_sample(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.name == "empad":
        write_empad(
            folder / "scan",
            counts,
            scan_step=recipe.scan_step,
            beam_energy=recipe.probe.beam_energy,
            camera_length=recipe.camera_length,
            k_step=recipe.detector.k_step,
            dwell_time=recipe.dwell_time,
        )
    else:
        write_merlin(folder / "scan", clip_counts(counts, 12), dwell_time=recipe.dwell_time)
    table.to_csv(folder / "clusters.csv", index=False, lineterminator="\n")
    text = json.dumps(truth_parameters(recipe), indent=1) + "\n"
    (folder / "truth.json").write_text(text, encoding="utf-8", newline="\n")


def truth_parameters(recipe: Recipe) -> dict:
    """Parameters of the scan that an analysis should find or be told; names as in ``Nanodiffraction.calibrate``."""
    return {
        "beam_energy": recipe.probe.beam_energy,
        "convergence_angle": recipe.probe.convergence_angle,
        "center": list(recipe.detector.center),
        "k_step": recipe.detector.k_step,
        "camera_length": recipe.camera_length,
        "scan_shape": list(recipe.scan_shape),
        "scan_step": recipe.scan_step,
        "dwell_time": recipe.dwell_time,
        "electrons_per_frame": recipe.electrons_per_frame,
        "thickness": recipe.thickness,
        "ring": 4.0,
        "seed": recipe.seed,
        "units": {
            "beam_energy": "kV",
            "convergence_angle": "mrad",
            "center": "px (row, column), 0-based",
            "k_step": "1/nm",
            "camera_length": "m",
            "scan_step": "nm",
            "dwell_time": "s",
            "thickness": "nm",
            "ring": "1/nm",
        },
    }


def write_checksums(folder: Path) -> None:
    """Write checksums.txt, and the same lines as the last section of README.md."""
    files = sorted(path for sub in ("empad_glass", "merlin_glass") for path in (folder / sub).iterdir())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}" for path in files
    ]
    text = "\n".join(lines) + "\n"
    (folder / "checksums.txt").write_text(text, encoding="utf-8", newline="\n")
    readme = folder / "README.md"
    head = readme.read_text(encoding="utf-8").split(CHECKSUM_HEADING)[0]
    readme.write_text(f"{head}{CHECKSUM_HEADING}\n```\n{text}```\n", encoding="utf-8", newline="\n")


def shortened(recipe: Recipe, scan_shape: tuple[int, int]) -> Recipe:
    """Return a recipe of few scan positions and no clusters, for a quick check that a run repeats itself."""
    return replace(recipe, scan_shape=scan_shape, clusters=(), thickness=1.0)


def main() -> None:
    """Rewrite the sample data."""
    for recipe in (EMPAD, MERLIN):
        write_sample(recipe, HERE / f"{recipe.name}_glass")
    write_checksums(HERE)


if __name__ == "__main__":
    main()
