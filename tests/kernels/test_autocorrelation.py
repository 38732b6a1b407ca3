"""Radial autocorrelation: analytic maps, a direct sum over pairs, and invariances."""

import numpy as np
import pytest
from scipy import ndimage

from medrange.kernels.autocorrelation import correlation_length, first_neighbor_peak, radial_autocorrelation


def direct(image, pixel_size, max_distance):
    """Pair sum of the definition, in O(N^2)."""
    dy, dx = pixel_size
    step = min(dy, dx)
    rows, columns = np.nonzero(np.isfinite(image))
    z = image[rows, columns] - np.nanmean(image)
    distance = np.hypot((rows[:, None] - rows) * dy, (columns[:, None] - columns) * dx)
    bins = np.floor(distance / step + 0.5).astype(int)
    product = z[:, None] * z
    used = range(round(max_distance / step) + 1)
    sigma = np.array([product[bins == b].mean() if (bins == b).any() else np.nan for b in used])
    return sigma / sigma[0]


def test_white_noise_is_a_delta():
    _, sigma = radial_autocorrelation(np.random.default_rng(0).normal(size=(128, 128)))
    assert sigma[0] == pytest.approx(1.0, abs=1e-12)
    assert np.abs(sigma[1:]).max() < 0.01  # each bin averages at least 4 * 128**2 / 2 pairs: 0.0055


def test_gaussian_noise_has_a_gaussian_autocorrelation():
    width, pixel = 3.0, 0.2
    noise = np.random.default_rng(1).normal(size=(400, 400))
    smooth = ndimage.gaussian_filter(noise, width, mode="wrap")
    r, sigma = radial_autocorrelation(smooth, pixel_size=(pixel, pixel), max_distance=3.0)
    np.testing.assert_allclose(sigma, np.exp(-(r**2) / (4 * (width * pixel) ** 2)), atol=0.03)
    assert correlation_length(r, sigma) == pytest.approx(2 * width * pixel, rel=0.03)


def test_stripes_along_one_axis():
    period = 16
    image = np.cos(2 * np.pi * np.arange(256) / period)[np.newaxis]
    r, sigma = radial_autocorrelation(image, max_distance=60)
    np.testing.assert_allclose(r, np.arange(61))
    np.testing.assert_allclose(sigma, np.cos(2 * np.pi * r / period), atol=0.02)
    assert first_neighbor_peak(r, sigma) == pytest.approx(period, abs=0.1)


def test_first_neighbor_of_a_lattice_is_its_spacing():
    spacing, pixel = 15, 0.32
    image = np.zeros((150, 150))
    image[7::spacing, 7::spacing] = 1
    image = ndimage.gaussian_filter(image, 1.5, mode="wrap")
    r, sigma = radial_autocorrelation(image, pixel_size=(pixel, pixel))
    assert first_neighbor_peak(r, sigma) == pytest.approx(spacing * pixel, rel=0.03)


@pytest.mark.parametrize("pixel_size", [(1.0, 1.0), (0.32, 0.32), (0.5, 0.2), (0.3, 1.0)])
@pytest.mark.parametrize("holes", [False, True])
def test_equals_the_sum_over_pairs(pixel_size, holes):
    rng = np.random.default_rng(2)
    image = ndimage.gaussian_filter(rng.normal(size=(17, 24)), 1.0) + 5
    if holes:
        image[rng.random(image.shape) < 0.3] = np.nan
        image[:, 10:14] = np.nan
        image[0, 0] = np.inf
        image[0, 0] = np.nan
    r, sigma = radial_autocorrelation(image, pixel_size=pixel_size, max_distance=3.0)
    np.testing.assert_allclose(sigma, direct(image, pixel_size, 3.0)[: r.size], atol=1e-10)
    assert r[0] == 0.0
    assert (np.diff(r) > 0).all()
    assert r[-1] <= 3.0 + min(pixel_size)


def test_infinite_values_are_missing_values():
    image = np.random.default_rng(4).normal(size=(12, 12))
    missing, infinite = image.copy(), image.copy()
    missing[2, 3], infinite[2, 3] = np.nan, -np.inf
    np.testing.assert_array_equal(radial_autocorrelation(missing)[1], radial_autocorrelation(infinite)[1])


@pytest.mark.parametrize(("scale", "offset"), [(1e-12, 0.0), (250.0, 1e4), (-3.0, 2.0)])
def test_scale_and_offset_change_nothing(scale, offset):
    image = np.random.default_rng(5).normal(size=(20, 30))
    expected = radial_autocorrelation(image)[1]
    np.testing.assert_allclose(radial_autocorrelation(scale * image + offset)[1], expected, atol=1e-9)


def test_turned_and_mirrored_maps_are_alike():
    image = np.random.default_rng(6).normal(size=(20, 31))
    expected = radial_autocorrelation(image, pixel_size=(0.3, 0.4))
    for other in (image[::-1], image[:, ::-1]):
        np.testing.assert_allclose(radial_autocorrelation(other, pixel_size=(0.3, 0.4)), expected, atol=1e-12)
    np.testing.assert_allclose(radial_autocorrelation(image.T, pixel_size=(0.4, 0.3)), expected, atol=1e-12)


def test_distances_do_not_depend_on_the_mask():
    image = np.random.default_rng(7).normal(size=(16, 16))
    half = image.copy()
    half[:, 4:] = np.nan
    np.testing.assert_array_equal(radial_autocorrelation(image)[0], radial_autocorrelation(half)[0])


def test_default_range_is_half_the_shorter_side():
    r, _ = radial_autocorrelation(np.random.default_rng(8).normal(size=(40, 90)), pixel_size=(0.5, 0.5))
    assert r[-1] == pytest.approx(10.0, abs=0.25)


def test_distance_without_a_pair_is_nan():
    image = np.full((1, 10), np.nan)
    image[0, [0, 1, 9]] = [1.0, 2.0, 4.0]
    _, sigma = radial_autocorrelation(image, max_distance=9)
    assert np.isfinite(sigma).nonzero()[0].tolist() == [0, 1, 8, 9]


@pytest.mark.parametrize("image", [np.full((6, 6), 0.1), np.full((6, 6), np.nan)])
def test_map_without_contrast_is_nan(image):
    r, sigma = radial_autocorrelation(image)
    assert np.isnan(sigma).all()
    assert np.isnan(correlation_length(r, sigma))
    assert np.isnan(first_neighbor_peak(r, sigma))


def test_input_unchanged():
    image = np.random.default_rng(9).normal(size=(8, 8))
    before = image.copy()
    radial_autocorrelation(image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pixel_size": (1.0, -1.0)}, "pixel_size is"),
        ({"max_distance": 0.0}, "max_distance is 0.0"),
        ({"image": np.ones(4)}, r"shape \(4,\)"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        radial_autocorrelation(**{"image": np.eye(4), **arguments})


def test_correlation_length_between_points():
    e = np.exp(-1)
    assert correlation_length([0, 1, 2], [1, e + 0.1, e - 0.3]) == pytest.approx(1.25)


def test_correlation_length_never_reached():
    assert np.isnan(correlation_length([0, 1, 2], [1, 0.9, 0.5]))


def test_missing_bins_are_passed_over():
    e = np.exp(-1)
    assert correlation_length([0, 1, 2], [1, np.nan, 2 * e - 1]) == pytest.approx(1.0)


def test_first_neighbor_of_a_parabola():
    r = np.arange(9.0)
    sigma = np.r_[1.0, 0.2, -0.3, *(0.5 - 0.1 * (r[3:] - 5.3) ** 2)]
    assert first_neighbor_peak(r, sigma) == pytest.approx(5.3)


@pytest.mark.parametrize("sigma", [[1, 0.5, 0.2, 0.1], [1, 0.2, 0.3, 0.4]])
def test_no_first_neighbor(sigma):
    assert np.isnan(first_neighbor_peak(np.arange(4.0), sigma))


def test_unequal_lengths():
    with pytest.raises(ValueError, match=r"\(3,\) and sigma \(2,\)"):
        correlation_length(np.zeros(3), np.zeros(2))
