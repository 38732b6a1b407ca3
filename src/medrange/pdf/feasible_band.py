"""How far the bases of two structural types are determined by the data: the band of all that fit.

Two non-negative factors of the same data can be drawn apart until a weight or a basis turns negative: peak
positions and fractions of a factorization are one choice out of a band. See [Kang2024]_ for the method whose answers
it bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medrange.pdf.compression import CompressedScan
from medrange.pdf.latent import principal_components
from medrange.pdf.normalization import first_peak_range
from medrange.pdf.peaks import find_peak

# Points between the ends of the band where the first peak is looked at.
_STEPS = 33
# Around the first peak of the mean; the second begins at some 1.5 times its distance.
_WINDOW = (0.75, 1.3)


@dataclass(frozen=True, eq=False)
class FeasibleBand:
    """Pairs of bases, ``mean + alpha PC1``, that explain the data; liquid-like first, solid-like second.

    Attributes
    ----------
    first_peak : numpy.ndarray
        Shape (2, 2): smallest and largest position of the first peak of each type, angstrom.
    liquid_fraction : tuple of float
        Smallest and largest mean fraction of the liquid-like type.
    bases : numpy.ndarray
        Shape (2, 2, r): of each type the inner end (purest PDFs measured) and the outer end (non-negativity).
    reliability : float
        Share of the variance of the first component that is not noise, by the second eigenvalue; near 0 where there
        is nothing but noise.
    """

    first_peak: np.ndarray
    liquid_fraction: tuple[float, float]
    bases: np.ndarray
    reliability: float


def feasible_band(
    scan: CompressedScan, r: np.ndarray, *, percentiles: tuple[float, float] = (1.0, 99.0)
) -> FeasibleBand:
    """Band of first-peak positions and fractions that two structural types can have.

    The inner ends are the percentiles of the scores times their reliability, which is the score to expect without
    noise: no type can be less pure than the purest PDFs measured. The outer ends are where a basis, raised by the
    smallest value of the data, becomes negative. Every pair between fits the data equally well.

    Parameters
    ----------
    scan : CompressedScan
        Its signed PDFs.
    r : numpy.ndarray
        Shape (r,), angstrom.
    percentiles : tuple of float
        What counts as the purest measured.

    Returns
    -------
    FeasibleBand

    Examples
    --------
    >>> from medrange.pdf.compression import array_blocks, compress
    >>> r, w = np.linspace(1.5, 6, 200), np.linspace(0, 1, 100)[:, None]
    >>> first, second = (np.exp(-(((r - p) / 0.25) ** 2)) - 0.2 for p in (2.53, 2.46))
    >>> band = feasible_band(compress(array_blocks(w * first + (1 - w) * second), 100, r), r)
    >>> bool(band.first_peak[0, 0] <= 2.53 <= band.first_peak[0, 1])
    True
    """
    leading = principal_components(scan, r)
    share = leading.explained
    noise = share[1] / share[0] if len(share) > 1 else 0.0
    reliability = float(max(0.0, 1.0 - noise))
    mean, component = leading.mean, leading.components[0]
    low, high = np.percentile(leading.scores[:, 0], percentiles) * reliability
    # Outer ends: mean + alpha component - minimum stays non-negative.
    room = np.maximum(mean - scan.minimum, 0)
    outer_high, outer_low = (_limit(room, sign * component) for sign in (1, -1))
    liquid, solid = (high, max(high, outer_high)), (-low, max(-low, outer_low))
    ends = [
        mean + np.multiply.outer(np.linspace(*span, _STEPS), sign * component)
        for span, sign in ((liquid, 1), (solid, -1))
    ]
    positions = find_peak(np.array(ends), r, window_around_first_peak(mean, r)).position
    fractions = [s / (a + s) if a + s > 0 else np.nan for a in liquid for s in solid]
    return FeasibleBand(
        first_peak=np.array([_span(own) for own in positions]),
        liquid_fraction=(float(np.min(fractions)), float(np.max(fractions))),
        bases=np.array([[end[0], end[-1]] for end in ends]),
        reliability=reliability,
    )


def _span(positions: np.ndarray) -> tuple[float, float]:
    """Smallest and largest position; NaN where no curve has a first peak."""
    found = positions[np.isfinite(positions)]
    return (float(found.min()), float(found.max())) if found.size else (np.nan, np.nan)


def window_around_first_peak(mean: np.ndarray, r: np.ndarray) -> tuple[float, float]:
    """Distances from 0.75 to 1.3 of the first peak of a mean PDF, so that no other peak is taken for it.

    Parameters
    ----------
    mean, r : numpy.ndarray
        Shape (r,): the PDF, and the distances in angstrom.

    Returns
    -------
    tuple of float
        All distances where the mean has no peak.
    """
    first = float(find_peak(mean, r, first_peak_range(r)).position)
    if not np.isfinite(first):
        return first_peak_range(r)
    return max(float(r[0]), _WINDOW[0] * first), min(float(r[-1]), _WINDOW[1] * first)


def _limit(room: np.ndarray, direction: np.ndarray) -> float:
    # Where a direction is only rounding it sets no limit.
    falling = direction < -1e-6 * np.abs(direction).max()
    return float((room[falling] / -direction[falling]).min()) if falling.any() else 0.0
