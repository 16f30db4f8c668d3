"""What every driver of runs has."""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.drivers.calling import Caller, CallFuture
from graphflow.drivers.saving import Saver
from graphflow.drivers.workers import AT_MOST, Workers
from graphflow.engine.machine import Machine
from graphflow.engine.turn import Task
from graphflow.errors import CheckpointError, is_invalid_resume
from graphflow.runtime import RunContext

NO_NODES: frozenset[str] = frozenset()


class Driver(Caller):
    """Carries one run.

    Args:
        machine: The run.
        context: What its tasks share.
        saver: Where commits go; None: nowhere.
        max_concurrency: The most tasks that run at once; None: as the driver sees fit.
    """

    def __init__(
        self,
        machine: Machine,
        context: RunContext,
        saver: Saver | None,
        max_concurrency: int | None = None,
    ) -> None:
        self.machine = machine
        self.context = context
        self.saver = saver
        self.max_concurrency = max_concurrency
        self.effects = NO_NODES
        """Nodes that begin only when all before them is stored."""
        if saver is not None and saver.in_background:
            self.effects = machine.plan.effects
        self.has_ended = False
        self.callers: Workers | None = None
        """Threads for calls of tasks; apart from those of nodes, which wait for them."""
        context.caller = self

    @property
    def is_inline(self) -> bool:
        """Whether a lone task may run where the run itself runs.

        Not where somebody wants to hear of it while it runs, or it may have to be left behind.
        """
        options = self.machine.options
        if self.machine.plan.entry is not None and options.modes:
            return False
        return not self.context.is_heard and options.step_timeout is None

    def must_wait(self, tasks: Sequence[Task]) -> bool:
        """Whether one of these tasks begins only when all before it is stored."""
        return any(task.name in self.effects for task in tasks)

    def let_go(self) -> None:
        """Forget each other at the end of the run, so that nothing is left for the collector."""
        self.has_ended = True
        self.context.caller = self.context.sink = None

    def check_open(self) -> None:
        """Refuse to note what comes after the end of the run: another may go on by now.

        Raises:
            RuntimeError: The run has ended.
        """
        if self.has_ended:
            raise RuntimeError("The run has ended before its call did; its result is not kept.")

    def begin_in_thread(self, future: CallFuture) -> None:
        if self.callers is None:
            self.callers = Workers(self.max_concurrency, AT_MOST)  # calls wait for calls
        self.callers.submit(future.perform)

    def blamed(self, lost: CheckpointError) -> BaseException:
        """Return what to raise when saving failed: the run's own error, if it has failed, too.

        Not that an answer does not fit: it is still stored, and the question is not open again.
        """
        error = self.machine.error
        if error is None or is_invalid_resume(error):
            return lost
        error.__cause__ = lost
        return error
