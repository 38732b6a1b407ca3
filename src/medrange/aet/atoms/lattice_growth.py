"""Growth of lattice patches from atoms: sites are filled one by one while every atom stays near its site."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _fit(members: np.ndarray, sites: np.ndarray, n: int, rotation: np.ndarray) -> float:
    """Neighbor distance d and rotation R (written) of least squares |x - d R s|, the center kept; Kabsch, Umeyama."""
    covariance = np.zeros((3, 3))
    norm = 0.0
    for m in range(n):
        for a in range(3):
            norm += sites[m, a] ** 2
            for b in range(3):
                covariance[a, b] += members[m, a] * sites[m, b]
    left, scales, right = np.linalg.svd(covariance)
    if np.linalg.det(left) * np.linalg.det(right) < 0:
        left[:, 2] *= -1
        scales[2] *= -1
    for a in range(3):
        for b in range(3):
            rotation[a, b] = left[a, 0] * right[0, b] + left[a, 1] * right[1, b] + left[a, 2] * right[2, b]
    return scales.sum() / norm


@njit(cache=True, nogil=True)
def _squared_deviation(x: np.ndarray, site: np.ndarray, spacing: float, rotation: np.ndarray) -> float:
    """Square of |x - d R s|."""
    square = 0.0
    for a in range(3):
        at = rotation[a, 0] * site[0] + rotation[a, 1] * site[1] + rotation[a, 2] * site[2]
        square += (x[a] - spacing * at) ** 2
    return square


@njit(cache=True, nogil=True)
def _accepted(xyz: np.ndarray, at: np.ndarray, n: int, limits: np.ndarray, rotation: np.ndarray) -> tuple[float, float]:
    """Refit: neighbor distance (0 where a limit is broken) and sum of squared deviations."""
    spacing = _fit(xyz, at, n, rotation)
    total = 0.0
    if not limits[0] <= spacing <= limits[1]:
        return 0.0, total
    for m in range(n):
        square = _squared_deviation(xyz[m], at[m], spacing, rotation)
        if square > limits[2] ** 2:
            return 0.0, total
        total += square
    return spacing, total


@njit(cache=True, nogil=True)
def _next(
    rows: tuple, template: tuple, state: tuple, fit: tuple, refused: np.ndarray, n_refused: int
) -> tuple[int, int, int]:
    """Member, row of its neighbors and free site of the atom nearest to a site beside the patch; -1 if none."""
    offsets, partners, vectors, _ = rows
    sites, bonds = template
    atoms, slots, xyz, n, in_patch, filled = state
    spacing, rotation, tolerance = fit
    best, best_member, best_row, best_site = tolerance**2, -1, -1, -1
    x = np.empty(3)
    for m in range(n):
        for bond in range(bonds.shape[1]):
            site = bonds[slots[m], bond]
            if site < 0 or filled[site]:
                continue
            for row in range(offsets[atoms[m]], offsets[atoms[m] + 1]):
                if in_patch[partners[row]]:
                    continue
                for a in range(3):
                    x[a] = xyz[m, a] + vectors[row, a]
                square = _squared_deviation(x, sites[site], spacing, rotation)
                if square > best:
                    continue
                known = False
                for r in range(n_refused):
                    if refused[r, 0] == partners[row] and refused[r, 1] == site:
                        known = True
                        break
                if not known:
                    best, best_member, best_row, best_site = square, m, row, site
    return best_member, best_row, best_site


@njit(cache=True, nogil=True)
def _grow(
    rows: tuple, template: tuple, limits: np.ndarray, buffers: tuple, rotation: np.ndarray
) -> tuple[int, float, float]:
    """Fill free sites, the nearest atom first, until none is left: members, distance, sum of squared deviations."""
    _, partners, vectors, _ = rows
    sites = template[0]
    atoms, slots, xyz, at, in_patch, filled = buffers
    trial = np.empty((3, 3))
    refused, n_refused = np.empty((64, 2), np.int64), 0
    n = 3
    spacing, total = _accepted(xyz, at, n, limits, rotation)
    if spacing == 0.0:
        return 0, 0.0, 0.0
    for m in range(n):
        in_patch[atoms[m]] = True
        filled[slots[m]] = True
    while n < len(atoms):
        state = (atoms, slots, xyz, n, in_patch, filled)
        member, row, site = _next(rows, template, state, (spacing, rotation, limits[2]), refused, n_refused)
        if row < 0:
            break
        xyz[n] = xyz[member] + vectors[row]
        at[n] = sites[site]
        new, new_total = _accepted(xyz, at, n + 1, limits, trial)
        if new > 0.0:
            atoms[n], slots[n] = partners[row], site
            in_patch[partners[row]], filled[site] = True, True
            spacing, total = new, new_total
            rotation[:] = trial
            n += 1
        else:
            if n_refused == len(refused):
                refused = np.concatenate((refused, np.empty_like(refused)))
            refused[n_refused, 0], refused[n_refused, 1] = partners[row], site
            n_refused += 1
    for m in range(n):
        in_patch[atoms[m]] = False
        filled[slots[m]] = False
    return n, spacing, total


@njit(cache=True, nogil=True)
def grow_patches(
    rows: tuple, sites: np.ndarray, bonds: np.ndarray, corners: np.ndarray, limits: np.ndarray, part: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Largest patch of a lattice around each atom of a part, with that atom on a site.

    From each two neighbors of the atom, laid on each corner of the template, a patch grows: the free site beside
    it with the nearest atom is filled, distance d and rotation R are fitted anew, and the atom is refused if any
    member then lies farther than the tolerance from its site.

    Parameters
    ----------
    rows : tuple of numpy.ndarray
        Offsets, partners, vectors and distances of a :class:`~medrange.aet.atoms.neighbors.Neighbors`.
    sites, bonds, corners : numpy.ndarray
        Of a :class:`~medrange.aet.atoms.lattice_templates.LatticeTemplate`.
    limits : numpy.ndarray
        Least and largest neighbor distance, tolerance, angstrom.
    part : tuple of int
        First of the N central atoms, and the one after the last.

    Returns
    -------
    sizes : numpy.ndarray
        Shape (N,), members of the patch; 0 where no three atoms fit.
    members, slots : numpy.ndarray
        Shape (N, largest), atoms and their sites; -1 beyond the size.
    positions : numpy.ndarray
        Shape (N, largest, 3), angstrom from the central atom, put together across periodic borders.
    spacings, rotations : numpy.ndarray
        Shape (N,) and (N, 3, 3): d in angstrom, and R.
    """
    offsets, partners, vectors, _ = rows
    n_atoms, start, count = len(offsets) - 1, part[0], part[1] - part[0]
    most = min(n_atoms, len(sites))
    buffers = (
        np.zeros(most, np.int64), np.zeros(most, np.int64), np.zeros((most, 3)), np.zeros((most, 3)),
        np.zeros(n_atoms, np.bool_), np.zeros(len(sites), np.bool_),
    )  # fmt: skip
    atoms, slots, xyz, at = buffers[:4]
    sizes, spacings, rotations = np.zeros(count, np.int64), np.zeros(count), np.zeros((count, 3, 3))
    members, places = np.full((count, most), -1), np.full((count, most), -1)
    positions = np.zeros((count, most, 3))
    rotation = np.empty((3, 3))
    for i in range(start, part[1]):
        own = i - start
        least = np.inf
        for first in range(offsets[i], offsets[i + 1]):
            for second in range(first + 1, offsets[i + 1]):
                j, k = partners[first], partners[second]
                if i in (j, k) or j == k:
                    continue
                for corner in range(len(corners)):
                    atoms[0], atoms[1], atoms[2] = i, j, k
                    slots[0], slots[1], slots[2] = 0, corners[corner, 0], corners[corner, 1]
                    for m in range(3):
                        at[m] = sites[slots[m]]
                    xyz[0], xyz[1], xyz[2] = 0.0, vectors[first], vectors[second]
                    n, spacing, total = _grow(rows, (sites, bonds), limits, buffers, rotation)
                    if n == 0 or n < sizes[own] or (n == sizes[own] and total >= least - 1e-9):
                        continue
                    least, sizes[own], spacings[own] = total, n, spacing
                    rotations[own] = rotation
                    members[own, :n], places[own, :n], positions[own, :n] = atoms[:n], slots[:n], xyz[:n]
    return sizes, members, places, positions, spacings, rotations
