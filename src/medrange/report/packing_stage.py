"""The packing of refined atoms as a stage of a run: analyzed once, then read from its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medrange import __version__, plotting
from medrange.aet.atoms import AtomicModel, pair_distribution
from medrange.aet.tomography.checkpoint import checksum
from medrange.report.figure_files import save_figures
from medrange.report.packing_report import PackingContent, packing_content
from medrange.report.packing_run import PackingOptions, analyze_model
from medrange.report.page import Figure, Section, Table
from medrange.report.running import Tell, gathered_warnings

#: With fewer closed Voronoi cells a share of 10 % has a counting error of a third of it or more.
_FEW_CELLS = 100


@dataclass(frozen=True)
class PackingStage:
    """What the packing adds to the page of a run; made by :func:`packing_stage`.

    Attributes
    ----------
    content : PackingContent
        Sections, main figures and files.
    warnings : tuple of str
        For the head of the page.
    """

    content: PackingContent
    warnings: tuple[str, ...]


def packing_stage(
    model: AtomicModel,
    *,
    folder: Path,
    stages: Path,
    options: PackingOptions | None = None,
    tell: Tell = lambda _: None,
) -> PackingStage:
    """Analyze the packing of a model, or read what an earlier run found in the same model.

    A model that is too small, or crystalline, gives a note that says why, and g(r) of all atoms where there is one.

    Parameters
    ----------
    model : AtomicModel
        Refined atoms, angstrom.
    folder : pathlib.Path
        Of the run: gets ``figures/*.png``, ``tables/*.csv`` and ``atoms/*``.
    stages : pathlib.Path
        Gets ``packing.json``: what the page shows, and from which model and options. It is read only if they are the
        same, it was written by the same version, and the files it names are there.
    options : PackingOptions, optional
        How to analyze it.
    tell : callable, optional
        Called with one line before each step.

    Returns
    -------
    PackingStage
        For the page.

    Examples
    --------
    >>> stage = packing_stage(model, folder=Path("out"), stages=Path("out/stages"))  # doctest: +SKIP
    >>> [section.title for section in stage.content.sections]  # doctest: +SKIP
    ['Packing', 'Order', 'Voronoi cells', ...]
    """
    options = options or PackingOptions()
    path = stages / "packing.json"
    identity = checksum(model.positions, model.symbols, json.dumps(asdict(options)), __version__)
    if (known := _read(path, folder, identity)) is not None:
        return known
    tell("analyzing the packing")
    with gathered_warnings(tell) as messages:
        content = _analyze(model, options, folder, tell)
    _write(path, folder, identity, PackingStage(content, tuple(messages)))
    # What a page shows is what a resumed run would read.
    return _read(path, folder, identity)


def _analyze(model: AtomicModel, options: PackingOptions, folder: Path, tell: Tell) -> PackingContent:
    """Sections and files; a note where the model does not let itself be analyzed."""
    try:
        analysis = analyze_model(model, options, tell=tell)
    except ValueError as error:
        return _note(model, str(error), folder)
    content = packing_content(analysis, folder)
    cells, cutoff = int(analysis.voronoi.counted.sum()), analysis.options.cutoff
    text = f"Of the {len(model)} refined atoms, with neighbors within {cutoff:.2f} Å, the first valley of g(r)."
    if options.cutoff is not None:
        text = f"Of the {len(model)} refined atoms, with neighbors within {cutoff:.2f} Å."
    text += " With other settings: medrange packing model.xyz."
    if cells < _FEW_CELLS:
        text += (
            f"\n\nThis is a small particle: {cells} of its atoms have closed Voronoi cells; the others lie at the "
            "surface or are crystalline. Shares of so few atoms are rough, and long networks cannot be there."
        )
    summary = {name: value for name, value in content.summary.items() if name != "Atoms"}
    return replace(content, summary=summary, sections=(Section("Packing", text), *content.sections))


def _note(model: AtomicModel, reason: str, folder: Path) -> PackingContent:
    """Why there is no analysis, and g(r) of all atoms where there are enough for one."""
    figures: dict[str, Path] = {}
    shown: tuple[Figure, ...] = ()
    try:
        distribution = pair_distribution(model, partial=len(model.species) > 1)
    except ValueError:
        # Fewer atoms than g(r) needs: the note, which holds the reason, is all there is to show.
        distribution = None
    if distribution is not None:
        drawing = (lambda figure: plotting.plot_pair_distribution(distribution, ax=figure.subplots()), (4.6, 3.0))
        figures = save_figures(folder / "figures", {"pair_distribution": drawing})
        caption = "Pair distribution g(r) of all refined atoms, corrected for the finite shape of the model."
        shown = (Figure(figures["pair_distribution"], caption),)
    text = (
        f"The packing of the {len(model)} refined atoms was not analyzed: {reason}\n\nVoronoi cells, motifs and "
        "networks need an amorphous model with atoms that are surrounded by others on all sides. "
        "medrange packing model.xyz tries again, with distances of your choice."
    )
    section = Section("Packing", text, shown)
    return PackingContent({"Packing": "not analyzed"}, (section,), tuple(figures.values()), (), ())


def _write(path: Path, folder: Path, identity: str, stage: PackingStage) -> None:
    """Keep a stage as JSON; a run that is killed meanwhile leaves the file before."""
    content = stage.content
    files = {name: [_relative(file, folder) for file in getattr(content, name)] for name in _FILES}
    kept = {
        "identity": identity,
        "summary": dict(content.summary),
        "sections": [_section_to_dict(section, folder) for section in content.sections],
        "files": files,
        "warnings": list(stage.warnings),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(kept, default=_plain, indent=1), encoding="utf-8")
    partial.replace(path)


def _read(path: Path, folder: Path, identity: str) -> PackingStage | None:
    """The stage, or None where there is none of this model, or its files are gone."""
    if not path.exists():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept["identity"] != identity:
        return None
    files = {name: tuple(folder / file for file in kept["files"][name]) for name in _FILES}
    if not all(file.exists() for group in files.values() for file in group):
        return None
    sections = tuple(_section_from_dict(section, folder) for section in kept["sections"])
    return PackingStage(PackingContent(kept["summary"], sections, **files), tuple(kept["warnings"]))


_FILES = ("figures", "tables", "atoms")


def _section_to_dict(section: Section, folder: Path) -> dict[str, Any]:
    figures = [
        {"image": _relative(item.image, folder), "caption": item.caption, "alt": item.alt} for item in section.figures
    ]
    tables = [
        {
            "columns": [[name, table.frame[name].tolist()] for name in table.frame.columns],
            "units": table.frame.attrs.get("units", {}),
            "caption": table.caption,
            "digits": table.digits,
        }
        for table in section.tables
    ]
    return {"title": section.title, "text": section.text, "figures": figures, "tables": tables}


def _section_from_dict(kept: Mapping[str, Any], folder: Path) -> Section:
    figures = tuple(Figure(folder / item["image"], item["caption"], item["alt"]) for item in kept["figures"])
    tables = []
    for item in kept["tables"]:
        frame = pd.DataFrame(dict(item["columns"]))
        frame.attrs["units"] = item["units"]
        tables.append(Table(frame, item["caption"], item["digits"]))
    return Section(kept["title"], kept["text"], figures, tuple(tables))


def _relative(path: Path, folder: Path) -> str:
    return Path(path).relative_to(folder).as_posix()


def _plain(value: Any) -> Any:
    """NumPy numbers as JSON knows them."""
    if isinstance(value, np.generic):
        return value.item()
    msg = f"a {type(value).__name__} cannot be kept in the file of the packing; give numbers or text."
    raise TypeError(msg)
