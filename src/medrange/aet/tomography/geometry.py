"""Where things are in a tilt series: rotations, centers, padded shapes, the size of an extended object.

Axes are (x, y, z) with z along the beam at zero tilt and the tilt axis along y; projections have axes (x, y).
The center of an axis with n samples is n // 2, for odd and even n, and arrays of different size lie center on
center. See [Yuan2022]_ in references.bib.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def rotation_matrices(angles: np.ndarray) -> np.ndarray:
    """Matrices A = Rz(phi) Ry(theta) Rx(psi), each an ordinary right-handed rotation.

    A point r of the object appears in the projection at the first two components of ``A^T r``, both counted
    from the center. For phi = psi = 0 that is ``x' = x cos(theta) - z sin(theta)``, ``y' = y``.

    Parameters
    ----------
    angles : numpy.ndarray
        Shape (..., 3): phi, theta, psi in degrees.

    Returns
    -------
    numpy.ndarray
        Shape (..., 3, 3), float64.

    Examples
    --------
    >>> (rotation_matrices([0, 90, 0]).T @ [1, 0, 0]).round(6)
    array([0., 0., 1.])
    """
    phi, theta, psi = np.moveaxis(np.radians(np.asarray(angles, dtype=float)), -1, 0)
    return _about(2, phi) @ _about(1, theta) @ _about(0, psi)


def _about(axis: int, angle: np.ndarray) -> np.ndarray:
    """Right-handed rotations about one of the axes."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*np.shape(angle), 3, 3))
    matrix[..., axis, axis] = 1
    matrix[..., first, first] = matrix[..., second, second] = np.cos(angle)
    matrix[..., second, first] = np.sin(angle)
    matrix[..., first, second] = -np.sin(angle)
    return matrix


def is_pure_tilt(angles: np.ndarray) -> bool:
    """Whether every rotation is about y alone (phi = psi = 0): then each plane of constant y is its own problem."""
    return not np.any(np.asarray(angles)[..., [0, 2]])


def padded_shape(shape: tuple[int, int, int], oversampling: tuple[float, float, float]) -> tuple[int, int, int]:
    """Sizes after zero padding, ``n`` times ``oversampling`` with halves rounded up.

    Examples
    --------
    >>> padded_shape((543, 59, 131), (1.5, 3, 3))
    (815, 177, 393)
    """
    return tuple(int(np.floor(n * factor + 0.5)) for n, factor in zip(shape, oversampling, strict=True))


def extended_shape(image_shape: tuple[int, int], thickness: int, angles: np.ndarray) -> tuple[int, int, int]:
    """Size of the part of a film that any of the projections sees.

    The corners of the box (nx, ny, thickness) are turned with each image; from each corner one goes along the
    beam to the first and the last plane of the film. Everything that is reached there must be in the object.

    Parameters
    ----------
    image_shape : tuple of int
        (nx, ny) of the projections.
    thickness : int
        Planes of the film, nz.
    angles : numpy.ndarray
        Shape (n_tilts, 3), degrees.

    Returns
    -------
    tuple of int
        (x, y, z) with z = thickness.

    Raises
    ------
    ValueError
        If a tilt reaches 90 degrees, where the beam lies in the film.

    Examples
    --------
    >>> extended_shape((61, 61), 61, [[0, 74.29897, 0]])
    (437, 61, 61)
    """
    box = np.array([(n // 2, n - 1 - n // 2) for n in (*image_shape, thickness)]) * [-1, 1]
    corners = np.stack(np.meshgrid(*box, indexing="ij"), axis=-1).reshape(-1, 3)
    # The published code turns the box by A^T, not A; for small phi and psi the size differs by a row at most.
    rotations = rotation_matrices(np.atleast_2d(angles)).transpose(0, 2, 1)
    beam = rotations[:, :, 2]
    if np.abs(beam[:, 2]).min() < 1e-3:
        msg = (
            f"tilt {int(np.abs(beam[:, 2]).argmin())} stands at 90 degrees, where the beam never leaves a film: "
            "leave it out, or use extended=False for an isolated object."
        )
        raise ValueError(msg)
    reach = np.zeros(2)
    for rotation, direction in zip(rotations, beam, strict=True):
        turned = corners @ rotation.T
        for plane in box[2]:
            moved = turned[:, :2] + (plane - turned[:, 2:]) * direction[:2] / direction[2]
            reach = np.maximum(reach, np.abs(moved).max(axis=0))
    # Sizes that are whole numbers must not grow by one through rounding of the rotations.
    x, y = (int(np.ceil(2 * extent + 1 - 1e-9)) for extent in reach)
    return x, y, int(thickness)


def central(shape: tuple[int, ...], inner: tuple[int, ...]) -> tuple[slice, ...]:
    """Slices of an array of ``shape`` whose result has shape ``inner`` and the same center.

    Examples
    --------
    >>> central((7, 6), (4, 3))
    (slice(1, 5, None), slice(2, 5, None))
    """
    return tuple(slice(n // 2 - m // 2, n // 2 - m // 2 + m) for n, m in zip(shape, inner, strict=True))


def wrapped(size: int, padded: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Pairs (small, large) of slices that put the center of ``size`` samples at index 0 of ``padded`` samples."""
    center = size // 2
    return (slice(center, size), slice(0, size - center)), (slice(0, center), slice(padded - center, padded))


def blocks(total: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most ``size`` items."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
