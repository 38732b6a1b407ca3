import matplotlib.pyplot as plt
import numpy as np
import pytest

from medrange.aet import Reconstruction, TiltSeries
from medrange.aet.tomography import fourier_shell_correlation
from medrange.plotting import (
    plot_fourier_shell_correlation,
    plot_orthoslices,
    plot_r_factor,
    plot_sinogram,
)
from medrange.plotting.style import SCALE_BAR_GID


@pytest.fixture
def result():
    volume = np.random.default_rng(0).uniform(size=(12, 10, 8))
    return Reconstruction(volume, 0.5, [1.0, 0.5, 0.25], [1.0, 0.6, 0.3])


@pytest.fixture
def series():
    images = np.random.default_rng(1).uniform(0.1, 1, size=(4, 12, 10))
    return TiltSeries(images, [20, -10, 0, 40], pixel_size=0.5)


def test_r_factor_of_one_run_and_of_several(result):
    ax = result.plot_r_factor()
    assert [line.get_label() for line in ax.lines] == ["R$_1$", "R$_2$"]
    assert ax.lines[0].get_xydata() == pytest.approx(np.array([[1, 1], [2, 0.5], [3, 0.25]]))
    assert ax.get_yscale() == "log"
    _, mine = plt.subplots()
    assert plot_r_factor({"step 1": result, "step 2": result}, ax=mine, log=False) is mine
    assert [line.get_label() for line in mine.lines] == ["step 1", "step 2"]
    assert mine.get_yscale() == "linear"


def test_orthoslices_show_the_planes_through_a_voxel(result):
    axes = plot_orthoslices(result, position=(3, 4, 5))
    planes = [result.volume[:, :, 5], result.volume[:, 4, :], result.volume[3]]
    for ax, plane, labels in zip(axes, planes, ["xy", "xz", "yz"], strict=True):
        assert np.array_equal(ax.images[0].get_array(), plane.T)
        assert (ax.get_xlabel(), ax.get_ylabel()) == tuple(labels)
        assert ax.images[0].get_extent() == pytest.approx(
            [-0.25, plane.shape[0] / 2 - 0.25, -0.25, plane.shape[1] / 2 - 0.25]
        )
        (bar,) = [patch for patch in ax.patches if patch.get_gid() == SCALE_BAR_GID]
        assert ax.texts[0].get_text() == f"{bar.get_width():g} Å"
    axes = plot_orthoslices(result.volume)
    assert np.array_equal(axes[0].images[0].get_array(), result.volume[:, :, 4].T)
    assert axes[0].texts[0].get_text().endswith("px")
    assert len(result.plot()) == 3


def test_orthoslices_errors(result):
    with pytest.raises(ValueError, match=r"position \(12, 0, 0\)"):
        plot_orthoslices(result, position=(12, 0, 0))
    with pytest.raises(ValueError, match="three panels"):
        plot_orthoslices(result, axes=plt.subplots(1, 2)[1])


def test_sinogram_is_sorted_by_tilt(series):
    ax = plot_sinogram(series, row=3)
    mesh = ax.collections[0]
    corners = np.asarray(mesh.get_coordinates())
    order = [1, 2, 0, 3]
    assert np.array_equal(mesh.get_array(), series.projections[order, :, 3])
    assert corners[:, 0, 1] == pytest.approx(np.array([-15, -5, 10, 30, 50]))
    # The center of the image, pixel 6 of 12, lies at x = 0.
    assert corners[0, [6, 7], 0] == pytest.approx(np.array([-0.25, 0.25]))
    assert ax.get_xlabel() == "x (Å)"
    assert plot_sinogram(series.select([1])).get_title() == "y = 5"
    assert series.plot().get_title() == "y = 5"
    with pytest.raises(ValueError, match="row 10 is not among the 10"):
        plot_sinogram(series, row=10)


def test_fourier_shell_correlation(result):
    noisy = Reconstruction(result.volume + 0.3, 0.5, [], [])
    curve = fourier_shell_correlation(result, noisy)
    ax = curve.plot()
    assert ax.lines[0].get_xydata() == pytest.approx(np.stack([curve.frequency, curve.correlation], axis=1))
    assert ax.lines[1].get_ydata() == pytest.approx([0.143, 0.143])
    assert ax.get_xlabel() == "k (Å$^{-1}$)"
    ax = plot_fourier_shell_correlation({"a": curve, "b": curve}, threshold=None)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
