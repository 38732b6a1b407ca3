"""Kernels that read slices out of the Fourier transform of a volume, linearly interpolated.

Spectra are those of real volumes, half of them stored (kz >= 0), axes [kx, kz, ky or y], zero frequency first. A
point outside the index range [-N//2, (N-1)//2] counts as zero, it is not wrapped. For even N that range is not
symmetric, so the slice is not exactly that of a real image; what is returned is the part that is, the same as
the real part of the image.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, inline="always")
def _inside(u: float, size: int) -> bool:
    return -(size // 2) <= u <= (size - 1) // 2


@njit(cache=True, nogil=True, inline="always")
def _wrap(index: int, size: int) -> int:
    return index + size if index < 0 else index


@njit(cache=True, nogil=True)
def sample_lines(spectrum: np.ndarray, rotations: np.ndarray, size: int, out: np.ndarray) -> None:
    """Lines of a pure tilt series in the spectra of planes of constant y.

    Parameters
    ----------
    spectrum : numpy.ndarray
        Shape (N1, N3 // 2 + 1, 2 n), float32: complex numbers of n planes as pairs.
    rotations : numpy.ndarray
        Shape (tilts, 3, 3).
    size : int
        N3.
    out : numpy.ndarray
        Shape (tilts, N1 // 2 + 1, 2 n), float32, overwritten.
    """
    n1, n_half, n_values = spectrum.shape
    for k in range(len(rotations)):
        cos, sin = rotations[k, 0, 0], rotations[k, 2, 0] * size / n1
        for x in range(n1 // 2 + 1):
            # The highest frequency of an even size stands for -N/2.
            full = -x if 2 * x == n1 else x
            u, w = cos * full, sin * full
            weight = 0.0
            if full > 0:
                weight += 0.5 * (_inside(u, n1) and _inside(w, size))
                weight += 0.5 * (_inside(-u, n1) and _inside(-w, size))
            else:
                weight += _inside(u, n1) and _inside(w, size)
            if weight == 0.0:
                out[k, x, :] = 0.0
                continue
            mirrored = w < 0.0
            if mirrored:
                u, w = -u, -w
            i, j = int(np.floor(u)), int(np.floor(w))
            du, dw = u - i, w - j
            first, second = _wrap(i, n1), _wrap(i + 1, n1)
            upper = min(j + 1, n_half - 1)
            w00, w01 = np.float32(weight * (1 - du) * (1 - dw)), np.float32(weight * (1 - du) * dw)
            w10, w11 = np.float32(weight * du * (1 - dw)), np.float32(weight * du * dw)
            for m in range(n_values):
                out[k, x, m] = (
                    w00 * spectrum[first, j, m]
                    + w01 * spectrum[first, upper, m]
                    + w10 * spectrum[second, j, m]
                    + w11 * spectrum[second, upper, m]
                )
            if mirrored:
                for m in range(1, n_values, 2):
                    out[k, x, m] = -out[k, x, m]


@njit(cache=True, nogil=True, inline="always")
def _position(rotation: np.ndarray, x: int, y: int, shape: tuple[int, int, int]) -> tuple[float, float, float]:
    """Index (u, v, w) in the spectrum of image frequency (x, y); ``rotation`` is A."""
    n1, n2, n3 = shape
    u = rotation[0, 0] * x + rotation[0, 1] * y * n1 / n2
    v = rotation[1, 0] * x * n2 / n1 + rotation[1, 1] * y
    w = (rotation[2, 0] * x + rotation[2, 1] * y * n1 / n2) * n3 / n1
    return u, v, w


@njit(cache=True, nogil=True, inline="always")
def _is_inside(position: tuple[float, float, float], shape: tuple[int, int, int], sign: float) -> bool:
    u, v, w = position
    return _inside(sign * u, shape[0]) and _inside(sign * v, shape[1]) and _inside(sign * w, shape[2])


@njit(cache=True, nogil=True)
def _value(spectrum: np.ndarray, position: tuple[float, float, float], size: int) -> tuple[float, float]:
    """Real and imaginary part of the spectrum [kx, kz, ky] at (u, v, w), trilinear; ``size`` is N3."""
    n1, n_half, n2 = spectrum.shape
    u, v, w = position
    sign = np.float32(1)
    if w < 0.0:
        u, v, w, sign = -u, -v, -w, np.float32(-1)
    i, j, m = int(np.floor(u)), int(np.floor(v)), int(np.floor(w))
    du, dv, dw = np.float32(u - i), np.float32(v - j), np.float32(w - m)
    one = np.float32(1)
    y0, y1 = _wrap(j, n2), _wrap(j + 1, n2)
    real = imaginary = np.float32(0)
    for a in range(2):
        x = _wrap(i + a, n1)
        weight_x = du if a else one - du
        for b in range(2):
            z = min(m + b, n_half - 1)
            weight = weight_x * (dw if b else one - dw)
            low, high = spectrum[x, z, y0], spectrum[x, z, y1]
            real += weight * ((one - dv) * low.real + dv * high.real)
            imaginary += weight * ((one - dv) * low.imag + dv * high.imag)
    return real, sign * imaginary


@njit(cache=True, nogil=True)
def sample_plane(spectrum: np.ndarray, rotation: np.ndarray, size: int, out: np.ndarray) -> None:
    """The slice of one image out of a spectrum.

    Parameters
    ----------
    spectrum : numpy.ndarray
        Shape (N1, N3 // 2 + 1, N2), complex64.
    rotation : numpy.ndarray
        Shape (3, 3), the matrix A of the image.
    size : int
        N3.
    out : numpy.ndarray
        Shape (N1 // 2 + 1, N2), complex64, overwritten: image frequencies x >= 0, for a real inverse transform.
    """
    n1, _, n2 = spectrum.shape
    shape = (n1, n2, size)
    for x in range(n1 // 2 + 1):
        full = -x if 2 * x == n1 else x
        for column in range(n2):
            y = column if 2 * column < n2 else column - n2
            position = _position(rotation, full, y, shape)
            # The last transform takes the real part of the lines x = 0 and -N/2 itself.
            share = 0.5 if full > 0 else 1.0
            real = imaginary = 0.0
            if _is_inside(position, shape, 1.0):
                real, imaginary = _value(spectrum, position, size)
                real, imaginary = share * real, share * imaginary
            if full > 0:
                # Minus this frequency; -N/2 stands for +N/2 as well.
                if 2 * y == -n2:
                    position = _position(rotation, full, -y, shape)
                if _is_inside(position, shape, -1.0):
                    other = _value(spectrum, position, size)
                    real, imaginary = real + share * other[0], imaginary + share * other[1]
            out[x, column] = complex(real, imaginary)


@njit(cache=True, nogil=True)
def touched_lines(rotations: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """First kz that a slice reads and last plus one, for every kx; the rest (the missing wedge) is never needed.

    Returns
    -------
    numpy.ndarray
        Shape (N1, 2), int64; the first is not below the second where nothing is read.
    """
    n1, n2, n3 = shape
    n_half = n3 // 2 + 1
    bounds = np.zeros((n1, 2), np.int64)
    bounds[:, 0] = n_half
    for k in range(len(rotations)):
        for x in range(-(n1 // 2), n1 // 2 + 1):
            for y in range(-(n2 // 2), n2 // 2 + 1):
                position = _position(rotations[k], x, y, shape)
                if not (_is_inside(position, shape, 1.0) or _is_inside(position, shape, -1.0)):
                    continue
                u, w = position[0], position[2]
                if w < 0.0:
                    u, w = -u, -w
                i, m = int(np.floor(u)), int(np.floor(w))
                for a in range(2):
                    row = _wrap(i + a, n1)
                    bounds[row, 0] = min(bounds[row, 0], m)
                    bounds[row, 1] = max(bounds[row, 1], min(m + 2, n_half))
    return bounds
