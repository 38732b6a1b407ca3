"""Identity of the input of a run: name, size and checksum."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

#: Files up to this size are hashed whole.
_WHOLE_BELOW = 64 * 2**20
#: Of larger files, this much at either end.
_END = 2**20


@dataclass(frozen=True)
class Fingerprint:
    """What identifies an input file.

    Attributes
    ----------
    path : pathlib.Path
        The file as it was named by the user.
    size : int
        Bytes; of a folder, the sum over its files.
    sha256 : str
        Hexadecimal checksum.
    hashed : str
        What the checksum was taken of.
    """

    path: Path
    size: int
    sha256: str
    hashed: str


def fingerprint(path: str | Path) -> Fingerprint:
    """Checksum of a file or of a folder that serves as one (``.zspy``).

    Up to 64 MiB a file is hashed whole; of a larger one the first and the last MiB, followed by its size in
    bytes as decimal digits. Of a folder the sorted relative names and sizes of its files are hashed.

    Parameters
    ----------
    path : str or path
        The input.

    Returns
    -------
    Fingerprint
        Size, checksum, and in words what was hashed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "scan.raw"
    >>> _ = file.write_bytes(b"abc")
    >>> fingerprint(file).sha256[:12], fingerprint(file).hashed
    ('ba7816bf8f01', 'whole file')
    """
    path = Path(path)
    if not path.exists():
        msg = f"{path} does not exist; check the name and the folder."
        raise FileNotFoundError(msg)
    if path.is_dir():
        return _of_folder(path)
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if size <= _WHOLE_BELOW:
            for block in iter(lambda: file.read(_END), b""):
                digest.update(block)
            return Fingerprint(path, size, digest.hexdigest(), "whole file")
        digest.update(file.read(_END))
        file.seek(size - _END)
        digest.update(file.read(_END))
    digest.update(str(size).encode("ascii"))
    return Fingerprint(path, size, digest.hexdigest(), "first and last MiB, and the size")


def _of_folder(path: Path) -> Fingerprint:
    """Checksum of the names and sizes in a folder."""
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    sizes = [file.stat().st_size for _, file in files]
    digest = hashlib.sha256()
    for (name, _), size in zip(files, sizes, strict=True):
        digest.update(f"{name}\0{size}\n".encode())
    return Fingerprint(path, sum(sizes), digest.hexdigest(), f"names and sizes of {len(files)} files")
