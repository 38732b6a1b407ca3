import hyperspy.api as hs
import numpy as np
import pandas as pd
import pytest
import tifffile

import medrange as mr


@pytest.fixture
def maps():
    data = np.random.default_rng(0).random((3, 5, 8))
    data[1, 2, 3] = np.nan
    return mr.OrderMap.from_array(data, scale=(0.5, 0.32), orders=(2, 4, 8), offset=(1.0, 2.0), title="P_n")


def read_table(path):
    table = pd.read_csv(path)
    return table, list(table.columns)


@pytest.mark.parametrize("lazy", [False, True])
def test_maps_as_tiff(maps, tmp_path, lazy):
    own = maps.as_lazy() if lazy else maps
    with tifffile.TiffFile(own.to_tiff(tmp_path / "p.tif")) as file:
        tags, described = file.pages[0].tags, file.imagej_metadata
        assert np.divide(*tags["XResolution"].value) == pytest.approx(1 / 0.32, rel=1e-8)
        assert np.divide(*tags["YResolution"].value) == pytest.approx(2.0, rel=1e-8)
        assert (described["unit"], described["Labels"]) == ("nm", ["n = 2", "n = 4", "n = 8"])
        # Column -2 / 0.32 would lie at x = 0.
        assert (described["xorigin"], described["yorigin"]) == pytest.approx((-6.25, -2.0))
        np.testing.assert_array_equal(file.asarray(), maps.data.astype(np.float32))
    assert own._lazy == lazy


def test_tiff_has_one_unit(maps, tmp_path):
    one = maps.inav[0]
    y = one.axes_manager.signal_axes[1]
    y.units, y.scale, y.offset = "Å", 5.0, 10.0
    with tifffile.TiffFile(mr.to_tiff(one, tmp_path / "p.tif")) as file:
        assert np.divide(*file.pages[0].tags["YResolution"].value) == pytest.approx(2.0, rel=1e-8)
        assert file.imagej_metadata["yorigin"] == pytest.approx(-2.0)
    y.units = "s"
    with pytest.raises(ValueError, match="cannot convert 's' to 'nm'"):
        mr.to_tiff(one, tmp_path / "p.tif")


def test_tiff_of_other_maps(make_scan, tmp_path):
    s = make_scan((4, 5))
    roi = hs.roi.CircleROI(cx=3.2, cy=0.0, r=0.5)
    images = {
        "virtual": s.get_integrated_intensity(roi),
        "dark": s.dark_field_series(k=3.2, width=0.8, n_phi=6),
        "strain": s.ring_strain(k=3.2, width=1.6).exx,
    }
    for name, image in images.items():
        with tifffile.TiffFile(mr.to_tiff(image, tmp_path / f"{name}.tif")) as file:
            np.testing.assert_allclose(file.asarray(), np.reshape(image.data, file.asarray().shape), rtol=1e-6)
            assert np.divide(*file.pages[0].tags["XResolution"].value) == pytest.approx(1 / 0.32, rel=1e-8)
            assert file.imagej_metadata["unit"] == "nm"
            labels = file.imagej_metadata.get("Labels")
    dark = tifffile.TiffFile(tmp_path / "dark.tif")
    assert dark.imagej_metadata["Labels"][0].startswith("phi = ")
    assert dark.imagej_metadata["Labels"][0].endswith(" rad")
    assert labels is None
    dark.close()


def test_tiff_refused(make_scan, maps, tmp_path):
    with pytest.raises(ValueError, match=r"\(4, 3\) \| \(64, 64\); a map"):
        mr.to_tiff(make_scan(), tmp_path / "a.tif")
    maps.axes_manager.signal_axes[0].scale = -1.0
    with pytest.raises(ValueError, match="not uniform with a positive scale"):
        mr.to_tiff(maps, tmp_path / "a.tif")


def test_one_map_as_csv(maps, tmp_path):
    path = maps.inav[1].to_csv(tmp_path / "new" / "map.csv")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:3] == [
        "# P_n",
        "# columns along x [nm]: 8 from 2 in steps of 0.32",
        "# rows along y [nm]: 5 from 1 in steps of 0.5",
    ]
    np.testing.assert_allclose(np.loadtxt(path, delimiter=","), maps.data[1], rtol=1e-5)


def test_maps_as_csv(maps, tmp_path):
    table, names = read_table(maps.as_lazy().to_csv(tmp_path / "maps.csv"))
    assert names == ["y [nm]", "x [nm]", "n=2", "n=4", "n=8"]
    row = table.iloc[2 * 8 + 5]
    assert (row["y [nm]"], row["x [nm]"]) == pytest.approx((1 + 2 * 0.5, 2 + 5 * 0.32))
    assert row["n=8"] == pytest.approx(maps.data[2, 2, 5], rel=1e-5)
    assert np.isnan(table["n=4"]).sum() == 1


@pytest.mark.parametrize("lazy", [False, True])
def test_profiles_as_csv(make_scan, tmp_path, lazy):
    profile = make_scan((3, 4), lazy=lazy).radial_profile()
    table, names = read_table(profile.to_csv(tmp_path / "profile.csv"))
    assert names == ["k [1/nm]", "intensity mean", "intensity std", "positions"]
    data = np.asarray(profile.data).reshape(12, -1)
    np.testing.assert_allclose(table["k [1/nm]"], profile.axes_manager[-1].axis, rtol=1e-5)
    np.testing.assert_allclose(table["intensity mean"], data.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(table["intensity std"], data.std(axis=0, ddof=1), rtol=1e-4, atol=1e-5)
    assert set(table["positions"]) == {12}


def test_positions_without_a_value(tmp_path):
    data = np.ones((2, 3, 4))
    data[0, 0, 1] = np.nan
    data[..., 2] = np.nan
    table, names = read_table(mr.RadialProfile(data).to_csv(tmp_path / "p.csv"))
    assert names[0] == "axis"
    assert table["positions"].tolist() == [6, 5, 0, 6]
    assert table["value mean"].isna().tolist() == [False, False, True, False]


def test_reduced_pdf_as_csv(tmp_path):
    g = mr.ReducedPDF(np.sin(np.arange(0.0, 5.0, 0.05)))
    axis = g.axes_manager[0]
    axis.name, axis.scale, axis.units = "r", 0.05, "angstrom"
    g.metadata.Signal.quantity = "G(r) (1/Å²)"
    table, names = read_table(g.to_csv(tmp_path / "g.csv"))
    assert names == ["r [Å]", "G(r) [1/Å²]"]
    np.testing.assert_allclose(table.iloc[:, 1], g.data, rtol=1e-5, atol=1e-12)
    several = hs.stack([g, g * 2])
    table, names = read_table(mr.to_csv(several, tmp_path / "several.csv"))
    assert len(names) == 3
    np.testing.assert_allclose(table.iloc[:, 2], 2 * g.data, rtol=1e-5, atol=1e-12)


def test_curves_with_too_many_axes(tmp_path):
    with pytest.raises(ValueError, match="3 navigation axes"):
        mr.to_csv(hs.signals.Signal1D(np.ones((2, 2, 2, 4))), tmp_path / "a.csv")
