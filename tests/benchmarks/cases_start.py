"""What has to happen before the first node: declaring, compiling, checking, starting a run."""

from typing import Any

from .case import Case, Figures, Group
from .cases_supersteps import Count, count, limit, with_idle_nodes
from .library import Library
from .stopwatch import MICRO, typical_cpu


def build(lib: Library, nodes: int) -> Any:
    """Declares a chain of nodes; the caller compiles it."""
    graph = lib.graph(Count)
    graph.add_node("n0", count)
    graph.add_edge("__start__", "n0")
    for i in range(1, nodes):
        graph.add_node(f"n{i}", count)
        graph.add_edge(f"n{i - 1}", f"n{i}")
    return graph


def compiling(lib: Library, nodes: int) -> Figures:
    """`add_node`, `add_edge` and `compile` for a chain of this many nodes."""
    seconds = typical_cpu(lambda: build(lib, nodes).compile(), times=max(3, 300 // nodes))
    return {"µs CPU per node": seconds * MICRO / nodes}


def linting(lib: Library, nodes: int) -> Figures:
    """`graph.lint()`: everything the declaration can tell about what never runs."""
    graph = build(lib, nodes)
    return {"µs CPU per node": typical_cpu(graph.lint, times=5) * MICRO / nodes}


def starting(lib: Library, nodes: int) -> Figures:
    """A run of one superstep in a graph of this many nodes: up to the first chunk, and in all."""
    app = with_idle_nodes(lib, nodes - 1, steps=1)

    def first_chunk() -> Any:
        chunks = app.stream({"n": 0}, limit(1))
        next(chunks)
        return chunks

    return {
        "µs CPU until the first chunk": typical_cpu(first_chunk) * MICRO,
        "µs CPU for the whole run": typical_cpu(lambda: app.invoke({"n": 0}, limit(1))) * MICRO,
    }


STARTS = Group(
    "Compiling and starting",
    (
        Case("compile", compiling, (10, 100, 1000)),
        Case("lint", linting, (1000,), libraries=("graphflow",)),
        Case("start", starting, (10, 1000)),
    ),
)
