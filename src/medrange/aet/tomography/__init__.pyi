from .alignment import Alignment, align_projections, moved_images
from .background import laplace_background, object_mask
from .classification import Classification, classify_atoms
from .comparison import ModelComparison, compare_models
from .coverage import missing_wedge, slice_directions
from .denoising import DenoisingTuning, denoise, tune_denoising
from .drift import DriftCorrection, correct_drift, frame_shifts
from .edits import AtomEdits, EditedModel, apply_edits, close_groups
from .fourier_projector import FourierProjector
from .geometry_refinement import GeometryRefinement, RefinedAtoms, atom_projection, refine_geometry
from .iterative import ResireOptions, resire
from .model_projection import project_model
from .multislice import Multislice
from .noise import NoiseParameters, noise_parameters
from .pipeline import AtomDetermination, PipelineOptions, determine_atoms
from .precision_estimate import PrecisionEstimate, precision
from .real_projector import RealProjector
from .reconstruction import Reconstruction
from .refinement import Refinement, RefinementOptions, refine_positions
from .shell_correlation import FourierShellCorrelation, fourier_shell_correlation
from .support import support_mask
from .tilt_series import TiltSeries
from .tracing import Peaks, trace_atoms
from .window_reconstruction import resire_windows, window_tilt_series
from .windows import Window, patch_windows

__all__ = [
    "Alignment",
    "AtomDetermination",
    "AtomEdits",
    "Classification",
    "DenoisingTuning",
    "DriftCorrection",
    "EditedModel",
    "FourierProjector",
    "FourierShellCorrelation",
    "GeometryRefinement",
    "ModelComparison",
    "Multislice",
    "NoiseParameters",
    "Peaks",
    "PipelineOptions",
    "PrecisionEstimate",
    "RealProjector",
    "Reconstruction",
    "RefinedAtoms",
    "Refinement",
    "RefinementOptions",
    "ResireOptions",
    "TiltSeries",
    "Window",
    "align_projections",
    "apply_edits",
    "atom_projection",
    "classify_atoms",
    "close_groups",
    "compare_models",
    "correct_drift",
    "denoise",
    "determine_atoms",
    "fourier_shell_correlation",
    "frame_shifts",
    "laplace_background",
    "missing_wedge",
    "moved_images",
    "noise_parameters",
    "object_mask",
    "patch_windows",
    "precision",
    "project_model",
    "refine_geometry",
    "refine_positions",
    "resire",
    "resire_windows",
    "slice_directions",
    "support_mask",
    "trace_atoms",
    "tune_denoising",
    "window_tilt_series",
]
