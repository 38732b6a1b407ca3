"""Scans of two structural types with known PDFs and a known map, after the numbers of Kang et al. (2024)."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

R = np.arange(1.5, 12.001, 0.03)


def type_pdf(first, fwhm, height, second, shoulder):
    """Peaks on the negative density line, damped with r."""
    peaks = [(first, fwhm, height), (second, 0.7, 0.55 * height), (shoulder, 0.8, 0.4 * height), (6.4, 1.1, 0.4)]
    peaks += [(8.4, 1.3, 0.25), (10.6, 1.4, 0.12)]
    curve = sum(h * np.exp(-4 * np.log(2) * ((R - p) / w) ** 2) for p, w, h in peaks)
    return curve - 0.45 * np.exp(-R / 6)


#: Type 1 (liquid-like) and type 2 (solid-like): first peaks 2.53 and 2.46, widths 0.65 and 0.48 angstrom.
TYPES = np.array([type_pdf(2.53, 0.65, 1.1, 4.24, 4.95), type_pdf(2.46, 0.48, 1.5, 4.10, 4.66)])


@pytest.fixture(autouse=True, scope="session")
def one_blas_thread():
    """Many small products of matrices: on a busy machine the threads of BLAS make them up to a hundred times slower."""
    with threadpool_limits(1, "blas"):
        yield


@pytest.fixture
def make_scan():
    """Function that makes PDFs (y x, r) of the two types with noise, and their map."""

    def make(shape=(40, 40), *, noise=0.05, seed=0, width=2.5, amplitude=0.0, single=False, band_limited=False):
        rng = np.random.default_rng(seed)
        field = gaussian_filter(rng.standard_normal(shape), width, mode="wrap")
        weight = np.ones(shape) if single else np.clip(0.5 + 0.3 * field / field.std(), 0, 1)
        pdfs = weight.reshape(-1, 1) * TYPES[0] + (1 - weight.reshape(-1, 1)) * TYPES[1]
        if band_limited:
            # The noise of a PDF has only the waves of its k range; speckle goes as sqrt(k), under Lorch's window.
            k = np.arange(0.25, 1.6, 0.0256)
            waves = np.sin(2 * np.pi * np.outer(k, R)) * (np.sqrt(k) * np.sinc(k / 1.6))[:, None]
            waves /= np.sqrt((waves**2).sum(axis=0).mean())
            pdfs = pdfs + noise * rng.standard_normal((weight.size, k.size)) @ waves
        else:
            pdfs = pdfs + noise * rng.standard_normal(pdfs.shape)
        if amplitude:
            thickness = gaussian_filter(rng.standard_normal(shape), 4, mode="wrap")
            pdfs *= np.exp(amplitude * thickness / thickness.std()).reshape(-1, 1)
        return SimpleNamespace(pdfs=pdfs, r=R, weight=weight, shape=shape, types=TYPES)

    return make
