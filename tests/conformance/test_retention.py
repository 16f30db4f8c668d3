"""What each policy keeps; that what is kept reads as before is in tests/property."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from graphflow import START, Checkpointer, Command, MemoryCheckpointer, StateGraph, interrupt
from graphflow.checkpoint.retention import DAY, Keep, Pruned, prune, prune_all
from graphflow_checkpointers.sqlite import SqliteCheckpointer

THREAD = {"configurable": {"thread_id": "t"}}


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpointer:
    if request.param == "memory":
        return MemoryCheckpointer()
    return SqliteCheckpointer(tmp_path / "threads.db")


def counting(store: Any) -> Any:
    graph = StateGraph(State).add_node("n", lambda state: {"log": [str(len(state["log"]))]})
    return graph.add_edge(START, "n").compile(checkpointer=store)


def steps(app: Any, config: Any = THREAD) -> list[int]:
    return [shot.metadata["step"] for shot in app.get_state_history(config)]


def turns(app: Any, count: int, **config: Any) -> None:
    for _ in range(count):
        app.invoke({"log": []}, {**THREAD, **config})


def test_the_newest_are_kept(store: Checkpointer) -> None:
    app = counting(store)
    turns(app, 3)
    whole = steps(app)
    assert store.prune("t", last=4).checkpoints == len(whole) - 4
    assert steps(app) == whole[:4]
    assert store.prune("t", last=4) == Pruned()
    turns(app, 1)
    assert app.get_state(THREAD).values == {"log": ["0", "1", "2", "3"]}


def test_the_head_is_always_kept(store: Checkpointer) -> None:
    app = counting(store)
    turns(app, 3)
    store.run(prune(store, "t", Keep(age=0.0), now=1e12))
    assert app.get_state(THREAD).values == {"log": ["0", "1", "2"]}
    assert len(steps(app)) == 1


def test_what_is_young_is_kept(store: Checkpointer) -> None:
    app = counting(store)
    turns(app, 2)
    created = [
        frame.created
        for branch in store.run(store.branches("t"))
        for frame in store.run(store.frames(branch.id, -1, branch.head))
    ]
    store.run(prune(store, "t", Keep(age=10.0), now=created[3] + 10.0))
    assert len(steps(app)) == len([moment for moment in created if moment >= created[3]])


def test_what_was_tagged_is_kept_and_what_came_after_it(store: Checkpointer) -> None:
    app = counting(store)
    turns(app, 2)
    turns(app, 1, metadata={"release": "1.0"})
    turns(app, 1, metadata={"release": "1.1"})
    store.prune("t", tagged={"release": "1.0"})
    told = [shot.metadata.get("release") for shot in app.get_state_history(THREAD)]
    assert set(told) == {"1.0", "1.1"}
    assert told.count("1.0") == 3


def test_the_last_time_a_person_was_asked_is_kept(store: Checkpointer) -> None:
    graph = StateGraph(State).add_sequence(
        [("a", lambda _: {"log": ["a"]}), ("ask", lambda _: {"log": [interrupt("?")]})]
    )
    app = graph.add_edge(START, "a").compile(checkpointer=store)
    for answer in ("one", "two"):
        app.invoke({"log": []}, THREAD)
        app.invoke(Command(resume=answer), THREAD)
    store.prune("t", interrupts=1)
    shots = list(app.get_state_history(THREAD))
    assert [shot.next for shot in shots] == [(), ("ask",)]
    assert shots[-1].interrupts[0].value == "?"
    assert app.invoke(None, shots[-1].config)["__interrupt__"][0].value == "?"


def test_a_policy_without_a_wish_is_refused(store: Checkpointer) -> None:
    with pytest.raises(ValueError, match="says nothing to keep"):
        store.prune("t")


def test_a_fork_keeps_what_it_continues(store: Checkpointer) -> None:
    app = counting(store)
    turns(app, 2)
    old = list(app.get_state_history(THREAD))[3]
    app.fork(old.config, name="other")
    store.prune("t", last=2)
    other = {"configurable": {"thread_id": "t", "branch": "other"}}
    assert app.get_state(other).values == old.values
    assert app.get_state(old.config).values == old.values
    store.prune("t", last=1)  # the fork's head stands alone
    assert app.get_state(other).values == old.values
    assert len(steps(app)) == 2


def test_an_update_of_what_is_left_knows_who_wrote_last(store: Checkpointer) -> None:
    app = counting(store)
    turns(app, 2)
    store.prune("t", last=1)
    app.update_state(THREAD, {"log": ["edited"]})  # as the node that ran last
    assert app.get_state(THREAD).next == ()


def test_graphs_inside_go_with_the_supersteps_that_ran_them(store: Checkpointer) -> None:
    inner = StateGraph(State).add_node("in", lambda _: {"log": ["in"]}).add_edge(START, "in")
    graph = StateGraph(State).add_node("once", inner.compile())
    graph.add_node("kept", inner.compile(checkpointer=True)).add_edge(START, "once")
    app = graph.add_edge("once", "kept").compile(checkpointer=store)
    turns(app, 3)
    inside = {"configurable": {"thread_id": "t", "checkpoint_ns": "kept"}}
    kept = list(app.get_state_history(inside))
    assert len(store.run(store.scopes("t"))) == 1 + 3 + 1
    store.prune("t", last=1)
    assert store.run(store.scopes("t")) == ["", "kept"]
    assert app.get_state(inside).values == kept[0].values
    turns(app, 1)
    assert app.get_state(inside).values["log"].count("in") > kept[0].values["log"].count("in")


def test_threads_that_nobody_came_back_to_are_removed(store: Checkpointer) -> None:
    app = counting(store)
    for name in ("old", "new"):
        app.invoke({"log": []}, {"configurable": {"thread_id": name}})
    (branch,) = store.run(store.branches("old"))
    (head,) = store.run(store.frames(branch.id, branch.head - 1, branch.head))
    now = head.created + 2 * DAY
    app.update_state({"configurable": {"thread_id": "new"}}, {"log": ["again"]}, "n")
    (branch,) = store.run(store.branches("new"))
    (newest,) = store.run(store.frames(branch.id, branch.head - 1, branch.head))
    limit = now - newest.created
    done = store.run(prune_all(store, Keep(last=1), now, threads_older_than=limit))
    assert (done.threads, store.run(store.threads())) == (1, ["new"])
    assert len(steps(app, {"configurable": {"thread_id": "new"}})) == 1
