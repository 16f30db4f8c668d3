"""Calling: where calls of tasks run, and who waits for them.

`Caller` is the part of a driver that begins calls; a driver adds where a call runs and how its
result is noted. `settled` ends a node's attempt together with the calls that it has made.
"""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from contextvars import copy_context
from typing import Any

from graphflow.drivers.call import Blocking, acarry, carry
from graphflow.drivers.task_call import Ended, Path, Pause, Steps, TaskCall, calls_of, depth
from graphflow.drivers.workers import Workers
from graphflow.engine.machine import Machine
from graphflow.engine.turn import Outcome
from graphflow.errors import (
    DriftError,
    GraphDrained,
    GraphInterrupt,
    GraphSignal,
)
from graphflow.graph.tasks import TaskSpec
from graphflow.runtime import RunContext, TaskContext, current_or_none
from graphflow.types import Interrupt


class CallFuture(Future[Any]):
    """The result of a call that blocking code made.

    Whoever waits for a call that nobody has begun performs it himself, so that calls inside calls
    never wait for a free thread.
    """

    def __init__(self, call: TaskCall, caller: Caller) -> None:
        super().__init__()
        self._call = call
        self._caller = caller
        self._own = copy_context()
        self._is_taken = threading.Lock()

    def perform(self) -> None:
        """Perform the call, unless somebody else does."""
        if not self._is_taken.acquire(blocking=False) or not self.set_running_or_notify_cancel():
            return
        try:
            result = self._own.run(carry, self._call.steps(False), self._caller.do)
        except BaseException as error:  # goes to who waits for it
            self.set_exception(error)
        else:
            self.set_result(result)

    def result(self, timeout: float | None = None) -> Any:
        """Return what the task returned, or raise what it raised."""
        if timeout is None:
            self._hasten()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the task raised; None: it returned."""
        if timeout is None:
            self._hasten()
        return super().exception(timeout)

    def _hasten(self) -> None:
        if self._caller.may_perform:
            self.perform()
        while self._caller.may_grow and not wait([self], _PATIENCE).done:
            self._caller.grow()


class Caller(ABC):
    """The part of a driver that performs calls of tasks."""

    machine: Machine
    context: RunContext
    max_concurrency: int | None = None
    """The most calls of nodes that are performed at once; None: as many as there are."""
    callers: Workers | None = None
    """Threads for calls that blocking code makes."""
    rooms: dict[Any, Any] | None = None
    """A semaphore for each loop on which nodes make calls."""
    has_called = False
    """Whether a node of the run has called a task."""
    outer: Any = None
    """The loop on which a blocking run was begun, as in a notebook: none of its nodes is on it."""

    def call(
        self, spec: TaskSpec, around: TaskContext, given: tuple[tuple[Any, ...], dict[str, Any]]
    ) -> Any:
        """Begin a call, and return its future: to be awaited on a loop, else with `result()`.

        Raises:
            RuntimeError: Blocking code calls an asynchronous task.
            DriftError: The record has another task in this place.
        """
        loop = running_loop()
        if loop is self.outer:
            loop = None
        if loop is None and spec.is_async:
            raise RuntimeError(
                f"In a sync context async tasks cannot be called: `{spec.name}` is `async def`. "
                "Await it in an async node or entrypoint, or make it a plain function."
            )
        root = around.root
        place = calls_of(root).place(around.place)
        known = getattr(root.task, "recalled", {}).get(place)
        if known is not None:
            return _done(loop, _same(spec, around, place, known))
        self.has_called = True
        call = TaskCall(self.machine, spec, around, place, given)
        future = self._begin(call, loop)
        calls_of(root).made.append(future)
        return future

    def number_of(self, task: Any) -> int:
        """Return which of the tasks of its node in the superstep a task is."""
        name = _node_of(task)
        return sum(_node_of(other) == name for other in self.machine.superstep.tasks[: task.index])

    def _begin(self, call: TaskCall, loop: Any) -> Any:
        if loop is not None:
            future = self.begin_on_loop(call, loop)
            future.add_done_callback(_looked_at)
            return future
        future = CallFuture(call, self)
        self.begin_in_thread(future)
        return future

    def begin_on_loop(self, call: TaskCall, loop: Any) -> Any:
        """Begin a call that code on `loop` makes."""
        return loop.create_task(self._performed(call, loop))

    async def _performed(self, call: TaskCall, loop: Any) -> Any:
        if self.max_concurrency is None or depth(call.place) > 1:
            return await acarry(call.steps(True), self._afor_call)
        async with self._room_on(loop):
            return await acarry(call.steps(True), self._afor_call)

    def _room_on(self, loop: Any) -> Any:
        """Return what lets so many calls of nodes go on at once, on one loop."""
        import asyncio

        with _lock:
            self.rooms = self.rooms or {}
            if loop not in self.rooms:
                self.rooms[loop] = asyncio.Semaphore(self.max_concurrency or 1)
            return self.rooms[loop]

    @property
    def may_perform(self) -> bool:
        """Whether who waits for a call performs it himself, if nobody has begun it.

        Where there is a limit, only a call does: it has the room that it needs for that. A node has
        none, and need not: calls that nodes make are begun in their order.
        """
        context = current_or_none()
        return self.max_concurrency is None or (context is not None and depth(context.place) > 0)

    @property
    def may_grow(self) -> bool:
        """Whether calls wait for a thread that may be started."""
        callers = self.callers
        return callers is not None and callers.count < callers.limit and not callers.jobs.empty()

    def grow(self) -> None:
        """Start more threads for calls: those that there are seem to wait for something."""
        with _lock:
            if self.callers is not None:
                self.callers.grow()

    @abstractmethod
    def begin_in_thread(self, future: CallFuture) -> None:
        """Have a call performed that blocking code makes."""

    @abstractmethod
    def note(self, ended: Ended) -> None:
        """Note the result of a call, durably if the run's durability says so."""

    @abstractmethod
    async def anote(self, ended: Ended) -> None:
        """As `note`, on an event loop."""

    @abstractmethod
    def anchor(self) -> None:
        """Make the open superstep durable: a nested run is about to store what belongs to it."""

    @abstractmethod
    async def aanchor(self) -> None:
        """As `anchor`, on an event loop."""

    def pause(self, seconds: float) -> None:
        """Wait for the next attempt of a call."""
        time.sleep(seconds)

    def do(self, wanted: Any) -> Any:
        """Do what a call wants that blocking code made."""
        if isinstance(wanted, Ended):
            return self.note(wanted)
        assert isinstance(wanted, Pause)  # a blocking function is called where it is performed
        return self.pause(wanted.seconds)

    async def _afor_call(self, wanted: Any) -> Any:
        import asyncio

        if isinstance(wanted, Ended):
            return await self.anote(wanted)
        if isinstance(wanted, Pause):
            return await asyncio.sleep(wanted.seconds)
        if isinstance(wanted, Blocking):
            return await self.aside(wanted)
        return await wanted

    async def aside(self, wanted: Blocking) -> Any:
        """Make a blocking call that a call on a loop asks for."""
        import asyncio

        own = copy_context()
        return await asyncio.get_running_loop().run_in_executor(None, own.run, wanted)


def settled(context: TaskContext, outcome: Outcome) -> Generator[Any, Any, Outcome]:
    """Wait for the calls that a node has made, and return how its attempt ended with them.

    Of a node that failed, the calls on a loop are cancelled. If any of the others asks a person,
    so does the node: all their questions together. If any stopped in a drain, the node has, too.
    """
    asked: dict[str, Interrupt] = {}
    is_drained = False
    for future in context.called.made:  # calls may add to it while they are waited for
        if outcome.error is not None:
            future.cancel()
        yield from _end_of(future)
        error = None if future.cancelled() else future.exception()
        if not isinstance(error, (Exception, GraphSignal, type(None))):
            raise error  # an exit, Ctrl-C: no business of the node's
        if isinstance(error, GraphInterrupt):
            asked.update({question.id: question for question in error.interrupts})
        is_drained = is_drained or isinstance(error, GraphDrained)
    if outcome.error is not None or not (asked or is_drained):
        return outcome
    asked.update({question.id: question for question in outcome.interrupts or ()})
    return Outcome(outcome.task, interrupts=tuple(asked.values()), is_drained=not asked)


def _end_of(future: Any) -> Steps:
    """Ask for what waits until a call has ended, whichever way."""
    if isinstance(future, CallFuture):
        yield Blocking(_waited, future)
    elif not future.done():
        yield _awaited(future)


def _waited(future: CallFuture) -> None:
    with suppress(CancelledError):
        future.exception()


async def _awaited(future: Any) -> None:
    import asyncio

    await asyncio.wait([future])


_PATIENCE = 0.0005
"""Seconds of waiting for a call after which more threads are called."""

_lock = threading.Lock()


def _looked_at(future: Any) -> None:
    """Look at the error of a call, lest asyncio complains that nobody did."""
    if not future.cancelled():
        future.exception()


def _same(spec: TaskSpec, around: TaskContext, place: Path, known: tuple[str, Any]) -> Any:
    """Return the recorded result, if it is that of the same task."""
    name, returned = known
    if name != spec.name:
        number = ".".join(str(part + 1) for part in place)
        raise DriftError(
            f"Call {number} in '{around.task.name}' is '{spec.name}', but the record says "
            f"'{name}'. Tasks must be called in the same order whenever a node runs again: take "
            "back the change of the code, or start the thread anew with an input."
        )
    return returned


def _node_of(task: Any) -> str:
    """Return the name of a task's node, also where its error handler has taken over."""
    name: str = task.name if task.failure is None else task.failure.node
    return name


def running_loop() -> Any:
    """Return the loop that runs here, or None."""
    asyncio = sys.modules.get("asyncio")  # a program that has not loaded it has no loop
    try:
        return None if asyncio is None else asyncio.get_running_loop()
    except RuntimeError:
        return None


def _done(loop: Any, returned: Any) -> Any:
    future: Any = Future() if loop is None else loop.create_future()
    future.set_result(returned)
    return future
