import numpy as np
import pytest

from medrange.geometry import DiffractionGeometry
from medrange.kernels.center import ring_center
from medrange.kernels.ellipse import ring_ellipse

SIZE = 128
CENTER = (63.2, 64.7)
RING = {"k": 4.0, "width": 2.0}


def profile(radius):
    return 40 * np.exp(-(((radius - 25) / 3.5) ** 2)) + 20 * np.exp(-radius / 20)


def pattern(ratio=1.0, angle=0.0, center=CENTER):
    """A glass's pattern whose circles became ellipses: long axis a along ``angle``, short axis ratio times a."""
    rows, cols = np.indices((SIZE, SIZE))
    x, y = cols - center[1], rows - center[0]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = -x * np.sin(angle) + y * np.cos(angle)
    return profile(np.hypot(along, across / ratio))


def beam_stop():
    mask = np.zeros((SIZE, SIZE), bool)
    mask[60:68, :70] = True
    mask |= np.random.default_rng(0).random(mask.shape) < 0.01
    return mask


def geometry(center=CENTER, ellipse=None, mask=None):
    return DiffractionGeometry((SIZE, SIZE), center, 0.16, "1/nm", ellipse, mask)


def angle_between(one, other):
    return abs((one - other + np.pi / 2) % np.pi - np.pi / 2)


@pytest.mark.parametrize("mask", [None, beam_stop()], ids=["open", "masked"])
@pytest.mark.parametrize("angle", [0.0, 0.4, 1.3, 2.0, 3.0])
@pytest.mark.parametrize("ratio", [0.99, 0.96])
def test_ellipse_is_recovered_to_five_hundredths_of_a_percent(ratio, angle, mask):
    found, turned = ring_ellipse(pattern(ratio, angle), geometry(mask=mask), **RING)
    assert found == pytest.approx(ratio, abs=5e-4)
    # An angle wrong by this much is an ellipse wrong by 0.05 %.
    assert angle_between(turned, angle) < 5e-4 / (1 - ratio)


@pytest.mark.parametrize("mask", [None, beam_stop()], ids=["open", "masked"])
@pytest.mark.parametrize("offset", [(1.0, 0.0), (-0.6, 0.8)])
def test_center_off_by_a_pixel_and_ellipse_of_one_percent_together(offset, mask):
    image = pattern(0.99, 0.7)
    guess = geometry((CENTER[0] + offset[0], CENTER[1] + offset[1]), mask=mask)
    ratio, angle = ring_ellipse(image, guess, **RING)
    assert ratio == pytest.approx(0.99, abs=5e-4)
    assert angle_between(angle, 0.7) < 0.05
    corrected = DiffractionGeometry(guess.shape, guess.center, guess.k_step, guess.k_units, (ratio, angle), mask)
    for start in (guess, corrected):
        assert ring_center(image, start, **RING) == pytest.approx(CENTER, abs=0.02)


def test_a_ratio_above_one_is_the_same_ellipse_turned():
    ratio, angle = ring_ellipse(pattern(1 / 0.98, 0.3), geometry(), **RING)
    assert ratio == pytest.approx(0.98, abs=5e-4)
    assert angle_between(angle, 0.3 + np.pi / 2) < 0.02


def test_any_first_ellipse_comes_to_the_same_rest():
    image = pattern(0.985, 1.0)
    results = [ring_ellipse(image, geometry(ellipse=e), **RING) for e in (None, (1.05, 0.2), (0.985, 1.0))]
    for ratio, angle in results:
        assert ratio == pytest.approx(results[0][0], abs=1e-4)
        assert angle_between(angle, results[0][1]) < 0.01


def test_a_circle_is_a_circle():
    assert ring_ellipse(pattern(), geometry(), **RING)[0] == pytest.approx(1, abs=2e-4)


def test_mostly_masked_ring_is_refused():
    mask = np.zeros((SIZE, SIZE), bool)
    mask[:, :80] = True
    with pytest.raises(ValueError, match=r"only \d+ of 36 azimuths of the ring at k = 4 1/nm"):
        ring_ellipse(pattern(), geometry(mask=mask), **RING)


def test_noise_without_a_ring_does_not_rest():
    noise = np.random.default_rng(0).normal(size=(SIZE, SIZE))
    with pytest.raises(ValueError, match=r"does not come to rest|axis ratio"):
        ring_ellipse(noise, geometry(), **RING)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_phi": 8}, "n_phi is 8; at least 12 azimuths"),
        ({"width": 0.0}, "width is 0.0"),
        ({"k": 0.5}, "reaches below k = 0"),
    ],
)
def test_errors_name_the_value(change, message):
    with pytest.raises(ValueError, match=message):
        ring_ellipse(pattern(), geometry(), **(RING | change))


def test_input_is_not_written():
    image = pattern(0.98, 0.5)
    before = image.copy()
    ring_ellipse(image, geometry(), **RING)
    assert (image == before).all()
