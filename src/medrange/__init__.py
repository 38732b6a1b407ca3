"""Medium-range order in amorphous materials, from 4D-STEM scans and atomic models.

The public names are loaded on first use, so that ``import medrange`` costs nothing.
"""

import lazy_loader as _lazy

from medrange._version import __version__

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
__all__ = [*__all__, "__version__"]
