"""Tags in PostgreSQL: how they are put and how threads are found by them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from graphflow.checkpoint.protocol import Operation, Tag
from graphflow_checkpointers.postgres_statements import Statement

LAST_THREAD: Final = (1 << 63) - 1
"""The highest number that a thread can have."""

# Locks the thread, as whoever removes it does before he locks its branches; and the tags in one
# order, so that two who do this at once do not wait for each other.
PUT_TAGS: Final = """
    WITH line AS (SELECT id FROM graphflow_thread
                  WHERE sha256(name) = sha256(%s) FOR KEY SHARE)
    INSERT INTO graphflow_tag AS t(thread, key, value)
    SELECT line.id, new.key, new.value
    FROM line, unnest(%s::bytea[], %s::bytea[]) AS new(key, value) ORDER BY new.key
    ON CONFLICT (thread, key) DO UPDATE SET value = excluded.value
    WHERE t.value <> excluded.value"""

SOME_THREADS: Final = """
    SELECT id, name FROM graphflow_thread WHERE id > %s ORDER BY id LIMIT %s"""

_TAGGED: Final = """
    SELECT t.id, t.name FROM graphflow_tag g JOIN graphflow_thread t ON t.id = g.thread
    WHERE g.value = %s"""
_TAGGED_TOO: Final = """
      AND EXISTS (SELECT FROM graphflow_tag o WHERE o.value = %s AND o.thread = g.thread)"""
_ONE_PAGE: Final = """
      AND g.thread > %s ORDER BY g.thread LIMIT %s"""


@lru_cache(maxsize=64)
def tagged_by(count: int) -> str:
    """Return the statement that finds threads with `count` tags."""
    if count == 0:
        return SOME_THREADS
    return _TAGGED + _TAGGED_TOO * (count - 1) + _ONE_PAGE


def put(name: bytes, tags: Sequence[Tag]) -> Operation[None]:
    """Give tags to the thread of that name."""
    keys, values = [tag.key for tag in tags], [tag.value for tag in tags]
    yield Statement(PUT_TAGS, (name, keys, values))


def found(tags: Sequence[Tag], after: int, limit: int) -> Operation[list[tuple[int, bytes]]]:
    """Return number and name of threads that have these tags, behind a number."""
    told = (*(tag.value for tag in tags), min(after, LAST_THREAD), limit)
    rows: list[tuple[int, bytes]] = yield Statement(tagged_by(len(tags)), told)
    return rows
