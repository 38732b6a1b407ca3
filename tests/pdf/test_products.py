"""Products of curves with a matrix, curve by curve."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medrange.pdf.products import row_products

RNG = np.random.default_rng(0)
CURVES, MATRIX = RNG.normal(size=(37, 23)), RNG.normal(size=(23, 301))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_the_product(dtype):
    found = row_products(CURVES.astype(dtype), MATRIX.astype(dtype))
    assert found.dtype == dtype
    # Rounding of 23 terms of order 1, each sum of order 5.
    np.testing.assert_allclose(found, CURVES @ MATRIX, rtol=0, atol=23 * 5 * np.finfo(dtype).eps)


def test_terms_are_added_one_after_the_other():
    expected = np.zeros((37, 301))
    for k in range(23):
        expected += CURVES[:, k, None] * MATRIX[k]
    np.testing.assert_array_equal(row_products(CURVES, MATRIX), expected)


@given(st.integers(0, 36), st.integers(1, 37))
def test_a_curve_does_not_depend_on_the_others(start, count):
    part = slice(start, start + count)
    np.testing.assert_array_equal(row_products(CURVES[part], MATRIX), row_products(CURVES, MATRIX)[part])


def test_strides_do_not_matter():
    np.testing.assert_array_equal(row_products(CURVES[::-1], MATRIX.T.copy().T), row_products(CURVES, MATRIX)[::-1])


def test_a_single_column_may_be_a_vector():
    np.testing.assert_array_equal(row_products(CURVES, MATRIX[:, 0]), row_products(CURVES, MATRIX[:, :1])[:, 0])


def test_types_that_differ_give_the_wider_one():
    assert row_products(CURVES.astype(np.float32), MATRIX).dtype == np.float64


@pytest.mark.parametrize(("n", "k", "m"), [(0, 3, 2), (5, 0, 2), (5, 3, 0)])
def test_nothing_is_a_product_too(n, k, m):
    np.testing.assert_array_equal(row_products(np.ones((n, k)), np.ones((k, m))), np.ones((n, k)) @ np.ones((k, m)))


def test_input_is_not_changed():
    curves, matrix = CURVES.copy(), MATRIX.copy()
    row_products(curves, matrix)
    np.testing.assert_array_equal(curves, CURVES)
    np.testing.assert_array_equal(matrix, MATRIX)


def test_nan_stays_in_its_curve():
    curves = CURVES.copy()
    curves[3, 2] = np.nan
    found = row_products(curves, MATRIX)
    assert np.isnan(found[3]).all()
    np.testing.assert_array_equal(np.delete(found, 3, axis=0), np.delete(row_products(CURVES, MATRIX), 3, axis=0))
