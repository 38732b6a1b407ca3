"""One self-contained HTML page: figures embedded, tables sortable, nothing loaded from a network."""

from __future__ import annotations

import base64
import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from medrange import __version__

if TYPE_CHECKING:
    import pandas as pd

#: Tables with more rows start folded.
_FOLD_ABOVE = 12
# Cells with longer text are broken into lines.
_LONG_TEXT = 40
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Figure:
    """A PNG image and what it shows.

    Attributes
    ----------
    image : path
        The PNG file; its bytes are copied into the page.
    caption : str
        What the figure shows, in full sentences.
    alt : str
        Short description for readers who do not see the image; the caption by default.
    """

    image: Path
    caption: str
    alt: str = ""

    @property
    def data_url(self) -> str:
        """The image as a ``data:`` URL.

        Raises
        ------
        ValueError
            If the file is not a PNG image.
        """
        content = Path(self.image).read_bytes()
        if not content.startswith(_PNG_SIGNATURE):
            msg = f"{self.image} is not a PNG image; save the figure with the ending .png."
            raise ValueError(msg)
        return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"


@dataclass(frozen=True)
class Table:
    """A table and what it lists.

    Attributes
    ----------
    frame : pandas.DataFrame
        The rows; the index is not shown. ``frame.attrs["units"]`` may hold a dictionary column -> unit,
        which is written into the column heads.
    caption : str
        What the table lists.
    digits : int
        Significant digits of numbers that are not whole.
    """

    frame: pd.DataFrame
    caption: str
    digits: int = 4

    @property
    def heads(self) -> list[str]:
        """Column heads, with units in brackets."""
        units = self.frame.attrs.get("units", {})
        return [f"{name} [{units[name]}]" if units.get(name) else str(name) for name in self.frame.columns]

    @property
    def rows(self) -> list[list[tuple[str, str]]]:
        """Rows of (text, key to sort by)."""
        return [
            [(_cell(value, self.digits), _sort_key(value)) for value in row]
            for row in self.frame.itertuples(index=False, name=None)
        ]

    @property
    def kinds(self) -> list[str]:
        """What each column holds, which decides how it is set: ``"number"``, ``"word"``, or ``"text"`` in lines."""
        return [_kind(cells) for cells in zip(*self.rows, strict=True)] or ["number"] * self.frame.shape[1]

    @property
    def folded(self) -> bool:
        """Whether the table starts folded, because it is long."""
        return len(self.frame) > _FOLD_ABOVE


@dataclass(frozen=True)
class Section:
    """One titled part of the page: text, then figures, then tables.

    Attributes
    ----------
    title : str
        Heading; also in the list of contents.
    text : str
        Plain text; an empty line starts a paragraph.
    figures : tuple of Figure
        Images with captions.
    tables : tuple of Table
        Tables with captions.
    """

    title: str
    text: str = ""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()

    @property
    def paragraphs(self) -> list[str]:
        """The text, split at empty lines."""
        return [part.strip() for part in self.text.split("\n\n") if part.strip()]


def write_page(
    path: str | Path,
    *,
    title: str,
    summary: Mapping[str, object],
    sections: Iterable[Section],
    warnings: Iterable[str] = (),
) -> Path:
    """Write a page that can be mailed, archived and opened without a network.

    Parameters
    ----------
    path : str or path
        HTML file to write; its folder is made when missing.
    title : str
        Heading of the page.
    summary : mapping of str to object
        The main figures of the run, shown first: name -> value with its unit.
    sections : iterable of Section
        The parts of the page, in order.
    warnings : iterable of str, optional
        Shown above everything else.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ValueError
        If a figure is not a PNG image.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> write_page(folder / "page.html", title="Run", summary={"k": "4 1/nm"}, sections=[]).name
    'page.html'
    """
    template = _environment().from_string(
        resources.files("medrange.report").joinpath("template.html").read_text(encoding="utf-8")
    )
    page = template.render(
        title=title,
        summary={name: _cell(value, 4) for name, value in summary.items()},
        sections=list(sections),
        warnings=list(dict.fromkeys(warnings)),
        version=__version__,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _environment() -> jinja2.Environment:
    """Template environment: everything is escaped, a misspelled name is an error."""
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _cell(value: Any, digits: int) -> str:
    """Text of one value: whole numbers in full, others to ``digits``, a dash for what is missing."""
    if value is None or (isinstance(value, numbers.Real) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return f"{float(value):.{digits}g}"
    return str(value)


def _sort_key(value: Any) -> str:
    """Key of one value: the number in full, empty for what is missing, the text otherwise."""
    if value is None or (isinstance(value, numbers.Real) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, numbers.Real) else str(value)


def _kind(cells: Iterable[tuple[str, str]]) -> str:
    """Kind of a column, from the texts and keys of its cells."""
    cells = list(cells)
    if max(len(text) for text, _ in cells) > _LONG_TEXT:
        return "text"
    return "word" if any(key and not _is_number(key) for _, key in cells) else "number"


def _is_number(key: str) -> bool:
    try:
        float(key)
    except ValueError:
        return False
    return True
