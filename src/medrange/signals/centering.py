"""Mean pattern of a scan, and the center, the ellipse and the k scale found in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import dask
import dask.array as da
import numpy as np

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.center import direct_beam_center, friedel_center, ring_center
from medrange.kernels.ellipse import ring_ellipse
from medrange.kernels.paired import add_pair, merged, paired_sum
from medrange.kernels.ring_shape import ring_radius
from medrange.kernels.rings import polar_means
from medrange.signals import calibration
from medrange.signals.descan import scan_shifts
from medrange.signals.mapping import Output, map_frames

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

# Pixels between the direct beam and the center of symmetry, which is known to about one.
_SYMMETRY_TOLERANCE = 5.0
_MAX_ROUNDS = 20
_SCALE_TOLERANCE = 1e-6
# Patterns of eager data taken at a time.
_PART = 512


def sampled_patterns(signal: BaseSignal, *, max_patterns: int) -> Iterator[np.ndarray]:
    """About ``max_patterns`` patterns spread evenly over the scan, in parts (n, rows, cols).

    Of lazy data whole chunks are read, as few as hold that many patterns, one after the other.
    """
    for _, part in _sampled(signal.data, max_patterns):
        yield (part.compute() if isinstance(part, da.Array) else part).reshape(-1, *part.shape[-2:])


def _sampled(data: np.ndarray | da.Array, max_patterns: int) -> Iterator[tuple[np.ndarray, np.ndarray | da.Array]]:
    """Numbers of the scan positions (n,), and their patterns (..., rows, cols): one chunk each of lazy data."""
    if max_patterns < 1:
        msg = f"max_patterns is {max_patterns}; at least one pattern is needed."
        raise ValueError(msg)
    numbers = np.arange(int(np.prod(data.shape[:-2])))
    if not isinstance(data, da.Array):
        frames = data.reshape(-1, *data.shape[-2:])
        step = max(1, len(frames) // max_patterns)
        for start in range(0, len(frames), step * _PART):
            own = slice(start, start + step * _PART, step)
            yield numbers[own], frames[own]
        return
    blocks = list(np.ndindex(data.numblocks[:-2]))
    per_block = np.prod(data.shape[:-2]) / len(blocks)
    wanted = min(len(blocks), max(1, round(max_patterns / per_block)))
    edges = [np.concatenate([[0], np.cumsum(chunks)]) for chunks in data.chunks[:-2]]
    for i in np.unique(np.linspace(0, len(blocks) - 1, wanted).round().astype(int)):
        own = tuple(slice(edge[j], edge[j + 1]) for edge, j in zip(edges, blocks[i], strict=True))
        yield numbers.reshape(data.shape[:-2])[own].ravel(), data.blocks[blocks[i]] if blocks[i] else data


def _summed(
    signal: BaseSignal, is_open: np.ndarray, *, max_patterns: int, shifts: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`aligned_sums` of the sampled patterns; chunks of lazy data side by side, on a cluster by its workers."""
    function = partial(aligned_sums, is_open=is_open)
    outputs = [Output(is_open.shape, np.float64, is_sum=True, keeps_rest=rest) for rest in (True, False)]
    sums = []
    for numbers, part in _sampled(signal.data, max_patterns):
        own = None if shifts is None else shifts.reshape(-1, 2)[numbers].reshape(*part.shape[:-2], 2)
        sums.append(map_frames(part, function, outputs, shifts=own))
    (sums,) = dask.compute(sums)
    totals, counts = zip(*sums, strict=True)
    return merged(totals)[0], sum(counts)


def mean_pattern(signal: BaseSignal, *, max_patterns: int) -> np.ndarray:
    """Mean of :func:`sampled_patterns` as the detector saw them, (rows, cols) in float64."""
    total, count = _summed(signal, np.ones(signal.data.shape[-2:], bool), max_patterns=max_patterns)
    return total / count


def aligned_mean(signal: BaseSignal, *, max_patterns: int) -> tuple[np.ndarray, DiffractionGeometry]:
    """Mean pattern with the descan taken out by whole pixels, and its geometry: what no pattern saw is masked.

    Without descan it is :func:`mean_pattern` and the signal's geometry.
    """
    geometry, shifts = signal.geometry, scan_shifts(signal)
    if shifts is None:
        return mean_pattern(signal, max_patterns=max_patterns), geometry
    total, count = _summed(signal, open_pixels(geometry), max_patterns=max_patterns, shifts=shifts)
    return mean_of_sums(total, count), replace(geometry, mask=count == 0)


def open_pixels(geometry: DiffractionGeometry) -> np.ndarray:
    """Which detector pixels are not masked, (rows, cols)."""
    return np.ones(geometry.shape, bool) if geometry.mask is None else ~geometry.mask


def aligned_sums(
    patterns: np.ndarray, shifts: np.ndarray | None = None, *, is_open: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum of patterns shifted back by whole pixels, of their shifts (n, 2), and how many of them saw each pixel.

    The sum is the pair (2, rows, cols) of :func:`medrange.kernels.paired.paired_sum`, the same however a scan is cut.
    """
    frames = patterns.reshape(-1, *is_open.shape)
    whole = np.zeros((len(frames), 2), int) if shifts is None else np.rint(shifts).astype(int)
    total, count = np.zeros((2, *is_open.shape)), np.zeros(is_open.shape)
    for shift in np.unique(whole, axis=0):
        is_own = (whole == shift).all(axis=1)
        own = frames if is_own.all() else frames[is_own]
        summed = np.where(is_open, paired_sum(own), 0)
        # The pixel at p + shift of the detector is the pixel p of the mean.
        pairs = [_overlap(size, int(by)) for size, by in zip(is_open.shape, shift, strict=True)]
        here, there = zip(*pairs, strict=True)
        add_pair(total[:, *here], summed[:, *there])
        count[here] += len(own) * is_open[there]
    return total, count


def mean_of_sums(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Mean pattern; 0 where no pattern saw anything."""
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def _overlap(size: int, by: int) -> tuple[slice, slice]:
    """Pixels p of an axis for which p + by lies on it too, and those."""
    return slice(max(0, -by), max(0, min(size, size - by))), slice(max(0, by), max(0, min(size, size + by)))


def find_center(
    signal: BaseSignal, method: str, *, k: float | None, width: float | None, max_patterns: int
) -> tuple[float, float]:
    """Center (row, col) of the patterns by ``"direct_beam"``, ``"friedel"`` or ``"ring"``.

    Raises
    ------
    ValueError
        For an unknown method, a ring without k and width, or a center that cannot be found.
    """
    if method not in ("direct_beam", "friedel", "ring"):
        msg = f"method is {method!r}; use 'direct_beam', or 'friedel' or 'ring' when the beam is blocked or saturated."
        raise ValueError(msg)
    mask = calibration.window_mask(signal)
    pattern = mean_pattern(signal, max_patterns=max_patterns)
    if method == "direct_beam":
        center = direct_beam_center(pattern, mask)
        _check_symmetry(center, pattern, mask)
        return _less_shift(signal, center)
    if method == "friedel":
        return _less_shift(signal, friedel_center(pattern, mask))
    if k is None or width is None:
        msg = "the ring method needs the ring: fit_center(method='ring', k=4.0, width=1.5), in the k axes' units."
        raise ValueError(msg)
    scale, units = calibration.k_scale(signal)
    guess = calibration.pixel_center(signal) or friedel_center(pattern, mask)
    ellipse = calibration.stored_ellipse(signal)
    geometry = DiffractionGeometry(pattern.shape, guess, scale, units, ellipse, mask)
    return _less_shift(signal, ring_center(pattern, geometry, k=k, width=width))


def _less_shift(signal: BaseSignal, center: tuple[float, float]) -> tuple[float, float]:
    """Center at the middle of the descan's extent, from that of the mean pattern."""
    shifts = scan_shifts(signal)
    if shifts is None:
        return center
    row, col = center - shifts.mean(axis=(0, 1))
    return float(row), float(col)


def find_ellipse(signal: BaseSignal, *, k: float, width: float, max_patterns: int) -> tuple[float, float]:
    """Axis ratio and angle of the ring in the mean pattern; see :func:`medrange.kernels.ellipse.ring_ellipse`."""
    pattern, geometry = aligned_mean(signal, max_patterns=max_patterns)
    return ring_ellipse(pattern, geometry, k=k, width=width)


def find_k_step(signal: BaseSignal, *, k: float, width: float, max_patterns: int) -> float:
    """Size of a pixel that puts the ring found near k at k.

    Raises
    ------
    ValueError
        If no ring is found, or its radius does not come to rest.
    """
    pattern, geometry = aligned_mean(signal, max_patterns=max_patterns)
    pattern = pattern[None]
    for _ in range(_MAX_ROUNDS):
        band = PolarGrid.band(k, width, 1)
        # Half a pixel per ring: the ring of a polycrystal is a few pixels wide.
        grid = replace(band, n_k=max(12, round(2 * width / geometry.k_step)))
        found = ring_radius(polar_means(pattern, geometry, grid)[0, :, 0], grid.k)
        geometry = replace(geometry, k_step=geometry.k_step * k / found)
        if abs(found / k - 1) < _SCALE_TOLERANCE:
            return geometry.k_step
    msg = (
        f"the ring near k = {k:g} {geometry.k_units} does not come to rest (last at {found:.5g}); give a width that "
        "holds one ring, or a better first k_step with calibrate(k_step=...)."
    )
    raise ValueError(msg)


def _check_symmetry(center: tuple[float, float], pattern: np.ndarray, mask: np.ndarray | None) -> None:
    """Refuse a brightest spot that is not the pattern's center of symmetry: the beam is then blocked."""
    middle = (np.array(pattern.shape) - 1) / 2
    if (np.abs(center - middle) > 0.2 * np.array(pattern.shape)).any():
        return  # too little of the pattern has a counterpart to judge by
    symmetry = friedel_center(pattern, mask)
    apart = float(np.hypot(*(np.array(center) - symmetry)))
    if apart > _SYMMETRY_TOLERANCE:
        msg = (
            f"the brightest spot, at row {center[0]:.1f}, column {center[1]:.1f}, lies {apart:.1f} px from the "
            f"pattern's center of symmetry, row {symmetry[0]:.1f}, column {symmetry[1]:.1f}: the direct beam seems to "
            "be blocked. Use fit_center(method='ring', k=..., width=...), or set_center((row, col))."
        )
        raise ValueError(msg)
