import numpy as np
import pandas as pd
import pytest

import medrange as mr
from medrange.geometry import PolarGrid
from medrange.kernels.fluctuation import METHODS
from medrange.kernels.polar import polar_operator
from medrange.signals.fluctuation import FluctuationVariance

SIZE, K_STEP, CENTER = 32, 0.1, (15.2, 16.1)
# Rings four pixels wide, the last to the edge: enough pixels that 3 standard errors are a sharp test.
RING = 0.4
CURVES = ("raw", "noise", "corrected", "error")


def scan_of(data, *, chunks=None, mask=None):
    signal = mr.Nanodiffraction(data)
    signal.calibrate(scan_step=0.5, k_step=K_STEP)
    signal.set_center(CENTER)
    signal.set_mask(mask)
    if chunks is not None:
        signal = signal.as_lazy()
        signal.data = signal.data.rechunk(chunks)
    return signal


def flat(mean, dtype, gain=1, *, scan=(24, 24), seed=0):
    """Structureless patterns of Poisson counts, ``gain`` data units each."""
    counts = gain * np.random.default_rng(seed).poisson(mean, (*scan, SIZE, SIZE))
    if np.dtype(dtype).kind == "u":
        assert counts.max() <= np.iinfo(dtype).max
    return counts.astype(dtype)


def speckle(scan=(6, 7), seed=0):
    rng = np.random.default_rng(seed)
    return rng.gamma(8.0, 1 / 8, (*scan, 1, 1)) * rng.gamma(3.0, 10.0, (*scan, SIZE, SIZE))


def stop():
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[14:18, :18] = True
    return mask


def same(result, expected, rel=1e-10):
    for name in CURVES:
        assert getattr(result, name) == pytest.approx(getattr(expected, name), rel=rel, abs=1e-14, nan_ok=True), name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("mean", "dtype", "gain"),
    [
        (30, "uint8", 1),
        (180, "uint8", 1),
        (400, "uint16", 1),
        (64000, "uint16", 1),
        (30, "uint16", 5),
        (30, "float32", 0.25),
        (3, "uint8", 1),
    ],
)
def test_flat_poisson_patterns_have_no_variance_but_noise(mean, dtype, gain, method):
    signal = scan_of(flat(mean, dtype, gain))
    v = signal.fluctuation_variance(method, k_step=RING, gain=gain, n_bootstrap=200)
    assert v.k.size == 3
    assert (np.abs(v.corrected) < 3 * v.error).all()
    # The floor, known beforehand: electrons per pixel, or per ring of that effective number of pixels.
    operator = polar_operator(signal.geometry, PolarGrid(0.0, 3 * RING, 3, 1))
    pixels = 1 / np.add.reduceat(operator.weights**2, operator.indptr[:-1])
    floor = np.full(3, 1 / mean) if method != "annular_mean" else 1 / (mean * pixels)
    one_less = {"ring_mean": 1 - 1 / pixels, "ring_ensemble": 1.0}.get(method, 1 - 1 / 576)
    assert (np.abs(v.raw - floor * one_less) < 3 * v.error).all()
    assert v.noise == pytest.approx(floor * one_less, rel=0.02)
    assert (v.error < 0.1 * floor).all()
    # Whole pixels count almost like their area.
    assert pixels == pytest.approx(np.pi * RING**2 * np.array([1, 3, 5]) / K_STEP**2, rel=0.13)


@pytest.mark.parametrize("method", METHODS)
def test_correction_has_no_bias_in_few_positions(method):
    data = flat(20, "uint16", scan=(60, 8, 8), seed=4)
    values = [scan_of(part).fluctuation_variance(method, k_step=RING, gain=1) for part in data]
    corrected = np.array([v.corrected for v in values])
    standard_error = corrected.std(axis=0, ddof=1) / np.sqrt(len(corrected))
    assert (np.abs(corrected.mean(axis=0)) < 3 * standard_error).all()
    assert (standard_error < 0.05 * values[0].noise).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("gain", [None, 1])
def test_error_band_is_the_scatter_of_repeated_scans(method, gain):
    rng = np.random.default_rng(7)
    dose = rng.gamma(20.0, 1 / 20, (80, 8, 8, 1, 1))
    data = rng.poisson(40 * dose * rng.gamma(10.0, 0.1, (80, 8, 8, SIZE, SIZE)))
    runs = [scan_of(part).fluctuation_variance(method, k_step=RING, gain=gain, n_bootstrap=100) for part in data]
    scatter = np.std([run.value for run in runs], axis=0, ddof=1)
    claimed = np.mean([run.error for run in runs], axis=0)
    assert claimed == pytest.approx(scatter, rel=0.25)


def test_linearized_error_of_the_variance_image_is_that_of_resampled_scans():
    data = speckle((10, 12))
    v = scan_of(data).fluctuation_variance("variance_image", k_step=RING, n_bootstrap=400)
    rng = np.random.default_rng(1)
    frames = data.reshape(1, 120, SIZE, SIZE)
    again = [
        scan_of(frames[:, rng.integers(120, size=120)]).fluctuation_variance("variance_image", k_step=RING).raw
        for _ in range(120)
    ]
    assert v.error == pytest.approx(np.std(again, axis=0), rel=0.2)


def test_dose_modulation_is_the_variance_between_positions():
    dose = np.random.default_rng(2).gamma(5.0, 0.2, (12, 15))
    pattern = np.full((SIZE, SIZE), 70.0)
    signal = scan_of(dose[..., None, None] * pattern)
    expected = dose.var() / dose.mean() ** 2
    for method in ("annular_mean", "ring_ensemble", "variance_image"):
        assert signal.fluctuation_variance(method).raw == pytest.approx(expected, rel=1e-11)
    assert signal.fluctuation_variance("ring_mean").raw == pytest.approx(0, abs=1e-13)


def test_gamma_speckle_of_known_contrast_under_noise():
    # Gamma intensities of shape a per pixel, gamma dose of shape b per position: V is known in closed form.
    a, b = 4.0, 50.0
    rng = np.random.default_rng(6)
    scan = (48, 48)
    intensity = 25 * rng.gamma(a, 1 / a, (*scan, SIZE, SIZE)) * rng.gamma(b, 1 / b, (*scan, 1, 1))
    signal = scan_of(rng.poisson(intensity).astype("uint16"))
    operator = polar_operator(signal.geometry, PolarGrid(0.0, 3 * RING, 3, 1))
    squares = np.add.reduceat(operator.weights**2, operator.indptr[:-1])
    both = (1 + 1 / a) * (1 + 1 / b) - 1
    expected = {
        "annular_mean": 1 / b + (1 + 1 / b) * squares / a,
        # The mean of the ring fluctuates with its pixels: exact for gamma intensities of equal weight.
        "ring_mean": (1 - squares) / (a + squares),
        "ring_ensemble": both,
        "variance_image": both,
    }
    for method in METHODS:
        v = signal.fluctuation_variance(method, k_step=RING, gain=1, n_bootstrap=100)
        assert (np.abs(v.corrected - expected[method]) < 4 * v.error + 2e-3 * expected[method]).all(), method
        assert (v.error < 0.05 * expected[method]).all(), method


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("chunks", [(6, 7, -1, -1), (1, 3, -1, -1), (4, 2, -1, -1)])
@pytest.mark.parametrize("excluded", [False, True], ids=["whole", "scan_mask"])
def test_lazy_equals_eager_for_any_chunking(method, chunks, excluded):
    data = np.random.default_rng(0).poisson(100 * speckle()).astype("uint16")
    keywords = {"gain": 1, "n_bootstrap": 5}
    if excluded:
        keywords["scan_mask"] = np.arange(42).reshape(6, 7) < 9
    expected = scan_of(data, mask=stop()).fluctuation_variance(method, **keywords)
    assert np.isfinite(expected.corrected[3:]).all()
    same(scan_of(data, chunks=chunks, mask=stop()).fluctuation_variance(method, **keywords), expected)
    keywords["n_bootstrap"] = 0
    once = scan_of(data, chunks=chunks, mask=stop()).fluctuation_variance(method, **keywords)
    assert once.raw == pytest.approx(expected.raw, rel=1e-10, nan_ok=True)
    assert once.noise == pytest.approx(expected.noise, rel=1e-10, nan_ok=True)


@pytest.mark.parametrize("method", METHODS)
def test_order_of_positions_does_not_matter(method):
    data = flat(64000, "uint16", scan=(8, 9))
    order = np.random.default_rng(0).permutation(72)
    shuffled = data.reshape(72, SIZE, SIZE)[order].reshape(data.shape)
    same(scan_of(shuffled).fluctuation_variance(method, gain=1), scan_of(data).fluctuation_variance(method, gain=1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_excluded_positions_do_not_count(method, lazy):
    data = speckle()
    bad = np.zeros((6, 7), dtype=bool)
    bad[0, :3] = bad[4, 5] = True
    expected = scan_of(data[~bad][None]).fluctuation_variance(method, gain=2, n_bootstrap=9)
    data[bad] = np.nan
    chunks = (2, 3, -1, -1) if lazy else None
    result = scan_of(data, chunks=chunks).fluctuation_variance(method, gain=2, n_bootstrap=9, scan_mask=bad)
    assert result.n_positions == 38
    same(result, expected)
    assert np.isfinite(result.corrected).all()


def test_whole_chunks_may_be_excluded():
    bad = np.zeros((6, 7), dtype=bool)
    bad[:4] = True
    data = speckle()
    for method in METHODS:
        result = scan_of(data, chunks=(2, 7, -1, -1)).fluctuation_variance(method, scan_mask=bad)
        same(result, scan_of(data[4:]).fluctuation_variance(method))


@pytest.mark.parametrize("method", METHODS)
def test_masked_pixels_do_not_count(method):
    data, spoiled = speckle(), speckle()
    spoiled[..., stop()] = np.nan
    expected = scan_of(data, mask=stop()).fluctuation_variance(method, gain=1, n_bootstrap=5)
    same(scan_of(spoiled, mask=stop()).fluctuation_variance(method, gain=1, n_bootstrap=5), expected)
    assert not np.array_equal(expected.raw, scan_of(data).fluctuation_variance(method).raw)


@pytest.mark.parametrize("method", METHODS)
def test_a_ring_without_open_pixels_is_nan(method):
    rows, cols = np.indices((SIZE, SIZE))
    mask = np.hypot(rows - CENTER[0], cols - CENTER[1]) < 5
    v = scan_of(speckle(), mask=mask).fluctuation_variance(method, gain=1, n_bootstrap=5)
    for name in CURVES:
        curve = getattr(v, name)
        assert np.isnan(curve[:4]).all(), name
        assert np.isfinite(curve[6:]).all(), name


@pytest.mark.parametrize("method", METHODS)
def test_without_gain_nothing_is_corrected(method):
    signal = scan_of(flat(30, "uint8", scan=(5, 5)))
    raw = signal.fluctuation_variance(method, n_bootstrap=5)
    assert np.isnan(raw.noise).all()
    assert np.isnan(raw.corrected).all()
    assert np.isfinite(raw.error).all()
    assert raw.value is raw.raw
    corrected = signal.fluctuation_variance(method, gain=1)
    assert corrected.value is corrected.corrected
    assert np.isnan(corrected.error).all()
    assert np.array_equal(corrected.raw - corrected.noise, corrected.corrected)


@pytest.mark.parametrize("method", METHODS)
def test_scale_of_the_data_does_not_matter(method):
    data = speckle()
    one = scan_of(data).fluctuation_variance(method, gain=1.5)
    thousand = scan_of(1000 * data).fluctuation_variance(method, gain=1500)
    same(thousand, one)


def test_rings_can_be_chosen_and_the_default_reaches_the_edge():
    signal = scan_of(speckle())
    v = signal.fluctuation_variance()
    assert v.method == "annular_mean"
    assert v.k == pytest.approx(signal.radial_profile().axes_manager["k"].axis)
    chosen = signal.fluctuation_variance(k_step=0.2, k_max=1.0)
    assert chosen.k == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])


def test_a_line_and_a_single_pattern():
    signal = scan_of(speckle())
    line = signal.inav[:, 1].fluctuation_variance("annular_mean")
    assert line.n_positions == 7
    single = signal.inav[2, 1]
    v = single.fluctuation_variance("ring_mean", gain=1)
    assert v.n_positions == 1
    assert v.raw == pytest.approx(single.fluctuation_variance("ring_ensemble", gain=1).raw, rel=1e-12)
    assert v.noise == pytest.approx(single.fluctuation_variance("ring_ensemble", gain=1).noise, rel=1e-12)
    with pytest.raises(ValueError, match="1 scan positions are left, but 'annular_mean' needs at least 2"):
        single.fluctuation_variance()


def test_input_is_unchanged():
    signal = scan_of(flat(30, "uint8", scan=(4, 5)), mask=stop())
    before, metadata, axes = signal.data.copy(), str(signal.metadata), str(signal.axes_manager)
    bad = np.eye(4, 5, dtype=bool)
    for method in METHODS:
        signal.fluctuation_variance(method, gain=1, n_bootstrap=3, scan_mask=bad)
    assert (signal.data == before).all()
    assert (bad == np.eye(4, 5)).all()
    assert (str(signal.metadata), str(signal.axes_manager)) == (metadata, axes)


def test_chunks_that_cut_patterns_are_put_together():
    signal = scan_of(speckle(), chunks=(3, 4, 16, 16))
    bad = np.eye(6, 7, dtype=bool)
    expected = scan_of(speckle()).fluctuation_variance("variance_image", scan_mask=bad, n_bootstrap=4)
    with pytest.warns(UserWarning, match="cut the patterns"):
        result = signal.fluctuation_variance("variance_image", scan_mask=bad, n_bootstrap=4)
    same(result, expected)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"method": "Omega"}, "method is 'Omega'; it must be one of 'annular_mean', 'ring_mean'"),
        ({"gain": 0}, "gain is 0; it is the data units per detected electron"),
        ({"gain": np.nan}, "gain is nan"),
        ({"gain": "auto"}, "gain is 'auto'"),
        ({"gain": np.ones(2)}, "gain is array"),
        ({"scan_mask": np.zeros((7, 6), bool)}, r"scan_mask is bool of shape \(7, 6\); a boolean array .* \(6, 7\)"),
        ({"scan_mask": np.zeros((6, 7))}, "scan_mask is float64"),
        ({"scan_mask": np.ones((6, 7), bool)}, "0 scan positions are left"),
        ({"scan_mask": np.arange(42).reshape(6, 7) > 0, "method": "ring_mean", "n_bootstrap": 9}, "for an error band"),
        ({"n_bootstrap": 1}, "n_bootstrap is 1; give 0 for no error band"),
        ({"n_bootstrap": -5}, "n_bootstrap is -5"),
        ({"k_step": 40.0}, "no ring of that width fits"),
    ],
)
def test_what_cannot_be_computed_is_refused(keywords, message):
    with pytest.raises(ValueError, match=message):
        scan_of(speckle()).fluctuation_variance(**keywords)


def test_result_is_a_table_with_units_that_can_be_saved(tmp_path):
    v = scan_of(speckle()).fluctuation_variance("ring_mean", gain=2, n_bootstrap=5)
    assert isinstance(v, FluctuationVariance)
    assert list(v.table.columns) == ["k", *CURVES]
    assert v.table.attrs["units"] == {"k": "1/nm", "raw": "", "noise": "", "corrected": "", "error": ""}
    path = v.save(tmp_path / "folder" / "v_of_k")
    assert path.name == "v_of_k.csv"
    read = pd.read_csv(path)
    assert read.columns[0] == "k [1/nm]"
    assert read["corrected"].to_numpy() == pytest.approx(v.corrected, rel=1e-5)


def test_repr_names_method_rings_and_correction():
    signal = scan_of(speckle())
    text = repr(signal.fluctuation_variance("ring_mean", gain=2))
    assert text.startswith("FluctuationVariance(ring_mean, 15 rings to k = 1.45 1/nm, 42 positions; gain 2, corrected")
    assert "largest V" in text
    assert "no gain given" in repr(signal.fluctuation_variance())
    assert repr(scan_of(np.zeros((3, 3, 32, 32))).fluctuation_variance()).endswith("no value)")


def test_plot_shows_value_band_and_noise():
    signal = scan_of(speckle())
    v = signal.fluctuation_variance("ring_mean", gain=2, n_bootstrap=9)
    ax = v.plot()
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["corrected"].get_ydata() == pytest.approx(v.corrected)
    assert lines["raw"].get_ydata() == pytest.approx(v.raw)
    assert lines["shot noise"].get_ydata() == pytest.approx(v.noise)
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(np.max(v.corrected + v.error))
    assert band[:, 1].min() == pytest.approx(np.min(v.corrected - v.error))
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("k (nm$^{-1}$)", "V(k)", "ring mean")
    plain = signal.fluctuation_variance("ring_mean").plot(ax=ax.figure.add_subplot())
    assert {line.get_label() for line in plain.lines} >= {"raw"}
    assert not plain.collections


@pytest.mark.parametrize(("method", "theirs"), zip(METHODS, ("Omega", "r", "re", "VImage"), strict=True))
def test_raw_values_agree_with_pyxem_for_floating_data(method, theirs):
    pyxem = pytest.importorskip("pyxem")
    data = speckle((8, 9))
    v = scan_of(data).fluctuation_variance(method, k_step=0.2, k_max=1.4)
    peer = pyxem.signals.Diffraction2D(data)
    for axis in peer.axes_manager.signal_axes:
        axis.scale, axis.units = K_STEP, "k_nm^-1"
    peer.calibration.center = CENTER[::-1]
    peer = peer.get_variance(npt=7, method=theirs, radial_range=(0.0, 1.4), inplace=False)
    # Their circles are polygons of 360 sides.
    assert v.raw == pytest.approx(peer.data, rel=1e-4)
