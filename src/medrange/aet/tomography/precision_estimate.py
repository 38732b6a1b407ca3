"""Precision of a model: what the whole procedure finds again of it in simulated images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medrange.aet.atoms.model import AtomicModel, as_model
from medrange.aet.atoms.saving import save_result
from medrange.aet.tomography.comparison import ModelComparison, compare_models
from medrange.aet.tomography.model_projection import check_positive, project_model
from medrange.aet.tomography.noise import NoiseParameters
from medrange.aet.tomography.pipeline import AtomDetermination, PipelineOptions, determine_atoms
from medrange.aet.tomography.tilt_series import TiltSeries, checked_angles

if TYPE_CHECKING:
    import pandas as pd

#: From (model, angles, shape=, pixel_size=) to images (n_tilts, nx, ny).
Simulate = Callable[..., np.ndarray]

# A bright pixel is as bright as this quantile of all pixels of the series.
_BRIGHT = 0.99
# Empty border around the model where no tilt series says how large the images are, angstrom.
_MARGIN = 4.0


@dataclass(frozen=True, eq=False, repr=False)
class PrecisionEstimate:
    """What was found of a known model; made by :func:`precision`.

    Attributes
    ----------
    truth : AtomicModel
        Model the images were simulated from.
    traced, refined : ModelComparison
        The atoms found against the truth, before and after the refinement.
    tilt_series : TiltSeries
        Simulated images, noise included.
    determination : AtomDetermination
        Result of every stage.
    """

    truth: AtomicModel
    traced: ModelComparison
    refined: ModelComparison
    tilt_series: TiltSeries
    determination: AtomDetermination

    @property
    def rmsd(self) -> float:
        """Root mean square deviation of the refined atoms, angstrom, less a common shift."""
        return self.refined.rmsd

    @property
    def matched_fraction(self) -> float:
        """Part of the true atoms that were found."""
        return self.refined.matched_fraction

    @property
    def species_agreement(self) -> float:
        """Part of the found atoms whose species is right."""
        return self.refined.species_agreement

    @property
    def table(self) -> pd.DataFrame:
        """Rows per stage and species: atoms, pairs, matched fraction, RMSD and its parts along x, y, z (angstrom)."""
        import pandas as pd

        tables = {"traced": self.traced.species_table, "refined": self.refined.species_table}
        table = pd.concat(tables, names=["stage"]).reset_index(level="stage")
        return table.reset_index(drop=True)

    def save(self, path: str | PathLike) -> Path:
        """Write ``.csv`` (the table) or ``.npz`` (truth, pairs and deviations of both stages)."""
        arrays = {"truth": self.truth.positions, "positions": self.determination.model.positions}
        for name in ("traced", "refined"):
            compared = getattr(self, name)
            arrays |= {f"{name}_pairs": compared.pairs, f"{name}_deviations": compared.deviations}
        return save_result(
            path, table=self.table, arrays=arrays, parameters={"options": self.determination.options.to_dict()}
        )

    def plot(self, **kwargs: Any) -> Any:
        """Deviations along each axis: see :func:`medrange.plotting.refinement.plot_deviations`."""
        from medrange.plotting import refinement

        return refinement.plot_deviations(self.refined, **kwargs)

    def __repr__(self) -> str:
        x, y, z = self.refined.rmsd_xyz
        return (
            f"PrecisionEstimate({self.matched_fraction:.1%} of {len(self.truth)} atoms found, species right for "
            f"{self.species_agreement:.1%}, RMSD {self.traced.rmsd:.3f} -> {self.rmsd:.3f} Å, along x, y, z "
            f"{x:.3f}, {y:.3f}, {z:.3f} Å)"
        )


def precision(
    model: AtomicModel | str,
    tilts: TiltSeries | np.ndarray,
    *,
    pixel_size: float | None = None,
    noise: NoiseParameters | float | None = 100.0,
    simulate: Simulate | None = None,
    options: PipelineOptions | None = None,
    seed: int | np.random.Generator = 0,
    folder: str | PathLike | None = None,
) -> PrecisionEstimate:
    """Precision of positions and species: images of a model are simulated, and the model is determined from them.

    The projections get noise and go through :func:`determine_atoms`; what is found is compared with the model, before
    and after the refinement, see [Yuan2022]_ and [Yang2021]_. A linear simulation leaves out multiple scattering and
    channeling: its RMSD is a lower limit. ``simulate`` takes any other simulation; for a refined experiment,
    :func:`project_model` with its B and heights, or :class:`medrange.aet.tomography.Multislice` by abTEM, which takes
    minutes to days and needs ``pip install medrange[abtem]``::

        simulate = functools.partial(project_model, b_factor=refined.b_factor, heights=refined.heights)
        simulate = Multislice(energy=200.0, semiangle=20.0, inner=40.0, outer=120.0)

    Parameters
    ----------
    model : AtomicModel, ase.Atoms or path
        Atoms with symbols, angstrom from the center voxel: best the refined model of an experiment.
    tilts : TiltSeries or numpy.ndarray
        Whose angles, size of the images and pixel size to take; or the angles alone, degrees.
    pixel_size : float, optional
        Angstrom; needed with angles alone, where images are as large as the model and 4 angstrom around it.
    noise : NoiseParameters, float or None
        Gain and variance of the detector in units of the simulated images; or electrons in a bright pixel (the 99th
        percentile of all), for Poisson noise; or none.
    simulate : callable, optional
        ``simulate(model, angles, shape=(nx, ny), pixel_size=...)`` returns noise-free images (n_tilts, nx, ny); by
        default :func:`project_model`, atoms with an intensity of Z^1.7 and B = 6.
    options : PipelineOptions, optional
        By default those of the species of the model by rising atomic number.
    seed : int or numpy.random.Generator
        Of the noise.
    folder : path, optional
        See :func:`determine_atoms`.

    Returns
    -------
    PrecisionEstimate
        RMSD along each axis and by species, fraction of atoms found, and of species right.

    Raises
    ------
    ValueError
        If the model has no symbols, the pixel size is missing, or a simulation has the wrong shape.

    Examples
    --------
    >>> precision("particle.xyz", np.linspace(-70, 70, 41), pixel_size=0.4)  # doctest: +SKIP
    PrecisionEstimate(99.8% of 964 atoms found, ...)
    """
    truth = as_model(model)
    if truth.symbols is None:
        msg = "the model has no symbols; give AtomicModel(positions, symbols) or ase.Atoms."
        raise ValueError(msg)
    angles, shape, pixel_size = _geometry(truth, tilts, pixel_size)
    images = np.asarray((simulate or project_model)(truth, angles, shape=shape, pixel_size=pixel_size), dtype=float)
    if images.shape != (len(angles), *shape):
        msg = f"the simulation has shape {images.shape}; {(len(angles), *shape)} is needed (n_tilts, nx, ny)."
        raise ValueError(msg)
    series = TiltSeries(_with_noise(images, noise, seed), angles, pixel_size)
    found = determine_atoms(series, options or PipelineOptions(_by_atomic_number(truth)), folder=folder)
    return PrecisionEstimate(
        truth=truth,
        traced=compare_models(truth, found.traced_model),
        refined=compare_models(truth, found.model),
        tilt_series=series,
        determination=found,
    )


def _geometry(
    model: AtomicModel, tilts: TiltSeries | np.ndarray, pixel_size: float | None
) -> tuple[np.ndarray, tuple[int, int], float]:
    """Angles, size of an image, pixel size."""
    if isinstance(tilts, TiltSeries):
        known = tilts.pixel_size if pixel_size is None else pixel_size
        angles, shape = tilts.angles, tilts.image_shape
    else:
        known, angles, shape = pixel_size, checked_angles(tilts), None
    if known is None:
        msg = "the size of a pixel is not known; give pixel_size in angstrom."
        raise ValueError(msg)
    check_positive("pixel_size", known, "angstrom")
    if shape is None:
        reach = float(np.linalg.norm(model.positions, axis=1).max()) + _MARGIN
        shape = (2 * int(np.ceil(reach / known)) + 1,) * 2
    return angles, tuple(shape), float(known)


def _with_noise(
    images: np.ndarray, noise: NoiseParameters | float | None, seed: int | np.random.Generator
) -> np.ndarray:
    if noise is None:
        return images
    if not isinstance(noise, NoiseParameters):
        check_positive("noise", noise, "electrons in a bright pixel")
        bright = float(np.quantile(images, _BRIGHT))
        if bright <= 0:
            msg = "less than 1 % of the pixels hold anything, so none is bright; give NoiseParameters(gain, variance)."
            raise ValueError(msg)
        noise = NoiseParameters(gain=bright / noise, variance=0.0)
    return noise.add_to(images, seed=seed)


def _by_atomic_number(model: AtomicModel) -> tuple[str, ...]:
    from ase.data import atomic_numbers

    return tuple(sorted(model.species, key=atomic_numbers.__getitem__))
