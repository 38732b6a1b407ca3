"""The null model: scans of a thin random object, which has speckle but no order.

The weak-phase (kinematic) wave at pixel k and probe position r is ``A(k; r) = sum_q a(q) phi(k - q)
exp(2 pi i q r)``: the aperture disk a over the Fourier coefficients phi of the object, which are independent
complex Gaussian numbers on a lattice. Over the scan that is one Fourier transform per pixel. A real object has
``phi(-k) = conj phi(k)``, hence ``|A(-k)| = |A(k)|``: even orders without any structure. See [Goodman1976]_
for speckle and [Treacy2005]_ for its role in fluctuation microscopy, in references.bib.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft, sparse

from medrange.kernels.angular import angular_power, intensity_variance
from medrange.kernels.polar import PolarOperator

# Scanned field plus this many times 1/aperture: the probes at opposite edges must not meet around the period.
_MARGIN = 4.0
# Up to so many incoherent patterns; what is left of a lower contrast is a smooth background.
_MAX_MODES = 6
# Complex values of the transforms held at once.
_BLOCK_VALUES = 2**20
_ITERATIONS = 40


@dataclass(frozen=True, eq=False)
class RandomScan:
    """Where a random object is looked at: detector pixels, probe positions, aperture.

    Attributes
    ----------
    k : numpy.ndarray
        Shape (pixels, 2): (ky, kx) of the pixels, 1/nm.
    shape : tuple of int
        Scan positions (y, x).
    step : tuple of float
        Distance of positions (dy, dx), nm.
    aperture : float
        Radius of the aperture, convergence angle / wavelength, 1/nm. Its edge is soft over one step of the
        lattice.
    spectrum : tuple of numpy.ndarray or None
        |k| (1/nm, increasing) and the mean square ``<|phi(k)|^2>`` of the object there; None for the same
        everywhere.

    Examples
    --------
    >>> scan = RandomScan(np.array([[4.0, 0.0], [-4.0, 0.0]]), (16, 16), (0.3, 0.3), 0.6)
    >>> phi = random_object(scan, np.random.default_rng(0))
    >>> pattern = speckle(scan, phi)
    >>> pattern.shape, bool(np.allclose(pattern[0], pattern[1]))
    ((2, 16, 16), True)
    """

    k: np.ndarray
    shape: tuple[int, int]
    step: tuple[float, float]
    aperture: float
    spectrum: tuple[np.ndarray, np.ndarray] | None = None

    @cached_property
    def period(self) -> tuple[int, int]:
        """Positions per period of the object, (y, x)."""
        pairs = zip(self.shape, self.step, strict=True)
        return tuple(fft.next_fast_len(size + int(np.ceil(_MARGIN / self.aperture / step))) for size, step in pairs)

    @cached_property
    def lattice(self) -> np.ndarray:
        """Steps (y, x) of the lattice of the object's coefficients, 1/nm: one over the period."""
        return 1 / (np.array(self.period) * np.array(self.step))

    @cached_property
    def reach(self) -> np.ndarray:
        """Largest distance (y, x), in lattice steps, of a coefficient inside the aperture from its pixel."""
        return np.ceil(self.aperture / self.lattice + 1).astype(int)

    @cached_property
    def half(self) -> np.ndarray:
        """Highest lattice numbers (y, x) needed; coefficients run from -half to half."""
        return np.rint(np.abs(self.k) / self.lattice).max(axis=0).astype(int) + self.reach

    @cached_property
    def power(self) -> np.ndarray:
        """Mean square of the coefficients, shape ``2 half + 1``."""
        if self.spectrum is None:
            return np.ones(2 * self.half + 1)
        y, x = ((np.arange(2 * h + 1) - h) * step for h, step in zip(self.half, self.lattice, strict=True))
        return np.interp(np.hypot(y[:, None], x), *self.spectrum)

    @cached_property
    def expected(self) -> np.ndarray:
        """Mean intensity of each pixel, shape (pixels,)."""
        blocks = [self.disk(part, np.sqrt(self.power)) for part in self.blocks()]
        return np.concatenate([(np.abs(disk) ** 2).sum(axis=(1, 2)) for disk in blocks])

    def blocks(self) -> list[slice]:
        """Pixels in blocks of bounded memory."""
        size = max(1, _BLOCK_VALUES // int(np.prod(self.period)))
        return [slice(start, min(start + size, len(self.k))) for start in range(0, len(self.k), size)]

    def disk(self, pixels: slice, coefficients: np.ndarray) -> np.ndarray:
        """Coefficients around each pixel times the aperture, shape (pixels, 2 reach_y + 1, 2 reach_x + 1)."""
        position = self.k[pixels] / self.lattice
        nearest = np.rint(position).astype(int)
        y, x = (np.arange(-r, r + 1) for r in self.reach)
        dy = (nearest[:, :1] + y - position[:, :1]) * self.lattice[0]
        dx = (nearest[:, 1:] + x - position[:, 1:]) * self.lattice[1]
        distance = np.hypot(dy[:, :, None], dx[:, None, :])
        aperture = np.clip((self.aperture - distance) / self.lattice.mean() + 0.5, 0, 1)
        rows, cols = nearest[:, :1] + y + self.half[0], nearest[:, 1:] + x + self.half[1]
        return aperture.astype(np.float32) * coefficients[rows[:, :, None], cols[:, None, :]]


def random_object(scan: RandomScan, rng: np.random.Generator, *, beta: float = 0.0) -> np.ndarray:
    """Fourier coefficients of a random object.

    ``sqrt(1 - beta) phi_F + sqrt(beta) phi_N`` with ``phi_F(-k) = conj phi_F(k)`` (a real potential, Friedel
    symmetry) and phi_N without symmetry (absorption, thickness): the intensities of k and -k are correlated by
    ``(1 - beta)^2``, which makes the odd orders ``(1 - (1 - beta)^2)/(1 + (1 - beta)^2)`` of the even ones.

    Parameters
    ----------
    scan : RandomScan
        What is looked at.
    rng : numpy.random.Generator
        Source of the numbers.
    beta : float
        Part without Friedel symmetry, 0 .. 1.

    Returns
    -------
    numpy.ndarray
        Complex, shape ``2 half + 1``; coefficient (0, 0) in the middle.
    """
    if not 0 <= beta <= 1:
        msg = f"beta is {beta!r}; the part without Friedel symmetry lies between 0 and 1."
        raise ValueError(msg)
    shape = tuple(2 * scan.half + 1)
    normal = rng.standard_normal((2, *shape))
    coefficients = (normal[0] + 1j * normal[1]) / np.sqrt(2)
    coefficients = (coefficients + coefficients[::-1, ::-1].conj()) / np.sqrt(2)
    if beta > 0:
        normal = rng.standard_normal((2, *shape))
        free = (normal[0] + 1j * normal[1]) / np.sqrt(2)
        coefficients = np.sqrt(1 - beta) * coefficients + np.sqrt(beta) * free
    return (coefficients * np.sqrt(scan.power)).astype(np.complex64)


def speckle(scan: RandomScan, coefficients: np.ndarray, pixels: slice = slice(None)) -> np.ndarray:
    """Intensity of detector pixels at every probe position, ``|A(k; r)|^2``.

    Parameters
    ----------
    scan : RandomScan
        What is looked at.
    coefficients : numpy.ndarray
        From :func:`random_object`.
    pixels : slice
        Which of the scan's pixels.

    Returns
    -------
    numpy.ndarray
        Shape (pixels, y, x), float32; the mean over objects is ``scan.expected``.
    """
    disk = scan.disk(pixels, coefficients)
    # Positions see a coefficient only modulo the period: fold, then transform no more than that.
    for axis in (1, 2):
        period, size = scan.period[axis - 1], scan.shape[axis - 1]
        disk = fft.fft(_folded(disk, axis, period), n=period, axis=axis)
        disk = disk[(slice(None),) * axis + (slice(size),)]
    return disk.real**2 + disk.imag**2


def _folded(values: np.ndarray, axis: int, period: int) -> np.ndarray:
    """Sum what lies a whole number of periods apart."""
    if values.shape[axis] <= period:
        return values
    parts = np.array_split(values, range(period, values.shape[axis], period), axis=axis)
    result = parts[0].copy()
    for part in parts[1:]:
        result[(slice(None),) * axis + (slice(part.shape[axis]),)] += part
    return result


def mode_weights(contrast: float) -> np.ndarray:
    """Weights, of sum at most 1, of incoherent patterns whose sum has a contrast (std/mean) of 0 .. 1.

    Equal ones but for the last, ``sum(w^2) = contrast^2``; below ``1/sqrt(6)`` six equal ones and, as the rest
    of the sum, a smooth background.

    Examples
    --------
    >>> mode_weights(1.0), mode_weights(0.5).round(6)
    (array([1.]), array([0.25, 0.25, 0.25, 0.25]))
    """
    if not 0 < contrast <= 1:
        msg = f"contrast is {contrast!r}; patterns that add up have a contrast above 0 and at most 1."
        raise ValueError(msg)
    modes = 1 / contrast**2
    if modes >= _MAX_MODES:
        return np.full(_MAX_MODES, np.sqrt(_MAX_MODES / modes) / _MAX_MODES)
    whole = int(np.ceil(modes - 1e-9)) - 1
    if whole == 0:
        return np.ones(1)
    root = max(whole**2 - (modes - 1) * whole * (modes - whole), 0.0)
    weights = np.append(np.ones(whole), (whole - np.sqrt(root)) / (modes - 1))
    return weights / weights.sum()


def null_rings(
    scan: RandomScan,
    operator: PolarOperator,
    rng: np.random.Generator,
    *,
    contrast: float = 1.0,
    beta: float = 0.0,
    mean: float = 1.0,
    gain: float | None = None,
) -> np.ndarray:
    """Azimuthal intensities of a ring from a random object, through the operator of the data.

    Parameters
    ----------
    scan : RandomScan
        Its pixels are those of ``operator``.
    operator : PolarOperator
        One ring.
    rng : numpy.random.Generator
        Source of object and noise.
    contrast : float
        Speckle contrast of a pixel, at most 1; see :func:`mode_weights`.
    beta : float
        Part without Friedel symmetry; see :func:`random_object`.
    mean : float
        Expected mean intensity of the ring per pixel, data units.
    gain : float, optional
        Data units per electron: adds counting noise, pixel by pixel.

    Returns
    -------
    numpy.ndarray
        Shape (y, x, n_phi), float64; a bin without open pixels is NaN. The same for any size of block.
    """
    n_phi, weights = operator.grid.n_phi, mode_weights(contrast)
    matrix = sparse.csr_array(
        (operator.weights, operator.columns, operator.indptr), shape=(n_phi, operator.pixels.size)
    ).tocsc()
    is_open = operator.is_open[0]
    scale = mean / (matrix @ scan.expected)[is_open].mean()
    objects = [random_object(scan, rng, beta=beta) for _ in weights]
    rings = np.zeros((n_phi, scan.shape[0] * scan.shape[1]))
    for pixels in scan.blocks():
        background = (1 - weights.sum()) * scan.expected[pixels, None, None]
        intensity = sum(weight * speckle(scan, phi, pixels) for weight, phi in zip(weights, objects, strict=True))
        intensity = np.maximum(scale * (intensity + background), 0).reshape(len(intensity), -1)
        if gain is not None:
            intensity = gain * rng.poisson(intensity / gain)
        rings += matrix[:, pixels] @ intensity
    rings[~is_open] = np.nan
    return rings.T.reshape(*scan.shape, n_phi)


def rings_to_statistics(rings: np.ndarray) -> np.ndarray:
    """Mean, mean, V2D, P_1, P_2, ... of rings (..., n_phi), the columns of ``ring_statistics``.

    Returns
    -------
    numpy.ndarray
        Shape (..., 3 + n_phi // 2), by the formulas of :mod:`medrange.kernels.angular`.
    """
    mean = np.nanmean(rings, axis=-1)
    return np.concatenate(
        [np.stack([mean, mean, intensity_variance(rings)], axis=-1), angular_power(rings)],
        axis=-1,
    )


def object_spectrum(k: np.ndarray, intensity: np.ndarray, aperture: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean square of an object's coefficients from its mean pattern, which the aperture has blurred.

    Richardson-Lucy iterations undo ``I(k) = integral <|phi(k - q)|^2> a(q)^2 dq`` for a pattern that depends
    on the length of k alone. See [Richardson1972]_ and [Lucy1974]_ in references.bib.

    Parameters
    ----------
    k : numpy.ndarray
        Shape (bins,), 1/nm, equally spaced; those within three aperture radii of k = 0, where the direct
        beam is, are left out.
    intensity : numpy.ndarray
        Shape (bins,), the azimuthal mean; bins that are not finite or not positive are left out.
    aperture : float
        Radius, 1/nm.

    Returns
    -------
    tuple of numpy.ndarray
        k and the mean square, in arbitrary units.

    Raises
    ------
    ValueError
        If fewer than three bins are left.
    """
    k, intensity = np.asarray(k, dtype=float), np.asarray(intensity, dtype=float)
    used = np.isfinite(intensity) & (intensity > 0) & (k > 3 * aperture)
    if used.sum() < 3:
        msg = (
            f"the profile has {int(used.sum())} usable values beyond three aperture radii (k = {3 * aperture:.3g} "
            "1/nm); at least three are needed: check convergence_angle and the calibration of k."
        )
        raise ValueError(msg)
    measured, at = intensity[used], k[used]
    step = (k[-1] - k[0]) / (len(k) - 1)
    source = np.arange(at[0] - aperture, at[-1] + aperture + step / 2, step)
    q = (np.arange(-20, 21)) / 20 * aperture
    qy, qx = np.meshgrid(q, q, indexing="ij")
    inside = np.hypot(qy, qx) <= aperture
    radius = np.hypot(at[:, None] - qx[inside], qy[inside])
    nearest = np.clip(np.rint((radius - source[0]) / step).astype(int), 0, source.size - 1)
    blur = np.stack([np.bincount(row, minlength=source.size) for row in nearest]) / inside.sum()
    reached = blur.sum(axis=0)
    estimate = np.interp(source, at, measured)
    for _ in range(_ITERATIONS):
        correction = np.divide(
            blur.T @ (measured / (blur @ estimate)), reached, where=reached > 0, out=np.ones_like(estimate)
        )
        estimate = estimate * correction
    return source, estimate


def fit_contrast(excess: Callable[[float], float], *, tolerance: float = 0.01, steps: int = 8) -> float:
    """Contrast at which the null is as strong as the data.

    Parameters
    ----------
    excess : callable
        From a contrast of at most 1 to strength of the null over strength of the data; it rises with the
        contrast. It is asked with the same random numbers every time.
    tolerance : float
        On the logarithm of the strength.
    steps : int
        Largest number of calls.

    Returns
    -------
    float
        At most 1 where a sum of random patterns is strong enough. Above 1 none is: then its square is the
        factor by which V2D and P_n of a coherent pattern fall short.

    Examples
    --------
    >>> round(fit_contrast(lambda contrast: 3 * contrast**2 + 0.2), 3)
    0.516
    """
    # Strength against the squared contrast is close to a line: secants on both logarithms.
    x, y = 0.0, float(np.log(excess(1.0)))
    if y <= 0:
        return float(np.exp(-y / 2))
    lowest = np.log(1e-4)
    other_x, other_y = x, y
    x = max(-y, lowest)
    for _ in range(steps - 1):
        y = float(np.log(excess(np.exp(x / 2))))
        if abs(y) < tolerance or (x == lowest and y > 0):
            break
        slope = (y - other_y) / (x - other_x) if x != other_x else 1.0
        other_x, other_y = x, y
        x = float(np.clip(x - y / max(slope, 0.1), lowest, 0.0))
    return float(np.exp(x / 2))


def friedel_breaking(ratio: float) -> float:
    """Part ``beta`` without Friedel symmetry from the ratio of odd to even orders, ``1 - sqrt((1 - r)/(1 + r))``.

    Inverse of the ratio in :func:`random_object`; ratios outside 0 .. 1 are taken as 0 or 1.

    Examples
    --------
    >>> round(friedel_breaking(0.05), 3)
    0.049
    """
    ratio = float(np.clip(ratio, 0, 1))
    return 1 - float(np.sqrt((1 - ratio) / (1 + ratio)))


def odd_even_ratio(power: np.ndarray, orders: np.ndarray) -> float:
    """Strength of odd orders over that of their even neighbors: the median over n = 3, 5, ... up to 11.

    Parameters
    ----------
    power : numpy.ndarray
        Shape (orders,): mean or median P_n, less the shot noise.
    orders : sequence of int
        Their n.

    Returns
    -------
    float
        NaN where no odd order has both neighbors, or they are not positive.

    Examples
    --------
    >>> odd_even_ratio([4.0, 0.3, 2.0], [2, 3, 4])
    0.09999999999999999
    """
    at = dict(zip((int(n) for n in orders), np.asarray(power, dtype=float), strict=True))
    known = [n for n in range(3, 12, 2) if {n - 1, n, n + 1} <= set(at)]
    ratios = [2 * at[n] / (at[n - 1] + at[n + 1]) for n in known if at[n - 1] + at[n + 1] > 0]
    return float(np.median(ratios)) if ratios else float("nan")


def match_medians(
    maps: np.ndarray, target: np.ndarray, kept: np.ndarray, *, floor: np.ndarray | float = 0.0, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scale each realization so that its medians are those of the data: the bulk agrees, hotspots need not.

    What was fitted to the data has to be fitted to each realization as well, else its own chance strength,
    some 7 % per order in 15 nm at a 1 nm probe, counts against the data or for them. Maps of one group share
    the median of their factors, so that one order with many strong positions does not raise its own null: a
    share f of them raises the median of speckle by ``-ln(1 - 0.5/(1 - f))/ln 2``, 1.08 at 5 %, 1.17 at 10 %.

    Parameters
    ----------
    maps : numpy.ndarray
        Shape (realization, n, y, x).
    target : numpy.ndarray
        Shape (n,): medians of the data.
    kept : numpy.ndarray of bool
        Shape (y, x): positions of the medians.
    floor : numpy.ndarray or float
        Shape (n,): expected noise that was subtracted from maps and target; it is put back for the scaling.
    groups : numpy.ndarray of int
        Shape (n,): maps of the same number share a factor.

    Returns
    -------
    matched : numpy.ndarray
        As ``maps``.
    strength : numpy.ndarray
        Shape (realization, n): each map's own factor, median of the data over its own; 1 where either is not
        positive.

    Examples
    --------
    >>> maps = np.arange(1.0, 6.0).reshape(1, 1, 1, 5)
    >>> matched, strength = match_medians(maps, np.array([6.0]), np.ones((1, 5), bool), groups=np.array([0]))
    >>> matched.ravel(), strength
    (array([ 2.,  4.,  6.,  8., 10.]), array([[2.]]))
    """
    floor = np.broadcast_to(np.asarray(floor, dtype=float), target.shape)
    drawn = np.median(maps[:, :, kept], axis=2).astype(float) + floor
    wanted = np.broadcast_to(np.asarray(target, dtype=float) + floor, drawn.shape)
    strength = np.divide(wanted, drawn, out=np.ones(drawn.shape), where=(drawn > 0) & (wanted > 0))
    scale = np.empty(drawn.shape)
    for group in np.unique(groups):
        scale[:, groups == group] = np.exp(np.median(np.log(strength[:, groups == group]), axis=1, keepdims=True))
    scale, floor = scale[:, :, None, None].astype(maps.dtype), floor[:, None, None].astype(maps.dtype)
    return scale * (maps + floor) - floor, strength
