"""The pair distribution function g(r) of atoms, corrected for the outline of a finite model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from medrange.aet.atoms.model import AtomicModel, as_model
from medrange.aet.atoms.neighbors import Neighbors
from medrange.aet.atoms.pair_counting import Counts, count_pairs
from medrange.aet.atoms.saving import save_result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# The scale of g(r) of a finite model comes from pairs at least up to here, angstrom.
_SCALE_REACH = 20.0
# A peak or valley of g(r) is the extreme value of so many angstrom on both sides.
_EXTREME_WINDOW = 0.5
# Spheres with less than this part inside the model say little about the scale.
_SCALE_FRACTION = 0.2
# The Gaussian of the smoothing ends after so many of its widths.
_TRUNCATION = 2.0


@dataclass(frozen=True, eq=False)
class PairDistribution:
    """Pair distribution function, 1 where pairs are as frequent as by chance.

    Attributes
    ----------
    r : numpy.ndarray
        Shape (bins,), centers of the bins, angstrom.
    g : numpy.ndarray
        Shape (bins,), smoothed as asked; NaN where no sphere of that radius lies in the model.
    partial : dict
        g(r) by pair of symbols in alphabetic order, ``("Cu", "Zr")``; empty unless asked for.
    counts, expected : numpy.ndarray
        Shape (bins,): ordered pairs found, and expected by chance inside the same outline; their ratio is g
        without smoothing.
    density : float
        Atoms per cubic angstrom, of the box or of the alpha shape.
    alpha_radius : float or None
        Radius of the alpha shape, angstrom; None in a periodic box.
    model : AtomicModel
        The atoms counted.
    surface : numpy.ndarray
        Shape (N,), bool: atoms on the outline.
    parameters : dict
        ``r_max``, ``r_step``, ``smooth`` (angstrom) and ``method``.
    """

    r: np.ndarray
    g: np.ndarray
    partial: dict[tuple[str, str], np.ndarray]
    counts: np.ndarray
    expected: np.ndarray
    density: float
    alpha_radius: float | None
    model: AtomicModel
    surface: np.ndarray
    parameters: dict[str, Any]

    @cached_property
    def first_peak(self) -> float:
        """Position of the first peak above 1, angstrom: a parabola through five bins."""
        return _vertex(self.r, -self.g, self._peak)

    @cached_property
    def first_valley(self) -> float:
        """First minimum behind the first peak, angstrom: a parabola through five bins.

        The middle of the gap where g is 0 between two shells; NaN where the range of r holds no minimum.
        """
        for n in range(self._peak + 1, len(self.g) - self._window):
            if self.g[n] <= self._around(n).min():
                higher = np.flatnonzero(self.g[n:] > self.g[n])
                if not len(higher):
                    return np.nan
                gap = int(higher[0])
                return float(self.r[n : n + gap].mean()) if gap > 1 else _vertex(self.r, self.g, n)
        return np.nan

    @cached_property
    def coordination(self) -> dict[tuple[str, str], float]:
        """Neighbors of the second symbol about atoms of the first, within the first valley.

        Atoms on the outline, and those with a neighbor on it, are left out of the mean; NaN if none is left, or
        without a first valley. The symbols are ``"X"`` where the model has none.
        """
        symbols = np.array(self.model.symbols or ("X",) * len(self.model))
        species = self.model.species or ("X",)
        if self._shell is None:
            return {(a, b): np.nan for a in species for b in species}
        neighbors, inside = self._shell
        result = {}
        for a in species:
            centers = inside & (symbols == a)
            kinds = symbols[neighbors.j[centers[neighbors.i]]]
            for b in species:
                result[a, b] = float((kinds == b).sum() / centers.sum()) if centers.any() else np.nan
        return result

    @cached_property
    def coordination_number(self) -> float:
        """Mean count of neighbors within the first valley, without the surface; see ``coordination``."""
        if self._shell is None:
            return np.nan
        neighbors, inside = self._shell
        return float(neighbors.counts[inside].mean()) if inside.any() else np.nan

    @cached_property
    def _shell(self) -> tuple[Neighbors, np.ndarray] | None:
        """Neighbors within the first valley, and the mask of atoms away from the surface; None without a valley."""
        if np.isnan(self.first_valley):
            return None
        neighbors = Neighbors(self.model, self.first_valley)
        inside = ~self.surface
        np.logical_and.at(inside, neighbors.i, ~self.surface[neighbors.j])
        return neighbors, inside

    @property
    def table(self) -> pd.DataFrame:
        """One row per bin: r, g, one column per pair of symbols, counts, expected."""
        import pandas as pd

        partial = {f"g_{a}_{b}": values for (a, b), values in self.partial.items()}
        return pd.DataFrame({"r": self.r, "g": self.g, **partial, "counts": self.counts, "expected": self.expected})

    def save(self, path: str | PathLike) -> Path:
        """Write g(r) as .npz or .csv.

        Parameters
        ----------
        path : path
            The suffix says which; see :func:`~medrange.aet.atoms.saving.save_result`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        table = self.table
        arrays = {name: table[name].to_numpy() for name in table}
        parameters = {**self.parameters, "alpha_radius": self.alpha_radius, "density": self.density}
        return save_result(path, table=table, arrays=arrays, parameters=parameters)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw g(r); see :func:`medrange.plotting.atoms.plot_pair_distribution`."""
        from medrange.plotting.atoms import plot_pair_distribution

        return plot_pair_distribution(self, ax=ax)

    @property
    def _window(self) -> int:
        return max(2, int(np.ceil(_EXTREME_WINDOW / self.parameters["r_step"])))

    def _around(self, n: int) -> np.ndarray:
        return self.g[max(0, n - self._window) : n + self._window + 1]

    @cached_property
    def _peak(self) -> int:
        """Bin of the first peak: the highest value where none is above 1."""
        for n in np.flatnonzero(self.g > 1):
            if self.g[n] >= np.nanmax(self._around(n)):
                return int(n)
        return int(np.nanargmax(self.g))

    def __repr__(self) -> str:
        return (
            f"<PairDistribution, {len(self.model)} atoms, r to {self.parameters['r_max']:g} Å, first peak "
            f"{self.first_peak:.3f} Å, first valley {self.first_valley:.3f} Å, "
            f"coordination {self.coordination_number:.2f}>"
        )


def pair_distribution(
    atoms: AtomicModel | np.ndarray | Any,
    *,
    r_max: float = 20.0,
    r_step: float = 0.1,
    alpha_radius: float | None = None,
    partial: bool = False,
    smooth: float = 0.15,
    select: np.ndarray | None = None,
    method: Literal["fft", "direct"] = "fft",
) -> PairDistribution:
    """Pair distribution function g(r) of a particle, a film, a slab or a periodic box.

    ``g(r) = counts(r)/(rho sum_i V(r) f_i(r))`` with the ordered pairs in a shell of volume V, and f_i the part
    of the shell about atom i that lies inside the model. In a periodic box f is 1. Otherwise the model is the
    alpha shape of its atoms, as in the code of [Yuan2022]_ (references.bib), and g is scaled to have as many pairs
    as expected in the outer half of the range (20 Å or ``r_max``, if that is more, but where at least a fifth
    of the spheres is inside). The scale is needed because the outline runs through the outermost atoms and cuts
    off their outer halves, which leaves g 3 to 5 % below 1 at 10,000 atoms.

    Parameters
    ----------
    atoms : ase.Atoms, path, AtomicModel or array
        Atoms, angstrom; every combination of periodic and open directions.
    r_max, r_step : float
        Range and width of the bins, angstrom.
    alpha_radius : float, optional
        Radius of the alpha shape, angstrom: the largest hole that still belongs to the model. By default twice
        the median circumradius of the Delaunay tetrahedra.
    partial : bool
        Also g(r) per pair of symbols.
    smooth : float
        Width (standard deviation) of a Gaussian, cut off at two widths, angstrom; 0 for none.
    select : numpy.ndarray, optional
        Mask or indices of the atoms to count, for example the amorphous ones; the outline is theirs.
    method : str
        How f is found: ``"fft"``, or ``"direct"``, point by point: a slow check, see
        :func:`~medrange.aet.atoms.shell_fractions.counted_fractions`.

    Returns
    -------
    PairDistribution
        The curves, first peak and valley, coordination number.

    Raises
    ------
    ValueError
        If range, step or smoothing make no bins, if symbols are missing for ``partial``, or if the atoms are
        refused (:func:`~medrange.aet.atoms.model.as_model`; all in one plane; alpha radius too small).

    Examples
    --------
    >>> from ase.build import bulk
    >>> pdf = pair_distribution(bulk("Cu", cubic=True).repeat(3), r_max=8.0, smooth=0.1)
    >>> pdf
    <PairDistribution, 108 atoms, r to 8 Å, first peak 2.550 Å, first valley 3.100 Å, coordination 12.00>
    """
    bins = _checked_bins(r_max, r_step, smooth)
    if method not in ("fft", "direct"):
        msg = f"method is {method!r}; it is 'fft' or 'direct'."
        raise ValueError(msg)
    model = as_model(atoms)
    if select is not None:
        model = as_model(model.subset(select))
    if partial and model.symbols is None:
        msg = "partial g(r) needs symbols, and this model has none; give ase.Atoms or a file with elements."
        raise ValueError(msg)
    periodic = bool(model.pbc.all())
    n_bins = bins if periodic else max(bins, int(np.ceil(_SCALE_REACH / r_step)))
    species = model.species if partial else ()
    found = count_pairs(model, species or ("X",), (r_step, n_bins), alpha_radius=alpha_radius, method=method)
    scale = 1.0 if periodic else _scale(found)
    counts = found.counts.sum(axis=(0, 1))[:bins]
    expected = scale * found.expected.sum(axis=(0, 1))[:bins]
    curves = {
        (a, b): _curve(found.counts[i, j, :bins], scale * found.expected[i, j, :bins], smooth / r_step)
        for i, a in enumerate(species)
        for j, b in enumerate(species)
        if i <= j
    }
    parameters = {"r_max": r_max, "r_step": r_step, "smooth": smooth, "method": method}
    r = (np.arange(bins) + 0.5) * r_step
    return PairDistribution(
        r,
        _curve(counts, expected, smooth / r_step),
        curves,
        counts,
        expected,
        found.density,
        found.alpha_radius,
        model,
        found.surface,
        parameters,
    )


def _checked_bins(r_max: float, r_step: float, smooth: float) -> int:
    if not (np.isfinite([r_max, r_step, smooth]).all() and 0 < r_step <= r_max / 10 and smooth >= 0):
        msg = (
            f"r_max is {r_max!r}, r_step {r_step!r}, smooth {smooth!r} Å; at least ten bins of positive width are "
            "needed, and smooth is 0 or more."
        )
        raise ValueError(msg)
    return round(r_max / r_step)


def _scale(found: Counts) -> float:
    """Pairs found over pairs expected in the outer half of the range where much of the spheres is inside."""
    counts, expected = found.counts.sum(axis=(0, 1)), found.expected.sum(axis=(0, 1))
    end = int(np.append(np.flatnonzero(found.fraction < _SCALE_FRACTION), len(counts))[0])
    # A few atoms have no such range: then all of their pairs.
    window = slice(end // 2, end) if counts[end // 2 : end].any() else slice(None)
    return float(counts[window].sum() / expected[window].sum())


def _curve(counts: np.ndarray, expected: np.ndarray, sigma: float) -> np.ndarray:
    """Counts over expected pairs, smoothed over ``sigma`` bins; NaN from where nothing is expected."""
    from scipy.ndimage import gaussian_filter1d

    empty = np.flatnonzero(expected <= 0)
    end = empty[0] if len(empty) else len(counts)
    g = np.full(len(counts), np.nan)
    g[:end] = counts[:end] / expected[:end]
    if sigma > 0 and end > 0:
        g[:end] = gaussian_filter1d(g[:end], sigma, mode="nearest", radius=int(np.ceil(_TRUNCATION * sigma)))
    return g


def _vertex(x: np.ndarray, y: np.ndarray, n: int) -> float:
    """Minimum of a parabola through five points about point n; the point itself where there is no such."""
    window = slice(max(0, n - 2), n + 3)
    a, b, _ = np.polyfit(x[window] - x[n], y[window], 2)
    if not a > 0:
        return float(x[n])
    return float(x[n] + np.clip(-b / (2 * a), x[window][0] - x[n], x[window][-1] - x[n]))
