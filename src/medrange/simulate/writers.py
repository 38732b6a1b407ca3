"""Detector files as the EMPAD and Merlin acquisition software write them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

#: Fixed, so that the same frames give the same file; pass the real time of an acquisition where it matters.
_TIMESTAMP = datetime(2025, 1, 1, 12, 0, 0)
#: EMPAD stores its field of view times this factor to the microscope's internal scan.
_FIELD_OF_VIEW_FACTOR = 0.72
_MIB_HEADER = 384
#: uint type: (Merlin pixel code, counter depth in bits).
_MERLIN_TYPES = {"uint8": ("U08", 6), "uint16": ("U16", 12), "uint32": ("U32", 24)}
_THRESHOLDS = ("4.000000E+1", "5.110000E+2", *["0.000000E+0"] * 6)
#: Settings of the chip's converters, of no meaning here.
_CONVERTERS = (
    "068,511,000,000,000,000,000,000,100,255,100,125,100,100,080,100,090,030,128,004,255,126,128,174,172,511,511"
)


def write_empad(
    path_stem: str | Path,
    frames: np.ndarray,
    *,
    scan_step: float,
    beam_energy: float,
    camera_length: float,
    k_step: float | None = None,
    dwell_time: float = 1e-3,
    timestamp: datetime = _TIMESTAMP,
) -> Path:
    """Write an EMPAD scan: ``NAME.raw`` with the frames and ``NAME.xml`` with the parameters.

    The raw file holds one record of 130 x 128 little-endian float32 per scan position, row by row: 128
    detector rows and two rows that are no image. Those are zero here but for the scan row and column in
    elements 12 and 13 of the last row. The XML follows version 1.2 of the software: a "search" block (64 x
    64, whatever was used to find the field) before the "acquire" block that describes the file, and the field
    of view of the longer side times 0.72. ``pix_x``, ``pix_y`` and ``calibrated_pixelsize`` are those of
    older versions; they let readers find the scan shape under any file name.

    Parameters
    ----------
    path_stem : str or pathlib.Path
        Path without suffix; the folder must exist.
    frames : ndarray
        Frames (y, x, 128, 128), any real type; stored as float32.
    scan_step : float
        Distance between scan positions in nm.
    beam_energy : float
        Acceleration voltage in kV.
    camera_length : float
        Nominal camera length in m.
    k_step : float, optional
        Detector pixel in 1/nm; left out of the file when None, as recent versions do.
    dwell_time : float
        Exposure per frame in s.
    timestamp : datetime.datetime
        Start of the acquisition.

    Returns
    -------
    pathlib.Path
        The XML file.

    Raises
    ------
    ValueError
        If the frames are not (y, x, 128, 128), or a scale is not positive.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_empad(
    ...         Path(folder) / "scan",
    ...         np.zeros((2, 3, 128, 128)),
    ...         scan_step=0.5,
    ...         beam_energy=300,
    ...         camera_length=0.5,
    ...     )
    ...     path.with_suffix(".raw").stat().st_size // 66560
    6
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[2:] != (128, 128):
        msg = f"frames have shape {frames.shape}; an EMPAD scan is (y, x, 128, 128): crop or pad the patterns."
        raise ValueError(msg)
    if not min(scan_step, beam_energy, camera_length, dwell_time) > 0:
        msg = (
            f"scan_step {scan_step} nm, beam_energy {beam_energy} kV, camera_length {camera_length} m "
            f"and dwell_time {dwell_time} s must all be positive."
        )
        raise ValueError(msg)
    xml_path = Path(f"{path_stem}.xml")
    raw_path = xml_path.with_name(Path(path_stem).name + ".raw")
    rows, columns = frames.shape[:2]
    with raw_path.open("wb") as file:
        for row in range(rows):
            record = np.zeros((columns, 130, 128), "<f4")
            record[:, :128] = frames[row]
            record[:, 129, 12] = row
            record[:, 129, 13] = np.arange(columns)
            file.write(record.tobytes())
    instrument = {"iom_measurements": _instrument(frames.shape, scan_step, beam_energy, camera_length, k_step)}
    root = _empad_xml(raw_path.name, (rows, columns), dwell_time, timestamp)
    _fill(root, instrument)
    # One line, as the software writes it: readers take whitespace between elements for content.
    xml_path.write_bytes(ET.tostring(root, encoding="utf-8"))
    return xml_path


def _instrument(
    shape: tuple[int, ...], scan_step: float, beam_energy: float, camera_length: float, k_step: float | None
) -> dict:
    field_of_view = f"{scan_step * 1e-9 * max(shape[:2]) * _FIELD_OF_VIEW_FACTOR:.12g}"
    measurements = {
        "scan_rotation": "0.0",
        "is_column_in_stem_mode": "True",
        "full_scan_field_of_view": {
            "scale_factor": repr(_FIELD_OF_VIEW_FACTOR),
            "x": field_of_view,
            "y": field_of_view,
        },
        "nominal_camera_length": repr(float(camera_length)),
        "high_voltage_state": "True",
        "high_voltage": f"{beam_energy * 1e3:.1f}",
    }
    if k_step is not None:
        # The software's own unit: 1/nm written as if it were nm in m.
        measurements["calibrated_pixelsize"] = f"{k_step * 1e-9:.12g}"
    return measurements


def _empad_xml(raw_name: str, scan_shape: tuple[int, int], dwell_time: float, timestamp: datetime) -> ET.Element:
    root = ET.Element("root", name=Path(raw_name).stem)
    ET.SubElement(root, "timestamp", isoformat=timestamp.isoformat())
    ET.SubElement(root, "raw_file", filename=raw_name)
    exposure = {
        "software_version": "1.2.2",
        "exposure_time": f"{dwell_time * 1e3:g}",
        "post_exposure_time": "0",
    }
    _fill(root, {**exposure, "pix_x": str(scan_shape[1]), "pix_y": str(scan_shape[0])})
    for mode, (rows, columns) in (("search", (64, 64)), ("acquire", scan_shape)):
        block = ET.SubElement(root, "scan_parameters", mode=mode)
        resolution = {"scan_resolution_y": str(rows), "scan_resolution_x": str(columns)}
        _fill(block, {"scan_size": "1.0", "scan_center_x": "0.5", **resolution, "scan_center_y": "0.5"})
    return root


def _fill(parent: ET.Element, content: dict) -> None:
    for tag, value in content.items():
        child = ET.SubElement(parent, tag)
        if isinstance(value, dict):
            _fill(child, value)
        else:
            child.text = value


def write_merlin(
    path_stem: str | Path, frames: np.ndarray, *, dwell_time: float = 1e-3, timestamp: datetime = _TIMESTAMP
) -> Path:
    """Write a Merlin (Medipix3, one chip) scan: ``NAME.mib`` with the frames, ``NAME.hdr`` with the parameters.

    Each frame is a header of 384 bytes followed by big-endian counts. Rows are stored from the bottom of the
    frame up: RosettaSciIO flips the rows when it reads a .mib file, so that the array read is the array given
    here. The scan shape stands in the .hdr file as frames per trigger (one trigger per scan line) and frames
    in the acquisition. Scan step, voltage and camera length have no place in this format.

    Parameters
    ----------
    path_stem : str or pathlib.Path
        Path without suffix; the folder must exist.
    frames : ndarray
        Frames (y, x, ky, kx) of type uint8 (6-bit counter), uint16 (12-bit) or uint32 (24-bit).
    dwell_time : float
        Exposure per frame in s.
    timestamp : datetime.datetime
        Start of the acquisition.

    Returns
    -------
    pathlib.Path
        The .mib file.

    Raises
    ------
    ValueError
        If the frames are not four-dimensional, a count exceeds the counter or the dwell time is not positive.
    TypeError
        If the type is not uint8, uint16 or uint32.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_merlin(Path(folder) / "scan", np.zeros((2, 3, 256, 256), np.uint16))
    ...     path.stat().st_size // (384 + 2 * 256 * 256)
    6
    """
    frames = np.asarray(frames)
    _check_merlin(frames, dwell_time)
    mib_path = Path(f"{path_stem}.mib")
    code, depth = _MERLIN_TYPES[frames.dtype.name]
    rows, columns = frames.shape[:2]
    big_endian = frames.dtype.newbyteorder(">")
    with mib_path.open("wb") as file:
        for number in range(rows * columns):
            row, column = divmod(number, columns)
            # One frame time of flyback per line, which readers use to tell lines apart.
            start = timestamp + timedelta(seconds=dwell_time) * (number + row)
            file.write(_mib_header(number + 1, frames.shape[2:], (code, depth), start, dwell_time))
            file.write(np.flip(frames[row, column], axis=0).astype(big_endian).tobytes())
    header = _hdr(columns, rows * columns, depth, timestamp)
    mib_path.with_name(Path(path_stem).name + ".hdr").write_bytes(header)
    return mib_path


def _check_merlin(frames: np.ndarray, dwell_time: float) -> None:
    if frames.ndim != 4:
        msg = f"frames have shape {frames.shape}; a Merlin scan is (y, x, ky, kx)."
        raise ValueError(msg)
    if frames.dtype.name not in _MERLIN_TYPES:
        known = ", ".join(_MERLIN_TYPES)
        msg = f"frames are {frames.dtype.name}; a Merlin counter is one of {known}: use clip_counts."
        raise TypeError(msg)
    limit = 2 ** _MERLIN_TYPES[frames.dtype.name][1] - 1
    if frames.size and frames.max() > limit:
        msg = f"the largest count is {frames.max()}; this Merlin counter ends at {limit}: use clip_counts."
        raise ValueError(msg)
    if not dwell_time > 0:
        msg = f"dwell_time is {dwell_time} s; it must be positive."
        raise ValueError(msg)


def _mib_header(
    number: int, shape: tuple[int, int], counter: tuple[str, int], start: datetime, dwell_time: float
) -> bytes:
    code, depth = counter
    fields = [
        "MQ1",
        f"{number:06d}",
        f"{_MIB_HEADER:05d}",
        "01",
        f"{shape[1]:04d}",
        f"{shape[0]:04d}",
        code,
        "   1x1",
        "01",
        start.strftime("%Y-%m-%d %H:%M:%S.%f"),
        f"{dwell_time:.6f}",
        "0,0,0",
        *_THRESHOLDS,
        "3RX",
        _CONVERTERS,
        "MQ1A",
        start.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z",
        f"{round(dwell_time * 1e9)}ns",
        str(depth),
    ]
    return (",".join(fields) + ",").encode("ascii").ljust(_MIB_HEADER, b"\0")


def _hdr(frames_per_line: int, frame_count: int, depth: int, timestamp: datetime) -> bytes:
    entries = {
        "Time and Date Stamp (day, mnth, yr, hr, min, s)": timestamp.strftime("%d/%m/%Y %H:%M:%S"),
        "Chip ID": "SIMULATED, - , - , - ",
        "Chip Type (Medipix 3.0, Medipix 3.1, Medipix 3RX)": "Medipix 3RX",
        "Assembly Size (NX1, 2X2)": "   1x1",
        "Chip Mode  (SPM, CSM, CM, CSCM)": "SPM",
        "Counter Depth (number)": str(depth),
        "Gain": "SLGM",
        "Active Counters": "Alternating",
        "Thresholds (keV)": ",".join(_THRESHOLDS),
        "DACs": f"{_CONVERTERS}; ; ; ",
        "bpc File": "None",
        "DAC File": "None",
        "Gap Fill Mode": "None",
        "Flat Field File": "None",
        "Acquisition Type (Normal, Th_scan, Config)": "Normal",
        "Frames in Acquisition (Number)": str(frame_count),
        "Frames per Trigger (Number)": str(frames_per_line),
        "Trigger Start (Positive, Negative, Internal)": "Rising Edge",
        "Trigger Stop (Positive, Negative, Internal)": "Internal",
        "Sensor Bias (V)": "120 V",
        "Sensor Polarity (Positive, Negative)": "Positive",
        "Medipix Clock (MHz)": "160MHz",
        "Readout System": "Merlin Quad",
        "Software Version": "0.76.1.101",
    }
    lines = ["HDR,\t", *(f"{key}:\t{value}" for key, value in entries.items()), "End\t"]
    return "\r\n".join(lines).encode("ascii").ljust(2048, b" ")
