"""Denoising of ADF images with a choice of estimators, tuned on an image whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medrange.aet.tomography.noise import NoiseParameters

if TYPE_CHECKING:
    import pandas as pd

#: Takes an image whose noise has standard deviation 1 and a strength, returns the denoised image.
Denoiser = Callable[[np.ndarray, float], np.ndarray]

_TRIED = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8)


@dataclass(frozen=True)
class DenoisingTuning:
    """How the error of a denoised image depends on the strength.

    Attributes
    ----------
    strengths : numpy.ndarray
        Strengths tried.
    errors : numpy.ndarray
        Root mean square distance from the truth, image units.
    noisy_error : float
        The same before denoising.
    """

    strengths: np.ndarray
    errors: np.ndarray
    noisy_error: float

    @property
    def best(self) -> float:
        """The strength of the smallest error."""
        return float(self.strengths[self.errors.argmin()])

    @property
    def table(self) -> pd.DataFrame:
        """One row per strength."""
        import pandas as pd

        return pd.DataFrame({"strength": self.strengths, "error": self.errors})

    def __repr__(self) -> str:
        return (
            f"<DenoisingTuning: strength {self.best:g} brings the error from {self.noisy_error:.3g} "
            f"to {self.errors.min():.3g}>"
        )


def denoise(
    image: np.ndarray,
    noise: NoiseParameters,
    *,
    method: str | Denoiser = "non_local_means",
    strength: float = 1.0,
) -> np.ndarray:
    """Estimate of the noise-free image.

    The image is transformed so that its noise has standard deviation 1 everywhere, denoised as for Gaussian
    noise, and transformed back without bias [Makitalo2013]_.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (nx, ny), linear detector units.
    noise : NoiseParameters
        From :func:`noise_parameters`.
    method : str or callable
        ``"non_local_means"``, ``"total_variation"`` or ``"wavelet"`` (scikit-image), or a function of an image
        with noise of standard deviation 1 and the strength: BM3D, whose license allows no commercial use, is
        plugged in so: ``lambda image, strength: bm3d.bm3d(image, strength)``.
    strength : float
        Standard deviation of the noise that the method is told to remove: 1 is what was measured.

    Returns
    -------
    numpy.ndarray
        Shape (nx, ny), float64, image units.

    Raises
    ------
    ValueError
        If the image is not finite and two-dimensional, the strength not positive, or the method unknown.

    Examples
    --------
    >>> noise = NoiseParameters(gain=1.0, variance=1.0)
    >>> noisy = noise.add_to(np.full((32, 32), 50.0))
    >>> bool(denoise(noisy, noise).std() < noisy.std() / 2)
    True
    """
    image = np.asarray(image, dtype=float)
    if image.ndim != 2 or not np.isfinite(image).all():
        msg = (
            f"the image has shape {image.shape} and {np.count_nonzero(~np.isfinite(image))} pixels that are not finite."
        )
        raise ValueError(msg)
    if not strength > 0:
        msg = f"strength is {strength}; give a positive number, 1 for the measured noise."
        raise ValueError(msg)
    return noise.unstabilize(_denoiser(method)(noise.stabilize(image), strength))


def tune_denoising(
    truth: np.ndarray,
    noise: NoiseParameters,
    *,
    method: str | Denoiser = "non_local_means",
    strengths: Sequence[float] = _TRIED,
    seed: int | np.random.Generator = 0,
) -> DenoisingTuning:
    """Error against the strength, on a simulated image with the noise of the experiment [Yuan2022]_.

    Parameters
    ----------
    truth : numpy.ndarray
        Noise-free image, such as the projection of a model of the same material, scaled as the experiment.
    noise : NoiseParameters
        From :func:`noise_parameters` of the experiment.
    method : str or callable
        As in :func:`denoise`.
    strengths : sequence of float
        Strengths to try.
    seed : int or numpy.random.Generator
        Of the noise.

    Returns
    -------
    DenoisingTuning
        Errors; ``.best`` is the strength to use.

    Examples
    --------
    >>> tuning = tune_denoising(np.full((32, 32), 50.0), NoiseParameters(1.0, 1.0), strengths=(0.5, 1.0))
    >>> bool(tuning.errors.min() < tuning.noisy_error)
    True
    """
    truth = np.asarray(truth, dtype=float)
    noisy = noise.add_to(truth, seed=seed)
    tried = np.asarray(strengths, dtype=float)
    errors = [_rms(denoise(noisy, noise, method=method, strength=strength) - truth) for strength in tried]
    return DenoisingTuning(tried, np.array(errors), _rms(noisy - truth))


def _rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.mean(difference**2)))


def _denoiser(method: str | Denoiser) -> Denoiser:
    if callable(method):
        return method
    named = {"non_local_means": _non_local_means, "total_variation": _total_variation, "wavelet": _wavelet}
    if method not in named:
        msg = f"method is {method!r}; expected one of {', '.join(named)}, or a function of an image and a strength."
        raise ValueError(msg)
    return named[method]


def _non_local_means(image: np.ndarray, strength: float) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(image, patch_size=5, patch_distance=9, h=0.8 * strength, sigma=strength, fast_mode=True)


def _total_variation(image: np.ndarray, strength: float) -> np.ndarray:
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(image, weight=strength)


def _wavelet(image: np.ndarray, strength: float) -> np.ndarray:
    from skimage.restoration import denoise_wavelet

    # The function scales images to 0..1 only when it may; the noise level is given in the image's own units.
    return denoise_wavelet(image, sigma=strength, wavelet="sym4", rescale_sigma=False)
