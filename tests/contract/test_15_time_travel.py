"""Contract §15: time travel and forks."""

import operator
import time
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, Command, Send, StateGraph, StateUpdate, interrupt

pytestmark = pytest.mark.simulated


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


def chain(*names: str, ran: list[str] | None = None) -> Any:
    """Return a graph of nodes that log their names, and note in `ran` that they ran."""

    def node(name: str) -> Any:
        def run(_: State) -> State:
            if ran is not None:
                ran.append(name)
            return {"log": [name]}

        return run

    nodes = [(name, node(name)) for name in names]
    return StateGraph(State).add_sequence(nodes).add_edge(START, names[0])


def asking() -> Any:
    nodes = [("a", lambda _: {"log": ["a"]}), ("q", lambda _: {"log": [interrupt("?")]})]
    return StateGraph(State).add_sequence(nodes).add_edge(START, "a")


def before(call: Any, app: Any, thread: Any, node: str) -> Any:
    """Return the oldest checkpoint at which `node` is next."""
    return [shot for shot in call.history(app, thread) if node in shot.next][-1]


def test_15_1_replay_runs_what_came_after_and_nothing_before(call, saver, thread):
    ran: list[str] = []
    app = chain("a", "b", "c", ran=ran).compile(saver)
    call.invoke(app, {"log": []}, thread)
    ran.clear()
    old = before(call, app, thread, "b")
    assert call.invoke(app, None, old.config) == {"log": ["a", "b", "c"]}
    assert ran == ["b", "c"]


def test_15_1_replay_saves_a_fork_and_grows_a_branch_from_it(call, saver, thread):
    app = chain("a", "b").compile(saver)
    call.invoke(app, {"log": []}, thread)
    history = call.history(app, thread)
    old = before(call, app, thread, "b")
    call.invoke(app, None, old.config)
    loop, fork, *kept = call.history(app, thread)
    assert kept == history
    assert (fork.metadata["source"], fork.metadata["step"]) == ("fork", old.metadata["step"] + 1)
    assert (fork.values, fork.next, fork.parent_config) == (old.values, old.next, old.config)
    assert loop.metadata["source"] == "loop"
    assert loop.parent_config == fork.config
    assert call.state(app, thread).config == loop.config


def test_15_2_replay_of_a_final_checkpoint_runs_nothing(call, saver, thread):
    ran: list[str] = []
    app = chain("a", ran=ran).compile(saver)
    call.invoke(app, {"log": ["1"]}, thread)
    final = call.state(app, thread).config
    call.invoke(app, {"log": ["2"]}, thread)
    ran.clear()
    assert call.invoke(app, None, final) == {"log": ["1", "a"]}
    assert ran == []
    newest = call.history(app, thread)[0]
    assert (newest.metadata["source"], newest.next) == ("fork", ())


def test_15_3_replay_asks_again_each_time(call, saver, thread):
    app = asking().compile(saver)
    call.invoke(app, {"log": []}, thread)
    call.invoke(app, Command(resume=1), thread)
    old = before(call, app, thread, "q").config
    for _ in range(2):
        assert "__interrupt__" in call.invoke(app, None, old)


def test_15_3_answer_continues_the_new_branch(call, saver, thread):
    app = asking().compile(saver)
    call.invoke(app, {"log": []}, thread)
    call.invoke(app, Command(resume="old"), thread)
    call.invoke(app, None, before(call, app, thread, "q").config)
    assert call.invoke(app, Command(resume="new"), thread) == {"log": ["a", "new"]}
    assert call.state(app, thread).values == {"log": ["a", "new"]}


def test_15_4_update_of_an_old_checkpoint_forks_with_a_changed_state(call, saver, thread):
    app = chain("a", "b").compile(saver)
    call.invoke(app, {"log": []}, thread)
    old = before(call, app, thread, "b")
    changed = call.update(app, old.config, {"log": ["u"]})
    assert call.invoke(app, None, changed) == {"log": ["a", "u", "b"]}
    sources = [shot.metadata["source"] for shot in call.history(app, thread)]
    assert sources == ["loop", "update", "loop", "loop", "loop", "input"]
    assert call.history(app, thread)[1].parent_config == old.config


def test_15_4_repeated_updates_make_independent_branches(call, saver, thread):
    app = chain("a", "b").compile(saver)
    call.invoke(app, {"log": []}, thread)
    old = before(call, app, thread, "b").config
    configs = [call.update(app, old, {"log": [name]}) for name in "uv"]
    results = [call.invoke(app, None, config) for config in configs]
    assert results == [{"log": ["a", "u", "b"]}, {"log": ["a", "v", "b"]}]


def test_15_4_interrupts_fire_again_after_an_update(call, saver, thread):
    app = asking().compile(saver)
    call.invoke(app, {"log": []}, thread)
    call.invoke(app, Command(resume=1), thread)
    changed = call.update(app, before(call, app, thread, "q").config, {"log": ["u"]})
    assert "__interrupt__" in call.invoke(app, None, changed)
    assert call.invoke(app, Command(resume=2), thread) == {"log": ["a", "u", 2]}


def test_15_5_copy_is_a_sibling_without_answers(call, saver, thread):
    app = asking().compile(saver)
    call.invoke(app, {"log": []}, thread)
    call.invoke(app, Command(resume=1), thread)
    old = before(call, app, thread, "q")
    config = call.update(app, old.config, None, "__copy__")
    copy = call.state(app, config)
    assert copy.metadata["source"] == "fork"
    assert (copy.values, copy.next) == (old.values, old.next)
    assert copy.parent_config == old.parent_config
    assert copy.config != old.config
    assert "__interrupt__" in call.invoke(app, None, config)


def test_15_6_copy_takes_updates_as_results_of_its_tasks(call, saver, thread):
    graph = StateGraph(State).add_node("m", lambda _: {"log": ["m"]})
    graph.add_node("n", lambda _: {"log": ["n"]}).add_node("z", lambda _: {"log": ["z"]})
    graph.add_edge(START, "m").add_edge(START, "n").add_edge("n", "z")
    app = graph.compile(saver)
    call.invoke(app, {"log": []}, thread)
    old = before(call, app, thread, "n")
    updates = [StateUpdate({"log": ["M"]}, "m"), StateUpdate({"log": ["N"]}, "n")]
    config = call.update(app, old.config, updates, "__copy__")
    done, copy = call.history(app, thread)[:2]
    assert done.config["configurable"] == config["configurable"]
    assert (done.values, done.next) == ({"log": ["M", "N"]}, ("z",))
    assert {task.name: task.result for task in copy.tasks} == {
        "m": {"log": ["M"]}, "n": {"log": ["N"]},
    }  # fmt: skip
    assert call.invoke(app, None, thread) == {"log": ["M", "N", "z"]}


def test_15_7_replay_runs_finished_siblings_again(call, saver, thread):
    ran = []

    def m(_: State) -> State:
        ran.append("m")
        return {"log": ["m"]}

    graph = StateGraph(State).add_node("m", m).add_edge(START, "m")
    graph.add_node("q", lambda _: {"log": [interrupt("?")]}).add_edge(START, "q")
    app = graph.compile(saver)
    call.invoke(app, {"log": []}, thread)
    call.invoke(app, Command(resume=1), thread)
    call.invoke(app, None, before(call, app, thread, "q").config)
    assert ran == ["m", "m"]


def test_15_7_fork_does_not_apply_pending_writes(call, saver, thread):
    graph = StateGraph(State).add_node("m", lambda _: {"log": ["m"]}).add_edge(START, "m")
    graph.add_node("q", lambda _: {"log": [interrupt("?")]}).add_edge(START, "q")
    app = graph.compile(saver)
    call.invoke(app, {"log": ["i"]}, thread)
    old = before(call, app, thread, "q").config
    call.invoke(app, Command(resume=1), thread)
    config = call.update(app, old, {"log": ["u"]}, "m")
    assert call.state(app, config).values == {"log": ["i", "u"]}


def test_15_8_input_at_an_old_checkpoint_starts_from_its_state(call, saver, thread):
    app = chain("a", "b").compile(saver)
    call.invoke(app, {"log": ["1"]}, thread)
    old = before(call, app, thread, "b")
    assert call.invoke(app, {"log": ["2"]}, old.config) == {"log": ["1", "a", "2", "a", "b"]}
    newest = call.history(app, thread)[:4]
    assert [shot.metadata["source"] for shot in newest] == ["loop", "loop", "loop", "input"]
    assert newest[3].parent_config == old.config


def test_15_6_copy_gives_updates_of_one_name_to_its_tasks_in_order(call, saver, thread):
    graph = StateGraph(State).add_node("s", lambda arg: {"log": [arg]})
    graph.add_conditional_edges(START, lambda _: [Send("s", i) for i in range(3)], ["s"])
    app = graph.compile(saver)
    call.invoke(app, {"log": []}, thread)
    old = before(call, app, thread, "s")
    updates = [StateUpdate({"log": [name]}, "s") for name in "pqr"]
    call.update(app, old.config, updates, "__copy__")
    done, copy = call.history(app, thread)[:2]
    assert done.values == {"log": ["p", "q", "r"]}
    assert [task.result for task in copy.tasks] == [{"log": ["p"]}, {"log": ["q"]}, {"log": ["r"]}]


def test_15_1_replay_of_an_input_checkpoint_takes_the_input_again(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": ["i"]}, thread)
    oldest = call.history(app, thread)[-1]
    assert oldest.next == (START,)
    assert call.invoke(app, None, oldest.config) == {"log": ["i", "a"]}
    assert call.state(app, thread).values == {"log": ["i", "a"]}


def test_15_5_copy_of_the_first_checkpoint(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": ["i"]}, thread)
    oldest = call.history(app, thread)[-1]
    config = call.update(app, oldest.config, None, "__copy__")
    assert call.state(app, config).parent_config is None
    assert call.invoke(app, None, config) == {"log": ["i", "a"]}


def test_15_7_replay_of_a_paused_head_keeps_what_siblings_finished(call, saver, thread):
    graph = StateGraph(State).add_node("m", lambda _: {"log": ["m"]}).add_edge(START, "m")
    graph.add_node("q", lambda _: {"log": [interrupt("?")]}).add_edge(START, "q")
    app = graph.compile(saver)
    call.invoke(app, {"log": []}, thread)
    head = call.state(app, thread).config
    assert call.invoke(app, Command(resume=1), head) == {"log": ["m", 1]}


def test_15_1_old_branches_stay_readable(call, saver, thread):
    app = chain("a", "b").compile(saver)
    call.invoke(app, {"log": []}, thread)
    end = call.state(app, thread)
    changed = call.update(app, before(call, app, thread, "b").config, {"log": ["u"]})
    call.invoke(app, None, changed)
    assert call.state(app, end.config).values == {"log": ["a", "b"]}


def test_15_4_fork_of_a_fork(call, saver, thread):
    app = chain("a", "b", "c").compile(saver)
    call.invoke(app, {"log": []}, thread)
    first = call.update(app, before(call, app, thread, "b").config, {"log": ["u"]})
    call.invoke(app, None, first)
    at_c = next(shot for shot in call.history(app, thread) if shot.next == ("c",))
    second = call.update(app, at_c.config, {"log": ["v"]})
    assert call.invoke(app, None, second) == {"log": ["a", "u", "b", "v", "c"]}


def test_12_b1_created_at_does_not_decide_what_is_newest(call, saver, thread, monkeypatch):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": ["1"]}, thread)
    monkeypatch.setattr(time, "time", lambda: 5.0)
    call.invoke(app, {"log": ["2"]}, thread)
    assert call.state(app, thread).values["log"] == ["1", "a", "2", "a"]
