"""Merlin (Medipix) scans: .mib files of frames with text headers, and the .hdr file beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medrange.io.frames import RawFrames, ReadOptions, fit_scan, load_frames, with_navigator
from medrange.io.records import Calibration, Origin, record

_DTYPES = {"U08": ">u1", "U16": ">u2", "U32": ">u4"}
_CHIP = 256
# Headers read to find the end of a scan line in the time stamps: first a few, then enough for a long line.
_HEADERS_READ = (1025, 8193)


@dataclass(frozen=True)
class FrameHeader:
    """Header of a .mib frame.

    Attributes
    ----------
    size : int
        Bytes of the header.
    sequence : int
        Number of the frame in the acquisition, from 1.
    detector_shape : tuple of int
        (rows, columns).
    dtype : str
        Pixel type, big-endian.
    assembly : str
        Arrangement of the chips: "1x1", "2x2", "Nx1", with a G behind it if gap pixels are written.
    chips : int
    timestamp : str
    exposure : float or None
        Seconds.
    counter_depth : int or None
        Bits per counter.
    """

    size: int
    sequence: int
    detector_shape: tuple[int, int]
    dtype: str
    assembly: str
    chips: int
    timestamp: str
    exposure: float | None
    counter_depth: int | None


def read_merlin(path: Path, options: ReadOptions) -> tuple[dict[str, Any], list[str]]:
    """Read a Merlin acquisition from its .mib or its .hdr file.

    Frames are turned upside down (rows flipped), as RosettaSciIO and so HyperSpy do, and handed out in the
    byte order of this machine. LiberTEM and py4DSTEM do not flip: the sign of the rotation between scan and
    detector differs from theirs.

    Parameters
    ----------
    path : pathlib.Path
    options : ReadOptions

    Returns
    -------
    dictionary : dict
        As :func:`medrange.io.read`; the gap between the chips, if the file holds gap pixels, is
        ``metadata.Medrange.Detector.gap_mask`` (True = excluded).
    notes : list of str
        Frames left out, shapes guessed.

    Raises
    ------
    ValueError
        If the file is not a processed .mib (RAW mode), or its headers do not agree with its size.
    """
    mib, hdr_path = find_pair(path)
    hdr = {} if hdr_path is None else parse_hdr(hdr_path)
    header = parse_header(mib)
    pixels = math.prod(header.detector_shape) * np.dtype(header.dtype).itemsize
    source = RawFrames(
        str(mib), 0, header.size, header.size + pixels, header.dtype, header.detector_shape, flip_rows=True
    )
    frames, left_over = source.count()
    if frames == 0:
        msg = f"{mib} has {left_over} bytes; one of its frames takes {source.stride}."
        raise ValueError(msg)
    notes = _check_last_frame(mib, source, frames, header)
    shape, shape_from = _scan_shape(source, frames, hdr, options)
    if shape is None:
        shape = (max(1, frames - options.sync_offset),)
        notes.append(
            f"the scan shape of {mib.name} is unknown: its frames are read as a series. Give it: "
            f"medrange.load({mib.name!r}, scan_shape=(rows, columns))."
        )
    layout, note = fit_scan(frames, shape, options)
    notes += [note] if note else []
    if left_over:
        notes.append(f"the last {left_over} bytes of the file are an incomplete frame and are dropped.")
    origin = Origin(mib, "Merlin", frames, shape_from, _general(header), _detector(header, hdr))
    data = load_frames(source, layout, options)
    original = {"hdr_file": hdr, "first_header": _header_text(mib, header.size)}
    dictionary = record(data, layout, Calibration(), origin, original)
    if header.exposure is not None:
        # The same place as RosettaSciIO, in seconds.
        dictionary["metadata"].setdefault("Acquisition_instrument", {})["dwell_time"] = header.exposure
    return with_navigator(dictionary, source, layout, options), notes


def find_pair(path: Path) -> tuple[Path, Path | None]:
    """Find the .mib and the .hdr file of an acquisition, one of which is given.

    Raises
    ------
    ValueError
        If the .mib file of a .hdr is not found, or there are several.
    """
    with path.open("rb") as file:
        given_hdr = file.read(3) == b"HDR"
    suffix = ".mib" if given_hdr else ".hdr"
    others = sorted(p for p in path.parent.iterdir() if p.suffix.lower() == suffix and p.is_file())
    alike = [p for p in path.parent.iterdir() if p.suffix.lower() == path.suffix.lower() and p.is_file()]
    for found in (
        [p for p in others if p.stem == path.stem],
        others if len(others) == len(alike) == 1 else [],
    ):
        if found:
            return (found[0], path) if given_hdr else (path, found[0])
    if not given_hdr:
        return path, None
    there = ", ".join(p.name for p in others) or "none"
    msg = (
        f"no .mib file for {path}: looked for {path.stem}.mib and for a single .mib file in the same folder; "
        f".mib files there: {there}. Give the .mib file itself (one file at a time)."
    )
    raise ValueError(msg)


def parse_hdr(path: Path) -> dict[str, str]:
    """Entries of a .hdr file, ``key: <tab> value`` on each line."""
    entries = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, tab, value = line.partition("\t")
        if tab and not line.startswith(("HDR", "End")):
            entries[key.rstrip().rstrip(":")] = value.strip()
    return entries


def _header_text(path: Path, size: int, offset: int = 0) -> str:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size).decode("ascii", errors="replace").rstrip("\0 ")


def parse_header(path: Path, offset: int = 0) -> FrameHeader:
    """Read the frame header at ``offset`` bytes of a .mib file.

    Raises
    ------
    ValueError
        If there is no header, or the frames are of a kind that cannot be read (RAW mode).
    """
    fields = _header_text(path, 384, offset).split(",")
    try:
        size = int(fields[2])
        fields = [field.strip() for field in _header_text(path, size, offset).split(",")]
        sequence, chips = int(fields[1]), int(fields[3])
        shape = (int(fields[5]), int(fields[4]))
        kind, assembly, timestamp = fields[6], fields[7], fields[9]
    except (IndexError, ValueError) as error:
        msg = f"{path} was taken for a Merlin .mib file, but there is no frame header at byte {offset}."
        raise ValueError(msg) from error
    if kind == "R64":
        msg = (
            f"{path} was recorded in RAW mode (R64), where the bits of the pixels are not in image order; "
            "medrange reads processed frames (U08, U16, U32). Switch RAW off in the Merlin software, or "
            "convert the file: LiberTEM reads RAW frames."
        )
        raise ValueError(msg)
    if kind not in _DTYPES or min(shape) < 1:
        msg = f"{path} has frames of {shape} pixels of type {kind!r}; medrange reads {', '.join(_DTYPES)}."
        raise ValueError(msg)
    exposure, depth = _number(fields[10:11]), None
    if "MQ1A" in fields:
        tail = fields[fields.index("MQ1A") + 1 :]
        timestamp = tail[0] if tail and tail[0] else timestamp
        nanoseconds = _number([field.removesuffix("ns") for field in tail[1:2]])
        exposure = exposure if nanoseconds is None else nanoseconds * 1e-9
        depth = _number(tail[2:3])
    return FrameHeader(
        size=size,
        sequence=sequence,
        detector_shape=shape,
        dtype=_DTYPES[kind],
        assembly=assembly,
        chips=chips,
        timestamp=timestamp,
        exposure=exposure,
        counter_depth=None if depth is None else int(depth),
    )


def _number(texts: list[str]) -> float | None:
    try:
        return float(texts[0])
    except (IndexError, ValueError):
        return None


def _check_last_frame(mib: Path, source: RawFrames, frames: int, first: FrameHeader) -> list[str]:
    """Refuse a file whose frames are not where the first header puts them; note lost frames."""
    offset = (frames - 1) * source.stride
    if not _header_text(mib, 4, offset).startswith("MQ1"):
        msg = (
            f"{mib}: frame {frames} does not start with a header at byte {offset}; the first header gives "
            f"frames of {source.detector_shape} pixels with {first.size} bytes of header. The file is damaged, "
            "or its frames differ in size."
        )
        raise ValueError(msg)
    expected = parse_header(mib, offset).sequence - first.sequence + 1
    if expected <= frames:
        return []
    return [
        f"{expected - frames} frames were lost in recording (frame numbers {first.sequence} to "
        f"{first.sequence + expected - 1}, {frames} frames in the file): scan positions after a lost frame "
        "are shifted."
    ]


def _scan_shape(
    source: RawFrames, frames: int, hdr: dict[str, str], options: ReadOptions
) -> tuple[tuple[int, ...] | None, str]:
    """Scan shape and where it was taken from; None if nothing tells it."""
    if options.scan_shape is not None:
        return options.scan_shape, "argument"
    there = frames - options.sync_offset
    x, y = (_positive(hdr.get(key)) for key in ("ScanX", "ScanY"))
    if x is not None and y is not None:
        return (y, x), "ScanX and ScanY"
    line = _positive(hdr.get("Frames per Trigger (Number)")) or 1
    total = _positive(hdr.get("Frames in Acquisition (Number)")) or there
    if total < there and there % line == 0:
        total = there
    origin = "frames per trigger"
    if not (1 < line < total and total % line == 0 and there <= total):
        line, origin = _line_from_times(source, there, options.sync_offset), "time stamps"
        total = there
    if line is None:
        return None, "none"
    columns = line - options.flyback
    if columns < 1:
        msg = f"flyback={options.flyback} leaves nothing of the scan lines of {line} frames ({origin})."
        raise ValueError(msg)
    return (total // line, columns), origin


def _positive(text: str | None) -> int | None:
    number = _number([] if text is None else [text])
    return int(number) if number is not None and number >= 1 else None


def _line_from_times(source: RawFrames, frames: int, skipped: int) -> int | None:
    """Frames per scan line, if the time stamps show a pause after every line and nowhere else."""
    for wanted in _HEADERS_READ:
        count = min(frames, wanted)
        if count < 3:
            return None
        times = _timestamps(source, count, skipped)
        if times is None:
            return None
        steps = np.diff(times).astype(float)
        ends = np.flatnonzero(steps > 1.5 * np.median(steps)) + 1
        if len(ends):
            line = int(ends[0])
            regular = np.array_equal(ends, np.arange(line, count, line))
            return line if line > 1 and regular and (len(ends) > 1 or frames % line == 0) else None
        if count == frames:
            return None
    return None


def _timestamps(source: RawFrames, count: int, skipped: int) -> np.ndarray | None:
    mapped = np.memmap(source.path, np.uint8, mode="r", offset=skipped * source.stride, shape=(count * source.stride,))
    headers = np.ndarray((count,), f"S{source.header}", buffer=mapped, strides=(source.stride,))
    try:
        texts = [header.decode("ascii").split(",") for header in headers]
        stamps = [fields[fields.index("MQ1A") + 1 if "MQ1A" in fields else 9] for fields in texts]
        return np.array([stamp.strip().rstrip("Z") for stamp in stamps], dtype="datetime64[ns]")
    except (IndexError, UnicodeDecodeError, ValueError):
        return None


def _general(header: FrameHeader) -> dict[str, str]:
    date, _, time = header.timestamp.replace("T", " ").partition(" ")
    if not time:
        return {}
    general = {"date": date, "time": time.rstrip("Z")}
    return {**general, "time_zone": "UTC"} if time.endswith("Z") else general


def _detector(header: FrameHeader, hdr: dict[str, str]) -> dict[str, Any]:
    detector: dict[str, Any] = {"name": "Merlin", "row_flip": True, "assembly": header.assembly}
    if header.counter_depth is not None:
        detector["counter_depth"] = header.counter_depth
    if "Gap Fill Mode" in hdr:
        detector["gap_fill_mode"] = hdr["Gap Fill Mode"]
    mask = gap_mask(header)
    if mask is not None:
        detector["gap_mask"] = mask
    return detector


def gap_mask(header: FrameHeader) -> np.ndarray | None:
    """Pixels of the gap between the chips, True = excluded; None if the frames have none.

    The chips have 256 x 256 pixels. Whatever a frame has beyond them lies in the gaps between: 2 pixels in
    each direction for 514 x 514. Their values are not counts (empty, or spread from the wide edge pixels
    by the gap fill mode).

    Parameters
    ----------
    header : FrameHeader

    Returns
    -------
    numpy.ndarray or None
        Shape (ky, kx), bool, in the orientation of the frames that are handed out.
    """
    layout = header.assembly.upper().removesuffix("G")
    grid = {"2X2": (2, 2), "NX1": (1, header.chips)}.get(layout, (1, 1))
    mask = np.zeros(header.detector_shape, bool)
    for axis, chips in enumerate(grid):
        extra = header.detector_shape[axis] - chips * _CHIP
        if chips < 2 or extra < 1 or extra % (chips - 1):
            continue
        gap = extra // (chips - 1)
        view = mask if axis == 0 else mask.T
        for i in range(1, chips):
            start = i * _CHIP + (i - 1) * gap
            view[start : start + gap] = True
    return mask[::-1].copy() if mask.any() else None
