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
    Commit,
    Frame,
    Pending,
    Row,
    RowKind,
    Source,
    Unsettled,
    Writes,
)
from graphflow.engine.folding import Folded, expire, fold, in_order, joined
from graphflow.engine.frontier import Waiting, add_targets, next_frontier
from graphflow.engine.ledger import Ledger
from graphflow.engine.retries import retry_wait
from graphflow.engine.superstep import THE_RUN, Superstep, failures, recall, unsettled
from graphflow.engine.telling import Events, Teller
from graphflow.engine.turn import Options, Outcome, Start, Status, Target, Task, Turn
from graphflow.errors import GraphDrained, GraphRecursionError, is_invalid_resume
from graphflow.graph.plan import Plan
from graphflow.types import START, Interrupt


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
        self.origin = start
        self.values = start.values
        self.memo: dict[str, Any] = {}
        self.step = start.step
        """The superstep that the newest frame closed."""
        self.last_step = 0
        """The superstep at which the recursion limit is reached."""
        self.status = Status.RUNNING
        self.error: BaseException | None = None
        self.draining = options.draining
        """Why the run shall stop after this superstep; None: it need not."""
        self.passed: dict[str, Any] = {}
        """Answers to questions of graphs inside this one, by the question's id."""
        self.waiting = Waiting(plan, start.joins, start.deferred)
        self.superstep = Superstep([], 0, plan.unstored)
        self.retries: list[tuple[float, Task]] = []
        numbers = [row.number for row in start.rows if row.kind is RowKind.CALL]
        self.noted = max(numbers, default=-1) + 1
        """The number of the next call of a task that is noted."""
        self.is_late = False
        """Whether the run failed because its superstep took too long."""
        self.deadline: float | None = None
        """When the superstep must have ended; None: there is no limit."""
        self.ledger = Ledger(start, options.metadata, plan.unstored)
        self.teller = Teller(plan, options)
        self._carried: dict[str, Any] = {}
        self._previewed: tuple[Writes, Folded] | None = None

    # -- what a driver tells it ---------------------------------------------------------------

    def start(self, writes: Writes, now: float, targets: Sequence[Target] = ()) -> Turn:
        """Begin with new input; what was unfinished in the thread is dropped.

        Args:
            writes: The input, key by key.
            now: Seconds since the epoch.
            targets: Nodes to run besides those that follow `START`.
        """
        plan = self.plan
        self.waiting = Waiting(plan, {}, ())
        self.step += 1
        self.last_step = self.step + self.options.recursion_limit + 1
        if plan.entry is not None:
            return self._begin_at(Pending(plan.entry, True, writes[0][1]), now)
        pending = (Pending(START, False, writes),)
        frames = self._framed(Source.INPUT, {}, pending, (), now, self._given_up())
        self._enter(pending, now)
        task = self.superstep.tasks[0]
        events = self.teller.frames(frames, self.values, self.origin)
        if self.draining is not None:
            return self._drained(self._commit(frames), events)
        if plan.start.routes:
            return self._turn(self._commit(frames), events, (task,), Status.RUNNING)
        return self._finish([Outcome(task, writes, targets)], now, frames, events)

    def _begin_at(self, entry: Pending, now: float) -> Turn:
        """Begin with the one node of an entrypoint: it gets the input as it is."""
        frames = self._framed(Source.INPUT, {}, (entry,), (), now, self._given_up())
        commit = self._commit(frames)
        self._enter((entry,), now)
        events = self.teller.frames(frames, self.values, self.origin)
        if self.draining is not None:
            return self._drained(commit, events)
        tasks = self.superstep.tasks
        events = (*events, *self.teller.starts(tasks, now))
        return self._turn(commit, events, tasks, Status.RUNNING)

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
            answers: Interrupt id to answer; each id must be one of the open questions.
            writes: What to write to the state first.
            targets: Nodes to run besides the unfinished ones.
        """
        self.last_step = self.step + self.options.recursion_limit + 2
        self._take_up(writes, targets, now)
        superstep, teller = self.superstep, self.teller
        rows = superstep.answer(answers or {})
        self.passed = superstep.hand_in(self.options.ns)
        if writes or targets:
            rows.append(Row(THE_RUN, RowKind.RESULT, len(self.origin.rows), (writes, targets)))
        commit, events = self._commit_rows(rows), teller.state(self.values)
        if teller.checkpoints and self.origin.frame is not None:
            events = (*events, *teller.resumed(self.origin, self.values, self.superstep))
        if not superstep.tasks:
            return self._turn(commit, events, (), Status.DONE)
        events = (*events, *teller.starts(superstep.tasks, now))
        for outcome in superstep.finished.values():
            events = (*events, *teller.update(outcome, is_restored=True))
        if unfinished := superstep.unfinished():
            return self._turn(commit, events, unfinished, Status.RUNNING)
        turn = self._finish(in_order(superstep.finished.values()), now, told=events)
        return turn if turn.commit is not None else turn._replace(commit=commit)

    def complete(self, outcomes: Sequence[Outcome], now: float) -> Turn:
        """Take outcomes of running tasks, in the order in which they came."""
        superstep, teller = self.superstep, self.teller
        if len(superstep.tasks) == 1 and outcomes[0].is_success:
            told = teller.outcome(outcomes[0], self.values, now) if teller.of_tasks else ()
            return self._finish(outcomes, now, told=told)
        rows: list[Row] = []
        events: Events = ()
        handlers: list[Task] = []
        for outcome in outcomes:
            rows += self._take(outcome, now, handlers)
            if outcome.error is None or not self._runs_again(outcome.task):
                events = (*events, *teller.outcome(outcome, self.values, now))
        if self.error is None and superstep.is_finished:
            return self._finish(in_order(superstep.finished.values()), now, told=events)
        commit = self._commit_rows(rows, superstep.withdrawn(outcomes))
        if self.error is None and superstep.is_still:
            return self._stopped(commit, events)
        if self.error is not None:
            return self._turn(commit, events, (), Status.FAILED)
        return self._turn(commit, events, tuple(handlers), Status.RUNNING)

    def _runs_again(self, task: Task) -> bool:
        return any(task is waiting for _, waiting in self.retries)

    def called(self, task: Task, path: tuple[int, ...], name: str, returned: Any) -> Commit | None:
        """Note that a call of a task ended; it is not made again in this superstep.

        Args:
            task: The task whose node made it, directly or in another call.
            path: Which call of which call.
            name: What was called.
            returned: What it returned.
        """
        recall(task, path, name, returned)
        number, self.noted = self.noted, self.noted + 1
        return self._commit_rows([Row(task.index, RowKind.CALL, number, (path, name, returned))])

    def tick(self, now: float) -> Turn:
        """Hand out the tasks whose time to run again has come; fail if the superstep is late."""
        if self.deadline is not None and now >= self.deadline:
            seconds = self.options.step_timeout
            self.error = TimeoutError(f"Superstep {self.step + 1} took longer than {seconds} s.")
            self.is_late = True
            self.retries.clear()
            return self._turn(None, (), (), Status.FAILED)
        due = [task for when, task in self.retries if when <= now]
        self.retries = [(when, task) for when, task in self.retries if when > now]
        return self._turn(None, (), due, Status.RUNNING)

    # -- what a driver asks it ----------------------------------------------------------------

    def preview(self, task: Task, writes: Writes) -> dict[str, Any]:
        """Return the state as a path function of `task` sees it: with the task's own writes.

        May be called from the thread that runs the task.
        """
        alone = len(self.superstep.tasks) == 1
        folded = fold(self.plan, task.values, (writes,), self.memo if alone else {})
        if alone:
            self._previewed = (writes, folded)
        return {**task.values, **folded.changed} if folded.changed else task.values

    def raised(self) -> tuple[Interrupt, ...]:
        """Return the questions that this run stopped at, in the order in which it met them."""
        return self.superstep.questions()

    def output(self) -> dict[str, Any]:
        """Return the state, with what finished tasks of an open superstep wrote."""
        superstep = self.superstep
        if not superstep.asking or not superstep.finished:
            return self.values
        writes = [outcome.writes for outcome in in_order(superstep.finished.values())]
        return {**self.values, **fold(self.plan, self.values, writes, {}).changed}

    # -- how a superstep ends ------------------------------------------------------------------

    def _finish(
        self,
        outcomes: Sequence[Outcome],
        now: float,
        frames: tuple[Frame, ...] = (),
        told: Events = (),
    ) -> Turn:
        """Close the superstep.

        Args:
            outcomes: How its tasks ended, in the order in which their writes are applied.
            now: Seconds since the epoch.
            frames: What is to be committed before.
            told: Events to be told before.
        """
        try:
            folded = self._fold(outcomes)
        except Exception as error:  # a reducer or a conflict: the superstep cannot be applied
            names = ", ".join(repr(outcome.task.name) for outcome in outcomes)
            error.add_note(f"While the writes of {names} were applied; none of them is stored.")
            self.error = error
            return self._turn(None, told, (), Status.FAILED)
        pending = next_frontier(self.plan, outcomes, self.waiting)
        self.values.update(folded.changed)
        if self.plan.fleeting:
            expire(self.plan, self.values, folded)
        self.step += 1
        if self.options.records:
            delta = joined(self._carried, folded.delta) if self._carried else folded.delta
            settled, failed = self.superstep.settled(outcomes), self.superstep.failed()
            frames += self._framed(Source.LOOP, delta, pending, settled, now, failed)
            self._carried = {}
        events = (*told, *self.teller.change(self.values, folded.changed))
        if self.teller.checkpoints:
            events = (*events, *self.teller.frames(frames[-1:], self.values, self.origin))
        status = self._status_after(outcomes, pending)
        if status is Status.WAITING:
            events = (*events, *self.teller.breakpoint())
        commit = self._commit(frames) if frames else None
        self._enter(pending, now)
        tasks = self.superstep.tasks if status is Status.RUNNING else ()
        if self.teller.tasks:
            events = (*events, *self.teller.starts(tasks, now))
        self.status = status
        return Turn(commit, events, tasks, status, self.deadline)

    def _fold(self, outcomes: Sequence[Outcome]) -> Folded:
        previewed, self._previewed = self._previewed, None
        if len(outcomes) == 1 and previewed is not None and previewed[0] is outcomes[0].writes:
            return previewed[1]
        return fold(self.plan, self.values, [o.writes for o in outcomes], self.memo)

    def _status_after(self, outcomes: Sequence[Outcome], pending: Sequence[Pending]) -> Status:
        options = self.options
        after, before = options.interrupt_after, options.interrupt_before
        if after and any(outcome.task.node.name in after for outcome in outcomes):
            return Status.WAITING
        if self.step >= self.last_step:
            saved = " The state is saved." if options.records else ""
            self.error = GraphRecursionError(
                f"Recursion limit of {options.recursion_limit} reached without hitting a stop "
                f'condition. Raise it with config={{"recursion_limit": …}}.{saved}'
            )
            return Status.FAILED
        if not pending:
            return Status.DONE
        if before and any(task.name in before for task in pending):
            return Status.WAITING
        if self.draining is not None:
            self.error = GraphDrained(self.draining)
            return Status.FAILED
        return Status.RUNNING

    def _stopped(self, commit: Commit | None, events: Events) -> Turn:
        """End the run with the superstep open: tasks wait for a person, or refused an answer."""
        superstep = self.superstep
        if superstep.refused:
            self.error = next(iter(superstep.refused.values()))
            return self._turn(commit, events, (), Status.FAILED)
        if self.draining is not None and superstep.is_drained:
            return self._drained(commit, events)
        if self.teller.values and any(o.writes for o in superstep.finished.values()):
            try:
                events = (*events, *self.teller.state(self.output()))
            except Exception as error:  # what is finished by now cannot be applied together
                self.error = error
                return self._turn(commit, events, (), Status.FAILED)
        return self._turn(commit, events, (), Status.WAITING)

    def _drained(self, commit: Commit | None, events: Events) -> Turn:
        assert self.draining is not None
        self.error = GraphDrained(self.draining)
        return self._turn(commit, events, (), Status.FAILED)

    def _turn(
        self, commit: Commit | None, events: Events, tasks: Sequence[Task], status: Status
    ) -> Turn:
        self.status = status
        times = [when for when, _ in self.retries]
        if self.deadline is not None:
            times.append(self.deadline)
        return Turn(commit, events, tasks, status, min(times, default=None))

    # -- how one begins ------------------------------------------------------------------------

    def _enter(self, pending: Sequence[Pending], now: float, recorded: int | None = None) -> None:
        if self.options.step_timeout is not None:
            self.deadline = now + self.options.step_timeout
        nodes, values, step = self.plan.nodes, self.values, self.step + 1
        left, head, identity = self.last_step - step, self.ledger.head, self.options.identity
        tasks = []
        for i, (name, is_send, arg, timeout) in enumerate(pending):
            task = Task(i, nodes[name], values, is_send, arg, i, step, left, head, identity)
            task.since = now
            if timeout is not None:
                task.timeout = timeout
            tasks.append(task)
        recorded = len(tasks) if recorded is None else recorded
        self.superstep = Superstep(tasks, recorded, self.plan.unstored)

    def _take_up(self, writes: Writes, targets: Sequence[Target], now: float) -> None:
        """Restore the superstep that the thread is in, with all that Commands wrote to it."""
        given = [row.value for row in self.origin.rows if row.place == THE_RUN]
        given.append((writes, targets))
        for written, _ in given:
            folded = fold(self.plan, self.values, (written,), self.memo)
            self.values.update(folded.changed)
            self._carried = joined(self._carried, folded.delta)
        added = [target for _, targets in given for target in targets]
        self._enter(self._with_targets(added), now, len(self.origin.pending))
        self.superstep.restore(self.origin.rows)

    def _with_targets(self, targets: Iterable[Target]) -> Sequence[Pending]:
        """Return what is pending, and behind it what `targets` add: rows keep their places."""
        pending = self.origin.pending
        triggered: dict[str, None] = {}
        sends: list[Pending] = []
        add_targets(targets, triggered, sends)
        for task in pending:
            triggered.pop(task.name if not task.is_send else "", None)
        return [*pending, *sends, *map(Pending, triggered)] if triggered or sends else pending

    # -- one outcome --------------------------------------------------------------------------

    def _take(self, outcome: Outcome, now: float, handlers: list[Task]) -> list[Row]:
        if outcome.interrupts is not None:
            return self.superstep.ask(outcome)
        if outcome.error is None:
            return self.superstep.finish(outcome)
        return self._take_error(outcome.task, outcome.error, outcome, now, handlers)

    def _take_error(
        self,
        task: Task,
        error: BaseException,
        outcome: Outcome,
        now: float,
        handlers: list[Task],
    ) -> list[Row]:
        if is_invalid_resume(error):
            self.superstep.refuse(outcome)
            return []
        wait = retry_wait(task.node.retry, error, task.attempt, outcome.jitter, now - task.since)
        if wait is not None:
            task.attempt += 1
            self.retries.append((now + wait, task))
            return []
        if task.node.handler is None or not isinstance(error, Exception):
            self.error = self.error or error
        else:
            handlers.append(self.superstep.hand_over(task, error))
        earlier = self.origin.rows if task.head == self.origin.seq else ()
        return [Row(task.index, RowKind.ERROR, failures(earlier, task), repr(error))]

    # -- what is recorded ----------------------------------------------------------------------

    def _framed(
        self,
        source: Source,
        delta: Any,
        pending: Sequence[Pending],
        settled: Any,
        now: float,
        unsettled: tuple[Unsettled, ...] = (),
    ) -> tuple[Frame, ...]:
        if not self.options.records:
            return ()
        frame = self.ledger.frame(
            source, self.step, delta, pending, self.waiting, settled, now, unsettled
        )
        return (frame,)

    def _given_up(self) -> tuple[Unsettled, ...]:
        """Return what is known of the open superstep, for the frame that gives it up."""
        return unsettled(self.origin.rows) if self.origin.rows else ()

    def _commit(self, frames: tuple[Frame, ...]) -> Commit | None:
        return self.ledger.commit(frames) if frames else None

    def _commit_rows(self, rows: Sequence[Row], withdrawn: Sequence[Row] = ()) -> Commit | None:
        return self.ledger.commit_rows(rows, withdrawn) if self.options.records else None
