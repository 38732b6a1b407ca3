"""The run of pair distribution functions: simulated glasses from file to page, and published simulations."""

import warnings
from dataclasses import replace

import hyperspy.api as hs
import numpy as np
import pandas as pd
import pytest

from medrange.pdf.composition import mean_factors
from medrange.report import pdf_run
from medrange.report.pdf_report import pdf_tables, write_pdf_report
from medrange.report.pdf_run import PdfOptions, analyze_profiles, first_ring, write_pdf

SHAPE = (9, 10)
CENTER = (31.5, 31.5)
SCALES = {"scan_step": 1.2, "k_step": 0.5, "beam_energy": 300.0, "convergence_angle": 0.6}
OPTIONS = PdfOptions("Fe", r_max=9.5, r_range=(1.5, 9.0), **SCALES)
#: First peaks of the two types, in angstrom.
LIQUID, SOLID = 2.60, 2.40


def fractions():
    """Smooth map of the liquid-like type, 0 .. 1."""
    y, x = np.indices(SHAPE)
    return 0.5 + 0.5 * np.sin(2 * np.pi * x / 10) * np.cos(2 * np.pi * y / 18)


def patterns(liquid, *, seed=0):
    """Counts of rings of two types of glass, mixed by a map, with a direct beam; 0.05 1/Å per pixel."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((64, 64))
    k = np.hypot(rows - CENTER[0], columns - CENTER[1]) * 0.05
    mean, square = mean_factors("Fe", k)

    def rings(r1):
        # The sinc of one distance, damped as by a peak of finite width.
        return np.sinc(2 * k * r1) * np.exp(-0.5 * k**2) + 0.7 * np.sinc(2 * k * 1.65 * r1) * np.exp(-0.9 * k**2)

    structure = liquid[..., None, None] * rings(LIQUID) + (1 - liquid[..., None, None]) * rings(SOLID)
    beam = 4000 * np.exp(-((k / 0.05) ** 2))
    return rng.poisson(200 * (square + mean**2 * 2.5 * structure) + beam).astype(np.uint16)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "two_types.npy"
    np.save(path, patterns(fractions()))
    return path


@pytest.fixture(scope="module")
def one_phase(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "one_type.npy"
    np.save(path, patterns(np.full(SHAPE, 0.5)))
    return path


@pytest.fixture(scope="module")
def analysis(scan):
    return analyze_profiles(scan, OPTIONS)


def test_finds_the_types_and_their_map(analysis):
    types = analysis.components
    assert types.labels[:2] == ("liquid-like", "solid-like")
    liquid, solid = types.peak_positions["first_peak"].iloc[:2]
    # 0.05 1/Å per pixel and k to 1.55 1/Å: positions to a few hundredths of an angstrom, differences better.
    assert (liquid, solid) == pytest.approx((LIQUID, SOLID), abs=0.06)
    assert liquid - solid == pytest.approx(LIQUID - SOLID, abs=0.04)
    assert np.corrcoef(types.fraction_maps[0].ravel(), fractions().ravel())[0, 1] > 0.98
    assert np.corrcoef(analysis.first_peak.position.data.ravel(), fractions().ravel())[0, 1] > 0.95
    assert analysis.null.distinguishable
    table = types.fractions()
    assert table["fraction"].sum() == pytest.approx(1)
    assert (table["error"] > 0).all()


def test_k_range_is_chosen_and_told(analysis):
    low, high = analysis.options.k_range
    k = analysis.mean_profile.axes_manager[0].axis / 10
    ring = first_ring(k, analysis.mean_profile.data, "Fe")
    assert low == pytest.approx(ring / 2, abs=0.05)
    assert high == pytest.approx(k[-1])
    assert "half the k of the first ring" in analysis.settings["k range"]


def test_mean_curves_are_of_the_mean_profile(analysis):
    profile = np.asarray(analysis.profile.data, dtype=float)
    np.testing.assert_allclose(analysis.mean_profile.data, profile.mean(axis=(0, 1)), rtol=1e-6)
    # The counting error of a mean over 90 patterns, against that of its positions, which it must be near 1/sqrt(90) of.
    single = analysis.profile.structure_factor("Fe", k_range=analysis.options.k_range)
    single = single.reduced_pdf(r_max=9.5, error=True).error_band().data
    ratio = analysis.mean_pdf.error_band().data[20:] / np.sqrt((single[..., 20:] ** 2).mean(axis=(0, 1)))
    np.testing.assert_allclose(ratio, 1 / np.sqrt(90), rtol=0.02)
    np.testing.assert_allclose(analysis.spread, np.std(np.asarray(analysis.pdf.data), axis=(0, 1)), rtol=1e-4)


def test_lazy_and_in_chunks_give_the_same(scan, analysis, monkeypatch):
    monkeypatch.setattr(pdf_run, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(pdf_run, "_CHUNK_BYTES", 4 * 10 * 300 * 4)
    two = replace(OPTIONS, n_components=len(analysis.components.labels))
    chunked = analyze_profiles(scan, two)
    assert chunked.pdf._lazy
    assert chunked.pdf.data.numblocks[0] > 1
    monkeypatch.undo()
    eager = analyze_profiles(scan, replace(two, lazy=False))
    for other in (chunked, eager):
        np.testing.assert_allclose(np.asarray(other.pdf.data), analysis.pdf.data, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(other.spread, analysis.spread, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(other.components.weights.data, analysis.components.weights.data, atol=1e-3)
        np.testing.assert_allclose(other.first_peak.position.data, analysis.first_peak.position.data, atol=1e-4)


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def files(scan, told, tmp_path_factory):
    return write_pdf(scan, OPTIONS, folder=tmp_path_factory.mktemp("report") / "out", tell=told.append)


def test_page_is_complete(files, told):
    assert told[0].startswith("loading")
    text = files.page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == len(files.figures) == 7
    for path in (*files.figures, *files.tables, *files.maps):
        assert path.exists()
    for title in (
        "Intensity and structure factor",
        "Mean pair distribution function",
        "First peak",
        "Structural types",
        "Types against a single phase",
        "Sizes",
        "How this was made",
    ):
        assert f"{title}</h2>" in text
    for words in (
        "SHA-256",
        "block bootstrap",
        "band_low",
        "probe_floor [nm]",
        "Two structural types are disting",
        "Fe",
    ):
        assert words in text
    assert "http" not in text


def test_files_can_be_read_again(files, analysis):
    maps = {path.name: path for path in files.maps}
    g = hs.load(maps["two_types_reduced_pdf.zspy"])
    assert type(g).__name__ == "ReducedPDF"
    np.testing.assert_array_equal(g.data, analysis.pdf.data)
    assert type(hs.load(maps["two_types_profile.zspy"])).__name__ == "RadialProfile"
    position = hs.load(maps["two_types_first_peak_position.zspy"])
    np.testing.assert_array_equal(position.data, analysis.first_peak.position.data)
    again = type(analysis.components).load(maps["two_types_weights.zspy"].with_name("two_types.zspy"))
    assert again.labels == analysis.components.labels
    tables = {path.stem: pd.read_csv(path) for path in files.tables}
    assert len(tables["mean_pdf"]) == analysis.mean_pdf.data.size
    assert tables["mean_pdf"]["counting_error [1/Å²]"].max() > 0
    fraction = analysis.components.fractions()["fraction"]
    np.testing.assert_allclose(tables["fractions"]["fraction"], fraction, rtol=1e-5)
    assert "correlation_length [nm]" in tables["correlation_length"]
    assert tables["null"]["p_value"].max() < 0.05


def test_single_phase_is_told_before_everything_else(one_phase, tmp_path):
    analysis = analyze_profiles(one_phase, OPTIONS)
    assert not analysis.null.distinguishable
    page = write_pdf_report(analysis, folder=tmp_path, warnings=["3 frames were left out."]).page
    text = page.read_text(encoding="utf-8")
    assert text.index("what a factorization makes of") < text.index("3 frames were left out.") < text.index("<dl>")
    assert "not distinguishable, p =" in text


def test_scan_too_small_for_the_test_says_so(scan, tmp_path):
    path = tmp_path / "small.npy"
    np.save(path, np.load(scan)[:7])
    with pytest.warns(UserWarning, match="not held against a single phase: the scan has shape"):
        analysis = analyze_profiles(path, replace(OPTIONS, n_components=2))
    assert analysis.null is None
    assert "null" not in pdf_tables(analysis)


def test_options_reach_the_analysis(scan, tmp_path):
    mask = np.zeros((64, 64), dtype=bool)
    mask[:, :10] = True
    np.save(tmp_path / "mask.npy", mask)
    options = replace(
        OPTIONS, k_range=(0.3, 1.5), polynomial_degree=3, background="log_polynomial", window="lorch", n_components=3,
        center=(31.4, 31.6), mask=tmp_path / "mask.npy",
    )  # fmt: skip
    analysis = analyze_profiles(scan, options)
    assert analysis.options == options
    assert analysis.mean_factor.reduction.background == "log_polynomial"
    assert analysis.mean_factor.reduction.polynomial_degree == 3
    assert analysis.pdf.metadata.Medrange.Provenance.parameters.window == "lorch"
    assert analysis.mean_factor.axes_manager[0].axis[[0, -1]] == pytest.approx((0.3, 1.5), abs=0.05)
    assert len(analysis.components.labels) == 3
    assert analysis.settings["k range"] == "given"
    assert analysis.settings["center (row, column)"] == "31.40, 31.60 px, given"
    assert analysis.settings["excluded detector pixels"] == 640


def test_third_component_is_kept_only_as_a_residual(analysis):
    labels = analysis.components.labels
    assert len(labels) == 2 or labels[2] == "residual"
    assert analysis.options.n_components == len(labels)


def test_rings_behind_a_beam_stop_are_left_out(scan, tmp_path):
    rows, columns = np.indices((64, 64))
    mask = np.hypot(rows - CENTER[0], columns - CENTER[1]) < 7
    np.save(tmp_path / "stop.npy", mask)
    options = replace(OPTIONS, mask=tmp_path / "stop.npy", center=CENTER)
    low, _ = analyze_profiles(scan, options).options.k_range
    assert low > 7 * 0.05 - 0.05
    assert low < 0.45


def test_degree_is_what_the_k_range_allows(analysis, scan):
    assert analysis.options.polynomial_degree == 4
    # 2 x 0.8 x 2.5 - 1 = 3: a polynomial of degree 3 could follow neighbors at 2.5 Å, one of degree 2 cannot.
    short = replace(OPTIONS, k_range=(0.2, 1.0), n_components=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert analyze_profiles(scan, short).options.polynomial_degree == 2
    with pytest.warns(UserWarning, match="can follow the oscillation") as told:
        analyze_profiles(scan, replace(short, polynomial_degree=4))
    assert sum("can follow" in str(warning.message) for warning in told) == 1


def test_gain_of_data_that_are_not_counts_is_asked_for(scan, tmp_path):
    path = tmp_path / "float.npy"
    np.save(path, 2.5 * np.load(scan).astype(np.float32))
    options = replace(OPTIONS, n_components=2)
    with pytest.warns(UserWarning, match="give --gain"):
        unknown = analyze_profiles(path, options)
    assert not unknown.has_error
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The counting error")
        known = analyze_profiles(path, replace(options, gain=2.5))
    assert known.has_error


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"composition": "Fe80Xx20"}, "Xx"),
        ({"k_range": (2.5, 15.0)}, "16 1/nm are 1.6"),
        ({"scan_step": None}, "give --scan-step NM"),
        ({"r_max": 30.0}, "r_max"),
    ],
)
def test_options_that_do_not_fit_are_refused(scan, changed, message):
    with pytest.raises(ValueError, match=message):
        analyze_profiles(scan, replace(OPTIONS, **changed))


def test_no_ring_is_an_error_that_names_the_option():
    k = np.linspace(0.0, 1.6, 100)
    with pytest.raises(ValueError, match="--k-range"):
        first_ring(k, mean_factors("Fe", k)[1], "Fe")
    with pytest.raises(ValueError, match="--k-range"):
        first_ring(k, np.full(100, np.nan), "Fe")


def test_ring_is_found_on_a_steep_background_and_beside_noise():
    rng = np.random.default_rng(0)
    k = np.linspace(0.01, 1.6, 160)
    square = mean_factors("Fe80B20", k)[1]
    plural = 30 * square[0] * np.exp(-k / 0.1)
    intensity = square * (1 + 0.6 * np.exp(-(((k - 0.48) / 0.06) ** 2))) + plural
    assert first_ring(k, intensity * rng.normal(1, 0.003, k.size), "Fe80B20") == pytest.approx(0.48, abs=0.03)


@pytest.mark.data
def test_two_glasses_of_known_mixture(data_folder):
    folder = data_folder / "sim" / "merlin_two_phase"
    options = PdfOptions(
        "Fe", window="lorch", n_components=2, scan_step=1.2, k_step=0.128, beam_energy=300.0, convergence_angle=0.6
    )
    analysis = analyze_profiles(folder / "crop10.mib", options)
    truth = np.load(folder / "truth_maps.npz")["weight_A"][:10, :10]
    # The plain analysis of the README reaches 0.977 over the whole scan; this is its first 10 x 10 positions.
    assert np.corrcoef(analysis.components.fraction_maps[0].ravel(), truth.ravel())[0, 1] > 0.9
    # First peaks of the two models are 2.52 and 2.44 Å; the range of k and the window move both by up to 0.08.
    peaks = analysis.components.peak_positions["first_peak"]
    assert peaks[0] == pytest.approx(2.52, abs=0.08)
    assert peaks[1] == pytest.approx(2.44, abs=0.08)
    assert analysis.null.distinguishable
