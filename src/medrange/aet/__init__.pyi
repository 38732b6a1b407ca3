from . import atoms, tomography
from .tomography.classification import classify_atoms
from .tomography.comparison import compare_models
from .tomography.iterative import ResireOptions, resire
from .tomography.reconstruction import Reconstruction
from .tomography.tilt_series import TiltSeries
from .tomography.tracing import Peaks, trace_atoms

__all__ = [
    "Peaks",
    "Reconstruction",
    "ResireOptions",
    "TiltSeries",
    "atoms",
    "classify_atoms",
    "compare_models",
    "resire",
    "tomography",
    "trace_atoms",
]
