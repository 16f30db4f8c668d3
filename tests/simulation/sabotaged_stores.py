"""Stores that break one promise each: schedules must find every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow import HeadMoved, MemoryCheckpointer
from graphflow.checkpoint.memory import _Line
from graphflow.checkpoint.protocol import Holder, Lease, Operation, StoredRow, Tag
from graphflow.checkpoint.records import RowKind


class NoFence(MemoryCheckpointer):
    """Lets everybody commit who once had a lease."""

    def _check_lease(self, lease: Lease | None) -> None:
        pass


class ForgetsReleased(MemoryCheckpointer):
    """Refuses only whom somebody else has followed: not who has given his lease back."""

    def _check_lease(self, lease: Lease | None) -> None:
        if lease is not None and lease[:2] in self._leases:
            super()._check_lease(lease)


class NoCompareAndSet(MemoryCheckpointer):
    """Takes commits on whatever head."""

    def _at(self, branch: int, head: int) -> _Line:
        if branch not in self._lines:
            raise HeadMoved("The thread was deleted.")
        return self._lines[branch]


class KeepsRows(MemoryCheckpointer):
    """Forgets to remove the rows of a superstep that is closed."""

    def append(self, branch: int, *args: Any, **named: Any) -> Operation[None]:
        rows = self._lines[branch].rows if branch in self._lines else {}
        yield from super().append(branch, *args, **named)
        self._lines[branch].rows = rows


class ReleasesAnybody(MemoryCheckpointer):
    """Gives back a lease whoever has it."""

    def release(self, lease: Lease) -> Operation[None]:
        self._leases.pop(lease[:2], None)
        return
        yield


class GrantsAll(MemoryCheckpointer):
    """Gives a lease to whoever wants it."""

    def claim(self, lease: Lease, seconds: float, over: str = "") -> Operation[Holder | None]:
        self._leases[lease[:2]] = (lease.owner, self.clock() + seconds)
        return
        yield


class GrantsToTwo(MemoryCheckpointer):
    """Takes every holder for a dead one in the last third of his time."""

    def claim(self, lease: Lease, seconds: float, over: str = "") -> Operation[Holder | None]:
        holder = yield from super().claim(lease, seconds, over)
        if holder is not None and holder.seconds_left < seconds / 3:
            holder = yield from super().claim(lease, seconds, holder.owner)
        return holder


class NeverEnds(MemoryCheckpointer):
    """Keeps a lease for ever."""

    def claim(self, lease: Lease, seconds: float, over: str = "") -> Operation[Holder | None]:
        return super().claim(lease, 1e9, over)


class RenewsAnybody(MemoryCheckpointer):
    """Makes a lease last that somebody else has by now."""

    def renew(self, lease: Lease, seconds: float) -> Operation[bool]:
        self._leases[lease[:2]] = (lease.owner, self.clock() + seconds)
        return True
        yield


class RenewsNobody(MemoryCheckpointer):
    """Says that a lease was renewed, and leaves it as it was."""

    def renew(self, lease: Lease, seconds: float) -> Operation[bool]:
        return self._leases.get(lease[:2], ("",))[0] == lease.owner
        yield


class AnswersTwice(MemoryCheckpointer):
    """Takes the second answer to a question for the better one."""

    def put_rows(
        self,
        branch: int,
        head: int,
        rows: Sequence[StoredRow],
        withdrawn: Sequence[StoredRow],
        *,
        lease: Lease | None = None,
    ) -> Operation[None]:
        answers = [row for row in rows if row.kind == RowKind.ANSWER]
        yield from super().put_rows(branch, head, [], answers, lease=lease)
        yield from super().put_rows(branch, head, rows, withdrawn, lease=lease)


class LosesRows(MemoryCheckpointer):
    """Acknowledges results of tasks that it does not keep."""

    def put_rows(
        self,
        branch: int,
        head: int,
        rows: Sequence[StoredRow],
        withdrawn: Sequence[StoredRow],
        *,
        lease: Lease | None = None,
    ) -> Operation[None]:
        kept = [row for row in rows if row.place == 0]
        return super().put_rows(branch, head, kept, withdrawn, lease=lease)


class LosesTheNewest(MemoryCheckpointer):
    """Loses a frame when a lease is taken over: it was not on the disk yet."""

    def claim(self, lease: Lease, seconds: float, over: str = "") -> Operation[Holder | None]:
        holder = yield from super().claim(lease, seconds, over)
        if holder is None and over:
            for line in self._lines.values():
                del line.frames[max(1, len(line.frames) - 1) :]
        return holder


class TakesNothingBack(MemoryCheckpointer):
    """Leaves half of what was refused."""

    def _take_back(self) -> None:
        pass

    def create_branch(self, thread: str, scope: str, name: str, *rest: Any) -> Operation[Any]:
        lines = [self._lines[number] for number in self._threads.get(thread, {}).get(scope, [])]
        if any(line.branch.name == name for line in lines):
            name = f"{name}-{len(lines)}"  # so as not to fail
        return (yield from super().create_branch(thread, scope, name, *rest))


class LosesTags(MemoryCheckpointer):
    """Gives no tags to a thread that is made in the same transaction."""

    def put_tags(self, thread: str, tags: Sequence[Tag]) -> Operation[None]:
        is_new = all(not line.frames for line in self._lines.values())
        return super().put_tags(thread, () if is_new else tags)


SABOTAGED = (
    NoFence, ForgetsReleased, NoCompareAndSet, KeepsRows, ReleasesAnybody, GrantsAll, GrantsToTwo,
    NeverEnds, RenewsAnybody, RenewsNobody, AnswersTwice, LosesRows, LosesTheNewest,
    TakesNothingBack, LosesTags,
)  # fmt: skip
