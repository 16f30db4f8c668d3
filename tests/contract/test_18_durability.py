"""Contract §18: when checkpoints are saved. See test_09_task_modes.py for their events (b2)."""

import operator
import threading
import time
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, Command, StateGraph, interrupt
from graphflow_checkpointers.sqlite import SqliteCheckpointer

DURABILITIES = ["sync", "async", "exit"]


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def chain(*nodes: Any, **options: Any) -> Any:
    """Return a compiled graph of `(name, node)` in a row."""
    graph = StateGraph(State).add_sequence(list(nodes)).add_edge(START, nodes[0][0])
    return graph.compile(**options)


def logs(name: str) -> Any:
    return name, lambda _: {"log": [name]}


@pytest.mark.parametrize(("durability", "count"), [("sync", 4), ("async", 4), ("exit", 1)])
def test_18_b1_number_of_checkpoints_of_a_run(call, saver, thread, durability, count):
    app = chain(logs("a"), logs("b"), checkpointer=saver)
    call.invoke(app, {"log": []}, thread, durability=durability)
    assert len(call.history(app, thread)) == count


def test_18_b1_sync_saves_a_checkpoint_before_the_next_superstep_starts(call, saver, thread):
    saved: list[list[int]] = []

    def look(_: State) -> None:
        saved.append([entry.metadata["step"] for entry in saver.list(thread)])

    app = chain(("a", look), ("b", look), checkpointer=saver)
    call.invoke(app, {"log": []}, thread, durability="sync")
    assert saved == [[0, -1], [1, 0, -1]]


class Gated(SqliteCheckpointer):
    """A checkpointer that saves nothing before its gate is open."""

    gate: threading.Event

    def append(self, *args: Any, **options: Any) -> Any:
        assert self.gate.wait(5)
        return (yield from super().append(*args, **options))


@pytest.mark.parametrize("durability", [None, "async"])
def test_18_b1_async_saves_while_the_next_superstep_runs(tmp_path, thread, durability):
    with Gated(tmp_path / "threads.db") as saver:
        saver.gate = threading.Event()
        app = chain(("a", lambda _: saver.gate.set()), logs("b"), checkpointer=saver)
        app.invoke({"log": []}, thread, durability=durability)
        assert [shot.metadata["step"] for shot in app.get_state_history(thread)] == [2, 1, 0, -1]


def test_18_b1_exit_saves_nothing_before_the_end(call, saver, thread):
    saved: list[Any] = []
    look = ("look", lambda _: saved.extend(saver.list(thread)))
    app = chain(logs("a"), look, checkpointer=saver)
    call.invoke(app, {"log": []}, thread, durability="exit")
    assert saved == []


def test_18_b1_exit_has_one_checkpoint_a_run_whose_parent_is_that_of_the_run_before(
    call, saver, thread
):
    app = chain(logs("a"), logs("b"), checkpointer=saver)
    for _ in range(2):
        call.invoke(app, {"log": []}, thread, durability="exit")
    newest, oldest = call.history(app, thread)
    assert (newest.parent_config, oldest.parent_config) == (oldest.config, None)
    assert (newest.values["log"], oldest.values["log"]) == (["a", "b"] * 2, ["a", "b"])


def test_18_b1_results_and_streams_are_equal(call, saver):
    app = chain(logs("a"), logs("b"), checkpointer=saver)
    seen = []
    for durability in DURABILITIES:
        config = {"configurable": {"thread_id": durability}}
        modes = {"stream_mode": ["values", "updates"], "durability": durability}
        seen.append(call.stream(app, {"log": ["i"]}, config, **modes))
        seen.append(call.stream(app, {"log": ["j"]}, config, **modes))
    assert seen[:2] == seen[2:4] == seen[4:]


def asking(saver: Any, ran: list[str]) -> Any:
    """Return a graph of which `q` asks while `m` finishes, after `a`."""

    def m(_: State) -> State:
        ran.append("m")
        return {"log": ["m"]}

    graph = StateGraph(State).add_node(*logs("a")).add_node(m)
    graph.add_node("q", lambda _: {"log": [interrupt("?")]})
    return graph.add_edge(START, "a").add_edge("a", "m").add_edge("a", "q").compile(saver)


@pytest.mark.parametrize("durability", DURABILITIES)
def test_18_b1_questions_and_pending_writes_are_saved_and_resumed_alike(
    call, saver, thread, durability
):
    ran: list[str] = []
    app = asking(saver, ran)
    asked = call.invoke(app, {"log": []}, thread, durability=durability)
    shot = call.state(app, thread)
    assert shot.interrupts == tuple(asked["__interrupt__"])
    assert (shot.next, shot.values) == (("q",), {"log": ["a", "m"]})
    result = call.invoke(app, Command(resume="A"), thread, durability=durability)
    assert result == {"log": ["a", "m", "A"]}
    assert ran == ["m"]


@pytest.mark.parametrize("durability", DURABILITIES)
def test_18_b1_failed_run_is_saved_and_goes_on(call, saver, thread, durability):
    errors = [ValueError("boom")]

    def b(_: State) -> State:
        if errors:
            raise errors.pop()
        return {"log": ["b"]}

    app = chain(logs("a"), ("b", b), checkpointer=saver)
    with pytest.raises(ValueError, match="boom"):
        call.invoke(app, {"log": []}, thread, durability=durability)
    shot = call.state(app, thread)
    assert (shot.values, shot.next) == ({"log": ["a"]}, ("b",))
    assert shot.tasks[0].error == "ValueError('boom')"
    assert call.invoke(app, None, thread, durability=durability) == {"log": ["a", "b"]}


@pytest.mark.parametrize(("durability", "count"), [("sync", 3), ("async", 3), ("exit", 1)])
def test_18_b1_paused_run_is_saved(call, saver, thread, durability, count):
    app = chain(logs("a"), logs("b"), checkpointer=saver, interrupt_before=["b"])
    call.invoke(app, {"log": []}, thread, durability=durability)
    history = call.history(app, thread)
    assert (history[0].next, len(history)) == (("b",), count)


class Slow(SqliteCheckpointer):
    """A checkpointer that takes its time, and tells when a frame is stored."""

    stored: list[int]

    def append(self, branch: Any, head: int, frames: Any, **options: Any) -> Any:
        time.sleep(0.02)
        yield from super().append(branch, head, frames, **options)
        self.stored += [frame.seq for frame in frames]


@pytest.mark.parametrize("is_wide", [False, True])
def test_18_b1_async_lets_no_node_with_effects_begin_before_all_is_stored(
    call, tmp_path, thread, is_wide
):
    with Slow(tmp_path / "threads.db") as saver:
        saver.stored = []
        seen: list[list[int]] = []

        def pay(_: State) -> None:
            seen.append(list(saver.stored))

        graph = StateGraph(State).add_node("a", lambda _: None).add_node("b", lambda _: None)
        graph.add_node("pay", pay, effects=True).add_edge(START, "a")
        graph.add_edge("a", "pay").add_edge("pay", "b")
        if is_wide:
            graph.add_edge("a", "b")
        call.invoke(graph.compile(checkpointer=saver), {"log": []}, thread, durability="async")
    assert seen == [[0, 1, 2]]
