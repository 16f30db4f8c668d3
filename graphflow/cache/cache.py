"""The cache protocol, and the cache in memory.

Values are kept as the codec's bytes, so that every reader gets a copy of its own and every cache
refuses the same values.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from graphflow.checkpoint.codec import codec
from graphflow.checkpoint.codec_errors import NotStorable, UnknownType

T = TypeVar("T")
CacheNamespace = tuple[str, ...]
FullKey = tuple[CacheNamespace, str]
"""A namespace, and a key in it; any text will do for both."""

FLOOR = 16
"""Entries in memory; fewer are not worth a look for stale ones."""


class BaseCache(ABC):
    """Base of all caches. One object serves sync and async callers and any number of threads."""

    @abstractmethod
    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """Return copies of the values that are there and fresh, by key.

        What this process cannot read, for example because a class has changed since, is not there.
        """

    @abstractmethod
    def set(self, pairs: Mapping[FullKey, tuple[Any, float | None]]) -> None:
        """Keep values, all or none, each for so many seconds (None: for ever).

        Raises:
            NotStorable: A value has no exact stored form. Nothing was kept.
        """

    @abstractmethod
    def clear(self, namespaces: Iterable[CacheNamespace] | None = None) -> None:
        """Forget what is in exactly these namespaces; None: everything."""

    async def aside(self, work: Callable[[], T]) -> T:
        """Do blocking work of this cache for an async caller; a cache that waits overrides it."""
        return work()

    def close(self) -> None:  # noqa: B027  # most caches have nothing to give back
        """Give back what the cache holds open; using it afterwards is an error."""

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """As `get`, without blocking the event loop."""
        return await self.aside(partial(self.get, keys))

    async def aset(self, pairs: Mapping[FullKey, tuple[Any, float | None]]) -> None:
        """As `set`, without blocking the event loop."""
        await self.aside(partial(self.set, pairs))

    async def aclear(self, namespaces: Iterable[CacheNamespace] | None = None) -> None:
        """As `clear`, without blocking the event loop."""
        await self.aside(partial(self.clear, namespaces))


class Entry(NamedTuple):
    """A value as bytes."""

    body: bytes
    expires: float | None
    """Seconds since the epoch; None: never."""

    def serves(self, now: float) -> bool:
        """Tell whether it is fresh."""
        return self.expires is None or now < self.expires


def entries(pairs: Mapping[FullKey, tuple[Any, float | None]], now: float) -> dict[FullKey, Entry]:
    """Return what a cache keeps of the values it was given.

    Raises:
        NotStorable: A value has no exact stored form.
    """
    return {key: _entry(key, value, ttl, now) for key, (value, ttl) in pairs.items()}


def _entry(key: FullKey, value: Any, ttl: float | None, now: float) -> Entry:
    try:
        return Entry(codec.encode(value), None if ttl is None else now + ttl)
    except NotStorable as error:
        error.add_note(f"It was to be cached in {key[0]!r}. Nothing was kept.")
        raise


def readable(bodies: Mapping[FullKey, bytes]) -> dict[FullKey, Any]:
    """Return the values of the bodies that this process can read."""
    values = {}
    for key, body in bodies.items():
        try:
            values[key] = codec.decode(body)
        except UnknownType:
            continue
    return values


class InMemoryCache(BaseCache):
    """Keeps results in this process.

    Args:
        clock: Seconds since the epoch; for tests.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = Lock()
        self._entries: dict[CacheNamespace, dict[str, Entry]] = {}
        self._sweep_at = FLOOR

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        now = self._clock()
        with self._lock:
            found = {key: self._entries.get(key[0], {}).get(key[1]) for key in keys}
        return readable(
            {
                key: entry.body
                for key, entry in found.items()
                if entry is not None and entry.serves(now)
            }
        )

    def set(self, pairs: Mapping[FullKey, tuple[Any, float | None]]) -> None:
        now = self._clock()
        added = entries(pairs, now)
        with self._lock:
            for (namespace, key), entry in added.items():
                self._entries.setdefault(namespace, {})[key] = entry
            self._sweep(now)

    def clear(self, namespaces: Iterable[CacheNamespace] | None = None) -> None:
        with self._lock:
            for namespace in list(self._entries) if namespaces is None else namespaces:
                self._entries.pop(namespace, None)

    def _sweep(self, now: float) -> None:
        """Look through the entries each time they have doubled."""
        if self._size() < self._sweep_at:
            return
        for namespace, line in list(self._entries.items()):
            fresh = {key: entry for key, entry in line.items() if entry.serves(now)}
            self._entries[namespace] = fresh
            if not fresh:
                del self._entries[namespace]
        self._sweep_at = max(FLOOR, 2 * self._size())

    def _size(self) -> int:
        return sum(map(len, self._entries.values()))
