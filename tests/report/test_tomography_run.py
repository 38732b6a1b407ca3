"""Tilt series to volume and to atoms, as the commands do it: a small simulated particle, found again."""

import ase.io
import numpy as np
import pandas as pd
import pytest

from medrange.aet.atoms import AtomicModel
from medrange.aet.tomography import PipelineOptions, Reconstruction, TiltSeries, compare_models, project_model
from medrange.report.packing_run import PackingOptions, analyze_model
from medrange.report.tomography_run import SeriesOptions, write_atoms, write_reconstruction

PIXEL, SIZE = 0.4, 48


@pytest.fixture(scope="module")
def truth():
    """Atoms 2.9 angstrom apart or more, half light and half heavy, in a ball."""
    rng, points = np.random.default_rng(0), []
    while len(points) < 40:
        point = rng.uniform(-7, 7, 3)
        if np.linalg.norm(point) < 7 and all(np.linalg.norm(point - other) > 2.9 for other in points):
            points.append(point)
    return AtomicModel(np.array(points), ("Pd", "Pt") * 20)


@pytest.fixture(scope="module")
def series(truth, tmp_path_factory):
    angles = np.stack([np.zeros(31), np.linspace(-70, 70, 31), np.zeros(31)], axis=1)
    images = project_model(truth, angles, shape=(SIZE, SIZE), pixel_size=PIXEL)
    images *= 500 / np.percentile(images, 99)
    images = np.random.default_rng(1).poisson(np.maximum(images, 0)).astype(float)
    path = tmp_path_factory.mktemp("series") / "series.npz"
    return TiltSeries(images, angles, PIXEL).save(path)


def test_reconstruction_writes_volume_and_page(series, tmp_path):
    told = []
    settings = {"iterations": 20, "oversampling": (2, 2, 2)}
    files = write_reconstruction(series, SeriesOptions(), settings, folder=tmp_path, tell=told.append)
    page = files.page.read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert "31, tilted from -70.0° to 70.0°" in page
    volume = Reconstruction.load(tmp_path / "volume.mrc")
    assert volume.pixel_size == pytest.approx(PIXEL)
    assert volume.volume.shape == (SIZE,) * 3
    assert told[0].startswith("reading")
    # Repeated with more iterations, the run goes on from its checkpoint.
    again = write_reconstruction(series, SeriesOptions(), settings | {"iterations": 25}, folder=tmp_path)
    assert Reconstruction.load(again.maps[1]).iterations == 25


def test_atoms_are_found_refined_and_shown(series, truth, tmp_path):
    options = PipelineOptions(("Pd", "Pt"), iterations=60, oversampling=(2, 2, 2), rounds=2)
    files = write_atoms(series, SeriesOptions(), options, folder=tmp_path)
    atoms = ase.io.read(files.maps[0])
    comparison = compare_models(truth, AtomicModel(atoms.positions, tuple(atoms.symbols)))
    assert comparison.matched_fraction > 0.95
    assert comparison.rmsd < 0.1
    page = files.page.read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(files.figures) >= 9
    shown = ["Volume", "Atoms", "Refinement", "Packing", "Order", "Voronoi cells", "Networks", "How this was made"]
    for title in shown:
        assert f"{title}</h2>" in page
    assert "This is a small particle" in page
    assert 'src="http' not in page
    assert 'href="http' not in page
    stages = sorted(path.name for path in (tmp_path / "stages").iterdir())
    assert {"peaks.npz", "reconstruction.npz", "refinement.npz", "packing.json"} <= set(stages)
    for path in (*files.figures, *files.tables, *files.maps):
        assert path.stat().st_size > 0
    # What stands on the page is what the command for models says of the refined atoms.
    analysis = analyze_model(files.maps[0], PackingOptions())
    assert f"neighbors within {analysis.options.cutoff:.2f} Å" in page
    assert pd.read_csv(tmp_path / "tables" / "voronoi.csv")["counted"].sum() == analysis.voronoi.counted.sum() > 0
    # Repeated, the page comes from the stages.
    told = []
    again = write_atoms(series, SeriesOptions(), options, folder=tmp_path, tell=told.append)
    assert again.page.read_text(encoding="utf-8") == page
    assert not [line for line in told if "Voronoi" in line]


def test_options_of_reading_reach_the_reader(series, tmp_path):
    known = TiltSeries.load(series)
    np.savez(tmp_path / "plain.npz", projections=known.projections)
    np.savetxt(tmp_path / "angles.txt", known.theta)
    read = SeriesOptions(tmp_path / "angles.txt", "txy", 0.5).load(tmp_path / "plain.npz")
    np.testing.assert_allclose(read.theta, known.theta)
    assert read.pixel_size == 0.5
