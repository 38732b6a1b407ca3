import freud
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from medrange.aet.atoms import AtomicModel, pair_distribution
from medrange.aet.atoms.alpha_shape import Grid, alpha_shape, interpolated
from medrange.aet.atoms.histogram import pair_counts
from medrange.aet.atoms.pair_counting import count_pairs
from medrange.aet.atoms.shell_fractions import counted_fractions, icosphere, shell_fractions

ALPHA = 4.181


def jittered(n, a=3.0, sigma=0.45, seed=0):
    """A disordered cube: a simple lattice with displaced atoms."""
    rng = np.random.default_rng(seed)
    return a * np.indices((n, n, n)).reshape(3, -1).T + np.clip(rng.normal(0, sigma, (n**3, 3)), -1.2, 1.2)


@pytest.fixture(scope="module")
def liquid():
    """A periodic box of disordered atoms of two elements."""
    positions = jittered(9)
    symbols = np.random.default_rng(1).choice(["Cu", "Zr"], len(positions), p=[0.6, 0.4])
    return Atoms(list(symbols), positions=positions, cell=[27.0] * 3, pbc=True)


@pytest.fixture(scope="module")
def film(data_folder):
    with np.load(data_folder / "ta_film" / "ta_film_atoms.npz") as data:
        positions = data["positions"].astype(float)
    with np.load(data_folder / "ta_film" / "ta_film_motifs_delta_0.255.npz") as data:
        return positions, data["amorphous_atoms"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 80), st.integers(1, 60))
def test_histogram_against_all_distances(seed, count, bins):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 10, (count, 3)) * rng.choice([0.01, 1, 20], 3)
    kinds = rng.integers(0, 2, count)
    found = pair_counts(positions, count, kinds, (0.3, bins), n_kinds=2)
    expected = 2 * np.histogram(pdist(positions), 0.3 * np.arange(bins + 1))[0]
    np.testing.assert_array_equal(found.sum(axis=(0, 1)), expected)
    np.testing.assert_array_equal(found, found.swapaxes(0, 1))
    np.testing.assert_array_equal(
        found[1, 1], 2 * np.histogram(pdist(positions[kinds == 1]), 0.3 * np.arange(bins + 1))[0]
    )


def test_histogram_of_a_far_outlier_fits_in_memory():
    positions = np.concatenate([jittered(3), [[1e9, -1e9, 1e9]]])
    assert pair_counts(positions, 28, np.zeros(28, int), (0.1, 100)).sum() == 2 * (pdist(positions) < 10).sum()


@pytest.mark.parametrize("divisions", [0, 1, 3])
def test_directions_are_uniform(divisions):
    directions = icosphere(divisions)
    assert len(directions) == 10 * 4**divisions + 2
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    np.testing.assert_allclose(directions.sum(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(directions.T @ directions / len(directions), np.eye(3) / 3, atol=1e-9)


@pytest.mark.parametrize("a", [3.0, 2.9, 3.1])
def test_fractions_of_a_cube_whose_facets_lie_along_the_grid(a):
    corners = a * np.indices((9, 9, 9)).reshape(3, -1).T
    shape = alpha_shape(corners, a)
    assert shape.volumes.sum() == pytest.approx((8 * a) ** 3)
    half = 4 * a
    r = half * np.array([0.5, 1.08, 1.16, 1.25])
    # Six caps of a sphere about the middle, each of height r - half, stick out.
    expected = np.where(r < half, 1, 1 - 3 * (1 - half / r))
    # One center, the worst case: the error of the outline is not averaged over atoms.
    np.testing.assert_allclose(shell_fractions(shape, np.full((1, 3), half), r), expected, rtol=0.015)


def test_a_coarser_grid_where_memory_would_not_do(monkeypatch):
    positions = jittered(7)
    shape, r = alpha_shape(positions), np.array([3.0, 6.0, 9.0])
    fine = shell_fractions(shape, positions, r)
    monkeypatch.setattr("medrange.aet.atoms.shell_fractions._MAX_POINTS", 2e5)
    np.testing.assert_allclose(shell_fractions(shape, positions, r), fine, rtol=0.015)


def test_interpolation_is_exact_for_linear_fields():
    positions = jittered(5)
    shape = alpha_shape(positions)
    slope = np.array([0.3, -1.2, 2.0])
    grid = Grid.around(positions, 0.37, margin=1.0)
    field = interpolated(shape, grid, positions @ slope + 5)
    points = grid.origin + grid.step * np.moveaxis(np.indices(grid.shape), 0, -1)
    known = np.isfinite(field)
    np.testing.assert_array_equal(known, interpolated(shape, grid) > 0)
    np.testing.assert_allclose(field[known], (points @ slope + 5)[known], rtol=1e-5)
    assert known.sum() * grid.step**3 == pytest.approx(shape.volumes.sum(), rel=0.01)


@pytest.mark.parametrize("corner", [(-9.0, -9, -9), (3.0, 4, 5), (11.0, 2, -3), (40.0, 40, 40)])
def test_a_grid_over_a_part_of_the_shape_has_that_part_of_the_values(corner):
    # Tetrahedra beyond the grid on every side must leave it alone, as those of periodic images do.
    positions = jittered(6)
    shape, values = alpha_shape(positions), positions @ [1.0, 2, 3]
    part = Grid(np.array(corner), 0.5, (9, 11, 13))
    whole = Grid(np.array(corner) - 30, 0.5, (140, 140, 140))
    expected = interpolated(shape, whole, values)[60:69, 60:71, 60:73]
    np.testing.assert_allclose(interpolated(shape, part, values), expected, rtol=1e-5, atol=1e-4)


def test_points_at_random_have_no_structure():
    # Poisson points in a sphere: g = 1 within the noise of about 4 million pairs, tested in wide bins.
    rng = np.random.default_rng(0)
    points = rng.uniform(-22, 22, (6000, 3))
    points = points[np.linalg.norm(points, axis=1) < 22]
    found = count_pairs(AtomicModel(points), ("X",), (2.0, 10))
    g = (found.counts / found.expected)[0, 0]
    # The outline of random points bends in and out; the level is the scale, the shape is what is tested.
    np.testing.assert_allclose(g[2:] / g[2:].mean(), 1, atol=0.03)


def test_a_periodic_liquid_agrees_with_freud(liquid):
    curve = pair_distribution(liquid, r_max=12.0, r_step=0.1, smooth=0)
    box = freud.box.Box.cube(27.0)
    theirs = freud.density.RDF(120, 12.0).compute((box, box.wrap(liquid.positions - 13.5)))
    # freud is single precision: a few of the pairs change the bin, at 1 part in 1000 of one.
    np.testing.assert_allclose(curve.counts, theirs.bin_counts * np.ones(120), atol=4)
    np.testing.assert_allclose(curve.g, theirs.rdf, atol=2e-3 * curve.g.max())
    assert curve.density == pytest.approx(729 / 27.0**3)


def test_a_sphere_larger_than_the_box(liquid):
    # 20 angstrom reach into the images of a 27 angstrom box; twice the box is the same liquid.
    single, double = pair_distribution(liquid), pair_distribution(liquid.repeat((2, 1, 1)))
    np.testing.assert_array_equal(double.counts, 2 * single.counts)
    np.testing.assert_allclose(double.g, single.g, rtol=1e-12)


def test_partial_curves_add_up_to_the_whole(liquid):
    curve = pair_distribution(liquid, r_max=12.0, partial=True, smooth=0)
    assert list(curve.partial) == [("Cu", "Cu"), ("Cu", "Zr"), ("Zr", "Zr")]
    c = np.mean([symbol == "Cu" for symbol in curve.model.symbols])
    mixed = c**2 * curve.partial["Cu", "Cu"] + 2 * c * (1 - c) * curve.partial["Cu", "Zr"]
    np.testing.assert_allclose(mixed + (1 - c) ** 2 * curve.partial["Zr", "Zr"], curve.g, rtol=1e-12)
    weights = curve.coordination
    assert c * (weights["Cu", "Cu"] + weights["Cu", "Zr"]) + (1 - c) * (
        weights["Zr", "Cu"] + weights["Zr", "Zr"]
    ) == pytest.approx(curve.coordination_number)
    # Each bond is seen from both ends.
    assert c * weights["Cu", "Zr"] == pytest.approx((1 - c) * weights["Zr", "Cu"])
    assert {"g_Cu_Zr", "counts"} <= set(curve.table)


@pytest.mark.parametrize(
    ("atoms", "peak", "number"),
    [(bulk("Cu", cubic=True), 3.61 / np.sqrt(2), 12), (bulk("Si", cubic=True), 5.43 * np.sqrt(3) / 4, 4)],
)
@pytest.mark.parametrize("pbc", [True, False, (True, True, False)])
def test_crystals_with_any_boundary(atoms, peak, number, pbc):
    atoms = atoms.repeat(5)
    atoms.pbc = pbc
    curve = pair_distribution(atoms, r_max=8.0)
    # Half a bin: a sharp shell cannot be placed better.
    assert curve.first_peak == pytest.approx(peak, abs=0.051)
    assert curve.coordination_number == number
    assert curve.surface.any() == (pbc is not True)


def test_a_slab_lies_between_box_and_particle(liquid):
    slab = liquid.copy()
    slab.pbc = (True, True, False)
    box, film = pair_distribution(liquid), pair_distribution(slab)
    # The same liquid with two free surfaces: the outline corrects for them to some percent of one.
    inner = box.r > 2.2
    np.testing.assert_allclose(film.g[inner], box.g[inner], atol=0.06)
    assert film.density == pytest.approx(box.density, rel=0.12)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_rotation_translation_and_permutation(seed):
    positions = jittered(6)
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = rng.permutation(positions @ turn + rng.uniform(-100, 100, 3))
    one, other = pair_distribution(positions, r_max=10), pair_distribution(moved, r_max=10)
    np.testing.assert_array_equal(one.counts, other.counts)
    # The outline is drawn on a grid of 0.5 angstrom that does not turn along.
    np.testing.assert_allclose(one.g, other.g, rtol=0.02, atol=1e-9)
    assert one.coordination_number == pytest.approx(other.coordination_number)


def test_selection_is_the_model_of_the_selected_atoms():
    positions = jittered(7)
    mask = positions[:, 0] < 12
    before = positions.copy()
    by_mask, alone = pair_distribution(positions, select=mask), pair_distribution(positions[mask])
    np.testing.assert_array_equal(by_mask.g, alone.g)
    np.testing.assert_array_equal(positions, before)


def test_beyond_the_model_there_is_no_value():
    curve = pair_distribution(jittered(4), r_max=20)
    beyond = np.isnan(curve.g)
    assert beyond[-1]
    assert not beyond[curve.r < 8].any()
    assert np.isfinite(curve.first_valley)


def test_smoothing_is_the_published_filter():
    positions = jittered(6)
    raw, smooth = (pair_distribution(positions, r_max=10, smooth=s) for s in (0.0, 0.15))
    # Gaussian of 1.5 bins on 7 taps, edge values replicated.
    taps = np.exp(-0.5 * (np.arange(-3, 4) / 1.5) ** 2)
    padded = np.pad(raw.g, 3, mode="edge")
    expected = np.convolve(padded, taps / taps.sum(), mode="valid")
    np.testing.assert_allclose(smooth.g, expected, atol=1e-12)


def test_direct_method_agrees():
    positions = jittered(5)
    fast, direct = (pair_distribution(positions, r_max=8.0, method=method) for method in ("fft", "direct"))
    # 162 directions count the faces of a cube of 125 atoms to about a percent.
    some = fast.r > 1.5
    np.testing.assert_allclose(fast.g[some], direct.g[some], rtol=0.015, atol=1e-9)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"r_max": 0.0}, "at least ten bins"),
        ({"r_step": 3.0}, "at least ten bins"),
        ({"smooth": -1.0}, "smooth -1.0"),
        ({"r_max": np.nan}, "r_max is nan"),
        ({"method": "guess"}, "'fft' or 'direct'"),
        ({"partial": True}, "has no symbols|needs symbols"),
        ({"alpha_radius": 0.5}, "alpha radius is 0.5 Å but the smallest"),
        ({"select": [0, 1]}, "the model has 2 atoms"),
    ],
)
def test_arguments_without_meaning(keywords, message):
    with pytest.raises(ValueError, match=message):
        pair_distribution(jittered(4), **keywords)


def test_atoms_in_a_plane():
    flat = jittered(5) * [1, 1, 0]
    with pytest.raises(ValueError, match=r"lie in one plane|closer than"):
        pair_distribution(flat[::5])


@pytest.mark.data
def test_first_valleys_of_the_tantalum_film(film):
    positions, amorphous = film
    # 0.005: the published bins are shifted by 0.001 angstrom, and the valley is printed to three digits.
    assert pair_distribution(positions, alpha_radius=ALPHA).first_valley == pytest.approx(4.005, abs=0.005)
    glass = pair_distribution(positions, alpha_radius=ALPHA, select=amorphous)
    assert glass.first_valley == pytest.approx(4.124, abs=0.005)


@pytest.mark.data
def test_correction_of_the_tantalum_film_against_direct_counting(film):
    positions = film[0]
    shape = alpha_shape(positions, ALPHA)
    # A part of the atoms keeps direct counting short; both methods get the same ones.
    centers, r = positions[::8], np.array([2.0, 3.0, 6.0, 10.0, 15.0, 19.8])
    fast, direct = shell_fractions(shape, centers, r), counted_fractions(shape, centers, r, divisions=1)
    np.testing.assert_allclose(fast, direct, rtol=0.005)


def test_flat_tetrahedra_do_not_bridge_the_gap_between_parts():
    cube = 3.0 * np.indices((4, 4, 4)).reshape(3, -1).T
    two = np.concatenate([cube, cube + np.array([30.0, 0, 0])])
    shape, single = alpha_shape(two, 3.0), alpha_shape(cube, 3.0)
    assert shape.volumes.sum() == pytest.approx(2 * 9.0**3)
    corners = two[shape.tetrahedra]
    assert np.ptp(corners, axis=1).max() < 6
    assert shape.surface.sum() == 2 * single.surface.sum() == 2 * (64 - 8)
