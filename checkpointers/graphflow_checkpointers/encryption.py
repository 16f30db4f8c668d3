"""Encryption for any checkpointer: nobody without the key reads a state, nor puts one there.

    store = EncryptedCheckpointer(SqliteCheckpointer("agent.db"), Keys({"2026-11": key}))
    app = graph.compile(checkpointer=store)

Its operations are those of the store inside, with encrypted bodies in place of the bodies, so that
the store inside carries them out. To know which line a body belongs to costs no question: the
numbers of branches that `branches` and `create_branch` return remember it (`_Number`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import TypeVar

from graphflow.checkpoint.archive import StoredBranch
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
from graphflow.checkpoint.transfer import read_whole
from graphflow.errors import HeadMoved
from graphflow_checkpointers.encryption_bodies import (
    FRAME,
    ROW,
    SNAPSHOT,
    DecryptionError,
    Line,
    key_id_of,
)
from graphflow_checkpointers.encryption_keys import Keys, new_key

__all__ = ["DecryptionError", "EncryptedCheckpointer", "Keys", "new_key"]

T = TypeVar("T")


class _Number(int):
    """The number of a branch, which knows the line that the branch is."""

    line: Line
    inner: int
    """The number that the store inside gave it."""


class EncryptedCheckpointer(Checkpointer):
    """Keeps threads in another checkpointer, with all bodies encrypted by AES-256-GCM.

    Names of threads, scopes and branches, times, sizes and the order of what happens stay readable.
    Of tags, only which threads have the same one.

    Args:
        inner: The store that keeps what is encrypted. It is closed with this one. The tags that it
            was given are the tags of this one.
        keys: All that can read, and the one that writes.
        allow_plaintext: Read also what was never encrypted, for threads that are older than the
            encryption. Whoever can write to the store can then slip in states of their own.

    Raises:
        TypeError: `inner` is no checkpointer, or `keys` are no `Keys`.
    """

    def __init__(self, inner: Checkpointer, keys: Keys, *, allow_plaintext: bool = False) -> None:
        if not isinstance(inner, Checkpointer) or not isinstance(keys, Keys):
            raise TypeError(
                "EncryptedCheckpointer takes a checkpointer and Keys, not "
                f"{type(inner).__name__} and {type(keys).__name__}."
            )
        self.inner = inner
        self.keys = keys
        self.allow_plaintext = allow_plaintext
        self.tags = inner.tags

    @classmethod
    def from_url(cls, url: str, *, tags: Iterable[str] = ()) -> EncryptedCheckpointer:
        """Return the store at a URL, encrypted with the keys that `Keys.from_env` finds.

        Raises:
            ValueError: No store is known for such a URL, or the environment has no keys.
            ImportError: The store's extra is not installed.
        """
        keys = Keys.from_env()
        return cls(Checkpointer.from_url(url, tags=tags), keys)

    @property
    def is_instant(self) -> bool:  # type: ignore[override]  # as instant as the store inside
        """Whether a commit costs next to nothing."""
        return self.inner.is_instant

    # -- carrying out --------------------------------------------------------------------------

    def run(self, operation: Operation[T]) -> T:
        return self.inner.run(operation)

    async def arun(self, operation: Operation[T]) -> T:
        return await self.inner.arun(operation)

    def close(self) -> None:
        self.inner.close()

    def __enter__(self) -> EncryptedCheckpointer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- operations ----------------------------------------------------------------------------

    def begin(self, *, write: bool = False) -> Operation[None]:
        return self.inner.begin(write=write)

    def end(self) -> Operation[None]:
        return self.inner.end()

    def branches(self, thread: str, scope: str = "") -> Operation[list[Branch]]:
        found = yield from self.inner.branches(thread, scope)
        return [self._numbered(branch, thread, scope) for branch in found]

    def create_branch(
        self, thread: str, scope: str, name: str, parent: int | None, parent_seq: int
    ) -> Operation[Branch]:
        origin = parent.inner if isinstance(parent, _Number) else parent
        made = yield from self.inner.create_branch(thread, scope, name, origin, parent_seq)
        return self._numbered(made, thread, scope)

    def append(
        self,
        branch: int,
        head: int,
        frames: Sequence[StoredFrame],
        *,
        drop_rows: bool,
        lease: Lease | None = None,
    ) -> Operation[None]:
        number = _known(branch)
        encrypted = number.line.encrypted
        stored = [
            StoredFrame(seq, created, encrypted(FRAME, body, seq)) for seq, created, body in frames
        ]
        return self.inner.append(number.inner, head, stored, drop_rows=drop_rows, lease=lease)

    def put_rows(
        self,
        branch: int,
        head: int,
        rows: Sequence[StoredRow],
        withdrawn: Sequence[StoredRow],
        *,
        lease: Lease | None = None,
    ) -> Operation[None]:
        number = _known(branch)
        encrypted = number.line.encrypted
        stored = [row._replace(body=encrypted(ROW, row.body, head, *row[:3])) for row in rows]
        named = [row._replace(body=b"") for row in withdrawn]
        return self.inner.put_rows(number.inner, head, stored, named, lease=lease)

    def claim(self, lease: Lease, seconds: float, over: str = "") -> Operation[Holder | None]:
        return self.inner.claim(lease, seconds, over)

    def renew(self, lease: Lease, seconds: float) -> Operation[bool]:
        return self.inner.renew(lease, seconds)

    def release(self, lease: Lease) -> Operation[None]:
        return self.inner.release(lease)

    def frames(self, branch: int, after: int, upto: int) -> Operation[list[StoredFrame]]:
        number = _known(branch)
        decrypted = number.line.decrypted
        found = yield from self.inner.frames(number.inner, after, upto)
        return [
            StoredFrame(seq, created, decrypted(FRAME, body, seq)) for seq, created, body in found
        ]

    def rows(self, branch: int, head: int) -> Operation[list[StoredRow]]:
        number = _known(branch)
        decrypted = number.line.decrypted
        found = yield from self.inner.rows(number.inner, head)
        return [row._replace(body=decrypted(ROW, row.body, head, *row[:3])) for row in found]

    def snapshot(self, branch: int, upto: int) -> Operation[tuple[int, bytes] | None]:
        number = _known(branch)
        found = yield from self.inner.snapshot(number.inner, upto)
        if found is None:
            return None
        seq, body = found
        return seq, number.line.decrypted(SNAPSHOT, body, seq)

    def put_snapshot(self, branch: int, seq: int, body: bytes) -> Operation[None]:
        number = _known(branch)
        stored = number.line.encrypted(SNAPSHOT, body, seq)
        return self.inner.put_snapshot(number.inner, seq, stored)

    def cut(self, branch: int, base: StoredFrame) -> Operation[None]:
        number = _known(branch)
        body = number.line.encrypted(FRAME, base.body, base.seq)
        return self.inner.cut(number.inner, base._replace(body=body))

    def remove_scope(self, thread: str, scope: str) -> Operation[None]:
        return self.inner.remove_scope(thread, scope)

    def scrub(self) -> Operation[None]:
        return self.inner.scrub()

    def threads(self) -> Operation[list[str]]:
        return self.inner.threads()

    def scopes(self, thread: str) -> Operation[list[str]]:
        return self.inner.scopes(thread)

    def remove_thread(self, thread: str) -> Operation[None]:
        return self.inner.remove_thread(thread)

    def put_tags(self, thread: str, tags: Sequence[Tag]) -> Operation[None]:
        return self.inner.put_tags(thread, self._hidden(tags, self.keys.current))

    def tagged(
        self, tags: Sequence[Tag], after: int, limit: int
    ) -> Operation[list[tuple[int, str]]]:
        found: dict[int, str] = {}
        for ids in product(self.keys.ids, repeat=len(tags)):
            hidden = [self._hidden([tag], key_id)[0] for tag, key_id in zip(tags, ids, strict=True)]
            found |= dict((yield from self.inner.tagged(hidden, after, limit)))
        return sorted(found.items())[:limit]

    def _hidden(self, tags: Sequence[Tag], key_id: str) -> list[Tag]:
        """Return what the store inside has of tags: equal ones under one key stay equal."""
        return [Tag(tag.key, self.keys.digest(key_id, tag.value)) for tag in tags]

    # -- rotation ------------------------------------------------------------------------------

    def keys_in_use(self, thread: str) -> Operation[set[str | None]]:
        """Return the ids of the keys that a thread needs; None among them: some is not encrypted.

        Decrypts nothing. A key that no thread needs may be thrown away.

        Raises:
            UnknownCheckpointError: There is no such thread.
        """
        whole = yield from read_whole(self.inner, thread)
        return {
            None if key_id is None else key_id.decode("utf-8", "replace")
            for branch in whole.branches
            for key_id in map(key_id_of, _bodies(branch))
        }

    def _numbered(self, branch: Branch, thread: str, scope: str) -> Branch:
        number = _Number(branch.id)
        number.inner = branch.id
        place = (thread, scope, branch.ordinal)
        number.line = Line(self.keys, place, allow_plaintext=self.allow_plaintext)
        return branch._replace(id=number)


def _bodies(branch: StoredBranch) -> list[bytes]:
    kept = [frame.body for frame in branch.frames]
    kept += [row.body for row in branch.rows]
    return kept + [body for _, body in branch.snapshots]


def _known(branch: int) -> _Number:
    """Return the number of a branch, if it is one that a wrapped store gave.

    Raises:
        HeadMoved: Any other: a body without its line could never be read again.
    """
    if isinstance(branch, _Number):
        return branch
    raise HeadMoved(
        f"Branch number {branch} does not come from an encrypted store, so that it is not known "
        "which thread it belongs to. Nothing was stored; load the thread again."
    )
