"""Bad detector pixels of a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medrange.geometry import DiffractionGeometry
from medrange.kernels.bad_pixels import bad_pixels
from medrange.kernels.center import friedel_center
from medrange.kernels.paired import add_pair, normalized
from medrange.kernels.pixel_sums import pixel_sums, pixel_variance
from medrange.signals import calibration
from medrange.signals.centering import sampled_patterns

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal


def find_bad_pixels(signal: BaseSignal, *, threshold: float, max_patterns: int) -> np.ndarray:
    """Mask of a scan, True = excluded: its bad pixels, and those already masked.

    See :func:`medrange.kernels.bad_pixels.bad_pixels`. Radii are taken from the signal's center and ellipse, or,
    where no center is set, from the center of symmetry of the mean pattern.
    """
    sums, count = np.zeros((2, 2, *signal.data.shape[-2:])), 0
    for part in sampled_patterns(signal, max_patterns=max_patterns):
        add_pair(sums, pixel_sums(part))
        count += len(part)
    variance, mean = pixel_variance(normalized(sums), count)
    mask = calibration.window_mask(signal)
    center = calibration.pixel_center(signal) or friedel_center(mean, mask)
    in_pixels = DiffractionGeometry(mean.shape, center, 1.0, "px", calibration.stored_ellipse(signal))
    found = bad_pixels(mean, variance, count, in_pixels.k_of_pixels(), mask=mask, threshold=threshold)
    return found if mask is None else found | mask
