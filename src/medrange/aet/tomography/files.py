"""Readers of tilt series: each gives the projections (tilt, x, y), the angles and the pixel size.

MATLAB files are those of the published deposits (arrays; results kept as MATLAB objects cannot be read).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

Stack = tuple[np.ndarray, np.ndarray | None, float | None, str | None]

#: First eight bytes of an HDF5 file, at the start or after a user block of 512 bytes as MATLAB writes it.
_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_tilt_series(
    path: Path, *, angles: str | Path | np.ndarray | None, axes: str | None, key: str | None
) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Projections (tilt, x, y), angles and pixel size (angstrom or None); see ``TiltSeries.load``."""
    if axes is not None and sorted(axes) != sorted("txy"):
        msg = f"axes is {axes!r}; give a permutation of 'txy' (t: tilt), for example 'tyx'."
        raise ValueError(msg)
    if not path.is_file():
        msg = f"there is no file {path}."
        raise FileNotFoundError(msg)
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        msg = f"{path.name}: {suffix or 'a file without suffix'} is not read; choose one of {', '.join(_READERS)}."
        raise ValueError(msg)
    stack, found, pixel_size, order = _READERS[suffix](path, key)
    if angles is not None:
        found = read_angles(angles)
    if found is None:
        msg = f"{path.name} holds no angles; give them with angles=, as an array or a file."
        raise ValueError(msg)
    order = axes or order or _guess_axes(stack, found, path)
    return stack.transpose([order.index(axis) for axis in "txy"]), found, pixel_size


def read_angles(source: str | Path | np.ndarray) -> np.ndarray:
    """Angles from an array or a file: text, .mat, .npy or .npz (variable ``angles``, or the only table in it)."""
    if not isinstance(source, str | Path):
        return np.asarray(source, dtype=float)
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return np.load(path)
    if suffix in (".npz", ".mat"):
        variables = _read_npz(path) if suffix == ".npz" else _read_mat(path)
        table = _find_angles(variables)
        if table is None:
            msg = f"{path.name} holds no table of angles with 1 or 3 columns, only {_listed(variables)}."
            raise ValueError(msg)
        return table
    try:
        text = path.read_text(encoding="utf-8")
        lines = [line.replace(",", " ").split("#")[0] for line in text.splitlines()]
        return np.array([[float(word) for word in line.split()] for line in lines if line.strip()])
    except ValueError as error:
        msg = f"{path.name} is no table of angles: {error}; one line per tilt with 1 or 3 numbers is expected."
        raise ValueError(msg) from error


def _guess_axes(stack: np.ndarray, angles: np.ndarray, path: Path) -> str:
    """Order of the axes of an array from MATLAB or NumPy, told from the number of angles."""
    n_tilts = len(np.atleast_1d(angles)) if np.shape(angles)[:1] != (1,) else np.size(angles)
    first, last = stack.shape[0] == n_tilts, stack.shape[2] == n_tilts
    if first and last:
        msg = f"{path.name}: both ends of {stack.shape} are as long as the table of angles; give axes='txy' or 'xyt'."
        raise ValueError(msg)
    if not first and not last:
        msg = f"{path.name}: the stack has shape {stack.shape} but there are {n_tilts} angles; no outer axis fits."
        raise ValueError(msg)
    return "txy" if first else "xyt"


def _from_variables(variables: dict[str, np.ndarray], path: Path, key: str | None) -> Stack:
    """Stack, angles and pixel size out of named arrays."""
    if key is None:
        preferred = [name for name in variables if name.lower() in ("projections", "inputprojections")]
        stacks = preferred or [name for name, value in variables.items() if value.ndim == 3]
        if len(stacks) != 1:
            msg = f"{path.name} holds {len(stacks)} arrays with three axes ({_listed(variables)}); name one with key=."
            raise ValueError(msg)
        key = stacks[0]
    if key not in variables:
        msg = f"{path.name} has no variable {key!r}, only {_listed(variables)}."
        raise ValueError(msg)
    stack = variables[key]
    if stack.ndim != 3:
        msg = f"{key!r} of {path.name} has shape {stack.shape}; a stack of images has three axes."
        raise ValueError(msg)
    size = variables.get("pixel_size")
    order = str(variables["axes"]) if "axes" in variables else None
    return stack, _find_angles(variables), None if size is None else float(np.ravel(size)[0]), order


def _find_angles(variables: dict[str, np.ndarray]) -> np.ndarray | None:
    named = [value for name, value in variables.items() if "angle" in name.lower() and np.ndim(value) in (1, 2)]
    tables = named or [
        value for value in variables.values() if np.ndim(value) == 2 and value.shape[1] in (1, 3) and len(value) > 1
    ]
    if len(tables) != 1:
        return None
    table = tables[0]
    # MATLAB keeps a vector as one row or one column.
    is_row = table.ndim == 2 and table.shape[0] == 1 and table.shape[1] != 3
    return np.ravel(table) if is_row else table


def _listed(variables: dict[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {np.shape(value)}" for name, value in variables.items()) or "nothing"


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def _read_mat(path: Path) -> dict[str, np.ndarray]:
    """Numeric arrays of a .mat file of version 5 to 7 (SciPy) or 7.3 (HDF5), with MATLAB's order of axes."""
    with path.open("rb") as file:
        head = file.read(520)
    if _HDF5 in (head[:8], head[512:520]):
        import h5py

        with h5py.File(path, "r") as file:
            # HDF5 keeps the axes of MATLAB's arrays in reverse.
            variables = {
                name: value[()].T
                for name, value in file.items()
                if isinstance(value, h5py.Dataset) and "MATLAB_object_decode" not in value.attrs
            }
    else:
        from scipy.io import loadmat

        variables = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    numeric = {
        name: value for name, value in variables.items() if getattr(value, "dtype", None) and value.dtype.kind in "fiu"
    }
    if not numeric:
        msg = (
            f"{path.name} holds no numeric array ({', '.join(variables) or 'nothing'}): results kept as MATLAB objects "
            "or structures cannot be read; save the arrays themselves in MATLAB, or read the file with mat-io."
        )
        raise ValueError(msg)
    return numeric


def _npz_stack(path: Path, key: str | None) -> Stack:
    return _from_variables(_read_npz(path), path, key)


def _mat_stack(path: Path, key: str | None) -> Stack:
    return _from_variables(_read_mat(path), path, key)


def _mrc_stack(path: Path, key: str | None) -> Stack:
    import mrcfile

    # Permissive: stacks of older acquisition programs lack the stamp of the byte order; mrcfile warns of it.
    with mrcfile.open(path, permissive=True) as file:
        data = np.array(file.data)
        size = float(file.voxel_size.x)
    if data.ndim != 3:
        msg = f"{path.name} has shape {data.shape}; a stack of images has three axes."
        raise ValueError(msg)
    return data, _tilt_file_beside(path), size if size > 0 else None, "tyx"


def _tiff_stack(path: Path, key: str | None) -> Stack:
    import tifffile

    data = tifffile.imread(path)
    if data.ndim != 3:
        msg = f"{path.name} has shape {data.shape}; a stack of images has three axes."
        raise ValueError(msg)
    return data, _tilt_file_beside(path), None, "tyx"


def _tilt_file_beside(path: Path) -> np.ndarray | None:
    """Angles from the file of the same name with the suffix .tlt or .rawtlt, if there is one."""
    for suffix in (".tlt", ".rawtlt"):
        if path.with_suffix(suffix).is_file():
            return read_angles(path.with_suffix(suffix))
    return None


_READERS: dict[str, Callable[[Path, str | None], Stack]] = {
    ".npz": _npz_stack,
    ".mat": _mat_stack,
    ".mrc": _mrc_stack,
    ".mrcs": _mrc_stack,
    ".st": _mrc_stack,
    ".ali": _mrc_stack,
    ".tif": _tiff_stack,
    ".tiff": _tiff_stack,
}
