"""The recorder: one run's commits as frames and rows in a store."""

from __future__ import annotations

from typing import Any

import pytest

from graphflow import HeadMoved, MemoryCheckpointer, NotStorable
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.history import Checkpoint, load
from graphflow.checkpoint.recorder import Recorder
from graphflow.checkpoint.records import Commit, Frame, Pending, Row, RowKind, Settled, Source
from graphflow.state.deltas import APPEND, SET, Delta

CODEC = Codec()


def frame(seq: int, delta: Delta, **more: Any) -> Frame:
    return Frame(seq, Source.LOOP, seq, delta, (), {}, (), (), None, seq - 1)._replace(**more)


def commit(seq: int, delta: Delta, **more: Any) -> Commit:
    return Commit(seq - 1, (frame(seq, delta, **more),))


class Thread:
    """A thread, the recorder of a run on it, and its store."""

    def __init__(self, *compared: str) -> None:
        self.store = MemoryCheckpointer()
        self.compared = frozenset(compared)
        self.recorder = Recorder(self.store, CODEC, "t", "", None, self.compared)

    def record(self, *commits: Commit) -> None:
        for one in commits:
            self.store.run(self.recorder.record(one))
            if (compaction := self.recorder.compaction()) is not None:
                self.store.run(compaction)

    def loaded(self, seq: int | None = None) -> Checkpoint:
        at = None if seq is None else (seq, 0)
        found = self.store.run(load(self.store, CODEC, "t", at=at))
        assert found is not None
        return found

    def reopened(self) -> Recorder:
        return Recorder(self.store, CODEC, "t", "", self.loaded(), self.compared)


def test_the_first_commit_makes_the_thread() -> None:
    thread = Thread()
    operation = thread.recorder.record(commit(0, {"a": [(SET, 1)]}))
    assert thread.store.run(thread.store.threads()) == []
    thread.store.run(operation)
    assert thread.loaded().values == {"a": 1}


def test_frames_and_rows_of_one_commit_belong_together() -> None:
    thread = Thread()
    row = Row(0, RowKind.RESULT, 0, ((("a", 1),), ()))
    thread.record(commit(0, {}, pending=(Pending("n"),))._replace(rows=(row,)))
    assert thread.loaded().rows == (row,)


@pytest.mark.parametrize("compared", [(), ("bad",)])
def test_a_value_that_cannot_be_stored_is_named_and_nothing_is_stored(compared: Any) -> None:
    thread = Thread(*compared)
    thread.record(commit(0, {"good": [(SET, 1)]}))
    bad = [1] * 3 + [{"x": object()}] + [1] * 20
    with pytest.raises(NotStorable, match=r"state\['bad'\]\[3\]\['x'\]"):
        thread.record(commit(1, {"good": [(SET, 2)], "bad": [(SET, bad)]}))
    assert thread.loaded().values == {"good": 1}


def test_an_argument_of_a_send_that_cannot_be_stored_is_named() -> None:
    thread = Thread()
    with pytest.raises(NotStorable, match=r"Send\(worker\)"):
        thread.record(commit(0, {}, pending=(Pending("worker", True, {"x": object()}),)))


def test_a_run_that_lost_the_race_stores_nothing() -> None:
    thread = Thread()
    thread.record(commit(0, {"a": [(SET, 0)]}))
    loser = thread.reopened()
    thread.record(commit(1, {"a": [(SET, "winner")]}))
    with pytest.raises(HeadMoved):
        thread.store.run(loser.record(commit(1, {"a": [(SET, "loser")]})))
    assert thread.loaded().values == {"a": "winner"}


def test_gathered_commits_become_one_frame_with_the_same_state() -> None:
    apart, together = Thread(), Thread()
    deltas: list[Delta] = [
        {"log": [(APPEND, [1])], "a": [(SET, 1)]},
        {"log": [(APPEND, [2])]},
        {"log": [(SET, [9])], "a": [(SET, 3)]},
        {"log": [(APPEND, [4])]},
    ]
    for seq, delta in enumerate(deltas):
        apart.record(commit(seq, delta))
        together.recorder.gather(commit(seq, delta))
    flushed = together.recorder.flush()
    assert flushed is not None
    together.store.run(flushed)
    assert together.loaded().values == apart.loaded().values == {"log": [9, 4], "a": 3}
    assert (together.loaded().frame.seq, together.loaded().frame.parent) == (3, -1)
    assert together.recorder.flush() is None


def test_gathered_rows_of_closed_supersteps_are_not_stored() -> None:
    thread = Thread()
    thread.recorder.gather(commit(0, {}))
    for seq in (0, 1):
        thread.recorder.gather(Commit(seq, rows=(Row(0, RowKind.RESULT, 0, ((), ())),)))
        thread.recorder.gather(commit(seq + 1, {}))
    last = Row(1, RowKind.ERROR, 0, "boom")
    thread.recorder.gather(Commit(2, rows=(last,)))
    flushed = thread.recorder.flush()
    assert flushed is not None
    thread.store.run(flushed)
    assert thread.loaded().rows == (last,)


def overwriting(thread: Thread, steps: int) -> None:
    for seq in range(steps):
        thread.record(commit(seq, {"text": [(SET, f"{seq} " * 500)]}))


def test_a_long_chain_of_overwrites_is_cut_by_snapshots() -> None:
    thread = Thread()
    overwriting(thread, 300)
    assert thread.loaded().values == {"text": "299 " * 500}
    assert thread.loaded().chain_cost < 120_000


def test_snapshots_change_no_state_of_the_past() -> None:
    thread = Thread()
    overwriting(thread, 100)
    for seq in range(100):
        assert thread.loaded(seq).values == {"text": f"{seq} " * 500}


def test_a_state_that_only_grows_needs_no_snapshots() -> None:
    thread = Thread()
    for seq in range(300):
        thread.record(commit(seq, {"log": [(APPEND, ["x" * 1000])]}))
    branch = thread.loaded().branch.id
    assert thread.store.run(thread.store.snapshot(branch, 999)) is None


def test_a_recorder_of_a_later_run_compares_with_what_is_stored() -> None:
    thread = Thread("table")
    table = {str(n): n for n in range(50)}
    thread.record(commit(0, {"table": [(SET, table)]}))
    later = thread.reopened()
    stored = later.record(commit(1, {"table": [(SET, {**table, "7": "new"})]}))
    thread.store.run(stored)
    assert thread.loaded().values["table"] == {**table, "7": "new"}
    frames = thread.store.run(thread.store.frames(thread.loaded().branch.id, 0, 1))
    assert len(frames[0].body) < 40


def test_metadata_is_as_in_the_frame_before_until_it_changes() -> None:
    thread = Thread()
    told: list[dict[str, Any] | None] = [{"author": "ana"}, None, {}, None]
    for seq, metadata in enumerate(told):
        thread.record(commit(seq, {}, metadata=metadata))
    found = [thread.loaded(seq).metadata for seq in range(4)]
    assert found == [{"author": "ana"}, {"author": "ana"}, {}, {}]


def test_settled_tasks_are_kept_in_the_frame() -> None:
    thread = Thread()
    settled = (Settled(0, "n", (("a", 1),)),)
    thread.record(commit(0, {}, pending=(Pending("n"),)), commit(1, {}, settled=settled))
    assert thread.loaded().frame.settled == settled
