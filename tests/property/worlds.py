"""What is outside of random graphs: failures that were suffered, naps, and what has been executed.

The nodes of `played_graphs` are pure functions of what they read, but for this. Here are the tasks
that they call as well.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from graphflow import NodeTimeoutError, RetryPolicy, Runtime, interrupt
from graphflow.functional import task

executed: ContextVar[list[str]] = ContextVar("executed")
"""Ids of the tasks and calls that the present process has executed to their end."""
PASSING = (ConnectionError, NodeTimeoutError)
at_once = RetryPolicy(initial_interval=0.0, jitter=False, retry_on=PASSING)


class Failure(Exception):
    """How a node fails for good."""


class World:
    """What is outside of the nodes.

    Args:
        nap: Seconds that a nap takes.
    """

    def __init__(self, nap: float) -> None:
        self.nap = nap
        self.failures: Counter[str] = Counter()
        self._at_work = 0
        self._change = threading.Condition()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Note that a node runs."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._change:
            self._at_work += more
            self._change.notify_all()

    def wait(self) -> None:
        """Wait until no node runs: blocking ones outlive an asynchronous run that fails."""
        with self._change:
            assert self._change.wait_for(lambda: self._at_work == 0, timeout=10)

    def fail_once(self, identity: str) -> None:
        """Fail for good, the first time that `identity` comes here."""
        self.failures[identity] += 1
        if self.failures[identity] == 1:
            raise Failure(identity)


# -- tasks --------------------------------------------------------------------------------------


def done(text: str, runtime: Runtime[None]) -> dict[str, str]:
    """Note an execution and return what tells of it."""
    return {"text": text, "id": note(runtime)}


def note(runtime: Runtime[None]) -> str:
    """Note that a node or call has been executed to its end; return its id.

    Whatever is inside of a graph that keeps nothing is executed again, and is not noted.
    """
    info = runtime.execution_info
    assert info is not None
    if info.checkpoint_id:
        executed.get().append(info.task_id)
    return info.task_id


@task
def plain(text: str, runtime: Runtime[None]) -> Any:
    return done(f"plain {text}", runtime)


@task(retry_policy=at_once)
def flaky(text: str, runtime: Runtime[None]) -> Any:
    assert runtime.execution_info is not None
    if runtime.execution_info.node_attempt == 1:
        raise ConnectionError(text)
    return done(f"flaky {text}", runtime)


@task
def asking(text: str, runtime: Runtime[None]) -> Any:
    return done(f"asking {text}: {interrupt(text)}", runtime)


@task
def nesting(text: str, runtime: Runtime[None]) -> Any:
    futures = [plain(f"{text}/{part}") for part in "12"]
    return done(" ".join(future.result()["text"] for future in futures), runtime)


@task(name="async")
async def asynchronous(text: str, runtime: Runtime[None]) -> Any:
    await asyncio.sleep(0)
    return done(f"async {text}", runtime)


TASKS = {each.name: each for each in (plain, flaky, asking, nesting, asynchronous)}
