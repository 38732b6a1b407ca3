"""Networks of bipyramids as points, lines and triangles, for three-dimensional viewers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medrange.aet.atoms.sharing import EDGE_SHARING, common_tetrahedra

if TYPE_CHECKING:
    from medrange.aet.atoms.networks import MotifNetworks

#: Kinds of points and of cells in the mesh.
CENTER, CAP, RING = 0, 1, 2
VERTEX, LINK, FACE = 0, 1, 2


def network_mesh(networks: MotifNetworks) -> dict[str, Any]:
    """Centers of the bipyramids, lines between linked ones, and their outer faces.

    Every bipyramid has its own points: its center, the mean of its skeleton, then its caps and its ring. Across
    periodic borders networks are put together as in :meth:`MotifNetworks.corners`; of one that hangs together with
    its own image the lines that cross a border are left out.

    Parameters
    ----------
    networks : MotifNetworks
        The networks.

    Returns
    -------
    dict
        Keywords of :func:`medrange.formats.vtk.write_polydata`. ``points`` in angstrom. Per point: ``network``;
        ``kind``, 0 center, 1 cap, 2 ring; ``atom``, its index, and ``atomic_number``, -1 and 0 for a center. Per
        cell: ``network``; ``size``, its bipyramids; ``kind``, 0 center, 1 line of a link, 2 face.

    Examples
    --------
    >>> from ase.cluster import Icosahedron
    >>> from medrange.aet.atoms import motif_networks, motifs, tetrahedra
    >>> mesh = network_mesh(motif_networks(motifs(tetrahedra(Icosahedron("Ta", 2, 4.0), max_edge=3.5))))
    >>> len(mesh["vertices"]), len(mesh["lines"]), len(mesh["polygons"])
    (12, 30, 120)
    """
    fold, model = networks.fold, networks.motifs.model
    members = np.concatenate([np.zeros(0, int), *networks.members])
    network = np.repeat(np.arange(len(networks)), networks.sizes)
    whole = [np.zeros((0, fold + 2, 3)), *(networks.corners(k) for k in range(len(networks)))]
    middle = [np.zeros((0, 3)), *(networks.skeletons(k).mean(axis=1) for k in range(len(networks)))]
    corners, centers, count = np.concatenate(whole), np.concatenate(middle), len(members)
    # Place of each corner among the points: the centers come first.
    place = count + np.arange(count * (fold + 2)).reshape(count, fold + 2)
    ring = place[:, 2:]
    faces = [np.stack([place[:, [cap] * fold], ring, np.roll(ring, -1, axis=1)], axis=-1) for cap in (0, 1)]
    faces = np.concatenate(faces, axis=1).reshape(-1, 3)
    links = _links(networks, members, centers)
    atoms = networks.motifs.atoms(fold)[members].ravel()
    numbers = model.to_ase().numbers[atoms]
    kinds = np.tile([CAP] * 2 + [RING] * fold, count)
    of_cell = np.concatenate([network, network[links[:, 0]], np.repeat(network, 2 * fold)])
    return {
        "points": np.concatenate([centers, corners.reshape(-1, 3)]),
        "vertices": np.arange(count),
        "lines": links,
        "polygons": faces,
        "point_data": {
            "network": np.append(network, np.repeat(network, fold + 2)),
            "kind": np.append(np.full(count, CENTER), kinds),
            "atom": np.append(np.full(count, -1), atoms),
            "atomic_number": np.append(np.zeros(count, int), numbers),
        },
        "cell_data": {
            "network": of_cell,
            "size": networks.sizes[of_cell],
            "kind": np.repeat([VERTEX, LINK, FACE], [count, len(links), len(faces)]),
        },
    }


def _links(networks: MotifNetworks, members: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Pairs (links, 2) of bipyramids, as places among ``members``, that share an edge of their skeletons."""
    pairs, common = common_tetrahedra(networks.motifs, networks.fold)
    place = np.full(len(networks.motifs.of_fold(networks.fold)), -1)
    place[members] = np.arange(len(members))
    links = place[pairs[common == EDGE_SHARING]].reshape(-1, 2)
    links = links[(links >= 0).all(axis=1)]
    model = networks.motifs.model
    if model.pbc.any():
        steps = (centers[links[:, 1]] - centers[links[:, 0]]) @ np.linalg.inv(model.cell)
        links = links[~((np.round(steps) != 0) & model.pbc).any(axis=1)]
    return links
