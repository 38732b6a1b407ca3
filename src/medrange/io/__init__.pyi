from .conversion import Conversion, convert
from .load import describe, read

__all__ = ["Conversion", "convert", "describe", "read"]
