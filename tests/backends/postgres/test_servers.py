"""Servers that are not there, go away, come back, or are full."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict

import psycopg
import pytest

from graphflow import (
    START,
    CheckpointError,
    StateGraph,
    StoreFullError,
)
from graphflow.checkpoint.protocol import MAIN, Operation
from graphflow.testing.material import stored
from graphflow_checkpointers.postgres import PostgresCheckpointer
from graphflow_checkpointers.postgres_statements import Statement

Ask = Callable[..., list[Any]]
SECRET = "s3cr3t-w0rd"


class State(TypedDict, total=False):
    count: int


def counting(store: PostgresCheckpointer, last: int = 5, at: dict[int, Any] | None = None) -> Any:
    """Return an app that counts up to `last`; at some numbers its node does something first."""

    def count(state: State) -> Any:
        number = state.get("count", 0) + 1
        (at or {}).get(number, int)()
        return {"count": number}

    graph: StateGraph[State] = StateGraph(State)
    graph.add_node("count", count).add_edge(START, "count")
    graph.add_conditional_edges(
        "count", lambda state: "count" if state["count"] < last else "__end__", ["count", "__end__"]
    )
    return graph.compile(checkpointer=store)


def thread(name: str = "t") -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}


# -- not there ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        f"postgresql://me:{SECRET}@127.0.0.1:1/agents",
        f"host=127.0.0.1 port=1 dbname=agents user=me password={SECRET}",
        f"postgresql://me:{SECRET}@/agents?host=/nowhere&port=1",
    ],
)
def test_a_server_that_is_not_there_is_told_without_the_password(given: str) -> None:
    with PostgresCheckpointer(given) as store, pytest.raises(CheckpointError) as caught:
        store.run(store.threads())
    told = str(caught.value)
    assert "'agents'" in told
    assert ":1," in told
    assert "running" in told
    assert SECRET not in told


@pytest.mark.parametrize(
    "given",
    [f"postgres:/me:{SECRET}@host/agents", f"postgresql://me:{SECRET} x@host", f"a={SECRET}"],
)
def test_a_dsn_that_cannot_be_read_is_not_repeated(given: str) -> None:
    with pytest.raises(CheckpointError, match="postgresql://user:password@host") as caught:
        PostgresCheckpointer(given)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__


def test_a_database_that_is_not_there_is_named(dsn: str) -> None:
    elsewhere = psycopg.conninfo.make_conninfo(dsn, dbname="no such database")
    with (
        PostgresCheckpointer(elsewhere) as store,
        pytest.raises(CheckpointError, match=r"no such database.*dsn"),
    ):
        store.run(store.threads())


def test_a_role_that_may_not_make_tables_is_told(no_tables: str, sql: Ask) -> None:
    sql("DROP ROLE IF EXISTS graphflow_reader")
    sql("CREATE ROLE graphflow_reader LOGIN PASSWORD 'reader'")
    reader = psycopg.conninfo.make_conninfo(no_tables, user="graphflow_reader", password="reader")
    with (
        PostgresCheckpointer(reader) as store,
        pytest.raises(CheckpointError, match=r"permission denied.*make them"),
    ):
        store.run(store.threads())
    sql("DROP ROLE graphflow_reader")


# -- going away and coming back ----------------------------------------------------------------


def test_a_restart_between_two_supersteps_is_not_noticed(server: Any) -> None:
    def restart() -> None:
        server.stop()
        server.start()

    with PostgresCheckpointer(server.dsn) as store:
        app = counting(store, at={3: restart})
        assert app.invoke({"count": 0}, thread("restarted"), durability="sync") == {"count": 5}
        states = list(app.get_state_history(thread("restarted")))
        assert [state.values.get("count") for state in states] == [5, 4, 3, 2, 1, 0, None]
        store.run(store.remove_thread("restarted"))


def test_a_run_whose_server_stopped_goes_on_when_it_is_back(server: Any) -> None:
    with PostgresCheckpointer(server.dsn) as store:
        app = counting(store, at={3: server.stop})
        with pytest.raises(CheckpointError, match=r"127\.0\.0\.1.*invoke\(None, config\)"):
            app.invoke({"count": 0}, thread("stopped"), durability="sync")
        with pytest.raises(CheckpointError, match="running"):
            app.get_state(thread("stopped"))
        server.start()
        assert app.get_state(thread("stopped")).values == {"count": 2}
        assert counting(store).invoke(None, thread("stopped")) == {"count": 5}
        store.run(store.remove_thread("stopped"))


def test_connections_that_an_administrator_ends_are_replaced(
    store: PostgresCheckpointer, sql: Ask
) -> None:
    def wait() -> Operation[None]:
        yield Statement("SELECT pg_sleep(0.1)")

    branch = store.run(store.create_branch("t", "", MAIN, None, -1))
    for seq in range(2):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: store.run(wait()), range(3)))
        ended = sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'graphflow'")  # fmt: skip
        assert ended == [(True,)] * 3
        store.run(store.append(branch.id, seq - 1, stored(seq), drop_rows=False))
    assert store.run(store.frames(branch.id, -1, 9)) == stored(0, 1)


def test_a_full_disk_keeps_what_was_committed_and_the_run_goes_on_later(
    store: PostgresCheckpointer, sql: Ask
) -> None:
    app = counting(store)
    app.invoke({"count": 4}, thread("before"))
    # The server itself says so, but has been asked to: a disk cannot be filled everywhere.
    sql("""CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION USING ERRCODE = ''disk_full'', MESSAGE = ''no space left''; END'""")
    sql("""CREATE TRIGGER full_disk BEFORE INSERT ON graphflow_frame FOR EACH ROW
        WHEN (NEW.seq > 3) EXECUTE FUNCTION no_room()""")
    try:
        with pytest.raises(StoreFullError, match=r"no space left.*Make room.*invoke\(None"):
            app.invoke({"count": 0}, thread(), durability="sync")
    finally:
        sql("DROP FUNCTION no_room CASCADE")
    assert app.get_state(thread()).values == {"count": 2}
    assert app.invoke(None, thread()) == {"count": 5}
