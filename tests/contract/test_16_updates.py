"""Contract §16: update_state and bulk_update_state."""

import operator
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import (
    END,
    START,
    Command,
    InvalidUpdateError,
    Send,
    StateGraph,
    StateUpdate,
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


def paused(saver: Any) -> Any:
    return chain("a", "b", "c").compile(saver, interrupt_before=["b"])


def test_16_1_update_makes_a_checkpoint_and_returns_its_config(call, saver, thread):
    app = paused(saver)
    call.invoke(app, {"log": []}, thread)
    base = call.state(app, thread)
    config = call.update(app, thread, {"x": 5})
    assert config["configurable"].keys() == {"thread_id", "checkpoint_ns", "checkpoint_id"}
    shot = call.state(app, thread)
    assert shot.config["configurable"] == config["configurable"]
    assert shot.metadata.items() >= {"source": "update", "step": base.metadata["step"] + 1}.items()
    assert shot.parent_config == base.config


def test_16_2_update_acts_as_if_the_node_had_returned_it(call, saver, thread):
    app = paused(saver)
    call.invoke(app, {"log": []}, thread)
    call.update(app, thread, {"log": ["u"]}, "b")
    shot = call.state(app, thread)
    assert (shot.values, shot.next) == ({"log": ["a", "u"]}, ("c",))
    assert call.invoke(app, None, thread) == {"log": ["a", "u", "c"]}


def test_16_2_conditional_edges_are_asked_with_the_update(call, saver, thread):
    def path(state: State) -> str:
        return state["log"][-1]

    graph = chain("a").add_node("b", says("b")).add_node("c", says("c"))
    app = graph.add_conditional_edges("a", path, ["b", "c"]).compile(saver)
    call.update(app, thread, {"log": ["c"]}, "a")
    assert call.state(app, thread).next == ("c",)


def test_16_2_commands_are_values_of_an_update(call, saver, thread):
    graph = chain("a", "b").add_node("z", says("z"))
    app = graph.compile(saver)
    call.update(app, thread, Command(update={"log": ["u"]}, goto="z"), "a")
    shot = call.state(app, thread)
    assert (shot.values, set(shot.next)) == ({"log": ["u"]}, {"b", "z"})


def test_16_2_update_closes_the_open_superstep(call, saver, thread):
    graph = StateGraph(State).add_node("q", lambda _: interrupt("?")).add_node("m", says("m"))
    app = graph.add_edge(START, "q").add_edge(START, "m").compile(saver)
    call.invoke(app, {"log": ["i"]}, thread)
    call.update(app, thread, {"log": ["u"]}, "m")
    shot = call.state(app, thread)
    assert (shot.next, shot.interrupts) == ((), ())
    assert shot.values == {"log": ["i", "u"]}


def test_16_3_without_as_node_it_is_the_node_that_wrote_last(call, saver, thread):
    app = paused(saver)
    call.invoke(app, {"log": []}, thread)
    call.update(app, thread, {"log": ["u"]})
    assert call.state(app, thread).next == ("b",)


def test_16_3_before_the_first_superstep_ended_it_is_the_start(call, saver, thread):
    app = chain("a", "b").compile(saver, interrupt_before=["a"])
    call.invoke(app, {"log": ["i"]}, thread)
    call.update(app, thread, {"log": ["u"]})
    shot = call.state(app, thread)
    assert (shot.values, shot.next) == ({"log": ["i", "u"]}, ("a",))


def test_16_3_several_nodes_that_wrote_last_are_ambiguous(call, saver, thread):
    graph = StateGraph(State).add_node("a", says("a")).add_node("b", says("b"))
    app = graph.add_edge(START, "a").add_edge(START, "b").compile(saver)
    call.invoke(app, {"log": []}, thread)
    with pytest.raises(InvalidUpdateError, match="Ambiguous update, specify as_node"):
        call.update(app, thread, {"log": ["u"]})


def test_16_3_second_update_stands_on_the_first(call, saver, thread):
    app = paused(saver)
    call.invoke(app, {"log": []}, thread)
    call.update(app, thread, {"log": ["u"]}, "b")
    call.update(app, thread, {"log": ["v"]})
    shot = call.state(app, thread)
    assert (shot.values, shot.next) == ({"log": ["a", "u", "v"]}, ("c",))


def test_16_4_unknown_node_is_refused(call, saver, thread):
    with pytest.raises(InvalidUpdateError, match="Node nowhere does not exist"):
        call.update(paused(saver), thread, {"x": 1}, "nowhere")


def test_16_5_update_as_end_clears_what_is_pending(call, saver, thread):
    graph = StateGraph(State).add_node("q", lambda _: interrupt("?")).add_node("m", says("m"))
    app = graph.add_edge(START, "q").add_edge(START, "m").compile(saver)
    call.invoke(app, {"log": []}, thread)
    call.update(app, thread, None, END)
    shot = call.state(app, thread)
    assert (shot.next, shot.interrupts) == ((), ())
    assert shot.values == {"log": ["m"]}


def test_16_5_update_as_input_is_new_input(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": ["1"]}, thread)
    call.update(app, thread, {"log": ["2"]}, "__input__")
    shot = call.state(app, thread)
    assert shot.metadata["source"] == "input"
    assert shot.next == (START,)
    assert call.invoke(app, None, thread) == {"log": ["1", "a", "2", "a"]}


def test_16_5_update_as_start_runs_the_entry_nodes(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": ["1"]}, thread)
    call.update(app, thread, {"log": ["u"]}, START)
    shot = call.state(app, thread)
    assert (shot.values, shot.next) == ({"log": ["1", "a", "u"]}, ("a",))


def test_16_6_update_makes_a_fresh_thread(call, saver, thread):
    app = chain("a").compile(saver)
    call.update(app, thread, {"log": ["u"]})
    shot = call.state(app, thread)
    assert (shot.values, shot.next, shot.metadata["step"]) == ({"log": ["u"]}, ("a",), 0)
    assert shot.parent_config is None
    assert call.invoke(app, None, thread) == {"log": ["u", "a"]}


def test_16_7_update_without_values_leads_on_from_its_node(call, saver, thread):
    app = chain("a", "b", "c").compile(saver)
    call.invoke(app, {"log": []}, thread)
    call.update(app, thread, None, "a")
    shot = call.state(app, thread)
    assert (shot.values, shot.next) == ({"log": ["a", "b", "c"]}, ("b",))


def test_16_7_interrupts_fire_again_after_an_update_without_values(call, saver, thread):
    nodes = [("a", says("a")), ("q", lambda _: {"log": [interrupt("?")]})]
    app = StateGraph(State).add_sequence(nodes).add_edge(START, "a").compile(saver)
    call.invoke(app, {"log": []}, thread)
    call.invoke(app, Command(resume=1), thread)
    call.update(app, thread, None, "a")
    assert "__interrupt__" in call.invoke(app, None, thread)


def test_16_8_each_inner_list_is_one_checkpoint(call, saver, thread):
    app = chain("a", "b").compile(saver)
    call.bulk(
        app,
        thread,
        [
            [StateUpdate({"log": ["i"]}, "__input__")],
            [StateUpdate({"log": ["i"]}, START)],
            [StateUpdate({"log": ["a"]}, "a")],
            [StateUpdate({"log": ["b"]}, "b")],
        ],
    )
    shots = call.history(app, thread)
    assert [shot.next for shot in reversed(shots)] == [(START,), ("a",), ("b",), ()]
    assert [shot.metadata["step"] for shot in reversed(shots)] == [-1, 0, 1, 2]
    assert call.state(app, thread).values == {"log": ["i", "a", "b"]}


def test_16_8_updates_are_recorded_as_results_of_the_tasks(call, saver, thread):
    app = chain("a", "b").compile(saver)
    call.bulk(
        app, thread, [[StateUpdate({"log": ["i"]}, START)], [StateUpdate({"log": ["A"]}, "a")]]
    )
    assert [task.result for task in call.history(app, thread)[1].tasks] == [{"log": ["A"]}]


def test_16_8_several_updates_in_a_superstep(call, saver, thread):
    graph = StateGraph(State).add_node("a", says("a")).add_node("b", says("b"))
    app = graph.add_edge(START, "a").add_edge(START, "b").compile(saver)
    updates = [StateUpdate({"log": ["B"]}, "b"), StateUpdate({"log": ["A"]}, "a")]
    call.bulk(app, thread, [[StateUpdate({"log": []}, START)], updates])
    assert call.state(app, thread).values == {"log": ["A", "B"]}
    tasks = call.history(app, thread)[1].tasks
    assert {task.name: task.result for task in tasks} == {"a": {"log": ["A"]}, "b": {"log": ["B"]}}


def test_16_8_each_of_several_updates_needs_as_node(call, saver, thread):
    with pytest.raises(InvalidUpdateError):
        call.bulk(chain("a").compile(saver), thread, [[StateUpdate({}), StateUpdate({}, "a")]])


def test_16_8_no_supersteps_and_no_updates_are_refused(call, saver, thread):
    app = chain("a").compile(saver)
    with pytest.raises(ValueError, match="No supersteps provided"):
        call.bulk(app, thread, [])
    with pytest.raises(ValueError, match="No updates provided"):
        call.bulk(app, thread, [[]])


def test_16_8_task_id_says_whose_result_an_update_is(call, saver, thread):
    graph = StateGraph(State).add_node("s", lambda arg: {"log": [arg]})
    graph.add_conditional_edges(START, lambda _: [Send("s", i) for i in range(3)], ["s"])
    app = graph.compile(saver, interrupt_before="*")
    call.invoke(app, {"log": []}, thread)
    second = call.state(app, thread).tasks[1].id
    call.bulk(app, thread, [[StateUpdate({"log": ["B"]}, "s", second)]])
    results = [task.result for task in call.history(app, thread)[1].tasks]
    assert results == [None, {"log": ["B"]}, None]


def test_16_8_whole_run_can_be_rebuilt(call, saver, thread):
    graph = chain("a").add_node("b", says("b")).add_node("c", says("c"))
    app = graph.add_edge("a", "b").add_edge("a", "c").compile(saver)
    call.invoke(app, {"log": ["i"]}, thread)
    copy = {"configurable": {"thread_id": "copy"}}
    both = [StateUpdate({"log": ["b"]}, "b"), StateUpdate({"log": ["c"]}, "c")]
    given = {"log": ["i"]}
    call.bulk(
        app,
        copy,
        [
            [StateUpdate(given, "__input__")],
            [StateUpdate(given, START)],
            [StateUpdate({"log": ["a"]}, "a")],
            both,
        ],
    )

    def shown(config: Any) -> list[Any]:
        return [
            (shot.values, shot.next, shot.metadata["step"], [task.result for task in shot.tasks])
            for shot in call.history(app, config)
        ]

    assert shown(copy) == shown(thread)


@pytest.mark.parametrize("special", ["__input__", "__copy__", END])
@pytest.mark.parametrize("first", [True, False])
def test_16_8_special_nodes_stand_alone(call, saver, thread, special, first):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": []}, thread)
    updates = [StateUpdate(None, special), StateUpdate(None, "a")]
    with pytest.raises(InvalidUpdateError):
        call.bulk(app, thread, [updates if first else updates[::-1]])


def test_16_2_update_moves_a_thread_on_whose_next_node_the_graph_lost(call, saver, thread):
    call.invoke(paused(saver), {"log": []}, thread)
    app = chain("a", "c").compile(saver)
    call.update(app, thread, {"log": ["u"]}, "a")
    assert call.invoke(app, None, thread) == {"log": ["a", "u", "c"]}


def test_16_9_updates_may_hold_sends(call, saver, thread):
    graph = chain("a").add_node("s", lambda arg: {"log": [arg]})
    app = graph.compile(saver)
    call.update(app, thread, Command(goto=[Send("s", 1), Send("s", 2)]), "a")
    assert call.state(app, thread).next == ("s", "s")
    assert call.invoke(app, None, thread) == {"log": [1, 2]}
