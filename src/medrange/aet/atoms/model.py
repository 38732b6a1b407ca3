"""Atomic models: where the atoms are, what they are, and in which box; lengths in angstrom."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import ase
import ase.io
import numpy as np
from ase.geometry import complete_cell
from ase.io.formats import UnknownFileTypeError
from scipy.spatial import cKDTree

#: Atoms closer than this are the same atom twice, angstrom.
DUPLICATE_DISTANCE = 1e-6
#: Median distances of nearest neighbors outside these limits are taken for another unit, angstrom.
SPACING_LIMITS = (0.5, 20.0)
# The unit of a model is judged from so many atoms spread over it.
_SAMPLE = 2000
# A set of points thinner than this part of its largest extent is flat.
_FLATNESS = 1e-6


@dataclass(frozen=True, eq=False)
class AtomicModel:
    """Atoms of a particle, a film or a simulation box, checked once.

    Build it with :func:`as_model`, which checks the positions; the functions of :mod:`medrange.aet.atoms` call
    it on whatever they are given.

    Attributes
    ----------
    positions : numpy.ndarray
        Shape (N, 3), float64, x, y, z in angstrom, read-only.
    symbols : tuple of str or None
        Chemical symbol of each atom; None where unknown.
    cell : numpy.ndarray or None
        Shape (3, 3), box vectors as rows, angstrom; None without a box.
    pbc : numpy.ndarray
        Shape (3,), bool: the box repeats along its vectors.

    Examples
    --------
    >>> from ase.build import bulk
    >>> as_model(bulk("Cu", cubic=True).repeat(3))
    <AtomicModel, 108 atoms, Cu 108, periodic>
    """

    positions: np.ndarray
    symbols: tuple[str, ...] | None = None
    cell: np.ndarray | None = None
    pbc: np.ndarray = (False, False, False)

    def __post_init__(self) -> None:
        positions = _finite_positions(self.positions)
        pbc = np.array(np.broadcast_to(self.pbc, 3), dtype=bool)
        cell = None if self.cell is None else np.array(self.cell, dtype=np.float64)
        if pbc.any() and cell is None:
            msg = f"pbc is {pbc.tolist()} but there is no cell; give the box vectors or set pbc to False."
            raise ValueError(msg)
        if self.symbols is not None and len(self.symbols) != len(positions):
            msg = f"{len(self.symbols)} symbols were given for {len(positions)} atoms; give one symbol per atom."
            raise ValueError(msg)
        for name, value in (("positions", positions), ("cell", cell), ("pbc", pbc)):
            if value is not None:
                value.flags.writeable = False
            object.__setattr__(self, name, value)
        object.__setattr__(self, "symbols", None if self.symbols is None else tuple(self.symbols))

    def __len__(self) -> int:
        """Count of atoms."""
        return len(self.positions)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {self.symbols.count(name)}" for name in self.species)
        box = "periodic" if self.pbc.all() else f"periodic along {self.pbc.sum()} of 3" if self.pbc.any() else "open"
        return f"<AtomicModel, {len(self)} atoms, {counts or 'no symbols'}, {box}>"

    @property
    def species(self) -> tuple[str, ...]:
        """The different symbols, sorted; empty where they are unknown."""
        return () if self.symbols is None else tuple(sorted(set(self.symbols)))

    def subset(self, selection: np.ndarray) -> AtomicModel:
        """Model of a part of the atoms.

        Parameters
        ----------
        selection : numpy.ndarray
            Boolean mask of shape (N,), or atom indices.

        Returns
        -------
        AtomicModel
            The same box with the selected atoms.
        """
        indices = atom_indices(selection, len(self))
        symbols = None if self.symbols is None else tuple(self.symbols[i] for i in indices)
        return AtomicModel(self.positions[indices], symbols, self.cell, self.pbc)

    def to_ase(self, **columns: np.ndarray) -> ase.Atoms:
        """ASE atoms with per-atom columns, as viewers of extended xyz files read them.

        Parameters
        ----------
        **columns : numpy.ndarray
            Values per atom, shape (N,) or (N, k), by name.

        Returns
        -------
        ase.Atoms
            Columns in ``.arrays``; atoms without a symbol are ``"X"``.

        Raises
        ------
        ValueError
            If a column does not have one row per atom.

        Examples
        --------
        >>> model = AtomicModel(np.eye(3) * 3, symbols=("Ta",) * 3)
        >>> model.to_ase(order=np.arange(3.0)).arrays["order"]
        array([0., 1., 2.])
        """
        symbols = ["X"] * len(self) if self.symbols is None else list(self.symbols)
        atoms = ase.Atoms(symbols, positions=self.positions, cell=self.cell, pbc=self.pbc)
        for name, values in columns.items():
            values = np.asarray(values)
            if values.shape[:1] != (len(self),):
                msg = f"column {name!r} has shape {values.shape}; its first axis must hold the {len(self)} atoms."
                raise ValueError(msg)
            atoms.set_array(name, values)
        return atoms


def as_model(atoms: ase.Atoms | AtomicModel | np.ndarray | str | PathLike, *, minimum: int = 5) -> AtomicModel:
    """Checked atomic model from ASE atoms, a file or an array of positions.

    Parameters
    ----------
    atoms : ase.Atoms, path, AtomicModel or array
        A path is read with :func:`ase.io.read`; an array has shape (N, 3), angstrom, and stands for a model
        without periodic boundaries. An AtomicModel is returned as it is.
    minimum : int
        Least count of atoms.

    Returns
    -------
    AtomicModel
        Positions as float64.

    Raises
    ------
    ValueError
        If the positions are not (N, 3) finite numbers, if there are fewer than ``minimum``, if atoms coincide,
        or if the median distance of nearest neighbors lies outside 0.5 .. 20 angstrom (another unit).

    Examples
    --------
    >>> positions = 3.0 * np.indices((2, 2, 2)).reshape(3, -1).T
    >>> as_model(positions)
    <AtomicModel, 8 atoms, no symbols, open>
    """
    if isinstance(atoms, AtomicModel):
        _check_count(len(atoms), minimum)
        return atoms
    if isinstance(atoms, str | PathLike):
        atoms = _read(atoms)
    if isinstance(atoms, ase.Atoms):
        boxed = atoms.cell.rank > 0
        model = AtomicModel(
            atoms.get_positions(),
            tuple(atoms.get_chemical_symbols()),
            _completed_cell(atoms.cell[:], atoms.pbc) if boxed or atoms.pbc.any() else None,
            atoms.pbc,
        )
    else:
        model = AtomicModel(atoms)
    _check_count(len(model), minimum)
    _check_spacing(model)
    return model


def atom_indices(selection: np.ndarray, n_atoms: int) -> np.ndarray:
    """Indices of a selection given as a mask or as indices.

    Parameters
    ----------
    selection : numpy.ndarray
        Boolean mask of shape (n_atoms,), or integer indices.
    n_atoms : int
        Count of atoms of the model.

    Returns
    -------
    numpy.ndarray
        Integer indices.

    Raises
    ------
    ValueError
        If the mask has another length, or an index lies outside the model.

    Examples
    --------
    >>> atom_indices(np.array([True, False, True]), 3)
    array([0, 2])
    """
    selection = np.asarray(selection)
    if selection.dtype == bool:
        if selection.shape != (n_atoms,):
            msg = f"the mask of atoms has shape {selection.shape}; the model needs ({n_atoms},)."
            raise ValueError(msg)
        return np.flatnonzero(selection)
    if selection.size == 0:
        return np.zeros(0, dtype=np.intp)
    if selection.ndim != 1 or not np.issubdtype(selection.dtype, np.integer):
        msg = f"a selection of atoms is a mask or a list of indices; got {selection.dtype}, shape {selection.shape}."
        raise ValueError(msg)
    if selection.min() < 0 or selection.max() >= n_atoms:
        msg = f"atom indices run from {selection.min()} to {selection.max()}; the model has 0 .. {n_atoms - 1}."
        raise ValueError(msg)
    return selection.astype(np.intp)


def check_not_coplanar(atoms: AtomicModel | np.ndarray) -> None:
    """Refuse atoms that all lie in one plane, which have no tessellation into tetrahedra or cells.

    Parameters
    ----------
    atoms : AtomicModel or numpy.ndarray
        Positions, shape (N, 3), angstrom.

    Raises
    ------
    ValueError
        If the thickness normal to the best plane is below 1e-6 of the largest extent.

    Examples
    --------
    >>> check_not_coplanar(3.0 * np.indices((2, 2, 1)).reshape(3, -1).T)
    Traceback (most recent call last):
    ...
    ValueError: all 4 atoms lie in one plane (thickness 0 Å, extent 3 Å); tetrahedra and cells need ...
    """
    positions = atoms.positions if isinstance(atoms, AtomicModel) else np.asarray(atoms, dtype=np.float64)
    centered = positions - positions.mean(axis=0)
    # Principal axes: from the 3 x 3 matrix, so that large models cost one pass.
    axes = np.linalg.eigh(centered.T @ centered)[1]
    extents = np.ptp(centered @ axes, axis=0)
    thickness, extent = float(extents.min()), float(extents.max())
    if thickness <= _FLATNESS * extent:
        msg = (
            f"all {len(positions)} atoms lie in one plane (thickness {thickness:.2g} Å, extent {extent:.3g} Å); "
            "tetrahedra and cells need a model with depth in all three directions."
        )
        raise ValueError(msg)


def _finite_positions(positions: Any) -> np.ndarray:
    """Positions as a new float64 array (N, 3)."""
    try:
        positions = np.array(positions, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"positions of atoms are needed, an array of numbers (N, 3) in angstrom; got {type(positions).__name__}."
        raise ValueError(msg) from error
    if positions.ndim != 2 or positions.shape[1] != 3:
        hint = "; transpose it" if positions.ndim == 2 and positions.shape[0] == 3 else ""
        msg = f"positions have shape {positions.shape}; (N, 3) is needed, x, y, z in angstrom{hint}."
        raise ValueError(msg)
    bad = ~np.isfinite(positions).all(axis=1)
    if bad.any():
        msg = (
            f"{bad.sum()} of {len(bad)} atoms have NaN or infinite coordinates, the first is atom "
            f"{np.argmax(bad)}; remove them before the analysis."
        )
        raise ValueError(msg)
    return np.ascontiguousarray(positions)


def _completed_cell(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Cell of full rank; a periodic direction must have a vector of its own."""
    if (np.linalg.norm(cell[pbc], axis=1) == 0).any():
        msg = f"pbc is {pbc.tolist()} but a cell vector there is zero; give the box or set pbc to False."
        raise ValueError(msg)
    return np.asarray(complete_cell(cell), dtype=np.float64)


def _read(path: str | PathLike) -> ase.Atoms:
    try:
        return ase.io.read(path)
    except UnknownFileTypeError as error:
        msg = f"ASE does not know the format of {fspath(path)!r}; convert it to .xyz or .cif, or pass positions."
        raise ValueError(msg) from error


def _check_count(count: int, minimum: int) -> None:
    if count < minimum:
        msg = f"the model has {count} atoms; this analysis needs at least {minimum}."
        raise ValueError(msg)


def _check_spacing(model: AtomicModel) -> None:
    """Refuse coinciding atoms, and positions in another unit."""
    count = len(model)
    if count < 2:
        return
    tree = cKDTree(model.positions)
    spacing = float(np.median(tree.query(model.positions[:: max(1, count // _SAMPLE)], k=2)[0][:, 1]))
    # In meters every distance is tiny: only what is small against the model's own scale is a duplicate.
    scale = float(np.ptp(model.positions, axis=0).max()) / count ** (1 / 3)
    # A nearest image across the border of a small box may be nearer than any atom inside: no limit from above.
    upper = np.inf if model.pbc.any() else SPACING_LIMITS[1]
    if not SPACING_LIMITS[0] <= spacing <= upper and spacing > 1e-3 * scale:
        unit = "meters" if spacing < 1e-6 else "nanometers" if spacing < SPACING_LIMITS[0] else "picometers or pixels"
        msg = (
            f"spacing {spacing:.2g} (median distance of nearest neighbors): are the positions in {unit}? "
            f"medrange expects angstrom, a spacing of {SPACING_LIMITS[0]:g} to {SPACING_LIMITS[1]:g}."
        )
        raise ValueError(msg)
    pairs = _coinciding(model, tree)
    if len(pairs):
        i, j = pairs[0]
        msg = (
            f"{len(pairs)} pairs of atoms are closer than {DUPLICATE_DISTANCE:g} Å, the first are atoms {i} and {j}; "
            "remove the duplicates, for example with ase.geometry.get_duplicate_atoms(atoms, delete=True)."
        )
        raise ValueError(msg)


def _coinciding(model: AtomicModel, tree: cKDTree) -> np.ndarray:
    """Pairs (i, j) of coinciding atoms, i < j, also across periodic borders; sorted."""
    pairs = [tree.query_pairs(DUPLICATE_DISTANCE, output_type="ndarray")]
    if model.pbc.any():
        # The same atom written on both sides of the border: wrapped with two different origins, it meets itself.
        inverse = np.linalg.inv(model.cell)
        for origin in (0.25, 0.75):
            fractions = model.positions @ inverse
            wrapped = np.where(model.pbc, (fractions + origin) % 1.0, fractions)
            pairs.append(cKDTree(wrapped @ model.cell).query_pairs(DUPLICATE_DISTANCE, output_type="ndarray"))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
