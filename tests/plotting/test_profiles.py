from types import SimpleNamespace

import hyperspy.api as hs
import numpy as np
import pytest
from matplotlib.colors import LogNorm, to_hex

from medrange.plotting import (
    plot_autocorrelation,
    plot_power_spectrum,
    plot_radial_profile,
    plot_size_statistics,
    plot_spectrum,
)
from medrange.plotting.style import EVEN_COLOR, ODD_COLOR


@pytest.fixture
def spectrum():
    data = np.arange(1, 5 * 6 + 1, dtype=float).reshape(5, 6)  # (k, n)
    signal = hs.signals.Signal2D(data)
    n_axis, k_axis = signal.axes_manager.signal_axes
    n_axis.name, n_axis.offset = "n", 1
    k_axis.name, k_axis.offset, k_axis.units = "k", 3, "1/nm"
    return signal


@pytest.fixture
def autocorrelation():
    r = np.arange(40) * 0.25
    decay = np.exp(-np.outer([1.0, 2.0, 1.5], r))
    values = decay + 0.05 * np.exp(-((r - 5.0) ** 2) / 0.5)
    values /= values[:, :1]
    return SimpleNamespace(
        r=r,
        values=values,
        orders=(2, 4, "sum"),
        correlation_length=np.array([1.0, 0.5, 0.667]),
        first_neighbor=np.array([5.0, 5.0, np.nan]),
    )


def heights(ax, color):
    return {
        round(bar.get_x() + bar.get_width() / 2): bar.get_height()
        for bar in ax.patches
        if to_hex(bar.get_facecolor()) == color
    }


def test_power_spectrum_averages_the_maps_over_the_scan(stack):
    ax = plot_power_spectrum(stack)
    means = dict(zip((2, 4, 6), stack.data.mean(axis=(1, 2)), strict=True))
    assert heights(ax, EVEN_COLOR) == pytest.approx(means)
    assert heights(ax, ODD_COLOR) == {}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("order n", "P$_n$")


def test_power_spectrum_of_a_ring_tells_even_from_odd(spectrum):
    ax = plot_power_spectrum(spectrum, k=5.2)
    assert heights(ax, EVEN_COLOR) == pytest.approx({2: 14.0, 4: 16.0, 6: 18.0})
    assert heights(ax, ODD_COLOR) == pytest.approx({1: 13.0, 3: 15.0, 5: 17.0})
    assert "5.00 nm$^{-1}$" in ax.get_title()


def test_power_spectrum_of_a_result_is_its_ring():
    band = hs.signals.Signal1D(np.arange(1.0, 7.0))
    band.axes_manager[0].offset = 1
    ax = plot_power_spectrum(SimpleNamespace(band_spectrum=band))
    assert heights(ax, EVEN_COLOR) == pytest.approx({2: 2.0, 4: 4.0, 6: 6.0})
    assert heights(ax, ODD_COLOR) == pytest.approx({1: 1.0, 3: 3.0, 5: 5.0})


def test_power_spectrum_needs_to_know_the_ring(spectrum):
    with pytest.raises(ValueError, match=r"which ring to draw, for example k=4\.0"):
        plot_power_spectrum(spectrum)


def test_power_spectrum_can_be_logarithmic(stack):
    assert plot_power_spectrum(stack, log=True).get_yscale() == "log"
    assert plot_power_spectrum(stack).get_yscale() == "linear"


def test_power_spectrum_ignores_missing_pixels(stack):
    expected = stack.data[0, 1:].mean()
    stack.data[0, 0] = np.nan
    assert heights(plot_power_spectrum(stack), EVEN_COLOR)[2] == pytest.approx(expected)


def test_spectrum_has_k_to_the_right_and_n_upwards(spectrum):
    ax = plot_spectrum(spectrum, band=(3.6, 4.4))
    mesh = ax.collections[0]
    np.testing.assert_array_equal(mesh.get_array(), spectrum.data.T)
    assert isinstance(mesh.norm, LogNorm)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("k (nm$^{-1}$)", "order n")
    assert ax.get_xlim() == pytest.approx((2.5, 7.5))
    assert ax.get_ylim() == pytest.approx((0.5, 6.5))
    assert [line.get_xdata()[0] for line in ax.lines] == [3.6, 4.4]


def test_spectrum_masks_what_has_no_logarithm(spectrum):
    spectrum.data[0] = np.nan
    spectrum.data[1, 0] = -1.0
    mesh = plot_spectrum(spectrum).collections[0]
    assert np.ma.getmaskarray(mesh.get_array()).sum() == 7


def test_spectrum_can_stop_at_an_order(spectrum):
    assert plot_spectrum(spectrum, n_max=4).get_ylim() == pytest.approx((0.5, 4.5))


def test_spectrum_axes_are_found_by_name(spectrum):
    swapped = hs.signals.Signal2D(spectrum.data.T)
    k_axis, n_axis = swapped.axes_manager.signal_axes
    n_axis.name, n_axis.offset, k_axis.name, k_axis.offset = "n", 1, "k", 3
    np.testing.assert_array_equal(plot_spectrum(swapped).collections[0].get_array(), spectrum.data.T)
    n_axis.name = "order"
    with pytest.raises(ValueError, match="needs one named 'k' and one named 'n'"):
        plot_spectrum(swapped)


def test_radial_profile_is_the_mean_over_the_scan():
    rng = np.random.default_rng(0)
    signal = hs.signals.Signal1D(rng.random((3, 4, 20)) + 1)
    axis = signal.axes_manager.signal_axes[0]
    axis.scale, axis.units = 0.5, "1/nm"
    signal.data[:, :, 0] = np.nan
    signal.data[0, 0, 5] = np.nan
    ax = plot_radial_profile(signal, band=(3.6, 4.4))
    k, mean = ax.lines[0].get_data()
    assert k == pytest.approx(np.arange(20) * 0.5)
    assert np.isnan(mean[0])
    assert mean[1:] == pytest.approx(np.nanmean(signal.data[:, :, 1:].reshape(12, 19), axis=0))
    assert ax.get_yscale() == "log"
    assert ax.get_xlabel() == "k (nm$^{-1}$)"
    shaded = next(patch for patch in ax.patches if patch.get_label() == "analyzed band")
    assert (shaded.get_x(), shaded.get_x() + shaded.get_width()) == pytest.approx((3.6, 4.4))


def test_size_statistics_show_diameter_and_volume_fraction(hotspots):
    diameter, fraction = plot_size_statistics(hotspots)
    assert [label.get_text() for label in diameter.get_xticklabels()] == ["2", "4", "sum"]
    assert diameter.get_ylabel() == "mean diameter (nm)"
    assert [bar.get_height() for bar in fraction.patches] == pytest.approx([2.8, 0.0, 7.5])
    assert [bar.get_height() for bar in diameter.patches] == pytest.approx([1.25, np.nan, 1.5], nan_ok=True)
    first = diameter.collections[0].get_segments()[0]
    assert first[:, 1] == pytest.approx([1.15, 1.35])
    assert not fraction.collections


def test_size_statistics_draw_the_error_of_the_volume_fraction_in_percent(hotspots):
    hotspots.summary["volume_fraction_sem"] = [0.003, 0.0, 0.01]
    segment = plot_size_statistics(hotspots)[1].collections[0].get_segments()[0]
    assert segment[:, 1] == pytest.approx([2.5, 3.1])


def test_autocorrelation_is_split_in_short_and_long_range(autocorrelation):
    short, long = plot_autocorrelation(autocorrelation)
    curves = [line for line in short.lines if len(line.get_xdata()) > 2]
    assert [line.get_label() for line in curves] == ["n = 2", "n = 4", "sum of n"]
    # twice the largest correlation length
    assert short.get_xlim() == pytest.approx((0, 2.0))
    assert short.get_xlabel() == "r (nm)"
    assert long.lines[0].get_xdata().min() == pytest.approx(2.0)
    joined = np.union1d(curves[0].get_xdata(), long.lines[0].get_xdata())
    assert joined == pytest.approx(autocorrelation.r)


def test_autocorrelation_marks_the_first_neighbors_on_their_curves(autocorrelation):
    _, long = plot_autocorrelation(autocorrelation)
    marks = [line for line in long.lines if line.get_marker() == "v"]
    assert [line.get_xdata()[0] for line in marks] == [5.0, 5.0]
    index = np.argmin(np.abs(autocorrelation.r - 5.0))
    assert [line.get_ydata()[0] for line in marks] == pytest.approx(autocorrelation.values[:2, index])


def test_autocorrelation_split_can_be_given(autocorrelation):
    short, _ = plot_autocorrelation(autocorrelation, split=3.0)
    assert short.get_xlim() == pytest.approx((0, 3.0))
    with pytest.raises(ValueError, match="this figure has two panels"):
        plot_autocorrelation(autocorrelation, axes=np.array([short]))
