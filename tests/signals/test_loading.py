import os

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
from matplotlib import pyplot as plt

import medrange as mr
from medrange.io import frames
from medrange.io.frames import RawFrames
from medrange.simulate.writers import write_empad


@pytest.mark.parametrize("name", ["empad", "merlin"])
@pytest.mark.parametrize("lazy", [False, True])
def test_sample_scans_open_as_signals(name, lazy):
    signal = mr.load(mr.datasets.sample_scan(name), lazy=lazy)
    assert type(signal) is (mr.LazyNanodiffraction if lazy else mr.Nanodiffraction)
    assert [axis.name for axis in signal.axes_manager._axes] == ["y", "x", "ky", "kx"]
    assert signal.data.dtype.isnative


@pytest.mark.parametrize("name", ["empad", "merlin"])
def test_lazy_equals_eager_and_brings_a_navigator(name):
    path = mr.datasets.sample_scan(name)
    eager, lazy = mr.load(path), mr.load(path, lazy=True)
    assert (lazy.data.compute() == eager.data).all()
    assert lazy.navigator.data.shape == eager.data.shape[:2]
    ky = eager.data.shape[2]
    strip = eager.data[:, :, int(0.65 * ky) : int(0.65 * ky) + ky // 16]
    assert (lazy.navigator.data == strip.sum(axis=(2, 3), dtype=float)).all()


def test_plot_of_a_lazy_scan_reads_no_block(monkeypatch):
    lazy = mr.load(mr.datasets.sample_scan("empad"), lazy=True)
    reads = []
    original = RawFrames.read_into
    monkeypatch.setattr(RawFrames, "read_into", lambda *args: reads.append(1) or original(*args))
    lazy.plot()
    # One block, for the pattern at the pointer.
    assert len(reads) <= 1
    plt.close("all")


@pytest.mark.parametrize("name", ["empad", "merlin"])
def test_navigator_of_a_large_scan_is_sampled(name, monkeypatch):
    path = mr.datasets.sample_scan(name)
    full = mr.load(path, lazy=True).navigator.data
    rows, columns = full.shape
    # As if a third of the lines and columns, rounded up, were the most that may be read.
    monkeypatch.setattr(frames, "_MOST_STRIPS", rows * columns / 9)
    opened = []
    original = RawFrames._strips
    monkeypatch.setattr(RawFrames, "_strips", lambda *args: opened.append(len(args[1])) or original(*args))
    sampled = mr.load(path, lazy=True).navigator.data
    assert sampled.shape == full.shape
    assert sum(opened) == -(-rows // 3) * -(-columns // 3)
    for row, column in np.ndindex(full.shape):
        # The middle one of three stands for all, at the end the last one.
        nearest = min(row // 3 * 3 + 1, rows - 1), min(column // 3 * 3 + 1, columns - 1)
        assert sampled[row, column] == full[nearest]


def test_plot_of_a_large_scan_reads_a_small_share_of_it(monkeypatch, tmp_path):
    settings = {"scan_step": 0.3, "beam_energy": 300, "camera_length": 0.5}
    path = write_empad(tmp_path / "scan", np.ones((1, 2, 128, 128)), **settings).with_suffix(".raw")
    # 4096 patterns, nearly all of them a hole in the file.
    os.truncate(path, 64 * 64 * 66560)
    lazy = mr.load(path, lazy=True, scan_shape=(64, 64), block_bytes=2**22)
    read = []
    original = RawFrames.read_into

    def read_into(self, out, *args):
        read.append(out.shape[0] * out.shape[1])
        original(self, out, *args)

    monkeypatch.setattr(RawFrames, "read_into", read_into)
    lazy.plot()
    # The block of the pattern at the pointer: 4 MB of 272.
    assert 1 <= sum(read) <= 0.02 * 4096
    assert lazy._plot.navigator_plot is not None
    lazy.axes_manager.indices = (40, 50)
    assert sum(read) <= 0.04 * 4096
    plt.close("all")


def test_energy_and_step_come_from_the_file():
    truth = mr.datasets.sample_truth("empad").attrs
    signal = mr.load(mr.datasets.sample_scan("empad"))
    assert signal.metadata.Acquisition_instrument.TEM.beam_energy == truth["beam_energy"]
    assert signal.axes_manager["x"].units == "nm"
    assert signal.axes_manager["x"].scale == pytest.approx(truth["scan_step"], rel=1e-6)


@pytest.mark.parametrize("ending", ["hspy", "zspy"])
def test_saved_signals_open_with_load(make_scan, tmp_path, ending):
    signal = make_scan((4, 3))
    signal.save(tmp_path / f"scan.{ending}")
    again = mr.load(tmp_path / f"scan.{ending}", lazy=True)
    assert type(again) is mr.LazyNanodiffraction
    assert again.geometry == signal.geometry
    assert type(hs.load(tmp_path / f"scan.{ending}")) is mr.Nanodiffraction


def test_errors_come_through():
    with pytest.raises(FileNotFoundError, match="there is no file"):
        mr.load("nowhere.mib")


def test_array_becomes_a_calibrated_scan_without_a_copy():
    data = np.arange(2 * 3 * 4 * 5, dtype="uint16").reshape(2, 3, 4, 5)
    signal = mr.from_array(data, scan_step=(0.5, 0.7), k_step=0.16, beam_energy=300)
    assert np.shares_memory(signal.data, data)
    assert [(axis.name, axis.scale, axis.units) for axis in signal.axes_manager._axes] == [
        ("y", 0.5, "nm"),
        ("x", 0.7, "nm"),
        ("ky", 0.16, "1/nm"),
        ("kx", 0.16, "1/nm"),
    ]
    assert type(mr.from_array(data, lazy=True)) is mr.LazyNanodiffraction
    assert type(mr.from_array(da.from_array(data))) is mr.LazyNanodiffraction
    assert mr.from_array(data[0]).axes_manager.navigation_shape == (3,)


def test_array_that_is_no_scan_is_refused():
    with pytest.raises(ValueError, match=r"shape \(4, 5\) and type float64; a scan is \(y, x, ky, kx\)"):
        mr.from_array(np.zeros((4, 5)))
    with pytest.raises(ValueError, match="type complex128"):
        mr.from_array(np.zeros((2, 2, 4, 5), complex))
