"""Non-negative least squares for very many short problems that share one matrix.

Every subset of the unknowns (an active set of Lawson and Hanson's method, [Lawson1995]_ in references.bib) is tried,
so that the answer is exact; the inverses of all subsets are made once.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
from numba import njit

from medrange.working import available_cores

#: Most unknowns per problem: the number of subsets doubles with each.
MAX_UNKNOWNS = 8
# Rows that are added up in one thread: sums do not depend on how many threads there are.
_PART_ROWS = 16384
# Sums may be taken in another order, so that several terms are added at once; NaN and infinity stay what they are.
_REORDER = {"reassoc", "contract"}


@njit(cache=True, nogil=True)
def _solve(inverses: np.ndarray, members: np.ndarray, product: np.ndarray, trial: np.ndarray, out: np.ndarray) -> None:
    k = product.size
    best = 0.0
    out[:] = 0.0
    for s in range(members.shape[0]):
        feasible = True
        # How much of the sum of squares the subset explains, were it solved exactly.
        explained = 0.0
        for p in range(k):
            trial[p] = 0.0
            if members[s, p]:
                value = 0.0
                for q in range(k):
                    value += inverses[s, p, q] * product[q]
                if not value >= 0.0:
                    feasible = False
                    break
                trial[p] = value
                explained += value * product[p]
        if feasible and explained > best:
            best = explained
            out[:] = trial
            # Nothing is better than the solution without any bound.
            if s == 0:
                break


@njit(cache=True, nogil=True)
def _solve_rows(inverses: np.ndarray, members: np.ndarray, products: np.ndarray, out: np.ndarray) -> None:
    trial = np.empty(products.shape[1])
    for i in range(products.shape[0]):
        _solve(inverses, members, products[i], trial, out[i])


@njit(cache=True, nogil=True, fastmath=_REORDER)
def _solve_and_sum(
    inverses: np.ndarray,
    members: np.ndarray,
    rows: np.ndarray,
    projected: np.ndarray,
    gram: np.ndarray,
    sums: np.ndarray,
) -> None:
    k, q = projected.shape
    trial, weights, product = np.empty(k), np.empty(k), np.empty(k)
    # Memory of this thread alone: the sums of other parts lie close by, and cores would wait for each other's writing.
    own_gram, own_sums = np.zeros_like(gram), np.zeros_like(sums)
    for i in range(rows.shape[0]):
        for p in range(k):
            value = 0.0
            for j in range(q):
                value += rows[i, j] * projected[p, j]
            product[p] = value
        _solve(inverses, members, product, trial, weights)
        for p in range(k):
            for j in range(q):
                own_sums[p, j] += weights[p] * rows[i, j]
            for other in range(k):
                own_gram[p, other] += weights[p] * weights[other]
    gram += own_gram
    sums += own_sums


def nonnegative_least_squares(gram: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Non-negative weights x that minimize ``|v - x B|^2`` for every row v.

    Parameters
    ----------
    gram : numpy.ndarray
        Shape (k, k): ``B B^T`` of the k bases.
    products : numpy.ndarray
        Shape (n, k): ``v B^T`` of each row. Rows with NaN give NaN.

    Returns
    -------
    numpy.ndarray
        Shape (n, k), float64.

    Raises
    ------
    ValueError
        If there are more than 8 bases, or the shapes do not fit.

    Examples
    --------
    >>> bases = np.array([[1.0, 0.0], [1.0, 1.0]])
    >>> nonnegative_least_squares(bases @ bases.T, np.array([[0.0, 1.0]]) @ bases.T).tolist()
    [[0.0, 0.5]]
    """
    gram, products = np.asarray(gram, dtype=np.float64), np.asarray(products, dtype=np.float64)
    k = gram.shape[0]
    if gram.shape != (k, k) or products.ndim != 2 or products.shape[1] != k:
        msg = f"gram {gram.shape} and products {products.shape} do not fit; they must be (k, k) and (n, k)."
        raise ValueError(msg)
    out = np.empty(products.shape)
    _solve_rows(*_subsets(gram), np.ascontiguousarray(products), out)
    out[~np.isfinite(products).all(axis=1)] = np.nan
    return out


def weight_sums(gram: np.ndarray, rows: np.ndarray, projected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the rows that an update of the bases needs, from one pass and without keeping the weights.

    Parameters
    ----------
    gram : numpy.ndarray
        Shape (k, k): ``B B^T`` of the bases.
    rows : numpy.ndarray
        Shape (n, q): rows v in some orthonormal axes.
    projected : numpy.ndarray
        Shape (k, q): the bases in the same axes.

    Returns
    -------
    tuple of numpy.ndarray
        ``sum x^T x`` (k, k) and ``sum x^T v`` (k, q), with x the weights of :func:`nonnegative_least_squares`.
    """
    k, q = projected.shape
    starts = range(0, max(1, len(rows)), _PART_ROWS)
    totals, sums = np.zeros((len(starts), k, k)), np.zeros((len(starts), k, q))
    subsets, projected = _subsets(gram), np.ascontiguousarray(projected)

    def add(part: int) -> None:
        own = rows[starts[part] : starts[part] + _PART_ROWS]
        _solve_and_sum(*subsets, own, projected, totals[part], sums[part])

    if len(starts) == 1:
        add(0)
    else:
        with ThreadPoolExecutor(min(len(starts), available_cores())) as pool:
            deque(pool.map(add, range(len(starts))), maxlen=0)
    return totals.sum(axis=0), sums.sum(axis=0)


def _subsets(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of the Gram matrix of every subset of the unknowns, and its members; all unknowns first."""
    k = len(gram)
    if k > MAX_UNKNOWNS:
        msg = f"{k} bases were given; at most {MAX_UNKNOWNS} can be fitted at once."
        raise ValueError(msg)
    members = np.array(sorted(product((True, False), repeat=k), key=lambda row: -sum(row))[:-1])
    inverses = np.zeros((len(members), k, k))
    for inverse, chosen in zip(inverses, members, strict=True):
        inverse[np.ix_(chosen, chosen)] = np.linalg.pinv(gram[np.ix_(chosen, chosen)], hermitian=True)
    return inverses, members
