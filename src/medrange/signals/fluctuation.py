"""Fluctuation microscopy: the normalized variance V(k) of a scan, its shot noise and its error band."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
from dask.diagnostics import ProgressBar

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels import fluctuation as kernels
from medrange.kernels.paired import merged
from medrange.kernels.pixel_sums import pixel_sums
from medrange.signals.descan import scan_shifts
from medrange.signals.mapping import FrameFunction, Output, map_frames, shows_progress
from medrange.signals.tables import with_units, write_table

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

_LABEL = "fluctuation variance"
# Positions whose terms are added up at a time.
_POSITIONS = 4096


@dataclass(frozen=True, eq=False, repr=False)
class FluctuationVariance:
    """Normalized variance V(k) of a scan, dimensionless; see [Daulton2010]_ and [Treacy2005]_.

    Made by :meth:`medrange.signals.nanodiffraction.Nanodiffraction.fluctuation_variance`. A value that
    does not exist is NaN: a ring without an open pixel or without intensity, noise without a gain, an error
    without a bootstrap.

    Attributes
    ----------
    k : numpy.ndarray
        Shape (n_k,): centers of the rings, 1/d in ``k_units``.
    raw : numpy.ndarray
        Shape (n_k,): V(k) as measured, with shot noise.
    noise : numpy.ndarray
        Shape (n_k,): V(k) to expect from shot noise alone.
    corrected : numpy.ndarray
        Shape (n_k,): ``raw - noise``.
    error : numpy.ndarray
        Shape (n_k,): standard error of ``value`` from resampled scan positions.
    method : str
        Which of the four variances.
    gain : float or None
        Data units per detected electron, as given.
    n_positions : int
        Number of patterns used.
    k_units : str
        ``"1/nm"`` or ``"1/Å"``.
    """

    k: np.ndarray
    raw: np.ndarray
    noise: np.ndarray
    corrected: np.ndarray
    error: np.ndarray
    method: str
    gain: float | None
    n_positions: int
    k_units: str

    @property
    def value(self) -> np.ndarray:
        """``corrected`` where a gain was given, else ``raw``."""
        return self.raw if self.gain is None else self.corrected

    @property
    def table(self) -> pd.DataFrame:
        """One row per ring: ``k``, ``raw``, ``noise``, ``corrected``, ``error``; units in ``attrs["units"]``."""
        names = ("k", "raw", "noise", "corrected", "error")
        return with_units(pd.DataFrame({name: getattr(self, name) for name in names}), {"k": self.k_units})

    def save(self, path: str | Path) -> Path:
        """Write the table as CSV with units in its header; ``.csv`` is added to a name without ending."""
        path = Path(path)
        return write_table(self.table, path if path.suffix else path.with_suffix(".csv"))

    def plot(self, **kwargs: Any) -> Any:
        """V(k) with its error band: see :func:`medrange.plotting.profiles.plot_fluctuation_variance`."""
        from medrange.plotting import profiles

        return profiles.plot_fluctuation_variance(self, **kwargs)

    def __repr__(self) -> str:
        noise = "no gain given, not corrected for shot noise" if self.gain is None else f"gain {self.gain:g}, corrected"
        text = f"FluctuationVariance({self.method}, {len(self.k)} rings to k = {self.k[-1]:.3g} {self.k_units}"
        text += f", {self.n_positions} positions; {noise}"
        if not np.isfinite(self.value).any():
            return f"{text}; no value)"
        largest = np.nanargmax(self.value)
        return f"{text}; largest V {self.value[largest]:.4g} at k = {self.k[largest]:.3g})"


def fluctuation_variance(
    signal: BaseSignal,
    grid: PolarGrid,
    method: str = "annular_mean",
    *,
    gain: float | None = None,
    scan_mask: np.ndarray | None = None,
    n_bootstrap: int = 0,
    seed: int = 0,
) -> FluctuationVariance:
    """V(k) of a scan over the rings of ``grid`` (n_phi = 1).

    The parameters are those of :meth:`medrange.signals.nanodiffraction.Nanodiffraction.fluctuation_variance`.

    Raises
    ------
    ValueError
        If the method is unknown, the gain not positive, the mask not of the scan's shape, or too few positions
        are left.

    Examples
    --------
    >>> import medrange as mr
    >>> s = mr.Nanodiffraction(np.random.default_rng(0).poisson(30, (8, 8, 32, 32)).astype("uint8"))
    >>> s.calibrate(k_step=0.1)
    >>> s.set_center((15.5, 15.5))
    >>> fluctuation_variance(s, PolarGrid(0.0, 1.5, 15, 1), "ring_mean", gain=1).noise[-1:].round(3)
    array([0.033])
    """
    geometry, data = signal.geometry, signal.data
    if data.ndim == 2:
        data = data[None]
    kept = _kept_positions(scan_mask, data.shape[:-2])
    _check(method, gain, n_bootstrap, int(kept.sum()))
    shifts = scan_shifts(signal)
    if shifts is not None and method == "variance_image":
        msg = (
            "method='variance_image' compares detector pixels from position to position, and this scan's center moves "
            "(descan): a pixel does not stay at its k. Use 'annular_mean', 'ring_mean' or 'ring_ensemble'."
        )
        raise ValueError(msg)
    scan = _Scan(data, kept, geometry, grid, shifts)
    measure = _of_image if method == "variance_image" else _of_rings
    raw, shot, resampled = measure(scan, method, gain, n_bootstrap, seed)
    missing = np.full(grid.n_k, np.nan)
    noise = missing if gain is None else gain * shot
    return FluctuationVariance(
        k=grid.k,
        raw=raw,
        noise=noise,
        corrected=raw - noise,
        error=missing if resampled is None else resampled.std(axis=0, ddof=1),
        method=method,
        gain=None if gain is None else float(gain),
        n_positions=int(kept.sum()),
        k_units=geometry.k_units,
    )


@dataclass(frozen=True, eq=False)
class _Scan:
    """Patterns, which of them count, the rings, and how far the center moves."""

    data: np.ndarray | da.Array
    kept: np.ndarray
    geometry: DiffractionGeometry
    grid: PolarGrid
    shifts: np.ndarray | None = None

    def total(self, function: FrameFunction, shape: tuple[int, ...]) -> np.ndarray:
        """Sum over the kept positions, and its remainder, of what ``function`` sums over a block.

        Of positions with centers of their own all must be kept.
        """
        data = self.data if self.kept.all() else _without(self.data, self.kept)
        output = Output(shape, np.float64, is_sum=True, keeps_rest=True)
        return _in_memory(map_frames(data, function, [output], label=_LABEL, shifts=self.shifts)[0])

    def each(self, function: FrameFunction, shape: tuple[int, ...]) -> np.ndarray:
        """What ``function`` gives for each kept position, (n, ...)."""
        output = Output(shape, np.float64)
        result = map_frames(self.data, function, [output], label=_LABEL, shifts=self.shifts)[0]
        return _in_memory(result)[self.kept]


_Curves = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def _of_rings(scan: _Scan, method: str, gain: float | None, n_bootstrap: int, seed: int) -> _Curves:
    """V(k), its noise per unit gain, and V(k) of the resampled scans, for the methods made of ring moments."""
    n, n_k = int(scan.kept.sum()), scan.grid.n_k
    if not n_bootstrap and (scan.shifts is None or scan.kept.all()):
        function = partial(_ring_sums, geometry=scan.geometry, grid=scan.grid, method=method)
        sums = scan.total(function, (n_k, 3 if method == "ring_mean" else 4))
        return *kernels.ring_curves(*kernels.mean_terms(sums, n, method), n, method), None
    # Resampling needs the moments of all positions, 24 bytes per ring: a few percent of the patterns.
    function = partial(_moments, geometry=scan.geometry, grid=scan.grid)
    moments = scan.each(function, (n_k, 3))
    parts = (moments[start : start + _POSITIONS] for start in range(0, n, _POSITIONS))
    sums = merged([kernels.term_sums(part, method) for part in parts])
    raw, shot = kernels.ring_curves(*kernels.mean_terms(sums, n, method), n, method)
    if not n_bootstrap:
        return raw, shot, None
    reference = moments[0, :, kernels.MEAN].copy()
    means = kernels.resampled_means(kernels.position_terms(moments, reference, method), n_bootstrap, seed)
    others, noises = kernels.ring_curves(means, reference, n, method)
    return raw, shot, others if gain is None else others - gain * noises


def _of_image(scan: _Scan, method: str, gain: float | None, n_bootstrap: int, seed: int) -> _Curves:
    """As :func:`_of_rings`, for the annular mean of the variance image; resampling reads the data again."""
    n = int(scan.kept.sum())
    sums = scan.total(_pixel_sums, (2, *scan.geometry.shape))
    raw, shot = kernels.image_curves(sums, n, scan.geometry, scan.grid)
    if not n_bootstrap:
        return raw, shot, None
    function = partial(_influence, sums=sums, n=n, geometry=scan.geometry, grid=scan.grid, gain=gain)
    influence = scan.each(function, (scan.grid.n_k,))
    return raw, shot, kernels.resampled_means(influence, n_bootstrap, seed)


def _moments(
    frames: np.ndarray, shifts: np.ndarray | None = None, *, geometry: DiffractionGeometry, grid: PolarGrid
) -> tuple[np.ndarray]:
    return (kernels.ring_moments(frames, geometry, grid, shifts=shifts),)


def _ring_sums(
    frames: np.ndarray,
    shifts: np.ndarray | None = None,
    *,
    geometry: DiffractionGeometry,
    grid: PolarGrid,
    method: str,
) -> tuple[np.ndarray]:
    return (kernels.term_sums(kernels.ring_moments(frames, geometry, grid, shifts=shifts), method),)


def _pixel_sums(frames: np.ndarray) -> tuple[np.ndarray]:
    return (pixel_sums(frames),)


def _influence(frames: np.ndarray, **scan: Any) -> tuple[np.ndarray]:
    return (kernels.image_influence(frames, **scan),)


def _without(data: np.ndarray | da.Array, kept: np.ndarray) -> da.Array:
    """Blocks of the kept patterns alone, of unknown lengths: good for sums, never copied as a whole."""
    n_scan = kept.ndim
    if not isinstance(data, da.Array):
        data = da.from_array(data, chunks=("auto",) * n_scan + (-1, -1), name=False)
    chosen = da.from_array(kept, chunks=data.chunks[:-2], name=False)
    unknown = ((np.nan,) * len(data.chunks[0]), *((1,) * len(axis) for axis in data.chunks[1:-2]))
    return da.map_blocks(
        _chosen_patterns,
        data,
        chosen[(..., None, None)],
        dtype=data.dtype,
        chunks=(*unknown, *data.chunks[-2:]),
        meta=np.empty((0,) * data.ndim, dtype=data.dtype),
    )


def _chosen_patterns(block: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    patterns = block[chosen[..., 0, 0]]
    return patterns.reshape(len(patterns), *(1,) * (block.ndim - 3), *block.shape[-2:])


def _in_memory(array: np.ndarray | da.Array) -> np.ndarray:
    if not isinstance(array, da.Array):
        return array
    with ProgressBar(minimum=1.0) if shows_progress() else nullcontext():
        return dask.compute(array)[0]


def _kept_positions(scan_mask: np.ndarray | None, scan_shape: tuple[int, ...]) -> np.ndarray:
    """Which positions count; a ``scan_mask`` says True for those that do not."""
    if scan_mask is None:
        return np.ones(scan_shape, dtype=bool)
    mask = np.asarray(scan_mask)
    if mask.dtype != bool or mask.shape != scan_shape:
        msg = (
            f"scan_mask is {mask.dtype} of shape {mask.shape}; a boolean array of the scan's shape {scan_shape} is "
            "needed, True = excluded."
        )
        raise ValueError(msg)
    return ~mask


def _check(method: str, gain: float | None, n_bootstrap: int, n_positions: int) -> None:
    if method not in kernels.METHODS:
        msg = f"method is {method!r}; it must be one of {', '.join(map(repr, kernels.METHODS))}."
        raise ValueError(msg)
    if gain is not None and not (isinstance(gain, Real) and np.isfinite(gain) and gain > 0):
        msg = (
            f"gain is {gain!r}; it is the data units per detected electron, one positive number: 1 for a counting "
            "detector, about the height of a single electron's peak for others. Leave it out for the raw V(k) alone."
        )
        raise ValueError(msg)
    if n_bootstrap < 0 or n_bootstrap == 1:
        msg = f"n_bootstrap is {n_bootstrap}; give 0 for no error band, or at least 2 resampled scans (200 is usual)."
        raise ValueError(msg)
    needed = 1 if method in ("ring_mean", "ring_ensemble") and not n_bootstrap else 2
    if n_positions < needed:
        msg = (
            f"{n_positions} scan positions are left, but {method!r} needs at least {needed}"
            f"{' for an error band' if n_bootstrap else ''}; exclude fewer with scan_mask."
        )
        raise ValueError(msg)
