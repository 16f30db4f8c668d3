"""Listing: a thread's checkpoints without their states, as administration tools want them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.history import parent_of
from graphflow.checkpoint.pages import read_pages
from graphflow.checkpoint.protocol import Operation
from graphflow.checkpoint.records import Frame, Source
from graphflow.ids import checkpoint_id, parse_checkpoint_id
from graphflow.types import Config


class CheckpointEntry(NamedTuple):
    """One checkpoint: where it is and how it came about."""

    config: Config
    metadata: dict[str, Any]
    """`source`, `step`, `parents`, and what the run's config added."""
    parent_config: Config | None


def config_of(
    thread: str, scope: str, ordinal: int, seq: int, parents: Mapping[str, str] | None = None
) -> Config:
    """Return the config that addresses a checkpoint.

    Args:
        thread: Its id.
        scope: Which graph of the thread.
        ordinal: Number of its branch.
        seq: Its number.
        parents: Checkpoints of the graphs around, by scope; None: it is the root graph's.
    """
    identity = checkpoint_id(seq, ordinal)
    place = {"thread_id": thread, "checkpoint_ns": scope, "checkpoint_id": identity}
    if parents:
        return {"configurable": {**place, "checkpoint_map": {**parents, scope: identity}}}
    return {"configurable": place}


def metadata_of(frame: Frame, added: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's metadata; `added` is what the run's config had added."""
    return {"parents": {}, **added, "source": _SOURCES[frame.source], "step": frame.step}


_SOURCES = tuple(source.name.lower() for source in Source)


def entries_at(
    store: Checkpointer, config: Config, limit: int | None
) -> Operation[list[CheckpointEntry]]:
    """Return the newest checkpoints of a thread, or the one that a config addresses."""
    place = config["configurable"]
    wanted = place.get("checkpoint_id")
    at = None if wanted is None else parse_checkpoint_id(str(wanted))
    if wanted is not None and at is None:
        return []
    scope = str(place.get("checkpoint_ns") or "")
    count = None if limit is None else max(limit, 1)
    return (yield from entries(store, str(place["thread_id"]), scope, count=count, at=at))


def entries(
    store: Checkpointer, thread: str, scope: str = "", **wanted: Any
) -> Operation[list[CheckpointEntry]]:
    """Return the checkpoints of all branches of a thread, newest first.

    Args:
        store: Where to read.
        thread: Its id.
        scope: Which graph of the thread.
        **wanted: Which of them; see `read_pages`.
    """
    branches, pages = yield from read_pages(store, Codec(), thread, scope, states=False, **wanted)
    found: list[tuple[int, int, CheckpointEntry]] = []
    for page in pages:
        branch, told = page.branch, page.told
        for frame in page.frames:
            told = told if frame.metadata is None else frame.metadata
            before = None
            if frame.parent >= 0:
                parent = parent_of(branches, branch, frame)
                before = config_of(thread, scope, parent.ordinal, frame.parent)
            config = config_of(thread, scope, branch.ordinal, frame.seq)
            entry = CheckpointEntry(config, metadata_of(frame, told), before)
            found.append((frame.seq, branch.ordinal, entry))
    return [entry for *_, entry in sorted(found, key=lambda item: item[:2], reverse=True)]
