"""Extent of a network of motifs, also across the borders of a periodic box."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from medrange.aet.atoms.model import AtomicModel

# Up to so many points all distances are measured; of more, those between corners of the hull.
_FEW = 500
# Bonds that close to a whole period, in cell vectors, are those of a network that meets its image.
_PERIOD = 0.5


def displacements(model: AtomicModel, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Vectors between atoms, the shortest way across periodic borders.

    Parameters
    ----------
    model : AtomicModel
        Atoms.
    start, end : numpy.ndarray
        Atom indices, of shapes that broadcast. The atoms must be nearer than half the height of the box.

    Returns
    -------
    numpy.ndarray
        Shape (..., 3), angstrom.

    Examples
    --------
    >>> model = AtomicModel(np.array([[0.5, 0, 0], [9.5, 0, 0]]), cell=np.eye(3) * 10, pbc=True)
    >>> displacements(model, 0, 1)
    array([-1.,  0.,  0.])
    """
    vectors = model.positions[end] - model.positions[start]
    if model.pbc.any():
        fractions = vectors @ np.linalg.inv(model.cell)
        vectors = vectors - np.where(model.pbc, np.round(fractions), 0.0) @ model.cell
    return vectors


def unfolded(model: AtomicModel, groups: np.ndarray) -> np.ndarray | None:
    """Positions of atoms of linked groups, put together across periodic borders.

    Parameters
    ----------
    model : AtomicModel
        Atoms in a periodic box.
    groups : numpy.ndarray
        Shape (n, k): groups of atoms near each other; the groups hang together by common atoms.

    Returns
    -------
    numpy.ndarray or None
        Shape (atoms, 3), angstrom; None where a chain of groups leads from an atom to its own image.
    """
    own, local = np.unique(groups, return_inverse=True)
    local = local.reshape(groups.shape)
    start = np.repeat(local[:, :1], groups.shape[1] - 1, axis=1).ravel()
    end = local[:, 1:].ravel()
    bonds = coo_array((np.ones(2 * len(start)), (np.append(start, end), np.append(end, start))), (len(own),) * 2)
    order, before = breadth_first_order(bonds.tocsr(), 0, directed=False)
    positions = np.zeros((len(own), 3))
    vectors = displacements(model, own[before[order[1:]]], own[order[1:]])
    for atom, vector in zip(order[1:], vectors, strict=True):
        positions[atom] = positions[before[atom]] + vector
    misfit = positions[end] - positions[start] - displacements(model, own[start], own[end])
    if (np.abs(misfit @ np.linalg.inv(model.cell)) > _PERIOD).any():
        return None
    return positions


def largest_distance(positions: np.ndarray | None) -> float:
    """Largest distance of two points.

    Parameters
    ----------
    positions : numpy.ndarray or None
        Shape (n, 3); None stands for a network without an end.

    Returns
    -------
    float
        In the unit of the positions; inf for None.

    Examples
    --------
    >>> largest_distance(np.array([[0.0, 0, 0], [3, 0, 0], [3, 4, 0]]))
    5.0
    """
    if positions is None:
        return np.inf
    if len(positions) > _FEW:
        try:
            positions = positions[ConvexHull(positions).vertices]
        except QhullError:
            # Points in a plane have no hull in three dimensions; all distances it is.
            return float(pdist(positions).max())
    return float(pdist(positions).max(initial=0.0))
