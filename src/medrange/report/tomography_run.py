"""The runs behind ``medrange reconstruct`` and ``medrange aet``: a tilt series to a volume, and to atoms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medrange import plotting
from medrange.aet.tomography import (
    PipelineOptions,
    Reconstruction,
    ResireOptions,
    TiltSeries,
    determine_atoms,
    resire,
)
from medrange.report.figure_files import Draw, save_figures
from medrange.report.making import ReportFiles, inputs_table, making_section
from medrange.report.packing_run import PackingOptions
from medrange.report.packing_stage import packing_stage
from medrange.report.page import Figure, Section, Table, write_page
from medrange.report.running import Tell, gathered_warnings


@dataclass(frozen=True)
class SeriesOptions:
    """How to read a tilt series.

    Attributes
    ----------
    angles : path, optional
        File with the angles, where the file of the projections holds none.
    axes : str, optional
        Order of the array's axes, a permutation of "txy".
    pixel_size : float, optional
        Angstrom; by default what the file says.
    """

    angles: Path | None = None
    axes: str | None = None
    pixel_size: float | None = None

    def load(self, path: str | Path) -> TiltSeries:
        """Read the series."""
        return TiltSeries.load(path, angles=self.angles, axes=self.axes, pixel_size=self.pixel_size)


def write_reconstruction(
    path: str | Path,
    series: SeriesOptions,
    settings: Mapping[str, Any],
    *,
    folder: str | Path,
    tell: Tell = lambda _: None,
    progress: bool = False,
) -> ReportFiles:
    """Reconstruct a volume and write it with figures and a page; a run cut short goes on from its checkpoint.

    Parameters
    ----------
    path : str or path
        Tilt series, anything :meth:`medrange.aet.TiltSeries.load` reads.
    series : SeriesOptions
        How to read it.
    settings : mapping
        ``iterations``, ``step``, ``oversampling``, ``extended``, ``projector`` of :func:`medrange.aet.resire`.
    folder : str or path
        Gets ``index.html``, ``volume.mrc``, ``reconstruction.npz`` and ``figures/*.png``.
    tell : callable, optional
        Called with one line before each step, and with each warning.
    progress : bool, optional
        Show a progress bar.

    Returns
    -------
    ReportFiles
        The paths written; ``maps`` are the volumes.

    Examples
    --------
    >>> write_reconstruction("series.npz", SeriesOptions(), {}, folder="out").page  # doctest: +SKIP
    """
    folder = Path(folder)
    with gathered_warnings(tell) as messages:
        tell(f"reading {path}")
        inputs = inputs_table([path])
        tilts = series.load(path)
        tell(f"reconstructing from {tilts.n_tilts} images of {' x '.join(map(str, tilts.image_shape))} pixels")
        folder.mkdir(parents=True, exist_ok=True)
        options = ResireOptions(progress=progress, resume=True)
        found = resire(tilts, checkpoint=folder / "checkpoint.npz", options=options, **settings)
        tell("writing figures, volumes and the page")
        figures = save_figures(folder / "figures", _volume_drawings(tilts, found))
        volumes = (found.save(folder / "volume.mrc"), found.save(folder / "reconstruction.npz"))
        page = write_page(
            folder / "index.html",
            title=f"Reconstruction of {Path(path).name}",
            summary=_volume_figures(tilts, found),
            sections=[_volume_section(figures, found), making_section(found.parameters, inputs)],
            warnings=messages,
        )
    return ReportFiles(page, tuple(figures.values()), (), volumes)


def write_atoms(
    path: str | Path,
    series: SeriesOptions,
    options: PipelineOptions,
    *,
    folder: str | Path,
    packing: PackingOptions | None = None,
    tell: Tell = lambda _: None,
    progress: bool = False,
) -> ReportFiles:
    """Reconstruct, trace, classify and refine, analyze the packing, and write the model with figures and a page.

    Each stage leaves a file in ``stages``: called again with the same input, stages that are done are read. A particle
    too small for an analysis of its packing, or a crystalline one, gets a note on the page that says so.

    Parameters
    ----------
    path, series, folder, tell, progress
        As in :func:`write_reconstruction`; the model is written as ``model.xyz``.
    options : PipelineOptions
        Of all stages up to the refinement.
    packing : PackingOptions, optional
        Of the analysis of the refined atoms, as ``medrange packing`` does it.

    Returns
    -------
    ReportFiles
        The paths written; ``maps`` are the model, the volume, and the atoms with the columns of the packing.

    Examples
    --------
    >>> write_atoms("series.npz", SeriesOptions(), PipelineOptions(("Ni", "Pt")), folder="out").page  # doctest: +SKIP
    """
    folder = Path(folder)
    with gathered_warnings(tell) as messages:
        tell(f"reading {path}")
        inputs = inputs_table([path])
        tilts = series.load(path)
        tell("reconstructing, tracing, classifying and refining")
        found = determine_atoms(tilts, options, folder=folder / "stages", progress=progress)
        packed = packing_stage(found.model, folder=folder, stages=folder / "stages", options=packing, tell=tell)
        tell("writing figures, tables and the page")
        figures = save_figures(
            folder / "figures", _volume_drawings(tilts, found.reconstruction) | _atom_drawings(found)
        )
        results = (found.refinement.save(folder / "model.xyz"), found.reconstruction.save(folder / "volume.mrc"))
        table = found.refinement.save(folder / "atoms.csv")
        page = write_page(
            folder / "index.html",
            title=f"Atoms of {Path(path).name}",
            summary=_volume_figures(tilts, found.reconstruction) | _atom_figures(found) | dict(packed.content.summary),
            sections=[
                _volume_section(figures, found.reconstruction),
                *_atom_sections(figures, found),
                *packed.content.sections,
                making_section(options.to_dict(), inputs),
            ],
            warnings=[*messages, *packed.warnings],
        )
    files = packed.content
    return ReportFiles(page, (*figures.values(), *files.figures), (table, *files.tables), (*results, *files.atoms))


def _volume_drawings(tilts: TiltSeries, found: Reconstruction) -> dict[str, tuple[Draw, tuple[float, float]]]:
    return {
        "slices": (lambda figure: plotting.plot_orthoslices(found, axes=figure.subplots(1, 3)), (9.6, 3.4)),
        "r_factor": (lambda figure: plotting.plot_r_factor(found, ax=figure.subplots()), (4.4, 3.0)),
        "sinogram": (lambda figure: plotting.plot_sinogram(tilts, ax=figure.subplots()), (4.6, 3.4)),
    }


def _atom_drawings(found: Any) -> dict[str, tuple[Draw, tuple[float, float]]]:
    volume = found.reconstruction.volume

    def peaks(figure: Any) -> None:
        for ax, axis in zip(figure.subplots(1, 2), "zy", strict=True):
            plotting.plot_peaks(found.peaks, volume, axis=axis, classification=found.classification, ax=ax)

    def refinement(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        plotting.plot_refinement(found.refinement, ax=left)
        plotting.plot_deviations(found.refinement, ax=right)

    return {
        "peaks": (peaks, (9.0, 4.4)),
        "intensities": (
            lambda figure: plotting.plot_intensities(found.classification, ax=figure.subplots()),
            (4.8, 3.0),
        ),
        "refinement": (refinement, (8.4, 3.0)),
    }


def _volume_section(figures: Mapping[str, Path], found: Reconstruction) -> Section:
    history = found.history.iloc[np.unique(np.geomspace(1, found.iterations, 12).round().astype(int)) - 1]
    history = history.reset_index()
    return Section(
        "Volume",
        "R compares the projections of the volume with the images. It falls fast at first; what is left at the end is "
        "noise and misalignment. Along z, the beam at zero tilt, atoms are longer than wide: no image shows them from "
        "the side.",
        (
            Figure(figures["slices"], "Slices through the middle of the volume; the beam is along z."),
            Figure(figures["r_factor"], "R factors over the iterations."),
            Figure(
                figures["sinogram"], "The middle line of each image over the tilt angle: jumps tell of misalignment."
            ),
        ),
        (Table(history, "R factors."),),
    )


def _atom_sections(figures: Mapping[str, Path], found: Any) -> list[Section]:
    peaks = pd.DataFrame(list(found.peaks.status_counts.items()), columns=["status", "count"])
    species = pd.Series(found.model.symbols).value_counts().rename_axis("symbol").reset_index(name="atoms")
    species["B (Å²)"] = [found.refinement.b_factor.get(symbol, np.nan) for symbol in species["symbol"]]
    return [
        Section(
            "Atoms",
            "Peaks of the volume, told apart by the intensity around them. What is no atom is a streak or noise.",
            (
                Figure(figures["peaks"], "Slices through the middle, with the peaks near them by class."),
                Figure(
                    figures["intensities"], "Intensities around the peaks; where classes overlap, species are doubtful."
                ),
            ),
            (
                Table(peaks, "Local maxima of the volume."),
                Table(species, "Atoms by species; B is a quarter of the usual."),
            ),
        ),
        Section(
            "Refinement",
            "Positions, B factors and scales that explain the images best.",
            (
                Figure(
                    figures["refinement"], "R over the iterations, and how far atoms moved from where they were traced."
                ),
            ),
            (Table(found.refinement.rounds, "Rounds."),),
        ),
    ]


def _volume_figures(tilts: TiltSeries, found: Reconstruction) -> dict[str, object]:
    low, high = tilts.theta.min(), tilts.theta.max()
    return {
        "Images": f"{tilts.n_tilts}, tilted from {low:.1f}° to {high:.1f}°",
        "Pixel": "unknown" if tilts.pixel_size is None else f"{tilts.pixel_size:g} Å",
        "Volume": " x ".join(map(str, found.volume.shape)),
        "R after the last iteration": float(found.r_factor[-1]),
    }


def _atom_figures(found: Any) -> dict[str, object]:
    moved = np.sqrt(np.mean(np.sum(found.refinement.displacements**2, axis=1)))
    return {
        "Atoms": len(found.model),
        "R of the refined model": float(found.refinement.r_factor[-1]),
        "Atoms moved by": f"{moved:.3f} Å rms",
    }
