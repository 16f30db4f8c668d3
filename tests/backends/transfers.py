"""What holds when threads go between a store on a server and other stores."""

from __future__ import annotations

import operator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import pytest

from graphflow import START, CheckpointConflict, Command, MemoryCheckpointer, StateGraph, interrupt
from graphflow.checkpoint.check import check_thread
from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.raw import raw_codec
from graphflow.checkpoint.report import storage_report
from graphflow.checkpoint.transfer import copy_thread, export_thread, import_thread, read_whole

THREAD: Any = {"configurable": {"thread_id": "t"}}


class State(TypedDict):
    log: Annotated[list[str], operator.add]


def note(state: State) -> State:
    return {"log": ["noted"]}


def ask(state: State) -> State:
    return {"log": [interrupt("Good?")]}


def app(store: Checkpointer) -> Any:
    inner = StateGraph(State).add_sequence([note, ask]).add_edge(START, "note").compile()
    outer = StateGraph(State).add_node("inner", inner).add_edge(START, "inner")
    return outer.compile(checkpointer=store)


def paused(store: Checkpointer) -> Checkpointer:
    """Put a thread into a store that has a fork, and a question in a graph inside."""
    made = app(store)
    made.invoke({"log": []}, THREAD)
    made.invoke(None, list(made.get_state_history(THREAD))[-1].config)
    return store


class Transfers:
    """Threads come and go, and are looked after; subclasses have an empty `store`."""

    def test_a_thread_comes_from_another_store_and_goes_on(self, store: Checkpointer) -> None:
        source = paused(MemoryCheckpointer())
        store.run(import_thread(store, source.run(export_thread(source, "t"))))
        assert store.run(read_whole(store, "t")) == source.run(read_whole(source, "t"))
        assert app(store).invoke(Command(resume="yes"), THREAD)["log"] == ["noted", "yes"]

    def test_a_thread_goes_to_another_store(self, store: Checkpointer) -> None:
        paused(store)
        target = MemoryCheckpointer()
        target.run(import_thread(target, store.run(export_thread(store, "t"))))
        assert store.run(read_whole(store, "t")) == target.run(read_whole(target, "t"))

    def test_a_thread_is_copied_within_the_store(self, store: Checkpointer) -> None:
        paused(store)
        store.run(copy_thread(store, "t", "u"))
        with pytest.raises(CheckpointConflict):
            store.run(copy_thread(store, "t", "u"))
        at: Any = {"configurable": {"thread_id": "u"}}
        assert app(store).invoke(Command(resume="yes"), at)["log"] == ["noted", "yes"]

    def test_a_thread_is_counted_and_found_whole(self, store: Checkpointer) -> None:
        reference = paused(MemoryCheckpointer())
        paused(store)
        assert store.run(check_thread(store, raw_codec(), "t")) == []
        counted = store.run(storage_report(store)).total[:7]
        assert counted == reference.run(storage_report(reference)).total[:7]

    def test_of_several_imports_at_once_one_wins(self, store: Checkpointer) -> None:
        source = paused(MemoryCheckpointer())
        file = list(source.run(export_thread(source, "t")))

        def won(_: int) -> bool:
            try:
                store.run(import_thread(store, file))
            except CheckpointConflict:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(won, range(8))) == 1
        assert store.run(read_whole(store, "t")) == source.run(read_whole(source, "t"))
