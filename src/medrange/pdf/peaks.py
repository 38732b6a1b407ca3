"""Peaks of G(r) or g(r): position, height, width, coordination number, connectivity; many curves at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

# Distance of second neighbors over the first, when two clusters share 1, 2, 3 or 4 atoms.
_CONNECTIVITY = {1: 2.0, 2: np.sqrt(3.0), 3: np.sqrt(8 / 3), 4: np.sqrt(2.0)}
_METHODS = ("maximum", "centroid", "gaussian")


@dataclass(frozen=True, eq=False)
class Peak:
    """One peak of each of many curves, arrays of shape (...); NaN where a curve has none in the range.

    Attributes
    ----------
    position : numpy.ndarray
        Angstrom.
    height : numpy.ndarray
        Value of the curve at its maximum, in its unit.
    fwhm : numpy.ndarray
        Full width, in angstrom, where the curve falls to half of its height above 0; of G(r) if the curve is
        G(r), of g(r) if it is g(r), which is broader.
    """

    position: np.ndarray
    height: np.ndarray
    fwhm: np.ndarray


def find_peak(
    curves: np.ndarray, r: np.ndarray, r_range: tuple[float, float] = (1.5, 5.0), *, method: str = "maximum"
) -> Peak:
    """Highest maximum of each curve within a range of r.

    Parameters
    ----------
    curves : numpy.ndarray
        Shape (..., n_r): G(r) or g(r).
    r : numpy.ndarray
        Shape (n_r,), uniform, angstrom; steps of 0.05 or less are fine enough.
    r_range : tuple of float
        Where the maximum may lie, angstrom; one at an end of the range is none.
    method : str
        What the position is: ``"maximum"``: the vertex of the parabola through the three highest points.
        ``"centroid"``: center of mass of what lies above half of the height. ``"gaussian"``: center of the
        Gaussian fitted to the same part by a parabola through the logarithm.

    Returns
    -------
    Peak

    Raises
    ------
    ValueError
        If the method is unknown or the range holds fewer than three points.

    Examples
    --------
    >>> r = np.arange(0, 6, 0.05)
    >>> peak = find_peak(np.exp(-4 * np.log(2) * ((r - 2.513) / 0.5) ** 2), r)
    >>> [round(float(v), 2) for v in (peak.position, peak.height, peak.fwhm)]
    [2.51, 1.0, 0.5]
    """
    curves, r = _checked(curves, r)
    if method not in _METHODS:
        msg = f"method is {method!r}; it must be one of {', '.join(map(repr, _METHODS))}."
        raise ValueError(msg)
    flat = curves.reshape(-1, r.size)
    found = np.full((5, len(flat)), np.nan)
    _highest(flat, *_indices(r, r_range), found)
    top, shift, height, left, right = found
    known = np.isfinite(top)
    step = r[1] - r[0]
    position = r[np.where(known, top, 0).astype(int)] + shift * step
    if method != "maximum":
        filled = np.where(known[:, None], flat, 0).astype(np.float64)
        position = _upper_half(filled, r, r[0] + left * step, r[0] + right * step, height, method)
    shape = curves.shape[:-1]
    return Peak(*(values.reshape(shape) for values in (position, height, (right - left) * step)))


@njit(nogil=True, cache=True)
def _highest(curves: np.ndarray, first: int, last: int, found: np.ndarray) -> None:
    """Highest of the points ``first`` to ``last`` of each curve; NaN where there is none.

    Its number, how far the vertex is shifted from it, the height there, and the fractional numbers of points where
    the curve first falls to half of that, on the left and on the right: (5, n).
    """
    for i in range(curves.shape[0]):
        curve = curves[i]
        if not np.isfinite(curve).all():
            continue
        top = first
        for j in range(first + 1, last):
            if curve[j] > curve[top]:
                top = j
        # One at an end of the range is none.
        if top == first or top == last - 1 or curve[top] <= 0:
            continue
        before, at, after = np.float64(curve[top - 1]), np.float64(curve[top]), np.float64(curve[top + 1])
        curvature = before - 2 * at + after
        shift = min(max((before - after) / (2 * curvature), -1.0), 1.0) if curvature != 0 else 0.0
        height = at - (before - after) * shift / 4
        found[0, i], found[1, i], found[2, i] = top, shift, height
        for side in (-1, 1):
            j = top + side
            while 0 <= j < curve.size and curve[j] > height / 2:
                j += side
            if 0 <= j < curve.size:
                outside, inside = np.float64(curve[j]), np.float64(curve[j - side])
                found[3 + (side > 0), i] = j - side * ((height / 2 - outside) / (inside - outside))


def _checked(curves: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    curves, r = np.asarray(curves), np.asarray(r, dtype=float)
    if curves.dtype not in (np.float32, np.float64):
        curves = curves.astype(float)
    if r.ndim != 1 or r.size < 3 or curves.shape[-1:] != r.shape or not np.allclose(np.diff(r), r[1] - r[0]):
        msg = f"curves have shape {curves.shape}, r has {r.shape}; r must be uniform and as long as the last axis."
        raise ValueError(msg)
    return curves, r


def _indices(r: np.ndarray, r_range: tuple[float, float]) -> tuple[int, int]:
    margin = 1e-6 * (r[1] - r[0])
    first, last = np.searchsorted(r, r_range[0] - margin), np.searchsorted(r, r_range[1] + margin)
    if last - first < 3:
        msg = (
            f"the range {r_range[0]:g} to {r_range[1]:g} angstrom holds {last - first} of the points of r, which "
            f"go from {r[0]:g} to {r[-1]:g}; at least 3 are needed."
        )
        raise ValueError(msg)
    return int(first), int(last)


def _vertex(flat: np.ndarray, index: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and height of the parabola through a point and its neighbors."""
    rows = np.arange(len(flat))
    before, at, after = (flat[rows, index + shift] for shift in (-1, 0, 1))
    curvature = before - 2 * at + after
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(curvature != 0, (before - after) / (2 * curvature), 0.0)
    shift = np.clip(shift, -1, 1)
    return r[index] + shift * (r[1] - r[0]), at - (before - after) * shift / 4


def _half_crossings(flat: np.ndarray, index: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractional indices where the curve first falls to half of the height; NaN where it does not."""
    columns = np.arange(flat.shape[1])
    below = flat <= height[:, None] / 2
    rows = np.arange(len(flat))
    ends = []
    for side in (-1, 1):
        on_side = below & ((columns - index[:, None]) * side > 0)
        found = on_side.any(axis=1)
        end = np.where(side < 0, columns[-1] - np.argmax(on_side[:, ::-1], axis=1), np.argmax(on_side, axis=1))
        end = np.clip(end, max(0, side), columns[-1] + min(0, side))
        outside, inside = flat[rows, end], flat[rows, end - side]
        with np.errstate(divide="ignore", invalid="ignore"):
            part = (height / 2 - outside) / (inside - outside)
        ends.append(np.where(found, end - side * part, np.nan))
    return ends[0], ends[1]


def _upper_half(
    flat: np.ndarray, r: np.ndarray, left: np.ndarray, right: np.ndarray, height: np.ndarray, method: str
) -> np.ndarray:
    """Center of the part above half of the height, by center of mass or Gaussian."""
    inside = (r > left[:, None]) & (r < right[:, None])
    if method == "centroid":
        weight = np.where(inside, flat - height[:, None] / 2, 0)
        with np.errstate(invalid="ignore"):
            return (weight @ r) / weight.sum(axis=1)
    middle = (left + right) / 2
    x = r - np.where(np.isfinite(middle), middle, r.mean())[:, None]
    # Weights by the square of the value: the parabola through the logarithm is then the fit to the value.
    value = np.where(inside, flat, 1)
    weight = np.where(inside, value, 0) ** 2
    moments = [(weight * x**power).sum(axis=1) for power in range(5)]
    normal = np.array([[moments[i + j] for j in range(3)] for i in range(3)]).transpose(2, 0, 1)
    target = np.stack([(weight * np.log(value) * x**power).sum(axis=1) for power in range(3)], axis=1)
    good = (inside.sum(axis=1) >= 4) & np.isfinite(middle)
    center = np.full(len(flat), np.nan)
    solved = np.linalg.solve(normal[good], target[good][..., None])[..., 0]
    center[good] = middle[good] - solved[:, 1] / (2 * solved[:, 2])
    return center


def neighbor_minima(curves: np.ndarray, r: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minima to the left and to the right of a peak: the limits of a shell.

    The left one is the nearest local minimum below the peak, the right one the nearest above it.

    Parameters
    ----------
    curves : numpy.ndarray
        Shape (..., n_r).
    r : numpy.ndarray
        Shape (n_r,), uniform, angstrom.
    position : numpy.ndarray
        Shape (...): the peak, angstrom.

    Returns
    -------
    tuple of numpy.ndarray
        Two of shape (...), angstrom; NaN where there is none.

    Examples
    --------
    >>> r = np.linspace(0, 6, 601)
    >>> left, right = neighbor_minima(-np.cos(2 * np.pi * r / 2), r, np.array(3.0))
    >>> float(left.round(3)), float(right.round(3))
    (2.0, 4.0)
    """
    curves, r = _checked(curves, r)
    flat, at = (
        curves.reshape(-1, r.size).astype(float, copy=False),
        np.broadcast_to(position, curves.shape[:-1]).ravel(),
    )
    columns = np.arange(r.size)
    is_minimum = np.zeros(flat.shape, bool)
    is_minimum[:, 1:-1] = (flat[:, 1:-1] <= flat[:, :-2]) & (flat[:, 1:-1] < flat[:, 2:])
    limits = []
    for side in (-1, 1):
        on_side = is_minimum & ((r - at[:, None]) * side > 0)
        nearest = columns[-1] - np.argmax(on_side[:, ::-1], axis=1) if side < 0 else np.argmax(on_side, axis=1)
        place = _vertex(flat, np.clip(nearest, 1, r.size - 2), r)[0]
        limits.append(np.where(on_side.any(axis=1), place, np.nan).reshape(curves.shape[:-1]))
    return limits[0], limits[1]


def find_second_peaks(curves: np.ndarray, r: np.ndarray, first: np.ndarray) -> tuple[Peak, np.ndarray]:
    """Second peak of each curve, and the second maximum beside it where it is split.

    Both lie between 1.4 and 2.2 times the position of the first peak, which holds all the distances of
    :func:`connectivity_distances`.

    Parameters
    ----------
    curves : numpy.ndarray
        Shape (..., n_r).
    r : numpy.ndarray
        Shape (n_r,), uniform, angstrom.
    first : numpy.ndarray
        Shape (...): position of the first peak, angstrom.

    Returns
    -------
    Peak
        The highest maximum; its ``fwhm`` is of the whole second peak where that is split less than half deep.
    numpy.ndarray
        Shape (...): position of the second highest maximum, angstrom, NaN where the peak is not split.

    Examples
    --------
    >>> r = np.linspace(0, 8, 801)
    >>> curve = np.exp(-((r - 4.1) / 0.25) ** 2) + 0.7 * np.exp(-((r - 4.9) / 0.25) ** 2)
    >>> second, shoulder = find_second_peaks(curve, r, np.array(2.5))
    >>> float(second.position.round(2)), float(shoulder.round(2))
    (4.1, 4.9)
    """
    curves, r = _checked(curves, r)
    flat = curves.reshape(-1, r.size).astype(float, copy=False)
    at = np.broadcast_to(first, curves.shape[:-1]).ravel()
    rows = np.arange(len(flat))
    is_maximum = np.zeros(flat.shape, bool)
    is_maximum[:, 1:-1] = (flat[:, 1:-1] >= flat[:, :-2]) & (flat[:, 1:-1] > flat[:, 2:])
    is_maximum &= (r >= 1.4 * at[:, None]) & (r <= 2.2 * at[:, None])
    found = []
    for _ in range(2):
        candidates = np.where(is_maximum, flat, -np.inf)
        top = np.argmax(candidates, axis=1)
        known = np.isfinite(candidates[rows, top])
        position, height = _vertex(flat, np.clip(top, 1, r.size - 2), r)
        found.append((np.clip(top, 1, r.size - 2), known, position, height))
        is_maximum[rows, top] = False
    top, known, position, height = found[0]
    left, right = _half_crossings(flat, top, height)
    fwhm = np.where(height > 0, (right - left) * (r[1] - r[0]), np.nan)
    shape = curves.shape[:-1]
    peak = Peak(*(np.where(known, values, np.nan).reshape(shape) for values in (position, height, fwhm)))
    return peak, np.where(found[1][1], found[1][2], np.nan).reshape(shape)


def connectivity_distances(first: np.ndarray | float) -> dict[int, np.ndarray]:
    """Second-neighbor distances of two clusters that share 1, 2, 3 or 4 atoms, from the first distance R1.

    ``2 R1``, ``sqrt(3) R1``, ``sqrt(8/3) R1`` and ``sqrt(2) R1``, of equal atoms that touch; see [Kang2024]_,
    and [Ding2015]_ for the fourth.

    Parameters
    ----------
    first : numpy.ndarray or float
        R1 in angstrom.

    Returns
    -------
    dict
        Distance in angstrom by the number of shared atoms.

    Examples
    --------
    >>> {atoms: round(float(d), 2) for atoms, d in connectivity_distances(2.53).items()}
    {1: 5.06, 2: 4.38, 3: 4.13, 4: 3.58}
    """
    return {atoms: factor * np.asarray(first, dtype=float) for atoms, factor in _CONNECTIVITY.items()}
