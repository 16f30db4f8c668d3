"""How one task is performed: read the state, call the node, ask its paths, report the outcome.

Written once for all drivers as a generator. It yields what it cannot do itself, a coroutine to be
awaited or a blocking call to be made elsewhere, and is sent the result. A driver that runs
blocking calls in its own thread (`offload=False`) gets to see coroutines only.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from types import CoroutineType
from typing import Any, TypeVar

from graphflow.checkpoint.records import Writes
from graphflow.drivers.caching import key_of, recalled, remembered
from graphflow.engine.machine import Machine
from graphflow.engine.returns import prepared, read_path, read_return
from graphflow.engine.turn import Outcome, Target, Task
from graphflow.errors import (
    GraphDrained,
    GraphInterrupt,
    NodeCancelledError,
    ParentCommand,
    SwallowedInterruptError,
)
from graphflow.graph.callables import Callee
from graphflow.graph.plan import Node, Plan, Route
from graphflow.injection import injected
from graphflow.runtime import RunControl, TaskContext, emit_message
from graphflow.state.schema import LastStep, Schema, fields_written, is_annotated_class
from graphflow.types import START, TimeoutPolicy

T = TypeVar("T")
Step = Generator[Any, Any, Outcome]


def carry(steps: Generator[Any, Any, T], run: Callable[[Any], Any]) -> T:
    """Carry a generator to its end in blocking code; `run` gives what it asks for."""
    try:
        wanted = next(steps)
        while True:
            try:
                done = run(wanted)
            except BaseException as error:  # goes to where it was asked for
                wanted = steps.throw(error)
            else:
                wanted = steps.send(done)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # what the generator returns


async def acarry(steps: Generator[Any, Any, T], run: Callable[[Any], Awaitable[Any]]) -> T:
    """As `carry`, on an event loop."""
    try:
        wanted = next(steps)
        while True:
            try:
                done = await run(wanted)
            except BaseException as error:  # goes to where it was asked for
                wanted = steps.throw(error)
            else:
                wanted = steps.send(done)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # what the generator returns


class Blocking(functools.partial[Any]):
    """A blocking call that a driver makes where it does not block."""

    def __call__(self, /, *args: Any, **keywords: Any) -> Any:
        """Call; a `StopIteration` would pass for the end of whoever waits."""
        try:
            return super().__call__(*args, **keywords)
        except StopIteration as error:
            raise RuntimeError("the call raised StopIteration") from error


_AWAITED = (CoroutineType, Blocking)
_CALLED: Any = object()


def perform(
    machine: Machine, context: TaskContext, task: Task, offload: bool, returned: Any = _CALLED
) -> Step:
    """Perform one attempt of `task`. What the node raises passes through: see `failed`.

    Args:
        machine: The run.
        context: The task's place in it.
        task: What to perform.
        offload: Whether blocking nodes are to be called elsewhere.
        returned: What the node is taken to have returned, without being called.
    """
    plan, node = machine.plan, task.node
    is_cached = False
    targets: Sequence[Target] = ()
    if node.name == START:
        writes = task.arg
    else:
        shown = task.arg if task.is_send else node_input(node, task)
        key = found = None
        if node.cache is not None and context.run.cache is not None and returned is _CALLED:
            key = key_of(node, shown)
            found = yield from done(recalled(context.run.cache, key), offload)
        if found is not None:
            (writes, targets), is_cached = found, True
        else:
            if returned is _CALLED:
                try:
                    returned = _begin(node.callee, shown, context, offload)
                    if task.timeout is not None:
                        returned = _limited(returned, task.timeout, context)
                    while type(returned) in _AWAITED:
                        returned = yield returned
                except ParentCommand as signal:
                    returned = _taken_over(signal)
                if context.signal is not None:
                    raise swallowed(f"Node '{task.name}'")
            writes, targets = read_return(plan, returned)
            if context.pushed:
                writes = _with_pushed(plan, context, writes)
            if key is not None:
                keep = remembered(context.run.cache, key, (writes, targets), node.cache.ttl)
                yield from done(keep, offload)
        if "messages" in context.run.wanted:
            _stream_messages(context, shown, writes)
    if node.routes:
        values = machine.preview(task, writes)
        for route in node.routes:
            shown = _route_input(plan, route, task, values, writes)
            answer = _begin(route.callee, shown, context, False)
            while type(answer) in _AWAITED:
                answer = yield answer
            targets = [*targets, *read_path(plan, route, answer)]
        if context.pushed:
            writes = _with_pushed(plan, context, writes)
    elif plan.state.kind == "pydantic" and writes:
        machine.preview(task, writes)
    return Outcome(task, writes, targets, is_restored=is_cached)


def done(work: Callable[[], T], offload: bool) -> Generator[Any, Any, T]:
    """Do blocking work where it does not block."""
    if not offload:
        return work()
    done: T = yield Blocking(work)
    return done


def _with_pushed(plan: Plan, context: TaskContext, writes: Writes) -> Writes:
    """Return what a task wrote, first what it pushed before it returned."""
    pushed = tuple(context.pushed)
    context.pushed.clear()
    return (*prepared(plan, pushed), *writes)


def _taken_over(signal: ParentCommand) -> Any:
    """Return a command of a graph inside the node as one for this graph: it is meant for it."""
    return replace(signal.command, graph=None)


def _begin(callee: Callee, shown: Any, context: TaskContext, offload: bool) -> Any:
    """Call, and return the result or what has to be awaited for it."""
    arguments = (shown,) if callee.arity else ()
    keywords = injected(context, callee.inject) if callee.inject else _NO_KEYWORDS
    call, acall = callee.call, callee.acall
    if acall is not None and (offload or call is None or context.task.timeout is not None):
        return acall(*arguments, **keywords)
    assert call is not None
    if offload:
        return Blocking(call, *arguments, **keywords)
    return call(*arguments, **keywords)


_NO_KEYWORDS: dict[str, Any] = {}


def _limited(attempt: Any, policy: TimeoutPolicy, context: TaskContext) -> Any:
    """Return an attempt that is cancelled when it takes too long."""
    from graphflow.drivers.timing import timed  # here: it brings asyncio

    return timed(attempt, policy, context)


def node_input(node: Node, task: Task) -> Any:
    """Return what an edge-triggered node gets: its keys of the state, as its schema's class."""
    values = node.read(task.values)
    schema = node.schema
    if schema.managed:
        _manage(values, schema, task)
    return values if schema.kind == "dict" else schema.view(values)


def _manage(values: dict[str, Any], schema: Schema, task: Task) -> None:
    for key, kind in schema.managed.items():
        last = kind is LastStep
        values[key] = task.steps_left <= 1 if last else task.steps_left


def _route_input(plan: Plan, route: Route, task: Task, values: Any, writes: Any) -> Any:
    schema = route.schema
    shown = route.read(values)
    if schema.managed:
        _manage(shown, schema, task)
    if schema.kind != "dict":
        return schema.view(shown)
    for key, value in writes:
        if key not in plan.channels:
            shown[key] = value
    return shown


def cancelled_by_itself(task: Task, error: BaseException) -> NodeCancelledError:
    """Return the error of a node that raised a cancellation although nobody cancelled it."""
    told = NodeCancelledError(f"Node '{task.name}' raised CancelledError by itself.")
    told.__cause__ = error
    return told


def heed(control: RunControl, machine: Machine) -> None:
    """Tell the machine if the run was asked to stop."""
    machine.draining = control.drain_reason


def failed(task: Task, error: BaseException) -> Outcome:
    """Return the outcome of an attempt that raised.

    Raises:
        BaseException: What is no business of the task's: a cancellation, an exit, Ctrl-C.
    """
    if isinstance(error, GraphInterrupt):
        return Outcome(task, interrupts=error.interrupts)
    if isinstance(error, GraphDrained):  # of a graph inside: the task goes on with it later
        return Outcome(task, interrupts=(), is_drained=True)
    if not isinstance(error, Exception):
        raise error
    error.add_note(f"During task with name '{task.name}' and id '{task.id}'")
    return Outcome(task, error=error, jitter=random.uniform(0, 1))


def _stream_messages(context: TaskContext, shown: Any, writes: Writes) -> None:
    """Stream the messages that a node returned and that are new to listeners and to the node."""
    written = _messages_in(value for _, value in writes)
    if new := [message for message in written if message.id not in context.run.streamed]:
        known = {_identity(message) for message in _messages_in(_values_of(shown))}
        for message in new:
            if message.id not in context.run.streamed and _identity(message) not in known:
                emit_message(message, is_whole=True)


def _messages_in(values: Iterable[Any]) -> Iterator[Any]:
    from graphflow.state.messages import Message

    for value in values:
        several = value if isinstance(value, (list, tuple)) else (value,)
        yield from (message for message in several if isinstance(message, Message))


def _values_of(shown: Any) -> Iterable[Any]:
    """Return what stands in a node's input, key by key."""
    if isinstance(shown, dict):
        return shown.values()
    fields = fields_written(shown) if is_annotated_class(type(shown)) else {}
    return (shown, *fields.values())


def _identity(message: Any) -> Any:
    return id(message) if message.id is None else message.id


def swallowed(what: str) -> SwallowedInterruptError:
    """Return the error of a node or task that caught what was to stop it."""
    return SwallowedInterruptError(
        f"{what} caught the signal of its own interrupt(), so the pause was lost. "
        "A bare `except:` or `except BaseException:` does that. Write instead:\n"
        "    except GraphInterrupt:\n        raise"
    )
