"""The machine: one run of one graph, as a state machine without I/O.

It has no clock, no dice, knows no thread and no loop. A run goes

    start | resume  →  Turn  →  driver commits, tells, runs  →  complete | tick  →  Turn  →  …

until a turn's status is not RUNNING. One superstep: the frontier's tasks all see `values` as it
was; outcomes are gathered in any order; when the last has come their writes are folded in a fixed
order, the next frontier is worked out, and a frame with both is committed.

A task that asks a person or fails leaves the superstep open: what its siblings finished is kept
in rows, and a later run of the thread takes up just the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphflow.checkpoint.records import (
    NOTHING,
    Commit,
    Frame,
    Pending,
    Row,
    RowKind,
    Settled,
    Source,
    Writes,
)
from graphflow.engine import chunks
from graphflow.engine.folding import Folded, expire, fold, in_order, joined
from graphflow.engine.frontier import Waiting, add_targets, next_frontier
from graphflow.engine.retries import retry_wait
from graphflow.engine.turn import Options, Outcome, Start, Status, Target, Task, Turn
from graphflow.errors import GraphRecursionError, is_invalid_resume
from graphflow.events import Event
from graphflow.graph.plan import Plan
from graphflow.ids import digest
from graphflow.state.deltas import SET
from graphflow.types import INTERRUPT, START, Interrupt

_TO_THE_RUN = -1
"""Index of rows that hold what a resuming Command wrote, not a task."""


class Machine:
    """Decides one run.

    Args:
        plan: The graph.
        options: How this run goes.
        start: The checkpoint it starts from. `start.values` is taken over, not copied.
    """

    def __init__(self, plan: Plan, options: Options, start: Start) -> None:
        self.plan = plan
        self.options = options
        self.values = start.values
        self.memo: dict[str, Any] = {}
        self.head = start.seq
        self.tip = start.seq
        self.next_seq = start.next_seq
        self.step = start.step
        self.last_step = 0
        self.origin = start
        self.told_metadata = start.metadata or NOTHING
        self.waiting = Waiting(plan, start.joins, start.deferred)
        self.frontier: list[Task] = []
        self.recorded = len(start.pending)
        self.finished: dict[int, Outcome] = {}
        self.asking: dict[int, Outcome] = {}
        self.retries: list[tuple[float, Task]] = []
        self.error: BaseException | None = None
        self.refused: dict[int, BaseException] = {}
        self.given: list[Row] = []
        self.passed: dict[str, Any] = {}
        """Answers to questions of graphs inside this one, by the question's id."""
        self.status = Status.RUNNING
        self.has_rows = bool(start.rows)
        self.carried: dict[str, Any] = {}
        self._previewed: tuple[Writes, Folded] | None = None
        self._watches_updates = "updates" in options.modes
        self._watches_values = "values" in options.modes

    # -- what a driver tells it ---------------------------------------------------------------

    def start(self, writes: Writes, now: float, targets: Sequence[Target] = ()) -> Turn:
        """Begin with new input; what was unfinished in the thread is dropped.

        Args:
            writes: The input, key by key.
            now: Seconds since the epoch.
            targets: Nodes to run besides those that follow `START`.
        """
        self.waiting = Waiting(self.plan, {}, ())
        self.has_rows = bool(self.origin.rows)
        self.step += 1
        self.last_step = self.step + self.options.recursion_limit + 1
        pending = (Pending(START, False, writes),)
        frames = self._framed(Source.INPUT, {}, pending, (), now)
        self._enter(pending)
        task = self.frontier[0]
        if self.plan.start.routes:
            return Turn(self._committed(frames), (), (task,), Status.RUNNING)
        return self._finish([Outcome(task, writes, targets)], now, frames)

    def resume(
        self,
        now: float,
        *,
        answers: Mapping[str, Any] | None = None,
        writes: Writes = (),
        targets: Sequence[Target] = (),
    ) -> Turn:
        """Take up an open superstep.

        Args:
            now: Seconds since the epoch.
            answers: Interrupt id to answer; each id must be one of `open_questions()`.
            writes: What to write to the state first.
            targets: Nodes to run besides the unfinished ones.
        """
        self.last_step = self.step + self.options.recursion_limit + 2
        self._restore_frontier(writes, targets)
        rows = self._answer(answers or {})
        if writes or targets:
            rows.append(Row(_TO_THE_RUN, RowKind.RESULT, len(self.origin.rows), (writes, targets)))
        commit = self._rows_commit(rows)
        events = self._state_event() if self._watches_values else ()
        if not self.frontier:
            return Turn(commit, events, (), Status.DONE)
        for outcome in self.finished.values():
            events = (*events, *self._update_events(outcome, cached=True))
        unfinished = [task for task in self.frontier if task.index not in self.finished]
        if unfinished:
            return Turn(commit, events, unfinished, Status.RUNNING)
        turn = self._finish(in_order(self.finished.values()), now)
        return turn._replace(commit=turn.commit or commit, events=(*events, *turn.events))

    def update(self, outcomes: Sequence[Outcome], now: float) -> Turn:
        """Close the open superstep as if these tasks, and no others, had run in it."""
        folded = fold(self.plan, self.values, [o.writes for o in in_order(outcomes)], self.memo)
        pending = next_frontier(self.plan, outcomes, self.waiting)
        self.values.update(folded.changed)
        self.step = max(self.step, -1) + 1
        settled = self._settled(outcomes)
        frames = self._framed(Source.UPDATE, folded.delta, pending, settled, now)
        return Turn(self._committed(frames), (), (), Status.DONE)

    def rewrite(
        self, source: Source, pending: Sequence[Pending], now: float, writes: Sequence[Writes] = ()
    ) -> Turn:
        """Replace what is to run next, without any node having run."""
        folded = fold(self.plan, self.values, writes, self.memo)
        self.values.update(folded.changed)
        self.waiting = Waiting(self.plan, {}, ())
        self.step = max(self.step, -1) + 1 if source is not Source.INPUT else self.step + 1
        frames = self._framed(source, folded.delta, pending, (), now)
        return Turn(self._committed(frames), (), (), Status.DONE)

    def replace(self, values: Mapping[str, Any], frame: Frame, now: float) -> Turn:
        """Give keys new values, without reducers; `frame`'s tasks stay the ones to run next."""
        delta = {key: ((SET, value),) for key, value in values.items()}
        self.step += 1
        frames = self._framed(Source.UPDATE, delta, frame.pending, (), now)
        return Turn(self._committed(frames), (), (), Status.DONE)

    def task_for(self, name: str, index: int, arg: Any = None) -> Task:
        """Return a task of the open superstep, or one beside it (index -1), for an update."""
        place, step = max(index, 0), self.step + 1
        node = self.plan.nodes[name]
        return Task(index, node, self.values, False, arg, place, step, 1, self.head, self._identify)

    def complete(self, outcomes: Sequence[Outcome], now: float) -> Turn:
        """Take outcomes of running tasks, in the order in which they came."""
        if len(self.frontier) == 1 and outcomes[0].is_success and not self._watches_updates:
            return self._finish(outcomes, now)
        rows: list[Row] = []
        events: list[Event] = []
        for outcome in outcomes:
            rows += self._take(outcome, now)
            events += self._outcome_events(outcome)
        if self.error is not None:
            return Turn(self._rows_commit(rows), events, (), Status.FAILED)
        if len(self.finished) == len(self.frontier):
            turn = self._finish(in_order(self.finished.values()), now)
            return turn._replace(events=(*events, *turn.events))
        commit = self._rows_commit(rows, self._withdrawn(outcomes))
        if len(self.finished) + len(self.asking) + len(self.refused) < len(self.frontier):
            return Turn(commit, events, (), Status.RUNNING, self._wake_at())
        if self.refused:
            self.error = next(iter(self.refused.values()))
            return Turn(commit, events, (), Status.FAILED)
        self.status = Status.WAITING
        return Turn(commit, (*events, *self._waiting_events()), (), Status.WAITING)

    def tick(self, now: float) -> Turn:
        """Hand out the tasks whose time to run again has come."""
        due = [task for when, task in self.retries if when <= now]
        self.retries = [(when, task) for when, task in self.retries if when > now]
        return Turn(None, (), due, Status.RUNNING, self._wake_at())

    def fail(self, error: BaseException) -> Turn:
        """End the run with an error that is no task's."""
        self.error = error
        return Turn(None, (), (), Status.FAILED)

    # -- what a driver asks it ----------------------------------------------------------------

    def preview(self, task: Task, writes: Writes) -> dict[str, Any]:
        """Return the state as a path function of `task` sees it: with the task's own writes.

        May be called from the thread that runs the task.
        """
        alone = len(self.frontier) == 1
        folded = fold(self.plan, task.values, (writes,), self.memo if alone else {})
        if alone:
            self._previewed = (writes, folded)
        return {**task.values, **folded.changed} if folded.changed else task.values

    def raised(self) -> tuple[Interrupt, ...]:
        """Return the questions that this run stopped at, in the order in which it met them."""
        return tuple(q for outcome in self.asking.values() for q in outcome.interrupts or ())

    def output(self) -> dict[str, Any]:
        """Return the state, with what finished tasks of an open superstep wrote."""
        if not self.asking or not self.finished:
            return self.values
        writes = [outcome.writes for outcome in in_order(self.finished.values())]
        return {**self.values, **fold(self.plan, self.values, writes, {}).changed}

    # -- superstep ----------------------------------------------------------------------------

    def _finish(
        self, outcomes: Sequence[Outcome], now: float, frames: tuple[Frame, ...] = ()
    ) -> Turn:
        try:
            folded = self._fold(outcomes)
        except Exception as error:  # a reducer or a conflict: the superstep cannot be applied
            return self.fail(error)
        pending = next_frontier(self.plan, outcomes, self.waiting)
        ran = [outcome.task.node.name for outcome in outcomes]
        self.values.update(folded.changed)
        if self.plan.fleeting:
            expire(self.plan, self.values, folded)
        self.step += 1
        if self.options.records:
            delta = joined(self.carried, folded.delta) if self.carried else folded.delta
            frames += self._framed(Source.LOOP, delta, pending, self._settled(outcomes), now)
        self.carried = {}
        events = self._state_event() if self._shows(folded.changed) else ()
        status = self.status = self._status_after(ran, pending)
        if status is Status.WAITING and self._watches_updates:
            events = (*events, Event("updates", {INTERRUPT: ()}, self.options.ns))
        commit = self._committed(frames) if frames else None
        self._enter(pending)
        tasks = self.frontier if status is Status.RUNNING else ()
        return Turn(commit, events, tasks, status)

    def _fold(self, outcomes: Sequence[Outcome]) -> Folded:
        previewed, self._previewed = self._previewed, None
        if len(outcomes) == 1:
            writes = outcomes[0].writes
            if previewed is not None and previewed[0] is writes:
                return previewed[1]
            return fold(self.plan, self.values, (writes,), self.memo)
        return fold(self.plan, self.values, [o.writes for o in outcomes], self.memo)

    def _status_after(self, ran: Sequence[str], pending: Sequence[Pending]) -> Status:
        options = self.options
        if options.interrupt_after and not options.interrupt_after.isdisjoint(ran):
            return Status.WAITING
        if self.step >= self.last_step:
            self.error = GraphRecursionError(
                f"Recursion limit of {options.recursion_limit} reached without hitting a stop "
                'condition. Raise it with config={"recursion_limit": …}; the state is saved.'
            )
            return Status.FAILED
        if not pending:
            return Status.DONE
        if options.interrupt_before and not options.interrupt_before.isdisjoint(
            [task.name for task in pending]
        ):
            return Status.WAITING
        return Status.RUNNING

    def _enter(self, pending: Sequence[Pending]) -> None:
        self.finished = {}
        self.asking = {}
        self.refused = {}
        self.frontier = self._tasks(pending)
        self.recorded = len(pending)

    def _tasks(self, pending: Sequence[Pending]) -> list[Task]:
        nodes, values, step = self.plan.nodes, self.values, self.step + 1
        left, head, identify = self.last_step - step, self.head, self._identify
        return [
            Task(i, nodes[p.name], values, p.is_send, p.arg, i, step, left, head, identify)
            for i, p in enumerate(pending)
        ]

    def _identify(self, task: Task) -> str:
        identity = self.options.identity
        return task_id(identity, self.head, task.step, task.name, task.is_send, task.place)

    # -- one outcome --------------------------------------------------------------------------

    def _take(self, outcome: Outcome, now: float) -> list[Row]:
        task = outcome.task
        if outcome.error is not None:
            return self._take_error(task, outcome, now)
        if outcome.interrupts is not None:
            self.asking[task.index] = outcome
            return self._take_questions(task, outcome.interrupts)
        self.finished[task.index] = outcome
        writes = _stored(outcome.writes, self.plan.unstored)
        return [Row(task.index, RowKind.RESULT, 0, (writes, tuple(outcome.targets)))]

    def _take_questions(self, task: Task, interrupts: Sequence[Interrupt]) -> list[Row]:
        known = {question.id for question in task.asked}
        new = [question for question in interrupts if question.id not in known]
        first = len(task.asked)
        task.asked = (*task.asked, *new)
        return [Row(task.index, RowKind.QUESTION, first + n, q) for n, q in enumerate(new)]

    def _take_error(self, task: Task, outcome: Outcome, now: float) -> list[Row]:
        error = outcome.error
        assert error is not None
        if is_invalid_resume(error):
            self.refused[task.index] = error
            return []
        wait = retry_wait(task.node.retry, error, task.attempt, outcome.jitter)
        if wait is not None:
            task.attempt += 1
            self.retries.append((now + wait, task))
            return []
        if self.error is None:
            self.error = error
        return [Row(task.index, RowKind.ERROR, self._failures(task), repr(error))]

    def _failures(self, task: Task) -> int:
        """Return how often the task failed in earlier runs."""
        rows = self.origin.rows if task.step == self.origin.step + 1 else ()
        return sum(row.kind is RowKind.ERROR and row.place == task.index for row in rows)

    def _wake_at(self) -> float | None:
        return min((when for when, _ in self.retries), default=None)

    # -- taking up an open superstep ----------------------------------------------------------

    def _restore_frontier(self, writes: Writes, targets: Sequence[Target]) -> None:
        given = [row.value for row in self.origin.rows if row.place == _TO_THE_RUN]
        given.append((writes, targets))
        for written, _ in given:
            folded = fold(self.plan, self.values, (written,), self.memo)
            self.values.update(folded.changed)
            self.carried = joined(self.carried, folded.delta)
        self._enter(self._with_targets([t for _, targets in given for t in targets]))
        self.recorded = len(self.origin.pending)
        self._restore(self.origin.rows)

    def _with_targets(self, targets: Iterable[Target]) -> Sequence[Pending]:
        """Return what is pending, and behind it what `targets` add: rows keep their places."""
        pending = self.origin.pending
        triggered: dict[str, None] = {}
        sends: list[Pending] = []
        add_targets(targets, triggered, sends)
        for task in pending:
            triggered.pop(task.name if not task.is_send else "", None)
        return [*pending, *sends, *map(Pending, triggered)] if triggered or sends else pending

    def _restore(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.place == _TO_THE_RUN:
                continue
            task = self.frontier[row.place]
            if row.kind is RowKind.RESULT:
                self.finished[task.index] = Outcome(task, *row.value)
            elif row.kind is RowKind.QUESTION:
                task.asked = (*task.asked, row.value)
            elif row.kind is RowKind.ANSWER:
                task.replies[row.number] = row.value

    def _answer(self, answers: Mapping[str, Any]) -> list[Row]:
        rows = []
        for task in self.frontier:
            for number, question in enumerate(task.asked):
                if question.id in answers:
                    answer = task.replies[number] = answers[question.id]
                    rows.append(Row(task.index, RowKind.ANSWER, number, answer))
            self._hand_in(task)
        self.given = rows
        return rows

    def _hand_in(self, task: Task) -> None:
        """Sort a task's answers: to questions of its own, and to those of graphs inside it."""
        told = [(task.asked[number], answer) for number, answer in sorted(task.replies.items())]
        task.answers = tuple(answer for q, answer in told if q.ns == self.options.ns)
        self.passed.update({q.id: answer for q, answer in told if q.ns != self.options.ns})

    # -- frames, rows, events -----------------------------------------------------------------

    def _framed(
        self,
        source: Source,
        delta: dict[str, Any],
        pending: Sequence[Pending],
        settled: tuple[Settled, ...],
        now: float,
    ) -> tuple[Frame, ...]:
        seq, parent = self.next_seq, self.tip
        self.next_seq, self.tip = seq + 1, seq
        if not self.options.records:
            return ()
        unstored = self.plan.unstored
        if unstored:
            delta = {key: ops for key, ops in delta.items() if key not in unstored}
            pending = [_without(task, unstored) for task in pending]
        return (
            Frame(
                seq,
                source,
                self.step,
                delta,
                tuple(pending),
                self.waiting.joins(),
                tuple(self.waiting.deferred),
                settled,
                self._news_of_metadata(),
                parent,
                now,
            ),
        )

    def _news_of_metadata(self) -> Mapping[str, Any] | None:
        if self.told_metadata == self.options.metadata:
            return None
        self.told_metadata = self.options.metadata
        return self.told_metadata

    def _settled(self, outcomes: Sequence[Outcome]) -> tuple[Settled, ...]:
        unstored, recorded = self.plan.unstored, self.recorded
        return tuple(
            Settled(
                o.task.index if o.task.index < recorded else -1,
                o.task.node.name,
                _stored(o.writes, unstored),
                o.task.asked,
            )
            for o in outcomes
        )

    def _committed(self, frames: tuple[Frame, ...]) -> Commit | None:
        if not frames:
            return None
        commit = Commit(self.head, frames, closes_rows=self.has_rows)
        self.head = frames[-1].seq
        self.has_rows = False
        return commit

    def _rows_commit(self, rows: Sequence[Row], withdrawn: Sequence[Row] = ()) -> Commit | None:
        if not (rows or withdrawn) or not self.options.records:
            return None
        self.has_rows = True
        return Commit(self.head, (), tuple(rows), tuple(withdrawn))

    def _withdrawn(self, outcomes: Sequence[Outcome]) -> list[Row]:
        """Return the answers that did not fit: they are taken back, the questions stay open."""
        refused = {o.task.index for o in outcomes if o.task.index in self.refused}
        return [row for row in self.given if row.place in refused]

    def _outcome_events(self, outcome: Outcome) -> list[Event]:
        if outcome.error is not None:
            return []
        if outcome.interrupts is None:
            return self._update_events(outcome)
        events = []
        if self._watches_updates:
            events.append(Event("updates", {INTERRUPT: outcome.interrupts}, self.options.ns))
        if self._watches_values:
            shown = chunks.visible(self.plan, self.values, self.options.output_keys)
            data = chunks.asking(shown, outcome.interrupts)
            events.append(Event("values", data, self.options.ns))
        return events

    def _update_events(self, outcome: Outcome, cached: bool = False) -> list[Event]:
        task = outcome.task
        if not self._watches_updates or task.name == START:
            return []
        data = {task.name: chunks.written(self.plan, outcome.writes)}
        if cached:
            data["__metadata__"] = {"cached": True}
        return [Event("updates", data, self.options.ns)]

    def _shows(self, changed: Mapping[str, Any]) -> bool:
        keys = self.options.output_keys
        if not self._watches_values or not changed:
            return False
        return keys is None or not changed.keys().isdisjoint(keys)

    def _state_event(self) -> tuple[Event, ...]:
        shown = chunks.visible(self.plan, self.values, self.options.output_keys)
        return (Event("values", shown, self.options.ns),)

    def _waiting_events(self) -> tuple[Event, ...]:
        if not self._watches_values or not any(o.writes for o in self.finished.values()):
            return ()
        shown = chunks.visible(self.plan, self.output(), self.options.output_keys)
        return (Event("values", shown, self.options.ns),)


def task_id(identity: str, seq: int, step: int, name: str, is_send: bool, place: int) -> str:
    """Return the id of a task: the same in every process that looks at the same checkpoint."""
    return digest(identity, str(seq), str(step), name, f"send:{place}" if is_send else "node")


def open_questions(rows: Sequence[Row]) -> tuple[Interrupt, ...]:
    """Return the questions among `rows` that have no answer and whose task is not finished."""
    settled = {(row.place, row.number) for row in rows if row.kind is RowKind.ANSWER}
    ended = {row.place for row in rows if row.kind is RowKind.RESULT}
    return tuple(
        row.value
        for row in rows
        if row.kind is RowKind.QUESTION
        and (row.place, row.number) not in settled
        and row.place not in ended
    )


def _stored(writes: Writes, unstored: frozenset[str]) -> Writes:
    return tuple(pair for pair in writes if pair[0] not in unstored) if unstored else writes


def _without(task: Pending, unstored: frozenset[str]) -> Pending:
    if task.name == START:
        return task._replace(arg=_stored(task.arg, unstored))
    if not task.is_send or not isinstance(task.arg, dict):
        return task
    return task._replace(arg={k: v for k, v in task.arg.items() if k not in unstored})
