"""Maps over the scan: one map, the n-fold maps side by side, and the outlines of hotspots.

The figures follow Figs. 3 and 4a of Im et al., see [Im2018]_ in references.bib.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from medrange.plotting.style import (
    ACCENT_COLOR,
    MISSING_COLOR,
    MapFrame,
    add_scale_bar,
    axis_label,
    order_label,
    settle,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from medrange.signals.hotspots import Hotspots
    from medrange.signals.order_map import OrderMap
    from medrange.signals.strain import RingStrain

#: Percentiles shown as the ends of the color range when no limits are given: only the brightest are clipped.
_RANGE = (0.0, 99.5)
#: Percentiles of the overlaid map at which its contours run: the bright speckles of Im 2018.
_CONTOUR_PERCENTILES = (85.0, 95.0)


@styled()
def plot_map(
    signal: OrderMap,
    *,
    ax: Axes | None = None,
    cmap: str = "viridis",
    label: str | None = None,
    scale_bar: bool = True,
    contour: OrderMap | None = None,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Draw one map over the scan with a color bar and a scale bar.

    Parameters
    ----------
    signal : OrderMap or other two-dimensional signal
        The map, data of shape (y, x); pixels without a value (NaN) are drawn gray.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    cmap : str, optional
        Name of a perceptually uniform color map.
    label : str, optional
        Text at the color bar; by default the quantity of the signal, or its title.
    scale_bar : bool, optional
        Draw a scale bar in the unit of the scan axes and leave out ticks; otherwise the axes carry ticks.
    contour : OrderMap, optional
        A second map of the same scan, (y, x), drawn as contour lines at its 85th and 95th percentile.
    limits : tuple of float, optional
        Ends of the color range in the unit of the map; by default the minimum and the 99.5th
        percentile. Values beyond are announced by the pointed end of the color bar.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        If the signal holds several maps, or the contour map has another shape.

    Examples
    --------
    >>> import hyperspy.api as hs, numpy as np
    >>> from medrange.plotting import plot_map
    >>> signal = hs.signals.Signal2D(np.random.default_rng(0).random((16, 16)))
    >>> signal.axes_manager.signal_axes.set(scale=0.32, units="nm")
    >>> ax = plot_map(signal, label="V$_{2D}$")
    """
    data, frame = _single_map(signal), MapFrame.of(signal)
    ax, new = (_new_axes(frame)[0], True) if ax is None else (ax, False)
    if label is None:
        label = _title(signal)
    _draw(ax, data, frame, cmap=cmap, label=label, limits=limits)
    if contour is not None:
        _draw_contour(ax, contour, data.shape, frame)
    _finish_frame(ax, frame, scale_bar=scale_bar)
    return settle(ax) if new else ax


@styled()
def plot_order_maps(
    order_map: OrderMap,
    *,
    contour: OrderMap | None = None,
    axes: np.ndarray | None = None,
    include_sum: bool = True,
    cmap: str = "viridis",
    label: str = "P$_n$",
    columns: int = 3,
) -> np.ndarray:
    """Draw all n-fold maps side by side, each with its own color range: Fig. 3 of [Im2018]_.

    Parameters
    ----------
    order_map : OrderMap
        Maps (n | y, x).
    contour : OrderMap, optional
        A map (y, x), usually V2D, drawn as contour lines over every panel.
    axes : array of matplotlib.axes.Axes, optional
        Axes to draw on, at least one per panel; a new figure by default.
    include_sum : bool, optional
        Add a last panel with the normalized sum of the maps, ``order_map.normalized_sum()``.
    cmap : str, optional
        Name of a perceptually uniform color map.
    label : str, optional
        Text at the color bars of the n-fold maps.
    columns : int, optional
        Panels per row of a new figure.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes, shape (panels,)
        The axes drawn on, in the order of n, the sum last.

    Raises
    ------
    ValueError
        If the signal holds a single map, or ``axes`` has too few entries.

    Examples
    --------
    >>> axes = plot_order_maps(result.power, contour=result.variance)  # doctest: +SKIP
    """
    orders = stack_orders(order_map)
    panels = [
        (order_label(order), np.asarray(data), label)
        for order, data in zip(orders, np.asarray(order_map.data), strict=True)
    ]
    if include_sum:
        panels.append((order_label("sum"), np.asarray(order_map.normalized_sum().data), "normalized sum"))
    frame = MapFrame.of(order_map)
    drawn = _panel_axes(axes, len(panels), columns, frame)
    for ax, (title, data, bar_label) in zip(drawn, panels, strict=True):
        _draw(ax, data, frame, cmap=cmap, label=bar_label)
        if contour is not None:
            _draw_contour(ax, contour, data.shape, frame)
        _finish_frame(ax, frame, scale_bar=True)
        ax.set_title(title)
    if axes is None:
        settle(drawn[0])
    return drawn


@styled()
def plot_hotspots(
    hotspots: Hotspots,
    order_map: OrderMap | None = None,
    *,
    n: int | str | None = None,
    ax: Axes | None = None,
    cmap: str = "viridis",
) -> Axes:
    """Outline the hotspots of one map: Fig. 4a of [Im2018]_.

    Outlines run along pixel edges: what is enclosed is what was counted.

    Parameters
    ----------
    hotspots : Hotspots
        Labelled regions and their table.
    order_map : OrderMap, optional
        Background: the maps (n | y, x) the hotspots were found in, or one map (y, x). Without it the
        label image itself is drawn.
    n : int or str, optional
        Which map: an order or ``"sum"``; by default the normalized sum if it was analyzed, else the first.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    cmap : str, optional
        Name of a perceptually uniform color map for the background.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; the title tells the number of regions and their mean diameter.

    Raises
    ------
    ValueError
        If no hotspots were looked for in the map ``n``, or the background has another shape.

    Examples
    --------
    >>> ax = plot_hotspots(result.power.hotspots(), result.power, n=4)  # doctest: +SKIP
    """
    order = chosen_order(hotspots, n)
    labels = np.asarray(hotspots.labels[list(hotspots.orders).index(order)])
    if order_map is None:
        frame = MapFrame.of_grid(labels.shape, hotspots.pixel_size, hotspots.origin)
        background, label = np.where(labels > 0, labels, np.nan).astype(float), "region"
    else:
        frame = MapFrame.of(order_map)
        background, label = _background(order_map, order), _background_label(order_map, order)
        _check_shape(background.shape, labels.shape, "background map")
    ax, new = (_new_axes(frame)[0], True) if ax is None else (ax, False)
    _draw(ax, background, frame, cmap=cmap, label=label)
    # One path for all regions: a large scan has thousands of them.
    ax.add_artist(PathPatch(_region_edges(labels, frame), fill=False, edgecolor=ACCENT_COLOR, linewidth=1.0, zorder=3))
    _finish_frame(ax, frame, scale_bar=True)
    ax.set_title(_hotspot_title(hotspots, order))
    return settle(ax) if new else ax


@styled()
def plot_strain(
    strain: RingStrain, *, axes: np.ndarray | None = None, limit: float | None = None, cmap: str = "RdBu_r"
) -> np.ndarray:
    """Draw the maps exx, eyy and exy side by side in percent, on one color scale centered at zero.

    Parameters
    ----------
    strain : RingStrain
        Strain maps (y, x), in memory or lazy.
    axes : array of matplotlib.axes.Axes, optional
        At least three axes to draw on; a new figure by default.
    limit : float, optional
        Strain, in percent, at the ends of the color scale; by default the 99.5th percentile of its magnitude.
    cmap : str, optional
        Name of a diverging color map.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes, shape (3,)
        The axes drawn on.

    Raises
    ------
    ValueError
        If the limit is not positive, or ``axes`` has too few entries.

    Examples
    --------
    >>> axes = plot_strain(s.ring_strain(k=4.0, width=2.0))  # doctest: +SKIP
    """
    if limit is not None and not limit > 0:
        msg = f"limit is {limit!r} %; the strain at the ends of the color scale must be positive."
        raise ValueError(msg)
    maps = {name: 100 * np.asarray(signal.data) for name, signal in strain.signals.items()}
    if limit is None:
        values = np.abs(np.stack(list(maps.values())))
        values = values[np.isfinite(values)]
        limit = (np.percentile(values, _RANGE[1]) if values.size else 0) or 1.0
    frame = MapFrame.of(strain.exx)
    drawn = _panel_axes(axes, len(maps), len(maps), frame)
    for ax, (name, data) in zip(drawn, maps.items(), strict=True):
        _draw(ax, data, frame, cmap=cmap, label="strain (%)", limits=(-limit, limit))
        _finish_frame(ax, frame, scale_bar=True)
        ax.set_title(f"$\\varepsilon_{{{name[1:]}}}$")
    if axes is None:
        settle(drawn[0])
    return drawn


def _hotspot_title(hotspots: Hotspots, order: Hashable) -> str:
    """Count and mean size in two lines: ``n = 4: 12 regions``, ``mean diameter 1.21 nm``."""
    row = hotspots.summary[hotspots.summary["n"].astype(str) == str(order)].iloc[0]
    count = int(row["count"])
    title = f"{order_label(order)}: {count} region{'s' if count != 1 else ''}"
    if count == 0:
        return title
    units = hotspots.units.get("diameter", "")
    return f"{title}\nmean diameter {row['diameter_mean']:.2f} {units}".rstrip()


def chosen_order(hotspots: Hotspots, n: int | str | None) -> Hashable:
    """Order to draw: as asked, else the sum, else the first."""
    orders = list(hotspots.orders)
    if n is None:
        return "sum" if "sum" in orders else orders[0]
    if n not in orders:
        msg = f"no hotspots were looked for in the map n = {n!r}; analyzed maps: {', '.join(map(str, orders))}."
        raise ValueError(msg)
    return n


def _background(order_map: OrderMap, order: Hashable) -> np.ndarray:
    """Map (y, x) of ``order`` out of a stack, its normalized sum, or the single map itself."""
    if order_map.axes_manager.navigation_dimension == 0:
        return np.asarray(order_map.data)
    if order == "sum":
        return np.asarray(order_map.normalized_sum().data)
    orders = stack_orders(order_map)
    if order not in orders:
        msg = f"the background holds no map n = {order!r}; it has {', '.join(map(str, orders))}."
        raise ValueError(msg)
    return np.asarray(order_map.data[orders.index(order)])


def _background_label(order_map: OrderMap, order: Hashable) -> str:
    """Text at the color bar of the background: its quantity."""
    if order == "sum":
        return "normalized sum"
    return _title(order_map) if isinstance(order, str) else "P$_n$"


def _title(signal: Any) -> str:
    """Quantity of a signal, or its title when none was recorded."""
    title = signal.metadata.get_item("General.title", default="")
    return str(signal.metadata.get_item("Signal.quantity", default="") or title)


def _region_edges(labels: np.ndarray, frame: MapFrame) -> Path:
    """Separate lines in data coordinates along the pixel edges where the label changes."""
    padded = np.pad(labels, 1)
    rows, columns = np.nonzero(padded[:, 1:] != padded[:, :-1])
    # the edge right of padded column j is the edge at j of the unpadded image
    upright = np.stack([np.stack([columns, rows - 1], -1), np.stack([columns, rows], -1)], axis=1)
    rows, columns = np.nonzero(padded[1:] != padded[:-1])
    level = np.stack([np.stack([columns - 1, rows], -1), np.stack([columns, rows], -1)], axis=1)
    edges = np.concatenate([upright, level]).astype(float)
    left, right, bottom, top = frame.extent
    edges[..., 0] = left + edges[..., 0] * (right - left) / labels.shape[1]
    edges[..., 1] = top + edges[..., 1] * (bottom - top) / labels.shape[0]
    return Path(edges.reshape(-1, 2), np.tile([Path.MOVETO, Path.LINETO], len(edges)))


def _single_map(signal: Any) -> np.ndarray:
    """Take the data (y, x) of a signal without navigation axes."""
    if signal.axes_manager.navigation_dimension or signal.axes_manager.signal_dimension != 2:
        msg = (
            f"the signal has shape {tuple(signal.data.shape)}; plot_map draws one map (y, x): "
            "pick one with `.inav[i]`, or draw all with plot_order_maps."
        )
        raise ValueError(msg)
    return np.asarray(signal.data)


def stack_orders(order_map: Any) -> list[int]:
    """Symmetry orders along the navigation axis."""
    if order_map.axes_manager.navigation_dimension != 1:
        msg = (
            f"the signal has shape {tuple(order_map.data.shape)}; a stack of maps (n | y, x) is needed: "
            "draw a single map with plot_map."
        )
        raise ValueError(msg)
    return [int(order) for order in np.rint(order_map.axes_manager.navigation_axes[0].axis)]


def _check_shape(shape: tuple[int, ...], expected: tuple[int, ...], what: str) -> None:
    if shape != expected:
        msg = f"the {what} has shape {shape}, the map has {expected}; both must come from the same scan."
        raise ValueError(msg)


def _draw(
    ax: Axes,
    data: np.ndarray,
    frame: MapFrame,
    *,
    cmap: str,
    label: str,
    limits: tuple[float, float] | None = None,
) -> AxesImage:
    """Draw one array as an image with its color bar."""
    finite = data[np.isfinite(data)]
    low, high = limits or (tuple(np.percentile(finite, _RANGE)) if finite.size else (0.0, 1.0))
    image = ax.imshow(
        data,
        extent=frame.extent,
        cmap=mpl.colormaps[cmap].with_extremes(bad=MISSING_COLOR),
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    below, above = bool((finite < low).any()), bool((finite > high).any())
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}.get((below, above), "both")
    # An inset beside the map is as high as the map, whatever the layout makes of the panel.
    beside = ax.inset_axes((1.03, 0.0, 0.045, 1.0))
    bar = ax.figure.colorbar(image, cax=beside, extend=extend, extendfrac=0.03)
    bar.set_label(label)
    return image


def _draw_contour(ax: Axes, contour: Any, shape: tuple[int, ...], frame: MapFrame) -> None:
    """Thin contour lines of another map of the same scan at its bright speckles."""
    data = _single_map(contour).astype(float)
    _check_shape(data.shape, shape, "contour map")
    finite = data[np.isfinite(data)]
    levels = np.unique(np.percentile(finite, _CONTOUR_PERCENTILES)) if finite.size else np.empty(0)
    if not levels.size or levels[0] >= finite.max():
        return
    left, right, bottom, top = frame.extent
    rows, columns = shape
    x = left + (np.arange(columns) + 0.5) * (right - left) / columns
    y = top + (np.arange(rows) + 0.5) * (bottom - top) / rows
    ax.contour(x, y, np.ma.masked_invalid(data), levels=levels, colors="0.85", linewidths=0.6)


def _finish_frame(ax: Axes, frame: MapFrame, *, scale_bar: bool) -> None:
    """Scale bar without ticks, or ticks with labels."""
    ax.set_aspect("equal")
    ax.set_xlim(frame.extent[0], frame.extent[1])
    ax.set_ylim(frame.extent[2], frame.extent[3])
    if scale_bar:
        ax.set_xticks([])
        ax.set_yticks([])
        add_scale_bar(ax, frame)
        return
    ax.set_xlabel(axis_label("x", frame.units) if frame.units != "px" else "x (px)")
    ax.set_ylabel(axis_label("y", frame.units) if frame.units != "px" else "y (px)")


def _new_axes(frame: MapFrame, rows: int = 1, columns: int = 1) -> np.ndarray:
    """Axes of a new figure sized for maps of this frame, flat."""
    width, height = frame.panel_size
    _, axes = plt.subplots(rows, columns, figsize=(width * columns, height * rows), layout="constrained", squeeze=False)
    return axes.ravel()


def _panel_axes(axes: np.ndarray | None, count: int, columns: int, frame: MapFrame) -> np.ndarray:
    """``count`` axes: the first of those given, or of a new figure whose spare panels are removed."""
    if axes is None:
        columns = min(columns, count)
        flat = _new_axes(frame, -(-count // columns), columns)
        for spare in flat[count:]:
            spare.remove()
        return flat[:count]
    flat = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    if flat.size < count:
        msg = f"{flat.size} axes were given for {count} panels; give at least {count}, or none."
        raise ValueError(msg)
    return flat[:count]
