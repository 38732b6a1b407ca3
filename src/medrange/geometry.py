"""Where the diffraction patterns lie on the detector: center, scale, distortion and mask.

A :class:`DiffractionGeometry` is a value: it is read off a signal's axes and metadata, handed to the
kernels, and never changed. :class:`PolarGrid` says into which (k, phi) bins the pixels are summed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

_FORMAT = "medrange geometry 1"
_CONVENTIONS = (
    "k = 1/d without 2 pi; center (row, col) in pixels, 0-based, an integer is a pixel's center; ellipse: axis ratio "
    "b/a and angle of a in radians from +kx towards +ky; mask: True = excluded, rows first, packed bits, zlib, base64"
)


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
        return (tuple(self.shape), tuple(self.center), self.k_step, self.k_units, self.ellipse, digest)

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
        return f"DiffractionGeometry({shape}, {center}, {self.k_step:g} {self.k_units} per px{ellipse}, {masked})"

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
            return cls(shape, (row, col), record["k_step"], record["k_units"], ellipse and tuple(ellipse), mask)
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
