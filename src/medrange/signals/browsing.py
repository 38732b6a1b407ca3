"""The image of a scan that ``plot()`` of a lazy signal shows instead of reading every pattern."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from hyperspy.signals import Signal2D

from medrange.io.frames import strip_rows
from medrange.io.navigator import TITLE

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

_NODE = "_HyperSpy.navigator"


def navigator_image(signal: BaseSignal, image: np.ndarray) -> Signal2D:
    """Navigator (| y, x) with the axes of the signal's scan."""
    navigator = Signal2D(image)
    navigator.metadata.General.title = TITLE
    for own, axis in zip(navigator.axes_manager.signal_axes, signal.axes_manager.navigation_axes, strict=True):
        own.name, own.scale, own.offset, own.units = axis.name, axis.scale, axis.offset, axis.units
    return navigator


@contextmanager
def with_navigator(signal: BaseSignal) -> Iterator[None]:
    """While it is saved a scan in memory has the navigator that a lazy one of the file will need."""
    is_scan = signal.axes_manager.navigation_dimension == 2
    if signal._lazy or not is_scan or signal.navigator is not None:
        yield
        return
    strips = signal.data[..., strip_rows(signal.data.shape[-2]), :]
    signal.navigator = navigator_image(signal, strips.sum(axis=(2, 3), dtype=np.float64))
    try:
        yield
    finally:
        del signal.metadata._HyperSpy.navigator
