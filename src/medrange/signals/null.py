"""Order maps of a random object: what a scan without order would give.

What a map needs for it (ring, geometry, dose, mean pattern) is recorded in ``metadata.Medrange.Ring`` when the
map is made, so that a map that was saved and loaded still has its null.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.noise import noise_factors, remove_shot_noise
from medrange.kernels.null import (
    RandomScan,
    fit_contrast,
    friedel_breaking,
    null_rings,
    object_spectrum,
    odd_even_ratio,
    rings_to_statistics,
)
from medrange.kernels.polar import polar_operator
from medrange.kernels.rings import FIRST_POWER, VARIANCE
from medrange.signals.tables import with_units
from medrange.units import electron_wavelength, unit_factor

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

    from medrange.signals.order_map import OrderMap

_NODE = "Medrange.Ring"
_TEM = "Acquisition_instrument.TEM"
# Realizations behind the fit of the contrast; each holds it to some 7 % per order.
_FIT_REALIZATIONS = 4
# A coherent random object this much too weak is worth a word.
_CONTRAST_LIMIT = 1.2


@dataclass(frozen=True, eq=False, repr=False)
class NullMaps:
    """The maps that a random object would give under the same probe, scan, ring, mask and dose.

    Made by :meth:`medrange.signals.order_map.OrderMap.null`.

    Attributes
    ----------
    maps : numpy.ndarray
        Shape (realization, n, y, x), float32, in the units of the maps; NaN where the map has no value.
    orders : tuple
        What each map is: the orders n, or ``("map",)`` for V2D.
    parameters : dict
        ``seed``, ``n_realizations``; ``convergence_angle`` (mrad), ``beam_energy`` (kV); ``contrast`` and
        ``beta`` as fitted; ``spectrum`` of the object, ``"profile"`` (from the mean pattern) or ``"white"``;
        ``gain`` of the counting noise (None: left out) and ``shot_noise_subtracted``.
    source : OrderMap
        The maps that were modeled.
    """

    maps: np.ndarray
    orders: tuple[int | str, ...]
    parameters: dict[str, Any]
    source: OrderMap

    def __repr__(self) -> str:
        p = self.parameters
        rows, cols = self.maps.shape[-2:]
        noise = "no counting noise" if p["gain"] is None else "counting noise"
        return (
            f"NullMaps({len(self.maps)} realizations of {rows} x {cols} positions, n = "
            f"{', '.join(map(str, self.orders))}; contrast {p['contrast']:.2f}, odd part {p['beta']:.2f}, "
            f"{p['spectrum']} spectrum, {noise})"
        )

    def realization(self, index: int) -> OrderMap:
        """One realization as an order map with the axes and metadata of the source; it can be analyzed like data."""
        result = self.source._deepcopy_with_new_data(self.maps[index].reshape(self.source.data.shape))
        result.metadata.General.title = f"null of {self.source.metadata.General.title}"
        return result

    def typical(self) -> pd.DataFrame:
        """Median of each map and of its null: ``n``, ``median``, ``expected_median``, ``ratio``."""
        images, _ = self.source._stack()
        median = np.nanmedian(images, axis=(1, 2))
        expected = np.nanmedian(self.maps, axis=(0, 2, 3)).astype(float)
        table = {"n": list(self.orders), "median": median, "expected_median": expected, "ratio": median / expected}
        return with_units(pd.DataFrame(table), {})


@dataclass(frozen=True, eq=False)
class MRONull:
    """Null of V2D and of P_n from the same random objects; made by :meth:`MROResult.null`.

    Attributes
    ----------
    variance, power : NullMaps
        Maps of V2D, and of P_n.
    """

    variance: NullMaps
    power: NullMaps


def record_ring(
    order_map: OrderMap, signal: BaseSignal, band: PolarGrid, gain: float | None, *, ring_mean: Any = None
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
    ring_mean : array or signal, optional
        Mean intensity of the ring over the scan.
    """
    node = {
        "k": (band.k_min + band.k_max) / 2,
        "width": band.k_max - band.k_min,
        "n_phi": band.n_phi,
        "geometry": signal.geometry.to_json(),
        "shot_noise_subtracted": gain is not None,
    }
    if gain is not None or signal.data.dtype.kind in "iu":
        node["gain"] = 1.0 if gain is None else float(gain)
    order_map.metadata.add_dictionary({"Medrange": {"Ring": node}})
    record_means(order_map, ring_mean=ring_mean)
    return order_map


def record_means(order_map: BaseSignal, **means: Any) -> None:
    """Record scan averages in a map, in place; what is lazy or None is left out.

    Parameters
    ----------
    order_map : OrderMap
        With a ring recorded.
    **means
        ``ring_mean`` (image), ``profile`` (RadialProfile), ``band_spectrum`` (Signal1D, n = 1, 2, ...).
    """
    for name, value in means.items():
        data = getattr(value, "data", value)
        if data is None or hasattr(data, "dask"):
            continue
        if name == "ring_mean":
            order_map.metadata.set_item(f"{_NODE}.ring_mean", float(np.nanmean(data)))
        elif name == "band_spectrum":
            order_map.metadata.set_item(f"{_NODE}.band_spectrum", np.asarray(data, dtype=float))
        else:
            mean = np.nanmean(np.asarray(data, dtype=float).reshape(-1, data.shape[-1]), axis=0)
            order_map.metadata.set_item(f"{_NODE}.profile", mean)
            order_map.metadata.set_item(f"{_NODE}.profile_k", np.asarray(value.axes_manager["k"].axis, dtype=float))


@dataclass(frozen=True, eq=False)
class _Model:
    """Everything but the contrast and the random numbers."""

    scan: RandomScan
    geometry: DiffractionGeometry
    band: PolarGrid
    ring_mean: float
    gain: float | None
    subtracted: bool
    beta: float = 0.0

    def floor(self) -> np.ndarray:
        """V2D, P_1, P_2, ... of counting noise alone, 0 without noise."""
        factors = noise_factors(self.geometry, self.band)
        expected = np.append(factors.variance[0], factors.power[0])
        return expected * (0.0 if self.gain is None else self.gain / self.ring_mean)

    def statistics(self, rng: np.random.Generator, contrast: float, *, subtract: bool) -> np.ndarray:
        """Shape (y, x, 3 + n_phi // 2), as from ``ring_statistics``, of one random object."""
        rings = null_rings(
            self.scan,
            polar_operator(self.geometry, self.band),
            rng,
            contrast=min(contrast, 1.0),
            beta=self.beta,
            mean=self.ring_mean,
            gain=self.gain,
        )
        result = rings_to_statistics(rings)
        if subtract:
            factors = noise_factors(self.geometry, self.band)
            result = remove_shot_noise(result[:, :, None], factors, self.gain)[:, :, 0]
        # Coherent patterns are the strongest; what a narrower spectrum would add, a factor does.
        result[..., VARIANCE:] *= max(contrast, 1.0) ** 2
        return result


def simulate_null(
    order_map: OrderMap,
    seed: int | np.random.Generator,
    *,
    convergence_angle: float | None,
    beam_energy: float | None,
    n_realizations: int,
    profile: BaseSignal | None,
    scan_mask: np.ndarray | None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Ring statistics of random objects fitted to a map; see :meth:`OrderMap.null`.

    Returns
    -------
    statistics : numpy.ndarray
        Shape (realization, y, x, 3 + n_phi // 2), float32: mean, mean, V2D, P_1, P_2, ...
    parameters : dict
        Those of :class:`NullMaps`.
    """
    if n_realizations < 1:
        msg = f"n_realizations is {n_realizations!r}; at least 1 is needed, 20 is usual."
        raise ValueError(msg)
    node = _ring_of(order_map)
    if profile is not None:
        copy = order_map._deepcopy_with_new_data(order_map.data)
        record_means(copy, profile=profile)
        node = _ring_of(copy)
    instrument = {
        "convergence_angle": _instrument(order_map, "convergence_angle", convergence_angle, "mrad", 1.15),
        "beam_energy": _instrument(order_map, "beam_energy", beam_energy, "kV", 300.0),
    }
    columns, (images, _) = _columns(order_map), order_map._stack()
    kept = _kept(images, scan_mask)
    model = _model(order_map, node, instrument)
    model = replace(model, beta=_odd_part(model, node, columns, images[:, kept]))
    # The fit has its own numbers: asking for more realizations changes none of the first.
    fit_rng, *rngs = np.random.default_rng(seed).spawn(n_realizations + 1)
    contrast = _fit(model, columns, images, kept, fit_rng)
    if contrast > _CONTRAST_LIMIT:
        warnings.warn(
            f"the maps are {contrast**2:.1f} times stronger than a coherent random object can be; it was scaled. "
            "Check convergence_angle; give profile=s.radial_profile() where the ring is sharp; or the whole field is "
            "ordered: give scan_mask to fit the null to the matrix alone.",
            stacklevel=3,
        )
    statistics = np.stack(
        [model.statistics(rng, contrast, subtract=model.subtracted).astype(np.float32) for rng in rngs]
    )
    parameters = {
        "seed": seed if isinstance(seed, int | np.integer) else None,
        "n_realizations": n_realizations,
        **instrument,
        "contrast": contrast,
        "beta": model.beta,
        "spectrum": "white" if model.scan.spectrum is None else "profile",
        "gain": model.gain,
        "shot_noise_subtracted": model.subtracted,
    }
    return statistics, parameters


def null_maps(order_map: OrderMap, statistics: np.ndarray, parameters: dict[str, Any]) -> NullMaps:
    """Pick the maps of one signal from ring statistics (realization, y, x, columns)."""
    images, orders = order_map._stack()
    maps = np.moveaxis(statistics[..., _columns(order_map)], -1, 1).astype(np.float32)
    maps[:, ~np.isfinite(images)] = np.nan
    return NullMaps(maps, orders, parameters, order_map)


def _ring_of(order_map: OrderMap) -> dict[str, Any]:
    node = order_map.metadata.get_item(_NODE, default=None)
    if node is None:
        msg = (
            "the map does not say which ring it was made from, so that its null is unknown. Make it with "
            "s.medium_range_order(k=4.0, width=0.4), s.angular_power_map or s.variance_map of this version."
        )
        raise ValueError(msg)
    return node.as_dictionary()


def _instrument(order_map: OrderMap, name: str, given: float | None, unit: str, example: float) -> float:
    value = order_map.metadata.get_item(f"{_TEM}.{name}", default=None) if given is None else given
    if value is None:
        msg = (
            f"the {name.replace('_', ' ')} is unknown, and with it the probe. Give it in {unit}: "
            f".null({name}={example}), or before mapping s.calibrate({name}={example})."
        )
        raise ValueError(msg)
    if not (np.isfinite(value) and value > 0):
        msg = f"{name} is {value!r} {unit}; it must be positive, for example {example}."
        raise ValueError(msg)
    return float(value)


def _columns(order_map: OrderMap) -> list[int]:
    """Columns of the ring statistics that a signal holds."""
    quantity = order_map.metadata.get_item("Signal.quantity", default="")
    if order_map.orders and quantity == "P_n":
        return [FIRST_POWER + n - 1 for n in order_map.orders]
    if not order_map.orders and quantity == "V2D":
        return [VARIANCE]
    msg = (
        f"the map is {quantity or 'unnamed'!r} of orders {order_map.orders}; a null is known for V2D and for P_n with "
        "its axis n. Take one order as .inav[1:2], and the sum of orders from hotspots() of all maps."
    )
    raise ValueError(msg)


def _kept(images: np.ndarray, scan_mask: np.ndarray | None) -> np.ndarray:
    """Positions (y, x) the contrast is fitted to."""
    kept = np.isfinite(images).all(axis=0)
    if scan_mask is not None:
        scan_mask = np.asarray(scan_mask)
        if scan_mask.shape != kept.shape or scan_mask.dtype != bool:
            msg = (
                f"scan_mask is {scan_mask.dtype} of shape {scan_mask.shape}; a boolean mask of the scan, {kept.shape}, "
                "is needed, True = excluded."
            )
            raise ValueError(msg)
        kept &= ~scan_mask
    if not kept.any():
        msg = "no scan position is left to fit the null to: the maps have no values there, or scan_mask excludes all."
        raise ValueError(msg)
    return kept


def _model(order_map: OrderMap, node: dict[str, Any], instrument: dict[str, float]) -> _Model:
    """Random object and detector that a map stands for, as yet with full Friedel symmetry."""
    geometry = DiffractionGeometry.from_json(node["geometry"])
    band = PolarGrid.band(node["k"], node["width"], node["n_phi"])
    to_inverse_nm = unit_factor(geometry.k_units, "1/nm")
    aperture = instrument["convergence_angle"] * 1e-3 / electron_wavelength(instrument["beam_energy"]) * 10
    rows, cols = np.divmod(polar_operator(geometry, band).pixels, geometry.shape[1])
    offsets = np.stack([cols - geometry.center[1], rows - geometry.center[0]])
    k = (geometry.distortion @ offsets)[::-1].T * geometry.k_step * to_inverse_nm
    spectrum = None
    if node.get("profile") is not None:
        spectrum = object_spectrum(np.asarray(node["profile_k"]) * to_inverse_nm, np.asarray(node["profile"]), aperture)
    step, _ = order_map._scan_grid()
    gain, ring_mean, subtracted = node.get("gain"), node.get("ring_mean"), bool(node["shot_noise_subtracted"])
    if gain is not None and ring_mean is None:
        warnings.warn(
            "the mean intensity of the ring is not recorded in the map (maps computed lazily one by one lack it), so "
            "that the null has no counting noise.",
            stacklevel=4,
        )
        gain, subtracted = None, False
    return _Model(
        scan=RandomScan(k, order_map.data.shape[-2:], step, aperture, spectrum),
        geometry=geometry,
        band=band,
        ring_mean=1.0 if ring_mean is None else float(ring_mean),
        gain=gain,
        subtracted=subtracted,
    )


def _odd_part(model: _Model, node: dict[str, Any], columns: list[int], kept: np.ndarray) -> float:
    """Part without Friedel symmetry: from the medians of odd and even maps, else from the mean of all orders."""
    ratio, floor = float("nan"), np.zeros(len(model.floor())) if model.subtracted else model.floor()
    if columns != [VARIANCE]:
        # P_n of speckle and of noise are exponentially distributed: the median is ln 2 of the mean.
        power = np.median(kept, axis=1) - np.log(2) * floor[np.array(columns) - VARIANCE]
        ratio = odd_even_ratio(power, np.array(columns) - VARIANCE)
    if not np.isfinite(ratio) and node.get("band_spectrum") is not None:
        power = np.asarray(node["band_spectrum"], dtype=float)
        ratio = odd_even_ratio(power - floor[1:], np.arange(1, power.size + 1))
    return friedel_breaking(ratio) if np.isfinite(ratio) else 0.0


def _fit(model: _Model, columns: list[int], images: np.ndarray, kept: np.ndarray, rng: np.random.Generator) -> float:
    """Contrast at which the median of V2D, or of the even orders, is that of the data; floors included in both."""
    used = [i for i, column in enumerate(columns) if column == VARIANCE or (column - VARIANCE) % 2 == 0]
    used = used or list(range(len(columns)))
    columns = np.array(columns)[used]
    floor = model.floor()[columns - VARIANCE] if model.subtracted else 0.0
    target = np.median(images[used][:, kept], axis=1) + floor
    if not (target > 0).any():
        return 0.01
    seeds = rng.integers(2**63, size=_FIT_REALIZATIONS)

    def excess(contrast: float) -> float:
        drawn = [model.statistics(np.random.default_rng(seed), contrast, subtract=False)[kept] for seed in seeds]
        typical = np.median(np.concatenate(drawn), axis=0)[columns]
        return float(np.median((typical / target)[target > 0]))

    return fit_contrast(excess)
