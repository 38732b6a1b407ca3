"""The shipped sample scans: files as recorded, and clusters that a plain analysis can find."""

import hashlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import rsciio.empad
import rsciio.quantumdetector
from scipy.ndimage import map_coordinates

from medrange import datasets

READERS = {"empad": rsciio.empad.file_reader, "merlin": rsciio.quantumdetector.file_reader}
FOLDER = datasets.sample_scan("empad").parents[1]
ORDERS = np.array([2, 4, 6, 8, 10])


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("sample_data_generate", FOLDER / "generate.py")
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks up its own module by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module", params=["empad", "merlin"])
def sample(request):
    table = datasets.sample_truth(request.param)
    frames = READERS[request.param](str(datasets.sample_scan(request.param)))[0]["data"]
    return np.asarray(frames, float), table


def angular_power(frames, truth):
    """P_n = 2 |F_n|^2 / |F_0|^2 of the band 4.0 +- 0.3 1/nm, straight from bilinear samples: (y, x, n)."""
    phi = 2 * np.pi * np.arange(180) / 180
    k = np.linspace(3.7, 4.3, 7)[:, None] / truth["k_step"]
    rows, columns = truth["center"][0] + k * np.sin(phi), truth["center"][1] + k * np.cos(phi)
    ring = np.empty((*frames.shape[:2], len(phi)))
    for index in np.ndindex(frames.shape[:2]):
        ring[index] = map_coordinates(frames[index], [rows, columns], order=1).mean(axis=0)
    coefficients = np.fft.rfft(ring)
    return 2 * np.abs(coefficients) ** 2 / np.abs(coefficients[..., :1]) ** 2, ring


def distances(table, scan_shape):
    """Distance (cluster, y, x) in nm of each scan position from the edge of each cluster, negative inside."""
    step = table.attrs["scan_step"]
    y, x = np.indices(scan_shape) * step
    return np.stack([np.hypot(y - c.y_nm, x - c.x_nm) - c.diameter_nm / 2 for c in table.itertuples()])


def test_checksums(generate):
    recorded = dict(line.split("  ")[::-1] for line in (FOLDER / "checksums.txt").read_text().splitlines())
    files = [path for sub in ("empad_glass", "merlin_glass") for path in (FOLDER / sub).iterdir()]
    actual = {path.relative_to(FOLDER).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert actual == recorded
    readme = (FOLDER / "README.md").read_text(encoding="utf-8").split(generate.CHECKSUM_HEADING)[1]
    assert readme.strip().strip("`").strip() == (FOLDER / "checksums.txt").read_text().strip()


def test_files_are_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.raw")) <= 10.5e6
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.mib")) <= 8.5e6


def test_generation_repeats_itself(generate, tmp_path):
    """The whole way from random numbers to files, on a slab of 1 nm and few scan positions."""
    digests = []
    for run in ("a", "b"):
        for recipe, shape in ((generate.EMPAD, (1, 2)), (generate.MERLIN, (2, 1))):
            generate.write_sample(generate.shortened(recipe, shape), tmp_path / run / f"{recipe.name}_glass")
        (tmp_path / run / "README.md").write_text("Text.\n\n" + generate.CHECKSUM_HEADING + "stale")
        generate.write_checksums(tmp_path / run)
        digests.append((tmp_path / run / "README.md").read_text())
    assert digests[0] == digests[1]
    assert "stale" not in digests[0]
    assert digests[0].count("_glass/") == 8


def test_recipes_are_those_of_the_files(generate):
    for recipe in (generate.EMPAD, generate.MERLIN):
        assert generate.truth_parameters(recipe) == datasets.sample_truth(recipe.name).attrs


def test_frames(sample):
    frames, table = sample
    truth = table.attrs
    assert list(frames.shape[:2]) == truth["scan_shape"]
    assert truth["scan_shape"][0] != truth["scan_shape"][1]
    rows, columns = np.indices(frames.shape[2:])
    mean = frames.mean(axis=(0, 1))
    k = truth["k_step"] * np.hypot(rows - truth["center"][0], columns - truth["center"][1])
    disc = k < 1.0
    found = [(mean * axis)[disc].sum() / mean[disc].sum() for axis in (rows, columns)]
    np.testing.assert_allclose(found, truth["center"], atol=0.05)
    # The amorphous ring: the mean pattern has its maximum beyond the direct beam at the nearest-neighbor spacing.
    bands = np.arange(2.0, 7.0, 0.25)
    profile = [mean[(k >= band) & (k < band + 0.25)].mean() for band in bands]
    assert 3.5 <= bands[np.argmax(profile)] <= 4.25


def test_dose(generate):
    frames = READERS["empad"](str(datasets.sample_scan("empad")))[0]["data"]
    assert np.all(frames == np.round(frames))
    assert frames.sum(axis=(2, 3)).mean() == pytest.approx(124830, rel=0.02)
    merlin = READERS["merlin"](str(datasets.sample_scan("merlin")))[0]["data"]
    assert merlin.max() == 4095
    assert (merlin == 4095).sum(axis=(2, 3)).mean() == pytest.approx(36, abs=3)


def test_planted_clusters_stand_apart(sample):
    table = sample[1]
    for i, first in enumerate(table.itertuples()):
        for second in table.iloc[:i].itertuples():
            apart = np.hypot(first.y_nm - second.y_nm, first.x_nm - second.x_nm)
            assert apart - (first.diameter_nm + second.diameter_nm) / 2 > 2.0
    assert (table["n"] == table["kinematic_n"]).all()


def test_clusters_are_found_by_their_order(sample):
    """Per-position ROC-AUC of each true order, and the even order that stands out in each cluster."""
    frames, table = sample
    power, _ = angular_power(frames, table.attrs)
    edge = distances(table, frames.shape[:2])
    matrix = (edge > 0.4).all(axis=0)
    background = np.median(power[matrix], axis=0)
    for n in table["n"].unique():
        inside = (edge[(table["n"] == n).to_numpy()] <= 0).any(axis=0)
        wins = power[inside][:, None, n] > power[matrix][None, :, n]
        assert wins.mean() > 0.85
    for cluster, n in enumerate(table["n"]):
        mean = power[edge[cluster] <= 0].mean(axis=0)
        assert ORDERS[np.argmax((mean / background)[ORDERS])] == n


def test_reflections_point_where_the_truth_says(sample):
    """Phase of the n-th coefficient, averaged over the positions inside a cluster: n times the in-plane angle."""
    frames, table = sample
    _, ring = angular_power(frames, table.attrs)
    edge = distances(table, frames.shape[:2])
    phi = 2 * np.pi * np.arange(180) / 180
    for cluster, row in enumerate(table.itertuples()):
        signal = ring[edge[cluster] <= 0].sum(axis=0) @ np.exp(1j * row.n * phi)
        angle = np.rad2deg(np.angle(signal)) / row.n
        period = 360 / row.n
        assert (angle - row.in_plane_angle_deg + period / 2) % period - period / 2 == pytest.approx(0, abs=period / 12)


def test_sample_scan_and_truth():
    assert datasets.sample_scan().suffix == ".xml"
    assert datasets.sample_scan("merlin").suffix == ".mib"
    table = datasets.sample_truth("empad")
    assert set(table["n"]) == {2, 4, 6, 10}
    columns = ["id", "kind", "n", "kinematic_n", "y_nm", "x_nm", "z_nm", "diameter_nm", "in_plane_angle_deg"]
    assert list(table.columns) == columns
    assert table.attrs["center"] == [63.62, 64.37]
    assert table.attrs["units"]["k_step"] == "1/nm"


def test_sample_errors(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="no sample 'k2'; choose one of empad, merlin"):
        datasets.sample_scan("k2")
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "a" / "b" / "datasets.py"))
    with pytest.raises(FileNotFoundError, match=r"the sample 'empad' is not in .*reinstall medrange"):
        datasets.sample_truth("empad")


def test_sample_inside_an_installed_package(monkeypatch, tmp_path):
    """A wheel carries the folder inside the package."""
    package = tmp_path / "site-packages" / "medrange"
    target = package / "sample_data" / "merlin_glass" / "scan.mib"
    target.parent.mkdir(parents=True)
    target.touch()
    monkeypatch.setattr(datasets, "__file__", str(package / "datasets.py"))
    assert datasets.sample_scan("merlin") == Path(target).resolve()
