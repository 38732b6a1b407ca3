import numpy as np
import pytest

from medrange.aet.tomography.real_projector import RealProjector, smooth_along_y

ANGLES = [[0, t, 0] for t in (-90, -74.3, -45, -10, 0, 0.5, 30, 61, 90)]


def slow_matrix(angle, n_pixels, nx, nz):
    """The projection of one (x, z) slice as a matrix, point by point."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    matrix = np.zeros((n_pixels, nx, nz))
    for x in range(nx):
        for z in range(nz):
            for dx in (-0.25, 0.25):
                for dz in (-0.25, 0.25):
                    at = (x - nx // 2 + dx) * c - (z - nz // 2 + dz) * s + n_pixels // 2
                    for pixel in range(n_pixels):
                        matrix[pixel, x, z] += max(0.0, 1 - abs(at - pixel)) / 4
    return matrix


@pytest.mark.parametrize(
    ("image_shape", "shape"), [((12, 5), (12, 5, 12)), ((11, 4), (23, 5, 9)), ((10, 4), (11, 4, 14))]
)
def test_forward_is_the_slow_matrix(image_shape, shape):
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    images = RealProjector(ANGLES, image_shape, shape).forward(volume)
    rows = slice(shape[1] // 2 - image_shape[1] // 2, shape[1] // 2 - image_shape[1] // 2 + image_shape[1])
    for image, (_, theta, _) in zip(images, ANGLES, strict=True):
        matrix = slow_matrix(theta, image_shape[0], shape[0], shape[2])
        assert image == pytest.approx(np.einsum("pxz,xyz->py", matrix, volume[:, rows]), abs=1e-5)


@pytest.mark.parametrize(("image_shape", "shape"), [((12, 5), (12, 5, 12)), ((11, 4), (23, 5, 9))])
def test_back_is_the_adjoint(image_shape, shape):
    rng = np.random.default_rng(1)
    projector = RealProjector(ANGLES, image_shape, shape)
    volume, images = rng.normal(size=shape), rng.normal(size=(len(ANGLES), *image_shape))
    left = np.vdot(projector.forward(volume).astype(float), images)
    right = np.vdot(volume, projector.back(images).astype(float))
    scale = np.linalg.norm(projector.forward(volume)) * np.linalg.norm(images)
    assert abs(left - right) < 1e-6 * scale


def test_nothing_is_lost_inside_the_image():
    volume = np.zeros((20, 3, 20), np.float32)
    volume[6:14, :, 6:14] = np.random.default_rng(2).uniform(size=(8, 3, 8))
    images = RealProjector(ANGLES, (20, 3), volume.shape).forward(volume)
    assert images.sum(axis=1) == pytest.approx(np.tile(volume.sum(axis=(0, 2)), (len(ANGLES), 1)), rel=1e-5)


def test_threads_change_nothing_and_other_angles_are_refused():
    images = np.random.default_rng(3).normal(size=(len(ANGLES), 14, 6))
    one, three = (RealProjector(ANGLES, (14, 6), (14, 6, 14), workers) for workers in (1, 3))
    assert np.array_equal(one.back(images), three.back(images))
    assert np.array_equal(one.forward(one.back(images)), three.forward(one.back(images)))
    with pytest.raises(ValueError, match=r"psi reaches 0\.4 degrees.*projector='fourier'"):
        RealProjector([[0, 10, -0.4]], (14, 6), (14, 6, 14))


def test_smoothing_keeps_a_constant_and_its_input():
    images = np.full((2, 3, 7), 4.0)
    assert smooth_along_y(images) == pytest.approx(images)
    assert np.array_equal(images, np.full((2, 3, 7), 4.0))
