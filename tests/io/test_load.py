"""Recognition by content, and clear words for what cannot be read."""

import subprocess
import sys
import warnings

import h5py
import hyperspy.api as hs
import numpy as np
import pytest

from medrange.io import describe, read
from medrange.io.load import SUPPORTED


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing\.mib"):
        read(tmp_path / "nothing.mib")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.dm4", b"\0\0\0\4abcd", "starting with"),
        ("a.mib", b"", "an empty file"),
        ("a.h5", b"not hdf5 at all", "no known format"),
        ("a.zspy", b"not a zip", "no known format"),
    ],
)
def test_unknown_content(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=what) as caught:
        read(tmp_path / name)
    message = str(caught.value)
    assert name in message
    assert all(supported in message for supported in SUPPORTED)
    assert "hyperspy.api.load" in message


def test_folder(tmp_path):
    with pytest.raises(ValueError, match="a folder that is not a zarr store"):
        read(tmp_path)


def test_damaged_file_says_what_it_was_taken_for(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["frames"] = np.random.default_rng(0).random((40, 16, 16))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"a\.h5 was recognized as HDF5, but it cannot be read"):
        read(path)


def test_content_counts_not_the_name(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 2, 3, 3)))
    (tmp_path / "a.npy").rename(tmp_path / "a.dat")
    assert describe(tmp_path / "a.dat")["format"] == "npy"
    hs.signals.Signal2D(np.ones((2, 2, 3, 3))).save(tmp_path / "b.hspy")
    (tmp_path / "b.hspy").rename(tmp_path / "b.h5")
    assert describe(tmp_path / "b.h5")["format"] == "hspy"


def test_warning_points_to_the_caller(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 3, 3)))
    with pytest.warns(UserWarning, match=r"^a\.npy: ") as caught:
        read(tmp_path / "a.npy")
    assert caught[0].filename == __file__


def test_strings_are_paths(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 2, 3, 3)))
    assert read(str(tmp_path / "a.npy"))["data"].shape == (2, 2, 3, 3)


def test_hyperspy_saves_what_was_read(tmp_path):
    """Axes, metadata and original metadata are of a kind that HyperSpy can store."""
    (tmp_path / "a.xml").write_text(
        '<root><raw_file filename="scan_x2_y2.raw"/><scan_parameters mode="a"/><scan_parameters mode="b"/></root>'
    )
    np.zeros((4, 130, 128), "<f4").tofile(tmp_path / "scan_x2_y2.raw")
    dictionary = read(tmp_path / "a.xml")
    dictionary["metadata"]["Signal"]["signal_type"] = ""
    signal = hs.signals.Signal2D(**dictionary)
    assert signal.axes_manager.navigation_shape == (2, 2)
    assert signal.axes_manager[0].name == "x"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signal.save(tmp_path / "b.hspy")
    again = read(tmp_path / "b.hspy")
    assert again["metadata"]["Medrange"] == dictionary["metadata"]["Medrange"]
    assert again["original_metadata"]["root"]["scan_parameters"] == [{"mode": "a"}, {"mode": "b"}]


def test_reading_needs_no_hyperspy():
    code = "import sys, medrange.io; medrange.io.read; sys.exit('hyperspy' in sys.modules or 'zarr' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
