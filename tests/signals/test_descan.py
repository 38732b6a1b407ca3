"""Descan, scan rotation and row flip of a scan: set, carried through slicing and files, and applied by every method."""

import tracemalloc
from dataclasses import replace

import h5py
import hyperspy.api as hs
import numpy as np
import pytest

import medrange as mr
from medrange.geometry import Descan, DiffractionGeometry
from medrange.signals.strain import turned

CENTER = (31.3, 32.4)
RING = {"k": 3.2, "width": 0.4}
# 3 px from corner to corner, along neither axis.
SLOPES = ((0.9, 0.5), (-0.7, 1.2))
METHODS = {
    "variance_map": lambda s: s.variance_map(**RING),
    "angular_power_map": lambda s: s.angular_power_map(**RING, k_resolved=True),
    "medium_range_order": lambda s: s.medium_range_order(**RING, shot_noise="poisson", gain=1).power,
    "floor": lambda s: s.medium_range_order(**RING, k_resolved=False, shot_noise="poisson", gain=1).power_noise,
    "radial_profile": lambda s: s.radial_profile(),
    "to_polar": lambda s: s.to_polar(n_phi=36),
    "angular_correlation": lambda s: s.angular_correlation(**RING),
    "dark_field_series": lambda s: s.dark_field_series(**RING),
    "annular_dark_field": lambda s: s.annular_dark_field(**RING),
    "virtual_dark_field": lambda s: s.virtual_dark_field(k=3.2, phi=0.4, radius=0.3),
    "ring_strain": lambda s: s.ring_strain(3.2, 1.5).exx,
}


def plane_shifts(scan_shape, slopes=SLOPES):
    """Shifts (y, x, 2) in pixels, running over ``slopes`` from -1 to 1 along y and along x."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in scan_shape), indexing="ij")
    return np.stack([a * y + b * x for a, b in slopes], axis=-1)


def ring_scan(scan_shape=(12, 16), *, slopes=SLOPES, dtype="uint16", ellipse=1.0, seed=0):
    """Calibrated scan of plain rings whose center moves as a plane over the scan; Poisson counts for integers."""
    rows, cols = np.indices((64, 64))
    shifts = plane_shifts(scan_shape, slopes)
    y = (rows - CENTER[0] - shifts[..., 0, None, None]) / ellipse
    radius = np.hypot(y, cols - CENTER[1] - shifts[..., 1, None, None]) * 0.16
    frames = 100 * np.exp(-(((radius - 3.2) / 0.5) ** 2)) + 5 + 2000 * np.exp(-((radius / 0.4) ** 2))
    if np.dtype(dtype).kind == "u":
        frames = np.random.default_rng(seed).poisson(frames)
    signal = mr.Nanodiffraction(frames.astype(dtype))
    signal.calibrate(scan_step=0.32, k_step=0.16, beam_energy=300)
    signal.set_center(CENTER)
    return signal


def described(scan_shape=(12, 16), slopes=SLOPES, step=0.32):
    """The descan of :func:`ring_scan`."""
    spans = [(size - 1) * step for size in scan_shape]
    coefficients = tuple(tuple(2 * s / span for s, span in zip(row, spans, strict=True)) for row in slopes)
    return Descan(coefficients, ((0.0, spans[0]), (0.0, spans[1])), "nm")


def stop_mask():
    mask = np.zeros((64, 64), bool)
    mask[28:35, 40:] = True
    return mask


@pytest.fixture
def scan():
    signal = ring_scan()
    signal.set_descan(described())
    return signal


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("degree", "method"), [(1, "direct_beam"), (2, "direct_beam"), (1, "ring")])
def test_a_plane_of_some_pixels_is_recovered_and_corrected(degree, method, lazy):
    signal = ring_scan((16, 24))
    before = signal.data.copy()
    uncorrected = signal.variance_map(**RING).data.mean()
    scan = signal.as_lazy() if lazy else signal
    descan = scan.fit_descan(degree, method, **({"k": 3.2, "width": 1.5} if method == "ring" else {}))
    assert np.abs(scan.centers - plane_shifts((16, 24)) - CENTER).max() < 0.05
    assert descan.degree == degree
    assert descan.residual < 0.05
    # What is left is the shot noise: 8.7e-4 for some 30 counts in each of 36 bins' 13 pixels.
    corrected = np.asarray(scan.variance_map(**RING, shot_noise="poisson").data).mean()
    assert abs(corrected) < 3e-5
    assert uncorrected > 1.3e-3
    np.testing.assert_array_equal(signal.data, before)


def test_no_second_copy_of_the_data():
    signal = ring_scan((48, 48), dtype="float32")
    signal.fit_descan()
    signal.variance_map(**RING)
    tracemalloc.start()
    try:
        signal.variance_map(**RING)
        signal.fit_descan()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.2 * signal.data.nbytes


@pytest.mark.parametrize("masked", [False, True], ids=["open", "masked"])
@pytest.mark.parametrize("name", METHODS)
def test_lazy_equals_eager_in_any_chunks(name, masked, scan):
    if masked:
        scan.set_mask(stop_mask())
    expected = METHODS[name](scan).data
    lazy = scan.as_lazy()
    lazy.data = lazy.data.rechunk((5, 7, -1, -1))
    result = METHODS[name](lazy)
    assert result._lazy
    np.testing.assert_allclose(np.asarray(result.data), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "name", [name for name in METHODS if name not in ("ring_strain", "medium_range_order", "floor")]
)
def test_every_method_takes_each_pattern_from_its_own_center(name):
    # A scan of whole shifts is the unshifted scan rolled pixel by pixel: the same numbers must come out.
    plain = ring_scan((7, 7), slopes=((0, 0), (0, 0)))
    rolled = plain.deepcopy()
    for y, x in np.ndindex(7, 7):
        rolled.data[y, x] = np.roll(plain.data[y, x], (y - 3, 3 - x), axis=(0, 1))
    rolled.set_descan(described((7, 7), ((3, 0), (0, -3))))
    method = METHODS[name]
    if name in ("radial_profile", "to_polar"):
        method = {"radial_profile": lambda s: s.radial_profile(k_max=4.0), "to_polar": lambda s: s.to_polar(k_max=4.0)}[
            name
        ]
    np.testing.assert_allclose(method(rolled).data, method(plain).data, rtol=1e-5, atol=1e-12)
    rolled.set_descan(None)
    away = np.abs(method(rolled).data - method(plain).data)
    assert np.nanmax(away) > 0.01 * np.nanmax(np.abs(method(plain).data))


def test_strain_and_spectrum_at_the_patterns_own_centers():
    plain = ring_scan((7, 7), slopes=((0, 0), (0, 0)), dtype="float64")
    moved = ring_scan((7, 7), dtype="float64")
    moved.set_descan(described((7, 7)))
    for name in ("exx", "eyy", "exy"):
        here, there = (getattr(signal.ring_strain(3.2, 1.5), name).data for signal in (moved, plain))
        # Interpolated weights blur a pattern by at most 1/8 px: (1/8)^2/2/20 px of radius is 4e-4 of it.
        np.testing.assert_allclose(here, there, atol=1e-3)
    # Rings within two pixels of the center have few pixels to tell P_2 by, at any center.
    assert np.abs(moved.medium_range_order(**RING).spectrum.data[2:, 1]).max() < 1e-4


@pytest.mark.parametrize("method", ["annular_mean", "ring_mean", "ring_ensemble"])
def test_fluctuation_variance_of_a_moved_scan(method, scan):
    still = ring_scan(slopes=((0, 0), (0, 0)), seed=1).fluctuation_variance(method, gain=1)
    corrected = scan.fluctuation_variance(method, gain=1)
    scan_mask = np.zeros((12, 16), bool)
    scan_mask[:3] = True
    lazy = scan.as_lazy().fluctuation_variance(method, gain=1, scan_mask=scan_mask, n_bootstrap=3)
    eager = scan.fluctuation_variance(method, gain=1, scan_mask=scan_mask)
    np.testing.assert_allclose(lazy.raw, eager.raw, rtol=1e-9)
    at_ring = np.abs(corrected.k[:26] - 3.2) < 1.0
    uncorrected = ring_scan().fluctuation_variance(method, gain=1)
    off = np.abs(corrected.corrected[:26] - still.corrected[:26])[at_ring]
    assert off.max() < 0.05 * np.abs(uncorrected.corrected[:26] - still.corrected[:26])[at_ring].max()


def test_variance_image_is_refused(scan):
    with pytest.raises(ValueError, match="a pixel does not stay at its k"):
        scan.fluctuation_variance("variance_image")


def test_a_descan_of_zero_changes_no_bit():
    signal = ring_scan()
    expected = {name: METHODS[name](signal).data for name in METHODS}
    signal.set_descan(described(slopes=((0, 0), (0, 0))))
    for name, values in expected.items():
        np.testing.assert_array_equal(METHODS[name](signal).data, values)


@pytest.mark.parametrize("index", [(slice(3, 9), slice(5, 6)), (slice(None, None, 3), slice(1, None, 2))])
def test_slicing_the_scan_keeps_each_center(scan, index):
    whole = scan.variance_map(**RING).data
    part = scan.inav[index[1], index[0]]
    np.testing.assert_allclose(part.centers, scan.centers[index], atol=1e-12)
    np.testing.assert_allclose(part.variance_map(**RING).data, whole[index], rtol=1e-5)


def test_cropping_and_transposing_keep_each_center(scan):
    cropped = scan.isig[2:, 5:60]
    np.testing.assert_allclose(cropped.centers, scan.centers - [5, 2], atol=1e-9)
    turned_over = scan.transpose(navigation_axes=[1, 0], signal_axes=[2, 3])
    assert turned_over.data.shape[:2] == (16, 12)
    np.testing.assert_allclose(turned_over.centers, scan.centers.swapaxes(0, 1), atol=1e-12)
    expected = scan.variance_map(**RING).data.T
    np.testing.assert_allclose(turned_over.variance_map(**RING).data, expected, rtol=1e-5)
    turned_over.axes_manager.navigation_axes[0].name = "z"
    with pytest.raises(ValueError, match="which is which is unknown"):
        _ = turned_over.centers


def test_transposed_quadratic():
    descan = Descan(((0.1, 0.2, 0.3, 0.4, 0.5), (1, 2, 3, 4, 5)), ((0, 2), (0, 4)), "nm")
    y, x = np.random.default_rng(0).uniform(0, 2, (2, 9))
    np.testing.assert_allclose(descan.transposed().shifts(x, y), descan.shifts(y, x), atol=1e-12)
    scaled = descan.scaled(scan=(10, 20), pixels=0.5)
    np.testing.assert_allclose(scaled.shifts(10 * y, 20 * x), 0.5 * descan.shifts(y, x), atol=1e-12)


def test_what_lost_its_place_in_the_scan_is_refused(scan):
    for part in (scan.inav[3, 4], scan.inav[:, 2], scan.sum(axis=(0, 1))):
        with pytest.raises(ValueError, match="where its patterns lie in the scan is lost"):
            part.variance_map(**RING)
    pattern = scan.inav[3, 4]
    pattern.set_descan(None)
    assert pattern.geometry.descan is None


def test_calibrating_afterwards_keeps_each_center(scan):
    expected = scan.centers
    scan.calibrate(scan_step=(5.0, 2.0), scan_units="Å", k_step=0.02, k_units="1/Å")
    np.testing.assert_allclose(scan.centers, expected, atol=1e-9)
    assert scan.geometry.descan.units == "Å"
    for axis in scan.axes_manager.navigation_axes:
        axis.convert_to_units("nm")
    np.testing.assert_allclose(scan.centers, expected, atol=1e-9)
    assert scan.geometry.descan.extent[0] == pytest.approx((0, 5.5))
    binned = scan.rebin(scale=(1, 1, 2, 2))
    np.testing.assert_allclose(np.diff(binned.centers, axis=0), np.diff(expected, axis=0) / 2, atol=1e-9)


def test_a_scan_calibrated_after_the_fit():
    signal = ring_scan()
    bare = mr.Nanodiffraction(signal.data)
    bare.fit_descan()
    bare.calibrate(scan_step=0.32, k_step=0.16)
    assert np.abs(bare.centers - plane_shifts((12, 16)) - CENTER).max() < 0.05
    assert bare.geometry.descan.units == "nm"


@pytest.mark.parametrize("ending", ["hspy", "zspy"])
def test_saved_scans_keep_it(scan, tmp_path, ending):
    scan.calibrate(scan_rotation_deg=30)
    scan.fit_descan(2)
    scan.save(tmp_path / f"scan.{ending}")
    loaded = hs.load(tmp_path / f"scan.{ending}")
    assert loaded.geometry == scan.geometry
    assert loaded.geometry.descan.residual == scan.geometry.descan.residual
    np.testing.assert_array_equal(loaded.centers, scan.centers)


def test_geometry_carries_it_to_the_next_scan(scan, tmp_path):
    scan.calibrate(scan_rotation_deg=-12.5)
    geometry = DiffractionGeometry.load(scan.geometry.save(tmp_path / "geometry"))
    assert geometry == scan.geometry
    assert "descan of degree 1, scan rotation -12.5 deg" in repr(geometry)
    following = ring_scan(seed=3)
    following.set_geometry(geometry)
    assert following.geometry == geometry
    np.testing.assert_allclose(following.centers, scan.centers)
    following.set_geometry(replace(geometry, descan=None, scan_rotation=None))
    assert following.geometry.descan is None
    assert following.geometry.scan_rotation is None
    with pytest.raises(ValueError, match="it would be extrapolated"):
        ring_scan((13, 16)).set_geometry(geometry)
    bare = mr.Nanodiffraction(following.data)
    with pytest.raises(ValueError, match="and this scan is in positions"):
        bare.set_geometry(geometry)


def test_a_geometry_written_before_descan_is_read():
    text = DiffractionGeometry((8, 9), (3.5, 4.0), 0.1, "1/nm").to_json()
    lines = [line for line in text.splitlines() if not any(name in line for name in ('"descan"', '"scan_r', '"row_'))]
    assert DiffractionGeometry.from_json("\n".join(lines).replace("null,\n}", "null\n}")).descan is None


def test_row_flip_is_stated_and_not_mixed(scan):
    assert scan.geometry.row_flip is None
    scan.metadata.set_item("Medrange.Detector.row_flip", True)
    geometry = DiffractionGeometry.from_json(scan.geometry.to_json())
    assert geometry.row_flip is True
    other = ring_scan()
    other.set_geometry(geometry)
    other.metadata.set_item("Medrange.Detector.row_flip", False)
    with pytest.raises(ValueError, match="all angles are mirrored"):
        other.set_geometry(geometry)


def test_center_and_descan_are_set_apart(scan):
    scan.set_center((30.0, 30.0))
    np.testing.assert_allclose(scan.centers, plane_shifts((12, 16)) + 30.0, atol=1e-9)
    found = scan.fit_center()
    assert np.abs(np.subtract(found, CENTER)).max() < 0.05
    # Of a corner of the scan the mean pattern lies elsewhere; the center is that of the whole scan's middle.
    corner = scan.inav[:5, :4]
    assert np.abs(np.subtract(corner.fit_center(), CENTER)).max() < 0.05
    assert np.abs(corner.centers - scan.centers[:4, :5]).max() < 0.05


def test_ellipse_and_scale_are_of_the_aligned_pattern():
    signal = ring_scan((9, 9), slopes=((0, 0), (0, 4)), ellipse=0.97, dtype="float64")
    signal.set_mask(stop_mask())
    signal.set_descan(described((9, 9), ((0, 0), (0, 4))))
    ratio, angle = signal.fit_ellipse(k=3.2, width=1.5)
    assert ratio == pytest.approx(0.97, abs=0.003)
    assert np.sin(angle) == pytest.approx(0, abs=0.05)
    signal.calibrate(k_step=0.155)
    assert signal.fit_k_scale(k=3.2, width=1.5) == pytest.approx(0.16, rel=0.005)


def test_given_centers_and_what_they_leave():
    signal = ring_scan()
    centers = plane_shifts((12, 16)) + CENTER
    centers[0, 0] = np.nan
    descan = signal.fit_descan(centers=centers)
    assert descan.residual < 1e-9
    np.testing.assert_allclose(descan.coefficients, described().coefficients, atol=1e-12)
    curved = centers + 3 * plane_shifts((12, 16))[..., :1] ** 2
    with pytest.warns(UserWarning, match="px .root mean square. from the fitted descan"):
        signal.fit_descan(centers=curved)
    assert signal.fit_descan(2, centers=curved).residual < 1e-9
    with pytest.raises(ValueError, match=r"shape \(12, 16, 2\)"):
        signal.fit_descan(centers=centers[0])
    with pytest.raises(ValueError, match="method is 'com'"):
        signal.fit_descan(method="com")
    with pytest.raises(ValueError, match="the ring method needs the ring"):
        signal.fit_descan(method="ring")
    with pytest.raises(TypeError, match=r"give a medrange\.geometry\.Descan"):
        signal.set_descan(centers)
    with pytest.raises(ValueError, match="two-dimensional scan"):
        signal.inav[0].fit_descan()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((((1, 2, 3), (1, 2, 3)), ((0, 1), (0, 1))), "2 each for a plane"),
        ((((1, 2), (1, np.inf)), ((0, 1), (0, 1))), "give finite numbers"),
        ((((1, 2), (1, 2)), ((1, 0), (0, 1))), "extent is"),
    ],
)
def test_nonsense_is_no_descan(arguments, message):
    with pytest.raises(ValueError, match=message):
        Descan(*arguments)


def test_beam_stop_fits_the_ring():
    signal = ring_scan((16, 24))
    mask = np.zeros((64, 64), bool)
    mask[26:37, :38] = True
    signal.set_mask(mask)
    with pytest.raises(ValueError, match="cut by the mask"):
        signal.fit_descan()
    signal.fit_descan(method="ring", k=3.2, width=1.5)
    assert np.abs(signal.centers - plane_shifts((16, 24)) - CENTER).max() < 0.05


def test_rings_reach_as_far_as_all_positions_allow(scan):
    row, col = np.abs(plane_shifts((12, 16))).max(axis=(0, 1))
    profile = scan.radial_profile()
    limit = min(63.5 - CENTER[0] - row, CENTER[1] + 0.5 - col, 63.5 - CENTER[1] - col, CENTER[0] + 0.5 - row)
    assert profile.axes_manager["k"].size == int(limit)
    assert np.isfinite(scan.to_polar(n_phi=72).data).all()


def test_quality_report_tells_of_descan(scan):
    report = scan.quality_report(**RING, gain=1)
    assert report["descan"] < 0.05
    assert report["center drift"] < 0.1
    scan.set_descan(None)
    table = scan.quality_report(**RING, gain=1).table.set_index("figure")
    # 2 (0.7 + 1.2) px from corner to corner along the columns.
    assert table.loc["descan", "value"] == pytest.approx(3.8, abs=0.1)
    assert table.loc["descan", "verdict"] == "look"


def test_strain_in_the_axes_of_the_scan():
    # Stretched along the rows of the detector only; a direction there is seen 30 degrees on in the scan.
    signal = ring_scan((3, 3), slopes=((0, 0), (0, 0)), dtype="float64", ellipse=0.97)
    detector = signal.ring_strain(3.2, 1.5, reference=3.2)
    with pytest.raises(ValueError, match=r"set it with s\.calibrate"):
        signal.ring_strain(3.2, 1.5, frame="scan")
    signal.calibrate(scan_rotation_deg=30)
    assert signal.geometry.scan_rotation == pytest.approx(np.pi / 6)
    np.testing.assert_array_equal(signal.ring_strain(3.2, 1.5, reference=3.2).exx.data, detector.exx.data)
    for lazy in (False, True):
        scan = (signal.as_lazy() if lazy else signal).ring_strain(3.2, 1.5, reference=3.2, frame="scan")
        big = detector.eyy.data - detector.exx.data
        assert big.mean() == pytest.approx(0.03, abs=0.005)
        # The axis of the largest strain, +ky, lies at 90 + 30 degrees in the scan.
        axis = 0.5 * np.arctan2(2 * np.asarray(scan.exy.data), np.asarray(scan.exx.data) - np.asarray(scan.eyy.data))
        np.testing.assert_allclose(np.mod(np.rad2deg(axis), 180), 120, atol=1)
        np.testing.assert_allclose(scan.exx.data + scan.eyy.data, detector.exx.data + detector.eyy.data, atol=1e-9)
    with pytest.raises(ValueError, match="frame is 'lab'"):
        signal.ring_strain(3.2, 1.5, frame="lab")
    with pytest.raises(ValueError, match="give a finite angle"):
        signal.calibrate(scan_rotation_deg=np.nan)


def test_turned_is_the_rotation_of_a_tensor():
    rng = np.random.default_rng(0)
    for angle in (0.3, -1.9):
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        exx, eyy, exy = rng.normal(size=3)
        expected = rotation @ np.array([[exx, exy], [exy, eyy]]) @ rotation.T
        np.testing.assert_allclose(
            turned(np.array([exx, eyy, exy]), angle), [expected[0, 0], expected[1, 1], expected[0, 1]]
        )


@pytest.mark.data
def test_shifted_copy_of_a_simulated_scan(data_folder):
    with h5py.File(data_folder / "sim" / "empad_clusters_thin" / "counts_full_scan.h5") as file:
        frames = file["frames"][:].reshape(48, 48, 128, 128)[:9, :9].copy()
    moved = np.empty_like(frames)
    for y, x in np.ndindex(9, 9):
        moved[y, x] = np.roll(frames[y, x], (y - 4, x - 4), axis=(0, 1))
    plain, shifted = mr.Nanodiffraction(frames), mr.Nanodiffraction(moved)
    for signal in (plain, shifted):
        signal.calibrate(scan_step=0.32, k_step=0.16)
        signal.set_center((63.667, 64.333))
    truth = np.stack(np.meshgrid(np.arange(9) - 4, np.arange(9) - 4, indexing="ij"), axis=-1)
    center = np.array([63.667, 64.333])
    shifted.fit_descan(centers=truth + center)
    for method in (lambda s: s.variance_map(4.0, 0.8), lambda s: s.angular_power_map(4.0, 0.8)):
        np.testing.assert_allclose(method(shifted).data, method(plain).data, rtol=1e-6, atol=1e-9)
    assert shifted.fit_descan().residual < 0.05
    assert np.abs(shifted.centers - truth - center).max() < 0.05
