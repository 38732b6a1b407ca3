"""Sample scans that come with medrange, with the truth about them, and published data that it fetches."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

_SCANS = {"empad": "empad_glass/scan.xml", "merlin": "merlin_glass/scan.mib"}

# The authors' deposit at a fixed commit, so that the file cannot change under its address.
_DEPOSIT = (
    "https://raw.githubusercontent.com/AET-AmorphousMaterials/Supplementary-Data-Codes/"
    "f4df23a61a77fd6cfa65d27f57406beb0040e95e/6_Final_coordinates/"
)
_TA_FILM_DEPOSITED = "Final_atomic_model_Ta_film.mat"
_TA_FILM = "ta_film.xyz"
_TA_ATOMS = 8284
# The deposit states no checksums. These are sums over all coordinates (angstrom) with weights cos(n), cos(2n), cos(3n):
# they tell a moved, missing or exchanged atom, but not the number format or digits beyond the fourth.
_TA_SUMS = (979.2930, -1838.5226, 1463.3031)
_SUM_TOLERANCE = 0.01
_TIMEOUT = 20.0  # seconds


def sample_scan(name: str = "empad") -> Path:
    """Path of a shipped sample scan.

    ``empad`` is an EMPAD scan (.xml with its .raw beside it), ``merlin`` a Merlin scan (.mib with its .hdr).
    Both were made by :mod:`medrange.simulate`; ``sample_data/README.md`` tells how.

    Parameters
    ----------
    name : str
        ``empad`` or ``merlin``.

    Returns
    -------
    pathlib.Path
        The file to load.

    Raises
    ------
    ValueError
        If there is no sample of that name.
    FileNotFoundError
        If the sample data were not installed.

    Examples
    --------
    >>> sample_scan("empad").name
    'scan.xml'
    """
    if name not in _SCANS:
        msg = f"there is no sample {name!r}; choose one of {', '.join(_SCANS)}."
        raise ValueError(msg)
    here = Path(__file__).resolve()
    # In a wheel the folder lies inside the package, in a checkout at the root of the repository.
    candidates = [folder / "sample_data" / _SCANS[name] for folder in (here.parent, here.parents[2])]
    for path in candidates:
        if path.is_file():
            return path
    searched = " or ".join(str(path.parent) for path in candidates)
    msg = f"the sample {name!r} is not in {searched}: reinstall medrange, or run sample_data/generate.py in a checkout."
    raise FileNotFoundError(msg)


def sample_truth(name: str = "empad") -> pd.DataFrame:
    """Truth about a sample scan: the clusters planted in its model.

    Parameters
    ----------
    name : str
        ``empad`` or ``merlin``.

    Returns
    -------
    pandas.DataFrame
        One row per cluster: id, kind, n (order of the kind), kinematic_n (largest order of its own kinematic
        pattern), y_nm, x_nm (center in scan coordinates: scan position (i, j) is at (i * scan_step, j *
        scan_step)), z_nm, diameter_nm, in_plane_angle_deg. ``attrs`` holds the parameters of the scan, such
        as ``center`` (row, column), ``k_step`` (1/nm), ``scan_step`` (nm), ``beam_energy`` (kV),
        ``electrons_per_frame`` and ``seed``.

    Raises
    ------
    ValueError
        If there is no sample of that name.
    FileNotFoundError
        If the sample data were not installed.

    Examples
    --------
    >>> sorted(set(sample_truth("empad")["n"]))
    [2, 4, 6, 10]
    """
    folder = sample_scan(name).parent
    table = pd.read_csv(folder / "clusters.csv")
    table.attrs.update(json.loads((folder / "truth.json").read_text(encoding="utf-8")))
    return table


def ta_film() -> Path:
    """Experimental atomic model of the amorphous tantalum film of [Yuan2022]_: 8284 atoms, as a file.

    The file is looked for in the folder ``ta_film`` of the folder named by the environment variable ``MEDRANGE_DATA``
    (``ta_film.xyz``, or ``Final_atomic_model_Ta_film.mat`` as deposited), then in the cache of the user, and else
    downloaded once from the authors' deposit, https://github.com/AET-AmorphousMaterials/Supplementary-Data-Codes.
    The authors ask everyone who uses the data to cite their paper.

    The deposit states no checksums, so it is the content that is checked, whatever the format: the number of atoms
    and three weighted sums of all coordinates, which tell an atom that is moved (by some hundredths of an angstrom),
    missing, or in another place of the list.

    Returns
    -------
    pathlib.Path
        An ``.xyz`` file, angstrom, atoms in the order of the deposit: for :func:`medrange.aet.atoms.as_model`, ASE, or
        ``medrange packing``.

    Raises
    ------
    FileNotFoundError
        If the file is not at hand and cannot be downloaded.
    ValueError
        If a file of that name holds other atoms.

    Examples
    --------
    >>> from medrange.aet.atoms import as_model
    >>> as_model(ta_film())  # doctest: +SKIP
    <AtomicModel, 8284 atoms, Ta 8284, open>
    """
    own = [Path(folder) / "ta_film" for folder in (os.environ.get("MEDRANGE_DATA"),) if folder]
    cache = _cache()
    for folder in (*own, cache):
        if (folder / _TA_FILM).is_file():
            return _checked_film(folder / _TA_FILM)
        if (folder / _TA_FILM_DEPOSITED).is_file():
            return _film_from_deposit(folder / _TA_FILM_DEPOSITED, cache)
    return _film_from_deposit(_download(_TA_FILM_DEPOSITED, cache), cache)


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("medrange")) / "ta_film"


def _download(name: str, folder: Path) -> Path:
    """File of the deposit, in the folder."""
    import pooch

    registry = pooch.create(path=folder, base_url=_DEPOSIT, registry={name: None})
    try:
        return Path(registry.fetch(name, downloader=pooch.HTTPDownloader(timeout=_TIMEOUT)))
    except OSError as error:
        msg = (
            f"{name} is not on this computer and could not be downloaded from {_DEPOSIT}{name} into {folder} "
            f"({type(error).__name__}). Fetch it where there is a network, put it into a folder ta_film, and set the "
            f"environment variable MEDRANGE_DATA to the folder that holds ta_film."
        )
        raise FileNotFoundError(msg) from error


def _film_from_deposit(path: Path, cache: Path) -> Path:
    """The same atoms as .xyz in the cache."""
    positions = _check_atoms(_mat_positions(path), path)
    cache.mkdir(parents=True, exist_ok=True)
    rows = "".join("Ta {:.5f} {:.5f} {:.5f}\n".format(*position) for position in positions)
    written = cache / f"{_TA_FILM}.{os.getpid()}"
    head = "Amorphous Ta film, angstrom; Yuan et al., Nat. Mater. 21, 95-102 (2022), doi:10.1038/s41563-021-01114-z"
    written.write_text(f"{len(positions)}\n{head}\n{rows}", encoding="utf-8")
    return written.replace(cache / _TA_FILM)


def _mat_positions(path: Path) -> np.ndarray:
    """The one table with three rows or columns in a .mat file, shape (N, 3)."""
    from scipy.io import loadmat

    try:
        variables = loadmat(path)
    except NotImplementedError:  # version 7.3 is HDF5
        import h5py

        with h5py.File(path) as file:
            variables = {name: np.asarray(file[name]) for name in file if isinstance(file[name], h5py.Dataset)}
    except ValueError as error:
        msg = f"{path} is no .mat file ({error}); delete it, so that it is fetched again."
        raise ValueError(msg) from error
    arrays = [value for name, value in variables.items() if not name.startswith("_") and np.ndim(value) == 2]
    tables = [value if value.shape[1] == 3 else value.T for value in arrays if 3 in value.shape]
    if len(tables) != 1:
        msg = f"{path} holds {len(tables)} tables of positions instead of one; delete it, so that it is fetched again."
        raise ValueError(msg)
    return np.asarray(tables[0], dtype=np.float64)


def _checked_film(path: Path) -> Path:
    try:
        positions = np.loadtxt(path, skiprows=2, usecols=(1, 2, 3), ndmin=2)
    except (ValueError, IndexError) as error:
        msg = f"{path} is no .xyz file ({error}); delete it or set MEDRANGE_DATA to another folder."
        raise ValueError(msg) from error
    _check_atoms(positions, path)
    return path


def _check_atoms(positions: np.ndarray, path: Path) -> np.ndarray:
    if len(positions) != _TA_ATOMS:
        msg = f"{path} holds {len(positions)} atoms instead of {_TA_ATOMS}: it is not the published model of the film."
        raise ValueError(msg)
    weights = np.cos(np.outer((1, 2, 3), np.arange(positions.size)))
    off = np.abs(weights @ positions.ravel() - _TA_SUMS).max()
    if not off < _SUM_TOLERANCE:
        msg = f"{path} holds other atoms than the published model of the film: its checksums are off by {off:.3g} Å."
        raise ValueError(msg)
    return positions
