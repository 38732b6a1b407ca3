"""Figures of a run as PNG files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import figure as mpl_figure
from matplotlib import image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import ScalarFormatter

from medrange.plotting.style import STYLE

_DPI = 150
# Noisy maps hardly shrink further, and take three times as long to pack at the default of 6.
_PNG = {"compress_level": 3}

#: Draws on a figure.
Draw = Callable[[Any], object]


def save_figure(path: Path, draw: Draw, size: tuple[float, float]) -> Path:
    """Draw on a figure of ``size`` inches that no window system knows of, and save it as PNG."""
    return _write(path, _drawn(draw, size))


def save_figures(folder: Path, drawings: Mapping[str, tuple[Draw, tuple[float, float]]]) -> dict[str, Path]:
    """Save figures by name: (what draws, size in inches) -> PNG file."""
    # An image is packed while the next one is drawn.
    with ThreadPoolExecutor(1) as pool:
        written = {
            name: pool.submit(_write, folder / f"{name}.png", _drawn(draw, size))
            for name, (draw, size) in drawings.items()
        }
        return {name: path.result() for name, path in written.items()}


def _drawn(draw: Draw, size: tuple[float, float]) -> np.ndarray:
    """Pixels (rows, columns, RGBA) of a figure."""
    with mpl.rc_context(STYLE):
        figure = mpl_figure.Figure(figsize=size, dpi=_DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        draw(figure)
        _plain_ticks(figure)
        # The constrained layout settles in its second pass, that of drawing.
        figure.get_layout_engine().execute(figure)
        canvas.draw()
    return np.array(canvas.buffer_rgba())


def _write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.imsave(path, pixels, dpi=_DPI, pil_kwargs=_PNG)
    return path


class _PlainNumbers(ScalarFormatter):
    """Numbers as text; only the power of ten beside the axis is a formula, which takes long to set."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return super().__call__(x, pos).removeprefix(r"$\mathdefault{").removesuffix("}$")


def _plain_ticks(figure: mpl_figure.Figure) -> None:
    """Set the tick labels of a figure without formulas, where that makes no difference to the eye."""
    # Color bars are insets of the axes of their maps.
    for axes in [inner for outer in figure.axes for inner in (outer, *outer.child_axes)]:
        for axis in (axes.xaxis, axes.yaxis):
            if type(axis.get_major_formatter()) is ScalarFormatter:
                axis.set_major_formatter(_PlainNumbers())
