"""Commands for atomic models and tomography."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medrange.cli.console import Debug, Quiet, say_page, silence, teller, user_errors


def packing(  # noqa: PLR0913 - one parameter per option of the command line, gathered at once into PackingOptions
    model: Annotated[Path, typer.Argument(help="Atomic model: .xyz .extxyz .cif, LAMMPS data, anything ASE reads.")],
    out: Annotated[Path, typer.Option(help="Folder for tables, figures, atoms and index.html.")],
    delta: Annotated[float, typer.Option(help="Largest distortion of a tetrahedron.")] = 0.255,
    max_edge: Annotated[float | None, typer.Option(help="Longest edge of a tetrahedron, Å; default from g(r).")] = None,
    cutoff: Annotated[float | None, typer.Option(help="Neighbors of the bond order, Å; default from g(r).")] = None,
    alpha_radius: Annotated[float, typer.Option(help="Radius of the alpha shape, Å.")] = 4.0,
    min_size: Annotated[int, typer.Option(help="Fewest bipyramids of a network.")] = 5,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Analyze atomic packing: g(r), order, Voronoi cells, motifs and networks of bipyramids, and a page to open."""
    with user_errors(debug), silence(quiet):
        from medrange.report.packing_run import PackingOptions, write_packing

        options = PackingOptions(cutoff, max_edge, delta, alpha_radius, min_size)
        say_page(write_packing(model, options, folder=out, tell=teller()).page)
