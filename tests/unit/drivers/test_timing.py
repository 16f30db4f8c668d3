"""Timing: deadlines of one attempt, on a clock that jumps."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from graphflow import NodeTimeoutError, TimeoutPolicy
from graphflow.drivers.timing import timed
from graphflow.runtime import RunContext, TaskContext
from graphflow.testing.simulation import _JumpingLoop


def attempted(attempt: Any, *, context: TaskContext | None = None, **limits: Any) -> Any:
    """Await one attempt, a function of its context, on a loop whose waits take no time."""
    clock: Any = SimpleNamespace(now=0.0)
    task: Any = SimpleNamespace(name="n")
    context = context or TaskContext(RunContext({}), task)

    async def whole() -> Any:
        return await timed(attempt(context), TimeoutPolicy(**limits), context)

    with asyncio.Runner(loop_factory=lambda: _JumpingLoop(clock)) as runner:
        return runner.run(whole())


async def lasting(context: TaskContext, *pauses: float) -> str:
    for pause in pauses:
        await asyncio.sleep(pause)
        context.touch()
    return "done"


def exceeded(attempt: Any, **limits: Any) -> tuple[str, float]:
    """Return which limit an attempt exceeded, and when."""
    with pytest.raises(NodeTimeoutError) as raised:
        attempted(attempt, **limits)
    return raised.value.kind, raised.value.elapsed


@pytest.mark.parametrize(
    ("run", "idle", "pauses", "expected"),
    [
        (10, None, (20,), ("run", 10)),
        (None, 10, (20,), ("idle", 10)),
        (10, 5, (20,), ("idle", 5)),
        (5, 10, (20,), ("run", 5)),
        (10, 10, (20,), ("run", 10)),
        (10, 4, (3, 3, 3, 3), ("run", 10)),
        (10, 4, (3, 5), ("idle", 7)),
    ],
)
def test_first_limit_that_is_reached_ends_the_attempt(run, idle, pauses, expected):
    told = exceeded(lambda c: lasting(c, *pauses), run_timeout=run, idle_timeout=idle)
    assert told == expected


def test_attempt_in_time_returns_what_it_returns():
    assert attempted(lambda c: lasting(c, 4, 4), run_timeout=10, idle_timeout=5) == "done"


def test_policy_without_limits_limits_nothing():
    assert attempted(lambda c: lasting(c, 10_000, 10_000)) == "done"


def test_signs_of_life_after_the_attempt_reach_nobody():
    context = TaskContext(RunContext({}), SimpleNamespace(name="n"))  # type: ignore[arg-type]
    attempted(lambda c: lasting(c, 1), context=context, idle_timeout=5)
    assert context.progress is None
    context.touch(is_heartbeat=True)


def test_sign_of_life_that_comes_too_late_saves_nothing():
    async def cleaning(context: TaskContext) -> None:
        try:
            await asyncio.sleep(20)
        finally:
            context.touch(is_heartbeat=True)
            await asyncio.sleep(1)

    assert exceeded(cleaning, idle_timeout=5)[0] == "idle"


def test_cancellation_from_outside_is_no_timeout():
    async def cancels_itself(_: TaskContext) -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(1)

    with pytest.raises(asyncio.CancelledError):
        attempted(cancels_itself, run_timeout=10)


def test_late_attempt_that_does_not_listen_is_late_when_it_ends():
    async def deaf(_: TaskContext) -> str:
        for _number in range(2):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                continue
        return "too late"

    assert exceeded(deaf, run_timeout=5) == ("run", 25)
