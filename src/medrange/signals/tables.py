"""Tables that know their units, in memory and on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd


def with_units(table: pd.DataFrame, units: Mapping[str, str]) -> pd.DataFrame:
    """Copy of a table whose ``attrs["units"]`` holds the unit of each of its columns.

    Parameters
    ----------
    table : pandas.DataFrame
        Any table.
    units : mapping of str to str
        Column name to unit; columns without an entry are dimensionless, ``""``.

    Examples
    --------
    >>> with_units(pd.DataFrame({"n": [2], "area": [1.5]}), {"area": "nm^2"}).attrs["units"]
    {'n': '', 'area': 'nm^2'}
    """
    table = table.copy()
    table.attrs["units"] = {str(column): units.get(column, "") for column in table.columns}
    return table


def write_table(table: pd.DataFrame, path: str | Path, *, index: bool = False) -> Path:
    """Write a table as CSV (UTF-8) with units in its header, ``diameter [nm]``, and six digits.

    Parameters
    ----------
    table : pandas.DataFrame
        Units are taken from ``table.attrs["units"]``; without them the header holds the names alone.
    path : str or pathlib.Path
        The file; an existing one is replaced, missing folders are made.
    index : bool
        Whether the row names are a column.

    Returns
    -------
    pathlib.Path
        The file written. A missing value is written as ``nan``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    units = table.attrs.get("units", {})
    header = [f"{column} [{units[column]}]" if units.get(column) else str(column) for column in table.columns]
    table.to_csv(
        path,
        header=header,
        index=index,
        float_format="%.6g",
        na_rep="nan",
        encoding="utf-8",
        lineterminator="\n",
    )
    return path
