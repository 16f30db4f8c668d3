"""The wire to PostgreSQL is cut at the worst moment: a commit is done once, or told not to be."""

from __future__ import annotations

from typing import Any

import pytest

from graphflow import CheckpointError, HeadMoved
from graphflow.checkpoint.protocol import MAIN, Branch, Operation, StoredFrame
from graphflow.testing.material import answer, stored
from graphflow_checkpointers.postgres import PostgresCheckpointer

COMMIT = "INSERT INTO graphflow_frame"


def line(store: PostgresCheckpointer, *seqs: int, thread: str = "t") -> Branch:
    """Make a thread with one branch that holds these frames."""
    branch = store.run(store.create_branch(thread, "", MAIN, None, -1))
    if seqs:
        store.run(store.append(branch.id, -1, stored(*seqs), drop_rows=False))
    return branch


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("drop_rows", [True, False])
def test_a_commit_whose_answer_is_lost_is_done_once(
    wire: Any, far: PostgresCheckpointer, arrives: bool, drop_rows: bool
) -> None:
    branch = line(far, 0)
    wire.cut(COMMIT, arrives=arrives)
    far.run(far.append(branch.id, 0, stored(1, 2), drop_rows=drop_rows))
    assert wire.cut_at is None
    far.run(far.append(branch.id, 2, stored(3), drop_rows=drop_rows))
    assert far.run(far.frames(branch.id, -1, 9)) == stored(0, 1, 2, 3)


@pytest.mark.parametrize("arrives", [True, False])
def test_a_commit_of_which_nobody_knows_is_told_to_be_one(
    wire: Any, far: PostgresCheckpointer, store: PostgresCheckpointer, arrives: bool
) -> None:
    branch = line(far, 0)
    wire.cut(COMMIT, arrives=arrives, meanwhile=wire.close_door)
    with pytest.raises(CheckpointError, match="cannot be found out whether that is stored"):
        far.run(far.append(branch.id, 0, stored(1), drop_rows=False))
    assert store.run(store.frames(branch.id, 0, 9)) == (stored(1) if arrives else [])


def test_another_frame_is_not_taken_for_the_one_whose_answer_was_lost(
    wire: Any, far: PostgresCheckpointer, store: PostgresCheckpointer
) -> None:
    branch = line(far, 0)
    other = StoredFrame(1, 1.5, b"other")
    commit = store.append(branch.id, 0, [other], drop_rows=False)
    wire.cut(COMMIT, arrives=False, meanwhile=lambda: store.run(commit))
    with pytest.raises(HeadMoved):
        far.run(far.append(branch.id, 0, stored(1), drop_rows=False))
    assert far.run(far.frames(branch.id, 0, 9)) == [other]


def test_reading_goes_on_over_another_connection(wire: Any, far: PostgresCheckpointer) -> None:
    branch = line(far, 0, 1)
    wire.cut("FROM graphflow_frame", arrives=True)
    assert far.run(far.frames(branch.id, -1, 9)) == stored(0, 1)
    assert wire.cut_at is None


def test_a_transaction_whose_end_was_not_heard_of_is_done(
    wire: Any, far: PostgresCheckpointer
) -> None:
    wire.cut("COMMIT\0", arrives=True)
    branch = far.run(far.create_branch("t", "", MAIN, None, -1))
    assert wire.cut_at is None
    assert far.run(far.branches("t")) == [branch]


def test_a_transaction_whose_end_did_not_arrive_is_told_to_be_taken_back(
    wire: Any, far: PostgresCheckpointer
) -> None:
    branch = line(far, 0)
    wire.cut("COMMIT\0", arrives=False)
    with pytest.raises(CheckpointError, match=r"broke during a commit.*not stored"):
        far.run(far.put_rows(branch.id, 0, [answer(0)], []))
    assert far.run(far.rows(branch.id, 0)) == []
    far.run(far.put_rows(branch.id, 0, [answer(0)], []))
    assert far.run(far.rows(branch.id, 0)) == [answer(0)]


def test_a_transaction_that_is_cut_off_in_the_middle_leaves_nothing(
    wire: Any, far: PostgresCheckpointer
) -> None:
    def both() -> Operation[None]:
        yield from far.begin(write=True)
        branch = yield from far.create_branch("t", "", MAIN, None, -1)
        yield from far.append(branch.id, -1, stored(0), drop_rows=False)
        yield from far.end()

    wire.cut(COMMIT, arrives=True)
    with pytest.raises(CheckpointError, match=r"not stored.*connects again"):
        far.run(both())
    assert far.run(far.threads()) == []
    far.run(both())
    assert far.run(far.threads()) == ["t"]
