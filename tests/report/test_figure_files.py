import numpy as np
import pytest
from matplotlib import image
from matplotlib.ticker import FuncFormatter

from medrange.report.figure_files import save_figure


@pytest.fixture
def seen(tmp_path):
    """Save a figure, and look at it afterwards."""

    def save(draw, size=(3.0, 2.0)):
        figures = []

        def drawn(figure):
            figures.append(figure)
            draw(figure)

        return save_figure(tmp_path / "new" / "figure.png", drawn, size), figures[0]

    return save


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_size_of_the_image(seen):
    path, _ = seen(lambda figure: figure.subplots().plot([0, 1]))
    assert image.imread(path).shape == (300, 450, 4)


def test_tick_labels_are_plain_text(seen):
    def draw(figure):
        ax = figure.subplots()
        shown = ax.imshow(np.arange(6.0).reshape(2, 3) - 2.5)
        figure.colorbar(shown, cax=ax.inset_axes((1.03, 0, 0.05, 1)))

    figure = seen(draw)[1]
    (ax,) = figure.axes
    (bar,) = ax.child_axes
    for axis in (ax.xaxis, ax.yaxis, bar.yaxis):
        assert ticks(axis)
        assert not any("$" in text for text in ticks(axis))
    assert "\N{MINUS SIGN}2" in ticks(bar.yaxis)


def test_power_of_ten_stays_a_formula(seen):
    figure = seen(lambda figure: figure.subplots().plot([0, 2e-6]))[1]
    axis = figure.axes[0].yaxis
    assert "10" in axis.get_offset_text().get_text()
    assert "$" in axis.get_offset_text().get_text()
    assert "2.0" in ticks(axis)


def test_formatters_that_were_chosen_are_kept(seen):
    def draw(figure):
        ax = figure.subplots()
        ax.plot([0, 1])
        ax.set_yscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g} nm"))

    (ax,) = seen(draw)[1].axes
    assert all(text.endswith("nm") for text in ticks(ax.xaxis))
    assert any("mathdefault" in text for text in ticks(ax.yaxis))


def test_labels_fit_into_the_image(seen):
    def draw(figure):
        ax = figure.subplots()
        ax.set_xlabel("a label below")
        ax.set_ylabel("a label\nof two lines")

    (ax,) = (figure := seen(draw)[1]).axes
    box = ax.get_tightbbox().transformed(figure.transFigure.inverted())
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= 1
    assert box.y1 <= 1
