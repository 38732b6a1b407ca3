"""The state of a reconstruction between two iterations, on disk."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(eq=False)
class State:
    """What an iteration starts from: volume [x, y, z], gradient memory (or None), R factors so far."""

    volume: np.ndarray
    memory: np.ndarray | None = None
    r_factor: list[float] = field(default_factory=list)
    r2: list[float] = field(default_factory=list)

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return len(self.r_factor)


def checksum(*items: object) -> str:
    """A hash of arrays and values: tells whether a checkpoint belongs to these data and parameters."""
    digest = hashlib.sha256()
    for item in items:
        if isinstance(item, np.ndarray):
            digest.update(str((item.shape, item.dtype)).encode())
            digest.update(np.ascontiguousarray(item))
        else:
            digest.update(repr(item).encode())
        digest.update(b"|")
    return digest.hexdigest()


def save_state(path: Path, state: State, identity: str) -> None:
    """Write a checkpoint (.npz); a run that is killed meanwhile leaves the one before."""
    arrays = {"volume": state.volume.transpose(0, 2, 1), "r_factor": state.r_factor, "r2": state.r2}
    if state.memory is not None:
        arrays["memory"] = state.memory.transpose(0, 2, 1)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, identity=identity, **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_state(path: Path, identity: str) -> State:
    """Read a checkpoint.

    Raises
    ------
    ValueError
        If the file is no checkpoint, or one of other data or other parameters.
    """
    with np.load(path) as file:
        if "identity" not in file.files:
            msg = f"{path} is no checkpoint of a reconstruction."
            raise ValueError(msg)
        if str(file["identity"]) != identity:
            msg = (
                f"{path} was written by a run with other data or other parameters (only the number of iterations may "
                "differ); use the same ones, or another file, or delete it to start anew."
            )
            raise ValueError(msg)
        memory = file["memory"].transpose(0, 2, 1) if "memory" in file.files else None
        return State(file["volume"].transpose(0, 2, 1), memory, file["r_factor"].tolist(), file["r2"].tolist())
