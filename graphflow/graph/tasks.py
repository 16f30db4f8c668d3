"""A task: a function that nodes call by the engine, as declared with `@task`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphflow.graph.callables import Callee, callee_of, check_timeout, name_of
from graphflow.injection import INJECTABLE
from graphflow.types import RetryPolicy, TimeoutPolicy


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task as declared."""

    name: str
    callee: Callee
    inject: tuple[tuple[str, int], ...]
    """Parameters that the run can fill in, with their places; those of keywords come last."""
    retry: tuple[RetryPolicy, ...] = ()
    cache: Any = None
    """Its `CachePolicy`."""
    timeout: TimeoutPolicy | None = None

    @property
    def is_async(self) -> bool:
        """Whether calling it gives a coroutine."""
        return self.callee.call is None

    def missing(self, given: int, named: Sequence[str] | dict[str, Any]) -> tuple[str, ...]:
        """Return what the run has to fill in.

        Args:
            given: How many arguments the caller gave by place.
            named: Those it gave by name.
        """
        return tuple(name for name, at in self.inject if at >= given and name not in named)


def task_spec(
    target: Any,
    name: str | None,
    retry: Sequence[RetryPolicy],
    cache: Any,
    timeout: TimeoutPolicy | None,
) -> TaskSpec:
    """Read the declaration of a task.

    Raises:
        TypeError: `target` cannot be called.
        ValueError: It has a timeout and is not asynchronous.
    """
    name = name or name_of(target)
    callee = callee_of(target, where=f"Task `{name}`")
    if timeout is not None:
        check_timeout(callee, f"task `{name}`")
    return TaskSpec(name, callee, _injectable(target), tuple(retry), cache, timeout)


def _injectable(target: Any) -> tuple[tuple[str, int], ...]:
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:  # of C, and without a signature
        return ()
    given = INJECTABLE - {"error"}  # a task is no error handler
    return tuple(
        (name, sys.maxsize if parameter.kind is parameter.KEYWORD_ONLY else at)
        for at, (name, parameter) in enumerate(parameters.items())
        if name in given
    )
