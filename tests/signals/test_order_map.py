"""OrderMap: class and axes survive, results equal the kernels', lazy equals eager."""

import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import ndimage
from traits.api import Undefined

from medrange.kernels.autocorrelation import radial_autocorrelation
from medrange.signals.order_map import LazyOrderMap, OrderMap

ORDERS = [(2, 4, 6), (2, 4, 7)]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return (ndimage.gaussian_filter(rng.normal(size=(3, 40, 48)), (0, 1.5, 1.5)) ** 2).astype("f4")


@pytest.fixture
def maps(data):
    return OrderMap.from_array(data, scale=(0.3, 0.4), orders=(2, 4, 6), offset=(1.0, 2.0), title="P")


class TestClass:
    @pytest.mark.parametrize("orders", ORDERS)
    @pytest.mark.parametrize("suffix", ["hspy", "zspy"])
    @pytest.mark.parametrize("lazy", [False, True])
    def test_saved_and_loaded(self, data, tmp_path, orders, suffix, lazy):
        maps = OrderMap.from_array(data, scale=(0.3, 0.4), orders=orders, offset=(1.0, 2.0))
        path = tmp_path / f"maps.{suffix}"
        (maps.as_lazy() if lazy else maps).save(path)
        loaded = hs.load(path, lazy=lazy)
        assert type(loaded) is (LazyOrderMap if lazy else OrderMap)
        assert loaded.orders == orders
        assert [axis.scale for axis in loaded.axes_manager.signal_axes] == [0.4, 0.3]
        assert [axis.offset for axis in loaded.axes_manager.signal_axes] == [2.0, 1.0]
        np.testing.assert_array_equal(np.asarray(loaded.data), data)

    def test_copies_slices_and_conversions_keep_the_class(self, maps):
        lazy = maps.as_lazy()
        assert type(lazy) is LazyOrderMap
        assert type(lazy.inav[0]) is LazyOrderMap
        for other in (maps.deepcopy(), maps.inav[1:], maps.isig[:10, :12], lazy.deepcopy(), maps * 2):
            assert isinstance(other, OrderMap)
        assert maps.isig[1:10, 2:12].axes_manager["y"].offset == pytest.approx(1.6)
        lazy.compute(show_progressbar=False)
        assert type(lazy) is OrderMap

    def test_set_signal_type(self, data):
        signal = hs.signals.Signal2D(data)
        signal.set_signal_type("order_map")
        assert type(signal) is OrderMap

    def test_public_names(self):
        import medrange as mr

        assert mr.OrderMap is OrderMap
        assert mr.LazyOrderMap is LazyOrderMap


class TestOrders:
    @pytest.mark.parametrize("orders", [*ORDERS, (5, 6, 12)])
    def test_from_the_axis(self, data, orders):
        maps = OrderMap.from_array(data, scale=0.3, orders=orders)
        assert maps.orders == orders
        assert all(isinstance(n, int) for n in maps.orders)
        assert maps.inav[1:].orders == orders[1:]
        assert maps.inav[float(orders[1])].data.tolist() == data[1].tolist()

    def test_one_order(self, data):
        assert OrderMap.from_array(data[:1], scale=0.3, orders=[4]).orders == (4,)

    def test_none(self, data):
        assert OrderMap.from_array(data[0], scale=0.3).orders == ()

    @pytest.mark.parametrize("orders", [(2, 4), None])
    def test_must_match_the_data(self, data, orders):
        with pytest.raises(ValueError, match="do not match"):
            OrderMap.from_array(data, scale=0.3, orders=orders)

    def test_must_increase(self, data):
        with pytest.raises(ValueError, match="must increase"):
            OrderMap.from_array(data, scale=0.3, orders=(4, 2, 6))


class TestNormalizedSum:
    def test_formula(self, maps, data):
        result = maps.normalized_sum()
        expected = np.mean([image / image.mean(dtype="f8") for image in data], axis=0)
        assert type(result) is OrderMap
        assert result.data.dtype == np.float32
        np.testing.assert_allclose(result.data, expected, rtol=1e-6)

    def test_axes_and_provenance(self, maps):
        maps.metadata.set_item("Medrange.Provenance.source", "scan.raw")
        result = maps.normalized_sum()
        assert result.orders == ()
        for name in "xy":
            ours, theirs = result.axes_manager[name], maps.axes_manager[name]
            assert (ours.scale, ours.offset, ours.units) == (theirs.scale, theirs.offset, theirs.units)
        provenance = result.metadata.Medrange.Provenance
        assert provenance.operation == "normalized_sum"
        assert provenance.source == "scan.raw"
        assert maps.metadata.General.title == "P"
        assert not maps.metadata.has_item("Medrange.Provenance.operation")

    def test_lazy_stays_lazy(self, maps):
        result = maps.as_lazy().normalized_sum()
        assert type(result) is LazyOrderMap
        np.testing.assert_allclose(np.asarray(result.data), maps.normalized_sum().data, rtol=1e-6)

    def test_survives_saving(self, maps, tmp_path):
        maps.normalized_sum().save(tmp_path / "sum.zspy")
        assert type(hs.load(tmp_path / "sum.zspy")) is OrderMap


class TestHotspots:
    def test_lazy_equals_eager(self, maps):
        eager, lazy = maps.hotspots(), maps.as_lazy().hotspots()
        np.testing.assert_array_equal(eager.labels, lazy.labels)
        assert eager.table.equals(lazy.table)
        assert eager.summary.equals(lazy.summary)

    def test_lazy_maps_are_computed_once(self, data):
        import dask.array as da

        reads = []

        def read(block):
            reads.append(block.shape)
            return block

        lazy = da.from_array(data, chunks=data.shape).map_blocks(read, meta=np.empty((0, 0, 0), "f4"))
        LazyOrderMap.from_array(lazy, scale=0.3, orders=(2, 4, 6)).hotspots()
        assert reads == [data.shape]

    def test_units_of_the_axes_do_not_matter(self, data):
        nm = OrderMap.from_array(data, scale=0.3, orders=(2, 4, 6), offset=(1.0, 0.0)).hotspots()
        angstrom = OrderMap.from_array(data, scale=3.0, units="A", orders=(2, 4, 6), offset=(10.0, 0.0))
        np.testing.assert_allclose(angstrom.hotspots().table.drop(columns="n"), nm.table.drop(columns="n"), rtol=1e-12)

    def test_scale_of_the_map_does_not_matter(self, maps):
        one, other = maps.hotspots(), (maps * 1e-4).hotspots()
        np.testing.assert_array_equal(one.labels, other.labels)

    def test_sum_is_one_more_map(self, maps):
        whole = maps.hotspots()
        alone = maps.normalized_sum().hotspots()
        assert whole.orders == (2, 4, 6, "sum")
        assert alone.orders == ("map",)
        np.testing.assert_array_equal(whole.labels[-1], alone.labels[0])
        assert maps.hotspots(include_sum=False).orders == (2, 4, 6)

    def test_number_is_not_applied_to_the_sum_unless_asked(self, maps):
        assert maps.hotspots(threshold=0.02).orders == (2, 4, 6)
        assert maps.hotspots(threshold=0.02).summary.threshold.tolist() == [0.02] * 3
        assert maps.hotspots(threshold=0.02, include_sum=True).orders == (2, 4, 6, "sum")

    def test_thickness_and_acceptance(self, maps):
        base = maps.hotspots().summary.volume_fraction
        np.testing.assert_allclose(maps.hotspots(thickness=40).summary.volume_fraction, base / 2)
        wide = maps.hotspots(acceptance_angle=90).summary.volume_fraction
        np.testing.assert_allclose(wide, base * 10 / 170)

    def test_parameters_tell_the_source(self, maps):
        assert maps.hotspots().parameters["source"] is None
        maps.metadata.set_item("Medrange.Provenance.source", "scan.raw")
        assert maps.hotspots().parameters["source"] == "scan.raw"

    def test_input_unchanged(self, maps, data):
        before = data.copy()
        maps.hotspots()
        maps.autocorrelation()
        maps.normalized_sum()
        np.testing.assert_array_equal(maps.data, before)

    @pytest.mark.parametrize("units", [Undefined, "", "px", "pixels"])
    def test_uncalibrated_scan_is_refused(self, maps, units):
        for axis in maps.axes_manager.signal_axes:
            axis.units = units
        for method in (maps.hotspots, maps.autocorrelation, maps.correlation_length):
            with pytest.raises(ValueError, match=r's.calibrate\(scan_step=0.32, scan_units="nm"'):
                method()

    def test_scan_in_wrong_units_is_refused(self, maps):
        for axis in maps.axes_manager.signal_axes:
            axis.units = "1/nm"
        with pytest.raises(ValueError, match="cannot convert"):
            maps.hotspots()

    def test_other_navigation_axes_are_refused(self, maps):
        stack = hs.stack([maps, maps], show_progressbar=False)
        with pytest.raises(ValueError, match=r"navigation axes are .*\.inav"):
            stack.hotspots()


class TestOverlapWith:
    def test_itself(self, maps):
        table = maps.overlap_with(maps.inav[1])
        assert table.n.tolist() == [2, 4, 6]
        assert table.overlap[1] == table.other_overlap[1] == 1.0

    def test_agrees_with_hotspots(self, maps):
        hotspots = maps.hotspots()
        table = maps.as_lazy().overlap_with(maps.inav[0])
        np.testing.assert_allclose(table.overlap, hotspots.overlap.loc[[2, 4, 6], 2].astype(float))
        np.testing.assert_allclose(table.other_overlap, hotspots.overlap.loc[2, [2, 4, 6]].astype(float))
        np.testing.assert_allclose(table.expected, hotspots.summary.area_fraction[0])

    def test_other_shape(self, maps):
        with pytest.raises(ValueError, match=r"shape \(3, 40, 48\)"):
            maps.overlap_with(maps)


class TestAutocorrelation:
    def test_equals_the_kernel(self, maps, data):
        result = maps.autocorrelation(max_distance=5.0)
        assert result.orders == (2, 4, 6)
        for image, curve in zip(data, result.values, strict=True):
            r, sigma = radial_autocorrelation(image, pixel_size=(0.3, 0.4), max_distance=5.0)
            np.testing.assert_array_equal(result.r, r)
            np.testing.assert_array_equal(curve, sigma)

    def test_lazy_equals_eager(self, maps):
        np.testing.assert_array_equal(maps.as_lazy().autocorrelation().values, maps.autocorrelation().values)

    def test_correlation_length_is_known(self):
        # The square of Gaussian noise of width s correlates as exp(-r^2 / (2 s^2)): 1/e at sqrt(2) s.
        rng = np.random.default_rng(1)
        image = ndimage.gaussian_filter(rng.normal(size=(256, 256)), 4, mode="wrap") ** 2
        series = OrderMap.from_array(image[np.newaxis], scale=2.0, units="A", orders=[4]).correlation_length()
        assert series.attrs["units"] == "nm"
        assert series[4] == pytest.approx(np.sqrt(2) * 0.8, rel=0.1)


class TestPlots:
    def test_figures(self, maps):
        assert len(maps.plot_grid(contour=maps.inav[0])) == 4
        hotspots = maps.hotspots()
        assert len(hotspots.plot()) == 2
        assert "n = 4" in hotspots.plot_outlines(maps, n=4).get_title()
        assert len(maps.autocorrelation().plot()) == 2
        plt.close("all")
