"""Refined positions: the truth is found again without noise, as well as the noise allows with it."""

import numpy as np
import pytest

from medrange.aet.atoms.model import AtomicModel
from medrange.aet.tomography import (
    NoiseParameters,
    Refinement,
    RefinementOptions,
    TiltSeries,
    project_model,
    refine_positions,
)
from medrange.aet.tomography.model_projection import ModelImages
from medrange.aet.tomography.position_fit import fit_heights, fit_scales

PIXEL, SIZE = 0.4, 48
ANGLES = np.linspace(-66, 66, 23)
HEIGHTS, B_FACTOR = {"Ni": 1.0, "Pt": 2.6}, {"Ni": 6.5, "Pt": 5.5}


def particle(count=40, radius=6.5, apart=2.4, seed=0):
    rng, points = np.random.default_rng(seed), []
    while len(points) < count:
        point = rng.uniform(-radius, radius, 3)
        if np.linalg.norm(point) < radius and all(np.linalg.norm(point - other) > apart for other in points):
            points.append(point)
    return AtomicModel(np.array(points), tuple("Pt" if i % 2 else "Ni" for i in range(count)))


def displaced(model, low=0.2, high=0.4, seed=1):
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=model.positions.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return AtomicModel(model.positions + direction * rng.uniform(low, high, (len(model), 1)), model.symbols)


def rmsd(found, true):
    difference = found.positions - true.positions
    return np.sqrt(((difference - difference.mean(axis=0)) ** 2).sum(axis=1).mean())


@pytest.fixture(scope="module")
def truth():
    return particle()


@pytest.fixture(scope="module")
def clean(truth):
    images = project_model(truth, ANGLES, shape=(SIZE, SIZE), pixel_size=PIXEL, b_factor=B_FACTOR, heights=HEIGHTS)
    return TiltSeries(images, ANGLES, PIXEL)


@pytest.fixture(scope="module")
def refined(truth, clean):
    return refine_positions(displaced(truth), clean)


def test_truth_is_found_again(truth, clean, refined):
    start = displaced(truth)
    assert rmsd(start, truth) > 0.25
    # Required of images without noise: 0.01 Å and B within 5 %.
    assert rmsd(refined.model, truth) < 0.01
    for name in HEIGHTS:
        assert refined.b_factor[name] == pytest.approx(B_FACTOR[name], rel=0.02)
        assert refined.heights[name] == pytest.approx(HEIGHTS[name], rel=0.05)
    assert (np.diff(refined.rounds["r_factor"]) <= 0).all()
    assert refined.r_factor[-1] == refined.rounds["r_factor"].iloc[-1] < 0.01
    np.testing.assert_array_equal(refined.start, start.positions)
    np.testing.assert_allclose(refined.displacements, refined.positions - start.positions)
    assert refined.model.symbols == truth.symbols


def test_r_is_that_of_the_returned_model(clean, refined):
    images = project_model(
        refined.model,
        ANGLES,
        shape=(SIZE, SIZE),
        pixel_size=PIXEL,
        b_factor=refined.b_factor,
        heights=refined.heights,
    )
    r = np.abs(images - clean.projections).sum() / clean.projections.sum(dtype=float)
    # The small negative ripples of f_e are clipped in the measured images.
    assert refined.r_factor[-1] == pytest.approx(r, abs=2e-4)


def test_start_displaced_too_far_stays_in_its_cube(truth, clean):
    options = RefinementOptions(max_displacement=0.1)
    kept = refine_positions(displaced(truth), clean, rounds=1, iterations=10, options=options)
    assert np.abs(kept.displacements).max() <= 0.1 + 1e-9
    assert np.abs(kept.displacements).max() > 0.099


def test_published_descent_goes_the_same_way(truth, clean, refined):
    start = displaced(truth, 0.1, 0.2)
    options = RefinementOptions(step=1.0, max_displacement=0.6)
    found = refine_positions(start, clean, method="descent", rounds=2, iterations=60, options=options)
    assert rmsd(found.model, truth) < rmsd(start, truth)
    assert (np.diff(found.r_factor[:60]) < 1e-6).all()
    assert np.linalg.norm(found.displacements, axis=1).max() <= 1.2 + 1e-9


def propagated_rmsd(model, images, gain):
    """RMSD of the least-squares positions from the noise of the pixels, by linear propagation."""
    keywords = {"shape": (SIZE, SIZE), "pixel_size": PIXEL, "b_factor": B_FACTOR, "heights": HEIGHTS}
    columns = []
    for atom in range(len(model)):
        for axis in range(3):
            ends = []
            for sign in (1, -1):
                moved = AtomicModel(model.positions[[atom]] + sign * 0.01 * np.eye(3)[axis], (model.symbols[atom],))
                ends.append(project_model(moved, ANGLES, **keywords).ravel())
            columns.append((ends[0] - ends[1]) / 0.02)
    slopes = np.stack(columns, axis=1)
    inverse = np.linalg.inv(slopes.T @ slopes)
    noise = gain * np.maximum(images.ravel(), 0)
    return np.sqrt(np.trace(inverse @ (slopes.T * noise) @ slopes @ inverse) / len(model))


def test_noise_costs_as_much_as_it_must(truth, clean):
    images = clean.projections.astype(float)
    gain = np.quantile(images, 0.99) / 200
    noisy = TiltSeries(NoiseParameters(gain, 0.0).add_to(images, seed=2), ANGLES, PIXEL)
    found = refine_positions(displaced(truth), noisy)
    assert rmsd(found.model, truth) == pytest.approx(propagated_rmsd(truth, images, gain), rel=0.25)
    expected = np.abs(noisy.projections - images).sum() / noisy.projections.sum(dtype=float)
    assert found.r_factor[-1] == pytest.approx(expected, rel=0.05)
    assert (np.diff(found.rounds["r_factor"]) <= 0).all()


def test_brightness_does_not_matter(truth, clean):
    start = displaced(truth)
    one = refine_positions(start, clean, rounds=1, iterations=8)
    bright = refine_positions(start, TiltSeries(clean.projections * 512, ANGLES, PIXEL), rounds=1, iterations=8)
    np.testing.assert_allclose(one.positions, bright.positions, atol=1e-6)
    assert bright.heights["Pt"] == pytest.approx(512 * one.heights["Pt"], rel=1e-6)


def test_result_does_not_depend_on_threads(truth, clean):
    runs = [
        refine_positions(displaced(truth), clean, rounds=1, iterations=4, options=RefinementOptions(workers=n))
        for n in (1, 2)
    ]
    np.testing.assert_array_equal(runs[0].positions, runs[1].positions)


def test_negative_pixels_are_clipped_unless_told_otherwise(truth, clean):
    before = clean.projections.copy()
    lowered = TiltSeries(before - 0.02 * before.max(), ANGLES, PIXEL)
    start = displaced(truth, 0, 0.05)
    keywords = {"rounds": 1, "iterations": 2}
    clipped = refine_positions(start, lowered, options=RefinementOptions(fit_b=False), **keywords)
    zeroed = TiltSeries(np.maximum(lowered.projections, 0), ANGLES, PIXEL)
    same = refine_positions(start, zeroed, options=RefinementOptions(fit_b=False), **keywords)
    unclipped = refine_positions(start, lowered, options=RefinementOptions(fit_b=False, clip=False), **keywords)
    np.testing.assert_array_equal(clipped.positions, same.positions)
    assert unclipped.r_factor[0] > clipped.r_factor[0]
    np.testing.assert_array_equal(clean.projections, before)


def test_b_stays_where_it_is_not_fitted(truth, clean):
    kept = refine_positions(
        truth, clean, rounds=1, iterations=1, b_factor={"Ni": 5.0, "Pt": 7.0}, options=RefinementOptions(fit_b=False)
    )
    assert kept.b_factor == {"Ni": 5.0, "Pt": 7.0}


def test_b_ends_on_its_bound(truth, clean):
    kept = refine_positions(
        truth, clean, rounds=1, iterations=1, b_factor=7.5, options=RefinementOptions(b_bounds=(7.0, 9.0))
    )
    assert kept.b_factor["Pt"] == pytest.approx(7.0)


def test_atoms_without_symbols_are_plain_gaussians():
    true = AtomicModel(particle().positions)
    images = project_model(true, ANGLES, shape=(SIZE, SIZE), pixel_size=PIXEL, form_factor=None, b_factor=7.0)
    found = refine_positions(
        displaced(true), TiltSeries(images, ANGLES, PIXEL), options=RefinementOptions(form_factor=None)
    )
    assert rmsd(found.model, true) < 0.01
    assert found.b_factor["X"] == pytest.approx(7.0, rel=0.01)
    assert found.model.symbols is None


def test_heights_and_b_are_the_least_squares_ones(truth, clean):
    images = ModelImages(truth.symbols, clean.angles, shape=(SIZE, SIZE), pixel_size=PIXEL)
    measured = clean.projections.astype(float)
    heights = fit_heights(images, measured, truth.positions, np.array([6.5, 5.5]))
    np.testing.assert_allclose(heights, [1.0, 2.6], rtol=1e-6)
    heights, b_factors, absolute = fit_scales(images, measured, truth.positions, np.array([9.0, 9.0]), (2, 20))
    np.testing.assert_allclose(b_factors, [6.5, 5.5], rtol=1e-3)
    np.testing.assert_allclose(heights, [1.0, 2.6], rtol=1e-3)
    assert absolute / measured.sum() < 1e-3


def test_saved_and_loaded(refined, tmp_path):
    loaded = Refinement.load(refined.save(tmp_path / "refinement.npz"))
    np.testing.assert_array_equal(loaded.positions, refined.positions)
    np.testing.assert_array_equal(loaded.r_factor, refined.r_factor)
    assert loaded.b_factor == refined.b_factor
    assert loaded.model.symbols == refined.model.symbols
    assert loaded.rounds.equals(refined.rounds)
    assert repr(loaded) == repr(refined)
    assert "40 atoms" in repr(loaded)
    table = loaded.table
    assert list(table.columns) == ["symbol", "x", "y", "z", "dx", "dy", "dz", "displacement"]
    assert (tmp_path / "refinement.npz").exists()
    assert refined.save(tmp_path / "atoms.xyz").read_text().startswith("40")
    assert len(refined.save(tmp_path / "atoms.csv").read_text().splitlines()) == 41


def test_errors(truth, clean):
    with pytest.raises(ValueError, match="no pixel size"):
        refine_positions(truth, TiltSeries(clean.projections, ANGLES))
    with pytest.raises(ValueError, match="no chemical symbols"):
        refine_positions(AtomicModel(truth.positions), clean)
    with pytest.raises(ValueError, match="method is 'newton'"):
        refine_positions(truth, clean, method="newton")
    with pytest.raises(ValueError, match="rounds is 0"):
        refine_positions(truth, clean, rounds=0)
    with pytest.raises(ValueError, match=r"iterations is 1\.5"):
        refine_positions(truth, clean, iterations=1.5)
    with pytest.raises(ValueError, match="outside b_bounds"):
        refine_positions(truth, clean, b_factor=0.01)
    with pytest.raises(ValueError, match="b_bounds are"):
        refine_positions(truth, clean, options=RefinementOptions(b_bounds=(5, 2)))
    with pytest.raises(ValueError, match="max_displacement is"):
        refine_positions(truth, clean, options=RefinementOptions(max_displacement=0))
    with pytest.raises(ValueError, match="padding is -1"):
        refine_positions(truth, clean, options=RefinementOptions(padding=-1))
    periodic = AtomicModel(truth.positions, truth.symbols, np.eye(3) * 20, (True,) * 3)
    with pytest.raises(ValueError, match="periodic"):
        refine_positions(periodic, clean)
    elsewhere = AtomicModel(np.concatenate([truth.positions, [[200.0, 0, 0]]]), (*truth.symbols, "Au"))
    with pytest.raises(ValueError, match="without the atoms of Au"):
        refine_positions(elsewhere, clean)


@pytest.fixture(scope="module")
def ta_ball(data_folder):
    """510 atoms of the Ta film in a ball of 14 Å around the median, and their images at the 46 angles of the film."""
    with np.load(data_folder / "ta_film" / "ta_film_atoms.npz") as data:
        positions = data["positions"].astype(float)
    with np.load(data_folder / "ta_film" / "tomography_subarea65.npz") as data:
        angles = data["angles"]
    positions -= np.median(positions, axis=0)
    positions = positions[np.linalg.norm(positions, axis=1) < 14]
    model = AtomicModel(positions, ("Ta",) * len(positions))
    return model, angles, project_model(model, angles, shape=(100, 100), pixel_size=0.3216, b_factor=6.0)


@pytest.mark.data
@pytest.mark.slow
def test_ta_ball_without_noise(ta_ball):
    model, angles, images = ta_ball
    assert len(model) == 510
    start = displaced(model)
    found = refine_positions(start, TiltSeries(images, angles, 0.3216), rounds=2)
    # 0.01 Å is required, and 0.0056 Å was measured by the study the specification rests on.
    assert rmsd(found.model, model) < 0.01
    assert found.b_factor["Ta"] == pytest.approx(6.0, rel=0.05)
    assert (np.diff(found.rounds["r_factor"]) < 0).all()


@pytest.mark.data
@pytest.mark.slow
def test_ta_ball_with_a_hundred_counts(ta_ball):
    model, angles, images = ta_ball
    noisy = NoiseParameters(np.quantile(images, 0.99) / 100, 0.0).add_to(images, seed=3)
    found = refine_positions(displaced(model), TiltSeries(noisy, angles, 0.3216), rounds=2)
    assert rmsd(found.model, model) < 0.045
    assert found.b_factor["Ta"] == pytest.approx(6.0, rel=0.05)
    assert (np.diff(found.rounds["r_factor"]) <= 0).all()
