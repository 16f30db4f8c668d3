"""One call of a task: what it is, and how it is performed (contract §23).

A call is performed beside the node that makes it, and its result is noted before the node gets it:
in the next attempt of the node, in this process or another, the call in the same place returns what
it returned before. Written once as a generator that yields what it cannot do itself, as
`call.perform` does.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Generator
from types import CoroutineType
from typing import Any, NamedTuple

from graphflow.drivers.caching import key_of, recalled, remembered
from graphflow.drivers.call import Blocking, done, swallowed
from graphflow.engine.machine import Machine
from graphflow.engine.retries import retry_wait
from graphflow.errors import (
    is_invalid_resume,
)
from graphflow.graph.tasks import TaskSpec
from graphflow.ids import digest
from graphflow.injection import injected
from graphflow.runtime import RunContext, TaskContext, enter_task

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
        calls_of(self.root).counts.pop(self.place, None)
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


_lock = threading.Lock()


def calls_of(root: TaskContext) -> Calls:
    if root.called is None:
        with _lock:  # parts of a node run side by side
            root.called = root.called or Calls()
    calls: Calls = root.called
    return calls


def depth(place: Path) -> int:
    """Return in how many calls a place is; negative numbers are parts of a node, no calls."""
    return sum(number >= 0 for number in place)
