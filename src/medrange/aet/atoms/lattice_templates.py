"""Sites of the fcc, hcp, bcc and sc lattices around one site, with their bonds and the ways to lay a corner on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from scipy.spatial import cKDTree

#: Lattices that have a template.
LATTICES = ("fcc", "hcp", "bcc", "sc")
#: Templates hold the sites up to so many neighbor distances from their center.
REACH = 8.0

# Cell vectors (rows) and basis in units of the conventional constant a; the neighbor distance in the same unit.
_CELLS = {
    "fcc": (np.eye(3), [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], np.sqrt(0.5)),
    "hcp": (
        np.array([[1, 0, 0], [0.5, np.sqrt(0.75), 0], [0, 0, np.sqrt(8 / 3)]]),
        [[0, 0, 0], [0.5, np.sqrt(1 / 12), np.sqrt(2 / 3)]],
        1.0,
    ),
    "bcc": (np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5]], np.sqrt(0.75)),
    "sc": (np.eye(3), [[0, 0, 0]], 1.0),
}


@dataclass(frozen=True, eq=False)
class LatticeTemplate:
    """Sites of a lattice around one of them, in units of the distance of nearest neighbors.

    Attributes
    ----------
    name : str
        ``"fcc"``, ``"hcp"`` (ideal c/a), ``"bcc"`` or ``"sc"``.
    sites : numpy.ndarray
        Shape (n, 3); the center is site 0.
    bonds : numpy.ndarray
        Shape (n, coordination), int64: nearest neighbors of each site, -1 beyond the border.
    corners : numpy.ndarray
        Shape (m, 2), int64: pairs of neighbors of the center, not in line with it; one of each class of ordered
        pairs that rotations of the lattice about its center turn into each other.
    constant : float
        Conventional lattice constant a, in units of the distance of nearest neighbors.
    """

    name: str
    sites: np.ndarray
    bonds: np.ndarray
    corners: np.ndarray
    constant: float


@cache
def lattice_template(name: str) -> LatticeTemplate:
    """Template of a lattice.

    Parameters
    ----------
    name : str
        ``"fcc"``, ``"hcp"``, ``"bcc"`` or ``"sc"``.

    Returns
    -------
    LatticeTemplate
        Sites up to 8 neighbor distances from the center.

    Raises
    ------
    ValueError
        If there is no such template.

    Examples
    --------
    >>> [lattice_template(name).bonds.shape[1] for name in LATTICES]
    [12, 12, 8, 6]
    """
    if name not in LATTICES:
        msg = f"lattice {name!r} has no template; use some of {', '.join(LATTICES)}."
        raise ValueError(msg)
    cell, basis, neighbor = _CELLS[name]
    # No lattice plane lies closer than half the constant: so many cells reach the border in each direction.
    count = int(np.ceil(2 * REACH * neighbor)) + 1
    cells = np.stack(np.meshgrid(*[np.arange(-count, count + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    sites = ((cells @ cell) + np.array(basis)).reshape(-1, 3) / neighbor
    radius = np.linalg.norm(sites, axis=1)
    order = np.argsort(radius, kind="stable")
    sites = sites[order[radius[order] <= REACH + 1e-6]]
    tree = cKDTree(sites)
    coordination = len(tree.query_ball_point(sites[0], 1.001)) - 1
    bonds = np.full((len(sites), coordination), -1)
    for site, near in enumerate(tree.query_ball_point(sites, 1.001)):
        others = sorted(set(near) - {site})
        bonds[site, : len(others)] = others
    return LatticeTemplate(name, sites, bonds, _corners(sites, bonds[0]), 1 / neighbor)


def _corners(sites: np.ndarray, shell: np.ndarray) -> np.ndarray:
    """One ordered pair of neighbors of each class under the rotations of the lattice about its center."""
    near = sites[np.linalg.norm(sites, axis=1) < 2.1]
    tree = cKDTree(near)
    pairs = [pair for pair in permutations(shell.tolist(), 2) if abs(sites[pair[0]] @ sites[pair[1]]) < 0.99]
    found: list[tuple[int, int]] = []
    for pair in pairs:
        frame = _frame(sites, pair)
        for known in found:
            rotation = frame @ np.linalg.inv(_frame(sites, known))
            if np.allclose(rotation @ rotation.T, np.eye(3)) and tree.query(near @ rotation.T)[0].max() < 1e-6:
                break
        else:
            found.append(pair)
    return np.array(found)


def _frame(sites: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    """Two vectors and their cross product, as columns."""
    first, second = sites[pair[0]], sites[pair[1]]
    return np.stack([first, second, np.cross(first, second)], axis=1)
