"""Tables in PostgreSQL: made once, recognised, and left alone where they are not ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict

import psycopg
import pytest

from graphflow import (
    START,
    CorruptCheckpointError,
    ForeignDatabaseError,
    StateGraph,
    StoreTooNewError,
)
from graphflow.checkpoint.indexing import index_all
from graphflow.checkpoint.protocol import MAIN
from graphflow_checkpointers import postgres_tables as tables
from graphflow_checkpointers.postgres import PostgresCheckpointer

Ask = Callable[..., list[Any]]


class State(TypedDict, total=False):
    count: int


def counting(store: PostgresCheckpointer) -> Any:
    """Return an app that counts up to 5, one superstep a number."""

    def count(state: State) -> Any:
        return {"count": state["count"] + 1}

    graph: StateGraph[State] = StateGraph(State)
    graph.add_node("count", count).add_edge(START, "count")
    graph.add_conditional_edges(
        "count", lambda state: "count" if state["count"] < 5 else "__end__", ["count", "__end__"]
    )
    return graph.compile(checkpointer=store)


def thread(name: str = "t") -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}


def test_tables_of_a_newer_version_are_left_alone(no_tables: str, sql: Ask) -> None:
    with PostgresCheckpointer(no_tables) as store:
        store.run(store.create_branch("t", "", MAIN, None, -1))
    sql("UPDATE graphflow_format SET version = %s", tables.FORMAT + 1)
    try:
        with (
            PostgresCheckpointer(no_tables) as store,
            pytest.raises(StoreTooNewError, match="upgrade graphflow"),
        ):
            store.run(store.create_branch("t", "", "other", None, -1))
        assert sql("SELECT count(*) FROM graphflow_branch") == [(1,)]
    finally:
        sql("UPDATE graphflow_format SET version = %s", tables.FORMAT)


@pytest.mark.parametrize(
    "table",
    [
        "graphflow_frame(id integer)",
        "graphflow_thread(name text, owner text)",
        "graphflow_format(version text)",
        "graphflow_format(contents text, version integer)",
    ],
)
def test_tables_of_somebody_else_are_left_alone(no_tables: str, sql: Ask, table: str) -> None:
    sql(f"CREATE TABLE {table}")
    if "contents" in table:
        sql("CREATE TABLE graphflow_snapshot(id integer)")
    before = sql("SELECT relname FROM pg_class WHERE relname LIKE 'graphflow%'")
    try:
        with (
            PostgresCheckpointer(no_tables) as store,
            pytest.raises(ForeignDatabaseError, match="schema of its own"),
        ):
            store.run(store.threads())
        assert sql("SELECT relname FROM pg_class WHERE relname LIKE 'graphflow%'") == before
    finally:
        sql(f"DROP TABLE {table.split('(')[0]}")
        sql("DROP TABLE IF EXISTS graphflow_snapshot")


@pytest.mark.parametrize("schema", ["graphflow_agents", 'Odd "name"; 100% it\'s', "日本"])
def test_a_schema_of_its_own_is_made_and_used(no_tables: str, sql: Ask, schema: str) -> None:
    quoted = '"' + schema.replace('"', '""') + '"'
    try:
        for _ in range(2):
            with PostgresCheckpointer(no_tables, schema=schema) as store:
                app = counting(store)
                assert app.invoke({"count": 0}, thread()) == {"count": 5}
                assert app.get_state(thread()).values == {"count": 5}
        assert sql("SELECT to_regclass('graphflow_frame')") == [(None,)]
        assert sql("SELECT count(*) FROM pg_tables WHERE schemaname = %s", schema) == [
            (len(tables.NAMES),)
        ]
    finally:
        sql(f"DROP SCHEMA {quoted} CASCADE")


def make_all(other: psycopg.Connection) -> None:
    for text in tables.TABLES:
        other.execute(text.encode())
    other.execute(tables.SET_VERSION.encode(), (tables.CONTENTS, tables.FORMAT))


@pytest.mark.parametrize(
    ("make", "is_kept"),
    [
        (make_all, True),
        (make_all, False),
        (lambda other: other.execute(tables.TABLES[0].encode()), True),
    ],
    ids=["all", "all, taken back", "another store's"],
)
def test_tables_that_somebody_else_is_making_are_waited_for(
    no_tables: str,
    until_somebody_waits: Callable[[], None],
    make: Callable[[Any], object],
    is_kept: bool,
) -> None:
    with (
        PostgresCheckpointer(no_tables) as store,
        psycopg.connect(no_tables) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        make(other)
        branch = pool.submit(store.run, store.create_branch("t", "", MAIN, None, -1))
        until_somebody_waits()
        (other.commit if is_kept else other.rollback)()
        assert branch.result(20).ordinal == 0


CREATOR = """
import sys
from graphflow_checkpointers.postgres import PostgresCheckpointer

store = PostgresCheckpointer(sys.argv[1], schema="at_once")
print("ready", flush=True)
sys.stdin.readline()
print(store.run(store.create_branch(sys.argv[2], "", "main", None, -1)).ordinal)
store.close()
"""


def test_processes_that_start_at_once_make_the_tables_once(dsn: str, sql: Ask) -> None:
    sql("DROP SCHEMA IF EXISTS at_once CASCADE")
    creators = [
        subprocess.Popen(
            [sys.executable, "-c", CREATOR, dsn, str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(4)
    ]  # fmt: skip
    for creator in creators:
        assert creator.stdout is not None
        assert creator.stdout.readline() == "ready\n"
    for creator in creators:
        assert creator.stdin is not None
        creator.stdin.write("go\n")
        creator.stdin.flush()
    # psycopg may log that it gave up the pipeline of the one that was refused: no error of ours.
    ends = [creator.communicate(timeout=60) for creator in creators]
    assert [told for told, _ in ends] == ["0\n"] * 4, ends
    assert [creator.returncode for creator in creators] == [0] * 4
    with PostgresCheckpointer(dsn, schema="at_once") as store:
        assert sorted(store.run(store.threads())) == ["0", "1", "2", "3"]
    sql("DROP SCHEMA at_once CASCADE")


def test_a_changed_byte_is_found_and_its_address_told(
    store: PostgresCheckpointer, sql: Ask
) -> None:
    app = counting(store)
    app.invoke({"count": 0}, thread("good"))
    app.invoke({"count": 0}, thread("bad"))
    branch = store.run(store.branches("bad"))[0].id
    sql("UPDATE graphflow_frame SET body = set_byte(body, 1, 99) WHERE seq = 2 AND id >> 28 = %s",
        branch)  # fmt: skip
    with pytest.raises(CorruptCheckpointError, match=rf"frame 2 of branch {branch}.*backup"):
        app.get_state(thread("bad"))
    assert app.get_state(thread("good")).values == {"count": 5}


@pytest.mark.parametrize(("version", "since"), [(1, ("lease", "tag")), (2, ("tag",))])
def test_tables_of_an_earlier_version_get_what_has_come_since(
    no_tables: str, sql: Ask, version: int, since: tuple[str, ...]
) -> None:
    tagged = {**thread(), "metadata": {"customer": "ada"}}
    with PostgresCheckpointer(no_tables) as store:
        counting(store).invoke({"count": 0}, tagged)
    for name in since:
        sql(f"DROP TABLE graphflow_{name}")
    sql("UPDATE graphflow_format SET version = %s WHERE contents = 'checkpoints'", version)
    for _ in range(2):
        with PostgresCheckpointer(no_tables, tags=("customer",)) as store:
            assert counting(store).get_state(thread()).values == {"count": 5}
            counting(store).invoke({"count": 0}, thread("another"))
            store.run(index_all(store))
            assert store.find_threads({"customer": "ada"}).threads == ["t"]
    assert sql("SELECT version FROM graphflow_format") == [(tables.FORMAT,)]
