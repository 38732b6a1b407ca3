import numpy as np
import pytest

import medrange as mr
from medrange.kernels.quality import full_scale, pattern_figures

RING = {"k": 3.2, "width": 0.64}


@pytest.mark.parametrize(
    ("dtype", "highest", "expected"),
    [("uint16", 4095, 4095), ("uint16", 65535, 65535), ("uint8", 63, 63), ("uint32", 16777215, 16777215)],
)
def test_full_scale_of_counters(dtype, highest, expected):
    assert full_scale(np.dtype(dtype), highest) == expected


@pytest.mark.parametrize(("dtype", "highest"), [("uint16", 4000), ("float32", 4095.0)])
def test_full_scale_unknown(dtype, highest):
    assert np.isnan(full_scale(np.dtype(dtype), highest))


def test_figures_of_single_patterns(make_scan):
    signal = make_scan((2, 3), orders=())
    frames = signal.data.reshape(-1, 64, 64)
    figures = pattern_figures(frames, signal.geometry, radius=1.2)
    assert figures[:, 0] == pytest.approx(frames.sum(axis=(1, 2)))
    assert figures[:, 1] == pytest.approx(frames.max(axis=(1, 2)))
    assert figures[:, 3:] == pytest.approx(np.tile([31.3, 32.4], (6, 1)), abs=0.02)


def test_report_of_a_clean_scan(make_scan):
    signal = make_scan((5, 6), dtype=np.uint16)
    report = signal.quality_report(**RING, gain=1)
    assert report["dose per pattern"] == pytest.approx(np.median(signal.data.sum(axis=(2, 3))))
    assert report["saturated pixels"] == 0
    assert report["masked pixels"] == 0
    assert report["center offset"] < 0.05
    assert report["center drift"] < 0.1
    assert report["ellipticity"] < 0.01
    assert report["odd to even power"] < 0.1
    assert set(report.table["verdict"]) <= {"good", "look", "unknown"}
    assert "center drift" in repr(report)


def test_report_finds_what_is_wrong(make_scan):
    signal = make_scan((5, 6), dtype=np.uint16)
    for x in range(6):
        signal.data[:, x] = np.roll(signal.data[:, x], x - 3, axis=-1)
    signal.data[:, :, 31, 32] = 4095
    signal.data.clip(0, 4095, out=signal.data)
    report = signal.quality_report(**RING, gain=1).table.set_index("figure")
    assert report.loc["center drift", "value"] == pytest.approx(2.5, abs=1.0)
    assert report.loc["center drift", "verdict"] == "look"
    assert report.loc["saturated pixels", "value"] == pytest.approx(1 / 64**2, rel=0.5)
    assert report.loc["saturated pixels", "verdict"] == "look"


def test_masked_beam_and_unknown_gain_are_said_to_be_unknown(make_scan):
    signal = make_scan((3, 4))
    signal.set_mask(signal.geometry.k_of_pixels() < 1.0)
    report = signal.quality_report(**RING).table.set_index("figure")
    assert report.loc["center drift", "verdict"] == "unknown"
    assert report.loc["shot noise of V2D", "verdict"] == "unknown"
    assert report.loc["masked pixels", "value"] > 0


def test_lazy_equals_eager(make_scan, tmp_path):
    expected = make_scan((4, 6)).quality_report(**RING).table
    lazy = make_scan((4, 6), lazy=True, chunks=(2, 3, -1, -1)).quality_report(**RING)
    assert lazy.table["value"].to_numpy() == pytest.approx(expected["value"].to_numpy(), rel=1e-6, nan_ok=True)
    assert "figure,value" in lazy.save(tmp_path / "quality.csv").read_text(encoding="utf-8")
    with pytest.raises(KeyError, match="there is no figure 'taste'"):
        lazy["taste"]


def test_result_is_public():
    assert mr.QualityReport.__doc__
