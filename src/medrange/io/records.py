"""The plain dictionaries the readers return: axes and metadata in RosettaSciIO's form."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from medrange.io.frames import ScanLayout


@dataclass(frozen=True)
class Calibration:
    """What a file says about its scales; None is unknown.

    Attributes
    ----------
    scan_step : tuple of float or None
        Distance of scan positions (y, x) in ``scan_units``.
    k_step : float or None
        Size of a detector pixel in ``k_units`` (k = 1/d).
    center : tuple of float or None
        Direct beam (row, column) in pixels, 0-based.
    beam_energy : float or None
        keV.
    camera_length : float or None
        mm.
    """

    scan_step: tuple[float, float] | None = None
    scan_units: str = "nm"
    k_step: float | None = None
    k_units: str = "1/nm"
    center: tuple[float, float] | None = None
    beam_energy: float | None = None
    camera_length: float | None = None


@dataclass(frozen=True)
class Origin:
    """Where the frames come from: becomes ``metadata.Medrange.Source`` and ``General``.

    Attributes
    ----------
    path : pathlib.Path
        File with the frames.
    format : str
    frames_in_file : int
    scan_shape_from : str
        What the scan shape was taken from.
    general, detector : dict
        Further leaves of ``metadata.General`` and ``metadata.Medrange.Detector``.
    """

    path: Path
    format: str
    frames_in_file: int
    scan_shape_from: str
    general: dict[str, Any] = field(default_factory=dict)
    detector: dict[str, Any] = field(default_factory=dict)


def axis_dictionaries(
    scan_shape: tuple[int, ...], detector_shape: tuple[int, int], calibration: Calibration
) -> list[dict[str, Any]]:
    """Axes (y, x, ky, kx), or (frame, ky, kx) for a series.

    An axis without calibration has scale 1, offset 0 and no ``units``. The origin of k is set only when the
    file knows the direct beam: offset = -center * scale.
    """
    axes = []
    scan = ("y", "x") if len(scan_shape) == 2 else ("frame",)
    names = (*scan, "ky", "kx")
    for index, (name, size) in enumerate(zip(names, (*scan_shape, *detector_shape), strict=True)):
        navigate = index < len(scan)
        scale, units = None, None
        if not navigate:
            scale, units = calibration.k_step, calibration.k_units
        elif calibration.scan_step is not None and len(scan) == 2:
            scale, units = calibration.scan_step[index], calibration.scan_units
        axis = {
            "size": int(size),
            "index_in_array": index,
            "name": name,
            "scale": 1.0 if scale is None else float(scale),
            "offset": 0.0,
            "navigate": navigate,
        }
        if scale is not None:
            axis["units"] = units
        if not navigate and calibration.center is not None:
            axis["offset"] = -float(calibration.center[index - len(scan)]) * axis["scale"]
        axes.append(axis)
    return axes


def record(
    data: np.ndarray | da.Array,
    layout: ScanLayout,
    calibration: Calibration,
    origin: Origin,
    original_metadata: dict[str, Any],
) -> dict[str, Any]:
    """Put a scan and what is known of it into one dictionary."""
    metadata: dict[str, Any] = {
        "General": {"title": origin.path.stem, "original_filename": origin.path.name, **origin.general},
        "Signal": {"signal_type": "nanodiffraction"},
        "Medrange": {
            "Source": {
                "file": str(origin.path),
                "format": origin.format,
                "frames_in_file": origin.frames_in_file,
                "frames_used": layout.used,
                "scan_shape_from": origin.scan_shape_from,
            }
        },
    }
    if origin.detector:
        metadata["Medrange"]["Detector"] = dict(origin.detector)
    microscope = {
        name: float(value)
        for name in ("beam_energy", "camera_length")
        if (value := getattr(calibration, name)) is not None
    }
    if microscope:
        metadata["Acquisition_instrument"] = {"TEM": microscope}
    return {
        "data": data,
        "axes": axis_dictionaries(layout.shape, data.shape[-2:], calibration),
        "metadata": metadata,
        "original_metadata": original_metadata,
    }
