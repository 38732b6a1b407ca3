import ase
import numpy as np
import pytest
from ase.build import bulk

from medrange.aet.atoms import as_model, bond_order, crystal_nuclei, mass_density, tetrahedra, voronoi_index


def density_of(atoms):
    """g/cm^3 from the box."""
    return atoms.get_masses().sum() / abs(np.linalg.det(atoms.cell[:])) / 0.602214076


@pytest.mark.parametrize("atoms", [bulk("Cu", cubic=True).repeat(3), bulk("Mg").repeat((5, 5, 3)), bulk("Cu")])
def test_a_periodic_crystal_has_one_density(atoms):
    density = mass_density(atoms, fwhm=3.0)
    np.testing.assert_allclose(density.atomic, density_of(atoms), rtol=1e-6)
    known = np.isfinite(density.density)
    np.testing.assert_allclose(density.density[known], density_of(atoms), rtol=1e-5)
    # The grid covers the box once: as many points inside as fit into its volume.
    volume = abs(np.linalg.det(atoms.cell[:]))
    assert known.sum() * 0.5**3 == pytest.approx(volume, rel=0.12 if len(atoms) > 1 else 0.5)
    assert np.isinf(density.depth).all()


def test_a_particle_has_the_bulk_density_inside_and_none_outside():
    atoms = bulk("Cu", cubic=True).repeat(6)
    expected = density_of(atoms)
    atoms.pbc = False
    density = mass_density(atoms, fwhm=2.0)
    deep = density.depth > 5
    assert deep.any()
    np.testing.assert_allclose(density.density[deep], expected, rtol=1e-3)
    assert np.isnan(density.density[density.depth == 0]).all()
    assert np.isnan(density.atomic).sum() == np.isnan(voronoi_index(atoms).volumes).sum() > 0


def test_a_dense_half_and_the_contrast_of_it():
    # A crystal compressed by 10 % for x < 0, periodic in y and z only by its size.
    points = 3.0 * np.indices((14, 7, 7)).reshape(3, -1).T.astype(float)
    points[:, 0] -= 19.5
    points[:, 0] = np.where(points[:, 0] < 0, 0.8 * points[:, 0], points[:, 0])
    points += np.random.default_rng(0).normal(0, 0.02, points.shape)
    model = as_model(ase.Atoms(["Ta"] * len(points), positions=points))
    density = mass_density(model, fwhm=3.0)
    found = tetrahedra(model, delta=0.5, max_edge=6.0, alpha_radius=6.0)
    centers = points[found.vertices].mean(axis=1)
    contrast = density.in_tetrahedra(found.vertices[centers[:, 0] < 0], margin=3.0)
    # 25 % denser, less what the Gaussian mixes across the middle and long cells at the ends.
    assert 0.15 < contrast.gain < 0.26
    assert contrast.means[0] / contrast.means[1] - 1 == contrast.gain
    # Points next to atoms of the dense half only.
    left = density.in_tetrahedra(found.vertices, margin=3.0, atoms=points[:, 0] < 0)
    right = density.in_tetrahedra(found.vertices, margin=3.0, atoms=points[:, 0] >= 0)
    assert left.means[0] / right.means[0] - 1 == pytest.approx(contrast.gain, abs=0.05)
    assert "gain +" in repr(contrast)


def test_points_inside_tetrahedra_of_a_periodic_box_cross_its_border():
    atoms = bulk("Cu", cubic=True).repeat(5)
    atoms.positions += np.random.default_rng(0).normal(0, 0.05, atoms.positions.shape)
    found = tetrahedra(atoms, delta=1.0, max_edge=9.0, alpha_radius=4.0)
    density = mass_density(atoms, fwhm=3.0, alpha_radius=4.0)
    # All tetrahedra together fill the box.
    assert density.inside(found.vertices)[np.isfinite(density.density)].mean() > 0.999
    assert not density.inside(found.vertices[:0]).any()


def test_given_volumes_are_used():
    atoms = bulk("Cu", cubic=True).repeat(3)
    density = mass_density(atoms, fwhm=3.0, volumes=np.full(108, 20.0))
    np.testing.assert_allclose(density.atomic, 63.546 / 20.0 / 0.602214076, rtol=1e-6)


def test_values_at_the_atoms():
    density = mass_density(bulk("Cu", cubic=True).repeat(3), fwhm=3.0)
    assert list(density.table) == ["density", "local_density"]
    assert "g/cm^3" in repr(density)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"fwhm": 0.0}, "both must be positive"),
        ({"fwhm": 3.0, "grid_step": -1.0}, "both must be positive"),
        ({"fwhm": 3.0, "volumes": np.ones(3)}, r"volumes of shape \(3,\)"),
        ({"fwhm": 3.0, "volumes": np.zeros(108)}, "one positive volume or NaN"),
        ({"fwhm": 3.0, "volumes": np.full(108, np.nan)}, "none of the 108 atoms has a closed Voronoi cell"),
    ],
)
def test_arguments_without_meaning(keywords, message):
    with pytest.raises(ValueError, match=message):
        mass_density(bulk("Cu", cubic=True).repeat(3), **keywords)


def test_elements_are_needed():
    with pytest.raises(ValueError, match="needs the element of every atom"):
        mass_density(bulk("Cu", cubic=True).repeat(2).positions, fwhm=3.0)
    density = mass_density(bulk("Cu", cubic=True).repeat(2), fwhm=3.0)
    with pytest.raises(ValueError, match="four atom indices per tetrahedron"):
        density.inside(np.zeros((3, 3), int))


@pytest.mark.data
def test_motifs_of_the_tantalum_film_are_denser(data_folder):
    with np.load(data_folder / "ta_film" / "ta_film_atoms.npz") as data:
        positions = data["positions"]
    with np.load(data_folder / "ta_film" / "ta_film_motifs_delta_0.255.npz") as data:
        motifs = np.concatenate([data[f"motif{fold}"].ravel() for fold in (3, 4, 5, 6)])
        vertices = data["tetrahedra"][np.intersect1d(motifs, data["amorphous_tetrahedra"])]
        amorphous = data["amorphous_atoms"]
    atoms = ase.Atoms(["Ta"] * len(positions), positions=positions)
    assert crystal_nuclei(bond_order(atoms, cutoff=4.12)).amorphous.sum() == len(amorphous)
    contrast = mass_density(atoms, fwhm=4.12).in_tetrahedra(vertices, margin=4.0, atoms=amorphous)
    # Printed: 3 %, without the details; the sign is certain, the size is not.
    assert 0 < contrast.gain < 0.1
