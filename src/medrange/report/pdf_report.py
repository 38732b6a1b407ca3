"""Files of one run of pair distribution functions: figures, tables, maps, and the page that shows them."""

from __future__ import annotations

import warnings as python_warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medrange.plotting.style import MapFrame
from medrange.report.making import ReportFiles, inputs_table, making_section
from medrange.report.page import Figure, Section, Table, write_page
from medrange.report.pdf_figures import write_pdf_figures
from medrange.report.pdf_run import UNTESTED
from medrange.signals.tables import with_units, write_table
from medrange.signals.weight_maps import pixel_size

if TYPE_CHECKING:
    from medrange.report.pdf_run import PdfAnalysis

# Above this the types tell little of the single PDFs.
_LARGE_RESIDUAL = 0.3
# Correlation lengths below this many times that of the probe tell no size.
_NEAR_FLOOR = 1.5


def write_pdf_report(analysis: PdfAnalysis, *, folder: str | Path, warnings: Iterable[str] = ()) -> ReportFiles:
    """Write figures, tables, maps and one HTML page of an analysis of pair distribution functions.

    Parameters
    ----------
    analysis : PdfAnalysis
        From :func:`medrange.report.pdf_run.analyze_profiles`.
    folder : str or path
        Gets ``index.html``, ``figures/*.png``, ``tables/*.csv`` and ``maps/*.zspy``; files of the same name are
        replaced.
    warnings : iterable of str, optional
        Shown above everything else, after the verdict on a single phase where that is not against it.

    Returns
    -------
    ReportFiles
        The paths written.

    Raises
    ------
    FileNotFoundError
        If the source does not exist.

    Examples
    --------
    >>> write_pdf_report(analysis, folder="out").page  # doctest: +SKIP
    """
    folder = Path(folder)
    source = analysis.sources[0]
    inputs = inputs_table(analysis.sources)
    figures = write_pdf_figures(analysis, folder / "figures")
    tables = pdf_tables(analysis)
    page = write_page(
        folder / "index.html",
        title=f"Pair distribution functions of {source.name}",
        summary=_main_figures(analysis, tables),
        sections=[
            _structure_factor_section(analysis, figures),
            _mean_section(analysis, figures, tables),
            _position_section(analysis, figures),
            _components_section(analysis, figures, tables),
            _null_section(analysis, tables),
            _size_section(figures, tables),
            making_section(_parameters(analysis), inputs),
        ],
        warnings=[*_verdict(analysis), *_untested_first(warnings), *_result_warnings(analysis, tables)],
    )
    written = [write_table(table, folder / "tables" / f"{name}.csv") for name, table in tables.items()]
    written += analysis.components.autocorrelation().save(folder / "tables" / "autocorrelation.csv")
    return ReportFiles(page, tuple(figures.values()), tuple(written), tuple(_maps(analysis, folder / "maps")))


def pdf_tables(analysis: PdfAnalysis) -> dict[str, pd.DataFrame]:
    """Every table of a run, by the name of its file.

    Parameters
    ----------
    analysis : PdfAnalysis
        From :func:`medrange.report.pdf_run.analyze_profiles`.

    Returns
    -------
    dict of str to pandas.DataFrame
        With units in ``attrs["units"]``. ``null`` is left out where there was no test.
    """
    components, factor, pdf = analysis.components, analysis.mean_factor, analysis.mean_pdf
    k = factor.axes_manager.signal_axes[0].axis
    curves = {"k": k, "intensity": factor.profile().data, "background": factor.background().data, "S": factor.data}
    error = pdf.error_band().data if analysis.has_error else np.full(pdf.r.size, np.nan)
    mean = {"r": pdf.r, "G": pdf.data, "counting_error": error, "spread_over_scan": analysis.spread}
    basis = dict(zip(components.labels, np.asarray(components.basis.data), strict=True))
    g_units = dict.fromkeys(("G", "counting_error", "spread_over_scan", *basis), "1/Å²")
    tables = {
        "structure_factor": with_units(pd.DataFrame(curves), {"k": "1/Å"}),
        "mean_pdf": with_units(pd.DataFrame(mean), {"r": "Å", **g_units}),
        "connectivity": pdf.connectivity().drop(columns="curve"),
        "basis": with_units(pd.DataFrame({"r": components.basis.r, **basis}), {"r": "Å", **g_units}),
        "components": components.peak_positions,
        "basis_connectivity": components.connectivity(),
        "fractions": components.fractions(seed=analysis.options.seed),
        "correlation_length": analysis.lengths,
        "quality": components.summary,
        "residuals": with_units(analysis.residuals, {}),
    }
    tables["connectivity"] = with_units(tables["connectivity"], {"first_peak": "Å", "distance": "Å", "value": "1/Å²"})
    if analysis.null is not None:
        tables["null"] = _null_table(analysis.null)
    return tables


def _null_table(null: Any) -> pd.DataFrame:
    rows = [
        (name, null.observed[name], null.expected[name], null.spread[name], null.p_values[name])
        for name in null.observed
    ]
    return with_units(pd.DataFrame(rows, columns=["statistic", "observed", "expected", "spread", "p_value"]), {})


def _maps(analysis: PdfAnalysis, folder: Path) -> list[Path]:
    """Profiles, G(r), maps of the first peak and of N, and everything of the components."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = analysis.sources[0].stem
    peak = analysis.first_peak
    signals = {
        "profile": analysis.profile,
        "reduced_pdf": analysis.pdf,
        "normalization": analysis.normalization,
        "first_peak_position": peak.position,
        "first_peak_height": peak.height,
        "first_peak_fwhm": peak.fwhm,
    }
    paths = []
    with python_warnings.catch_warnings():
        # RosettaSciIO's writer on zarr 2; nothing a user can do.
        python_warnings.filterwarnings("ignore", message="The NestedDirectoryStore is deprecated")
        for name, signal in signals.items():
            paths.append(folder / f"{stem}_{name}.zspy")
            signal.save(paths[-1], overwrite=True, show_progressbar=False)
    return [*paths, *analysis.components.save(folder / f"{stem}.zspy", overwrite=True)]


def _structure_factor_section(analysis: PdfAnalysis, figures: Mapping[str, Path]) -> Section:
    options = analysis.options
    low, high = options.k_range
    degree = "No polynomial was taken out." if options.polynomial_degree is None else _POLYNOMIAL[options.background]
    return Section(
        "Intensity and structure factor",
        f"k range {low:.3g} to {high:.3g} 1/Å: {analysis.settings['k range']}. {degree}\n\n"
        "Look at the dashed line: it must run smoothly through the middle of the oscillations. If it does not, change "
        "the k range, the degree of the polynomial, or the background.",
        (
            Figure(
                figures["structure_factor"],
                "Left: mean intensity over the scan; dotted, the ends of the range of k. Middle: this range, and the "
                "intensity that S = 1 would give. Right: the structure factor S(k) of the mean intensity.",
            ),
        ),
    )


_POLYNOMIAL = {
    "polynomial": "A polynomial of k (S - 1) was taken out, which stands for plural and inelastic scattering: "
    "positions of peaks in G(r) hardly depend on it, amplitudes do.",
    "log_polynomial": "The background is a polynomial in the logarithm of the intensity over that of free atoms, and "
    "was divided out: positions of peaks in G(r) hardly depend on it, amplitudes do.",
}


def _mean_section(analysis: PdfAnalysis, figures: Mapping[str, Path], tables: Mapping[str, pd.DataFrame]) -> Section:
    high, window = analysis.options.k_range[1], analysis.options.window
    # Of the transform of a step, and of the step times sinc.
    width = (5.44 if window == "lorch" else 3.80) / (2 * np.pi * high)
    counting = np.nan
    if analysis.has_error:
        counting = float(np.nanmax(tables["mean_pdf"]["counting_error"]))
    error = (
        f"Band in the color of the line: one standard error by counting electrons, at most {counting:.2g} 1/Å²."
        if analysis.has_error
        else "The counting error is not known: give --gain."
    )
    resolution = "" if window == "exponential" else f" A sharp distance appears {width:.2f} Å wide, full width at half."
    return Section(
        "Mean pair distribution function",
        f"G(r) = 4 π r ρ (g(r) - 1) of the mean intensity, window: {window or 'none'}.{resolution} Ripples of the "
        f"period {1 / high:.2f} Å come from the end of the k range. Its amplitude is absolute only without plural "
        "scattering.",
        (
            Figure(
                figures["mean_pdf"],
                f"{error} Gray: standard deviation over the positions of the scan, of structure, speckle and counting "
                "together. Dashed: second-neighbor distances of clusters that share 1 to 4 atoms, from the first peak "
                "(triangle). As Figs. 1e and 3a of Kang et al. (2024).",
            ),
        ),
        (Table(tables["connectivity"], "Distances of connected clusters, and G there."),),
    )


def _position_section(analysis: PdfAnalysis, figures: Mapping[str, Path]) -> Section:
    peak, atoms = (np.ravel(m.data) for m in (analysis.first_peak.position, analysis.normalization))
    found = np.isfinite(peak) & np.isfinite(atoms)
    relation = np.corrcoef(peak[found], atoms[found])[0, 1] if found.sum() > 2 else np.nan
    return Section(
        "First peak",
        "One G(r) for every position of the probe. Distances that follow N are a sign of thickness rather than of "
        f"structure; the correlation of the two maps is {relation:.2f}.",
        (
            Figure(
                figures["first_peak"],
                "Left: N, proportional to the atoms in the beam. Middle: distance of the first peak of G(r), the "
                "nearest neighbors. Right: its height, which falls with plural scattering too. Colors from the 1st to "
                "the 99th percentile.",
            ),
        ),
    )


def _components_section(
    analysis: PdfAnalysis, figures: Mapping[str, Path], tables: Mapping[str, pd.DataFrame]
) -> Section:
    labels = analysis.components.labels
    text = (
        f"The PDFs of the scan as sums of {len(labels)} basis PDFs, by non-negative matrix factorization. Any scan "
        "can be told so, also one of a single phase: see the next section before believing it. "
    )
    if analysis.has_band:
        text += (
            "The factorization of two types is not unique: every pair of basis PDFs in the band fits as well. Quote "
            "peaks and fractions with their bands, band_low to band_high."
        )
    else:
        text += "A band of basis PDFs that fit as well is given for two types only: --components 2."
    return Section(
        "Structural types",
        text,
        (
            Figure(
                figures["basis"],
                "Basis PDFs. Dashed, in the color of each type: second-neighbor distances of clusters that share 1, 2 "
                "or 3 atoms."
                + (" Shaded: what fits as well. " if analysis.has_band else " ")
                + "As Fig. 3a of Kang et al. (2024).",
            ),
            Figure(figures["weights"], "Weights of the basis PDFs over the scan. As Fig. 3b of Kang et al. (2024)."),
            Figure(
                figures["fractions"],
                "Left: all types in one map, each position in the mix of their colors. Right: mean fractions with "
                "standard errors by block bootstrap. As Figs. 3b and 4 of Kang et al. (2024).",
            ),
        ),
        (
            Table(tables["components"], "Peaks of the basis PDFs, and the band of the first."),
            Table(
                tables["fractions"],
                "Fractions. The error is that of the mean over a larger sample, from resampled blocks of the map; the "
                "band is what the factorization leaves open.",
            ),
            Table(tables["basis_connectivity"], "Distances of connected clusters, and each basis PDF there."),
            Table(tables["quality"], "Quality of the factorization."),
            Table(
                tables["residuals"],
                "Residual against the number of components: of the PDFs, and of a half of them on the basis PDFs of "
                "the other half. Components that lower it little follow noise; no number of components can be below "
                "lower_bound.",
            ),
        ),
    )


def _null_section(analysis: PdfAnalysis, tables: Mapping[str, pd.DataFrame]) -> Section:
    title = "Types against a single phase"
    null = analysis.null
    if null is None:
        return Section(title, "The test could not be made; the warnings say why. The types above may be noise.")
    return Section(
        title,
        f"{null.verdict} p = {null.p_value:.2g}.\n\n"
        f"The scan is compared with {null.n_surrogates} scans of a single phase that have its mean PDF and its noise, "
        "speckle included. Both the autocorrelation of the first component between neighboring positions and the "
        "distance of the first peaks at its two ends (peak_gap, Å) must be beyond what noise gives. What passes need "
        "not be two phases: thickness, strain or a drifting beam also change a PDF.",
        tables=(Table(tables["null"], "First component of the scan, and of a single phase.", digits=3),),
    )


def _size_section(figures: Mapping[str, Path], tables: Mapping[str, pd.DataFrame]) -> Section:
    return Section(
        "Sizes",
        "The correlation length is where the autocorrelation of a map falls to 1/e, after the share of noise that "
        "differs from pixel to pixel is taken away. Noise seen through the probe has the length probe_floor: no size "
        "near it is known. Sizes along the beam are not seen: types that lie above each other are averaged.",
        (
            Figure(
                figures["autocorrelation"], "Radial autocorrelation of the maps of the weights, without their noise."
            ),
        ),
        (Table(tables["correlation_length"], "Correlation length of every map."),),
    )


def _parameters(analysis: PdfAnalysis) -> dict[str, object]:
    options = analysis.options
    asked = {
        "composition": options.composition,
        "k range (1/Å)": options.k_range,
        "polynomial degree": "none" if options.polynomial_degree is None else options.polynomial_degree,
        "background": options.background,
        "window": options.window or "none",
        "r max (Å)": options.r_max,
    }
    settings = {name: value for name, value in analysis.settings.items() if name != "k range"}
    return {**settings, **asked, **analysis.components.parameters}


def _main_figures(analysis: PdfAnalysis, tables: Mapping[str, pd.DataFrame]) -> dict[str, object]:
    """Pick what is shown first."""
    frame = MapFrame.of(analysis.first_peak.position)
    rows, columns = analysis.first_peak.position.data.shape
    low, high = analysis.options.k_range
    peaks = tables["components"].set_index("component")
    lengths = tables["correlation_length"].set_index("component")
    summary: dict[str, object] = {
        "Scan": f"{rows} x {columns}, {frame.height:.3g} x {frame.width:.3g} {frame.units}",
        "Composition": analysis.options.composition,
        "k range": f"{low:.3g} to {high:.3g} 1/Å",
        "First peak of G(r)": f"{tables['connectivity']['first_peak'].iloc[0]:.3f} Å",
        "More than a single phase": _short_verdict(analysis),
    }
    for row in tables["fractions"].itertuples():
        peak, length = peaks.loc[[row.component]].iloc[0], lengths.loc[[row.component]].iloc[0]
        band = f" (band {100 * row.band_low:.0f} to {100 * row.band_high:.0f} %)" if np.isfinite(row.band_low) else ""
        summary[f"{row.component.capitalize()}, first peak"] = f"{peak.first_peak:.3f} Å"
        summary[f"{row.component.capitalize()}, fraction"] = f"{100 * row.fraction:.0f} ± {100 * row.error:.0f} %{band}"
        if np.isfinite(length.correlation_length):
            summary[f"{row.component.capitalize()}, correlation length"] = f"{length.correlation_length:.1f} nm"
    return summary


def _short_verdict(analysis: PdfAnalysis) -> str:
    null = analysis.null
    if null is None:
        return "not tested"
    return f"{'yes' if null.distinguishable else 'not distinguishable'}, p = {null.p_value:.2g}"


def _untested_first(warnings: Iterable[str]) -> list[str]:
    return sorted(warnings, key=lambda text: not text.startswith(UNTESTED))


def _verdict(analysis: PdfAnalysis) -> list[str]:
    """What must be read before any map of types."""
    null = analysis.null
    if null is None or null.distinguishable:
        return []
    return [
        f"{null.verdict} (p = {null.p_value:.2g}). The structural types, maps and fractions below are what a "
        "factorization makes of such a scan."
    ]


def _result_warnings(analysis: PdfAnalysis, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Warn of what makes the types less certain."""
    components = analysis.components
    found = []
    if len(components.labels) > 2 and not any(label.startswith("residual") for label in components.labels):
        found.append(
            f"None of the {len(components.labels)} components is a residual: a type may have been split. Compare with "
            "--components 2."
        )
    residual = components.quality["signed_residual"]
    if residual > _LARGE_RESIDUAL:
        found.append(
            f"The types leave {residual:.0%} of the amplitude of the PDFs open: single PDFs are mostly speckle and "
            "noise. Average over more positions, or use a larger probe or a higher dose."
        )
    fractions = tables["fractions"]
    outside = (fractions["fraction"] < fractions["band_low"]) | (fractions["fraction"] > fractions["band_high"])
    if outside.any():
        found.append(
            "The fractions lie outside the band of two types that fit as well: more than two types, or noise, make up "
            "the PDFs of this scan."
        )
    return found + _size_warnings(analysis, tables["correlation_length"])


def _size_warnings(analysis: PdfAnalysis, lengths: pd.DataFrame) -> list[str]:
    """Warn of correlation lengths that probe and scan step alone make."""
    floor, step = float(lengths["probe_floor"].iloc[0]), max(pixel_size(analysis.components.weights))
    limit = np.nanmax([_NEAR_FLOOR * floor, 2 * step])
    lost = list(lengths[lengths["correlation_length"] < limit]["component"])
    if not lost:
        return []
    probe = f"the probe alone ({floor:.2g} nm) or " if np.isfinite(floor) else ""
    return [
        f"The correlation length of {', '.join(dict.fromkeys(lost))} is near that of {probe}two scan steps "
        f"({2 * step:.2g} nm): it tells no size."
    ]
