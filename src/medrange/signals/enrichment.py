"""Hotspot tables held against chance: how many, how large, how much of them a random object would give."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medrange.kernels.hotspots import label_hotspots, measure_hotspots, volume_fraction
from medrange.signals.tables import with_units

if TYPE_CHECKING:
    from medrange.signals.hotspots import Hotspots
    from medrange.signals.null import NullMaps

# Chance below which a mean diameter counts as larger than that of a random object.
_SIZE_LEVEL = 0.05
_UNITS = {"diameter_mean": "nm", "expected_diameter": "nm"}


def enrichment_table(hotspots: Hotspots, null: NullMaps) -> pd.DataFrame:
    """Table of hotspots and of what chance gives; see :meth:`Hotspots.enrichment`.

    Parameters
    ----------
    hotspots : Hotspots
        Of the data.
    null : NullMaps
        Of the same maps.
    """
    drawn = _null_hotspots(hotspots, _images_like(hotspots, null))
    rows = [
        _row(found, {name: values[:, index] for name, values in drawn.items()})
        for index, found in enumerate(hotspots.summary.to_dict("records"))
    ]
    blurred = [str(row["n"]) for row in rows if row["diameter_p_value"] >= _SIZE_LEVEL]
    if blurred:
        warnings.warn(
            f"the mean hotspot diameter of n = {', '.join(blurred)} cannot be told from that of a random object (p >= "
            f"{_SIZE_LEVEL}): it is the size of the probe, not of the order.",
            stacklevel=3,
        )
    return with_units(pd.DataFrame(rows), _UNITS)


def _row(found: dict, chance: dict[str, np.ndarray]) -> dict:
    """One map: its summary against the realizations."""
    count, n_chance = chance["count"], chance["count"].sum()
    p_size = _p_value(found["diameter_mean"], chance["diameter_mean"][count > 0])
    return {
        "n": found["n"],
        "count": found["count"],
        "expected_count": float(count.mean()),
        "expected_count_std": float(count.std(ddof=1)) if count.size > 1 else float("nan"),
        "enrichment": _ratio(found["count"], count.mean()),
        "enrichment_error": _ratio_error(found["count"], count),
        "p_value": _p_value(found["count"], count),
        "diameter_mean": found["diameter_mean"],
        "expected_diameter": float(chance["diameter_total"].sum() / n_chance) if n_chance else float("nan"),
        "diameter_p_value": p_size,
        "size_resolved": bool(p_size < _SIZE_LEVEL),
        "area_fraction": found["area_fraction"],
        "expected_area_fraction": float(chance["area_fraction"].mean()),
        "area_p_value": _p_value(found["area_fraction"], chance["area_fraction"]),
        "volume_fraction": found["volume_fraction"],
        "expected_volume_fraction": float(chance["volume_fraction"].mean()),
        "volume_enrichment": _ratio(found["volume_fraction"], chance["volume_fraction"].mean()),
    }


def _images_like(hotspots: Hotspots, null: NullMaps) -> np.ndarray:
    """Null maps (realization, map, y, x) of what the hotspots were found in."""
    found = tuple(order for order in hotspots.orders if order != "sum")
    if found != null.orders or hotspots.labels.shape[1:] != null.maps.shape[2:]:
        msg = (
            f"hotspots of n = {found} in maps {hotspots.labels.shape[1:]} and a null of n = {null.orders} in maps "
            f"{null.maps.shape[2:]} do not belong together; make both from one map: m.hotspots().enrichment(m.null())."
        )
        raise ValueError(msg)
    if "sum" not in hotspots.orders:
        return null.maps
    # In units of the data's means, like the threshold: else a strong map would raise its own null.
    means = np.nanmean(null.source._stack()[0], axis=(1, 2))
    used = means > 0
    total = (null.maps[:, used] / means[used, None, None]).mean(axis=1)
    total[:, ~np.isfinite(null.maps).all(axis=(0, 1))] = np.nan
    return np.concatenate([null.maps, total[:, None].astype(null.maps.dtype)], axis=1)


def _null_hotspots(hotspots: Hotspots, images: np.ndarray) -> dict[str, np.ndarray]:
    """Hotspots of the null above the thresholds of the data; arrays (realization, map)."""
    asked, (dy, dx) = hotspots.parameters, hotspots.pixel_size
    names = ("count", "diameter_mean", "diameter_total", "area_fraction", "volume_fraction")
    drawn = {name: np.full(images.shape[:2], np.nan) for name in names}
    for column, threshold in enumerate(hotspots.summary["threshold"]):
        area = np.isfinite(images[0, column]).sum() * dy * dx
        for row, image in enumerate(images[:, column]):
            labels = label_hotspots(image, threshold, min_pixels=asked["min_pixels"])
            regions = measure_hotspots(labels, image, pixel_size=(dy, dx))
            diameters = regions["diameter"]
            drawn["count"][row, column] = diameters.size
            drawn["diameter_total"][row, column] = diameters.sum()
            if diameters.size:
                drawn["diameter_mean"][row, column] = diameters.mean()
            if area:
                drawn["area_fraction"][row, column] = regions["area"].sum() / area
                sample = {"thickness": asked["thickness"], "acceptance_angle": asked["acceptance_angle"]}
                drawn["volume_fraction"][row, column] = volume_fraction(diameters, area=area, **sample)
    return drawn


def _ratio(value: float, expected: float) -> float:
    """Infinite where chance gives none, NaN where neither has any."""
    if expected > 0:
        return float(value / expected)
    return float("inf") if value > 0 else float("nan")


def _ratio_error(value: float, drawn: np.ndarray) -> float:
    """Standard error of ``value / mean(drawn)``: Poisson of the value (at least one), and of the drawn mean."""
    expected = drawn.mean()
    if not expected > 0:
        return float("nan")
    return float(np.hypot(np.sqrt(max(value, 1)), value / expected * drawn.std() / np.sqrt(drawn.size)) / expected)


def _p_value(value: float, drawn: np.ndarray) -> float:
    """Chance of a value at least as large, ``(1 + #{drawn >= value})/(1 + N)``; NaN without either."""
    if not np.isfinite(value) or drawn.size == 0:
        return float("nan")
    return float((1 + np.count_nonzero(drawn >= value)) / (1 + drawn.size))
