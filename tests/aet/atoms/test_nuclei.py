import numpy as np
import pytest
from ase.build import bulk

from medrange.aet.atoms import AtomicModel, Neighbors, bond_order, crystal_nuclei
from medrange.aet.atoms.bond_orientation import BondOrder


def with_order(positions, normalized, **box):
    """A bond order with values given by hand."""
    model = AtomicModel(positions, **box)
    values = np.asarray(normalized, float)
    return BondOrder(values, values, values, Neighbors(model, 2.5))


def row(count, start=0.0):
    return np.stack([start + 0.5 * np.arange(count), np.zeros(count), np.zeros(count)], axis=1)


def by_the_book(positions, normalized):
    """The three rules, atom by atom."""
    ordered = [i for i in range(len(positions)) if normalized[i] > 0.5]
    distance = lambda i, j: np.linalg.norm(positions[i] - positions[j])  # noqa: E731
    kept = [i for i in ordered if sum(distance(i, j) <= 8 for j in ordered) >= 13]
    back = [i for i in ordered if i not in kept and sum(distance(i, j) <= 8 for j in kept) >= 2]
    mask = np.zeros(len(positions), bool)
    mask[kept + back] = True
    return mask


@pytest.mark.parametrize("seed", range(4))
def test_the_three_rules(seed):
    rng = np.random.default_rng(seed)
    positions, normalized = rng.uniform(0, 26, (160, 3)), rng.uniform(0.2, 0.9, 160)
    nuclei = crystal_nuclei(with_order(positions, normalized))
    expected = by_the_book(positions, normalized)
    assert 0 < expected.sum() < (normalized > 0.5).sum()
    np.testing.assert_array_equal(nuclei.crystal, expected)
    np.testing.assert_array_equal(nuclei.amorphous, ~expected)
    np.testing.assert_array_equal(nuclei.rejected, (normalized > 0.5) & ~expected)


def test_thirteen_are_enough_and_twelve_are_not():
    assert crystal_nuclei(with_order(row(13), np.ones(13))).crystal.all()
    few = crystal_nuclei(with_order(row(12), np.ones(12)))
    assert not few.crystal.any()
    assert few.rejected.all()
    assert len(few.sizes) == 0


def test_the_threshold_is_strict_and_the_radius_is_not():
    assert not crystal_nuclei(with_order(row(13), np.full(13, 0.5))).crystal.any()
    # Six near the first atom and six at exactly 8: thirteen with itself.
    axes = np.concatenate([np.eye(3), -np.eye(3)])
    order = with_order(np.concatenate([np.zeros((1, 3)), 0.5 * axes, 8.0 * axes]), np.ones(13))
    assert crystal_nuclei(order).crystal[0]
    assert not crystal_nuclei(order, radius=np.nextafter(8.0, 0)).crystal.any()


def test_atoms_set_aside_return_near_a_nucleus_in_one_pass():
    # A dense nucleus; an atom 7 from its end returns; one 7 further sees only the returned one and stays out.
    positions = np.concatenate([row(13), [[13.0, 0, 0], [20.0, 0, 0]]])
    nuclei = crystal_nuclei(with_order(positions, np.ones(15)))
    np.testing.assert_array_equal(np.flatnonzero(nuclei.returned), [13])
    np.testing.assert_array_equal(np.flatnonzero(nuclei.rejected), [14])
    np.testing.assert_array_equal(nuclei.order, [14, *range(13), 13])


def test_order_lists_amorphous_rejected_kept_returned():
    positions = np.concatenate([[[90.0, 0, 0], [60, 0, 0]], row(13), [[13.0, 0, 0]]])
    nuclei = crystal_nuclei(with_order(positions, [0.9, 0.1, *np.ones(13), 0.9]))
    np.testing.assert_array_equal(nuclei.order, [1, 0, *range(2, 15), 15])


def test_nuclei_are_told_apart_and_sorted_by_size():
    positions = np.concatenate([row(14), row(20, start=40.0), [[25.0, 0, 0]]])
    nuclei = crystal_nuclei(with_order(positions, [*np.ones(34), 0.1]))
    np.testing.assert_array_equal(nuclei.sizes, [20, 14])
    np.testing.assert_array_equal(nuclei.labels, [1] * 14 + [0] * 20 + [-1])
    assert nuclei.table["x"].tolist() == pytest.approx([40 + 0.5 * 9.5, 0.5 * 6.5])
    assert "2 nuclei, largest 20 atoms" in repr(nuclei)


def test_a_nucleus_across_the_border_of_a_box():
    positions = row(13)
    positions[:, 0] = (positions[:, 0] + 17) % 20
    cell = np.eye(3) * 20
    assert crystal_nuclei(with_order(positions, np.ones(13), cell=cell, pbc=(True,) * 3)).crystal.all()
    assert not crystal_nuclei(with_order(positions, np.ones(13))).crystal.all()


def test_a_crystal_is_one_nucleus_and_a_glass_has_none():
    atoms = bulk("Cu", cubic=True).repeat(4)
    assert crystal_nuclei(bond_order(atoms, cutoff=3.0)).sizes.tolist() == [256]
    assert crystal_nuclei(with_order(row(5), np.zeros(5))).amorphous.all()


@pytest.mark.parametrize("wrong", [{"radius": 0}, {"radius": np.nan}, {"min_atoms": 0}, {"min_near": 0}])
def test_rules_without_meaning(wrong):
    with pytest.raises(ValueError, match="the radius must be positive"):
        crystal_nuclei(with_order(row(5), np.zeros(5)), **wrong)


@pytest.mark.data
def test_tantalum_film_has_the_authors_nuclei(data_folder):
    with np.load(data_folder / "ta_film" / "ta_film_atoms.npz") as data:
        positions = data["positions"]
    with np.load(data_folder / "ta_film" / "ta_film_motifs_delta_0.255.npz") as data:
        crystal, amorphous = np.sort(data["crystal_atoms"]), np.sort(data["amorphous_atoms"])
    nuclei = crystal_nuclei(bond_order(positions, cutoff=4.12))
    assert nuclei.crystal.sum() == 1669
    assert nuclei.amorphous.sum() == 6615
    np.testing.assert_array_equal(np.flatnonzero(nuclei.crystal), crystal)
    np.testing.assert_array_equal(np.flatnonzero(nuclei.amorphous), amorphous)
