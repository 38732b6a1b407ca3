"""Are two structural types more than speckle and counting noise? A test against a single phase.

A factorization splits any scan in two, also one of a single phase: it finds the direction in which the noise is
largest. Noise differs from structure in how it lies in space. So scans of a single phase are made from the data
themselves, with the mean PDF of the scan and with its noise: surrogates in the sense of [Theiler1992]_, see
references.bib.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import fft

from medrange.pdf.compression import CompressedScan
from medrange.pdf.feasible_band import window_around_first_peak
from medrange.pdf.latent import principal_components
from medrange.pdf.peaks import find_peak
from medrange.working import available_cores

#: What is compared with the surrogates, in this order.
STATISTICS = ("autocorrelation", "variance", "peak_gap")
# Directions of the noise that are kept; the following are too weak to show in any statistic.
_MAX_DIRECTIONS = 24
# Purest PDFs whose first peaks are compared, as in the feasible band.
_PERCENTILES = (1.0, 99.0)
_LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class SinglePhaseTest:
    """What a scan of one phase with the same noise would give; made by :func:`single_phase_test`.

    Attributes
    ----------
    observed : dict of str to float
        ``autocorrelation``: of the scores of the first component, between neighboring positions; ``variance``: of the
        first component, in squared units of the PDFs; ``peak_gap``: distance in angstrom of the first peaks at the two
        ends of the first component (1st and 99th percentile of the scores).
    expected, spread : dict of str to float
        Mean and standard deviation of the same over the surrogates.
    p_values : dict of str to float
        Share of surrogates, the scan itself counted in, that reach the observed value.
    p_value : float
        The larger of those of the autocorrelation and of the peak gap: both must be beyond noise.
    noise_autocorrelation : float
        Between neighboring positions of what is left without the first component: from overlapping probes.
    n_surrogates : int
        Number of surrogates.
    verdict : str
        One sentence.
    """

    observed: dict[str, float]
    expected: dict[str, float]
    spread: dict[str, float]
    p_values: dict[str, float]
    p_value: float
    noise_autocorrelation: float
    n_surrogates: int
    verdict: str

    @property
    def distinguishable(self) -> bool:
        """Whether two types are beyond noise at the level 0.05."""
        return self.p_value <= _LEVEL


@dataclass(frozen=True, eq=False)
class _Noise:
    """Model of the noise: strength in each direction of the PDFs, and spectrum over the scan (half of it, real)."""

    root: np.ndarray
    amplitude: np.ndarray
    scan_shape: tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Curves:
    """What scores stand for: the mean PDF, directions, and r."""

    mean: np.ndarray
    directions: np.ndarray
    r: np.ndarray


def single_phase_test(
    scan: CompressedScan,
    scan_shape: tuple[int, int],
    r: np.ndarray,
    *,
    n_surrogates: int = 99,
    seed: int | np.random.Generator = 0,
) -> SinglePhaseTest:
    """Test whether the PDFs of a scan are those of a single phase with speckle and counting noise.

    The noise of a surrogate has, over r, the covariance of the differences between neighboring positions, in which
    structure that is wider than the scan step cancels; over the scan, the spectrum of the components after the first,
    so that overlapping probes are allowed for. Nothing else is assumed of the noise, and nothing known of the
    sample is used.

    Structure as fine as the scan step, or as the noise, is not told from noise. And what passes need not be two
    phases: thickness, strain or a drifting beam also change a PDF over the scan.

    Parameters
    ----------
    scan : CompressedScan
        Its signed PDFs.
    scan_shape : tuple of int
        (rows, columns); the rows of ``scan.valid`` in this order.
    r : numpy.ndarray
        Shape (r,), angstrom.
    n_surrogates : int
        At least 19, so that p can be 0.05.
    seed : int or numpy.random.Generator
        Of the surrogates.

    Returns
    -------
    SinglePhaseTest

    Raises
    ------
    ValueError
        If the scan is smaller than 8 x 8, or has too few surrogates.
    """
    _check(scan, scan_shape, n_surrogates)
    rng = np.random.default_rng(seed)
    principal = principal_components(scan, r)
    count = min(_MAX_DIRECTIONS, len(principal.components))
    if count < 3:
        msg = f"the PDFs vary in {count} directions only; there is no noise to compare with."
        raise ValueError(msg)
    mask = scan.valid.reshape(scan_shape)
    # Scores in units of the PDFs, in orthonormal directions.
    strength = np.linalg.norm(principal.components[:count], axis=1)
    scores = np.zeros((*scan_shape, count))
    scores[mask] = principal.scores[:, :count] * strength
    directions = principal.components[:count] / strength[:, np.newaxis]
    curves = _Curves(principal.mean, directions, r)
    observed = _statistics(np.moveaxis(scores, -1, 0), np.eye(count), mask, curves)
    noise, neighbor = _noise_model(scores, mask)
    statistics = _statistics_of_spectra if mask.all() else _statistics_of_images

    def surrogate_statistics(own: np.random.Generator) -> np.ndarray:
        return statistics(_surrogate(noise, own), noise.root, mask, curves)

    # A generator for each surrogate: the numbers do not depend on which thread comes first.
    with ThreadPoolExecutor(available_cores()) as pool:
        found = np.array(list(pool.map(surrogate_statistics, rng.spawn(n_surrogates))))
    p = {
        name: float((1 + np.sum(~(found[:, j] < observed[j]))) / (n_surrogates + 1))
        for j, name in enumerate(STATISTICS)
    }
    observed_by_name = dict(zip(STATISTICS, observed.tolist(), strict=True))
    expected = dict(zip(STATISTICS, found.mean(axis=0).tolist(), strict=True))
    return SinglePhaseTest(
        observed=observed_by_name,
        expected=expected,
        spread=dict(zip(STATISTICS, found.std(axis=0, ddof=1).tolist(), strict=True)),
        p_values=p,
        p_value=max(p["autocorrelation"], p["peak_gap"]),
        noise_autocorrelation=neighbor,
        n_surrogates=n_surrogates,
        verdict=_verdict(observed_by_name, expected, p),
    )


def neighbor_autocorrelation(image: np.ndarray, mask: np.ndarray) -> float:
    """Mean product of neighbors over the mean square, both directions of the scan; ``mask`` is True where valid."""
    values = np.where(mask, image - image[mask].mean(), 0.0)
    products = pairs = 0.0
    for first, second in (((slice(1, None),), (slice(-1),)), ((slice(None), slice(1, None)), (slice(None), slice(-1)))):
        products += float((values[first] * values[second]).sum())
        pairs += int((mask[first] & mask[second]).sum())
    return products / pairs / float((values[mask] ** 2).mean()) if pairs else float("nan")


def _noise_model(scores: np.ndarray, mask: np.ndarray) -> tuple[_Noise, float]:
    rest = scores[..., 1:]
    power = (rest[mask] ** 2).mean(axis=0)
    correlations = [neighbor_autocorrelation(rest[..., i], mask) for i in range(rest.shape[-1])]
    neighbor = float(np.average(correlations, weights=power))
    differences = []
    for axis in (0, 1):
        pairs = np.diff(mask.astype(np.int8), axis=axis) == 0
        pairs &= mask[1:] if axis == 0 else mask[:, 1:]
        differences.append(np.diff(scores, axis=axis)[pairs])
    steps = np.concatenate(differences)
    # Half the variance of a difference is the variance less the covariance of neighbors.
    covariance = _second_moments(steps.T) / 2 / max(1 - neighbor, 0.05)
    values, vectors = np.linalg.eigh(covariance)
    spectrum = np.einsum("yxk,yxk->yx", *(np.abs(fft.fft2(rest, axes=(0, 1))),) * 2)
    amplitude = np.sqrt(spectrum / spectrum.mean())
    root = vectors * np.sqrt(np.maximum(values, 0))
    return _Noise(root, amplitude[:, : mask.shape[1] // 2 + 1], mask.shape), neighbor


def _surrogate(noise: _Noise, rng: np.random.Generator) -> np.ndarray:
    """Half spectra (k, y, x // 2 + 1) of white images with the spectrum over the scan, in single precision.

    They are drawn as such, not transformed from images; ``noise.root`` makes scores of them.
    """
    rows, columns = noise.scan_shape
    shape = (noise.root.shape[1], *noise.amplitude.shape)
    parts = rng.standard_normal((*shape, 2), dtype=np.float32)
    parts *= np.float32(np.sqrt(rows * columns / 2))
    spectra = parts.view(np.complex64)[..., 0]
    # These columns are spectra of real numbers themselves: their lower half mirrors the upper.
    for own in {0, columns // 2} if columns % 2 == 0 else {0}:
        real = rng.standard_normal((shape[0], rows), dtype=np.float32) * np.float32(np.sqrt(columns))
        spectra[..., own] = fft.fft(real, axis=1)
    spectra *= noise.amplitude.astype(np.float32)
    return spectra


def _statistics_of_images(spectra: np.ndarray, root: np.ndarray, mask: np.ndarray, curves: _Curves) -> np.ndarray:
    """:func:`_statistics` of the images that belong to half spectra."""
    return _statistics(fft.irfft2(spectra, s=mask.shape), root, mask, curves)


def _statistics_of_spectra(spectra: np.ndarray, root: np.ndarray, mask: np.ndarray, curves: _Curves) -> np.ndarray:
    """The same for a scan without gaps: only the image of the first component is ever made, by Parseval's theorem."""
    n = mask.size
    center = spectra[:, 0, 0].real.astype(np.float64) / n
    spectra[:, 0, 0] = 0
    parts = spectra.view(np.float32)
    once = [0, mask.shape[1] // 2] if mask.shape[1] % 2 == 0 else [0]
    doubled = np.full(spectra.shape[2], 2.0)
    doubled[once] = 1.0
    columns = (parts * np.repeat(np.sqrt(doubled), 2).astype(np.float32)).reshape(len(parts), -1)
    values, vectors = np.linalg.eigh(root @ (_second_moments(columns) * (columns.shape[1] / n**2)) @ root.T)
    weights = (vectors[:, -1] @ root).astype(np.float32)
    image = fft.irfft2(np.einsum("k,kyx->yx", weights, spectra), s=mask.shape).astype(np.float64)
    return _of_first(image, mask, values[-1], vectors[:, -1], root @ center, curves)


def _statistics(images: np.ndarray, root: np.ndarray, mask: np.ndarray, curves: _Curves) -> np.ndarray:
    """Autocorrelation, variance and peak gap of the first component of the scores ``root @ images``."""
    valid = images[:, mask]
    center = valid.mean(axis=1)
    valid -= center[:, np.newaxis]
    values, vectors = np.linalg.eigh(root @ _second_moments(valid) @ root.T)
    image = np.zeros(mask.shape)
    image[mask] = (vectors[:, -1] @ root) @ valid
    return _of_first(image, mask, values[-1], vectors[:, -1], root @ center, curves)


def _of_first(
    image: np.ndarray, mask: np.ndarray, variance: float, leading: np.ndarray, center: np.ndarray, curves: _Curves
) -> np.ndarray:
    """Statistics from the image of the first component, its variance and direction, and the mean scores."""
    ends = np.percentile(image[mask], _PERCENTILES)
    pdfs = curves.mean + center @ curves.directions + np.outer(ends, leading @ curves.directions)
    first = find_peak(pdfs, curves.r, window_around_first_peak(curves.mean, curves.r)).position
    return np.array([neighbor_autocorrelation(image, mask), variance, abs(first[1] - first[0])])


def _second_moments(columns: np.ndarray) -> np.ndarray:
    # Not by BLAS: of matrices so narrow its threads cost more than they save, much more on a busy machine.
    return np.einsum("in,jn->ij", columns, columns) / columns.shape[1]


def _verdict(observed: dict[str, float], expected: dict[str, float], p: dict[str, float]) -> str:
    gap = f"first peaks {observed['peak_gap']:.3f} angstrom apart where noise alone gives {expected['peak_gap']:.3f}"
    if max(p["autocorrelation"], p["peak_gap"]) <= _LEVEL:
        return f"Two structural types are distinguishable from speckle and counting noise: {gap}."
    if p["autocorrelation"] <= _LEVEL:
        return f"The PDF changes over the scan, but its first peak no more than noise moves it: {gap}."
    return f"Not distinguishable from a single phase with speckle and counting noise: {gap}; no order in space."


def _check(scan: CompressedScan, scan_shape: tuple[int, int], n_surrogates: int) -> None:
    if len(scan_shape) != 2 or min(scan_shape) < 8 or scan.valid.size != scan_shape[0] * scan_shape[1]:
        msg = (
            f"the scan has shape {tuple(scan_shape)} and {scan.valid.size} PDFs; the test needs a scan (rows, columns) "
            "of at least 8 x 8, every position once."
        )
        raise ValueError(msg)
    if n_surrogates < 19:
        msg = f"n_surrogates is {n_surrogates}; fewer than 19 cannot give p = 0.05."
        raise ValueError(msg)
