"""The portal: the loop on which async nodes of blocking runs live, and which outlives them."""

import asyncio
import os
import sys
from typing import Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, StateGraph


class State(TypedDict, total=False):
    x: int


def single(node: Any) -> Any:
    return StateGraph(State).add_node("n", node).add_edge(START, "n").compile()


async def one(_: State) -> State:
    return {"x": 1}


@pytest.mark.parametrize("signal", [SystemExit, KeyboardInterrupt])
def test_what_would_end_a_loop_ends_the_run_alone(soon, signal):
    async def leaving(_: State) -> None:
        raise signal("bye")

    with pytest.raises(signal, match="bye"):
        soon(lambda: single(leaving).invoke({}))
    assert soon(lambda: single(one).invoke({})) == {"x": 1}


def test_exit_of_one_of_several_async_nodes_ends_the_run(soon):
    async def leaving(_: State) -> None:
        sys.exit(3)

    graph = StateGraph(State).add_node("n", leaving).add_node("m", one)
    app = graph.add_edge(START, "n").add_edge(START, "m").compile()
    with pytest.raises(SystemExit):
        soon(lambda: app.invoke({}))
    assert soon(lambda: single(one).invoke({})) == {"x": 1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_gets_a_portal_of_its_own(soon):
    app = single(one)
    soon(lambda: app.invoke({}))
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if soon(lambda: app.invoke({})) == {"x": 1} else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_batch_in_nodes_of_a_batch_does_not_starve(soon):
    inner = single(one)

    def outer(_: State) -> State:
        return {"x": sum(result["x"] for result in inner.batch([{}] * 2))}

    results = soon(lambda: single(outer).batch([{}] * 70))
    assert results == [{"x": 2}] * 70


def test_blocking_call_on_the_portal_itself_names_the_way_out(soon):
    async def stuck(_: State) -> Any:
        await asyncio.sleep(0)
        return single(one).invoke({})

    with pytest.raises(RuntimeError, match=r"await graph\.ainvoke"):
        soon(lambda: single(stuck).invoke({}))
