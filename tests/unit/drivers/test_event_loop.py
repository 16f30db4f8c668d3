"""The event-loop driver: how a run on a loop hands out tasks, and how it ends."""

import asyncio
from typing import Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, StateGraph
from graphflow.errors import NodeCancelledError


class State(TypedDict, total=False):
    x: int


def graph_of(**nodes: Any) -> Any:
    """Return a graph whose nodes all start at once."""
    graph = StateGraph(State)
    for name, node in nodes.items():
        graph.add_node(name, node).add_edge(START, name)
    return graph.compile()


def run(app: Any, config: Any = None) -> Any:
    async def wait() -> Any:
        return await asyncio.wait_for(app.ainvoke({}, config), 5)

    return asyncio.run(wait())


def test_stop_iteration_of_a_blocking_node_is_an_error_of_the_run():
    def n(_: State) -> State:
        return {"x": next(iter([]))}

    with pytest.raises(RuntimeError, match="StopIteration"):
        run(graph_of(n=n))


def test_stop_iteration_of_an_async_node_is_an_error_of_the_run():
    async def n(_: State) -> State:
        return {"x": next(iter([]))}

    with pytest.raises(RuntimeError, match="StopIteration"):
        run(graph_of(n=n))


def test_node_that_cancels_its_own_task_fails_the_run():
    async def bad(_: State) -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(0)

    async def waiting(_: State) -> None:
        await asyncio.sleep(30)

    with pytest.raises(NodeCancelledError, match="'bad'"):
        run(graph_of(bad=bad, waiting=waiting))


@pytest.mark.parametrize("most", [0, -1, "2"])
def test_max_concurrency_that_lets_nothing_run_is_refused(most):
    async def n(_: State) -> None:
        return None

    with pytest.raises(ValueError, match="max_concurrency must be at least 1"):
        run(graph_of(n=n, m=n), {"max_concurrency": most})


def test_max_concurrency_bounds_how_many_run_at_once():
    now, most = [0], [0]

    async def n(_: State) -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await asyncio.sleep(0)
        now[0] -= 1

    run(graph_of(a=n, b=n, c=n, d=n, e=n), {"max_concurrency": 2})
    assert most == [2]
