"""The worker that gets killed: runs one thread in a store, or goes on with it.

    python worker.py URL LOG [seconds that a lease lasts]

It appends to a log, a line at a time: `ran <task id>` when a node is done, and `kept <task id> …`
when a commit with the results of these tasks has been acknowledged by the store.
"""

from __future__ import annotations

import operator
import os
import sys
import time
from contextlib import suppress
from typing import Annotated, Any, TypedDict

from graphflow import (
    START,
    Checkpointer,
    CompiledStateGraph,
    EmptyInputError,
    Runtime,
    Send,
    StateGraph,
)

ROUNDS = 3
THREAD = {"configurable": {"thread_id": "t"}}


class State(TypedDict, total=False):
    round: int
    log: Annotated[list[str], operator.add]


class Log:
    """A file to which whole lines are appended, whoever writes."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, *words: str) -> None:
        os.write(self.file, f"{' '.join(words)}\n".encode())


def made(store: Any, log: Log) -> CompiledStateGraph:
    """Return an app: rounds of tasks side by side, with a join and Sends."""

    def task(name: str, mark: str, runtime: Runtime[None]) -> dict[str, Any]:
        time.sleep(0.002 * (len(mark) % 3))
        assert runtime.execution_info is not None
        log.write("ran", runtime.execution_info.task_id)
        return {"log": [f"{name}:{mark}"]}

    def left(state: State, runtime: Runtime[None]) -> Any:
        return task("left", "r" * state["round"], runtime)

    def right(state: State, runtime: Runtime[None]) -> Any:
        return task("right", "r" * state["round"], runtime)

    def part(packet: dict[str, Any], runtime: Runtime[None]) -> Any:
        return task("part", packet["mark"], runtime)

    def gather(state: State, runtime: Runtime[None]) -> Any:
        return {**task("gather", str(len(state["log"])), runtime), "round": state["round"] + 1}

    graph: StateGraph[State] = StateGraph(State)
    for node in (left, right, part, gather):
        graph.add_node(node)
    graph.add_edge(START, "left").add_edge(START, "right")
    graph.add_edge(["left", "right"], "gather")
    graph.add_conditional_edges(
        "left", lambda state: [Send("part", {"mark": "p" * n}) for n in range(3)], ["part"]
    )
    graph.add_conditional_edges(
        "gather", lambda s: ["left", "right"] if s["round"] < ROUNDS else "__end__",
        ["left", "right", "__end__"],
    )  # fmt: skip
    return graph.compile(checkpointer=store)


def result_ids(app: CompiledStateGraph) -> list[str]:
    """Return the tasks whose result is in the store."""
    shots = app.get_state_history(THREAD)
    return [task.id for shot in shots for task in shot.tasks if task.result is not None]


def work(url: str, log: Log, lease_seconds: float = 30.0) -> None:
    """Run the thread to its end, wherever it stands, once nobody else runs it."""
    store = Checkpointer.from_url(url)
    store.lease_seconds = lease_seconds
    app = made(store, log)
    log.write("kept", *result_ids(app))
    options: Any = {"durability": "sync", "stream_mode": "updates"}
    if lease_seconds < 30:
        options["on_busy"] = "wait"
    # Whether there is something to go on with is known only to who has the branch: a commit of the
    # one before may have been on its way.
    for given in (None, {"round": 0}):
        with suppress(EmptyInputError):
            for _ in app.stream(given, THREAD, **options):
                log.write("kept", *result_ids(app))
            break
    log.write("done")


if __name__ == "__main__":
    work(sys.argv[1], Log(sys.argv[2]), *map(float, sys.argv[3:]))
