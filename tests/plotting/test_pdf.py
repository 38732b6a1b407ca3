"""Figures of the pair distribution chain: what is drawn, where, and that the style stays inside."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

import medrange as mr
from medrange.pdf.composition import mean_factors
from medrange.plotting import plot_reduced_pdf, plot_structure_factor


@pytest.fixture(scope="module")
def factor():
    k = (np.arange(120) + 0.5) * 0.0134
    mean, square = mean_factors("Fe", k)
    r1 = np.linspace(2.45, 2.55, 6).reshape(2, 3, 1)
    s = 1 + np.sinc(2 * k * r1) + 0.8 * np.sinc(2 * k * 1.65 * r1)
    profile = mr.RadialProfile(100 * (square + mean**2 * (s - 1)))
    axis = profile.axes_manager[-1]
    axis.name, axis.units, axis.scale, axis.offset = "k", "1/Å", 0.0134, 0.0067
    return profile.structure_factor("Fe", k_range=(0.25, 1.55))


def test_structure_factor(factor):
    intensity, structure = plot_structure_factor(factor)
    measured, smooth = (line.get_ydata() for line in intensity.lines)
    np.testing.assert_allclose(measured, factor.profile().data.mean(axis=(0, 1)))
    np.testing.assert_allclose(smooth, factor.background().data.mean(axis=(0, 1)))
    assert intensity.get_yscale() == "log"
    np.testing.assert_allclose(structure.lines[0].get_ydata(), factor.data.mean(axis=(0, 1)))
    assert structure.get_ylabel() == "S(k)"
    assert structure.get_xlabel() == "k (Å$^{-1}$)"


def test_structure_factor_on_given_axes(factor):
    _, axes = plt.subplots(1, 2)
    assert plot_structure_factor(factor.inav[0, 0], axes=axes)[1] is axes[1]
    assert factor.plot_mean(axes=axes)[0] is axes[0]


def test_reduced_pdf_of_a_scan_is_its_mean(factor):
    g = factor.reduced_pdf(r_max=12)
    ax = plot_reduced_pdf(g)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), g.data.mean(axis=(0, 1)))
    (x,), (y,) = ax.lines[1].get_data()
    assert x == pytest.approx(2.5, abs=0.05)
    assert y == pytest.approx(g.data.mean(axis=(0, 1)).max(), rel=0.01)
    assert ax.get_xlabel() == "r (Å)"
    assert ax.get_xlim() == (0, 12)


def test_reduced_pdf_of_a_list_with_marks_and_band(factor):
    g = factor.reduced_pdf(r_max=12).inav[:2, 0]
    band = 0.1 * np.ones(g.data.shape)
    _, ax = plt.subplots()
    assert plot_reduced_pdf(g, ax=ax, error=band, connectivity=True, labels=["a", "b"]) is ax
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert len(ax.collections) == 2
    np.testing.assert_allclose(ax.collections[0].get_paths()[0].vertices[:, 1].max(), g.data[0].max() + 0.1, rtol=1e-3)
    assert [text.get_text() for text in ax.texts] == ["1 atom", "2 atoms", "3 atoms", "4 atoms"]
    marks = sorted(line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--")
    np.testing.assert_allclose(marks, np.sort(g.connectivity()["distance"]))


def test_error_of_another_shape_is_refused(factor):
    g = factor.reduced_pdf(r_max=12)
    with pytest.raises(ValueError, match="not the mean of the errors"):
        plot_reduced_pdf(g, error=np.ones(g.data.shape))


def test_curve_without_a_peak_is_drawn(factor):
    g = factor.reduced_pdf(r_max=12).inav[0, 0]
    g.data[:] = -1
    ax = g.plot_mean(connectivity=True)
    assert len(ax.lines) == 2
