"""Makes `v1.sqlite`, the file of storage format 1 that every later version must load.

    python tests/histories/make_v1.py tests/histories/v1.sqlite

It was run once, with the version that introduced the format, and must not be run again: a golden
file that is made anew proves nothing.
"""

from __future__ import annotations

import datetime
import decimal
import operator
import sys
import uuid
from typing import Annotated, Any, TypedDict

from graphflow import (
    START,
    AIMessage,
    Command,
    CompiledStateGraph,
    HumanMessage,
    Message,
    Send,
    StateGraph,
    add_messages,
    interrupt,
)
from graphflow_checkpointers.sqlite import SqliteCheckpointer

VALUES = {
    "moment": datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC),
    "price": decimal.Decimal("12.50"),
    "id": uuid.UUID("12345678123456781234567812345678"),
    "pair": (1, "two"),
    "tags": {"a", "b"},
    "bytes": b"\x00\xff",
    "deep": [{"n": None}, {1: 2.5}],
}


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    messages: Annotated[list[Message], add_messages]
    table: Annotated[dict[str, Any], lambda old, new: {**old, **new}]
    count: int
    values: dict[str, Any]


def prepare(state: State) -> Any:
    table = {f"key {n}": n for n in range(20)} if state["count"] == 0 else {"key 7": "changed"}
    return {"log": ["prepare"], "values": VALUES, "table": table}


def part(packet: dict[str, Any]) -> Any:
    return {"log": [f"part {packet['n']}"], "table": {f"part {packet['n']}": packet}}


def talk(state: State) -> Any:
    said = AIMessage(f"turn {state['count']}", id=f"ai-{state['count']}")
    return {"messages": [said], "count": state["count"] + 1}


def review(state: State) -> Any:
    verdict = interrupt({"question": "good?", "count": state["count"]})
    return {"log": [f"review {verdict}"]}


def beside(state: State) -> Any:
    return {"log": ["beside"]}


def app_on(store: SqliteCheckpointer) -> CompiledStateGraph:
    """Return the graph that the history was made with."""
    graph: StateGraph[State] = StateGraph(State)
    for node in (prepare, part, talk, review, beside):
        graph.add_node(node)
    graph.add_edge(START, "prepare").add_edge(["prepare", "part"], "talk")
    graph.add_conditional_edges(
        "prepare", lambda state: [Send("part", {"n": n}) for n in range(2)], ["part"]
    )
    graph.add_edge("talk", "review").add_edge("talk", "beside")
    graph.add_conditional_edges(
        "review", lambda s: "prepare" if s["count"] < 2 else "__end__", ["prepare", "__end__"]
    )
    return graph.compile(checkpointer=store)


def thread(name: str, **more: Any) -> dict[str, Any]:
    """Return a config that names a thread."""
    return {"configurable": {"thread_id": name, **more}}


def make(path: str) -> None:
    """Make the file: a finished thread, one that waits, one with a fork and an edit."""
    given = {"count": 0, "messages": [HumanMessage("hello", id="human-1")]}
    with SqliteCheckpointer(path) as store:
        app = app_on(store)
        for name in ("finished", "waiting", "forked"):
            app.invoke(given, {**thread(name), "metadata": {"author": "ana"}})
        for name in ("finished", "finished", "forked"):
            app.invoke(Command(resume="yes"), thread(name))
        past = [s for s in app.get_state_history(thread("forked")) if s.next == ("talk",)]
        edited = {**past[-1].config, "metadata": {"author": "ana"}}
        app.update_state(edited, {"log": ["edited"], "count": 9}, as_node="talk")
        app.invoke(None, thread("forked"))
        store._connection.execute("PRAGMA journal_mode=DELETE")


if __name__ == "__main__":
    make(sys.argv[1])
