import numpy as np
import pytest

from medrange.geometry import DiffractionGeometry, PolarGrid

ARGUMENTS = ((8, 9), (3.5, 4.0), 0.1, "1/nm")


def test_equality_follows_values_not_identity():
    mask = np.zeros((8, 9), bool)
    mask[0, 0] = True
    one, same = (DiffractionGeometry(*ARGUMENTS, mask=mask.copy()) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != DiffractionGeometry(*ARGUMENTS)
    assert one != "geometry"


def test_a_mask_that_excludes_nothing_is_no_mask():
    assert DiffractionGeometry(*ARGUMENTS, mask=np.zeros((8, 9), bool)) == DiffractionGeometry(*ARGUMENTS)


def test_mask_is_copied():
    mask = np.zeros((8, 9), bool)
    mask[0, 0] = True
    geometry = DiffractionGeometry(*ARGUMENTS, mask=mask)
    mask[:] = True
    assert geometry.mask.sum() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k_step": 0.0}, "k_step is 0.0"),
        ({"k_step": np.nan}, "k_step is nan"),
        ({"center": (np.nan, 1.0)}, "row and column of the direct beam"),
        ({"ellipse": (3.0, 0.0)}, "axis ratio is 3.0"),
        ({"mask": np.zeros((8, 9))}, "boolean mask of the detector's shape"),
        ({"mask": np.zeros((9, 8), bool)}, r"\(8, 9\) is needed, True = excluded"),
    ],
)
def test_errors_name_the_value(change, message):
    arguments = dict(zip(("shape", "center", "k_step", "k_units"), ARGUMENTS, strict=True))
    with pytest.raises(ValueError, match=message):
        DiffractionGeometry(**(arguments | change))


def test_ellipse_is_undone_by_the_distortion():
    ratio, angle = 0.9, 0.4
    t = np.linspace(0, 2 * np.pi, 50)
    ring = np.array([np.cos(t), ratio * np.sin(t)])
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ ring
    geometry = DiffractionGeometry(*ARGUMENTS, ellipse=(ratio, angle))
    assert np.hypot(*(geometry.distortion @ turned)) == pytest.approx(1, abs=1e-12)


def test_k_of_pixels_and_largest_circle():
    geometry = DiffractionGeometry((32, 40), (10.0, 20.0), 0.5, "1/Å")
    assert geometry.k_of_pixels()[10, 26] == pytest.approx(3.0)
    assert geometry.k_of_pixels()[6, 23] == pytest.approx(2.5)
    assert geometry.k_max == pytest.approx(10.5 * 0.5)


def test_repr_tells_the_main_figures():
    text = repr(DiffractionGeometry(*ARGUMENTS, ellipse=(0.99, 0.1)))
    assert "8 x 9 px" in text
    assert "center (3.50, 4.00)" in text
    assert "0.99" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 1.0, 1, 36), "is empty"),
        ((-0.1, 1.0, 1, 36), "starts below 0"),
        ((0.0, 1.0, 0, 36), "n_k is 0"),
        ((0.0, 1.0, 1, 2), "n_phi is 2"),
    ],
)
def test_grid_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        PolarGrid(*arguments)


@pytest.mark.parametrize(("width", "message"), [(0.0, "width is 0.0"), (2.1, "reaches below k = 0")])
def test_band_errors(width, message):
    with pytest.raises(ValueError, match=message):
        PolarGrid.band(1.0, width, 36)


def test_band_has_full_width_around_k():
    band = PolarGrid.band(4.0, 0.8, 36)
    assert (band.k_min, band.k_max) == (3.6, 4.4)
    assert band.k == pytest.approx([4.0])
    assert band.phi[0] == pytest.approx(np.pi / 36)
    assert band.lags[1] == pytest.approx(np.pi / 18)


def odd_mask():
    return np.random.default_rng(0).random((8, 9)) < 0.3


@pytest.mark.parametrize("mask", [None, odd_mask()], ids=["open", "masked"])
@pytest.mark.parametrize("ellipse", [None, (0.987654321, 1 / 3)])
def test_json_round_trip_is_exact(mask, ellipse, tmp_path):
    center = (np.float64(10) / 3, np.nextafter(4.0, 5.0))
    geometry = DiffractionGeometry((np.int64(8), 9), center, np.float64(0.1) * 3, "1/Å", ellipse, mask)
    again = DiffractionGeometry.from_json(geometry.to_json())
    assert again == geometry
    assert (again.mask is None) == (mask is None)
    path = geometry.save(tmp_path / "deep" / "geometry")
    assert path.name == "geometry.json"
    assert DiffractionGeometry.load(path) == geometry
    assert geometry.save(tmp_path / "other.txt").name == "other.txt"


def test_json_of_a_large_mask_is_small():
    mask = np.zeros((512, 512), bool)
    mask[240:270, :300] = True
    assert len(DiffractionGeometry((512, 512), (255.5, 255.5), 0.1, "1/nm", mask=mask).to_json()) < 2000


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "{}",
        lambda text: "[1]",
        lambda text: "no json",
        lambda text: text.replace("geometry 1", "geometry 9"),
        lambda text: text.replace('"mask": "', '"mask": "AAAA'),
        lambda text: text.replace("8,", "80,"),
    ],
)
def test_text_that_is_no_geometry_is_refused(change):
    text = DiffractionGeometry(*ARGUMENTS, mask=odd_mask()).to_json()
    with pytest.raises(ValueError, match=r"is no geometry in the format 'medrange geometry 1' \(.*\); write one with"):
        DiffractionGeometry.from_json(change(text))
