"""Classification: which peaks are atoms, and of which species, from the intensity around them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medrange.aet.atoms.model import AtomicModel
from medrange.aet.atoms.saving import save_result
from medrange.aet.tomography.intensity_classes import (
    atoms_against_nothing,
    ball_vectors,
    distances_to,
    k_means,
    reclassify_locally,
    upper_gaussian,
)
from medrange.aet.tomography.tracing import Peaks, Volume, volume_and_pixel_size

if TYPE_CHECKING:
    import pandas as pd

# Radii in voxels as published: for atoms against non-atoms and its start, and for several species.
_RADIUS_ONE, _RADIUS_SEVERAL = 4 / 3, 1.0
_START_RADIUS = 7 / 4
# Part of the width of the upper intensity peak whose members make the first template.
_START_WIDTH = 0.1
_FEWEST = 2
# Halves of one normal class of relative width w have means 1.6 w apart; atoms of one species have w = 0.1 or so.
_ALIKE = 0.2


@dataclass(frozen=True, eq=False, repr=False)
class Classification:
    """Classes of traced peaks; made by :func:`classify_atoms`.

    Attributes
    ----------
    positions : numpy.ndarray
        Shape (N, 3), angstrom: all peaks, atoms or not.
    labels : numpy.ndarray
        Shape (N,), int8: 0 for a non-atom, 1 .. n for the species by rising intensity. Where the support ends is
        not their concern.
    inside : numpy.ndarray
        Shape (N,), bool: in the support; all True without one.
    intensity : numpy.ndarray
        Shape (N,): sum of the interpolated intensities in the ball around the peak, every third of a voxel.
    confidence : numpy.ndarray
        Shape (N,), 0 to 1: 1 - d / d', with the distances to the own class and to the nearest other one; 0 on the
        border between two.
    n_species : int
        Species asked for.
    parameters : mapping
        What made the classes: ``radius`` (angstrom), ``local_radius``, ``non_atoms``, and ``tracing``.
    """

    positions: np.ndarray
    labels: np.ndarray
    inside: np.ndarray
    intensity: np.ndarray
    confidence: np.ndarray
    n_species: int
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def is_atom(self) -> np.ndarray:
        """Shape (N,), bool: peaks that are atoms inside the support."""
        return (self.labels > 0) & self.inside

    @property
    def counts(self) -> dict[int, int]:
        """Atoms per species inside the support."""
        return {kind: int((self.is_atom & (self.labels == kind)).sum()) for kind in range(1, self.n_species + 1)}

    @property
    def table(self) -> pd.DataFrame:
        """One row per peak: ``x``, ``y``, ``z`` (angstrom), ``label``, ``inside``, ``intensity``, ``confidence``."""
        import pandas as pd

        names = ("inside", "intensity", "confidence")
        columns = {"x": self.positions[:, 0], "y": self.positions[:, 1], "z": self.positions[:, 2]}
        return pd.DataFrame({**columns, "label": self.labels, **{name: getattr(self, name) for name in names}})

    def model(self, symbols: Sequence[str] | None = None) -> AtomicModel:
        """The atoms.

        Parameters
        ----------
        symbols : sequence of str, optional
            One chemical symbol per species, by rising intensity: ``("Ta",)``. Unknown without.

        Returns
        -------
        AtomicModel
            Atoms inside the support, positions in angstrom from the center voxel.

        Raises
        ------
        ValueError
            If there is not one symbol per species.
        """
        chosen = self.is_atom
        if symbols is None:
            return AtomicModel(self.positions[chosen])
        if isinstance(symbols, str) or len(symbols) != self.n_species:
            msg = f"symbols are {symbols!r}; give a list of {self.n_species}, one per species by rising intensity."
            raise ValueError(msg)
        return AtomicModel(self.positions[chosen], tuple(symbols[label - 1] for label in self.labels[chosen]))

    def save(self, path: str | PathLike) -> Path:
        """Write ``.npz`` (all), ``.csv`` (the table) or ``.xyz`` (atoms with label, intensity and confidence)."""
        names = ("positions", "labels", "inside", "intensity", "confidence")
        columns = {name: getattr(self, name)[self.is_atom] for name in ("labels", "intensity", "confidence")}
        return save_result(
            path,
            table=self.table,
            atoms=self.model().to_ase(**columns),
            arrays={name: getattr(self, name) for name in names},
            parameters={"n_species": self.n_species, **self.parameters},
        )

    def plot(self, **kwargs: Any) -> Any:
        """Histogram of intensities by class: see :func:`medrange.plotting.tracing.plot_intensities`."""
        from medrange.plotting import tracing

        return tracing.plot_intensities(self, **kwargs)

    def __repr__(self) -> str:
        kinds = ", ".join(f"{count} of species {kind}" for kind, count in self.counts.items())
        outside = int(((self.labels > 0) & ~self.inside).sum())
        text = f"Classification({len(self.labels)} peaks: {kinds}, {int((self.labels == 0).sum())} no atoms"
        return f"{text}, {outside} outside the support)"


def classify_atoms(
    peaks: Peaks,
    volume: np.ndarray | Volume,
    *,
    n_species: int = 1,
    support: np.ndarray | None = None,
    radius: float | None = None,
    local_radius: float = 10.0,
    non_atoms: bool = True,
) -> Classification:
    """Atoms and their species among traced peaks, by K-means of the intensity around them.

    One species, see [Yuan2022]_: vectors of interpolated (cubic) intensity in a ball are put to the nearer of two
    templates in the L1 distance sum|v - t| / sum v: the mean of the atoms, or zero, which is at distance 1. The first
    template is the mean of the peaks in the middle of the upper of two normal distributions of intensity.

    Several species, see [Yang2021]_: K-means of the summed intensity (linear) into n + 1 classes, of which the faintest
    are no atoms; a peak is removed if its vector is nearer to their mean than to that of the faintest species; K-means
    of the rest into n; then each atom takes the species whose mean vector within ``local_radius`` is the nearest.

    Parameters
    ----------
    peaks : Peaks
        From :func:`medrange.aet.tomography.tracing.trace_atoms`.
    volume : numpy.ndarray or Reconstruction
        Shape (nx, ny, nz): the volume the peaks were traced in.
    n_species : int
        Chemical species that differ in intensity.
    support : numpy.ndarray, optional
        Shape (nx, ny, nz), bool, True in the object; peaks elsewhere are marked in ``inside``. See
        :func:`medrange.aet.tomography.support.support_mask`.
    radius : float, optional
        Radius of the ball, angstrom. By default 4/3 of a voxel for one species, 1 voxel for several.
    local_radius : float
        Neighborhood of the local reclassification, angstrom; 0 leaves it out.
    non_atoms : bool
        Several species only: whether some peaks are no atoms. K-means always fills its classes, so that without any
        non-atoms, or with too few, a species is cut in two. Where two classes are so alike a warning tells of it.

    Returns
    -------
    Classification
        Labels, intensities and confidences of all peaks.

    Raises
    ------
    ValueError
        If volume or support do not have the shape the peaks were traced in, there are too few peaks, or a parameter
        lies outside its range.

    Examples
    --------
    >>> from medrange.aet.tomography.tracing import trace_atoms
    >>> x, y, z = np.indices((40, 20, 20))
    >>> spots = [(10, 10, 10, 1.0), (20, 10, 10, 0.9), (30, 10, 10, 0.05)]
    >>> volume = sum(h * np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 4) for a, b, c, h in spots)
    >>> peaks = trace_atoms(volume, pixel_size=0.4, threshold=0.01)
    >>> classify_atoms(peaks, volume).labels
    array([1, 1, 0], dtype=int8)
    """
    data, pixel_size = volume_and_pixel_size(volume, peaks.pixel_size)
    inside = _inside(peaks, data, support)
    radius = _checked_radius(radius, pixel_size, n_species, local_radius)
    if len(peaks) < n_species + _FEWEST - 1:
        msg = f"{len(peaks)} peaks are too few for {n_species} species; lower the threshold of trace_atoms."
        raise ValueError(msg)
    if n_species == 1:
        labels, intensity, confidence = _one_species(data, peaks.voxels, radius / pixel_size)
    else:
        vectors = ball_vectors(data, peaks.voxels, radius / pixel_size, order=1)
        intensity = vectors.sum(axis=1, dtype=np.float64)
        labels, confidence = _several_species(vectors, intensity, peaks.positions, n_species, local_radius, non_atoms)
    parameters = {"radius": float(radius), "local_radius": float(local_radius), "non_atoms": bool(non_atoms)}
    return Classification(
        positions=peaks.positions,
        labels=labels.astype(np.int8),
        inside=inside,
        intensity=intensity,
        confidence=confidence,
        n_species=n_species,
        parameters={**parameters, "tracing": dict(peaks.parameters)},
    )


def _inside(peaks: Peaks, data: np.ndarray, support: np.ndarray | None) -> np.ndarray:
    """Which peaks lie in the support, by the nearest voxel."""
    for name, array in (("volume", data), ("support", support)):
        if array is not None and np.shape(array) != tuple(peaks.shape):
            msg = f"the {name} has shape {np.shape(array)} but the peaks were traced in {tuple(peaks.shape)} voxels."
            raise ValueError(msg)
    if support is None:
        return np.ones(len(peaks), dtype=bool)
    nearest = np.clip(np.rint(peaks.voxels).astype(int), 0, np.array(peaks.shape) - 1)
    return np.asarray(support, dtype=bool)[tuple(nearest.T)]


def _checked_radius(radius: float | None, pixel_size: float, n_species: int, local_radius: float) -> float:
    """Radius in angstrom, after a check of the parameters."""
    if n_species < 1 or n_species != int(n_species):
        msg = f"n_species is {n_species}; give a whole number, 1 or more."
        raise ValueError(msg)
    if not local_radius >= 0:
        msg = f"local_radius is {local_radius}; give angstrom, 0 to leave the local reclassification out."
        raise ValueError(msg)
    if radius is None:
        return (_RADIUS_ONE if n_species == 1 else _RADIUS_SEVERAL) * pixel_size
    if not radius >= pixel_size / 2:
        msg = f"radius is {radius} Å; give half a voxel ({pixel_size / 2:g} Å) or more."
        raise ValueError(msg)
    return float(radius)


def _one_species(data: np.ndarray, voxels: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels 0 and 1, intensities and confidences."""
    wide = ball_vectors(data, voxels, _START_RADIUS * radius, order=1).sum(axis=1, dtype=np.float64)
    if np.ptp(wide) == 0:
        start = np.ones(len(wide), dtype=bool)
    else:
        center, width = upper_gaussian(wide)
        off = np.abs(wide - center)
        start = off <= max(_START_WIDTH * width, off.min())
    vectors = ball_vectors(data, voxels, radius, order=3)
    is_atom, distance = atoms_against_nothing(vectors, start)
    confidence = 1 - np.minimum(distance, 1) / np.maximum(distance, 1)
    return is_atom.astype(np.int8), vectors.sum(axis=1, dtype=np.float64), confidence


def _several_species(
    vectors: np.ndarray,
    intensity: np.ndarray,
    positions: np.ndarray,
    n_species: int,
    local_radius: float,
    non_atoms: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels 0 .. n and confidences."""
    kept = np.ones(len(vectors), dtype=bool)
    to_nothing = np.full(len(vectors), np.inf)
    labels = np.zeros(len(vectors), dtype=np.int8)
    confidence = np.zeros(len(vectors))
    if non_atoms:
        first = k_means(intensity, n_species + 1)
        _warn_of_alike(np.array([intensity[first == kind].mean() for kind in range(n_species + 1)]))
        gaps = distances_to(vectors, np.stack([vectors[first == kind].mean(axis=0) for kind in (0, 1)]))
        kept, to_nothing = gaps[:, 1] <= gaps[:, 0], gaps[:, 0]
        confidence = np.maximum(1 - gaps[:, 0] / gaps[:, 1], 0)
    species = k_means(intensity[kept], n_species)
    if local_radius > 0:
        species, distances = reclassify_locally(vectors[kept], species, positions[kept], local_radius)
    else:
        templates = np.stack([vectors[kept][species == kind].mean(axis=0) for kind in range(n_species)])
        distances = distances_to(vectors[kept], templates)
    labels[kept] = species + 1
    own = distances[np.arange(len(species)), species]
    distances[np.arange(len(species)), species] = np.inf
    other = np.minimum(distances.min(axis=1), to_nothing[kept])
    confidence[kept] = np.clip(1 - own / other, 0, 1)
    return labels, confidence


def _warn_of_alike(means: np.ndarray) -> None:
    """Tell where K-means may have cut a species in two; means rise."""
    alike = np.flatnonzero(means[:-1] > (1 - _ALIKE) * means[1:])
    if alike.size:
        difference = 1 - means[alike[-1]] / means[alike[-1] + 1]
        warnings.warn(
            f"two classes of peaks differ by {difference:.0%} in mean intensity: the species are that alike, or next "
            "to no peak is a non-atom, and a species was cut in two; look at the histogram, and try non_atoms=False.",
            stacklevel=4,
        )
