"""The random object against speckle theory: statistics, widths, symmetry, and an independent sum over waves."""

import numpy as np
import pytest
from scipy.special import j1

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels import null
from medrange.kernels.noise import noise_factors
from medrange.kernels.null import (
    RandomScan,
    fit_contrast,
    friedel_breaking,
    match_medians,
    mode_weights,
    null_rings,
    object_spectrum,
    odd_even_ratio,
    random_object,
    rings_to_statistics,
    speckle,
)
from medrange.kernels.polar import polar_operator
from medrange.kernels.rings import FIRST_POWER, RING_MEAN, VARIANCE

APERTURE = 0.58
GEOMETRY = DiffractionGeometry((64, 64), (31.3, 32.4), 0.16, "1/nm")
BAND = PolarGrid.band(3.2, 0.64, 36)


def ring_scan(shape=(20, 24), step=(0.32, 0.32), geometry=GEOMETRY, **keywords):
    operator = polar_operator(geometry, BAND)
    rows, cols = np.divmod(operator.pixels, geometry.shape[1])
    k = np.stack([rows - geometry.center[0], cols - geometry.center[1]], axis=1) * geometry.k_step
    return RandomScan(k, shape, step, APERTURE, **keywords), operator


def draws(k, count=60, **keywords):
    """Intensities (objects, pixels, y, x) over their expectation; pixels of k in 1/nm."""
    scan = RandomScan(np.array(k, dtype=float), (24, 24), (0.3, 0.3), APERTURE)
    rng = np.random.default_rng(0)
    patterns = [speckle(scan, random_object(scan, rng, **keywords)) for _ in range(count)]
    return np.array(patterns) / scan.expected[:, None, None]


def correlation(a, b):
    return ((a - 1) * (b - 1)).mean()


def test_coherent_intensity_is_exponentially_distributed():
    values = draws([(4.0, 0.3), (0.2, -4.1), (-2.9, 2.8)]).ravel()
    assert values.mean() == pytest.approx(1, abs=0.03)
    assert values.std() == pytest.approx(1, abs=0.04)
    for level in (0.5, 1, 2, 4):
        assert (values > level).mean() == pytest.approx(np.exp(-level), rel=0.1)


def test_speckle_in_k_is_as_wide_as_the_aperture():
    """Pixels dk apart correlate as the squared overlap of two disks dk apart."""
    distance = np.array([0.0, 0.3, 0.6, 0.9, 1.4])
    patterns = draws([(0.07, 4.0 + d) for d in distance], count=100)
    x = np.clip(distance / 2 / APERTURE, 0, 1)
    expected = (2 / np.pi * (np.arccos(x) - x * np.sqrt(1 - x**2))) ** 2
    found = [correlation(patterns[:, 0], patterns[:, i]) for i in range(distance.size)]
    assert found == pytest.approx(expected, abs=0.06)


def test_speckle_over_the_scan_is_as_wide_as_the_probe():
    """Positions r apart correlate as the squared Airy amplitude of the probe."""
    patterns = draws([(0.07, 4.0), (4.0, 0.2)], count=100)
    for lag in (1, 2, 3, 4):
        z = 2 * np.pi * APERTURE * 0.3 * lag
        expected = (2 * j1(z) / z) ** 2
        assert correlation(patterns[..., lag:], patterns[..., :-lag]) == pytest.approx(expected, abs=0.06)
        assert correlation(patterns[..., lag:, :], patterns[..., :-lag, :]) == pytest.approx(expected, abs=0.06)


def test_a_real_object_has_friedel_symmetry():
    patterns = draws([(3.07, 2.21), (-3.07, -2.21)], count=3)
    np.testing.assert_allclose(patterns[:, 0], patterns[:, 1], rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("beta", [0.2, 0.5, 1.0])
def test_beta_takes_the_symmetry_away(beta):
    patterns = draws([(3.07, 2.21), (-3.07, -2.21)], count=150, beta=beta)
    assert correlation(patterns[:, 0], patterns[:, 1]) == pytest.approx((1 - beta) ** 2, abs=0.07)
    assert patterns.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("step", [(0.32, 0.4), (1.3, 1.1)], ids=["fine", "coarser than the aperture"])
def test_equals_a_direct_sum_of_waves(step):
    scan = RandomScan(np.array([[2.9, 0.33], [-1.7, 3.1]]), (5, 6), step, APERTURE)
    phi = random_object(scan, np.random.default_rng(1), beta=0.3)
    y, x = (np.arange(-h, h + 1) * d for h, d in zip(scan.half, scan.lattice, strict=True))
    for pixel, pattern in zip(scan.k, speckle(scan, phi), strict=True):
        distance = np.hypot(pixel[0] - y[:, None], pixel[1] - x)
        waves = phi * np.clip((APERTURE - distance) / scan.lattice.mean() + 0.5, 0, 1)
        for row, col in [(0, 0), (4, 5), (2, 3)]:
            phase = np.exp(-2j * np.pi * (y[:, None] * row * step[0] + x * col * step[1]))
            assert pattern[row, col] == pytest.approx(abs((waves * phase).sum()) ** 2, rel=1e-4, abs=1e-3)


def test_the_object_does_not_repeat_within_the_scan():
    scan = RandomScan(np.array([[4.0, 0.0]]), (24, 24), (0.3, 0.3), APERTURE)
    assert (np.array(scan.period) * 0.3 >= 24 * 0.3 + 4 / APERTURE).all()


def test_odd_orders_vanish_for_a_real_object():
    """The center lies on a pixel, so that every pixel has its opposite."""
    scan, operator = ring_scan(geometry=DiffractionGeometry((65, 65), (32, 32), 0.16, "1/nm"))
    power = rings_to_statistics(null_rings(scan, operator, np.random.default_rng(0)))[..., FIRST_POWER:]
    mean = power.mean(axis=(0, 1))
    assert (mean[0:11:2] < 1e-6 * mean[1:12:2]).all()
    assert (np.diff(mean[1:12:2]) < 0.01).all()
    assert mean.sum() == pytest.approx(
        rings_to_statistics(null_rings(scan, operator, np.random.default_rng(0)))[..., VARIANCE].mean()
    )


@pytest.mark.parametrize("beta", [0.05, 0.3])
def test_beta_is_found_again_in_the_orders(beta):
    scan, operator = ring_scan()
    rng = np.random.default_rng(2)
    rings = np.stack([null_rings(scan, operator, rng, beta=beta) for _ in range(30)])
    mean = rings_to_statistics(rings)[..., FIRST_POWER:].mean(axis=(0, 1, 2))
    assert friedel_breaking(odd_even_ratio(mean, np.arange(1, 19))) == pytest.approx(beta, rel=0.25)


def test_same_seed_same_rings():
    scan, operator = ring_scan()
    first, again, other = (null_rings(scan, operator, np.random.default_rng(s), mean=3, gain=1) for s in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_blocks_change_nothing(monkeypatch):
    scan, operator = ring_scan()
    whole = null_rings(scan, operator, np.random.default_rng(0), contrast=0.8, beta=0.1)
    noisy = null_rings(scan, operator, np.random.default_rng(0), mean=2, gain=1)
    monkeypatch.setattr(null, "_BLOCK_VALUES", 5000)
    assert len(scan.blocks()) > 10
    again, operator = ring_scan()
    assert null_rings(again, operator, np.random.default_rng(0), contrast=0.8, beta=0.1) == pytest.approx(
        whole, rel=1e-5
    )
    assert null_rings(again, operator, np.random.default_rng(0), mean=2, gain=1) == pytest.approx(noisy, rel=1e-9)


def test_rings_have_the_mean_asked_for():
    scan, operator = ring_scan()
    rng = np.random.default_rng(3)
    rings = np.stack([null_rings(scan, operator, rng, mean=7.0, contrast=0.5) for _ in range(20)])
    assert rings.mean() == pytest.approx(7, rel=0.03)


def test_masked_bins_have_no_value():
    mask = np.zeros((64, 64), bool)
    mask[24:40, :30] = True
    scan, operator = ring_scan(geometry=DiffractionGeometry((64, 64), (31.3, 32.4), 0.16, "1/nm", mask=mask))
    rings = null_rings(scan, operator, np.random.default_rng(0))
    assert (np.isnan(rings).all(axis=(0, 1)) == ~operator.is_open[0]).all()
    assert np.isnan(rings).any()
    assert np.isfinite(rings_to_statistics(rings)).all()


@pytest.mark.parametrize("gain", [1.0, 5.0])
def test_counting_noise_is_what_the_floor_says(gain):
    scan, operator = ring_scan()
    keywords = {"mean": 20.0 * gain, "contrast": 0.02}
    rings = null_rings(scan, operator, np.random.default_rng(0), **keywords, gain=gain)
    without = null_rings(scan, operator, np.random.default_rng(0), **keywords)
    added = (rings_to_statistics(rings) - rings_to_statistics(without)).mean(axis=(0, 1))
    factors = noise_factors(GEOMETRY, BAND)
    assert added[VARIANCE] == pytest.approx(factors.variance[0] / 20, rel=0.1)
    assert added[FIRST_POWER : FIRST_POWER + 6] == pytest.approx(factors.power[0, :6] / 20, rel=0.2)
    assert added[RING_MEAN] == pytest.approx(0, abs=0.02 * gain)


@pytest.mark.parametrize("contrast", [1.0, 0.9, 0.7071, 0.6, 0.45, 0.41, 0.3, 0.05])
def test_weights_give_the_contrast(contrast):
    weights = mode_weights(contrast)
    assert np.sqrt((weights**2).sum()) == pytest.approx(contrast, rel=1e-6)
    assert weights.sum() == pytest.approx(1) if contrast > 0.41 else weights.sum() <= 1 + 1e-9
    assert (weights >= 0).all()
    assert len(weights) <= 6


@pytest.mark.parametrize("contrast", [0.75, 0.2])
def test_a_sum_of_patterns_has_the_contrast(contrast):
    scan = RandomScan(np.array([[4.0, 0.1], [0.1, 3.9]]), (30, 30), (0.6, 0.6), APERTURE)
    rng, weights = np.random.default_rng(5), mode_weights(contrast)
    patterns = [sum(w * speckle(scan, random_object(scan, rng)) for w in weights) for _ in range(10)]
    relative = np.array(patterns) / scan.expected[:, None, None] + 1 - weights.sum()
    assert relative.std() == pytest.approx(contrast, rel=0.1)


def test_spectrum_gives_the_mean_pattern_back():
    """A ring narrower than the aperture, on a background: blurred by the aperture it is the profile again."""
    k = np.arange(100) * 0.1 + 0.05
    source = np.exp(-(((k - 4) / 0.3) ** 2)) + 0.05
    along = RandomScan(np.stack([k, np.zeros_like(k)], 1), (20, 20), (0.3, 0.3), APERTURE, (k, source))
    profile = along.expected
    spectrum = object_spectrum(k, profile, APERTURE)
    again = RandomScan(along.k, along.shape, along.step, APERTURE, spectrum).expected
    ring = (k > 3) & (k < 5)
    assert again[ring] / again[ring].sum() == pytest.approx(profile[ring] / profile[ring].sum(), rel=0.05)
    # Sharper than what was measured.
    at, values = spectrum
    assert (values > values.max() / 2).sum() < 0.8 * (profile[ring] > profile[ring].max() / 2).sum()
    assert at[values.argmax()] == pytest.approx(4, abs=0.1)


def test_a_sharp_ring_has_long_speckle_along_its_radius():
    rng, at = np.random.default_rng(0), np.linspace(0, 8, 200)
    found = []
    for spectrum in (None, (at, np.exp(-(((at - 4) / 0.15) ** 2)))):
        scan = RandomScan(np.array([[4.0, 0.1], [-4.0, 0.4]]), (24, 24), (0.3, 0.3), APERTURE, spectrum)
        patterns = np.array([speckle(scan, random_object(scan, rng)) for _ in range(40)]) / scan.expected[:, None, None]
        found.append(correlation(patterns[..., 4:, :], patterns[..., :-4, :]))
    assert found[0] == pytest.approx(0, abs=0.06)
    assert found[1] > 0.3


@pytest.mark.parametrize("slope", [0.1, 0.7, 4.0, 50.0])
@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_contrast_is_found(slope, floor):
    found = fit_contrast(lambda contrast: slope * contrast**2 + floor)
    if slope + floor <= 1:
        assert found**2 == pytest.approx(1 / (slope + floor))
    else:
        assert slope * found**2 + floor == pytest.approx(1, rel=0.02)


def test_contrast_has_a_lower_end():
    assert fit_contrast(lambda contrast: 2.0 + contrast) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("ratio", "beta"), [(0.0, 0.0), (1.0, 1.0), (-0.1, 0.0), (3.0, 1.0), ((1 - 0.81) / (1 + 0.81), 0.1)]
)
def test_beta_from_the_ratio(ratio, beta):
    assert friedel_breaking(ratio) == pytest.approx(beta)


class TestMatching:
    KEPT = np.ones((40, 45), bool)

    def maps(self):
        return np.random.default_rng(0).exponential([[[[1.0]], [[2.0]], [[0.5]]]], (4, 3, 40, 45)).astype(np.float32)

    def test_each_map_has_the_median_of_the_data(self):
        maps = self.maps()
        before, target = maps.copy(), np.array([0.3, 5.0, 1.0])
        matched, strength = match_medians(maps, target, self.KEPT, groups=np.arange(3))
        assert np.median(matched, axis=(2, 3)) == pytest.approx(np.tile(target, (4, 1)), rel=1e-5)
        np.testing.assert_allclose(matched, maps * strength[:, :, None, None], rtol=1e-5)
        assert matched.dtype == np.float32
        assert (maps == before).all()

    def test_a_group_shares_the_median_of_its_factors(self):
        maps, target = self.maps(), np.array([0.3, 5.0, 1.0])
        matched, strength = match_medians(maps, target, self.KEPT, groups=np.array([0, 0, 1]))
        shared = np.sqrt(strength[:, :1] * strength[:, 1:2])
        np.testing.assert_allclose(matched[:, :2], maps[:, :2] * shared[..., None, None], rtol=1e-5)
        np.testing.assert_allclose(matched[:, 2], maps[:, 2] * strength[:, 2, None, None], rtol=1e-5)

    def test_subtracted_noise_is_put_back_for_the_scaling(self):
        """Maps of nothing but noise: their median is negative, and no scale is found in what is left."""
        maps = self.maps() - np.array([1.0, 2.0, 0.5], np.float32)[:, None, None]
        target = np.median(maps[0], axis=(1, 2))
        floor = np.array([1.0, 2.0, 0.5])
        matched, strength = match_medians(maps, target, self.KEPT, floor=floor, groups=np.arange(3))
        assert strength == pytest.approx(1, abs=0.2)
        assert strength[0] == pytest.approx(1, rel=1e-5)
        assert np.median(matched, axis=(2, 3)) == pytest.approx(np.tile(target, (4, 1)), abs=1e-5)

    def test_only_kept_positions_count_and_dark_maps_stay(self):
        maps, kept = self.maps(), self.KEPT.copy()
        kept[:6] = False
        maps[:, :, :6] *= 100
        matched, _ = match_medians(maps, np.ones(3), kept, groups=np.arange(3))
        assert np.median(matched[:, :, 6:], axis=(2, 3)) == pytest.approx(1, rel=1e-5)
        same, strength = match_medians(maps, np.zeros(3), kept, groups=np.arange(3))
        assert (same == maps).all()
        assert (strength == 1).all()

    def test_what_strong_positions_do_to_the_median(self):
        """The figures of the docstring."""
        for share, factor in ((0.05, 1.08), (0.1, 1.17)):
            values = np.random.default_rng(1).exponential(size=400_000)
            clean = np.median(values)
            values[: int(share * values.size)] = 50.0
            assert np.median(values) / clean == pytest.approx(factor, abs=0.01)


def test_ratio_needs_neighbors():
    assert np.isnan(odd_even_ratio([1.0, 2.0], [2, 4]))
    assert np.isnan(odd_even_ratio([0.1, 2.0], [1, 2]))
    assert odd_even_ratio([3.0, 0.4, 1.0, 9.0, 7.0], [2, 3, 4, 13, 14]) == pytest.approx(0.2)


def test_what_cannot_be_is_refused():
    scan, _ = ring_scan()
    with pytest.raises(ValueError, match=r"beta is 1\.5"):
        random_object(scan, np.random.default_rng(0), beta=1.5)
    with pytest.raises(ValueError, match=r"contrast is 1\.2"):
        mode_weights(1.2)
    with pytest.raises(ValueError, match="at least three are needed"):
        object_spectrum(np.arange(5) * 0.2, np.ones(5), APERTURE)
