from .atoms import plot_bond_order, plot_density_slice, plot_interface, plot_pair_distribution
from .components import (
    plot_basis,
    plot_color_mix,
    plot_components,
    plot_fractions,
    plot_weights,
)
from .maps import plot_hotspots, plot_map, plot_order_maps, plot_strain
from .markers import add_hotspot_markers, hotspot_markers
from .motifs import (
    plot_motif_fractions,
    plot_motif_geometry,
    plot_network,
    plot_network_sizes,
    plot_partial_icosahedra,
    plot_sharing,
    plot_voronoi_populations,
)
from .panel import explore
from .patterns import plot_pattern
from .pdf import plot_reduced_pdf, plot_structure_factor
from .peak_editor import PeakEditor, edit_peaks
from .profiles import (
    plot_autocorrelation,
    plot_fluctuation_variance,
    plot_power_spectrum,
    plot_radial_profile,
    plot_size_statistics,
    plot_spectrum,
)
from .refinement import plot_deviations, plot_refinement
from .tomography import (
    plot_fourier_shell_correlation,
    plot_missing_wedge,
    plot_orthoslices,
    plot_r_factor,
    plot_sinogram,
    plot_tilt_series,
)
from .tracing import plot_intensities, plot_peaks

__all__ = [
    "PeakEditor",
    "add_hotspot_markers",
    "edit_peaks",
    "explore",
    "hotspot_markers",
    "plot_autocorrelation",
    "plot_basis",
    "plot_bond_order",
    "plot_color_mix",
    "plot_components",
    "plot_density_slice",
    "plot_deviations",
    "plot_fluctuation_variance",
    "plot_fourier_shell_correlation",
    "plot_fractions",
    "plot_hotspots",
    "plot_intensities",
    "plot_interface",
    "plot_map",
    "plot_missing_wedge",
    "plot_motif_fractions",
    "plot_motif_geometry",
    "plot_network",
    "plot_network_sizes",
    "plot_order_maps",
    "plot_orthoslices",
    "plot_pair_distribution",
    "plot_partial_icosahedra",
    "plot_pattern",
    "plot_peaks",
    "plot_power_spectrum",
    "plot_r_factor",
    "plot_radial_profile",
    "plot_reduced_pdf",
    "plot_refinement",
    "plot_sharing",
    "plot_sinogram",
    "plot_size_statistics",
    "plot_spectrum",
    "plot_strain",
    "plot_structure_factor",
    "plot_tilt_series",
    "plot_voronoi_populations",
    "plot_weights",
]
