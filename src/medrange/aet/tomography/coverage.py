"""Which part of Fourier space a tilt series covers."""

from __future__ import annotations

import numpy as np

from medrange.aet.tomography.geometry import rotation_matrices
from medrange.aet.tomography.tilt_series import checked_angles


def slice_directions(angles: np.ndarray) -> np.ndarray:
    """Where the Fourier slices of projections cross the plane ky = 0.

    The slice of a projection is the plane through the origin whose normal is its beam, ``n = A z``; it meets ky = 0
    in a line along (n_z, 0, -n_x). For phi = psi = 0 this is (cos(theta), 0, -sin(theta)).

    Parameters
    ----------
    angles : numpy.ndarray
        Shape (n_tilts, 3), phi, theta, psi in degrees, or (n_tilts,), theta alone.

    Returns
    -------
    numpy.ndarray
        Shape (n_tilts,): angle of the line from kx towards kz, degrees, above -90 and at most 90.

    Raises
    ------
    ValueError
        If the angles are not such a table, or a beam is along y, so that its slice is the plane ky = 0 itself.

    Examples
    --------
    >>> slice_directions([-60, 15, 30])
    array([ 60., -15., -30.])
    """
    beam = rotation_matrices(checked_angles(angles))[:, :, 2]
    in_plane = np.hypot(beam[:, 0], beam[:, 2])
    if in_plane.min() < 1e-9:
        msg = f"the beam of tilt {int(in_plane.argmin())} is along y, the axis of the tilts; leave this one out."
        raise ValueError(msg)
    # A line has no sign. Beyond 90 degrees rounding must not tell whether it is +90 or -90.
    direction = np.degrees(np.arctan2(-beam[:, 0], beam[:, 2]))
    return 90 - np.mod(90 - direction, 180).round(9)


def missing_wedge(angles: np.ndarray) -> tuple[float, float]:
    """The largest gap between the Fourier slices of a tilt series, in the plane ky = 0.

    Features of a volume whose wave vector lies in it are not measured: the reconstruction is elongated along the
    bisector of the wedge, usually z. Tilts of -70 to 70 degrees leave 40 degrees.

    Parameters
    ----------
    angles : numpy.ndarray
        Shape (n_tilts, 3), phi, theta, psi in degrees, or (n_tilts,), theta alone.

    Returns
    -------
    tuple of float
        First and last direction of the wedge, from kx towards kz, degrees; their difference is its angle. The opposite
        wedge, 180 degrees further, is missing as well.

    Raises
    ------
    ValueError
        As of :func:`slice_directions`.

    Examples
    --------
    >>> missing_wedge([-70, -35, 0, 35, 70])
    (70.0, 110.0)
    """
    directions = np.sort(slice_directions(angles))
    ends = np.append(directions[1:], directions[0] + 180)
    largest = int((ends - directions).argmax())
    return float(directions[largest]), float(ends[largest])
