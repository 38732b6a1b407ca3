"""Virtual images, polar patterns and angular correlations of a scan: what its methods do with a polar operator."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from hyperspy.signal import BaseSignal
from hyperspy.signals import LazySignal1D, LazySignal2D, Signal1D, Signal2D

from medrange.geometry import PolarGrid
from medrange.kernels.rings import working_type
from medrange.kernels.virtual import circular_aperture
from medrange.signals import blocks
from medrange.signals.building import build, map_axes, scan_axes, uniform_axis
from medrange.signals.counting import record_rings
from medrange.signals.descan import scan_shifts
from medrange.signals.mapping import FrameFunction, Output, map_frames
from medrange.signals.polar import LazyPolarNanodiffraction, PolarNanodiffraction
from medrange.signals.profiles import LazyRadialProfile, RadialProfile

if TYPE_CHECKING:
    import dask.array as da

_IMAGES = (Signal2D, LazySignal2D)


def map_patterns(
    signal: BaseSignal, function: FrameFunction, shape: tuple[int, ...], label: str, **keywords: Any
) -> np.ndarray | da.Array:
    """Apply a function of :mod:`medrange.signals.blocks` to all patterns, each with the geometry at its position."""
    bound = partial(function, geometry=signal.geometry, **keywords)
    output = Output(shape, working_type(signal.data.dtype))
    return map_frames(signal.data, bound, [output], label=label, shifts=scan_shifts(signal))[0]


def virtual_dark_field(signal: BaseSignal, k: float, phi: float, radius: float) -> Signal2D:
    """Image of the mean intensity in a circular aperture; see ``Nanodiffraction.virtual_dark_field``."""
    aperture = {"k": k, "phi": phi, "radius": radius}
    # Refused at once where the aperture holds no open pixel, also of a lazy scan.
    circular_aperture(signal.geometry, **aperture)
    data = map_patterns(signal, blocks.aperture_means, (), "virtual dark field", aperture=aperture)
    return build(
        _IMAGES,
        data,
        map_axes(signal),
        source=signal,
        operation="virtual_dark_field",
        parameters=aperture,
        quantity="virtual dark field",
    )


def annular_dark_field(signal: BaseSignal, ring: PolarGrid, parameters: dict[str, Any]) -> Signal2D:
    """Image of the mean intensity of a ring, which has one azimuthal bin."""
    profile = map_patterns(signal, blocks.radial_means, (1,), "annular dark field", grid=ring)
    return build(
        _IMAGES,
        profile[..., 0],
        map_axes(signal),
        source=signal,
        operation="annular_dark_field",
        parameters=parameters,
        quantity="annular dark field",
    )


def radial_profile(signal: BaseSignal, grid: PolarGrid) -> RadialProfile:
    """Azimuthal mean intensity I(k), (y, x | k), of rings with one azimuthal bin."""
    k_axis = uniform_axis("k", grid.k, signal.geometry.k_units, navigate=False)
    profile = build(
        (RadialProfile, LazyRadialProfile),
        map_patterns(signal, blocks.radial_means, (grid.n_k,), "radial profile", grid=grid),
        [*scan_axes(signal, navigate=True), k_axis],
        source=signal,
        operation="radial_profile",
        parameters={"k_step": grid.k_step, "k_max": grid.k_max},
        quantity="intensity",
    )
    return record_rings(profile, signal, grid)


def dark_field_series(signal: BaseSignal, grid: PolarGrid, parameters: dict[str, Any]) -> Signal2D:
    """Dark-field images of the azimuthal bins of a ring, (phi | y, x)."""
    data = map_patterns(signal, blocks.dark_fields, (grid.n_phi,), "dark fields", grid=grid)
    return build(
        _IMAGES,
        np.moveaxis(data, -1, 0),
        [uniform_axis("phi", grid.phi, "rad", navigate=True), *map_axes(signal)],
        source=signal,
        operation="dark_field_series",
        parameters=parameters,
        quantity="dark field",
    )


def angular_correlation(signal: BaseSignal, grid: PolarGrid, parameters: dict[str, Any]) -> BaseSignal:
    """Angular correlation (y, x | dphi), or (y, x | dphi, k) where the parameters say k_resolved."""
    dtype = working_type(signal.data.dtype)
    shape = (grid.n_k, grid.n_phi)
    data = map_patterns(signal, blocks.correlations, shape, "angular correlation", grid=grid, dtype=dtype)
    axes = [uniform_axis("dphi", grid.lags, "rad", navigate=False)]
    if parameters["k_resolved"]:
        axes.insert(0, uniform_axis("k", grid.k, signal.geometry.k_units, navigate=False))
    else:
        data = data[..., 0, :]
    return build(
        _IMAGES if parameters["k_resolved"] else (Signal1D, LazySignal1D),
        data,
        [*scan_axes(signal, navigate=True), *axes],
        source=signal,
        operation="angular_correlation",
        parameters=parameters,
        quantity="angular correlation",
    )


def to_polar(signal: BaseSignal, grid: PolarGrid) -> PolarNanodiffraction:
    """Polar patterns, (y, x | phi, k)."""
    data = map_patterns(signal, blocks.polar_patterns, (grid.n_phi, grid.n_k), "polar", grid=grid)
    polar_axes = [
        uniform_axis("phi", grid.phi, "rad", navigate=False),
        uniform_axis("k", grid.k, signal.geometry.k_units, navigate=False),
    ]
    return build(
        (PolarNanodiffraction, LazyPolarNanodiffraction),
        data,
        [*scan_axes(signal, navigate=True), *polar_axes],
        source=signal,
        operation="to_polar",
        parameters={"n_phi": grid.n_phi, "k_step": grid.k_step, "k_max": grid.k_max},
        quantity="intensity",
    )
