"""Figures of a run as PNG files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import figure as mpl_figure

from medrange.plotting.style import STYLE

_DPI = 150

#: Draws on a figure.
Draw = Callable[[Any], object]


def save_figure(path: Path, draw: Callable[[Any], object], size: tuple[float, float]) -> Path:
    """Draw on a figure of ``size`` inches that no window system knows of, and save it as PNG."""
    with mpl.rc_context(STYLE):
        figure = mpl_figure.Figure(figsize=size, layout="constrained")
        draw(figure)
        # the constrained layout settles in its second pass, that of saving
        figure.get_layout_engine().execute(figure)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=_DPI)
    return path


def save_figures(folder: Path, drawings: Mapping[str, tuple[Draw, tuple[float, float]]]) -> dict[str, Path]:
    """Save figures by name: (what draws, size in inches) -> PNG file."""
    return {name: save_figure(folder / f"{name}.png", draw, size) for name, (draw, size) in drawings.items()}
