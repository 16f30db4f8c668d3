"""The store in memory: rows in dicts, gone with the process.

Values are kept as bytes, so that what could not be stored elsewhere cannot be stored here either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from heapq import merge
from itertools import count
from operator import itemgetter
from threading import RLock
from typing import TypeVar

from graphflow.memory.places import Namespace
from graphflow.memory.semantic_index import IndexConfig
from graphflow.memory.shelf import Row
from graphflow.memory.shelf_store import Clock, ShelfStore

T = TypeVar("T")
_Numbered = tuple[int, Row]
FLOOR = 16
"""Mortal rows; fewer are not worth a look."""
_NOTHING: tuple[int, None] = (0, None)


class InMemoryStore(ShelfStore):
    """Keeps items in this process; for tests, notebooks and memory that need not survive.

    Args:
        index: How to search by meaning: `{"embed": function, "dims": number, "fields": paths}`.
        clock: Seconds since the epoch; for tests.
    """

    def __init__(self, *, index: IndexConfig | None = None, clock: Clock = time.time) -> None:
        super().__init__(_DictShelf(), index, clock)


class _DictShelf:
    """Rows by namespace and key, numbered in order of creation."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._numbers = count()
        self._rows: dict[Namespace, dict[str, _Numbered]] = {}
        self._mortal: set[tuple[Namespace, str]] = set()
        """Where rows are that will be gone some time, and perhaps others."""
        self._sweep_at = FLOOR

    def opened(self, *, write: bool) -> AbstractContextManager[object]:
        return self._lock

    async def aside(self, work: Callable[[], T]) -> T:
        return work()

    def put(self, row: Row) -> None:
        rows = self._rows.setdefault(row.namespace, {})
        old = rows.get(row.key)
        if old is not None and not _is_gone(old[1], row.updated):
            number, row = old[0], row._replace(created=old[1].created)
        else:
            rows.pop(row.key, None)  # the new one goes to the end
            number = next(self._numbers)
        rows[row.key] = (number, row)
        if row.ttl is not None:
            self._mortal.add((row.namespace, row.key))

    def find(self, namespace: Namespace, key: str, now: float) -> Row | None:
        numbered = self._rows.get(namespace, {}).get(key)
        return None if numbered is None or _is_gone(numbered[1], now) else numbered[1]

    def scan(self, prefix: Namespace, now: float) -> Iterator[Row]:
        depth = len(prefix)
        lines = [rows.values() for at, rows in self._rows.items() if at[:depth] == prefix]
        for _, row in merge(*lines, key=itemgetter(0)):
            if not _is_gone(row, now):
                yield row

    def namespaces(self, now: float) -> Iterator[Namespace]:
        for namespace, rows in self._rows.items():
            if any(not _is_gone(row, now) for _, row in rows.values()):
                yield namespace

    def remove(self, namespace: Namespace, key: str) -> None:
        rows = self._rows.get(namespace, {})
        rows.pop(key, None)
        if not rows:
            self._rows.pop(namespace, None)

    def refresh(self, places: Iterable[tuple[Namespace, str]], now: float) -> None:
        for namespace, key in places:
            number, row = self._rows.get(namespace, {}).get(key, _NOTHING)
            if row is not None and row.ttl is not None:
                self._rows[namespace][key] = (number, row._replace(expires=now + row.ttl))

    def sweep(self, now: float) -> None:
        """Look through the mortal rows each time they have doubled."""
        if len(self._mortal) < self._sweep_at:
            return
        for namespace, key in list(self._mortal):
            _, row = self._rows.get(namespace, {}).get(key, _NOTHING)
            if row is None or row.ttl is None or _is_gone(row, now):
                self._mortal.remove((namespace, key))
            if row is not None and _is_gone(row, now):
                self.remove(namespace, key)
        self._sweep_at = max(FLOOR, 2 * len(self._mortal))

    def close(self) -> None:
        pass


def _is_gone(row: Row, now: float) -> bool:
    return row.expires is not None and row.expires <= now
