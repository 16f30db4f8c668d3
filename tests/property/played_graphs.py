"""Makes graphs of drawings: what their nodes do, which are pure functions of what they read."""

from __future__ import annotations

import asyncio
import operator
import random
from collections.abc import Callable, Generator
from typing import Annotated, Any, TypedDict

from graphflow import (
    END,
    START,
    Command,
    Runtime,
    Send,
    StateGraph,
    TimeoutPolicy,
    interrupt,
)

from .random_graphs import Drawing, Node
from .worlds import TASKS, World, at_once, note

ENOUGH = 5
"""Log entries after which nothing goes back any more, so that every run ends."""
Wish = Callable[[bool], Any]
"""What a node waits for: given whether it is asynchronous, a result or an awaitable."""
Steps = Generator[Wish, Any, Any]


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A reducer that depends on the order and mutates nothing."""
    return {**old, **new}


def prepended(old: list[str], new: list[str]) -> list[str]:
    """A reducer whose delta is found by comparing."""
    return [*new, *old][:40]


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    total: Annotated[int, operator.add]
    seen: Annotated[dict[str, Any], merged]
    trail: Annotated[list[str], prepended]


class Given(TypedDict, total=False):
    """What a graph inside another one reads of it."""

    total: Annotated[int, operator.add]
    trail: Annotated[list[str], prepended]


class Shown(TypedDict, total=False):
    """What a graph inside another one gives to it."""

    log: Annotated[list[str], operator.add]
    seen: Annotated[dict[str, Any], merged]


# -- graphs -------------------------------------------------------------------------------------


def played(drawing: Drawing, world: World, *, is_inside: bool = False) -> StateGraph[State]:
    """Return the graph of a drawing."""
    return _Maker(drawing, world, is_inside).graph()


class Answer(TypedDict):
    """What some questions want to be answered with."""

    text: str


class _Maker:
    def __init__(self, drawing: Drawing, world: World, is_inside: bool) -> None:
        self.drawing = drawing
        self.world = world
        self.is_inside = is_inside
        self.names = [node.name for node in drawing.nodes]

    def graph(self) -> StateGraph[State]:
        ends = {"input_schema": Given, "output_schema": Shown} if self.is_inside else {}
        graph: StateGraph[State] = StateGraph(State, **ends)
        for node in self.drawing.nodes:
            self.add(graph, node)
        for start in self.drawing.starts:
            graph.add_edge(START, start)
        if self.drawing.branches_at_start:
            graph.add_conditional_edges(START, self.path(START), [*self.names, END])
        for one, two in self.drawing.edges:
            graph.add_edge(one, two)
        for ones, two in self.drawing.joins:
            graph.add_edge(list(ones), two)
        return graph

    def add(self, graph: StateGraph[State], node: Node) -> None:
        handled = node.fails.startswith("handled") or node.sleeps == "oversleeps"
        graph.add_node(
            node.name,
            self.action(node),
            defer=node.defer,
            retry_policy=at_once,
            error_handler=self.handler(node) if handled else None,
            timeout=self.timeout(node),
        )
        if node.branches:
            graph.add_conditional_edges(node.name, self.path(node.name), [*self.names, END])

    def timeout(self, node: Node) -> TimeoutPolicy | None:
        if node.sleeps == "beats":
            return TimeoutPolicy(idle_timeout=20)
        return TimeoutPolicy(run_timeout=0.005) if node.sleeps == "oversleeps" else None

    def action(self, node: Node) -> Any:
        inside = node.inside
        child: Any = None
        if inside is not None:
            child = played(inside.graph, self.world, is_inside=True).compile(inside.keeps)
            if inside.how == "node":
                return child

        def run(state: State, runtime: Runtime[None]) -> Any:
            with self.world.at_work():
                return carried(self.steps(node, child, state, runtime))

        async def arun(state: State, runtime: Runtime[None]) -> Any:
            return await acarried(self.steps(node, child, state, runtime))

        return arun if node.is_async else run

    # -- what a node does ----------------------------------------------------------------------

    def steps(self, node: Node, child: Any, state: State, runtime: Runtime[None]) -> Steps:
        info = runtime.execution_info
        assert info is not None
        dice = self.dice_for(node.name, state)
        runtime.stream_writer((info.task_id, node.name, "begins"))
        self.fail(node, info)
        yield from self.sleep(node, runtime)
        mark = f"{node.name}:{dice.randrange(100)}"
        log = [mark]
        if node.calls:
            log += [told["text"] for told in (yield called(node.calls, mark))]
        for given in inputs(node, dice):
            log += (yield nested(child, given))["log"]
        if node.asks > 0:
            log.append(interrupt(f"{mark} 0"))
        if node.asks > 1:
            log.append(interrupt(f"{mark} 1", response_schema=Answer)["text"])
        runtime.stream_writer((info.task_id, node.name, "ends"))
        note(runtime)
        update = {"log": log, **more(mark, dice)}
        goto = self.targets(dice, state) if node.goes else ()
        return Command(update=update, goto=goto) if goto else update

    def fail(self, node: Node, info: Any) -> None:
        if node.fails == "retried" and info.node_attempt == 1:
            raise ConnectionError(node.name)
        if node.fails == "resumed":
            self.world.fail_once(info.task_id)
        if node.fails.startswith("handled"):
            raise ValueError(node.name)

    def sleep(self, node: Node, runtime: Runtime[None]) -> Steps:
        nap = 0.0 if self.is_inside else self.world.nap
        for _ in range({"naps": 1, "beats": 3}.get(node.sleeps, 0)):
            yield lambda _: asyncio.sleep(nap)
            runtime.heartbeat()
        if node.sleeps == "oversleeps":
            yield lambda _: asyncio.sleep(3600)

    def handler(self, node: Node) -> Callable[[State, Runtime[None]], Any]:
        def handle(state: State, runtime: Runtime[None]) -> Any:
            info = runtime.execution_info
            assert info is not None
            if node.fails == "handled late":
                self.world.fail_once(info.task_id)
            dice = self.dice_for(f"handler of {node.name}", state)
            update = {"log": [f"handled {node.name}:{dice.randrange(100)}"]}
            note(runtime)
            return Command(update=update, goto=self.targets(dice, state))

        return handle

    # -- where it goes -------------------------------------------------------------------------

    def path(self, name: str) -> Callable[[State], Any]:
        def choose(state: State) -> Any:
            return self.targets(self.dice_for(f"path of {name}", state), state) or END

        choose.__name__ = f"after_{name}"
        return choose

    def targets(self, dice: random.Random, state: State) -> list[Any]:
        if len(state.get("log", "x" * ENOUGH)) >= ENOUGH:
            return []
        chosen = [dice.choice(self.names) for _ in range(dice.choice((0, 1, 1, 2, 3)))]
        return [Send(n, {"total": dice.randrange(9)}) if dice.random() < 0.4 else n for n in chosen]

    def dice_for(self, name: str, state: State) -> random.Random:
        return random.Random(f"{self.drawing.salt}|{name}|{sorted(state.items())!r}")


def more(mark: str, dice: random.Random) -> dict[str, Any]:
    """Return what a node writes besides its log."""
    update: dict[str, Any] = {"total": dice.randrange(10)}
    if dice.random() < 0.5:
        update["seen"] = {dice.choice("abcdefghijklmnopqrstuvw"): mark for _ in range(5)}
    if dice.random() < 0.5:
        update["trail"] = [mark] * dice.randrange(1, 12)
    return update


def inputs(node: Node, dice: random.Random) -> list[Given]:
    """Return what a node's code calls the graph inside with, call by call."""
    if node.inside is None:
        return []
    return [
        {"total": dice.randrange(9)} for _ in range(2 if node.inside.how == "called twice" else 1)
    ]


def called(names: tuple[str, ...], mark: str) -> Wish:
    """Wish for the results of tasks that are called side by side."""

    def call(is_async: bool) -> Any:
        futures = [TASKS[name](f"{mark}.{number}") for number, name in enumerate(names)]
        return each_of(futures) if is_async else [future.result() for future in futures]

    return call


async def each_of(futures: list[Any]) -> list[Any]:
    return [await future for future in futures]


def nested(child: Any, given: Given) -> Wish:
    """Wish for what a graph makes of an input."""
    return lambda is_async: child.ainvoke(given) if is_async else child.invoke(given)


def carried(steps: Steps) -> Any:
    """Carry a node to its end in blocking code."""
    result = None
    while True:
        try:
            wish = steps.send(result)
        except StopIteration as stop:
            return stop.value
        result = wish(False)


async def acarried(steps: Steps) -> Any:
    """As `carried`, on an event loop."""
    result = None
    while True:
        try:
            wish = steps.send(result)
        except StopIteration as stop:
            return stop.value
        result = await wish(True)
