"""Snapshots: what a checkpoint looks like to a user (contract §13).

A *live* snapshot shows the head with what finished tasks of the open superstep wrote; a *record*
shows a checkpoint as the start of its superstep, with the results its tasks came to have.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from graphflow.checkpoint.history import parent_of
from graphflow.checkpoint.listing import config_of, metadata_of
from graphflow.checkpoint.pages import Page
from graphflow.checkpoint.protocol import Branch
from graphflow.checkpoint.records import Frame, Pending, Row, RowKind, Settled
from graphflow.engine import chunks
from graphflow.engine.chunks import inner_config
from graphflow.engine.folding import fold
from graphflow.engine.superstep import open_questions
from graphflow.graph.plan import Plan
from graphflow.ids import run_identity, task_id
from graphflow.state.deltas import Unfolder
from graphflow.types import ROOT, Config, Interrupt, PregelTask, StateSnapshot


class Shots:
    """Makes the snapshots of one graph of one thread."""

    def __init__(self, plan: Plan, thread: str, scope: str) -> None:
        self.plan = plan
        self.thread = thread
        self.scope = scope

    def live(
        self,
        branch: Branch,
        parent_branch: Branch,
        frame: Frame,
        values: dict[str, Any],
        rows: Sequence[Row],
        added: Mapping[str, Any],
    ) -> StateSnapshot:
        """Return the head of a branch as it stands now."""
        tasks = self._tasks(branch, frame, _from_rows(rows))
        ended = {row.place for row in rows if row.kind is RowKind.RESULT}
        asked = open_questions(rows)
        tasks = [
            task._replace(interrupts=tuple(q for q in task.interrupts if q in asked))
            for task in tasks
        ]
        return self._shot(
            branch, parent_branch, frame, self._so_far(frame, values, rows), tasks, added, added,
            waits=tuple(t.name for i, t in enumerate(tasks) if i not in ended),
        )  # fmt: skip

    def _so_far(self, frame: Frame, values: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
        """Return the state with what Commands, and then finished tasks in their order, wrote."""
        values = {**self.plan.initial(), **values}
        results = [row for row in rows if row.kind is RowKind.RESULT]
        for row in results:
            if row.place < 0:
                values.update(fold(self.plan, values, (row.value[0],), {}).changed)
        finished = [row for row in results if row.place >= 0]
        finished.sort(key=lambda row: _rank(frame.pending, row.place))
        try:
            written = fold(self.plan, values, [row.value[0] for row in finished], {}).changed
        except Exception:  # they cannot be applied together: the run says so when it goes on
            return values
        return {**values, **written}

    def record(
        self,
        branch: Branch,
        parent_branch: Branch,
        frame: Frame,
        values: dict[str, Any],
        after: Frame | None,
        rows: Sequence[Row],
        added: Mapping[str, Any],
        added_before: Mapping[str, Any],
    ) -> StateSnapshot:
        """Return a checkpoint as the start of its superstep; `after` is the frame that ended it."""
        known = _from_rows(rows) if after is None else _from_settled(frame, after)
        for place, (error, asked, result) in known.items():
            if len(asked) > 1:
                known[place] = (error, _last_raised(asked), result)
        return self._shot(
            branch, parent_branch, frame, values, self._tasks(branch, frame, known), added,
            added_before,
        )  # fmt: skip

    def _tasks(self, branch: Branch, frame: Frame, known: Mapping[int, Known]) -> list[PregelTask]:
        identity = run_identity(self.thread, self.scope, branch.ordinal)
        tasks = []
        for place, (name, is_send, *_) in enumerate(frame.pending):
            own = task_id(identity, frame.seq, frame.step + 1, name, is_send, place)
            inner = inner_config(self.plan, self.thread, self.scope, frame.pending, place, own)
            is_push = is_send and name != self.plan.entry
            path = ("__pregel_push", place, False) if is_push else ("__pregel_pull", name)
            error, asked, result = known.get(place, _NOTHING_KNOWN)
            if self.plan.entry is not None and result is not None:
                result = result.get(ROOT)
            tasks.append(PregelTask(own, name, path, error, asked, inner, result))
        return tasks

    def _shot(
        self,
        branch: Branch,
        parent_branch: Branch,
        frame: Frame,
        values: dict[str, Any],
        tasks: Sequence[PregelTask],
        added: Mapping[str, Any],
        added_before: Mapping[str, Any],
        waits: tuple[str, ...] | None = None,
    ) -> StateSnapshot:
        parent, parents = None, added.get("parents")
        if frame.parent >= 0:
            before, around = parent_branch.ordinal, added_before.get("parents")
            parent = config_of(self.thread, self.scope, before, frame.parent, around)
        for key, start in self.plan.starts.items():
            if key not in values:
                values[key] = start()
        return StateSnapshot(
            values.get(ROOT) if self.plan.is_root else values,
            tuple([task.name for task in frame.pending]) if waits is None else waits,
            config_of(self.thread, self.scope, branch.ordinal, frame.seq, parents),
            metadata_of(frame, added),
            datetime.fromtimestamp(frame.created, UTC).isoformat(),
            parent,
            tuple(tasks),
            tuple([question for task in tasks for question in task.interrupts]),
        )


Known = tuple[str | None, tuple[Interrupt, ...], dict[str, Any] | None]
"""What is known of a task: its error, what it asked, its result."""
_NOTHING_KNOWN: Known = (None, (), None)


def _rank(pending: Sequence[Pending], place: int) -> tuple[bool, int, str]:
    """Return where a task stands in the order in which writes are applied."""
    if place >= len(pending) or pending[place].is_send:
        return (True, place, "")
    return (False, 0, pending[place].name)


def _from_rows(rows: Sequence[Row]) -> dict[int, Known]:
    known: dict[int, Known] = {}
    for row in rows:
        error, asked, result = known.get(row.place, _NOTHING_KNOWN)
        if row.kind is RowKind.RESULT:
            error, result = None, chunks.result(row.value[0])
        elif row.kind is RowKind.QUESTION:
            asked = (*asked, row.value)
        elif row.kind is RowKind.ERROR:
            error = row.value
        known[row.place] = (error, asked, result)
    return known


def _from_settled(frame: Frame, after: Frame) -> dict[int, Known]:
    known: dict[int, Known] = {}
    for task in after.settled:
        place = task.place if task.place >= 0 else _first(frame, task, known)
        if place is not None:
            known[place] = (None, task.interrupts, chunks.result(task.writes))
    for left in after.unsettled:
        _, asked, result = known.get(left.place, _NOTHING_KNOWN)
        if left.writes is not None:
            result = chunks.result(left.writes)
        known[left.place] = (left.error, asked or left.interrupts, result)
    return known


def _last_raised(asked: tuple[Interrupt, ...]) -> tuple[Interrupt, ...]:
    """Return what was asked last by each of those that asked: a task, or tasks of graphs in it."""
    return tuple({(q.ns, q.node, q.task): q for q in asked}.values())


def _first(frame: Frame, settled: Settled, known: Mapping[int, Any]) -> int | None:
    for place, task in enumerate(frame.pending):
        if task.name == settled.name and place not in known:
            return place
    return None


def unknown_thread(config: Config) -> StateSnapshot:
    """Return the snapshot of a thread that does not exist."""
    return StateSnapshot({}, (), config, None, None, None, (), ())


def newest_first(
    shots: Shots, branches: Sequence[Branch], pages: Sequence[Page]
) -> Iterator[StateSnapshot]:
    """Yield the checkpoints of pages as records, newest first."""
    lines = [_backwards(shots, branches, page) for page in pages]
    merged = lines[0] if len(lines) == 1 else heapq.merge(*lines, key=lambda i: (-i[0], -i[1]))
    for _, _, shot in merged:
        yield shot


def _backwards(
    shots: Shots, branches: Sequence[Branch], page: Page
) -> Iterator[tuple[int, int, StateSnapshot]]:
    """Walk a page from its newest checkpoint to its oldest."""
    unfolder, branch = Unfolder(page.base), page.branch
    told = [page.told]
    for frame in page.frames:
        unfolder.apply(frame.delta)
        told.append(frame.metadata if frame.metadata is not None else told[-1])
    after = page.after
    for frame in reversed(page.frames):
        parent = parent_of(branches, branch, frame)
        values, added = unfolder.values(), told.pop()
        rows = page.rows if after is None else ()
        shot = shots.record(branch, parent, frame, values, after, rows, added, told[-1])
        yield frame.seq, branch.ordinal, shot
        after = frame
        unfolder.undo()
