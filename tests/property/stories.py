"""Plays drawn graphs to their end, by any driver, and tells what came of it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

from graphflow import Command, Interrupt, StateSnapshot
from graphflow.checkpoint.history import load
from graphflow.checkpoint.records import RowKind
from graphflow.testing.simulation import Crash, Simulation
from graphflow.types import INTERRUPT

from .mortal_stores import Mortal, MortalMemory
from .played_graphs import played
from .random_graphs import Drawing
from .worlds import Failure, World, executed

INPUT = {"log": ["input"], "total": 1}
ENDED = object()
THREAD = {"configurable": {"thread_id": "t"}}
MODES = ("values", "updates", "custom", "tasks", "checkpoints")
Chunk = tuple[tuple[str, ...], str, Any]
Driver = Callable[[Any, Any, Any, list[Chunk]], None]
"""Runs a graph with an input and a config; adds what it streams to the list."""
Policy = Callable[[Sequence[Interrupt]], Sequence[Interrupt]]
"""Which of the open questions to answer next."""


# -- drivers ------------------------------------------------------------------------------------


class Simulated:
    """The simulation; each run of a story has an order of its own."""

    def __init__(self, order: int) -> None:
        self.orders = count(order * 1000)

    def __call__(self, app: Any, given: Any, config: Any, chunks: list[Chunk]) -> None:
        simulation = Simulation(app, next(self.orders))
        try:
            simulation.invoke(given, config, stream_mode=MODES, subgraphs=True)
        finally:
            chunks += [(event.ns, event.mode, event.data) for event in simulation.events]


def threaded(app: Any, given: Any, config: Any, chunks: list[Chunk]) -> None:
    """The thread driver."""
    chunks += app.stream(given, config, stream_mode=[*MODES], subgraphs=True)


def looped(app: Any, given: Any, config: Any, chunks: list[Chunk]) -> None:
    """The event-loop driver."""

    async def run() -> None:
        async for chunk in app.astream(given, config, stream_mode=[*MODES], subgraphs=True):
            chunks.append(chunk)  # noqa: PERF401  # they are wanted also if it fails

    asyncio.run(run())


# -- who answers what ---------------------------------------------------------------------------


def all_at_once(questions: Sequence[Interrupt]) -> Sequence[Interrupt]:
    """Answer every open question."""
    return questions


def one_by_one(order: int) -> Policy:
    """Answer one question at a time, in an order of its own."""
    return lambda questions: sorted(questions, key=lambda q: _rank(order, q))[:1]


def in_groups(order: int) -> Policy:
    """Answer some questions at a time."""
    dice = random.Random(order)
    return lambda questions: dice.sample(list(questions), dice.randint(1, len(questions)))


def _rank(order: int, question: Interrupt) -> float:
    return random.Random(f"{order}|{question.id}").random()


# -- stories ------------------------------------------------------------------------------------


class Story:
    """One thread of a drawn graph.

    Args:
        drawing: The graph.
        store: Where the thread is kept.
        nap: Seconds that naps of its nodes take.
    """

    def __init__(self, drawing: Drawing, store: Mortal | None = None, nap: float = 0.0) -> None:
        self.drawing = drawing
        self.store = MortalMemory() if store is None else store
        self.world = World(nap)
        self.app = played(drawing, self.world).compile(checkpointer=self.store)
        self.streams: list[list[Chunk]] = []
        """What each run of the graph streamed."""
        self.executed: list[str] = []
        """What the newest run executed."""

    def play(
        self, driver: Driver, policy: Policy = all_at_once, given: Any = INPUT, config: Any = THREAD
    ) -> Story:
        """Run, and go on after every question, failure and crash, until nothing is left to do."""
        for _ in range(1000):
            stopped = self.run(driver, given, config)
            given, config = self.next_input(policy, stopped), THREAD
            if given is ENDED:
                return self
        raise AssertionError("the story does not end")

    def next_input(self, policy: Policy, stopped: bool) -> Any:
        """Return what a run is given that goes on; `ENDED` if nothing is left to do."""
        now = self.app.get_state(THREAD)
        if now.config == THREAD:
            return INPUT  # nothing was stored
        if not now.next:
            return ENDED
        if stopped:
            return None
        assert now.interrupts, f"the run ended although {now.next} are left to run"
        return answers(policy(by_id(now.interrupts)))

    def run(self, driver: Driver, given: Any, config: Any = THREAD) -> bool:
        """Run the graph once, in a process of its own; return whether it failed or crashed."""
        chunks: list[Chunk] = []
        self.executed = []
        token = executed.set(self.executed)
        stopped = False
        try:
            driver(self.app, given, config, chunks)
        except (Crash, Failure):
            stopped = True
        finally:
            executed.reset(token)
            self.world.wait()
        self.streams.append(chunks)
        return stopped

    # -- what came of it -----------------------------------------------------------------------

    def values(self) -> Any:
        """Return the state of the thread."""
        return self.app.get_state(THREAD).values

    def history(self) -> dict[str, list[StateSnapshot]]:
        """Return all checkpoints, newest first, by the scope that they are in."""
        return {scope: self.shots(scope) for scope in sorted(self.store.seen_scopes)}

    def shots(self, scope: str = "") -> list[StateSnapshot]:
        """Return the checkpoints of one scope, without what differs from run to run."""
        config = {"configurable": {"thread_id": "t", "checkpoint_ns": scope}}
        return [comparable(shot) for shot in self.app.get_state_history(config)]

    def done(self) -> set[str]:
        """Return the ids of tasks and calls of which the store has the result."""
        tasks = {
            task.id
            for scope in self.store.seen_scopes
            for shot in self.shots(scope)
            for task in shot.tasks
            if task.result is not None
        }
        return tasks | set(self._calls_done())

    def _calls_done(self) -> Iterator[str]:
        store, codec = self.store, self.app.codec
        for scope in store.seen_scopes:
            newest = store.run(load(store, codec, "t", scope))
            for row in newest.rows if newest is not None else ():
                if row.kind is RowKind.CALL:
                    yield row.value[2]["id"]

    def counted(self) -> list[Counter[Any]]:
        """Return what each run streamed, without the order within a superstep."""
        return [counted(chunks) for chunks in self.streams]


def answers(questions: Sequence[Interrupt]) -> Command[Any]:
    """Return the command that answers questions."""
    return Command(resume={each.id: answer_to(each) for each in questions})


def answer_to(question: Interrupt) -> Any:
    """Return a fitting answer."""
    text = f"answer to {question.value}"
    return text if question.response_schema is None else {"text": text}


def comparable(shot: StateSnapshot) -> StateSnapshot:
    """Return a snapshot without its time, and questions in an order that does not depend on when
    they were asked: which of several parallel ones comes first is left open.
    """
    tasks = tuple(
        task._replace(
            interrupts=by_id(task.interrupts),
            error=task.error and task.error.split("(elapsed")[0],
        )
        for task in shot.tasks
    )
    return shot._replace(created_at=None, tasks=tasks, interrupts=by_id(shot.interrupts))


def by_id(questions: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(sorted(questions, key=lambda q: q["id"] if isinstance(q, dict) else q.id))


def counted(chunks: Sequence[Chunk]) -> Counter[Any]:
    """Return how often which chunk comes in which superstep.

    A superstep is known by how many checkpoints each of the graphs around has told so far.
    """
    told: Counter[tuple[str, ...]] = Counter()
    found: Counter[Any] = Counter()
    for ns, mode, data in chunks:
        if mode == "checkpoints":
            told[ns] += 1
        place = tuple(told[ns[:depth]] for depth in range(len(ns) + 1))
        found[ns, place, mode, repr(_unordered(data))] += 1
    return found


def _unordered(data: Any) -> Any:
    """Return a chunk with questions in a fixed order, and errors without what they say of time."""
    if isinstance(data, dict):
        asked = {key for key in (INTERRUPT, "interrupts") if key in data}
        return {k: by_id(v) if k in asked else _unordered(v) for k, v in data.items()}
    if isinstance(data, list):
        return [_unordered(item) for item in data]
    return type(data) if isinstance(data, Exception) else data
