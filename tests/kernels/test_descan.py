"""Patterns whose center moves: rows of weights at every center, and the polynomial that the centers follow."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medrange.geometry import Descan, DiffractionGeometry, PolarGrid
from medrange.kernels.angular import angular_power, intensity_variance
from medrange.kernels.descan import beam_centers, fit_polynomial
from medrange.kernels.fluctuation import ring_moments
from medrange.kernels.noise import noise_factors, remove_shot_noise
from medrange.kernels.polar import polar_operator
from medrange.kernels.rings import FIRST_POWER, RADIAL_MEAN, RING_MEAN, VARIANCE, polar_means, ring_statistics
from medrange.kernels.shifted_noise import floor_factors, shifted_noise_factors
from medrange.kernels.virtual import circular_aperture, shifted_aperture_means, weighted_mean

CENTER = (31.3, 32.4)
GEOMETRY = DiffractionGeometry((64, 66), CENTER, 0.16, "1/nm")
BAND = PolarGrid.band(3.2, 0.4, 36)
RINGS = PolarGrid(0.0, 3.84, 24, 36)


def stop_mask():
    mask = np.zeros(GEOMETRY.shape, bool)
    mask[29:34, :34] = True
    mask[50, 40] = True
    return mask


def ring_frames(shifts, *, orders=(), k=3.2, sigma=2.2, background=5.0):
    """A ring 2.2 px wide (standard deviation) on background and beam, its center moved by ``shifts``."""
    rows, cols = np.indices(GEOMETRY.shape)
    y = rows - CENTER[0] - shifts[:, 0, None, None]
    x = cols - CENTER[1] - shifts[:, 1, None, None]
    radius, phi = np.hypot(x, y), np.arctan2(y, x)
    ring = 100 * np.exp(-(((radius - k / 0.16) / sigma) ** 2) / 2)
    return ring * (1 + sum(0.2 * np.cos(n * phi + n) for n in orders)) + background + 2000 * np.exp(-(radius**2) / 12)


def random_shifts(n, *, reach=4.0, seed=0):
    return np.random.default_rng(seed).uniform(-reach, reach, (n, 2))


def moved(shift, geometry=GEOMETRY):
    return replace(geometry, center=(geometry.center[0] + shift[0], geometry.center[1] + shift[1]))


def test_a_perfect_ring_has_no_power_at_its_own_center():
    # py4DSTEM with one origin for all reads P_1 .. P_4 = 0.10, 0.24, 0.07, 0.02 here, below 2e-6 with its own origins.
    shifts = random_shifts(200)
    frames = ring_frames(shifts)
    with_descan = ring_statistics(frames, GEOMETRY, BAND, shifts=shifts)[:, 0, FIRST_POWER:]
    without = ring_statistics(frames, GEOMETRY, BAND)[:, 0, FIRST_POWER:]
    assert with_descan.max() < 1e-5
    assert without[:, 1].mean() > 0.05


@settings(max_examples=60, deadline=None)
@given(st.floats(-8, 8), st.floats(-8, 8), st.booleans())
def test_a_uniform_frame_has_no_power_at_any_center(row, col, masked):
    geometry = replace(GEOMETRY, mask=stop_mask()) if masked else GEOMETRY
    statistics = ring_statistics(np.full((1, 64, 66), 7, np.float32), geometry, BAND, shifts=np.array([[row, col]]))
    assert np.abs(statistics[0, 0, VARIANCE:]).max() < 1e-7
    assert statistics[0, 0, [RADIAL_MEAN, RING_MEAN]] == pytest.approx(7, rel=1e-6)


@pytest.mark.parametrize("mask", [None, stop_mask()], ids=["open", "masked"])
@pytest.mark.parametrize("ellipse", [None, (0.95, 0.4)], ids=["round", "elliptic"])
def test_a_whole_or_quarter_shift_is_exactly_the_operator_there(mask, ellipse):
    # At the centers that rows are built for nothing is interpolated: the polar operator is the independent answer.
    geometry = replace(GEOMETRY, mask=mask, ellipse=ellipse)
    shifts = np.array([[0, 0], [1, 0], [0, -3], [2, 4], [0.25, -0.5], [-1.75, 3.5]], float)
    frames = np.random.default_rng(1).random((len(shifts), 64, 66)) + 1
    grid = PolarGrid(0.8, 4.0, 5, 36)
    means = polar_means(frames, geometry, grid, shifts=shifts)
    statistics = ring_statistics(frames, geometry, grid, shifts=shifts)
    for i, shift in enumerate(shifts):
        np.testing.assert_allclose(means[i], polar_means(frames[i : i + 1], moved(shift, geometry), grid)[0], rtol=1e-9)
        expected = ring_statistics(frames[i : i + 1], moved(shift, geometry), grid)[0]
        np.testing.assert_allclose(statistics[i], expected, rtol=1e-8, atol=1e-12)


def test_no_shift_gives_the_same_bits_as_no_descan():
    frames = np.random.default_rng(1).poisson(9, (21, 64, 66)).astype(np.uint16)
    for grid in (BAND, RINGS):
        plain = ring_statistics(frames, GEOMETRY, grid, n_max=9)
        np.testing.assert_array_equal(ring_statistics(frames, GEOMETRY, grid, n_max=9, shifts=np.zeros((21, 2))), plain)
        means = polar_means(frames, GEOMETRY, grid, phi_first=True)
        np.testing.assert_array_equal(
            polar_means(frames, GEOMETRY, grid, phi_first=True, shifts=np.zeros((21, 2))), means
        )


def blended_mean(frame, geometry, grid, shift):
    """Plain loops: the four nearest exact operators, weighted by how near they are, over open pixels."""
    node = np.floor(np.multiply(shift, 4)) / 4
    t, s = (np.array(shift) - node) * 4
    numerator, denominator = 0.0, 0.0
    for i, j, weight in ((0, 0, (1 - t) * (1 - s)), (1, 0, t * (1 - s)), (0, 1, (1 - t) * s), (1, 1, t * s)):
        # On a detector so much larger that all bins are whole, with the pattern's pixels in its middle.
        wide = replace(geometry, mask=None, shape=(104, 106), center=tuple(np.add(geometry.center, 20)))
        operator = polar_operator(moved((node[0] + i / 4, node[1] + j / 4), wide), grid)
        row, col = np.divmod(operator.pixels, 106)
        row, col = row - 20, col - 20
        inside = (row >= 0) & (row < 64) & (col >= 0) & (col < 66)
        is_open = inside.copy()
        is_open[inside] &= ~geometry.mask[row[inside], col[inside]]
        values = np.zeros(len(row))
        values[is_open] = frame[row[is_open], col[is_open]]
        for b in range(grid.n_k * grid.n_phi):
            own = slice(operator.indptr[b], operator.indptr[b + 1])
            used = operator.columns[own]
            share = np.zeros(grid.n_k * grid.n_phi)
            share[b] = weight
            numerator = numerator + share * (operator.weights[own] @ values[used])
            denominator = denominator + share * (operator.weights[own] @ is_open[used])
    with np.errstate(invalid="ignore"):
        return (numerator / denominator).reshape(grid.n_k, grid.n_phi)


@pytest.mark.parametrize("shift", [(0.1, 0.2), (-3.37, 1.81), (14.6, -13.3)], ids=["near", "far", "off the detector"])
def test_between_whole_shifts_the_operators_are_interpolated(shift):
    geometry = replace(GEOMETRY, mask=stop_mask())
    grid = PolarGrid(2.4, 4.0, 2, 24)
    frame = np.random.default_rng(2).random((64, 66))
    measured = polar_means(frame[None], geometry, grid, shifts=np.array([shift]))[0]
    expected = blended_mean(frame, geometry, grid, shift)
    assert np.isnan(measured).any() == (shift[0] > 10)
    np.testing.assert_allclose(measured, expected, rtol=1e-6)


@pytest.mark.parametrize("mask", [None, stop_mask()], ids=["open", "masked"])
def test_interpolation_is_off_by_the_second_order_only(mask):
    # A blur of at most 1/8 px changes a pattern by (1/8)^2/2 times its Laplacian. For a ring 2.2 px wide at 20 px with
    # orders up to 6 that is up to 1/2.2^2 + 6^2/20^2 = 0.3 per px^2 of its height: 0.23 %, 1.6 times that at its top.
    geometry, shifts = replace(GEOMETRY, mask=mask), random_shifts(40)
    frames = ring_frames(shifts, orders=(2, 4, 6))
    statistics = ring_statistics(frames, geometry, BAND, shifts=shifts)
    exact = np.concatenate(
        [ring_statistics(f[None], moved(s, geometry), BAND) for f, s in zip(frames, shifts, strict=True)]
    )
    np.testing.assert_allclose(statistics[..., RING_MEAN], exact[..., RING_MEAN], rtol=4e-3)
    strong = [VARIANCE, *(FIRST_POWER + n - 1 for n in (2, 4, 6))]
    off = np.abs(statistics[:, 0, strong] / exact[:, 0, strong] - 1)
    assert np.median(off) < 0.01
    # Behind a mask single patterns differ more: a sliver of a bin may be open at one of the four centers only, and
    # its value is that of a few pixels at one side of the ring.
    assert off.max() < (0.01 if mask is None else 0.1)


def test_statistics_of_cut_rings_are_those_of_their_bins():
    geometry, shifts = replace(GEOMETRY, mask=stop_mask()), random_shifts(50, reach=12)
    frames = np.random.default_rng(3).random((50, 64, 66)) + 1
    rings = polar_means(frames, geometry, RINGS, shifts=shifts)
    statistics = ring_statistics(frames, geometry, RINGS, shifts=shifts)
    assert np.isnan(rings).any()
    with np.errstate(invalid="ignore"):
        mean = np.nansum(rings, axis=2) / np.isfinite(rings).sum(axis=2)
    np.testing.assert_allclose(statistics[..., VARIANCE], intensity_variance(rings), rtol=1e-9)
    np.testing.assert_allclose(statistics[..., FIRST_POWER:], angular_power(rings), atol=1e-12)
    np.testing.assert_allclose(statistics[..., RING_MEAN], mean, rtol=1e-9)


def test_a_pattern_does_not_depend_on_its_neighbors():
    geometry, shifts = replace(GEOMETRY, mask=stop_mask()), random_shifts(70, reach=12)
    frames = np.random.default_rng(3).random((70, 64, 66)).astype(np.float32)
    together = ring_statistics(frames, geometry, RINGS, shifts=shifts)
    for part in (slice(0, 1), slice(5, 22), slice(40, 70)):
        alone = ring_statistics(frames[part], geometry, RINGS, shifts=shifts[part])
        np.testing.assert_array_equal(alone, together[part])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "int32", "float64", ">f4", "bool"])
def test_any_type_and_layout_is_read_and_left_alone(dtype):
    shifts = random_shifts(20)
    values = np.random.default_rng(4).integers(0, 2 if dtype == "bool" else 200, (20, 64, 66))
    frames = np.zeros((40, 64, 66), dtype)[::2]
    frames[...] = values
    before = frames.copy()
    measured = polar_means(frames, GEOMETRY, BAND, shifts=shifts)
    np.testing.assert_allclose(measured, polar_means(values.astype(float), GEOMETRY, BAND, shifts=shifts), rtol=2e-6)
    np.testing.assert_array_equal(frames, before)


def test_what_a_masked_pixel_holds_does_not_matter():
    geometry, shifts = replace(GEOMETRY, mask=stop_mask()), random_shifts(20, reach=12)
    frames = np.random.default_rng(4).random((20, 64, 66))
    clean = polar_means(frames, geometry, RINGS, shifts=shifts)
    frames[:, geometry.mask] = np.nan
    np.testing.assert_array_equal(polar_means(frames, geometry, RINGS, shifts=shifts), clean)


def test_ring_moments_at_moved_centers():
    grid = PolarGrid(0.8, 3.2, 6, 1)
    for mask in (None, stop_mask()):
        geometry = replace(GEOMETRY, mask=mask)
        shifts = np.array([[0, 0], [1, -2], [0.25, 3.5], [-14.5, 9]], float)
        frames = np.random.default_rng(5).random((4, 64, 66)) + 3
        moments = ring_moments(frames, geometry, grid, shifts=shifts)
        for i, shift in enumerate(shifts):
            expected = ring_moments(frames[i : i + 1], moved(shift, geometry), grid)[0]
            np.testing.assert_allclose(moments[i], expected, rtol=1e-7)


def test_virtual_aperture_at_moved_centers():
    aperture = {"k": 2.4, "phi": 0.7, "radius": 0.5}
    geometry = replace(GEOMETRY, mask=stop_mask())
    shifts = np.array([[0, 0], [1, -2], [0.25, 3.5]], float)
    frames = np.random.default_rng(5).random((3, 64, 66))
    means = shifted_aperture_means(frames, shifts, geometry, **aperture)
    for i, shift in enumerate(shifts):
        expected = weighted_mean(frames[i : i + 1], circular_aperture(moved(shift, geometry), **aperture))
        assert means[i] == pytest.approx(expected[0], rel=1e-9)
    far = shifted_aperture_means(frames[:1], np.array([[60.0, 0.0]]), geometry, **aperture)
    assert np.isnan(far[0])


def test_shifts_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="shift of the center is not finite"):
        polar_means(np.ones((1, 64, 66)), GEOMETRY, BAND, shifts=np.array([[np.nan, 0.0]]))


@pytest.mark.parametrize("mask", [None, stop_mask()], ids=["open", "masked"])
def test_shot_noise_of_structureless_patterns_is_subtracted(mask):
    # P_n of noise is exponentially distributed: over 10000 patterns its mean is known to 1/sqrt(10000) = 1 %.
    # A mask is taken to the nearest pixel: some percent of the floor more.
    geometry, shifts = replace(GEOMETRY, mask=mask), random_shifts(10000, seed=6)
    frames = np.random.default_rng(7).poisson(3.0, (10000, 64, 66)).astype(np.uint8)
    statistics = ring_statistics(frames, geometry, BAND, shifts=shifts)
    factors = shifted_noise_factors(shifts, geometry, BAND, np.float32)
    corrected = remove_shot_noise(statistics, factors, 1.0)
    left = corrected[:, 0, VARIANCE:].mean(axis=0) / statistics[:, 0, VARIANCE:].mean(axis=0)
    assert abs(left[0]) < (0.01 if mask is None else 0.05)
    assert np.abs(left[1:13]).max() < (0.03 if mask is None else 0.05)


def test_noise_factors_at_whole_shifts_are_those_of_the_operator():
    for mask in (None, stop_mask()):
        geometry = replace(GEOMETRY, mask=mask)
        shifts = np.array([[0, 0], [2, -3], [-14, 9]], float)
        factors = shifted_noise_factors(shifts, geometry, BAND)
        for i, shift in enumerate(shifts):
            expected = noise_factors(moved(shift, geometry), BAND)
            np.testing.assert_allclose(factors.power[i], expected.power, rtol=1e-6)
            np.testing.assert_allclose(factors.variance[i], expected.variance, rtol=1e-6)
            np.testing.assert_allclose(factors.mean_square[i], expected.mean_square, rtol=1e-6)
    variance, power = floor_factors(geometry, BAND, shifts.reshape(1, 3, 2), np.float64)
    assert variance.shape == (1, 3)
    np.testing.assert_allclose(power[:, 0, 2], factors.power[2, 0])
    variance, power = floor_factors(geometry, BAND, None, np.float64)
    assert (variance.shape, power.shape) == ((1, 1), (18, 1, 1))


def test_beam_centers_of_disks():
    shifts = random_shifts(60, reach=5)
    rows, cols = np.indices((64, 66))
    radius = np.hypot(rows - 31.3 - shifts[:, 0, None, None], cols - 32.4 - shifts[:, 1, None, None])
    frames = (1000 * np.clip(3.5 - radius, 0, 1) + 3).astype(np.float32)
    found = beam_centers(frames, (31.0, 33.0), radius=7, reach=8)
    assert np.abs(found - CENTER - shifts).max() < 0.02


def test_beam_centers_need_the_whole_disk():
    frame = np.zeros((1, 64, 66))
    assert np.isnan(beam_centers(frame, CENTER, radius=5, reach=6)).all()
    frame[0, 30:33, 31:34] = 100
    mask = np.zeros((64, 66), bool)
    mask[31, 37] = True
    assert np.isfinite(beam_centers(frame, CENTER, radius=3, reach=6, mask=mask)).all()
    assert np.isnan(beam_centers(frame, CENTER, radius=6, reach=6, mask=mask)).all()
    assert np.isnan(beam_centers(frame, (2.0, 2.0), radius=5, reach=1)).all()


@pytest.mark.parametrize("degree", [1, 2])
def test_fit_leaves_out_what_is_far_off(degree):
    rng = np.random.default_rng(8)
    y, x = np.meshgrid(np.linspace(-10, 10, 20), np.linspace(-20, 20, 30), indexing="ij")
    positions = np.stack([y.ravel(), x.ravel()], axis=1)
    truth = rng.normal(size=(2, 2 if degree == 1 else 5)) * (
        [0.2, 0.1] if degree == 1 else [0.2, 0.1, 0.01, 0.01, 0.01]
    )
    centers = CENTER + Descan.terms(*positions.T, degree) @ truth.T + rng.normal(0, 0.05, (600, 2))
    centers[rng.choice(600, 150, replace=False)] = rng.uniform(0, 64, (150, 2))
    centers[:7] = np.nan
    center, coefficients, used = fit_polynomial(positions, centers, degree=degree)
    predicted = center + Descan.terms(*positions.T, degree) @ coefficients.T
    # 450 centers of 0.05 px and at most 6 terms: 0.05 sqrt(6/450) = 0.006 px on average, some times that at corners.
    assert np.abs(predicted - CENTER - Descan.terms(*positions.T, degree) @ truth.T).max() < 0.03
    assert 430 < used.sum() <= 455
    assert not used[:7].any()


def test_fit_refuses_what_does_not_tell_a_polynomial():
    line = np.stack([np.zeros(30), np.arange(30.0)], axis=1)
    with pytest.raises(ValueError, match="too few or lie on a line"):
        fit_polynomial(line, np.ones((30, 2)), degree=1)
    with pytest.raises(ValueError, match="0 positions with a center"):
        fit_polynomial(np.random.default_rng(0).random((30, 2)), np.full((30, 2), np.nan), degree=1)
    with pytest.raises(ValueError, match="degree is 3"):
        fit_polynomial(line, np.ones((30, 2)), degree=3)
