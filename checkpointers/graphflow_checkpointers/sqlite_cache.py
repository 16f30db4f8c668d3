"""Results of nodes and tasks in a SQLite file, shared by processes and kept across restarts.

    app = graph.compile(cache=SqliteCache("cache.db"))

A cache may lose anything: a value that is damaged, or that this process cannot read, is not there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from zlib import crc32

from graphflow.cache.cache import BaseCache, CacheNamespace, FullKey, entries, readable
from graphflow_checkpointers.sqlite_file import Contents, SqliteFile

T = TypeVar("T")

CONTENTS: Final = Contents(
    "cache",
    0x67666361,  # "gfca"
    1,
    (
        """CREATE TABLE graphflow_cache_entry(
            id INTEGER PRIMARY KEY,
            namespace TEXT NOT NULL,
            key TEXT NOT NULL,
            expires REAL,
            crc INTEGER NOT NULL,
            body BLOB NOT NULL,
            UNIQUE(namespace, key))""",
        """CREATE INDEX graphflow_cache_expires ON graphflow_cache_entry(expires)
            WHERE expires IS NOT NULL""",
    ),
)

_GET = """
    SELECT body, crc FROM graphflow_cache_entry
    WHERE namespace = ? AND key = ? AND (expires IS NULL OR expires > ?)"""

_SET = """
    INSERT OR REPLACE INTO graphflow_cache_entry(namespace, key, body, expires, crc)
    VALUES(?, ?, ?, ?, ?)"""

_SWEEP = "DELETE FROM graphflow_cache_entry WHERE expires <= ?"

_CLEAR = "DELETE FROM graphflow_cache_entry WHERE namespace = ?"

_CLEAR_ALL = "DELETE FROM graphflow_cache_entry"


class SqliteCache(BaseCache):
    """Keeps results in a SQLite file of its own.

    Args:
        path: The file, made if there is none; `":memory:"` for a database without one.
        busy_timeout: Seconds to wait for another process that is writing.
        clock: Seconds since the epoch; for tests.

    Raises:
        ForeignDatabaseError: The file holds something else; it was not touched.
        StoreTooNewError: A newer graphflow made it; it was not touched.
    """

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        busy_timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = SqliteFile(path, CONTENTS, synchronous="normal", busy_timeout=busy_timeout)
        self._clock = clock

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        now, found = self._clock(), {}
        with self._file.transaction(write=False) as connection:
            for key in keys:
                for body, crc in connection.execute(_GET, (*_address(key), now)):
                    found[key] = (body, crc)
        return readable({key: body for key, (body, crc) in found.items() if crc32(body) == crc})

    def set(self, pairs: Mapping[FullKey, tuple[Any, float | None]]) -> None:
        now = self._clock()
        rows = [
            (*_address(key), entry.body, entry.expires, crc32(entry.body))
            for key, entry in entries(pairs, now).items()
        ]
        with self._file.transaction(write=True) as connection:
            connection.execute(_SWEEP, (now,))
            connection.executemany(_SET, rows)

    def clear(self, namespaces: Iterable[CacheNamespace] | None = None) -> None:
        with self._file.transaction(write=True) as connection:
            if namespaces is None:
                connection.execute(_CLEAR_ALL)
                return
            for namespace in namespaces:
                connection.execute(_CLEAR, (json.dumps(namespace),))

    async def aside(self, work: Callable[[], T]) -> T:
        return await self._file.aside(work)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> SqliteCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _address(key: FullKey) -> tuple[str, str]:
    """Return namespace and key as ASCII that no other pair has, whatever is in them."""
    return json.dumps(key[0]), json.dumps(key[1])
