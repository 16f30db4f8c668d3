"""Saving: when a commit is durable, as the run's durability says.

`sync` before the superstep's events are told; `async` in the background, at most one commit
behind; `exit` once, when the run ends.

Whatever it says, what a nested run stores never outlives the superstep that it belongs to: before
its first commit, the run around it is anchored. Else a run that begins anew after a crash would
find lines of the dead one, under the ids that it gives itself. So when a commit has failed, nothing
more of the run is stored, nor of a run inside it: what they would follow is not there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from graphflow.checkpoint.leases import Claim
from graphflow.checkpoint.protocol import Operation
from graphflow.checkpoint.recorder import Recorder
from graphflow.checkpoint.records import Commit, RowKind
from graphflow.errors import CheckpointError
from graphflow.types import Durability

if TYPE_CHECKING:
    from graphflow.drivers.calling import Caller

Work = tuple[Operation[None], Operation[None] | None]
"""A commit, and what shortens the chain after it."""


class Saver:
    """Saves one run's commits; the blocking and the asyncio face of one rule."""

    def __init__(
        self,
        recorder: Recorder,
        durability: Durability,
        is_wanted: Callable[[], bool] = lambda: True,
        around: Caller | None = None,
        claim: Claim | None = None,
    ) -> None:
        self.recorder = recorder
        self.store = recorder.store
        self.in_background = durability == "async" and not self.store.is_instant
        self.at_exit = durability == "exit"
        self.is_wanted = is_wanted
        """Whether what was gathered for the exit shall be kept; asked when the run ends."""
        self.around = around if self.in_background or self.at_exit else None
        """What carries the run around this one, until that is anchored."""
        self.claim = claim
        """What is given back at the end; None: nothing was claimed for this run."""
        self.is_anchored = False
        """Whether something is stored that belongs to this run."""
        self.under_way: Any = None
        self.failure: Exception | None = None
        """Why a commit could not be stored."""

    def _work(self, commit: Commit) -> Work | None:
        if self.claim is not None:
            self.claim.check()
        if self.at_exit and not _claims_an_answer(commit):
            self.recorder.gather(commit)
            return None
        return self.recorder.record(commit), self.recorder.compaction()

    def _rest(self) -> Work | None:
        if self.failure is not None or not (self.is_anchored or self.is_wanted()):
            return None
        try:
            operation = self.recorder.flush()
        except Exception as error:
            self.failure = error
            raise
        return None if operation is None else (operation, self.recorder.compaction())

    def _check(self) -> None:
        """Refuse to store what would follow something that is not stored."""
        if self.failure is not None:
            raise self.failure

    def save(self, commit: Commit) -> None:
        """Make a commit durable, or start to."""
        work = self._work(commit)
        if work is None:
            return
        self._prepare()
        if self.in_background and not _claims_an_answer(commit):
            self.under_way = _background().submit(self._store, work)
        else:
            self._store(work)

    def _prepare(self) -> None:
        """Wait for what must be stored before anything else is."""
        if self.around is not None:
            self.around.anchor()
            self.around = None
        if self.under_way is not None:
            self.settle()
        self._check()

    def anchor(self) -> None:
        """Make the open superstep durable: a nested run is about to store what belongs to it."""
        self._prepare()
        self.is_anchored = True
        work = self._rest()
        if work is not None:
            self._store(work)

    def _store(self, work: Work) -> None:
        operation, compaction = work
        try:
            self.store.run(operation)
        except Exception as error:
            self.failure = error
            raise
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
        try:
            self.settle()
            work = self._rest()
            if work is not None:
                self._prepare()
                self._store(work)
        finally:
            release = self._release()
            if release is not None:
                with suppress(CheckpointError):  # it ends by itself
                    self.store.run(release)

    def _release(self) -> Operation[None] | None:
        return None if self.claim is None else self.claim.release()

    async def asave(self, commit: Commit) -> None:
        """As `save`, on an event loop."""
        work = self._work(commit)
        if work is None:
            return
        await self._aprepare()
        if self.in_background and not _claims_an_answer(commit):
            self.under_way = _started(self._astore(work))
        else:
            await self._astore(work)

    async def _aprepare(self) -> None:
        if self.around is not None:
            await self.around.aanchor()
            self.around = None
        await self.asettle()
        self._check()

    async def aanchor(self) -> None:
        """As `anchor`, on an event loop."""
        await self._aprepare()
        self.is_anchored = True
        work = self._rest()
        if work is not None:
            await _shielded(_started(self._astore(work)))

    async def _astore(self, work: Work) -> None:
        operation, compaction = work
        try:
            await self.store.arun(operation)
        except Exception as error:
            self.failure = error
            raise
        if compaction is not None:
            with suppress(CheckpointError):  # as in `_store`
                await self.store.arun(compaction)

    async def asettle(self) -> None:
        """As `settle`, on an event loop. A cancelled caller does not cancel the saving."""
        under_way = self.under_way
        if under_way is None:
            return
        try:
            await _shielded(under_way)
        finally:
            if under_way.done():  # else the caller was cancelled: `afinish` waits for it
                self.under_way = None

    async def afinish(self) -> None:
        """As `finish`, on an event loop."""
        try:
            await self.asettle()
            work = self._rest()
            if work is not None:
                await _shielded(_started(self._alast(work)))
        finally:
            release = self._release()
            if release is not None:
                with suppress(CheckpointError):  # it ends by itself
                    await _shielded(_started(self.store.arun(release)))

    async def _alast(self, work: Work) -> None:
        await self._aprepare()
        await self._astore(work)


def _started(coroutine: Coroutine[Any, Any, None]) -> Any:
    import asyncio  # here: a program without a loop does not need it

    return asyncio.ensure_future(coroutine)


def _shielded(future: Any) -> Any:
    import asyncio

    return asyncio.shield(future)


def _claims_an_answer(commit: Commit) -> bool:
    return any(row.kind is RowKind.ANSWER for row in commit.rows)


_lock = threading.Lock()
_pool: list[ThreadPoolExecutor] = []


def _background() -> ThreadPoolExecutor:
    with _lock:
        if not _pool:
            _pool.append(ThreadPoolExecutor(4, thread_name_prefix="graphflow-save"))
        return _pool[0]


if hasattr(os, "register_at_fork"):  # threads do not survive a fork
    os.register_at_fork(after_in_child=_pool.clear)
