"""Kinematic ring intensity of an isolated cluster: which symmetry order it really shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import j1

from medrange.simulate.clusters import Cluster, cluster_positions
from medrange.simulate.diffraction import Probe, scattering_factor

_N_PHI, _N_K = 180, 9


def kinematic_ring(
    positions: np.ndarray, *, probe: Probe, k: float = 4.0, width: float = 0.8, atomic_number: float = 40
) -> np.ndarray:
    """Kinematic intensity on a ring, with the probe on the mean position of the atoms.

    ``I(phi) = < |sum_j f(k) psi(r_j) exp(-2 pi i k . r_j)|^2 >`` over the band, psi the amplitude of the
    probe ``J1(2 pi a r) / r`` with aperture radius a. Flat Ewald sphere.

    Parameters
    ----------
    positions : ndarray
        Atoms (n_atoms, 3) in angstrom, z along the beam.
    probe : Probe
        Illumination.
    k, width : float
        Center and full width of the band in 1/nm.
    atomic_number : float
        Z of the atoms.

    Returns
    -------
    ndarray
        Intensity (180,) in square angstrom (relative) at phi = 0, 2, ... 358 degrees from +kx towards +ky.

    Raises
    ------
    ValueError
        If the positions are not (n_atoms, 3).

    Examples
    --------
    >>> kinematic_ring(np.zeros((1, 3)), probe=Probe(300, 1.15)).shape
    (180,)
    """
    positions = np.asarray(positions, float)
    if positions.ndim != 2 or positions.shape[1] != 3 or len(positions) == 0:
        msg = f"positions have shape {positions.shape}; give (n_atoms, 3) with at least one atom."
        raise ValueError(msg)
    offset = positions[:, :2] - positions[:, :2].mean(axis=0)
    reach = np.maximum(2 * np.pi * probe.aperture * np.hypot(*offset.T), 1e-9)
    amplitude = 2 * j1(reach) / reach
    phi = 2 * np.pi * np.arange(_N_PHI) / _N_PHI
    ring = np.zeros(_N_PHI)
    for radius in (k + width * (np.arange(_N_K) / (_N_K - 1) - 0.5)) / 10:
        direction = radius * np.stack((np.cos(phi), np.sin(phi)))
        waves = np.exp(-2j * np.pi * (offset @ direction))
        ring += np.abs(scattering_factor(atomic_number, radius) * (amplitude @ waves)) ** 2 / _N_K
    return ring


def kinematic_order(
    positions: np.ndarray, *, probe: Probe, k: float = 4.0, width: float = 0.8, atomic_number: float = 40
) -> int:
    """Order n >= 1 with the largest ``P_n = 2 |F_n|^2 / |F_0|^2`` of :func:`kinematic_ring`.

    Parameters and errors are those of :func:`kinematic_ring`.

    Examples
    --------
    >>> cluster = Cluster("bcc<111>", (0.0, 0.0, 0.0), 18.0)
    >>> kinematic_order(cluster_positions(cluster), probe=Probe(300, 1.15))
    6
    """
    ring = kinematic_ring(positions, probe=probe, k=k, width=width, atomic_number=atomic_number)
    return int(np.argmax(np.abs(np.fft.rfft(ring))[1 : _N_PHI // 2])) + 1


def truth_table(
    clusters: Sequence[Cluster], *, probe: Probe, scan_origin: tuple[float, float] = (0.0, 0.0)
) -> pd.DataFrame:
    """Table of planted clusters in scan coordinates.

    Parameters
    ----------
    clusters : sequence of Cluster
        Planted clusters, in the order of ``atoms.arrays["cluster"]``.
    probe : Probe
        Illumination, for the kinematic order.
    scan_origin : tuple of float
        Model coordinates (y, x) of scan position (0, 0) in nm, as given to ``simulate_scan``.

    Returns
    -------
    pandas.DataFrame
        One row per cluster: id, kind, n (order of the kind), kinematic_n (order of its own pattern), y_nm,
        x_nm (center; scan position (i, j) is at (i * step, j * step)), z_nm, diameter_nm, in_plane_angle_deg.

    Examples
    --------
    >>> table = truth_table([Cluster("bcc<100>", (30.0, 20.0, 25.0), 18.0)], probe=Probe(300, 1.15))
    >>> table[["n", "kinematic_n", "y_nm"]].values.tolist()
    [[4.0, 4.0, 2.0]]
    """
    rows = [
        {
            "id": index,
            "kind": cluster.kind,
            "n": cluster.n,
            "kinematic_n": kinematic_order(cluster_positions(cluster), probe=probe, k=10 / cluster.spacing),
            "y_nm": round(cluster.position[1] / 10 - scan_origin[0], 6),
            "x_nm": round(cluster.position[0] / 10 - scan_origin[1], 6),
            "z_nm": round(cluster.position[2] / 10, 6),
            "diameter_nm": cluster.diameter / 10,
            "in_plane_angle_deg": cluster.in_plane_angle_deg,
        }
        for index, cluster in enumerate(clusters)
    ]
    return pd.DataFrame(rows)
