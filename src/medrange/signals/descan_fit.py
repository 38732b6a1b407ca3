"""Find how the center moves over the scan, in one pass over the patterns."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import dask
import dask.array as da
import numpy as np
from scipy import ndimage

from medrange.geometry import Descan, DiffractionGeometry
from medrange.kernels.center import direct_beam_center, friedel_center, ring_center
from medrange.kernels.descan import beam_centers, fit_polynomial
from medrange.signals import calibration
from medrange.signals.centering import mean_pattern
from medrange.signals.descan import scan_extent, write_descan
from medrange.signals.mapping import Output, map_frames, sum_over_scan

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

# Above this the polynomial is not what moves the center.
_TOLERABLE = 0.25  # px
# Tiles per axis of the scan, each of whose mean patterns gives one center of the ring.
_TILES = 8
# How far the direct beam may move to either side, as a share of the detector's smaller side.
_REACH = 0.1


def fit_descan(
    signal: BaseSignal,
    degree: int,
    method: str,
    *,
    k: float | None = None,
    width: float | None = None,
    centers: np.ndarray | None = None,
) -> Descan:
    """Fit, set and return the descan of a scan; the parameters are those of ``Nanodiffraction.fit_descan``."""
    extent, units = scan_extent(signal)
    if centers is not None:
        positions, found = _given(signal, centers)
    elif method == "direct_beam":
        positions, found = _of_beams(signal)
    elif method == "ring":
        positions, found = _of_rings(signal, k, width)
    else:
        msg = f"method is {method!r}; use 'direct_beam', 'ring' when the beam is blocked or saturated, or give centers."
        raise ValueError(msg)
    middle = [0.5 * (low + high) for low, high in extent]
    center, coefficients, used = fit_polynomial(positions - middle, found, degree=degree)
    apart = found[used] - center - Descan.terms(*(positions[used] - middle).T, degree) @ coefficients.T
    residual = float(np.sqrt((apart**2).sum(axis=1).mean()))
    descan = Descan(tuple(map(tuple, coefficients.tolist())), extent, units, residual)
    _warn(residual, used, degree)
    calibration.write_center(signal, center)
    write_descan(signal, descan)
    return descan


def _warn(residual: float, used: np.ndarray, degree: int) -> None:
    left_out = 1 - used.mean()
    if residual > _TOLERABLE or left_out > 0.2:
        remedy = "degree=2, or " if degree == 1 else ""
        msg = (
            f"the centers lie {residual:.2g} px (root mean square) from the fitted descan, and {100 * left_out:.0f} % "
            f"of them were left out as far off or not found: what is left shows in the maps. Try {remedy}method='ring'."
        )
        warnings.warn(msg, stacklevel=4)


def _grid(signal: BaseSignal) -> np.ndarray:
    """Scan coordinates (y, x) of all positions, (n_y, n_x, 2)."""
    y, x = (axis.axis for axis in signal.axes_manager.navigation_axes[::-1])
    return np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)


def _given(signal: BaseSignal, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    grid = _grid(signal)
    centers = np.asarray(centers, dtype=float)
    if centers.shape != grid.shape:
        msg = (
            f"centers is of shape {centers.shape}; the row and column of the center at every position are needed, "
            f"shape {grid.shape}, NaN where it is not known."
        )
        raise ValueError(msg)
    return grid.reshape(-1, 2), centers.reshape(-1, 2)


def _centers(frames: np.ndarray, guess: tuple[float, float], mask: np.ndarray | None, **window: float) -> tuple:
    return (beam_centers(frames, guess, mask=mask, **window),)


def _of_beams(signal: BaseSignal) -> tuple[np.ndarray, np.ndarray]:
    """Center of every pattern's direct beam."""
    mask = calibration.window_mask(signal)
    pattern = mean_pattern(signal, max_patterns=4096)
    guess = direct_beam_center(pattern, mask)
    window = {"radius": _beam_radius(pattern, mask), "reach": _REACH * min(pattern.shape)}
    function = partial(_centers, guess=guess, mask=mask, **window)
    (found,) = map_frames(signal.data, function, [Output((2,), np.float64)], label="descan")
    found = found.compute() if isinstance(found, da.Array) else found
    return _grid(signal).reshape(-1, 2), found.reshape(-1, 2)


def _beam_radius(pattern: np.ndarray, mask: np.ndarray | None) -> float:
    """Radius of a disk that holds the direct beam of the mean pattern, which the descan has made larger."""
    image = np.where(np.isfinite(pattern) if mask is None else ~mask & np.isfinite(pattern), pattern, 0)
    smooth = ndimage.gaussian_filter(image, 1.0)
    labels, _ = ndimage.label(smooth > smooth.max() / 2)
    disk = labels == labels[np.unravel_index(smooth.argmax(), smooth.shape)]
    return float(1.5 * np.sqrt(disk.sum() / np.pi) + 2)


def _of_rings(signal: BaseSignal, k: float | None, width: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Center of the ring in the mean patterns of parts of the scan; NaN where it does not come to rest."""
    if k is None or width is None:
        msg = "the ring method needs the ring: fit_descan(method='ring', k=4.0, width=1.5), in the k axes' units."
        raise ValueError(msg)
    scale, units = calibration.k_scale(signal)
    mask, ellipse = calibration.window_mask(signal), calibration.stored_ellipse(signal)
    tiles = list(_tiles(signal.data.shape[:2]))
    parts = [signal.data[tile] for tile in tiles]
    sums = dask.compute(*(sum_over_scan(part) for part in parts))
    means = [total / np.prod(part.shape[:2]) for total, part in zip(sums, parts, strict=True)]
    guess = calibration.pixel_center(signal) or friedel_center(np.mean(means, axis=0), mask)
    geometry = DiffractionGeometry(means[0].shape, guess, scale, units, ellipse, mask)
    # Once with all, so that a ring that cannot be used at all is said to be so.
    ring_center(np.mean(means, axis=0), geometry, k=k, width=width)
    found = np.full((len(tiles), 2), np.nan)
    for i, mean in enumerate(means):
        try:
            found[i] = ring_center(mean, geometry, k=k, width=width)
        except ValueError:
            # A part of the scan without a ring (a hole, a crystal) has no center; the fit needs not all.
            continue
    grid = _grid(signal)
    return np.array([grid[tile].mean(axis=(0, 1)) for tile in tiles]), found


def _tiles(scan_shape: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    edges = [np.linspace(0, size, min(_TILES, size) + 1).round().astype(int) for size in scan_shape]
    for top, bottom in zip(edges[0][:-1], edges[0][1:], strict=True):
        for left, right in zip(edges[1][:-1], edges[1][1:], strict=True):
            yield slice(top, bottom), slice(left, right)
