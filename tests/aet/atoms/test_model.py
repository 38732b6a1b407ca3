import ase
import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.io import read

from medrange.aet.atoms import AtomicModel, as_model
from medrange.aet.atoms.model import atom_indices, check_not_coplanar


def lattice(n=4, a=3.0):
    return a * np.indices((n, n, n)).reshape(3, -1).T.astype(float)


def test_array_atoms_and_file_give_the_same_model(tmp_path):
    positions = lattice()
    atoms = ase.Atoms(["Ta"] * 64, positions=positions)
    atoms.write(tmp_path / "model.xyz")
    for source in (positions, positions.astype(np.float32), positions.tolist(), atoms, tmp_path / "model.xyz"):
        model = as_model(source)
        assert model.positions.dtype == np.float64
        np.testing.assert_array_equal(model.positions, positions)
        assert not model.pbc.any()
    assert as_model(atoms).symbols == ("Ta",) * 64
    assert as_model(atoms).species == ("Ta",)
    assert as_model(positions).symbols is None


def test_a_model_is_returned_as_it_is_and_cannot_be_written_to():
    positions = lattice()
    model = as_model(positions)
    assert as_model(model) is model
    with pytest.raises(ValueError, match="read-only"):
        model.positions[0] = 0
    # The caller's array stays his.
    positions[0] = 99
    assert model.positions[0].max() == 0


def test_box_of_a_slab_is_completed():
    slab = fcc111("Cu", (3, 3, 3))
    slab.cell[2] = 0
    slab.pbc = (True, True, False)
    model = as_model(slab)
    assert abs(np.linalg.det(model.cell)) > 0
    np.testing.assert_array_equal(model.pbc, [True, True, False])
    assert "periodic along 2 of 3" in repr(model)


def test_subset_by_mask_and_by_indices():
    model = as_model(bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(2))
    mask = np.array([symbol == "Na" for symbol in model.symbols])
    for selection in (mask, np.flatnonzero(mask)):
        part = model.subset(selection)
        assert part.species == ("Na",)
        np.testing.assert_array_equal(part.positions, model.positions[mask])
        np.testing.assert_array_equal(part.cell, model.cell)


def test_columns_reach_the_file(tmp_path):
    model = as_model(bulk("Cu", cubic=True).repeat(2))
    order, inside = np.linspace(0, 1, 32), np.arange(32) % 2 == 0
    model.to_ase(order=order, inside=inside).write(tmp_path / "a.xyz", format="extxyz")
    again = read(tmp_path / "a.xyz")
    np.testing.assert_allclose(again.arrays["order"], order, atol=1e-8)
    np.testing.assert_array_equal(again.arrays["inside"], inside)
    assert again.pbc.all()
    with pytest.raises(ValueError, match=r"column 'order' has shape \(3,\)"):
        model.to_ase(order=np.ones(3))
    assert set(as_model(lattice()).to_ase().get_chemical_symbols()) == {"X"}


def broken(change):
    positions = lattice()
    change(positions)
    return positions


def set_nan(positions):
    positions[7, 1] = np.nan
    positions[9] = np.inf


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (np.zeros((5, 2)), r"shape \(5, 2\); \(N, 3\)"),
        (lattice().T, "transpose"),
        (np.zeros(3), r"shape \(3,\)"),
        (["a", "b"], "array of numbers"),
        (broken(set_nan), "2 of 64 atoms have NaN or infinite coordinates, the first is atom 7"),
        (lattice()[:4], "the model has 4 atoms; this analysis needs at least 5"),
        (np.zeros((0, 3)), "has 0 atoms"),
        (lattice() * 1e-10, "spacing 3e-10 .*meters.*angstrom"),
        (lattice() * 0.1, "spacing 0.3 .*nanometers"),
        (lattice() * 100, r"spacing 3e\+02 .*picometers"),
        (np.concatenate([lattice(), lattice()[[3]], lattice()[[8]] + 1e-8]), "2 pairs of atoms .* atoms 3 and 64"),
        (np.concatenate([lattice()] * 2), "64 pairs of atoms are closer than 1e-06"),
    ],
)
def test_bad_positions_are_refused_with_the_reason(atoms, message):
    with pytest.raises(ValueError, match=message):
        as_model(atoms)


def test_atoms_a_micrometer_fraction_apart_are_no_duplicates():
    positions = np.concatenate([lattice(), lattice()[[3]] + 1e-4])
    assert len(as_model(positions)) == 65


def test_the_same_atom_on_both_sides_of_a_periodic_border():
    positions = np.array([[0.0, 1, 1], [12, 1, 1], [3, 4, 5], [6, 2, 9], [9, 7, 3]])
    assert len(as_model(positions)) == 5
    box = ase.Atoms("Cu5", positions=positions, cell=[12, 12, 12], pbc=True)
    with pytest.raises(ValueError, match=r"1 pairs .* atoms 0 and 1"):
        as_model(box)


def test_boxes_that_make_no_sense():
    with pytest.raises(ValueError, match="there is no cell"):
        AtomicModel(lattice(), pbc=(True, True, True))
    with pytest.raises(ValueError, match="cell vector there is zero"):
        as_model(ase.Atoms("Cu8", positions=lattice(2), cell=[6, 6, 0], pbc=True))
    with pytest.raises(ValueError, match="2 symbols were given for 64 atoms"):
        AtomicModel(lattice(), symbols=("Cu", "Zr"))


def test_unknown_file_format(tmp_path):
    path = tmp_path / "model.unheard"
    path.write_text("1 2 3")
    with pytest.raises(ValueError, match=r"does not know the format of .*model\.unheard"):
        as_model(path)
    with pytest.raises(FileNotFoundError):
        as_model(tmp_path / "absent.xyz")


@pytest.mark.parametrize("seed", range(3))
def test_flat_models_are_found_in_any_orientation(seed):
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    flat = lattice() * [1, 1, 0] @ turn + rng.normal(size=3) * 50
    with pytest.raises(ValueError, match=r"all 64 atoms lie in one plane \(thickness"):
        check_not_coplanar(flat)
    check_not_coplanar(lattice() @ turn)
    check_not_coplanar(as_model(lattice() * [1, 1, 0.2] + rng.normal(0, 0.3, (64, 3))))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (np.ones(3, bool), r"mask of atoms has shape \(3,\)"),
        ([0.5, 1.0], "mask or a list of indices"),
        ([0, 5], "from 0 to 5; the model has 0 .. 4"),
        ([-1], "from -1"),
    ],
)
def test_bad_selections(selection, message):
    with pytest.raises(ValueError, match=message):
        atom_indices(selection, 5)


def test_an_empty_selection_is_one():
    assert atom_indices([], 5).shape == (0,)
