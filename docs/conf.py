"""Sphinx configuration; nothing here needs the network."""

import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")
here = Path(__file__).parent
sys.path.insert(0, str(here / "_ext"))

import medrange  # noqa: E402

project = "medrange"
author = "The medrange developers"
copyright = author
version = release = medrange.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "api_pages",
    "bibliography",
    "mathml",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_ext", "_templates"]
# An entry that only a private function cites is no fault; a citation without an entry is ("ref.ref").
suppress_warnings = ["ref.citation"]

autosummary_generate = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
maximum_signature_line_length = 90

myst_enable_extensions = ["amsmath", "dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
# Notebooks are shown with the outputs they carry: .ci/run executes them before it builds the pages.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
html_math_renderer = "mathml"

html_theme = "pydata_sphinx_theme"
html_title = "medrange"
html_static_path = ["_static"]
html_css_files = ["medrange.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_prev_next": False,
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "navigation_with_keys": False,
    "header_links_before_dropdown": 7,
}
# Pages without siblings have nothing to show at the side.
html_sidebars = {name: [] for name in ("install", "getting-started", "conventions", "references", "changelog")}

# Pages are looked for below docs: the notebooks and the changelog are copied here, where Git ignores them.
(here / "notebooks").mkdir(exist_ok=True)
sources = {path.name: path for path in (here.parent / "notebooks").glob("*.ipynb")}
for copy in (here / "notebooks").glob("*.ipynb"):
    if copy.name not in sources:
        copy.unlink()
for name, path in sources.items():
    copy = here / "notebooks" / name
    if not copy.is_file() or copy.read_bytes() != path.read_bytes():
        shutil.copy(path, copy)
