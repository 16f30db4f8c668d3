"""Lint: what a declaration says that can hardly be meant.

Each finding names nodes and edges and says what to do. A graph in which all is plainly well, which
a walk along its edges shows, is passed without networkx; only a suspicious one is analysed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from graphflow.errors import GraphWarning
from graphflow.graph.declaration import Declaration
from graphflow.types import END, START


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is legal and odd."""

    rule: str
    """`unreachable`, `dead-join`, `no-end` or `open-route`."""
    nodes: tuple[str, ...]
    message: str
    """What is odd, where, and what to do."""

    def __str__(self) -> str:
        return self.message


def warn(declaration: Declaration) -> None:
    """Give every finding as a `GraphWarning`."""
    suspicious = not _is_plain(declaration)
    for finding in lint(declaration) if suspicious else _open_routes(declaration):
        warnings.warn(finding.message, GraphWarning, stacklevel=3)


def lint(declaration: Declaration) -> list[Finding]:
    """Analyse a declaration."""
    import networkx

    graph = networkx.DiGraph()
    graph.add_nodes_from((START, *declaration.nodes, END))
    graph.add_edges_from(_known_edges(declaration))
    findings = [*_open_routes(declaration)]
    reached = {START, *networkx.descendants(graph, START)}
    if not _open_sources(declaration) and not _has_subgraph(declaration):
        findings += _unreachable(declaration, reached)
        findings += _dead_joins(declaration, reached)
    findings += _endless(declaration, graph, reached)
    return findings


def _open_sources(declaration: Declaration) -> set[str]:
    return {route.source for route in declaration.routes if route.ends is None}


def _has_subgraph(declaration: Declaration) -> bool:
    """Whether a graph inside could send this one anywhere, by `Command(graph=PARENT)`."""
    return any(spec.subgraph is not None for spec in declaration.nodes.values())


def _known_edges(declaration: Declaration) -> Iterator[tuple[str, str]]:
    yield from declaration.edges
    for sources, target in declaration.joins:
        yield from ((source, target) for source in sources)
    for route in declaration.routes:
        yield from ((route.source, end) for end in (route.ends or {}).values())
    for spec in declaration.nodes.values():
        yield from ((spec.name, name) for name in spec.destinations)


def _is_plain(declaration: Declaration) -> bool:
    """Whether a walk along the edges reaches every node and every node has a way on or ends."""
    onward: dict[str, list[str]] = {}
    back: dict[str, list[str]] = {}
    for source, target in _known_edges(declaration):
        onward.setdefault(source, []).append(target)
        back.setdefault(target, []).append(source)
    free = _open_sources(declaration)
    anywhere = bool(free) or _has_subgraph(declaration)
    ends = [END, *free, *(name for name in declaration.nodes if name not in onward)]
    reached, ending = _walk([START], onward), _walk(ends, back)
    return all((anywhere or name in reached) and name in ending for name in declaration.nodes)


def _walk(origins: Iterable[str], edges: dict[str, list[str]]) -> set[str]:
    seen, todo = set(origins), list(origins)
    while todo:
        for name in edges.get(todo.pop(), ()):
            if name not in seen:
                seen.add(name)
                todo.append(name)
    return seen


def _open_routes(declaration: Declaration) -> Iterator[Finding]:
    for route in declaration.routes:
        if route.ends is None:
            yield Finding(
                "open-route",
                (route.source,),
                f"Where conditional edge '{route.name}' of node '{route.source}' leads cannot be "
                "known, so checks and drawings can only guess. Annotate its return type as "
                "Literal[...] or pass path_map=[...].",
            )


def _unreachable(declaration: Declaration, reached: set[str]) -> Iterator[Finding]:
    for name in declaration.nodes:
        if name not in reached:
            yield Finding(
                "unreachable",
                (name,),
                f"Node '{name}' has no edge that leads to it; only a goto or Send that is not "
                "declared could reach it. Add an edge, or declare the Command's destinations=.",
            )


def _dead_joins(declaration: Declaration, reached: set[str]) -> Iterator[Finding]:
    for sources, target in declaration.joins:
        missing = [name for name in sources if name not in reached]
        if missing:
            yield Finding(
                "dead-join",
                (*sources, target),
                f"The join {list(sources)} -> '{target}' can never fire: no edge leads to "
                f"{', '.join(map(repr, missing))}. Add the edge, or take it out of the join.",
            )


def _endless(declaration: Declaration, graph: Any, reached: set[str]) -> Iterator[Finding]:
    import networkx

    free = _open_sources(declaration)
    ending = {END, *free, *(name for name in declaration.nodes if not graph.out_degree(name))}
    alive = set(networkx.multi_source_dijkstra_path_length(graph.reverse(copy=False), ending))
    stuck = tuple(name for name in declaration.nodes if name in reached and name not in alive)
    if stuck:
        yield Finding(
            "no-end",
            stuck,
            f"From {', '.join(map(repr, stuck))} no edge ever leads to END: the run can only stop "
            "at its recursion limit. Add a conditional edge with a way out.",
        )
