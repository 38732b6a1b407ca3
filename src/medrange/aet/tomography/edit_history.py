"""Corrections by hand, one after the other, with a way back; what an editor of peaks works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medrange.aet.atoms.model import AtomicModel
from medrange.aet.tomography.edits import AtomEdits, Position, apply_edits


@dataclass(frozen=True)
class _State:
    """What is left to say of the start: indices into it, and new atoms with their symbols."""

    removed: tuple[int, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()
    added: tuple[tuple[Position, str | None], ...] = ()


class EditHistory:
    """Corrections of a model step by step; :attr:`edits` writes them down, :meth:`undo` takes the last one back.

    Steps name atoms by their index in :attr:`positions`, which changes with every step: untouched atoms in their order,
    then the merged, then the added ones, as in :func:`medrange.aet.tomography.apply_edits`. An added or merged atom can
    be removed or merged again: the edits then hold what remains of it.

    Parameters
    ----------
    start : AtomicModel
        Atoms to correct, angstrom.
    edits : AtomEdits, optional
        Earlier corrections of the same atoms, to go on with.
    min_distance : float
        No new atom may lie closer to another, angstrom.

    Raises
    ------
    ValueError
        If the earlier corrections do not fit the atoms.

    Examples
    --------
    >>> history = EditHistory(AtomicModel([[0, 0, 0], [3, 0, 0], [3, 0.8, 0]]))
    >>> history.merge([1, 2])
    >>> history.add((0, 3, 0))
    >>> history.positions.tolist()
    [[0.0, 0.0, 0.0], [3.0, 0.4, 0.0], [0.0, 3.0, 0.0]]
    >>> history.undo()
    True
    >>> history.edits.merge, history.edits.add
    ((((3.0, 0.0, 0.0), (3.0, 0.8, 0.0)),), ())
    """

    def __init__(self, start: AtomicModel, edits: AtomEdits | None = None, *, min_distance: float = 1.0) -> None:
        self.start, self.min_distance = start, float(min_distance)
        self._note = "" if edits is None else edits.note
        self._states = [_State() if edits is None else _from_edits(start, edits, min_distance)]

    def __len__(self) -> int:
        """Count of steps that can be taken back."""
        return len(self._states) - 1

    @property
    def edits(self) -> AtomEdits:
        """All corrections, to be given to ``PipelineOptions`` or :func:`medrange.aet.tomography.apply_edits`."""
        state, where = self._states[-1], self.start.positions
        symbols = () if self.start.symbols is None else tuple(symbol for _, symbol in state.added)
        return AtomEdits(
            remove=where[list(state.removed)],
            merge=tuple(where[list(group)] for group in state.groups),
            add=tuple(position for position, _ in state.added),
            symbols=symbols,
            note=self._note,
        )

    @property
    def kept(self) -> np.ndarray:
        """Indices into the start of the untouched atoms."""
        state = self._states[-1]
        gone = {*state.removed, *(atom for group in state.groups for atom in group)}
        return np.array([atom for atom in range(len(self.start)) if atom not in gone], dtype=np.intp)

    @property
    def positions(self) -> np.ndarray:
        """Shape (N, 3), angstrom: atoms as they are now."""
        state, where = self._states[-1], self.start.positions
        new = [where[list(group)].mean(axis=0) for group in state.groups]
        new += [np.array(position) for position, _ in state.added]
        return np.concatenate([where[self.kept], np.reshape(new, (-1, 3))])

    @property
    def symbols(self) -> tuple[str | None, ...]:
        """Symbol of each atom as it is now; None where the start has no symbols."""
        state, known = self._states[-1], self.start.symbols or (None,) * len(self.start)
        old = [known[atom] for atom in self.kept] + [known[group[0]] for group in state.groups]
        return (*old, *(symbol for _, symbol in state.added))

    def add(self, position: Position, symbol: str | None = None) -> None:
        """Add an atom.

        Parameters
        ----------
        position : sequence of float
            Angstrom.
        symbol : str, optional
            Needed where the atoms have symbols, unless they are all the same.

        Raises
        ------
        ValueError
            If it lies too close to another atom, or its symbol is missing or one too many.
        """
        state = self._states[-1]
        symbol = self._symbol(symbol)
        place = tuple(np.asarray(position, dtype=float).tolist())
        self._push(replace(state, added=(*state.added, (place, symbol))), new=len(self.positions))

    def remove(self, atoms: Sequence[int]) -> None:
        """Take atoms away, named by their index in :attr:`positions`."""
        if len(atoms):
            self._push(self._without(atoms)[0])

    def merge(self, atoms: Sequence[int]) -> None:
        """Replace atoms, named by their index in :attr:`positions`, by one at the mean of all they were made of.

        Raises
        ------
        ValueError
            If there is only one, they differ in species, or the mean lies too close to another atom.
        """
        if len(set(atoms)) < 2:
            msg = f"atoms chosen: {len(set(atoms))}; choose two or more to merge."
            raise ValueError(msg)
        kinds = {self.symbols[atom] for atom in atoms}
        if len(kinds) > 1:
            msg = f"atoms to merge are {sorted(map(str, kinds))}; remove all but one species instead."
            raise ValueError(msg)
        state, members, added = self._without(atoms)
        if added:
            # A merge names atoms of the start; one with a new atom is their removal and another new atom.
            parts = np.concatenate([self.start.positions[members], np.reshape(added, (-1, 3))])
            place = tuple(parts.mean(axis=0).tolist())
            state = replace(
                state,
                removed=tuple(sorted({*state.removed, *members})),
                added=(*state.added, (place, kinds.pop())),
            )
            new = -1
        else:
            state = replace(state, groups=(*state.groups, tuple(sorted(members))), removed=self._states[-1].removed)
            new = -1 - len(state.added)
        self._push(state, new=new)

    def undo(self) -> bool:
        """Take the last step back; False where there is none."""
        if not len(self):
            return False
        self._states.pop()
        return True

    def _without(self, atoms: Sequence[int]) -> tuple[_State, list[int], list[Position]]:
        """State without some atoms, their members in the start, and positions of the added ones among them."""
        state, kept = self._states[-1], self.kept
        chosen = {range(len(self.positions))[atom] for atom in atoms}
        groups = {atom - len(kept) for atom in chosen if len(kept) <= atom < len(kept) + len(state.groups)}
        first = len(kept) + len(state.groups)
        added = {atom - first for atom in chosen if atom >= first}
        members = [int(kept[atom]) for atom in chosen if atom < len(kept)]
        members += [member for index in groups for member in state.groups[index]]
        left = _State(
            removed=tuple(sorted({*state.removed, *members})),
            groups=tuple(group for index, group in enumerate(state.groups) if index not in groups),
            added=tuple(entry for index, entry in enumerate(state.added) if index not in added),
        )
        return left, members, [state.added[index][0] for index in added]

    def _push(self, state: _State, new: int | None = None) -> None:
        """Take a step, unless the new atom, the one with this index, lies too close to another."""
        self._states.append(state)
        if new is None or len(self.positions) < 2:
            return
        positions = self.positions
        distance = np.linalg.norm(np.delete(positions, new, axis=0) - positions[new], axis=1).min()
        if distance < self.min_distance:
            self._states.pop()
            msg = (
                f"the new atom lies {distance:.2f} Å from another, less than {self.min_distance:g} Å; remove or merge "
                "that one."
            )
            raise ValueError(msg)

    def _symbol(self, symbol: str | None) -> str | None:
        """Symbol of a new atom."""
        if self.start.symbols is None and symbol is not None:
            msg = f"the atoms have no symbols, but the new one is {symbol}; leave its symbol out."
            raise ValueError(msg)
        if symbol is None and self.start.symbols is not None:
            if len(self.start.species) != 1:
                msg = f"the atoms are {list(self.start.species)}; give the symbol of the new one."
                raise ValueError(msg)
            return self.start.species[0]
        return symbol


def _from_edits(start: AtomicModel, edits: AtomEdits, min_distance: float) -> _State:
    done = apply_edits(start, edits, min_distance=min_distance)
    removed = tuple(entry["atoms"][0] for entry in done.record if entry["kind"] == "remove")
    groups = tuple(tuple(entry["atoms"]) for entry in done.record if entry["kind"] == "merge")
    symbols = done.model.symbols[-len(edits.add) :] if edits.add and done.model.symbols else (None,) * len(edits.add)
    return _State(removed, groups, tuple(zip(edits.add, symbols, strict=True)))
