import subprocess
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import hyperspy.api as hs
import numpy as np
import pandas as pd
import pytest

from medrange.io import frames
from medrange.report.maps_checks import quality_sample
from medrange.report.maps_report import write_maps_report
from medrange.report.maps_run import MapsOptions, analyze_scan, write_maps
from medrange.report.planted import compare_with_planted
from medrange.report.running import gathered_warnings
from medrange.signals.nanodiffraction import Nanodiffraction

CENTER = (31.6, 32.3)
CLUSTER = (2.0, 1.5)  # y, x in nm


def patterns(rows=9, columns=11, step=0.5, seed=0):
    """Isotropic rings with a 4-fold pattern within 0.8 nm of CLUSTER, and a direct beam."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((64, 64), dtype=float)
    y, x = y - CENTER[0], x - CENTER[1]
    k, phi = np.hypot(y, x) * 0.2, np.arctan2(y, x)
    beam, ring = 3000 * np.exp(-((k / 0.4) ** 2)), 60 * np.exp(-(((k - 4) / 0.5) ** 2))
    i, j = np.indices((rows, columns)) * step
    strength = 0.9 * (np.hypot(i - CLUSTER[0], j - CLUSTER[1]) < 0.8)
    order = 1 + strength[..., np.newaxis, np.newaxis] * np.cos(4 * phi)
    return rng.poisson(beam + ring * order).astype("uint16")


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.npy"
    np.save(path, patterns())
    return path


OPTIONS = {"k": 4.0, "width": 0.8, "scan_step": 0.5, "k_step": 0.2, "beam_energy": 300.0, "lazy": False}
# What a run without the semi-angle of the probe tells.
pytestmark = pytest.mark.filterwarnings("ignore:The hotspots were not held against chance")


@pytest.fixture(scope="module")
def analysis(scan):
    return analyze_scan(scan, MapsOptions(**OPTIONS))


def test_run_finds_the_center_and_the_cluster(analysis):
    row, column = (float(part) for part in analysis.settings["center (row, column)"].split(" px")[0].split(","))
    assert (row, column) == pytest.approx(CENTER, abs=0.05)
    power = dict(zip(analysis.result.power.orders, analysis.result.power.data, strict=True))
    # C(0) of 1 + 0.9 cos(4 phi) is 0.9^2/2, lowered by the average over a bin of 10 degrees
    assert power[4][4, 3] == pytest.approx(0.405 * np.sinc(4 / 36) ** 2, rel=0.1)
    assert power[4][8, 10] < 0.05
    assert power[6][4, 3] < 0.05


def test_settings_tell_how_the_scan_was_calibrated(analysis, scan):
    assert analysis.settings["scan step y"] == "0.5 nm"
    assert analysis.settings["detector pixel"] == "0.2 1/nm"
    assert analysis.settings["beam energy"] == "300 kV"
    assert analysis.settings["center (row, column)"].endswith("fitted to the direct beam")
    assert analysis.sources == (scan,)


def test_options_reach_the_analysis(scan, tmp_path):
    mask = np.zeros((64, 64), dtype=bool)
    mask[:, :10] = True
    np.save(tmp_path / "mask.npy", mask)
    options = MapsOptions(
        **{**OPTIONS, "orders": (2, 4), "n_phi": 24, "center": (31.5, 32.5), "mask": tmp_path / "mask.npy"},
        threshold=0.2,
        thickness=7.0,
        acceptance_angle=5.0,
    )
    analysis = analyze_scan(scan, options)
    assert analysis.result.power.orders == (2, 4)
    assert analysis.result.parameters["n_phi"] == 24
    assert analysis.settings["excluded detector pixels"] == 640
    assert analysis.settings["center (row, column)"] == "31.50, 32.50 px, given"
    asked = analysis.hotspots.parameters
    assert (asked["threshold"], asked["thickness"], asked["acceptance_angle"]) == (0.2, 7.0, 5.0)


def test_band_is_converted_to_the_units_of_the_file(scan, tmp_path, analysis):
    signal = Nanodiffraction(np.load(scan))
    signal.calibrate(scan_step=5.0, scan_units="Å", k_step=0.02, k_units="1/Å", beam_energy=300)
    signal.set_center(CENTER)
    path = tmp_path / "angstrom.hspy"
    signal.save(path)
    other = analyze_scan(path, MapsOptions(k=4.0, lazy=False))
    assert other.result.parameters["k"] == pytest.approx(0.4)
    assert "from the file" in other.settings["center (row, column)"]
    np.testing.assert_allclose(other.result.power.data, analysis.result.power.data, rtol=0.05, atol=0.01)


@pytest.mark.parametrize(
    ("missing", "message"),
    [("scan_step", r"give --scan-step NM"), ("k_step", r"give --k-step K")],
)
def test_missing_scales_are_named_with_their_option(scan, missing, message):
    with pytest.raises(ValueError, match=message):
        analyze_scan(scan, MapsOptions(**{**OPTIONS, missing: None}))


def test_band_off_the_detector_is_refused_and_one_cut_by_it_is_warned_of(scan):
    with pytest.raises(ValueError, match=r"no detector pixel lies in the band k = 50 .* reach k = 6\.24"):
        analyze_scan(scan, MapsOptions(**{**OPTIONS, "k": 50.0}))
    with pytest.warns(UserWarning, match="some azimuths are missing"):
        analyze_scan(scan, MapsOptions(**{**OPTIONS, "k": 6.2}))


def test_mask_of_the_wrong_kind_is_refused(scan, tmp_path):
    np.save(tmp_path / "mask.npy", np.zeros((64, 60), dtype=bool))
    with pytest.raises(ValueError, match=r"must be boolean of shape \(64, 64\)"):
        analyze_scan(scan, MapsOptions(**OPTIONS, mask=tmp_path / "mask.npy"))
    np.save(tmp_path / "mask.npy", np.zeros((64, 64)))
    with pytest.raises(ValueError, match="holds float64"):
        analyze_scan(scan, MapsOptions(**OPTIONS, mask=tmp_path / "mask.npy"))


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def files(scan, told, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "out"
    return write_maps(scan, MapsOptions(**OPTIONS), folder=folder, tell=told.append)


def test_report_is_complete(files, told):
    assert told[0].startswith("loading")
    assert files.page.name == "index.html"
    assert len(files.figures) == 7
    for path in (files.page, *files.figures, *files.tables, *files.maps):
        assert path.exists()
    for path in files.figures:
        assert path.read_bytes().startswith(b"\x89PNG")
    text = files.page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 7
    assert text.count("<table") >= 8
    assert "http" not in text
    for words in ("SHA-256", "whole file", "diameter_mean [nm]", "thickness", "hyperspy", "3.6 to 4.4 1/nm"):
        assert words in text


def test_saved_maps_and_tables_can_be_read_again(files, analysis):
    names = {path.name: path for path in (*files.maps, *files.tables)}
    power = hs.load(names["scan_power.zspy"])
    assert type(power).__name__ == "OrderMap"
    np.testing.assert_array_equal(power.data, analysis.result.power.data)
    summary = pd.read_csv(names["hotspots_summary.csv"])
    assert summary["count"].tolist() == analysis.hotspots.summary["count"].tolist()
    assert "diameter_mean [nm]" in summary.columns
    assert "r [nm]" in pd.read_csv(names["autocorrelation.csv"]).columns


def test_a_second_run_replaces_the_first(scan, tmp_path):
    write_maps(scan, MapsOptions(**OPTIONS), folder=tmp_path)
    files = write_maps(scan, MapsOptions(**{**OPTIONS, "orders": (2, 4)}), folder=tmp_path)
    power = next(path for path in files.maps if path.name == "scan_power.zspy")
    assert hs.load(power).data.shape[0] == 2


@pytest.fixture(scope="module")
def with_null(scan, tmp_path_factory):
    told = []
    options = MapsOptions(**OPTIONS, convergence_angle=1.2)
    return write_maps(scan, options, folder=tmp_path_factory.mktemp("null") / "out", tell=told.append), told


def test_hotspots_are_held_against_chance(with_null):
    files, told = with_null
    assert "holding the hotspots against chance" in told
    text = files.page.read_text(encoding="utf-8")
    assert text.index("Order against chance</h2>") < text.index("Quality of the scan</h2>") < text.index("Maps</h2>")
    for words in ("20 random objects", "enrichment_error", "area_p_value", "ratio_std", "1.2 mrad"):
        assert words in text
    names = {path.name: path for path in files.tables}
    table = pd.read_csv(names["hotspots_enrichment.csv"]).set_index("n")
    assert list(table.index) == ["2", "4", "6", "8", "10", "sum", "V2D"]
    # The cross is planted, the rest is noise.
    assert table.loc["4", "area_p_value"] < 0.05
    assert table.loc["4", "volume_enrichment"] > 3
    assert pd.read_csv(names["null_strength.csv"]).columns.tolist() == ["n", "ratio", "ratio_std"]


def test_what_chance_has_too_is_said_first(with_null):
    """Sizes that are the probe's: above the figures of the run, and first in their section."""
    files, told = with_null
    text = files.page.read_text(encoding="utf-8")
    warned = [line for line in told if "cannot be told from that of a random object" in line]
    assert len(warned) == 1
    assert text.index("cannot be told from that of a random object") < text.index("<dl>")
    section = text[text.index("Order against chance</h2>") :]
    assert section.index("are no larger than those of random objects") < section.index("Every row compares")


def test_null_is_left_out_or_asked_for(scan, files):
    assert "Order against chance" not in files.page.read_text(encoding="utf-8")
    assert "give --convergence MRAD" in files.page.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"needs the probe; give --convergence MRAD .* or --no-null"):
        analyze_scan(scan, MapsOptions(**OPTIONS, null=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert analyze_scan(scan, MapsOptions(**OPTIONS, convergence_angle=1.2, null=False)).chance is None


def test_null_of_a_large_scan_is_computed_on_request_only(scan, monkeypatch):
    monkeypatch.setattr("medrange.report.maps_checks.AFFORDABLE_POSITIONS", 20)
    options = {**OPTIONS, "convergence_angle": 1.2, "orders": (4,)}
    with pytest.warns(UserWarning, match=r"not held against chance \(99 positions take some minutes, give --null\)"):
        assert analyze_scan(scan, MapsOptions(**options)).chance is None
    table = analyze_scan(scan, MapsOptions(**options, null=True, threshold=0.2)).chance.table
    # A threshold in units of P_n means nothing to V2D.
    assert table.n.tolist() == [4]


def test_quality_is_on_the_page_and_its_warnings_come_first(scan, tmp_path, files):
    text = files.page.read_text(encoding="utf-8")
    assert "Quality of the scan</h2>" in text
    assert pd.read_csv(tables_of(files)["quality.csv"]).figure.tolist()[0] == "dose per pattern"
    off = write_maps(scan, MapsOptions(**{**OPTIONS, "center": (32.6, 32.3)}, null=False), folder=tmp_path)
    page = off.page.read_text(encoding="utf-8")
    assert page.index("Quality: center offset 1 px. Mean direct beam") < page.index("<dl>")
    assert "Quality: center offset" not in text


def tables_of(files):
    return {path.name: path for path in files.tables}


def test_quality_of_a_large_scan_is_that_of_some_rows(scan, monkeypatch):
    signal = Nanodiffraction(np.load(scan)).as_lazy()
    signal.calibrate(scan_step=0.5, k_step=0.2, beam_energy=300)
    signal.set_center(CENTER)
    assert quality_sample(signal) is signal
    whole = signal.quality_report(4.0, 0.8)
    monkeypatch.setattr("medrange.report.maps_checks._QUALITY_BYTES", 3 * 11 * 64 * 64 * 2)
    some = quality_sample(signal).quality_report(4.0, 0.8)
    assert some["dose per pattern"] == pytest.approx(whole["dose per pattern"], rel=0.02)
    assert some["speckle contrast"] != whole["speckle contrast"]
    assert signal._lazy


def test_scan_is_read_once_for_maps_and_quality(scan, monkeypatch):
    blocks = []
    read, chunks = frames._read_block, frames.scan_chunks
    two_lines = 2 * 11 * 64 * 64 * 2

    def counted(source, layout, block_info=None):
        blocks.append(block_info[None]["chunk-location"])
        return read(source, layout, block_info=block_info)

    monkeypatch.setattr(frames, "_read_block", counted)
    monkeypatch.setattr(frames, "scan_chunks", lambda shape, size, _, **known: chunks(shape, size, two_lines, **known))
    monkeypatch.setattr("medrange.report.maps_checks._QUALITY_BYTES", 3 * two_lines / 2)
    analysis = analyze_scan(scan, MapsOptions(**{**OPTIONS, "center": CENTER, "lazy": True}))
    assert len(blocks) == len(set(blocks)) == 4
    # Every third of nine lines.
    doses = np.load(scan)[::3].sum(axis=(2, 3))
    assert analysis.quality["dose per pattern"] == np.median(doses)


def test_threads_need_no_package_for_clusters(scan):
    options, folder = {**OPTIONS, "lazy": True}, str(scan.parent / "alone")
    code = (
        "import sys; from medrange.report.maps_run import MapsOptions, write_maps; "
        f"write_maps({str(scan)!r}, MapsOptions(**{options!r}), folder={folder!r}); "
        "found = {'distributed', 'ase', 'ipywidgets'} & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_warnings_given_and_found_come_first(scan, tmp_path, analysis, files):
    result = analysis.result
    odd = result.band_spectrum.deepcopy()
    odd.data[::2] = 1.0
    thick = replace(result, band_spectrum=odd)
    page = write_maps_report(
        thick,
        analysis.hotspots,
        analysis.autocorrelation,
        folder=tmp_path,
        source=scan,
        warnings=["3 frames were left out."],
    ).page
    text = page.read_text(encoding="utf-8")
    assert text.index("3 frames were left out.") < text.index("Odd orders carry") < text.index("<dl>")
    assert "Odd orders carry" not in files.page.read_text(encoding="utf-8")


def test_report_needs_spectrum_and_profile(scan, tmp_path, analysis):
    result = analysis.result
    bare = replace(result, profile=None, spectrum=None)
    with pytest.raises(ValueError, match="k_resolved=True"):
        write_maps_report(bare, analysis.hotspots, analysis.autocorrelation, folder=tmp_path, source=scan)


def test_missing_source_is_refused_before_anything_is_written(tmp_path, analysis):
    with pytest.raises(FileNotFoundError, match=r"nothing\.raw"):
        write_maps_report(
            analysis.result,
            analysis.hotspots,
            analysis.autocorrelation,
            folder=tmp_path / "out",
            source=tmp_path / "nothing.raw",
        )
    assert not (tmp_path / "out").exists()


def test_gathered_warnings_are_lines_for_users():
    told = []
    with gathered_warnings(told.append) as messages:
        warnings.warn("two\n  lines", stacklevel=1)
        warnings.warn("two\n  lines", stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert messages == ["two lines"]
    assert told == ["warning: two lines"]


def truth():
    rows = [{"kind": "cross", "n": 4, "y_nm": CLUSTER[0], "x_nm": CLUSTER[1], "diameter_nm": 1.6}]
    return pd.DataFrame(rows)


def test_planted_cluster_is_recognized(analysis):
    comparison = compare_with_planted(analysis.result, analysis.hotspots, truth())
    assert comparison.right == 1
    cluster = comparison.clusters.iloc[0]
    assert cluster["found_n"] == 4
    assert cluster["enrichment"] > 20
    # positions of 0.5 nm: the region of about 1.6 nm is seen with the coarseness of a pixel
    assert cluster["hotspot_diameter"] == pytest.approx(1.6, abs=0.3)
    auc = comparison.separation.set_index("map")["ROC-AUC"]
    assert list(auc.index) == [4, "V2D"]
    assert auc[4] == 1.0


def test_separation_of_an_unrelated_map_is_chance():
    rng = np.random.default_rng(0)
    axes = [{"name": name, "size": 60, "scale": 0.2, "units": "nm"} for name in "yx"]
    noise = hs.signals.Signal2D(rng.random((60, 60)), axes=axes)
    power = SimpleNamespace(orders=(4,), data=rng.random((1, 60, 60)))
    result = SimpleNamespace(variance=noise, power=power)
    hotspots = SimpleNamespace(orders=(), labels=np.empty(0), table=pd.DataFrame())
    big = pd.DataFrame([{"kind": "a", "n": 4, "y_nm": 6.0, "x_nm": 6.0, "diameter_nm": 6.0}])
    comparison = compare_with_planted(result, hotspots, big)
    assert comparison.separation["ROC-AUC"].to_numpy() == pytest.approx([0.5, 0.5], abs=0.05)
    assert np.isnan(comparison.clusters["hotspot_diameter"].iloc[0])
