"""Who calls the PostgreSQL store: threads and event loops, any number of them, at the same time.

Blocking connections serve an event loop from threads of the store's own, an errand at a time: one
change of threads for an operation costs less than asyncio's connections do as soon as several
tasks save at once, works on every kind of loop, and leaves no connection behind on a loop that
ends. A pool of asyncio's connections belongs to its loop, so everybody else's errands go there.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from functools import partial
from typing import Any, TypeVar

from graphflow.errors import CheckpointError
from graphflow_checkpointers.postgres_connections import finished

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]


class Callers(ABC):
    """Gets work done for callers of either kind."""

    @abstractmethod
    def run(self, work: Work[T]) -> T:
        """Do it while the caller waits."""

    @abstractmethod
    async def arun(self, work: Work[T]) -> T:
        """Do it without blocking the event loop."""

    def close(self) -> None:  # noqa: B027  # not every kind has something to give back
        """End what was started for callers."""


class OnThreads(Callers):
    """Work that blocks: done by the calling thread, or for a loop by one of ours.

    Args:
        most: How many threads of ours.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._threads = ThreadPoolExecutor(self._most, thread_name_prefix="graphflow-postgres")

    def run(self, work: Work[T]) -> T:
        return finished(work())

    async def arun(self, work: Work[T]) -> T:
        if self._process != os.getpid():  # threads do not survive a fork
            self._begin()
        loop = asyncio.get_running_loop()
        return await _ended(loop.run_in_executor(self._threads, partial(self.run, work)))

    def close(self) -> None:
        self._threads.shutdown()


class OnLoop(Callers):
    """Work that must be done on one event loop: where the store was made, or first awaited."""

    def __init__(self) -> None:
        self._loop = _running_loop()

    def run(self, work: Work[T]) -> T:
        if self._loop is not None and self._loop is _running_loop():
            raise CheckpointError(
                "A blocking call on the event loop of the connection pool would wait for itself. "
                "Await the asynchronous call (ainvoke, aget_state, …), or give the checkpointer a "
                "dsn or a ConnectionPool."
            )
        future = self._started(work)
        while True:
            try:
                return future.result(1)
            except NotYet:
                if future.done():
                    raise
                self._check()

    async def arun(self, work: Work[T]) -> T:
        here = asyncio.get_running_loop()
        self._loop = self._loop or here
        if self._loop is here:
            return await _ended(asyncio.ensure_future(work()))
        return await _ended(asyncio.wrap_future(self._started(work)))

    def _started(self, work: Work[T]) -> Future[T]:
        loop = self._check()
        return asyncio.run_coroutine_threadsafe(work(), loop)

    def _check(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or not self._loop.is_running():
            raise CheckpointError(
                "The event loop of the connection pool is not running. Make the checkpointer and "
                "use it while the loop runs that opened the pool, or give it a dsn, which serves "
                "any number of loops."
            )
        return self._loop


async def _ended(future: asyncio.Future[T]) -> T:
    """Wait for the end of work that has begun; whoever is cancelled hears of it then.

    So nothing is stored behind the back of a caller that has given up.
    """
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # has been seen, so that asyncio does not complain
        raise


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
