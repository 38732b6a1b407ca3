"""TIFF files that ImageJ opens with pixel size, unit and a label per slice."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

#: Offsets in a TIFF file have 32 bits; some room is left for the tags.
_LARGEST = 2**32 - 2**20
#: Units that are not ASCII, as ImageJ and RosettaSciIO spell them.
_SPELLINGS = {"µm": "micron", "μm": "micron", "um": "micron", "Å": "angstrom"}


def write_tiff(
    path: str | PathLike,
    images: np.ndarray,
    *,
    pixel_size: tuple[float, float] | None = None,
    units: str = "",
    origin: tuple[float, float] = (0.0, 0.0),
    spacing: float | None = None,
    labels: Sequence[str] | None = None,
) -> Path:
    """Write an image or a stack as float32 TIFF, calibrated as ImageJ reads it.

    Parameters
    ----------
    path : path
        ``.tif`` or ``.tiff``; an existing file is replaced.
    images : numpy.ndarray
        Shape (y, x) or (slices, y, x), real; NaN stays NaN.
    pixel_size : tuple of float, optional
        (dy, dx) in ``units``, positive; without it the file is not calibrated.
    units : str
        Unit of length: ``nm``, ``Å``, ``µm``, ... ImageJ has one for both directions.
    origin : tuple of float
        (y, x) of the center of the first pixel, in ``units``.
    spacing : float, optional
        Distance of the slices in ``units``, of a volume.
    labels : sequence of str, optional
        One per slice: what ImageJ shows above the image.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ValueError
        If the suffix, the shape, the pixel size or the number of labels is wrong, or the file would be larger than
        the 4 GB that TIFF can hold.

    Examples
    --------
    >>> import tempfile
    >>> path = write_tiff(f"{tempfile.mkdtemp()}/map.tif", np.ones((4, 6)), pixel_size=(0.5, 0.25), units="nm")
    >>> import tifffile
    >>> with tifffile.TiffFile(path) as file:
    ...     file.imagej_metadata["unit"], file.pages[0].tags["XResolution"].value
    ('nm', (4, 1))
    """
    import tifffile

    path, images = Path(path), np.asarray(images)
    if path.suffix.lower() not in (".tif", ".tiff"):
        msg = f"{path.name!r}: the ending of an image file must be .tif or .tiff."
        raise ValueError(msg)
    if images.ndim not in (2, 3) or images.dtype.kind not in "biuf":
        msg = f"the array has shape {images.shape} and type {images.dtype}; images are real, (y, x) or (slices, y, x)."
        raise ValueError(msg)
    if 4 * images.size > _LARGEST:
        msg = f"{images.shape} as float32 is more than the 4 GB a TIFF can hold; write it in parts, or as .mrc or .vti."
        raise ValueError(msg)
    slices = len(images) if images.ndim == 3 else 1
    if labels is not None and len(labels) != slices:
        msg = f"there are {len(labels)} labels and {slices} slices; give one label per slice."
        raise ValueError(msg)
    steps = (1.0, 1.0) if pixel_size is None else tuple(float(step) for step in pixel_size)
    if not all(np.isfinite(step) and step > 0 for step in (*steps, 1.0 if spacing is None else spacing)):
        msg = f"pixel_size is {pixel_size!r} and spacing {spacing!r}; lengths must be positive."
        raise ValueError(msg)
    metadata = {"axes": "ZYX" if images.ndim == 3 else "YX", "Labels": None if labels is None else list(labels)}
    if pixel_size is not None:
        # ImageJ counts its origin in pixels: x = (column - xorigin) * pixel width.
        place = {"yorigin": -origin[0] / steps[0], "xorigin": -origin[1] / steps[1]}
        metadata |= {"unit": _SPELLINGS.get(units, units), "spacing": spacing, **place}
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(
        path,
        images.astype(np.float32),
        imagej=True,
        resolution=(1 / steps[1], 1 / steps[0]),
        metadata={key: value for key, value in metadata.items() if value is not None},
    )
    return path
