"""The simulation driver: whole runs under a seed, with crashes where you want them.

It carries a machine as the real drivers do, but in one thread, with a clock of its own: which of
the running tasks ends next, and how many outcomes come together, is drawn from the seed; waiting
for a retry takes no time. A `Crash` can be ordered before or after any commit; what is in the
store then is all that is left, as after `kill -9`.

    for seed in range(1000):
        Simulation(app, seed).invoke(given, config)
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from graphflow.compiled import CompiledStateGraph
from graphflow.drivers.call import carry, failed, perform
from graphflow.engine.machine import Machine
from graphflow.engine.turn import Outcome, Status, Task, Turn
from graphflow.events import Event
from graphflow.opening import Opened
from graphflow.runtime import RunContext, TaskContext, enter_task, leave_task
from graphflow.types import INTERRUPT, Config


class Crash(BaseException):
    """The simulated end of the process."""


class Simulation:
    """Runs a compiled graph under one seed.

    Args:
        app: The graph.
        seed: Decides the order in which things happen.
        crash: Called with `"before"` or `"after"` and the number of the commit, from 0; where it
            returns True the process ends there.
    """

    def __init__(
        self,
        app: CompiledStateGraph,
        seed: int,
        crash: Callable[[str, int], bool] = lambda moment, number: False,
    ) -> None:
        self.app = app
        self.dice = random.Random(seed)
        self.crash = crash
        self.commits = 0
        self.now = 0.0
        self.events: list[Event] = []
        """All that listeners would have been told, in order."""

    def invoke(self, given: Any, config: Config | None = None, **options: Any) -> Any:
        """Run to the end as `app.invoke` would.

        Raises:
            Crash: `crash` said so.
            BaseException: What made the run fail.
        """
        modes = ("values", "updates", "custom", "messages")
        run = self.app._run(given, config, modes=modes, **options)
        opened = run.open()
        context = run.context(opened)
        context.sink = self.events.append
        with asyncio.Runner() as loop:
            self._carry(opened, context, loop)
        machine = opened.machine
        if machine.error is not None:
            raise machine.error
        values = machine.output()
        return {**values, INTERRUPT: list(machine.raised())} if machine.raised() else dict(values)

    def _carry(self, opened: Opened, context: RunContext, loop: asyncio.Runner) -> None:
        machine, turn = opened.machine, opened.turn
        running: list[Task] = []
        while True:
            self._save(opened, turn)
            self.events.extend(turn.events)
            running += turn.tasks
            if turn.status is not Status.RUNNING:
                return
            outcomes = [self._end_one(machine, context, running, loop) for _ in self._few(running)]
            if outcomes:
                turn = machine.complete(outcomes, self.now)
            else:
                self.now = turn.wake_at or self.now
                turn = machine.tick(self.now)

    def _save(self, opened: Opened, turn: Turn) -> None:
        if turn.commit is None or opened.recorder is None:
            return
        number, self.commits = self.commits, self.commits + 1
        if self.crash("before", number):
            raise Crash(f"before commit {number}")
        opened.recorder.store.run(opened.recorder.record(turn.commit))
        if self.crash("after", number):
            raise Crash(f"after commit {number}")

    def _few(self, running: list[Task]) -> range:
        return range(self.dice.randint(1, len(running)) if running else 0)

    def _end_one(
        self, machine: Machine, context: RunContext, running: list[Task], loop: asyncio.Runner
    ) -> Outcome:
        task = running.pop(self.dice.randrange(len(running)))
        place = TaskContext(context, task)
        token = enter_task(place)
        try:
            return carry(perform(machine, place, task, False), loop.run)
        except BaseException as error:  # sorted by `failed`
            return failed(task, error)._replace(jitter=self.dice.random())
        finally:
            leave_task(token)
