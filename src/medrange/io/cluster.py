"""Computing on a dask cluster: the patterns are read where they are used, by the workers."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from urllib.parse import urlsplit

import dask
import dask.threaded

#: Seconds after which a scheduler that does not answer is given up.
PATIENCE = 10.0


@contextmanager
def connected(scheduler: str | None, *, patience: float = PATIENCE) -> Iterator[None]:
    """Compute all that is lazy on a dask cluster, within a ``with`` block.

    The workers open the files themselves, under the paths given here: the folder of the data must be mounted alike.
    medrange must be installed there in the same version.

    Parameters
    ----------
    scheduler : str or None
        Address, ``"tcp://host:8786"``; None for the client that there is, else threads of this process.
    patience : float
        Seconds to wait for an answer.

    Raises
    ------
    ValueError
        If the address cannot be read.
    OSError
        If no scheduler answers.

    Examples
    --------
    >>> with connected(None):
    ...     pass
    """
    if scheduler is None:
        # Where no client can be, dask is spared the search for one, which loads a large package.
        is_free = "distributed" not in sys.modules and dask.config.get("scheduler", None) is None
        with dask.config.set(scheduler=dask.threaded.get) if is_free else nullcontext():
            yield
        return
    client = _client(scheduler, patience)
    try:
        yield
    finally:
        client.close()


def _client(scheduler: str, patience: float) -> object:
    from distributed import Client

    _knock(scheduler, patience)
    try:
        client = Client(scheduler, timeout=patience)
    except (OSError, TimeoutError):
        raise OSError(_silent(scheduler)) from None
    if not client.scheduler_info()["workers"]:
        client.close()
        msg = f"the dask scheduler at {scheduler} has no workers; start some with 'dask worker {scheduler}'."
        raise OSError(msg)
    return client


def _knock(scheduler: str, patience: float) -> None:
    """Refuse an address where nobody listens; distributed would try for long, and tell of it in many lines."""
    try:
        parts = urlsplit(scheduler)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not (host and port and parts.scheme in ("tcp", "tls")):
        msg = f"{scheduler!r} is not the address of a dask scheduler, which looks like tcp://localhost:8786."
        raise ValueError(msg)
    try:
        socket.create_connection((host, port), timeout=patience).close()
    except OSError:
        raise OSError(_silent(scheduler)) from None


def _silent(scheduler: str) -> str:
    return (
        f"no dask scheduler answers at {scheduler}. Start one with 'dask scheduler', which shows its address, and "
        "workers with 'dask worker ADDRESS'."
    )
