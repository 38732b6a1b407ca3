import numpy as np
import pytest

from medrange.aet.tomography import missing_wedge, slice_directions
from medrange.aet.tomography.geometry import rotation_matrices


def test_slices_of_pure_tilts():
    tilts = np.array([-90, -63, 0, 17.5, 89])
    assert slice_directions(tilts) == pytest.approx([90, 63, 0, -17.5, -89])
    # A turn by half a circle is the same slice.
    assert slice_directions(tilts + 180) == pytest.approx(slice_directions(tilts))
    assert slice_directions([90.0]) == pytest.approx([90])


def test_the_line_lies_in_the_slice_and_in_the_plane():
    angles = np.random.default_rng(0).uniform(-180, 180, (20, 3))
    directions = np.radians(slice_directions(angles))
    lines = np.stack([np.cos(directions), 0 * directions, np.sin(directions)], axis=1)
    # Object frequencies A (kx, ky, 0) of an image: turned back, the line has no third component.
    seen = np.einsum("kij,ki->kj", rotation_matrices(angles), lines)
    assert np.abs(seen[:, 2]).max() < 1e-9
    assert ((np.degrees(directions) > -90) & (np.degrees(directions) <= 90)).all()


@pytest.mark.parametrize(
    ("tilts", "expected"),
    [
        (np.arange(-70, 71, 3.5), (70, 110)),
        ([-63, -20, 20, 55.9], (63, 124.1)),
        ([-30, 0, 80, 150], (-80, 0)),
        ([12], (-12, 168)),
        ([12, 12], (-12, 168)),
        (np.arange(0, 180, 2), 2),
    ],
)
def test_wedge(tilts, expected):
    first, last = missing_wedge(tilts)
    if np.isscalar(expected):
        assert last - first == pytest.approx(expected)
    else:
        assert (first, last) == pytest.approx(expected)


def test_errors():
    with pytest.raises(ValueError, match=r"tilt 1 is along y.*leave this one out"):
        slice_directions([[0, 10, 0], [0, 0, 90]])
    with pytest.raises(ValueError, match=r"give \(n_tilts, 3\)"):
        missing_wedge(np.zeros((3, 2)))
