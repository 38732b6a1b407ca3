from . import aet, datasets, units
from ._version import __version__
from .geometry import DiffractionGeometry
from .signals.autocorrelation import Autocorrelation
from .signals.fluctuation import FluctuationVariance
from .signals.hotspots import Hotspots
from .signals.loading import load
from .signals.mro_result import MROResult
from .signals.nanodiffraction import LazyNanodiffraction, Nanodiffraction
from .signals.null import MRONull, NullMaps
from .signals.order_map import LazyOrderMap, OrderMap
from .signals.polar import LazyPolarNanodiffraction, PolarNanodiffraction
from .signals.profiles import LazyRadialProfile, RadialProfile
from .signals.quality import QualityReport
from .signals.strain import RingStrain

__all__ = [
    "Autocorrelation",
    "DiffractionGeometry",
    "FluctuationVariance",
    "Hotspots",
    "LazyNanodiffraction",
    "LazyOrderMap",
    "LazyPolarNanodiffraction",
    "LazyRadialProfile",
    "MRONull",
    "MROResult",
    "Nanodiffraction",
    "NullMaps",
    "OrderMap",
    "PolarNanodiffraction",
    "QualityReport",
    "RadialProfile",
    "RingStrain",
    "__version__",
    "aet",
    "datasets",
    "load",
    "units",
]
