"""What a scan is good for: dose, saturation, center drift, ellipticity, even and odd orders, speckle contrast."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pandas as pd

from medrange.geometry import DiffractionGeometry
from medrange.kernels.descan import fit_polynomial
from medrange.kernels.ellipse import ring_ellipse
from medrange.kernels.quality import full_scale, pattern_figures
from medrange.signals.centering import aligned_sums, mean_of_sums, open_pixels
from medrange.signals.descan import scan_shifts
from medrange.signals.mapping import Output, map_frames
from medrange.signals.tables import with_units, write_table

if TYPE_CHECKING:
    from medrange.signals.nanodiffraction import Nanodiffraction

# Half the side of the window of the direct beam, as a share of the ring's radius.
_BEAM_WINDOW = 0.4


@dataclass(frozen=True, eq=False, repr=False)
class QualityReport:
    """Figures of merit of a scan, each with what it means for the analysis.

    Attributes
    ----------
    table : pandas.DataFrame
        Columns ``figure``, ``value``, ``unit``, ``verdict`` ("good", "look" or "unknown") and ``meaning``.
    """

    table: pd.DataFrame

    def __repr__(self) -> str:
        lines = [
            f"{row.figure:<28}{_number(row.value):>10} {row.unit:<11}{row.verdict:<8} {row.meaning}"
            for row in self.table.itertuples()
        ]
        return "\n".join(["QualityReport", *lines])

    def __getitem__(self, figure: str) -> float:
        """Value of one figure by name."""
        found = self.table.loc[self.table["figure"] == figure, "value"]
        if found.empty:
            msg = f"there is no figure {figure!r}; there are {', '.join(self.table['figure'])}."
            raise KeyError(msg)
        return float(found.iloc[0])

    def save(self, path: str | Path) -> Path:
        """Write the table as CSV and return its path."""
        return write_table(self.table, path)


def _number(value: float) -> str:
    return "-" if not np.isfinite(value) else f"{value:.4g}"


def _looked_at(
    frames: np.ndarray, shifts: np.ndarray | None = None, *, geometry: DiffractionGeometry, radius: float
) -> tuple[np.ndarray, ...]:
    """Figures of single patterns (n, 5); their sum, aligned, and how many saw each pixel, (rows, cols)."""
    sums = aligned_sums(frames, shifts, is_open=open_pixels(geometry))
    return pattern_figures(frames, geometry, radius=radius), *sums


def quality_report(signal: Nanodiffraction, k: float, width: float, *, gain: float | None) -> QualityReport:
    """Measure a scan on the ring ``(k, width)``; see ``Nanodiffraction.quality_report``."""
    # All that is lazy in one pass over the patterns.
    (measured,) = dask.compute(quality_figures(signal, k, width, gain=gain))
    return report_of(measured, signal, k, width)


def quality_figures(signal: Nanodiffraction, k: float, width: float, *, gain: float | None) -> dict[str, Any]:
    """Arrays that :func:`report_of` makes a report of; lazy for lazy data, to be computed together with others.

    Parameters
    ----------
    signal : Nanodiffraction
        Calibrated scan, or some rows of one.
    k, width, gain
        As of ``Nanodiffraction.quality_report``.

    Returns
    -------
    dict of str to array
        Figures of the patterns (y, x, 5), their aligned sum and how many patterns saw each pixel (rows, cols), and
        P_n, V2D and its shot noise of the ring.
    """
    geometry = signal.geometry
    function = partial(_looked_at, geometry=replace(geometry, descan=None), radius=_BEAM_WINDOW * k)
    outputs = [Output((5,), np.float64), *2 * [Output(geometry.shape, np.float64, is_sum=True)]]
    patterns, total, count = map_frames(
        signal.data, function, outputs, label="quality of the patterns", shifts=scan_shifts(signal)
    )
    keywords = {} if gain is None else {"shot_noise": "poisson", "gain": gain}
    result = signal.medium_range_order(k, width, k_resolved=False, **keywords)
    return {
        "patterns": patterns,
        "total": total,
        "count": count,
        "power": result.band_spectrum.data,
        "variance": result.variance.data,
        "variance_noise": None if result.variance_noise is None else result.variance_noise.data,
    }


def report_of(measured: dict[str, Any], signal: Nanodiffraction, k: float, width: float) -> QualityReport:
    """Report of what :func:`quality_figures` gave for the same arguments, once it is computed."""
    geometry, shifts = signal.geometry, scan_shifts(signal)
    figures = measured["patterns"].reshape(-1, 5)
    total, count = measured["total"], measured["count"]
    mean, seen = mean_of_sums(total, count), replace(geometry, mask=count == 0)
    rows = [
        *_dose_rows(figures, geometry, signal.data.dtype),
        *_beam_rows(figures, geometry, width, shifts),
        _descan_row(figures, signal.data.shape[:-2], shifts),
        _ellipse_row(mean, seen, k, width),
        *_order_rows(measured["power"], measured["variance"], measured["variance_noise"]),
    ]
    table = pd.DataFrame(rows, columns=["figure", "value", "unit", "verdict", "meaning"])
    return QualityReport(with_units(table, {}))


def _verdict(value: float, limit: float) -> str:
    if not np.isfinite(value):
        return "unknown"
    return "good" if value <= limit else "look"


def _dose_rows(figures: np.ndarray, geometry: DiffractionGeometry, dtype: np.dtype) -> list[tuple]:
    dose, highest = figures[:, 0], figures[:, 1]
    spread = float(np.subtract(*np.percentile(dose, [95, 5])) / np.median(dose)) if np.median(dose) > 0 else np.nan
    open_pixels = geometry.shape[0] * geometry.shape[1]
    masked = 0 if geometry.mask is None else int(geometry.mask.sum())
    limit = full_scale(dtype, highest.max())
    at_limit = figures[highest == limit, 2].sum()
    saturated = float(at_limit / (len(figures) * (open_pixels - masked))) if np.isfinite(limit) else np.nan
    if np.dtype(dtype).kind in "iu" and not np.isfinite(limit):
        saturated = 0.0
    return [
        ("dose per pattern", float(np.median(dose)), "data units", "good", "Median sum of the open pixels."),
        (
            "dose variation",
            spread,
            "",
            _verdict(spread, 0.2),
            "5th to 95th percentile over the median: thickness, holes or beam current; leave out odd positions.",
        ),
        (
            "saturated pixels",
            saturated,
            "",
            _verdict(saturated, 0.0),
            "At the end of the counter (unknown for floating data): fit the center by the ring, mask them.",
        ),
        (
            "masked pixels",
            masked / open_pixels,
            "",
            _verdict(masked / open_pixels, 0.1),
            "P_n of rings behind the mask is averaged over fewer pairs; single values scatter more.",
        ),
    ]


def _beam_rows(
    figures: np.ndarray, geometry: DiffractionGeometry, width: float, shifts: np.ndarray | None
) -> list[tuple]:
    beam = figures[:, 3:] if shifts is None else figures[:, 3:] - shifts.reshape(-1, 2)
    found = np.isfinite(beam).all(axis=1)
    offset = drift = np.nan
    if found.any():
        mean = beam[found].mean(axis=0)
        offset = float(np.hypot(*(mean - geometry.center)))
        drift = float(np.percentile(np.hypot(*(beam[found] - mean).T), 95))
    tolerable = 0.1 * width / geometry.k_step
    return [
        (
            "center offset",
            offset,
            "px",
            _verdict(offset, 0.25),
            "Mean direct beam against the center in use; an offset raises odd orders: fit_center().",
        ),
        (
            "center drift",
            drift,
            "px",
            _verdict(drift, tolerable),
            f"95 % of the patterns lie within this of the mean; beyond {tolerable:.2g} px the maps show the drift.",
        ),
    ]


def _descan_row(figures: np.ndarray, scan_shape: tuple[int, ...], shifts: np.ndarray | None) -> tuple:
    """How far a plane through the beams' positions moves the center over the scan, less the descan in use."""
    beam = figures[:, 3:] if shifts is None else figures[:, 3:] - shifts.reshape(-1, 2)
    moved = np.nan
    if len(scan_shape) == 2:
        positions = np.indices(scan_shape).reshape(2, -1).T - (np.array(scan_shape) - 1) / 2
        try:
            _, slopes, _ = fit_polynomial(positions, beam, degree=1)
            moved = float((np.abs(slopes) @ (np.array(scan_shape) - 1)).max())
        except ValueError:
            # Too few beams, or a single line of positions: not known.
            moved = np.nan
    return (
        "descan",
        moved,
        "px",
        _verdict(moved, 0.25),
        "Steady shift of the center from one corner of the scan to the other that is not corrected: fit_descan().",
    )


def _ellipse_row(pattern: np.ndarray, geometry: DiffractionGeometry, k: float, width: float) -> tuple:
    try:
        ratio, _ = ring_ellipse(pattern, geometry, k=k, width=2 * width)
        distortion = abs(1 - ratio)
    except ValueError:
        # A ring that cannot be fitted is a figure that is not known, not a failed report.
        distortion = np.nan
    return (
        "ellipticity",
        distortion,
        "",
        _verdict(distortion, 0.01),
        "|1 - b/a| of the mean ring; raises P_2: fit_ellipse(). Few patterns: their speckle mimics a percent or two.",
    )


def _order_rows(power: np.ndarray, variance: np.ndarray, variance_noise: np.ndarray | None) -> list[tuple]:
    power = np.asarray(power)[:12]
    ratio = float(power[::2].mean() / power[1::2].mean())
    contrast = float(np.nanmedian(variance))
    noise = np.nan if variance_noise is None else float(np.nanmedian(variance_noise))
    return [
        (
            "odd to even power",
            ratio,
            "",
            _verdict(ratio, 0.3),
            "Orders 1 to 12 of the ring; grows with thickness, noise and a wrong center.",
        ),
        (
            "speckle contrast",
            contrast,
            "",
            "good",
            "Median V2D of the ring, less the shot noise where a gain is known.",
        ),
        (
            "shot noise of V2D",
            noise,
            "",
            _verdict(noise, 0.5 * max(contrast, 0.0)),
            "Expected from counting alone (unknown without a gain); above half the contrast the maps are noise.",
        ),
    ]
