import numpy as np
import pytest

from medrange import units


@pytest.mark.parametrize(("energy", "wavelength"), [(80, 0.0417572), (200, 0.0250793), (300, 0.0196875)])
def test_wavelength_equals_published_table(energy, wavelength):
    assert units.electron_wavelength(energy) == pytest.approx(wavelength, rel=1e-5)


@pytest.mark.parametrize("energy", [0, -80, float("nan")])
def test_wavelength_refuses_what_is_no_energy(energy):
    with pytest.raises(ValueError, match=r"beam_energy is .* must be positive"):
        units.electron_wavelength(energy)


@pytest.mark.parametrize("spelling", ["A^-1", "1/A", "1 / Å", "k_A^-1", "1/angstrom", "$A^{-1}$"])
def test_spellings_of_inverse_angstrom(spelling):
    assert units.standard_units(spelling) == "1/Å"


@pytest.mark.parametrize("nothing", ["px", "", "pixels", None, "<undefined>", 3])
def test_pixels_are_no_unit(nothing):
    assert units.standard_units(nothing) is None


@pytest.mark.parametrize(
    ("source", "target", "factor"), [("nm", "Å", 10), ("1/nm", "1/Å", 0.1), ("1/pm", "1/nm", 1e3), ("m", "nm", 1e9)]
)
def test_factors(source, target, factor):
    assert units.unit_factor(source, target) == pytest.approx(factor, rel=1e-12)


def test_factor_between_different_quantities_is_refused():
    with pytest.raises(ValueError, match="cannot convert 'nm' to '1/nm'"):
        units.unit_factor("nm", "1/nm")


def test_k_and_angle_are_inverse():
    k = np.linspace(0, 2, 11)
    assert units.mrad_to_k(units.k_to_mrad(k, 300), 300) == pytest.approx(k, abs=1e-12)
    assert units.k_to_mrad(0.4, 300) == pytest.approx(0.4 * 19.6875, rel=1e-4)
