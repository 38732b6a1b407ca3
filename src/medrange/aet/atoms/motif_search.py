"""Polytetrahedral motifs: triplets and bipyramids of face-sharing tetrahedra."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medrange.aet.atoms.model import AtomicModel
from medrange.aet.atoms.polytetrahedra import Tetrahedra
from medrange.aet.atoms.rings import edge_rings, open_chains
from medrange.aet.atoms.saving import save_result

if TYPE_CHECKING:
    import ase
    import pandas as pd

#: Motifs by the number of their tetrahedra.
MOTIF_NAMES = {
    3: "triplet",
    4: "quadrilateral",
    5: "pentagonal",
    6: "hexagonal",
    7: "heptagonal",
    8: "octagonal",
}
BIPYRAMID_FOLDS = (4, 5, 6, 7, 8)
_RULES = ("any", "half")


@dataclass(frozen=True, eq=False, repr=False)
class Motifs:
    """Motifs of a model, each a row of tetrahedron indices.

    Motifs may share tetrahedra; nothing is removed for that.

    Attributes
    ----------
    triplet : numpy.ndarray
        Shape (n, 3), int32: chains; the last tetrahedron is the open end.
    quadrilateral, pentagonal, hexagonal, heptagonal, octagonal : numpy.ndarray
        Shapes (n, 4) .. (n, 8), int32: bipyramids, in the order of the ring.
    caps : dict
        By fold 4 .. 8, shape (n, 2), int32: the two cap atoms, common to all tetrahedra of the motif.
    ring_atoms : dict
        By fold, shape (n, fold), int32: the other atoms in the order of the ring; atom k lies between the
        tetrahedra k and k + 1.
    n_three_rings, n_larger_rings : int
        Complete rings of 3 and of more than 8 tetrahedra, which are no motifs.
    tetrahedra : Tetrahedra
        The tetrahedra.
    """

    triplet: np.ndarray
    quadrilateral: np.ndarray
    pentagonal: np.ndarray
    hexagonal: np.ndarray
    heptagonal: np.ndarray
    octagonal: np.ndarray
    caps: dict[int, np.ndarray]
    ring_atoms: dict[int, np.ndarray]
    n_three_rings: int
    n_larger_rings: int
    tetrahedra: Tetrahedra

    @property
    def model(self) -> AtomicModel:
        """The atoms."""
        return self.tetrahedra.model

    @property
    def counts(self) -> dict[str, int]:
        """Count of motifs by name."""
        return {name: len(getattr(self, name)) for name in MOTIF_NAMES.values()}

    def of_fold(self, fold: int) -> np.ndarray:
        """Tetrahedra of the motifs with ``fold`` tetrahedra; shape (n, fold).

        Parameters
        ----------
        fold : int
            3 (triplets) or 4 .. 8.

        Returns
        -------
        numpy.ndarray
            Tetrahedron indices, int32.

        Raises
        ------
        ValueError
            If there is no such motif.
        """
        if fold not in MOTIF_NAMES:
            msg = f"fold is {fold!r}; motifs have 3 to 8 tetrahedra, a pentagonal bipyramid has 5."
            raise ValueError(msg)
        return getattr(self, MOTIF_NAMES[fold])

    def atoms(self, fold: int) -> np.ndarray:
        """Atoms of the bipyramids: two caps, then the ring in order; shape (n, fold + 2).

        Parameters
        ----------
        fold : int
            4 .. 8.

        Returns
        -------
        numpy.ndarray
            Atom indices, int32.

        Raises
        ------
        ValueError
            If the fold is not that of a bipyramid.
        """
        check_bipyramid(fold)
        return np.concatenate([self.caps[fold], self.ring_atoms[fold]], axis=1)

    def select(self, amorphous: np.ndarray, *, rule: str = "any") -> Motifs:
        """Motifs of the amorphous part.

        Parameters
        ----------
        amorphous : numpy.ndarray
            Amorphous atoms: boolean mask of shape (N,), or indices. A tetrahedron is amorphous with at least three
            of them.
        rule : str
            ``"any"`` keeps a motif with at least one amorphous tetrahedron, as the figures of [Yuan2022]_ in
            references.bib were made; ``"half"`` one with at least half of its tetrahedra amorphous.

        Returns
        -------
        Motifs
            Fewer rows; the tetrahedra are the same.

        Raises
        ------
        ValueError
            If the rule is unknown or the selection does not fit the model.
        """
        if rule not in _RULES:
            msg = f"rule is {rule!r}; choose one of {', '.join(_RULES)}."
            raise ValueError(msg)
        inside = self.tetrahedra.amorphous(amorphous)
        kept = {}
        for fold in MOTIF_NAMES:
            count = inside[self.of_fold(fold)].sum(axis=1)
            kept[fold] = count > 0 if rule == "any" else 2 * count >= fold
        rows = {name: self.of_fold(fold)[kept[fold]] for fold, name in MOTIF_NAMES.items()}
        caps = {fold: self.caps[fold][kept[fold]] for fold in BIPYRAMID_FOLDS}
        ring_atoms = {fold: self.ring_atoms[fold][kept[fold]] for fold in BIPYRAMID_FOLDS}
        return replace(self, **rows, caps=caps, ring_atoms=ring_atoms)

    def fractions(self, amorphous: np.ndarray | None = None) -> dict[str, float]:
        """Share of the tetrahedra that belong to each kind of motif.

        Shares overlap, so that their sum can exceed 1.

        Parameters
        ----------
        amorphous : numpy.ndarray, optional
            Amorphous atoms, mask or indices: only amorphous tetrahedra are counted, above and below the line.

        Returns
        -------
        dict
            By name; NaN without tetrahedra.

        Raises
        ------
        ValueError
            If the selection does not fit the model.
        """
        counted = self._counted(amorphous)
        total = counted.sum()
        return {
            name: float(counted[np.unique(getattr(self, name))].sum() / total) if total else np.nan
            for name in MOTIF_NAMES.values()
        }

    @property
    def table(self) -> pd.DataFrame:
        """One row per kind of motif: motif, fold, count, tetrahedra (different ones), fraction of the tetrahedra."""
        import pandas as pd

        different = [len(np.unique(self.of_fold(fold))) for fold in MOTIF_NAMES]
        table = pd.DataFrame({"motif": list(MOTIF_NAMES.values()), "fold": list(MOTIF_NAMES)})
        table = table.assign(count=list(self.counts.values()), tetrahedra=different)
        return table.assign(fraction=list(self.fractions().values()))

    def to_ase(self) -> ase.Atoms:
        """Atoms with the number of bipyramids of each kind that they belong to."""
        n = len(self.model)
        numbers = {MOTIF_NAMES[fold]: np.bincount(self.atoms(fold).ravel(), minlength=n) for fold in BIPYRAMID_FOLDS}
        return self.model.to_ase(**numbers)

    def save(self, path: str | PathLike) -> Path:
        """Write the motifs as .npz, their counts as .csv, or the atoms of :meth:`to_ase` as .xyz or .extxyz.

        Parameters
        ----------
        path : path
            The suffix says which; see :func:`~medrange.aet.atoms.saving.save_result`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        arrays = {"positions": self.model.positions, "vertices": self.tetrahedra.vertices}
        for fold, name in MOTIF_NAMES.items():
            arrays[name] = self.of_fold(fold)
            if fold in BIPYRAMID_FOLDS:
                arrays[f"{name}_caps"], arrays[f"{name}_ring_atoms"] = self.caps[fold], self.ring_atoms[fold]
        return save_result(
            path, table=self.table, atoms=self.to_ase(), arrays=arrays, parameters=self.tetrahedra.parameters
        )

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items() if count)
        return f"<Motifs, {len(self.tetrahedra)} tetrahedra: {counts or 'no motifs'}>"

    def _counted(self, amorphous: np.ndarray | None) -> np.ndarray:
        if amorphous is None:
            return np.ones(len(self.tetrahedra), bool)
        return self.tetrahedra.amorphous(amorphous)


def motifs(tetrahedra: Tetrahedra) -> Motifs:
    """Triplets and bipyramids among the tetrahedra of a model.

    A bipyramid of fold n is a ring of n = 4 .. 8 tetrahedra around an edge, each sharing a face with the next; the
    two atoms of the edge are its caps. Five give the pentagonal bipyramid. A triplet is a chain of three
    tetrahedra that share faces, the last of which shares no other face, and none of which lies on any cycle of
    4 .. 8 tetrahedra. After [Yuan2022]_ in references.bib.

    Parameters
    ----------
    tetrahedra : Tetrahedra
        From :func:`~medrange.aet.atoms.polytetrahedra.tetrahedra`.

    Returns
    -------
    Motifs
        Tetrahedron indices by kind of motif.

    Raises
    ------
    TypeError
        If given anything else than tetrahedra.

    Examples
    --------
    >>> from ase.cluster import Icosahedron
    >>> from medrange.aet.atoms import tetrahedra
    >>> motifs(tetrahedra(Icosahedron("Ta", 2, 4.0), max_edge=3.5))
    <Motifs, 20 tetrahedra: 12 pentagonal>
    """
    if not isinstance(tetrahedra, Tetrahedra):
        msg = f"motifs are made of Tetrahedra; got {type(tetrahedra).__name__}: call tetrahedra(atoms, ...) first."
        raise TypeError(msg)
    starts, members, between, caps = edge_rings(tetrahedra.vertices, tetrahedra.neighbors)
    folds = np.diff(starts)
    rows, cap_atoms, ring_atoms = {}, {}, {}
    in_ring = np.zeros(len(tetrahedra), bool)
    for fold in BIPYRAMID_FOLDS:
        rings = np.flatnonzero(folds == fold)
        places = starts[rings][:, None] + np.arange(fold)
        rows[MOTIF_NAMES[fold]], ring_atoms[fold], cap_atoms[fold] = members[places], between[places], caps[rings]
        in_ring[rows[MOTIF_NAMES[fold]]] = True
    return Motifs(
        triplet=open_chains(tetrahedra.neighbors, in_ring, BIPYRAMID_FOLDS[0], BIPYRAMID_FOLDS[-1]),
        **rows,
        caps=cap_atoms,
        ring_atoms=ring_atoms,
        n_three_rings=int((folds == 3).sum()),
        n_larger_rings=int((folds > BIPYRAMID_FOLDS[-1]).sum()),
        tetrahedra=tetrahedra,
    )


def check_bipyramid(fold: int) -> None:
    """Refuse a fold that is not that of a bipyramid.

    Parameters
    ----------
    fold : int
        Number of tetrahedra around the edge.

    Raises
    ------
    ValueError
        If it is not 4 .. 8.
    """
    if fold not in BIPYRAMID_FOLDS:
        msg = f"fold is {fold!r}; bipyramids have 4 to 8 tetrahedra, the pentagonal one has 5."
        raise ValueError(msg)
