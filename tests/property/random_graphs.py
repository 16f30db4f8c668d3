"""Draws graphs from seeds, as data: what fails can be printed, and made smaller.

A drawing says which nodes there are, what each of them does and what follows what. Graphs inside
nodes are drawings as well, two levels deep. What nodes do with it is in `played_graphs`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

CALLS = ("plain", "plain", "flaky", "asking", "nesting")
ASYNC_CALLS = (*CALLS, "async")


@dataclass(frozen=True)
class Node:
    """A node, and what it does when it runs, in this order."""

    name: str
    is_async: bool = False
    defer: bool = False
    fails: str = ""
    """`retried`: at the first attempt. `resumed`: once for good, then no more. `handled`: always,
    and a handler takes over. `handled late`: the handler fails once for good as well."""
    sleeps: str = ""
    """`naps`; `beats`: for longer than its idle timeout, with heartbeats; `oversleeps`: until its
    timeout ends it, at each attempt, and a handler takes over."""
    calls: tuple[str, ...] = ()
    """Tasks that it calls, side by side."""
    inside: Inside | None = None
    asks: int = 0
    goes: bool = False
    """Whether it returns a Command that may lead anywhere."""
    branches: bool = False
    """Whether it has conditional edges."""


@dataclass(frozen=True)
class Inside:
    """A graph inside a node."""

    graph: Drawing
    how: str
    """`node`: it is the node itself. `called`, `called twice`: by the node's code."""
    keeps: bool | None
    """What it is compiled with as `checkpointer`."""


@dataclass(frozen=True)
class Drawing:
    """A graph."""

    salt: int
    """Decides what its nodes and paths draw from what they read."""
    nodes: tuple[Node, ...]
    starts: tuple[str, ...]
    branches_at_start: bool = False
    edges: tuple[tuple[str, str], ...] = ()
    joins: tuple[tuple[tuple[str, ...], str], ...] = ()

    def walk(self) -> Iterator[Node]:
        """Yield its nodes and those of all graphs inside."""
        for node in self.nodes:
            yield node
            if node.inside is not None:
                yield from node.inside.graph.walk()

    @property
    def fails_for_good(self) -> bool:
        """Whether a run of it may end with a failure and be resumed.

        What siblings have finished by then, and so what the resumed run streams, is left open.
        """
        return any(node.fails in ("resumed", "handled late") for node in self.walk())

    def describe(self, indent: str = "") -> str:
        """Return it as text, a line for each node."""
        start = "start" + (" (with a path)" if self.branches_at_start else "")
        lines = [f"{indent}{start} → {', '.join(self.starts)}   [salt {self.salt}]"]
        for node in self.nodes:
            then = [two for one, two in self.edges if one == node.name]
            does = ", ".join(_told(node)) or "plain"
            lines.append(f"{indent}{node.name}: {does} → {', '.join(then) or '-'}")
            if node.inside is not None:
                lines.append(node.inside.graph.describe(indent + "    "))
        lines += [f"{indent}join {' + '.join(ones)} → {two}" for ones, two in self.joins]
        return "\n".join(lines)


def _told(node: Node) -> Iterator[str]:
    if node.inside is not None:
        yield f"graph ({node.inside.how}, checkpointer={node.inside.keeps})"
    for flag in ("is_async", "defer", "goes", "branches"):
        if getattr(node, flag):
            yield flag.removeprefix("is_")
    for what in ("fails", "sleeps", "calls", "asks"):
        if value := getattr(node, what):
            yield f"{what} {value if not isinstance(value, tuple) else ' '.join(value)}"


# -- drawing ------------------------------------------------------------------------------------


def drawn(seed: int) -> Drawing:
    """Draw a graph."""
    return _Drawer(random.Random(seed)).graph(seed, 0)


class _Drawer:
    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.breaks = dice.random() < 0.5
        """Whether nodes may fail for good."""

    def chance(self, probability: float) -> bool:
        return self.dice.random() < probability

    def graph(self, salt: int, depth: int) -> Drawing:
        dice = self.dice
        count = dice.choice((1, 1, 2, 3)) if depth else dice.choice((1, 2, 2, 3, 3, 4))
        names = ["abcde"[index] * (depth + 1) for index in range(count)]
        nodes = tuple(self.node(name, depth) for name in names)
        edges, joins = [], []
        for index, name in enumerate(names):
            later = names[index + 1 :]
            targets = dice.sample(later, min(len(later), dice.choice((0, 1, 1, 2))))
            edges += [(name, target) for target in targets]
            if index >= 2 and self.chance(0.4):
                joins.append((tuple(dice.sample(names[:index], 2)), name))
        starts = dice.sample(names, dice.randint(1, min(3, count)))
        at_start = self.chance(0.2)
        return Drawing(salt, nodes, tuple(starts), at_start, tuple(edges), tuple(joins))

    def node(self, name: str, depth: int) -> Node:
        is_async = self.chance(0.35)
        inside = self.inside(depth) if depth < 2 and self.chance(0.2) else None
        node = Node(name, defer=self.chance(0.12), inside=inside, branches=self.chance(0.25))
        if inside is not None and inside.how == "node":
            return node
        if is_async and self.chance(0.1):
            return replace(node, is_async=True, inside=None, sleeps="oversleeps")
        return replace(
            node,
            is_async=is_async,
            fails=self.failure(has_graph=inside is not None),
            sleeps=self.dice.choice(("naps", "beats", "beats", "")) if is_async else "",
            calls=self.calls(is_async),
            asks=self.dice.choice((0, 0, 0, 1, 2)),
            goes=self.chance(0.2),
        )

    def failure(self, *, has_graph: bool) -> str:
        if self.chance(0.7):
            return ""
        kinds = ["retried"] if has_graph else ["retried", "handled"]
        if self.breaks:
            kinds += ["resumed"] if has_graph else ["resumed", "handled late"]
        return self.dice.choice(kinds)

    def calls(self, is_async: bool) -> tuple[str, ...]:
        count = self.dice.choice((0, 0, 0, 1, 2, 3))
        return tuple(self.dice.choices(ASYNC_CALLS if is_async else CALLS, k=count))

    def inside(self, depth: int) -> Inside:
        graph = self.graph(self.dice.randrange(10**6), depth + 1)
        how = self.dice.choice(("node", "node", "called", "called twice"))
        return Inside(graph, how, self.dice.choice((None, None, True, False)))


# -- making smaller -----------------------------------------------------------------------------


def shrunk(drawing: Drawing, fails: Callable[[Drawing], bool]) -> Drawing:
    """Return a smaller drawing that fails as well, from which nothing can be left out."""
    while True:
        smaller = next((each for each in _smaller(drawing) if fails(each)), None)
        if smaller is None:
            return drawing
        drawing = smaller


def _smaller(drawing: Drawing) -> Iterator[Drawing]:
    for node in drawing.nodes:
        if len(drawing.nodes) > 1:
            yield _without(drawing, node.name)
    for part in ("starts", "edges", "joins"):
        parts: tuple[Any, ...] = getattr(drawing, part)
        for one in parts if part != "starts" or len(parts) > 1 else ():
            yield replace(drawing, **{part: tuple(each for each in parts if each != one)})
    if drawing.branches_at_start:
        yield replace(drawing, branches_at_start=False)
    for index, node in enumerate(drawing.nodes):
        for simpler in _simpler(node):
            nodes = (*drawing.nodes[:index], simpler, *drawing.nodes[index + 1 :])
            yield replace(drawing, nodes=nodes)


def _without(drawing: Drawing, name: str) -> Drawing:
    nodes = tuple(node for node in drawing.nodes if node.name != name)
    return Drawing(
        drawing.salt,
        nodes,
        tuple(start for start in drawing.starts if start != name) or (nodes[0].name,),
        drawing.branches_at_start,
        tuple(edge for edge in drawing.edges if name not in edge),
        tuple((ones, two) for ones, two in drawing.joins if name not in (*ones, two)),
    )


def _simpler(node: Node) -> Iterator[Node]:
    plain = Node(node.name)
    for part in ("inside", "fails", "sleeps", "calls", "asks", "goes", "branches", "defer"):
        if getattr(node, part) != getattr(plain, part):
            yield replace(node, **{part: getattr(plain, part)})
    if node.is_async and not node.sleeps and "async" not in node.calls:
        yield replace(node, is_async=False)
    for index in range(len(node.calls) if len(node.calls) > 1 else 0):
        yield replace(node, calls=node.calls[:index] + node.calls[index + 1 :])
    if node.asks > 1:
        yield replace(node, asks=1)
    if node.inside is not None:
        yield from (
            replace(node, inside=replace(node.inside, graph=graph))
            for graph in _smaller(node.inside.graph)
        )
