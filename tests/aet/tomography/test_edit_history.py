"""Corrections step by step: whatever the steps, the edits applied to the start give the atoms the editor shows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medrange.aet.atoms import AtomicModel
from medrange.aet.tomography import AtomEdits, apply_edits
from medrange.aet.tomography.edit_history import EditHistory

GRID = 3.0 * np.stack(np.meshgrid(range(3), range(2), range(2), indexing="ij"), -1).reshape(-1, 3)


def applied(history):
    return apply_edits(history.start, history.edits).model


def test_add_remove_merge_and_undo():
    history = EditHistory(AtomicModel([[0, 0, 0], [3, 0, 0], [3, 1.2, 0], [9, 0, 0]]))
    history.remove([0])
    history.merge([0, 1])
    history.add((0, 3, 0))
    assert history.positions.tolist() == [[9, 0, 0], [3, 0.6, 0], [0, 3, 0]]
    assert history.edits == AtomEdits(remove=[(0, 0, 0)], merge=[[(3, 0, 0), (3, 1.2, 0)]], add=[(0, 3, 0)])
    assert len(history) == 3
    assert [history.undo() for _ in range(4)] == [True, True, True, False]
    assert history.edits == AtomEdits()
    np.testing.assert_array_equal(history.positions, history.start.positions)


def test_merged_and_added_atoms_can_be_corrected_again():
    history = EditHistory(AtomicModel([[0, 0, 0], [0, 1.5, 0], [0, 3, 0], [9, 0, 0]]))
    history.merge([0, 1])
    history.merge([0, 2])
    # One group of the three atoms at their mean, not the mean of a mean.
    assert history.edits.merge == (((0, 0, 0), (0, 1.5, 0), (0, 3, 0)),)
    assert history.positions[-1].tolist() == [0, 1.5, 0]
    history.remove([1])
    assert history.edits == AtomEdits(remove=[(0, 0, 0), (0, 1.5, 0), (0, 3, 0)])
    history.add((0, 0, 6))
    history.remove([1])
    assert history.edits.add == ()
    history.add((9, 0, 1.5))
    history.merge([0, 1])
    assert history.positions.tolist() == [[9, 0, 0.75]]
    np.testing.assert_allclose(applied(history).positions, history.positions)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "merge", "undo"]),
        st.lists(st.integers(0, 30), min_size=1, max_size=4),
        st.tuples(*[st.floats(-6, 12)] * 3),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_edits_give_what_is_shown(steps):
    start = AtomicModel(GRID, ("Pd", "Pt") * 6)
    history = EditHistory(start)
    for kind, atoms, place in steps:
        before = history.positions
        chosen = sorted({atom % len(before) for atom in atoms}) if len(before) else []
        try:
            if kind == "add":
                history.add(place, "Pd")
            elif kind == "undo":
                history.undo()
            else:
                getattr(history, kind)(chosen)
        except ValueError:
            # A refused step changes nothing.
            np.testing.assert_array_equal(history.positions, before)
        model = applied(history)
        np.testing.assert_allclose(model.positions, history.positions, atol=1e-12)
        assert model.symbols == history.symbols
    again = EditHistory(start, history.edits)
    assert again.edits == history.edits
    np.testing.assert_array_equal(again.positions, history.positions)
    np.testing.assert_array_equal(start.positions, GRID)


def test_symbols_follow():
    history = EditHistory(AtomicModel(GRID[:4], ("Ta",) * 4))
    history.add((-3, 0, 0))
    assert history.edits.symbols == ("Ta",)
    assert history.symbols == ("Ta",) * 5


def test_errors():
    plain = EditHistory(AtomicModel(GRID))
    with pytest.raises(ValueError, match=r"lies 0.50 Å from another, less than 1 Å"):
        plain.add((0, 0, 0.5))
    with pytest.raises(ValueError, match="the atoms have no symbols, but the new one is Ta"):
        plain.add((0, 0, 9), "Ta")
    with pytest.raises(ValueError, match="atoms chosen: 1; choose two or more"):
        plain.merge([3])
    with pytest.raises(IndexError):
        plain.remove([12])
    # The mean of the first and the third atom of a row is where the second one is.
    with pytest.raises(ValueError, match=r"lies 0.00 Å from another"):
        plain.merge([0, 8])
    named = EditHistory(AtomicModel(GRID, ("Pd", "Pt") * 6))
    with pytest.raises(ValueError, match=r"the atoms are \['Pd', 'Pt'\]; give the symbol"):
        named.add((0, 0, 9))
    with pytest.raises(ValueError, match=r"atoms to merge are \['Pd', 'Pt'\]"):
        named.merge([0, 1])
    with pytest.raises(ValueError, match="no atom lies within"):
        EditHistory(AtomicModel(GRID), AtomEdits(remove=[(50, 0, 0)]))
    assert len(plain) == len(named) == 0
