"""Atomic models: packing, motifs and networks; positions (N, 3) in angstrom."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
