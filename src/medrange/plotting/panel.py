"""A panel for notebooks: the map of a ring follows sliders for its radius, its width and the order."""

from __future__ import annotations

import io
from types import ModuleType
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medrange.plotting.style import MISSING_COLOR, axis_label, styled
from medrange.signals.ring_cube import QUANTITIES, RingCube, ring_cube
from medrange.units import standard_units

if TYPE_CHECKING:
    from medrange.signals.nanodiffraction import Nanodiffraction

_SIZE, _DPI = (4.6, 3.8), 100
#: Percentile shown as the upper end of the color range.
_BRIGHTEST = 99.5


class RingPanel:
    """Sliders for radius, width and order of a ring, and its map; made by :func:`explore`.

    Attributes
    ----------
    cube : RingCube
        The data behind it.
    quantity, k, width, n : ipywidgets.Widget
        The controls; set their ``value`` in code as with the mouse.
    widget : ipywidgets.Widget
        All of it, as a notebook shows it.
    image : numpy.ndarray
        The map that is shown, (y, x).
    call : str
        What computes this map for every position, exactly and with its metadata.
    """

    def __init__(self, cube: RingCube, widgets: ModuleType, *, k: float, width: float, n: int) -> None:
        self.cube = cube
        step, k_max = cube.grid.k_step, cube.grid.k_max
        units = cube.k_units
        wide = {"layout": widgets.Layout(width="24em"), "style": {"description_width": "7em"}}
        self.quantity = widgets.Dropdown(options=QUANTITIES, value="P_n", description="map", **wide)
        shared = {"readout_format": ".2f", **wide}
        label = f"k ({units})"
        self.k = widgets.FloatSlider(k, min=step, max=k_max - step, step=step, description=label, **shared)
        most = self._widest(k)
        label = f"width ({units})"
        self.width = widgets.FloatSlider(
            min(width, most), min=2 * step, max=most, step=2 * step, description=label, **shared
        )
        self.n = widgets.IntSlider(n, min=1, max=cube.grid.n_phi // 2, description="order n", **wide)
        self._text = widgets.HTML()
        self._picture = widgets.Image(format="png")
        self._figure, self._shown = _new_picture(cube)
        self.k.observe(self._limit_width, "value")
        for control in (self.quantity, self.k, self.width, self.n):
            control.observe(self._update, "value")
        controls = widgets.VBox([self.quantity, self.k, self.width, self.n, self._text])
        self.widget = widgets.HBox([controls, self._picture])
        self._update()

    def _widest(self, k: float) -> float:
        """Largest width of a ring at k that lies within the fine rings."""
        return max(2 * self.cube.grid.k_step, 2 * min(k, self.cube.grid.k_max - k))

    def _limit_width(self, _: Any = None) -> None:
        self.width.max = self._widest(self.k.value)

    @styled()
    def _update(self, _: Any = None) -> None:
        quantity, n = self.quantity.value, self.n.value
        self.n.disabled = quantity != "P_n"
        asked = (self.k.value, self.width.value)
        self.image = self.cube.image(quantity, *asked, n)
        k, width = self.cube.ring(*asked)
        self.call = _call(quantity, k, width, n, self.cube.grid.n_phi)
        note = f"<br>Every {_ordinal(self.cube.every)} line and column of the scan." if self.cube.every > 1 else ""
        self._text.value = f"<code>s.{self.call}</code>{note}"
        self._shown.set_data(self.image)
        finite = self.image[np.isfinite(self.image)]
        if finite.size:
            self._shown.set_clim(
                finite.min(), max(np.percentile(finite, _BRIGHTEST), np.nextafter(finite.min(), np.inf))
            )
        self._shown.colorbar.set_label(quantity if quantity != "P_n" else f"P$_n$, n = {n}")
        buffer = io.BytesIO()
        self._figure.savefig(buffer, format="png", dpi=_DPI)
        self._picture.value = buffer.getvalue()

    def __repr__(self) -> str:
        return f"<RingPanel, {self.call}>"

    def _repr_mimebundle_(self, **keywords: Any) -> Any:
        return self.widget._repr_mimebundle_(**keywords)


def explore(
    signal: Nanodiffraction,
    *,
    k: float | None = None,
    width: float | None = None,
    n: int = 4,
    n_phi: int = 36,
    memory_limit: int = 2**30,
) -> RingPanel:
    """Panel with sliders for k, width and n of a ring and its map, live, for a notebook.

    The scan is read once into fine rings, half a detector pixel wide, which stay in memory; the ring's edges move
    in steps of those. The maps are P_n, V2D and the ring's mean intensity. Needs ``pip install "medrange[gui]"``.

    Parameters
    ----------
    signal : Nanodiffraction
        (y, x | ky, kx), calibrated and centered, eager or lazy.
    k, width : float, optional
        The first ring: half of the largest k and four detector pixels when not given.
    n : int
        The first symmetry order.
    n_phi : int
        Number of azimuthal bins.
    memory_limit : int
        Most bytes of the rings, 1 GiB. Of a scan that needs more only every second, third, ... line and column is
        shown; the panel says so.

    Returns
    -------
    RingPanel
        The last line of a cell shows it; ``.image`` is the map, ``.call`` the call that computes it in full.

    Raises
    ------
    ImportError
        If ipywidgets is not installed.
    ValueError
        If the scan is not two-dimensional, or the ring or order lies outside.

    Examples
    --------
    >>> import medrange as mr
    >>> scan = mr.load(mr.datasets.sample_scan("empad")).inav[:4, :3]
    >>> scan.set_center((63.6, 64.4))
    >>> panel = mr.explore(scan, k=4.0, width=0.8, n=6)
    >>> panel.call
    'angular_power_map(k=4, width=0.8, orders=(6,))'
    """
    widgets = _widgets()
    cube = ring_cube(signal, n_phi=n_phi, memory_limit=memory_limit)
    step = cube.grid.k_step
    k = round(cube.grid.n_k / 2) * step if k is None else float(k)
    width = min(8 * step, 2 * k, 2 * (cube.grid.k_max - k)) if width is None else float(width)
    # Refused here, where the sliders would quietly move a wrong ring to their ends.
    cube.image("P_n", k, width, n)
    return RingPanel(cube, widgets, k=k, width=width, n=n)


def _widgets() -> ModuleType:
    try:
        import ipywidgets
    except ImportError as error:
        msg = 'the panel needs ipywidgets, which is not installed: pip install "medrange[gui]".'
        raise ImportError(msg) from error
    return ipywidgets


@styled()
def _new_picture(cube: RingCube) -> tuple[Figure, Any]:
    """Figure of its own, whatever the backend, and the image in it."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    y, x = cube.axes
    left, top = (axis["offset"] - axis["scale"] / 2 for axis in (x, y))
    right, bottom = (axis["offset"] + (axis["size"] - 0.5) * axis["scale"] for axis in (x, y))
    extent = (left, right, bottom, top)
    colors = mpl.colormaps["viridis"].with_extremes(bad=MISSING_COLOR)
    shown = ax.imshow(np.zeros(cube.means.shape[1:3]), extent=extent, cmap=colors, interpolation="nearest")
    units = standard_units(x["units"]) or "px"
    ax.set_xlabel(axis_label("x", units) if units != "px" else "x (px)")
    ax.set_ylabel(axis_label("y", units) if units != "px" else "y (px)")
    figure.colorbar(shown, ax=ax)
    return figure, shown


def _call(quantity: str, k: float, width: float, n: int, n_phi: int) -> str:
    ring = f"k={k:.6g}, width={width:.6g}"
    if quantity == "ring mean":
        return f"annular_dark_field({ring})"
    azimuths = "" if n_phi == 36 else f", n_phi={n_phi}"
    return (
        f"variance_map({ring}{azimuths})"
        if quantity == "V2D"
        else f"angular_power_map({ring}, orders=({n},){azimuths})"
    )


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
