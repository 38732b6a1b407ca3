"""Curves and bars: power spectrum, k-n map, radial profile, sizes and autocorrelation of hotspots.

The figures follow Figs. 2 and 4 of Im et al., see [Im2018]_ in references.bib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from medrange.plotting.style import (
    ACCENT_COLOR,
    EVEN_COLOR,
    MISSING_COLOR,
    ODD_COLOR,
    SUM_COLOR,
    axis_label,
    new_axes,
    order_colors,
    order_label,
    settle,
    styled,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from medrange.signals.autocorrelation import Autocorrelation
    from medrange.signals.fluctuation import FluctuationVariance
    from medrange.signals.hotspots import Hotspots
    from medrange.signals.mro_result import MROResult
    from medrange.signals.order_map import OrderMap
    from medrange.signals.profiles import RadialProfile

#: Percentiles at the ends of the colors of a spectrum: the even direct beam must not take up the range.
_SPECTRUM_RANGE = (15.0, 99.5)


@styled()
def plot_power_spectrum(
    source: MROResult | OrderMap | Any,
    *,
    k: float | None = None,
    ax: Axes | None = None,
    log: bool = False,
) -> Axes:
    """Draw the angular power P_n averaged over the scan: Fig. 2c of [Im2018]_.

    Even orders are blue, odd ones gray: Friedel symmetry forbids odd orders in a thin sample, so that
    high gray bars warn of thickness or of a wrong center.

    Parameters
    ----------
    source : OrderMap, MROResult or two-dimensional signal
        Maps (n | y, x), averaged here over the scan; or the scan-averaged spectrum with axes named ``n`` and
        ``k``, of which the ring nearest to ``k`` is drawn; or a result, whose analyzed ring is drawn for all n.
    k : float, optional
        Ring of a spectrum, in the unit of its k axis.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    log : bool, optional
        Logarithmic P_n.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        If a spectrum is given without ``k``.

    Examples
    --------
    >>> ax = plot_power_spectrum(result)  # doctest: +SKIP
    """
    title = "scan average"
    if hasattr(source, "band_spectrum"):
        orders = np.rint(source.band_spectrum.axes_manager.signal_axes[0].axis).astype(int)
        power = np.asarray(source.band_spectrum.data, dtype=float)
    elif source.axes_manager.navigation_dimension == 1:
        orders = np.rint(source.axes_manager.navigation_axes[0].axis).astype(int)
        power = _mean_of_valid(np.asarray(source.data, dtype=float).reshape(orders.size, -1).T)
    else:
        if k is None:
            msg = "a k-n spectrum holds one P_n per k; say which ring to draw, for example k=4.0."
            raise ValueError(msg)
        k_axis, n_axis, data = _spectrum_parts(source)
        row = int(np.argmin(np.abs(k_axis.axis - k)))
        orders, power = np.rint(n_axis.axis).astype(int), data[row]
        title = f"ring at {_with_unit(k_axis.axis[row], k_axis.units)}, scan average"
    ax, new = (new_axes((3.6, 2.8)), True) if ax is None else (ax, False)
    kept = orders > 0
    orders, power = orders[kept], power[kept]
    for parity, color, name in ((0, EVEN_COLOR, "even n"), (1, ODD_COLOR, "odd n")):
        chosen = orders % 2 == parity
        if chosen.any():
            ax.bar(orders[chosen], power[chosen], width=0.75, color=color, label=name)
    if log:
        ax.set_yscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("order n")
    ax.set_ylabel("P$_n$")
    ax.set_title(title)
    ax.legend()
    return settle(ax) if new else ax


@styled()
def plot_spectrum(
    spectrum: Any,
    *,
    ax: Axes | None = None,
    cmap: str = "viridis",
    band: tuple[float, float] | None = None,
    n_max: int | None = None,
) -> Axes:
    """Draw the scan-averaged angular power over k and n, logarithmic colors.

    Parameters
    ----------
    spectrum : two-dimensional signal
        P_n(k) with axes named ``k`` and ``n``, data of shape (k, n), dimensionless. Values that are not
        positive have no logarithm and are drawn gray.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    cmap : str, optional
        Name of a perceptually uniform color map.
    band : tuple of float, optional
        Limits of the analyzed band in the unit of the k axis, drawn as two lines.
    n_max : int, optional
        Highest order shown; all by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; k runs to the right, n upwards.

    Examples
    --------
    >>> ax = plot_spectrum(result.spectrum, band=(3.6, 4.4))  # doctest: +SKIP
    """
    k_axis, n_axis, data = _spectrum_parts(spectrum)
    orders = np.rint(n_axis.axis).astype(int)
    kept = (orders > 0) & (orders <= (n_max or orders.max()))
    orders, data = orders[kept], np.ma.masked_invalid(data[:, kept])
    data = np.ma.masked_less_equal(data, 0)
    ax, new = (new_axes((4.2, 2.8)), True) if ax is None else (ax, False)
    mesh = ax.pcolormesh(
        k_axis.axis,
        orders,
        data.T,
        cmap=mpl.colormaps[cmap].with_extremes(bad=MISSING_COLOR),
        norm=LogNorm(*np.percentile(data.compressed(), _SPECTRUM_RANGE)) if data.count() else None,
        shading="nearest",
        rasterized=True,
    )
    ax.set_facecolor(MISSING_COLOR)
    for edge in band or ():
        ax.axvline(edge, color="white", linewidth=1.0, linestyle="--")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel(axis_label("k", k_axis.units))
    ax.set_ylabel("order n")
    ax.figure.colorbar(mesh, ax=ax, pad=0.03, extend="both").set_label("P$_n$")
    return settle(ax) if new else ax


@styled()
def plot_radial_profile(
    profile: RadialProfile | Any, *, ax: Axes | None = None, band: tuple[float, float] | None = None
) -> Axes:
    """Draw the mean intensity I(k) over the scan on a logarithmic scale.

    Parameters
    ----------
    profile : RadialProfile
        Azimuthal mean intensity per probe position (y, x | k), or one curve (| k).
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    band : tuple of float, optional
        Limits of the analyzed band in the unit of the k axis, shaded.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Examples
    --------
    >>> ax = plot_radial_profile(result.profile, band=(3.6, 4.4))  # doctest: +SKIP
    """
    k_axis = profile.axes_manager.signal_axes[0]
    mean = _mean_of_valid(np.asarray(profile.data).reshape(-1, k_axis.size))
    ax, new = (new_axes((3.6, 2.8)), True) if ax is None else (ax, False)
    ax.plot(k_axis.axis, mean, color=EVEN_COLOR)
    if np.nanmax(mean, initial=-np.inf) > 0:
        ax.set_yscale("log", nonpositive="mask")
    if band is not None:
        ax.axvspan(*band, color=ACCENT_COLOR, alpha=0.25, linewidth=0, label="analyzed band")
        ax.legend()
    ax.set_xlim(left=0.0, right=float(k_axis.axis[-1]))
    ax.set_xlabel(axis_label("k", k_axis.units))
    ax.set_ylabel("mean intensity")
    return settle(ax) if new else ax


@styled()
def plot_fluctuation_variance(v: FluctuationVariance | Any, *, ax: Axes | None = None) -> Axes:
    """Draw V(k): corrected for shot noise where a gain was given, with raw and noise dashed, else raw.

    The band is one standard error to either side, drawn where a bootstrap was made.

    Parameters
    ----------
    v : FluctuationVariance
        Curves over k, from ``s.fluctuation_variance()``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Examples
    --------
    >>> ax = plot_fluctuation_variance(s.fluctuation_variance(gain=1, n_bootstrap=200))  # doctest: +SKIP
    """
    ax, new = (new_axes((3.6, 2.8)), True) if ax is None else (ax, False)
    corrected = v.gain is not None
    (line,) = ax.plot(v.k, v.value, color=EVEN_COLOR, label="corrected" if corrected else "raw")
    if np.isfinite(v.error).any():
        low, high = v.value - v.error, v.value + v.error
        ax.fill_between(v.k, low, high, color=line.get_color(), alpha=0.25, linewidth=0, label="standard error")
    if corrected:
        ax.plot(v.k, v.raw, color=SUM_COLOR, linewidth=0.9, linestyle="--", label="raw")
        ax.plot(v.k, v.noise, color=ODD_COLOR, linewidth=0.9, linestyle="--", label="shot noise")
    ax.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
    ax.set_xlim(left=0.0, right=float(v.k[-1]))
    ax.set_xlabel(axis_label("k", v.k_units))
    ax.set_ylabel("V(k)")
    ax.set_title(v.method.replace("_", " "))
    ax.legend()
    return settle(ax) if new else ax


@styled()
def plot_size_statistics(hotspots: Hotspots, *, axes: np.ndarray | None = None) -> np.ndarray:
    """Draw mean diameter and volume fraction of the hotspots per order: Fig. 4b of [Im2018]_.

    Error bars are standard errors of the mean over the regions of one map.

    Parameters
    ----------
    hotspots : Hotspots
        Statistics in ``hotspots.summary``, one row per order.
    axes : array of two matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes, shape (2,)
        Panels of the diameter and of the volume fraction.

    Examples
    --------
    >>> axes = plot_size_statistics(result.power.hotspots())  # doctest: +SKIP
    """
    drawn = _two_axes(axes)
    summary = hotspots.summary
    for ax, column, label in zip(
        drawn,
        ("diameter", "volume_fraction"),
        (axis_label("mean diameter", hotspots.units.get("diameter")), "volume fraction (%)"),
        strict=True,
    ):
        _draw_bars(ax, summary, column)
        ax.set_ylabel(label)
        ax.set_xlabel("order n")
    if axes is None:
        settle(drawn[0])
    return drawn


@styled()
def plot_autocorrelation(
    autocorrelation: Autocorrelation, *, axes: np.ndarray | None = None, split: float | None = None
) -> np.ndarray:
    """Draw the radial autocorrelation of the maps at short and at long range: Fig. 4c, d of [Im2018]_.

    Parameters
    ----------
    autocorrelation : Autocorrelation
        Curves (map, r), 1 at r = 0, with correlation lengths and first neighbors.
    axes : array of two matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    split : float, optional
        End of the short range and start of the long one, in the unit of r; by default twice the largest
        correlation length.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes, shape (2,)
        Panels of the short range, with the 1/e level that defines the correlation length, and of the long
        range, with a triangle at the first neighbor of each map.

    Examples
    --------
    >>> axes = plot_autocorrelation(result.power.autocorrelation())  # doctest: +SKIP
    """
    short, long = drawn = _two_axes(axes)
    r, values = np.asarray(autocorrelation.r, dtype=float), np.asarray(autocorrelation.values, dtype=float)
    split = _split_distance(autocorrelation) if split is None else split
    colors = order_colors(autocorrelation.orders)
    near, far = r <= split, r >= r[r <= split].max(initial=r.min())
    neighbors = np.asarray(autocorrelation.first_neighbor, dtype=float).ravel()
    for order, curve, neighbor in zip(autocorrelation.orders, values, neighbors, strict=True):
        style = {
            "color": colors[order],
            "label": order_label(order),
            "linestyle": "--" if order == "sum" else "-",
        }
        short.plot(r[near], curve[near], marker="o", markersize=2.5, **style)
        long.plot(r[far], curve[far], **style)
        if np.isfinite(neighbor) and neighbor >= split:
            height = np.interp(neighbor, r, curve)
            long.plot(neighbor, height, marker="v", markersize=6, color=colors[order], linestyle="none")
    short.axhline(np.exp(-1), color="0.6", linewidth=0.8, linestyle=":")
    short.annotate(
        "1/e",
        (1, np.exp(-1)),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 2),
        textcoords="offset points",
        ha="right",
        color="0.4",
    )
    long.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
    short.set_xlim(0, split)
    for ax, title in ((short, "short range"), (long, "long range")):
        ax.set_xlabel(axis_label("r", _r_units(autocorrelation)))
        ax.set_ylabel("autocorrelation σ(r)")
        ax.set_title(title)
    long.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    if axes is None:
        settle(short)
    return drawn


def _mean_of_valid(values: np.ndarray) -> np.ndarray:
    """Mean over the rows of (rows, columns) without NaN; a column without a value stays NaN, silently."""
    total = values.sum(axis=0, dtype=np.float64)
    if np.isfinite(total).all():
        return total / len(values)
    counts = np.isfinite(values).sum(axis=0)
    return np.divide(
        np.nansum(values, axis=0, dtype=np.float64), counts, out=np.full(values.shape[1], np.nan), where=counts > 0
    )


def _draw_bars(ax: Axes, summary: pd.DataFrame, column: str) -> None:
    """Bars with error bars, one per order; the sum set apart in gray."""
    heights = summary[f"{column}_mean" if f"{column}_mean" in summary else column].to_numpy(dtype=float)
    errors = summary[f"{column}_sem"].to_numpy(dtype=float) if f"{column}_sem" in summary else None
    if column == "volume_fraction":
        heights, errors = heights * 100, None if errors is None else errors * 100
    names = [str(order) for order in summary["n"]]
    positions = np.arange(len(names), dtype=float)
    colors = [SUM_COLOR if name == "sum" else EVEN_COLOR for name in names]
    ax.bar(positions, heights, yerr=errors, width=0.7, color=colors, capsize=3, error_kw={"linewidth": 0.9})
    ax.set_xticks(positions, names)
    ax.set_ylim(bottom=0)


def _split_distance(autocorrelation: Autocorrelation) -> float:
    """Twice the largest correlation length, inside the range of r."""
    r = np.asarray(autocorrelation.r, dtype=float)
    lengths = np.asarray(autocorrelation.correlation_length, dtype=float).ravel()
    lengths = lengths[np.isfinite(lengths)]
    wanted = 2 * lengths.max() if lengths.size else r[-1] / 4
    return float(np.clip(wanted, r[min(2, r.size - 1)], r[-1] / 2))


def _r_units(autocorrelation: Autocorrelation) -> str:
    """Name the unit of r, the result's own if it has one."""
    units = getattr(autocorrelation, "units", "nm")
    return units.get("r", "nm") if isinstance(units, dict) else units


def _spectrum_parts(spectrum: Any) -> tuple[Any, Any, np.ndarray]:
    """Find the k axis, the n axis and the data (k, n) of a spectrum."""
    axes = {axis.name: axis for axis in spectrum.axes_manager.signal_axes}
    if not {"k", "n"} <= set(axes):
        msg = f"the spectrum has axes {sorted(map(str, axes))}; it needs one named 'k' and one named 'n'."
        raise ValueError(msg)
    data = np.asarray(spectrum.data, dtype=float)
    return axes["k"], axes["n"], data if axes["k"].index_in_array < axes["n"].index_in_array else data.T


def _with_unit(value: float, units: object) -> str:
    """``"4.00 nm$^{-1}$"``."""
    label = axis_label("", units).strip()
    return f"{value:.2f} {label.strip('()')}".rstrip()


def _two_axes(axes: np.ndarray | None) -> np.ndarray:
    """Two axes: those given, or side by side in a new figure."""
    if axes is None:
        _, axes = plt.subplots(1, 2, figsize=(7.0, 2.8), layout="constrained")
    flat = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    if flat.size != 2:
        msg = f"{flat.size} axes were given; this figure has two panels."
        raise ValueError(msg)
    return flat
