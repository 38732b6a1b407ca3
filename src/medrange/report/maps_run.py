"""The run behind ``medrange maps``: load, calibrate, center, map, measure, write."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medrange.report.making import ReportFiles
from medrange.report.maps_checks import (
    Chance,
    chance_section,
    hold_against_chance,
    measure_quality,
    quality_section,
    quality_warnings,
)
from medrange.report.maps_report import write_maps_report
from medrange.report.page import Section
from medrange.report.running import Tell, gathered_warnings
from medrange.signals.calibration import pixel_center, signal_axes
from medrange.signals.loading import load
from medrange.signals.tables import write_table
from medrange.units import standard_units, unit_factor

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
    with gathered_warnings(tell) as messages:
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
    tell(f"loading {path}")
    signal = load(path, lazy=options.lazy, scan_shape=options.scan_shape)
    settings = _calibrate(signal, options)
    settings |= _exclude(signal, options)
    tell("finding the center of the patterns")
    settings |= _center(signal, options)
    tell(f"mapping the orders {', '.join(map(str, options.orders))} at k = {options.k:g} 1/nm")
    factor = unit_factor("1/nm", signal_axes(signal)[0].units)
    k, width = options.k * factor, options.width * factor
    _check_band(signal, k, width)
    result = signal.medium_range_order(k, width, orders=options.orders, n_phi=options.n_phi)
    result.compute(show_progressbar=show_progressbar)
    tell("judging the quality of the scan")
    quality = measure_quality(signal, k, width)
    tell("measuring hotspots and their correlation")
    hotspots = result.power.hotspots(
        options.threshold, thickness=options.thickness, acceptance_angle=options.acceptance_angle
    )
    if options.null is not False:
        tell("holding the hotspots against chance")
    chance = hold_against_chance(result, hotspots, asked=options.null)
    sources = _sources(signal, Path(path))
    return MapsAnalysis(result, hotspots, result.power.autocorrelation(), sources, settings, quality, chance)


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


def _calibrate(signal: Nanodiffraction, options: MapsOptions) -> dict[str, object]:
    """Set the scales that were given, and refuse a scan without scales."""
    signal.calibrate(
        scan_step=options.scan_step,
        k_step=options.k_step,
        k_units="1/nm",
        beam_energy=options.beam_energy,
        convergence_angle=options.convergence_angle,
    )
    missing = []
    if any(standard_units(axis.units) is None for axis in signal.axes_manager.navigation_axes):
        missing.append("--scan-step NM (distance of probe positions in nm)")
    if any(standard_units(axis.units) is None for axis in signal_axes(signal)):
        missing.append("--k-step K (size of a detector pixel in 1/nm)")
    if missing:
        msg = f"the file does not say all scales; give {' and '.join(missing)}."
        raise ValueError(msg)
    settings: dict[str, object] = {
        f"scan step {axis.name}": f"{axis.scale:g} {standard_units(axis.units)}"
        for axis in signal.axes_manager.navigation_axes[::-1]
    }
    kx = signal_axes(signal)[1]
    settings["detector pixel"] = f"{kx.scale:g} {standard_units(kx.units)}"
    for name, unit in (("beam_energy", "kV"), ("convergence_angle", "mrad")):
        value = signal.metadata.get_item(f"Acquisition_instrument.TEM.{name}")
        settings[name.replace("_", " ")] = "unknown" if value is None else f"{value:g} {unit}"
    return settings


def _exclude(signal: Nanodiffraction, options: MapsOptions) -> dict[str, object]:
    """Mask what the user excludes, and the gap between the chips if the file tells of one."""
    gap = signal.metadata.get_item("Medrange.Detector.gap_mask")
    masks = [] if gap is None else [np.asarray(gap, dtype=bool)]
    if options.mask is not None:
        masks.append(_read_mask(options.mask, signal))
    if not masks:
        return {}
    mask = np.logical_or.reduce(masks)
    signal.set_mask(mask)
    return {"excluded detector pixels": int(mask.sum())}


def _read_mask(path: Path, signal: Nanodiffraction) -> np.ndarray:
    mask = np.load(path, allow_pickle=False)
    shape = tuple(axis.size for axis in signal_axes(signal))
    if mask.dtype != bool or mask.shape != shape:
        msg = f"{path} holds {mask.dtype} of shape {mask.shape}; the mask must be boolean of shape {shape}."
        raise ValueError(msg)
    return mask


def _center(signal: Nanodiffraction, options: MapsOptions) -> dict[str, object]:
    """Center given, else known to the file, else fitted to the direct beam."""
    if options.center is not None:
        signal.set_center(options.center)
        origin = "given"
    elif pixel_center(signal) is not None:
        origin = "from the file"
    else:
        signal.fit_center()
        origin = "fitted to the direct beam"
    row, column = pixel_center(signal)
    return {"center (row, column)": f"{row:.2f}, {column:.2f} px, {origin}"}


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


def _sources(signal: Nanodiffraction, path: Path) -> tuple[Path, ...]:
    """The file that was named, and the one beside it that holds the frames."""
    frames = signal.metadata.get_item("Medrange.Source.file")
    if frames is None or not Path(frames).exists() or Path(frames).resolve() == path.resolve():
        return (path,)
    return (path, Path(frames))
