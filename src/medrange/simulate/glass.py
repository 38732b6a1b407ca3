"""Slabs of random dense packing with planted ordered clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from medrange.simulate.clusters import Cluster, cluster_positions

_RELAXATION_STEPS = 200


def glass_with_clusters(
    size: tuple[float, float, float],
    *,
    clusters: Sequence[Cluster] = (),
    element: str = "Zr",
    min_distance: float = 3.0,
    density: float = 0.0425,
    seed: int | np.random.Generator = 0,
) -> Atoms:
    """Slab of soft-sphere random dense packing with ordered clusters in it.

    Random points are pushed apart until no two are closer than their mean diameter; diameters scatter by 5 %
    about ``min_distance`` so that the packing does not crystallize. Cluster atoms stay where they are and
    points inside a cluster are removed. The first maximum of g(r) then lies at ``min_distance``. Dense random
    packing as a model of a glass: see [Bernal1960]_ in references.bib.

    Parameters
    ----------
    size : tuple of float
        Lengths (x, y, z) of the slab in angstrom; z is the beam. Periodic in x and y, free surfaces in z.
    clusters : sequence of Cluster
        Clusters to plant; they must lie inside the slab in z and not touch one another.
    element : str
        Chemical symbol of every atom.
    min_distance : float
        Mean diameter of the soft spheres, in angstrom.
    density : float
        Number density of the matrix in atoms per cubic angstrom. The packing fraction ``pi/6 density
        min_distance^3`` must stay below 0.64 (random close packing).
    seed : int or numpy.random.Generator
        Source of random numbers; the same seed gives the same slab.

    Returns
    -------
    ase.Atoms
        Positions in angstrom; ``arrays["cluster"]`` holds the index of the atom's cluster in ``clusters``, or
        -1 in the matrix.

    Raises
    ------
    ValueError
        If the packing is too dense, a cluster leaves the slab, or two clusters touch.

    Examples
    --------
    >>> cluster = Cluster("bcc<100>", (15.0, 15.0, 12.0), 14.0)
    >>> atoms = glass_with_clusters((30.0, 30.0, 24.0), clusters=[cluster], seed=1)
    >>> int((atoms.arrays["cluster"] == 0).sum())
    59
    """
    box = np.asarray(size, float)
    _check(box, clusters, min_distance, density)
    generator = np.random.default_rng(seed)
    planted = [cluster_positions(cluster) for cluster in clusters]
    fixed = np.concatenate(planted) if planted else np.empty((0, 3))
    labels = np.repeat(np.arange(len(planted)), [len(points) for points in planted])
    fixed[:, :2] %= box[:2]
    points = generator.random((round(density * float(np.prod(box))), 3)) * box
    points = points[_outside(points, clusters, box)]
    diameters = min_distance * (1 + 0.05 * np.clip(generator.standard_normal(len(points)), -2, 2))
    diameters = np.concatenate((diameters, np.full(len(fixed), min_distance)))
    points = _relax(points, fixed, box, diameters)
    if len(fixed):
        # The relaxation leaves a few atoms squeezed against a cluster.
        gap = cKDTree(_wrapped(fixed, box), boxsize=_periods(box)).query(points)[0]
        points = points[gap >= 0.8 * min_distance]
    atoms = Atoms(
        [element] * (len(points) + len(fixed)),
        np.concatenate((points, fixed)),
        cell=box,
        pbc=(True, True, False),
    )
    atoms.set_array("cluster", np.concatenate((np.full(len(points), -1), labels)).astype(int))
    return atoms


def _check(box: np.ndarray, clusters: Sequence[Cluster], min_distance: float, density: float) -> None:
    fraction = np.pi / 6 * density * min_distance**3
    if not 0 < fraction < 0.64:
        msg = (
            f"packing fraction pi/6 * density * min_distance^3 is {fraction:.3f}; it must lie between 0 and 0.64: "
            "lower density or min_distance."
        )
        raise ValueError(msg)
    for index, cluster in enumerate(clusters):
        if abs(cluster.position[2] - box[2] / 2) + cluster.diameter / 2 > box[2] / 2:
            msg = (
                f"cluster {index} at z = {cluster.position[2]:g} with diameter {cluster.diameter:g} angstrom "
                f"leaves the slab of thickness {box[2]:g}: move it or make the slab thicker."
            )
            raise ValueError(msg)
        for other in clusters[:index]:
            offset = np.subtract(cluster.position, other.position)
            offset[:2] -= box[:2] * np.round(offset[:2] / box[:2])
            if np.sqrt(np.sum(offset**2)) < (cluster.diameter + other.diameter) / 2 + min_distance:
                msg = f"cluster {index} touches cluster {clusters.index(other)}: keep them min_distance apart."
                raise ValueError(msg)


def _outside(points: np.ndarray, clusters: Sequence[Cluster], box: np.ndarray) -> np.ndarray:
    """Points in no cluster; the shell of half an atom spacing belongs to the cluster's own atoms."""
    keep = np.ones(len(points), bool)
    for cluster in clusters:
        offset = points - np.asarray(cluster.position)
        offset[:, :2] -= box[:2] * np.round(offset[:, :2] / box[:2])
        keep &= np.sum(offset**2, axis=1) > (cluster.diameter / 2 + cluster.spacing / 2) ** 2
    return keep


def _periods(box: np.ndarray) -> np.ndarray:
    """Period of the neighbor search; the gap in z keeps the two surfaces apart."""
    return box + np.array([0.0, 0.0, 20.0])


def _wrapped(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    wrapped = points.copy()
    wrapped[:, :2] %= box[:2]
    # A negative remainder of one rounding step gives exactly the period, which the tree refuses.
    wrapped[:, :2] = np.where(wrapped[:, :2] >= box[:2], 0.0, wrapped[:, :2])
    return wrapped


def _relax(points: np.ndarray, fixed: np.ndarray, box: np.ndarray, diameters: np.ndarray) -> np.ndarray:
    """Push overlapping pairs apart, half the overlap per atom; fixed atoms do not move."""
    count = len(points)
    for _ in range(_RELAXATION_STEPS):
        every = _wrapped(np.concatenate((points, fixed)), box)
        points = every[:count]
        tree = cKDTree(every, boxsize=_periods(box))
        pairs = tree.query_pairs(diameters.max(), output_type="ndarray")
        pairs = pairs[np.any(pairs < count, axis=1)]
        offset = every[pairs[:, 1]] - every[pairs[:, 0]]
        offset[:, :2] -= box[:2] * np.round(offset[:, :2] / box[:2])
        distance = np.sqrt(np.sum(offset**2, axis=1))
        overlap = np.maximum(diameters[pairs].mean(axis=1) - distance, 0.0)
        push = offset * (overlap / np.maximum(distance, 1e-3) / 2)[:, None]
        for axis in range(3):
            shift = np.bincount(pairs[:, 1], push[:, axis], len(every))
            shift -= np.bincount(pairs[:, 0], push[:, axis], len(every))
            points[:, axis] += shift[:count]
        points[:, 2] = np.clip(points[:, 2], 0.0, box[2])
    return _wrapped(points, box)
