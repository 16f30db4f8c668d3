"""Supersteps without a checkpointer: loops, chains, and graphs in which most nodes are idle."""

import asyncio
from collections.abc import Callable
from typing import Any, TypedDict

from .case import Case, Figures, Group
from .library import Library
from .stopwatch import MICRO, async_cpu, cpu, typical_async_cpu, typical_cpu

STEPS = 1000
WARM_UP = 20
PER_SUPERSTEP = "µs CPU per superstep"
Node = Callable[[dict[str, Any]], Any]


class Count(TypedDict):
    """The smallest state that a loop needs."""

    n: int


def count(state: dict[str, Any]) -> dict[str, Any]:
    """The node of every loop: one addition."""
    return {"n": state["n"] + 1}


async def count_async(state: dict[str, Any]) -> dict[str, Any]:
    """The same for event loops; it never waits."""
    return {"n": state["n"] + 1}


def again_until(steps: int) -> Callable[[dict[str, Any]], str]:
    """The conditional edge of every loop."""

    def route(state: dict[str, Any]) -> str:
        return "stop" if state["n"] >= steps else "again"

    return route


def looping(lib: Library, node: Node, schema: Any = Count, steps: int = STEPS) -> Any:
    """START → count ⟲ → END."""
    graph = lib.graph(schema)
    graph.add_node("count", node)
    graph.add_edge("__start__", "count")
    targets = {"again": "count", "stop": "__end__"}
    graph.add_conditional_edges("count", again_until(steps), targets)
    return graph.compile()


def limit(steps: int) -> dict[str, int]:
    """A config that lets a run take this many supersteps."""
    return {"recursion_limit": steps + 10}


def loop_sync(lib: Library, steps: int) -> Figures:
    """A loop of one sync node with a conditional edge."""
    app = looping(lib, count, steps=steps)
    app.invoke({"n": steps - WARM_UP}, limit(steps))
    return {PER_SUPERSTEP: cpu(lambda: app.invoke({"n": 0}, limit(steps))) * MICRO / steps}


def loop_async(lib: Library, steps: int) -> Figures:
    """The same loop with an async node, under `ainvoke`."""
    app = looping(lib, count_async, steps=steps)

    async def main() -> float:
        await app.ainvoke({"n": steps - WARM_UP}, limit(steps))
        return await async_cpu(lambda: app.ainvoke({"n": 0}, limit(steps)))

    return {PER_SUPERSTEP: asyncio.run(main()) * MICRO / steps}


def plain_loop(steps: int, state: dict[str, Any] | None = None) -> Figures:
    """The nodes and the route of a loop, called by a `while`."""
    route = again_until(steps)

    def work() -> None:
        values = {"n": 0, **(state or {})}
        values.update(count(values))
        while route(values) == "again":
            values.update(count(values))

    return {PER_SUPERSTEP: typical_cpu(work) * MICRO / steps}


def plain_loop_async(steps: int) -> Figures:
    """The same, awaited."""
    route = again_until(steps)

    async def work() -> None:
        values = {"n": 0}
        values.update(await count_async(values))
        while route(values) == "again":
            values.update(await count_async(values))

    async def main() -> float:
        return await typical_async_cpu(work)

    return {PER_SUPERSTEP: asyncio.run(main()) * MICRO / steps}


def chained(lib: Library, nodes: int, node: Node) -> Any:
    """START → n0 → n1 → … → END."""
    graph = lib.graph(Count)
    names = [f"n{i}" for i in range(nodes)]
    for name in names:
        graph.add_node(name, node)
    for source, target in zip(["__start__", *names], [*names, "__end__"], strict=True):
        graph.add_edge(source, target)
    return graph.compile()


def chain_sync(lib: Library, nodes: int) -> Figures:
    """A chain of sync nodes, each run once."""
    app = chained(lib, nodes, count)
    app.invoke({"n": 0}, limit(nodes))
    return {PER_SUPERSTEP: cpu(lambda: app.invoke({"n": 0}, limit(nodes))) * MICRO / nodes}


def chain_async(lib: Library, nodes: int) -> Figures:
    """A chain of async nodes, under `ainvoke`."""
    app = chained(lib, nodes, count_async)

    async def main() -> float:
        await app.ainvoke({"n": 0}, limit(nodes))
        return await async_cpu(lambda: app.ainvoke({"n": 0}, limit(nodes)))

    return {PER_SUPERSTEP: asyncio.run(main()) * MICRO / nodes}


def with_idle_nodes(lib: Library, idle: int, steps: int = STEPS) -> Any:
    """A loop whose route could also lead into a chain of nodes, and never does."""
    graph = lib.graph(Count)
    names = [f"idle{i}" for i in range(idle)]
    for name in ["count", *names]:
        graph.add_node(name, count)
    graph.add_edge("__start__", "count")
    targets = {"again": "count", "stop": "__end__", "never": names[0]}
    graph.add_conditional_edges("count", again_until(steps), targets)
    for source, target in zip(names, [*names[1:], "__end__"], strict=True):
        graph.add_edge(source, target)
    return graph.compile()


def idle_nodes(lib: Library, idle: int) -> Figures:
    """The loop of 1,000 supersteps in a graph with this many nodes that never run."""
    app = with_idle_nodes(lib, idle)
    app.invoke({"n": STEPS - WARM_UP}, limit(STEPS))
    return {PER_SUPERSTEP: cpu(lambda: app.invoke({"n": 0}, limit(STEPS))) * MICRO / STEPS}


def wide_state(keys: int) -> dict[str, int]:
    """Values of a state with this many keys besides the counter."""
    return {f"key{i}": i for i in range(keys)}


def state_keys(lib: Library, keys: int) -> Figures:
    """The loop of 1,000 supersteps on a state with this many keys, all given to the node."""
    schema = TypedDict("Wide", {"n": int, **dict.fromkeys(wide_state(keys), int)})  # type: ignore[misc]
    app = looping(lib, count, schema)
    app.invoke({"n": STEPS - WARM_UP, **wide_state(keys)}, limit(STEPS))
    values = {"n": 0, **wide_state(keys)}
    return {PER_SUPERSTEP: cpu(lambda: app.invoke(values, limit(STEPS))) * MICRO / STEPS}


def graph_calls(lib: Library, calls: int) -> Figures:
    """A loop whose node is a graph of one node, against a loop of as many supersteps without."""
    inner = lib.graph(Count)
    inner.add_node("count", count)
    inner.add_edge("__start__", "count")
    app, flat = looping(lib, inner.compile(), steps=calls), looping(lib, count, steps=2 * calls)
    for warm_up, steps in ((app, calls), (flat, 2 * calls)):
        warm_up.invoke({"n": steps - WARM_UP}, limit(steps))
    nested = cpu(lambda: app.invoke({"n": 0}, limit(calls)))
    own = cpu(lambda: flat.invoke({"n": 0}, limit(2 * calls)))
    return {"µs CPU per call over its nodes": (nested - own) * MICRO / calls}


SUPERSTEPS = Group(
    "Supersteps",
    (
        Case("loop.sync", loop_sync, (1000,), plain_loop),
        Case("loop.async", loop_async, (1000,), plain_loop_async),
        Case("chain.sync", chain_sync, (1000,), plain_loop),
        Case("chain.async", chain_async, (1000,), plain_loop_async),
        Case("loop.graph_calls", graph_calls, (500,)),
        Case("loop.idle_nodes", idle_nodes, (10, 100, 1000), lambda _: plain_loop(STEPS)),
        Case(
            "loop.state_keys",
            state_keys,
            (10, 100, 1000),
            lambda keys: plain_loop(STEPS, wide_state(keys)),
        ),
    ),
)
