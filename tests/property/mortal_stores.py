"""Stores that die where they are told to, before or after a commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from graphflow import Checkpointer, MemoryCheckpointer
from graphflow.checkpoint.protocol import (
    Branch,
    Holder,
    Lease,
    Operation,
    StoredFrame,
    StoredRow,
)
from graphflow.testing.simulation import Crash
from graphflow_checkpointers.sqlite import SqliteCheckpointer

from .worlds import executed

T = TypeVar("T")


class Commit(NamedTuple):
    """What a store is about to make durable, or has just made."""

    moment: str
    """`before` or `after`."""
    number: int
    """Of all commits to the store, those of graphs inside as well; from 0."""
    frames: frozenset[tuple[str, int]]
    """Scope and seq of its frames."""


class Mortal(Checkpointer):
    """Dies where it is told to, and with it the process: its threads read and write no more."""

    def __init__(self) -> None:
        super().__init__()
        self.dies: Callable[[Commit], bool] = lambda commit: False
        self.dead: list[object] = []
        """The processes that have died, as `executed` knows them."""
        self.commits = 0
        self.seen_scopes: dict[str, None] = {}
        self._scope_of: dict[int, str] = {}
        self._one = threading.RLock()
        self._writing: set[tuple[str, int]] | None = None
        self._owners: set[str] = set()
        """Who had a lease."""
        self._dead_owners: set[str] = set()

    def run(self, operation: Operation[T]) -> T:
        with self._one:
            self._check()
            self._writing = None
            result = super().run(operation)  # type: ignore[safe-super]  # a real store follows
            if self._writing is not None:
                number, self.commits = self.commits, self.commits + 1
                self._die_at("after", number)
            return result

    async def arun(self, operation: Operation[T]) -> T:
        return self.run(operation)

    def append(
        self,
        branch: int,
        head: int,
        frames: Sequence[StoredFrame],
        *,
        drop_rows: bool,
        lease: Lease | None = None,
    ) -> Operation[None]:
        scope = self._scope_of[branch]
        self._write({(scope, frame.seq) for frame in frames})
        yield from super().append(branch, head, frames, drop_rows=drop_rows, lease=lease)  # type: ignore[safe-super]

    def put_rows(
        self,
        branch: int,
        head: int,
        rows: Sequence[StoredRow],
        withdrawn: Sequence[StoredRow],
        *,
        lease: Lease | None = None,
    ) -> Operation[None]:
        self._write(set())
        yield from super().put_rows(branch, head, rows, withdrawn, lease=lease)  # type: ignore[safe-super]

    def claim(self, lease: Lease, seconds: float, over: str = "") -> Operation[Holder | None]:
        claiming = super().claim
        holder: Holder | None = yield from claiming(lease, seconds, over)  # type: ignore[safe-super]
        if holder is not None and holder.owner in self._dead_owners:
            holder = yield from claiming(lease, seconds, holder.owner)  # type: ignore[safe-super]
        if holder is None:
            self._owners.add(lease.owner)
        return holder

    def create_branch(
        self, thread: str, scope: str, name: str, parent: int | None, parent_seq: int
    ) -> Operation[Branch]:
        made: Branch = yield from super().create_branch(thread, scope, name, parent, parent_seq)  # type: ignore[safe-super]
        self.seen_scopes[scope] = None
        self._scope_of[made.id] = scope
        return made

    def _check(self) -> None:
        process = executed.get(None)
        if any(process is dead for dead in self.dead):
            raise Crash("the process is dead")

    def _write(self, frames: set[tuple[str, int]]) -> None:
        if self._writing is None:
            self._writing = frames
            self._die_at("before", self.commits)
        self._writing |= frames

    def _die_at(self, moment: str, number: int) -> None:
        if self.dies(Commit(moment, number, frozenset(self._writing or ()))):
            self.dead.append(executed.get(None))
            self._dead_owners |= self._owners
        self._check()


class MortalMemory(Mortal, MemoryCheckpointer):
    """In memory."""


class MortalSqlite(Mortal, SqliteCheckpointer):
    """In SQLite."""
