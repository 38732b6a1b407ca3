import runpy
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.cluster import Icosahedron
from scipy.spatial import Delaunay
from scipy.spatial.transform import Rotation

from medrange.aet.atoms import motifs, tetrahedra
from medrange.aet.atoms.motif_search import BIPYRAMID_FOLDS, MOTIF_NAMES
from medrange.aet.atoms.simplices import tetrahedron_measures

packing = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "packing.py"))["packing"]
REGULAR = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


@pytest.fixture(scope="module")
def glass():
    return packing(600, seed=4)


def names(found):
    return {frozenset(row) for row in found.vertices.tolist()}


def named_faces(found):
    rows = [frozenset(row) for row in found.vertices.tolist()]
    return {frozenset((rows[i], rows[j])) for i, j in found.face_pairs.tolist()}


def test_regular_tetrahedron_and_its_mirror_images():
    outer = [REGULAR[[i for i in range(4) if i != k]].sum(axis=0) * 2 / 3 - REGULAR[k] for k in range(4)]
    found = tetrahedra(np.concatenate([REGULAR, outer]), 1e-9, max_edge=3.0)
    assert len(found) == 5
    assert found.distortion == pytest.approx(0, abs=1e-12)
    assert found.longest_edge == pytest.approx(np.sqrt(8))
    assert len(found.face_pairs) == 4
    # The middle one is in all pairs.
    middle = [k for k, row in enumerate(found.vertices.tolist()) if sorted(row) == [0, 1, 2, 3]]
    assert (found.face_pairs == middle).any(axis=1).all()


def test_limits_include_their_value():
    # Two edges of the pentagonal bipyramid, cap-cap and the rest: 5 tetrahedra, all the same.
    ring = np.array([[np.cos(0.4 * np.pi * k), np.sin(0.4 * np.pi * k), 0] for k in range(5)])
    edge = 2 * np.sin(np.pi / 5)
    height = np.sqrt(edge**2 - 1)
    atoms = 2.5 * np.concatenate([[[0, 0, height], [0, 0, -height]], ring])
    ratio = 2 * height / edge
    found = tetrahedra(atoms, max_edge=4.0)
    assert found.distortion == pytest.approx(6 * ratio / (5 + ratio) - 1, abs=1e-12)
    assert found.longest_edge == pytest.approx(2.5 * 2 * height)
    delta, longest = found.distortion.max(), found.longest_edge.max()
    assert len(tetrahedra(atoms, delta + 1e-12, max_edge=longest)) == 5
    assert len(tetrahedra(atoms, delta - 1e-9, max_edge=longest)) == 0
    assert len(tetrahedra(atoms, max_edge=longest - 1e-9)) == 0


def test_measures_of_each_tetrahedron(glass):
    simplices = Delaunay(glass).simplices
    measures = tetrahedron_measures(glass, simplices)
    for corners, (radius, longest, mean) in zip(glass[simplices][:300], measures, strict=False):
        center = np.linalg.solve(2 * (corners[1:] - corners[0]), (corners[1:] ** 2).sum(1) - (corners[0] ** 2).sum())
        edges = [np.linalg.norm(a - b) for a, b in combinations(corners, 2)]
        assert radius == pytest.approx(np.linalg.norm(center - corners[0]), rel=1e-6)
        assert longest == pytest.approx(max(edges))
        assert mean == pytest.approx(np.mean(edges))


def test_four_atoms_in_a_plane_are_no_tetrahedron():
    square = np.array([[0.0, 0, 0], [3, 0, 0], [3, 3, 0], [0, 3, 1e-9]])
    assert np.isinf(tetrahedron_measures(square, np.array([[0, 1, 2, 3]]))[0, 0])


def test_empty_spheres_by_brute_force():
    # Every four of 40 atoms with nobody in their sphere, and what they share: no triangulation at all.
    atoms = packing(40, seed=1)
    expected = set()
    for four in combinations(range(len(atoms)), 4):
        corners = atoms[list(four)]
        center = np.linalg.solve(2 * (corners[1:] - corners[0]), (corners[1:] ** 2).sum(1) - (corners[0] ** 2).sum())
        radius = np.linalg.norm(center - corners[0])
        if radius >= 4 or (np.linalg.norm(np.delete(atoms, four, axis=0) - center, axis=1) < radius).any():
            continue
        edges = [np.linalg.norm(a - b) for a, b in combinations(corners, 2)]
        if max(edges) <= 1.255 * np.mean(edges) and max(edges) <= 4:
            expected.add(frozenset(four))
    found = tetrahedra(atoms, max_edge=4.0)
    assert len(expected) > 30
    assert names(found) == expected
    faces = {frozenset((a, b)) for a, b in combinations(expected, 2) if len(a & b) == 3}
    assert named_faces(found) == faces
    assert (np.diff(found.face_pairs, axis=1) > 0).all()


def test_tetrahedra_of_a_crystal():
    # Two regular tetrahedra per atom of fcc; the octahedra are cut by their diagonal, sqrt(2) times longer.
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True).repeat(5)
    assert len(tetrahedra(atoms, 0.2, max_edge=2.7)) == 2 * len(atoms)
    atoms.pbc = False
    cube = tetrahedra(atoms, 0.2, max_edge=2.7)
    # Eight tetrahedra per cubic cell, less those that stand out over the last planes of the 9 x 9 x 9 half cells.
    assert len(cube) == 9**3
    assert len(cube.face_pairs) == 0


def test_motifs_of_a_crystal_without_surface():
    # bcc: six equal tetrahedra per atom; four around each of 3 bonds a <100>, six around each of 4 bonds <111>.
    atoms = bulk("Fe", "bcc", a=2.9, cubic=True).repeat(6)
    found = tetrahedra(atoms, max_edge=3.0)
    assert len(found) == 6 * len(atoms)
    assert found.distortion == pytest.approx(6 / (2 + 4 * np.sqrt(3) / 2) - 1)
    assert len(found.face_pairs) == 2 * len(found)
    counts = {"quadrilateral": 3 * len(atoms), "hexagonal": 4 * len(atoms)}
    assert motifs(found).counts == {name: counts.get(name, 0) for name in MOTIF_NAMES.values()}


def test_another_limit_of_the_same_triangulation(glass):
    found = tetrahedra(glass, max_edge=4.0)
    for delta, max_edge in ((0.1, None), (0.3, 3.6)):
        again = found.with_delta(delta, max_edge=max_edge)
        fresh = tetrahedra(glass, delta, max_edge=max_edge or 4.0)
        assert again.triangulation is found.triangulation
        assert names(again) == names(fresh)
        assert named_faces(again) == named_faces(fresh)
        assert again.parameters == fresh.parameters


def test_alpha_radius(glass):
    small, large = (tetrahedra(glass, 10.0, max_edge=50.0, alpha_radius=alpha) for alpha in (2.2, 1e3))
    measures = tetrahedron_measures(glass, Delaunay(glass).simplices)
    assert len(small) == (measures[:, 0] < 2.2).sum()
    assert len(large) == ((measures[:, 0] < 1e3) & (measures[:, 1] <= 50)).sum()


def test_amorphous_ones(glass):
    found = tetrahedra(glass, max_edge=4.0)
    chosen = np.flatnonzero(glass[:, 0] < np.median(glass[:, 0]))
    expected = [sum(atom in set(chosen.tolist()) for atom in row) >= 3 for row in found.vertices.tolist()]
    assert 0 < sum(expected) < len(found)
    assert found.amorphous(chosen).tolist() == expected
    mask = np.zeros(len(glass), bool)
    mask[chosen] = True
    assert found.amorphous(mask).tolist() == expected


def test_invariant_under_motion_and_order(glass):
    found = tetrahedra(glass, max_edge=4.0)
    turned = Rotation.from_rotvec([1.0, 0.4, -0.2]).apply(glass) + np.array([500.0, 20.0, -300.0])
    order = np.random.default_rng(0).permutation(len(glass))
    place = np.argsort(order)
    for positions, rename in ((turned, np.arange(len(glass))), (glass[order], place)):
        other = tetrahedra(positions, max_edge=4.0)
        assert names(other) == {frozenset(rename[list(row)].tolist()) for row in names(found)}
        assert len(other.face_pairs) == len(found.face_pairs)
    scaled = tetrahedra(glass * 1.5, max_edge=6.0, alpha_radius=6.0)
    assert names(scaled) == names(found)


@pytest.fixture(scope="module")
def box():
    side = 17.0
    points = np.random.default_rng(8).random((270, 3)) * side
    for _ in range(100):
        offset = points[:, None] - points
        offset -= side * np.round(offset / side)
        distance = np.linalg.norm(offset, axis=2) + np.eye(len(points)) * 10
        points = (points + (offset * (np.maximum(2.75 - distance, 0) / distance / 2)[..., None]).sum(axis=1)) % side
    return Atoms("Ta270", points, cell=[side] * 3, pbc=True)


def test_box_without_surface_is_the_middle_of_many(box):
    found = tetrahedra(box, max_edge=4.0)
    tiled = box.repeat(3)
    tiled.pbc = False
    large = tetrahedra(tiled, max_edge=4.0)
    n = len(box)
    # Of each set of copies, the one whose lowest atom stands in the middle box.
    lowest = np.take_along_axis(large.vertices, (large.vertices % n).argmin(axis=1)[:, None], axis=1)[:, 0]
    middle = large.vertices[lowest // n == 13] % n
    assert len(middle) == len(found)
    assert {frozenset(row) for row in middle.tolist()} == names(found)
    kinds, many = motifs(found), motifs(large)
    for fold in BIPYRAMID_FOLDS:
        # A ring can begin at another tetrahedron: compared are sets of atoms.
        caps = many.caps[fold]
        first = np.take_along_axis(caps, (caps % n).argmin(axis=1)[:, None], axis=1)[:, 0]
        inside = many.atoms(fold)[first // n == 13] % n
        assert len(inside) == len(kinds.atoms(fold))
        assert {frozenset(r) for r in inside.tolist()} == {frozenset(r) for r in kinds.atoms(fold).tolist()}
    assert kinds.counts["pentagonal"] > 20


def test_box_does_not_know_where_it_begins(box):
    moved = box.copy()
    moved.positions += [5.3, -40.0, 8.1]
    first, second = tetrahedra(box, max_edge=4.0), tetrahedra(moved, max_edge=4.0)
    assert names(first) == names(second)
    assert named_faces(first) == named_faces(second)
    assert motifs(first).counts == motifs(second).counts


def test_film_that_repeats_in_two_directions(box):
    film = box.copy()
    film.pbc = (True, True, False)
    count = len(tetrahedra(film, max_edge=4.0))
    tiled = film.repeat((2, 2, 1))
    assert len(tetrahedra(tiled, max_edge=4.0)) == 4 * count


def test_result(glass, tmp_path):
    before = glass.copy()
    found = tetrahedra(glass, max_edge=4.0)
    assert np.array_equal(glass, before)
    assert "edges <= 4 Å" in repr(found)
    assert found.in_tetrahedra.sum() == len(np.unique(found.vertices))
    assert (found.table["shared_faces"].sum() // 2) == len(found.face_pairs)
    found.save(tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz") as data:
        assert np.array_equal(data["face_pairs"], found.face_pairs)
    found.save(tmp_path / "t.csv")
    found.save(tmp_path / "t.xyz")
    assert found.triangulation.n_delaunay == len(Delaunay(glass).simplices)


def test_nothing_accepted(glass):
    found = tetrahedra(glass, 0.0, max_edge=4.0)
    assert len(found) == 0
    assert found.face_pairs.shape == (0, 2)
    assert motifs(found).counts == dict.fromkeys(MOTIF_NAMES.values(), 0)
    assert all(np.isnan(share) for share in motifs(found).fractions().values())


@pytest.mark.data
def test_tantalum_film(data_folder):
    positions = np.load(data_folder / "ta_film" / "ta_film_atoms.npz")["positions"]
    published = np.load(data_folder / "ta_film" / "ta_film_motifs_delta_0.255.npz")
    found = tetrahedra(positions, 0.255, max_edge=4.12)
    assert found.triangulation.n_delaunay == 51463
    assert len(found.triangulation.simplices) == 43786
    rows = [frozenset(row) for row in published["tetrahedra"].tolist()]
    assert len(found) == 19655
    assert names(found) == set(rows)
    assert len(found.face_pairs) == 24820
    assert named_faces(found) == {frozenset((rows[i], rows[j])) for i, j in published["face_pairs"].tolist()}
    amorphous = found.vertices[found.amorphous(published["amorphous_atoms"])]
    assert len(amorphous) == 16114
    assert {frozenset(r) for r in amorphous.tolist()} == {rows[k] for k in published["amorphous_tetrahedra"].tolist()}


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (np.full((8, 3), np.inf), "infinite"),
        (REGULAR * 2, "4 atoms; this analysis needs at least 5"),
        (2.5 * np.indices((4, 4, 1)).reshape(3, -1).T, "in one plane"),
        (np.concatenate([2.5 * np.indices((3, 3, 3)).reshape(3, -1).T, [[0, 0, 1e-9]]]), "closer than"),
        (1e-10 * np.indices((3, 3, 3)).reshape(3, -1).T, "meters"),
        (np.zeros((0, 3)), "0 atoms"),
    ],
    ids=["inf", "few", "plane", "duplicate", "meters", "none"],
)
def test_bad_positions(positions, message):
    with pytest.raises(ValueError, match=message):
        tetrahedra(positions, max_edge=4.0)


def test_bad_arguments(glass, box):
    with pytest.raises(ValueError, match="pair_distribution"):
        tetrahedra(glass)
    with pytest.raises(ValueError, match=r"delta is -0\.1"):
        tetrahedra(glass, -0.1, max_edge=4.0)
    with pytest.raises(ValueError, match="delta is nan"):
        tetrahedra(glass, np.nan, max_edge=4.0)
    with pytest.raises(ValueError, match="max_edge is 0"):
        tetrahedra(glass, max_edge=0)
    with pytest.raises(ValueError, match="alpha_radius is nan"):
        tetrahedra(glass, max_edge=4.0, alpha_radius=np.nan)
    with pytest.raises(ValueError, match="less than four alpha radii"):
        tetrahedra(box, max_edge=4.0, alpha_radius=5.0)
    with pytest.raises(TypeError, match="got ndarray"):
        motifs(glass)
    with pytest.raises(ValueError, match="delta is -1"):
        tetrahedra(Icosahedron("Ta", 2, 4.0), max_edge=4.0).with_delta(-1)
