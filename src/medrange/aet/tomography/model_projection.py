"""Projections of an atomic model, linear in the atoms, and the derivatives of a least-squares fit to images.

Each atom is a Gaussian ``h exp(-pi^2 r^2 / B)``, integrated exactly along the beam (not summed over samples of z, so
that its intensity does not depend on where it lies between planes), drawn on a patch around its projected position
and multiplied in Fourier space by the electron scattering factor f_e(q) of its element, see [Yang2021]_ and
[Yuan2022]_. The variance of the Gaussian along each axis is B / (2 pi^2): B is 1/4 of the crystallographic
Debye-Waller factor 8 pi^2 <u^2>, as it is in the published codes; B = 6 makes a standard deviation of 0.55 angstrom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft

from medrange.aet.atoms.model import AtomicModel, as_model
from medrange.aet.tomography.gaussian_atoms import add_gaussians, gaussian_moments, half_width
from medrange.aet.tomography.geometry import blocks, rotation_matrices
from medrange.aet.tomography.threads import Threads
from medrange.aet.tomography.tilt_series import checked_angles
from medrange.pdf.scattering_factors import scattering_factor
from medrange.working import available_cores

FORM_FACTORS = ("species", "mean", None)
#: Symbol of the atoms of a model that does not know what they are.
UNKNOWN = "X"
# Zeros around an image before a transform, pixels: what f_e spreads must not come back on the other side.
PADDING = 25
# Images per task; parts of a sum are added in their order, whatever the number of threads.
_BLOCK = 4
# Power of the atomic number that the intensity of an atom follows in annular dark field.
_CONTRAST = 1.7


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Of half the sum of squared differences between calculated and measured images.

    Attributes
    ----------
    squares : float
        Half that sum.
    absolute : float
        Sum of the absolute differences; over that of the measured images it is R.
    positions : numpy.ndarray
        Shape (N, 3), per angstrom.
    heights, b_factors : numpy.ndarray
        Shape (n_species,), per unit of the height and per square angstrom.
    """

    squares: float
    absolute: float
    positions: np.ndarray
    heights: np.ndarray
    b_factors: np.ndarray


class ModelImages:
    """Images of the atoms of one model at the angles of one tilt series, for any positions, heights and widths.

    Parameters
    ----------
    symbols : sequence of str
        Element of each atom.
    angles : numpy.ndarray
        Shape (n_tilts, 3), degrees.
    shape : tuple of int
        (nx, ny) of the images.
    pixel_size : float
        Angstrom.
    form_factor : {"species", "mean", None}
        f_e of each element; the mean of f_e over the elements for all, as published; or none: plain Gaussians.
    padding : int
        Zeros around an image before it is transformed, pixels.
    workers : int, optional
        Threads; by default all cores. The result does not depend on it.

    Attributes
    ----------
    species : tuple of str
        The different symbols, sorted: the order of heights and B factors.
    padded : tuple of int
        Size of an image with its zeros.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        angles: np.ndarray,
        *,
        shape: tuple[int, int],
        pixel_size: float,
        form_factor: str | None = "species",
        padding: int = PADDING,
        workers: int | None = None,
    ) -> None:
        if form_factor not in FORM_FACTORS:
            msg = f"form_factor is {form_factor!r}; choose 'species', 'mean' or None."
            raise ValueError(msg)
        if form_factor is not None and UNKNOWN in symbols:
            msg = "the model has no chemical symbols; give them, or form_factor=None for plain Gaussian atoms."
            raise ValueError(msg)
        self.species = tuple(sorted(set(symbols)))
        names = np.array(symbols, dtype=str)
        self.members = [np.flatnonzero(names == name) for name in self.species]
        self.rotations = rotation_matrices(checked_angles(angles))
        self.shape, self.pixel_size = (int(shape[0]), int(shape[1])), float(pixel_size)
        self.workers = workers or available_cores()
        self.threads = Threads(self.workers)
        self.padding = int(padding) if form_factor is not None else 0
        grown = [n + 2 * self.padding for n in self.shape]
        self.padded = tuple(fft.next_fast_len(n, real=True) for n in grown) if self.padding else tuple(grown)
        self._view = tuple(slice(self.padding, self.padding + n) for n in self.shape)
        factors = self._factors(form_factor)
        self._factors_of_groups = factors
        self._group = [index if factors is not None and len(factors) > 1 else 0 for index in range(len(self.species))]
        self._groups = 1 if factors is None else len(factors)

    def _factors(self, form_factor: str | None) -> np.ndarray | None:
        """f_e on the frequencies of a padded image, one for all species or one for each."""
        if form_factor is None:
            return None
        qx = fft.fftfreq(self.padded[0], self.pixel_size)[:, None]
        q = np.hypot(qx, fft.rfftfreq(self.padded[1], self.pixel_size))
        factors = np.stack([scattering_factor(name, q) for name in self.species])
        return factors.mean(axis=0, keepdims=True) if form_factor == "mean" else factors

    @property
    def n_tilts(self) -> int:
        """Number of images."""
        return len(self.rotations)

    def project(self, positions: np.ndarray, heights: np.ndarray, b_factors: np.ndarray) -> np.ndarray:
        """Images (n_tilts, nx, ny), float64, of atoms at ``positions`` (N, 3), angstrom.

        ``heights`` and ``b_factors`` (square angstrom) have one number per species.
        """
        images = np.empty((self.n_tilts, *self.shape))

        def fill(part: slice) -> None:
            images[part] = self._calculated(part, positions, heights, b_factors)

        self.threads.each(fill, list(blocks(self.n_tilts, _BLOCK)))
        return images

    def derivatives(
        self,
        measured: np.ndarray,
        positions: np.ndarray,
        heights: np.ndarray,
        b_factors: np.ndarray,
        *,
        filtered: bool = True,
    ) -> Derivatives:
        """Half the sum of squared differences to ``measured`` (n_tilts, nx, ny), and its exact derivatives.

        ``filtered=False`` leaves f_e out where the residual is read, as the published descent does: then these are
        no derivatives, but a direction that leads downhill.
        """
        parts = list(blocks(self.n_tilts, _BLOCK))
        gradient = np.zeros((len(parts), len(positions), 3))
        moments = np.zeros((len(parts), len(positions), 2))
        sums = np.zeros((len(parts), 2))

        def add(index: int) -> None:
            part = parts[index]
            residual = self._calculated(part, positions, heights, b_factors)
            residual -= measured[part]
            sums[index] = 0.5 * inner(residual, residual), np.abs(residual).sum()
            self._read(part, self._returned(residual, filtered), positions, b_factors, gradient[index], moments[index])

        self.threads.each(add, range(len(parts)))
        squares, absolute = sums.sum(axis=0)
        return self._assembled(squares, absolute, gradient.sum(axis=0), moments.sum(axis=0), heights, b_factors)

    def _widths(self, b_factors: np.ndarray) -> np.ndarray:
        """Coefficient in the exponent, 1/pixel^2, of each species."""
        return (np.pi * self.pixel_size) ** 2 / np.asarray(b_factors, dtype=float)

    def _points(self, k: int, positions: np.ndarray) -> np.ndarray:
        """Atoms (N, 2) in image k, indices of the padded image."""
        return positions @ self.rotations[k][:, :2] / self.pixel_size + [n // 2 + self.padding for n in self.shape]

    def _calculated(self, part: slice, positions: np.ndarray, heights: np.ndarray, b_factors: np.ndarray) -> np.ndarray:
        drawn = np.zeros((part.stop - part.start, self._groups, *self.padded))
        for image, k in zip(drawn, range(part.start, part.stop), strict=True):
            points = self._points(k, positions)
            for s, b in enumerate(self._widths(b_factors)):
                # The integral along the beam, in pixels.
                top = heights[s] * np.sqrt(np.pi / b)
                add_gaussians(points[self.members[s]], top, b, half_width(b), image[self._group[s]])
        if self._factors_of_groups is None:
            return drawn[:, 0]
        spectra = fft.rfft2(drawn, workers=1)
        spectra *= self._factors_of_groups
        summed = spectra[:, 0] if self._groups == 1 else spectra.sum(axis=1)
        return fft.irfft2(summed, s=self.padded, workers=1)[:, *self._view]

    def _returned(self, residual: np.ndarray, filtered: bool) -> np.ndarray:
        """Residual as each group of species sees it, padded: f_e is even, so it is its own adjoint."""
        if self._factors_of_groups is None:
            return residual[:, None]
        padded = np.zeros((len(residual), 1, *self.padded))
        padded[:, 0, *self._view] = residual
        if not filtered:
            return np.broadcast_to(padded, (len(residual), self._groups, *self.padded))
        return fft.irfft2(fft.rfft2(padded, workers=1) * self._factors_of_groups, s=self.padded, workers=1)

    def _read(
        self,
        part: slice,
        images: np.ndarray,
        positions: np.ndarray,
        b_factors: np.ndarray,
        gradient: np.ndarray,
        moments: np.ndarray,
    ) -> None:
        """Add the moments of the images under the atoms: along x, y, z, and those for height and width."""
        for image, k in zip(images, range(part.start, part.stop), strict=True):
            points = self._points(k, positions)
            for s, b in enumerate(self._widths(b_factors)):
                members = self.members[s]
                out = np.empty((len(members), 4))
                gaussian_moments(points[members], b, half_width(b), np.ascontiguousarray(image[self._group[s]]), out)
                gradient[members] += out[:, 1:3] @ self.rotations[k][:, :2].T
                moments[members] += out[:, [0, 3]]

    def _assembled(
        self,
        squares: float,
        absolute: float,
        gradient: np.ndarray,
        moments: np.ndarray,
        heights: np.ndarray,
        b_factors: np.ndarray,
    ) -> Derivatives:
        by_height, by_b = np.empty(len(self.species)), np.empty(len(self.species))
        for s, b in enumerate(self._widths(b_factors)):
            members, integral = self.members[s], np.sqrt(np.pi / b)
            total, squared = moments[members].sum(axis=0)
            gradient[members] *= heights[s] * integral * 2 * b / self.pixel_size
            by_height[s] = integral * total
            by_width = -heights[s] * integral * (squared + total / (2 * b))
            by_b[s] = -by_width * b / b_factors[s]
        return Derivatives(float(squares), float(absolute), gradient, by_height, by_b)


def project_model(
    model: AtomicModel | np.ndarray | str,
    angles: np.ndarray,
    *,
    shape: tuple[int, int],
    pixel_size: float,
    b_factor: float | Mapping[str, float] = 6.0,
    heights: Mapping[str, float] | None = None,
    form_factor: str | None = "species",
) -> np.ndarray:
    """Projections of an atomic model: Gaussian atoms with the shape of the electron scattering factor.

    The image at angles (phi, theta, psi) is ``sum_j F^-1[f_e(q) F[h sqrt(pi/b) exp(-b rho_j^2)]]``, rho_j the distance
    to the projected atom in pixels, ``b = (pi pixel_size)^2 / B`` and sqrt(pi/b) the integral along the beam. It is
    linear: no multiple scattering, no probe but the Gaussian. See [Yang2021]_, [Yuan2022]_ and [Kirkland2010]_ in
    references.bib.

    Parameters
    ----------
    model : AtomicModel, ase.Atoms, path or array
        Positions in angstrom, counted from the center of the rotation, pixel n // 2 of an image.
    angles : numpy.ndarray
        Shape (n_tilts, 3), degrees: phi, theta, psi; a vector is theta alone.
    shape : tuple of int
        (nx, ny) of the images.
    pixel_size : float
        Angstrom.
    b_factor : float or mapping
        B in square angstrom, for all or by symbol, 1/4 of the crystallographic one: the standard deviation of an atom
        is ``sqrt(B / 2) / pi``. Most of it stands for the probe.
    heights : mapping, optional
        h by symbol. By default such that the intensity of an atom, summed over its image, is Z^1.7, about that of
        annular dark field; without a form factor 1 for all.
    form_factor : {"species", "mean", None}
        f_e of each element, the mean over the elements, or none (for a model without symbols).

    Returns
    -------
    numpy.ndarray
        Shape (n_tilts, nx, ny), float64.

    Raises
    ------
    ValueError
        If a symbol is missing or unknown, or a number is not positive.

    Examples
    --------
    >>> model = AtomicModel([[3.0, 0, 0]], ("Ta",))
    >>> image = project_model(model, [0.0], shape=(48, 48), pixel_size=0.5)[0]
    >>> int(image.argmax()) == (24 + 6) * 48 + 24
    True
    >>> round(float(image.sum() / 73**1.7), 3)
    1.0
    """
    model = as_model(model, minimum=1)
    check_positive("pixel_size", pixel_size, "angstrom")
    images = ModelImages(
        model.symbols or (UNKNOWN,) * len(model),
        angles,
        shape=shape,
        pixel_size=pixel_size,
        form_factor=form_factor,
    )
    b_factors = by_species("b_factor", b_factor, images.species)
    if heights is None:
        tops = default_heights(images.species, b_factors, pixel_size, form_factor)
    else:
        tops = by_species("heights", heights, images.species)
    return images.project(model.positions, tops, b_factors)


def default_heights(
    species: Sequence[str], b_factors: np.ndarray, pixel_size: float, form_factor: str | None
) -> np.ndarray:
    """Heights by species that make the summed intensity of an atom Z^1.7; 1 without a form factor."""
    from ase.data import atomic_numbers

    if form_factor is None:
        return np.ones(len(species))
    forward = np.array([scattering_factor(name, 0.0) for name in species])
    if form_factor == "mean":
        forward = np.full(len(species), forward.mean())
    volume = (np.pi * np.asarray(b_factors)) ** 1.5 / (np.pi**3 * pixel_size**3)
    return np.array([atomic_numbers[name] ** _CONTRAST for name in species]) / (forward * volume)


def by_species(name: str, values: float | Mapping[str, float], species: Sequence[str]) -> np.ndarray:
    """One positive number per species out of a number for all or a mapping by symbol."""
    if isinstance(values, Mapping):
        missing = [symbol for symbol in species if symbol not in values]
        if missing:
            msg = f"{name} lacks {', '.join(missing)}; give one number for each of {', '.join(species)}."
            raise ValueError(msg)
        numbers = np.array([values[symbol] for symbol in species], dtype=float)
    else:
        numbers = np.full(len(species), float(values))
    for number in numbers:
        check_positive(name, number, "a number")
    return numbers


def inner(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of the products of two stacks of images, without the threads of a linear algebra library."""
    return float(np.einsum("kxy,kxy->", a, b))


def check_positive(name: str, value: float, unit: str) -> None:
    """Refuse what is not a finite number above zero."""
    if not (np.isscalar(value) and np.isfinite(value) and value > 0):
        msg = f"{name} is {value!r}; give {unit} above 0."
        raise ValueError(msg)
