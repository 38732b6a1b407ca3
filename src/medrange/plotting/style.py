"""Shared look of the figures: rc settings, colors of orders, scale bar.

Nothing here changes ``matplotlib.rcParams``: drawing functions are decorated with ``styled()``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from medrange.units import standard_units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Settings of every figure drawn by medrange; used through :func:`styled`.
STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.use_mathtext": True,
}
#: Even orders, and single curves.
EVEN_COLOR = "#31688e"
#: The normalized sum of orders.
SUM_COLOR = "#4d4d4d"
#: Odd orders: forbidden by Friedel symmetry in a thin sample, therefore pale.
ODD_COLOR = "#b8b8b8"
#: Marks drawn over a map or beside a curve.
ACCENT_COLOR = "#d1495b"
#: Pixels without a value.
MISSING_COLOR = "#d9d9d9"

#: Name under which the scale bar's rectangle can be found again (``artist.get_gid()``).
SCALE_BAR_GID = "medrange-scale-bar"


@contextmanager
def styled() -> Iterator[None]:
    """Settings of :data:`STYLE` while a function draws; also a decorator.

    The first figure of a session loads matplotlib's backend, and that of a notebook then turns the interactive mode
    on: it must stay on, or no figure after the first one is shown.
    """
    with mpl.rc_context(STYLE):
        yield
        interactive = mpl.is_interactive()
    mpl.interactive(interactive)


@dataclass(frozen=True)
class MapFrame:
    """Where a map lies: its outline for ``imshow`` and the unit of its axes.

    Attributes
    ----------
    extent : tuple of float
        (left, right, bottom, top): outer edges of the border pixels; y increases downwards.
    units : str
        Unit of both axes, ``"px"`` when they are not calibrated.
    """

    extent: tuple[float, float, float, float]
    units: str

    @classmethod
    def of(cls, signal: Any) -> MapFrame:
        """Frame of a signal whose signal axes are (y, x)."""
        x, y = signal.axes_manager.signal_axes
        left, right = x.offset - x.scale / 2, x.offset + (x.size - 0.5) * x.scale
        top, bottom = y.offset - y.scale / 2, y.offset + (y.size - 0.5) * y.scale
        return cls((left, right, bottom, top), standard_units(x.units) or "px")

    @classmethod
    def of_grid(cls, shape: tuple[int, int], pixel_size: tuple[float, float], origin: tuple[float, float]) -> MapFrame:
        """Frame of an array of ``shape`` (rows, columns), ``pixel_size`` and ``origin`` as (y, x) in nm."""
        (rows, columns), (dy, dx), (y, x) = shape, pixel_size, origin
        edges = (x - dx / 2, x + (columns - 0.5) * dx, y + (rows - 0.5) * dy, y - dy / 2)
        return cls(edges, "nm")

    @property
    def width(self) -> float:
        """Extent along x in ``units``."""
        return abs(self.extent[1] - self.extent[0])

    @property
    def height(self) -> float:
        """Extent along y in ``units``."""
        return abs(self.extent[3] - self.extent[2])

    @property
    def panel_size(self) -> tuple[float, float]:
        """Size in inches of a panel that shows the map with its color bar and a title."""
        return 3.3, float(np.clip(2.5 * self.height / self.width, 0.8, 6.0)) + 0.4


def axis_label(symbol: str, units: object) -> str:
    """Axis label with its unit: ``"k (nm$^{-1}$)"``.

    Examples
    --------
    >>> axis_label("k", "1/nm")
    'k (nm$^{-1}$)'
    >>> axis_label("n", None)
    'n'
    """
    unit = standard_units(units)
    if unit is None:
        return symbol
    if unit.startswith("1/"):
        unit = f"{unit[2:]}$^{{-1}}$"
    return f"{symbol} ({unit})"


def order_label(order: Hashable) -> str:
    """Name of one map of a stack: ``"n = 4"``, or ``"sum of n"`` for the normalized sum."""
    if isinstance(order, str):
        return "sum of n" if order == "sum" else order
    return f"n = {order:g}" if isinstance(order, float) else f"n = {order}"


def order_colors(orders: Sequence[Hashable]) -> dict[Hashable, Any]:
    """One color per order, dark to bright along viridis; ``"sum"`` is black."""
    numbered = [order for order in orders if not isinstance(order, str)]
    # the last tenth of viridis is too pale for lines on white
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.88, max(len(numbered), 1)))
    colors: dict[Hashable, Any] = dict(zip(numbered, (tuple(shade) for shade in shades), strict=False))
    return {order: colors.get(order, "black") for order in orders}


def new_axes(size: tuple[float, float]) -> Axes:
    """Axes of a new figure of ``size`` inches."""
    return plt.subplots(figsize=size, layout="constrained")[1]


def settle(ax: Axes) -> Axes:
    """Let the constrained layout of a new figure come to rest, and return ``ax``.

    The layout is iterative: the number of ticks depends on the size of the axes, which depends on the ticks.
    After one dry draw the first real one no longer cuts labels.
    """
    ax.figure.draw_without_rendering()
    return ax


def scale_bar_length(field: float) -> float:
    """Length of a scale bar: 1, 2 or 5 times a power of ten, as near as possible to a quarter of the field.

    Parameters
    ----------
    field : float
        Width of the map, in any unit; positive.

    Returns
    -------
    float
        Length in the same unit, between 0.16 and 0.4 of the field.

    Raises
    ------
    ValueError
        If the field is not positive and finite.

    Examples
    --------
    >>> scale_bar_length(40.6)
    10.0
    >>> scale_bar_length(15.36)
    5.0
    """
    if not (np.isfinite(field) and field > 0):
        msg = f"the field of a scale bar is {field!r}; it must be positive: calibrate the scan axes first."
        raise ValueError(msg)
    target = field / 4
    decade = np.floor(np.log10(target))
    candidates = np.outer([1.0, 2.0, 5.0], 10.0 ** np.array([decade - 1, decade, decade + 1])).ravel()
    return float(candidates[np.argmin(np.abs(np.log(candidates / target)))])


def add_scale_bar(ax: Axes, frame: MapFrame) -> Rectangle:
    """Draw a scale bar with its length in the lower left corner of a map.

    The bar is a rectangle in data coordinates, so that it stays right when the axes are zoomed or resized.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes showing a map with ``frame.extent``.
    frame : MapFrame
        Outline and unit of the map.

    Returns
    -------
    matplotlib.patches.Rectangle
        The bar; its width is the written length.
    """
    left, right, bottom, top = frame.extent
    length = scale_bar_length(frame.width)
    toward_right, toward_top = np.sign(right - left), np.sign(top - bottom)
    height = 0.018 * abs(top - bottom)
    start = left + toward_right * 0.05 * frame.width
    base = bottom + toward_top * 0.05 * abs(top - bottom)
    bar = Rectangle(
        (start, base),
        toward_right * length,
        toward_top * height,
        facecolor="white",
        edgecolor="black",
        linewidth=0.5,
        zorder=5,
        gid=SCALE_BAR_GID,
    )
    ax.add_patch(bar)
    ax.annotate(
        f"{length:g} {frame.units}",
        (start + toward_right * length / 2, base + toward_top * height),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8,
        color="white",
        zorder=5,
        path_effects=[withStroke(linewidth=1.5, foreground="black")],
    )
    return bar
