import subprocess
import sys
from typing import ClassVar

import dask.array as da
import numpy as np
import pytest

import medrange as mr
from medrange.io import convert
from medrange.signals.plan import METHODS, Plan

BAND = {"k": 2.0, "width": 0.8}
# Arguments of the methods that need some.
ARGUMENTS = {
    name: {} if name in ("radial_profile", "to_polar", "fluctuation_variance") else BAND for name in METHODS
} | {"virtual_dark_field": {"k": 2.0, "phi": 0.3, "radius": 0.4}}


def scan(data):
    signal = mr.from_array(data, scan_step=0.3, k_step=0.16, beam_energy=300)
    signal.set_center((23.5, 23.5))
    return signal


@pytest.fixture
def patterns():
    return np.random.default_rng(0).poisson(5, (12, 6, 48, 48)).astype("uint16")


@pytest.fixture
def lazy(patterns):
    return scan(da.from_array(patterns, chunks=(2, 6, 48, 48)))


def test_every_method_decodes_the_scan_once(lazy):
    plan = lazy.plan(ARGUMENTS)
    assert [step.name for step in plan.steps] == list(METHODS)
    for step in plan.steps:
        assert step.bytes_decoded == lazy.data.nbytes, step.name
        assert 0 < step.seconds < 60
    assert (plan.n_chunks, plan.chunk_bytes) == (6, lazy.data.nbytes // 6)


def test_a_method_that_reads_twice_is_known_to(lazy):
    (step,) = lazy.plan({"fluctuation_variance": {"method": "variance_image", "n_bootstrap": 3}}).steps
    assert step.bytes_decoded == 2 * lazy.data.nbytes


def test_together_is_one_pass(lazy):
    (step,) = lazy.plan({"variance_map": BAND, "radial_profile": {}}, together=True).steps
    assert step.name == "variance_map, radial_profile"
    assert step.bytes_decoded == lazy.data.nbytes
    apart = lazy.plan({"variance_map": BAND, "radial_profile": {}})
    assert any("together" in text for text in apart.advice)


def test_output_of_the_whole_scan(lazy, patterns):
    steps = lazy.plan({"variance_map": BAND, "to_polar": {"n_phi": 36}}).steps
    assert steps[0].output_bytes == patterns.shape[0] * patterns.shape[1] * 4
    assert steps[1].output_bytes == lazy.to_polar(n_phi=36).data.nbytes


class Noting:
    """An array that notes which rows of the scan were read."""

    rows: ClassVar[set] = set()

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim

    def __getitem__(self, key):
        # Dask takes an empty part, to know the type.
        self.rows.update(range(*key[0].indices(len(self.array))))
        return self.array[key]


def test_nothing_is_computed_but_a_sample(patterns):
    signal = scan(da.from_array(Noting(patterns), chunks=(2, 6, 48, 48)))
    Noting.rows.clear()
    signal.plan({"medium_range_order": BAND}, n_threads=8)
    # Two chunks from the middle.
    assert Noting.rows == {4, 5, 6, 7}


def test_scan_in_memory_reads_nothing(patterns):
    (step,) = scan(patterns).plan({"medium_range_order": BAND}).steps
    assert (step.bytes_read, step.bytes_decoded) == (0, 0)
    assert step.seconds > 0


def test_bytes_on_the_disk(tmp_path):
    raw = mr.load(mr.datasets.sample_scan("empad"), lazy=True)
    raw.set_center((63.6, 64.4))
    # 128 of the 130 rows of a record are pixels.
    assert raw.plan().steps[0].bytes_read == pytest.approx(raw.data.nbytes * 130 / 128)
    path = convert(mr.datasets.sample_scan("empad"), tmp_path / "scan.zspy", chunks=(1, 14)).path
    store = mr.load(path, lazy=True, block_bytes=2**20)
    store.set_center((63.6, 64.4))
    on_disk = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert store.plan().steps[0].bytes_read == pytest.approx(on_disk)
    # Which of the file's chunks a part of the scan needs is not known.
    assert np.isnan(store.inav[:7].plan().steps[0].bytes_read)


def test_no_file_no_bytes(lazy):
    assert np.isnan(lazy.plan().steps[0].bytes_read)


def test_a_series_is_planned(patterns):
    signal = scan(da.from_array(patterns.reshape(72, 48, 48), chunks=(9, 48, 48)))
    (step,) = signal.plan(["radial_profile"]).steps
    assert step.bytes_decoded == patterns.nbytes


def test_a_moving_center_is_planned(lazy):
    lazy.set_descan(mr.Nanodiffraction.fit_descan(lazy, centers=np.broadcast_to([23.5, 23.5], (12, 6, 2)) + 0.0))
    (step,) = lazy.plan({"medium_range_order": BAND}).steps
    assert step.bytes_decoded == lazy.data.nbytes


def test_table_and_text(lazy):
    plan = lazy.plan({"variance_map": BAND, "radial_profile": {}})
    table = plan.table
    assert list(table["step"]) == ["variance_map", "radial_profile", "total"]
    assert table["decoded"].iloc[-1] == pytest.approx(2 * lazy.data.nbytes / 1e6)
    assert table["peak_memory"].iloc[-1] * 1e6 == pytest.approx(plan.peak_memory)
    assert table.attrs["units"]["peak_memory"] == "MB"
    text = repr(plan)
    for words in ("6 chunks of", "variance_map", "total", "advice: each step reads the scan"):
        assert words in text


def test_later_steps_hold_the_results_of_earlier_ones(lazy):
    plan = lazy.plan({"to_polar": {}, "variance_map": BAND})
    polar, variance = plan.steps
    assert plan.peak_memory == max(polar.peak_memory, polar.output_bytes + variance.peak_memory)


def test_chunks_that_cut_patterns_are_told(patterns):
    plan = scan(da.from_array(patterns, chunks=(6, 6, 24, 48))).plan()
    (told,) = (text for text in plan.advice if "cut the patterns" in text)
    assert "s.rechunk(nav_chunks='auto', sig_chunks=-1)" in told
    assert plan.steps[0].bytes_decoded == patterns.nbytes


def test_small_and_few_chunks_are_told():
    pattern = da.zeros((40, 40, 8, 8), chunks=(1, 1, 8, 8), dtype="uint16")
    signal = mr.from_array(pattern + 1, scan_step=0.3, k_step=0.16)
    signal.set_center((3.5, 3.5))
    assert any("more in tasks than in work" in text for text in signal.plan().advice)
    few = scan(da.ones((64, 640, 48, 48), chunks=(64, 640, 48, 48), dtype="uint16"))
    assert any("cannot keep 4 threads busy" in text for text in few.plan(n_threads=4).advice)


def test_too_much_memory_is_told(lazy, monkeypatch):
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", 10 * 2**20)
    assert any("block_bytes=" in text for text in lazy.plan().advice)


@pytest.mark.parametrize("methods", [["variance"], [], "fit_center"])
def test_unknown_methods_are_refused(lazy, methods):
    with pytest.raises(ValueError, match="must name some of medium_range_order"):
        lazy.plan(methods)


def test_arguments_that_do_not_fit_are_refused(lazy):
    with pytest.raises(ValueError, match="no open detector pixel"):
        lazy.plan({"variance_map": {"k": 200.0, "width": 1.0}})


def test_the_plan_leaves_the_signal_alone(lazy):
    before = lazy.data
    assert isinstance(lazy.plan(), Plan)
    assert lazy.data is before
    assert lazy._lazy


# A fresh process: the highest memory of one run over what the process held before it. Threads are two.
RUN = """
import sys, warnings
from pathlib import Path
import dask
import medrange as mr
warnings.simplefilter("ignore")
dask.config.set(num_workers=2)
def memory(which):
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) * 1024
s = mr.load(sys.argv[1], lazy=True, block_bytes=64 * 2**20)
s.calibrate(scan_step=0.5, k_step=0.16, beam_energy=300)
s.set_center((63.6, 64.4))
name, keywords = sys.argv[2], {"k": 4.0, "width": 0.8} if sys.argv[2] == "medium_range_order" else {}
small = mr.load(mr.datasets.sample_scan("empad"))
small.set_center((63.6, 64.4))
getattr(small, name)(**keywords)
if sys.argv[3] == "plan":
    print(s.plan({name: keywords}).peak_memory)
else:
    # The highest memory is counted from here; it would else be that of the imports, or of the process before.
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    getattr(s, name)(**keywords).compute(show_progressbar=False)
    print(memory("VmHWM") - before)
"""


@pytest.fixture(scope="module", params=["npy", "zspy"])
def large(request, tmp_path_factory):
    """0.5 GB of patterns."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    frames = rng.poisson(4, (128, 128, 128)).astype("uint16")
    stored = np.lib.format.open_memmap(folder / "scan.npy", mode="w+", dtype="uint16", shape=(128, 128, 128, 128))
    for row in stored:
        row[...] = frames
    stored.flush()
    if request.param == "npy":
        return folder / "scan.npy"
    return convert(folder / "scan.npy", folder / "scan.zspy", codec="lz4").path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="what the system counts as the memory of a process differs")
@pytest.mark.parametrize("name", ["medium_range_order", "to_polar"])
def test_the_memory_of_a_run_stays_below_the_bound(large, name):
    bound, measured = (
        float(
            subprocess.run(
                [sys.executable, "-c", RUN, str(large), name, what], capture_output=True, text=True, check=True
            ).stdout.split()[-1]
        )
        for what in ("plan", "run")
    )
    assert measured < bound, (measured, bound)
    # A bound that is no use would be one, too.
    assert bound < 4 * measured, (measured, bound)
