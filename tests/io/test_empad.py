"""EMPAD pairs, the scan shape among many in the XML, truncated files, calibration."""

import math
import warnings

import numpy as np
import pytest
from rsciio.empad import file_reader

from medrange.io import describe, read

XML = """<root name="{name}"><timestamp timestamp="1774471672.5" isoformat="2026-03-25T16:47:52.586728"/>
<software_version>1.2.2  (2021-08-20)</software_version><raw_file filename="{raw}"/>
<scan_parameters mode="search"><scan_size>0.8</scan_size><scan_resolution_y>{search[0]}</scan_resolution_y>
<scan_resolution_x>{search[1]}</scan_resolution_x></scan_parameters>
<scan_parameters mode="acquire"><scan_size>0.6</scan_size><scan_resolution_y>{acquire[0]}</scan_resolution_y>
<scan_resolution_x>{acquire[1]}</scan_resolution_x></scan_parameters>{more}
<iom_measurements>{optics}</iom_measurements></root>"""

NEW_OPTICS = """<full_scan_field_of_view><scale_factor>0.72</scale_factor><x>1.272412341559544e-06</x>
<y>1.272412341559544e-06</y></full_scan_field_of_view><nominal_camera_length>0.369</nominal_camera_length>
<high_voltage_state>True</high_voltage_state><high_voltage>300000.0</high_voltage>"""
OLD_OPTICS = """<optics.get_full_scan_field_of_view>[2e-8, 6e-8]</optics.get_full_scan_field_of_view>
<calibrated_pixelsize>1.826537060227288e-10</calibrated_pixelsize>
<source.get_voltage>200000.0</source.get_voltage><optics.get_cameralength>0.185</optics.get_cameralength>"""


def write_raw(path, frames, extra_bytes=0):
    records = np.random.default_rng(2).normal(size=(frames, 130, 128)).astype("<f4")
    records[:, 128:] = 1e9  # the footer must never show
    path.write_bytes(records.tobytes() + b"\1" * extra_bytes)
    return records[:, :128]


def write_pair(folder, shape, *, raw=None, xml="acquisition.xml", extra_bytes=0, frames=None, **fields):
    raw = raw or f"scan_x{shape[1]}_y{shape[0]}.raw"
    data = write_raw(folder / raw, math.prod(shape) if frames is None else frames, extra_bytes)
    entries = {"search": (9, 9), "acquire": shape, "optics": "", "more": "", "raw": raw, "name": "s", **fields}
    (folder / xml).write_text(XML.format(**entries))
    return folder / xml, folder / raw, data


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(path, **options)


@pytest.mark.parametrize("lazy", [False, True])
def test_xml_and_raw_give_the_same(tmp_path, lazy):
    xml, raw, data = write_pair(tmp_path, (3, 5), optics=NEW_OPTICS)
    for path in (xml, raw):
        dictionary = quiet(path, lazy=lazy)
        np.testing.assert_array_equal(np.asarray(dictionary["data"]), data.reshape(3, 5, 128, 128))
        assert dictionary["data"].dtype == np.dtype("float32")
        source = dictionary["metadata"]["Medrange"]["Source"]
        assert source["file"] == str(raw)
        assert source["format"] == "EMPAD"
        assert source["frames_in_file"] == source["frames_used"] == 15


def test_agrees_with_rosettasciio(tmp_path):
    for shape, optics in (((3, 5), NEW_OPTICS), ((5, 3), NEW_OPTICS), ((2, 3), OLD_OPTICS)):
        folder = tmp_path / f"{shape[0]}{optics[1:4]}"
        folder.mkdir()
        xml, _, _ = write_pair(folder, shape, optics=optics)
        ours, theirs = read(xml), file_reader(str(xml))[0]
        np.testing.assert_array_equal(ours["data"], theirs["data"])
        factors = {"nm": 1.0, "µm": 1e3, "μm": 1e3, "pm": 1e-3, "1/nm": 1.0, None: 1.0}
        for mine, other in zip(ours["axes"], theirs["axes"], strict=True):
            assert mine["size"] == other["size"]
            assert mine["scale"] == pytest.approx(other["scale"] * factors[other["units"]], rel=1e-9)
            assert mine["navigate"] == other["navigate"]
        general = ours["metadata"]["General"]
        assert (general["date"], general["time"]) == ("2026-03-25", "16:47:52.586728")


def test_calibration_of_both_generations_of_xml(tmp_path):
    xml, raw, _ = write_pair(tmp_path, (3, 5), optics=NEW_OPTICS)
    dictionary = read(xml)
    step = 1.272412341559544e-06 / 0.72 / 5 * 1e9
    assert dictionary["metadata"]["Acquisition_instrument"]["TEM"] == {"beam_energy": 300.0, "camera_length": 369.0}
    assert [axis["scale"] for axis in dictionary["axes"]] == pytest.approx([step, step, 1, 1])
    assert [axis.get("units") for axis in dictionary["axes"]] == ["nm", "nm", None, None]
    assert ["units" in axis for axis in dictionary["axes"]] == [True, True, False, False]
    assert [axis["offset"] for axis in dictionary["axes"]] == [0, 0, 0, 0]
    assert [axis["name"] for axis in dictionary["axes"]] == ["y", "x", "ky", "kx"]
    assert dictionary["metadata"]["Signal"]["signal_type"] == "nanodiffraction"
    assert dictionary["metadata"]["General"]["original_filename"] == raw.name

    xml.write_text(xml.read_text().replace(NEW_OPTICS, OLD_OPTICS))
    dictionary = read(xml)
    assert [axis["scale"] for axis in dictionary["axes"]] == pytest.approx([20 / 3, 12, 0.1826537060, 0.1826537060])
    assert [axis["units"] for axis in dictionary["axes"]] == ["nm", "nm", "1/nm", "1/nm"]
    assert dictionary["metadata"]["Acquisition_instrument"]["TEM"]["beam_energy"] == 200
    assert dictionary["metadata"]["Acquisition_instrument"]["TEM"]["camera_length"] == pytest.approx(185)


@pytest.mark.parametrize("voltage", ["300", "300.0", "300000.0"])
def test_voltage_in_volts_or_kilovolts(tmp_path, voltage):
    xml, _, _ = write_pair(tmp_path, (2, 2), optics=f"<high_voltage>{voltage}</high_voltage>")
    assert read(xml)["metadata"]["Acquisition_instrument"]["TEM"]["beam_energy"] == 300.0


@pytest.mark.parametrize(
    "optics",
    [
        "<high_voltage>unknown</high_voltage>",
        "<high_voltage>nan</high_voltage><calibrated_pixelsize>0</calibrated_pixelsize>",
        "<full_scan_field_of_view><x>1e-6</x><scale_factor>0</scale_factor></full_scan_field_of_view>",
        "<full_scan_field_of_view><x>?</x></full_scan_field_of_view>",
        "<optics.get_full_scan_field_of_view>[1, 2</optics.get_full_scan_field_of_view>",
    ],
)
def test_malformed_calibration_invents_nothing(tmp_path, optics):
    dictionary = quiet(write_pair(tmp_path, (2, 2), optics=optics)[0])
    assert "Acquisition_instrument" not in dictionary["metadata"]
    assert all(axis["scale"] == 1 and "units" not in axis for axis in dictionary["axes"])


def test_both_scan_blocks_are_kept(tmp_path):
    blocks = read(write_pair(tmp_path, (2, 3))[0])["original_metadata"]["root"]["scan_parameters"]
    assert [block["mode"] for block in blocks] == ["search", "acquire"]
    assert blocks[1]["scan_resolution_x"] == "3"


def test_search_block_is_taken_when_it_fits(tmp_path):
    xml, _, _ = write_pair(tmp_path, (4, 2), raw="renamed.raw", search=(4, 2), acquire=(16, 16))
    dictionary = quiet(xml)
    assert dictionary["data"].shape[:2] == (4, 2)
    assert dictionary["metadata"]["Medrange"]["Source"]["scan_shape_from"] == "scan_parameters search"


def test_raw_name_in_the_xml_wins_over_acquire(tmp_path):
    xml, _, _ = write_pair(tmp_path, (4, 2), search=(4, 2), acquire=(16, 16))
    assert quiet(xml)["data"].shape[:2] == (4, 2)


def test_old_xml_with_pixel_numbers(tmp_path):
    xml, _, _ = write_pair(tmp_path, (3, 2), raw="a.raw", acquire=(9, 9), more="<pix_x>2</pix_x><pix_y>3</pix_y>")
    assert quiet(xml)["data"].shape[:2] == (3, 2)


def test_two_shapes_of_the_same_size_are_reported(tmp_path):
    xml, _, _ = write_pair(tmp_path, (4, 2), acquire=(2, 4))
    with pytest.warns(UserWarning, match=r"fits \(4, 2\).*\(2, 4\).*scan_shape="):
        assert read(xml)["data"].shape[:2] == (4, 2)


def test_series(tmp_path):
    xml, _, data = write_pair(
        tmp_path, (6,), raw="series_x6.raw", acquire=(3, 2), more="<type>series</type><count>6</count>"
    )
    dictionary = quiet(xml, lazy=True)
    np.testing.assert_array_equal(dictionary["data"].compute(), data)
    assert [axis["name"] for axis in dictionary["axes"]] == ["frame", "ky", "kx"]
    assert dictionary["metadata"]["Medrange"]["Source"]["scan_shape_from"] == "series count"


def test_series_count_inside_scan_parameters(tmp_path):
    xml, raw, _ = write_pair(tmp_path, (6,), raw="s.raw", acquire=(3, 2))
    xml.write_text(
        '<root><raw_file filename="s.raw"/><scan_parameters><series_count>6</series_count></scan_parameters></root>'
    )
    assert quiet(raw)["data"].shape == (6, 128, 128)


def test_scan_shape_overrides(tmp_path):
    xml, _, data = write_pair(tmp_path, (4, 3), optics=NEW_OPTICS)
    dictionary = quiet(xml, scan_shape=(6, 2))
    np.testing.assert_array_equal(dictionary["data"], data.reshape(6, 2, 128, 128))
    with pytest.warns(UserWarning, match="9 of 12 frames are used.*3 frames after it are skipped"):
        dictionary = read(xml, scan_shape=(3, 3))
    np.testing.assert_array_equal(dictionary["data"], data[:9].reshape(3, 3, 128, 128))
    # The step does not change because only some lines are read.
    assert dictionary["axes"][0]["scale"] == pytest.approx(read(xml)["axes"][0]["scale"])
    with pytest.raises(ValueError, match=r"scan_shape=\(5, 3\) needs 15 frames, the file has 12.*\(4, 3\)"):
        read(xml, scan_shape=(5, 3))


@pytest.mark.parametrize("lazy", [False, True])
def test_truncated_file_keeps_whole_lines_in_one_warning(tmp_path, lazy):
    xml, _, data = write_pair(tmp_path, (5, 4), frames=14, extra_bytes=1000, optics=NEW_OPTICS)
    with pytest.warns(UserWarning, match="truncated|incomplete") as caught:
        dictionary = read(xml, lazy=lazy)
    assert len(caught) == 1
    message = str(caught[0].message)
    for part in ("14", "3 x 4", "2 frames", "1000 bytes", "20 frames"):
        assert part in message
    np.testing.assert_array_equal(np.asarray(dictionary["data"]), data[:12].reshape(3, 4, 128, 128))
    source = dictionary["metadata"]["Medrange"]["Source"]
    assert (source["frames_in_file"], source["frames_used"]) == (14, 12)
    assert dictionary["axes"][0]["scale"] == pytest.approx(1.272412341559544e-06 / 0.72 / 5 * 1e9)


def test_partial_frame_alone_is_reported(tmp_path):
    xml, _, _ = write_pair(tmp_path, (2, 2), extra_bytes=12)
    with pytest.warns(UserWarning, match="12 bytes"):
        assert read(xml)["data"].shape[:2] == (2, 2)


def test_renamed_raw_is_found_by_its_stem(tmp_path):
    xml, raw, data = write_pair(tmp_path, (2, 3), xml="night.xml")
    write_raw(tmp_path / "other.raw", 1)
    raw.rename(tmp_path / "night.raw")
    np.testing.assert_array_equal(quiet(xml)["data"].reshape(data.shape), data)
    assert quiet(tmp_path / "night.raw")["data"].shape[:2] == (2, 3)


def test_renamed_raw_is_found_when_it_is_the_only_one(tmp_path):
    xml, raw, data = write_pair(tmp_path, (2, 3))
    raw.rename(tmp_path / "anything.RAW")
    np.testing.assert_array_equal(quiet(xml)["data"].reshape(data.shape), data)
    assert quiet(tmp_path / "anything.RAW")["data"].shape[:2] == (2, 3)


def test_raw_with_a_path_in_the_xml(tmp_path):
    xml, raw, _ = write_pair(tmp_path, (2, 3))
    write_raw(tmp_path / "other.raw", 4)
    for prefix in ("/home/empad/1/", "D:\\data\\"):
        xml.write_text(xml.read_text().replace(f'filename="{raw.name}"', f'filename="{prefix}{raw.name}"'))
        assert quiet(xml)["data"].shape[:2] == (2, 3)
        xml.write_text(xml.read_text().replace(prefix, ""))


def test_xml_of_another_raw_file_is_not_borrowed(tmp_path):
    write_pair(tmp_path, (2, 3))
    write_raw(tmp_path / "alone.raw", 6)
    with pytest.raises(ValueError, match=r"scan shape of .*alone\.raw is unknown.*scan_shape=\(rows, columns\)"):
        read(tmp_path / "alone.raw")


def test_missing_raw_lists_what_was_looked_for(tmp_path):
    xml, raw, _ = write_pair(tmp_path, (2, 3))
    raw.unlink()
    with pytest.raises(ValueError, match=r"scan_x3_y2\.raw, acquisition\.raw.*\.raw files there: none"):
        read(xml)
    write_raw(tmp_path / "a.raw", 1)
    write_raw(tmp_path / "b.raw", 1)
    with pytest.raises(ValueError, match=r"there: a\.raw, b\.raw"):
        read(xml)


def test_raw_alone(tmp_path):
    data = write_raw(tmp_path / "alone.raw", 9)
    with pytest.warns(UserWarning, match=r"9 patterns are taken as a square scan of 3 x 3"):
        assert read(tmp_path / "alone.raw")["data"].shape[:2] == (3, 3)
    np.testing.assert_array_equal(quiet(tmp_path / "alone.raw", scan_shape=(9, 1))["data"][:, 0], data)
    write_raw(tmp_path / "alone.raw", 10)
    with pytest.raises(ValueError, match=r"medrange\.load\('alone\.raw', scan_shape=\(rows, columns\)\)"):
        read(tmp_path / "alone.raw")


def test_raw_alone_with_its_shape_in_the_name(tmp_path):
    write_raw(tmp_path / "scan_x5_y2.raw", 10)
    assert quiet(tmp_path / "scan_x5_y2.raw")["data"].shape[:2] == (2, 5)


def test_raw_that_starts_like_xml_is_still_raw(tmp_path):
    path = tmp_path / "scan_x1_y2.raw"
    write_raw(path, 2)
    content = bytearray(path.read_bytes())
    content[:1] = b"<"
    path.write_bytes(content)
    assert quiet(path)["data"].shape[:2] == (2, 1)


def test_raw_too_small(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"12345")
    with pytest.raises(ValueError, match="has 5 bytes; one EMPAD pattern takes 66560"):
        read(tmp_path / "a.raw")


def test_no_shape_fits_at_all(tmp_path):
    xml, _, _ = write_pair(tmp_path, (2, 3), raw="a.raw", search=(2, 2), frames=8)
    with pytest.warns(UserWarning, match=r"no scan shape fits the 8 patterns.*\(2, 3\).*6 of 8 frames are used"):
        assert read(xml)["data"].shape[:2] == (2, 3)


def test_flyback_is_counted_when_the_shape_is_chosen(tmp_path):
    xml, _, data = write_pair(tmp_path, (3, 4), frames=15)
    dictionary = quiet(xml, flyback=1)
    np.testing.assert_array_equal(dictionary["data"], data.reshape(3, 5, 128, 128)[:, :4])


def test_second_generation_is_refused(tmp_path):
    (tmp_path / "a.xml").write_text("<root><sensor><type>EMPAD2</type></sensor><raw_file filename='a.raw'/></root>")
    with pytest.raises(ValueError, match="EMPAD-G2"):
        read(tmp_path / "a.xml")


def test_other_xml_is_refused(tmp_path):
    (tmp_path / "a.xml").write_text("<LSX_Tree/>")
    with pytest.raises(ValueError, match=r"a\.xml is an XML file, but not of an EMPAD.*Merlin"):
        read(tmp_path / "a.xml")
    (tmp_path / "b.xml").write_text("<root><raw_file")
    with pytest.raises(ValueError, match="not a valid XML"):
        read(tmp_path / "b.xml")


def test_describe(tmp_path):
    xml, _, _ = write_pair(tmp_path, (3, 5), frames=12, optics=NEW_OPTICS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = describe(xml)
    assert facts["format"] == "EMPAD"
    assert facts["scan_shape"] == (2, 5)
    assert facts["detector_shape"] == (128, 128)
    assert facts["dtype"] == "float32"
    assert facts["data_bytes"] == 10 * 65536
    assert (facts["frames_in_file"], facts["frames_used"]) == (12, 10)
    assert facts["calibration"]["beam_energy"] == 300
    assert facts["calibration"]["x"][1] == "nm"
    assert "kx" not in facts["calibration"]
    assert facts["chunks"] == ((2,), (5,), (128,), (128,))
    assert any("2 frames" in note for note in facts["notes"])
