"""Numerical steps of refining an atomic model against images: heights and B factors, and positions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medrange.aet.tomography.model_projection import ModelImages, inner

#: Called after every step with R.
Report = Callable[[float], None]

# Changes of the sum of squares, over that of the images, below which a fit ends.
_SMALLEST_GAIN = 1e-12
_B_STEPS = 30
# Half the edge, pixels, and the sum of squared distances of the cube over which the published step size is estimated.
_CUBE, _CUBE_SQUARES = 4, 14580
# No published step is longer along an axis, pixels.
_LONGEST_STEP = 0.5


def fit_heights(images: ModelImages, measured: np.ndarray, positions: np.ndarray, b_factors: np.ndarray) -> np.ndarray:
    """Heights (n_species,) that fit the measured images best, by linear least squares, none below zero.

    Raises
    ------
    ValueError
        If a species is best left out.
    """
    from scipy.optimize import nnls

    count = len(images.species)
    parts = [images.project(positions, one, b_factors) for one in np.eye(count)]
    matrix = np.array([[inner(a, b) for b in parts] for a in parts])
    right = np.array([inner(a, measured) for a in parts])
    scale = np.sqrt(np.diag(matrix))
    if scale.min() > 0:
        # The normal equations as a least-squares problem of the same minimum, in units that make columns alike.
        values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
        root = np.sqrt(np.maximum(values, 1e-14))
        heights = nnls(root[:, None] * vectors.T, vectors.T @ (right / scale) / root)[0] / scale
    else:
        heights = np.zeros(count)
    if heights.min() <= 0:
        lost = ", ".join(name for name, height in zip(images.species, heights, strict=True) if height <= 0)
        msg = (
            f"the images fit best without the atoms of {lost}: model and images do not belong together. Compare the "
            "pixel size, the angles and the origin (pixel n // 2), or join species of like intensity."
        )
        raise ValueError(msg)
    return heights


def fit_scales(
    images: ModelImages,
    measured: np.ndarray,
    positions: np.ndarray,
    b_factors: np.ndarray,
    bounds: tuple[float, float] | None,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Heights and B factors by least squares, and the sum of absolute differences that is left.

    At every B the heights follow linearly; the derivative by B at fixed heights is then that of the best fit, too.
    Without ``bounds`` B stays.
    """
    from scipy.optimize import minimize

    if bounds is not None:
        scale, unit = 0.5 * inner(measured, measured), b_factors.copy()

        def error(x: np.ndarray) -> tuple[float, np.ndarray]:
            heights = fit_heights(images, measured, positions, x * unit)
            found = images.derivatives(measured, positions, heights, x * unit)
            return found.squares / scale, found.b_factors * unit / scale

        limits = [(bounds[0] / b, bounds[1] / b) for b in unit]
        # Written in parts of the start: a first step of the length of the gradient would be no step at all.
        fit = minimize(
            error,
            np.ones(len(unit)),
            jac=True,
            method="L-BFGS-B",
            bounds=limits,
            options={"maxiter": _B_STEPS, "ftol": 1e-9, "gtol": 1e-7},
        )
        b_factors = fit.x * unit
    heights = fit_heights(images, measured, positions, b_factors)
    return heights, b_factors, images.derivatives(measured, positions, heights, b_factors).absolute


def move_lbfgs(
    images: ModelImages,
    measured: np.ndarray,
    positions: np.ndarray,
    scales: tuple[np.ndarray, np.ndarray],
    *,
    box: tuple[np.ndarray, np.ndarray],
    iterations: int,
    report: Report,
) -> np.ndarray:
    """Positions of the least sum of squares, by L-BFGS-B with the exact gradient, inside a box per atom [Zhu1997]_.

    Parameters
    ----------
    images, measured, positions
        Calculated and measured images, start (N, 3) in angstrom.
    scales : tuple of numpy.ndarray
        Heights and B factors by species.
    box : tuple of numpy.ndarray
        Lower and upper limits, (N, 3) each, angstrom.
    iterations : int
        At most so many.
    report : callable
        Takes the sum of absolute differences after every iteration.
    """
    from scipy.optimize import minimize

    scale = 0.5 * inner(measured, measured)
    # Light atoms have a flatter minimum; in these units all have about the same curvature.
    tops = np.empty((len(positions), 1))
    for members, height in zip(images.members, scales[0], strict=True):
        tops[members] = height / scales[0].mean()
    last = {}

    def error(x: np.ndarray) -> tuple[float, np.ndarray]:
        found = images.derivatives(measured, x.reshape(-1, 3) / tops, *scales)
        last["absolute"] = found.absolute
        return found.squares / scale, (found.positions / tops).ravel() / scale

    # One tuple per coordinate is what SciPy wants; a line search ends on the point that is reported.
    limits = np.stack([(side * tops).ravel() for side in box], axis=1)
    fit = minimize(
        error,
        (positions * tops).ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=limits,
        callback=lambda x: report(last["absolute"]),
        options={"maxiter": iterations, "maxfun": 3 * iterations, "ftol": _SMALLEST_GAIN, "gtol": 1e-10, "maxcor": 20},
    )
    return fit.x.reshape(-1, 3) / tops


def move_published(
    images: ModelImages,
    measured: np.ndarray,
    positions: np.ndarray,
    scales: tuple[np.ndarray, np.ndarray],
    *,
    radius: float,
    step: float,
    iterations: int,
    report: Report,
) -> np.ndarray:
    """Positions after a number of steps of the published descent, [Yuan2022]_ and [Yang2021]_.

    It goes along half the gradient with f_e left out where the residual is read; the length of a step follows from the
    heights, the B factors and the size of the images. Each atom stays within ``radius`` of where it is now.
    """
    heights, b_factors = scales
    pixel, start = images.pixel_size, positions
    b = float(np.mean((np.pi * pixel) ** 2 / b_factors))
    curvature = float(np.mean(heights)) ** 2 * b**2
    nx, ny = images.padded
    if len(images.species) == 1:
        length = step / (8 * _CUBE_SQUARES * (nx + ny) / 2 * curvature)
    else:
        length = step / (curvature * _CUBE**2 * images.n_tilts * nx * ny)
    for _ in range(iterations):
        found = images.derivatives(measured, positions, heights, b_factors, filtered=False)
        report(found.absolute)
        # Derivatives are per angstrom; the published step is in pixels.
        moves = np.clip(-length * found.positions * pixel / 2, -_LONGEST_STEP, _LONGEST_STEP) * pixel
        offset = positions + moves - start
        distance = np.linalg.norm(offset, axis=1, keepdims=True)
        positions = start + offset * np.minimum(1, radius / np.maximum(distance, radius))
    return positions
