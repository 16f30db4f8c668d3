"""Connections to PostgreSQL: those of the store itself, or of a pool that the user has.

A source lends links; a link carries statements to the server and answers back. psycopg has blocking
and asyncio connections with the same methods, which return a result or an awaitable of it; `done`
makes one of the two. What belongs to a blocking connection thus never waits when it is awaited, and
`finished` carries it out without a loop.
"""

from __future__ import annotations

import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from types import CoroutineType
from typing import Any, Final, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from graphflow_checkpointers.postgres_errors import address, is_final, parameters

T = TypeVar("T")
Query = tuple[bytes, tuple[Any, ...]]
Answer = list[tuple[Any, ...]] | int
"""Rows, or how many rows a statement changed."""

BOUNDS: Final[dict[str, str | int]] = {
    "connect_timeout": 10,  # seconds
    "tcp_user_timeout": 30_000,  # milliseconds, for what was sent and is not acknowledged
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "fallback_application_name": "graphflow",
}
"""What a dsn that says nothing about it gets, so that no call waits for a dead server for ever."""


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # what the coroutine returned
    coroutine.close()
    raise RuntimeError("A blocking connection has waited for an event loop.")


async def done(result: Any) -> Any:
    """Return what a method of psycopg's returned, awaited if it is asyncio's."""
    return await result if type(result) is CoroutineType else result


class Link:
    """A connection on loan.

    Args:
        connection: Idle, committing every statement by itself.
        autocommit: What to put back when it is returned.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
        autocommit: bool = True,
    ) -> None:
        self.connection: Any = connection
        self.autocommit = autocommit
        self._is_async = isinstance(connection, psycopg.AsyncConnection)
        # Of psycopg's own, whatever kind of cursors and rows the connection's owner prefers.
        self._cursor: Any = psycopg.AsyncCursor if self._is_async else psycopg.Cursor

    @property
    def is_idle(self) -> bool:
        """Whether it is open and in no transaction."""
        return bool(self.connection.info.transaction_status == TransactionStatus.IDLE)

    def is_lost(self, error: psycopg.Error) -> bool:
        """Whether the connection is of no use after this error."""
        return self.connection.closed or is_final(error)

    async def exchange(self, batch: Sequence[Query]) -> list[Answer]:
        """Send statements in one round trip and return their answers."""
        if len(batch) == 1:
            return [await self._answer(await self._execute(*batch[0]))]
        async with AsyncExitStack() as stack:
            pipeline = self.connection.pipeline()
            if self._is_async:
                await stack.enter_async_context(pipeline)
            else:
                stack.enter_context(pipeline)
            cursors = [await self._execute(*query) for query in batch]
        return [await self._answer(cursor) for cursor in cursors]

    async def _execute(self, text: bytes, values: tuple[Any, ...]) -> Any:
        cursor = self._cursor(self.connection, row_factory=tuple_row)
        return await done(cursor.execute(text, values, binary=True))

    async def _answer(self, cursor: Any) -> Answer:
        answer: Answer = await done(cursor.fetchall()) if cursor.description else cursor.rowcount
        return answer


class Source(ABC):
    """Where links come from."""

    where: str
    """Which database that is, for messages."""

    @abstractmethod
    async def take(self) -> Link:
        """Lend a link that is idle and commits every statement by itself.

        Raises:
            psycopg.Error: There is none to be had.
        """

    @abstractmethod
    async def give(self, link: Link) -> None:
        """Take a link back; one that is not idle is closed."""

    @abstractmethod
    async def renew(self) -> None:
        """Close the idle links that were lost, now that one is known to be."""

    def close(self) -> None:  # noqa: B027  # pools of users are closed by them
        """Close what is open here."""


class OwnConnections(Source):
    """Connections that are made when they are needed and kept for the next call.

    A pool of psycopg's connects in the background and so could not say why it fails.

    Args:
        dsn: Where to.
        most: How many at once.
        prepare_threshold: As in `psycopg.connect`.
        patience: Seconds to wait for one when all are in use.
    """

    def __init__(
        self, dsn: str, most: int, prepare_threshold: int | None, patience: float = 30.0
    ) -> None:
        given = parameters(dsn)
        self.where = address(given)
        self._dsn = make_conninfo(
            dsn, **{key: value for key, value in BOUNDS.items() if key not in given}
        )
        self._most = most
        self._prepare_threshold = prepare_threshold
        self._patience = patience
        self._is_closed = False
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._free = threading.Semaphore(self._most)
        self._idle: deque[psycopg.Connection[Any]] = deque()
        # Whoever forgets to close them, as notebooks do, gets them closed.
        weakref.finalize(self, _close, self._idle, self._process)

    async def take(self) -> Link:
        if self._process != os.getpid():  # connections do not survive a fork
            self._begin()
        if not self._free.acquire(timeout=self._patience):
            raise PoolTimeout(f"no connection became free in {self._patience:g} seconds")
        try:
            return Link(self._connection())
        except BaseException:
            self._free.release()
            raise

    def _connection(self) -> psycopg.Connection[Any]:
        with suppress(IndexError):  # nothing idle
            return self._idle.pop()
        return psycopg.connect(
            self._dsn, autocommit=True, prepare_threshold=self._prepare_threshold
        )

    async def give(self, link: Link) -> None:
        if link.is_idle and not self._is_closed:
            self._idle.append(link.connection)
        else:
            link.connection.close()
        self._free.release()

    async def renew(self) -> None:
        _close(self._idle, self._process)

    def close(self) -> None:
        self._is_closed = True
        _close(self._idle, self._process)


def _close(idle: deque[psycopg.Connection[Any]], process: int) -> None:
    if process != os.getpid():  # they are another process's
        return
    with suppress(IndexError):  # none left; others may be taking them, too
        while True:
            idle.pop().close()


class GivenPool(Source):
    """A pool of psycopg's; its owner opens and closes it, and runs its loop if it has one."""

    def __init__(self, pool: ConnectionPool[Any] | AsyncConnectionPool[Any]) -> None:
        dsn = pool.conninfo if isinstance(pool.conninfo, str) else ""
        settings = pool.kwargs if isinstance(pool.kwargs, dict) else {}
        self.where = address({**parameters(dsn), **settings})
        self._pool = pool

    async def take(self) -> Link:
        connection = await done(self._pool.getconn())
        link = Link(connection, connection.autocommit)
        await done(connection.set_autocommit(True))
        return link

    async def give(self, link: Link) -> None:
        connection = link.connection
        if link.is_idle:
            await done(connection.set_autocommit(link.autocommit))
        else:
            await done(connection.close())
        await done(self._pool.putconn(connection))

    async def renew(self) -> None:
        await done(self._pool.check())
