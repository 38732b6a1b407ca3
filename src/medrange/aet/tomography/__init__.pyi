from .alignment import Alignment, align_projections, moved_images
from .background import laplace_background, object_mask
from .denoising import DenoisingTuning, denoise, tune_denoising
from .drift import DriftCorrection, correct_drift, frame_shifts
from .noise import NoiseParameters, noise_parameters

__all__ = [
    "Alignment",
    "DenoisingTuning",
    "DriftCorrection",
    "NoiseParameters",
    "align_projections",
    "correct_drift",
    "denoise",
    "frame_shifts",
    "laplace_background",
    "moved_images",
    "noise_parameters",
    "object_mask",
    "tune_denoising",
]
