"""Every lazy scan comes with a navigator, which costs little to make or was stored."""

import h5py
import hyperspy.api as hs
import numpy as np
import pytest

import medrange as mr
from medrange.io import convert, navigator

SHAPE = (12, 10, 32, 24)


@pytest.fixture
def patterns():
    return np.random.default_rng(0).poisson(5, SHAPE).astype("uint16")


def strips(patterns):
    # From 0.65 of the rows on, a sixteenth of them.
    return patterns[:, :, 20:22].sum(axis=(2, 3), dtype=float)


def calibrated(patterns):
    scan = mr.from_array(patterns, scan_step=0.3, k_step=0.16)
    scan.set_center((15.5, 11.5))
    return scan


@pytest.mark.parametrize("chunks", [None, (1, 10, 32, 24), (5, 4, 32, 24), (3, 3, 16, 8)])
def test_of_an_hdf5_file(patterns, tmp_path, chunks):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("scan", data=patterns, chunks=chunks, compression="gzip" if chunks else None)
    scan = mr.load(tmp_path / "scan.h5", lazy=True)
    np.testing.assert_array_equal(scan.navigator.data, strips(patterns))
    scan.plot()
    assert scan._plot.navigator_plot is not None


@pytest.mark.parametrize("ending", ["zspy", "hspy"])
def test_is_saved_with_a_scan_in_memory(patterns, tmp_path, ending):
    scan = calibrated(patterns)
    scan.save(tmp_path / f"scan.{ending}")
    assert scan.navigator is None
    for opened in (mr.load, hs.load):
        found = opened(tmp_path / f"scan.{ending}", lazy=True)
        np.testing.assert_array_equal(found.navigator.data, strips(patterns))
        assert found.navigator.axes_manager.signal_axes[0].scale == pytest.approx(0.3)
        assert found.data.shape == SHAPE


def test_one_of_the_user_is_saved_as_it_is(patterns, tmp_path):
    scan = calibrated(patterns)
    scan.navigator = hs.signals.Signal2D(np.full(SHAPE[:2], 7.0))
    scan.save(tmp_path / "scan.zspy")
    assert (mr.load(tmp_path / "scan.zspy", lazy=True).navigator.data == 7).all()
    assert (scan.navigator.data == 7).all()


def test_is_saved_of_no_line_of_patterns(patterns, tmp_path):
    calibrated(patterns).inav[0].save(tmp_path / "line.zspy")
    assert hs.load(tmp_path / "line.zspy").navigator is None


@pytest.mark.parametrize("ending", ["zspy", "zarr"])
def test_is_stored_by_convert(patterns, tmp_path, ending):
    np.save(tmp_path / "scan.npy", patterns)
    convert(tmp_path / "scan.npy", tmp_path / f"scan.{ending}", chunks=(2, 4))
    found = mr.load(tmp_path / f"scan.{ending}", lazy=True)
    np.testing.assert_array_equal(found.navigator.data, strips(patterns))
    # It goes on with the data.
    convert(tmp_path / f"scan.{ending}", tmp_path / "again.zspy")
    np.testing.assert_array_equal(hs.load(tmp_path / "again.zspy", lazy=True).navigator.data, strips(patterns))


def test_a_store_without_one_gets_one_from_its_chunks(patterns, tmp_path):
    hs.signals.Signal2D(patterns).save(tmp_path / "foreign.zspy")
    found = mr.load(tmp_path / "foreign.zspy", lazy=True)
    np.testing.assert_array_equal(found.navigator.data, strips(patterns))


def test_of_large_chunks_only_some_are_read(patterns, tmp_path, monkeypatch):
    """Half of the chunks in each direction; the mean of one stands for those beside it."""
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("scan", data=patterns, chunks=(2, 5, 32, 24))
    monkeypatch.setattr(navigator, "_MOST_BYTES", patterns.nbytes // 4)
    found, exact = mr.load(tmp_path / "scan.h5", lazy=True).navigator.data, strips(patterns)
    np.testing.assert_array_equal(found[:2, :5], exact[:2, :5])
    np.testing.assert_array_equal(found[4:6, :5], exact[4:6, :5])
    np.testing.assert_allclose(found[2:4], exact[:2, :5].mean())
    np.testing.assert_allclose(found[:2, 5:], exact[:2, :5].mean())


def test_nothing_is_made_of_a_scan_in_memory(patterns, tmp_path, monkeypatch):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["scan"] = patterns
    monkeypatch.delattr(navigator, "stored_strip_sums")
    assert mr.load(tmp_path / "scan.h5").navigator is None
