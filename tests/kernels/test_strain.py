import numpy as np
import pytest

from medrange.geometry import DiffractionGeometry
from medrange.kernels.polar import polar_operator
from medrange.kernels.ring_shape import annulus
from medrange.kernels.rings import polar_means
from medrange.kernels.strain import ring_strain

CENTER, STEP, RADIUS = (63.6, 64.2), 0.16, 25.0


def patterns(strain, *, shifts=None, amplitude=None):
    """Patterns of a glass strained by (exx, eyy, exy): its reciprocal space is multiplied by (1 - e)."""
    rows, cols = np.indices((128, 128))
    frames = []
    for i, (exx, eyy, exy) in enumerate(strain):
        dy, dx = (0, 0) if shifts is None else shifts[i]
        offsets = np.stack([cols - CENTER[1] - dx, rows - CENTER[0] - dy]).reshape(2, -1)
        x, y = np.linalg.solve(np.array([[1 - exx, -exy], [-exy, 1 - eyy]]), offsets)
        radius = np.hypot(x, y).reshape(128, 128)
        frame = np.exp(-0.5 * ((radius - RADIUS) / 2.5) ** 2) + 0.3 * np.exp(-radius / 20) + 0.02
        if amplitude is not None:
            frame *= 1 + amplitude * np.cos(4 * np.arctan2(y, x).reshape(128, 128) + i)
        frames.append(frame)
    return np.array(frames)


def field(n=128, size=0.005):
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return size * np.stack([np.sin(t), np.cos(2 * t), np.sin(3 * t)], axis=1)


def measured(frames, *, mask=None, width=2.0, n_phi=36, **keywords):
    geometry = DiffractionGeometry((128, 128), CENTER, STEP, "1/nm", mask=mask)
    grid = annulus(geometry, k=RADIUS * STEP, width=width, n_phi=n_phi)
    polar = polar_means(frames, geometry, grid, phi_first=True)
    area = polar_operator(geometry, grid).area
    return ring_strain(polar, polar.mean(axis=0, dtype=float), area, grid, **keywords)


def test_strain_field_of_half_a_percent_without_noise():
    strain = field()
    assert measured(patterns(strain)) == pytest.approx(strain, abs=6e-5)


@pytest.mark.parametrize("electrons", [4e5, 4e4])
def test_strain_field_with_counting_noise(electrons):
    # Electrons in the annulus per pattern. 0.05 % rms takes 3e5 of them; ten times fewer give sqrt(10) more.
    strain, width = field(), 2.0
    frames = patterns(strain)
    rows, cols = np.indices((128, 128))
    inside = np.abs(np.hypot(rows - CENTER[0], cols - CENTER[1]) - RADIUS) < width / STEP / 2
    counts = np.random.default_rng(0).poisson(frames * electrons / frames[0][inside].sum()).astype(np.uint16)
    error = measured(counts, width=width) - strain
    rms = np.sqrt((error**2).mean(axis=0))
    assert (rms < 5e-4 * np.sqrt(3e5 / electrons)).all()
    # The noise is no hidden bias: the field's amplitude comes out.
    slopes = (measured(counts, width=width) * strain).sum(axis=0) / (strain**2).sum(axis=0)
    assert slopes == pytest.approx(1, abs=0.03 if electrons > 1e5 else 0.1)


def test_amplitudes_that_differ_between_azimuths_are_no_strain():
    strain = field(32)
    assert measured(patterns(strain, amplitude=0.5)) == pytest.approx(strain, abs=1.5e-4)


def test_descan_is_no_strain():
    strain = field(32)
    shifts = np.random.default_rng(1).normal(0, 0.3, (32, 2))
    error = measured(patterns(strain, shifts=shifts)) - strain
    assert np.sqrt((error**2).mean()) < 3e-4


def test_behind_a_beam_stop():
    mask = np.zeros((128, 128), bool)
    mask[58:70, :70] = True
    strain = field(32)
    frames = patterns(strain)
    frames[:, mask] = 1e3
    assert measured(frames, mask=mask) == pytest.approx(strain, abs=2e-4)


def test_reference_radius_gives_absolute_strain():
    strain = np.array([[0.006, 0.002, 0.001], [0.004, 0.004, -0.001]])
    k0 = RADIUS * STEP
    assert measured(patterns(strain), k0=k0) == pytest.approx(strain, abs=3e-4)
    assert measured(patterns(strain), k0=1.01 * k0) == pytest.approx(strain + np.array([0.01, 0.01, 0]), abs=4e-4)


def test_the_mean_pattern_has_no_strain():
    strain = field(32) + np.array([0.004, -0.002, 0.003])
    assert measured(patterns(strain)) == pytest.approx(strain - strain.mean(axis=0), abs=1e-4)


def test_stretched_is_positive_and_shear_follows_the_axes():
    one = measured(patterns([[0.01, 0, 0], [0, 0, 0]]))
    assert one[0, 0] > one[1, 0] + 0.009
    # A stretch along +x +y (down right) is a positive exy.
    two = measured(patterns([[0.005, 0.005, 0.005], [0, 0, 0]]))
    assert two[0, 2] > two[1, 2] + 0.004


def test_dark_patterns_are_missing():
    frames = patterns(field(8))
    frames[3] = 0
    strain = measured(frames)
    assert np.isnan(strain[3]).all()
    assert np.isfinite(np.delete(strain, 3, axis=0)).all()


def test_mostly_masked_ring_is_refused():
    mask = np.zeros((128, 128), bool)
    mask[:, :80] = True
    with pytest.raises(ValueError, match=r"only \d+ of 36 azimuths of the ring at k = 4"):
        measured(patterns(field(3)), mask=mask)


def test_input_is_not_written():
    frames = patterns(field(3))
    before = frames.copy()
    measured(frames)
    assert (frames == before).all()
