"""Indexing: the tags of threads that were stored by somebody who did not declare them.

    store.run(index_all(store))

Also whoever copies or imports a thread finds its tags so. Frames are read, which tells this from
everything else that is done with tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.frames import open_frames
from graphflow.checkpoint.protocol import Operation, StoredFrame, Tag
from graphflow.checkpoint.raw import raw_codec
from graphflow.checkpoint.records import METADATA_EVERY
from graphflow.checkpoint.tags import carried, tags_of


def index_all(store: Checkpointer) -> Operation[int]:
    """Find the tags of all threads anew; return how many threads there are.

    Runs may be going on.

    Raises:
        CheckpointError, CodecError: A thread cannot be read; those before it have their tags.
    """
    names = yield from store.threads()
    for name in names:
        yield from index_thread(store, name)
    return len(names)


def index_thread(store: Checkpointer, thread: str) -> Operation[None]:
    """Find the tags of a thread anew."""
    seen = None
    while seen != (branches := (yield from store.branches(thread))):
        seen, frames = branches, list[tuple[int, StoredFrame]]()
        for branch in branches:
            line = yield from store.frames(branch.id, -1, branch.head)
            frames += [(branch.ordinal, frame) for frame in line]
        yield from store.begin(write=True)
        yield from store.put_tags(thread, tags_in(store.tags, frames))
        yield from store.end()


def tags_in(declared: Sequence[str], frames: Iterable[tuple[int, StoredFrame]]) -> list[Tag]:
    """Return the tags of a thread whose frames these are: of each key the newest value.

    Args:
        declared: The keys.
        frames: With the ordinals of their branches.

    Raises:
        CheckpointError, CodecError: A frame cannot be read.
    """
    codec, found, told = raw_codec(), dict[str, Any](), dict[int, Any]()
    for ordinal, frame in sorted(frames, key=lambda known: (known[1].seq, known[0])):
        metadata = open_frames(codec, [frame])[0][8]
        if metadata is None or (frame.seq % METADATA_EVERY == 0 and metadata == told.get(ordinal)):
            continue  # it says nothing, or again what held on its branch before
        told[ordinal] = metadata
        found |= carried(declared, metadata)
    return tags_of(declared, found)
