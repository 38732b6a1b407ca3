"""Compute lazy signals that come from the same data in one pass over it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import dask
from dask.diagnostics import ProgressBar
from hyperspy.signal import BaseSignal

from medrange.signals.mapping import shows_progress


def compute_together(signals: Iterable[BaseSignal], others: Any = None, *, show_progressbar: bool | None = None) -> Any:
    """Compute lazy signals in place, and other arrays with them: what they have in common is made once.

    Parameters
    ----------
    signals : iterable of BaseSignal
        Those that are not lazy stay as they are.
    others : array, or a tuple, list or dict of arrays
        Lazy or not.
    show_progressbar : bool, optional
        HyperSpy's preference when not given.

    Returns
    -------
    array, tuple, list or dict
        ``others``, computed.
    """
    lazy = [signal for signal in signals if signal._lazy]
    with ProgressBar(minimum=1.0) if shows_progress(show_progressbar) else nullcontext():
        arrays, others = dask.compute([signal.data for signal in lazy], others)
    for signal, array in zip(lazy, arrays, strict=True):
        signal.data = array
        signal._lazy = False
        signal._assign_subclass()
    return others
