"""A reconstructed volume and how it came about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medrange._version import __version__
from medrange.formats.tiff import write_tiff
from medrange.formats.vtk import write_image_data

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Volume and R factors of a reconstruction.

    Attributes
    ----------
    volume : numpy.ndarray
        Shape (nx, ny, nz), float32, axes [x, y, z]; z is the beam at zero tilt. The center is voxel n // 2. Of
        an extended object this is the field of view; the rest is only roughly known and is left out.
    pixel_size : float or None
        Edge of a voxel, angstrom.
    r_factor : numpy.ndarray
        R1 of every iteration, before its update: mean over the images of ``sum|calculated - measured| /
        sum|measured|``. From a zero start the first is 1.
    r2 : numpy.ndarray
        The same with the root of the sum of squares.
    parameters : mapping
        What the run was given, and the version of medrange.

    Examples
    --------
    >>> Reconstruction(np.ones((4, 4, 4), np.float32), 0.35, [1.0, 0.25], [1.0, 0.3])
    Reconstruction(4 x 4 x 4 voxels of 0.35 Å, 2 iterations, R1 0.2500, R2 0.3000)
    """

    volume: np.ndarray
    pixel_size: float | None
    r_factor: np.ndarray
    r2: np.ndarray
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "volume", np.ascontiguousarray(self.volume, dtype=np.float32))
        object.__setattr__(self, "r_factor", np.asarray(self.r_factor, dtype=float))
        object.__setattr__(self, "r2", np.asarray(self.r2, dtype=float))
        object.__setattr__(self, "parameters", {"medrange_version": __version__, **self.parameters})
        if self.volume.ndim != 3 or self.r_factor.shape != self.r2.shape:
            msg = (
                f"the volume has shape {self.volume.shape}, the R factors {self.r_factor.shape} and {self.r2.shape}; "
                "a volume has three axes and there is one R1 and one R2 per iteration."
            )
            raise ValueError(msg)

    @property
    def iterations(self) -> int:
        """Number of iterations."""
        return self.r_factor.size

    @property
    def history(self) -> pd.DataFrame:
        """Table with ``r_factor`` (R1) and ``r2`` by ``iteration``, from 1."""
        import pandas as pd

        index = pd.RangeIndex(1, self.iterations + 1, name="iteration")
        return pd.DataFrame({"r_factor": self.r_factor, "r2": self.r2}, index=index)

    def save(self, path: str | Path) -> Path:
        """Write the volume: .npz or .zarr with everything, .mrc, .tif or .vti with volume and pixel size alone.

        Parameters
        ----------
        path : str or pathlib.Path
            File, or folder for .zarr. In .mrc and .tif (ImageJ) the sections are planes of constant z with rows
            along x; .vti (ParaView) has its origin at the center of the volume, voxel n // 2.

        Returns
        -------
        pathlib.Path
            ``path``.

        Raises
        ------
        ValueError
            If the suffix is another.
        """
        path = Path(path)
        writers = {".npz": self._save_npz, ".zarr": self._save_zarr, ".mrc": self._save_mrc}
        writers |= {".tif": self._save_tiff, ".vti": self._save_vti}
        if path.suffix not in writers:
            msg = f"{path.name}: a reconstruction is saved as one of {', '.join(writers)}."
            raise ValueError(msg)
        writers[path.suffix](path)
        return path

    def _description(self) -> str:
        return json.dumps({"pixel_size": self.pixel_size, "parameters": dict(self.parameters)}, default=_plain)

    def _save_npz(self, path: Path) -> None:
        np.savez_compressed(
            path, volume=self.volume, r_factor=self.r_factor, r2=self.r2, description=self._description()
        )

    def _save_zarr(self, path: Path) -> None:
        import zarr

        group = zarr.open_group(str(path), mode="w")
        for name in ("volume", "r_factor", "r2"):
            group.create_dataset(name, data=getattr(self, name))
        group["volume"].attrs.update({"axes": ["x", "y", "z"], "unit": "angstrom"})
        group.attrs["description"] = self._description()

    def _save_mrc(self, path: Path) -> None:
        import mrcfile

        with mrcfile.new(path, overwrite=True) as file:
            file.set_data(np.ascontiguousarray(self.volume.transpose(2, 1, 0)))
            file.set_volume()
            if self.pixel_size is not None:
                file.voxel_size = self.pixel_size

    def _save_tiff(self, path: Path) -> None:
        size = self.pixel_size
        calibration = {} if size is None else {"pixel_size": (size, size), "spacing": size, "units": "Å"}
        write_tiff(path, self.volume.transpose(2, 1, 0), **calibration)

    def _save_vti(self, path: Path) -> None:
        size = 1.0 if self.pixel_size is None else self.pixel_size
        origin = tuple(-(n // 2) * size for n in self.volume.shape)
        write_image_data(path, self.volume, spacing=size, origin=origin)

    @classmethod
    def load(cls, path: str | Path) -> Reconstruction:
        """Read what :meth:`save` wrote as .npz, .zarr or .mrc; the last has no R factors and no parameters."""
        path = Path(path)
        if path.suffix == ".mrc":
            import mrcfile

            with mrcfile.open(path) as file:
                size = float(file.voxel_size.x)
                return cls(file.data.transpose(2, 1, 0), size if size > 0 else None, [], [])
        if path.suffix == ".npz":
            with np.load(path) as file:
                arrays = [file[name] for name in ("volume", "r_factor", "r2")]
                description = json.loads(str(file["description"]))
        elif path.suffix == ".zarr":
            import zarr

            group = zarr.open_group(str(path), mode="r")
            arrays = [group[name][...] for name in ("volume", "r_factor", "r2")]
            description = json.loads(group.attrs["description"])
        else:
            msg = f"{path.name}: a reconstruction is read from .npz, .zarr or .mrc."
            raise ValueError(msg)
        return cls(arrays[0], description["pixel_size"], arrays[1], arrays[2], description["parameters"])

    def plot(self, **keywords: object) -> np.ndarray:
        """Draw the three central slices; see :func:`medrange.plotting.tomography.plot_orthoslices`."""
        from medrange.plotting.tomography import plot_orthoslices

        return plot_orthoslices(self, **keywords)

    def plot_r_factor(self, **keywords: object) -> Axes:
        """Draw R over the iterations; see :func:`medrange.plotting.tomography.plot_r_factor`."""
        from medrange.plotting.tomography import plot_r_factor

        return plot_r_factor(self, **keywords)

    def __repr__(self) -> str:
        size = " x ".join(str(n) for n in self.volume.shape)
        pixel = "" if self.pixel_size is None else f" of {self.pixel_size:g} Å"
        text = f"Reconstruction({size} voxels{pixel}, {self.iterations} iterations"
        if self.iterations:
            text += f", R1 {self.r_factor[-1]:.4f}, R2 {self.r2[-1]:.4f}"
        return text + ")"


def _plain(value: object) -> object:
    """A NumPy number or array as JSON knows it."""
    return value.tolist()
