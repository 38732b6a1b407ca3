"""Hotspots of order maps: one row per region, one summary row per map."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medrange._version import __version__
from medrange.kernels.hotspots import (
    label_hotspots,
    measure_hotspots,
    overlap_fraction,
    threshold_value,
    volume_fraction,
    volume_fraction_error,
)
from medrange.signals.enrichment import enrichment_table
from medrange.signals.tables import with_units, write_table

if TYPE_CHECKING:
    from medrange.signals.null import NullMaps

_TABLE_UNITS = {
    "y": "nm",
    "x": "nm",
    "area": "nm^2",
    "diameter": "nm",
    "volume": "nm^3",
}
_SUMMARY_UNITS = {
    "number_density": "1/nm^2",
    "diameter_mean": "nm",
    "diameter_std": "nm",
    "diameter_sem": "nm",
}


@dataclass(frozen=True, eq=False, repr=False)
class Hotspots:
    """Regions of order maps above a threshold, their sizes and what they say about the sample.

    Made by :meth:`medrange.signals.order_map.OrderMap.hotspots`. The formulas are those of [Im2018]_.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per region: ``n`` (order, ``"sum"`` for the normalized sum, ``"map"`` for a single map
        without orders), ``label``, ``y``, ``x`` (center of area on the scan axes, nm), ``area`` (nm^2),
        ``diameter = 2 sqrt(area / pi)`` (nm), ``volume = pi diameter^3 / 6`` (nm^3), ``mean`` and
        ``maximum`` (units of the map).
    labels : numpy.ndarray
        Shape (maps, y, x), int32: 0 outside, else the ``label`` of the table.
    orders : tuple
        What each map is, as in ``n``.
    summary : pandas.DataFrame
        One row per map: ``n``, ``threshold`` (units of the map), ``count``, ``number_density`` (1/nm^2),
        ``diameter_mean``, ``diameter_std``, ``diameter_sem`` (nm), ``area_fraction``,
        ``volume_fraction`` and its standard error ``volume_fraction_sem``. The scanned area is that of
        the pixels that have a value.
    overlap : pandas.DataFrame
        Square: the share of the hotspot area of the row's map that lies in hotspots of the column's map.
    units : dict
        Column name to unit, for both tables.
    pixel_size, origin : tuple of float
        (dy, dx) and the position (y, x) of the first pixel, nm.
    parameters : dict
        What was asked for, and ``source``, the file the maps come from where it is known.
    """

    table: pd.DataFrame
    labels: np.ndarray
    orders: tuple[int | str, ...]
    summary: pd.DataFrame
    overlap: pd.DataFrame
    units: dict[str, str]
    pixel_size: tuple[float, float]
    origin: tuple[float, float]
    parameters: dict[str, Any]

    def __repr__(self) -> str:
        asked = self.parameters
        lines = [
            f"Hotspots({len(self.table)} regions, {len(self.orders)} maps, threshold {asked['threshold']!r}, "
            f"{asked['thickness']:g} nm thick, acceptance {asked['acceptance_angle']:g} degrees)",
            f"{'n':>5} {'count':>6}   {'diameter (nm)':<16} volume fraction (%)",
        ]
        lines += [
            f"{row['n']!s:>5} {row['count']:>6}   {row['diameter_mean']:5.2f} ± {row['diameter_sem']:<8.2f} "
            f"{100 * row['volume_fraction']:5.2f} ± {100 * row['volume_fraction_sem']:.2f}"
            for row in self.summary.to_dict("records")
        ]
        return "\n".join(lines)

    def enrichment(self, null: NullMaps) -> pd.DataFrame:
        """Hold the hotspots against chance: those of a random object above the same thresholds.

        Parameters
        ----------
        null : NullMaps
            Of the same maps, ``m.null()``.

        Returns
        -------
        pandas.DataFrame
            One row per map: ``n``, ``count``; ``expected_count`` and ``expected_count_std``, mean and
            standard deviation over the realizations; ``enrichment``, count over expected (infinite where
            chance gives none) and ``enrichment_error``, its counting error; ``p_value``,
            ``(1 + #{null >= data})/(1 + realizations)``;
            ``diameter_mean``, ``expected_diameter`` (nm) and ``diameter_p_value``; ``size_resolved``,
            whether that is below 0.05; ``area_fraction``, ``expected_area_fraction`` and ``area_p_value``;
            ``volume_fraction``, ``expected_volume_fraction`` and ``volume_enrichment``. Where order is
            dense, hotspots merge: then area and volume tell more than the count.

        Raises
        ------
        ValueError
            If the null belongs to other maps.

        Warns
        -----
        UserWarning
            Once, naming the maps whose mean diameter cannot be told from the probe's.
        """
        return enrichment_table(self, null)

    def save(self, folder: str | Path) -> list[Path]:
        """Write the tables, the label images and the parameters into a folder.

        Parameters
        ----------
        folder : str or pathlib.Path
            Made when it does not exist; files of the same names are replaced.

        Returns
        -------
        list of pathlib.Path
            ``hotspots.csv``, ``hotspots_summary.csv``, ``hotspots_overlap.csv`` (units in the headers),
            ``hotspots_labels.npz`` (``labels``, ``orders``, ``pixel_size``, ``origin``) and
            ``hotspots_parameters.json``.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        labels, parameters = folder / "hotspots_labels.npz", folder / "hotspots_parameters.json"
        np.savez_compressed(
            labels,
            labels=self.labels,
            orders=np.array([str(order) for order in self.orders]),
            pixel_size=self.pixel_size,
            origin=self.origin,
        )
        record = {"operation": "hotspots", "version": __version__, **self.parameters}
        parameters.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return [
            write_table(self.table, folder / "hotspots.csv"),
            write_table(self.summary, folder / "hotspots_summary.csv"),
            write_table(self.overlap, folder / "hotspots_overlap.csv", index=True),
            labels,
            parameters,
        ]

    def plot(self, **kwargs: Any) -> Any:
        """Draw diameters and volume fractions: see :func:`medrange.plotting.plot_size_statistics`."""
        from medrange.plotting import profiles

        return profiles.plot_size_statistics(self, **kwargs)

    def plot_outlines(self, order_map: Any = None, **kwargs: Any) -> Any:
        """Draw outlines of the regions, over a map if given: see :func:`medrange.plotting.plot_hotspots`."""
        from medrange.plotting import maps

        return maps.plot_hotspots(self, order_map, **kwargs)


def find_hotspots(
    images: np.ndarray,
    orders: Sequence[int | str],
    *,
    pixel_size: tuple[float, float],
    origin: tuple[float, float] = (0.0, 0.0),
    threshold: str | float = "isodata",
    thickness: float = 20.0,
    acceptance_angle: float = 10.0,
    min_pixels: int = 1,
) -> Hotspots:
    """Find and measure the hotspots of a stack of maps; see :meth:`OrderMap.hotspots`.

    Parameters
    ----------
    images : numpy.ndarray
        Shape (maps, y, x); NaN where there is no value.
    orders : sequence
        One name per map.
    pixel_size, origin : tuple of float
        (dy, dx), and the position (y, x) of the center of the first pixel; nm.
    threshold, thickness, acceptance_angle, min_pixels
        As in :meth:`OrderMap.hotspots`.

    Examples
    --------
    >>> image = np.zeros((1, 8, 8))
    >>> image[0, 2:4, 2:4] = 1
    >>> find_hotspots(image, [4], pixel_size=(0.5, 0.5)).table["area"].tolist()
    [1.0]
    """
    tables, labels, rows = [], [], []
    for order, image in zip(orders, images, strict=True):
        value = threshold_value(image, threshold)
        labels.append(label_hotspots(image, value, min_pixels=min_pixels))
        regions = pd.DataFrame(measure_hotspots(labels[-1], image, pixel_size=pixel_size))
        regions.insert(0, "n", pd.Series([order] * len(regions), dtype=object))
        regions["y"] += origin[0]
        regions["x"] += origin[1]
        tables.append(regions)
        area = float(np.isfinite(image).sum()) * pixel_size[0] * pixel_size[1]
        sizes = _size_statistics(regions, area, thickness=thickness, acceptance_angle=acceptance_angle)
        rows.append({"n": order, "threshold": value, **sizes})
    overlap = [[overlap_fraction(a, b) for b in labels] for a in labels]
    table, summary = pd.concat(tables, ignore_index=True).infer_objects(), pd.DataFrame(rows)
    return Hotspots(
        table=with_units(table, _TABLE_UNITS),
        labels=np.stack(labels),
        orders=tuple(orders),
        summary=with_units(summary, _SUMMARY_UNITS),
        overlap=with_units(pd.DataFrame(overlap, pd.Index(orders, name="n"), list(orders)), {}),
        units={**dict.fromkeys([*table.columns, *summary.columns], ""), **_TABLE_UNITS, **_SUMMARY_UNITS},
        pixel_size=pixel_size,
        origin=origin,
        parameters={
            "threshold": threshold if isinstance(threshold, str) else float(threshold),
            "thickness": float(thickness),
            "acceptance_angle": float(acceptance_angle),
            "min_pixels": int(min_pixels),
        },
    )


def overlap_table(
    images: np.ndarray, orders: Sequence[int | str], other: np.ndarray, threshold: str | float = "isodata"
) -> pd.DataFrame:
    """Overlap of the hotspots of each map with those of another; see :meth:`OrderMap.overlap_with`.

    Parameters
    ----------
    images : numpy.ndarray
        Shape (maps, y, x).
    orders : sequence
        One name per map.
    other : numpy.ndarray
        Shape (y, x).
    threshold : str or float
        As in :meth:`OrderMap.hotspots`, found for each map by itself.

    Returns
    -------
    pandas.DataFrame
        Columns ``n``, ``overlap``, ``expected``, ``other_overlap``.
    """
    if other.shape != images.shape[1:]:
        msg = f"the other map has shape {other.shape}; it must be one map of this scan, {images.shape[1:]}."
        raise ValueError(msg)
    inside = label_hotspots(other, threshold_value(other, threshold))
    expected = overlap_fraction(np.isfinite(other), inside)
    rows = []
    for order, image in zip(orders, images, strict=True):
        labels = label_hotspots(image, threshold_value(image, threshold))
        rows.append((order, overlap_fraction(labels, inside), expected, overlap_fraction(inside, labels)))
    return with_units(pd.DataFrame(rows, columns=["n", "overlap", "expected", "other_overlap"]), {})


def _size_statistics(
    regions: pd.DataFrame, area: float, *, thickness: float, acceptance_angle: float
) -> dict[str, float]:
    """Summary of the regions of one map; NaN where the map has no value at all."""
    diameters = regions["diameter"].to_numpy()
    count = len(diameters)
    std = float(diameters.std(ddof=1)) if count > 1 else float("nan")
    statistics = {
        "count": count,
        "number_density": float("nan"),
        "diameter_mean": float(diameters.mean()) if count else float("nan"),
        "diameter_std": std,
        "diameter_sem": std / np.sqrt(count) if count else float("nan"),
        "area_fraction": float("nan"),
        "volume_fraction": float("nan"),
        "volume_fraction_sem": float("nan"),
    }
    if area > 0:
        sample = {"area": area, "thickness": thickness, "acceptance_angle": acceptance_angle}
        statistics["number_density"] = count / area
        statistics["area_fraction"] = float(regions["area"].sum()) / area
        statistics["volume_fraction"] = volume_fraction(diameters, **sample)
        statistics["volume_fraction_sem"] = volume_fraction_error(diameters, **sample)
    return statistics
