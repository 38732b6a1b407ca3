"""Projections in real space, and their exact adjoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit

from medrange.aet.tomography.fourier_projector import as_images, as_planes
from medrange.aet.tomography.geometry import blocks, central, is_pure_tilt, rotation_matrices
from medrange.aet.tomography.threads import Threads
from medrange.working import available_cores

# Four points of a voxel lie within 0.71 pixel, and each is shared by two pixels.
_SPREAD = 3


@njit(cache=True, nogil=True, inline="always")
def _shares(position: float, cos: float, sin: float, weights: np.ndarray) -> int:
    """Shares of a voxel in consecutive pixels, of sum 1; returns the first pixel."""
    weights[:] = 0
    first = int(np.floor(position - 0.25 * (abs(cos) + abs(sin))))
    for dx in (-0.25, 0.25):
        for dz in (-0.25, 0.25):
            point = position + dx * cos - dz * sin - first
            pixel = int(point)
            upper = point - pixel
            weights[pixel] += np.float32(0.25 * (1 - upper))
            if upper > 0:
                weights[pixel + 1] += np.float32(0.25 * upper)
    return first


@njit(cache=True, nogil=True)
def _project(planes: np.ndarray, angle: float, image: np.ndarray) -> None:
    """Add the volume [x, z, y] to one image [x, y]."""
    nx, nz, ny = planes.shape
    n_pixels = len(image)
    cos, sin = np.cos(angle), np.sin(angle)
    weights = np.zeros(_SPREAD + 1, np.float32)
    for x in range(nx):
        for z in range(nz):
            position = (x - nx // 2) * cos - (z - nz // 2) * sin + n_pixels // 2
            first = _shares(position, cos, sin, weights)
            for m in range(_SPREAD):
                pixel = first + m
                if 0 <= pixel < n_pixels and weights[m] != 0:
                    for y in range(ny):
                        image[pixel, y] += weights[m] * planes[x, z, y]


@njit(cache=True, nogil=True)
def _spread(images: np.ndarray, angles: np.ndarray, start: int, nx: int, planes: np.ndarray) -> None:
    """Add all images [tilt, x, y] to the planes [x, z, y] of a volume that begin at its plane ``start``."""
    n_pixels = images.shape[1]
    n_planes, nz, ny = planes.shape
    weights = np.zeros(_SPREAD + 1, np.float32)
    for k in range(len(angles)):
        cos, sin = np.cos(angles[k]), np.sin(angles[k])
        for x in range(n_planes):
            for z in range(nz):
                position = (start + x - nx // 2) * cos - (z - nz // 2) * sin + n_pixels // 2
                first = _shares(position, cos, sin, weights)
                for m in range(_SPREAD):
                    pixel = first + m
                    if 0 <= pixel < n_pixels and weights[m] != 0:
                        for y in range(ny):
                            planes[x, z, y] += weights[m] * images[k, pixel, y]


@dataclass(frozen=True, eq=False)
class RealProjector:
    """Projections of a pure tilt series by depositing voxels on pixels, and the adjoint.

    Every voxel is four points at +-0.25 in x and z; each is shared linearly by two detector pixels. ``forward``
    is this matrix A, ``back`` its transpose, ``<A O, b> = <O, A^T b>``. It is the variant of RESIRE for a
    graphics card, see [Yang2021]_ in references.bib. What falls outside the image is lost.

    Attributes
    ----------
    angles : numpy.ndarray
        Shape (n_tilts, 3), degrees, with phi = psi = 0.
    image_shape : tuple of int
        (nx, ny) of the projections.
    object_shape : tuple of int
        (x, y, z) of the volume.
    workers : int, optional
        Threads; by default all cores that this process may use. The result does not depend on it.

    Raises
    ------
    ValueError
        If phi or psi is not zero.

    Examples
    --------
    >>> projector = RealProjector([[0, 0, 0]], (5, 4), (5, 4, 5))
    >>> volume = np.zeros((5, 4, 5), np.float32)
    >>> volume[2, 1, 2] = 1.0
    >>> projector.forward(volume)[0, :, 1]
    array([0.   , 0.125, 0.75 , 0.125, 0.   ], dtype=float32)
    """

    angles: np.ndarray
    image_shape: tuple[int, int]
    object_shape: tuple[int, int, int]
    workers: int | None = None

    def __post_init__(self) -> None:
        if not is_pure_tilt(self.angles):
            largest = float(np.abs(np.atleast_2d(self.angles)[:, [0, 2]]).max())
            msg = (
                f"phi or psi reaches {largest:g} degrees, and the real-space projector is for rotations about y "
                "alone; use projector='fourier'."
            )
            raise ValueError(msg)
        object.__setattr__(self, "workers", self.workers or available_cores())

    @cached_property
    def threads(self) -> Threads:
        """Its threads."""
        return Threads(self.workers)

    @cached_property
    def _theta(self) -> np.ndarray:
        return np.radians(np.atleast_2d(self.angles)[:, 1].astype(float))

    @cached_property
    def rotations(self) -> np.ndarray:
        """Matrices A, shape (n_tilts, 3, 3)."""
        return rotation_matrices(np.atleast_2d(self.angles))

    @property
    def _rows(self) -> slice:
        return central(self.object_shape[1:2], self.image_shape[1:])[0]

    def forward(self, volume: np.ndarray) -> np.ndarray:
        """Projections of a volume [x, y, z]: shape (n_tilts, nx, ny), float32."""
        planes = as_planes(volume, self.object_shape)[:, :, self._rows]
        images = np.zeros((len(self._theta), *self.image_shape), np.float32)

        def run(k: int) -> None:
            _project(planes, self._theta[k], images[k])

        self.threads.each(run, range(len(images)))
        return images

    def back(self, images: np.ndarray) -> np.ndarray:
        """Adjoint of :meth:`forward`: shape ``object_shape``, float32, axes [x, y, z] (in memory [x, z, y])."""
        images = as_images(images, (len(self._theta), *self.image_shape))
        nx, ny, nz = self.object_shape
        result = np.zeros((nx, nz, ny), np.float32)
        rows = self._rows

        def run(part: slice) -> None:
            _spread(images, self._theta, part.start, nx, result[part][:, :, rows])

        self.threads.each(run, blocks(nx, 4))
        return result.transpose(0, 2, 1)


def smooth_along_y(images: np.ndarray) -> np.ndarray:
    """Images (..., y) smoothed by (1/8, 6/8, 1/8), with (6/7, 1/7) at the two ends; float32.

    Examples
    --------
    >>> smooth_along_y(np.array([[7.0, 0.0, 0.0, 8.0]])).round(3)
    array([[6.   , 0.875, 1.   , 6.857]], dtype=float32)
    """
    images = np.asarray(images, dtype=np.float32)
    result = 6 * images
    result[..., 1:] += images[..., :-1]
    result[..., :-1] += images[..., 1:]
    result[..., 1:-1] /= 8
    result[..., [0, -1]] /= 7
    return result
