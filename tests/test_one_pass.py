"""Every chunk of a scan is read once, whatever is made of it in one computation."""

import threading
from collections import Counter

import dask
import dask.array as da
import numpy as np
import pytest

import medrange as mr

BAND = {"k": 2.0, "width": 0.8}
CHUNKS = 4


class CountingStore:
    """An array that counts how often each of its parts is read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim
        self.reads, self.lock = Counter(), threading.Lock()

    def __getitem__(self, key):
        with self.lock:
            self.reads[str(key)] += 1
        return self.array[key]


@pytest.fixture(params=["centered", "descan"])
def counted(request):
    patterns = np.random.default_rng(0).poisson(5, (8, 6, 48, 48)).astype("uint16")
    store = CountingStore(patterns)
    signal = mr.from_array(da.from_array(store, chunks=(8 // CHUNKS, 6, 48, 48)), scan_step=0.3, k_step=0.16)
    signal.set_center((23.5, 23.5))
    if request.param == "descan":
        centers = np.moveaxis(np.indices((8, 6)) * 0.1, 0, -1) + 23.2
        signal.set_descan(signal.fit_descan(centers=centers))
    store.reads.clear()
    return signal, store


def read_once(store):
    return len(store.reads) == CHUNKS and set(store.reads.values()) == {1}


def test_nothing_is_read_before_it_is_asked_for(counted):
    signal, store = counted
    signal.medium_range_order(**BAND)
    signal.variance_map(**BAND)
    assert not store.reads


def test_medium_range_order_reads_each_chunk_once(counted):
    signal, store = counted
    signal.medium_range_order(**BAND).compute(show_progressbar=False)
    assert read_once(store), store.reads


@pytest.mark.parametrize("method", ["annular_mean", "ring_mean", "ring_ensemble", "variance_image"])
def test_fluctuation_variance_reads_each_chunk_once(counted, method):
    signal, store = counted
    if method == "variance_image":
        signal.set_descan(None)
    signal.fluctuation_variance(method, scan_mask=np.eye(8, 6, dtype=bool))
    assert read_once(store), store.reads


@pytest.mark.parametrize("method", ["annular_mean", "ring_mean", "ring_ensemble"])
def test_fluctuation_variance_with_an_error_band_reads_each_chunk_once(counted, method):
    signal, store = counted
    signal.fluctuation_variance(method, n_bootstrap=3)
    assert read_once(store), store.reads


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_maps_made_apart_and_computed_together_read_each_chunk_once(counted, scheduler):
    signal, store = counted
    made = [
        signal.variance_map(**BAND),
        signal.angular_power_map(**BAND, orders=(2, 4)),
        signal.radial_profile(),
        signal.to_polar(n_phi=36),
        signal.angular_correlation(**BAND),
        signal.annular_dark_field(**BAND),
        signal.virtual_dark_field(k=2.0, phi=0.3, radius=0.4),
        signal.dark_field_series(**BAND),
    ]
    together = dask.compute(*[result.data for result in made], scheduler=scheduler)
    assert read_once(store), store.reads
    for result, array in zip(made, together, strict=True):
        np.testing.assert_array_equal(array, result.data.compute())


def test_maps_of_the_same_ring_share_its_statistics(counted):
    signal, _ = counted
    variance, power = (set(made(**BAND).data.dask.layers) for made in (signal.variance_map, signal.angular_power_map))
    assert any("block" in name for name in variance & power), (variance, power)


def test_chunks_are_left_as_they_are(counted):
    signal, _ = counted
    assert signal.variance_map(**BAND).data.chunks == signal.data.chunks[:2]
    assert not any("rechunk" in name for name in signal.variance_map(**BAND).data.dask.layers)


def test_a_chunk_is_not_copied_on_its_way(counted):
    """The function gets the very memory that was read."""
    from medrange.signals.mapping import Output, map_frames

    patterns = np.zeros((4, 3, 8, 8))

    def same(frames):
        return (np.full(len(frames), np.shares_memory(frames, patterns)),)

    data = da.map_blocks(lambda: patterns, chunks=((4,), (3,), (8,), (8,)), dtype=float, meta=np.empty((0,) * 4))
    (shared,) = map_frames(data, same, [Output((), bool)])
    assert shared.compute(scheduler="synchronous").all()


def test_cut_patterns_are_told_with_the_call_that_helps():
    patterns = np.random.default_rng(0).poisson(5, (4, 6, 48, 48)).astype("uint16")
    signal = mr.from_array(da.from_array(patterns, chunks=(4, 6, 24, 48)), scan_step=0.3, k_step=0.16)
    signal.set_center((23.5, 23.5))
    with pytest.warns(UserWarning, match=r"s\.rechunk\(nav_chunks='auto', sig_chunks=-1\)"):
        cut = signal.variance_map(**BAND)
    signal.rechunk(nav_chunks="auto", sig_chunks=-1)
    np.testing.assert_array_equal(cut.data.compute(), signal.variance_map(**BAND).data.compute())
