"""The packing run: a simulated glass from file to page, and the published film with its published figures."""

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase.build import bulk

from medrange.report.packing_run import PackingOptions, analyze_model, write_packing
from medrange.simulate import glass_with_clusters


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "glass.xyz"
    atoms = glass_with_clusters((34.0, 34.0, 26.0), element="Ta", density=0.05, min_distance=2.85, seed=3)
    atoms.pbc = False
    ase.io.write(path, atoms)
    return path


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    told = []
    written = write_packing(model, PackingOptions(), folder=tmp_path_factory.mktemp("out"), tell=told.append)
    return written, told


def test_page_shows_every_figure_and_names_every_file(files):
    written, told = files
    page = written.page.read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(written.figures) >= 7
    assert "glass.xyz" in page
    for title in ("Order", "Voronoi cells", "Polytetrahedral motifs", "Pentagonal bipyramids", "Networks"):
        assert f"{title}</h2>" in page
    assert "SHA-256" in page
    assert told[0].startswith("reading")
    for path in (*written.figures, *written.tables, *written.maps):
        assert path.stat().st_size > 0


def test_atoms_file_has_the_columns_for_viewers(files, model):
    atoms = ase.io.read(files[0].maps[0])
    np.testing.assert_allclose(atoms.positions, ase.io.read(model).positions, atol=1e-6)
    assert {"crystal", "normalized", "network", "caps", "coordination"} <= set(atoms.arrays)


def test_tables_are_those_of_the_results(files, model):
    analysis = analyze_model(model, PackingOptions())
    tables = {path.stem: pd.read_csv(path) for path in files[0].tables}
    assert len(tables["networks_5"]) == len(analysis.networks[5])
    assert len(tables["bipyramids"]) == len(analysis.motifs.pentagonal)
    pd.testing.assert_frame_equal(tables["motif_fractions"], analysis.fractions.table)


def test_cutoffs_come_from_the_pair_distribution_or_from_the_user(model):
    by_default = analyze_model(model, PackingOptions()).options
    assert by_default.max_edge == pytest.approx(by_default.cutoff, abs=0.15)
    given = analyze_model(model, PackingOptions(cutoff=4.0, max_edge=3.9, delta=0.2))
    assert (given.options.cutoff, given.options.max_edge) == (4.0, 3.9)
    assert given.motifs.tetrahedra.distortion.max() <= 0.2


def test_model_without_symbols_has_no_density(model):
    positions = ase.io.read(model).positions
    assert analyze_model(positions, PackingOptions()).density is None


def test_crystal_is_refused(tmp_path):
    path = tmp_path / "crystal.xyz"
    ase.io.write(path, bulk("Cu", cubic=True).repeat(6))
    with pytest.raises(ValueError, match="atoms are amorphous: the model is crystalline"):
        write_packing(path, PackingOptions(cutoff=3.1, max_edge=3.1), folder=tmp_path)


@pytest.mark.data
def test_published_film(data_folder):
    analysis = analyze_model(data_folder / "ta_film" / "ta_film.xyz", PackingOptions(cutoff=4.12, max_edge=4.12))
    assert (analysis.nuclei.crystal.sum(), analysis.nuclei.amorphous.sum()) == (1669, 6615)
    assert len(analysis.motifs.pentagonal) == 1979
    networks = analysis.networks[5]
    assert (len(networks), networks.sizes[0], networks.atom_counts[0]) == (85, 135, 165)
    assert analysis.geometry.theta.mean() == pytest.approx(10.06, abs=0.01)
    assert analysis.geometry.phi.mean() == pytest.approx(120.79, abs=0.01)
    assert analysis.geometry.alpha_gamma.mean() == pytest.approx(1.0254, abs=1e-4)
    assert analysis.distribution.first_valley == pytest.approx(4.124, abs=0.005)
