"""HyperSpy, medrange, py4DSTEM and pyxem: data bit by bit, calibration to 1e-12, whichever way a scan goes."""

import os
import shutil

import dask.array as da
import emdfile
import h5py
import hyperspy.api as hs
import numpy as np
import py4DSTEM
import pytest
from py4DSTEM.io.filereaders.read_mib import load_mib

import medrange as mr
from medrange.geometry import DiffractionGeometry
from medrange.io import read
from medrange.signals import exchange
from medrange.units import electron_wavelength

pytestmark = pytest.mark.filterwarnings("ignore")

TEM = "Acquisition_instrument.TEM"


@pytest.fixture
def pyxem():
    return pytest.importorskip("pyxem")


def sample(kind, *, lazy=False, descan=True):
    """Sample scan with everything a calibration can hold."""
    signal = mr.load(mr.datasets.sample_scan(kind), lazy=lazy)
    signal.calibrate(scan_step=0.6, k_step=0.1613, beam_energy=300, convergence_angle=1.15, scan_rotation_deg=-12.5)
    signal.set_center((61.5, 66.2503))
    mask = np.zeros(signal.data.shape[-2:], bool)
    mask[:3] = mask[60:66, 70:] = True
    signal.set_mask(mask)
    signal.set_ellipse((0.97, 0.4))
    if descan:
        rows, columns = np.indices(signal.data.shape[:2])
        moved = np.stack([61.5 + 0.03 * rows - 0.01 * columns, 66.2503 + 0.02 * columns], axis=-1)
        signal.fit_descan(1, centers=moved)
    return signal


def same(one, other, *, geometry="equal"):
    """Data to the last bit, calibration to 1e-12, class and laziness."""
    assert type(one) is type(other)
    assert one.data.dtype == other.data.dtype
    np.testing.assert_array_equal(np.asarray(one.data), np.asarray(other.data))
    for a, b in zip(one.axes_manager._axes, other.axes_manager._axes, strict=True):
        assert (a.name, a.navigate, a.size) == (b.name, b.navigate, b.size)
        assert b.scale == pytest.approx(a.scale, rel=1e-12)
        assert b.offset == pytest.approx(a.offset, rel=1e-12, abs=1e-12)
        assert mr.units.standard_units(b.units) == mr.units.standard_units(a.units)
    for name in ("beam_energy", "convergence_angle", "camera_length"):
        expected = one.metadata.get_item(f"{TEM}.{name}")
        assert other.metadata.get_item(f"{TEM}.{name}") == (expected and pytest.approx(expected, rel=1e-12))
    if geometry == "equal":
        assert other.geometry == one.geometry
    else:
        theirs, ours = other.geometry, one.geometry
        np.testing.assert_allclose(theirs.center, ours.center, rtol=1e-12)
        np.testing.assert_allclose(theirs.ellipse, ours.ellipse, rtol=1e-12)
        np.testing.assert_array_equal(theirs.mask, ours.mask)
        np.testing.assert_allclose(theirs.k_of_pixels(), ours.k_of_pixels(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(other.centers, one.centers, rtol=1e-12)
        assert (theirs.row_flip, theirs.scan_rotation) == (ours.row_flip, ours.scan_rotation)


def by_plain_hyperspy(signal, folder):
    plain = signal.deepcopy()
    plain.set_signal_type("")
    return mr.Nanodiffraction.from_signal(plain)


def by_hyperspy_file(signal, folder):
    signal.save(folder / "scan.hspy")
    return hs.load(folder / "scan.hspy", lazy=signal._lazy)


def by_cube(signal, folder):
    return mr.from_py4dstem(mr.to_py4dstem(signal), lazy=signal._lazy)


def by_cube_in_a_file(signal, folder):
    """As py4DSTEM itself saves and reads it, with results in the tree."""
    cube = mr.MRODataCube.from_datacube(mr.to_py4dstem(signal))
    cube.variance_map(k=4.0, width=0.8)
    cube.get_dp_mean()
    py4DSTEM.save(str(folder / "tree.h5"), cube)
    return mr.from_py4dstem(
        py4DSTEM.read(str(folder / "tree.h5"), datapath="datacube_root/datacube"), lazy=signal._lazy
    )


def by_file_of_py4dstem(signal, folder):
    by_cube_in_a_file(signal, folder)
    return mr.load(folder / "tree.h5", lazy=signal._lazy)


def by_streamed_file(signal, folder):
    return mr.load(mr.save_py4dstem(signal, folder / "cube.h5"), lazy=signal._lazy)


def by_streamed_file_and_py4dstem(signal, folder):
    cube = py4DSTEM.read(str(mr.save_py4dstem(signal, folder / "cube.h5")))
    assert type(cube) is py4DSTEM.DataCube
    return mr.from_py4dstem(cube, lazy=signal._lazy)


WAYS = [
    by_plain_hyperspy,
    by_hyperspy_file,
    by_cube,
    by_cube_in_a_file,
    by_file_of_py4dstem,
    by_streamed_file,
    by_streamed_file_and_py4dstem,
]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("kind", ["empad", "merlin"])
@pytest.mark.parametrize("way", WAYS)
def test_there_and_back(way, kind, lazy, tmp_path):
    signal = sample(kind, lazy=lazy)
    before = signal.deepcopy()
    same(signal, way(signal, tmp_path))
    same(before, signal)


@pytest.mark.parametrize("way", [by_cube, by_streamed_file])
def test_part_of_a_scan_and_of_the_detector(way, tmp_path):
    whole = sample("empad")
    part = whole.inav[3:9, 2:7].isig[10:100, 20:110]
    same(part, way(part, tmp_path))


@pytest.mark.parametrize("way", [by_plain_hyperspy, by_cube, by_streamed_file])
def test_scan_without_k_scale_keeps_its_center_and_mask(way, tmp_path):
    signal = mr.Nanodiffraction(np.arange(3 * 4 * 8 * 9, dtype="uint16").reshape(3, 4, 8, 9))
    for axis, name in zip(signal.axes_manager._axes, ("y", "x", "ky", "kx"), strict=True):
        axis.name = name
    signal.set_center((3.25, 4.5))
    mask = np.zeros((8, 9), bool)
    mask[2] = True
    signal.set_mask(mask)
    back = way(signal, tmp_path)
    for one in (signal, back):
        one.calibrate(scan_step=0.5, k_step=0.16)
    same(signal, back)


def test_through_all_four(pyxem, tmp_path):
    """HyperSpy to medrange to py4DSTEM to medrange to pyxem and back."""
    for kind in ("empad", "merlin"):
        signal = sample(kind)
        there = by_hyperspy_file(by_streamed_file(by_plain_hyperspy(signal, tmp_path), tmp_path), tmp_path)
        back = mr.from_py4dstem(mr.to_py4dstem(mr.Nanodiffraction.from_signal(there.to_pyxem())))
        same(signal, back, geometry="close")
        (tmp_path / "cube.h5").unlink()
        (tmp_path / "scan.hspy").unlink()


# py4DSTEM


def test_streamed_file_is_written_block_by_block(tmp_path):
    """No more than a block is ever in memory: every block is asked for once, by itself."""
    seen = []

    def block(block_info=None):
        seen.append(block_info[None]["array-location"][:2])
        return np.full(block_info[None]["chunk-shape"], len(seen), "uint16")

    chunks = ((2, 2, 1), (3, 3), (8,), (9,))
    data = da.map_blocks(block, chunks=chunks, dtype="uint16", meta=np.empty((0,) * 4, "uint16"))
    path = mr.save_py4dstem(mr.from_array(data, scan_step=0.5), tmp_path / "cube.h5")
    assert len(seen) == 6
    assert len({tuple(location) for location in map(tuple, (map(tuple, s) for s in seen))}) == 6
    with h5py.File(path) as file:
        stored = file["datacube_root/datacube/data"]
        assert (stored.shape, stored.dtype) == ((5, 6, 8, 9), np.dtype("uint16"))
        assert sorted(np.unique(stored)) == [1, 2, 3, 4, 5, 6]


def test_streamed_file_is_the_one_py4dstem_writes(tmp_path):
    signal = sample("empad")
    emdfile.save(str(tmp_path / "theirs.h5"), mr.to_py4dstem(signal), mode="o")
    mr.save_py4dstem(signal, tmp_path / "ours.h5")

    def content(path):
        found = {}

        def visit(name, item):
            found[name] = {key: str(value) for key, value in item.attrs.items()}
            if isinstance(item, h5py.Dataset):
                # An axis is written by its first two values, or in full where rounding made it uneven.
                value = item[:2] if name.rpartition("/")[2].startswith("dim") else item[()]
                found[name] |= {"dtype": item.dtype, "value": np.asarray(value).tobytes()}

        with h5py.File(path) as file:
            file.visititems(visit)
        return found

    ours, theirs = content(tmp_path / "ours.h5"), content(tmp_path / "theirs.h5")
    assert ours.keys() == theirs.keys()
    for name, item in theirs.items():
        if item.get("dtype") == np.dtype(object):
            # A text is stored by its address.
            item.pop("value")
            ours[name].pop("value")
        assert ours[name] == item, name


def test_file_that_is_there_is_not_replaced_unasked(tmp_path):
    signal = sample("empad")
    (tmp_path / "cube.h5").write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        mr.save_py4dstem(signal, tmp_path / "cube.h5")
    assert (tmp_path / "cube.h5").read_text() == "mine"
    mr.save_py4dstem(signal, tmp_path / "cube.h5", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["cube.h5"]
    with pytest.raises(ValueError, match=r"a data cube is \(y, x, ky, kx\)"):
        mr.save_py4dstem(signal.inav[2, 3], tmp_path / "other.h5")


def test_what_was_changed_in_py4dstem_counts():
    signal = sample("empad", descan=False)
    cube = mr.to_py4dstem(signal)
    cube.calibration.set_Q_pixel_size(0.02)
    cube.calibration.set_origin((60.0, 61.0))
    cube.calibration.set_ellipse((1.0, 0.9, 0.2))
    cube.calibration.set_QR_rotation(0.3)
    geometry = mr.from_py4dstem(cube).geometry
    assert geometry.k_step == pytest.approx(0.2, rel=1e-12)
    assert geometry.center == pytest.approx((60, 61), abs=1e-12)
    assert geometry.ellipse == pytest.approx((0.9, np.pi / 2 - 0.2), abs=1e-12)
    assert geometry.scan_rotation == pytest.approx(-0.3, abs=1e-12)
    np.testing.assert_array_equal(geometry.mask, signal.geometry.mask)


def test_cube_cropped_in_py4dstem_says_what_it_lost():
    cube = mr.to_py4dstem(sample("empad", descan=False))
    cube.crop_Q((10, 100, 20, 120))
    with pytest.warns(UserWarning, match="cropped or binned in py4DSTEM to 90 x 100 px"):
        signal = mr.from_py4dstem(cube)
    assert signal.data.shape[-2:] == (90, 100)
    assert signal.geometry.mask is None


def test_rotation_means_the_same_in_both():
    """A direction of the detector comes out the same in the scan, by py4DSTEM's function and by ours."""
    from py4DSTEM.process.calibration.rotation import get_Rvector_from_Qvector

    signal = sample("empad", descan=False)
    rotation = signal.geometry.scan_rotation
    phi = 0.7
    degrees = mr.to_py4dstem(signal).calibration.get_QR_rotation_degrees()
    # Their x is along rows; the function gives the direction in the scan first.
    in_scan = get_Rvector_from_Qvector(np.sin(phi), np.cos(phi), degrees)[:2]
    assert in_scan == pytest.approx((np.sin(phi + rotation), np.cos(phi + rotation)))


def test_flipped_scan_of_py4dstem_is_said():
    cube = mr.to_py4dstem(sample("empad", descan=False))
    cube.calibration.set_QR_rotation(0.3)
    cube.calibration.set_QR_flip(True)
    with pytest.warns(UserWarning, match="QR_flip"):
        assert mr.from_py4dstem(cube).geometry.scan_rotation is None


def test_rows_of_merlin_patterns(tmp_path):
    """medrange turns them as HyperSpy does, py4DSTEM does not; a cube made here holds them turned, and says so."""
    path = mr.datasets.sample_scan("merlin")
    signal = mr.load(path)
    assert signal.metadata.Medrange.Detector.row_flip is True
    # py4DSTEM 0.14.18 takes the scan's shape as given only where there is no .hdr file.
    alone = shutil.copy(path, tmp_path / "alone.mib")
    theirs = load_mib(str(alone), scan=signal.data.shape[:2])
    np.testing.assert_array_equal(signal.data, np.asarray(theirs.data)[..., ::-1, :])
    signal = sample("merlin")
    back = mr.from_py4dstem(mr.to_py4dstem(signal))
    assert back.metadata.Medrange.Detector.row_flip is True
    unknown = mr.from_py4dstem(theirs)
    assert not unknown.metadata.has_item("Medrange.Detector.row_flip")


def test_cube_with_further_cubes_and_results_is_read(tmp_path):
    """What hs.load refuses: images, stacks and point lists beside the cube."""
    signal = sample("empad")
    cube = mr.MRODataCube.from_datacube(mr.to_py4dstem(signal))
    cube.get_dp_max()
    cube.get_virtual_image(mode="circle", geometry=((64, 64), 10), name="bright_field")
    cube.angular_power_map(k=4.0, width=0.8, orders=(2, 4))
    cube.fluctuation_variance(gain=1.0)
    cube.ring_strain(k=4.0, width=1.5)
    cube.attach(emdfile.PointList(np.zeros(3, dtype=[("x", float), ("y", float)]), name="points"))
    py4DSTEM.save(str(tmp_path / "tree.h5"), cube)
    same(signal, mr.load(tmp_path / "tree.h5"))
    tree = py4DSTEM.read(str(tmp_path / "tree.h5"), datapath="datacube_root/datacube")
    assert tree.tree("fluctuation_variance").shape == (4, len(signal.fluctuation_variance().k))
    assert tree.tree("ring_strain_exx").shape == signal.data.shape[:2]
    assert "medrange" in read(tmp_path / "tree.h5")["original_metadata"]


# pyxem: a stand-in with its names, then the real one.


class Calibration:
    """pyxem's Calibration as far as it is used: state in axes and metadata."""

    def __init__(self, signal):
        self.signal = signal

    mask = property(lambda self: self.signal.metadata.get_item("General.mask"))
    affine = property(lambda self: self.signal.metadata.get_item("General.affine_transformation"))
    beam_energy = property(lambda self: self.signal.metadata.get_item(f"{TEM}.beam_energy"))

    def __setattr__(self, name, value):
        if name == "signal":
            object.__setattr__(self, name, value)
            return
        axes = self.signal.axes_manager.signal_axes
        metadata = self.signal.metadata
        if name == "units":
            for axis in axes:
                axis.units = value
        elif name == "scale":
            for axis in axes:
                axis.offset, axis.scale = axis.offset / axis.scale * value, value
        elif name == "center":
            for axis, center in zip(axes, value, strict=True):
                axis.offset = -center * axis.scale
        elif name in ("mask", "affine"):
            metadata.set_item("General." + {"mask": "mask", "affine": "affine_transformation"}[name], value)
        elif name == "camera_length":
            metadata.set_item(f"{TEM}.camera_length", value)
            metadata.set_item(f"{TEM}.camera_length_units", "meter")
        else:
            metadata.set_item(f"{TEM}.{name}", value)


def stand_in(signal):
    """As Nanodiffraction.to_pyxem, for a pyxem that is not installed."""
    made = exchange._twin(signal)
    made.calibration = Calibration(made)
    exchange.write_calibration(made, signal)
    return made


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("kind", ["empad", "merlin"])
def test_stand_in_of_pyxem_there_and_back(kind, lazy):
    signal = sample(kind, lazy=lazy)
    signal.metadata.set_item(f"{TEM}.camera_length", 150.0)
    made = stand_in(signal)
    assert made.axes_manager.signal_axes[0].units == "k_nm^-1"
    assert made.metadata.get_item(f"{TEM}.camera_length") == pytest.approx(0.15)
    assert made.data is signal.data or np.shares_memory(made.data, signal.data)
    back = mr.Nanodiffraction.from_signal(made)
    same(signal, back, geometry="close")
    assert not back.metadata.has_item("General.mask")
    assert made.metadata.has_item("General.mask")


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("kind", ["empad", "merlin"])
def test_pyxem_there_and_back(kind, lazy, pyxem):
    signal = sample(kind, lazy=lazy)
    made = signal.to_pyxem()
    assert type(made).__name__ == ("LazyElectronDiffraction2D" if lazy else "ElectronDiffraction2D")
    row, col = signal.geometry.center
    assert made.calibration.center == pytest.approx([col, row], abs=1e-12)
    assert made.calibration.beam_energy == 300
    np.testing.assert_array_equal(made.calibration.mask, signal.geometry.mask)
    same(signal, mr.Nanodiffraction.from_signal(made), geometry="close")
    if not lazy:
        assert np.shares_memory(made.data, signal.data)


def test_pyxem_integrates_along_the_same_ellipse(pyxem):
    geometry = DiffractionGeometry((101, 101), (48.3, 52.6), 0.02, "1/Å", ellipse=(0.9, 0.5))
    ring = np.exp(-(((geometry.k_of_pixels() - 0.6) / 0.02) ** 2))
    signal = mr.from_array(np.stack([ring, ring])[None], scan_step=1.0, k_step=0.02, k_units="1/Å", beam_energy=300)
    signal.set_geometry(geometry)
    spread = {}
    for angle in (0.5, np.pi - 0.5, np.pi / 2 - 0.5):
        signal.set_ellipse((0.9, angle))
        polar = signal.to_pyxem().get_azimuthal_integral2d(
            npt=45, radial_range=(0, 0.9), mean=True, show_progressbar=False
        )
        spread[angle] = np.ptp(polar.data[0, 0].argmax(axis=0))
    assert spread[0.5] <= 1
    assert min(spread[np.pi - 0.5], spread[np.pi / 2 - 0.5]) >= 3


def test_calibration_made_in_pyxem(pyxem):
    made = hs.signals.Signal2D(np.ones((3, 4, 16, 20), "uint8"))
    made.set_signal_type("electron_diffraction")
    made.calibration(scale=0.016, units="k_A^-1", center=(9.5, 7.25), beam_energy=200)
    made.calibration.mask = np.eye(16, 20, dtype=bool)
    made.set_scan_calibration(0.5)
    signal = mr.Nanodiffraction.from_signal(made)
    assert signal.geometry.center == pytest.approx((7.25, 9.5))
    assert (signal.geometry.k_step, signal.geometry.k_units) == (0.016, "1/Å")
    np.testing.assert_array_equal(signal.geometry.mask, np.eye(16, 20, dtype=bool))
    assert signal.metadata.get_item(f"{TEM}.beam_energy") == 200
    assert np.shares_memory(signal.data, made.data)
    assert made.calibration.mask.sum() == 16


def test_sum_in_a_region_is_that_of_pyxem(pyxem):
    signal = sample("empad", descan=False)
    signal.set_mask(None)
    made = signal.to_pyxem()
    for roi in (hs.roi.CircleROI(4.0, 0.0, 0.5), hs.roi.CircleROI(0, 0, 4.5, 3.5), hs.roi.RectangularROI(1, -2, 3, 2)):
        ours, theirs = signal.get_integrated_intensity(roi), made.get_integrated_intensity(roi)
        np.testing.assert_array_equal(ours.data, theirs.data)


def test_without_pyxem_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(exchange.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install pyxem"):
        sample("empad").to_pyxem()


def foreign(scale=0.1, units="k_nm^-1", center=(9.5, 7.25), shape=(3, 4, 16, 20), **values):
    """Signal calibrated in a stand-in of pyxem."""
    made = hs.signals.Signal2D(np.ones(shape, "uint8"))
    made.calibration = Calibration(made)
    for name, value in {"scale": scale, "units": units, "center": center, **values}.items():
        setattr(made.calibration, name, value)
    return made


WAVELENGTH = electron_wavelength(300)


@pytest.mark.parametrize(
    ("units", "k_step", "k_units"),
    [
        ("k_A^-1", 0.1, "1/Å"),
        ("$A^{-1}$", 0.1, "1/Å"),
        ("$\\AA^{-1}$", 0.1, "1/Å"),
        ("nm$^{-1}$", 0.1, "1/nm"),
        ("1 / angstrom", 0.1, "1 / angstrom"),
        ("q_nm^-1", 0.1 / (2 * np.pi), "1/nm"),
        ("q_A^-1", 0.1 / (2 * np.pi), "1/Å"),
        ("mrad", 1e-4 / WAVELENGTH, "1/Å"),
        ("2th_deg", 0.1 * np.pi / 180 / WAVELENGTH, "1/Å"),
    ],
)
def test_spellings_of_the_unit_of_k(units, k_step, k_units):
    geometry = mr.Nanodiffraction.from_signal(foreign(units=units, beam_energy=300)).geometry
    assert geometry.k_step == pytest.approx(k_step, rel=1e-8)
    assert geometry.k_units == k_units
    assert geometry.center == pytest.approx((7.25, 9.5), abs=1e-12)


def test_angles_need_the_beam_energy():
    with pytest.raises(ValueError, match=r"in mrad, and without the beam energy k is unknown"):
        mr.Nanodiffraction.from_signal(foreign(units="mrad"))


def test_lengths_on_the_detector_are_no_k():
    """As kikuchipy's patterns have them."""
    with pytest.warns(UserWarning, match="no unit of k: taken as pixels"):
        signal = mr.Nanodiffraction.from_signal(foreign(units="um"))
    with pytest.raises(ValueError, match="axes are in pixels"):
        _ = signal.geometry


def test_affine_matrix_of_pyxem_becomes_ellipse_and_scale():
    signal = mr.Nanodiffraction.from_signal(foreign(affine=np.diag([1.1, 1.0, 1.0])))
    # Rows, so y, are stretched.
    assert signal.geometry.ellipse == pytest.approx((1.1, 0.0), abs=1e-12)
    assert signal.geometry.k_step == pytest.approx(0.1)
    signal = mr.Nanodiffraction.from_signal(foreign(affine=1.25 * np.eye(3)))
    assert signal.geometry.ellipse is None
    assert signal.geometry.k_step == pytest.approx(0.08)
    assert signal.geometry.center == pytest.approx((7.25, 9.5))
    made = foreign(affine=exchange._affine((0.95, 0.3)))
    with pytest.warns(UserWarning, match="changes the sign"):
        signal = mr.Nanodiffraction.from_signal(made)
    assert signal.geometry.ellipse == pytest.approx((0.95, 0.3), abs=1e-12)
    turned = np.array([[0.0, 1.0], [-1.0, 0.0]])
    for matrix, reason in ((np.diag([1.0, -1.0]), "mirrors"), (turned, "turns the patterns")):
        affine = np.eye(3)
        affine[:2, :2] = matrix
        with pytest.raises(ValueError, match=reason):
            mr.Nanodiffraction.from_signal(foreign(affine=affine))


def test_sign_that_pyxem_changed_is_known():
    """After an odd number of its integrations pyxem holds the matrix with the other signs."""
    signal = sample("empad", descan=False)
    made = stand_in(signal)
    made.calibration.affine = made.calibration.affine * np.array([[1, -1, 1], [-1, 1, 1], [1, 1, 1]])
    assert mr.Nanodiffraction.from_signal(made).geometry.ellipse == signal.geometry.ellipse


def test_center_moved_in_pyxem_drops_the_descan():
    made = stand_in(sample("empad"))
    made.calibration.center = (63.5, 63.5)
    with pytest.warns(UserWarning, match="the descan is left out"):
        signal = mr.Nanodiffraction.from_signal(made)
    assert signal.geometry.descan is None
    assert signal.geometry.center == pytest.approx((63.5, 63.5))
    np.testing.assert_array_equal(signal.geometry.mask, sample("empad").geometry.mask)


def test_mask_as_signal_and_of_another_shape():
    mask = hs.signals.Signal2D(np.eye(16, 20))
    made = foreign()
    made.calibration.mask = mask
    np.testing.assert_array_equal(mr.Nanodiffraction.from_signal(made).geometry.mask, np.eye(16, 20, dtype=bool))
    made.calibration.mask = np.zeros((5, 5), bool)
    with pytest.raises(ValueError, match=r"of shape \(16, 20\) is needed"):
        mr.Nanodiffraction.from_signal(made)


def test_center_that_was_never_set_is_unknown():
    with pytest.raises(ValueError, match="center of the patterns is unknown"):
        _ = mr.Nanodiffraction.from_signal(foreign(center=(0, 0))).geometry


def test_not_patterns():
    with pytest.raises(TypeError, match=r"a list has neither HyperSpy's axes_manager nor array"):
        mr.Nanodiffraction.from_signal([])
    with pytest.raises(ValueError, match="with 2 navigation axes; patterns are"):
        mr.Nanodiffraction.from_signal(hs.signals.Signal1D(np.zeros((3, 4, 5))))
    with pytest.raises(ValueError, match="complex128; patterns are of integers or real numbers"):
        mr.Nanodiffraction.from_signal(hs.signals.ComplexSignal2D(np.zeros((3, 4, 5), complex)))
    bent = foreign()
    bent.axes_manager.signal_axes[0].convert_to_non_uniform_axis()
    with pytest.raises(ValueError, match="is not uniform"):
        mr.Nanodiffraction.from_signal(bent)


class Dataset:
    """quantem's Dataset4dstem as far as it is used."""

    def __init__(self, array):
        self.array = array
        self.sampling = np.array([0.5, 0.6, 0.02, 0.02])
        self.origin = np.array([1.0, 0.0, -0.15, -0.17])
        self.units = ["nm", "nm", "A^-1", "A^-1"]
        self.name = "glass"


@pytest.mark.parametrize("lazy", [False, True])
def test_dataset_of_quantem(lazy):
    array = np.random.default_rng(0).poisson(5, (3, 4, 16, 18)).astype("uint16")
    signal = mr.Nanodiffraction.from_signal(Dataset(da.from_array(array) if lazy else array))
    assert signal._lazy is lazy
    assert lazy or np.shares_memory(signal.data, array)
    assert signal.geometry.center == pytest.approx((7.5, 8.5), abs=1e-12)
    assert (signal.geometry.k_step, signal.geometry.k_units) == (0.02, "1/Å")
    y, x = signal.axes_manager.navigation_axes[::-1]
    assert (y.scale, y.offset, x.scale, y.units, signal.metadata.General.title) == (0.5, 1.0, 0.6, "nm", "glass")


# One scan, two front doors.


def test_every_method_of_the_signal_is_on_the_cube():
    from medrange.signals.calibrated import CalibratedPatterns

    methods = {name for cls in (mr.Nanodiffraction, CalibratedPatterns) for name in vars(cls) if name[0] != "_"}
    not_on_the_cube = {
        # py4DSTEM has a method of this name, which sets the axes; ours is calibrate_scan.
        "calibrate",
        # From and to other packages: by way of to_nanodiffraction().
        "from_signal",
        "to_pyxem",
        "to_py4dstem",
        # HyperSpy's, with an image for browsing; a cube is saved by py4DSTEM, or by save_py4dstem.
        "save",
    }
    assert methods - set(vars(mr.MRODataCube)) == not_on_the_cube
    assert "calibrate_scan" in vars(mr.MRODataCube)


def test_reduced_pdf_of_the_cube():
    signal = sample("merlin")
    cube = mr.MRODataCube.from_datacube(mr.to_py4dstem(signal))
    options = {"k_range": (0.25, 0.9), "polynomial_degree": 3}
    expected = signal.radial_profile().structure_factor("Zr55Co25Al20", **options)
    found = cube.structure_factor("Zr55Co25Al20", **options)
    np.testing.assert_array_equal(found.data, expected.data)
    pdf = cube.reduced_pdf("Zr55Co25Al20", r_max=12, window="lorch", **options)
    np.testing.assert_array_equal(pdf.data, expected.reduced_pdf(r_max=12, window="lorch").data)
    assert type(pdf) is mr.ReducedPDF
    np.testing.assert_array_equal(cube.tree("reduced_pdf").data, pdf.data)
    assert cube.tree("reduced_pdf").dim_names == ("y", "x", "r")


def test_calibrating_methods_of_the_cube():
    signal, cube = sample("empad"), mr.MRODataCube.from_datacube(mr.to_py4dstem(sample("empad")))
    for thing in (signal, cube):
        thing.set_descan(None)
        thing.set_ellipse((1.02, 0.1))
        thing.fit_k_scale(k=4.0, width=1.5)
    assert cube.geometry == signal.geometry
    np.testing.assert_array_equal(cube.centers, signal.centers)
    np.testing.assert_array_equal(cube.find_bad_pixels(), signal.find_bad_pixels())
    roi = hs.roi.CircleROI(0.0, 4.0, 0.5)
    np.testing.assert_array_equal(cube.get_integrated_intensity(roi).data, signal.get_integrated_intensity(roi).data)
    np.testing.assert_allclose(
        cube.variance_map(k=4.0, width=0.8).data, signal.variance_map(k=4.0, width=0.8).data, rtol=1e-12
    )


# The region, and units.


@pytest.mark.parametrize("lazy", [False, True])
def test_sum_in_a_region(lazy):
    signal = sample("empad", lazy=lazy, descan=False)
    roi = hs.roi.CircleROI(cx=4.0, cy=0.5, r=0.9)
    image = signal.get_integrated_intensity(roi)
    opened = sample("empad", descan=False)
    opened.data = np.where(signal.geometry.mask, 0, opened.data)
    expected = np.nansum(roi(opened, axes=opened.axes_manager.signal_axes).data, axis=(2, 3), dtype=float)
    assert type(image).__name__ == ("LazySignal2D" if lazy else "Signal2D")
    assert expected.min() > 0
    np.testing.assert_array_equal(np.asarray(image.data), expected)
    assert [axis.name for axis in image.axes_manager.signal_axes] == ["x", "y"]
    with pytest.raises(ValueError, match="holds no open pixel"):
        signal.get_integrated_intensity(hs.roi.CircleROI(cx=9.5, cy=0.3, r=0.2))


def test_geometry_follows_a_change_of_units():
    signal = sample("empad")
    expected = signal.variance_map(k=4.0, width=0.8).data
    before = signal.geometry
    signal.axes_manager.convert_units(axes="signal", units="1/angstrom")
    after = signal.geometry
    assert after.k_step == pytest.approx(before.k_step / 10, rel=1e-12)
    assert after.center == pytest.approx(before.center, rel=1e-12)
    np.testing.assert_array_equal(after.mask, before.mask)
    np.testing.assert_allclose(signal.variance_map(k=0.4, width=0.08).data, expected, rtol=1e-6)
    signal.axes_manager.convert_units(axes="navigation", units="angstrom")
    np.testing.assert_allclose(signal.centers, sample("empad").centers, rtol=1e-12)
    same_maps = signal.variance_map(k=0.4, width=0.08)
    np.testing.assert_allclose(same_maps.data, expected, rtol=1e-6)
    assert same_maps.axes_manager[0].scale == pytest.approx(6.0)
