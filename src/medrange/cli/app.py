"""The ``medrange`` command: argument parsing only; the work is done by ``medrange.report``."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from medrange._version import __version__

app = typer.Typer(
    help="Medium-range order in amorphous materials from 4D-STEM scans.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

#: Errors a user can act on: told in one line.
_USER_ERRORS = (ValueError, TypeError, OSError, ImportError, NotImplementedError, MemoryError)

Debug = Annotated[bool, typer.Option("--debug", help="Show the full traceback of an error.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def main() -> None:
    """Run the ``medrange`` command."""
    app(prog_name="medrange")


@contextlib.contextmanager
def _user_errors(debug: bool) -> Iterator[None]:
    """Turn an error the user can act on into one line on stderr and exit code 1."""
    try:
        yield
    except _USER_ERRORS as error:
        if debug:
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        typer.echo(f"Error: {text}", err=True)
        raise typer.Exit(1) from None


@contextlib.contextmanager
def _silence(quiet: bool) -> Iterator[None]:
    """Keep progress bars and log messages of libraries off the screen."""
    if not quiet:
        yield
        return
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)


def _parts(text: str | None, kind: type, count: int | None, name: str, example: str) -> tuple[Any, ...] | None:
    """Numbers of a comma-separated list; a misspelled list is a usage error."""
    if text is None:
        return None
    try:
        parts = tuple(kind(part) for part in text.split(","))
    except ValueError:
        parts = ()
    if not parts or (count is not None and len(parts) != count):
        msg = f"{text!r} is not {'a list' if count is None else f'{count} numbers'} such as {example}."
        raise typer.BadParameter(msg, param_hint=name)
    return parts


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
    """Medium-range order in amorphous materials from 4D-STEM scans."""


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="Detector file: .xml .raw .mib .hdr .hspy .zspy .h5 .npy")],
    scan_shape: Annotated[str | None, typer.Option(help="Scan positions, rows,columns.")] = None,
    debug: Debug = False,
) -> None:
    """Show what a file holds, without reading its frames."""
    shape = _parts(scan_shape, int, 2, "--scan-shape", "48,48")
    with _user_errors(debug):
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
    out: Annotated[Path, typer.Option(help="Folder for maps, tables, figures and index.html.")],
    width: Annotated[float, typer.Option(help="Full width of the band, 1/nm.")] = 0.8,
    orders: Annotated[str, typer.Option(help="Symmetry orders n.")] = "2,4,6,8,10",
    scan_step: Annotated[float | None, typer.Option(help="Distance of scan positions, nm.")] = None,
    k_step: Annotated[float | None, typer.Option(help="Size of a detector pixel, 1/nm.")] = None,
    energy: Annotated[float | None, typer.Option(help="Beam energy, kV.")] = None,
    center: Annotated[str | None, typer.Option(help="Direct beam, row,column in pixels.")] = None,
    scan_shape: Annotated[str | None, typer.Option(help="Scan positions, rows,columns.")] = None,
    mask: Annotated[Path | None, typer.Option(help=".npy file, boolean, True = excluded.")] = None,
    threshold: Annotated[str, typer.Option(help="isodata, otsu, quantile:0.95 or a number.")] = "isodata",
    thickness: Annotated[float, typer.Option(help="Thickness of the sample, nm.")] = 20.0,
    acceptance: Annotated[float, typer.Option(help="Bragg acceptance angle, degrees.")] = 10.0,
    n_phi: Annotated[int, typer.Option(help="Azimuthal bins.")] = 36,
    lazy: Annotated[bool, typer.Option("--lazy/--eager", help="Read in parts, or all at once.")] = True,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Map medium-range order: V2D, n-fold maps, hotspots and their correlation, and a page to open."""
    settings = {
        "k": k,
        "width": width,
        "orders": _parts(orders, int, None, "--orders", "2,4,6"),
        "n_phi": n_phi,
        "scan_step": scan_step,
        "k_step": k_step,
        "beam_energy": energy,
        "center": _parts(center, float, 2, "--center", "63.5,64.2"),
        "scan_shape": _parts(scan_shape, int, 2, "--scan-shape", "48,48"),
        "mask": mask,
        "threshold": _threshold(threshold),
        "thickness": thickness,
        "acceptance_angle": acceptance,
        "lazy": lazy,
    }
    with _user_errors(debug), _silence(quiet):
        from medrange.report.maps_run import MapsOptions, write_maps

        files = write_maps(file, MapsOptions(**settings), folder=out, tell=_teller(), show_progressbar=not quiet)
        _say_page(files.page)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for maps, tables, figures and index.html.")] = Path("medrange_demo"),
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Analyze the sample scan that comes with medrange, and compare with the clusters planted in it."""
    with _user_errors(debug), _silence(quiet):
        from medrange.report.demo_run import write_demo

        files = write_demo(out, tell=_teller(), show_progressbar=_shows_bar(quiet))
        _say_page(files.page)


def _shows_bar(quiet: bool) -> bool:
    """Draw a progress bar for somebody who watches, not into a pipe or a log file."""
    return not quiet and sys.stdout.isatty()


def _teller() -> Any:
    """Print one line per step; warnings stand out."""
    console = Console(file=sys.stdout)

    def tell(line: str) -> None:
        style = "yellow" if line.startswith("warning") else "dim"
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    return tell


def _say_page(page: Path) -> None:
    """End with the path of the page, in one piece."""
    typer.echo(f"Open {page.resolve()}")
