"""Work shared between threads, in parts whose bounds do not depend on the number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def each(function: Callable[[Any], None], parts: Iterable[Any], workers: int) -> None:
    """Call ``function`` for every part; parts write to places of their own, so that the order is irrelevant."""
    if workers == 1:
        for part in parts:
            function(part)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(function, parts):
            pass
