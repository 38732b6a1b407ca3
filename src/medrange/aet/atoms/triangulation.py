"""Delaunay triangulation of a checked model."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial import Delaunay

from medrange.aet.atoms.model import AtomicModel, as_model, check_not_coplanar

#: Atoms without which there is nothing to tessellate, where the box does not repeat.
MINIMUM = 5


def tessellated_model(atoms: AtomicModel | np.ndarray | Any) -> AtomicModel:
    """Checked model for a tessellation: at least five atoms, or a box that repeats.

    Parameters
    ----------
    atoms : ase.Atoms, path, AtomicModel or array
        Positions in angstrom, see :func:`~medrange.aet.atoms.model.as_model`.

    Returns
    -------
    AtomicModel
        The model.

    Raises
    ------
    ValueError
        If the model is refused or too small.
    """
    model = as_model(atoms, minimum=1)
    return model if model.pbc.any() else as_model(model, minimum=MINIMUM)


def delaunay(positions: np.ndarray) -> Delaunay:
    """Delaunay triangulation by Qhull.

    Parameters
    ----------
    positions : numpy.ndarray
        Shape (N, 3), angstrom.

    Returns
    -------
    scipy.spatial.Delaunay
        Of the positions from their mean, so that the place of a model does not cost digits.

    Raises
    ------
    ValueError
        If the positions lie in one plane, or if an atom is so near to another that it is no corner of any
        tetrahedron.

    Examples
    --------
    >>> delaunay(np.array([[0.0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 3]])).simplices.shape
    (1, 4)
    """
    check_not_coplanar(positions)
    triangulation = Delaunay(positions - positions.mean(axis=0))
    if len(triangulation.coplanar):
        atom, _, other = triangulation.coplanar[0]
        msg = (
            f"atom {atom} is too near to atom {other} to be told apart, one of {len(triangulation.coplanar)} such "
            "atoms; remove duplicates before the analysis."
        )
        raise ValueError(msg)
    return triangulation
