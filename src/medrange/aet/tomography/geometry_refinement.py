"""Angles and shifts of a tilt series, refined against projections of what was reconstructed from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from medrange.aet.atoms.model import AtomicModel, as_model
from medrange.aet.tomography.alignment import moved_images
from medrange.aet.tomography.geometry import rotation_matrices
from medrange.aet.tomography.model_projection import project_model
from medrange.aet.tomography.refinement import RefinementOptions, refine_positions
from medrange.aet.tomography.tilt_series import TiltSeries
from medrange.working import progress_shown

if TYPE_CHECKING:
    import pandas as pd

#: From angles (n_tilts, 3) in degrees to images (n_tilts, nx, ny).
Project = Callable[[np.ndarray], np.ndarray]

# Half the interval of the finite differences over an angle, degrees.
_INTERVAL = 0.2
# A bar appears only on work that lasts.
_BAR_DELAY = 2.0


@dataclass(frozen=True, eq=False)
class GeometryRefinement:
    """A tilt series with better angles and positions.

    Attributes
    ----------
    tilt_series : TiltSeries
        The images moved, with the refined angles.
    shifts : numpy.ndarray
        By how much each image was moved, pixels, (n_tilts, 2).
    angle_changes : numpy.ndarray
        Refined minus given angles phi, theta, psi, degrees, (n_tilts, 3).
    history : pandas.DataFrame
        One row per cycle: R factor before it, root mean square changes of the angles (degrees) and shifts (pixels).
    """

    tilt_series: TiltSeries
    shifts: np.ndarray
    angle_changes: np.ndarray
    history: pd.DataFrame

    def __repr__(self) -> str:
        angle, shift = (np.sqrt(np.mean(np.square(change))) for change in (self.angle_changes, self.shifts))
        first, last = self.history["r_factor"].iloc[[0, -1]]
        return (
            f"<GeometryRefinement: angles changed by {angle:.2f} degrees rms, images moved by {shift:.2f} pixels rms, "
            f"R {first:.4f} -> {last:.4f} in {len(self.history)} cycles>"
        )


def atom_projection(
    positions: np.ndarray, *, shape: tuple[int, int], width: float, heights: np.ndarray | None = None
) -> Project:
    """Projections of Gaussian atoms at any angles.

    Each atom adds ``height exp(-rho^2 / (2 width^2))`` around its projected position, so that no rotation or
    interpolation of a volume enters, and no missing wedge.

    Parameters
    ----------
    positions : numpy.ndarray
        Shape (n_atoms, 3), in pixels from the center voxel.
    shape : tuple of int
        (nx, ny) of the images.
    width : float
        Standard deviation of an atom, pixels.
    heights : numpy.ndarray, optional
        Shape (n_atoms,); by default all equal.

    Returns
    -------
    callable
        From angles (n_tilts, 3) in degrees to images (n_tilts, nx, ny), float64.

    Examples
    --------
    >>> project = atom_projection(np.array([[3.0, 0.0, 0.0]]), shape=(16, 16), width=1.0)
    >>> int(project(np.zeros((1, 3)))[0].argmax()) == (8 + 3) * 16 + 8
    True
    """
    positions = np.asarray(positions, dtype=float)
    weights = np.ones(len(positions)) if heights is None else np.asarray(heights, dtype=float)
    axes = [np.arange(n) - n // 2 for n in shape]

    def project(angles: np.ndarray) -> np.ndarray:
        images = np.empty((len(angles), *shape))
        for rotation, image in zip(rotation_matrices(angles), images, strict=True):
            seen = positions @ rotation
            x, y = (np.exp(-((a[:, None] - seen[:, i]) ** 2) / (2 * width**2)) for i, a in enumerate(axes))
            image[...] = (x * weights) @ y.T
        return images

    return project


class RefinedAtoms:
    """Projections of traced atoms whose positions follow every change of the geometry, for :func:`refine_geometry`.

    In the first cycles atoms are traced anew, as better angles give a better volume, and in every cycle their
    positions, B and heights are refined against the images as these are aligned by then. Traced positions alone are
    off by a few hundredths of an atom's width in a way that the angles take over; refined ones are not.

    Parameters
    ----------
    trace : callable
        From a TiltSeries to atoms, an AtomicModel or positions (N, 3) in angstrom from the center voxel: for example
        one that calls :func:`resire` and :func:`trace_atoms`.
    traces : int
        Cycles in which atoms are traced; in later ones those of the last are kept. Two are enough where the second
        volume shows no false atoms.
    iterations : int
        Of the positions in each cycle.
    options : RefinementOptions, optional
        By default plain Gaussian atoms, which need no symbols.

    Attributes
    ----------
    model : AtomicModel or None
        Atoms of the last cycle.
    cycles : int
        Cycles done.

    Raises
    ------
    ValueError
        If ``traces`` or ``iterations`` is below 1.

    Examples
    --------
    >>> atoms = np.random.default_rng(0).uniform(-6, 6, (12, 3))
    >>> series = TiltSeries(atom_projection(atoms, shape=(32, 32), width=1.5)(np.zeros((1, 3))), [0.0], pixel_size=1.0)
    >>> project = RefinedAtoms(lambda series: atoms)(series)
    >>> bool(np.abs(project(series.angles) - series.projections).max() < 1e-2)
    True
    """

    def __init__(
        self,
        trace: Callable[[TiltSeries], AtomicModel | np.ndarray],
        *,
        traces: int = 2,
        iterations: int = 8,
        options: RefinementOptions | None = None,
    ) -> None:
        for name, value in (("traces", traces), ("iterations", iterations)):
            if int(value) != value or value < 1:
                msg = f"{name} is {value!r}; give a whole number of at least 1."
                raise ValueError(msg)
        self.trace, self.traces, self.iterations = trace, int(traces), int(iterations)
        self.options = options or RefinementOptions(form_factor=None)
        self.model: AtomicModel | None = None
        self.cycles = 0
        self._b_factor: dict[str, float] | None = None

    def __call__(self, tilt_series: TiltSeries) -> Project:
        """Refine the atoms against the series; the function returned projects them."""
        if self.cycles < self.traces:
            self.model = as_model(self.trace(tilt_series), minimum=1)
        refined = refine_positions(
            self.model,
            tilt_series,
            rounds=1,
            iterations=self.iterations,
            b_factor=self._b_factor,
            options=replace(self.options, progress=False),
        )
        self.model, self._b_factor = refined.model, dict(refined.b_factor)
        self.cycles += 1

        def project(angles: np.ndarray) -> np.ndarray:
            return project_model(
                refined.model,
                angles,
                shape=tilt_series.image_shape,
                pixel_size=tilt_series.pixel_size,
                b_factor=refined.b_factor,
                heights=refined.heights,
                form_factor=self.options.form_factor,
            )

        return project


def refine_geometry(
    tilt_series: TiltSeries,
    model: Callable[[TiltSeries], Project],
    *,
    cycles: int = 6,
    tolerance: float = 0.02,
    fit_angles: bool = True,
    progress: bool | None = None,
) -> GeometryRefinement:
    """Refine angles and shifts of all images against a model that is made anew in every cycle [Yuan2022]_.

    In each cycle ``model`` turns the series into a function that projects what was reconstructed; for each image
    the shift along x and y, the changes of phi, theta and psi and a scale follow from one linear least-squares
    fit of the measured minus the calculated image to the derivatives of the latter (Gauss-Newton). The mean
    shift along the tilt axis and the mean theta stay: they are the choice of origin.

    With a projection of atoms that are refined, too (:class:`RefinedAtoms`), the angles converge to the truth. Traced
    positions as they are (:func:`atom_projection`) leave them about 0.1 degree off, and with a volume theta creeps
    away, because the missing wedge stretches the volume and the angles follow.

    Parameters
    ----------
    tilt_series : TiltSeries
        Images aligned to within about a pixel, angles known to about a degree.
    model : callable
        From a TiltSeries to a projection function, called once in every cycle: for example a :class:`RefinedAtoms`.
    cycles : int
        At most so many.
    tolerance : float
        Ends when the root mean square changes of the angles (degrees) and shifts (pixels) are both below.
    fit_angles : bool
        Whether to fit the angles, or the shifts alone.
    progress : bool, optional
        Show a bar over the cycles; by default yes, but not where the environment variable CI is set.

    Returns
    -------
    GeometryRefinement
        The refined series, shifts, changes of the angles and the history.

    Raises
    ------
    ValueError
        If ``cycles`` is not positive, or the model's projections have another shape than the images.

    Examples
    --------
    >>> atoms = np.random.default_rng(0).uniform(-8, 8, (20, 3))
    >>> project = atom_projection(atoms, shape=(32, 32), width=1.5)
    >>> angles = np.stack([np.zeros(9), np.linspace(-60, 60, 9), np.zeros(9)], axis=1)
    >>> series = TiltSeries(np.roll(project(angles), 1, axis=1), angles)
    >>> refine_geometry(series, lambda series: project).shifts[:, 0].round(1).tolist()
    [-1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0]
    """
    import pandas as pd

    if cycles < 1:
        msg = f"cycles is {cycles}; at least one is needed."
        raise ValueError(msg)
    images = np.asarray(tilt_series.projections, dtype=float)
    shifts, angles = np.zeros((len(images), 2)), np.array(tilt_series.angles, dtype=float)
    current, rows = tilt_series, []
    with tqdm(total=cycles, desc="refining angles", delay=_BAR_DELAY, disable=not progress_shown(progress)) as bar:
        for _ in range(cycles):
            update, r_factor = _update(current, model(current), fit_angles)
            # Moving the whole object along y, or turning it about y, is no change of the alignment.
            update[:, [1, 4]] -= update[:, [1, 4]].mean(axis=0)
            angles, shifts = angles + update[:, :3], shifts - update[:, 3:]
            current = replace(tilt_series, projections=moved_images(images, shifts).astype(np.float32), angles=angles)
            changes = [float(np.sqrt(np.mean(part**2))) for part in (update[:, :3], update[:, 3:])]
            rows.append((r_factor, *changes))
            bar.update()
            if max(changes) < tolerance:
                break
    history = pd.DataFrame(rows, columns=["r_factor", "angle_change", "shift_change"])
    return GeometryRefinement(current, shifts, angles - tilt_series.angles, history)


def _update(tilt_series: TiltSeries, project: Project, fit_angles: bool) -> tuple[np.ndarray, float]:
    """Changes (n_tilts, 5) of phi, theta, psi (degrees), x and y (pixels), and the R factor before them."""
    angles = np.asarray(tilt_series.angles, dtype=float)
    measured = np.asarray(tilt_series.projections, dtype=float)
    calculated = np.asarray(project(angles), dtype=float)
    if calculated.shape != measured.shape:
        msg = f"the model projects to shape {calculated.shape}; the images have {measured.shape}."
        raise ValueError(msg)
    slopes = []
    for axis in range(3 if fit_angles else 0):
        offset = _INTERVAL * np.eye(3)[axis]
        slopes.append((project(angles + offset) - project(angles - offset)) / (2 * _INTERVAL))
    slopes += [-_derivative(calculated, axis) for axis in (1, 2)]
    update = np.zeros((len(measured), 5))
    residuals = 0.0
    for index, (image, model_image) in enumerate(zip(measured, calculated, strict=True)):
        design = np.stack([*(slope[index] for slope in slopes), model_image], axis=-1).reshape(image.size, -1)
        solution = np.linalg.lstsq(design, image.ravel(), rcond=None)[0]
        # The fit is of scale * calculated + changes; a change is in units of the scaled model.
        scale = solution[-1]
        update[index, 5 - len(slopes) :] = solution[:-1] / scale
        residuals += np.abs(image - scale * model_image).sum() / np.abs(image).sum()
    return update, float(residuals / len(measured))


def _derivative(images: np.ndarray, axis: int) -> np.ndarray:
    """Derivative along an axis, per pixel, in Fourier space."""
    frequencies = np.fft.fftfreq(images.shape[axis])
    factor = 2j * np.pi * np.expand_dims(frequencies, [i for i in range(images.ndim) if i != axis])
    return np.fft.ifft(np.fft.fft(images, axis=axis) * factor, axis=axis).real
