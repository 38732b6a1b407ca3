import runpy
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.cluster import Icosahedron
from scipy.spatial.transform import Rotation

from medrange.aet.atoms import motif_geometry, motifs, tetrahedra
from medrange.aet.atoms.motif_search import BIPYRAMID_FOLDS

packing = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "packing.py"))["packing"]


@pytest.fixture(scope="module")
def glass():
    return motifs(tetrahedra(packing(600, seed=7), max_edge=4.0))


def bipyramid(fold, height, radius=2.4):
    angle = 2 * np.pi * np.arange(fold) / fold
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], axis=1)
    return np.concatenate([[[0, 0, height], [0, 0, -height]], ring])


def geometry(positions, fold=5):
    return motif_geometry(motifs(tetrahedra(positions, 1.0, max_edge=8.0, alpha_radius=8.0)), fold)


def test_ideal_pentagonal_bipyramid():
    edge = 2 * np.sin(np.pi / 5)
    shape = geometry(2.5 * bipyramid(5, np.sqrt(edge**2 - 1), 1.0))
    assert shape.alpha_gamma == pytest.approx([np.sqrt((10 - 2 * np.sqrt(5)) / 5)])
    assert shape.beta_gamma == pytest.approx([1])
    assert shape.theta == pytest.approx([0], abs=1e-6)
    angles, counts = np.unique(shape.bond_angles.round(6), return_counts=True)
    # Where all cap-ring and ring distances are one: triangles of 60, the pentagon's 108 seen from caps and ring, and
    # triangles with the cap-cap distance.
    half = np.degrees(np.arcsin(np.sqrt((10 - 2 * np.sqrt(5)) / 5) / 2))
    expected = {60.0: 10 + 20, 108.0: 10 + 5, round(2 * half, 6): 5, round(90 - half, 6): 10}
    assert dict(zip(angles.tolist(), counts.tolist(), strict=True)) == expected
    assert shape.bond_angles.shape == (1, 60)


@pytest.mark.parametrize("fold", BIPYRAMID_FOLDS)
def test_regular_bipyramid_of_any_fold(fold):
    shape = geometry(bipyramid(fold, 1.3), fold)
    assert shape.alpha == pytest.approx([2.6])
    assert shape.beta == pytest.approx(np.full((1, 2 * fold), np.hypot(2.4, 1.3)))
    assert shape.gamma == pytest.approx(np.full((1, fold), 4.8 * np.sin(np.pi / fold)))
    assert shape.theta == pytest.approx([0], abs=1e-6)
    assert len(shape.phi) == 0


@pytest.mark.parametrize("tilt", [3.0, 12.0])
def test_tilt_of_the_caps(tilt):
    positions = bipyramid(5, 1.3)
    positions[:2] = Rotation.from_euler("x", tilt, degrees=True).apply(positions[:2])
    # A ring that is not flat has the same plane: up and down cancel in cos(2 phi).
    positions[2:, 2] += 0.2 * np.cos(2 * np.arange(5) * 2 * np.pi / 5)
    turned = Rotation.from_rotvec([1.0, 2.0, -0.5]).apply(positions)
    assert geometry(turned).theta == pytest.approx([tilt], abs=1e-5)


def test_icosahedron():
    shape = motif_geometry(motifs(tetrahedra(Icosahedron("Ta", 2, 4.0), max_edge=3.5)))
    assert shape.theta == pytest.approx(0, abs=1e-5)
    # The caps are the center and a corner of the icosahedron.
    assert shape.alpha_gamma == pytest.approx(np.sin(2 * np.pi / 5))
    # Dihedral angle of the dodecahedron.
    assert len(shape.phi) == 30
    assert shape.phi == pytest.approx(np.degrees(np.arccos(-1 / np.sqrt(5))), abs=1e-6)


def plain_incenter(corners):
    areas = []
    for k in range(4):
        p, q, r = np.delete(corners, k, axis=0)
        areas.append(np.linalg.norm(np.cross(q - p, r - p)))
    return np.average(corners, axis=0, weights=areas)


def plain_normal(points):
    return np.linalg.svd(points - points.mean(axis=0))[2][2]


def test_each_bipyramid_of_a_glass_by_hand(glass):
    shape, positions = motif_geometry(glass), glass.model.positions
    vertices = glass.tetrahedra.vertices
    normals, middles = [], []
    for k, row in enumerate(glass.pentagonal):
        a, b = positions[glass.caps[5][k]]
        ring = positions[glass.ring_atoms[5][k]]
        assert shape.alpha[k] == pytest.approx(np.linalg.norm(a - b))
        assert shape.beta[k] == pytest.approx([np.linalg.norm(r - c) for c in (a, b) for r in ring])
        assert shape.gamma[k] == pytest.approx([np.linalg.norm(ring[i] - ring[(i + 1) % 5]) for i in range(5)])
        cosine = abs(plain_normal(ring) @ (b - a)) / np.linalg.norm(b - a)
        assert shape.theta[k] == pytest.approx(np.degrees(np.arccos(cosine)), abs=1e-6)
        skeleton = np.array([plain_incenter(positions[vertices[t]]) for t in row])
        normals.append(plain_normal(skeleton))
        middles.append(skeleton.mean(axis=0))
    assert len(shape.phi) > 50
    for (i, j), phi in zip(shape.pairs, shape.phi, strict=True):
        assert len(set(glass.pentagonal[i]) & set(glass.pentagonal[j])) == 2
        (cap,) = set(glass.caps[5][i]) & set(glass.caps[5][j])
        outward = [normals[k] * np.sign(normals[k] @ (middles[k] - positions[cap])) for k in (i, j)]
        assert phi == pytest.approx(180 - np.degrees(np.arccos(outward[0] @ outward[1])), abs=1e-5)


def test_bond_angles_add_up_in_triangles(glass):
    # In each of the ten triangles cap, ring, ring the angles make 180 degrees, and so in the five of both caps.
    angles = motif_geometry(glass).bond_angles
    assert angles.shape == (len(glass.pentagonal), 60)
    assert np.isfinite(angles).all()
    first, row = glass.atoms(5)[0], angles[0]
    positions = glass.model.positions[first]

    def angle(a, center, b):
        u, v = positions[a] - positions[center], positions[b] - positions[center]
        return np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v)))

    bonded = {0: [1, 2, 3, 4, 5, 6], 1: [0, 2, 3, 4, 5, 6]}
    bonded |= {2 + k: [0, 1, 2 + (k - 1) % 5, 2 + (k + 1) % 5] for k in range(5)}
    expected = [angle(a, c, b) for c, others in bonded.items() for i, a in enumerate(others) for b in others[i + 1 :]]
    assert row == pytest.approx(expected)


def test_invariant_under_motion_and_scale(glass):
    shape = motif_geometry(glass)
    turned = Rotation.from_rotvec([-1.0, 0.3, 2.0]).apply(glass.model.positions.copy()) * 1.3 + np.array(
        [90.0, 4.0, -2.0]
    )
    other = motif_geometry(motifs(tetrahedra(turned, max_edge=5.2, alpha_radius=5.2)))
    for name, scale in (("alpha", 1.3), ("theta", 1), ("phi", 1), ("alpha_gamma", 1), ("beta_gamma", 1)):
        # Tetrahedra are numbered anew: compared are all values.
        assert np.sort(getattr(other, name)) == pytest.approx(np.sort(getattr(shape, name)) * scale, rel=1e-6)


def test_across_the_border_of_a_box():
    cluster = Icosahedron("Ta", 2, 4.0)
    gas = np.array([[10.0, 10, 10], [10, 3, 10], [3, 10, 10], [10, 10, 3]])
    box = Atoms("Ta17", np.concatenate([cluster.positions, gas]), cell=[20.0] * 3, pbc=True)
    box.wrap()
    shape = motif_geometry(motifs(tetrahedra(box, max_edge=3.5)))
    assert shape.alpha_gamma == pytest.approx(np.sin(2 * np.pi / 5))
    assert shape.phi == pytest.approx(np.degrees(np.arccos(-1 / np.sqrt(5))), abs=1e-6)


def test_result(glass, tmp_path):
    shape = motif_geometry(glass)
    assert "pentagonal bipyramids" in repr(shape)
    assert shape.table["alpha_gamma"].to_numpy() == pytest.approx(shape.alpha / shape.gamma.mean(axis=1))
    shape.save(tmp_path / "shape.csv")
    shape.save(tmp_path / "shape.npz")
    with np.load(tmp_path / "shape.npz") as data:
        assert np.array_equal(data["phi"], shape.phi)
    nothing = motif_geometry(glass.select(np.zeros(len(glass.model), bool)))
    assert len(nothing.alpha) == 0
    assert nothing.bond_angles.shape == (0, 60)
    assert "0 pentagonal" in repr(nothing)
    with pytest.raises(ValueError, match="fold is 3"):
        motif_geometry(glass, 3)


@pytest.mark.data
def test_tantalum_film(data_folder):
    positions = np.load(data_folder / "ta_film" / "ta_film_atoms.npz")["positions"]
    amorphous = np.load(data_folder / "ta_film" / "ta_film_motifs_delta_0.255.npz")["amorphous_atoms"]
    whole = motifs(tetrahedra(positions, max_edge=4.12))
    shape = motif_geometry(whole.select(amorphous))
    # Section 10 of the specification, amorphous part of the film; printed 10.0, 1.025, 120.7 (of three samples).
    assert shape.theta.mean() == pytest.approx(10.06, abs=0.01)
    assert shape.phi.mean() == pytest.approx(120.79, abs=0.01)
    assert shape.alpha_gamma.mean() == pytest.approx(1.0254, abs=1e-4)
    assert shape.beta_gamma.mean() == pytest.approx(0.983, abs=5e-4)
    assert motif_geometry(whole).theta.mean() == pytest.approx(10.02, abs=0.01)
