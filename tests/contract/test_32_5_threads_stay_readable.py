"""Contract §32.5, beyond pydantic: a superstep whose writes conflict leaves a readable thread."""

import operator
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, Command, InvalidUpdateError, StateGraph, interrupt


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


def conflicting(saver: Any) -> Any:
    """Return a graph of which two tasks finish with writes that exclude each other."""
    graph = StateGraph(State).add_node("a", lambda _: {"x": 1}).add_node("b", lambda _: {"x": 2})
    graph.add_node("c", lambda _: {"log": [interrupt("?")]})
    for name in "abc":
        graph.add_edge(START, name)
    return graph.compile(saver)


@pytest.fixture
def app(call, saver, thread):
    app = conflicting(saver)
    with pytest.raises(InvalidUpdateError, match="At key 'x'"):
        call.stream(app, {"log": []}, thread, stream_mode=["values", "updates"])
    return app


def test_32_5_invoke_says_what_conflicts(call, saver, thread):
    with pytest.raises(InvalidUpdateError, match="At key 'x'"):
        call.invoke(conflicting(saver), {"log": []}, thread)


def test_32_5_state_shows_the_values_without_the_writes(call, thread, app):
    state = call.state(app, thread)
    assert (state.values, state.next) == ({"log": []}, ("c",))


def test_32_5_history_shows_all_checkpoints(call, thread, app):
    assert [shot.next for shot in call.history(app, thread)] == [("a", "b", "c"), ("__start__",)]


def test_32_5_going_on_says_it_again(call, thread, app):
    with pytest.raises(InvalidUpdateError, match="At key 'x'"):
        call.invoke(app, Command(resume=1), thread)


def test_32_5_update_repairs_the_thread(call, thread, app):
    call.update(app, thread, {"x": 9}, "a")
    state = call.state(app, thread)
    assert (state.values, state.next) == ({"x": 9, "log": []}, ())
