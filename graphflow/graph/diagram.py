"""What a picture of a graph shows: its nodes and edges, and where a run has been.

The neutral input of every rendering (SVG, Mermaid, DOT, text). It knows nothing of state, reducers
or the engine: whoever has a finished declaration writes it down as a `Diagram`, whoever has a run
adds an `Overlay`. Order matters and is the author's: nodes stand in declaration order, and a
drawing breaks cycles along it, so that what was written first points down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

NodeKind = Literal["start", "end", "node", "subgraph"]
EdgeKind = Literal["edge", "join", "conditional", "goto"]


@dataclass(frozen=True, slots=True)
class DiagramNode:
    """One node of a picture."""

    id: str
    """Unique within its diagram; a nested node is addressed from outside as `outer/inner`."""
    label: str
    """What is written on it; the id where it is empty."""
    kind: NodeKind
    pause_before: bool = False
    """A run stops here for a person before the node runs."""
    pause_after: bool = False
    """A run stops here for a person after the node has run."""
    deferred: bool = False
    """It waits until nothing else is left to run."""
    inner: Diagram | None = None
    """The graph inside it, drawn as a cluster."""


@dataclass(frozen=True, slots=True)
class DiagramEdge:
    """One edge of a picture.

    `join` edges into one node wait for each other; a `conditional` edge is one outcome of a
    branch; a `goto` is a destination that a node announces for its own commands.
    """

    source: str
    target: str
    kind: EdgeKind
    label: str = ""
    """The outcome that takes this edge."""


@dataclass(frozen=True, slots=True)
class Diagram:
    """A graph as it is drawn; refuses two nodes of one id and edges that hang in the air.

    Raises:
        ValueError: an id occurs twice, or an edge names a node that is not there. All problems at
            once.
    """

    name: str
    nodes: tuple[DiagramNode, ...]
    """In declaration order."""
    edges: tuple[DiagramEdge, ...]

    def __post_init__(self) -> None:
        problems = [*self._repeated_ids(), *self._loose_ends()]
        if problems:
            raise ValueError(f"diagram {self.name!r} cannot be drawn: " + "; ".join(problems))

    def _repeated_ids(self) -> Iterator[str]:
        seen: set[str] = set()
        for node in self.nodes:
            if node.id in seen:
                yield f"node {node.id!r} occurs twice, give each node its own id"
            seen.add(node.id)

    def _loose_ends(self) -> Iterator[str]:
        known = {node.id for node in self.nodes}
        for edge in self.edges:
            for end in (edge.source, edge.target):
                if end not in known:
                    yield f"edge {edge.source!r} -> {edge.target!r} names {end!r}, which is no node"


@dataclass(frozen=True, slots=True)
class Overlay:
    """The state of a run, laid over a diagram. Ids of nested nodes are written `outer/inner`.

    A node in several sets shows the most urgent: failed, waiting, active, visited.
    """

    visits: Mapping[str, int] = field(default_factory=dict)
    """Node id to how often it has run."""
    edges: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(source, target) to how often the run took that edge."""
    active: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    """Nodes that wait for a person's answer."""
    failed: frozenset[str] = frozenset()
