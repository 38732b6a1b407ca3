"""Figures of polytetrahedral packing: Voronoi indices, motifs, shapes, sharing and networks.

They follow Figs. 1d, 2b, 4 and 5 of Yuan et al., see [Yuan2022]_ in references.bib.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from medrange.aet.atoms.voronoi import DISTORTED_ICOSAHEDRA
from medrange.plotting.style import ACCENT_COLOR, EVEN_COLOR, ODD_COLOR, new_axes, settle, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from medrange.aet.atoms.bipyramid_shape import MotifGeometry
    from medrange.aet.atoms.distortion_scan import MotifFractions
    from medrange.aet.atoms.networks import MotifNetworks
    from medrange.aet.atoms.sharing import MotifSharing, PartialIcosahedra
    from medrange.aet.atoms.voronoi import VoronoiIndices

#: Skeletons of the motifs in the colors of [Yuan2022]_, darkened where they would be too pale on white.
MOTIF_COLORS = {
    "triplet": "#7b4fa3",
    "quadrilateral": "#31688e",
    "pentagonal": "#e07b28",
    "hexagonal": "#c9a800",
    "heptagonal": "#8a8a8a",
    "octagonal": "#c4c4c4",
}


@styled()
def plot_voronoi_populations(voronoi: VoronoiIndices, *, count: int = 12, ax: Axes | None = None) -> Axes:
    """Draw the shares of the most frequent Voronoi indices, ordered by coordination number.

    Parameters
    ----------
    voronoi : VoronoiIndices
        From :func:`medrange.aet.atoms.voronoi_index`.
    count : int
        How many indices to show.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; indices of distorted icosahedra are accented.

    Examples
    --------
    >>> ax = plot_voronoi_populations(voronoi_index(atoms))  # doctest: +SKIP
    """
    new = ax is None
    ax = new_axes((5.0, 2.9)) if new else ax
    shown = voronoi.populations.head(count)
    names = ["n3", "n4", "n5", "n6"]
    indices = shown[names].to_numpy()
    order = np.lexsort((*indices.T[::-1], indices.sum(axis=1)))
    indices, shares = indices[order], shown["fraction"].to_numpy()[order]
    icosahedral = [tuple(index) in DISTORTED_ICOSAHEDRA for index in indices.tolist()]
    places = np.arange(len(indices))
    ax.bar(places, 100 * shares, color=np.where(icosahedral, ACCENT_COLOR, EVEN_COLOR), width=0.75)
    ax.set_xticks(places, [f"⟨{','.join(map(str, index))}⟩" for index in indices], rotation=60, ha="right")
    ax.set_ylabel("cells (%)")
    for place, index in zip(places, indices, strict=True):
        ax.annotate(str(index.sum()), (place, 0), xytext=(0, 2), textcoords="offset points", ha="center", color="white")
    ax.set_xlabel("Voronoi index; faces in white")
    return settle(ax) if new else ax


@styled()
def plot_motif_fractions(fractions: MotifFractions, *, delta: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the share of tetrahedra in each kind of motif against the largest distortion allowed.

    Parameters
    ----------
    fractions : MotifFractions
        From :func:`medrange.aet.atoms.motif_fractions`.
    delta : float, optional
        A distortion to mark, such as the one of the further analysis.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on. A tetrahedron may belong to several motifs: the shares may add up to more than 1.

    Examples
    --------
    >>> ax = plot_motif_fractions(motif_fractions(tetrahedra))  # doctest: +SKIP
    """
    new = ax is None
    ax = new_axes((5.4, 2.9)) if new else ax
    for name, values in fractions.fractions.items():
        if np.nanmax(values, initial=0) > 0.002:
            ax.plot(fractions.delta, values, "o-", markersize=3, color=MOTIF_COLORS[name], label=name)
    ax.plot(fractions.delta, fractions.atom_fraction, "--", color="0.4", label="atoms in tetrahedra")
    if delta is not None:
        ax.axvline(delta, color=ACCENT_COLOR, linewidth=0.9, linestyle=":")
    ax.set_xlabel("largest distortion δ")
    ax.set_ylabel("share of tetrahedra")
    ax.set_ylim(0, 1.02)
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return settle(ax) if new else ax


@styled()
def plot_motif_geometry(geometry: MotifGeometry, *, axes: Sequence[Axes] | None = None) -> np.ndarray:
    """Draw histograms of the bond ratios, the tilt theta and the dihedral angle phi of bipyramids.

    Parameters
    ----------
    geometry : MotifGeometry
        From :func:`medrange.aet.atoms.motif_geometry`.
    axes : sequence of matplotlib.axes.Axes, optional
        Three axes to draw on; a new figure by default.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        Ratios, theta, phi; dashed lines are means.

    Examples
    --------
    >>> axes = plot_motif_geometry(motif_geometry(found))  # doctest: +SKIP
    """
    new = axes is None
    if new:
        axes = plt.subplots(1, 3, figsize=(8.2, 2.7), layout="constrained")[1]
    ratios, tilt, dihedral = axes
    for values, color, label in (
        (geometry.alpha_gamma, ACCENT_COLOR, "α/γ"),
        (geometry.beta_gamma, EVEN_COLOR, "β/γ"),
    ):
        _histogram(ratios, values, color, f"{label}, mean {_mean(values):.3f}")
    ratios.set_xlabel("bond ratio")
    ratios.set_ylabel("bipyramids")
    _histogram(tilt, geometry.theta, EVEN_COLOR, f"mean {_mean(geometry.theta):.1f}°")
    tilt.set_xlabel("tilt θ (degrees)")
    _histogram(dihedral, geometry.phi, EVEN_COLOR, f"mean {_mean(geometry.phi):.1f}°")
    dihedral.set_xlabel("dihedral angle φ (degrees)")
    dihedral.set_ylabel("edge-sharing pairs")
    for panel in axes:
        panel.set_ylim(top=1.35 * panel.get_ylim()[1])
        panel.legend(fontsize=7, loc="upper right")
    if new:
        settle(ratios)
    return np.asarray(axes)


@styled()
def plot_sharing(sharing: MotifSharing, *, ax: Axes | None = None) -> Axes:
    """Draw how many bipyramids have how many neighbors by vertex and by edge sharing.

    Parameters
    ----------
    sharing : MotifSharing
        From :func:`medrange.aet.atoms.motif_sharing`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Examples
    --------
    >>> ax = plot_sharing(motif_sharing(found))  # doctest: +SKIP
    """
    new = ax is None
    ax = new_axes((3.6, 2.7)) if new else ax
    table, total = sharing.table, max(len(sharing.edge_neighbors), 1)
    for offset, name, color in ((-0.2, "vertex_sharing", ODD_COLOR), (0.2, "edge_sharing", EVEN_COLOR)):
        ax.bar(table["neighbors"] + offset, table[name] / total, width=0.4, color=color, label=name.replace("_", " "))
    ax.set_xlabel("neighbors")
    ax.set_ylabel("share of bipyramids")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    return settle(ax) if new else ax


@styled()
def plot_partial_icosahedra(partial: PartialIcosahedra, *, ax: Axes | None = None) -> Axes:
    """Draw how many of the 12 bipyramids of an icosahedron are there around an atom.

    Parameters
    ----------
    partial : PartialIcosahedra
        From :func:`medrange.aet.atoms.partial_icosahedra`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; a full icosahedron has 12.

    Examples
    --------
    >>> ax = plot_partial_icosahedra(partial_icosahedra(found))  # doctest: +SKIP
    """
    new = ax is None
    ax = new_axes((3.6, 2.7)) if new else ax
    table = partial.table
    ax.bar(table["n"], table["fraction"], color=EVEN_COLOR, width=0.75)
    ax.set_xlabel("bipyramids around an atom, n")
    ax.set_ylabel("share")
    ax.set_xticks(range(1, 13))
    ax.set_xlim(0.3, 12.7)
    return settle(ax) if new else ax


@styled()
def plot_network_sizes(networks: MotifNetworks, *, ax: Axes | None = None) -> Axes:
    """Draw the length of each network against the number of its bipyramids.

    Parameters
    ----------
    networks : MotifNetworks
        From :func:`medrange.aet.atoms.motif_networks`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on, in nm; networks that meet their own periodic image have no length and are left out.

    Examples
    --------
    >>> ax = plot_network_sizes(motif_networks(found))  # doctest: +SKIP
    """
    new = ax is None
    ax = new_axes((3.6, 2.7)) if new else ax
    finite = np.isfinite(networks.lengths)
    ax.plot(networks.sizes[finite], networks.lengths[finite] / 10, "o", color=EVEN_COLOR, markersize=4, alpha=0.6)
    ax.set_xscale("log")
    ax.set_xlabel("bipyramids in a network")
    ax.set_ylabel("length (nm)")
    ax.set_ylim(bottom=0)
    return settle(ax) if new else ax


@styled()
def plot_network(networks: MotifNetworks, network: int = 0, *, ax: Axes | None = None) -> Axes:
    """Draw a network in three dimensions: skeletons of its bipyramids, and their capping atoms.

    Parameters
    ----------
    networks : MotifNetworks
        From :func:`medrange.aet.atoms.motif_networks`.
    network : int
        Which one; 0 is the largest.
    ax : mpl_toolkits.mplot3d.axes3d.Axes3D, optional
        Where to draw; a new figure by default.

    Returns
    -------
    mpl_toolkits.mplot3d.axes3d.Axes3D
        The axes drawn on, in angstrom, of equal scale along x, y and z.

    Raises
    ------
    IndexError
        If there is no such network.

    Examples
    --------
    >>> ax = plot_network(motif_networks(found))  # doctest: +SKIP
    """
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    if not 0 <= network < len(networks):
        msg = f"network {network} does not exist: there are {len(networks)}, counted from 0."
        raise IndexError(msg)
    new = ax is None
    ax = plt.figure(figsize=(4.4, 4.2), layout="constrained").add_subplot(projection="3d") if new else ax
    skeletons, caps = networks.skeletons(network), networks.corners(network)[:, :2].reshape(-1, 3)
    rings = np.concatenate([skeletons, skeletons[:, :1]], axis=1)
    color = MOTIF_COLORS[{4: "quadrilateral", 5: "pentagonal", 6: "hexagonal"}.get(networks.fold, "heptagonal")]
    ax.add_collection3d(Line3DCollection(rings, colors=color, linewidths=1.1))
    ax.scatter(*skeletons.reshape(-1, 3).T, color="black", s=2, depthshade=False)
    ax.scatter(*caps.T, color="#8c5a2b", s=16, alpha=0.9)
    points = np.concatenate([skeletons.reshape(-1, 3), caps])
    middle, half = (points.max(axis=0) + points.min(axis=0)) / 2, np.ptp(points, axis=0).max() / 2
    for setter, center in zip((ax.set_xlim, ax.set_ylim, ax.set_zlim), middle, strict=True):
        setter(center - half, center + half)
    ax.set_box_aspect((1, 1, 1))
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_major_locator(MaxNLocator(4))
    for setter, name in zip((ax.set_xlabel, ax.set_ylabel, ax.set_zlabel), "xyz", strict=True):
        setter(f"{name} (Å)")
    ax.set_title(f"{networks.sizes[network]} bipyramids, {networks.atom_counts[network]} atoms")
    return settle(ax) if new else ax


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _histogram(ax: Axes, values: np.ndarray, color: str, label: str) -> None:
    ax.hist(values, bins=40, histtype="stepfilled", alpha=0.45, color=color)
    ax.axvline(_mean(values), color=color, linestyle="--", linewidth=1.0, label=label)
