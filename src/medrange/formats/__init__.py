"""Arrays as files of other programs: TIFF for ImageJ, VTK for ParaView."""

from medrange.formats.tiff import write_tiff
from medrange.formats.vtk import write_image_data, write_polydata

__all__ = ["write_image_data", "write_polydata", "write_tiff"]
