"""Polar grids asked for by a scan's methods, checked against its geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.polar import polar_operator


def open_band(geometry: DiffractionGeometry, k: float, width: float, n_phi: int) -> PolarGrid:
    """One ring, refused where no open detector pixel lies in it."""
    band = PolarGrid.band(k, width, n_phi)
    if not polar_operator(geometry, band).is_open.any():
        msg = (
            f"no open detector pixel lies in the ring k = {k:g} {geometry.k_units}, width {width:g}; full "
            f"circles on the detector reach to k = {geometry.k_max:.3g} {geometry.k_units}."
        )
        raise ValueError(msg)
    return band


def all_rings(
    geometry: DiffractionGeometry,
    n_phi: int,
    k_step: float | None,
    k_max: float | None,
    shifts: np.ndarray | None = None,
) -> PolarGrid:
    """Rings of width ``k_step`` (a detector pixel) from k = 0 to ``k_max``: the largest circle whole at all positions.

    ``shifts`` (..., 2) are those of the center from the geometry's, in pixels.
    """
    step = geometry.k_step if k_step is None else k_step
    limit = _largest_circle(geometry, shifts) if k_max is None else k_max
    if not 0 < step <= limit:
        msg = f"k_step = {step:g} and k_max = {limit:g} {geometry.k_units}: no ring of that width fits."
        raise ValueError(msg)
    n_k = int(limit / step + 1e-6)
    return PolarGrid(0.0, n_k * step, n_k, n_phi)


def _largest_circle(geometry: DiffractionGeometry, shifts: np.ndarray | None) -> float:
    if shifts is None:
        return geometry.k_max
    places = shifts.reshape(-1, 2)
    extremes = ([low, high] for low, high in zip(places.min(axis=0), places.max(axis=0), strict=True))
    corners = np.array(np.meshgrid(*extremes)).reshape(2, -1).T + geometry.center
    return min(replace(geometry, center=(float(row), float(col))).k_max for row, col in corners)
