"""The test against a single phase: it keeps its level, sees two types, and is not deceived by overlapping probes."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medrange.pdf import null
from medrange.pdf.compression import array_blocks, compress
from medrange.pdf.null import neighbor_autocorrelation, single_phase_test


def noisy(make_scan, *arguments, **options):
    return make_scan(*arguments, **{"noise": 0.05, "band_limited": True} | options)


def run(scan, n_surrogates=39, seed=0):
    compressed = compress(array_blocks(scan.pdfs), len(scan.pdfs), scan.r)
    return single_phase_test(compressed, scan.shape, scan.r, n_surrogates=n_surrogates, seed=seed)


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_two_types_are_told_from_noise(make_scan, noise):
    test = run(noisy(make_scan, (28, 28), noise=noise))
    assert test.distinguishable
    assert test.p_value == 1 / 40
    assert test.verdict.startswith("Two structural types are distinguishable")
    assert test.observed["peak_gap"] > test.expected["peak_gap"] + 5 * test.spread["peak_gap"]


def test_level_on_single_phases(make_scan):
    """At the level 0.05 at most 4 of 20 single phases pass with a probability of 99.7 %; both tests must pass."""
    tests = [run(noisy(make_scan, (16, 16), single=True, seed=seed), n_surrogates=19, seed=seed) for seed in range(20)]
    assert sum(test.distinguishable for test in tests) <= 4
    assert sum(test.p_values["autocorrelation"] <= 0.05 for test in tests) <= 4
    # The surrogates show what single phases show; a little more, as they are drawn from an estimate, which is safe.
    observed, expected = (
        np.mean([getattr(test, name)["variance"] for test in tests]) for name in ("observed", "expected")
    )
    assert 0.95 * observed < expected < 1.35 * observed
    quiet = [test for test in tests if test.p_values["autocorrelation"] > 0.05]
    assert not any(test.distinguishable for test in quiet)
    assert all(test.verdict.startswith("Not distinguishable from a single phase") for test in quiet)


def test_overlapping_probes_are_not_structure(make_scan):
    """Noise that neighbors share, as where the probe is wider than the scan step, is order in space, but one phase."""
    passed = 0
    for seed in range(8):
        scan = noisy(make_scan, (20, 20), single=True, seed=seed)
        noise = (scan.pdfs - scan.types[0]).reshape(*scan.shape, -1)
        scan.pdfs = scan.types[0] + gaussian_filter(noise, (0.8, 0.8, 0), mode="wrap").reshape(scan.pdfs.shape)
        test = run(scan, n_surrogates=19)
        assert test.noise_autocorrelation > 0.4
        passed += test.distinguishable
    # 2 of 8 or fewer with a probability of 99.4 %.
    assert passed <= 2


def test_a_type_without_order_in_space_cannot_be_told(make_scan):
    scan = noisy(make_scan, (20, 20), noise=0.05)
    scan.pdfs = scan.pdfs[np.random.default_rng(0).permutation(400)]
    assert not run(scan).distinguishable


def test_change_that_leaves_the_peak_is_said(make_scan):
    scan = noisy(make_scan, (24, 24), single=True)
    field = noisy(make_scan, (24, 24)).weight.reshape(-1, 1)
    scan.pdfs = scan.pdfs + field * np.exp(-(((scan.r - 7) / 0.5) ** 2))
    test = run(scan)
    assert test.p_values["autocorrelation"] < 0.05
    assert test.verdict.startswith("The PDF changes over the scan, but its first peak")


def test_gaps_in_the_scan(make_scan):
    scan = noisy(make_scan, (24, 24))
    scan.pdfs[:30] = np.nan
    assert run(scan).distinguishable
    single = noisy(make_scan, (24, 24), single=True)
    single.pdfs[:30] = np.nan
    assert not run(single).distinguishable


def test_same_seed_same_answer(make_scan):
    scan = noisy(make_scan, (12, 12))
    first, second = run(scan, 19, seed=5), run(scan, 19, seed=5)
    assert first.expected == second.expected
    assert first.n_surrogates == 19


def test_neighbor_autocorrelation_of_known_maps():
    everywhere = np.ones((40, 40), bool)
    board = np.indices((40, 40)).sum(0) % 2
    assert neighbor_autocorrelation(board, everywhere) == pytest.approx(-1)
    noise = np.random.default_rng(0).standard_normal((200, 200))
    # A mean of two neighbors correlates by one half along one axis and not along the other.
    assert neighbor_autocorrelation(noise[1:] + noise[:-1], np.ones((199, 200), bool)) == pytest.approx(0.25, abs=0.02)
    assert neighbor_autocorrelation(noise, np.ones((200, 200), bool)) == pytest.approx(0, abs=0.02)


def test_errors(make_scan):
    scan = noisy(make_scan, (8, 8))
    compressed = compress(array_blocks(scan.pdfs), 64, scan.r)
    with pytest.raises(ValueError, match=r"shape \(4, 16\)"):
        single_phase_test(compressed, (4, 16), scan.r)
    with pytest.raises(ValueError, match="fewer than 19"):
        single_phase_test(compressed, (8, 8), scan.r, n_surrogates=9)
    noiseless = noisy(make_scan, (8, 8), noise=0.0)
    with pytest.raises(ValueError, match="1 directions only"):
        single_phase_test(compress(array_blocks(noiseless.pdfs), 64, scan.r), (8, 8), scan.r)


@pytest.mark.parametrize("shape", [(32, 48), (33, 47)])
def test_surrogates_are_drawn_as_spectra_of_real_images(shape):
    rng = np.random.default_rng(0)
    full = np.abs(np.fft.fft2(rng.standard_normal(shape)))
    amplitude = (full / np.sqrt((full**2).mean()))[:, : shape[1] // 2 + 1]
    noise = null._Noise(np.eye(6), amplitude, shape)
    spectra = np.concatenate([null._surrogate(noise, own) for own in rng.spawn(200)])
    images = np.fft.irfft2(spectra[:6], s=shape)
    np.testing.assert_allclose(np.fft.rfft2(images), spectra[:6], rtol=1e-3, atol=1e-3 * np.abs(spectra).max())
    # Each of the 1200 squares at a frequency scatters by its mean, or by sqrt(2) of it where the spectrum is real.
    power = (np.abs(spectra) ** 2).mean(axis=0) / np.prod(shape) / amplitude**2
    assert power.mean() == pytest.approx(1, abs=5 / np.sqrt(1200 * power.size))
    assert np.abs(power - 1).max() < 6 * np.sqrt(2 / 1200)


@pytest.mark.parametrize("shape", [(32, 48), (33, 47)])
def test_statistics_of_spectra_are_those_of_their_images(shape):
    rng = np.random.default_rng(1)
    r = np.linspace(1.5, 6, 80)
    curves = null._Curves(np.exp(-(((r - 2.5) / 0.2) ** 2)), np.linalg.qr(rng.standard_normal((80, 5)))[0].T, r)
    amplitude = np.ones((shape[0], shape[1] // 2 + 1))
    root = rng.standard_normal((5, 5))
    spectra = null._surrogate(null._Noise(root, amplitude, shape), rng)
    everywhere = np.ones(shape, dtype=bool)
    expected = null._statistics_of_images(spectra, root, everywhere, curves)
    assert null._statistics_of_spectra(spectra, root, everywhere, curves) == pytest.approx(expected, rel=1e-4)
