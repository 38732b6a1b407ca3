"""NumPy files, and HyperSpy's files with their metadata whole."""

import os
import pickle
import warnings

import h5py
import hyperspy.api as hs
import numpy as np
import pytest
import zarr

from medrange.io import describe, read

DATA = np.random.default_rng(6).integers(0, 4000, (6, 5, 8, 9)).astype("uint16")


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return read(path, **options)


def pattern_signal(data=DATA):
    signal = hs.signals.Signal2D(data)
    signal.metadata.General.title = "glass"
    for axis, name, units in zip(
        signal.axes_manager._get_axes_in_natural_order(), "xyab", ["nm", "nm", "1/nm", "1/nm"], strict=False
    ):
        axis.name, axis.units, axis.scale = name, units, 0.25
    signal.metadata.set_item("Acquisition_instrument.TEM.beam_energy", 300.0)
    signal.metadata.set_item("Medrange.Detector.gap_mask", np.eye(8, 9, dtype=bool))
    signal.metadata.set_item("Medrange.Detector.notes", ["a", {"b": 1}])
    signal.original_metadata.add_dictionary({"camera": {"serial": 7}})
    return signal


@pytest.fixture(params=["hspy", "zspy", "zip"])
def hyperspy_file(request, tmp_path):
    if request.param != "zip":
        path = tmp_path / f"a.{request.param}"
        pattern_signal().save(path, chunks=(2, 5, 4, 9))
        return path
    path = tmp_path / "zipped.zspy"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = zarr.storage.ZipStore(str(path), mode="w")
        pattern_signal().save(store)
        store.close()
    return path


@pytest.mark.parametrize("lazy", [False, True])
def test_hyperspy_file_is_whole(hyperspy_file, lazy):
    dictionary = quiet(hyperspy_file, lazy=lazy)
    np.testing.assert_array_equal(np.asarray(dictionary["data"]), DATA)
    metadata = dictionary["metadata"]
    assert metadata["General"]["title"] == "glass"
    assert metadata["Acquisition_instrument"]["TEM"]["beam_energy"] == 300
    assert isinstance(metadata["Medrange"]["Detector"]["gap_mask"], np.ndarray)
    np.testing.assert_array_equal(metadata["Medrange"]["Detector"]["gap_mask"], np.eye(8, 9, dtype=bool))
    assert metadata["Medrange"]["Detector"]["notes"] == ["a", {"b": 1}]
    assert dictionary["original_metadata"]["camera"]["serial"] == 7
    assert [axis["units"] for axis in dictionary["axes"]] == ["nm", "nm", "1/nm", "1/nm"]
    assert [axis["scale"] for axis in dictionary["axes"]] == [0.25] * 4
    assert metadata["Signal"]["signal_type"] == "nanodiffraction"
    assert metadata["Medrange"]["Source"]["frames_used"] == 30
    assert dictionary["attributes"]["_lazy"] is lazy


def test_lazy_hyperspy_file_travels(hyperspy_file):
    dictionary = quiet(hyperspy_file, lazy=True, block_bytes=2 * DATA[0].nbytes)
    data = dictionary["data"]
    assert data.chunks == ((2, 2, 2), (5,), (8,), (9,))
    sent = pickle.dumps(data)
    assert len(sent) < 20_000
    np.testing.assert_array_equal(pickle.loads(sent).compute(), DATA)
    assert quiet(hyperspy_file, lazy=True, block_bytes=2 * DATA[0].nbytes)["data"].name == data.name


@pytest.mark.parametrize("name", ["a.hspy", "a.zspy"])
def test_file_can_be_overwritten_after_reading(tmp_path, name):
    pattern_signal().save(tmp_path / name)
    read(tmp_path / name)
    pattern_signal(DATA + 1).save(tmp_path / name, overwrite=True)
    np.testing.assert_array_equal(read(tmp_path / name)["data"], DATA + 1)


def test_hyperspy_takes_the_dictionary(hyperspy_file):
    dictionary = quiet(hyperspy_file)
    axes = dictionary["axes"]
    signal = hs.signals.Signal2D(
        dictionary["data"],
        axes=axes,
        metadata=dictionary["metadata"],
        original_metadata=dictionary["original_metadata"],
    )
    assert signal.axes_manager.signal_shape == (9, 8)
    assert signal.axes_manager.navigation_shape == (5, 6)


def test_types_of_others_and_own_sources_stay(tmp_path):
    signal = pattern_signal()
    signal.metadata.Signal.signal_type = "polar_diffraction"
    signal.metadata.set_item("Medrange.Source.file", "first.raw")
    signal.save(tmp_path / "a.hspy")
    metadata = quiet(tmp_path / "a.hspy")["metadata"]
    assert metadata["Signal"]["signal_type"] == "polar_diffraction"
    assert metadata["Medrange"]["Source"] == {"file": "first.raw"}


def test_unnamed_signal_without_navigation(tmp_path):
    hs.signals.BaseSignal(DATA).save(tmp_path / "a.hspy")
    axes = quiet(tmp_path / "a.hspy")["axes"]
    assert [axis["navigate"] for axis in axes] == [True, True, False, False]
    assert [axis["name"] for axis in axes] == ["y", "x", "ky", "kx"]


def test_four_dimensional_one_of_several(tmp_path):
    path = tmp_path / "a.hspy"
    image = hs.signals.Signal2D(DATA.sum((2, 3)))
    image.metadata.General.title = "sum"
    image.save(path)
    _append(path, pattern_signal(), "glass")
    np.testing.assert_array_equal(quiet(path)["data"], DATA)
    assert quiet(path, dataset="sum")["data"].shape == (6, 5)
    second = pattern_signal(DATA + 1)
    second.metadata.General.title = "second"
    _append(path, second, "second")
    with pytest.raises(ValueError, match=r"2 4-D data sets.*'glass' \(6, 5, 8, 9\).*'second'.*dataset="):
        read(path)
    np.testing.assert_array_equal(quiet(path, dataset="second", lazy=True)["data"].compute(), DATA + 1)
    with pytest.raises(ValueError, match="no data set 'third'"):
        read(path, dataset="third")


def _append(path, signal, name):
    """Copy the experiment of another file into ``path``."""
    other = path.with_name(f"{name}.hspy")
    signal.save(other)
    with h5py.File(other, "r") as source, h5py.File(path, "r+") as target:
        source.copy(f"Experiments/{name}", target["Experiments"], name)


def test_file_without_a_scan(tmp_path):
    hs.signals.Signal1D(np.zeros(7)).save(tmp_path / "a.hspy")
    with pytest.raises(ValueError, match=r"no 4-D data sets.*\(7,\)"):
        read(tmp_path / "a.hspy")


def test_own_results_come_back_whatever_their_shape(tmp_path):
    signal = hs.signals.Signal2D(np.ones((6, 5)))
    signal.metadata.set_item("Medrange.Provenance.operation", "variance_map")
    signal.metadata.Signal.signal_type = "order_map"
    for name in ("a.hspy", "a.zspy"):
        signal.save(tmp_path / name)
        for lazy in (False, True):
            dictionary = quiet(tmp_path / name, lazy=lazy)
            np.testing.assert_array_equal(np.asarray(dictionary["data"]), 1)
            assert dictionary["metadata"]["Signal"]["signal_type"] == "order_map"


def test_stack_in_a_hyperspy_file_takes_a_scan_shape(tmp_path):
    path = tmp_path / "a.hspy"
    pattern_signal(DATA.reshape(30, 8, 9)).save(path)
    assert quiet(path)["data"].shape == (30, 8, 9)
    dictionary = quiet(path, scan_shape=(6, 5))
    np.testing.assert_array_equal(dictionary["data"], DATA)
    assert [axis["size"] for axis in dictionary["axes"]] == [6, 5, 8, 9]
    assert [axis["index_in_array"] for axis in dictionary["axes"]] == [0, 1, 2, 3]
    assert dictionary["axes"][3]["scale"] == 0.25
    assert dictionary["metadata"]["Signal"]["signal_type"] == "nanodiffraction"


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "<f4", ">f8", "int32"])
@pytest.mark.parametrize("lazy", [False, True])
def test_npy(tmp_path, dtype, lazy):
    np.save(tmp_path / "a.npy", DATA.astype(dtype))
    dictionary = quiet(tmp_path / "a.npy", lazy=lazy)
    values = np.asarray(dictionary["data"])
    np.testing.assert_array_equal(values, DATA.astype(dtype))
    assert values.dtype.isnative
    assert [axis["name"] for axis in dictionary["axes"]] == ["y", "x", "ky", "kx"]
    assert dictionary["metadata"]["General"]["title"] == "a"


def test_npy_stack(tmp_path):
    np.save(tmp_path / "a.npy", DATA.reshape(30, 8, 9))
    np.testing.assert_array_equal(quiet(tmp_path / "a.npy", scan_shape=(6, 5))["data"], DATA)
    with pytest.warns(UserWarning, match="stack of 30 frames without a scan shape"):
        assert read(tmp_path / "a.npy")["data"].shape == (30, 8, 9)
    with pytest.warns(UserWarning, match="24 of 30"):
        assert read(tmp_path / "a.npy", scan_shape=(6, 4))["data"].shape == (6, 4, 8, 9)


def test_truncated_npy(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, DATA)
    os.truncate(path, path.stat().st_size - 100)
    with pytest.warns(UserWarning, match=r"file has 29: 5 x 5 positions are kept, 4 frames.*44 bytes"):
        np.testing.assert_array_equal(read(path)["data"], DATA[:5])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 5)), r"shape \(4, 5\)"),
        (np.zeros((4, 5, 6), complex), "complex128"),
        (np.zeros((0, 5, 6)), r"shape \(0, 5, 6\)"),
        (np.zeros((2, 3, 4, 5), order="F"), "Fortran order.*ascontiguousarray"),
    ],
)
def test_npy_that_is_no_scan(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a.npy")


def test_describe(hyperspy_file):
    facts = describe(hyperspy_file)
    assert facts["scan_shape"] == (6, 5)
    assert facts["detector_shape"] == (8, 9)
    assert facts["calibration"]["beam_energy"] == 300
    assert facts["data_bytes"] == DATA.nbytes
