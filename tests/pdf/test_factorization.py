"""Factorization against exact factors, against scikit-learn, and its treatment of negative values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import nnls

from medrange.pdf.compression import array_blocks, compress
from medrange.pdf.factorization import factorize, factorize_compressed
from medrange.pdf.nonnegative import nonnegative_least_squares, weight_sums
from medrange.pdf.normalization import normalize_amplitude, pdf_amplitude

finite = st.floats(-10, 10, width=32)


def residual(pdfs, fit):
    values = pdfs + fit.offset if fit.offset else np.maximum(pdfs, 0)
    return np.linalg.norm(values - fit.weights @ fit.bases) / np.linalg.norm(values)


@settings(max_examples=60, deadline=None)
@given(rows=arrays(np.float64, (4, 6), elements=finite), bases=arrays(np.float64, (3, 6), elements=finite))
def test_nonnegative_least_squares_is_that_of_scipy(rows, bases):
    bases = bases + 12 * np.eye(3, 6)
    found = nonnegative_least_squares(bases @ bases.T, rows @ bases.T)
    for row, weights in zip(rows, found, strict=True):
        _, best = nnls(bases.T, row)
        assert (weights >= 0).all()
        assert np.linalg.norm(row - weights @ bases) <= best + 1e-6 * (1 + best)


def test_nonnegative_least_squares_of_dependent_bases_and_missing_rows():
    bases = np.array([[1.0, 2.0], [1.0, 2.0]])
    found = nonnegative_least_squares(bases @ bases.T, np.array([[1.0, 2.0], [np.nan, 0.0]]) @ bases.T)
    assert found[0] @ bases == pytest.approx([1.0, 2.0])
    assert np.isnan(found[1]).all()


@pytest.mark.parametrize("cores", [1, 3])
def test_weight_sums_of_many_rows_do_not_depend_on_the_threads(cores, monkeypatch):
    rng = np.random.default_rng(2)
    bases, rows = np.abs(rng.normal(size=(3, 10))), rng.normal(size=(2 * 16384 + 5, 10))
    monkeypatch.setattr("medrange.pdf.nonnegative.available_cores", lambda: cores)
    gram, sums = weight_sums(bases @ bases.T, rows, bases)
    weights = nonnegative_least_squares(bases @ bases.T, rows @ bases.T)
    np.testing.assert_allclose(gram, weights.T @ weights, rtol=1e-11)
    np.testing.assert_allclose(sums, weights.T @ rows, rtol=1e-9, atol=1e-9)
    monkeypatch.setattr("medrange.pdf.nonnegative.available_cores", lambda: 2)
    for here, there in zip(weight_sums(bases @ bases.T, rows, bases), (gram, sums), strict=True):
        np.testing.assert_array_equal(here, there)


def test_weight_sums_are_those_of_the_weights():
    rng = np.random.default_rng(0)
    rows, bases = rng.standard_normal((50, 7)), rng.standard_normal((3, 7))
    weights = nonnegative_least_squares(bases @ bases.T, rows @ bases.T)
    gram, sums = weight_sums(bases @ bases.T, rows, bases)
    np.testing.assert_allclose(gram, weights.T @ weights, rtol=1e-10)
    np.testing.assert_allclose(sums, weights.T @ rows, rtol=1e-10, atol=1e-12)


def test_too_many_unknowns():
    with pytest.raises(ValueError, match="9 bases were given; at most 8"):
        nonnegative_least_squares(np.eye(9), np.ones((2, 9)))
    with pytest.raises(ValueError, match="do not fit"):
        nonnegative_least_squares(np.eye(2), np.ones((2, 3)))


def test_exact_factors_with_a_unique_answer_are_found():
    # Pure rows and a zero of its own in each basis make the factors unique up to scale.
    rng = np.random.default_rng(0)
    bases = np.array([[1.0, 2.0, 0.0, 1.0], [0.0, 1.0, 3.0, 1.0]])
    weights = np.concatenate([np.eye(2), rng.random((60, 2))])
    fit = factorize(weights @ bases, 2)
    assert fit.converged
    assert fit.residual < 1e-3
    order = np.argsort(-fit.bases[:, 0])
    scaled = fit.bases[order] / fit.bases[order].max(axis=1, keepdims=True)
    np.testing.assert_allclose(scaled, bases / bases.max(axis=1, keepdims=True), atol=0.01)


@pytest.mark.parametrize("negatives", ["clip", "offset"])
@pytest.mark.parametrize("n_components", [2, 3])
def test_residual_is_that_of_scikit_learn(make_scan, negatives, n_components):
    scan = make_scan((16, 16))
    options = {"negatives": negatives, "n_restarts": 5, "max_iterations": 400}
    ours = factorize(scan.pdfs, n_components, **options)
    theirs = factorize(scan.pdfs, n_components, solver="sklearn", **options)
    # Neither solver finds the global minimum for sure; one per mille of the residual changes no map.
    assert ours.residual <= theirs.residual * 1.001
    assert residual(scan.pdfs, ours) == pytest.approx(ours.residual, rel=1e-3)
    assert residual(scan.pdfs, theirs) == pytest.approx(theirs.residual, rel=1e-6)
    assert ours.offset == theirs.offset
    assert ours.clipped_fraction == pytest.approx(theirs.clipped_fraction)
    assert (ours.weights >= 0).all()
    assert (ours.bases >= 0).all()


def test_negatives_are_reported(make_scan):
    scan = make_scan((12, 12))
    clipped, offset = (factorize(scan.pdfs, 2, negatives=name) for name in ("clip", "offset"))
    assert clipped.clipped_fraction == (scan.pdfs < 0).mean()
    assert clipped.offset == 0
    assert offset.offset == -scan.pdfs.min()
    assert offset.clipped_fraction == 0
    compressed = compress(array_blocks(scan.pdfs), len(scan.pdfs), scan.r)
    assert compressed.clipped_energy == pytest.approx((np.minimum(scan.pdfs, 0) ** 2).sum() / (scan.pdfs**2).sum())


def test_same_seed_same_answer_and_input_unchanged(make_scan):
    scan = make_scan((12, 12))
    before = scan.pdfs.copy()
    first, second = (factorize(scan.pdfs, 2, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(scan.pdfs, before)
    assert len(first.search_residuals) == 20


def test_scale_of_the_pdfs_scales_the_bases(make_scan):
    scan = make_scan((12, 12))
    one, ten = factorize(scan.pdfs, 2), factorize(10 * scan.pdfs, 2)
    np.testing.assert_allclose(ten.weights @ ten.bases, 10 * (one.weights @ one.bases), atol=1e-3)


def test_single_precision_gives_the_same(make_scan):
    scan = make_scan((12, 12))
    double, single = (factorize(scan.pdfs.astype(dtype), 2) for dtype in (np.float64, np.float32))
    assert single.residual == pytest.approx(double.residual, rel=1e-5)
    assert single.weights.dtype == np.float64


def test_compression_loses_nothing_of_band_limited_pdfs(make_scan):
    scan = make_scan((20, 20), band_limited=True)
    compressed = compress(array_blocks(scan.pdfs), len(scan.pdfs), scan.r, max_axes=60)
    restored = compressed.signed.coefficients @ compressed.signed.axes.T
    assert compressed.signed.axes.shape[1] < 60 < scan.r.size
    np.testing.assert_allclose(restored, scan.pdfs, atol=1e-4)
    assert compressed.signed.energy == pytest.approx((scan.pdfs**2).sum())


def test_blocks_do_not_matter(make_scan):
    scan = make_scan((12, 12))

    def blocks():
        # Uneven, and out of order.
        for rows in np.array_split(np.random.default_rng(0).permutation(144), 5):
            yield rows, scan.pdfs[rows]

    whole, parts = (compress(source, 144, scan.r) for source in (array_blocks(scan.pdfs), blocks))
    fits = [factorize_compressed(compressed, 2) for compressed in (whole, parts)]
    np.testing.assert_allclose(fits[0].weights, fits[1].weights, atol=1e-6)


def test_large_scans_end_where_small_ones_do(make_scan, monkeypatch):
    scan = make_scan((40, 40))
    whole = factorize(scan.pdfs, 2)
    monkeypatch.setattr("medrange.pdf.factorization._PART_ROWS", 300)
    monkeypatch.setattr("medrange.pdf.factorization._SEARCH_ROWS", 100)
    part = factorize(scan.pdfs, 2)
    assert part.iterations < whole.iterations
    assert part.residual == pytest.approx(whole.residual, rel=1e-4)


def test_rows_that_are_not_finite_are_left_out(make_scan):
    scan = make_scan((12, 12))
    scan.pdfs[5, 3] = np.nan
    compressed = compress(array_blocks(scan.pdfs), 144, scan.r)
    assert np.flatnonzero(~compressed.valid).tolist() == [5]
    assert len(compressed.signed.coefficients) == 143


def test_amplitudes():
    r = np.arange(1.5, 12, 0.05)
    peak = np.exp(-(((r - 2.52) / 0.3) ** 2))
    pdfs = np.array([2 * peak, np.full(r.size, np.nan), -peak])
    np.testing.assert_allclose(pdf_amplitude(pdfs, r), [2, np.nan, np.nan], rtol=1e-3)
    assert pdf_amplitude(2 * peak, r, "rms") == pytest.approx(2 * np.sqrt((peak**2).mean()))
    for method in ("first_peak", "rms"):
        one, two = normalize_amplitude(np.array([peak, 7 * peak]), r, method)
        np.testing.assert_allclose(one, two)
    np.testing.assert_array_equal(normalize_amplitude(peak, r, None), peak)
    with pytest.raises(ValueError, match="'area' is not known"):
        pdf_amplitude(pdfs, r, "area")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_components": 0}, "n_components is 0; it must be 1 to 8"),
        ({"n_components": 9}, "n_components is 9"),
        ({"negatives": "drop"}, "negatives='drop' is not known"),
        ({"solver": "als"}, "solver='als' is not known"),
        ({"n_restarts": 0}, "n_restarts is 0"),
        ({"pdfs": np.full((4, 9), np.nan)}, "finite values only"),
        ({"pdfs": np.zeros((20, 9))}, "nothing to factorize"),
    ],
)
def test_errors(make_scan, change, message):
    arguments = {"pdfs": make_scan((8, 8)).pdfs, "n_components": 2} | change
    with pytest.raises(ValueError, match=message):
        factorize(arguments.pop("pdfs"), arguments.pop("n_components"), **arguments)


def test_too_few_finite_pdfs(make_scan):
    scan = make_scan((8, 8))
    with pytest.raises(ValueError, match="1 of 2 PDFs have only finite values"):
        compress(array_blocks(np.array([scan.pdfs[0], scan.pdfs[1] * np.nan])), 2, scan.r)
