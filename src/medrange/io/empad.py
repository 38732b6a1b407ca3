"""EMPAD (first generation) scans: a .raw file of 130 x 128 float32 records and an .xml beside it."""

from __future__ import annotations

import ast
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from medrange.io.frames import RawFrames, ReadOptions, fit_scan, load_frames, with_navigator
from medrange.io.records import Calibration, Origin, record

_DETECTOR = (128, 128)
#: Bytes of a record: 128 rows of pixels and 2 rows of footer, 128 columns, float32.
RECORD_BYTES = 130 * 128 * 4
_SCAN_NAME = re.compile(r"x(\d+)_y(\d+)")
_SERIES_NAME = re.compile(r"series_x(\d+)")

Candidate = tuple[str, tuple[int, ...]]


def read_empad(path: Path, options: ReadOptions) -> tuple[dict[str, Any], list[str]]:
    """Read an EMPAD acquisition from its .xml or its .raw file.

    The scan shape is the one of the many in the XML (raw file name, "acquire" and "search" blocks,
    pix_x/pix_y, series count) that fits the size of the raw file.

    Parameters
    ----------
    path : pathlib.Path
    options : ReadOptions

    Returns
    -------
    dictionary : dict
        As :func:`medrange.io.read`.
    notes : list of str
        What the user has to know: frames left out, shapes guessed.
    """
    raw, xml = find_pair(path)
    root = None if xml is None else ElementTree.parse(xml).getroot()
    source = RawFrames(str(raw), 0, 0, RECORD_BYTES, "<f4", _DETECTOR)
    frames, left_over = source.count()
    if frames == 0:
        msg = f"{raw} has {left_over} bytes; one EMPAD pattern takes {RECORD_BYTES}."
        raise ValueError(msg)
    candidates = [] if root is None else _shapes_in_xml(root)
    candidates += [c for c in _shapes_in_name(raw.name) if c[1] not in [shape for _, shape in candidates]]
    shape, shape_from, notes = _choose_shape(candidates, frames, left_over, raw, options)
    short = "cut" if options.scan_shape is None else "error"
    layout, note = fit_scan(frames, shape, options, short=short)
    if left_over:
        notes.append(f"the last {left_over} bytes of the file are an incomplete pattern and are dropped.")
    notes += [note] if note else []
    calibration = Calibration() if root is None else _calibration(root, _nominal_shape(candidates, shape))
    origin = Origin(raw, "EMPAD", frames, shape_from, _general(root), {"name": "EMPAD", "row_flip": False})
    original = {} if root is None else {root.tag: _as_dictionary(root)}
    data = load_frames(source, layout, options)
    dictionary = record(data, layout, calibration, origin, original)
    return with_navigator(dictionary, source, layout, options), notes


def is_empad_xml(path: Path) -> bool:
    """Whether an XML file describes an EMPAD acquisition.

    Raises
    ------
    ValueError
        If it is one of the second generation (EMPAD-G2), whose frames need dark and gain references.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        msg = f"{path} is not a valid XML file: {error}."
        raise ValueError(msg) from error
    if (root.findtext("sensor/type") or "").upper().startswith("EMPAD2"):
        msg = (
            f"{path} describes an EMPAD-G2 acquisition. Its raw frames need dark and gain references, which "
            "medrange does not apply: convert it with the detector's software, and load the result as .npy "
            "or py4DSTEM .h5."
        )
        raise ValueError(msg)
    return root.find("raw_file") is not None or root.find("scan_parameters") is not None


def find_pair(path: Path) -> tuple[Path, Path | None]:
    """Find the raw and the XML file of an acquisition, one of which is given; also after one was renamed.

    Returns
    -------
    raw : pathlib.Path
    xml : pathlib.Path or None
        None if the raw file stands alone.

    Raises
    ------
    ValueError
        If the raw file of an XML is not found; says what was looked for.
    """
    if path.suffix.lower() == ".raw":
        return path, _xml_of(path)
    return _raw_of(path), path


def _siblings(path: Path, suffix: str) -> list[Path]:
    return sorted(p for p in path.parent.iterdir() if p.suffix.lower() == suffix and p.is_file())


def _named_raw(xml: Path) -> str | None:
    element = ElementTree.parse(xml).getroot().find("raw_file")
    name = None if element is None else element.get("filename") or element.text
    # The XML may hold the full path on the detector's computer, Windows or Linux.
    return re.split(r"[\\/]", name.strip())[-1] if name else None


def _raw_of(xml: Path) -> Path:
    named = _named_raw(xml)
    raws = _siblings(xml, ".raw")
    for found in (
        [p for p in raws if p.name == named],
        [p for p in raws if p.stem == xml.stem],
        raws if len(raws) == 1 else [],
    ):
        if found:
            return found[0]
    looked_for = [name for name in (named, xml.stem + ".raw") if name]
    there = ", ".join(p.name for p in raws) or "none"
    msg = (
        f"no raw file for {xml}: looked for {', '.join(dict.fromkeys(looked_for))} and for a single .raw "
        f"file in the same folder; .raw files there: {there}. Give the .raw file itself, with "
        "scan_shape=(rows, columns)."
    )
    raise ValueError(msg)


def _xml_of(raw: Path) -> Path | None:
    xmls = []
    for xml in _siblings(raw, ".xml"):
        try:
            if is_empad_xml(xml):
                xmls.append(xml)
        except ValueError:
            continue
    raws = {p.name for p in _siblings(raw, ".raw")}
    free = [p for p in xmls if _named_raw(p) not in raws]
    for found in (
        [p for p in xmls if p.stem == raw.stem],
        [p for p in xmls if _named_raw(p) == raw.name],
        free if len(raws) == 1 else [],
    ):
        if len(found) == 1:
            return found[0]
    return None


def _integer(root: ElementTree.Element, tag: str) -> int | None:
    text = (root.findtext(tag) or "").strip()
    return int(text) if text.isdigit() and int(text) > 0 else None


def _shapes_in_name(name: str) -> list[Candidate]:
    if match := _SERIES_NAME.search(name):
        return [("raw file name", (int(match[1]),))]
    if match := _SCAN_NAME.search(name):
        return [("raw file name", (int(match[2]), int(match[1])))]
    return []


def _shapes_in_xml(root: ElementTree.Element) -> list[Candidate]:
    """Every scan shape an XML names, most trusted first.

    The raw file name is right also for a scan taken in search mode, where "acquire" holds another shape.
    """
    series = _integer(root, "scan_parameters/series_count")
    if series is None and (root.findtext("type") or "").strip() == "series":
        series = _integer(root, "count")
    if series is not None:
        return [("series count", (series,))]
    found: list[Candidate] = []
    pixels = (_integer(root, "pix_y"), _integer(root, "pix_x"))
    if None not in pixels:
        found.append(("pix_x and pix_y", pixels))
    element = root.find("raw_file")
    if element is not None:
        names = _shapes_in_name(element.get("filename") or element.text or "")
        found += [("raw file name in the XML", shape) for _, shape in names]
    blocks = {block.get("mode", "scan"): block for block in root.findall("scan_parameters")}
    for mode in sorted(blocks, key=lambda mode: (mode != "acquire", mode)):
        shape = (_integer(blocks[mode], "scan_resolution_y"), _integer(blocks[mode], "scan_resolution_x"))
        if None not in shape:
            found.append((f"scan_parameters {mode}", shape))
    return found


def _choose_shape(
    candidates: list[Candidate], frames: int, left_over: int, raw: Path, options: ReadOptions
) -> tuple[tuple[int, ...], str, list[str]]:
    """Scan shape, where it was taken from, and notes."""
    if options.scan_shape is not None:
        return options.scan_shape, "argument", []

    def fits(shape: tuple[int, ...]) -> bool:
        flyback = 0 if len(shape) == 1 else options.flyback
        needed = options.sync_offset + math.prod(shape) + flyback * (shape[0] - 1)
        return needed <= frames <= needed + flyback

    fitting = [c for c in candidates if fits(c[1])]
    if fitting:
        label, shape = fitting[0]
        others = sorted({c[1] for c in fitting} - {shape})
        if not others:
            return shape, label, []
        listed = ", ".join(map(str, others))
        note = f"the file fits {shape} ({label}) and {listed}; {shape} is taken. Pass scan_shape= to choose."
        return shape, label, [note]
    if candidates:
        label, shape = candidates[0]
        listed = ", ".join(f"{shape} ({label})" for label, shape in candidates)
        return shape, label, [f"no scan shape fits the {frames} patterns of {raw.name}: {listed}."]
    side = math.isqrt(frames)
    if side * side == frames and not left_over and not options.sync_offset and not options.flyback:
        note = (
            f"no scan shape was found beside the file; its {frames} patterns are taken as a square scan of "
            f"{side} x {side}. Pass scan_shape=(rows, columns) if that is wrong."
        )
        return (side, side), "square", [note]
    size = f"{frames} patterns of {RECORD_BYTES} bytes" + (f" and {left_over} bytes" if left_over else "")
    msg = (
        f"the scan shape of {raw} is unknown: there is no EMPAD .xml with it, and its {size} make no square "
        f"scan. Give the shape: medrange.load({raw.name!r}, scan_shape=(rows, columns))."
    )
    raise ValueError(msg)


def _nominal_shape(candidates: list[Candidate], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape the field of view belongs to: that of the file if ``shape`` is only some of its lines."""
    for _, candidate in candidates:
        if len(candidate) == 2 and len(shape) == 2 and candidate[1] == shape[1] and candidate[0] >= shape[0]:
            return candidate
    return shape


def _number(root: ElementTree.Element, *tags: str) -> float | None:
    measurements = root.find("iom_measurements")
    if measurements is None:
        return None
    # Old files have dots inside the tag, which a path would not find.
    for tag in tags:
        for child in measurements:
            if child.tag == tag:
                try:
                    value = float(child.text or "")
                except ValueError:
                    return None
                return value if math.isfinite(value) and value > 0 else None
    return None


def _calibration(root: ElementTree.Element, shape: tuple[int, ...]) -> Calibration:
    pixel = _number(root, "calibrated_pixelsize")
    voltage = _number(root, "high_voltage", "source.get_voltage")
    camera_length = _number(root, "nominal_camera_length", "optics.get_cameralength")
    return Calibration(
        scan_step=_scan_step(root, shape) if len(shape) == 2 else None,
        k_step=None if pixel is None else pixel * 1e9,
        # Written in volts; a value below 2000 can only be kilovolts.
        beam_energy=None if voltage is None else voltage / 1e3 if voltage > 2000 else voltage,
        # Written in metres; no camera is longer than 20 m.
        camera_length=None if camera_length is None else camera_length * (1e3 if camera_length < 20 else 1),
    )


def _scan_step(root: ElementTree.Element, shape: tuple[int, int]) -> tuple[float, float] | None:
    """Scan step (y, x) in nm from the field of view, by the rule of rosettasciio's EMPAD reader."""
    field = root.find("iom_measurements/full_scan_field_of_view")
    if field is not None and len(field):
        try:
            width, factor = float(field.findtext("x") or ""), float(field.findtext("scale_factor") or "")
        except ValueError:
            return None
        if not (width > 0 and factor > 0):
            return None
        # x and y both hold the field along the longer side, times the scale factor.
        return (width / factor / max(shape) * 1e9,) * 2
    for child in root.iterfind("iom_measurements/*"):
        if child.tag.rsplit(".", 1)[-1] == "get_full_scan_field_of_view":
            try:
                height, width = (float(v) for v in ast.literal_eval(child.text or ""))
            except (SyntaxError, TypeError, ValueError):
                return None
            return (height / shape[0] * 1e9, width / shape[1] * 1e9) if height > 0 and width > 0 else None
    return None


def _general(root: ElementTree.Element | None) -> dict[str, str]:
    stamp = None if root is None else root.find("timestamp")
    if stamp is None or "T" not in stamp.get("isoformat", ""):
        return {}
    date, time = stamp.get("isoformat").split("T", 1)
    return {"date": date, "time": time}


def _as_dictionary(element: ElementTree.Element) -> Any:
    """XML element as nested dictionaries; a repeated tag becomes a list."""
    content: dict[str, Any] = dict(element.attrib)
    for child in element:
        value = _as_dictionary(child)
        if child.tag not in content:
            content[child.tag] = value
        elif isinstance(content[child.tag], list):
            content[child.tag].append(value)
        else:
            content[child.tag] = [content[child.tag], value]
    text = (element.text or "").strip()
    if not content:
        return text
    if text:
        content["text"] = text
    return content
