import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels import angular
from medrange.kernels.rings import FIRST_POWER, RADIAL_MEAN, RING_MEAN, VARIANCE, polar_means, ring_statistics

GEOMETRY = DiffractionGeometry((48, 48), (23.3, 24.6), 0.1, "1/nm")
BAND = PolarGrid.band(1.5, 0.3, 36)


def stop_mask():
    """A beam stop from the center to the left edge, and some dead pixels."""
    mask = np.zeros((48, 48), bool)
    mask[20:27, :25] = True
    mask[np.random.default_rng(3).integers(0, 48, 20), np.random.default_rng(4).integers(0, 48, 20)] = True
    return mask


def masked(mask):
    return DiffractionGeometry(GEOMETRY.shape, GEOMETRY.center, GEOMETRY.k_step, "1/nm", mask=mask)


def direct_statistics(ring):
    """The formulas of conventions written as loops over bins: mean, V2D, all P_n, all C(dphi)."""
    n = len(ring)
    open_bins = [b for b in range(n) if np.isfinite(ring[b])]
    mean = sum(ring[b] for b in open_bins) / len(open_bins)
    variance = sum((ring[b] - mean) ** 2 for b in open_bins) / len(open_bins) / mean**2
    correlation = []
    for lag in range(n):
        pairs = [(ring[b] - mean) * (ring[(b + lag) % n] - mean) for b in open_bins if np.isfinite(ring[(b + lag) % n])]
        correlation.append(np.mean(pairs) / mean**2 if pairs else np.nan)
    powers = []
    for order in range(1, n // 2 + 1):
        counted = 1 if 2 * order == n else 2
        terms = [c * np.cos(2 * np.pi * order * lag / n) for lag, c in enumerate(correlation) if np.isfinite(c)]
        powers.append(counted * sum(terms) / n)
    if len(open_bins) == n:
        amplitude = [
            sum(y * np.exp(-2j * np.pi * m * (b + 0.5) / n) for b, y in enumerate(ring)) / n for m in range(n // 2 + 1)
        ]
        direct = [(1 if 2 * m == n else 2) * abs(amplitude[m] / amplitude[0]) ** 2 for m in range(1, n // 2 + 1)]
        assert powers == pytest.approx(direct, rel=1e-8, abs=1e-14)
    return mean, variance, powers, correlation


@pytest.mark.parametrize("n_phi", [36, 37, 3, 8])
@pytest.mark.parametrize("geometry", [GEOMETRY, masked(stop_mask())], ids=["open", "masked"])
@pytest.mark.parametrize("n_frames", [1, 16, 21])
def test_equals_direct_formulas(geometry, n_phi, n_frames):
    frames = np.random.default_rng(0).gamma(4, 25, (n_frames, 48, 48))
    grid = PolarGrid(0.6, 2.1, 4, n_phi)
    rings = polar_means(frames, geometry, grid)
    statistics = ring_statistics(frames, geometry, grid)
    correlations = angular.angular_correlation(rings)
    for index in np.ndindex(n_frames, 4):
        mean, variance, powers, correlation = direct_statistics(rings[index])
        assert statistics[(*index, RING_MEAN)] == pytest.approx(mean, rel=1e-10)
        assert statistics[(*index, VARIANCE)] == pytest.approx(variance, rel=1e-9)
        assert statistics[index][FIRST_POWER:] == pytest.approx(powers, rel=1e-8, abs=1e-14)
        assert correlations[index] == pytest.approx(correlation, rel=1e-9, abs=1e-14, nan_ok=True)


@pytest.mark.parametrize("n_phi", [36, 37])
def test_variance_is_the_sum_of_powers_and_the_correlation_at_zero_lag(n_phi):
    frames = np.random.default_rng(1).gamma(4, 25, (5, 48, 48))
    grid = PolarGrid.band(1.5, 0.3, n_phi)
    statistics = ring_statistics(frames, GEOMETRY, grid)[:, 0]
    assert statistics[:, FIRST_POWER:].sum(axis=1) == pytest.approx(statistics[:, VARIANCE], rel=1e-10)
    correlation = angular.angular_correlation(polar_means(frames, GEOMETRY, grid))[:, 0, 0]
    assert correlation == pytest.approx(statistics[:, VARIANCE], rel=1e-10)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, ">u2", ">f4"])
def test_single_precision_types_agree_with_double(dtype):
    counts = np.random.default_rng(2).poisson(60, (19, 48, 48)).clip(0, 255)
    exact = ring_statistics(counts.astype(np.float64), GEOMETRY, BAND)
    result = ring_statistics(counts.astype(dtype), GEOMETRY, BAND)
    assert result.dtype == np.float32
    assert result == pytest.approx(exact, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64, np.float64, ">u4", ">f8"])
def test_wide_types_are_exact(dtype):
    counts = np.random.default_rng(2).poisson(1e6, (17, 48, 48))
    exact = ring_statistics(counts.astype(np.float64), GEOMETRY, BAND)
    result = ring_statistics(counts.astype(dtype), GEOMETRY, BAND)
    assert result.dtype == np.float64
    assert result == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_at_full_scale_do_not_overflow(dtype):
    full = np.full((16, 48, 48), np.iinfo(dtype).max, dtype)
    statistics = ring_statistics(full, GEOMETRY, BAND)
    assert statistics[..., RADIAL_MEAN] == pytest.approx(np.iinfo(dtype).max, rel=1e-6)
    assert statistics[..., VARIANCE].max() < 1e-12


def test_a_uniform_frame_has_no_power_for_any_center():
    rng = np.random.default_rng(5)
    for center in rng.uniform(22, 26, (10, 2)):
        geometry = DiffractionGeometry((48, 48), tuple(center), 0.1, "1/nm")
        statistics = ring_statistics(np.full((1, 48, 48), 7, np.uint16), geometry, PolarGrid(0.3, 2.0, 8, 36))
        assert statistics[..., FIRST_POWER:].max() < 1e-7


def test_an_empty_mask_gives_the_same_bits_as_none():
    frames = np.random.default_rng(6).poisson(9, (4, 48, 48)).astype(np.float32)
    empty = ring_statistics(frames, masked(np.zeros((48, 48), bool)), BAND)
    assert empty.tobytes() == ring_statistics(frames, GEOMETRY, BAND).tobytes()


def test_masked_pixels_may_hold_anything():
    mask = stop_mask()
    frames = np.random.default_rng(7).gamma(4, 25, (3, 48, 48))
    spoiled = np.where(mask, np.nan, frames)
    assert ring_statistics(spoiled, masked(mask), BAND) == pytest.approx(ring_statistics(frames, masked(mask), BAND))


def test_rings_behind_a_full_mask_and_dark_rings_are_nan():
    mask = GEOMETRY.k_of_pixels() < 0.8
    grid = PolarGrid(0.2, 1.6, 2, 12)
    statistics = ring_statistics(np.zeros((1, 48, 48)), masked(mask), PolarGrid(0.0, 0.6, 1, 12))
    assert np.isnan(statistics).all()
    statistics = ring_statistics(np.zeros((1, 48, 48)), GEOMETRY, grid)
    assert np.isnan(statistics[..., VARIANCE:]).all()
    assert (statistics[..., RING_MEAN] == 0).all()


def test_input_is_never_written_and_may_be_read_only():
    frames = np.random.default_rng(8).poisson(9, (18, 48, 48)).astype(np.uint16)
    before = frames.copy()
    frames.flags.writeable = False
    ring_statistics(frames, masked(stop_mask()), BAND)
    polar_means(frames, GEOMETRY, BAND)
    assert (frames == before).all()


def test_views_with_gaps_between_frames_need_no_copy_and_agree():
    record = np.random.default_rng(9).poisson(9, (20, 50, 48)).astype(np.float32)
    frames = record[:, :48]
    assert not frames.flags.c_contiguous
    assert (ring_statistics(frames, GEOMETRY, BAND) == ring_statistics(frames.copy(), GEOMETRY, BAND)).all()
    turned = record[:, :48].swapaxes(1, 2)
    expected = ring_statistics(np.ascontiguousarray(turned), GEOMETRY, BAND)
    assert (ring_statistics(turned, GEOMETRY, BAND) == expected).all()


def test_the_number_of_frames_together_does_not_matter():
    frames = np.random.default_rng(10).poisson(9, (37, 48, 48)).astype(np.uint16)
    together = ring_statistics(frames, GEOMETRY, BAND)
    alone = np.concatenate([ring_statistics(frame[None], GEOMETRY, BAND) for frame in frames])
    assert (together == alone).all()


@settings(max_examples=20, deadline=None)
@given(
    frames=hnp.arrays(np.float64, (2, 48, 48), elements=st.floats(1, 1e3)),
    scale=st.floats(1e-3, 1e3),
)
def test_intensity_scale_does_not_matter(frames, scale):
    one = ring_statistics(frames, GEOMETRY, BAND)[..., VARIANCE:]
    assert ring_statistics(frames * scale, GEOMETRY, BAND)[..., VARIANCE:] == pytest.approx(one, rel=1e-7, abs=1e-12)


def modulated_ring(order, phase, *, strength=0.2, mask=None, size=128):
    rows, cols = np.indices((size, size))
    center = (size / 2 - 0.3, size / 2 + 0.4)
    y, x = rows - center[0], cols - center[1]
    frame = 100 * (1 + strength * np.cos(order * (np.arctan2(y, x) - phase)))
    return frame[None], DiffractionGeometry((size, size), center, 0.1, "1/nm", mask=mask)


@pytest.mark.parametrize("order", [2, 4, 6, 10])
def test_rotation_leaves_the_power_unchanged(order):
    powers = []
    for phase in np.linspace(0, 2 * np.pi / order, 9):
        frame, geometry = modulated_ring(order, phase)
        powers.append(ring_statistics(frame, geometry, PolarGrid.band(4.0, 0.6, 36))[0, 0, FIRST_POWER + order - 1])
    assert np.ptp(powers) < 0.01 * np.mean(powers)
    # A cosine of strength a has P = a^2 / 2, lowered by the average over a bin.
    assert np.mean(powers) == pytest.approx(0.02 * np.sinc(order / 36) ** 2, rel=0.01)


def test_a_beam_stop_of_30_degrees_keeps_a_four_fold_ring_for_any_phase():
    rows, cols = np.indices((128, 128))
    azimuth = np.arctan2(rows - 63.7, cols - 64.4)
    mask = np.abs(azimuth - 0.9) < np.radians(15)
    for phase in np.linspace(0, np.pi / 2, 25):
        frame, geometry = modulated_ring(4, phase)
        grid = PolarGrid.band(4.0, 0.6, 36)
        whole = ring_statistics(frame, geometry, grid)[0, 0, FIRST_POWER:]
        frame, geometry = modulated_ring(4, phase, mask=mask)
        behind = ring_statistics(frame, geometry, grid)[0, 0, FIRST_POWER:]
        assert behind[3] == pytest.approx(whole[3], rel=0.15)
        assert np.abs(behind[[0, 1, 2]]).max() < 0.03 * whole[3]


def test_order_beyond_the_bins_is_refused():
    with pytest.raises(ValueError, match=r"order 19 is not within 1 .. n_phi/2 = 18"):
        ring_statistics(np.ones((1, 48, 48)), GEOMETRY, BAND, n_max=19)


def test_complex_patterns_are_refused():
    with pytest.raises(TypeError, match="complex128 cannot be analyzed"):
        polar_means(np.ones((1, 48, 48), complex), GEOMETRY, BAND)


def test_tiny_patterns_are_refused():
    with pytest.raises(ValueError, match="a pattern has 9 pixels; at least 16"):
        polar_means(np.ones((1, 3, 3)), DiffractionGeometry((3, 3), (1, 1), 0.1, "1/nm"), PolarGrid.band(0.1, 0.1, 4))
