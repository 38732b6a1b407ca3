import numpy as np
import pytest
from ase import Atoms
from scipy.ndimage import map_coordinates

from medrange.simulate import Cluster, Detector, Probe, cluster_positions, scattering_factor, simulate_scan
from medrange.units import electron_wavelength

PROBE = Probe(300, 1.15)
CELL = (64.0, 64.0, 10.0)
CENTER = (30.3, 33.6)
DETECTOR = Detector((64, 64), 0.32, CENTER)


def one_frame(atoms, *, probe=PROBE, detector=DETECTOR, origin=(3.2, 3.2), **keywords):
    return simulate_scan(
        atoms, probe=probe, detector=detector, scan_shape=(1, 1), scan_step=0.5, scan_origin=origin, **keywords
    )[0, 0]


def polar(frame, k, phi, detector=DETECTOR):
    rows = detector.center[0] + k / detector.k_step * np.sin(phi)
    columns = detector.center[1] + k / detector.k_step * np.cos(phi)
    return map_coordinates(frame, [rows, columns], order=1)


def test_vacuum_is_the_aperture():
    frame = one_frame(Atoms(cell=CELL))
    rows, columns = np.indices(frame.shape)
    k = 0.032 * np.hypot(rows - CENTER[0], columns - CENTER[1])
    assert frame.sum() == pytest.approx(1, abs=0.02)
    assert frame[k > PROBE.aperture + 0.032].max() < 1e-4
    flat = frame[k < PROBE.aperture - 0.032]
    assert np.ptp(flat) < 0.25 * flat.mean()


def test_center_of_mass_is_the_sub_pixel_center():
    frame = one_frame(Atoms("Zr", [(32, 32, 0)], cell=CELL))
    rows, columns = np.indices(frame.shape)
    near = np.hypot(rows - CENTER[0], columns - CENTER[1]) < 4
    center = [(frame * axis)[near].sum() / frame[near].sum() for axis in (rows, columns)]
    np.testing.assert_allclose(center, CENTER, atol=0.03)


def test_one_centered_atom_gives_a_smooth_symmetric_pattern():
    """Beyond the direct beam the atom's wave is f(k) times the aperture's total amplitude: isotropic and falling."""
    frame = one_frame(Atoms("Zr", [(32, 32, 0)], cell=CELL))
    phi = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    means = []
    for k in (3.0, 4.0, 6.0, 8.0):
        ring = polar(frame, k, phi)
        assert np.ptp(ring) < 0.05 * ring.mean()
        means.append(ring.mean())
    # Amplitude f(k) convolved with the aperture: close to f itself where f changes slowly.
    expected = scattering_factor(40, np.array([0.3, 0.4, 0.6, 0.8])) ** 2
    np.testing.assert_allclose(np.array(means) / means[1], expected / expected[1], rtol=0.05)


def test_intensity_of_a_weak_atom_is_absolute():
    """Kinematic: I(k) dk^2 = |gamma lambda f psi(0)|^2 dk^2 for an atom under the probe, psi(0)^2 = pi aperture^2."""
    # Small pixels: a wide window, whose taper takes little of the probe. The direct beam is off the detector.
    detector = Detector((24, 24), 0.08, (12.0, -38.0))
    frame = one_frame(Atoms("C", [(32, 32, 0)], cell=CELL), detector=detector)
    gamma = 1 + 300 / 510.99895
    amplitude = gamma * electron_wavelength(300) * scattering_factor(6, np.array(0.4))
    expected = amplitude**2 * np.pi * PROBE.aperture**2 * 0.008**2
    assert frame[12, 12] == pytest.approx(expected, rel=0.1)


def test_two_atoms_fringe_spacing_and_direction():
    """Two atoms a distance s apart along x: fringes cos^2(pi kx s), dark at kx = 1/(2s) modulo 1/s; none along ky."""
    s = 5.0
    atoms = Atoms("C2", [(32 - s / 2, 32, 0), (32 + s / 2, 32, 0)], cell=CELL)
    detector = Detector((128, 128), 0.16, (64.0, 64.0))
    frame = one_frame(atoms, detector=detector, probe=Probe(300, 0.8))
    single = one_frame(Atoms("C", [(32, 32, 0)], cell=CELL), detector=detector, probe=Probe(300, 0.8))
    ratio = frame / single
    columns = np.arange(80, 112)
    kx = 0.016 * (columns - 64)
    fringes = ratio[64, columns]
    np.testing.assert_allclose(fringes / fringes.max(), np.cos(np.pi * kx * s) ** 2, atol=0.06)
    along_ky = ratio[80:112, 64]
    assert along_ky.min() > 0.9 * fringes.max()


def test_rows_are_ky():
    atoms = Atoms("C2", [(32, 29.5, 0), (32, 34.5, 0)], cell=CELL)
    turned = Atoms("C2", [(29.5, 32, 0), (34.5, 32, 0)], cell=CELL)
    detector = Detector((64, 64), 0.32, (32.0, 32.0))
    np.testing.assert_allclose(
        one_frame(atoms, detector=detector), one_frame(turned, detector=detector).T, rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize("angle", [0.0, 25.0, 70.0])
def test_in_plane_rotation_rotates_the_pattern(angle):
    positions = cluster_positions(Cluster("bcc<110>", (32.0, 32.0, 9.0), 18.0, angle))
    frame = one_frame(Atoms("Zr" * len(positions), positions, cell=(64, 64, 18)))
    phi = 2 * np.pi * np.arange(180) / 180
    ring = polar(frame, 4.0, phi)
    found = np.rad2deg(np.angle(np.sum(ring * np.exp(2j * phi)))) / 2
    assert (found - angle + 90) % 180 - 90 == pytest.approx(0, abs=2)


def test_scan_positions_follow_origin_and_step():
    """Probe (i, j) over a model equals one probe over the model shifted back, at sub-pixel shifts."""
    positions = np.array([(30.0, 31.0, 0.0), (34.0, 36.0, 0.0), (28.0, 35.0, 0.0)])
    scan = simulate_scan(
        Atoms("Zr3", positions, cell=CELL),
        probe=PROBE,
        detector=DETECTOR,
        scan_shape=(2, 3),
        scan_step=0.37,
        scan_origin=(3.1, 3.0),
    )
    assert scan.shape == (2, 3, 64, 64)
    shifted = positions - (10 * 2 * 0.37, 10 * 1 * 0.37, 0)
    alone = one_frame(Atoms("Zr3", shifted, cell=CELL), origin=(3.1, 3.0))
    np.testing.assert_allclose(scan[1, 2], alone, rtol=2e-3, atol=1e-8)
    assert not np.allclose(scan[0, 0], scan[1, 2], rtol=0.1)


def test_model_is_periodic_and_unchanged():
    atoms = Atoms("Zr2", [(1.0, 63.0, 0.0), (60.0, 2.0, 4.0)], cell=CELL)
    before = atoms.positions.copy()
    inside = one_frame(atoms, origin=(0.0, 0.0))
    np.testing.assert_array_equal(atoms.positions, before)
    atoms.positions[:, :2] += 32
    np.testing.assert_allclose(one_frame(atoms, origin=(3.2, 3.2)), inside, rtol=1e-6, atol=1e-12)


def test_thin_slices_converge_and_electrons_are_conserved():
    generator = np.random.default_rng(0)
    atoms = Atoms("Zr" * 900, generator.random((900, 3)) * (64, 64, 40), cell=(64, 64, 40))
    detector = Detector((64, 64), 0.32, (32.0, 32.0))
    frames = {t: one_frame(atoms, detector=detector, slice_thickness=t) for t in (np.inf, 10.0, 5.0)}
    for frame in frames.values():
        assert frame.sum() == pytest.approx(1, abs=0.015)
    rows, columns = np.indices((64, 64))
    ring = np.abs(np.hypot(rows - 32, columns - 32) * 0.32 - 4) < 0.6

    def difference(a, b):
        return np.abs(frames[a] - frames[b])[ring].sum() / frames[b][ring].sum()

    assert difference(10.0, 5.0) < 0.1
    assert difference(10.0, 5.0) < 0.5 * difference(np.inf, 5.0)


def test_phase_object_of_weak_atoms_obeys_friedel():
    generator = np.random.default_rng(1)
    atoms = Atoms("C" * 60, generator.random((60, 3)) * (64, 64, 5), cell=(64, 64, 5))
    detector = Detector((65, 65), 0.32, (32.0, 32.0))
    frame = one_frame(atoms, detector=detector, slice_thickness=np.inf)
    rows, columns = np.indices(frame.shape)
    ring = np.abs(np.hypot(rows - 32, columns - 32) * 0.32 - 4) < 1
    assert np.corrcoef(frame[ring], frame[::-1, ::-1][ring])[0, 1] > 0.98


def test_scattering_factor_limits():
    """At large k the screening is lost: f = Z / (2 pi^2 a0 k^2), the Rutherford limit."""
    rutherford = 40 / (2 * np.pi**2 * 0.529177 * 100.0**2)
    assert scattering_factor(40, 100.0, debye_waller=0) == pytest.approx(rutherford, rel=2e-3)
    assert scattering_factor(40, 0.5, debye_waller=2.0) / scattering_factor(40, 0.5, debye_waller=0) == pytest.approx(
        np.exp(-0.125)
    )


def test_errors():
    with pytest.raises(ValueError, match="convergence_angle is 0 mrad"):
        Probe(300, 0)
    with pytest.raises(ValueError, match="k_step is -1"):
        Detector((8, 8), -1, (4, 4))
    with pytest.raises(ValueError, match=r"detector shape is \(8,\)"):
        Detector((8,), 0.1, (4, 4))
    with pytest.raises(ValueError, match="the cell must be orthogonal"):
        one_frame(Atoms("C", cell=[(10, 1, 0), (0, 10, 0), (0, 0, 10)]))
    with pytest.raises(ValueError, match="slice_thickness 0 must be positive"):
        one_frame(Atoms("C", cell=CELL), slice_thickness=0)
