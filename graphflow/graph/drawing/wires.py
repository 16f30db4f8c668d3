"""Edges as they are drawn: one line for all edges from one node to the same other node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphflow.graph.diagram import Diagram, DiagramEdge, EdgeKind
from graphflow.graph.drawing.labels import drawable, text_width, wrapped
from graphflow.graph.drawing.lattice import Room

LABEL_TEXT = 11.0
"""Font size of an edge's label, in pixels."""
LABEL_LINE = 13.0
LABEL_ASIDE = 5.0
"""How far to the right of its edge a label starts."""
_WIDEST_LINE = 150.0
_MOST_LINES = 2
_STRONGEST: tuple[EdgeKind, ...] = ("edge", "join", "conditional", "goto")
"""Of several edges between two nodes the surest gives the line its look."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One line between two nodes, named by their positions in declaration order."""

    source: int
    target: int
    kind: EdgeKind
    label: str
    lines: tuple[str, ...]

    @property
    def room(self) -> Room | None:
        """What the label needs, None without a label."""
        if not self.lines:
            return None
        width = max(text_width(line, LABEL_TEXT) for line in self.lines)
        height = len(self.lines) * LABEL_LINE + 4
        return Room(0.0, LABEL_ASIDE + width + 2, height / 2, height / 2)


def merged_edges(diagram: Diagram) -> tuple[DiagramEdge, ...]:
    """The diagram's edges in order of appearance, parallel ones made one with joined labels."""
    parallel: dict[tuple[str, str], list[DiagramEdge]] = {}
    for edge in diagram.edges:
        parallel.setdefault((edge.source, edge.target), []).append(edge)
    return tuple(map(_merged, parallel.values()))


def _merged(edges: Sequence[DiagramEdge]) -> DiagramEdge:
    kind = min((edge.kind for edge in edges), key=_STRONGEST.index)
    labels = dict.fromkeys(edge.label for edge in edges if edge.label.strip())
    return DiagramEdge(edges[0].source, edges[0].target, kind, ", ".join(labels))


def wires(diagram: Diagram) -> list[Wire]:
    """The merged edges with their labels measured."""
    index = {node.id: place for place, node in enumerate(diagram.nodes)}
    return [_wire(edge, index) for edge in merged_edges(diagram)]


def _wire(edge: DiagramEdge, index: dict[str, int]) -> Wire:
    shown = drawable(edge.label)
    lines = wrapped(shown, LABEL_TEXT, _WIDEST_LINE, _MOST_LINES) if shown else ()
    return Wire(index[edge.source], index[edge.target], edge.kind, edge.label, lines)
