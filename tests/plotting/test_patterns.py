import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np
import pytest

from medrange.plotting import plot_pattern


@pytest.fixture
def pattern(make_scan):
    yield make_scan((2, 2)).inav[0, 1]
    plt.close("all")


def test_pattern_lies_on_its_k_axes_with_rows_downwards(pattern):
    ax = plot_pattern(pattern)
    kx, ky = pattern.axes_manager.signal_axes
    left, right, bottom, top = ax.images[0].get_extent()
    assert left == pytest.approx(kx.axis[0] - 0.08)
    assert right == pytest.approx(kx.axis[-1] + 0.08)
    assert bottom > top
    assert top == pytest.approx(ky.axis[0] - 0.08)
    assert "nm$^{-1}$" in ax.get_xlabel()


def test_ring_has_its_two_edges(pattern):
    ax = plot_pattern(pattern, ring=(3.2, 0.64))
    assert sorted(patch.width for patch in ax.patches) == pytest.approx([5.76, 7.04])


def test_mask_and_dark_pixels(pattern):
    mask = np.zeros(pattern.data.shape, bool)
    mask[:5] = True
    drawn = plot_pattern(pattern, mask=mask).images[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(drawn))[:5].all()
    assert np.isfinite(np.ma.filled(drawn[5:], np.nan)).all()
    linear = plot_pattern(pattern, log=False).images[0]
    assert linear.norm.vmax == pytest.approx(pattern.data.max())


def test_dark_pattern_is_drawn():
    assert plot_pattern(hs.signals.Signal2D(np.zeros((8, 8)))).images


def test_several_patterns_are_refused(make_scan):
    with pytest.raises(ValueError, match=r"choose one pattern with \.inav"):
        plot_pattern(make_scan((2, 2)))
