"""Corrections by hand: what they do to a model, and that they are kept."""

import json

import ase.io
import numpy as np
import pytest
from scipy.spatial import cKDTree

from medrange.aet.atoms.model import AtomicModel
from medrange.aet.atoms.saving import load_parameters
from medrange.aet.tomography import AtomEdits, apply_edits, close_groups

ATOMS = np.array([[0.0, 0, 0], [3, 0, 0], [6, 0, 0], [6, 0.6, 0], [6, 0, 0.6], [9, 0, 0]])
EDITS = AtomEdits(
    remove=[(3.1, 0, 0)],
    merge=[[(6, 0, 0), (6, 0.6, 0), (6, 0, 0.6)]],
    add=[(12, 0, 0), (12, 3, 0)],
    symbols=["Ta", "W"],
    note="second look at slice 12",
)


def model():
    return AtomicModel(ATOMS, ("Ta",) * 5 + ("W",))


def test_remove_merge_and_add():
    edited = apply_edits(model(), EDITS)
    expected = [[0, 0, 0], [9, 0, 0], [6, 0.2, 0.2], [12, 0, 0], [12, 3, 0]]
    assert edited.model.positions == pytest.approx(np.array(expected))
    assert edited.model.symbols == ("Ta", "W", "Ta", "Ta", "W")
    assert edited.origin.tolist() == [0, 5, -1, -1, -1]
    assert [entry["kind"] for entry in edited.record] == ["remove", "merge", "add", "add"]
    assert edited.record[0] == {"kind": "remove", "atoms": [1], "positions": [[3.0, 0.0, 0.0]]}
    assert edited.record[1]["atoms"] == [2, 3, 4]
    assert edited.record[1]["position"] == pytest.approx([6, 0.2, 0.2])
    assert repr(edited).endswith("2 added, 1 removed, 1 groups merged)")


def test_no_edits_change_nothing():
    edited = apply_edits(model(), AtomEdits())
    assert np.array_equal(edited.model.positions, ATOMS)
    assert edited.record == ()


def test_edits_do_not_depend_on_the_order_of_atoms():
    order = np.random.default_rng(0).permutation(len(ATOMS))
    shuffled = AtomicModel(ATOMS[order], tuple(np.array(model().symbols)[order]))
    first, second = (apply_edits(atoms, EDITS).model for atoms in (model(), shuffled))
    distance, index = cKDTree(first.positions).query(second.positions)
    assert distance == pytest.approx(0, abs=1e-12)
    assert [first.symbols[i] for i in index] == list(second.symbols)


def test_provenance_is_kept_in_files(tmp_path):
    edited = apply_edits(model(), EDITS)
    text = json.loads(json.dumps(edited.provenance))
    assert AtomEdits.from_dict(text["edits"]) == EDITS
    assert text["edits"]["note"] == "second look at slice 12"
    assert load_parameters(edited.save(tmp_path / "model.npz")) == text
    atoms = ase.io.read(edited.save(tmp_path / "model.xyz"))
    kept = atoms.info["provenance"]
    assert (json.loads(kept) if isinstance(kept, str) else kept) == text
    assert atoms.get_chemical_symbols() == list(edited.model.symbols)
    assert AtomEdits.load(EDITS.save(tmp_path / "edits.json")) == EDITS


def test_symbol_of_a_new_atom():
    added = AtomEdits(add=[(12, 0, 0)])
    assert apply_edits(AtomicModel(ATOMS), added).model.symbols is None
    assert apply_edits(AtomicModel(ATOMS, ("Ta",) * 6), added).model.symbols == ("Ta",) * 7
    with pytest.raises(ValueError, match=r"the model holds \['Ta', 'W'\]; give AtomEdits the symbols"):
        apply_edits(model(), added)
    with pytest.raises(ValueError, match="the model has no symbols"):
        apply_edits(AtomicModel(ATOMS), AtomEdits(add=[(12, 0, 0)], symbols=["Ta"]))


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"remove": [(3, 1, 0)]}, r"no atom lies within 0.5 Å of \[3.0, 1.0, 0.0\], the nearest is 1.00 Å away"),
        ({"remove": [(3, 0, 0), (3, 0.1, 0)]}, "named twice"),
        ({"remove": [(6, 0, 0)], "merge": [[(6, 0, 0), (6, 0.6, 0)]]}, "named twice"),
        ({"merge": [[(6, 0, 0), (9, 0, 0)]]}, r"to merge are \['Ta', 'W'\]"),
        ({"add": [(0.4, 0, 0)], "symbols": ["Ta"]}, "lies 0.40 Å from another, less than 1 Å"),
        ({"add": [(20, 0, 0), (20, 0.5, 0)], "symbols": ["Ta", "Ta"]}, "lies 0.50 Å from another"),
    ],
)
def test_wrong_edits_are_named(edits, message):
    with pytest.raises(ValueError, match=message):
        apply_edits(model(), AtomEdits(**edits))


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"remove": [(1, 2)]}, r"remove holds an array of shape \(1, 2\)"),
        ({"add": [(1, 2, np.nan)]}, "finite, in angstrom"),
        ({"merge": [[(0, 0, 0)]]}, "a group to merge names one atom"),
        ({"add": [(0, 0, 0)], "symbols": ["Ta", "W"]}, "2 symbols for 1 new atoms"),
    ],
)
def test_malformed_edits_are_refused(edits, message):
    with pytest.raises(ValueError, match=message):
        AtomEdits(**edits)


def test_unknown_keys_and_empty_models():
    with pytest.raises(ValueError, match=r"edits hold \['move'\]"):
        AtomEdits.from_dict({"move": []})
    with pytest.raises(ValueError, match="the model has no atoms"):
        apply_edits(np.zeros((0, 3)), AtomEdits(remove=[(0, 0, 0)]))
    with pytest.raises(ValueError, match="distance is 0"):
        close_groups(ATOMS, 0)


def test_duplicates_of_overlapping_strips_become_one():
    rng = np.random.default_rng(1)
    lattice = 3.0 * np.indices((4, 4, 4)).reshape(3, -1).T
    atoms = np.concatenate([lattice, lattice[:10] + rng.uniform(-0.2, 0.2, (10, 3))])
    groups = close_groups(atoms, 1.0)
    assert len(groups) == 10
    edited = apply_edits(atoms, AtomEdits(merge=groups), tolerance=1e-9)
    assert len(edited.model) == 64
    assert cKDTree(edited.model.positions).query_pairs(1.0) == set()
    assert edited.model.positions[-10:] == pytest.approx((atoms[:10] + atoms[64:]) / 2)
    assert close_groups(lattice, 1.0) == ()
