"""Work shared between threads, in parts whose bounds do not depend on the number of threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Threads:
    """Threads that are kept from one call to the next: starting 16 of them takes as long as a small projection.

    They end with the object. A copy in another process starts its own.

    Parameters
    ----------
    workers : int
        How many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def __reduce__(self) -> tuple[type[Threads], tuple[int]]:
        return Threads, (self.workers,)

    def each(self, function: Callable[[Any], None], parts: Iterable[Any]) -> None:
        """Call ``function`` for every part; parts write to places of their own, so that the order is irrelevant."""
        if self.workers == 1:
            for part in parts:
                function(part)
            return
        # A forked process has the object, but not its threads.
        if self._pool is None or self._process != os.getpid():
            self._pool, self._process = ThreadPoolExecutor(self.workers), os.getpid()
        for _ in self._pool.map(function, parts):
            pass
