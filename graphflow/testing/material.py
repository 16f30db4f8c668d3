"""What the conformance suite writes: frames, rows, and a thread as runs write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.frames import pack_snapshot
from graphflow.checkpoint.history import Checkpoint, load
from graphflow.checkpoint.protocol import MAIN, Lease, Operation, StoredFrame, StoredRow
from graphflow.checkpoint.recorder import Recorder
from graphflow.checkpoint.records import NOTHING, Commit, Frame, RowKind, Source
from graphflow.state.deltas import Delta

Do = Callable[[Operation[Any]], Any]
"""Carries out an operation."""
BODY = bytes(range(256))
AWKWARD = (
    "", " ", "ünï-日本-🙂", "a\0b", "a\0c", "n" * 4096, "'; DROP TABLE graphflow_frame; --", '"x"',
    "%", "_", "\\", "../../etc/passwd", "$1", "?1", ":name", "{0}", "NULL", "0", "\r\n\t",
)  # fmt: skip
"""Names that a careless store would mix up, cut off or obey."""


def stored(*seqs: int) -> list[StoredFrame]:
    """Return frames of these numbers."""
    return [StoredFrame(seq, 1.5, BODY + b"%d" % seq) for seq in seqs]


def result(place: int, body: bytes = b"result", number: int = 0) -> StoredRow:
    """Return a finished task's row."""
    return StoredRow(place, RowKind.RESULT, number, body)


def answer(number: int, body: bytes = b"answer") -> StoredRow:
    """Return the row that answers a question of task 0."""
    return StoredRow(0, RowKind.ANSWER, number, body)


def lease(number: int, thread: str = "t", branch: str = MAIN) -> Lease:
    """Return a lease; its owner is on a machine that nobody can ask."""
    return Lease(thread, branch, number, f"elsewhere/1//{number:x}")


def take_over(store: Checkpointer, thread: str = "t", branch: str = MAIN) -> None:
    """Let somebody have the branch of whoever runs on it, and give it back: as if he had slept."""
    thief = lease(1, thread, branch)
    holder = store.run(store.claim(thief, 30.0))
    if holder is not None:
        store.run(store.claim(thief, 30.0, over=holder.owner))
    store.run(store.release(thief))


class Lineage:
    """One thread; frames are added to the branch that it stands on.

    Args:
        store: Where the thread is, as `t`.
        do: Carries out its operations.
    """

    def __init__(self, store: Checkpointer, do: Do) -> None:
        self.store = store
        self.do = do
        self.codec = Codec()
        self.recorder = Recorder(store, self.codec, "t", "", None, frozenset())
        self.seq = -1

    def commit(self, delta: Delta) -> None:
        """Commit one frame."""
        parent, self.seq = self.seq, self.seq + 1
        frame = Frame(
            self.seq, Source.LOOP, self.seq, delta, (), NOTHING, (), (), None, parent
        )  # fmt: skip
        self.do(self.recorder.record(Commit(parent, (frame,))))

    def at(self, seq: int) -> Checkpoint:
        """Return the checkpoint of a number on the present branch."""
        branch = self.recorder.branch
        assert branch is not None
        place = (seq, branch.ordinal)
        found: Checkpoint = self.do(load(self.store, self.codec, "t", at=place))
        return found

    def snapshot(self) -> None:
        """Keep a snapshot of the present state."""
        now = self.at(self.seq)
        body = pack_snapshot(self.codec, now.values, now.metadata)
        self.do(self.store.put_snapshot(now.branch.id, self.seq, body))

    def fork(self, name: str) -> None:
        """Go on on a new branch."""
        base = self.at(self.seq)
        made = self.do(self.store.create_branch("t", "", name, base.branch.id, self.seq))
        base = base._replace(branch=made)
        self.recorder = Recorder(self.store, self.codec, "t", "", base, frozenset())
