"""Limits on the time of nodes (contract §20)."""

import asyncio
import operator
from datetime import timedelta
from typing import Annotated, Any

from typing_extensions import TypedDict

from .programs import ASYNC, SYNC, THREAD, chain, parity_in, raised


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


async def slow(_: State) -> Any:
    """Take longer than the limits below."""
    await asyncio.sleep(1)


def limited(lib: Any, node: Any, timeout: Any, **options: Any) -> Any:
    """Return a builder of one node with a limit."""
    graph = lib.StateGraph(State).add_node("n", node, timeout=timeout, **options)
    return graph.add_edge(lib.START, "n")


@parity_in(ASYNC)
def test_node_that_takes_too_long(lib, call):
    shown = []
    for timeout in (0.02, timedelta(seconds=0.02), lib.TimeoutPolicy(run_timeout=0.02)):
        app = limited(lib, slow, timeout).compile()
        try:
            call.invoke(app, {"log": []})
        except lib.NodeTimeoutError as error:
            shown.append((error.node, error.kind, error.run_timeout, error.idle_timeout))
            shown.append((isinstance(error, TimeoutError), error.timeout))
    return shown


@parity_in(ASYNC)
def test_node_that_is_fast_enough(lib, call):
    async def fast(_: State) -> Any:
        return {"log": ["fast"]}

    return call.invoke(limited(lib, fast, 5).compile(), {"log": []})


@parity_in(ASYNC)
def test_timeouts_are_retried_by_default(lib, call):
    tries = []

    async def slow_once(_: State) -> Any:
        tries.append(1)
        await asyncio.sleep(1 if len(tries) == 1 else 0)
        return {"log": [len(tries)]}

    policy = lib.RetryPolicy(initial_interval=0.001, jitter=False)
    return call.invoke(limited(lib, slow_once, 0.03, retry_policy=policy).compile(), {"log": []})


@parity_in(ASYNC)
def test_idle_node_is_stopped_and_a_busy_one_is_not(lib, call):
    async def busy(state: State, writer) -> Any:
        for number in range(6):
            await asyncio.sleep(0.03)
            writer(number)
        return {"log": ["busy"]}

    policy = lib.TimeoutPolicy(idle_timeout=0.1)
    good = call.invoke(limited(lib, busy, policy).compile(), {"log": []})
    try:
        call.invoke(limited(lib, slow, policy).compile(), {"log": []})
    except lib.NodeTimeoutError as error:
        return good, error.kind, error.idle_timeout


@parity_in(SYNC)
def test_limits_that_are_refused(lib, call):
    def plain(_: State) -> None:
        return None

    return [
        raised(lib, lambda: limited(lib, slow, 0))[0],
        raised(lib, lambda: limited(lib, slow, -1))[0],
        raised(lib, lambda: limited(lib, plain, 1).compile(), "only supported for async")[0],
    ]


@parity_in(ASYNC)
def test_state_after_a_timeout(lib, call):
    graph = limited(lib, slow, 0.02)
    app = graph.compile(lib.InMemorySaver())
    refused = raised(lib, lambda: call.invoke(app, {"log": []}, THREAD))[0]
    return refused, call.state(app).next


@parity_in(ASYNC)
def test_handler_of_a_timeout(lib, call):
    def handler(state: State, error: lib.NodeError) -> Any:
        return {"log": [type(error.error).__name__]}

    return call.invoke(limited(lib, slow, 0.02, error_handler=handler).compile(), {"log": []})


@parity_in(ASYNC)
def test_limit_of_a_send_and_of_the_defaults(lib, call):
    graph = lib.StateGraph(State).add_node("n", slow)
    graph.add_conditional_edges(lib.START, lambda _: [lib.Send("n", {}, timeout=0.02)], ["n"])
    sent = raised(lib, lambda: call.invoke(graph.compile(), {"log": []}))[0]
    other = chain(lib, State, ("n", slow)).set_node_defaults(timeout=0.02)
    return sent, raised(lib, lambda: call.invoke(other.compile(), {"log": []}))[0]


@parity_in(ASYNC)
def test_heartbeats_keep_a_node_alive(lib, call):
    async def node(state: State, runtime: lib.Runtime) -> Any:
        for _ in range(6):
            await asyncio.sleep(0.03)
            runtime.heartbeat()
        return {"log": ["alive"]}

    policy = lib.TimeoutPolicy(idle_timeout=0.1, refresh_on="heartbeat")
    return call.invoke(limited(lib, node, policy).compile(), {"log": []})


@parity_in(ASYNC)
def test_command_to_the_parent_from_a_limited_node(lib, call):
    async def over(_: State) -> Any:
        return lib.Command(graph=lib.Command.PARENT, update={"log": ["over"]}, goto="z")

    child = limited(lib, over, 5).compile()
    graph = lib.StateGraph(State).add_node("child", child)
    graph.add_node("z", lambda _: {"log": ["z"]}).add_edge(lib.START, "child")
    return call.invoke(graph.compile(), {"log": []})
