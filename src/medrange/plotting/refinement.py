"""Refined atomic models: R over the iterations, displacements and deviations along each axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import MaxNLocator

from medrange.plotting.style import EVEN_COLOR, STYLE, axis_label, new_axes, order_colors, settle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from medrange.aet.tomography.comparison import ModelComparison
    from medrange.aet.tomography.precision_estimate import PrecisionEstimate
    from medrange.aet.tomography.refinement import Refinement

_NAMES = ("x", "y", "z")


@mpl.rc_context(STYLE)
def plot_refinement(
    source: Refinement | Mapping[str, Refinement], *, ax: Axes | None = None, log: bool = False
) -> Axes:
    """Draw R over the iterations of a refinement, or of several.

    Parameters
    ----------
    source : Refinement or mapping
        One refinement, or refinements by name.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    log : bool, optional
        Logarithmic R.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; iteration 0 is the start.

    Examples
    --------
    >>> ax = plot_refinement(refinement)  # doctest: +SKIP
    """
    ax, new = (new_axes((3.6, 2.8)), True) if ax is None else (ax, False)
    runs = source if isinstance(source, Mapping) else {"": source}
    for name, run in runs.items():
        ax.plot(run.r_factor, label=name or None, color=None if name else EVEN_COLOR)
    if log:
        ax.set_yscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("iteration")
    ax.set_ylabel("R")
    if isinstance(source, Mapping):
        ax.legend()
    return settle(ax) if new else ax


@mpl.rc_context(STYLE)
def plot_deviations(
    source: Refinement | ModelComparison | PrecisionEstimate, *, ax: Axes | None = None, bins: int = 40
) -> Axes:
    """Draw histograms along x, y and z: displacements of a refinement, or deviations between two models.

    Parameters
    ----------
    source : Refinement, ModelComparison or PrecisionEstimate
        Of the last, the refined atoms against the truth.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    bins : int, optional
        Of equal width, the same for all axes and symmetric about zero.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; the legend gives the root mean square along each axis.

    Raises
    ------
    ValueError
        If there are no atoms.

    Examples
    --------
    >>> ax = plot_deviations(refinement)  # doctest: +SKIP
    """
    refined = getattr(source, "refined", source)
    moves = hasattr(refined, "displacements")
    values = np.asarray(refined.displacements if moves else refined.deviations)
    if not len(values):
        msg = "there are no atoms to draw; the models share none."
        raise ValueError(msg)
    ax, new = (new_axes((3.6, 2.8)), True) if ax is None else (ax, False)
    reach = max(float(np.abs(values).max()), 1e-3)
    colors = order_colors(range(len(_NAMES)))
    for index, (name, along) in enumerate(zip(_NAMES, values.T, strict=True)):
        rms = float(np.sqrt(np.mean(along**2)))
        ax.hist(
            along,
            bins=bins,
            range=(-reach, reach),
            histtype="step",
            color=colors[index],
            label=f"{name}, rms {rms:.3f} Å",
        )
    ax.set_xlabel(axis_label("displacement" if moves else "deviation", "Å"))
    ax.set_ylabel("atoms")
    ax.legend()
    return settle(ax) if new else ax
