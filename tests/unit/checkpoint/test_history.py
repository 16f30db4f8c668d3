"""Reading threads back: heads, places, branches, snapshots."""

from __future__ import annotations

from typing import Any

import pytest

from graphflow import MemoryCheckpointer, UnknownCheckpointError
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.frames import pack_frame, pack_snapshot
from graphflow.checkpoint.history import (
    Checkpoint,
    compact,
    lineage,
    load,
    parent_of,
    path_to,
    read_thread,
)
from graphflow.checkpoint.protocol import Branch
from graphflow.checkpoint.records import Frame, Pending, Settled, Source
from graphflow.state.deltas import APPEND, Delta

CODEC = Codec()


class Thread:
    """A thread written by hand, frame by frame."""

    def __init__(self) -> None:
        self.store = MemoryCheckpointer()
        self.heads: dict[str, int] = {}
        self.ids: dict[str, int] = {}

    def branch(self, name: str, parent: str | None = None, seq: int = -1) -> None:
        base = None if parent is None else self.ids[parent]
        made = self.store.run(self.store.create_branch("t", "", name, base, seq))
        self.ids[name], self.heads[name] = made.id, seq

    def frame(self, branch: str, seq: int, **more: object) -> None:
        delta: Delta = {"log": [(APPEND, [f"{branch}@{seq}"])]}
        parent = self.heads[branch]
        frame = Frame(seq, Source.LOOP, seq, delta, (), {}, (), (), None, parent)._replace(**more)  # type: ignore[arg-type]  # fields by name
        stored = [pack_frame(CODEC, frame)]
        self.store.run(self.store.append(self.ids[branch], parent, stored, drop_rows=False))
        self.heads[branch] = seq

    def load(self, at: tuple[int, int] | None = None, branch: str | None = None) -> Checkpoint:
        found = self.store.run(load(self.store, CODEC, "t", at=at, branch=branch))
        assert found is not None
        return found


@pytest.fixture
def thread() -> Thread:
    """Branch `main` has 0 1 2 3; then `fork` from 1 with 4, then `twig` from fork's 4 with 5."""
    thread = Thread()
    thread.branch("main")
    for seq in range(4):
        thread.frame("main", seq)
    thread.branch("fork", "main", 1)
    thread.frame("fork", 4)
    thread.branch("twig", "fork", 4)
    thread.frame("twig", 5)
    return thread


def test_a_thread_without_frames_is_none() -> None:
    thread = Thread()
    assert thread.store.run(load(thread.store, CODEC, "t")) is None
    thread.branch("main")
    assert thread.store.run(load(thread.store, CODEC, "t")) is None


@pytest.mark.parametrize(
    ("branch", "log"),
    [
        ("main", ["main@0", "main@1", "main@2", "main@3"]),
        ("fork", ["main@0", "main@1", "fork@4"]),
        ("twig", ["main@0", "main@1", "fork@4", "twig@5"]),
        (None, ["main@0", "main@1", "fork@4", "twig@5"]),
    ],
)
def test_a_branch_has_its_own_frames_and_its_parents_past(
    thread: Thread, branch: str | None, log: list[str]
) -> None:
    assert thread.load(branch=branch).values == {"log": log}


def test_without_a_name_the_branch_that_grew_last_is_meant(thread: Thread) -> None:
    thread.frame("main", 6)
    assert thread.load().branch.name == "main"


def test_the_next_number_is_above_those_of_all_branches(thread: Thread) -> None:
    assert thread.load(branch="main").newest_seq == 5


def test_the_past_of_a_fork_is_its_parents(thread: Thread) -> None:
    assert thread.load(at=(1, 2)).values == thread.load(at=(1, 0)).values


@pytest.mark.parametrize("at", [(2, 1), (99, 0), (3, 2), (0, 7)])
def test_a_place_that_is_not_on_the_branch_is_unknown(thread: Thread, at: tuple[int, int]) -> None:
    with pytest.raises(UnknownCheckpointError):
        thread.load(at=at)


def test_a_branch_that_does_not_exist_is_told_with_those_that_do(thread: Thread) -> None:
    with pytest.raises(UnknownCheckpointError, match="main, fork, twig"):
        thread.load(branch="nope")


def test_the_frame_before_a_forks_first_lies_on_its_parent(thread: Thread) -> None:
    assert thread.load(branch="fork").parent_branch.name == "main"
    assert thread.load(branch="main").parent_branch.name == "main"


def test_a_fork_that_has_nothing_yet_stands_where_it_left(thread: Thread) -> None:
    thread.branch("new", "main", 2)
    found = thread.load(branch="new")
    assert (found.frame.seq, found.values["log"][-1]) == (2, "main@2")


@pytest.mark.parametrize("branch", ["main", "fork", "twig"])
def test_reading_is_the_same_with_a_snapshot_anywhere(thread: Thread, branch: str) -> None:
    before = thread.load(branch=branch)
    for place in ((0, 0), (1, 0), (3, 0), (4, 1), (5, 2)):
        base = thread.load(at=place)
        put = thread.store.put_snapshot(base.branch.id, place[0], snapshot_of(base))
        thread.store.run(put)
        assert thread.load(branch=branch).values == before.values


def snapshot_of(checkpoint: Checkpoint) -> bytes:
    return CODEC.encode([checkpoint.values, checkpoint.metadata])


def test_a_frame_behind_a_snapshot_still_knows_the_tasks_before_it() -> None:
    thread = Thread()
    thread.branch("main")
    thread.frame("main", 0, pending=(Pending("n"),))
    thread.frame("main", 1, settled=(Settled(0, "n", ()),))
    base = thread.load(at=(0, 0))
    thread.store.run(thread.store.put_snapshot(base.branch.id, 0, snapshot_of(base)))
    assert thread.load().frame.settled == (Settled(0, "n", ()),)


def test_a_short_chain_gets_no_snapshot(thread: Thread) -> None:
    live = thread.store.run(compact(thread.store, CODEC, "t", "", 0, 3))
    assert live == len(snapshot_of(thread.load(branch="main")))
    assert thread.store.run(thread.store.snapshot(thread.ids["main"], 9)) is None


def test_all_of_a_thread_is_read_at_once(thread: Thread) -> None:
    branches, frames, rows = thread.store.run(read_thread(thread.store, CODEC, "t"))
    numbers = {b.name: [frame.seq for frame in frames[b.id]] for b in branches}
    assert numbers == {"main": [0, 1, 2, 3], "fork": [4], "twig": [5]}
    path, _ = path_to(branches, frames, rows, None)
    assert [frame.seq for frame in path] == [0, 1, 4, 5]
    assert path_to([], {}, {}, None) == ([], ())


def test_lines_of_descent() -> None:
    main = Branch(1, 0, "main", None, -1, 9)
    fork = Branch(2, 1, "fork", 1, 5, 12)
    twig = Branch(3, 2, "twig", 2, 3, 14)
    family = [main, fork, twig]
    assert lineage(family, twig, 14) == [(twig, 14), (fork, 3), (main, 3)]
    first = Frame(14, Source.LOOP, 0, {}, (), {}, (), (), None, 3)
    assert parent_of(family, twig, first) is main
    assert parent_of(family, fork, first._replace(parent=10)) is fork


def test_a_checkpoint_with_a_snapshot_has_its_whole_frame(thread: Thread) -> None:
    """Who ran is asked of it by an update without `as_node`, and what changed by a copy."""
    tasks: Any = {"pending": (Pending("a"),), "settled": ()}
    thread.frame("main", 6, **tasks)
    thread.frame("main", 7, settled=(Settled(0, "a", (("log", ["x"]),)),))
    without = thread.load(branch="main")
    body = pack_snapshot(CODEC, without.values, without.metadata)
    thread.store.run(thread.store.put_snapshot(thread.ids["main"], 7, body))
    found = thread.load(branch="main")
    assert found.frame == without.frame
    assert found.frame.settled[0].name == "a"
    assert found.frame.delta
