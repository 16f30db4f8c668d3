"""Compaction beside commits that are still on their way."""

from __future__ import annotations

from typing import Any

from graphflow import MemoryCheckpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.recorder import Recorder
from graphflow.checkpoint.records import Commit, Frame, Source
from graphflow.state.deltas import APPEND, SET

BLOB = "x" * 40_000


def overwrite(seq: int) -> Commit:
    delta: Any = {"blob": [(SET, BLOB)]}
    frame = Frame(seq, Source.LOOP, seq, delta, (), {}, (), (), None, seq - 1)
    return Commit(seq - 1, (frame,))


def test_compaction_stops_at_the_commit_it_was_asked_after() -> None:
    """The next commit is recorded, and not yet stored, by the time it runs."""
    store = MemoryCheckpointer()
    recorder = Recorder(store, Codec(), "t", "", None, frozenset())
    store.run(recorder.record(overwrite(0)))
    branch = store.run(store.branches("t"))[0]
    cuts = []
    under_way = recorder.record(overwrite(1)), recorder.compaction()
    for seq in range(2, 12):
        then = recorder.record(overwrite(seq)), recorder.compaction()
        storing, compaction = under_way
        store.run(storing)
        if compaction is not None:
            store.run(compaction)
            found = store.run(store.snapshot(branch.id, 999))
            cuts += [] if found is None else [(seq - 1, found[0])]
        under_way = then
    assert cuts
    assert all(asked_after == cut for asked_after, cut in cuts)


def test_compaction_is_asked_for_once_while_one_is_under_way() -> None:
    store = MemoryCheckpointer()
    recorder = Recorder(store, Codec(), "t", "", None, frozenset())
    for seq in range(3):
        store.run(recorder.record(overwrite(seq)))
    assert recorder.compaction() is not None
    assert recorder.compaction() is None


def grow(seq: int) -> Commit:
    delta: Any = {"items": [(APPEND, [f"{seq:0500}"])], "n": [(SET, seq)]}
    return Commit(seq - 1, (Frame(seq, Source.LOOP, seq, delta, (), {}, (), (), None, seq - 1),))


def test_what_only_grows_is_never_read_again_to_see_how_large_it_is() -> None:
    store = MemoryCheckpointer()
    recorder = Recorder(store, Codec(), "t", "", None, frozenset())
    for seq in range(500):
        store.run(recorder.record(grow(seq)))
        assert recorder.compaction() is None


def test_what_grew_and_is_replaced_then_is_compacted() -> None:
    store = MemoryCheckpointer()
    recorder = Recorder(store, Codec(), "t", "", None, frozenset())
    for seq in range(500):
        store.run(recorder.record(grow(seq)))
    for seq in range(500, 1100):
        store.run(recorder.record(grow(seq) if seq > 500 else overwritten(seq)))
        compaction = recorder.compaction()
        if compaction is not None:
            store.run(compaction)
    branch = store.run(store.branches("t"))[0]
    found = store.run(store.snapshot(branch.id, 9999))
    assert found is not None
    assert found[0] >= 500


def overwritten(seq: int) -> Commit:
    delta: Any = {"items": [(SET, [])]}
    return Commit(seq - 1, (Frame(seq, Source.LOOP, seq, delta, (), {}, (), (), None, seq - 1),))
