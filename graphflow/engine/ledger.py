"""The ledger: numbers a run's frames and makes its commits, each on top of the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphflow.checkpoint.records import (
    NOTHING,
    Commit,
    Frame,
    Pending,
    Row,
    Settled,
    Source,
    Unsettled,
)
from graphflow.engine.frontier import Waiting
from graphflow.engine.superstep import stored
from graphflow.engine.turn import Start
from graphflow.types import START


class Ledger:
    """Where a run stands in its branch.

    Args:
        start: The checkpoint that the run starts from.
        metadata: What the run's config adds to its checkpoints.
        unstored: Keys that are not to be stored.
    """

    __slots__ = ("has_rows", "head", "metadata", "next_seq", "tip", "told", "unstored")

    def __init__(self, start: Start, metadata: Mapping[str, Any], unstored: frozenset[str]) -> None:
        self.head = start.seq
        """The newest frame that was handed out for commit."""
        self.tip = start.seq
        """The newest frame that was made."""
        self.next_seq = start.next_seq
        self.has_rows = bool(start.rows)
        self.metadata = metadata
        self.told = start.metadata or NOTHING
        self.unstored = unstored

    def frame(
        self,
        source: Source,
        step: int,
        delta: Mapping[str, Any],
        pending: Sequence[Pending],
        waiting: Waiting,
        settled: tuple[Settled, ...],
        now: float,
        unsettled: tuple[Unsettled, ...] = (),
    ) -> Frame:
        """Make the next frame."""
        seq, parent = self.next_seq, self.tip
        self.next_seq, self.tip = seq + 1, seq
        unstored = self.unstored
        if unstored:
            delta = {key: ops for key, ops in delta.items() if key not in unstored}
            pending = [_without(task, unstored) for task in pending]
        return Frame(
            seq,
            source,
            step,
            delta,
            tuple(pending),
            waiting.joins() if waiting.arrived else NOTHING,
            tuple(waiting.deferred),
            settled,
            self._news(),
            parent,
            now,
            unsettled,
        )

    def _news(self) -> Mapping[str, Any] | None:
        """Return the metadata if it is not that of the frame before."""
        if self.told == self.metadata:
            return None
        self.told = self.metadata
        return self.told

    def commit(self, frames: tuple[Frame, ...]) -> Commit:
        """Return the commit of frames; it closes the superstep that is open."""
        commit = Commit(self.head, frames, closes_rows=self.has_rows)
        self.head = frames[-1].seq
        self.has_rows = False
        return commit

    def commit_rows(self, rows: Sequence[Row], withdrawn: Sequence[Row] = ()) -> Commit | None:
        """Return the commit of rows of the open superstep; None if there are none."""
        if not (rows or withdrawn):
            return None
        self.has_rows = True
        return Commit(self.head, (), tuple(rows), tuple(withdrawn))


def _without(task: Pending, unstored: frozenset[str]) -> Pending:
    if task.name == START:
        return task._replace(arg=stored(task.arg, unstored))
    if not task.is_send or not isinstance(task.arg, dict):
        return task
    return task._replace(arg={k: v for k, v in task.arg.items() if k not in unstored})
