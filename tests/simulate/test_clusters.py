import numpy as np
import pytest

from medrange.simulate import (
    CLUSTER_ORDERS,
    Cluster,
    Probe,
    cluster_positions,
    kinematic_order,
    kinematic_ring,
    truth_table,
)

PROBE = Probe(300, 1.15)
ORIGIN = (0.0, 0.0, 0.0)


def test_orders_cover_the_even_orders_of_a_thin_sample():
    assert set(CLUSTER_ORDERS.values()) == {2, 4, 6, 10}


@pytest.mark.parametrize("diameter", [16.0, 20.0, 24.0])
@pytest.mark.parametrize(("kind", "n"), CLUSTER_ORDERS.items())
def test_kinematic_order_is_the_order_of_the_kind(kind, n, diameter):
    cluster = Cluster(kind, (30.0, -12.0, 7.0), diameter, 33.0)
    assert cluster.n == n
    assert kinematic_order(cluster_positions(cluster), probe=PROBE) == n


@pytest.mark.parametrize(("kind", "n"), CLUSTER_ORDERS.items())
def test_reflections_lie_on_the_ring_at_the_in_plane_angle(kind, n):
    """Structure factor of the infinite-aperture cluster: n maxima at angle + 360 j / n, and weak halfway between."""
    angle = 17.0
    positions = cluster_positions(Cluster(kind, ORIGIN, 40.0, angle))
    phi = np.deg2rad(angle + 360 / n * np.arange(n))

    def intensity(azimuths):
        k = 0.4 * np.stack((np.cos(azimuths), np.sin(azimuths)))
        return np.abs(np.exp(2j * np.pi * positions[:, :2] @ k).sum(axis=0)) ** 2 / len(positions) ** 2

    assert intensity(phi).min() > 0.25
    assert intensity(phi + np.pi / n).max() < 0.02


@pytest.mark.parametrize("kind", ["bcc<110>", "bcc<100>", "bcc<111>"])
def test_bcc_neighbors(kind):
    """Bcc with d(110) = 2.5 angstrom has a = 3.536 and nearest neighbors at a sqrt(3)/2 = 3.062 angstrom, 8 of them."""
    positions = cluster_positions(Cluster(kind, ORIGIN, 24.0))
    distances = np.sort(np.linalg.norm(positions, axis=1))
    np.testing.assert_allclose(distances[1:9], 2.5 * np.sqrt(2) * np.sqrt(3) / 2, rtol=1e-9)
    np.testing.assert_allclose(distances[9:15], 2.5 * np.sqrt(2), rtol=1e-9)


def test_decagonal_atoms_do_not_overlap_and_keep_the_screw_axis():
    positions = cluster_positions(Cluster("decagonal", ORIGIN, 22.0))
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1) + 99 * np.eye(len(positions))
    assert distances.min() >= 1.08 * 2.5 - 1e-9
    ring = kinematic_ring(positions, probe=PROBE)
    spectrum = np.abs(np.fft.rfft(ring))
    assert np.delete(spectrum, np.arange(0, len(spectrum), 10)).max() < 1e-3 * spectrum[0]


def test_position_diameter_and_rotation():
    cluster = Cluster("bcc<100>", (10.0, 20.0, 30.0), 18.0)
    positions = cluster_positions(cluster)
    assert np.linalg.norm(positions - cluster.position, axis=1).max() <= 9.0
    turned = cluster_positions(Cluster("bcc<100>", (10.0, 20.0, 30.0), 18.0, 90.0))
    offset, turned_offset = positions - cluster.position, turned - cluster.position
    # 90 degrees from +x towards +y: (x, y) -> (-y, x).
    np.testing.assert_allclose(turned_offset, np.column_stack((-offset[:, 1], offset[:, 0], offset[:, 2])), atol=1e-9)


def test_spacing_scales_the_structure():
    small = cluster_positions(Cluster("decagonal", ORIGIN, 20.08, spacing=2.0))
    large = cluster_positions(Cluster("decagonal", ORIGIN, 25.1, spacing=2.5))
    np.testing.assert_allclose(small * 1.25, large, atol=1e-9)
    assert kinematic_order(small, probe=PROBE, k=5.0) == 10


def test_kinematic_ring_follows_a_rotation_and_ignores_a_shift():
    kind = "bcc<110>"
    ring = kinematic_ring(cluster_positions(Cluster(kind, ORIGIN, 18.0)), probe=PROBE)
    turned = kinematic_ring(cluster_positions(Cluster(kind, (5.0, 1.0, 2.0), 18.0, 40.0)), probe=PROBE)
    np.testing.assert_allclose(turned, np.roll(ring, 20), rtol=1e-6, atol=1e-6 * ring.max())


def test_kinematic_ring_of_one_atom_is_flat():
    ring = kinematic_ring(np.array([[3.0, 4.0, 5.0]]), probe=PROBE)
    np.testing.assert_allclose(ring, ring[0], rtol=1e-12)


def test_truth_table_in_scan_coordinates():
    clusters = [Cluster("bcc<111>", (30.0, 20.0, 25.0), 18.0, 12.0), Cluster("decagonal", (60.0, 70.0, 25.0), 20.0)]
    table = truth_table(clusters, probe=PROBE, scan_origin=(1.5, 0.5))
    assert table["n"].tolist() == table["kinematic_n"].tolist() == [6, 10]
    assert table["y_nm"].tolist() == [0.5, 5.5]
    assert table["x_nm"].tolist() == [2.5, 5.5]
    assert table.loc[0, ["z_nm", "diameter_nm", "in_plane_angle_deg"]].tolist() == [2.5, 1.8, 12.0]


def test_errors():
    with pytest.raises(ValueError, match=r"unknown cluster kind 'fcc'; choose one of bcc<110>"):
        Cluster("fcc", ORIGIN, 18.0)
    with pytest.raises(ValueError, match="diameter is -1"):
        Cluster("bcc<100>", ORIGIN, -1)
    with pytest.raises(ValueError, match="spacing is 0"):
        Cluster("bcc<100>", ORIGIN, 18.0, spacing=0)
    with pytest.raises(ValueError, match=r"shape \(3,\); give \(n_atoms, 3\)"):
        kinematic_ring(np.zeros(3), probe=PROBE)
