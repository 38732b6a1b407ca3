"""Multislice scans with known truth: what a plain analysis reaches, and no more (see the data's README)."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import medrange as mr

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def folder(data_folder):
    return data_folder / "sim" / "empad_clusters_thin"


@pytest.fixture(scope="module")
def scan(folder):
    signal = mr.load(folder / "counts_full_scan.h5", scan_shape=(48, 48))
    signal.calibrate(scan_step=0.32, k_step=0.16, beam_energy=300)
    signal.fit_center()
    return signal


@pytest.fixture(scope="module")
def baseline(folder):
    return np.load(folder / "baseline_maps.npz")


@pytest.fixture(scope="module")
def truth(folder):
    maps, clusters = np.load(folder / "truth_maps.npz"), pd.read_csv(folder / "clusters.csv")
    x, y = np.meshgrid(maps["scan_x"], maps["scan_y"])

    def inside(selected):
        near = [np.hypot(x - c.x_A, y - c.y_A) < c.R_A for c in clusters[selected].itertuples()]
        return np.any(near, axis=0)

    aligned = {n: inside((clusters.aligned == 1) & (clusters.kin_top_n == n)) for n in (4, 6, 10)}
    return maps["dist_to_diffracting_A"] < 0, aligned, maps["dist_to_any_A"] > 4


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


def auc(image, positive, negative):
    wanted = np.concatenate([np.ones(positive.sum()), np.zeros(negative.sum())])
    return roc_auc_score(wanted, np.concatenate([image[positive], image[negative]]))


def test_center_within_a_twentieth_of_a_pixel(scan):
    assert scan.geometry.center == pytest.approx((63.6667, 64.3333), abs=0.05)


def test_maps_correlate_with_the_baseline(scan, baseline):
    """Default bins: V2D, ring mean and the even orders whose period spans several bins."""
    result = scan.medium_range_order(k=4.0, width=0.8, orders=(2, 4, 6, 8), k_resolved=False)
    assert correlation(result.variance.data, baseline["V2D"]) > 0.98
    assert correlation(result.ring_mean.data, baseline["ring_mean"]) > 0.99
    for n, image in zip(result.power.orders, result.power.data, strict=True):
        assert correlation(image, baseline["Pn"][..., n]) > 0.98


def test_all_orders_correlate_over_the_baselines_own_band(scan, baseline):
    """Bilinear sampling from 3.6 to 4.4 1/nm reaches about half a pixel beyond on both sides: width 1.0."""
    power = scan.angular_power_map(k=4.0, width=1.0, orders=range(1, 13), n_phi=72)
    for n, image in zip(power.orders, power.data, strict=True):
        assert correlation(image, baseline["Pn"][..., n]) > 0.98


def test_detection_is_what_a_plain_analysis_reaches(scan, truth):
    diffracting, aligned, negative = truth
    result = scan.medium_range_order(k=4.0, width=0.8, orders=(4, 6, 10), k_resolved=False)
    assert auc(result.variance.data, diffracting, negative) == pytest.approx(0.78, abs=0.02)
    assert auc(result.ring_mean.data, diffracting, negative) == pytest.approx(0.89, abs=0.02)
    expected = {4: 0.75, 6: 0.86, 10: 0.54}
    for n, image in zip(result.power.orders, result.power.data, strict=True):
        assert auc(image, aligned[n], negative) == pytest.approx(expected[n], abs=0.02)


def test_merlin_file_has_the_known_center(data_folder):
    signal = mr.load(data_folder / "sim" / "merlin_two_phase" / "crop10.mib", scan_shape=(10, 10))
    signal.calibrate(scan_step=1.2, k_step=0.128, beam_energy=300)
    # The counter clips the direct beam at 4095, which moves its centroid by about a tenth of a pixel.
    assert signal.fit_center() == pytest.approx((129.25, 126.75), abs=0.15)
