"""Retries as times: whether a failed attempt is repeated, and when.

tenacity's strategy objects decide; the waiting is the driver's, so that simulated time works.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow.errors import CheckpointConflict
from graphflow.types import RetryPolicy

_NOT_BY_DEFAULT = (
    ValueError, TypeError, ArithmeticError, ImportError, LookupError, NameError, SyntaxError,
    RuntimeError, ReferenceError, StopIteration, StopAsyncIteration, OSError, CheckpointConflict,
)  # fmt: skip


def retry_wait(
    policies: Sequence[RetryPolicy],
    error: BaseException,
    attempt: int,
    jitter: float,
    elapsed: float = 0.0,
) -> float | None:
    """Return the seconds to wait before the next attempt, or None to give up.

    Args:
        policies: The first whose `retry_on` matches the error decides.
        error: How the attempt ended. If it says `retry_after` (seconds), that is waited at least.
        attempt: 1 for the first.
        jitter: A random number of [0, 1).
        elapsed: Seconds since the first attempt began.
    """
    if not policies or not isinstance(error, Exception):
        return None
    import tenacity

    state = _state(error, attempt, elapsed)
    try:
        policy = next((policy for policy in policies if _matches(policy, error, state)), None)
        if policy is None:
            return None
        gives_up = policy.stop or tenacity.stop_after_attempt(policy.max_attempts)
        wait = state.upcoming_sleep = _wait(policy, state, jitter)
        if gives_up(state):
            return None
    except Exception as failure:  # of the user's strategy: the node's error is what counts
        error.add_note(f"The retry policy could not tell whether to try again: {failure!r}.")
        return None
    return max(wait, getattr(error, "retry_after", None) or 0.0)


def _state(error: Exception, attempt: int, elapsed: float) -> Any:
    """Return what tenacity's strategies look at."""
    import tenacity

    state: Any = tenacity.RetryCallState(None, None, (), {})  # type: ignore[arg-type]  # nothing is called by it
    state.attempt_number = attempt
    state.set_exception((type(error), error, error.__traceback__))
    state.start_time, state.outcome_timestamp = 0.0, elapsed
    return state


def _wait(policy: RetryPolicy, state: Any, jitter: float) -> float:
    if policy.wait is not None:
        return float(policy.wait(state))
    import tenacity

    backoff = tenacity.wait_exponential(
        multiplier=policy.initial_interval, exp_base=policy.backoff_factor, max=policy.max_interval
    )
    return float(backoff(state)) + (jitter if policy.jitter else 0.0)


def _matches(policy: RetryPolicy, error: BaseException, state: Any) -> bool:
    import tenacity

    kinds: Any = policy.retry_on
    if kinds is None:
        return _passes_by_itself(error)
    if isinstance(kinds, type):
        return isinstance(error, kinds)
    if isinstance(kinds, Sequence):
        return isinstance(error, tuple(kinds))
    return bool(kinds(state if isinstance(kinds, tenacity.retry_base) else error))


def _passes_by_itself(error: BaseException) -> bool:
    told = getattr(error, "retryable", None)
    if isinstance(told, bool):
        return told
    if isinstance(error, ConnectionError):
        return True
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status >= 500
    return not isinstance(error, _NOT_BY_DEFAULT)
