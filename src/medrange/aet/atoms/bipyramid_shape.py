"""Shape of bipyramids: bond ratios, tilt, angles between bonds and between neighbors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medrange.aet.atoms.motif_search import MOTIF_NAMES, Motifs, check_bipyramid
from medrange.aet.atoms.network_length import displacements
from medrange.aet.atoms.saving import save_result
from medrange.aet.atoms.sharing import EDGE_SHARING, common_tetrahedra

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class MotifGeometry:
    """Shape of each bipyramid of one kind.

    Attributes
    ----------
    corners : numpy.ndarray
        Shape (n, fold + 2, 3), angstrom: positions of the caps A and B and of the ring, put together across
        periodic borders, with A at the origin.
    alpha : numpy.ndarray
        Shape (n,), angstrom: distance of the caps.
    beta : numpy.ndarray
        Shape (n, 2 fold), angstrom: distances of cap and ring atoms, first those of A.
    gamma : numpy.ndarray
        Shape (n, fold), angstrom: distances of neighbors in the ring.
    theta : numpy.ndarray
        Shape (n,), degrees, 0 .. 90: angle of AB to the normal of the plane through the ring (least squares).
    pairs : numpy.ndarray
        Shape (pairs, 2), int64: bipyramids that share an edge of their skeletons and have a cap in common.
    phi : numpy.ndarray
        Shape (pairs,), degrees: dihedral angle between the two skeletons of a pair.
    fold : int
        Tetrahedra of a bipyramid.
    motifs : Motifs
        The motifs.
    """

    corners: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    gamma: np.ndarray
    theta: np.ndarray
    pairs: np.ndarray
    phi: np.ndarray
    fold: int
    motifs: Motifs

    @property
    def alpha_gamma(self) -> np.ndarray:
        """Ratio of alpha and the mean gamma of the same bipyramid; shape (n,)."""
        return self.alpha / self.gamma.mean(axis=1)

    @property
    def beta_gamma(self) -> np.ndarray:
        """Ratio of the mean beta and the mean gamma of the same bipyramid; shape (n,)."""
        return self.beta.mean(axis=1) / self.gamma.mean(axis=1)

    @cached_property
    def bond_angles(self) -> np.ndarray:
        """Angles between the bonds (alpha, beta, gamma) that meet in an atom, all atoms of a bipyramid.

        Shape (n, fold (fold + 1) + 6 fold), degrees: at A, at B, at each atom of the ring.
        """
        ring = range(2, self.fold + 2)
        bonded = {0: [1, *ring], 1: [0, *ring]}
        for k in range(self.fold):
            bonded[2 + k] = [0, 1, 2 + (k - 1) % self.fold, 2 + (k + 1) % self.fold]
        ends = [(a, center, b) for center, others in bonded.items() for a, b in combinations(others, 2)]
        a, center, b = np.array(ends).T
        return _angles(self.corners[:, a] - self.corners[:, center], self.corners[:, b] - self.corners[:, center])

    @property
    def table(self) -> pd.DataFrame:
        """One row per bipyramid: alpha, beta, gamma (means, angstrom), alpha_gamma, beta_gamma, theta (degrees)."""
        import pandas as pd

        lengths = {"alpha": self.alpha, "beta": self.beta.mean(axis=1), "gamma": self.gamma.mean(axis=1)}
        ratios = {"alpha_gamma": self.alpha_gamma, "beta_gamma": self.beta_gamma}
        return pd.DataFrame({**lengths, **ratios, "theta": self.theta})

    def save(self, path: str | PathLike) -> Path:
        """Write the table as .csv, or all distances and angles as .npz.

        Parameters
        ----------
        path : path
            The suffix says which; see :func:`~medrange.aet.atoms.saving.save_result`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        names = ("alpha", "beta", "gamma", "theta", "pairs", "phi", "bond_angles")
        arrays = {name: getattr(self, name) for name in names} | {"atoms": self.motifs.atoms(self.fold)}
        parameters = {"fold": self.fold, **self.motifs.tetrahedra.parameters}
        return save_result(path, table=self.table, arrays=arrays, parameters=parameters)

    def plot(self, *, axes: Sequence[Axes] | None = None) -> np.ndarray:
        """Draw bond ratios and angles; see :func:`medrange.plotting.plot_motif_geometry`."""
        from medrange.plotting.motifs import plot_motif_geometry

        return plot_motif_geometry(self, axes=axes)

    def __repr__(self) -> str:
        text = f"<MotifGeometry, {len(self.alpha)} {MOTIF_NAMES[self.fold]} bipyramids"
        if not len(self.alpha):
            return f"{text}>"
        text += f", alpha/gamma {self.alpha_gamma.mean():.3f}, beta/gamma {self.beta_gamma.mean():.3f}"
        text += f", theta {self.theta.mean():.1f}°"
        return f"{text}, phi {self.phi.mean():.1f}° of {len(self.phi)} pairs>" if len(self.phi) else f"{text}>"


def motif_geometry(motifs: Motifs, fold: int = 5) -> MotifGeometry:
    """Bond lengths, tilt and dihedral angles of bipyramids, after Fig. 4 and 5 of [Yuan2022]_ in references.bib.

    With caps A and B and n atoms in the ring: alpha their distance, beta the 2 n distances of cap and ring, gamma the n
    distances along the ring. theta is the angle of AB and the normal of the plane that fits the ring best. The
    skeleton of a bipyramid joins the incenters of its tetrahedra; for two bipyramids that share an edge of their
    skeletons, phi = 180 degrees less the angle of the normals of the skeletons' planes, both pointing away from the
    common cap. In the ideal pentagonal bipyramid, beta = gamma, alpha/gamma = 1.0515 and theta = 0; in the icosahedron
    phi = 116.57 degrees. The definitions of theta and phi are inferred from the text of the paper.

    Parameters
    ----------
    motifs : Motifs
        From :func:`~medrange.aet.atoms.motif_search.motifs`; ``motifs.select`` for the amorphous part.
    fold : int
        Tetrahedra of a bipyramid, 4 .. 8.

    Returns
    -------
    MotifGeometry
        One row per bipyramid.

    Raises
    ------
    ValueError
        If the fold is not that of a bipyramid.

    Examples
    --------
    >>> from ase.cluster import Icosahedron
    >>> from medrange.aet.atoms import motifs, tetrahedra
    >>> motif_geometry(motifs(tetrahedra(Icosahedron("Ta", 2, 4.0), max_edge=3.5)))
    <MotifGeometry, 12 pentagonal bipyramids, alpha/gamma 0.951, beta/gamma 0.976, theta 0.0°, phi 116.6° of 30 pairs>
    """
    check_bipyramid(fold)
    atoms = motifs.atoms(fold)
    corners = displacements(motifs.model, atoms[:, :1], atoms)
    axis, ring = corners[:, 1], corners[:, 2:]
    tilt = _angles(axis, _plane_normals(ring))
    pairs, phi = _dihedral_angles(motifs, fold, corners)
    return MotifGeometry(
        corners=corners,
        alpha=np.linalg.norm(axis, axis=1),
        beta=np.concatenate([np.linalg.norm(ring - corners[:, [k]], axis=2) for k in (0, 1)], axis=1),
        gamma=np.linalg.norm(np.roll(ring, -1, axis=1) - ring, axis=2),
        theta=np.minimum(tilt, 180 - tilt),
        pairs=pairs,
        phi=phi,
        fold=fold,
        motifs=motifs,
    )


def _dihedral_angles(motifs: Motifs, fold: int, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edge-sharing pairs with a common cap, and their phi in degrees."""
    skeletons = incenters(corners)
    normals, middles = _plane_normals(skeletons), skeletons.mean(axis=1)
    pairs, common = common_tetrahedra(motifs, fold)
    pairs = pairs[common == EDGE_SHARING]
    caps = motifs.caps[fold][pairs]
    same = caps[:, 0, :, None] == caps[:, 1, None, :]
    # Two that shared both caps would be one ring; without a common cap there is no angle.
    one = same.sum(axis=(1, 2)) == 1
    pairs, same = pairs[one], same[one]
    outward = []
    for side, place in ((0, same.any(axis=2).argmax(axis=1)), (1, same.any(axis=1).argmax(axis=1))):
        rows = pairs[:, side]
        away = middles[rows] - corners[rows, place]
        sign = np.where((normals[rows] * away).sum(axis=1) < 0, -1.0, 1.0)
        outward.append(normals[rows] * sign[:, None])
    return pairs, 180 - _angles(*outward)


def incenters(corners: np.ndarray) -> np.ndarray:
    """Incenters of the tetrahedra around the axis of a bipyramid: the points of its skeleton.

    Parameters
    ----------
    corners : numpy.ndarray
        Shape (n, fold + 2, 3): caps A and B, then the ring in order.

    Returns
    -------
    numpy.ndarray
        Shape (n, fold, 3), of the tetrahedra (A, B, ring k, ring k + 1), in the unit of ``corners``.
    """
    ring = corners[:, 2:]
    following = np.roll(ring, -1, axis=1)
    a, b = (np.broadcast_to(corners[:, [k]], ring.shape) for k in (0, 1))
    points = (a, b, ring, following)
    total, weighted = 0.0, 0.0
    for k in range(4):
        p, q, r = (points[m] for m in range(4) if m != k)
        # Each corner weighs as much as the face opposite to it.
        area = np.linalg.norm(np.cross(q - p, r - p), axis=-1, keepdims=True)
        total, weighted = total + area, weighted + area * points[k]
    return weighted / total


def _plane_normals(points: np.ndarray) -> np.ndarray:
    """Unit normal of the plane that fits each set of points best; shape (n, 3)."""
    if not len(points):
        return np.zeros((0, 3))
    centered = points - points.mean(axis=1, keepdims=True)
    return np.linalg.eigh(np.swapaxes(centered, 1, 2) @ centered)[1][:, :, 0]


def _angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle of vectors along the last axis, degrees; exact also where they are parallel."""
    cross = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.degrees(np.arctan2(cross, (a * b).sum(axis=-1)))
