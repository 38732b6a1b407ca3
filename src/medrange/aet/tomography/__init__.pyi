from .alignment import Alignment, align_projections, moved_images
from .background import laplace_background, object_mask
from .classification import Classification, classify_atoms
from .comparison import ModelComparison, compare_models
from .denoising import DenoisingTuning, denoise, tune_denoising
from .drift import DriftCorrection, correct_drift, frame_shifts
from .edits import AtomEdits, EditedModel, apply_edits, close_groups
from .fourier_projector import FourierProjector
from .iterative import ResireOptions, resire
from .noise import NoiseParameters, noise_parameters
from .real_projector import RealProjector
from .reconstruction import Reconstruction
from .shell_correlation import FourierShellCorrelation, fourier_shell_correlation
from .support import support_mask
from .tilt_series import TiltSeries
from .tracing import Peaks, trace_atoms
from .windows import Window, patch_windows

__all__ = [
    "Alignment",
    "AtomEdits",
    "Classification",
    "DenoisingTuning",
    "DriftCorrection",
    "EditedModel",
    "FourierProjector",
    "FourierShellCorrelation",
    "ModelComparison",
    "NoiseParameters",
    "Peaks",
    "RealProjector",
    "Reconstruction",
    "ResireOptions",
    "TiltSeries",
    "Window",
    "align_projections",
    "apply_edits",
    "classify_atoms",
    "close_groups",
    "compare_models",
    "correct_drift",
    "denoise",
    "fourier_shell_correlation",
    "frame_shifts",
    "laplace_background",
    "moved_images",
    "noise_parameters",
    "object_mask",
    "patch_windows",
    "resire",
    "support_mask",
    "trace_atoms",
    "tune_denoising",
]
