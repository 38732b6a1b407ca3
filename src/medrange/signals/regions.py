"""Images of the intensity inside a HyperSpy region of interest on the detector."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from hyperspy.signals import LazySignal2D, Signal2D

from medrange.signals import calibration
from medrange.signals.building import build, map_axes
from medrange.signals.mapping import Output, map_frames


def integrated_intensity(signal: Signal2D, roi: Any) -> Signal2D:
    """Image of the summed intensity; see :meth:`medrange.Nanodiffraction.get_integrated_intensity`."""
    rows, columns = _pixels(signal, roi)
    function = partial(_sums, rows=rows, columns=columns)
    data = map_frames(signal.data, function, [Output((), np.float64)], label="integrated intensity")[0]
    return build(
        (Signal2D, LazySignal2D),
        data,
        map_axes(signal),
        source=signal,
        operation="get_integrated_intensity",
        parameters={"roi": str(roi)},
        quantity="integrated intensity",
    )


def _pixels(signal: Signal2D, roi: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the open detector pixels that HyperSpy counts to the region."""
    axes = calibration.signal_axes(signal)
    shape = tuple(axis.size for axis in axes)
    # The pixels' own numbers are cut out, so that every shape of region is known by what HyperSpy makes of it.
    numbers = Signal2D(
        np.arange(shape[0] * shape[1], dtype=float).reshape(shape), axes=[axis.get_axis_dictionary() for axis in axes]
    )
    inside = np.asarray(roi(numbers, axes=numbers.axes_manager.signal_axes).data)
    rows, columns = np.unravel_index(inside[np.isfinite(inside)].astype(int).ravel(), shape)
    mask = calibration.window_mask(signal)
    is_open = np.ones(len(rows), bool) if mask is None else ~mask[rows, columns]
    if not is_open.any():
        msg = (
            f"{roi} holds no open pixel of the detector; its position and size are in the units of the detector's axes."
        )
        raise ValueError(msg)
    return rows[is_open], columns[is_open]


def _sums(frames: np.ndarray, *, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray]:
    window = np.s_[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    weights = np.zeros(frames[window].shape[1:], bool)
    weights[rows - rows.min(), columns - columns.min()] = True
    return (np.nansum(frames[window], axis=(1, 2), where=weights, dtype=np.float64),)
