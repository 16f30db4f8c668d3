"""Whether a thread is whole: it can be read to the last byte, and its parts fit together.

Looks at what is stored, with the checksums that a store keeps of it; no code of the program runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.codec_errors import CodecError
from graphflow.checkpoint.frames import (
    NO_FRAME,
    Body,
    delta_of,
    open_frames,
    pack_snapshot,
    unpack_frame,
    unpack_row,
    unpack_snapshot,
)
from graphflow.checkpoint.history import lineage
from graphflow.checkpoint.protocol import Branch, Operation, StoredFrame
from graphflow.errors import CheckpointError, CorruptCheckpointError
from graphflow.state.deltas import Folder

_UNREADABLE = (CodecError, CheckpointError, LookupError, TypeError, ValueError)
"""What bytes can do to who reads them."""


class Problem(NamedTuple):
    """Something that is wrong with a thread."""

    thread: str
    scope: str
    branch: str
    what: str


class _Link(NamedTuple):
    """A frame that could be read."""

    stored: StoredFrame
    body: Body


def check_thread(store: Checkpointer, codec: Codec, thread: str) -> Operation[list[Problem]]:
    """Return what is wrong with a thread.

    Args:
        store: Where it is.
        codec: How to read it; `raw_codec()` knows all classes.
        thread: Its id.
    """
    found: list[Problem] = []
    yield from store.begin()
    for scope in (yield from store.scopes(thread)):
        branches = yield from store.branches(thread, scope)
        line = _Line(store, codec, branches)
        for branch in branches:
            yield from line.check(branch)
        found += [Problem(thread, scope, name, what) for name, what in line.problems]
    yield from store.end()
    return found


class _Line:
    """The branches of one graph of a thread."""

    def __init__(self, store: Checkpointer, codec: Codec, branches: Sequence[Branch]) -> None:
        self.store = store
        self.codec = codec
        self.branches = branches
        self.links: dict[int, list[_Link]] = {}
        """By branch."""
        self.problems: list[tuple[str, str]] = []
        """`(branch, what)`."""

    def check(self, branch: Branch) -> Operation[None]:
        """Look at one branch; those before it have been looked at."""
        if branch.parent is not None and branch.parent not in self.links:
            self._note(branch, "the branch that it continues is not there")
            return
        stored = yield from self._frames(branch, -1, branch.head)
        self.links[branch.id] = [
            _Link(frame, body) for frame in stored if (body := self._opened(branch, frame))
        ]
        self._check_chain(branch)
        yield from self._check_rows(branch)
        yield from self._check_snapshot(branch)

    def _note(self, branch: Branch, what: object) -> None:
        self.problems.append((branch.name, str(what)))

    # -- frames --------------------------------------------------------------------------------

    def _frames(self, branch: Branch, after: int, upto: int) -> Operation[list[StoredFrame]]:
        """Return the frames whose checksums match, and note the others, however many there are."""
        try:
            return (yield from self.store.frames(branch.id, after, upto))
        except CorruptCheckpointError as error:
            if upto - after == 1:
                self._note(branch, error)
                return []
        middle = (after + upto) // 2
        older = yield from self._frames(branch, after, middle)
        return [*older, *(yield from self._frames(branch, middle, upto))]

    def _opened(self, branch: Branch, frame: StoredFrame) -> Body | None:
        try:
            return open_frames(self.codec, [frame])[0]
        except _UNREADABLE as error:
            self._note(branch, f"frame {frame.seq}: {error}")
            return None

    def _check_chain(self, branch: Branch) -> None:
        """See that every frame continues the one before it, and what it refers to is there."""
        before = self._path(branch, branch.parent_seq)[-1:]
        if branch.parent_seq >= 0 and [link.stored.seq for link in before] != [branch.parent_seq]:
            self._note(branch, f"frame {branch.parent_seq}, which it continues, is not there")
        last, body = branch.parent_seq, before[0].body if before else NO_FRAME
        for stored, following in self.links[branch.id]:
            try:
                parent = unpack_frame(stored, following, body).parent
            except _UNREADABLE as error:
                self._note(branch, f"frame {stored.seq}: {error}")
            else:
                if parent != last:
                    self._note(branch, f"frame {stored.seq} continues {parent}, not {last}")
            last, body = stored.seq, following

    def _path(self, branch: Branch, seq: int) -> list[_Link]:
        """Return the frames that lead to `seq`."""
        line = reversed(lineage(self.branches, branch, seq))
        return [
            link
            for place, upto in line
            for link in self.links.get(place.id, ())
            if link.stored.seq <= upto
        ]

    # -- what hangs on them --------------------------------------------------------------------

    def _check_rows(self, branch: Branch) -> Operation[None]:
        own = [link.stored.seq for link in self.links[branch.id]]
        for seq in sorted({branch.parent_seq, *own, branch.head}):
            try:
                for row in (yield from self.store.rows(branch.id, seq)):
                    told = unpack_row(self.codec, row)
                    if seq != branch.head:
                        name = told.kind.name.lower()
                        self._note(
                            branch, f"{name} of task {row.place} at frame {seq} was never used"
                        )
            except _UNREADABLE as error:
                self._note(branch, f"rows at frame {seq}: {error}")

    def _check_snapshot(self, branch: Branch) -> Operation[None]:
        try:
            found = yield from self.store.snapshot(branch.id, branch.head)
            if found is not None and not self._is_right(branch, *found):
                self._note(branch, f"snapshot {found[0]} is not the state that its frames make")
        except _UNREADABLE as error:
            self._note(branch, f"snapshot: {error}")

    def _is_right(self, branch: Branch, seq: int, body: bytes) -> bool:
        kept = pack_snapshot(self.codec, *unpack_snapshot(self.codec, body))
        folder, before = Folder({}), NO_FRAME
        metadata: dict[str, Any] = {}
        for stored, following in self._path(branch, seq):
            folder.apply(delta_of(stored.seq, following, before))
            metadata = metadata if following[8] is None else following[8]
            before = following
        return kept == pack_snapshot(self.codec, folder.values(), metadata)
