"""Contract §1: words."""

import operator
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import END, START, Send, StateGraph


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


def beside(**nodes: Any) -> Any:
    graph = StateGraph(State)
    for name, node in nodes.items():
        graph.add_node(name, node).add_edge(START, name)
    return graph


@pytest.mark.simulated
def test_1_b1_tasks_of_a_superstep_all_see_the_same_state(call):
    def adds(state: State) -> State:
        return {"log": [len(state["log"])]}

    app = beside(a=adds, b=adds, c=adds).compile()
    assert call.invoke(app, {"log": ["i"]}) == {"log": ["i", 1, 1, 1]}


def test_1_b2_task_has_the_same_id_in_every_run_of_it(call, saver, thread):
    seen: list[str] = []

    def n(_: State, runtime: Any) -> None:
        seen.append(runtime.execution_info.task_id)
        if len(seen) < 3:
            raise ValueError("boom")

    app = beside(n=n).compile(saver)
    for given in ({}, None):
        with pytest.raises(ValueError, match="boom"):
            call.invoke(app, given, thread)
    call.invoke(app, None, thread)
    assert len(set(seen)) == 1
    assert isinstance(seen[0], str)


def test_1_b2_tasks_of_other_names_and_checkpoints_have_other_ids(call, saver, thread):
    app = beside(a=lambda _: None, b=lambda _: None).compile(saver)
    call.invoke(app, {}, thread)
    call.invoke(app, {}, thread)
    ids = [task.id for shot in call.history(app, thread) for task in shot.tasks]
    assert len(ids) == len(set(ids)) == 6


def paused_before_all(saver: Any) -> Any:
    """Return a graph that stops before its node `a` and two Sends to `s`."""
    graph = beside(a=lambda _: None).add_node("s", lambda _: None)
    graph.add_conditional_edges(START, lambda _: [Send("s", 1), Send("s", 2)], ["s"])
    return graph.compile(saver, interrupt_before="*")


def test_1_b3_path_of_a_task_that_an_edge_started(call, saver, thread):
    app = paused_before_all(saver)
    call.invoke(app, {"log": []}, thread)
    assert call.state(app, thread).tasks[2].path == ("__pregel_pull", "a")


def test_1_b4_paths_of_tasks_that_sends_started_have_their_number(call, saver, thread):
    app = paused_before_all(saver)
    call.invoke(app, {"log": []}, thread)
    tasks = call.state(app, thread).tasks
    assert [task.path for task in tasks[:2]] == [
        ("__pregel_push", 0, False),
        ("__pregel_push", 1, False),
    ]
    assert len({task.id for task in tasks}) == 3
    assert call.state(app, thread).tasks == tasks


def test_1_b7_start_and_end_are_these_strings():
    assert (START, END) == ("__start__", "__end__")


@pytest.mark.parametrize("name", ["a|b", "a:b"])
def test_1_b7_separators_of_namespaces_are_not_allowed_in_names(name):
    with pytest.raises(ValueError, match="reserved character"):
        StateGraph(State).add_node(name, lambda _: None)


def test_1_b8_start_appears_in_history_and_checkpoints(call, saver, thread):
    app = beside(n=lambda _: None).compile(saver)
    chunks = call.stream(app, {"x": 1}, thread, stream_mode="checkpoints")
    oldest = call.history(app, thread)[-1]
    assert (oldest.next, [task.name for task in oldest.tasks]) == ((START,), [START])
    assert oldest.tasks[0].result == {"x": 1}
    assert (chunks[0]["next"], chunks[0]["tasks"][0]["name"]) == ([START], START)


@pytest.mark.parametrize("entry", ["edge", "path"])
def test_1_b8_start_appears_neither_in_updates_nor_in_tasks(call, saver, thread, entry):
    graph = StateGraph(State).add_node("n", lambda _: None)
    if entry == "edge":
        graph.set_entry_point("n")
    else:
        graph.set_conditional_entry_point(lambda _: "n", ["n"])
    app = graph.compile(saver)
    chunks = call.stream(app, {"x": 1}, thread, stream_mode=["updates", "tasks"])
    names = [data["name"] if mode == "tasks" else next(iter(data)) for mode, data in chunks]
    assert names == ["n", "n", "n"]


def test_1_b8_start_that_is_taken_up_again_is_not_told_either(call, saver, thread):
    errors = [ValueError("boom")]

    def path(_: State) -> str:
        if errors:
            raise errors.pop()
        return "n"

    graph = StateGraph(State).add_node("n", lambda _: None)
    app = graph.set_conditional_entry_point(path, ["n"]).compile(saver)
    with pytest.raises(ValueError, match="boom"):
        call.invoke(app, {"x": 1}, thread)
    assert call.state(app, thread).next == (START,)
    chunks = call.stream(app, None, thread, stream_mode="tasks")
    assert [chunk["name"] for chunk in chunks] == ["n", "n"]
