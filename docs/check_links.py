"""Check the built pages: every internal link and anchor exists, and nothing is loaded from elsewhere.

python docs/check_links.py docs/_build/html
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser loads by itself, and what it only follows when clicked.
_LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """Links, loaded files and anchors of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what a tag points to, and its name."""
        values = {name: value for name, value in attributes if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        if tag in _LOADED and _LOADED[tag] in values:
            self.loaded.add(values[_LOADED[tag]])


def faults(folder: Path) -> Iterator[str]:
    """One line per link that leads nowhere, and per file that is loaded from another host."""
    folder = folder.resolve()
    found = (path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts)
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in found}
    if not pages:
        yield f"{folder} holds no pages; build them first: sphinx-build -W -b html docs {folder}"
    for path, page in pages.items():
        for link in sorted(page.links | page.loaded):
            parts = urlsplit(link)
            if parts.scheme == "data" or (parts.scheme and link not in page.loaded):
                continue
            if parts.scheme or parts.netloc:
                yield f"{path.relative_to(folder)}: {link} is loaded from elsewhere"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not (target.is_file() and target.is_relative_to(folder)):
                yield f"{path.relative_to(folder)}: {link} does not exist"
            elif target in pages and link in page.links and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{path.relative_to(folder)}: {link} has no such anchor"


def main() -> int:
    """Print the faults; 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    found = list(faults(parser.parse_args().folder))
    sys.stdout.write("".join(f"{line}\n" for line in found) or "every internal link leads somewhere\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
