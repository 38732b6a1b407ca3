import re

import numpy as np
import pytest
from ase import Atoms
from ase.cluster import Icosahedron

from medrange.aet.atoms import motif_networks, motifs, tetrahedra
from medrange.aet.atoms.network_mesh import network_mesh
from medrange.aet.tomography.reconstruction import Reconstruction
from medrange.formats import write_image_data, write_polydata


def read_vtk(path):
    """Description and arrays of a file, by its own reading of the format: {section: {name: array}}."""
    head, _, rest = path.read_bytes().partition(b'<AppendedData encoding="raw">\n_')
    text, found = head.decode(), {}
    for section in ("Points", "Verts", "Lines", "Polys", "PointData", "CellData"):
        match = re.search(rf"<{section}[^>/]*>(.*?)</{section}>", text, re.S)
        found[section] = {}
        for element in re.findall(r"<DataArray[^>]*>", match[1] if match else ""):
            keys = dict(re.findall(r'(\w+)="([^"]*)"', element))
            start = int(keys["offset"])
            size = int.from_bytes(rest[start : start + 8], "little")
            kind = np.dtype(keys["type"].lower()).newbyteorder("<")
            values = np.frombuffer(rest[start + 8 : start + 8 + size], kind)
            width = int(keys["NumberOfComponents"])
            found[section][keys["Name"]] = values.reshape(-1, width) if width > 1 else values
    return text, found


def test_polydata(tmp_path):
    points = np.random.default_rng(0).random((5, 3))
    lines, polygons = np.array([[0, 1], [1, 2]]), np.array([[0, 1, 2], [2, 3, 4]])
    given = {"q": np.arange(5.0), "v": points * 2}
    path = write_polydata(
        tmp_path / "new" / "a.vtp",
        points,
        vertices=np.array([4]),
        lines=lines,
        polygons=polygons,
        point_data=given,
        cell_data={"on": np.array([True, False, True, False, True])},
    )
    text, found = read_vtk(path)
    counts = 'NumberOfPoints="5" NumberOfVerts="1" NumberOfLines="2" NumberOfPolys="2"'
    assert counts in text
    np.testing.assert_array_equal(found["Points"]["Points"], points)
    np.testing.assert_array_equal(found["Polys"]["connectivity"].reshape(-1, 3), polygons)
    np.testing.assert_array_equal(found["Lines"]["connectivity"].reshape(-1, 2), lines)
    assert found["Verts"]["connectivity"].tolist() == [4]
    assert found["Polys"]["offsets"].tolist() == [3, 6]
    for name, values in given.items():
        np.testing.assert_array_equal(found["PointData"][name], values)
    assert found["CellData"]["on"].tolist() == [1, 0, 1, 0, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">i2", np.uint8])
def test_image_data(tmp_path, dtype):
    volume = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = write_image_data(tmp_path / "a.vti", volume, spacing=(0.5, 1.0, 2.0), origin=(-1, 0, 1), name="rho & more")
    text, found = read_vtk(path)
    assert 'WholeExtent="0 1 0 2 0 3" Origin="-1.0 0.0 1.0" Spacing="0.5 1.0 2.0"' in text
    values = found["PointData"]["rho &amp; more"]
    # Point (i, j, k) is value i + 2 j + 6 k.
    np.testing.assert_array_equal(values.reshape(4, 3, 2).transpose(2, 1, 0), volume)


def test_refused(tmp_path):
    points = np.eye(3)
    with pytest.raises(ValueError, match=r"ending must be \.vtp"):
        write_polydata(tmp_path / "a.vtk", points)
    with pytest.raises(ValueError, match=r"points have shape \(3, 2\)"):
        write_polydata(tmp_path / "a.vtp", points[:, :2])
    with pytest.raises(ValueError, match=r"Lines name the points 0 \.\. 3; there are 3"):
        write_polydata(tmp_path / "a.vtp", points, lines=np.array([[0, 3]]))
    with pytest.raises(ValueError, match="indices of points"):
        write_polydata(tmp_path / "a.vtp", points, polygons=points)
    with pytest.raises(ValueError, match="point data 'q' have shape"):
        write_polydata(tmp_path / "a.vtp", points, point_data={"q": np.ones(2)})
    with pytest.raises(ValueError, match="'q' has type complex128"):
        write_polydata(tmp_path / "a.vtp", points, point_data={"q": np.ones(3) * 1j})
    with pytest.raises(ValueError, match="positive lengths"):
        write_image_data(tmp_path / "a.vti", np.ones((2, 2, 2)), spacing=0)
    with pytest.raises(ValueError, match=r"ending must be \.vti"):
        write_image_data(tmp_path / "a.tif", np.ones((2, 2, 2)))


@pytest.fixture(scope="module")
def pair():
    """Networks of two icosahedra of tantalum and zirconium, 14 angstrom apart."""
    one = Icosahedron("Ta", 2, 4.0)
    two = Icosahedron("Zr", 2, 4.0)
    two.positions += (14.0, 0, 0)
    return motif_networks(motifs(tetrahedra(one + two, max_edge=3.5)))


def test_mesh_of_icosahedra(pair, tmp_path):
    text, found = read_vtk(pair.save(tmp_path / "networks.vtp"))
    # Of each icosahedron: 12 bipyramids, whose skeletons are the faces of a dodecahedron with 30 edges.
    assert 'NumberOfVerts="24" NumberOfLines="60" NumberOfPolys="240"' in text
    points, data, cells = found["Points"]["Points"], found["PointData"], found["CellData"]
    positions, numbers = pair.motifs.model.positions, pair.motifs.model.to_ase().numbers
    of_atom = data["atom"] >= 0
    np.testing.assert_allclose(points[of_atom], positions[data["atom"][of_atom]])
    np.testing.assert_array_equal(data["atomic_number"][of_atom], numbers[data["atom"][of_atom]])
    assert np.bincount(data["kind"]).tolist() == [24, 48, 120]
    assert np.bincount(cells["kind"]).tolist() == [24, 60, 240]
    assert set(cells["size"].tolist()) == {12}
    middle = np.array([positions[:13].mean(axis=0), positions[13:].mean(axis=0)])
    # Centers lie on a sphere around the middle of their icosahedron, neighbors all at the same distance.
    network = data["network"][:24]
    by_atom = data["atom"][24:].reshape(24, 7)[:, 0] >= 13
    radius = np.linalg.norm(points[:24] - middle[by_atom.astype(int)], axis=1)
    assert np.ptp(radius) < 1e-6
    assert radius[0] > 1
    links = found["Lines"]["connectivity"].reshape(-1, 2)
    assert np.ptp(np.linalg.norm(np.diff(points[links], axis=1), axis=-1)) < 1e-6
    assert (network[links[:, 0]] == network[links[:, 1]]).all()
    np.testing.assert_array_equal(cells["network"][24:84], network[links[:, 0]])
    # Faces join a cap and two neighbors in the ring.
    faces = found["Polys"]["connectivity"].reshape(-1, 3)
    assert (np.sort(data["kind"][faces], axis=1) == [1, 2, 2]).all()
    assert (np.linalg.norm(np.diff(points[faces], axis=1), axis=-1) < 3.5).all()


def test_mesh_across_a_periodic_border():
    cluster = Icosahedron("Ta", 2, 4.0)
    inside = Atoms(cluster.symbols, cluster.positions - cluster.positions.mean(axis=0) + 10, cell=[20] * 3, pbc=True)
    across = inside.copy()
    across.positions += (10.0, 10.0, 0)
    across.wrap()
    meshes = [network_mesh(motif_networks(motifs(tetrahedra(own, max_edge=3.5)))) for own in (inside, across)]
    lengths = [
        np.sort(np.linalg.norm(np.diff(m["points"][m["lines"]], axis=1).ravel().reshape(-1, 3), axis=1)) for m in meshes
    ]
    assert len(lengths[1]) == 30
    np.testing.assert_allclose(lengths[1], lengths[0], atol=1e-9)


def test_mesh_of_no_networks(pair, tmp_path):
    none = motif_networks(pair.motifs, fold=6)
    text, found = read_vtk(none.save(tmp_path / "none.vtp"))
    assert 'NumberOfPoints="0"' in text
    assert found["Points"]["Points"].shape == (0, 3)


def test_volume_of_a_reconstruction(tmp_path):
    volume = np.random.default_rng(0).random((4, 5, 7), dtype=np.float32)
    text, found = read_vtk(Reconstruction(volume, 0.35, [], []).save(tmp_path / "a.vti"))
    # Voxel n // 2 is the center of the volume.
    assert 'Origin="-0.7 -0.7 -1.0499999999999998" Spacing="0.35 0.35 0.35"' in text
    np.testing.assert_array_equal(found["PointData"]["intensity"].reshape(7, 5, 4).transpose(2, 1, 0), volume)
