"""SQLite files under abuse: what is not ours is left alone, what is damaged is named, and what was
committed can still be read.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pytest

from graphflow import (
    START,
    AIMessage,
    CheckpointError,
    CompiledStateGraph,
    CorruptCheckpointError,
    ForeignDatabaseError,
    HeadMoved,
    NotStorable,
    StateGraph,
    StoreFullError,
    StoreTooNewError,
    ThreadBusy,
    UnknownType,
)
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.registry import Registry
from graphflow_checkpointers.sqlite import SqliteCheckpointer
from graphflow_checkpointers.statements import FORMAT


class State(TypedDict, total=False):
    count: int
    payload: Any


def counting(path: Path | SqliteCheckpointer, last: int = 5, payload: Any = "x") -> Any:
    """Return an app that counts up to `last`, one superstep a number."""

    def count(state: State) -> Any:
        return {"count": state.get("count", 0) + 1, "payload": payload}

    graph: StateGraph[State] = StateGraph(State)
    graph.add_node("count", count).add_edge(START, "count")
    graph.add_conditional_edges(
        "count", lambda state: "count" if state["count"] < last else "__end__", ["count", "__end__"]
    )
    store = path if isinstance(path, SqliteCheckpointer) else SqliteCheckpointer(path)
    return graph.compile(checkpointer=store)


def thread(name: str = "t") -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "threads.db"


@contextmanager
def opened(path: Path) -> Iterator[SqliteCheckpointer]:
    with SqliteCheckpointer(path, synchronous="normal") as store:
        yield store


def fill(path: Path, *names: str) -> None:
    with opened(path) as store:
        for name in names:
            counting(store).invoke({"count": 0}, thread(name))


def tampered(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


# -- files that are not ours ------------------------------------------------------------------


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    tampered(path, "CREATE TABLE invoices(id)", "INSERT INTO invoices VALUES(7)")
    before = path.read_bytes()
    with pytest.raises(ForeignDatabaseError, match="no checkpoint database of graphflow"):
        SqliteCheckpointer(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"hello", b"\0" * 4096, b"%PDF-1.7\n" + b"x" * 9999])
def test_a_file_that_is_no_database_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ForeignDatabaseError):
        SqliteCheckpointer(path)
    assert path.read_bytes() == content


def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    fill(path, "t")
    tampered(path, f"PRAGMA user_version={FORMAT + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreTooNewError, match="upgrade"):
        SqliteCheckpointer(path)
    assert path.read_bytes() == before


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere.*folder exist"):
        SqliteCheckpointer(tmp_path / "nowhere" / "threads.db")


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    fill(path, "t")
    with opened(path) as store:
        assert counting(store).get_state(thread()).values["count"] == 5


# -- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seq", range(6))
def test_a_changed_byte_in_a_frame_is_found_and_its_address_told(path: Path, seq: int) -> None:
    fill(path, "good", "bad")
    tampered(
        path,
        "UPDATE graphflow_frame SET"
        " body = CAST(substr(body, 1, 1) || x'99' || substr(body, 3) AS BLOB)"
        f" WHERE id = (2 << 28) + {seq}",
    )
    with opened(path) as store:
        app = counting(store)
        with pytest.raises(CorruptCheckpointError, match=rf"threads.db: frame {seq} of branch 2"):
            app.get_state(thread("bad"))
        with pytest.raises(CorruptCheckpointError, match="backup"):
            app.invoke(None, thread("bad"))
        assert app.get_state(thread("good")).values["count"] == 5
        assert len(list(app.get_state_history(thread("good")))) == 7


def test_a_frame_that_was_cut_off_is_found(path: Path) -> None:
    fill(path, "t")
    tampered(path, "UPDATE graphflow_frame SET body = substr(body, 1, 3) WHERE id & 15 = 4")
    with opened(path) as store, pytest.raises(CorruptCheckpointError, match="frame 4"):
        counting(store).get_state(thread())


def test_a_file_that_was_cut_off_is_told(path: Path) -> None:
    fill(path, *(f"t{number}" for number in range(60)))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(CorruptCheckpointError, match="backup"):
        read_all(path)


def read_all(path: Path) -> None:
    with opened(path) as store:
        for name in store.run(store.threads()):
            counting(store).get_state(thread(name))


def test_a_type_that_this_program_does_not_have_is_named(path: Path) -> None:
    elsewhere = Registry()
    elsewhere.register(Order, "shop.Order")
    with opened(path) as store:
        app = counting(store, 1, Order(3))
        app.codec = Codec(elsewhere)
        app.invoke({"count": 0}, thread())
        app.codec = Codec(Registry())
        with pytest.raises(UnknownType, match=r"shop\.Order"):
            app.get_state(thread())


@dataclass
class Order:
    """A class that no default registry knows."""

    number: int


# -- values and names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        (threading.Lock(), r"state\['payload'\]"),
        ({"deep": [1, {"lock": threading.Lock()}]}, r"state\['payload'\]\['deep'\]\[1\]\['lock'\]"),
        (lambda: None, r"state\['payload'\]"),
    ],
)
def test_what_cannot_be_stored_is_named_and_nothing_is_stored(
    path: Path, payload: Any, where: str
) -> None:
    with opened(path) as store:
        counting(store).invoke({"count": 0}, thread())
        good = counting(store).get_state(thread())
        with pytest.raises(NotStorable, match=where):
            counting(store, 9, payload).invoke(None, counting(store).update_state(
                thread(), {"count": 1}, as_node="count"))  # fmt: skip
        now = counting(store).get_state(thread())
        assert (now.values, now.next) == ({**good.values, "count": 1}, ("count",))
        assert counting(store).invoke(None, thread())["count"] == 5


@pytest.mark.parametrize(
    "name", ["'; DROP TABLE graphflow_frame; --", '" OR 1=1 --', "a\0b", "日本🙂", "%", "x" * 4096]
)
def test_names_are_never_obeyed(path: Path, name: str) -> None:
    def node(state: State) -> Any:
        return {"count": state["count"] + 1}

    with opened(path) as store:
        safe = name.replace("|", "").replace(":", "")
        graph: StateGraph[State] = StateGraph(State)
        graph.add_node(safe, node).add_edge(START, safe)
        app = graph.compile(checkpointer=store)
        app.invoke({"count": 1}, thread("other"))
        app.invoke({"count": 2}, thread(name))
        made = store.run(store.branches(name))[0]
        store.run(store.create_branch(name, "", name, made.id, made.head))
        place = {"configurable": {"thread_id": name, "branch": name}}
        assert app.get_state(place).values == {"count": 3}
        assert app.get_state(thread("other")).values == {"count": 2}
        assert store.run(store.threads()) == ["other", name]


def test_messages_are_stored_whatever_the_annotation_says(path: Path) -> None:
    said = AIMessage("hello", id="1")
    with opened(path) as store:
        counting(store, 1, {"anywhere": [said]}).invoke({"count": 0}, thread())
        assert counting(store).get_state(thread()).values["payload"] == {"anywhere": [said]}


# -- no room, no right ------------------------------------------------------------------------


def test_a_full_disk_keeps_what_was_committed_and_the_run_goes_on_later(path: Path) -> None:
    with opened(path) as store:
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count={pages + 12}")
        app = counting(store, 40, "x" * 10_000)
        with pytest.raises(StoreFullError, match="invoke\\(None"):
            app.invoke({"count": 0}, thread(), durability="sync")
        reached = app.get_state(thread()).values["count"]
        assert 0 < reached < 40
        store._connection.execute("PRAGMA max_page_count=100000")
        assert app.invoke(None, thread())["count"] == 40
        assert len(list(app.get_state_history(thread()))) == 42


OUTGROWN = """
import resource, signal, sys
from typing import TypedDict
from graphflow import START, StateGraph
from graphflow_checkpointers.sqlite import SqliteCheckpointer

class State(TypedDict):
    count: int
    payload: str

def count(state):
    if state["count"] == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    return {"count": state["count"] + 1, "payload": "x" * 10_000}

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
graph = StateGraph(State).add_node("count", count).add_edge(START, "count")
graph.add_conditional_edges("count", lambda state: "count", ["count"])
app = graph.compile(checkpointer=SqliteCheckpointer(sys.argv[1]))
try:
    app.invoke({"count": 0}, {"configurable": {"thread_id": "t"}}, durability="sync")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_file_that_may_not_grow_keeps_what_was_committed(path: Path) -> None:
    fill(path, "before")
    command = [sys.executable, "-W", "ignore", "-c", OUTGROWN, str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "CheckpointError" in told
    assert str(path) in told
    with opened(path) as store:
        assert counting(store).get_state(thread("before")).values["count"] == 5
        reached = counting(store).get_state(thread()).values["count"]
        assert reached > 3
        assert counting(store, reached + 3).invoke(None, thread())["count"] == reached + 3


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up the rights of root, to whom no file is read-only."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)


# -- several at once --------------------------------------------------------------------------


def race(*runs: Callable[[], Any]) -> list[Any]:
    """Run all at once; return what each returned or raised."""
    outcomes: list[Any] = [None] * len(runs)

    def go(place: int) -> None:
        try:
            outcomes[place] = runs[place]()
        except Exception as error:
            outcomes[place] = error

    workers = [threading.Thread(target=go, args=(place,)) for place in range(len(runs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return outcomes


@pytest.mark.parametrize("stores", [1, 2])
def test_of_two_runs_of_one_thread_exactly_one_wins(path: Path, stores: int) -> None:
    one_is_refused = threading.Event()

    def wait(state: State) -> Any:
        assert one_is_refused.wait(5)
        return {"count": state["count"] + 1}

    def app_on(store: SqliteCheckpointer) -> CompiledStateGraph:
        graph: StateGraph[State] = StateGraph(State)
        graph.add_node("wait", wait).add_edge(START, "wait")
        return graph.compile(checkpointer=store)

    with opened(path) as one, opened(path) as other:
        app_on(one).update_state(thread(), {"count": 1}, as_node="__start__")
        apps = [app_on(one), app_on(one if stores == 1 else other)]

        def go(app: CompiledStateGraph) -> Any:
            try:
                return app.invoke(None, thread())
            except ThreadBusy:
                one_is_refused.set()
                raise

        outcomes = race(*(lambda app=app: go(app) for app in apps))
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ThreadBusy", "dict"]
        shots = list(app_on(one).get_state_history(thread()))
        told = [(shot.values["count"], shot.next) for shot in shots if shot.values]
        assert told == [(2, ()), (1, ("wait",))]


def test_two_stores_on_one_file_do_not_disturb_each_other(path: Path) -> None:
    with opened(path) as one, opened(path) as other:
        apps = [counting(one, 30), counting(other, 30)]
        outcomes = race(
            *(lambda a=apps[n % 2], n=n: a.invoke({"count": 0}, thread(f"t{n}")) for n in range(6))
        )
        assert [outcome["count"] for outcome in outcomes] == [30] * 6
        for number in range(6):
            assert len(list(apps[0].get_state_history(thread(f"t{number}")))) == 32


def test_a_file_that_somebody_else_keeps_locked_is_told(path: Path) -> None:
    fill(path, "t")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with SqliteCheckpointer(path, busy_timeout=0.05) as store:
        app = counting(store)
        assert app.get_state(thread()).values["count"] == 5
        with pytest.raises(CheckpointError, match="locked by another process"):
            app.invoke({"count": 0}, thread())
        other.execute("ROLLBACK")
        assert app.invoke({"count": 0}, thread())["count"] == 5
    other.close()


def test_the_loser_of_a_race_stores_no_rows_either(path: Path) -> None:
    with opened(path) as store:
        app = counting(store)
        app.invoke({"count": 0}, thread())
        branch = store.run(store.branches("t"))[0]
        with pytest.raises(HeadMoved):
            store.run(store.put_rows(branch.id, branch.head - 1, [], []))
        assert store.run(store.rows(branch.id, branch.head - 1)) == []


def test_a_file_that_may_not_be_written_is_told_and_left_alone() -> None:
    folder = Path(tempfile.mkdtemp())
    path = folder / "threads.db"
    try:
        fill(path, "t")
        before = path.read_bytes()
        path.chmod(0o444)
        folder.chmod(0o555)
        with as_nobody(), pytest.raises(CheckpointError, match=r"threads\.db"):
            counting(path)
        assert path.read_bytes() == before
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)
