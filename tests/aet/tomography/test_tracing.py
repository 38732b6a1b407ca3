"""Tracing: peaks at known places, the fit against plain least squares, the published peaks of two windows."""

import itertools
from types import SimpleNamespace

import ase.io
import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import CubicSpline, RegularGridInterpolator
from scipy.ndimage import generate_binary_structure, maximum_filter
from scipy.spatial import cKDTree

from medrange.aet import Peaks, trace_atoms
from medrange.aet.tomography import tracing
from medrange.aet.tomography.fine_grid import FineGrid
from medrange.aet.tomography.peak_fit import fit_peaks
from medrange.aet.tomography.tracing import STATUS

PIXEL = 0.3216
EXPONENTS = np.array([e for e in itertools.product(range(5), repeat=3) if sum(e) <= 4])
BALL = np.array([d for d in itertools.product(range(-3, 4), repeat=3) if sum(x * x for x in d) <= 12.25])


def blobs(shape, voxels, heights=None, sigma=1.5):
    grid = np.indices(shape)
    heights = np.ones(len(voxels)) if heights is None else heights
    volume = np.zeros(shape)
    for place, height in zip(voxels, heights, strict=True):
        volume += height * np.exp(-((grid - np.reshape(place, (3, 1, 1, 1))) ** 2).sum(axis=0) / (2 * sigma**2))
    return volume


def scattered(shape, count, spacing, rng, border=5.0):
    """Random voxel positions no closer than ``spacing``."""
    kept = np.empty((0, 3))
    while len(kept) < count:
        place = rng.uniform(border, np.array(shape) - 1 - border)
        if not len(kept) or np.linalg.norm(kept - place, axis=1).min() > spacing:
            kept = np.vstack([kept, place])
    return kept


def noisy(shape=(14, 12, 13), seed=0):
    """Smooth noise of both signs: peaks of all kinds, also at the border."""
    rng = np.random.default_rng(seed)
    kernel = np.exp(-0.5 * (np.arange(-4, 5) / 1.1) ** 2)
    volume = rng.normal(size=shape)
    for axis in range(3):
        volume = np.apply_along_axis(np.convolve, axis, volume, kernel / kernel.sum(), "same")
    return volume / volume.std()


def fine_array(volume, oversampling, interpolation):
    """The whole fine grid by SciPy, with ten planes of zeros around."""
    samples = [np.arange(oversampling * (n - 1) + 1) / oversampling for n in volume.shape]
    if interpolation == "linear":
        fine = RegularGridInterpolator([np.arange(n) for n in volume.shape], volume)(np.ix_(*samples))
    else:
        fine = volume
        for axis in range(3):
            fine = CubicSpline(np.arange(volume.shape[axis]), fine, axis=axis)(samples[axis])
    for axis in range(3):
        np.moveaxis(fine, axis, 0)[: oversampling - 1] = 0
    return np.pad(fine, 10)


def plain_fit(fine, sample):
    """The published fit of one maximum by NumPy's least squares."""
    values = fine[tuple((sample + 10 + BALL).T)]
    p, calm = np.zeros(3), 0
    for _ in range(14):
        offset = BALL - p
        weight = np.exp(-(offset**2).sum(axis=1) / 9)
        design = np.prod(offset[:, None] ** EXPONENTS, axis=2) * weight[:, None]
        c = dict(zip(map(tuple, EXPONENTS), np.linalg.lstsq(design, values * weight, rcond=None)[0], strict=True))
        g = np.array([c[1, 0, 0], c[0, 1, 0], c[0, 0, 1]])
        h = np.array(
            [
                [2 * c[2, 0, 0], c[1, 1, 0], c[1, 0, 1]],
                [c[1, 1, 0], 2 * c[0, 2, 0], c[0, 1, 1]],
                [c[1, 0, 1], c[0, 1, 1], 2 * c[0, 0, 2]],
            ]
        )
        if np.linalg.det(h) >= 0:
            return None, -1
        step = np.clip(-np.linalg.solve(h, g), -0.5, 0.5)
        p = p + step
        if np.abs(p).max() > 3:
            return None, -2
        calm = calm + 1 if np.abs(step).max() < 0.5 else 0
        if calm == 7:
            return sample + p, 0
    return None, -4


@pytest.mark.parametrize(("interpolation", "tolerance"), [("spline", 0.02), ("linear", 0.35)])
def test_gaussian_atoms_at_known_places(interpolation, tolerance):
    # A linear interpolant has its top on a voxel, up to 0.5 per axis away, and the fit goes only part of the way
    # back; with a spline only the samples' ball, which does not move with the fit, leaves an error.
    rng = np.random.default_rng(1)
    voxels = scattered((40, 37, 44), 40, 9.0, rng)
    volume = blobs((40, 37, 44), voxels, rng.uniform(1, 3, 40))
    peaks = trace_atoms(volume, pixel_size=PIXEL, interpolation=interpolation, threshold=0.5)
    assert len(peaks) == 40
    distance, index = cKDTree(peaks.voxels).query(voxels)
    assert len(set(index)) == 40
    assert distance.max() < tolerance


@pytest.mark.parametrize("shape", [(15, 15, 15), (16, 14, 18), (15, 16, 17)])
def test_positions_count_from_the_center_voxel(shape):
    voxel = np.array(shape) // 2 + (1, -2, 0)
    peaks = trace_atoms(blobs(shape, [voxel]), pixel_size=0.5, interpolation="spline")
    assert peaks.positions == pytest.approx(np.array([[0.5, -1.0, 0.0]]), abs=1e-4)
    assert peaks.voxels == pytest.approx(voxel[None], abs=2e-4)


@pytest.mark.parametrize("interpolation", ["linear", "spline"])
@pytest.mark.parametrize("oversampling", [1, 2, 3, 5])
def test_maxima_are_those_of_the_whole_fine_grid(interpolation, oversampling):
    volume = noisy()
    fine = fine_array(volume, oversampling, interpolation)
    highest = maximum_filter(fine, footprint=generate_binary_structure(3, 1))
    expected = np.argwhere((fine == highest) & (fine > 0.1)) - 10
    samples, values = FineGrid.of(volume, oversampling, interpolation).maxima(0.1)
    assert (np.diff(values) <= 0).all()
    assert values == pytest.approx(fine[tuple(samples.T + 10)], abs=1e-12)
    assert {*map(tuple, samples)} == {*map(tuple, expected)}


@pytest.mark.parametrize("interpolation", ["linear", "spline"])
@pytest.mark.parametrize("oversampling", [1, 3])
def test_fit_is_the_least_squares_fit(interpolation, oversampling):
    ends = set()
    for seed in range(3):
        volume = noisy(seed=seed)
        fine = fine_array(volume, oversampling, interpolation)
        grid = FineGrid.of(volume, oversampling, interpolation)
        samples, _ = grid.maxima(0.0)
        tops, status = fit_peaks(grid, samples)
        for sample, top, code in zip(samples, tops, status, strict=True):
            expected, end = plain_fit(fine, sample)
            assert code == end
            ends.add(end)
            if end == 0:
                assert top == pytest.approx(expected, abs=1e-6)
            else:
                assert np.isnan(top).all()
    # On this noise fits end in at least these ways, so that the branches are compared too.
    assert {0, -1} <= ends


def test_every_end_of_a_fit_is_reached():
    ends = set()
    for seed in range(6):
        grid = FineGrid.of(np.random.default_rng(seed).random((20, 20, 20)), 3, "linear")
        ends |= set(fit_peaks(grid, grid.maxima(0.0)[0])[1].tolist())
    assert ends == {0, -1, -2, -4}


@pytest.mark.parametrize("min_distance", [0.0, 0.3, 1.1, 2.0, 30.0])
def test_bright_peaks_win_within_the_minimum_distance(min_distance):
    volume = noisy((22, 25, 19), 3)
    everything = trace_atoms(volume, pixel_size=PIXEL, min_distance=0)
    kept = []
    for place in everything.positions:
        if all(np.linalg.norm(place - other) >= min_distance for other in kept):
            kept.append(place)
    peaks = trace_atoms(volume, pixel_size=PIXEL, min_distance=min_distance)
    assert np.array_equal(peaks.positions, np.array(kept))
    assert peaks.status_counts["closer to a brighter peak than the minimum distance"] == len(everything) - len(kept)


def test_status_tells_the_end_of_every_maximum():
    peaks = trace_atoms(noisy((20, 20, 20)), pixel_size=PIXEL)
    assert len(peaks.status) == len(peaks.maxima) == sum(peaks.status_counts.values())
    assert peaks.status_counts["kept"] == len(peaks) == len(peaks.positions)
    assert set(peaks.status.tolist()) <= set(STATUS)
    # A top lies near the maximum it was fitted from.
    assert np.abs(peaks.positions - peaks.maxima[peaks.status == 0]).max() <= 3 * PIXEL / 3


def test_first_planes_are_zero_as_published():
    # A ramp falling away from the border has its maximum on the third fine plane, not on the first voxel.
    volume = np.tile(np.linspace(2, 1, 12)[:, None, None], (1, 12, 12)) * blobs((12, 12, 12), [(5.5, 6, 6)], sigma=30)
    samples, _ = FineGrid.of(volume, 3, "linear").maxima(0.0)
    assert samples[:, 0].min() == 2


def test_scale_dtype_and_container_change_nothing():
    volume = np.round(1000 * np.clip(noisy((20, 22, 18)), 0, None))
    expected = trace_atoms(volume, pixel_size=PIXEL)
    scaled = trace_atoms(volume * 4, pixel_size=PIXEL)
    assert np.array_equal(scaled.positions, expected.positions)
    assert np.array_equal(scaled.heights, 4 * expected.heights)
    for dtype in (np.float32, np.uint16, np.int32, ">f4"):
        assert trace_atoms(volume.astype(dtype), pixel_size=PIXEL).positions == pytest.approx(
            expected.positions, abs=1e-5
        )
    reconstruction = SimpleNamespace(volume=np.asfortranarray(volume), pixel_size=PIXEL)
    assert np.array_equal(trace_atoms(reconstruction).positions, expected.positions)
    doubled = trace_atoms(volume, pixel_size=2 * PIXEL, min_distance=4.0)
    assert doubled.positions == pytest.approx(2 * expected.positions)


def test_exchange_of_axes_exchanges_coordinates():
    volume = noisy((16, 19, 17), 5)
    peaks = trace_atoms(volume, pixel_size=PIXEL)
    turned = trace_atoms(volume.transpose(2, 0, 1), pixel_size=PIXEL)
    assert turned.positions == pytest.approx(peaks.positions[:, [2, 0, 1]], abs=1e-8)


def test_shift_by_whole_voxels_shifts_the_peaks():
    volume = blobs((20, 20, 20), [(9.3, 9.8, 10.1), (14.2, 9.0, 10.5)], [2, 1])
    expected = trace_atoms(volume, pixel_size=1.0, threshold=0.3).voxels + np.array([2, 1, 0])
    shifted = trace_atoms(np.roll(volume, (2, 1), (0, 1)), pixel_size=1.0, threshold=0.3)
    assert len(expected) == 2
    assert shifted.voxels == pytest.approx(expected, abs=1e-6)


def test_input_is_not_modified_and_threads_change_nothing(monkeypatch):
    volume = noisy((30, 24, 20), 7)
    before = volume.copy()
    volume.flags.writeable = False
    several = trace_atoms(volume, pixel_size=PIXEL)
    monkeypatch.setattr(tracing, "available_cores", lambda: 1)
    monkeypatch.setattr("medrange.aet.tomography.fine_grid.available_cores", lambda: 1)
    monkeypatch.setattr(tracing, "_BATCH", 7)
    monkeypatch.setattr("medrange.aet.tomography.fine_grid._PLANES", 5)
    one = trace_atoms(volume, pixel_size=PIXEL)
    assert np.array_equal(volume, before)
    assert np.array_equal(one.positions, several.positions)
    assert np.array_equal(one.status, several.status)


def test_smoothing_is_a_gaussian_in_angstrom():
    """A Gaussian atom stays where it is and gets lower by the known factor; other units of the same give the same."""
    volume = blobs((21, 22, 23), [(10.3, 11.2, 11.6)], sigma=1.5)
    plain = trace_atoms(volume, pixel_size=0.5, interpolation="spline")
    smooth = trace_atoms(volume, pixel_size=0.5, interpolation="spline", smoothing=0.5)
    np.testing.assert_allclose(smooth.positions, plain.positions, atol=0.01)
    # Variances add: the height of a Gaussian of 1.5 voxels falls by (2.25 / 3.25)^(3/2); heights are of fine samples.
    assert smooth.heights / plain.heights == pytest.approx((2.25 / 3.25) ** 1.5, rel=0.01)
    coarse = trace_atoms(volume, pixel_size=1.0, interpolation="spline", smoothing=1.0)
    np.testing.assert_allclose(coarse.positions, 2 * smooth.positions)
    integers = trace_atoms(np.round(1000 * volume).astype(np.int32), pixel_size=0.5, smoothing=0.5, threshold=10.0)
    floats = trace_atoms(np.round(1000 * volume), pixel_size=0.5, smoothing=0.5, threshold=10.0)
    np.testing.assert_allclose(integers.positions, floats.positions, atol=1e-5)
    assert smooth.parameters["smoothing"] == 0.5
    assert plain.parameters["smoothing"] == 0


def test_smoothing_pulls_peaks_of_a_noisy_volume_back():
    rng = np.random.default_rng(5)
    truth = scattered((40, 40, 40), 60, 7.0, rng)
    volume = blobs((40, 40, 40), truth) + rng.normal(0, 0.15, (40, 40, 40))
    errors = []
    for smoothing in (0.0, 1.0):
        peaks = trace_atoms(
            volume, pixel_size=1.0, interpolation="spline", threshold=0.3, min_distance=4.0, smoothing=smoothing
        )
        errors.append(np.sqrt(np.mean(cKDTree(peaks.voxels).query(truth)[0] ** 2)))
    assert errors[1] < 0.6 * errors[0]


def test_spline_has_a_threshold_of_its_own():
    # Ringing around a sharp edge makes maxima in the empty space beside it.
    volume = np.zeros((30, 30, 30))
    volume[14:17, 14:17, 14:17] = 1.0
    open_to_ringing = trace_atoms(volume, pixel_size=PIXEL, interpolation="spline", threshold=0, min_distance=0)
    by_default = trace_atoms(volume, pixel_size=PIXEL, interpolation="spline", min_distance=0)
    assert by_default.parameters["threshold"] == pytest.approx(0.01)
    assert len(by_default.status) < len(open_to_ringing.status) / 5


def test_an_empty_volume_has_no_peaks(tmp_path):
    peaks = trace_atoms(np.zeros((8, 8, 8)), pixel_size=PIXEL)
    assert len(peaks) == 0
    assert peaks.positions.shape == (0, 3)
    assert len(Peaks.load(peaks.save(tmp_path / "peaks.npz"))) == 0


def test_peaks_survive_a_file(tmp_path):
    peaks = trace_atoms(noisy((20, 20, 20)), pixel_size=PIXEL)
    loaded = Peaks.load(peaks.save(tmp_path / "peaks.npz"))
    for name in ("positions", "heights", "status", "maxima"):
        assert np.array_equal(getattr(loaded, name), getattr(peaks, name))
    assert (loaded.shape, loaded.pixel_size, loaded.parameters) == (peaks.shape, peaks.pixel_size, peaks.parameters)
    table = pd.read_csv(peaks.save(tmp_path / "peaks.csv"))
    assert table[["x", "y", "z"]].to_numpy() == pytest.approx(peaks.positions)
    assert len(ase.io.read(peaks.save(tmp_path / "peaks.xyz"))) == len(peaks)
    with pytest.raises(ValueError, match="the suffixes are"):
        peaks.save(tmp_path / "peaks.png")
    assert f"{len(peaks)} of {len(peaks.status)} local maxima" in repr(peaks)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"pixel_size": None}, "pixel_size is None; give the edge"),
        ({"pixel_size": 0.0}, r"pixel_size is 0\.0"),
        ({"min_distance": -1}, "min_distance is -1"),
        ({"oversampling": 2.5}, "oversampling is 2.5; give a whole number from 1 to 6"),
        ({"oversampling": 7}, "oversampling is 7"),
        ({"interpolation": "cubic"}, "interpolation is 'cubic'; give 'linear' or 'spline'"),
        ({"threshold": -0.1}, "threshold is -0.1"),
        ({"threshold": np.nan}, "threshold is nan"),
        ({"smoothing": -0.3}, "smoothing is -1 voxels; give 0 angstrom for none"),
    ],
)
def test_wrong_parameters_are_named(keywords, message):
    with pytest.raises(ValueError, match=message):
        trace_atoms(np.ones((8, 8, 8)), **{"pixel_size": 0.3, **keywords})


def test_wrong_volumes_are_named(monkeypatch):
    with pytest.raises(ValueError, match=r"the volume has shape \(8, 8\)"):
        trace_atoms(np.ones((8, 8)), pixel_size=0.3)
    with pytest.raises(ValueError, match="at least 4 voxels"):
        trace_atoms(np.ones((8, 8, 3)), pixel_size=0.3)
    broken = np.ones((8, 8, 8))
    broken[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="1 voxels are NaN or infinite"):
        trace_atoms(broken, pixel_size=0.3)
    with pytest.raises(ValueError, match=r"pixel_size is 0\.3 Å but the reconstruction has 0\.4 Å"):
        trace_atoms(SimpleNamespace(volume=np.ones((8, 8, 8)), pixel_size=0.4), pixel_size=0.3)
    monkeypatch.setattr("medrange.aet.tomography.fine_grid.MOST_MAXIMA", 100)
    with pytest.raises(ValueError, match="raise the threshold"):
        trace_atoms(np.ones((8, 8, 8)), pixel_size=0.3)


@pytest.fixture(scope="module")
def film(data_folder):
    """Published peaks (voxels of the film, from 0) and models (the same)."""
    reference = np.load(data_folder / "ta_film" / "tracing_reference.npz")
    final = np.load(data_folder / "ta_film" / "ta_film_atoms.npz")["positions"].astype(float)
    center = np.array([200, 175, 170])
    return reference["all_peaks_px_1based"] - 1, final / PIXEL + center


def own_patch(window, data):
    """Limits of the part of the film that was traced in this window alone."""
    center, half = data["center_in_film"], data["half_size"]
    low, high = (center - half).astype(float), (center + half).astype(float)
    # Columns are trimmed by 54, and strips overlap their neighbors: by four columns, and by rows up to 301.
    low[0] = center[0] - half[0] + 54 + 4.5
    low[1] = 302
    if window == 64:
        high[0] = center[0] + half[0] - 54 - 4.5
    return low, high


@pytest.mark.data
@pytest.mark.parametrize(("window", "count"), [(64, 140), (65, 786)])
def test_published_peaks_and_atoms_of_a_window(data_folder, film, window, count):
    with np.load(data_folder / "ta_film" / f"tomography_subarea{window}.npz") as data:
        volume, corner = data["reconstruction"], data["center_in_film"] - data["half_size"]
        low, high = own_patch(window, data)
        peaks = trace_atoms(volume, pixel_size=float(data["pixel_size"]))
    voxels = peaks.voxels + corner
    published, atoms = ([p for p in points if (p >= low).all() and (p <= high).all()] for points in film)
    distance, _ = cKDTree(voxels).query(published)
    assert len(published) == count
    assert (distance < 0.01).mean() >= 0.98
    mine = voxels[((voxels >= low) & (voxels <= high)).all(axis=1)]
    assert len(mine) == pytest.approx(count, rel=0.02)
    # The refined model moved the atoms by 0.25 angstrom on average.
    distance = cKDTree(voxels).query(atoms)[0] * PIXEL
    found = distance < 1.5
    assert found.mean() >= 0.985
    assert 0.20 < np.sqrt((distance[found] ** 2).mean()) < 0.27
