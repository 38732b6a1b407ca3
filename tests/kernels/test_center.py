import numpy as np
import pytest

from medrange.geometry import DiffractionGeometry
from medrange.kernels.center import direct_beam_center, friedel_center, ring_center


def pattern(center, *, ellipse=1.0, beam=True, size=96):
    rows, cols = np.indices((size, size))
    y, x = rows - center[0], (cols - center[1]) / ellipse
    radius = np.hypot(x, y)
    ring = 40 * np.exp(-(((radius - 25) / 3) ** 2)) + 20 * np.exp(-radius / 20)
    return ring + (1e4 / (1 + np.exp((radius - 4) * 3)) if beam else 0)


@pytest.mark.parametrize("center", [(47.5, 47.5), (46.13, 49.71), (50.0, 44.4)])
def test_direct_beam_to_a_hundredth_of_a_pixel(center):
    assert direct_beam_center(pattern(center)) == pytest.approx(center, abs=0.01)


@pytest.mark.parametrize("center", [(47.5, 47.5), (46.13, 49.71)])
@pytest.mark.parametrize("ellipse", [1.0, 1.02])
def test_ring_to_two_hundredths_of_a_pixel_behind_a_stop(center, ellipse):
    image = pattern(center, ellipse=ellipse, beam=False)
    mask = np.zeros(image.shape, bool)
    mask[43:52, :50] = True
    geometry = DiffractionGeometry(image.shape, (center[0] + 1.5, center[1] - 1.0), 0.1, "1/nm", mask=mask)
    assert ring_center(image, geometry, k=2.5, width=1.2) == pytest.approx(center, abs=0.02)


@pytest.mark.parametrize("center", [(46.13, 49.71), (47.5, 47.5), (50.0, 44.4)])
@pytest.mark.parametrize("ellipse", [1.0, 1.05])
@pytest.mark.parametrize("noisy", [False, True])
def test_friedel_center_to_a_twentieth_of_a_pixel_without_a_guess(center, ellipse, noisy):
    # An ellipse is as symmetric as a circle: nothing about the ring need be known.
    image = 100 * pattern(center, beam=False, ellipse=ellipse)
    if noisy:
        image = np.random.default_rng(0).poisson(image)
    mask = np.zeros(image.shape, bool)
    mask[43:52, :50] = True
    before = image.copy()
    assert friedel_center(image, mask) == pytest.approx(center, abs=0.05)
    np.testing.assert_array_equal(image, before)


def test_beam_at_the_edge_or_masked_is_refused():
    with pytest.raises(ValueError, match="cut by the mask or by the detector's edge"):
        direct_beam_center(pattern((1.0, 47.0)))
    mask = np.zeros((96, 96), bool)
    mask[47, 50] = True
    with pytest.raises(ValueError, match="method='ring'"):
        direct_beam_center(pattern((47.5, 47.5)), mask)


@pytest.mark.parametrize("find", [direct_beam_center, friedel_center])
def test_dark_pattern_is_refused(find):
    with pytest.raises(ValueError, match="no positive intensity"):
        find(np.zeros((32, 32)))


def test_ring_that_is_mostly_masked_is_refused():
    image = pattern((47.5, 47.5))
    mask = np.zeros(image.shape, bool)
    mask[:, :60] = True
    geometry = DiffractionGeometry(image.shape, (47.5, 47.5), 0.1, "1/nm", mask=mask)
    with pytest.raises(ValueError, match=r"only \d+ of 36 azimuths"):
        ring_center(image, geometry, k=2.5, width=1.0)


def test_input_is_not_written():
    image = pattern((47.0, 48.0))
    before = image.copy()
    direct_beam_center(image)
    friedel_center(image)
    assert (image == before).all()
