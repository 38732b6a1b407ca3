from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.contour import ContourSet
from matplotlib.patches import PathPatch

from medrange.plotting import plot_hotspots, plot_map, plot_order_maps, plot_strain
from medrange.plotting.style import SCALE_BAR_GID


def scale_bar(ax):
    return next(patch for patch in ax.patches if patch.get_gid() == SCALE_BAR_GID)


def contours(ax):
    return [child for child in ax.get_children() if isinstance(child, ContourSet)]


def color_bar(ax):
    return ax.images[0].colorbar


def test_map_shows_the_data_over_its_calibrated_field(map_signal):
    ax = plot_map(map_signal)
    np.testing.assert_array_equal(ax.images[0].get_array(), map_signal.data)
    assert ax.images[0].get_extent() == pytest.approx([-0.25, 19.75, 14.75, -0.25])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_scale_bar_is_as_long_in_data_coordinates_as_it_says(map_signal):
    ax = plot_map(map_signal)
    bar = scale_bar(ax)
    # 40 pixels of 0.5 nm: a quarter of 20 nm
    assert bar.get_width() == pytest.approx(5.0)
    assert "5 nm" in [text.get_text() for text in ax.texts]
    assert len(ax.get_xticks()) == 0
    assert len(ax.get_yticks()) == 0


def test_scale_bar_covers_the_right_number_of_pixels_on_the_screen(map_signal):
    ax = plot_map(map_signal)
    ax.figure.canvas.draw()
    bar, image = scale_bar(ax).get_window_extent(), ax.get_window_extent()
    assert bar.width / image.width == pytest.approx(5.0 / 20.0, rel=1e-6)


def test_map_without_scale_bar_has_labelled_ticks(map_signal):
    ax = plot_map(map_signal, scale_bar=False)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (nm)", "y (nm)")
    assert len(ax.get_xticks()) > 1
    assert not ax.patches


def test_color_bar_carries_the_label_or_the_title(map_signal):
    assert color_bar(plot_map(map_signal)).ax.get_ylabel() == "V2D"
    assert color_bar(plot_map(map_signal, label="variance")).ax.get_ylabel() == "variance"


def test_limits_are_used_and_clipped_values_announced(map_signal):
    ax = plot_map(map_signal, limits=(0.2, 0.8))
    assert ax.images[0].get_clim() == (0.2, 0.8)
    assert color_bar(ax).extend == "both"
    assert color_bar(plot_map(map_signal, limits=(0.0, 1.0))).extend == "neither"
    assert color_bar(plot_map(map_signal)).extend == "max"


def test_missing_pixels_are_gray_and_do_not_spoil_the_range(map_signal):
    map_signal.data[3, 4] = np.nan
    image = plot_map(map_signal).images[0]
    assert np.isfinite(image.get_clim()).all()
    red, green, blue = image.cmap(np.ma.masked_invalid(map_signal.data))[3, 4, :3]
    assert red == green == blue


def test_a_map_without_any_value_is_drawn(map_signal):
    map_signal.data[:] = np.nan
    assert plot_map(map_signal).images[0].get_clim() == (0.0, 1.0)


def test_contour_encloses_the_bright_part_of_the_other_map(map_signal):
    contour = map_signal.deepcopy()
    y, x = np.indices((30, 40))
    contour.data = np.exp(-((x - 20) ** 2 + (y - 8) ** 2) / 50)
    assert not contours(plot_map(map_signal))
    lines = contours(plot_map(map_signal, contour=contour))
    assert len(lines) == 1
    vertices = np.concatenate([path.vertices for path in lines[0].get_paths()])
    # centered on column 20, row 8 at 0.5 nm per pixel
    assert vertices.mean(axis=0) == pytest.approx((10.0, 4.0), abs=0.15)


def test_contour_of_another_shape_is_refused(map_signal, stack):
    with pytest.raises(ValueError, match=r"contour map has shape \(10, 40\), the map has \(30, 40\)"):
        plot_map(map_signal, contour=map_signal.isig[:, :10])


def test_plot_map_refuses_a_stack(stack):
    with pytest.raises(ValueError, match="plot_order_maps"):
        plot_map(stack)


def test_plot_map_uses_the_given_axes_and_leaves_the_input(map_signal):
    before = map_signal.data.copy()
    _, ax = plt.subplots()
    assert plot_map(map_signal, ax=ax) is ax
    np.testing.assert_array_equal(map_signal.data, before)


def test_lazy_maps_are_drawn(map_signal):
    image = plot_map(map_signal.as_lazy()).images[0]
    np.testing.assert_array_equal(image.get_array(), map_signal.data)


def test_order_maps_have_one_panel_per_order_and_the_sum(stack, map_signal):
    axes = plot_order_maps(stack, contour=map_signal)
    assert [ax.get_title() for ax in axes] == ["n = 2", "n = 4", "n = 6", "sum of n"]
    for ax in axes:
        assert len(contours(ax)) == 1
        assert scale_bar(ax).get_width() == pytest.approx(5.0)
    assert len({ax.images[0].get_clim() for ax in axes}) == 4
    np.testing.assert_allclose(axes[-1].images[0].get_array(), stack.normalized_sum().data)


def test_order_maps_leave_no_empty_panel_behind(stack):
    axes = plot_order_maps(stack, include_sum=True, columns=3)
    assert list(axes[0].figure.axes) == list(axes)
    assert all(ax.images and color_bar(ax).ax in ax.child_axes for ax in axes)


def test_order_maps_without_sum_on_given_axes(stack):
    _, given = plt.subplots(1, 4)
    axes = plot_order_maps(stack, axes=given, include_sum=False)
    assert list(axes) == list(given[:3])
    with pytest.raises(ValueError, match="4 axes were given for"):
        plot_order_maps(stack.__class__(np.ones((5, 3, 3))), axes=given)


def test_order_maps_refuse_a_single_map(map_signal):
    with pytest.raises(ValueError, match="draw a single map with plot_map"):
        plot_order_maps(map_signal)


def outline_segments(ax):
    outline = next(child for child in ax.patches if isinstance(child, PathPatch))
    return outline.get_path().vertices.reshape(-1, 2, 2)


def test_hotspots_are_outlined_along_pixel_edges(stack, hotspots):
    ax = plot_hotspots(hotspots, stack, n=2)
    segments = outline_segments(ax)
    lengths = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)
    assert lengths == pytest.approx(0.5)
    # a 2 x 3 region has 10 pixel edges, a single pixel 4
    assert len(segments) == 14
    big = segments[segments[..., 0].min(axis=1) < 4.5]
    # columns 5..7 and rows 2..3, half a pixel around their centers
    assert (big[..., 0].min(), big[..., 0].max()) == pytest.approx((2.25, 3.75))
    assert (big[..., 1].min(), big[..., 1].max()) == pytest.approx((0.75, 1.75))


def test_hotspots_at_the_border_are_closed(stack, hotspots):
    ax = plot_hotspots(hotspots, stack, n="sum")
    assert len(outline_segments(ax)) == 12


def test_hotspot_title_tells_count_and_diameter(stack, hotspots):
    assert plot_hotspots(hotspots, stack, n=2).get_title() == "n = 2: 2 regions\nmean diameter 1.25 nm"
    assert plot_hotspots(hotspots, stack).get_title().startswith("sum of n: 1 region\n")
    assert plot_hotspots(hotspots, stack, n=4).get_title() == "n = 4: 0 regions"


def test_hotspots_lie_over_the_map_of_their_order(stack, hotspots):
    np.testing.assert_array_equal(plot_hotspots(hotspots, stack, n=4).images[0].get_array(), stack.data[1])
    np.testing.assert_allclose(plot_hotspots(hotspots, stack).images[0].get_array(), stack.normalized_sum().data)


def test_hotspots_without_background_show_the_labels(hotspots):
    ax = plot_hotspots(hotspots, n=2)
    shown = ax.images[0].get_array()
    assert shown.count() == 7
    assert scale_bar(ax).get_width() == pytest.approx(5.0)
    assert ax.images[0].get_extent() == pytest.approx([-0.25, 19.75, 14.75, -0.25])


def test_hotspots_of_an_order_not_analyzed_are_refused(stack, hotspots):
    with pytest.raises(ValueError, match="n = 8; analyzed maps: 2, 4, sum"):
        plot_hotspots(hotspots, stack, n=8)
    with pytest.raises(ValueError, match="background map has shape"):
        plot_hotspots(hotspots, stack.isig[:10, :])


@pytest.fixture
def strain(map_signal):
    maps = {name: map_signal.deepcopy() for name in ("exx", "eyy", "exy")}
    for i, image in enumerate(maps.values()):
        image.data = (image.data - 0.5) * 0.01 * (i + 1)
    return SimpleNamespace(signals=maps, **maps)


def test_strain_maps_share_one_scale_around_zero_in_percent(strain):
    axes = plot_strain(strain)
    assert [ax.get_title() for ax in axes] == [rf"$\varepsilon_{{{c}}}$" for c in ("xx", "yy", "xy")]
    limits = {ax.images[0].get_clim() for ax in axes}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high
    assert 1.0 < high < 1.5
    np.testing.assert_allclose(axes[2].images[0].get_array(), 100 * strain.exy.data)
    assert color_bar(axes[0]).ax.get_ylabel() == "strain (%)"
    assert scale_bar(axes[0]).get_width() == pytest.approx(5.0)


def test_strain_limit_axes_and_errors(strain):
    _, given = plt.subplots(1, 3)
    axes = plot_strain(strain, axes=given, limit=0.5)
    assert list(axes) == list(given)
    assert axes[0].images[0].get_clim() == (-0.5, 0.5)
    with pytest.raises(ValueError, match=r"limit is -1 %; .* must be positive"):
        plot_strain(strain, limit=-1)
    with pytest.raises(ValueError, match="2 axes were given for 3 panels"):
        plot_strain(strain, axes=given[:2])


def test_unstrained_maps_are_drawn(strain):
    for image in strain.signals.values():
        image.data[:] = 0
    assert plot_strain(strain)[0].images[0].get_clim() == (-1.0, 1.0)
