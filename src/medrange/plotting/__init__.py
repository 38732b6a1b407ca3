"""Figures of results; functions take ``ax=None`` and return the axes; nothing is computed here.

The functions are loaded on first use: a figure of a map shall not wait for the packages that draw atoms.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
