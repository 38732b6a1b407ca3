"""The PNG figures of a medium-range-order run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medrange import plotting
from medrange.plotting.style import MapFrame
from medrange.report.figure_files import Draw, save_figures

if TYPE_CHECKING:
    from medrange.signals.autocorrelation import Autocorrelation
    from medrange.signals.hotspots import Hotspots
    from medrange.signals.mro_result import MROResult

_COLUMNS = 3


def band_limits(result: MROResult) -> tuple[float, float]:
    """Limits of the analyzed band, in the unit of k."""
    k, width = result.parameters["k"], result.parameters["width"]
    return k - width / 2, k + width / 2


def write_figures(
    result: MROResult, hotspots: Hotspots, autocorrelation: Autocorrelation, folder: Path
) -> dict[str, Path]:
    """Draw and save all figures of a run.

    Parameters
    ----------
    result : MROResult
        Computed maps, spectrum and profile.
    hotspots : Hotspots
        Hotspots of ``result.power``.
    autocorrelation : Autocorrelation
        Autocorrelation of ``result.power``.
    folder : path
        Where the PNG files go.

    Returns
    -------
    dict of str to pathlib.Path
        ``order_maps``, ``variance_and_ring``, ``hotspots``, ``sizes``, ``autocorrelation``,
        ``angular_power`` and ``radial_profile``.
    """
    width, height = MapFrame.of(result.variance).panel_size
    band = band_limits(result)

    def grid(panels: int) -> tuple[int, int]:
        return -(-panels // _COLUMNS), min(_COLUMNS, panels)

    def order_maps(figure: Any) -> None:
        axes = figure.subplots(*grid(len(result.power.orders) + 1), squeeze=False).ravel()
        for spare in axes[len(plotting.plot_order_maps(result.power, contour=result.variance, axes=axes)) :]:
            spare.remove()

    def outlines(figure: Any) -> None:
        axes = figure.subplots(*grid(len(hotspots.orders)), squeeze=False).ravel()
        for ax, order in zip(axes, hotspots.orders, strict=False):
            plotting.plot_hotspots(hotspots, result.power, n=order, ax=ax)
        for spare in axes[len(hotspots.orders) :]:
            spare.remove()

    def ring(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        plotting.plot_map(result.variance, ax=left, label="V$_{2D}$")
        plotting.plot_map(result.ring_mean, ax=right, cmap="inferno", label="mean intensity of the ring")

    def angular_power(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        plotting.plot_power_spectrum(result, ax=left)
        plotting.plot_spectrum(result.spectrum, ax=right, band=band)

    map_rows, map_columns = grid(len(result.power.orders) + 1)
    hot_rows, hot_columns = grid(len(hotspots.orders))
    drawings: dict[str, tuple[Draw, tuple[float, float]]] = {
        "order_maps": (order_maps, (width * map_columns, height * map_rows)),
        "variance_and_ring": (ring, (2 * width, height)),
        "hotspots": (outlines, (width * hot_columns, (height + 0.2) * hot_rows)),
        "sizes": (
            lambda figure: plotting.plot_size_statistics(hotspots, axes=figure.subplots(1, 2)),
            (7.0, 2.8),
        ),
        "autocorrelation": (
            lambda figure: plotting.plot_autocorrelation(autocorrelation, axes=figure.subplots(1, 2)),
            (7.6, 2.8),
        ),
        "angular_power": (angular_power, (8.0, 3.0)),
        "radial_profile": (
            lambda figure: plotting.plot_radial_profile(result.profile, ax=figure.subplots(), band=band),
            (5.0, 3.0),
        ),
    }
    return save_figures(folder, drawings)
