import freud
import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lpmv

from medrange.aet.atoms import AtomicModel, Neighbors, bond_order, steinhardt_order

# Q4 and Q6 of lattices with their nearest shells, from the sums over their ideal directions.
LATTICES = [
    (bulk("Cu"), 3.0, 0.190940653956493, 0.574524259714067),
    (bulk("Mg", "hcp", a=3.2, c=3.2 * np.sqrt(8 / 3)), 3.5, 7 / 72, 0.484761685),
    (bulk("Fe"), 2.6, 0.509175077, 0.628539361),
    (bulk("Fe"), 3.2, 0.036369648, 0.510688230),
    (bulk("Po", "sc", a=3.3), 3.5, 0.763762616, 0.353553391),
]


def liquid(seed, count=120, size=14.0):
    """Random atoms no two of which are closer than 2 angstrom."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, size, (1, 3))
    while len(positions) < count:
        point = rng.uniform(0, size, 3)
        if np.linalg.norm(positions - point, axis=1).min() > 2:
            positions = np.concatenate([positions, [point]])
    return positions


def by_the_book(positions, cutoff, l, averaged):  # noqa: E741
    """Complex spherical harmonics, one bond at a time."""
    n = len(positions)
    q = np.zeros((n, 2 * l + 1), complex)
    near = [[j for j in range(n) if 0.1 < np.linalg.norm(positions[j] - positions[i]) < cutoff] for i in range(n)]
    for i in range(n):
        for j in near[i]:
            x, y, z = positions[j] - positions[i]
            phi, cosine = np.arctan2(y, x), z / np.linalg.norm([x, y, z])
            for m in range(l + 1):
                norm = np.sqrt((2 * l + 1) / (4 * np.pi) / np.prod(np.arange(l - m + 1, l + m + 1, dtype=float)))
                value = norm * lpmv(m, l, cosine) * np.exp(1j * m * phi)
                q[i, l + m] += value / len(near[i])
                if m:
                    q[i, l - m] += (-1) ** m * np.conj(value) / len(near[i])
    if averaged:
        q = np.array([(q[i] + sum(q[j] for j in near[i])) / (len(near[i]) + 1) for i in range(n)])
    return np.sqrt(4 * np.pi / (2 * l + 1) * (np.abs(q) ** 2).sum(axis=1))


@pytest.mark.parametrize(("atoms", "cutoff", "q4", "q6"), LATTICES)
def test_lattices(atoms, cutoff, q4, q6):
    local = steinhardt_order(atoms, (4, 6), cutoff=cutoff, averaged=False)
    np.testing.assert_allclose(local, np.broadcast_to([q4, q6], local.shape), atol=1e-8)


def test_normalized_order_of_fcc_is_one_and_hcp_keeps_its_average():
    order = bond_order(bulk("Cu"), cutoff=3.0)
    # The reference numbers of fcc are printed to six digits.
    assert order.normalized == pytest.approx(1, abs=1e-6)
    # The two sites of hcp are mirror images: of l = 4 and 6 their harmonics agree.
    assert bond_order(LATTICES[1][0], cutoff=3.5).q6 == pytest.approx(0.484761685, abs=1e-8)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("l", [1, 3, 4, 6, 11, 20])
def test_against_complex_harmonics(averaged, l):  # noqa: E741
    positions = liquid(0, 60, 11.0)
    found = steinhardt_order(positions, (l,), cutoff=3.8, averaged=averaged)[:, 0]
    np.testing.assert_allclose(found, by_the_book(positions, 3.8, l, averaged), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(-50, 50), st.floats(0.5, 2.0))
def test_rotation_translation_permutation_and_scale_change_nothing(seed, shift, scale):
    positions = liquid(seed % 5)
    rng = np.random.default_rng(seed)
    turn, order = np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.permutation(len(positions))
    reference = steinhardt_order(AtomicModel(positions), (4, 6), cutoff=3.7)
    moved = (positions @ turn)[order] * scale + shift
    found = steinhardt_order(AtomicModel(moved), (4, 6), cutoff=3.7 * scale)
    np.testing.assert_allclose(found, reference[order], atol=1e-11)


def test_an_atom_alone_has_order_zero_and_a_pair_more_than_one():
    positions = np.concatenate([3.0 * np.indices((3, 3, 3)).reshape(3, -1).T, [[30, 0, 0], [50, 0, 0], [52.5, 0, 0]]])
    order = bond_order(positions, cutoff=3.2)
    assert order.q4[27] == order.q6[27] == order.normalized[27] == 0
    # Two atoms with only each other: Q_l = 1 for even l.
    np.testing.assert_allclose(order.q4[28:], 1, atol=1e-12)
    np.testing.assert_allclose(order.normalized[28:], np.sqrt(2) / np.hypot(0.190941, 0.574524), atol=1e-12)


@pytest.mark.parametrize("periodic", [False, True])
def test_against_freud_which_is_single_precision(periodic):
    positions, size = liquid(1), 14.0
    box = freud.box.Box.cube(size if periodic else 200.0)
    # freud boxes are centered at the origin.
    centered = (positions - size / 2).astype(np.float32)
    pbc = (periodic,) * 3
    model = AtomicModel(centered.astype(float), cell=np.eye(3) * size, pbc=pbc)
    neighbors = Neighbors(model, 3.7)
    pairs = freud.locality.NeighborList.from_arrays(120, 120, neighbors.i, neighbors.j, neighbors.vectors)
    order = bond_order(neighbors)
    for l, mine in ((4, order.q4), (6, order.q6)):  # noqa: E741
        theirs = freud.order.Steinhardt(l, average=True).compute((box, centered), neighbors=pairs).particle_order
        some = neighbors.counts > 0
        np.testing.assert_allclose(mine[some], theirs[some], atol=3e-4)
        assert (mine[~some] == 0).all()


def test_input_is_kept_and_orders_may_repeat():
    positions = liquid(2)
    before = positions.copy()
    twice = steinhardt_order(positions, (6, 4, 6), cutoff=3.7)
    np.testing.assert_array_equal(twice[:, 0], twice[:, 2])
    np.testing.assert_array_equal(twice[:, :2][:, ::-1], steinhardt_order(positions, (4, 6), cutoff=3.7))
    np.testing.assert_array_equal(positions, before)


@pytest.mark.parametrize("orders", [(), (0,), (4, 21)])
def test_orders_outside_the_range(orders):
    with pytest.raises(ValueError, match="whole numbers from 1 to 20"):
        steinhardt_order(liquid(0), orders, cutoff=3.7)


def test_a_cutoff_is_needed():
    with pytest.raises(ValueError, match="a cutoff in angstrom is needed"):
        bond_order(liquid(0))


def test_table_and_atoms_hold_the_order():
    order = bond_order(liquid(0), cutoff=3.7)
    assert list(order.table) == ["q4", "q6", "normalized", "neighbors"]
    np.testing.assert_array_equal(order.to_ase().arrays["normalized"], order.normalized)
    np.testing.assert_array_equal(order.crystal, order.normalized > 0.5)


@pytest.mark.data
def test_tantalum_film_has_the_authors_values(data_folder):
    with np.load(data_folder / "ta_film" / "ta_film_atoms.npz") as data:
        positions, published = data["positions"], data["boo_normalized"]
    # Their arithmetic is single precision.
    np.testing.assert_allclose(bond_order(positions, cutoff=4.12).normalized, published, atol=1e-6)
