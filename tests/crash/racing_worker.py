"""The worker that test_races.py races: answers the question of one thread after another.

Reads a thread's id from a line, waits for the stroke that is the same for all workers, answers, and
prints what came of it: `won`, or the name of the error. What its node does is a line in a log.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, TypedDict

from graphflow import START, CheckpointConflict, Checkpointer, Command, StateGraph, interrupt


class State(TypedDict, total=False):
    answer: str
    paid: str


def made(store: Checkpointer, log: int) -> Any:
    """Return an app that pays when it is told to."""

    def pay(state: State) -> State:
        os.write(log, f"{state['answer']}\n".encode())
        return {"paid": state["answer"]}

    def ask(_: State) -> State:
        return {"answer": interrupt("pay?")}

    graph: StateGraph[State] = StateGraph(State)
    graph.add_sequence([("ask", ask), ("pay", pay)])
    return graph.add_edge(START, "ask").compile(checkpointer=store)


def race(app: Any, name: str) -> None:
    """Answer on the stroke, for every line that comes."""
    for line in sys.stdin:
        thread, moment = line.split()
        config = {"configurable": {"thread_id": thread}}
        time.sleep(max(0.0, float(moment) - time.time()))
        try:
            app.invoke(Command(resume=f"{thread}/{name}"), config, durability="sync")
        except CheckpointConflict as error:
            print(thread, type(error).__name__, flush=True)
        else:
            print(thread, "won", flush=True)


if __name__ == "__main__":
    url, log, name = sys.argv[1:]
    store = Checkpointer.from_url(url)
    app = made(store, os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    print("ready", flush=True)
    race(app, name)
    store.close()
