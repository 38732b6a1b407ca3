"""Background of a projection: what lies under the object, from what lies around it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve


def object_mask(
    image: np.ndarray, *, threshold: float | None = None, smoothing: float = 3.0, margin: int = 5
) -> np.ndarray:
    """Where the object is in a projection.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (nx, ny).
    threshold : float, optional
        Brightness of the smoothed image above which a pixel belongs to the object; by default Otsu's.
    smoothing : float
        Standard deviation of the Gaussian that joins atoms to one object, pixels.
    margin : int
        Pixels added around the object, so that its tails do not count as background.

    Returns
    -------
    numpy.ndarray
        Boolean, (nx, ny), True in the object: the mask that :func:`laplace_background` leaves out.

    Raises
    ------
    ValueError
        If the mask covers the whole image or nothing of it.

    Examples
    --------
    >>> image = np.zeros((32, 32))
    >>> image[12:20, 12:20] = 1
    >>> bool(object_mask(image)[16, 16]), bool(object_mask(image)[0, 0])
    (True, False)
    """
    from skimage.filters import threshold_otsu

    smooth = ndimage.gaussian_filter(np.asarray(image, dtype=float), smoothing)
    limit = threshold_otsu(smooth) if threshold is None else threshold
    mask = smooth > limit
    if margin:
        mask = ndimage.distance_transform_edt(~mask) <= margin if mask.any() else mask
    if mask.all() or not mask.any():
        msg = (
            f"the threshold {limit:g} {'leaves no background' if mask.all() else 'finds no object'}; "
            f"the smoothed image runs from {smooth.min():.4g} to {smooth.max():.4g}."
        )
        raise ValueError(msg)
    return mask


def laplace_background(image: np.ndarray, mask: np.ndarray, *, smoothing: float = 2.0) -> np.ndarray:
    """Background that continues the surroundings of the object under it [Yuan2022]_.

    Outside the mask: the smoothed image. Inside: the solution of Laplace's equation with those boundary values,
    the smoothest surface that meets them; at the edge of the image its slope across the edge is zero.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (nx, ny).
    mask : numpy.ndarray
        Boolean, (nx, ny), True = excluded: the object.
    smoothing : float
        Standard deviation of the Gaussian over the pixels outside the mask, pixels; 0 for none. It keeps the
        noise of single pixels at the boundary out of the solution.

    Returns
    -------
    numpy.ndarray
        Shape (nx, ny), float64; subtract it from the image.

    Raises
    ------
    ValueError
        If shapes differ, the mask is not boolean, or nothing is left outside it.

    Examples
    --------
    >>> plane = np.add.outer(np.arange(16.0), np.arange(16.0))
    >>> mask = np.zeros((16, 16), bool)
    >>> mask[5:11, 5:11] = True
    >>> bool(np.allclose(laplace_background(plane, mask, smoothing=0), plane))
    True
    """
    image, mask = np.asarray(image, dtype=float), np.asarray(mask)
    if mask.dtype != bool or mask.shape != image.shape or image.ndim != 2:
        msg = f"the mask is {mask.dtype} of shape {mask.shape}; it must be boolean, of the image's shape {image.shape}."
        raise ValueError(msg)
    if mask.all():
        msg = "the mask covers the whole image: no background is left to continue under the object."
        raise ValueError(msg)
    background = _smoothed_outside(image, mask, smoothing)
    if mask.any():
        background[mask] = _harmonic(background, mask)
    return background


def _smoothed_outside(image: np.ndarray, mask: np.ndarray, smoothing: float) -> np.ndarray:
    """Gaussian average over the pixels outside the mask, at those pixels."""
    if not smoothing:
        return image.copy()
    weight = ndimage.gaussian_filter((~mask).astype(float), smoothing, mode="constant")
    total = ndimage.gaussian_filter(np.where(mask, 0, image), smoothing, mode="constant")
    return np.divide(total, weight, out=image.copy(), where=~mask)


def _harmonic(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Values at the masked pixels that are the mean of their neighbors in the image."""
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(np.count_nonzero(mask))
    size = number.max() + 1
    rows, cols, right_side = [], [], np.zeros(size)
    degree = np.zeros(size)
    for axis in (0, 1):
        first = np.moveaxis(number, axis, 0)
        boundary = np.moveaxis(values, axis, 0)
        for here, there, edge in (
            (first[:-1], first[1:], boundary[1:]),
            (first[1:], first[:-1], boundary[:-1]),
        ):
            inside = here >= 0
            degree += np.bincount(here[inside], minlength=size)
            fixed = inside & (there < 0)
            right_side += np.bincount(here[fixed], edge[fixed], minlength=size)
            linked = inside & (there >= 0)
            rows.append(here[linked])
            cols.append(there[linked])
    rows, cols = np.concatenate(rows), np.concatenate(cols)
    links = sparse.csr_matrix((np.ones(len(rows)), (rows, cols)), shape=(size, size))
    return spsolve((sparse.diags(degree) - links).tocsc(), right_side)
