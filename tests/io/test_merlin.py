"""Merlin files: headers, pairs, scan shapes, lost frames, byte order, orientation, gaps."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from rsciio.quantumdetector import file_reader

from medrange.io import describe, read

TYPES = {"U08": ">u1", "U16": ">u2", "U32": ">u4"}


def header_text(number, shape, kind, assembly, size, time, tail=True):
    stamp = np.datetime64("2021-04-15T14:01:38") + np.timedelta64(int(time), "us")
    chips = 4 if assembly.startswith("2x2") else 1
    text = f"MQ1,{number:06d},{size:05d},{chips:02d},{shape[1]:04d},{shape[0]:04d},{kind},{assembly:>6},01,"
    text += f"{str(stamp).replace('T', ' ')},0.004000,0,0,0,4.0E+1,3RX,068,511,"
    if tail:
        text += f"MQ1A,{stamp}000Z,4000000ns,12,"
    return text.encode().ljust(size)


def write_mib(
    path, frames, shape=(12, 10), *, kind="U16", assembly="1x1", size=384, times=None, numbers=None, tail=True
):
    """Frames with increasing time stamps; the array is as written, not yet flipped."""
    data = np.random.default_rng(3).integers(0, 250, (frames, *shape)).astype(TYPES.get(kind, ">u2"))
    times = np.arange(frames) * 4100 if times is None else times
    numbers = np.arange(1, frames + 1) if numbers is None else numbers
    with Path(path).open("wb") as file:
        for frame, time, number in zip(data, times, numbers, strict=True):
            file.write(header_text(number, shape, kind, assembly, size, time, tail))
            file.write(frame.tobytes())
    return data


def write_hdr(path, **entries):
    lines = ["HDR,\t"] + [f"{key}:\t{value}" for key, value in entries.items()] + ["End\t"]
    Path(path).write_bytes("\r\n".join(lines).encode().ljust(2048))


def triggers(frames, per_trigger):
    return {"Frames in Acquisition (Number)": frames, "Frames per Trigger (Number)": per_trigger}


def line_times(rows, line):
    return np.cumsum([4100 + (20000 if i and i % line == 0 else 0) for i in range(rows * line)])


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(path, **options)


def expected(data, *scan):
    return data[:, ::-1].reshape(*scan, *data.shape[1:]).astype(data.dtype.newbyteorder("="))


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("kind", "size"), [("U08", 384), ("U16", 384), ("U32", 768), ("U16", 1024)])
def test_types_and_header_sizes(tmp_path, kind, size, lazy):
    data = write_mib(tmp_path / "a.mib", 6, kind=kind, size=size)
    out = quiet(tmp_path / "a.mib", scan_shape=(2, 3), lazy=lazy, block_bytes=1)["data"]
    assert out.dtype == np.dtype(TYPES[kind]).newbyteorder("=")
    values = np.asarray(out)
    assert values.dtype.isnative
    np.testing.assert_array_equal(values, expected(data, 2, 3))


def test_lazy_blocks_are_native_one_by_one(tmp_path):
    write_mib(tmp_path / "a.mib", 6)
    data = read(tmp_path / "a.mib", scan_shape=(3, 2), lazy=True, block_bytes=1)["data"]
    assert data.numblocks == (3, 1, 1, 1) or data.numblocks == (3, 2, 1, 1)
    assert all(block.compute().dtype.isnative for block in data.blocks.ravel())


def test_agrees_with_rosettasciio(tmp_path):
    write_mib(tmp_path / "a.mib", 12)
    write_hdr(tmp_path / "a.hdr", **triggers(12, 4))
    theirs = file_reader(str(tmp_path / "a.mib"))[0]
    ours = quiet(tmp_path / "a.mib")
    np.testing.assert_array_equal(ours["data"], theirs["data"])
    for key in ("date", "time", "time_zone"):
        assert ours["metadata"]["General"][key] == theirs["metadata"]["General"][key]
    assert ours["metadata"]["Acquisition_instrument"]["dwell_time"] == pytest.approx(0.004)


def test_rows_are_flipped_and_it_is_said(tmp_path):
    data = write_mib(tmp_path / "a.mib", 2)
    dictionary = quiet(tmp_path / "a.mib", scan_shape=(1, 2))
    np.testing.assert_array_equal(dictionary["data"][0, 1], data[1][::-1])
    assert dictionary["metadata"]["Medrange"]["Detector"]["row_flip"] is True
    assert dictionary["metadata"]["Medrange"]["Detector"]["counter_depth"] == 12


def test_axes_are_uncalibrated(tmp_path):
    write_mib(tmp_path / "a.mib", 6)
    axes = quiet(tmp_path / "a.mib", scan_shape=(2, 3))["axes"]
    assert [axis["name"] for axis in axes] == ["y", "x", "ky", "kx"]
    assert all((axis["scale"], axis["offset"]) == (1, 0) and "units" not in axis for axis in axes)


def test_hdr_path_and_renamed_pairs(tmp_path):
    data = write_mib(tmp_path / "a.mib", 12)
    write_hdr(tmp_path / "a.hdr", **triggers(12, 4))
    np.testing.assert_array_equal(quiet(tmp_path / "a.hdr")["data"], expected(data, 3, 4))
    (tmp_path / "a.hdr").rename(tmp_path / "b.hdr")
    assert quiet(tmp_path / "a.mib")["data"].shape[:2] == (3, 4)
    assert quiet(tmp_path / "b.hdr")["data"].shape[:2] == (3, 4)
    write_mib(tmp_path / "c.mib", 4)
    with pytest.raises(ValueError, match=r"looked for b\.mib.*there: a\.mib, c\.mib"):
        read(tmp_path / "b.hdr")


def test_hdr_without_mib(tmp_path):
    write_hdr(tmp_path / "a.hdr", **triggers(12, 4))
    with pytest.raises(ValueError, match=r"\.mib files there: none"):
        read(tmp_path / "a.hdr")


def test_scan_size_in_a_newer_hdr(tmp_path):
    write_mib(tmp_path / "a.mib", 12)
    write_hdr(tmp_path / "a.hdr", **triggers(12, 4), ScanX=6, ScanY=2)
    dictionary = quiet(tmp_path / "a.mib")
    assert dictionary["data"].shape[:2] == (2, 6)
    assert dictionary["metadata"]["Medrange"]["Source"]["scan_shape_from"] == "ScanX and ScanY"
    assert dictionary["original_metadata"]["hdr_file"]["ScanX"] == "6"


def test_flyback_with_each_way_to_a_shape(tmp_path):
    data = write_mib(tmp_path / "a.mib", 15, times=line_times(3, 5))
    wanted = expected(data, 3, 5)[:, :4]
    np.testing.assert_array_equal(quiet(tmp_path / "a.mib", flyback=1)["data"], wanted)
    write_hdr(tmp_path / "a.hdr", **triggers(15, 5))
    np.testing.assert_array_equal(quiet(tmp_path / "a.mib", flyback=1)["data"], wanted)
    write_hdr(tmp_path / "a.hdr", ScanX=4, ScanY=3)
    np.testing.assert_array_equal(quiet(tmp_path / "a.mib", flyback=1)["data"], wanted)
    with pytest.warns(UserWarning, match=r"12 of 15.*3 frames after.*pass flyback=1"):
        read(tmp_path / "a.mib")


def test_flyback_longer_than_a_line(tmp_path):
    write_mib(tmp_path / "a.mib", 15)
    write_hdr(tmp_path / "a.hdr", **triggers(15, 5))
    with pytest.raises(ValueError, match="flyback=5 leaves nothing of the scan lines of 5 frames"):
        read(tmp_path / "a.mib", flyback=5)


def test_sync_offset(tmp_path):
    data = write_mib(tmp_path / "a.mib", 14)
    out = quiet(tmp_path / "a.mib", sync_offset=2, scan_shape=(3, 4))["data"]
    np.testing.assert_array_equal(out, expected(data[2:], 3, 4))
    with pytest.raises(ValueError, match="cannot be invented"):
        read(tmp_path / "a.mib", sync_offset=-1)


def test_time_stamps_show_the_lines(tmp_path):
    write_mib(tmp_path / "a.mib", 20, times=line_times(4, 5))
    dictionary = quiet(tmp_path / "a.mib")
    assert dictionary["data"].shape[:2] == (4, 5)
    assert dictionary["metadata"]["Medrange"]["Source"]["scan_shape_from"] == "time stamps"


def test_time_stamps_of_old_headers(tmp_path):
    write_mib(tmp_path / "a.mib", 20, times=line_times(4, 5), tail=False)
    dictionary = quiet(tmp_path / "a.mib")
    assert dictionary["data"].shape[:2] == (4, 5)
    assert dictionary["metadata"]["Acquisition_instrument"]["dwell_time"] == pytest.approx(0.004)


@pytest.mark.parametrize("pauses", [[], [7], [3, 9, 11]])
def test_irregular_time_stamps_give_a_series(tmp_path, pauses):
    times = np.cumsum([4100 + (20000 if i in pauses else 0) for i in range(20)])
    data = write_mib(tmp_path / "a.mib", 20, times=times)
    with pytest.warns(UserWarning, match=r"unknown.*series.*medrange\.load\('a\.mib', scan_shape=\(rows, columns\)\)"):
        dictionary = read(tmp_path / "a.mib")
    np.testing.assert_array_equal(dictionary["data"], expected(data, 20))
    assert dictionary["axes"][0]["name"] == "frame"


def test_one_long_line_needs_many_headers(tmp_path):
    write_mib(tmp_path / "a.mib", 2400, (1, 1), kind="U08", times=line_times(2, 1200))
    assert quiet(tmp_path / "a.mib")["data"].shape[:2] == (2, 1200)


def test_trigger_counts_that_contradict_the_file(tmp_path):
    write_mib(tmp_path / "a.mib", 20)
    write_hdr(tmp_path / "a.hdr", **triggers(15, 5))
    assert quiet(tmp_path / "a.mib")["data"].shape[:2] == (4, 5)
    for wrong in (triggers(14, 6), triggers(0, 0), triggers(20, 20), triggers(20, 1)):
        write_hdr(tmp_path / "a.hdr", **wrong)
        with pytest.warns(UserWarning, match="read as a series"):
            assert read(tmp_path / "a.mib")["data"].shape[0] == 20


def test_frames_are_never_dropped_silently(tmp_path):
    data = write_mib(tmp_path / "a.mib", 8)
    with pytest.warns(UserWarning, match="6 of 8 frames are used.*2 frames after it are skipped"):
        np.testing.assert_array_equal(read(tmp_path / "a.mib", scan_shape=(3, 2))["data"], expected(data[:6], 3, 2))
    with pytest.warns(UserWarning, match=r"needs 15 frames, the file has 8: 2 x 3 positions are kept, 2 frames"):
        np.testing.assert_array_equal(read(tmp_path / "a.mib", scan_shape=(5, 3))["data"], expected(data[:6], 2, 3))
    with pytest.raises(ValueError, match=r"scan_shape=\(10, 10\) needs 100 frames, the file has 8"):
        read(tmp_path / "a.mib", scan_shape=(10, 10))


def test_truncated_last_frame(tmp_path):
    path = tmp_path / "a.mib"
    data = write_mib(path, 12)
    write_hdr(tmp_path / "a.hdr", **triggers(12, 4))
    os.truncate(path, path.stat().st_size - 50)
    with pytest.warns(UserWarning, match="needs 12 frames, the file has 11: 2 x 4") as caught:
        dictionary = read(path, lazy=True)
    assert len(caught) == 1
    assert f"{384 + 240 - 50} bytes" in str(caught[0].message)
    np.testing.assert_array_equal(dictionary["data"].compute(), expected(data[:8], 2, 4))


def test_lost_frames_are_noticed(tmp_path):
    numbers = [1, 2, 3, 4, 7, 8]
    write_mib(tmp_path / "a.mib", 6, numbers=numbers)
    with pytest.warns(UserWarning, match=r"2 frames were lost in recording.*1 to 8, 6 frames"):
        read(tmp_path / "a.mib", scan_shape=(2, 3))


def test_damaged_file(tmp_path):
    path = tmp_path / "a.mib"
    write_mib(path, 4)
    content = path.read_bytes()
    path.write_bytes(content[:700] + content[720:])
    with pytest.raises(ValueError, match="frame 3 does not start with a header at byte 1248"):
        read(path, scan_shape=(2, 2))
    path.write_bytes(content[:100])
    with pytest.raises(ValueError, match="has 100 bytes; one of its frames takes 624"):
        read(path)
    path.write_bytes(b"MQ1,nonsense")
    with pytest.raises(ValueError, match="no frame header at byte 0"):
        read(path)


def test_raw_mode_is_refused(tmp_path):
    write_mib(tmp_path / "a.mib", 2, kind="R64")
    with pytest.raises(ValueError, match=r"RAW mode.*Merlin software"):
        read(tmp_path / "a.mib")
    write_mib(tmp_path / "a.mib", 2, kind="X16")
    with pytest.raises(ValueError, match="'X16'; medrange reads U08, U16, U32"):
        read(tmp_path / "a.mib")


@pytest.mark.parametrize(("pixels", "gap"), [(514, 2), (515, 3), (516, 4)])
def test_gap_of_a_quad_detector(tmp_path, pixels, gap):
    write_mib(tmp_path / "a.mib", 1, (pixels, pixels), assembly="2x2G", size=768)
    write_hdr(tmp_path / "a.hdr", **{"Gap Fill Mode": "None"})
    detector = quiet(tmp_path / "a.mib", scan_shape=(1, 1))["metadata"]["Medrange"]["Detector"]
    mask = detector["gap_mask"]
    assert mask.shape == (pixels, pixels)
    assert mask.dtype == bool
    assert mask.sum() == 2 * gap * pixels - gap**2
    assert mask[256 : 256 + gap].all()
    assert mask[:, 256 : 256 + gap].all()
    assert not mask[:256, :256].any()
    assert detector["gap_fill_mode"] == "None"


def test_region_of_a_quad_detector_flips_with_its_mask(tmp_path):
    data = write_mib(tmp_path / "a.mib", 1, (100, 514), assembly="2x2", size=768)
    dictionary = quiet(tmp_path / "a.mib", scan_shape=(1, 1))
    mask = dictionary["metadata"]["Medrange"]["Detector"]["gap_mask"]
    assert mask.sum() == 200
    np.testing.assert_array_equal(dictionary["data"][0, 0][mask], data[0][::-1][mask])


@pytest.mark.parametrize(("shape", "assembly"), [((512, 512), "2x2"), ((256, 256), "1x1"), ((514, 514), "1x1")])
def test_no_gap_no_mask(tmp_path, shape, assembly):
    write_mib(tmp_path / "a.mib", 1, shape, assembly=assembly)
    detector = quiet(tmp_path / "a.mib", scan_shape=(1, 1))["metadata"]["Medrange"]["Detector"]
    assert "gap_mask" not in detector


@pytest.mark.data
def test_published_file():
    folder = os.environ.get("MEDRANGE_DATA")
    if not folder:
        pytest.skip("MEDRANGE_DATA is not set")
    path = Path(folder) / "sim" / "merlin_two_phase" / "crop10.mib"
    dictionary = quiet(path, lazy=True)
    assert dictionary["data"].shape == (10, 10, 256, 256)
    np.testing.assert_array_equal(dictionary["data"].compute(), file_reader(str(path))[0]["data"])
    assert dictionary["data"].max().compute() == 4095
    facts = describe(path.with_suffix(".hdr"))
    assert facts["scan_shape"] == (10, 10)
    assert facts["scan_shape_from"] == "frames per trigger"
    assert facts["notes"] == []
