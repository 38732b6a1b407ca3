import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from medrange.aet import TiltSeries


@pytest.fixture
def series():
    images = np.random.default_rng(0).uniform(0.1, 5, size=(5, 8, 6)).astype(np.float32)
    angles = np.stack([np.full(5, 0.1), np.linspace(-60, 60, 5), np.full(5, -0.2)], axis=1)
    return TiltSeries(images, angles, pixel_size=0.32)


def same(one, two, *, pixel_size=True):
    assert np.array_equal(one.projections, two.projections)
    assert one.angles == pytest.approx(two.angles)
    if pixel_size:
        assert one.pixel_size == pytest.approx(two.pixel_size)


def test_what_it_holds(series):
    assert (series.n_tilts, series.image_shape, series.projections.dtype) == (5, (8, 6), np.float32)
    assert repr(series) == "TiltSeries(5 projections of 8 x 6 pixels, theta -60.0 to 60.0 deg, pixel 0.32 Å)"
    half = series.select(slice(0, None, 2))
    assert half.theta.tolist() == [-60, 0, 60]
    assert np.array_equal(half.projections, series.projections[::2])
    assert np.array_equal(series.select(series.theta > 0).projections, series.projections[3:])


def test_one_column_is_theta(series):
    for theta in (series.theta, series.theta[:, None], list(series.theta)):
        angles = TiltSeries(series.projections, theta).angles
        assert angles[:, 1] == pytest.approx(series.theta)
        assert not angles[:, [0, 2]].any()


def test_it_is_frozen_and_keeps_its_own_copy(series):
    images = series.projections.astype(float)
    mine = TiltSeries(images, series.angles)
    images[:] = 0
    assert mine.projections.min() > 0
    with pytest.raises(ValueError, match="read-only"):
        mine.projections[0] = 1
    with pytest.raises(AttributeError):
        mine.pixel_size = 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, a: (p[0], a), "three axes"),
        (lambda p, a: (np.moveaxis(p, 0, -1), a), r"8 projections .* and 5 angles.*moveaxis"),
        (lambda p, a: (p, a[:, :2]), r"shape \(5, 2\)"),
        (lambda p, a: (p, np.where(a > 50, np.nan, a)), "angles of tilt 4 are not finite"),
        (lambda p, a: (p, a * 10), "angles are in degrees"),
        (lambda p, a: (np.where(p > 4.5, np.nan, p), a), "pixels of . projections are not finite"),
        (
            lambda p, a: (p * (np.arange(5) != 3)[:, None, None], a),
            "1 projections hold nothing .*projection 3",
        ),
        (lambda p, a: (p[:, :1], a), "1 x 6 pixels"),
    ],
)
def test_errors(series, change, message):
    with pytest.raises(ValueError, match=message):
        TiltSeries(*change(series.projections, series.angles))


def test_radians_are_noticed():
    images = np.ones((21, 4, 4))
    with pytest.raises(ValueError, match="look like radians"):
        TiltSeries(images, np.radians(np.linspace(-70, 70, 21)))
    assert TiltSeries(images, np.linspace(-10, 10, 21)).n_tilts == 21
    assert TiltSeries(images, np.zeros(21)).n_tilts == 21


@pytest.mark.parametrize("size", [0, -1.0, np.nan, np.inf])
def test_pixel_size_is_positive(series, size):
    with pytest.raises(ValueError, match="angstrom per pixel"):
        TiltSeries(series.projections, series.angles, pixel_size=size)


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 5), st.integers(2, 6), st.integers(2, 6)), st.sampled_from([None, 0.35]))
def test_saved_and_loaded_again(tmp_path_factory, shape, pixel_size):
    # Whatever the sizes: a file of ours says what its axes are.
    images = np.random.default_rng(1).uniform(0.1, 1, size=shape)
    one = TiltSeries(images, np.linspace(-9, 9, shape[0]), pixel_size=pixel_size)
    path = one.save(tmp_path_factory.mktemp("series") / "a.npz")
    two = TiltSeries.load(path)
    same(one, two, pixel_size=False)
    assert one.pixel_size == two.pixel_size


def matlab5(path, variables):
    savemat(path, variables)


def matlab73(path, variables):
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            file[name] = np.asarray(value, dtype=float).T


@pytest.mark.parametrize("write", [matlab5, matlab73])
def test_matlab_files_of_the_deposits(series, write, tmp_path):
    stack = np.moveaxis(series.projections, 0, -1)  # (x, y, tilt), as the deposits have it
    write(tmp_path / "both.mat", {"projections": stack, "angles": series.angles})
    same(TiltSeries.load(tmp_path / "both.mat", pixel_size=0.32), series)
    write(tmp_path / "stack.mat", {"anything": stack})
    write(tmp_path / "angles.mat", {"angles": series.theta[:, None]})
    loaded = TiltSeries.load(tmp_path / "stack.mat", angles=tmp_path / "angles.mat")
    assert np.array_equal(loaded.projections, series.projections)
    assert loaded.theta == pytest.approx(series.theta)
    with pytest.raises(ValueError, match="holds no angles"):
        TiltSeries.load(tmp_path / "stack.mat")
    write(tmp_path / "two.mat", {"first": stack, "second": stack, "angles": series.angles})
    with pytest.raises(ValueError, match=r"holds 2 arrays with three axes.*key="):
        TiltSeries.load(tmp_path / "two.mat")
    same(TiltSeries.load(tmp_path / "two.mat", key="second"), series, pixel_size=False)
    with pytest.raises(ValueError, match="no variable 'third'"):
        TiltSeries.load(tmp_path / "two.mat", key="third")


def test_matlab_objects_are_refused(tmp_path):
    savemat(tmp_path / "object.mat", {"OBJ": np.array([("a", 1)], dtype=[("name", "O"), ("value", "O")])})
    with pytest.raises(ValueError, match=r"no numeric array.*MATLAB objects"):
        TiltSeries.load(tmp_path / "object.mat", angles=[0.0])


def test_mrc_with_a_tilt_file(series, tmp_path):
    with mrcfile.new(tmp_path / "tilts.mrc") as file:
        file.set_data(np.ascontiguousarray(series.projections.transpose(0, 2, 1)))  # sections, rows along y
        file.set_image_stack()
        file.voxel_size = 0.32
    (tmp_path / "tilts.rawtlt").write_text("\n".join(f"{t:.2f}" for t in series.theta) + "\n")
    loaded = TiltSeries.load(tmp_path / "tilts.mrc")
    assert np.array_equal(loaded.projections, series.projections)
    assert loaded.theta == pytest.approx(series.theta)
    assert loaded.pixel_size == pytest.approx(0.32)
    (tmp_path / "other.csv").write_text("# phi, theta, psi\n" + "\n".join(f"0.1, {t:g}, -0.2" for t in series.theta))
    same(TiltSeries.load(tmp_path / "tilts.mrc", angles=tmp_path / "other.csv"), series)
    (tmp_path / "bad.tlt").write_text("one\ntwo\n")
    with pytest.raises(ValueError, match=r"bad\.tlt is no table of angles"):
        TiltSeries.load(tmp_path / "tilts.mrc", angles=tmp_path / "bad.tlt")


def test_tif_stack(series, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", series.projections.transpose(0, 2, 1))
    same(TiltSeries.load(tmp_path / "a.tif", angles=series.angles, pixel_size=0.32), series)
    tifffile.imwrite(tmp_path / "b.tif", series.projections)
    same(TiltSeries.load(tmp_path / "b.tif", angles=series.angles, pixel_size=0.32, axes="txy"), series)


def test_order_of_axes_is_told_or_asked_for(series, tmp_path):
    np.savez(tmp_path / "first.npz", projections=series.projections, angles=series.angles)
    same(TiltSeries.load(tmp_path / "first.npz", pixel_size=0.32), series)
    np.savez(tmp_path / "last.npz", projections=np.moveaxis(series.projections, 0, -1), angles=series.angles)
    same(TiltSeries.load(tmp_path / "last.npz", pixel_size=0.32), series)
    cube = np.arange(1.0, 126.0).reshape(5, 5, 5)
    np.savez(tmp_path / "cube.npz", projections=cube, angles=series.angles)
    with pytest.raises(ValueError, match="both ends"):
        TiltSeries.load(tmp_path / "cube.npz")
    loaded = TiltSeries.load(tmp_path / "cube.npz", axes="xyt")
    assert np.array_equal(loaded.projections, np.moveaxis(cube, -1, 0))
    np.savez(tmp_path / "neither.npz", projections=np.ones((4, 5, 6)), angles=series.angles)
    with pytest.raises(ValueError, match="no outer axis fits"):
        TiltSeries.load(tmp_path / "neither.npz")


def test_files_that_are_not_read(series, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        TiltSeries.load(tmp_path / "missing.npz")
    (tmp_path / "a.dm4").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"\.dm4 is not read"):
        TiltSeries.load(tmp_path / "a.dm4")
    path = series.save(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="permutation of 'txy'"):
        TiltSeries.load(path, axes="tzy")
    with pytest.raises(ValueError, match=r"saved as \.npz"):
        series.save(tmp_path / "a.mrc")


@pytest.mark.data
def test_published_files(data_folder):
    window = TiltSeries.load(data_folder / "ta_film/tomography_subarea65.npz")
    assert (window.projections.shape, window.pixel_size) == ((46, 131, 57), pytest.approx(0.3216))
    with np.load(data_folder / "ta_film/tomography_subarea65.npz") as file:
        assert np.array_equal(window.projections[7, 20], file["projections"][20, :, 7])
    film = TiltSeries.load(data_folder / "ta_film/tomography_film_example.npz")
    assert (film.projections.shape, film.pixel_size) == ((59, 61, 61), None)
