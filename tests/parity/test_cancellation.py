"""Cancelled runs and nodes (contract §26)."""

import asyncio
import operator
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from .programs import ASYNC, THREAD, chain, parallel, parity_in, raised


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


@parity_in(ASYNC)
def test_failure_cancels_async_siblings_and_is_raised_itself(lib, call):
    seen = []

    async def waits(_: State) -> Any:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def fails(_: State) -> Any:
        await asyncio.sleep(0.01)
        raise ValueError("boom")

    app = parallel(lib, State, ("waits", waits), ("fails", fails)).compile(lib.InMemorySaver())
    refused = raised(lib, lambda: call.invoke(app, {"log": []}, THREAD), "boom")
    return refused, seen, call.state(app).next


@parity_in(ASYNC)
def test_cancelling_the_caller_cancels_nodes_on_all_levels(lib, call):
    seen = []

    async def waits(_: State) -> Any:
        seen.append("started")
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    child = chain(lib, State, ("waits", waits)).compile()
    app = chain(lib, State, ("child", child), ("z", lambda _: seen.append("z")))
    app = app.compile(lib.InMemorySaver())

    async def main() -> Any:
        run = asyncio.create_task(app.ainvoke({"log": []}, THREAD))
        while not seen:
            await asyncio.sleep(0.005)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())
    return seen, call.state(app).next


@parity_in(ASYNC)
def test_leaving_an_async_stream_cancels_the_nodes(lib, call):
    seen = []

    async def quick(_: State) -> Any:
        return {"log": ["quick"]}

    async def waits(_: State) -> Any:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    app = parallel(lib, State, ("quick", quick), ("waits", waits)).compile()

    async def main() -> Any:
        stream = app.astream({"log": []})
        first = await anext(stream)
        await stream.aclose()
        return first

    return asyncio.run(main()), seen


@parity_in(ASYNC)
def test_node_that_cancels_itself_fails_the_run(lib, call):
    async def node(_: State) -> Any:
        raise asyncio.CancelledError

    app = chain(lib, State, ("n", node)).compile()
    return raised(lib, lambda: call.invoke(app, {"log": []}))[0]


@parity_in(ASYNC)
def test_thread_can_go_on_after_a_cancellation(lib, call):
    tries = []

    async def slow_once(_: State) -> Any:
        tries.append(1)
        if len(tries) == 1:
            await asyncio.sleep(10)
        return {"log": ["done"]}

    app = chain(lib, State, ("a", lambda _: {"log": ["a"]}), ("slow", slow_once))
    app = app.compile(lib.InMemorySaver())

    async def main() -> None:
        run = asyncio.create_task(app.ainvoke({"log": []}, THREAD))
        while not tries:
            await asyncio.sleep(0.005)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)

    asyncio.run(main())
    return call.state(app).next, call.invoke(app, None, THREAD), len(tries)
