"""Reduced pair distribution function G(r) from the structure factor, as one product of matrices."""

from __future__ import annotations

import numpy as np

from medrange.pdf.products import row_products

# Curves per product of matrices: a few megabytes.
_BLOCK = 4096
_WINDOWS = (None, "lorch", "exponential")
# First zero of the Bessel function J1; the correction for convergence stops at half of it.
_J1_ZERO = 3.8317059702075125


def window_values(k: np.ndarray, window: str | None, *, k_max: float, decay: float = 0.3) -> np.ndarray:
    """Window over k: 1, ``sinc(k/k_max)`` of [Lorch1969]_, or ``exp(-decay k^2)``.

    Parameters
    ----------
    k : numpy.ndarray
        1/angstrom.
    window : str or None
        None, ``"lorch"`` or ``"exponential"``.
    k_max : float
        End of the integral, 1/angstrom: where the Lorch window is 0.
    decay : float
        Of the exponential window, square angstrom.

    Returns
    -------
    numpy.ndarray
        Shape of k.

    Examples
    --------
    >>> window_values(np.array([0.0, 0.8, 1.6]), "lorch", k_max=1.6).round(3)
    array([1.   , 0.637, 0.   ])
    """
    if window not in _WINDOWS:
        msg = f"window is {window!r}; it must be one of {', '.join(map(repr, _WINDOWS))}."
        raise ValueError(msg)
    if window == "lorch":
        return np.sinc(k / k_max)
    if window == "exponential":
        if not decay > 0:
            msg = f"decay is {decay!r}; the exponential window needs a positive one in square angstrom, 0.3 is usual."
            raise ValueError(msg)
        return np.exp(-decay * k**2)
    return np.ones_like(k)


def convergence_damping(r: np.ndarray, k_aperture: float) -> np.ndarray:
    """Factor ``2 J1(x)/x``, ``x = 2 pi r k_aperture``, by which a convergent probe damps G(r).

    The disk of the probe, of radius ``k_aperture`` = convergence angle / wavelength, smears the pattern. Beyond
    half the first zero, ``r = 0.305/k_aperture``, dividing by the factor would raise noise more than structure;
    there it keeps its last value, 0.607.

    Parameters
    ----------
    r : numpy.ndarray
        Angstrom.
    k_aperture : float
        1/angstrom.

    Returns
    -------
    numpy.ndarray
        Shape of r, between 0.607 and 1.

    Examples
    --------
    >>> convergence_damping(np.array([0.0, 5.0, 10.0]), 0.0305).round(2)
    array([1.  , 0.89, 0.61])
    """
    from scipy.special import j1

    if not (np.isfinite(k_aperture) and k_aperture > 0):
        msg = f"k_aperture is {k_aperture!r}; it is convergence angle / wavelength in 1/angstrom, a positive number."
        raise ValueError(msg)
    x = np.clip(2 * np.pi * np.asarray(r, dtype=float) * k_aperture, 1e-6, _J1_ZERO / 2)
    return 2 * j1(x) / x


def transform_matrix(
    k: np.ndarray,
    r: np.ndarray,
    *,
    window: str | None = None,
    decay: float = 0.3,
    extend: bool = True,
    k_aperture: float | None = None,
) -> np.ndarray:
    """Matrix M of the sine transform, ``G = phi @ M``; ``G(r) = 8 pi int phi(k) sin(2 pi k r) dk``.

    The integral is taken by the trapezoidal rule on the points of k, which are right up to half the r at which
    the points of k alias, ``r < 1/(2 dk)``.

    Parameters
    ----------
    k : numpy.ndarray
        Shape (n_k,), increasing, 1/angstrom.
    r : numpy.ndarray
        Shape (n_r,), angstrom.
    window, decay
        As in :func:`window_values`.
    extend : bool
        Continue phi from its first point to 0 at k = 0 by a straight line; False: the integral starts there.
    k_aperture : float, optional
        Divide by :func:`convergence_damping` of this aperture.

    Returns
    -------
    numpy.ndarray
        Shape (n_k, n_r), 1/angstrom.

    Raises
    ------
    ValueError
        If r reaches beyond ``1/(2 dk)``.

    Examples
    --------
    >>> k = np.linspace(0.02, 3, 150)
    >>> g = np.sin(2 * np.pi * k * 2.5) @ transform_matrix(k, np.array([2.0, 2.5, 3.0]))
    >>> int(g.argmax())
    1
    """
    k, r = np.asarray(k, dtype=float), np.asarray(r, dtype=float)
    step = np.diff(k).max()
    if r.max() > 0.5 / step * (1 + 1e-9):
        msg = (
            f"r reaches to {r.max():g} angstrom, but k in steps of {step:g} 1/angstrom tells nothing beyond "
            f"1/(2 dk) = {0.5 / step:.4g}: take a smaller r_max."
        )
        raise ValueError(msg)
    weights = np.zeros(k.size)
    weights[:-1] += np.diff(k) / 2
    weights[1:] += np.diff(k) / 2
    weights *= window_values(k, window, k_max=k[-1], decay=decay)
    matrix = weights[:, None] * np.sin(2 * np.pi * np.outer(k, r))
    if extend and k[0] > 0:
        line = np.linspace(0, k[0], max(2, int(np.ceil(k[0] / step - 1e-6)) + 1))
        spans = np.full(line.size, line[1])
        spans[[0, -1]] /= 2
        spans *= window_values(line, window, k_max=k[-1], decay=decay) * line / k[0]
        matrix[0] += spans @ np.sin(2 * np.pi * np.outer(line, r))
    matrix *= 8 * np.pi
    return matrix if k_aperture is None else matrix / convergence_damping(r, k_aperture)


def reduced_pdf(
    structure_factor: np.ndarray,
    k: np.ndarray,
    r: np.ndarray,
    *,
    window: str | None = None,
    decay: float = 0.3,
    extend: bool = True,
    k_aperture: float | None = None,
) -> np.ndarray:
    """Reduced pair distribution function ``G(r) = 8 pi int k (S(k) - 1) sin(2 pi k r) dk``.

    It equals ``4 pi r rho0 (g(r) - 1)`` where S is normalized absolutely and known over all k; rho0 is the
    number density, g the pair distribution function. A k range that ends at k_max broadens peaks by 0.605/k_max
    without window and by 0.866/k_max with Lorch's (full widths at half maximum). See [Kang2024]_.

    Parameters
    ----------
    structure_factor : numpy.ndarray
        Shape (..., n_k): S(k).
    k : numpy.ndarray
        Shape (n_k,): ``k = 1/d``, 1/angstrom.
    r : numpy.ndarray
        Shape (n_r,): distances, angstrom.
    window, decay, extend, k_aperture
        As in :func:`transform_matrix`.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_r): G(r) in 1/angstrom^2, float32 for float32 input, else float64.

    Examples
    --------
    >>> k = np.linspace(0.01, 2, 200)
    >>> dimer = 1 + np.sinc(2 * k * 2.5)  # two atoms, 2.5 angstrom apart
    >>> r = np.linspace(1, 5, 401)
    >>> float(r[reduced_pdf(dimer, k, r).argmax()].round(2))
    2.5
    """
    values = np.asarray(structure_factor)
    if values.ndim < 1 or values.shape[-1] != len(k):
        msg = f"structure_factor has shape {values.shape}; its last axis must have the {len(k)} points of k."
        raise ValueError(msg)
    options = {"window": window, "decay": decay, "extend": extend, "k_aperture": k_aperture}
    k = np.asarray(k, dtype=float)
    dtype = np.result_type(values.dtype, np.float32)
    matrix = (k[:, None] * transform_matrix(k, r, **options)).astype(dtype)
    flat = values.reshape(-1, k.size)
    result = np.empty((len(flat), len(r)), dtype)
    for start in range(0, len(flat), _BLOCK):
        block = slice(start, start + _BLOCK)
        result[block] = row_products(flat[block] - dtype.type(1), matrix)
    return result.reshape(*values.shape[:-1], len(r))
