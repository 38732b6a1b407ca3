"""RESIRE: real-space iterative reconstruction with a Fourier-slice forward projection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from medrange.aet.tomography.checkpoint import State, checksum, load_state, save_state
from medrange.aet.tomography.fourier_projector import FourierProjector
from medrange.aet.tomography.geometry import blocks, central, extended_shape
from medrange.aet.tomography.real_projector import RealProjector, smooth_along_y
from medrange.aet.tomography.reconstruction import Reconstruction
from medrange.aet.tomography.tilt_series import TiltSeries
from medrange.working import progress_shown

# A bar appears only on work that lasts.
_BAR_DELAY = 2.0
# Share of the gradient before in that of the real-space variant.
_MEMORY = 0.1
# Images, or planes of the volume, that a thread takes at once outside the projector.
_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class ResireOptions:
    """What most reconstructions leave as it is.

    Attributes
    ----------
    thickness : int, optional
        Planes along z; by default as many as the images have pixels along x.
    positivity : bool
        Set negative values to zero after every update.
    support : numpy.ndarray, optional
        Boolean, shape (nx, ny, thickness): outside it the volume is set to zero after every update. Of an
        extended object it covers the field of view; what lies beyond stays free.
    start : numpy.ndarray, optional
        Shape (nx, ny, thickness): volume to begin with instead of zero.
    progress : bool or callable, optional
        Show a bar with R1; by default yes, but not where the environment variable CI is set. Or a function of
        (iteration, R1, R2), called after every update; if it returns True the run stops there.
    resume : bool
        Go on from ``checkpoint`` where it exists. The number of iterations may be larger than before.
    checkpoint_every : int
        Iterations between checkpoints; one more is written at the end.
    workers : int, optional
        Threads; by default all cores. The result does not depend on it.
    compensated : bool
        Let the forward projection make up for its interpolation, see :class:`FourierProjector`: closer to the true
        projections, but other R factors than those published. With the Fourier projector only.
    """

    thickness: int | None = None
    positivity: bool = True
    support: np.ndarray | None = None
    start: np.ndarray | None = None
    progress: bool | Callable[[int, float, float], bool | None] | None = None
    resume: bool = False
    checkpoint_every: int = 10
    workers: int | None = None
    compensated: bool = False


def resire(
    tilt_series: TiltSeries,
    *,
    iterations: int = 200,
    step: float = 2.0,
    oversampling: tuple[float, float, float] | float = (4, 4, 4),
    extended: bool = False,
    projector: Literal["fourier", "real"] = "fourier",
    checkpoint: str | Path | None = None,
    options: ResireOptions | None = None,
) -> Reconstruction:
    """Reconstruct a volume from a tilt series.

    Minimizes ``sum_k |P_k O - b_k|^2 / 2`` by ``O <- max(O - step / (K nx) sum_k B_k (P_k O - b_k), 0)`` with P
    the projection of O at the angles of image k, B the back-projection, K the number of images and nx their
    size along x. R1 need not fall in every iteration, least of all at step 2: judge by its trend. See
    [Pham2023]_, [Yang2021]_ and [Yuan2022]_ in references.bib.

    Parameters
    ----------
    tilt_series : TiltSeries
        Aligned, background-subtracted projections; negative pixels are used as they are.
    iterations : int
        How often the volume is updated, in total.
    step : float
        1 to 3 is useful; 1 for an extended object.
    oversampling : tuple of float
        Padded over given size along x, y, z, at least 1; one number for all. 3 or 4 for particles, (1.5, 3, 3)
        for films. Not used by ``projector="real"``.
    extended : bool
        The object, a film, goes on beyond the field of view. It is reconstructed as far as any image sees it;
        the field of view is what is returned.
    projector : {"fourier", "real"}
        ``"fourier"`` interpolates in Fourier space, for any angles. ``"real"`` deposits voxels on pixels, for
        phi = psi = 0; there images and residuals are smoothed along y by (1/8, 6/8, 1/8), a tenth of the last
        gradient is kept, and the step is divided by K nz.
    checkpoint : str or pathlib.Path, optional
        .npz file to keep the state in; see ``resume`` in the options. A run that was killed and resumed ends with
        the same bits as one that was not.
    options : ResireOptions, optional
        Thickness, positivity, support, start, progress, threads.

    Returns
    -------
    Reconstruction
        Volume (nx, ny, thickness), float32, [x, y, z], in units of the images per voxel; R factors; parameters.

    Raises
    ------
    ValueError
        If a parameter is out of range, or a checkpoint belongs to another run.

    Examples
    --------
    >>> x = np.arange(16) - 8
    >>> spot = np.exp(-(x[:, None] ** 2 + x**2) / 8).astype(np.float32)
    >>> series = TiltSeries(np.stack([spot] * 9), np.linspace(-60, 60, 9), pixel_size=0.5)
    >>> result = resire(series, iterations=10, oversampling=2)
    >>> result.volume.shape, int(result.volume.argmax()) == (8 * 16 + 8) * 16 + 8
    ((16, 16, 16), True)
    """
    options = options or ResireOptions()
    oversampling = (oversampling,) * 3 if np.isscalar(oversampling) else tuple(oversampling)
    _check(iterations, step, projector, options, checkpoint)
    nx, ny = tilt_series.image_shape
    view = (nx, ny, int(options.thickness or nx))
    shape = extended_shape((nx, ny), view[2], tilt_series.angles) if extended else view
    run = _Run(tilt_series, view, shape, step, projector, oversampling, options)
    path = None if checkpoint is None else Path(checkpoint)
    identity = run.identity() if path is not None else ""
    state = load_state(path, identity) if path is not None and options.resume and path.exists() else run.first_state()
    if state.iteration > iterations:
        msg = f"{path} has done {state.iteration} iterations already; ask for at least as many, not {iterations}."
        raise ValueError(msg)
    _iterate(run, state, iterations, path, identity)
    parameters = {
        "algorithm": f"RESIRE, {projector} projector",
        "step": float(step),
        "oversampling": list(oversampling),
        "extended": bool(extended),
        "positivity": options.positivity,
        "compensated": options.compensated,
        "has_support": options.support is not None,
        "has_start": options.start is not None,
        "object_shape": list(shape),
        "n_tilts": tilt_series.n_tilts,
    }
    volume = state.volume[central(shape, view)]
    return Reconstruction(volume, tilt_series.pixel_size, state.r_factor, state.r2, parameters)


@dataclass(frozen=True, eq=False)
class _Run:
    """Everything that stays the same from one iteration to the next."""

    tilt_series: TiltSeries
    view: tuple[int, int, int]
    shape: tuple[int, int, int]
    step: float
    kind: str
    oversampling: tuple[float, float, float]
    options: ResireOptions

    def __post_init__(self) -> None:
        images, angles, workers = self.tilt_series.projections, self.tilt_series.angles, self.options.workers
        if self.kind == "real":
            projector = RealProjector(angles, images.shape[1:], self.shape, workers)
            images, scale = smooth_along_y(images), self.shape[2]
        else:
            projector = FourierProjector(
                angles, images.shape[1:], self.shape, self.oversampling, workers, self.options.compensated
            )
            scale = images.shape[1]
        object.__setattr__(self, "projector", projector)
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "time_step", np.float32(self.step / (len(images) * scale)))
        object.__setattr__(self, "norms", _norms(images))
        for name in ("support", "start"):
            values = getattr(self.options, name)
            if values is not None and np.shape(values) != self.view:
                msg = f"{name} has shape {np.shape(values)}; it must be that of the volume, {self.view} (x, y, z)."
                raise ValueError(msg)

    def identity(self) -> str:
        """Hash of the data and of every parameter but the number of iterations."""
        options = self.options
        arrays = [np.asarray(a) for a in (options.support, options.start) if a is not None]
        numbers = (self.view, self.shape, float(self.step), self.kind, tuple(map(float, self.oversampling)))
        flags = (bool(options.positivity), bool(options.compensated), options.support is None, options.start is None)
        return checksum(self.tilt_series.projections, self.tilt_series.angles, numbers, flags, *arrays)

    def first_state(self) -> State:
        """The volume to begin with, memory order [x, z, y]."""
        volume = np.zeros((self.shape[0], self.shape[2], self.shape[1]), np.float32).transpose(0, 2, 1)
        if self.options.start is not None:
            volume[central(self.shape, self.view)] = self.options.start
        return State(volume)

    def advance(self, state: State) -> None:
        """One iteration: R of the volume as it is, then the update."""
        residual = self.projector.forward(state.volume)
        norms = np.empty((2, len(residual)))

        def subtract(part: slice) -> None:
            residual[part] -= self.images[part]
            norms[:, part] = _norms(residual[part])

        self.projector.threads.each(subtract, blocks(len(residual), _AT_ONCE))
        r1, r2 = (float(np.mean(norm / own)) for norm, own in zip(norms, self.norms, strict=True))
        if not np.isfinite(r1):
            msg = f"R became {r1} in iteration {state.iteration + 1}: the step {self.step:g} is too long; try 1 to 3."
            raise ValueError(msg)
        if self.kind == "real":
            gradient = self.projector.back(smooth_along_y(residual))
            gradient *= np.float32(1 - _MEMORY)
            if state.memory is not None:
                gradient += np.float32(_MEMORY) * state.memory
            state.memory = gradient.copy(order="K")
        else:
            gradient = self.projector.back(residual)
        volume = state.volume

        def update(part: slice) -> None:
            gradient[part] *= self.time_step
            volume[part] -= gradient[part]
            if self.options.positivity:
                np.maximum(volume[part], 0, out=volume[part])

        self.projector.threads.each(update, blocks(len(volume), _AT_ONCE))
        if self.options.support is not None:
            volume[central(self.shape, self.view)] *= np.asarray(self.options.support, dtype=bool)
        state.r_factor.append(r1)
        state.r2.append(r2)


def _norms(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the absolute values, and root of the sum of squares, of every image."""
    total = np.abs(images).sum(axis=(1, 2), dtype=float)
    return total, np.sqrt(np.einsum("kxy,kxy->k", images, images, dtype=float))


def _iterate(run: _Run, state: State, iterations: int, path: Path | None, identity: str) -> None:
    """Advance the state to ``iterations``, keeping checkpoints and telling how it goes."""
    progress = run.options.progress
    shown = progress_shown(None if callable(progress) else progress)
    with tqdm(
        total=iterations, initial=state.iteration, desc="RESIRE", unit="it", delay=_BAR_DELAY, disable=not shown
    ) as bar:
        while state.iteration < iterations:
            run.advance(state)
            bar.set_postfix(R1=f"{state.r_factor[-1]:.4f}", refresh=False)
            bar.update()
            stopped = callable(progress) and bool(progress(state.iteration, state.r_factor[-1], state.r2[-1]))
            is_due = state.iteration % run.options.checkpoint_every == 0
            if path is not None and (is_due or stopped or state.iteration == iterations):
                save_state(path, state, identity)
            if stopped:
                break


def _check(iterations: int, step: float, projector: str, options: ResireOptions, checkpoint: str | Path | None) -> None:
    if int(iterations) != iterations or iterations < 1:
        msg = f"iterations is {iterations!r}; give a whole number of at least 1."
        raise ValueError(msg)
    if not (np.isfinite(step) and step > 0):
        msg = f"step is {step!r}; give a number above 0, usually 1 to 3."
        raise ValueError(msg)
    if projector not in ("fourier", "real"):
        msg = f"projector is {projector!r}; choose 'fourier' or 'real'."
        raise ValueError(msg)
    if options.compensated and projector != "fourier":
        msg = f"compensated is for the Fourier projector, not for {projector!r}."
        raise ValueError(msg)
    if options.thickness is not None and options.thickness < 1:
        msg = f"thickness is {options.thickness!r}; give the number of planes along z, at least 1."
        raise ValueError(msg)
    if options.checkpoint_every < 1:
        msg = f"checkpoint_every is {options.checkpoint_every!r}; give at least 1."
        raise ValueError(msg)
    if options.resume and checkpoint is None:
        msg = "resume=True needs the file to go on from: give checkpoint=path."
        raise ValueError(msg)
    if checkpoint is not None and Path(checkpoint).suffix != ".npz":
        msg = f"the checkpoint {Path(checkpoint).name!r} is a .npz file; give it that suffix."
        raise ValueError(msg)
