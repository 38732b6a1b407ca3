"""Null of order maps: what is recorded, fitted and refused; null against null."""

import dataclasses
import warnings

import dask
import hyperspy.api as hs
import numpy as np
import pytest

import medrange as mr
from medrange.kernels.hotspots import label_hotspots, measure_hotspots
from medrange.kernels.null import RandomScan, null_rings
from medrange.signals.ring_record import mean_intensity

RING = {"k": 3.2, "width": 0.64}
PROBE = {"convergence_angle": 1.15}
COLUMNS = [
    "n", "count", "expected_count", "expected_count_std", "enrichment", "enrichment_error", "p_value", "diameter_mean",
    "expected_diameter", "diameter_p_value", "size_resolved", "area_fraction", "expected_area_fraction",
    "area_p_value", "volume_fraction", "expected_volume_fraction", "volume_enrichment",
]  # fmt: skip

# Small fields cannot tell sizes; what the warning says has its own test.
pytestmark = pytest.mark.filterwarnings("ignore:the mean hotspot diameter")


@pytest.fixture
def result(make_scan):
    return make_scan((12, 14)).medium_range_order(**RING)


@pytest.fixture(scope="module")
def random_result():
    """Maps of counts from a random object, 30 x 32 positions."""
    from medrange.kernels.null import random_object, speckle

    rows, cols = np.indices((48, 48)).reshape(2, -1) - np.array([[23.6], [24.2]])
    scan = RandomScan(np.stack([rows, cols], 1) * 0.16, (30, 32), (0.3, 0.3), 0.584)
    rng = np.random.default_rng(7)
    pattern = speckle(scan, random_object(scan, rng)) / scan.expected[:, None, None]
    counts = rng.poisson(np.moveaxis(4 * pattern, 0, -1)).reshape(30, 32, 48, 48).astype(np.uint16)
    signal = mr.Nanodiffraction(counts)
    signal.calibrate(scan_step=0.3, k_step=0.16, beam_energy=300)
    signal.set_center((23.6, 24.2))
    return signal.medium_range_order(k=2.8, width=0.6, orders=range(1, 13))


class TestModel:
    def test_a_random_object_is_its_own_null(self, random_result):
        null = random_result.null(**PROBE, n_realizations=8)
        table = null.power.typical()
        assert np.median(table.ratio[1::2]) == pytest.approx(1, abs=0.1)
        assert null.power.parameters["contrast"] == pytest.approx(1, abs=0.15)
        assert null.power.parameters["beta"] < 0.05
        # Not fitted: odd orders (noise alone), V2D.
        assert np.median(table.ratio[::2]) == pytest.approx(1, abs=0.2)
        assert null.variance.typical().ratio[0] == pytest.approx(1, abs=0.15)

    def test_the_number_of_threads_changes_nothing(self, result):
        nulls = []
        for count in (1, 3):
            with dask.config.set(num_workers=count):
                nulls.append(result.null(**PROBE, n_realizations=3).power)
        assert np.array_equal(nulls[0].maps, nulls[1].maps, equal_nan=True)
        assert nulls[0].parameters == nulls[1].parameters

    def test_shapes_and_names(self, result):
        null = result.null(**PROBE, n_realizations=3)
        assert null.power.maps.shape == (3, 5, 12, 14)
        assert null.variance.maps.shape == (3, 1, 12, 14)
        assert null.power.orders == (2, 4, 6, 8, 10)
        assert null.variance.orders == ("map",)
        assert null.power.maps.dtype == np.float32
        # The same random objects: five of the orders that add up to V2D, each scaled to the medians of its data.
        some, whole = null.power.maps.sum(axis=1), null.variance.maps[:, 0]
        assert np.corrcoef(some.ravel(), whole.ravel())[0, 1] > 0.9
        assert "3 realizations of 12 x 14 positions, n = 2, 4, 6, 8, 10; contrast" in repr(null.power)
        with pytest.raises(dataclasses.FrozenInstanceError):
            null.power.maps = None

    def test_same_seed_same_maps_and_more_realizations_keep_the_first(self, result):
        first, more = (result.power.null(seed=3, **PROBE, n_realizations=n).maps for n in (2, 4))
        assert (first == more[:2]).all()
        assert (first == result.null(seed=3, **PROBE, n_realizations=2).power.maps).all()
        assert (first != result.power.null(seed=4, **PROBE, n_realizations=2).maps).any()
        generator = np.random.default_rng(3)
        assert (result.power.null(generator, **PROBE, n_realizations=2).maps == first).all()

    def test_input_is_unchanged(self, result):
        before, metadata = result.power.data.copy(), str(result.power.metadata)
        result.power.null(**PROBE, n_realizations=1, profile=result.profile)
        assert (result.power.data == before).all()
        assert str(result.power.metadata) == metadata

    @pytest.mark.parametrize("ending", ["hspy", "zspy"])
    def test_a_map_that_was_saved_has_the_same_null(self, make_scan, tmp_path, ending):
        scan = make_scan((6, 7), dtype=np.uint16)
        mask = np.zeros((64, 64), bool)
        mask[24:40, :30] = True
        scan.set_mask(mask)
        scan.metadata.set_item("Acquisition_instrument.TEM.convergence_angle", 1.15)
        scan.metadata.set_item("Medrange.Geometry.ellipse", [1.02, 0.3])
        result = scan.medium_range_order(**RING, shot_noise="poisson")
        result.save(tmp_path / f"out.{ending}")
        for name in ("power", "variance"):
            again = hs.load(tmp_path / f"out_{name}.{ending}").null(n_realizations=2)
            expected = result.signals[name].null(n_realizations=2)
            np.testing.assert_array_equal(again.maps, expected.maps)
            assert again.parameters == expected.parameters
            assert again.parameters["shot_noise_subtracted"]
            assert again.parameters["spectrum"] == "profile"

    def test_lazy_equals_eager(self, make_scan):
        expected = make_scan((6, 7)).medium_range_order(**RING)
        result = make_scan((6, 7), lazy=True, chunks=(2, 3, -1, -1)).medium_range_order(**RING)
        with pytest.raises(ValueError, match=r"call compute\(\) on the result first"):
            result.null(**PROBE)
        result.compute()
        null = result.null(**PROBE, n_realizations=2)
        assert null.power.maps == pytest.approx(expected.null(**PROBE, n_realizations=2).power.maps, rel=1e-3)
        lazy = expected.power.as_lazy().null(**PROBE, n_realizations=2)
        assert (lazy.maps == expected.power.null(**PROBE, n_realizations=2).maps).all()
        assert type(lazy.realization(0)) is mr.OrderMap

    def test_angstrom_axes_give_the_same_null(self, make_scan):
        scan = make_scan((6, 7))
        converted = scan.deepcopy()
        converted.axes_manager.convert_units(axes="signal", units="1/angstrom")
        converted.axes_manager.convert_units(axes="navigation", units="angstrom")
        expected = scan.medium_range_order(**RING).power.null(**PROBE, n_realizations=2)
        null = converted.medium_range_order(k=0.32, width=0.064).power.null(**PROBE, n_realizations=2)
        assert null.maps == pytest.approx(expected.maps, rel=1e-2)

    def test_missing_values_stay_missing(self, result):
        result.power.data[:, :2] = np.nan
        result.power.data[3, 4, 5] = np.nan
        null = result.power.null(**PROBE, n_realizations=2)
        assert (np.isnan(null.maps) == np.isnan(result.power.data)).all()

    def test_profile_can_be_given_or_missing(self, make_scan):
        scan = make_scan((6, 7))
        bare = scan.medium_range_order(**RING, k_resolved=False).power
        assert bare.null(**PROBE, n_realizations=1).parameters["spectrum"] == "white"
        null = bare.null(**PROBE, n_realizations=1, profile=scan.radial_profile())
        expected = scan.medium_range_order(**RING).power.null(**PROBE, n_realizations=1)
        assert null.maps == pytest.approx(expected.maps, rel=1e-4)

    def test_counting_noise_raises_the_odd_orders(self, random_result):
        data = random_result.power
        noisy = data.null(**PROBE, n_realizations=2)
        quiet = data.deepcopy()
        del quiet.metadata.Medrange.Ring.gain
        silent = quiet.null(**PROBE, n_realizations=2)
        assert (noisy.parameters["gain"], silent.parameters["gain"]) == (1.0, None)
        assert noisy.typical().ratio[::2].median() == pytest.approx(1, abs=0.2)
        assert "no counting noise" in repr(silent)

    def test_strong_maps_do_not_move_the_fit_but_all_of_them_do(self, random_result):
        few, all_of_them = random_result.power.deepcopy(), random_result.power * 4
        few.data[:, 10:13, 10:13] *= 20
        contrast = random_result.power.null(**PROBE, n_realizations=1).parameters["contrast"]
        assert few.null(**PROBE, n_realizations=1).parameters["contrast"] == pytest.approx(contrast, rel=0.02)
        with pytest.warns(UserWarning, match="stronger than a coherent random object"):
            null = all_of_them.null(**PROBE, n_realizations=1)
        assert null.parameters["contrast"] == pytest.approx(2 * contrast, rel=0.1)
        assert np.median(null.typical().ratio[1::2]) == pytest.approx(1, abs=0.15)

    def test_medians_are_those_of_the_data(self, random_result):
        """Each realization as a whole, even and odd orders apart; with match="order" every map."""
        data = random_result.power
        typical = np.median(data.data, axis=(1, 2))
        for match, groups in (("parity", (slice(0, 12, 2), slice(1, 12, 2))), ("order", range(12))):
            null = data.null(**PROBE, n_realizations=3, match=match)
            ratio = np.log(typical / np.median(null.maps, axis=(2, 3)))
            for group in groups:
                assert np.median(ratio[:, group], axis=-1) == pytest.approx(0, abs=1e-5)
            assert null.parameters["match"] == match
        with pytest.raises(ValueError, match=r"match is 'n'; use \"parity\""):
            data.null(**PROBE, match="n")
        with pytest.raises(ValueError, match=r"match is 'n'; use \"parity\""):
            random_result.null(**PROBE, match="n")

    def test_an_order_strong_everywhere_stands_out_and_is_told(self, random_result):
        strong = random_result.power.deepcopy()
        strong.data[3] *= 2
        plain = random_result.power.null(**PROBE, n_realizations=10)
        with pytest.warns(UserWarning, match=r"bulk of the maps of n = 4 \((1\.9|2\.\d)"):
            null = strong.null(**PROBE, n_realizations=10)
        assert null.maps[:, 3].mean() == pytest.approx(plain.maps[:, 3].mean(), rel=0.1)
        assert null.typical().ratio[3] == pytest.approx(2 * plain.typical().ratio[3], rel=0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            null = strong.null(**PROBE, n_realizations=10, match="order")
        assert np.median(null.maps[:, 3]) == pytest.approx(np.median(strong.data[3]), rel=0.05)

    def test_weak_speckle_is_met(self, random_result):
        weak = random_result.variance * 0.3
        null = weak.null(**PROBE, n_realizations=4)
        assert null.parameters["contrast"] < 0.6
        assert null.typical().ratio[0] == pytest.approx(1, abs=0.1)

    def test_fit_to_the_matrix_alone(self, random_result):
        data = random_result.power.deepcopy()
        ordered = np.zeros((30, 32), bool)
        ordered[:20] = True
        data.data[:, ordered] *= 3
        contrast = random_result.power.null(**PROBE, n_realizations=1).parameters["contrast"]
        null = data.null(**PROBE, n_realizations=1, scan_mask=ordered)
        assert null.parameters["contrast"] == pytest.approx(contrast, rel=0.15)

    def test_subtracted_noise_is_subtracted_from_the_null(self, make_scan):
        flat = np.random.default_rng(0).poisson(3, (16, 18, 64, 64)).astype(np.uint16)
        signal = mr.Nanodiffraction(flat)
        signal.calibrate(scan_step=0.32, k_step=0.16, beam_energy=300)
        signal.set_center((31.3, 32.4))
        result = signal.medium_range_order(**RING, shot_noise="poisson")
        null = result.null(**PROBE, n_realizations=4)
        floor = result.power_noise.data.mean(axis=(1, 2))
        assert null.power.parameters["contrast"] < 0.15
        assert (np.abs(null.power.maps.mean(axis=(0, 2, 3))) < 0.3 * floor).all()


class TestRefusals:
    def test_the_probe_must_be_known(self, result):
        with pytest.raises(ValueError, match=r"convergence angle is unknown.*\.null\(convergence_angle=1\.15\)"):
            result.null()
        with pytest.raises(ValueError, match=r"convergence_angle is -1 mrad; it must be positive"):
            result.null(convergence_angle=-1)
        del result.power.metadata.Acquisition_instrument
        with pytest.raises(ValueError, match=r"beam energy is unknown.*beam_energy=300\.0"):
            result.power.null(**PROBE)
        assert result.power.null(**PROBE, beam_energy=300, n_realizations=1).parameters["beam_energy"] == 300

    def test_the_ring_must_be_known(self):
        maps = mr.OrderMap.from_array(np.ones((2, 5, 5)), scale=0.3, orders=(2, 4))
        with pytest.raises(ValueError, match=r"does not say which ring"):
            maps.null(**PROBE)

    def test_the_quantity_must_be_known(self, result):
        with pytest.raises(ValueError, match=r"null is known for V2D and for P_n"):
            result.power.inav[1].null(**PROBE)
        with pytest.raises(ValueError, match=r"null is known for V2D and for P_n"):
            result.power.normalized_sum().null(**PROBE)
        assert result.power.inav[1:2].null(**PROBE, n_realizations=1).orders == (4,)

    def test_numbers_and_masks(self, result):
        with pytest.raises(ValueError, match="n_realizations is 0"):
            result.null(**PROBE, n_realizations=0)
        with pytest.raises(ValueError, match=r"scan_mask is bool of shape \(3, 3\)"):
            result.null(**PROBE, scan_mask=np.zeros((3, 3), bool))
        with pytest.raises(ValueError, match="no scan position is left"):
            result.null(**PROBE, scan_mask=np.ones((12, 14), bool))

    def test_dose_not_recorded(self, make_scan):
        scan = make_scan((6, 7), dtype=np.uint16)
        maps = scan.medium_range_order(**RING).power
        expected = maps.metadata.Medrange.Ring.ring_mean
        ring = maps.metadata.Medrange.Ring
        del ring.ring_mean
        # The profile knows the dose too; its rings, a pixel wide, lie on the curved flanks of the ring.
        assert mean_intensity(ring.as_dictionary()) == pytest.approx(expected, rel=0.03)
        assert maps.null(**PROBE, n_realizations=1).parameters["gain"] == 1
        del ring.profile
        with pytest.warns(UserWarning, match=r"no counting noise. Give profile=s\.radial_profile\(\)"):
            null = maps.null(**PROBE, n_realizations=1)
        assert null.parameters["gain"] is None
        assert maps.null(**PROBE, n_realizations=1, profile=scan.radial_profile()).parameters["gain"] == 1


class TestEnrichment:
    def test_table(self, result):
        null = result.null(**PROBE, n_realizations=4)
        table = result.power.hotspots().enrichment(null.power)
        assert list(table.columns) == COLUMNS
        assert table.n.tolist() == [2, 4, 6, 8, 10, "sum"]
        assert table.attrs["units"]["expected_diameter"] == "nm"
        assert table.attrs["units"]["enrichment"] == ""
        assert table.p_value.between(1 / 5, 1).all()
        assert table.enrichment.to_numpy() == pytest.approx(
            (table["count"] / table.expected_count).to_numpy(), nan_ok=True
        )
        assert result.variance.hotspots().enrichment(null.variance).n.tolist() == ["map"]

    def test_counts_are_those_above_the_same_threshold(self, random_result):
        null = random_result.power.null(**PROBE, n_realizations=3)
        found = random_result.power.hotspots("otsu", min_pixels=2, include_sum=False)
        table = found.enrichment(null)
        for index, threshold in enumerate(found.summary.threshold):
            regions = [measure_hotspots(label_hotspots(m[index], threshold, min_pixels=2), m[index]) for m in null.maps]
            assert table.expected_count[index] == pytest.approx(np.mean([r["label"].size for r in regions]))
            sizes = np.concatenate([r["diameter"] for r in regions]) * 0.3
            assert table.expected_diameter[index] == pytest.approx(sizes.mean())

    def test_realizations_in_place_of_data_give_their_own_numbers(self, random_result):
        """The sum over orders is taken in units of the data's means, as the threshold is."""
        null = random_result.power.null(**PROBE, n_realizations=2)
        same = dataclasses.replace(null, maps=np.repeat(random_result.power.data[np.newaxis], 3, axis=0))
        table = random_result.power.hotspots().enrichment(same)
        assert (table.enrichment == 1).all()
        assert (table.p_value == 1).all()
        assert table.expected_area_fraction.to_numpy() == pytest.approx(table.area_fraction.to_numpy())
        assert table.volume_enrichment.to_numpy() == pytest.approx(1)

    def test_other_maps_are_refused(self, result):
        null = result.null(**PROBE, n_realizations=1)
        with pytest.raises(ValueError, match="do not belong together"):
            result.power.hotspots().enrichment(null.variance)
        with pytest.raises(ValueError, match="do not belong together"):
            result.power.isig[:5, :5].hotspots().enrichment(null.power)

    def test_chance_that_gives_none(self, result):
        null = result.variance.null(**PROBE, n_realizations=2)
        none = dataclasses.replace(null, maps=np.zeros_like(null.maps))
        row = result.variance.hotspots().enrichment(none).iloc[0]
        assert row.enrichment == np.inf
        assert row.p_value == pytest.approx(1 / 3)
        assert np.isnan(row.expected_diameter)
        assert not row.size_resolved

    @pytest.mark.filterwarnings("default:the mean hotspot diameter")
    def test_probe_sized_hotspots_are_told_once(self, random_result):
        null = random_result.power.null(**PROBE)
        with pytest.warns(UserWarning, match=r"it is the size of the probe, not of the order") as told:
            table = random_result.power.hotspots().enrichment(null)
        assert len(told) == 1
        assert not table.size_resolved.all()
        large, even = random_result.power.inav[1:6:2].deepcopy(), dataclasses.replace(null, maps=null.maps[:, 1:6:2])
        even = dataclasses.replace(even, orders=large.orders)
        large.data[:] = 0.01
        large.data[:, 5:20, 5:20] = 5.0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert large.hotspots(threshold=0.15).enrichment(even).size_resolved.all()

    def test_null_against_null_is_chance(self, random_result):
        """Twenty realizations as data, held against others of the same object."""
        null = random_result.power.null(seed=1, **PROBE, n_realizations=20)
        other = random_result.power.null(seed=2, **PROBE, n_realizations=20)
        tables = []
        for index in range(20):
            data = null.realization(index)
            tables.append(data.hotspots(include_sum=False).enrichment(dataclasses.replace(other, source=data)))
        enrichment = np.array([t["count"].sum() / t.expected_count.sum() for t in tables])
        assert enrichment.mean() == pytest.approx(1, abs=0.05)
        assert (np.abs(enrichment - 1) < 0.25).all()
        p_values = np.concatenate([t.p_value for t in tables])
        # Counts tie, and ties count against an enrichment: slightly above 1/2.
        assert 0.45 < p_values.mean() < 0.62
        assert (p_values < 0.1).mean() < 0.2
        assert (p_values > 0.5).mean() < 0.7

    def test_a_realization_is_an_order_map(self, random_result):
        data = random_result.power.null(**PROBE, n_realizations=1).realization(0)
        assert type(data) is mr.OrderMap
        assert data.orders == random_result.power.orders
        again = data.null(seed=5, **PROBE, n_realizations=2)
        assert np.median(again.typical().ratio[1::2]) == pytest.approx(1, abs=0.1)


def test_rings_need_the_pixels_of_their_operator(random_result):
    """The model of the signal and of the kernel are one: same seed, same rings, same V2D."""
    from medrange.geometry import DiffractionGeometry, PolarGrid
    from medrange.kernels.polar import polar_operator

    node = random_result.power.metadata.Medrange.Ring
    geometry = DiffractionGeometry.from_json(node.geometry)
    operator = polar_operator(geometry, PolarGrid.band(node.k, node.width, node.n_phi))
    assert (node.k, node.width, node.n_phi, node.gain) == (pytest.approx(2.8), pytest.approx(0.6), 36, 1.0)
    assert node.ring_mean == pytest.approx(random_result.ring_mean.data.mean(), rel=1e-5)
    rows, cols = np.divmod(operator.pixels, 48)
    scan = RandomScan(np.stack([rows - 23.6, cols - 24.2], 1) * 0.16, (30, 32), (0.3, 0.3), 0.584)
    rings = null_rings(scan, operator, np.random.default_rng(0), mean=node.ring_mean)
    assert rings.mean() == pytest.approx(node.ring_mean, rel=0.1)


def test_single_maps_record_what_their_null_needs(make_scan):
    signal = make_scan((12, 13), dtype=np.uint16)
    signal.calibrate(convergence_angle=1.15)
    whole = signal.medium_range_order(k=3.2, width=0.64, orders=(2, 4))
    expected = whole.power.metadata.Medrange.Ring
    single = {
        "variance": signal.variance_map(k=3.2, width=0.64),
        "power": signal.angular_power_map(k=3.2, width=0.64, orders=(2, 4)),
    }
    for order_map in single.values():
        ring = order_map.metadata.Medrange.Ring
        assert (ring.k, ring.width, ring.n_phi) == pytest.approx((3.2, 0.64, 36))
        assert ring.ring_mean == pytest.approx(expected.ring_mean, rel=1e-5)
        assert ring.band_spectrum == pytest.approx(expected.band_spectrum, rel=1e-5)
        # All 156 patterns are in the sample; the record goes on beyond the band.
        near = ring.profile_k < 4.2
        assert ring.profile[near] == pytest.approx(expected.profile[: near.sum()], rel=1e-5)
        null = order_map.null(seed=0, n_realizations=2)
        assert null.parameters["spectrum"] == "profile"
        assert null.parameters["gain"] == 1
    # The records end at different k, which changes the object's ends, not its strength.
    reference = whole.power.null(seed=0, n_realizations=2)
    assert null.maps.mean() == pytest.approx(reference.maps.mean(), rel=0.05)
    assert np.corrcoef(null.maps.ravel(), reference.maps.ravel())[0, 1] > 0.9


def test_single_lazy_maps_compute_nothing_and_take_a_profile(make_scan):
    signal = make_scan((6, 7), dtype=np.uint16, lazy=True)
    signal.calibrate(convergence_angle=1.15)
    power = signal.angular_power_map(k=3.2, width=0.64, orders=(2, 4))
    assert not set(power.metadata.Medrange.Ring.as_dictionary()) & {"ring_mean", "profile", "band_spectrum"}
    with pytest.warns(UserWarning, match=r"no counting noise. Give profile=s\.radial_profile\(\)"):
        power.null(n_realizations=1)
    null = power.null(n_realizations=1, profile=signal.radial_profile())
    assert (null.parameters["spectrum"], null.parameters["gain"]) == ("profile", 1)


def test_a_center_near_the_edge_has_no_full_circle(make_scan):
    signal = make_scan((3, 4), center=(31.3, 32.4))
    signal.set_center((0.2, 32.4))
    ring = signal.variance_map(k=3.2, width=0.64).metadata.Medrange.Ring
    assert np.isfinite(ring.profile).any()
