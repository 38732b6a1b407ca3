from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medrange.aet.atoms.model import AtomicModel
from medrange.aet.tomography import Refinement, compare_models
from medrange.plotting import plot_deviations, plot_refinement


@pytest.fixture
def refinement():
    rng = np.random.default_rng(0)
    start = rng.uniform(-8, 8, (60, 3))
    moved = start + rng.normal(0, [0.1, 0.2, 0.3], start.shape)
    rounds = pd.DataFrame({"r_factor": [0.3, 0.1], "move": [0.0, 0.3]})
    return Refinement(AtomicModel(moved), start, {"X": 6.0}, {"X": 1.0}, np.array([0.3, 0.2, 0.1]), rounds)


def test_r_over_the_iterations(refinement):
    ax = refinement.plot()
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [0.3, 0.2, 0.1])
    assert ax.get_xlabel() == "iteration"
    assert plot_refinement(refinement, ax=ax, log=True) is ax
    assert ax.get_yscale() == "log"


def test_several_runs_have_names(refinement):
    ax = plot_refinement({"exact": refinement, "published": refinement})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["exact", "published"]


def test_displacements_along_each_axis(refinement):
    ax = plot_deviations(refinement, bins=10)
    rms = np.sqrt((refinement.displacements**2).mean(axis=0))
    labels = sorted(text.get_text() for text in ax.get_legend().get_texts())
    assert labels == [f"{name}, rms {value:.3f} Å" for name, value in zip("xyz", rms, strict=True)]
    assert ax.get_xlabel() == "displacement (Å)"
    low, high = ax.patches[0].get_xy()[:, 0].min(), ax.patches[0].get_xy()[:, 0].max()
    assert -low == pytest.approx(high)
    assert high == pytest.approx(np.abs(refinement.displacements).max())


def test_deviations_of_a_comparison_and_of_a_precision(refinement):
    compared = compare_models(refinement.start, refinement.positions)
    ax = plot_deviations(compared)
    assert ax.get_xlabel() == "deviation (Å)"
    assert plot_deviations(SimpleNamespace(refined=compared), ax=ax) is ax


def test_nothing_to_draw():
    nothing = compare_models(np.zeros((0, 3)), np.zeros((0, 3)))
    with pytest.raises(ValueError, match="no atoms to draw"):
        plot_deviations(nothing)
