"""Contract §26: cancellation."""

import asyncio
import operator
import threading
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, MemoryCheckpointer, StateGraph
from graphflow.errors import NodeCancelledError


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


class Sleeper:
    """An async node that never ends by itself, and tells what befell it."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = False

    async def __call__(self, _: State) -> None:
        self.begun.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def graph_of(**nodes: Any) -> Any:
    """Return a graph whose nodes all start at once."""
    graph = StateGraph(State)
    for name, node in nodes.items():
        graph.add_node(name, node).add_edge(START, name)
    return graph


async def cancel_once(begun: asyncio.Event, running: Any) -> None:
    """Cancel a run when its node has begun."""
    run = asyncio.ensure_future(running)
    await asyncio.wait_for(begun.wait(), 5)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run, 5)


@pytest.mark.parametrize("siblings", [0, 2])
def test_26_b1_cancelled_caller_cancels_running_nodes(siblings):
    async def main() -> bool:
        node = Sleeper()
        others = {f"other{number}": lambda _: None for number in range(siblings)}
        await cancel_once(node.begun, graph_of(node=node, **others).compile().ainvoke({}))
        return node.cancelled

    assert asyncio.run(main())


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_26_b1_nodes_of_subgraphs_are_cancelled_too(depth):
    async def main() -> bool:
        node = Sleeper()
        app = graph_of(node=node).compile()
        for _ in range(depth):
            app = graph_of(inner=app).compile()
        await cancel_once(node.begun, app.ainvoke({}))
        return node.cancelled

    assert asyncio.run(main())


def test_26_b1_blocking_node_ends_by_itself_and_later_nodes_do_not_run():
    gate, ended, ran = threading.Event(), threading.Event(), []

    async def main() -> None:
        begun, loop = asyncio.Event(), asyncio.get_running_loop()

        def blocking(_: State) -> None:
            loop.call_soon_threadsafe(begun.set)
            assert gate.wait(5)
            ended.set()

        nodes = [("blocking", blocking), ("later", ran.append)]
        app = StateGraph(State).add_sequence(nodes).add_edge(START, "blocking").compile()
        await cancel_once(begun, app.ainvoke({}))
        assert not ended.is_set()
        gate.set()

    asyncio.run(main())
    assert ended.wait(5)
    assert ran == []


def test_26_b1_what_siblings_finished_is_kept(saver, thread):
    async def main() -> Any:
        node, finished = Sleeper(), asyncio.Event()
        app = graph_of(node=node, quick=lambda _: {"log": ["quick"]}).compile(saver)

        async def listen() -> None:
            async for _ in app.astream({"log": []}, thread):
                finished.set()

        await cancel_once(finished, listen())
        return app.get_state(thread)

    state = asyncio.run(main())
    assert state.next == ("node",)
    assert state.values == {"log": ["quick"]}


class Slow(MemoryCheckpointer):
    """A checkpointer that is busy while its gate is shut."""

    is_instant = False

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def arun(self, operation: Any) -> Any:
        await asyncio.wait_for(self.gate.wait(), 5)
        return await super().arun(operation)


@pytest.mark.parametrize("waits_for", ["node", "save"])
def test_26_b1_saving_that_was_started_is_completed(thread, waits_for):
    async def main() -> Any:
        saver, begun = Slow(), asyncio.Event()

        async def first(_: State) -> State:
            async with asyncio.timeout(5):
                while app.get_state(thread).next != ("first",):  # what is before is saved
                    await asyncio.sleep(0)
            saver.gate.clear()
            return {"log": ["first"]}

        async def second(_: State) -> None:
            begun.set()
            await asyncio.sleep(30 if waits_for == "node" else 0)

        graph = StateGraph(State).add_sequence([("first", first), ("second", second)])
        app = graph.add_edge(START, "first").compile(saver)
        run = asyncio.ensure_future(app.ainvoke({}, thread))
        await asyncio.wait_for(begun.wait(), 5)
        await asyncio.sleep(0.01)  # by now a run whose node has ended waits for the save
        run.cancel()
        asyncio.get_running_loop().call_later(0.01, saver.gate.set)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(run, 5)
        async with asyncio.timeout(5):
            while app.get_state(thread).next != ("second",):
                await asyncio.sleep(0.001)
        return app.get_state(thread).values

    assert asyncio.run(main()) == {"log": ["first"]}


def test_26_b1_cancelled_run_can_go_on(saver, thread):
    async def main() -> Any:
        node = Sleeper()
        await cancel_once(node.begun, graph_of(node=node).compile(saver).ainvoke({}, thread))
        return await graph_of(node=lambda _: {"x": 1}).compile(saver).ainvoke(None, thread)

    assert asyncio.run(main()) == {"x": 1, "log": []}


def test_26_b2_node_that_raises_cancelled_error_fails_the_run(call):
    async def bad(_: State) -> None:
        raise asyncio.CancelledError

    with pytest.raises(NodeCancelledError, match="'bad'"):
        call.invoke(graph_of(bad=bad, good=lambda _: {"x": 1}).compile(), {})


def test_26_b2_blocking_node_that_raises_cancelled_error_fails_the_run(call):
    def bad(_: State) -> None:
        raise asyncio.CancelledError

    with pytest.raises(NodeCancelledError, match="'bad'"):
        call.invoke(graph_of(bad=bad).compile(), {})


def test_26_b2_lone_node_that_raises_cancelled_error_fails_the_run(call):
    async def bad(_: State) -> None:
        raise asyncio.CancelledError

    with pytest.raises(NodeCancelledError, match="'bad'"):
        call.invoke(graph_of(bad=bad).compile(), {})


def test_26_b3_failure_of_one_node_is_raised_and_its_siblings_are_cancelled():
    async def main() -> bool:
        node = Sleeper()

        async def bad(_: State) -> None:
            await node.begun.wait()
            raise ValueError("boom")

        with pytest.raises(ValueError, match="boom"):
            await asyncio.wait_for(graph_of(bad=bad, node=node).compile().ainvoke({}), 5)
        return node.cancelled

    assert asyncio.run(main())


def test_26_b3_stored_error_is_that_of_the_node_that_failed(saver, thread):
    async def main() -> Any:
        node = Sleeper()

        async def bad(_: State) -> None:
            await node.begun.wait()
            raise ValueError("boom")

        app = graph_of(bad=bad, node=node).compile(saver)
        with pytest.raises(ValueError, match="boom"):
            await asyncio.wait_for(app.ainvoke({}, thread), 5)
        return app.get_state(thread)

    tasks = {task.name: task.error for task in asyncio.run(main()).tasks}
    assert tasks == {"bad": "ValueError('boom')", "node": None}


def test_26_b1_timeout_around_a_run_is_a_timeout():
    async def main() -> None:
        await asyncio.wait_for(graph_of(node=Sleeper()).compile().ainvoke({}), 0.02)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
