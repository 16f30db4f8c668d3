"""One PostgreSQL store serves everybody: threads, loops one after the other, given pools."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from graphflow import START, CheckpointError, StateGraph
from graphflow.checkpoint.protocol import MAIN
from graphflow.testing.material import stored
from graphflow_checkpointers.postgres import PostgresCheckpointer


class State(TypedDict, total=False):
    count: int


def counting(store: PostgresCheckpointer) -> Any:
    """Return an app that adds 1 three times, one superstep each."""

    def count(state: State) -> Any:
        return {"count": state.get("count", 0) + 1}

    graph: StateGraph[State] = StateGraph(State)
    for number in "123":
        graph.add_node(number, count)
    graph.add_edge(START, "1").add_edge("1", "2").add_edge("2", "3")
    return graph.compile(checkpointer=store)


def thread(name: str = "t") -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}


def test_one_store_serves_plain_code_threads_and_loops_one_after_the_other(
    store: PostgresCheckpointer,
) -> None:
    app = counting(store)

    async def several(count: int) -> list[Any]:
        calls = (app.ainvoke({"count": count}, thread(f"async {count} {n}")) for n in range(20))
        return await asyncio.gather(*calls)

    assert app.invoke({"count": 0}, thread("plain")) == {"count": 3}
    for count in range(3):
        assert asyncio.run(several(count)) == [{"count": count + 3}] * 20
    with ThreadPoolExecutor(20) as pool:
        calls = [
            pool.submit(app.invoke, {"count": 7}, thread(f"thread {number}"))
            for number in range(20)
        ]
        assert [call.result(30) for call in calls] == [{"count": 10}] * 20
    assert app.get_state(thread("async 2 19")).values == {"count": 5}
    assert len(store.run(store.threads())) == 81


def test_a_thread_begun_in_plain_code_goes_on_on_a_loop(store: PostgresCheckpointer) -> None:
    app = counting(store)
    app.invoke({"count": 0}, thread())
    assert asyncio.run(app.ainvoke({"count": 10}, thread())) == {"count": 13}
    states = [state.values["count"] for state in app.get_state_history(thread()) if state.values]
    assert states == [13, 12, 11, 10, 3, 3, 2, 1, 0]


def test_no_more_connections_are_opened_than_allowed(dsn: str) -> None:
    with PostgresCheckpointer(dsn, max_connections=2) as store:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: counting(store).invoke({}, thread(str(name))), range(16)))
        with psycopg.connect(dsn) as other:
            text = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'graphflow'"
            assert other.execute(text).fetchone() in ((1,), (2,))


def test_prepared_statements_are_made_on_request(dsn: str) -> None:
    with PostgresCheckpointer(dsn, prepare_threshold=0) as store:
        assert counting(store).invoke({"count": 0}, thread()) == {"count": 3}
        assert counting(store).get_state(thread()).values == {"count": 3}


def test_a_closed_store_says_so(dsn: str) -> None:
    store = PostgresCheckpointer(dsn)
    store.run(store.threads())
    store.close()
    with pytest.raises(CheckpointError, match="closed"):
        store.run(store.threads())
    with pytest.raises(CheckpointError, match="closed"):
        asyncio.run(store.arun(store.threads()))


FORKED = """
import asyncio, os, sys, time
from graphflow_checkpointers.postgres import PostgresCheckpointer
from graphflow_checkpointers.postgres_statements import Statement

def connection():
    rows = yield Statement("SELECT pg_backend_pid()")
    return rows[0][0]

store = PostgresCheckpointer(sys.argv[1])
before = store.run(connection())
asyncio.run(store.arun(connection()))
time.sleep(0.1)
child = os.fork()
if not child:
    print("own in child:", asyncio.run(store.arun(connection())) != before, flush=True)
    store.close()
    sys.exit()
os.waitpid(child, 0)
print("kept in parent:", store.run(connection()) == before)
store.close()
"""


def test_a_store_that_was_used_before_a_fork_serves_parent_and_child(dsn: str) -> None:
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, dsn],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert told.stderr == ""
    assert told.stdout.splitlines() == ["own in child: True", "kept in parent: True"]


# -- pools of the user's ----------------------------------------------------------------------


def test_a_pool_serves_plain_code_and_loops_and_stays_open(dsn: str) -> None:
    settings = {"row_factory": dict_row, "autocommit": False}
    with ConnectionPool(dsn, min_size=1, max_size=3, kwargs=settings, open=True) as pool:
        with PostgresCheckpointer(pool) as store:
            app = counting(store)
            assert app.invoke({"count": 0}, thread()) == {"count": 3}
            for _ in range(2):
                assert asyncio.run(app.ainvoke({"count": 1}, thread())) == {"count": 4}
        with pool.connection() as connection:
            assert connection.autocommit is False
            assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}


def test_an_asyncio_pool_serves_its_loop_threads_and_plain_code(dsn: str) -> None:
    settings = {"row_factory": dict_row}

    async def main() -> None:
        async with AsyncConnectionPool(dsn, min_size=1, max_size=3, kwargs=settings) as pool:
            store = PostgresCheckpointer(pool)
            app = counting(store)
            calls = (app.ainvoke({"count": n}, thread(str(n))) for n in range(9))
            assert await asyncio.gather(*calls) == [{"count": n + 3} for n in range(9)]
            elsewhere = asyncio.to_thread(app.invoke, {"count": 5}, thread())
            assert await elsewhere == {"count": 8}
            other_loop = asyncio.to_thread(asyncio.run, app.aget_state(thread()))
            assert (await other_loop).values == {"count": 8}
            async with pool.connection() as connection:
                assert connection.autocommit is False

    asyncio.run(main())


def test_a_blocking_call_on_the_loop_of_the_pool_is_refused(dsn: str) -> None:
    async def main() -> None:
        async with AsyncConnectionPool(dsn, min_size=1) as pool:
            store = PostgresCheckpointer(pool)
            with pytest.raises(CheckpointError, match="wait for itself"):
                store.run(store.threads())

    asyncio.run(main())


def test_an_asyncio_pool_whose_loop_has_ended_is_told(dsn: str) -> None:
    async def main() -> PostgresCheckpointer:
        async with AsyncConnectionPool(dsn, min_size=1) as pool:
            return PostgresCheckpointer(pool)

    store = asyncio.run(main())
    with pytest.raises(CheckpointError, match="not running"):
        store.run(store.threads())
    with pytest.raises(CheckpointError, match="not running"):
        asyncio.run(store.arun(store.threads()))


def test_a_pool_that_is_not_open_is_told(dsn: str) -> None:
    store = PostgresCheckpointer(ConnectionPool(dsn, open=False))
    with pytest.raises(CheckpointError, match="Open the pool"):
        store.run(store.threads())


def test_a_pool_without_a_free_connection_is_told(dsn: str) -> None:
    with ConnectionPool(dsn, min_size=1, max_size=1, timeout=0.2, open=True) as pool:
        store = PostgresCheckpointer(pool)
        store.run(store.threads())
        with pool.connection(), pytest.raises(CheckpointError, match="more connections"):
            store.run(store.threads())


def test_a_single_connection_is_refused(dsn: str) -> None:
    with (
        psycopg.connect(dsn) as connection,
        pytest.raises(TypeError, match="ConnectionPool"),
    ):
        PostgresCheckpointer(connection)  # type: ignore[arg-type]


END_ALL = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'graphflow tests'"""


@pytest.fixture
def named(dsn: str) -> str:
    """The dsn of connections that `END_ALL` ends."""
    return psycopg.conninfo.make_conninfo(dsn, application_name="graphflow tests")


def test_dead_connections_of_a_pool_are_replaced(dsn: str, named: str) -> None:
    with ConnectionPool(named, min_size=3, max_size=3, open=True) as pool:
        pool.wait(20)
        store = PostgresCheckpointer(pool)
        branch = store.run(store.create_branch("t", "", MAIN, None, -1))
        for seq in range(4):
            with psycopg.connect(dsn, autocommit=True) as other:
                other.execute(END_ALL)
            store.run(store.append(branch.id, seq - 1, stored(seq), drop_rows=False))
        assert store.run(store.frames(branch.id, -1, 9)) == stored(0, 1, 2, 3)


def test_dead_connections_of_an_asyncio_pool_are_replaced(dsn: str, named: str) -> None:
    async def main() -> None:
        async with AsyncConnectionPool(named, min_size=3, max_size=3) as pool:
            await pool.wait(20)
            store = PostgresCheckpointer(pool)
            branch = await store.arun(store.create_branch("t", "", MAIN, None, -1))
            for seq in range(4):
                with psycopg.connect(dsn, autocommit=True) as other:
                    other.execute(END_ALL)
                await store.arun(store.append(branch.id, seq - 1, stored(seq), drop_rows=False))
            assert await store.arun(store.frames(branch.id, -1, 9)) == stored(0, 1, 2, 3)

    asyncio.run(main())


# -- giving up --------------------------------------------------------------------------------


def test_whoever_cancels_a_commit_finds_it_done_or_not_begun(
    store: PostgresCheckpointer, dsn: str, until_somebody_waits: Callable[[], None]
) -> None:
    branch = store.run(store.create_branch("t", "", MAIN, None, -1))
    given_up = threading.Event()

    async def main() -> list[Any]:
        commit = store.append(branch.id, -1, stored(0), drop_rows=False)
        saving = asyncio.create_task(store.arun(commit))
        await asyncio.to_thread(until_somebody_waits)
        saving.cancel()
        given_up.set()
        await asyncio.gather(saving, return_exceptions=True)
        return await store.arun(store.frames(branch.id, -1, 9))

    with psycopg.connect(dsn) as other:
        # Who holds the branch as for its removal makes the commit wait.
        other.execute("SELECT 1 FROM graphflow_branch FOR UPDATE")
        release = threading.Thread(
            target=lambda: (given_up.wait(20), time.sleep(0.3), other.rollback())
        )
        release.start()
        assert asyncio.run(asyncio.wait_for(main(), 30)) == stored(0)
        release.join(20)
