"""The checkpointer in Redis or Valkey: one script, one round trip a commit.

    app = graph.compile(checkpointer=RedisCheckpointer("redis://localhost:6379/0"))

Operations yield calls of a `Session` (redis_session.py), which `run` carries out; asyncio callers
have theirs carried out on a thread of the store's. How threads lie in keys is told in
redis_names.py and redis_thread.py, what is one step in redis_scripts.py.

Frames are entries of a stream. An entry's id is `SEQ-TOKEN`: a range of seqs is a range of ids, and
the token, drawn for each commit, tells one whose answer was lost from somebody else's.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final, TypeVar
from zlib import crc32

from graphflow.checkpoint.protocol import (
    Branch,
    Checkpointer,
    Operation,
    StoredFrame,
    StoredRow,
)
from graphflow.checkpoint.records import RowKind
from graphflow.errors import CorruptCheckpointError, HeadMoved
from graphflow_checkpointers import redis_thread as facts
from graphflow_checkpointers.redis_client import Client
from graphflow_checkpointers.redis_durability import (
    Durability,
    RedisDurabilityWarning,
    check_durability,
)
from graphflow_checkpointers.redis_names import (
    Names,
    checked_prefix,
    drawn_branch,
    drawn_token,
    field_of,
    tag_in,
    tag_of,
)
from graphflow_checkpointers.redis_scripts import REMOVE, RESERVE, VIEW
from graphflow_checkpointers.redis_server import RedisServer, Word
from graphflow_checkpointers.redis_session import Rows, Session, Step, asked, evaluated, written

__all__ = ["RedisCheckpointer", "RedisDurabilityWarning"]

T = TypeVar("T")

_PAGE: Final = 1000
"""Frames that are read at once, so that nobody else waits long."""
_FRAME: Final = struct.Struct(">dI")
"""In front of a frame: when it was created, and its checksum."""
_CRC: Final = struct.Struct(">I")
"""In front of a row or a snapshot: its checksum."""
_ORDER: Final = 8
"""Digits in front of that, in a row: which one it was."""


class RedisCheckpointer(Checkpointer):
    """Keeps threads in Redis (5 or newer) or Valkey, also in a cluster or a managed service.

    Args:
        url_or_client: `redis://…`, `rediss://…`, `unix://…`, or a client of redis-py, for blocking
            callers or asyncio, of one server or a cluster.
        prefix: What the names of all its keys begin with.
        durability: `"process"`: a commit survives a crash of this process, and of the server if
            that keeps an append-only file; a power cut may lose the newest commits. `"full"`: it
            survives a power cut of the server.
        patience: Seconds for which a call is repeated while there is no server.

    Raises:
        CheckpointError: There is no server, or it cannot keep that promise: it would throw threads
            away when its memory is full, or does not write each commit to disk (`"full"`).
    """

    def __init__(
        self,
        url_or_client: str | Client,
        *,
        prefix: str = "graphflow",
        durability: Durability = "process",
        patience: float = 5.0,
    ) -> None:
        self._names = Names(checked_prefix(prefix))
        self._server = RedisServer(
            url_or_client,
            patience=patience,
            lost="What was stored before stays stored; whether this superstep is, "
            "get_state(config) tells. Go on with invoke(None, config) when it is back.",
            full="This superstep is not stored; everything before it is. Give the server more "
            "memory (maxmemory) and go on with invoke(None, config).",
        )
        try:
            check_durability(self._server, durability)
        except BaseException:
            self._server.close()
            raise

    # -- carrying out --------------------------------------------------------------------------

    def run(self, operation: Operation[T]) -> T:
        session = Session(self._server)
        try:
            wish = next(operation)
            while True:
                wish = operation.send(wish(session))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # what the operation returned

    async def arun(self, operation: Operation[T]) -> T:
        return await self._server.aside(partial(self.run, operation))

    def close(self) -> None:
        self._server.close()

    def __enter__(self) -> RedisCheckpointer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- operations ----------------------------------------------------------------------------

    def begin(self, *, write: bool = False) -> Operation[None]:
        yield lambda session: session.begin(write)

    def end(self) -> Operation[None]:
        yield Session.end

    def branches(self, thread: str, scope: str = "") -> Operation[list[Branch]]:
        tag = tag_of(thread)
        fields = yield asked("HGETALL", self._names.thread(tag))
        found = facts.branches_in(fields, tag, scope, self._server.address)
        view = yield lambda session: session.view
        if view is None:
            return found
        return (yield from self._viewed(view, fields, found, tag, scope))

    def _viewed(
        self,
        view: dict[int, Rows],
        fields: facts.Fields,
        found: list[Branch],
        tag: int,
        scope: str,
    ) -> Operation[list[Branch]]:
        """Return the branches as of the moment of their rows, which go into the view."""
        asked: dict[int, None] = {}
        view.clear()
        while wanted := [b.id for b in found if facts.has_rows(fields, b.id) and b.id not in view]:
            asked |= dict.fromkeys(wanted)
            keys = [self._names.thread(tag), *map(self._names.rows, asked)]
            flat, *rows = yield evaluated(VIEW, keys)
            fields = _paired(flat)
            found = facts.branches_in(fields, tag, scope, self._server.address)
            view.update(zip(asked, map(_paired, rows), strict=True))
        view |= {branch.id: view.get(branch.id, {}) for branch in found}
        return found

    def create_branch(
        self, thread: str, scope: str, name: str, parent: int | None, parent_seq: int
    ) -> Operation[Branch]:
        tag, subject = tag_of(thread), f"Thread {thread!r} has a branch {name!r}"
        key, field = self._names.thread(tag), facts.branch_field(scope, name)
        ordinal = yield evaluated(RESERVE, [key], field, facts.next_field(scope))
        if not ordinal.isdigit():
            raise HeadMoved(
                f"{subject} already: another run made it first. Nothing was stored; load the "
                "thread again."
            )
        branch = Branch(drawn_branch(tag), int(ordinal), name, parent, parent_seq, parent_seq)
        record, place = facts.record_of(branch), field_of(branch.id)
        origin = b"" if parent is None else field_of(parent)
        told = (field, ordinal, record, place, parent_seq, origin, facts.FORMAT)
        yield written(Step("create", (key,), (*told, facts.written_name(thread)), subject))
        return branch

    def append(
        self, branch: int, head: int, frames: Sequence[StoredFrame], *, drop_rows: bool
    ) -> Operation[None]:
        names, token = self._names, drawn_token()
        entries: list[Word] = []
        for seq, created, body in frames:
            entries += (b"%d-%d" % (seq, token), _FRAME.pack(created, crc32(body)) + body)
        tip = frames[-1].seq if frames else head
        last = b"%d-%d" % (max(tip, 0), token)  # no id is negative; nor is a seq that is taken
        keys = (names.thread(tag_in(branch)), names.frames(branch), names.rows(branch))
        told = (field_of(branch), head, tip, last, len(frames), *entries)
        yield written(Step("append", keys, told))

    def put_rows(
        self, branch: int, head: int, rows: Sequence[StoredRow], withdrawn: Sequence[StoredRow]
    ) -> Operation[None]:
        keys = (self._names.thread(tag_in(branch)), self._names.rows(branch))
        told: list[Word] = [field_of(branch), head, b"%016x" % drawn_token()]
        told += (len(rows), len(withdrawn))
        for row in rows:
            told += (_place(row), int(row.kind == RowKind.ANSWER), _sealed(row.body))
        told += map(_place, withdrawn)
        yield written(Step("rows", keys, told))

    def frames(self, branch: int, after: int, upto: int) -> Operation[list[StoredFrame]]:
        key, found = self._names.frames(branch), []
        while after < upto:
            page = yield asked("XRANGE", key, after + 1, upto, "COUNT", _PAGE)
            found += [self._frame(key, *entry) for entry in page]
            if len(page) < _PAGE:
                break
            after = found[-1].seq
        return found

    def rows(self, branch: int, head: int) -> Operation[list[StoredRow]]:
        key = self._names.rows(branch)
        view = yield lambda session: session.view
        fields = view.get(branch) if view else None
        if fields is None:
            fields = yield asked("HGETALL", key)
        if fields.get(b"h") != b"%d" % head:
            return []
        rows = sorted((sealed, place) for place, sealed in fields.items() if b"." in place)
        return [self._row(key, place, sealed[_ORDER:]) for sealed, place in rows]

    def snapshot(self, branch: int, upto: int) -> Operation[tuple[int, bytes] | None]:
        if upto < 0:
            return None
        key = self._names.snapshot(branch)
        found = yield asked("XREVRANGE", key, upto, "-", "COUNT", 1)
        for entry, fields in found:
            body, _ = self._opened(_CRC, fields[b"f"], key, entry)
            return _seq(entry), body
        return None

    def put_snapshot(self, branch: int, seq: int, body: bytes) -> Operation[None]:
        keys = (self._names.thread(tag_in(branch)), self._names.snapshot(branch))
        told = (field_of(branch), b"%d-%d" % (seq, drawn_token()), _sealed(body))
        yield written(Step("snapshot", keys, told))

    def threads(self) -> Operation[list[str]]:
        pattern = self._names.any_thread()
        found = yield lambda session: session.ask_of_each(pattern, "HGET", "thread")
        address = self._server.address
        named = [facts.name_and_birth(fact, address) for fact in found if fact is not None]
        return [name for name, _ in sorted(named, key=itemgetter(1))]

    def remove_thread(self, thread: str) -> Operation[None]:
        tag = tag_of(thread)
        key, names = self._names.thread(tag), self._names
        is_gone = False
        while not is_gone:
            fields = yield asked("HGETALL", key)
            if not fields:
                return
            parts = (names.frames, names.rows, names.snapshot)
            numbers = facts.all_numbers(fields, tag)
            keys = [key, *(part(number) for number in numbers for part in parts)]
            is_gone = yield evaluated(REMOVE, keys, fields.get(b"made", b"0"))

    # -- bytes ---------------------------------------------------------------------------------

    def _frame(self, key: bytes, entry: bytes, fields: facts.Fields) -> StoredFrame:
        body, created, _ = self._opened(_FRAME, fields[b"f"], key, entry)
        return StoredFrame(_seq(entry), created, body)

    def _row(self, key: bytes, place: bytes, sealed: bytes) -> StoredRow:
        body, _ = self._opened(_CRC, sealed, key, place)
        task, kind, number = map(int, place.split(b"."))
        return StoredRow(task, kind, number, body)

    def _opened(
        self, layout: struct.Struct, sealed: bytes, key: bytes, place: bytes
    ) -> tuple[Any, ...]:
        """Return a body and what stood in front of it; the checksum is the last of that."""
        head, body = sealed[: layout.size], sealed[layout.size :]
        if len(head) == layout.size:
            known = layout.unpack(head)
            if known[-1] == crc32(body):
                return body, *known
        raise CorruptCheckpointError(
            f"{self._server.address}: {place.decode()} in {key.decode()} does not match its "
            "checksum. Restore the server's data from a backup; other threads can still be read."
        )


def _sealed(body: bytes) -> bytes:
    return _CRC.pack(crc32(body)) + body


def _seq(entry: bytes) -> int:
    return int(entry.partition(b"-")[0])


def _place(row: StoredRow) -> bytes:
    return b"%d.%d.%d" % row[:3]


def _paired(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
