import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from medrange.plotting import style


@pytest.mark.parametrize(
    ("field", "length"), [(40.6, 10), (15.36, 5), (20, 5), (8, 2), (4.2, 1), (0.9, 0.2), (3000, 1000)]
)
def test_scale_bar_length_is_the_round_number_next_to_a_quarter(field, length):
    assert style.scale_bar_length(field) == pytest.approx(length)


def test_scale_bar_length_is_round_and_of_sensible_size_for_any_field():
    for field in np.geomspace(1e-4, 1e5, 500):
        length = style.scale_bar_length(field)
        mantissa = length / 10 ** np.floor(np.log10(length) + 1e-9)
        assert np.min(np.abs(mantissa - np.array([1, 2, 5]))) < 1e-9
        assert 0.15 < length / field < 0.41


@pytest.mark.parametrize("field", [0.0, -1.0, np.nan])
def test_scale_bar_length_refuses_a_field_without_extent(field):
    with pytest.raises(ValueError, match="must be positive: calibrate"):
        style.scale_bar_length(field)


def test_frame_holds_the_outer_edges_of_the_border_pixels(map_signal):
    frame = style.MapFrame.of(map_signal)
    assert frame.extent == pytest.approx((-0.25, 19.75, 14.75, -0.25))
    assert frame.units == "nm"
    assert frame.width == pytest.approx(20.0)


def test_frame_of_an_uncalibrated_signal_is_in_pixels(map_signal):
    for axis in map_signal.axes_manager.signal_axes:
        axis.units = "px"
    assert style.MapFrame.of(map_signal).units == "px"


def test_axis_labels_write_inverse_units_as_a_power():
    assert style.axis_label("k", "A^-1") == "k (Å$^{-1}$)"
    assert style.axis_label("r", "nm") == "r (nm)"
    assert style.axis_label("x", "px") == "x"


def test_order_labels():
    assert [style.order_label(order) for order in (4, 4.0, "sum")] == ["n = 4", "n = 4", "sum of n"]


def test_order_colors_are_distinct_and_the_sum_is_black():
    colors = style.order_colors((2, 4, 6, "sum"))
    assert len(set(colors.values())) == 4
    assert colors["sum"] == "black"
    brightness = [sum(colors[n][:3]) for n in (2, 4, 6)]
    assert brightness == sorted(brightness)


def test_scale_bar_stays_inside_the_map(map_signal):
    frame = style.MapFrame.of(map_signal)
    _, ax = plt.subplots()
    bar = style.add_scale_bar(ax, frame)
    box = bar.get_bbox()
    left, right, bottom, top = frame.extent
    assert left < box.x0 < box.x1 < right
    assert min(top, bottom) < min(box.y0, box.y1)
    assert max(box.y0, box.y1) < max(top, bottom)


def test_style_names_only_known_settings():
    assert set(style.STYLE) <= set(mpl.rcParams)


def test_interactive_mode_that_the_first_figure_turns_on_stays_on():
    # As the backend of a notebook does when it is loaded, and that is when the first figure is made.
    @style.styled()
    def draw():
        mpl.interactive(True)
        return mpl.rcParams["lines.linewidth"]

    before = mpl.rcParams["lines.linewidth"]
    assert draw() == style.STYLE["lines.linewidth"] != before
    assert mpl.is_interactive()
    assert mpl.rcParams["lines.linewidth"] == before
    mpl.interactive(False)
