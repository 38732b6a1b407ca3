"""Shared fixtures: simulated rings with known order, and the published data."""

import os
from pathlib import Path

import hyperspy.api as hs
import matplotlib as mpl
import numpy as np
import pytest

mpl.use("agg")
hs.preferences.General.show_progressbar = False

SIZE = 64
CENTER = (31.3, 32.4)
K_STEP = 0.16


def pytest_collection_modifyitems(items):
    """Skip tests of published data where the data are not; `.ci/run` makes sure that they are."""
    if "MEDRANGE_DATA" in os.environ:
        return
    skip = pytest.mark.skip(reason="set MEDRANGE_DATA to the folder of published data")
    for item in items:
        if "data" in item.keywords:
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Where the published data are, a test of them that skips has failed."""
    report = yield
    if report.skipped and "data" in item.keywords and "MEDRANGE_DATA" in os.environ:
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session")
def data_folder():
    """Folder of published and simulated reference data."""
    return Path(os.environ["MEDRANGE_DATA"])


def ring_patterns(scan_shape=(3, 4), *, seed=0, size=SIZE, center=CENTER, k=3.2, orders=(2, 4, 6)):
    """Patterns (y, x, ky, kx) with a ring at ``k`` (1/nm), modulated with random strength and phase per order."""
    rng = np.random.default_rng(seed)
    rows, cols = np.indices((size, size))
    y, x = rows - center[0], cols - center[1]
    radius, phi = np.hypot(x, y) * K_STEP, np.arctan2(y, x)
    envelope = 100 * np.exp(-(((radius - k) / 0.5) ** 2)) + 5 + 2000 * np.exp(-((radius / 0.4) ** 2))
    frames = np.empty((*scan_shape, size, size))
    for index in np.ndindex(scan_shape):
        modulation = sum(rng.uniform(0, 0.3) * np.cos(n * (phi - rng.uniform(0, 2 * np.pi))) for n in orders)
        frames[index] = envelope * (1 + modulation)
    return frames


@pytest.fixture
def make_patterns():
    """Function that makes patterns with a modulated ring; see :func:`ring_patterns`."""
    return ring_patterns


@pytest.fixture
def make_scan():
    """Function that makes a calibrated, centered Nanodiffraction signal of modulated rings."""
    import medrange as mr

    def make(scan_shape=(3, 4), *, lazy=False, dtype=np.float64, chunks=None, **keywords):
        frames = ring_patterns(scan_shape, **keywords)
        signal = mr.Nanodiffraction(frames.astype(dtype) if dtype is not None else frames)
        signal.calibrate(scan_step=0.32, k_step=K_STEP, beam_energy=300)
        signal.set_center(keywords.get("center", CENTER))
        if lazy:
            signal = signal.as_lazy()
            if chunks is not None:
                signal.data = signal.data.rechunk(chunks)
        return signal

    return make
