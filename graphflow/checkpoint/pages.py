"""Pages of a thread's history: the newest checkpoints, or those before one, without the rest.

A page of a branch is its last frames up to a number, with the state before the first of them. What
is read does not grow with the thread: a few more frames in front tell what the page itself does
not, which metadata held and what a key was before it was set; and the head's state, which the store
object may have kept, tells what only grew since. Where that is not enough, the chain is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.frames import (
    NO_FRAME,
    Body,
    delta_of,
    fold_frame,
    open_frames,
    unpack_frame,
    unpack_frames,
    unpack_row,
)
from graphflow.checkpoint.history import frame_at, lineage, read_at
from graphflow.checkpoint.protocol import Branch, Operation
from graphflow.checkpoint.records import METADATA_EVERY, NOTHING, Frame, Row
from graphflow.state.deltas import APPEND, CLEAR, SET, Folder

NEAR = 256
"""Frames; a page that is no further from its branch's head is read with all that follows it."""
Bound = tuple[int, int]
"""`(seq, ordinal)`; checkpoints are ordered by it."""


class Page(NamedTuple):
    """Consecutive frames of one branch."""

    branch: Branch
    frames: Sequence[Frame]
    """Oldest first; at least one."""
    base: Mapping[str, Any]
    """The state before the first of them."""
    told: Mapping[str, Any]
    """The metadata that held before the first of them."""
    rows: tuple[Row, ...]
    """Those of the superstep that is open at the last of them."""
    after: Frame | None
    """What followed the last of them; None: it is the head."""


def read_pages(
    store: Checkpointer,
    codec: Codec,
    thread: str,
    scope: str = "",
    *,
    count: int | None = None,
    before: Bound | None = None,
    at: Bound | None = None,
    states: bool = True,
) -> Operation[tuple[list[Branch], list[Page]]]:
    """Return a thread's branches, and of each the page that is asked for, if there is any.

    Args:
        store: Where to read.
        codec: How values were encoded.
        thread: Its id.
        scope: Which graph of the thread.
        count: How many checkpoints are wanted, the newest; None: all.
        before: Only those that are older than this.
        at: Only this one.
        states: Whether the states are wanted; else bases are empty.
    """
    yield from store.begin()
    branches = yield from store.branches(thread, scope)
    pages: dict[int, Page] = {}
    for branch in branches:
        last = _last(branch, before, at)
        if last > branch.parent_seq:
            wanted = count if at is None else 1
            reader = _Reader(store, codec, branches, branch, pages, states)
            page = yield from reader.page(last, wanted)
            if page is not None and (at is None or page.frames[-1].seq == at[0]):
                pages[branch.id] = page
    yield from store.end()
    return branches, list(pages.values())


def _last(branch: Branch, before: Bound | None, at: Bound | None) -> int:
    """Return the number of the newest frame of a branch that may be wanted; -1: none."""
    if at is not None:
        is_it = at[1] == branch.ordinal and (before is None or at < before)
        return min(at[0], branch.head) if is_it else -1
    if before is not None:
        return min(before[0] - (branch.ordinal >= before[1]), branch.head)
    return branch.head


class _Tail(NamedTuple):
    """The last frames of a branch up to a number, and what was read with them."""

    frames: Sequence[Frame]
    newer: Sequence[Frame]
    """Those that follow, up to the head if there are any."""
    in_front: Sequence[tuple[int, Body, Body]]
    """Those before: number, what is in it, what stands before it."""
    is_whole: bool
    """Whether these are all from the branch's beginning on."""
    told: Mapping[str, Any] | None
    """The metadata that held before the first of them; None: nothing in front tells it."""


class _Reader:
    """Reads the page of one branch; `pages` are those that were read before it."""

    def __init__(
        self,
        store: Checkpointer,
        codec: Codec,
        branches: Sequence[Branch],
        branch: Branch,
        pages: Mapping[int, Page],
        states: bool,
    ) -> None:
        self.store = store
        self.codec = codec
        self.branches = branches
        self.branch = branch
        self.pages = pages
        self.states = states

    def page(self, last: int, count: int | None) -> Operation[Page | None]:
        """Return the last `count` frames up to `last`."""
        branch = self.branch
        tail = yield from self._tail(branch, last, count)
        frames = tail.frames
        if not frames:
            return None
        base, told = NOTHING, tail.told
        if count is None and branch.parent is not None:
            base, told = self._at_fork()
        elif self.states:
            base = yield from self._base(tail)
        if told is None:
            told = yield from self._told_before(branch)
        rows = tuple[Row, ...]()
        after = tail.newer[0] if tail.newer else None
        if frames[-1].seq == branch.head:
            found = yield from self.store.rows(branch.id, branch.head)
            rows = tuple(unpack_row(self.codec, row) for row in found)
        elif after is None:
            after = yield from self._following(frames[-1])
        return Page(branch, frames, base, told, rows, after)

    def _tail(self, branch: Branch, last: int, count: int | None) -> Operation[_Tail]:
        """Read the last `count` frames up to `last`, and so many in front that metadata is told."""
        begin = branch.parent_seq
        end = branch.head if branch.head - last <= NEAR else last
        span = last - begin if count is None else count + METADATA_EVERY
        while True:
            after = max(last - span, begin)
            stored = yield from self.store.frames(branch.id, after, end)
            bodies = open_frames(self.codec, stored)
            stop = sum(frame.seq <= last for frame in stored)
            start = 0 if count is None else max(stop - count, 0)
            told = [body[8] for body in bodies[:start] if body[8] is not None]
            if told or after == begin:
                break
            span *= 2
        befores: list[Body] = [NO_FRAME, *bodies]
        if after == begin and branch.parent is not None:
            older = yield from frame_at(self.store, self.branches, branch, begin)
            befores[:1] = open_frames(self.codec, older)
        known = range(0 if after == begin else 1, start)
        in_front = [(stored[n].seq, bodies[n], befores[n]) for n in known]
        frames = unpack_frames(stored[start:], bodies[start:], befores[start])
        wanted = stop - start
        return _Tail(
            frames[:wanted], frames[wanted:], in_front, after == begin, told[-1] if told else None
        )

    def _told_before(self, branch: Branch) -> Operation[Mapping[str, Any]]:
        """Return the metadata that held where a branch begins."""
        line = lineage(self.branches, branch, branch.parent_seq)
        for place, upto in line[1:]:
            tail = yield from self._tail(place, upto, 0)
            if tail.told is not None:
                return tail.told
        return NOTHING

    def _at_fork(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return state and metadata where the branch begins, from pages that have all frames."""
        for place, upto in lineage(self.branches, self.branch, self.branch.parent_seq)[1:]:
            page = self.pages.get(place.id)
            if page is not None and page.frames[0].seq <= upto:
                folder, told = Folder(page.base), page.told
                for frame in page.frames:
                    if frame.seq <= upto:
                        folder.apply(frame.delta)
                        told = told if frame.metadata is None else frame.metadata
                return folder.values(), told
        return NOTHING, NOTHING

    def _base(self, tail: _Tail) -> Operation[Mapping[str, Any]]:
        """Return the state before the first of the tail's frames."""
        branch = self.branch
        line = [*tail.frames, *tail.newer]
        if tail.is_whole and branch.parent is None:
            folder = Folder(NOTHING)
            for seq, body, before in tail.in_front:
                fold_frame(folder, seq, body, before)
            return folder.values()
        changes = _Changes(tail.in_front, line)
        if line[-1].seq == branch.head and changes.are_known:
            head = yield from read_at(self.store, self.codec, self.branches, branch, branch.head)
            base = changes.undone(head.values)
            if base is not None:
                return base
        found = yield from read_at(self.store, self.codec, self.branches, branch, line[0].parent)
        return found.values

    def _following(self, frame: Frame) -> Operation[Frame | None]:
        """Return the frame that follows one."""
        upto, span = frame.seq, 8
        while upto < self.branch.head:
            upto, span = min(upto + span, self.branch.head), 2 * span
            stored = yield from self.store.frames(self.branch.id, frame.seq - 1, upto)
            if len(stored) > 1:
                before, body = open_frames(self.codec, stored[:2])
                return unpack_frame(stored[1], body, before)
        return None


class _Changes:
    """What frames did to each key, and what is known of it from those in front of them."""

    def __init__(self, in_front: Sequence[tuple[int, Body, Body]], frames: Sequence[Frame]) -> None:
        self.known = Folder(NOTHING)
        """Keys that were set in front, as they were then."""
        self.added: dict[str, int] = {}
        """Items that were added, by key."""
        self.replaced: set[str] = set()
        """Keys to which anything else was done."""
        seen: set[str] = set()
        for seq, body, before in in_front:
            for key, ops in delta_of(seq, body, before).items():
                for op in ops:
                    if op[0] in (SET, CLEAR):
                        seen.add(key)
                    if key in seen:
                        self.known.apply({key: (op,)})
        for frame in frames:
            for key, ops in frame.delta.items():
                for op in ops:
                    if op[0] == APPEND:
                        self.added[key] = self.added.get(key, 0) + len(op[1])
                    else:
                        self.replaced.add(key)
        self.are_known = self.replaced <= seen

    def undone(self, head: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the state before the frames that led to `head`.

        Returns:
            None: A list that they began may have been empty before, or absent.
        """
        known = self.known.values()
        base = {key: value for key, value in head.items() if key not in self.replaced}
        for key in self.replaced & known.keys():
            base[key] = known[key]
        for key, count in self.added.items():
            if key not in self.replaced:
                if len(base[key]) <= count:
                    return None
                base[key] = base[key][:-count] if count else base[key]
        return base
