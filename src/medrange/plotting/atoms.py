"""Curves and maps of atomic models: g(r), bond orientational order, interface profile, density slices.

The figures follow Figs. 1 and 3 and Supplementary Figs. 8 and 22 of Yuan et al., see [Yuan2022]_ in
references.bib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm

from medrange.plotting.style import ACCENT_COLOR, EVEN_COLOR, MISSING_COLOR, axis_label, new_axes, settle, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from medrange.aet.atoms.bond_orientation import BondOrder
    from medrange.aet.atoms.density import MassDensity
    from medrange.aet.atoms.interface import InterfaceWidth
    from medrange.aet.atoms.pair_correlation import PairDistribution


@styled()
def plot_pair_distribution(distribution: PairDistribution, *, ax: Axes | None = None) -> Axes:
    """Draw g(r) with its first valley, and the partial curves if there are any.

    Parameters
    ----------
    distribution : PairDistribution
        From :func:`medrange.aet.atoms.pair_distribution`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; r in angstrom.

    Examples
    --------
    >>> ax = plot_pair_distribution(pair_distribution(atoms))  # doctest: +SKIP
    """
    ax, new = (new_axes((4.2, 2.8)), True) if ax is None else (ax, False)
    shades = mpl.colormaps["viridis"](np.linspace(0.25, 0.88, len(distribution.partial)))
    for ((a, b), values), shade in zip(distribution.partial.items(), shades, strict=True):
        ax.plot(distribution.r, values, color=shade, linewidth=1.0, label=f"{a}-{b}")
    label = "all pairs" if distribution.partial else None
    ax.plot(distribution.r, distribution.g, color=EVEN_COLOR, label=label)
    if np.isfinite(distribution.first_valley):
        text = f"first valley {distribution.first_valley:.2f} Å"
        ax.axvline(distribution.first_valley, color=ACCENT_COLOR, linewidth=0.9, linestyle="--", label=text)
    ax.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
    ax.set_xlim(0, distribution.parameters["r_max"])
    ax.set_ylim(bottom=0)
    ax.set_xlabel(axis_label("r", "Å"))
    ax.set_ylabel("g(r)")
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
    return settle(ax) if new else ax


@styled()
def plot_bond_order(order: BondOrder, *, ax: Axes | None = None) -> Axes:
    """Draw how many atoms have which averaged Q4 and Q6, with the circle of the crystal threshold.

    Parameters
    ----------
    order : BondOrder
        From :func:`medrange.aet.atoms.bond_order`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; colors are atoms, logarithmic.

    Examples
    --------
    >>> ax = plot_bond_order(bond_order(atoms, cutoff=4.12))  # doctest: +SKIP
    """
    from medrange.aet.atoms.bond_orientation import CRYSTAL_ORDER, FCC_Q4, FCC_Q6

    ax, new = (new_axes((3.6, 2.8)), True) if ax is None else (ax, False)
    high = 1.05 * max(FCC_Q6, float(order.q4.max()), float(order.q6.max()))
    counts = ax.hist2d(order.q4, order.q6, bins=80, range=((0, high), (0, high)), norm=LogNorm(), cmin=1)[3]
    counts.set_rasterized(True)
    ax.figure.colorbar(counts, ax=ax, label="atoms")
    angle = np.linspace(0, np.pi / 2, 100)
    radius = CRYSTAL_ORDER * np.hypot(FCC_Q4, FCC_Q6)
    ax.plot(radius * np.cos(angle), radius * np.sin(angle), color=ACCENT_COLOR, linestyle="--")
    # Lattices with ideal neighbors: 12 of fcc and hcp, 14 of bcc.
    for name, q4, q6 in (("fcc", FCC_Q4, FCC_Q6), ("hcp", 0.09722, 0.48476), ("bcc", 0.03637, 0.51069)):
        ax.plot(q4, q6, marker="+", color="black", linestyle="none")
        ax.annotate(name, (q4, q6), xytext=(4, -9 if name == "hcp" else 2), textcoords="offset points", fontsize=8)
    ax.set_xlabel("averaged Q$_4$")
    ax.set_ylabel("averaged Q$_6$")
    return settle(ax) if new else ax


@styled()
def plot_interface(interface: InterfaceWidth, *, ax: Axes | None = None) -> Axes:
    """Draw the order against the distance from the nuclei, with standard errors and the fit.

    Parameters
    ----------
    interface : InterfaceWidth
        From :func:`medrange.aet.atoms.interface_width`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; distances in angstrom, positive outside the nuclei.

    Examples
    --------
    >>> ax = plot_interface(interface_width(nuclei))  # doctest: +SKIP
    """
    ax, new = (new_axes((4.2, 2.8)), True) if ax is None else (ax, False)
    errors = interface.spread / np.sqrt(interface.counts)
    ax.errorbar(interface.distances, interface.order, errors, fmt="o", markersize=3, color=EVEN_COLOR, linewidth=0.9)
    x = np.linspace(*interface.parameters["window"], 200)
    ax.plot(
        x, interface.fit(x), color=ACCENT_COLOR, label=f"width {interface.width:.1f} ± {interface.width_error:.1f} Å"
    )
    ax.axvline(0, color="0.6", linewidth=0.8, linestyle=":")
    ax.set_xlabel(axis_label("distance from the nuclei", "Å"))
    ax.set_ylabel("normalized bond order")
    ax.legend()
    return settle(ax) if new else ax


@styled()
def plot_density_slice(density: MassDensity, *, z: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the mass density in a plane normal to z.

    Parameters
    ----------
    density : MassDensity
        From :func:`medrange.aet.atoms.mass_density`.
    z : float, optional
        Height of the plane, angstrom; the middle of the grid by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; x to the right, y upwards, angstrom; gray where there is no density.

    Raises
    ------
    ValueError
        If the plane misses the grid.

    Examples
    --------
    >>> ax = plot_density_slice(mass_density(atoms, fwhm=4.12))  # doctest: +SKIP
    """
    grid = density.grid
    low, high = grid.origin, grid.origin + grid.step * (np.array(grid.shape) - 1)
    z = float(low[2] + high[2]) / 2 if z is None else z
    if not low[2] <= z <= high[2]:
        msg = f"z is {z:g} Å; the grid runs from {low[2]:.4g} to {high[2]:.4g} Å."
        raise ValueError(msg)
    ax, new = (new_axes((4.0, 3.2)), True) if ax is None else (ax, False)
    plane = density.density[:, :, round((z - low[2]) / grid.step)]
    half = grid.step / 2
    extent = (low[0] - half, high[0] + half, low[1] - half, high[1] + half)
    image = ax.imshow(plane.T, origin="lower", extent=extent, interpolation="nearest")
    ax.set_facecolor(MISSING_COLOR)
    ax.figure.colorbar(image, ax=ax, label="density (g/cm$^3$)")
    ax.set_xlabel(axis_label("x", "Å"))
    ax.set_ylabel(axis_label("y", "Å"))
    ax.set_title(f"z = {z:.1f} Å")
    return settle(ax) if new else ax
