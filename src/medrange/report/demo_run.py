"""The run behind ``medrange demo``: the sample scan, and the clusters planted in it."""

from __future__ import annotations

from pathlib import Path

from medrange import datasets
from medrange.report.making import ReportFiles
from medrange.report.maps_run import MapsOptions, analyze_scan, write_analysis
from medrange.report.planted import compare_with_planted, planted_section
from medrange.report.running import Tell, gathered_warnings
from medrange.signals.tables import write_table


def write_demo(folder: str | Path, *, tell: Tell = lambda _: None, show_progressbar: bool = False) -> ReportFiles:
    """Analyze the shipped EMPAD scan and compare its maps with the clusters planted in it.

    Parameters
    ----------
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
    FileNotFoundError
        If the sample data were not installed.

    Examples
    --------
    >>> write_demo("medrange_demo").page.name  # doctest: +SKIP
    'index.html'
    """
    folder = Path(folder)
    truth = datasets.sample_truth("empad")
    scan = truth.attrs
    options = MapsOptions(
        k=scan["ring"],
        scan_step=scan["scan_step"],
        k_step=scan["k_step"],
        beam_energy=scan["beam_energy"],
        convergence_angle=scan["convergence_angle"],
        thickness=scan["thickness"],
    )
    with gathered_warnings(tell) as messages:
        analysis = analyze_scan(datasets.sample_scan("empad"), options, tell=tell, show_progressbar=show_progressbar)
        comparison = compare_with_planted(analysis.result, analysis.hotspots, truth)
        tell(f"dominant order right in {comparison.right} of {len(truth)} planted clusters")
        section = planted_section(comparison, analysis.result, truth, folder / "figures")
        write_table(comparison.clusters, folder / "tables" / "planted_clusters.csv")
        write_table(comparison.separation, folder / "tables" / "planted_separation.csv")
        tell("writing figures, tables and the page")
        return write_analysis(analysis, folder, sections=[section], warnings=messages)
