"""The whole way from images to atoms, in memory and in a folder, and the precision it has."""

import json

import numpy as np
import pytest

from medrange.aet.atoms.model import AtomicModel
from medrange.aet.tomography import (
    AtomEdits,
    NoiseParameters,
    PipelineOptions,
    TiltSeries,
    determine_atoms,
    pipeline,
    precision,
    project_model,
    resire,
)
from medrange.simulate.glass import glass_with_clusters

PIXEL, THETA = 0.4, np.linspace(-66, 66, 23)
OPTIONS = PipelineOptions(("Pd", "Pt"), iterations=30, rounds=2, refinement_iterations=15, oversampling=2)
# Where it is not the result that counts.
SHORT = PipelineOptions(("Pd", "Pt"), iterations=12, rounds=1, refinement_iterations=2, oversampling=2)


def glass_particle(radius, seed=3):
    """Ball of random dense packing, half Pd, half Pt, no two atoms closer than 2.4 Å."""
    size = 2 * radius + 6
    atoms = glass_with_clusters((size,) * 3, min_distance=2.75, density=0.054, seed=seed)
    positions = atoms.positions - size / 2
    positions = positions[np.linalg.norm(positions, axis=1) < radius]
    symbols = np.random.default_rng(seed).choice(["Pd", "Pt"], len(positions))
    return AtomicModel(positions, tuple(symbols.tolist()))


@pytest.fixture(scope="module")
def truth():
    return glass_particle(6.0)


@pytest.fixture(scope="module")
def estimate(truth):
    return precision(truth, THETA, pixel_size=PIXEL, noise=1000.0, options=OPTIONS, seed=1)


def test_particle_is_found_again(truth, estimate):
    assert estimate.matched_fraction >= 0.97
    assert estimate.species_agreement >= 0.98
    assert estimate.rmsd <= 0.1 < estimate.traced.rmsd
    assert estimate.tilt_series.pixel_size == PIXEL
    assert estimate.determination.refinement.rounds["r_factor"].is_monotonic_decreasing
    assert len(estimate.determination.peaks) >= len(truth)
    assert f"of {len(truth)} atoms found" in repr(estimate)
    assert "peaks" in repr(estimate.determination)


def test_table_and_files(truth, estimate, tmp_path):
    table = estimate.table
    assert table["stage"].tolist() == ["traced"] * 3 + ["refined"] * 3
    assert table["species"].tolist() == ["Pd", "Pt", "all"] * 2
    assert table["rmsd"].iloc[-1] == pytest.approx(estimate.rmsd)
    parts = table[["rmsd_x", "rmsd_y", "rmsd_z"]].to_numpy()
    np.testing.assert_allclose(np.sqrt((parts**2).sum(axis=1)), table["rmsd"])
    assert len(estimate.save(tmp_path / "precision.csv").read_text().splitlines()) == 7
    with np.load(estimate.save(tmp_path / "precision.npz")) as data:
        assert data["truth"].shape == (len(truth), 3)
        assert data["refined_deviations"].shape == estimate.refined.deviations.shape


def test_any_simulation_and_any_noise(truth):
    calls = []

    def simulate(model, angles, *, shape, pixel_size):
        calls.append((shape, pixel_size))
        return 1e4 * project_model(model, angles, shape=shape, pixel_size=pixel_size, b_factor=5.0)

    series = TiltSeries(np.ones((23, 42, 46)), THETA, PIXEL)
    found = precision(truth, series, simulate=simulate, noise=None, options=OPTIONS)
    assert calls == [((42, 46), PIXEL)]
    assert found.tilt_series.image_shape == (42, 46)
    np.testing.assert_array_equal(found.tilt_series.angles, series.angles)
    assert found.determination.refinement.b_factor["Pt"] == pytest.approx(5.0, rel=0.1)
    assert found.rmsd < 0.05
    detector = NoiseParameters(gain=2.0, variance=25.0)
    images = simulate(truth, series.angles, shape=(42, 46), pixel_size=PIXEL)
    noisy = precision(truth, series, simulate=lambda *_, **__: images, noise=detector, options=OPTIONS, seed=7)
    np.testing.assert_array_equal(noisy.tilt_series.projections, detector.add_to(images, seed=7).astype(np.float32))


def test_stages_are_read_where_nothing_changed(estimate, tmp_path, monkeypatch):
    calls = []
    for name in ("resire", "trace_atoms", "classify_atoms", "refine_positions"):
        real = getattr(pipeline, name)

        def counted(*args, _real=real, _name=name, **keywords):
            calls.append(_name)
            return _real(*args, **keywords)

        monkeypatch.setattr(pipeline, name, counted)
    series, folder = estimate.tilt_series, tmp_path / "run"
    first = determine_atoms(series, SHORT, folder=folder)
    assert calls == ["resire", "trace_atoms", "classify_atoms", "refine_positions"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["stages.json", *(f"{stage}.npz" for stage in pipeline.STAGES)]
    )
    again = determine_atoms(series, SHORT, folder=folder)
    assert len(calls) == 4, "nothing was computed again"
    np.testing.assert_array_equal(again.model.positions, first.model.positions)
    calls.clear()
    np.testing.assert_array_equal(again.model.positions, determine_atoms(series, SHORT).model.positions)
    assert again.model.symbols == first.model.symbols
    assert again.classification.counts == first.classification.counts

    calls.clear()
    x, y, z = first.traced_model.positions[0]
    other = PipelineOptions(**{**SHORT.to_dict(), "edits": AtomEdits(remove=[(x, y, z)])})
    edited = determine_atoms(series, other, folder=folder)
    assert calls == ["refine_positions"]
    assert len(edited.model) == len(first.model) - 1

    # A run that was killed while it traced.
    calls.clear()
    record = json.loads((folder / "stages.json").read_text())
    (folder / "stages.json").write_text(json.dumps({"reconstruction": record["reconstruction"]}))
    determine_atoms(series, SHORT, folder=folder)
    assert calls == ["trace_atoms", "classify_atoms", "refine_positions"]

    calls.clear()
    darker = TiltSeries(series.projections * 0.5, series.angles, PIXEL)
    determine_atoms(darker, SHORT, folder=folder)
    assert len(calls) == 4


def test_reconstruction_goes_on_from_its_checkpoint(estimate, tmp_path, monkeypatch):
    real, seen = pipeline.resire, []

    def killed(series, **keywords):
        real(series, **{**keywords, "iterations": 10})
        raise KeyboardInterrupt

    def watched(series, **keywords):
        seen.append(keywords["checkpoint"].exists())
        return real(series, **keywords)

    monkeypatch.setattr(pipeline, "resire", killed)
    with pytest.raises(KeyboardInterrupt):
        determine_atoms(estimate.tilt_series, SHORT, folder=tmp_path)
    monkeypatch.setattr(pipeline, "resire", watched)
    found = determine_atoms(estimate.tilt_series, SHORT, folder=tmp_path)
    assert seen == [True]
    whole = resire(estimate.tilt_series, iterations=12, oversampling=2)
    np.testing.assert_array_equal(found.reconstruction.volume, whole.volume)
    assert not list(tmp_path.glob("checkpoint*"))


def test_options_as_json():
    options = PipelineOptions(["Pd", "Pt"], threshold=0.1, edits=AtomEdits(remove=[(0, 0, 1)], note="double"))
    assert PipelineOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options
    with pytest.raises(ValueError, match=r"options hold \['stepp'\]"):
        PipelineOptions.from_dict({"symbols": ["Pt"], "stepp": 1})
    with pytest.raises(ValueError, match="symbols are 'Pt'"):
        PipelineOptions("Pt")
    with pytest.raises(ValueError, match="threshold is 5"):
        PipelineOptions(("Pt",), threshold=5)


def test_errors(truth):
    with pytest.raises(ValueError, match="no symbols"):
        precision(AtomicModel(truth.positions), THETA, pixel_size=PIXEL)
    with pytest.raises(ValueError, match="give pixel_size"):
        precision(truth, THETA)
    with pytest.raises(ValueError, match="the simulation has shape"):
        precision(truth, THETA, pixel_size=PIXEL, simulate=lambda *_, **__: np.ones((3, 4, 4)))
    with pytest.raises(ValueError, match="noise is -1"):
        precision(truth, THETA, pixel_size=PIXEL, noise=-1)
    with pytest.raises(ValueError, match="none is bright"):
        precision(truth, THETA, pixel_size=PIXEL, simulate=lambda *_, **k: np.zeros((23, *k["shape"])))
    with pytest.raises(ValueError, match="no pixel size"):
        determine_atoms(TiltSeries(np.ones((3, 8, 8)), [-10, 0, 10]), OPTIONS)


@pytest.mark.slow
def test_binary_particle_of_a_thousand_atoms():
    """41 images of -70 to 70 degrees, 500 electrons in a bright pixel, pixels of 0.4 Å, atoms of 0.55 Å."""
    truth = glass_particle(16.4)
    assert 900 < len(truth) < 1100
    options = PipelineOptions(("Pd", "Pt"), iterations=150)
    found = precision(truth, np.linspace(-70, 70, 41), pixel_size=0.4, noise=500.0, options=options, seed=1)
    assert found.matched_fraction >= 0.97
    assert found.refined.matched_fraction_second >= 0.97
    assert found.species_agreement >= 0.98
    assert found.traced.rmsd <= 0.25
    assert found.rmsd <= 0.1


@pytest.mark.slow
def test_smoothing_helps_where_electrons_are_few():
    """The same with 200 electrons: 0.318 Å before the refinement without smoothing, 0.156 Å with it."""
    truth = glass_particle(16.4)
    options = PipelineOptions(("Pd", "Pt"), iterations=150, smoothing=0.3)
    found = precision(truth, np.linspace(-70, 70, 41), pixel_size=0.4, noise=200.0, options=options, seed=1)
    assert found.determination.peaks.parameters["smoothing"] == 0.3
    assert found.traced.rmsd <= 0.25
    assert found.matched_fraction >= 0.97
    assert found.refined.matched_fraction_second >= 0.97
    assert found.species_agreement >= 0.98
    assert found.rmsd <= 0.1
