"""The editor of peaks, driven by the events a window would send."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backend_bases import KeyEvent, MouseEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg

from medrange.aet.atoms import AtomicModel
from medrange.aet.tomography import AtomEdits, apply_edits
from medrange.aet.tomography.classification import Classification
from medrange.aet.tomography.tracing import Peaks
from medrange.plotting import edit_peaks
from medrange.plotting.peak_editor import KEYS

PIXEL, SHAPE = 0.5, (40, 32, 25)
PLACES = np.array([[0.0, 0, 0.1], [4, 2, -0.2], [4, 3.2, 0.2], [-5, -3, 0.0], [1, 5, 0.3], [0, 0, 3.0]])


@pytest.fixture(autouse=True)
def window(monkeypatch):
    """A window draws when it is idle; this one never is, so that keys cost nothing."""
    monkeypatch.setattr(FigureCanvasAgg, "draw_idle", lambda _: None)


@pytest.fixture
def volume():
    grid = np.stack(np.indices(SHAPE), -1) * PIXEL - [10, 8, 6]
    return sum(np.exp(-((grid - place) ** 2).sum(-1) / 0.6) for place in PLACES)


@pytest.fixture
def peaks():
    count = len(PLACES)
    return Peaks(PLACES, np.arange(count, 0.0, -1), np.zeros(count, np.int8), PLACES, SHAPE, PIXEL)


@pytest.fixture
def classes(peaks):
    """The fifth peak is no atom."""
    labels = np.array([2, 1, 1, 2, 0, 1], np.int8)
    count = len(labels)
    return Classification(PLACES, labels, np.ones(count, dtype=bool), np.ones(count), np.ones(count), 2)


def pixel_of(editor, x, y):
    # The place of the axes in the figure is settled by drawing, which is slow: once for each shape of the slice.
    if editor.figure.get_label() != editor.axis:
        editor.figure.canvas.draw()
        editor.figure.set_label(editor.axis)
    return editor.ax.transData.transform((x, y))


def press(editor, key, x=0.0, y=0.0):
    canvas = editor.figure.canvas
    canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", canvas, key, *pixel_of(editor, x, y)))


def click(editor, x, y, button=1):
    canvas = editor.figure.canvas
    event = MouseEvent("button_press_event", canvas, *pixel_of(editor, x, y), button=button)
    canvas.callbacks.process("button_press_event", event)


def scroll(editor, step):
    canvas = editor.figure.canvas
    event = MouseEvent("scroll_event", canvas, *pixel_of(editor, 0, 0), step=step)
    canvas.callbacks.process("scroll_event", event)


def drawn(editor):
    return {mark.get_label(): np.asarray(mark.get_offsets()) for mark in editor.ax.collections}


def test_figure_shows_slice_peaks_and_keys(volume, peaks, classes):
    editor = edit_peaks(volume, peaks, classes, symbols=("Pd", "Pt"))
    np.testing.assert_array_equal(editor.ax.images[0].get_array(), volume[:, :, 12].T)
    assert editor.ax.images[0].get_extent() == [-10.25, 9.75, -8.25, 7.75]
    shown = drawn(editor)
    assert list(shown) == ["no atoms", "Pd", "Pt", "new", "selected"]
    np.testing.assert_allclose(shown["Pd"], PLACES[[1, 2], :2])
    np.testing.assert_allclose(shown["Pt"], PLACES[[0, 3], :2])
    np.testing.assert_allclose(shown["no atoms"], PLACES[[4], :2])
    assert KEYS in [text.get_text() for ax in editor.figure.axes for text in ax.texts]
    assert "4 atoms within ±0.5 Å\n0 added" in editor.ax.get_title()
    assert repr(editor) == "PeakEditor(0 added, 0 removed, 0 groups merged)"
    assert editor.edits == AtomEdits()


def test_click_lies_where_the_voxel_is(volume, peaks):
    """The brightest voxel of the slice is drawn where its atom is, in angstrom from the center voxel."""
    editor = edit_peaks(volume, peaks)
    index = np.unravel_index(np.argmax(volume[:, :, 12]), SHAPE[:2])
    place = (np.array(index) - np.array(SHAPE[:2]) // 2) * PIXEL
    click(editor, *place)
    np.testing.assert_allclose(drawn(editor)["selected"], [place], atol=PIXEL)


def test_add_remove_merge_and_undo_give_the_expected_atoms(volume, peaks):
    editor = edit_peaks(volume, peaks)
    press(editor, "a", -4, 4)
    assert editor.edits.add == (pytest.approx((-4, 4, 0), abs=1e-9),)
    press(editor, "d", -5.2, -3.1)
    assert editor.edits.remove == (tuple(PLACES[3]),)
    click(editor, 4, 2)
    click(editor, 4, 3.2)
    press(editor, "m")
    assert editor.edits.merge == ((tuple(PLACES[1]), tuple(PLACES[2])),)
    model = apply_edits(AtomicModel(PLACES), editor.edits).model
    expected = [PLACES[0], PLACES[4], PLACES[5], PLACES[[1, 2]].mean(axis=0), [-4, 4, 0]]
    np.testing.assert_allclose(model.positions, expected, atol=1e-9)
    np.testing.assert_allclose(editor.model.positions, expected, atol=1e-9)
    np.testing.assert_allclose(drawn(editor)["new"], [[4, 2.6], [-4, 4]], atol=1e-9)
    assert "1 added, 1 removed, 1 groups merged" in editor.ax.get_title()
    for left in ((1, 1, 0), (1, 0, 0), (0, 0, 0), (0, 0, 0)):
        press(editor, "u")
        assert (len(editor.edits.add), len(editor.edits.remove), len(editor.edits.merge)) == left
    assert editor.message == "nothing to take back"
    np.testing.assert_array_equal(peaks.positions, PLACES)


def test_selected_atoms_are_removed_together(volume, peaks):
    editor = edit_peaks(volume, peaks)
    for x, y in ((0, 0), (4, 2), (-5, -3), (4, 2)):
        click(editor, x, y)
    assert editor.message == "2 selected"
    press(editor, "delete", -9, 7)
    assert editor.edits.remove == (tuple(PLACES[0]), tuple(PLACES[3]))
    click(editor, 4, 2)
    press(editor, "escape")
    press(editor, "d", -9, 7)
    assert editor.message == "no atom is selected or under the cursor"
    click(editor, 4, 3.2, button=3)
    assert len(drawn(editor)["selected"]) == 0


def test_slices_change_by_keys_wheel_and_slider(volume, peaks):
    editor = edit_peaks(volume, peaks)
    press(editor, "up")
    press(editor, "pageup")
    scroll(editor, -1)
    assert editor.position == pytest.approx(5 * PIXEL)
    np.testing.assert_array_equal(editor.ax.images[0].get_array(), volume[:, :, 17].T)
    np.testing.assert_allclose(drawn(editor)["atoms"], PLACES[[5], :2])
    press(editor, "a", 6, -5)
    assert editor.edits.add[0] == pytest.approx((6, -5, 2.5), abs=1e-9)
    editor.slider.set_val(0.2)
    assert editor.position == 0
    assert len(drawn(editor)["atoms"]) == 5
    assert len(drawn(editor)["new"]) == 0
    for _ in range(20):
        press(editor, "pagedown")
    assert editor.position == -12 * PIXEL


def test_another_axis_is_looked_along_at_the_cursor(volume, peaks):
    editor = edit_peaks(volume, peaks)
    press(editor, "y", -5, -3.1)
    assert (editor.axis, editor.position) == ("y", pytest.approx(-3.0))
    np.testing.assert_array_equal(editor.ax.images[0].get_array(), volume[:, 10, :].T)
    assert editor.ax.images[0].get_extent() == [-10.25, 9.75, -6.25, 6.25]
    assert (editor.ax.get_xlabel(), editor.ax.get_ylabel()) == ("x (Å)", "z (Å)")
    np.testing.assert_allclose(drawn(editor)["atoms"], PLACES[[3]][:, [0, 2]])
    press(editor, "a", 2, 4)
    assert editor.edits.add[0] == pytest.approx((2, -3, 4), abs=1e-9)
    press(editor, "x", 2, 4)
    assert (editor.axis, editor.position) == ("x", pytest.approx(2.0))
    np.testing.assert_allclose(drawn(editor)["new"], [[-3, 4]], atol=1e-9)
    start = edit_peaks(volume, peaks, None, "x", position=4.0)
    np.testing.assert_allclose(drawn(start)["atoms"], PLACES[[1, 2]][:, [1, 2]])


def test_species_of_new_atoms(volume, peaks, classes):
    editor = edit_peaks(volume, peaks, classes, symbols=("Pd", "Pt"))
    press(editor, "a", -4, 4)
    press(editor, "t")
    assert editor.message == "new atoms are Pt"
    # Near a peak that is no atom, at the place of that peak.
    press(editor, "a", 1.3, 4.8)
    assert editor.edits.symbols == ("Pd", "Pt")
    assert editor.edits.add[1] == tuple(PLACES[4])
    model = apply_edits(classes.model(("Pd", "Pt")), editor.edits).model
    assert model.symbols == ("Pt", "Pd", "Pd", "Pt", "Pd", "Pd", "Pt")
    click(editor, 0, 0)
    click(editor, 4, 2)
    press(editor, "m")
    assert editor.message == "atoms to merge are ['Pd', 'Pt']; remove all but one species instead."
    again = edit_peaks(volume, peaks, classes, symbols=("Pd", "Pt"), edits=editor.edits)
    assert again.edits == editor.edits


def test_what_cannot_be_done_is_said_in_the_figure(volume, peaks):
    editor = edit_peaks(volume, peaks)
    press(editor, "a", 0.3, 0)
    assert "from another, less than 1 Å" in editor.message
    assert editor.message in [text.get_text() for ax in editor.figure.axes for text in ax.texts]
    press(editor, "m")
    assert editor.message == "atoms chosen: 0; choose two or more to merge."
    press(editor, "a", 40, 0)
    assert editor.message == "move the cursor over the slice to add an atom there"
    press(editor, "t")
    assert "no symbols" in editor.message
    assert editor.edits == AtomEdits()


def test_no_key_is_one_of_matplotlibs_own():
    own = {key for name, keys in mpl.rcParams.items() if name.startswith("keymap.") for key in keys}
    assert own.isdisjoint({*"admutxyz", "up", "down", "pageup", "pagedown", "escape", "delete"})


def test_errors(volume, peaks, classes):
    with pytest.raises(ValueError, match="axis is 'beam'"):
        edit_peaks(volume, peaks, axis="beam")
    with pytest.raises(ValueError, match="position 99 Å lies outside the volume"):
        edit_peaks(volume, peaks, position=99)
    with pytest.raises(ValueError, match="the volume has shape"):
        edit_peaks(volume[1:], peaks)
    with pytest.raises(ValueError, match=r"symbols are \('Pd',\); give a list of 2"):
        edit_peaks(volume, peaks, classes, symbols=("Pd",))
    few = Peaks(PLACES[:2], np.ones(2), np.zeros(2, np.int8), PLACES[:2], SHAPE, PIXEL)
    with pytest.raises(ValueError, match="the classification is of 6 peaks, but there are 2"):
        edit_peaks(volume, few, classes)
