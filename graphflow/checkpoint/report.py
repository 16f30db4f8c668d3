"""How much a store holds, thread by thread. Nothing is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.protocol import Branch, Operation, StoredRow
from graphflow.checkpoint.records import RowKind


class Usage(NamedTuple):
    """What a thread, or all of them together, take up."""

    thread: str
    """Its id; empty: the sum of several."""
    branches: int = 0
    """Of all graphs of the thread."""
    checkpoints: int = 0
    open_questions: int = 0
    """Of the graph itself: a question inside another graph is known there, too."""
    frame_bytes: int = 0
    row_bytes: int = 0
    snapshot_bytes: int = 0
    oldest: float | None = None
    """Seconds since the epoch; None: there is no checkpoint."""
    newest: float | None = None

    @property
    def bytes(self) -> int:
        """All bodies together; what a store needs around them comes on top."""
        return self.frame_bytes + self.row_bytes + self.snapshot_bytes

    def plus(self, other: Usage) -> Usage:
        """Return what both take up."""
        return Usage(
            self.thread,
            self.branches + other.branches,
            self.checkpoints + other.checkpoints,
            self.open_questions + other.open_questions,
            self.frame_bytes + other.frame_bytes,
            self.row_bytes + other.row_bytes,
            self.snapshot_bytes + other.snapshot_bytes,
            min(_known(self.oldest, other.oldest), default=None),
            max(_known(self.newest, other.newest), default=None),
        )


def _known(*times: float | None) -> list[float]:
    return [time for time in times if time is not None]


class StorageReport(NamedTuple):
    """What a store holds."""

    threads: tuple[Usage, ...]
    """In the order of their creation."""

    @property
    def total(self) -> Usage:
        """All of them together."""
        total = Usage("")
        for usage in self.threads:
            total = total.plus(usage)
        return total


def storage_report(store: Checkpointer, thread: str | None = None) -> Operation[StorageReport]:
    """Return what is stored of a thread; None: of all.

    Each thread is shown as it was at one moment.
    """
    names = (yield from store.threads()) if thread is None else [thread]
    found = []
    for name in names:
        found.append((yield from usage_of(store, name)))  # noqa: PERF401  # it yields
    return StorageReport(tuple(found))


def usage_of(store: Checkpointer, thread: str) -> Operation[Usage]:
    """Return what is stored of a thread; zeros for one that is not there."""
    total = Usage(thread)
    yield from store.begin()
    for scope in (yield from store.scopes(thread)):
        for branch in (yield from store.branches(thread, scope)):
            usage = yield from _of_branch(store, branch)
            total = total.plus(usage._replace(open_questions=0) if scope else usage)
    yield from store.end()
    return total


def _of_branch(store: Checkpointer, branch: Branch) -> Operation[Usage]:
    frames = yield from store.frames(branch.id, -1, branch.head)
    rows = yield from store.rows(branch.id, branch.head)
    snapshot = yield from store.snapshot(branch.id, branch.head)
    times = [frame.created for frame in frames]
    return Usage(
        "",
        1,
        len(frames),
        open_questions(rows),
        sum(len(frame.body) for frame in frames),
        sum(len(row.body) for row in rows),
        0 if snapshot is None else len(snapshot[1]),
        min(times, default=None),
        max(times, default=None),
    )


def open_questions(rows: Sequence[StoredRow]) -> int:
    """Return how many questions have no answer and belong to a task that is not finished."""
    told = {(row.place, row.kind, row.number) for row in rows}
    return sum(
        kind == RowKind.QUESTION
        and (place, RowKind.ANSWER, number) not in told
        and (place, RowKind.RESULT, 0) not in told
        for place, kind, number in told
    )
