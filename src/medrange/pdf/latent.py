"""Principal and independent components of the PDFs of a scan, from their compressed form.

Alternatives to the factorization without its bounds: a component is a change of the PDF, not a PDF. See [Mu2021]_ in
references.bib.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from medrange.pdf.compression import CompressedScan
from medrange.pdf.normalization import first_peak_range
from medrange.pdf.peaks import find_peak

_ICA_ITERATIONS = 1000


@dataclass(frozen=True, eq=False)
class LatentComponents:
    """PDFs as ``mean + scores @ components``.

    Attributes
    ----------
    mean : numpy.ndarray
        Shape (r,).
    components : numpy.ndarray
        Shape (components, r): what one standard deviation of a score adds to the PDF. A positive score has its first
        peak at the larger distance.
    scores : numpy.ndarray
        Shape (n, components), mean 0 and variance 1.
    explained : numpy.ndarray
        Shape (components,): share of the variance of the PDFs.
    """

    mean: np.ndarray
    components: np.ndarray
    scores: np.ndarray
    explained: np.ndarray


def principal_components(scan: CompressedScan, r: np.ndarray, n_components: int | None = None) -> LatentComponents:
    """Principal components of the PDFs, largest variance first.

    Parameters
    ----------
    scan : CompressedScan
        Its signed PDFs are analyzed.
    r : numpy.ndarray
        Shape (r,), angstrom.
    n_components : int, optional
        All that carry variance when not given.

    Returns
    -------
    LatentComponents

    Raises
    ------
    ValueError
        If more components are asked for than carry variance.
    """
    data = scan.signed
    center = data.coefficients.mean(axis=0)
    deviation = data.coefficients - center
    values, vectors = np.linalg.eigh(deviation.T @ deviation / len(deviation))
    values, vectors = values[::-1], vectors[:, ::-1]
    available = int((values > 1e-12 * max(values[0], 0)).sum())
    count = available if n_components is None else n_components
    if not 1 <= count <= available:
        msg = f"n_components is {count}; the PDFs of this scan vary in {available} directions."
        raise ValueError(msg)
    spread = np.sqrt(values[:count])
    mean = data.axes @ center
    components = (vectors[:, :count] * spread).T @ data.axes.T
    signs = _signs(mean, components, r)
    scores = deviation @ (vectors[:, :count] / spread)
    total = values[values > 0].sum()
    return LatentComponents(mean, components * signs[:, np.newaxis], scores * signs, values[:count] / total)


def independent_components(
    scan: CompressedScan, r: np.ndarray, n_components: int, *, seed: int | np.random.Generator = 0
) -> LatentComponents:
    """Independent components (FastICA) within the leading principal components; see [Mu2021]_.

    Parameters
    ----------
    scan, r, n_components
        As of :func:`principal_components`.
    seed : int or numpy.random.Generator
        Of the start.

    Returns
    -------
    LatentComponents
        Largest variance first.
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    principal = principal_components(scan, r, n_components)
    state = int(np.random.default_rng(seed).integers(2**31))
    model = FastICA(whiten="unit-variance", random_state=state, max_iter=_ICA_ITERATIONS, tol=1e-6)
    with warnings.catch_warnings():
        # Said below in terms of the scan.
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = model.fit_transform(principal.scores)
    if model.n_iter_ >= _ICA_ITERATIONS:
        msg = (
            f"{n_components} independent components did not come to rest in {_ICA_ITERATIONS} iterations: some scores "
            "are as Gaussian as noise, and have no directions of their own. Take fewer components, or method='pca'."
        )
        warnings.warn(msg, stacklevel=2)
    # Scores have unit variance and are uncorrelated: their covariance with the PDFs is what each adds.
    components = scores.T @ principal.scores / len(scores) @ principal.components
    power = np.einsum("kr,kr->k", components, components)
    explained = principal.explained.sum() * power / power.sum()
    order = np.argsort(-power)
    components, scores = components[order], scores[:, order]
    signs = _signs(principal.mean, components, r)
    return LatentComponents(principal.mean, components * signs[:, np.newaxis], scores * signs, explained[order])


def _signs(mean: np.ndarray, components: np.ndarray, r: np.ndarray) -> np.ndarray:
    """+1 where adding a component moves the first peak outwards, or leaves it, -1 where it moves inwards."""
    first = find_peak(mean, r, first_peak_range(r)).position
    if not np.isfinite(first):
        return np.ones(len(components))
    # The peak of mean + t c moves by -t c'(R1)/mean''(R1), and the second derivative is negative at a maximum.
    slopes = np.array([np.interp(first, r, np.gradient(component, r)) for component in components])
    return np.where(slopes >= 0, 1.0, -1.0)
