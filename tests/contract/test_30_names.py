"""Contract §30: names and types that users import."""

import pytest
from typing_extensions import TypedDict

import graphflow
from graphflow import (
    START,
    BaseStore,
    Command,
    InMemoryStore,
    MemoryCheckpointer,
    MessagesState,
    Runtime,
    StateGraph,
    entrypoint,
)
from graphflow_checkpointers.sqlite import SqliteCheckpointer
from graphflow_checkpointers.sqlite_store import SqliteStore

NAMES = {
    "b1": "StateGraph START END MessagesState add_messages REMOVE_ALL_MESSAGES push_message "
    "CompiledStateGraph",
    "b2": "Command Send interrupt Interrupt RetryPolicy CachePolicy TimeoutPolicy Overwrite "
    "StateSnapshot StateUpdate PregelTask GraphOutput StreamWriter Durability entrypoint task",
    "b3": "GraphRecursionError InvalidUpdateError GraphInterrupt GraphDrained EmptyInputError "
    "NodeError NodeTimeoutError NodeCancelledError ParentCommand DriftError is_invalid_resume",
    "b4": "Runtime get_runtime RunControl ExecutionInfo get_stream_writer get_config "
    "RemainingSteps IsLastStep",
    "b6": "InMemorySaver InMemoryStore BaseStore InMemoryCache UntrackedValue",
}
PAIRS = [(point, name) for point, names in NAMES.items() for name in names.split()]


class State(TypedDict, total=False):
    x: int


@pytest.mark.parametrize(("point", "name"), PAIRS)
def test_30_b1_to_b6_name_is_imported_from_the_package(point, name):
    assert getattr(graphflow, name) is not None
    assert name in graphflow.__all__


@pytest.mark.parametrize("kind", [StateGraph, Command, Runtime])
def test_30_b5_generic_classes_take_types_in_brackets(kind):
    assert kind[State].__origin__ is kind


def test_30_b5_graph_with_its_type_in_brackets_is_made_and_run(call):
    graph = StateGraph[State](State).add_node("n", lambda _: {"x": 1}).add_edge(START, "n")
    assert call.invoke(graph.compile(), {}) == {"x": 1}


def test_30_b5_messages_state_can_be_extended(call):
    class Mine(MessagesState):
        x: int

    graph = StateGraph(Mine).add_node("n", lambda _: {"messages": [("ai", "hello")]})
    result = call.invoke(graph.add_edge(START, "n").compile(), {"messages": "hi", "x": 1})
    assert ([m.content for m in result["messages"]], result["x"]) == (["hi", "hello"], 1)


def test_30_b5_in_memory_checkpointer_can_be_extended(call, thread):
    class Mine(MemoryCheckpointer):
        deleted: str | None = None

        def delete_thread(self, thread_id: str) -> None:
            self.deleted = thread_id
            super().delete_thread(thread_id)

    saver = Mine()
    app = StateGraph(State).add_node("n", lambda _: {"x": 1}).add_edge(START, "n").compile(saver)
    call.invoke(app, {}, thread)
    assert call.state(app, thread).values == {"x": 1}
    app.checkpointer.delete_thread("t")
    assert (saver.deleted, call.state(app, thread).values) == ("t", {})


def test_30_b5_final_takes_types_in_brackets():
    assert entrypoint.final[int, str].__origin__ is entrypoint.final


def test_30_b6_stores_are_base_stores(tmp_path):
    assert isinstance(InMemoryStore(), BaseStore)
    with SqliteStore(tmp_path / "store.db") as store:
        assert isinstance(store, BaseStore)


def test_30_b6_sqlite_checkpointer_serves_both_kinds_of_callers(call, tmp_path, thread):
    with SqliteCheckpointer(tmp_path / "threads.db") as saver:
        graph = StateGraph(State).add_node("n", lambda _: {"x": 1}).add_edge(START, "n")
        app = graph.compile(saver)
        call.invoke(app, {}, thread)
        assert app.get_state(thread).values == {"x": 1}
