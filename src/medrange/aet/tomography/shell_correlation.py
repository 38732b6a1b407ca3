"""Fourier shell correlation: up to which frequency two volumes agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from medrange.aet.tomography.reconstruction import Reconstruction

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class FourierShellCorrelation:
    """Correlation of two volumes by spatial frequency.

    Attributes
    ----------
    frequency : numpy.ndarray
        Mean modulus of k of each shell, 1/angstrom, or 1/voxel where the voxel is not known.
    correlation : numpy.ndarray
        -1 to 1; NaN where a volume has no power in a shell.
    n_coefficients : numpy.ndarray
        Independent Fourier coefficients in each shell.
    pixel_size : float or None
        Angstrom.
    """

    frequency: np.ndarray
    correlation: np.ndarray
    n_coefficients: np.ndarray
    pixel_size: float | None

    @property
    def units(self) -> str:
        """Unit of the frequencies."""
        return "1/px" if self.pixel_size is None else "1/Å"

    @property
    def table(self) -> pd.DataFrame:
        """One row per shell."""
        import pandas as pd

        names = ("frequency", "correlation", "n_coefficients")
        return pd.DataFrame({name: getattr(self, name) for name in names})

    def resolution(self, threshold: float = 0.143) -> float:
        """Length 1/k, angstrom or voxels, at which the correlation first falls below a threshold.

        0.143 is for two halves of the data, see [Rosenthal2003]_ in references.bib; 0.5 for a volume against
        its truth. NaN if the correlation never falls that low.
        """
        below = np.flatnonzero(self.correlation < threshold)
        if not below.size or below[0] == 0:
            return float("nan")
        right = below[0]
        (k0, k1), (c0, c1) = self.frequency[right - 1 : right + 1], self.correlation[right - 1 : right + 1]
        return float(1 / (k0 + (k1 - k0) * (c0 - threshold) / (c0 - c1)))

    def plot(self, **keywords: object) -> Axes:
        """Draw the curve; see :func:`medrange.plotting.tomography.plot_fourier_shell_correlation`."""
        from medrange.plotting.tomography import plot_fourier_shell_correlation

        return plot_fourier_shell_correlation(self, **keywords)

    def __repr__(self) -> str:
        limit = self.resolution()
        unit = "voxels" if self.pixel_size is None else "Å"
        end = "never below 0.143" if np.isnan(limit) else f"0.143 at {limit:.3g} {unit}"
        return f"FourierShellCorrelation({self.frequency.size} shells, {end})"


def fourier_shell_correlation(
    first: np.ndarray | Reconstruction, second: np.ndarray | Reconstruction, *, pixel_size: float | None = None
) -> FourierShellCorrelation:
    """Correlation of two volumes on shells of constant spatial frequency.

    ``FSC(k) = Re sum F1 conj(F2) / sqrt(sum |F1|^2 sum |F2|^2)``, sums over a shell; see [VanHeel2005]_ in
    references.bib. The shells are one frequency step of the longest axis thick and end at 1/2 per voxel. Two
    independent halves of a tilt series are ``series.select(slice(0, None, 2))`` and ``slice(1, None, 2)``.

    Parameters
    ----------
    first, second : numpy.ndarray or Reconstruction
        Volumes of the same shape [x, y, z].
    pixel_size : float, optional
        Angstrom; by default that of ``first`` where it is a reconstruction.

    Returns
    -------
    FourierShellCorrelation
        Frequencies, correlations and numbers of coefficients.

    Raises
    ------
    ValueError
        If the shapes differ, or a volume holds values that are not finite.

    Examples
    --------
    >>> volume = np.random.default_rng(0).normal(size=(16, 16, 16))
    >>> float(fourier_shell_correlation(volume, 2 * volume).correlation.round(6).min())
    1.0
    """
    if pixel_size is None:
        pixel_size = getattr(first, "pixel_size", None)
    a, b = (np.asarray(getattr(volume, "volume", volume), dtype=float) for volume in (first, second))
    if a.shape != b.shape or a.ndim != 3:
        msg = f"the volumes have shapes {a.shape} and {b.shape}; two volumes of the same shape are needed."
        raise ValueError(msg)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        msg = "a volume holds values that are not finite; replace them, for example with 0."
        raise ValueError(msg)
    transforms = fft.rfftn(a), fft.rfftn(b)
    axes = [fft.fftfreq(n) for n in a.shape[:2]] + [fft.rfftfreq(a.shape[2])]
    k = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))
    longest = max(a.shape)
    shell = np.rint(k * longest).astype(int).ravel()
    n_shells = longest // 2 + 1
    # Half of the coefficients are stored: those of kz > 0 stand for two.
    twice = np.full(transforms[0].shape, 2.0)
    twice[:, :, 0] = 1
    if a.shape[2] % 2 == 0:
        twice[:, :, -1] = 1

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(shell, (values * twice).ravel(), minlength=n_shells)[:n_shells]

    cross = total((transforms[0] * transforms[1].conj()).real)
    power = np.sqrt(total(np.abs(transforms[0]) ** 2) * total(np.abs(transforms[1]) ** 2))
    count = total(np.ones_like(k))
    correlation = np.divide(cross, power, out=np.full(n_shells, np.nan), where=power > 0)
    frequency = total(k) / count / (pixel_size or 1.0)
    return FourierShellCorrelation(frequency, correlation, (count + 1).astype(int) // 2, pixel_size)
