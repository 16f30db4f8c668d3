"""Timing: how long an attempt of an asynchronous node or task may take (contract §20).

Measured on the event loop that the attempt runs on, so a loop with a clock of its own, as the
simulation has, needs no waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from graphflow.errors import NodeTimeoutError
from graphflow.runtime import TaskContext
from graphflow.types import TimeoutPolicy


async def timed(
    attempt: Coroutine[Any, Any, Any], policy: TimeoutPolicy, context: TaskContext
) -> Any:
    """Await one attempt, and cancel it when it is late.

    Raises:
        NodeTimeoutError: It was late, whatever became of it after that.
    """
    stopwatch = _Stopwatch(policy, context)
    context.progress = stopwatch.progress
    late: BaseException | None = None
    try:
        async with stopwatch.limit:
            returned = await attempt
    except Exception as error:
        if not stopwatch.limit.expired():
            raise
        late = error
    finally:
        context.progress = None
        stopwatch.is_over = True
    if stopwatch.limit.expired():
        raise stopwatch.exceeded() from late
    return returned


class _Stopwatch:
    """The deadlines of one attempt."""

    def __init__(self, policy: TimeoutPolicy, context: TaskContext) -> None:
        self.policy = policy
        self.node = context.task.name
        self.loop = asyncio.get_running_loop()
        self.began = self.last = self.loop.time()
        self.is_over = False
        self.limit = asyncio.timeout_at(self._deadline())

    def progress(self, is_heartbeat: bool) -> None:
        """Note that the attempt goes on; may be called from any thread."""
        if is_heartbeat or self.policy.refresh_on == "auto":
            self.loop.call_soon_threadsafe(self._go_on)

    def _go_on(self) -> None:
        self.last = self.loop.time()
        if not self.is_over and not self.limit.expired():
            self.limit.reschedule(self._deadline())

    def _deadline(self) -> float:
        run, idle = self.policy.run_timeout, self.policy.idle_timeout
        ends = [self.began + run] if run is not None else []
        ends += [self.last + idle] if idle is not None else []
        return min(ends, default=float("inf"))

    def exceeded(self) -> NodeTimeoutError:
        """Return the error that says which limit was reached first."""
        run, idle = self.policy.run_timeout, self.policy.idle_timeout
        is_idle = idle is not None and (run is None or self.last + idle < self.began + run)
        kind = "idle" if is_idle else "run"
        return NodeTimeoutError(self.node, self.loop.time() - self.began, kind, run, idle)
