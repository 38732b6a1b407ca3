"""One diffraction pattern on its k axes, with the analyzed ring and the mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.patches import Ellipse

from medrange.plotting.style import ACCENT_COLOR, MISSING_COLOR, axis_label, settle, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Percentile of the positive values at which the logarithmic colors begin.
_DARKEST = 5.0


@styled()
def plot_pattern(
    pattern: Any,
    *,
    ring: tuple[float, float] | None = None,
    mask: np.ndarray | None = None,
    ax: Axes | None = None,
    cmap: str = "inferno",
    log: bool = True,
) -> Axes:
    """Draw one diffraction pattern, rows downwards, with the edges of a ring.

    Parameters
    ----------
    pattern : Nanodiffraction or other two-dimensional signal
        One pattern (| ky, kx), for example ``s.inav[3, 4]`` or ``s.mean(axis=(0, 1))``.
    ring : tuple of float, optional
        k and full width of a ring, in the unit of the k axes; its two edges are drawn.
    mask : numpy.ndarray of bool, optional
        Detector pixels drawn gray; True = excluded.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    cmap : str, optional
        Name of a perceptually uniform color map.
    log : bool, optional
        Logarithmic colors; pixels that are not positive have the darkest one.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        If the signal holds several patterns.

    Examples
    --------
    >>> ax = plot_pattern(s.inav[3, 4], ring=(4.0, 0.8))  # doctest: +SKIP
    """
    if pattern.axes_manager.navigation_dimension:
        msg = (
            f"the signal has shape {pattern.data.shape}; choose one pattern with .inav[x, y], or average with .mean()."
        )
        raise ValueError(msg)
    data = np.array(pattern.data, dtype=float)
    if mask is not None:
        data[mask] = np.nan
    new = ax is None
    if ax is None:
        _, ax = plt.subplots(figsize=(3.6, 3.1), layout="constrained")
    kx, ky = pattern.axes_manager.signal_axes
    positive = data[data > 0]
    norm = None
    if log and positive.size:
        norm = LogNorm(np.percentile(positive, _DARKEST), positive.max())
        data = np.where(data < norm.vmin, norm.vmin, data)
    image = ax.imshow(
        data,
        extent=(
            kx.axis[0] - kx.scale / 2,
            kx.axis[-1] + kx.scale / 2,
            ky.axis[-1] + ky.scale / 2,
            ky.axis[0] - ky.scale / 2,
        ),
        cmap=mpl.colormaps[cmap].with_extremes(bad=MISSING_COLOR),
        norm=norm,
        interpolation="nearest",
    )
    for edge in () if ring is None else (ring[0] - ring[1] / 2, ring[0] + ring[1] / 2):
        ax.add_patch(Ellipse((0, 0), 2 * edge, 2 * edge, fill=False, edgecolor=ACCENT_COLOR, linewidth=1.0))
    ax.set_xlabel(axis_label("k$_x$", kx.units))
    ax.set_ylabel(axis_label("k$_y$", ky.units))
    ax.figure.colorbar(image, cax=ax.inset_axes((1.03, 0.0, 0.045, 1.0))).set_label("intensity")
    return settle(ax) if new else ax
