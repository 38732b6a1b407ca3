import numpy as np
import pytest

from medrange.simulate import clip_counts, poisson_counts


def test_mean_and_variance_are_those_of_poisson():
    expected = np.full((200, 200), 4e-4)
    counts = poisson_counts(expected, 1e5, seed=7)
    assert counts.dtype == np.uint32
    # 40,000 draws of mean 40: standard error of the mean 0.032, of the variance 0.29.
    assert counts.mean() == pytest.approx(40, abs=0.13)
    assert counts.var() == pytest.approx(40, abs=1.2)


def test_zero_stays_zero_and_input_is_unchanged():
    expected = np.array([0.0, 0.5])
    counts = poisson_counts(expected, 100, seed=1)
    assert counts[0] == 0
    assert counts[1] > 0
    np.testing.assert_array_equal(expected, [0.0, 0.5])


def test_same_seed_same_counts():
    expected = np.full(1000, 0.01)
    first = poisson_counts(expected, 1e4, seed=3)
    np.testing.assert_array_equal(first, poisson_counts(expected, 1e4, seed=np.random.default_rng(3)))
    assert not np.array_equal(first, poisson_counts(expected, 1e4, seed=4))


def test_last_bits_of_the_mean_do_not_change_the_draw():
    expected = np.random.default_rng(0).random(5000) * 1e-3
    jittered = expected * (1 + 1e-15)
    np.testing.assert_array_equal(poisson_counts(expected, 1e5, 2), poisson_counts(jittered, 1e5, 2))


@pytest.mark.parametrize(("depth", "dtype"), [(1, "uint8"), (6, "uint8"), (12, "uint16"), (24, "uint32")])
def test_clip_counts(depth, dtype):
    counts = np.array([0, 1, 2**depth - 1, 2**depth, 2**31], np.uint32)
    clipped = clip_counts(counts, depth)
    assert clipped.dtype == dtype
    assert clipped.tolist() == [0, 1, *[2**depth - 1] * 3]


def test_errors():
    with pytest.raises(ValueError, match="electrons_per_frame is 0"):
        poisson_counts(np.ones(3), 0)
    with pytest.raises(ValueError, match="expected holds negative values or NaN"):
        poisson_counts(np.array([0.1, np.nan]), 10)
    with pytest.raises(ValueError, match=r"counter_depth is 16; choose one of \[1, 6, 12, 24\]"):
        clip_counts(np.zeros(2), 16)
