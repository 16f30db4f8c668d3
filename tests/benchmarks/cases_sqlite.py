"""Durable supersteps in a SQLite file: every superstep is on the disk before the next one starts.

The floor is the cheapest durable thing SQLite can do: one INSERT per transaction into one table,
with a write-ahead log and `synchronous=FULL`. Both libraries run with `durability="sync"` and with
the settings their checkpointers have when nobody touches them.
"""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

from .case import Case, Figures, Group
from .cases_fan_out import PER_TASK, fanning_out, work_async
from .cases_supersteps import WARM_UP, Count, again_until, count, count_async
from .conversation import TEXT, Pace, conversation, pace_of_tenths, slowdown
from .library import Library
from .stopwatch import MICRO

CPU = "µs CPU per superstep"
WALL = "µs wall per superstep"
DISK = "KB on disk"


@contextmanager
def database() -> Iterator[str]:
    """A path for a database file in a directory that goes away."""
    with TemporaryDirectory() as directory:
        yield str(Path(directory) / "threads.db")


def kilobytes(path: str) -> float:
    """Size of a database with its log, if it left one."""
    files = Path(path).parent.glob(Path(path).name + "*")
    return sum(file.stat().st_size for file in files) / 1000


def on(thread: str, steps: int = 0) -> dict[str, Any]:
    """A config for one thread."""
    return {"configurable": {"thread_id": thread}, "recursion_limit": steps + 10}


def timed(work: Any, steps: int) -> Figures:
    """CPU and wall time of one call, per superstep."""
    cpu, wall = process_time(), perf_counter()
    work()
    return per_superstep(process_time() - cpu, perf_counter() - wall, steps)


def per_superstep(cpu: float, wall: float, steps: int) -> Figures:
    """Seconds shared out among supersteps."""
    return {CPU: cpu * MICRO / steps, WALL: wall * MICRO / steps}


def counting(lib: Library, steps: int, node: Any = count) -> Any:
    """The counting loop; the caller compiles it with a checkpointer."""
    graph = lib.graph(Count)
    graph.add_node("count", node)
    graph.add_edge("__start__", "count")
    targets = {"again": "count", "stop": "__end__"}
    graph.add_conditional_edges("count", again_until(steps), targets)
    return graph


def commits(lib: Library, steps: int) -> Figures:
    """A loop of one sync node that counts, committed after every superstep."""
    with database() as path, lib.sqlite(path) as checkpointer:
        app = counting(lib, steps).compile(checkpointer=checkpointer)
        app.invoke({"n": steps - WARM_UP}, on("warm up", steps), durability="sync")
        return timed(lambda: app.invoke({"n": 0}, on("1", steps), durability="sync"), steps)


def async_commits(lib: Library, steps: int) -> Figures:
    """The same with an async node, under `ainvoke`."""

    async def main(path: str) -> Figures:
        async with lib.async_sqlite(path) as checkpointer:
            app = counting(lib, steps, count_async).compile(checkpointer=checkpointer)
            await app.ainvoke({"n": steps - WARM_UP}, on("warm up", steps), durability="sync")
            cpu, wall = process_time(), perf_counter()
            await app.ainvoke({"n": 0}, on("1", steps), durability="sync")
            return per_superstep(process_time() - cpu, perf_counter() - wall, steps)

    with database() as path:
        return asyncio.run(main(path))


def threads(lib: Library, count_of_threads: int) -> Figures:
    """Threads of the operating system that share a checkpointer, twenty supersteps each."""
    steps = 20
    with database() as path, lib.sqlite(path) as checkpointer:
        app = counting(lib, steps).compile(checkpointer=checkpointer)
        app.invoke({"n": 0}, on("warm up", steps), durability="sync")
        with ThreadPoolExecutor(count_of_threads) as pool:
            configs = [on(str(i), steps) for i in range(count_of_threads)]
            run = partial(app.invoke, durability="sync")
            return timed(
                lambda: list(pool.map(run, repeat({"n": 0}), configs)), steps * count_of_threads
            )


def fan_out(lib: Library, width: int) -> Figures:
    """One superstep of this many Sends to an async node; finished tasks survive their siblings."""

    async def main(path: str) -> Figures:
        async with lib.async_sqlite(path) as checkpointer:
            app = fanning_out(lib, width, work_async, checkpointer)
            await app.ainvoke({"found": []}, on("warm up"), durability="sync")
            cpu, wall = process_time(), perf_counter()
            await app.ainvoke({"found": []}, on("warm up"), durability="sync")
            cpu, wall = process_time() - cpu, perf_counter() - wall
            return {PER_TASK: cpu * MICRO / width, "µs wall per task": wall * MICRO / width}

    with database() as path:
        return asyncio.run(main(path))


def plain_log(path: str) -> sqlite3.Connection:
    """A file with one table, set up to survive a power cut."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, body BLOB)")
    return connection


def append(connection: sqlite3.Connection, body: bytes, times: int) -> None:
    """One transaction per row."""
    for _ in range(times):
        connection.execute("INSERT INTO log (body) VALUES (?)", (body,))


def plain_commits(steps: int, body: bytes = b"{" + b" " * 62 + b"}") -> Figures:
    """As many raw commits of 64 bytes."""
    with database() as path, closing(plain_log(path)) as connection:
        append(connection, body, WARM_UP)
        return timed(lambda: append(connection, body, steps), steps)


def talks(lib: Library, steps: int) -> Figures:
    """A loop that adds one message of 500 bytes per superstep, committed after each."""
    pace = pace_of_tenths(steps)
    with database() as warm_up, lib.sqlite(warm_up) as checkpointer:
        run_talk(lib, checkpointer, WARM_UP, "1", Pace())
    with database() as path:
        with lib.sqlite(path) as checkpointer:
            figures = timed(lambda: run_talk(lib, checkpointer, steps, "1", pace), steps)
        figures[DISK] = kilobytes(path)
    return figures | {"last tenth ÷ first tenth": slowdown(pace, steps)}


def run_talk(lib: Library, checkpointer: Any, steps: int, thread: str, pace: Pace) -> None:
    """One run of the conversation, which stops before its last node."""
    app = conversation(lib, steps, pace).compile(
        checkpointer=checkpointer, interrupt_before=["finish"]
    )
    app.invoke({"messages": [], "n": 0}, on(thread, steps), durability="sync")


def one_row() -> bytes:
    """A message as it would be written by hand."""
    return json.dumps({"role": "user", "content": TEXT}).encode()


def plain_talks(steps: int) -> Figures:
    """As many raw commits of the same message as JSON."""
    with database() as path:
        with closing(plain_log(path)) as connection:
            figures = timed(lambda: append(connection, one_row(), steps), steps)
        return figures | {DISK: kilobytes(path)}


SQLITE = Group(
    "Durable supersteps in SQLite",
    (
        Case("sqlite.commits", commits, (1000,), plain_commits),
        Case("sqlite.async_commits", async_commits, (1000,), plain_commits),
        Case("sqlite.threads", threads, (200,)),
        Case("sqlite.fan_out", fan_out, (10, 100, 1000)),
        Case("sqlite.messages", talks, (100, 300, 1000), plain_talks, grows=(DISK,)),
    ),
)
