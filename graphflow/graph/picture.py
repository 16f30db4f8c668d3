"""Pictures of a graph: what was declared, and where a run of it stands.

    app.get_graph().draw_svg()

Nothing here needs a network, a browser or an installed program; only `render` calls Graphviz.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphflow.graph.declaration import Declaration, NodeSpec, RouteSpec
from graphflow.graph.diagram import Diagram, DiagramEdge, DiagramNode, Overlay
from graphflow.types import END, START


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph, ready to be drawn."""

    diagram: Diagram
    overlay: Overlay | None = None
    """The state of a run, drawn over the graph."""

    def draw_svg(self) -> str:
        """Return a self-contained SVG document; the same bytes for the same graph."""
        from graphflow.graph.drawing import draw_svg

        return draw_svg(self.diagram, self.overlay)

    def draw_mermaid(self) -> str:
        """Return Mermaid source, as Markdown viewers render it."""
        from graphflow.graph.drawing import draw_mermaid

        return draw_mermaid(self.diagram, self.overlay)

    def to_dot(self) -> str:
        """Return Graphviz source."""
        from graphflow.graph.drawing import to_dot

        return to_dot(self.diagram, self.overlay)

    def draw_text(self) -> str:
        """Return plain text for a terminal."""
        from graphflow.graph.drawing import draw_text

        return draw_text(self.diagram, self.overlay)

    def render(self, format: str = "png") -> bytes:
        """Return an image made by an installed Graphviz.

        Args:
            format: Any that `dot -T` takes: `png`, `pdf`, ….

        Raises:
            RuntimeError: The `graphviz` package or the `dot` program is missing.
        """
        try:
            import graphviz
        except ImportError as error:
            raise RuntimeError('pip install "graphflow[graphviz]", or use draw_svg().') from error
        try:
            image: bytes = graphviz.Source(self.to_dot()).pipe(format=format)
        except graphviz.ExecutableNotFound as error:
            raise RuntimeError(
                "The program `dot` is not installed; draw_svg() needs none."
            ) from error
        return image

    def draw_mermaid_png(self, **_: Any) -> bytes:
        """Return a PNG, as `render()` makes it; no web service is asked.

        Raises:
            RuntimeError: Graphviz is not installed. In a notebook put the graph itself at the end
                of the cell.
        """
        return self.render("png")

    def draw_ascii(self) -> str:
        """Return plain text: `draw_text()`."""
        return self.draw_text()

    def print_ascii(self) -> None:
        """Print `draw_text()`."""
        print(self.draw_text())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from graphflow.graph.drawing import mimebundle

        return mimebundle(self.diagram, self.overlay)


def diagram_of(declaration: Declaration) -> Diagram:
    """Return a declaration as a diagram.

    A conditional edge with unknown targets is drawn to every node that nothing else leads to.
    """
    nodes = [
        DiagramNode(START, "START", "start"),
        *(_node(declaration, spec) for spec in declaration.nodes.values()),
        DiagramNode(END, "END", "end"),
    ]
    return Diagram(declaration.name, tuple(nodes), tuple(_edges(declaration)))


def _node(declaration: Declaration, spec: NodeSpec) -> DiagramNode:
    inner = getattr(spec.subgraph, "declaration", None)
    before, after = declaration.interrupt_before, declaration.interrupt_after
    return DiagramNode(
        spec.name,
        spec.name,
        "node" if inner is None else "subgraph",
        pause_before=spec.name in before or "*" in before,
        pause_after=spec.name in after or "*" in after,
        deferred=spec.defer,
        inner=None if inner is None else diagram_of(inner),
    )


def _edges(declaration: Declaration) -> Iterator[DiagramEdge]:
    for source, target in declaration.edges:
        yield DiagramEdge(source, target, "edge")
    for sources, target in declaration.joins:
        yield from (DiagramEdge(source, target, "join") for source in sources)
    for route in declaration.routes:
        yield from _route_edges(declaration, route)
    for spec in declaration.nodes.values():
        for name in spec.destinations:
            yield DiagramEdge(spec.name, name, "goto")
    left = {source for source, _ in declaration.edges}
    left |= {source for sources, _ in declaration.joins for source in sources}
    left |= {route.source for route in declaration.routes}
    for spec in declaration.nodes.values():
        if spec.name not in left and not spec.destinations:
            yield DiagramEdge(spec.name, END, "edge")


def _route_edges(declaration: Declaration, route: RouteSpec) -> Iterator[DiagramEdge]:
    if route.ends is not None:
        for answer, target in route.ends.items():
            label = "" if str(answer) == target else str(answer)
            yield DiagramEdge(route.source, target, "conditional", label)
        return
    led_to = {target for _, target in declaration.edges}
    led_to |= {target for _, target in declaration.joins}
    led_to |= {end for other in declaration.routes for end in (other.ends or {}).values()}
    for name in (*declaration.nodes, END):
        if name == END or (name not in led_to and name != route.source):
            yield DiagramEdge(route.source, name, "conditional")


def overlay_of(
    diagram: Diagram,
    steps: list[tuple[list[str], list[str]]],
    waiting: frozenset[str],
    failed: frozenset[str],
) -> Overlay:
    """Return the state of a run.

    Args:
        diagram: The graph.
        steps: For each superstep the nodes that ran and the nodes that were next then.
        waiting: Nodes before or in which the run waits for a person.
        failed: Nodes that raised.
    """
    known = {(edge.source, edge.target) for edge in diagram.edges}
    visits: dict[str, int] = {}
    edges: dict[tuple[str, str], int] = {}
    for ran, then in steps:
        for name in ran:
            visits[name] = visits.get(name, 0) + 1
        for pair in _taken(dict.fromkeys(ran), dict.fromkeys(then) or {END: None}, known):
            edges[pair] = edges.get(pair, 0) + 1
    if steps and not steps[-1][1]:
        visits[END] = 1
    return Overlay(visits, edges, frozenset(), waiting, failed)


def _taken(
    ran: Mapping[str, None], then: Mapping[str, None], known: set[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    for source in ran:
        for target in then:
            if (source, target) in known:
                yield source, target
