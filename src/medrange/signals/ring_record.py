"""What a map records of the ring it was made from, in ``metadata.Medrange.Ring``: all that its null needs.

A map that was saved and loaded still has its null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medrange.geometry import PolarGrid
from medrange.kernels.rings import FIRST_POWER, RING_MEAN, polar_means
from medrange.signals.centering import aligned_mean

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

    from medrange.signals.order_map import OrderMap

_NODE = "Medrange.Ring"
# Patterns behind the mean pattern that a map made by itself records.
_SAMPLE = 256
# How far beyond the band, in units of its end.
_REACH = 1.4


def record_ring(
    order_map: OrderMap, signal: BaseSignal, band: PolarGrid, gain: float | None, *, statistics: Any = None
) -> OrderMap:
    """Record in a map the ring it was made from; the same map, for a chain of calls.

    Parameters
    ----------
    order_map : OrderMap
        V2D or P_n.
    signal : Nanodiffraction
        The patterns: geometry, and whether they are integer counts, whose gain is 1.
    band : PolarGrid
        One ring.
    gain : float or None
        With which shot noise was subtracted.
    statistics : array, optional
        Ring statistics (y, x, 3 + n_phi // 2). Their scan averages, and a mean pattern from a sample of the
        scan, are recorded too; not of lazy data, of which nothing is computed before it is asked for.
    """
    geometry = signal.geometry
    node = {
        "k": (band.k_min + band.k_max) / 2,
        "width": band.k_max - band.k_min,
        "n_phi": band.n_phi,
        "geometry": geometry.to_json(),
        "shot_noise_subtracted": gain is not None,
    }
    if gain is not None or signal.data.dtype.kind in "iu":
        node["gain"] = 1.0 if gain is None else float(gain)
    if isinstance(statistics, np.ndarray):
        rings = _rings_around(band, geometry.k_step)
        pattern, seen = aligned_mean(signal, max_patterns=_SAMPLE)
        node["profile"] = polar_means(pattern[None], seen, rings)[0, :, 0]
        node["profile_k"] = np.asarray(rings.k, dtype=float)
    order_map.metadata.add_dictionary({"Medrange": {"Ring": node}})
    if isinstance(statistics, np.ndarray):
        power = np.nanmean(statistics[..., FIRST_POWER:], axis=(0, 1), dtype=float)
        record_means(order_map, ring_mean=statistics[..., RING_MEAN], band_spectrum=power)
    return order_map


def _rings_around(band: PolarGrid, k_step: float) -> PolarGrid:
    """Rings of a pixel's width from k = 0 to beyond the band, as far as an aperture blurs into it."""
    n_k = max(1, int(np.ceil(_REACH * band.k_max / k_step)))
    return PolarGrid(0.0, n_k * k_step, n_k, 1)


def record_means(*order_maps: BaseSignal, **means: Any) -> None:
    """Record scan averages in maps, in place; what is lazy or None is left out.

    Parameters
    ----------
    *order_maps : OrderMap
        Of one scan, each with a ring recorded.
    **means
        ``ring_mean`` (image), ``profile`` (RadialProfile), ``band_spectrum`` (Signal1D, n = 1, 2, ...).
    """
    for name, value in means.items():
        data = value if isinstance(value, np.ndarray) else getattr(value, "data", value)
        if data is None or hasattr(data, "dask"):
            continue
        if name == "ring_mean":
            entries = {"ring_mean": float(np.nanmean(data))}
        elif name == "band_spectrum":
            entries = {"band_spectrum": np.asarray(data, dtype=float)}
        else:
            k = np.asarray(value.axes_manager["k"].axis, dtype=float)
            entries = {"profile": _mean_of_known(np.asarray(data).reshape(-1, data.shape[-1])), "profile_k": k}
        for order_map in order_maps:
            for key, entry in entries.items():
                order_map.metadata.set_item(f"{_NODE}.{key}", entry)


def _mean_of_known(profiles: np.ndarray) -> np.ndarray:
    """Mean profile; NaN, without a warning, where all of k is masked."""
    with np.errstate(invalid="ignore"):
        total = profiles.sum(axis=0, dtype=float)
        # A sum is finite only if all that was added is; else a slower way.
        if np.isfinite(total).all():
            return total / len(profiles)
        known = np.isfinite(profiles)
        return np.where(known, profiles, 0).sum(axis=0, dtype=float) / known.sum(axis=0)


def ring_of(order_map: OrderMap) -> dict[str, Any]:
    """Record of the ring of a map; refused where there is none."""
    node = order_map.metadata.get_item(_NODE, default=None)
    if node is None:
        msg = (
            "the map does not say which ring it was made from, so that its null is unknown. Make it with "
            "s.medium_range_order(k=4.0, width=0.4), s.angular_power_map or s.variance_map of this version."
        )
        raise ValueError(msg)
    return node.as_dictionary()


def mean_intensity(node: dict[str, Any]) -> float | None:
    """Mean intensity of the ring over the scan: as recorded, else from the profile, rings counting by their area."""
    if node.get("ring_mean") is not None or node.get("profile") is None:
        return node.get("ring_mean")
    k, profile = np.asarray(node["profile_k"], dtype=float), np.asarray(node["profile"], dtype=float)
    fine = node["k"] + node["width"] * (np.arange(64) + 0.5 - 32) / 64
    return float(np.average(np.interp(fine, k[np.isfinite(profile)], profile[np.isfinite(profile)]), weights=fine))
