"""The thread driver: runs a machine to its end in blocking code.

A lone task runs in the caller's own thread; the tasks of a wider frontier, and any task while
somebody listens to what nodes say as they run, go to worker threads.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any

from graphflow.checkpoint.records import Commit
from graphflow.drivers.call import Blocking, cancelled_by_itself, carry, failed, heed, perform
from graphflow.drivers.calling import running_loop, settled
from graphflow.drivers.driver import Driver
from graphflow.drivers.task_call import Ended
from graphflow.drivers.workers import Workers
from graphflow.engine.turn import Outcome, Status, Task, Turn
from graphflow.errors import CheckpointError, NodeCancelledError
from graphflow.events import Event
from graphflow.runtime import TaskContext, current, enter_task

_PATIENCE = 0.0005
"""Seconds without any result after which more workers are called."""


class ThreadDriver(Driver):
    """Carries one run in blocking code."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.workers: Workers | None = None
        self.arrived: SimpleQueue[Outcome | Event | BaseException] = SimpleQueue()
        self.noting = threading.Lock()
        """Held by who tells the machine something while tasks run elsewhere."""
        self.running = 0
        self.outer = running_loop()
        self.own = copy_context()
        """Where tasks run that the caller's thread performs: what they set stays in the run."""
        self.context.sink = self.arrived.put

    def run(self, turn: Turn) -> Iterator[Event]:
        """Run from `turn` to the end, yielding events as they come.

        Raises:
            BaseException: What made the run fail.
        """
        machine, inline, around = self.machine, self.is_inline, self.context.around
        own, perform_one, control = self.own, self._perform, self.context.control
        effects = self.effects
        try:
            while True:
                if around is not None and around.run.caller is None:
                    raise RuntimeError("The run around this graph has ended; nothing more is run.")
                if turn.commit is not None and self.saver is not None:
                    self._save(turn.commit)
                if turn.events:
                    yield from turn.events
                if turn.status is not Status.RUNNING:
                    break
                tasks = turn.tasks
                if effects and self.must_wait(tasks):
                    with self.noting:
                        self.saver.settle()  # type: ignore[union-attr]  # it has effects to wait for
                if inline and len(tasks) == 1 and not self.running:
                    outcomes = (own.run(perform_one, tasks[0]),)
                    while self.has_called and not self.arrived.empty():
                        yield self.arrived.get()  # type: ignore[misc]  # of calls that it made
                    if control is not None:
                        heed(control, machine)
                    turn = machine.complete(outcomes, time.time())
                    if around is not None:
                        around.touch()
                    continue
                for task in tasks:
                    self._hand_out(task)
                outcomes = yield from self._gather(turn.wake_at)
                if control is not None:
                    heed(control, machine)
                with self.noting:
                    if outcomes:
                        turn = machine.complete(outcomes, time.time())
                        if around is not None:
                            around.touch()
                    else:  # the wait is over, whatever the clock says
                        turn = machine.tick(max(time.time(), turn.wake_at or 0.0))
            yield from self._wind_up()
        except CheckpointError as lost:
            raise self.blamed(lost)  # noqa: B904  # it has its cause
        finally:
            if self.workers is not None:
                self.workers.withdraw()
                self.workers.close()
            if self.callers is not None:
                self.callers.withdraw()
                self.callers.close()
            with self.noting:
                self.let_go()
            self._finish_saving()
        if machine.error is not None:
            raise machine.error

    def _save(self, commit: Commit) -> None:
        assert self.saver is not None
        if not self.running:  # nothing runs that could have something noted
            self.saver.save(commit)
            return
        with self.noting:
            self.saver.save(commit)

    def _finish_saving(self) -> None:
        if self.saver is None:
            return
        try:
            self.saver.finish()
        except CheckpointError as lost:
            raise self.blamed(lost)  # noqa: B904  # it has its cause

    def _perform(self, task: Task) -> Outcome:
        """Perform a task in a context of variables that nothing but tasks ever sees."""
        context = TaskContext(self.context, task)
        enter_task(context)
        try:
            outcome = carry(perform(self.machine, context, task, False), on_portal)
        except _cancellations() as error:  # nobody cancels a blocking run: the node did it
            outcome = failed(task, cancelled_by_itself(task, error))
        except BaseException as error:  # sorted by `failed`
            outcome = failed(task, error)
        if context.called is not None:
            return carry(settled(context, outcome), _here)
        return outcome

    def note(self, ended: Ended) -> None:
        with self.noting:
            self.check_open()
            commit = ended.call.note(ended.returned)
            if commit is not None and self.saver is not None:
                self.saver.save(commit)

    async def anote(self, ended: Ended) -> None:
        await self.aside(Blocking(self.note, ended))

    def anchor(self) -> None:
        with self.noting:
            self.check_open()
            if self.saver is not None:
                self.saver.anchor()

    async def aanchor(self) -> None:
        await self.aside(Blocking(self.anchor))

    def _hand_out(self, task: Task) -> None:
        self.running += 1
        if self.workers is None:
            self.workers = Workers(self.max_concurrency)
        self.workers.submit(_Job(self, task, copy_context()))

    def _gather(self, wake_at: float | None) -> Any:
        if not self.running:
            time.sleep(max(0.0, (wake_at or 0.0) - time.time()))
            return ()
        outcomes: list[Outcome] = []
        while not outcomes:
            arrived = self._next(wake_at)
            if arrived is None:
                return ()
            while arrived is not None:
                if isinstance(arrived, Event):
                    yield arrived
                else:
                    outcomes.append(self._taken(arrived))
                arrived = None if self.arrived.empty() else self.arrived.get()
        return outcomes

    def _taken(self, arrived: Outcome | BaseException) -> Outcome:
        self.running -= 1
        if isinstance(arrived, BaseException):
            raise arrived
        return arrived

    def _next(self, wake_at: float | None) -> Outcome | Event | BaseException | None:
        while True:
            try:
                return self.arrived.get(timeout=self._patience(wake_at))
            except Empty:
                if wake_at is not None and time.time() >= wake_at:
                    return None
                if self.workers is not None:
                    self.workers.grow()

    def _patience(self, wake_at: float | None) -> float | None:
        workers = self.workers
        if workers is not None and workers.count < workers.limit and not workers.jobs.empty():
            return _PATIENCE
        return None if wake_at is None else max(0.0, wake_at - time.time())

    def _wind_up(self) -> Iterator[Event]:
        """Let running siblings of a failed task end, and keep what they finished.

        Those of a superstep that took too long are left to themselves.
        """
        if self.machine.is_late:
            return
        if self.workers is not None:
            self.running -= self.workers.withdraw()
        while self.running:
            outcomes: Sequence[Outcome] = yield from self._gather(None)
            with self.noting:
                turn = self.machine.complete(outcomes, time.time())
            if turn.commit is not None and self.saver is not None:
                self._save(turn.commit)
            yield from turn.events


def _here(wanted: Any) -> Any:
    """Do what waiting for calls asks for."""
    return wanted() if isinstance(wanted, Blocking) else on_portal(wanted)


def _cancellations() -> tuple[type[BaseException], ...]:
    """Return the exceptions that stand for a cancellation, as far as they are loaded."""
    modules = [sys.modules.get(name) for name in ("asyncio", "concurrent.futures")]
    return tuple(module.CancelledError for module in modules if module is not None)


def on_portal(coroutine: Any) -> Any:
    """Run a coroutine of the running task on graphflow's own loop; see `portal`."""
    from asyncio import CancelledError  # here: most blocking programs have no async node

    from graphflow.drivers import portal

    try:
        return portal.on_portal(coroutine)
    except CancelledError as error:
        name = current().task.name
        raise NodeCancelledError(f"Node '{name}' raised CancelledError by itself.") from error


class _Job:
    """A task on its way through a worker thread."""

    __slots__ = ("context", "driver", "task")

    def __init__(self, driver: ThreadDriver, task: Task, context: Any) -> None:
        self.driver = driver
        self.task = task
        self.context = context

    def __call__(self) -> None:
        arrived: Outcome | BaseException
        try:
            arrived = self.context.run(self.driver._perform, self.task)
        except BaseException as error:  # handed to the run's own thread, which raises it
            arrived = error
        self.driver.arrived.put(arrived)
