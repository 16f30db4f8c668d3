"""The event-loop driver: runs a machine to its end on the caller's asyncio loop.

A lone async task is awaited in place; the tasks of a wider frontier become asyncio tasks. Blocking
nodes run in threads, so that the loop goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from types import CoroutineType
from typing import Any

from graphflow.checkpoint.records import Commit
from graphflow.drivers.call import Blocking, acarry, cancelled_by_itself, failed, heed, perform
from graphflow.drivers.calling import settled
from graphflow.drivers.driver import Driver
from graphflow.drivers.task_call import Ended, TaskCall
from graphflow.drivers.workers import AT_MOST
from graphflow.engine.turn import Outcome, Status, Task, Turn
from graphflow.errors import CheckpointError
from graphflow.events import Event
from graphflow.runtime import TaskContext, enter_task, leave_task


class LoopDriver(Driver):
    """Carries one run on the event loop that runs here."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.loop = asyncio.get_running_loop()
        self.queued: deque[Task] = deque()
        self.running: set[asyncio.Task[None]] = set()
        self.arrived: deque[Outcome | Event | BaseException] = deque()
        self.arrival: asyncio.Future[None] | None = None
        self.stopping = False
        self.noting = asyncio.Lock()
        """Held by who saves while tasks run."""
        self.calling: set[asyncio.Task[Any]] = set()
        """Calls of tasks under way."""
        self.threads: ThreadPoolExecutor | None = None
        """Where blocking nodes run; each run has its own, so that nested ones never starve."""
        self.context.sink = self._emit

    async def run(self, turn: Turn) -> AsyncIterator[Event]:
        """Run from `turn` to the end, yielding events as they come.

        Raises:
            BaseException: What made the run fail.
        """
        machine, inline, around = self.machine, self.is_inline, self.context.around
        control, effects = self.context.control, self.effects
        try:
            while True:
                if turn.commit is not None and self.saver is not None:
                    await self._save(turn.commit)
                for event in turn.events:
                    yield event
                if turn.status is not Status.RUNNING:
                    break
                tasks = turn.tasks
                if effects and self.must_wait(tasks):
                    async with self.noting:
                        await self.saver.asettle()  # type: ignore[union-attr]  # as in threads
                if inline and len(tasks) == 1 and not self.running:
                    outcomes = [await self._perform(tasks[0])]
                    while self.has_called and self.arrived and isinstance(self.arrived[0], Event):
                        yield self.arrived.popleft()  # type: ignore[misc]  # of calls that it made
                    if control is not None:
                        heed(control, machine)
                    turn = machine.complete(outcomes, time.time())
                    if around is not None:
                        around.touch()
                    continue
                self._hand_out(tasks)
                async for event in self._events_until_outcome(turn.wake_at):
                    yield event
                outcomes = self._outcomes()
                if control is not None:
                    heed(control, machine)
                if outcomes:
                    turn = machine.complete(outcomes, time.time())
                    if around is not None:
                        around.touch()
                else:  # the wait is over, whatever the clock says
                    turn = machine.tick(max(time.time(), turn.wake_at or 0.0))
        except CheckpointError as lost:
            raise self.blamed(lost)  # noqa: B904  # it has its cause
        finally:
            try:
                await self._stop()
            finally:
                self.let_go()
                await self._finish_saving()
        if machine.error is not None:
            raise machine.error

    async def _save(self, commit: Commit) -> None:
        assert self.saver is not None
        if not (self.running or self.calling):
            await self.saver.asave(commit)
            return
        async with self.noting:
            await self.saver.asave(commit)

    async def _finish_saving(self) -> None:
        if self.saver is None:
            return
        try:
            await self.saver.afinish()
        except CheckpointError as lost:
            raise self.blamed(lost)  # noqa: B904  # it has its cause

    async def _perform(self, task: Task) -> Outcome:
        context = TaskContext(self.context, task)
        token = enter_task(context)
        try:
            outcome = await acarry(perform(self.machine, context, task, True), self._awaitable)
        except asyncio.CancelledError as error:
            outcome = self._cancelled(task, error)
        except BaseException as error:  # sorted by `failed`
            outcome = failed(task, error)
        finally:
            leave_task(token)
        if context.called is not None:
            return await acarry(settled(context, outcome), self._awaitable)
        return outcome

    # -- calls of tasks ------------------------------------------------------------------------

    def begin_on_loop(self, call: TaskCall, loop: Any) -> Any:
        future = super().begin_on_loop(call, loop)
        self.calling.add(future)
        future.add_done_callback(self.calling.discard)
        return future

    async def anote(self, ended: Ended) -> None:
        async with self.noting:
            self.check_open()
            commit = ended.call.note(ended.returned)
            if commit is not None and self.saver is not None:
                await self.saver.asave(commit)

    def note(self, ended: Ended) -> None:
        self._have_done(partial(self.anote, ended))

    async def aanchor(self) -> None:
        if asyncio.get_running_loop() is not self.loop:  # a node that has a loop of its own
            await asyncio.to_thread(self.anchor)
            return
        async with self.noting:
            self.check_open()
            if self.saver is not None:
                await self.saver.aanchor()

    def anchor(self) -> None:
        self._have_done(self.aanchor)

    def _have_done(self, wanted: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have something done on the run's loop, for code in another thread, and wait for it."""
        done: Future[None] = Future()
        self.loop.call_soon_threadsafe(self._start_doing, wanted, done)
        while True:
            try:
                return done.result(timeout=1.0)
            except TimeoutError:
                if not self.loop.is_running():  # nobody will ever do it
                    raise RuntimeError("The run has ended before its call did.") from None

    def _start_doing(
        self, wanted: Callable[[], Coroutine[Any, Any, None]], done: Future[None]
    ) -> None:
        try:
            self.check_open()
        except RuntimeError as error:  # no task is begun that the closing loop would never end
            done.set_exception(error)
            return
        task = self.loop.create_task(wanted())
        self.calling.add(task)

        def tell(task: asyncio.Task[None]) -> None:  # also of one that was cancelled at once
            self.calling.discard(task)
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            done.set_result(None) if error is None else done.set_exception(error)

        task.add_done_callback(tell)

    async def aside(self, wanted: Blocking) -> Any:
        return await self._awaitable(wanted)

    def _cancelled(self, task: Task, error: asyncio.CancelledError) -> Outcome:
        current = asyncio.current_task()
        if current is None or current.cancelling():
            raise error
        return failed(task, cancelled_by_itself(task, error))

    def _awaitable(self, wanted: Any) -> Any:
        if type(wanted) is CoroutineType or hasattr(wanted, "__await__"):
            return wanted
        if self.threads is None:
            self.threads = ThreadPoolExecutor(AT_MOST, thread_name_prefix="graphflow-node")
        return self.loop.run_in_executor(self.threads, copy_context().run, wanted)

    def _hand_out(self, tasks: Sequence[Task]) -> None:
        self.queued.extend(tasks)
        while self.queued and (
            self.max_concurrency is None or len(self.running) < self.max_concurrency
        ):
            job = self.loop.create_task(self._job(self.queued.popleft()))
            self.running.add(job)

    async def _job(self, task: Task) -> None:
        try:
            self._arrive(await self._perform(task))
        except asyncio.CancelledError as error:
            if self.stopping:
                raise
            self._arrive(failed(task, cancelled_by_itself(task, error)))
        except BaseException as error:  # handed to the run, which raises it
            self._arrive(error)
        finally:
            self.running.discard(asyncio.current_task())
            if self.queued:
                self._hand_out(())

    def _arrive(self, item: Outcome | Event | BaseException) -> None:
        self.arrived.append(item)
        if self.arrival is not None and not self.arrival.done():
            self.arrival.set_result(None)

    def _emit(self, event: Event) -> None:
        try:
            on_loop = asyncio.get_running_loop() is self.loop
        except RuntimeError:
            on_loop = False
        if on_loop:
            self._arrive(event)
        else:
            self.loop.call_soon_threadsafe(self._arrive, event)

    async def _events_until_outcome(self, wake_at: float | None) -> AsyncIterator[Event]:
        while True:
            while self.arrived and isinstance(self.arrived[0], Event):
                yield self.arrived.popleft()  # type: ignore[misc]  # looked at above
            if self.arrived or not await self._arrival_before(wake_at):
                return

    async def _arrival_before(self, wake_at: float | None) -> bool:
        if wake_at is not None and not self.running:
            await asyncio.sleep(max(0.0, wake_at - time.time()))
            return False
        self.arrival = self.loop.create_future()
        timer = None
        if wake_at is not None:
            timer = self.loop.call_later(wake_at - time.time(), self._wake, self.arrival)
        await self.arrival
        if timer is not None:
            timer.cancel()
        self.arrival = None
        return bool(self.arrived)

    def _wake(self, arrival: asyncio.Future[None]) -> None:
        if not arrival.done():
            arrival.set_result(None)

    def _outcomes(self) -> list[Outcome]:
        """Take what has arrived, up to the next event: chunks keep their place in the stream."""
        outcomes: list[Outcome] = []
        while self.arrived:
            arrived = self.arrived[0]
            if isinstance(arrived, Event):
                break
            self.arrived.popleft()
            if isinstance(arrived, BaseException):
                raise arrived
            outcomes.append(arrived)
        return outcomes

    async def _stop(self) -> None:
        """Cancel what still runs, and keep what its siblings finished meanwhile."""
        self.stopping = True
        self.queued.clear()
        for job in (running := (*self.running, *self.calling)):
            job.cancel()
        if self.callers is not None:
            self.callers.withdraw()
            self.callers.close()
        if self.threads is not None:
            self.threads.shutdown(wait=False, cancel_futures=True)
        if running and not self.machine.is_late:  # those are left to themselves
            await asyncio.gather(*running, return_exceptions=True)
        late = [item for item in self.arrived if isinstance(item, Outcome)]
        self.arrived.clear()
        if late:
            turn = self.machine.complete(late, time.time())
            if turn.commit is not None and self.saver is not None:
                await self._save(turn.commit)
