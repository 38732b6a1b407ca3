"""From the PDFs of a scan to their structural components, in memory or chunk by chunk."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from medrange.pdf.components import structural_types
from medrange.pdf.compression import NEGATIVES, CompressedScan, compress
from medrange.pdf.factorization import factorize_compressed
from medrange.pdf.latent import independent_components, principal_components
from medrange.pdf.normalization import AMPLITUDES
from medrange.signals.building import axis_like, map_axes, uniform_axis
from medrange.signals.profile_blocks import curve_blocks
from medrange.signals.profile_mapping import build_derived, floating
from medrange.signals.reduced_pdf import LazyReducedPDF, ReducedPDF
from medrange.signals.structural_components import StructuralComponents
from medrange.signals.weight_maps import weight_signal

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

METHODS = ("nmf", "pca", "ica")
_ANGSTROM = "Å"


def structural_components(
    pdf: ReducedPDF,
    *,
    n_components: int = 3,
    method: str = "nmf",
    negatives: str = "clip",
    normalization: str | None = "auto",
    r_range: tuple[float, float] = (1.5, 12.0),
    n_restarts: int = 20,
    seed: int | np.random.Generator = 0,
) -> StructuralComponents:
    """Structural components of a scan; the parameters are those of ``ReducedPDF.structural_components``."""
    _check(pdf, method, negatives, normalization)
    if normalization == "auto":
        # Weights of clipped PDFs take up the amplitude; an offset, and a mean, do not.
        normalization = None if method == "nmf" and negatives == "clip" else "first_peak"
    r, columns = _cut(pdf, r_range)
    blocks = curve_blocks(pdf.data, columns, label="structural components")
    n_pdfs = int(np.prod(pdf.data.shape[:-1]))
    scan = compress(blocks, n_pdfs, r, negatives=negatives, normalization=normalization)
    left_out = n_pdfs - int(scan.valid.sum())
    if left_out:
        msg = (
            f"{left_out} of {n_pdfs} PDFs are not finite or have no amplitude; they are left out, and NaN in the maps."
        )
        warnings.warn(msg, stacklevel=3)
    parameters = {
        "n_components": n_components,
        "method": method,
        "negatives": negatives,
        "normalization": normalization,
        "r_range": [float(r[0]), float(r[-1])],
        "n_restarts": n_restarts,
        "seed": seed if isinstance(seed, int) else repr(seed),
    }
    if method == "nmf":
        basis, weights, labels, quality = _factorized(scan, r, n_components, n_restarts, seed)
    else:
        basis, weights, labels, quality = _latent(scan, r, n_components, method, seed)
    return StructuralComponents(
        basis=_basis_signal(pdf, basis, columns, parameters),
        weights=weight_signal(weights, scan.valid, map_axes(pdf), source=pdf, parameters=parameters),
        labels=labels,
        parameters=parameters,
        quality=quality,
        scan=scan,
    )


def _factorized(
    scan: CompressedScan, r: np.ndarray, n_components: int, n_restarts: int, seed: Any
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], dict[str, float]]:
    fit = factorize_compressed(scan, n_components, n_restarts=n_restarts, seed=seed)
    if not fit.converged:
        msg = f"the factorization was still improving after {fit.iterations} iterations; fewer components converge."
        warnings.warn(msg, stacklevel=4)
    types = structural_types(scan, fit, r)
    quality = {
        "residual": fit.residual,
        "signed_residual": types.residual,
        "iterations": float(fit.iterations),
        "converged": float(fit.converged),
        "offset": scan.offset,
        "clipped_fraction": scan.clipped_fraction,
        "clipped_energy": scan.clipped_energy,
    }
    return types.bases, types.weights, types.labels, quality


def _latent(
    scan: CompressedScan, r: np.ndarray, n_components: int, method: str, seed: Any
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], dict[str, float]]:
    if method == "pca":
        found, name = principal_components(scan, r, n_components), "PC"
    else:
        found, name = independent_components(scan, r, n_components, seed=seed), "IC"
    labels = tuple(f"{name} {i + 1}" for i in range(n_components))
    quality = {"explained": float(found.explained.sum())}
    quality |= {f"explained {label}": float(share) for label, share in zip(labels, found.explained, strict=True)}
    return found.components, found.scores, labels, quality


def _basis_signal(pdf: ReducedPDF, basis: np.ndarray, columns: slice, parameters: dict) -> ReducedPDF:
    r_axis = axis_like(pdf.axes_manager.signal_axes[0], navigate=False, name="r")
    r_axis["offset"] += r_axis["scale"] * columns.start
    r_axis["size"] = columns.stop - columns.start
    axes = [uniform_axis("component", np.arange(len(basis)), "", navigate=True), r_axis]
    unit = " (1/Å²)" if parameters["normalization"] is None else ""
    return build_derived(
        (ReducedPDF, LazyReducedPDF),
        basis.astype(floating(pdf.data.dtype)),
        axes,
        source=pdf,
        operation="structural_components",
        parameters=parameters,
        quantity=f"basis PDF{unit}",
    )


def _cut(pdf: BaseSignal, r_range: tuple[float, float]) -> tuple[np.ndarray, slice]:
    """Distances within the range, and their columns."""
    r = np.asarray(pdf.r, dtype=np.float64)
    low, high = r_range
    margin = 1e-6 * (r[1] - r[0])
    inside = np.flatnonzero((r >= low - margin) & (r <= high + margin))
    if inside.size < 10:
        msg = (
            f"r_range={r_range!r} holds {inside.size} of the distances, which go from {r[0]:g} to {r[-1]:g} Å; at "
            "least 10 are needed, and the first peak must be among them."
        )
        raise ValueError(msg)
    columns = slice(int(inside[0]), int(inside[-1]) + 1)
    return r[columns], columns


def _check(pdf: BaseSignal, method: str, negatives: str, normalization: str | None) -> None:
    if pdf.axes_manager.navigation_dimension != 2:
        msg = (
            f"structural components need the PDFs of a two-dimensional scan, (y, x | r); this signal has navigation "
            f"shape {pdf.axes_manager.navigation_shape}."
        )
        raise ValueError(msg)
    if method not in METHODS:
        msg = f"method={method!r} is not known; choose 'nmf', 'pca' or 'ica'."
        raise ValueError(msg)
    if negatives not in NEGATIVES:
        msg = f"negatives={negatives!r} is not known; choose 'clip' or 'offset'."
        raise ValueError(msg)
    if normalization is not None and normalization not in ("auto", *AMPLITUDES):
        msg = f"normalization={normalization!r} is not known; choose 'auto', 'first_peak', 'rms' or None."
        raise ValueError(msg)
    if pdf.axes_manager.signal_axes[0].units not in (_ANGSTROM, "A", "angstrom"):
        msg = f"the r axis is in {pdf.axes_manager.signal_axes[0].units!r}; it must be in Å, as reduced_pdf makes it."
        raise ValueError(msg)
