"""How work is done everywhere outside dask: on how many cores, and whether a progress bar is shown."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Cores that this process may use.

    Examples
    --------
    >>> available_cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def progress_shown(asked: bool | None = None) -> bool:
    """Whether to show a progress bar: what was asked for, else yes; but never unasked in CI.

    Examples
    --------
    >>> progress_shown(False), progress_shown(True)
    (False, True)
    """
    return "CI" not in os.environ if asked is None else bool(asked)
