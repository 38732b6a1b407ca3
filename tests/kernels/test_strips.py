"""Sparse rows strip by strip, against products with a dense matrix, for every number type and odd sizes."""

import numpy as np
import pytest
from scipy import sparse

from medrange.kernels.lanes import block_width, full_blocks
from medrange.kernels.strips import apply_rows, strip_frames, strip_rows

TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">u2", ">f4", "?"]


def rows_of(matrix, layout, dtype):
    pixels = np.flatnonzero((matrix != 0).any(axis=0))
    compressed = sparse.csr_array(matrix[:, pixels])
    weights = compressed.data.astype(dtype)
    return strip_rows(pixels, compressed.indptr, compressed.indices, weights, matrix.shape[1], layout)


def random_matrix(n_rows, n_pixels, seed=0):
    """Rows of very different lengths, the first of them empty."""
    rng = np.random.default_rng(seed)
    filled = rng.uniform(0, 0.2, n_rows)[:, None] > rng.random((n_rows, n_pixels))
    filled[0] = False
    return np.where(filled, rng.normal(size=filled.shape), 0)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(4, 4), (5, 13), (40, 41)])
@pytest.mark.parametrize("n", [1, 16, 37])
def test_products_with_a_matrix(dtype, shape, n):
    rng = np.random.default_rng(1)
    low = 0 if np.dtype(dtype).kind in "ub" else -100
    frames = rng.integers(low, 2 if dtype == "?" else 120, (n, *shape)).astype(dtype)
    before = frames.copy()
    flat, layout = strip_frames(frames)
    matrix = random_matrix(7, shape[0] * shape[1])
    result = apply_rows(flat, rows_of(matrix, layout, np.float64), layout[0], np.arange(7)[::-1])
    expected = frames.reshape(n, -1).astype(float) @ matrix.T
    np.testing.assert_allclose(result, expected[:, ::-1], rtol=1e-12, atol=1e-10)
    np.testing.assert_array_equal(frames, before)


def test_extremes_of_small_integers():
    for dtype in ("u1", "i1", "u2", "i2"):
        limits = np.iinfo(dtype)
        frames = np.resize(np.array([limits.min, limits.max, 0, limits.max - 1], dtype), (16, 8, 16))
        flat, layout = strip_frames(frames)
        assert layout[0] == block_width(np.dtype(dtype)) == 64 // np.dtype(dtype).itemsize
        result = apply_rows(flat, rows_of(np.eye(128), layout, np.float32), layout[0], np.arange(128))
        np.testing.assert_array_equal(result, frames.reshape(16, 128))


def test_a_pattern_does_not_depend_on_its_neighbors():
    frames = np.random.default_rng(2).poisson(9, (37, 30, 31)).astype(np.uint16)
    flat, layout = strip_frames(frames)
    rows = rows_of(random_matrix(9, 930), layout, np.float32)
    whole = apply_rows(flat, rows, layout[0], np.arange(9))
    for i in (0, 15, 16, 36):
        np.testing.assert_array_equal(apply_rows(flat[i : i + 1], rows, layout[0], np.arange(9))[0], whole[i])
    assert [count for _, count in full_blocks(flat)] == [32, 5]


def test_unused_pixels_are_not_seen():
    frames = np.ones((3, 20, 20), np.float32)
    matrix = random_matrix(5, 400)
    frames.reshape(3, -1)[:, ~(matrix != 0).any(axis=0)] = np.nan
    flat, layout = strip_frames(frames)
    result = apply_rows(flat, rows_of(matrix, layout, np.float64), layout[0], np.arange(5))
    np.testing.assert_allclose(result, np.tile(matrix.sum(axis=1), (3, 1)), rtol=1e-12, atol=1e-12)
    nothing = rows_of(np.zeros((5, 400)), layout, np.float64)
    assert (apply_rows(flat, nothing, layout[0], np.arange(5)) == 0).all()


def test_too_few_pixels():
    with pytest.raises(ValueError, match="a pattern has 9 pixels; at least 16 are needed"):
        rows_of(np.ones((1, 9)), (16, 0), np.float32)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_blocks_may_begin_at_any_pixel(dtype):
    """Not a bit changes with where an array lies in memory."""
    frames = np.random.default_rng(3).poisson(9, (20, 41, 43)).astype(dtype)
    matrix, (flat, (width, _)) = random_matrix(9, 41 * 43), strip_frames(frames)
    expected = apply_rows(flat, rows_of(matrix, (width, 0), np.float64), width, np.arange(9))
    for phase in (1, width // 4, width - 1):
        found = apply_rows(flat, rows_of(matrix, (width, phase), np.float64), width, np.arange(9))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_blocks_of_large_arrays_lie_in_lines_of_the_cache(dtype):
    item, memory = np.dtype(dtype).itemsize, np.zeros(2**21 + 128, np.uint8)
    for begin in (0, 16, 32, 48, 64):
        first = -memory.ctypes.data % 64 + begin
        frames = memory[first : first + 2**21].view(dtype).reshape(-1, 32, 32)
        flat, (width, phase) = strip_frames(frames)
        assert 0 <= phase < width
        assert (flat.ctypes.data + phase * item) % 64 == 0
    # Of few frames nothing is gained, and frames that lie differently have no common phase.
    assert strip_frames(frames[:4])[1][1] == 0
    assert strip_frames(np.zeros((3000, 31, 31), dtype))[1][1] == 0
