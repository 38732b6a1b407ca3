"""Ring statistics at every pattern's own center behind a mask and over the detector's edge, against plain loops."""

from dataclasses import replace

import numpy as np
import pytest

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.angular import pair_correction
from medrange.kernels.lanes import LANES, block_width
from medrange.kernels.polar import polar_operator
from medrange.kernels.rings import FIRST_POWER, RADIAL_MEAN, RING_MEAN, VARIANCE, ring_statistics
from medrange.kernels.shifted_cuts import closed_bits, correct_pairs, open_ring, pair_tables, ring_state
from medrange.kernels.shifted_rings import _PIECE

SHAPE, CENTER = (64, 66), (31.3, 32.4)


def stop_mask():
    mask = np.zeros(SHAPE, bool)
    mask[29:34, :34] = True
    mask[[50, 12, 40], [40, 20, 51]] = True
    return mask


def geometry(mask=None, center=CENTER):
    return DiffractionGeometry(SHAPE, center, 0.16, "1/nm", mask=mask)


def moved(shape, shift):
    return replace(shape, center=(CENTER[0] + shift[0], CENTER[1] + shift[1]))


def power_by_loops(ring, is_open, n):
    """c_n / N sum over lags of the correlation over pairs of open bins, times cos(2 pi n lag / N)."""
    n_phi = len(ring)
    mean, total = ring[is_open].mean(), 0.0
    for lag in range(n_phi):
        pairs = [(b, (b + lag) % n_phi) for b in range(n_phi) if is_open[b] and is_open[(b + lag) % n_phi]]
        if pairs:
            correlation = sum((ring[a] - mean) * (ring[b] - mean) for a, b in pairs) / len(pairs)
            total += correlation * np.cos(2 * np.pi * n * lag / n_phi)
    return (1 if 2 * n == n_phi else 2) / n_phi * total / mean**2


def statistics_by_loops(frame, own_geometry, grid, n_max):
    """The definitions, ring by ring, over the bins of the exact operator at the pattern's center."""
    operator = polar_operator(own_geometry, grid)
    values = frame.astype(float).ravel()[operator.pixels]
    result = np.full((grid.n_k, FIRST_POWER + n_max), np.nan)
    for i_k in range(grid.n_k):
        ring, is_open, area = np.zeros(grid.n_phi), operator.is_open[i_k], operator.area[i_k]
        for b in range(grid.n_phi):
            own = slice(*operator.indptr[i_k * grid.n_phi + b : i_k * grid.n_phi + b + 2])
            ring[b] = operator.weights[own] @ values[operator.columns[own]]
        if area.sum() > 0:
            result[i_k, RADIAL_MEAN] = (area * ring).sum() / area.sum()
        if is_open.any():
            mean = ring[is_open].mean()
            result[i_k, RING_MEAN] = mean
            result[i_k, VARIANCE] = ((ring[is_open] - mean) ** 2).mean() / mean**2
            result[i_k, FIRST_POWER:] = [power_by_loops(ring, is_open, n) for n in range(1, n_max + 1)]
    return result


@pytest.mark.parametrize("mask", [None, stop_mask()], ids=["open", "masked"])
@pytest.mark.parametrize(("n_phi", "n_max"), [(36, 10), (35, 17), (14, 7), (3, 1)])
def test_definitions_at_whole_and_quarter_shifts(mask, n_phi, n_max):
    # Some of them move rings off the detector, in each direction.
    shifts = np.array([[0, 0], [2, -3], [-14, 9], [15, 16], [-1.75, 3.5], [13.25, -15.5], [40, 0]], float)
    frames = np.random.default_rng(1).random((len(shifts), *SHAPE)) + 0.5
    grid = PolarGrid(0.2, 4.2, 5, n_phi)
    measured = ring_statistics(frames, geometry(mask), grid, n_max=n_max, shifts=shifts)
    expected = [
        statistics_by_loops(f, moved(geometry(mask), s), grid, n_max) for f, s in zip(frames, shifts, strict=True)
    ]
    np.testing.assert_allclose(measured, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", ">u2", "i4", "f4", ">f4", "f8"])
def test_any_type_is_read_alike(dtype):
    # Single precision: 1e-7 of the mean in each bin, so 2e-7 sqrt(V) in V, with V up to about 1.
    shifts = np.random.default_rng(2).uniform(-16, 16, (40, 2))
    frames = np.random.default_rng(3).integers(1, 120, (40, *SHAPE)).astype(dtype)
    before = frames.copy()
    grid = PolarGrid(0.3, 4.2, 6, 36)
    measured = ring_statistics(frames, geometry(stop_mask()), grid, n_max=9, shifts=shifts)
    expected = ring_statistics(frames.astype(float), geometry(stop_mask()), grid, n_max=9, shifts=shifts)
    assert measured.dtype == (np.float64 if dtype in ("i4", "f8") else np.float32)
    assert measured.shape == (40, 6, 12)
    np.testing.assert_allclose(measured, expected, rtol=3e-6, atol=1e-6)
    np.testing.assert_array_equal(frames, before)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_order_and_company_do_not_change_a_bit(dtype):
    # Whole, cut and off-detector patterns, in rings of which some are cut in some patterns only.
    rng = np.random.default_rng(4)
    mask = np.zeros(SHAPE, bool)
    mask[10:14, 8:20] = True
    shifts = np.concatenate([rng.uniform(-1, 1, (60, 2)), rng.uniform(-14, 14, (60, 2))])
    frames = rng.integers(1, 200, (120, *SHAPE)).astype(dtype)
    grid = PolarGrid(0.3, 4.2, 8, 36)
    together = ring_statistics(frames, geometry(mask), grid, n_max=7, shifts=shifts)
    order = rng.permutation(120)
    again = ring_statistics(frames[order], geometry(mask), grid, n_max=7, shifts=shifts[order])
    np.testing.assert_array_equal(again, together[order])
    for part in (slice(0, 1), slice(3, 20), slice(50, 75), slice(119, 120)):
        alone = ring_statistics(frames[part], geometry(mask), grid, n_max=7, shifts=shifts[part])
        np.testing.assert_array_equal(alone, together[part])
    # The first orders are the same however many are asked for.
    more = ring_statistics(frames, geometry(mask), grid, shifts=shifts)
    np.testing.assert_allclose(more[..., : together.shape[2]], together, rtol=1e-6, atol=1e-9)


def test_many_patterns_of_one_cell():
    n = _PIECE + 37
    rng = np.random.default_rng(5)
    shifts = rng.integers(-3, 4, (n, 2)) + 0.1
    frames = rng.integers(1, 200, (n, *SHAPE)).astype(np.uint16)
    grid = PolarGrid(2.0, 3.2, 2, 24)
    together = ring_statistics(frames, geometry(stop_mask()), grid, n_max=4, shifts=shifts)
    for i in (0, 15, 700, _PIECE - 1, _PIECE, n - 1):
        alone = ring_statistics(frames[i : i + 1], geometry(stop_mask()), grid, n_max=4, shifts=shifts[i : i + 1])
        np.testing.assert_array_equal(alone[0], together[i])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_what_closed_pixels_hold_does_not_matter(dtype):
    shifts = np.random.default_rng(6).uniform(-16, 16, (30, 2))
    frames = np.random.default_rng(7).random((30, *SHAPE)).astype(dtype)
    grid = PolarGrid(0.0, 4.2, 6, 36)
    clean = ring_statistics(frames, geometry(stop_mask()), grid, shifts=shifts)
    frames[:, stop_mask()] = np.nan
    np.testing.assert_array_equal(ring_statistics(frames, geometry(stop_mask()), grid, shifts=shifts), clean)


def test_a_closed_ring_has_no_statistics():
    rows, cols = np.indices(SHAPE)
    radius = np.hypot(rows - CENTER[0], cols - CENTER[1])
    # The second ring, 10 to 15 pixels, is closed with room for the shift; the first keeps its inner pixels.
    mask = (radius > 8) & (radius < 18)
    shifts = np.array([[0.3, -0.6], [1.0, 1.0], [-0.9, 0.2]])
    frames = np.random.default_rng(8).random((3, *SHAPE)) + 1
    statistics = ring_statistics(frames, geometry(mask), PolarGrid(0.8, 4.0, 4, 36), n_max=6, shifts=shifts)
    assert np.isnan(statistics[:, 1]).all()
    assert np.isfinite(statistics[:, [0, 3]]).all()


def test_slivers_count_for_the_radial_mean_alone():
    # All that is left of the ring are corners of pixels, less than a twentieth of any bin.
    rows, cols = np.indices(SHAPE)
    radius = np.hypot(rows - CENTER[0], cols - CENTER[1])
    mask = (radius > 14.5) & (radius < 25.4)
    grid = PolarGrid.band(3.2, 1.6, 12)
    frames = np.random.default_rng(9).random((1, *SHAPE)) + 1
    shift = np.array([[0.0, 0.0]])
    operator = polar_operator(geometry(mask), grid)
    assert operator.area.sum() > 0
    assert not operator.is_open.any()
    statistics = ring_statistics(frames, geometry(mask), grid, n_max=6, shifts=shift)[0, 0]
    expected = statistics_by_loops(frames[0], geometry(mask), grid, 6)[0]
    assert statistics[RADIAL_MEAN] == pytest.approx(expected[RADIAL_MEAN], rel=1e-9)
    assert np.isnan(statistics[RING_MEAN:]).all()


@pytest.mark.parametrize("n_phi", [3, 4, 5, 12, 35, 36, 70, 72])
def test_pairs_of_open_bins(n_phi):
    """Sixteen rings with other closed bins each, against the matrix of the pair correction."""
    rng = np.random.default_rng(n_phi)
    n_orders, n_max = n_phi // 2, max(1, n_phi // 3)
    is_open = rng.random((LANES, n_phi)) < np.linspace(0.1, 1.2, LANES)[:, None]
    area = np.full((1, n_phi), 30.0)
    which = np.arange(LANES)
    first, bins = np.zeros((LANES, 2), np.int64), []
    for lane in range(LANES):
        first[lane, 0] = len(bins)
        bins += list(np.flatnonzero(~is_open[lane]))
        first[lane, 1] = len(bins)
    cuts = (first, np.array(bins, np.int32), np.zeros((len(bins), 4)), np.zeros((0, 4)))
    values = rng.random((n_phi, LANES)) + 1
    ring = np.where(is_open.T, values, 0)
    state = ring_state(n_phi, np.float64)
    areas = (area, area / area.sum(), area.sum(axis=1))
    mixed = open_ring(ring, 0, (which, np.zeros((3, LANES))), cuts, areas, state)
    n_open = is_open.sum(axis=1)
    partly = (n_open > 0) & (n_open < n_phi)
    assert mixed == partly.any()
    np.testing.assert_array_equal(state[3], partly)
    power = rng.random((n_orders, LANES))
    result = np.zeros((FIRST_POWER + n_orders + 2, LANES))
    result[FIRST_POWER : FIRST_POWER + n_orders] = power
    if mixed:
        correct_pairs(result, n_phi, pair_tables(n_phi, n_max, np.float64), state, np.zeros((n_phi + 10, LANES)))
    for lane in range(LANES):
        if n_open[lane]:
            assert state[0][0, lane] == pytest.approx(values[is_open[lane], lane].mean(), rel=1e-12)
            np.testing.assert_allclose(ring[~is_open[lane], lane], values[is_open[lane], lane].mean(), rtol=1e-12)
        matrix = pair_correction(is_open[lane]) if partly[lane] else np.eye(n_orders)
        expected = matrix @ power[:, lane]
        np.testing.assert_allclose(result[FIRST_POWER : FIRST_POWER + n_max, lane], expected[:n_max], atol=1e-12)


@pytest.mark.parametrize("dtype", ["f4", "u2", "u1"])
def test_bits_of_closed_pixels(dtype):
    width, mask = block_width(np.dtype(dtype)), stop_mask()
    offsets = np.array([[0, 0], [-40, 3], [7, -70], [30, 50]])
    blocks = np.array([[0, 0], [31, 20], [63, 60], [20, -10]])
    bits = closed_bits(mask, offsets, blocks, width)
    for u, i in np.ndindex(bits.shape):
        for p in range(width):
            row, col = blocks[i] + offsets[u] + [0, p]
            on = 0 <= row < SHAPE[0] and 0 <= col < SHAPE[1]
            assert bool(int(bits[u, i]) >> p & 1) == (not on or bool(mask[row, col]))


def test_too_few_pixels():
    shape = DiffractionGeometry((3, 3), (1, 1), 0.1, "1/nm")
    with pytest.raises(ValueError, match="a pattern has 9 pixels; at least 16 are needed"):
        ring_statistics(np.ones((1, 3, 3), np.float32), shape, PolarGrid.band(0.1, 0.1, 4), shifts=np.zeros((1, 2)))
