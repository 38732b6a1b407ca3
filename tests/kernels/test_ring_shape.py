import numpy as np
import pytest

from medrange.geometry import DiffractionGeometry
from medrange.kernels.ring_shape import annulus, ring_harmonics, ring_radius


def test_harmonics_are_the_shift_of_the_center_and_the_ellipse():
    rows, cols = np.indices((128, 128))
    x, y = cols - 63.5 - 0.10, rows - 63.5 + 0.05
    phi = np.arctan2(y, x)
    radius = np.hypot(x, y) - 0.08 * np.cos(2 * phi) + 0.06 * np.sin(2 * phi)
    geometry = DiffractionGeometry((128, 128), (63.5, 63.5), 0.1, "1/nm")
    image = np.exp(-(((radius - 30) / 4) ** 2))
    series = ring_harmonics(image, geometry, annulus(geometry, k=3.0, width=2.0, n_phi=36))
    assert series == pytest.approx([0, 0.10, -0.05, 0.08, -0.06], abs=0.004)


def test_annulus_has_rings_of_a_pixel():
    geometry = DiffractionGeometry((128, 128), (63.5, 63.5), 0.1, "1/nm")
    grid = annulus(geometry, k=3.0, width=2.0, n_phi=24)
    assert (grid.n_k, grid.n_phi, grid.k_min, grid.k_max) == (20, 24, 2.0, 4.0)
    assert annulus(geometry, k=3.0, width=0.2, n_phi=24).n_k == 8


K = np.linspace(3, 5, 41)


@pytest.mark.parametrize("radius", [3.6, 4.0, 4.33])
def test_radius_of_a_gaussian_on_a_slope(radius):
    profile = 5 * np.exp(-0.5 * ((K - radius) / 0.2) ** 2) + 20 - 3 * K
    assert ring_radius(profile, K) == pytest.approx(radius, abs=1e-6)
    profile[[3, 7]] = np.nan
    assert ring_radius(profile, K) == pytest.approx(radius, abs=1e-6)


@pytest.mark.parametrize(
    "profile",
    [
        np.full(41, 7.0),
        10 - K,
        np.full(41, np.nan),
        5 - 3 * np.exp(-0.5 * ((K - 4) / 0.2) ** 2),
        np.random.default_rng(0).normal(size=41),
        np.exp(-0.5 * ((K - 2.6) / 0.4) ** 2),
    ],
    ids=["flat", "slope", "masked", "trough", "noise", "outside"],
)
def test_a_profile_without_ring_is_refused(profile):
    with pytest.raises(ValueError, match="no ring was found between k = 3 and 5"):
        ring_radius(profile, K)
