"""Scattering factors against figures computed elsewhere, and compositions."""

import json
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medrange.pdf.composition import mean_factors, parse_composition
from medrange.pdf.scattering_factors import PARAMETRIZATIONS, known_elements, scattering_factor

# Computed with abTEM 1.0.11, diffsims 0.7.0 and py4DSTEM 0.14.18; Lobato, Kirkland, Peng at each k (1/angstrom).
FIXTURE = {
    0.25: "Fe 5.012 4.980 4.970 B 2.023 2.018 2.020 Zr 7.625 7.612 7.598 Pd 6.388 6.394 6.397 Ta 9.229 9.191 9.166",
    0.50: "Fe 2.947 2.928 2.933 B 1.047 1.050 1.049 Zr 4.161 4.163 4.162 Pd 4.496 4.486 4.489 Ta 5.685 5.676 5.683",
    1.00: "Fe 1.389 1.388 1.392 B 0.333 0.333 0.334 Zr 1.827 1.829 1.834 Pd 2.131 2.142 2.142 Ta 2.873 2.874 2.884",
    1.60: "Fe 0.683 0.687 0.681 B 0.144 0.144 0.143 Zr 0.944 0.934 0.932 Pd 1.066 1.057 1.055 Ta 1.588 1.584 1.570",
}


@pytest.mark.parametrize("k", FIXTURE)
def test_published_figures(k):
    words = FIXTURE[k].split()
    for element, *row in zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True):
        for name, value in zip(("lobato", "kirkland", "peng"), map(float, row), strict=True):
            assert scattering_factor(element, k, parametrization=name) == pytest.approx(value, abs=1e-3), (
                element,
                name,
            )


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_tables_name_their_source_and_are_whole(name):
    table = json.loads(resources.files("medrange.pdf").joinpath("data", f"{name}.json").read_text(encoding="utf-8"))
    assert {"source", "doi", "formula", "argument", "unit"} <= table.keys()
    rows = {len(values) for values in table["elements"].values()}
    assert rows == {len(table["rows"])}
    assert len(table["elements"]) >= 98


def test_parametrizations_agree():
    # Independent fits to different relativistic atoms: a wrong digit in a table shows as tens of per cent.
    k = np.array([0.3, 0.5, 1.0, 1.6])
    common = set(known_elements()[:98])
    factors = np.array([[scattering_factor(e, k, parametrization=p) for e in sorted(common)] for p in PARAMETRIZATIONS])
    spread = np.ptp(factors, axis=0) / factors.mean(axis=0)
    assert spread.max() < 0.08
    assert np.median(spread) < 0.01


def test_mott_bethe_limit():
    # f = (Z - f_x)/(2 pi^2 a0 k^2); at k = 12 only 1s electrons are left in the X-ray factor f_x of iron: 0 to 2.
    for name in ("kirkland", "lobato"):
        z_less_fx = scattering_factor("Fe", 12.0, parametrization=name) * 12.0**2 * 2 * np.pi**2 * 0.529177
        assert 24 < z_less_fx < 26


def test_mean_factors_of_an_alloy():
    mean, square = mean_factors("Fe85B15", np.array([0.25, 0.5, 1.0, 1.6]))
    np.testing.assert_allclose(square / mean**2, [1.055, 1.065, 1.094, 1.102], atol=2e-3)
    mean, square = mean_factors("Ta", np.array([0.5]))
    np.testing.assert_allclose(square, mean**2)


def test_shape_and_scalar():
    k = np.linspace(0.1, 1, 6).reshape(2, 3)
    assert scattering_factor("Si", k).shape == (2, 3)
    assert np.shape(scattering_factor("Si", 0.5)) == ()


def test_composition_text():
    fractions = parse_composition("Fe85.2Si0.5B9.5P4Cu0.8")
    assert list(fractions) == ["Fe", "Si", "B", "P", "Cu"]
    assert sum(fractions.values()) == pytest.approx(1)
    assert fractions["Fe"] == pytest.approx(0.852)
    assert parse_composition(" Zr55 Co25 Al20 ") == pytest.approx({"Zr": 0.55, "Co": 0.25, "Al": 0.2})
    assert parse_composition("CO") == {"C": 0.5, "O": 0.5}
    assert parse_composition("FeB.5Fe") == pytest.approx({"Fe": 0.8, "B": 0.2})


def test_composition_of_a_model_and_of_a_mapping():
    class Model:
        def get_chemical_symbols(self):
            return ["Ta", "Ta", "W"]

    assert parse_composition(Model()) == pytest.approx({"Ta": 2 / 3, "W": 1 / 3})
    assert parse_composition({"Cu": 64, "Zr": 36}) == {"Cu": 0.64, "Zr": 0.36}


@given(st.dictionaries(st.sampled_from(known_elements()), st.floats(0.01, 1e4), min_size=1, max_size=8))
def test_composition_text_and_mapping_agree(amounts):
    text = "".join(f"{symbol}{amount:.6f}" for symbol, amount in amounts.items())
    assert parse_composition(text) == pytest.approx(parse_composition(amounts), rel=1e-3)


@pytest.mark.parametrize(
    ("composition", "error", "message"),
    [
        ("Fe80Xx20", ValueError, "unknown element 'Xx'"),
        ("Fe80(B2)10", ValueError, "cannot be read from '\\(B2\\)10'"),
        ("fe80", ValueError, "cannot be read"),
        ("", ValueError, "empty"),
        ({"Fe": -1}, ValueError, "amount of Fe is -1"),
        (3.0, TypeError, "of type float"),
    ],
)
def test_composition_errors(composition, error, message):
    with pytest.raises(error, match=message):
        parse_composition(composition)


def test_factor_errors():
    with pytest.raises(ValueError, match="'kirkland', 'lobato', 'peng'"):
        scattering_factor("Fe", 0.5, parametrization="xray")
    with pytest.raises(ValueError, match=r"no element 'Es'.*H to Cf"):
        scattering_factor("Es", 0.5, parametrization="peng")
