"""Saving: what is stored when a run fails, a store fails, or both do."""

import asyncio
import threading
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from typing_extensions import TypedDict

from graphflow import START, Command, MemoryCheckpointer, StateGraph, interrupt
from graphflow.errors import StoreFullError
from graphflow_checkpointers.sqlite import SqliteCheckpointer

THREAD = {"configurable": {"thread_id": "t"}}
DURABILITIES = pytest.mark.parametrize("durability", ["sync", "async", "exit"])


class State(TypedDict, total=False):
    x: int


class Answer(BaseModel):
    ok: bool


class Full(MemoryCheckpointer):
    """A store that is full from its second append on, and does not answer at once."""

    is_instant = False

    def __init__(self) -> None:
        super().__init__()
        self.appends = 0
        self.refused = threading.Event()

    def append(self, *args: Any, **options: Any) -> Any:
        self.appends += 1
        if self.appends == 2:
            self.refused.set()
            raise StoreFullError("full")
        return (yield from super().append(*args, **options))


def invoke(app: Any, given: Any, way: str, **options: Any) -> Any:
    if way == "sync":
        return app.invoke(given, THREAD, **options)
    return asyncio.run(app.ainvoke(given, THREAD, **options))


@pytest.mark.parametrize("way", ["sync", "async"])
def test_failing_store_does_not_hide_the_nodes_error(way):
    store = Full()

    def failing(_: State) -> None:
        assert store.refused.wait(5)
        raise ValueError("the node's own")

    nodes = [("first", lambda _: {"x": 1}), ("failing", failing)]
    app = StateGraph(State).add_sequence(nodes).add_edge(START, "first").compile(store)
    with pytest.raises(ValueError, match="the node's own") as raised:
        invoke(app, {}, way, durability="async")
    assert isinstance(raised.value.__cause__, StoreFullError)


@pytest.mark.parametrize("way", ["sync", "async"])
@DURABILITIES
def test_failing_store_fails_the_run(way, durability):
    store = Full()
    store.appends = 1 if durability == "exit" else 0
    nodes = [("first", lambda _: {"x": 1}), ("second", lambda _: {"x": 2})]
    app = StateGraph(State).add_sequence(nodes).add_edge(START, "first").compile(store)
    with pytest.raises(StoreFullError):
        invoke(app, {}, way, durability=durability)


@pytest.mark.parametrize("way", ["sync", "async"])
@DURABILITIES
def test_withdrawn_answer_can_be_given_again(tmp_path, way, durability):
    def n(_: State) -> State:
        return {"x": int(interrupt("?", response_schema=Answer).ok)}

    with SqliteCheckpointer(tmp_path / "threads.db") as store:
        app = StateGraph(State).add_node("n", n).add_edge(START, "n").compile(store)
        invoke(app, {}, way, durability=durability)
        with pytest.raises(ValidationError):
            invoke(app, Command(resume={"ok": "perhaps"}), way, durability=durability)
        assert len(app.get_state(THREAD).interrupts) == 1
        right = invoke(app, Command(resume={"ok": True}), way, durability=durability)
        assert right == {"x": 1}
