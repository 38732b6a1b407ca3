"""Alignment of a simulated series: planted shifts are found, up to what no projection can tell."""

import numpy as np
import pytest

from medrange.aet.tomography.alignment import align_projections, moved_images

SIZE = 96


def particle(seed=0, count=300, radius=22):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-radius, radius, (6 * count, 3))
    points = points[np.linalg.norm(points, axis=1) < radius][:count]
    return points - points.mean(axis=0)


def projected(points, tilts, shifts=None, width=1.6, size=SIZE):
    """Sums of Gaussian atoms at x' = x cos t - z sin t, y' = y, exact at any position."""
    axis = np.arange(size) - size // 2
    shifts = np.zeros((len(tilts), 2)) if shifts is None else shifts
    images = []
    for tilt, (dx, dy) in zip(np.radians(tilts), shifts, strict=True):
        across = points[:, 0] * np.cos(tilt) - points[:, 2] * np.sin(tilt) + dx
        along = points[:, 1] + dy
        gx = np.exp(-((axis[:, None] - across) ** 2) / (2 * width**2))
        gy = np.exp(-((axis[:, None] - along) ** 2) / (2 * width**2))
        images.append(gx @ gy.T)
    return np.stack(images)


def unexplained(shifts, tilts):
    """What remains of shifts after the best translation of the object (x, y, z), which no series can tell."""
    t = np.radians(tilts)
    across = np.stack([np.cos(t), -np.sin(t)], axis=1)
    rest = shifts[:, 0] - across @ np.linalg.lstsq(across, shifts[:, 0], rcond=None)[0]
    return np.stack([rest, shifts[:, 1] - shifts[:, 1].mean()], axis=1)


@pytest.mark.parametrize("noisy", [False, True])
def test_planted_shifts_are_found_to_a_fifth_of_a_pixel(noisy):
    rng = np.random.default_rng(3)
    tilts = np.linspace(-66, 66, 23)
    planted = rng.uniform(-4, 4, (len(tilts), 2))
    images = projected(particle(), tilts, planted)
    if noisy:
        images = rng.poisson(images * 20) / 20.0
    before = images.copy()
    found = align_projections(images, tilts=tilts)
    error = unexplained(found.shifts + planted, tilts)
    assert np.sqrt(np.mean(error**2, axis=0)).max() < 0.2
    assert np.abs(error).max() < 0.4
    assert found.history[-1] < 0.01
    np.testing.assert_array_equal(images, before)
    assert "23 projections moved" in repr(found)


def test_aligned_images_are_those_of_the_centered_particle():
    tilts = np.linspace(-60, 60, 9)
    planted = np.random.default_rng(4).uniform(-3, 3, (len(tilts), 2))
    planted[:, 1] -= planted[:, 1].mean()
    points = particle(5)
    found = align_projections(projected(points, tilts, planted), tilts=tilts)
    truth = projected(points, tilts)
    assert np.abs(found.projections - truth).max() < 0.03 * truth.max()


def test_moving_is_exact_for_an_image_that_ends_before_its_border():
    points, shifts = particle(6), np.array([[1.37, -2.21]])
    moved = moved_images(projected(points, [0.0]), shifts)
    np.testing.assert_allclose(moved, projected(points, [0.0], shifts), atol=1e-5)


def test_moving_brings_zeros_in():
    moved = moved_images(np.ones((1, 16, 16)), np.array([[4.0, 0.0]]))
    np.testing.assert_allclose(moved[0, :4], 0, atol=1e-12)
    np.testing.assert_allclose(moved[0, 4:], 1, atol=1e-12)


@pytest.mark.parametrize(
    ("images", "tilts", "match"),
    [
        (np.ones((2, 4, 4)), np.zeros(3), r"\(2, 4, 4\) and tilts \(3,\)"),
        (np.ones((1, 4, 4)), np.zeros(1), "at least two tilts"),
        (np.full((2, 4, 4), np.nan), np.zeros(2), "32 pixels are not finite"),
        (np.stack([np.ones((4, 4)), -np.ones((4, 4))]), np.zeros(2), "projection 1 sums to -16"),
    ],
)
def test_errors(images, tilts, match):
    with pytest.raises(ValueError, match=match):
        align_projections(images, tilts=tilts)
