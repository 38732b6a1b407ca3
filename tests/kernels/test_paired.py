"""Sums in pairs of doubles: correctly rounded, and the same in any order."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medrange.kernels.paired import add_pair, merged, paired_sum, product_pair, sum_pair

NUMBERS = st.floats(-1e12, 1e12, allow_subnormal=False)


def spread_out(shape, seed=0):
    """Numbers over sixty binary orders, of both signs."""
    rng = np.random.default_rng(seed)
    return np.ldexp(rng.normal(size=shape), rng.integers(-30, 30, shape))


def test_the_sum_is_correctly_rounded():
    values = spread_out((1000, 40))
    np.testing.assert_array_equal(paired_sum(values)[0], [math.fsum(column) for column in values.T])


def test_order_and_parts_leave_no_trace():
    values = spread_out((500, 2100))
    expected, rng = paired_sum(values)[0], np.random.default_rng(1)
    assert (values[::-1].sum(axis=0) != values.sum(axis=0)).any()
    for size in (1, 7, 499):
        mixed = values[rng.permutation(500)]
        parts = [paired_sum(mixed[start : start + size]) for start in range(0, 500, size)]
        np.testing.assert_array_equal(merged(parts)[0], expected)
        np.testing.assert_array_equal(merged(np.stack(parts[::-1]))[0], expected)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "u4", "i8", "f4", ">f4", "f8", "?"])
def test_any_type_is_summed_exactly(dtype):
    values = np.random.default_rng(2).integers(0, 2 if dtype == "?" else 100, (300, 3, 5)).astype(dtype)
    before = values.copy()
    sums = paired_sum(values)
    assert (sums.shape, sums.dtype) == ((2, 3, 5), np.float64)
    np.testing.assert_array_equal(sums[0], values.astype(np.int64).sum(axis=0))
    assert not sums[1].any()
    np.testing.assert_array_equal(values, before)


def test_strides_do_not_matter():
    values = spread_out((60, 8, 9))
    np.testing.assert_array_equal(paired_sum(values[::2, :, 1::3])[0], paired_sum(values[::2, :, 1::3].copy())[0])


def test_what_is_not_finite_is_nan_in_its_own_column_alone():
    values = np.ones((5, 3))
    values[2] = np.nan, np.inf, 1
    sums = paired_sum(values)[0]
    assert np.isnan(sums[0])
    assert not np.isfinite(sums[1])
    assert sums[2] == 5


def test_nothing_adds_up_to_nothing():
    np.testing.assert_array_equal(paired_sum(np.empty((0, 4))), np.zeros((2, 4)))


def test_a_pair_is_added_in_place():
    sums = paired_sum(np.array([[1e20], [1.0]]))
    add_pair(sums, paired_sum(np.array([[-1e20]])))
    assert sums.sum() == 1.0


@given(NUMBERS, NUMBERS)
def test_sum_and_rest_are_exact(a, b):
    total, rest = sum_pair(a, b)
    assert total == a + b
    assert Fraction(total) + Fraction(rest) == Fraction(a) + Fraction(b)


@given(st.floats(1e-100, 1e100), st.floats(1e-30, 1e100))
def test_product_and_rest_are_exact(a, b):
    product, rest = product_pair(a, b)
    assert product == a * b
    assert Fraction(product) + Fraction(rest) == Fraction(a) * Fraction(b)
