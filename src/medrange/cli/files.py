"""Commands for files of scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medrange.cli.console import Debug, Quiet, parts, shows_bar, silence, user_errors


def convert(
    source: Annotated[Path, typer.Argument(help="Detector file: .xml .raw .mib .hdr .hspy .h5 .npy")],
    target: Annotated[Path, typer.Argument(help="Store to write: .zspy or .zarr")],
    chunks: Annotated[str | None, typer.Option(help="Scan positions of a chunk, rows,columns.")] = None,
    codec: Annotated[str, typer.Option(help="zstd (smaller), lz4 (faster to read) or none.")] = "zstd",
    scan_shape: Annotated[str | None, typer.Option(help="Scan positions, rows,columns.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Copy a scan into a chunked, compressed store; repeat the command to go on after an interruption."""
    chunk_shape = parts(chunks, int, 2, "--chunks", "8,64")
    shape = parts(scan_shape, int, 2, "--scan-shape", "48,48")
    with user_errors(debug), silence(quiet):
        from tqdm import tqdm

        from medrange.io import convert as convert_scan

        with tqdm(unit="chunk", disable=not shows_bar(quiet)) as bar:

            def report(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            written = convert_scan(
                source,
                target,
                chunks=chunk_shape,
                codec=codec,
                scan_shape=shape,
                overwrite=overwrite,
                report=report,
            )
        resumed = f", {written.resumed} of them from an interrupted run" if written.resumed else ""
        typer.echo(
            f"Wrote {written.path}: {written.blocks} chunks{resumed}, {written.stored_bytes / 1e6:.1f} MB for "
            f"{written.source_bytes / 1e6:.1f} MB, each compared with its source. SHA-256 {written.checksum}"
        )
