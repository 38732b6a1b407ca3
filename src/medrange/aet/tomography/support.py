"""Support: which voxels of a volume belong to the object."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def support_mask(
    volume: np.ndarray,
    *,
    smoothing: int = 9,
    level: float = 0.9,
    dilation: float = 18.0,
    erosion: float = 18.0,
    smallest: int = 0,
) -> np.ndarray:
    """Voxels of the object, from its smoothed intensity; see [Yuan2022]_ and [Otsu1979]_.

    The volume is averaged over cubes, cut at ``level`` times Otsu's threshold of 256 levels, grown and shrunk again by
    balls: gaps between atoms close, and the outline stays.

    Parameters
    ----------
    volume : numpy.ndarray
        Shape (nx, ny, nz): intensity.
    smoothing : int
        Edge of the cube of the mean, voxels.
    level : float
        Factor of Otsu's threshold.
    dilation, erosion : float
        Radii of the balls, voxels; a larger erosion leaves out the outer layer of atoms.
    smallest : int
        Connected regions of fewer voxels are dropped before the mask is grown.

    Returns
    -------
    numpy.ndarray
        Shape (nx, ny, nz), bool: True inside the object.

    Raises
    ------
    ValueError
        If the volume is not 3-D and finite, is constant, or if a parameter is negative.

    Examples
    --------
    >>> volume = np.zeros((30, 30, 30))
    >>> volume[8:22, 8:22, 8:22] = 1.0
    >>> mask = support_mask(volume, smoothing=3, dilation=2, erosion=2)
    >>> bool(mask[15, 15, 15]), bool(mask[2, 2, 2])
    (True, False)
    """
    from skimage.filters import threshold_otsu

    volume = np.asarray(volume)
    if volume.ndim != 3 or not np.isfinite(volume).all():
        msg = f"the volume has shape {volume.shape}; three axes of finite values are needed."
        raise ValueError(msg)
    if smoothing < 1 or not level > 0 or smallest < 0:
        msg = f"smoothing is {smoothing}, level {level}, smallest {smallest}; give at least 1, above 0, at least 0."
        raise ValueError(msg)
    smooth = ndimage.uniform_filter(volume.astype(np.float32), smoothing, mode="constant")
    if smooth.min() == smooth.max():
        msg = f"the volume is {smooth.min():g} everywhere, so it has no object; give a reconstruction with atoms."
        raise ValueError(msg)
    mask = smooth > level * threshold_otsu(smooth, nbins=256)
    if smallest:
        labels, _ = ndimage.label(mask)
        large = np.bincount(labels.ravel()) >= smallest
        large[0] = False
        mask = large[labels]
    return eroded(dilated(mask, dilation), erosion)


def dilated(mask: np.ndarray, radius: float) -> np.ndarray:
    """Mask grown by a ball.

    Parameters
    ----------
    mask : numpy.ndarray
        Bool, any shape.
    radius : float
        Voxels; 0 changes nothing.

    Returns
    -------
    numpy.ndarray
        True where a voxel of the mask lies within ``radius``.

    Raises
    ------
    ValueError
        If the radius is negative.

    Examples
    --------
    >>> dilated(np.array([0, 0, 1, 0, 0], dtype=bool), 1).astype(int)
    array([0, 1, 1, 1, 0])
    """
    mask = _checked_mask(mask, radius)
    if radius == 0 or not mask.any():
        return mask.copy()
    return ndimage.distance_transform_edt(~mask) <= radius


def eroded(mask: np.ndarray, radius: float) -> np.ndarray:
    """Mask shrunk by a ball; the border of the array takes nothing away.

    Parameters
    ----------
    mask : numpy.ndarray
        Bool, any shape.
    radius : float
        Voxels; 0 changes nothing.

    Returns
    -------
    numpy.ndarray
        True where every voxel within ``radius`` belongs to the mask.

    Raises
    ------
    ValueError
        If the radius is negative.

    Examples
    --------
    >>> eroded(np.array([1, 1, 1, 1, 0], dtype=bool), 1).astype(int)
    array([1, 1, 1, 0, 0])
    """
    mask = _checked_mask(mask, radius)
    if radius == 0 or mask.all():
        return mask.copy()
    return ndimage.distance_transform_edt(mask) > radius


def _checked_mask(mask: np.ndarray, radius: float) -> np.ndarray:
    if not radius >= 0:
        msg = f"the radius of the ball is {radius}; give voxels, 0 or more."
        raise ValueError(msg)
    return np.asarray(mask, dtype=bool)
