"""Whatever graph is run: neither the order in which tasks end nor a crash shows in what is stored.

A seed makes a graph (edges, joins, conditional edges, Sends, Commands, deferred nodes, questions,
retries, reducers that do not commute) whose nodes are pure functions of what they read. It is run
under the simulation with several completion orders, by both real drivers, and with a crash at each
commit in turn; final state and history must be the same every time.

`GRAPHFLOW_SEEDS=10000 pytest tests/property/test_random_graphs.py` runs more seeds;
`GRAPHFLOW_SEEDS=4711-4712` runs those alone.
"""

from __future__ import annotations

import asyncio
import operator
import os
import random
from collections.abc import Callable, Iterator
from itertools import count
from typing import Annotated, Any, TypedDict

import pytest

from graphflow import (
    END,
    START,
    Command,
    CompiledStateGraph,
    EphemeralValue,
    MemoryCheckpointer,
    RetryPolicy,
    Runtime,
    Send,
    StateGraph,
    interrupt,
)
from graphflow.testing.simulation import Crash, Simulation

ENOUGH = 9
"""Log entries after which nothing goes back any more, so that every run ends."""
INPUT = {"log": ["input"], "last": "input"}
THREAD = {"configurable": {"thread_id": "t"}}
CHUNK = 25
Graph = StateGraph[Any]
Point = tuple[str, int]


def seeds() -> range:
    first, _, last = os.environ.get("GRAPHFLOW_SEEDS", "200").rpartition("-")
    return range(int(first or 0), int(last))


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
    last: str
    note: Annotated[str, EphemeralValue]


class Made:
    """A random graph, and which of its tasks were executed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.names = [f"n{index}" for index in range(self.dice.randint(2, 6))]
        self.kinds = {name: self.dice.choice(KINDS) for name in self.names}
        self.executed: list[str] = []
        self.graph: Graph = StateGraph(State)
        self.add_nodes()
        self.add_edges()

    def add_nodes(self) -> None:
        policy = RetryPolicy(initial_interval=0.0, jitter=False, retry_on=ConnectionError)
        for name in self.names:
            kind = self.kinds[name]
            defer = kind != "router" and self.dice.random() < 0.15
            retry = policy if kind == "flaky" else None
            self.graph.add_node(name, self.node(name, kind), defer=defer, retry_policy=retry)

    def add_edges(self) -> None:
        names, dice = self.names, self.dice
        for name in dice.sample(names, dice.randint(1, min(3, len(names)))):
            self.graph.add_edge(START, name)
        if dice.random() < 0.4:
            self.graph.add_conditional_edges(START, self.path(START, names), [*names, END])
        for index, name in enumerate(names):
            later = names[index + 1 :]
            for target in dice.sample(later, min(len(later), dice.choice((0, 1, 1, 2)))):
                self.graph.add_edge(name, target)
            if dice.random() < 0.4:
                self.graph.add_conditional_edges(name, self.path(name, later), [*names, END])
            if index >= 2 and dice.random() < 0.4:
                self.graph.add_edge(dice.sample(names[:index], 2), name)

    def node(self, name: str, kind: str) -> Callable[..., Any]:
        def run(state: State, runtime: Runtime[None]) -> Any:
            dice, info = self.dice_for(name, state), runtime.execution_info
            assert info is not None
            if kind == "flaky" and info.node_attempt == 1 and dice.random() < 0.5:
                raise ConnectionError(name)
            update = self.update(name, dice, is_alone="log" in state)
            for question in range(dice.choice((0, 1, 2)) if kind == "asker" else 0):
                update["log"].append(interrupt(f"{name}.{question}"))
            self.executed.append(info.task_id)
            goto = self.targets(dice, state, self.names) if kind == "router" else ()
            return Command(update=update, goto=goto) if goto else update

        return run

    def update(self, name: str, dice: random.Random, is_alone: bool) -> dict[str, Any]:
        mark = f"{name}:{dice.randrange(100)}"
        update: dict[str, Any] = {"log": [mark], "total": dice.randrange(10)}
        if dice.random() < 0.5:
            update["seen"] = {dice.choice("abcdefghijklmnopqrstuvw"): mark for _ in range(5)}
        if dice.random() < 0.5:
            update["trail"] = [mark] * dice.randrange(1, 12)
        if is_alone and name == self.names[0] and dice.random() < 0.5:
            update["last"] = mark
            update["note"] = mark
        return update

    def path(self, name: str, forward: list[str]) -> Callable[[State], Any]:
        def choose(state: State) -> Any:
            dice = self.dice_for(f"path of {name}", state)
            return self.targets(dice, state, [*forward, *self.names]) or END

        choose.__name__ = f"after_{name}"
        return choose

    def targets(self, dice: random.Random, state: State, names: list[str]) -> list[Any]:
        if len(state.get("log", "x" * ENOUGH)) >= ENOUGH:
            return []
        chosen = [dice.choice(names) for _ in range(dice.choice((0, 1, 1, 2, 3)))]
        return [
            Send(n, {"packet": dice.randrange(9)}) if dice.random() < 0.4 else n for n in chosen
        ]

    def dice_for(self, name: str, state: State) -> random.Random:
        return random.Random(f"{self.seed}|{name}|{sorted(state.items())!r}")


KINDS = ("plain", "plain", "router", "asker", "flaky")


class Story:
    """One thread of a made graph, played to its end."""

    def __init__(self, made: Made) -> None:
        self.app = made.graph.compile(checkpointer=MemoryCheckpointer())
        self.made = made
        self.acknowledged: set[str] = set()
        self.executed_before = 0
        made.executed.clear()

    def play(self, run: Callable[[CompiledStateGraph, Any], Any], order: random.Random) -> Story:
        """Run, and answer every question, some at a time, until nothing is open."""
        given: Any = INPUT
        for _ in range(200):
            try:
                result = run(self.app, given)
            except Crash:
                self.check_what_survived()
                given = None if self.history() else INPUT
                continue
            given = answers(result.get("__interrupt__", ()), order)
            if given is None:
                return self
        raise AssertionError("the run does not end")

    def check_what_survived(self) -> None:
        """Note which executed tasks are acknowledged: a row or a frame has their result."""
        kept = {task.id for shot in self.shots() for task in shot.tasks if task.result is not None}
        executed = self.made.executed
        self.acknowledged = {identity for identity in executed if identity in kept}
        self.executed_before = len(executed)

    def shots(self) -> list[Any]:
        return list(self.app.get_state_history(THREAD))

    def history(self) -> list[Any]:
        return [shot._replace(created_at=None) for shot in self.shots()]

    def ending(self) -> tuple[Any, Any]:
        return self.app.get_state(THREAD).values, self.history()


def answers(questions: Any, order: random.Random) -> Command[Any] | None:
    if not questions:
        return None
    some = order.sample(list(questions), order.randint(1, len(questions)))
    return Command(resume={question.id: f"answer to {question.value}" for question in some})


def simulated(
    order: int, crash: Callable[[str, int], bool] | None = None
) -> Callable[[CompiledStateGraph, Any], Any]:
    orders = count(order)

    def run(app: CompiledStateGraph, given: Any) -> Any:
        more = (crash,) if crash else ()
        return Simulation(app, next(orders), *more).invoke(given, THREAD)

    return run


def threaded(app: CompiledStateGraph, given: Any) -> Any:
    return app.invoke(given, THREAD)


def looped(app: CompiledStateGraph, given: Any) -> Any:
    return asyncio.run(app.ainvoke(given, THREAD, durability="sync"))


class CrashOnce:
    """Ends the process at one of the commits of a story, counted over all its runs."""

    def __init__(self, moment: str, number: int) -> None:
        self.point = (moment, number)
        self.passed = {"before": 0, "after": 0}
        self.is_over = False

    def __call__(self, moment: str, _: int) -> bool:
        here = (moment, self.passed[moment])
        self.passed[moment] += 1
        crashes = not self.is_over and here == self.point
        self.is_over = self.is_over or crashes
        return crashes


def undisturbed(made: Made) -> tuple[Any, int]:
    """Return the ending of a story without trouble, and how many commits it had."""
    never = CrashOnce("never", 0)
    ending = Story(made).play(simulated(0, never), random.Random(0)).ending()
    return ending, never.passed["after"]


def chunks() -> Iterator[Any]:
    for first in (known := seeds())[::CHUNK]:
        part = range(first, min(first + CHUNK, known.stop))
        yield pytest.param(part, id=f"{part.start}-{part.stop}")


each_seed = pytest.mark.parametrize("some", list(chunks()))
pytestmark = pytest.mark.filterwarnings("ignore::graphflow.errors.GraphWarning")


@each_seed
def test_the_order_in_which_tasks_end_does_not_show(some: range) -> None:
    for seed in some:
        made = Made(seed)
        expected, _ = undisturbed(made)
        for order in (1000, 2000):
            story = Story(made).play(simulated(order), random.Random(order))
            assert story.ending() == expected, f"seed {seed}, order {order}"


@each_seed
def test_both_real_drivers_do_what_the_simulation_does(some: range) -> None:
    for seed in some:
        made = Made(seed)
        expected, _ = undisturbed(made)
        for run in (threaded, looped):
            story = Story(made).play(run, random.Random(1))
            assert story.ending() == expected, f"seed {seed}, {run.__name__}"


@each_seed
def test_a_crash_at_any_commit_does_not_show(some: range) -> None:
    acknowledged = 0
    for seed in some:
        made = Made(seed)
        expected, commits = undisturbed(made)
        for point in crash_points(seed, commits):
            crash, story = CrashOnce(*point), Story(made)
            story.play(simulated(3000, crash), random.Random(2))
            assert not crash.is_over or story.ending() == expected, f"seed {seed}, {point}"
            again = story.acknowledged.intersection(made.executed[story.executed_before :])
            assert not again, f"seed {seed}, {point}: acknowledged tasks were executed again"
            acknowledged += len(story.acknowledged)
    assert acknowledged > len(some)


def crash_points(seed: int, commits: int) -> list[Point]:
    points = [(moment, number) for moment in ("before", "after") for number in range(commits)]
    return random.Random(seed).sample(points, min(len(points), 8))
