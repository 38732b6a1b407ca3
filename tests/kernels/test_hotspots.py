"""Hotspots: thresholds, labels, measures and the volume fraction."""

import warnings

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import threshold_isodata, threshold_otsu
from skimage.measure import label, regionprops_table

from medrange.kernels.hotspots import (
    acceptance_ratio,
    label_hotspots,
    measure_hotspots,
    normalized_sum,
    overlap_fraction,
    threshold_value,
    volume_fraction,
    volume_fraction_error,
)

AUTOMATIC = ["isodata", "otsu", "quantile:0.9"]


@pytest.fixture
def speckle():
    """A positive map with bright spots, like an angular-power map."""
    rng = np.random.default_rng(3)
    return ndimage.gaussian_filter(rng.normal(size=(64, 48)), 2.0) ** 2


def disks(shape, centers, radius):
    """Binary disks."""
    rows, columns = np.indices(shape)
    return np.any([np.hypot(rows - y, columns - x) <= radius for y, x in centers], axis=0).astype(float)


class TestThreshold:
    def test_two_levels_are_parted_in_the_middle(self):
        image = np.array([[1.0, 1.0, 1.0, 9.0]])
        assert threshold_value(image, "isodata") == pytest.approx(5.0)
        assert threshold_value(image, "otsu") == pytest.approx(5.0)

    def test_isodata_is_the_mean_of_its_class_means(self, speckle):
        t = threshold_value(speckle, "isodata")
        assert t == pytest.approx((speckle[speckle <= t].mean() + speckle[speckle > t].mean()) / 2, rel=1e-12)

    def test_isodata_is_the_first_fixed_point_above_the_mean(self, speckle):
        t = speckle.mean()
        for _ in range(200):
            t = (speckle[speckle <= t].mean() + speckle[speckle > t].mean()) / 2
        assert threshold_value(speckle, "isodata") == pytest.approx(t, rel=1e-12)

    def test_otsu_is_the_best_of_all_splits(self):
        values = np.random.default_rng(0).gamma(1.5, size=80)
        cuts = np.sort(values)[:-1]
        variance = [
            (values <= c).mean() * (values > c).mean() * (values[values > c].mean() - values[values <= c].mean()) ** 2
            for c in cuts
        ]
        best = cuts[int(np.argmax(variance))]
        np.testing.assert_array_equal(values > threshold_value(values, "otsu"), values > best)

    @pytest.mark.parametrize(("method", "peer"), [("isodata", threshold_isodata), ("otsu", threshold_otsu)])
    def test_agrees_with_scikit_image_within_its_bins(self, speckle, method, peer):
        bin_width = np.ptp(speckle) / 256
        assert threshold_value(speckle, method) == pytest.approx(peer(speckle, nbins=256), abs=2 * bin_width)

    @pytest.mark.parametrize("method", AUTOMATIC)
    @pytest.mark.parametrize(("scale", "offset"), [(1e-9, 0.0), (3.7, -40.0), (1e6, 1e7)])
    def test_follows_scale_and_offset(self, speckle, method, scale, offset):
        expected = scale * threshold_value(speckle, method) + offset
        assert threshold_value(scale * speckle + offset, method) == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize("method", AUTOMATIC)
    def test_missing_values_are_left_out(self, speckle, method):
        holed = np.full((70, 60), np.nan)
        holed[:64, :48] = speckle
        holed[66, 50] = np.inf
        assert threshold_value(holed, method) == threshold_value(speckle, method)

    @pytest.mark.parametrize("method", AUTOMATIC)
    def test_constant_map_has_no_hotspots(self, method):
        image = np.full((5, 5), 0.1)
        assert label_hotspots(image, threshold_value(image, method)).max() == 0

    @pytest.mark.parametrize("method", AUTOMATIC)
    def test_map_without_values(self, method):
        image = np.full((5, 5), np.nan)
        assert np.isnan(threshold_value(image, method))
        assert label_hotspots(image, threshold_value(image, method)).max() == 0

    def test_quantile_and_number(self, speckle):
        assert threshold_value(speckle, "quantile:0.95") == pytest.approx(np.quantile(speckle, 0.95))
        assert threshold_value(speckle, 0.25) == 0.25

    @pytest.mark.parametrize("method", ["li", "quantile", "quantile:", "quantile:1.5", "quantile:nan", "otsu:3"])
    def test_unknown_method_is_named(self, method):
        with pytest.raises(ValueError, match=r"threshold is .*isodata.*otsu.*quantile"):
            threshold_value(np.eye(3), method)

    @pytest.mark.parametrize("value", [np.nan, np.inf, None, [1.0]])
    def test_bad_number(self, value):
        with pytest.raises(ValueError, match="threshold is"):
            threshold_value(np.eye(3), value)


class TestLabels:
    def test_corners_join(self):
        labels = label_hotspots(np.eye(4), 0.5)
        assert labels.dtype == np.int32
        assert labels.max() == 1

    def test_agrees_with_scikit_image(self, speckle):
        t = threshold_value(speckle)
        np.testing.assert_array_equal(label_hotspots(speckle, t), label(speckle > t, connectivity=2))

    def test_threshold_itself_is_outside(self):
        assert label_hotspots(np.array([[1.0, 2.0]]), 1.0).tolist() == [[0, 1]]

    def test_float32_map_is_not_compared_in_float32(self):
        image = np.array([[0.1]], dtype=np.float32)
        assert label_hotspots(image, 0.1).max() == 1  # float32(0.1) is above 0.1

    def test_missing_values_part_regions(self):
        assert label_hotspots(np.array([[5.0, np.nan, 5.0, np.inf]]), 1).tolist() == [[1, 0, 2, 0]]

    def test_small_regions_are_dropped_and_numbers_close_up(self):
        image = np.array([[9, 0, 9, 9, 0, 9, 9, 9]])
        assert label_hotspots(image, 1, min_pixels=2).tolist() == [[0, 0, 1, 1, 0, 2, 2, 2]]

    def test_errors(self):
        with pytest.raises(ValueError, match=r"shape \(3,\)"):
            label_hotspots(np.ones(3), 0)
        with pytest.raises(ValueError, match="min_pixels is 0"):
            label_hotspots(np.eye(3), 0, min_pixels=0)


class TestMeasure:
    def test_disks(self):
        centers, radius, pixel = [(20, 30), (60, 75)], 12, 0.1
        image = disks((90, 100), centers, radius)
        regions = measure_hotspots(label_hotspots(image, 0.5), image, pixel_size=(pixel, pixel))
        np.testing.assert_allclose(regions["y"], [2.0, 6.0])
        np.testing.assert_allclose(regions["x"], [3.0, 7.5])
        np.testing.assert_allclose(regions["diameter"], 2 * radius * pixel, rtol=0.02)
        np.testing.assert_allclose(regions["volume"], 4 / 3 * np.pi * (radius * pixel) ** 3, rtol=0.05)

    def test_agrees_with_scikit_image_with_non_square_pixels(self, speckle):
        labels = label_hotspots(speckle, threshold_value(speckle))
        regions = measure_hotspots(labels, speckle, pixel_size=(0.3, 0.7))
        names = ["label", "area", "centroid", "equivalent_diameter_area", "intensity_mean", "intensity_max"]
        peer = regionprops_table(labels, speckle, properties=names, spacing=(0.3, 0.7))
        for ours, theirs in zip(
            ["label", "area", "y", "x", "diameter", "mean", "maximum"],
            [names[0], names[1], "centroid-0", "centroid-1", *names[3:]],
            strict=True,
        ):
            np.testing.assert_allclose(regions[ours], peer[theirs], rtol=1e-12, atol=1e-12, err_msg=ours)

    def test_nothing_found(self):
        regions = measure_hotspots(np.zeros((4, 4), int), np.ones((4, 4)))
        assert all(values.size == 0 for values in regions.values())

    def test_input_unchanged(self, speckle):
        before = speckle.copy()
        labels = label_hotspots(speckle, threshold_value(speckle), min_pixels=3)
        marked = labels.copy()
        measure_hotspots(labels, speckle)
        np.testing.assert_array_equal(speckle, before)
        np.testing.assert_array_equal(labels, marked)

    def test_errors(self):
        with pytest.raises(ValueError, match="one shape"):
            measure_hotspots(np.zeros((2, 2), int), np.zeros((3, 2)))
        with pytest.raises(ValueError, match=r"pixel_size is \(1, 0\)"):
            measure_hotspots(np.zeros((2, 2), int), np.zeros((2, 2)), pixel_size=(1, 0))


class TestVolumeFraction:
    def test_the_arithmetic_of_im_2018(self):
        fraction = volume_fraction([2 * 0.74] * 87, area=40.6 * 40.6, thickness=20, acceptance_angle=10)
        assert fraction == pytest.approx(0.076, abs=5e-4)

    def test_acceptance_of_im_2018(self):
        assert acceptance_ratio(10) == pytest.approx(0.059, abs=5e-4)
        assert acceptance_ratio(90) == 1.0

    def test_no_regions(self):
        assert volume_fraction([], area=1, thickness=1) == 0.0
        assert np.isnan(volume_fraction_error([], area=1, thickness=1))

    def test_units_cancel(self):
        d = np.array([1.0, 2.0, 1.5])
        nm = volume_fraction(d, area=30.0, thickness=20)
        assert volume_fraction(d * 10, area=3000.0, thickness=200) == pytest.approx(nm, rel=1e-12)

    def test_error_is_the_limit_of_the_poisson_bootstrap(self):
        rng = np.random.default_rng(5)
        d = rng.gamma(9, 0.15, size=60)
        draws = [volume_fraction(np.repeat(d, rng.poisson(1.0, d.size)), area=1600, thickness=20) for _ in range(4000)]
        # The standard deviation of 4000 draws is known to about 1 %.
        assert volume_fraction_error(d, area=1600, thickness=20) == pytest.approx(np.std(draws), rel=0.05)

    def test_error_is_the_scatter_of_random_scans(self):
        rng = np.random.default_rng(6)
        fractions = [
            volume_fraction(rng.gamma(9, 0.15, size=rng.poisson(80)), area=1600, thickness=20) for _ in range(2000)
        ]
        d = rng.gamma(9, 0.15, size=8000)
        expected = volume_fraction_error(d, area=1600, thickness=20) * np.sqrt(80 / d.size)
        assert np.std(fractions) == pytest.approx(expected, rel=0.08)

    @pytest.mark.parametrize("angle", [0, 180, -1, np.nan])
    def test_bad_angle(self, angle):
        with pytest.raises(ValueError, match="acceptance_angle is"):
            acceptance_ratio(angle)

    @pytest.mark.parametrize("name", ["area", "thickness"])
    def test_bad_volume(self, name):
        sample = {"area": 1.0, "thickness": 1.0, name: 0.0}
        with pytest.raises(ValueError, match=rf"{name} is 0.0"):
            volume_fraction([1.0], **sample)


class TestOverlap:
    def test_known(self):
        a = np.array([[1, 1, 2, 0]])
        b = np.array([[0, 5, 5, 5]])
        assert overlap_fraction(a, b) == pytest.approx(2 / 3)
        assert overlap_fraction(a, a) == 1.0
        assert overlap_fraction(a, 0 * a) == 0.0
        assert np.isnan(overlap_fraction(0 * a, a))

    def test_shapes(self):
        with pytest.raises(ValueError, match=r"\(1, 2\) and \(2, 1\)"):
            overlap_fraction(np.ones((1, 2)), np.ones((2, 1)))


class TestNormalizedSum:
    def test_each_map_counts_alike(self, speckle):
        flat = np.ones_like(speckle)
        maps = np.stack([1e-5 * speckle, 70 * flat])
        np.testing.assert_allclose(normalized_sum(maps), (speckle / speckle.mean() + 1) / 2, rtol=1e-12)

    def test_missing_values(self, speckle):
        holed = speckle.copy()
        holed[3, 4] = np.nan
        result = normalized_sum(np.stack([holed, speckle]))
        expected = (holed / np.nanmean(holed) + speckle / speckle.mean()) / 2
        np.testing.assert_allclose(result, expected, rtol=1e-12)
        assert np.isnan(result[3, 4])

    def test_map_without_a_positive_mean_takes_no_part(self, speckle):
        maps = np.stack([speckle, -speckle, np.full_like(speckle, np.nan)])
        with pytest.warns(UserWarning, match="2 of 3 maps"):
            result = normalized_sum(maps)
        np.testing.assert_allclose(result, speckle / speckle.mean(), rtol=1e-12)

    def test_no_map_left(self):
        with pytest.warns(UserWarning, match="1 of 1 maps"):
            assert np.isnan(normalized_sum(np.zeros((1, 2, 2)))).all()

    @pytest.mark.parametrize(("dtype", "expected"), [("f4", "f4"), ("f8", "f8"), ("u2", "f4"), ("i4", "f8")])
    def test_type(self, dtype, expected):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert normalized_sum(np.ones((2, 3, 3), dtype)).dtype == expected
