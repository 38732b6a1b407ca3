"""Support masks: morphology against SciPy's, known shapes, the published support."""

import numpy as np
import pytest
from scipy import ndimage

from medrange.aet.tomography.support import dilated, eroded, support_mask


def ball(radius):
    side = int(np.ceil(radius))
    grid = np.indices((2 * side + 1,) * 3) - side
    return (grid**2).sum(axis=0) <= radius**2


@pytest.mark.parametrize("radius", [1, 2.5, 4, 14 / 3])
def test_balls_as_scipy_does_them(radius):
    mask = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(24, 25, 26)), 2) > 0.02
    assert np.array_equal(dilated(mask, radius), ndimage.binary_dilation(mask, ball(radius)))
    assert np.array_equal(eroded(mask, radius), ndimage.binary_erosion(mask, ball(radius), border_value=1))
    assert dilated(mask, radius).sum() > mask.sum() > eroded(mask, radius).sum()


def test_full_and_empty_masks_stay():
    full, empty = np.ones((5, 5, 5), dtype=bool), np.zeros((5, 5, 5), dtype=bool)
    assert eroded(full, 2).all()
    assert not dilated(empty, 2).any()
    assert not eroded(empty, 2).any()
    assert dilated(full, 0) is not full


def atoms_in_a_ball(size=60, radius=18.0, spacing=6):
    """Gaussian atoms on a lattice inside a ball around the center, and the ball."""
    grid = np.indices((size,) * 3) - size // 2
    inside = np.sqrt((grid**2).sum(axis=0)) <= radius
    volume = np.zeros((size,) * 3)
    volume[::spacing, ::spacing, ::spacing] = 1
    return ndimage.gaussian_filter(volume * inside, 1.3), inside


def test_support_of_a_ball_of_atoms():
    volume, inside = atoms_in_a_ball()
    before = volume.copy()
    mask = support_mask(volume, dilation=6, erosion=6)
    assert np.array_equal(volume, before)
    overlap = (mask & inside).sum() / (mask | inside).sum()
    # The outline is known to about half the spacing of the atoms: 3 of 18 voxels, a share of 1 - (15 / 18)^3.
    assert overlap > (15 / 18) ** 3
    assert ndimage.label(mask)[1] == 1
    assert np.array_equal(support_mask(volume * 1000, dilation=6, erosion=6), mask)
    tighter = support_mask(volume, dilation=6, erosion=9)
    assert not (tighter & ~mask).any()


def test_level_and_small_regions():
    volume = np.zeros((40, 40, 40))
    volume[5:20, 5:20, 5:20] = 1
    volume[30:34, 30:34, 30:34] = 1
    keywords = {"smoothing": 1, "dilation": 0, "erosion": 0}
    assert ndimage.label(support_mask(volume, **keywords))[1] == 2
    large = support_mask(volume, smallest=65, **keywords)
    assert np.array_equal(np.argwhere(large).max(axis=0), [19, 19, 19])
    assert large.sum() == 15**3
    assert ndimage.label(support_mask(volume, smallest=64, **keywords))[1] == 2
    # At the box's border a smoothed face holds half: a lower level lets the mask grow.
    loose = support_mask(volume, level=0.3, smoothing=5, dilation=0, erosion=0)
    assert loose.sum() > support_mask(volume, level=1.5, smoothing=5, dilation=0, erosion=0).sum()


@pytest.mark.parametrize(
    ("volume", "keywords", "message"),
    [
        (np.zeros((5, 5)), {}, r"shape \(5, 5\); three axes"),
        (np.full((5, 5, 5), np.nan), {}, "finite values are needed"),
        (np.zeros((9, 9, 9)), {}, "the volume is 0 everywhere"),
        (np.eye(9)[..., None] * np.ones(9), {"smoothing": 0}, "smoothing is 0"),
        (np.eye(9)[..., None] * np.ones(9), {"level": 0}, "level 0"),
        (np.eye(9)[..., None] * np.ones(9), {"erosion": -1}, "radius of the ball is -1"),
    ],
)
def test_errors(volume, keywords, message):
    with pytest.raises(ValueError, match=message):
        support_mask(volume, **keywords)


@pytest.mark.data
def test_support_of_a_window_resembles_the_published_one(data_folder):
    with np.load(data_folder / "ta_film" / "tracing_reference.npz") as data:
        shape = tuple(data["support_shape"])
        published = np.unpackbits(data["tight_support"])[: np.prod(shape)].reshape(shape).astype(bool)
    with np.load(data_folder / "ta_film" / "tomography_subarea65.npz") as data:
        low, high = data["center_in_film"] - data["half_size"], data["center_in_film"] + data["half_size"]
        mask = support_mask(data["reconstruction"], dilation=0, erosion=0)
    published = published[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))]
    # The published mask is of the whole film, and tightened; of one window most voxels agree.
    assert (mask == published).mean() > 0.9
