"""All maps of medium-range order of one ring, from one pass over a scan."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dask.array as da
import numpy as np
import pandas as pd
from hyperspy.io import load as load_signal
from hyperspy.signals import LazySignal1D, LazySignal2D, Signal1D, Signal2D

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.rings import FIRST_POWER, RING_MEAN, VARIANCE, working_type
from medrange.kernels.shifted_noise import floor_factors
from medrange.signals import blocks
from medrange.signals.building import build, map_axes, order_axis, scan_axes, uniform_axis
from medrange.signals.computing import compute_together
from medrange.signals.counting import record_rings
from medrange.signals.descan import scan_shifts
from medrange.signals.mapping import Output, map_frames
from medrange.signals.null import MRONull, check_match, null_maps, simulate_null
from medrange.signals.order_map import LazyOrderMap, OrderMap
from medrange.signals.profiles import LazyRadialProfile, RadialProfile
from medrange.signals.ring_record import record_means, record_ring

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal


@dataclass(frozen=True, eq=False, repr=False)
class MROResult:
    """Maps of one ring: V2D, P_n, mean intensity; and, of all rings, I(k) and the mean spectrum P_n(k).

    Attributes
    ----------
    variance : OrderMap
        V2D(phi), (| y, x).
    power : OrderMap
        Angular power P_n, (n | y, x).
    ring_mean : Signal2D
        Mean intensity of the ring, (| y, x).
    profile : RadialProfile or None
        Azimuthal mean intensity I(k), (y, x | k).
    spectrum : Signal2D or None
        P_n(k) averaged over the scan, data (k, n), n = 1 .. 12 or the highest order asked for.
    band_spectrum : Signal1D
        P_n of the ring averaged over the scan, (| n), n = 1 .. n_phi/2; their sum is the mean V2D.
    parameters : dict
        What was asked for.
    variance_noise, power_noise : OrderMap or None
        V2D and P_n expected from counting noise alone, where that was subtracted.
    """

    variance: OrderMap
    power: OrderMap
    ring_mean: Signal2D
    profile: RadialProfile | None
    spectrum: Signal2D | None
    band_spectrum: Signal1D
    parameters: dict[str, Any]
    variance_noise: OrderMap | None = None
    power_noise: OrderMap | None = None

    @property
    def signals(self) -> dict[str, BaseSignal]:
        """Signals of the result by field name, in order; those not computed are left out."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "parameters"}
        return {name: signal for name, signal in named.items() if signal is not None}

    def __repr__(self) -> str:
        p = self.parameters
        rows, cols = self.variance.data.shape
        ring = f"k = {p['k']:g} {p['k_units']}, width {p['width']:g}, {p['n_phi']} azimuths"
        text = f"MROResult({rows} x {cols} positions, {ring}, n = {', '.join(map(str, p['orders']))}"
        if any(signal._lazy for signal in self.signals.values()):
            return f"{text}; lazy, call compute())"
        return f"{text}; mean V2D {np.nanmean(self.variance.data):.4g})"

    def compute(self, *, show_progressbar: bool | None = None) -> None:
        """Compute all lazy signals in one pass over the data, in place.

        Parameters
        ----------
        show_progressbar : bool, optional
            HyperSpy's preference when not given.
        """
        compute_with(self, None, show_progressbar=show_progressbar)

    def null(
        self,
        seed: int | np.random.Generator = 0,
        *,
        convergence_angle: float | None = None,
        beam_energy: float | None = None,
        n_realizations: int = 20,
        scan_mask: np.ndarray | None = None,
        match: Literal["parity", "order"] = "parity",
    ) -> MRONull:
        """V2D and P_n of the same random objects, fitted to P_n; see :meth:`OrderMap.null`.

        Parameters
        ----------
        seed, convergence_angle, beam_energy, n_realizations, scan_mask, match
            As in :meth:`OrderMap.null`.

        Returns
        -------
        MRONull
            ``.variance`` and ``.power``, each for the :meth:`Hotspots.enrichment` of its own map.
        """
        self._require_computed("null")
        check_match(match)
        simulated = simulate_null(
            self.power,
            seed,
            convergence_angle=convergence_angle,
            beam_energy=beam_energy,
            n_realizations=n_realizations,
            profile=None,
            scan_mask=scan_mask,
        )
        pair = (null_maps(order_map, simulated, match) for order_map in (self.variance, self.power))
        return MRONull(*pair)

    def summary(self) -> pd.DataFrame:
        """One row per map: mean, standard deviation, median and maximum over the scan."""
        self._require_computed("summary")
        maps = {"V2D": self.variance.data}
        maps |= {f"P_{n}": image for n, image in zip(self.power.orders, self.power.data, strict=True)}
        maps["ring mean"] = self.ring_mean.data
        rows = [
            {
                "map": name,
                "mean": np.nanmean(image),
                "std": np.nanstd(image),
                "median": np.nanmedian(image),
                "maximum": np.nanmax(image),
            }
            for name, image in maps.items()
        ]
        return pd.DataFrame(rows).set_index("map")

    def save(self, path: str | Path, *, overwrite: bool | None = None) -> list[Path]:
        """Save every signal beside each other, ``NAME_variance.zspy``, ``NAME_power.zspy``, ...

        Parameters
        ----------
        path : str or Path
            ``NAME.zspy`` or ``NAME.hspy``; .zspy when it has no ending.
        overwrite : bool, optional
            As in HyperSpy: ask when not given.

        Returns
        -------
        list of Path
            The files, each of which ``hyperspy.api.load`` opens as its own class.
        """
        targets = _files(path, self.signals)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            # RosettaSciIO's writer on zarr 2; nothing a user can do.
            warnings.filterwarnings("ignore", message="The NestedDirectoryStore is deprecated")
            for target, signal in zip(targets, self.signals.values(), strict=True):
                signal.save(target, overwrite=overwrite)
        return targets

    @classmethod
    def load(cls, path: str | Path) -> MROResult:
        """Load into memory what :meth:`save` wrote.

        Parameters
        ----------
        path : str or Path
            As given to ``save``: ``NAME.zspy`` or ``NAME.hspy``.

        Raises
        ------
        FileNotFoundError
            If a file that every result has is not there.
        """
        optional = ("profile", "spectrum", "variance_noise", "power_noise")
        names = [field.name for field in fields(cls) if field.name != "parameters"]
        files = dict(zip(names, _files(path, names), strict=True))
        missing = [file.name for name, file in files.items() if name not in optional and not file.exists()]
        if missing:
            msg = f"{Path(path).parent} has no {', '.join(missing)}; give the path that MROResult.save was given."
            raise FileNotFoundError(msg)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The NestedDirectoryStore is deprecated")
            signals = {name: load_signal(file) if file.exists() else None for name, file in files.items()}
        node = signals["power"].metadata.Medrange
        asked = node.Provenance.parameters.as_dictionary()
        asked |= {"orders": [int(n) for n in asked["orders"]]}
        units = DiffractionGeometry.from_json(node.Ring.geometry).k_units
        return cls(**signals, parameters=asked | {"k_units": units})

    def plot(self) -> Any:
        """Figure of V2D and all order maps; returns the axes."""
        return self.plot_orders(contour=self.variance)

    def plot_orders(self, contour: OrderMap | None = None, **kwargs: Any) -> Any:
        """All P_n maps side by side with contours of another map, usually V2D (Fig. 3 of [Im2018]_)."""
        self._require_computed("plot_orders")
        return self.power.plot_grid(contour=contour, **kwargs)

    def _record_means(self) -> None:
        """Put the scan averages into the maps, which their null models need."""
        means = {"ring_mean": self.ring_mean, "profile": self.profile, "band_spectrum": self.band_spectrum}
        record_means(self.variance, self.power, **means)

    def _require_computed(self, what: str) -> None:
        if self.power._lazy:
            msg = f"{what} needs the maps in memory; call compute() on the result first."
            raise ValueError(msg)


def compute_with(result: MROResult, others: Any, *, show_progressbar: bool | None = None) -> Any:
    """Compute a result in place, and other arrays of the same scan with it, in one pass over the data.

    Parameters
    ----------
    result : MROResult
        Lazy or not.
    others, show_progressbar
        As of :func:`medrange.signals.computing.compute_together`.

    Returns
    -------
    array, tuple, list or dict
        ``others``, computed.
    """
    is_lazy = any(signal._lazy for signal in result.signals.values())
    others = compute_together(result.signals.values(), others, show_progressbar=show_progressbar)
    if is_lazy:
        result._record_means()
    return others


def _files(path: str | Path, names: Iterable[str]) -> list[Path]:
    """``NAME_variance.zspy`` and so on beside ``NAME.zspy``."""
    path = Path(path)
    ending = path.suffix or ".zspy"
    if ending not in (".zspy", ".hspy"):
        msg = f"{path.name!r}: the ending must be .zspy or .hspy."
        raise ValueError(msg)
    return [path.with_name(f"{path.stem}_{name}{ending}") for name in names]


def _mean(total: np.ndarray | da.Array, counted: np.ndarray | da.Array) -> np.ndarray | da.Array:
    """Mean of what was counted; NaN where nothing was."""
    return np.where(counted > 0, total / np.maximum(counted, 1), np.nan)


def _floors(factors: tuple[np.ndarray, np.ndarray], gain: float, ring_mean: np.ndarray | da.Array) -> list:
    """Shot noise of V2D and of P_n; a dark ring has none that could be told."""
    ratio = gain / np.where(ring_mean > 0, ring_mean, np.nan)
    return [factor * ratio for factor in factors]


def analyze(signal: BaseSignal, band: PolarGrid, rings: PolarGrid | None, parameters: dict[str, Any]) -> MROResult:
    """Analyze in one pass the ring ``band``, position by position, and unless None all ``rings``.

    ``parameters`` are those of ``Nanodiffraction.medium_range_order``; orders, gain are used, all are recorded.
    """
    geometry, orders, gain = signal.geometry, parameters["orders"], parameters["gain"]
    dtype = working_type(signal.data.dtype)
    n_max = min(max(12, *orders), band.n_phi // 2)
    of_band = Output((band.n_phi // 2,), np.float64, is_sum=True)
    outputs = [Output((FIRST_POWER + band.n_phi // 2,), dtype), of_band, of_band]
    if rings is not None:
        table = Output((rings.n_k, n_max), np.float64, is_sum=True)
        outputs += [Output((rings.n_k,), dtype), table, table]
    function = partial(blocks.medium_range_order, geometry=geometry, band=band, rings=rings, n_max=n_max, gain=gain)
    shifts = scan_shifts(signal)
    statistics, total, counted, *others = map_frames(
        signal.data, function, outputs, label="medium-range order", shifts=shifts
    )

    def made(classes: tuple[type, type], data: np.ndarray | da.Array, axes: list[dict], quantity: str) -> BaseSignal:
        return build(
            classes,
            data,
            axes,
            source=signal,
            operation="medium_range_order",
            parameters=parameters,
            quantity=quantity,
        )

    columns = [FIRST_POWER + n - 1 for n in orders]
    power = np.moveaxis(statistics[..., columns], -1, 0)
    profile = spectrum = None
    if rings is not None:
        k_axis = uniform_axis("k", rings.k, geometry.k_units, navigate=False)
        n_axis = uniform_axis("n", np.arange(1, n_max + 1), "", navigate=False)
        profiles, *of_rings = others
        classes = (RadialProfile, LazyRadialProfile)
        profile = made(classes, profiles, [*scan_axes(signal, navigate=True), k_axis], "intensity")
        record_rings(profile, signal, rings)
        spectrum = made((Signal2D, LazySignal2D), _mean(*of_rings), [k_axis, n_axis], "mean P_n(k)")
    maps, axes = (OrderMap, LazyOrderMap), map_axes(signal)
    all_orders = uniform_axis("n", np.arange(1, band.n_phi // 2 + 1), "", navigate=False)
    ring_mean = statistics[..., RING_MEAN]
    variance_noise = power_noise = None
    if gain is not None:
        of_variance, of_power = _floors(floor_factors(geometry, band, shifts, dtype), gain, ring_mean)
        variance_noise = made(maps, of_variance, axes, "expected shot noise of V2D")
        of_orders = of_power[[n - 1 for n in orders]]
        power_noise = made(maps, of_orders, [order_axis(orders), *axes], "expected shot noise of P_n")
    result = MROResult(
        variance=made(maps, statistics[..., VARIANCE], axes, "V2D"),
        power=made(maps, power, [order_axis(orders), *axes], "P_n"),
        ring_mean=made((Signal2D, LazySignal2D), ring_mean, axes, "ring mean"),
        profile=profile,
        spectrum=spectrum,
        band_spectrum=made((Signal1D, LazySignal1D), _mean(total, counted), [all_orders], "mean P_n"),
        variance_noise=variance_noise,
        power_noise=power_noise,
        parameters=parameters | {"k_units": geometry.k_units},
    )
    for order_map in (result.variance, result.power):
        record_ring(order_map, signal, band, gain)
    result._record_means()
    return result
