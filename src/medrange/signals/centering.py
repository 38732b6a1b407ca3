"""Mean pattern of a scan, and the center found in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask.array as da
import numpy as np

from medrange.geometry import DiffractionGeometry
from medrange.kernels.center import direct_beam_center, friedel_center, ring_center
from medrange.signals import calibration

# Pixels between the direct beam and the center of symmetry, which is known to about one.
_SYMMETRY_TOLERANCE = 5.0

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal


def mean_pattern(signal: BaseSignal, *, max_patterns: int) -> np.ndarray:
    """Mean of about ``max_patterns`` patterns spread evenly over the scan, (rows, cols) in float64.

    Of lazy data whole chunks are read, as few as hold that many patterns.
    """
    if max_patterns < 1:
        msg = f"max_patterns is {max_patterns}; at least one pattern is needed."
        raise ValueError(msg)
    data = signal.data
    if isinstance(data, da.Array):
        return _lazy_mean(data, max_patterns)
    frames = data.reshape(-1, *data.shape[-2:])
    return frames[:: max(1, len(frames) // max_patterns)].mean(axis=0, dtype=np.float64)


def _lazy_mean(data: da.Array, max_patterns: int) -> np.ndarray:
    blocks = list(np.ndindex(data.numblocks[:-2]))
    per_block = np.prod(data.shape[:-2]) / len(blocks)
    wanted = min(len(blocks), max(1, round(max_patterns / per_block)))
    chosen = [blocks[i] for i in np.unique(np.linspace(0, len(blocks) - 1, wanted).round().astype(int))]
    total, count = 0.0, 0
    # One after the other, so that only a chunk per thread is in memory.
    for block in chosen:
        part = data.blocks[block]
        scan = tuple(range(part.ndim - 2))
        total = total + part.sum(axis=scan, dtype=np.float64).compute()
        count += int(np.prod(part.shape[:-2]))
    return total / count


def find_center(
    signal: BaseSignal, method: str, *, k: float | None, width: float | None, max_patterns: int
) -> tuple[float, float]:
    """Center (row, col) of the patterns by ``"direct_beam"`` or ``"ring"``.

    Raises
    ------
    ValueError
        For an unknown method, a ring without k and width, or a center that cannot be found.
    """
    if method not in ("direct_beam", "ring"):
        msg = f"method is {method!r}; use 'direct_beam', or 'ring' when the beam is blocked or saturated."
        raise ValueError(msg)
    mask = calibration.window_mask(signal)
    pattern = mean_pattern(signal, max_patterns=max_patterns)
    if method == "direct_beam":
        center = direct_beam_center(pattern, mask)
        _check_symmetry(center, pattern, mask)
        return center
    if k is None or width is None:
        msg = "the ring method needs the ring: fit_center(method='ring', k=4.0, width=1.5), in the k axes' units."
        raise ValueError(msg)
    scale, units = calibration.k_scale(signal)
    guess = calibration.pixel_center(signal) or friedel_center(pattern, mask)
    geometry = DiffractionGeometry(pattern.shape, guess, scale, units, None, mask)
    return ring_center(pattern, geometry, k=k, width=width)


def _check_symmetry(center: tuple[float, float], pattern: np.ndarray, mask: np.ndarray | None) -> None:
    """Refuse a brightest spot that is not the pattern's center of symmetry: the beam is then blocked."""
    middle = (np.array(pattern.shape) - 1) / 2
    if (np.abs(center - middle) > 0.2 * np.array(pattern.shape)).any():
        return  # too little of the pattern has a counterpart to judge by
    symmetry = friedel_center(pattern, mask)
    apart = float(np.hypot(*(np.array(center) - symmetry)))
    if apart > _SYMMETRY_TOLERANCE:
        msg = (
            f"the brightest spot, at row {center[0]:.1f}, column {center[1]:.1f}, lies {apart:.1f} px from the "
            f"pattern's center of symmetry, row {symmetry[0]:.1f}, column {symmetry[1]:.1f}: the direct beam seems to "
            "be blocked. Use fit_center(method='ring', k=..., width=...), or set_center((row, col))."
        )
        raise ValueError(msg)
