"""Whole graphs on an encrypted store: the thread that memory would have, and nothing to read."""

from __future__ import annotations

import asyncio
import json
import operator
import sqlite3
from base64 import b64decode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import pytest

from graphflow import (
    END,
    START,
    AIMessage,
    Checkpointer,
    CheckpointError,
    Command,
    CompiledStateGraph,
    HumanMessage,
    MemoryCheckpointer,
    MessagesState,
    Send,
    StateGraph,
    interrupt,
)
from graphflow.checkpoint.codec_errors import CodecError
from graphflow.checkpoint.history import FLOOR
from graphflow.checkpoint.transfer import copy_thread, export_thread, import_thread
from graphflow_checkpointers.encryption import (
    DecryptionError,
    EncryptedCheckpointer,
    Keys,
    new_key,
)
from graphflow_checkpointers.sqlite import SqliteCheckpointer

SECRET = "the-patient-is-Ana"
THREAD: Any = {"configurable": {"thread_id": "t"}, "metadata": {"clinic": SECRET}}
Invoke = Callable[[CompiledStateGraph, Any], Any]


class State(MessagesState, total=False):
    log: Annotated[list[str], operator.add]
    notes: dict[str, str]


def clinic(store: Checkpointer) -> CompiledStateGraph:
    """Return a graph that has the secret wherever a graph can have one."""

    def greet(state: State) -> Any:
        return {"messages": [AIMessage(f"Hello, {SECRET}")], "notes": {SECRET: SECRET}}

    def fan(state: State) -> list[Send]:
        return [Send("look", {"log": [f"{SECRET} {number}"]}) for number in range(2)]

    def look(state: State) -> Any:
        return {"log": state["log"]}

    def ask(state: State) -> Any:
        return {"log": [interrupt(f"Is it true that {SECRET}?")]}

    inner: StateGraph[State] = StateGraph(State)
    inner.add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END)
    graph: StateGraph[State] = StateGraph(State)
    graph.add_node("greet", greet).add_node("look", look).add_node("consult", inner.compile())
    graph.add_edge(START, "greet").add_conditional_edges("greet", fan, ["look"])
    graph.add_edge("look", "consult").add_edge("consult", END)
    return graph.compile(checkpointer=store)


def blocking(app: CompiledStateGraph, given: Any) -> Any:
    return app.invoke(given, THREAD, durability="sync")


def on_a_loop(app: CompiledStateGraph, given: Any) -> Any:
    return asyncio.run(app.ainvoke(given, THREAD))


def visit(app: CompiledStateGraph, invoke: Invoke) -> list[Any]:
    """Run to the question; answer it; return what the thread shows before and after."""
    asked = invoke(app, {"messages": [HumanMessage(SECRET, id="1")], "log": []})
    shown = [app.get_state(THREAD, subgraphs=True).tasks[0].interrupts[0].value]
    answered = invoke(app, Command(resume=f"yes, {SECRET}"))
    history = [(shot.next, shot.values.get("log")) for shot in app.get_state_history(THREAD)]
    return [asked["log"], *shown, answered["log"], answered["notes"], history]


def content(folder: Path) -> bytes:
    """Return all bytes of all files, those of SQLite's log included."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("invoke", [blocking, on_a_loop])
def test_a_thread_is_what_it_would_be_in_memory(tmp_path: Path, keys: Keys, invoke: Invoke) -> None:
    expected = visit(clinic(MemoryCheckpointer()), invoke)
    with EncryptedCheckpointer(SqliteCheckpointer(tmp_path / "threads.db"), keys) as store:
        assert visit(clinic(store), invoke) == expected
    with EncryptedCheckpointer(SqliteCheckpointer(tmp_path / "threads.db"), keys) as store:
        app = clinic(store)
        values = app.get_state(THREAD).values
        assert values["log"][-1] == f"yes, {SECRET}"
        assert [message.content for message in values["messages"]] == [SECRET, f"Hello, {SECRET}"]
        assert len(list(store.list(THREAD))) == len(expected[-1])


@pytest.mark.parametrize("invoke", [blocking, on_a_loop])
@pytest.mark.parametrize("is_encrypted", [False, True])
def test_no_file_has_a_word_of_it(
    tmp_path: Path, keys: Keys, invoke: Invoke, is_encrypted: bool
) -> None:
    inner = SqliteCheckpointer(tmp_path / "threads.db")
    with EncryptedCheckpointer(inner, keys) if is_encrypted else inner as store:
        app = clinic(store)
        invoke(app, {"messages": [HumanMessage(SECRET, id="1")], "log": []})
        asked = content(tmp_path)
        assert (tmp_path / "threads.db-wal").stat().st_size > 0
        invoke(app, Command(resume=f"yes, {SECRET}"))
        app.update_state(THREAD, {"log": [f"edit: {SECRET}"]}, as_node="look")
        answered = content(tmp_path)
    for found in (asked, answered, content(tmp_path)):
        assert (SECRET.encode() in found) is not is_encrypted
        assert (b"Hello" in found) is not is_encrypted


def failing(store: Checkpointer) -> CompiledStateGraph:
    def fail(state: State) -> Any:
        raise ValueError(SECRET)

    def write(state: State) -> Any:
        return {"log": [SECRET]}

    graph: StateGraph[State] = StateGraph(State)
    graph.add_node("fail", fail).add_node("write", write)
    graph.add_edge(START, "fail").add_edge(START, "write")
    return graph.compile(checkpointer=store)


def test_an_error_that_is_kept_is_encrypted(tmp_path: Path, keys: Keys) -> None:
    with EncryptedCheckpointer(SqliteCheckpointer(tmp_path / "threads.db"), keys) as store:
        app = failing(store)
        with pytest.raises(ValueError, match=SECRET):
            app.invoke({"messages": [], "log": [SECRET]}, THREAD)
        errors = [task.error for task in app.get_state(THREAD).tasks]
        assert SECRET in str(errors)
        assert SECRET.encode() not in content(tmp_path)


def counting(store: Checkpointer, last: int, payload: str) -> CompiledStateGraph:
    """Return a graph that replaces a text in each of many supersteps."""

    def count(state: State) -> Any:
        number = len(state["log"])
        return {"log": ["."], "notes": {"text": f"{payload} {number}"}}

    def again(state: State) -> str:
        return "count" if len(state["log"]) < last else END

    graph: StateGraph[State] = StateGraph(State)
    graph.add_node("count", count).add_edge(START, "count")
    graph.add_conditional_edges("count", again, ["count", END])
    return graph.compile(checkpointer=store)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_long_chains_are_compacted_and_read_the_same(
    tmp_path: Path, keys: Keys, durability: Any
) -> None:
    inner = SqliteCheckpointer(tmp_path / "threads.db", synchronous="normal")
    with EncryptedCheckpointer(inner, keys) as store:
        app = counting(store, 150, SECRET * 50)
        config = THREAD | {"recursion_limit": 500}
        given: dict[str, Any] = {"messages": [], "log": []}
        result = app.invoke(given, config, durability=durability)
        assert app.get_state(THREAD).values == result
        (branch,) = store.run(store.branches("t"))
        kept = store.run(store.snapshot(branch.id, branch.head))
        assert (kept is not None) is (durability != "exit")
        assert SECRET.encode() not in content(tmp_path)
        steps = [len(shot.values.get("log", ())) for shot in app.get_state_history(THREAD)]
        assert steps == ([*range(150, -1, -1), 0] if durability != "exit" else [150])
    with EncryptedCheckpointer(SqliteCheckpointer(tmp_path / "threads.db"), keys) as store:
        assert counting(store, 150, "").get_state(THREAD).values == result
        assert 150 * len(SECRET * 50) > FLOOR


def test_without_the_wrapper_nothing_can_be_read(tmp_path: Path, keys: Keys) -> None:
    with EncryptedCheckpointer(SqliteCheckpointer(tmp_path / "threads.db"), keys) as store:
        blocking(clinic(store), {"messages": [HumanMessage(SECRET, id="1")], "log": []})
    with SqliteCheckpointer(tmp_path / "threads.db") as bare:
        app = clinic(bare)
        for read in (lambda: app.get_state(THREAD), lambda: blocking(app, Command(resume="yes"))):
            with pytest.raises((CodecError, CheckpointError)) as told:
                read()
            assert SECRET not in str(told.value)


def test_with_another_key_nothing_can_be_read_and_nothing_runs(tmp_path: Path, keys: Keys) -> None:
    with EncryptedCheckpointer(SqliteCheckpointer(tmp_path / "threads.db"), keys) as store:
        blocking(clinic(store), {"messages": [HumanMessage(SECRET, id="1")], "log": []})
    before = rows(tmp_path)
    other = Keys({keys.current: new_key()})
    with EncryptedCheckpointer(SqliteCheckpointer(tmp_path / "threads.db"), other) as store:
        app = clinic(store)
        for invoke in (blocking, on_a_loop):
            with pytest.raises(DecryptionError, match="Thread 't', branch number 0: frame 0"):
                invoke(app, Command(resume="yes"))
    assert rows(tmp_path) == before


def rows(folder: Path) -> list[str]:
    """All that the tables hold; where in the file it lies changes with every lease."""
    with closing(sqlite3.connect(folder / "threads.db")) as connection:
        return list(connection.iterdump())


def test_a_thread_from_before_the_encryption_goes_on_encrypted(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "threads.db"
    with SqliteCheckpointer(path) as bare:
        blocking(clinic(bare), {"messages": [HumanMessage("before", id="1")], "log": []})
    with EncryptedCheckpointer(SqliteCheckpointer(path), keys) as store:
        app = clinic(store)
        with pytest.raises(DecryptionError, match="allow_plaintext=True"):
            blocking(app, Command(resume="yes"))
    with EncryptedCheckpointer(SqliteCheckpointer(path), keys, allow_plaintext=True) as store:
        answered = blocking(clinic(store), Command(resume="answered-in-secret"))
        assert answered["log"][-1] == "answered-in-secret"
        assert b"answered-in-secret" not in content(tmp_path)


def test_a_fork_and_a_second_question_find_their_past(keys: Keys) -> None:
    store = EncryptedCheckpointer(MemoryCheckpointer(), keys)
    app = clinic(store)
    visit(app, blocking)
    asked = next(shot for shot in app.get_state_history(THREAD) if shot.next == ("consult",))
    fork = app.update_state(asked.config, {"log": ["edited"]})
    again = app.invoke(None, fork)
    assert again["__interrupt__"][0].value == f"Is it true that {SECRET}?"
    ended = app.invoke(Command(resume="no"), fork | {"metadata": {}})
    assert ended["log"][-2:] == ["edited", "no"]
    assert len(store.run(store.branches("t"))) == 2


# -- threads that are carried elsewhere ---------------------------------------------------------

COPY: Any = {"configurable": {"thread_id": "copy"}}


def test_a_copy_through_the_encrypted_store_is_the_same_thread(keys: Keys) -> None:
    store = EncryptedCheckpointer(MemoryCheckpointer(), keys)
    app = clinic(store)
    visit(app, blocking)
    store.run(copy_thread(store, "t", "copy"))
    assert app.get_state(COPY).values == app.get_state(THREAD).values
    assert store.run(store.keys_in_use("copy")) == {keys.current}


def test_a_copy_behind_the_encrypted_store_is_refused(keys: Keys) -> None:
    inner = MemoryCheckpointer()
    app = clinic(EncryptedCheckpointer(inner, keys))
    visit(app, blocking)

    def steal() -> None:
        inner.run(copy_thread(inner, "t", "copy"))
        app.get_state(COPY)

    with pytest.raises((CodecError, DecryptionError)):
        steal()


def test_what_is_exported_behind_it_stays_encrypted_and_can_be_read_elsewhere(keys: Keys) -> None:
    inner, other = MemoryCheckpointer(), MemoryCheckpointer()
    app = clinic(EncryptedCheckpointer(inner, keys))
    visit(app, blocking)
    lines = list(inner.run(export_thread(inner, "t")))
    bodies = [b64decode(json.loads(line)[3]) for line in lines if line.startswith(b'["frame"')]
    assert bodies
    assert SECRET.encode() not in b"".join((*lines, *bodies))
    other.run(import_thread(other, iter(lines)))
    there = clinic(EncryptedCheckpointer(other, keys))
    assert there.get_state(THREAD).values == app.get_state(THREAD).values
