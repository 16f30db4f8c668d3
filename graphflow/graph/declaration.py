"""The finished declaration of a graph: what the builder hands to validation, lint and drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphflow.graph.callables import Callee
from graphflow.state.schema import Schema
from graphflow.types import RetryPolicy, TimeoutPolicy


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node as declared."""

    name: str
    callee: Callee
    schema: Schema | None
    """What it reads; None: the graph's state."""
    defer: bool = False
    """Held back until nothing else would run."""
    retry: tuple[RetryPolicy, ...] = ()
    destinations: tuple[str, ...] = ()
    """Where its Commands may go, as far as declared."""
    handler: Callee | None = None
    """What runs in its place when it has finally failed."""
    cache: Any = None
    """Its `CachePolicy`."""
    timeout: TimeoutPolicy | None = None
    metadata: Mapping[str, Any] | None = None
    subgraph: Any = None
    """The compiled graph that the node is, if it is one."""
    effects: bool = False
    """Whether it acts on the world outside."""


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """A conditional edge as declared."""

    source: str
    name: str
    callee: Callee
    ends: Mapping[Any, str] | None
    """Path result to node name; None: the path returns node names that nobody declared."""
    schema: Schema | None
    """What the path function reads; None: what its source node reads."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """All that was said about a graph."""

    name: str
    state: Schema
    input: Schema
    output: Schema
    nodes: Mapping[str, NodeSpec]
    edges: tuple[tuple[str, str], ...]
    joins: tuple[tuple[tuple[str, ...], str], ...]
    """`(sources, target)`: the target runs once all sources have finished."""
    routes: tuple[RouteSpec, ...]
    interrupt_before: tuple[str, ...] = ()
    interrupt_after: tuple[str, ...] = ()
    entry: str | None = None
    """Of an entrypoint: its only node."""
