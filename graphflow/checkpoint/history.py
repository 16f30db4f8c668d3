"""Reading a thread: from frames back to states. No user code runs here.

These operations are composed from the verbs of a `Checkpointer` and so work on every store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.frames import (
    NO_FRAME,
    Body,
    fold_frame,
    open_frames,
    pack_snapshot,
    unpack_frame,
    unpack_frames,
    unpack_row,
    unpack_snapshot,
)
from graphflow.checkpoint.heads import Head, head_after
from graphflow.checkpoint.protocol import Branch, Operation, StoredFrame
from graphflow.checkpoint.records import NOTHING, Frame, Row
from graphflow.errors import CorruptCheckpointError, UnknownCheckpointError
from graphflow.state.deltas import Folder

ROW_COST = 256
"""Bytes that reading one more row is taken to be worth."""
GARBAGE_RATIO = 3
"""A snapshot is written when the chain to replay exceeds (1 + this) times the live state."""
FLOOR = 32 * 1024
"""Bytes; shorter chains never get a snapshot."""


class Checkpoint(NamedTuple):
    """A place in a thread with everything that is known there."""

    branch: Branch
    frame: Frame
    values: dict[str, Any]
    metadata: dict[str, Any]
    """What the run's config had added."""
    rows: tuple[Row, ...]
    parent_branch: Branch
    """Where the frame before lies."""
    chain_cost: int
    """Bytes replayed to get here."""
    newest_seq: int
    """The newest frame of all branches of the thread."""
    upgraded: Mapping[str, Any] = NOTHING
    """Values that are not what is stored, because the program has changed: to be stored next."""


def load(
    store: Checkpointer,
    codec: Codec,
    thread: str,
    scope: str = "",
    *,
    at: tuple[int, int] | None = None,
    branch: str | None = None,
) -> Operation[Checkpoint | None]:
    """Return a checkpoint of a thread; None when the thread has none.

    Args:
        store: Where to read.
        codec: How values were encoded.
        thread: Its id.
        scope: Which graph of the thread.
        at: `(seq, ordinal)` of a checkpoint; None: a head.
        branch: Name of the branch whose head is meant; None: the branch that grew last.

    Raises:
        UnknownCheckpointError: The thread has no such checkpoint or branch.
    """
    yield from store.begin()
    aim = yield from _aim(store, thread, scope, at, branch)
    checkpoint = None
    if aim is not None:
        checkpoint = yield from read_at(store, codec, *aim)
    yield from store.end()
    return checkpoint


def load_frame(
    store: Checkpointer,
    codec: Codec,
    thread: str,
    scope: str = "",
    *,
    at: tuple[int, int] | None = None,
    branch: str | None = None,
) -> Operation[Checkpoint | None]:
    """As `load`, without the state: reads one frame, however long the thread is."""
    yield from store.begin()
    aim = yield from _aim(store, thread, scope, at, branch)
    stored: list[StoredFrame] = []
    if aim is not None:
        branches, found, seq = aim
        stored = yield from frame_at(store, branches, found, seq)
    yield from store.end()
    if aim is None:
        return None
    if not stored:
        raise UnknownCheckpointError(f"Branch {found.name!r} has no checkpoint {seq}.")
    frame = unpack_frame(stored[0], open_frames(codec, stored)[0], None)
    newest = max(known.head for known in branches)
    return Checkpoint(found, frame, {}, {}, (), parent_of(branches, found, frame), 0, newest)


def frame_at(
    store: Checkpointer, branches: Sequence[Branch], branch: Branch, seq: int
) -> Operation[list[StoredFrame]]:
    """Return the one frame of a number on the way to a branch's head, or none."""
    for place, _ in lineage(branches, branch, seq):
        if place.parent is None or seq > place.parent_seq:
            return (yield from store.frames(place.id, seq - 1, seq))
    return []


def _aim(
    store: Checkpointer,
    thread: str,
    scope: str,
    at: tuple[int, int] | None,
    name: str | None,
) -> Operation[tuple[list[Branch], Branch, int] | None]:
    """Return the branches, the one that is meant, and the number; None: there is nothing yet."""
    branches = yield from store.branches(thread, scope)
    found = pick(thread, branches, at, name)
    if found is None or (found.head < 0 and at is None):
        return None
    return branches, found, found.head if at is None else at[0]


def pick(
    thread: str, branches: Sequence[Branch], at: tuple[int, int] | None, name: str | None
) -> Branch | None:
    """Return the branch that is meant; see `load`."""
    if at is None and name is None:
        return max(branches, key=lambda b: (b.head, b.ordinal), default=None)
    for branch in branches:
        if (branch.ordinal == at[1]) if at is not None else (branch.name == name):
            return branch
    wanted = f"branch {name!r}" if at is None else f"checkpoint {at[0]} of branch number {at[1]}"
    known = ", ".join(branch.name for branch in branches) or "none"
    raise UnknownCheckpointError(f"Thread {thread!r} has no {wanted}. Its branches: {known}.")


def lineage(branches: Sequence[Branch], branch: Branch, seq: int) -> list[tuple[Branch, int]]:
    """Return `(branch, last seq taken from it)` from `branch` back to the first."""
    by_id = {known.id: known for known in branches}
    line = [(branch, seq)]
    while branch.parent is not None:
        seq = min(seq, branch.parent_seq)
        before = by_id.get(branch.parent)
        if before is None:
            raise CorruptCheckpointError(
                f"Branch {branch.name!r} continues one that is gone. Remove the thread, or restore "
                "the store from a backup."
            )
        branch = before
        line.append((branch, seq))
    return line


def parent_of(branches: Sequence[Branch], branch: Branch, frame: Frame) -> Branch:
    """Return the branch on which the frame before `frame` lies."""
    if branch.parent is None or frame.parent > branch.parent_seq:
        return branch
    by_id = {known.id: known for known in branches}
    while branch.parent is not None and frame.parent <= branch.parent_seq:
        branch = by_id[branch.parent]
    return branch


def read_at(
    store: Checkpointer, codec: Codec, branches: Sequence[Branch], branch: Branch, seq: int
) -> Operation[Checkpoint]:
    """Return a checkpoint of a branch; as `load`, inside a transaction of the caller.

    Raises:
        UnknownCheckpointError: There is none of this number on the way to the branch's head.
    """
    base, stored = yield from _chain(store, codec, branches, branch, seq)
    folder, metadata = Folder(base.values), base.metadata
    before, body = NO_FRAME, NO_FRAME
    is_known, expected = base.is_some, -1
    for link, following in zip(stored, _opened_by_and_by(codec, stored), strict=True):
        before, body = body, following
        if link.seq - 1 - (body[9] or 0) != expected and not is_known:
            raise CorruptCheckpointError(
                f"Branch {branch.name!r}: the frame before {link.seq} is missing. Restore the "
                "store from a backup; what lies before can still be read."
            )
        expected = link.seq
        if not is_known:  # the first one is in the snapshot, if there is one
            fold_frame(folder, link.seq, body, before)
        is_known = False
        if body[8] is not None:
            metadata = body[8]
    if not stored or stored[-1].seq != seq:
        raise UnknownCheckpointError(f"Branch {branch.name!r} has no checkpoint {seq}.")
    cost = base.cost + sum(len(link.body) + ROW_COST for link in stored)
    values = folder.values()
    size = max(base.size, cost)
    is_kept = seq == branch.head and store.heads.wants(branch.id, size, codec)
    if is_kept or base.head is not None:
        head = head_after(base.head, folder, stored[-1], metadata, cost, size, codec)
        values, metadata = head.copied()
        before, body = _opened_anew(codec, stored)
        if is_kept:
            store.heads.keep(branch.id, head, codec)
    if base.is_some and len(stored) == 1 and (parent := seq - 1 - (body[9] or 0)) >= 0:
        older = yield from frame_at(store, branches, branch, parent)
        before = (NO_FRAME, *open_frames(codec, older))[-1]
    frame = unpack_frame(stored[-1], body, before)
    rows = yield from store.rows(branch.id, seq)
    return Checkpoint(
        branch,
        frame,
        values,
        dict(metadata),
        tuple(unpack_row(codec, row) for row in rows),
        parent_of(branches, branch, frame),
        cost,
        max(known.head for known in branches),
    )


def _opened_by_and_by(codec: Codec, stored: Sequence[StoredFrame]) -> Iterator[Body]:
    """Decode a chain; what was folded is gone before the next part comes, so nobody collects it."""
    for start in range(0, len(stored), _AT_ONCE):
        yield from open_frames(codec, stored[start : start + _AT_ONCE])


_AT_ONCE = 64


def _opened_anew(codec: Codec, stored: Sequence[StoredFrame]) -> tuple[Body, Body]:
    """Return the last two frames of a chain, sharing nothing with what was folded from it."""
    before, body = (NO_FRAME, *open_frames(codec, stored[-2:]))[-2:]
    return before, body


class _Base(NamedTuple):
    """The state that a chain begins with: its first frame led to it."""

    values: Mapping[str, Any] = NOTHING
    metadata: Mapping[str, Any] = NOTHING
    is_some: bool = False
    head: Head | None = None
    """What was kept of it; None: it was read from the store."""
    cost: int = 0
    """Of the frames before the chain that are read without `head`."""
    size: int = 0
    """Bytes that were read for it."""


def _chain(
    store: Checkpointer, codec: Codec, branches: Sequence[Branch], branch: Branch, seq: int
) -> Operation[tuple[_Base, list[StoredFrame]]]:
    """Return the newest known state on the way to `seq` and the frames from there on."""
    chain: list[StoredFrame] = []
    for place, upto in lineage(branches, branch, seq):
        head = store.heads.find(place.id, upto, codec)
        if head is not None:
            frames = yield from store.frames(place.id, head.frame.seq - 1, upto)
            if frames[:1] == [head.frame]:
                cost = head.cost - len(head.frame.body) - ROW_COST
                base = _Base(head.values, head.metadata, True, head, cost, head.size)
                return base, [*frames, *chain]
        found = yield from store.snapshot(place.id, upto)
        after = -1 if found is None else found[0] - 1
        chain = [*(yield from store.frames(place.id, after, upto)), *chain]
        if found is not None:
            return _Base(*unpack_snapshot(codec, found[1]), True, size=len(found[1])), chain
    return _Base(), chain


def compact(
    store: Checkpointer, codec: Codec, thread: str, scope: str, ordinal: int, seq: int
) -> Operation[int]:
    """Keep a snapshot at `seq` if the chain to it is worth one; return the live size in bytes.

    A snapshot is derived from the frames, never from the state of a running graph, so that
    reading gives the same with and without it.
    """
    checkpoint = yield from load(store, codec, thread, scope, at=(seq, ordinal))
    assert checkpoint is not None
    body = pack_snapshot(codec, checkpoint.values, checkpoint.metadata)
    if checkpoint.chain_cost > chain_limit(len(body)):
        yield from store.put_snapshot(checkpoint.branch.id, seq, body)
        store.heads.forget(checkpoint.branch.id, codec)
    return len(body)


def chain_limit(live: int) -> int:
    """Return how many bytes of chain are tolerated over a live state of `live` bytes."""
    return (1 + GARBAGE_RATIO) * live + FLOOR


def read_thread(
    store: Checkpointer, codec: Codec, thread: str, scope: str = ""
) -> Operation[tuple[list[Branch], dict[int, list[Frame]], dict[int, tuple[Row, ...]]]]:
    """Return all of a thread: branches, frames by branch id, rows at the heads by branch id."""
    yield from store.begin()
    branches = yield from store.branches(thread, scope)
    frames: dict[int, list[Frame]] = {}
    bodies: dict[int, list[tuple[int, Body]]] = {}
    rows: dict[int, tuple[Row, ...]] = {}
    for branch in branches:
        line = yield from store.frames(branch.id, -1, branch.head)
        opened = open_frames(codec, line)
        before = _body_at_fork(branches, branch, bodies)
        frames[branch.id] = unpack_frames(line, opened, before)
        if any(other.parent == branch.id for other in branches):
            bodies[branch.id] = [(s.seq, body) for s, body in zip(line, opened, strict=True)]
        found = yield from store.rows(branch.id, branch.head)
        rows[branch.id] = tuple(unpack_row(codec, row) for row in found)
    yield from store.end()
    return branches, frames, rows


def _body_at_fork(
    branches: Sequence[Branch], branch: Branch, bodies: dict[int, list[tuple[int, Body]]]
) -> Body:
    for place, upto in lineage(branches, branch, branch.parent_seq)[1:]:
        older = [body for seq, body in bodies[place.id] if seq <= upto]
        if older:
            return older[-1]
    return NO_FRAME


def place_of_step(
    branches: Sequence[Branch], frames: dict[int, list[Frame]], name: str | None, step: int
) -> tuple[int, int]:
    """Return `(seq, ordinal)` of the newest checkpoint of a step on the way to a branch's head.

    Args:
        branches: Those of the thread.
        frames: By branch id.
        name: The branch; None: the one that grew last.
        step: As in the checkpoint's metadata.

    Raises:
        UnknownCheckpointError: There is none.
    """
    known = [branch for branch in branches if name in (None, branch.name)]
    head = max(known, key=lambda branch: (branch.head, branch.ordinal), default=None)
    for place, upto in lineage(branches, head, head.head) if head else ():
        for frame in reversed(frames[place.id]):
            if frame.seq <= upto and frame.step == step:
                return frame.seq, place.ordinal
    raise UnknownCheckpointError(f"The thread has no checkpoint of step {step}.")


def path_to(
    branches: Sequence[Branch],
    frames: dict[int, list[Frame]],
    rows: dict[int, tuple[Row, ...]],
    at: tuple[int, int] | None,
) -> tuple[list[Frame], tuple[Row, ...]]:
    """Return the frames that lead to a checkpoint (None: the newest head), and its open rows."""
    if at is None:
        branch = max(branches, key=lambda b: (b.head, b.ordinal), default=None)
    else:
        branch = next((known for known in branches if known.ordinal == at[1]), None)
    if branch is None:
        return [], ()
    seq = branch.head if at is None else at[0]
    line = reversed(lineage(branches, branch, seq))
    path = [frame for place, upto in line for frame in frames[place.id] if frame.seq <= upto]
    return path, rows[branch.id] if seq == branch.head else ()
