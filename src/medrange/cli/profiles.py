"""Commands for radial profiles and pair distribution functions of scans."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from medrange.cli.console import (
    Debug,
    DryRun,
    Out,
    Quiet,
    Scheduler,
    folder_of,
    loading,
    parts,
    say_page,
    say_plan,
    shows_bar,
    silence,
    teller,
    user_errors,
)


class Background(StrEnum):
    """What is taken out for plural and inelastic scattering."""

    polynomial = "polynomial"
    log_polynomial = "log_polynomial"
    none = "none"


class Window(StrEnum):
    """What S(k) is multiplied by before the transform."""

    none = "none"
    lorch = "lorch"
    exponential = "exponential"


def pdf(  # noqa: PLR0913 - one parameter per option of the command line, gathered at once into PdfOptions
    file: Annotated[Path, typer.Argument(help="Detector file: .xml .raw .mib .hdr .hspy .zspy .h5 .npy")],
    composition: Annotated[str, typer.Option(help="Atomic composition, such as Fe85.2Si0.5B9.5P4Cu0.8.")],
    out: Out = None,
    components: Annotated[
        int | None,
        typer.Option(help="Structural components. Default: 2 types and a residual, else 2 types."),
    ] = None,
    k_range: Annotated[
        str | None,
        typer.Option(help="First,last k, 1/Å (not 1/nm). Default: half the first ring to the last circle."),
    ] = None,
    background: Annotated[
        Background, typer.Option(help="Plural and inelastic scattering; log_polynomial for thick samples.")
    ] = Background.polynomial,
    degree: Annotated[
        int | None, typer.Option(help="Degree of the background polynomial. Default: 4, less for a short k range.")
    ] = None,
    window: Annotated[
        Window, typer.Option(help="Window of the transform; lorch: no ripples, broader peaks.")
    ] = Window.none,
    r_max: Annotated[float, typer.Option(help="End of G(r), Å.")] = 15.0,
    gain: Annotated[
        float | None, typer.Option(help="Data units per electron, for error bands. Default: 1 for integer data.")
    ] = None,
    scan_step: Annotated[float | None, typer.Option(help="Distance of scan positions, nm.")] = None,
    k_step: Annotated[float | None, typer.Option(help="Size of a detector pixel, 1/nm.")] = None,
    energy: Annotated[float | None, typer.Option(help="Beam energy, kV.")] = None,
    convergence: Annotated[float | None, typer.Option(help="Semi-angle of the probe, mrad.")] = None,
    center: Annotated[str | None, typer.Option(help="Direct beam, row,column in pixels.")] = None,
    scan_shape: Annotated[str | None, typer.Option(help="Scan positions, rows,columns.")] = None,
    mask: Annotated[Path | None, typer.Option(help=".npy file, boolean, True = excluded.")] = None,
    lazy: Annotated[bool, typer.Option("--lazy/--eager", help="Read in parts, or all at once.")] = True,
    seed: Annotated[int, typer.Option(help="Of the random numbers; the same seed gives the same page.")] = 0,
    scheduler: Scheduler = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Map pair distribution functions: I(k), S(k), G(r), structural types with errors, and a page to open."""
    settings = {
        "composition": composition,
        "k_range": parts(k_range, float, 2, "--k-range", "0.25,1.6"),
        "polynomial_degree": None if background is Background.none else "auto" if degree is None else degree,
        "background": "polynomial" if background is Background.none else background.value,
        "window": None if window is Window.none else window.value,
        "r_max": r_max,
        "n_components": components,
        "gain": gain,
        "scan_step": scan_step,
        "k_step": k_step,
        "beam_energy": energy,
        "convergence_angle": convergence,
        "center": parts(center, float, 2, "--center", "63.5,64.2"),
        "scan_shape": parts(scan_shape, int, 2, "--scan-shape", "48,48"),
        "mask": mask,
        "lazy": lazy,
        "seed": seed,
        "scheduler": scheduler,
    }
    if dry_run:
        _show_plan(file, settings, debug)
        return
    out = folder_of(out)
    with user_errors(debug), silence(quiet):
        with loading():
            from medrange.report.pdf_run import PdfOptions, write_pdf

        files = write_pdf(file, PdfOptions(**settings), folder=out, tell=teller(), show_progressbar=shows_bar(quiet))
        say_page(files.page)


def _show_plan(file: Path, settings: dict[str, Any], debug: bool) -> None:
    """Print what a run would do."""
    with user_errors(debug):
        with loading():
            from medrange.report.pdf_run import PdfOptions
            from medrange.report.run_plan import plan_pdf

        say_plan(plan_pdf(file, PdfOptions(**settings)))
