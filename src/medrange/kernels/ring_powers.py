"""From a ring's azimuthal bins to its means, V2D and P_n, sixteen patterns at a time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from medrange.kernels.lanes import FAST, fused, load, spread, store

#: Columns of the ring statistics before the powers P_1, P_2, ...
RADIAL_MEAN, RING_MEAN, VARIANCE, FIRST_POWER = 0, 1, 2, 3


@lru_cache(maxsize=32)
def fourier_rows(n_phi: int, n_max: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines (orders, bins of half a turn), for an even number of orders, at least n_max."""
    orders = np.arange(1, n_max + n_max % 2 + 1)[:, None]
    phi = 2 * np.pi * (np.arange((n_phi + 1) // 2) + 0.5) / n_phi
    return np.cos(orders * phi).astype(dtype), np.sin(orders * phi).astype(dtype)


@njit(nogil=True, fastmath=FAST, cache=True)
def moments(ring: np.ndarray, bins: tuple, i_k: int, folded: tuple, result: np.ndarray) -> None:
    """Means and V2D of a ring of bin means, and its deviations folded about phi = 0 and, if their number is even, pi/2.

    Deviations at +phi and -phi are added (for the cosines) and subtracted (for the sines); then those at phi and
    pi - phi: their sum lies at the first (cosines of even orders, sines of odd ones), their difference at the second.
    Where too little is open all but the first mean is NaN.
    """
    share, is_open, n_open = bins
    even, odd = folded
    n_phi = ring.shape[0]
    zero = n_open.dtype.type(0)
    total, weighted, squares = spread(zero), spread(zero), spread(zero)
    for b in range(n_phi):
        total = fused(load(ring, b), spread(is_open[i_k, b]), total)
        weighted = fused(load(ring, b), spread(share[i_k, b]), weighted)
    count = spread(n_open[i_k])
    mean = total / count
    for b in range((n_phi + 1) // 2):
        mirror = n_phi - 1 - b
        here = (load(ring, b) - mean) * spread(is_open[i_k, b])
        there = (load(ring, mirror) - mean) * spread(is_open[i_k, mirror])
        squares = fused(here, here, squares)
        if mirror == b:
            store(even, b, here)
            store(odd, b, spread(zero))
        else:
            squares = fused(there, there, squares)
            store(even, b, here + there)
            store(odd, b, here - there)
    if n_phi % 2 == 0:
        for b in range(n_phi // 4):
            mirror = n_phi // 2 - 1 - b
            for values in (even, odd):
                here, there = load(values, b), load(values, mirror)
                store(values, b, here + there)
                store(values, mirror, here - there)
    store(result, 0, weighted)
    store(result, 1, mean)
    store(result, 2, squares / (count * mean * mean))


@njit(nogil=True, fastmath=FAST, cache=True)
def powers(folded: tuple, fourier: tuple, n_phi: int, count: float, result: np.ndarray) -> None:
    """``c_n |D_n|^2/(N N_open <y>^2)`` from the folded deviations, two orders at a time; rows 3, 4, ..."""
    even, odd = folded
    cosines, sines = fourier
    zero = cosines.dtype.type(0)
    mean = load(result, 1)
    twice = n_phi % 2 == 0
    end = n_phi // 4 if twice else even.shape[0]
    inverse = spread(cosines.dtype.type(1)) / (spread(cosines.dtype.type(n_phi)) * spread(count) * mean * mean)
    for n in range(0, cosines.shape[0], 2):
        real_a, imag_a, real_b, imag_b = spread(zero), spread(zero), spread(zero), spread(zero)
        for b in range(end):
            mirror = n_phi // 2 - 1 - b if twice else b
            real_a = fused(load(even, mirror), spread(cosines[n, b]), real_a)
            imag_a = fused(load(odd, b), spread(sines[n, b]), imag_a)
            real_b = fused(load(even, b), spread(cosines[n + 1, b]), real_b)
            imag_b = fused(load(odd, mirror), spread(sines[n + 1, b]), imag_b)
        if twice and n_phi % 4:
            # The bin at pi/2 is its own mirror: cosines of odd orders and sines of even ones are 0 there.
            imag_a = fused(load(odd, end), spread(sines[n, end]), imag_a)
            real_b = fused(load(even, end), spread(cosines[n + 1, end]), real_b)
        # +n and -n count together; at n = n_phi / 2 they are the same.
        both_a = cosines.dtype.type(1 if 2 * (n + 1) == n_phi else 2)
        both_b = cosines.dtype.type(1 if 2 * (n + 2) == n_phi else 2)
        store(result, 3 + n, fused(real_a, real_a, imag_a * imag_a) * inverse * spread(both_a))
        store(result, 4 + n, fused(real_b, real_b, imag_b * imag_b) * inverse * spread(both_b))


@njit(nogil=True, fastmath=FAST, cache=True)
def mix_orders(result: np.ndarray, mixing: np.ndarray, mixed: np.ndarray) -> None:
    """Replace the first powers, rows 3, 4, ..., by ``mixing @ powers``: those over the pairs of open bins."""
    zero = mixing.dtype.type(0)
    for n in range(mixing.shape[0]):
        first, second = spread(zero), spread(zero)
        for order in range(0, mixing.shape[1] - 1, 2):
            first = fused(load(result, 3 + order), spread(mixing[n, order]), first)
            second = fused(load(result, 4 + order), spread(mixing[n, order + 1]), second)
        if mixing.shape[1] % 2:
            last = mixing.shape[1] - 1
            first = fused(load(result, 3 + last), spread(mixing[n, last]), first)
        store(mixed, n, first + second)
    for n in range(mixing.shape[0]):
        store(result, 3 + n, load(mixed, n))
