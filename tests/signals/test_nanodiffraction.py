import dask
import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest

import medrange as mr
from medrange.geometry import PolarGrid
from medrange.kernels.angular import angular_correlation, angular_power, intensity_variance
from medrange.kernels.rings import polar_means

K, WIDTH = 3.2, 0.64

# Every result, as a function of the scan, so that lazy, chunking and unit tests reach all of them.
RESULTS = {
    "virtual_dark_field": lambda s: s.virtual_dark_field(k=K, phi=0.3, radius=0.4),
    "annular_dark_field": lambda s: s.annular_dark_field(k=K, width=WIDTH),
    "dark_field_series": lambda s: s.dark_field_series(k=K, width=WIDTH, n_phi=12),
    "variance_map": lambda s: s.variance_map(k=K, width=WIDTH),
    "angular_power_map": lambda s: s.angular_power_map(k=K, width=WIDTH, orders=(2, 4, 6)),
    "angular_power_map_k": lambda s: s.angular_power_map(k=K, width=WIDTH, orders=(2, 5, 6), k_resolved=True),
    "angular_correlation": lambda s: s.angular_correlation(k=K, width=WIDTH),
    "angular_correlation_k": lambda s: s.angular_correlation(k=K, width=WIDTH, k_resolved=True),
    "radial_profile": lambda s: s.radial_profile(),
    "to_polar": lambda s: s.to_polar(n_phi=36),
    "polar_variance": lambda s: s.to_polar(n_phi=36).intensity_variance(),
    "polar_correlation": lambda s: s.to_polar(n_phi=36).angular_correlation(),
    "polar_power": lambda s: s.to_polar(n_phi=36).angular_power(orders=(2, 4, 6)),
    "mro_variance": lambda s: s.medium_range_order(k=K, width=WIDTH).variance,
    "mro_power": lambda s: s.medium_range_order(k=K, width=WIDTH).power,
    "mro_ring_mean": lambda s: s.medium_range_order(k=K, width=WIDTH).ring_mean,
    "mro_profile": lambda s: s.medium_range_order(k=K, width=WIDTH).profile,
    "mro_spectrum": lambda s: s.medium_range_order(k=K, width=WIDTH).spectrum,
}


@pytest.mark.parametrize("masked", [False, True], ids=["open", "masked"])
@pytest.mark.parametrize("chunks", [(5, 7, -1, -1), (1, 3, -1, -1), (2, 2, -1, -1)])
@pytest.mark.parametrize("name", RESULTS)
def test_lazy_equals_eager_for_any_chunking(make_scan, name, chunks, masked):
    eager = make_scan((5, 7), dtype=np.float32)
    lazy = make_scan((5, 7), dtype=np.float32, lazy=True, chunks=chunks)
    if masked:
        mask = np.zeros((64, 64), bool)
        mask[28:35, :30] = True
        eager.set_mask(mask)
        lazy.set_mask(mask)
    expected, result = RESULTS[name](eager), RESULTS[name](lazy)
    assert result._lazy
    assert not expected._lazy
    assert result.axes_manager.shape == expected.axes_manager.shape
    for axis, other in zip(result.axes_manager._axes, expected.axes_manager._axes, strict=True):
        assert (axis.name, axis.units, axis.navigate) == (other.name, other.units, other.navigate)
        assert np.array_equal(axis.axis, other.axis)
    assert result.data.dtype == expected.data.dtype
    result.compute()
    assert type(result) is type(expected)
    assert result.data == pytest.approx(expected.data, rel=1e-6, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", RESULTS)
def test_input_is_unchanged(make_scan, name):
    signal = make_scan((2, 3), dtype=np.uint16)
    before, metadata = signal.data.copy(), str(signal.metadata)
    RESULTS[name](signal)
    assert (signal.data == before).all()
    assert str(signal.metadata) == metadata


@pytest.mark.parametrize("name", RESULTS)
def test_results_carry_units_and_provenance(make_scan, name):
    result = RESULTS[name](make_scan((2, 3)))
    units = {axis.name: axis.units for axis in result.axes_manager._axes}
    assert units["y"] == units["x"] == "nm" if "y" in units else name == "mro_spectrum"
    assert units.get("k", "1/nm") == "1/nm"
    assert result.metadata.Medrange.Provenance.version == mr.__version__
    assert result.metadata.Signal.quantity


@pytest.mark.parametrize(
    "result",
    [
        lambda s, unit: s.virtual_dark_field(k=K * unit, phi=0.3, radius=0.4 * unit),
        lambda s, unit: s.annular_dark_field(k=K * unit, width=WIDTH * unit),
        lambda s, unit: s.variance_map(k=K * unit, width=WIDTH * unit),
        lambda s, unit: s.medium_range_order(k=K * unit, width=WIDTH * unit).profile,
    ],
)
def test_angstrom_axes_give_the_same_values(make_scan, result):
    signal = make_scan((2, 3))
    converted = signal.deepcopy()
    converted.axes_manager.convert_units(axes="signal", units="1/angstrom")
    assert converted.geometry.k_units == "1/Å"
    assert result(converted, 0.1).data == pytest.approx(result(signal, 1.0).data, rel=1e-9)


def test_maps_equal_the_formulas_on_polar_means(make_scan):
    signal = make_scan((3, 4), seed=5)
    ring = polar_means(signal.data.reshape(-1, 64, 64), signal.geometry, PolarGrid.band(K, WIDTH, 36))[:, 0]
    assert signal.variance_map(k=K, width=WIDTH).data.ravel() == pytest.approx(intensity_variance(ring), rel=1e-9)
    power = signal.angular_power_map(k=K, width=WIDTH, orders=range(1, 19)).data
    assert pytest.approx(angular_power(ring), rel=1e-8, abs=1e-14) == power.reshape(18, -1).T
    correlation = signal.angular_correlation(k=K, width=WIDTH).data
    assert correlation.reshape(-1, 36) == pytest.approx(angular_correlation(ring), rel=1e-9, abs=1e-12)


def test_variance_is_the_sum_of_all_orders(make_scan):
    signal = make_scan((3, 4), dtype=np.float32)
    variance = signal.variance_map(k=K, width=WIDTH).data
    power = signal.angular_power_map(k=K, width=WIDTH, orders=range(1, 19)).data
    assert power.sum(axis=0) == pytest.approx(variance, rel=1e-5)


def test_variance_map_is_the_variance_of_the_dark_field_series(make_scan):
    signal = make_scan((3, 4))
    series = signal.dark_field_series(k=K, width=WIDTH).data
    expected = series.var(axis=0) / series.mean(axis=0) ** 2
    assert signal.variance_map(k=K, width=WIDTH).data == pytest.approx(expected, rel=1e-9)


def test_radial_profile_of_a_radial_function(make_scan):
    signal = make_scan((1, 2), orders=())
    profile = signal.radial_profile()
    k = profile.axes_manager["k"].axis
    far = k > 1.5
    # The mean over each ring of one pixel's width, weighted by its circumference.
    fine = k[:, None] + (np.arange(200) + 0.5) / 200 * 0.16 - 0.08
    expected = ((100 * np.exp(-(((fine - K) / 0.5) ** 2)) + 5) * fine).sum(axis=1) / fine.sum(axis=1)
    assert profile.data[0, 0][far] == pytest.approx(expected[far], rel=0.025)


def test_a_single_pattern_and_a_line_work_where_no_map_is_needed(make_scan):
    scan = make_scan((3, 4))
    for signal in (scan.inav[1, 2], scan.inav[:, 1]):
        assert signal.radial_profile().data.shape[-1] == signal.to_polar().data.shape[-1]
        assert signal.angular_correlation(k=K, width=WIDTH).data.shape[-1] == 36
        with pytest.raises(ValueError, match="a map needs a two-dimensional scan"):
            signal.variance_map(k=K, width=WIDTH)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_counts_at_full_scale(dtype):
    signal = mr.Nanodiffraction(np.full((2, 2, 32, 32), np.iinfo(dtype).max, dtype))
    signal.calibrate(scan_step=1, k_step=0.1)
    signal.set_center((15.2, 16.1))
    result = signal.medium_range_order(k=1.0, width=0.2)
    assert result.ring_mean.data == pytest.approx(np.iinfo(dtype).max, rel=1e-6)
    assert np.abs(result.variance.data).max() < 1e-9


def test_one_pass_reads_every_chunk_once(make_scan):
    signal = make_scan((4, 6), lazy=True, chunks=(2, 3, -1, -1))
    reads = []

    def read(block):
        reads.append(block.shape)
        return block

    signal.data = signal.data.map_blocks(read, meta=signal.data._meta)
    result = signal.medium_range_order(k=K, width=WIDTH)
    result.compute()
    assert reads == [(2, 3, 64, 64)] * 4


def test_separate_lazy_maps_of_one_ring_share_one_read(make_scan):
    signal = make_scan((4, 6), lazy=True, chunks=(2, 3, -1, -1))
    reads = []

    def read(block):
        reads.append(block.shape)
        return block

    signal.data = signal.data.map_blocks(read, meta=signal.data._meta)
    variance = signal.variance_map(k=K, width=WIDTH)
    power = signal.angular_power_map(k=K, width=WIDTH)
    dask.compute(variance.data, power.data)
    assert len(reads) == 4


def test_chunks_that_cut_patterns_are_joined_with_a_warning(make_scan):
    expected = make_scan((4, 6)).variance_map(k=K, width=WIDTH).data
    signal = make_scan((4, 6), lazy=True, chunks=(2, 3, 32, 32))
    with pytest.warns(UserWarning, match="cut the patterns"):
        result = signal.variance_map(k=K, width=WIDTH)
    assert result.data.compute() == pytest.approx(expected, rel=1e-12)


def test_lazy_graph_travels(make_scan):
    import cloudpickle

    signal = make_scan((4, 6), lazy=True, chunks=(2, 3, -1, -1))
    data = signal.variance_map(k=K, width=WIDTH).data
    copy = cloudpickle.loads(cloudpickle.dumps(data))
    assert (copy.compute() == data.compute()).all()
    assert isinstance(data, da.Array)


def test_hyperspy_region_of_interest_still_integrates(make_scan):
    signal = make_scan((3, 4))
    roi = hs.roi.CircleROI(cx=3.2, cy=0.0, r=0.5)
    inside = roi(signal, axes=signal.axes_manager.signal_axes)
    assert np.nanmean(inside.data[0, 0]) == pytest.approx(signal.virtual_dark_field(3.2, 0.0, 0.5).data[0, 0], rel=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.angular_power_map(k=K, width=WIDTH, orders=(2, 19)), r"order 19 is not within 1 .. n_phi/2 = 18"),
        (lambda s: s.angular_power_map(k=K, width=WIDTH, orders=(0,)), "order 0 is not within"),
        (lambda s: s.angular_power_map(k=K, width=WIDTH, orders=()), "orders is empty"),
        (lambda s: s.variance_map(k=0.1, width=0.4), "reaches below k = 0"),
        (lambda s: s.variance_map(k=K, width=0), "width is 0"),
        (lambda s: s.variance_map(k=50, width=1), "no open detector pixel lies in the ring k = 50 1/nm"),
        (lambda s: s.medium_range_order(k=50, width=1), "full circles on the detector reach to k = 4.9"),
        (lambda s: s.variance_map(k=K, width=WIDTH, n_phi=2), "n_phi is 2"),
        (lambda s: s.radial_profile(k_step=99), "no ring of that width fits"),
        (lambda s: s.virtual_dark_field(k=K, phi=0, radius=-1), "radius is -1"),
        (lambda s: s.to_polar().angular_power(orders=(91,)), "order 91 is not within"),
    ],
)
def test_errors_name_value_and_limit(make_scan, call, message):
    with pytest.raises(ValueError, match=message):
        call(make_scan((2, 2)))
