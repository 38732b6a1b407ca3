"""Order maps of a random object: what a scan without order would give."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.noise import noise_factors, remove_shot_noise
from medrange.kernels.null import (
    RandomScan,
    fit_contrast,
    friedel_breaking,
    match_medians,
    null_rings,
    object_spectrum,
    odd_even_ratio,
    rings_to_statistics,
)
from medrange.kernels.polar import polar_operator
from medrange.kernels.rings import FIRST_POWER, VARIANCE
from medrange.signals.mapping import n_workers, shows_progress
from medrange.signals.ring_record import mean_intensity, record_means, ring_of
from medrange.signals.tables import with_units
from medrange.units import electron_wavelength, unit_factor

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

    from medrange.signals.order_map import OrderMap

_TEM = "Acquisition_instrument.TEM"
# Realizations behind the fit of the contrast; each holds it to some 7 % per order.
_FIT_REALIZATIONS = 4
# Realizations at once: each holds a few arrays (positions x n_phi) float64 and some blocks. As many as fit into this
# memory, but no fewer than so many.
_MEMORY, _BLOCKS, _ARRAYS, _THREADS = 2 * 2**30, 64 * 2**20, 4, 4
# The bulk of an order is not that of a random object beyond so many standard deviations and this much: real
# glasses are up to 10 % off.
_UNLIKE, _UNLIKE_LEAST = 4.0, 0.2
# Fewer realizations do not know their standard deviation.
_TELLING = 10
# A bar appears only on work that lasts.
_BAR_DELAY = 2.0
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
        ``beta`` as fitted; ``match``; ``spectrum`` of the object, ``"profile"`` (from the mean pattern) or ``"white"``;
        ``gain`` of the counting noise (None: left out) and ``shot_noise_subtracted``.
    source : OrderMap
        The maps that were modeled.
    strength : numpy.ndarray
        Shape (realization, n): median of the data's map over that of each random map as it was drawn; about 1
        where the bulk of an order is as strong as in a random object of the fitted contrast.
    """

    maps: np.ndarray
    orders: tuple[int | str, ...]
    parameters: dict[str, Any]
    source: OrderMap
    strength: np.ndarray

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
        """Bulk strength of each order over that of a random object of the fitted contrast.

        Hotspots stand out from the bulk of a map and say nothing about it; this does.

        Returns
        -------
        pandas.DataFrame
            ``n``; ``ratio``, the median of the data's map over that of a random object (the median over
            realizations); ``ratio_std``, by how much random objects differ among each other.
        """
        spread = self.strength.std(axis=0, ddof=1) if len(self.strength) > 1 else np.full(len(self.orders), np.nan)
        table = {"n": list(self.orders), "ratio": np.median(self.strength, axis=0), "ratio_std": spread}
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

    def n_threads(self) -> int:
        """Realizations at once."""
        held = _BLOCKS + _ARRAYS * 8 * self.band.n_phi * self.scan.shape[0] * self.scan.shape[1]
        return min(max(_THREADS, _MEMORY // held), n_workers())


@dataclass(frozen=True, eq=False)
class SimulatedStatistics:
    """Ring statistics of random objects, from which the null of V2D and of P_n is picked.

    Attributes
    ----------
    values : numpy.ndarray
        Shape (realization, y, x, 3 + n_phi // 2), float32: mean, mean, V2D, P_1, P_2, ...
    floor : numpy.ndarray
        Shape (1 + n_phi // 2,): expected noise of V2D, P_1, ... that was subtracted; 0 where none was.
    kept : numpy.ndarray of bool
        Shape (y, x): positions the model was fitted to.
    parameters : dict
        Those of :class:`NullMaps`.
    """

    values: np.ndarray
    floor: np.ndarray
    kept: np.ndarray
    parameters: dict[str, Any]


def simulate_null(
    order_map: OrderMap,
    seed: int | np.random.Generator,
    *,
    convergence_angle: float | None,
    beam_energy: float | None,
    n_realizations: int,
    profile: BaseSignal | None,
    scan_mask: np.ndarray | None,
) -> SimulatedStatistics:
    """Ring statistics of random objects fitted to a map; see :meth:`OrderMap.null`."""
    if n_realizations < 1:
        msg = f"n_realizations is {n_realizations!r}; at least 1 is needed, 20 is usual."
        raise ValueError(msg)
    node = ring_of(order_map)
    if profile is not None:
        if profile._lazy:
            profile = profile.deepcopy()
            profile.compute(show_progressbar=False)
        copy = order_map._deepcopy_with_new_data(order_map.data)
        record_means(copy, profile=profile)
        node = ring_of(copy)
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
    floor = model.floor() if model.subtracted else np.zeros(1 + model.band.n_phi // 2)
    return SimulatedStatistics(_realizations(model, contrast, rngs), floor, kept, parameters)


def _realizations(model: _Model, contrast: float, rngs: list[np.random.Generator]) -> np.ndarray:
    """Statistics (realization, y, x, columns), one object per generator."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        return model.statistics(rng, contrast, subtract=model.subtracted).astype(np.float32)

    with (
        ThreadPoolExecutor(model.n_threads()) as pool,
        tqdm(total=len(rngs), desc="null", unit="object", delay=_BAR_DELAY, disable=not shows_progress()) as bar,
    ):
        drawn = []
        for values in pool.map(draw, rngs):
            drawn.append(values)
            bar.update()
    return np.stack(drawn)


def null_maps(order_map: OrderMap, simulated: SimulatedStatistics, match: str) -> NullMaps:
    """Pick the maps of one signal, scaled to the medians of the data: ``match`` as in :meth:`OrderMap.null`."""
    images, orders = order_map._stack()
    columns, finite = np.array(_columns(order_map)), np.isfinite(images)
    maps = np.moveaxis(simulated.values[..., columns], -1, 1)
    kept = simulated.kept & finite.all(axis=0)
    target = np.median(images[:, kept], axis=1) if kept.any() else np.zeros(len(images))
    groups = (columns - VARIANCE) % 2 if match == "parity" else columns
    maps, strength = match_medians(maps, target, kept, floor=simulated.floor[columns - VARIANCE], groups=groups)
    maps[:, ~finite] = np.nan
    result = NullMaps(maps, orders, {**simulated.parameters, "match": match}, order_map, strength)
    if match == "parity":
        _tell_unlike(result)
    return result


def check_match(match: str) -> None:
    """Refuse what is neither ``"parity"`` nor ``"order"``."""
    if match not in ("parity", "order"):
        msg = f'match is {match!r}; use "parity" (even and odd orders scaled together) or "order" (each by itself).'
        raise ValueError(msg)


def _tell_unlike(null: NullMaps) -> None:
    """Warn of orders whose bulk a random object cannot have."""
    if len(null.strength) < _TELLING:
        return
    table = null.typical()
    away = np.abs(table["ratio"] - table["ratio"].median())
    unlike = table[(away > _UNLIKE * table["ratio_std"]) & (away > _UNLIKE_LEAST)]
    if len(unlike):
        listed = ", ".join(f"{n} ({ratio:.2f})" for n, ratio in zip(unlike["n"], unlike["ratio"], strict=True))
        warnings.warn(
            f"the bulk of the maps of n = {listed} is not as strong as in a random object (1): order over much of the "
            "field, or what the model lacks, such as a distortion (fit_ellipse) or a blurred detector. "
            'match="order" scales every order to its own bulk.',
            stacklevel=4,
        )


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
    gain, ring_mean, subtracted = node.get("gain"), mean_intensity(node), bool(node["shot_noise_subtracted"])
    if gain is not None and ring_mean is None:
        warnings.warn(
            "the dose and the mean pattern are not recorded in the map (maps made lazily one by one lack them), so "
            "that the null has no counting noise. Give profile=s.radial_profile(), or use medium_range_order.",
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

    def drawn(contrast: float, seed: int) -> np.ndarray:
        return model.statistics(np.random.default_rng(seed), contrast, subtract=False)[kept][:, columns]

    with ThreadPoolExecutor(model.n_threads()) as pool:

        def excess(contrast: float) -> float:
            typical = np.median(np.concatenate(list(pool.map(partial(drawn, contrast), seeds))), axis=0)
            return float(np.median((typical / target)[target > 0]))

        return fit_contrast(excess)
