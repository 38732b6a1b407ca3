"""Electron wavelength, and conversion between k, q and scattering angle.

Everywhere ``k = 1/d = 2 sin(theta)/lambda`` without a factor 2 pi.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

# CODATA 2018
_PLANCK = 6.62607015e-34
_ELECTRON_MASS = 9.1093837015e-31
_ELEMENTARY_CHARGE = 1.602176634e-19
_SPEED_OF_LIGHT = 299792458.0

#: Spellings found in files and in other packages, and the one medrange writes.
_ALIASES = {
    "nm^-1": "1/nm",
    "nm-1": "1/nm",
    "k_nm^-1": "1/nm",
    "nm$^{-1}$": "1/nm",
    "1 / nm": "1/nm",
    "1 / nanometer": "1/nm",
    "A^-1": "1/Å",
    "A-1": "1/Å",
    "1/A": "1/Å",
    "1/angstrom": "1/Å",
    "1/Angstrom": "1/Å",
    "1 / Å": "1/Å",
    "1/Å": "1/Å",
    "k_A^-1": "1/Å",
    "$A^{-1}$": "1/Å",
    "$\\AA^{-1}$": "1/Å",
    "angstrom": "Å",
    "Angstrom": "Å",
    "Å": "Å",
    "A": "Å",
    "nanometer": "nm",
}
_NANOMETERS = {"Å": 0.1, "nm": 1.0, "um": 1e3, "µm": 1e3, "pm": 1e-3}
_PER_NANOMETER = {"1/Å": 10.0, "1/nm": 1.0, "1/pm": 1e3, "1/um": 1e-3, "1/µm": 1e-3}


def electron_wavelength(beam_energy: float) -> float:
    """Relativistic electron wavelength.

    ``lambda = h / sqrt(2 m e V (1 + e V / (2 m c^2)))``

    Parameters
    ----------
    beam_energy : float
        Acceleration voltage in kV.

    Returns
    -------
    float
        Wavelength in angstrom.

    Raises
    ------
    ValueError
        If the energy is not positive.

    Examples
    --------
    >>> round(electron_wavelength(300), 6)
    0.019687
    """
    if not beam_energy > 0:
        msg = f"beam_energy is {beam_energy!r} kV; it must be positive, for example 300."
        raise ValueError(msg)
    energy = beam_energy * 1e3 * _ELEMENTARY_CHARGE
    rest = _ELECTRON_MASS * _SPEED_OF_LIGHT**2
    momentum = np.sqrt(2 * _ELECTRON_MASS * energy * (1 + energy / (2 * rest)))
    return float(_PLANCK / momentum * 1e10)


def standard_units(units: object) -> str | None:
    """Spelling medrange uses for a unit, or None when an axis has no unit.

    Pixels (``px``, ``pixels``) count as no unit.

    Examples
    --------
    >>> standard_units("A^-1")
    '1/Å'
    >>> standard_units("px") is None
    True
    """
    if not isinstance(units, str) or units.strip() in {"", "px", "pixel", "pixels", "<undefined>"}:
        return None
    return _ALIASES.get(units.strip(), units.strip())


@lru_cache(maxsize=64)
def unit_factor(units: str, target: str) -> float:
    """Factor that turns a value in ``units`` into a value in ``target``.

    Raises
    ------
    ValueError
        If the two do not measure the same quantity.

    Examples
    --------
    >>> unit_factor("1/nm", "1/Å")
    0.1
    """
    source, goal = standard_units(units), standard_units(target)
    if source == goal and source is not None:
        return 1.0
    for table in (_NANOMETERS, _PER_NANOMETER):
        if source in table and goal in table:
            return table[source] / table[goal]
    return _pint_factor(str(source), str(goal))


def _pint_factor(source: str, goal: str) -> float:
    import pint

    registry = pint.get_application_registry()
    try:
        return float(registry.Quantity(1.0, source).to(goal).magnitude)
    except Exception as error:
        msg = f"cannot convert {source!r} to {goal!r}: {error}"
        raise ValueError(msg) from error


def k_to_mrad(k: np.ndarray | float, beam_energy: float) -> np.ndarray | float:
    """Full scattering angle 2 theta in mrad of ``k`` in 1/angstrom; ``k = 2 sin(theta)/lambda``."""
    return 2e3 * np.arcsin(np.asarray(k) * electron_wavelength(beam_energy) / 2)


def mrad_to_k(angle: np.ndarray | float, beam_energy: float) -> np.ndarray | float:
    """``k`` in 1/angstrom of a full scattering angle 2 theta in mrad; inverse of :func:`k_to_mrad`."""
    return 2 * np.sin(np.asarray(angle) / 2e3) / electron_wavelength(beam_energy)
