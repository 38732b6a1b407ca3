"""Structure factor S(k) from azimuthal mean intensities I(k), of a whole scan at once.

Everything but the division by N (or the logarithm) is linear in I(k), so it is done as products of matrices.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medrange.pdf.composition import mean_factors
from medrange.pdf.products import row_products

# Profiles reduced at once: they stay in the processor's cache.
_BLOCK = 256


@dataclass(frozen=True)
class Reduction:
    """How I(k) becomes S(k).

    Attributes
    ----------
    k_range : tuple of float or None
        First and last k in 1/angstrom; None for all.
    polynomial_degree : int or None
        Degree of the polynomial in k that stands for plural and inelastic scattering, 4 in [Kang2024]_; None
        for none. Degree d takes out all structure below ``r = (d + 1)/(2 (k_max - k_min))``.
    polynomial_constant : bool
        Whether the polynomial has a term without k; False forces it to 0 at k = 0.
    background : str
        ``"polynomial"``: subtracted from phi(k) = k (S - 1). ``"log_polynomial"``: fitted to the logarithm of
        I/<f^2> and divided out, for thick samples, where the background goes over several orders of magnitude.
    normalization : str
        ``"tail"``: N by least squares of I = N <f^2> over the last ``tail`` of the k range. ``"single_point"``:
        by the last point alone.
    tail : float
        Share of the k range, 0 .. 1; 0.1 to 0.2 is usual.
    offset : bool
        Fit a constant C beside N, I = N <f^2> + C, over the tail.
    denominator : str
        ``"squared_mean"``: <f>^2, for which S is the Faber-Ziman structure factor. ``"mean_square"``: <f^2>, as
        printed in [Kang2024]_.
    """

    k_range: tuple[float, float] | None = None
    polynomial_degree: int | None = 4
    polynomial_constant: bool = True
    background: str = "polynomial"
    normalization: str = "tail"
    tail: float = 0.15
    offset: bool = False
    denominator: str = "squared_mean"

    def __post_init__(self) -> None:
        _choice("background", self.background, ("polynomial", "log_polynomial"))
        _choice("normalization", self.normalization, ("tail", "single_point"))
        _choice("denominator", self.denominator, ("squared_mean", "mean_square"))
        if not 0 < self.tail <= 1:
            msg = f"tail is {self.tail!r}; it is the share of the k range that N is fitted to, above 0 and at most 1."
            raise ValueError(msg)
        lowest = 0 if self.polynomial_constant else 1
        if self.polynomial_degree is not None and self.polynomial_degree < lowest:
            msg = f"polynomial_degree is {self.polynomial_degree!r}; give at least {lowest}, or None for no polynomial."
            raise ValueError(msg)
        if self.background == "log_polynomial" and (self.polynomial_degree is None or not self.polynomial_constant):
            msg = "background='log_polynomial' needs a polynomial with its constant, which is the logarithm of N."
            raise ValueError(msg)
        if self.offset and self.background == "log_polynomial":
            msg = "offset=True belongs to background='polynomial': the logarithm of a sum has no linear constant."
            raise ValueError(msg)
        if self.offset and self.normalization == "single_point":
            msg = "offset=True fits N and C together, for which one point is not enough; use normalization='tail'."
            raise ValueError(msg)
        if self.k_range is not None and not 0 <= self.k_range[0] < self.k_range[1]:
            msg = f"k_range is {self.k_range!r}; give the first and the last k in 1/angstrom, for example (0.25, 1.6)."
            raise ValueError(msg)

    @property
    def powers(self) -> np.ndarray:
        """Powers of k in the polynomial."""
        if self.polynomial_degree is None:
            return np.arange(0)
        return np.arange(0 if self.polynomial_constant else 1, self.polynomial_degree + 1)

    def inside(self, k: np.ndarray) -> slice:
        """Part of an increasing k axis that lies in the range, ends included."""
        low, high = (k[0], k[-1]) if self.k_range is None else self.k_range
        if high > 2 * k[-1] - k[-2]:
            msg = (
                f"the k range goes to {high:g} 1/angstrom, the profile to {k[-1]:g}. k_range is in 1/angstrom whatever "
                "the units of the profile: 16 1/nm are 1.6."
            )
            raise ValueError(msg)
        margin = 1e-6 * (k[-1] - k[0])
        first, last = np.searchsorted(k, low - margin), np.searchsorted(k, high + margin)
        if self.k_range is None and k[0] <= 0:
            first += 1
        needed = max(4, self.powers.size + 2)
        if last - first < needed:
            msg = (
                f"the k range {low:g} to {high:g} 1/angstrom holds {last - first} of the points from {k[0]:g} to "
                f"{k[-1]:g}; at least {needed} are needed."
            )
            raise ValueError(msg)
        return slice(int(first), int(last))


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        msg = f"{name} is {value!r}; it must be one of {', '.join(map(repr, choices))}."
        raise ValueError(msg)


@dataclass(frozen=True, eq=False)
class Basis:
    """What of the reduction depends on k alone, not on the profiles; made by :func:`reduction_basis`.

    Attributes
    ----------
    k, mean_square, denominator : numpy.ndarray
        Shape (n_k,): k in 1/angstrom within the range, <f^2>, and what S is divided by, in square angstrom.
    norm, constant : numpy.ndarray
        Shape (n_k,): ``N = I . norm`` and ``C = I . constant``.
    orthonormal : numpy.ndarray
        Shape (n_k, n_powers): orthonormal basis of the polynomials.
    to_powers : numpy.ndarray
        Shape (n_powers, n_powers): coefficients in the basis to coefficients of the powers of k.
    reduction : Reduction
        The options.
    """

    k: np.ndarray
    mean_square: np.ndarray
    denominator: np.ndarray
    norm: np.ndarray
    constant: np.ndarray
    orthonormal: np.ndarray
    to_powers: np.ndarray
    reduction: Reduction

    @property
    def is_logarithmic(self) -> bool:
        """Whether the background is divided out."""
        return self.reduction.background == "log_polynomial"


def reduction_basis(
    k: np.ndarray,
    composition: str | Mapping[str, float] | Any,
    reduction: Reduction,
    *,
    parametrization: str = "kirkland",
) -> Basis:
    """Scattering factors, tail weights and polynomial basis on the points of ``k`` within the range.

    Parameters
    ----------
    k : numpy.ndarray
        Shape (n_all,), increasing, 1/angstrom.
    composition, parametrization
        As in :func:`medrange.pdf.composition.mean_factors`.
    reduction : Reduction
        The options.

    Returns
    -------
    Basis
    """
    k = np.asarray(k, dtype=float)
    if k.ndim != 1 or k.size < 4 or not (np.diff(k) > 0).all():
        msg = f"k has shape {k.shape}; give an increasing axis of at least 4 points in 1/angstrom."
        raise ValueError(msg)
    k = k[reduction.inside(k)]
    mean, mean_square = mean_factors(composition, k, parametrization=parametrization)
    denominator = mean**2 if reduction.denominator == "squared_mean" else mean_square
    norm, constant = _tail_weights(k, mean_square, reduction)
    # Powers of k / k_max: the same polynomials, well conditioned.
    columns = (k[:, None] / k[-1]) ** reduction.powers
    orthonormal, triangle = np.linalg.qr(columns) if columns.size else (columns, np.empty((0, 0)))
    to_powers = np.linalg.inv(triangle).T / k[-1] ** reduction.powers if columns.size else triangle
    return Basis(k, mean_square, denominator, norm, constant, orthonormal, to_powers, reduction)


def _tail_weights(k: np.ndarray, mean_square: np.ndarray, reduction: Reduction) -> tuple[np.ndarray, np.ndarray]:
    """Rows that give N and C by least squares over the tail."""
    norm, constant = np.zeros(k.size), np.zeros(k.size)
    if reduction.normalization == "single_point":
        norm[-1] = 1 / mean_square[-1]
        return norm, constant
    start = min(np.searchsorted(k, k[-1] - reduction.tail * (k[-1] - k[0]) - 1e-9), k.size - 3)
    columns = [mean_square[start:]] + ([np.ones(k.size - start)] if reduction.offset else [])
    rows = np.linalg.pinv(np.stack(columns, axis=1))
    norm[start:] = rows[0]
    if reduction.offset:
        constant[start:] = rows[1]
    return norm, constant


@dataclass(frozen=True, eq=False)
class StructureFactors:
    """Structure factors of many profiles and what was fitted on the way; made by :func:`structure_factors`.

    Attributes
    ----------
    values : numpy.ndarray
        Shape (..., n_k): S(k), dimensionless, around 1. NaN where a profile could not be reduced.
    normalization : numpy.ndarray
        Shape (...): N, data units per square angstrom: proportional to the number of atoms in the beam.
    offset : numpy.ndarray
        Shape (...): C in data units, 0 unless fitted.
    coefficients : numpy.ndarray
        Shape (..., n_powers): of the powers of k, ``basis.reduction.powers``; in angstrom^(power - 1) for
        a polynomial subtracted from phi, in angstrom^power for the logarithm of I/(N <f^2>).
    basis : Basis
        ``basis.k`` is the k axis, in 1/angstrom.
    """

    values: np.ndarray
    normalization: np.ndarray
    offset: np.ndarray
    coefficients: np.ndarray
    basis: Basis

    @property
    def k(self) -> np.ndarray:
        """Shape (n_k,), 1/angstrom."""
        return self.basis.k

    @property
    def reduced(self) -> np.ndarray:
        """Reduced structure factor ``phi(k) = k (S(k) - 1)``, shape (..., n_k), 1/angstrom."""
        return self.k * (self.values.astype(float) - 1)

    @property
    def polynomial(self) -> np.ndarray:
        """The fitted polynomial over k, shape (..., n_k)."""
        return _products(self.coefficients, (self.k[:, None] ** self.basis.reduction.powers).T)

    @property
    def background(self) -> np.ndarray:
        """Intensity without structure, shape (..., n_k), data units: what I(k) would be if S(k) were 1."""
        basis = self.basis
        smooth = self.normalization[..., None] * basis.mean_square
        if basis.is_logarithmic:
            return smooth * np.exp(self.polynomial)
        plural = self.normalization[..., None] * basis.denominator * self.polynomial / basis.k
        return smooth + plural + self.offset[..., None]


def _products(curves: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """:func:`row_products` of curves (..., n)."""
    shape = curves.shape[:-1]
    return row_products(curves.reshape(math.prod(shape), curves.shape[-1]), matrix).reshape(*shape, matrix.shape[1])


def structure_factors(
    intensity: np.ndarray,
    k: np.ndarray,
    composition: str | Mapping[str, float] | Any,
    *,
    reduction: Reduction | None = None,
    parametrization: str = "kirkland",
) -> StructureFactors:
    """Structure factor of many intensity profiles at once.

    With ``background="polynomial"``, ``k (S - 1) = k (I - N <f^2> - C)/(N <f>^2) - p(k)``, where N (and C) match
    the tail and p is the least-squares polynomial. With ``"log_polynomial"``,
    ``S = 1 + (I/(<f^2> exp p(k)) - 1) <f^2>/<f>^2``, with p fitted to ``ln(I/<f^2>)``.

    Parameters
    ----------
    intensity : numpy.ndarray
        Shape (..., n_all): azimuthal mean intensities, any unit.
    k : numpy.ndarray
        Shape (n_all,), increasing: ``k = 1/d`` in 1/angstrom.
    composition : str, mapping or object with ``get_chemical_symbols``
        For example ``"Fe85.2Si0.5B9.5P4Cu0.8"``.
    reduction : Reduction, optional
        The options; their defaults follow [Kang2024]_.
    parametrization : str
        Table of scattering factors, ``"kirkland"``, ``"lobato"`` or ``"peng"``.

    Returns
    -------
    StructureFactors
        float32 for float32 and narrower input, else float64.

    Raises
    ------
    ValueError
        If the shapes do not fit or the k range holds too few points.

    Warns
    -----
    UserWarning
        Once, with their number, if profiles cannot be reduced (a NaN within the range, N not positive, or an
        intensity that is not positive with ``"log_polynomial"``): these are NaN.

    Examples
    --------
    >>> from medrange.pdf.scattering_factors import scattering_factor
    >>> k = np.linspace(0.25, 1.6, 100)
    >>> atom = structure_factors(7 * scattering_factor("Fe", k) ** 2, k, "Fe")
    >>> float(atom.normalization.round(6)), float(abs(atom.reduced).max().round(9))
    (7.0, 0.0)
    """
    intensity = np.asarray(intensity)
    reduction = Reduction() if reduction is None else reduction
    basis = reduction_basis(k, composition, reduction, parametrization=parametrization)
    if intensity.ndim < 1 or intensity.shape[-1] != len(k):
        msg = f"intensity has shape {intensity.shape}; its last axis must have the {len(k)} points of k."
        raise ValueError(msg)
    dtype = np.result_type(intensity.dtype, np.float32)
    chosen = intensity[..., reduction.inside(np.asarray(k, dtype=float))]
    flat = chosen.reshape(-1, basis.k.size)
    n_powers = reduction.powers.size
    values, parameters = np.empty(flat.shape, dtype), np.empty((len(flat), 2 + n_powers))
    for start in range(0, len(flat), _BLOCK):
        block = slice(start, start + _BLOCK)
        values[block], parameters[block] = reduce_profiles(flat[block], basis)
    _warn_of_lost(np.isnan(parameters[:, 0]), reduction)
    shape = intensity.shape[:-1]
    parameters = parameters.reshape(*shape, 2 + n_powers)
    return StructureFactors(
        values.reshape(*shape, basis.k.size), parameters[..., 0], parameters[..., 1], parameters[..., 2:], basis
    )


def _warn_of_lost(lost: np.ndarray, reduction: Reduction) -> None:
    if not lost.any():
        return
    log = " or an intensity that is not positive, which has no logarithm" if reduction.background[0] == "l" else ""
    msg = (
        f"{int(lost.sum())} of {lost.size} profiles are NaN: they hold a NaN within the k range, an N that is not "
        f"positive{log}. Take a k_range without masked rings, or bin the scan."
    )
    warnings.warn(msg, stacklevel=3)


def reduce_profiles(intensity: np.ndarray, basis: Basis) -> tuple[np.ndarray, np.ndarray]:
    """S(k) of profiles (n, n_k) on the basis's own k axis, and N, C and coefficients (n, 2 + n_powers)."""
    values = intensity.astype(np.float64)
    # The sum of a profile is finite where the profile is.
    good = np.isfinite(values.sum(axis=1))
    if basis.is_logarithmic:
        good &= values.min(axis=1) > 0
    if not good.all():
        values[~good] = basis.mean_square
    norm, constant = row_products(values, np.stack([basis.norm, basis.constant], axis=1)).T
    good &= norm > 0
    norm[~good] = 1.0
    if basis.is_logarithmic:
        values /= norm[:, None] * basis.mean_square
        logarithm = np.log(values, out=values)
        fitted = row_products(logarithm, basis.orthonormal)
        logarithm -= row_products(fitted, basis.orthonormal.T)
        values = np.expm1(logarithm, out=logarithm)
        values *= basis.mean_square / basis.denominator
    else:
        if basis.reduction.offset:
            values -= constant[:, None]
        values *= (1 / norm)[:, None]
        values -= basis.mean_square
        values *= 1 / basis.denominator
        fitted = row_products(values, basis.k[:, None] * basis.orthonormal)
        values -= row_products(fitted, (basis.orthonormal / basis.k[:, None]).T)
    values += 1
    parameters = np.concatenate([norm[:, None], constant[:, None], row_products(fitted, basis.to_powers)], axis=1)
    if not good.all():
        values[~good], parameters[~good] = np.nan, np.nan
    return values, parameters


def highest_degree(k_range: tuple[float, float], first_neighbor: float) -> int:
    """Highest polynomial degree that leaves the first neighbor alone, ``d < 2 (k_max - k_min) r1 - 1``.

    A polynomial of degree d over a range of k has up to d zeros: it follows ``sin(2 pi k r)`` up to
    ``r = (d + 1)/(2 (k_max - k_min))``.

    Parameters
    ----------
    k_range : tuple of float
        First and last k, 1/angstrom.
    first_neighbor : float
        Distance r1 in angstrom.

    Returns
    -------
    int
        The degree, -1 if even a constant is too much.

    Examples
    --------
    >>> highest_degree((0.25, 1.6), 2.5)
    5
    """
    limit = 2 * (k_range[1] - k_range[0]) * first_neighbor - 1
    return max(-1, int(np.ceil(limit - 1e-9)) - 1)
