"""Width of the interface between crystal nuclei and the glass around them."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

from medrange.aet.atoms.alpha_shape import AlphaShape, alpha_shape
from medrange.aet.atoms.neighbors import with_images
from medrange.aet.atoms.nuclei import CrystalNuclei
from medrange.aet.atoms.saving import save_result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# A fit of three numbers needs some more points than that.
_LEAST_BINS = 5
# Barycentric coordinates of a point on a face, but for rounding.
_TOUCH = 1e-9


@dataclass(frozen=True, eq=False)
class InterfaceWidth:
    """Order across the surface of the nuclei, and its decay ``a exp(-x/width) + b``.

    Attributes
    ----------
    width, width_error : float
        Decay length and its standard error from the fit, angstrom.
    amplitude, offset : float
        a and b, normalized bond orientational order.
    distances : numpy.ndarray
        Shape (bins,): mean distance of the atoms of each bin from the surface, angstrom; positive outside.
    order, spread, counts : numpy.ndarray
        Shape (bins,): mean and standard deviation of the normalized order, atoms.
    signed_distance : numpy.ndarray
        Shape (N,), angstrom, for every atom.
    fitted : numpy.ndarray
        Shape (bins,), bool: bins inside the window of the fit.
    parameters : dict
        ``window``, ``bin_width`` and ``alpha_radius``, angstrom.
    """

    width: float
    width_error: float
    amplitude: float
    offset: float
    distances: np.ndarray
    order: np.ndarray
    spread: np.ndarray
    counts: np.ndarray
    signed_distance: np.ndarray
    fitted: np.ndarray
    parameters: dict[str, Any]

    def fit(self, x: np.ndarray) -> np.ndarray:
        """Fitted order at distances ``x``, angstrom."""
        return _decay(np.asarray(x, dtype=float), self.amplitude, self.width, self.offset)

    @property
    def table(self) -> pd.DataFrame:
        """One row per bin: distance, order, spread, atoms, fit (NaN outside the window)."""
        import pandas as pd

        fit = np.where(self.fitted, self.fit(self.distances), np.nan)
        columns = {"distance": self.distances, "order": self.order, "spread": self.spread}
        return pd.DataFrame({**columns, "atoms": self.counts, "fit": fit})

    def save(self, path: str | PathLike) -> Path:
        """Write the profile as .npz or .csv.

        Parameters
        ----------
        path : path
            The suffix says which; see :func:`~medrange.aet.atoms.saving.save_result`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        names = ("distances", "order", "spread", "counts", "signed_distance", "fitted")
        numbers = {name: getattr(self, name) for name in ("width", "width_error", "amplitude", "offset")}
        arrays = {name: getattr(self, name) for name in names}
        return save_result(path, table=self.table, arrays=arrays, parameters={**self.parameters, **numbers})

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw profile and fit; see :func:`medrange.plotting.atoms.plot_interface`."""
        from medrange.plotting.atoms import plot_interface

        return plot_interface(self, ax=ax)

    def __repr__(self) -> str:
        low, high = self.parameters["window"]
        return f"<InterfaceWidth, {self.width:.2f} ± {self.width_error:.2f} Å, fitted from {low:g} to {high:g} Å>"


def interface_width(
    nuclei: CrystalNuclei,
    *,
    window: tuple[float, float] = (0.5, 15.0),
    bin_width: float = 0.5,
    alpha_radius: float | None = None,
) -> InterfaceWidth:
    """Characteristic width of the crystal-glass interface.

    [Yuan2022]_ (references.bib) fits ``a exp(-x/d) + b`` to the normalized bond orientational order against the
    distance x of the atoms from the surface of the nuclei, and publishes no code. The definition here: the
    surface is the outline of the alpha shape of the crystal atoms, together with crystal atoms that are in no
    tetrahedron; x is the distance to the nearest point of it, negative inside; the order is averaged over atoms
    in bins of x, and the bins inside ``window`` are fitted with weights ``atoms/variance``. **The width depends
    on the window**: for the published tantalum film (printed: 3.0 Å), windows that begin at 0.5 to 2 Å and end
    at 10 to 20 Å give 2.0 to 4.5 Å. Compare widths only for equal arguments.

    Parameters
    ----------
    nuclei : CrystalNuclei
        From :func:`~medrange.aet.atoms.nuclei.crystal_nuclei`.
    window : tuple of float
        Least and largest distance of the fit, angstrom.
    bin_width : float
        Width of the bins, angstrom.
    alpha_radius : float, optional
        Radius of the alpha shape of the crystal atoms, angstrom; by default the cutoff of the neighbors.

    Returns
    -------
    InterfaceWidth
        Profile and fit.

    Raises
    ------
    ValueError
        If the window or the bins are empty, if there are no nuclei, or if the order does not decay.

    Examples
    --------
    >>> interface_width(nuclei, window=(1.0, 15.0))  # doctest: +SKIP
    <InterfaceWidth, 2.98 ± 0.35 Å, fitted from 1 to 15 Å>
    """
    low, high = window
    if not (np.isfinite([low, high, bin_width]).all() and 0 <= low < high and 0 < bin_width <= (high - low) / 5):
        msg = (
            f"window is {window!r} and bin_width {bin_width!r} Å; the window must begin at 0 or more and hold at "
            "least five bins."
        )
        raise ValueError(msg)
    if not nuclei.crystal.any():
        msg = "the model has no crystal atoms, so it has no interface; see crystal_nuclei."
        raise ValueError(msg)
    radius = nuclei.bond_order.neighbors.cutoff if alpha_radius is None else alpha_radius
    distance = _signed_distance(nuclei, float(high), float(radius))
    used = distance <= high
    bins = np.floor(distance[used] / bin_width).astype(int)
    names, rows = np.unique(bins, return_inverse=True)
    order = nuclei.bond_order.normalized[used]
    counts = np.bincount(rows)
    centers = np.bincount(rows, distance[used]) / counts
    means = np.bincount(rows, order) / counts
    spread = np.sqrt(np.bincount(rows, (order - means[rows]) ** 2) / np.maximum(counts - 1, 1))
    edges = names * bin_width
    fitted = (edges >= low - 1e-9) & (edges + bin_width <= high + 1e-9) & (counts > 1) & (spread > 0)
    (amplitude, width, offset), error = _fit(centers[fitted], means[fitted], (spread / np.sqrt(counts))[fitted])
    parameters = {"window": (float(low), float(high)), "bin_width": float(bin_width), "alpha_radius": float(radius)}
    profile = (centers, means, spread, counts)
    return InterfaceWidth(width, error, amplitude, offset, *profile, distance, fitted, parameters)


def _decay(x: np.ndarray, amplitude: float, width: float, offset: float) -> np.ndarray:
    return amplitude * np.exp(-x / width) + offset


def _fit(x: np.ndarray, y: np.ndarray, error: np.ndarray) -> tuple[tuple[float, float, float], float]:
    """Amplitude, width and offset, and the standard error of the width."""
    from scipy.optimize import OptimizeWarning, curve_fit

    if len(x) < _LEAST_BINS:
        msg = f"{len(x)} bins of the window hold atoms; the fit needs {_LEAST_BINS}: widen the window or the bins."
        raise ValueError(msg)
    start = (y[0] - y[-1], (x[-1] - x[0]) / 5, y[-1])
    try:
        values, covariance = curve_fit(_decay, x, y, p0=start, sigma=error, maxfev=10_000)
    except (RuntimeError, OptimizeWarning) as failure:
        msg = f"the order does not follow an exponential decay between {x[0]:.3g} and {x[-1]:.3g} Å: {failure}"
        raise ValueError(msg) from failure
    if not (values[0] > 0 and 0 < values[1] < x[-1] - x[0]):
        msg = (
            f"the order does not decay within the window (amplitude {values[0]:.3g}, width {values[1]:.3g} Å); "
            "choose another window."
        )
        raise ValueError(msg)
    return tuple(float(value) for value in values), float(np.sqrt(covariance[1, 1]))


def _signed_distance(nuclei: CrystalNuclei, reach: float, radius: float) -> np.ndarray:
    """Distance of every atom to the surface of the nuclei, negative inside."""
    model = nuclei.model
    positions, owners = with_images(model, reach + 2 * radius)
    crystal = positions[nuclei.crystal[owners]]
    shape = alpha_shape(crystal, radius)
    points = positions[: len(model)]
    triangles = _surface_triangles(shape)
    corners = crystal[np.unique(triangles)]
    # The nearest corner is an upper limit, which rules out most of the triangles.
    nearest = cKDTree(corners).query(points)[0]
    distances = _distances(points, crystal[triangles], nearest)
    return np.where(_inside(points, shape), -1.0, 1.0) * distances


def _inside(points: np.ndarray, shape: AlphaShape) -> np.ndarray:
    """Mask of the points in any tetrahedron, corners and faces included."""
    corners = shape.positions[shape.tetrahedra[shape.volumes > 1e-9]]
    centers = corners.mean(axis=1)
    radii = np.linalg.norm(corners - centers[:, None], axis=2).max(axis=1)
    near = cKDTree(points).query_ball_point(centers, radii)
    rows = np.repeat(np.arange(len(near)), [len(row) for row in near])
    mask = np.zeros(len(points), dtype=bool)
    if len(rows):
        candidates = np.concatenate([np.array(row, dtype=np.intp) for row in near])
        edges = np.swapaxes(corners[rows, 1:] - corners[rows, :1], 1, 2)
        weights = np.linalg.solve(edges, (points[candidates] - corners[rows, 0])[:, :, None])[:, :, 0]
        within = (weights >= -_TOUCH).all(axis=1) & (weights.sum(axis=1) <= 1 + _TOUCH)
        mask[candidates[within]] = True
    return mask


def _surface_triangles(shape: AlphaShape) -> np.ndarray:
    """Faces of one tetrahedron only, and as triangles without extent the points in none; shape (n, 3)."""
    rows, opposite = np.nonzero(shape.neighbors < 0)
    corners = [shape.tetrahedra[rows, (opposite + step) % 4] for step in (1, 2, 3)]
    alone = np.setdiff1d(np.arange(len(shape.positions)), shape.tetrahedra)
    return np.concatenate([np.stack(corners, axis=1), np.stack([alone] * 3, axis=1)])


@njit(cache=True, nogil=True)
def _distances(points: np.ndarray, triangles: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Distance of each point to the nearest of the triangles (n, 3, 3); none is farther than ``nearest``."""
    centers, radii = np.empty((triangles.shape[0], 3)), np.zeros(triangles.shape[0])
    for t in range(triangles.shape[0]):
        for c in range(3):
            centers[t, c] = (triangles[t, 0, c] + triangles[t, 1, c] + triangles[t, 2, c]) / 3
        for corner in range(3):
            radii[t] = max(radii[t], np.sqrt(((triangles[t, corner] - centers[t]) ** 2).sum()))
    result = nearest.copy()
    for p in range(points.shape[0]):
        best = nearest[p]
        for t in range(triangles.shape[0]):
            square = 0.0
            for c in range(3):
                square += (points[p, c] - centers[t, c]) ** 2
            # No point of the triangle is nearer than its center less its radius.
            limit = best + radii[t]
            if square < limit * limit:
                best = min(best, np.sqrt(_to_triangle(points[p], triangles[t])))
        result[p] = best
    return result


@njit(cache=True, nogil=True)
def _to_triangle(point: np.ndarray, triangle: np.ndarray) -> float:
    """Squared distance of a point to a triangle: to its plane if the foot is inside, else to an edge."""
    a, b, c = triangle[0], triangle[1], triangle[2]
    best = min(_to_edge(point, a, b), _to_edge(point, b, c), _to_edge(point, c, a))
    u, v, w = b - a, c - a, point - a
    uu, uv, vv, uw, vw = (u * u).sum(), (u * v).sum(), (v * v).sum(), (u * w).sum(), (v * w).sum()
    determinant = uu * vv - uv * uv
    if determinant > 1e-12 * uu * vv:
        s, t = (vv * uw - uv * vw) / determinant, (uu * vw - uv * uw) / determinant
        if s >= 0 and t >= 0 and s + t <= 1:
            foot = w - s * u - t * v
            best = min(best, (foot * foot).sum())
    return best


@njit(cache=True, nogil=True)
def _to_edge(point: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    edge, away = b - a, point - a
    square = (edge * edge).sum()
    along = min(1.0, max(0.0, (edge * away).sum() / square)) if square > 0 else 0.0
    away = away - along * edge
    return (away * away).sum()
