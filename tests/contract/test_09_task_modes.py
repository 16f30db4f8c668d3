"""Contract §9, the modes that show the engine: tasks, checkpoints, debug."""

import operator
from datetime import datetime
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, Command, GraphRecursionError, Send, StateGraph, interrupt


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


def diamond() -> Any:
    """Return the graph `a` → (`b`, `c`)."""
    graph = StateGraph(State).add_node("a", lambda _: {"x": 1, "log": ["a"]})
    graph.add_node("c", lambda _: None).add_node("b", lambda _: {"log": ["b"]})
    return graph.add_edge(START, "a").add_edge("a", "b").add_edge("a", "c")


def graph_of(**nodes: Any) -> Any:
    """Return a graph whose nodes all start at once."""
    graph = StateGraph(State)
    for name, node in nodes.items():
        graph.add_node(name, node).add_edge(START, name)
    return graph


def split(chunks: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return the starts and the results among `tasks` chunks."""
    return [c for c in chunks if "input" in c], [c for c in chunks if "result" in c]


def failing(_: State) -> None:
    raise ValueError("boom")


# -- tasks -----------------------------------------------------------------------------------


def test_9_b4_tasks_are_a_start_and_a_result_each(call):
    chunks = call.stream(diamond().compile(), {"log": ["i"]}, stream_mode="tasks")
    start, result = chunks[:2]
    assert start == {
        "id": start["id"],
        "name": "a",
        "input": {"log": ["i"]},
        "triggers": ("branch:to:a",),
    }
    assert result == {
        "id": start["id"],
        "name": "a",
        "error": None,
        "result": {"x": 1, "log": ["a"]},
        "interrupts": [],
    }


def test_9_b4_tasks_all_starts_of_a_superstep_come_before_its_results(call):
    chunks = call.stream(diamond().compile(), {"log": []}, stream_mode="tasks")
    told = [("start" if "input" in chunk else "result", chunk["name"]) for chunk in chunks]
    assert told[:4] == [("start", "a"), ("result", "a"), ("start", "b"), ("start", "c")]
    assert sorted(told[4:]) == [("result", "b"), ("result", "c")]


def test_5_7_tasks_of_a_superstep_start_in_the_order_of_their_names_sends_first(call):
    graph = StateGraph(State).add_node("b", lambda _: None).add_node("a", lambda _: None)
    graph.add_node("w", lambda _: None).add_edge(START, "b").add_edge(START, "a")
    graph.add_conditional_edges(START, lambda _: [Send("w", 1), Send("w", 2)], ["w"])
    starts, _ = split(call.stream(graph.compile(), {}, stream_mode="tasks"))
    assert [(start["name"], start["input"]) for start in starts[:2]] == [("w", 1), ("w", 2)]
    assert [start["name"] for start in starts[2:]] == ["a", "b"]


def test_9_b4_tasks_input_is_what_the_node_gets(call):
    class Narrow(TypedDict):
        x: int

    def n(state: Narrow) -> None:
        return None

    app = graph_of(n=n).compile()
    starts, _ = split(call.stream(app, {"x": 1, "log": ["i"]}, stream_mode="tasks"))
    assert starts[0]["input"] == {"x": 1}


def test_9_b4_tasks_triggers_are_what_can_start_the_node(call):
    graph = graph_of(a=lambda _: None, b=lambda _: None).add_node("j", lambda _: None)
    graph.add_edge(["a", "b"], "j").add_node("w", lambda _: None)
    graph.add_conditional_edges("j", lambda _: [Send("w", {})], ["w"])
    starts, _ = split(call.stream(graph.compile(), {}, stream_mode="tasks"))
    triggers = {start["name"]: start["triggers"] for start in starts}
    assert triggers["a"] == ("branch:to:a",)
    assert triggers["j"] == ("branch:to:j", "join:a+b:j")
    assert triggers["w"] == ("__pregel_push",)


def test_9_b4_tasks_show_metadata_only_where_the_user_gave_some(call, saver, thread):
    app = diamond().compile(saver)
    user = {"configurable": {**thread["configurable"], "user": "ann"}}
    starts, _ = split(call.stream(app, {"log": []}, user, stream_mode="tasks"))
    assert all("metadata" not in start for start in starts)
    given = {**user, "metadata": {"who": "me"}, "tags": ["t"]}
    starts, _ = split(call.stream(app, {"log": []}, given, stream_mode="tasks"))
    assert all(start["metadata"] == {"who": "me", "tags": ["t"]} for start in starts)


def test_9_b4_tasks_show_metadata_of_runs_that_are_not_stored(call):
    given = {"metadata": {"who": "me"}}
    starts, _ = split(call.stream(diamond().compile(), {}, given, stream_mode="tasks"))
    assert [start["metadata"] for start in starts] == [{"who": "me"}] * 3


def test_9_b4_tasks_result_of_a_node_that_wrote_nothing_is_empty(call):
    _, results = split(call.stream(graph_of(n=lambda _: None).compile(), {}, stream_mode="tasks"))
    assert results[0]["result"] == {}


def test_9_b4_tasks_result_gathers_several_writes_to_one_key(call):
    app = graph_of(n=lambda _: Command(update=[("log", [1]), ("log", [2]), ("x", 3)])).compile()
    _, results = split(call.stream(app, {}, stream_mode="tasks"))
    assert results[0]["result"] == {"log": {"$writes": [[1], [2]]}, "x": 3}


def test_9_b4_tasks_result_holds_state_keys_only(call):
    app = graph_of(n=lambda _: {"x": 1, "other": 2}).compile()
    _, results = split(call.stream(app, {}, stream_mode="tasks"))
    assert results[0]["result"] == {"x": 1}


def test_9_b4_tasks_show_interrupts_as_dicts(call, saver, thread):
    app = graph_of(q=lambda _: {"log": [interrupt("?")]}).compile(saver)
    _, results = split(call.stream(app, {}, thread, stream_mode="tasks"))
    question = call.state(app, thread).interrupts[0]
    shown = {"value": "?", "id": question.id, "response_schema": None}
    assert [result["interrupts"] for result in results] == [[shown]]
    assert (results[0]["error"], results[0]["result"]) == (None, {})


def test_7_b3_error_of_a_tasks_event_is_the_exception_itself(call, saver, thread):
    error = ValueError("boom")

    def failing(_: State) -> None:
        raise error

    app = graph_of(n=failing).compile(saver)
    chunks, raised = call.until_error(app, {}, thread, stream_mode="tasks")
    assert split(chunks)[1][0]["error"] is error is raised


def test_9_b4_tasks_that_are_restored_give_no_result(call, saver, thread):
    app = graph_of(q=lambda _: {"log": [interrupt("?")]}, b=lambda _: {"log": ["b"]}).compile(saver)
    call.invoke(app, {"log": []}, thread)
    chunks = call.stream(app, Command(resume="A"), thread, stream_mode="tasks")
    told = [("start" if "input" in chunk else "result", chunk["name"]) for chunk in chunks]
    assert sorted(told) == [("result", "q"), ("start", "b"), ("start", "q")]


def test_9_b4_tasks_have_the_ids_that_snapshots_show(call, saver, thread):
    app = diamond().compile(saver)
    starts, _ = split(call.stream(app, {"log": []}, thread, stream_mode="tasks"))
    shown = {task.id for shot in call.history(app, thread) for task in shot.tasks
             if task.name != START}  # fmt: skip
    assert {start["id"] for start in starts} == shown


def test_9_b4_an_error_handler_that_takes_over_gives_a_result_only(call):
    graph = StateGraph(State).add_node("n", failing, error_handler=lambda _: {"x": 1})
    chunks = call.stream(graph.add_edge(START, "n").compile(), {}, stream_mode="tasks")
    told = [("start" if "input" in chunk else "result", chunk["name"]) for chunk in chunks]
    handler = "__error_handler__n"
    assert told == [("start", "n"), ("result", "n"), ("result", handler)]


# -- checkpoints -----------------------------------------------------------------------------


def shown(chunk: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a `checkpoints` chunk and a snapshot have in common."""
    tasks = [(task["id"], task["name"], task["state"]) for task in chunk["tasks"]]
    return (chunk["values"], chunk["next"], chunk["config"], chunk["parent_config"],
            chunk["metadata"], tasks)  # fmt: skip


def recorded(shot: Any) -> tuple[Any, ...]:
    """Return the same of a snapshot."""
    tasks = [(task.id, task.name, task.state) for task in shot.tasks]
    return shot.values, list(shot.next), shot.config, shot.parent_config, shot.metadata, tasks


def test_9_b5_checkpoints_equal_what_history_shows_later(call, saver, thread):
    app = diamond().compile(saver)
    chunks = call.stream(app, {"log": ["i"]}, thread, stream_mode="checkpoints")
    history = call.history(app, thread)
    assert list(map(shown, chunks)) == list(map(recorded, history[::-1]))


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_18_b2_checkpoints_are_streamed_in_every_durability(call, saver, thread, durability):
    app = diamond().compile(saver)
    chunks = call.stream(app, {"log": []}, thread, stream_mode="checkpoints", durability=durability)
    assert [chunk["metadata"]["step"] for chunk in chunks] == [-1, 0, 1, 2]
    assert [chunk["next"] for chunk in chunks] == [["__start__"], ["a"], ["c", "b"], []]


def test_9_b5_checkpoints_need_a_checkpointer(call):
    assert call.stream(diamond().compile(), {"log": []}, stream_mode="checkpoints") == []


def test_9_b5_checkpoints_have_these_keys(call, saver, thread):
    chunk = call.stream(diamond().compile(saver), {}, thread, stream_mode="checkpoints")[0]
    assert list(chunk) == ["config", "parent_config", "values", "metadata", "next", "tasks"]
    (task,) = chunk["tasks"]
    assert task == {"id": task["id"], "name": "__start__", "interrupts": (), "state": None}


def test_9_b5_checkpoints_of_a_resumed_run_begin_with_the_one_it_is_at(call, saver, thread):
    app = graph_of(q=lambda _: {"log": [interrupt("?")]}, b=lambda _: {"log": ["b"]}).compile(saver)
    call.invoke(app, {"log": []}, thread)
    at, end = call.stream(app, Command(resume="A"), thread, stream_mode="checkpoints")
    tasks = {task["name"]: task.get("result") for task in at["tasks"]}
    assert tasks == {"q": None, "b": {"log": ["b"]}}
    assert end["next"] == []


def test_9_b5_checkpoints_show_where_subgraphs_keep_their_state(call, saver, thread):
    inner = graph_of(n=lambda _: {"x": 1}).compile()
    app = graph_of(inner=inner).compile(saver)
    chunks = call.stream(app, {"log": []}, thread, stream_mode="checkpoints")
    (task,) = chunks[1]["tasks"]
    place = {"thread_id": "t", "checkpoint_ns": f"inner:{task['id']}"}
    assert task["state"] == {"configurable": place}


def test_9_b5_checkpoints_of_subgraphs_come_under_their_namespace(call, saver, thread):
    inner = graph_of(n=lambda _: {"x": 1}).compile()
    app = graph_of(inner=inner).compile(saver)
    chunks = call.stream(app, {"log": []}, thread, stream_mode="checkpoints", subgraphs=True)
    inside = [chunk for ns, chunk in chunks if ns]
    assert [chunk["next"] for chunk in inside] == [["__start__"], ["n"], []]
    history = call.history(app, chunks[1][1]["tasks"][0]["state"])
    assert list(map(shown, inside)) == list(map(recorded, history[::-1]))


def test_9_b5_checkpoints_of_a_breakpoint(call, saver, thread):
    app = diamond().compile(saver, interrupt_after=["a"])
    chunks = call.stream(app, {"log": []}, thread, stream_mode="checkpoints")
    assert [chunk["next"] for chunk in chunks] == [["__start__"], ["a"], ["c", "b"]]


def test_6_b3_checkpoint_at_the_recursion_limit_is_streamed(call, saver, thread):
    graph = graph_of(n=lambda _: {"x": 1}).add_edge("n", "n")
    with pytest.raises(GraphRecursionError):
        call.invoke(graph.compile(), {}, {"recursion_limit": 1})
    limited = {**thread, "recursion_limit": 2}
    chunks, error = call.until_error(
        graph.compile(saver), {"log": []}, limited, stream_mode="checkpoints"
    )
    assert isinstance(error, GraphRecursionError)
    assert [chunk["metadata"]["step"] for chunk in chunks] == [-1, 0, 1, 2]


def test_9_b5_checkpoints_of_the_second_run_number_on(call, saver, thread):
    app = diamond().compile(saver)
    call.invoke(app, {"log": []}, thread)
    chunks = call.stream(app, {"log": []}, thread, stream_mode="checkpoints")
    assert [chunk["metadata"]["step"] for chunk in chunks] == [3, 4, 5, 6]
    assert chunks[0]["metadata"]["source"] == "input"


def test_9_b5_checkpoints_of_a_root_state_are_the_value(call, saver, thread):
    graph = StateGraph(Annotated[list, operator.add]).add_node("n", lambda _: ["n"])
    app = graph.add_edge(START, "n").compile(saver)
    chunks = call.stream(app, ["i"], thread, stream_mode="checkpoints")
    assert [chunk["values"] for chunk in chunks] == [[], ["i"], ["i", "n"]]


# -- debug -----------------------------------------------------------------------------------


def test_9_b6_debug_wraps_checkpoints_and_tasks(call, saver, thread):
    modes = ["checkpoints", "tasks", "debug"]
    chunks = call.stream(diamond().compile(saver), {"log": []}, thread, stream_mode=modes)
    plain = [data for mode, data in chunks if mode != "debug"]
    assert [data["payload"] for mode, data in chunks if mode == "debug"] == plain


def test_9_b6_debug_says_step_time_and_kind(call, saver, thread):
    chunks = call.stream(diamond().compile(saver), {"log": []}, thread, stream_mode="debug")
    assert all(list(chunk) == ["step", "timestamp", "type", "payload"] for chunk in chunks)
    assert [(chunk["step"], chunk["type"]) for chunk in chunks] == [
        (-1, "checkpoint"),
        (0, "checkpoint"),
        (1, "task"),
        (1, "task_result"),
        (1, "checkpoint"),
        (2, "task"),
        (2, "task"),
        (2, "task_result"),
        (2, "task_result"),
        (2, "checkpoint"),
    ]
    times = [datetime.fromisoformat(chunk["timestamp"]) for chunk in chunks]
    assert times == sorted(times)


def test_9_b6_debug_without_checkpointer_tells_of_tasks_only(call):
    chunks = call.stream(diamond().compile(), {"log": []}, stream_mode="debug")
    assert {chunk["type"] for chunk in chunks} == {"task", "task_result"}


def test_9_b8_modes_of_one_superstep_come_in_this_order(call, saver, thread):
    modes = ["values", "updates", "checkpoints", "tasks"]
    app = graph_of(n=lambda _: {"x": 1}).compile(saver)
    chunks = call.stream(app, {"log": []}, thread, stream_mode=modes)
    assert [mode for mode, _ in chunks] == [
        "checkpoints",
        "values",
        "checkpoints",
        "tasks",
        "updates",
        "tasks",
        "values",
        "checkpoints",
    ]


def test_10_b1_checkpoints_in_version_two_are_parts(call, saver, thread):
    app = diamond().compile(saver)
    parts = call.stream(app, {"log": []}, thread, stream_mode="checkpoints", version="v2")
    assert {(part["type"], part["ns"]) for part in parts} == {("checkpoints", ())}
    assert [part["data"]["next"] for part in parts] == [["__start__"], ["a"], ["c", "b"], []]
