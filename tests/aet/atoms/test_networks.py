import runpy
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.cluster import Icosahedron
from scipy.spatial.distance import pdist

from medrange.aet.atoms import motif_networks, motif_sharing, motifs, partial_icosahedra, tetrahedra
from medrange.aet.atoms.model import AtomicModel
from medrange.aet.atoms.network_length import largest_distance, unfolded

packing = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "packing.py"))["packing"]


@pytest.fixture(scope="module")
def glass():
    return motifs(tetrahedra(packing(800, seed=6), max_edge=4.0))


@pytest.fixture(scope="module")
def icosahedron():
    return Icosahedron("Ta", 2, 4.0)


def shared(found, fold):
    """Common tetrahedra of every pair of bipyramids, the plain way."""
    rows = [set(row) for row in found.of_fold(fold).tolist()]
    return {(i, j): len(rows[i] & rows[j]) for i, j in combinations(range(len(rows)), 2) if rows[i] & rows[j]}


def components(count, links):
    """Connected components by joining labels, the plain way."""
    label = list(range(count))
    for i, j in links:
        old, new = label[j], label[i]
        label = [new if k == old else k for k in label]
    return [[k for k in range(count) if label[k] == name] for name in set(label)]


def test_one_icosahedron(icosahedron):
    found = motifs(tetrahedra(icosahedron, max_edge=3.5))
    networks = motif_networks(found)
    assert networks.sizes.tolist() == [12]
    assert networks.atom_counts.tolist() == [13]
    assert networks.lengths == pytest.approx([2 * np.linalg.norm(icosahedron.positions[1])])
    assert networks.members[0].tolist() == list(range(12))
    # The skeletons are the faces of a dodecahedron: each has an edge with five others and no single vertex.
    sharing = motif_sharing(found)
    assert sharing.edge_neighbors.tolist() == [5] * 12
    assert sharing.vertex_neighbors.tolist() == [0] * 12
    assert len(sharing.edge_pairs) == 30
    assert (sharing.without_vertex_sharing, sharing.with_edge_sharing) == (1, 1)
    partial = partial_icosahedra(found)
    assert partial.n.tolist() == [12] + [1] * 12
    assert partial.counts.tolist() == [0, 12] + [0] * 10 + [1]


def test_two_icosahedra_apart(icosahedron):
    positions = np.concatenate([icosahedron.positions, icosahedron.positions + np.array([14.0, 0, 0])])
    found = motifs(tetrahedra(positions, max_edge=3.5))
    networks = motif_networks(found)
    assert networks.sizes.tolist() == [12, 12]
    assert sorted(networks.atom_indices(0).tolist() + networks.atom_indices(1).tolist()) == list(range(26))
    assert set(networks.atoms.arrays["network"].tolist()) == {0, 1}
    assert len(motif_networks(found, min_size=13)) == 0
    assert len(motif_networks(found, fold=6)) == 0


def test_sharing_in_a_glass(glass):
    for fold in (4, 5, 6):
        sharing, expected = motif_sharing(glass, fold), shared(glass, fold)
        assert set(map(tuple, sharing.edge_pairs.tolist())) == {pair for pair, n in expected.items() if n == 2}
        assert set(map(tuple, sharing.vertex_pairs.tolist())) == {pair for pair, n in expected.items() if n == 1}
        ends = sharing.edge_pairs.ravel().tolist()
        assert sharing.edge_neighbors.tolist() == [ends.count(k) for k in range(len(glass.of_fold(fold)))]
        assert sharing.table["vertex_sharing"].sum() == len(glass.of_fold(fold))
    sharing = motif_sharing(glass)
    assert len(sharing.vertex_pairs) > 0
    # One common tetrahedron is four common atoms, two are five; edge sharing has one common cap.
    atoms = [set(row) for row in glass.atoms(5).tolist()]
    caps = [set(row) for row in glass.caps[5].tolist()]
    assert {len(atoms[i] & atoms[j]) for i, j in sharing.edge_pairs} == {5}
    assert {len(caps[i] & caps[j]) for i, j in sharing.edge_pairs} == {1}


def test_networks_in_a_glass(glass):
    positions = glass.model.positions
    for fold, size in ((5, 5), (5, 1), (6, 2)):
        links = [pair for pair, n in shared(glass, fold).items() if n == 2]
        expected = [part for part in components(len(glass.of_fold(fold)), links) if len(part) >= size]
        networks = motif_networks(glass, fold, min_size=size)
        assert sorted(m.tolist() for m in networks.members) == sorted(expected)
        assert (np.diff(networks.sizes) <= 0).all()
        for k, part in enumerate(networks.members):
            own = np.unique(glass.atoms(fold)[part])
            assert networks.sizes[k] == len(part)
            assert networks.atom_counts[k] == len(own)
            assert networks.lengths[k] == pytest.approx(pdist(positions[own]).max())
            assert (networks.labels[part] == k).all()
    assert (motif_networks(glass).labels == -1).any()


def test_partial_icosahedra_in_a_glass(glass):
    partial = partial_icosahedra(glass)
    caps = glass.caps[5].tolist()
    n = [sum(atom in pair for pair in caps) for atom in range(len(glass.model))]
    assert partial.n.tolist() == n
    assert partial.counts[1] == sum(1 in (n[a], n[b]) for a, b in caps)
    assert partial.counts[1] < n.count(1)
    assert partial.counts[2:].tolist() == [n.count(k) for k in range(2, len(partial.counts))]
    assert partial.fractions.sum() == pytest.approx(1)
    assert partial.table["n"].tolist() == list(range(1, len(partial.counts)))


def test_largest_distance_of_many_points_is_that_of_their_hull():
    points = np.random.default_rng(0).normal(size=(2000, 3))
    assert largest_distance(points) == pytest.approx(pdist(points).max())
    flat = points * [1, 1, 0]
    assert largest_distance(flat) == pytest.approx(pdist(flat).max())


def test_a_network_across_the_border(icosahedron):
    box = Atoms("Ta13", icosahedron.positions, cell=[20.0] * 3, pbc=True)
    gas = np.array([[10.0, 10, 10], [10, 3, 10], [3, 10, 10], [10, 10, 3]])
    box += Atoms("Ta4", gas, cell=box.cell, pbc=True)
    inside = box.copy()
    inside.positions += 7.0
    for atoms in (box, inside):
        atoms.wrap()
        networks = motif_networks(motifs(tetrahedra(atoms, max_edge=3.5)))
        assert networks.sizes.tolist() == [12]
        assert networks.lengths == pytest.approx([2 * np.linalg.norm(icosahedron.positions[1])])


def test_a_network_that_meets_its_image_has_no_length():
    model = AtomicModel(
        np.array([[2.0, 0, 0], [6, 0, 0], [10, 0, 0], [14, 0, 0], [18, 0, 0]]), None, np.eye(3) * 20, True
    )
    chain = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    assert largest_distance(unfolded(model, chain)) == pytest.approx(16)
    assert unfolded(model, np.concatenate([chain, [[4, 0]]])) is None
    assert largest_distance(None) == np.inf


def test_results(glass, tmp_path):
    networks, sharing, partial = motif_networks(glass), motif_sharing(glass), partial_icosahedra(glass)
    assert f"{len(networks)} of at least 5 pentagonal" in repr(networks)
    assert "vertex sharing" in repr(sharing)
    assert f"at most of {partial.n.max()}" in repr(partial)
    assert networks.table["size"].tolist() == networks.sizes.tolist()
    for name, result in (("networks", networks), ("sharing", sharing), ("partial", partial)):
        result.save(tmp_path / f"{name}.npz")
        result.save(tmp_path / f"{name}.csv")
        assert len((tmp_path / f"{name}.csv").read_text().splitlines()) == len(result.table) + 1
    with np.load(tmp_path / "networks.npz") as data:
        assert np.array_equal(data["labels"], networks.labels)
    networks.save(tmp_path / "networks.xyz")
    partial.save(tmp_path / "partial.xyz")
    with pytest.raises(ValueError, match=r"sharing\.xyz"):
        sharing.save(tmp_path / "sharing.xyz")


def test_without_motifs(glass):
    nothing = glass.select(np.zeros(len(glass.model), bool))
    networks = motif_networks(nothing)
    assert len(networks) == 0
    assert "0 of at least 5" in repr(networks)
    assert networks.lengths.shape == (0,)
    assert np.isnan(motif_sharing(nothing).with_edge_sharing)
    assert np.isnan(partial_icosahedra(nothing).fractions).all()


def test_bad_arguments(glass):
    with pytest.raises(ValueError, match="min_size is 0"):
        motif_networks(glass, min_size=0)
    for function in (motif_networks, motif_sharing, partial_icosahedra):
        with pytest.raises(ValueError, match="fold is 3"):
            function(glass, 3)


@pytest.mark.data
def test_tantalum_film(data_folder):
    positions = np.load(data_folder / "ta_film" / "ta_film_atoms.npz")["positions"]
    amorphous = np.load(data_folder / "ta_film" / "ta_film_motifs_delta_0.255.npz")["amorphous_atoms"]
    found = motifs(tetrahedra(positions, max_edge=4.12)).select(amorphous)
    networks = motif_networks(found)
    assert len(networks) == 85
    assert (networks.sizes[0], networks.atom_counts[0]) == (135, 165)
    # 28.7 angstrom by the deposited definition; printed 28.3.
    assert networks.lengths[0] == pytest.approx(28.73, abs=0.01)
    assert motif_networks(found, 4).sizes[0] == 6
    assert motif_networks(found, 6).sizes[0] == 26
    sharing = motif_sharing(found)
    assert sharing.without_vertex_sharing == pytest.approx(0.508, abs=5e-4)
    assert sharing.with_edge_sharing == pytest.approx(0.795, abs=5e-4)
    assert partial_icosahedra(found).n.max() == 10
