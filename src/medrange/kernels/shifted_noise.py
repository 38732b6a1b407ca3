"""Shot noise of the ring statistics of patterns whose center moves: that of the weights as they are interpolated."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.noise import NoiseFactors, noise_factors, operator_factors
from medrange.kernels.polar import PolarOperator, polar_operator
from medrange.kernels.shifted_rows import NODES, polar_rows

# Interpolated weights are linear in t and in s, so their covariances are quadratic in both: three points tell them.
_POINTS = 2 * NODES


@lru_cache(maxsize=8)
def _table(geometry: DiffractionGeometry, grid: PolarGrid, dtype: type) -> np.ndarray:
    """Factors (8, 8, n_k, 2 + n_phi // 2) of open rings, every eighth of a pixel."""
    rows = polar_rows(geometry, grid, dtype)
    table = np.empty((_POINTS, _POINTS, grid.n_k, 2 + grid.n_phi // 2))
    for i, j in np.ndindex(_POINTS, _POINTS):
        indptr, columns, weights = rows.cells[i // 2 * NODES + j // 2]
        t, s = i % 2 / 2, j % 2 / 2
        operator = PolarOperator(
            grid=grid,
            pixels=np.arange(len(rows.blocks) * 16),
            indptr=indptr.astype(np.int64),
            columns=columns.astype(np.int32),
            weights=weights.astype(np.float64) @ [1, t, s, t * s],
            area=np.ones((grid.n_k, grid.n_phi)),
            full=np.ones((grid.n_k, grid.n_phi)),
        )
        table[i, j] = _columns(operator_factors(operator))
    return table


@lru_cache(maxsize=1024)
def _cut_ratio(geometry: DiffractionGeometry, grid: PolarGrid) -> np.ndarray:
    """Factors of rings cut by a mask or by the detector's edge, over those of whole rings: (n_k, 2 + n_phi // 2)."""
    stretch = 1.0 if geometry.ellipse is None else max(1.0, geometry.ellipse[0])
    if geometry.mask is None and stretch * grid.k_max <= geometry.k_max:
        return np.ones((grid.n_k, 2 + grid.n_phi // 2))
    margin = int(np.ceil(stretch * grid.k_max / geometry.k_step)) + 2
    row, col = (round(value) for value in geometry.center)
    center = (geometry.center[0] - row + margin, geometry.center[1] - col + margin)
    whole = replace(geometry, shape=(2 * margin + 1, 2 * margin + 1), center=center, mask=None)
    # Past the cache of operators: these are many, and each is needed once.
    cut, open_rings = (_columns(operator_factors(polar_operator.__wrapped__(g, grid))) for g in (geometry, whole))
    return cut / open_rings


def _columns(factors: NoiseFactors) -> np.ndarray:
    return np.concatenate([factors.mean_square[:, None], factors.variance[:, None], factors.power], axis=1)


def shifted_noise_factors(
    shifts: np.ndarray, geometry: DiffractionGeometry, grid: PolarGrid, dtype: type = np.float64
) -> NoiseFactors:
    """Shot noise of every ring at every pattern's own center; see :func:`medrange.kernels.noise.noise_factors`.

    Exact for rings without closed pixels. What a mask or the detector's edge adds is taken at the nearest whole
    pixel, which changes little from one to the next.

    Parameters
    ----------
    shifts : numpy.ndarray
        Shape (n, 2): how far each pattern's center lies from the geometry's, rows and columns, in pixels.
    geometry : DiffractionGeometry
        Center, scale, ellipse and mask of an unshifted pattern.
    grid : PolarGrid
        The rings.
    dtype : type
        Floating type of the weights in use.

    Returns
    -------
    NoiseFactors
        With a first axis over the patterns: shapes (n, n_k), (n, n_k) and (n, n_k, n_phi // 2).

    Examples
    --------
    >>> geometry = DiffractionGeometry((64, 64), (31.5, 31.5), 0.1, "1/nm")
    >>> band = PolarGrid.band(2.0, 0.4, 36)
    >>> moved = shifted_noise_factors(np.array([[0.0, 1.0]]), geometry, band)
    >>> bool(np.allclose(moved.power[0], noise_factors(geometry, band).power))
    True
    """
    bare = replace(geometry, mask=None, descan=None, scan_rotation=None, row_flip=None)
    table = _table(bare, grid, dtype)
    node = np.floor(shifts * NODES)
    place, cell = shifts * NODES - node, node.astype(np.int64) % NODES
    # Values at 0, 1/2 and 1 of a cell, and the quadratic through them.
    t = np.stack([(1 - place) * (1 - 2 * place), 4 * place * (1 - place), place * (2 * place - 1)])
    values = np.zeros((len(shifts), *table.shape[2:]))
    for i, j in np.ndindex(3, 3):
        corner = table[(2 * cell[:, 0] + i) % _POINTS, (2 * cell[:, 1] + j) % _POINTS]
        values += (t[i, :, 0] * t[j, :, 1])[:, None, None] * corner
    unique, which = np.unique(np.rint(shifts), axis=0, return_inverse=True)
    centers = [(geometry.center[0] + float(row), geometry.center[1] + float(col)) for row, col in unique]
    cut = replace(geometry, descan=None, scan_rotation=None, row_flip=None)
    ratios = np.stack([_cut_ratio(replace(cut, center=center), grid) for center in centers])
    values *= ratios[which.reshape(-1)]
    return NoiseFactors(values[..., 0], values[..., 1], values[..., 2:])


def floor_factors(
    geometry: DiffractionGeometry, band: PolarGrid, shifts: np.ndarray | None, dtype: type
) -> tuple[np.ndarray, np.ndarray]:
    """Shot noise of V2D (y, x) and of P_n (n_phi // 2, y, x) of one ring over a scan, per gain / ring mean.

    The scan axes have length 1 where ``shifts``, scan shape (y, x) + (2,), is None.
    """
    if shifts is None:
        factors, scan_shape = noise_factors(geometry, band), (1, 1)
    else:
        factors, scan_shape = shifted_noise_factors(shifts.reshape(-1, 2), geometry, band, dtype), shifts.shape[:-1]
    power = factors.power.reshape(*scan_shape, -1)
    return factors.variance.reshape(scan_shape).astype(dtype), np.moveaxis(power, -1, 0).astype(dtype)
