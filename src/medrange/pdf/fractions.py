"""Fractions of structural types: PDFs fitted with given basis PDFs, population fractions and their errors.

Multiple linear least squares (MLLS) of [Kang2024]_, with weights that are not negative; see references.bib.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medrange.pdf.nonnegative import nonnegative_least_squares

# PDFs fitted at a time: some ten megabytes.
_ROWS = 4096


@dataclass(frozen=True, eq=False)
class BasisFit:
    """PDFs as non-negative sums of basis PDFs.

    Attributes
    ----------
    weights : numpy.ndarray
        Shape (..., components); NaN for a PDF that is not finite.
    constant : numpy.ndarray or None
        Shape (...): constant added to every value, in the unit of the PDFs; None where none was fitted.
    residual : numpy.ndarray
        Shape (...): ``|v - fit| / |v|`` of each PDF.
    """

    weights: np.ndarray
    constant: np.ndarray | None
    residual: np.ndarray


def fit_bases(pdfs: np.ndarray, bases: np.ndarray, *, constant: bool = False) -> BasisFit:
    """Non-negative least squares of every PDF of a scan on given basis PDFs, exact.

    The bases may be those of another scan, if both were made and normalized alike.

    Parameters
    ----------
    pdfs : numpy.ndarray
        Shape (..., r).
    bases : numpy.ndarray
        Shape (components, r), at most 8, on the same r.
    constant : bool
        Fit a constant, of either sign, beside the bases.

    Returns
    -------
    BasisFit

    Raises
    ------
    ValueError
        If the lengths over r differ, or the bases are linearly dependent.

    Examples
    --------
    >>> bases = np.array([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    >>> fit_bases(0.25 * bases[0] + 0.75 * bases[1], bases).weights.round(6).tolist()
    [0.25, 0.75]
    """
    pdfs, bases = np.asarray(pdfs), np.atleast_2d(np.asarray(bases, dtype=np.float64))
    if pdfs.shape[-1] != bases.shape[1]:
        msg = f"the PDFs have {pdfs.shape[-1]} distances and the bases {bases.shape[1]}; bring both to the same r."
        raise ValueError(msg)
    # A free constant is fitted exactly by taking the means away first.
    means = bases.mean(axis=1) if constant else np.zeros(len(bases))
    centered = bases - means[:, np.newaxis]
    gram = centered @ centered.T
    if np.linalg.matrix_rank(gram, tol=1e-10 * np.trace(gram), hermitian=True) < len(bases):
        msg = f"the {len(bases)} bases are linearly dependent: their weights are not determined. Leave one out."
        raise ValueError(msg)
    flat = pdfs.reshape(-1, pdfs.shape[-1])
    weights, level, residual = np.empty((len(flat), len(bases))), np.empty(len(flat)), np.empty(len(flat))
    for start in range(0, len(flat), _ROWS):
        part = slice(start, start + _ROWS)
        values = flat[part].astype(np.float64)
        offsets = values.mean(axis=1) if constant else np.zeros(len(values))
        weights[part] = nonnegative_least_squares(gram, (values - offsets[:, np.newaxis]) @ centered.T)
        level[part] = offsets - weights[part] @ means
        left = values - weights[part] @ bases - level[part, np.newaxis]
        norm = np.linalg.norm(values, axis=1)
        residual[part] = np.divide(np.linalg.norm(left, axis=1), norm, out=np.full(len(values), np.nan), where=norm > 0)
    shape = pdfs.shape[:-1]
    return BasisFit(
        weights=weights.reshape(*shape, len(bases)),
        constant=level.reshape(shape) if constant else None,
        residual=residual.reshape(shape),
    )


def fraction_maps(weights: np.ndarray, labels: tuple[str, ...] | None = None) -> np.ndarray:
    """Fraction of each type at every position: its weight over the sum of those of all types, residuals left out.

    Parameters
    ----------
    weights : numpy.ndarray
        Shape (..., components), not negative.
    labels : tuple of str, optional
        Names of the components; those that begin with ``"residual"`` take no part. All take part when not given.

    Returns
    -------
    numpy.ndarray
        Shape (..., types): sums to 1; NaN where all weights are 0 or one is NaN.

    Examples
    --------
    >>> fraction_maps(np.array([[3.0, 1.0, 0.5]]), ("liquid-like", "solid-like", "residual")).tolist()
    [[0.75, 0.25]]
    """
    weights = np.asarray(weights, dtype=np.float64)
    if labels is not None:
        weights = weights[..., [not label.startswith("residual") for label in labels]]
    total = weights.sum(axis=-1, keepdims=True)
    return np.divide(weights, total, out=np.full(weights.shape, np.nan), where=total > 0)


def block_bootstrap_error(
    image: np.ndarray, block: int, *, n_samples: int = 1000, seed: int | np.random.Generator = 0
) -> float:
    """Standard error of the mean of a map whose neighboring pixels are alike.

    Square blocks of the map are drawn with replacement, at any position ([Kunsch1989]_), until there are as many
    pixels as in the map; the standard deviation of their mean over many draws is the error. The blocks must be larger
    than what the map correlates over, twice its correlation length for example; smaller ones, and a map of only a few
    correlation lengths, give too small an error.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (y, x); NaN is left out.
    block : int
        Side of the blocks, pixels.
    n_samples : int
        Draws.
    seed : int or numpy.random.Generator
        Of the draws.

    Returns
    -------
    float
        In the unit of the map; NaN where the map has no value.

    Raises
    ------
    ValueError
        If a block is larger than half of the shorter side of the map.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((64, 64))
    >>> bool(abs(block_bootstrap_error(noise, 4) * 64 - 1) < 0.15)
    True
    """
    image = np.asarray(image, dtype=np.float64)
    if image.ndim != 2 or not 1 <= block <= max(1, min(image.shape) // 2):
        msg = (
            f"blocks of {block} pixels were asked for in a map of shape {image.shape}; they must be 1 to half of its "
            "shorter side: the scan must be several correlation lengths wide."
        )
        raise ValueError(msg)
    valid = np.isfinite(image)
    if not valid.any():
        return float("nan")
    mean = image[valid].mean()
    # From the mean, so that blocks with gaps do not pull the sum.
    sums = _block_sums(np.where(valid, image - mean, 0.0), block).ravel()
    counts = _block_sums(valid.astype(np.float64), block).ravel()
    rng = np.random.default_rng(seed)
    n_blocks = max(1, round(image.size / block**2))
    means = np.empty(n_samples)
    for i in range(n_samples):
        chosen = rng.integers(sums.size, size=n_blocks)
        total = counts[chosen].sum()
        means[i] = sums[chosen].sum() / total if total > 0 else np.nan
    return float(np.nanstd(means, ddof=1))


def _block_sums(image: np.ndarray, block: int) -> np.ndarray:
    """Sum over every square block of the map."""
    table = np.pad(image.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return table[block:, block:] - table[:-block, block:] - table[block:, :-block] + table[:-block, :-block]
