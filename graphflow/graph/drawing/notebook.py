"""What a notebook keeps of a diagram.

A saved notebook that is reopened without trust shows an `<img>` with a data URI and plain text, but
neither an inline `<svg>` nor `image/svg+xml`; so the picture comes as an image inside HTML first.
"""

from __future__ import annotations

from base64 import b64encode
from html import escape

from graphflow.graph.diagram import Diagram, Overlay
from graphflow.graph.drawing.labels import drawable
from graphflow.graph.drawing.svg import draw_svg
from graphflow.graph.drawing.text import draw_text


def mimebundle(diagram: Diagram, overlay: Overlay | None = None) -> dict[str, str]:
    """The diagram for `_repr_mimebundle_`: media type to content."""
    svg = draw_svg(diagram, overlay)
    data = b64encode(svg.encode()).decode("ascii")
    alt = escape(f"graph {drawable(diagram.name)}")
    return {
        "text/html": f'<img alt="{alt}" src="data:image/svg+xml;base64,{data}">',
        "image/svg+xml": svg,
        "text/plain": draw_text(diagram, overlay).rstrip("\n"),
    }
