"""Retries as times: whether a failed attempt is repeated, and when.

tenacity's strategy objects decide; the waiting is the driver's, so that simulated time works.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow.types import RetryPolicy

_NOT_BY_DEFAULT = (
    ValueError, TypeError, ArithmeticError, ImportError, LookupError, NameError, SyntaxError,
    RuntimeError, ReferenceError, StopIteration, StopAsyncIteration, OSError,
)  # fmt: skip


def retry_wait(
    policies: Sequence[RetryPolicy], error: BaseException, attempt: int, jitter: float
) -> float | None:
    """Return the seconds to wait before the next attempt, or None to give up.

    Args:
        policies: The first whose `retry_on` matches the error decides.
        error: How the attempt ended. If it says `retry_after` (seconds), that is waited at least.
        attempt: 1 for the first.
        jitter: A random number of [0, 1).
    """
    try:
        policy = next((policy for policy in policies if _matches(policy, error)), None)
    except Exception as failure:  # of the user's predicate: the node's error is what counts
        error.add_note(f"retry_on could not tell whether to try again: {failure!r}.")
        return None
    if policy is None or not isinstance(error, Exception):
        return None
    import tenacity

    state: Any = tenacity.RetryCallState(None, None, (), {})  # type: ignore[arg-type]  # the strategies read attempt_number only
    state.attempt_number = attempt
    if tenacity.stop_after_attempt(policy.max_attempts)(state):
        return None
    backoff = tenacity.wait_exponential(
        multiplier=policy.initial_interval, exp_base=policy.backoff_factor, max=policy.max_interval
    )
    asked = getattr(error, "retry_after", None) or 0.0
    return max(float(backoff(state)), asked) + (jitter if policy.jitter else 0.0)


def _matches(policy: RetryPolicy, error: BaseException) -> bool:
    kinds: Any = policy.retry_on
    if kinds is None:
        return _passes_by_itself(error)
    if isinstance(kinds, type):
        return isinstance(error, kinds)
    if isinstance(kinds, Sequence):
        return isinstance(error, tuple(kinds))
    return bool(kinds(error))


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
