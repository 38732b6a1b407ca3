"""Chemical composition as atomic fractions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from medrange.pdf.scattering_factors import known_elements, scattering_factor

_TERM = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d*)?|\.\d+)?")


def parse_composition(composition: str | Mapping[str, float] | Any) -> dict[str, float]:
    """Atomic fractions of a composition, normalized to a sum of 1.

    Parameters
    ----------
    composition : str, mapping or object with ``get_chemical_symbols``
        Text such as ``"Fe85.2Si0.5B9.5P4Cu0.8"`` (an element without a number counts 1), amounts by symbol, or
        a model such as ``ase.Atoms``. Amounts are atomic and may have any sum; repeated elements are added up.

    Returns
    -------
    dict
        Fraction of each element, in the order given.

    Raises
    ------
    ValueError
        If the text cannot be read, a symbol is unknown, or an amount is not positive; the message names it.
    TypeError
        If the composition is of another type.

    Examples
    --------
    >>> parse_composition("Cu64Zr36")
    {'Cu': 0.64, 'Zr': 0.36}
    """
    amounts: dict[str, float] = {}
    for symbol, amount in _amounts(composition):
        if symbol not in known_elements():
            msg = f"unknown element {symbol!r} in the composition {composition!r}; give chemical symbols from H to Lr."
            raise ValueError(msg)
        if not (np.isfinite(amount) and amount > 0):
            msg = f"the amount of {symbol} is {amount!r}; it must be positive: leave out elements that are not there."
            raise ValueError(msg)
        amounts[symbol] = amounts.get(symbol, 0.0) + amount
    total = sum(amounts.values())
    if not total > 0:
        msg = f"the composition {composition!r} is empty; give for example 'Zr55Co25Al20'."
        raise ValueError(msg)
    return {symbol: amount / total for symbol, amount in amounts.items()}


def _amounts(composition: Any) -> list[tuple[str, float]]:
    if isinstance(composition, str):
        return _read_text(composition)
    if isinstance(composition, Mapping):
        return [(str(symbol), float(amount)) for symbol, amount in composition.items()]
    if hasattr(composition, "get_chemical_symbols"):
        return [(symbol, 1.0) for symbol in composition.get_chemical_symbols()]
    msg = (
        f"the composition is of type {type(composition).__name__}; give text such as 'Fe80B20', amounts by symbol such "
        "as {'Fe': 80, 'B': 20}, or ase.Atoms."
    )
    raise TypeError(msg)


def _read_text(text: str) -> list[tuple[str, float]]:
    compact = "".join(text.split())
    found, end = [], 0
    for match in _TERM.finditer(compact):
        if match.start() != end:
            break
        found.append((match[1], float(match[2]) if match[2] else 1.0))
        end = match.end()
    if end != len(compact):
        msg = (
            f"the composition {text!r} cannot be read from {compact[end:]!r} on; write symbols and atomic amounts "
            "without brackets, for example 'Fe85.2Si0.5B9.5P4Cu0.8'."
        )
        raise ValueError(msg)
    return found


def mean_factors(
    composition: str | Mapping[str, float] | Any, k: np.ndarray, *, parametrization: str = "kirkland"
) -> tuple[np.ndarray, np.ndarray]:
    """Mean scattering factor and mean squared one, ``<f> = sum_a c_a f_a`` and ``<f^2> = sum_a c_a f_a^2``.

    Parameters
    ----------
    composition : str, mapping or object with ``get_chemical_symbols``
        As in :func:`parse_composition`.
    k : numpy.ndarray
        ``k = 1/d`` in 1/angstrom.
    parametrization : str
        As in :func:`medrange.pdf.scattering_factors.scattering_factor`.

    Returns
    -------
    tuple of numpy.ndarray
        ``<f>`` in angstrom and ``<f^2>`` in square angstrom, of the shape of k. See [Kang2024]_.

    Examples
    --------
    >>> mean, mean_square = mean_factors("Fe85B15", np.array([1.0]))
    >>> (mean_square / mean**2).round(3)
    array([1.094])
    """
    k = np.asarray(k, dtype=float)
    mean, mean_square = np.zeros(k.shape), np.zeros(k.shape)
    for symbol, fraction in parse_composition(composition).items():
        factor = scattering_factor(symbol, k, parametrization=parametrization)
        mean += fraction * factor
        mean_square += fraction * factor**2
    return mean, mean_square
