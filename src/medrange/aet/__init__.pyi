from . import atoms, tomography

__all__ = ["atoms", "tomography"]
