"""The run behind ``medrange maps``: load, calibrate, center, map, measure, write."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medrange.io.cluster import connected
from medrange.report.making import ReportFiles
from medrange.report.maps_checks import (
    Chance,
    chance_section,
    counting_gain,
    hold_against_chance,
    quality_sample,
    quality_section,
    quality_warnings,
)
from medrange.report.maps_report import write_maps_report
from medrange.report.page import Section
from medrange.report.running import Tell, gathered_warnings
from medrange.report.scan_setup import open_scan
from medrange.signals.calibration import signal_axes
from medrange.signals.mro_result import compute_with
from medrange.signals.quality import quality_figures, report_of
from medrange.signals.tables import write_table
from medrange.units import unit_factor

if TYPE_CHECKING:
    from medrange.signals.autocorrelation import Autocorrelation
    from medrange.signals.hotspots import Hotspots
    from medrange.signals.mro_result import MROResult
    from medrange.signals.nanodiffraction import Nanodiffraction
    from medrange.signals.quality import QualityReport


@dataclass(frozen=True)
class MapsOptions:
    """What to analyze in a scan, and how; lengths in nm, k in 1/nm.

    Attributes
    ----------
    k, width : float
        Center and full width of the band.
    orders : tuple of int
        Symmetry orders n.
    n_phi : int
        Azimuthal bins.
    scan_step, k_step, beam_energy, convergence_angle : float, optional
        Scan step (nm), detector pixel (1/nm), acceleration voltage (kV) and semi-angle of the probe (mrad); the
        file's own by default.
    center : tuple of float, optional
        Direct beam (row, column) in pixels; the file's own, or fitted, by default.
    scan_shape : tuple of int, optional
        Scan positions (rows, columns); the file's own by default.
    mask : path, optional
        ``.npy`` file with a boolean array of the detector's shape, True = excluded.
    threshold : str or float
        Of the hotspots: ``"isodata"``, ``"otsu"``, ``"quantile:0.95"`` or a number.
    thickness : float
        Of the sample, in nm.
    acceptance_angle : float
        Bragg acceptance angle in degrees.
    lazy : bool
        Read the file in parts, for scans larger than memory.
    null : bool, optional
        Hold the hotspots against those of random objects. By default where the probe is known and the scan has
        at most 128 x 128 positions.
    scheduler : str, optional
        Address of a dask scheduler, ``"tcp://host:8786"``, whose workers read and map the patterns; threads of this
        process by default.
    """

    k: float
    width: float = 0.8
    orders: tuple[int, ...] = (2, 4, 6, 8, 10)
    n_phi: int = 36
    scan_step: float | None = None
    k_step: float | None = None
    beam_energy: float | None = None
    convergence_angle: float | None = None
    center: tuple[float, float] | None = None
    scan_shape: tuple[int, int] | None = None
    mask: Path | None = None
    threshold: str | float = "isodata"
    thickness: float = 20.0
    acceptance_angle: float = 10.0
    lazy: bool = True
    null: bool | None = None
    scheduler: str | None = None


@dataclass(frozen=True)
class MapsAnalysis:
    """What was computed from a scan.

    Attributes
    ----------
    result : MROResult
        The maps, in memory.
    hotspots : Hotspots
        Hotspots of ``result.power``.
    autocorrelation : Autocorrelation
        Autocorrelation of ``result.power``.
    sources : tuple of pathlib.Path
        The files that were read.
    settings : dict
        How the scan was calibrated: name -> value with its unit.
    quality : QualityReport
        Of the scan at the ring.
    chance : Chance or None
        The hotspots against a null model, where that was computed.
    """

    result: MROResult
    hotspots: Hotspots
    autocorrelation: Autocorrelation
    sources: tuple[Path, ...]
    settings: dict[str, object]
    quality: QualityReport
    chance: Chance | None = None


def write_maps(
    path: str | Path,
    options: MapsOptions,
    *,
    folder: str | Path,
    tell: Tell = lambda _: None,
    show_progressbar: bool = False,
) -> ReportFiles:
    """Analyze a scan and write figures, tables, maps and the page.

    Parameters
    ----------
    path : str or path
        Detector file, anything :func:`medrange.load` reads.
    options : MapsOptions
        What to analyze.
    folder : str or path
        Where to write; made when missing.
    tell : callable, optional
        Called with one line before each step, and with each warning.
    show_progressbar : bool, optional
        Show a progress bar during the pass over the data.

    Returns
    -------
    ReportFiles
        The paths written.

    Raises
    ------
    ValueError
        If the scan is not calibrated, or an option does not fit it.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> write_maps("scan.xml", MapsOptions(k=4.0), folder="out").page  # doctest: +SKIP
    """
    with connected(None), gathered_warnings(tell) as messages:
        analysis = analyze_scan(path, options, tell=tell, show_progressbar=show_progressbar)
        tell("writing figures, tables and the page")
        return write_analysis(analysis, folder, warnings=messages)


def analyze_scan(
    path: str | Path, options: MapsOptions, *, tell: Tell = lambda _: None, show_progressbar: bool = False
) -> MapsAnalysis:
    """Load and calibrate a scan, compute its maps and measure their hotspots.

    Parameters
    ----------
    path, options, tell, show_progressbar
        As in :func:`write_maps`.

    Returns
    -------
    MapsAnalysis
        The results, in memory.
    """
    with connected(options.scheduler):
        scan = open_scan(path, options, tell=tell)
        signal = scan.signal
        tell(f"mapping the orders {', '.join(map(str, options.orders))} at k = {options.k:g} 1/nm")
        ring = maps_call(signal, options)
        result = signal.medium_range_order(**ring)
        sample, (k, width) = quality_sample(signal), (ring["k"], ring["width"])
        # The rows that tell the quality are taken as they come by in the pass over the scan.
        figures = quality_figures(sample, k, width, gain=counting_gain(signal))
        figures = compute_with(result, figures, show_progressbar=show_progressbar)
    quality = report_of(figures, sample, k, width)
    tell("measuring hotspots and their correlation")
    hotspots = result.power.hotspots(
        options.threshold, thickness=options.thickness, acceptance_angle=options.acceptance_angle
    )
    if options.null is not False:
        tell("holding the hotspots against chance")
    chance = hold_against_chance(result, hotspots, asked=options.null)
    correlation = result.power.autocorrelation()
    return MapsAnalysis(result, hotspots, correlation, scan.sources, scan.settings, quality, chance)


def maps_call(signal: Nanodiffraction, options: MapsOptions) -> dict[str, Any]:
    """Arguments of ``medium_range_order`` for the options, in the units of the scan; a band off it is refused."""
    factor = unit_factor("1/nm", signal_axes(signal)[0].units)
    k, width = options.k * factor, options.width * factor
    _check_band(signal, k, width)
    return {"k": k, "width": width, "orders": options.orders, "n_phi": options.n_phi}


def write_analysis(
    analysis: MapsAnalysis,
    folder: str | Path,
    *,
    sections: Iterable[Section] = (),
    warnings: Iterable[str] = (),
) -> ReportFiles:
    """Write the report of an analysis; ``sections`` and ``warnings`` as in :func:`write_maps_report`."""
    checks, judged = [quality_section(analysis.quality)], {"quality": analysis.quality.table}
    if (chance := analysis.chance) is not None:
        checks.insert(0, chance_section(chance))
        judged |= {"hotspots_enrichment": chance.table, "null_strength": chance.strength}
    files = write_maps_report(
        analysis.result,
        analysis.hotspots,
        analysis.autocorrelation,
        folder=folder,
        source=analysis.sources,
        settings=analysis.settings,
        sections=[*sections, *checks],
        warnings=[*warnings, *quality_warnings(analysis.quality)],
    )
    extra = [write_table(table, Path(folder) / "tables" / f"{name}.csv") for name, table in judged.items()]
    return replace(files, tables=(*files.tables, *extra))


def _check_band(signal: Nanodiffraction, k: float, width: float) -> None:
    """Refuse a band off the detector; warn of one that the detector cuts."""
    geometry = signal.geometry
    in_band = np.abs(geometry.k_of_pixels() - k) <= width / 2
    if geometry.mask is not None:
        in_band &= ~geometry.mask
    units = geometry.k_units
    if width > 0 and not in_band.any():
        msg = (
            f"no detector pixel lies in the band k = {k:g} +- {width / 2:g} {units}; full circles on the detector "
            f"reach k = {geometry.k_max:.3g} {units}. Check --k, --width, --k-step and --mask."
        )
        raise ValueError(msg)
    if k + width / 2 > geometry.k_max:
        warnings.warn(
            f"the band reaches k = {k + width / 2:g} {units}, beyond the last full circle on the detector at "
            f"{geometry.k_max:.3g} {units}: some azimuths are missing.",
            stacklevel=2,
        )
