"""The same bits from worker processes as from this one, also when a worker is killed on the way."""

import os
import pickle
import signal

import numpy as np
import pytest
from distributed import Client, LocalCluster

import medrange as mr
from medrange.io import convert

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

# Small blocks, so that there is work for several tasks per process.
BLOCK = 14 * 128 * 128 * 4


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module", params=["raw", "zspy"])
def path(request, tmp_path_factory):
    source = mr.datasets.sample_scan("empad")
    if request.param == "raw":
        return source
    return convert(source, tmp_path_factory.mktemp("store") / "scan.zspy", chunks=(1, 14)).path


def opened(path, *, lazy):
    scan = mr.load(path, lazy=lazy, **({"block_bytes": BLOCK} if lazy else {}))
    scan.set_center((63.6, 64.4))
    return scan


def results(scan):
    found = scan.medium_range_order(k=4.0, width=0.8)
    return [found.variance, found.power, found.ring_mean, scan.radial_profile(), scan.to_polar(n_phi=36)]


def test_two_processes_give_the_same_bits_as_the_eager_path(client, path):
    lazy = results(opened(path, lazy=True))
    assert lazy[0].data.npartitions > 4
    computed = [future.result() for future in client.compute([signal.data for signal in lazy])]
    for there, here in zip(computed, results(opened(path, lazy=False)), strict=True):
        np.testing.assert_array_equal(there, here.data)


def test_a_killed_worker_changes_nothing(client, path):
    scan = opened(path, lazy=True)
    expected = results(opened(path, lazy=False))
    victim = next(iter(client.run(os.getpid).values()))
    futures = client.compute([signal.data for signal in results(scan)])
    os.kill(victim, signal.SIGKILL)
    for future, here in zip(futures, expected, strict=True):
        np.testing.assert_array_equal(future.result(timeout=120), here.data)


def test_little_goes_through_the_scheduler(path):
    graph = opened(path, lazy=True).variance_map(k=4.0, width=0.8).data.__dask_graph__()
    assert len(pickle.dumps(dict(graph))) < 300_000
