"""Figures of motifs show the numbers of the results they are drawn from."""

import matplotlib as mpl
import numpy as np
import pytest
from ase.cluster import Icosahedron
from matplotlib import pyplot as plt

from medrange.aet.atoms import (
    motif_fractions,
    motif_geometry,
    motif_networks,
    motif_sharing,
    motifs,
    partial_icosahedra,
    tetrahedra,
    voronoi_index,
)
from medrange.plotting.motifs import (
    plot_motif_fractions,
    plot_motif_geometry,
    plot_network,
    plot_network_sizes,
    plot_partial_icosahedra,
    plot_sharing,
    plot_voronoi_populations,
)

EDGE = 3.5


@pytest.fixture(scope="module")
def icosahedron():
    """Icosahedron of 147 atoms, each shaken a little."""
    atoms = Icosahedron("Ta", 4, 4.1)
    atoms.positions += np.random.default_rng(0).normal(0, 0.02, atoms.positions.shape)
    return atoms


@pytest.fixture(scope="module")
def found(icosahedron):
    return motifs(tetrahedra(icosahedron, max_edge=EDGE))


def test_networks_are_drawn_with_equal_scales(found):
    networks = motif_networks(found)
    ax = plot_network(networks)
    (lines,) = [artist for artist in ax.collections if isinstance(artist, mpl.collections.LineCollection)]
    assert len(lines._segments3d) == networks.sizes[0]
    spans = [np.ptp(limits) for limits in (ax.get_xlim(), ax.get_ylim(), ax.get_zlim())]
    np.testing.assert_allclose(spans, spans[0])
    with pytest.raises(IndexError, match=r"network 7 does not exist: there are \d"):
        plot_network(networks, 7)


def test_skeletons_lie_inside_their_network(found):
    networks = motif_networks(found)
    skeletons, corners = networks.skeletons(0), networks.corners(0)
    assert skeletons.shape == (networks.sizes[0], 5, 3)
    assert corners.shape == (networks.sizes[0], 7, 3)
    np.testing.assert_array_equal(
        np.unique(corners.reshape(-1, 3), axis=0), np.unique(found.model.positions[networks.atom_indices(0)], axis=0)
    )
    # An incenter lies within its tetrahedron: nearer to all four corners than the longest edge.
    distances = np.linalg.norm(skeletons[:, :, None] - corners[:, None, :2], axis=-1)
    assert distances.max() < EDGE


def test_histograms_tell_the_means(found):
    geometry = motif_geometry(found)
    axes = plot_motif_geometry(geometry)
    assert len(axes) == 3
    labels = [text.get_text() for ax in axes for text in ax.get_legend().get_texts()]
    assert f"α/γ, mean {geometry.alpha_gamma.mean():.3f}" in labels
    assert f"mean {geometry.phi.mean():.1f}°" in labels


def test_bars_have_the_heights_of_the_tables(icosahedron, found):
    partial = partial_icosahedra(found)
    heights = [bar.get_height() for bar in plot_partial_icosahedra(partial).patches]
    np.testing.assert_allclose(heights, partial.table["fraction"])
    sharing = motif_sharing(found)
    heights = [bar.get_height() for bar in plot_sharing(sharing).patches]
    np.testing.assert_allclose(sum(heights), 2)
    voronoi = voronoi_index(icosahedron)
    heights = [bar.get_height() for bar in plot_voronoi_populations(voronoi).patches]
    assert max(heights) == pytest.approx(100 * voronoi.populations["fraction"].max())


def test_fractions_and_sizes_on_given_axes(found):
    ax = plt.subplots()[1]
    fractions = motif_fractions(found.tetrahedra)
    assert plot_motif_fractions(fractions, delta=0.255, ax=ax) is ax
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_array_equal(drawn["pentagonal"], fractions.fractions["pentagonal"])
    networks = motif_networks(found, min_size=1)
    (points,) = plot_network_sizes(networks).lines
    np.testing.assert_allclose(points.get_ydata(), networks.lengths / 10)


@pytest.mark.parametrize(
    ("make", "draw"),
    [
        (lambda atoms, found: voronoi_index(atoms), plot_voronoi_populations),
        (lambda atoms, found: motif_fractions(found.tetrahedra), plot_motif_fractions),
        (lambda atoms, found: motif_geometry(found), plot_motif_geometry),
        (lambda atoms, found: motif_sharing(found), plot_sharing),
        (lambda atoms, found: partial_icosahedra(found), plot_partial_icosahedra),
        (lambda atoms, found: motif_networks(found), plot_network),
    ],
    ids=["voronoi", "fractions", "geometry", "sharing", "partial icosahedra", "network"],
)
def test_results_draw_themselves(icosahedron, found, make, draw):
    result = make(icosahedron, found)
    own, by_hand = np.ravel(result.plot()), np.ravel(draw(result))
    assert [ax.get_xlabel() for ax in own] == [ax.get_xlabel() for ax in by_hand]
    assert [len(ax.get_children()) for ax in own] == [len(ax.get_children()) for ax in by_hand]
    plt.close("all")
