import numpy as np
import pytest

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.fluctuation import (
    MEAN,
    METHODS,
    SHOT,
    VARIANCE,
    image_curves,
    image_influence,
    mean_terms,
    position_terms,
    resampled_means,
    ring_curves,
    ring_moments,
    term_sums,
    variance_image,
)
from medrange.kernels.paired import merged
from medrange.kernels.pixel_sums import pixel_sums
from medrange.kernels.polar import polar_operator

SHAPE = (24, 28)
GRID = PolarGrid(0.0, 1.2, 8, 1)


def geometry(*, mask=None, ellipse=None):
    return DiffractionGeometry(SHAPE, (11.3, 14.2), 0.1, "1/nm", ellipse, mask)


def stop():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[10:13, :16] = True
    mask[4, 20] = True
    return mask


def dense_weights(where, grid=GRID):
    """Share of each pixel in each ring, (n_k, pixels)."""
    operator = polar_operator(where, grid)
    weights = np.zeros((grid.n_k, SHAPE[0] * SHAPE[1]))
    for ring in range(grid.n_k):
        part = slice(operator.indptr[ring], operator.indptr[ring + 1])
        weights[ring, operator.pixels[operator.columns[part]]] = operator.weights[part]
    return weights


def defined(frames, weights, method, counts=None):
    """V(k) as the definitions say it, written out, with ``counts`` of each position."""
    flat = frames.reshape(len(frames), -1).astype(np.float64)
    counts = np.ones(len(frames)) if counts is None else counts
    share = counts / counts.sum()
    first, second = flat @ weights.T, flat**2 @ weights.T
    if method == "annular_mean":
        return share @ first**2 / (share @ first) ** 2 - 1
    if method == "ring_mean":
        return share @ (second / first**2 - 1)
    if method == "ring_ensemble":
        return (share @ second) / (share @ first) ** 2 - 1
    return weights @ (share @ flat**2 / (share @ flat) ** 2 - 1)


def curves(frames, where, method, parts=1, grid=GRID):
    """V(k) and noise through the kernels, from ``parts`` of the scan added up."""
    n, pieces = len(frames), np.array_split(frames, parts)
    if method == "variance_image":
        sums = merged([pixel_sums(piece) for piece in pieces])
        return image_curves(sums, n, where, grid)
    reference = ring_moments(frames[:1], where, grid)[0, :, MEAN]
    terms = sum(position_terms(ring_moments(p, where, grid), reference, method).sum(axis=0) for p in pieces)
    return ring_curves(terms / n, reference, n, method)


@pytest.fixture
def frames():
    rng = np.random.default_rng(3)
    return rng.gamma(4.0, 20.0, (37, 1, 1)) * rng.gamma(9.0, 1.0, (37, *SHAPE))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ellipse", [None, (1.1, 0.4)], ids=["round", "ellipse"])
@pytest.mark.parametrize("masked", [False, True], ids=["open", "masked"])
def test_curves_equal_the_definitions(frames, method, ellipse, masked):
    where = geometry(mask=stop() if masked else None, ellipse=ellipse)
    expected = defined(frames, dense_weights(where), method)
    assert curves(frames, where, method)[0] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, ">u2", np.float32, np.float64])
def test_moments_of_any_type_equal_the_weighted_sums(dtype):
    frames = np.random.default_rng(1).poisson(100, (19, *SHAPE)).astype(dtype)
    weights, flat = dense_weights(geometry()), frames.reshape(19, -1).astype(np.float64)
    moments = ring_moments(frames, geometry(), GRID)
    assert moments.dtype == np.float64
    assert moments[..., MEAN] == pytest.approx(flat @ weights.T, rel=1e-12)
    expected = flat**2 @ weights.T - (flat @ weights.T) ** 2
    assert moments[..., VARIANCE] == pytest.approx(expected, rel=1e-9)
    assert moments[..., SHOT] == pytest.approx(flat @ weights.T**2, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_full_scale_does_not_overflow(dtype):
    top = np.iinfo(dtype).max
    frames = np.full((40, *SHAPE), top, dtype)
    frames[::2] -= 2
    for method in METHODS:
        raw = curves(frames, geometry(), method)[0]
        exact = 0.0 if method == "ring_mean" else 1 / (top - 1) ** 2
        assert raw == pytest.approx(exact, rel=1e-9, abs=1e-30), method
    assert (pixel_sums(frames)[0, 0] == 20 * (2 * int(top) - 2)).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("parts", [2, 5, 37])
def test_parts_of_a_scan_add_up(frames, method, parts):
    whole = curves(frames, geometry(), method)
    for a, b in zip(curves(frames, geometry(), method, parts), whole, strict=True):
        assert a == pytest.approx(b, rel=1e-12)


def test_sums_of_counts_are_exact_in_any_order():
    frames = np.random.default_rng(4).poisson(64000, (64, *SHAPE)).clip(0, 65535).astype(np.uint16)
    parts = [pixel_sums(piece) for piece in np.array_split(frames, 7)]
    forward, backward = merged(parts), merged(parts[::-1])
    assert (forward == backward).all()
    exact = frames.astype(np.int64)
    assert (forward == [[exact.sum(axis=0), (exact**2).sum(axis=0)], np.zeros((2, *SHAPE))]).all()


@pytest.mark.parametrize("dtype", [np.uint32, np.float32, np.float64])
def test_the_variance_image_has_the_same_bits_however_the_scan_is_cut(dtype):
    rng = np.random.default_rng(8)
    spread = np.ldexp(rng.random((90, *SHAPE)), rng.integers(-20, 20, (90, *SHAPE)))
    frames = (spread * 1e3).astype(dtype)
    whole = variance_image(pixel_sums(frames), 90)
    for size in (1, 4, 89):
        order = rng.permutation(90)
        parts = [pixel_sums(frames[order[start : start + size]]) for start in range(0, 90, size)]
        for a, b in zip(variance_image(merged(parts), 90), whole, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_pixel_that_never_changes_has_no_variance():
    frames = np.full((1000, *SHAPE), 3.7)
    assert (variance_image(pixel_sums(frames), 1000)[0] == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_faint_fluctuations_on_a_high_level_keep_their_digits(method):
    rng = np.random.default_rng(5)
    ripple = rng.normal(0, 1e-4, (50, *SHAPE)) + rng.normal(0, 1e-4, (50, 1, 1))
    level = 2.0**20
    centered = ripple - ripple.mean()
    # On the level the ripple is rounded: the truth is what the rounded numbers say.
    stored = (level + centered) - level
    weights = dense_weights(geometry())
    flat = stored.reshape(50, -1)
    first, second = flat @ weights.T, flat**2 @ weights.T
    variance = {
        "annular_mean": first.var(axis=0),
        "ring_mean": (second - first**2).mean(axis=0),
        "ring_ensemble": second.mean(axis=0) - first.mean(axis=0) ** 2,
        "variance_image": weights @ flat.var(axis=0),
    }[method]
    assert curves(level + centered, geometry(), method)[0] == pytest.approx(variance / level**2, rel=1e-6)


def test_noise_is_that_of_the_pixels_counts():
    # Independent pixels of known variance: the expectation of each method's V, written out, over a curved pattern.
    profile = np.add.outer(np.arange(SHAPE[0]), 2.0 * np.arange(SHAPE[1])) + 5
    frames, n = np.repeat(profile[None], 30, axis=0), 30
    weights, flat = dense_weights(geometry()), profile.ravel()
    mean = weights @ flat
    expected = {
        "annular_mean": (1 - 1 / n) * (weights**2 @ flat) / mean**2,
        "ring_mean": ((weights - weights**2) @ flat) / mean**2,
        "ring_ensemble": ((weights - weights**2 / n) @ flat) / mean**2,
        "variance_image": (1 - 1 / n) * (weights @ (1 / flat)),
    }
    for method in METHODS:
        assert curves(frames, geometry(), method)[1] == pytest.approx(expected[method], rel=1e-11), method


@pytest.mark.parametrize("method", METHODS)
def test_closed_and_dark_rings_are_nan(frames, method):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, :] = dense_weights(geometry())[3].reshape(SHAPE) > 0
    dark = dense_weights(geometry())[6].reshape(SHAPE) > 0
    frames[:, dark] = 0
    for curve in curves(frames, geometry(mask=mask), method):
        assert np.isnan(curve[[3, 6]]).all()
        assert np.isfinite(np.delete(curve, [3, 6])).all()


@pytest.mark.parametrize("method", METHODS)
def test_masked_pixels_may_hold_anything(frames, method):
    where, spoiled = geometry(mask=stop()), frames.copy()
    spoiled[:, stop()] = np.nan
    for a, b in zip(curves(spoiled, where, method), curves(frames, where, method), strict=True):
        assert np.array_equal(a, b)
    spoiled[0, 2, 2] = np.nan
    touched = dense_weights(where)[:, 2 * SHAPE[1] + 2] > 0
    assert np.isnan(curves(spoiled, where, method)[0][touched]).all()


def test_pixels_without_an_electron_are_left_out_of_the_variance_image(frames):
    frames[:, 5, 9] = 0
    mask = np.zeros(SHAPE, dtype=bool)
    mask[5, 9] = True
    for a, b in zip(
        curves(frames, geometry(), "variance_image"),
        curves(frames, geometry(mask=mask), "variance_image"),
        strict=True,
    ):
        assert a == pytest.approx(b, rel=1e-12)
    assert np.isnan(variance_image(pixel_sums(frames), 37)[0][5, 9])


@pytest.mark.parametrize("gain", [None, 1.7])
def test_influence_is_the_derivative_with_respect_to_a_positions_weight(frames, gain):
    weights, n = dense_weights(geometry(mask=stop())), len(frames)
    scan = (pixel_sums(frames), n, geometry(mask=stop()), GRID)
    influence = image_influence(frames, *scan, gain)
    flat = frames.reshape(n, -1)

    def value(share):
        floor = 0 if gain is None else gain * (1 - 1 / n) * (weights @ (1 / (share @ flat)))
        return defined(frames, weights, "variance_image", share) - floor

    step = 1e-6
    for position in (0, 11, 36):
        change = -np.full(n, 1 / n)
        change[position] += 1
        slope = (value(1 / n + step * change) - value(1 / n - step * change)) / (2 * step)
        assert influence[position] - influence.mean(axis=0) == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_influence_is_nan_where_no_ring_is(frames):
    mask = dense_weights(geometry())[3].reshape(SHAPE) > 0
    scan = (pixel_sums(frames), 37, geometry(mask=mask), GRID)
    influence = image_influence(frames, *scan, None)
    assert np.isnan(influence[:, 3]).all()
    assert np.isfinite(np.delete(influence, 3, axis=1)).all()


def test_resampling_gives_the_standard_error_of_a_mean():
    values = np.random.default_rng(0).normal(5, 2, (400, 3))
    means = resampled_means(values, 3000, seed=1)
    assert means.shape == (3000, 3)
    assert means.mean(axis=0) == pytest.approx(values.mean(axis=0), abs=0.01)
    assert means.std(axis=0) == pytest.approx(values.std(axis=0) / 20, rel=0.05)
    assert np.array_equal(means, resampled_means(values, 3000, seed=1))
    assert not np.array_equal(means, resampled_means(values, 3000, seed=2))


def test_patterns_are_unchanged(frames):
    before = frames.copy()
    for method in METHODS:
        curves(frames, geometry(), method)
    image_influence(frames, pixel_sums(frames), 37, geometry(), GRID, 1.0)
    assert (frames == before).all()


def test_azimuthal_bins_are_refused(frames):
    with pytest.raises(ValueError, match="n_phi is 36; V\\(k\\) is made of whole rings"):
        ring_moments(frames, geometry(), PolarGrid(0.0, 1.2, 8, 36))


@pytest.mark.parametrize("method", ["annular_mean", "ring_mean", "ring_ensemble"])
def test_sums_of_terms_lose_no_digit_in_whatever_parts(method):
    rng = np.random.default_rng(5)
    moments = np.stack(
        [1e3 + 1e-3 * rng.normal(size=(500, 4)), rng.uniform(1, 2, (500, 4)), np.ones((500, 4))], axis=-1
    )
    whole = mean_terms(term_sums(moments, method), 500, method)
    parts = merged([term_sums(part, method) for part in np.array_split(moments, 7)[::-1]])
    for here, there in zip(whole, mean_terms(parts, 500, method), strict=True):
        np.testing.assert_array_equal(here, there)
    reference = moments[0, :, MEAN].copy()
    expected = ring_curves(position_terms(moments, reference, method).mean(axis=0), reference, 500, method)
    for here, there in zip(ring_curves(*whole, 500, method), expected, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-9)


def test_equal_patterns_have_no_variance_at_all():
    moments = np.full((1000, 3, 3), 0.1)
    terms, reference = mean_terms(term_sums(moments, "annular_mean"), 1000, "annular_mean")
    assert (ring_curves(terms, reference, 1000, "annular_mean")[0] == 0).all()
