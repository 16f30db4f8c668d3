"""A diagram in the DOT language, for Graphviz.

A nested graph is a cluster. Graphviz leads edges to nodes only, so an edge that meets a cluster is
led to a node inside and cut at the border.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphflow.graph.diagram import Diagram, DiagramEdge, DiagramNode, Overlay
from graphflow.graph.drawing.labels import drawable
from graphflow.graph.drawing.palette import PLAIN, TINTS, state_of, taken, visits_of
from graphflow.graph.drawing.wires import merged_edges

_STYLES = {"edge": "solid", "join": "bold", "conditional": "dashed", "goto": "dotted"}
_TAKEN = "#15803d"
_INDENT = "  "
_DEFAULTS = (
    "compound=true",
    'node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=12]',
    'edge [fontname="Helvetica", fontsize=10, color="#64748b", arrowsize=0.7]',
    'graph [fontname="Helvetica", fontsize=12]',
)


def to_dot(diagram: Diagram, overlay: Overlay | None = None) -> str:
    """The digraph's source, coloured by the state of a run where an overlay is given."""
    lines = [
        f"digraph {_quoted(diagram.name)} {{",
        *(f"{_INDENT}{line};" for line in _DEFAULTS),
        *_level(diagram, "", "n", _INDENT, overlay),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A string of the language: Graphviz reads backslashes and HTML entities inside quotes."""
    clean = drawable(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{clean}"'


def _attributes(values: Mapping[str, str]) -> str:
    return "[" + ", ".join(f"{key}={value}" for key, value in values.items()) + "]"


@dataclass(frozen=True, slots=True)
class _Place:
    """What an edge must know of a node: its cluster, and which nodes inside stand for it."""

    cluster: str
    head: str
    tail: str


def _level(
    diagram: Diagram, path: str, name: str, indent: str, overlay: Overlay | None
) -> Iterator[str]:
    places: dict[str, _Place] = {}
    for index, node in enumerate(diagram.nodes):
        places[node.id] = _place(node, f"{name}{index}")
        yield from _node(node, path + node.id, f"{name}{index}", indent, overlay)
    for edge in merged_edges(diagram):
        count = taken(path + edge.source, path + edge.target, overlay)
        yield f"{indent}{_edge(edge, places[edge.source], places[edge.target], count)};"


def _place(node: DiagramNode, name: str) -> _Place:
    if node.inner is None:
        return _Place("", name, name)
    if not node.inner.nodes:
        return _Place(f"cluster_{name}", f"{name}_", f"{name}_")
    inside = [_place(inner, f"{name}_{index}") for index, inner in enumerate(node.inner.nodes)]
    return _Place(f"cluster_{name}", inside[0].head, inside[-1].tail)


def _node(
    node: DiagramNode, path: str, name: str, indent: str, overlay: Overlay | None
) -> Iterator[str]:
    if node.inner is None:
        yield f"{indent}{name} {_attributes(_looks(node, path, overlay))};"
        return
    yield f"{indent}subgraph cluster_{name} {{"
    for key, value in _looks(node, path, overlay).items():
        yield f"{indent}{_INDENT}{key}={value};"
    if not node.inner.nodes:
        yield f'{indent}{_INDENT}{name}_ [style=invis, label=""];'
    yield from _level(node.inner, f"{path}/", f"{name}_", indent + _INDENT, overlay)
    yield f"{indent}}}"


def _looks(node: DiagramNode, path: str, overlay: Overlay | None) -> dict[str, str]:
    state = state_of(path, overlay)
    tint = TINTS[state] if state else PLAIN
    looks = {
        "label": _label(node, visits_of(path, overlay)),
        "color": f'"{tint.stroke}"',
        "fillcolor": f'"{tint.fill}"',
        "fontcolor": f'"{tint.text}"',
        "style": '"rounded,filled,dotted"' if node.deferred else '"rounded,filled"',
    }
    if node.inner is None and node.kind == "subgraph":
        looks["peripheries"] = "2"
    if node.kind in ("start", "end"):
        looks |= {"shape": "oval", "style": "filled"}
    return looks


def _label(node: DiagramNode, visits: int) -> str:
    said = _quoted(node.label or node.id)[1:-1] + (f" x{visits}" if visits > 1 else "")
    said += r"\n(pause before)" if node.pause_before else ""
    said += r"\n(pause after)" if node.pause_after else ""
    return f'"{said}"'


def _edge(edge: DiagramEdge, source: _Place, target: _Place, count: int) -> str:
    looks = {"style": _STYLES[edge.kind]}
    if edge.label.strip():
        looks["label"] = _quoted(edge.label)
    if count:
        looks |= {"color": f'"{_TAKEN}"', "penwidth": "2.4"}
    if source.cluster and source != target:
        looks["ltail"] = source.cluster
    if target.cluster and source != target:
        looks["lhead"] = target.cluster
    return f"{source.tail} -> {target.head} {_attributes(looks)}"
