"""Classes of peaks by the intensity around them: the steps behind :func:`classify_atoms`, on plain arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

# Samples of a ball lie on a grid three times finer than the voxels; half a fine sample belongs to the radius.
_FINE = 3
# Peaks whose surroundings are read at a time.
_BATCH = 1000
_MOST_ROUNDS = 100
# Rounds with the same number of flips after which local reclassification is taken to swing.
_SAME_FLIPS = 5


def ball_offsets(radius: float) -> np.ndarray:
    """Offsets (P, 3) in voxels of the samples of a ball: every third of a voxel within ``radius`` + 1/6."""
    reach = _FINE * radius + 0.5
    side = int(np.floor(reach))
    grid = np.indices((2 * side + 1,) * 3).reshape(3, -1).T - side
    return grid[(grid**2).sum(axis=1) <= reach**2 + 1e-9] / _FINE


def ball_vectors(volume: np.ndarray, voxels: np.ndarray, radius: float, order: int) -> np.ndarray:
    """Intensity of the samples in a ball around each peak.

    Parameters
    ----------
    volume : numpy.ndarray
        Shape (nx, ny, nz).
    voxels : numpy.ndarray
        Shape (N, 3): peaks, voxel indices.
    radius : float
        Voxels.
    order : int
        1: linear interpolation, 3: cubic spline. Intensity is zero outside the volume.

    Returns
    -------
    numpy.ndarray
        Shape (N, P), float32, P samples as in :func:`ball_offsets`.
    """
    offsets = ball_offsets(radius)
    data = volume.astype(np.float64)
    if order > 1:
        data = ndimage.spline_filter(data, order=order)
    vectors = np.empty((len(voxels), len(offsets)), np.float32)
    for start in range(0, len(voxels), _BATCH):
        points = voxels[start : start + _BATCH, None] + offsets
        vectors[start : start + _BATCH] = ndimage.map_coordinates(
            data, np.moveaxis(points, -1, 0), order=order, mode="constant", prefilter=False
        )
    return vectors


def k_means(values: np.ndarray, k: int) -> np.ndarray:
    """Classes 0 .. k - 1 of numbers, by rising mean: least sum of squares found by Lloyd's rule.

    Started from centers evenly spread over the range and from evenly spread quantiles; the better end is returned.

    Raises
    ------
    ValueError
        If there are fewer than k different values.
    """
    different = np.unique(values)
    if different.size < k:
        msg = f"{different.size} different intensities cannot make {k} classes; trace more peaks or lower n_species."
        raise ValueError(msg)
    share = (np.arange(k) + 0.5) / k
    starts = [different[0] + share * np.ptp(different), np.quantile(values, share), np.quantile(different, share)]
    ends = [_lloyd(values, np.asarray(start, dtype=np.float64)) for start in starts]
    complete = [end for end in ends if np.unique(end[0]).size == k]
    return min(complete or ends, key=lambda end: end[1])[0]


def _lloyd(values: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, float]:
    """Classes and sum of squares; a class that loses all its members keeps its center."""
    labels = np.full(len(values), -1)
    for _ in range(_MOST_ROUNDS):
        found = np.searchsorted((centers[1:] + centers[:-1]) / 2, values)
        if (found == labels).all():
            break
        labels = found
        counts = np.bincount(labels, minlength=centers.size)
        sums = np.bincount(labels, values, minlength=centers.size)
        centers = np.where(counts > 0, sums / np.maximum(counts, 1), centers)
    return labels, float(((values - centers[labels]) ** 2).sum())


def upper_gaussian(values: np.ndarray) -> tuple[float, float]:
    """Center and width of the upper of two normal distributions, by expectation maximization from two means."""
    upper = k_means(values, 2).astype(np.float64)
    floor = (np.ptp(values) / 100) ** 2
    for _ in range(_MOST_ROUNDS):
        share = np.stack([1 - upper, upper])
        weight = np.maximum(share.sum(axis=1), 1e-12)
        center = share @ values / weight
        variance = (share * (values - center[:, None]) ** 2).sum(axis=1) / weight + floor
        log = np.log(weight / np.sqrt(variance))[:, None] - (values - center[:, None]) ** 2 / (2 * variance[:, None])
        now = 1 / (1 + np.exp(np.clip(log[0] - log[1], -700, 700)))
        if np.abs(now - upper).max() < 1e-6:
            break
        upper = now
    top = int(np.argmax(center))
    return float(center[top]), float(np.sqrt(variance[top]))


def atoms_against_nothing(vectors: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """L1 K-means of intensity vectors with two templates, one of them zero.

    The distance of a vector v to the template t of an atom is sum|v - t| / sum v; to the zero template it is 1.

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, P).
    start : numpy.ndarray
        Bool (N,): peaks whose mean is the first template.

    Returns
    -------
    is_atom : numpy.ndarray
        Bool (N,).
    distance : numpy.ndarray
        Shape (N,): distance to the template of an atom; infinite where sum v is not positive.
    """
    total = vectors.sum(axis=1, dtype=np.float64)
    chosen, before = start, None
    distance = np.full(len(vectors), np.inf)
    for _ in range(_MOST_ROUNDS):
        template = vectors[chosen].mean(axis=0, dtype=np.float64).astype(np.float32)
        for part in _batches(len(vectors)):
            gap = np.abs(vectors[part] - template).sum(axis=1, dtype=np.float64)
            distance[part] = np.divide(gap, total[part], out=np.full(gap.size, np.inf), where=total[part] > 0)
        before, chosen = chosen, distance < 1
        if not chosen.any() or (chosen == before).all():
            break
    return chosen, distance


def distances_to(vectors: np.ndarray, templates: np.ndarray) -> np.ndarray:
    """Euclidean distances (N, k) of vectors (N, P) to templates (k, P)."""
    distances = np.empty((len(vectors), len(templates)))
    for part in _batches(len(vectors)):
        for k, template in enumerate(templates):
            distances[part, k] = np.linalg.norm(vectors[part] - template, axis=1)
    return distances


def reclassify_locally(
    vectors: np.ndarray, labels: np.ndarray, positions: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Give each atom the class whose mean vector in its neighborhood is the nearest, until nothing changes.

    The mean of a class is taken over the other atoms within ``radius``, so that an atom does not vouch for itself;
    where a class has none there, over all its atoms.

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, P).
    labels : numpy.ndarray
        Shape (N,): classes 0 .. k - 1.
    positions : numpy.ndarray
        Shape (N, 3), angstrom.
    radius : float
        Angstrom.

    Returns
    -------
    labels : numpy.ndarray
        Shape (N,).
    distances : numpy.ndarray
        Shape (N, k): Euclidean distances to the means.
    """
    k = int(labels.max()) + 1
    pairs = cKDTree(positions).sparse_distance_matrix(cKDTree(positions), radius, output_type="coo_matrix").tocsr()
    near = (pairs > 0).astype(np.float32)
    flips: list[int] = []
    for _ in range(_MOST_ROUNDS):
        distances = np.empty((len(labels), k))
        for kind in range(k):
            members = np.flatnonzero(labels == kind)
            if members.size == 0:
                distances[:, kind] = np.inf
                continue
            local = near[:, members]
            counts = np.asarray(local.sum(axis=1)).ravel()
            overall = vectors[members].mean(axis=0)
            for part in _batches(len(labels)):
                means = np.asarray(local[part] @ vectors[members]) / np.maximum(counts[part], 1)[:, None]
                means[counts[part] == 0] = overall
                distances[part, kind] = np.linalg.norm(vectors[part] - means, axis=1)
        found = distances.argmin(axis=1)
        flips.append(int((found != labels).sum()))
        labels = found
        if flips[-1] == 0 or (len(flips) >= _SAME_FLIPS and len(set(flips[-_SAME_FLIPS:])) == 1):
            break
    return labels, distances


def _batches(count: int) -> Iterator[slice]:
    for start in range(0, count, _BATCH):
        yield slice(start, start + _BATCH)
