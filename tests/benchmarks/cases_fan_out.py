"""Wide supersteps: many Sends of one node, and many runs at once on one event loop."""

import asyncio
from operator import add
from time import perf_counter
from typing import Annotated, Any, TypedDict

from .case import Case, Figures, Group
from .cases_supersteps import Node, count, count_async, limit, looping, plain_loop
from .library import Library
from .stopwatch import (
    MICRO,
    MILLI,
    async_cpu,
    resident_kilobytes,
    typical_async_cpu,
    typical_cpu,
)

PER_TASK = "µs CPU per task"
PER_SUPERSTEP = "µs CPU per superstep"
RUN_LENGTH = 10
INNER_STEPS = 12
NAP = 0.01


class Gathered(TypedDict):
    """What the tasks of a wide superstep bring home."""

    found: Annotated[list[int], add]


def work(task: dict[str, int]) -> dict[str, list[int]]:
    """The node of every task: one addition."""
    return {"found": [task["i"] + 1]}


async def work_async(task: dict[str, int]) -> dict[str, list[int]]:
    """The same, awaited; it never waits."""
    return {"found": [task["i"] + 1]}


async def nap(task: dict[str, int]) -> dict[str, list[int]]:
    """A task that waits 10 ms, as for a network."""
    await asyncio.sleep(NAP)
    return {"found": [task["i"]]}


def fanning_out(lib: Library, width: int, node: Node, checkpointer: Any = None) -> Any:
    """START → split ⇉ work → END."""
    graph = lib.graph(Gathered)
    graph.add_node("split", lambda state: {})
    graph.add_node("work", node)
    graph.add_edge("__start__", "split")
    sends = [lib.send("work", {"i": i}) for i in range(width)]
    graph.add_conditional_edges("split", lambda state: sends, ["work"])
    graph.add_edge("work", "__end__")
    return graph.compile(checkpointer=checkpointer)


def fan_out_sync(lib: Library, width: int) -> Figures:
    """One superstep of this many Sends to a sync node."""
    app = fanning_out(lib, width, work)
    seconds = typical_cpu(lambda: app.invoke({"found": []}), times=enough(width))
    return {PER_TASK: seconds * MICRO / width}


def enough(width: int) -> int:
    """How often to repeat a superstep of this width for a steady median."""
    return max(3, 300 // width)


def plain_calls(width: int) -> Figures:
    """The same calls in a `for`."""

    def loop() -> list[int]:
        found: list[int] = []
        for i in range(width):
            found.extend(work({"i": i})["found"])
        return found

    return {PER_TASK: typical_cpu(loop) * MICRO / width}


def fan_out_async(lib: Library, width: int) -> Figures:
    """One superstep of this many Sends to an async node."""
    app = fanning_out(lib, width, work_async)

    async def main() -> float:
        return await typical_async_cpu(lambda: app.ainvoke({"found": []}), enough(width))

    return {PER_TASK: asyncio.run(main()) * MICRO / width}


def plain_gather(width: int) -> Figures:
    """The same coroutines under `asyncio.gather`."""

    async def gather() -> None:
        await asyncio.gather(*(work_async({"i": i}) for i in range(width)))

    async def main() -> float:
        return await typical_async_cpu(gather)

    return {PER_TASK: asyncio.run(main()) * MICRO / width}


def fan_out_subgraph(lib: Library, width: int) -> Figures:
    """One superstep of this many Sends to a subgraph that counts to twelve."""
    child = looping(lib, count, steps=INNER_STEPS)
    app = fanning_out(lib, width, lambda task: {"found": [child.invoke({"n": 0})["n"]]})
    seconds = typical_cpu(lambda: app.invoke({"found": []}), times=3)
    return {PER_TASK: seconds * MICRO / width}


def plain_inner_loops(width: int) -> Figures:
    """The same node, called twelve times for each task."""
    return {PER_TASK: plain_loop(INNER_STEPS * width)[PER_SUPERSTEP] * INNER_STEPS}


def sleeping(lib: Library, width: int) -> Figures:
    """One superstep of this many tasks that each sleep 10 ms (wall time)."""
    app = fanning_out(lib, width, nap)

    async def main() -> float:
        await app.ainvoke({"found": []})
        return await async_cpu(lambda: app.ainvoke({"found": []}), perf_counter)

    return {"ms wall": asyncio.run(main()) * MILLI}


def plain_sleeping(width: int) -> Figures:
    """The same sleeps under `asyncio.gather`."""

    async def gather() -> None:
        await asyncio.gather(*(nap({"i": i}) for i in range(width)))

    async def main() -> float:
        await gather()
        return await async_cpu(gather, perf_counter)

    return {"ms wall": asyncio.run(main()) * MILLI}


def concurrent_runs(lib: Library, runs: int) -> Figures:
    """Concurrent `ainvoke` calls on one loop, ten supersteps each."""
    app = looping(lib, count_async, steps=RUN_LENGTH)

    async def all_runs() -> None:
        await asyncio.gather(*(app.ainvoke({"n": 0}, limit(RUN_LENGTH)) for _ in range(runs)))

    async def main() -> float:
        await app.ainvoke({"n": 0}, limit(RUN_LENGTH))
        return await async_cpu(all_runs)

    before = resident_kilobytes()
    seconds = asyncio.run(main())
    return {
        PER_SUPERSTEP: seconds * MICRO / (runs * RUN_LENGTH),
        "KB of memory per run at the peak": (resident_kilobytes(peak=True) - before) / runs,
    }


def plain_runs(runs: int) -> Figures:
    """As many coroutines that each await the node ten times."""

    async def one_run() -> None:
        values = {"n": 0}
        for _ in range(RUN_LENGTH):
            values.update(await count_async(values))

    async def all_runs() -> None:
        await asyncio.gather(*(one_run() for _ in range(runs)))

    async def main() -> float:
        return await async_cpu(all_runs)

    before = resident_kilobytes()
    seconds = asyncio.run(main())
    return {
        PER_SUPERSTEP: seconds * MICRO / (runs * RUN_LENGTH),
        "KB of memory per run at the peak": (resident_kilobytes(peak=True) - before) / runs,
    }


WIDE = Group(
    "Fan-out and concurrent runs",
    (
        Case("fan_out.sync", fan_out_sync, (10, 100, 1000), plain_calls),
        Case("fan_out.async", fan_out_async, (10, 100, 1000), plain_gather),
        Case("fan_out.subgraph", fan_out_subgraph, (10, 100), plain_inner_loops),
        Case("fan_out.sleep", sleeping, (1000,), plain_sleeping),
        Case("runs.concurrent", concurrent_runs, (1000,), plain_runs),
    ),
)
