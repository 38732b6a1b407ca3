"""Apply a function of curves to a signal's curves: at once, or lazily chunk by chunk, with the same result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from hyperspy.signal import BaseSignal
from hyperspy.signals import LazySignal1D, LazySignal2D, Signal1D, Signal2D

from medrange.signals.building import build, scan_axes


def map_curves(
    data: np.ndarray | da.Array, function: Callable[..., np.ndarray], n_out: int, dtype: np.dtype | type, **options: Any
) -> np.ndarray | da.Array:
    """``function(curves, **options)`` of curves (..., n), giving (..., n_out) of ``dtype``; lazy for lazy data."""
    if not isinstance(data, da.Array):
        return function(data, **options).astype(dtype, copy=False)
    data = data.rechunk({data.ndim - 1: -1})
    return da.map_blocks(
        _curves_of_block,
        data,
        function=function,
        out_dtype=np.dtype(dtype),
        options=options,
        dtype=dtype,
        chunks=(*data.chunks[:-1], (n_out,)),
        meta=np.empty((0,) * data.ndim, dtype=dtype),
    )


def _curves_of_block(block: np.ndarray, *, function: Callable, out_dtype: np.dtype, options: dict) -> np.ndarray:
    return function(block, **options).astype(out_dtype, copy=False)


def floating(dtype: np.dtype) -> np.dtype:
    """Type of a result: float32 for float32 and narrower data, else float64."""
    return np.result_type(dtype, np.float32)


def position_map(
    source: BaseSignal, data: np.ndarray | da.Array, *, operation: str, parameters: dict, quantity: str
) -> BaseSignal:
    """Signal of one value per position: an image (| y, x) of a two-dimensional scan, a curve of a line."""
    n_scan = source.axes_manager.navigation_dimension
    axes = scan_axes(source, navigate=n_scan > 2)
    if n_scan == 0:
        data, axes = data[None], [{"name": "", "size": 1, "offset": 0.0, "scale": 1.0, "units": "", "navigate": False}]
    classes = (Signal2D, LazySignal2D) if n_scan == 2 else (Signal1D, LazySignal1D)
    if n_scan > 2:
        classes = (Signal2D, LazySignal2D)
        for axis in axes[-2:]:
            axis["navigate"] = False
    return build_derived(
        classes, data, axes, source=source, operation=operation, parameters=parameters, quantity=quantity
    )


def build_derived(
    classes: tuple[type, type], data: np.ndarray | da.Array, axes: list[dict], *, source: BaseSignal, **record: Any
) -> BaseSignal:
    """Signal as by :func:`medrange.signals.building.build`, titled after the scan, not after each step on the way."""
    result = build(classes, data, axes, source=source, **record)
    title = source.metadata.get_item("General.title", "")
    scan = title.partition(" of ")[2] if source.metadata.has_item("Medrange.Provenance") else title
    name = record["quantity"].partition(" (")[0]
    result.metadata.General.title = f"{name} of {scan}" if scan else name
    return result
