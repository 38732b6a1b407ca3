import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest

import medrange as mr
from medrange.io.frames import RawFrames


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
    import matplotlib.pyplot as plt

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
