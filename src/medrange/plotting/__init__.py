"""Figures of results; functions take ``ax=None`` and return the axes; nothing is computed here."""

from medrange.plotting.maps import plot_hotspots, plot_map, plot_order_maps, plot_strain
from medrange.plotting.patterns import plot_pattern
from medrange.plotting.profiles import (
    plot_autocorrelation,
    plot_fluctuation_variance,
    plot_power_spectrum,
    plot_radial_profile,
    plot_size_statistics,
    plot_spectrum,
)

__all__ = [
    "plot_autocorrelation",
    "plot_fluctuation_variance",
    "plot_hotspots",
    "plot_map",
    "plot_order_maps",
    "plot_pattern",
    "plot_power_spectrum",
    "plot_radial_profile",
    "plot_size_statistics",
    "plot_spectrum",
    "plot_strain",
]
