"""HyperSpy's decomposition for curves with negative values, of which non-negative factors do not exist."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from hyperspy.signal import BaseSignal

#: HyperSpy's algorithms that take no negative value.
NON_NEGATIVE = ("NMF", "ORNMF")
_NODE = "Medrange.Decomposition.offset"


def decompose(signal: BaseSignal, run: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Run HyperSpy's ``decomposition``; for NMF of a signal with negative values, of the signal less its minimum.

    The signal itself stays as it is: its ``learning_results`` are those of the raised data, which its warning and
    ``metadata.Medrange.Decomposition.offset`` tell.

    Parameters
    ----------
    signal : BaseSignal
    run : callable
        The method of HyperSpy's class, bound to the signal.
    *arguments, **options
        As for HyperSpy's method.
    """
    algorithm = arguments[1] if len(arguments) > 1 else options.get("algorithm", "SVD")
    least = _least(signal.data) if algorithm in NON_NEGATIVE else 0.0
    if not least < 0:
        return run(*arguments, **options)
    msg = (
        f"the curves are negative in places, and {algorithm} needs values of 0 and above: {-least:.4g} was added to "
        "all of them first, and is part of the factors. structural_components() treats this as the literature does."
    )
    warnings.warn(msg, stacklevel=3)
    raised = signal._deepcopy_with_new_data(signal.data - least)
    result = raised.decomposition(*arguments, **options)
    signal.learning_results = raised.learning_results
    signal.metadata.set_item(_NODE, -least)
    return result


def _least(values: np.ndarray | da.Array) -> float:
    return float(dask.compute(da.nanmin(values))[0] if isinstance(values, da.Array) else np.nanmin(values))
