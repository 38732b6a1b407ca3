"""Results of an atomic model as files: arrays, tables, and atoms that viewers open."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np

from medrange.formats.vtk import write_polydata

if TYPE_CHECKING:
    import ase
    import pandas as pd

#: Name under which the parameters of a result are kept in an .npz file.
PARAMETERS = "parameters"


def save_result(
    path: str | PathLike,
    *,
    table: pd.DataFrame | None = None,
    atoms: ase.Atoms | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
    parameters: Mapping[str, Any] | None = None,
    mesh: Callable[[], Mapping[str, Any]] | None = None,
) -> Path:
    """Write a result; the suffix says what.

    Parameters
    ----------
    path : path
        ``.npz`` writes ``arrays``, with ``parameters`` as a JSON string; ``.csv`` the ``table``; ``.xyz`` and
        ``.extxyz`` the ``atoms`` with their columns, which OVITO and ASE read; ``.vtp`` the ``mesh``, for ParaView.
    table : pandas.DataFrame, optional
        Rows of the result.
    atoms : ase.Atoms, optional
        Atoms with per-atom columns in ``.arrays``, see :meth:`medrange.aet.atoms.model.AtomicModel.to_ase`.
    arrays : mapping, optional
        Arrays by name.
    parameters : mapping, optional
        What made the result: numbers, strings, lists.
    mesh : callable, optional
        Gives, when it is wanted, the keywords of :func:`medrange.formats.vtk.write_polydata`.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ValueError
        If the suffix is another one, or if this result has nothing to write under it.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> path = save_result(f"{folder}/order.npz", arrays={"q6": np.ones(3)}, parameters={"cutoff": 4.12})
    >>> load_parameters(path)
    {'cutoff': 4.12}
    """
    path = Path(path)
    suffix = path.suffix.lower()
    offered = {".npz": arrays, ".csv": table, ".xyz": atoms, ".extxyz": atoms, ".vtp": mesh}
    open_suffixes = ", ".join(name for name, content in offered.items() if content is not None)
    if offered.get(suffix) is None:
        msg = f"this result cannot be written as {path.name!r}; the suffixes are: {open_suffixes}."
        raise ValueError(msg)
    if suffix == ".npz":
        text = json.dumps(dict(parameters or {}), default=_plain)
        np.savez_compressed(path, **{**arrays, PARAMETERS: np.array(text)})
    elif suffix == ".csv":
        table.to_csv(path, index=False)
    elif suffix == ".vtp":
        write_polydata(path, **mesh())
    else:
        ase.io.write(path, atoms, format="extxyz")
    return path


def load_parameters(path: str | PathLike) -> dict[str, Any]:
    """Parameters kept in an .npz file of :func:`save_result`.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    dict
        Parameters by name.
    """
    with np.load(path, allow_pickle=False) as data:
        return json.loads(str(data[PARAMETERS]))


def _plain(value: Any) -> Any:
    """NumPy numbers and arrays as JSON knows them."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    msg = f"a parameter of type {type(value).__name__} cannot be kept; use numbers, strings or lists."
    raise TypeError(msg)
