"""What the counting error of a radial profile needs: the detector area behind each ring, and the gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medrange.geometry import PolarGrid
from medrange.kernels.polar import polar_operator
from medrange.units import unit_factor

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

_NODE = "Medrange.Rings"


def record_rings(profile: BaseSignal, source: BaseSignal, grid: PolarGrid) -> BaseSignal:
    """Record the open area of each ring in pixels, and the gain where the data are counts; return the profile."""
    area = polar_operator(source.geometry, grid).area.sum(axis=1)
    record = {"area": area, "k_first": float(grid.k[0]), "k_step": grid.k_step, "k_units": source.geometry.k_units}
    if source.data.dtype.kind in "iu":
        record["gain"] = 1.0
    profile.metadata.set_item(_NODE, record)
    return profile


def copy_rings(target: BaseSignal, source: BaseSignal) -> None:
    """Take the record over to a signal made from the profile."""
    if source.metadata.has_item(_NODE):
        target.metadata.set_item(_NODE, source.metadata.get_item(_NODE).as_dictionary())


def ring_areas(profile: BaseSignal) -> np.ndarray | None:
    """Open detector area, in pixels, of each ring of a profile as it is; None where it is not recorded."""
    if not profile.metadata.has_item(_NODE):
        return None
    record = profile.metadata.get_item(_NODE)
    axis = profile.axes_manager.signal_axes[0]
    factor = unit_factor(axis.units, record.k_units)
    index = (axis.axis * factor - record.k_first) / record.k_step
    nearest = np.rint(index).astype(int)
    area = np.asarray(record.area, dtype=float)
    if np.abs(index - nearest).max() > 1e-3 or nearest.min() < 0 or nearest.max() >= area.size:
        return None
    return area[nearest]


def recorded_gain(profile: BaseSignal) -> float | None:
    """Data units per electron: 1 where the patterns were integers, else None."""
    return profile.metadata.get_item(f"{_NODE}.gain")
