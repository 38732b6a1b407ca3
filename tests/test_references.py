"""Every source a docstring cites is in references.bib, and nothing there is idle."""

import re
from pathlib import Path

import pytest

import medrange

BIBLIOGRAPHY = Path(__file__).parents[1] / "references.bib"


def cited():
    files = Path(medrange.__file__).parent.rglob("*.py")
    return set(re.findall(r"\[([A-Z][A-Za-z]+\d{4})\]_", "".join(f.read_text(encoding="utf-8") for f in files)))


def listed():
    return re.findall(r"^@\w+\{(\w+),", BIBLIOGRAPHY.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_cited_sources_are_listed():
    assert cited() <= set(listed())


def test_listed_sources_are_cited_once():
    assert len(listed()) == len(set(listed()))
    assert set(listed()) <= cited()


@pytest.mark.parametrize("entry", BIBLIOGRAPHY.read_text(encoding="utf-8").split("\n@")[1:], ids=lambda e: e[:20])
def test_entries_are_complete(entry):
    for field in ("author", "title", "year", "doi"):
        assert re.search(rf"^\s*{field}\s*=", entry, flags=re.MULTILINE), field
