"""Centers of single patterns from the direct beam, and the smooth shift over the scan that they tell of."""

from __future__ import annotations

import numpy as np
from numba import njit

from medrange.geometry import Descan

_MAX_ROUNDS = 50
_TOLERANCE = 1e-3  # px
# Rounds of reweighting that bring least squares to least absolute distances; then what is far off is left out.
_REWEIGHTED = 20
_FAR = 4.0
# Median of the distance from the truth, in standard deviations of a coordinate, for normal errors in two.
_MEDIAN_DISTANCE = 1.1774


@njit(nogil=True, cache=True)
def _brightest(frame: np.ndarray, is_open: np.ndarray, guess: np.ndarray, reach: float) -> tuple:
    """Pixel around which 3 x 3 open pixels are brightest, within ``reach`` of the guess."""
    rows, cols = frame.shape
    best, found_row, found_col = -np.inf, -1, -1
    for row in range(max(1, int(guess[0] - reach)), min(rows - 1, int(guess[0] + reach) + 2)):
        for col in range(max(1, int(guess[1] - reach)), min(cols - 1, int(guess[1] + reach) + 2)):
            total = 0.0
            for i in range(row - 1, row + 2):
                for j in range(col - 1, col + 2):
                    if is_open[i, j]:
                        total += frame[i, j]
            if total > best:
                best, found_row, found_col = total, row, col
    return found_row, found_col


@njit(nogil=True, cache=True)
def _centroid(frame: np.ndarray, is_open: np.ndarray, row: float, col: float, radius: float) -> tuple:
    """Centroid above the mean of the rim in a soft-edged disk; NaN where the disk is cut or dark."""
    first_row, last_row = int(np.floor(row - radius - 1)), int(np.ceil(row + radius + 1))
    first_col, last_col = int(np.floor(col - radius - 1)), int(np.ceil(col + radius + 1))
    if first_row < 0 or first_col < 0 or last_row >= frame.shape[0] or last_col >= frame.shape[1]:
        return np.nan, np.nan
    rim, n_rim = 0.0, 0
    total, weight, along_row, along_col, soft_row, soft_col = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(first_row, last_row + 1):
        for j in range(first_col, last_col + 1):
            distance = np.hypot(i - row, j - col)
            if distance > radius + 1:
                continue
            if not is_open[i, j]:
                return np.nan, np.nan
            value = np.float64(frame[i, j])
            if distance > radius - 1:
                rim += value
                n_rim += 1
            # A soft rim: a pixel leaves the window gradually, so the centroid moves smoothly.
            soft = min(1.0, max(0.0, radius + 0.5 - distance))
            total += soft * value
            weight += soft
            along_row += soft * value * (i - row)
            along_col += soft * value * (j - col)
            soft_row += soft * (i - row)
            soft_col += soft * (j - col)
    rim /= max(n_rim, 1)
    total -= rim * weight
    if not total > 0:
        return np.nan, np.nan
    return row + (along_row - rim * soft_row) / total, col + (along_col - rim * soft_col) / total


@njit(nogil=True, cache=True)
def _beam_centers(
    frames: np.ndarray, is_open: np.ndarray, guess: np.ndarray, radius: float, reach: float, out: np.ndarray
) -> None:
    for f in range(frames.shape[0]):
        start_row, start_col = _brightest(frames[f], is_open, guess, reach)
        row, col = float(start_row), float(start_col)
        out[f, 0] = out[f, 1] = np.nan
        for _ in range(_MAX_ROUNDS):
            moved_row, moved_col = _centroid(frames[f], is_open, row, col, radius)
            step = np.hypot(moved_row - row, moved_col - col)
            row, col = moved_row, moved_col
            if not step >= _TOLERANCE:
                break
        if np.hypot(row - guess[0], col - guess[1]) <= reach + radius:
            out[f, 0], out[f, 1] = row, col


def beam_centers(
    frames: np.ndarray,
    guess: tuple[float, float],
    *,
    radius: float,
    reach: float,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Center of the direct beam of every pattern: its centroid in a disk that moves with it.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n, rows, cols); never changed.
    guess : tuple of float
        Row and column of the beam of the mean pattern, in pixels.
    radius : float
        Radius of the disk, in pixels: somewhat larger than the beam. The mean at its rim counts as background.
    reach : float
        How far from the guess the beam may lie, in pixels.
    mask : numpy.ndarray of bool, optional
        True = excluded.

    Returns
    -------
    numpy.ndarray
        Shape (n, 2): row and column in pixels; NaN where the disk is dark, or cut by the mask or the edge.

    Examples
    --------
    >>> rows, cols = np.indices((64, 64))
    >>> beam = np.exp(-((rows - 30.2) ** 2 + (cols - 33.7) ** 2) / 8)
    >>> beam_centers(beam[None], (31.5, 31.5), radius=8, reach=6).round(2)
    array([[30.2, 33.7]])
    """
    is_open = np.ones(frames.shape[1:], dtype=bool) if mask is None else ~mask
    native = frames if frames.dtype.isnative else frames.astype(frames.dtype.newbyteorder("="))
    out = np.empty((len(frames), 2))
    _beam_centers(native, is_open, np.array(guess, dtype=float), float(radius), float(reach), out)
    return out


def fit_polynomial(
    positions: np.ndarray, centers: np.ndarray, *, degree: int
) -> tuple[tuple[float, float], np.ndarray, np.ndarray]:
    """Fit a plane or a quadratic over the scan to centers, some of which may be far off.

    Parameters
    ----------
    positions : numpy.ndarray
        Shape (n, 2): scan coordinates y and x, counted from the middle of the scan.
    centers : numpy.ndarray
        Shape (n, 2): row and column of each pattern's center, in pixels; NaN where it is not known.
    degree : int
        1 or 2.

    Returns
    -------
    center : tuple of float
        Row and column at the middle of the scan.
    coefficients : numpy.ndarray
        Shape (2, 2) or (2, 5), as :class:`medrange.geometry.Descan` takes them.
    used : numpy.ndarray of bool
        Shape (n,): which centers agree; the others lie more than four standard deviations off.

    Raises
    ------
    ValueError
        If the degree is neither 1 nor 2, or too few positions have a center.
    """
    if degree not in (1, 2):
        msg = f"degree is {degree!r}; use 1 for a plane or 2 for a quadratic."
        raise ValueError(msg)
    terms = Descan.terms(positions[:, 0], positions[:, 1], degree)
    size = np.abs(terms).max(axis=0)
    design = np.column_stack([np.ones(len(terms)), terms / np.where(size > 0, size, 1)])
    used = np.isfinite(centers).all(axis=1)
    _require(design[used], degree)
    weights = np.ones(len(design))
    for _ in range(_REWEIGHTED):
        solution = _weighted_fit(design, centers, weights * used)
        distance = np.hypot(*np.where(used[:, None], centers - design @ solution, 0).T)
        weights = 1 / np.maximum(distance, 0.1 * max(float(np.median(distance[used])), _TOLERANCE))
    for _ in range(_REWEIGHTED):
        limit = _FAR * max(float(np.median(distance[used])) / _MEDIAN_DISTANCE, 0.01)
        agreeing = np.isfinite(centers).all(axis=1)
        agreeing &= np.hypot(*np.where(agreeing[:, None], centers - design @ solution, 0).T) <= limit
        _require(design[agreeing], degree)
        solution = _weighted_fit(design, centers, agreeing.astype(float))
        distance = np.hypot(*np.where(agreeing[:, None], centers - design @ solution, 0).T)
        if (agreeing == used).all():
            break
        used = agreeing
    coefficients = (solution[1:] / np.where(size > 0, size, 1)[:, None]).T
    return (float(solution[0, 0]), float(solution[0, 1])), coefficients, used


def _weighted_fit(design: np.ndarray, centers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    root = np.sqrt(weights)[:, None]
    return np.linalg.lstsq(design * root, np.where(weights[:, None] > 0, centers, 0) * root, rcond=None)[0]


def _require(design: np.ndarray, degree: int) -> None:
    """Refuse positions that do not tell the polynomial."""
    n_terms = design.shape[1]
    if len(design) < n_terms + 1 or np.linalg.matrix_rank(design) < n_terms:
        msg = (
            f"{len(design)} positions with a center do not tell a polynomial of degree {degree} over the scan, "
            f"of {n_terms} terms: they are too few or lie on a line. Use degree=1, method='ring', or give the centers."
        )
        raise ValueError(msg)
