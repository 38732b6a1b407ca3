"""Strain maps of an amorphous material, from the radius of its ring over azimuth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from hyperspy.signals import LazySignal2D, Signal2D

from medrange.kernels.polar import polar_operator
from medrange.kernels.ring_shape import annulus
from medrange.kernels.rings import working_type
from medrange.kernels.strain import ring_strain
from medrange.signals import blocks
from medrange.signals.building import build, map_axes
from medrange.signals.computing import compute_together
from medrange.signals.descan import scan_shifts
from medrange.signals.mapping import Output, map_frames, sum_over_scan

if TYPE_CHECKING:
    from hyperspy.signal import BaseSignal

_COMPONENTS = ("exx", "eyy", "exy")


@dataclass(frozen=True, eq=False, repr=False)
class RingStrain:
    """Strain tensor of an amorphous material at every scan position; see [Kang2023]_.

    Made by :meth:`medrange.signals.nanodiffraction.Nanodiffraction.ring_strain`. Positive is stretched: there
    the ring is smaller. x runs along +kx of the detector and y along +ky (downwards), or, with
    ``frame="scan"``, along the axes of the scan, turned by the geometry's scan rotation.

    With N electrons per pattern in an annulus that holds a ring of 10 % width (standard deviation over radius)
    on as much background, counting noise alone gives exx and eyy to about ``0.25 % sqrt(10^4 / N)``. In a thin sample
    under a coherent probe the speckle gives more, some percent per pattern: average over positions.

    Attributes
    ----------
    exx, eyy, exy : Signal2D
        Maps (| y, x), dimensionless; NaN where the ring holds no intensity.
    parameters : dict
        What was asked for.
    """

    exx: Signal2D
    eyy: Signal2D
    exy: Signal2D
    parameters: dict[str, Any]

    @property
    def signals(self) -> dict[str, Signal2D]:
        """The three maps by name."""
        return {name: getattr(self, name) for name in _COMPONENTS}

    def compute(self, *, show_progressbar: bool | None = None) -> None:
        """Compute lazy maps in one pass over the data, in place."""
        compute_together(self.signals.values(), show_progressbar=show_progressbar)

    def save(self, path: str | Path, *, overwrite: bool | None = None) -> list[Path]:
        """Save the maps beside each other, ``NAME_exx.zspy``, ...; .zspy when the name has no ending."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        targets = [path.with_name(f"{path.stem}_{name}{path.suffix or '.zspy'}") for name in _COMPONENTS]
        for signal, target in zip(self.signals.values(), targets, strict=True):
            signal.save(target, overwrite=overwrite)
        return targets

    def plot(self, **kwargs: Any) -> Any:
        """Draw the three maps side by side: see :func:`medrange.plotting.maps.plot_strain`."""
        from medrange.plotting import maps

        return maps.plot_strain(self, **kwargs)

    def __repr__(self) -> str:
        rows, cols = self.exx.data.shape
        text = f"RingStrain({rows} x {cols} positions, ring k = {self.parameters['k']:g} {self.parameters['k_units']}"
        if self.exx._lazy:
            return f"{text}; lazy, call compute())"
        spread = ", ".join(f"{name} {100 * np.nanstd(signal.data):.2g} %" for name, signal in self.signals.items())
        return f"{text}; standard deviation {spread})"


def analyze_strain(
    signal: BaseSignal, *, k: float, width: float, n_phi: int, reference: float | None, frame: str = "detector"
) -> RingStrain:
    """Strain maps of a scan; the parameters are those of ``Nanodiffraction.ring_strain``."""
    if reference is not None and not (np.isfinite(reference) and reference > 0):
        msg = f"reference is {reference!r}; give the radius k of the unstrained ring, or None for the scan's mean."
        raise ValueError(msg)
    geometry = signal.geometry
    rotation = _rotation_to(frame, geometry.scan_rotation)
    grid = annulus(geometry, k=k, width=width, n_phi=n_phi)
    axes = map_axes(signal)
    function = partial(blocks.polar_patterns, geometry=geometry, grid=grid)
    output = Output((grid.n_phi, grid.n_k), working_type(signal.data.dtype))
    (polar,) = map_frames(signal.data, function, [output], label="strain", shifts=scan_shifts(signal))
    mean = sum_over_scan(polar) / np.prod(polar.shape[:2])
    area = polar_operator(geometry, grid).area
    solve = partial(ring_strain, area=area, grid=grid, k0=reference, k_units=geometry.k_units)
    strain = _solve_lazily(polar, mean, solve) if isinstance(polar, da.Array) else solve(polar, mean)
    strain = turned(strain, rotation) if rotation else strain
    parameters = {"k": k, "width": width, "n_phi": n_phi, "reference": reference, "k_units": geometry.k_units}
    parameters |= {"frame": frame, "scan_rotation": geometry.scan_rotation if frame == "scan" else None}
    maps = [
        build(
            (Signal2D, LazySignal2D),
            strain[..., i],
            axes,
            source=signal,
            operation="ring_strain",
            parameters=parameters,
            quantity=f"strain {name}",
        )
        for i, name in enumerate(_COMPONENTS)
    ]
    return RingStrain(*maps, parameters)


def _rotation_to(frame: str, scan_rotation: float | None) -> float:
    """Angle by which directions of the detector are turned in the frame asked for."""
    if frame not in ("detector", "scan"):
        msg = f"frame is {frame!r}; use 'detector' (x along +kx) or 'scan' (x along the scan's x)."
        raise ValueError(msg)
    if frame == "detector":
        return 0.0
    if scan_rotation is None:
        msg = (
            "frame='scan' needs the angle between scan and detector, which is not known; set it with "
            "s.calibrate(scan_rotation_deg=...), 0 where the axes agree."
        )
        raise ValueError(msg)
    return scan_rotation


def turned(strain: np.ndarray | da.Array, rotation: float) -> np.ndarray | da.Array:
    """Components exx, eyy, exy (..., 3) in axes that see every direction at phi as phi + rotation."""
    cos, sin = np.cos(rotation), np.sin(rotation)
    matrix = np.array(
        [
            [cos * cos, sin * sin, -2 * cos * sin],
            [sin * sin, cos * cos, 2 * cos * sin],
            [cos * sin, -cos * sin, cos * cos - sin * sin],
        ]
    )
    # A matrix product that is left to a library rounds a row by how many others there are.
    product = partial(np.einsum, "...j,ij->...i")
    if not isinstance(strain, da.Array):
        return product(strain, matrix)
    return da.map_blocks(product, strain, matrix, dtype=strain.dtype, meta=strain._meta)


def _solve_lazily(polar: da.Array, mean: da.Array, solve: partial) -> da.Array:
    chunks = (*polar.chunks[:2], (len(_COMPONENTS),))
    return da.map_blocks(
        solve, polar, mean, dtype=np.float64, drop_axis=[3], chunks=chunks, meta=np.empty((0, 0, 0), np.float64)
    )
