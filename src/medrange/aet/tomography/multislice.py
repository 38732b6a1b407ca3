"""Multislice simulation of annular dark field images by abTEM, with multiple scattering and channeling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from medrange.aet.atoms.model import AtomicModel, as_model
from medrange.aet.tomography.geometry import rotation_matrices
from medrange.aet.tomography.model_projection import check_positive
from medrange.aet.tomography.tilt_series import checked_angles

if TYPE_CHECKING:
    import ase


@dataclass(frozen=True)
class Multislice:
    """Simulation of a tilt series by the multislice algorithm, for ``precision(..., simulate=Multislice())``.

    The model is turned into each tilt, and a focused probe is scanned over it; an image holds the part of the beam that
    reaches an annular detector. The focus is in the middle of the model. See [Madsen2021]_ for abTEM, which is needed:
    ``pip install medrange[abtem]``. Time grows with tilts, pixels, slices, and the inverse square of ``sampling``.

    Attributes
    ----------
    energy : float
        Beam energy, kV.
    semiangle : float
        Of convergence, mrad.
    inner, outer : float
        Angles of the detector, mrad. The wave must be sampled for the outer one: ``sampling`` below lambda / (3 outer).
    sampling : float
        Of the wave, angstrom.
    slice_thickness : float
        Angstrom.
    source_size : float
        Standard deviation of the Gaussian that images are blurred with, angstrom.
    configurations : int
        Frozen phonons to average over; 0 for atoms at rest.
    displacement : float
        Of a frozen phonon, standard deviation along each axis, angstrom.
    margin : float
        Empty space on each side of model and scan, angstrom.
    seed : int
        Of the frozen phonons.

    Examples
    --------
    >>> simulate = Multislice(energy=200.0, inner=40.0, outer=120.0)
    >>> precision(model, np.linspace(-70, 70, 41), pixel_size=0.4, simulate=simulate).rmsd  # doctest: +SKIP
    """

    energy: float = 300.0
    semiangle: float = 20.0
    inner: float = 40.0
    outer: float = 120.0
    sampling: float = 0.05
    slice_thickness: float = 2.0
    source_size: float = 0.3
    configurations: int = 0
    displacement: float = 0.08
    margin: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, unit in (("energy", "kV"), ("semiangle", "mrad"), ("sampling", "angstrom"), ("margin", "angstrom")):
            check_positive(name, getattr(self, name), unit)
        if not 0 <= self.inner < self.outer:
            msg = f"the detector reaches from {self.inner} to {self.outer} mrad; give inner < outer, 0 or more."
            raise ValueError(msg)

    def __call__(
        self, model: AtomicModel | ase.Atoms, angles: np.ndarray, *, shape: tuple[int, int], pixel_size: float
    ) -> np.ndarray:
        """Noise-free images.

        Parameters
        ----------
        model : AtomicModel or ase.Atoms
            Atoms with symbols, angstrom from the center voxel.
        angles : numpy.ndarray
            Shape (n_tilts,) or (n_tilts, 3), degrees.
        shape : tuple of int
            (nx, ny) of the images.
        pixel_size : float
            Angstrom.

        Returns
        -------
        numpy.ndarray
            Shape (n_tilts, nx, ny): part of the beam that reaches the detector.

        Raises
        ------
        ImportError
            If abTEM is missing.
        ValueError
            If the model has no symbols, or the wave is sampled too coarsely for the detector.
        """
        try:
            import abtem  # noqa: F401 - asked for first, so that the error comes before the work
        except ImportError as error:
            msg = "a multislice simulation needs abTEM; install it with: pip install medrange[abtem]"
            raise ImportError(msg) from error
        atoms = as_model(model, minimum=1)
        if atoms.symbols is None:
            msg = "the model has no symbols; give AtomicModel(positions, symbols) or ase.Atoms."
            raise ValueError(msg)
        rotations = rotation_matrices(checked_angles(angles))
        images = [
            self._image(AtomicModel(atoms.positions @ turn, atoms.symbols), tuple(shape), float(pixel_size))
            for turn in rotations
        ]
        return np.stack(images)

    def _image(self, model: AtomicModel, shape: tuple[int, int], pixel_size: float) -> np.ndarray:
        """One image of a model that is already turned; the center voxel lies at the center pixel."""
        import abtem

        low = -(np.array(shape) // 2) * pixel_size
        first = np.minimum(low, model.positions[:, :2].min(axis=0)) - self.margin
        last = np.maximum(low + np.array(shape) * pixel_size, model.positions[:, :2].max(axis=0)) + self.margin
        depth = np.array([model.positions[:, 2].min() - self.margin, model.positions[:, 2].max() + self.margin])
        corner = np.array([*first, depth[0]])
        cell = np.array([*(last - first), np.ptp(depth)])
        boxed = model.to_ase()
        boxed.set_positions(model.positions - corner)
        boxed.set_cell(cell)
        if self.configurations:
            boxed = abtem.FrozenPhonons(boxed, self.configurations, self.displacement, seed=self.seed)
        potential = abtem.Potential(boxed, sampling=self.sampling, slice_thickness=self.slice_thickness)
        # A positive defocus moves the focus from the entrance into the box, here to its middle.
        probe = abtem.Probe(energy=1e3 * self.energy, semiangle_cutoff=self.semiangle, defocus=float(cell[2] / 2))
        probe.grid.match(potential)
        limit = min(probe.cutoff_angles)
        if self.outer > limit:
            msg = (
                f"a wave sampled every {self.sampling} Å reaches {limit:.0f} mrad, but the detector {self.outer:g} "
                "mrad; lower sampling or outer."
            )
            raise ValueError(msg)
        start = low - first
        scan = abtem.GridScan(start=start, end=start + np.array(shape) * pixel_size, gpts=shape, endpoint=False)
        detector = abtem.AnnularDetector(inner=self.inner, outer=self.outer)
        measured = probe.scan(potential, scan=scan, detectors=detector).compute(progress_bar=False)
        return ndimage.gaussian_filter(
            np.asarray(measured.array, dtype=float), self.source_size / pixel_size, mode="nearest"
        )
