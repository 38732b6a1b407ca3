import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from ase.cluster import Icosahedron
from typer.testing import CliRunner

from medrange import __version__
from medrange.cli.app import app
from medrange.datasets import sample_scan

CALIBRATION = ["--scan-step", "0.5", "--k-step", "0.2", "--energy", "300"]


@pytest.fixture
def run():
    def call(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    rng = np.random.default_rng(0)
    y, x = np.indices((48, 48), dtype=float)
    k = np.hypot(y - 23.4, x - 24.1) * 0.2
    pattern = 3000 * np.exp(-((k / 0.4) ** 2)) + 60 * np.exp(-(((k - 3.5) / 0.5) ** 2))
    path = tmp_path_factory.mktemp("scan") / "scan.npy"
    np.save(path, rng.poisson(pattern * rng.uniform(0.8, 1.2, (7, 8, 1, 1))).astype("uint16"))
    return path


def one_line(result):
    """The error message: one line on stderr, no traceback."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    assert "Traceback" not in result.output
    return lines[0]


def test_version(run):
    result = run("--version")
    assert (result.exit_code, result.stdout.strip()) == (0, f"medrange {__version__}")


def test_help_names_the_commands(run):
    result = run("--help")
    assert result.exit_code == 0
    for command in ("info", "maps", "demo", "pdf", "convert", "packing", "reconstruct", "aet"):
        assert command in result.stdout


def test_help_needs_no_heavy_import():
    code = (
        "import sys; import medrange.cli.app; "
        "print([name for name in ('numpy', 'hyperspy', 'matplotlib', 'dask', 'pandas') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_info_tells_shape_and_format(run, scan):
    result = run("info", scan)
    assert result.exit_code == 0
    for words in ("npy", "7 x 8", "48 x 48 px, uint16", "give --k-step"):
        assert words in result.stdout


def test_info_takes_a_scan_shape(run, tmp_path):
    np.save(tmp_path / "stack.npy", np.zeros((12, 8, 8), dtype="uint8"))
    result = run("info", tmp_path / "stack.npy", "--scan-shape", "3,4")
    assert result.exit_code == 0
    assert "3 x 4" in result.stdout


@pytest.mark.parametrize("command", [["maps", "--k", "3.5"], ["pdf", "--composition", "Fe80B20"]])
def test_dry_run_writes_nothing(run, scan, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    name, *options = command
    result = run(name, scan, *options, *CALIBRATION, "--dry-run", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    last = {"maps": "hotspots", "pdf": "G(r) and structural types"}[name]
    for words in ("Plan: 1 chunks", "center", "peak memory", "total", last):
        assert words in result.stdout
    assert list(tmp_path.iterdir()) == []
    assert run(name, scan, *options, *CALIBRATION, "--dry-run").exit_code == 0


def test_a_run_needs_a_folder(run, scan):
    result = run("maps", scan, "--k", "3.5", *CALIBRATION)
    assert result.exit_code == 2
    assert "--out" in result.stderr


def test_dry_run_names_what_is_missing(run, scan):
    result = run("maps", scan, "--k", "3.5", "--dry-run")
    assert result.exit_code == 1
    assert "--scan-step" in one_line(result)


def test_missing_file_is_one_line_and_exit_code_1(run, tmp_path):
    for arguments in (("info",), ("maps", "--k", 3.5, "--out", tmp_path)):
        result = run(arguments[0], tmp_path / "nothing.xml", *arguments[1:])
        assert result.exit_code == 1
        assert "nothing.xml" in one_line(result)


def test_unknown_format_is_one_line(run, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    result = run("info", tmp_path / "notes.txt")
    assert result.exit_code == 1
    assert "no known format" in one_line(result)


def test_debug_shows_the_error_itself(run, tmp_path):
    result = run("info", tmp_path / "nothing.xml", "--debug")
    assert isinstance(result.exception, FileNotFoundError)


@pytest.mark.parametrize(
    "arguments",
    [
        ("maps", "scan.npy", "--out", "out"),
        ("maps", "scan.npy", "--k", "3.5"),
        ("maps", "scan.npy", "--k", "four", "--out", "out"),
        ("maps", "scan.npy", "--k", "3.5", "--out", "out", "--orders", "2,four"),
        ("maps", "scan.npy", "--k", "3.5", "--out", "out", "--center", "12"),
        ("maps", "scan.npy", "--k", "3.5", "--out", "out", "--scan-shape", "7,8,9"),
        ("pdf", "scan.npy", "--out", "out"),
        ("pdf", "scan.npy", "--composition", "Zr", "--out", "out", "--k-range", "0.25"),
        ("pdf", "scan.npy", "--composition", "Zr", "--out", "out", "--window", "hann"),
        ("info",),
        ("nonsense",),
    ],
)
def test_wrong_usage_is_exit_code_2(run, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_usage_error_names_option_and_example(run):
    result = run("maps", "scan.npy", "--k", "3.5", "--out", "out", "--center", "12")
    assert "--center" in result.stderr
    assert "63.5,64.2" in result.stderr


def test_maps_writes_the_page_and_tells_its_path(run, scan, tmp_path):
    result = run("maps", scan, "--k", 3.5, "--orders", "2,4", "--out", tmp_path / "out", *CALIBRATION)
    assert result.exit_code == 0, result.output
    page = tmp_path / "out" / "index.html"
    assert result.stdout.strip().splitlines()[-1] == f"Open {page}"
    text = page.read_text(encoding="utf-8")
    assert "3.1 to 3.9 1/nm" in text
    assert (tmp_path / "out" / "figures" / "order_maps.png").is_file()
    assert (tmp_path / "out" / "tables" / "hotspots.csv").is_file()
    assert (tmp_path / "out" / "maps" / "scan_power.zspy").is_dir()


def test_maps_with_null(run, scan, tmp_path):
    arguments = ("maps", scan, "--k", 3.5, "--orders", "2,4", *CALIBRATION, "--null")
    result = run(*arguments, "--out", tmp_path / "with", "--convergence", 1.2)
    assert result.exit_code == 0, result.output
    assert "Order against chance" in (tmp_path / "with" / "index.html").read_text(encoding="utf-8")
    assert (tmp_path / "with" / "tables" / "hotspots_enrichment.csv").is_file()
    result = run(*arguments, "--out", tmp_path / "none")
    assert result.exit_code == 1
    assert "give --convergence MRAD" in one_line(result)


def test_quiet_prints_nothing(run, scan, tmp_path):
    options = ("--quiet", "--eager", "--threshold", "0.5", "--center", "23.4,24.1")
    result = run("maps", scan, "--k", 3.5, "--out", tmp_path / "out", *CALIBRATION, *options)
    assert result.exit_code == 0, result.output
    assert result.output == ""
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "23.40, 24.10 px, given" in text


def test_quiet_still_tells_an_error(run, scan, tmp_path):
    result = run("maps", scan, "--k", 3.5, "--out", tmp_path / "out", "--quiet")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert one_line(result).endswith(
        "give --scan-step NM (distance of probe positions in nm) and --k-step K (size of a detector pixel in 1/nm)."
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--orders", "2,40"), "40"),
        (("--threshold", "median"), "median"),
        (("--k", "50"), "no detector pixel lies in the band k = 50"),
        (("--mask", "no-such-mask.npy"), "no-such-mask.npy"),
    ],
)
def test_options_that_do_not_fit_are_one_line(run, scan, tmp_path, options, words):
    result = run("maps", scan, "--k", 3.5, "--out", tmp_path / "out", *CALIBRATION, *options)
    assert result.exit_code == 1
    assert words in one_line(result)
    assert not (tmp_path / "out").exists()


def test_demo_finds_the_planted_clusters(run, tmp_path):
    result = run("demo", "--out", tmp_path / "demo")
    assert result.exit_code == 0, result.output
    page = tmp_path / "demo" / "index.html"
    assert f"Open {page}" in result.stdout
    text = page.read_text(encoding="utf-8")
    assert "Comparison with the planted clusters" in text
    assert "ROC-AUC" in text
    assert text.count("data:image/png;base64,") == 8
    assert (tmp_path / "demo" / "tables" / "planted_clusters.csv").is_file()


def test_packing_writes_the_page(run, tmp_path):
    atoms = Icosahedron("Ta", 5, 4.1)
    atoms.positions += np.random.default_rng(0).normal(0, 0.15, atoms.positions.shape)
    atoms.write(tmp_path / "model.xyz")
    result = run("packing", tmp_path / "model.xyz", "--out", tmp_path / "out", "--max-edge", 3.8, "--cutoff", 3.8)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "index.html").exists()
    assert f"Open {(tmp_path / 'out' / 'index.html').resolve()}" in result.stdout


def test_packing_of_positions_in_meters_is_one_line(run, tmp_path):
    atoms = Icosahedron("Ta", 3, 4.1)
    atoms.positions *= 1e-10
    atoms.write(tmp_path / "model.xyz", format="extxyz")
    result = run("packing", tmp_path / "model.xyz", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert one_line(result)


def test_pdf_of_the_sample_scan(run, tmp_path):
    scales = ("--scan-step", 0.8, "--k-step", 0.128, "--energy", 300, "--convergence", 1.0)
    result = run("pdf", sample_scan("merlin"), "--composition", "Zr", "--out", tmp_path / "out", *scales)
    assert result.exit_code == 0, result.output
    page = tmp_path / "out" / "index.html"
    assert result.stdout.strip().splitlines()[-1] == f"Open {page}"
    text = page.read_text(encoding="utf-8")
    names = {path.stem for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert {"basis", "weights", "fractions", "mean_pdf"} <= names
    assert text.count("data:image/png;base64,") == len(names)
    # The glass of the sample has its first neighbors at 3.0 Å, see sample_data/README.md.
    connectivity = pd.read_csv(tmp_path / "out" / "tables" / "connectivity.csv")
    assert connectivity["first_peak [Å]"].iloc[0] == pytest.approx(3.0, abs=0.08)
    fractions = pd.read_csv(tmp_path / "out" / "tables" / "fractions.csv")
    assert fractions["fraction"].sum() == pytest.approx(1, abs=1e-4)
    assert (fractions["error"] > 0).all()
    for row in fractions.itertuples():
        assert f"{100 * row.fraction:.0f} ± {100 * row.error:.0f} %" in text
    # 7 x 9 positions: nothing can be said against a single phase, and that is the first thing said.
    first = text.index("were not held against a single phase")
    assert first < text.index("of the amplitude of the PDFs open") < text.index("<dl>")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--composition", "Zz"), "Zz"),
        (("--composition", "Zr", "--k-range", "2.5,16"), "k_range is in 1/angstrom"),
        (("--composition", "Zr", "--components", "0"), "n_components"),
    ],
)
def test_pdf_options_that_do_not_fit_are_one_line(run, scan, tmp_path, options, words):
    result = run("pdf", scan, "--out", tmp_path / "out", "--scan-step", 0.5, "--k-step", 0.5, "--r-max", 8, *options)
    assert result.exit_code == 1
    assert words in one_line(result)
    assert not (tmp_path / "out").exists()


def test_convert_tells_what_it_wrote(run, scan, tmp_path):
    result = run("convert", scan, tmp_path / "scan.zspy", "--chunks", "2,4", "--codec", "lz4")
    assert result.exit_code == 0, result.output
    assert "8 chunks" in result.stdout
    assert "SHA-256" in result.stdout
    again = run("convert", scan, tmp_path / "scan.zspy")
    assert again.exit_code == 1
    assert "overwrite" in one_line(again)


def test_reconstruct_and_aet_tell_errors_in_one_line(run, tmp_path):
    np.savez(tmp_path / "series.npz", projections=np.ones((5, 16, 16)), angles=np.linspace(-60, 60, 5))
    result = run("aet", tmp_path / "series.npz", "--species", "Pd,Pt", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "pixel size" in one_line(result)
    result = run("reconstruct", tmp_path / "none.npz", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "none.npz" in one_line(result)
