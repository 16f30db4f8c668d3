"""The simulation driver: whole runs under a seed, with crashes where you want them.

It carries a machine as the real drivers do, but in one thread, with a clock of its own: which of
the running tasks ends next, and how many outcomes come together, is drawn from the seed; no waiting
takes time, be it for a retry, for a timeout, or a node's own `asyncio.sleep`. A `Crash` can be
ordered before or after any commit; what is in the store then is all that is left, as after
`kill -9`.

    for seed in range(1000):
        Simulation(app, seed).invoke(given, config)
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from graphflow.checkpoint.records import Commit
from graphflow.compiled import CompiledStateGraph
from graphflow.drivers.call import Blocking, carry, failed, heed, perform
from graphflow.drivers.calling import Caller, CallFuture, settled
from graphflow.drivers.task_call import Ended
from graphflow.engine.turn import Outcome, Status, Task
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

    def invoke(
        self,
        given: Any,
        config: Config | None = None,
        *,
        stream_mode: Sequence[str] = ("values", "updates", "custom", "messages", "tools"),
        **options: Any,
    ) -> Any:
        """Run to the end as `app.invoke` would; listeners want to hear of `stream_mode`.

        Raises:
            Crash: `crash` said so.
            BaseException: What made the run fail.
        """
        run = self.app._run(given, config, modes=tuple(stream_mode), **options)
        run.clock = lambda: self.now
        opened = run.open()
        context = run.context(opened)
        context.sink = self.events.append
        try:
            with asyncio.Runner(loop_factory=lambda: _JumpingLoop(self)) as loop:
                _Carriage(self, opened, context, loop).carry()
        finally:
            if run.claim is not None:
                run.claim.forget()  # whether it ended or crashed: this process is not the one
        machine = run.machine = opened.machine
        if machine.error is not None:
            raise machine.error
        values = machine.output()
        if machine.plan.is_root:
            return run.result("v1")
        return {**values, INTERRUPT: list(machine.raised())} if machine.raised() else dict(values)

    def save(self, opened: Opened, commit: Commit | None) -> None:
        """Store a commit, or crash before or after it."""
        if commit is None or opened.recorder is None:
            return
        number, self.commits = self.commits, self.commits + 1
        if self.crash("before", number):
            raise Crash(f"before commit {number}")
        opened.recorder.store.run(opened.recorder.record(commit))
        if self.crash("after", number):
            raise Crash(f"after commit {number}")


class _Carriage(Caller):
    """Carries one run."""

    def __init__(
        self, simulation: Simulation, opened: Opened, context: RunContext, loop: asyncio.Runner
    ) -> None:
        self.simulation = simulation
        self.opened = opened
        self.machine = opened.machine
        self.context = context
        self.loop = loop
        self.dice = simulation.dice
        self.running: list[Task] = []
        context.caller = self

    def carry(self) -> None:
        """Run to the end."""
        simulation, turn = self.simulation, self.opened.turn
        while True:
            simulation.save(self.opened, turn.commit)
            simulation.events.extend(turn.events)
            self.running += turn.tasks
            if turn.status is not Status.RUNNING:
                return
            outcomes = [self._end_one() for _ in self._few()]
            if self.context.control is not None:
                heed(self.context.control, self.machine)
            if outcomes:
                turn = self.machine.complete(outcomes, simulation.now)
            else:
                simulation.now = turn.wake_at or simulation.now
                turn = self.machine.tick(simulation.now)

    def _few(self) -> range:
        return range(self.dice.randint(1, len(self.running)) if self.running else 0)

    def _end_one(self) -> Outcome:
        task = self.running.pop(self.dice.randrange(len(self.running)))
        place = TaskContext(self.context, task)
        token = enter_task(place)
        try:
            outcome = carry(perform(self.machine, place, task, False), self._do)
        except BaseException as error:  # sorted by `failed`
            outcome = failed(task, error)._replace(jitter=self.dice.random())
        finally:
            leave_task(token)
        return outcome if place.called is None else carry(settled(place, outcome), self._do)

    def _do(self, wanted: Any) -> Any:
        if isinstance(wanted, Blocking):
            return wanted()
        return self.loop.run(wanted, context=copy_context())

    # -- calls of tasks ------------------------------------------------------------------------

    def begin_in_thread(self, future: CallFuture) -> None:
        if self.dice.random() < 0.5:  # else who waits for it performs it
            future.perform()

    def note(self, ended: Ended) -> None:
        self.simulation.save(self.opened, ended.call.note(ended.returned))

    async def anote(self, ended: Ended) -> None:
        self.note(ended)

    def anchor(self) -> None:
        """Every commit is stored at once, so there is nothing to make durable."""

    async def aanchor(self) -> None:
        """As `anchor`."""

    async def aside(self, wanted: Blocking) -> Any:
        with ThreadPoolExecutor(1) as elsewhere:  # where no loop runs, as with the real drivers
            return elsewhere.submit(copy_context().run, wanted).result()

    def pause(self, seconds: float) -> None:
        self.simulation.now += seconds


class _JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop on the simulation's clock: when everything waits, it jumps to the next time."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.jumping = _JumpingSelector(simulation)
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.simulation.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]  # typed less
        """Run in a thread; the clock stands still until it has ended."""
        future = super().run_in_executor(executor, func, *args)
        self.jumping.elsewhere.add(future)
        future.add_done_callback(self.jumping.elsewhere.discard)
        return future


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self.simulation = simulation
        self.elsewhere: set[Any] = set()
        """What threads are at work on."""

    def select(self, timeout: float | None = None) -> Any:
        """Look whether anything has come; if not, let `timeout` seconds pass at once."""
        if timeout is None:  # only a thread can still say something
            return super().select(None)
        ready = super().select(_PATIENCE if timeout > 0 and self.elsewhere else 0)
        if not ready:
            self.simulation.now += timeout
        return ready


_PATIENCE = 5.0
"""Real seconds that a thread may work until the clock goes on: it may itself wait for the loop."""
