"""Ordered clusters whose symmetry at the first diffraction ring is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_SQRT2, _SQRT3 = np.sqrt(2.0), np.sqrt(3.0)
#: Rows are the lattice directions along the model's x, y and z (the beam). x is a {110} normal of the bcc
#: lattice, so that an unrotated cluster diffracts along +kx.
_BCC_AXES = {
    "bcc<110>": ((1 / _SQRT2, -1 / _SQRT2, 0.0), (0.0, 0.0, -1.0), (1 / _SQRT2, 1 / _SQRT2, 0.0)),
    "bcc<100>": ((1 / _SQRT2, 1 / _SQRT2, 0.0), (-1 / _SQRT2, 1 / _SQRT2, 0.0), (0.0, 0.0, 1.0)),
    "bcc<111>": (
        (1 / _SQRT2, -1 / _SQRT2, 0.0),
        (1 / (_SQRT2 * _SQRT3), 1 / (_SQRT2 * _SQRT3), -2 / (_SQRT2 * _SQRT3)),
        (1 / _SQRT3, 1 / _SQRT3, 1 / _SQRT3),
    ),
}

#: Period along the beam and closest approach of the decagonal packing, in units of the spacing.
_DECAGONAL_PERIOD, _DECAGONAL_CORE = 1.12, 1.08

#: Symmetry order n of each kind at the ring k = 1/spacing: the number of reflections on that ring.
CLUSTER_ORDERS = {"bcc<110>": 2, "bcc<100>": 4, "bcc<111>": 6, "decagonal": 10}


@dataclass(frozen=True)
class Cluster:
    """One ordered cluster: a sphere cut from a perfect structure and seen down a symmetry axis.

    Parameters
    ----------
    kind : str
        A key of ``CLUSTER_ORDERS``. ``bcc<110>`` has one pair of {110} reflections on the ring (n = 2),
        ``bcc<100>`` two pairs (n = 4), ``bcc<111>`` three (n = 6). ``decagonal`` packs atoms on the maxima of
        five plane waves, with a 10_5 screw axis along the beam: the density-wave picture of a quasicrystal,
        see [Levine1984]_ in references.bib; its five pairs give n = 10.
    position : tuple of float
        Center (x, y, z) in angstrom; x runs along scan columns, y along scan rows (down), z along the beam.
    diameter : float
        Diameter of the sphere in angstrom.
    in_plane_angle_deg : float
        Azimuth of a ring reflection, from +kx towards +ky, in degrees.
    spacing : float
        Spacing d of the planes that diffract on the ring at k = 1/d, in angstrom.

    Raises
    ------
    ValueError
        If the kind is unknown, or the diameter or the spacing is not positive.

    Examples
    --------
    >>> Cluster("bcc<100>", (20.0, 20.0, 25.0), 18.0).n
    4
    """

    kind: str
    position: tuple[float, float, float]
    diameter: float
    in_plane_angle_deg: float = 0.0
    spacing: float = 2.5

    def __post_init__(self) -> None:
        if self.kind not in CLUSTER_ORDERS:
            msg = f"unknown cluster kind {self.kind!r}; choose one of {', '.join(CLUSTER_ORDERS)}."
            raise ValueError(msg)
        for name in ("diameter", "spacing"):
            if not getattr(self, name) > 0:
                msg = f"{name} is {getattr(self, name)!r} angstrom; it must be positive."
                raise ValueError(msg)

    @property
    def n(self) -> int:
        """Symmetry order of the kind: the number of reflections on the ring k = 1/spacing."""
        return CLUSTER_ORDERS[self.kind]


def cluster_positions(cluster: Cluster) -> np.ndarray:
    """Atom positions of a cluster.

    Parameters
    ----------
    cluster : Cluster
        Kind, center, diameter, in-plane angle and plane spacing.

    Returns
    -------
    ndarray
        Positions (n_atoms, 3) as (x, y, z) in angstrom; one atom sits at the center.

    Examples
    --------
    >>> cluster_positions(Cluster("bcc<100>", (0.0, 0.0, 0.0), 8.0)).shape
    (15, 3)
    """
    radius = cluster.diameter / 2
    build = _decagonal if cluster.kind == "decagonal" else _bcc
    points = build(cluster, radius)
    # The margin keeps atoms that lie on the surface but for rounding.
    points = points[np.sum(points**2, axis=1) <= radius**2 + 1e-6]
    angle = np.deg2rad(cluster.in_plane_angle_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = points.T
    return np.column_stack((cos * x - sin * y, sin * x + cos * y, z)) + np.asarray(cluster.position, float)


def _bcc(cluster: Cluster, radius: float) -> np.ndarray:
    lattice = _SQRT2 * cluster.spacing
    count = int(np.ceil(radius / lattice)) + 1
    steps = np.arange(-count, count + 1)
    corners = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    cubic = lattice * np.concatenate((corners, corners + 0.5))
    axes = _BCC_AXES[cluster.kind]
    # Written out rather than as a matrix product: the same bits on every linear-algebra library.
    return np.column_stack([cubic[:, 0] * u + cubic[:, 1] * v + cubic[:, 2] * w for u, v, w in axes])


@lru_cache(maxsize=16)
def _decagonal_layers(spacing: float, radius: float) -> np.ndarray:
    """Sites (n, 3) of one period: maxima of five plane waves, taken in order of height while no two overlap.

    A site at (r, phi) brings the other nine of the screw axis 10_5: a turn of 36 degrees and half a period
    up.
    """
    length, core = _DECAGONAL_PERIOD * spacing, _DECAGONAL_CORE * spacing
    r, phi = (
        grid.ravel()
        for grid in np.meshgrid(
            spacing / 25 * np.arange(1, int(25 * radius / spacing) + 1),
            np.deg2rad(np.arange(36)),
            indexing="ij",
        )
    )
    stars = 2 * np.pi / 5 * np.arange(5)[:, None]
    height = np.cos(2 * np.pi / spacing * r * np.cos(phi - stars)).sum(axis=0).round(6)
    turn = np.arange(10)
    sites = np.zeros((1, 3))
    for index in np.lexsort((phi, r, -height)):
        if height[index] < 0:
            break
        angles = phi[index] + turn * np.pi / 5
        orbit = np.column_stack((r[index] * np.cos(angles), r[index] * np.sin(angles), turn % 2 * length / 2))
        trial = np.concatenate((sites, orbit))
        offset = orbit[:, None] - trial[None]
        offset[..., 2] -= length * np.round(offset[..., 2] / length)
        distance = np.sqrt(np.sum(offset**2, axis=-1))
        distance[turn, len(sites) + turn] = length
        if distance.min() >= core:
            sites = trial
    return sites


def _decagonal(cluster: Cluster, radius: float) -> np.ndarray:
    """Decagonal stacking, periodic along the beam; reflections every 36 degrees from +kx on."""
    sites = _decagonal_layers(cluster.spacing, radius)
    length = _DECAGONAL_PERIOD * cluster.spacing
    count = int(np.ceil(radius / length))
    return np.concatenate([sites + np.array([0.0, 0.0, length * layer]) for layer in range(-count, count + 1)])
