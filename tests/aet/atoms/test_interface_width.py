from dataclasses import replace

import numpy as np
import pytest

from medrange.aet.atoms import AtomicModel, Neighbors, bond_order, crystal_nuclei, interface_width
from medrange.aet.atoms.bond_orientation import BondOrder
from medrange.aet.atoms.interface import _distances

EDGE = 9.0


def planted(width=3.0, noise=0.02, seed=0, pbc=(False,) * 3, size=48.0):
    """Cubic nucleus in the middle of a glass; outside, the order decays as 0.25 exp(-x/width) + 0.2."""
    rng = np.random.default_rng(seed)
    lattice = 3.0 * np.indices((7, 7, 7)).reshape(3, -1).T - EDGE
    points = rng.uniform(-size / 2, size / 2, (12_000, 3))
    points = points[(np.abs(points) > EDGE).any(axis=1)]
    # Distance to the cube, by its closest point.
    x = np.linalg.norm(points - np.clip(points, -EDGE, EDGE), axis=1)
    order = np.concatenate([np.full(len(lattice), 0.8), 0.25 * np.exp(-x / width) + 0.2 + rng.normal(0, noise, len(x))])
    model = AtomicModel(np.concatenate([lattice, points]), cell=np.eye(3) * size, pbc=pbc)
    nuclei = crystal_nuclei(BondOrder(order, order, order, Neighbors(model, 3.3)))
    return nuclei, x


@pytest.mark.parametrize("width", [2.0, 3.0, 4.5])
def test_a_planted_width_is_found(width):
    nuclei, _ = planted(width)
    found = interface_width(nuclei)
    # Bins of 0.5 stand at the mean distance of their atoms; 12,000 atoms leave 1 to 2 %.
    assert found.width == pytest.approx(width, rel=0.05)
    assert abs(found.width - width) < 4 * found.width_error
    assert found.amplitude == pytest.approx(0.25, rel=0.05)
    assert found.offset == pytest.approx(0.2, rel=0.02)
    np.testing.assert_allclose(found.fit([0.0, 1e3]), [found.amplitude + found.offset, found.offset])


def test_distances_to_a_cube():
    nuclei, x = planted()
    signed = interface_width(nuclei).signed_distance
    # The outline of the lattice is the cube: every point outside has its distance to it.
    np.testing.assert_allclose(signed[343:], x, atol=1e-9)
    lattice = nuclei.model.positions[:343]
    depth = EDGE - np.abs(lattice).max(axis=1)
    np.testing.assert_allclose(signed[:343], -depth, atol=1e-9)


def test_an_isolated_crystal_atom_is_a_surface_of_its_own():
    nuclei, _ = planted()
    far = int(np.argmax(np.abs(nuclei.model.positions).min(axis=1)))
    crystal = nuclei.crystal.copy()
    crystal[far] = True
    signed = interface_width(replace(nuclei, crystal=crystal)).signed_distance
    assert signed[far] == 0
    away = np.linalg.norm(nuclei.model.positions - nuclei.model.positions[far], axis=1)
    assert (np.abs(signed) <= away + 1e-9).all()


def test_a_nucleus_beyond_the_border_of_a_box_is_near():
    nuclei, x = planted(pbc=(True,) * 3)
    moved = AtomicModel(nuclei.model.positions + np.array([20.0, -20.0, 7.0]), cell=nuclei.model.cell, pbc=(True,) * 3)
    order = nuclei.bond_order.normalized
    again = crystal_nuclei(BondOrder(order, order, order, Neighbors(moved, 3.3)))
    one, other = interface_width(nuclei), interface_width(again)
    # Parallel facets of the images lie in common planes: flat tetrahedra between them are no surface.
    for found in (one, other):
        np.testing.assert_allclose(found.signed_distance[343:], x, atol=1e-9)
    assert other.width == pytest.approx(one.width, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_distance_to_triangles_against_points_on_them(seed):
    rng = np.random.default_rng(seed)
    triangles, points = rng.normal(size=(6, 3, 3)) * 3, rng.normal(size=(20, 3)) * 4
    found = _distances(points, triangles, np.full(20, np.inf))
    u, v = (part.ravel() for part in np.meshgrid(*[np.linspace(0, 1, 201)] * 2))
    inside = u + v <= 1
    weights = np.stack([1 - u - v, u, v], axis=1)[inside]
    dense = np.einsum("wc,tcx->twx", weights, triangles).reshape(-1, 3)
    sampled = np.array([np.linalg.norm(dense - point, axis=1).min() for point in points])
    # Sampled points are never nearer, and within a step of the sampling.
    assert (found <= sampled + 1e-12).all()
    np.testing.assert_allclose(found, sampled, atol=0.05)


def test_profile_and_table():
    found = interface_width(planted()[0], window=(1.0, 12.0), bin_width=1.0)
    assert found.parameters == {"window": (1.0, 12.0), "bin_width": 1.0, "alpha_radius": 3.3}
    assert found.fitted.sum() == 11
    assert np.isnan(found.table["fit"][~found.fitted]).all()
    assert "fitted from 1 to 12 Å" in repr(found)


@pytest.mark.parametrize(
    "keywords",
    [{"window": (5.0, 2.0)}, {"window": (-1.0, 9.0)}, {"bin_width": 0.0}, {"window": (0, 2.0), "bin_width": 1.0}],
)
def test_windows_without_meaning(keywords):
    with pytest.raises(ValueError, match="least five bins"):
        interface_width(planted()[0], **keywords)


def test_a_glass_without_nuclei_and_an_order_that_does_not_decay():
    nuclei, _ = planted()
    flat = np.where(nuclei.crystal, 0.8, np.linspace(0.2, 0.21, len(nuclei.crystal)))
    glass = BondOrder(flat * 0.2, flat, flat * 0.2, nuclei.bond_order.neighbors)
    with pytest.raises(ValueError, match="has no crystal atoms"):
        interface_width(crystal_nuclei(glass))
    rising, _ = planted()
    x = interface_width(rising).signed_distance
    order = np.where(rising.crystal, 0.8, 0.2 + 0.01 * x)
    wrong = crystal_nuclei(BondOrder(order, order, order, rising.bond_order.neighbors), threshold=0.79)
    with pytest.raises(ValueError, match=r"does not decay|does not follow"):
        interface_width(wrong)


@pytest.mark.data
def test_tantalum_film(data_folder):
    with np.load(data_folder / "ta_film" / "ta_film_atoms.npz") as data:
        positions = data["positions"]
    nuclei = crystal_nuclei(bond_order(positions, cutoff=4.12))
    # Printed: 3.0, by an unpublished procedure; the windows of the docstring give what it says.
    widths = [interface_width(nuclei, window=window).width for window in ((0.5, 10), (0.5, 15), (1, 15), (2, 20))]
    assert min(widths) == pytest.approx(1.96, abs=0.1)
    assert max(widths) == pytest.approx(4.51, abs=0.1)
