"""Refinement of an atomic model: positions, heights and B factors that reproduce the tilt series best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from tqdm import tqdm

from medrange.aet.atoms.model import AtomicModel, as_model
from medrange.aet.atoms.saving import load_parameters, save_result
from medrange.aet.tomography.model_projection import PADDING, UNKNOWN, ModelImages, by_species, check_positive
from medrange.aet.tomography.position_fit import fit_scales, move_lbfgs, move_published
from medrange.aet.tomography.tilt_series import TiltSeries
from medrange.working import progress_shown

if TYPE_CHECKING:
    import pandas as pd

_METHODS = ("lbfgs", "descent")
# B where none is given, square angstrom: that of an atom of 0.55 angstrom (standard deviation).
_FIRST_B = 6.0
# Limits of the standard deviation of an atom, pixels; below, it falls between the pixels.
_NARROWEST, _WIDEST = 0.5, 5.0
# A bar appears only on work that lasts.
_BAR_DELAY = 2.0


@dataclass(frozen=True)
class RefinementOptions:
    """What most refinements leave as it is.

    Attributes
    ----------
    form_factor : {"species", "mean", None}
        f_e of each element, its mean over the elements (as published for several), or plain Gaussians: then the model
        needs no symbols.
    fit_b : bool
        Whether to fit the B factors, or to keep those given.
    b_bounds : tuple of float, optional
        Limits of B, square angstrom; by default those of a standard deviation of 0.5 to 5 pixels.
    max_displacement : float
        Angstrom. ``"lbfgs"`` keeps each atom in a cube of half this edge around where it was given, ``"descent"`` in a
        ball of this radius around where it was at the start of the round, as published.
    step : float
        Of the descent; 1 as published.
    tolerance : float
        Ends when a round moves the atoms by less (root mean square), angstrom.
    clip : bool
        Set negative pixels to zero first, as published.
    padding : int
        Zeros around an image before it is transformed, pixels.
    progress : bool, optional
        Show a bar with R; by default yes, but not where the environment variable CI is set.
    workers : int, optional
        Threads; by default all cores. The result does not depend on it.
    """

    form_factor: Literal["species", "mean"] | None = "species"
    fit_b: bool = True
    b_bounds: tuple[float, float] | None = None
    max_displacement: float = 1.0
    step: float = 1.0
    tolerance: float = 1e-3
    clip: bool = True
    padding: int = PADDING
    progress: bool | None = None
    workers: int | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Refinement:
    """A refined model and how it came about; made by :func:`refine_positions`.

    Attributes
    ----------
    model : AtomicModel
        Refined atoms, in the order given.
    start : numpy.ndarray
        Shape (N, 3), angstrom: positions given.
    b_factor : mapping
        B by symbol (``"X"`` where unknown), square angstrom: an atom has a standard deviation of sqrt(B / 2) / pi.
    heights : mapping
        Heights h by symbol, in units of the images: see :func:`medrange.aet.tomography.project_model`.
    r_factor : numpy.ndarray
        R = sum|calculated - measured| / sum|measured| over all images together: with the start, then after every
        iteration and every fit of B and heights.
    rounds : pandas.DataFrame
        One row per round, the first for the start: R, root mean square move of the atoms (angstrom), B and height of
        each species.
    parameters : mapping
        What made the refinement.
    """

    model: AtomicModel
    start: np.ndarray
    b_factor: Mapping[str, float]
    heights: Mapping[str, float]
    r_factor: np.ndarray
    rounds: pd.DataFrame
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def positions(self) -> np.ndarray:
        """Shape (N, 3), angstrom: refined positions."""
        return self.model.positions

    @property
    def displacements(self) -> np.ndarray:
        """Shape (N, 3), angstrom: refined minus given positions."""
        return self.model.positions - self.start

    @property
    def table(self) -> pd.DataFrame:
        """One row per atom: ``symbol``, ``x``, ``y``, ``z``, ``dx``, ``dy``, ``dz``, ``displacement`` in angstrom."""
        import pandas as pd

        columns = dict(zip("xyz", self.positions.T, strict=True))
        moves = dict(zip(("dx", "dy", "dz"), self.displacements.T, strict=True))
        names = self.model.symbols or (UNKNOWN,) * len(self.model)
        return pd.DataFrame(
            {"symbol": names, **columns, **moves, "displacement": np.linalg.norm(self.displacements, axis=1)}
        )

    def save(self, path: str | PathLike) -> Path:
        """Write ``.npz`` (all, for :meth:`load`), ``.csv`` (the table) or ``.xyz`` (atoms with displacements)."""
        arrays = {"positions": self.positions, "start": self.start, "r_factor": self.r_factor}
        if self.model.symbols is not None:
            arrays["symbols"] = np.array(self.model.symbols, dtype=str)
        parameters = {
            "b_factor": dict(self.b_factor),
            "heights": dict(self.heights),
            "rounds": self.rounds.to_dict("list"),
            "parameters": dict(self.parameters),
        }
        atoms = self.model.to_ase(displacement=self.displacements)
        return save_result(path, table=self.table, atoms=atoms, arrays=arrays, parameters=parameters)

    @classmethod
    def load(cls, path: str | PathLike) -> Refinement:
        """Refinement from an ``.npz`` file of :meth:`save`."""
        import pandas as pd

        known = load_parameters(path)
        with np.load(path, allow_pickle=False) as data:
            symbols = tuple(data["symbols"].tolist()) if "symbols" in data.files else None
            model = AtomicModel(data["positions"], symbols)
            start, r_factor = data["start"], data["r_factor"]
        rounds = pd.DataFrame(known["rounds"])
        return cls(model, start, known["b_factor"], known["heights"], r_factor, rounds, known["parameters"])

    def plot(self, **kwargs: Any) -> Any:
        """R over the iterations: see :func:`medrange.plotting.refinement.plot_refinement`."""
        from medrange.plotting import refinement

        return refinement.plot_refinement(self, **kwargs)

    def __repr__(self) -> str:
        moved = np.sqrt((self.displacements**2).sum(axis=1).mean())
        widths = ", ".join(f"{name} {value:.2f}" for name, value in self.b_factor.items())
        return (
            f"Refinement({len(self.model)} atoms, R {self.r_factor[0]:.4f} -> {self.r_factor[-1]:.4f} in "
            f"{len(self.rounds) - 1} rounds, moved by {moved:.3f} Å rms, B {widths} Å²)"
        )


def refine_positions(
    model: AtomicModel | np.ndarray | str,
    tilt_series: TiltSeries,
    *,
    rounds: int = 3,
    iterations: int = 40,
    method: Literal["lbfgs", "descent"] = "lbfgs",
    b_factor: float | Mapping[str, float] | None = None,
    options: RefinementOptions | None = None,
) -> Refinement:
    """Move the atoms of a model until their projections fit the images of a tilt series best.

    Minimizes ``sum (calculated - measured)^2`` over the pixels of all images, calculated as in
    :func:`medrange.aet.tomography.project_model`. First, heights and B factors of the species are fitted; then each
    round moves the atoms and fits heights and B again, as displaced atoms look broader than they are. A round that
    does not lower R is not kept, and is the last. See [Yuan2022]_ and [Yang2021]_.

    What lies outside the images is not known, and is not compared. In a film, atoms that the model lacks but
    tilted images show enter R.

    Parameters
    ----------
    model : AtomicModel, ase.Atoms, path or array
        Traced atoms with their symbols, angstrom from the center voxel n // 2.
    tilt_series : TiltSeries
        Aligned, background-subtracted images, with their pixel size.
    rounds : int
        At most so many.
    iterations : int
        Of the positions in each round; some 400 for ``"descent"``.
    method : {"lbfgs", "descent"}
        L-BFGS-B with the exact gradient, or the published descent, which needs ten times the iterations.
    b_factor : float or mapping, optional
        B to begin with, square angstrom, for all or by symbol; by default 6. It is 1/4 of the crystallographic one.
    options : RefinementOptions, optional
        Form factor, limits, clipping, threads.

    Returns
    -------
    Refinement
        Positions, heights, B factors, R.

    Raises
    ------
    ValueError
        If the pixel size is unknown, symbols are missing, a parameter is out of range, or the images fit best without
        a species.

    Examples
    --------
    >>> from medrange.aet.tomography import project_model
    >>> true = AtomicModel(3.0 * np.indices((2, 2, 2)).reshape(3, -1).T, ("Ta",) * 8)
    >>> angles = np.linspace(-60, 60, 7)
    >>> series = TiltSeries(project_model(true, angles, shape=(48, 48), pixel_size=0.4), angles, pixel_size=0.4)
    >>> displaced = AtomicModel(true.positions + np.random.default_rng(0).normal(0, 0.1, (8, 3)), true.symbols)
    >>> refined = refine_positions(displaced, series)
    >>> bool(np.abs(refined.positions - true.positions).max() < 1e-3), round(refined.b_factor["Ta"], 2)
    (True, 6.0)
    """
    options = options or RefinementOptions()
    model = as_model(model, minimum=1)
    _check(model, tilt_series, rounds, iterations, method, options)
    images = ModelImages(
        model.symbols or (UNKNOWN,) * len(model),
        tilt_series.angles,
        shape=tilt_series.image_shape,
        pixel_size=tilt_series.pixel_size,
        form_factor=options.form_factor,
        padding=options.padding,
        workers=options.workers,
    )
    bounds = _bounds(options, tilt_series.pixel_size)
    first = np.clip(_FIRST_B, *bounds) if b_factor is None else b_factor
    b_factors = by_species("b_factor", first, images.species)
    if options.fit_b and not ((b_factors >= bounds[0]) & (b_factors <= bounds[1])).all():
        msg = f"b_factor is {b_factor!r}; it starts outside b_bounds, {bounds[0]:.3g} to {bounds[1]:.3g} Å²."
        raise ValueError(msg)
    run = _Run(model, images, tilt_series, options, bounds if options.fit_b else None, method, iterations)
    positions, heights, b_factors, r_factor, table = run(rounds, b_factors)
    return Refinement(
        model=AtomicModel(positions, model.symbols),
        start=np.array(model.positions),
        b_factor=dict(zip(images.species, b_factors.tolist(), strict=True)),
        heights=dict(zip(images.species, heights.tolist(), strict=True)),
        r_factor=np.array(r_factor),
        rounds=table,
        parameters={"method": method, "iterations": int(iterations), "rounds": int(rounds), **asdict(options)},
    )


class _Run:
    """Everything that stays the same from one round to the next."""

    def __init__(
        self,
        model: AtomicModel,
        images: ModelImages,
        tilt_series: TiltSeries,
        options: RefinementOptions,
        bounds: tuple[float, float] | None,
        method: str,
        iterations: int,
    ) -> None:
        self.start, self.images, self.options = np.array(model.positions), images, options
        self.bounds, self.method, self.iterations = bounds, method, iterations
        measured = tilt_series.projections.astype(float)
        self.measured = np.maximum(measured, 0, out=measured) if options.clip else measured
        self.norm = float(np.abs(self.measured).sum())

    def __call__(self, rounds: int, b_factors: np.ndarray) -> tuple:
        """Positions, heights, B factors, R of every step, and the table of the rounds."""
        positions = self.start
        heights, b_factors, absolute = self._scales(positions, b_factors)
        r_factor = [absolute / self.norm]
        rows = [(r_factor[0], 0.0, b_factors, heights)]
        shown = progress_shown(self.options.progress)
        with tqdm(
            total=rounds * self.iterations, desc="refining positions", delay=_BAR_DELAY, disable=not shown
        ) as bar:

            def report(absolute: float) -> None:
                history.append(absolute / self.norm)
                bar.set_postfix(R=f"{history[-1]:.4f}", refresh=False)
                bar.update()

            for _ in range(rounds):
                history = []
                moved = self._moved(positions, (heights, b_factors), report)
                scales = self._scales(moved, b_factors)
                history.append(scales[2] / self.norm)
                if history[-1] > rows[-1][0]:
                    break
                change = float(np.sqrt(((moved - positions) ** 2).sum(axis=1).mean()))
                positions, (heights, b_factors, _) = moved, scales
                r_factor += history
                rows.append((history[-1], change, b_factors, heights))
                if change < self.options.tolerance:
                    break
        return positions, heights, b_factors, r_factor, self._table(rows)

    def _scales(self, positions: np.ndarray, b_factors: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        return fit_scales(self.images, self.measured, positions, b_factors, self.bounds)

    def _moved(self, positions: np.ndarray, scales: tuple[np.ndarray, np.ndarray], report: Any) -> np.ndarray:
        reach = self.options.max_displacement
        if self.method == "lbfgs":
            box = (self.start - reach, self.start + reach)
            return move_lbfgs(
                self.images, self.measured, positions, scales, box=box, iterations=self.iterations, report=report
            )
        return move_published(
            self.images,
            self.measured,
            positions,
            scales,
            radius=reach,
            step=self.options.step,
            iterations=self.iterations,
            report=report,
        )

    def _table(self, rows: list[tuple]) -> pd.DataFrame:
        import pandas as pd

        table = pd.DataFrame({"r_factor": [row[0] for row in rows], "move": [row[1] for row in rows]})
        for s, name in enumerate(self.images.species):
            table[f"b_{name}"] = [float(row[2][s]) for row in rows]
            table[f"height_{name}"] = [float(row[3][s]) for row in rows]
        return table


def _bounds(options: RefinementOptions, pixel_size: float) -> tuple[float, float]:
    """Limits of B."""
    if options.b_bounds is None:
        return tuple(2 * (np.pi * width * pixel_size) ** 2 for width in (_NARROWEST, _WIDEST))
    low, high = options.b_bounds
    if not 0 < low < high < np.inf:
        msg = f"b_bounds are {options.b_bounds}; give (low, high) in square angstrom, 0 < low < high."
        raise ValueError(msg)
    return float(low), float(high)


def _check(
    model: AtomicModel,
    tilt_series: TiltSeries,
    rounds: int,
    iterations: int,
    method: str,
    options: RefinementOptions,
) -> None:
    if tilt_series.pixel_size is None:
        msg = "the tilt series has no pixel size; give TiltSeries(projections, angles, pixel_size=...) in angstrom."
        raise ValueError(msg)
    if model.pbc.any():
        msg = "the model is periodic; images show a finite object: give AtomicModel(positions, symbols) without pbc."
        raise ValueError(msg)
    for name, value in (("rounds", rounds), ("iterations", iterations)):
        if int(value) != value or value < 1:
            msg = f"{name} is {value!r}; give a whole number of at least 1."
            raise ValueError(msg)
    if method not in _METHODS:
        msg = f"method is {method!r}; choose 'lbfgs' or 'descent'."
        raise ValueError(msg)
    for name in ("max_displacement", "step"):
        check_positive(name, getattr(options, name), "a number")
    if options.padding < 0:
        msg = f"padding is {options.padding}; give pixels, 0 or more."
        raise ValueError(msg)
