"""Contract §25: runs that are asked to stop after their superstep."""

import operator
import threading
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, Command, GraphDrained, RunControl, Send, StateGraph, interrupt


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def chain(*nodes: Any, **options: Any) -> Any:
    """Return a compiled graph of `(name, node)` in a row."""
    graph = StateGraph(State).add_sequence(list(nodes)).add_edge(START, nodes[0][0])
    return graph.compile(**options)


def logs(name: str, ran: list[str] | None = None) -> Any:
    def node(_: State) -> State:
        if ran is not None:
            ran.append(name)
        return {"log": [name]}

    return name, node


def draining(name: str = "a", reason: str = "shutdown") -> Any:
    """Return a node that asks its run to stop."""

    def node(_: State, runtime: Any) -> State:
        runtime.control.request_drain(reason)
        return {"log": [name]}

    return name, node


def drain(call: Any, app: Any, given: Any, thread: Any, **options: Any) -> GraphDrained:
    """Run, and return the signal that ended it."""
    with pytest.raises(GraphDrained) as raised:
        call.invoke(app, given, thread, control=RunControl(), **options)
    return raised.value


def test_25_b1_superstep_ends_and_is_saved_then_the_run_stops(call, saver, thread):
    ran: list[str] = []
    app = chain(draining(), logs("b", ran), checkpointer=saver)
    drain(call, app, {"log": []}, thread)
    state = call.state(app, thread)
    assert (state.values, state.next, ran) == ({"log": ["a"]}, ("b",), [])


def test_25_b1_signal_says_why(call, saver, thread):
    app = chain(draining(reason="deploy"), logs("b"), checkpointer=saver)
    drained = drain(call, app, {"log": []}, thread)
    assert (drained.reason, str(drained)) == ("deploy", "Graph drained: deploy")


def test_25_b1_default_reason_is_shutdown():
    control = RunControl()
    assert (control.drain_requested, control.drain_reason) == (False, None)
    control.request_drain()
    assert (control.drain_requested, control.drain_reason) == (True, "shutdown")


def test_25_b1_drained_run_goes_on_where_it_stopped(call, saver, thread):
    ran: list[str] = []
    app = chain(draining(), logs("b", ran), checkpointer=saver)
    drain(call, app, {"log": []}, thread)
    assert call.invoke(app, None, thread) == {"log": ["a", "b"]}
    assert ran == ["b"]


def test_25_b1_run_that_has_nothing_left_ends_normally(call, saver, thread):
    app = chain(draining(), checkpointer=saver)
    assert call.invoke(app, {"log": []}, thread, control=RunControl()) == {"log": ["a"]}
    assert call.state(app, thread).next == ()


def test_25_b1_request_before_the_start_stops_after_the_input_is_saved(call, saver, thread):
    control = RunControl()
    control.request_drain()
    app = chain(logs("a"), checkpointer=saver)
    with pytest.raises(GraphDrained):
        call.invoke(app, {"log": ["i"]}, thread, control=control)
    assert call.state(app, thread).next == ("__start__",)
    assert call.invoke(app, None, thread) == {"log": ["i", "a"]}


def test_25_b1_all_tasks_of_the_superstep_end(call, saver, thread):
    graph = StateGraph(State).add_node(*draining("a")).add_node(*logs("b")).add_node(*logs("c"))
    graph.add_edge(START, "a").add_edge(START, "b").add_edge("a", "c")
    app = graph.compile(saver)
    drain(call, app, {"log": []}, thread)
    assert call.state(app, thread).values == {"log": ["a", "b"]}
    assert call.invoke(app, None, thread) == {"log": ["a", "b", "c"]}


def test_25_b1_sends_that_are_pending_run_later(call, saver, thread):
    graph = StateGraph(State).add_node(*draining("a")).add_node("w", lambda n: {"log": [n]})
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda _: [Send("w", 1), Send("w", 2)], ["w"])
    app = graph.compile(saver)
    drain(call, app, {"log": []}, thread)
    assert call.invoke(app, None, thread) == {"log": ["a", 1, 2]}


@pytest.mark.parametrize("where", ["interrupt_before", "interrupt_after"])
def test_25_b2_breakpoint_at_the_same_place_wins(call, saver, thread, where):
    app = chain(draining(), logs("b"), checkpointer=saver,
                **{where: ["b" if where == "interrupt_before" else "a"]})  # fmt: skip
    assert call.invoke(app, {"log": []}, thread, control=RunControl()) == {"log": ["a"]}
    assert call.state(app, thread).next == ("b",)


@pytest.mark.parametrize("where", ["interrupt_before", "interrupt_after"])
def test_25_b2_breakpoint_inside_a_subgraph_wins(call, saver, thread, where):
    child = chain(draining(), logs("b"), **{where: ["b" if where == "interrupt_before" else "a"]})
    app = chain(("child", child), checkpointer=saver)
    call.invoke(app, {"log": []}, thread, control=RunControl())
    assert call.state(app, thread).next == ("child",)
    assert call.invoke(app, None, thread) == {"log": ["a", "b"]}


def test_25_b2_question_at_the_same_place_wins(call, saver, thread):
    def q(_: State, runtime: Any) -> State:
        if runtime.control is not None:
            runtime.control.request_drain()
        return {"log": [interrupt("?")]}

    app = chain(("q", q), logs("b"), checkpointer=saver)
    assert "__interrupt__" in call.invoke(app, {"log": []}, thread, control=RunControl())
    assert call.invoke(app, Command(resume=1), thread) == {"log": [1, "b"]}


def test_25_b2_question_of_a_sibling_wins_over_a_drained_child(call, saver, thread):
    child = chain(draining(), logs("b"))
    graph = StateGraph(State).add_node("child", child).add_edge(START, "child")
    graph.add_node("q", lambda _: {"log": [interrupt("?")]}).add_edge(START, "q")
    app = graph.compile(saver)
    assert "__interrupt__" in call.invoke(app, {"log": []}, thread, control=RunControl())
    assert call.invoke(app, Command(resume=1), thread) == {"log": ["a", "b", 1]}


@pytest.mark.parametrize("depth", [1, 2])
def test_25_b2_child_stops_at_its_next_superstep_and_both_go_on(call, saver, thread, depth):
    ran: list[str] = []
    app = chain(draining(), logs("b", ran))
    for level in range(depth):
        last = level == depth - 1
        app = chain(("child", app), logs("after", ran), checkpointer=saver if last else None)
    drain(call, app, {"log": []}, thread)
    assert (call.state(app, thread).next, ran) == (("child",), [])
    assert call.invoke(app, None, thread)["log"][:2] == ["a", "b"]
    assert ran == ["b", *["after"] * depth]


def test_25_b2_child_with_nothing_left_ends_and_the_parent_stops(call, saver, thread):
    app = chain(("child", chain(draining())), logs("after"), checkpointer=saver)
    drain(call, app, {"log": []}, thread)
    state = call.state(app, thread)
    assert (state.values, state.next) == ({"log": ["a"]}, ("after",))


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_25_b2_works_in_every_durability(call, saver, thread, durability):
    app = chain(draining(), logs("b"), checkpointer=saver)
    drain(call, app, {"log": []}, thread, durability=durability)
    assert call.state(app, thread).next == ("b",)
    assert call.invoke(app, None, thread, durability=durability) == {"log": ["a", "b"]}


def test_25_b2_request_may_come_from_another_thread(saver, thread):
    control, begun, asked = RunControl(), threading.Event(), threading.Event()

    def node(_: State) -> State:
        begun.set()
        assert asked.wait(5)
        return {"log": ["a"]}

    def other() -> None:
        assert begun.wait(5)
        control.request_drain("elsewhere")
        asked.set()

    app = chain(("a", node), logs("b"), checkpointer=saver)
    asking = threading.Thread(target=other)
    asking.start()
    with pytest.raises(GraphDrained, match="elsewhere"):
        app.invoke({"log": []}, thread, control=control)
    asking.join()
    assert app.get_state(thread).next == ("b",)


def test_25_b1_a_stream_ends_with_the_signal_after_its_chunks(saver, thread):
    app = chain(draining(), logs("b"), checkpointer=saver)
    stream = app.stream({"log": []}, thread, control=RunControl())
    assert next(stream) == {"a": {"log": ["a"]}}
    with pytest.raises(GraphDrained):
        next(stream)


def test_25_b1_run_without_checkpointer_stops_too(call):
    with pytest.raises(GraphDrained):
        call.invoke(chain(draining(), logs("b")), {"log": []}, control=RunControl())


def test_25_b1_control_serves_several_runs(call, saver):
    control = RunControl()
    control.request_drain()
    app = chain(logs("a"), checkpointer=saver)
    for name in "uv":
        with pytest.raises(GraphDrained):
            call.invoke(app, {}, {"configurable": {"thread_id": name}}, control=control)
