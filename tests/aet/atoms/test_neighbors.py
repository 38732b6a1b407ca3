import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from medrange.aet.atoms import Neighbors
from medrange.aet.atoms.model import AtomicModel
from medrange.aet.atoms.neighbors import as_neighbors, with_images


def model(seed, count, pbc=(False,) * 3, tilt=0.0):
    """Random atoms in a box, built without the check of spacing: any arrangement has neighbors."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(4, 12, 3)) + tilt * rng.uniform(-3, 3, (3, 3))
    # Some lie outside the box, as atoms of a simulation do.
    return AtomicModel(rng.uniform(-0.5, 1.5, (count, 3)) @ cell, cell=cell, pbc=pbc)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.floats(1.0, 9.0))
def test_open_models_against_all_distances(seed, count, cutoff):
    atoms = model(seed, count)
    found = Neighbors(atoms, cutoff)
    distances = cdist(atoms.positions, atoms.positions)
    i, j = np.nonzero((distances > 0.1) & (distances < cutoff))
    np.testing.assert_array_equal(found.i, i)
    np.testing.assert_array_equal(found.j, j)
    np.testing.assert_allclose(found.distances, distances[i, j], rtol=1e-14)
    np.testing.assert_array_equal(found.vectors, atoms.positions[j] - atoms.positions[i])
    np.testing.assert_array_equal(found.counts, np.bincount(i, minlength=count))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.tuples(*[st.booleans()] * 3), st.floats(1.0, 14.0))
def test_periodic_boxes_against_ase(seed, pbc, cutoff):
    # Cutoffs beyond the box, tilted cells, atoms outside, every mixture of directions.
    atoms = model(seed, 12, pbc, tilt=0.5)
    found = Neighbors(atoms, cutoff, min_distance=0.0)
    i, j, d, vectors = neighbor_list("ijdD", ase.Atoms("X12", atoms.positions, cell=atoms.cell, pbc=pbc), cutoff)
    order = np.lexsort((d, j, i))
    mine = np.lexsort((found.distances, found.j, found.i))
    np.testing.assert_array_equal(found.i[mine], i[order])
    np.testing.assert_array_equal(found.j[mine], j[order])
    np.testing.assert_allclose(found.distances[mine], d[order], rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), found.distances, rtol=1e-12)
    assert found.vectors.sum(axis=0) == pytest.approx(vectors.sum(axis=0), abs=1e-8)


def test_both_limits_are_strict():
    positions = np.array([[0.0, 0, 0], [2, 0, 0], [0, 0.125, 0], [0, 0, 4]])
    found = Neighbors(AtomicModel(positions), 2.0, min_distance=0.125)
    assert len(found) == 0
    # A hair more on each side, and the pairs of exactly 2 and 0.125 are there, from both ends.
    assert len(Neighbors(AtomicModel(positions), np.nextafter(2.0, 3), min_distance=np.nextafter(0.125, 0))) == 4


def test_a_box_smaller_than_the_cutoff_counts_every_image():
    primitive, large = Neighbors(bulk("Cu"), 9.0), Neighbors(bulk("Cu").repeat(8), 9.0)
    np.testing.assert_array_equal(large.counts, primitive.counts[0])
    assert (primitive.i == primitive.j).all()


def test_no_pairs_at_all():
    found = Neighbors(3.0 * np.indices((2, 2, 2)).reshape(3, -1).T, 2.0)
    assert len(found) == 0
    np.testing.assert_array_equal(found.counts, np.zeros(8))


def test_images_stand_behind_the_atoms_and_know_their_owner():
    atoms = model(3, 7, (True, True, False), tilt=0.5)
    positions, owners = with_images(atoms, 5.0)
    np.testing.assert_array_equal(owners[:7], np.arange(7))
    shifts = (positions - atoms.positions[owners]) @ np.linalg.inv(atoms.cell)
    np.testing.assert_allclose(shifts, np.rint(shifts), atol=1e-9)
    assert np.abs(shifts[:, 2]).max() < 1e-9


def test_search_or_cutoff_but_not_two_of_them():
    found = Neighbors(bulk("Cu", cubic=True), 3.0)
    assert as_neighbors(found, None) is found
    assert as_neighbors(found, 3.0) is found
    with pytest.raises(ValueError, match="cutoff is 4 Å but the neighbors were found within 3 Å"):
        as_neighbors(found, 4.0)
    with pytest.raises(ValueError, match="a cutoff in angstrom is needed"):
        as_neighbors(bulk("Cu"), None)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan, np.inf, 0.05])
def test_cutoffs_without_meaning(cutoff):
    with pytest.raises(ValueError, match=r"cutoff is .* with min_distance 0\.1"):
        Neighbors(bulk("Cu"), cutoff)


def test_a_cutoff_in_another_unit_than_the_box():
    with pytest.raises(ValueError, match="boxes; check the units"):
        Neighbors(bulk("Cu"), 410.0)
