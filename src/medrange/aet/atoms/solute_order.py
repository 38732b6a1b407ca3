"""Medium-range order of the solutes of a glass: patches of fcc, hcp, bcc and sc lattices that solutes form."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from medrange.aet.atoms.lattice_growth import grow_patches
from medrange.aet.atoms.lattice_templates import LATTICES, LatticeTemplate, lattice_template
from medrange.aet.atoms.model import AtomicModel, as_model, atom_indices
from medrange.aet.atoms.neighbors import Neighbors
from medrange.aet.atoms.network_length import largest_distance
from medrange.aet.atoms.saving import save_result

if TYPE_CHECKING:
    import ase
    import pandas as pd

# Central atoms per call of the kernel: bounds the memory of the patches.
_PART = 256


@dataclass(frozen=True, eq=False)
class LatticePatch:
    """Solutes on the sites of one lattice.

    Attributes
    ----------
    lattice : str
        ``"fcc"``, ``"hcp"``, ``"bcc"`` or ``"sc"``.
    members : numpy.ndarray
        Shape (n,), int64: indices of the solutes in the model, sorted.
    sites : numpy.ndarray
        Shape (n, 3): lattice site of each member in units of the neighbor distance, from the central solute's.
    positions : numpy.ndarray
        Shape (n, 3), angstrom, from the central solute, put together across periodic borders. The member lies
        near ``neighbor_distance * rotation @ site``.
    center : int
        Index of the central solute, which the fit keeps on its site.
    neighbor_distance : float
        Fitted distance of nearest sites, angstrom.
    rotation : numpy.ndarray
        Shape (3, 3), from the axes of the lattice to those of the model; up to a symmetry of the lattice.
    """

    lattice: str
    members: np.ndarray
    sites: np.ndarray
    positions: np.ndarray
    center: int
    neighbor_distance: float
    rotation: np.ndarray

    def __len__(self) -> int:
        """Count of solutes."""
        return len(self.members)

    @property
    def deviations(self) -> np.ndarray:
        """Distance of each member from its site, shape (n,), angstrom."""
        return np.linalg.norm(self.positions - self.neighbor_distance * self.sites @ self.rotation.T, axis=1)

    @property
    def rms_deviation(self) -> float:
        """Root of the mean square of the deviations, angstrom."""
        return float(np.sqrt(np.mean(self.deviations**2)))

    @property
    def lattice_constant(self) -> float:
        """Conventional constant a, angstrom: sqrt(2) d (fcc), d (hcp, sc), 2 d / sqrt(3) (bcc)."""
        return self.neighbor_distance * lattice_template(self.lattice).constant

    @property
    def length(self) -> float:
        """Largest distance of two members, angstrom."""
        return largest_distance(self.positions)

    def __repr__(self) -> str:
        fit = f"a = {self.lattice_constant:.2f} Å, rms deviation {self.rms_deviation:.2f} Å"
        return f"<LatticePatch, {len(self)} solutes on {self.lattice}, {fit}, {self.length:.1f} Å long>"


@dataclass(frozen=True, eq=False, repr=False)
class CrystalLikeOrder:
    """Crystal-like networks of solutes, the largest first; each solute is in one network at most.

    Attributes
    ----------
    networks : tuple of LatticePatch
        The networks, by falling size, then by rising rms deviation.
    solutes : numpy.ndarray
        Indices of all solutes in the model.
    min_distance, max_distance, tolerance : float
        Limits of the distance of neighboring solutes, and of the deviation from a site, angstrom.
    min_size : int
        Least solutes of a network.
    model : AtomicModel
        The atoms.
    """

    networks: tuple[LatticePatch, ...]
    solutes: np.ndarray
    min_distance: float
    max_distance: float
    tolerance: float
    min_size: int
    model: AtomicModel

    def __len__(self) -> int:
        """Count of networks."""
        return len(self.networks)

    def __getitem__(self, network: int) -> LatticePatch:
        """Return a network; 0 is the largest."""
        return self.networks[network]

    @property
    def sizes(self) -> np.ndarray:
        """Solutes of each network, shape (n,)."""
        return np.array([len(network) for network in self.networks], dtype=np.int64)

    @property
    def fraction(self) -> float:
        """Solutes in networks over all solutes."""
        return float(self.sizes.sum() / len(self.solutes))

    @property
    def table(self) -> pd.DataFrame:
        """One row per network.

        Columns: lattice, size (solutes), lattice_constant, neighbor_distance, rms_deviation, length (angstrom),
        center (index), and solutes (their indices, separated by blanks).
        """
        import pandas as pd

        names = ("lattice", "lattice_constant", "neighbor_distance", "rms_deviation", "length", "center")
        columns = {name: [getattr(network, name) for network in self.networks] for name in names}
        columns["solutes"] = [" ".join(map(str, network.members)) for network in self.networks]
        table = pd.DataFrame(columns)
        table.insert(1, "size", self.sizes)
        return table

    @property
    def atoms(self) -> ase.Atoms:
        """ASE atoms with ``network`` (-1 in none), ``lattice`` (0 none, 1 fcc, 2 hcp, 3 bcc, 4 sc) and ``solute``."""
        count = len(self.model)
        network, lattice = np.full(count, -1), np.zeros(count, dtype=np.int64)
        for k, patch in enumerate(self.networks):
            network[patch.members], lattice[patch.members] = k, 1 + LATTICES.index(patch.lattice)
        return self.model.to_ase(network=network, lattice=lattice, solute=np.isin(np.arange(count), self.solutes))

    def save(self, path: str | PathLike) -> Path:
        """Write the table as .csv, the networks as .npz, or the atoms as .xyz or .extxyz.

        Parameters
        ----------
        path : path
            The suffix says which; see :func:`~medrange.aet.atoms.saving.save_result`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        atoms, networks = self.atoms, self.networks
        arrays = {
            "sizes": self.sizes,
            "network": atoms.arrays["network"],
            "lattice": np.array([network.lattice for network in networks], dtype="U3"),
            "center": np.array([network.center for network in networks], dtype=np.int64),
            "lattice_constant": np.array([network.lattice_constant for network in networks]),
            "rms_deviation": np.array([network.rms_deviation for network in networks]),
            "rotation": np.array([network.rotation for network in networks]).reshape(-1, 3, 3),
            "solutes": self.solutes,
            "positions": self.model.positions,
        }
        names = ("min_distance", "max_distance", "tolerance", "min_size")
        return save_result(
            path, table=self.table, atoms=atoms, arrays=arrays, parameters={name: getattr(self, name) for name in names}
        )

    def __repr__(self) -> str:
        kinds = [network.lattice for network in self.networks]
        counts = ", ".join(f"{name} {kinds.count(name)}" for name in LATTICES if name in kinds)
        text = f"<CrystalLikeOrder, {len(self)} networks of at least {self.min_size} solutes"
        return f"{text}{': ' * bool(counts)}{counts}, {self.fraction:.0%} of {len(self.solutes)} solutes>"


def crystal_like_order(
    atoms: ase.Atoms | AtomicModel | np.ndarray | str | PathLike,
    *,
    solute: str | np.ndarray,
    min_distance: float = 3.78,
    max_distance: float = 6.09,
    tolerance: float = 0.75,
    min_size: int = 5,
    lattices: tuple[str, ...] = LATTICES,
) -> CrystalLikeOrder:
    r"""Networks of solutes that sit on the sites of an fcc, hcp, bcc or sc lattice, each within a tolerance.

    Around each solute and for each lattice the largest patch is sought: linked sites, one solute on each with
    :math:`|x - d R s| \le` tolerance, where the central solute is the origin, s the site in units of the neighbor
    distance, and d and R the fitted distance and rotation. Of all patches the largest is kept (of equal ones that
    with the smallest rms deviation, then in the order fcc, hcp, bcc, sc), its solutes are struck from the others, of
    each of which the largest linked rest stays with its fit; and so on down to ``min_size``, [Yang2021]_ in
    references.bib.

    Parameters
    ----------
    atoms : ase.Atoms, path, AtomicModel or array
        Atoms, angstrom. A periodic box should be larger than the networks.
    solute : str or numpy.ndarray
        Chemical symbol of the solutes, or their mask or indices, for example without those in crystal nuclei.
    min_distance, max_distance : float
        Limits of the distance of neighboring solutes and of d, angstrom: the peak of the solutes' g(r) that
        crystal-like order makes. The defaults are those of one glass; measure your own.
    tolerance : float
        Largest distance of a solute from its site, angstrom.
    min_size : int
        Least solutes of a network, 3 or more.
    lattices : tuple of str
        Lattices to try.

    Returns
    -------
    CrystalLikeOrder
        The networks.

    Raises
    ------
    ValueError
        If there are fewer than ``min_size`` solutes, or if a limit or the name of a lattice is not one.

    Notes
    -----
    From the publication and its code are: the limits 3.78 and 6.09 Å (third species of that glass, atoms with
    normalized bond order below 0.5 only), tolerance 0.75 Å, networks of 5 or more, ideal c/a, the central solute
    kept on its site, sites linked at one neighbor distance, and the order in which overlapping networks are kept.

    Different here: d and R are the least-squares solution in closed form (Kabsch, Umeyama) and fitted anew with
    every solute added, there by descent in small steps and only up to seven solutes; a patch grows from each two
    neighbors of the center, nearest solute first, there all sequences are tried, so a few patches are smaller
    here; d has limits; hcp sites are the lattice's own. A patch reaches up to 8 d from its center. Crystals of many
    hundred solutes take long: leave them out of ``solute``.

    This has not been held against the published networks, and a network alone is no sign of order: the tolerance
    is wide, and random solutes form networks too. Measured with the defaults on 1360 solutes at 0.0094 per cubic
    angstrom, share of solutes in networks of at least 5, 8 and 10: points without any correlation 46, 8 and 0 %;
    17 % of the atoms of a dense packing, chosen at random, 47, 9 and 2 %; a dense packing of soft spheres in which
    every sphere is a solute (neighbors near 5 Å) 75, 57 and 45 %, the largest network 22. Most are hcp, which has the
    most ways to lay a corner. Do the same count for randomly chosen atoms of the same model and for a packing with
    the g(r) of the solutes, and read the difference.

    Examples
    --------
    >>> from ase.build import bulk
    >>> crystal = bulk("Pt", "fcc", a=6.5, cubic=True).repeat(2)
    >>> crystal.pbc = False
    >>> crystal_like_order(crystal, solute="Pt")[0]
    <LatticePatch, 32 solutes on fcc, a = 6.50 Å, rms deviation 0.00 Å, 15.2 Å long>
    """
    model = as_model(atoms)
    _check_limits(min_distance, max_distance, tolerance, min_size)
    if isinstance(lattices, str) or not lattices:
        msg = f"lattices is {lattices!r}; give a tuple with some of {', '.join(LATTICES)}."
        raise ValueError(msg)
    templates = [lattice_template(name) for name in lattices]
    solutes = _solute_indices(model, solute, min_size)
    neighbors = Neighbors(model.subset(solutes), cutoff=max_distance, min_distance=min_distance)
    limits = np.array([min_distance, max_distance, tolerance], dtype=np.float64)
    patches = [patch for template in templates for patch in _patches(neighbors, template, limits, min_size, solutes)]
    return CrystalLikeOrder(
        networks=_without_overlap(patches, min_size),
        solutes=solutes,
        min_distance=float(min_distance),
        max_distance=float(max_distance),
        tolerance=float(tolerance),
        min_size=int(min_size),
        model=model,
    )


def _check_limits(min_distance: float, max_distance: float, tolerance: float, min_size: int) -> None:
    if not 0 < min_distance < max_distance < np.inf:
        msg = (
            f"neighboring solutes are to be {min_distance!r} to {max_distance!r} Å apart; the first must be above 0 "
            "and below the second: take the borders of the peak of the solutes' g(r)."
        )
        raise ValueError(msg)
    if not 0 < tolerance < min_distance / 2:
        msg = (
            f"tolerance is {tolerance!r} Å; it must lie above 0 and below half of min_distance, "
            f"{min_distance / 2:g} Å, or a solute fits several sites; usual is 0.75."
        )
        raise ValueError(msg)
    if min_size < 3:
        msg = f"min_size is {min_size!r}; a lattice is told from 3 solutes or more, usual is 5."
        raise ValueError(msg)


def _solute_indices(model: AtomicModel, solute: str | np.ndarray, min_size: int) -> np.ndarray:
    if isinstance(solute, str):
        if solute not in model.species:
            msg = f"no atom is {solute!r}; the model has {', '.join(model.species) or 'no symbols: give a mask'}."
            raise ValueError(msg)
        solute = np.array(model.symbols) == solute
    solutes = np.unique(atom_indices(solute, len(model)))
    if len(solutes) < min_size:
        msg = f"there are {len(solutes)} solutes; a network has {min_size} or more."
        raise ValueError(msg)
    return solutes


def _patches(
    neighbors: Neighbors, template: LatticeTemplate, limits: np.ndarray, min_size: int, solutes: np.ndarray
) -> list[LatticePatch]:
    """Largest patch of one lattice around each solute, of those with the least size."""
    rows = (neighbors.offsets, neighbors.j, neighbors.vectors, neighbors.distances)
    found = []
    for start in range(0, len(solutes), _PART):
        part = (start, min(start + _PART, len(solutes)))
        grown = grow_patches(rows, template.sites, template.bonds, template.corners, limits, part)
        sizes, members, slots, positions, spacings, rotations = grown
        for own in np.flatnonzero(sizes >= min_size):
            order = np.argsort(members[own, : sizes[own]])
            found.append(
                LatticePatch(
                    lattice=template.name,
                    members=solutes[members[own, order]],
                    sites=template.sites[slots[own, order]],
                    positions=positions[own, order],
                    center=int(solutes[start + own]),
                    neighbor_distance=float(spacings[own]),
                    rotation=rotations[own].copy(),
                )
            )
    return found


def _without_overlap(patches: list[LatticePatch], min_size: int) -> tuple[LatticePatch, ...]:
    """Largest patches first, each without the solutes of those before it."""
    # A patch only shrinks, so one that is on top and untouched is the largest of all that are left.
    heap = [(*_rank(patch), k) for k, patch in enumerate(patches)]
    heapq.heapify(heap)
    taken: set[int] = set()
    kept = []
    while heap:
        k = heapq.heappop(heap)[-1]
        patch = patches[k]
        free = np.array([member not in taken for member in patch.members.tolist()])
        if free.all():
            kept.append(patch)
            taken.update(patch.members.tolist())
            continue
        patches[k] = patch = _largest_rest(patch, free)
        if len(patch) >= min_size:
            heapq.heappush(heap, (*_rank(patch), k))
    return tuple(kept)


def _rank(patch: LatticePatch) -> tuple[int, float, int]:
    """Order of patches; rounded, since a close-packed layer fits fcc and hcp alike and rounding must not choose."""
    return -len(patch), round(patch.rms_deviation, 6), LATTICES.index(patch.lattice)


def _largest_rest(patch: LatticePatch, free: np.ndarray) -> LatticePatch:
    """Largest linked part of the free members, its fit unchanged."""
    rest = np.flatnonzero(free)
    if len(rest):
        label = connected_components(cdist(patch.sites[rest], patch.sites[rest]) < 1.001, directed=False)[1]
        rest = rest[label == np.argmax(np.bincount(label))]
    return replace(patch, members=patch.members[rest], sites=patch.sites[rest], positions=patch.positions[rest])
