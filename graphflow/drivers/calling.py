"""Calling: what happens when a node calls a task (contract §23).

A call is performed beside the node, and its result is noted before the node gets it: in the next
attempt of the node, in this process or another, the call in the same place returns what it returned
before. Written once as a generator that yields what it cannot do itself, as `call.perform` does; a
driver adds where calls run and how a result is noted.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from contextvars import copy_context
from types import CoroutineType
from typing import Any, NamedTuple

from graphflow.drivers.caching import key_of, recalled, remembered
from graphflow.drivers.call import Blocking, acarry, carry, done, swallowed
from graphflow.drivers.workers import Workers
from graphflow.engine.machine import Machine
from graphflow.engine.retries import retry_wait
from graphflow.engine.turn import Outcome
from graphflow.errors import (
    DriftError,
    GraphDrained,
    GraphInterrupt,
    GraphSignal,
    is_invalid_resume,
)
from graphflow.graph.tasks import TaskSpec
from graphflow.ids import digest
from graphflow.injection import injected
from graphflow.runtime import RunContext, TaskContext, current_or_none, enter_task
from graphflow.types import Interrupt

Path = tuple[int, ...]
Steps = Generator[Any, Any, Any]


class Pause(NamedTuple):
    """A wish of a call: to wait before its next attempt."""

    seconds: float


class Ended(NamedTuple):
    """A wish of a call: that its result is noted."""

    call: TaskCall
    returned: Any


class Calls:
    """All calls that one attempt of a node makes, those inside its calls as well."""

    __slots__ = ("counts", "made")

    def __init__(self) -> None:
        self.counts: dict[Path, int] = {}
        self.made: list[Any] = []
        """Their futures, of either kind."""

    def place(self, around: Path) -> Path:
        """Return the place of the next call that the node, `()`, or another call makes."""
        number = self.counts.get(around, 0)
        self.counts[around] = number + 1
        return (*around, number)


class CallView:
    """A call as its context sees it: the call of a task is a task itself."""

    __slots__ = ("attempt", "failure", "head", "id", "name", "path", "since", "step", "values")
    answers: tuple[Any, ...] = ()
    timeout = None
    is_entry = False
    triggers = ("__pregel_push",)

    def __init__(self, spec: TaskSpec, root: TaskContext, around: TaskContext, path: Path) -> None:
        self.name = spec.name
        self.id = digest(root.task.id, spec.name, *map(str, path))
        self.path = ("__pregel_push", around.task.path, path[-1], True)
        self.step = root.task.step
        self.head = root.task.head
        self.values = root.task.values
        self.failure: Any = None
        self.attempt = 1
        self.since = 0.0


class CallContext(TaskContext):
    """One attempt of a call: like that of a node, inside the node that made the call."""

    __slots__ = ("_around", "_place")

    def __init__(self, run: RunContext, view: CallView, around: TaskContext, place: Path) -> None:
        super().__init__(run, view)
        self._around = around
        self._place = place

    @property
    def root(self) -> TaskContext:
        return self._around.root

    @property
    def place(self) -> Path:
        return self._place

    @property
    def asks_in(self) -> tuple[str, ...]:
        return (*self.run.scope, f"{self.root.task.name}:{self.root.task.id}")

    def touch(self, *, is_heartbeat: bool = False) -> None:
        super().touch(is_heartbeat=is_heartbeat)
        self._around.touch(is_heartbeat=is_heartbeat)


class TaskCall:
    """One call of a task.

    Args:
        machine: The run.
        spec: What is called.
        around: The node or call that makes it.
        place: Which call of the node it is.
        given: Its arguments: by place, and by name.
    """

    def __init__(
        self,
        machine: Machine,
        spec: TaskSpec,
        around: TaskContext,
        place: Path,
        given: tuple[tuple[Any, ...], dict[str, Any]],
    ) -> None:
        self.machine = machine
        self.spec = spec
        self.around = around
        self.root = around.root
        """The node that makes the call, directly or in another call."""
        self.place = place
        self.given = given
        self.view = CallView(spec, self.root, around, place)

    def steps(self, offload: bool) -> Steps:
        """Perform the call. Yields coroutines, `Blocking` calls, `Pause` and `Ended`.

        Args:
            offload: Whether blocking functions are to be called elsewhere.
        """
        teller = self.machine.teller
        self._tell(teller.call_starts(self.view, self.given, time.time()))
        try:
            returned, is_cached = yield from self._result(offload)
        except Exception as error:
            self._tell(teller.call_ends(self.view, error, None, time.time()))
            raise
        yield from self._noted(returned)
        if is_cached:
            self._tell(teller.call_recalled(self.view, returned))
        else:
            self._tell(teller.call_ends(self.view, None, returned, time.time()))
        self.around.touch()
        return returned

    def _noted(self, returned: Any) -> Steps:
        try:
            yield Ended(self, returned)
        except Exception as error:  # what is not noted is not recalled either
            task: Any = self.root.task
            task.recalled.pop(self.place, None)
            error.add_note(f"While the result of task '{self.spec.name}' was noted.")
            raise

    def note(self, returned: Any) -> Any:
        """Return the commit that notes the result; None: there is no store."""
        task: Any = self.root.task
        return self.machine.called(task, self.place, self.spec.name, returned)

    def _tell(self, events: Any) -> None:
        sink = self.root.run.sink
        if sink is not None:  # nobody listens to a run that was left
            for event in events:
                sink(event)

    def _result(self, offload: bool) -> Generator[Any, Any, tuple[Any, bool]]:
        """Take the result from the cache, or make attempts and keep what they give."""
        cache = self.root.run.cache
        if self.spec.cache is None or cache is None:
            return (yield from self._attempts(offload)), False
        key = key_of(self.spec, *self.given[0], **self.given[1])
        found = yield from done(recalled(cache, key), offload)
        if found is not None:
            return found[0][0][1], True
        returned = yield from self._attempts(offload)
        yield from done(
            remembered(cache, key, ((("", returned),), ()), self.spec.cache.ttl), offload
        )
        return returned, False

    def _attempts(self, offload: bool) -> Steps:
        view, waited = self.view, 0.0
        view.since = began = time.time()
        while True:
            try:
                return (yield from self._attempt(offload))
            except Exception as error:
                if is_invalid_resume(error):  # the person has to try again, not the task
                    raise
                jitter = random.uniform(0, 1)
                elapsed = max(time.time() - began, waited)  # waits that take no time count, too
                pause = retry_wait(self.spec.retry, error, view.attempt, jitter, elapsed)
                if pause is None:
                    raise
            yield Pause(pause)
            waited += pause
            view.attempt += 1

    def _attempt(self, offload: bool) -> Steps:
        context = CallContext(self.root.run, self.view, self.around, self.place)
        _calls_of(self.root).counts.pop(self.place, None)
        enter_task(context)
        returned = self._begin(context, offload)
        while type(returned) in (CoroutineType, Blocking):
            returned = yield returned
        if context.signal is not None:
            raise swallowed(f"Task '{self.spec.name}'")
        return returned

    def _begin(self, context: CallContext, offload: bool) -> Any:
        spec, (positional, named) = self.spec, self.given
        named = {**injected(context, spec.missing(len(positional), named)), **named}
        if spec.callee.acall is None:
            assert spec.callee.call is not None
            if offload:
                return Blocking(spec.callee.call, *positional, **named)
            return spec.callee.call(*positional, **named)
        attempt = spec.callee.acall(*positional, **named)
        if spec.timeout is None:
            return attempt
        from graphflow.drivers.timing import timed  # here: it brings asyncio

        return timed(attempt, spec.timeout, context)


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
        place = _calls_of(root).place(around.place)
        known = getattr(root.task, "recalled", {}).get(place)
        if known is not None:
            return _done(loop, _same(spec, around, place, known))
        self.has_called = True
        call = TaskCall(self.machine, spec, around, place, given)
        future = self._begin(call, loop)
        _calls_of(root).made.append(future)
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


def _calls_of(root: TaskContext) -> Calls:
    if root.called is None:
        with _lock:  # parts of a node run side by side
            root.called = root.called or Calls()
    calls: Calls = root.called
    return calls


def depth(place: Path) -> int:
    """Return in how many calls a place is; negative numbers are parts of a node, no calls."""
    return sum(number >= 0 for number in place)


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
