"""Sums over patterns of the intensity and its square, pixel by pixel, of which no digit is lost."""

from __future__ import annotations

import numpy as np
from numba import njit

from medrange.kernels.lanes import flat_frames
from medrange.kernels.paired import add_pair, adds_exactly, exact_parts, normalized, product_pair, two_product, two_sum

# Detector pixels summed together: their sums stay in the processor's fastest cache.
_TILE = 512
# A variance below this share of the mean square is what pairs of doubles cannot tell from none.
_NO_VARIANCE = 2.0**-90


@njit(nogil=True, cache=True)
def _add_small(flat: np.ndarray, sums: np.ndarray) -> None:
    """Add small integers (n, pixels) and their squares to ``sums`` (2, pixels), without any rounding."""
    for begin in range(0, sums.shape[1], _TILE):
        end = min(begin + _TILE, sums.shape[1])
        total, square = sums[0, begin:end], sums[1, begin:end]
        for i in range(flat.shape[0]):
            frame = flat[i, begin:end]
            for p in range(end - begin):
                value = np.float64(frame[p])
                total[p] += value
                square[p] += value * value


@njit(nogil=True, cache=True)
def _add_paired(flat: np.ndarray, is_single: bool, sums: np.ndarray) -> None:
    """Add values (n, pixels) and their squares to ``sums`` (2, 2, pixels); a square of single precision is exact."""
    for begin in range(0, sums.shape[2], _TILE):
        end = min(begin + _TILE, sums.shape[2])
        total, square = sums[0, 0, begin:end], sums[0, 1, begin:end]
        total_rest, square_rest = sums[1, 0, begin:end], sums[1, 1, begin:end]
        for i in range(flat.shape[0]):
            frame = flat[i, begin:end]
            if is_single:
                for p in range(end - begin):
                    value = np.float64(frame[p])
                    total[p], error = two_sum(total[p], value)
                    total_rest[p] += error
                    square[p], error = two_sum(square[p], value * value)
                    square_rest[p] += error
            else:
                for p in range(end - begin):
                    value = np.float64(frame[p])
                    total[p], error = two_sum(total[p], value)
                    total_rest[p] += error
                    product, rest = two_product(value, value)
                    square[p], error = two_sum(square[p], product)
                    square_rest[p] += error + rest


def pixel_sums(frames: np.ndarray) -> np.ndarray:
    """Sums over the patterns of I and of its square, per pixel.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n, rows, cols), any integer or floating type and byte order; never changed.

    Returns
    -------
    numpy.ndarray
        Shape (2, 2, rows, cols), float64: the sums of I and of I^2, then what their rounding left over; those of the
        parts of a scan are added by :func:`medrange.kernels.paired.merged`.

    Examples
    --------
    >>> pixel_sums(np.full((3, 4, 4), 250, np.uint8))[0, :, 0, 0]
    array([   750., 187500.])
    """
    flat = flat_frames(frames)
    sums = np.zeros((2, 2, flat.shape[1]))
    if adds_exactly(flat.dtype):
        for part in exact_parts(flat):
            exact = np.zeros((2, 2, flat.shape[1]))
            _add_small(part, exact[0])
            add_pair(sums, exact)
    else:
        _add_paired(flat, flat.dtype == np.float32, sums)
    return normalized(sums).reshape(2, 2, *frames.shape[-2:])


def pixel_variance(sums: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Variance of every detector pixel over ``n`` positions, and the mean pattern, from :func:`pixel_sums`.

    Returns
    -------
    variance, mean : numpy.ndarray
        Shape (rows, cols): ``<I^2> - <I>^2`` in data units squared, and ``<I>``.

    Examples
    --------
    >>> variance, mean = pixel_variance(pixel_sums(np.array([1, 3])[:, None, None] * np.ones((4, 4))), 2)
    >>> float(variance[0, 0]), float(mean[0, 0])
    (1.0, 2.0)
    """
    (total, square), (total_rest, square_rest) = sums
    with np.errstate(invalid="ignore", over="ignore"):
        # n sum I^2 - (sum I)^2 loses no digits as long as all is done in pairs.
        of_squares, squares_rest = product_pair(float(n), square)
        of_sums, sums_rest = product_pair(total, total)
        rest = (squares_rest + n * square_rest) - (sums_rest + 2 * total * total_rest)
        difference = (of_squares - of_sums) + rest
        difference = np.where(difference < _NO_VARIANCE * of_squares, 0.0, difference)
        return difference / n**2, total / n
