"""The packing as a stage: computed once, read again, computed anew where anything changed, a note where it fails."""

import json
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk

from medrange.aet.atoms import AtomicModel
from medrange.report import packing_stage as stage_module
from medrange.report.figure_files import save_figures
from medrange.report.packing_report import PackingContent
from medrange.report.packing_run import PackingOptions, analyze_model
from medrange.report.packing_stage import packing_stage
from medrange.report.page import write_page
from medrange.simulate import glass_with_clusters


@pytest.fixture(scope="module")
def glass():
    atoms = glass_with_clusters((22.0, 22.0, 22.0), element="Ta", density=0.05, min_distance=2.85, seed=3)
    return AtomicModel(atoms.positions - 11, tuple(atoms.symbols))


@pytest.fixture(scope="module")
def finished(glass, tmp_path_factory):
    """A folder after a first run, and what the run gave."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(glass, folder)


@pytest.fixture
def counted(monkeypatch):
    calls = []

    def analyze(model, options, **keywords):
        calls.append(options)
        return analyze_model(model, options, **keywords)

    monkeypatch.setattr(stage_module, "analyze_model", analyze)
    return calls


@pytest.fixture
def one_figure(monkeypatch):
    """Draw one empty figure only, where it is not the figures that count."""

    def content(analysis, folder):
        figures = save_figures(folder / "figures", {"voronoi": (lambda figure: figure.subplots(), (1.0, 1.0))})
        return PackingContent({"delta": analysis.options.delta}, (), tuple(figures.values()), (), ())

    monkeypatch.setattr(stage_module, "packing_content", content)


def run(model, folder, **keywords):
    return packing_stage(model, folder=folder, stages=folder / "stages", **keywords)


def as_page(stage, folder):
    content = stage.content
    path = write_page(folder / "page.html", title="", summary=content.summary, sections=content.sections)
    return path.read_text(encoding="utf-8")


def test_second_run_reads_what_the_first_one_found(glass, finished, counted, tmp_path):
    folder, first = finished
    titles = [section.title for section in first.content.sections]
    assert titles[:3] == ["Packing", "Order", "Voronoi cells"]
    assert titles[-1] == "Local mass density"
    # The folder can be moved.
    shutil.copytree(folder, tmp_path / "there")
    again = run(glass, tmp_path / "there")
    assert counted == []
    assert as_page(again, tmp_path) == as_page(first, tmp_path)
    assert again.warnings == first.warnings
    assert all(path.is_relative_to(tmp_path / "there") for path in again.content.figures)
    assert [path.name for path in (folder / "stages").iterdir()] == ["packing.json"]


def test_page_shows_what_the_analysis_holds(glass, finished):
    content = finished[1].content
    analysis = analyze_model(glass, PackingOptions())
    assert content.summary["Pentagonal bipyramids"] == len(analysis.motifs.pentagonal) > 0
    assert content.summary["Coordination number (Voronoi)"] == analysis.voronoi.mean_coordination
    shares = next(s for s in content.sections if s.title == "Voronoi cells").tables[0].frame
    pd.testing.assert_frame_equal(shares, analysis.voronoi.populations.head(50), check_dtype=False)


def test_whatever_changes_is_analyzed_anew(glass, counted, one_figure, tmp_path):
    run(glass, tmp_path)
    run(glass, tmp_path)
    assert len(counted) == 1
    other = run(glass, tmp_path, options=PackingOptions(delta=0.2))
    assert [options.delta for options in counted] == [0.255, 0.2]
    assert other.content.summary == {"delta": 0.2}
    moved = AtomicModel(glass.positions * 1.001, glass.symbols)
    run(moved, tmp_path, options=PackingOptions(delta=0.2))
    assert len(counted) == 3
    (tmp_path / "figures" / "voronoi.png").unlink()
    assert run(moved, tmp_path, options=PackingOptions(delta=0.2)).content.figures[0].exists()
    assert len(counted) == 4
    path = tmp_path / "stages" / "packing.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"identity": "of an older version"}))
    run(moved, tmp_path, options=PackingOptions(delta=0.2))
    assert len(counted) == 5


@pytest.mark.parametrize("count", [1, 4, 5, 8, 13])
def test_too_few_atoms_give_a_note(count, counted, tmp_path):
    shell = bulk("Cu", cubic=True).repeat(3).positions - 5.4
    nearest = shell[np.argsort(np.linalg.norm(shell, axis=1), kind="stable")][:count] + 0.1 * np.arange(count)[:, None]
    stage = run(AtomicModel(nearest, ("Cu",) * count), tmp_path)
    (section,) = stage.content.sections
    assert section.text.startswith(f"The packing of the {count} refined atoms was not analyzed: ")
    assert stage.content.summary == {"Packing": "not analyzed"}
    assert len(section.figures) == (count >= 5)
    assert run(AtomicModel(nearest, ("Cu",) * count), tmp_path).content.sections == stage.content.sections
    assert len(counted) == 1


def test_crystal_gives_a_note_and_its_pair_distribution(tmp_path):
    positions = bulk("Cu", cubic=True).repeat(6).positions
    stage = run(AtomicModel(positions - positions.mean(axis=0), ("Cu",) * len(positions)), tmp_path)
    (section,) = stage.content.sections
    assert "the model is crystalline" in section.text
    assert [figure.image.name for figure in section.figures] == ["pair_distribution.png"]
    assert "data:image/png;base64," in as_page(stage, tmp_path)


def test_warnings_are_kept_for_the_page(glass, one_figure, tmp_path, monkeypatch):
    def analyze(model, options, **keywords):
        warnings.warn("something to know", stacklevel=1)
        return analyze_model(model, options, **keywords)

    monkeypatch.setattr(stage_module, "analyze_model", analyze)
    assert "something to know" in run(glass, tmp_path).warnings
    monkeypatch.undo()
    assert "something to know" in run(glass, tmp_path).warnings
