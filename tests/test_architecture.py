"""The shape of the house: imports point one way, rooms are small, nothing is printed, import is instant."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import medrange

ROOT = Path(medrange.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if "sample_data" not in path.parts)

# A module imports only from rooms of a lower level, or from its own room.
LEVELS = {
    "_version": 0,
    "units": 1,
    "working": 1,
    "geometry": 1,
    "formats": 1,
    "datasets": 1,
    "kernels": 2,
    "pdf": 2,
    "aet": 3,
    "simulate": 5,
    "io": 6,
    "signals": 7,
    "datacube": 8,
    "plotting": 8,
    "report": 9,
    "cli": 10,
}
# Where a heavy or optional package may be imported at all.
HOMES = {
    "hyperspy": {"signals", "plotting", "report"},
    "dask": {"signals", "io"},
    "matplotlib": {"plotting", "report"},
    "py4DSTEM": {"datacube", "io"},
    "ase": {"aet", "simulate"},
    "typer": {"cli"},
    "rich": {"cli"},
}


def room(path):
    parts = path.relative_to(ROOT).parts
    return parts[0].removesuffix(".py")


def module_level_imports(tree):
    """Imported module names outside function bodies and TYPE_CHECKING blocks."""
    pending, found = list(tree.body), []
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            pending += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    own = room(path)
    if own == "__init__":
        return
    for name in module_level_imports(ast.parse(path.read_text(encoding="utf-8"))):
        if name.startswith("medrange."):
            other = name.split(".")[1]
            other = "_version" if other == "__version__" else other
            assert other in LEVELS, f"{path.name} imports {name}, a room the house does not know"
            assert own == other or LEVELS[other] < LEVELS[own], f"{own} must not import {name}"
        elif name.split(".")[0] in HOMES:
            assert own in HOMES[name.split(".")[0]], f"{own} must not import {name}"


def test_atomic_models_know_nothing_of_tomography():
    code = (
        "import pkgutil, importlib, sys, medrange.aet.atoms as atoms; "
        "names = [f'medrange.aet.atoms.{module.name}' for module in pkgutil.iter_modules(atoms.__path__)]; "
        "[importlib.import_module(name) for name in names]; "
        "found = [name for name in sys.modules if name.startswith('medrange.aet.tomography')]; assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_are_small(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (body[-1].end_lineno - body[0].lineno + 1) if body else 0
            assert lines <= 60, f"{node.name} has {lines} lines"


def test_every_package_is_in_the_list():
    assert {room(path) for path in FILES} - {"__init__"} <= set(LEVELS)


def test_import_is_instant_and_light():
    code = (
        "import sys, time; start = time.perf_counter(); import medrange; spent = time.perf_counter() - start; "
        "heavy = {'hyperspy', 'numba', 'dask', 'matplotlib', 'py4DSTEM', 'pandas', 'scipy'} & set(sys.modules); "
        "assert not heavy, heavy; assert spent < 2, spent"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_resolve():
    for name in medrange.__all__:
        assert getattr(medrange, name) is not None
