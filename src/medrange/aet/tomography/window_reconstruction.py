"""A film reconstructed window by window: its images cut where each window is seen, the volumes put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from medrange.aet.tomography.geometry import rotation_matrices
from medrange.aet.tomography.iterative import ResireOptions, resire
from medrange.aet.tomography.reconstruction import Reconstruction
from medrange.aet.tomography.tilt_series import TiltSeries
from medrange.aet.tomography.windows import Window, check_windows, patch_windows
from medrange.working import progress_shown

# A bar appears only on work that lasts.
_BAR_DELAY = 2.0
# Images are interpolated with quintic splines. A pixel this far beyond a window changes them by less than 1e-8.
_ORDER, _MARGIN = 5, 24


def window_tilt_series(tilt_series: TiltSeries, window: Window, *, thickness: int | None = None) -> TiltSeries:
    """Cut a window of a film out of all its projections.

    The center r of the window, counted from the center (n // 2) of the film, is seen by image k at the first two
    components of ``A_k^T r``; for phi = psi = 0 at ``x cos(theta) - z sin(theta)`` and y. The image of
    ``2 half_size + 1`` pixels around that place has the center of the window at its own. Where the place falls
    between pixels, the image is interpolated (quintic spline), so that no window is up to half a pixel off and
    neighbors fit; noise close to the highest frequency is weakened by that. See [Yuan2022]_ in references.bib.

    Parameters
    ----------
    tilt_series : TiltSeries
        Projections of the whole film.
    window : Window
        Its part; the film has as many voxels along x and y as the projections.
    thickness : int, optional
        Planes of the film along z, for the center of the window is counted from the first of them; by default as
        many as the images have pixels along x.

    Returns
    -------
    TiltSeries
        Shape (n_tilts, 2 half_x + 1, 2 half_y + 1), the same angles and pixel size.

    Raises
    ------
    ValueError
        If the window leaves the film, a projection does not show all of it, or one shows nothing.

    Examples
    --------
    >>> film = TiltSeries(np.arange(1.0, 61).reshape(1, 12, 5), [0])
    >>> window_tilt_series(film, Window((7, 2, 3), (2, 1, 2)), thickness=7).projections[0, 2]
    array([37., 38., 39.], dtype=float32)
    """
    thickness = tilt_series.image_shape[0] if thickness is None else int(thickness)
    check_windows([window], (*tilt_series.image_shape, thickness))
    pixels, rest = _place(tilt_series, window, thickness)
    half = np.asarray(window.half_size[:2], dtype=int)
    images = [
        _cut(image, pixel, half, between)
        for image, pixel, between in zip(tilt_series.projections, pixels, rest, strict=True)
    ]
    return TiltSeries(np.stack(images), tilt_series.angles, tilt_series.pixel_size)


def resire_windows(
    tilt_series: TiltSeries,
    windows: Sequence[Window],
    *,
    iterations: int = 500,
    step: float = 1.0,
    oversampling: tuple[float, float, float] | float = (1.5, 3, 3),
    checkpoint: str | Path | None = None,
    options: ResireOptions | None = None,
    executor: Executor | None = None,
) -> Reconstruction:
    """Reconstruct a film in overlapping windows and put them together.

    Each window is cut out of all projections (:func:`window_tilt_series`), reconstructed as part of an extended
    object (:func:`resire`) and written into the film (:func:`patch_windows`). Beyond the film itself, memory is that
    of one window at a time; a film that is not flat can have windows at different heights. A small film is faster as
    a whole, because every window brings its own surroundings. See [Yuan2022]_ in references.bib.

    Parameters
    ----------
    tilt_series : TiltSeries
        Aligned, background-subtracted projections of the film.
    windows : sequence of Window
        Parts that overlap; all of the film along z that matters must lie within them.
    iterations, step, oversampling
        As of :func:`resire`; the defaults are those published for films.
    checkpoint : str or pathlib.Path, optional
        Folder for the checkpoints, one file per window; with ``options.resume`` finished windows are not repeated.
    options : ResireOptions, optional
        ``thickness`` is that of the film; ``support`` and ``start`` have its shape and are cut as well. ``progress``
        is a bar over the windows.
    executor : concurrent.futures.Executor, optional
        Runs the windows: a process pool, or ``client.get_executor()`` of dask.distributed. By default they run one
        after the other. The result is the same to the bit; give ``options.workers`` where processes share cores.

    Returns
    -------
    Reconstruction
        The film, NaN where no window reaches. R factors are means over the windows; the last R1 of each is
        ``parameters["window_r_factor"]``.

    Raises
    ------
    ValueError
        As of the three functions, with a note that names the window.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> film = TiltSeries(rng.uniform(1, 2, (3, 25, 9)), [-10, 0, 10])
    >>> windows = [Window((x, 4, 2), (8, 4, 2)) for x in (8, 16)]
    >>> result = resire_windows(film, windows, iterations=2, options=ResireOptions(thickness=5))
    >>> result.volume.shape, len(result.parameters["window_r_factor"])
    ((25, 9, 5), 2)
    """
    options = options or ResireOptions()
    film_shape = (*tilt_series.image_shape, int(options.thickness or tilt_series.image_shape[0]))
    _check(tilt_series, windows, film_shape, options, checkpoint)
    keywords = {"iterations": iterations, "step": step, "oversampling": oversampling, "extended": True}
    tasks = _tasks(tilt_series, windows, options, checkpoint)
    tables: list[np.ndarray] = []
    shown = progress_shown(options.progress)

    def volumes() -> Iterator[np.ndarray]:
        results = tqdm(
            _results(tasks, keywords, executor), total=len(windows), desc="windows", delay=_BAR_DELAY, disable=not shown
        )
        for result in results:
            tables.append(np.stack([result.r_factor, result.r2]))
            yield result.volume

    film = patch_windows(volumes(), windows, film_shape)
    r_factor, r2 = np.mean(tables, axis=0)
    parameters = {
        "algorithm": "RESIRE in windows, fourier projector",
        "step": float(step),
        "oversampling": np.broadcast_to(np.asarray(oversampling, dtype=float), 3).tolist(),
        "positivity": options.positivity,
        "compensated": options.compensated,
        "n_tilts": tilt_series.n_tilts,
        "window_centers": [[int(n) for n in window.center] for window in windows],
        "window_half_sizes": [[int(n) for n in window.half_size] for window in windows],
        "window_r_factor": [float(table[0, -1]) for table in tables],
    }
    return Reconstruction(film, tilt_series.pixel_size, r_factor, r2, parameters)


def _place(tilt_series: TiltSeries, window: Window, thickness: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the images show the center of a window: nearest pixels, (n_tilts, 2), and what is left to the place."""
    size = np.array(tilt_series.image_shape)
    offset = np.asarray(window.center, dtype=float) - [*(size // 2), thickness // 2]
    seen = np.einsum("kij,i->kj", rotation_matrices(tilt_series.angles), offset)[:, :2] + size // 2
    pixels = np.rint(seen).astype(int)
    half = np.asarray(window.half_size[:2], dtype=int)
    missing = np.maximum(half - pixels, pixels + half - (size - 1))
    cut_off = np.flatnonzero((missing > 0).any(axis=1))
    if cut_off.size:
        k = int(missing.max(axis=1).argmax())
        axis = int(missing[k].argmax())
        msg = (
            f"the window at {window.center} +- {window.half_size} lies outside {cut_off.size} projections in part, "
            f"furthest outside projection {k} (theta {tilt_series.theta[k]:.1f} deg), by {missing[k, axis]} pixels "
            f"along {'xy'[axis]}. Move it or make it smaller, leave such tilts out (TiltSeries.select), or, if there "
            "is nothing around the film, pad the projections with zeros on both sides and move the windows as well."
        )
        raise ValueError(msg)
    return pixels, seen - pixels


def _cut(image: np.ndarray, pixel: np.ndarray, half: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The part of an image around ``pixel + rest``."""
    if np.abs(rest).max() < 1e-6:
        return image[tuple(slice(p - h, p + h + 1) for p, h in zip(pixel, half, strict=True))]
    # Neighbors take part in the interpolation; the edge of the film is its mirror.
    start = np.maximum(pixel - half - _MARGIN, 0)
    part = image[tuple(slice(s, p + h + _MARGIN + 1) for s, p, h in zip(start, pixel, half, strict=True))]
    moved = ndimage.shift(part.astype(float), -rest, order=_ORDER, mode="mirror")
    first = pixel - half - start
    return moved[tuple(slice(f, f + 2 * h + 1) for f, h in zip(first, half, strict=True))]


def _tasks(
    tilt_series: TiltSeries, windows: Sequence[Window], options: ResireOptions, checkpoint: str | Path | None
) -> Iterator[tuple[TiltSeries, dict[str, Any]]]:
    """Images, options and checkpoint of each window."""
    for number, window in enumerate(windows):
        parts = {
            name: np.ascontiguousarray(np.asarray(values)[window.slices])
            for name in ("support", "start")
            if (values := getattr(options, name)) is not None
        }
        own = replace(options, thickness=window.shape[2], progress=False, **parts)
        path = None if checkpoint is None else Path(checkpoint) / f"window_{number:03d}.npz"
        with _named(number):
            series = window_tilt_series(tilt_series, window, thickness=options.thickness)
        yield series, {"options": own, "checkpoint": path}


def _results(
    tasks: Iterator[tuple[TiltSeries, dict[str, Any]]], keywords: dict[str, Any], executor: Executor | None
) -> Iterator[Reconstruction]:
    """Reconstructions in the order of the tasks."""
    if executor is None:
        for number, (series, own) in enumerate(tasks):
            with _named(number):
                yield resire(series, **keywords, **own)
        return
    futures = []
    try:
        futures += [executor.submit(resire, series, **keywords, **own) for series, own in tasks]
        for number, future in enumerate(futures):
            with _named(number):
                yield future.result()
    finally:
        for future in futures:
            future.cancel()


@contextmanager
def _named(number: int) -> Iterator[None]:
    """Tell with an error which window it came from."""
    try:
        yield
    except Exception as error:
        error.add_note(f"This was window {number}.")
        raise


def _check(
    tilt_series: TiltSeries,
    windows: Sequence[Window],
    film_shape: tuple[int, int, int],
    options: ResireOptions,
    checkpoint: str | Path | None,
) -> None:
    """Refuse before the first window what would only be found at the last."""
    check_windows(windows, film_shape)
    for window in windows:
        _place(tilt_series, window, film_shape[2])
    if callable(options.progress):
        msg = "progress is a function, which windows in other processes cannot call; give True, False or None."
        raise ValueError(msg)
    for name in ("support", "start"):
        values = getattr(options, name)
        if values is not None and np.shape(values) != film_shape:
            msg = f"{name} has shape {np.shape(values)}; it must be that of the film, {film_shape} (x, y, z)."
            raise ValueError(msg)
    if options.start is not None:
        bad = [n for n, window in enumerate(windows) if not np.isfinite(np.asarray(options.start)[window.slices]).all()]
        if bad:
            msg = f"start is not finite in {len(bad)} windows (first: window {bad[0]}); set such voxels to 0."
            raise ValueError(msg)
    if checkpoint is not None and not Path(checkpoint).is_dir():
        msg = f"the checkpoints of windows go into a folder, and {Path(checkpoint).name!r} is none; make it first."
        raise ValueError(msg)
