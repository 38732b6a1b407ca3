import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist, pdist
from scipy.spatial.transform import Rotation

from medrange.aet.atoms import Neighbors, crystal_like_order
from medrange.aet.atoms.lattice_growth import grow_patches
from medrange.aet.atoms.lattice_templates import LATTICES, lattice_template
from medrange.aet.atoms.model import AtomicModel

# Up to this distance from the center, in neighbor distances: 19 sites of fcc and hcp, 27 of bcc and sc.
SHELLS = {"fcc": 1.5, "hcp": 1.5, "bcc": 1.7, "sc": 1.8}
SIDE = 70.0


def patch_sites(lattice, reach):
    """Sites within a distance of one site, from ASE, in units of the neighbor distance."""
    cubic = {} if lattice == "hcp" else {"cubic": True}
    size = {"fcc": 2**0.5, "hcp": 1.0, "bcc": 2 / 3**0.5, "sc": 1.0}[lattice]
    crystal = bulk("Pt", lattice, a=size, **cubic | ({"covera": (8 / 3) ** 0.5} if lattice == "hcp" else {})).repeat(8)
    middle = crystal.positions[np.argmin(np.linalg.norm(crystal.positions - crystal.cell.sum(axis=0) / 2, axis=1))]
    sites = crystal.positions - middle
    return sites[np.linalg.norm(sites, axis=1) < reach]


def scattered(rng, side, count, keep_off, apart=3.6, clear=4.0):
    """Random points, none nearer than ``apart`` to another or than ``clear`` to the points to keep off."""
    points = np.empty((0, 3))
    tree = cKDTree(keep_off)
    while len(points) < count:
        new = rng.uniform(0, side, 3)
        if tree.query(new)[0] > clear and (len(points) == 0 or np.linalg.norm(points - new, axis=1).min() > apart):
            points = np.vstack([points, new])
    return points


def planted(seed, noise=0.3):
    """Four patches, displaced by ``noise`` (rms of the length), between random solutes: positions, patches, d."""
    rng = np.random.default_rng(seed)
    turns = Rotation.random(4, random_state=rng)
    spacings = rng.uniform(4.3, 5.4, 4)
    middles = np.array([[18.0, 18, 18], [52, 52, 18], [52, 18, 52], [18, 52, 52]])
    patches = [
        turn.apply(d * patch_sites(name, SHELLS[name])) + middle
        for name, turn, d, middle in zip(LATTICES, turns, spacings, middles, strict=True)
    ]
    points = np.concatenate(patches)
    points = points + rng.normal(0, noise / 3**0.5, points.shape)
    background = scattered(rng, SIDE, 1500, points)
    labels = np.repeat(range(4), [len(patch) for patch in patches])
    return np.concatenate([points, background]), labels, spacings


@pytest.fixture(scope="module")
def positions():
    return planted(1)[0]


@pytest.fixture(scope="module")
def order(positions):
    return crystal_like_order(positions, solute=np.arange(len(positions)))


def summary(order, mapping=None):
    """What of the networks may not depend on the frame or the order of the atoms."""
    names = (lambda members: members) if mapping is None else (lambda members: mapping[members])
    rows = [(net.lattice, tuple(sorted(names(net.members).tolist())), net.center) for net in order.networks]
    figures = [(net.lattice_constant, net.rms_deviation, net.length) for net in order.networks]
    return [row[:2] for row in rows], np.array(figures)


@pytest.mark.parametrize("name", LATTICES)
def test_templates_are_the_lattices(name):
    template = lattice_template(name)
    expected = patch_sites(name, 2.3)
    own = template.sites[np.linalg.norm(template.sites, axis=1) < 2.3]
    assert len(own) == len(expected)
    # hcp has two kinds of sites, one turned against the other: the distances are the same.
    np.testing.assert_allclose(np.sort(pdist(own)), np.sort(pdist(expected)), atol=1e-9)
    site, bond = 5, template.bonds[5]
    np.testing.assert_allclose(np.linalg.norm(template.sites[bond] - template.sites[site], axis=1), 1)


@pytest.mark.parametrize("seed", range(3))
def test_planted_patches_are_found(seed):
    positions, labels, spacings = planted(seed)
    order = crystal_like_order(positions, solute=np.arange(len(positions)))
    assert {net.lattice for net in order.networks[:4]} == set(LATTICES)
    for k, (name, spacing) in enumerate(zip(LATTICES, spacings, strict=True)):
        own = np.flatnonzero(labels == k)
        network = next(net for net in order.networks if net.lattice == name)
        # Two solutes of a site each, the patch's center and the member, are off: a member may leave the tolerance,
        # and a random solute beside the patch may fall within it.
        assert len(np.setdiff1d(own, network.members)) <= 1
        assert len(np.setdiff1d(network.members, own)) <= 3
        # The center's own displacement, 0.3 A of some 5 A, counts in part against the constant.
        assert network.neighbor_distance == pytest.approx(spacing, rel=0.04)
        assert network.rms_deviation < 0.45
        assert network.length == pytest.approx(pdist(positions[network.members]).max())


@pytest.mark.parametrize("name", LATTICES)
def test_perfect_patch_in_any_orientation(name):
    turn = Rotation.random(random_state=3)
    sites = patch_sites(name, SHELLS[name])
    order = crystal_like_order(turn.apply(4.7 * sites) + 20, solute=np.arange(len(sites)))
    (network,) = order.networks
    assert (network.lattice, len(network)) == (name, len(sites))
    constant = {"fcc": 2**0.5, "hcp": 1.0, "bcc": 2 / 3**0.5, "sc": 1.0}[name] * 4.7
    assert network.lattice_constant == pytest.approx(constant)
    assert network.rms_deviation == pytest.approx(0, abs=1e-6)
    assert order.fraction == 1.0
    # The rotation is that of the patch, up to one that turns the lattice into itself.
    itself = 4.7 * sites @ (turn.inv().as_matrix() @ network.rotation).T
    if name != "hcp":
        assert cKDTree(itself).query(4.7 * sites)[0].max() < 1e-6


def test_networks_keep_the_definition(order, positions):
    taken = np.concatenate([net.members for net in order.networks])
    assert len(taken) == len(np.unique(taken))
    assert (order.sizes >= 5).all()
    assert (np.diff(order.sizes) <= 0).all()
    complete = 0
    for net in order.networks:
        assert (net.deviations <= 0.75 + 1e-9).all()
        np.testing.assert_allclose(net.positions, positions[net.members] - positions[net.center], atol=1e-9)
        assert connected_components(np.abs(cdist(net.sites, net.sites) - 1) < 1e-3)[0] == 1
        assert len(np.unique(net.sites.round(6), axis=0)) == len(net)
        np.testing.assert_allclose(net.rotation @ net.rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(net.rotation) == pytest.approx(1)
        # A network from which nothing was struck holds its own center, and its fit is the least-squares one.
        tree = cKDTree(net.sites)
        if net.center in net.members and tree.query([0, 0, 0])[0] == 0 and len(net) >= 19:
            complete += 1
            turn = Rotation.align_vectors(net.positions, net.sites)[0]
            np.testing.assert_allclose(turn.as_matrix(), net.rotation, atol=1e-5)
            turned = turn.apply(net.sites)
            assert net.neighbor_distance == pytest.approx((turned * net.positions).sum() / (net.sites**2).sum())
    assert complete == 4


def largest_by_trial(positions, lattice, tolerance=0.75, limits=(3.78, 6.09)):
    """Size of the largest patch around each point by trying every sequence, the plain way."""
    template = lattice_template(lattice)
    gaps = cdist(positions, positions)
    linked = (gaps > limits[0]) & (gaps < limits[1])
    sizes = []
    for center in range(len(positions)):
        near = np.flatnonzero(linked[center])
        queue = [
            ((center, 0), (j, a), (k, b))
            for j in near for k in near if j < k for a, b in template.corners.tolist()
        ]  # fmt: skip
        seen, best = set(), 0
        while queue:
            patch = queue.pop()
            if frozenset(patch) in seen:
                continue
            seen.add(frozenset(patch))
            sites = template.sites[[site for _, site in patch]]
            points = positions[[atom for atom, _ in patch]] - positions[center]
            turned = Rotation.align_vectors(points[1:], sites[1:])[0].apply(sites)
            spacing = (turned * points).sum() / (sites**2).sum()
            off = np.linalg.norm(points - spacing * turned, axis=1)
            if not limits[0] <= spacing <= limits[1] or off.max() > tolerance:
                continue
            best = max(best, len(patch))
            atoms, filled = {atom for atom, _ in patch}, {site for _, site in patch}
            queue += [
                (*patch, (q, site))
                for atom, own in patch
                for site in set(template.bonds[own].tolist()) - filled
                for q in set(np.flatnonzero(linked[atom]).tolist()) - atoms
                if np.linalg.norm(positions[q] - positions[center] - spacing * _turn(turned, sites, template, site))
                <= tolerance
            ]
        sizes.append(best)
    return np.array(sizes)


def _turn(turned, sites, template, site):
    """A site in the frame of a patch, from the sites already turned."""
    return Rotation.align_vectors(turned[1:], sites[1:])[0].apply(template.sites[site])


@pytest.mark.parametrize("lattice", ["fcc", "bcc"])
def test_growth_against_all_sequences(lattice):
    rng = np.random.default_rng(4)
    positions = scattered(rng, 13.5, 36, np.full((1, 3), -99.0), apart=3.0)
    expected = largest_by_trial(positions, lattice)
    order = Neighbors(positions, cutoff=6.09, min_distance=3.78)
    template = lattice_template(lattice)
    rows = (order.offsets, order.j, order.vectors, order.distances)
    limits = np.array([3.78, 6.09, 0.75])
    sizes = grow_patches(rows, template.sites, template.bonds, template.corners, limits, (0, len(positions)))[0]
    assert (sizes <= expected).all()
    assert expected.max() >= 5
    # Growth by the nearest solute may miss a member that another sequence reaches.
    assert (sizes == expected).mean() > 0.8
    assert (expected - sizes).max() <= 2


def test_random_solutes_form_only_small_networks():
    rng = np.random.default_rng(0)
    # 0.0094 per cubic angstrom without any correlation.
    points = rng.uniform(0, 46.0, (900, 3))
    found = crystal_like_order(points, solute=np.arange(900))
    # The documented false rate: 46 % in networks of 5 or more, 8 % of 8 or more, none of 12.
    assert 0.35 < found.fraction < 0.55
    assert found.sizes[found.sizes >= 8].sum() / 900 < 0.15
    assert found.sizes.max() < 12
    # Where random solutes keep apart and are fewer, small networks remain.
    sparse = scattered(rng, 50.0, 550, np.full((1, 3), -99.0))
    found = crystal_like_order(sparse, solute=np.arange(550), min_size=8)
    assert len(found) <= 1


def test_frame_and_order_of_atoms_do_not_matter(order, positions):
    rng = np.random.default_rng(5)
    shuffled = rng.permutation(len(positions))
    before = positions.copy()
    kinds, figures = summary(order)
    moved = Rotation.random(random_state=7).apply(positions) + np.array([5.0, -30, 11])
    for other, mapping in ((moved, None), (positions[shuffled], shuffled)):
        found = crystal_like_order(other, solute=np.arange(len(other)))
        same, own = summary(found, mapping)
        # Patches of equal size and nearly equal deviation may change places.
        assert sorted(same) == sorted(kinds)
        np.testing.assert_allclose(np.sort(own, axis=0), np.sort(figures, axis=0), rtol=1e-5)
    np.testing.assert_array_equal(positions, before)


def test_patch_across_periodic_borders():
    sites = Rotation.random(random_state=2).apply(4.8 * patch_sites("fcc", 1.5))
    cell = np.diag([40.0, 42, 44])
    whole = AtomicModel(sites + 20, cell=cell, pbc=True)
    split = AtomicModel((sites + np.array([0.5, 1, 43])) % np.diag(cell), cell=cell, pbc=True)
    first, second = (crystal_like_order(model, solute=np.arange(19))[0] for model in (whole, split))
    assert len(second) == 19
    assert second.length == pytest.approx(first.length)
    assert second.lattice_constant == pytest.approx(4.8 * 2**0.5)


def test_symbol_mask_and_indices_are_the_same(tmp_path):
    sites = 4.8 * patch_sites("fcc", 1.5)
    solvent = sites[:5] + np.array([2.0, 1.5, 1])
    atoms = Atoms(["Cu"] * 5 + ["Pt"] * 19, np.concatenate([solvent, sites]))
    order = crystal_like_order(atoms, solute="Pt")
    for solute in (np.arange(5, 24), np.arange(24) >= 5):
        assert summary(crystal_like_order(atoms, solute=solute))[0] == summary(order)[0]
    assert repr(order) == "<CrystalLikeOrder, 1 networks of at least 5 solutes: fcc 1, 100% of 19 solutes>"
    assert repr(order[0]).startswith("<LatticePatch, 19 solutes on fcc, a = 6.79 Å, rms deviation 0.00 Å")
    assert order[0].members.tolist() == list(range(5, 24))
    table = order.table
    assert table["size"].tolist() == [19]
    assert table["solutes"][0].split() == [str(k) for k in range(5, 24)]
    columns = order.atoms.arrays
    assert columns["network"].tolist() == [-1] * 5 + [0] * 19
    assert columns["lattice"].tolist() == [0] * 5 + [1] * 19
    assert columns["solute"].tolist() == [False] * 5 + [True] * 19
    for name in ("order.csv", "order.npz", "order.xyz"):
        assert order.save(tmp_path / name).exists()
    with np.load(tmp_path / "order.npz") as data:
        assert data["rotation"].shape == (1, 3, 3)
        assert data["network"].tolist() == columns["network"].tolist()


def test_no_network(tmp_path):
    far = 12.0 * np.indices((2, 2, 2)).reshape(3, -1).T
    order = crystal_like_order(far, solute=np.arange(8))
    assert (len(order), order.fraction) == (0, 0.0)
    assert repr(order) == "<CrystalLikeOrder, 0 networks of at least 5 solutes, 0% of 8 solutes>"
    assert len(order.table) == 0
    assert order.save(tmp_path / "none.npz").exists()
    # A straight chain of solutes has no lattice.
    chain = np.arange(8)[:, None] * [4.5, 0, 0]
    assert len(crystal_like_order(chain, solute=np.arange(8), lattices=("sc",))) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solute": "Zr"}, "no atom is 'Zr'; the model has Pt"),
        ({"solute": [0, 1]}, "there are 2 solutes; a network has 5"),
        ({"solute": np.ones(3, bool)}, "mask of atoms has shape"),
        ({"min_distance": 6.5}, r"6.5 to 6.09 Å apart"),
        ({"tolerance": 2.0}, "tolerance is 2.0 Å; it must lie above 0 and below half of min_distance, 1.89"),
        ({"tolerance": 0.0}, "tolerance is 0.0 Å"),
        ({"min_size": 2}, "min_size is 2; a lattice is told from 3"),
        ({"lattices": ("fcc", "diamond")}, "lattice 'diamond' has no template; use some of fcc, hcp, bcc, sc"),
        ({"lattices": "fcc"}, "lattices is 'fcc'; give a tuple"),
        ({"lattices": ()}, "give a tuple"),
    ],
)
def test_errors(options, message):
    atoms = Atoms("Pt19", 4.8 * patch_sites("fcc", 1.5))
    with pytest.raises(ValueError, match=message):
        crystal_like_order(atoms, **{"solute": "Pt", **options})
