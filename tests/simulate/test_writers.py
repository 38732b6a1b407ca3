import xml.etree.ElementTree as ET
from datetime import datetime

import numpy as np
import pytest
import rsciio.empad
import rsciio.quantumdetector

from medrange.simulate import write_empad, write_merlin

EMPAD_KEYWORDS = {"scan_step": 0.6, "beam_energy": 300, "camera_length": 0.48}


@pytest.fixture(scope="module")
def empad_frames():
    return np.random.default_rng(0).poisson(3.0, (3, 5, 128, 128)).astype(np.uint32)


def merlin_frames(dtype, limit=63):
    return np.random.default_rng(1).integers(0, limit + 1, (3, 5, 256, 256)).astype(dtype)


@pytest.mark.parametrize("lazy", [False, True])
def test_empad_round_trip(tmp_path, empad_frames, lazy):
    path = write_empad(tmp_path / "glass 1.2", empad_frames, k_step=0.16, **EMPAD_KEYWORDS)
    assert path.name == "glass 1.2.xml"
    signal = rsciio.empad.file_reader(str(path), lazy=lazy)[0]
    np.testing.assert_array_equal(np.asarray(signal["data"]), empad_frames)
    assert signal["data"].dtype == "<f4"
    scan_y, scan_x, height, width = signal["axes"]
    in_nanometers = {"nm": 1.0, "pm": 1e-3}
    for axis, size in ((scan_y, 3), (scan_x, 5)):
        assert axis["size"] == size
        assert axis["scale"] * in_nanometers[axis["units"]] == pytest.approx(0.6)
    for axis in (height, width):
        assert axis["scale"] == pytest.approx(0.16)
        assert axis["units"] == "1/nm"


def test_empad_records(tmp_path, empad_frames):
    path = write_empad(tmp_path / "scan", empad_frames, **EMPAD_KEYWORDS)
    raw = np.fromfile(path.with_suffix(".raw"), "<f4").reshape(3, 5, 130, 128)
    np.testing.assert_array_equal(raw[:, :, :128], empad_frames)
    rows, columns = np.indices((3, 5))
    np.testing.assert_array_equal(raw[:, :, 129, 12], rows)
    np.testing.assert_array_equal(raw[:, :, 129, 13], columns)
    assert np.all(np.isfinite(raw))


def test_empad_xml(tmp_path, empad_frames):
    path = write_empad(tmp_path / "scan", empad_frames, timestamp=datetime(2024, 5, 6, 7, 8), **EMPAD_KEYWORDS)
    root = ET.parse(path).getroot()
    blocks = {block.get("mode"): block for block in root.findall("scan_parameters")}
    assert list(blocks) == ["search", "acquire"]
    shapes = {
        mode: (int(block.findtext("scan_resolution_y")), int(block.findtext("scan_resolution_x")))
        for mode, block in blocks.items()
    }
    assert shapes == {"search": (64, 64), "acquire": (3, 5)}
    assert root.find("raw_file").get("filename") == "scan.raw"
    assert root.find("timestamp").get("isoformat") == "2024-05-06T07:08:00"
    assert float(root.findtext("exposure_time")) == 1
    assert float(root.findtext("iom_measurements/high_voltage")) == 300e3
    assert float(root.findtext("iom_measurements/nominal_camera_length")) == 0.48
    field = float(root.findtext("iom_measurements/full_scan_field_of_view/x"))
    assert field / 0.72 / 5 == pytest.approx(0.6e-9)
    assert root.find("iom_measurements/calibrated_pixelsize") is None


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("dtype", "limit"), [("uint8", 63), ("uint16", 4095), ("uint32", 2**24 - 1)])
def test_merlin_round_trip(tmp_path, dtype, limit, lazy):
    frames = merlin_frames(dtype, limit)
    before = frames.copy()
    path = write_merlin(tmp_path / "scan", frames, dwell_time=2e-3)
    signal = rsciio.quantumdetector.file_reader(str(path), lazy=lazy)[0]
    np.testing.assert_array_equal(np.asarray(signal["data"]), frames)
    np.testing.assert_array_equal(frames, before)
    assert signal["metadata"]["Acquisition_instrument"]["dwell_time"] == pytest.approx(2e-3)


def test_merlin_rows_are_stored_bottom_up(tmp_path):
    frames = merlin_frames("uint16", 4095)
    path = write_merlin(tmp_path / "scan", frames)
    record = path.read_bytes()[: 384 + 2 * 256**2]
    stored = np.frombuffer(record[384:], ">u2").reshape(256, 256)
    np.testing.assert_array_equal(stored[::-1], frames[0, 0])
    fields = record[:384].decode("ascii").rstrip("\0").split(",")
    assert fields[:7] == ["MQ1", "000001", "00384", "01", "0256", "0256", "U16"]
    assert fields[-3:] == ["1000000ns", "12", ""]


def test_merlin_scan_shape_without_header_file(tmp_path):
    """The pause after each line lets RosettaSciIO find the scan shape from the time stamps alone."""
    frames = merlin_frames("uint8")
    path = write_merlin(tmp_path / "scan", frames)
    path.with_suffix(".hdr").unlink()
    signal = rsciio.quantumdetector.file_reader(str(path))[0]
    np.testing.assert_array_equal(signal["data"], frames)


def test_merlin_detector_need_not_be_square(tmp_path):
    frames = merlin_frames("uint16")[:, :, :100, :192]
    path = write_merlin(tmp_path / "scan", frames)
    np.testing.assert_array_equal(rsciio.quantumdetector.file_reader(str(path))[0]["data"], frames)


def test_merlin_hdr(tmp_path):
    path = write_merlin(tmp_path / "scan", merlin_frames("uint16"), timestamp=datetime(2024, 5, 6, 7, 8))
    text = path.with_suffix(".hdr").read_bytes()
    assert len(text) == 2048
    assert b"\r\n" in text
    entries = rsciio.quantumdetector._api.parse_hdr_file(path.with_suffix(".hdr"))
    assert entries["Frames in Acquisition (Number)"] == "15"
    assert entries["Frames per Trigger (Number)"] == "5"
    assert entries["Counter Depth (number)"] == "12"
    assert entries["Time and Date Stamp (day, mnth, yr, hr, min, s)"] == "06/05/2024 07:08:00"


def test_same_frames_same_files(tmp_path, empad_frames):
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        write_empad(folder / "scan", empad_frames, **EMPAD_KEYWORDS)
        write_merlin(folder / "scan", merlin_frames("uint8"))
        contents.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert contents[0] == contents[1]
    assert len(contents[0]) == 4


def test_errors(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(2, 2, 64, 64\); an EMPAD scan is"):
        write_empad(tmp_path / "scan", np.zeros((2, 2, 64, 64)), **EMPAD_KEYWORDS)
    with pytest.raises(ValueError, match="scan_step 0 nm"):
        write_empad(tmp_path / "scan", np.zeros((1, 1, 128, 128)), **EMPAD_KEYWORDS | {"scan_step": 0})
    with pytest.raises(ValueError, match=r"a Merlin scan is \(y, x, ky, kx\)"):
        write_merlin(tmp_path / "scan", np.zeros((4, 4), np.uint16))
    with pytest.raises(TypeError, match="frames are float64; a Merlin counter is one of uint8"):
        write_merlin(tmp_path / "scan", np.zeros((1, 1, 4, 4)))
    with pytest.raises(ValueError, match="largest count is 4096; this Merlin counter ends at 4095"):
        write_merlin(tmp_path / "scan", np.full((1, 1, 4, 4), 4096, np.uint16))
    with pytest.raises(ValueError, match="dwell_time is 0"):
        write_merlin(tmp_path / "scan", np.zeros((1, 1, 4, 4), np.uint16), dwell_time=0)
    assert list(tmp_path.iterdir()) == []
