"""Polar grids asked for by a scan's methods, checked against its geometry."""

from __future__ import annotations

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


def all_rings(geometry: DiffractionGeometry, n_phi: int, k_step: float | None, k_max: float | None) -> PolarGrid:
    """Rings of width ``k_step`` (a detector pixel) from k = 0 to ``k_max`` (the largest full circle)."""
    step = geometry.k_step if k_step is None else k_step
    limit = geometry.k_max if k_max is None else k_max
    if not 0 < step <= limit:
        msg = f"k_step = {step:g} and k_max = {limit:g} {geometry.k_units}: no ring of that width fits."
        raise ValueError(msg)
    n_k = int(limit / step + 1e-6)
    return PolarGrid(0.0, n_k * step, n_k, n_phi)
