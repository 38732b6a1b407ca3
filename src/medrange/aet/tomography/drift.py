"""Drift of the frames taken at one tilt: shifts between frames, and the shear it leaves inside each of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import ndimage
from scipy.signal.windows import hann
from skimage.registration import phase_cross_correlation

# The spline keeps the fine detail that a cubic one dampens, and is still local.
_SPLINE_ORDER = 5


@dataclass(frozen=True)
class DriftCorrection:
    """The average of the frames of one tilt, and how the sample moved.

    Attributes
    ----------
    image : numpy.ndarray
        Average of the corrected frames, (nx, ny). Pixels that drift carried out of a frame are left out of the
        average; a pixel no frame saw is NaN.
    shifts : numpy.ndarray
        Where each frame shows the sample, in pixels relative to the mean frame, (n_frames, 2).
    drift_per_frame : numpy.ndarray
        Linear drift, pixels per frame, (2,): the slope of ``shifts``.
    residual : float
        Root mean square distance of ``shifts`` from that line, pixels.
    """

    image: np.ndarray
    shifts: np.ndarray
    drift_per_frame: np.ndarray
    residual: float

    def __repr__(self) -> str:
        x, y = self.drift_per_frame
        return (
            f"<DriftCorrection: {len(self.shifts)} frames, drift ({x:.2f}, {y:.2f}) pixels per frame, "
            f"residual {self.residual:.2f} pixels>"
        )


def frame_shifts(frames: np.ndarray, *, precision: float = 0.02) -> np.ndarray:
    """Shifts between frames of the same sample, from all pairs.

    Every pair is registered by cross-correlation; the shifts of the single frames are their least-squares
    solution, so that the noise of one frame does not carry over to the others.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n_frames, nx, ny).
    precision : float
        Of one registration, pixels.

    Returns
    -------
    numpy.ndarray
        Where each frame shows the sample, pixels, (n_frames, 2), of mean zero.

    Raises
    ------
    ValueError
        If ``frames`` is not a stack of finite images, or ``precision`` not between 0 and 1.

    Examples
    --------
    >>> image = np.zeros((32, 32))
    >>> image[14:18, 12:17] = 1
    >>> frame_shifts(np.stack([image, np.roll(image, 2, axis=0)])).round(1).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    frames = _checked_frames(frames)
    if not 0 < precision < 1:
        msg = f"precision is {precision} pixels; give a number between 0 and 1, such as 0.02."
        raise ValueError(msg)
    count = len(frames)
    window = np.multiply.outer(*(hann(n + 2)[1:-1] for n in frames.shape[1:]))
    prepared = [(frame - frame.mean()) * window for frame in frames]
    pairs = list(combinations(range(count), 2))
    measured = np.array(
        [
            phase_cross_correlation(
                prepared[second], prepared[first], upsample_factor=round(1 / precision), normalization=None
            )[0]
            for first, second in pairs
        ]
    ).reshape(-1, 2)
    # The last row fixes what differences cannot tell: the mean.
    design = np.zeros((len(pairs) + 1, count))
    for row, (first, second) in enumerate(pairs):
        design[row, first], design[row, second] = -1, 1
    design[-1] = 1
    return np.linalg.lstsq(design, np.vstack([measured, np.zeros(2)]), rcond=None)[0]


def correct_drift(frames: np.ndarray, *, slow_axis: int = 1, precision: float = 0.02) -> DriftCorrection:
    """Average of the frames of one tilt after shift and linear scan distortion are taken out.

    A scanned frame is recorded line by line along its slow axis. A sample that drifts by v pixels during one
    frame appears displaced by v t, with t counted in frames from the middle of the series to the moment at which
    that line was recorded. The shift of each frame is measured; v is their slope, and gives the shear and stretch
    inside the frames. All frames are mapped once, by a spline, to where the sample was at t = 0. The time of the
    fly-back between frames counts as zero [Yuan2022]_.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape (n_frames, nx, ny), in the order they were recorded.
    slow_axis : int
        Axis of the image along which the lines follow each other, 0 or 1.
    precision : float
        Of one registration, pixels.

    Returns
    -------
    DriftCorrection
        The averaged image, the shifts and the drift.

    Raises
    ------
    ValueError
        If ``frames`` is not a stack of finite images, ``slow_axis`` is not 0 or 1, or the drift in one frame is
        more than a quarter of the image.

    Examples
    --------
    >>> image = np.zeros((32, 32))
    >>> image[14:18, 12:17] = 1
    >>> correct_drift(np.stack([image, np.roll(image, 2, axis=0)])).drift_per_frame.round(1).tolist()
    [2.0, 0.0]
    """
    frames = _checked_frames(frames)
    if slow_axis not in (0, 1):
        msg = f"slow_axis is {slow_axis!r}; an image has the axes 0 (x) and 1 (y)."
        raise ValueError(msg)
    shifts = frame_shifts(frames, precision=precision)
    times = np.arange(len(frames)) - (len(frames) - 1) / 2
    drift = times @ shifts / (times @ times) if len(frames) > 1 else np.zeros(2)
    limit = min(frames.shape[1:]) / 4
    if np.abs(drift).max() > limit:
        msg = (
            f"the sample seems to drift by {np.abs(drift).max():.1f} pixels per frame, more than {limit:g}: "
            "no common part is left to average. Check that the frames show the same area."
        )
        raise ValueError(msg)
    mapped = np.stack(
        [_undistorted(frame, shift, drift, slow_axis) for frame, shift in zip(frames, shifts, strict=True)]
    )
    seen = np.isfinite(mapped)
    count = seen.sum(axis=0)
    total = np.where(seen, mapped, 0).sum(axis=0)
    image = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    residual = float(np.sqrt(np.mean(np.sum((shifts - np.outer(times, drift)) ** 2, axis=1))))
    return DriftCorrection(image, shifts, drift, residual)


def _undistorted(frame: np.ndarray, shift: np.ndarray, drift: np.ndarray, slow_axis: int) -> np.ndarray:
    """One frame as it would look had the sample stood still at time zero.

    A point p of the sample was recorded at p' = p + shift + drift (p'_slow - c) / n, where n lines make a frame
    and c is the middle one.
    """
    lines = frame.shape[slow_axis]
    middle = (lines - 1) / 2
    fast_axis = 1 - slow_axis
    stretch = 1 / (1 - drift[slow_axis] / lines)
    matrix, offset = np.eye(2), np.array(shift, dtype=float)
    matrix[slow_axis, slow_axis] = stretch
    offset[slow_axis] = (shift[slow_axis] - drift[slow_axis] * middle / lines) * stretch
    matrix[fast_axis, slow_axis] = drift[fast_axis] / lines * stretch
    offset[fast_axis] += drift[fast_axis] / lines * (offset[slow_axis] - middle)
    return ndimage.affine_transform(frame, matrix, offset, order=_SPLINE_ORDER, mode="constant", cval=np.nan)


def _checked_frames(frames: np.ndarray) -> np.ndarray:
    frames = np.asarray(frames, dtype=float)
    if frames.ndim != 3 or frames.shape[0] < 1:
        msg = f"frames has shape {frames.shape}; expected (n_frames, nx, ny)."
        raise ValueError(msg)
    if not np.isfinite(frames).all():
        msg = f"{np.count_nonzero(~np.isfinite(frames))} pixels of the frames are not finite; replace them first."
        raise ValueError(msg)
    return frames
