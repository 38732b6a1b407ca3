"""The PNG figures of a run of pair distribution functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medrange import plotting
from medrange.plotting.components import component_colors
from medrange.plotting.style import ACCENT_COLOR, MapFrame, settle
from medrange.report.figure_files import Draw, save_figures
from medrange.units import unit_factor

if TYPE_CHECKING:
    from medrange.report.pdf_run import PdfAnalysis

#: Percentiles at the ends of the colors of a map of peaks: single positions of wild speckle must not take them up.
_RANGE = (1.0, 99.0)
_DASHES = ("-", (0, (4, 3)), ":", "-.")


def write_pdf_figures(analysis: PdfAnalysis, folder: Path) -> dict[str, Path]:
    """Draw and save all figures of a run.

    Parameters
    ----------
    analysis : PdfAnalysis
        From :func:`medrange.report.pdf_run.analyze_profiles`.
    folder : path
        Where the PNG files go.

    Returns
    -------
    dict of str to pathlib.Path
        ``structure_factor``, ``mean_pdf``, ``first_peak``, ``basis``, ``weights``, ``fractions``, ``autocorrelation``.
    """
    components = analysis.components
    width, height = MapFrame.of(components.weights).panel_size
    drawings: dict[str, tuple[Draw, tuple[float, float]]] = {
        "structure_factor": (lambda figure: _draw_structure_factor(figure, analysis), (9.6, 2.8)),
        "mean_pdf": (lambda figure: _draw_mean_pdf(figure, analysis), (5.6, 3.3)),
        "first_peak": (lambda figure: _draw_position_maps(figure, analysis), (3 * width, height)),
        "basis": (lambda figure: _draw_basis(figure, analysis), (5.6, 3.5)),
        "weights": (
            lambda figure: plotting.plot_weights(components, axes=figure.subplots(1, len(components.labels))),
            (width * len(components.labels), height),
        ),
        "fractions": (lambda figure: _draw_fractions(figure, analysis), (width + 3.0, max(height, 2.6) + 0.5)),
        "autocorrelation": (lambda figure: _draw_autocorrelation(figure, analysis), (4.6, 3.0)),
    }
    return save_figures(folder, drawings)


def _draw_structure_factor(figure: Any, analysis: PdfAnalysis) -> None:
    """All of I(k) with the limits of the range, I(k) in the range with its background, and S(k)."""
    left, middle, right = figure.subplots(1, 3)
    mean = analysis.mean_profile.deepcopy()
    axis = mean.axes_manager.signal_axes[0]
    factor = unit_factor(axis.units, "1/Å")
    axis.scale, axis.offset, axis.units = axis.scale * factor, axis.offset * factor, "1/Å"
    plotting.plot_radial_profile(mean, ax=left)
    for limit in analysis.options.k_range:
        left.axvline(limit, color=ACCENT_COLOR, linewidth=0.8, linestyle=":")
    plotting.plot_structure_factor(analysis.mean_factor, axes=(middle, right))


def _draw_mean_pdf(figure: Any, analysis: PdfAnalysis) -> None:
    """G(r) with its counting error, the spread over the scan behind it."""
    ax = figure.subplots()
    error = analysis.mean_pdf.error_band() if analysis.has_error else None
    plotting.plot_reduced_pdf(analysis.mean_pdf, ax=ax, error=error, connectivity=True)
    mean, spread = np.asarray(analysis.mean_pdf.data), analysis.spread
    ax.fill_between(analysis.mean_pdf.r, mean - spread, mean + spread, color="0.85", linewidth=0, zorder=0)


def _draw_position_maps(figure: Any, analysis: PdfAnalysis) -> None:
    peak = analysis.first_peak
    maps = (
        (analysis.normalization, "inferno", "atoms in the beam, N / mean"),
        (peak.position, "viridis", "first peak of G(r) (Å)"),
        (peak.height, "magma", "height of the first peak (Å$^{-2}$)"),
    )
    for ax, (signal, cmap, label) in zip(figure.subplots(1, 3), maps, strict=True):
        if signal is analysis.normalization:
            signal = signal / float(np.nanmean(signal.data))
        values = np.asarray(signal.data, dtype=float)
        limits = tuple(np.nanpercentile(values, _RANGE)) if np.isfinite(values).any() else None
        plotting.plot_map(signal, ax=ax, cmap=cmap, label=label, limits=limits)


def _draw_basis(figure: Any, analysis: PdfAnalysis) -> None:
    ax = figure.subplots()
    plotting.plot_basis(analysis.components, ax=ax, band=analysis.has_band)


def _draw_fractions(figure: Any, analysis: PdfAnalysis) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    plotting.plot_color_mix(analysis.components, ax=left)
    plotting.plot_fractions(analysis.components, ax=right)
    right.set_xticks([])
    # The map beside it names the colors.
    right.get_legend().remove()


def _draw_autocorrelation(figure: Any, analysis: PdfAnalysis) -> None:
    """Curves of the weights without their noise, 1/e, and the length that the probe alone gives."""
    ax = figure.subplots()
    components = analysis.components
    curves, colors = components.autocorrelation(), component_colors(components.labels)
    for i, (label, values) in enumerate(zip(components.labels, curves.values, strict=True)):
        # Two fractions that add up to 1 have the same curve: the second must not hide the first.
        style = {"linestyle": _DASHES[i % len(_DASHES)], "linewidth": 3.0 if i == 0 else 1.4}
        ax.plot(curves.r, values, color=colors[label], label=label, **style)
    ax.axhline(np.exp(-1), color="0.6", linewidth=0.8, linestyle=":", label="1/e")
    ax.axhline(0, color="0.6", linewidth=0.6)
    floor = float(analysis.lengths["probe_floor"].iloc[0])
    if np.isfinite(floor):
        ax.axvspan(0, floor, color="0.85", linewidth=0, zorder=0, label="probe alone")
    ax.set_xlim(0, curves.r[-1])
    ax.set_xlabel("r (nm)")
    ax.set_ylabel("autocorrelation")
    ax.legend()
    settle(ax)
