import runpy
from pathlib import Path

import numpy as np
import pytest
from ase.cluster import Icosahedron
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medrange.aet.atoms import motif_fractions, motifs, tetrahedra
from medrange.aet.atoms.motif_search import BIPYRAMID_FOLDS, MOTIF_NAMES
from medrange.aet.atoms.rings import open_chains

benchmark = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "packing.py"))
packing, plain_motifs = benchmark["packing"], benchmark["plain_motifs"]


@pytest.fixture(scope="module")
def glass():
    return tetrahedra(packing(800, seed=6), max_edge=4.0)


def bipyramid(fold, edge=3.0):
    """Caps and a regular ring, cap-ring and ring distances all ``edge``, where the fold allows it."""
    radius = edge / 2 / np.sin(np.pi / fold)
    angle = 2 * np.pi * np.arange(fold) / fold
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], axis=1)
    # Flat enough for the caps to be neighbors across a ring of three.
    height = 1.0 if fold == 3 else np.sqrt(max(edge**2 - radius**2, (0.45 * edge) ** 2))
    return np.concatenate([[[0, 0, height], [0, 0, -height]], ring])


def helix(count):
    """Boerdijk-Coxeter helix of ``count`` regular tetrahedra with edges of 3 angstrom."""
    theta, radius, pitch = np.arccos(-2 / 3), 3 * np.sqrt(27) / 10, 3 / np.sqrt(10)
    k = np.arange(count + 3)
    return np.stack([radius * np.cos(k * theta), radius * np.sin(k * theta), pitch * k], axis=1)


def as_sets(found, fold, rename=None):
    """Motifs as sets of tetrahedra, these as sets of atoms: numbers of tetrahedra mean nothing."""
    vertices = found.tetrahedra.vertices if rename is None else rename[found.tetrahedra.vertices]
    rows = [frozenset(row) for row in vertices.tolist()]
    return [frozenset(rows[t] for t in motif) for motif in found.of_fold(fold).tolist()]


@pytest.mark.parametrize("fold", BIPYRAMID_FOLDS)
def test_one_bipyramid(fold):
    found = motifs(tetrahedra(bipyramid(fold), 1.0, max_edge=6.0, alpha_radius=8.0))
    assert found.counts == {name: int(name == MOTIF_NAMES[fold]) for name in MOTIF_NAMES.values()}
    assert found.caps[fold].tolist() == [[0, 1]]
    ring, row = found.ring_atoms[fold][0], found.of_fold(fold)[0]
    assert sorted(ring.tolist()) == list(range(2, fold + 2))
    # Neighbors in the ring follow each other, and atom k lies between the tetrahedra k and k + 1.
    assert set(np.abs(np.diff(ring)).tolist()) <= {1, fold - 1}
    for k in range(fold):
        both = set(found.tetrahedra.vertices[row[k]]) & set(found.tetrahedra.vertices[row[(k + 1) % fold]])
        assert both == {0, 1, ring[k]}
    assert found.atoms(fold).shape == (1, fold + 2)


def test_rings_of_three_and_of_nine_are_no_motifs():
    for fold, count in ((3, "n_three_rings"), (9, "n_larger_rings")):
        found = motifs(tetrahedra(bipyramid(fold), 2.0, max_edge=20.0, alpha_radius=50.0))
        assert getattr(found, count) == 1
        assert sum(found.counts[MOTIF_NAMES[n]] for n in BIPYRAMID_FOLDS) == 0


def test_an_open_ring_is_no_motif():
    # One of the five tetrahedra fails: what is left is a chain of four, with two open ends.
    atoms = bipyramid(5)
    atoms[2] *= 1.02
    atoms[3] *= 1.12
    whole = tetrahedra(atoms, 1.0, max_edge=4.0)
    assert motifs(whole).counts["pentagonal"] == 1
    longest = np.sort(whole.longest_edge)
    part = motifs(whole.with_delta(1.0, max_edge=longest[-1] - 1e-6))
    assert part.counts["pentagonal"] == 0


def test_icosahedron():
    found = motifs(tetrahedra(Icosahedron("Ta", 2, 4.0), max_edge=3.5))
    assert found.counts == {name: 12 * (name == "pentagonal") for name in MOTIF_NAMES.values()}
    assert (found.caps[5][:, 0] == 0).all()
    assert sorted(found.caps[5][:, 1].tolist()) == list(range(1, 13))
    assert np.bincount(found.pentagonal.ravel()).tolist() == [3] * 20
    assert found.fractions()["pentagonal"] == 1


@pytest.mark.parametrize(("count", "triplets"), [(2, 0), (3, 1), (4, 2), (5, 2), (9, 2)])
def test_chains_of_tetrahedra(count, triplets):
    found = motifs(tetrahedra(helix(count), 1e-6, max_edge=3.1))
    assert len(found.tetrahedra) == count
    assert found.counts == {name: triplets * (name == "triplet") for name in MOTIF_NAMES.values()}
    degree = (found.tetrahedra.neighbors >= 0).sum(axis=1)
    assert (degree[found.triplet[:, 2]] == 1).all()


def graph(count, links):
    """Neighbors (n, 4) of a graph in which no node has more than four."""
    neighbors = np.full((count, 4), -1, np.int32)
    for i, j in links:
        for a, b in ((i, j), (j, i)):
            neighbors[a, np.flatnonzero(neighbors[a] < 0)[0]] = b
    return neighbors


@pytest.mark.parametrize("length", [3, 4, 8, 9])
def test_which_cycles_keep_triplets_away(length):
    # A cycle with a tail of one: the chain tail-a-next has an open end but lies on the cycle.
    links = [(k, (k + 1) % length) for k in range(length)] + [(0, length)]
    chains = open_chains(graph(length + 1, links), np.zeros(length + 1, bool), 4, 8)
    assert len(chains) == (0 if 4 <= length <= 8 else 2)


def test_a_chord_does_not_save_a_triplet():
    # Two triangles on a common side are a cycle of four with a chord; its only chordless cycles have three.
    links = [(0, 1), (1, 2), (2, 0), (1, 3), (2, 3), (0, 4)]
    assert len(open_chains(graph(5, links), np.zeros(5, bool), 4, 8)) == 0


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), max_size=45))
def test_chains_of_any_graph(wanted):
    links, degree = set(), np.zeros(25, int)
    for i, j in wanted:
        link = (min(i, j), max(i, j))
        if i != j and link not in links and max(degree[i], degree[j]) < 4:
            links.add(link)
            degree[[i, j]] += 1
    links = sorted(links)
    # The same four atoms everywhere: cycles then have no caps, and only the chains are compared.
    expected = plain_motifs(np.tile(np.arange(4), (25, 1)), np.array(links, int).reshape(-1, 2))[3]
    chains = open_chains(graph(25, links), np.zeros(25, bool), 4, 8)
    assert {frozenset(row) for row in chains.tolist()} == expected
    assert len(chains) == len(expected)


@pytest.mark.parametrize("delta", [0.15, 0.2, 0.255, 0.35])
def test_as_the_plain_search_of_all_cycles(glass, delta):
    chosen = glass.with_delta(delta)
    found, expected = motifs(chosen), plain_motifs(chosen.vertices, chosen.face_pairs)
    for fold in MOTIF_NAMES:
        rows = found.of_fold(fold).tolist()
        assert {frozenset(row) for row in rows} == expected[fold]
        assert len(rows) == len(expected[fold])
    assert found.counts["triplet"] > 0
    assert found.counts["pentagonal"] > 0


def test_caps_and_ring_atoms_are_those_of_the_tetrahedra(glass):
    found = motifs(glass)
    for fold in BIPYRAMID_FOLDS:
        for row, caps, ring in zip(found.of_fold(fold), found.caps[fold], found.ring_atoms[fold], strict=True):
            corners = [set(glass.vertices[t].tolist()) for t in row]
            assert set.intersection(*corners) == set(caps.tolist())
            for k in range(fold):
                assert corners[k] & corners[(k + 1) % fold] - set(caps.tolist()) == {int(ring[k])}


def test_selection(glass):
    found = motifs(glass)
    x = glass.model.positions[:, 0]
    chosen = x > np.median(x)
    inside = glass.amorphous(chosen)
    for rule, keep in (("any", lambda row: inside[row].any()), ("half", lambda row: inside[row].mean() >= 0.5)):
        part = found.select(chosen, rule=rule)
        for fold in MOTIF_NAMES:
            kept = [keep(row) for row in found.of_fold(fold)]
            assert np.array_equal(part.of_fold(fold), found.of_fold(fold)[kept])
            if fold in BIPYRAMID_FOLDS:
                assert np.array_equal(part.caps[fold], found.caps[fold][kept])
                assert np.array_equal(part.ring_atoms[fold], found.ring_atoms[fold][kept])
    assert found.select(chosen, rule="half").counts["pentagonal"] < found.select(chosen).counts["pentagonal"]
    with pytest.raises(ValueError, match="rule is 'most'"):
        found.select(chosen, rule="most")
    with pytest.raises(ValueError, match="mask of atoms"):
        found.select(chosen[:-1])


def test_fractions(glass):
    chosen = glass.model.positions[:, 0] > 10
    found, inside = motifs(glass), glass.amorphous(chosen)
    shares = found.fractions(chosen)
    for fold, name in MOTIF_NAMES.items():
        members = {t for row in found.of_fold(fold).tolist() for t in row if inside[t]}
        assert shares[name] == pytest.approx(len(members) / inside.sum())
    scan = motif_fractions(glass, [0.1, 0.255], amorphous=chosen)
    assert scan.fractions["pentagonal"][1] == shares["pentagonal"]
    assert scan.n_tetrahedra[1] == inside.sum()
    alone = glass.with_delta(0.1)
    assert scan.atom_fraction[0] == pytest.approx(alone.in_tetrahedra[chosen].mean())
    assert scan.table["delta"].tolist() == [0.1, 0.255]
    assert "2 limits" in repr(scan)
    whole = motif_fractions(glass, [0.255])
    assert whole.n_tetrahedra[0] == len(glass)
    with pytest.raises(ValueError, match="deltas is empty"):
        motif_fractions(glass, [])
    with pytest.raises(ValueError, match=r"delta is -0\.1"):
        motif_fractions(glass, [-0.1])


def test_invariant_under_motion_and_order(glass):
    found, positions = motifs(glass), glass.model.positions
    order = np.random.default_rng(0).permutation(len(positions))
    turned = Rotation.from_rotvec([2.0, 0.1, -1.0]).apply(positions.copy()) + np.array([10.0, 0.0, 700.0])
    for other, rename in ((turned, np.arange(len(positions))), (positions[order], order)):
        again = motifs(tetrahedra(other, max_edge=4.0))
        assert again.counts == found.counts
        for fold in MOTIF_NAMES:
            assert set(as_sets(again, fold, rename)) == set(as_sets(found, fold))


def test_result(glass, tmp_path):
    found = motifs(glass)
    assert f"{found.counts['pentagonal']} pentagonal" in repr(found)
    assert found.table["count"].tolist() == list(found.counts.values())
    assert found.table["fold"].tolist() == list(MOTIF_NAMES)
    found.save(tmp_path / "motifs.npz")
    with np.load(tmp_path / "motifs.npz") as data:
        assert np.array_equal(data["hexagonal"], found.hexagonal)
        assert np.array_equal(data["hexagonal_caps"], found.caps[6])
    found.save(tmp_path / "motifs.csv")
    found.save(tmp_path / "motifs.xyz")
    assert "pentagonal" in (tmp_path / "motifs.xyz").read_text().splitlines()[1]
    numbers = found.to_ase().arrays["pentagonal"]
    assert numbers.sum() == 7 * found.counts["pentagonal"]
    motif_fractions(glass, [0.2]).save(tmp_path / "scan.csv")
    assert (tmp_path / "scan.csv").read_text().startswith("delta,tetrahedra,triplet")
    for fold, call in ((2, found.of_fold), (3, found.atoms), (9, found.of_fold)):
        with pytest.raises(ValueError, match=f"fold is {fold}"):
            call(fold)


@pytest.mark.data
def test_tantalum_film(data_folder):
    positions = np.load(data_folder / "ta_film" / "ta_film_atoms.npz")["positions"]
    published = np.load(data_folder / "ta_film" / "ta_film_motifs_delta_0.255.npz")
    amorphous = published["amorphous_atoms"]
    accepted = tetrahedra(positions, max_edge=4.12)
    found = motifs(accepted)
    rows = [frozenset(row) for row in published["tetrahedra"].tolist()]
    for fold, count in ((3, 1336), (4, 1800), (5, 2053), (6, 1180), (7, 95), (8, 5)):
        ours = as_sets(found, fold)
        assert len(ours) == count
        assert set(ours) == {frozenset(rows[t] for t in motif) for motif in published[f"motif{fold}"].tolist()}
    assert (found.n_three_rings, found.n_larger_rings) == (239, 0)
    assert found.select(amorphous).counts["pentagonal"] == 1979
    shares = found.fractions(amorphous)
    # Section 10, within half a unit of its last digit; the third is 0.4045 in four.
    figures = [shares[MOTIF_NAMES[fold]] for fold in (3, 4, 5, 6)]
    assert figures == pytest.approx([0.123, 0.329, 0.405, 0.297], abs=5.1e-4)
    # Section 10: 95.1 % of the amorphous atoms belong to tetrahedra at delta 0.2.
    scan = motif_fractions(accepted, [0.2, 0.255], amorphous=amorphous)
    assert scan.atom_fraction[0] == pytest.approx(0.951, abs=5e-4)
    assert scan.n_tetrahedra[1] == 16114
