"""PDFs of a scan in few coefficients each, so that a cube larger than memory is read twice and then forgotten.

The PDFs of a scan have no more degrees of freedom than their k range has points. In the leading eigenvectors of
their Gram matrix each is a few tens of numbers instead of some hundreds, and every product that a factorization
needs is a product of those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from medrange.pdf.normalization import normalize_amplitude

#: What is done about negative values before a factorization.
NEGATIVES = ("clip", "offset")

#: Gives the PDFs block by block: pairs of the rows a block fills and its values (rows, r). Called once per pass.
BlockSource = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]

# Axes kept at most, and the share of the energy that may be lost before that number is reached.
_MAX_AXES = 48
_LOST_ENERGY = 1e-12
#: Rows of a block of an array: some ten megabytes.
BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Compressed:
    """A matrix V (n, r) as ``coefficients @ axes.T``.

    Attributes
    ----------
    coefficients : numpy.ndarray
        Shape (n, q).
    axes : numpy.ndarray
        Shape (r, q), orthonormal columns.
    energy : float
        Sum of squares of V itself.
    """

    coefficients: np.ndarray
    axes: np.ndarray
    energy: float

    def rows(self, chosen: np.ndarray) -> Compressed:
        """Part of the rows; what the axes miss is shared out by energy."""
        part = self.coefficients[chosen]
        return replace(self, coefficients=part, energy=self.energy * _energy(part) / _energy(self.coefficients))


@dataclass(frozen=True, eq=False)
class CompressedScan:
    """PDFs of a scan as measured and without negative values, both compressed; made by :func:`compress`.

    Attributes
    ----------
    signed : Compressed
        The PDFs, normalized if that was asked for; only rows that are finite.
    nonnegative : Compressed
        The same with negative values removed.
    valid : numpy.ndarray
        Shape (n,): rows that are finite, and have an amplitude.
    negatives : str
        ``"clip"`` or ``"offset"``.
    offset : float
        Added to every value, 0 for ``"clip"``.
    minimum : float
        Smallest value of all.
    clipped_fraction : float
        Share of values set to zero, 0 for ``"offset"``.
    clipped_energy : float
        Share of the sum of squares set to zero.
    """

    signed: Compressed
    nonnegative: Compressed
    valid: np.ndarray
    negatives: str
    offset: float
    minimum: float
    clipped_fraction: float
    clipped_energy: float

    def rows(self, chosen: np.ndarray) -> CompressedScan:
        """Part of the valid rows."""
        return replace(self, signed=self.signed.rows(chosen), nonnegative=self.nonnegative.rows(chosen))


@dataclass
class _Sums:
    """Sums over the rows of all blocks."""

    count: int = 0
    total: np.ndarray | float = 0.0
    gram: np.ndarray | float = 0.0
    clipped_gram: np.ndarray | float = 0.0
    minimum: float = np.inf
    n_negative: int = 0


def array_blocks(pdfs: np.ndarray) -> BlockSource:
    """Blocks of an array (n, r), which may be a memory map."""

    def blocks() -> Iterable[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(pdfs), BLOCK_ROWS):
            part = pdfs[start : start + BLOCK_ROWS]
            yield np.arange(start, start + len(part)), part

    return blocks


def compress(
    blocks: BlockSource,
    n_rows: int,
    r: np.ndarray,
    *,
    negatives: str = "clip",
    normalization: str | None = None,
    max_axes: int = _MAX_AXES,
) -> CompressedScan:
    """Compress the PDFs of a scan, signed and without negative values, in two passes over the blocks.

    Parameters
    ----------
    blocks : callable
        See :data:`BlockSource`; for an array :func:`array_blocks`.
    n_rows : int
        Number of PDFs.
    r : numpy.ndarray
        Shape (r,): distance, angstrom.
    negatives : {"clip", "offset"}
        Set negative values to zero, or subtract the smallest value of all from every value.
    normalization : {"first_peak", "rms"} or None
        Amplitude every PDF is divided by first.
    max_axes : int
        Axes kept at most; fewer where fewer hold all.

    Returns
    -------
    CompressedScan

    Raises
    ------
    ValueError
        If ``negatives`` is unknown, or fewer than two PDFs are finite.

    Examples
    --------
    >>> r = np.linspace(2, 6, 50)
    >>> pdfs = np.array([np.sin(r), np.cos(r), np.sin(r) + np.cos(r)])
    >>> scan = compress(array_blocks(pdfs), 3, r)
    >>> scan.signed.coefficients.shape, round(scan.clipped_fraction, 2)
    ((3, 2), 0.72)
    """
    if negatives not in NEGATIVES:
        msg = f"negatives={negatives!r} is not known; choose 'clip' or 'offset'."
        raise ValueError(msg)
    clip = negatives == "clip"
    valid = np.zeros(n_rows, dtype=bool)
    sums = _Sums()
    for rows, block in blocks():
        values = normalize_amplitude(block, r, normalization)
        valid[rows] = np.isfinite(values).all(axis=1)
        _add(sums, values[valid[rows]], clip=clip)
    if sums.count < 2:
        msg = f"{sums.count} of {n_rows} PDFs have only finite values; at least 2 are needed. Mask or recompute them."
        raise ValueError(msg)
    offset = 0.0 if clip else max(0.0, -sums.minimum)
    shifted = sums.gram + offset * (sums.total + sums.total[:, np.newaxis]) + sums.count * offset**2
    signed_axes = _leading_axes(sums.gram, max_axes)
    gram = sums.clipped_gram if clip else shifted
    axes = _leading_axes(gram, max_axes)
    place = np.cumsum(valid) - 1
    signed = np.empty((sums.count, signed_axes.shape[1]))
    nonnegative = np.empty((sums.count, axes.shape[1]))
    for rows, block in blocks():
        keep = valid[rows]
        values = normalize_amplitude(block, r, normalization)[keep]
        target = place[rows[keep]]
        signed[target] = values @ signed_axes
        nonnegative[target] = (np.maximum(values, 0) if clip else values + offset) @ axes
    energy = float(np.trace(sums.gram))
    return CompressedScan(
        signed=Compressed(signed, signed_axes, energy),
        nonnegative=Compressed(nonnegative, axes, float(np.trace(gram))),
        valid=valid,
        negatives=negatives,
        offset=offset,
        minimum=sums.minimum,
        clipped_fraction=sums.n_negative / (sums.count * r.size) if clip else 0.0,
        clipped_energy=1 - float(np.trace(gram)) / energy if clip else 0.0,
    )


def _add(sums: _Sums, values: np.ndarray, *, clip: bool) -> None:
    sums.count += len(values)
    if len(values) == 0:
        return
    sums.total = sums.total + values.sum(axis=0)
    sums.gram = sums.gram + values.T @ values
    sums.minimum = min(sums.minimum, float(values.min()))
    if clip:
        sums.n_negative += int((values < 0).sum())
        positive = np.maximum(values, 0)
        sums.clipped_gram = sums.clipped_gram + positive.T @ positive


def _leading_axes(gram: np.ndarray, max_axes: int) -> np.ndarray:
    """Eigenvectors (r, q) of the largest eigenvalues, as many as hold all but 1e-12 of the energy."""
    values, vectors = np.linalg.eigh(gram)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    total = values.sum()
    if not total > 0:
        msg = "all PDFs are zero, or negative everywhere: there is nothing to factorize."
        raise ValueError(msg)
    kept = int(np.searchsorted(np.cumsum(values), (1 - _LOST_ENERGY) * total) + 1)
    return vectors[:, : min(kept, max_axes)]


def _energy(values: np.ndarray) -> float:
    return float(np.einsum("ij,ij->", values, values))
