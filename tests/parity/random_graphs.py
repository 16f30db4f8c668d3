"""Draws graphs from seeds: the same one for both libraries.

What differs between the libraries for known reasons is not drawn: nodes that fail beside others
(who still starts is a race), deferred nodes beside Sends, joins in cycles (LangGraph's snapshots
name join targets that are not next).
"""

import operator
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from typing_extensions import TypedDict

KINDS = ["write"] * 6 + ["ask", "command", "none", "twice", "child", "asking child"]
PATHS = ["one", "list", "sends", "mixed", "maybe"]


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    n: Annotated[int, operator.add]


class Shown(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


class Given(TypedDict, total=False):
    n: Annotated[int, operator.add]


@dataclass(frozen=True)
class Drawing:
    """A graph as data."""

    nodes: dict[str, str]
    """Name → kind."""
    deferred: set[str]
    starts: list[str]
    edges: list[tuple[str, str]]
    joins: list[tuple[list[str], str]]
    paths: list[tuple[str, str, list[str]]]
    """Source, kind, destinations."""
    turns: int
    """After so many counted writes no path leads anywhere."""
    breakpoints: dict[str, list[str]]
    durability: str


def drawn(seed: int) -> Drawing:
    """Draw a graph of two to six nodes."""
    dice = random.Random(seed)
    names = list("abcdef"[: dice.randint(2, 6)])
    joins = _joins(dice, names) if dice.random() < 0.4 else []
    forward = bool(joins)
    pairs = [(one, two) for one in names for two in names if two > one or not forward]
    paths = [] if forward else _paths(dice, names)
    sends = any(kind in ("sends", "mixed") for _, kind, _ in paths)
    stop = dice.choice(["", "", "interrupt_before", "interrupt_after"])
    return Drawing(
        nodes={name: dice.choice(KINDS) for name in names},
        deferred=set() if sends else {name for name in names if dice.random() < 0.12},
        starts=dice.sample(names, dice.choice([1, 1, 2])),
        edges=[pair for pair in pairs if dice.random() < (0.25 if pair[1] > pair[0] else 0.06)],
        joins=joins,
        paths=paths,
        turns=dice.randint(6, 12),
        breakpoints={stop: [dice.choice(names)]} if stop else {},
        durability=dice.choice(["sync", "async", "exit"]),
    )


def _joins(dice: random.Random, names: list[str]) -> list[tuple[list[str], str]]:
    targets = [dice.randrange(1, len(names)) for _ in range(dice.choice([1, 2]))]
    return [(dice.sample(names[:at], min(at, dice.choice([2, 3]))), names[at]) for at in targets]


def _paths(dice: random.Random, names: list[str]) -> list[tuple[str, str, list[str]]]:
    sources = [name for name in names if dice.random() < 0.3]
    return [(name, dice.choice(PATHS), dice.sample(names, 2)) for name in sources]


def compiled(library: Any, drawing: Drawing) -> Any:
    """Return the graph as one library compiles it, with a new checkpointer."""
    graph = library.StateGraph(State)
    for name, kind in drawing.nodes.items():
        node = _node(library, name, kind, last=max(drawing.nodes))
        graph.add_node(name, node, defer=name in drawing.deferred)
    for start in drawing.starts:
        graph.add_edge(library.START, start)
    for source, target in [*drawing.edges, *drawing.joins]:
        graph.add_edge(source, target)
    for source, kind, targets in drawing.paths:
        path = _path(library, kind, targets, drawing.turns)
        graph.add_conditional_edges(source, path, [*drawing.nodes, library.END])
    return graph.compile(library.InMemorySaver(), **drawing.breakpoints)


def _node(library: Any, name: str, kind: str, last: str) -> Any:
    def goes_on(state: Any) -> Any:
        return library.Command(update={"log": [name]}, goto=[last] if state.get("n", 0) < 3 else [])

    def twice(_: Any) -> Any:
        return [{"log": [f"{name}1"]}, library.Command(update={"log": [f"{name}2"]})]

    made: dict[str, Callable[[], Any]] = {
        "write": lambda: lambda _: {"log": [name], "n": 1},
        "ask": lambda: lambda _: {"log": [f"{name}={library.interrupt(name)}"]},
        "command": lambda: goes_on,
        "none": lambda: lambda _: None,
        "twice": lambda: twice,
        "child": lambda: _child(library, name, lambda _: {"log": [f"{name} two"]}),
        "asking child": lambda: _child(
            library, name, lambda _: {"log": [f"{name} two {library.interrupt(name)}"]}
        ),
    }
    return made[kind]()


def _child(library: Any, name: str, second: Any) -> Any:
    graph = library.StateGraph(State, input_schema=Given, output_schema=Shown)
    graph.add_sequence([("one", lambda _: {"log": [f"{name} one"]}), ("two", second)])
    return graph.add_edge(library.START, "one").compile()


def _path(library: Any, kind: str, targets: list[str], turns: int) -> Any:
    def path(state: Any) -> Any:
        count = state.get("n", 0)
        send = library.Send(targets[0], {"log": [], "n": count})
        answers = {
            "one": targets[count % 2],
            "list": targets,
            "sends": [send, send],
            "mixed": [send, targets[1]],
            "maybe": targets[0] if count % 2 else library.END,
        }
        return answers[kind] if count <= turns else []

    return path
