"""What a mask and the detector's edge leave of the bins of patterns whose center moves, and statistics without it.

Which pixels are closed depends on the whole pixels of a shift alone, and how much of a bin they hide is then a bilinear
form of the place in the cell of centers. So it is worked out once for all patterns that share both, for those bins that
are cut, in float64.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from medrange.kernels.angular import sign_counts
from medrange.kernels.lanes import FAST, LANES, aligned_lanes, fill_lanes, fused, load, spread, store
from medrange.kernels.polar import LEAST_OPEN, NEAR
from medrange.kernels.ring_powers import FIRST_POWER


@njit(nogil=True, cache=True)
def closed_bits(is_closed: np.ndarray, offsets: np.ndarray, blocks: np.ndarray, width: int) -> np.ndarray:
    """Closed pixels of each block at each shift by whole pixels, (shifts, blocks): bit p for pixel p of the block.

    ``is_closed`` is of the detector, (rows, cols); what lies off it is closed.
    """
    n_rows, n_cols = is_closed.shape
    every = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - width)
    one = np.uint64(1)
    # From each column on, with as many columns more for blocks over the left edge.
    ahead = np.empty((n_rows, n_cols + width), dtype=np.uint64)
    for row in range(n_rows):
        bits = every
        for col in range(n_cols + width - 1, -1, -1):
            shut = col < width or is_closed[row, col - width]
            bits = ((bits << one) | (one if shut else np.uint64(0))) & every
            ahead[row, col] = bits
    out = np.empty((len(offsets), len(blocks)), dtype=np.uint64)
    for u in range(len(offsets)):
        for i in range(len(blocks)):
            row, col = blocks[i, 0] + offsets[u, 0], blocks[i, 1] + offsets[u, 1] + width
            on = 0 <= row < n_rows and 0 <= col < n_cols + width
            out[u, i] = ahead[row, col] if on else every
    return out


@njit(nogil=True, cache=True)
def cut_bins(bits: np.ndarray, off: np.ndarray, cell: tuple, width: int, shape: tuple) -> tuple:
    """Bins that hold closed pixels at each shift by whole pixels, and what is open of them.

    Parameters
    ----------
    bits, off : numpy.ndarray
        Closed pixels, and those off the detector (of no length if none are), of :func:`closed_bits`.
    cell : CellRows
        Rows of the cell.
    width : int
        Pixels of a block.
    shape : tuple of int
        Rings and bins of a ring.

    Returns
    -------
    tuple of numpy.ndarray
        Pointers (shifts, n_k + 1), bins within their ring, open shares (n, 4) as the weights of
        :class:`medrange.kernels.shifted_rows.ShiftedRows`, and the same of what lies on the detector (n or 0, 4).
    """
    users, rows = cell[3:]
    n_k, n_phi = shape
    first = np.zeros((len(bits), n_k + 1), dtype=np.int64)
    is_cut = np.zeros(n_k * n_phi, dtype=np.bool_)
    bins, n = np.empty(1024, dtype=np.int32), 0
    for u in range(len(bits)):
        is_cut[:] = False
        for i in range(bits.shape[1]):
            closed = bits[u, i]
            p = i * width
            while closed:
                if closed & np.uint64(1):
                    for k in range(users[p], users[p + 1]):
                        is_cut[rows[k]] = True
                closed >>= np.uint64(1)
                p += 1
        if n + is_cut.size > bins.size:
            more = np.empty(2 * bins.size + is_cut.size, dtype=np.int32)
            more[:n] = bins[:n]
            bins = more
        first[u, 0] = n
        for i_k in range(n_k):
            for b in range(n_phi):
                if is_cut[i_k * n_phi + b]:
                    bins[n] = b
                    n += 1
            first[u, i_k + 1] = n
    bins = bins[:n].copy()
    shares = np.zeros((n, 4))
    fulls = np.zeros((n if len(off) else 0, 4))
    _add_open(bits, cell, width, shape, first, bins, shares)
    if len(off):
        _add_open(off, cell, width, shape, first, bins, fulls)
    return first, bins, shares, fulls


@njit(nogil=True, cache=True)
def _add_open(bits, cell, width, shape, first, bins, out):  # noqa: ANN001, ANN202
    """Sums of the weights of open pixels, for each bin of the list."""
    indptr, places, weights = cell[0], cell[1], cell[2]
    n_k, n_phi = shape
    # Blocks are 16, 32 or 64 pixels wide.
    shift, within = (4 if width == 16 else 5 if width == 32 else 6), width - 1
    for u in range(len(first)):
        for i_k in range(n_k):
            for e in range(first[u, i_k], first[u, i_k + 1]):
                row = i_k * n_phi + bins[e]
                w, w_t, w_s, w_ts = 0.0, 0.0, 0.0, 0.0
                for j in range(indptr[row], indptr[row + 1]):
                    closed = bits[u, places[j] >> shift] >> np.uint64(places[j] & within)
                    if not closed & np.uint64(1):
                        w += weights[j, 0]
                        w_t += weights[j, 1]
                        w_s += weights[j, 2]
                        w_ts += weights[j, 3]
                out[e, 0], out[e, 1], out[e, 2], out[e, 3] = w, w_t, w_s, w_ts


@njit(nogil=True, cache=True)
def is_cut_ring(which: np.ndarray, first: np.ndarray, i_k: int) -> bool:
    """Whether one of 16 patterns has a bin in the ring that holds closed pixels."""
    is_cut = False
    for lane in range(LANES):
        is_cut |= first[which[lane], i_k] < first[which[lane], i_k + 1]
    return is_cut


def ring_state(n_phi: int, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Room for what :func:`open_ring` finds."""
    n_lags = -(-(n_phi // 2 + 1) // LANES) * LANES
    radial, scale, gains, single = (aligned_lanes(n, dtype) for n in (1, 1, n_lags, n_lags))
    closed, n_closed = np.empty((LANES, n_phi), dtype=np.int64), np.empty(LANES, dtype=np.int64)
    work = (np.empty(n_phi, dtype=np.int64), np.empty(n_lags, dtype=np.int64))
    single[:] = 0
    return radial, scale, gains, np.empty(LANES, dtype=bool), closed, n_closed, single.reshape(LANES, n_lags), work


@njit(nogil=True, fastmath=FAST, cache=True)
def open_ring(ring, i_k, own, cuts, areas, state):  # noqa: ANN001, ANN201
    """From sums over the open pixels to means; closed bins are given the mean of the others, in place.

    ``state`` is then, for each of the 16 patterns: the mean over the open area, n_phi over the number of open bins,
    gains of the pairs at each lag (see :func:`correct_pairs`), and whether some bins are closed, not all; the rest of
    it is room to work in. Patterns without closed pixels keep their bits. Returns whether pairs must be corrected in
    one of them.
    """
    of_ring = areas[1]
    radial, scale, gains, is_partly, closed, n_closed, single, work = state
    n_phi = of_ring.shape[1]
    zero = ring.dtype.type(0)
    total = spread(zero)
    for b in range(n_phi):
        total = fused(load(ring, b), spread(of_ring[i_k, b]), total)
    store(radial, 0, total)
    _open_bins(ring, i_k, own, cuts, areas, radial, (closed, n_closed))
    total = spread(zero)
    for b in range(n_phi):
        total = total + load(ring, b)
    store(scale, 0, total)
    latest = -1
    for lane in range(LANES):
        n = n_closed[lane]
        n_open = n_phi - n
        mean = scale[0, lane] / n_open if n_open else np.nan
        for i in range(n):
            ring[closed[lane, i], lane] = mean
        scale[0, lane] = n_phi / n_open if n_open else np.nan
        is_partly[lane] = 0 < n < n_phi
        if is_partly[lane]:
            # Patterns in the order of their shifts: most often the same bins are closed as in the last one.
            same = latest >= 0 and n_closed[latest] == n
            for i in range(n if same else 0):
                same &= closed[lane, i] == closed[latest, i]
            if same:
                for d in range(single.shape[1]):
                    single[lane, d] = single[latest, d]
            else:
                _pair_gains(closed, n, lane, n_phi, single, work)
            latest = lane
    if latest >= 0:
        for d in range(0, gains.shape[0], LANES):
            fill_lanes(single, 0, d, gains, d)
    return latest >= 0


@njit(nogil=True, cache=True)
def _open_bins(ring, i_k, own, cuts, areas, radial, shut):  # noqa: ANN001, ANN202
    """Means of the cut bins, 0 for closed ones, and the means over the open area; which bins are closed."""
    which, blend = own
    first, bins, shares, fulls = cuts
    area, whole = areas[0], areas[2][i_k]
    closed, n_closed = shut
    n_phi = area.shape[1]
    for lane in range(LANES):
        begin, end = first[which[lane], i_k], first[which[lane], i_k + 1]
        n = 0
        if begin < end:
            t, s, ts = np.float64(blend[0, lane]), np.float64(blend[1, lane]), np.float64(blend[2, lane])
            covered, hidden = 0.0, 0.0
            for e in range(begin, end):
                b = bins[e]
                share = max(shares[e, 0] + t * shares[e, 1] + s * shares[e, 2] + ts * shares[e, 3], 0.0)
                full = 1.0
                if len(fulls):
                    full = fulls[e, 0] + t * fulls[e, 1] + s * fulls[e, 2] + ts * fulls[e, 3]
                covered += share * area[i_k, b]
                hidden += area[i_k, b]
                enough = share >= (LEAST_OPEN - NEAR) * full or (full - share) * area[i_k, b] <= 1 + NEAR
                if share > 0 and enough:
                    ring[b, lane] = ring[b, lane] / share
                else:
                    ring[b, lane] = 0
                    closed[lane, n] = b
                    n += 1
            # A ring that is cut all round keeps no rounding of the difference.
            covered += whole - hidden if end - begin < n_phi else 0.0
            radial[0, lane] = radial[0, lane] * whole / covered if covered > 0 else np.nan
        n_closed[lane] = n


@njit(nogil=True, cache=True)
def _pair_gains(closed, n_closed, lane, n_phi, gains, work):  # noqa: ANN001, ANN202
    """Open bins over pairs of them, at lags 0 .. n_phi / 2, counted twice where -lag is another; 0 without a pair."""
    n_open = n_phi - n_closed
    n_lags = n_phi // 2 + 1
    few, pairs = work
    for d in range(n_lags):
        pairs[d] = 0
    # Pairs of open bins from those of closed ones, or the other way round: whichever are fewer.
    n, base, i = 0, 0, 0
    if n_closed <= n_open:
        n, base = n_closed, n_phi - 2 * n_closed
        for k in range(n):
            few[k] = closed[lane, k]
    else:
        for b in range(n_phi):
            if i < n_closed and closed[lane, i] == b:
                i += 1
            else:
                few[n] = b
                n += 1
    for i in range(n):
        for j in range(i):
            d = few[i] - few[j]
            pairs[min(d, n_phi - d)] += 1
    # At half a turn a pair is one both ways, at none each bin is its own.
    pairs[0] += n
    if n_phi % 2 == 0:
        pairs[n_lags - 1] *= 2
    for d in range(n_lags):
        count = pairs[d] + base
        gains[lane, d] = 2 * n_open / max(count, 1) if count > 0 else 0.0
    gains[lane, 0] /= 2
    if n_phi % 2 == 0:
        gains[lane, n_lags - 1] /= 2


@njit(nogil=True, fastmath=FAST, cache=True)
def correct_pairs(result, n_phi, tables, state, lags):  # noqa: ANN001, ANN201
    """Power of rings with closed bins from the pairs of open ones, in place, in those patterns that need it.

    The powers of all orders, rows 3, 4, ..., give the correlation at each lag; that is weighted with the inverse share
    of its pairs and turned back, as by :func:`medrange.kernels.angular.pair_correction`. Where the number of bins is
    even, lags d and n_phi/2 - d differ in the sign of the odd orders only.
    """
    there, back = tables
    gains, is_partly = state[2], state[3]
    n_orders = n_phi // 2
    twice = n_phi % 2 == 0
    end = n_orders // 2 + 1 if twice else n_orders + 1
    _correlate(result, there, end, lags)
    for d in range(end):
        even, odd = load(lags, 2 * d), load(lags, 2 * d + 1)
        here = (even + odd) * load(gains, d)
        mirror = n_orders - d if twice else d
        beyond = (even - odd) * load(gains, mirror)
        store(lags, 2 * d, here + beyond if mirror != d else here)
        store(lags, 2 * d + 1, here - beyond if mirror != d else here)
    every = True
    for lane in range(LANES):
        every &= is_partly[lane]
    zero = back.dtype.type(0)
    n_max = back.shape[1]
    for n in range(0, n_max, 2):
        after = min(n + 1, n_max - 1)
        first, second = spread(zero), spread(zero)
        for d in range(end):
            first = first + load(lags, 2 * d + 1) * spread(back[d, n])
            second = second + load(lags, 2 * d) * spread(back[d, after])
        if every:
            store(result, FIRST_POWER + n, first)
            store(result, FIRST_POWER + n + 1, second)
        else:
            store(lags, 2 * end, first)
            store(lags, 2 * end + 1, second)
            for lane in range(LANES):
                if is_partly[lane]:
                    result[FIRST_POWER + n, lane] = lags[2 * end, lane]
                    result[FIRST_POWER + n + 1, lane] = lags[2 * end + 1, lane]


@njit(nogil=True, fastmath=FAST, cache=True)
def _correlate(result, cosines, end, lags):  # noqa: ANN001, ANN202
    """Correlation at the lags before ``end``, even orders in rows 0, 2, ... and odd ones in rows 1, 3, ..."""
    zero = cosines.dtype.type(0)
    # Four lags at a time: one alone would wait for its own last sum.
    for d in range(0, end, 4):
        odd_0, odd_1, odd_2, odd_3 = spread(zero), spread(zero), spread(zero), spread(zero)
        even_0, even_1, even_2, even_3 = spread(zero), spread(zero), spread(zero), spread(zero)
        for n in range(0, cosines.shape[1], 2):
            odd, even = load(result, FIRST_POWER + n), load(result, FIRST_POWER + n + 1)
            odd_0 = odd_0 + odd * spread(cosines[d, n])
            odd_1 = odd_1 + odd * spread(cosines[d + 1, n])
            odd_2 = odd_2 + odd * spread(cosines[d + 2, n])
            odd_3 = odd_3 + odd * spread(cosines[d + 3, n])
            even_0 = even_0 + even * spread(cosines[d, n + 1])
            even_1 = even_1 + even * spread(cosines[d + 1, n + 1])
            even_2 = even_2 + even * spread(cosines[d + 2, n + 1])
            even_3 = even_3 + even * spread(cosines[d + 3, n + 1])
        store(lags, 2 * d, even_0)
        store(lags, 2 * d + 1, odd_0)
        store(lags, 2 * d + 2, even_1)
        store(lags, 2 * d + 3, odd_1)
        store(lags, 2 * d + 4, even_2)
        store(lags, 2 * d + 5, odd_2)
        store(lags, 2 * d + 6, even_3)
        store(lags, 2 * d + 7, odd_3)


def pair_tables(n_phi: int, n_max: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Cosines (lags, orders) from powers to correlations, and back to the first ``n_max`` powers.

    Lags are filled up to whole fours, and orders to an even number, with 0.
    """
    n_orders = n_phi // 2
    cosines = np.cos(2 * np.pi / n_phi * np.outer(np.arange(n_orders + 1), np.arange(1, n_orders + 1)))
    there = np.zeros((-(-(n_orders + 1) // 4) * 4, n_orders + n_orders % 2), dtype=dtype)
    there[: n_orders + 1, :n_orders] = cosines
    return there, (cosines * sign_counts(n_phi) / n_phi)[:, :n_max].astype(dtype)
