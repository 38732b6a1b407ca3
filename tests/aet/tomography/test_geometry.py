import numpy as np
import pytest

from medrange.aet.tomography.geometry import central, extended_shape, padded_shape, rotation_matrices, wrapped


def test_rotations_are_right_handed_and_in_the_order_of_the_field():
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    about_z, about_y, about_x = rotation_matrices([[20, 0, 0], [0, 20, 0], [0, 0, 20]])
    assert about_z == pytest.approx(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]))
    assert about_y == pytest.approx(np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]))
    assert about_x == pytest.approx(np.array([[1, 0, 0], [0, c, -s], [0, s, c]]))
    phi, theta, psi = (rotation_matrices(a) for a in ([7, 0, 0], [0, -33, 0], [0, 0, 4]))
    assert rotation_matrices([7, -33, 4]) == pytest.approx(phi @ theta @ psi)


def test_padded_sizes_round_halves_up():
    assert padded_shape((61, 61, 61), (1.5, 3, 3)) == (92, 183, 183)
    assert padded_shape((437, 61, 61), (1.5, 3, 3)) == (656, 183, 183)
    assert padded_shape((543, 59, 131), (1.5, 3, 3)) == (815, 177, 393)


def test_extended_size_of_the_film_example():
    assert extended_shape((61, 61), 61, [[0, 74.29897, 0], [0, 66.4, 0]]) == (437, 61, 61)


@pytest.mark.data
def test_extended_size_of_the_published_windows(data_folder):
    angles = np.load(data_folder / "ta_film/tomography_subarea65.npz")["angles"]
    assert extended_shape((131, 57), 131, angles) == (543, 59, 131)


def test_extended_object_holds_every_ray():
    # A ray through the corner of the image at 60 degrees leaves a film of 2h + 1 planes at (h_x + h sin 60) / cos 60.
    x, y, z = extended_shape((41, 31), 21, [[0, 60, 0], [0, -60, 0]])
    assert (y, z) == (31, 21)
    reach = (20 + 10 * np.sin(np.pi / 3)) / np.cos(np.pi / 3)
    assert x == np.ceil(2 * reach + 1)
    # At zero tilt nothing is added to odd sizes.
    assert extended_shape((41, 31), 21, [[0, 0, 0]]) == (41, 31, 21)


def test_a_film_seen_edge_on_is_refused():
    with pytest.raises(ValueError, match="tilt 1 stands at 90 degrees"):
        extended_shape((11, 11), 11, [[0, 10, 0], [0, 90, 0]])


@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize("big", [8, 9])
def test_centers_meet(n, big):
    (part,) = central((big,), (n,))
    assert np.arange(big)[part][n // 2] == big // 2
    ring = np.full(big, -1)
    for small, large in wrapped(n, big):
        ring[large] = np.arange(n)[small]
    assert ring[0] == n // 2
    assert np.roll(ring, n // 2)[:n].tolist() == list(range(n))
