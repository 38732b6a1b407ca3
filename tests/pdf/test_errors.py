"""The counting error of G(r) against resampled counts."""

import numpy as np
import pytest

from medrange.pdf.composition import mean_factors
from medrange.pdf.errors import profile_variance, reduced_pdf_variance
from medrange.pdf.reduced_pdf import reduced_pdf, transform_matrix
from medrange.pdf.structure_factor import Reduction, reduction_basis, structure_factors

K = np.linspace(0.25, 1.6, 106)
PIXELS = 2 * np.pi * K / 0.0128
R = np.arange(0.5, 12, 0.1)


def glassy_intensity():
    mean, square = mean_factors("Fe", K)
    s = 1 + 1.5 * np.exp(-(((K - 0.48) / 0.05) ** 2)) - 0.3 * np.exp(-(((K - 0.65) / 0.06) ** 2))
    return 3 * (square + mean**2 * (s - 1))


@pytest.mark.parametrize(
    "form",
    [
        Reduction(),
        Reduction(offset=True),
        Reduction(polynomial_degree=None),
        Reduction(background="log_polynomial"),
        Reduction(normalization="single_point"),
        Reduction(polynomial_constant=False, denominator="mean_square"),
    ],
    ids=str,
)
def test_error_matches_resampling(form):
    rng = np.random.default_rng(0)
    intensity, gain = glassy_intensity(), 2.0
    counts = rng.poisson(intensity * PIXELS / gain, (3000, K.size)) * gain / PIXELS
    factors = structure_factors(counts, K, "Fe", reduction=form).values
    resampled = reduced_pdf(factors, K, R, window="lorch").std(axis=0)
    basis = reduction_basis(K, "Fe", form)
    matrix = transform_matrix(K, R, window="lorch")
    variance = reduced_pdf_variance(intensity, profile_variance(intensity, PIXELS, gain), basis, matrix)
    # 3000 draws know a standard deviation to 1.3 %; points of r are correlated, so that its mean is little better.
    np.testing.assert_allclose(np.sqrt(variance), resampled, rtol=0.07)
    assert np.mean(np.sqrt(variance) / resampled) == pytest.approx(1, abs=0.03)


def test_plain_formula_where_nothing_is_fitted():
    # var G = (8 pi dk)^2 sum k^2 w^2 sigma^2 sin^2(2 pi k r)/(N <f>^2)^2 where N is known: its point has no error.
    intensity = glassy_intensity()
    form = Reduction(polynomial_degree=None, normalization="single_point")
    variance = profile_variance(intensity, PIXELS, 1.0)
    variance[-1] = 0
    basis = reduction_basis(K, "Fe", form)
    found = reduced_pdf_variance(intensity, variance, basis, transform_matrix(K, R, extend=False))
    mean, square = mean_factors("Fe", K)
    norm, step = intensity[-1] / square[-1], K[1] - K[0]
    weight = np.where((K[0] == K) | (K[-1] == K), 0.5, 1.0)
    terms = (K * weight / (norm * mean**2)) ** 2 * variance
    expected = (8 * np.pi * step) ** 2 * np.sin(2 * np.pi * np.outer(R, K)) ** 2 @ terms
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_many_profiles_at_once_and_bad_ones():
    intensity = np.tile(glassy_intensity(), (2, 3, 1)) * np.array([1.0, 2, 3])[:, None]
    intensity[1, 1, 5] = np.nan
    basis = reduction_basis(K, "Fe", Reduction())
    matrix = transform_matrix(K, R)
    variance = reduced_pdf_variance(intensity, profile_variance(intensity, PIXELS, 1.0), basis, matrix)
    assert variance.shape == (2, 3, R.size)
    assert np.isnan(variance[1, 1]).all()
    # Relative error of counting: variance falls as 1/dose.
    np.testing.assert_allclose(variance[0, 0], 3 * variance[0, 2])


def test_wrong_arguments():
    with pytest.raises(ValueError, match="gain is 0"):
        profile_variance(np.ones(3), np.ones(3), 0)
    with pytest.raises(ValueError, match="1 of 3 rings hold no open pixel"):
        profile_variance(np.ones(3), np.array([0, 1, 2]), 1.0)
