import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hyperspy.axes import DataAxis, UniformDataAxis

from medrange.aet import Reconstruction, TiltSeries
from medrange.aet.tomography import fourier_shell_correlation
from medrange.plotting import (
    plot_fourier_shell_correlation,
    plot_missing_wedge,
    plot_orthoslices,
    plot_r_factor,
    plot_sinogram,
    plot_tilt_series,
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
    assert series.plot_sinogram().get_title() == "y = 5"
    with pytest.raises(ValueError, match="row 10 is not among the 10"):
        plot_sinogram(series, row=10)


def test_tilt_series_in_the_viewer(series, tmp_path):
    stack = series.plot()
    order = [1, 2, 0, 3]
    assert np.array_equal(stack.data, series.projections[order].transpose(0, 2, 1))
    tilt, x, y = stack.axes_manager._axes[0], *stack.axes_manager.signal_axes
    assert isinstance(tilt, DataAxis)
    assert (tilt.name, tilt.units, tilt.axis.tolist()) == ("θ", "deg", [-10, 0, 20, 40])
    assert [(a.name, a.units, a.scale, a.size) for a in (x, y)] == [("x", "Å", 0.5, 12), ("y", "Å", 0.5, 10)]
    # The center of rotation, pixel n // 2, is the origin.
    assert (x.axis[6], y.axis[5]) == (0, 0)
    assert stack._plot.is_active
    stack.axes_manager.indices = (2,)
    shown = stack._plot.signal_plot.ax.images[0].get_array()
    assert np.array_equal(shown, series.projections[0].T)
    stack.save(tmp_path / "stack.hspy")
    loaded = hs.load(tmp_path / "stack.hspy")
    assert loaded.metadata.Medrange.Tomography.angles.tolist() == series.angles[order].tolist()
    assert loaded.axes_manager[0].axis.tolist() == [-10, 0, 20, 40]


def test_tilt_axes(series):
    even = plot_tilt_series(TiltSeries(series.projections, [20, -10, 0, 10]), cmap="viridis", navigator=None)
    axis = even.axes_manager[0]
    assert isinstance(axis, UniformDataAxis)
    assert axis.axis == pytest.approx([-10, 0, 10, 20])
    assert even.axes_manager.signal_axes[0].units == "px"
    twice = TiltSeries(series.projections, [20, -10, 20, 10]).plot(navigator=None)
    assert twice.axes_manager[0].name == "number of tilt"
    assert twice.metadata.Medrange.Tomography.angles[:, 1].tolist() == [-10, 10, 20, 20]
    assert series.select([1]).plot(navigator=None).axes_manager[0].axis.tolist() == [-10]
    plt.close("all")


def test_missing_wedge(series):
    ax = plot_missing_wedge(np.arange(-70, 71, 10))
    assert ax.get_title() == "15 tilts, missing wedge 40.0 deg"
    wedges = ax.patches[:2]
    assert np.array([(w.theta1, w.theta2) for w in wedges]) == pytest.approx(np.array([(70, 110), (250, 290)]))
    # The slice of tilt theta is the line through (cos, -sin).
    for line, theta in zip(ax.lines, np.radians(np.arange(-70, 71, 10)), strict=True):
        assert line.get_xydata()[1] == pytest.approx([np.cos(theta), -np.sin(theta)])
    _, mine = plt.subplots()
    assert series.plot_missing_wedge(ax=mine) is mine
    assert mine.get_title() == "4 tilts, missing wedge 130.0 deg"


def test_fourier_shell_correlation(result):
    noisy = Reconstruction(result.volume + 0.3, 0.5, [], [])
    curve = fourier_shell_correlation(result, noisy)
    ax = curve.plot()
    assert ax.lines[0].get_xydata() == pytest.approx(np.stack([curve.frequency, curve.correlation], axis=1))
    assert ax.lines[1].get_ydata() == pytest.approx([0.143, 0.143])
    assert ax.get_xlabel() == "k (Å$^{-1}$)"
    ax = plot_fourier_shell_correlation({"a": curve, "b": curve}, threshold=None)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
