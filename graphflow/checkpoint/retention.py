"""Retention: which checkpoints are kept, and how the others are removed.

    store.run(prune(store, "42", Keep(last=20, interrupts=1)))
    store.run(prune_all(store, Keep(age=30 * DAY), threads_older_than=90 * DAY))

A policy says which checkpoints of each branch are wanted; the oldest of them becomes the branch's
first. It gets a frame that holds its whole state, so everything that is kept reads as before, and
no reader knows the difference. Forks that continue an older checkpoint keep it, and what lies
behind it. Graphs inside keep what belongs to checkpoints that are kept, and, where they keep their
state from run to run, what they go on from.

Every step leaves a thread that is whole: who stops halfway goes on by pruning again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.frames import (
    NO_FRAME,
    delta_of,
    open_frames,
    pack_frame,
    pack_snapshot,
)
from graphflow.checkpoint.history import lineage, load, read_thread
from graphflow.checkpoint.protocol import Branch, Operation, StoredFrame
from graphflow.checkpoint.raw import raw_codec
from graphflow.checkpoint.records import Frame, Row, RowKind, Settled
from graphflow.errors import CorruptCheckpointError
from graphflow.ids import parse_checkpoint_id
from graphflow.state.deltas import SET, Folder

DAY: Final = 86400.0
"""Seconds."""
_ONE_CALL: Final = re.compile(r":[0-9a-f]{32}(\||$)")
"""In the scope of a graph that begins anew with each call: the id of the task that called it."""


class Keep(NamedTuple):
    """Which checkpoints of a branch are wanted; what any part names is. Its head always is."""

    last: int | None = None
    """So many, the newest."""
    age: float | None = None
    """Those that are at most so many seconds old."""
    interrupts: int | None = None
    """So many of those at which a person was asked, the newest."""
    tagged: Mapping[str, Any] | None = None
    """Those whose metadata has these values."""


class Pruned(NamedTuple):
    """What was removed."""

    threads: int = 0
    checkpoints: int = 0
    """Of all graphs."""
    bytes: int = 0
    """Of frames and snapshots, less what replaced them."""

    def plus(self, other: Pruned) -> Pruned:
        """Return both together."""
        return Pruned(*map(sum, zip(self, other, strict=True)))


class _Step(NamedTuple):
    """A checkpoint on the way to a branch's head."""

    branch: int
    """The id of the branch that it lies on."""
    frame: Frame
    metadata: Mapping[str, Any]
    has_asked: bool


def prune_all(
    store: Checkpointer, keep: Keep, now: float, *, threads_older_than: float | None = None
) -> Operation[Pruned]:
    """Prune every thread; remove those in which nothing has happened for so many seconds.

    Args:
        store: Where they are.
        keep: What is kept of the others.
        now: Seconds since the epoch.
        threads_older_than: None: no thread is removed.
    """
    total = Pruned()
    for thread in (yield from store.threads()):
        done = yield from _removed_if_old(store, thread, now, threads_older_than)
        if done is None:
            done = yield from prune(store, thread, keep, now)
        total = total.plus(done)
    return total


def _removed_if_old(
    store: Checkpointer, thread: str, now: float, limit: float | None
) -> Operation[Pruned | None]:
    if limit is None:
        return None
    newest = 0.0
    for branch in (yield from store.branches(thread)):
        for frame in (yield from store.frames(branch.id, branch.head - 1, branch.head)):
            newest = max(newest, frame.created)
    if not newest or now - newest <= limit:
        return None
    yield from store.remove_thread(thread)
    return Pruned(threads=1)


def prune(store: Checkpointer, thread: str, keep: Keep, now: float) -> Operation[Pruned]:
    """Remove the checkpoints of a thread that nobody wants; return what went.

    A run may be going on in it.

    Raises:
        ValueError: `keep` wants nothing at all.
    """
    if keep == Keep():
        raise ValueError("Keep() says nothing to keep: give last, age, interrupts or tagged.")
    total = Pruned()
    left: dict[str, set[tuple[int, int]]] = {}
    codec = raw_codec()
    for scope in (yield from store.scopes(thread)):
        branches, frames, rows = yield from read_thread(store, codec, thread, scope)
        paths = {branch.id: list(_path(branches, branch, frames, rows)) for branch in branches}
        if scope == "":
            first = _first_wanted(keep, now)
        else:
            is_gone = _is_gone(left)
            if _ONE_CALL.search(scope) and all(map(is_gone, _heads(paths))):
                yield from store.remove_scope(thread, scope)
                removed = sum(map(len, frames.values()))
                total = total.plus(Pruned(checkpoints=removed))
                left[scope] = set()
                continue
            first = _first_needed(is_gone)
        cuts = _cuts(branches, paths, first)
        for branch in reversed(branches):  # before those that they continue
            if branch.id in cuts:
                done = yield from _cut(store, codec, thread, scope, branch, cuts[branch.id])
                total = total.plus(done)
        left[scope] = {
            (frame.seq, branch.ordinal)
            for branch in branches
            for frame in frames[branch.id]
            if frame.seq >= cuts.get(branch.id, -1)
        }
    return total


def _path(
    branches: Sequence[Branch],
    branch: Branch,
    frames: Mapping[int, Sequence[Frame]],
    rows: Mapping[int, Sequence[Row]],
) -> Iterator[_Step]:
    """Yield the checkpoints that lead to a branch's head, oldest first."""
    line = [
        (place, frame)
        for place, upto in reversed(lineage(branches, branch, branch.head))
        for frame in frames[place.id]
        if frame.seq <= upto
    ]
    metadata: Mapping[str, Any] = {}
    for index, (place, frame) in enumerate(line):
        metadata = metadata if frame.metadata is None else frame.metadata
        if index + 1 < len(line):
            has_asked = any(task.interrupts for task in line[index + 1][1].settled)
        else:
            has_asked = any(row.kind is RowKind.QUESTION for row in rows[place.id])
        yield _Step(place.id, frame, metadata, has_asked)


First = Callable[[Sequence[_Step]], int]
"""Tells which checkpoint of a path is the first that is kept."""


def _first_wanted(keep: Keep, now: float) -> First:
    def first(path: Sequence[_Step]) -> int:
        wanted = [len(path) - 1]
        if keep.last is not None:
            wanted.append(len(path) - keep.last)
        if keep.interrupts is not None:
            asked = [index for index, step in enumerate(path) if step.has_asked]
            wanted += asked[-keep.interrupts :] if keep.interrupts else []
        for index, step in enumerate(path):
            if keep.age is not None and now - step.frame.created <= keep.age:
                wanted.append(index)
            if keep.tagged and _has(step.metadata, keep.tagged):
                wanted.append(index)
        return max(0, min(wanted))

    return first


def _has(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(metadata.get(key) == value for key, value in wanted.items())


IsGone = Callable[[_Step], bool]
"""Tells whether a checkpoint inside belongs to one around it that is not there any more."""


def _is_gone(left: Mapping[str, set[tuple[int, int]]]) -> IsGone:
    def is_gone(step: _Step) -> bool:
        parents: Mapping[str, str] = step.metadata.get("parents") or {}
        if not parents:
            return False
        outer, identity = list(parents.items())[-1]
        known, at = left.get(outer), parse_checkpoint_id(identity)
        if known is None or at is None or at in known:
            return False
        # What is not there yet is not gone: the run around may be about to store it.
        return any(seq >= at[0] for seq, _ in known) or not known

    return is_gone


def _heads(paths: Mapping[int, Sequence[_Step]]) -> list[_Step]:
    return [path[-1] for path in paths.values() if path]


def _first_needed(is_gone: IsGone) -> First:
    """Keep what belongs to checkpoints around that are kept, and the state they go on from."""

    def first(path: Sequence[_Step]) -> int:
        gone = 0
        for step in path:
            if not is_gone(step):
                break
            gone += 1
        return max(0, gone - 1)

    return first


def _cuts(
    branches: Sequence[Branch], paths: Mapping[int, Sequence[_Step]], first: First
) -> dict[int, int]:
    """Return at which of its own checkpoints each branch is to begin; others stay as they are."""
    wanted: dict[int, int] = {}
    needed: dict[int, int] = {}
    for branch in branches:
        path = paths[branch.id]
        if not path:
            continue
        start = path[first(path)]
        if start.branch == branch.id:
            wanted[branch.id] = start.frame.seq
            continue
        # It goes on depending on others: from `start` on, and all of those between.
        for step in path[first(path) :]:
            if step.branch not in (start.branch, branch.id):
                needed[step.branch] = -1
        needed[start.branch] = min(needed.get(start.branch, start.frame.seq), start.frame.seq)
        needed[branch.id] = -1
    cuts = {}
    for branch in branches:
        own = [step.frame.seq for step in paths[branch.id] if step.branch == branch.id]
        seq = min(wanted.get(branch.id, -1), needed.get(branch.id, wanted.get(branch.id, -1)))
        if seq in own and (seq > own[0] or branch.parent is not None):
            cuts[branch.id] = seq
    return cuts


def _cut(
    store: Checkpointer, codec: Codec, thread: str, scope: str, branch: Branch, seq: int
) -> Operation[Pruned]:
    """Let a branch begin at one of its checkpoints.

    Raises:
        CorruptCheckpointError: What was to be kept would not read as before; nothing was removed.
    """
    there = yield from load(store, codec, thread, scope, at=(seq, branch.ordinal))
    assert there is not None
    old = there.frame
    base = pack_frame(
        codec,
        old._replace(
            delta={key: ((SET, value),) for key, value in there.values.items()},
            settled=tuple(Settled(-1, task.name, ()) for task in old.settled),
            unsettled=(),
            metadata=there.metadata,
            parent=-1,
        ),
    )
    expected = pack_snapshot(codec, there.values, there.metadata)
    if _state_of(codec, base) != expected:
        raise CorruptCheckpointError(
            f"Thread {thread!r}: the state at {seq} of branch {branch.name!r} cannot be kept as it "
            "is; nothing was removed."
        )
    dropped = yield from store.frames(branch.id, -1, seq)
    yield from store.cut(branch.id, base)
    freed = sum(len(frame.body) for frame in dropped) - len(base.body)
    return Pruned(checkpoints=len(dropped) - 1, bytes=freed)


def _state_of(codec: Codec, base: StoredFrame) -> bytes:
    (body,) = open_frames(codec, [base])
    folder = Folder({})
    folder.apply(delta_of(base.seq, body, NO_FRAME))
    return pack_snapshot(codec, folder.values(), body[8] or {})
