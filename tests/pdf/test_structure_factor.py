"""S(k) from I(k): exact cases, an independent implementation, background, invariances, errors."""

import dataclasses
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medrange.pdf.composition import mean_factors
from medrange.pdf.scattering_factors import scattering_factor
from medrange.pdf.structure_factor import Reduction, highest_degree, structure_factors

K = np.linspace(0.25, 1.6, 136)
FORMS = [
    Reduction(),
    Reduction(polynomial_degree=None),
    Reduction(polynomial_constant=False),
    Reduction(background="log_polynomial"),
    Reduction(normalization="single_point"),
    Reduction(offset=True, denominator="mean_square"),
]


def example_profiles(n=3, seed=0):
    rng = np.random.default_rng(seed)
    mean, square = mean_factors("Fe80B20", K)
    s = 1 + sum(a * np.sinc(2 * K * r) for a, r in ((1.0, 2.5), (0.8, 4.1), (0.9, 4.9)))
    return np.array([rng.uniform(1, 20) * (square + mean**2 * (s - 1)) + rng.uniform(0, 0.1) for _ in range(n)])


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("parametrization", ["kirkland", "lobato", "peng"])
def test_single_atom_has_no_structure(form, parametrization):
    profile = 12.5 * scattering_factor("Zr", K, parametrization=parametrization) ** 2
    result = structure_factors(profile, K, "Zr", reduction=form, parametrization=parametrization)
    np.testing.assert_allclose(result.reduced, 0, atol=1e-10)
    np.testing.assert_allclose(result.normalization, 12.5)
    np.testing.assert_allclose(result.background, profile, rtol=1e-10)


def test_dimer_is_exact_without_polynomial():
    # N is given by the last point, where S of the dimer is 1: sin(2 pi k d) = 0 at k d = 4.
    k = np.linspace(0.25, 4 / 2.6, 130)
    dimer = 1 + np.sinc(2 * k * 2.6)
    profile = 3 * scattering_factor("Fe", k) ** 2 * dimer
    form = Reduction(polynomial_degree=None, normalization="single_point")
    np.testing.assert_allclose(structure_factors(profile, k, "Fe", reduction=form).values, dimer, atol=1e-12)


def plain_reduction(profile, form):
    """The same quantity with numpy.polyfit, numpy.linalg.lstsq and loops over profiles."""
    mean, square = mean_factors("Fe80B20", K)
    denominator = mean**2 if form.denominator == "squared_mean" else square
    tail = K[-1] - form.tail * (K[-1] - K[0]) - 1e-9 <= K
    if form.normalization == "single_point":
        norm, constant = profile[-1] / square[-1], 0.0
    elif form.offset:
        columns = np.stack([square[tail], np.ones(tail.sum())], axis=1)
        norm, constant = np.linalg.lstsq(columns, profile[tail], rcond=None)[0]
    else:
        norm, constant = (profile[tail] * square[tail]).sum() / (square[tail] ** 2).sum(), 0.0
    if form.background == "log_polynomial":
        logarithm = np.log(profile / (norm * square))
        p = np.polynomial.Polynomial.fit(K, logarithm, form.polynomial_degree)(K)
        return 1 + (profile / (norm * square * np.exp(p)) - 1) * square / denominator, norm, constant
    phi = K * (profile - norm * square - constant) / (norm * denominator)
    if form.polynomial_degree is not None:
        columns = np.stack([K**power for power in form.powers], axis=1)
        phi = phi - columns @ np.linalg.lstsq(columns, phi, rcond=None)[0]
    return 1 + phi / K, norm, constant


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_independent_implementation(form):
    profiles = example_profiles()
    result = structure_factors(profiles, K, "Fe80B20", reduction=form)
    for i, profile in enumerate(profiles):
        expected, norm, constant = plain_reduction(profile, form)
        np.testing.assert_allclose(result.values[i], expected, atol=1e-9)
        assert result.normalization[i] == pytest.approx(norm)
        assert result.offset[i] == pytest.approx(constant, abs=1e-9)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_parts_add_up_to_the_intensity(form):
    profiles = example_profiles()
    result = structure_factors(profiles, K, "Fe80B20", reduction=form)
    mean, square = mean_factors("Fe80B20", K)
    denominator = mean**2 if form.denominator == "squared_mean" else square
    excess = (result.values - 1) * denominator
    if form.background == "log_polynomial":
        rebuilt = result.background * (1 + excess / square)
    else:
        rebuilt = result.background + result.normalization[:, None] * excess
    np.testing.assert_allclose(rebuilt, profiles, rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-3, 1e6), form=st.sampled_from(FORMS))
def test_dose_cancels(scale, form):
    profiles = example_profiles(1)
    one, other = (structure_factors(p, K, "Fe80B20", reduction=form) for p in (profiles, scale * profiles))
    np.testing.assert_allclose(other.values, one.values, atol=1e-8)
    np.testing.assert_allclose(other.normalization, scale * one.normalization)


def test_a_polynomial_background_is_taken_out():
    profiles = example_profiles(1)
    mean, _ = mean_factors("Fe80B20", K)
    # N is pinned by the last point, where the background is 0.
    form = Reduction(normalization="single_point", polynomial_degree=6)
    norm = structure_factors(profiles, K, "Fe80B20", reduction=form).normalization[0]
    polynomial = np.polynomial.Polynomial([0, -0.5, 0.2, 0.1, 0, 0.05, 0.02])(K - K[-1])
    smooth = norm * mean**2 / K * polynomial
    one, other = (structure_factors(p, K, "Fe80B20", reduction=form) for p in (profiles, profiles + smooth))
    np.testing.assert_allclose(other.values, one.values, atol=1e-9)
    np.testing.assert_allclose(other.polynomial - one.polynomial, polynomial[None], atol=1e-9)


def test_shapes_types_and_input():
    profiles = example_profiles(6).reshape(2, 3, -1)
    before = profiles.copy()
    result = structure_factors(profiles, K, "Fe80B20", reduction=Reduction(k_range=(0.3, 1.5)))
    assert result.values.shape == (2, 3, result.k.size)
    assert result.k[0] == pytest.approx(0.3)
    assert result.k[-1] == pytest.approx(1.5)
    assert result.coefficients.shape == (2, 3, 5)
    np.testing.assert_array_equal(profiles, before)
    single = structure_factors(profiles.astype(np.float32), K, "Fe80B20")
    assert single.values.dtype == np.float32
    np.testing.assert_allclose(single.values, structure_factors(profiles, K, "Fe80B20").values, atol=2e-6)
    assert structure_factors(np.rint(profiles * 1000).astype(np.uint16), K, "Fe80B20").values.dtype == np.float32


def test_blocks_change_nothing():
    profiles = np.tile(example_profiles(7), (80, 1))
    together = structure_factors(profiles, K, "Fe80B20").values
    np.testing.assert_allclose(together[:7], structure_factors(profiles[:7], K, "Fe80B20").values, atol=1e-12)
    np.testing.assert_allclose(together[-7:], together[:7], atol=1e-12)


def test_bad_profiles_are_nan_with_one_warning():
    profiles = example_profiles(5)
    profiles[1, 50] = np.nan
    profiles[3] = -1
    with pytest.warns(UserWarning, match="2 of 5 profiles are NaN") as caught:
        result = structure_factors(profiles, K, "Fe80B20")
    assert len(caught) == 1
    assert np.isnan(result.values[[1, 3]]).all()
    assert np.isnan(result.normalization[[1, 3]]).all()
    assert np.isfinite(result.values[[0, 2, 4]]).all()
    profiles = example_profiles(2)
    profiles[1, 40] = 0
    with pytest.warns(UserWarning, match="1 of 2 .* no logarithm"):
        structure_factors(profiles, K, "Fe80B20", reduction=Reduction(background="log_polynomial"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        structure_factors(profiles, K, "Fe80B20")


def test_highest_degree():
    # d < 2 (k_max - k_min) r1 - 1
    assert highest_degree((0.25, 1.6), 2.5) == 5
    assert highest_degree((0.0, 1.0), 2.5) == 3
    assert highest_degree((0.0, 0.1), 2.5) == -1
    # What it warns of: the first-neighbor oscillation survives degree 4 and is eaten by degree 12.
    s = 1 + np.sinc(2 * K * 2.5)
    profile = scattering_factor("Fe", K) ** 2 * s
    left = {
        degree: np.std(structure_factors(profile, K, "Fe", reduction=Reduction(polynomial_degree=degree)).reduced)
        for degree in (None, 4, 12)
    }
    assert left[4] > 0.8 * left[None]
    assert left[12] < 0.3 * left[None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": "spline"}, "'polynomial', 'log_polynomial'"),
        ({"normalization": "all"}, "'tail', 'single_point'"),
        ({"denominator": "f"}, "'squared_mean', 'mean_square'"),
        ({"tail": 0}, "tail is 0"),
        ({"polynomial_degree": -1}, "at least 0, or None"),
        ({"polynomial_degree": 0, "polynomial_constant": False}, "at least 1, or None"),
        ({"background": "log_polynomial", "polynomial_constant": False}, "logarithm of N"),
        ({"background": "log_polynomial", "offset": True}, "no linear constant"),
        ({"normalization": "single_point", "offset": True}, "one point is not enough"),
        ({"k_range": (1.6, 0.25)}, r"k_range is \(1.6, 0.25\)"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        Reduction(**options)


def test_wrong_arrays():
    with pytest.raises(ValueError, match=r"16 1/nm are 1\.6"):
        structure_factors(np.ones(136), K, "Fe", reduction=Reduction(k_range=(2.5, 16)))
    with pytest.raises(ValueError, match="holds 2 of the points"):
        structure_factors(np.ones(136), K, "Fe", reduction=Reduction(k_range=(0.3, 0.311)))
    with pytest.raises(ValueError, match="last axis must have the 136 points"):
        structure_factors(np.ones(100), K, "Fe")
    with pytest.raises(ValueError, match="increasing axis"):
        structure_factors(np.ones(136), K[::-1], "Fe")


def test_options_are_a_value():
    assert dataclasses.replace(Reduction(), tail=0.2) == Reduction(tail=0.2)
