"""How much of a model is packed in motifs, against the distortion allowed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medrange.aet.atoms.model import atom_indices
from medrange.aet.atoms.motif_search import MOTIF_NAMES, motifs
from medrange.aet.atoms.polytetrahedra import Tetrahedra
from medrange.aet.atoms.saving import save_result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: Distortions of the scan of [Yuan2022]_ in references.bib.
DELTAS = (0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.255, 0.275, 0.3, 0.325, 0.35)


@dataclass(frozen=True, eq=False, repr=False)
class MotifFractions:
    """Motifs as a function of the largest distortion allowed.

    Attributes
    ----------
    delta : numpy.ndarray
        Shape (n,): largest distortion of a tetrahedron.
    n_tetrahedra : numpy.ndarray
        Shape (n,), int64: tetrahedra counted.
    fractions : dict
        By the name of the motif, shape (n,): share of those tetrahedra that belong to such a motif; NaN without
        tetrahedra.
    atom_fraction : numpy.ndarray
        Shape (n,): share of the atoms that are a corner of any accepted tetrahedron.
    max_edge, alpha_radius : float
        The other limits, angstrom.
    """

    delta: np.ndarray
    n_tetrahedra: np.ndarray
    fractions: dict[str, np.ndarray]
    atom_fraction: np.ndarray
    max_edge: float
    alpha_radius: float

    @property
    def table(self) -> pd.DataFrame:
        """One row per delta: delta, tetrahedra, a column per motif, atoms."""
        import pandas as pd

        columns = {"delta": self.delta, "tetrahedra": self.n_tetrahedra, **self.fractions}
        return pd.DataFrame({**columns, "atoms": self.atom_fraction})

    def save(self, path: str | PathLike) -> Path:
        """Write the scan as .csv or .npz.

        Parameters
        ----------
        path : path
            The suffix says which; see :func:`~medrange.aet.atoms.saving.save_result`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        arrays = {name: column.to_numpy() for name, column in self.table.items()}
        parameters = {"max_edge": self.max_edge, "alpha_radius": self.alpha_radius}
        return save_result(path, table=self.table, arrays=arrays, parameters=parameters)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw fractions over the limit of distortion; see :func:`medrange.plotting.plot_motif_fractions`."""
        from medrange.plotting.motifs import plot_motif_fractions

        return plot_motif_fractions(self, ax=ax)

    def __repr__(self) -> str:
        span = f"delta {self.delta.min():g} .. {self.delta.max():g}"
        return f"<MotifFractions, {len(self.delta)} limits, {span}, edges <= {self.max_edge:g} Å>"


def motif_fractions(
    tetrahedra: Tetrahedra, deltas: Iterable[float] = DELTAS, *, amorphous: np.ndarray | None = None
) -> MotifFractions:
    """Shares of tetrahedra in each kind of motif for several limits of the distortion.

    The triangulation is made once; each limit chooses from it.

    Parameters
    ----------
    tetrahedra : Tetrahedra
        From :func:`~medrange.aet.atoms.polytetrahedra.tetrahedra`, whatever its delta.
    deltas : iterable of float
        Limits of the distortion; the default are those of [Yuan2022]_ in references.bib.
    amorphous : numpy.ndarray, optional
        Amorphous atoms, boolean mask of shape (N,) or indices: only tetrahedra with at least three of them
        and only these atoms are counted.

    Returns
    -------
    MotifFractions
        One row per limit.

    Raises
    ------
    ValueError
        If no or a negative limit is given, or the selection does not fit the model.

    Examples
    --------
    >>> from ase.cluster import Icosahedron
    >>> from medrange.aet.atoms import tetrahedra
    >>> scan = motif_fractions(tetrahedra(Icosahedron("Ta", 2, 4.0), max_edge=3.5), [0.01, 0.1])
    >>> scan.n_tetrahedra, scan.fractions["pentagonal"]
    (array([ 0, 20]), array([nan,  1.]))
    """
    deltas = np.array(list(deltas), dtype=float)
    if deltas.size == 0:
        msg = "deltas is empty; give one limit or more, usual are 0.05 to 0.35."
        raise ValueError(msg)
    n_atoms = len(tetrahedra.model)
    atoms = np.ones(n_atoms, bool)
    if amorphous is not None:
        atoms[:] = False
        atoms[atom_indices(amorphous, n_atoms)] = True
    counts, shares, covered = [], [], []
    for delta in deltas:
        accepted = tetrahedra.with_delta(float(delta))
        counts.append(int(accepted.amorphous(atoms).sum()))
        shares.append(motifs(accepted).fractions(atoms))
        covered.append(accepted.in_tetrahedra[atoms].mean() if atoms.any() else np.nan)
    return MotifFractions(
        delta=deltas,
        n_tetrahedra=np.array(counts, dtype=np.int64),
        fractions={name: np.array([share[name] for share in shares]) for name in MOTIF_NAMES.values()},
        atom_fraction=np.array(covered, dtype=float),
        max_edge=tetrahedra.max_edge,
        alpha_radius=tetrahedra.alpha_radius,
    )
