"""Normalized variance V(k) of fluctuation microscopy: sums over the scan, V(k) and its shot noise from them.

Four methods, see [Daulton2010]_ in references.bib. Everything a method needs of a scan is a sum over its
positions: of the rings' moments, which are few, in the order of the scan; of detector pixels in pairs of doubles
(:mod:`medrange.kernels.paired`), which add up to the same in any order.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.lanes import FAST, LANES, flat_frames, full_blocks, load, spread, store
from medrange.kernels.paired import add_pair, normalized, paired_sum, product_pair
from medrange.kernels.pixel_sums import pixel_variance
from medrange.kernels.polar import polar_operator
from medrange.kernels.rows import lanes_for, read_block, sparse_rows
from medrange.kernels.shifted import shifted_moments
from medrange.kernels.shifted_rows import polar_rows

#: Variance of the annular means; mean of the variances within the rings; variance over all pixels of a ring
#: and all positions; annular mean of the variance image.
METHODS = ("annular_mean", "ring_mean", "ring_ensemble", "variance_image")
#: Columns of the ring moments.
MEAN, VARIANCE, SHOT = 0, 1, 2

# Bytes of the table of how often a resampled scan holds each position.
_TABLE_BYTES = 64 * 2**20


@lru_cache(maxsize=16)
def _ring_rows(geometry: DiffractionGeometry, grid: PolarGrid) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Sparse rows of the rings in double precision, and the sum of the squared weights of each."""
    operator = polar_operator(geometry, grid)
    n_pixels = geometry.shape[0] * geometry.shape[1]
    rows = sparse_rows(operator.pixels, operator.indptr, operator.columns, operator.weights, n_pixels)
    return rows, ring_sums(operator.weights**2, geometry, grid)


def ring_sums(values: np.ndarray, geometry: DiffractionGeometry, grid: PolarGrid) -> np.ndarray:
    """Sum over each ring of one value per overlap of a pixel with a ring, in the operator's order: (n_k,)."""
    return np.bincount(_ring_numbers(geometry, grid), weights=values, minlength=grid.n_k).astype(float)


def _ring_numbers(geometry: DiffractionGeometry, grid: PolarGrid) -> np.ndarray:
    if grid.n_phi != 1:
        msg = f"n_phi is {grid.n_phi}; V(k) is made of whole rings, n_phi = 1."
        raise ValueError(msg)
    return np.repeat(np.arange(grid.n_k), np.diff(polar_operator(geometry, grid).indptr))


@njit(nogil=True, fastmath=FAST, cache=True)
def _moments(frames: np.ndarray, rows: tuple, squares: np.ndarray, lanes: np.ndarray, out: np.ndarray) -> None:
    starts, indptr, columns, weights = rows
    work = np.empty((3, LANES))
    for first in range(0, frames.shape[0], LANES):
        read_block(frames, first, starts, lanes)
        for ring in range(squares.size):
            begin, end = indptr[ring], indptr[ring + 1]
            if begin == end:
                out[first : first + LANES, ring, :] = np.nan
                continue
            # Deviations from one of the ring's own pixels: their squares lose no digits.
            origin = load(lanes, columns[begin])
            total, square, shot = spread(0.0), spread(0.0), spread(0.0)
            for j in range(begin, end):
                weight = spread(weights[j])
                deviation = load(lanes, columns[j]) - origin
                weighted = deviation * weight
                total = total + weighted
                square = square + weighted * deviation
                shot = shot + weighted * weight
            store(work, 0, origin + total)
            store(work, 1, square - total * total)
            store(work, 2, shot + origin * spread(squares[ring]))
            for lane in range(LANES):
                for i in range(3):
                    out[first + lane, ring, i] = work[i, lane]


@njit(nogil=True, fastmath=FAST, cache=True)
def _ring_influence(
    frames: np.ndarray, rows: tuple, inverse: np.ndarray, slope: np.ndarray, lanes: np.ndarray, out: np.ndarray
) -> None:
    starts, indptr, columns, weights = rows
    work = np.empty((1, LANES))
    for first in range(0, frames.shape[0], LANES):
        read_block(frames, first, starts, lanes)
        for ring in range(out.shape[1]):
            total = spread(0.0)
            for j in range(indptr[ring], indptr[ring + 1]):
                z = load(lanes, columns[j]) * spread(inverse[j]) - spread(1.0)
                total = total + spread(weights[j]) * z * (z + spread(slope[j]))
            store(work, 0, total)
            for lane in range(LANES):
                out[first + lane, ring] = work[0, lane]


def ring_moments(
    frames: np.ndarray, geometry: DiffractionGeometry, grid: PolarGrid, *, shifts: np.ndarray | None = None
) -> np.ndarray:
    """Mean, variance and shot-noise sum of every ring of every pattern, in one pass over the pixels.

    With w_i the area of pixel i in the ring over the ring's area: mean ``sum(w I)``, variance
    ``sum(w I^2) - mean^2`` and ``sum(w^2 I)``, which times the gain is the shot-noise variance of the mean.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n, rows, cols), any integer or floating type and byte order; never changed.
    geometry : DiffractionGeometry
        Center, scale, ellipse and mask of the patterns.
    grid : PolarGrid
        Whole rings, n_phi = 1.
    shifts : numpy.ndarray, optional
        Shape (n, 2): how far each pattern's center lies from the geometry's, rows and columns, in pixels.

    Returns
    -------
    numpy.ndarray
        Shape (n, n_k, 3), float64, in data units, their square, and data units; NaN for a ring without an
        open pixel.

    Raises
    ------
    ValueError
        If the grid has azimuthal bins.

    Examples
    --------
    >>> geometry = DiffractionGeometry((32, 32), (15.5, 15.5), 0.1, "1/nm")
    >>> ring_moments(np.full((1, 32, 32), 7), geometry, PolarGrid(1.0, 1.2, 1, 1))[0, 0, :2]
    array([7., 0.])
    """
    rows, squares = _ring_rows(geometry, grid)
    if shifts is not None:
        return shifted_moments(frames, shifts, polar_rows(geometry, grid, np.float64), geometry.mask)
    return _by_blocks(frames, (grid.n_k, 3), lambda block, out: _moments(block, rows, squares, lanes_for(rows), out))


def _by_blocks(frames: np.ndarray, shape: tuple[int, ...], function: object) -> np.ndarray:
    """Results of a kernel that takes whole blocks of 16 frames."""
    flat = flat_frames(frames)
    out = np.empty((len(flat), *shape))
    start = 0
    for block, count in full_blocks(flat):
        piece = np.empty((len(block), *shape))
        function(block, piece)
        out[start : start + count] = piece[:count]
        start += count
    return out


def position_terms(moments: np.ndarray, reference: np.ndarray, method: str) -> np.ndarray:
    """What each position adds to the sums behind V(k), for the methods made of rings.

    Parameters
    ----------
    moments : numpy.ndarray
        Shape (n, n_k, 3), from :func:`ring_moments`.
    reference : numpy.ndarray
        Shape (n_k,): about the mean of each ring, the same for all parts of a scan.
    method : str
        ``"annular_mean"``, ``"ring_mean"`` or ``"ring_ensemble"``.

    Returns
    -------
    numpy.ndarray
        Shape (n, n_k, 4), or 3 for ``"ring_mean"``; the mean over positions goes into :func:`ring_curves`.

    Examples
    --------
    >>> position_terms(np.array([[[2.0, 4.0, 0.5]]]), np.zeros(1), "ring_mean")
    array([[[1.   , 0.375, 1.   ]]])
    """
    mean, variance, shot = np.moveaxis(moments, -1, 0)
    if method == "ring_mean":
        # Without intensity there is no V: such a ring does not count at this position.
        counts = ~(mean <= 0)
        squared = np.where(counts, mean * mean, 1.0)
        terms = (variance / squared, (mean - shot) / squared, np.ones_like(mean))
        return np.stack([np.where(counts, term, 0.0) for term in terms], axis=-1)
    deviation = mean - reference
    return np.stack([deviation, deviation * deviation, variance, shot], axis=-1)


def term_sums(moments: np.ndarray, method: str) -> np.ndarray:
    """Sums over positions of :func:`position_terms` about zero, in pairs: no digit is lost, in whatever parts.

    Parameters
    ----------
    moments : numpy.ndarray
        Shape (n, n_k, 3), from :func:`ring_moments`.
    method : str
        ``"annular_mean"``, ``"ring_mean"`` or ``"ring_ensemble"``.

    Returns
    -------
    numpy.ndarray
        Shape (2, n_k, 4), or 3 for ``"ring_mean"``: the sums, and what rounding left over; those of the parts of a
        scan are added by :func:`medrange.kernels.paired.merged`.

    Examples
    --------
    >>> term_sums(np.array([[[2.0, 4.0, 0.5]], [[3.0, 1.0, 0.5]]]), "annular_mean")[0]
    array([[ 5., 13.,  5.,  1.]])
    """
    sums = paired_sum(position_terms(moments, np.zeros(moments.shape[1]), method))
    if method != "ring_mean":
        mean = moments[..., MEAN]
        add_pair(sums[..., 1], paired_sum(product_pair(mean, mean)[1]))
    return normalized(sums)


def mean_terms(sums: np.ndarray, n: int, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean terms of ``n`` positions and their reference, for :func:`ring_curves`, from :func:`term_sums`.

    Examples
    --------
    >>> terms, reference = mean_terms(np.array([[[5.0, 13, 5, 1]], [[0.0, 0, 0, 0]]]), 2, "annular_mean")
    >>> terms, reference
    (array([[0.  , 0.25, 2.5 , 0.5 ]]), array([2.5]))
    """
    if method == "ring_mean":
        return sums[0] / n, np.zeros(sums.shape[1])
    variance, mean = pixel_variance(np.moveaxis(sums[..., :2], -1, 1), n)
    return np.stack([np.zeros_like(mean), variance, sums[0, :, 2] / n, sums[0, :, 3] / n], axis=-1), mean


def ring_curves(terms: np.ndarray, reference: np.ndarray, n: int, method: str) -> tuple[np.ndarray, np.ndarray]:
    """V(k) and its shot-noise part per unit gain, from the mean terms of ``n`` positions.

    Parameters
    ----------
    terms : numpy.ndarray
        Shape (..., n_k, 4 or 3): mean over the positions of :func:`position_terms`.
    reference : numpy.ndarray
        Shape (n_k,), as it was given there.
    n : int
        Number of positions.
    method : str
        As it was given there.

    Returns
    -------
    raw, shot : numpy.ndarray
        Shape (..., n_k): V(k), and the value of V(k) to expect from independent electrons alone, to be
        multiplied by the gain. NaN where a ring has no open pixel or no intensity.

    Examples
    --------
    >>> ring_curves(np.array([[0.0, 4.0, 5.0, 0.2]]), np.array([10.0]), 100, "annular_mean")[0]
    array([0.04])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if method == "ring_mean":
            ratio, shot, counts = np.moveaxis(terms, -1, 0)
            return np.where(counts > 0, ratio / counts, np.nan), np.where(counts > 0, shot / counts, np.nan)
        deviation, square, within, shot = np.moveaxis(terms, -1, 0)
        mean = reference + deviation
        squared = np.where(mean > 0, mean * mean, np.nan)
        between = np.maximum(square - deviation * deviation, 0.0)
        if method == "annular_mean":
            # n positions lose one degree of freedom to their mean.
            return between / squared, (1 - 1 / n) * shot / squared
        return (within + between) / squared, (mean - shot / n) / squared


def variance_image(sums: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """V of every detector pixel over ``n`` positions, and the mean pattern, from :func:`pixel_sums`.

    Returns
    -------
    variance, mean : numpy.ndarray
        Shape (rows, cols): ``<I^2>/<I>^2 - 1``, NaN where the mean is not positive; ``<I>`` in data units.

    Examples
    --------
    >>> from medrange.kernels.pixel_sums import pixel_sums
    >>> variance, mean = variance_image(pixel_sums(np.array([1, 3])[:, None, None] * np.ones((4, 4))), 2)
    >>> float(variance[0, 0]), float(mean[0, 0])
    (0.25, 2.0)
    """
    variance, mean = pixel_variance(sums, n)
    return variance / np.where(mean > 0, mean * mean, np.nan), mean


def image_curves(
    sums: np.ndarray, n: int, geometry: DiffractionGeometry, grid: PolarGrid
) -> tuple[np.ndarray, np.ndarray]:
    """Annular means of the variance image and of its shot-noise part per unit gain.

    Parameters
    ----------
    sums, n
        As in :func:`variance_image`.
    geometry : DiffractionGeometry
        Center, scale, ellipse and mask of the patterns.
    grid : PolarGrid
        Whole rings, n_phi = 1.

    Returns
    -------
    raw, shot : numpy.ndarray
        Shape (n_k,). Pixels that never saw an electron have no V and are left out; NaN where none is left.

    Examples
    --------
    >>> from medrange.kernels.pixel_sums import pixel_sums
    >>> geometry = DiffractionGeometry((32, 32), (15.5, 15.5), 0.1, "1/nm")
    >>> frames = np.array([1, 3])[:, None, None] * np.ones((32, 32))
    >>> image_curves(pixel_sums(frames), 2, geometry, PolarGrid(1.0, 1.2, 1, 1))[0]
    array([0.25])
    """
    variance, mean, weights = _overlap_variance(sums, n, geometry, grid)
    shot = np.divide(1 - 1 / n, mean, where=weights > 0, out=np.zeros_like(mean))
    total = ring_sums(weights, geometry, grid)
    total[total == 0] = np.nan
    return tuple(ring_sums(weights * np.where(weights > 0, v, 0), geometry, grid) / total for v in (variance, shot))


def image_influence(
    frames: np.ndarray,
    sums: np.ndarray,
    n: int,
    geometry: DiffractionGeometry,
    grid: PolarGrid,
    gain: float | None,
) -> np.ndarray:
    """What each position does to the annular mean of the variance image, to first order.

    The mean over resampled positions of these numbers, added to V(k), is V(k) of the resampled scan, as the
    derivative tells it. With ``z = I/<I> - 1`` it is the annular mean of ``z^2 - V - (2 V - noise) z``, less
    what does not depend on the position.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (m, rows, cols): some of the n patterns.
    sums, n, geometry, grid
        As in :func:`image_curves`.
    gain : float or None
        Data units per electron, for the influence on the corrected V(k); None for the raw one.

    Returns
    -------
    numpy.ndarray
        Shape (m, n_k), NaN where V(k) is.

    Examples
    --------
    >>> from medrange.kernels.pixel_sums import pixel_sums
    >>> geometry = DiffractionGeometry((32, 32), (15.5, 15.5), 0.1, "1/nm")
    >>> frames = np.array([1, 3])[:, None, None] * np.ones((32, 32))
    >>> scan = (pixel_sums(frames), 2, geometry, PolarGrid(1.0, 1.2, 1, 1))
    >>> image_influence(frames, *scan, None).ravel()
    array([0.5, 0. ])
    """
    variance, mean, weights = _overlap_variance(sums, n, geometry, grid)
    inside = weights > 0
    total = ring_sums(weights, geometry, grid)
    total[total == 0] = np.nan
    rows, _ = _ring_rows(geometry, grid)
    rows = (*rows[:3], weights / total[_ring_numbers(geometry, grid)])
    rows[3][~inside] = 0.0
    inverse = np.divide(1.0, mean, where=inside, out=np.zeros_like(mean))
    slope = (0.0 if gain is None else gain * (1 - 1 / n) * inverse) - 2 * np.where(inside, variance, 0.0)
    result = _by_blocks(
        frames, (grid.n_k,), lambda block, out: _ring_influence(block, rows, inverse, slope, lanes_for(rows), out)
    )
    result[:, np.isnan(total)] = np.nan
    return result


def _overlap_variance(
    sums: np.ndarray, n: int, geometry: DiffractionGeometry, grid: PolarGrid
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """V, mean and weight of every overlap of a pixel with a ring; weight 0 where the mean is not positive."""
    operator = polar_operator(geometry, grid)
    variance, mean = (a.ravel()[operator.pixels][operator.columns] for a in variance_image(sums, n))
    # NaN in the data is kept: it must not pass for a pixel without electrons.
    return variance, mean, np.where(mean <= 0, 0.0, operator.weights)


def resampled_means(values: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Means over positions drawn with replacement (bootstrap).

    Parameters
    ----------
    values : numpy.ndarray
        Shape (n, ...): one entry per position.
    n_resamples : int
        Number of resampled scans, each of n positions.
    seed : int
        Of the random numbers.

    Returns
    -------
    numpy.ndarray
        Shape (n_resamples, ...).

    Examples
    --------
    >>> round(float(resampled_means(np.arange(100.0), 2000, seed=0).std()), 1)  # the standard error of the mean
    2.9
    """
    n = len(values)
    flat = values.reshape(n, -1)
    generator = np.random.default_rng(seed)
    size = max(1, _TABLE_BYTES // (8 * n))
    means = np.empty((n_resamples, flat.shape[1]))
    for start in range(0, n_resamples, size):
        stop = min(start + size, n_resamples)
        drawn = (generator.integers(n, size=n) for _ in range(start, stop))
        means[start:stop] = np.stack([np.bincount(d, minlength=n) for d in drawn]).astype(float) @ flat / n
    return means.reshape(n_resamples, *values.shape[1:])
