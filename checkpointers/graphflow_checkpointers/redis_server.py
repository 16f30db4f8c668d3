"""A Redis or Valkey server as caches and checkpointers use it: one client, any number of callers.

Only core commands and Lua, so that managed services and clusters serve as well. A call that finds
no server is repeated for a while. What was sent may have been carried out although its answer was
lost, so everything that is sent must do nothing more the second time.

asyncio callers are served by threads: a connection of asyncio belongs to one loop, a checkpointer
to any number of loops and threads.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha1
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from graphflow.errors import (
    CheckpointError,
    ForeignDatabaseError,
    StoreFullError,
    StoreUnavailableError,
)
from graphflow_checkpointers.redis_client import (
    BlockingClient,
    Client,
    address_of,
    blocking_client,
    redis,
)

T = TypeVar("T")
Word: TypeAlias = bytes | str | int
"""What commands are made of. Text is ASCII, so that no client can encode it in another way."""

_PASSING: Final = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.ClusterDownError)
"""What it is like when a server restarts or another one takes over."""
_LASTING: Final = (redis.AuthenticationError, redis.exceptions.AuthorizationError)
"""Those of them that waiting does not cure."""
_ANY: Final = (redis.RedisError, redis.exceptions.RedisClusterException)
_AS_BYTES: Final = {redis.client.NEVER_DECODE: True}
"""Tells a client not to decode texts, whatever it was told before."""
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.5
_WORKERS: Final = 16
_PAGE: Final = 1000
"""Keys that one SCAN looks at."""


class Script(NamedTuple):
    """A Lua script that a server runs as one step."""

    text: str
    sha: str


def script(text: str) -> Script:
    """Return the script with its name on the server."""
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


class RedisServer:
    """Asks the server, and says in words what it means when that fails.

    Args:
        source: A URL, or a client of redis-py.
        patience: Seconds for which a call is repeated while there is no server.
        lost: What a caller shall know when a call stays without an answer.
        full: What a caller shall know when the server has no memory left.
    """

    def __init__(
        self, source: str | Client, *, patience: float = 5.0, lost: str = "", full: str = ""
    ) -> None:
        self._patience = patience
        self._lost = lost
        self._full = full
        self._lock = threading.Lock()
        self._workers: ThreadPoolExecutor | None = None
        self._workers_of = 0
        self._is_closed = False
        self.address = address_of(source)
        self._is_own = not isinstance(source, BlockingClient)
        self._opened = self.persist(lambda: blocking_client(source))

    # -- asking --------------------------------------------------------------------------------

    def ask(self, *command: Word, of: Any = None) -> Any:
        """Return what the server, or the one `of` a cluster, answers; its texts are bytes.

        Raises:
            CheckpointError: It refuses, or there is none.
        """
        return self.persist(lambda: self._execute(*command, of=of))

    def evaluate(self, called: Script, keys: Sequence[bytes], values: Sequence[Word] = ()) -> Any:
        """Return what a script answers; it is sent in full only to a server that lacks it.

        Raises:
            CheckpointError: The server refuses, or there is none.
        """
        words = (len(keys), *keys, *values)

        def call() -> Any:
            try:
                return self._execute("EVALSHA", called.sha, *words)
            except redis.exceptions.NoScriptError:
                return self._execute("EVAL", called.text, *words)

        return self.persist(call)

    def ask_each(self, commands: Iterable[tuple[Word, ...]]) -> list[Any]:
        """Return the answers to commands that do not depend on each other."""
        commands = list(commands)

        def call() -> list[Any]:
            pipeline = self._client().pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command, **_AS_BYTES)
            return list(pipeline.execute())

        return self.persist(call)

    def keys(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield the keys that match a pattern, page by page, in no order."""
        for node in self.nodes():
            cursor, found = self.ask("SCAN", 0, "MATCH", pattern, "COUNT", _PAGE, of=node)
            yield found
            while cursor:
                cursor, found = self.ask("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE, of=node)
                yield found

    def nodes(self) -> list[Any]:
        """Return a client of every server that has keys of its own: of a cluster the primaries."""
        client = self._client()
        if isinstance(client, redis.Redis):
            return [client]
        return [client.get_redis_connection(node) for node in client.get_primaries()]

    def persist(self, call: Callable[[], T]) -> T:
        """Return what a call returns; repeat it while there is no server, within the patience.

        Raises:
            CheckpointError: The server refuses, or there is none.
        """
        last, pause = time.monotonic() + self._patience, _FIRST_PAUSE
        while True:
            try:
                return call()
            except _ANY as error:
                if not _passes(error) or time.monotonic() + pause > last:
                    raise self._told(error) from error
                if _is_of_replica(error):
                    self._reconnect()
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _reconnect(self) -> None:
        """Look anew who is at the address; a client that was given looks for itself."""
        if self._is_own and isinstance(self._opened, redis.Redis):
            self._opened.connection_pool.disconnect()

    def _execute(self, *command: Word, of: Any = None) -> Any:
        return (of or self._client()).execute_command(*command, **_AS_BYTES)

    def _client(self) -> Any:  # redis-py says of most answers that they may be awaitable
        """Return the client, unless it was closed."""
        if self._is_closed:
            raise CheckpointError(f"The connection to {self.address} was closed; make a new one.")
        return self._opened

    # -- asyncio, closing ----------------------------------------------------------------------

    async def aside(self, work: Callable[[], T]) -> T:
        """Do blocking work on a thread of this server's."""
        import asyncio  # here: a program without a loop does not need it

        self._client()
        return await asyncio.get_running_loop().run_in_executor(self._threads(), work)

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._workers is None or self._workers_of != os.getpid():  # none survive a fork
                self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="graphflow-redis")
                self._workers_of = os.getpid()
            return self._workers

    def close(self) -> None:
        """Close the connections that were made here; a client that was given stays open."""
        with self._lock:
            workers, self._workers, self._is_closed = self._workers, None, True
        if workers is not None and self._workers_of == os.getpid():
            workers.shutdown()
        if self._is_own:
            self._opened.close()

    # -- errors --------------------------------------------------------------------------------

    def _told(self, error: Exception) -> CheckpointError:
        """Return what an error means, where, and what to do."""
        at = self.address
        if isinstance(error, _LASTING):
            return CheckpointError(f"{at} does not let us in ({error}). Check name and password.")
        if _is_of_replica(error):
            return CheckpointError(
                f"{at} is a replica that may not be written to ({error}). Nothing was changed; "
                "give graphflow the address of the primary."
            )
        if isinstance(error, _PASSING):
            return StoreUnavailableError(
                f"{at} does not answer ({error}); tried for {self._patience:g} s. {self._lost}"
            )
        return self._refused(error)

    def _refused(self, error: Exception) -> CheckpointError:
        at = self.address
        if isinstance(error, redis.exceptions.OutOfMemoryError):
            return StoreFullError(f"{at} has no memory left ({error}). {self._full}")
        if "WRONGTYPE" in str(error):
            return ForeignDatabaseError(
                f"{at} holds something else under a key of graphflow's; it was not touched. Give "
                "graphflow a prefix or a database of its own."
            )
        if isinstance(error, redis.exceptions.MovedError) or str(error).startswith("MOVED"):
            return CheckpointError(
                f"{at} is part of a cluster: pass redis.RedisCluster.from_url(...) instead of "
                f"its URL ({error}). Nothing was changed."
            )
        return CheckpointError(f"{at} refuses ({error}). Nothing was changed.")


def _passes(error: Exception) -> bool:
    if isinstance(error, _LASTING):
        return False
    return isinstance(error, _PASSING) or _is_of_replica(error)


def _is_of_replica(error: Exception) -> bool:
    return isinstance(error, redis.exceptions.ReadOnlyError) or "READONLY" in str(error)
