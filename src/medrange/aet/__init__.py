"""Atomic electron tomography and atomic models; lengths are in angstrom throughout.

The names are loaded on first use, so that the analysis of an atomic model never imports tomography.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
