from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk
from ase.io import read

from medrange.aet.atoms import as_model, bond_order, crystal_nuclei, mass_density, pair_distribution
from medrange.aet.atoms.saving import load_parameters, save_result


def test_arrays_and_parameters_come_back(tmp_path):
    parameters = {"cutoff": np.float64(4.12), "window": (0.5, 15.0), "method": "fft", "source": Path("a.xyz")}
    path = save_result(tmp_path / "r.npz", arrays={"q6": np.arange(3.0)}, parameters=parameters)
    with np.load(path, allow_pickle=False) as data:
        np.testing.assert_array_equal(data["q6"], np.arange(3.0))
    assert load_parameters(path) == {"cutoff": 4.12, "window": [0.5, 15.0], "method": "fft", "source": "a.xyz"}


def test_table(tmp_path):
    table = pd.DataFrame({"r": [0.5, 1.5], "g": [0.0, 1.25]})
    pd.testing.assert_frame_equal(pd.read_csv(save_result(tmp_path / "t.CSV", table=table)), table)


def test_suffixes_without_content_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'a.txt'; the suffixes are: .npz, .csv\."):
        save_result(tmp_path / "a.txt", arrays={}, table=pd.DataFrame())
    with pytest.raises(ValueError, match=r"'a.xyz'; the suffixes are: .npz\."):
        save_result(tmp_path / "a.xyz", arrays={"q6": np.ones(2)})
    with pytest.raises(TypeError, match="parameter of type object"):
        save_result(tmp_path / "a.npz", arrays={}, parameters={"a": object()})


def test_every_result_writes_what_it_offers(tmp_path):
    model = as_model(bulk("Cu", cubic=True).repeat(3))
    order = bond_order(model, cutoff=3.0)
    results = {"order": order, "nuclei": crystal_nuclei(order), "density": mass_density(model, fwhm=3.0)}
    for name, result in results.items():
        for suffix in (".npz", ".csv", ".xyz", ".extxyz"):
            assert result.save(tmp_path / f"{name}{suffix}").stat().st_size > 0
        assert len(read(tmp_path / f"{name}.xyz")) == 108
    curve = pair_distribution(model, r_max=8.0)
    curve.save(tmp_path / "g.npz")
    assert load_parameters(tmp_path / "g.npz")["density"] == pytest.approx(4 / 3.61**3)
    np.testing.assert_allclose(pd.read_csv(curve.save(tmp_path / "g.csv"))["g"], curve.g)
    with pytest.raises(ValueError, match=r"\.npz, \.csv"):
        curve.save(tmp_path / "g.xyz")
