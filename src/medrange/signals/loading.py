"""Open a scan: what ``medrange.io`` reads, made into a signal with a navigator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from medrange import io
from medrange.io.emd import BUNDLE, CUBE
from medrange.signals.browsing import navigator_image
from medrange.signals.cube_calibration import take_calibration
from medrange.signals.nanodiffraction import LazyNanodiffraction, Nanodiffraction


def load(path: str | Path, *, lazy: bool = False, **reading: Any) -> Nanodiffraction:
    """Open a 4D-STEM scan of nanodiffraction patterns.

    The format is recognized by the file's content: EMPAD (.xml, .raw), Merlin (.mib, .hdr), HyperSpy
    (.hspy, .zspy), py4DSTEM and other HDF5 (.h5), NumPy (.npy). Beam energy, camera length and scan step
    are taken from the file where it has them; the center never is: call ``fit_center()``. Only a py4DSTEM file knows
    it, and with it the ellipse, and how the center moves over the scan.

    Parameters
    ----------
    path : str or pathlib.Path
        The file; of a pair (.xml/.raw, .mib/.hdr) either one.
    lazy : bool
        Read patterns only when they are needed, in blocks of the scan. A lazy signal comes with a navigator made
        from a strip of each pattern: as it was stored by ``save`` or ``medrange convert``, else of a raw file of
        more than 16384 positions from every second, third, ..., and of an HDF5 file of more than 256 MB in chunks
        from every second, third, ... chunk in both directions.
    **reading
        ``scan_shape=(rows, columns)``, ``flyback=``, ``sync_offset=``, ``block_bytes=``, ``dataset=``,
        ``navigator=``: see :func:`medrange.io.read`.

    Returns
    -------
    Nanodiffraction or LazyNanodiffraction
        (y, x | ky, kx).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the format is not recognized, or the scan shape is unknown; the message says what to do.

    Examples
    --------
    >>> import medrange as mr
    >>> mr.load(mr.datasets.sample_scan("empad"), lazy=True).axes_manager.signal_shape
    (128, 128)
    """
    record = io.read(path, lazy=lazy, **{"navigator": lazy, **reading})
    is_lazy = isinstance(record["data"], da.Array)
    signal = (LazyNanodiffraction if is_lazy else Nanodiffraction)(
        record["data"],
        axes=record["axes"],
        metadata=record["metadata"],
        original_metadata=record["original_metadata"],
    )
    if record["metadata"]["Signal"]["signal_type"] != Nanodiffraction._signal_type:
        signal.set_signal_type(record["metadata"]["Signal"]["signal_type"])
    if signal.metadata.get_item("Medrange.Source.format") == CUBE:
        original = record["original_metadata"]
        take_calibration(signal, original.get("calibration", {}), original.get(BUNDLE, {}))
    # The file that was opened: Medrange.Source names that of the detector, also of a converted scan.
    signal.tmp_parameters.add_dictionary({"path": str(path), "patterns": signal.axes_manager.navigation_size})
    if "navigator" in record:
        signal.navigator = navigator_image(signal, record["navigator"])
    return signal


def from_array(
    data: np.ndarray | da.Array | Any,
    *,
    scan_step: float | tuple[float, float] | None = None,
    scan_units: str = "nm",
    k_step: float | None = None,
    k_units: str = "1/nm",
    beam_energy: float | None = None,
    lazy: bool = False,
) -> Nanodiffraction:
    """Scan from an array, as other packages and one's own readers give them; the array is not copied.

    Parameters
    ----------
    data : numpy.ndarray, dask.array.Array or anything dask can slice
        Shape (y, x, ky, kx), or (frames, ky, kx) for a series; integers or real numbers.
    scan_step : float or tuple of float, optional
        Distance of scan positions, or (y, x), in ``scan_units``.
    scan_units, k_units : str
        Units of the scan and of the patterns.
    k_step : float, optional
        Size of a detector pixel, k = 1/d.
    beam_energy : float, optional
        keV.
    lazy : bool
        Make a lazy signal; what is not a numpy array always makes one.

    Returns
    -------
    Nanodiffraction or LazyNanodiffraction
        (y, x | ky, kx).

    Raises
    ------
    ValueError
        If the array does not have three or four axes, or holds no real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from_array(np.zeros((3, 4, 8, 8)), scan_step=0.5, k_step=0.16)
    <Nanodiffraction, title: , dimensions: (4, 3|8, 8)>
    """
    if data.ndim not in (3, 4) or np.dtype(data.dtype).kind not in "uifb":
        msg = (
            f"the array has shape {tuple(data.shape)} and type {data.dtype}; a scan is (y, x, ky, kx), or "
            "(frames, ky, kx) for a series, of integers or real numbers."
        )
        raise ValueError(msg)
    if not isinstance(data, da.Array) and (lazy or not isinstance(data, np.ndarray)):
        data = da.from_array(data)
    signal = (LazyNanodiffraction if isinstance(data, da.Array) else Nanodiffraction)(data)
    names = ("y", "x", "ky", "kx") if data.ndim == 4 else ("frame", "ky", "kx")
    for axis, name in zip(signal.axes_manager._axes, names, strict=True):
        axis.name = name
    signal.calibrate(
        scan_step=scan_step, scan_units=scan_units, k_step=k_step, k_units=k_units, beam_energy=beam_energy
    )
    return signal
