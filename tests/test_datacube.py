"""py4DSTEM cubes and medrange signals: the same numbers behind both front doors, and nothing lost on the way."""

import numpy as np
import py4DSTEM
import pytest

import medrange as mr
from medrange.geometry import DiffractionGeometry

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def scan():
    signal = mr.load(mr.datasets.sample_scan("empad"))
    signal.set_center((63.21, 64.87))
    return signal


def same_calibration(one, other):
    for a, b in zip(one.axes_manager._axes, other.axes_manager._axes, strict=True):
        assert (a.name, a.navigate) == (b.name, b.navigate)
        assert b.scale == pytest.approx(a.scale, rel=1e-12)
    assert other.geometry.center == pytest.approx(one.geometry.center, abs=1e-12)


@pytest.mark.parametrize("kind", ["empad", "merlin"])
def test_there_and_back_shares_the_data_and_keeps_the_calibration(kind):
    signal = mr.load(mr.datasets.sample_scan(kind))
    signal.calibrate(scan_step=0.6, scan_units="nm", k_step=0.16, k_units="1/nm", beam_energy=300)
    signal.set_center((61.5, 66.25))
    mask = np.zeros(signal.data.shape[-2:], bool)
    mask[:3] = True
    signal.set_mask(mask)
    signal.set_ellipse((0.97, 0.4))
    cube = mr.to_py4dstem(signal)
    assert np.shares_memory(cube.data, signal.data)
    assert cube.calibration.get_Q_pixel_size() == pytest.approx(0.016, rel=1e-12)
    assert cube.calibration.get_Q_pixel_units() == "A^-1"
    assert cube.calibration.get_R_pixel_units() == "nm"
    assert cube.calibration.get_origin_mean() == pytest.approx((61.5, 66.25))
    back = mr.from_py4dstem(cube)
    assert np.shares_memory(back.data, signal.data)
    same_calibration(signal, back)
    theirs, ours = back.geometry, signal.geometry
    np.testing.assert_array_equal(theirs.mask, ours.mask)
    np.testing.assert_allclose(theirs.ellipse, ours.ellipse, rtol=1e-12)
    np.testing.assert_allclose(theirs.k_of_pixels(), ours.k_of_pixels(), rtol=1e-12)


def test_file_of_py4dstem_with_results_comes_back(tmp_path, scan):
    cube = mr.MRODataCube.from_datacube(mr.to_py4dstem(scan))
    cube.variance_map(k=4.0, width=0.8)
    cube.angular_power_map(k=4.0, width=0.8, orders=(2, 4))
    py4DSTEM.save(str(tmp_path / "cube.h5"), cube)
    read = py4DSTEM.read(str(tmp_path / "cube.h5"))
    assert type(read) is py4DSTEM.DataCube
    np.testing.assert_array_equal(read.data, scan.data)
    stored = read.tree("angular_power_map")
    assert stored.shape == (2, 11, 14)
    assert stored.dim_names[0] == "n"
    again = mr.MRODataCube.from_datacube(read)
    assert again.geometry == cube.geometry
    expected = scan.variance_map(k=4.0, width=0.8).data
    np.testing.assert_array_equal(again.variance_map(k=4.0, width=0.8).data, expected)
    loaded = mr.from_py4dstem(tmp_path / "cube.h5", lazy=True)
    assert type(loaded) is mr.LazyNanodiffraction
    np.testing.assert_array_equal(loaded.data.compute(), scan.data)


CALLS = {
    "annular_dark_field": {"k": 4.0, "width": 0.8},
    "virtual_dark_field": {"k": 4.0, "phi": 0.3, "radius": 0.5},
    "dark_field_series": {"k": 4.0, "width": 0.8},
    "variance_map": {"k": 4.0, "width": 0.8},
    "angular_power_map": {"k": 4.0, "width": 0.8, "orders": (2, 4, 6)},
    "angular_correlation": {"k": 4.0, "width": 0.8},
    "radial_profile": {},
    "to_polar": {"n_phi": 36},
}


@pytest.mark.parametrize("name", CALLS)
def test_both_front_doors_give_the_same_results(scan, name):
    cube = mr.MRODataCube.from_datacube(mr.to_py4dstem(scan))
    on_cube, on_signal = (getattr(thing, name)(**CALLS[name]) for thing in (cube, scan))
    assert type(on_cube) is type(on_signal)
    np.testing.assert_allclose(on_cube.data, on_signal.data, rtol=1e-6)
    np.testing.assert_array_equal(cube.tree(name).data, on_cube.data)
    assert getattr(cube, name).__doc__ == getattr(mr.Nanodiffraction, name).__doc__


def test_medium_range_order_hangs_its_maps_on_the_tree(scan):
    cube = mr.MRODataCube.from_datacube(mr.to_py4dstem(scan))
    result = cube.medium_range_order(k=4.0, width=0.8)
    np.testing.assert_array_equal(cube.tree("medium_range_order_power").data, result.power.data)
    np.testing.assert_array_equal(cube.tree("medium_range_order_variance").data, result.variance.data)


def test_calibrating_the_cube_writes_its_calibration(scan):
    cube = mr.MRODataCube.from_datacube(mr.to_py4dstem(scan))
    center = cube.fit_center()
    assert cube.calibration.get_origin_mean() == pytest.approx(center, abs=1e-9)
    mask = np.zeros((128, 128), bool)
    mask[:, :9] = True
    cube.set_mask(mask)
    np.testing.assert_array_equal(cube.geometry.mask, mask)
    assert cube.geometry.center == pytest.approx(center, abs=1e-9)


def test_cube_calibrated_in_py4dstem_is_understood():
    cube = py4DSTEM.DataCube(np.ones((4, 5, 32, 32), "float32"))
    cube.calibration.set_Q_pixel_size(0.02)
    cube.calibration.set_Q_pixel_units("A^-1")
    cube.calibration.set_R_pixel_size(12.0)
    cube.calibration.set_R_pixel_units("A")
    cube.calibration.set_origin((15.25, 16.75))
    cube.calibration.set_ellipse((10.0, 9.5, 0.3))
    signal = mr.from_py4dstem(cube)
    assert signal.geometry.center == pytest.approx((15.25, 16.75))
    assert signal.geometry.ellipse == pytest.approx((0.95, np.pi / 2 - 0.3))
    assert signal.axes_manager["y"].scale == 12.0
    assert signal.geometry.k_step == pytest.approx(0.02)


def test_ellipse_means_the_same_in_both():
    """py4DSTEM's own transform straightens the ring that medrange's ellipse describes."""
    from py4DSTEM.process.utils.elliptical_coords import cartesian_to_polarelliptical_transform

    geometry = DiffractionGeometry((101, 101), (50.3, 49.6), 0.01, "1/Å", ellipse=(0.93, 0.5))
    ring = np.exp(-(((geometry.k_of_pixels() - 0.3) / 0.01) ** 2))
    signal = mr.Nanodiffraction(ring[None, None])
    signal.calibrate(scan_step=1.0, scan_units="nm", k_step=0.01, k_units="1/Å")
    signal.set_center((50.3, 49.6))
    signal.set_ellipse((0.93, 0.5))
    calibration = mr.to_py4dstem(signal).calibration
    polar = cartesian_to_polarelliptical_transform(ring, (50.3, 49.6, *calibration.get_ellipse()))[0]
    peaks = np.asarray(polar).argmax(axis=1)
    assert np.ptp(peaks) <= 1


def test_origins_of_every_position_are_the_descan():
    rows, columns = np.meshgrid(np.arange(5.0), np.arange(6.0), indexing="ij")
    cube = py4DSTEM.DataCube(np.ones((5, 6, 32, 32), "float32"))
    cube.calibration.set_Q_pixel_size(0.02)
    cube.calibration.set_Q_pixel_units("A^-1")
    plane = (15 + 0.3 * rows - 0.1 * columns, 16 + 0.2 * columns)
    cube.calibration.set_origin(plane)
    signal = mr.from_py4dstem(cube)
    assert signal.geometry.descan.degree == 1
    np.testing.assert_allclose(signal.centers, np.stack(plane, axis=-1), atol=1e-9)
    back = mr.to_py4dstem(signal).calibration.get_origin()
    np.testing.assert_allclose(np.stack(back), np.stack(plane), atol=1e-9)
    bent = (plane[0] + 0.05 * rows**2, plane[1] - 0.02 * rows * columns)
    cube.calibration.set_origin(bent)
    signal = mr.from_py4dstem(cube)
    assert signal.geometry.descan.degree == 2
    np.testing.assert_allclose(signal.centers, np.stack(bent, axis=-1), atol=1e-9)


def test_lazy_cube_stays_lazy(scan):
    assert type(mr.from_py4dstem(mr.to_py4dstem(scan), lazy=True)) is mr.LazyNanodiffraction


def test_errors():
    with pytest.raises(TypeError, match=r"cube is a list; give a py4DSTEM\.DataCube"):
        mr.from_py4dstem([])
    with pytest.raises(ValueError, match=r"a data cube is \(y, x, ky, kx\)"):
        mr.to_py4dstem(mr.Nanodiffraction(np.zeros((3, 4, 4))))
    signal = mr.Nanodiffraction(np.zeros((3, 4, 8, 8)))
    signal.calibrate(scan_step=(0.5, 0.7), scan_units="nm")
    with pytest.raises(ValueError, match=r"the scan steps are 0\.5 \(y\) and 0\.7 \(x\) nm"):
        mr.to_py4dstem(signal)


def test_method_of_the_signal_gives_the_cube(scan):
    cube = scan.to_py4dstem(name="glass")
    assert cube.name == "glass"
    assert np.shares_memory(cube.data, scan.data)
