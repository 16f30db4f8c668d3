"""The store: memory across threads, as nodes and applications see it.

    store.put(("users", "42"), "name", {"text": "Ada"})
    store.get(("users", "42"), "name").value
    store.search(("users",), query="what is she called?", filter={"text": {"$ne": ""}})

Everything comes down to `batch` and its a-form, which are all that a store of one's own must have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from graphflow.memory.items import Item, SearchItem, Value
from graphflow.memory.places import Namespace
from graphflow.memory.requests import (
    Fields,
    Filter,
    GetOp,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchOp,
)


class BaseStore(ABC):
    """Base of all stores. One object serves sync and async callers and any number of threads."""

    @abstractmethod
    def batch(self, ops: Iterable[Op]) -> list[Any]:
        """Carry out requests in their order, as one transaction, and return their results."""

    @abstractmethod
    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        """As `batch`, without blocking the event loop."""

    def close(self) -> None:  # noqa: B027  # most stores have nothing to give back
        """Give back what the store holds open; using it afterwards is an error."""

    def put(
        self,
        namespace: Namespace,
        key: str,
        value: Value,
        index: Fields = None,
        *,
        ttl: float | None = None,
    ) -> None:
        """Store a copy of `value`, in place of what was there.

        Args:
            namespace: A path of labels without dots, like `("users", "42")`.
            key: Its name in the namespace.
            value: A dict of anything the codec can store.
            index: Paths whose text is searched by meaning, instead of the store's own; False: none.
            ttl: Minutes to live after the last write or read; None: for ever.

        Raises:
            InvalidNamespaceError: The namespace is no tuple of labels.
            NotStorable: The value holds what has no exact stored form. Nothing was stored.
            TypeError: The key is no str, or the value no dict.
        """
        self.batch([_put(namespace, key, value, index, ttl)])

    def get(
        self, namespace: Namespace, key: str, *, refresh_ttl: bool | None = None
    ) -> Item | None:
        """Return an item, or None; reading starts its time to live anew unless told not to."""
        found: Item | None
        (found,) = self.batch([GetOp(namespace, key, refresh_ttl is not False)])
        return found

    def delete(self, namespace: Namespace, key: str) -> None:
        """Remove an item; unknown ones are no error."""
        self.batch([PutOp(namespace, key, None)])

    def search(
        self,
        namespace_prefix: Namespace,
        /,
        *,
        query: str | None = None,
        filter: Filter | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """Return items of a namespace and of those below it.

        Args:
            namespace_prefix: The labels that their namespaces begin with; `()`: everything.
            query: What they should be about: the nearest come first, items that are not indexed
                do not come. Without it, they come in the order of their creation.
            filter: Conditions that all must hold: a value, or `{"$gt": …}` and the like, by field;
                `"user.age"` is a field in a field.
            limit: At most so many,
            offset: after leaving out so many.
            refresh_ttl: False: reading does not start their time to live anew.

        Raises:
            ValueError: There is a query and the store has no index, or the filter has an unknown
                operator.
        """
        refresh = refresh_ttl is not False
        found: list[SearchItem]
        (found,) = self.batch([SearchOp(namespace_prefix, filter, limit, offset, query, refresh)])
        return found

    def list_namespaces(
        self,
        *,
        prefix: Namespace | None = None,
        suffix: Namespace | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Namespace]:
        """Return the namespaces that hold items, sorted.

        Args:
            prefix: What they begin with; `"*"` stands for any one label.
            suffix: What they end with.
            max_depth: Cut longer ones to so many labels, and name each once.
            limit: At most so many,
            offset: after leaving out so many.
        """
        found: list[Namespace]
        (found,) = self.batch([_listing(prefix, suffix, max_depth, limit, offset)])
        return found

    # -- the same for asyncio ------------------------------------------------------------------

    async def aput(
        self,
        namespace: Namespace,
        key: str,
        value: Value,
        index: Fields = None,
        *,
        ttl: float | None = None,
    ) -> None:
        """As `put`, without blocking the event loop."""
        await self.abatch([_put(namespace, key, value, index, ttl)])

    async def aget(
        self, namespace: Namespace, key: str, *, refresh_ttl: bool | None = None
    ) -> Item | None:
        """As `get`, without blocking the event loop."""
        found: Item | None
        (found,) = await self.abatch([GetOp(namespace, key, refresh_ttl is not False)])
        return found

    async def adelete(self, namespace: Namespace, key: str) -> None:
        """As `delete`, without blocking the event loop."""
        await self.abatch([PutOp(namespace, key, None)])

    async def asearch(
        self,
        namespace_prefix: Namespace,
        /,
        *,
        query: str | None = None,
        filter: Filter | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """As `search`, without blocking the event loop."""
        op = SearchOp(namespace_prefix, filter, limit, offset, query, refresh_ttl is not False)
        found: list[SearchItem]
        (found,) = await self.abatch([op])
        return found

    async def alist_namespaces(
        self,
        *,
        prefix: Namespace | None = None,
        suffix: Namespace | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Namespace]:
        """As `list_namespaces`, without blocking the event loop."""
        found: list[Namespace]
        (found,) = await self.abatch([_listing(prefix, suffix, max_depth, limit, offset)])
        return found


def _put(namespace: Namespace, key: str, value: Value, index: Fields, ttl: float | None) -> PutOp:
    if not isinstance(value, dict):
        raise TypeError(
            f"A store keeps dicts, not {value!r}; write {{'value': …}} for {key!r} in {namespace!r}"
            " (or delete(), to remove it)."
        )
    return PutOp(namespace, key, value, index, ttl)


def _listing(
    prefix: Namespace | None,
    suffix: Namespace | None,
    max_depth: int | None,
    limit: int,
    offset: int,
) -> ListNamespacesOp:
    conditions = []
    if prefix:
        conditions.append(MatchCondition("prefix", prefix))
    if suffix:
        conditions.append(MatchCondition("suffix", suffix))
    return ListNamespacesOp(conditions, max_depth, limit, offset)
