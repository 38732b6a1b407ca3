"""The references page from references.bib, so that ``[Im2018]_`` in a docstring is a link to its entry.

The directive ``bibliography`` lists every entry of the file as a citation of Sphinx; the role ``cite`` refers to one
from a Markdown page.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from pybtex.database import BibliographyData, Entry, parse_file
from pybtex.richtext import Text
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx


def entries(path: str | Path) -> BibliographyData:
    """All entries of a BibTeX file."""
    return parse_file(str(path), bib_format="bibtex")


def plain(latex: str) -> str:
    """Text without LaTeX's accents and braces."""
    return str(Text.from_latex(latex))


def authors(entry: Entry) -> str:
    """Initials and last names; from eleven authors on the first ones and et al."""
    names = []
    for person in entry.persons.get("author", []):
        given = [plain(name) for name in (*person.first_names, *person.middle_names)]
        initials = [" ".join(f"{part[0]}." for name in given for part in name.replace("-", " ").split() if part)]
        last = [plain(name) for name in (*person.prelast_names, *person.last_names)]
        names.append(" ".join(filter(None, initials + last)))
    if len(names) > 10:
        return ", ".join(names[:6]) + " et al."
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""


def source(entry: Entry) -> str:
    """Journal, volume, pages and year, or the publisher of a book."""
    fields = {name: plain(value) for name, value in entry.fields.items()}
    where = fields.get("journal") or fields.get("booktitle") or fields.get("publisher", "")
    volume = fields.get("volume", "")
    pages = fields.get("pages", "").replace("--", "–")
    return f"{' '.join(filter(None, [where, volume]))}{f', {pages}' if pages else ''} ({fields['year']})."


class Bibliography(Directive):
    """List of all entries of references.bib as citations."""

    def run(self) -> list[nodes.Node]:
        """One citation per entry, in the order of their keys."""
        environment = self.state.document.settings.env
        path = Path(environment.app.srcdir).parent / "references.bib"
        environment.note_dependency(str(path))
        made = []
        for key, entry in sorted(entries(path).entries.items()):
            link = f"https://doi.org/{entry.fields['doi']}"
            text = nodes.paragraph()
            text += nodes.Text(f"{authors(entry)}, ")
            text += nodes.emphasis("", plain(entry.fields["title"]))
            text += nodes.Text(f", {source(entry)} ")
            text += nodes.reference("", f"doi:{entry.fields['doi']}", refuri=link, internal=False)
            citation = nodes.citation("", nodes.label("", key, support_smartquotes=False), text, docname=None)
            citation["docname"] = environment.docname
            citation["names"].append(nodes.fully_normalize_name(key))
            self.state.document.note_citation(citation)
            self.state.document.note_explicit_target(citation, citation)
            made.append(citation)
        return made


def cite(name: str, rawtext: str, text: str, *_: object) -> tuple[list[nodes.Node], list]:
    """Link to an entry, shown as its key in brackets."""
    reference = pending_xref(
        rawtext, nodes.inline(rawtext, f"[{text}]"), refdomain="citation", reftype="ref", reftarget=text, refwarn=True
    )
    reference["support_smartquotes"] = False
    return [reference], []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive and the role."""
    app.add_directive("bibliography", Bibliography)
    app.add_role("cite", cite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
