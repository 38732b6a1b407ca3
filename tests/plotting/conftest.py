from types import SimpleNamespace

import hyperspy.api as hs
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def agg():
    mpl.use("Agg")
    before = mpl.rcParams.copy()
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == dict(before), "a drawing function changed matplotlib.rcParams"


class Maps(hs.signals.Signal2D):
    """Stand-in for OrderMap: what the drawing functions use of it."""

    def normalized_sum(self):
        summed = (self.data / self.data.max(axis=(1, 2), keepdims=True)).sum(axis=0)
        return _calibrated(Maps(summed))


def _calibrated(signal, scale=0.5, units="nm"):
    for axis, name in zip(signal.axes_manager.signal_axes, "xy", strict=True):
        axis.name, axis.scale, axis.units = name, scale, units
    return signal


@pytest.fixture
def map_signal():
    data = np.random.default_rng(0).random((30, 40))
    signal = _calibrated(Maps(data))
    signal.metadata.General.title = "V2D"
    return signal


@pytest.fixture
def stack():
    data = np.random.default_rng(1).random((3, 30, 40)) * np.array([1.0, 10.0, 100.0])[:, None, None]
    signal = _calibrated(Maps(data))
    axis = signal.axes_manager.navigation_axes[0]
    axis.name, axis.offset, axis.scale = "n", 2, 2
    return signal


@pytest.fixture
def hotspots():
    labels = np.zeros((3, 30, 40), dtype=int)
    labels[0, 2:4, 5:8] = 1
    labels[0, 10, 10] = 2
    labels[2, 0:3, 0:3] = 1
    summary = pd.DataFrame(
        {
            "n": [2, 4, "sum"],
            "threshold": [0.5, 0.5, 0.5],
            "count": [2, 0, 1],
            "number_density": [0.01, 0.0, 0.005],
            "diameter_mean": [1.25, np.nan, 1.5],
            "diameter_std": [0.2, np.nan, 0.0],
            "diameter_sem": [0.1, np.nan, np.nan],
            "area_fraction": [0.01, 0.0, 0.01],
            "volume_fraction": [0.028, 0.0, 0.075],
        }
    )
    return SimpleNamespace(
        labels=labels,
        orders=(2, 4, "sum"),
        summary=summary,
        units={"diameter": "nm"},
        pixel_size=(0.5, 0.5),
        origin=(0.0, 0.0),
    )
