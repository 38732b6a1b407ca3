"""From a tilt series to an atomic model in four stages: reconstruct, trace, classify, refine.

With a folder every stage leaves a file, and a run that was cut short goes on where it ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medrange.aet.atoms.model import AtomicModel
from medrange.aet.atoms.saving import load_parameters
from medrange.aet.tomography.checkpoint import checksum
from medrange.aet.tomography.classification import Classification, classify_atoms
from medrange.aet.tomography.edits import AtomEdits, apply_edits
from medrange.aet.tomography.iterative import ResireOptions, resire
from medrange.aet.tomography.reconstruction import Reconstruction
from medrange.aet.tomography.refinement import Refinement, RefinementOptions, refine_positions
from medrange.aet.tomography.support import support_mask
from medrange.aet.tomography.tilt_series import TiltSeries
from medrange.aet.tomography.tracing import Peaks, smoothed, trace_atoms

#: Names of the stages in their order; the file of a stage is its name with .npz.
STAGES = ("reconstruction", "peaks", "classification", "refinement")
_RECORD = "stages.json"
# Which options change the result of which stage.
_OPTIONS = {
    "reconstruction": ("iterations", "step", "oversampling", "extended", "thickness"),
    "peaks": ("min_distance", "interpolation", "threshold", "smoothing"),
    "classification": ("symbols", "non_atoms", "radius", "local_radius", "within_support"),
    "refinement": ("rounds", "refinement_iterations", "b_factor", "form_factor", "max_displacement", "edits"),
}


@dataclass(frozen=True)
class PipelineOptions:
    """What the stages need to know; the defaults suit a particle of several species.

    Attributes
    ----------
    symbols : tuple of str
        Chemical symbols of the species by rising intensity: ``("Ni", "Pt")``.
    iterations, step, oversampling, extended, thickness
        Of :func:`medrange.aet.resire`.
    min_distance, interpolation, threshold, smoothing
        Of :func:`medrange.aet.trace_atoms`; min_distance and smoothing in angstrom. Unlike there the threshold is a
        part of the largest value of the smoothed volume: noise and streaks below it are no peaks.
    non_atoms, radius, local_radius
        Of :func:`medrange.aet.classify_atoms`. With non_atoms False all peaks are atoms: needed where smoothing leaves
        next to no false peaks.
    within_support : bool
        Peaks outside :func:`medrange.aet.tomography.support_mask` are no atoms.
    rounds, refinement_iterations, b_factor, form_factor, max_displacement
        Of :func:`medrange.aet.refine_positions`.
    edits : AtomEdits, optional
        Corrections by hand of the classified atoms, before the refinement.
    """

    symbols: tuple[str, ...]
    iterations: int = 100
    step: float = 2.0
    oversampling: tuple[float, float, float] = (3, 3, 3)
    extended: bool = False
    thickness: int | None = None
    min_distance: float = 2.0
    interpolation: Literal["linear", "spline"] = "spline"
    threshold: float = 0.05
    smoothing: float = 0.0
    non_atoms: bool = True
    radius: float | None = None
    local_radius: float = 10.0
    within_support: bool = False
    rounds: int = 3
    refinement_iterations: int = 40
    b_factor: float | None = None
    form_factor: Literal["species", "mean"] | None = "species"
    max_displacement: float = 1.0
    edits: AtomEdits | None = None

    def __post_init__(self) -> None:
        if isinstance(self.symbols, str) or not len(self.symbols):
            msg = f"symbols are {self.symbols!r}; give a list, one per species by rising intensity: ('Ni', 'Pt')."
            raise ValueError(msg)
        object.__setattr__(self, "symbols", tuple(self.symbols))
        scalar = np.isscalar(self.oversampling)
        object.__setattr__(self, "oversampling", (self.oversampling,) * 3 if scalar else tuple(self.oversampling))
        if not 0 <= self.threshold < 1:
            msg = f"threshold is {self.threshold}; give a part of the largest value of the volume, 0 to 1."
            raise ValueError(msg)

    def to_dict(self) -> dict[str, Any]:
        """As lists, numbers and strings, for JSON."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        edits = None if self.edits is None else self.edits.to_dict()
        return {**values, "symbols": list(self.symbols), "oversampling": list(self.oversampling), "edits": edits}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> PipelineOptions:
        """From a dictionary of :meth:`to_dict`.

        Raises
        ------
        ValueError
            If it holds anything else.
        """
        unknown = set(content) - {item.name for item in fields(cls)}
        if unknown:
            msg = f"options hold {sorted(unknown)}; known are {', '.join(item.name for item in fields(cls))}."
            raise ValueError(msg)
        edits = content.get("edits")
        edits = AtomEdits.from_dict(edits) if isinstance(edits, dict) else edits
        return cls(**{**content, "symbols": tuple(content["symbols"]), "edits": edits})


@dataclass(frozen=True, eq=False, repr=False)
class AtomDetermination:
    """Result of every stage; made by :func:`determine_atoms`.

    Attributes
    ----------
    reconstruction : Reconstruction
        The volume.
    peaks : Peaks
        Its peaks.
    classification : Classification
        Atoms and species among the peaks.
    refinement : Refinement
        Refined atoms; ``refinement.start`` are the traced ones, edited where asked for.
    options : PipelineOptions
        As given.
    """

    reconstruction: Reconstruction
    peaks: Peaks
    classification: Classification
    refinement: Refinement
    options: PipelineOptions

    @property
    def model(self) -> AtomicModel:
        """Refined atoms."""
        return self.refinement.model

    @property
    def traced_model(self) -> AtomicModel:
        """Atoms before the refinement."""
        return AtomicModel(self.refinement.start, self.refinement.model.symbols)

    def __repr__(self) -> str:
        return (
            f"AtomDetermination({len(self.peaks)} peaks, R1 {self.reconstruction.r_factor[-1]:.4f} of the volume; "
            f"{self.refinement!r})"
        )


def determine_atoms(
    tilt_series: TiltSeries,
    options: PipelineOptions,
    *,
    folder: str | PathLike | None = None,
    progress: bool | None = None,
) -> AtomDetermination:
    """Reconstruct a volume, trace its peaks, tell atoms and species, refine positions: [Yang2021]_ and [Yuan2022]_.

    Parameters
    ----------
    tilt_series : TiltSeries
        Aligned, background-subtracted images with their pixel size.
    options : PipelineOptions
        Of all stages.
    folder : path, optional
        Where each stage writes its ``.npz`` and ``stages.json`` says what they were made from. Called again, stages
        are read instead of computed as far as tilt series and options are the same; a stage whose options changed is
        computed anew, and so is all after it. A reconstruction goes on from its last checkpoint.
    progress : bool, optional
        Show bars; by default yes, but not where the environment variable CI is set.

    Returns
    -------
    AtomDetermination
        The model and the result of every stage.

    Raises
    ------
    ValueError
        If a stage refuses its input.

    Examples
    --------
    >>> series = TiltSeries.load("tilts.npz")  # doctest: +SKIP
    >>> determine_atoms(series, PipelineOptions(("Ni", "Pt")), folder="particle").model  # doctest: +SKIP
    """
    if tilt_series.pixel_size is None:
        msg = "the tilt series has no pixel size; give TiltSeries(projections, angles, pixel_size=...) in angstrom."
        raise ValueError(msg)
    store = _Store(folder, tilt_series, options)
    reconstruction = store(
        "reconstruction",
        lambda: _reconstruct(tilt_series, options, store.checkpoint, progress),
        Reconstruction.load,
    )
    store.drop_checkpoint()
    peaks = store("peaks", lambda: _trace(reconstruction, options), Peaks.load)
    classes = store("classification", lambda: _classify(peaks, reconstruction, options), _load_classification)
    refinement = store("refinement", lambda: _refine(classes, tilt_series, options, progress), Refinement.load)
    return AtomDetermination(reconstruction, peaks, classes, refinement, options)


class _Store:
    """Results of the stages in a folder, each with a hash of all it depends on."""

    def __init__(self, folder: str | PathLike | None, tilt_series: TiltSeries, options: PipelineOptions) -> None:
        self.folder = None if folder is None else Path(folder)
        self.checkpoint: Path | None = None
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        known, self.hashes = options.to_dict(), {}
        value = checksum(tilt_series.projections, tilt_series.angles, tilt_series.pixel_size)
        for stage in STAGES:
            value = checksum(value, json.dumps([known[name] for name in _OPTIONS[stage]]))
            self.hashes[stage] = value
        self.checkpoint = self.folder / f"checkpoint_{self.hashes['reconstruction'][:12]}.npz"

    def __call__(self, stage: str, compute: Callable[[], Any], load: Callable[[Path], Any]) -> Any:
        """The stored result if it belongs to the same input, else a new one."""
        if self.folder is None:
            return compute()
        path, record = self.folder / f"{stage}.npz", self._record()
        if path.exists() and record.get(stage) == self.hashes[stage]:
            return load(path)
        result = compute()
        # A run that is killed here leaves no half-written file under the name of the stage.
        self._write_record({name: value for name, value in record.items() if name != stage})
        result.save(self.folder / f"{stage}.partial.npz").replace(path)
        self._write_record({**record, stage: self.hashes[stage]})
        # What the next stages get is what a resumed run would read.
        return load(path)

    def drop_checkpoint(self) -> None:
        """Remove the state of the reconstruction: its result is there."""
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)

    def _record(self) -> dict[str, str]:
        path = self.folder / _RECORD
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def _write_record(self, record: dict[str, str]) -> None:
        partial = self.folder / f"{_RECORD}.partial"
        partial.write_text(json.dumps(record, indent=1), encoding="utf-8")
        partial.replace(self.folder / _RECORD)


def _reconstruct(
    tilt_series: TiltSeries, options: PipelineOptions, checkpoint: Path | None, progress: bool | None
) -> Reconstruction:
    return resire(
        tilt_series,
        iterations=options.iterations,
        step=options.step,
        oversampling=options.oversampling,
        extended=options.extended,
        checkpoint=checkpoint,
        options=ResireOptions(thickness=options.thickness, progress=progress, resume=checkpoint is not None),
    )


def _trace(reconstruction: Reconstruction, options: PipelineOptions) -> Peaks:
    brightest = float(smoothed(reconstruction.volume, options.smoothing / reconstruction.pixel_size).max())
    return trace_atoms(
        reconstruction,
        min_distance=options.min_distance,
        interpolation=options.interpolation,
        threshold=options.threshold * max(brightest, 0.0),
        smoothing=options.smoothing,
    )


def _classify(peaks: Peaks, reconstruction: Reconstruction, options: PipelineOptions) -> Classification:
    return classify_atoms(
        peaks,
        reconstruction,
        n_species=len(options.symbols),
        support=support_mask(reconstruction.volume) if options.within_support else None,
        radius=options.radius,
        local_radius=options.local_radius,
        non_atoms=options.non_atoms,
    )


def _refine(
    classes: Classification, tilt_series: TiltSeries, options: PipelineOptions, progress: bool | None
) -> Refinement:
    model = classes.model(options.symbols)
    if not len(model):
        msg = f"none of {len(classes.labels)} peaks is an atom; lower threshold, or look at classification.npz."
        raise ValueError(msg)
    if options.edits is not None:
        model = apply_edits(model, options.edits).model
    return refine_positions(
        model,
        tilt_series,
        rounds=options.rounds,
        iterations=options.refinement_iterations,
        b_factor=options.b_factor,
        options=RefinementOptions(
            form_factor=options.form_factor, max_displacement=options.max_displacement, progress=progress
        ),
    )


def _load_classification(path: Path) -> Classification:
    """Classification from an ``.npz`` file of its ``save``."""
    parameters = load_parameters(path)
    n_species = parameters.pop("n_species")
    with np.load(path, allow_pickle=False) as data:
        arrays = [data[name] for name in ("positions", "labels", "inside", "intensity", "confidence")]
    return Classification(*arrays, n_species, parameters)
