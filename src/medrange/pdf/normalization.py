"""Amplitude of a PDF, and PDFs brought to one amplitude.

The amplitude of a reduced PDF from diffraction falls with thickness, because the background of plural scattering is
counted into its scale; the positions of its peaks stay. See [Kang2024]_ in references.bib.
"""

from __future__ import annotations

import numpy as np

from medrange.pdf.peaks import find_peak

#: The height of the highest peak, which in an amorphous material is the first; the root mean square over r.
AMPLITUDES = ("first_peak", "rms")
# First neighbors of any glass are closer than this, angstrom.
_LARGEST_FIRST = 5.0


def first_peak_range(r: np.ndarray) -> tuple[float, float]:
    """Distances among which the first peak is looked for: all up to 5 angstrom.

    Parameters
    ----------
    r : numpy.ndarray
        Shape (r,), angstrom.

    Returns
    -------
    tuple of float

    Examples
    --------
    >>> first_peak_range(np.array([1.5, 2.0, 12.0]))
    (1.5, 5.0)
    """
    return float(r[0]), float(min(_LARGEST_FIRST, r[-1]))


def pdf_amplitude(pdfs: np.ndarray, r: np.ndarray, method: str = "first_peak") -> np.ndarray:
    """Amplitude of each PDF.

    Parameters
    ----------
    pdfs : numpy.ndarray
        Shape (..., r): PDFs cut to a range without the ripples below the first peak.
    r : numpy.ndarray
        Shape (r,): distance in uniform steps, angstrom.
    method : {"first_peak", "rms"}
        Height of the highest peak below 5 angstrom; or the root mean square over r, to which noise adds.

    Returns
    -------
    numpy.ndarray
        Shape (...), float64, in the unit of the PDFs; NaN for a PDF that is not finite or has no peak.

    Raises
    ------
    ValueError
        If the method is unknown.

    Examples
    --------
    >>> r = np.arange(1.5, 12, 0.02)
    >>> peak = np.exp(-(((r - 2.511) / 0.2) ** 2))
    >>> float(pdf_amplitude(3 * peak, r).round(3))
    3.0
    """
    pdfs = np.asarray(pdfs)
    if method == "rms":
        amplitude = np.sqrt(np.einsum("...r,...r->...", pdfs, pdfs, dtype=np.float64) / pdfs.shape[-1])
    elif method == "first_peak":
        amplitude = find_peak(pdfs, r, first_peak_range(r)).height
    else:
        msg = f"the amplitude {method!r} is not known; choose one of {', '.join(map(repr, AMPLITUDES))}."
        raise ValueError(msg)
    return np.where(np.isfinite(amplitude) & (amplitude > 0), amplitude, np.nan)


def normalize_amplitude(pdfs: np.ndarray, r: np.ndarray, method: str | None = "first_peak") -> np.ndarray:
    """PDFs divided by their amplitude, so that thickness is no longer in them.

    Parameters
    ----------
    pdfs : numpy.ndarray
        Shape (..., r).
    r : numpy.ndarray
        Shape (r,): distance in uniform steps, angstrom.
    method : {"first_peak", "rms"} or None
        See :func:`pdf_amplitude`; None leaves them as they are.

    Returns
    -------
    numpy.ndarray
        Same shape, float64; NaN where a PDF has no amplitude.

    Examples
    --------
    >>> pdfs = np.array([[0.0, 2.0, 0.0], [0.0, 4.0, 0.0]])
    >>> normalize_amplitude(pdfs, np.array([2.0, 2.5, 3.0])).tolist()
    [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    """
    pdfs = np.asarray(pdfs, dtype=np.float64)
    return pdfs.copy() if method is None else pdfs / pdf_amplitude(pdfs, r, method)[..., np.newaxis]
