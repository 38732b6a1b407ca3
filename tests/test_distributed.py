"""The same bits from worker processes as from this one, also when a worker is killed on the way."""

import os
import pickle
import signal
from dataclasses import fields, is_dataclass

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from hyperspy.signal import BaseSignal
from typer.testing import CliRunner

import medrange as mr
from medrange.cli.app import app
from medrange.io import convert
from medrange.io.cluster import connected
from medrange.report.maps_run import MapsOptions, analyze_scan
from medrange.signals.ring_cube import ring_cube

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


def patterns(dtype=np.float64):
    """Rings whose doubles have all their digits, so that a sum in another order has other bits."""
    rng, side = np.random.default_rng(0), np.indices((32, 32)) - 15.4
    radius, phi = np.hypot(*side), np.arctan2(*side)
    wave = np.cos(4 * (phi - rng.uniform(0, 6, (7, 9, 1, 1)))) * rng.uniform(0, 0.4, (7, 9, 1, 1))
    mean = 60 * np.exp(-(((radius - 9) / 2) ** 2)) * (1 + wave) + 900 * np.exp(-((radius / 2) ** 2)) + 4
    return (mean * rng.gamma(20.0, 0.05, mean.shape)).astype(dtype)


def calibrated(data, *, descan=False):
    scan = mr.from_array(data, scan_step=0.3, k_step=0.6, beam_energy=300)
    scan.set_center((15.4, 15.4))
    if descan:
        scan.set_descan(scan.fit_descan(centers=np.moveaxis(np.indices((7, 9)) * 0.07, 0, -1) + 15.1))
    return scan


#: Along scan lines, along columns, both, and of uneven sizes.
CUTS = {
    "lines": ((1,) * 7, (9,)),
    "columns": ((7,), (1,) * 9),
    "both": ((3, 3, 1), (4, 4, 1)),
    "uneven": ((1, 4, 2), (2, 6, 1)),
}
RING = {"k": 5.4, "width": 2.4}
LEFT_OUT = np.indices((7, 9)).sum(axis=0) % 5 == 0


def factor(scan, **options):
    return scan.radial_profile().structure_factor("Fe80B20", k_range=(0.15, 0.85), polynomial_degree=3, **options)


def pdf(scan, **options):
    return factor(scan).reduced_pdf(r_max=8.0, **options)


def copied(scan):
    return scan._deepcopy_with_new_data(scan.data)


#: What gives one value, or one curve, per position.
PER_POSITION = {
    "variance_map": lambda s: s.variance_map(**RING, shot_noise="poisson", gain=1.0),
    "angular_power_map": lambda s: s.angular_power_map(**RING, k_resolved=True),
    "angular_correlation": lambda s: s.angular_correlation(**RING, k_resolved=True),
    "dark_field_series": lambda s: s.dark_field_series(**RING),
    "annular_dark_field": lambda s: s.annular_dark_field(**RING),
    "virtual_dark_field": lambda s: s.virtual_dark_field(k=5.4, phi=0.3, radius=1.0),
    "radial_profile": lambda s: s.radial_profile(),
    "to_polar": lambda s: s.to_polar(n_phi=24),
    "polar_variance": lambda s: s.to_polar(n_phi=24).intensity_variance(),
    "polar_correlation": lambda s: s.to_polar(n_phi=24).angular_correlation(),
    "polar_power": lambda s: s.to_polar(n_phi=24).angular_power(orders=(2, 4)),
    "ring_cube": ring_cube,
    "structure_factor": factor,
    "log_structure_factor": lambda s: factor(s, background="log_polynomial"),
    "background": lambda s: factor(s).background(),
    "polynomial": lambda s: factor(s).polynomial(),
    "coefficients": lambda s: factor(s).coefficients(),
    "normalization": lambda s: factor(s).normalization(),
    "reduced_structure_factor": lambda s: factor(s).reduced_structure_factor(),
    "reduced_pdf": pdf,
    "error_band": lambda s: pdf(s, error=True, gain=1.0).error_band(),
    "first_peak": lambda s: pdf(s).first_peak(method="gaussian"),
    "second_peak": lambda s: pdf(s).second_peak(),
    "pair_distribution": lambda s: pdf(s).pair_distribution(0.08),
    "coordination_number": lambda s: pdf(s).coordination_number(0.08),
}
#: What adds up, or fits, over the scan.
OVER_THE_SCAN = {
    "medium_range_order": lambda s: s.medium_range_order(**RING, shot_noise="poisson", gain=1.0),
    "maps_of_one_ring": lambda s: s.medium_range_order(**RING, k_resolved=False),
    "ring_strain": lambda s: s.ring_strain(**RING),
    "ring_strain_of_known_radius": lambda s: s.ring_strain(**RING, reference=5.3),
    "normalized_sum": lambda s: s.angular_power_map(**RING, orders=(2, 4, 6)).normalized_sum(),
    "hotspots": lambda s: s.angular_power_map(**RING, orders=(2, 4, 6)).hotspots().summary,
    "autocorrelation": lambda s: s.angular_power_map(**RING, orders=(2, 4)).autocorrelation(),
    "annular_mean": lambda s: s.fluctuation_variance(gain=1.0, n_bootstrap=5),
    "annular_mean_of_some": lambda s: s.fluctuation_variance(scan_mask=LEFT_OUT),
    "ring_mean": lambda s: s.fluctuation_variance("ring_mean"),
    "ring_ensemble": lambda s: s.fluctuation_variance("ring_ensemble"),
    "variance_image": lambda s: s.fluctuation_variance("variance_image", gain=1.0, n_bootstrap=5),
    "variance_image_of_some": lambda s: s.fluctuation_variance("variance_image", scan_mask=LEFT_OUT),
    "find_bad_pixels": lambda s: s.find_bad_pixels(threshold=3.0),
    "fit_descan": lambda s: copied(s).fit_descan(method="ring", **RING),
    "connectivity": lambda s: pdf(s).connectivity(),
    "structural_components": lambda s: pdf(s).structural_components(n_components=2, n_restarts=2),
}
#: What begins with the mean pattern.
OF_THE_MEAN_PATTERN = {
    "fit_center": lambda s: copied(s).fit_center(),
    "fit_center_by_symmetry": lambda s: copied(s).fit_center("friedel"),
    "fit_center_by_ring": lambda s: copied(s).fit_center("ring", **RING),
    "fit_ellipse": lambda s: copied(s).fit_ellipse(**RING),
    "fit_k_scale": lambda s: copied(s).fit_k_scale(**RING),
    "quality_report": lambda s: s.quality_report(**RING, gain=1.0).table,
}


def arrays(result):
    """All numbers of a result, whatever its class, by name; computed."""
    if isinstance(result, BaseSignal):
        found = {"data": result.data}
    elif isinstance(result, pd.DataFrame):
        found = {"table": result.select_dtypes("number").to_numpy()}
    elif is_dataclass(result):
        parts = {field.name: getattr(result, field.name) for field in fields(result) if field.name != "axes"}
        found = {f"{name}.{key}": part for name, value in parts.items() for key, part in arrays(value).items()}
    else:
        is_number = isinstance(result, np.ndarray | float) or (
            isinstance(result, tuple) and all(isinstance(value, float) for value in result)
        )
        found = {"value": np.asarray(result)} if is_number else {}
    return dict(zip(found, dask.compute(*found.values()), strict=True))


def assert_same_bits(there, here):
    assert here
    assert set(there) == set(here)
    for name, value in here.items():
        assert there[name].dtype == value.dtype, name
        np.testing.assert_array_equal(there[name], value, err_msg=name)


def assert_however_it_is_cut(client, data, made, *, descan=False):
    """Eager, in threads with every cut, and on two processes with one."""
    here = arrays(made(calibrated(data, descan=descan)))
    for name, cuts in CUTS.items():
        scan = calibrated(da.from_array(data, chunks=(*cuts, 32, 32)), descan=descan)
        with dask.config.set(scheduler="threads"):
            assert_same_bits(arrays(made(scan)), here)
        if name == "both":
            assert dask.base.get_scheduler() == client.get
            assert_same_bits(arrays(made(scan)), here)


METHODS = PER_POSITION | OVER_THE_SCAN | OF_THE_MEAN_PATTERN


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_the_same_bits(client, name):
    assert_however_it_is_cut(client, patterns(), METHODS[name])


@pytest.mark.parametrize("name", ["maps_of_one_ring", "ring_strain", "annular_mean", "reduced_pdf"])
def test_centers_that_move_change_no_bit(client, name):
    assert_however_it_is_cut(client, patterns(np.float32), (PER_POSITION | OVER_THE_SCAN)[name], descan=True)


@pytest.mark.parametrize("name", ["variance_image", "medium_range_order"])
def test_a_worker_that_dies_on_the_way_changes_no_sum(client, name, tmp_path):
    data, has_died = patterns(), tmp_path / "died"

    def dies_once(block):
        if not has_died.exists():
            has_died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    expected = arrays(OVER_THE_SCAN[name](calibrated(data)))
    cut = da.from_array(data, chunks=(*CUTS["both"], 32, 32))
    scan = calibrated(da.map_blocks(dies_once, cut, dtype=data.dtype, meta=np.empty((0,) * 4)))
    assert_same_bits(arrays(OVER_THE_SCAN[name](scan)), expected)
    assert has_died.exists()


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
