"""Structural types of synthetic scans: map, order, names, bounds, stability, and components without bounds."""

import numpy as np
import pytest

from medrange.pdf.components import (
    component_stability,
    match_components,
    order_components,
    residual_by_number,
    structural_types,
    weights_on,
)
from medrange.pdf.compression import array_blocks, compress
from medrange.pdf.factorization import factorize_compressed
from medrange.pdf.feasible_band import feasible_band
from medrange.pdf.fractions import fraction_maps
from medrange.pdf.latent import independent_components, principal_components
from medrange.pdf.peaks import find_peak


def decompose(scan, n_components=2, **options):
    compressed = compress(array_blocks(scan.pdfs), len(scan.pdfs), scan.r, **options)
    return compressed, structural_types(compressed, factorize_compressed(compressed, n_components), scan.r)


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


@pytest.mark.parametrize("options", [{}, {"negatives": "offset", "normalization": "first_peak"}])
def test_map_of_two_types(make_scan, options):
    scan = make_scan()
    _, types = decompose(scan, **options)
    assert types.labels == ("liquid-like", "solid-like")
    assert correlation(fraction_maps(types.weights)[:, 0], scan.weight) > 0.98


@pytest.mark.parametrize("options", [{}, {"negatives": "offset", "normalization": "first_peak"}])
def test_thickness_leaves_the_map(make_scan, options):
    scan = make_scan(amplitude=0.1)
    _, types = decompose(scan, **options)
    assert correlation(fraction_maps(types.weights)[:, 0], scan.weight) > 0.98


def test_thickness_adds_a_direction_that_normalization_takes_away(make_scan):
    scan = make_scan(noise=0.01, amplitude=0.1)
    plain, normalized = (
        principal_components(decompose(scan, normalization=method)[0], scan.r, 3).explained
        for method in (None, "first_peak")
    )
    assert plain[1] > 10 * plain[2]
    assert normalized[1] < 0.3 * plain[1]


@pytest.mark.parametrize(("noise", "band_limited"), [(0.02, True), (0.1, True), (0.02, False), (0.1, False)])
def test_band_contains_the_true_first_peaks(make_scan, noise, band_limited):
    scan = make_scan(noise=noise, band_limited=band_limited)
    compressed, _ = decompose(scan)
    band = feasible_band(compressed, scan.r)
    # The grid of r and the noise of a percentile move an end by some thousandths of an angstrom.
    for (low, high), truth in zip(band.first_peak, find_peak(scan.types, scan.r).position, strict=True):
        assert low - 0.005 <= truth <= high + 0.005
    low, high = band.liquid_fraction
    assert low <= scan.weight.mean() <= high
    assert 0 < band.reliability <= 1


def test_both_ends_of_the_band_fit_equally_well(make_scan):
    scan = make_scan(noise=0.02)
    compressed, _ = decompose(scan)
    band = feasible_band(compressed, scan.r)
    inner, outer = (weights_on(compressed, band.bases[:, end])[1] for end in (0, 1))
    # The inner ends leave out the purest percent of the PDFs.
    assert outer <= inner < 1.1 * outer


def test_bases_reproduce_the_pdfs(make_scan):
    scan = make_scan(noise=0.02)
    _, types = decompose(scan)
    left = scan.pdfs - types.weights @ types.bases
    assert np.linalg.norm(left) / np.linalg.norm(scan.pdfs) == pytest.approx(types.residual, rel=1e-3)
    assert types.weights.sum(axis=1).mean() == pytest.approx(1, abs=0.01)


def test_residual_component_is_named_and_last():
    r = np.arange(1.5, 8, 0.05)
    peaks = [h * np.exp(-(((r - p) / 0.3) ** 2)) for p, h in ((3.1, 0.1), (2.4, 1), (2.5, 1), (2.45, 1), (2.46, 1))]
    order, labels = order_components(np.array(peaks), r)
    assert order.tolist() == [2, 4, 3, 1, 0]
    assert labels == ("liquid-like", "intermediate 1", "intermediate 2", "solid-like", "residual")
    assert order_components(np.array(peaks[1:2]), r)[1] == ("average",)
    flat = np.array([peaks[1], np.zeros(r.size), np.full(r.size, -1.0)])
    assert order_components(flat, r)[1] == ("average", "residual 1", "residual 2")


def test_matching_undoes_a_permutation_and_a_scale():
    bases = np.random.default_rng(0).standard_normal((4, 50))
    shuffled = 3 * bases[[2, 0, 3, 1]] + 1
    order, values = match_components(bases, shuffled)
    np.testing.assert_allclose(shuffled[order], 3 * bases + 1)
    np.testing.assert_allclose(values, 1)
    with pytest.raises(ValueError, match="have shapes"):
        match_components(bases, bases[:3])


def test_stable_decomposition(make_scan):
    scan = make_scan()
    compressed, types = decompose(scan)
    runs = component_stability(compressed, types.bases, types.weights, scan.r, n_runs=2)
    assert runs.kinds == ("restart", "restart", "half", "half")
    assert runs.basis_correlation.min() > 0.99
    assert runs.weight_correlation.min() > 0.99
    assert runs.first_peak.std(axis=0).max() < 0.02


def test_residual_falls_until_the_number_of_types(make_scan):
    scan = make_scan((30, 30), noise=0.01)
    compressed, _ = decompose(scan)
    table = residual_by_number(compressed, (1, 2, 3))
    assert table["residual"][1] < 0.5 * table["residual"][0]
    assert table["residual"][2] > 0.85 * table["residual"][1]
    assert (table["lower_bound"] <= table["residual"] * (1 + 1e-9)).all()
    np.testing.assert_allclose(table["other_half"], table["residual"], rtol=0.1)


def test_first_principal_component_is_the_map(make_scan):
    scan = make_scan(noise=0.02, band_limited=True)
    compressed, _ = decompose(scan)
    found = principal_components(compressed, scan.r, 2)
    assert correlation(found.scores[:, 0], scan.weight) > 0.98
    np.testing.assert_allclose(found.mean, scan.pdfs.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.scores.std(axis=0), 1)
    full = principal_components(compressed, scan.r)
    np.testing.assert_allclose(full.mean + full.scores @ full.components, scan.pdfs, atol=0.01)
    singular = np.linalg.svd(scan.pdfs - scan.pdfs.mean(axis=0), compute_uv=False) ** 2
    np.testing.assert_allclose(found.explained, singular[:2] / singular.sum(), rtol=1e-3)


@pytest.mark.filterwarnings("ignore:2 independent components did not come to rest")
def test_independent_component_is_the_map(make_scan):
    scan = make_scan(noise=0.02, band_limited=True)
    compressed, _ = decompose(scan)
    found = independent_components(compressed, scan.r, 2)
    assert correlation(found.scores[:, 0], scan.weight) > 0.95
    # The same subspace as that of the principal components.
    principal = principal_components(compressed, scan.r, 2)
    np.testing.assert_allclose(found.scores @ found.components, principal.scores @ principal.components, atol=1e-3)
    assert found.explained.sum() == pytest.approx(principal.explained.sum())


def test_independent_components_of_noise_are_said_to_be_undetermined(make_scan):
    compressed, _ = decompose(make_scan(single=True, band_limited=True))
    with pytest.warns(UserWarning, match="6 independent components did not come to rest"):
        independent_components(compressed, make_scan().r, 6)


def test_more_components_than_directions(make_scan):
    compressed, _ = decompose(make_scan((8, 8), noise=0.0))
    with pytest.raises(ValueError, match="vary in 1 directions"):
        principal_components(compressed, make_scan().r, 5)
