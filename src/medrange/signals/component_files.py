"""Structural components on disk: two HyperSpy files for basis and weights, one NumPy archive for the rest."""

from __future__ import annotations

import json
import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hyperspy.api as hs
import numpy as np

from medrange.pdf.compression import Compressed, CompressedScan

if TYPE_CHECKING:
    from medrange.signals.structural_components import StructuralComponents

_SIGNALS = ("basis", "weights")
_ENDINGS = (".zspy", ".hspy")


def write(result: StructuralComponents, path: Path, *, overwrite: bool | None) -> list[Path]:
    """Write a result under a name; see :meth:`StructuralComponents.save`."""
    targets = _targets(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # RosettaSciIO's writer on zarr 2; nothing a user can do.
        warnings.filterwarnings("ignore", message="The NestedDirectoryStore is deprecated")
        for name, target in zip(_SIGNALS, targets, strict=False):
            getattr(result, name).save(target, overwrite=overwrite)
    record = {"labels": list(result.labels), "parameters": result.parameters, "quality": result.quality}
    arrays: dict[str, Any] = {"record": json.dumps(record)}
    for field in fields(CompressedScan):
        value = getattr(result.scan, field.name)
        if isinstance(value, Compressed):
            arrays |= {f"{field.name}_{part.name}": getattr(value, part.name) for part in fields(Compressed)}
        else:
            arrays[field.name] = value
    np.savez(targets[-1], **arrays)
    return targets


def read(path: Path) -> dict[str, Any]:
    """Fields of a result that :func:`write` wrote under a name."""
    targets = _targets(path)
    missing = [str(target) for target in targets if not target.exists()]
    if missing:
        msg = f"not found: {', '.join(missing)}; give the name that was given to save, with its ending."
        raise FileNotFoundError(msg)
    signals = dict(zip(_SIGNALS, (hs.load(target) for target in targets[:2]), strict=True))
    with np.load(targets[-1]) as archive:
        arrays = {name: archive[name] for name in archive.files}
    record = json.loads(str(arrays.pop("record")))
    parts: dict[str, Any] = {}
    for field in fields(CompressedScan):
        if field.name in arrays:
            value = arrays[field.name]
            parts[field.name] = value.item() if value.ndim == 0 else value
        else:
            found = {part.name: arrays[f"{field.name}_{part.name}"] for part in fields(Compressed)}
            parts[field.name] = Compressed(**found | {"energy": float(found["energy"])})
    return signals | record | {"labels": tuple(record["labels"]), "scan": CompressedScan(**parts)}


def _targets(path: Path) -> list[Path]:
    ending = path.suffix or ".zspy"
    if ending not in _ENDINGS:
        msg = f"{path.name!r} does not end in .zspy or .hspy."
        raise ValueError(msg)
    return [path.with_name(f"{path.stem}_{name}{ending}") for name in _SIGNALS] + [
        path.with_name(f"{path.stem}_scan.npz")
    ]
