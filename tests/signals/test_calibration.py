import hyperspy.api as hs
import numpy as np
import pytest

import medrange as mr
from medrange.geometry import DiffractionGeometry


def raw_scan(shape=(2, 3, 32, 40)):
    return mr.Nanodiffraction(np.random.default_rng(0).poisson(5, shape).astype(np.uint16))


def calibrated(**keywords):
    signal = raw_scan(**keywords)
    signal.calibrate(scan_step=0.5, k_step=0.1, beam_energy=200)
    signal.set_center((15.2, 19.7))
    return signal


def test_uncalibrated_physics_is_refused_with_the_call_to_make():
    with pytest.raises(ValueError, match=r"s\.calibrate\(scan_step=0\.32"):
        raw_scan().variance_map(k=1.0, width=0.2)
    signal = raw_scan()
    signal.calibrate(k_step=0.1)
    with pytest.raises(ValueError, match=r"s\.fit_center\(\), or s\.set_center"):
        signal.radial_profile()


def test_calibrate_sets_axes_and_energy():
    signal = calibrated()
    assert signal.geometry == DiffractionGeometry((32, 40), signal.geometry.center, 0.1, "1/nm")
    assert signal.geometry.center == pytest.approx((15.2, 19.7))
    assert signal.metadata.Acquisition_instrument.TEM.beam_energy == 200
    assert [axis.units for axis in signal.axes_manager.navigation_axes] == ["nm", "nm"]
    assert [axis.scale for axis in signal.axes_manager.navigation_axes] == [0.5, 0.5]


def test_order_of_calibration_and_center_does_not_matter():
    signal = raw_scan()
    signal.set_center((15.2, 19.7))
    signal.calibrate(k_step=0.3)
    signal.calibrate(k_step=0.1, scan_step=(0.5, 0.25))
    assert signal.geometry.center == pytest.approx((15.2, 19.7), abs=1e-12)
    assert [axis.scale for axis in signal.axes_manager.navigation_axes] == [0.25, 0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scan_step": 0.0}, "scan_step is 0.0"),
        ({"scan_step": 1.0, "scan_units": "px"}, "scan_units is 'px'"),
        ({"scan_step": 1.0, "scan_units": "1/nm"}, "cannot convert '1/nm' to 'nm'"),
        ({"k_step": -0.1}, "k_step is -0.1"),
        ({"k_step": 0.1, "k_units": "mrad"}, "k_units is 'mrad'"),
        ({"beam_energy": 0}, "beam_energy is 0"),
        ({"convergence_angle": -1}, "convergence_angle is -1"),
    ],
)
def test_calibrate_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        raw_scan().calibrate(**arguments)


def test_set_center_refuses_nonsense():
    with pytest.raises(ValueError, match="row and column of the direct beam"):
        raw_scan().set_center((np.nan, 3))


def test_rectangular_pixels_are_refused():
    signal = calibrated()
    signal.axes_manager.signal_axes[0].scale *= 1.1
    with pytest.raises(ValueError, match="square pixels are needed"):
        _ = signal.geometry


def mask_of(shape=(32, 40)):
    mask = np.zeros(shape, bool)
    mask[10:14, :20] = True
    return mask


@pytest.mark.parametrize("when", ["before calibration", "before center", "after both"])
def test_mask_set_at_any_time_stays_on_its_pixels(when):
    signal = raw_scan()
    if when == "before calibration":
        signal.set_mask(mask_of())
    signal.calibrate(k_step=0.1)
    if when == "before center":
        signal.set_mask(mask_of())
    signal.set_center((15.2, 19.7))
    if when == "after both":
        signal.set_mask(mask_of())
    assert (signal.geometry.mask == mask_of()).all()
    signal.set_center((14.0, 20.0))
    assert (signal.geometry.mask == mask_of()).all()
    cropped = signal.isig[4:30, 5:]
    assert (cropped.geometry.mask == mask_of()[5:, 4:30]).all()
    cropped.set_center((9.1, 16.2))
    assert (cropped.geometry.mask == mask_of()[5:, 4:30]).all()
    assert (cropped.isig[2:, :].geometry.mask == mask_of()[5:, 6:30]).all()


def test_mask_survives_unit_conversion_and_goes_with_none():
    signal = calibrated()
    signal.set_mask(mask_of())
    signal.axes_manager.convert_units(axes="signal", units="1/angstrom")
    assert (signal.geometry.mask == mask_of()).all()
    signal.set_mask(None)
    assert signal.geometry.mask is None


def test_mask_of_a_binned_signal_is_refused():
    signal = calibrated()
    signal.set_mask(mask_of())
    with pytest.raises(ValueError, match="call set_mask again"):
        _ = signal.rebin(scale=(1, 1, 2, 2)).geometry


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((3, 3), bool), r"shape \(32, 40\) is needed"),
        (np.zeros((32, 40)), "boolean mask"),
        (np.ones((32, 40), bool), "was ~mask meant"),
    ],
)
def test_mask_errors(mask, message):
    with pytest.raises(ValueError, match=message):
        calibrated().set_mask(mask)


def test_empty_mask_gives_the_same_bits():
    signal, masked = calibrated(), calibrated()
    masked.set_mask(np.zeros((32, 40), bool))
    one, other = (s.medium_range_order(k=1.0, width=0.2) for s in (signal, masked))
    for name in one.signals:
        assert one.signals[name].data.tobytes() == other.signals[name].data.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.deepcopy(),
        lambda s: s.inav[1:, 0],
        lambda s: s.as_lazy(),
        lambda s: s.inav[:, :2].isig[:, :],
    ],
)
def test_class_axes_and_geometry_are_kept(change):
    signal = calibrated()
    signal.set_mask(mask_of())
    changed = change(signal)
    assert isinstance(changed, mr.Nanodiffraction)
    assert changed.geometry == signal.geometry


def test_compute_keeps_class_and_geometry():
    signal = calibrated()
    signal.set_mask(mask_of())
    lazy = signal.as_lazy()
    assert type(lazy) is mr.LazyNanodiffraction
    lazy.compute()
    assert type(lazy) is mr.Nanodiffraction
    assert lazy.geometry == signal.geometry


def test_slices_in_pixels_and_in_units():
    signal = calibrated()
    assert (signal.isig[0.52:1.52, :].data == signal.isig[25:35, :].data).all()
    cropped = signal.isig[0.52:1.52, :]
    assert cropped.geometry.center == pytest.approx((15.2, 19.7 - 25))
    assert cropped.geometry.k_step == signal.geometry.k_step


@pytest.mark.parametrize("ending", ["hspy", "zspy"])
@pytest.mark.parametrize("lazy", [False, True])
def test_saving_keeps_class_axes_geometry(tmp_path, ending, lazy):
    signal = calibrated()
    signal.set_mask(mask_of())
    path = tmp_path / f"scan.{ending}"
    (signal.as_lazy() if lazy else signal).save(path)
    again = hs.load(path, lazy=lazy)
    assert type(again) is (mr.LazyNanodiffraction if lazy else mr.Nanodiffraction)
    assert again.geometry == signal.geometry
    assert (again.data == signal.data).all()


def test_set_signal_type_and_foreign_axes():
    signal = hs.signals.Signal2D(np.ones((2, 2, 16, 16)))
    for axis in signal.axes_manager.signal_axes:
        axis.scale, axis.offset, axis.units = 0.1, -0.75, "1/nm"
    signal.set_signal_type("nanodiffraction")
    assert type(signal) is mr.Nanodiffraction
    assert signal.geometry.center == pytest.approx((7.5, 7.5))


def test_fit_center_lazily_and_from_few_patterns(make_scan):
    signal = make_scan((6, 5), lazy=True, chunks=(2, 5, -1, -1), orders=())
    truth = signal.geometry.center
    signal.set_center((30, 30))
    assert signal.fit_center(max_patterns=10) == pytest.approx(truth, abs=0.02)
    assert signal.geometry.center == pytest.approx(truth, abs=0.02)


def test_fit_center_by_the_ring_behind_a_stop(make_scan):
    signal = make_scan((3, 3), orders=())
    truth = signal.geometry.center
    mask = signal.geometry.k_of_pixels() < 1.2
    signal.data[:, :, mask] = 0
    signal.set_mask(mask)
    signal.set_center((30.0, 33.5))
    assert signal.fit_center("ring", k=3.2, width=1.6) == pytest.approx(truth, abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "guess"}, "method is 'guess'"),
        ({"method": "ring"}, "the ring method needs the ring"),
        ({"max_patterns": 0}, "max_patterns is 0"),
    ],
)
def test_fit_center_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        calibrated().fit_center(**arguments)


def test_blocked_beam_is_refused_instead_of_a_wrong_center(make_scan):
    signal = make_scan((3, 3), orders=(), seed=2)
    mask = np.zeros((64, 64), bool)
    mask[25:38, :39] = True
    signal.data[:, :, mask] = 0
    with pytest.raises(ValueError, match="direct beam"):
        signal.fit_center()
    signal.set_mask(mask)
    with pytest.raises(ValueError, match="direct beam"):
        signal.fit_center()
    assert signal.fit_center("ring", k=3.2, width=1.6) == pytest.approx((31.3, 32.4), abs=0.05)


@pytest.mark.parametrize("center", [(31.3, 32.4), (24.0, 38.5), (15.0, 45.0)])
def test_beam_off_the_middle_is_found(make_scan, center):
    signal = make_scan((2, 2), orders=(), center=center)
    assert signal.fit_center() == pytest.approx(center, abs=0.03)
