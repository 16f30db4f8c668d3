"""The open superstep: its tasks, and what is known of each.

A task ends finished, asking a person, or refused (it was given an answer that does not fit). What
must outlive the run is told as rows, and restored from them when the superstep is taken up again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphflow.checkpoint.records import Row, RowKind, Settled, Unsettled, Writes
from graphflow.engine.turn import Outcome, Task
from graphflow.errors import unfit_question
from graphflow.types import Interrupt, NodeError

THE_RUN = -1
"""Place of rows that hold what a resuming Command wrote, not a task."""


class StoredFailure(RuntimeError):
    """The text of an error that a task ended with in another process."""


class Superstep:
    """Gathers the outcomes of one frontier.

    Args:
        tasks: The frontier.
        recorded: How many of them the stored frame names; those behind were added by a Command.
        unstored: Keys that are not to be stored.
    """

    __slots__ = (
        "asking",
        "dropped",
        "finished",
        "given",
        "has_failures",
        "recorded",
        "refused",
        "tasks",
        "unfit",
        "unstored",
    )

    def __init__(self, tasks: list[Task], recorded: int, unstored: frozenset[str]) -> None:
        self.tasks = tasks
        self.recorded = recorded
        self.unstored = unstored
        self.finished: dict[int, Outcome] = {}
        self.asking: dict[int, Outcome] = {}
        self.refused: dict[int, BaseException] = {}
        self.has_failures = False
        """Whether an error handler took a task's place."""
        self.given: Sequence[Row] = ()
        """Answers that came with this run."""
        self.unfit: Sequence[Row] = ()
        """Answers that did not fit, and came with a run that did not live to take them back."""
        self.dropped: Sequence[Row] = ()
        """Questions that are no longer asked and still stored."""

    # -- outcomes ------------------------------------------------------------------------------

    def finish(self, outcome: Outcome) -> list[Row]:
        """Take a finished task."""
        task = outcome.task
        self.finished[task.index] = outcome
        writes = stored(outcome.writes, self.unstored)
        return [Row(task.index, RowKind.RESULT, 0, (writes, tuple(outcome.targets)))]

    def ask(self, outcome: Outcome) -> list[Row]:
        """Take a task that stopped with questions; those that it asked before are known."""
        task, interrupts = outcome.task, outcome.interrupts or ()
        self.asking[task.index] = outcome
        known = {question.id for question in task.asked.values()}
        new = [question for question in interrupts if question.id not in known]
        first = max(task.asked, default=-1) + 1
        self._drop_stale(task, {question.id for question in interrupts})
        task.asked = {**task.asked, **dict(enumerate(new, first))}
        return [Row(task.index, RowKind.QUESTION, n, q) for n, q in enumerate(new, first)]

    def _drop_stale(self, task: Task, asked_now: set[str]) -> None:
        """Drop open questions that the task, run again, has not come to: nobody waits for them."""
        stale = [
            number
            for number, question in task.asked.items()
            if number not in task.replies and question.id not in asked_now
        ]
        dropped = [Row(task.index, RowKind.QUESTION, n, task.asked[n]) for n in stale]
        self.dropped = [*self.dropped, *dropped]
        task.asked = {n: question for n, question in task.asked.items() if n not in stale}

    def refuse(self, outcome: Outcome) -> None:
        """Take a task whose answer did not fit."""
        task, error = outcome.task, outcome.error
        assert error is not None
        self.refused[task.index] = error
        question, given = unfit_question(error), {row[:3] for row in self.given}
        rows = [
            Row(task.index, RowKind.ANSWER, number, answer)
            for number, answer in task.replies.items()
            if task.asked[number].id == question
        ]
        self.unfit = [*self.unfit, *(row for row in rows if row[:3] not in given)]

    def hand_over(self, task: Task, error: BaseException) -> Task:
        """Put the error handler of a failed task's node in its place, and return it."""
        handler = task.node.handler
        assert handler is not None
        taking_over = Task(
            task.index, handler, task.values, task.is_send, task.arg, task.place,
            task.step, task.steps_left, task.head, task.identity,
        )  # fmt: skip
        taking_over.since = task.since
        self._drop_stale(task, set())  # what the node asked and was not told is asked no more
        taking_over.asked = task.asked  # the handler's questions are numbered on from there
        taking_over.failure = NodeError(task.node.name, error)
        self.tasks[task.index] = taking_over
        self.has_failures = True
        return taking_over

    def withdrawn(self, outcomes: Sequence[Outcome]) -> list[Row]:
        """Return what is taken back: answers that did not fit, questions nobody asks any more."""
        refused = {o.task.index for o in outcomes if o.task.index in self.refused}
        dropped, self.dropped = [*self.dropped, *self.unfit], ()
        self.unfit = ()
        return [*dropped, *(row for row in self.given if row.place in refused)]

    @property
    def is_finished(self) -> bool:
        """Whether every task is finished."""
        return len(self.finished) == len(self.tasks)

    @property
    def is_still(self) -> bool:
        """Whether no task is running or will run again."""
        ended = len(self.finished) + len(self.asking) + len(self.refused)
        return ended == len(self.tasks)

    @property
    def is_drained(self) -> bool:
        """Whether nothing but a drain keeps its tasks from going on."""
        return all(outcome.is_drained for outcome in self.asking.values())

    def unfinished(self) -> list[Task]:
        """Return the tasks that have to run."""
        return [task for task in self.tasks if task.index not in self.finished]

    def questions(self) -> tuple[Interrupt, ...]:
        """Return what the tasks stopped at, in the order in which they did."""
        return tuple(q for outcome in self.asking.values() for q in outcome.interrupts or ())

    def settled(self, outcomes: Sequence[Outcome]) -> tuple[Settled, ...]:
        """Return how tasks ended, for the frame that closes the superstep."""
        recorded, unstored = self.recorded, self.unstored
        settled = []
        for task, writes, *_ in outcomes:
            place = task.index if task.index < recorded and task.failure is None else -1
            kept = stored(writes, unstored) if unstored else writes
            asked = tuple(task.asked.values()) if task.asked else ()
            settled.append(Settled(place, task.node.name, kept, asked))
        return tuple(settled)

    def failed(self) -> tuple[Unsettled, ...]:
        """Return the tasks that failed and whose error handler took their place."""
        if not self.has_failures:
            return ()
        return tuple(
            Unsettled(task.index, error=_text(task.failure.error))
            for task in self.tasks
            if task.failure is not None and task.index < self.recorded
        )

    # -- taking it up again --------------------------------------------------------------------

    def restore(self, rows: Sequence[Row]) -> None:
        """Restore what an earlier run knew."""
        for row in rows:
            if row.place == THE_RUN:
                continue
            task = self.tasks[row.place]
            if row.kind is RowKind.ERROR and task.node.handler is not None:
                self.hand_over(task, StoredFailure(row.value))
            elif row.kind is RowKind.RESULT:
                self.finished[task.index] = Outcome(task, *row.value)
            elif row.kind is RowKind.QUESTION:
                task.asked = {**task.asked, row.number: row.value}
            elif row.kind is RowKind.ANSWER:
                task.replies = {**task.replies, row.number: row.value}
            elif row.kind is RowKind.CALL:
                recall(task, *row.value)

    def answer(self, answers: Mapping[str, Any]) -> list[Row]:
        """Give answers to the tasks that asked; by the question's id."""
        given: list[Row] = []
        for task in self.tasks:
            for number, question in task.asked.items():
                if question.id in answers:
                    answer = answers[question.id]
                    task.replies = {**task.replies, number: answer}
                    given.append(Row(task.index, RowKind.ANSWER, number, answer))
        self.given = given
        return list(given)

    def hand_in(self, ns: tuple[str, ...]) -> dict[str, Any]:
        """Hand every task the answers to its own questions; return those to graphs inside.

        Args:
            ns: Where this graph stands: questions from elsewhere come from graphs inside it.
        """
        passed: dict[str, Any] = {}
        for task in self.tasks:
            told = [(task.asked[number], answer) for number, answer in sorted(task.replies.items())]
            task.answers = tuple(answer for question, answer in told if question.ns == ns)
            passed.update({q.id: answer for q, answer in told if q.ns != ns})
        return passed


def unsettled(rows: Sequence[Row]) -> tuple[Unsettled, ...]:
    """Return what rows tell of their tasks."""
    known: dict[int, Unsettled] = {}
    for row in rows:
        task = known.get(row.place, Unsettled(row.place))
        if row.kind is RowKind.RESULT:
            task = task._replace(writes=row.value[0])
        elif row.kind is RowKind.QUESTION:
            task = task._replace(interrupts=(*task.interrupts, row.value))
        elif row.kind is RowKind.ERROR:
            task = task._replace(error=row.value)
        known[row.place] = task
    return tuple(task for place, task in known.items() if place != THE_RUN)


def _text(error: BaseException) -> str:
    """Return an error as it is stored; one that was read from there is its text already."""
    return str(error) if isinstance(error, StoredFailure) else repr(error)


def recall(task: Task, path: tuple[int, ...], name: str, returned: Any) -> None:
    """Note what a call of a task returned: in the next attempt it is not made again."""
    if not task.recalled:
        task.recalled = {}
    task.recalled[path] = (name, returned)


def stored(writes: Writes, unstored: frozenset[str]) -> Writes:
    """Return writes without the keys that are not to be stored."""
    return tuple(pair for pair in writes if pair[0] not in unstored) if unstored else writes


def failures(rows: Sequence[Row], task: Task) -> int:
    """Return how often `task` has failed in earlier runs of its superstep."""
    return sum(row.kind is RowKind.ERROR and row.place == task.index for row in rows)


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
