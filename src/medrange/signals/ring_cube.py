"""Polar patterns of a scan kept at hand, so that maps of any ring follow at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
from dask.diagnostics import ProgressBar

from medrange.geometry import PolarGrid
from medrange.kernels.angular import angular_power, intensity_variance
from medrange.kernels.polar import open_bins, polar_operator
from medrange.signals.building import map_axes
from medrange.signals.descan import scan_shifts
from medrange.signals.grids import all_rings
from medrange.signals.mapping import shows_progress
from medrange.signals.polar import checked_orders
from medrange.signals.polar_maps import to_polar

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

#: What a ring can be mapped as.
QUANTITIES = ("P_n", "V2D", "ring mean")


@dataclass(frozen=True, eq=False, repr=False)
class RingCube:
    """Mean intensity in fine rings at every position, or every second, third, ... one.

    Attributes
    ----------
    means : numpy.ndarray
        Shape (n_k, y, x, n_phi), float32; 0 where a bin has no open pixel.
    area : numpy.ndarray
        Shape (n_k, n_phi): open detector area of each bin, pixels; 0 where too little of it is open.
    full : numpy.ndarray
        Shape (n_k, n_phi): area of each bin on the detector, the masked part included, pixels.
    grid : PolarGrid
        The rings, half a detector pixel wide, from k = 0.
    axes : list of dict
        Scan axes y and x of the maps.
    every : int
        Only every so manyth scan line and column is there.
    k_units : str
        Unit of k.
    """

    means: np.ndarray
    area: np.ndarray
    full: np.ndarray
    grid: PolarGrid
    axes: list[dict[str, Any]]
    every: int
    k_units: str

    def __repr__(self) -> str:
        rows, columns = self.means.shape[1:3]
        text = f"RingCube({rows} x {columns} positions, {self.grid.n_k} rings to k = {self.grid.k_max:g} {self.k_units}"
        return f"{text}, {self.grid.n_phi} azimuths, {self.means.nbytes / 2**20:.0f} MB)"

    def ring(self, k: float, width: float) -> tuple[float, float]:
        """Radius and width of the ring between those edges of fine rings that are nearest to the one asked for.

        Raises
        ------
        ValueError
            If nothing is left of it.
        """
        first, last = self._edges(k, width)
        step = self.grid.k_step
        return 0.5 * (first + last) * step, (last - first) * step

    def image(self, quantity: str, k: float, width: float, n: int = 4) -> np.ndarray:
        """Map of a ring; its edges are moved to the nearest ones of fine rings, see :meth:`ring`.

        Parameters
        ----------
        quantity : str
            ``"P_n"`` as :meth:`Nanodiffraction.angular_power_map`, ``"V2D"`` as ``variance_map``, ``"ring mean"`` as
            ``annular_dark_field``.
        k, width : float
            Radius and full width of the ring.
        n : int
            Symmetry order of P_n.

        Returns
        -------
        numpy.ndarray
            Shape (y, x); NaN where the ring holds no intensity.

        Raises
        ------
        ValueError
            If the quantity is unknown, the ring lies outside or the order is out of range.
        """
        if quantity not in QUANTITIES:
            msg = f"quantity is {quantity!r}; choose one of {', '.join(QUANTITIES)}."
            raise ValueError(msg)
        (n,) = checked_orders([n], self.grid.n_phi)
        own = slice(*self._edges(k, width))
        area = self.area[own]
        total = np.einsum("kyxp,kp->yxp", self.means[own], area)
        with np.errstate(divide="ignore", invalid="ignore"):
            if quantity == "ring mean":
                return total.sum(axis=-1) / area.sum()
            rings = total / area.sum(axis=0)
        rings[..., ~open_bins(area.sum(axis=0), self.full[own].sum(axis=0))] = np.nan
        return intensity_variance(rings) if quantity == "V2D" else angular_power(rings)[..., n - 1]

    def _edges(self, k: float, width: float) -> tuple[int, int]:
        step, n_k = self.grid.k_step, self.grid.n_k
        first, last = (round(edge / step) for edge in (k - width / 2, k + width / 2))
        if not 0 <= first < last <= n_k:
            msg = (
                f"the ring k = {k:g} {self.k_units}, width {width:g}, is not within 0 .. {self.grid.k_max:g}, or "
                f"narrower than {step:g}."
            )
            raise ValueError(msg)
        return first, last


def ring_cube(signal: BaseSignal, *, n_phi: int = 36, memory_limit: int = 2**30) -> RingCube:
    """Read a scan once into fine rings, half a detector pixel wide.

    Maps of rings whose edges are multiples of half a pixel are those of the signal's own methods, but for float32.
    Behind a mask they agree to about a percent, since a bin is closed or open in each fine ring by itself.

    Parameters
    ----------
    signal : Nanodiffraction
        (y, x | ky, kx), eager or lazy.
    n_phi : int
        Number of azimuthal bins.
    memory_limit : int
        Most bytes of the rings. Of a larger scan only every second, third, ... line and column is taken.

    Returns
    -------
    RingCube
        In memory.

    Raises
    ------
    ValueError
        If the scan is not two-dimensional, or a single position needs more than the limit.

    Examples
    --------
    >>> import medrange as mr
    >>> scan = mr.load(mr.datasets.sample_scan("empad")).inav[:4, :3]
    >>> scan.set_center((63.6, 64.4))
    >>> ring_cube(scan)
    RingCube(3 x 4 positions, 126 rings to k = 10.08 1/nm, 36 azimuths, 0 MB)
    """
    map_axes(signal)
    geometry = signal.geometry
    grid = all_rings(geometry, n_phi, geometry.k_step / 2, None, scan_shifts(signal))
    each = 4 * grid.n_k * grid.n_phi
    columns, rows = signal.axes_manager.navigation_shape
    every = 1
    while each * math.ceil(rows / every) * math.ceil(columns / every) > memory_limit:
        every += 1
        if every > max(rows, columns):
            msg = f"memory_limit is {memory_limit} bytes; the rings of one position take {each}."
            raise ValueError(msg)
    part = signal.inav[::every, ::every] if every > 1 else signal
    polar = to_polar(part, grid).data
    if signal._lazy:
        with ProgressBar(minimum=1.0) if shows_progress() else dask.config.set({}):
            polar = polar.compute()
    # Rings first: those of a band then lie together.
    means = np.ascontiguousarray(np.nan_to_num(polar.astype(np.float32, copy=False).transpose(3, 0, 1, 2)))
    operator = polar_operator(geometry, grid)
    area = operator.area * operator.is_open
    return RingCube(means, area, operator.full, grid, map_axes(part), every, geometry.k_units)
