from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from medrange.aet.tomography.classification import Classification
from medrange.aet.tomography.tracing import Peaks
from medrange.plotting import plot_intensities, plot_peaks

PIXEL = 0.5


@pytest.fixture
def volume():
    return np.random.default_rng(0).random((20, 16, 24))


@pytest.fixture
def peaks():
    positions = np.array([[0.0, 0, 0.1], [2, 1, -0.2], [-3, -2, 0.3], [1, 1, 4], [4, 3, 0]])
    status = np.zeros(5, np.int8)
    return Peaks(positions, np.arange(5.0, 0, -1), status, positions, (20, 16, 24), PIXEL)


@pytest.fixture
def classes(peaks):
    inside = np.array([True, True, True, True, False])
    intensity = np.array([30.0, 20, 5, 25, 22])
    labels = np.array([2, 1, 0, 2, 1], np.int8)
    return Classification(peaks.positions, labels, inside, intensity, np.full(5, 0.5), 2)


def drawn(ax):
    return {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections}


def test_slice_shows_the_right_plane_and_the_peaks_near_it(volume, peaks):
    ax = peaks.plot(volume, thickness=1.0)
    image = ax.images[0]
    assert np.array_equal(image.get_array(), volume[:, :, 12].T)
    assert image.get_extent() == [-5.25, 4.75, -4.25, 3.75]
    assert drawn(ax)["peaks"] == pytest.approx(peaks.positions[[0, 1, 2, 4], :2])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (Å)", "y (Å)")
    assert ax.get_title() == "z = 0 Å, 4 peaks within ±0.5 Å"
    # A voxel's center is where its atom is drawn: the middle voxel around 0.
    left, right, *_ = image.get_extent()
    assert left + (10 + 0.5) * (right - left) / 20 == pytest.approx(0)


def test_other_axes_and_positions(volume, peaks):
    ax = plot_peaks(peaks, SimpleNamespace(volume=volume), axis="y", position=1.0)
    assert np.array_equal(ax.images[0].get_array(), volume[:, 10, :].T)
    assert drawn(ax)["peaks"] == pytest.approx(peaks.positions[[1, 3]][:, [0, 2]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (Å)", "z (Å)")


def test_classes_have_colors_and_names(volume, peaks, classes):
    ax = plot_peaks(peaks, volume, classification=classes)
    groups = drawn(ax)
    assert list(groups) == ["no atoms", "species 1", "species 2", "outside the support"]
    assert [len(where) for where in groups.values()] == [1, 1, 1, 1]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(groups)
    colors = {to_hex(c.get_edgecolor()[0]) for c in ax.collections}
    assert len(colors) == 4


def test_intensities_of_all_peaks_are_counted(classes):
    ax = classes.plot(bins=25)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert set(labels) == {"no atoms (1)", "species 1 (1)", "species 2 (2)", "outside the support (1)"}
    heights = sum(np.ptp(patch.get_xy()[:, 1]) for patch in ax.patches)
    assert heights == pytest.approx(4)


def test_axes_given_are_used(volume, peaks, classes):
    from matplotlib import pyplot as plt

    _, axes = plt.subplots(1, 2)
    assert plot_peaks(peaks, volume, ax=axes[0]) is axes[0]
    assert plot_intensities(classes, ax=axes[1]) is axes[1]


def test_errors(volume, peaks):
    with pytest.raises(ValueError, match="axis is 'beam'; give 'x', 'y' or 'z'"):
        plot_peaks(peaks, volume, axis="beam")
    with pytest.raises(ValueError, match="the volume has shape"):
        plot_peaks(peaks, volume[1:])
    with pytest.raises(ValueError, match=r"position 9 Å lies outside the volume, which spans -6.25 to 5.75 Å"):
        plot_peaks(peaks, volume, position=9)
