"""Hotspots of a map: threshold it, label the regions, measure them, and turn sizes into a volume fraction.

The method of [Im2018]_ (Fig. 4a and 4b): regions of a map above an iterative threshold are taken as
spheres of the same projected area. See [Im2018]_, [Ridler1978]_, [Otsu1979]_ and [Stratton2008]_ in
references.bib.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy import ndimage

from medrange.kernels.paired import paired_sum

_METHODS = "'isodata', 'otsu', 'quantile:0.95' or a number"


def threshold_value(image: np.ndarray, method: str | float = "isodata") -> float:
    """Threshold of a map; a hotspot is where the map is above it.

    ``"isodata"`` is the iterative method of the paper: from the mean of the map on,
    ``t = (mean of values <= t + mean of values > t) / 2`` until the two classes stay the same
    ([Ridler1978]_). ``"otsu"`` maximizes the variance between the classes ([Otsu1979]_). Both use the
    values themselves, not a histogram, so that they follow any change of scale and offset.

    Parameters
    ----------
    image : numpy.ndarray
        The map; values that are not finite are left out.
    method : str or float
        ``"isodata"``, ``"otsu"``, ``"quantile:q"`` with q between 0 and 1, or the threshold itself.

    Returns
    -------
    float
        The threshold in units of the map. The common value of a constant map, which then has no
        hotspots; NaN where no value is finite.

    Raises
    ------
    ValueError
        If the method is unknown, the quantile is outside 0..1 or the number is not finite.

    Examples
    --------
    >>> threshold_value(np.array([[0.0, 0.0, 1.0], [0.0, 5.0, 6.0]]))
    2.875
    >>> threshold_value(np.arange(101.0), "quantile:0.95")
    95.0
    """
    if not isinstance(method, str):
        return _given_threshold(method)
    quantile = _quantile(method)
    values = np.asarray(image, dtype=np.float64)
    values = np.sort(values[np.isfinite(values)])
    if values.size == 0:
        return float("nan")
    low, span = values[0], values[-1] - values[0]
    if span == 0:
        return float(low)
    if quantile is not None:
        return float(np.quantile(values, quantile))
    scaled = (values - low) / span
    split = _isodata(scaled) if method == "isodata" else _otsu(scaled)
    return float(low + span * split)


def _given_threshold(value: float) -> float:
    if not np.isscalar(value) or not np.isfinite(value):
        msg = f"threshold is {value!r}; give {_METHODS}."
        raise ValueError(msg)
    return float(value)


def _quantile(method: str) -> float | None:
    """Quantile asked for by ``method``, None for the methods without one."""
    if method in {"isodata", "otsu"}:
        return None
    name, _, text = method.partition(":")
    try:
        quantile = float(text) if name == "quantile" else float("nan")
    except ValueError:
        quantile = float("nan")
    if not 0 <= quantile <= 1:
        msg = f"threshold is {method!r}; give {_METHODS} (a quantile lies between 0 and 1)."
        raise ValueError(msg)
    return quantile


def _isodata(values: np.ndarray) -> float:
    """Intermeans threshold of sorted values that span 0 to 1."""
    total = np.cumsum(values)
    threshold, below = total[-1] / values.size, -1
    # The two means rise with the threshold, so that the number below moves one way and comes to rest.
    while (count := int(np.searchsorted(values, threshold, side="right"))) != below:
        below = count
        low = total[below - 1] / below
        high = (total[-1] - total[below - 1]) / (values.size - below)
        threshold = (low + high) / 2
    return float(threshold)


def _otsu(values: np.ndarray) -> float:
    """Threshold of the largest variance between classes, for sorted values that span 0 to 1."""
    total = np.cumsum(values)
    below = np.arange(1, values.size)
    above = values.size - below
    gap = (total[-1] - total[:-1]) / above - total[:-1] / below
    between = np.where(values[1:] > values[:-1], below * above * gap**2, -1.0)
    best = int(np.argmax(between))
    return float(values[best] + values[best + 1]) / 2


def label_hotspots(image: np.ndarray, threshold: float, *, min_pixels: int = 1) -> np.ndarray:
    """Label the 8-connected regions of a map that lie above a threshold.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (y, x). A pixel that is not finite belongs to no region.
    threshold : float
        In units of the map; NaN gives no regions.
    min_pixels : int
        Regions of fewer pixels are dropped.

    Returns
    -------
    numpy.ndarray
        Shape (y, x), int32: 0 outside, 1..count inside.

    Raises
    ------
    ValueError
        If the map is not two-dimensional or ``min_pixels`` is below 1.

    Examples
    --------
    >>> label_hotspots(np.array([[9, 0, 0], [0, 9, 0], [0, 0, 0], [0, 0, 9]]), 5)[:, -1]
    array([0, 0, 0, 2], dtype=int32)
    """
    # float64, so that a float32 map and its threshold are compared without rounding the threshold.
    image = np.asarray(image, dtype=np.float64)
    if image.ndim != 2:
        msg = f"a map of shape {image.shape} was given; hotspots are found in one map (y, x) at a time."
        raise ValueError(msg)
    if min_pixels < 1:
        msg = f"min_pixels is {min_pixels!r}; it must be at least 1."
        raise ValueError(msg)
    labels = np.zeros(image.shape, dtype=np.int32)
    ndimage.label((image > threshold) & np.isfinite(image), structure=np.ones((3, 3)), output=labels)
    if min_pixels == 1:
        return labels
    keep = np.bincount(labels.ravel()) >= min_pixels
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]


def measure_hotspots(
    labels: np.ndarray, image: np.ndarray, *, pixel_size: tuple[float, float] = (1.0, 1.0)
) -> dict[str, np.ndarray]:
    """Position, size and strength of every labeled region.

    ``diameter = 2 sqrt(area / pi)`` and ``volume = pi diameter^3 / 6``: a sphere of that area ([Im2018]_).

    Parameters
    ----------
    labels : numpy.ndarray
        Shape (y, x), integers: 0 outside, 1..count inside, as from :func:`label_hotspots`.
    image : numpy.ndarray
        Shape (y, x): the map.
    pixel_size : tuple of float
        (dy, dx), a length.

    Returns
    -------
    dict of numpy.ndarray, each of shape (regions,)
        One value per region: ``label``; ``y``, ``x`` (center of area; 0 at the center of the first
        pixel); ``area``; ``diameter``; ``volume``; ``mean`` and ``maximum`` of the map.

    Raises
    ------
    ValueError
        If the shapes differ or a pixel size is not positive.

    Examples
    --------
    >>> regions = measure_hotspots(np.eye(2, dtype=int), np.ones((2, 2)), pixel_size=(0.5, 0.5))
    >>> float(regions["area"][0]), float(regions["y"][0])
    (0.5, 0.25)
    """
    labels, image, (dy, dx) = np.asarray(labels), np.asarray(image, dtype=np.float64), pixel_size
    if labels.shape != image.shape or labels.ndim != 2:
        msg = f"labels {labels.shape} and map {image.shape} must have one shape (y, x)."
        raise ValueError(msg)
    if not (dy > 0 and dx > 0):
        msg = f"pixel_size is {pixel_size!r}; both lengths (dy, dx) must be positive."
        raise ValueError(msg)
    row, column = np.nonzero(labels)
    inside, values = labels[row, column], image[row, column]
    number = np.arange(1, inside.max(initial=0) + 1)

    def total(weights: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(inside, weights, minlength=number.size + 1)[1:]

    pixels, maximum = total(), np.full(number.size + 1, -np.inf)
    np.maximum.at(maximum, inside, values)
    diameter = 2 * np.sqrt(pixels * (dy * dx) / np.pi)
    return {
        "label": number,
        "y": total(row) / pixels * dy,
        "x": total(column) / pixels * dx,
        "area": pixels * (dy * dx),
        "diameter": diameter,
        "volume": np.pi * diameter**3 / 6,
        "mean": total(values) / pixels,
        "maximum": maximum[1:],
    }


def acceptance_ratio(acceptance_angle: float = 10.0) -> float:
    """Ordered regions in a diffracting condition over those that are not, ``a / (180 - a)``.

    Parameters
    ----------
    acceptance_angle : float
        Bragg acceptance angle a in degrees: how far a region may be turned and still diffract
        ([Stratton2008]_); 10 in [Im2018]_.

    Raises
    ------
    ValueError
        If the angle is not between 0 and 180 degrees.

    Examples
    --------
    >>> round(acceptance_ratio(10), 4)
    0.0588
    """
    if not 0 < acceptance_angle < 180:
        msg = f"acceptance_angle is {acceptance_angle!r} degrees; it must lie between 0 and 180."
        raise ValueError(msg)
    return acceptance_angle / (180.0 - acceptance_angle)


def volume_fraction(diameters: np.ndarray, *, area: float, thickness: float, acceptance_angle: float = 10.0) -> float:
    """Share of the sample that is ordered, from the diameters of the regions that diffract.

    ``sum(pi d^3 / 6) / (ratio * area * thickness)`` with the ratio of :func:`acceptance_ratio`: the
    regions seen are spheres, and only those near a Bragg condition are seen ([Im2018]_).

    Parameters
    ----------
    diameters : numpy.ndarray
        Shape (regions,), a length.
    area : float
        Scanned area, length^2.
    thickness : float
        Thickness of the sample along the beam, in the same length.
    acceptance_angle : float
        Bragg acceptance angle in degrees.

    Returns
    -------
    float
        Fraction; above 1 where the assumptions do not hold.

    Raises
    ------
    ValueError
        If area or thickness is not positive, or the angle is out of range.

    Examples
    --------
    The paper's map has 87 regions of radius 0.74 nm in 40.6 x 40.6 nm of a 20 nm foil:

    >>> round(volume_fraction([1.48] * 87, area=40.6**2, thickness=20), 3)
    0.076
    """
    spheres = np.pi * np.asarray(diameters, dtype=np.float64) ** 3 / 6
    return float(spheres.sum() / _sampled_volume(area, thickness, acceptance_angle))


def volume_fraction_error(
    diameters: np.ndarray, *, area: float, thickness: float, acceptance_angle: float = 10.0
) -> float:
    """Estimate the standard error of :func:`volume_fraction` for regions that lie at random.

    ``sqrt(sum((pi d^3 / 6)^2)) / (ratio * area * thickness)``: the limit of many draws of the Poisson
    bootstrap, in which every region counts 0, 1, 2... times with mean 1. It covers the chance in number
    and sizes, not the choice of threshold, thickness or acceptance. NaN without regions.

    Examples
    --------
    >>> round(volume_fraction_error([1.48] * 87, area=40.6**2, thickness=20), 4)
    0.0082
    """
    spheres = np.pi * np.asarray(diameters, dtype=np.float64) ** 3 / 6
    volume = _sampled_volume(area, thickness, acceptance_angle)
    return float(np.sqrt((spheres**2).sum()) / volume) if spheres.size else float("nan")


def _sampled_volume(area: float, thickness: float, acceptance_angle: float) -> float:
    for name, value in (("area", area), ("thickness", thickness)):
        if not value > 0:
            msg = f"{name} is {value!r}; it must be positive."
            raise ValueError(msg)
    return acceptance_ratio(acceptance_angle) * area * thickness


def normalized_sum(maps: np.ndarray, *, totals: np.ndarray | None = None) -> np.ndarray:
    """Average maps after each was divided by its own mean ([Im2018]_, Fig. 3f).

    Parameters
    ----------
    maps : numpy.ndarray
        Shape (n, y, x). A dask array gives a dask array, with nothing computed.
    totals : numpy.ndarray, optional
        Shape (n,): sum of the finite values of each map, where it is known; needed for a dask array.

    Returns
    -------
    numpy.ndarray
        Shape (y, x), mean 1, in the floating type of the maps. NaN where any map has no value. A map
        whose mean is not positive has nothing to be weighed by and takes no part, with one warning (none
        for dask); where no map is left all is NaN.

    Examples
    --------
    >>> normalized_sum(np.array([[[1.0, 3.0]], [[10.0, 10.0]]]))
    array([[0.75, 1.25]])
    """
    finite = np.isfinite(maps)
    count = finite.sum(axis=(1, 2), keepdims=True)
    if totals is None:
        totals = paired_sum(np.where(finite, maps, 0).reshape(len(maps), -1).T)[0]
    total = totals[:, None, None]
    used = total > 0
    if isinstance(used, np.ndarray) and not used.all():
        warnings.warn(
            f"{np.count_nonzero(~used)} of {used.size} maps have no positive mean and take no part in the "
            "normalized sum.",
            stacklevel=2,
        )
    relative = np.where(used, maps * (count / np.where(used, total, 1)), 0)
    # One after the other: the order of a sum over an axis is that of the memory.
    result = sum(relative[1:], start=relative[0]) / np.where(used.any(), used.sum(), np.nan)
    return result.astype(np.result_type(maps.dtype, np.float32))


def overlap_fraction(labels_a: np.ndarray, labels_b: np.ndarray) -> float:
    """Share of the area of the hotspots ``a`` that lies in hotspots ``b``; NaN where ``a`` has none.

    Parameters
    ----------
    labels_a, labels_b : numpy.ndarray
        Shape (y, x): 0 outside hotspots.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> overlap_fraction(np.array([[1, 1], [2, 0]]), np.array([[0, 3], [0, 3]]))
    0.3333333333333333
    """
    a, b = np.asarray(labels_a) > 0, np.asarray(labels_b) > 0
    if a.shape != b.shape:
        msg = f"maps of shapes {a.shape} and {b.shape} do not overlap; give maps of one scan."
        raise ValueError(msg)
    count = int(a.sum())
    return float((a & b).sum() / count) if count else float("nan")
