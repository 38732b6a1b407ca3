"""Projections by the Fourier slice theorem and the back-projection that RESIRE pairs with them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft

from medrange.aet.tomography.back_projection import back_project, back_project_tilts
from medrange.aet.tomography.compensation import interpolation_weights
from medrange.aet.tomography.geometry import blocks, central, is_pure_tilt, padded_shape, rotation_matrices, wrapped
from medrange.aet.tomography.sampling import sample_lines, sample_plane, touched_lines
from medrange.aet.tomography.threads import Threads
from medrange.working import available_cores

# Planes of a block: their transforms should stay in the cache of a core, and there should be more blocks than cores.
# Results depend on it in the last digit.
_PLANES = 8
# The same for the planes of the volume that images are spread into; results do not depend on it.
_SPREAD_PLANES = 4
# The same for blocks of a spectrum: with small ones threads wait for the interpreter, large ones leave the cache and
# have less of a missing wedge to leave out.
_BLOCK_BYTES, _MOST_PLANES = 1.25e6, 8


@dataclass(frozen=True, eq=False)
class FourierProjector:
    """Forward and back-projection of a volume for a set of angles, after [Pham2023]_ in references.bib.

    Forward, ``P_k O``: the volume is padded with zeros and transformed, the plane of image k is read out of the
    complex spectrum by trilinear interpolation and transformed back. Backward, ``B_k b``: each voxel reads the
    image at the place where it is projected, bilinearly. B_k is not the adjoint of P_k.

    In a pure tilt series (phi = psi = 0) planes of constant y do not mix. Each is then projected by itself, and
    the oversampling along y has no effect; the numbers are those of the general way to rounding.

    The arrays of a forward projection are kept for the next one: use one projector per thread.

    Attributes
    ----------
    angles : numpy.ndarray
        Shape (n_tilts, 3): phi, theta, psi in degrees.
    image_shape : tuple of int
        (nx, ny) of the projections.
    object_shape : tuple of int
        (x, y, z) of the volume.
    oversampling : tuple of float
        Padded over given size along x, y, z; at least 1.
    workers : int, optional
        Threads; by default all cores that this process may use. The result does not depend on it.
    compensated : bool
        Undo, on average over the angles, what the interpolation takes from the volume far from its center: at
        oversampling 3 the error of projections of smooth volumes falls from 2 to 3 % to about 1 %, at no cost. Single
        images that need no interpolation, such as that at zero, lose by it. The published projector does not do this,
        and the published R factors belong to that one. Needs an oversampling of at least 1.5.

    Examples
    --------
    >>> projector = FourierProjector([[0, 0, 0], [0, 30, 0]], (9, 7), (9, 7, 9), (2, 2, 2))
    >>> volume = np.zeros((9, 7, 9), np.float32)
    >>> volume[4, 2, 4] = 1.0
    >>> images = projector.forward(volume)
    >>> images.shape, bool(images[0].argmax() == 4 * 7 + 2)
    ((2, 9, 7), True)
    """

    angles: np.ndarray
    image_shape: tuple[int, int]
    object_shape: tuple[int, int, int]
    oversampling: tuple[float, float, float] = (3.0, 3.0, 3.0)
    workers: int | None = None
    compensated: bool = False

    def __post_init__(self) -> None:
        if min(self.oversampling) < 1 or len(self.oversampling) != 3:
            msg = f"oversampling is {self.oversampling!r}; it needs three numbers (x, y, z) of at least 1."
            raise ValueError(msg)
        if self.compensated and min(self.oversampling) < 1.5:
            msg = f"oversampling is {self.oversampling!r}; compensated=True needs at least 1.5 along every axis."
            raise ValueError(msg)
        if min(self.image_shape) < 2:
            msg = f"the projections have shape {self.image_shape!r}; at least 2 x 2 pixels are needed."
            raise ValueError(msg)
        if any(n < m for n, m in zip(self.object_shape, self.image_shape, strict=False)):
            msg = f"the object {self.object_shape!r} is smaller than the projections {self.image_shape!r}."
            raise ValueError(msg)
        object.__setattr__(self, "workers", self.workers or available_cores())

    @cached_property
    def threads(self) -> Threads:
        """Its threads."""
        return Threads(self.workers)

    @cached_property
    def rotations(self) -> np.ndarray:
        """Matrices A, shape (n_tilts, 3, 3)."""
        return rotation_matrices(np.atleast_2d(self.angles))

    @cached_property
    def padded_shape(self) -> tuple[int, int, int]:
        """Sizes (x, y, z) of the padded volume."""
        return padded_shape(self.object_shape, self.oversampling)

    def forward(self, volume: np.ndarray) -> np.ndarray:
        """Projections of a volume.

        Parameters
        ----------
        volume : numpy.ndarray
            Shape ``object_shape``, axes [x, y, z].

        Returns
        -------
        numpy.ndarray
            Shape (n_tilts, nx, ny), float32: sums along the beam, in the unit of the volume.
        """
        planes = as_planes(volume, self.object_shape)
        if self.compensated:
            x, y, z = self._weights
            planes = planes * (x[:, None] * z)[:, :, None] * y
        images = np.zeros((len(self.rotations), *self.image_shape), np.float32)
        if is_pure_tilt(self.angles):
            self._forward_tilts(planes, images)
        else:
            self._forward_general(planes, images)
        return images

    def back(self, images: np.ndarray) -> np.ndarray:
        """Sum over the images of their back-projections, ``sum_k B_k b_k``.

        Parameters
        ----------
        images : numpy.ndarray
            Shape (n_tilts, nx, ny).

        Returns
        -------
        numpy.ndarray
            Shape ``object_shape``, float32, axes [x, y, z] (in memory [x, z, y]).
        """
        images = as_images(images, (len(self.rotations), *self.image_shape))
        nx, ny, nz = self.object_shape
        result = np.zeros((nx, nz, ny), np.float32)
        if is_pure_tilt(self.angles):
            rows = central((ny,), self.image_shape[1:])[0]
            narrow = result if ny == self.image_shape[1] else np.empty((nx, nz, self.image_shape[1]), np.float32)

            def run(part: slice) -> None:
                center = (nx // 2 - part.start, nz // 2)
                back_project_tilts(images, self.rotations, center, narrow[part])

            self.threads.each(run, blocks(nx, _SPREAD_PLANES))
            if narrow is not result:
                result[:, :, rows] = narrow
        else:

            def run(part: slice) -> None:
                back_project(images, self.rotations, (nx // 2 - part.start, ny // 2, nz // 2), result[part])

            self.threads.each(run, blocks(nx, _SPREAD_PLANES))
        return result.transpose(0, 2, 1)

    def _forward_tilts(self, planes: np.ndarray, images: np.ndarray) -> None:
        """Project planes of constant y one block after the other."""
        (nx, ny), (size_x, _, size_z) = self.image_shape, self.padded_shape
        rows = central((self.object_shape[1],), (ny,))[0]

        def run(part: slice) -> None:
            block = planes[:, :, rows][:, :, part]
            along_z = fft.rfft(_padded(block, 1, size_z), axis=1, overwrite_x=True)
            spectrum = np.empty((size_x, *along_z.shape[1:]), np.complex64)
            _transform(along_z, 0, spectrum)
            lines = np.empty((len(images), size_x // 2 + 1, block.shape[2]), np.complex64)
            sample_lines(spectrum.view(np.float32), self.rotations, size_z, lines.view(np.float32))
            profiles = fft.irfft(lines, n=size_x, axis=1, overwrite_x=True)
            for small, large in wrapped(nx, size_x):
                images[:, small, part] = profiles[:, large]

        self.threads.each(run, blocks(ny, _PLANES))

    def _forward_general(self, planes: np.ndarray, images: np.ndarray) -> None:
        """Project through the spectrum of the whole volume."""
        (nx, ny), (size_x, size_y, size_z) = self.image_shape, self.padded_shape
        spectrum = self._spectrum(planes)

        def run(k: int) -> None:
            plane = np.empty((size_x // 2 + 1, size_y), np.complex64)
            sample_plane(spectrum, self.rotations[k], size_z, plane)
            plane = fft.ifft(plane, axis=1, overwrite_x=True)
            cropped = np.empty((size_x // 2 + 1, ny), np.complex64)
            for small, large in wrapped(ny, size_y):
                cropped[:, small] = plane[:, large]
            image = fft.irfft(cropped, n=size_x, axis=0, overwrite_x=True)
            for small, large in wrapped(nx, size_x):
                images[k, small] = image[large]

        self.threads.each(run, range(len(images)))

    @cached_property
    def _weights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return interpolation_weights(self.rotations, self.object_shape, self.padded_shape)

    @cached_property
    def _touched(self) -> np.ndarray:
        return touched_lines(self.rotations, self.padded_shape)

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The volume transformed along z, along z and x, and along all axes: [x, kz, y], [kx, kz, y], [kx, kz, ky]."""
        (nx, ny, _), (size_x, size_y, size_z) = self.object_shape, self.padded_shape
        half = size_z // 2 + 1
        shapes = (nx, half, ny), (size_x, half, ny), (size_x, half, size_y)
        return tuple(np.empty(shape, np.complex64) for shape in shapes)

    def _spectrum(self, planes: np.ndarray) -> np.ndarray:
        """Spectrum [kx, kz, ky] of a volume [x, z, y], centered on its zero; only what the slices read is filled."""
        size_x, size_y, size_z = self.padded_shape
        along_z, along_zx, spectrum = self._arrays
        touched = self._touched
        n_lines = int(touched[:, 1].max())
        complex_bytes = spectrum.itemsize

        def transform_z(part: slice) -> None:
            along_z[part] = fft.rfft(_padded(planes[part], 1, size_z), axis=1, overwrite_x=True)

        def transform_x(part: slice) -> None:
            _transform(along_z[:, part], 0, along_zx[:, part])

        def transform_y(part: slice) -> None:
            lines = slice(touched[part, 0].min(), touched[part, 1].max())
            if lines.start < lines.stop:
                _transform(along_zx[part, lines], 2, spectrum[part, lines])

        self.threads.each(transform_z, blocks(len(planes), 8))
        self.threads.each(transform_x, blocks(n_lines, _per_block(size_x * planes.shape[2] * complex_bytes)))
        self.threads.each(transform_y, blocks(size_x, _per_block(n_lines * size_y * complex_bytes)))
        return spectrum


def _padded(values: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Zero padded along one axis, with its center at index 0."""
    result = np.empty((*values.shape[:axis], size, *values.shape[axis + 1 :]), values.dtype)
    _pad(values, axis, result)
    return result


def _pad(values: np.ndarray, axis: int, out: np.ndarray) -> None:
    before = (slice(None),) * axis
    size, padded = values.shape[axis], out.shape[axis]
    for small, large in wrapped(size, padded):
        out[(*before, large)] = values[(*before, small)]
    out[(*before, slice(size - size // 2, padded - size // 2))] = 0


def _per_block(n_bytes: int) -> int:
    """How many planes of ``n_bytes`` are a block."""
    return min(max(1, round(_BLOCK_BYTES / n_bytes)), _MOST_PLANES)


def _transform(values: np.ndarray, axis: int, out: np.ndarray) -> None:
    """Pad ``values`` along one axis and transform it, in ``out``: for new memory threads would wait for each other."""
    _pad(values, axis, out)
    transformed = fft.fft(out, axis=axis, overwrite_x=True)
    if not np.may_share_memory(transformed, out):
        out[...] = transformed


def as_planes(volume: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A volume [x, y, z] as float32 [x, z, y]; no copy where memory has that order already."""
    volume = np.asarray(volume)
    if volume.shape != tuple(shape):
        msg = f"the volume has shape {volume.shape}; this projector is for {tuple(shape)}."
        raise ValueError(msg)
    return np.ascontiguousarray(volume.transpose(0, 2, 1), dtype=np.float32)


def as_images(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Images (tilts, x, y) as contiguous float32, of the expected shape."""
    images = np.asarray(images)
    if images.shape != tuple(shape):
        msg = f"the images have shape {images.shape}; this projector is for {tuple(shape)} (tilts, x, y)."
        raise ValueError(msg)
    return np.ascontiguousarray(images, dtype=np.float32)
