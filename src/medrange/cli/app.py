"""The ``medrange`` command: argument parsing only; the work is done by ``medrange.report``."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from medrange._version import __version__
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
from medrange.cli.files import convert
from medrange.cli.models import aet, packing, reconstruct
from medrange.cli.profiles import pdf

app = typer.Typer(
    help="Medium-range order in amorphous materials, from 4D-STEM scans and atomic models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the ``medrange`` command."""
    try:
        app(prog_name="medrange")
    finally:
        # What is left goes with the process; nobody need look through it.
        gc.freeze()


def _threshold(text: str) -> str | float:
    """Name of a method, or a number."""
    try:
        return float(text)
    except ValueError:
        return text


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"medrange {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Medium-range order in amorphous materials, from 4D-STEM scans and atomic models."""


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="Detector file: .xml .raw .mib .hdr .hspy .zspy .h5 .npy")],
    scan_shape: Annotated[str | None, typer.Option(help="Scan positions, rows,columns.")] = None,
    debug: Debug = False,
) -> None:
    """Show what a file holds, without reading its frames."""
    shape = parts(scan_shape, int, 2, "--scan-shape", "48,48")
    with user_errors(debug):
        with loading():
            from medrange.report.file_info import file_rows

        rows, notes = file_rows(file, scan_shape=shape)
        table = Table(show_header=False, title=str(file), title_justify="left")
        for row in rows:
            table.add_row(*row)
        console = Console(file=sys.stdout)
        console.print(table)
        for note in notes:
            console.print(f"[yellow]note:[/yellow] {note}", soft_wrap=True)


@app.command()
def maps(  # noqa: PLR0913 - one parameter per option of the command line, gathered at once into MapsOptions
    file: Annotated[Path, typer.Argument(help="Detector file: .xml .raw .mib .hdr .hspy .zspy .h5 .npy")],
    k: Annotated[float, typer.Option(help="Center of the band, 1/nm (k = 1/d).")],
    out: Out = None,
    width: Annotated[float, typer.Option(help="Full width of the band, 1/nm.")] = 0.8,
    orders: Annotated[str, typer.Option(help="Symmetry orders n.")] = "2,4,6,8,10",
    scan_step: Annotated[float | None, typer.Option(help="Distance of scan positions, nm.")] = None,
    k_step: Annotated[float | None, typer.Option(help="Size of a detector pixel, 1/nm.")] = None,
    energy: Annotated[float | None, typer.Option(help="Beam energy, kV.")] = None,
    convergence: Annotated[float | None, typer.Option(help="Semi-angle of the probe, mrad.")] = None,
    center: Annotated[str | None, typer.Option(help="Direct beam, row,column in pixels.")] = None,
    scan_shape: Annotated[str | None, typer.Option(help="Scan positions, rows,columns.")] = None,
    mask: Annotated[Path | None, typer.Option(help=".npy file, boolean, True = excluded.")] = None,
    threshold: Annotated[str, typer.Option(help="isodata, otsu, quantile:0.95 or a number.")] = "isodata",
    thickness: Annotated[float, typer.Option(help="Thickness of the sample, nm.")] = 20.0,
    acceptance: Annotated[float, typer.Option(help="Bragg acceptance angle, degrees.")] = 10.0,
    n_phi: Annotated[int, typer.Option(help="Azimuthal bins.")] = 36,
    lazy: Annotated[bool, typer.Option("--lazy/--eager", help="Read in parts, or all at once.")] = True,
    null: Annotated[
        bool | None,
        typer.Option("--null/--no-null", help="Hold hotspots against chance. Default: up to 128 x 128 positions."),
    ] = None,
    scheduler: Scheduler = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Map medium-range order: V2D, n-fold maps, hotspots and their correlation, and a page to open."""
    settings = {
        "k": k,
        "width": width,
        "orders": parts(orders, int, None, "--orders", "2,4,6"),
        "n_phi": n_phi,
        "scan_step": scan_step,
        "k_step": k_step,
        "beam_energy": energy,
        "convergence_angle": convergence,
        "center": parts(center, float, 2, "--center", "63.5,64.2"),
        "scan_shape": parts(scan_shape, int, 2, "--scan-shape", "48,48"),
        "mask": mask,
        "threshold": _threshold(threshold),
        "thickness": thickness,
        "acceptance_angle": acceptance,
        "lazy": lazy,
        "null": null,
        "scheduler": scheduler,
    }
    if dry_run:
        _show_plan(file, settings, debug)
        return
    out = folder_of(out)
    with user_errors(debug), silence(quiet):
        with loading():
            from medrange.report.maps_run import MapsOptions, write_maps

        files = write_maps(file, MapsOptions(**settings), folder=out, tell=teller(), show_progressbar=shows_bar(quiet))
        say_page(files.page)


def _show_plan(file: Path, settings: dict[str, Any], debug: bool) -> None:
    """Print what a run would do."""
    with user_errors(debug):
        with loading():
            from medrange.report.maps_run import MapsOptions
            from medrange.report.run_plan import plan_maps

        say_plan(plan_maps(file, MapsOptions(**settings)))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for maps, tables, figures and index.html.")] = Path("medrange_demo"),
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Analyze the sample scan that comes with medrange, and compare with the clusters planted in it."""
    with user_errors(debug), silence(quiet):
        with loading():
            from medrange.report.demo_run import write_demo

        files = write_demo(out, tell=teller(), show_progressbar=shows_bar(quiet))
        say_page(files.page)


for _command in (pdf, convert, packing, reconstruct, aet):
    app.command()(_command)
