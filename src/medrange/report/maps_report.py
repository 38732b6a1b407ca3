"""Files of one medium-range-order run: figures, tables, maps, and the page that shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medrange.plotting.style import MapFrame, order_label
from medrange.report.making import ReportFiles, inputs_table, making_section
from medrange.report.maps_figures import band_limits, write_figures
from medrange.report.page import Figure, Section, Table, write_page
from medrange.signals.tables import write_table

if TYPE_CHECKING:
    from medrange.signals.autocorrelation import Autocorrelation
    from medrange.signals.hotspots import Hotspots
    from medrange.signals.mro_result import MROResult

#: More regions than this would make the page heavy.
_MOST_REGIONS = 500


def write_maps_report(
    result: MROResult,
    hotspots: Hotspots,
    autocorrelation: Autocorrelation,
    *,
    folder: str | Path,
    source: str | Path | Sequence[str | Path],
    settings: Mapping[str, object] | None = None,
    sections: Iterable[Section] = (),
    warnings: Iterable[str] = (),
) -> ReportFiles:
    """Write figures, tables, maps and one HTML page of a medium-range-order analysis.

    Parameters
    ----------
    result : MROResult
        Computed maps (n | y, x) and (| y, x), spectrum (k, n) and profile (y, x | k).
    hotspots : Hotspots
        Hotspots of ``result.power``.
    autocorrelation : Autocorrelation
        Autocorrelation of ``result.power``.
    folder : str or path
        Gets ``index.html``, ``figures/*.png``, ``tables/*.csv`` and ``maps/*.zspy``; files of the same name
        are replaced.
    source : path or sequence of paths
        The input file or files; name, size and checksum go on the page.
    settings : mapping, optional
        What the user asked for, besides ``result.parameters``: name -> value with its unit.
    sections : iterable of Section, optional
        Further parts of the page, shown first.
    warnings : iterable of str, optional
        Shown above everything else, before those that follow from the result itself.

    Returns
    -------
    ReportFiles
        The paths written.

    Raises
    ------
    FileNotFoundError
        If the source does not exist.
    ValueError
        If the result is not computed, or has no spectrum and profile.

    Examples
    --------
    >>> files = write_maps_report(
    ...     result, result.power.hotspots(), result.power.autocorrelation(), folder="out", source="scan.xml"
    ... )  # doctest: +SKIP
    """
    if result.spectrum is None or result.profile is None:
        msg = "the result has no spectrum and profile; run medium_range_order with k_resolved=True."
        raise ValueError(msg)
    summary = result.summary().reset_index()
    folder = Path(folder)
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    inputs = inputs_table(sources)
    figures = write_figures(result, hotspots, autocorrelation, folder / "figures")
    overlap = result.power.overlap_with(result.variance, hotspots.parameters["threshold"])
    tables = [
        *hotspots.save(folder / "tables"),
        *autocorrelation.save(folder / "tables" / "autocorrelation.csv"),
        write_table(overlap, folder / "tables" / "hotspots_overlap_with_variance.csv"),
        write_table(summary, folder / "tables" / "maps_summary.csv"),
    ]
    maps = result.save(folder / "maps" / f"{Path(sources[0]).stem}.zspy", overwrite=True)
    page = write_page(
        folder / "index.html",
        title=f"Medium-range order in {Path(sources[0]).name}",
        summary=_main_figures(result, hotspots),
        sections=[
            *sections,
            _maps_section(figures, result, summary),
            _hotspots_section(figures, hotspots, overlap),
            _autocorrelation_section(figures, autocorrelation),
            _diffraction_section(figures),
            making_section({**(settings or {}), **result.parameters, **hotspots.parameters}, inputs),
        ],
        warnings=[*warnings, *_result_warnings(result, hotspots)],
    )
    return ReportFiles(page, tuple(figures.values()), tuple(tables), tuple(maps))


def _maps_section(figures: Mapping[str, Path], result: MROResult, summary: pd.DataFrame) -> Section:
    low, high = band_limits(result)
    units = result.parameters["k_units"]
    return Section(
        "Maps",
        "The angular power P_n is the share of the ring's azimuthal intensity variation that has n-fold "
        "symmetry; V2D is the variance over azimuth, the sum of all P_n. Even orders are present in any "
        "thin sample, ordered or not, because Friedel symmetry makes every speckle appear twice: an order "
        "is evidence only where it stands out from the rest of its own map.",
        (
            Figure(
                figures["order_maps"],
                f"Angular power P_n in the band {low:g} to {high:g} {units}, one map per order n, each with "
                "its own color range, and the normalized sum of these maps. Gray lines: 85th and 95th "
                "percentile of V2D. As Fig. 3 of Im et al. (2018).",
            ),
            Figure(
                figures["variance_and_ring"],
                "Left: V2D, the variance over azimuth divided by the squared mean. Right: mean intensity of "
                "the ring, which shows thickness and strong scatterers.",
            ),
        ),
        (Table(summary, "Values of the maps over the scan."),),
    )


def _hotspots_section(figures: Mapping[str, Path], hotspots: Hotspots, overlap: pd.DataFrame) -> Section:
    asked = hotspots.parameters
    shared = hotspots.overlap.rename_axis("n").reset_index()
    return Section(
        "Hotspots",
        f"Connected regions above the threshold ({asked['threshold']}) are taken as spheres of the same "
        f"projected area. The volume fraction assumes a thickness of {asked['thickness']:g} nm and a Bragg "
        f"acceptance angle of {asked['acceptance_angle']:g} degrees.\n\n"
        "Regions of plain speckle have the size of the probe: diameters near the probe size are no proof of "
        "order, and diameters of ordered regions are broadened by the probe.",
        (
            Figure(
                figures["hotspots"],
                "Outlines of the hotspots over the map they were found in. As Fig. 4a of Im et al. (2018).",
            ),
            Figure(
                figures["sizes"],
                "Mean diameter and volume fraction of the hotspots of each order, with standard errors over "
                "the regions of the map. As Fig. 4b of Im et al. (2018).",
            ),
        ),
        (
            Table(hotspots.summary, "Statistics of the hotspots, one row per map."),
            Table(
                overlap,
                "Share of the hotspot area of each order that lies in hotspots of V2D, the share expected by "
                "chance, and the share of the V2D hotspots covered by those of the order.",
            ),
            Table(shared, "Share of the hotspot area of the row's order that lies in hotspots of the column's."),
            _regions_table(hotspots.table),
        ),
    )


def _regions_table(table: pd.DataFrame) -> Table:
    """List all regions, or the largest where they are many."""
    if len(table) <= _MOST_REGIONS:
        return Table(table, "All regions.")
    largest = table.nlargest(_MOST_REGIONS, "area")
    largest.attrs = table.attrs
    return Table(largest, f"The {_MOST_REGIONS} largest of {len(table)} regions; all are in tables/hotspots.csv.")


def _autocorrelation_section(figures: Mapping[str, Path], autocorrelation: Autocorrelation) -> Section:
    return Section(
        "Spatial correlation",
        "",
        (
            Figure(
                figures["autocorrelation"],
                "Radial autocorrelation of each map. Left: the decay within a region; the dotted line is "
                "1/e, where the correlation length is read. Right: correlation between regions; a triangle "
                "marks the first neighbor. As Fig. 4c and d of Im et al. (2018).",
            ),
        ),
        (Table(autocorrelation.summary, "Correlation length and distance of the first neighbor of each map."),),
    )


def _diffraction_section(figures: Mapping[str, Path]) -> Section:
    return Section(
        "Diffraction",
        "",
        (
            Figure(
                figures["angular_power"],
                "Angular power averaged over the scan: at the analyzed ring (left) and over k (right, dashed "
                "lines at the limits of the band). Strong odd orders tell of a thick sample or of a wrong "
                "center. As Fig. 2 of Im et al. (2018).",
            ),
            Figure(figures["radial_profile"], "Mean intensity over the scan, with the analyzed band."),
        ),
    )


def _main_figures(result: MROResult, hotspots: Hotspots) -> dict[str, object]:
    """Pick what is shown first."""
    frame = MapFrame.of(result.variance)
    rows, columns = result.variance.data.shape
    low, high = band_limits(result)
    last = hotspots.summary.iloc[-1]
    name = order_label(hotspots.orders[-1])
    return {
        "Scan": f"{rows} x {columns}, {frame.height:.3g} x {frame.width:.3g} {frame.units}",
        "Ring": f"{low:g} to {high:g} {result.parameters['k_units']}",
        "Orders": ", ".join(str(n) for n in result.power.orders),
        "Mean V2D": float(np.nanmean(np.asarray(result.variance.data))),
        f"Hotspots, {name}": int(last["count"]),
        f"Mean diameter, {name}": _measured(last["diameter_mean"], last["diameter_sem"], "nm"),
        f"Volume fraction, {name}": _measured(100 * last["volume_fraction"], 100 * last["volume_fraction_sem"], "%"),
    }


def _measured(value: float, error: float, unit: str) -> str:
    """``"1.23 ± 0.04 nm"``; a dash for what is missing."""
    if not np.isfinite(value):
        return "–"
    return f"{value:.2f} {unit}" if not np.isfinite(error) else f"{value:.2f} ± {error:.2f} {unit}"


def _result_warnings(result: MROResult, hotspots: Hotspots) -> list[str]:
    """Warn of what makes the maps less certain."""
    warnings = []
    ratio = _odd_to_even(result)
    if ratio > 0.5:
        warnings.append(
            f"Odd orders carry {ratio:.0%} of the power of even ones at the analyzed ring: the sample is "
            "thick, the center is off, or the ring holds few electrons. The maps of even n are less certain."
        )
    step = max(hotspots.pixel_size)
    small = hotspots.summary[hotspots.summary["diameter_mean"] < 2 * step]["n"]
    if len(small):
        warnings.append(
            f"The mean hotspot diameter is below two scan steps ({2 * step:g} nm) for n = "
            f"{', '.join(map(str, small))}: most regions are single pixels; their sizes mean little."
        )
    return warnings


def _odd_to_even(result: MROResult) -> float:
    """Mean power of odd orders over that of even ones of the analyzed ring, orders 1 to 12."""
    power = np.asarray(result.band_spectrum.data, dtype=float)[:12]
    even = np.nanmean(power[1::2])
    return float(np.nanmean(power[::2]) / even) if even > 0 else np.inf
