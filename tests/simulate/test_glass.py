import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from medrange.simulate import Cluster, cluster_positions, glass_with_clusters

SIZE = (36.0, 40.0, 30.0)
CLUSTER = Cluster("bcc<100>", (18.0, 20.0, 15.0), 14.0, 20.0)


@pytest.fixture(scope="module")
def glass():
    return glass_with_clusters(SIZE, seed=4)


@pytest.fixture(scope="module")
def planted():
    return glass_with_clusters(SIZE, clusters=[CLUSTER], seed=4)


def test_first_maximum_of_the_pair_distribution(glass):
    distances = neighbor_list("d", glass, 6.0)
    edges = np.arange(2.0, 6.0, 0.1)
    middle = (edges[1:] + edges[:-1]) / 2
    g = np.histogram(distances, edges)[0] / middle**2
    assert 2.9 <= middle[g.argmax()] <= 3.15
    assert g[middle < 2.4].max() < 0.02 * g.max()
    # A glass: a broad second shell, no sharp peak beyond the first.
    assert g[middle > 3.8].max() < 0.5 * g.max()


def test_min_distance_moves_the_maximum():
    atoms = glass_with_clusters((24.0, 24.0, 24.0), min_distance=2.5, density=0.07, element="Fe", seed=1)
    distances = neighbor_list("d", atoms, 4.0)
    histogram, edges = np.histogram(distances, np.arange(2.0, 4.0, 0.1))
    assert 2.35 <= edges[histogram.argmax()] <= 2.6
    assert set(atoms.get_chemical_symbols()) == {"Fe"}


def test_density_box_and_labels(glass):
    assert len(glass) == round(0.0425 * np.prod(SIZE))
    assert np.all(glass.positions >= 0)
    assert np.all(glass.positions <= SIZE)
    assert glass.pbc.tolist() == [True, True, False]
    assert np.all(glass.arrays["cluster"] == -1)


def test_cluster_is_planted_as_it_is(planted):
    inside = planted.arrays["cluster"] == 0
    np.testing.assert_allclose(planted.positions[inside], cluster_positions(CLUSTER), atol=1e-9)
    matrix = planted.positions[~inside]
    distance = np.linalg.norm(matrix[:, None] - planted.positions[inside][None], axis=-1)
    assert distance.min() >= 0.8 * 3.0
    assert np.linalg.norm(matrix - CLUSTER.position, axis=1).min() > CLUSTER.diameter / 2


def test_cluster_across_the_periodic_edge():
    cluster = Cluster("bcc<111>", (1.0, 20.0, 15.0), 14.0)
    atoms = glass_with_clusters(SIZE, clusters=[cluster], seed=2)
    positions = atoms.positions[atoms.arrays["cluster"] == 0]
    assert np.all((positions[:, :2] >= 0) & (positions[:, :2] < SIZE[:2]))
    assert np.ptp(positions[:, 0]) > 20
    assert neighbor_list("d", atoms, 2.3).size == 0


def test_same_seed_same_glass(glass):
    again = glass_with_clusters(SIZE, seed=np.random.default_rng(4))
    np.testing.assert_array_equal(again.positions, glass.positions)
    other = glass_with_clusters(SIZE, seed=5)
    assert not np.array_equal(other.positions[:10], glass.positions[:10])


def test_errors():
    with pytest.raises(ValueError, match=r"packing fraction .* is 1.1.*lower density"):
        glass_with_clusters(SIZE, density=0.08)
    with pytest.raises(ValueError, match=r"cluster 0 at z = 2 .*leaves the slab of thickness 30"):
        glass_with_clusters(SIZE, clusters=[Cluster("bcc<100>", (18.0, 20.0, 2.0), 14.0)])
    # Closest through the periodic edge.
    pair = [Cluster("bcc<100>", (2.0, 20.0, 15.0), 14.0), Cluster("bcc<100>", (30.0, 20.0, 15.0), 14.0)]
    with pytest.raises(ValueError, match="cluster 1 touches cluster 0"):
        glass_with_clusters(SIZE, clusters=pair)
