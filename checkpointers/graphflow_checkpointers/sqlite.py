"""The SQLite checkpointer: one file, one writer, one commit a superstep.

    app = graph.compile(checkpointer=SqliteCheckpointer("agent.db"))

Operations are generators of `Statement`s, carried out on the file's connection by one caller at a
time, who does those of the others as well (`sqlite_group`). asyncio callers have theirs carried out
on the store's own thread, so that the loop never waits for the disk; that is several times cheaper
than a hop for every statement.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar
from zlib import crc32

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.protocol import (
    Branch,
    Holder,
    Lease,
    Operation,
    StoredFrame,
    StoredRow,
    Tag,
)
from graphflow.checkpoint.records import RowKind
from graphflow.checkpoint.tags import checked_tags
from graphflow.errors import (
    AlreadyAnswered,
    CheckpointError,
    CorruptCheckpointError,
    Fenced,
    HeadMoved,
)
from graphflow_checkpointers import statements as sql
from graphflow_checkpointers.sqlite_file import Contents, SqliteFile, Synchronous
from graphflow_checkpointers.sqlite_group import Group
from graphflow_checkpointers.statements import Statement, key, key_behind, last_key

T = TypeVar("T")
CONTENTS = Contents(
    "checkpoint database",
    sql.APPLICATION,
    sql.FORMAT,
    sql.TABLES,
    sql.MIGRATIONS,
    "This superstep is not stored; everything before it is. Make room and go on with "
    "invoke(None, config).",
)


class SqliteCheckpointer(Checkpointer):
    """Keeps threads in a SQLite file.

    Args:
        path: The file, made if there is none; `":memory:"` for a database without one.
        synchronous: `"full"`: a commit survives a power cut. `"normal"`: it survives a crash of
            the process; a power cut may lose the newest commits, never corrupt the file.
        busy_timeout: Seconds to wait for another process that is writing.
        tags: Keys of a run's metadata by which threads can be found.

    Raises:
        ForeignDatabaseError: The file is no graphflow database; it was not touched.
        StoreTooNewError: A newer graphflow made it; it was not touched.
    """

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        synchronous: Synchronous = "full",
        busy_timeout: float = 5.0,
        tags: Iterable[str] = (),
    ) -> None:
        self.tags = checked_tags(tags)
        self._file = SqliteFile(path, CONTENTS, synchronous=synchronous, busy_timeout=busy_timeout)
        self.path = self._file.path
        self._connection = self._file.connection
        self._is_full = synchronous == "full"
        self._heads: dict[int, int] = {}
        """Heads of branches that this object has appended to: they are known to exist."""
        self._group = Group(self._file, self._heads.clear)

    # -- carrying out --------------------------------------------------------------------------

    def run(self, operation: Operation[T]) -> T:
        return self._group.do(operation)

    async def arun(self, operation: Operation[T]) -> T:
        ticket = self._group.put(operation)
        try:
            return await self._file.aside(partial(self._group.finish, ticket))
        except BaseException:
            self._group.drop(ticket)
            raise

    def close(self) -> None:
        """Write the log back into the file and close it."""
        self._file.close()

    def __enter__(self) -> SqliteCheckpointer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- operations ----------------------------------------------------------------------------

    def begin(self, *, write: bool = False) -> Operation[None]:
        yield Statement(sql.BEGIN_WRITE if write else sql.BEGIN_READ)

    def end(self) -> Operation[None]:
        yield Statement(sql.COMMIT)

    def branches(self, thread: str, scope: str = "") -> Operation[list[Branch]]:
        rows = yield Statement(sql.BRANCHES, (thread, scope))
        return [Branch(*row) for row in rows]

    def create_branch(
        self, thread: str, scope: str, name: str, parent: int | None, parent_seq: int
    ) -> Operation[Branch]:
        if parent is None:
            yield Statement(sql.ADD_THREAD, (thread,))
        values = (scope, scope, name, parent, parent_seq, thread, parent, parent)
        made = yield Statement(sql.ADD_BRANCH, values)
        if not made:
            raise HeadMoved(
                f"Thread {thread!r} has a branch {name!r} already, or what it was to continue is "
                "gone: somebody else was first. Nothing was stored; load the thread again."
            )
        return Branch(made[0][0], made[0][1], name, parent, parent_seq, parent_seq)

    def append(
        self,
        branch: int,
        head: int,
        frames: Sequence[StoredFrame],
        *,
        drop_rows: bool,
        lease: Lease | None = None,
    ) -> Operation[None]:
        alone = len(frames) == 1 and not drop_rows
        nested = alone or self._connection.in_transaction
        if not nested:
            yield Statement(sql.BEGIN_WRITE)
        if self._heads.get(branch) != head:
            yield from self._check_head(branch, head, lease)
        before, text, fence = head, sql.APPEND, tuple[int, ...]()
        if lease is not None:
            text, fence = sql.APPEND_FENCED, (lease.fence,)
        for seq, created, body in frames:
            at = key_behind(branch, before)
            if (yield text, (at, seq, created, crc32(body), body, *fence)) != 1:
                yield from self._refuse(branch, head, lease)
            before = seq
        if drop_rows:
            yield Statement(sql.DROP_ROWS, (key(branch, head),))
        if not nested:
            yield Statement(sql.COMMIT)
        self._heads[branch] = before

    def _check_head(self, branch: int, head: int, lease: Lease | None = None) -> Operation[None]:
        """Refuse a head that is none; later appends to it only find its place taken."""
        found = yield Statement(sql.HEAD, (branch,))
        if not found or found[0][0] != head:
            yield from self._refuse(branch, head, lease)
        if len(self._heads) >= _HEADS:
            self._heads.clear()

    def _refuse(self, branch: int, head: int, lease: Lease | None = None) -> Operation[None]:
        found = yield Statement(sql.HEAD, (branch,))
        if not found:
            raise HeadMoved("The thread was deleted while a run was going on; nothing was stored.")
        yield from self._check_lease(lease)
        raise HeadMoved(
            f"The branch is at {found[0][0]}, not at {head}: another run or edit committed first. "
            "Nothing was stored; load the thread again."
        )

    def _check_lease(self, lease: Lease | None) -> Operation[None]:
        if lease is not None and not (yield Statement(sql.IS_HELD, (lease.fence,))):
            raise Fenced(lease.thread, lease.branch)

    def put_rows(
        self,
        branch: int,
        head: int,
        rows: Sequence[StoredRow],
        withdrawn: Sequence[StoredRow],
        *,
        lease: Lease | None = None,
    ) -> Operation[None]:
        nested = self._connection.in_transaction
        if not nested:
            yield Statement(sql.BEGIN_WRITE)
        yield from self._check_head(branch, head, lease)
        yield from self._check_lease(lease)
        at = key(branch, head)
        for index, kind, number, body in rows:
            added = yield Statement(sql.PUT_ROW, (at, index, kind, number, at, crc32(body), body))
            if added != 1 and kind == RowKind.ANSWER:
                raise AlreadyAnswered(
                    f"Question {number + 1} of this task was answered by somebody else; "
                    "this answer was not used."
                )
        for index, kind, number, _ in withdrawn:
            yield Statement(sql.DROP_ROW, (at, index, kind, number))
        if not nested:
            yield Statement(sql.COMMIT)

    def claim(self, lease: Lease, seconds: float, over: str = "") -> Operation[Holder | None]:
        now = time.time()
        values = (lease.fence, lease.place, lease.owner, now + seconds, now, over)
        while (yield from self._relaxed(Statement(sql.CLAIM, values))) != 1:
            found = yield Statement(sql.HOLDER, (lease.place,))
            if found:  # else it was given back in between
                return Holder(found[0][0], found[0][1] - now)
        return None

    def renew(self, lease: Lease, seconds: float) -> Operation[bool]:
        values = (time.time() + seconds, lease.fence)
        return (yield from self._relaxed(Statement(sql.RENEW, values))) == 1

    def release(self, lease: Lease) -> Operation[None]:
        yield from self._relaxed(Statement(sql.RELEASE, (lease.fence,)))

    def _relaxed(self, statement: Statement) -> Operation[int]:
        """Carry out a statement, and wait for the disk only if others do so in the transaction."""
        if not self._is_full or self._connection.in_transaction:
            return (yield statement)  # type: ignore[no-any-return]  # how many rows
        yield Statement(sql.RELAXED)
        count: int = yield statement
        yield Statement(sql.FULL)
        return count

    def frames(self, branch: int, after: int, upto: int) -> Operation[list[StoredFrame]]:
        first, behind = key_behind(branch, -1), key_behind(branch, after)
        last = key_behind(branch, upto - 1)
        rows = yield Statement(sql.FRAMES, (first, behind, last, after, upto))
        for crc, seq, _, body in rows:
            if crc32(body) != crc:
                raise self._damaged(f"frame {seq} of branch {branch}")
        return [_frame(row[1:]) for row in rows]

    def rows(self, branch: int, head: int) -> Operation[list[StoredRow]]:
        found = yield Statement(sql.ROWS, (key(branch, head),))
        for index, _, _, body, crc in found:
            if crc32(body) != crc:
                raise self._damaged(f"row of task {index} at frame {head} of branch {branch}")
        return [StoredRow(*row[:4]) for row in found]

    def snapshot(self, branch: int, upto: int) -> Operation[tuple[int, bytes] | None]:
        found = yield Statement(sql.SNAPSHOT, (key(branch, 0), key(branch, upto)))
        for seq, body, crc in found:
            if crc32(body) != crc:
                raise self._damaged(f"snapshot {seq} of branch {branch}")
            return seq, body
        return None

    def put_snapshot(self, branch: int, seq: int, body: bytes) -> Operation[None]:
        yield Statement(sql.BEGIN_WRITE)
        yield Statement(sql.DROP_SNAPSHOTS, (key(branch, 0), key(branch, seq)))
        yield Statement(sql.PUT_SNAPSHOT, (key(branch, seq), crc32(body), body))
        yield Statement(sql.COMMIT)

    def threads(self) -> Operation[list[str]]:
        rows = yield Statement(sql.THREADS)
        return [name for (name,) in rows]

    def put_tags(self, thread: str, tags: Sequence[Tag]) -> Operation[None]:
        for tag in tags:
            yield Statement(sql.PUT_TAG, (*tag, thread))

    def tagged(
        self, tags: Sequence[Tag], after: int, limit: int
    ) -> Operation[list[tuple[int, str]]]:
        values = (*(tag.value for tag in tags), min(after, sql.LAST_THREAD), limit)
        rows: list[tuple[int, str]] = yield Statement(sql.tagged(len(tags)), values)
        return rows

    def scopes(self, thread: str) -> Operation[list[str]]:
        rows = yield Statement(sql.SCOPES, (thread,))
        return sorted(scope for (scope,) in rows)

    def cut(self, branch: int, base: StoredFrame) -> Operation[None]:
        first, last = key_behind(branch, -1), last_key(branch)
        yield Statement(sql.BEGIN_WRITE)
        if not (yield Statement(sql.HAS_FRAME, (first, last, base.seq, branch))):
            raise HeadMoved(f"The branch has no frame {base.seq} any more; nothing was removed.")
        yield Statement(sql.DROP_FRAMES, (first, last, base.seq))
        seq, created, body = base
        yield Statement(sql.APPEND, (first, seq, created, crc32(body), body))
        yield Statement(sql.DROP_SNAPSHOTS, (key(branch, 0), key(branch, seq + 1)))
        yield Statement(sql.CUT_OFF, (branch,))
        yield Statement(sql.COMMIT)

    def remove_scope(self, thread: str, scope: str) -> Operation[None]:
        yield Statement(sql.BEGIN_WRITE)
        for branch, head in (yield Statement(sql.SCOPE_BRANCHES, (thread, scope))):
            yield from self._empty(branch, head)
            yield Statement(sql.DROP_BRANCH, (branch,))
        yield Statement(sql.COMMIT)

    def remove_thread(self, thread: str) -> Operation[None]:
        yield Statement(sql.BEGIN_WRITE)
        for branch, head in (yield Statement(sql.THREAD_BRANCHES, (thread,))):
            yield from self._empty(branch, head)
        yield Statement(sql.DROP_THREAD, (thread,))
        yield Statement(sql.COMMIT)

    def _empty(self, branch: int, head: int) -> Operation[None]:
        """Remove what a branch has; where its next frame would be, nothing can be put any more."""
        for statement in sql.DROP_RANGE:
            yield Statement(statement, (key(branch, 0), last_key(branch)))
        yield Statement(sql.APPEND, (key_behind(branch, head), head, 0.0, 0, b""))

    def scrub(self) -> Operation[None]:
        """Write the file anew, which takes room for a second one meanwhile, and empty the log.

        Raises:
            CheckpointError: Somebody else is reading what was there before.
            StoreFullError: There is no room for the second one.
        """
        yield Statement(sql.WRITE_ANEW)
        found = yield Statement(sql.TRUNCATE_LOG)
        if found and found[0][0]:
            raise CheckpointError(
                f"{self.path}: what was removed is gone from the file, but not from its log yet, "
                "because somebody is reading there. Try again later."
            )

    def _damaged(self, what: str) -> CorruptCheckpointError:
        return CorruptCheckpointError(
            f"{self.path}: {what} does not match its checksum. Restore the file from a "
            "backup; other threads in it can still be read."
        )


_HEADS = 4096
"""Branches whose heads are remembered."""
_frame = StoredFrame._make
