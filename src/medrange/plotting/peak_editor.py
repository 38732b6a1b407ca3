"""Corrections of traced atoms by hand: slices of a volume with the peaks on top, edited with mouse and keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.widgets import Slider

from medrange.aet.atoms.model import AtomicModel
from medrange.aet.tomography.edit_history import EditHistory
from medrange.aet.tomography.edits import AtomEdits, apply_edits
from medrange.plotting.style import ACCENT_COLOR, ODD_COLOR, axis_label, styled
from medrange.plotting.tracing import AXES, VolumeSlices, class_colors

if TYPE_CHECKING:
    from matplotlib.backend_bases import Event, KeyEvent, MouseEvent
    from matplotlib.collections import PathCollection

    from medrange.aet.tomography.classification import Classification
    from medrange.aet.tomography.tracing import Peaks

#: Shown below the slice.
KEYS = (
    "click: select    a: add at the cursor    d: remove    m: merge the selected    u: undo    esc: select none\n"
    "up, down, wheel: slice    x, y, z: axis    t: symbol of new atoms"
)
# An atom is meant if the cursor is this close to it in the plane, angstrom.
_REACH = 0.8
_SELECTED_COLOR = "#f0e442"


@styled()
def edit_peaks(
    volume: np.ndarray | Any,
    peaks: Peaks,
    classification: Classification | None = None,
    axis: str = "z",
    *,
    symbols: Sequence[str] | None = None,
    position: float = 0.0,
    thickness: float = 1.0,
    edits: AtomEdits | None = None,
) -> PeakEditor:
    """Open a figure in which atoms are added, removed and merged by hand.

    It shows a slice of the volume in gray, the atoms near it as circles, and peaks that are no atoms in pale gray; the
    slider below chooses the slice. The mouse and these keys work over the slice (they are written below it):

    - click: select an atom, or no longer (what is selected is shown in every slice); ``escape``: select none;
    - ``a``: add an atom at the cursor, in the plane of the slice; where a peak that is no atom lies under the cursor,
      at the place of that peak;
    - ``d`` or ``delete``: remove the selected atoms, or else the one under the cursor;
    - ``m``: merge the selected atoms into one at their mean;
    - ``u``: take the last correction back;
    - ``up``, ``down``, wheel of the mouse: next slice; ``pageup``, ``pagedown``: five slices;
    - ``x``, ``y``, ``z``: look along another axis, at the cursor;
    - ``t``: next symbol for new atoms.

    It needs a window of matplotlib: ``%matplotlib qt`` or ``%matplotlib widget`` in a notebook.

    Parameters
    ----------
    volume : numpy.ndarray or Reconstruction
        Shape (nx, ny, nz), the shape the peaks were traced in.
    peaks : Peaks
        From :func:`medrange.aet.trace_atoms`.
    classification : Classification, optional
        Of these peaks: its atoms are corrected, and colored by species. Without, every peak is an atom.
    axis : str
        ``"x"``, ``"y"`` or ``"z"``: normal of the slice.
    symbols : sequence of str, optional
        Chemical symbols as in ``classification.model(symbols)``. Edits for ``PipelineOptions`` need them, where an
        atom is added among several species.
    position : float
        Where the slice cuts the axis at first, angstrom from the center voxel.
    thickness : float
        Atoms up to half of it away from the slice are shown, angstrom.
    edits : AtomEdits, optional
        Earlier corrections, to go on with.

    Returns
    -------
    PeakEditor
        With the corrections so far in ``editor.edits``. Keep it: the figure answers only as long as it is there.

    Raises
    ------
    ValueError
        If the axis is unknown, the slice lies outside the volume, shapes do not agree, there is not one symbol per
        species, or earlier edits do not fit.

    Examples
    --------
    >>> editor = edit_peaks(reconstruction, peaks, classes, symbols=("Ni", "Pt"))  # doctest: +SKIP
    >>> options = PipelineOptions(("Ni", "Pt"), edits=editor.edits)  # doctest: +SKIP
    >>> editor.edits.save("edits.json")  # doctest: +SKIP
    """
    slices = VolumeSlices(volume, peaks)
    slices.index(axis, position)
    return PeakEditor(slices, _Atoms(peaks, classification, symbols, edits), axis, position, thickness)


class _Atoms:
    """Which peaks are atoms, of which class, and what has been done to them."""

    def __init__(
        self,
        peaks: Peaks,
        classification: Classification | None,
        symbols: Sequence[str] | None,
        edits: AtomEdits | None,
    ) -> None:
        if classification is None:
            count, chosen, self.labels = len(peaks), np.ones(len(peaks), dtype=bool), np.ones(len(peaks), dtype=int)
            self.n_species = 1
        else:
            count, chosen = len(classification.labels), classification.is_atom
            self.labels, self.n_species = classification.labels[chosen], classification.n_species
        if count != len(peaks):
            msg = f"the classification is of {count} peaks, but there are {len(peaks)}; classify these peaks."
            raise ValueError(msg)
        if symbols is not None and (isinstance(symbols, str) or len(symbols) != self.n_species):
            msg = f"symbols are {symbols!r}; give a list of {self.n_species}, one per species by rising intensity."
            raise ValueError(msg)
        self.symbols = None if symbols is None else tuple(symbols)
        named = None if symbols is None else tuple(symbols[label - 1] for label in self.labels)
        self.others = peaks.positions[~chosen]
        self.history = EditHistory(AtomicModel(peaks.positions[chosen], named), edits)

    def name(self, label: int) -> str:
        """What the atoms of a class are called in the legend."""
        if self.symbols is not None:
            return self.symbols[label - 1]
        return "atoms" if self.n_species == 1 else f"species {label}"


class PeakEditor:
    """A figure for corrections by hand; made by :func:`edit_peaks`, which tells the keys.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
        The window.
    ax : matplotlib.axes.Axes
        The slice, in angstrom from the center voxel.
    slider : matplotlib.widgets.Slider
        Position of the slice.
    axis : str
        Normal of the slice.
    symbol : str or None
        Of the next atom to be added.
    message : str
        What the last key did, or why it did nothing; also shown in the figure.
    """

    def __init__(self, slices: VolumeSlices, atoms: _Atoms, axis: str, position: float, thickness: float) -> None:
        self._slices, self._atoms, self._thickness = slices, atoms, float(thickness)
        self.axis, self.message = axis, ""
        self.symbol = None if atoms.symbols is None else atoms.symbols[0]
        self._selected: set[int] = set()
        self.figure = plt.figure(figsize=(6.4, 6.6), layout="constrained")
        grid = self.figure.add_gridspec(3, 1, height_ratios=(20, 1, 2.6))
        self.ax = self.figure.add_subplot(grid[0])
        words = self.figure.add_subplot(grid[2])
        words.set_axis_off()
        words.text(0.5, 0.1, KEYS, ha="center", va="bottom", fontsize=7.5, linespacing=1.6)
        self._status = words.text(0.5, 1.0, "", ha="center", va="top", fontsize=8.5, color=ACCENT_COLOR)
        low, high = slices.range(axis)
        self.slider = Slider(self.figure.add_subplot(grid[1]), f"{axis} (Å)", low, high, valinit=position)
        self.slider.drawon = False
        self._image = self.ax.imshow(np.zeros((2, 2)), origin="lower", cmap="gray", vmin=0)
        self._marks = self._artists()
        self._turn(axis, position)
        # Settled once: a layout in every drawing makes the answer to a key slow.
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        connect = self.figure.canvas.mpl_connect
        connect("button_press_event", self._on_click)
        connect("key_press_event", self._on_key)
        connect("scroll_event", self._on_scroll)
        self.slider.on_changed(self._show)

    @property
    def edits(self) -> AtomEdits:
        """The corrections so far."""
        return self._atoms.history.edits

    @property
    def model(self) -> AtomicModel:
        """The atoms with the corrections so far."""
        history = self._atoms.history
        return apply_edits(history.start, history.edits).model

    @property
    def position(self) -> float:
        """Where the slice cuts the axis, angstrom from the center voxel."""
        return self._slices.position(self.axis, self._slices.index(self.axis, self.slider.val))

    def __repr__(self) -> str:
        edits = self.edits
        return f"PeakEditor({len(edits.add)} added, {len(edits.remove)} removed, {len(edits.merge)} groups merged)"

    def _artists(self) -> dict[str, PathCollection]:
        """One group of markers per class, empty at first."""
        colors = class_colors(self._atoms.n_species)
        named = {"no atoms": (ODD_COLOR, "o", 34)}
        named |= {self._atoms.name(label): (color, "o", 34) for label, color in colors.items()}
        named |= {"new": (ACCENT_COLOR, "s", 34), "selected": (_SELECTED_COLOR, "o", 110)}
        style = {"facecolors": "none", "linewidths": 1.1}
        marks = {
            name: self.ax.scatter([], [], s=size, marker=marker, edgecolors=color, label=name, **style)
            for name, (color, marker, size) in named.items()
        }
        self.ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handletextpad=0.3)
        return marks

    def _turn(self, axis: str, position: float) -> None:
        """Look along another axis."""
        self.axis = axis
        extent, (right, up) = self._slices.extent(axis), self._slices.plane(axis)
        self._image.set_extent(extent)
        self.ax.set_xlim(extent[:2])
        self.ax.set_ylim(extent[2:])
        self.ax.set_xlabel(axis_label(AXES[right], "Å"))
        self.ax.set_ylabel(axis_label(AXES[up], "Å"))
        self.slider.label.set_text(f"{axis} (Å)")
        self.slider.valmin, self.slider.valmax = self._slices.range(axis)
        self.slider.ax.set_xlim(self.slider.valmin, self.slider.valmax)
        self.slider.eventson = False
        self.slider.set_val(position)
        self.slider.eventson = True
        self._show()

    def _show(self, _: float | None = None) -> None:
        """Draw the slice and the atoms near it."""
        history = self._atoms.history
        image = self._slices.image(self.axis, self._slices.index(self.axis, self.slider.val))
        self._image.set_data(image)
        self._image.set_clim(0, self._slices.white(image))
        positions, kept = history.positions, history.kept
        near = self._near(positions)
        groups = {"no atoms": self._atoms.others[self._near(self._atoms.others)]}
        labels = self._atoms.labels[kept]
        for label in range(1, self._atoms.n_species + 1):
            groups[self._atoms.name(label)] = positions[: len(kept)][near[: len(kept)] & (labels == label)]
        groups["new"] = positions[len(kept) :][near[len(kept) :]]
        groups["selected"] = positions[sorted(self._selected)]
        plane = list(self._slices.plane(self.axis))
        for name, where in groups.items():
            self._marks[name].set_offsets(where[:, plane])
        edits = history.edits
        self.ax.set_title(
            f"{self.axis} = {self.position:.2f} Å: {int(near.sum())} atoms within ±{self._thickness / 2:g} Å\n"
            f"{len(edits.add)} added, {len(edits.remove)} removed, {len(edits.merge)} groups merged"
        )
        self._status.set_text(self.message)
        self.figure.canvas.draw_idle()

    def _near(self, positions: np.ndarray) -> np.ndarray:
        """Which positions lie near the slice."""
        return np.abs(positions[:, AXES.index(self.axis)] - self.position) <= self._thickness / 2

    def _under(self, event: Event, positions: np.ndarray) -> int | None:
        """Index of the position near the slice that is closest to the cursor."""
        near = np.flatnonzero(self._near(positions))
        if near.size == 0:
            return None
        offsets = positions[near][:, list(self._slices.plane(self.axis))] - (event.xdata, event.ydata)
        distances = np.linalg.norm(offsets, axis=1)
        return int(near[distances.argmin()]) if distances.min() <= _REACH else None

    def _cursor(self, event: Event) -> np.ndarray:
        """Where the cursor points to: x, y, z, angstrom."""
        place = np.empty(3)
        place[list(self._slices.plane(self.axis))] = event.xdata, event.ydata
        place[AXES.index(self.axis)] = self.position
        return place

    def _on_click(self, event: MouseEvent) -> None:
        toolbar = self.figure.canvas.toolbar
        if event.inaxes is not self.ax or event.button != 1 or (toolbar is not None and toolbar.mode):
            return
        atom = self._under(event, self._atoms.history.positions)
        if atom is not None:
            self._selected ^= {atom}
            self.message = f"{len(self._selected)} selected"
            self._show()

    def _on_scroll(self, event: MouseEvent) -> None:
        if event.inaxes is self.ax:
            self._step(int(np.sign(event.step)))

    def _on_key(self, event: KeyEvent) -> None:
        steps = {"up": 1, "down": -1, "pageup": 5, "pagedown": -5}
        if event.key in steps:
            self._step(steps[event.key])
        elif event.key in AXES:
            self._look(event)
        elif event.key == "t":
            self._next_symbol()
        elif event.key == "escape":
            self._selected, self.message = set(), ""
            self._show()
        elif event.key in {"a", "d", "delete", "m", "u"}:
            self._edit(event)

    def _step(self, count: int) -> None:
        """Go some slices further."""
        low, high = self._slices.range(self.axis)
        self.slider.set_val(float(np.clip(self.position + count * self._slices.pixel_size, low, high)))

    def _look(self, event: KeyEvent) -> None:
        """Look along another axis, at the place of the cursor."""
        there = self._cursor(event)[AXES.index(event.key)] if event.inaxes is self.ax else 0.0
        low, high = self._slices.range(event.key)
        self._turn(event.key, float(np.clip(there, low, high)))

    def _next_symbol(self) -> None:
        names = self._atoms.symbols
        if names is None:
            self.message = "new atoms have no symbols: edit_peaks was called without symbols"
        else:
            self.symbol = names[(names.index(self.symbol) + 1) % len(names)]
            self.message = f"new atoms are {self.symbol}"
        self._show()

    def _edit(self, event: KeyEvent) -> None:
        """Take a step, or say why not."""
        history = self._atoms.history
        try:
            if event.key == "u":
                self.message = "taken back" if history.undo() else "nothing to take back"
            elif event.key == "m":
                history.merge(sorted(self._selected))
                self.message = f"{len(self._selected)} atoms merged"
            elif event.key == "a":
                self._add(event)
            else:
                self._remove(event)
        except ValueError as error:
            self.message = str(error)
        else:
            self._selected = set()
        self._show()

    def _add(self, event: KeyEvent) -> None:
        if event.inaxes is not self.ax:
            self.message = "move the cursor over the slice to add an atom there"
            return
        other = self._under(event, self._atoms.others)
        place = self._cursor(event) if other is None else self._atoms.others[other]
        self._atoms.history.add(place, self.symbol)
        self.message = f"{self.symbol or 'atom'} added at {', '.join(f'{value:.2f}' for value in place)} Å"

    def _remove(self, event: KeyEvent) -> None:
        chosen = sorted(self._selected)
        if not chosen and event.inaxes is self.ax:
            atom = self._under(event, self._atoms.history.positions)
            chosen = [] if atom is None else [atom]
        self._atoms.history.remove(chosen)
        self.message = f"{len(chosen)} removed" if chosen else "no atom is selected or under the cursor"
