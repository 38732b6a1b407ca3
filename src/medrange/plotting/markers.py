"""Hotspots as HyperSpy markers, which are drawn with the map and saved with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hyperspy.api import plot

from medrange.plotting.maps import chosen_order, stack_orders
from medrange.plotting.style import ACCENT_COLOR
from medrange.units import standard_units, unit_factor

if TYPE_CHECKING:
    from medrange.signals.hotspots import Hotspots
    from medrange.signals.order_map import OrderMap


def hotspot_markers(
    hotspots: Hotspots, order_map: OrderMap, *, n: int | str | None = None, color: str = ACCENT_COLOR
) -> plot.markers.Circles:
    """Circles of the hotspots' area around their centers, as HyperSpy draws them over a map.

    Parameters
    ----------
    hotspots : Hotspots
        From ``order_map.hotspots()``, or of another map of the same scan.
    order_map : OrderMap or other two-dimensional signal
        The map (| y, x), or the maps (n | y, x), over which they are drawn: its axes give the unit. In a stack every
        map has the circles of its own order, none where no hotspots were looked for.
    n : int or str, optional
        Order whose hotspots are drawn over a single map; the normalized sum by default, else the first.
    color : str, optional
        Color of the outlines.

    Returns
    -------
    hyperspy.api.plot.markers.Circles
        Offsets (x, y) and diameters in the units of the map; see :func:`add_hotspot_markers`.

    Raises
    ------
    ValueError
        If no hotspots were looked for in the order, ``n`` is given with a stack, or the map has no length unit.

    Examples
    --------
    >>> from medrange import OrderMap
    >>> maps = OrderMap.from_array(np.random.default_rng(0).random((2, 32, 32)), scale=0.32, orders=(2, 4))
    >>> hotspot_markers(maps.hotspots(), maps)
    <Circles, length: variable (current: not plotted)>
    """
    axes = order_map.axes_manager.signal_axes
    if len({standard_units(axis.units) for axis in axes}) > 1 or standard_units(axes[0].units) is None:
        msg = f"the axes of the map have the units {[axis.units for axis in axes]}; hotspots need one length unit."
        raise ValueError(msg)
    factor = unit_factor("nm", axes[0].units)
    places, table = (hotspots.table[["x", "y"]].to_numpy(float) * factor, hotspots.table["n"].astype(str).to_numpy())
    diameters = hotspots.table["diameter"].to_numpy(float) * factor
    style = {"units": "x", "edgecolors": color, "facecolors": "none", "linewidths": 1.0}
    if not order_map.axes_manager.navigation_dimension:
        own = table == str(chosen_order(hotspots, n))
        return plot.markers.Circles(offsets=places[own], sizes=diameters[own], **style)
    if n is not None:
        msg = f"n is {n!r}, but every map of the stack shows its own order; choose one with .inav[...] for n."
        raise ValueError(msg)
    orders = stack_orders(order_map)
    offsets, sizes = np.empty(len(orders), dtype=object), np.empty(len(orders), dtype=object)
    for i, order in enumerate(orders):
        own = table == str(order)
        offsets[i], sizes[i] = places[own], diameters[own]
    return plot.markers.Circles(offsets=offsets, sizes=sizes, **style)


def add_hotspot_markers(
    order_map: OrderMap, hotspots: Hotspots, *, n: int | str | None = None, color: str = ACCENT_COLOR
) -> plot.markers.Circles:
    """Put the hotspots of a map on it for good: ``order_map.plot()`` draws them, ``save`` keeps them.

    Parameters
    ----------
    order_map : OrderMap or other two-dimensional signal
        (| y, x) or (n | y, x); changed: the markers go into ``metadata.Markers``. Drawn at once where it is plotted.
    hotspots, n, color
        As in :func:`hotspot_markers`.

    Returns
    -------
    hyperspy.api.plot.markers.Circles
        The markers; ``del order_map.metadata.Markers`` removes them.

    Raises
    ------
    ValueError
        As :func:`hotspot_markers`.

    Examples
    --------
    >>> from medrange import OrderMap
    >>> maps = OrderMap.from_array(np.random.default_rng(0).random((2, 32, 32)), scale=0.32, orders=(2, 4))
    >>> markers = add_hotspot_markers(maps, maps.hotspots())
    >>> maps.metadata.Markers.keys()
    ['hotspots']
    """
    markers = hotspot_markers(hotspots, order_map, n=n, color=color)
    markers.name = "hotspots"
    drawn = order_map._plot is not None and order_map._plot.is_active
    order_map.add_marker(markers, permanent=True, plot_marker=drawn, plot_signal=False)
    return markers
