"""A tilt series: projections, their angles, the size of a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hyperspy.signals import Signal2D
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class TiltSeries:
    """Projections of one object at known angles.

    Projection k is the sum of the object along the beam after it was turned by the transpose of
    ``A = Rz(phi) Ry(theta) Rx(psi)``; theta is the tilt, about y. The center of the rotation is pixel n // 2.

    Attributes
    ----------
    projections : numpy.ndarray
        Shape (n_tilts, nx, ny), float32, any unit of intensity that is linear in the thickness (ADF).
    angles : numpy.ndarray
        Shape (n_tilts, 3), float64, degrees: phi, theta, psi. One column, or a vector, is theta alone.
    pixel_size : float or None
        Angstrom.

    Raises
    ------
    ValueError
        If a number is not finite, shapes do not match, a projection holds nothing positive, or angles look like
        radians.

    Examples
    --------
    >>> series = TiltSeries(np.ones((3, 8, 6)), [-30, 0, 30], pixel_size=0.35)
    >>> series
    TiltSeries(3 projections of 8 x 6 pixels, theta -30.0 to 30.0 deg, pixel 0.35 Å)
    >>> series.angles[0]
    array([  0., -30.,   0.])
    """

    projections: np.ndarray
    angles: np.ndarray
    pixel_size: float | None = None

    def __post_init__(self) -> None:
        projections = np.array(self.projections, dtype=np.float32, order="C")
        angles = checked_angles(self.angles)
        _check_projections(projections, len(angles))
        pixel_size = None if self.pixel_size is None else float(self.pixel_size)
        if pixel_size is not None and not (np.isfinite(pixel_size) and pixel_size > 0):
            msg = f"pixel_size is {self.pixel_size!r}; give angstrom per pixel, above 0, or None."
            raise ValueError(msg)
        projections.flags.writeable = angles.flags.writeable = False
        for name, value in (("projections", projections), ("angles", angles), ("pixel_size", pixel_size)):
            object.__setattr__(self, name, value)

    @property
    def n_tilts(self) -> int:
        """Number of projections."""
        return len(self.projections)

    @property
    def image_shape(self) -> tuple[int, int]:
        """(nx, ny) of a projection."""
        return self.projections.shape[1:]

    @property
    def theta(self) -> np.ndarray:
        """Tilt angles, degrees."""
        return self.angles[:, 1]

    def select(self, tilts: Sequence[int] | np.ndarray | slice) -> TiltSeries:
        """The same series with some of its projections: indices, a slice, or a boolean array."""
        tilts = tilts if isinstance(tilts, slice) else np.asarray(tilts)
        return TiltSeries(self.projections[tilts], self.angles[tilts], self.pixel_size)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        angles: str | Path | np.ndarray | None = None,
        axes: str | None = None,
        pixel_size: float | None = None,
        key: str | None = None,
    ) -> TiltSeries:
        """Read a tilt series: .npz, .mat (any version), .mrc (also .mrcs, .st, .ali), .tif.

        Parameters
        ----------
        path : str or pathlib.Path
            File with the projections.
        angles : path or array, optional
            The angles, or a file with them: text (.tlt, .rawtlt, .txt, .csv), .mat, .npy or .npz. Needed where
            the file itself holds none.
        axes : str, optional
            Order of the axes of the array as the file's reader gives it, a permutation of "txy" (t: tilt). By
            default that of files saved by medrange; "xyt" for .mat and other .npz, where a stack whose first
            but not last axis is as long as the table of angles is taken as "txy"; "tyx" for .mrc and .tif, as
            rows of an image run along x there.
        pixel_size : float, optional
            Angstrom; by default what the file says.
        key : str, optional
            Name of the projections among the variables of a .mat or .npz file.

        Returns
        -------
        TiltSeries
            The series.

        Raises
        ------
        ValueError
            If the file holds no stack of images, no angles, or the order of the axes is open.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = TiltSeries(np.ones((3, 8, 6)), [-30, 0, 30]).save(f"{folder}/series.npz")
        ...     TiltSeries.load(path).projections.shape
        (3, 8, 6)
        """
        from medrange.aet.tomography.files import read_tilt_series

        projections, found, found_size = read_tilt_series(Path(path), angles=angles, axes=axes, key=key)
        return cls(projections, found, found_size if pixel_size is None else pixel_size)

    def save(self, path: str | Path) -> Path:
        """Write a compressed .npz file with ``projections``, ``axes`` ("txy"), ``angles`` and ``pixel_size``."""
        path = Path(path)
        if path.suffix != ".npz":
            msg = f"a tilt series is saved as .npz, not {path.suffix or 'without a suffix'!r}."
            raise ValueError(msg)
        known = {} if self.pixel_size is None else {"pixel_size": self.pixel_size}
        np.savez_compressed(path, projections=self.projections, angles=self.angles, axes="txy", **known)
        return path

    def plot(self, **keywords: object) -> Signal2D:
        """Show the projections one by one; see :func:`medrange.plotting.tomography.plot_tilt_series`."""
        from medrange.plotting.tomography import plot_tilt_series

        return plot_tilt_series(self, **keywords)

    def plot_sinogram(self, **keywords: object) -> Axes:
        """Draw a line of pixels over the tilts; see :func:`medrange.plotting.tomography.plot_sinogram`."""
        from medrange.plotting.tomography import plot_sinogram

        return plot_sinogram(self, **keywords)

    def plot_missing_wedge(self, **keywords: object) -> Axes:
        """Draw what of Fourier space is covered; see :func:`medrange.plotting.tomography.plot_missing_wedge`."""
        from medrange.plotting.tomography import plot_missing_wedge

        return plot_missing_wedge(self, **keywords)

    def __repr__(self) -> str:
        nx, ny = self.image_shape
        size = "not calibrated" if self.pixel_size is None else f"pixel {self.pixel_size:g} Å"
        return (
            f"TiltSeries({self.n_tilts} projections of {nx} x {ny} pixels, theta {self.theta.min():.1f} to "
            f"{self.theta.max():.1f} deg, {size})"
        )


def checked_angles(angles: np.ndarray) -> np.ndarray:
    """A table of angles (n, 3) in degrees out of (n,), (n, 1) or (n, 3) numbers."""
    table = np.atleast_1d(np.array(angles, dtype=float))
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or table.shape[1] not in (1, 3) or not len(table):
        msg = (
            f"the angles have shape {np.shape(angles)}; give (n_tilts, 3) as phi, theta, psi, or (n_tilts,) as theta "
            "alone."
        )
        raise ValueError(msg)
    if table.shape[1] == 1:
        table = np.hstack([np.zeros_like(table), table, np.zeros_like(table)])
    if not np.isfinite(table).all():
        msg = f"the angles of tilt {int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])} are not finite."
        raise ValueError(msg)
    largest = float(np.abs(table).max())
    if largest > 360:
        msg = f"an angle is {largest:g}; angles are in degrees, at most 360."
        raise ValueError(msg)
    # Degrees that look like this would be ten or more images within two degrees of each other.
    if len(table) >= 10 and 0 < largest <= np.pi / 2 + 0.01:
        msg = f"{len(table)} angles reach only {largest:.3g}: these look like radians; convert with numpy.degrees."
        raise ValueError(msg)
    return table


def _check_projections(projections: np.ndarray, n_angles: int) -> None:
    if projections.ndim != 3:
        msg = f"the projections have shape {projections.shape}; three axes (n_tilts, nx, ny) are needed."
        raise ValueError(msg)
    if len(projections) != n_angles:
        msg = (
            f"there are {len(projections)} projections (first axis of {projections.shape}) and {n_angles} angles; "
            "the tilt axis comes first: numpy.moveaxis(stack, -1, 0) brings it there."
        )
        raise ValueError(msg)
    if min(projections.shape[1:]) < 2:
        msg = f"the projections have {projections.shape[1]} x {projections.shape[2]} pixels; at least 2 x 2 are needed."
        raise ValueError(msg)
    finite = np.isfinite(projections).all(axis=(1, 2))
    if not finite.all():
        bad = np.flatnonzero(~finite)
        pixels = int((~np.isfinite(projections)).sum())
        msg = f"{pixels} pixels of {bad.size} projections are not finite (first: projection {bad[0]}); repair them."
        raise ValueError(msg)
    empty = np.flatnonzero(projections.max(axis=(1, 2)) <= 0)
    if empty.size:
        msg = f"{empty.size} projections hold nothing positive (first: projection {empty[0]}); leave them out."
        raise ValueError(msg)
