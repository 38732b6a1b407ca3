from . import aet, datasets, units
from ._version import __version__
from .datacube import MRODataCube, from_py4dstem, save_py4dstem, to_py4dstem
from .geometry import DiffractionGeometry
from .plotting.panel import explore
from .signals.autocorrelation import Autocorrelation
from .signals.exporting import to_csv, to_tiff
from .signals.fluctuation import FluctuationVariance
from .signals.hotspots import Hotspots
from .signals.loading import from_array, load
from .signals.mro_result import MROResult
from .signals.nanodiffraction import LazyNanodiffraction, Nanodiffraction
from .signals.null import MRONull, NullMaps
from .signals.order_map import LazyOrderMap, OrderMap
from .signals.polar import LazyPolarNanodiffraction, PolarNanodiffraction
from .signals.profiles import LazyRadialProfile, RadialProfile
from .signals.quality import QualityReport
from .signals.reduced_pdf import LazyReducedPDF, PeakMaps, ReducedPDF
from .signals.strain import RingStrain
from .signals.structural_components import StructuralComponents
from .signals.structure_factor import LazyStructureFactor, StructureFactor

__all__ = [
    "Autocorrelation",
    "DiffractionGeometry",
    "FluctuationVariance",
    "Hotspots",
    "LazyNanodiffraction",
    "LazyOrderMap",
    "LazyPolarNanodiffraction",
    "LazyRadialProfile",
    "LazyReducedPDF",
    "LazyStructureFactor",
    "MRODataCube",
    "MRONull",
    "MROResult",
    "Nanodiffraction",
    "NullMaps",
    "OrderMap",
    "PeakMaps",
    "PolarNanodiffraction",
    "QualityReport",
    "RadialProfile",
    "ReducedPDF",
    "RingStrain",
    "StructuralComponents",
    "StructureFactor",
    "__version__",
    "aet",
    "datasets",
    "explore",
    "from_array",
    "from_py4dstem",
    "load",
    "save_py4dstem",
    "to_csv",
    "to_py4dstem",
    "to_tiff",
    "units",
]
