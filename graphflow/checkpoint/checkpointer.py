"""The checkpointer: a store's verbs, and the calls that are made of them.

A store subclasses `Checkpointer` and fills in the verbs; what is here works on every store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from time import time
from typing import TYPE_CHECKING, Any

from graphflow.checkpoint.protocol import Operation, Verbs
from graphflow.types import Config

if TYPE_CHECKING:
    from graphflow.checkpoint.listing import CheckpointEntry
    from graphflow.checkpoint.retention import Pruned
    from graphflow.checkpoint.tags import TagValue, ThreadPage


class Checkpointer(Verbs):
    """Base of all stores. One object serves sync and async callers and any number of threads."""

    @classmethod
    def from_url(cls, url: str, *, tags: Iterable[str] = ()) -> Checkpointer:
        """Return the store at `sqlite:///file`, `postgresql://…`, `redis://…` or `memory://`.

        Args:
            url: Where it is.
            tags: Keys of a run's metadata by which threads can be found.

        Raises:
            ValueError: No store is known for such a URL.
            ImportError: The store's extra is not installed.
        """
        from graphflow.checkpoint.tags import checked_tags

        declared = checked_tags(tags)
        opened: Checkpointer = import_module("graphflow_checkpointers.urls").open_store(url)
        opened.tags = declared
        return opened

    def find_threads(
        self,
        tags: Mapping[str, TagValue] | None = None,
        *,
        limit: int = 100,
        after: str | None = None,
    ) -> ThreadPage:
        """Return threads that have all of these tags; without tags all threads.

        Args:
            tags: Values by key, the rarest first. 1, True and "1" are three values.
            limit: At most so many.
            after: Those that follow a page: its `after`, together with the same tags.

        Returns:
            A page: the threads in the order of their creation, and `after`. Page by page,
            each thread that is there all the time comes once.

        Raises:
            ValueError: A key was not declared as a tag, or `after` or `limit` cannot be.
            TypeError: A value is no str, int or bool.
            CheckpointError: The store keeps no tags.
        """
        from graphflow.checkpoint.tags import find_threads

        return self.run(find_threads(self, tags, limit, after))

    async def afind_threads(
        self,
        tags: Mapping[str, TagValue] | None = None,
        *,
        limit: int = 100,
        after: str | None = None,
    ) -> ThreadPage:
        """As `find_threads`, without blocking the event loop."""
        from graphflow.checkpoint.tags import find_threads

        return await self.arun(find_threads(self, tags, limit, after))

    # -- the calls that LangGraph users know ---------------------------------------------------

    def delete_thread(self, thread_id: str) -> None:
        """Remove a thread with all its branches."""
        self.run(self.remove_thread(str(thread_id)))

    def erase_thread(self, *thread_ids: str) -> None:
        """Remove threads, and what the store still has of their bytes afterwards; see `scrub`.

        A run that is going on in one of them is `Fenced` at its next commit. Erase many in one
        call: stores write themselves anew for that.
        """
        from graphflow.checkpoint.leases import erase

        self.heads.clear()
        for name in thread_ids:
            self.run(erase(self, str(name)))
        self.run(self.scrub())

    async def aerase_thread(self, *thread_ids: str) -> None:
        """As `erase_thread`, without blocking the event loop."""
        from graphflow.checkpoint.leases import erase

        self.heads.clear()
        for name in thread_ids:
            await self.arun(erase(self, str(name)))
        await self.arun(self.scrub())

    def prune(
        self,
        thread_id: str,
        *,
        last: int | None = None,
        age: float | None = None,
        interrupts: int | None = None,
        tagged: Mapping[str, Any] | None = None,
    ) -> Pruned:
        """Remove the checkpoints of a thread that nobody wants; what is kept reads as before.

        Args:
            thread_id: The thread.
            last: Of each branch so many are wanted, the newest.
            age: Those that are at most so many seconds old.
            interrupts: So many of those at which a person was asked, the newest.
            tagged: Those whose metadata has these values.

        Returns:
            How many checkpoints went, and how many bytes.

        Raises:
            ValueError: Nothing is wanted.
        """
        from graphflow.checkpoint.retention import Keep, prune

        keep = Keep(last, age, interrupts, tagged)
        return self.run(prune(self, str(thread_id), keep, time()))

    def list(self, config: Config, *, limit: int | None = None) -> Iterator[CheckpointEntry]:
        """Yield the checkpoints of a thread, newest first, without their states.

        Args:
            config: `{"configurable": {"thread_id": …}}`.
            limit: At most so many.
        """
        yield from self.run(_entries(self, config, limit))[:limit]

    async def alist(
        self, config: Config, *, limit: int | None = None
    ) -> AsyncIterator[CheckpointEntry]:
        """As `list`, without blocking the event loop."""
        for entry in (await self.arun(_entries(self, config, limit)))[:limit]:
            yield entry

    def get_tuple(self, config: Config) -> CheckpointEntry | None:
        """Return a thread's newest checkpoint, or the one that the config addresses; else None."""
        return next(iter(self.run(_entries(self, config, 1))), None)

    async def aget_tuple(self, config: Config) -> CheckpointEntry | None:
        """As `get_tuple`, without blocking the event loop."""
        return next(iter(await self.arun(_entries(self, config, 1))), None)

    async def adelete_thread(self, thread_id: str) -> None:
        """Remove a thread with all its branches."""
        await self.arun(self.remove_thread(str(thread_id)))


def _entries(
    store: Checkpointer, config: Config, limit: int | None
) -> Operation[Sequence[CheckpointEntry]]:
    from graphflow.checkpoint.listing import entries_at

    return entries_at(store, config, limit)
