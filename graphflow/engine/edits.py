"""Edits: a machine that moves a thread on by hand, without any node having run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphflow.checkpoint.records import Pending, Source, Writes
from graphflow.engine.folding import fold, in_order
from graphflow.engine.frontier import Waiting, next_frontier
from graphflow.engine.machine import Machine
from graphflow.engine.turn import Outcome, Status, Task, Turn
from graphflow.state.deltas import SET


class Editor(Machine):
    """Decides what an edit does: one frame, and the run is over."""

    def update(self, outcomes: Sequence[Outcome], now: float) -> Turn:
        """Close the open superstep as if these tasks, and no others, had run in it."""
        folded = fold(self.plan, self.values, [o.writes for o in in_order(outcomes)], self.memo)
        ran = {outcome.task.name for outcome in outcomes}
        self.waiting.keep(task.name for task in self.origin.pending if task.name not in ran)
        pending = next_frontier(self.plan, outcomes, self.waiting)
        self.superstep.recorded = len(self.origin.pending)
        settled = self.superstep.settled(outcomes)
        return self._edited(Source.UPDATE, folded.delta, pending, settled, now)

    def rewrite(
        self, source: Source, pending: Sequence[Pending], now: float, writes: Sequence[Writes] = ()
    ) -> Turn:
        """Replace what is to run next, without any node having run."""
        self.waiting = Waiting(self.plan, {}, ())
        delta = fold(self.plan, self.values, writes, self.memo).delta
        return self._edited(source, delta, pending, (), now)

    def replace(self, values: Mapping[str, Any], now: float) -> Turn:
        """Give keys new values, without reducers; what is to run next stays."""
        delta = {key: ((SET, value),) for key, value in values.items()}
        return self._edited(Source.UPDATE, delta, self.origin.pending, (), now)

    def _edited(
        self, source: Source, delta: Any, pending: Sequence[Pending], settled: Any, now: float
    ) -> Turn:
        is_first = source is not Source.INPUT and self.step < -1
        self.step += 2 if is_first else 1
        frames = self._framed(source, delta, pending, settled, now, self._given_up())
        return self._turn(self._commit(frames), (), (), Status.DONE)

    def task_for(self, name: str, index: int, arg: Any = None) -> Task:
        """Return a task of the open superstep, or one beside it (index -1), for an update."""
        node, place, step = self.plan.nodes[name], max(index, 0), self.step + 1
        head, identity = self.ledger.head, self.options.identity
        return Task(index, node, self.values, False, arg, place, step, 1, head, identity)
