"""py4DSTEM's files with what hangs on the cube, and plain HDF5."""

import io
import os
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import h5py
import numpy as np
import pytest

from medrange.io import describe, read

py4DSTEM = pytest.importorskip("py4DSTEM")
DATA = np.random.default_rng(4).poisson(5, (4, 5, 8, 9)).astype("uint16")


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(path, **options)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A calibrated cube with results, and a bare one, as py4DSTEM itself saves them."""
    folder = tmp_path_factory.mktemp("emd")
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        cube = py4DSTEM.DataCube(data=DATA.copy())
        cube.calibration.set_Q_pixel_size(0.02)
        cube.calibration.set_Q_pixel_units("A^-1")
        cube.calibration.set_R_pixel_size(1.5)
        cube.calibration.set_R_pixel_units("nm")
        cube.calibration.set_origin((np.full((4, 5), 3.5), np.full((4, 5), 4.25)))
        cube.get_dp_mean()
        cube.get_virtual_image(mode="circle", geometry=((4, 4), 2), name="bright_field")
        py4DSTEM.save(folder / "results.h5", cube, mode="o", tree=True)
        bare = py4DSTEM.DataCube(data=DATA.copy())
        py4DSTEM.save(folder / "bare.h5", bare, mode="o")
        cube.calibration.set_Q_pixel_size(1.25)
        cube.calibration.set_Q_pixel_units("mrad")
        py4DSTEM.save(folder / "angles.h5", cube, mode="o", tree=False)
    return folder


@pytest.mark.parametrize("lazy", [False, True])
def test_cube_among_its_results(files, lazy):
    dictionary = quiet(files / "results.h5", lazy=lazy)
    np.testing.assert_array_equal(np.asarray(dictionary["data"]), DATA)
    axes = dictionary["axes"]
    assert [axis["name"] for axis in axes] == ["y", "x", "ky", "kx"]
    assert [axis["scale"] for axis in axes] == [1.5, 1.5, 0.02, 0.02]
    assert [axis["units"] for axis in axes] == ["nm", "nm", "1/Å", "1/Å"]
    # k = 0 at the mean origin.
    assert [axis["offset"] for axis in axes] == pytest.approx([0, 0, -3.5 * 0.02, -4.25 * 0.02])
    assert dictionary["metadata"]["Medrange"]["Source"]["format"] == "py4DSTEM EMD"
    calibration = dictionary["original_metadata"]["calibration"]
    assert calibration["Q_pixel_units"] == "A^-1"
    assert calibration["qx0"].shape == (4, 5)


def test_bare_cube_is_uncalibrated(files):
    axes = quiet(files / "bare.h5")["axes"]
    assert all((axis["scale"], axis["offset"]) == (1, 0) and "units" not in axis for axis in axes)


def test_angles_are_not_taken_for_k(files):
    dictionary = quiet(files / "angles.h5")
    assert "units" not in dictionary["axes"][2]
    assert dictionary["axes"][2]["offset"] == -3.5
    assert dictionary["original_metadata"]["calibration"]["Q_pixel_size"] == 1.25


def test_origin_from_its_maps_when_the_mean_is_missing(files, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes((files / "results.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        group = file["datacube_root/metadatabundle/calibration"]
        del group["qx0_mean"], group["qy0_mean"]
        group["qx0"][0, 0] = np.nan
    assert quiet(path)["axes"][2]["offset"] == pytest.approx(-0.07)


def test_several_cubes_must_be_named(files, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes((files / "bare.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file.copy("datacube_root", "other_root")
        file["other_root/datacube/data"][...] = 1
    with pytest.raises(ValueError, match=r"holds 2 scans.*other_root/datacube/data \(4, 5, 8, 9\).*dataset="):
        read(path)
    assert (quiet(path, dataset="other_root/datacube")["data"] == 1).all()
    assert (quiet(path, dataset="/other_root/datacube/data")["data"] == 1).all()
    with pytest.raises(ValueError, match="no data set 'nothing'"):
        read(path, dataset="nothing")


def test_scan_shape_contradicts_the_cube(files):
    assert quiet(files / "bare.h5", scan_shape=(4, 5))["data"].shape == DATA.shape
    with pytest.raises(ValueError, match=r"stores a scan of 4 x 5.*scan_shape can only"):
        read(files / "bare.h5", scan_shape=(5, 4))
    with pytest.raises(ValueError, match="flyback, sync_offset can only"):
        read(files / "bare.h5", flyback=1, sync_offset=1)


def test_blocks_respect_stored_chunks(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("scan", data=np.zeros((10, 5, 8, 8), ">u2"), chunks=(4, 5, 8, 8))
    data = quiet(path, lazy=True, block_bytes=4 * 5 * 8 * 8 * 2)["data"]
    assert data.chunks[0] == (8, 2)
    assert data.compute().dtype.isnative


def test_old_layout_of_py4dstem(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("4DSTEM_experiment/data/datacubes/datacube_0")
        group.attrs["emd_group_type"] = 1
        group["data"] = DATA
        file["4DSTEM_experiment/data/diffractionslices/max/data"] = DATA.max((0, 1))
    np.testing.assert_array_equal(quiet(path)["data"], DATA)


def test_plain_file_with_one_stack(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["entry/frames"] = DATA.reshape(20, 8, 9)
        file["entry/thickness"] = np.zeros(3)
        file.attrs["kV"] = 300
    dictionary = quiet(path, scan_shape=(4, 5))
    np.testing.assert_array_equal(dictionary["data"], DATA)
    assert dictionary["original_metadata"]["attributes"]["kV"] == 300
    assert dictionary["metadata"]["Medrange"]["Source"]["format"] == "HDF5"
    with pytest.warns(UserWarning, match=r"stack of 20 frames without a scan shape.*medrange\.load\('a\.h5'"):
        assert read(path)["data"].shape == (20, 8, 9)
    with pytest.raises(ValueError, match=r"scan_shape=\(5, 5\) needs 25 frames"):
        read(path, scan_shape=(5, 5))


def test_plain_file_without_a_scan_lists_what_is_there(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["image"] = np.zeros((4, 5))
        file["spectrum"] = np.zeros(7)
    with pytest.raises(ValueError, match=r"neither a py4DSTEM data cube.*image \(4, 5\), spectrum \(7,\)"):
        read(path)
    with pytest.raises(ValueError, match=r"data set 'image' has shape \(4, 5\)"):
        read(path, dataset="image")


def test_plain_file_with_two_stacks(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros((4, 5, 6))
        file["b"] = np.ones((2, 2, 5, 6))
    with pytest.raises(ValueError, match=r"holds 2 scans.*a \(4, 5, 6\), b \(2, 2, 5, 6\)"):
        read(path)
    assert quiet(path, dataset="b")["data"].all()


@pytest.mark.data
def test_published_stack():
    folder = os.environ.get("MEDRANGE_DATA")
    if not folder:
        pytest.skip("MEDRANGE_DATA is not set")
    path = Path(folder) / "sim" / "empad_clusters_thin" / "counts_full_scan.h5"
    facts = describe(path, scan_shape=(48, 48))
    assert facts["scan_shape"] == (48, 48)
    assert facts["detector_shape"] == (128, 128)
    data = quiet(path, scan_shape=(48, 48), lazy=True)["data"]
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(data[3, 7].compute(), file["frames"][3 * 48 + 7])


def test_compressed_with_a_plugin(tmp_path):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("scan", data=DATA, chunks=(2, 5, 8, 9), **hdf5plugin.Bitshuffle())
    np.testing.assert_array_equal(quiet(path, lazy=True)["data"].compute(), DATA)
