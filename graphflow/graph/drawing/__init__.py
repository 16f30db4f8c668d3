"""Pictures of graphs, made here: SVG, Mermaid, DOT, plain text, notebook output."""

from graphflow.graph.drawing.dot import to_dot
from graphflow.graph.drawing.layout import layout
from graphflow.graph.drawing.mermaid import draw_mermaid
from graphflow.graph.drawing.notebook import mimebundle
from graphflow.graph.drawing.svg import draw_svg
from graphflow.graph.drawing.text import draw_text

__all__ = ["draw_mermaid", "draw_svg", "draw_text", "layout", "mimebundle", "to_dot"]
