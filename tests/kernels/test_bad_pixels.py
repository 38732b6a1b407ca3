import numpy as np
import pytest

from medrange.kernels.bad_pixels import bad_pixels

SHAPE = (128, 128)


def radius_of(center):
    rows, cols = np.indices(SHAPE)
    return np.hypot(rows - center[0], cols - center[1])


RADIUS = radius_of((63.2, 64.7))


def scan(n=256, *, speckle=True, seed=0):
    """Counts of a glass: direct beam, ring, and speckle that the scan does not average away."""
    rng = np.random.default_rng(seed)
    mean = 400 / (1 + np.exp((RADIUS - 5) * 3)) + 1.5 * np.exp(-(((RADIUS - 30) / 5) ** 2)) + np.exp(-RADIUS / 25) + 0.1
    if speckle:
        mean = mean * rng.gamma(20, 1 / 20, SHAPE)
    return rng.poisson(mean, (n, *SHAPE))


def moments(frames):
    return frames.mean(axis=0), frames.var(axis=0), len(frames)


def planted(seed=3):
    rng = np.random.default_rng(seed)
    dead = rng.random(SHAPE) < 0.01
    return dead, (rng.random(SHAPE) < 0.002) & ~dead


@pytest.mark.parametrize("speckle", [False, True], ids=["smooth", "speckle"])
def test_dead_and_hot_pixels_are_found_and_no_others(speckle):
    frames = scan(speckle=speckle)
    dead, hot = planted()
    frames[:, dead] = 0
    frames[:, hot] = frames[:, hot] * 5 + np.random.default_rng(1).poisson(5, (len(frames), hot.sum()))
    found = bad_pixels(*moments(frames), RADIUS)
    assert found[dead].all()
    assert found[hot].all()
    assert found[~dead & ~hot].mean() < 1e-3


@pytest.mark.parametrize("stuck", [0, 7, 65535])
def test_stuck_pixels_are_found(stuck):
    frames = scan()
    dead, _ = planted()
    frames[:, dead] = stuck
    found = bad_pixels(*moments(frames), RADIUS)
    assert found[dead].all()
    assert found[~dead].mean() < 1e-3


def test_pixels_of_wild_variance_or_low_gain_are_found():
    frames = scan(speckle=False)
    wild, weak = planted()
    frames[:64, wild] += 20
    frames[:, weak] = np.random.default_rng(2).binomial(frames[:, weak], 0.2)
    found = bad_pixels(*moments(frames), RADIUS)
    # In the direct beam, 400 counts, none of this stands out.
    assert found[wild & (RADIUS > 10)].all()
    assert found[weak & (frames.mean(axis=0) > 0.1)].all()
    assert found[~wild & ~weak].mean() < 1e-3


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.7, -0.5)])
@pytest.mark.parametrize("seed", [0, 1])
def test_good_detectors_stay_whole(offset, seed):
    found = bad_pixels(*moments(scan(seed=seed)), radius_of((63.2 + offset[0], 64.7 + offset[1])))
    assert found.mean() < 1e-3


def test_dim_rings_are_not_dead():
    frames = np.random.default_rng(0).poisson(0.02, (200, *SHAPE))
    assert (frames.sum(axis=0) == 0).mean() > 0.01
    assert not bad_pixels(*moments(frames), RADIUS).any()


def test_a_hot_pixel_in_the_dark_is_found():
    frames = scan()
    frames[:, RADIUS > 50] = 0
    hot = np.zeros(SHAPE, bool)
    hot[3, 5] = hot[120, 100] = True
    frames[:, hot] = np.random.default_rng(1).poisson(3, (len(frames), 2))
    found = bad_pixels(*moments(frames), RADIUS)
    assert found[hot].all()
    assert found[~hot].mean() < 1e-3


def test_masked_pixels_are_left_out_and_broken_values_found():
    frames = scan().astype(float)
    mask = RADIUS < 10
    frames[:, mask] = 1e6
    frames[:, 100, 30] = np.nan
    mean, variance, n = moments(frames)
    before = mean.copy()
    found = bad_pixels(mean, variance, n, RADIUS, mask=mask)
    assert not found[mask].any()
    assert found[100, 30]
    assert found[~mask].mean() < 1e-3
    np.testing.assert_array_equal(mean, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 0}, "threshold is 0; it is a number of standard deviations"),
        ({"n_patterns": 19}, "there are 19 patterns; at least 20"),
        ({"mask": np.ones(SHAPE, bool)}, "no open pixel is left"),
    ],
)
def test_errors_name_the_value(change, message):
    arguments = {"n_patterns": 100, "radius": RADIUS} | change
    with pytest.raises(ValueError, match=message):
        bad_pixels(np.ones(SHAPE), np.ones(SHAPE), **arguments)
