"""Structural types from a factorization: scaled, ordered, named, matched between runs, and how stable they are.

See [Kang2024]_ in references.bib.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medrange.pdf.compression import CompressedScan
from medrange.pdf.factorization import Factorization, factorize_compressed
from medrange.pdf.nonnegative import nonnegative_least_squares
from medrange.pdf.normalization import first_peak_range
from medrange.pdf.peaks import find_peak

LIQUID, SOLID, INTERMEDIATE, RESIDUAL = "liquid-like", "solid-like", "intermediate", "residual"
#: Name of the only structural type, where there is one.
AVERAGE = "average"
# A residual varies over r by less than this part of the median of all components.
_RESIDUAL_AMPLITUDE = 0.5


@dataclass(frozen=True, eq=False)
class StructuralTypes:
    """Basis PDFs with their negative values, and the weights of each PDF on them.

    Attributes
    ----------
    bases : numpy.ndarray
        Shape (components, r), in the unit of the PDFs.
    weights : numpy.ndarray
        Shape (n, components): non-negative least squares of every PDF on the bases; their sum is 1 on average.
    labels : tuple of str
        ``"liquid-like"`` (larger first distance), ``"intermediate"``, ``"solid-like"``, ``"residual"``, in this
        order.
    residual : float
        ``|V - weights bases| / |V|`` with V the PDFs as measured.
    """

    bases: np.ndarray
    weights: np.ndarray
    labels: tuple[str, ...]
    residual: float


def structural_types(scan: CompressedScan, factorization: Factorization, r: np.ndarray) -> StructuralTypes:
    """Basis PDFs and weights from a factorization of the same scan.

    The weights of the factorization are scaled so that they sum to 1 as nearly as possible. The bases are the
    least-squares PDFs that belong to these weights, from the PDFs as measured, so that neither the offset nor the
    clipping is left in them. The final weights are those of every measured PDF on these bases.

    Parameters
    ----------
    scan : CompressedScan
        The PDFs.
    factorization : Factorization
        Of :func:`medrange.pdf.factorization.factorize_compressed`.
    r : numpy.ndarray
        Shape (r,), angstrom.

    Returns
    -------
    StructuralTypes
        Ordered by name, see :func:`order_components`.
    """
    weights = factorization.weights * _unit_sum_scale(factorization.weights)
    data = scan.signed
    bases = np.linalg.lstsq(weights.T @ weights, weights.T @ data.coefficients, rcond=None)[0] @ data.axes.T
    order, labels = order_components(bases, r)
    bases = bases[order]
    weights, residual = weights_on(scan, bases)
    return StructuralTypes(bases=bases, weights=weights, labels=labels, residual=residual)


def weights_on(scan: CompressedScan, bases: np.ndarray) -> tuple[np.ndarray, float]:
    """Non-negative least squares of the measured PDFs of a scan on given bases, and the relative residual.

    Parameters
    ----------
    scan : CompressedScan
        The PDFs.
    bases : numpy.ndarray
        Shape (components, r), of this scan or of another.

    Returns
    -------
    weights : numpy.ndarray
        Shape (n, components).
    residual : float
        ``|V - weights bases| / |V|``.
    """
    data, gram = scan.signed, bases @ bases.T
    products = data.coefficients @ (data.axes.T @ bases.T)
    weights = nonnegative_least_squares(gram, products)
    squares = data.energy - 2 * float((weights * products).sum()) + float(((weights.T @ weights) * gram).sum())
    return weights, float(np.sqrt(max(squares, 0.0) / data.energy))


def order_components(bases: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Order of the components and their names.

    By decreasing position of the first peak: the first is liquid-like, the last solid-like. Of three or more, one that
    varies over r by less than half the median of all is a residual; so is any that has no peak. Residuals come last.

    Parameters
    ----------
    bases : numpy.ndarray
        Shape (components, r).
    r : numpy.ndarray
        Shape (r,), angstrom.

    Returns
    -------
    order : numpy.ndarray
        Shape (components,): indices into ``bases``.
    labels : tuple of str
        In the new order.

    Examples
    --------
    >>> r = np.linspace(1.5, 6, 200)
    >>> peaks = [a * np.exp(-(((r - p) / 0.25) ** 2)) for p, a in ((2.46, 1), (3.0, 0.1), (2.53, 1))]
    >>> order, labels = order_components(np.array(peaks), r)
    >>> order.tolist(), labels
    ([2, 0, 1], ('liquid-like', 'solid-like', 'residual'))
    """
    bases = np.asarray(bases)
    position = find_peak(bases, r, first_peak_range(r)).position
    amplitude = bases.std(axis=1)
    residual = ~np.isfinite(position)
    if len(bases) >= 3:
        residual |= amplitude < _RESIDUAL_AMPLITUDE * np.median(amplitude)
    structural = np.flatnonzero(~residual)
    structural = structural[np.argsort(-position[structural], kind="stable")]
    rest = np.flatnonzero(residual)
    rest = rest[np.argsort(-amplitude[rest], kind="stable")]
    labels = [AVERAGE] if len(structural) == 1 else [INTERMEDIATE] * len(structural)
    if len(labels) > 1:
        labels[-1], labels[0] = SOLID, LIQUID
    if labels.count(INTERMEDIATE) > 1:
        number = iter(range(1, len(labels)))
        labels = [f"{name} {next(number)}" if name == INTERMEDIATE else name for name in labels]
    names = [RESIDUAL] if len(rest) == 1 else [f"{RESIDUAL} {i + 1}" for i in range(len(rest))]
    return np.concatenate([structural, rest]), tuple(labels + names)


def match_components(reference: np.ndarray, bases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which component of another run or sample belongs to which: the pairing of largest total correlation.

    Parameters
    ----------
    reference, bases : numpy.ndarray
        Shape (components, r), the same r.

    Returns
    -------
    order : numpy.ndarray
        ``bases[order]`` are in the order of the reference.
    correlation : numpy.ndarray
        Of each pair.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> order, correlation = match_components(np.eye(3), np.eye(3)[[2, 0, 1]])
    >>> order.tolist()
    [1, 2, 0]
    """
    from scipy.optimize import linear_sum_assignment

    reference, bases = np.asarray(reference, dtype=np.float64), np.asarray(bases, dtype=np.float64)
    if reference.shape != bases.shape or reference.ndim != 2:
        msg = f"the bases have shapes {reference.shape} and {bases.shape}; both must be (components, r) on the same r."
        raise ValueError(msg)
    k = len(reference)
    table = _correlations(reference, bases)
    order = linear_sum_assignment(-table)[1]
    return order, table[np.arange(k), order]


@dataclass(frozen=True, eq=False)
class Stability:
    """Runs from other starts and on random halves of the scan, matched to the reference.

    Attributes
    ----------
    kinds : tuple of str
        ``"restart"`` or ``"half"`` of each run.
    basis_correlation : numpy.ndarray
        Shape (runs, components), with the reference.
    weight_correlation : numpy.ndarray
        Shape (runs, components), over the PDFs of the run.
    first_peak : numpy.ndarray
        Shape (runs, components), angstrom.
    residual : numpy.ndarray
        Shape (runs,): of the factorization.
    """

    kinds: tuple[str, ...]
    basis_correlation: np.ndarray
    weight_correlation: np.ndarray
    first_peak: np.ndarray
    residual: np.ndarray


def component_stability(
    scan: CompressedScan,
    bases: np.ndarray,
    weights: np.ndarray,
    r: np.ndarray,
    *,
    n_runs: int = 5,
    seed: int | np.random.Generator = 0,
    max_iterations: int = 1000,
) -> Stability:
    """Repeat a factorization from other starts, and on two random halves of the PDFs.

    Parameters
    ----------
    scan : CompressedScan
        The PDFs.
    bases, weights : numpy.ndarray
        Shape (components, r) and (n, components): the reference that the runs are compared with.
    r : numpy.ndarray
        Shape (r,), angstrom.
    n_runs : int
        Other starts; each is a single random one.
    seed : int or numpy.random.Generator
        Of starts and halves.
    max_iterations : int
        Of each long run.

    Returns
    -------
    Stability
    """
    rng = np.random.default_rng(seed)
    n = len(scan.signed.coefficients)
    everything, shuffled = np.arange(n), rng.permutation(n)
    halves = [np.sort(shuffled[: n // 2]), np.sort(shuffled[n // 2 :])]
    runs = [("restart", everything)] * n_runs + [("half", half) for half in halves]
    rows = []
    for kind, chosen in runs:
        part = scan if kind == "restart" else scan.rows(chosen)
        n_restarts = 1 if kind == "restart" else 20
        fit = factorize_compressed(part, len(bases), n_restarts=n_restarts, max_iterations=max_iterations, seed=rng)
        types = structural_types(part, fit, r)
        order, correlation = match_components(bases, types.bases)
        pairs = zip(types.weights[:, order].T, weights[chosen].T, strict=True)
        agreement = [float(_correlations(a[np.newaxis], b[np.newaxis])[0, 0]) for a, b in pairs]
        rows.append((kind, correlation, agreement, _first_peak(types.bases[order], r), fit.residual))
    kinds, *columns = zip(*rows, strict=True)
    return Stability(kinds, *(np.array(column) for column in columns))


def residual_by_number(
    scan: CompressedScan,
    numbers: tuple[int, ...] = (1, 2, 3, 4, 5),
    *,
    seed: int | np.random.Generator = 0,
    tolerance: float = 1e-5,
    max_iterations: int = 300,
) -> dict[str, np.ndarray]:
    """Residual against the number of components.

    Parameters
    ----------
    scan : CompressedScan
        The PDFs; residuals are those of the PDFs without negative values.
    numbers : tuple of int
        Numbers of components.
    seed : int or numpy.random.Generator
        Of starts and halves.
    tolerance : float
        Of each long run, as of :func:`medrange.pdf.factorization.factorize`; the default gives three digits.
    max_iterations : int
        Of each long run.

    Returns
    -------
    dict of str to numpy.ndarray
        ``number``; ``residual``, ``|V - W H| / |V|``; ``other_half``, that of the half of the PDFs from which the
        bases were not made; ``lower_bound``, that of as many singular vectors, below which no factorization comes.
    """
    rng = np.random.default_rng(seed)
    data = scan.nonnegative
    n = len(data.coefficients)
    first = np.zeros(n, dtype=bool)
    first[rng.permutation(n)[: n // 2]] = True
    spectrum = np.linalg.eigvalsh(data.coefficients.T @ data.coefficients)[::-1]
    residual, other, bound = [], [], []
    for number in numbers:
        options = {"seed": rng, "tolerance": tolerance, "max_iterations": max_iterations}
        residual.append(factorize_compressed(scan, number, **options).residual)
        half = factorize_compressed(scan.rows(np.flatnonzero(first)), number, **options)
        # No iteration: the weights of the other half on the bases of the first.
        rest = data.rows(np.flatnonzero(~first))
        products = rest.coefficients @ (rest.axes.T @ half.bases.T)
        weights = nonnegative_least_squares(half.bases @ half.bases.T, products)
        other.append(np.sqrt(max(rest.energy - (weights * products).sum(), 0.0) / rest.energy))
        bound.append(np.sqrt(max(data.energy - spectrum[:number].sum(), 0.0) / data.energy))
    return {
        "number": np.array(numbers),
        "residual": np.array(residual),
        "other_half": np.array(other),
        "lower_bound": np.array(bound),
    }


def _unit_sum_scale(weights: np.ndarray) -> np.ndarray:
    """Factors of the columns for which the rows sum to 1, in the least-squares sense and none negative."""
    scale = nonnegative_least_squares(weights.T @ weights, weights.sum(axis=0, keepdims=True))[0]
    largest = weights.max(axis=0)
    # A component that no sum needs keeps weights up to 1.
    return np.where(scale > 0, scale, 1 / np.where(largest > 0, largest, 1.0))


def _first_peak(bases: np.ndarray, r: np.ndarray) -> np.ndarray:
    return find_peak(bases, r, first_peak_range(r)).position


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of every row of a with every row of b; 0 for a constant row."""
    parts = []
    for rows in (a, b):
        deviation = rows - rows.mean(axis=1, keepdims=True)
        norm = np.linalg.norm(deviation, axis=1, keepdims=True)
        parts.append(np.divide(deviation, norm, out=np.zeros_like(deviation), where=norm > 0))
    return parts[0] @ parts[1].T
