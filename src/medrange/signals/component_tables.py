"""Tables of structural components: peaks, connections of clusters, population fractions, stability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medrange.pdf.components import component_stability
from medrange.pdf.fractions import block_bootstrap_error
from medrange.pdf.normalization import first_peak_range
from medrange.pdf.peaks import connectivity_distances, find_peak, find_second_peaks
from medrange.signals.tables import with_units
from medrange.signals.weight_maps import block_side

if TYPE_CHECKING:
    from medrange.signals.structural_components import StructuralComponents

_PEAK_UNITS = dict.fromkeys(("first_peak", "band_low", "band_high", "fwhm", "second_peak", "shoulder"), "Å")


def peak_positions(result: StructuralComponents) -> pd.DataFrame:
    """Table of :attr:`StructuralComponents.peak_positions`."""
    r, curves = result.basis.r, np.asarray(result.basis.data, dtype=np.float64)
    first = find_peak(curves, r, first_peak_range(r))
    second, shoulder = find_second_peaks(curves, r, first.position)
    band = np.full((len(curves), 2), np.nan)
    if len(result.types) == 2:
        band[:2] = result.band.first_peak
    columns = {
        "component": list(result.labels),
        "first_peak": first.position,
        "band_low": band[:, 0],
        "band_high": band[:, 1],
        "fwhm": first.fwhm,
        "second_peak": second.position,
        "shoulder": shoulder,
    }
    return with_units(pd.DataFrame(columns), _PEAK_UNITS)


def connectivity(result: StructuralComponents) -> pd.DataFrame:
    """Table of :meth:`StructuralComponents.connectivity`."""
    r, curves = result.basis.r, np.asarray(result.basis.data, dtype=np.float64)
    positions = find_peak(curves, r, first_peak_range(r)).position
    rows = [
        {"component": label, "shared_atoms": atoms, "first_peak": first, "distance": float(distance)}
        | {"value": float(np.interp(distance, r, curve, left=np.nan, right=np.nan))}
        for label, first, curve in zip(result.types, positions, curves, strict=False)
        for atoms, distance in connectivity_distances(first).items()
    ]
    unit = "1/Å²" if result.parameters["normalization"] is None else ""
    return with_units(pd.DataFrame(rows), {"first_peak": "Å", "distance": "Å", "value": unit})


def fractions(
    result: StructuralComponents, block: int | None, n_samples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Table of :meth:`StructuralComponents.fractions`."""
    maps = result.fraction_maps
    blocks = [block_side(image) if block is None else block for image in maps]
    band = np.full((len(maps), 2), np.nan)
    if len(maps) == 2:
        low, high = result.band.liquid_fraction
        band = np.array([[low, high], [1 - high, 1 - low]])
    errors = [
        block_bootstrap_error(image, side, n_samples=n_samples, seed=rng)
        for image, side in zip(maps, blocks, strict=True)
    ]
    columns = {
        "component": list(result.types),
        "fraction": np.nanmean(maps, axis=(1, 2)),
        "error": errors,
        "block": blocks,
        "band_low": band[:, 0],
        "band_high": band[:, 1],
    }
    return with_units(pd.DataFrame(columns), {"block": "px"})


def stability(result: StructuralComponents, n_runs: int, seed: int | np.random.Generator) -> pd.DataFrame:
    """Table of :meth:`StructuralComponents.stability`."""
    weights = np.moveaxis(result.weights.data, 0, -1).reshape(-1, len(result.labels))[result.scan.valid]
    bases = np.asarray(result.basis.data, dtype=np.float64)
    runs = component_stability(result.scan, bases, weights, result.basis.r, n_runs=n_runs, seed=seed)
    rows = [
        {
            "run": i,
            "kind": kind,
            "component": label,
            "basis_correlation": runs.basis_correlation[i, j],
            "weight_correlation": runs.weight_correlation[i, j],
            "first_peak": runs.first_peak[i, j],
            "residual": runs.residual[i],
        }
        for i, kind in enumerate(runs.kinds)
        for j, label in enumerate(result.labels)
    ]
    return with_units(pd.DataFrame(rows), {"first_peak": "Å"})
