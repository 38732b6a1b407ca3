"""Comparison of models: known displacements, an independent matching, symmetry, rigid shifts, edge cases."""

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from medrange.aet import compare_models
from medrange.aet.atoms.model import AtomicModel
from medrange.aet.tomography import comparison


def glass(count=300, seed=0, spacing=2.2, size=22.0):
    """Random positions no closer than ``spacing``."""
    rng = np.random.default_rng(seed)
    kept = [rng.uniform(0, size, 3)]
    while len(kept) < count:
        place = rng.uniform(0, size, 3)
        if np.linalg.norm(np.array(kept) - place, axis=1).min() > spacing:
            kept.append(place)
    return np.array(kept)


def displaced(positions, sigma, seed=1):
    return positions + np.random.default_rng(seed).normal(0, sigma, positions.shape)


def test_known_displacements_and_shift():
    a = glass(400)
    noise = np.random.default_rng(2).normal(0, (0.05, 0.1, 0.2), a.shape)
    compared = compare_models(a, a + noise + (0.3, -0.2, 0.1))
    assert compared.matched_fraction == 1
    assert np.array_equal(compared.pairs, np.repeat(np.arange(400)[:, None], 2, axis=1))
    # With every partner known the figures are plain statistics of the noise.
    assert compared.rmsd_xyz == pytest.approx(noise.std(axis=0, ddof=1), abs=1e-12)
    assert compared.rmsd == pytest.approx(np.sqrt(noise.var(axis=0, ddof=1).sum()), abs=1e-12)
    assert compared.shift == pytest.approx(noise.mean(axis=0) + np.array([0.3, -0.2, 0.1]), abs=1e-12)
    assert compared.deviations.mean(axis=0) == pytest.approx(0, abs=1e-12)


def test_same_model_has_no_deviation():
    compared = compare_models(glass(), glass())
    assert (compared.rmsd, compared.matched_fraction) == (0, 1)


def plain_pairs(a, b, max_distance, mutual):
    """Shift and pairs by loops over all distances, from no shift."""
    shift = np.zeros(3)
    for _ in range(100):
        distances = np.linalg.norm(b[None] - shift - a[:, None], axis=2)
        pairs = []
        for j in range(len(b)):
            i = int(distances[:, j].argmin())
            if distances[i, j] <= max_distance and (not mutual or int(distances[i].argmin()) == j):
                pairs.append((i, j))
        pairs = np.array(sorted(pairs))
        moved = (b[pairs[:, 1]] - shift - a[pairs[:, 0]]).mean(axis=0)
        shift = shift + moved
        if np.abs(moved).sum() < 1e-4:
            return pairs, shift
    raise AssertionError


@pytest.mark.parametrize("matching", ["mutual", "nearest"])
def test_pairs_and_shift_of_an_independent_implementation(matching):
    a, b = glass(250), displaced(np.delete(glass(250), np.arange(0, 250, 9), axis=0), 0.5) + 0.1
    pairs, shift = plain_pairs(a, b, 1.5, matching == "mutual")
    compared = compare_models(a, b, matching=matching, start_shift=(0, 0, 0))
    assert np.array_equal(compared.pairs, pairs)
    assert compared.shift == pytest.approx(shift, abs=1e-9)
    differences = b[pairs[:, 1]] - a[pairs[:, 0]]
    assert compared.rmsd == pytest.approx(np.sqrt(differences.var(axis=0, ddof=1).sum()), abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    shift=st.tuples(*[st.floats(-80, 80)] * 3),
    sigma=st.floats(0, 0.4),
    dropped=st.integers(0, 80),
)
def test_mutual_matching_is_symmetric_and_blind_to_rigid_shifts(seed, shift, sigma, dropped):
    rng = np.random.default_rng(seed)
    # Atoms are missing on one side only of a, and at random from b.
    a = glass(200)
    b = displaced(a, sigma, seed)[rng.permutation(200)[: 200 - dropped // 2]]
    a = a[np.argsort(a[:, 0])[dropped:]]
    forward, backward = compare_models(a, b), compare_models(b, a)
    assert np.array_equal(forward.pairs[np.lexsort(forward.pairs.T[::-1])], forward.pairs)
    assert {*map(tuple, forward.pairs)} == {(i, j) for j, i in backward.pairs}
    assert backward.shift == pytest.approx(-forward.shift, abs=1e-9)
    assert backward.rmsd == pytest.approx(forward.rmsd, abs=1e-9)
    assert len(np.unique(forward.pairs[:, 0])) == len(np.unique(forward.pairs[:, 1])) == len(forward.pairs)
    moved = compare_models(a, b + np.array(shift))
    assert np.array_equal(moved.pairs, forward.pairs)
    assert moved.shift == pytest.approx(forward.shift + shift, abs=1e-9)
    assert moved.rmsd == pytest.approx(forward.rmsd, abs=1e-9)


def test_order_of_the_atoms_is_irrelevant():
    a, b = glass(), displaced(glass(), 0.3)
    order = np.random.default_rng(3).permutation(len(b))
    compared, shuffled = compare_models(a, b), compare_models(a, b[order])
    assert {*map(tuple, compared.pairs)} == {(i, order[j]) for i, j in shuffled.pairs}
    assert shuffled.rmsd == pytest.approx(compared.rmsd, abs=1e-9)


def test_published_rule_lets_two_atoms_share_a_partner():
    a = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0]])
    b = np.array([[0.0, 0, 0.5], [0, 0, -0.6], [10, 0, 0], [0, 10, 0]])
    start = (0, 0, 0)
    nearest = compare_models(a, b, matching="nearest", start_shift=start)
    assert nearest.pairs.tolist() == [[0, 0], [0, 1], [1, 2], [2, 3]]
    assert nearest.matched_fraction == pytest.approx(4 / 3)
    mutual = compare_models(a, b, start_shift=start)
    assert mutual.pairs.tolist() == [[0, 0], [1, 2], [2, 3]]
    assert mutual.matched_fraction == 1
    assert mutual.matched_fraction_second == 0.75
    assert [list(index) for index in mutual.unmatched] == [[], [1]]
    # Seen from b, every atom of a has one nearest: the published rule depends on the order.
    assert len(compare_models(b, a, matching="nearest", start_shift=start).pairs) == 3


def test_no_atoms_one_atom_and_nothing_matched():
    empty = np.zeros((0, 3))
    for a, b in ((empty, glass(20)), (glass(20), empty), ([], [])):
        compared = compare_models(a, b)
        assert compared.pairs.shape == (0, 2)
        assert np.isnan(compared.rmsd)
        assert np.isnan(compared.shift).all()
        assert compared.n_atoms == (len(a), len(b))
        assert "too few for a deviation" in repr(compared)
    assert compare_models(glass(20), empty).matched_fraction == 0
    assert np.isnan(compare_models(empty, glass(20)).matched_fraction)
    single = compare_models([[1.0, 2, 3]], [[1.5, 2, 3]])
    assert single.matched_fraction == 1
    assert single.shift == pytest.approx([0.5, 0, 0])
    assert np.isnan(single.rmsd)
    apart = compare_models(glass(20), glass(20) + 500.0, start_shift=(0, 0, 0))
    assert (apart.matched_fraction, len(apart.pairs)) == (0, 0)
    assert np.isnan(apart.rmsd_xyz).all()
    assert [len(index) for index in apart.unmatched] == [20, 20]


def test_species_have_rows_of_their_own():
    a = glass(300)
    symbols = np.array(["Ni", "Rh"])[np.arange(300) % 2]
    sigma = np.where(symbols == "Ni", 0.2, 0.05)[:, None]
    b = a + np.random.default_rng(4).normal(0, 1, a.shape) * sigma
    other = symbols.copy()
    other[:30] = "Rh"
    compared = compare_models(AtomicModel(a, tuple(symbols)), AtomicModel(b[:290], tuple(other[:290])))
    table = compared.species_table.set_index("species")
    assert list(table.index) == ["Ni", "Rh", "all"]
    assert table["atoms"].tolist() == [150, 150, 300]
    assert table["pairs"].sum() == 2 * len(compared.pairs)
    chosen = compared.deviations[symbols[compared.pairs[:, 0]] == "Ni"]
    expected = np.sqrt((chosen**2).sum() / (len(chosen) - 1))
    assert table.loc["Ni", "rmsd"] == pytest.approx(expected)
    # 0.2 and 0.05 along each of three axes; 5 standard errors of a deviation from 450 numbers.
    assert table.loc["Ni", "rmsd"] == pytest.approx(0.2 * np.sqrt(3), rel=5 / np.sqrt(2 * 450))
    assert table.loc["Rh", "rmsd"] == pytest.approx(0.05 * np.sqrt(3), rel=5 / np.sqrt(2 * 450))
    assert table.loc["all", "rmsd"] == pytest.approx(compared.rmsd)
    assert compared.species_agreement == pytest.approx(1 - 15 / 290)
    assert np.isnan(compare_models(a, b).species_agreement)
    assert compare_models(a, b).species_table["species"].tolist() == ["all"]


def test_tables_and_files(tmp_path):
    a, b = glass(100), displaced(glass(100), 0.2)
    compared = compare_models(a, b)
    assert compared.table["distance"].max() <= 1.5
    assert len(pd.read_csv(compared.save(tmp_path / "pairs.csv"))) == len(compared.pairs)
    with np.load(compared.save(tmp_path / "pairs.npz")) as data:
        assert np.array_equal(data["pairs"], compared.pairs)
    assert f"RMSD {compared.rmsd:.3f} Å" in repr(compared)


def test_input_is_not_modified():
    a, b = glass(50), displaced(glass(50), 0.2)
    before = a.copy(), b.copy()
    compare_models(a, b)
    assert np.array_equal(a, before[0])
    assert np.array_equal(b, before[1])


def test_errors_and_warning(monkeypatch):
    a = glass(30)
    with pytest.raises(ValueError, match="max_distance is 0; give angstrom above 0"):
        compare_models(a, a, max_distance=0)
    with pytest.raises(ValueError, match="matching is 'best'; give 'mutual' or 'nearest'"):
        compare_models(a, a, matching="best")
    with pytest.raises(ValueError, match="a periodic model has no outline"):
        compare_models(bulk("Cu", cubic=True).repeat(2), a)
    with pytest.raises(ValueError, match="NaN or infinite"):
        compare_models(a, np.where(np.arange(30)[:, None] == 3, np.nan, a))
    monkeypatch.setattr(comparison, "_MOST_ROUNDS", 1)
    with pytest.warns(UserWarning, match="has not settled within 1 rounds"):
        compare_models(a, displaced(a, 0.2) + 0.3, start_shift=(0, 0, 0))


@pytest.mark.data
def test_refined_against_input_model_of_the_film(data_folder):
    refined = np.load(data_folder / "ta_film" / "ta_film_atoms.npz")["positions"].astype(float)
    traced = np.load(data_folder / "ta_film" / "tracing_reference.npz")["input_model_A"]
    for matching in ("mutual", "nearest"):
        compared = compare_models(refined, traced, matching=matching)
        assert compared.matched_fraction == 1
        # Published: the refinement moved the atoms by 0.253 angstrom rms, 0.93 at most.
        assert compared.rmsd == pytest.approx(0.253, abs=0.001)
        assert compared.table["distance"].max() == pytest.approx(0.93, abs=0.02)
