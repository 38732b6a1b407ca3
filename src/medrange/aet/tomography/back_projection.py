"""Kernels that spread images back into a volume: every voxel reads the images where it is projected, bilinearly.

Volumes have axes [x, z, y] here, so that the innermost loop runs along the tilt axis. Outside the rectangle of
the pixel centers [0, n - 1] an image counts as zero.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Room for rounding at the edge of an image: a voxel that falls on the last pixel must not be lost.
_EDGE = 1e-9


@njit(cache=True, nogil=True)
def back_project_tilts(images: np.ndarray, rotations: np.ndarray, center: tuple[int, int], out: np.ndarray) -> None:
    """Sum of the back-projections of a pure tilt series.

    Parameters
    ----------
    images : numpy.ndarray
        Shape (tilts, nx, ny), float32.
    rotations : numpy.ndarray
        Shape (tilts, 3, 3).
    center : tuple of int
        x and z of the center, counted from the first plane of ``out``.
    out : numpy.ndarray
        Shape (x, z, ny), float32, overwritten.
    """
    n_tilts, n_pixels, n_columns = images.shape
    middle = n_pixels // 2
    out[:] = 0.0
    for x in range(out.shape[0]):
        for k in range(n_tilts):
            cos, minus_sin = rotations[k, 0, 0], rotations[k, 2, 0]
            for z in range(out.shape[1]):
                position = (x - center[0]) * cos + (z - center[1]) * minus_sin + middle
                if position < -_EDGE or position > n_pixels - 1 + _EDGE:
                    continue
                i = min(max(int(position), 0), n_pixels - 2)
                upper = np.float32(position - i)
                lower = np.float32(1) - upper
                for y in range(n_columns):
                    out[x, z, y] += lower * images[k, i, y] + upper * images[k, i + 1, y]


@njit(cache=True, nogil=True, inline="always")
def _crossing(start: float, slope: float, limit: float) -> float:
    """Steps until ``start + step * slope`` passes ``limit``; many where it never does."""
    if slope == 0.0:
        return 1e9
    return (limit - start) / slope


@njit(cache=True, nogil=True, inline="always")
def _allowed(start: float, slope: float, last: int, low: int, high: int) -> tuple[int, int]:
    """Those steps of low .. high - 1 at which ``start + step * slope`` lies in [0, last]."""
    if slope == 0.0:
        return (low, high) if -_EDGE <= start <= last + _EDGE else (0, 0)
    first, second = _crossing(start, slope, -_EDGE), _crossing(start, slope, last + _EDGE)
    # Lines that miss the image by far must not overflow an integer.
    begin = min(max(min(first, second), -1e9), 1e9)
    end = min(max(max(first, second), -1e9), 1e9)
    return max(low, int(np.ceil(begin))), min(high, int(np.floor(end)) + 1)


@njit(cache=True, nogil=True)
def _add_line(image: np.ndarray, start: tuple[float, float], slope: tuple[float, float], line: np.ndarray) -> None:
    """Add to ``line`` what its voxels read at ``start + step * slope``, in runs that stay between the same rows."""
    nx, ny = image.shape
    low, high = _allowed(start[0], slope[0], nx - 1, 0, line.size)
    low, high = _allowed(start[1], slope[1], ny - 1, low, high)
    step = low
    while step < high:
        x, y = start[0] + step * slope[0], start[1] + step * slope[1]
        i, j = min(max(int(x), 0), nx - 2), min(max(int(y), 0), ny - 2)
        end = min(float(high), float(step + ny - 1 - j))
        if slope[0] != 0.0 and i < nx - 2 and slope[0] > 0:
            end = min(end, np.ceil(_crossing(start[0], slope[0], i + 1)))
        elif slope[0] < 0.0 and i > 0:
            end = min(end, np.floor(_crossing(start[0], slope[0], i)) + 1)
        # The second axis advances by one pixel per step, but for a drift.
        drift = slope[1] - 1.0
        if drift > 0.0:
            end = min(end, step + np.ceil(_crossing(y - j, drift, 1.0)))
        elif drift < 0.0:
            end = min(end, step + np.floor(_crossing(y - j, drift, 0.0)) + 1)
        stop = max(step + 1, int(end))
        dx, dy = np.float32(x - i), np.float32(y - j)
        gain_x, gain_y, one = np.float32(slope[0]), np.float32(drift), np.float32(1)
        near, far, target = image[i, j:], image[i + 1, j:], line[step:]
        for t in range(stop - step):
            u, v = dx + gain_x * np.float32(t), dy + gain_y * np.float32(t)
            lower = (one - v) * near[t] + v * near[t + 1]
            upper = (one - v) * far[t] + v * far[t + 1]
            target[t] += (one - u) * lower + u * upper
        step = stop


@njit(cache=True, nogil=True)
def back_project(images: np.ndarray, rotations: np.ndarray, center: tuple[int, int, int], out: np.ndarray) -> None:
    """Sum of the back-projections of images in any orientation.

    Parameters
    ----------
    images : numpy.ndarray
        Shape (tilts, nx, ny), float32.
    rotations : numpy.ndarray
        Shape (tilts, 3, 3), the matrices A.
    center : tuple of int
        x, y and z of the center, counted from the first plane of ``out``.
    out : numpy.ndarray
        Shape (x, z, y), float32, overwritten.
    """
    n_tilts, nx, ny = images.shape
    out[:] = 0.0
    for x in range(out.shape[0]):
        dx = x - center[0]
        for k in range(n_tilts):
            a = rotations[k]
            for z in range(out.shape[1]):
                dz = z - center[2]
                start = (
                    a[0, 0] * dx + a[2, 0] * dz - a[1, 0] * center[1] + nx // 2,
                    a[0, 1] * dx + a[2, 1] * dz - a[1, 1] * center[1] + ny // 2,
                )
                _add_line(images[k], start, (a[1, 0], a[1, 1]), out[x, z])
