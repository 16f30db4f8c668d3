"""Tags: what is declared, what is stored when, and stores that keep none."""

from collections.abc import Sequence
from typing import Any, TypedDict

import pytest

from graphflow import START, Checkpointer, CheckpointError, MemoryCheckpointer, StateGraph
from graphflow.checkpoint.indexing import index_thread
from graphflow.checkpoint.protocol import Operation, Tag
from graphflow.checkpoint.tags import checked_tags, tags_of
from graphflow.checkpoint.transfer import export_thread, import_thread
from graphflow.runtime import get_config
from graphflow_checkpointers.sqlite import SqliteCheckpointer


class State(TypedDict):
    count: int


def counting(store: Checkpointer, last: int = 5) -> Any:
    """Return an app that counts up to `last`, one superstep a number."""
    graph = StateGraph(State).add_node("count", lambda state: {"count": state["count"] + 1})
    graph.add_conditional_edges(
        "count", lambda state: "count" if state["count"] < last else "__end__", ["count", "__end__"]
    )
    return graph.add_edge(START, "count").compile(store)


def at(thread: str, **metadata: Any) -> Any:
    return {"configurable": {"thread_id": thread}, "metadata": metadata}


@pytest.mark.parametrize("tags", ["customer", ("customer", 1), [None]])
def test_what_is_declared_are_texts(tags):
    for opened in (MemoryCheckpointer, SqliteCheckpointer, checked_tags):
        with pytest.raises(TypeError, match="names keys of the metadata"):
            opened(tags) if opened is checked_tags else opened(tags=tags)
    with pytest.raises(TypeError, match="names keys of the metadata"):
        Checkpointer.from_url("memory://", tags=tags)


def test_a_store_by_url_is_told_its_tags(tmp_path):
    for url in ("memory://", "sqlite://", f"sqlite:///{tmp_path / 'a.db'}"):
        store = Checkpointer.from_url(url, tags=["customer"])
        counting(store).invoke({"count": 0}, at("t", customer="ada"))
        assert store.find_threads({"customer": "ada"}).threads == ["t"]
        store.close()


class Counted(MemoryCheckpointer):
    """Counts transactions and remembers tags."""

    begun = 0

    def begin(self, *, write: bool = False) -> Operation[None]:
        self.begun += write
        return super().begin(write=write)

    def put_tags(self, thread: str, tags: Sequence[Tag]) -> Operation[None]:
        self.put = [*getattr(self, "put", ()), len(tags)]
        return super().put_tags(thread, tags)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_run_puts_its_tags_once_and_only_news(durability):
    store = Counted(tags=("customer", "tenant"))
    app = counting(store)
    app.invoke({"count": 0}, at("t", customer="ada"), durability=durability)
    assert (store.put, store.begun) == ([1], 1)
    app.invoke({"count": 0}, at("t"), durability=durability)
    app.invoke({"count": 0}, at("t", customer="ada"), durability=durability)
    assert (store.put, store.begun) == ([1], 1)
    app.invoke({"count": 0}, at("t", tenant=1), durability=durability)
    assert (store.put, store.begun) == ([1, 2], 2)


def test_a_graph_inside_gives_no_tags():
    def inside(state: State) -> State:
        return counting(None).invoke(state, {**get_config(), "metadata": {"customer": [1.5]}})

    store = MemoryCheckpointer(tags=("customer",))
    graph = StateGraph(State).add_node("inside", inside).add_edge(START, "inside")
    graph.compile(store).invoke({"count": 0}, at("t", customer="ada"))
    assert len(store.run(store.scopes("t"))) == 2
    assert store.find_threads({"customer": "ada"}).threads == ["t"]


def test_a_plain_value_of_the_configurable_is_metadata_and_so_a_tag():
    store = MemoryCheckpointer(tags=("user",))
    counting(store).invoke({"count": 0}, {"configurable": {"thread_id": "t", "user": 7}})
    assert store.find_threads({"user": 7}).threads == ["t"]


def test_the_digest_of_a_tag_is_what_stores_have():
    """Another one would find nothing of what was stored before."""
    ada, one, true, half = tags_of("abcd", {"a": "ada", "b": 1, "c": True, "d": "\ud800"})
    assert ada.key.hex() == "27c35e6e9373877f29e562464e46497e"
    assert [tag.value.hex()[:16] for tag in (ada, one, true, half)] == [
        "119516dc2fabd643", "aeda10395573aabc", "39e737d10d3248e6", "e81738bd0decbd61",
    ]  # fmt: skip
    assert [(len(tag.key), len(tag.value)) for tag in (one, true)] == [(16, 32)] * 2


class Growing(MemoryCheckpointer):
    """Somebody runs in a thread while it is indexed."""

    is_watched = False

    def put_tags(self, thread: str, tags: Sequence[Tag]) -> Operation[None]:
        if self.is_watched:
            self.is_watched = False
            counting(self).invoke({"count": 0}, at(thread, customer="ben"))
        return super().put_tags(thread, tags)


def test_what_a_run_commits_while_its_thread_is_indexed_stays():
    store = Growing(tags=("customer",))
    counting(store).invoke({"count": 0}, at("t", customer="ada"))
    store.is_watched = True
    store.run(index_thread(store, "t"))
    assert not store.is_watched
    assert store.find_threads({"customer": "ben"}).threads == ["t"]
    assert store.find_threads({"customer": "ada"}).threads == []


class Plain(MemoryCheckpointer):
    """A store of somebody who does not know of tags."""

    put_tags = Checkpointer.put_tags
    tagged = Checkpointer.tagged


def test_a_store_that_keeps_no_tags_works_without_and_says_so():
    store = Plain()
    assert counting(store).invoke({"count": 0}, at("t", customer=1.5)) == {"count": 5}
    other = MemoryCheckpointer(tags=("customer",))
    counting(other).invoke({"count": 0}, at("u", customer="ada"))
    store.run(import_thread(store, list(other.run(export_thread(other, "u")))))
    with pytest.raises(CheckpointError, match="Plain keeps no tags"):
        store.find_threads()
    told = Plain(tags=("customer",))
    with pytest.raises(CheckpointError, match="Plain keeps no tags"):
        counting(told).invoke({"count": 0}, at("t", customer="ada"))
    assert told.run(told.threads()) == []


def test_an_index_finds_threads_by_tags(tmp_path):
    """SQLite goes through the threads that have the first tag, and no others."""
    with SqliteCheckpointer(tmp_path / "threads.db", tags=("customer", "tenant")) as store:
        told: list[str] = []
        store._connection.set_trace_callback(told.append)
        store.find_threads({"customer": "ada", "tenant": 1}, limit=2)
        (statement,) = told
        plan = store._connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        store._connection.set_trace_callback(None)
    assert plan[0][3].endswith("USING COVERING INDEX graphflow_tagged (value=? AND thread>?)")
    assert not [step for *_, step in plan if step.startswith("SCAN")]
