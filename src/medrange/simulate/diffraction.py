"""Nanodiffraction patterns of an atomic model: multislice with few slices, sampled on the detector pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from ase import Atoms
from scipy.special import j1

from medrange.units import electron_wavelength

_BOHR_RADIUS = 0.529177210903  # angstrom, CODATA 2018
_REST_ENERGY = 510.99895  # electron, keV, CODATA 2018


@dataclass(frozen=True)
class Probe:
    """Electron probe without aberrations.

    Parameters
    ----------
    beam_energy : float
        Acceleration voltage in kV.
    convergence_angle : float
        Semi-angle of convergence in mrad.

    Raises
    ------
    ValueError
        If the convergence angle is not positive (the energy is checked where the wavelength is computed).

    Examples
    --------
    >>> round(Probe(300, 1.15).aperture, 4)
    0.0584
    """

    beam_energy: float
    convergence_angle: float

    def __post_init__(self) -> None:
        if not self.convergence_angle > 0:
            msg = f"convergence_angle is {self.convergence_angle!r} mrad; it must be positive, for example 1."
            raise ValueError(msg)

    @property
    def wavelength(self) -> float:
        """Wavelength in angstrom."""
        return electron_wavelength(self.beam_energy)

    @property
    def aperture(self) -> float:
        """Radius of the aperture in 1/angstrom: angle / wavelength."""
        return self.convergence_angle * 1e-3 / self.wavelength


@dataclass(frozen=True)
class Detector:
    """Pixelated detector.

    Parameters
    ----------
    shape : tuple of int
        Pixels (rows, columns).
    k_step : float
        Pixel size in 1/nm, with k = 1/d.
    center : tuple of float
        Pixel (row, column) of the direct beam, 0-based; an integer is the center of a pixel.

    Raises
    ------
    ValueError
        If the shape or the pixel size is not positive.

    Examples
    --------
    >>> Detector((128, 128), 0.16, (63.7, 64.3)).shape
    (128, 128)
    """

    shape: tuple[int, int]
    k_step: float
    center: tuple[float, float]

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 1:
            msg = f"detector shape is {self.shape!r}; give two positive numbers of pixels (rows, columns)."
            raise ValueError(msg)
        if not self.k_step > 0:
            msg = f"k_step is {self.k_step!r} 1/nm; it must be positive."
            raise ValueError(msg)

    def k(self, axis: int) -> np.ndarray:
        """``k`` of the pixel centers along an axis (0 rows, 1 columns), in 1/angstrom."""
        return (np.arange(self.shape[axis]) - self.center[axis]) * self.k_step / 10


def scattering_factor(atomic_number: float, k: np.ndarray, *, debye_waller: float = 0.6) -> np.ndarray:
    """Electron scattering factor of the screened Coulomb (Wentzel) atom, damped by thermal motion.

    ``f(k) = 2 Z / (a0 (4 pi^2 k^2 + 1/R^2)) exp(-B k^2 / 4)`` with ``R = a0 Z^(-1/3)``: the Born
    approximation of the potential ``Z e^2 exp(-r/R) / (4 pi eps0 r)``. See [Wentzel1926]_ and [Reimer2008]_
    in references.bib. It lies below tabulated factors at small k, which weakens the diffuse rings a little
    and moves none.

    Parameters
    ----------
    atomic_number : float
        Z.
    k : ndarray
        ``k = 1/d`` in 1/angstrom.
    debye_waller : float
        B = 8 pi^2 <u^2> in square angstrom.

    Returns
    -------
    ndarray
        f in angstrom, for electrons at rest mass (the relativistic factor is applied with the wavelength).

    Examples
    --------
    >>> round(float(scattering_factor(40, np.array(0.4), debye_waller=0.0)), 2)
    3.14
    """
    radius = _BOHR_RADIUS * atomic_number ** (-1 / 3)
    screened = 4 * np.pi**2 * np.square(k) + radius**-2
    return 2 * atomic_number / (_BOHR_RADIUS * screened) * np.exp(-debye_waller * np.square(k) / 4)


def simulate_scan(
    atoms: Atoms,
    *,
    probe: Probe,
    detector: Detector,
    scan_shape: tuple[int, int],
    scan_step: float,
    scan_origin: tuple[float, float] = (0.0, 0.0),
    slice_thickness: float = 10.0,
    debye_waller: float = 0.6,
) -> np.ndarray:
    """Nanodiffraction pattern to expect at every scan position.

    The model is cut into slices along z; each multiplies the wave by ``exp(i gamma lambda sum f)`` (phase object) and
    Fresnel propagation joins them. The exit wave of a window of side ``2/k_step`` around the probe is transformed
    directly onto the detector pixels, so that any pixel size and any sub-pixel center is exact. The edge of the
    direct beam is soft over about one pixel. Elastic, fully coherent, one configuration. See [Kirkland2010]_ in
    references.bib.

    Parameters
    ----------
    atoms : ase.Atoms
        Model in angstrom, z along the beam, taken as periodic in x and y with an orthogonal cell.
    probe, detector : Probe, Detector
        Illumination and detector.
    scan_shape : tuple of int
        Scan positions (rows, columns).
    scan_step : float
        Distance between scan positions in nm.
    scan_origin : tuple of float
        Model coordinates (y, x) of scan position (0, 0) in nm. Rows run along +y, columns along +x.
    slice_thickness : float
        Largest thickness of a slice in angstrom; ``inf`` gives the single-slice phase object.
    debye_waller : float
        B in square angstrom.

    Returns
    -------
    ndarray
        Fraction of the beam's electrons per pixel, float64 (y, x, ky, kx); a frame sums to 1, less what misses
        the detector and within 1 % (a pixel has the intensity at its center).

    Raises
    ------
    ValueError
        If the cell is not orthogonal, or a scan or slice parameter is not positive.

    Examples
    --------
    >>> atom = Atoms("Zr", [(32.0, 32.0, 0.0)], cell=(64.0, 64.0, 10.0))
    >>> frames = simulate_scan(atom, probe=Probe(300, 1.15), detector=Detector((32, 32), 0.5, (15.5, 16.0)),
    ...                        scan_shape=(1, 2), scan_step=0.5, scan_origin=(3.2, 3.2))
    >>> frames.shape
    (1, 2, 32, 32)
    """
    cell = np.asarray(atoms.cell)
    if np.any(np.abs(cell - np.diag(np.diag(cell))) > 1e-9) or np.any(np.diag(cell)[:2] <= 0):
        msg = f"the cell must be orthogonal with positive x and y, but is {cell.tolist()}: set atoms.cell."
        raise ValueError(msg)
    if min(scan_shape) < 1 or not scan_step > 0 or not slice_thickness > 0:
        msg = f"scan_shape {scan_shape}, scan_step {scan_step} and slice_thickness {slice_thickness} must be positive."
        raise ValueError(msg)
    grid = _Grid.of((cell[1, 1], cell[0, 0]), detector)
    slices, propagator = _slices(atoms, grid, probe, slice_thickness, debye_waller)
    transforms = [np.exp(-2j * np.pi * np.outer(detector.k(axis), grid.coordinates(axis))) for axis in (0, 1)]
    scale = grid.step[0] * grid.step[1] * detector.k_step / 10
    frames = np.empty((*scan_shape, *detector.shape))
    for row, column in np.ndindex(*scan_shape):
        position = 10 * (np.asarray(scan_origin) + scan_step * np.array([row, column]))
        corner = np.floor(position / grid.step).astype(int) - np.asarray(grid.window) // 2
        wave = _probe_wave(probe, grid, position - corner * np.asarray(grid.step))
        wave = _propagate(wave, slices, propagator, corner)
        frames[row, column] = np.abs(transforms[0] @ wave @ transforms[1].T * scale) ** 2
    return frames


@dataclass(frozen=True)
class _Grid:
    """Real-space grid, (y, x): the whole cell and the window that moves with the probe, steps in angstrom."""

    cell: tuple[int, int]
    window: tuple[int, int]
    step: tuple[float, float]

    @classmethod
    def of(cls, lengths: tuple[float, float], detector: Detector) -> _Grid:
        # Products of two slices must not fold back onto the detector: the corner of the detector lies at 2/3
        # Nyquist.
        largest = np.hypot(*(np.max(np.abs(detector.k(axis))) for axis in (0, 1)))
        cell = tuple(scipy.fft.next_fast_len(int(np.ceil(3 * largest * length))) for length in lengths)
        step = tuple(length / count for length, count in zip(lengths, cell, strict=True))
        window = tuple(scipy.fft.next_fast_len(int(np.ceil(20 / detector.k_step / value))) for value in step)
        return cls(cell, window, step)

    def coordinates(self, axis: int) -> np.ndarray:
        return np.arange(self.window[axis]) * self.step[axis]

    def k(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``ky`` (column), ``kx`` (row) and |k| of the discrete transform, in 1/angstrom."""
        ky, kx = (scipy.fft.fftfreq(count, step) for count, step in zip(shape, self.step, strict=True))
        return ky[:, None], kx[None, :], np.hypot(ky[:, None], kx[None, :])

    def band_limit(self, k: np.ndarray) -> np.ndarray:
        return k <= 1 / (3 * max(self.step))


def _slices(
    atoms: Atoms, grid: _Grid, probe: Probe, slice_thickness: float, debye_waller: float
) -> tuple[np.ndarray, np.ndarray]:
    """Transmission functions (slices, y, x) of the cell, and the propagator (y, x) of the window between them."""
    z = atoms.positions[:, 2]
    depth = float(np.ptp(z)) if len(z) else 0.0
    count = max(1, int(np.ceil(depth / slice_thickness)))
    index = np.minimum((z - z.min()) / max(depth, 1e-9) * count, count - 1).astype(int) if len(z) else z.astype(int)
    ky, kx, k = grid.k(grid.cell)
    strength = (1 + probe.beam_energy / _REST_ENERGY) * probe.wavelength
    slices = np.empty((count, *grid.cell), complex)
    for number in range(count):
        phase = np.zeros(grid.cell, complex)
        for atomic_number in np.unique(atoms.numbers[index == number]):
            chosen = atoms.positions[(index == number) & (atoms.numbers == atomic_number)]
            # The sum over atoms of exp(-2 pi i k r) separates into x and y: exact sub-pixel positions at the
            # cost of one product.
            along_y = np.exp(-2j * np.pi * ky * chosen[:, 1])
            along_x = np.exp(-2j * np.pi * chosen[:, :1] * kx)
            phase += scattering_factor(atomic_number, k, debye_waller=debye_waller) * (along_y @ along_x)
        phase = scipy.fft.ifft2(phase * grid.band_limit(k)).real * strength / (grid.step[0] * grid.step[1])
        slices[number] = np.exp(1j * phase)
    k = grid.k(grid.window)[2]
    propagator = np.exp(-1j * np.pi * probe.wavelength * k**2 * depth / count) * grid.band_limit(k)
    return slices, propagator


def _probe_wave(probe: Probe, grid: _Grid, position: np.ndarray) -> np.ndarray:
    """Airy amplitude at ``position`` (y, x) of the window, unit integral of |psi|^2.

    A Hann taper brings it to zero at the edge of the window. A cut there would scatter a cross over the detector,
    stronger than the diffuse rings.
    """
    y, x = (grid.coordinates(axis) - center for axis, center in enumerate(position))
    radius = np.hypot(y[:, None], x[None, :])
    reach = np.maximum(2 * np.pi * probe.aperture * radius, 1e-9)
    edge = min(count * step for count, step in zip(grid.window, grid.step, strict=True)) / 2 - max(grid.step)
    wave = j1(reach) / reach * np.where(radius < edge, np.cos(np.pi / 2 * radius / edge) ** 2, 0.0)
    return wave / np.sqrt(np.sum(wave**2) * grid.step[0] * grid.step[1])


def _propagate(wave: np.ndarray, slices: np.ndarray, propagator: np.ndarray, corner: np.ndarray) -> np.ndarray:
    rows, columns = (
        (start + np.arange(count)) % size
        for start, count, size in zip(corner, wave.shape, slices.shape[1:], strict=True)
    )
    for number, transmission in enumerate(slices):
        if number:
            wave = scipy.fft.ifft2(scipy.fft.fft2(wave) * propagator)
        wave = wave * transmission[np.ix_(rows, columns)]
    return wave
