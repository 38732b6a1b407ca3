"""The same bits from worker processes as from this one, also when a worker is killed on the way."""

import os
import pickle
import signal

import cloudpickle
import numpy as np
import pytest
from distributed import Client, LocalCluster
from typer.testing import CliRunner

import medrange as mr
from medrange.cli.app import app
from medrange.io import convert
from medrange.io.cluster import connected
from medrange.report.maps_run import MapsOptions, analyze_scan

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


def test_the_graph_does_not_grow_with_the_patterns(path, tmp_path):
    """The file goes to the workers by its name; only the number of chunks counts."""
    sizes = []
    for side in (64, 256):
        np.save(tmp_path / f"{side}.npy", np.ones((4, 8, side, side), "uint16"))
        scan = mr.load(tmp_path / f"{side}.npy", lazy=True, block_bytes=8 * side * side * 2)
        scan.calibrate(scan_step=0.3, k_step=0.16)
        scan.set_center(((side - 1) / 2, (side - 1) / 2))
        sizes.append(len(cloudpickle.dumps(dict(scan.medium_range_order(k=2.0, width=0.8).power.data.dask))))
    assert max(sizes) < 1.1 * min(sizes) < 100_000


@pytest.mark.parametrize(
    ("method", "keywords"),
    [
        ("variance_map", {"k": 4.0, "width": 0.8, "shot_noise": "poisson", "gain": 1.0}),
        ("angular_power_map", {"k": 4.0, "width": 0.8, "k_resolved": True}),
        ("angular_correlation", {"k": 4.0, "width": 0.8}),
        ("dark_field_series", {"k": 4.0, "width": 0.8}),
        ("annular_dark_field", {"k": 4.0, "width": 0.8}),
        ("virtual_dark_field", {"k": 4.0, "phi": 0.3, "radius": 0.4}),
        ("fluctuation_variance", {}),
        ("ring_strain", {"k": 4.0, "width": 0.8}),
    ],
)
def test_every_method_runs_on_the_cluster(client, path, method, keywords):
    there, here = (getattr(opened(path, lazy=lazy), method)(**keywords) for lazy in (True, False))
    for name in ("data", "raw", "tensor", "exx"):
        if hasattr(here, name):
            values = [getattr(result, name) for result in (there, here)]
            values = [np.asarray(getattr(value, "data", value)) for value in values]
            # Sums over positions are added up in the order of the chunks.
            np.testing.assert_allclose(values[0], values[1], rtol=1e-6, atol=1e-12)
            return
    pytest.fail(f"{type(here).__name__} holds none of the names that are compared")


def test_plan_measures_here_and_not_on_the_cluster(client, path):
    (step,) = opened(path, lazy=True).plan({"variance_map": {"k": 4.0, "width": 0.8}}).steps
    assert step.bytes_decoded == opened(path, lazy=True).data.nbytes


def test_maps_from_the_command_line(client, path, monkeypatch):
    """The same bits with the workers of a scheduler as with threads, from a name without a folder."""
    monkeypatch.chdir(path.parent)
    options = {"k": 4.0, "center": (63.6, 64.4), "null": False}
    options |= {"scan_step": 0.6, "k_step": 0.16, "beam_energy": 300, "convergence_angle": 1.15}
    address = client.scheduler.address
    there, here = (
        analyze_scan(path.name, MapsOptions(**options, scheduler=scheduler)).result for scheduler in (address, None)
    )
    for name, result in here.signals.items():
        np.testing.assert_array_equal(there.signals[name].data, result.data, err_msg=name)


def test_profiles_from_the_command_line(client, path, tmp_path):
    options = ["--composition", "Zr55Co25Al20", "--center", "63.6,64.4", "--scan-step", "0.6", "--k-step", "0.16"]
    options += ["--energy", "300", "--k-range", "0.2,0.9", "--quiet"]
    saved = []
    for name, more in {"there": ["--scheduler", client.scheduler.address], "here": []}.items():
        called = CliRunner().invoke(app, ["pdf", str(path), "--out", str(tmp_path / name), *options, *more])
        assert called.exit_code == 0, called.output
        saved.append(sorted((tmp_path / name / "tables").glob("*.csv")))
    assert [file.name for file in saved[0]] == [file.name for file in saved[1]]
    for there, here in zip(*saved, strict=True):
        assert there.read_bytes() == here.read_bytes(), there.name


def test_no_scheduler_is_one_line():
    called = CliRunner().invoke(
        app, ["maps", "scan.xml", "--k", "4", "--out", "out", "--scheduler", "tcp://127.0.0.1:1"]
    )
    assert called.exit_code == 1
    assert called.stderr.startswith("Error: no dask scheduler answers at tcp://127.0.0.1:1. Start one")
    assert len(called.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("address", ["localhost", "tcp://localhost", "tcp://localhost:port", "http://localhost:80"])
def test_no_address_is_refused(address):
    with pytest.raises(ValueError, match="looks like tcp://localhost:8786"), connected(address):
        pass


def test_a_scheduler_without_workers_is_refused():
    with (
        LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        pytest.raises(OSError, match="has no workers"),
        connected(cluster.scheduler_address),
    ):
        pass


def test_a_scheduler_and_the_eager_way_do_not_go_together(client, path):
    options = MapsOptions(k=4.0, lazy=False, scheduler=client.scheduler.address)
    with pytest.raises(ValueError, match="leave out --eager"):
        analyze_scan(path, options)
