"""How work is done everywhere outside dask: on how many cores, and whether a progress bar is shown."""

from __future__ import annotations

import math
import os
from pathlib import Path

# What a container may use of the processors, in microseconds of each period: "200000 100000", or "max 100000".
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cores() -> int:
    """Cores that this process may use: those it is bound to, and no more than the quota of its container.

    Examples
    --------
    >>> available_cores() >= 1
    True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))


def progress_shown(asked: bool | None = None) -> bool:
    """Whether to show a progress bar: what was asked for, else yes; but never unasked in CI.

    Examples
    --------
    >>> progress_shown(False), progress_shown(True)
    (False, True)
    """
    return "CI" not in os.environ if asked is None else bool(asked)
