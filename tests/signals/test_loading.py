import hyperspy.api as hs
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
