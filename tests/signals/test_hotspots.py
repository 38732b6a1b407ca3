"""Hotspots and Autocorrelation as results: tables, units, files."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from medrange.signals.autocorrelation import autocorrelate_maps
from medrange.signals.hotspots import find_hotspots
from medrange.signals.order_map import OrderMap

COLUMNS = ["n", "label", "y", "x", "area", "diameter", "volume", "mean", "maximum"]
SUMMARY = [
    "n", "threshold", "count", "number_density", "diameter_mean", "diameter_std", "diameter_sem",
    "area_fraction", "volume_fraction", "volume_fraction_sem",
]  # fmt: skip


@pytest.fixture
def images():
    """Two maps of 20 x 30 pixels with 2 and 1 rectangles, one shared."""
    maps = np.zeros((2, 20, 30))
    maps[0, 2:6, 2:6] = 4.0
    maps[0, 10:12, 20:28] = 8.0
    maps[1, 10:14, 20:24] = 3.0
    return maps


@pytest.fixture
def hotspots(images):
    return OrderMap.from_array(images, scale=0.5, orders=(2, 6), offset=(10.0, -3.0)).hotspots()


def test_table(hotspots):
    table = hotspots.table[hotspots.table.n != "sum"]
    assert list(hotspots.table.columns) == COLUMNS
    assert table.n.tolist() == [2, 2, 6]
    assert table.label.tolist() == [1, 2, 1]
    np.testing.assert_allclose(table.area, 4.0)
    np.testing.assert_allclose(table.diameter, 2 * np.sqrt(4 / np.pi))
    np.testing.assert_allclose(table.volume, np.pi / 6 * (2 * np.sqrt(4 / np.pi)) ** 3)
    np.testing.assert_allclose(table.y, [10 + 1.75, 10 + 5.25, 10 + 5.75])
    np.testing.assert_allclose(table.x, [-3 + 1.75, -3 + 11.75, -3 + 10.75])
    assert table["mean"].tolist() == [4.0, 8.0, 3.0]


def test_summary_of_im_2018():
    image = np.zeros((1, 145, 145))  # 40.6 nm at 0.28 nm
    image[0, 7:139:11, 7:139:19] = 1
    image[0, 7, 7] = 0
    found = find_hotspots(image, ["map"], pixel_size=(0.28, 0.28), thickness=20.0)
    row = found.summary.iloc[0]
    diameter = 2 * np.sqrt(0.28**2 / np.pi)
    assert row["count"] == len(found.table) == 12 * 7 - 1
    assert row.diameter_mean == pytest.approx(diameter)
    assert row.number_density == pytest.approx(83 / 40.6**2)
    assert row.area_fraction == pytest.approx(83 / 145**2)
    assert row.volume_fraction == pytest.approx(83 * np.pi / 6 * diameter**3 / (10 / 170 * 40.6**2 * 20))


def test_summary(hotspots):
    assert list(hotspots.summary.columns) == SUMMARY
    assert hotspots.summary.n.tolist() == [2, 6, "sum"]
    assert hotspots.orders == (2, 6, "sum")
    row = hotspots.summary.iloc[0]
    assert row["count"] == 2
    assert row.diameter_std == pytest.approx(0.0, abs=1e-12)
    assert row.number_density == pytest.approx(2 / 150)
    assert np.isnan(hotspots.summary.diameter_sem[1])  # one region has no spread


def test_standard_error_of_the_mean(images):
    images[0, 15:18, 2:4] = 8.0
    row = find_hotspots(images[:1], [2], pixel_size=(0.5, 0.5)).summary.iloc[0]
    d = 2 * np.sqrt(np.array([4.0, 4.0, 1.5]) / np.pi)
    assert row.diameter_sem == pytest.approx(d.std(ddof=1) / np.sqrt(3))


def test_missing_pixels_are_not_scanned_area(images):
    images[:, 16:] = np.nan
    row = find_hotspots(images, [2, 6], pixel_size=(0.5, 0.5)).summary.iloc[0]
    assert row.number_density == pytest.approx(2 / 120)


def test_map_without_values(images):
    images[1] = np.nan
    row = find_hotspots(images, [2, 6], pixel_size=(0.5, 0.5)).summary.iloc[1]
    assert row["count"] == 0
    assert row.drop(["n", "count"]).isna().all()


def test_constant_map():
    found = find_hotspots(np.ones((1, 8, 8)), [2], pixel_size=(0.5, 0.5))
    row = found.summary.iloc[0]
    assert row["count"] == row.volume_fraction == row.area_fraction == 0
    assert np.isnan(row.diameter_mean)
    assert list(found.table.columns) == COLUMNS
    assert len(found.table) == 0


def test_overlap(hotspots):
    overlap = hotspots.overlap
    assert overlap.loc[2, 6] == pytest.approx(8 / 32)
    assert overlap.loc[6, 2] == pytest.approx(8 / 16)
    np.testing.assert_array_equal(np.diag(overlap), 1.0)
    assert list(overlap.index) == list(overlap.columns) == [2, 6, "sum"]


def test_labels_carry_the_numbers_of_the_table(hotspots):
    assert hotspots.labels.dtype == np.int32
    for order, labels in zip(hotspots.orders, hotspots.labels, strict=True):
        table = hotspots.table[hotspots.table.n == order]
        np.testing.assert_allclose(np.bincount(labels.ravel())[1:] * 0.25, table.area)


def test_units_are_known(hotspots):
    for table in (hotspots.table, hotspots.summary):
        units = table.attrs["units"]
        assert list(units) == list(table.columns)
        assert {name: hotspots.units[name] for name in units} == units
    assert hotspots.units["diameter"] == hotspots.units["diameter_mean"] == "nm"
    assert hotspots.units["number_density"] == "1/nm^2"


def test_size_limit(images):
    images[0, 18, 18] = 9.0
    assert len(find_hotspots(images, [2, 6], pixel_size=(0.5, 0.5)).table) == 4
    assert len(find_hotspots(images, [2, 6], pixel_size=(0.5, 0.5), min_pixels=2).table) == 3


def test_frozen_with_a_telling_repr(hotspots):
    with pytest.raises(dataclasses.FrozenInstanceError):
        hotspots.table = None
    lines = repr(hotspots).splitlines()
    assert "4 regions, 3 maps, threshold 'isodata'" in lines[0]
    assert lines[2].split()[:3] == ["2", "2", "2.26"]


def test_save(hotspots, tmp_path):
    paths = hotspots.save(tmp_path / "new" / "folder")
    assert all(path.is_file() for path in paths)
    folder = tmp_path / "new" / "folder"
    header = (folder / "hotspots.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "n,label,y [nm],x [nm],area [nm^2],diameter [nm],volume [nm^3],mean,maximum"
    table = pd.read_csv(folder / "hotspots.csv")
    np.testing.assert_allclose(table["diameter [nm]"], hotspots.table.diameter, rtol=1e-5)
    summary = pd.read_csv(folder / "hotspots_summary.csv", dtype={"n": str})
    assert summary.n.tolist() == ["2", "6", "sum"]
    assert np.isnan(summary["diameter_sem [nm]"][1])
    overlap = pd.read_csv(folder / "hotspots_overlap.csv", index_col="n")
    np.testing.assert_allclose(overlap, hotspots.overlap, rtol=1e-5)
    with np.load(folder / "hotspots_labels.npz") as stored:
        np.testing.assert_array_equal(stored["labels"], hotspots.labels)
        assert stored["orders"].tolist() == ["2", "6", "sum"]
        assert stored["pixel_size"].tolist() == [0.5, 0.5]
    record = json.loads((folder / "hotspots_parameters.json").read_text(encoding="utf-8"))
    assert record["threshold"] == "isodata"
    assert record["thickness"] == 20.0


def test_parameters_of_numpy_types_are_saved(images, tmp_path):
    found = find_hotspots(images, [2, 6], pixel_size=(0.5, 0.5), threshold=np.float32(1.5), thickness=np.int64(15))
    record = json.loads(found.save(tmp_path)[-1].read_text(encoding="utf-8"))
    assert (record["threshold"], record["thickness"]) == (1.5, 15.0)


def test_autocorrelation_tables_and_files(images, tmp_path):
    result = autocorrelate_maps(images, [2, 6], pixel_size=(0.5, 0.5))
    assert result.values.shape == (2, result.r.size)
    assert list(result.table.columns) == ["r", "n=2", "n=6"]
    assert result.summary.n.tolist() == [2, 6]
    curves, lengths = result.save(tmp_path / "deep" / "autocorrelation")
    assert curves.name == "autocorrelation.csv"
    assert curves.read_text(encoding="utf-8").splitlines()[0] == "r [nm],n=2,n=6"
    stored = pd.read_csv(lengths)
    assert list(stored.columns) == ["n", "correlation_length [nm]", "first_neighbor [nm]"]
    np.testing.assert_allclose(stored["correlation_length [nm]"], result.correlation_length, rtol=1e-5)


def test_autocorrelation_is_frozen_with_a_telling_repr(images):
    result = autocorrelate_maps(images, [2, 6], pixel_size=(0.5, 0.5))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.r = None
    assert f"{result.correlation_length[0]:.2f}" in repr(result).splitlines()[2]
