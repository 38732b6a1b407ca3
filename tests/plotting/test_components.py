"""Figures of structural components show the numbers they are given."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from scipy.ndimage import gaussian_filter

import medrange as mr
from medrange.plotting import plot_basis, plot_color_mix, plot_components, plot_fractions, plot_weights
from medrange.plotting.components import component_colors
from medrange.plotting.style import ACCENT_COLOR, EVEN_COLOR, ODD_COLOR, SCALE_BAR_GID


def make(method="nmf", normalization="auto"):
    r = np.arange(0, 241) * 0.05
    first, second = (
        h * np.exp(-(((r - p) / 0.3) ** 2)) + 0.4 * np.exp(-(((r - 1.7 * p) / 0.5) ** 2)) - 0.2
        for p, h in ((2.55, 1.0), (2.45, 1.4))
    )
    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.standard_normal((16, 20)), 2, mode="wrap")
    weight = np.clip(0.5 + 0.3 * field / field.std(), 0, 1)[..., None]
    data = weight * first + (1 - weight) * second + 0.02 * rng.standard_normal((16, 20, 241))
    signal = mr.ReducedPDF(data)
    signal.axes_manager.navigation_axes.set(scale=1.2, units="nm")
    axis = signal.axes_manager.signal_axes[0]
    axis.name, axis.scale, axis.units = "r", 0.05, "Å"
    return signal.structural_components(n_components=2, method=method, normalization=normalization)


@pytest.fixture(scope="module")
def components():
    return make()


def test_basis_curves_and_connectivity(components):
    ax = plot_basis(components)
    curves = {line.get_label(): line for line in ax.lines if line.get_label() in components.labels}
    for i, label in enumerate(components.labels):
        np.testing.assert_array_equal(curves[label].get_ydata(), components.basis.data[i])
    assert curves["liquid-like"].get_color() == EVEN_COLOR
    table = components.connectivity()
    expected = table[table["shared_atoms"] < 4]["distance"]
    marks = sorted(line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--")
    np.testing.assert_allclose(marks, sorted(expected))
    assert sorted(text.get_text() for text in ax.texts) == ["1", "1", "2", "2", "3", "3"]
    assert ax.get_xlabel() == "r (Å)"
    assert ax.get_ylabel() == "G(r) (Å$^{-2}$)"


def test_basis_without_marks_and_with_band(components):
    plain = plot_basis(components, connectivity=False)
    assert not [line for line in plain.lines if line.get_linestyle() == "--"]
    assert not plain.collections
    assert len(plot_basis(components, band=True).collections) == 2
    assert plot_basis(make(normalization="rms")).get_ylabel() == "G(r), normalized"


def test_weights_are_drawn_with_scale_bars(components):
    axes = plot_weights(components)
    for ax, image, label in zip(axes, components.weights.data, components.labels, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), image)
        assert ax.get_title() == label
        assert any(patch.get_gid() == SCALE_BAR_GID for patch in ax.patches)
    _, given = plt.subplots(1, 2)
    assert list(plot_weights(components, axes=given)) == list(given)
    with pytest.raises(ValueError, match="1 axes were given for 2 components"):
        plot_weights(components, axes=given[:1])


def test_color_of_a_pure_type_is_its_own(components):
    ax = plot_color_mix(components)
    mix = np.asarray(ax.images[0].get_array())
    colors = np.array([to_rgb(EVEN_COLOR), to_rgb(ACCENT_COLOR)])
    expected = np.einsum("tyx,tc->yxc", components.fraction_maps, colors)
    np.testing.assert_allclose(mix, expected, atol=1e-6)
    purest = np.unravel_index(components.fraction_maps[1].argmax(), (16, 20))
    assert abs(mix[purest] - colors[1]).max() < 0.1
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["liquid-like", "solid-like"]


def test_fractions_with_errors(components):
    ax = plot_fractions({"as spun": components, "annealed": components.with_basis(components)})
    heights = [bar.get_height() for bar in ax.patches]
    fractions = components.fractions()["fraction"]
    np.testing.assert_allclose(heights, 100 * np.repeat(fractions, 2), rtol=1e-6)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["as spun", "annealed"]
    # one set of error bars per type
    assert len(ax.containers) == 4
    assert len(plot_fractions(components).patches) == 2


def test_different_types_are_not_compared(components):
    from dataclasses import replace

    other = replace(components, labels=("liquid-like", "residual"))
    with pytest.raises(ValueError, match="with_basis"):
        plot_fractions({"a": components, "b": other})


def test_whole_figure(components):
    axes = components.plot()
    assert set(axes) == {"basis", "liquid-like", "solid-like", "mix"}
    assert set(plot_components(make("pca"))) == {"basis", "PC 1", "PC 2"}


def test_colors():
    colors = component_colors(("liquid-like", "intermediate", "solid-like", "residual"))
    assert colors["residual"] == ODD_COLOR
    assert len(set(colors.values())) == 4
