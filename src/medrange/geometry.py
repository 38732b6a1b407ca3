"""Where the diffraction patterns lie on the detector: center, scale, distortion, mask, and descan over the scan.

A :class:`DiffractionGeometry` is a value: it is read off a signal's axes and metadata, handed to the
kernels, and never changed. :class:`PolarGrid` says into which (k, phi) bins the pixels are summed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

_FORMAT = "medrange geometry 1"
_CONVENTIONS = (
    "k = 1/d without 2 pi; center (row, col) in pixels, 0-based, an integer is a pixel's center; ellipse: axis ratio "
    "b/a and angle of a in radians from +kx towards +ky; mask: True = excluded, rows first, packed bits, zlib, base64; "
    "descan: shift of the center (rows, cols) in pixels, terms y, x, y^2, y x, x^2 of the scan's coordinates from the "
    "middle of the extent; scan_rotation: radians, phi in the pattern points along phi + scan_rotation in the scan, "
    "from +x towards +y; row_flip: whether the reader turned the detector's rows over"
)


@dataclass(frozen=True)
class Descan:
    """Shift of the diffraction pattern over the scan, a polynomial of the probe's position.

    ``shift = a_1 y + a_2 x + a_3 y^2 + a_4 y x + a_5 x^2`` for the row and the column of the center, with (y, x)
    counted from the middle of ``extent``: there the shift is 0 and the center is the geometry's.

    Parameters
    ----------
    coefficients : tuple of tuple of float
        For the row and for the column: 2 numbers (a plane) or 5 (a quadratic), in detector pixels per unit
        of length, then per unit squared.
    extent : tuple of tuple of float
        Smallest and largest y, and x, of the probe positions it holds for, in ``units``.
    units : str
        Unit of the scan's coordinates, ``""`` where the scan is not calibrated.
    residual : float, optional
        Root mean square distance, in pixels, of the measured centers from the polynomial; not compared.

    Examples
    --------
    >>> descan = Descan(((0.1, 0.0), (0.0, 0.2)), ((0.0, 20.0), (0.0, 40.0)), "nm")
    >>> descan.shifts(20.0, 0.0)
    array([ 1., -4.])
    """

    coefficients: tuple[tuple[float, ...], tuple[float, ...]]
    extent: tuple[tuple[float, float], tuple[float, float]]
    units: str = ""
    residual: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        coefficients = tuple(tuple(float(value) for value in row) for row in self.coefficients)
        sizes = {len(row) for row in coefficients}
        if len(coefficients) != 2 or sizes not in ({2}, {5}) or not np.isfinite(coefficients).all():
            msg = (
                f"the descan coefficients are {self.coefficients!r}; give finite numbers for the row and the column, "
                "2 each for a plane (y, x) or 5 for a quadratic (y, x, y^2, y x, x^2)."
            )
            raise ValueError(msg)
        extent = tuple((float(low), float(high)) for low, high in self.extent)
        if len(extent) != 2 or not np.isfinite(extent).all() or any(low > high for low, high in extent):
            msg = f"the descan's extent is {self.extent!r}; give ((y_min, y_max), (x_min, x_max)) of the scan."
            raise ValueError(msg)
        object.__setattr__(self, "coefficients", coefficients)
        object.__setattr__(self, "extent", extent)

    @property
    def degree(self) -> int:
        """1 for a plane, 2 for a quadratic."""
        return 1 if len(self.coefficients[0]) == 2 else 2

    @staticmethod
    def terms(y: np.ndarray, x: np.ndarray, degree: int) -> np.ndarray:
        """Terms (..., 2 or 5) of the polynomial at positions counted from the middle of the extent."""
        y, x = np.broadcast_arrays(np.asarray(y, dtype=float), np.asarray(x, dtype=float))
        return np.stack([y, x] if degree == 1 else [y, x, y * y, y * x, x * x], axis=-1)

    def shifts(self, y: np.ndarray | float, x: np.ndarray | float) -> np.ndarray:
        """Shift (..., 2) of the center's row and column, in pixels, at scan coordinates in ``units``."""
        middle_y, middle_x = (0.5 * (low + high) for low, high in self.extent)
        terms = self.terms(np.asarray(y) - middle_y, np.asarray(x) - middle_x, self.degree)
        return terms @ np.array(self.coefficients).T

    def scaled(
        self, *, scan: tuple[float, float] = (1.0, 1.0), pixels: float = 1.0, units: str | None = None
    ) -> Descan:
        """Return the same shifts where y and x are ``scan`` times as large, and pixels count ``pixels`` times."""
        y, x = scan
        powers = np.array([1 / y, 1 / x, 1 / y**2, 1 / (y * x), 1 / x**2])[: len(self.coefficients[0])]
        return Descan(
            coefficients=tuple(tuple(row) for row in (np.array(self.coefficients) * powers * pixels).tolist()),
            extent=tuple((low * f, high * f) for (low, high), f in zip(self.extent, (y, x), strict=True)),
            units=self.units if units is None else units,
            residual=None if self.residual is None else self.residual * pixels,
        )

    def transposed(self) -> Descan:
        """Return the same shifts for a scan whose axes y and x changed places."""
        order = [1, 0] if self.degree == 1 else [1, 0, 4, 3, 2]
        rows = tuple(tuple(row[i] for i in order) for row in self.coefficients)
        return Descan(rows, self.extent[::-1], self.units, self.residual)

    def record(self) -> dict[str, Any]:
        """Return a dictionary of plain values; :meth:`from_record` reads it."""
        return {
            "coefficients": [list(row) for row in self.coefficients],
            "extent": [list(pair) for pair in self.extent],
            "units": self.units,
            "residual": self.residual,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Descan:
        """Read the dictionary of :meth:`record`."""
        coefficients = tuple(tuple(row) for row in record["coefficients"])
        extent = tuple(tuple(pair) for pair in record["extent"])
        residual = record["residual"]
        return cls(coefficients, extent, str(record["units"]), None if residual is None else float(residual))


@dataclass(frozen=True, eq=False, repr=False)
class DiffractionGeometry:
    """Geometry of the diffraction patterns of one scan.

    Parameters
    ----------
    shape : tuple of int
        Detector rows and columns (ky, kx), in pixels.
    center : tuple of float
        Row and column of the direct beam, in pixels; 0-based, an integer is a pixel's center. It may lie
        outside the detector, as it does for a cropped pattern.
    k_step : float
        Size of a pixel in ``k_units``; k = 1/d, without 2 pi.
    k_units : str
        ``"1/nm"`` or ``"1/Å"``.
    ellipse : tuple of float, optional
        Axis ratio b/a of the distorted ring and the angle in radians of its axis a from +kx towards +ky.
        Radii are measured after stretching the axis b by a/b.
    mask : numpy.ndarray of bool, optional
        Shape ``shape``, True = excluded. A mask that excludes nothing is the same as none.
    descan : Descan, optional
        How the center moves over the scan; ``center`` is the center at the middle of its extent.
    scan_rotation : float, optional
        Angle in radians between scan and detector: azimuth phi of the pattern points along phi + scan_rotation in
        the scan, from +x towards +y. None where it is not known.
    row_flip : bool, optional
        Whether the file's reader turned the detector's rows over; None where that is not known. Angles of a flipped
        and an unflipped pattern run opposite ways.

    Examples
    --------
    >>> DiffractionGeometry((128, 128), (63.5, 63.5), 0.16, "1/nm")
    DiffractionGeometry(128 x 128 px, center (63.50, 63.50), 0.16 1/nm per px, no mask)
    """

    shape: tuple[int, int]
    center: tuple[float, float]
    k_step: float
    k_units: str
    ellipse: tuple[float, float] | None = None
    mask: np.ndarray | None = None
    descan: Descan | None = None
    scan_rotation: float | None = None
    row_flip: bool | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.k_step) and self.k_step > 0):
            msg = f"k_step is {self.k_step!r}; the size of a detector pixel must be positive and finite."
            raise ValueError(msg)
        if not np.all(np.isfinite(self.center)):
            msg = f"center is {self.center!r}; give the row and column of the direct beam in pixels."
            raise ValueError(msg)
        if self.ellipse is not None and not 0.5 < self.ellipse[0] < 2:
            msg = f"the ellipse's axis ratio is {self.ellipse[0]!r}; it must lie between 0.5 and 2."
            raise ValueError(msg)
        if self.scan_rotation is not None and not np.isfinite(self.scan_rotation):
            msg = f"scan_rotation is {self.scan_rotation!r}; give an angle in radians, or None where it is not known."
            raise ValueError(msg)
        if self.mask is None:
            return
        mask = np.asarray(self.mask)
        if mask.shape != tuple(self.shape) or mask.dtype != bool:
            msg = (
                f"the mask is {mask.dtype} of shape {mask.shape}; a boolean mask of the detector's shape "
                f"{tuple(self.shape)} is needed, True = excluded."
            )
            raise ValueError(msg)
        object.__setattr__(self, "mask", mask.copy() if mask.any() else None)

    @cached_property
    def key(self) -> tuple:
        """Hashable identity: equal keys give equal operators."""
        digest = None
        if self.mask is not None:
            digest = hashlib.blake2b(np.packbits(self.mask).tobytes(), digest_size=16).hexdigest()
        scan = (self.descan, self.scan_rotation, self.row_flip)
        return (tuple(self.shape), tuple(self.center), self.k_step, self.k_units, self.ellipse, digest, *scan)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DiffractionGeometry) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __dask_tokenize__(self) -> tuple:
        return ("medrange-geometry", self.key)

    def __repr__(self) -> str:
        masked = "no mask" if self.mask is None else f"{int(self.mask.sum())} px masked"
        shape = f"{self.shape[0]} x {self.shape[1]} px"
        center = f"center ({self.center[0]:.2f}, {self.center[1]:.2f})"
        ellipse = "" if self.ellipse is None else f", ellipse b/a {self.ellipse[0]:.4f}"
        descan = "" if self.descan is None else f", descan of degree {self.descan.degree}"
        rotation = "" if self.scan_rotation is None else f", scan rotation {np.rad2deg(self.scan_rotation):.4g} deg"
        scale = f"{self.k_step:g} {self.k_units} per px"
        return f"DiffractionGeometry({shape}, {center}, {scale}{ellipse}{descan}{rotation}, {masked})"

    def to_json(self) -> str:
        """Return the geometry as JSON text; :meth:`from_json` gives an equal one, to the last bit.

        Examples
        --------
        >>> geometry = DiffractionGeometry((8, 8), (3.5, 3.5), 0.1, "1/nm")
        >>> DiffractionGeometry.from_json(geometry.to_json()) == geometry
        True
        """
        packed = None if self.mask is None else zlib.compress(np.packbits(self.mask).tobytes(), 9)
        record = {
            "format": _FORMAT,
            "conventions": _CONVENTIONS,
            "shape": [int(size) for size in self.shape],
            "center": [float(value) for value in self.center],
            "k_step": float(self.k_step),
            "k_units": self.k_units,
            "ellipse": None if self.ellipse is None else [float(value) for value in self.ellipse],
            "mask": None if packed is None else base64.b64encode(packed).decode("ascii"),
            "descan": None if self.descan is None else self.descan.record(),
            "scan_rotation": None if self.scan_rotation is None else float(self.scan_rotation),
            "row_flip": None if self.row_flip is None else bool(self.row_flip),
        }
        return json.dumps(record, indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> DiffractionGeometry:
        """Read the text of :meth:`to_json`.

        Raises
        ------
        ValueError
            If the text is not a geometry, or its mask does not fit its shape.
        """
        try:
            record = json.loads(text)
            if record["format"] != _FORMAT:
                msg = f"format {record['format']!r}"
                raise ValueError(msg)
            shape = tuple(int(size) for size in record["shape"])
            row, col = record["center"]
            ellipse, mask = record["ellipse"], record["mask"]
            if mask is not None:
                bits = np.frombuffer(zlib.decompress(base64.b64decode(mask, validate=True)), dtype=np.uint8)
                mask = np.unpackbits(bits)[: shape[0] * shape[1]].reshape(shape).astype(bool)
            # Files written before the scan's part was known lack it.
            descan = record.get("descan") and Descan.from_record(record["descan"])
            scan = (descan, record.get("scan_rotation"), record.get("row_flip"))
            return cls(shape, (row, col), record["k_step"], record["k_units"], ellipse and tuple(ellipse), mask, *scan)
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            msg = f"the text is no geometry in the format {_FORMAT!r} ({error}); write one with to_json() or save()."
            raise ValueError(msg) from error

    def save(self, path: str | Path) -> Path:
        """Write the geometry as JSON; ``.json`` is added to a name without ending, an existing file replaced."""
        path = Path(path)
        path = path if path.suffix else path.with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json() + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path) -> DiffractionGeometry:
        """Read a file written by :meth:`save`."""
        return cls.from_json(Path(path).read_text(encoding="utf-8"))

    @property
    def distortion(self) -> np.ndarray:
        """Matrix (2, 2) that takes pixel offsets (x, y) from the center to undistorted offsets."""
        if self.ellipse is None:
            return np.eye(2)
        ratio, angle = self.ellipse
        cos, sin = np.cos(angle), np.sin(angle)
        rotation = np.array([[cos, sin], [-sin, cos]])
        return rotation.T @ np.diag([1.0, 1.0 / ratio]) @ rotation

    @property
    def k_max(self) -> float:
        """Largest k, in ``k_units``, of a full circle around the center on the detector."""
        row, col = self.center
        inside = min(row + 0.5, self.shape[0] - 0.5 - row, col + 0.5, self.shape[1] - 0.5 - col)
        return float(inside * self.k_step)

    def k_of_pixels(self) -> np.ndarray:
        """Return k of every pixel's center, shape ``shape``, in ``k_units``."""
        rows, cols = np.indices(self.shape)
        offsets = np.stack([cols - self.center[1], rows - self.center[0]]).reshape(2, -1)
        return (np.hypot(*(self.distortion @ offsets)) * self.k_step).reshape(self.shape)


@dataclass(frozen=True)
class PolarGrid:
    """Bins in k and phi.

    Bin (i, j) holds ``k_min + i dk <= k < k_min + (i + 1) dk`` and ``j dphi <= phi < (j + 1) dphi`` with
    ``dphi = 2 pi / n_phi``; phi = 0 along +kx, growing towards +ky.

    Parameters
    ----------
    k_min, k_max : float
        Inner and outer edge, in the geometry's k units.
    n_k, n_phi : int
        Number of bins; n_phi = 1 means whole rings.

    Examples
    --------
    >>> PolarGrid.band(4.0, 0.4, 36)
    PolarGrid(k_min=3.8, k_max=4.2, n_k=1, n_phi=36)
    """

    k_min: float
    k_max: float
    n_k: int
    n_phi: int

    def __post_init__(self) -> None:
        if not 0 <= self.k_min < self.k_max:
            msg = f"the k range {self.k_min:g} to {self.k_max:g} is empty or starts below 0."
            raise ValueError(msg)
        if self.n_k < 1:
            msg = f"n_k is {self.n_k}; at least one k bin is needed."
            raise ValueError(msg)
        if self.n_phi != 1 and self.n_phi < 3:
            msg = f"n_phi is {self.n_phi}; 1 (whole rings) or at least 3 azimuthal bins are needed, 36 is usual."
            raise ValueError(msg)

    @classmethod
    def band(cls, k: float, width: float, n_phi: int) -> PolarGrid:
        """One ring of full width ``width`` centered on ``k``."""
        if not width > 0:
            msg = f"width is {width!r}; the full width of the k band must be positive."
            raise ValueError(msg)
        if k - width / 2 < 0:
            msg = f"the band k = {k:g}, width = {width:g} reaches below k = 0; take a smaller width."
            raise ValueError(msg)
        return cls(round(float(k - width / 2), 12), round(float(k + width / 2), 12), 1, int(n_phi))

    @property
    def k_step(self) -> float:
        """Width of a k bin."""
        return (self.k_max - self.k_min) / self.n_k

    @property
    def k(self) -> np.ndarray:
        """Centers of the k bins, shape (n_k,)."""
        return self.k_min + (np.arange(self.n_k) + 0.5) * self.k_step

    @property
    def lags(self) -> np.ndarray:
        """Differences of azimuth between bins, shape (n_phi,), in radians, from 0."""
        return 2 * np.pi * np.arange(self.n_phi) / self.n_phi

    @property
    def phi(self) -> np.ndarray:
        """Centers of the azimuthal bins, shape (n_phi,), in radians."""
        return 2 * np.pi * (np.arange(self.n_phi) + 0.5) / self.n_phi
