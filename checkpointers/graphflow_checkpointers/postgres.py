"""The PostgreSQL checkpointer: one round trip a commit, one object for all callers.

    app = graph.compile(checkpointer=PostgresCheckpointer("postgresql://user@host/database"))

Operations are generators of `Statement`s; `carry` takes one to the server and back, whoever calls.
No session has a state, so the store works behind a pooler that lends connections by transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

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
from graphflow_checkpointers import postgres_statements as sql
from graphflow_checkpointers import postgres_tags
from graphflow_checkpointers.postgres_callers import Callers, OnLoop, OnThreads
from graphflow_checkpointers.postgres_connections import GivenPool, OwnConnections, Source
from graphflow_checkpointers.postgres_errand import carry
from graphflow_checkpointers.postgres_errors import told
from graphflow_checkpointers.postgres_statements import (
    Statement,
    Tables,
    Word,
    checksum,
    place,
)
from graphflow_checkpointers.postgres_tables import prepare

T = TypeVar("T")


class PostgresCheckpointer(Checkpointer):
    """Keeps threads in a PostgreSQL database, 13 or newer.

    Connects at the first use, and makes its tables (`graphflow_*`) if there are none.

    Args:
        database: A dsn, `postgresql://user:password@host:port/name` or `host=… dbname=…`. Or a
            pool, `psycopg_pool.ConnectionPool` or `AsyncConnectionPool`, which stays yours to open
            and to close; that of asyncio's serves other threads and loops while its own loop runs.
        schema: The PostgreSQL schema that the tables are in, made if there is none; None: the
            first of the connection's `search_path`, usually `public`.
        max_connections: How many the store opens at most, given a dsn.
        prepare_threshold: After how many times psycopg prepares a statement, given a dsn; 5 saves
            a quarter of a commit. None: never, as poolers that lend connections by transaction
            may need.
        tags: Keys of a run's metadata by which threads can be found.

    Raises:
        CheckpointError: The dsn cannot be read.
        TypeError: `database` is something else.
    """

    def __init__(
        self,
        database: str | ConnectionPool[Any] | AsyncConnectionPool[Any],
        *,
        schema: str | None = None,
        max_connections: int = 8,
        prepare_threshold: int | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        self.tags = checked_tags(tags)
        self._tables = Tables(schema)
        self._is_ready = False
        self._is_closed = False
        self._source: Source
        self._callers: Callers
        if isinstance(database, str):
            self._source = OwnConnections(database, max_connections, prepare_threshold)
            self._callers = OnThreads(max_connections)
        elif isinstance(database, ConnectionPool):
            self._source = GivenPool(database)
            self._callers = OnThreads(database.max_size or max_connections)
        elif isinstance(database, AsyncConnectionPool):
            self._source = GivenPool(database)
            self._callers = OnLoop()
        else:
            raise TypeError(
                "PostgresCheckpointer takes a dsn, a psycopg_pool.ConnectionPool or an "
                f"AsyncConnectionPool, not {type(database).__name__}."
            )

    # -- carrying out --------------------------------------------------------------------------

    def run(self, operation: Operation[T]) -> T:
        return self._open().run(partial(self._carried, operation))

    async def arun(self, operation: Operation[T]) -> T:
        return await self._open().arun(partial(self._carried, operation))

    def _open(self) -> Callers:
        if self._is_closed:
            raise CheckpointError(
                f"The checkpointer on {self._source.where} is closed. Make another one."
            )
        return self._callers

    async def _carried(self, operation: Operation[T]) -> T:
        try:
            if not self._is_ready:
                await prepare(self._source, self._tables)
                self._is_ready = True
            return await carry(self._source, self._tables, operation)
        except psycopg.Error as error:
            raise told(error, self._source.where) from error

    def close(self) -> None:
        """Close the store's own connections; a pool that was given stays open."""
        self._is_closed = True
        self._callers.close()
        self._source.close()

    def __enter__(self) -> PostgresCheckpointer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- operations ----------------------------------------------------------------------------

    def begin(self, *, write: bool = False) -> Operation[None]:
        yield Word.WRITE if write else Word.READ

    def end(self) -> Operation[None]:
        yield Word.END

    def branches(self, thread: str, scope: str = "") -> Operation[list[Branch]]:
        rows = yield Statement(sql.BRANCHES, (_packed(thread), _packed(scope)))
        return [
            Branch(number, ordinal, _text(name), *rest) for number, ordinal, name, *rest in rows
        ]

    def create_branch(
        self, thread: str, scope: str, name: str, parent: int | None, parent_seq: int
    ) -> Operation[Branch]:
        key = _packed(thread)
        yield from self.begin(write=True)
        yield Statement(sql.ADD_THREAD, (key,), is_deferred=True)
        made = yield Statement(
            sql.ADD_BRANCH,
            (_packed(scope), _packed(name), parent, parent_seq, key),
            is_contested=True,
        )
        if not made:
            raise HeadMoved(
                f"Thread {thread!r} has a branch {name!r} already: another run made it first. "
                "Nothing was stored; load the thread again."
            )
        yield from self.end()
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
        heads = [head, *(frame.seq for frame in frames[:-1])]
        new = [
            (place(branch, before), created, seq, checksum(body), body)
            for before, (seq, created, body) in zip(heads, frames, strict=True)
        ]
        fence = () if lease is None else (lease.fence,)
        values = (*(value for row in new for value in row), branch, head, *fence)
        text = sql.append(len(new), bool(fence))
        if drop_rows:
            text = sql.append_and_drop_rows(len(new), bool(fence))
            values = (*values, place(branch, -1), place(branch, head))
        proof = Statement(sql.IS_STORED, new[-1])
        added = yield Statement(text, values, is_contested=True, proof=proof)
        if not added:
            yield from self._refuse(head, lease)

    def _refuse(self, head: int, lease: Lease | None) -> Operation[None]:
        if lease is not None and not (yield Statement(sql.IS_HELD, (lease.fence,))):
            raise Fenced(lease.thread, lease.branch)
        raise _moved(head)

    def put_rows(
        self,
        branch: int,
        head: int,
        rows: Sequence[StoredRow],
        withdrawn: Sequence[StoredRow],
        *,
        lease: Lease | None = None,
    ) -> Operation[None]:
        at = place(branch, head)
        fence = () if lease is None else (lease.fence,)
        tasks, kinds, numbers, bodies = _columns(rows)
        crcs = [checksum(body) for body in bodies]
        is_one = not withdrawn and RowKind.ANSWER not in kinds  # then there is nothing to take back
        if not is_one:
            yield from self.begin(write=True)
        new = (at, tasks, kinds, numbers, crcs, bodies, RowKind.ANSWER.value)
        taken = yield Statement(
            sql.put_rows(bool(fence)), (branch, head, *fence, *new), is_contested=True
        )
        if not taken:
            yield from self._refuse(head, lease)
        if taken[0][0] != kinds.count(RowKind.ANSWER):
            raise AlreadyAnswered(
                "One of these questions was answered by somebody else; this answer was not used."
            )
        if withdrawn:
            yield Statement(sql.DROP_ROWS, (*_columns(withdrawn)[:3], at), is_deferred=True)
        if not is_one:
            yield from self.end()

    def claim(self, lease: Lease, seconds: float, over: str = "") -> Operation[Holder | None]:
        values = (lease.fence, seconds, lease.place, lease.owner, seconds, over)
        while not (yield Statement(sql.CLAIM, values)):
            found = yield Statement(sql.HOLDER, (lease.place,))
            if found:  # else it was given back in between
                return Holder(*found[0])
        return None

    def renew(self, lease: Lease, seconds: float) -> Operation[bool]:
        return bool((yield Statement(sql.RENEW, (seconds, lease.fence))))

    def release(self, lease: Lease) -> Operation[None]:
        yield Statement(sql.RELEASE, (lease.fence,))

    def frames(self, branch: int, after: int, upto: int) -> Operation[list[StoredFrame]]:
        first = place(branch, -1)
        rows = yield Statement(
            sql.FRAMES,
            (first, place(branch, after), first, place(branch, upto), after, upto),
        )
        for seq, _, body, crc in rows:
            self._check(body, crc, f"frame {seq} of branch {branch}")
        return [StoredFrame(seq, created, body) for seq, created, body, _ in rows]

    def rows(self, branch: int, head: int) -> Operation[list[StoredRow]]:
        at = place(branch, head)
        found = yield Statement(sql.ROWS, (at, at))
        for task, _, _, body, crc in found:
            self._check(body, crc, f"row of task {task} at frame {head} of branch {branch}")
        return [StoredRow(*row[:4]) for row in found]

    def snapshot(self, branch: int, upto: int) -> Operation[tuple[int, bytes] | None]:
        found = yield Statement(sql.SNAPSHOT, (place(branch, -1), place(branch, upto) - 1))
        for seq, body, crc in found:
            self._check(body, crc, f"snapshot {seq} of branch {branch}")
            return seq, body
        return None

    def put_snapshot(self, branch: int, seq: int, body: bytes) -> Operation[None]:
        at = place(branch, seq) - 1
        yield Statement(sql.PUT_SNAPSHOT, (place(branch, -1), at, at, checksum(body), body, branch))

    def threads(self) -> Operation[list[str]]:
        rows = yield Statement(sql.THREADS)
        return [_text(name) for (name,) in rows]

    def put_tags(self, thread: str, tags: Sequence[Tag]) -> Operation[None]:
        return postgres_tags.put(_packed(thread), tags)

    def tagged(
        self, tags: Sequence[Tag], after: int, limit: int
    ) -> Operation[list[tuple[int, str]]]:
        rows = yield from postgres_tags.found(tags, after, limit)
        return [(number, _text(name)) for number, name in rows]

    def scopes(self, thread: str) -> Operation[list[str]]:
        rows = yield Statement(sql.SCOPES, (_packed(thread),))
        return sorted(_text(scope) for (scope,) in rows)

    def remove_thread(self, thread: str) -> Operation[None]:
        key = (_packed(thread),)
        yield from self.begin(write=True)
        for text in (sql.LOCK_THREAD, sql.LOCK_BRANCHES, *sql.DROP_CONTENTS):
            yield Statement(text, key, is_deferred=True)
        yield Statement(sql.DROP_THREAD, key)
        yield from self.end()

    def cut(self, branch: int, base: StoredFrame) -> Operation[None]:
        first, behind = place(branch, -1), place(branch + 1, -1)
        yield from self.begin(write=True)
        yield Statement(sql.LOCK_BRANCH, (branch,), is_deferred=True)
        dropped = yield Statement(sql.DROP_FRAMES, (first, behind, base.seq))
        seq, created, body = base
        if (seq,) not in dropped:
            raise HeadMoved(f"The branch has no frame {seq} any more; nothing was removed.")
        values = (first, created, seq, checksum(body), body)
        yield Statement(sql.PUT_BASE, values, is_deferred=True)
        yield Statement(sql.DROP_SNAPSHOTS, (first, place(branch, seq)), is_deferred=True)
        yield Statement(sql.CUT_OFF, (branch,))
        yield from self.end()

    def remove_scope(self, thread: str, scope: str) -> Operation[None]:
        yield from self.begin(write=True)
        found = yield Statement(sql.SCOPE_BRANCHES, (_packed(thread), _packed(scope)))
        for (branch,) in found:
            for text in sql.DROP_RANGE:
                values = (place(branch, -1), place(branch + 1, -1))
                yield Statement(text, values, is_deferred=True)
            yield Statement(sql.DROP_BRANCH, (branch,))
        yield from self.end()

    def scrub(self) -> Operation[None]:
        """Write the tables anew; nobody can use them meanwhile.

        The server's write-ahead log has the bytes until it is recycled, and backups keep them.
        """
        for text in sql.SCRUB:
            yield Statement(text)

    def _check(self, body: bytes, crc: int, what: str) -> None:
        if checksum(body) != crc:
            raise CorruptCheckpointError(
                f"{self._source.where}: {what} does not match its checksum. Restore the database "
                "from a backup; other threads in it can still be read."
            )


def _packed(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")


def _columns(rows: Sequence[StoredRow]) -> tuple[list[int], list[int], list[int], list[bytes]]:
    return (
        [row.place for row in rows],
        [int(row.kind) for row in rows],
        [row.number for row in rows],
        [row.body for row in rows],
    )


def _moved(head: int) -> HeadMoved:
    return HeadMoved(
        f"The branch is not at {head} any more: another run or edit committed first, or the thread "
        "was deleted. Nothing was stored; load the thread again."
    )
