"""The run behind ``medrange pdf``: from the patterns of a scan to G(r), structural types and a page."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.signal import find_peaks

from medrange.io.cluster import connected
from medrange.pdf.composition import mean_factors
from medrange.pdf.structure_factor import highest_degree
from medrange.report.running import Tell, gathered_warnings
from medrange.report.scan_setup import OpenedScan, open_scan
from medrange.signals.computing import compute_together
from medrange.signals.counting import recorded_gain
from medrange.units import electron_wavelength, unit_factor

if TYPE_CHECKING:
    import pandas as pd

    from medrange.pdf.null import SinglePhaseTest
    from medrange.report.making import ReportFiles
    from medrange.signals.profiles import RadialProfile
    from medrange.signals.reduced_pdf import PeakMaps, ReducedPDF
    from medrange.signals.structural_components import StructuralComponents
    from medrange.signals.structure_factor import StructureFactor

#: Where the first ring of a glass is looked for, 1/angstrom: distances of 1.4 to 5.6 angstrom.
_RING_RANGE = (0.18, 0.7)
#: Least height of the ring over its surroundings, in the logarithm of I/<f^2>.
_RING_PROMINENCE = 0.03
#: Pixels by which the edge of the direct beam is blurred.
_BEAM_EDGE = 3
#: PDFs of more bytes are made chunk by chunk each time they are needed, and never held all at once.
IN_MEMORY_BYTES = 512 * 2**20
_CHUNK_BYTES = 32 * 2**20
# Degree of the background polynomial of Kang 2024, and the shortest distance of metals, angstrom.
_DEGREE = 4
_FIRST_NEIGHBOR = 2.5
# Types of Kang 2024: two, and a residual.
_TYPES, _WITH_RESIDUAL = 2, 3
_NUMBERS = (1, 2, 3, 4)
#: How a warning begins that must be read before any map of types.
UNTESTED = "The types were not held against a single phase"


@dataclass(frozen=True)
class PdfOptions:
    """What to make of a scan, and how; r in angstrom, k_range in 1/angstrom, k_step in 1/nm, scan_step in nm.

    Attributes
    ----------
    composition : str
        Atomic composition of the sample, ``"Fe85.2Si0.5B9.5P4Cu0.8"``.
    k_range : tuple of float, optional
        First and last k = 1/d in 1/angstrom; by default from half the k of the first ring, outside the direct beam,
        to the last full circle on the detector.
    polynomial_degree : int, "auto" or None
        Degree of the background polynomial; ``"auto"`` is 4, or less where the k range is so short that a polynomial
        of degree 4 could follow the nearest neighbors; None for none.
    background : str
        ``"polynomial"`` or, for thick samples, ``"log_polynomial"``.
    window : str or None
        ``"lorch"``, ``"exponential"`` or None.
    r_max : float
        End of G(r) in angstrom.
    r_range : tuple of float
        Distances that structural types are told by, in angstrom; cut at ``r_max``.
    n_components : int, optional
        Number of components. By default two types and a residual, or two types where no residual comes out.
    gain : float, optional
        Data units per detected electron, for the counting error; 1 for integer data by default.
    scan_step, k_step, beam_energy, convergence_angle, center, scan_shape, mask, lazy, scheduler
        As in :class:`medrange.report.maps_run.MapsOptions`.
    seed : int
        Of the searches, the surrogates and the resampling.
    """

    composition: str
    k_range: tuple[float, float] | None = None
    polynomial_degree: int | Literal["auto"] | None = "auto"
    background: Literal["polynomial", "log_polynomial"] = "polynomial"
    window: Literal["lorch", "exponential"] | None = None
    r_max: float = 15.0
    r_range: tuple[float, float] = (1.5, 12.0)
    n_components: int | None = None
    gain: float | None = None
    scan_step: float | None = None
    k_step: float | None = None
    beam_energy: float | None = None
    convergence_angle: float | None = None
    center: tuple[float, float] | None = None
    scan_shape: tuple[int, int] | None = None
    mask: Path | None = None
    lazy: bool = True
    scheduler: str | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class PdfAnalysis:
    """What was computed from a scan.

    Attributes
    ----------
    profile : RadialProfile
        I(k) at every position, (y, x | k).
    mean_profile : RadialProfile
        Its mean over the scan, (| k).
    mean_factor : StructureFactor
        S(k) of the mean profile.
    mean_pdf : ReducedPDF
        G(r) of the mean profile; with its counting error where the gain is known.
    pdf : ReducedPDF
        G(r) at every position, (y, x | r); lazy where it would fill more than 512 MiB.
    spread : numpy.ndarray
        Standard deviation of G(r) over the scan, (r,), 1/angstrom^2.
    normalization : Signal2D
        N, proportional to the atoms in the beam, (| y, x).
    first_peak : PeakMaps
        First peak of G(r) at every position.
    components : StructuralComponents
        Structural types and their maps.
    null : SinglePhaseTest or None
        Types against a single phase with the same noise; None where it could not be made.
    residuals : pandas.DataFrame
        Residual against the number of components.
    options : PdfOptions
        With the k range, the degree and the number of components that were used.
    settings : dict
        How the scan was calibrated and the k range found: name -> value with its unit.
    sources : tuple of pathlib.Path
        The files that were read.
    """

    profile: RadialProfile
    mean_profile: RadialProfile
    mean_factor: StructureFactor
    mean_pdf: ReducedPDF
    pdf: ReducedPDF
    spread: np.ndarray
    normalization: Any
    first_peak: PeakMaps
    components: StructuralComponents
    null: SinglePhaseTest | None
    residuals: pd.DataFrame
    options: PdfOptions
    settings: dict[str, object]
    sources: tuple[Path, ...]

    @property
    def has_error(self) -> bool:
        """Whether the counting error of the mean G(r) is known."""
        return self.mean_pdf.metadata.has_item("Signal.Noise_properties.variance")

    @property
    def has_band(self) -> bool:
        """Whether there are two types, of which is known what fits as well."""
        return sum(not label.startswith("residual") for label in self.components.labels) == _TYPES

    @cached_property
    def lengths(self) -> pd.DataFrame:
        """Correlation length of every map and that of the probe alone, nm."""
        return self.components.correlation_length()


def write_pdf(
    path: str | Path,
    options: PdfOptions,
    *,
    folder: str | Path,
    tell: Tell = lambda _: None,
    show_progressbar: bool = False,
) -> ReportFiles:
    """Analyze a scan and write profiles, PDFs, maps, tables, figures and the page.

    Parameters
    ----------
    path : str or path
        Detector file, anything :func:`medrange.load` reads.
    options : PdfOptions
        What to make of it.
    folder : str or path
        Where to write; made when missing.
    tell : callable, optional
        Called with one line before each step, and with each warning.
    show_progressbar : bool, optional
        Show a progress bar during the pass over the data.

    Returns
    -------
    ReportFiles
        The paths written.

    Raises
    ------
    ValueError
        If the scan is not calibrated, or an option does not fit it; the message says what to do.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> write_pdf("scan.hdr", PdfOptions("Fe80B20"), folder="out").page  # doctest: +SKIP
    """
    from medrange.report.pdf_report import write_pdf_report

    with connected(None), gathered_warnings(tell) as messages:
        analysis = analyze_profiles(path, options, tell=tell, show_progressbar=show_progressbar)
        tell("writing figures, tables and the page")
        return write_pdf_report(analysis, folder=folder, warnings=messages)


def analyze_profiles(
    path: str | Path, options: PdfOptions, *, tell: Tell = lambda _: None, show_progressbar: bool = False
) -> PdfAnalysis:
    """All of the analysis; the patterns are read once, and only their profiles are kept.

    Parameters
    ----------
    path, options, tell, show_progressbar
        As in :func:`write_pdf`.

    Returns
    -------
    PdfAnalysis
        The results.
    """
    # A composition that cannot be read is told before the data are.
    mean_factors(options.composition, np.array([0.5]))
    with connected(options.scheduler):
        scan = open_scan(path, options, tell=tell)
        tell("radial profiles")
        profile = scan.signal.radial_profile()
        if profile._lazy:
            profile.compute(show_progressbar=show_progressbar)
    mean_profile = profile.mean()
    k_range, origin = _k_range(mean_profile, options)
    options = replace(
        options,
        k_range=k_range,
        polynomial_degree=_degree(options.polynomial_degree, k_range),
        r_range=(options.r_range[0], min(options.r_range[1], options.r_max)),
    )
    tell(f"structure factors and G(r), k = {k_range[0]:.3g} to {k_range[1]:.3g} 1/Å")
    mean_factor, mean_pdf = _mean_curves(mean_profile, options, n_patterns=int(np.prod(profile.data.shape[:-1])))
    with warnings.catch_warnings():
        # The mean profile, of the same k range, has told it.
        warnings.filterwarnings("ignore", message="a polynomial of degree")
        factor = _structure_factor(_in_chunks(profile, options.r_max), options)
    pdf = factor.reduced_pdf(r_max=options.r_max, window=options.window)
    peak, normalization = pdf.first_peak(), factor.normalization()
    maps = (normalization, peak.position, peak.height, peak.fwhm)
    spread = np.asarray(compute_together(maps, np.nanstd(pdf.data, axis=(0, 1)), show_progressbar=False))
    tell("structural components")
    components = _components(pdf, options)
    tell("holding them against a single phase")
    return PdfAnalysis(
        profile=profile,
        mean_profile=mean_profile,
        mean_factor=mean_factor,
        mean_pdf=mean_pdf,
        pdf=pdf,
        spread=spread,
        normalization=normalization,
        first_peak=peak,
        components=components,
        null=_null(components, options.seed),
        residuals=components.residuals(_NUMBERS, seed=options.seed),
        options=replace(options, n_components=len(components.labels)),
        settings=_settings(scan, origin),
        sources=scan.sources,
    )


def first_ring(k: np.ndarray, intensity: np.ndarray, composition: str) -> float:
    """Position of the first ring: the most prominent maximum of ``ln(I/<f^2>)`` over a parabola fitted to it.

    Parameters
    ----------
    k : numpy.ndarray
        Shape (n_k,), 1/angstrom.
    intensity : numpy.ndarray
        Shape (n_k,): mean azimuthal intensity, of which 0.18 to 0.7 1/angstrom is used; values that are not positive
        are left out.
    composition : str
        Atomic composition.

    Returns
    -------
    float
        k in 1/angstrom.

    Raises
    ------
    ValueError
        If there is no maximum.

    Examples
    --------
    >>> k = np.linspace(0.01, 1.6, 160)
    >>> square = mean_factors("Fe", k)[1]
    >>> round(first_ring(k, square * (1 + np.exp(-(((k - 0.48) / 0.05) ** 2))), "Fe"), 2)
    0.48
    """
    inside = (k >= _RING_RANGE[0]) & (k <= _RING_RANGE[1]) & (np.nan_to_num(intensity) > 0)
    k, intensity = k[inside], intensity[inside]
    found = np.empty(0, dtype=int)
    if k.size >= 3:
        contrast = np.log(intensity / mean_factors(composition, k)[1])
        # On the steep background of a thick sample a ring is but a shoulder.
        contrast -= np.polyval(np.polyfit(k, contrast, 2), k)
        found, properties = find_peaks(contrast, prominence=_RING_PROMINENCE)
    if not found.size:
        msg = (
            f"no ring was found between {_RING_RANGE[0]:g} and {_RING_RANGE[1]:g} 1/Å in the mean intensity; give the "
            "range of k with --k-range FIRST,LAST in 1/Å, and check --k-step and --center."
        )
        raise ValueError(msg)
    return float(k[found[np.argmax(properties["prominences"])]])


def _k_range(profile: RadialProfile, options: PdfOptions) -> tuple[tuple[float, float], str]:
    """First and last k in 1/angstrom, and where they come from."""
    if options.k_range is not None:
        return options.k_range, "given"
    axis = profile.axes_manager.signal_axes[0]
    k = axis.axis * unit_factor(axis.units, "1/Å")
    intensity = np.asarray(profile.data, dtype=float)
    ring = first_ring(k, intensity, options.composition)
    start = max(ring / 2, _beam_radius(profile, k[1] - k[0]))
    good = np.isfinite(intensity) & (intensity > 0)
    center = int(np.argmin(np.abs(k - ring)))
    # Rings without an open pixel, behind a beam stop or off the detector, end the range on their side.
    below, above = np.flatnonzero(~good[:center]), np.flatnonzero(~good[center:])
    first = max(int(np.searchsorted(k, start - 1e-9)), below[-1] + 1 if below.size else 0)
    last = center + above[0] - 1 if above.size else k.size - 1
    origin = f"from half the k of the first ring, which is at {ring:.3f} 1/Å, to the last ring on the detector"
    return (float(k[first]), float(k[last])), origin


def _degree(asked: int | str | None, k_range: tuple[float, float]) -> int | None:
    if asked != "auto":
        return asked
    return int(np.clip(highest_degree(k_range, _FIRST_NEIGHBOR), 0, _DEGREE))


def _beam_radius(profile: RadialProfile, k_step: float) -> float:
    """Edge of the direct beam in 1/angstrom, 0 where the probe is not known."""
    angle = profile.metadata.get_item("Acquisition_instrument.TEM.convergence_angle")
    energy = profile.metadata.get_item("Acquisition_instrument.TEM.beam_energy")
    if angle is None or energy is None:
        return 0.0
    return float(angle) * 1e-3 / electron_wavelength(float(energy)) + _BEAM_EDGE * k_step


def _structure_factor(profile: RadialProfile, options: PdfOptions) -> StructureFactor:
    return profile.structure_factor(
        options.composition,
        k_range=options.k_range,
        polynomial_degree=options.polynomial_degree,
        background=options.background,
    )


def _mean_curves(
    mean_profile: RadialProfile, options: PdfOptions, *, n_patterns: int
) -> tuple[StructureFactor, ReducedPDF]:
    """S(k) and G(r) of the mean profile, the latter with its counting error where the gain is known."""
    factor = _structure_factor(mean_profile, options)
    gain = recorded_gain(mean_profile) if options.gain is None else options.gain
    if gain is None:
        warnings.warn(
            "The counting error of G(r) is unknown: the patterns are not integers; give --gain, in data units per "
            "detected electron.",
            stacklevel=2,
        )
        return factor, factor.reduced_pdf(r_max=options.r_max, window=options.window)
    error = {"error": True, "gain": gain / n_patterns}
    return factor, factor.reduced_pdf(r_max=options.r_max, window=options.window, **error)


def _in_chunks(profile: RadialProfile, r_max: float) -> RadialProfile:
    """Profiles whose PDFs would fill the memory as a lazy signal, in rows of the scan; others as they are."""
    rows, columns, n_k = profile.data.shape
    # Of a position: I(k) and S(k), and G(r) in steps of 0.05 angstrom, in single precision.
    row_bytes = 4 * columns * (2 * n_k + int(r_max / 0.05))
    if rows * row_bytes <= IN_MEMORY_BYTES:
        return profile
    lazy = profile.as_lazy()
    lazy.data = lazy.data.rechunk((max(1, _CHUNK_BYTES // row_bytes), columns, n_k))
    return lazy


def _components(pdf: ReducedPDF, options: PdfOptions) -> StructuralComponents:
    """As many components as were asked for; else two types and a residual, or two types."""
    asked = {"r_range": options.r_range, "seed": options.seed}
    if options.n_components is not None:
        return pdf.structural_components(n_components=options.n_components, **asked)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        three = pdf.structural_components(n_components=_WITH_RESIDUAL, **asked)
    if sum(label.startswith("residual") for label in three.labels) == _WITH_RESIDUAL - _TYPES:
        for warning in told:
            warnings.warn(warning.message, stacklevel=2)
        return three
    return pdf.structural_components(n_components=_TYPES, **asked)


def _null(components: StructuralComponents, seed: int) -> SinglePhaseTest | None:
    try:
        return components.null(seed=seed)
    except ValueError as error:
        # A scan may be too small for it; the rest of the page is as good as it was.
        warnings.warn(
            f"{UNTESTED}: {error} Any scan splits into types, also one of a single phase.",
            stacklevel=2,
        )
        return None


def _settings(scan: OpenedScan, origin: str) -> dict[str, object]:
    return scan.settings | {"k range": origin}
