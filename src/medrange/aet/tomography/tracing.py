"""Tracing: peaks of a reconstructed volume as candidates for atoms, positions in angstrom."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numba import njit
from scipy import ndimage
from tqdm import tqdm

from medrange.aet.atoms.model import AtomicModel
from medrange.aet.atoms.saving import load_parameters, save_result
from medrange.aet.tomography.fine_grid import SMALLEST, FineGrid
from medrange.aet.tomography.peak_fit import KEPT, MOVED_AWAY, NO_MAXIMUM, TOO_CLOSE, UNSETTLED, fit_peaks
from medrange.working import available_cores, progress_shown

if TYPE_CHECKING:
    import pandas as pd

#: Meaning of the codes in ``Peaks.status``.
STATUS = MappingProxyType(
    {
        KEPT: "kept",
        NO_MAXIMUM: "no maximum of the fitted polynomial",
        MOVED_AWAY: "moved away by more than 3 fine samples",
        TOO_CLOSE: "closer to a brighter peak than the minimum distance",
        UNSETTLED: "not settled after 14 steps",
    }
)
#: With spline interpolation, ringing in empty regions makes peaks; below this part of the maximum none is sought.
SPLINE_THRESHOLD = 0.01
# Maxima fitted per task, and seconds before a progress bar appears.
_BATCH = 2048
_BAR_DELAY = 2.0


class Volume(Protocol):
    """What tracing needs of a reconstruction."""

    volume: np.ndarray
    pixel_size: float


@dataclass(frozen=True, eq=False, repr=False)
class Peaks:
    """Peaks of a volume, the brightest first; made by :func:`trace_atoms`.

    Attributes
    ----------
    positions : numpy.ndarray
        Shape (N, 3), angstrom: x, y, z from the center voxel, which is n // 2 on each axis.
    heights : numpy.ndarray
        Shape (N,): interpolated intensity at the local maximum each peak was fitted from, in units of the volume.
    status : numpy.ndarray
        Shape (M,), int8: what became of each local maximum, the brightest first; see ``STATUS``.
    maxima : numpy.ndarray
        Shape (M, 3), angstrom: the local maxima on the fine grid, positions as above.
    shape : tuple of int
        Voxels of the volume along x, y, z.
    pixel_size : float
        Edge of a voxel, angstrom.
    parameters : mapping
        What made the peaks: ``min_distance``, ``oversampling``, ``interpolation``, ``threshold``,
        ``smoothing``.
    """

    positions: np.ndarray
    heights: np.ndarray
    status: np.ndarray
    maxima: np.ndarray
    shape: tuple[int, int, int]
    pixel_size: float
    parameters: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Count of peaks."""
        return len(self.positions)

    @property
    def voxels(self) -> np.ndarray:
        """Positions (N, 3) as voxel indices of the volume, from 0, fractional."""
        return self.positions / self.pixel_size + np.array([size // 2 for size in self.shape])

    @property
    def table(self) -> pd.DataFrame:
        """One row per peak: ``x``, ``y``, ``z`` in angstrom and ``height``."""
        import pandas as pd

        x, y, z = self.positions.T
        return pd.DataFrame({"x": x, "y": y, "z": z, "height": self.heights})

    @property
    def status_counts(self) -> dict[str, int]:
        """How many local maxima came to each end, in the words of ``STATUS``."""
        return {meaning: int((self.status == code).sum()) for code, meaning in STATUS.items()}

    def save(self, path: str | os.PathLike) -> Path:
        """Write ``.npz`` (all, for :meth:`load`), ``.csv`` (the table) or ``.xyz`` (atoms without species)."""
        arrays = {name: getattr(self, name) for name in ("positions", "heights", "status", "maxima")}
        parameters = {"shape": list(self.shape), "pixel_size": self.pixel_size, **self.parameters}
        atoms = AtomicModel(self.positions).to_ase(height=self.heights)
        return save_result(path, table=self.table, atoms=atoms, arrays=arrays, parameters=parameters)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Peaks:
        """Peaks from an ``.npz`` file of :meth:`save`."""
        parameters = load_parameters(path)
        shape, pixel_size = tuple(parameters.pop("shape")), parameters.pop("pixel_size")
        with np.load(path, allow_pickle=False) as data:
            arrays = [data[name] for name in ("positions", "heights", "status", "maxima")]
        return cls(*arrays, shape, pixel_size, parameters)

    def plot(self, volume: np.ndarray | Volume, **kwargs: Any) -> Any:
        """Slice of the volume with its peaks: see :func:`medrange.plotting.tracing.plot_peaks`."""
        from medrange.plotting import tracing

        return tracing.plot_peaks(self, volume, **kwargs)

    def __repr__(self) -> str:
        lost = "; ".join(f"{count} {meaning}" for meaning, count in self.status_counts.items() if meaning != "kept")
        return f"Peaks({len(self)} of {len(self.status)} local maxima in {self.shape} voxels; {lost})"


def trace_atoms(
    volume: np.ndarray | Volume,
    *,
    pixel_size: float | None = None,
    min_distance: float = 2.0,
    oversampling: int = 3,
    interpolation: str = "linear",
    threshold: float | None = None,
    smoothing: float = 0.0,
) -> Peaks:
    """Peaks of a volume by the published fit, candidates for atoms.

    The volume is interpolated on a grid ``oversampling`` times finer. Around each of its local maxima (not below the
    six neighbors) a polynomial of fourth degree is fitted to the samples within 3.5 fine samples, weighted around its
    top, and moved there until it rests; see :func:`medrange.aet.tomography.peak_fit.fit_peaks` and [Yuan2022]_. The
    tops are then taken from the brightest maximum to the faintest, and dropped where one taken before lies closer than
    ``min_distance``. Radius, weight and limits of the fit are fine samples: they suit atoms whose full width is some 2
    to 4 voxels, at an oversampling of 3. As published, intensity is taken as zero outside the volume and on the first
    ``oversampling - 1`` fine planes of each axis: peaks within 1.5 voxels of a border are pulled from it.

    Parameters
    ----------
    volume : numpy.ndarray or Reconstruction
        Shape (nx, ny, nz), axes x, y, z: intensity. Of a reconstruction, ``.volume`` and ``.pixel_size`` are used.
    pixel_size : float, optional
        Edge of a voxel, angstrom; needed unless the reconstruction knows it.
    min_distance : float
        Angstrom; 0 keeps all. It must be below the shortest bond and above the radius of an atom's image: too large
        a value loses atoms.
    oversampling : int
        Fine samples per voxel, at most 6.
    interpolation : str
        ``"linear"``, as published for the Ta film, or ``"spline"``: cubic, with not-a-knot ends. A linear interpolant
        has its tops on voxels, which pulls the peaks there: Gaussian atoms of 1.5 voxels (standard deviation) are
        found up to 0.3 voxel off, 0.2 in the median, and with ``"spline"`` within 0.015.
    threshold : float, optional
        Maxima must be brighter, in units of the volume; not negative. By default 0 for ``"linear"``, and 1 % of the
        largest value for ``"spline"``, which rings in empty regions.
    smoothing : float
        Standard deviation of a Gaussian the volume is smoothed with before, angstrom; 0, as published, for none.
        Iterations carry the noise of the images into the finest details of a volume, where it pulls peaks about: 0.3
        for atoms of 0.55 (standard deviation) halves the deviations of medium and heavy atoms at a few hundred
        electrons in a bright pixel. It widens atoms, so that light ones next to heavy ones are lost, and leaves few
        false peaks: see ``non_atoms`` of :func:`medrange.aet.classify_atoms`.

    Returns
    -------
    Peaks
        Positions in angstrom from the center voxel n // 2.

    Raises
    ------
    ValueError
        If the volume is not a finite 3-D array of at least 4 voxels per axis, the pixel size is unknown or contradicts
        the reconstruction, a parameter lies outside its range, or the volume has millions of maxima.

    Examples
    --------
    >>> x, y, z = np.indices((15, 15, 15)) - 7
    >>> blob = np.exp(-((x - 0.4) ** 2 + (y + 1.2) ** 2 + z**2) / 4.5)
    >>> trace_atoms(blob, pixel_size=0.5, interpolation="spline").positions.round(2) + 0.0
    array([[ 0.2, -0.6,  0. ]])
    """
    data, pixel_size = volume_and_pixel_size(volume, pixel_size)
    data = smoothed(data, smoothing / pixel_size)
    threshold = _checked(data, min_distance, oversampling, interpolation, threshold)
    grid = FineGrid.of(data, int(oversampling), interpolation)
    samples, heights = grid.maxima(threshold)
    tops, status = _fit_in_threads(grid, samples)
    _drop_close(tops, status, min_distance * oversampling / pixel_size, np.array(grid.fine_shape))
    kept = status == KEPT
    center = np.array([size // 2 for size in data.shape])
    return Peaks(
        positions=(tops[kept] / oversampling - center) * pixel_size,
        heights=heights[kept],
        status=status,
        maxima=(samples / oversampling - center) * pixel_size,
        shape=data.shape,
        pixel_size=pixel_size,
        parameters={
            "min_distance": float(min_distance),
            "oversampling": int(oversampling),
            "interpolation": interpolation,
            "threshold": float(threshold),
            "smoothing": float(smoothing),
        },
    )


def smoothed(volume: np.ndarray, sigma: float) -> np.ndarray:
    """Volume [x, y, z] smoothed by a Gaussian of standard deviation ``sigma`` (voxels), with zeros around it.

    Raises
    ------
    ValueError
        If sigma is negative or not finite.
    """
    if not (np.isfinite(sigma) and sigma >= 0):
        msg = f"smoothing is {sigma:g} voxels; give 0 angstrom for none, or more."
        raise ValueError(msg)
    if sigma == 0:
        return volume
    # An integer volume would be smoothed in integers.
    values = np.asarray(volume, dtype=np.result_type(volume, np.float32))
    return ndimage.gaussian_filter(values, sigma, mode="constant")


def volume_and_pixel_size(volume: np.ndarray | Volume, pixel_size: float | None) -> tuple[np.ndarray, float]:
    """Array [x, y, z] and edge of a voxel (angstrom) of a volume or a reconstruction, checked.

    Raises
    ------
    ValueError
        If the volume is not a finite 3-D array, or the pixel size is missing, not positive or contradicted.
    """
    known = getattr(volume, "pixel_size", None)
    data = np.asarray(getattr(volume, "volume", volume))
    if data.ndim != 3 or min(data.shape) < SMALLEST:
        msg = f"the volume has shape {data.shape}; three axes x, y, z of at least {SMALLEST} voxels are needed."
        raise ValueError(msg)
    if not np.isfinite(data).all():
        msg = f"{(~np.isfinite(data)).sum()} voxels are NaN or infinite; set them to 0 or crop the volume."
        raise ValueError(msg)
    if known is not None and pixel_size is not None and not np.isclose(known, pixel_size, rtol=1e-6, atol=0):
        msg = f"pixel_size is {pixel_size:g} Å but the reconstruction has {known:g} Å; give one of them."
        raise ValueError(msg)
    pixel_size = known if pixel_size is None else pixel_size
    if pixel_size is None or not (np.isfinite(pixel_size) and pixel_size > 0):
        msg = f"pixel_size is {pixel_size}; give the edge of a voxel in angstrom, for example pixel_size=0.3216."
        raise ValueError(msg)
    return data, float(pixel_size)


def _checked(
    data: np.ndarray, min_distance: float, oversampling: int, interpolation: str, threshold: float | None
) -> float:
    """The threshold, after a check of the parameters."""
    if not (np.isfinite(min_distance) and min_distance >= 0):
        msg = f"min_distance is {min_distance}; give angstrom, 0 for none."
        raise ValueError(msg)
    if oversampling not in range(1, 7):
        msg = f"oversampling is {oversampling}; give a whole number from 1 to 6, 3 as published."
        raise ValueError(msg)
    if interpolation not in {"linear", "spline"}:
        msg = f"interpolation is {interpolation!r}; give 'linear' or 'spline'."
        raise ValueError(msg)
    if threshold is None:
        return 0.0 if interpolation == "linear" else SPLINE_THRESHOLD * max(float(data.max()), 0.0)
    if not (np.isfinite(threshold) and threshold >= 0):
        msg = f"threshold is {threshold}; atoms are bright on a dark ground, so it is 0 or positive."
        raise ValueError(msg)
    return float(threshold)


def _fit_in_threads(grid: FineGrid, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit all maxima; each fit is its own, so the threads change nothing."""
    batches = [samples[start : start + _BATCH] for start in range(0, len(samples), _BATCH)]
    tops, status = [np.empty((0, 3))], [np.empty(0, np.int8)]
    with (
        ThreadPoolExecutor(available_cores()) as pool,
        tqdm(
            total=len(samples),
            desc="tracing",
            unit="peak",
            unit_scale=True,
            delay=_BAR_DELAY,
            disable=not progress_shown(),
        ) as bar,
    ):
        for batch_tops, batch_status in pool.map(lambda batch: fit_peaks(grid, batch), batches):
            tops.append(batch_tops)
            status.append(batch_status)
            bar.update(len(batch_tops))
    return np.concatenate(tops), np.concatenate(status)


@njit(cache=True, nogil=True)
def _drop_close(tops, status, min_distance, shape):  # noqa: ANN001, ANN202
    """Mark tops closer than ``min_distance`` (fine samples) to one kept before, with a list of the kept per cell."""
    if min_distance <= 0:
        return
    # A top lies up to three samples outside the grid.
    edge = max(min_distance, 4.0)
    cells = np.empty(3, np.int64)
    for axis in range(3):
        cells[axis] = int((shape[axis] + 8) // edge) + 1
    last = np.full((cells[0], cells[1], cells[2]), -1, np.int64)
    before = np.full(len(tops), -1, np.int64)
    home = np.empty(3, np.int64)
    for m in range(len(tops)):
        if status[m] != KEPT:
            continue
        for axis in range(3):
            home[axis] = int((tops[m, axis] + 4) // edge)
        free = True
        for a in range(max(home[0] - 1, 0), min(home[0] + 2, cells[0])):
            for b in range(max(home[1] - 1, 0), min(home[1] + 2, cells[1])):
                for c in range(max(home[2] - 1, 0), min(home[2] + 2, cells[2])):
                    n = last[a, b, c]
                    while free and n >= 0:
                        squared = 0.0
                        for axis in range(3):
                            squared += (tops[m, axis] - tops[n, axis]) ** 2
                        free = squared >= min_distance * min_distance
                        n = before[n]
        if free:
            before[m] = last[home[0], home[1], home[2]]
            last[home[0], home[1], home[2]] = m
        else:
            status[m] = TOO_CLOSE
