"""Sizes in maps of structural types: autocorrelation without counting noise, and what the probe alone would give."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from hyperspy.signals import LazySignal2D, Signal2D

from medrange.kernels.autocorrelation import correlation_length, first_neighbor_peak, radial_autocorrelation
from medrange.signals.autocorrelation import Autocorrelation
from medrange.signals.building import uniform_axis
from medrange.signals.profile_mapping import build_derived, floating
from medrange.signals.tables import with_units
from medrange.units import electron_wavelength, standard_units, unit_factor

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

_TEM = "Acquisition_instrument.TEM"
# Full width at half maximum of the image of a point through a round aperture: 0.514 wavelengths over its angle.
_AIRY_FWHM = 0.514
# Noise through a Gaussian probe falls to 1/e at two of the probe's standard deviations.
_FLOOR = 2 / (2 * np.sqrt(2 * np.log(2)))
# Bins after the first from which the curve is continued to r = 0.
_SPIKE_BINS = 3


def weight_signal(
    weights: np.ndarray, valid: np.ndarray, axes: list[dict[str, Any]], *, source: BaseSignal, parameters: dict
) -> Signal2D:
    """Maps (component | y, x) from the weights (n, component) of the valid positions; NaN elsewhere.

    Parameters
    ----------
    weights : numpy.ndarray
        Shape (n, components).
    valid : numpy.ndarray
        Shape (y x,): positions with a PDF; n of them.
    axes : list of dict
        (y, x) of the maps.
    source : BaseSignal
        Of title, instrument and dtype.
    parameters : dict
        For the provenance.
    """
    maps = np.full((weights.shape[1], valid.size), np.nan, dtype=floating(source.data.dtype))
    maps[:, valid] = weights.T
    return build_derived(
        (Signal2D, LazySignal2D),
        maps.reshape(-1, *(axis["size"] for axis in axes)),
        [uniform_axis("component", np.arange(len(maps)), "", navigate=True), *axes],
        source=source,
        operation="structural_components",
        parameters=parameters,
        quantity="weight",
    )


def block_side(image: np.ndarray) -> int:
    """Side in pixels of blocks that hold twice the correlation length, at most half of the shorter side of the map."""
    length = correlation_length(*radial_autocorrelation(image))
    largest = max(1, min(image.shape) // 2)
    return largest if np.isnan(length) else int(np.clip(np.ceil(2 * length), 1, largest))


def remove_noise_spike(curves: Autocorrelation) -> tuple[Autocorrelation, np.ndarray]:
    """Autocorrelation of the maps without their noise, and the share of the variance that was noise.

    Noise that differs from pixel to pixel stands in the first bin only. What belongs there without it is continued
    from the next three bins by ``a - b r^2``, and the curves are divided by a. Structure as fine as a pixel is not
    told from noise.

    Parameters
    ----------
    curves : Autocorrelation
        Of the maps as they are.

    Returns
    -------
    Autocorrelation
        1 at r = 0 again; NaN for a map that is all noise.
    numpy.ndarray
        Shape (maps,): share of noise in the variance, 0 .. 1.
    """
    r, values = curves.r, curves.values
    share = np.zeros(len(values))
    corrected = values.copy()
    for i, sigma in enumerate(values):
        if len(r) <= _SPIKE_BINS or not np.isfinite(sigma[: _SPIKE_BINS + 1]).all():
            continue
        slope, level = np.polyfit(r[1 : _SPIKE_BINS + 1] ** 2, sigma[1 : _SPIKE_BINS + 1], 1)
        # Below r = 0 a parabola that opens upwards would leave less than is in the next bin.
        signal = min(1.0, max(level, sigma[1]) if slope < 0 else sigma[1])
        share[i] = 1 - max(signal, 0.0)
        corrected[i, 1:] = sigma[1:] / signal if signal > 0 else np.nan
    lengths = np.array([correlation_length(r, sigma) for sigma in corrected])
    neighbors = np.array([first_neighbor_peak(r, sigma) for sigma in corrected])
    return replace(curves, values=corrected, correlation_length=lengths, first_neighbor=neighbors), share


def correlation_table(curves: Autocorrelation, probe_fwhm: float | None) -> pd.DataFrame:
    """One row per map: correlation length without noise, share of noise, and the length that the probe alone gives.

    Parameters
    ----------
    curves : Autocorrelation
        Of the maps as they are.
    probe_fwhm : float or None
        Full width at half maximum of the probe, nm.

    Returns
    -------
    pandas.DataFrame
        ``component``, ``correlation_length`` (nm, 1/e), ``noise_share``, ``probe_floor`` (nm, NaN without a probe).
    """
    corrected, share = remove_noise_spike(curves)
    floor = np.nan if probe_fwhm is None else _FLOOR * probe_fwhm
    table = pd.DataFrame(
        {
            "component": list(curves.orders),
            "correlation_length": corrected.correlation_length,
            "noise_share": share,
            "probe_floor": floor,
        }
    )
    return with_units(table, {"correlation_length": "nm", "probe_floor": "nm"})


def probe_width(signal: BaseSignal) -> float | None:
    """Diffraction-limited full width of the probe (nm) from the recorded convergence angle and beam energy, or None."""
    angle = signal.metadata.get_item(f"{_TEM}.convergence_angle")
    energy = signal.metadata.get_item(f"{_TEM}.beam_energy")
    if angle is None or energy is None:
        return None
    return _AIRY_FWHM * electron_wavelength(float(energy)) / (float(angle) * 1e-3) / 10


def pixel_size(signal: BaseSignal) -> tuple[float, float]:
    """(dy, dx) of the maps in nm.

    Raises
    ------
    ValueError
        If an axis of the scan has no unit of length.
    """
    axes = signal.axes_manager.signal_axes[::-1]
    if not all(standard_units(axis.units) and axis.scale > 0 for axis in axes):
        found = ", ".join(f"{axis.name}: units {axis.units!r}" for axis in axes)
        msg = (
            f"the scan axes have no length unit ({found}). Calibrate the scan, "
            's.calibrate(scan_step=1.2, scan_units="nm", ...), or set scale and units of the weights\' axes.'
        )
        raise ValueError(msg)
    dy, dx = (float(axis.scale) * unit_factor(axis.units, "nm") for axis in axes)
    return dy, dx
