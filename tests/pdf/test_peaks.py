"""Peaks, shells and the density line of curves known in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medrange.pdf.pair_distribution import coordination_number, density_slope, pair_distribution
from medrange.pdf.peaks import connectivity_distances, find_peak, find_second_peaks, neighbor_minima

R = np.arange(0, 241) * 0.05


def gaussian(center, fwhm=0.5, height=1.0):
    return height * np.exp(-4 * np.log(2) * ((R - center) / fwhm) ** 2)


@pytest.mark.parametrize("method", ["maximum", "centroid", "gaussian"])
@given(center=st.floats(2.0, 4.0), fwhm=st.floats(0.4, 0.9), height=st.floats(0.1, 50))
def test_gaussian_peak(method, center, fwhm, height):
    peak = find_peak(gaussian(center, fwhm, height), R, method=method)
    # Steps of r of an eighth of the width or less: the parabola and the linear crossings are good to 1 %.
    assert peak.position == pytest.approx(center, abs=0.01 if method == "centroid" else 0.005)
    assert peak.height == pytest.approx(height, rel=0.01)
    assert peak.fwhm == pytest.approx(fwhm, rel=0.02)


def test_gaussian_method_is_exact():
    assert find_peak(gaussian(2.513, 0.5), R, method="gaussian").position == pytest.approx(2.513, abs=1e-9)


def test_asymmetric_peak_by_method():
    curve = gaussian(2.5, 0.4) + gaussian(2.75, 0.5, 0.5)
    positions = [find_peak(curve, R, method=m).position for m in ("maximum", "gaussian", "centroid")]
    assert positions[0] < positions[1] < positions[2]


def test_curves_without_a_peak_are_nan():
    curves = np.stack([gaussian(2.5), np.linspace(0, 1, R.size), np.full(R.size, np.nan), -np.ones(R.size)])
    peak = find_peak(curves.reshape(2, 2, -1), R)
    assert peak.position.shape == (2, 2)
    np.testing.assert_array_equal(np.isfinite(peak.position), [[True, False], [False, False]])
    np.testing.assert_array_equal(np.isfinite(peak.fwhm), [[True, False], [False, False]])


def test_no_width_where_the_curve_does_not_fall_to_half():
    peak = find_peak(1 + 0.1 * gaussian(2.5), R)
    assert peak.position == pytest.approx(2.5, abs=1e-6)
    assert np.isnan(peak.fwhm)
    for method in ("centroid", "gaussian"):
        assert np.isnan(find_peak(1 + 0.1 * gaussian(2.5), R, method=method).position)


def test_second_peak_split_and_not():
    split = gaussian(2.5) + gaussian(4.1, 0.4, 0.6) + gaussian(4.9, 0.4, 0.4)
    single = gaussian(2.5) + gaussian(4.3, 0.6, 0.5)
    second, shoulder = find_second_peaks(np.stack([split, single]), R, np.array([2.5, 2.5]))
    np.testing.assert_allclose(second.position, [4.1, 4.3], atol=0.01)
    np.testing.assert_allclose(second.height, [0.6, 0.5], rtol=0.01)
    assert shoulder[0] == pytest.approx(4.9, abs=0.01)
    assert np.isnan(shoulder[1])
    nothing, _ = find_second_peaks(gaussian(2.5), R, np.array(2.5))
    assert np.isnan(nothing.position)


def test_minima_around_a_peak():
    curve = np.cos(2 * np.pi * (R - 2.6) / 1.7)
    left, right = neighbor_minima(curve, R, np.array(2.6))
    assert left == pytest.approx(2.6 - 0.85, abs=0.005)
    assert right == pytest.approx(2.6 + 0.85, abs=0.005)
    assert np.isnan(neighbor_minima(R, R, np.array(2.6))[1])


def test_connectivity_of_the_paper():
    # Kang et al. give 5.05, 4.38, 4.13 for R1 = 2.53 and 4.92, 4.26, 4.02 for 2.46 (their 5.05 is 5.06 rounded down).
    distances = connectivity_distances(np.array([2.53, 2.46]))
    np.testing.assert_allclose(distances[1], [5.06, 4.92], atol=0.005)
    np.testing.assert_allclose(distances[2], [4.38, 4.26], atol=0.005)
    np.testing.assert_allclose(distances[3], [4.13, 4.02], atol=0.005)


def known_g():
    density = 0.07
    g = 1 / (1 + np.exp(-20 * (R - 2.1))) * (1 + 2 * gaussian(2.5) - 0.5 * gaussian(3.4, 0.6))
    return g, 4 * np.pi * R * density * (g - 1), density


def test_pair_distribution_both_ways():
    g, reduced, density = known_g()
    np.testing.assert_allclose(pair_distribution(reduced, R, density=density)[1:], g[1:], atol=1e-12)
    assert np.isnan(pair_distribution(reduced, R, density=density)[0])
    # The density line does not mind the amplitude; at its end g is 0.02 here and not 0.
    np.testing.assert_allclose(pair_distribution(0.3 * reduced, R)[1:], g[1:], atol=0.02, rtol=0.02)
    assert density_slope(reduced, R) == pytest.approx(-4 * np.pi * density, rel=0.02)
    assert np.isnan(density_slope(gaussian(2.5), R))
    assert np.isnan(pair_distribution(gaussian(2.5), R)).all()


def test_coordination_by_plain_sum():
    g, reduced, density = known_g()
    fine = np.linspace(2.0, 3.4, 2001)
    expected = np.sum(4 * np.pi * fine**2 * density * np.interp(fine, R, g)) * (fine[1] - fine[0])
    counted = coordination_number(np.stack([reduced] * 3), R, density=density, shell=(2.0, 3.4))
    assert counted.shape == (3,)
    np.testing.assert_allclose(counted, expected, rtol=0.005)
    line = coordination_number(5 * reduced, R, density=density, shell=(2.0, 3.4), use_density_line=True)
    assert line == pytest.approx(expected, rel=0.02)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="'maximum', 'centroid', 'gaussian'"):
        find_peak(gaussian(2.5), R, method="fit")
    with pytest.raises(ValueError, match="holds 1 of the points"):
        find_peak(gaussian(2.5), R, (2.5, 2.52))
    with pytest.raises(ValueError, match="r must be uniform"):
        find_peak(gaussian(2.5), R**2)
    with pytest.raises(ValueError, match="density is 60"):
        pair_distribution(gaussian(2.5), R, density=60)
    with pytest.raises(ValueError, match="must increase and lie within r"):
        coordination_number(gaussian(2.5), R, density=0.06, shell=(3, 2))
