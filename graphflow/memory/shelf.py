"""The shelf: where a store keeps its rows, and all that a backend has to write.

A shelf knows bytes, numbers and names. What a value, a filter or a meaning is stays above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, TypeVar

from graphflow.memory.places import Namespace

T = TypeVar("T")


class Row(NamedTuple):
    """An item as bytes. Times are seconds since the epoch."""

    namespace: Namespace
    key: str
    body: bytes
    created: float
    updated: float
    ttl: float | None
    """Seconds to live after the last write or read; None: for ever."""
    expires: float | None
    """When it is gone."""
    vectors: tuple[bytes, ...]
    """Packed, one for each text that is searched by meaning."""


class Shelf(Protocol):
    """Rows by namespace and key. Everything but `aside` and `close` is called in `opened`."""

    def opened(self, *, write: bool) -> AbstractContextManager[object]:
        """Return a transaction: it sees no one else's writes, and an error takes back its own."""

    async def aside(self, work: Callable[[], T]) -> T:
        """Do work that opens the shelf, without blocking the event loop."""

    def put(self, row: Row) -> None:
        """Keep a row; one that is there and not gone keeps its place and time of creation."""

    def find(self, namespace: Namespace, key: str, now: float) -> Row | None:
        """Return a row that is not gone."""

    def scan(self, prefix: Namespace, now: float) -> Iterable[Row]:
        """Yield the rows at and below a namespace that are not gone, in order of creation."""

    def namespaces(self, now: float) -> Iterable[Namespace]:
        """Yield the namespaces of rows that are not gone, each once."""

    def remove(self, namespace: Namespace, key: str) -> None:
        """Remove a row if it is there."""

    def refresh(self, places: Iterable[tuple[Namespace, str]], now: float) -> None:
        """Start the time to live of rows anew."""

    def sweep(self, now: float) -> None:
        """Remove rows that are gone, or some of them, at a cost that writes can bear."""

    def close(self) -> None:
        """Give back what is held open."""
