"""Tomography: from an ADF tilt series to a volume; lengths in angstrom, arrays [x, y, z] with z along the beam."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
