"""Radial autocorrelation of order maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medrange.kernels.autocorrelation import correlation_length, first_neighbor_peak, radial_autocorrelation
from medrange.signals.tables import with_units, write_table


@dataclass(frozen=True, eq=False, repr=False)
class Autocorrelation:
    """Autocorrelation of order maps as a function of distance (Fig. 4c and 4d of [Im2018]_).

    Made by :meth:`medrange.signals.order_map.OrderMap.autocorrelation`.

    Attributes
    ----------
    r : numpy.ndarray
        Shape (bins,): distance, nm; starts at 0.
    values : numpy.ndarray
        Shape (maps, bins): ``<z(a) z(b)> / <z^2>``, 1 at r = 0; ``z`` is the map minus its mean.
    orders : tuple
        The order n of each map, or ``("map",)`` for a single map without orders.
    correlation_length : numpy.ndarray
        Shape (maps,): distance at which the values first fall to 1/e, nm.
    first_neighbor : numpy.ndarray
        Shape (maps,): first maximum after the first minimum, nm; NaN where there is none.
    """

    r: np.ndarray
    values: np.ndarray
    orders: tuple[int | str, ...]
    correlation_length: np.ndarray
    first_neighbor: np.ndarray

    def __repr__(self) -> str:
        lines = [
            f"Autocorrelation({len(self.orders)} maps, r to {self.r[-1]:.2f} nm)",
            f"{'n':>5}   correlation length (nm)   first neighbor (nm)",
        ]
        rows = zip(self.orders, self.correlation_length, self.first_neighbor, strict=True)
        lines += [f"{order!s:>5}   {length:<23.2f}   {neighbor:.2f}" for order, length, neighbor in rows]
        return "\n".join(lines)

    @property
    def units(self) -> dict[str, str]:
        """Unit of each quantity."""
        return {"r": "nm", "values": "", "correlation_length": "nm", "first_neighbor": "nm"}

    @property
    def table(self) -> pd.DataFrame:
        """One row per distance: ``r`` (nm) and a column per map, ``n=4`` for order 4."""
        names = [f"n={order}" if isinstance(order, int) else order for order in self.orders]
        columns = {"r": self.r, **dict(zip(names, self.values, strict=True))}
        return with_units(pd.DataFrame(columns), self.units)

    @property
    def summary(self) -> pd.DataFrame:
        """One row per map: ``n``, ``correlation_length`` and ``first_neighbor`` (nm)."""
        columns = {
            "n": list(self.orders),
            "correlation_length": self.correlation_length,
            "first_neighbor": self.first_neighbor,
        }
        return with_units(pd.DataFrame(columns), self.units)

    def save(self, path: str | Path) -> list[Path]:
        """Write the curves and their lengths as CSV with units in the headers.

        Parameters
        ----------
        path : str or pathlib.Path
            File of the curves, ``.csv`` is added when it has no suffix; the lengths go beside it, with
            ``_summary`` added to the name.

        Returns
        -------
        list of pathlib.Path
            The two files.
        """
        path = Path(path)
        path = path if path.suffix else path.with_suffix(".csv")
        return [
            write_table(self.table, path),
            write_table(self.summary, path.with_name(f"{path.stem}_summary{path.suffix}")),
        ]

    def plot(self, **kwargs: Any) -> Any:
        """Curves at short and long range: see :func:`medrange.plotting.plot_autocorrelation`."""
        from medrange.plotting import profiles

        return profiles.plot_autocorrelation(self, **kwargs)


def autocorrelate_maps(
    images: np.ndarray,
    orders: Sequence[int | str],
    *,
    pixel_size: tuple[float, float],
    max_distance: float | None = None,
) -> Autocorrelation:
    """Radial autocorrelation of a stack of maps; see :meth:`OrderMap.autocorrelation`.

    Parameters
    ----------
    images : numpy.ndarray
        Shape (maps, y, x); NaN where there is no value.
    orders : sequence
        One name per map.
    pixel_size : tuple of float
        (dy, dx), nm.
    max_distance : float, optional
        Largest distance, nm; half of the shorter side of the scan when not given.

    Returns
    -------
    Autocorrelation
        Curves, correlation lengths and first neighbors.
    """
    curves = [radial_autocorrelation(im, pixel_size=pixel_size, max_distance=max_distance) for im in images]
    # The distances depend on shape and pixel size only: one r serves all maps.
    r = curves[0][0]
    values = np.stack([sigma for _, sigma in curves])
    return Autocorrelation(
        r=r,
        values=values,
        orders=tuple(orders),
        correlation_length=np.array([correlation_length(r, sigma) for sigma in values]),
        first_neighbor=np.array([first_neighbor_peak(r, sigma) for sigma in values]),
    )
