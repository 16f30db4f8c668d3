"""The checkpointer in memory: dicts of encoded frames, gone with the process.

Frames are kept as bytes so that what could not be stored elsewhere cannot be stored here either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count, islice
from threading import RLock
from time import monotonic
from typing import ClassVar, Final, TypeVar

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
from graphflow.errors import AlreadyAnswered, Fenced, HeadMoved

T = TypeVar("T")


NOBODY: Final = ("", 0.0)
"""The owner of a branch on which nobody runs, and until when."""


class _Line:
    """A branch with its frames and the rows of its open superstep."""

    __slots__ = ("branch", "frames", "rows", "snapshots")

    def __init__(self, branch: Branch) -> None:
        self.branch = branch
        self.frames: list[StoredFrame] = []
        self.rows: dict[tuple[int, int, int], StoredRow] = {}
        self.snapshots: dict[int, bytes] = {}

    @property
    def head(self) -> int:
        return self.frames[-1].seq if self.frames else self.branch.parent_seq

    def go_back(self, count: int, rows: dict[tuple[int, int, int], StoredRow]) -> None:
        """Keep only the first `count` frames, with `rows` at their end."""
        del self.frames[count:]
        self.rows = rows

    def restore(self, places: Mapping[tuple[int, int, int], StoredRow | None]) -> None:
        """Put back what was in these places; None: nothing."""
        for place, row in places.items():
            if row is None:
                self.rows.pop(place, None)
            else:
                self.rows[place] = row


class MemoryCheckpointer(Checkpointer):
    """Keeps threads in this process; for tests, notebooks and runs that need not survive.

    Args:
        tags: Keys of a run's metadata by which threads can be found.
    """

    is_instant: ClassVar[bool] = True
    clock: Callable[[], float] = staticmethod(monotonic)
    """Tells when leases end; the simulation has one of its own."""

    def __init__(self, *, tags: Iterable[str] = ()) -> None:
        self.tags = checked_tags(tags)
        self._lock = RLock()
        self._ids = count(1)
        self._threads: dict[str, dict[str, list[int]]] = {}
        self._numbers: dict[str, int] = {}
        """By thread, in the order of their creation."""
        self._tags: dict[str, dict[bytes, bytes]] = {}
        """By thread, of each key the value."""
        self._lines: dict[int, _Line] = {}
        self._leases: dict[tuple[str, str], tuple[str, float]] = {}
        """By thread and branch: the owner, and until when, on `clock`."""
        self._undo: list[Callable[[], object]] = []
        """What takes back the open transaction, oldest first."""

    def run(self, operation: Operation[T]) -> T:
        with self._lock:
            try:
                while True:
                    next(operation)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]  # what the operation returned
            except BaseException:
                self._take_back()
                raise
            finally:
                self._undo = []

    def _take_back(self) -> None:
        for step in reversed(self._undo):
            step()

    async def arun(self, operation: Operation[T]) -> T:
        return self.run(operation)

    def branches(self, thread: str, scope: str = "") -> Operation[list[Branch]]:
        ids = self._threads.get(thread, {}).get(scope, ())
        lines = [self._lines[number] for number in ids]
        return [line.branch._replace(head=line.head) for line in lines]
        yield

    def create_branch(
        self, thread: str, scope: str, name: str, parent: int | None, parent_seq: int
    ) -> Operation[Branch]:
        if parent is not None and parent not in self._lines:
            raise HeadMoved(f"Thread {thread!r} was deleted meanwhile; nothing was stored.")
        self._numbers.setdefault(thread, next(self._ids))
        ids = self._threads.setdefault(thread, {}).setdefault(scope, [])
        if any(self._lines[number].branch.name == name for number in ids):
            raise HeadMoved(f"Thread {thread!r} has a branch {name!r} already; it was not changed.")
        branch = Branch(next(self._ids), len(ids), name, parent, parent_seq, parent_seq)
        self._lines[branch.id] = _Line(branch)
        ids.append(branch.id)
        self._undo.append(lambda: self._unmake(thread, scope, branch.id))
        return branch
        yield

    def _unmake(self, thread: str, scope: str, branch: int) -> None:
        scopes = self._threads[thread]
        scopes[scope].remove(branch)
        del self._lines[branch]
        if not any(scopes.values()):
            del self._threads[thread], self._numbers[thread]

    def _at(self, branch: int, head: int) -> _Line:
        line = self._lines.get(branch)
        if line is None:
            raise HeadMoved("The thread was deleted while a run was going on; nothing was stored.")
        if line.head != head:
            raise HeadMoved(
                f"Branch {line.branch.name!r} is at {line.head}, not at {head}: another run or "
                "edit committed first. Nothing was stored; load the thread again."
            )
        return line

    def append(
        self,
        branch: int,
        head: int,
        frames: Sequence[StoredFrame],
        *,
        drop_rows: bool,
        lease: Lease | None = None,
    ) -> Operation[None]:
        self._check_lease(lease)
        line = self._at(branch, head)
        count, rows = len(line.frames), line.rows
        self._undo.append(lambda: line.go_back(count, rows))
        line.frames.extend(frames)
        line.rows = {}
        return
        yield

    def put_rows(
        self,
        branch: int,
        head: int,
        rows: Sequence[StoredRow],
        withdrawn: Sequence[StoredRow],
        *,
        lease: Lease | None = None,
    ) -> Operation[None]:
        self._check_lease(lease)
        line = self._at(branch, head)
        for row in rows:
            if row.kind == RowKind.ANSWER and row[:3] in line.rows:
                raise AlreadyAnswered(f"Question {row.number + 1} of this task has its answer.")
        places = {row[:3]: line.rows.get(row[:3]) for row in (*rows, *withdrawn)}
        self._undo.append(lambda: line.restore(places))
        for row in rows:
            line.rows.setdefault(row[:3], row)
        for row in withdrawn:
            line.rows.pop(row[:3], None)
        return
        yield

    def _check_lease(self, lease: Lease | None) -> None:
        if lease is not None and self._leases.get(lease[:2], NOBODY)[0] != lease.owner:
            raise Fenced(lease.thread, lease.branch)

    def claim(self, lease: Lease, seconds: float, over: str = "") -> Operation[Holder | None]:
        now, (owner, until) = self.clock(), self._leases.get(lease[:2], NOBODY)
        if until > now and owner not in (lease.owner, over):
            return Holder(owner, until - now)
        self._leases[lease[:2]] = (lease.owner, now + seconds)
        return None
        yield

    def renew(self, lease: Lease, seconds: float) -> Operation[bool]:
        is_held = self._leases.get(lease[:2], NOBODY)[0] == lease.owner
        if is_held:
            self._leases[lease[:2]] = (lease.owner, self.clock() + seconds)
        return is_held
        yield

    def release(self, lease: Lease) -> Operation[None]:
        if self._leases.get(lease[:2], NOBODY)[0] == lease.owner:
            del self._leases[lease[:2]]
        return
        yield

    def frames(self, branch: int, after: int, upto: int) -> Operation[list[StoredFrame]]:
        return [frame for frame in self._lines[branch].frames if after < frame.seq <= upto]
        yield

    def rows(self, branch: int, head: int) -> Operation[list[StoredRow]]:
        line = self._lines[branch]
        return list(line.rows.values()) if line.head == head else []
        yield

    def snapshot(self, branch: int, upto: int) -> Operation[tuple[int, bytes] | None]:
        found = [item for item in self._lines[branch].snapshots.items() if item[0] <= upto]
        return max(found, default=None)
        yield

    def put_snapshot(self, branch: int, seq: int, body: bytes) -> Operation[None]:
        self._lines[branch].snapshots = {seq: body}
        return
        yield

    def cut(self, branch: int, base: StoredFrame) -> Operation[None]:
        line = self._lines.get(branch)
        if line is None or all(frame.seq != base.seq for frame in line.frames):
            raise HeadMoved(f"The branch has no frame {base.seq} any more; nothing was removed.")
        line.frames = [base, *(frame for frame in line.frames if frame.seq > base.seq)]
        line.snapshots = {seq: body for seq, body in line.snapshots.items() if seq > base.seq}
        line.branch = line.branch._replace(parent=None, parent_seq=-1)
        return
        yield

    def remove_scope(self, thread: str, scope: str) -> Operation[None]:
        scopes = self._threads.get(thread, {})
        for number in scopes.pop(scope, ()):
            del self._lines[number]
        return
        yield

    def threads(self) -> Operation[list[str]]:
        return list(self._threads)
        yield

    def scopes(self, thread: str) -> Operation[list[str]]:
        return sorted(scope for scope, ids in self._threads.get(thread, {}).items() if ids)
        yield

    def put_tags(self, thread: str, tags: Sequence[Tag]) -> Operation[None]:
        if thread in self._threads:
            before = self._tags.get(thread, {})
            self._undo.append(lambda: self._tags.update({thread: before}))
            self._tags[thread] = {**before, **dict(tags)}
        return
        yield

    def tagged(
        self, tags: Sequence[Tag], after: int, limit: int
    ) -> Operation[list[tuple[int, str]]]:
        found = (
            (number, thread)
            for thread, number in self._numbers.items()
            if number > after and {*tags} <= {*self._tags.get(thread, {}).items()}
        )
        return list(islice(found, limit))
        yield

    def remove_thread(self, thread: str) -> Operation[None]:
        self._numbers.pop(thread, None)
        self._tags.pop(thread, None)
        for ids in self._threads.pop(thread, {}).values():
            for number in ids:
                del self._lines[number]
        return
        yield


InMemorySaver = MemorySaver = MemoryCheckpointer
"""The names that LangGraph users know."""
