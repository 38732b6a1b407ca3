"""Comparison of two atomic models: which atoms they share, and how far apart they put them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft, ndimage
from scipy.spatial import cKDTree

from medrange.aet.atoms.model import AtomicModel, as_model
from medrange.aet.atoms.saving import save_result

if TYPE_CHECKING:
    import ase
    import pandas as pd

_MATCHINGS = ("mutual", "nearest")
# The shift is found when it moves by less than this per round, angstrom (sum over the axes).
_SETTLED = 1e-4
_MOST_ROUNDS = 100
# Largest number of cells on which densities are correlated to find a first shift.
_MOST_CELLS = 2**24


@dataclass(frozen=True, eq=False, repr=False)
class ModelComparison:
    """Matched atoms of two models and their deviations; made by :func:`compare_models`.

    A value that does not exist is NaN: a deviation of fewer than two pairs, a fraction of no atoms.

    Attributes
    ----------
    pairs : numpy.ndarray
        Shape (P, 2): indices into the first and the second model, in the order of the first.
    deviations : numpy.ndarray
        Shape (P, 3), angstrom: second minus first position of each pair, less ``shift``; their mean is zero.
    shift : numpy.ndarray
        Shape (3,), angstrom: how far the second model lies from the first; NaN without a pair.
    n_atoms : tuple of int
        Atoms of the two models.
    symbols : tuple
        Symbols of the two models, each a tuple of str or None.
    max_distance : float
        Largest distance of a pair, angstrom.
    matching : str
        ``"mutual"`` or ``"nearest"``.
    """

    pairs: np.ndarray
    deviations: np.ndarray
    shift: np.ndarray
    n_atoms: tuple[int, int]
    symbols: tuple[tuple[str, ...] | None, tuple[str, ...] | None]
    max_distance: float
    matching: str

    @property
    def rmsd_xyz(self) -> np.ndarray:
        """Shape (3,), angstrom: standard deviation (n - 1) of the deviations along x, y and z."""
        return _spread(self.deviations)

    @property
    def rmsd(self) -> float:
        """Root of the summed variances along x, y and z, angstrom."""
        return float(np.sqrt((self.rmsd_xyz**2).sum()))

    @property
    def matched_fraction(self) -> float:
        """Pairs per atom of the first model, the reference."""
        return len(self.pairs) / self.n_atoms[0] if self.n_atoms[0] else float("nan")

    @property
    def matched_fraction_second(self) -> float:
        """Pairs per atom of the second model."""
        return len(self.pairs) / self.n_atoms[1] if self.n_atoms[1] else float("nan")

    @property
    def unmatched(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the atoms of the first and of the second model that are in no pair."""
        return tuple(np.setdiff1d(np.arange(count), self.pairs[:, side]) for side, count in enumerate(self.n_atoms))

    @property
    def species_agreement(self) -> float:
        """Part of the pairs with the same symbol in both models; NaN where symbols are unknown."""
        if None in self.symbols or not len(self.pairs):
            return float("nan")
        first, second = (np.array(names)[self.pairs[:, side]] for side, names in enumerate(self.symbols))
        return float((first == second).mean())

    @property
    def species_table(self) -> pd.DataFrame:
        """One row per species of the first model, then all: atoms, pairs, fraction and deviations in angstrom.

        The deviations of a species are taken from the common shift: root of their summed squares over n - 1.
        """
        import pandas as pd

        names = np.array(self.symbols[0] if self.symbols[0] is not None else ["X"] * self.n_atoms[0], dtype=str)
        rows = []
        for name in [*(np.unique(names) if self.symbols[0] is not None else []), "all"]:
            members = np.ones(len(names), dtype=bool) if name == "all" else names == name
            chosen = self.deviations[members[self.pairs[:, 0]]]
            x, y, z = _spread(chosen)
            rmsd = np.sqrt(x**2 + y**2 + z**2)
            share = len(chosen) / members.sum() if members.any() else np.nan
            rows.append((str(name), int(members.sum()), len(chosen), share, rmsd, x, y, z))
        columns = ["species", "atoms", "pairs", "matched_fraction", "rmsd", "rmsd_x", "rmsd_y", "rmsd_z"]
        return pd.DataFrame(rows, columns=columns)

    @property
    def table(self) -> pd.DataFrame:
        """One row per pair: ``first``, ``second`` (indices), ``dx``, ``dy``, ``dz``, ``distance`` in angstrom."""
        import pandas as pd

        first, second = self.pairs.T
        dx, dy, dz = self.deviations.T
        distance = np.linalg.norm(self.deviations, axis=1)
        return pd.DataFrame({"first": first, "second": second, "dx": dx, "dy": dy, "dz": dz, "distance": distance})

    def save(self, path: str | PathLike) -> Path:
        """Write ``.csv`` (the table of pairs) or ``.npz`` (pairs, deviations, shift)."""
        arrays = {"pairs": self.pairs, "deviations": self.deviations, "shift": self.shift}
        parameters = {"max_distance": self.max_distance, "matching": self.matching, "n_atoms": list(self.n_atoms)}
        return save_result(path, table=self.table, arrays=arrays, parameters=parameters)

    def __repr__(self) -> str:
        first, second = self.n_atoms
        text = f"ModelComparison({len(self.pairs)} pairs ({self.matching}) of {first} and {second} atoms"
        if len(self.pairs) < 2:
            return f"{text}; too few for a deviation)"
        x, y, z = self.rmsd_xyz
        return f"{text}; RMSD {self.rmsd:.3f} Å, along x, y, z {x:.3f}, {y:.3f}, {z:.3f} Å)"


def compare_models(
    a: AtomicModel | ase.Atoms | np.ndarray | Any,
    b: AtomicModel | ase.Atoms | np.ndarray | Any,
    *,
    max_distance: float = 1.5,
    matching: str = "mutual",
    start_shift: Sequence[float] | np.ndarray | None = None,
) -> ModelComparison:
    """Match the atoms of two models, and measure the deviations of the pairs less their common shift.

    Atoms are paired, the mean difference of the pairs is added to the shift of ``b`` against ``a``, and so on until the
    shift moves by less than 1e-4 angstrom. Then RMSD = sqrt(var x + var y + var z) over the pairs, with n - 1: the
    shift takes no part in it; see [Yuan2022]_.

    With ``"mutual"`` two atoms are a pair if each is the nearest of the other and they are no farther apart than
    ``max_distance``, after the shift. No atom is in two pairs, and exchanging the models exchanges the indices and
    turns the signs of shift and deviations, no more. ``"nearest"`` is the published rule: every atom of ``b`` goes with
    its nearest of ``a`` within ``max_distance``; two may share a partner, and the result depends on which model is
    which.

    The rounds start from no shift, from the difference of the centers, and from the best overlap of the two densities;
    the start that ends with the most pairs counts, and among equals the one with the smallest RMSD. So a rigid shift of
    a model changes the shift alone.

    Parameters
    ----------
    a : AtomicModel, ase.Atoms, path or array
        The reference; an array has shape (N, 3), angstrom. May be empty.
    b : AtomicModel, ase.Atoms, path or array
        The model compared with it.
    max_distance : float
        Angstrom; less than half the shortest bond excludes wrong partners.
    matching : str
        ``"mutual"`` or ``"nearest"``.
    start_shift : array, optional
        Shape (3,), angstrom: the only start, for models whose shift is known.

    Returns
    -------
    ModelComparison
        Pairs, deviations, RMSD along each axis, fractions. With no pair everything but the fraction 0 is NaN; with one
        the shift takes up the whole difference and the RMSD is NaN.

    Raises
    ------
    ValueError
        If ``max_distance`` is not positive, the matching unknown, a model is periodic, or positions are not finite.

    Warns
    -----
    UserWarning
        If the shift has not settled within 100 rounds.

    Examples
    --------
    >>> a = 3.0 * np.indices((4, 4, 4)).reshape(3, -1).T
    >>> b = a[5:] + (0.3, 0.0, 0.1)
    >>> compared = compare_models(a, b)
    >>> compared.shift.round(3), round(compared.matched_fraction, 3), round(compared.rmsd, 3)
    (array([0.3, 0. , 0.1]), 0.922, 0.0)
    """
    if not (np.isfinite(max_distance) and max_distance > 0):
        msg = f"max_distance is {max_distance}; give angstrom above 0, 1.5 as published."
        raise ValueError(msg)
    if matching not in _MATCHINGS:
        msg = f"matching is {matching!r}; give 'mutual' or 'nearest'."
        raise ValueError(msg)
    first, second = _open_model(a), _open_model(b)
    pairs, shift = _matched(first.positions, second.positions, max_distance, matching == "mutual", start_shift)
    return ModelComparison(
        pairs=pairs,
        deviations=_differences(first.positions, second.positions, pairs) - shift,
        shift=shift,
        n_atoms=(len(first), len(second)),
        symbols=(first.symbols, second.symbols),
        max_distance=float(max_distance),
        matching=matching,
    )


def _open_model(atoms: Any) -> AtomicModel:
    """Model without a periodic box; an empty list of positions is a model too."""
    if isinstance(atoms, list | tuple | np.ndarray) and np.size(atoms) == 0:
        return AtomicModel(np.zeros((0, 3)))
    model = as_model(atoms, minimum=0)
    if model.pbc.any():
        msg = "a periodic model has no outline to shift; compare AtomicModel(positions, symbols) without pbc."
        raise ValueError(msg)
    return model


def _matched(
    a: np.ndarray, b: np.ndarray, max_distance: float, mutual: bool, start_shift: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs and shift from the best start."""
    if not (len(a) and len(b)):
        return np.zeros((0, 2), dtype=np.intp), np.full(3, np.nan)
    if start_shift is None:
        starts = [np.zeros(3), b.mean(axis=0) - a.mean(axis=0), _overlap_shift(a, b, max_distance)]
    else:
        starts = [np.array(start_shift, dtype=np.float64).reshape(3)]
    trees = cKDTree(a), cKDTree(b)
    ends = [_settle(trees, start, max_distance, mutual) for start in starts]
    pairs, shift, settled, _ = min(ends, key=lambda end: (-len(end[0]), end[3]))
    if not settled:
        msg = f"the shift has not settled within {_MOST_ROUNDS} rounds; lower max_distance ({max_distance:g} Å)."
        warnings.warn(msg, stacklevel=3)
    return pairs, shift


def _settle(
    trees: tuple[cKDTree, cKDTree], start: np.ndarray, max_distance: float, mutual: bool
) -> tuple[np.ndarray, np.ndarray, bool, float]:
    """Pairs and shift from one start, whether the shift came to rest, and the RMSD (infinite where unknown)."""
    a, b = trees[0].data, trees[1].data
    shift, settled = start, False
    for _ in range(_MOST_ROUNDS):
        pairs = _pairs(trees, shift, max_distance, mutual)
        if not len(pairs):
            return pairs, np.full(3, np.nan), True, np.inf
        differences = _differences(a, b, pairs)
        moved = differences.mean(axis=0) - shift
        shift = shift + moved
        if np.abs(moved).sum() < _SETTLED:
            settled = True
            break
    rmsd = np.sqrt((_spread(differences - shift) ** 2).sum()) if len(pairs) > 1 else np.inf
    return pairs, shift, settled, float(rmsd)


def _pairs(trees: tuple[cKDTree, cKDTree], shift: np.ndarray, max_distance: float, mutual: bool) -> np.ndarray:
    """Pairs (P, 2) of indices, in the order of the first model."""
    distance, partner = trees[0].query(trees[1].data - shift)
    chosen = distance <= max_distance
    if mutual:
        _, back = trees[1].query(trees[0].data + shift)
        chosen &= back[partner] == np.arange(len(partner))
    pairs = np.column_stack([partner[chosen], np.flatnonzero(chosen)])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _overlap_shift(a: np.ndarray, b: np.ndarray, spacing: float) -> np.ndarray:
    """Shift of b against a at the highest correlation of their densities, good to about half a cell."""
    extents = np.maximum(np.ptp(a, axis=0), np.ptp(b, axis=0))
    spacing = max(spacing, float(np.prod(2 * extents + 8 * spacing) / _MOST_CELLS) ** (1 / 3))
    shape = [fft.next_fast_len(int(size), real=True) for size in 2 * np.ceil(extents / spacing) + 8]
    spectra = []
    for positions in (a, b):
        cells = np.rint((positions - positions.min(axis=0)) / spacing).astype(int)
        density = np.zeros(shape, np.float32)
        np.add.at(density, tuple(cells.T), 1)
        spectra.append(fft.rfftn(ndimage.gaussian_filter(density, 0.7, mode="wrap")))
    correlation = fft.irfftn(spectra[1] * spectra[0].conj(), shape)
    best = np.array(np.unravel_index(correlation.argmax(), correlation.shape))
    best = np.where(best > np.array(shape) // 2, best - np.array(shape), best)
    return b.min(axis=0) - a.min(axis=0) + best * spacing


def _differences(a: np.ndarray, b: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return b[pairs[:, 1]] - a[pairs[:, 0]]


def _spread(deviations: np.ndarray) -> np.ndarray:
    """Root of the summed squares over n - 1 along each axis; NaN for fewer than two."""
    if len(deviations) < 2:
        return np.full(3, np.nan)
    return np.sqrt((deviations**2).sum(axis=0) / (len(deviations) - 1))
