"""Commands for atomic models and tomography."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medrange.cli.console import Debug, Quiet, loading, parts, say_page, shows_bar, silence, teller, user_errors


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
        with loading():
            from medrange.report.packing_run import PackingOptions, write_packing

        options = PackingOptions(cutoff, max_edge, delta, alpha_radius, min_size)
        say_page(write_packing(model, options, folder=out, tell=teller()).page)


Angles = Annotated[Path | None, typer.Option(help="File with the angles: .tlt .txt .csv .mat .npy .npz")]
Axes = Annotated[str | None, typer.Option(help="Order of the array's axes, such as txy.")]
Pixel = Annotated[float | None, typer.Option(help="Pixel size, Å; the file's own by default.")]


def reconstruct(  # noqa: PLR0913 - one parameter per option of the command line
    series: Annotated[Path, typer.Argument(help="Tilt series: .npz .mat .mrc .tif")],
    out: Annotated[Path, typer.Option(help="Folder for the volume, figures and index.html.")],
    iterations: Annotated[int, typer.Option(help="Iterations of RESIRE.")] = 200,
    step: Annotated[float, typer.Option(help="Step size, 1 to 3.")] = 2.0,
    oversampling: Annotated[str, typer.Option(help="Zero padding along x,y,z.")] = "4,4,4",
    extended: Annotated[bool, typer.Option("--extended", help="The object is a film, wider than the images.")] = False,
    angles: Angles = None,
    axes: Axes = None,
    pixel_size: Pixel = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Reconstruct a volume from an aligned tilt series; repeat the command to go on after an interruption."""
    settings = {
        "iterations": iterations,
        "step": step,
        "oversampling": parts(oversampling, float, 3, "--oversampling", "4,4,4"),
        "extended": extended,
    }
    with user_errors(debug), silence(quiet):
        with loading():
            from medrange.report.tomography_run import SeriesOptions, write_reconstruction

        files = write_reconstruction(
            series,
            SeriesOptions(angles, axes, pixel_size),
            settings,
            folder=out,
            tell=teller(),
            progress=shows_bar(quiet),
        )
        say_page(files.page)


def aet(  # noqa: PLR0913 - one parameter per option of the command line, gathered at once into PipelineOptions
    series: Annotated[Path, typer.Argument(help="Tilt series: .npz .mat .mrc .tif")],
    species: Annotated[str, typer.Option(help="Chemical symbols by rising intensity, such as Ni,Pt.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, volume, figures and index.html.")],
    iterations: Annotated[int, typer.Option(help="Iterations of RESIRE.")] = 150,
    min_distance: Annotated[float, typer.Option(help="Shortest distance of atoms, Å.")] = 2.0,
    threshold: Annotated[float, typer.Option(help="Faintest peak, part of the brightest voxel.")] = 0.05,
    smoothing: Annotated[float, typer.Option(help="Gaussian before tracing, Å; 0.2 to 0.3 against noise.")] = 0.0,
    all_atoms: Annotated[bool, typer.Option("--all-atoms", help="Every peak is an atom; for several species.")] = False,
    extended: Annotated[bool, typer.Option("--extended", help="The object is a film, wider than the images.")] = False,
    angles: Angles = None,
    axes: Axes = None,
    pixel_size: Pixel = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Determine atoms from an aligned tilt series and analyze their packing; every stage is resumable."""
    symbols = parts(species, str, None, "--species", "Ni,Pt")
    with user_errors(debug), silence(quiet):
        from medrange.aet.tomography import PipelineOptions

        with loading():
            from medrange.report.tomography_run import SeriesOptions, write_atoms

        options = PipelineOptions(
            symbols,
            iterations=iterations,
            min_distance=min_distance,
            threshold=threshold,
            smoothing=smoothing,
            non_atoms=not all_atoms,
            extended=extended,
        )
        files = write_atoms(
            series,
            SeriesOptions(angles, axes, pixel_size),
            options,
            folder=out,
            tell=teller(),
            progress=shows_bar(quiet),
        )
        say_page(files.page)
