"""What every driver of runs has."""

from __future__ import annotations

from graphflow.drivers.saving import Saver
from graphflow.engine.machine import Machine
from graphflow.errors import CheckpointError
from graphflow.runtime import RunContext


class Driver:
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

    def blamed(self, lost: CheckpointError) -> BaseException:
        """Return what to raise when saving failed: the run's own error, if it has failed, too."""
        error = self.machine.error
        if error is None:
            return lost
        error.__cause__ = lost
        return error
