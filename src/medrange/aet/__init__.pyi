from . import atoms, tomography
from .tomography.classification import classify_atoms
from .tomography.comparison import compare_models
from .tomography.iterative import ResireOptions, resire
from .tomography.pipeline import AtomDetermination, PipelineOptions, determine_atoms
from .tomography.precision_estimate import PrecisionEstimate, precision
from .tomography.reconstruction import Reconstruction
from .tomography.refinement import Refinement, RefinementOptions, refine_positions
from .tomography.tilt_series import TiltSeries
from .tomography.tracing import Peaks, trace_atoms
from .tomography.window_reconstruction import resire_windows
from .tomography.windows import Window

__all__ = [
    "AtomDetermination",
    "Peaks",
    "PipelineOptions",
    "PrecisionEstimate",
    "Reconstruction",
    "Refinement",
    "RefinementOptions",
    "ResireOptions",
    "TiltSeries",
    "Window",
    "atoms",
    "classify_atoms",
    "compare_models",
    "determine_atoms",
    "precision",
    "refine_positions",
    "resire",
    "resire_windows",
    "tomography",
    "trace_atoms",
]
