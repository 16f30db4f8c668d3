"""Memory across threads in a SQLite file.

    store = SqliteStore("memory.db", index={"embed": embed, "dims": 384})
    app = graph.compile(store=store)

A namespace is kept as its labels with dots between. What lies below `a.b` is then the range from
`a.b.` up to `a.b/`, the text after it; no pattern is ever matched, so `%`, `_`, `*` are letters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, TypeVar
from zlib import crc32

from graphflow.checkpoint.codec import codec
from graphflow.errors import CorruptCheckpointError
from graphflow.memory import IndexConfig, Namespace
from graphflow.memory.shelf import Row
from graphflow.memory.shelf_store import Clock, ShelfStore
from graphflow_checkpointers.sqlite_file import Contents, SqliteFile, Synchronous

T = TypeVar("T")

CONTENTS: Final = Contents(
    "memory store",
    0x67666D65,  # "gfme"
    1,
    (
        # Ids tell the order of creation, so that of a removed item is never given again.
        """CREATE TABLE graphflow_memory_item(
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            namespace TEXT NOT NULL,
            key TEXT NOT NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            ttl REAL,
            expires REAL,
            crc INTEGER NOT NULL,
            body BLOB NOT NULL,
            vectors BLOB,
            UNIQUE(namespace, key))""",
        """CREATE INDEX graphflow_memory_expires ON graphflow_memory_item(expires)
            WHERE expires IS NOT NULL""",
    ),
)

_COLUMNS = "namespace, key, body, created, updated, ttl, expires, vectors, crc"

_PUT = """
    INSERT INTO graphflow_memory_item(namespace, key, body, created, updated, ttl, expires,
                                      vectors, crc)
    VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT(namespace, key) DO UPDATE SET
        body = excluded.body, updated = excluded.updated, ttl = excluded.ttl,
        expires = excluded.expires, vectors = excluded.vectors, crc = excluded.crc"""

_FIND = f"""
    SELECT {_COLUMNS} FROM graphflow_memory_item
    WHERE namespace = ? AND key = ? AND (expires IS NULL OR expires > ?)"""

# The ids come from the index alone and in order, so that only rows that are asked for are read.
_SCAN = f"""
    SELECT {_COLUMNS} FROM graphflow_memory_item
    WHERE id IN (SELECT id FROM graphflow_memory_item
                 WHERE namespace = ? OR (namespace >= ? AND namespace < ?))
      AND (expires IS NULL OR expires > ?)
    ORDER BY id"""

_SCAN_ALL = f"""
    SELECT {_COLUMNS} FROM graphflow_memory_item
    WHERE expires IS NULL OR expires > ? ORDER BY id"""

_NAMESPACES = """
    SELECT DISTINCT namespace FROM graphflow_memory_item WHERE expires IS NULL OR expires > ?"""

_REMOVE = "DELETE FROM graphflow_memory_item WHERE namespace = ? AND key = ?"

_REFRESH = """
    UPDATE graphflow_memory_item SET expires = ? + ttl
    WHERE namespace = ? AND key = ? AND ttl IS NOT NULL"""

_SWEEP = "DELETE FROM graphflow_memory_item WHERE expires <= ?"


class SqliteStore(ShelfStore):
    """Keeps items in a SQLite file of its own.

    Args:
        path: The file, made if there is none; `":memory:"` for a database without one.
        index: How to search by meaning: `{"embed": function, "dims": number, "fields": paths}`.
        synchronous: `"full"`: what was put survives a power cut. `"normal"`: it survives a crash
            of the process.
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
        index: IndexConfig | None = None,
        synchronous: Synchronous = "full",
        busy_timeout: float = 5.0,
        clock: Clock = time.time,
    ) -> None:
        file = SqliteFile(path, CONTENTS, synchronous=synchronous, busy_timeout=busy_timeout)
        super().__init__(_FileShelf(file), index, clock)

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _FileShelf:
    """Rows in a table."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._execute = file.execute

    def opened(self, *, write: bool) -> AbstractContextManager[object]:
        return self._file.transaction(write=write)

    async def aside(self, work: Callable[[], T]) -> T:
        return await self._file.aside(work)

    def put(self, row: Row) -> None:
        vectors = codec.encode(list(row.vectors)) if row.vectors else None
        self._execute(
            _PUT,
            (".".join(row.namespace), *row[1:7], vectors, crc32(row.body)),
        )

    def find(self, namespace: Namespace, key: str, now: float) -> Row | None:
        found = self._execute(_FIND, (".".join(namespace), key, now)).fetchone()
        return None if found is None else self._row(found)

    def scan(self, prefix: Namespace, now: float) -> Iterator[Row]:
        if prefix:
            at = ".".join(prefix)
            return map(self._row, self._execute(_SCAN, (at, f"{at}.", f"{at}/", now)))
        return map(self._row, self._execute(_SCAN_ALL, (now,)))

    def namespaces(self, now: float) -> Iterator[Namespace]:
        return (tuple(text.split(".")) for (text,) in self._execute(_NAMESPACES, (now,)))

    def remove(self, namespace: Namespace, key: str) -> None:
        self._execute(_REMOVE, (".".join(namespace), key))

    def refresh(self, places: Iterable[tuple[Namespace, str]], now: float) -> None:
        for namespace, key in places:
            self._execute(_REFRESH, (now, ".".join(namespace), key))

    def sweep(self, now: float) -> None:
        self._execute(_SWEEP, (now,))

    def close(self) -> None:
        self._file.close()

    def _row(self, found: tuple[Any, ...]) -> Row:
        namespace, key, body, created, updated, ttl, expires, vectors, crc = found
        if crc32(body) != crc:
            raise CorruptCheckpointError(
                f"{self._file.path}: item {key!r} in {namespace!r} does not match its checksum. "
                "Put it again or restore the file from a backup; other items can still be read."
            )
        labels, packed = (
            tuple(namespace.split(".")),
            tuple(codec.decode(vectors) if vectors else ()),
        )
        return Row(labels, key, body, created, updated, ttl, expires, packed)
