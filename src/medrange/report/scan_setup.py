"""What every run on a scan does first: open it, set its scales, exclude pixels, find the center."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from medrange.report.running import Tell
from medrange.signals.calibration import pixel_center, signal_axes
from medrange.signals.loading import load
from medrange.units import standard_units

if TYPE_CHECKING:
    from medrange.signals.nanodiffraction import Nanodiffraction


class ScanOptions(Protocol):
    """What the options of a run say about the scan; lengths in nm, k in 1/nm, None for what the file says."""

    @property
    def scan_step(self) -> float | None:
        """Distance of probe positions, nm."""

    @property
    def k_step(self) -> float | None:
        """Size of a detector pixel, 1/nm."""

    @property
    def beam_energy(self) -> float | None:
        """Acceleration voltage, kV."""

    @property
    def convergence_angle(self) -> float | None:
        """Semi-angle of the probe, mrad."""

    @property
    def center(self) -> tuple[float, float] | None:
        """Direct beam (row, column) in pixels."""

    @property
    def scan_shape(self) -> tuple[int, int] | None:
        """Scan positions (rows, columns)."""

    @property
    def mask(self) -> Path | None:
        """File of a boolean array of the detector's shape, True = excluded."""

    @property
    def lazy(self) -> bool:
        """Whether the file is read in parts."""

    @property
    def scheduler(self) -> str | None:
        """Address of a dask scheduler, whose workers read the file."""


@dataclass(frozen=True, eq=False)
class OpenedScan:
    """A scan that is ready to be analyzed.

    Attributes
    ----------
    signal : Nanodiffraction
        Calibrated and centered, with its mask.
    settings : dict
        How it was calibrated: name -> value with its unit.
    sources : tuple of pathlib.Path
        The files that are read.
    """

    signal: Nanodiffraction
    settings: dict[str, object]
    sources: tuple[Path, ...]


def open_scan(path: str | Path, options: ScanOptions, *, tell: Tell = lambda _: None) -> OpenedScan:
    """Load a scan, set the scales that were given, exclude pixels and find the center.

    Parameters
    ----------
    path : str or path
        Detector file, anything :func:`medrange.load` reads.
    options : ScanOptions
        What the user gave.
    tell : callable, optional
        Called with one line before each step.

    Returns
    -------
    OpenedScan

    Raises
    ------
    ValueError
        If the scan has no scales, the mask does not fit, or a scheduler is given for a scan that is not lazy; the
        message names the option.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> open_scan("scan.xml", MapsOptions(k=4.0)).signal  # doctest: +SKIP
    """
    if options.scheduler is not None and not options.lazy:
        msg = f"the workers of {options.scheduler} read the scan in parts; leave out --eager."
        raise ValueError(msg)
    tell(f"loading {path}")
    # Nobody will browse through the patterns.
    signal = load(path, lazy=options.lazy, scan_shape=options.scan_shape, navigator=False)
    settings = _calibrate(signal, options)
    settings |= _exclude(signal, options)
    tell("finding the center of the patterns")
    settings |= _center(signal, options)
    return OpenedScan(signal, settings, _sources(signal, Path(path)))


def _calibrate(signal: Nanodiffraction, options: ScanOptions) -> dict[str, object]:
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


def _exclude(signal: Nanodiffraction, options: ScanOptions) -> dict[str, object]:
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


def _center(signal: Nanodiffraction, options: ScanOptions) -> dict[str, object]:
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


def _sources(signal: Nanodiffraction, path: Path) -> tuple[Path, ...]:
    """The file that was named, and the one beside it that holds the frames."""
    frames = signal.metadata.get_item("Medrange.Source.file")
    if frames is None or not Path(frames).exists() or Path(frames).resolve() == path.resolve():
        return (path,)
    return (path, Path(frames))
