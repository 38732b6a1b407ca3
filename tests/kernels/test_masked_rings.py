"""Masks and noise against the angular power: random broadband speckle behind stops and dead pixels, on rings and
through the polar operator; counting noise; uniform frames.

Rings of 180 bins as in the comparison of peers, which read 1.6 to 3.3 times too high with a correlation of
0.45 to 0.65; frames of 64 x 64 pixels with a ring of 20 pixels radius.
"""

import numpy as np
import pytest

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.angular import angular_power
from medrange.kernels.noise import noise_factors, remove_shot_noise
from medrange.kernels.polar import LEAST_OPEN, polar_operator
from medrange.kernels.rings import FIRST_POWER, VARIANCE, polar_means, ring_statistics

COUNT, SIZE, RADIUS, CENTER = 3000, 64, 20.0, (31.3, 32.4)
ORDERS = slice(1, 10)  # n = 2 .. 10 of n = 1, 2, ...
# Gap in degrees: tolerance of the mean, least correlation of the maps.
REQUIRED = {0: (0.03, 0.95), 20: (0.03, 0.95), 40: (0.05, 0.88)}


def kernel(n, sigma):
    """Fourier transform of a Gaussian of ``sigma`` bins over ``n`` bins."""
    return np.exp(-2 * (np.pi * sigma * np.fft.fftfreq(n)) ** 2)


@pytest.fixture(scope="module", params=[10, 20], ids=["fwhm 10", "fwhm 20"])
def rings(request):
    """Intensities (3000, 180) of complex Gaussian noise, correlated over so many degrees."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(COUNT, 180)) + 1j * rng.normal(size=(COUNT, 180))
    return np.abs(np.fft.ifft(np.fft.fft(noise) * kernel(180, request.param / 2 / 2.355))) ** 2


@pytest.fixture(scope="module", params=[10, 20], ids=["fwhm 10", "fwhm 20"])
def frames(request):
    """Speckle patterns (3000, 64, 64); so many degrees at the ring's radius."""
    rng = np.random.default_rng(3)
    blur = kernel(SIZE, np.radians(request.param) * RADIUS / 2.355)
    result = np.empty((COUNT, SIZE, SIZE), np.float32)
    for part in np.split(result, 6):
        noise = rng.standard_normal((2, *part.shape), dtype=np.float32)
        part[:] = np.abs(np.fft.ifft2(np.fft.fft2(noise[0] + 1j * noise[1]) * blur * blur[:, None])) ** 2
    return result


def held_to(required, power, truth):
    """Mean over truth and correlation of the maps, for even and for odd orders."""
    spread, correlation = required
    power, truth = power[:, ORDERS], truth[:, ORDERS]
    found = [np.corrcoef(a, b)[0, 1] for a, b in zip(power.T, truth.T, strict=True)]
    for parity in (slice(0, None, 2), slice(1, None, 2)):
        assert power[:, parity].mean() / truth[:, parity].mean() == pytest.approx(1, abs=spread)
    assert np.mean(found) > correlation
    # Single orders: 3000 rings know a mean to 2 % and a correlation to 0.01.
    assert power.mean(axis=0) / truth.mean(axis=0) == pytest.approx(1, abs=spread + 0.02)
    assert min(found) > correlation - 0.03


@pytest.mark.parametrize("dead", [False, True], ids=["", "1 % dead"])
@pytest.mark.parametrize("gap", [0, 20, 40])
def test_rings_behind_a_stop(rings, gap, dead):
    shut = rings.copy()
    shut[:, : gap // 2] = np.nan
    if dead:
        shut[:, [61, 139]] = np.nan
    held_to(REQUIRED[gap], angular_power(shut), angular_power(rings))


def bar(gap, offset):
    """Beam stop from the left edge past the center, as wide as the gap at the ring; its axis is ``offset`` off."""
    rows, cols = np.indices((SIZE, SIZE), dtype=float)
    half = RADIUS * np.sin(np.radians(gap / 2))
    return (np.abs(rows - CENTER[0] - offset) < half) & (cols - CENTER[1] < half)


def geometry(mask=None, center=CENTER):
    return DiffractionGeometry((SIZE, SIZE), center, 0.1, "1/nm", mask=mask)


DEAD = np.random.default_rng(5).random((SIZE, SIZE)) < 0.01
STOPS = {
    "1 % dead": (0, DEAD),
    "stop": (20, bar(20, 0)),
    "wide stop": (40, bar(40, 0)),
    "stop off the center": (20, bar(20, 5)),
    "wide stop off the center": (40, bar(40, 5)),
    "stop off the center, 1 % dead": (20, bar(20, 5) | DEAD),
    "wide stop off the center, 1 % dead": (40, bar(40, 5) | DEAD),
}


@pytest.mark.parametrize("name", STOPS)
def test_frames_behind_a_stop(frames, name):
    """Bins of 5 degrees; one of 10, half of it behind the stop, is too coarse for speckle of 10 degrees."""
    gap, mask = STOPS[name]
    band = PolarGrid.band(RADIUS * 0.1, 0.3, 72)
    power, truth = (ring_statistics(frames, geometry(m), band)[:, 0, FIRST_POWER:].astype(float) for m in (mask, None))
    held_to(REQUIRED[gap], power, truth)


@pytest.mark.parametrize("offset", [0.0, 1.0, 2.5, 4.0])
@pytest.mark.parametrize("gap", [20, 40])
def test_slivers_beside_a_stop_add_no_power(frames, gap, offset):
    """36 bins: rests of less than a twentieth, counted as whole bins, would add up to 6 %."""
    band = PolarGrid.band(RADIUS * 0.1, 0.3, 36)
    masks = (bar(gap, offset), None)
    power, truth = (ring_statistics(frames, geometry(m), band)[:, 0, FIRST_POWER:].astype(float) for m in masks)
    power, truth = power[:, ORDERS], truth[:, ORDERS]
    assert power.mean() / truth.mean() == pytest.approx(1, abs=0.03)
    found = [np.corrcoef(a, b)[0, 1] for a, b in zip(power.T, truth.T, strict=True)]
    # 0.95 and 0.89 less the 0.01 to which 3000 rings know a correlation.
    assert np.mean(found) > (0.94 if gap == 20 else 0.88)


def test_a_sliver_counts_for_the_profile_alone():
    """A bin of which a pixel's corner is left: not in V2D, P_n, polar pattern and noise, yet in the radial mean."""
    band, mask = PolarGrid.band(RADIUS * 0.1, 0.3, 36), bar(40, 0.0)
    operator = polar_operator(geometry(mask), band)
    share = operator.area[0] / operator.full[0]
    closed = share < LEAST_OPEN
    assert (closed & (share > 0)).any()
    np.testing.assert_array_equal(operator.is_open[0], ~closed)
    frame = np.random.default_rng(0).poisson(50, (1, SIZE, SIZE)).astype(np.uint16)
    polar = polar_means(frame, geometry(mask), band)[0, 0]
    np.testing.assert_array_equal(np.isnan(polar), closed)
    statistics = ring_statistics(frame, geometry(mask), band)[0, 0]
    assert statistics[VARIANCE] == pytest.approx(np.nanvar(polar) / np.nanmean(polar) ** 2, rel=1e-5)
    profile = polar_means(frame, geometry(mask), PolarGrid.band(RADIUS * 0.1, 0.3, 1))[0, 0, 0]
    assert statistics[0] == pytest.approx(profile, rel=1e-6)
    # The same at a center of each pattern's own.
    shifts = np.array([[1.0, -2.0]])
    moved = geometry(np.roll(mask, (1, -2), axis=(0, 1)))
    again = ring_statistics(np.roll(frame, (1, -2), axis=(1, 2)), moved, band, shifts=shifts)[0, 0]
    np.testing.assert_allclose(again, statistics, rtol=2e-4, atol=1e-7)
    whole = polar_means(np.roll(frame, (1, -2), axis=(1, 2)), moved, band, shifts=shifts)[0, 0]
    np.testing.assert_array_equal(np.isnan(whole), closed)


def test_a_dead_pixel_closes_no_bin_that_it_does_not_fill():
    """Small bins near the center, and thin ones of 2 degrees: one pixel is not a beam stop."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[31, 35] = mask[31, 52] = True
    for radius, n_phi in ((3.0, 36), (20.0, 180)):
        operator = polar_operator(geometry(mask), PolarGrid.band(radius * 0.1, 0.1, n_phi))
        np.testing.assert_array_equal(operator.is_open, operator.area > 0)


@pytest.mark.parametrize("name", [None, "stop off the center", "wide stop off the center, 1 % dead"])
@pytest.mark.parametrize("mean", [0.5, 10.0])
def test_structureless_counts_have_no_power_left(name, mean):
    """12,000 frames know the mean of an order to 1 % of the floor; 5 % is asked for."""
    rng, band = np.random.default_rng(4), PolarGrid.band(RADIUS * 0.1, 0.3, 36)
    shape = geometry(None if name is None else STOPS[name][1])
    factors = noise_factors(shape, band)
    total = 0.0
    for _ in range(6):
        counts = rng.poisson(mean, (2000, SIZE, SIZE)).astype(np.uint16)
        total = total + remove_shot_noise(ring_statistics(counts, shape, band), factors, 1.0)[:, 0].sum(axis=0)
    corrected, floor = total / 12_000, np.append(factors.variance, factors.power[0]) / mean
    assert (np.abs(corrected[VARIANCE:]) < 0.05 * floor).all()


@pytest.mark.parametrize("center", [(31, 32), (31.5, 31.5), (31.3, 32.4), (30.123, 33.456), (29.999, 32.001)])
@pytest.mark.parametrize("name", [None, "wide stop off the center, 1 % dead"])
def test_uniform_frames_have_no_power(center, name):
    mask = None if name is None else STOPS[name][1]
    frame = np.full((1, SIZE, SIZE), 123, np.uint16)
    for radius in (2.5, 8.0, 20.0, 26.0):
        band = PolarGrid.band(radius * 0.1, 0.3, 36)
        statistics = ring_statistics(frame, geometry(mask, center), band)
        assert (np.abs(statistics[0, 0, VARIANCE:]) < 1e-7).all()
