"""Contract §12 and §13: checkpoints, StateSnapshot, get_state, history."""

import asyncio
import operator
import time
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import (
    START,
    Command,
    Interrupt,
    MemoryCheckpointer,
    PregelTask,
    StateGraph,
    StateSnapshot,
    interrupt,
)


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


def says(name: str) -> Any:
    return lambda _: {"log": [name]}


def chain(*names: str) -> Any:
    nodes = [(name, says(name)) for name in names]
    return StateGraph(State).add_sequence(nodes).add_edge(START, names[0])


def asking() -> Any:
    """Return a graph of which `q` asks while `a` and `b` finish."""
    graph = StateGraph(State).add_node("q", lambda _: {"log": [interrupt("what?")]})

    def slow(_: State) -> State:
        time.sleep(0.01)
        return {"log": ["a"]}

    graph.add_node("a", slow).add_node("b", says("b"))
    return graph.add_edge(START, "q").add_edge(START, "a").add_edge(START, "b")


def test_12_b1_config_addresses_one_checkpoint(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": []}, thread)
    configs = [shot.config["configurable"] for shot in call.history(app, thread)]
    assert all(c.keys() == {"thread_id", "checkpoint_ns", "checkpoint_id"} for c in configs)
    assert {(c["thread_id"], c["checkpoint_ns"]) for c in configs} == {("t", "")}
    identities = [c["checkpoint_id"] for c in configs]
    assert identities == sorted(set(identities), reverse=True)


def test_12_b1_ids_sort_by_creation_over_forks_too(call, saver, thread):
    app = chain("a", "b").compile(saver)
    call.invoke(app, {"log": []}, thread)
    middle = call.history(app, thread)[1].config
    for _ in range(12):
        call.invoke(app, None, middle)
    identities = [s.config["configurable"]["checkpoint_id"] for s in call.history(app, thread)]
    assert len(identities) == 4 + 24
    assert identities == sorted(set(identities), reverse=True)


def test_1_b5_thread_ids_become_strings(call, saver):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": []}, {"configurable": {"thread_id": 7}})
    assert call.state(app, {"configurable": {"thread_id": "7"}}).values == {"log": ["a"]}


def test_12_b2_metadata_is_source_step_and_parents(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": []}, thread)
    assert call.state(app, thread).metadata == {"source": "loop", "step": 1, "parents": {}}


def test_12_b2_metadata_takes_what_the_runs_config_adds(call, saver, thread):
    app = chain("a").compile(saver)
    config = {
        "configurable": {**thread["configurable"], "user": "ann"},
        "metadata": {"experiment": 7},
    }
    call.invoke(app, {"log": []}, config)
    for shot in call.history(app, thread):
        assert shot.metadata.items() >= {"user": "ann", "experiment": 7}.items()


def nested() -> Any:
    """Return a graph whose node `inner` is a graph that asks after its node `a`."""
    child = chain("a").add_node("q", lambda _: {"log": [interrupt("?")]}).add_edge("a", "q")
    return StateGraph(State).add_node("inner", child.compile()).add_edge(START, "inner")


def test_12_b2_parents_of_a_subgraphs_checkpoint_are_those_of_the_graphs_around_it(
    call, saver, thread
):
    app = nested().compile(saver)
    call.invoke(app, {"log": []}, thread)
    shot = app.get_state(thread, subgraphs=True)
    around = shot.config["configurable"]["checkpoint_id"]
    inner = call.history(app, app.get_state(thread).tasks[0].state)
    assert [it.metadata["parents"] for it in inner] == [{"": around}] * 3


def test_12_b2_parents_name_a_checkpoint_of_every_graph_around(call, saver, thread):
    graph = StateGraph(State).add_node("outer", nested().compile()).add_edge(START, "outer")
    app = graph.compile(saver)
    call.invoke(app, {"log": []}, thread)
    root = app.get_state(thread, subgraphs=True)
    middle = root.tasks[0].state
    inner = middle.tasks[0].state
    around = {shot.config["configurable"]["checkpoint_ns"]: shot.config for shot in (root, middle)}
    assert inner.metadata["parents"] == {
        ns: config["configurable"]["checkpoint_id"] for ns, config in around.items()
    }


def test_12_b1_config_of_a_subgraphs_checkpoint_maps_the_checkpoints_around_it(call, saver, thread):
    app = nested().compile(saver)
    call.invoke(app, {"log": []}, thread)
    shot = app.get_state(thread, subgraphs=True)
    inner = shot.tasks[0].state.config["configurable"]
    assert inner["checkpoint_map"] == {
        "": shot.config["configurable"]["checkpoint_id"],
        inner["checkpoint_ns"]: inner["checkpoint_id"],
    }


def test_12_b3_steps_of_updates_are_one_more_than_the_last(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": []}, thread)
    call.update(app, thread, {"log": ["u"]})
    call.invoke(app, {"log": []}, thread)
    steps = [shot.metadata["step"] for shot in call.history(app, thread)]
    assert steps == [5, 4, 3, 2, 1, 0, -1]


@pytest.mark.simulated
@pytest.mark.parametrize("returned", [None, {}, {"log": ["m"]}], ids=repr)
def test_12_b4_what_a_finished_task_wrote_is_stored_before_its_siblings_end(
    call, saver, thread, returned
):
    ran: list[str] = []

    def m(_: State) -> Any:
        ran.append("m")
        return returned

    graph = StateGraph(State).add_node("m", m).add_edge(START, "m")
    graph.add_node("q", lambda _: {"log": [interrupt("?")]}).add_edge(START, "q")
    app = graph.compile(saver)
    call.invoke(app, {"log": []}, thread)
    tasks = {task.name: task for task in call.state(app, thread).tasks}
    assert tasks["m"].result == (returned or {})
    assert (tasks["q"].result, len(tasks["q"].interrupts)) == (None, 1)
    call.invoke(app, Command(resume="A"), thread)
    assert ran == ["m"]


def test_12_b3_history_is_append_only(call, saver, thread):
    app = chain("a", "b").compile(saver)
    call.invoke(app, {"log": ["1"]}, thread)
    before = call.history(app, thread)
    call.update(app, thread, {"log": ["u"]}, "a")
    call.invoke(app, None, before[2].config)
    call.invoke(app, {"log": ["2"]}, thread)
    assert call.history(app, thread)[-len(before) :] == before


def test_1_b5_threads_know_nothing_of_each_other(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": ["t"]}, thread)
    call.invoke(app, {"log": ["u"]}, {"configurable": {"thread_id": "u"}})
    assert call.state(app, thread).values == {"log": ["t", "a"]}


@pytest.mark.parametrize("fake", ["memory", 1, object(), MemoryCheckpointer], ids=str)
def test_12_b5_what_is_no_checkpointer_is_refused(fake):
    with pytest.raises(TypeError, match="Invalid checkpointer provided"):
        chain("a").compile(fake)


def test_12_b6_graph_checkpointer_is_the_saver(saver):
    assert chain("a").compile(saver).checkpointer is saver


def test_12_b6_saver_lists_checkpoints_newest_first(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": []}, thread)
    listed = list(saver.list(thread))
    shots = call.history(app, thread)
    assert [item.config for item in listed] == [shot.config for shot in shots]
    assert [item.metadata for item in listed] == [shot.metadata for shot in shots]
    assert [item.parent_config for item in listed] == [shot.parent_config for shot in shots]
    assert [item.config for item in saver.list(thread, limit=1)] == [shots[0].config]


def test_12_b6_saver_lists_on_an_event_loop_too(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": []}, thread)

    async def main() -> Any:
        listed = [entry async for entry in saver.alist(thread, limit=2)]
        return listed, await saver.aget_tuple(thread)

    listed, newest = asyncio.run(main())
    assert listed == list(saver.list(thread, limit=2))
    assert newest == listed[0] == saver.get_tuple(thread)


def test_12_b6_deleted_thread_is_gone(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": []}, thread)
    saver.delete_thread("t")
    assert call.state(app, thread).values == {}
    assert call.history(app, thread) == []
    assert saver.get_tuple(thread) is None
    assert call.invoke(app, {"log": []}, thread) == {"log": ["a"]}


def test_13_1_unknown_thread_is_an_empty_snapshot(call, saver, thread):
    app = chain("a").compile(saver)
    assert call.state(app, thread) == StateSnapshot({}, (), thread, None, None, None, (), ())
    assert call.history(app, thread) == []


@pytest.mark.simulated
def test_13_2_live_snapshot_shows_what_finished_tasks_wrote(call, saver, thread):
    app = asking().compile(saver)
    call.invoke(app, {"log": ["i"]}, thread)
    shot = call.state(app, thread)
    assert shot.values == {"log": ["i", "a", "b"]}
    assert shot.next == ("q",)
    assert [question.value for question in shot.interrupts] == ["what?"]
    tasks = {task.name: task for task in shot.tasks}
    assert tasks["a"].result == {"log": ["a"]}
    assert tasks["a"].interrupts == ()
    assert tasks["q"].result is None
    assert tasks["q"].interrupts == shot.interrupts


@pytest.mark.simulated
def test_13_2_live_snapshot_shows_only_the_questions_that_wait_for_an_answer(call, saver, thread):
    graph = asking().add_node("r", lambda _: {"log": [interrupt("who?")]}).add_edge(START, "r")
    app = graph.compile(saver)
    asked = {q.value: q.id for q in call.invoke(app, {"log": []}, thread)["__interrupt__"]}
    call.invoke(app, Command(resume={asked["what?"]: "A"}), thread)
    live = call.state(app, thread)
    tasks = {task.name: (task.result, len(task.interrupts)) for task in live.tasks}
    assert (live.next, [question.value for question in live.interrupts]) == (("r",), ["who?"])
    assert (tasks["q"], tasks["r"]) == (({"log": ["A"]}, 0), (None, 1))
    record = call.state(app, live.config)
    kept = {task.name: (task.result, len(task.interrupts)) for task in record.tasks}
    assert (kept["q"], kept["r"]) == (({"log": ["A"]}, 1), (None, 1))


@pytest.mark.simulated
def test_13_3_record_shows_the_start_of_the_step(call, saver, thread):
    app = asking().compile(saver)
    call.invoke(app, {"log": ["i"]}, thread)
    at = call.state(app, thread).config
    shot = call.state(app, at)
    assert shot.values == {"log": ["i"]}
    assert shot.next == ("q", "a", "b")
    assert {task.name: task.result for task in shot.tasks} == {
        "q": None, "a": {"log": ["a"]}, "b": {"log": ["b"]},
    }  # fmt: skip
    assert [question.value for question in shot.interrupts] == ["what?"]


@pytest.mark.simulated
def test_13_3_record_keeps_results_and_questions_after_the_step(call, saver, thread):
    app = asking().compile(saver)
    call.invoke(app, {"log": ["i"]}, thread)
    at = call.state(app, thread).config
    call.invoke(app, Command(resume="that"), thread)
    shot = call.state(app, at)
    tasks = {task.name: task for task in shot.tasks}
    assert tasks["q"].result == {"log": ["that"]}
    assert [question.value for question in tasks["q"].interrupts] == ["what?"]
    assert shot == call.history(app, thread)[1]


def test_13_3_history_shows_every_task_with_its_result(call, saver, thread):
    app = chain("a", "b").compile(saver)
    call.invoke(app, {"log": ["i"]}, thread)
    results = [
        {task.name: task.result for task in shot.tasks} for shot in call.history(app, thread)
    ]
    assert results == [
        {}, {"b": {"log": ["b"]}}, {"a": {"log": ["a"]}}, {"__start__": {"log": ["i"]}},
    ]  # fmt: skip


def test_13_4_result_of_several_writes_to_one_key(call, saver, thread):
    twice = Command(update=[("log", [1]), ("log", [2])])
    graph = StateGraph(State).add_node("n", lambda _: twice).add_edge(START, "n")
    app = graph.compile(saver)
    call.invoke(app, {"log": []}, thread)
    assert call.history(app, thread)[1].tasks[0].result == {"log": {"$writes": [[1], [2]]}}


def test_13_4_result_of_a_task_that_wrote_nothing(call, saver, thread):
    graph = StateGraph(State).add_node("n", lambda _: None).add_edge(START, "n")
    app = graph.compile(saver)
    call.invoke(app, {"log": []}, thread)
    assert call.history(app, thread)[1].tasks[0].result == {}


def test_13_5_state_of_a_subgraph_task_is_a_config_in_history(call, saver, thread):
    app = nested().compile(saver)
    call.invoke(app, {"log": []}, thread)
    (task,) = call.history(app, thread)[0].tasks
    place = {"thread_id": "t", "checkpoint_ns": f"inner:{task.id}"}
    assert task.state == {"configurable": place}


def test_13_6_history_is_that_of_one_namespace(call, saver, thread):
    app = nested().compile(saver)
    call.invoke(app, {"log": []}, thread)
    outer = call.history(app, thread)
    inner = call.history(app, outer[0].tasks[0].state)
    assert [shot.next for shot in outer] == [("inner",), (START,)]
    assert [shot.next for shot in inner] == [("q",), ("a",), (START,)]


def test_13_7_keys_and_nodes_of_a_routed_config_are_the_childs(call, saver, thread):
    class Inner(TypedDict, total=False):
        mine: Annotated[list[Any], operator.add]

    nodes = [("a", lambda _: {"mine": [1]}), ("q", lambda _: interrupt("?"))]
    child = StateGraph(Inner).add_sequence(nodes).add_edge(START, "a").compile()
    app = StateGraph(State).add_node("inner", child).add_edge(START, "inner").compile(saver)
    call.invoke(app, {"log": []}, thread)
    config = call.state(app, thread).tasks[0].state
    call.update(app, config, {"mine": [2]}, "a")
    assert call.state(app, config).values == {"mine": [1, 2]}
    assert call.state(app, config).next == ("q",)
    assert call.history(app, config)[1].values == {"mine": [1]}


def unmatched(thread: Any) -> Any:
    return {"configurable": {**thread["configurable"], "checkpoint_ns": "nowhere:1"}}


def test_13_7_read_of_a_subgraph_that_is_not_declared_is_empty(call, saver, thread):
    app = nested().compile(saver)
    call.invoke(app, {"log": []}, thread)
    assert call.state(app, unmatched(thread)).values == {}
    assert call.history(app, unmatched(thread)) == []


def test_13_7_update_of_a_subgraph_that_is_not_declared_is_refused(call, saver, thread):
    app = nested().compile(saver)
    call.invoke(app, {"log": []}, thread)
    with pytest.raises(ValueError, match="Subgraph nowhere not found"):
        call.update(app, unmatched(thread), {"log": ["u"]})


def test_13_6_history_has_a_limit(call, saver, thread):
    app = chain("a", "b").compile(saver)
    call.invoke(app, {"log": []}, thread)
    assert call.history(app, thread, limit=2) == call.history(app, thread)[:2]
    assert call.history(app, thread, limit=0) == []


def test_13_6_history_before_a_checkpoint(call, saver, thread):
    app = chain("a", "b").compile(saver)
    call.invoke(app, {"log": []}, thread)
    shots = call.history(app, thread)
    assert call.history(app, thread, before=shots[1].config) == shots[2:]


def test_13_6_history_is_filtered_by_metadata(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": []}, thread)
    call.update(app, thread, {"log": ["u"]})
    sources = [s.metadata["source"] for s in call.history(app, thread, filter={"source": "update"})]
    assert sources == ["update"]


@pytest.mark.parametrize("ask", ["state", "history", "update"])
def test_13_8_without_checkpointer_there_is_no_state(call, thread, ask):
    app = chain("a").compile()
    arguments = ({"log": []},) if ask == "update" else ()
    with pytest.raises(ValueError, match="No checkpointer set"):
        getattr(call, ask)(app, thread, *arguments)


def test_13_9_values_of_a_root_state_are_the_value(call, saver, thread):
    graph = StateGraph(int).add_node("n", lambda value: value + 1).add_edge(START, "n")
    app = graph.compile(saver)
    call.invoke(app, 1, thread)
    assert call.state(app, thread).values == 2
    assert call.history(app, thread)[1].values == 1


@pytest.mark.simulated
def test_13_10_interrupts_of_the_snapshot_join_those_of_its_tasks(call, saver, thread):
    graph = asking().add_node("r", lambda _: interrupt("who?")).add_edge(START, "r")
    app = graph.compile(saver)
    call.invoke(app, {"log": []}, thread)
    shot = call.state(app, thread)
    assert all(type(question) is Interrupt for question in shot.interrupts)
    assert [question.value for question in shot.interrupts] == ["what?", "who?"]
    assert shot.interrupts == tuple(q for task in shot.tasks for q in task.interrupts)


def test_13_0_snapshots_and_tasks_are_named_tuples_that_people_build():
    task = PregelTask("id", "n", ("__pregel_pull", "n"))
    assert task == ("id", "n", ("__pregel_pull", "n"), None, (), None, None)
    assert StateSnapshot._fields == (
        "values", "next", "config", "metadata", "created_at", "parent_config", "tasks",
        "interrupts",
    )  # fmt: skip


def test_13_0_parent_config_is_the_checkpoint_before(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": []}, thread)
    shots = call.history(app, thread)
    assert [shot.parent_config for shot in shots] == [*(s.config for s in shots[1:]), None]
