import numpy as np
import pytest

from medrange.geometry import DiffractionGeometry
from medrange.kernels.virtual import circular_aperture, weighted_mean

GEOMETRY = DiffractionGeometry((64, 64), (31.2, 32.7), 0.1, "1/nm")


def test_weights_are_exact_areas():
    weights = circular_aperture(GEOMETRY, k=1.5, phi=0.8, radius=0.35)
    inside = weights[weights > 0]
    # A pixel wholly inside has weight 1 / area of the circle.
    assert inside.max() == pytest.approx(1 / (np.pi * 3.5**2), rel=1e-9)
    rows, cols = np.indices((64, 64))
    assert (weights * rows).sum() == pytest.approx(31.2 + 15 * np.sin(0.8), abs=1e-2)
    assert (weights * cols).sum() == pytest.approx(32.7 + 15 * np.cos(0.8), abs=1e-2)


def test_mean_of_a_linear_pattern_is_its_value_at_the_center():
    rows, cols = np.indices((64, 64))
    frames = np.stack([2.0 * rows + 3 * cols, np.full((64, 64), 7.0)])
    weights = circular_aperture(GEOMETRY, k=1.0, phi=0.0, radius=0.5)
    assert weighted_mean(frames, weights) == pytest.approx([2 * 31.2 + 3 * 42.7, 7], rel=1e-3)


def test_masked_pixels_are_left_out():
    mask = np.zeros((64, 64), bool)
    mask[:, 43:] = True
    geometry = DiffractionGeometry((64, 64), (31.2, 32.7), 0.1, "1/nm", mask=mask)
    weights = circular_aperture(geometry, k=1.0, phi=0.0, radius=0.5)
    assert weights[mask].max() == 0
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 1.0, "phi": 0.0, "radius": 0.0}, "radius is 0.0"),
        ({"k": 90.0, "phi": 0.0, "radius": 0.1}, "no open detector pixel lies in the aperture"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        circular_aperture(GEOMETRY, **arguments)
