"""Pages of the reference: one per public module, with every name it makes public."""

from __future__ import annotations

import importlib
import inspect
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

#: Public modules in the order of the reference, with names of a module before them left out there.
MODULES = (
    "medrange",
    "medrange.geometry",
    "medrange.io",
    "medrange.plotting",
    "medrange.aet",
    "medrange.aet.tomography",
    "medrange.aet.atoms",
    "medrange.simulate",
    "medrange.datasets",
    "medrange.units",
)


def public_names(module: Any) -> list[str]:
    """Names in ``__all__``, or else the classes and functions a module defines itself."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def section(title: str, names: list[str]) -> list[str]:
    """A heading and the table of its names; a page is made for each."""
    if not names:
        return []
    rows = [f"   {name}" for name in sorted(names, key=lambda name: (name.startswith("Lazy"), name.lower()))]
    return [
        title,
        "-" * len(title),
        "",
        ".. autosummary::",
        "   :toctree: generated",
        "   :nosignatures:",
        "",
        *rows,
        "",
    ]


def page(name: str, shown: set[int]) -> str:
    """The reference page of one module; objects shown on a page before are left out."""
    module = importlib.import_module(name)
    classes, functions = [], []
    for public in public_names(module):
        value = getattr(module, public)
        if inspect.ismodule(value) or public.startswith("__") or id(value) in shown or not callable(value):
            continue
        shown.add(id(value))
        (classes if inspect.isclass(value) else functions).append(public)
    lines = [
        name,
        "=" * len(name),
        "",
        f".. automodule:: {name}",
        "   :no-members:",
        "",
        f".. currentmodule:: {name}",
        "",
    ]
    return "\n".join([*lines, *section("Functions", functions), *section("Classes", classes)])


def write_pages(app: Sphinx, _: object) -> None:
    """Write the pages before Sphinx looks for documents, and autosummary for its tables."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    shown: set[int] = set()
    # Pages of names that are no longer public.
    shutil.rmtree(folder / "generated", ignore_errors=True)
    for name in MODULES:
        path, text = folder / f"{name}.rst", page(name, shown)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def skip_inherited(app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what HyperSpy, py4DSTEM and the standard library bring: their own pages have it."""
    value = getattr(value, "fget", None) or getattr(value, "__func__", value)
    module = getattr(inspect.unwrap(value) if callable(value) else value, "__module__", None)
    if module is not None and not str(module).startswith("medrange"):
        return True
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the pages when a build starts."""
    app.connect("config-inited", write_pages)
    app.connect("autodoc-skip-member", skip_inherited)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
