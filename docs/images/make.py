"""Make the two figures of the README: ``python docs/images/make.py`` (some three minutes).

Everything in them is simulated here, with known truth: a scan of a model glass with planted clusters, and a particle
of two species found again from 41 noisy images.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

import medrange as mr
from medrange import plotting
from medrange.aet import compare_models
from medrange.aet.atoms import (
    AtomicModel,
    motif_networks,
    motifs,
    pair_distribution,
    tetrahedra,
)
from medrange.aet.tomography import PipelineOptions, TiltSeries, determine_atoms, project_model
from medrange.simulate import Cluster, Detector, Probe, glass_with_clusters, poisson_counts, simulate_scan

mpl.use("agg")
HERE = Path(__file__).resolve().parent
SCAN, STEP, MARGIN, THICKNESS = (24, 32), 0.35, 1.4, 4.0  # positions, nm
CLUSTERS = (
    ("bcc<110>", 1.4, 1.6, 2.0, 25.0),
    ("bcc<100>", 4.1, 5.4, 1.9, 10.0),
    ("bcc<111>", 6.6, 1.8, 1.9, 40.0),
    ("bcc<111>", 6.5, 9.2, 1.9, 15.0),
    ("decagonal", 1.4, 9.2, 2.2, 7.0),
)


def maps() -> None:
    """n-fold maps of a simulated scan with V2D contours."""
    rng = np.random.default_rng(2)
    probe = Probe(beam_energy=300, convergence_angle=1.15)
    detector = Detector(shape=(128, 128), k_step=0.16, center=(63.6, 64.4))
    clusters = [
        Cluster(kind, (10 * (x + MARGIN), 10 * (y + MARGIN), 5 * THICKNESS), 10 * diameter, angle)
        for kind, y, x, diameter, angle in CLUSTERS
    ]
    height, width = (10 * (STEP * (count - 1) + 2 * MARGIN) for count in SCAN)
    atoms = glass_with_clusters((width, height, 10 * THICKNESS), clusters=clusters, seed=rng)
    expected = simulate_scan(
        atoms, probe=probe, detector=detector, scan_shape=SCAN, scan_step=STEP, scan_origin=(MARGIN, MARGIN)
    )
    signal = mr.Nanodiffraction(poisson_counts(expected, 125_000, rng))
    signal.calibrate(scan_step=STEP, k_step=detector.k_step, beam_energy=300)
    signal.fit_center()
    result = signal.medium_range_order(k=4.0, width=0.8, orders=(2, 4, 6, 10))
    figure = mpl.figure.Figure(figsize=(11, 1.6), layout="constrained")
    axes = figure.subplots(1, 5)
    plotting.plot_order_maps(result.power, contour=result.variance, axes=axes)
    figure.savefig(HERE / "maps.png", dpi=130)


def atoms() -> None:
    """A particle found again from its images, and the network of bipyramids of a glass."""
    glass = glass_with_clusters((32.0,) * 3, min_distance=2.75, density=0.054, seed=3)
    positions = glass.positions - 16.0
    positions = positions[np.linalg.norm(positions, axis=1) < 13.0]
    rng = np.random.default_rng(3)
    truth = AtomicModel(positions, tuple(rng.choice(["Pd", "Pt"], len(positions)).tolist()))
    angles = np.stack([np.zeros(41), np.linspace(-70, 70, 41), np.zeros(41)], axis=1)
    images = project_model(truth, angles, shape=(84, 84), pixel_size=0.4)
    images = rng.poisson(np.maximum(images * 500 / np.percentile(images, 99), 0)).astype(float)
    found = determine_atoms(TiltSeries(images, angles, 0.4), PipelineOptions(("Pd", "Pt"), oversampling=3))
    error = compare_models(truth, found.model)
    film = glass_with_clusters((55.0, 55.0, 45.0), element="Ta", density=0.050, min_distance=2.85, seed=1)
    film.pbc = False
    networks = motif_networks(motifs(tetrahedra(film, max_edge=pair_distribution(film).first_valley)), min_size=4)
    figure = mpl.figure.Figure(figsize=(10, 3.2), layout="constrained")
    left, middle = figure.add_subplot(131), figure.add_subplot(132)
    plotting.plot_peaks(found.peaks, found.reconstruction.volume, classification=found.classification, ax=left)
    plotting.plot_deviations(found.refinement, ax=middle)
    middle.set_title(f"{error.rmsd:.3f} Å from the truth", fontsize=9)
    right = plotting.plot_network(networks, ax=figure.add_subplot(133, projection="3d"))
    # Room for the label of z.
    right.set_box_aspect(
        [np.ptp(limits) for limits in (right.get_xlim(), right.get_ylim(), right.get_zlim())], zoom=0.8
    )
    figure.savefig(HERE / "atoms.png", dpi=130)


if __name__ == "__main__":
    maps()
    atoms()
