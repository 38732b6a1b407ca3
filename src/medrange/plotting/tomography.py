"""Figures of tomography: projections, sinogram, missing wedge, R over the iterations, slices, shell correlation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Circle, Wedge
from matplotlib.ticker import MaxNLocator

from medrange.aet.tomography.coverage import missing_wedge, slice_directions
from medrange.plotting.style import (
    ACCENT_COLOR,
    EVEN_COLOR,
    SUM_COLOR,
    MapFrame,
    add_scale_bar,
    axis_label,
    new_axes,
    settle,
    styled,
)

if TYPE_CHECKING:
    from hyperspy.signals import Signal2D
    from matplotlib.axes import Axes

    from medrange.aet.tomography.reconstruction import Reconstruction
    from medrange.aet.tomography.shell_correlation import FourierShellCorrelation
    from medrange.aet.tomography.tilt_series import TiltSeries


@styled()
def plot_r_factor(
    source: Reconstruction | Mapping[str, Reconstruction], *, ax: Axes | None = None, log: bool = True
) -> Axes:
    """Draw R1 and R2 over the iterations; of several reconstructions R1 alone.

    Parameters
    ----------
    source : Reconstruction or mapping
        One run, or runs by name.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    log : bool, optional
        Logarithmic R.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Examples
    --------
    >>> ax = plot_r_factor(reconstruction)  # doctest: +SKIP
    """
    ax, new = (new_axes((3.6, 2.8)), True) if ax is None else (ax, False)
    if isinstance(source, Mapping):
        for name, run in source.items():
            ax.plot(np.arange(1, run.iterations + 1), run.r_factor, label=name)
    else:
        number = np.arange(1, source.iterations + 1)
        ax.plot(number, source.r_factor, color=EVEN_COLOR, label="R$_1$")
        ax.plot(number, source.r2, color=SUM_COLOR, ls="--", label="R$_2$")
    if log:
        ax.set_yscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("iteration")
    ax.set_ylabel("R$_1$" if isinstance(source, Mapping) else "R")
    ax.legend()
    return settle(ax) if new else ax


@styled()
def plot_orthoslices(
    source: Reconstruction | np.ndarray,
    *,
    position: tuple[int, int, int] | None = None,
    axes: np.ndarray | None = None,
    cmap: str = "gray",
    pixel_size: float | None = None,
) -> np.ndarray:
    """Draw the slices (x, y), (x, z) and (y, z) through one voxel; the beam is along z.

    Parameters
    ----------
    source : Reconstruction or numpy.ndarray
        Volume [x, y, z].
    position : tuple of int, optional
        (x, y, z) of the voxel; by default the center.
    axes : numpy.ndarray of matplotlib.axes.Axes, optional
        Three axes; a new figure by default.
    cmap : str, optional
        Name of a color map.
    pixel_size : float, optional
        Angstrom; by default that of the reconstruction.

    Returns
    -------
    numpy.ndarray
        The three axes.

    Raises
    ------
    ValueError
        If the position lies outside the volume, or there are not three axes.

    Examples
    --------
    >>> axes = plot_orthoslices(reconstruction)  # doctest: +SKIP
    """
    volume = np.asarray(getattr(source, "volume", source))
    size = getattr(source, "pixel_size", None) if pixel_size is None else pixel_size
    position = tuple(n // 2 for n in volume.shape) if position is None else tuple(position)
    if volume.ndim != 3 or not _is_within(position, volume.shape):
        msg = f"position {position} is not in the volume of shape {volume.shape}."
        raise ValueError(msg)
    new = axes is None
    if new:
        _, axes = plt.subplots(1, 3, figsize=(7.2, 2.7), layout="constrained")
    panels = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    if panels.size != 3:
        msg = f"{panels.size} axes were given; this figure has three panels."
        raise ValueError(msg)
    high = float(volume.max())
    for ax, (across, up, fixed) in zip(panels, ((0, 1, 2), (0, 2, 1), (1, 2, 0)), strict=True):
        image = np.take(volume, position[fixed], axis=fixed).T
        frame = MapFrame((-0.5, image.shape[1] - 0.5, -0.5, image.shape[0] - 0.5), "px")
        if size is not None:
            frame = MapFrame(tuple(edge * size for edge in frame.extent), "Å")
        ax.imshow(
            image,
            origin="lower",
            extent=frame.extent,
            cmap=cmap,
            vmin=min(0.0, float(volume.min())),
            vmax=high,
            interpolation="nearest",
        )
        add_scale_bar(ax, frame)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_xlabel("xyz"[across])
        ax.set_ylabel("xyz"[up])
        ax.set_title(f"{'xyz'[fixed]} = {position[fixed]}")
    if new:
        settle(panels[0])
    return panels


@styled()
def plot_sinogram(
    tilt_series: TiltSeries, *, row: int | None = None, ax: Axes | None = None, cmap: str = "gray"
) -> Axes:
    """Draw one line of pixels along x over the tilt angle.

    A feature runs along ``x = x0 cos(theta) - z0 sin(theta)``: jumps show misaligned images.

    Parameters
    ----------
    tilt_series : TiltSeries
        Projections.
    row : int, optional
        Pixel along y; by default the center.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    cmap : str, optional
        Name of a color map.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; tilts between images are not interpolated.

    Raises
    ------
    ValueError
        If there is no such row.

    Examples
    --------
    >>> ax = plot_sinogram(tilt_series)  # doctest: +SKIP
    """
    nx, ny = tilt_series.image_shape
    row = ny // 2 if row is None else row
    if not 0 <= row < ny:
        msg = f"row {row} is not among the {ny} pixels along y."
        raise ValueError(msg)
    ax, new = (new_axes((3.6, 2.8)), True) if ax is None else (ax, False)
    order = np.argsort(tilt_series.theta, kind="stable")
    theta = tilt_series.theta[order]
    size = tilt_series.pixel_size
    edges_x = (np.arange(nx + 1) - 0.5 - nx // 2) * (size or 1.0)
    mesh = ax.pcolormesh(edges_x, _edges(theta), tilt_series.projections[order, :, row], cmap=cmap, rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label="intensity")
    ax.set_xlabel(axis_label("x", "px" if size is None else "Å"))
    ax.set_ylabel("tilt θ (deg)")
    ax.set_title(f"y = {row}")
    return settle(ax) if new else ax


@styled()
def plot_tilt_series(tilt_series: TiltSeries, *, cmap: str = "gray", **keywords: object) -> Signal2D:
    """Show the projections one by one in HyperSpy's viewer, in the order of their tilts.

    Parameters
    ----------
    tilt_series : TiltSeries
        Projections.
    cmap : str, optional
        Name of a color map.
    **keywords
        Of :meth:`hyperspy.signals.Signal2D.plot`: ``navigator="slider"``, ``norm``, ``vmin``, ...

    Returns
    -------
    hyperspy.signals.Signal2D
        The stack that is shown, (tilt | x, y), a copy in the order of the tilts: y runs downwards, the center of
        rotation lies at (0, 0). The navigation axis has the tilt in degrees, or, where two are equal, their number. All
        angles are in ``metadata.Medrange.Tomography.angles``, (phi, theta, psi) in degrees.

    Examples
    --------
    >>> stack = plot_tilt_series(tilt_series)  # doctest: +SKIP
    """
    from hyperspy.signals import Signal2D

    order = np.argsort(tilt_series.theta, kind="stable")
    theta = tilt_series.theta[order]
    size, units = (1.0, "px") if tilt_series.pixel_size is None else (tilt_series.pixel_size, "Å")
    lateral = [
        {"name": name, "size": n, "scale": size, "offset": -(n // 2) * size, "units": units, "navigate": False}
        for name, n in zip("yx", tilt_series.image_shape[::-1], strict=True)
    ]
    stack = Signal2D(
        np.ascontiguousarray(tilt_series.projections[order].transpose(0, 2, 1)),
        axes=[_tilt_axis(theta), *lateral],
    )
    stack.metadata.General.title = f"tilt series, θ {theta[0]:.1f} to {theta[-1]:.1f} deg"
    stack.metadata.set_item("Signal.quantity", "intensity")
    stack.metadata.set_item("Medrange.Tomography.angles", tilt_series.angles[order])
    stack.plot(cmap=cmap, **keywords)
    return stack


def _tilt_axis(theta: np.ndarray) -> dict[str, object]:
    """Navigation axis of increasing tilts, as HyperSpy takes it."""
    if theta.size > 1 and np.diff(theta).min() <= 0:
        return {"name": "number of tilt", "size": theta.size, "navigate": True}
    steps = np.diff(theta)
    if steps.size == 0 or np.ptp(steps) < 1e-6:
        scale = float(steps.mean()) if steps.size else 1.0
        return {"name": "θ", "size": theta.size, "scale": scale, "offset": theta[0], "units": "deg", "navigate": True}
    return {"name": "θ", "axis": theta, "units": "deg", "navigate": True}


@styled()
def plot_missing_wedge(source: TiltSeries | np.ndarray, *, ax: Axes | None = None) -> Axes:
    """Draw which lines of the plane ky = 0 of Fourier space are measured, and the wedge that no projection reaches.

    With tilts about y alone every other plane of constant ky looks the same. Atoms are elongated along the middle of
    the wedge.

    Parameters
    ----------
    source : TiltSeries or numpy.ndarray
        A tilt series, or its angles in degrees: (n_tilts, 3), or (n_tilts,) for theta alone.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on, in units of the highest frequency that a pixel allows; the title tells the wedge's angle.

    Examples
    --------
    >>> ax = plot_missing_wedge(tilt_series)  # doctest: +SKIP
    """
    angles = getattr(source, "angles", source)
    ax, new = (new_axes((3.0, 3.2)), True) if ax is None else (ax, False)
    directions = np.radians(slice_directions(angles))
    first, last = missing_wedge(angles)
    for opposite in (0, 180):
        ax.add_patch(Wedge((0, 0), 1, first + opposite, last + opposite, color=ACCENT_COLOR, alpha=0.25, lw=0))
    for direction in directions:
        x, z = np.cos(direction), np.sin(direction)
        ax.plot([-x, x], [-z, z], color=EVEN_COLOR, lw=0.7)
    ax.add_patch(Circle((0, 0), 1, fill=False, color=SUM_COLOR, lw=0.8))
    ax.set_aspect("equal")
    ax.set_xlim(-1.05, 1.05)
    ax.set_ylim(-1.05, 1.05)
    ax.set_xlabel("k$_x$ / k$_{max}$")
    ax.set_ylabel("k$_z$ / k$_{max}$")
    ax.set_title(f"{directions.size} tilts, missing wedge {last - first:.1f} deg")
    return settle(ax) if new else ax


@styled()
def plot_fourier_shell_correlation(
    source: FourierShellCorrelation | Mapping[str, FourierShellCorrelation],
    *,
    ax: Axes | None = None,
    threshold: float | None = 0.143,
) -> Axes:
    """Draw the Fourier shell correlation over the spatial frequency.

    Parameters
    ----------
    source : FourierShellCorrelation or mapping
        One curve, or curves by name.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    threshold : float or None, optional
        Drawn as a line; None for none.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Examples
    --------
    >>> ax = plot_fourier_shell_correlation(curve)  # doctest: +SKIP
    """
    ax, new = (new_axes((3.6, 2.8)), True) if ax is None else (ax, False)
    curves = source if isinstance(source, Mapping) else {"": source}
    for name, curve in curves.items():
        ax.plot(curve.frequency, curve.correlation, label=name or None, color=None if name else EVEN_COLOR)
    if threshold is not None:
        ax.axhline(threshold, color=ACCENT_COLOR, lw=0.8, ls="--", label=f"{threshold:g}")
    first = next(iter(curves.values()))
    ax.set_xlabel(axis_label("k", first.units))
    ax.set_ylabel("Fourier shell correlation")
    ax.set_ylim(min(0.0, float(np.nanmin([np.nanmin(c.correlation) for c in curves.values()]))) - 0.02, 1.02)
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
    return settle(ax) if new else ax


def _edges(values: np.ndarray) -> np.ndarray:
    """Borders halfway between increasing values; equal values get thin stripes of their own."""
    if values.size == 1:
        return values[0] + np.array([-0.5, 0.5])
    middle = (values[1:] + values[:-1]) / 2
    edges = np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])
    return np.maximum.accumulate(edges)


def _is_within(position: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(position) == len(shape) and all(0 <= i < n for i, n in zip(position, shape, strict=True))
