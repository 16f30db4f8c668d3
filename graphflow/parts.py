"""Parts of a task: what a node does side by side, such as the tool calls of one message.

A task tells its questions, and the graphs that it calls, apart by the order in which it comes to
them. Parts that run side by side come to theirs in any order, so each counts for itself: its
questions are known by their ids, as those of a graph inside the task are, and the graphs that it
calls have numbers of its own.
"""

from __future__ import annotations

from typing import Any

from graphflow.errors import GraphInterrupt
from graphflow.ids import digest
from graphflow.runtime import TaskContext, checked_answer, json_schema
from graphflow.types import Interrupt

_APART = 1_000_000
"""How many graphs a part may call before its numbers are those of the next part."""


def divided(whole: TaskContext, count: int) -> list[TaskContext]:
    """Return contexts for `count` parts of the running task, to be entered one by each part.

    Parts are told apart by their place in this list: a task that runs again must divide itself in
    the same way.
    """
    first, whole.calls = whole.calls, whole.calls + count * _APART
    return [_Part(whole, first + number * _APART) for number in range(count)]


class _Part(TaskContext):
    """A part of a task; what it pushes is pushed by the task, and where it stops, the task does."""

    __slots__ = ("first", "whole")

    def __init__(self, whole: TaskContext, first: int) -> None:
        super().__init__(whole.run, whole.task)
        self.whole = whole
        self.pushed = whole.pushed
        self.calls = self.first = first

    @property
    def root(self) -> TaskContext:
        return self.whole.root

    @property
    def place(self) -> tuple[int, ...]:
        return (*self.whole.place, -2 - self.first)

    def touch(self, *, is_heartbeat: bool = False) -> None:
        """Note that the task goes on."""
        self.whole.touch(is_heartbeat=is_heartbeat)

    def stop(self, interrupts: tuple[Interrupt, ...]) -> GraphInterrupt:
        """Note that the task stops here, and return the signal to raise."""
        return self.whole.stop(interrupts)

    def ask(self, value: Any, response_schema: Any) -> Any:
        """Return the answer to the part's next question, or stop the task with the question."""
        question = Interrupt(
            value,
            digest("|".join(self.ns), f"{self.first}.{self.asked}"),
            json_schema(response_schema),
            self.task.name,
            self.ns,  # not the run's: what is asked from elsewhere is answered by id
        )
        self.asked += 1
        if question.id in self.run.answers:
            return checked_answer(self.run.answers[question.id], response_schema, question.id)
        raise self.stop((question,))
