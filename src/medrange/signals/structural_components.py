"""Structural types of a glass from the PDFs of a scan: basis PDFs, maps of their weights, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from hyperspy.signals import Signal2D

from medrange.pdf.components import residual_by_number, weights_on
from medrange.pdf.compression import CompressedScan
from medrange.pdf.feasible_band import FeasibleBand, feasible_band
from medrange.pdf.fractions import fraction_maps
from medrange.pdf.null import SinglePhaseTest, single_phase_test
from medrange.signals import component_files, component_tables
from medrange.signals.autocorrelation import Autocorrelation, autocorrelate_maps
from medrange.signals.building import axis_like
from medrange.signals.reduced_pdf import ReducedPDF
from medrange.signals.tables import with_units
from medrange.signals.weight_maps import (
    correlation_table,
    pixel_size,
    probe_width,
    remove_noise_spike,
    weight_signal,
)


@dataclass(frozen=True, eq=False, repr=False)
class StructuralComponents:
    """Structural types of a scan, see [Kang2024]_; made by ``ReducedPDF.structural_components``.

    Attributes
    ----------
    basis : ReducedPDF
        Basis PDFs (component | r); of ``"pca"`` and ``"ica"``: what one standard deviation adds to the mean PDF.
    weights : Signal2D
        Maps (component | y, x): non-negative least squares of every PDF on the basis, which sum to 1 on average; of
        ``"pca"`` and ``"ica"`` the scores. NaN where there is no PDF.
    labels : tuple of str
        ``"liquid-like"`` (larger first distance), ``"solid-like"``, ``"intermediate"``, ``"residual"``, or ``"PC 1"``.
    parameters : dict
        What was asked for.
    quality : dict of str to float
        ``residual``: ``|V - W H| / |V|`` of the PDFs without negative values; ``signed_residual``: of the PDFs as
        measured; ``iterations``, ``converged``; ``offset`` (unit of the PDFs), ``clipped_fraction`` and
        ``clipped_energy`` (shares of values and of their squares set to zero). ``"pca"``, ``"ica"``: ``explained``.
    scan : CompressedScan
        The PDFs in few coefficients each, for everything that is asked afterwards.
    """

    basis: ReducedPDF
    weights: Signal2D
    labels: tuple[str, ...]
    parameters: dict[str, Any]
    quality: dict[str, float]
    scan: CompressedScan

    def __repr__(self) -> str:
        rows, cols = self.weights.data.shape[-2:]
        head = f"StructuralComponents({len(self.labels)} by {self.parameters['method']} of {rows} x {cols} PDFs"
        if not self.is_factorization:
            return f"{head}; {100 * self.quality['explained']:.1f} % of the variance)"
        mean = np.nanmean(self.fraction_maps, axis=(1, 2))
        peaks = self.peak_positions["first_peak"]
        parts = [f"{name} R1 {peak:.3f} Å" for name, peak in zip(self.labels, peaks, strict=True)]
        parts = [f"{part}, {100 * f:.0f} %" for part, f in zip(parts, mean, strict=False)] + parts[len(mean) :]
        note = "" if len(mean) < 3 else "; more than two types: one may be split, see .residuals()"
        return f"{head}; {'; '.join(parts)}; residual {self.quality['signed_residual']:.4f}{note})"

    @property
    def is_factorization(self) -> bool:
        """Whether the weights are fractions of types, by ``"nmf"``, and not scores."""
        return self.parameters["method"] == "nmf"

    @property
    def fraction_maps(self) -> np.ndarray:
        """Shape (type, y, x): weight over the sum of the weights of all types, residuals left out."""
        self._require_factorization("fractions")
        weights = np.moveaxis(np.asarray(self.weights.data, dtype=np.float64), 0, -1)
        return np.moveaxis(fraction_maps(weights, self.labels), -1, 0)

    @cached_property
    def band(self) -> FeasibleBand:
        """All pairs of two types that fit as well: :func:`medrange.pdf.feasible_band.feasible_band`."""
        return feasible_band(self.scan, self.basis.r)

    @property
    def peak_positions(self) -> pd.DataFrame:
        """First and second peaks of the basis PDFs, and the band of the first.

        Returns
        -------
        pandas.DataFrame
            ``component``, ``first_peak``, ``band_low``, ``band_high`` (NaN unless there are two types), ``fwhm``,
            ``second_peak``, ``shoulder``; all in Å.
        """
        self._require_factorization("peak positions")
        return component_tables.peak_positions(self)

    def connectivity(self) -> pd.DataFrame:
        """Second-neighbor distances of clusters that share 1, 2, 3 or 4 atoms, and each basis PDF there.

        Returns
        -------
        pandas.DataFrame
            ``component``, ``shared_atoms``, ``first_peak``, ``distance`` (Å), ``value`` (1/Å²); residuals left out.
        """
        self._require_factorization("connections")
        return component_tables.connectivity(self)

    def fractions(
        self, *, block: int | None = None, n_samples: int = 1000, seed: int | np.random.Generator = 0
    ) -> pd.DataFrame:
        """Population fraction of every type with its error by block bootstrap.

        The error is that of the mean over a larger sample, of which the scan is a part; the band is what the
        factorization leaves open, and is usually wider.

        Parameters
        ----------
        block : int, optional
            Side of the blocks in pixels; twice the correlation length when not given.
        n_samples : int
            Draws.
        seed : int or numpy.random.Generator
            Of the draws.

        Returns
        -------
        pandas.DataFrame
            ``component``, ``fraction``, ``error``, ``block`` (pixels), ``band_low``, ``band_high`` (NaN unless
            there are two types).
        """
        return component_tables.fractions(self, block, n_samples, np.random.default_rng(seed))

    def null(self, *, n_surrogates: int = 99, seed: int | np.random.Generator = 0) -> SinglePhaseTest:
        """Test against a single phase: :func:`medrange.pdf.null.single_phase_test`."""
        shape = self.weights.data.shape[-2:]
        return single_phase_test(self.scan, shape, self.basis.r, n_surrogates=n_surrogates, seed=seed)

    def stability(self, *, n_runs: int = 5, seed: int | np.random.Generator = 1) -> pd.DataFrame:
        """Other starts and random halves of the scan, matched to this result.

        Returns
        -------
        pandas.DataFrame
            One row per run and component: ``run``, ``kind``, ``component``, ``basis_correlation``,
            ``weight_correlation``, ``first_peak`` (Å), ``residual``.
        """
        self._require_factorization("stability")
        return component_tables.stability(self, n_runs, seed)

    def residuals(self, numbers: tuple[int, ...] = (1, 2, 3, 4, 5), *, seed: int = 0) -> pd.DataFrame:
        """Residual against the number of components: :func:`medrange.pdf.components.residual_by_number`."""
        return pd.DataFrame(residual_by_number(self.scan, numbers, seed=seed))

    def autocorrelation(self, *, max_distance: float | None = None) -> Autocorrelation:
        """Radial autocorrelation of the maps of the weights, without the spike of noise at r = 0."""
        return remove_noise_spike(self._autocorrelation(max_distance))[0]

    def correlation_length(self, *, probe_fwhm: float | None = None) -> pd.DataFrame:
        """Correlation length of every map, and that of noise seen through the probe: below it no size is known.

        Parameters
        ----------
        probe_fwhm : float, optional
            Full width at half maximum of the probe, nm; the diffraction limit from the recorded convergence angle and
            beam energy when not given.

        Returns
        -------
        pandas.DataFrame
            ``component``, ``correlation_length`` (nm, 1/e), ``noise_share``, ``probe_floor`` (nm).
        """
        probe = probe_width(self.weights) if probe_fwhm is None else probe_fwhm
        return correlation_table(self._autocorrelation(None), probe)

    @property
    def table(self) -> pd.DataFrame:
        """One row per component: peaks and their band, and of the types the population fraction and its error."""
        peaks, fractions = self.peak_positions, self.fractions()[["component", "fraction", "error"]]
        return with_units(peaks.merge(fractions, on="component", how="left"), peaks.attrs["units"])

    @property
    def summary(self) -> pd.DataFrame:
        """Quality of the decomposition: ``quantity`` and ``value``, one row each."""
        return pd.DataFrame({"quantity": list(self.quality), "value": list(self.quality.values())})

    def with_basis(self, other: StructuralComponents) -> Self:
        """Weights of this scan on the basis of another, so that two samples are told in the same terms.

        Parameters
        ----------
        other : StructuralComponents
            By ``"nmf"``, on the same r and with the same normalization.

        Returns
        -------
        StructuralComponents
            Of this scan; its ``quality`` holds only the ``signed_residual``.
        """
        other._require_factorization("a basis for another scan")
        same = all(self.parameters[name] == other.parameters[name] for name in ("method", "normalization"))
        if not same or not np.array_equal(self.basis.r, other.basis.r):
            msg = "the other scan has another r, method or normalization; decompose both alike."
            raise ValueError(msg)
        weights, residual = weights_on(self.scan, np.asarray(other.basis.data, dtype=np.float64))
        axes = [axis_like(axis, navigate=False) for axis in self.weights.axes_manager.signal_axes[::-1]]
        maps = weight_signal(weights, self.scan.valid, axes, source=self.weights, parameters=self.parameters)
        quality = {"signed_residual": residual}
        return replace(self, basis=other.basis, labels=other.labels, weights=maps, quality=quality)

    def save(self, path: str | Path, *, overwrite: bool | None = None) -> list[Path]:
        """Save everything beside each other; :meth:`load` reads it back.

        Parameters
        ----------
        path : str or Path
            ``NAME.zspy`` or ``NAME.hspy``; .zspy when it has no ending.
        overwrite : bool, optional
            As in HyperSpy: ask when not given.

        Returns
        -------
        list of Path
            ``NAME_basis``, ``NAME_weights``, which HyperSpy opens too, and ``NAME_scan.npz``.
        """
        return component_files.write(self, Path(path), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote under this name."""
        return cls(**component_files.read(Path(path)))

    def plot(self, **kwargs: Any) -> Any:
        """Basis PDFs, maps and their color mix: see :func:`medrange.plotting.components.plot_components`."""
        from medrange.plotting import components

        return components.plot_components(self, **kwargs)

    @property
    def types(self) -> tuple[str, ...]:
        """Labels of the structural types, which come before the residuals."""
        return tuple(label for label in self.labels if not label.startswith("residual"))

    def _autocorrelation(self, max_distance: float | None) -> Autocorrelation:
        images = np.asarray(self.weights.data, dtype=np.float64)
        return autocorrelate_maps(images, self.labels, pixel_size=pixel_size(self.weights), max_distance=max_distance)

    def _require_factorization(self, what: str) -> None:
        if not self.is_factorization:
            msg = f"{what} need PDFs as components; method={self.parameters['method']!r} gives changes. Use 'nmf'."
            raise ValueError(msg)
