"""When chunks arrive: while nodes still run, not at the end of their superstep (contract §8.6).

The node waits until the reader has seen what it wrote; if chunks came late, both would wait, and
the node would give up and say so.
"""

import asyncio
import operator
import threading
from typing import Annotated, Any

from typing_extensions import TypedDict

from .programs import ASYNC, SYNC, chain, parallel, parity_in

PATIENCE = 5.0
"""Seconds after which a node believes that nobody reads."""


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def read(app: Any, seen: threading.Event, sign: Any, **options: Any) -> list[Any]:
    """Read a stream to its end and set `seen` at the chunk that is the sign."""
    chunks = []
    for chunk in app.stream({"log": []}, **options):
        chunks.append(chunk)
        if sign(chunk):
            seen.set()
    return chunks


async def aread(app: Any, seen: asyncio.Event, sign: Any, **options: Any) -> list[Any]:
    """As `read`, on an event loop."""
    chunks = []
    async for chunk in app.astream({"log": []}, **options):
        chunks.append(chunk)
        if sign(chunk):
            seen.set()
    return chunks


@parity_in(SYNC)
def test_custom_chunk_arrives_while_its_node_runs(lib, call):
    seen = threading.Event()

    def node(state: State, writer) -> Any:
        writer("first")
        return {"log": [seen.wait(PATIENCE)]}

    app = chain(lib, State, ("n", node)).compile()
    modes = ["custom", "updates"]
    return read(app, seen, lambda chunk: chunk == ("custom", "first"), stream_mode=modes)


@parity_in(ASYNC)
def test_custom_chunk_arrives_while_its_async_node_runs(lib, call):
    async def main() -> Any:
        seen = asyncio.Event()

        async def node(state: State, writer) -> Any:
            writer("first")
            return {"log": [await asyncio.wait_for(seen.wait(), PATIENCE)]}

        app = chain(lib, State, ("n", node)).compile()
        modes = ["custom", "updates"]
        return await aread(app, seen, lambda c: c == ("custom", "first"), stream_mode=modes)

    return asyncio.run(main())


@parity_in(SYNC)
def test_update_of_a_quick_task_arrives_before_a_slow_one_ends(lib, call):
    seen = threading.Event()
    nodes = [
        ("quick", lambda _: {"log": ["quick"]}),
        ("slow", lambda _: {"log": [seen.wait(PATIENCE)]}),
    ]
    app = parallel(lib, State, *nodes).compile()
    return read(app, seen, lambda chunk: "quick" in chunk)


@parity_in(ASYNC)
def test_update_of_a_quick_async_task_arrives_before_a_slow_one_ends(lib, call):
    async def main() -> Any:
        seen = asyncio.Event()

        async def quick(_: State) -> Any:
            return {"log": ["quick"]}

        async def slow(_: State) -> Any:
            return {"log": [await asyncio.wait_for(seen.wait(), PATIENCE)]}

        app = parallel(lib, State, ("quick", quick), ("slow", slow)).compile()
        return await aread(app, seen, lambda chunk: "quick" in chunk)

    return asyncio.run(main())


@parity_in(SYNC)
def test_update_of_a_childs_node_arrives_while_the_child_runs(lib, call):
    seen = threading.Event()
    nodes = [
        ("one", lambda _: {"log": ["one"]}),
        ("two", lambda _: {"log": [seen.wait(PATIENCE)]}),
    ]
    app = chain(lib, State, ("child", chain(lib, State, *nodes).compile())).compile()
    return read(app, seen, lambda chunk: "one" in chunk[1], subgraphs=True)


@parity_in(SYNC)
def test_start_of_a_task_arrives_while_it_runs(lib, call):
    seen = threading.Event()
    app = chain(lib, State, ("n", lambda _: {"log": [seen.wait(PATIENCE)]})).compile()
    return read(app, seen, lambda chunk: "input" in chunk, stream_mode="tasks")


@parity_in(SYNC)
def test_pushed_message_arrives_while_its_node_runs(lib, call):
    seen = threading.Event()

    def node(state: Any) -> Any:
        lib.push_message(lib.AIMessage("pushed", id="1"))
        return {"messages": [lib.AIMessage(str(seen.wait(PATIENCE)), id="2")]}

    app = chain(lib, lib.MessagesState, ("n", node)).compile()
    chunks = []
    for message, _ in app.stream({"messages": []}, stream_mode="messages"):
        chunks.append(message)
        seen.set()
    return chunks
