"""The checkpointer in Redis or Valkey: one script, one round trip a commit.

    app = graph.compile(checkpointer=RedisCheckpointer("redis://localhost:6379/0"))

Operations yield calls of a `Session`, which `run` carries out; asyncio callers have theirs carried
out on a thread of the store's. What is written between `begin` and `end` goes out as one script.

    redis_names, redis_thread, redis_entries    how threads lie in keys
    redis_tags                                  how threads are found by their tags
    redis_session, redis_scripts                what is one step, and why nothing is half done
    redis_server, redis_client                  the way to the server
    redis_durability                            whether it keeps what it is told
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

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
from graphflow.checkpoint.tags import checked_tags
from graphflow.errors import HeadMoved
from graphflow_checkpointers import redis_tags
from graphflow_checkpointers import redis_thread as facts
from graphflow_checkpointers.redis_client import Client
from graphflow_checkpointers.redis_durability import (
    Durability,
    RedisDurabilityWarning,
    check_durability,
)
from graphflow_checkpointers.redis_entries import (
    Fields,
    Reader,
    entry_id,
    place_of,
    sealed,
    written_frames,
    written_rows,
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
from graphflow_checkpointers.redis_scripts import (
    CLAIM,
    CUT,
    RELEASE,
    REMOVE,
    REMOVE_SCOPE,
    RENEW,
    RESERVE,
    VIEW,
)
from graphflow_checkpointers.redis_server import RedisServer
from graphflow_checkpointers.redis_session import (
    Session,
    Step,
    asked,
    evaluated,
    name_taken,
    written,
)

__all__ = ["RedisCheckpointer", "RedisDurabilityWarning"]

T = TypeVar("T")

_FIRST_PAGE: Final = 100
"""Frames that are read at once before it is known how long they are."""
_PAGE: Final = 1 << 20
"""Bytes that are read at once, about: the server must hold them all, and everybody waits."""


class RedisCheckpointer(Checkpointer):
    """Keeps threads in Redis (5 or newer) or Valkey, also in a cluster or a managed service.

    Args:
        url_or_client: `redis://…`, `rediss://…`, `unix://…`, or a client of redis-py, for blocking
            callers or asyncio, of one server or a cluster.
        prefix: What the names of all its keys begin with.
        durability: `"process"`: a commit survives a crash of this process, and a restart of the
            server if that keeps an append-only file; a crash of the server or a power cut may lose
            the newest commits, about two seconds' worth. `"full"`: it survives those as well.
        patience: Seconds for which a call is repeated while there is no server.
        tags: Keys of a run's metadata by which threads can be found.

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
        tags: Iterable[str] = (),
    ) -> None:
        self.tags = checked_tags(tags)
        self._names = Names(checked_prefix(prefix))
        self._server = RedisServer(
            url_or_client,
            patience=patience,
            lost="What was stored before stays stored; whether this superstep is, "
            "get_state(config) tells. Go on with invoke(None, config) when it is back.",
            full="This superstep is not stored; everything before it is. Give the server more "
            "memory (maxmemory) and go on with invoke(None, config).",
        )
        check_durability(self._server, durability)

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
        view: dict[int, Fields],
        fields: Fields,
        found: list[Branch],
        tag: int,
        scope: str,
    ) -> Operation[list[Branch]]:
        """Return the branches as of the moment of their rows, which go into the view."""
        fetched: dict[int, None] = {}
        view.clear()
        while wanted := [b.id for b in found if facts.has_rows(fields, b.id) and b.id not in view]:
            fetched |= dict.fromkeys(wanted)
            keys = [self._names.thread(tag), *map(self._names.rows, fetched)]
            flat, *rows = yield evaluated(VIEW, keys)
            fields = _paired(flat)
            found = facts.branches_in(fields, tag, scope, self._server.address)
            view.update(zip(fetched, map(_paired, rows), strict=True))
        view |= {branch.id: view.get(branch.id, {}) for branch in found}
        return found

    def create_branch(
        self, thread: str, scope: str, name: str, parent: int | None, parent_seq: int
    ) -> Operation[Branch]:
        tag, subject = tag_of(thread), f"Thread {thread!r} has a branch {name!r}"
        key, field = self._names.thread(tag), facts.branch_field(scope, name)
        ordinal = yield evaluated(RESERVE, [key], field, facts.next_field(scope))
        if not ordinal.isdigit():
            raise name_taken(subject)
        branch = Branch(drawn_branch(tag), int(ordinal), name, parent, parent_seq, parent_seq)
        record, place = facts.record_of(branch), field_of(branch.id)
        origin = b"" if parent is None else field_of(parent)
        told = (field, ordinal, record, place, parent_seq, origin, facts.FORMAT)
        yield written(Step("create", (key,), (*told, facts.written_name(thread)), subject))
        return branch

    def append(
        self,
        branch: int,
        head: int,
        frames: Sequence[StoredFrame],
        *,
        drop_rows: bool,
        lease: Lease | None = None,
    ) -> Operation[None]:
        names, token = self._names, drawn_token()
        tip = frames[-1].seq if frames else head
        thread = names.thread(tag_in(branch))
        owned, owner = self._owned(thread, lease)
        keys = (thread, names.frames(branch), names.rows(branch), owned)
        told = (owner, field_of(branch), head, tip, entry_id(tip, token), len(frames))
        values = (*told, *written_frames(frames, token))
        yield written(Step("append", keys, values, lease=lease))

    def _owned(self, thread: bytes, lease: Lease | None) -> tuple[bytes, str]:
        """Return the key of a lease and who must be in it; any key and nobody for None."""
        return (thread, "") if lease is None else (self._names.lease(lease), lease.owner)

    def put_rows(
        self,
        branch: int,
        head: int,
        rows: Sequence[StoredRow],
        withdrawn: Sequence[StoredRow],
        *,
        lease: Lease | None = None,
    ) -> Operation[None]:
        thread = self._names.thread(tag_in(branch))
        owned, owner = self._owned(thread, lease)
        keys = (thread, self._names.rows(branch), owned)
        token = b"%016x" % drawn_token()
        told = (owner, field_of(branch), head, token, len(rows), len(withdrawn))
        values = (*told, *written_rows(rows), *map(place_of, withdrawn))
        yield written(Step("rows", keys, values, lease=lease))

    def claim(self, lease: Lease, seconds: float, over: str = "") -> Operation[Holder | None]:
        told = (lease.owner, int(seconds * 1000), over)
        found = yield evaluated(CLAIM, [self._names.lease(lease)], *told)
        return Holder(found[0].decode(), found[1] / 1000) if found else None

    def renew(self, lease: Lease, seconds: float) -> Operation[bool]:
        told = (lease.owner, int(seconds * 1000))
        return bool((yield evaluated(RENEW, [self._names.lease(lease)], *told)))

    def release(self, lease: Lease) -> Operation[None]:
        yield evaluated(RELEASE, [self._names.lease(lease)], lease.owner)

    def frames(self, branch: int, after: int, upto: int) -> Operation[list[StoredFrame]]:
        key, found, count = self._names.frames(branch), [], _FIRST_PAGE
        reader = Reader(self._server.address, key)
        while after < upto:
            entries = yield asked("XRANGE", key, after + 1, upto, "COUNT", count)
            page = [reader.frame(*entry) for entry in entries]
            found += page
            if len(page) < count:
                break
            after = page[-1].seq
            fitting = count * _PAGE // (1 + sum(len(frame.body) for frame in page))
            count = max(1, min(fitting, 2 * count))
        return found

    def rows(self, branch: int, head: int) -> Operation[list[StoredRow]]:
        key = self._names.rows(branch)
        view = yield lambda session: session.view
        fields = view.get(branch) if view else None
        if fields is None:
            fields = yield asked("HGETALL", key)
        return Reader(self._server.address, key).rows(fields, head)

    def snapshot(self, branch: int, upto: int) -> Operation[tuple[int, bytes] | None]:
        if upto < 0:
            return None
        key = self._names.snapshot(branch)
        found = yield asked("XREVRANGE", key, upto, "-", "COUNT", 1)
        return Reader(self._server.address, key).snapshot(*found[0]) if found else None

    def put_snapshot(self, branch: int, seq: int, body: bytes) -> Operation[None]:
        keys = (self._names.thread(tag_in(branch)), self._names.snapshot(branch))
        told = (field_of(branch), entry_id(seq, drawn_token()), sealed(body))
        yield written(Step("snapshot", keys, told))

    def threads(self) -> Operation[list[str]]:
        return [name for _, name in (yield from self._numbered())]

    def _numbered(self) -> Operation[list[tuple[int, str]]]:
        pattern = self._names.any_thread()
        found = yield lambda session: session.ask_of_each(pattern, "HGET", "thread")
        return redis_tags.by_birth(found, self._server.address)

    def put_tags(self, thread: str, tags: Sequence[Tag]) -> Operation[None]:
        return redis_tags.put(self._names, thread, tags)

    def tagged(
        self, tags: Sequence[Tag], after: int, limit: int
    ) -> Operation[list[tuple[int, str]]]:
        if tags:
            address = self._server.address
            return (yield from redis_tags.found(self._names, tags, after, limit, address))
        known = yield from self._numbered()
        return [numbered for numbered in known if numbered[0] > after][:limit]

    def scopes(self, thread: str) -> Operation[list[str]]:
        fields = yield asked("HGETALL", self._names.thread(tag_of(thread)))
        return facts.scopes_in(fields)

    def remove_thread(self, thread: str) -> Operation[None]:
        tag = tag_of(thread)
        key = self._names.thread(tag)
        fields = yield asked("HGETALL", key)
        fact, entries = fields.get(b"thread", b""), list[redis_tags.Entry]()
        # Until what was named is removed; one that is made anew meanwhile is another thread.
        while fields and fields.get(b"thread", b"") == fact:
            entries += yield from redis_tags.entries_of(self._names, tag, fields)
            keys = [key, *self._keys_of_branches(fields, tag)]
            yield evaluated(REMOVE, keys, fact, fields.get(b"made", b""))
            fields = yield asked("HGETALL", key)
        yield from redis_tags.drop(entries)

    def _keys_of_branches(self, fields: Fields, tag: int) -> Iterator[bytes]:
        for branch in facts.all_numbers(fields, tag):
            yield from self._keys_of(branch)

    def _keys_of(self, branch: int) -> tuple[bytes, bytes, bytes]:
        names = self._names
        return names.frames(branch), names.rows(branch), names.snapshot(branch)

    def cut(self, branch: int, base: StoredFrame) -> Operation[None]:
        tag = tag_in(branch)
        fields = yield asked("HGETALL", self._names.thread(tag))
        place, record = facts.cut_off(fields, branch)
        frames, _, snapshot = self._keys_of(branch)
        (entry, content) = written_frames([base], drawn_token())
        told = (field_of(branch), place, record, base.seq, entry, content)
        done = yield evaluated(CUT, [self._names.thread(tag), frames, snapshot], *told)
        if done != b"done":
            raise HeadMoved(f"The branch has no frame {base.seq} any more; nothing was removed.")

    def scrub(self) -> Operation[None]:
        """Have the server write its files anew, and wait for it."""
        yield lambda session: session.rewrite_files()

    def remove_scope(self, thread: str, scope: str) -> Operation[None]:
        tag = tag_of(thread)
        key, is_done = self._names.thread(tag), 0
        while not is_done:
            fields = yield asked("HGETALL", key)
            found = facts.branches_in(fields, tag, scope, self._server.address)
            gone = [
                word
                for branch in found
                for word in (
                    facts.branch_field(scope, branch.name),
                    field_of(branch.id),
                    field_of(branch.id) + b"+",
                )
            ]
            keys = [key, *(part for branch in found for part in self._keys_of(branch.id))]
            told = (fields.get(b"made", b""), facts.next_field(scope), *gone)
            is_done = yield evaluated(REMOVE_SCOPE, keys, *told)


def _paired(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
