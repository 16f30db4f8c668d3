"""What a commit costs: processor time, durable commits of many conversations at once, PostgreSQL.

Both libraries run with `durability="sync"`, and wait for the disk at every commit.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import repeat
from time import perf_counter, process_time
from typing import Any, TypedDict

from . import servers
from .case import Case, Figures, Group
from .cases_long import long_graph
from .cases_sqlite import (
    append,
    counting,
    database,
    on,
    one_row,
    per_superstep,
    plain_log,
    timed,
)
from .cases_supersteps import WARM_UP, again_until, count_async
from .library import Library, with_delta_channel
from .stopwatch import MICRO, MILLI, cpu

ADDED = "µs CPU per superstep that saving adds"
RELAXED = "the same with synchronous=NORMAL"
SLOWEST = "ms wall per superstep, 99th percentile"
TRIPS = "round trips per superstep"
LENGTH = 20
"""Supersteps of a conversation, where there are many."""
POSTGRES_NEEDS = {
    "graphflow": ("psycopg", "psycopg_pool", *servers.POSTGRES),
    "LangGraph": ("langgraph.checkpoint.postgres", "psycopg_pool", *servers.POSTGRES),
}


def saving(lib: Library, steps: int) -> Figures:
    """A run that adds 500 bytes per superstep, less the same run without checkpointer."""
    without = min(running(lib, None, steps) for _ in range(3))
    figures = {}
    for key, synchronous in ((ADDED, "full"), (RELAXED, "normal")):
        with database() as path, lib.sqlite(path, synchronous=synchronous) as checkpointer:
            figures[key] = (running(lib, checkpointer, steps) - without) * MICRO / steps
    return figures


def saving_deltas(lib: Library, steps: int) -> Figures:
    """The same against LangGraph's delta channel."""
    return saving(with_delta_channel(lib), steps)


def running(lib: Library, checkpointer: Any, steps: int) -> float:
    """Seconds of CPU of a long thread up to its question, or to its last message."""
    graph = long_graph(lib, steps)
    stop = [] if checkpointer else ["ask"]  # nobody can ask without a checkpointer
    app = graph.compile(checkpointer=checkpointer, interrupt_before=stop)
    mode = {"durability": "sync"} if checkpointer else {}
    start = {"messages": [], "n": 0}
    app.invoke({"messages": [], "n": steps - WARM_UP}, on("warm up", steps), **mode)
    return cpu(lambda: app.invoke(start, on("1", steps), **mode))


def plain_saving(steps: int) -> Figures:
    """As many raw commits of the same message as JSON."""
    figures = {}
    for key, synchronous in ((ADDED, "FULL"), (RELAXED, "NORMAL")):
        with database() as path, closing(plain_log(path)) as connection:
            connection.execute(f"PRAGMA synchronous={synchronous}")
            append(connection, one_row(), WARM_UP)
            seconds = cpu(partial(append, connection, one_row(), steps))
            figures[key] = seconds * MICRO / steps
    return figures


class Gaps:
    """How long each conversation waits from one of its supersteps to the next."""

    def __init__(self) -> None:
        self._last: dict[int, float] = {}
        self._gaps: list[float] = []

    async def count(self, state: dict[str, Any]) -> dict[str, Any]:
        """The node of the loop; `who` says which conversation it is."""
        now, who = perf_counter(), state["who"]
        if who in self._last:
            self._gaps.append(now - self._last[who])
        self._last[who] = now
        return {"n": state["n"] + 1}

    def percentile(self, share: float) -> float:
        """Seconds that this share of the gaps does not exceed."""
        return sorted(self._gaps)[int(len(self._gaps) * share)]


class Turn(TypedDict):
    """The state of one of many conversations."""

    n: int
    who: int


def conversations(lib: Library, many: int) -> Figures:
    """Conversations on one event loop and one SQLite file, twenty durable supersteps each."""

    async def main(path: str) -> Figures:
        async with lib.async_sqlite(path) as checkpointer:
            return await all_at_once(lib, checkpointer, many)

    with database() as path:
        return asyncio.run(main(path))


async def all_at_once(lib: Library, checkpointer: Any, many: int) -> Figures:
    """As many conversations at once on a loop, each on a thread of its own in the store."""
    gaps = Gaps()
    graph = lib.graph(Turn)
    graph.add_node("count", gaps.count)
    graph.add_edge("__start__", "count")
    targets = {"again": "count", "stop": "__end__"}
    graph.add_conditional_edges("count", again_until(LENGTH), targets)
    app = graph.compile(checkpointer=checkpointer)

    def run(who: int, thread: str) -> Any:
        return app.ainvoke({"n": 0, "who": who}, on(thread, LENGTH), durability="sync")

    await run(-1, "warm up")
    seconds, wall = process_time(), perf_counter()
    await asyncio.gather(*(run(who, str(who)) for who in range(many)))
    seconds, wall = process_time() - seconds, perf_counter() - wall
    figures = per_superstep(seconds, wall, LENGTH * many)
    return figures | {SLOWEST: gaps.percentile(0.99) * MILLI}


def plain_conversations(many: int) -> Figures:
    """As many raw commits of 64 bytes, one after the other."""
    with database() as path, closing(plain_log(path)) as connection:
        body = b"{" + b" " * 62 + b"}"
        append(connection, body, WARM_UP)
        return timed(lambda: append(connection, body, LENGTH * many), LENGTH * many)


def postgres_commits(lib: Library, steps: int) -> Figures:
    """A loop that counts, in PostgreSQL, committed after every superstep, by one caller."""
    with servers.fresh_database() as dsn:
        with lib.postgres(dsn, 1) as checkpointer:
            app = counting(lib, steps).compile(checkpointer=checkpointer)
            app.invoke({"n": steps - WARM_UP}, on("warm up", steps), durability="sync")
            figures = timed(lambda: app.invoke({"n": 0}, on("1", steps), durability="sync"), steps)
        return figures | {TRIPS: round_trips(lib, dsn, 200) - round_trips(lib, dsn, 100)}


def round_trips(lib: Library, dsn: str, steps: int) -> float:
    """How often a run speaks to the server and waits, per hundred supersteps."""
    with servers.watched(dsn) as (wire, there), lib.postgres(there, 1) as checkpointer:
        app = counting(lib, steps).compile(checkpointer=checkpointer)
        app.invoke({"n": steps - WARM_UP}, on("warm up", steps), durability="sync")
        before = wire.trips
        app.invoke({"n": 0}, on(f"{steps} over the wire", steps), durability="sync")
        return float(wire.trips - before) / 100


def postgres_threads(lib: Library, callers: int) -> Figures:
    """Threads of the operating system with a connection each, a hundred supersteps each."""
    steps = 100
    with servers.fresh_database() as dsn, lib.postgres(dsn, callers) as checkpointer:
        app = counting(lib, steps).compile(checkpointer=checkpointer)
        run = partial(app.invoke, durability="sync")
        with ThreadPoolExecutor(callers) as pool:

            def all_at_once(name: str) -> None:
                configs = [on(f"{name} {i}", steps) for i in range(callers)]
                list(pool.map(run, repeat({"n": 0}), configs))

            all_at_once("warm up")
            return timed(lambda: all_at_once("thread"), steps * callers)


def postgres_tasks(lib: Library, callers: int) -> Figures:
    """Conversations on one event loop with as many connections, a hundred supersteps each."""
    steps = 100

    async def main(dsn: str) -> Figures:
        async with lib.async_postgres(dsn, callers) as checkpointer:
            app = counting(lib, steps, count_async).compile(checkpointer=checkpointer)

            async def all_at_once(name: str) -> None:
                configs = [on(f"{name} {i}", steps) for i in range(callers)]
                runs = (app.ainvoke({"n": 0}, config, durability="sync") for config in configs)
                await asyncio.gather(*runs)

            await all_at_once("warm up")
            seconds, wall = process_time(), perf_counter()
            await all_at_once("task")
            seconds, wall = process_time() - seconds, perf_counter() - wall
            return per_superstep(seconds, wall, steps * callers)

    with servers.fresh_database() as dsn:
        return asyncio.run(main(dsn))


SAVERS = Group(
    "Commits",
    (
        Case("save.cpu", saving, (1000,), plain_saving, most_repeats=3),
        Case("save.cpu_delta", saving_deltas, (1000,), plain_saving, most_repeats=3),
        Case("save.conversations", conversations, (200,), plain_conversations, most_repeats=3),
        Case(
            "save.postgres", postgres_commits, (1000,), needs=POSTGRES_NEEDS,
            server=servers.postgres, most_repeats=3,
        ),
        Case(
            "save.postgres_threads", postgres_threads, (8,), needs=POSTGRES_NEEDS,
            server=servers.postgres, most_repeats=3,
        ),
        Case(
            "save.postgres_tasks", postgres_tasks, (8,), needs=POSTGRES_NEEDS,
            server=servers.postgres, most_repeats=3,
        ),
    ),
)  # fmt: skip
