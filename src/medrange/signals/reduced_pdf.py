"""Reduced pair distribution functions G(r) of a scan, and what is read off their peaks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from hyperspy.signal import BaseSignal
from hyperspy.signals import LazySignal1D, Signal1D

from medrange.pdf import pair_distribution as shells
from medrange.pdf import peaks as kernels
from medrange.pdf import reduced_pdf as transform
from medrange.pdf.errors import profile_variance, reduced_pdf_variance
from medrange.pdf.structure_factor import reduction_basis
from medrange.signals.building import axis_like, scan_axes
from medrange.signals.counting import recorded_gain, ring_areas
from medrange.signals.decomposition import decompose
from medrange.signals.exporting import to_csv
from medrange.signals.profile_mapping import build_derived, floating, map_curves, position_map
from medrange.signals.tables import with_units
from medrange.units import electron_wavelength

if TYPE_CHECKING:
    from medrange.signals.structural_components import StructuralComponents
    from medrange.signals.structure_factor import StructureFactor

_NODE = "Medrange.Reduced_pdf"
_VARIANCE = "Signal.Noise_properties.variance"
_TEM = "Acquisition_instrument.TEM"
_CURVES = (Signal1D, LazySignal1D)


@dataclass(frozen=True, eq=False, repr=False)
class PeakMaps:
    """One peak of G(r) at every position; signals (| y, x) for a two-dimensional scan, NaN where there is none.

    Attributes
    ----------
    position : BaseSignal
        In Å.
    height : BaseSignal
        G at the maximum, in 1/Å².
    fwhm : BaseSignal
        Full width in Å where G falls to half of its height above 0.
    shoulder : BaseSignal or None
        For the second peak: position in Å of the other maximum where it is split.
    """

    position: BaseSignal
    height: BaseSignal
    fwhm: BaseSignal
    shoulder: BaseSignal | None = None

    def __repr__(self) -> str:
        if self.position._lazy:
            return "PeakMaps(not computed)"
        names = ("position", "height", "fwhm")
        parts = [f"{name} {np.nanmean(getattr(self, name).data):.3f}" for name in names]
        return f"PeakMaps(means: {', '.join(parts)})"


class ReducedPDF(Signal1D):
    """Reduced pair distribution function ``G(r) = 4 pi r rho0 (g(r) - 1)``, (y, x | r), in 1/Å²; r in Å.

    Made by ``StructureFactor.reduced_pdf``. Its amplitude is absolute only without plural scattering; compare
    positions with thickness, and shapes after dividing by the first peak.

    Examples
    --------
    >>> g = ReducedPDF(np.sin(np.arange(0, 10, 0.05) * 2 * np.pi / 2.4))
    >>> axis = g.axes_manager[0]
    >>> axis.name, axis.scale, axis.units = "r", 0.05, "Å"
    >>> round(float(g.first_peak(r_range=(1.5, 4)).position.data[0]), 2)
    3.0
    """

    _signal_type = "reduced_pdf"

    @property
    def r(self) -> np.ndarray:
        """Distances in Å, shape (n_r,)."""
        return self.axes_manager.signal_axes[0].axis

    def first_peak(
        self,
        r_range: tuple[float, float] = (1.5, 5.0),
        *,
        method: Literal["maximum", "centroid", "gaussian"] = "maximum",
    ) -> PeakMaps:
        """Nearest-neighbor peak of every G(r): its highest maximum within ``r_range`` (Å).

        Parameters
        ----------
        r_range : tuple of float
            Where to look, in Å.
        method : str
            Position by the ``"maximum"`` itself, or by the ``"centroid"`` or ``"gaussian"`` of its upper half.

        Returns
        -------
        PeakMaps
            Position, height, and full width at half height above 0 of G (that of g(r) is larger).
        """
        function = partial(_first_peak, r=self.r, r_range=tuple(r_range), method=method)
        maps = self._maps(function, ("position", "height", "fwhm"), "first_peak", {"r_range": list(r_range)})
        return PeakMaps(**maps)

    def second_peak(self, r_range: tuple[float, float] = (1.5, 5.0)) -> PeakMaps:
        """Second-neighbor peak, between 1.4 and 2.2 times the first, and its ``shoulder`` where it is split."""
        function = partial(_second_peak, r=self.r, r_range=tuple(r_range))
        names = ("position", "height", "fwhm", "shoulder")
        return PeakMaps(**self._maps(function, names, "second_peak", {"r_range": list(r_range)}))

    def connectivity(self, r_range: tuple[float, float] = (1.5, 5.0)) -> pd.DataFrame:
        """Second-neighbor distances of clusters that share 1, 2, 3 or 4 atoms, and G there.

        ``2 R1``, ``sqrt(3) R1``, ``sqrt(8/3) R1``, ``sqrt(2) R1`` with R1 the first peak of the mean over the
        scan, or of each curve where the signal holds a list of them. See [Kang2024]_.

        Returns
        -------
        pandas.DataFrame
            Rows per curve and number of shared atoms: ``curve``, ``shared_atoms``, ``first_peak``, ``distance``
            (both Å), ``value`` (G, 1/Å²).
        """
        curves = np.asarray(self.data, dtype=float)
        if self.axes_manager.navigation_dimension != 1:
            curves = np.nanmean(curves.reshape(-1, self.r.size), axis=0, keepdims=True)
        first = kernels.find_peak(curves, self.r, r_range).position
        rows = [
            {"curve": i, "shared_atoms": atoms, "first_peak": first[i], "distance": distance[i]}
            | {"value": float(np.interp(distance[i], self.r, curve, right=np.nan))}
            for i, curve in enumerate(curves)
            for atoms, distance in kernels.connectivity_distances(first).items()
        ]
        return with_units(pd.DataFrame(rows), {"first_peak": "Å", "distance": "Å", "value": "1/Å²"})

    def pair_distribution(self, density: float | None = None) -> Signal1D:
        """Pair distribution function g(r), (y, x | r), 1 for a uniform density.

        Parameters
        ----------
        density : float, optional
            Atoms per Å³: ``g = 1 + G/(4 pi rho0 r)``, for an absolute amplitude. Without it the amplitude of
            each curve is set by its density line, from the origin to the valley left of the first peak.

        Warns
        -----
        UserWarning
            If the density line is asked for after a polynomial was subtracted, which takes the line away.
        """
        if density is None:
            self._warn_of_lost_line()
        function = partial(shells.pair_distribution, r=self.r, density=density)
        data = map_curves(self.data, function, self.r.size, floating(self.data.dtype))
        return self._curve(data, "pair_distribution", {"density": density}, "g(r)")

    def coordination_number(
        self, density: float, *, shell: tuple[float, float] | None = None, use_density_line: bool = False
    ) -> BaseSignal:
        """Neighbors in a shell, ``int (r G + 4 pi r^2 rho0) dr``; one value per position.

        Parameters
        ----------
        density : float
            rho0, atoms per Å³.
        shell : tuple of float, optional
            Limits in Å; by default the minima on both sides of each curve's first peak.
        use_density_line : bool
            Scale each G to the slope -4 pi rho0 below the first peak, which needs a structure factor made with
            ``polynomial_degree=None``; False trusts the amplitude of G.
        """
        if use_density_line:
            self._warn_of_lost_line()
        options = {"density": density, "shell": shell, "use_density_line": use_density_line}
        function = partial(_coordination, r=self.r, **options)
        data = map_curves(self.data, function, 1, np.float64)[..., 0]
        parameters = options | {"shell": None if shell is None else list(shell)}
        quantity = "coordination number"
        return position_map(self, data, operation="coordination_number", parameters=parameters, quantity=quantity)

    def structural_components(
        self,
        *,
        n_components: int = 3,
        method: Literal["nmf", "pca", "ica"] = "nmf",
        negatives: Literal["clip", "offset"] = "clip",
        normalization: Literal["auto", "first_peak", "rms"] | None = "auto",
        r_range: tuple[float, float] = (1.5, 12.0),
        n_restarts: int = 20,
        seed: int | np.random.Generator = 0,
    ) -> StructuralComponents:
        """Structural types that make up the scan: basis PDFs and maps of their weights, see [Kang2024]_.

        Lazy PDFs are read twice, chunk by chunk; the result is in memory. Any scan is split, also one of a single
        phase: ask ``.null()`` of the result before believing it.

        Parameters
        ----------
        n_components : int
            Two types and a residual in [Kang2024]_; where no residual comes out, 3 has split a type: use 2.
        method : str
            Non-negative matrix factorization, or principal or independent components.
        negatives : str
            ``"clip"`` sets negative G to zero for the factorization; ``"offset"`` subtracts the smallest value from
            all, as [Kang2024]_ did, which leaves the bases less determined.
        normalization : str or None
            Amplitude every PDF is divided by: ``"first_peak"``, ``"rms"``, or None. ``"auto"`` is None for ``"nmf"``
            with ``"clip"``, whose weights take up the amplitude, and ``"first_peak"`` otherwise.
        r_range : tuple of float
            Distances used, Å; below the first peak there is only noise.
        n_restarts : int
            Short searches, of which the best is continued.
        seed : int or numpy.random.Generator
            Of the searches.

        Returns
        -------
        StructuralComponents

        Raises
        ------
        ValueError
            If the scan is not two-dimensional, or a parameter is out of range.
        """
        from medrange.signals.structural_fit import structural_components

        return structural_components(
            self,
            n_components=n_components,
            method=method,
            negatives=negatives,
            normalization=normalization,
            r_range=r_range,
            n_restarts=n_restarts,
            seed=seed,
        )

    def error_band(self) -> Signal1D:
        """Standard error of G(r) from counting noise, (y, x | r), in 1/Å².

        Carried at ``metadata.Signal.Noise_properties.variance`` where the PDF was made with ``error=True``.
        """
        variance = self.metadata.get_item(_VARIANCE)
        if not isinstance(variance, BaseSignal) or variance.data.shape != self.data.shape:
            msg = (
                "these curves carry no counting error of their shape; make them with "
                "structure_factor.reduced_pdf(error=True), after any averaging over positions."
            )
            raise ValueError(msg)
        return self._curve(np.sqrt(variance.data), "error_band", {}, "standard error of G(r) (1/Å²)")

    def decomposition(self, *arguments: Any, **options: Any) -> Any:
        """HyperSpy's ``decomposition``; NMF, which takes no negative value, is that of G(r) less its minimum.

        The factors then hold that offset, and a warning says so; :meth:`structural_components` is the method of the
        literature.
        """
        return decompose(self, super().decomposition, *arguments, **options)

    def to_csv(self, path: str | PathLike) -> Path:
        """Write G(r), of a scan its mean and standard deviation over positions: :func:`medrange.to_csv`."""
        return to_csv(self, path)

    def plot_mean(self, **kwargs: Any) -> Any:
        """Draw G(r) averaged over the scan with its first peak: ``plotting.plot_reduced_pdf``."""
        from medrange.plotting.pdf import plot_reduced_pdf

        return plot_reduced_pdf(self, **kwargs)

    def _warn_of_lost_line(self) -> None:
        degree = self.metadata.get_item(f"{_NODE}.polynomial_degree", -1)
        if degree >= 0:
            msg = (
                f"a polynomial of degree {degree} was subtracted from the structure factor, which takes away the slope "
                "-4 pi rho0 that the density line measures; use polynomial_degree=None for it."
            )
            warnings.warn(msg, stacklevel=3)

    def _maps(self, function: Any, names: tuple[str, ...], operation: str, parameters: dict) -> dict[str, BaseSignal]:
        data = map_curves(self.data, function, len(names), np.float64)
        units = {"position": " (Å)", "height": " (1/Å²)", "fwhm": " (Å)", "shoulder": " (Å)"}
        return {
            name: position_map(
                self,
                data[..., i],
                operation=operation,
                parameters=parameters,
                quantity=f"{operation.replace('_', ' ')}, {name}{units[name]}",
            )
            for i, name in enumerate(names)
        }

    def _curve(self, data: Any, operation: str, parameters: dict, quantity: str) -> Signal1D:
        axes = [*scan_axes(self, navigate=True), axis_like(self.axes_manager.signal_axes[0], navigate=False)]
        shared = {"source": self, "operation": operation, "parameters": parameters}
        return build_derived(_CURVES, data, axes, quantity=quantity, **shared)


class LazyReducedPDF(LazySignal1D, ReducedPDF):
    """Lazy twin of :class:`ReducedPDF`."""

    _lazy = True

    def decomposition(self, *arguments: Any, **options: Any) -> Any:
        """As of :class:`ReducedPDF`, by HyperSpy's lazy method."""
        return decompose(self, super().decomposition, *arguments, **options)


def reduced_pdf(
    source: StructureFactor, r_max: float, r_step: float, options: dict[str, Any], *, error: bool, gain: float | None
) -> ReducedPDF:
    """G(r) of structure factors; see ``StructureFactor.reduced_pdf``."""
    if not 0 < r_step < r_max:
        msg = f"r_step is {r_step!r} and r_max {r_max!r} angstrom; the step must be positive and below the end."
        raise ValueError(msg)
    if gain is not None and not error:
        msg = "gain is only used with error=True; pass both, or neither."
        raise ValueError(msg)
    r = np.arange(int(np.floor(r_max / r_step + 1e-9)) + 1) * r_step
    k = source.axes_manager.signal_axes[0].axis
    aperture = _aperture(source) if options["correct_convergence"] else None
    transforming = {"window": options["window"], "extend": options["extend"], "k_aperture": aperture}
    matrix = transform.transform_matrix(k, r, **transforming)
    function = partial(transform.reduced_pdf, k=k, r=r, **transforming)
    dtype = floating(source.data.dtype)
    data = map_curves(source.data, function, r.size, dtype)
    r_axis = {"name": "r", "size": r.size, "offset": 0.0, "scale": float(r_step), "units": "Å", "navigate": False}
    axes = [*scan_axes(source, navigate=True), r_axis]
    parameters = {"r_max": float(r[-1]), "r_step": float(r_step), **options, "k_range": [float(k[0]), float(k[-1])]}
    shared = {"source": source, "operation": "reduced_pdf", "parameters": parameters}
    result = build_derived((ReducedPDF, LazyReducedPDF), data, axes, quantity="G(r) (1/Å²)", **shared)
    record = source.metadata.get_item("Medrange.Structure_factor")
    kept = {"elements": record.elements, "fractions": record.fractions} if record is not None else {}
    degree = -1 if record is None else record.Reduction.polynomial_degree
    result.metadata.set_item(_NODE, kept | {"k_range": parameters["k_range"], "polynomial_degree": int(degree)})
    if error:
        variance = _variance(source, matrix, dtype, gain)
        quantity = "variance of G(r) (1/Å⁴)"
        result.metadata.set_item(_VARIANCE, build_derived(_CURVES, variance, axes, quantity=quantity, **shared))
    return result


def _aperture(source: BaseSignal) -> float:
    """Convergence angle over wavelength, 1/angstrom."""
    angle = source.metadata.get_item(f"{_TEM}.convergence_angle")
    energy = source.metadata.get_item(f"{_TEM}.beam_energy")
    if angle is None or energy is None:
        msg = (
            "correct_convergence needs the convergence angle and the beam energy, for example "
            "s.calibrate(convergence_angle=0.6, beam_energy=300) (mrad, kV) before radial_profile."
        )
        raise ValueError(msg)
    return float(angle) * 1e-3 / electron_wavelength(float(energy))


def _variance(source: StructureFactor, matrix: np.ndarray, dtype: np.dtype, gain: float | None) -> Any:
    profile = source.profile()
    pixels = ring_areas(profile)
    gain = recorded_gain(profile) if gain is None else gain
    if pixels is None:
        msg = (
            "the profile does not say how many detector pixels its rings hold, so the counting error is unknown; "
            "make it with Nanodiffraction.radial_profile, and do not rebin or shift its k axis."
        )
        raise ValueError(msg)
    if gain is None:
        msg = (
            "error=True needs the detector's gain, in data units per detected electron: the patterns were not "
            "integers, so it cannot be guessed. Give gain=..., from the detector's calibration."
        )
        raise ValueError(msg)
    if len(pixels) != source.metadata.get_item("Medrange.Structure_factor.n_k"):
        msg = "the structure factor was cut in k since it was fitted; give the range as k_range to structure_factor."
        raise ValueError(msg)
    basis = reduction_basis(
        profile.axes_manager.signal_axes[0].axis,
        source.composition,
        source.reduction,
        parametrization=source.metadata.get_item("Medrange.Structure_factor.parametrization"),
    )
    function = partial(_variance_of_block, pixels=pixels, gain=float(gain), basis=basis, matrix=matrix)
    return map_curves(profile.data, function, matrix.shape[1], dtype)


def _variance_of_block(curves: np.ndarray, *, pixels: np.ndarray, gain: float, basis: Any, matrix: Any) -> np.ndarray:
    return reduced_pdf_variance(curves, profile_variance(curves, pixels, gain), basis, matrix)


def _first_peak(curves: np.ndarray, **options: Any) -> np.ndarray:
    peak = kernels.find_peak(curves, **options)
    return np.stack([peak.position, peak.height, peak.fwhm], axis=-1)


def _second_peak(curves: np.ndarray, *, r: np.ndarray, r_range: tuple[float, float]) -> np.ndarray:
    first = kernels.find_peak(curves, r, r_range).position
    peak, shoulder = kernels.find_second_peaks(curves, r, first)
    return np.stack([peak.position, peak.height, peak.fwhm, shoulder], axis=-1)


def _coordination(curves: np.ndarray, **options: Any) -> np.ndarray:
    return shells.coordination_number(curves, **options)[..., None]
