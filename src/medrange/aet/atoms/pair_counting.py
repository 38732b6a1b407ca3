"""Pairs found and pairs expected by chance, for any mixture of open and periodic directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medrange.aet.atoms.alpha_shape import AlphaShape, alpha_shape
from medrange.aet.atoms.histogram import pair_counts
from medrange.aet.atoms.model import AtomicModel
from medrange.aet.atoms.neighbors import with_images
from medrange.aet.atoms.shell_fractions import counted_fractions, shell_fractions

# Below this part of a sphere inside the model, the correction is noise of the grid.
_LEAST_FRACTION = 0.01


@dataclass(frozen=True, eq=False)
class Counts:
    """Pairs by the kinds of their atoms and by distance.

    Attributes
    ----------
    counts, expected : numpy.ndarray
        Shape (kinds, kinds, bins): ordered pairs found, and expected for the density; 0 expected where no
        sphere of that radius lies inside the model.
    fraction : numpy.ndarray
        Shape (bins,): mean part of the spheres about all atoms that lies inside.
    density : float
        Atoms per cubic angstrom.
    alpha_radius : float or None
        Radius of the alpha shape, angstrom; None in a periodic box.
    surface : numpy.ndarray
        Shape (N,), bool: atoms on the outline.
    """

    counts: np.ndarray
    expected: np.ndarray
    fraction: np.ndarray
    density: float
    alpha_radius: float | None
    surface: np.ndarray


def count_pairs(
    model: AtomicModel,
    species: tuple[str, ...],
    edges: tuple[float, int],
    *,
    alpha_radius: float | None = None,
    method: str = "fft",
) -> Counts:
    """Count pairs, and say how many there would be by chance.

    Parameters
    ----------
    model : AtomicModel
        Atoms.
    species : tuple of str
        Symbols told apart; a single one stands for all atoms.
    edges : tuple
        Width of the bins, angstrom, and their count.
    alpha_radius : float, optional
        Radius of the alpha shape; see :func:`~medrange.aet.atoms.alpha_shape.alpha_shape`.
    method : str
        ``"fft"`` or ``"direct"``.

    Returns
    -------
    Counts
        Found and expected pairs.
    """
    width, bins = edges
    reach = width * bins
    kinds = np.zeros(len(model), dtype=np.int64)
    if len(species) > 1:
        kinds = np.array([species.index(symbol) for symbol in model.symbols])
    positions, owners = with_images(model, reach)
    counts = pair_counts(positions, len(model), kinds[owners], edges, n_kinds=len(species))
    limits = width * np.arange(bins + 1)
    shells = 4 * np.pi / 3 * np.diff(limits**3)
    numbers = np.bincount(kinds, minlength=len(species))
    if model.pbc.all():
        volume, radius = abs(np.linalg.det(model.cell)), None
        fractions = np.ones((len(species), bins))
        surface = np.zeros(len(model), dtype=bool)
    else:
        shape = _outline(model, reach, alpha_radius)
        volume, radius = _volume(model, shape), shape.radius
        surface = shape.surface[: len(model)]
        centers = shape.positions[: len(model)]
        measure = shell_fractions if method == "fft" else counted_fractions
        r = (limits[1:] + limits[:-1]) / 2
        fractions = np.array([measure(shape, centers[kinds == kind], r) for kind in range(len(species))])
        fractions[fractions < _LEAST_FRACTION] = 0
    # About each atom of kind a, the density of kind b in the part of the shell that is inside; both ways round.
    one_way = (numbers[:, None] * fractions)[:, None, :] * (numbers / volume)[None, :, None] * shells
    expected = (one_way + one_way.swapaxes(0, 1)) / 2
    mean_fraction = numbers @ fractions / len(model)
    return Counts(counts, expected, mean_fraction, len(model) / volume, radius, surface)


def _outline(model: AtomicModel, reach: float, alpha_radius: float | None) -> AlphaShape:
    """Alpha shape of the model with its images as far as spheres about its atoms reach."""
    if not model.pbc.any():
        return alpha_shape(model.positions, alpha_radius)
    if alpha_radius is None:
        alpha_radius = alpha_shape(with_images(model, reach)[0]).radius
    # Two alpha beyond the reach, the outline does not yet feel that the images end.
    return alpha_shape(with_images(model, reach + 2 * alpha_radius)[0], alpha_radius)


def _volume(model: AtomicModel, shape: AlphaShape) -> float:
    """Volume of the shape, in a slab that of one box: tetrahedra with their centroid in it."""
    if not model.pbc.any():
        return float(shape.volumes.sum())
    fractions = shape.centroids @ np.linalg.inv(model.cell)
    inside = ((fractions >= 0) & (fractions < 1) | ~model.pbc).all(axis=1)
    return float(shape.volumes[inside].sum())
