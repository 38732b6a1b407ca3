"""Ellipse, k scale, bad pixels and the reuse of a geometry, on signals."""

import numpy as np
import pytest

import medrange as mr

CENTER, RATIO, ANGLE = (63.2, 64.7), 0.99, 0.7
RING = {"k": 4.0, "width": 2.0}


def scan(ratio=RATIO, *, k_step=0.16, radius=25.0, dtype=np.float64):
    rows, cols = np.indices((128, 128))
    x, y = cols - CENTER[1], rows - CENTER[0]
    along, across = x * np.cos(ANGLE) + y * np.sin(ANGLE), -x * np.sin(ANGLE) + y * np.cos(ANGLE)
    r = np.hypot(along, across / ratio)
    frame = 400 * np.exp(-(((r - radius) / 3.5) ** 2)) + 100 * np.exp(-r / 20) + 50
    signal = mr.Nanodiffraction(np.broadcast_to(frame, (4, 6, 128, 128)).astype(dtype))
    signal.calibrate(scan_step=0.5, k_step=k_step)
    signal.set_center(CENTER)
    return signal


def stop():
    mask = np.zeros((128, 128), bool)
    mask[60:68, :70] = True
    return mask


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_ellipse_fitted_and_set_gives_the_undistorted_scan(lazy, masked):
    signal, round_one = scan(), scan(1.0)
    if masked:
        signal.set_mask(stop())
        round_one.set_mask(stop())
    spoiled = signal.radial_profile().data[0, 0]
    if lazy:
        signal = signal.as_lazy()
    ratio, angle = signal.fit_ellipse(**RING)
    assert (ratio, angle) == (pytest.approx(RATIO, abs=5e-4), pytest.approx(ANGLE, abs=0.05))
    assert signal.geometry.ellipse == (ratio, angle)
    if lazy:
        signal.compute()
    expected = round_one.radial_profile().data[0, 0]
    found = signal.radial_profile().data[0, 0][: expected.size]
    inner = slice(15, min(found.size, expected.size))
    assert found[inner] == pytest.approx(expected[inner], rel=4e-3)
    assert np.abs(found[inner] - expected[inner]).max() < 0.2 * np.abs(spoiled[inner] - expected[inner]).max()
    # An ellipse is a false two-fold order; it goes.
    two_fold = signal.angular_power_map(4.4, 0.4, orders=[2]).data.max()
    signal.set_ellipse(None)
    assert two_fold < 0.02 * signal.angular_power_map(4.4, 0.4, orders=[2]).data.max()
    assert signal.geometry.ellipse is None


@pytest.mark.parametrize("masked", [False, True])
def test_center_off_by_a_pixel_and_ellipse_of_one_percent(masked):
    signal = scan()
    if masked:
        signal.set_mask(stop())
    signal.set_center((CENTER[0] + 0.8, CENTER[1] - 0.6))
    assert signal.fit_ellipse(**RING) == pytest.approx((RATIO, ANGLE), abs=5e-4 / (1 - RATIO))
    assert signal.geometry.ellipse[0] == pytest.approx(RATIO, abs=5e-4)
    assert signal.fit_center("ring", **RING) == pytest.approx(CENTER, abs=0.02)


def test_ellipse_survives_saving_and_slicing(tmp_path):
    import hyperspy.api as hs

    signal = scan()
    signal.set_ellipse((0.98, 0.3))
    signal.save(tmp_path / "scan.hspy")
    assert hs.load(tmp_path / "scan.hspy").geometry == signal.geometry
    assert signal.inav[1:, :].geometry.ellipse == (0.98, 0.3)


@pytest.mark.parametrize("ellipse", [(3.0, 0.0), (0.98, np.nan)])
def test_nonsense_ellipse_is_refused(ellipse):
    with pytest.raises(ValueError, match=r"the ellipse is .*; give the axis ratio b/a"):
        scan().set_ellipse(ellipse)


@pytest.mark.parametrize("wrong", [0.97, 1.0, 1.04])
def test_k_scale_from_a_ring_of_known_radius(wrong):
    signal = scan(1.0, k_step=0.16 * wrong, dtype=np.float32)
    center = signal.geometry.center
    k_step = signal.fit_k_scale(k=4.0, width=2.4)
    assert k_step == pytest.approx(0.16, rel=1e-3)
    assert signal.geometry.k_step == k_step
    assert signal.geometry.center == pytest.approx(center, abs=1e-9)
    signal.axes_manager.convert_units(axes="signal", units="1/angstrom")
    assert signal.fit_k_scale(k=0.4, width=0.24) == pytest.approx(k_step / 10, rel=1e-5)


def test_k_scale_without_a_ring_is_refused():
    with pytest.raises(ValueError, match="no ring was found between"):
        scan(1.0).fit_k_scale(k=7.0, width=1.6)


def test_geometry_goes_to_the_next_scan_through_a_file(tmp_path):
    first = scan()
    first.set_mask(stop())
    first.fit_ellipse(**RING)
    path = first.geometry.save(tmp_path / "calibration")
    second = mr.Nanodiffraction(first.data.copy())
    second.set_mask(~stop())
    second.set_geometry(mr.DiffractionGeometry.load(path))
    assert second.geometry.center == pytest.approx(first.geometry.center, abs=1e-12)
    assert second.geometry.k_step == first.geometry.k_step
    assert second.geometry.ellipse == first.geometry.ellipse
    assert (second.geometry.mask == stop()).all()
    assert second.variance_map(4.0, 0.4).data == pytest.approx(first.variance_map(4.0, 0.4).data, rel=1e-9)
    cropped = second.isig[4:100, 5:]
    assert (cropped.geometry.mask == stop()[5:, 4:100]).all()


def test_a_geometry_without_ellipse_and_mask_removes_both():
    signal = scan()
    plain = signal.geometry
    signal.set_mask(stop())
    signal.set_ellipse((0.98, 0.3))
    signal.set_geometry(plain)
    assert (signal.geometry.mask, signal.geometry.ellipse) == (None, None)


def test_geometry_of_another_detector_is_refused():
    signal = scan()
    with pytest.raises(ValueError, match="a detector of 128 x 128 px, the patterns have 128 x 100"):
        signal.isig[:100, :].set_geometry(signal.geometry)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("centered", [False, True])
def test_bad_pixels_of_a_scan(lazy, centered):
    rng = np.random.default_rng(0)
    signal = scan()
    frames = rng.poisson(signal.data * 0.05).astype(np.uint16)
    dead, hot = rng.random((128, 128)) < 0.01, rng.random((128, 128)) < 0.002
    hot &= ~dead
    frames[..., dead] = 0
    frames[..., hot] = rng.poisson(150, (4, 6, hot.sum()))
    counts = mr.Nanodiffraction(frames)
    if centered:
        counts.set_center(CENTER)
    known = np.zeros((128, 128), bool)
    known[:5] = True
    counts.set_mask(known)
    before, metadata = frames.copy(), str(counts.metadata)
    found = (counts.as_lazy() if lazy else counts).find_bad_pixels()
    assert found[dead | hot | known].all()
    assert found[~(dead | hot | known)].mean() < 1e-3
    assert (frames == before).all()
    assert str(counts.metadata) == metadata
    counts.set_mask(found)


def test_few_patterns_are_enough_for_no_verdict():
    with pytest.raises(ValueError, match="there are 6 patterns; at least 20"):
        scan().inav[:, 0].find_bad_pixels()


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["empad_clusters_thin/counts_full_scan.h5", "merlin_two_phase/counts_binned2_full_scan.h5"]
)
def test_simulated_detectors_without_bad_pixels_stay_whole(data_folder, name):
    import h5py

    with h5py.File(data_folder / "sim" / name) as file:
        signal = mr.Nanodiffraction(file["frames"][::2])
    assert signal.find_bad_pixels().mean() < 1e-3
