import numpy as np
import pytest

import medrange as mr

RING = {"k": 3.2, "width": 0.64}


def noisy_scan(scan_shape=(60, 70), mean=6, gain=1):
    counts = np.random.default_rng(0).poisson(mean, (*scan_shape, 64, 64))
    data = counts.astype(np.uint16) if gain == 1 else (gain * counts).astype(np.float32)
    signal = mr.Nanodiffraction(data)
    signal.calibrate(scan_step=0.3, k_step=0.16)
    signal.set_center((31.3, 32.4))
    return signal


@pytest.mark.parametrize("gain", [1, 5])
def test_structureless_scan_has_no_power_left(gain):
    signal = noisy_scan(gain=gain)
    keywords = {"shot_noise": "poisson"} if gain == 1 else {"shot_noise": "poisson", "gain": gain}
    result = signal.medium_range_order(**RING, k_resolved=False, **keywords)
    floor = result.power_noise.data.mean(axis=(1, 2))
    assert (floor > 0).all()
    assert (np.abs(result.power.data.mean(axis=(1, 2))) < 0.05 * floor).all()
    assert abs(result.variance.data.mean()) < 0.05 * result.variance_noise.data.mean()
    assert (result.variance.data == signal.variance_map(**RING, **keywords).data).all()
    assert (result.power.data == signal.angular_power_map(**RING, orders=(2, 4, 6, 8, 10), **keywords).data).all()
    raw = signal.variance_map(**RING).data
    assert raw.mean() == pytest.approx(result.variance_noise.data.mean(), rel=0.01)


def test_lazy_equals_eager():
    signal = noisy_scan((4, 6))
    lazy = signal.as_lazy()
    lazy.data = lazy.data.rechunk((2, 3, -1, -1))
    expected = signal.medium_range_order(**RING, shot_noise="poisson")
    result = lazy.medium_range_order(**RING, shot_noise="poisson")
    result.compute()
    for name, other in expected.signals.items():
        assert result.signals[name].data == pytest.approx(other.data, rel=1e-6, abs=1e-9, nan_ok=True)
    assert set(expected.signals) >= {"variance_noise", "power_noise"}


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"shot_noise": "poisson"}, "needs the detector's gain"),
        ({"shot_noise": "poisson", "gain": 0.0}, "it is 0.0"),
        ({"shot_noise": "gauss"}, "shot_noise is 'gauss'"),
        ({"gain": 2.0}, "gain is only used with shot_noise"),
    ],
)
@pytest.mark.parametrize("method", ["variance_map", "angular_power_map", "medium_range_order"])
def test_gain_is_never_guessed(method, keywords, message):
    with pytest.raises(ValueError, match=message):
        getattr(noisy_scan((2, 2), gain=5), method)(**RING, **keywords)
