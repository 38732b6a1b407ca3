"""Passes over a scan: neither threads nor chunks change a result, and dask has little to do per chunk."""

import dask
import numpy as np
import pytest
from dask.callbacks import Callback

from medrange.signals import mapping

RING = {"k": 3.2, "width": 0.64}


def test_the_number_of_threads_changes_nothing_in_memory(make_scan, monkeypatch):
    # Blocks of 64 patterns, the last one not full.
    monkeypatch.setattr(mapping, "_EAGER_BYTES", 1)
    scan, results = make_scan((15, 17)), []
    for count in (1, 3):
        with dask.config.set(num_workers=count):
            results.append(scan.medium_range_order(**RING))
    for one, three in zip(*(result.signals.values() for result in results), strict=True):
        assert np.array_equal(one.data, three.data, equal_nan=True)


def test_dask_has_few_tasks_per_chunk(make_scan):
    # Python runs one task at a time: with many threads their number decides.
    result = make_scan((20, 2), lazy=True, chunks=(1, 2, -1, -1)).medium_range_order(**RING)
    done = []
    with Callback(posttask=lambda key, *_: done.append(key)):
        result.compute()
    # One reads and works, one picks each of four maps, one the sums; 9 with what dask does not fuse, 17 if it were
    # left to add up each sum by itself.
    assert len(done) / 20 < 12


@pytest.mark.parametrize("lazy", [False, True])
def test_means_leave_out_positions_without_a_value(make_scan, lazy):
    scan = make_scan((4, 5))
    # An empty pattern has no V2D and no P_n.
    scan.data[1, 2] = 0
    expected = scan.angular_power_map(**RING, orders=range(1, 19)).data
    if lazy:
        scan = scan.as_lazy()
        scan.data = scan.data.rechunk((2, 2, -1, -1))
    result = scan.medium_range_order(**RING)
    result.compute()
    assert np.isnan(expected[:, 1, 2]).all()
    assert result.band_spectrum.data == pytest.approx(np.nanmean(expected, axis=(1, 2)), rel=1e-9)
    ring = np.argmin(abs(result.profile.axes_manager["k"].axis - RING["k"]))
    assert np.isfinite(result.spectrum.data[ring]).all()
