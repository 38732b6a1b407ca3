"""Manual corrections of a traced model: written down, applied, and kept with what they did."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from medrange.aet.atoms.model import AtomicModel, as_model
from medrange.aet.atoms.saving import save_result

if TYPE_CHECKING:
    import ase

_KINDS = ("add", "remove", "merge")
Position = Sequence[float]


@dataclass(frozen=True)
class AtomEdits:
    """Corrections by hand, each named by where it is, so that they survive a new order of the atoms.

    Attributes
    ----------
    remove : tuple of tuple of float
        Positions (angstrom) of atoms to take away.
    merge : tuple of tuple of tuple of float
        Groups of positions of atoms to replace by one at their mean.
    add : tuple of tuple of float
        Positions of new atoms.
    symbols : tuple of str
        Chemical symbols of the new atoms; empty for a model without symbols.
    note : str
        Why, in words.

    Examples
    --------
    >>> edits = AtomEdits(add=[(0, 0, 3)], symbols=["Ta"], note="missed next to the edge")
    >>> AtomEdits.from_dict(edits.to_dict()) == edits
    True
    """

    remove: tuple[Position, ...] = ()
    merge: tuple[tuple[Position, ...], ...] = ()
    add: tuple[Position, ...] = ()
    symbols: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "remove", _as_positions(self.remove, "remove"))
        object.__setattr__(self, "add", _as_positions(self.add, "add"))
        object.__setattr__(self, "merge", tuple(_as_positions(group, "merge") for group in self.merge))
        object.__setattr__(self, "symbols", tuple(self.symbols))
        if any(len(group) < 2 for group in self.merge):
            msg = "a group to merge names one atom; name two or more, or leave it out."
            raise ValueError(msg)
        if self.symbols and len(self.symbols) != len(self.add):
            msg = f"{len(self.symbols)} symbols for {len(self.add)} new atoms; give one symbol for each."
            raise ValueError(msg)

    def to_dict(self) -> dict[str, Any]:
        """As lists, numbers and strings, for JSON."""
        return {
            "remove": [list(position) for position in self.remove],
            "merge": [[list(position) for position in group] for group in self.merge],
            "add": [list(position) for position in self.add],
            "symbols": list(self.symbols),
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> AtomEdits:
        """From a dictionary of :meth:`to_dict`.

        Raises
        ------
        ValueError
            If it holds anything else.
        """
        unknown = set(content) - {*_KINDS, "symbols", "note"}
        if unknown:
            msg = f"edits hold {sorted(unknown)}; known are remove, merge, add, symbols and note."
            raise ValueError(msg)
        return cls(**content)

    def save(self, path: str | PathLike) -> Path:
        """Write the edits as JSON."""
        path = Path(path)
        path.write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | PathLike) -> AtomEdits:
        """Edits from a JSON file of :meth:`save`."""
        return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))


@dataclass(frozen=True, eq=False, repr=False)
class EditedModel:
    """A model after corrections by hand, and what was done to it; made by :func:`apply_edits`.

    Attributes
    ----------
    model : AtomicModel
        Untouched atoms in their order, then the merged, then the added ones.
    record : tuple of dict
        One entry per correction, JSON-able: ``kind``, ``atoms`` (indices into the model before), ``positions`` (theirs,
        angstrom) and ``position`` (of the new atom).
    origin : numpy.ndarray
        Shape (N,): index of each atom in the model before; -1 for merged and added atoms.
    edits : AtomEdits
        As asked for.
    """

    model: AtomicModel
    record: tuple[dict[str, Any], ...]
    origin: np.ndarray
    edits: AtomEdits

    @property
    def provenance(self) -> dict[str, Any]:
        """Everything that was asked for and done, JSON-able."""
        return {"edits": self.edits.to_dict(), "record": list(self.record)}

    def save(self, path: str | PathLike) -> Path:
        """Write ``.npz`` or ``.xyz``; both hold the provenance, as ``parameters`` and in the comment line."""
        atoms = self.model.to_ase(origin=self.origin)
        atoms.info["provenance"] = json.dumps(self.provenance)
        arrays = {"positions": self.model.positions, "origin": self.origin}
        if self.model.symbols is not None:
            arrays["symbols"] = np.array(self.model.symbols, dtype=str)
        return save_result(path, atoms=atoms, arrays=arrays, parameters=self.provenance)

    def __repr__(self) -> str:
        counts = [sum(entry["kind"] == kind for entry in self.record) for kind in _KINDS]
        return f"EditedModel({self.model!r}; {counts[0]} added, {counts[1]} removed, {counts[2]} groups merged)"


def apply_edits(
    atoms: AtomicModel | ase.Atoms | np.ndarray, edits: AtomEdits, *, tolerance: float = 0.5, min_distance: float = 1.0
) -> EditedModel:
    """Apply corrections by hand to a model.

    All positions refer to the model as given: what is removed, merged and added does not depend on an order.

    Parameters
    ----------
    atoms : AtomicModel, ase.Atoms or array
        Shape (N, 3), angstrom.
    edits : AtomEdits
        The corrections.
    tolerance : float
        A named atom must lie this close to its position, angstrom.
    min_distance : float
        No new atom may lie closer to another, angstrom.

    Returns
    -------
    EditedModel
        The new model and the record of what was done.

    Raises
    ------
    ValueError
        If a position has no atom within ``tolerance``, an atom is named twice, merged atoms differ in species, new
        atoms come without a needed symbol, or lie closer than ``min_distance`` to another.

    Examples
    --------
    >>> atoms = AtomicModel([[0, 0, 0], [3, 0, 0], [3, 0.8, 0], [6, 0, 0]])
    >>> edits = AtomEdits(remove=[(6, 0, 0)], merge=[[(3, 0, 0), (3, 0.8, 0)]], add=[(0, 3, 0)])
    >>> apply_edits(atoms, edits).model.positions.tolist()
    [[0.0, 0.0, 0.0], [3.0, 0.4, 0.0], [0.0, 3.0, 0.0]]
    """
    model = as_model(atoms, minimum=0)
    removed = _named(model, edits.remove, tolerance)
    groups = [_named(model, group, tolerance) for group in edits.merge]
    touched = np.concatenate([removed, *groups]) if groups else removed
    twice = np.flatnonzero(np.bincount(touched, minlength=1) > 1)
    if twice.size:
        place = model.positions[twice[0]].round(3).tolist()
        msg = f"atom {twice[0]} at {place} is named twice; name each atom in one correction."
        raise ValueError(msg)
    record = [_entry("remove", model, [atom], None) for atom in removed]
    new, kinds = [], []
    for group in groups:
        new.append(model.positions[group].mean(axis=0))
        kinds.append(_common_symbol(model, group))
        record.append(_entry("merge", model, group, new[-1]))
    for position, symbol in zip(edits.add, _symbols_of_added(model, edits), strict=True):
        new.append(np.array(position))
        kinds.append(symbol)
        record.append(_entry("add", model, [], new[-1]))
    kept = np.setdiff1d(np.arange(len(model)), touched)
    positions = np.concatenate([model.positions[kept], np.reshape(new, (-1, 3))])
    _check_room(positions, len(kept), min_distance)
    symbols = None if model.symbols is None else (*(model.symbols[i] for i in kept), *kinds)
    edited = AtomicModel(positions, symbols, model.cell, model.pbc)
    origin = np.concatenate([kept, np.full(len(new), -1)]).astype(np.intp)
    return EditedModel(edited, tuple(record), origin, edits)


def close_groups(atoms: AtomicModel | np.ndarray, distance: float) -> tuple[tuple[Position, ...], ...]:
    """Groups of atoms linked by distances below a limit, to be given to ``AtomEdits(merge=...)``.

    Strips of a scanned reconstruction overlap, and their patched peaks hold many atoms twice.

    Parameters
    ----------
    atoms : AtomicModel or array
        Shape (N, 3), angstrom.
    distance : float
        Angstrom.

    Returns
    -------
    tuple of tuple
        Positions of the members of each group of two or more, in the order of the atoms.

    Raises
    ------
    ValueError
        If the distance is not positive.

    Examples
    --------
    >>> close_groups(np.array([[0, 0, 0], [3, 0, 0], [3, 0.4, 0]]), 1.0)
    (((3.0, 0.0, 0.0), (3.0, 0.4, 0.0)),)
    """
    if not distance > 0:
        msg = f"distance is {distance}; give angstrom above 0."
        raise ValueError(msg)
    positions = atoms.positions if isinstance(atoms, AtomicModel) else AtomicModel(atoms).positions
    near = cKDTree(positions).query_pairs(distance, output_type="ndarray") if len(positions) else np.zeros((0, 2), int)
    graph = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), shape=(len(positions),) * 2)
    labels = connected_components(graph, directed=False)[1]
    members = [np.flatnonzero(labels == label) for label in np.unique(labels[near[:, 0]])]
    return tuple(tuple(tuple(positions[i].tolist()) for i in group) for group in members)


def _as_positions(values: Any, kind: str) -> tuple[tuple[float, ...], ...]:
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return ()
    if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
        msg = f"{kind} holds an array of shape {array.shape}; positions (N, 3), finite, in angstrom are needed."
        raise ValueError(msg)
    return tuple(tuple(position) for position in array.tolist())


def _named(model: AtomicModel, positions: Sequence[Position], tolerance: float) -> np.ndarray:
    """Indices of the atoms nearest to positions."""
    if not len(positions):
        return np.zeros(0, dtype=np.intp)
    if not len(model):
        msg = "the model has no atoms to remove or merge."
        raise ValueError(msg)
    distance, index = cKDTree(model.positions).query(np.asarray(positions))
    far = int(distance.argmax())
    if distance[far] > tolerance:
        msg = (
            f"no atom lies within {tolerance:g} Å of {list(positions[far])}, the nearest is {distance[far]:.2f} Å "
            "away; correct the position or raise tolerance."
        )
        raise ValueError(msg)
    return index


def _entry(kind: str, model: AtomicModel, atoms: Sequence[int], position: np.ndarray | None) -> dict[str, Any]:
    entry = {"kind": kind, "atoms": [int(i) for i in atoms], "positions": model.positions[list(atoms)].tolist()}
    return entry if position is None else {**entry, "position": [float(x) for x in position]}


def _common_symbol(model: AtomicModel, group: np.ndarray) -> str | None:
    found = {None if model.symbols is None else model.symbols[i] for i in group}
    if len(found) > 1:
        msg = f"atoms {group.tolist()} to merge are {sorted(found)}; remove all but one species instead."
        raise ValueError(msg)
    return found.pop()


def _symbols_of_added(model: AtomicModel, edits: AtomEdits) -> Sequence[str | None]:
    if model.symbols is None and edits.symbols:
        msg = f"the model has no symbols, but the new atoms have {list(edits.symbols)}; leave them out."
        raise ValueError(msg)
    if model.symbols is not None and edits.add and not edits.symbols:
        if len(model.species) != 1:
            msg = f"the model holds {list(model.species)}; give AtomEdits the symbols of the new atoms."
            raise ValueError(msg)
        return model.species * len(edits.add)
    return edits.symbols or [None] * len(edits.add)


def _check_room(positions: np.ndarray, first_new: int, min_distance: float) -> None:
    """Refuse new atoms too close to others."""
    if first_new == len(positions) or len(positions) < 2:
        return
    distance = cKDTree(positions).query(positions[first_new:], k=2)[0][:, 1]
    if distance.min() < min_distance:
        place = positions[first_new + int(distance.argmin())].round(3).tolist()
        msg = (
            f"the new atom at {place} lies {distance.min():.2f} Å from another, less than {min_distance:g} Å; "
            "remove that one, or lower min_distance."
        )
        raise ValueError(msg)
