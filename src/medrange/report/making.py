"""How a run was made: what goes at the end of every page, and what a run writes."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from medrange.report.fingerprint import fingerprint
from medrange.report.page import Section, Table

_PACKAGES = (
    "medrange",
    "numpy",
    "scipy",
    "numba",
    "dask",
    "hyperspy",
    "rosettasciio",
    "matplotlib",
    "pandas",
)


@dataclass(frozen=True)
class ReportFiles:
    """What a run wrote.

    Attributes
    ----------
    page : pathlib.Path
        The HTML page.
    figures, tables, maps : tuple of pathlib.Path
        PNG images; CSV tables and label images; HyperSpy signals.
    """

    page: Path
    figures: tuple[Path, ...]
    tables: tuple[Path, ...]
    maps: tuple[Path, ...]


def making_section(parameters: Mapping[str, object], inputs: pd.DataFrame) -> Section:
    """The last part of a page: input files with checksums, parameters, versions.

    Parameters
    ----------
    parameters : mapping
        Name -> value with its unit.
    inputs : pandas.DataFrame
        From :func:`inputs_table`.

    Returns
    -------
    Section
    """
    rows = [(name.replace("_", " "), _as_text(value)) for name, value in parameters.items()]
    versions = [("Python", platform.python_version())]
    versions += [(name, metadata.version(name)) for name in _PACKAGES]
    return Section(
        "How this was made",
        tables=(
            Table(inputs, "Input."),
            Table(pd.DataFrame(rows, columns=["parameter", "value"]), "Parameters."),
            Table(pd.DataFrame(versions, columns=["package", "version"]), "Versions."),
        ),
    )


def inputs_table(sources: Sequence[str | Path]) -> pd.DataFrame:
    """Name, size and checksum of every input file, and what the checksum was taken of.

    Parameters
    ----------
    sources : sequence of paths
        The input files.

    Returns
    -------
    pandas.DataFrame
        Columns ``input`` and ``value``.

    Raises
    ------
    FileNotFoundError
        If a source does not exist.
    """
    rows = []
    for item in map(fingerprint, sources):
        rows += [("file", str(item.path)), ("size", f"{item.size} bytes")]
        rows += [("SHA-256", item.sha256), ("hashed", item.hashed)]
    return pd.DataFrame(rows, columns=["input", "value"])


def _as_text(value: object) -> object:
    """Sequences as a comma-separated list; everything else as it is."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    return value
