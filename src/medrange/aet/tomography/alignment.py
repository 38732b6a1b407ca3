"""Alignment of a tilt series: neighbor cross-correlation, common line along the tilt axis, center of mass across it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from medrange.aet.tomography.drift import frame_shifts


@dataclass(frozen=True)
class Alignment:
    """An aligned stack of projections, and how it was moved.

    Attributes
    ----------
    projections : numpy.ndarray
        Shape (n_tilts, nx, ny), float32, moved.
    shifts : numpy.ndarray
        By how much each was moved, pixels, (n_tilts, 2).
    history : numpy.ndarray
        Root mean square change of the shifts in each iteration, pixels.
    """

    projections: np.ndarray
    shifts: np.ndarray
    history: np.ndarray

    def __repr__(self) -> str:
        rms = np.sqrt(np.mean(self.shifts**2))
        return (
            f"<Alignment: {len(self.shifts)} projections moved by {rms:.2f} pixels rms, "
            f"last change {self.history[-1]:.3f} pixels after {len(self.history)} iterations>"
        )


def align_projections(
    projections: np.ndarray,
    *,
    tilts: np.ndarray,
    max_iterations: int = 20,
    tolerance: float = 0.01,
    cross_correlation: bool = True,
) -> Alignment:
    """Align projections of an isolated object, tilted about y, by their common features [Yuan2022]_.

    1. Neighboring tilts are registered by cross-correlation, outward from the tilt nearest to zero.
    2. Along y, the tilt axis: the sum over x of every projection is the same profile, whatever the tilt; each is
       registered to their mean.
    3. Across it: the center of mass of every projection is put on the tilt axis, column nx // 2.

    Steps 2 and 3 are repeated until nothing moves. Only an isolated object on a background of zero has a center
    of mass and a common profile: subtract the background first, and for a film give an isolated marker.

    Parameters
    ----------
    projections : numpy.ndarray
        Shape (n_tilts, nx, ny).
    tilts : numpy.ndarray
        Tilt angles theta, degrees, (n_tilts,).
    max_iterations : int
        Rounds of steps 2 and 3.
    tolerance : float
        Root mean square change of the shifts, pixels, below which the rounds end.
    cross_correlation : bool
        Whether to begin with step 1; leave it out if the projections are within a few pixels already.

    Returns
    -------
    Alignment
        The moved projections and their shifts.

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, or a projection sums to nothing.

    Examples
    --------
    >>> image = np.zeros((24, 24))
    >>> image[11:14, 11:14] = 1
    >>> moved = np.stack([image, np.roll(image, 2, axis=1)])
    >>> np.ptp(align_projections(moved, tilts=np.array([0.0, 5.0])).shifts, axis=0).round(2).tolist()
    [0.0, 2.0]
    """
    projections = np.asarray(projections, dtype=float)
    tilts = np.asarray(tilts, dtype=float)
    _check(projections, tilts)
    shifts = _neighbor_shifts(projections, tilts) if cross_correlation else np.zeros((len(projections), 2))
    # All moved alike along the axis would be a change of origin: the mean stays where it was.
    shifts[:, 1] -= shifts[:, 1].mean()
    history = []
    for _ in range(max_iterations):
        moved = moved_images(projections, shifts)
        change = np.stack([_to_center_of_mass(moved), _to_common_line(moved)], axis=1)
        shifts = shifts + change
        history.append(np.sqrt(np.mean(change**2)))
        if history[-1] < tolerance:
            break
    return Alignment(moved_images(projections, shifts).astype(np.float32), shifts, np.array(history))


def moved_images(images: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Images moved by shifts in pixels, by phases in Fourier space; zeros come in from outside.

    Parameters
    ----------
    images : numpy.ndarray
        Shape (n, nx, ny).
    shifts : numpy.ndarray
        Shape (n, 2), pixels; positive moves towards higher indices.

    Returns
    -------
    numpy.ndarray
        Shape (n, nx, ny), float64.
    """
    pad = int(np.ceil(np.abs(shifts).max())) + 8 if len(images) else 0
    moved = np.empty(np.shape(images))
    for image, shift, target in zip(images, shifts, moved, strict=True):
        padded = np.pad(np.asarray(image, dtype=float), pad)
        shape = padded.shape
        spectrum = ndimage.fourier_shift(np.fft.rfft2(padded), shift, n=shape[1])
        target[...] = np.fft.irfft2(spectrum, s=shape)[pad : shape[0] - pad, pad : shape[1] - pad]
    return moved


def _check(projections: np.ndarray, tilts: np.ndarray) -> None:
    if projections.ndim != 3 or tilts.shape != projections.shape[:1] or len(projections) < 2:
        msg = (
            f"projections has shape {projections.shape} and tilts {tilts.shape}; "
            "expected (n_tilts, nx, ny) and (n_tilts,) with at least two tilts."
        )
        raise ValueError(msg)
    if not np.isfinite(projections).all():
        msg = f"{np.count_nonzero(~np.isfinite(projections))} pixels are not finite; replace them first."
        raise ValueError(msg)
    sums = projections.sum(axis=(1, 2))
    if (sums <= 0).any():
        msg = (
            f"projection {int(np.argmax(sums <= 0))} sums to {sums.min():.4g}: an object brighter than a background "
            "of zero is needed. Subtract the background without taking the object away."
        )
        raise ValueError(msg)


def _neighbor_shifts(projections: np.ndarray, tilts: np.ndarray) -> np.ndarray:
    """Shifts that lay every projection on its neighbor in tilt, adding up outward from the smallest tilt."""
    order = np.argsort(tilts, kind="stable")
    start = int(np.abs(tilts[order]).argmin())
    shifts = np.zeros((len(projections), 2))
    for path in (order[start:], order[start::-1]):
        for inner, outer in pairwise(path):
            first, second = frame_shifts(projections[[inner, outer]], precision=0.05)
            shifts[outer] = shifts[inner] + first - second
    return shifts


def _to_center_of_mass(images: np.ndarray) -> np.ndarray:
    """Moves along x that bring each center of mass to nx // 2."""
    profiles = images.sum(axis=2)
    x = np.arange(images.shape[1])
    return images.shape[1] // 2 - profiles @ x / profiles.sum(axis=1)


def _to_common_line(images: np.ndarray) -> np.ndarray:
    """Moves along y that lay each profile along the tilt axis on the mean of all."""
    lines = images.sum(axis=1)
    lines = lines / lines.sum(axis=1, keepdims=True)
    mean = lines.mean(axis=0)
    moves = np.array(
        [phase_cross_correlation(mean, line, upsample_factor=100, normalization=None)[0][0] for line in lines]
    )
    # Moving all of them alike changes nothing that can be seen.
    return moves - moves.mean()
