"""Threads taken out of a store as they are, and put into this or another one.

    store.run(copy_thread(store, "42", "42 before the migration"))

    with open("42.gfthread", "wb") as file:
        file.writelines(store.run(export_thread(store, "42")))
    with open("42.gfthread", "rb") as file:
        other.run(import_thread(other, file))

Composed from the verbs of a `Checkpointer`, so every store can give to every other. Frames, rows
and snapshots arrive byte by byte, and keep their numbers, by which checkpoints are addressed; only
where a thread gets another name, its ids in them change with it (`renaming`). A thread arrives
whole or not at all, with the tags that the store it goes to has declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from graphflow.checkpoint.archive import StoredBranch, StoredThread, read_threads, written
from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec_errors import CodecError
from graphflow.checkpoint.indexing import tags_in
from graphflow.checkpoint.protocol import Branch, Operation, Tag
from graphflow.checkpoint.renaming import renamed
from graphflow.errors import (
    CheckpointConflict,
    CheckpointError,
    CorruptCheckpointError,
    HeadMoved,
    UnknownCheckpointError,
)

_AT_ONCE = 256
"""Frames that are given to a store in one call."""


def export_thread(store: Checkpointer, thread: str) -> Operation[Iterator[bytes]]:
    """Return the lines of a file with a thread; see `archive`.

    Raises:
        UnknownCheckpointError: There is no such thread.
        HeadMoved: A run goes on in it, in a store that does not show one moment of it.
    """
    return written((yield from read_whole(store, thread)))


def import_thread(
    store: Checkpointer, lines: Iterable[bytes], thread: str | None = None
) -> Operation[str]:
    """Put the next thread of a file into a store; return its id.

    All of it is read and verified before the store is asked anything. A file with several threads
    can be given again: it stands behind this one.

    Args:
        store: Where it goes.
        lines: The file, opened with `"rb"`.
        thread: What it is called from now on; None: as before.

    Raises:
        CorruptCheckpointError: The file is damaged, cut off, or has no thread; nothing was stored.
        StoreTooNewError: A newer graphflow wrote it; nothing was stored.
        CheckpointConflict: There is a thread of that name; nothing was stored.
    """
    whole = next(read_threads(lines), None)
    if whole is None:
        raise CorruptCheckpointError("The file has no thread, or no more.")
    return (yield from write_whole(store, whole, thread))


def copy_thread(store: Checkpointer, thread: str, new_id: str) -> Operation[str]:
    """Copy a thread under another name; return that.

    Raises:
        UnknownCheckpointError: There is no such thread.
        CheckpointConflict: There is a thread of the new name; nothing was stored.
        CodecError: It cannot be read, and so not be given the new name; nothing was stored.
    """
    whole = yield from read_whole(store, thread)
    return (yield from write_whole(store, whole, new_id))


def read_whole(store: Checkpointer, thread: str) -> Operation[StoredThread]:
    """Return all of a thread as bytes.

    Raises:
        UnknownCheckpointError: There is no such thread.
        HeadMoved: It grew while it was read.
    """
    yield from store.begin()
    branches: list[StoredBranch] = []
    heads: list[Branch] = []
    for scope in (yield from store.scopes(thread)):
        line = yield from store.branches(thread, scope)
        heads += line
        branches += yield from _read_line(store, scope, line)
    if heads != (yield from _heads(store, thread)):
        raise HeadMoved(
            f"Thread {thread!r} grew while it was read, which this store cannot prevent. Take it "
            "out when no run is going on in it."
        )
    yield from store.end()
    if not branches:
        raise UnknownCheckpointError(f"The store has no thread {thread!r}.")
    return StoredThread(thread, branches)


def _heads(store: Checkpointer, thread: str) -> Operation[list[Branch]]:
    found: list[Branch] = []
    for scope in (yield from store.scopes(thread)):
        found += yield from store.branches(thread, scope)
    return found


def _read_line(
    store: Checkpointer, scope: str, line: list[Branch]
) -> Operation[list[StoredBranch]]:
    ordinals: dict[int | None, int] = {branch.id: branch.ordinal for branch in line}
    found = []
    for number, ordinal, name, parent, parent_seq, head in line:
        frames = yield from store.frames(number, -1, head)
        rows = yield from store.rows(number, head)
        newest = yield from store.snapshot(number, head)
        snapshots = [] if newest is None else [newest]
        origin = ordinals.get(parent)
        found.append(
            StoredBranch(scope, ordinal, name, origin, parent_seq, frames, rows, snapshots)
        )
    return found


def write_whole(
    store: Checkpointer, whole: StoredThread, thread: str | None = None
) -> Operation[str]:
    """Put a thread into a store, in one transaction; return its id.

    Snapshots follow after it, because they are derived: without them it is the same thread.

    Raises:
        CheckpointConflict: There is a thread of that name; nothing was stored.
        CodecError: It cannot be read, and so not be given another name; nothing was stored.
    """
    name = whole.name if thread is None else thread
    whole = renamed(whole, name)
    numbers: dict[tuple[str, int | None], int] = {}
    yield from store.begin(write=True)
    if (yield from store.scopes(name)):
        raise CheckpointConflict(
            f"There is a thread {name!r} already; nothing was stored. Delete it first, or choose "
            "another name."
        )
    for branch in whole.branches:
        made = yield from _make_branch(store, name, branch, numbers)
        numbers[branch.scope, branch.ordinal] = made.id
        yield from _fill(store, made, branch)
    if store.tags:
        yield from store.put_tags(name, _tags_of(store, whole))
    yield from store.end()
    for branch in whole.branches:
        for seq, body in branch.snapshots:
            number = numbers[branch.scope, branch.ordinal]
            yield from store.put_snapshot(number, seq, body)
    return name


def _tags_of(store: Checkpointer, whole: StoredThread) -> list[Tag]:
    """Return a thread's tags; none, if it cannot be read here, as one that is still encrypted."""
    frames = [
        (branch.ordinal, frame)
        for branch in whole.branches
        if not branch.scope
        for frame in branch.frames
    ]
    try:
        return tags_in(store.tags, frames)
    except (CheckpointError, CodecError):
        return []


def _make_branch(
    store: Checkpointer,
    thread: str,
    branch: StoredBranch,
    numbers: dict[tuple[str, int | None], int],
) -> Operation[Branch]:
    parent = numbers.get((branch.scope, branch.parent))
    made = yield from store.create_branch(
        thread, branch.scope, branch.name, parent, branch.parent_seq
    )
    if made.ordinal != branch.ordinal:
        raise CheckpointError(
            f"Branch {branch.name!r} has number {branch.ordinal} where it comes from and would "
            f"have {made.ordinal} here, so its checkpoints would be called otherwise. Nothing was "
            "stored."
        )
    return made


def _fill(store: Checkpointer, made: Branch, branch: StoredBranch) -> Operation[None]:
    head = made.head
    for start in range(0, len(branch.frames), _AT_ONCE):
        frames = branch.frames[start : start + _AT_ONCE]
        yield from store.append(made.id, head, frames, drop_rows=False)
        head = frames[-1].seq
    if branch.rows:
        yield from store.put_rows(made.id, head, branch.rows, [])
