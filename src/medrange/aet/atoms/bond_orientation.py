"""Bond orientational order: how alike the directions to the neighbors are from atom to atom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from medrange.aet.atoms.model import AtomicModel
from medrange.aet.atoms.neighbors import Neighbors, as_neighbors
from medrange.aet.atoms.saving import save_result

if TYPE_CHECKING:
    import ase
    import pandas as pd
    from matplotlib.axes import Axes

#: Q4 and Q6 of the fcc lattice with its 12 neighbors.
FCC_Q4, FCC_Q6 = 0.190941, 0.574524
#: Normalized order above which an atom counts as crystal-like, before the rules of :func:`crystal_nuclei`.
CRYSTAL_ORDER = 0.5
_MAX_ORDER = 20


@dataclass(frozen=True, eq=False)
class BondOrder:
    """Neighbor-averaged bond orientational order of every atom.

    Attributes
    ----------
    q4, q6 : numpy.ndarray
        Shape (N,), float64: averaged Q4 and Q6 of [Lechner2008]_ in references.bib; 0 for an atom alone.
    normalized : numpy.ndarray
        Shape (N,): ``sqrt(Q4^2 + Q6^2)`` over the value of fcc. About 0.2 in a glass, 1 in fcc; above 1 is no
        error (two atoms that only have each other reach 2.336).
    neighbors : Neighbors
        The pairs used.
    """

    q4: np.ndarray
    q6: np.ndarray
    normalized: np.ndarray
    neighbors: Neighbors

    @property
    def model(self) -> AtomicModel:
        """The atoms."""
        return self.neighbors.model

    @property
    def crystal(self) -> np.ndarray:
        """Mask of the atoms with a normalized order above 0.5, not yet sorted into nuclei; shape (N,)."""
        return self.normalized > CRYSTAL_ORDER

    @property
    def table(self) -> pd.DataFrame:
        """One row per atom: q4, q6, normalized, neighbors."""
        import pandas as pd

        return pd.DataFrame(self._columns())

    def to_ase(self) -> ase.Atoms:
        """Atoms with the columns of the table."""
        return self.model.to_ase(**self._columns())

    def save(self, path: str | PathLike) -> Path:
        """Write the order per atom as .npz, .csv, .xyz or .extxyz.

        Parameters
        ----------
        path : path
            The suffix says which; see :func:`~medrange.aet.atoms.saving.save_result`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        return save_result(
            path,
            table=self.table,
            atoms=self.to_ase(),
            arrays={"positions": self.model.positions, **self._columns()},
            parameters={"cutoff": self.neighbors.cutoff, "min_distance": self.neighbors.min_distance},
        )

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw Q4 against Q6; see :func:`medrange.plotting.atoms.plot_bond_order`."""
        from medrange.plotting.atoms import plot_bond_order

        return plot_bond_order(self, ax=ax)

    def __repr__(self) -> str:
        share = f"{self.crystal.mean():.1%} above {CRYSTAL_ORDER:g}"
        mean = f"mean {self.normalized.mean():.3f}"
        return f"<BondOrder, {len(self.q4)} atoms, cutoff {self.neighbors.cutoff:g} Å, {mean}, {share}>"

    def _columns(self) -> dict[str, np.ndarray]:
        return {"q4": self.q4, "q6": self.q6, "normalized": self.normalized, "neighbors": self.neighbors.counts}


def bond_order(atoms: Neighbors | AtomicModel | np.ndarray | Any, *, cutoff: float | None = None) -> BondOrder:
    """Averaged Q4 and Q6, and the normalized bond orientational order.

    With N(i) the neighbors of atom i, ``q_lm(i)`` is the mean of the spherical harmonics ``Y_lm`` over the
    directions to N(i); ``qbar_lm(i)`` the mean of ``q_lm`` over N(i) and i itself; and
    ``Q_l(i) = sqrt(4 pi/(2 l + 1) sum_m |qbar_lm(i)|^2)``, [Lechner2008]_ after [Steinhardt1983]_ in
    references.bib. The normalized order is ``sqrt(Q4^2 + Q6^2)/sqrt(0.190941^2 + 0.574524^2)``, the numbers of
    fcc, as in [Yuan2022]_. Computed in float64.

    Parameters
    ----------
    atoms : Neighbors, ase.Atoms, path, AtomicModel or array
        Neighbors found before, or atoms, angstrom.
    cutoff : float, optional
        Neighbors are closer than this, angstrom; the first valley of g(r). Needed with atoms.

    Returns
    -------
    BondOrder
        Values per atom, float64; 0 for an atom without neighbors.

    Raises
    ------
    ValueError
        If atoms come without a cutoff, or are refused (:func:`~medrange.aet.atoms.model.as_model`).

    Examples
    --------
    >>> from ase.build import bulk
    >>> order = bond_order(bulk("Cu", cubic=True), cutoff=3.0)
    >>> order.q4.round(6), order.q6.round(6)
    (array([0.190941, 0.190941, 0.190941, 0.190941]), array([0.574524, 0.574524, 0.574524, 0.574524]))
    """
    neighbors = as_neighbors(atoms, cutoff)
    q4, q6 = steinhardt_order(neighbors, (4, 6), averaged=True).T
    normalized = np.hypot(q4, q6) / np.hypot(FCC_Q4, FCC_Q6)
    return BondOrder(q4.copy(), q6.copy(), normalized, neighbors)


def steinhardt_order(
    atoms: Neighbors | AtomicModel | np.ndarray | Any,
    orders: Sequence[int] = (4, 6),
    *,
    cutoff: float | None = None,
    averaged: bool = True,
) -> np.ndarray:
    """Steinhardt order parameters Q_l of any orders l.

    Parameters
    ----------
    atoms : Neighbors, ase.Atoms, path, AtomicModel or array
        Neighbors found before, or atoms, angstrom.
    orders : sequence of int
        Orders l, 1 .. 20.
    cutoff : float, optional
        Neighbors are closer than this, angstrom; needed with atoms.
    averaged : bool
        Average ``q_lm`` over the neighbors and the atom itself, [Lechner2008]_; otherwise the local parameters
        of [Steinhardt1983]_, both in references.bib.

    Returns
    -------
    numpy.ndarray
        Shape (N, orders), float64; 0 for an atom without neighbors.

    Raises
    ------
    ValueError
        If an order lies outside 1 .. 20, or atoms come without a cutoff.

    Examples
    --------
    >>> from ase.build import bulk
    >>> steinhardt_order(bulk("Fe", cubic=True), (4, 6), cutoff=2.6, averaged=False).round(5)[0]
    array([0.50918, 0.62854])
    """
    orders = [int(order) for order in orders]
    if not orders or min(orders) < 1 or max(orders) > _MAX_ORDER:
        msg = f"orders are {orders}; give one or more whole numbers from 1 to {_MAX_ORDER}."
        raise ValueError(msg)
    neighbors = as_neighbors(atoms, cutoff)
    columns, norms = _columns_and_norms(orders)
    local = _local(neighbors.offsets, neighbors.vectors, neighbors.distances, columns, norms)
    if averaged:
        local = _averaged(neighbors.offsets, neighbors.j, local)
    parts = [local[:, columns[order] : columns[order] + 2 * order + 1] for order in orders]
    return np.stack([np.sqrt((part**2).sum(axis=1)) for part in parts], axis=1)


def _columns_and_norms(orders: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """First column of each l (-1: not asked for), and the norms of the real harmonics, shape (l, m).

    Norms are those of ``sqrt(4 pi/(2 l + 1)) Y_lm``, so that Q_l is the plain length of the vector over m.
    """
    highest = max(orders)
    columns = np.full(highest + 1, -1)
    norms = np.zeros((highest + 1, highest + 1))
    start = 0
    for order in set(orders):
        columns[order] = start
        start += 2 * order + 1
        for m in range(order + 1):
            norms[order, m] = np.sqrt((1 if m == 0 else 2) * factorial(order - m) / factorial(order + m))
    return columns, norms


@njit(cache=True, nogil=True)
def _local(
    offsets: np.ndarray, vectors: np.ndarray, distances: np.ndarray, columns: np.ndarray, norms: np.ndarray
) -> np.ndarray:
    """Mean over the neighbors of the real spherical harmonics, shape (N, sum of 2 l + 1)."""
    highest = columns.shape[0] - 1
    width = 0
    for l in range(highest + 1):  # noqa: E741
        width += 2 * l + 1 if columns[l] >= 0 else 0
    n = offsets.shape[0] - 1
    local = np.zeros((n, width))
    for i in range(n):
        row = local[i]
        for p in range(offsets[i], offsets[i + 1]):
            x, y, z = vectors[p, 0] / distances[p], vectors[p, 1] / distances[p], vectors[p, 2] / distances[p]
            # (x + i y)^m, and P_l^m without its power of sin(theta), upwards in l.
            cosine, sine, diagonal = 1.0, 0.0, 1.0
            for m in range(highest + 1):
                before, value = 0.0, diagonal
                for l in range(m, highest + 1):  # noqa: E741
                    if l > m:
                        before, value = value, ((2 * l - 1) * z * value - (l + m - 1) * before) / (l - m)
                    if columns[l] >= 0:
                        center = columns[l] + l
                        row[center + m] += value * cosine
                        if m > 0:
                            row[center - m] += value * sine
                cosine, sine = cosine * x - sine * y, cosine * y + sine * x
                diagonal *= 2 * m + 1
        count = max(1, offsets[i + 1] - offsets[i])
        for l in range(highest + 1):  # noqa: E741
            if columns[l] >= 0:
                for m in range(-l, l + 1):
                    row[columns[l] + l + m] *= norms[l, abs(m)] / count
    return local


@njit(cache=True, nogil=True)
def _averaged(offsets: np.ndarray, j: np.ndarray, local: np.ndarray) -> np.ndarray:
    """Mean over the neighbors and the atom itself."""
    result = local.copy()
    for i in range(local.shape[0]):
        for p in range(offsets[i], offsets[i + 1]):
            for c in range(local.shape[1]):
                result[i, c] += local[j[p], c]
        for c in range(local.shape[1]):
            result[i, c] /= offsets[i + 1] - offsets[i] + 1
    return result
