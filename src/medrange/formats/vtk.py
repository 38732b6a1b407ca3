"""XML files of VTK, for ParaView and OVITO: points, lines and polygons (.vtp), and volumes (.vti).

The arrays follow the description as raw little-endian bytes, each after its size; see the file formats of VTK.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

_TYPES = {"f": "Float", "i": "Int", "u": "UInt"}
_KINDS = ("Verts", "Lines", "Polys")


def write_polydata(
    path: str | PathLike,
    points: np.ndarray,
    *,
    vertices: np.ndarray | None = None,
    lines: np.ndarray | None = None,
    polygons: np.ndarray | None = None,
    point_data: Mapping[str, np.ndarray] | None = None,
    cell_data: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write points, and the vertices, lines and polygons between them, as VTK polygonal data.

    Parameters
    ----------
    path : path
        ``.vtp``; an existing file is replaced.
    points : numpy.ndarray
        Shape (n, 3), any unit of length.
    vertices : numpy.ndarray, optional
        Shape (v,): indices of points that are drawn as such.
    lines : numpy.ndarray, optional
        Shape (m, 2), or (m, length) for polylines: indices of points.
    polygons : numpy.ndarray, optional
        Shape (p, corners): indices of points.
    point_data : mapping, optional
        Arrays (n,) or (n, components) by name.
    cell_data : mapping, optional
        Arrays by name with one row per cell: first the vertices, then the lines, then the polygons.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ValueError
        If the suffix or a shape is wrong, or an index is not that of a point.

    Examples
    --------
    >>> import tempfile
    >>> write_polydata(f"{tempfile.mkdtemp()}/bond.vtp", np.eye(3), lines=np.array([[0, 1], [1, 2]])).name
    'bond.vtp'
    """
    path, points = _checked_path(path, ".vtp"), np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        msg = f"points have shape {points.shape}; give (n, 3)."
        raise ValueError(msg)
    given = (None if vertices is None else np.reshape(vertices, (-1, 1)), lines, polygons)
    cells = {kind: _checked_cells(kind, own, len(points)) for kind, own in zip(_KINDS, given, strict=True)}
    appended = _Appended()
    body = [_section("Points", [appended.declare("Points", points)])]
    for kind, own in cells.items():
        ends = np.arange(1, len(own) + 1, dtype=np.int64) * own.shape[1]
        arrays = [appended.declare("connectivity", own.ravel()), appended.declare("offsets", ends)]
        body.append(_section(kind, arrays))
    n_cells = sum(map(len, cells.values()))
    body.append(_section("PointData", _declared(appended, point_data, len(points), "point")))
    body.append(_section("CellData", _declared(appended, cell_data, n_cells, "cell")))
    counts = " ".join(f'NumberOf{kind}="{len(own)}"' for kind, own in cells.items())
    piece = f'<Piece NumberOfPoints="{len(points)}" {counts} NumberOfStrips="0">{"".join(body)}</Piece>'
    appended.write(path, "PolyData", f"<PolyData>{piece}</PolyData>")
    return path


def write_image_data(
    path: str | PathLike,
    volume: np.ndarray,
    *,
    spacing: float | tuple[float, float, float] = 1.0,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    name: str = "intensity",
) -> Path:
    """Write a volume as VTK image data.

    Parameters
    ----------
    path : path
        ``.vti``; an existing file is replaced.
    volume : numpy.ndarray
        Shape (nx, ny, nz), axes [x, y, z], real; written in its own type.
    spacing : float or tuple of float
        Edge of a voxel, or its edges along x, y, z.
    origin : tuple of float
        Position of the center of the first voxel: VTK's values sit on points.
    name : str
        Name of the quantity.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ValueError
        If the suffix, the shape, the type or the spacing is wrong.

    Examples
    --------
    >>> import tempfile
    >>> write_image_data(f"{tempfile.mkdtemp()}/volume.vti", np.zeros((3, 4, 5)), spacing=0.35).name
    'volume.vti'
    """
    path, volume = _checked_path(path, ".vti"), np.asarray(volume)
    steps = np.broadcast_to(np.asarray(spacing, dtype=float), (3,))
    if volume.ndim != 3 or not volume.size or not (np.isfinite(steps).all() and (steps > 0).all()):
        msg = f"the volume has shape {volume.shape} and spacing {spacing!r}; give (nx, ny, nz) and positive lengths."
        raise ValueError(msg)
    extent = " ".join(f"0 {size - 1}" for size in volume.shape)
    place = f'Origin="{_numbers(origin)}" Spacing="{_numbers(steps)}"'
    appended = _Appended()
    # The first index runs fastest.
    declared = appended.declare(name, volume.transpose(2, 1, 0).ravel())
    data = f"<PointData Scalars={quoteattr(name)}>{declared}</PointData><CellData></CellData>"
    piece = f'<Piece Extent="{extent}">{data}</Piece>'
    appended.write(path, "ImageData", f'<ImageData WholeExtent="{extent}" {place}>{piece}</ImageData>')
    return path


class _Appended:
    """Arrays that follow the description, and where each of them begins."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []
        self._offset = 0

    def declare(self, name: str, array: np.ndarray) -> str:
        """Take an array in, and return its element."""
        if array.dtype.kind == "b":
            array = array.astype(np.uint8)
        if array.dtype.kind not in _TYPES or array.dtype.itemsize > 8 or array.dtype == np.float16:
            msg = f"the array {name!r} has type {array.dtype}; VTK holds integers, float32 and float64."
            raise ValueError(msg)
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        kind = f"{_TYPES[array.dtype.kind]}{8 * array.dtype.itemsize}"
        width = array.shape[1] if array.ndim == 2 else 1
        place = f'format="appended" offset="{self._offset}"'
        self._arrays.append(array)
        self._offset += 8 + array.nbytes
        return f'<DataArray type="{kind}" Name={quoteattr(name)} NumberOfComponents="{width}" {place}/>'

    def write(self, path: Path, kind: str, body: str) -> None:
        """Write the description, then the arrays."""
        path.parent.mkdir(parents=True, exist_ok=True)
        head = f'<?xml version="1.0"?>\n<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian" '
        head += f'header_type="UInt64">\n{body}\n<AppendedData encoding="raw">\n_'
        with path.open("wb") as file:
            file.write(head.encode())
            for array in self._arrays:
                file.write(np.array(array.nbytes, dtype="<u8").tobytes())
                file.write(array.data if array.size else b"")
            file.write(b"\n</AppendedData>\n</VTKFile>\n")


def _section(name: str, elements: Sequence[str]) -> str:
    return f"<{name}>{''.join(elements)}</{name}>"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _declared(appended: _Appended, data: Mapping[str, np.ndarray] | None, count: int, what: str) -> list[str]:
    """Elements of the arrays that belong to points or to cells."""
    elements = []
    for name, values in (data or {}).items():
        array = np.asarray(values)
        if array.ndim not in (1, 2) or len(array) != count:
            msg = f"the {what} data {name!r} have shape {array.shape}; there are {count} {what}s."
            raise ValueError(msg)
        elements.append(appended.declare(name, array))
    return elements


def _checked_path(path: str | PathLike, suffix: str) -> Path:
    path = Path(path)
    if path.suffix.lower() != suffix:
        msg = f"{path.name!r}: the ending must be {suffix}."
        raise ValueError(msg)
    return path


def _checked_cells(kind: str, cells: np.ndarray | None, count: int) -> np.ndarray:
    """Indices (cells, corners), int64."""
    cells = np.empty((0, 1), np.int64) if cells is None else np.asarray(cells)
    if cells.ndim != 2 or cells.dtype.kind not in "iu":
        msg = f"{kind} have shape {cells.shape} and type {cells.dtype}; give indices of points, one row per cell."
        raise ValueError(msg)
    if cells.size and not 0 <= cells.min() <= cells.max() < count:
        msg = f"{kind} name the points {cells.min()} .. {cells.max()}; there are {count}, counted from 0."
        raise ValueError(msg)
    return cells.astype(np.int64)
