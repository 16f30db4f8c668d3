"""The plan: a declaration made ready to run.

Everything that a superstep would otherwise look up or work out is worked out here once: what each
node reads, whom it triggers, which joins wait for it. Nothing in a plan changes while graphs run,
so any number of runs share it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphflow.checkpoint.records import Pending
from graphflow.graph.callables import Callee
from graphflow.graph.declaration import Declaration, NodeSpec, RouteSpec
from graphflow.state.channels import MISSING, Channel, agree
from graphflow.state.schema import Schema
from graphflow.types import ROOT, START, RetryPolicy, TimeoutPolicy

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Join:
    """`target` runs once all of `sources` have finished since it last ran."""

    name: str
    sources: frozenset[str]
    target: str


@dataclass(frozen=True, slots=True)
class Route:
    """A conditional edge, ready to be asked."""

    name: str
    callee: Callee
    ends: Mapping[Any, str] | None
    schema: Schema
    read: Callable[[Values], Values]


@dataclass(frozen=True, slots=True)
class Node:
    """A node, ready to be called."""

    name: str
    pending: Pending
    """It as a task of the next superstep."""
    order: int
    """Its place among the declared nodes; `START` is 0."""
    callee: Callee
    schema: Schema
    read: Callable[[Values], Values]
    """Returns a fresh dict of the keys it may see."""
    successors: tuple[str, ...]
    joins: tuple[int, ...]
    """Places in `Plan.joins`."""
    routes: tuple[Route, ...]
    defer: bool
    retry: tuple[RetryPolicy, ...]
    triggers: tuple[str, ...]
    """What can start it, as contract §9 shows it in `tasks` events."""
    subgraph: Any
    handler: Node | None = None
    """What runs in its place when it has finally failed."""
    cache: Any = None
    """Its `CachePolicy`."""
    timeout: TimeoutPolicy | None = None
    is_entry: bool = False
    """Whether it is the function of an entrypoint, which gets the input as it is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph, ready to run."""

    name: str
    channels: Mapping[str, Channel]
    state: Schema
    input: Schema
    output: Schema
    nodes: Mapping[str, Node]
    """All nodes, and `START`."""
    joins: tuple[Join, ...]
    starts: Mapping[str, Callable[[], Any]]
    """What makes the start value of a reducer key."""
    fleeting: tuple[str, ...]
    """Keys that are visible for one superstep only."""
    unstored: frozenset[str]
    prepared: Mapping[str, Channel]
    """Channels that rewrite what is written to them (messages get their ids)."""
    defers: bool
    """Whether any node is deferred."""
    is_root: bool
    """Whether the state is one value without keys."""
    entry: str | None = None
    """Of an entrypoint: its only node."""
    effects: frozenset[str] = frozenset()
    """Nodes that act on the world outside."""
    upgrade: Any = None
    """The `Upgrade` for what earlier versions of the program stored."""

    def initial(self) -> Values:
        """Return the state before any write; no two callers get the same containers."""
        return {key: start() for key, start in self.starts.items()}

    @property
    def start(self) -> Node:
        """The virtual node that writes the input."""
        return self.nodes[START]


def make_plan(declaration: Declaration, upgrade: Any = None) -> Plan:
    """Work out a validated declaration."""
    channels = _channels(declaration)
    readers = _Readers(declaration.state, channels)
    return Plan(
        name=declaration.name,
        channels=channels,
        state=declaration.state,
        input=declaration.input,
        output=declaration.output,
        nodes=_nodes(declaration, readers),
        joins=tuple(
            Join(f"join:{'+'.join(sources)}:{target}", frozenset(sources), target)
            for sources, target in declaration.joins
        ),
        starts={
            key: channel.initial
            for key, channel in channels.items()
            if channel.initial() is not MISSING
        },
        fleeting=tuple(key for key, channel in channels.items() if channel.kept_for_one_step),
        unstored=frozenset(key for key, channel in channels.items() if not channel.stored),
        prepared={
            key: channel
            for key, channel in channels.items()
            if type(channel).prepare is not Channel.prepare
        },
        defers=any(spec.defer for spec in declaration.nodes.values()),
        is_root=ROOT in channels,
        entry=declaration.entry,
        effects=frozenset(name for name, spec in declaration.nodes.items() if spec.effects),
        upgrade=upgrade,
    )


def _channels(declaration: Declaration) -> dict[str, Channel]:
    schemas = [declaration.state, declaration.input, declaration.output]
    schemas += [spec.schema for spec in declaration.nodes.values() if spec.schema]
    schemas += [route.schema for route in declaration.routes if route.schema]
    channels: dict[str, Channel] = {}
    for schema in {id(schema): schema for schema in schemas}.values():
        for key, channel in schema.channels.items():
            channels[key] = agree(key, channels[key], channel) if key in channels else channel
    return channels


class _Readers:
    """Makes one reader a schema, shared by all nodes that read it."""

    def __init__(self, state: Schema, channels: Mapping[str, Channel]) -> None:
        self.state = state
        self.all_keys = channels.keys()
        self.made: dict[int, Callable[[Values], Values]] = {}

    def of(self, schema: Schema) -> Callable[[Values], Values]:
        reader = self.made.get(id(schema))
        if reader is None:
            reader = self.made[id(schema)] = self._make(tuple(schema.channels))
        return reader

    def _make(self, keys: tuple[str, ...]) -> Callable[[Values], Values]:
        if len(keys) == len(self.all_keys):
            return dict.copy
        return lambda values: {key: values[key] for key in keys if key in values}


def _nodes(declaration: Declaration, readers: _Readers) -> dict[str, Node]:
    wiring = _Wiring(declaration)
    start = NodeSpec(START, Callee(None, None, None, (), 1), declaration.input)
    specs = (start, *declaration.nodes.values())
    return {spec.name: _node(spec, order, wiring, readers) for order, spec in enumerate(specs)}


class _Wiring:
    """The edges, sorted by the node at their source."""

    def __init__(self, declaration: Declaration) -> None:
        self.entry = declaration.entry
        self.successors: dict[str, dict[str, None]] = {}
        self.joins: dict[str, list[int]] = {}
        self.joins_into: dict[str, list[str]] = {}
        self.routes: dict[str, list[RouteSpec]] = {}
        for source, target in declaration.edges:
            self.successors.setdefault(source, {})[target] = None
        for index, (sources, target) in enumerate(declaration.joins):
            self.joins_into.setdefault(target, []).append(f"join:{'+'.join(sources)}:{target}")
            for source in sources:
                self.joins.setdefault(source, []).append(index)
        for route in declaration.routes:
            self.routes.setdefault(route.source, []).append(route)


def _node(spec: NodeSpec, order: int, wiring: _Wiring, readers: _Readers) -> Node:
    name = spec.name
    schema = spec.schema or readers.state
    routes = wiring.routes.get(name)
    is_entry = name == wiring.entry
    return Node(
        name,
        Pending(name),
        order,
        spec.callee,
        schema,
        readers.of(schema),
        tuple(wiring.successors.get(name, ())),
        tuple(wiring.joins.get(name, ())),
        tuple(_route(route, schema, readers) for route in routes) if routes else (),
        spec.defer,
        spec.retry,
        (START,) if is_entry else (f"branch:to:{name}", *sorted(wiring.joins_into.get(name, ()))),
        spec.subgraph,
        None if spec.handler is None else _handler(spec, schema, readers),
        spec.cache,
        spec.timeout,
        is_entry,
    )


def _handler(spec: NodeSpec, schema: Schema, readers: _Readers) -> Node:
    """Return a node's error handler: it reads what the node reads, and no edge leaves it."""
    name = handler_name(spec.name)
    callee = spec.handler
    assert callee is not None
    read = readers.of(schema)
    return Node(
        name, Pending(name), 0, callee, schema, read, (), (), (), False, spec.retry, (), None,
        timeout=spec.timeout if callee.acall is not None else None,
    )  # fmt: skip


def handler_name(node: str) -> str:
    """Return what updates and results call the error handler of a node."""
    return f"__error_handler__{node}"


def _route(route: RouteSpec, source: Schema, readers: _Readers) -> Route:
    schema = route.schema or source
    return Route(route.name, route.callee, route.ends, schema, readers.of(schema))
