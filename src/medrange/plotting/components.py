"""Structural types: basis PDFs with the distances of cluster connections, maps, their color mix, and fractions.

The figures follow Figs. 3 and 4 of [Kang2024]_ in references.bib.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.patches import Patch

from medrange.plotting.maps import plot_map
from medrange.plotting.style import (
    ACCENT_COLOR,
    EVEN_COLOR,
    MISSING_COLOR,
    ODD_COLOR,
    MapFrame,
    add_scale_bar,
    new_axes,
    settle,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from medrange.signals.structural_components import StructuralComponents

#: Liquid-like and solid-like; further components take the others in turn.
_COLORS = {"liquid-like": EVEN_COLOR, "solid-like": ACCENT_COLOR, "average": EVEN_COLOR}
_OTHERS = ("#4f9d69", "#8e5ea2", "#c98a1b", "#5b5b5b", "#2a9d8f", "#a44a3f")
# Shared atoms of the connections drawn, as in Fig. 3 of Kang 2024.
_CONNECTIONS = (1, 2, 3)


def component_colors(labels: tuple[str, ...]) -> dict[str, str]:
    """One color per component: blue liquid-like, red solid-like, gray residuals, others in turn.

    Parameters
    ----------
    labels : tuple of str
        Names of the components.

    Examples
    --------
    >>> component_colors(("liquid-like", "solid-like", "residual"))["residual"]
    '#b8b8b8'
    """
    others = iter(_OTHERS)
    return {
        label: ODD_COLOR if label.startswith("residual") else _COLORS[label] if label in _COLORS else next(others)
        for label in labels
    }


@styled()
def plot_basis(
    components: StructuralComponents, *, ax: Axes | None = None, connectivity: bool = True, band: bool = False
) -> Axes:
    """Draw the basis PDFs with the distances of clusters that share atoms: Fig. 3a of [Kang2024]_.

    Parameters
    ----------
    components : StructuralComponents
        The decomposition of a scan.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    connectivity : bool, optional
        Dashed lines in the color of each type at the second-neighbor distances of clusters that share 1, 2 or 3
        atoms, with the number above.
    band : bool, optional
        Shade what lies between the inner and the outer end of the feasible band of two types.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Examples
    --------
    >>> ax = plot_basis(g.structural_components(n_components=2))  # doctest: +SKIP
    """
    ax, new = (new_axes((4.4, 3.2)), True) if ax is None else (ax, False)
    r, colors = components.basis.r, component_colors(components.labels)
    for label, curve in zip(components.labels, np.asarray(components.basis.data), strict=True):
        ax.plot(r, curve, color=colors[label], label=label)
    ax.axhline(0, color="0.6", linewidth=0.6, zorder=0)
    if band:
        for label, (inner, outer) in zip(components.labels, components.band.bases, strict=False):
            ax.fill_between(r, inner, outer, color=colors[label], alpha=0.15, linewidth=0)
    if connectivity and components.is_factorization:
        _mark_connections(ax, components, colors)
    ax.set_xlim(r[0], r[-1])
    ax.set_xlabel("r (Å)")
    ax.set_ylabel("G(r) (Å$^{-2}$)" if components.parameters["normalization"] is None else "G(r), normalized")
    ax.legend(loc="upper right")
    return settle(ax) if new else ax


@styled()
def plot_weights(components: StructuralComponents, *, axes: np.ndarray | None = None) -> np.ndarray:
    """Draw the map of each component in shades of its color: Fig. 3b of [Kang2024]_.

    Parameters
    ----------
    components : StructuralComponents
        The decomposition of a scan.
    axes : array of matplotlib.axes.Axes, optional
        At least one per component; a new figure by default.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes, shape (components,)
        The axes drawn on.

    Raises
    ------
    ValueError
        If ``axes`` has too few entries.

    Examples
    --------
    >>> axes = plot_weights(g.structural_components(n_components=2))  # doctest: +SKIP
    """
    count, new = len(components.labels), axes is None
    if axes is None:
        width, height = MapFrame.of(components.weights).panel_size
        _, axes = plt.subplots(1, count, figsize=(width * count, height), layout="constrained", squeeze=False)
    drawn = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    if drawn.size < count:
        msg = f"{drawn.size} axes were given for {count} components; give at least {count}, or none."
        raise ValueError(msg)
    colors = component_colors(components.labels)
    for i, (ax, label) in enumerate(zip(drawn, components.labels, strict=False)):
        image = components.weights.inav[i]
        plot_map(image, ax=ax, label="weight" if components.is_factorization else "score")
        if components.is_factorization:
            shades = LinearSegmentedColormap.from_list(label, ["black", colors[label], "white"])
            ax.images[0].set_cmap(shades.with_extremes(bad=MISSING_COLOR))
        ax.set_title(label)
    if new:
        settle(drawn[0])
    return drawn[:count]


@styled()
def plot_color_mix(components: StructuralComponents, *, ax: Axes | None = None) -> Axes:
    """Draw all types in one map, every position in the mix of their colors: Fig. 3b, right, of [Kang2024]_.

    The color is the mean of the colors of the types, weighted by their fractions; residuals are left out.

    Parameters
    ----------
    components : StructuralComponents
        The decomposition of a scan, by ``"nmf"``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; squares in the colors of the pure types name them.

    Examples
    --------
    >>> ax = plot_color_mix(g.structural_components(n_components=2))  # doctest: +SKIP
    """
    maps = components.fraction_maps
    names = components.labels[: len(maps)]
    frame, colors = MapFrame.of(components.weights), component_colors(components.labels)
    ax, new = (new_axes(frame.panel_size), True) if ax is None else (ax, False)
    mix = np.einsum("tyx,tc->yxc", maps, np.array([to_rgb(colors[name]) for name in names]))
    mix[~np.isfinite(mix).all(axis=-1)] = to_rgb(MISSING_COLOR)
    ax.imshow(np.clip(mix, 0, 1), extent=frame.extent, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    add_scale_bar(ax, frame)
    handles = [Patch(color=colors[name], label=name) for name in names]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=len(names), handlelength=0.8)
    return settle(ax) if new else ax


@styled()
def plot_fractions(
    components: StructuralComponents | Mapping[str, StructuralComponents], *, ax: Axes | None = None
) -> Axes:
    """Draw the population fractions of the types with their errors, of one scan or of several side by side.

    The error bars are those of the block bootstrap; what the factorization itself leaves open is in
    ``components.fractions()``.

    Parameters
    ----------
    components : StructuralComponents or mapping of str to StructuralComponents
        By ``"nmf"``; several by the name of the sample, with the same types, as by ``with_basis``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        If the scans have different types.

    Examples
    --------
    >>> ax = plot_fractions({"as spun": first, "annealed": second.with_basis(first)})  # doctest: +SKIP
    """
    scans = components if isinstance(components, Mapping) else {"": components}
    tables = {name: scan.fractions() for name, scan in scans.items()}
    names = [tuple(table["component"]) for table in tables.values()]
    if len(set(names)) != 1:
        msg = f"the scans have the types {names}; fit them on one basis, second.with_basis(first), to compare."
        raise ValueError(msg)
    ax, new = (new_axes((1.6 + 1.1 * len(scans), 2.8)), True) if ax is None else (ax, False)
    colors = component_colors(names[0])
    width = 0.8 / len(names[0])
    for i, label in enumerate(names[0]):
        x = np.arange(len(scans)) + (i - (len(names[0]) - 1) / 2) * width
        values = np.array([table[["fraction", "error"]].iloc[i] for table in tables.values()], dtype=float)
        ax.bar(x, 100 * values[:, 0], width, yerr=100 * values[:, 1], capsize=3, color=colors[label], label=label)
    ax.set_xticks(np.arange(len(scans)), list(scans))
    ax.set_ylabel("fraction (%)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(names[0]))
    return settle(ax) if new else ax


@styled()
def plot_components(components: StructuralComponents) -> dict[str, Any]:
    """Draw basis PDFs, maps and color mix in one figure: Fig. 3 of [Kang2024]_.

    Parameters
    ----------
    components : StructuralComponents
        The decomposition of a scan.

    Returns
    -------
    dict of str to matplotlib.axes.Axes
        ``"basis"``, one per component by its name, and ``"mix"`` where there are types to mix.

    Examples
    --------
    >>> axes = plot_components(g.structural_components())  # doctest: +SKIP
    """
    labels = list(components.labels)
    names = labels + (["mix"] if components.is_factorization else [])
    width, height = MapFrame.of(components.weights).panel_size
    figure = plt.figure(figsize=(width * len(names), 3.2 + height), layout="constrained")
    axes = figure.subplot_mosaic([["basis"] * len(names), names], height_ratios=[3.2, height])
    plot_basis(components, ax=axes["basis"])
    plot_weights(components, axes=np.array([axes[label] for label in labels], dtype=object))
    if "mix" in axes:
        plot_color_mix(components, ax=axes["mix"])
    settle(axes["basis"])
    return axes


def _mark_connections(ax: Axes, components: StructuralComponents, colors: dict[str, str]) -> None:
    """Dashed lines at the distances of connected clusters, with the number of shared atoms at the top."""
    table = components.connectivity()
    rows = list(table["component"].unique())
    table = table[table["shared_atoms"].isin(_CONNECTIONS) & np.isfinite(table["distance"])]
    for label, atoms, distance in table[["component", "shared_atoms", "distance"]].itertuples(index=False):
        ax.axvline(distance, color=colors[label], linestyle="--", linewidth=0.8, zorder=1)
        ax.annotate(
            str(atoms),
            (distance, 1.0),
            xycoords=("data", "axes fraction"),
            # a row of its own for each type
            xytext=(0, 2 + 9 * rows.index(label)),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=colors[label],
            fontsize=8,
        )
