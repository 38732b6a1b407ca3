import numpy as np
import pytest

from medrange.aet.tomography import Window, patch_windows


def test_a_film_is_put_together_from_its_windows():
    film = np.random.default_rng(0).normal(size=(60, 50, 12)).astype(np.float32)
    windows = [Window((x, y, 6), (12, 14, 5)) for y in (14, 35) for x in (12, 24, 36, 47)]
    result = patch_windows((film[w.slices] for w in windows), windows, film.shape)
    seen = np.zeros(film.shape, bool)
    for window in windows:
        seen[window.slices] = True
    assert np.array_equal(result[seen], film[seen])
    assert np.isnan(result[~seen]).all()


def test_margins_are_those_of_the_published_table():
    # Published: half 65, spacing 18 gives 54 columns lost at an inner edge; half 75, spacing 21 gives 63; and so on.
    for half, spacing, lost in ((65, 18, 54), (75, 21, 63), (90, 24, 76), (80, 27, 65)):
        shape = (2 * half + 1 + spacing, 9, 3)
        windows = [Window((half, 4, 1), (half, 4, 1)), Window((half + spacing, 4, 1), (half, 4, 1))]
        volumes = [np.full(w.shape, i, np.float32) for i, w in enumerate(windows)]
        result = patch_windows(volumes, windows, shape)
        assert (result[: spacing + lost] == 0).all()
        assert (result[spacing + lost :] == 1).all()
        # The first alone reaches to its trimmed edge: neighbors overlap by about four columns.
        assert 2 * half + 1 - lost - (spacing + lost) in (3, 4, 5)


def test_rows_lose_four_planes_at_inner_edges():
    windows = [Window((5, 10, 1), (5, 10, 1)), Window((5, 22, 1), (5, 10, 1))]
    result = patch_windows([np.full(w.shape, i, np.float32) for i, w in enumerate(windows)], windows, (11, 33, 3))
    assert (result[:, :16] == 0).all()
    assert (result[:, 16:] == 1).all()


def test_errors():
    with pytest.raises(ValueError, match=r"window 0 at \(2, 5, 1\).*leaves the film"):
        patch_windows([np.zeros((7, 3, 3))], [Window((2, 5, 1), (3, 1, 1))], (10, 10, 3))
    with pytest.raises(ValueError, match=r"volume 0 has shape \(7, 3, 4\)"):
        patch_windows([np.zeros((7, 3, 4))], [Window((4, 5, 1), (3, 1, 1))], (10, 10, 3))


@pytest.mark.data
def test_neighboring_published_windows(data_folder):
    folder = data_folder / "ta_film"
    files = [np.load(folder / f"tomography_subarea{n}.npz") for n in (64, 65)]
    # Unsigned small integers wrap when halves are subtracted; these must not.
    tables = [(f["center_in_film"].astype(np.uint16), f["half_size"].astype(np.uint8)) for f in files]
    windows = [Window(tuple(center), tuple(half)) for center, half in tables]
    volumes = [f["reconstruction"] for f in files]
    film = patch_windows(volumes, windows, tuple(files[0]["film_shape"]))
    x = int(files[1]["center_in_film"][0]) - 65 + 54  # the first column of the second window that is kept
    assert np.array_equal(film[252:x, 294:351, 109:240], volumes[0][: x - 252])
    assert np.array_equal(film[x:401, 294:351, 109:240], volumes[1][54:])
    # Both know the columns around the seam about equally well.
    first, second = volumes[0][54 + 18 : 131 - 54], volumes[1][54 : 131 - 54 - 18]
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.9
