import numpy as np
import pytest

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.noise import noise_factors, remove_shot_noise
from medrange.kernels.rings import FIRST_POWER, VARIANCE, ring_statistics

GEOMETRY = DiffractionGeometry((48, 48), (23.3, 24.6), 0.1, "1/nm")
BAND = PolarGrid.band(1.5, 0.3, 36)


def with_mask():
    mask = np.zeros((48, 48), bool)
    mask[20:27, :25] = True
    return DiffractionGeometry(GEOMETRY.shape, GEOMETRY.center, 0.1, "1/nm", mask=mask)


@pytest.mark.parametrize("geometry", [GEOMETRY, with_mask()], ids=["open", "masked"])
@pytest.mark.parametrize(("mean", "gain"), [(4.0, 1.0), (30.0, 1.0), (30.0, 5.0), (20.0, 0.1)])
def test_structureless_counts_have_the_expected_floor_and_none_after_correction(geometry, mean, gain):
    rng = np.random.default_rng(0)
    counts = gain * rng.poisson(mean, (6000, 48, 48)).astype(np.float64)
    raw = ring_statistics(counts, geometry, BAND)[:, 0]
    factors = noise_factors(geometry, BAND)
    # gain / mean intensity is 1 / mean count, whatever the gain.
    floor = np.concatenate([factors.variance, factors.power[0]]) / mean
    error = raw[:, VARIANCE:].std(axis=0) / np.sqrt(len(raw))
    assert (np.abs(raw[:, VARIANCE:].mean(axis=0) - floor) < 5 * error + 2e-3 * floor).all()
    corrected = remove_shot_noise(raw[:, None], factors, gain)[:, 0]
    assert (np.abs(corrected[:, VARIANCE:].mean(axis=0)) < 0.05 * floor + 3 * error).all()
    assert abs(corrected[:, FIRST_POWER:].mean()) < 0.01 * floor[1:].mean()


def test_known_modulation_is_recovered_from_few_counts():
    rows, cols = np.indices((48, 48))
    phi = np.arctan2(rows - 23.3, cols - 24.6)
    intensity = 3 * (1 + 0.3 * np.cos(4 * phi))
    truth = ring_statistics(intensity[None], GEOMETRY, BAND)[0, 0]
    counts = np.random.default_rng(1).poisson(intensity, (8000, 48, 48)).astype(np.uint16)
    raw = ring_statistics(counts, GEOMETRY, BAND)
    corrected = remove_shot_noise(raw, noise_factors(GEOMETRY, BAND), 1.0)[:, 0].mean(axis=0)
    assert raw[:, 0, FIRST_POWER + 3].mean() > 1.01 * truth[FIRST_POWER + 3]
    assert corrected[FIRST_POWER + 3] == pytest.approx(truth[FIRST_POWER + 3], rel=0.01)
    assert corrected[VARIANCE] == pytest.approx(truth[VARIANCE], rel=0.01)


def test_factors_add_up_and_shut_rings_are_nan():
    factors = noise_factors(GEOMETRY, BAND)
    assert factors.power.sum() == pytest.approx(factors.variance[0], rel=1e-9)
    beyond = noise_factors(GEOMETRY, PolarGrid(0.5, 9.5, 2, 36))
    assert np.isfinite(beyond.variance[0])
    corner = noise_factors(GEOMETRY, PolarGrid(8.0, 9.0, 1, 36))
    assert np.isnan(corner.variance).all()
    assert np.isnan(corner.power).all()


def test_input_is_not_written():
    raw = ring_statistics(np.full((2, 48, 48), 3.0), GEOMETRY, BAND)
    before = raw.copy()
    remove_shot_noise(raw, noise_factors(GEOMETRY, BAND), 1.0)
    assert (raw == before).all()
