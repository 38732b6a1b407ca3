import hyperspy.api as hs
import numpy as np
import pytest
import tifffile

from medrange.aet.tomography.reconstruction import Reconstruction
from medrange.formats import write_tiff


def resolution(file):
    """Pixels per unit along x and y, from the tags that ImageJ reads."""
    tags = file.pages[0].tags
    return tuple(np.divide(*tags[name].value) for name in ("XResolution", "YResolution"))


@pytest.mark.parametrize("dtype", [np.float64, np.uint16, ">i4", bool])
def test_image(tmp_path, dtype):
    image = (np.random.default_rng(0).random((5, 8)) * 100).astype(dtype)
    path = write_tiff(tmp_path / "new" / "a.tif", image, pixel_size=(0.5, 0.32), units="nm", origin=(2.0, -3.2))
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        assert resolution(file) == pytest.approx((1 / 0.32, 2.0), rel=1e-8)
        described = file.imagej_metadata
        assert file.asarray().dtype == np.float32
        np.testing.assert_allclose(file.asarray(), image, rtol=1e-7)
    assert described["unit"] == "nm"
    assert (described["xorigin"], described["yorigin"]) == pytest.approx((10.0, -4.0))


def test_stack_with_labels(tmp_path):
    stack = np.random.default_rng(0).random((3, 5, 8))
    stack[1, 2, 3] = np.nan
    path = write_tiff(tmp_path / "a.tiff", stack, pixel_size=(0.5, 0.5), units="Å", labels=["n = 2", "n = 4", "n = 6"])
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "ZYX"
        assert file.imagej_metadata["Labels"] == ["n = 2", "n = 4", "n = 6"]
        assert (file.imagej_metadata["slices"], file.imagej_metadata["unit"]) == (3, "angstrom")
        np.testing.assert_array_equal(file.asarray(), stack.astype(np.float32))


def test_as_hyperspy_reads_it(tmp_path):
    again = hs.load(write_tiff(tmp_path / "a.tif", np.ones((5, 8)), pixel_size=(0.5, 0.32), units="µm"))
    x, y = again.axes_manager.signal_axes
    assert (x.scale, y.scale) == pytest.approx((0.32, 0.5))
    assert x.units == "µm"


def test_without_calibration(tmp_path):
    with tifffile.TiffFile(write_tiff(tmp_path / "a.tif", np.ones((5, 8)))) as file:
        assert "unit" not in file.imagej_metadata
        assert resolution(file) == (1, 1)


def test_volume(tmp_path):
    volume = np.random.default_rng(0).random((4, 5, 7), dtype=np.float32)
    with tifffile.TiffFile(Reconstruction(volume, 0.35, [], []).save(tmp_path / "a.tif")) as file:
        assert file.imagej_metadata["spacing"] == pytest.approx(0.35)
        assert file.imagej_metadata["unit"] == "angstrom"
        assert resolution(file) == pytest.approx((1 / 0.35, 1 / 0.35), rel=1e-8)
        np.testing.assert_array_equal(file.asarray(), volume.transpose(2, 1, 0))
    with tifffile.TiffFile(Reconstruction(volume, None, [], []).save(tmp_path / "b.tif")) as file:
        assert "unit" not in file.imagej_metadata


def test_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'a.png': the ending"):
        write_tiff(tmp_path / "a.png", np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        write_tiff(tmp_path / "a.tif", np.ones(2))
    with pytest.raises(ValueError, match="complex128"):
        write_tiff(tmp_path / "a.tif", np.ones((2, 2)) * 1j)
    with pytest.raises(ValueError, match="2 labels and 3 slices"):
        write_tiff(tmp_path / "a.tif", np.ones((3, 2, 2)), labels=["a", "b"])
    with pytest.raises(ValueError, match="must be positive"):
        write_tiff(tmp_path / "a.tif", np.ones((2, 2)), pixel_size=(0, 1))
    large = np.broadcast_to(np.float32(0), (1100, 1000, 1000))
    with pytest.raises(ValueError, match="more than the 4 GB"):
        write_tiff(tmp_path / "a.tif", large)
