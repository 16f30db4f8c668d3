"""What makes a test of a program: both libraries run it, and they must show the same."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from .libraries import GRAPHFLOW, LANGGRAPH, Library
from .observations import difference, plain

Config = dict[str, Any]
Program = Callable[[Library, Any], Any]
THREAD: Config = {"configurable": {"thread_id": "t"}}


class Blocking:
    """Calls a compiled graph from plain code."""

    name = "sync"

    def invoke(self, app: Any, given: Any, config: Any = None, **options: Any) -> Any:
        return app.invoke(given, config, **options)

    def stream(self, app: Any, given: Any, config: Any = None, **options: Any) -> list[Any]:
        return list(app.stream(given, config, **options))

    def state(self, app: Any, config: Config = THREAD, **options: Any) -> Any:
        return app.get_state(config, **options)

    def history(self, app: Any, config: Config = THREAD, **options: Any) -> list[Any]:
        return list(app.get_state_history(config, **options))

    def update(self, app: Any, config: Config, values: Any, *options: Any) -> Any:
        return app.update_state(config, values, *options)

    def bulk(self, app: Any, config: Config, supersteps: Any) -> Any:
        return app.bulk_update_state(config, supersteps)

    def batch(self, app: Any, inputs: list[Any], config: Any = None, **options: Any) -> Any:
        return app.batch(inputs, config, **options)


class OnLoop:
    """Calls a compiled graph from a coroutine, on a loop of its own."""

    name = "async"

    def invoke(self, app: Any, given: Any, config: Any = None, **options: Any) -> Any:
        return _run(app.ainvoke(given, config, **options))

    def stream(self, app: Any, given: Any, config: Any = None, **options: Any) -> list[Any]:
        return _run(_listed(app.astream(given, config, **options)))

    def state(self, app: Any, config: Config = THREAD, **options: Any) -> Any:
        return _run(app.aget_state(config, **options))

    def history(self, app: Any, config: Config = THREAD, **options: Any) -> list[Any]:
        return _run(_listed(app.aget_state_history(config, **options)))

    def update(self, app: Any, config: Config, values: Any, *options: Any) -> Any:
        return _run(app.aupdate_state(config, values, *options))

    def bulk(self, app: Any, config: Config, supersteps: Any) -> Any:
        return _run(app.abulk_update_state(config, supersteps))

    def batch(self, app: Any, inputs: list[Any], config: Any = None, **options: Any) -> Any:
        return _run(app.abatch(inputs, config, **options))


SYNC, ASYNC = Blocking(), OnLoop()


def parity(program: Program) -> Callable[[Any], None]:
    """Make a test of a program that runs blocking and on a loop."""
    return parity_in(SYNC, ASYNC)(program)


def parity_in(*ways: Any) -> Callable[[Program], Callable[[Any], None]]:
    """As `parity`, for what exists in some ways of calling only."""

    def made(program: Program) -> Callable[[Any], None]:
        @pytest.mark.parametrize("call", ways, ids=[way.name for way in ways])
        def test(call: Any) -> None:
            theirs, ours = plain(program(LANGGRAPH, call)), plain(program(GRAPHFLOW, call))
            assert theirs is not None, "a program returns what it saw"
            assert ours == theirs, "\n" + difference(ours, theirs)

        test.__name__, test.__doc__, test.__module__ = (
            program.__name__,
            program.__doc__,
            program.__module__,
        )
        return test

    return made


def sides(program: Program, call: Any = SYNC) -> tuple[Any, Any]:
    """Return what a program shows with graphflow and with LangGraph: for what differs."""
    return plain(program(GRAPHFLOW, call)), plain(program(LANGGRAPH, call))


def raised(library: Library, do: Callable[[], Any], *says: str) -> Any:
    """Return the type of what `do` raises and which of the texts are in it."""
    try:
        result = do()
    except library.signals as error:
        return (type(error).__name__, {text: text in str(error) for text in says})
    return ("returned", result)


def chain(library: Library, schema: Any, *nodes: tuple[str, Any]) -> Any:
    """Return a builder of these nodes, one after the other."""
    return library.StateGraph(schema).add_sequence(nodes).add_edge(library.START, nodes[0][0])


def parallel(library: Library, schema: Any, *nodes: tuple[str, Any]) -> Any:
    """Return a builder of these nodes, all in one superstep."""
    graph = library.StateGraph(schema)
    for name, node in nodes:
        graph.add_node(name, node).add_edge(library.START, name)
    return graph


def _run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 30))


async def _listed(stream: Any) -> list[Any]:
    return [item async for item in stream]
