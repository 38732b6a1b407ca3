"""Poisson-Gaussian noise of ADF images: its parameters, and the transform that makes it uniform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medrange.aet.tomography.drift import frame_shifts

# The image is smoothed before its pixels are sorted by brightness: sorted by their own noise, they would be biased.
_SORTING_SIGMA = 2.0
_BINS = 40


@dataclass(frozen=True)
class NoiseParameters:
    """Noise of variance ``gain * signal + variance``.

    A detector that gives ``gain`` units per electron, on which Gaussian noise of the electronics is added.

    Attributes
    ----------
    gain : float
        Image units per electron.
    variance : float
        Variance at zero signal, image units squared.
    """

    gain: float
    variance: float

    def of_signal(self, signal: np.ndarray) -> np.ndarray:
        """Variance of the noise at a signal, image units squared; never negative."""
        return np.maximum(self.gain * np.asarray(signal, dtype=float) + self.variance, 0)

    def add_to(self, image: np.ndarray, *, seed: int | np.random.Generator = 0) -> np.ndarray:
        """The image as the detector would record it.

        Parameters
        ----------
        image : numpy.ndarray
            Noise-free image.
        seed : int or numpy.random.Generator
            Of the random numbers.

        Returns
        -------
        numpy.ndarray
            Poisson counts times ``gain``, with Gaussian noise added.
        """
        rng = np.random.default_rng(seed)
        counts = rng.poisson(np.maximum(image, 0) / self.gain) * self.gain
        return counts + rng.normal(0, np.sqrt(max(self.variance, 0)), np.shape(image))

    def stabilize(self, image: np.ndarray) -> np.ndarray:
        """Generalized Anscombe transform: an image whose noise has variance 1 everywhere [Makitalo2013]_."""
        image = np.asarray(image, dtype=float)
        return 2 / self.gain * np.sqrt(np.maximum(self.gain * image + 3 / 8 * self.gain**2 + self.variance, 0))

    def unstabilize(self, stabilized: np.ndarray) -> np.ndarray:
        """Unbiased inverse of :meth:`stabilize`, in the closed form of [Makitalo2013]_.

        The plain inverse of a denoised image would come out too low at few electrons.
        """
        d = np.maximum(np.asarray(stabilized, dtype=float), 1e-3)
        scaled = d**2 / 4 + np.sqrt(1.5) / (4 * d) - 11 / (8 * d**2) + 5 * np.sqrt(1.5) / (8 * d**3) - 1 / 8
        # At no signal at all the expansion ends; what is below belongs to zero electrons.
        return self.gain * np.maximum(scaled - self.variance / self.gain**2, 0)


def noise_parameters(frames: np.ndarray) -> NoiseParameters:
    """Parameters of the noise, from repeated frames of the same tilt.

    The frames are laid on each other by shifts in Fourier space, which keep the variance of white noise; then
    the variance over frames is fitted as a line of the mean, over pixels sorted by their smoothed brightness.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n_frames, nx, ny), at least two, in linear detector units, not denoised and not interpolated.

    Returns
    -------
    NoiseParameters
        Gain and variance at zero signal.

    Raises
    ------
    ValueError
        If there are fewer than two frames, or the variance does not grow with the signal.

    Examples
    --------
    >>> image = np.linspace(10, 100, 64)[:, None] * np.ones(64)
    >>> frames = [NoiseParameters(gain=2.0, variance=9.0).add_to(image, seed=i) for i in range(3)]
    >>> abs(noise_parameters(np.stack(frames)).gain / 2 - 1) < 0.1
    True
    """
    frames = np.asarray(frames, dtype=float)
    if frames.ndim != 3 or len(frames) < 2:
        msg = (
            f"frames has shape {frames.shape}; the noise is measured from at least two frames of the same tilt, "
            "(n_frames, nx, ny). With one frame, give NoiseParameters(gain=..., variance=...) of the detector."
        )
        raise ValueError(msg)
    shifts = frame_shifts(frames)
    margin = int(np.ceil(np.abs(shifts).max())) + 1
    laid = np.stack([_shifted(frame, -shift) for frame, shift in zip(frames, shifts, strict=True)])
    laid = laid[:, margin:-margin, margin:-margin]
    mean, variance = laid.mean(axis=0), laid.var(axis=0, ddof=1)
    order = np.argsort(ndimage.gaussian_filter(mean, _SORTING_SIGMA), axis=None)
    groups = np.array_split(order, min(_BINS, max(2, mean.size // 200)))
    x = np.array([mean.flat[group].mean() for group in groups])
    y = np.array([variance.flat[group].mean() for group in groups])
    sizes = np.array([len(group) for group in groups])
    # A variance estimated from N values scatters in proportion to itself.
    weights = np.sqrt(sizes) / np.maximum(y, y.mean() * 1e-3)
    gain, at_zero = np.polyfit(x, y, 1, w=weights)
    if gain <= 0:
        msg = (
            f"the variance falls with the signal (slope {gain:.3g}): the frames do not differ by Poisson noise alone. "
            "Give raw frames of one tilt, or NoiseParameters(gain=..., variance=...) of the detector."
        )
        raise ValueError(msg)
    return NoiseParameters(float(gain), float(at_zero))


def _shifted(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Image moved by a shift in pixels, cyclically, by phases in Fourier space."""
    return np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(image), shift)).real
