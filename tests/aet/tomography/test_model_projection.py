"""Projections of an atomic model: analytic images, an independent sum in Fourier space, exact derivatives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medrange.aet.atoms.model import AtomicModel
from medrange.aet.tomography import project_model
from medrange.aet.tomography.gaussian_atoms import add_gaussians, gaussian_moments, half_width
from medrange.aet.tomography.geometry import rotation_matrices
from medrange.aet.tomography.model_projection import ModelImages
from medrange.pdf.scattering_factors import scattering_factor

PIXEL, SHAPE = 0.4, (41, 48)
ANGLES = np.array([[0.0, -60, 0], [3, -20, -2], [0, 0, 0], [-4, 35, 5], [0, 70, 0]])


def atoms(count=9, seed=0, symbols=("Ni", "Pt"), reach=4.0):
    rng = np.random.default_rng(seed)
    return AtomicModel(rng.uniform(-reach, reach, (count, 3)), tuple(symbols[i % len(symbols)] for i in range(count)))


def test_single_atom_is_a_gaussian_at_its_projected_place():
    model, b = AtomicModel([[2.0, -1.3, 3.1]]), 6.0
    images = project_model(model, ANGLES, shape=SHAPE, pixel_size=PIXEL, b_factor=b, form_factor=None)
    sigma = np.sqrt(b / 2) / np.pi
    for image, rotation in zip(images, rotation_matrices(ANGLES), strict=True):
        place = (rotation.T @ model.positions[0])[:2]
        x, y = ((np.arange(n) - n // 2) * PIXEL for n in SHAPE)
        rho2 = (x[:, None] - place[0]) ** 2 + (y - place[1]) ** 2
        # The beam direction adds the integral of the Gaussian, in pixels.
        expected = np.exp(-rho2 / (2 * sigma**2)) * np.sqrt(2 * np.pi) * sigma / PIXEL
        np.testing.assert_allclose(image, expected, atol=2e-6 * expected.max())


def test_for_pure_tilts_x_and_z_mix_as_documented():
    theta = 40.0
    (image,) = project_model(
        AtomicModel([[2.0, 1.2, 3.0]]), [theta], shape=(64, 64), pixel_size=PIXEL, form_factor=None
    )
    weights = image / image.sum()
    center = [(weights.sum(axis=1 - axis) * (np.arange(64) - 32)).sum() * PIXEL for axis in (0, 1)]
    t = np.radians(theta)
    np.testing.assert_allclose(center, [2 * np.cos(t) - 3 * np.sin(t), 1.2], atol=1e-5)


def test_images_equal_the_sum_of_structure_factors():
    model, heights, b_factor = atoms(), {"Ni": 0.7, "Pt": 2.0}, {"Ni": 12.0, "Pt": 10.0}
    images = project_model(model, ANGLES, shape=SHAPE, pixel_size=PIXEL, b_factor=b_factor, heights=heights)
    size = 160
    q = np.fft.fftfreq(size, PIXEL)
    q2 = q[:, None] ** 2 + q**2
    for image, rotation in zip(images, rotation_matrices(ANGLES), strict=True):
        spectrum = np.zeros((size, size), complex)
        for position, name in zip(model.positions, model.symbols, strict=True):
            x, y = (rotation.T @ position)[:2]
            b = b_factor[name]
            # The 3-D transform of h exp(-pi^2 r^2 / B), per voxel, on the plane of the image.
            weight = heights[name] * (b / np.pi) ** 1.5 / PIXEL**3 * np.exp(-b * q2)
            weight = weight * scattering_factor(name, np.sqrt(q2))
            spectrum += weight * np.exp(-2j * np.pi * (q[:, None] * x + q * y))
        whole = np.fft.fftshift(np.fft.ifft2(spectrum).real)
        start = [size // 2 - n // 2 for n in SHAPE]
        expected = whole[start[0] : start[0] + SHAPE[0], start[1] : start[1] + SHAPE[1]]
        # Patches end where a Gaussian is 1e-6 of its top; aliasing, exp(-B q^2) at Nyquist, is less at this B.
        np.testing.assert_allclose(image, expected, atol=5e-6 * expected.max())


def test_intensity_follows_the_atomic_number():
    for name, number in (("Fe", 26), ("Ta", 73)):
        (image,) = project_model(AtomicModel([[0.3, 0.1, 0]], (name,)), [0.0], shape=(120, 120), pixel_size=0.3)
        assert image.sum() == pytest.approx(number**1.7, rel=1e-4)


def test_height_along_the_beam_does_not_matter():
    low, high = (
        project_model(AtomicModel([[0.5, 0.2, z]], ("Ta",)), [0.0], shape=SHAPE, pixel_size=PIXEL) for z in (0, 0.17)
    )
    np.testing.assert_allclose(low, high, rtol=0, atol=1e-9 * low.max())


def test_images_add_up_and_order_of_atoms_does_not_matter():
    model = atoms()
    whole = project_model(model, ANGLES, shape=SHAPE, pixel_size=PIXEL)
    parts = [
        project_model(model.subset(part), ANGLES, shape=SHAPE, pixel_size=PIXEL)
        for part in ([0, 4, 7, 5], [8, 1, 2, 3, 6])
    ]
    np.testing.assert_allclose(sum(parts), whole, atol=1e-10 * whole.max())


def test_atoms_beyond_the_image_add_nothing():
    far = AtomicModel([[500.0, 0, 0], [0, -300, 0]], ("Ta", "Ta"))
    assert np.abs(project_model(far, [0.0], shape=SHAPE, pixel_size=PIXEL)).max() < 1e-9


def test_result_does_not_depend_on_threads():
    model, heights, b = atoms(), np.array([1.0, 3.0]), np.array([6.0, 5.0])
    one, many = (ModelImages(model.symbols, ANGLES, shape=SHAPE, pixel_size=PIXEL, workers=n) for n in (1, 3))
    images = one.project(model.positions, heights, b)
    np.testing.assert_array_equal(images, many.project(model.positions, heights, b))
    found = [part.derivatives(images, model.positions + 0.1, heights, b) for part in (one, many)]
    np.testing.assert_array_equal(found[0].positions, found[1].positions)
    assert found[0].squares == found[1].squares


@pytest.mark.parametrize("form_factor", ["species", "mean", None])
def test_derivatives_are_exact(form_factor):
    model, rng = atoms(seed=3), np.random.default_rng(1)
    images = ModelImages(model.symbols, ANGLES, shape=SHAPE, pixel_size=PIXEL, form_factor=form_factor)
    measured = images.project(model.positions, np.array([1.0, 2.5]), np.array([6.0, 5.0]))
    # One atom leaves the field of view in part.
    positions = model.positions + rng.normal(0, 0.2, (9, 3))
    positions[0] = [8.0, 0.3, 0.1]
    heights, b = np.array([1.2, 2.2]), np.array([6.8, 4.7])
    found = images.derivatives(measured, positions, heights, b)
    residual = images.project(positions, heights, b) - measured
    assert found.squares == pytest.approx(0.5 * (residual**2).sum(), rel=1e-12)
    assert found.absolute == pytest.approx(np.abs(residual).sum(), rel=1e-12)

    def slope(change, step=1e-4):
        ends = [images.derivatives(measured, *change(sign * step)).squares for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * step)

    for _ in range(4):
        direction = rng.normal(size=positions.shape)
        numeric = slope(lambda e, d=direction: (positions + e * d, heights, b))
        assert (found.positions * direction).sum() == pytest.approx(numeric, rel=1e-5)
    for s in range(2):
        one = np.eye(2)[s]
        assert found.heights[s] == pytest.approx(slope(lambda e, o=one: (positions, heights + e * o, b)), rel=1e-5)
        assert found.b_factors[s] == pytest.approx(slope(lambda e, o=one: (positions, heights, b + e * o)), rel=1e-5)


@settings(deadline=None, max_examples=30)
@given(x=st.floats(-20, 60), y=st.floats(-20, 60), b=st.floats(0.05, 1.5))
def test_kernels_equal_plain_sums(x, y, b):
    image, points, half = np.zeros((31, 26)), np.array([[x, y]]), half_width(b)
    add_gaussians(points, 2.0, b, half, image)
    dx, dy = np.arange(31)[:, None] - x, np.arange(26) - y
    whole = np.exp(-b * (dx**2 + dy**2))
    np.testing.assert_allclose(image, 2 * whole, atol=2.1e-6)
    weights = np.random.default_rng(0).normal(size=image.shape)
    out = np.empty((1, 4))
    gaussian_moments(points, b, half, weights, out)
    drawn = weights * image / 2
    np.testing.assert_allclose(
        out[0], [drawn.sum(), (drawn * dx).sum(), (drawn * dy).sum(), (drawn * (dx**2 + dy**2)).sum()], atol=1e-9
    )


def test_errors():
    keywords = {"shape": SHAPE, "pixel_size": PIXEL}
    with pytest.raises(ValueError, match="no chemical symbols"):
        project_model(AtomicModel([[0, 0, 0]]), [0.0], **keywords)
    with pytest.raises(ValueError, match="form_factor is 'kirkland'"):
        project_model(atoms(), [0.0], form_factor="kirkland", **keywords)
    with pytest.raises(ValueError, match="heights lacks Pt"):
        project_model(atoms(), [0.0], heights={"Ni": 1.0}, **keywords)
    with pytest.raises(ValueError, match="b_factor is"):
        project_model(atoms(), [0.0], b_factor=0.0, **keywords)
    with pytest.raises(ValueError, match="pixel_size is -1"):
        project_model(atoms(), [0.0], shape=SHAPE, pixel_size=-1)
