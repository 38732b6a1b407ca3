"""Counting error of G(r), carried through the whole reduction to first order."""

from __future__ import annotations

import numpy as np

from medrange.pdf.products import row_products
from medrange.pdf.structure_factor import Basis

_BLOCK = 2048


def profile_variance(intensity: np.ndarray, pixels: np.ndarray, gain: float) -> np.ndarray:
    """Variance of an azimuthal mean from counting electrons, ``sigma_I^2 = gain I/pixels``.

    I is the mean over ``pixels`` detector pixels, in data units of ``gain`` per electron: the ring caught
    ``I pixels/gain`` electrons, a Poisson number. Pixels that two rings share are split between them, so that
    each ring alone varies less than this and neighbors vary together; for what is smooth over a few rings, as
    G(r) is, the two cancel.

    Parameters
    ----------
    intensity : numpy.ndarray
        Shape (..., n_k), data units.
    pixels : numpy.ndarray
        Shape (n_k,): open detector area of each ring, in pixels.
    gain : float
        Data units per electron.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_k), data units squared.

    Examples
    --------
    >>> profile_variance(np.array([2.0, 1.0]), np.array([50, 100]), 1.0)
    array([0.04, 0.01])
    """
    if not (np.isfinite(gain) and gain > 0):
        msg = f"gain is {gain!r}; it is the data units per detected electron, a positive number, 1 for counts."
        raise ValueError(msg)
    pixels = np.asarray(pixels, dtype=float)
    if not (pixels > 0).all():
        msg = f"{int((~(pixels > 0)).sum())} of {pixels.size} rings hold no open pixel; take a k_range without them."
        raise ValueError(msg)
    return gain * np.clip(intensity, 0, None) / pixels


def reduced_pdf_variance(intensity: np.ndarray, variance: np.ndarray, basis: Basis, matrix: np.ndarray) -> np.ndarray:
    """Variance of G(r) from that of I(k), to first order, with N, C and the polynomial fitted to the same I(k).

    ``var G(r) = sum_k (dG(r)/dI(k))^2 sigma_I(k)^2``. Where N and the polynomial are taken as known this is
    ``(8 pi dk)^2 sum k^2 w^2 sigma_I^2 sin^2(2 pi k r)/(N <f>^2)^2``; fitting them takes a part away.

    Parameters
    ----------
    intensity, variance : numpy.ndarray
        Shape (..., n_k): profiles on ``basis.k``, and their variance from :func:`profile_variance`.
    basis : medrange.pdf.structure_factor.Basis
        The reduction.
    matrix : numpy.ndarray
        Shape (n_k, n_r): from :func:`medrange.pdf.reduced_pdf.transform_matrix`.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_r), 1/angstrom^4; NaN for a profile that cannot be reduced.

    Examples
    --------
    >>> from medrange.pdf.reduced_pdf import transform_matrix
    >>> from medrange.pdf.structure_factor import Reduction, reduction_basis
    >>> basis = reduction_basis(np.linspace(0.25, 1.6, 100), "Fe", Reduction())
    >>> matrix = transform_matrix(basis.k, np.array([2.5, 5.0]))
    >>> sigma = [
    ...     reduced_pdf_variance(dose * basis.mean_square, dose * basis.mean_square, basis, matrix) ** 0.5
    ...     for dose in (1, 100)
    ... ]
    >>> (sigma[0] / sigma[1]).round(6)
    array([10., 10.])
    """
    shape = np.shape(intensity)
    flat = np.asarray(intensity, dtype=float).reshape(-1, basis.k.size)
    spread = np.broadcast_to(variance, shape).reshape(flat.shape)
    good = np.isfinite(flat).all(axis=1) & (row_products(flat, basis.norm) > 0)
    if basis.is_logarithmic:
        good &= (flat > 0).all(axis=1)
    rule = _logarithmic if basis.is_logarithmic else _linear
    result = np.full((len(flat), matrix.shape[1]), np.nan)
    chosen = np.flatnonzero(good)
    for start in range(0, chosen.size, _BLOCK):
        rows = chosen[start : start + _BLOCK]
        # Rounding of differences of large sums.
        result[rows] = np.clip(rule(flat[rows], spread[rows], basis, matrix), 0, None)
    return result.reshape(*shape[:-1], matrix.shape[1])


def _linear(intensity: np.ndarray, variance: np.ndarray, basis: Basis, matrix: np.ndarray) -> np.ndarray:
    """With J(k, r) = (A(k, r) - norm(k) H(r))/N: A is the transform, H what N scales."""
    orthonormal = basis.orthonormal
    projected = matrix - orthonormal @ (orthonormal.T @ matrix)
    scaled = (basis.k / basis.denominator)[:, None] * projected
    direct = scaled - np.outer(basis.constant, scaled.sum(axis=0))
    norm = row_products(intensity, basis.norm)[:, None]
    common = row_products(intensity - row_products(intensity, basis.constant)[:, None], scaled) / norm
    total = row_products(variance, direct**2)
    total -= 2 * common * row_products(variance, direct * basis.norm[:, None])
    total += common**2 * row_products(variance, basis.norm**2)[:, None]
    return total / norm**2


def _logarithmic(intensity: np.ndarray, variance: np.ndarray, basis: Basis, matrix: np.ndarray) -> np.ndarray:
    """With J(k, r) = u(k, r) - sum_m q_m(k) sum_k' q_m(k') u(k', r), u the transform times the ratio itself."""
    q = basis.orthonormal
    logarithm = np.log(intensity / basis.mean_square)
    ratio = np.exp(logarithm - row_products(row_products(logarithm, q), q.T))
    relative = variance / intensity**2
    scaled = (basis.k * basis.mean_square / basis.denominator)[:, None] * matrix
    total = row_products(relative * ratio**2, scaled**2)
    weighted = relative * ratio
    projections = [row_products(ratio, q[:, [m]] * scaled) for m in range(q.shape[1])]
    for m, own in enumerate(projections):
        total -= 2 * row_products(weighted, q[:, [m]] * scaled) * own
        for n, other in enumerate(projections):
            total += row_products(relative, q[:, m] * q[:, n])[:, None] * own * other
    return total
