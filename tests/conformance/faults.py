"""A whole run on a store whose n-th call fails: what is promised then, for every store.

The run has tasks side by side, a question with an answer, and a graph inside that asks as well.
"""

from __future__ import annotations

import asyncio
import operator
import random
from collections.abc import Callable
from itertools import count
from typing import Annotated, Any, NamedTuple, Protocol, TypedDict

from graphflow import (
    START,
    CheckpointConflict,
    Checkpointer,
    CheckpointError,
    Command,
    CompiledStateGraph,
    MemoryCheckpointer,
    StateGraph,
    interrupt,
)
from graphflow.checkpoint.check import check_thread
from graphflow.checkpoint.codec import Codec

THREAD: Any = {"configurable": {"thread_id": "t"}}
INPUT = {"log": ["input"]}
PAYLOAD = "x" * 9000
"""What each node writes beside what it says, so that a run needs some room."""


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    payload: Annotated[list[str], operator.add]


class Faults(Protocol):
    """What makes the calls of a store fail."""

    def arm(self, number: int) -> None:
        """Let the call after so many others fail."""

    def repair(self) -> None:
        """Let no call fail any more."""

    @property
    def has_struck(self) -> bool:
        """Whether a call failed since it was armed."""


class Ending(NamedTuple):
    """What is left of a run."""

    values: Any
    history: list[Any]


Drive = Callable[[CompiledStateGraph, Any, list[Any]], None]
"""Runs an app with an input to its end, or to a question; adds what it is told to the list."""


def blocking(app: CompiledStateGraph, given: Any, told: list[Any]) -> None:
    """The thread driver; what it tells is durable."""
    for chunk in app.stream(given, THREAD, stream_mode="values", durability="sync"):
        told.append(chunk["log"])  # noqa: PERF401  # wanted also if the next one fails


def on_loop(app: CompiledStateGraph, given: Any, told: list[Any]) -> None:
    """The event loop's driver, saving in the background."""

    async def run() -> None:
        async for _ in app.astream(given, THREAD, stream_mode="values", durability="async"):
            pass

    asyncio.run(run())


def at_exit(app: CompiledStateGraph, given: Any, told: list[Any]) -> None:
    """The thread driver, saving at the end."""
    app.invoke(given, THREAD, durability="exit")


DRIVES: tuple[Drive, ...] = (blocking, on_loop, at_exit)


def graph(ran: list[str]) -> StateGraph[State]:
    """Return the graph; its nodes note that they ran."""

    def writes(name: str) -> Callable[[State], Any]:
        def node(state: State) -> Any:
            ran.append(name)
            return {"log": [f"{name} after {len(state['log'])}"], "payload": [name + PAYLOAD]}

        return node

    def asks(name: str) -> Callable[[State], Any]:
        return lambda state: {"log": [f"{name}: {interrupt(name)}"]}

    inner: StateGraph[State] = StateGraph(State)
    inner.add_sequence([("a", writes("a")), ("b", asks("b")), ("c", writes("c"))])

    def call(state: State) -> Any:
        return {"log": [*called.invoke({"log": ["called"]})["log"]]}

    called = inner.add_edge(START, "a").compile()
    outer: StateGraph[State] = StateGraph(State)
    outer.add_node("first", writes("first")).add_edge(START, "first")
    for name, node in (("left", asks("left")), ("quick", writes("quick")), ("call", call)):
        outer.add_node(name, node).add_edge("first", name)
    return outer.add_node("end", writes("end")).add_edge(["left", "quick", "call"], "end")


def play(
    store: Checkpointer,
    watcher: Checkpointer,
    drive: Drive,
    faults: Faults | None,
    told_as: str | None,
) -> Ending:
    """Run to the end, answering what is asked; after a failure, go on with None.

    Args:
        store: Where calls fail.
        watcher: Another store of the same threads: what is durable.
        drive: Runs the graph.
        faults: Ended after a failure; None: there are none.
        told_as: What the text of an error tells; None: nothing may be told.
    """
    states = graph([]).compile(watcher)
    given: Any = INPUT
    done: set[str] = set()
    for _ in range(9):
        told: list[Any] = []
        ran: list[str] = []  # one for each: a node that a failure left behind may still run
        try:
            drive(graph(ran).compile(store), given, told)
        except CheckpointError as error:
            if faults is None or told_as is None:
                raise
            check_told(error, told_as)
            faults.repair()
            now = states.get_state(THREAD)
            check_kept(now.values.get("log", []), told)
            check_done(done, ran)
            given = None if now.config["configurable"].get("checkpoint_id") else INPUT
            continue
        now = states.get_state(THREAD)
        if not now.next:
            break
        check_kept(now.values["log"], told)
        check_done(done, ran)
        done = {"first", "quick", "a"}
        given = Command(resume={asked.id: f"yes, {asked.value}" for asked in now.interrupts})
    assert not now.next, "the run does not end"
    check_done(done, ran)
    history = [(shot.next, shot.values) for shot in states.get_state_history(THREAD)]
    assert watcher.run(check_thread(watcher, Codec(), "t")) == []
    return Ending(now.values, history)


def check_told(error: CheckpointError, told_as: str) -> None:
    """See that an error says what happened and is nobody else's doing."""
    assert not isinstance(error, CheckpointConflict), f"with whom? {error}"
    assert told_as in str(error)
    assert str(error).endswith((".", ")"))


def check_kept(log: list[str], told: list[list[str]]) -> None:
    """See that what the run was told is stored."""
    for known in told:
        assert log[: len(known)] == known or known[:1] != INPUT["log"]


def check_done(done: set[str], ran: list[str]) -> None:
    """See that nothing ran again that was done when the run stopped at its questions."""
    assert not done & {*ran}, f"ran again: {done & {*ran}}"


def expected(drive: Drive) -> Ending:
    """Return the ending of a run without failures."""
    memory = MemoryCheckpointer()
    return play(memory, memory, drive, None, None)


def check_every_call(
    store: Checkpointer,
    watcher: Checkpointer,
    drive: Drive,
    faults: Faults,
    told_as: str | None,
    step: int = 1,
) -> int:
    """Let each call of a run fail, or every `step`-th, one run each; return how many there are."""
    ending = expected(drive)
    for number in count(random.randrange(step), step):
        faults.arm(number)
        found = play(store, watcher, drive, faults, told_as)
        assert found.values == ending.values, f"call {number} failed"
        assert found.history == ending.history, f"call {number} failed"
        struck = faults.has_struck
        faults.repair()
        if not struck:
            return number
        store.run(store.remove_thread("t"))
    raise AssertionError("not reached")
