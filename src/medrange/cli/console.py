"""What every command does: turn errors into one line, keep quiet, tell the steps, end with the page."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

#: Errors a user can act on: told in one line.
USER_ERRORS = (ValueError, TypeError, OSError, ImportError, NotImplementedError, MemoryError)

Debug = Annotated[bool, typer.Option("--debug", help="Show the full traceback of an error.")]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Only tell what would be read, the memory and the time; nothing is written."),
]
Out = Annotated[
    Path | None, typer.Option(help="Folder for maps, tables, figures and index.html; needed unless --dry-run.")
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="Address of a dask scheduler, tcp://host:8786, whose workers read the file."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


@contextlib.contextmanager
def user_errors(debug: bool) -> Iterator[None]:
    """Turn an error the user can act on into one line on stderr and exit code 1."""
    try:
        yield
    except USER_ERRORS as error:
        if debug:
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        typer.echo(f"Error: {text}", err=True)
        raise typer.Exit(1) from None


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Load packages without searching them for garbage time and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def silence(quiet: bool) -> Iterator[None]:
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


def parts(text: str | None, kind: type, count: int | None, name: str, example: str) -> tuple[Any, ...] | None:
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


def folder_of(out: Path | None) -> Path:
    """The folder to write to, which a run needs; without it a usage error."""
    if out is None:
        msg = "give the folder to write to, --out FOLDER, or --dry-run."
        raise typer.BadParameter(msg, param_hint="--out")
    return out


def say_plan(plan: object) -> None:
    """Print a plan as it is: its columns are aligned."""
    typer.echo(repr(plan))


def shows_bar(quiet: bool) -> bool:
    """Draw a progress bar for somebody who watches, not into a pipe or a log file."""
    return not quiet and sys.stdout.isatty()


def teller() -> Any:
    """Print one line per step; warnings stand out."""
    console = Console(file=sys.stdout)

    def tell(line: str) -> None:
        style = "yellow" if line.startswith("warning") else "dim"
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    return tell


def say_page(page: Path) -> None:
    """End with the path of the page, in one piece."""
    typer.echo(f"Open {page.resolve()}")
