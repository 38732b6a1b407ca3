"""Kernels that draw Gaussian atoms on an image and read the derivatives off one.

An atom at (x, y) pixels adds ``amplitude * exp(-b ((i - x)^2 + (j - y)^2))`` to the pixels (i, j) of a square patch
around its nearest pixel; what lies outside the image is left out. As the patch is separable, an atom costs two rows
of exponentials and one product per pixel.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: A Gaussian is drawn as far as it is above this part of its top.
TAIL = 1e-6


def half_width(b: float) -> int:
    """Pixels from the center of a patch to its border, for ``exp(-b rho^2)``, b in 1/pixel^2."""
    return int(np.ceil(np.sqrt(-np.log(TAIL) / b)))


@njit(cache=True, nogil=True)
def _rows(x: float, b: float, half: int, size: int, row: np.ndarray) -> tuple[int, int]:
    """First pixel and the one after the last of a patch along one axis; fills ``row`` with the Gaussian."""
    center = int(np.floor(x + 0.5))
    first, last = max(center - half, 0), min(center + half + 1, size)
    for i in range(first, last):
        row[i - first] = np.exp(-b * (i - x) * (i - x))
    return first, last


@njit(cache=True, nogil=True)
def add_gaussians(points: np.ndarray, amplitude: float, b: float, half: int, image: np.ndarray) -> None:
    """Add Gaussian atoms to an image.

    Parameters
    ----------
    points : numpy.ndarray
        Shape (N, 2): atoms, pixel indices, fractional.
    amplitude, b : float
        Top, and coefficient in the exponent, 1/pixel^2; the same for all.
    half : int
        Pixels of a patch on each side of the nearest pixel.
    image : numpy.ndarray
        Shape (nx, ny), float64, added to.
    """
    along_x, along_y = np.empty(2 * half + 1), np.empty(2 * half + 1)
    for atom in range(len(points)):
        x0, x1 = _rows(points[atom, 0], b, half, image.shape[0], along_x)
        y0, y1 = _rows(points[atom, 1], b, half, image.shape[1], along_y)
        for i in range(x0, x1):
            value = amplitude * along_x[i - x0]
            for j in range(y0, y1):
                image[i, j] += value * along_y[j - y0]


# Sums over a patch may be taken in any order: then they use the vector unit.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def gaussian_moments(points: np.ndarray, b: float, half: int, image: np.ndarray, out: np.ndarray) -> None:
    """Moments of an image under each Gaussian atom.

    With d the pixel less the atom and E the Gaussian of top 1: sums over the patch of image times E, E d_x, E d_y and
    E (d_x^2 + d_y^2). They make up the derivatives of a least-squares sum by height, position and width.

    Parameters
    ----------
    points : numpy.ndarray
        Shape (N, 2): atoms, pixel indices, fractional.
    b : float
        Coefficient in the exponent, 1/pixel^2.
    half : int
        Pixels of a patch on each side of the nearest pixel.
    image : numpy.ndarray
        Shape (nx, ny), float64.
    out : numpy.ndarray
        Shape (N, 4), float64, overwritten.
    """
    along_x, along_y = np.empty(2 * half + 1), np.empty(2 * half + 1)
    first_y, second_y = np.empty(2 * half + 1), np.empty(2 * half + 1)
    for atom in range(len(points)):
        x0, x1 = _rows(points[atom, 0], b, half, image.shape[0], along_x)
        y0, y1 = _rows(points[atom, 1], b, half, image.shape[1], along_y)
        for j in range(y0, y1):
            d = j - points[atom, 1]
            first_y[j - y0] = along_y[j - y0] * d
            second_y[j - y0] = along_y[j - y0] * d * d
        total = by_x = by_y = squared = 0.0
        for i in range(x0, x1):
            d = i - points[atom, 0]
            zeroth = first = second = 0.0
            for j in range(y0, y1):
                value = image[i, j]
                zeroth += value * along_y[j - y0]
                first += value * first_y[j - y0]
                second += value * second_y[j - y0]
            weight = along_x[i - x0]
            total += weight * zeroth
            by_x += weight * d * zeroth
            by_y += weight * first
            squared += weight * (d * d * zeroth + second)
        out[atom, 0] = total
        out[atom, 1] = by_x
        out[atom, 2] = by_y
        out[atom, 3] = squared
