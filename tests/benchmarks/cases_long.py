"""Threads of thousands of supersteps: what they take up, and what it costs to work with them.

Every superstep appends one message of 500 bytes, encoded, to a list of plain dicts, and is
committed on its own. Then the thread asks a question. LangGraph's savers write the whole list each
time, which is quadratic: they are measured up to 1,000 supersteps. Its delta channel (beta, with
the frequency of snapshots that it has when nobody touches it) has a case of its own.
"""

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from random import Random
from statistics import median
from time import perf_counter, process_time
from typing import Any, TypedDict

from . import servers
from .case import Case, Figures, Group
from .cases_sqlite import DISK, database, on, plain_talks
from .library import Library, library, with_delta_channel
from .stopwatch import MICRO, MILLI, cpu

LETTERS = 478
"""Make a message of 500 bytes, in msgpack."""
ANSWERS = 5
PAGE = 20
QUADRATIC = {"LangGraph": 1000}
COLD = "ms CPU to read the state in a new process"
COLD_WALL = "ms wall to read the state in a new process"
RESUME = "µs CPU from an answer to the next question"
LISTED = "ms CPU for a page of 20 checkpoints"
READ = "ms CPU for a page of 20 checkpoints with states"
FORK = "µs CPU for a fork"
FORK_ROWS = "rows added by a fork"
FORK_BYTES = "bytes added by a fork"
MEMORY = "KB in memory"
LOG = "KB in the append-only file"
TABLES = "KB of tables"
GROWING = (DISK, COLD, RESUME, LISTED, READ, FORK)


def long_graph(lib: Library, steps: int) -> Any:
    """START → talk ⟲ → ask ⟲ → END; the caller compiles it."""

    class Talk(TypedDict):
        messages: lib.growing  # type: ignore[name-defined]
        n: int

    def ask(state: dict[str, Any]) -> dict[str, Any]:
        lib.interrupt("Go on?")
        return {"n": state["n"] + 1}

    text = Random(1)  # no store shall find anything in it to compress

    def talk(state: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "user", "content": text.randbytes(LETTERS // 2).hex()}
        return {"messages": [message], "n": state["n"] + 1}

    graph = lib.graph(Talk)
    graph.add_node("talk", talk)
    graph.add_node("ask", ask)
    graph.add_edge("__start__", "talk")
    graph.add_conditional_edges(
        "talk", lambda state: "ask" if state["n"] >= steps else "talk", ["talk", "ask"]
    )
    graph.add_conditional_edges(
        "ask", lambda state: "ask" if state["n"] < steps + 100 else "__end__", ["ask", "__end__"]
    )
    return graph


def write(lib: Library, checkpointer: Any, steps: int) -> Any:
    """The thread, up to its question; returns the app."""
    app = long_graph(lib, steps).compile(checkpointer=checkpointer)
    app.invoke({"messages": [], "n": 0}, on("1", steps), durability="sync")
    return app


def working(lib: Library, steps: int, is_delta: bool) -> Figures:
    """All figures of one thread in SQLite."""
    with database() as path:
        with lib.sqlite(path) as checkpointer:
            app = write(lib, checkpointer, steps)
            figures = {DISK: kilobytes_of_pages(path)}
            figures[RESUME] = answering(lib, app) * MICRO
        figures |= in_a_new_process(lib, path, steps, is_delta)
        with lib.sqlite(path) as checkpointer:
            app = long_graph(lib, steps).compile(checkpointer=checkpointer)
            return figures | turning_pages(app) | forking(lib, app, path)


def kilobytes_of_pages(path: str) -> float:
    """Size of a database without its log, whatever of it is still in the log."""
    with closing(sqlite3.connect(path)) as connection:
        pages, size = (
            connection.execute(f"PRAGMA {what}").fetchone()[0]
            for what in ("page_count", "page_size")
        )
    return float(pages * size) / 1000


def answering(lib: Library, app: Any) -> float:
    """Median seconds of an answer where the process knows the thread."""
    answer = lib.command(resume="yes")
    return median(
        cpu(lambda: app.invoke(answer, on("1"), durability="sync")) for _ in range(ANSWERS)
    )


def in_a_new_process(lib: Library, path: str, steps: int, is_delta: bool) -> Figures:
    """The state read by a process that has just started."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(read_cold, lib.name, path, steps, is_delta).result()


def read_cold(name: str, path: str, steps: int, is_delta: bool) -> Figures:
    """Opens the file and reads the state; what is imported and compiled before is not counted."""
    lib = with_delta_channel(library(name)) if is_delta else library(name)
    with database() as other, lib.sqlite(other) as checkpointer:
        write(lib, checkpointer, 2)
    start, wall = process_time(), perf_counter()
    with lib.sqlite(path) as checkpointer:
        state = long_graph(lib, steps).compile(checkpointer=checkpointer).get_state(on("1"))
        assert len(state.values["messages"]) == steps
        seconds, wall = process_time() - start, perf_counter() - wall
    return {COLD: seconds * MILLI, COLD_WALL: wall * MILLI}


def turning_pages(app: Any) -> Figures:
    """The newest checkpoints, and their states."""
    page: list[Any] = []
    listed = cpu(lambda: page.extend(app.get_state_history(on("1"), limit=PAGE)))
    read = cpu(lambda: [len(past.values["messages"]) for past in page])
    assert len(page) == PAGE
    return {LISTED: listed * MILLI, READ: (listed + read) * MILLI}


def forking(lib: Library, app: Any, path: str) -> Figures:
    """A line begun at a checkpoint shortly before the newest."""
    past = list(app.get_state_history(on("1"), limit=3))[-1].config
    rows, size = contents(path)
    seconds = cpu(lambda: lib.fork(app, past))
    more_rows, more = contents(path)
    return {FORK: seconds * MICRO, FORK_ROWS: more_rows - rows, FORK_BYTES: more - size}


def contents(path: str) -> tuple[float, float]:
    """How many rows all tables have, and the bytes of their values."""
    rows = size = 0
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type='table'")
            if not name.startswith("sqlite_")
        ]
        for table in tables:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            sums = " + ".join(f"coalesce(length(CAST({c} AS BLOB)), 0)" for c in columns)
            found = connection.execute(f"SELECT count(*), coalesce(sum({sums}), 0) FROM {table}")
            count, held = found.fetchone()
            rows, size = rows + count, size + held
    return rows, size


def in_sqlite(lib: Library, steps: int) -> Figures:
    """A thread of this many supersteps in SQLite; LangGraph's saver writes all of it each time."""
    return working(lib, steps, False)


def in_sqlite_delta(lib: Library, steps: int) -> Figures:
    """The same against LangGraph's delta channel (beta), which does so every 100 supersteps."""
    return working(with_delta_channel(lib), steps, True)


def plain_bytes(steps: int) -> Figures:
    """One row per message."""
    return {DISK: plain_talks(steps)[DISK]}


def in_postgres(lib: Library, steps: int) -> Figures:
    """The same thread in PostgreSQL."""
    with servers.fresh_database(is_durable=False) as dsn:
        with lib.postgres(dsn, 1) as checkpointer:
            write(lib, checkpointer, steps)
        return {TABLES: servers.kilobytes_of_tables(dsn)}


def in_redis(lib: Library, steps: int) -> Figures:
    """The same thread in Valkey; LangGraph's saver needs modules that Valkey does not have."""
    import redis

    from graphflow_checkpointers.redis import RedisCheckpointer

    with redis.Redis.from_url(servers.address()) as client:
        client.flushall()
        before = client.info("persistence")["aof_current_size"]
        write(lib, RedisCheckpointer(servers.address()), steps)
        log = client.info("persistence")["aof_current_size"] - before
        memory = sum(client.memory_usage(key, samples=0) or 0 for key in client.scan_iter())
    return {MEMORY: memory / 1000, LOG: log / 1000}


LONG = Group(
    "Long threads",
    (
        Case(
            "long.sqlite", in_sqlite, (1000, 10_000), plain_bytes, grows=GROWING,
            largest=QUADRATIC, most_repeats=3,
        ),
        Case("long.sqlite_delta", in_sqlite_delta, (1000, 10_000), grows=GROWING, most_repeats=3),
        Case(
            "long.postgres", in_postgres, (1000, 10_000), grows=(TABLES,), largest=QUADRATIC,
            needs={
                "graphflow": ("psycopg", *servers.POSTGRES),
                "LangGraph": ("langgraph.checkpoint.postgres", *servers.POSTGRES),
            },
            server=servers.postgres, most_repeats=1,
        ),
        Case(
            "long.redis", in_redis, (1000, 10_000), grows=(MEMORY, LOG), libraries=("graphflow",),
            needs={"graphflow": ("redis", *servers.VALKEY)}, server=servers.valkey, most_repeats=1,
        ),
    ),
)  # fmt: skip
