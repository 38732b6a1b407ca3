"""The published film: found, fetched, checked by content, and a clear word where there is none."""

import io
import shutil

import h5py
import numpy as np
import pooch
import pytest
import requests
from scipy.io import savemat

from medrange import datasets
from medrange.aet.atoms import as_model


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Empty cache of the user, and no folder of data."""
    monkeypatch.delenv("MEDRANGE_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "medrange" / "ta_film"


@pytest.fixture
def small_film(monkeypatch):
    """A film of five atoms in place of the published one."""
    positions = np.random.default_rng(0).uniform(-4, 4, (5, 3)).astype(np.float32)
    flat = positions.astype(float).ravel()
    sums = tuple(sum(np.cos(j * n) * value for n, value in enumerate(flat)) for j in (1, 2, 3))
    monkeypatch.setattr(datasets, "_TA_ATOMS", 5)
    monkeypatch.setattr(datasets, "_TA_SUMS", sums)
    return positions


def as_deposited(positions):
    file = io.BytesIO()
    savemat(file, {"model": positions.T})
    return file.getvalue()


@pytest.fixture
def served(monkeypatch):
    """Answers of the network by address, and the addresses asked for."""
    answers, asked = {}, []

    def answer(self, url, output_file, pooch, **_):
        asked.append(url)
        if url not in answers:
            raise requests.ConnectionError("no route")
        with open(output_file, "wb") as file:
            file.write(answers[url])

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", answer)
    return answers, asked


URL = datasets._DEPOSIT + "Final_atomic_model_Ta_film.mat"


def test_film_is_downloaded_once_and_converted(cache, served, small_film):
    answers, asked = served
    answers[URL] = as_deposited(small_film)
    path = datasets.ta_film()
    assert path == cache / "ta_film.xyz"
    model = as_model(path)
    np.testing.assert_allclose(model.positions, small_film, atol=6e-6)
    assert model.species == ("Ta",)
    assert "doi:10.1038/s41563-021-01114-z" in path.read_text(encoding="utf-8")
    assert datasets.ta_film() == path
    assert asked == [URL]
    assert sorted(file.name for file in cache.iterdir()) == ["Final_atomic_model_Ta_film.mat", "ta_film.xyz"]


def test_address_is_a_fixed_commit():
    assert len(datasets._DEPOSIT.split("/")[5]) == 40
    assert datasets._DEPOSIT.startswith(
        "https://raw.githubusercontent.com/AET-AmorphousMaterials/Supplementary-Data-Codes/"
    )


@pytest.mark.parametrize("kind", ["version 5", "version 7.3", "rows"])
def test_own_folder_comes_first(kind, cache, served, small_film, tmp_path, monkeypatch):
    folder = tmp_path / "own" / "ta_film"
    folder.mkdir(parents=True)
    path = folder / "Final_atomic_model_Ta_film.mat"
    if kind == "version 7.3":
        # MATLAB's HDF5 files open with a block of 512 bytes of its own.
        with h5py.File(path, "w", userblock_size=512) as file:
            file["model"] = small_film
        header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
        path.write_bytes(header.ljust(512, b"\x00") + path.read_bytes()[512:])
    else:
        savemat(path, {"model": small_film.astype(float) if kind == "rows" else small_film.T})
    monkeypatch.setenv("MEDRANGE_DATA", str(tmp_path / "own"))
    converted = datasets.ta_film()
    np.testing.assert_allclose(as_model(converted).positions, small_film, atol=6e-6)
    shutil.copy(converted, folder)
    assert datasets.ta_film() == folder / "ta_film.xyz"
    assert served[1] == []


def test_folder_without_the_film_goes_on_to_the_deposit(cache, served, small_film, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDRANGE_DATA", str(tmp_path))
    served[0][URL] = as_deposited(small_film)
    assert datasets.ta_film() == cache / "ta_film.xyz"


@pytest.mark.usefixtures("served")
def test_offline_tells_where_to_put_the_file(cache):
    with pytest.raises(FileNotFoundError, match=r"not be downloaded .*\(ConnectionError\).*MEDRANGE_DATA") as caught:
        datasets.ta_film()
    assert URL in str(caught.value)
    assert not list(cache.glob("*.xyz"))


def test_other_atoms_are_refused(cache, served, small_film):
    moved = small_film.copy()
    moved[3, 1] += 0.03
    for positions, message in (
        (moved, r"other atoms than the published model of the film: its checksums are off by 0\.0"),
        (small_film[::-1], "other atoms than the published model"),
        (small_film[:4], "holds 4 atoms instead of 5"),
        (np.full((5, 3), np.nan), "other atoms than the published model"),
        (np.zeros((5, 4)), "holds 0 tables of positions instead of one; delete it"),
    ):
        shutil.rmtree(cache, ignore_errors=True)
        served[0][URL] = as_deposited(positions)
        with pytest.raises(ValueError, match=message):
            datasets.ta_film()
        assert not (cache / "ta_film.xyz").exists()


def test_damaged_files_are_named(cache, served):
    served[0][URL] = b"<!doctype html>" * 100
    with pytest.raises(ValueError, match=r"Final_atomic_model_Ta_film\.mat is no \.mat file .*delete it"):
        datasets.ta_film()
    (cache / "ta_film.xyz").write_text("2\n\nTa 0 0\nTa 1 x 2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"ta_film\.xyz is no \.xyz file"):
        datasets.ta_film()


@pytest.mark.data
def test_published_film_passes_in_every_precision(data_folder, tmp_path):
    """The copy at hand as text of five decimals, and its float32 positions as the deposit holds them."""
    path = datasets.ta_film()
    assert path == data_folder / "ta_film" / "ta_film.xyz"
    with np.load(data_folder / "ta_film" / "ta_film_atoms.npz") as data:
        positions = data["positions"]
    np.testing.assert_allclose(as_model(path).positions, positions, atol=6e-6)
    for name, values in (("single", positions.T), ("double", positions.astype(float).T)):
        savemat(tmp_path / f"{name}.mat", {"model": values})
        converted = datasets._film_from_deposit(tmp_path / f"{name}.mat", tmp_path / name)
        np.testing.assert_allclose(as_model(converted).positions, positions, atol=6e-6)
