"""Rows of pixel weights for every center: built a quarter of a pixel apart, interpolated in between.

The weight of a pixel is an area of overlap, which changes smoothly with the center. Interpolated linearly between the
four nearest centers it is off to second order only: as if the pattern had been blurred by at most an eighth of a pixel
(root mean square), where a pixel itself blurs by 0.29. At the centers built the weights are exact, and everywhere they
are positive and sum to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock

import numpy as np

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.lanes import LANES
from medrange.kernels.polar import polar_operator

#: Rows are built at centers this share of a pixel apart.
NODES = 4
_BUILDING = Lock()

# Compressed rows over the pixels of a window: pixel numbers, row pointers, columns, weights.
_Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class ShiftedRows:
    """Rows of weights for every center, in one floating type.

    Attributes
    ----------
    shape : tuple of int
        Detector rows and columns.
    blocks : numpy.ndarray
        Shape (n_blocks, 2): detector row and first column of each block of 16 pixels, for no shift. May lie outside.
    corners : numpy.ndarray
        Shape (2, 2): first and last row, first and last column of the pixels used, for no shift.
    cells : tuple of tuple of numpy.ndarray
        For each of the NODES x NODES cells of sub-pixel centers: row pointers, columns among the lanes, and weights
        (n, 4): ``w = w0 + t w1 + s w2 + t s w3`` with (t, s) in 0 .. 1 the center's place in the cell.
    n_rows : int
        Number of rows.
    """

    shape: tuple[int, int]
    blocks: np.ndarray
    corners: np.ndarray
    cells: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]
    n_rows: int

    @property
    def dtype(self) -> np.dtype:
        """Floating type of the weights and of the results."""
        return self.cells[0][2].dtype


def polar_rows(geometry: DiffractionGeometry, grid: PolarGrid, dtype: type) -> ShiftedRows:
    """Rows of the polar operator for every center: bin ``i_k * n_phi + i_phi`` is a row.

    Parameters
    ----------
    geometry : DiffractionGeometry
        Center of an unshifted pattern, scale and ellipse. The mask is not used: it stays with the detector.
    grid : PolarGrid
        The bins.
    dtype : type
        Floating type of the weights, :func:`medrange.kernels.lanes.working_type` of the data's.

    Examples
    --------
    >>> geometry = DiffractionGeometry((32, 32), (15.5, 15.5), 0.1, "1/nm")
    >>> rows = polar_rows(geometry, PolarGrid.band(1.0, 0.2, 12), np.float64)
    >>> len(rows.cells), rows.n_rows
    (16, 12)
    """
    # Two threads that start together shall not build the same rows twice.
    with _BUILDING:
        return _polar_rows(_bare(geometry), grid, dtype)


@lru_cache(maxsize=4)
def _polar_rows(geometry: DiffractionGeometry, grid: PolarGrid, dtype: type) -> ShiftedRows:
    def rows_at(node: DiffractionGeometry) -> _Rows:
        operator = polar_operator.__wrapped__(node, grid)
        return operator.pixels, operator.indptr, operator.columns, operator.weights

    return build_rows(geometry, grid.k_max, rows_at, grid.n_k * grid.n_phi, dtype)


def _bare(geometry: DiffractionGeometry) -> DiffractionGeometry:
    return replace(geometry, mask=None, descan=None, scan_rotation=None, row_flip=None)


def build_rows(
    geometry: DiffractionGeometry,
    k_max: float,
    rows_at: Callable[[DiffractionGeometry], _Rows],
    n_rows: int,
    dtype: type,
) -> ShiftedRows:
    """Tabulate rows over a pixel's worth of centers.

    Parameters
    ----------
    geometry : DiffractionGeometry
        Center of an unshifted pattern, scale and ellipse.
    k_max : float
        No row uses a pixel beyond.
    rows_at : callable
        From a geometry without mask to pixels, row pointers, columns and weights of the rows; weights sum to 1.
    n_rows : int
        Number of rows.
    dtype : type
        Floating type of the weights.
    """
    start, shape = _window(geometry, k_max)
    inner = (geometry.center[0] - start[0], geometry.center[1] - start[1])
    nodes = {}
    for i, j in np.ndindex(NODES, NODES):
        center = (inner[0] + i / NODES, inner[1] + j / NODES)
        nodes[i, j] = rows_at(replace(_bare(geometry), shape=shape, center=center))
    cells = [_cell(nodes, i, j, shape, n_rows) for i, j in np.ndindex(NODES, NODES)]
    pixels = np.unique(np.concatenate([np.unique(cell[1]) for cell in cells]))
    row, col = np.divmod(pixels, shape[1])
    block, which = np.unique(row * shape[1] + (col - col.min()) // LANES, return_inverse=True)
    block_row, block_col = np.divmod(block, shape[1])
    block_col = block_col * LANES + col.min()
    place = np.zeros(shape[0] * shape[1], dtype=np.uint32)
    which = which.reshape(-1)
    place[pixels] = which * LANES + col - block_col[which]
    return ShiftedRows(
        shape=(int(geometry.shape[0]), int(geometry.shape[1])),
        blocks=np.stack([block_row + start[0], block_col + start[1]], axis=1),
        corners=np.array([[row.min(), row.max()], [col.min(), col.max()]]) + np.array(start)[:, None],
        cells=tuple((indptr.astype(np.uint64), place[used], weights.astype(dtype)) for indptr, used, weights in cells),
        n_rows=n_rows,
    )


def _window(geometry: DiffractionGeometry, k_max: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """First pixel and shape of a window that holds all pixels up to ``k_max`` for all centers within a pixel."""
    stretch = 1.0 if geometry.ellipse is None else max(1.0, geometry.ellipse[0])
    half = int(np.ceil(k_max / geometry.k_step * stretch)) + 2
    start, shape = [], []
    for center, size in zip(geometry.center, geometry.shape, strict=True):
        # No shift worth correcting is larger than the detector.
        low = max(int(np.floor(center)) - half, -int(size))
        high = min(int(np.floor(center)) + half + 2, 2 * int(size))
        start.append(low)
        shape.append(high - low)
    return (start[0], start[1]), (shape[0], shape[1])


def _cell(nodes: dict, i: int, j: int, shape: tuple[int, int], n_rows: int) -> tuple[np.ndarray, ...]:
    """Row pointers, window pixels and weights (n, 4) of a cell, from the rows at its four corners."""
    n_pixels = shape[0] * shape[1]
    keys, values = [], []
    for down, right in ((0, 0), (1, 0), (0, 1), (1, 1)):
        (turn_row, node_row), (turn_col, node_col) = divmod(i + down, NODES), divmod(j + right, NODES)
        pixels, indptr, columns, weights = nodes[node_row, node_col]
        # A node a whole pixel on has the rows of the first, moved.
        moved = pixels + turn_row * shape[1] + turn_col
        keys.append(np.repeat(np.arange(n_rows), np.diff(indptr)) * n_pixels + moved[columns])
        values.append(weights)
    union, which = np.unique(np.concatenate(keys), return_inverse=True)
    corners = np.zeros((4, union.size))
    owner = np.repeat(np.arange(4), [len(value) for value in values])
    corners[owner, which.reshape(-1)] = np.concatenate(values)
    here, below, beside, across = corners
    weights = np.stack([here, below - here, beside - here, across - below - beside + here], axis=1)
    row, pixels = np.divmod(union, n_pixels)
    return np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n_rows))]), pixels, weights
