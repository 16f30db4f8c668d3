"""A diagram as plain text: a line for each node with its edges, from top to bottom of the picture.

ASCII arrows only, so that it survives any terminal and any log. Labels of targets that say no more
than the target's name are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap

from graphflow.graph.diagram import Diagram, DiagramEdge, DiagramNode, Overlay
from graphflow.graph.drawing.labels import drawable
from graphflow.graph.drawing.layout import layout
from graphflow.graph.drawing.palette import state_of, taken, visits_of
from graphflow.graph.drawing.wires import merged_edges

_ARROWS = {"edge": "-->", "join": "==>", "conditional": "-?>", "goto": "~~>"}
_MEANINGS = {
    "join": "==> waits for all",
    "conditional": "-?> one of",
    "goto": "~~> where a command may go",
}
_INDENT = "    "
_WIDTH = 100
_WIDEST_NAME = 40

Places = dict[str, tuple[float, float]]
"""Path of a node to the middle of its place: down, then right."""


def draw_text(diagram: Diagram, overlay: Overlay | None = None) -> str:
    """The diagram as lines of text, with the state of a run where an overlay is given."""
    kinds = {edge.kind for edge in _every_edge(diagram)}
    legend = ", ".join(meaning for kind, meaning in _MEANINGS.items() if kind in kinds)
    lines = [drawable(diagram.name), *_level(diagram, "", "", _places(diagram), overlay)]
    return "\n".join([*lines, f"({legend})"] if legend else lines) + "\n"


def _every_edge(diagram: Diagram) -> Iterator[DiagramEdge]:
    yield from merged_edges(diagram)
    for node in diagram.nodes:
        if node.inner:
            yield from _every_edge(node.inner)


def _places(diagram: Diagram) -> Places:
    placed = layout(diagram)
    boxes = {node.id: node.box for node in placed.nodes}
    boxes |= {cluster.id: cluster.box for cluster in placed.clusters}
    return {path: (box.y + box.height / 2, box.x) for path, box in boxes.items()}


def _level(
    diagram: Diagram, path: str, indent: str, places: Places, overlay: Overlay | None
) -> Iterator[str]:
    names = _names(diagram)
    heads = {node.id: names[node.id] + _marks(node, path, overlay) for node in diagram.nodes}
    column = min(_WIDEST_NAME, max(map(len, heads.values()), default=0))
    outgoing: dict[str, list[DiagramEdge]] = {}
    for edge in merged_edges(diagram):
        outgoing.setdefault(edge.source, []).append(edge)
    for node in sorted(diagram.nodes, key=lambda node: places[path + node.id]):
        edges = _edges(outgoing.get(node.id, []), path, names, overlay)
        yield from _entry(indent, heads[node.id].ljust(column), edges)
        if node.inner:
            yield from _level(node.inner, f"{path}{node.id}/", indent + _INDENT, places, overlay)


def _names(diagram: Diagram) -> dict[str, str]:
    """What each node is called: its label, with the id where two labels are the same."""
    labels = [drawable(node.label or node.id) for node in diagram.nodes]
    return {
        node.id: label if labels.count(label) == 1 else f"{label} ({drawable(node.id)})"
        for node, label in zip(diagram.nodes, labels, strict=True)
    }


def _marks(node: DiagramNode, path: str, overlay: Overlay | None) -> str:
    count = visits_of(path + node.id, overlay)
    said = [
        "pause before" if node.pause_before else "",
        "pause after" if node.pause_after else "",
        "deferred" if node.deferred else "",
        state_of(path + node.id, overlay) or "",
        f"x{count}" if count > 1 else "",
    ]
    words = ", ".join(word for word in said if word)
    return f" ({words})" if words else ""


def _edges(
    edges: Sequence[DiagramEdge], path: str, names: dict[str, str], overlay: Overlay | None
) -> str:
    """All that leaves a node, edges of one kind under one arrow."""
    parts = []
    for kind, run in groupby(edges, key=lambda edge: edge.kind):
        targets = ", ".join(_target(edge, path, names, overlay) for edge in run)
        parts.append(f"{_ARROWS[kind]} {targets}")
    return "  ".join(parts)


def _target(edge: DiagramEdge, path: str, names: dict[str, str], overlay: Overlay | None) -> str:
    name, label = names[edge.target], drawable(edge.label)
    count = taken(path + edge.source, path + edge.target, overlay)
    outcome = f" [{label}]" if label and label != name else ""
    return name + outcome + (f" x{count}" if count else "")


def _entry(indent: str, head: str, edges: str) -> Iterator[str]:
    """A node's line; what does not fit continues below its edges."""
    room = max(40, _WIDTH - len(indent) - len(head) - 2)
    first, *rest = wrap(edges, room, break_long_words=False, break_on_hyphens=False) or [""]
    yield f"{indent}{head}  {first}".rstrip()
    for line in rest:
        yield f"{indent}{' ' * len(head)}      {line}"
