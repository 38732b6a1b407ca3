"""Every Python block of the documentation runs as printed, page by page, on files like those it names."""

import importlib.util
import re
import shutil
from pathlib import Path

import ase.io
import matplotlib.pyplot as plt
import numpy as np
import pytest

import medrange as mr
from medrange.aet import TiltSeries
from medrange.aet.atoms import AtomicModel
from medrange.aet.tomography import project_model
from medrange.simulate import glass_with_clusters, write_merlin

DOCS = Path(__file__).parents[1] / "docs"
GENERATED = ("_build", "api", "notebooks")


def pages():
    found = [path for path in sorted(DOCS.rglob("*.md")) if path.relative_to(DOCS).parts[0] not in GENERATED]
    return {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in found}


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files that the pages name: scans, a tilt series, an atomic model."""
    folder = tmp_path_factory.mktemp("docs")
    for path in mr.datasets.sample_scan("empad").parent.glob("scan.*"):
        shutil.copy(path, folder)
    # The test of a single phase needs more positions than the sample has.
    frames = np.asarray(mr.load(mr.datasets.sample_scan("merlin")).data)
    write_merlin(folder / "scan", np.concatenate([frames, frames[::-1]]))
    cubic = AtomicModel(3.0 * (np.indices((3, 3, 3)).reshape(3, -1).T - 1), ("Ta",) * 27)
    angles = np.linspace(-70, 70, 29)
    images = project_model(cubic, angles, shape=(40, 40), pixel_size=0.5)
    TiltSeries(images, angles, pixel_size=0.5).save(folder / "series.npz")
    glass = glass_with_clusters((30.0, 30.0, 30.0), element="Ta", density=0.050, min_distance=2.85, seed=1)
    glass.pbc = False
    ase.io.write(folder / "model.xyz", glass)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", [name for name, text in pages().items() if blocks(text, "python")])
def test_blocks_run(page, files, tmp_path, monkeypatch):
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(pages()[page], "python"):
        exec(compile(block, page, "exec"), names)
    plt.close("all")


@pytest.mark.parametrize("page", [name for name, text in pages().items() if blocks(text, "py")])
def test_blocks_that_need_a_cluster_compile(page):
    for block in blocks(pages()[page], "py"):
        compile(block, page, "exec")


@pytest.fixture(scope="module")
def check_links():
    specification = importlib.util.spec_from_file_location("check_links", DOCS / "check_links.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_links_are_checked(tmp_path, check_links):
    (tmp_path / "a.html").write_text('<h1 id="top"></h1><a href="b.html#there"></a><a href="#top"></a>')
    (tmp_path / "b.html").write_text('<p id="there"></p><a href="https://doi.org/1"></a><img src="data:image/png,0">')
    assert list(check_links.faults(tmp_path)) == []
    (tmp_path / "c.html").write_text(
        '<a href="d.html"></a><a href="b.html#here"></a><script src="https://cdn.org/x.js"></script>'
    )
    assert list(check_links.faults(tmp_path)) == [
        "c.html: b.html#here has no such anchor",
        "c.html: d.html does not exist",
        "c.html: https://cdn.org/x.js is loaded from elsewhere",
    ]


def test_a_folder_without_pages_is_a_fault(tmp_path, check_links):
    assert "holds no pages" in next(check_links.faults(tmp_path))


def test_every_page_is_read():
    assert {"index.md", "conventions.md", "getting-started.md"} <= set(pages())
