"""Contract §6 and §7: recursion limit, errors of nodes."""

import operator
import threading
import time
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, GraphRecursionError, RemainingSteps, StateGraph

pytestmark = pytest.mark.simulated


class Log(TypedDict):
    log: Annotated[list[Any], operator.add]


def says(name: str) -> Any:
    return lambda _: {"log": [name]}


def chain(*names: str) -> Any:
    nodes = [(name, says(name)) for name in names]
    return StateGraph(Log).add_sequence(nodes).add_edge(START, names[0])


def endless() -> Any:
    return chain("a").add_edge("a", "a")


class Boom(Exception):
    """A failure of a node."""


def boom(_: Log) -> None:
    raise Boom("boom")


@pytest.mark.parametrize("limit", [0, -1])
def test_6_b1_limit_below_one_is_refused(call, limit):
    with pytest.raises(ValueError, match="recursion_limit"):
        call.invoke(chain("a").compile(), {"log": []}, {"recursion_limit": limit})


def test_6_b1_default_limit_is_large(call):
    class Counted(TypedDict):
        x: int
        left: RemainingSteps

    graph = StateGraph(Counted).add_node("n", lambda state: {"x": state["left"]})
    assert call.invoke(graph.add_edge(START, "n").compile(), {"x": 0}) == {"x": 10007 - 1}


@pytest.mark.parametrize("length", [1, 2, 3])
def test_6_b2_graph_of_n_supersteps_needs_a_limit_of_n_plus_one(call, length):
    app = chain(*"abc"[:length]).compile()
    assert len(call.invoke(app, {"log": []}, {"recursion_limit": length + 1})["log"]) == length
    with pytest.raises(GraphRecursionError):
        call.invoke(app, {"log": []}, {"recursion_limit": length})


def test_6_b3_error_is_a_recursion_error_that_names_the_limit(call):
    with pytest.raises(
        RecursionError, match=r"^Recursion limit of 3 reached without hitting a stop condition"
    ):
        call.invoke(endless().compile(), {"log": []}, {"recursion_limit": 3})


def test_6_b3_state_of_the_last_superstep_is_saved_and_the_thread_goes_on(call, saver, thread):
    app = endless().compile(saver)
    with pytest.raises(GraphRecursionError):
        call.invoke(app, {"log": []}, {**thread, "recursion_limit": 3})
    assert call.state(app, thread).values == {"log": ["a"] * 3}
    assert call.state(app, thread).next == ("a",)
    with pytest.raises(GraphRecursionError):
        call.invoke(app, None, {**thread, "recursion_limit": 1})
    assert len(call.state(app, thread).values["log"]) > 3


def test_6_b2_resumed_run_counts_anew(call, saver, thread):
    app = chain("a", "b", "c").compile(saver, interrupt_before=["b"])
    call.invoke(app, {"log": []}, {**thread, "recursion_limit": 2})
    result = call.invoke(app, None, {**thread, "recursion_limit": 2})
    assert result == {"log": ["a", "b", "c"]}


def test_7_b1_exception_of_a_node_is_raised_unchanged(call):
    mine = Boom("mine")

    def n(_: Log) -> None:
        raise mine

    app = StateGraph(Log).add_node(n).add_edge(START, "n").compile()
    with pytest.raises(Boom) as caught:
        call.invoke(app, {"log": []})
    assert caught.value is mine


def test_7_b1_a_note_names_the_task(call, saver, thread):
    app = StateGraph(Log).add_node("n", boom).add_edge(START, "n").compile(saver)
    with pytest.raises(Boom) as caught:
        call.invoke(app, {"log": []}, thread)
    identity = call.state(app, thread).tasks[0].id
    assert f"During task with name 'n' and id '{identity}'" in caught.value.__notes__


@pytest.mark.simulated(False)  # it looks at modes that the simulation does not stream
@pytest.mark.parametrize("mode", ["tasks", "debug"])
def test_7_b1_error_is_raised_after_its_result_was_streamed(call, mode):
    app = chain("a").add_node("n", boom).add_edge("a", "n").compile()
    chunks, error = call.until_error(app, {"log": []}, stream_mode=mode)
    told = chunks[-1].get("payload", chunks[-1])
    assert told["name"] == "n"
    assert told["error"] is error


def failing_once(errors: list[Exception]) -> Any:
    good_ran = threading.Event()

    def good(_: Log) -> Log:
        good_ran.set()
        return {"log": ["good"]}

    def bad(_: Log) -> Log:
        assert good_ran.wait(5)
        time.sleep(0.02)
        if errors:
            raise errors.pop()
        return {"log": ["bad"]}

    graph = StateGraph(Log).add_node("bad", bad).add_node("good", good)
    return graph.add_edge(START, "bad").add_edge(START, "good")


@pytest.mark.simulated(False)  # its nodes wait for each other
def test_7_b2_snapshot_shows_the_error_and_what_siblings_finished(call, saver, thread):
    app = failing_once([Boom("boom")]).compile(saver)
    with pytest.raises(Boom):
        call.invoke(app, {"log": []}, thread)
    shot = call.state(app, thread)
    tasks = {task.name: task for task in shot.tasks}
    assert tasks["bad"].error == "Boom('boom')"
    assert tasks["bad"].result is None
    assert tasks["good"].result == {"log": ["good"]}
    assert tasks["good"].error is None
    assert shot.values == {"log": ["good"]}
    assert shot.next == ("bad",)


@pytest.mark.simulated(False)  # its nodes wait for each other
def test_7_b2_going_on_runs_only_what_is_unfinished(call, saver, thread):
    app = failing_once([Boom("boom")]).compile(saver)
    with pytest.raises(Boom):
        call.invoke(app, {"log": []}, thread)
    updates = call.stream(app, None, thread)
    assert updates == [
        {"good": {"log": ["good"]}, "__metadata__": {"cached": True}},
        {"bad": {"log": ["bad"]}},
    ]
    assert call.state(app, thread).values == {"log": ["bad", "good"]}


def test_7_b2_path_function_that_failed_is_asked_again(call, saver, thread):
    errors = [Boom("path")]

    def path(_: Log) -> list[str]:
        if errors:
            raise errors.pop()
        return ["b"]

    graph = chain("a").add_node("b", says("b")).add_conditional_edges("a", path, ["b"])
    app = graph.compile(saver)
    with pytest.raises(Boom):
        call.invoke(app, {"log": ["i"]}, thread)
    assert call.invoke(app, None, thread) == {"log": ["i", "a", "b"]}


def test_7_b2_entry_path_that_failed_is_asked_again(call, saver, thread):
    errors = [Boom("path")]

    def path(_: Log) -> list[str]:
        if errors:
            raise errors.pop()
        return ["b"]

    graph = StateGraph(Log).add_node("b", says("b"))
    app = graph.set_conditional_entry_point(path, ["b"]).compile(saver)
    with pytest.raises(Boom):
        call.invoke(app, {"log": ["i"]}, thread)
    assert call.state(app, thread).next == (START,)
    assert call.invoke(app, None, thread) == {"log": ["i", "b"]}


def test_7_b2_reducer_that_fails_stores_nothing_of_its_superstep(call, saver, thread):
    class Picky(TypedDict):
        log: Annotated[list[Any], operator.add]
        key: Annotated[int, lambda old, new: old // new]

    graph = StateGraph(Picky).add_node("n", lambda _: {"log": ["n"], "key": 0})
    app = graph.add_edge(START, "n").compile(saver)
    with pytest.raises(ZeroDivisionError):
        call.invoke(app, {"log": []}, thread)
    shot = call.state(app, thread)
    assert (shot.values, shot.next) == ({"log": [], "key": 0}, ("n",))


def test_7_b2_all_tasks_of_a_superstep_that_failed_are_next(call, saver, thread):
    graph = StateGraph(Log).add_node("a", boom).add_node("b", boom)
    app = graph.add_edge(START, "a").add_edge(START, "b").compile(saver)
    with pytest.raises(Boom):
        call.invoke(app, {"log": []}, thread)
    shot = call.state(app, thread)
    assert "Boom('boom')" in {task.error for task in shot.tasks}
    assert shot.next == ("a", "b")
    with pytest.raises(Boom):
        call.invoke(app, None, thread)


@pytest.mark.simulated(False)  # its nodes wait for each other
def test_7_b2_thread_that_failed_twice_can_still_go_on(call, saver, thread):
    app = failing_once([Boom("second"), Boom("first")]).compile(saver)
    for text in ("first", "second"):
        with pytest.raises(Boom, match=text):
            call.invoke(app, {"log": []} if text == "first" else None, thread)
    tasks = {task.name: task for task in call.state(app, thread).tasks}
    assert tasks["bad"].error == "Boom('second')"
    assert call.invoke(app, None, thread) == {"log": ["bad", "good"]}
