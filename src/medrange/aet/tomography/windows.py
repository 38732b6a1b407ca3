"""Scanning tomography: a film reconstructed in overlapping windows and put together again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """A part of a film that is reconstructed by itself: voxels ``center - half_size`` to ``center + half_size``.

    Attributes
    ----------
    center : tuple of int
        (x, y, z) of the central voxel in the film, from 0.
    half_size : tuple of int
        Half widths along x, y, z; the window has ``2 half_size + 1`` voxels.
    """

    center: tuple[int, int, int]
    half_size: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        return tuple(2 * int(half) + 1 for half in self.half_size)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Where the window lies in the film."""
        return tuple(
            slice(int(center) - int(half), int(center) + int(half) + 1)
            for center, half in zip(self.center, self.half_size, strict=True)
        )


def patch_windows(
    volumes: Iterable[np.ndarray],
    windows: Sequence[Window],
    film_shape: tuple[int, int, int],
    *,
    overlap: int = 4,
) -> np.ndarray:
    """Put the volumes of overlapping windows together, without the margins where a neighbor knows better.

    Windows with the same y of the center are a row. At an edge in x with a neighbor in its row a window loses
    ``round(half_x - spacing / 2) - overlap / 2`` columns, so that neighbors overlap by about ``overlap``; at an
    edge in y towards another row it loses four rows. Outer edges and all of z stay. Later windows are written
    over earlier ones. See [Yuan2022]_ in references.bib.

    Parameters
    ----------
    volumes : iterable of numpy.ndarray
        One per window, of its shape; taken one after the other, so that a generator need not hold them all.
    windows : sequence of Window
        Where they lie.
    film_shape : tuple of int
        (x, y, z) of the film.
    overlap : int
        Columns that neighbors in a row share.

    Returns
    -------
    numpy.ndarray
        Shape ``film_shape``, float32; NaN where no window reaches.

    Raises
    ------
    ValueError
        If there are no windows, one leaves the film, or a volume has another shape than its window.

    Examples
    --------
    >>> film = np.arange(20.0).reshape(20, 1, 1) + np.zeros((20, 3, 3))
    >>> windows = [Window((x, 1, 1), (6, 1, 1)) for x in (6, 13)]
    >>> bool((patch_windows((film[w.slices] for w in windows), windows, film.shape, overlap=2) == film).all())
    True
    """
    check_windows(windows, film_shape)
    film = np.full(film_shape, np.nan, np.float32)
    for number, (volume, window) in enumerate(zip(volumes, windows, strict=True)):
        where = window.slices
        if np.shape(volume) != window.shape:
            msg = f"volume {number} has shape {np.shape(volume)}, its window {window.shape}."
            raise ValueError(msg)
        kept = _kept(window, windows, overlap)
        film[tuple(slice(w.start + k.start, w.start + k.stop) for w, k in zip(where, kept, strict=True))] = volume[kept]
    return film


def check_windows(windows: Sequence[Window], film_shape: tuple[int, int, int]) -> None:
    """Refuse an empty table, and windows that reach beyond the film (x, y, z)."""
    if not len(windows):
        msg = "there are no windows; give at least one."
        raise ValueError(msg)
    for number, window in enumerate(windows):
        if any(part.start < 0 or part.stop > size for part, size in zip(window.slices, film_shape, strict=True)):
            msg = f"window {number} at {window.center} +- {window.half_size} leaves the film {tuple(film_shape)}."
            raise ValueError(msg)


# Rows lost at an edge towards another row of windows.
_ROWS_LOST = 4


def _kept(window: Window, windows: Sequence[Window], overlap: int) -> tuple[slice, slice, slice]:
    """The part of a window that goes into the film."""
    row = sorted({int(other.center[0]) for other in windows if other.center[1] == window.center[1]})
    rows = sorted({int(other.center[1]) for other in windows})
    nx, ny, nz = window.shape
    x, y = int(window.center[0]), int(window.center[1])

    def lost(spacing: int) -> int:
        return max(0, int(np.floor(window.half_size[0] - spacing / 2 + 0.5)) - overlap // 2)

    place = row.index(x)
    left = lost(x - row[place - 1]) if place > 0 else 0
    right = lost(row[place + 1] - x) if place < len(row) - 1 else 0
    below = _ROWS_LOST if y > rows[0] else 0
    above = _ROWS_LOST if y < rows[-1] else 0
    return slice(left, nx - right), slice(below, ny - above), slice(0, nz)
