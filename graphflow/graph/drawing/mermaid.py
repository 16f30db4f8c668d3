"""A diagram as a Mermaid flowchart, for Markdown that renders Mermaid by itself.

Nodes are named by their position (`n2_0` is the first node inside the third), so no id of the
author's meets Mermaid's grammar; labels are quoted, and every character that Mermaid or Markdown
could read as markup is written as an entity.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from graphflow.graph.diagram import Diagram, DiagramEdge, DiagramNode, Overlay
from graphflow.graph.drawing.labels import drawable
from graphflow.graph.drawing.palette import TINTS, state_of, taken, visits_of
from graphflow.graph.drawing.wires import merged_edges

_ARROWS = {"edge": "-->", "join": "==>", "conditional": "-.->", "goto": "-.->"}
_SAFE = frozenset("_-,:()'/!? ")
_INDENT = "    "
_TAKEN = "stroke:#15803d,stroke-width:3px"
_DEFERRED = "stroke-dasharray:2 3"


def draw_mermaid(diagram: Diagram, overlay: Overlay | None = None) -> str:
    """The flowchart's source, coloured by the state of a run where an overlay is given."""
    chart = _Chart(overlay)
    body = list(chart.level(diagram, "", "n", _INDENT))
    title = ["---", f"title: {json.dumps(drawable(diagram.name))}", "---"]
    return "\n".join([*title, "flowchart TD", *body, *chart.styles()]) + "\n"


@dataclass(slots=True)
class _Chart:
    """The flowchart under construction: Mermaid numbers links and lists styles at the end."""

    overlay: Overlay | None
    links: int = 0
    taken: list[int] = field(default_factory=list)
    states: dict[str, list[str]] = field(default_factory=dict)
    deferred: list[str] = field(default_factory=list)

    def level(self, diagram: Diagram, path: str, name: str, indent: str) -> Iterator[str]:
        """The lines of one diagram; `path` and `name` are the prefixes of its nodes."""
        names = {node.id: f"{name}{index}" for index, node in enumerate(diagram.nodes)}
        for node in diagram.nodes:
            yield from self._node(node, path + node.id, names[node.id], indent)
        for edge in merged_edges(diagram):
            yield indent + self._link(edge, path, names)

    def _node(self, node: DiagramNode, path: str, name: str, indent: str) -> Iterator[str]:
        if state := state_of(path, self.overlay):
            self.states.setdefault(state, []).append(name)
        if node.deferred:
            self.deferred.append(name)
        text = _quoted(node, visits_of(path, self.overlay))
        if node.inner is None or not node.inner.nodes:
            yield f"{indent}{name}{_shape(node, text)}"
            return
        yield f"{indent}subgraph {name}[{text}]"
        yield f"{indent}{_INDENT}direction TB"
        yield from self.level(node.inner, f"{path}/", f"{name}_", indent + _INDENT)
        yield f"{indent}end"

    def _link(self, edge: DiagramEdge, path: str, names: dict[str, str]) -> str:
        if taken(path + edge.source, path + edge.target, self.overlay):
            self.taken.append(self.links)
        self.links += 1
        label = f'|"{_escaped(edge.label)}"|' if edge.label.strip() else ""
        return f"{names[edge.source]} {_ARROWS[edge.kind]}{label} {names[edge.target]}"

    def styles(self) -> Iterator[str]:
        """Colours of states, of deferred nodes and of the edges a run took."""
        for state, tint in TINTS.items():
            if names := self.states.get(state):
                look = f"fill:{tint.fill},stroke:{tint.stroke},color:{tint.text}"
                yield f"{_INDENT}classDef {state} {look}"
                yield f"{_INDENT}class {','.join(names)} {state}"
        for name in self.deferred:
            yield f"{_INDENT}style {name} {_DEFERRED}"
        if self.taken:
            yield f"{_INDENT}linkStyle {','.join(map(str, self.taken))} {_TAKEN}"


def _shape(node: DiagramNode, text: str) -> str:
    if node.kind in ("start", "end"):
        return f"([{text}])"
    return f"[[{text}]]" if node.kind == "subgraph" else f"[{text}]"


def _quoted(node: DiagramNode, visits: int) -> str:
    said = [_escaped(node.label or node.id) + (f" x{visits}" if visits > 1 else "")]
    said += ["(pause before)"] if node.pause_before else []
    said += ["(pause after)"] if node.pause_after else []
    return '"' + "<br/>".join(said) + '"'


def _escaped(text: str) -> str:
    """The text with everything that could be markup as an entity; a leading dash is a list."""
    clean = "".join(_entity(char) for char in drawable(text)) or " "
    return f"#45;{clean[1:]}" if clean.startswith("-") else clean


def _entity(char: str) -> str:
    plain = char.isalnum() or char in _SAFE or not char.isascii()
    return char if plain else f"#{ord(char)};"
