"""Neighbors of every atom, found once and passed on."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

from medrange.aet.atoms.model import AtomicModel, as_model

# The tree compares squares of rounded distances; the exact comparison follows in float64.
_SLACK = 1 + 1e-9
# More images of a box than this mean a cutoff in another unit than the box.
_MAX_IMAGES = 10_000


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Ordered pairs of atoms with ``min_distance < r < cutoff``, both limits strict.

    Every bond is listed from both its ends, sorted by ``i`` and then by ``j``; the neighbors of atom i are the
    rows ``offsets[i]`` to ``offsets[i + 1]``. Distances are float64 of the positions as given. In a periodic box
    every image counts, also where the box is smaller than the cutoff (an atom may then be its own neighbor).

    Parameters
    ----------
    model : ase.Atoms, path, AtomicModel or array
        Atoms, angstrom; kept as an :class:`~medrange.aet.atoms.model.AtomicModel`.
    cutoff : float
        Upper limit of the distance, angstrom; usually the first valley of g(r).
    min_distance : float
        Lower limit, angstrom; 0.1 as in [Yuan2022]_, references.bib.

    Attributes
    ----------
    i, j : numpy.ndarray
        Shape (pairs,), the two atoms.
    vectors : numpy.ndarray
        Shape (pairs, 3), from i to j (or its image), angstrom.
    distances : numpy.ndarray
        Shape (pairs,), angstrom.
    offsets : numpy.ndarray
        Shape (N + 1,), first row of each atom.

    Raises
    ------
    ValueError
        If the cutoff is not above ``min_distance``, or if the positions are refused
        (:func:`~medrange.aet.atoms.model.as_model`).

    Examples
    --------
    >>> from ase.build import bulk
    >>> neighbors = Neighbors(bulk("Cu", cubic=True), cutoff=3.0)
    >>> neighbors.counts
    array([12, 12, 12, 12])
    >>> neighbors
    <Neighbors, 48 pairs of 4 atoms within 3 Å, 12.00 per atom>
    """

    model: AtomicModel
    cutoff: float
    min_distance: float = 0.1
    i: np.ndarray = field(init=False)
    j: np.ndarray = field(init=False)
    vectors: np.ndarray = field(init=False)
    distances: np.ndarray = field(init=False)
    offsets: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.cutoff) and 0 <= self.min_distance < self.cutoff):
            msg = (
                f"cutoff is {self.cutoff!r} Å with min_distance {self.min_distance!r} Å; it must be finite and the "
                "larger one: use the first valley of pair_distribution(atoms)."
            )
            raise ValueError(msg)
        model = as_model(self.model, minimum=1)
        positions, owners = with_images(model, self.cutoff * _SLACK)
        pairs = cKDTree(positions).query_pairs(self.cutoff * _SLACK, output_type="ndarray")
        limits = (float(self.min_distance), float(self.cutoff))
        offsets, j, vectors, distances = _rows(pairs, positions, owners, len(model), limits)
        i = np.repeat(np.arange(len(model)), np.diff(offsets))
        values = {"i": i, "j": j, "vectors": vectors, "distances": distances, "offsets": offsets}
        for name, value in values.items():
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        object.__setattr__(self, "model", model)

    @property
    def counts(self) -> np.ndarray:
        """Neighbors of each atom, shape (N,)."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        """Count of ordered pairs."""
        return len(self.i)

    def __repr__(self) -> str:
        n_atoms = len(self.model)
        mean = len(self) / n_atoms
        return f"<Neighbors, {len(self)} pairs of {n_atoms} atoms within {self.cutoff:g} Å, {mean:.2f} per atom>"


def as_neighbors(atoms: Neighbors | AtomicModel | np.ndarray, cutoff: float | None) -> Neighbors:
    """Neighbors as given, or searched within ``cutoff``.

    Parameters
    ----------
    atoms : Neighbors, ase.Atoms, path, AtomicModel or array
        A finished search, or atoms.
    cutoff : float or None
        Upper limit of the distance, angstrom; needed with atoms, and with a finished search None or its own.

    Returns
    -------
    Neighbors
        The pairs.

    Raises
    ------
    ValueError
        If atoms come without a cutoff, or a search with another one.

    Examples
    --------
    >>> from ase.build import bulk
    >>> as_neighbors(bulk("Cu", cubic=True), 3.0).counts
    array([12, 12, 12, 12])
    """
    if isinstance(atoms, Neighbors):
        if cutoff is not None and cutoff != atoms.cutoff:
            msg = f"cutoff is {cutoff:g} Å but the neighbors were found within {atoms.cutoff:g} Å; give one of both."
            raise ValueError(msg)
        return atoms
    if cutoff is None:
        msg = "a cutoff in angstrom is needed: use pair_distribution(atoms).first_valley, or pass Neighbors."
        raise ValueError(msg)
    return Neighbors(atoms, cutoff)


def with_images(model: AtomicModel, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions with the periodic images that lie within ``reach`` of the box.

    Parameters
    ----------
    model : AtomicModel
        Atoms; without periodic directions nothing is added.
    reach : float
        Distance from the box, angstrom.

    Returns
    -------
    positions : numpy.ndarray
        Shape (N + images, 3): the atoms wrapped into the box along its periodic vectors, then the images.
    owners : numpy.ndarray
        Shape (N + images,), the atom each one is.

    Raises
    ------
    ValueError
        If it takes more than 10000 boxes.

    Examples
    --------
    >>> model = AtomicModel(np.array([[0.5, 0, 0]]), cell=np.diag([4.0, 4.0, 4.0]), pbc=(True, False, False))
    >>> with_images(model, 1.0)
    (array([[0.5, 0. , 0. ],
           [4.5, 0. , 0. ]]), array([0, 0]))
    """
    owners = np.arange(len(model))
    if not model.pbc.any():
        return model.positions, owners
    inverse = np.linalg.inv(model.cell)
    # Heights of the box: the length of a reciprocal vector is one over the distance of its planes.
    margin = reach * np.linalg.norm(inverse, axis=0)
    fractions = model.positions @ inverse
    wraps = np.where(model.pbc, np.floor(fractions), 0.0)
    fractions -= wraps
    counts = np.where(model.pbc, np.ceil(margin), 0).astype(int)
    if np.prod(2 * counts + 1.0) > _MAX_IMAGES:
        msg = f"a distance of {reach:g} Å spans {counts.tolist()} boxes; check the units of cell and cutoff."
        raise ValueError(msg)
    positions, indices = [model.positions - wraps @ model.cell], [owners]
    for shift in product(*(range(-count, count + 1) for count in counts)):
        if not any(shift):
            continue
        moved = fractions + shift
        near = ((moved >= -margin) & (moved <= 1 + margin) | ~model.pbc).all(axis=1)
        positions.append(positions[0][near] + np.array(shift, float) @ model.cell)
        indices.append(owners[near])
    return np.concatenate(positions), np.concatenate(indices)


@njit(cache=True, nogil=True)
def _rows(
    pairs: np.ndarray, positions: np.ndarray, owners: np.ndarray, n: int, limits: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs as rows per atom, sorted by partner; only atoms of the box have rows."""
    low, high = limits
    distances = np.empty(pairs.shape[0])
    # Entries per atom, and entries per partner: the same but for rounding across a periodic border.
    starts, offsets = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    for p in range(pairs.shape[0]):
        a, b = pairs[p, 0], pairs[p, 1]
        square = 0.0
        for c in range(3):
            square += (positions[b, c] - positions[a, c]) ** 2
        r = np.sqrt(square)
        distances[p] = r if low < r < high else -1.0
        if distances[p] > 0:
            if a < n:
                starts[a + 1] += 1
                offsets[owners[b] + 1] += 1
            if b < n:
                starts[b + 1] += 1
                offsets[owners[a] + 1] += 1
    for i in range(n):
        starts[i + 1] += starts[i]
        offsets[i + 1] += offsets[i]
    total = offsets[n]
    # Rows in the order of the search, each entry as 2 pair + end; read atom by atom and written to the rows of
    # the partners, the entries come out sorted. The list holds every bond from both ends, so nothing is lost.
    entries, fill = np.empty(total, np.int64), starts[:-1].copy()
    for p in range(pairs.shape[0]):
        if distances[p] > 0:
            for end in range(2):
                atom = pairs[p, end]
                if atom < n:
                    entries[fill[atom]] = 2 * p + end
                    fill[atom] += 1
    j, vectors, lengths = np.empty(total, np.int64), np.empty((total, 3)), np.empty(total)
    fill = offsets[:-1].copy()
    for atom in range(n):
        for entry in entries[starts[atom] : starts[atom + 1]]:
            p, end = entry // 2, entry % 2
            here, there = pairs[p, end], pairs[p, 1 - end]
            row = fill[owners[there]]
            fill[owners[there]] += 1
            j[row] = atom
            lengths[row] = distances[p]
            for c in range(3):
                vectors[row, c] = positions[here, c] - positions[there, c]
    return offsets, j, vectors, lengths
