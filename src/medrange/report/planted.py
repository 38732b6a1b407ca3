"""Hold the maps of a simulated scan against the clusters planted in its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from scipy.stats import mannwhitneyu

from medrange.plotting import plot_map
from medrange.plotting.style import MapFrame, order_label
from medrange.report.figure_files import save_figure
from medrange.report.page import Figure, Section, Table
from medrange.units import electron_wavelength

if TYPE_CHECKING:
    from medrange.signals.hotspots import Hotspots
    from medrange.signals.mro_result import MROResult

#: Positions nearer than this to a cluster's edge (nm) count neither as cluster nor as matrix.
_MARGIN = 0.4


@dataclass(frozen=True)
class PlantedComparison:
    """What the maps say about planted clusters.

    Attributes
    ----------
    clusters : pandas.DataFrame
        One row per cluster: what was planted, the order found and by how much it stands out from the matrix,
        and the diameter of its hotspot.
    separation : pandas.DataFrame
        One row per map: ROC-AUC of the positions in clusters of that order against those of the matrix.
    """

    clusters: pd.DataFrame
    separation: pd.DataFrame

    @property
    def right(self) -> int:
        """Number of clusters whose dominant order is the planted one."""
        return int((self.clusters["found_n"] == self.clusters["n"]).sum())


def compare_with_planted(result: MROResult, hotspots: Hotspots, truth: pd.DataFrame) -> PlantedComparison:
    """Compare maps with planted clusters, position by position.

    A scan position is inside a cluster within its radius, and in the matrix more than 0.4 nm from every
    cluster. The order found is the one with the largest ratio of the mean P_n inside to the median P_n of
    the matrix.

    Parameters
    ----------
    result : MROResult
        Computed maps (n | y, x); scan axes in nm.
    hotspots : Hotspots
        Hotspots of ``result.power``.
    truth : pandas.DataFrame
        One row per cluster with ``kind``, ``n``, ``y_nm``, ``x_nm`` and ``diameter_nm``, as
        :func:`medrange.datasets.sample_truth` gives it.

    Returns
    -------
    PlantedComparison
        Tables of clusters and of maps.

    Examples
    --------
    >>> comparison = compare_with_planted(result, hotspots, truth)  # doctest: +SKIP
    """
    distances = _distances(result, truth)
    radii = truth["diameter_nm"].to_numpy()[:, np.newaxis, np.newaxis] / 2
    inside, matrix = distances <= radii, (distances > radii + _MARGIN).all(axis=0)
    power = np.asarray(result.power.data, dtype=float)
    typical = np.nanmedian(power[:, matrix], axis=1)
    rows = []
    for cluster, pixels in zip(truth.to_dict("records"), inside, strict=True):
        ratio = power[:, pixels].mean(axis=1) / typical if pixels.any() else np.full(len(power), np.nan)
        best = int(np.argmax(ratio)) if np.isfinite(ratio).all() else None
        rows.append(
            {
                **{name: cluster[name] for name in ("kind", "n", "y_nm", "x_nm", "diameter_nm")},
                "positions": int(pixels.sum()),
                "found_n": result.power.orders[best] if best is not None else np.nan,
                "enrichment": ratio[best] if best is not None else np.nan,
                "hotspot_diameter": _hotspot_diameter(hotspots, cluster["n"], pixels),
            }
        )
    clusters = pd.DataFrame(rows).rename(columns={"y_nm": "y", "x_nm": "x", "diameter_nm": "diameter"})
    clusters.attrs["units"] = dict.fromkeys(("y", "x", "diameter", "hotspot_diameter"), "nm")
    planted = truth["n"].to_numpy()
    maps = [(n, image, inside[planted == n].any(axis=0)) for n, image in zip(result.power.orders, power, strict=True)]
    maps.append(("V2D", np.asarray(result.variance.data, dtype=float), inside.any(axis=0)))
    separation = pd.DataFrame(
        [
            (name, int(positive.sum()), int(matrix.sum()), _auc(image[positive], image[matrix]))
            for name, image, positive in maps
            if positive.any()
        ],
        columns=["map", "positions in clusters", "positions in matrix", "ROC-AUC"],
    )
    return PlantedComparison(clusters, separation)


def planted_section(
    comparison: PlantedComparison, result: MROResult, truth: pd.DataFrame, folder: str | Path
) -> Section:
    """Section of the page that shows the planted clusters and whether they were found.

    Parameters
    ----------
    comparison : PlantedComparison
        Made by :func:`compare_with_planted`.
    result : MROResult
        Computed maps.
    truth : pandas.DataFrame
        The planted clusters.
    folder : str or path
        Gets ``planted_clusters.png``.

    Returns
    -------
    Section
        Text, figure and tables.
    """
    path = _draw_planted(result, truth, Path(folder) / "planted_clusters.png")
    count = len(comparison.clusters)
    text = (
        f"This scan was simulated: {count} ordered clusters were planted in a model glass. The dominant order is "
        f"the planted one in {comparison.right} of {count}."
    )
    return Section(
        "Comparison with the planted clusters",
        text + _probe_note(truth),
        (
            Figure(
                path,
                "Planted clusters over the maps: white circles with the order n where a map should show them, thin "
                "gray circles elsewhere.",
                "planted clusters over the maps",
            ),
        ),
        (
            Table(
                comparison.clusters,
                "Planted clusters. found_n: order with the largest mean P_n in the cluster over the median P_n of "
                "the matrix; enrichment: that ratio; hotspot_diameter: of the hotspot at the cluster in the map of "
                "its own n.",
                3,
            ),
            Table(
                comparison.separation,
                "How well each map tells positions in clusters of its order (V2D: of any) from the matrix: 1 is "
                "perfect, 0.5 is chance.",
                3,
            ),
        ),
    )


def _distances(result: MROResult, truth: pd.DataFrame) -> np.ndarray:
    """Distance (clusters, y, x) in nm of every scan position from the center of every cluster."""
    x_axis, y_axis = result.variance.axes_manager.signal_axes
    dy = y_axis.axis[np.newaxis, :, np.newaxis] - truth["y_nm"].to_numpy()[:, np.newaxis, np.newaxis]
    dx = x_axis.axis[np.newaxis, np.newaxis, :] - truth["x_nm"].to_numpy()[:, np.newaxis, np.newaxis]
    return np.hypot(dy, dx)


def _auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Chance that a value of the first is above one of the second, ties counted half."""
    if not positive.size or not negative.size:
        return float("nan")
    return float(mannwhitneyu(positive, negative).statistic / (positive.size * negative.size))


def _hotspot_diameter(hotspots: Hotspots, n: int, pixels: np.ndarray) -> float:
    """Diameter of the hotspot in the map of order n that covers most of the pixels; NaN without one."""
    if n not in hotspots.orders:
        return float("nan")
    labels = hotspots.labels[hotspots.orders.index(n)][pixels]
    labels = labels[labels > 0]
    if not labels.size:
        return float("nan")
    table = hotspots.table
    row = table[(table["n"] == n) & (table["label"] == np.bincount(labels).argmax())]
    return float(row["diameter"].iloc[0])


def _draw_planted(result: MROResult, truth: pd.DataFrame, path: Path) -> Path:
    """One panel per planted order, and V2D, with the clusters as circles."""
    wanted = [(i, n) for i, n in enumerate(result.power.orders) if (truth["n"] == n).any()]
    columns = min(3, len(wanted) + 1)
    rows = -(-(len(wanted) + 1) // columns)
    width, height = MapFrame.of(result.variance).panel_size

    def draw(figure: Any) -> None:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, (index, n) in zip(axes, wanted, strict=False):
            plot_map(result.power.inav[index], ax=ax, label="P$_n$").set_title(order_label(n))
            _draw_circles(ax, truth, truth["n"] == n)
        last = len(wanted)
        plot_map(result.variance, ax=axes[last], label="V$_{2D}$").set_title("V$_{2D}$")
        _draw_circles(axes[last], truth, truth["n"] > 0)
        for spare in axes[last + 1 :]:
            spare.remove()

    return save_figure(path, draw, (width * columns, height * rows))


def _draw_circles(ax: Any, truth: pd.DataFrame, shown: pd.Series) -> None:
    """Outline the clusters; those a map should show are white and carry their order."""
    outline = [withStroke(linewidth=2, foreground="black")]
    for cluster, bright in zip(truth.to_dict("records"), shown, strict=True):
        center, radius = (cluster["x_nm"], cluster["y_nm"]), cluster["diameter_nm"] / 2
        if not bright:
            ax.add_patch(Circle(center, radius, fill=False, edgecolor="0.6", linewidth=0.6))
            continue
        ax.add_patch(Circle(center, radius, fill=False, edgecolor="white", path_effects=outline))
        above = (center[0], center[1] - radius / 2)
        ax.annotate(f"{cluster['n']}", above, color="white", ha="center", va="center", path_effects=outline)


def _probe_note(truth: pd.DataFrame) -> str:
    """Say how wide the probe is, when the truth tells: it broadens every hotspot."""
    angle, energy = truth.attrs.get("convergence_angle"), truth.attrs.get("beam_energy")
    if angle is None or energy is None:
        return ""
    width = 0.514 * electron_wavelength(energy) / (angle * 1e-3) / 10
    return (
        f"\n\nThe probe is {width:.2f} nm wide (0.514 lambda / convergence angle, full width at half maximum) and "
        "broadens every hotspot by about as much: compare hotspot diameters with the planted ones in that light."
    )
