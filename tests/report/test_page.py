from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Drawing

from medrange import __version__
from medrange.report.page import Figure, Section, Table, write_page

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects elements and text, and notices tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def image(tmp_path):
    mpl.use("Agg")
    figure = Drawing(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    path = tmp_path / "line.png"
    figure.savefig(path)
    return path


@pytest.fixture
def table():
    frame = pd.DataFrame({"n": [2, "sum"], "diameter": [1.23456, np.nan], "count": [12, 7], "sure": [True, False]})
    frame.attrs["units"] = {"diameter": "nm", "count": ""}
    return Table(frame, "Sizes.")


def written(tmp_path, **keywords):
    keywords = {"title": "Run", "summary": {}, "sections": [], **keywords}
    return Page(write_page(tmp_path / "page.html", **keywords).read_text(encoding="utf-8"))


def test_page_holds_figures_tables_and_texts(tmp_path, image, table):
    section = Section("Maps", "First.\n\nSecond.", (Figure(image, "A line.", "line"),), (table,))
    page = written(tmp_path, summary={"Scan": "3 x 4", "V2D": 0.123456}, sections=[section])
    assert [attributes["alt"] for attributes in page.all("img")] == ["line"]
    assert len(page.all("table")) == 1
    assert len(page.all("p")) == 2
    for words in ("Run", "3 x 4", "0.1235", "A line.", "Sizes.", "First.", "Second.", f"medrange {__version__}"):
        assert words in page.text


def test_page_is_self_contained(tmp_path, image, table):
    write_page(tmp_path / "page.html", title="Run", summary={}, sections=[Section("A", figures=(Figure(image, "B"),))])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    sources = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "data", "action", "srcset")
    ]
    assert sources
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert "http" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_embedded_image_has_the_bytes_of_the_file(image):
    import base64

    _, data = Figure(image, "A").data_url.split(",")
    assert base64.b64decode(data) == image.read_bytes()


def test_alt_text_falls_back_to_the_caption(tmp_path, image):
    page = written(tmp_path, sections=[Section("A", figures=(Figure(image, "A line."),))])
    assert page.all("img")[0]["alt"] == "A line."


def test_a_file_that_is_no_png_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match="is not a PNG image"):
        written(tmp_path, sections=[Section("A", figures=(Figure(path, "A"),))])


def test_warnings_come_first_and_once(tmp_path):
    page = written(tmp_path, summary={"Scan": "3 x 4"}, warnings=["Lost frames.", "Thick.", "Lost frames."])
    assert page.text.index("2 warnings") < page.text.index("Lost frames.") < page.text.index("Scan")
    assert page.text.count("Lost frames.") == 1
    assert {"class": "warnings", "role": "alert"} in page.all("div")
    assert not any("role" in attributes for attributes in written(tmp_path).all("div"))


def test_table_writes_units_and_rounds(table):
    assert table.heads == ["n", "diameter [nm]", "count", "sure"]
    assert table.rows[0] == [("2", "2.0"), ("1.235", "1.23456"), ("12", "12.0"), ("yes", "1.0")]
    assert table.rows[1][:2] == [("sum", "sum"), ("–", "")]


def test_columns_are_set_by_what_they_hold(tmp_path, table):
    frame = pd.DataFrame({"value": [1.5, np.nan], "verdict": ["good", "look"], "meaning": ["short", "long " * 20]})
    assert Table(frame, "A").kinds == ["number", "word", "text"]
    assert Table(frame[:0], "A").kinds == ["number"] * 3
    page = written(tmp_path, sections=[Section("A", tables=(Table(frame, "A"),))])
    assert [cell["class"] for cell in page.all("td")] == ["number", "word", "text"] * 2
    assert [cell["class"] for cell in page.all("th")] == ["number", "word", "text"]


def test_heads_can_be_clicked_to_sort_by_the_full_number(tmp_path, table):
    page = written(tmp_path, sections=[Section("A", tables=(table,))])
    assert len(page.all("button")) == 4
    assert [cell["data-key"] for cell in page.all("td")][:2] == ["2.0", "1.23456"]
    assert len(page.all("script")) == 1


def test_long_tables_start_folded(tmp_path):
    long = Table(pd.DataFrame({"a": range(40)}), "Many.")
    page = written(tmp_path, sections=[Section("A", tables=(long,))])
    assert len(page.all("details")) == 1
    assert "Many. (40 rows)" in page.text


def test_text_is_escaped(tmp_path):
    evil = Table(pd.DataFrame({"<b>": ["<script>alert(1)</script>"]}), "<i>")
    page = written(tmp_path, title="<u>", summary={"<s>": "<em>"}, sections=[Section("<h6>", "<q>", tables=(evil,))])
    assert not {"b", "i", "u", "s", "em", "h6", "q"} & {tag for tag, _ in page.elements}
    assert len(page.all("script")) == 1


def test_contents_link_to_the_sections(tmp_path):
    page = written(tmp_path, sections=[Section("Maps"), Section("Sizes")])
    links = [attributes["href"][1:] for attributes in page.all("a")]
    assert links == [attributes["id"] for attributes in page.all("section")]


def test_missing_folders_are_made(tmp_path):
    path = write_page(tmp_path / "a" / "b" / "page.html", title="Run", summary={}, sections=[])
    assert path.is_file()
