"""What a node is given besides the state: `runtime`, `config`, `store`, … by parameter name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar
from uuid import uuid4

from graphflow.ids import checkpoint_id
from graphflow.runtime import RunControl, TaskContext, current
from graphflow.types import PREVIOUS, ROOT, StreamWriter

Ctx = TypeVar("Ctx")


@dataclass(frozen=True, slots=True)
class ExecutionInfo:
    """Where a task stands in its run."""

    thread_id: str | None
    checkpoint_ns: str
    """`node:task_id`, the graphs around it before, joined by `|`."""
    task_id: str
    node_attempt: int = 1
    """1 for the first attempt."""
    checkpoint_id: str | None = None
    """The checkpoint that the superstep began from; None: nothing is stored."""
    run_id: str | None = None
    """The same in graphs that the run calls."""
    node_first_attempt_time: float | None = None
    """Seconds since the epoch; the same in all attempts."""

    def patch(self, **changes: Any) -> ExecutionInfo:
        """Return a copy with fields replaced."""
        return replace(self, **changes)


def _ignore(chunk: Any) -> None:
    """Write to nobody."""


def _no_heartbeat() -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Runtime(Generic[Ctx]):
    """Everything a node may ask, in one object: declare a parameter `runtime: Runtime[Context]`."""

    context: Ctx = None  # type: ignore[assignment]  # where none was given
    """What the caller gave as `context=`."""
    store: Any = None
    """What the graph was compiled with as `store=`."""
    stream_writer: StreamWriter = _ignore
    """Streams its argument in mode `custom`."""
    previous: Any = None
    """In an entrypoint: what the last run of the thread saved."""
    control: RunControl | None = None
    execution_info: ExecutionInfo | None = None
    heartbeat: Callable[[], None] = _no_heartbeat
    """Says that the node goes on, for its `idle_timeout`."""
    server_info: Any = None
    """What a server that runs the graph tells of itself; None: there is none."""

    @property
    def drain_requested(self) -> bool:
        """Whether the run shall stop after this superstep."""
        return self.control is not None and self.control.drain_requested

    @property
    def drain_reason(self) -> str | None:
        """Why the run shall stop; None: it need not."""
        return None if self.control is None else self.control.drain_reason

    def merge(self, other: Runtime[Any]) -> Runtime[Ctx]:
        """Return a copy with the fields that `other` sets."""
        blank: Runtime[Any] = Runtime()
        names = [field.name for field in fields(self)]
        told = {name: getattr(other, name) for name in names}
        news = {name: told[name] for name in names if told[name] is not getattr(blank, name)}
        return replace(self, **news)

    def override(self, **changes: Any) -> Runtime[Ctx]:
        """Return a copy with fields replaced."""
        return replace(self, **changes)

    def patch_execution_info(self, **changes: Any) -> Runtime[Ctx]:
        """Return a copy with fields of its `execution_info` replaced.

        Raises:
            RuntimeError: It has none: nothing runs.
        """
        if self.execution_info is None:
            raise RuntimeError("This runtime has no execution_info: it belongs to no running node.")
        return replace(self, execution_info=self.execution_info.patch(**changes))


def get_runtime(context_schema: type[Ctx] | None = None) -> Runtime[Ctx]:
    """Return the runtime of the running task; the argument only types the result."""
    return runtime_of(current("get_runtime"))


def runtime_of(context: TaskContext) -> Runtime[Any]:
    """Build the object that a `runtime` parameter receives."""
    run = context.run
    return Runtime(
        run.context,
        run.store,
        context.write_custom,
        previous_of(context),
        run.control,
        _execution_info(context),
        lambda: context.touch(is_heartbeat=True),
    )


def _execution_info(context: TaskContext) -> ExecutionInfo:
    run, task = context.run, context.task
    if run.run_id is None:
        run.run_id = str(run.config.get("run_id") or uuid4())
    return ExecutionInfo(
        run.config.get("configurable", {}).get("thread_id"),
        "|".join(context.ns),
        task.id,
        task.attempt,
        None if run.checkpoints is None else checkpoint_id(task.head, run.ordinal),
        run.run_id,
        task.since,
    )


def previous_of(context: TaskContext) -> Any:
    """Return what the last run of an entrypoint saved: what it returned, if it did not say."""
    task = context.root.task
    if not task.is_entry:
        return None
    return task.values.get(PREVIOUS, task.values.get(ROOT))


def injected(context: TaskContext, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the keyword arguments that a callable asks for by name."""
    return {name: _INJECTABLE[name](context) for name in names}


_INJECTABLE: dict[str, Callable[[TaskContext], Any]] = {
    "config": TaskContext.config,
    "writer": lambda context: context.write_custom,
    "store": lambda context: context.run.store,
    "runtime": runtime_of,
    "previous": previous_of,
    "error": lambda context: context.task.failure,
}
INJECTABLE = frozenset(_INJECTABLE)
