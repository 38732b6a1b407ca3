"""The sample scans that come with medrange: detector files and the truth about them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

_SCANS = {"empad": "empad_glass/scan.xml", "merlin": "merlin_glass/scan.mib"}


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
