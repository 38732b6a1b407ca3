"""Fits on given bases, fractions, and bootstrap errors of maps."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.optimize import nnls

from medrange.pdf.fractions import block_bootstrap_error, fit_bases, fraction_maps


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_fractions_on_the_true_bases(make_scan, noise):
    """Error of the fractions as it follows from the noise and the Gram matrix of the bases."""
    scan = make_scan(noise=noise)
    fit = fit_bases(scan.pdfs.reshape(*scan.shape, -1), scan.types)
    fractions = fraction_maps(fit.weights)
    assert fit.weights.shape == (*scan.shape, 2)
    gradient = np.stack([1 - scan.weight.ravel(), -scan.weight.ravel()])
    inverse = np.linalg.inv(scan.types @ scan.types.T)
    expected = noise * np.sqrt(np.einsum("in,ij,jn->n", gradient, inverse, gradient).mean())
    error = np.sqrt(np.mean((fractions[..., 0] - scan.weight) ** 2))
    # Weights at a bound cannot err beyond it: somewhat less than expected.
    assert 0.8 * expected <= error <= 1.05 * expected + 1e-6


def test_fit_is_that_of_scipy(make_scan):
    scan = make_scan((8, 8), noise=0.5)
    fit = fit_bases(scan.pdfs, scan.types)
    expected = np.array([nnls(scan.types.T, pdf)[0] for pdf in scan.pdfs])
    np.testing.assert_allclose(fit.weights, expected, atol=1e-8)
    left = np.linalg.norm(scan.pdfs - expected @ scan.types, axis=1) / np.linalg.norm(scan.pdfs, axis=1)
    np.testing.assert_allclose(fit.residual, left)
    assert fit.constant is None


def test_constant_is_fitted_and_may_be_negative(make_scan):
    scan = make_scan((8, 8), noise=0.0)
    fit = fit_bases(scan.pdfs - 0.3, scan.types, constant=True)
    np.testing.assert_allclose(fit.weights[:, 0], scan.weight.ravel(), atol=1e-8)
    np.testing.assert_allclose(fit.constant, -0.3, atol=1e-8)
    np.testing.assert_allclose(fit.residual, 0, atol=1e-7)


def test_missing_pdfs_stay_missing(make_scan):
    scan = make_scan((8, 8))
    scan.pdfs[3] = np.nan
    fit = fit_bases(scan.pdfs, scan.types)
    assert np.isnan(fit.weights[3]).all()
    assert np.isnan(fit.residual[3])
    assert np.isfinite(np.delete(fit.weights, 3, axis=0)).all()


def test_fractions_leave_out_residuals():
    weights = np.array([[1.0, 3.0, 5.0], [0.0, 0.0, 1.0]])
    found = fraction_maps(weights, ("liquid-like", "solid-like", "residual"))
    np.testing.assert_allclose(found, [[0.25, 0.75], [np.nan, np.nan]])


def test_bootstrap_error_of_white_noise_is_the_standard_error():
    noise = np.random.default_rng(0).standard_normal((60, 60))
    for block in (1, 5, 10):
        assert block_bootstrap_error(noise, block) == pytest.approx(1 / 60, rel=0.2)


def test_bootstrap_error_of_a_correlated_map_covers_the_truth():
    """The spread of the means of many independent maps, which plain resampling misses by a factor of 7."""
    rng = np.random.default_rng(1)
    maps = [gaussian_filter(rng.standard_normal((64, 64)), 3, mode="wrap")[:48, :48] for _ in range(60)]
    spread = np.std([image.mean() for image in maps], ddof=1)
    blocks = np.mean([block_bootstrap_error(image, 12, n_samples=200) for image in maps[:15]])
    pixels = np.mean([block_bootstrap_error(image, 1, n_samples=200) for image in maps[:15]])
    # Blocks of a few correlation lengths lose some of the variance.
    assert 0.6 * spread < blocks < 1.2 * spread
    assert pixels < 0.3 * spread


def test_bootstrap_leaves_out_gaps():
    noise = np.random.default_rng(0).standard_normal((40, 40))
    noise[:, :20] = np.nan
    assert block_bootstrap_error(noise, 4) == pytest.approx(1 / np.sqrt(800), rel=0.3)
    assert np.isnan(block_bootstrap_error(np.full((8, 8), np.nan), 2))


def test_errors(make_scan):
    scan = make_scan((8, 8))
    with pytest.raises(ValueError, match="and the bases 9; bring both"):
        fit_bases(scan.pdfs, scan.types[:, :9])
    with pytest.raises(ValueError, match="linearly dependent"):
        fit_bases(scan.pdfs, np.array([scan.types[0], 2 * scan.types[0]]))
    with pytest.raises(ValueError, match="blocks of 7 pixels"):
        block_bootstrap_error(np.ones((12, 12)), 7)
