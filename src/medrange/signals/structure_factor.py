"""Structure factors S(k) of a scan: made from radial profiles, and made into reduced pair distribution functions."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import dask.array as da
import numpy as np
from hyperspy.signal import BaseSignal
from hyperspy.signals import LazySignal1D, Signal1D

from medrange.pdf import structure_factor as kernels
from medrange.pdf.composition import parse_composition
from medrange.signals.building import axis_like, scan_axes
from medrange.signals.counting import copy_rings, ring_areas
from medrange.signals.profile_mapping import build_derived, floating, map_curves, position_map
from medrange.signals.reduced_pdf import ReducedPDF, reduced_pdf
from medrange.units import standard_units, unit_factor

_NODE = "Medrange.Structure_factor"
_CURVES = (Signal1D, LazySignal1D)
# Nearest neighbors of metals are not closer: what the warning of a too flexible polynomial is based on.
_FIRST_NEIGHBOR = 2.5


class StructureFactor(Signal1D):
    """Structure factor S(k), (y, x | k), dimensionless, around 1; k = 1/d in 1/Å.

    Made by ``RadialProfile.structure_factor``. The profiles it was made from stay with it (``profile()``), and
    from them all intermediate results: ``background()``, ``normalization()``, ``polynomial()``.

    Examples
    --------
    >>> import medrange as mr
    >>> from medrange.pdf.scattering_factors import scattering_factor
    >>> k = np.linspace(0.0, 1.6, 161)
    >>> profile = mr.RadialProfile(scattering_factor("Fe", k) ** 2 * (1 + np.sinc(2 * k * 2.5)))
    >>> axis = profile.axes_manager[0]
    >>> axis.name, axis.scale, axis.units = "k", 0.01, "1/Å"
    >>> s = profile.structure_factor("Fe", k_range=(0.25, 1.6))
    >>> s
    <StructureFactor, title: S(k), dimensions: (|136)>
    >>> round(float(s.reduced_pdf().first_peak().position.data[0]), 1)
    2.5
    """

    _signal_type = "structure_factor"
    # HyperSpy cuts these along when the signal is cut with inav or isig.
    _additional_slicing_targets = (*Signal1D._additional_slicing_targets, f"metadata.{_NODE}.profile")

    @property
    def composition(self) -> dict[str, float]:
        """Atomic fractions by element."""
        elements = self.metadata.get_item(f"{_NODE}.elements")
        return dict(zip(elements, map(float, self.metadata.get_item(f"{_NODE}.fractions")), strict=True))

    @property
    def reduction(self) -> kernels.Reduction:
        """How the profiles were reduced, with the k range in 1/Å."""
        return reduction_of(self)

    def profile(self) -> BaseSignal:
        """Azimuthal mean intensities the structure factors were made from, (y, x | k), within the k range."""
        stored = self.metadata.get_item(f"{_NODE}.profile")
        if stored is None or stored.data.shape != self.data.shape:
            found = "missing" if stored is None else f"of shape {stored.data.shape}"
            msg = (
                f"the profiles behind these structure factors are {found}, the data of shape {self.data.shape}: they "
                "were summed, averaged or reshaped. Do that with the radial profile, then call structure_factor again."
            )
            raise ValueError(msg)
        profile = stored.as_lazy() if self._lazy and not stored._lazy else stored.deepcopy()
        if profile._lazy and not self._lazy:
            profile.compute(show_progressbar=False)
        # A file gives it back as a signal without type.
        profile.set_signal_type("radial_profile")
        return profile

    def reduced_structure_factor(self) -> Signal1D:
        """Reduced structure factor ``phi(k) = k (S(k) - 1)``, (y, x | k), in 1/Å."""
        phi = self.axes_manager.signal_axes[0].axis.astype(floating(self.data.dtype)) * (self.data - 1)
        return self._curve(_CURVES, phi, "reduced_structure_factor", "reduced structure factor (1/Å)")

    def background(self) -> BaseSignal:
        """Intensity without structure, ``N <f^2>`` and the plural scattering, (y, x | k), in data units."""
        data = self._refit(_background, self.data.shape[-1], floating(self.profile().data.dtype))
        classes = (type(self.profile()),) * 2
        return self._curve(classes, data, "background", "intensity without structure")

    def polynomial(self) -> Signal1D:
        """The fitted polynomial over k, (y, x | k): of phi in 1/Å, or of the logarithm of I/(N <f^2>)."""
        data = self._refit(_polynomial, self.data.shape[-1], np.float64)
        return self._curve(_CURVES, data, "polynomial", "background polynomial")

    def coefficients(self) -> Signal1D:
        """Coefficients of the polynomial, (y, x | power), of the powers of k in 1/Å."""
        powers = self.reduction.powers
        if powers.size == 0:
            msg = "no polynomial was fitted: polynomial_degree is None."
            raise ValueError(msg)
        data = self._refit(_coefficients, powers.size, np.float64)
        axis = {"name": "power", "size": powers.size, "offset": float(powers[0]), "scale": 1.0, "units": ""}
        return self._curve(_CURVES, data, "coefficients", "coefficients", {**axis, "navigate": False})

    def normalization(self) -> BaseSignal:
        """N of each position, proportional to the atoms in the beam, in data units per Å²; (| y, x)."""
        data = self._refit(_normalization, 1, np.float64)[..., 0]
        return position_map(self, data, operation="normalization", parameters={}, quantity="N (1/Å²)")

    def reduced_pdf(
        self,
        *,
        r_max: float = 15.0,
        r_step: float = 0.05,
        window: Literal["lorch", "exponential"] | None = None,
        extend: bool = True,
        correct_convergence: bool = False,
        error: bool = False,
        gain: float | None = None,
    ) -> ReducedPDF:
        """Reduced pair distribution function ``G(r) = 8 pi int k (S - 1) sin(2 pi k r) dk``, r in Å.

        Parameters
        ----------
        r_max, r_step : float
            End and step of r, in angstrom; r starts at 0 and ends below ``1/(2 dk)``.
        window : str, optional
            ``"lorch"``: sinc(k/k_max), no ripples, but peaks 1.4 times broader. ``"exponential"``: exp(-0.3 k^2).
        extend : bool
            Continue phi(k) from the first k to 0 by a straight line; False leaves that part out.
        correct_convergence : bool
            Divide by the damping ``2 J1(x)/x`` of a convergent probe, up to where it is 0.61; needs the
            convergence angle and beam energy, from ``calibrate``.
        error : bool
            Also carry the counting noise of the profiles to G(r): ``ReducedPDF.error_band()``.
        gain : float, optional
            Data units per detected electron, for ``error``; 1 for integer patterns. For profiles averaged
            over n patterns, the gain divided by n.

        Returns
        -------
        ReducedPDF
            (y, x | r), in 1/Å². See [Kang2024]_.

        Raises
        ------
        ValueError
            If r_max is beyond ``1/(2 dk)``, or what a correction needs is not known; the message says what to do.
        """
        options = {"window": window, "extend": extend, "correct_convergence": correct_convergence}
        return reduced_pdf(self, r_max, r_step, options, error=error, gain=gain)

    def plot_mean(self, **kwargs: Any) -> Any:
        """Draw I(k) with its background, and S(k), averaged over the scan: ``plotting.plot_structure_factor``."""
        from medrange.plotting.pdf import plot_structure_factor

        return plot_structure_factor(self, **kwargs)

    def _refit(self, quantity: Any, n_out: int, dtype: Any) -> np.ndarray | da.Array:
        """Repeat the reduction, which takes microseconds per profile, and keep one of its parts."""
        profile, reduction = self.profile(), self.reduction
        k = profile.axes_manager.signal_axes[0].axis
        if len(k) != self.metadata.get_item(f"{_NODE}.n_k"):
            msg = (
                f"the structure factor was cut to {len(k)} points of k since its background was fitted; give the range "
                "as k_range to structure_factor instead."
            )
            raise ValueError(msg)
        function = partial(_part, quantity=quantity)
        options = {"k": k, "composition": self.composition, "reduction": reduction}
        options["parametrization"] = self.metadata.get_item(f"{_NODE}.parametrization")
        return map_curves(profile.data, function, n_out, dtype, **options)

    def _curve(self, classes: tuple, data: Any, operation: str, quantity: str, axis: dict | None = None) -> BaseSignal:
        axis = axis_like(self.axes_manager.signal_axes[0], navigate=False) if axis is None else axis
        axes = [*scan_axes(self, navigate=True), axis]
        return build_derived(classes, data, axes, source=self, operation=operation, parameters={}, quantity=quantity)


class LazyStructureFactor(LazySignal1D, StructureFactor):
    """Lazy twin of :class:`StructureFactor`."""

    _lazy = True


def reduction_of(signal: StructureFactor) -> kernels.Reduction:
    """Options of the reduction, from metadata."""
    record = signal.metadata.get_item(f"{_NODE}.Reduction").as_dictionary()
    record["k_range"] = tuple(record["k_range"])
    degree = record.pop("polynomial_degree")
    return kernels.Reduction(**record, polynomial_degree=None if degree < 0 else int(degree))


def structure_factor(
    profile: BaseSignal, composition: Any, reduction: kernels.Reduction, parametrization: str
) -> StructureFactor:
    """Structure factors of radial profiles; see ``RadialProfile.structure_factor``."""
    fractions = parse_composition(composition)
    axis = profile.axes_manager.signal_axes[0]
    k = axis.axis * _to_per_angstrom(axis.units)
    inside = reduction.inside(k)
    k = k[inside]
    part = profile.isig[inside.start : inside.stop]
    _check_rings(part, k)
    _warn_of_flexible(reduction, (float(k[0]), float(k[-1])))
    record = asdict(reduction) | {"k_range": [float(k[0]), float(k[-1])]}
    record["polynomial_degree"] = -1 if reduction.polynomial_degree is None else reduction.polynomial_degree
    fitted = kernels.Reduction(**(asdict(reduction) | {"k_range": (float(k[0]), float(k[-1]))}))
    options = {"k": k, "composition": fractions, "reduction": fitted, "parametrization": parametrization}
    kernels.reduction_basis(k, fractions, fitted, parametrization=parametrization)
    dtype = floating(profile.data.dtype)
    data = map_curves(part.data, partial(_part, quantity=_values), k.size, dtype, **options)
    k_axis = {"name": "k", "size": k.size, "offset": float(k[0]), "scale": float(k[1] - k[0]), "units": "1/Å"}
    axes = [*scan_axes(profile, navigate=True), {**k_axis, "navigate": False}]
    parameters = {"composition": _text(fractions), "parametrization": parametrization, **record}
    shared = {"source": profile, "operation": "structure_factor", "parameters": parameters}
    result = build_derived((StructureFactor, LazyStructureFactor), data, axes, quantity="S(k)", **shared)
    stored = build_derived((type(profile),) * 2, part.data, axes, quantity="intensity", **shared)
    copy_rings(stored, profile)
    result.metadata.set_item(
        _NODE,
        {
            "elements": list(fractions),
            "fractions": list(fractions.values()),
            "parametrization": parametrization,
            "Reduction": record,
            "n_k": int(k.size),
        },
    )
    result.metadata.set_item(f"{_NODE}.profile", stored)
    return result


def _to_per_angstrom(units: Any) -> float:
    if standard_units(units) is None:
        msg = (
            "the k axis of the profile has no unit. Calibrate the patterns, for example "
            's.calibrate(k_step=0.16, k_units="1/nm"), or set the axis: p.axes_manager[-1].units = "1/nm".'
        )
        raise ValueError(msg)
    return unit_factor(units, "1/Å")


def _check_rings(part: BaseSignal, k: np.ndarray) -> None:
    area = ring_areas(part)
    if area is None or (area > 0).all():
        return
    shut = k[~(area > 0)]
    msg = (
        f"{shut.size} rings of the k range, from {shut[0]:.3g} to {shut[-1]:.3g} 1/angstrom, hold no open detector "
        "pixel; take a k_range without them."
    )
    raise ValueError(msg)


def _warn_of_flexible(reduction: kernels.Reduction, k_range: tuple[float, float]) -> None:
    highest = kernels.highest_degree(k_range, _FIRST_NEIGHBOR)
    degree = reduction.polynomial_degree
    if degree is not None and degree > highest:
        msg = (
            f"a polynomial of degree {degree} over k = {k_range[0]:.3g} to {k_range[1]:.3g} 1/angstrom can follow the "
            f"oscillation of the nearest neighbors (at {_FIRST_NEIGHBOR} angstrom) itself and weakens their peak; take "
            f"at most {highest}, or a wider k range."
        )
        warnings.warn(msg, stacklevel=4)


def _text(fractions: dict[str, float]) -> str:
    return "".join(f"{symbol}{100 * fraction:.6g}" for symbol, fraction in fractions.items())


def _part(curves: np.ndarray, *, quantity: Any, k: np.ndarray, composition: dict, **options: Any) -> np.ndarray:
    return quantity(kernels.structure_factors(curves, k, composition, **options))


def _values(result: kernels.StructureFactors) -> np.ndarray:
    return result.values


def _background(result: kernels.StructureFactors) -> np.ndarray:
    return result.background


def _polynomial(result: kernels.StructureFactors) -> np.ndarray:
    return result.polynomial


def _coefficients(result: kernels.StructureFactors) -> np.ndarray:
    return result.coefficients


def _normalization(result: kernels.StructureFactors) -> np.ndarray:
    return result.normalization[..., None]
