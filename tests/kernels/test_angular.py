import numpy as np
import pytest

from medrange.kernels.angular import angular_correlation, angular_power, intensity_variance

PHI = 2 * np.pi * np.arange(36) / 36


def test_cosine_has_known_variance_power_and_correlation():
    ring = 10 * (1 + 0.3 * np.cos(4 * PHI + 0.7))
    assert intensity_variance(ring) == pytest.approx(0.045, rel=1e-12)
    power = angular_power(ring)
    assert power[3] == pytest.approx(0.045, rel=1e-12)
    assert np.abs(np.delete(power, 3)).max() < 1e-15
    assert angular_correlation(ring) == pytest.approx(0.045 * np.cos(4 * PHI), abs=1e-14)


def test_power_is_the_transform_of_the_correlation():
    rings = np.random.default_rng(0).gamma(2, 1, (7, 36))
    from_correlation = np.fft.rfft(angular_correlation(rings), axis=-1).real[:, 1:] / 36
    from_correlation[:, :-1] *= 2
    assert angular_power(rings) == pytest.approx(from_correlation, rel=1e-9, abs=1e-14)


def test_input_is_not_written_and_integers_do_not_overflow():
    ring = np.full(36, 250, np.uint8)
    ring[::2] = 200
    before = ring.copy()
    assert intensity_variance(ring) == pytest.approx((25 / 225) ** 2)
    angular_power(ring)
    angular_correlation(ring)
    assert (ring == before).all()


def test_lags_without_pairs_are_nan():
    ring = np.full(8, np.nan)
    ring[[0, 1]] = [1.0, 3.0]
    correlation = angular_correlation(ring)
    assert np.isnan(correlation[2:7]).all()
    assert correlation[0] == pytest.approx(0.25)
    assert correlation[1] == pytest.approx(-0.25)


@pytest.mark.parametrize(("gap", "correlation", "spread"), [(20, 0.95, 0.03), (40, 0.88, 0.05)])
def test_broadband_speckle_behind_a_stop(gap, correlation, spread):
    """3000 random rings: per-ring power keeps its mean and its rank (the peers read 1.6-3.3 times too high)."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(3000, 180)) + 1j * rng.normal(size=(3000, 180))
    n = np.fft.fftfreq(180, 1 / 180)
    speckle = np.fft.ifft(np.fft.fft(noise) * np.exp(-((n * np.radians(20) / 2.355) ** 2) / 2))
    rings = np.abs(speckle) ** 2
    truth = angular_power(rings)[:, 1:10]
    open_rings = rings.copy()
    open_rings[:, : gap // 2] = np.nan
    power = angular_power(open_rings)[:, 1:10]
    assert power.mean(axis=0) / truth.mean(axis=0) == pytest.approx(1, abs=2 * spread)
    assert power.mean() / truth.mean() == pytest.approx(1, abs=spread)
    assert np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(power.T, truth.T, strict=True)]) > correlation
