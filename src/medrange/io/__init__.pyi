from .load import describe, read

__all__ = ["describe", "read"]
