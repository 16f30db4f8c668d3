"""Saving: when a commit is durable, as the run's durability says.

`sync` before the superstep's events are told; `async` in the background, at most one commit
behind; `exit` once, when the run ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from graphflow.checkpoint.protocol import Operation
from graphflow.checkpoint.recorder import Recorder
from graphflow.checkpoint.records import Commit, RowKind
from graphflow.errors import CheckpointError
from graphflow.types import Durability


class Saver:
    """Saves one run's commits; the blocking and the asyncio face of one rule."""

    def __init__(
        self,
        recorder: Recorder,
        durability: Durability,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self.recorder = recorder
        self.store = recorder.store
        self.in_background = durability == "async" and not self.store.is_instant
        self.at_exit = durability == "exit"
        self.is_wanted = is_wanted
        """Whether what was gathered for the exit shall be kept; asked when the run ends."""
        self.under_way: Any = None

    def _operation(self, commit: Commit) -> Operation[None] | None:
        if self.at_exit and not _claims_an_answer(commit):
            self.recorder.gather(commit)
            return None
        return self.recorder.record(commit)

    def save(self, commit: Commit) -> None:
        """Make a commit durable, or start to."""
        operation = self._operation(commit)
        if operation is None:
            return
        if not self.in_background or _claims_an_answer(commit):
            self.settle()
            self._store(operation)
            return
        self.settle()
        self.under_way = _background().submit(self._store, operation)

    def _store(self, operation: Operation[None]) -> None:
        self.store.run(operation)
        compaction = self.recorder.compaction()
        if compaction is not None:
            with suppress(CheckpointError):  # derived data: the commit stands, a later run tries
                self.store.run(compaction)

    def settle(self) -> None:
        """Wait for what was started; raise what it raised."""
        under_way, self.under_way = self.under_way, None
        if under_way is not None:
            under_way.result()

    def finish(self) -> None:
        """Make everything durable that is not yet."""
        self.settle()
        operation = self.recorder.flush() if self.is_wanted() else None
        if operation is not None:
            self._store(operation)

    async def asave(self, commit: Commit) -> None:
        """As `save`, on an event loop."""
        operation = self._operation(commit)
        if operation is None:
            return
        await self.asettle()
        if self.in_background and not _claims_an_answer(commit):
            self.under_way = asyncio.ensure_future(self._astore(operation))
        else:
            await self._astore(operation)

    async def _astore(self, operation: Operation[None]) -> None:
        await self.store.arun(operation)
        compaction = self.recorder.compaction()
        if compaction is not None:
            with suppress(CheckpointError):  # as in `_store`
                await self.store.arun(compaction)

    async def asettle(self) -> None:
        """As `settle`, on an event loop. A cancelled caller does not cancel the saving."""
        under_way, self.under_way = self.under_way, None
        if under_way is not None:
            await asyncio.shield(under_way)

    async def afinish(self) -> None:
        """As `finish`, on an event loop."""
        await self.asettle()
        operation = self.recorder.flush() if self.is_wanted() else None
        if operation is not None:
            await asyncio.shield(asyncio.ensure_future(self._astore(operation)))


def _claims_an_answer(commit: Commit) -> bool:
    return any(row.kind is RowKind.ANSWER for row in commit.rows)


_pool: list[ThreadPoolExecutor] = []


def _background() -> ThreadPoolExecutor:
    if not _pool:
        _pool.append(ThreadPoolExecutor(4, thread_name_prefix="graphflow-save"))
    return _pool[0]
