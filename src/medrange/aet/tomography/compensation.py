"""What linear interpolation between frequencies does to a volume, and the weights that undo its mean."""

from __future__ import annotations

import numpy as np

# Most of the power of atoms lies below this frequency (1/pixel): its sample points count.
_FREQUENCY = 0.1
# Fractions of an index are sorted into as many bins.
_BINS = 128


def interpolation_weights(
    rotations: np.ndarray, shape: tuple[int, int, int], padded: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights along x, y and z by which a volume is multiplied before its spectrum is interpolated linearly.

    A value taken a fraction c of the way between two frequencies of N is that of a volume multiplied by
    ``(1 - c) exp(-2 pi i c x / N) + c exp(2 pi i (1 - c) x / N)`` along this axis, x from the center: weakened by
    ``(1 - c) cos(2 pi c x / N) + c cos(2 pi (1 - c) x / N)``, and a little out of phase. The weights are one over the
    mean of that over the points that the slices read; were c uniform, it would be ``sinc(x / N)^2``. Axes that are not
    interpolated, as y in pure tilts, have weights of 1. What differs from point to point remains.

    Parameters
    ----------
    rotations : numpy.ndarray
        Shape (n_tilts, 3, 3), matrices A.
    shape : tuple of int
        (x, y, z) of the volume.
    padded : tuple of int
        The same of the padded volume.

    Returns
    -------
    tuple of numpy.ndarray
        Three vectors, float32, as long as the axes of the volume.

    Examples
    --------
    >>> x, y, _ = interpolation_weights(np.eye(3)[None], (4, 4, 4), (12, 12, 12))
    >>> float(x.min()), float(y.max())
    (1.0, 1.0)
    """
    reach = [max(1, int(_FREQUENCY * n)) for n in padded[:2]]
    fx, fy = np.meshgrid(
        np.arange(reach[0] + 1) / padded[0], np.arange(-reach[1], reach[1] + 1) / padded[1], indexing="ij"
    )
    weights = []
    for axis, (size, large) in enumerate(zip(shape, padded, strict=True)):
        index = (np.multiply.outer(rotations[:, axis, 0], fx) + np.multiply.outer(rotations[:, axis, 1], fy)) * large
        # Rounding must not put a whole number among the fractions next to 1; both ends of the bins mean none.
        share = np.bincount(np.rint(index % 1 * _BINS).astype(int).ravel() % _BINS, minlength=_BINS) / index.size
        fraction = np.arange(_BINS) / _BINS
        phase = 2 * np.pi / large * (np.arange(size) - size // 2)[:, None]
        mean = ((1 - fraction) * np.cos(phase * fraction) + fraction * np.cos(phase * (1 - fraction))) @ share
        weights.append((1 / mean).astype(np.float32))
    return tuple(weights)
