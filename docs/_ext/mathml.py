"""Formulas as MathML, made when the pages are built: no script and no font from elsewhere."""

from __future__ import annotations

from html import escape

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def mathml(node: nodes.Node, display: str) -> str:
    """MathML of one formula; what cannot be converted is a warning, and shown as it was written."""
    source = node.astext()
    try:
        return convert(source, display=display)
    except Exception as error:
        logger.warning("formula %r: %s", source, error or type(error).__name__, location=node)
        return f"<code>{escape(source)}</code>"


def visit_inline(self: nodes.NodeVisitor, node: nodes.math) -> None:
    """Formula in a line."""
    self.body.append(mathml(node, "inline"))
    raise nodes.SkipNode


def visit_block(self: nodes.NodeVisitor, node: nodes.math_block) -> None:
    """Formula of its own."""
    self.body.append(f'<div class="math-block">{mathml(node, "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
