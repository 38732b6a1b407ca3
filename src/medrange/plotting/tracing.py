"""Traced atoms: slices of a volume with its peaks on top, and intensities by class.

The figures follow the supplementary figures of [Yuan2022]_, see references.bib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medrange.plotting.style import ACCENT_COLOR, ODD_COLOR, axis_label, new_axes, order_colors, settle, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from medrange.aet.tomography.classification import Classification
    from medrange.aet.tomography.tracing import Peaks

#: Names of the axes of a volume, in their order.
AXES = "xyz"
#: Percentile of the slice at which its gray is white.
_BRIGHTEST = 99.5
# Of the atoms where there is one species: stands out on black and on white.
_ATOM_COLOR = "#2a9fd6"
# Of up to four species, by rising intensity: stand out on black and on white, and for the color-blind (Okabe and Ito).
_SPECIES_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7")


@styled()
def plot_peaks(
    peaks: Peaks,
    volume: np.ndarray | Any,
    *,
    axis: str = "z",
    position: float = 0.0,
    thickness: float = 1.0,
    classification: Classification | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a slice of a volume in gray and the peaks near it as circles.

    Parameters
    ----------
    peaks : Peaks
        Traced in the volume.
    volume : numpy.ndarray or Reconstruction
        Shape (nx, ny, nz), the shape the peaks were traced in.
    axis : str
        ``"x"``, ``"y"`` or ``"z"``: normal of the slice.
    position : float
        Where the slice cuts that axis, angstrom from the center voxel.
    thickness : float
        Peaks up to half of it away from the slice are drawn, angstrom.
    classification : Classification, optional
        Colors the peaks: one color per species, gray for non-atoms, crosses outside the support.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on, in angstrom.

    Raises
    ------
    ValueError
        If the axis is unknown, the slice lies outside the volume, or shapes do not agree.

    Examples
    --------
    >>> ax = plot_peaks(peaks, reconstruction, axis="y", position=3.2)  # doctest: +SKIP
    """
    slices = VolumeSlices(volume, peaks)
    image = slices.image(axis, slices.index(axis, position))
    (right, up), limits = slices.plane(axis), slices.extent(axis)
    ax, new = (new_axes((3.6, 3.2)), True) if ax is None else (ax, False)
    ax.imshow(image, origin="lower", extent=limits, cmap="gray", vmin=0, vmax=slices.white(image))
    near = np.abs(peaks.positions[:, AXES.index(axis)] - position) <= thickness / 2
    for chosen, color, marker, label in _groups(near, classification):
        style = {"facecolors": "none", "edgecolors": color} if marker == "o" else {"color": color}
        where = peaks.positions[chosen]
        ax.scatter(where[:, right], where[:, up], s=22, marker=marker, linewidths=0.9, label=label, **style)
    ax.set_xlim(limits[:2])
    ax.set_ylim(limits[2:])
    ax.set_xlabel(axis_label(AXES[right], "Å"))
    ax.set_ylabel(axis_label(AXES[up], "Å"))
    ax.set_title(f"{axis} = {position:g} Å, {int(near.sum())} peaks within ±{thickness / 2:g} Å")
    if classification is not None:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, columnspacing=1.0, handletextpad=0.3)
    return settle(ax) if new else ax


@styled()
def plot_intensities(classification: Classification, *, bins: int = 100, ax: Axes | None = None) -> Axes:
    """Draw the histogram of the intensities around the peaks, one color per class.

    Parameters
    ----------
    classification : Classification
        Classes of traced peaks.
    bins : int
        Count of bins over all intensities.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Examples
    --------
    >>> ax = plot_intensities(classify_atoms(peaks, volume))  # doctest: +SKIP
    """
    ax, new = (new_axes((3.6, 2.8)), True) if ax is None else (ax, False)
    edges = np.histogram_bin_edges(classification.intensity, bins)
    everything = np.ones(len(classification.labels), dtype=bool)
    for chosen, color, marker, label in _groups(everything, classification):
        hollow = {"histtype": "step"} if marker == "x" else {"histtype": "stepfilled", "alpha": 0.6}
        values = classification.intensity[chosen]
        ax.hist(values, bins=edges, color=color, label=f"{label} ({values.size})", **hollow)
    ax.set_xlabel("summed intensity around a peak")
    ax.set_ylabel("peaks")
    ax.legend()
    return settle(ax) if new else ax


def _groups(chosen: np.ndarray, classification: Classification | None) -> list[tuple[np.ndarray, Any, str, str]]:
    """Masks of the peaks to draw, with color, marker and name."""
    if classification is None:
        return [(chosen, ACCENT_COLOR, "o", "peaks")]
    n_species = classification.n_species
    colors = class_colors(n_species)
    groups = [(chosen & (classification.labels == 0), ODD_COLOR, "o", "no atoms")]
    for kind in range(1, n_species + 1):
        name = "atoms" if n_species == 1 else f"species {kind}"
        groups.append((chosen & classification.is_atom & (classification.labels == kind), colors[kind], "o", name))
    outside = chosen & (classification.labels > 0) & ~classification.inside
    if outside.any():
        groups.append((outside, ACCENT_COLOR, "x", "outside the support"))
    return groups


class VolumeSlices:
    """Slices of the volume that peaks were traced in, and where they lie in angstrom from the center voxel.

    Parameters
    ----------
    volume : numpy.ndarray or Reconstruction
        Shape (nx, ny, nz).
    peaks : Peaks
        Know shape and pixel size.

    Raises
    ------
    ValueError
        If the shapes do not agree.
    """

    def __init__(self, volume: np.ndarray | Any, peaks: Peaks) -> None:
        self.data, self.pixel_size = np.asarray(getattr(volume, "volume", volume)), float(peaks.pixel_size)
        if self.data.shape != tuple(peaks.shape):
            msg = f"the volume has shape {self.data.shape} but the peaks were traced in {tuple(peaks.shape)} voxels."
            raise ValueError(msg)

    def plane(self, axis: str) -> tuple[int, int]:
        """Axes of the volume that point to the right and up."""
        right, up = (i for i, name in enumerate(AXES) if name != axis)
        return right, up

    def extent(self, axis: str) -> tuple[float, float, float, float]:
        """Outer edges of the border voxels of a slice: left, right, bottom, top."""
        right, up = self.plane(axis)
        return *self._edges(right), *self._edges(up)

    def range(self, axis: str) -> tuple[float, float]:
        """Positions of the first and the last slice."""
        size = self.data.shape[AXES.index(axis)]
        return self.position(axis, 0), self.position(axis, size - 1)

    def index(self, axis: str, position: float) -> int:
        """Index of the slice at a position.

        Raises
        ------
        ValueError
            If there is no such axis, or no slice.
        """
        if axis not in tuple(AXES):
            msg = f"axis is {axis!r}; give 'x', 'y' or 'z'."
            raise ValueError(msg)
        normal = AXES.index(axis)
        index = round(position / self.pixel_size) + self.data.shape[normal] // 2
        if not 0 <= index < self.data.shape[normal]:
            low, high = self._edges(normal)
            msg = (
                f"position {position:g} Å lies outside the volume, which spans {low:.4g} to {high:.4g} Å along {axis}."
            )
            raise ValueError(msg)
        return index

    def position(self, axis: str, index: int) -> float:
        """Position of a slice."""
        return (index - self.data.shape[AXES.index(axis)] // 2) * self.pixel_size

    def image(self, axis: str, index: int) -> np.ndarray:
        """Voxels of a slice, rows from the bottom to the top."""
        return self.data.take(index, axis=AXES.index(axis)).T

    def white(self, image: np.ndarray) -> float | None:
        """Value that is drawn white."""
        return float(np.percentile(image, _BRIGHTEST)) or None

    def _edges(self, axis: int) -> tuple[float, float]:
        size = self.data.shape[axis]
        return (-(size // 2) - 0.5) * self.pixel_size, (size - 1 - size // 2 + 0.5) * self.pixel_size


def class_colors(n_species: int) -> dict[int, Any]:
    """Color of each species, 1 .. n."""
    if n_species == 1:
        return {1: _ATOM_COLOR}
    several = n_species <= len(_SPECIES_COLORS)
    return dict(enumerate(_SPECIES_COLORS[:n_species], 1)) if several else order_colors(list(range(1, n_species + 1)))
