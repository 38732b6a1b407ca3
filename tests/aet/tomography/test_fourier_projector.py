"""The projector against plain sums, against single points, and against a slow copy of the formulas."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from medrange.aet.tomography import fourier_projector
from medrange.aet.tomography.compensation import interpolation_weights
from medrange.aet.tomography.fourier_projector import FourierProjector
from medrange.aet.tomography.geometry import extended_shape, rotation_matrices, wrapped

TRIPLES = [[0, 0, 0], [0.3, -61.3, -0.4], [25, 40, -35], [0, 57, 0], [-170, 10, 88], [0.0, 90, 0]]


def blobs(shape, n=6, width=2.2, seed=0):
    """Smooth volume: Gaussians near the center, their centers and heights."""
    rng = np.random.default_rng(seed)
    centers = rng.uniform(-0.22, 0.22, (n, 3)) * min(shape)
    heights = rng.uniform(0.5, 1.5, n)
    grid = np.meshgrid(*(np.arange(m) - m // 2 for m in shape), indexing="ij")
    volume = sum(
        h * np.exp(-sum((g - x) ** 2 for g, x in zip(grid, c, strict=True)) / (2 * width**2))
        for c, h in zip(centers, heights, strict=True)
    )
    return volume.astype(np.float32), centers, heights


def blob_images(shape, angles, centers, heights, width=2.2):
    """Projections of the same Gaussians, analytically."""
    x, y = np.meshgrid(*(np.arange(m) - m // 2 for m in shape), indexing="ij")
    images = []
    for rotation in rotation_matrices(np.atleast_2d(angles)):
        seen = centers @ rotation  # A^T r
        images.append(
            sum(
                h * width * np.sqrt(2 * np.pi) * np.exp(-((x - c[0]) ** 2 + (y - c[1]) ** 2) / (2 * width**2))
                for c, h in zip(seen, heights, strict=True)
            )
        )
    return np.array(images)


def slow_forward(volume, angles, image_shape, padded):
    """Fourier slice with full complex transforms in double precision, index by index."""
    values = volume.astype(float)
    for axis, size in enumerate(padded):
        larger = np.zeros((*values.shape[:axis], size, *values.shape[axis + 1 :]))
        for small, large in wrapped(values.shape[axis], size):
            larger[(slice(None),) * axis + (large,)] = values[(slice(None),) * axis + (small,)]
        values = larger
    spectrum = np.fft.fftshift(np.fft.fftn(values))
    n1, n2, n3 = padded
    x, y = np.meshgrid(*(np.fft.ifftshift(np.arange(n) - n // 2) for n in (n1, n2)), indexing="ij")
    images = []
    for a in rotation_matrices(np.atleast_2d(angles)):
        r = a.T
        points = np.array(
            [
                r[0, 0] * x + r[1, 0] * y * n1 / n2,
                r[0, 1] * x * n2 / n1 + r[1, 1] * y,
                (r[0, 2] * x + r[1, 2] * y * n1 / n2) * n3 / n1,
            ]
        )
        inside = np.all([(p >= -(n // 2)) & (p <= (n - 1) // 2) for p, n in zip(points, padded, strict=True)], axis=0)
        at = [p + n // 2 for p, n in zip(points, padded, strict=True)]
        plane = map_coordinates(spectrum.real, at, order=1) + 1j * map_coordinates(spectrum.imag, at, order=1)
        image = np.fft.ifft2(np.where(inside, plane, 0)).real
        cropped = np.zeros(image_shape)
        for small_x, large_x in wrapped(image_shape[0], n1):
            for small_y, large_y in wrapped(image_shape[1], n2):
                cropped[small_x, small_y] = image[large_x, large_y]
        images.append(cropped)
    return np.array(images)


def slow_back(images, angles, shape):
    """Bilinear reading of the images at (A^T r)_xy, one by one."""
    grid = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij"))
    result = np.zeros(shape)
    for image, a in zip(images, rotation_matrices(np.atleast_2d(angles)), strict=True):
        x, y = (np.tensordot(a.T[i], grid, 1) + image.shape[i] // 2 for i in (0, 1))
        # As the kernels, keep what rounding puts just beyond the last pixel.
        inside = (x > -1e-9) & (x < image.shape[0] - 1 + 1e-9) & (y > -1e-9) & (y < image.shape[1] - 1 + 1e-9)
        result += np.where(inside, map_coordinates(image, [x, y], order=1, mode="nearest"), 0)
    return result


@pytest.mark.parametrize("shape", [(24, 20, 24), (25, 21, 23), (24, 21, 25)])
@pytest.mark.parametrize("oversampling", [(1, 1, 1), (1.5, 2, 3)])
def test_zero_angle_is_the_plain_sum(shape, oversampling):
    volume = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    for angles in ([[0, 0, 0]], [[0, 0, 0], [0.1, 0, 0]]):  # pure tilts, and the general way
        image = FourierProjector(angles, shape[:2], shape, oversampling).forward(volume)[0]
        assert np.abs(image - volume.sum(axis=2)).max() < 1e-5 * np.abs(volume.sum(axis=2)).max()


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize(
    ("angles", "expected"),
    [
        # A point at r is seen at the first two components of A^T r.
        ((0, 30, 0), lambda x, y, z, c, s: (x * c - z * s, y)),
        ((30, 0, 0), lambda x, y, z, c, s: (x * c + y * s, -x * s + y * c)),
        ((0, 0, 30), lambda x, y, z, c, s: (x, y * c + z * s)),
    ],
)
def test_a_point_lands_where_each_angle_says(size, angles, expected):
    r = np.array([7, -4, 5])
    volume = np.zeros((size,) * 3, np.float32)
    volume[tuple(r + size // 2)] = 1
    projector = FourierProjector([angles], (size, size), (size,) * 3, (3, 3, 3))
    image = projector.forward(volume)[0].astype(float)
    near = np.clip(image, 0.1 * image.max(), None) - 0.1 * image.max()
    grid = np.arange(size) - size // 2
    seen = near.sum(axis=1) @ grid / near.sum(), near.sum(axis=0) @ grid / near.sum()
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    assert seen == pytest.approx(expected(*r, c, s), abs=0.1)
    # And the back-projection reads there: of an image that is zero but for the pixel nearest to the point.
    at = np.rint(expected(*r, c, s)).astype(int) + size // 2
    spot = np.zeros((1, size, size), np.float32)
    spot[0, at[0], at[1]] = 1
    back = projector.back(spot)
    distance = np.array(expected(*r, c, s)) - (at - size // 2)
    assert back[tuple(r + size // 2)] == pytest.approx(np.prod(1 - np.abs(distance)), abs=1e-5)


@pytest.mark.parametrize("shape", [(12, 10, 12), (13, 11, 9), (12, 11, 15)])
@pytest.mark.parametrize("oversampling", [(1, 1, 1), (1.5, 3, 2), (2, 1.5, 3)])
def test_forward_is_the_slow_copy(shape, oversampling):
    volume = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    projector = FourierProjector(TRIPLES, shape[:2], shape, oversampling)
    expected = slow_forward(volume, TRIPLES, shape[:2], projector.padded_shape)
    # Noise has all its power at the edge of the sampled cube too, where signs and ranges go wrong if they can.
    assert projector.forward(volume) == pytest.approx(expected, abs=2e-5 * np.abs(expected).max())


def test_forward_of_an_object_wider_than_the_image():
    shape, image_shape = (31, 14, 9), (12, 11)
    volume = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    for angles in (TRIPLES, [[0, 20, 0], [0, -50, 0]]):
        projector = FourierProjector(angles, image_shape, shape, (1.5, 2, 3))
        expected = slow_forward(volume, angles, image_shape, projector.padded_shape)
        assert projector.forward(volume) == pytest.approx(expected, abs=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(12, 10, 12), (13, 11, 9)])
def test_pure_tilts_go_the_short_way_to_the_same_images(shape, monkeypatch):
    angles = [[0, t, 0] for t in (-74.3, -20, 0, 33, 90)]
    volume = np.random.default_rng(4).normal(size=shape).astype(np.float32)
    images = np.random.default_rng(5).normal(size=(5, *shape[:2]))
    projector = FourierProjector(angles, shape[:2], shape, (2, 3, 2))
    short = projector.forward(volume), projector.back(images)
    monkeypatch.setattr(fourier_projector, "is_pure_tilt", lambda angles: False)
    assert short[0] == pytest.approx(projector.forward(volume), abs=2e-5 * float(np.abs(short[0]).max()))
    assert short[1] == pytest.approx(projector.back(images), abs=1e-5 * float(np.abs(short[1]).max()))


@pytest.mark.parametrize("angles", [TRIPLES, [[0, 31, 0], [0, -70, 0], [0, 90, 0]]])
@pytest.mark.parametrize(("image_shape", "shape"), [((12, 10), (12, 10, 12)), ((11, 9), (33, 12, 15))])
def test_back_projection_is_the_slow_copy(angles, image_shape, shape):
    images = np.random.default_rng(6).normal(size=(len(angles), *image_shape))
    result = FourierProjector(angles, image_shape, shape).back(images)
    assert result.shape == shape
    assert result.dtype == np.float32
    assert result == pytest.approx(slow_back(images, angles, shape), abs=2e-5)


def test_projections_of_a_smooth_volume():
    volume, centers, heights = blobs((48, 48, 48))
    # Linear interpolation halfway between frequencies weakens what lies x from the center of a padded axis N by
    # 1 - cos(pi x / N), on average over positions by a third of (pi x / N)^2: up to 1.8 % at x = 10.6 with N = 144,
    # for each axis that is interpolated. Pure tilts interpolate two, where the distances add up to x^2 + z^2.
    for angles, limit in (([[0, t, 0] for t in range(-70, 71, 20)], 0.02), ([[3, 25, -6], [1, -40, 2]], 0.04)):
        truth = blob_images((48, 48), angles, centers, heights)
        errors = []
        for factor in (3, 5):
            images = FourierProjector(angles, (48, 48), volume.shape, (factor,) * 3).forward(volume)
            errors.append((np.abs(images - truth).sum(axis=(1, 2)) / np.abs(truth).sum(axis=(1, 2))).max())
        assert errors[0] < limit
        assert errors[1] < 0.4 * errors[0]


@pytest.mark.parametrize("angles", [[[0, t, 0] for t in range(-70, 71, 20)], [[3, 25, -6], [1, -40, 2]]])
def test_compensated_projections_of_a_smooth_volume(angles):
    volume, centers, heights = blobs((48, 48, 48))
    truth = blob_images((48, 48), angles, centers, heights)

    def error(compensated):
        projector = FourierProjector(angles, (48, 48), volume.shape, (3, 3, 3), compensated=compensated)
        images = projector.forward(volume)
        return (np.abs(images - truth).sum(axis=(1, 2)) / np.abs(truth).sum(axis=(1, 2))).max()

    # What is left of the third of (pi x / N)^2 is how it varies from frequency to frequency.
    assert error(True) < 0.015
    assert error(True) < 0.6 * error(False)


def test_weights_are_one_over_the_mean_of_the_interpolation():
    # With many angles all fractions of an index are equally frequent.
    rotations = rotation_matrices(np.random.default_rng(9).uniform(-90, 90, (200, 3)))
    shape, padded = (40, 31, 24), (120, 62, 36)
    for weights, n, large in zip(interpolation_weights(rotations, shape, padded), shape, padded, strict=True):
        x = np.arange(n) - n // 2
        assert weights == pytest.approx(1 / np.sinc(x / large) ** 2, rel=0.01)
    # Where no axis is interpolated there is nothing to undo.
    volume = np.random.default_rng(10).normal(size=(12, 10, 12)).astype(np.float32)
    quarters = [[0, 0, 0], [90, 0, 0], [0, 0, 90]]
    plain, compensated = (
        FourierProjector(quarters, (12, 10), (12, 12, 12), (2, 2, 2), compensated=value).forward(
            np.pad(volume, ((0, 0), (1, 1), (0, 0)))
        )
        for value in (False, True)
    )
    assert np.array_equal(plain, compensated)


@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_threads_and_input_order_change_nothing(tilt):
    angles = [[tilt, t, -tilt] for t in range(-60, 61, 15)]
    volume = np.random.default_rng(7).normal(size=(30, 37, 30)).astype(np.float32)
    before = volume.copy()
    one = FourierProjector(angles, (30, 37), volume.shape, (1.5, 2, 2), workers=1)
    three = FourierProjector(angles, (30, 37), volume.shape, (1.5, 2, 2), workers=3)
    images = one.forward(volume)
    assert np.array_equal(images, three.forward(volume))
    assert np.array_equal(images, one.forward(np.asfortranarray(volume).astype(float)))
    assert np.array_equal(one.back(images), three.back(images))
    assert np.array_equal(volume, before)


def test_what_is_asked_is_checked():
    with pytest.raises(ValueError, match="at least 1"):
        FourierProjector([[0, 0, 0]], (8, 8), (8, 8, 8), (0.5, 1, 1))
    with pytest.raises(ValueError, match=r"compensated=True needs at least 1\.5"):
        FourierProjector([[0, 0, 0]], (8, 8), (8, 8, 8), (3, 1, 3), compensated=True)
    with pytest.raises(ValueError, match="smaller than the projections"):
        FourierProjector([[0, 0, 0]], (8, 8), (8, 7, 8))
    with pytest.raises(ValueError, match="at least 2 x 2"):
        FourierProjector([[0, 0, 0]], (1, 8), (8, 8, 8))
    projector = FourierProjector([[0, 0, 0]], (8, 8), (8, 8, 8))
    with pytest.raises(ValueError, match=r"this projector is for \(8, 8, 8\)"):
        projector.forward(np.zeros((8, 8, 9)))
    with pytest.raises(ValueError, match=r"this projector is for \(1, 8, 8\)"):
        projector.back(np.zeros((2, 8, 8)))


@pytest.mark.data
def test_the_wedge_that_no_slice_reads_is_left_out(data_folder):
    angles = np.load(data_folder / "ta_film/tomography_subarea65.npz")["angles"]
    shape = extended_shape((40, 16), 20, angles)
    projector = FourierProjector(angles, (40, 16), shape, (1.5, 3, 3))
    volume = np.random.default_rng(8).normal(size=shape).astype(np.float32)
    for array in projector._arrays:
        array[:] = np.nan
    assert np.isfinite(projector.forward(volume)).all()
    assert np.isnan(projector._arrays[2]).mean() > 0.3
