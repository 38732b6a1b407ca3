"""Curves of the pair distribution chain: intensity with its background, S(k), and G(r) with its error and marks.

The figures follow Figs. 1e and 3a of Kang et al., see [Kang2024]_ in references.bib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from medrange.plotting.style import ACCENT_COLOR, EVEN_COLOR, ODD_COLOR, axis_label, order_colors, settle, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from medrange.signals.reduced_pdf import ReducedPDF
    from medrange.signals.structure_factor import StructureFactor

#: How clusters are joined that share 1, 2, 3 or 4 atoms.
_SHARED = {1: "1 atom", 2: "2 atoms", 3: "3 atoms", 4: "4 atoms"}


@styled()
def plot_structure_factor(factor: StructureFactor, *, axes: Sequence[Axes] | None = None) -> np.ndarray:
    """Draw I(k) with its background, and S(k), averaged over the scan.

    Parameters
    ----------
    factor : StructureFactor
        (y, x | k), or one curve.
    axes : sequence of two matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes, shape (2,)
        Panels of the intensity, logarithmic, with what S = 1 would give, and of S(k).

    Examples
    --------
    >>> axes = plot_structure_factor(profile.structure_factor("Fe80B20", k_range=(0.25, 1.6)))  # doctest: +SKIP
    """
    if axes is None:
        drawn = plt.figure(figsize=(6.6, 2.8), layout="constrained").subplots(1, 2)
    else:
        drawn = np.asarray(axes, dtype=object)
    k_axis = factor.axes_manager.signal_axes[0]
    intensity, structure = drawn
    intensity.plot(k_axis.axis, _mean(factor.profile()), color=EVEN_COLOR, label="measured")
    intensity.plot(
        k_axis.axis, _mean(factor.background()), color=ACCENT_COLOR, linestyle="--", label="without structure"
    )
    intensity.set_yscale("log", nonpositive="mask")
    intensity.set_ylabel("mean intensity")
    intensity.legend()
    structure.plot(k_axis.axis, _mean(factor), color=EVEN_COLOR)
    structure.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
    structure.set_ylabel("S(k)")
    for ax in drawn:
        ax.set_xlabel(axis_label("k", k_axis.units))
        ax.set_xlim(float(k_axis.axis[0]), float(k_axis.axis[-1]))
    if axes is None:
        settle(intensity)
    return drawn


@styled()
def plot_reduced_pdf(
    pdf: ReducedPDF,
    *,
    ax: Axes | None = None,
    error: Any = None,
    connectivity: bool = False,
    labels: Sequence[str] | None = None,
) -> Axes:
    """Draw G(r), averaged over the scan, or each curve of a list of them.

    Parameters
    ----------
    pdf : ReducedPDF
        (y, x | r): the mean is drawn; (component | r): every curve; (| r): the curve.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    error : signal or array, optional
        Standard error of each drawn curve, (curve, r) or (r,), from ``ReducedPDF.error_band()`` of one curve
        or of a list; drawn as a band of one standard error to either side.
    connectivity : bool
        Mark the second-neighbor distances of clusters that share 1 to 4 atoms, from ``connectivity()``.
    labels : sequence of str, optional
        Names of the curves, for a legend.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; a triangle marks the first peak of each curve.

    Raises
    ------
    ValueError
        If the error is not of the shape of the curves.

    Examples
    --------
    >>> ax = plot_reduced_pdf(structure_factor.reduced_pdf(), connectivity=True)  # doctest: +SKIP
    """
    new = ax is None
    if ax is None:
        ax = plt.figure(figsize=(4.2, 2.8), layout="constrained").subplots()
    axis = pdf.axes_manager.signal_axes[0]
    curves = _curves(pdf)
    bands = None if error is None else _bands(error, curves.shape)
    table = pdf.connectivity()
    colors = [EVEN_COLOR] if len(curves) == 1 else list(order_colors(range(len(curves))).values())
    for i, curve in enumerate(curves):
        (line,) = ax.plot(axis.axis, curve, color=colors[i], label=None if labels is None else labels[i])
        if bands is not None:
            low, high = curve - bands[i], curve + bands[i]
            ax.fill_between(axis.axis, low, high, color=line.get_color(), alpha=0.25, linewidth=0)
        rows = table[table["curve"] == i]
        first = float(rows["first_peak"].iloc[0])
        if np.isfinite(first):
            height = np.interp(first, axis.axis, curve)
            ax.plot(first, height, marker="v", markersize=5, color=line.get_color(), linestyle="none")
        if connectivity:
            _draw_connectivity(ax, rows, line.get_color(), named=i == 0)
    ax.axhline(0, color=ODD_COLOR, linewidth=0.8, linestyle=":")
    ax.set_xlim(0.0, float(axis.axis[-1]))
    ax.set_xlabel(axis_label("r", axis.units))
    ax.set_ylabel("G(r) (Å$^{-2}$)")
    if labels is not None:
        ax.legend()
    return settle(ax) if new else ax


def _mean(signal: Any) -> np.ndarray:
    """Mean curve over the scan."""
    data = np.asarray(signal.data, dtype=float)
    return np.nanmean(data.reshape(-1, data.shape[-1]), axis=0)


def _curves(pdf: ReducedPDF) -> np.ndarray:
    """Curves to draw, (curve, r)."""
    data = np.asarray(pdf.data, dtype=float)
    return data if pdf.axes_manager.navigation_dimension == 1 else _mean(pdf)[None]


def _bands(error: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(getattr(error, "data", error), dtype=float)
    if values.shape not in (shape, shape[1:]):
        msg = (
            f"error has shape {values.shape}, the drawn curves {shape}: the error of a mean over a scan is not the "
            "mean of the errors; average the radial profiles first and take error_band() of that PDF."
        )
        raise ValueError(msg)
    return values.reshape(shape)


def _draw_connectivity(ax: Axes, rows: Any, color: Any, *, named: bool) -> None:
    """Dashed lines at the distances, with the number of shared atoms at their top."""
    for distance, atoms in zip(rows["distance"], rows["shared_atoms"], strict=True):
        if not np.isfinite(distance):
            continue
        ax.axvline(distance, color=color, linewidth=0.8, linestyle="--", alpha=0.7)
        if named:
            # 2 and 3 shared atoms are too close for two labels on the same side.
            right = atoms in (1, 2)
            ax.annotate(
                _SHARED[atoms],
                (distance, 1),
                xycoords=("data", "axes fraction"),
                xytext=(2 if right else -2, -3),
                textcoords="offset points",
                rotation=90,
                ha="left" if right else "right",
                va="top",
                fontsize=7,
                color="0.3",
            )
