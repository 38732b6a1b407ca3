"""A volume on a finer grid, never held in memory, and its local maxima.

A tensor-product interpolant is local: a fine sample is a sum over a few coefficients per axis, two values of the volume
for linear interpolation, four B-spline coefficients for a cubic spline. So the fine grid is made plane by plane where
its maxima are sought, and 7 x 7 x 7 samples at a time where a peak is fitted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit

from medrange.working import available_cores

#: Zero planes around the fine grid: as far as a fit or a neighbor reaches beyond its border.
MARGIN = 4
#: More local maxima than this are no atoms.
MOST_MAXIMA = 5_000_000
#: Smallest extent of a volume, voxels: a cubic spline needs four values.
SMALLEST = 4
# Fine planes per task.
_PLANES = 24


@dataclass(frozen=True, eq=False)
class FineGrid:
    """Interpolant of a volume on a grid ``oversampling`` times finer, zero outside.

    Sample i of an axis lies at i / oversampling voxels, for i from ``oversampling - 1`` to
    ``oversampling (n - 1)``. The planes before the first are zero, as in [Yuan2022]_, and so are ``MARGIN`` planes
    beyond both borders.

    Attributes
    ----------
    coefficients : numpy.ndarray
        Shape (nx, ny, nz): the volume itself (linear) or its B-spline coefficients.
    starts : tuple of numpy.ndarray
        One per axis, shape (m + 2 MARGIN,): first coefficient of each fine sample.
    weights : tuple of numpy.ndarray
        One per axis, shape (m + 2 MARGIN, taps): weights of the coefficients; zero where the grid is zero.
    oversampling : int
        Fine samples per voxel.
    """

    coefficients: np.ndarray
    starts: tuple[np.ndarray, np.ndarray, np.ndarray]
    weights: tuple[np.ndarray, np.ndarray, np.ndarray]
    oversampling: int

    @classmethod
    def of(cls, volume: np.ndarray, oversampling: int, interpolation: str) -> FineGrid:
        """Fine grid of a volume [x, y, z] by ``"linear"`` or ``"spline"`` (cubic, not-a-knot) interpolation."""
        if interpolation == "linear":
            kept = np.float32 if volume.dtype == np.float32 else np.float64
            coefficients = np.ascontiguousarray(volume, dtype=kept)
            tables = [_linear_table(size, oversampling) for size in volume.shape]
        else:
            coefficients, tables = _spline_coefficients(volume, oversampling)
        padded = [_with_margin(start, weight, oversampling) for start, weight in tables]
        return cls(coefficients, tuple(p[0] for p in padded), tuple(p[1] for p in padded), oversampling)

    @property
    def fine_shape(self) -> tuple[int, int, int]:
        """Fine samples along x, y and z, without the margins."""
        return tuple(start.size - 2 * MARGIN for start in self.starts)

    def maxima(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Samples not below their six neighbors and above ``threshold``, the highest first.

        Parameters
        ----------
        threshold : float
            In units of the volume, not negative.

        Returns
        -------
        samples : numpy.ndarray
            Shape (M, 3), int32: indices on the fine grid.
        values : numpy.ndarray
            Shape (M,): interpolated intensities, descending.

        Raises
        ------
        ValueError
            If there are more than ``MOST_MAXIMA``.
        """
        n_planes = self.fine_shape[0]
        blocks = range(0, n_planes, _PLANES)

        def search(first: int) -> tuple[np.ndarray, np.ndarray]:
            last = min(first + _PLANES, n_planes)
            return _maxima_of_planes(self.coefficients, self.starts, self.weights, threshold, (first, last))

        with ThreadPoolExecutor(available_cores()) as pool:
            parts = list(pool.map(search, blocks))
        samples = np.concatenate([part[0] for part in parts])
        values = np.concatenate([part[1] for part in parts])
        if len(samples) > MOST_MAXIMA:
            msg = (
                f"the volume has {len(samples)} local maxima above {threshold:g}, at most {MOST_MAXIMA} are traced; "
                "it is flat or all noise there: raise the threshold."
            )
            raise ValueError(msg)
        # Equal heights in the order of the reference, x running fastest.
        order = np.lexsort((samples[:, 0], samples[:, 1], samples[:, 2], -values))
        return samples[order], values[order]


def _linear_table(size: int, oversampling: int) -> tuple[np.ndarray, np.ndarray]:
    """First voxel and its two weights for each fine sample of an axis."""
    sample = np.arange(oversampling * (size - 1) + 1)
    start = np.minimum(sample // oversampling, size - 2)
    fraction = (sample - start * oversampling) / oversampling
    return start, np.stack([1 - fraction, fraction], axis=1)


def _spline_coefficients(volume: np.ndarray, oversampling: int) -> tuple[np.ndarray, list]:
    """B-spline coefficients of a volume along all axes, and for each axis the four weights of a fine sample."""
    from scipy.interpolate import BSpline

    coefficients, tables = np.asarray(volume, dtype=np.float64), []
    for axis, size in enumerate(volume.shape):
        # Not-a-knot: the second and the last but one sample are no knots.
        knots = np.concatenate([np.zeros(4), np.arange(2, size - 2), np.full(4, size - 1)]).astype(np.float64)
        collocation = BSpline.design_matrix(np.arange(size, dtype=np.float64), knots, 3).toarray()
        # One dense product per axis is many times faster than a banded solution for each line.
        coefficients = np.moveaxis(np.tensordot(np.linalg.inv(collocation), coefficients, (1, axis)), 0, axis)
        sample = np.arange(oversampling * (size - 1) + 1) / oversampling
        design = BSpline.design_matrix(sample, knots, 3)
        tables.append((design.indices.reshape(-1, 4)[:, 0], design.data.reshape(-1, 4)))
    return np.ascontiguousarray(coefficients), tables


def _with_margin(start: np.ndarray, weight: np.ndarray, oversampling: int) -> tuple[np.ndarray, np.ndarray]:
    """Tables of an axis with its first planes and a margin set to zero."""
    weight = weight.copy()
    weight[: oversampling - 1] = 0
    starts = np.pad(start, MARGIN, mode="edge").astype(np.int32)
    return starts, np.pad(weight, ((MARGIN, MARGIN), (0, 0)))


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _fill_plane(coefficients, starts, weights, i, rows, out):  # noqa: ANN001, ANN202
    """Plane i (with margin) of the fine grid into ``out``; ``rows`` holds it interpolated along x alone."""
    taps = weights[0].shape[1]
    ny, nz = rows.shape
    if weights[0][i].sum() == 0:
        out[:] = 0
        return
    for y in range(ny):
        for z in range(nz):
            total = 0.0
            for t in range(taps):
                total += weights[0][i, t] * coefficients[starts[0][i] + t, y, z]
            rows[y, z] = total
    line = np.empty(nz)
    for j in range(out.shape[0]):
        line[:] = 0
        for t in range(taps):
            weight = weights[1][j, t]
            source = rows[starts[1][j] + t]
            for z in range(nz):
                line[z] += weight * source[z]
        for k in range(out.shape[1]):
            total = 0.0
            for t in range(taps):
                total += weights[2][k, t] * line[starts[2][k] + t]
            out[j, k] = total


@njit(cache=True, nogil=True)
def _maxima_of_planes(coefficients, starts, weights, threshold, planes):  # noqa: ANN001, ANN202
    """Local maxima of the fine planes first .. last - 1, from three planes held at a time."""
    my, mz = starts[1].size, starts[2].size
    rows = np.empty(coefficients.shape[1:])
    held = np.empty((3, my, mz))
    samples = np.empty((1024, 3), np.int32)
    values = np.empty(1024)
    count = 0
    for step in range(2):
        _fill_plane(coefficients, starts, weights, planes[0] + MARGIN - 1 + step, rows, held[step])
    for i in range(planes[0], planes[1]):
        turn = i - planes[0]
        below, here, above = held[turn % 3], held[(turn + 1) % 3], held[(turn + 2) % 3]
        _fill_plane(coefficients, starts, weights, i + MARGIN + 1, rows, above)
        for j in range(MARGIN, my - MARGIN):
            for k in range(MARGIN, mz - MARGIN):
                v = here[j, k]
                if not v > threshold or v < here[j, k - 1] or v < here[j, k + 1]:
                    continue
                if v < here[j - 1, k] or v < here[j + 1, k] or v < below[j, k] or v < above[j, k]:
                    continue
                if count == len(values):
                    samples = np.concatenate((samples, np.empty_like(samples)))
                    values = np.concatenate((values, np.empty_like(values)))
                samples[count, 0], samples[count, 1], samples[count, 2] = i, j - MARGIN, k - MARGIN
                values[count] = v
                count += 1
    return samples[:count], values[:count]
