"""What ``medrange info`` tells about a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medrange.io import describe

_SIZES = ("B", "kB", "MB", "GB", "TB")


def file_rows(path: str | Path, **keywords: Any) -> tuple[list[tuple[str, str]], list[str]]:
    """Facts about a detector file as rows of text, and what loading it would warn about.

    Parameters
    ----------
    path : str or path
        Anything :func:`medrange.load` reads; its frames are not read.
    **keywords
        As for :func:`medrange.io.describe`, for example ``scan_shape``.

    Returns
    -------
    rows : list of tuple of str
        (name, value with its unit).
    notes : list of str
        Frames left out, scan shapes guessed.

    Raises
    ------
    ValueError
        If the file cannot be read.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import numpy as np, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "scan.npy")
    >>> np.save(path, np.zeros((3, 4, 8, 8), "uint16"))
    >>> file_rows(path)[0][1]
    ('scan', '3 x 4')
    """
    facts = describe(path, **keywords)
    rows = [
        ("format", facts["format"]),
        ("scan", _times(facts["scan_shape"])),
        ("detector", f"{_times(facts['detector_shape'])} px, {facts['dtype']}"),
        ("data", _size(facts["data_bytes"])),
        ("frames", f"{facts['frames_used']} used of {facts['frames_in_file']} in the file"),
        ("scan shape from", str(facts["scan_shape_from"])),
    ]
    for name, value in facts["calibration"].items():
        rows.append((name.replace("_", " "), _calibration(name, value)))
    if not any(name in facts["calibration"] for name in ("kx", "ky")):
        rows.append(("k", "not in the file: give --k-step"))
    if not any(name in facts["calibration"] for name in ("x", "y")):
        rows.append(("scan step", "not in the file: give --scan-step"))
    return rows, list(facts["notes"])


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _size(count: int) -> str:
    """Bytes with a decimal prefix."""
    value, unit = float(count), _SIZES[0]
    for larger in _SIZES[1:]:
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def _calibration(name: str, value: Any) -> str:
    """One calibration of the file with its unit."""
    if isinstance(value, tuple):
        return f"{value[0]:g} {value[1]} per position" if name in ("x", "y") else f"{value[0]:g} {value[1]} per px"
    return f"{value:g} {'kV' if name == 'beam_energy' else 'mm'}"
