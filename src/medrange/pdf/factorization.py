"""Non-negative matrix factorization of PDFs in two steps: many short searches, one long run from the best.

The two steps are those of [Kang2024]_. The long run alternates exact non-negative least squares for weights and
bases, [Kim2008]_, on compressed PDFs: it reaches the residual of scikit-learn's coordinate descent in a fraction
of its time, and without the cube in memory. See references.bib.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from medrange.pdf.compression import Compressed, CompressedScan, array_blocks, compress
from medrange.pdf.nonnegative import MAX_UNKNOWNS, nonnegative_least_squares, weight_sums

# Iterations of each short search, as in Kang 2024.
_SEARCH_ITERATIONS = 5
# PDFs looked at in the short searches: enough to tell a good start, and few enough for small products of matrices.
_SEARCH_ROWS = 1024
# Larger scans come near the end of the long run on a random part of so many PDFs.
_PART_ROWS = 50_000
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Factorization:
    """Weights and bases, both non-negative, with ``V ~ weights @ bases`` and V the PDFs without negative values.

    Attributes
    ----------
    weights : numpy.ndarray
        Shape (n, components).
    bases : numpy.ndarray
        Shape (components, r).
    residual : float
        ``|V - weights bases| / |V|``.
    iterations : int
        Of the long run.
    converged : bool
        Whether the residual came to rest before the iterations ran out.
    search_residuals : numpy.ndarray
        Shape (restarts,): residual of each short search.
    offset : float
        Added to every value of the PDFs before.
    clipped_fraction : float
        Share of values that were negative and set to zero before.
    """

    weights: np.ndarray
    bases: np.ndarray
    residual: float
    iterations: int
    converged: bool
    search_residuals: np.ndarray
    offset: float = 0.0
    clipped_fraction: float = 0.0


def factorize(
    pdfs: np.ndarray,
    n_components: int,
    *,
    negatives: str = "clip",
    solver: str = "compressed",
    n_restarts: int = 20,
    tolerance: float = 1e-7,
    max_iterations: int = 1000,
    seed: int | np.random.Generator = 0,
) -> Factorization:
    """Factorize PDFs into non-negative bases and weights.

    PDFs are negative between their peaks. ``"offset"`` adds one constant to all, as [Kang2024]_ did: the map of the
    weights is then good, but the bases are hardly bounded and drawn apart, and thickness adds a component unless
    amplitudes are normalized before. ``"clip"`` sets negative values to zero: half of the values are lost to the fit,
    but zeros are bounds at which the bases stop.

    Parameters
    ----------
    pdfs : numpy.ndarray
        Shape (n, r), finite.
    n_components : int
        1 to 8.
    negatives : {"clip", "offset"}
        See above.
    solver : {"compressed", "sklearn"}
        ``"sklearn"``: multiplicative updates, then coordinate descent of :class:`sklearn.decomposition.NMF`, for
        comparison.
    n_restarts : int
        Short searches of 5 iterations.
    tolerance : float
        The long run ends when an iteration lowers the residual by less than this part of it; of scikit-learn, its
        ``tol``.
    max_iterations : int
        Of the long run.
    seed : int or numpy.random.Generator
        Of the starts.

    Returns
    -------
    Factorization
        Components in no particular order.

    Raises
    ------
    ValueError
        If a parameter is out of range, or a PDF is not finite.

    Examples
    --------
    >>> bases = np.array([[1.0, 0.0, 1.0], [0.0, 2.0, 1.0]])
    >>> result = factorize(np.random.default_rng(0).random((50, 2)) @ bases, 2)
    >>> result.residual < 1e-4
    True
    """
    pdfs = np.asarray(pdfs)
    if pdfs.ndim != 2 or not np.isfinite(pdfs).all():
        msg = f"PDFs of shape {pdfs.shape} were given; factorize needs (n, r) with finite values only."
        raise ValueError(msg)
    options = {"n_restarts": n_restarts, "tolerance": tolerance, "max_iterations": max_iterations, "seed": seed}
    if solver == "compressed":
        scan = compress(array_blocks(pdfs), len(pdfs), np.arange(pdfs.shape[1], dtype=float), negatives=negatives)
        return factorize_compressed(scan, n_components, **options)
    if solver != "sklearn":
        msg = f"solver={solver!r} is not known; choose 'compressed' or 'sklearn'."
        raise ValueError(msg)
    return _factorize_sklearn(pdfs, n_components, negatives, options)


def factorize_compressed(
    scan: CompressedScan,
    n_components: int,
    *,
    n_restarts: int = 20,
    tolerance: float = 1e-7,
    max_iterations: int = 1000,
    seed: int | np.random.Generator = 0,
) -> Factorization:
    """Factorize a compressed scan; parameters as of :func:`factorize`.

    Parameters
    ----------
    scan : CompressedScan
        Its valid rows are factorized.
    n_components, n_restarts, tolerance, max_iterations, seed
        As of :func:`factorize`.

    Returns
    -------
    Factorization
        Weights of the valid rows.
    """
    data = scan.nonnegative
    _check(n_components, n_restarts, max_iterations, tolerance, data)
    rng = np.random.default_rng(seed)
    bases, searched = _search(_part(data, _SEARCH_ROWS, rng), n_components, n_restarts, rng)
    if len(data.coefficients) > 2 * _PART_ROWS:
        bases = _alternate(_part(data, _PART_ROWS, rng), bases, tolerance, max_iterations)[1]
    weights, bases, residuals, converged = _alternate(data, bases, tolerance, max_iterations)
    return Factorization(
        weights=weights,
        bases=bases,
        residual=residuals[-1],
        iterations=len(residuals),
        converged=converged,
        search_residuals=searched,
        offset=scan.offset,
        clipped_fraction=scan.clipped_fraction,
    )


def _search(
    data: Compressed, n_components: int, n_restarts: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Bases of the best of many short runs of multiplicative updates, and the residual of each."""
    coefficients, axes = data.coefficients, data.axes
    mean = float(coefficients.mean(axis=0) @ axes.sum(axis=0)) / len(axes)
    scale = np.sqrt(max(mean, _TINY) / n_components)
    residuals, best = [], None
    for _ in range(n_restarts):
        weights = np.abs(rng.standard_normal((len(coefficients), n_components))) * scale
        bases = np.abs(rng.standard_normal((n_components, len(axes)))) * scale
        for _ in range(_SEARCH_ITERATIONS):
            products = coefficients @ (axes.T @ bases.T)
            weights *= np.maximum(products, _TINY) / np.maximum(weights @ (bases @ bases.T), _TINY)
            products = (weights.T @ coefficients) @ axes.T
            bases *= np.maximum(products, _TINY) / np.maximum((weights.T @ weights) @ bases, _TINY)
        residuals.append(_residual(data.energy, weights.T @ weights, (weights.T @ coefficients) @ axes.T, bases))
        if residuals[-1] == min(residuals):
            best = bases
    return best, np.array(residuals)


def _part(data: Compressed, n_rows: int, rng: np.random.Generator) -> Compressed:
    """As many random rows, or all where there are fewer."""
    n = len(data.coefficients)
    return data if n <= n_rows else data.rows(np.sort(rng.choice(n, n_rows, replace=False)))


def _alternate(
    data: Compressed, bases: np.ndarray, tolerance: float, max_iterations: int
) -> tuple[np.ndarray, np.ndarray, list[float], bool]:
    """Exact least squares for weights and bases in turn, until the residual comes to rest."""
    coefficients, axes = data.coefficients, data.axes
    residuals: list[float] = []
    converged = False
    while not converged and len(residuals) < max_iterations:
        gram, sums = weight_sums(bases @ bases.T, coefficients, bases @ axes)
        products = sums @ axes.T
        bases = nonnegative_least_squares(gram, products.T).T
        residuals.append(_residual(data.energy, gram, products, bases))
        converged = len(residuals) > 1 and residuals[-2] - residuals[-1] < tolerance * residuals[-2]
    weights = nonnegative_least_squares(bases @ bases.T, coefficients @ (axes.T @ bases.T))
    return weights, bases, residuals, converged


def _residual(energy: float, gram: np.ndarray, products: np.ndarray, bases: np.ndarray) -> float:
    """``|V - W H| / |V|`` from W^T W and W^T V."""
    squares = energy - 2 * float((products * bases).sum()) + float((gram * (bases @ bases.T)).sum())
    return float(np.sqrt(max(squares, 0.0) / energy))


def _factorize_sklearn(pdfs: np.ndarray, n_components: int, negatives: str, options: dict) -> Factorization:
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    offset = max(0.0, -float(pdfs.min())) if negatives == "offset" else 0.0
    values = np.maximum(pdfs, 0) if negatives == "clip" else pdfs + offset
    rng = np.random.default_rng(options["seed"])
    best, searched = None, []
    with warnings.catch_warnings():
        # Not converging is the purpose of a short search, and reported for the long run.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for _ in range(options["n_restarts"]):
            state = int(rng.integers(2**31))
            model = NMF(n_components, init="random", solver="mu", max_iter=_SEARCH_ITERATIONS, random_state=state)
            weights = model.fit_transform(values)
            searched.append(model.reconstruction_err_)
            if searched[-1] == min(searched):
                best = weights, model.components_
        model = NMF(n_components, init="custom", tol=options["tolerance"], max_iter=options["max_iterations"])
        weights = model.fit_transform(values, W=best[0].copy(), H=best[1].copy())
    norm = np.linalg.norm(values)
    return Factorization(
        weights=weights,
        bases=model.components_,
        residual=float(model.reconstruction_err_ / norm),
        iterations=model.n_iter_,
        converged=model.n_iter_ < options["max_iterations"],
        search_residuals=np.array(searched) / norm,
        offset=offset,
        clipped_fraction=float((pdfs < 0).mean()) if negatives == "clip" else 0.0,
    )


def _check(n_components: int, n_restarts: int, max_iterations: int, tolerance: float, data: Compressed) -> None:
    n, r = len(data.coefficients), len(data.axes)
    limit = min(MAX_UNKNOWNS, n, r)
    if not 1 <= n_components <= limit:
        msg = f"n_components is {n_components}; it must be 1 to {limit} for {n} PDFs of {r} distances."
        raise ValueError(msg)
    if n_restarts < 1 or max_iterations < 1 or not tolerance >= 0:
        msg = (
            f"n_restarts is {n_restarts}, max_iterations {max_iterations}, tolerance {tolerance}; the first two must "
            "be at least 1, the tolerance not negative."
        )
        raise ValueError(msg)
