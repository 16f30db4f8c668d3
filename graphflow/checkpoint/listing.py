"""Listing: a thread's checkpoints without their states, as administration tools want them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.history import parent_of, read_thread
from graphflow.checkpoint.protocol import Checkpointer, Operation
from graphflow.checkpoint.records import Frame, Source
from graphflow.ids import checkpoint_id
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


def entries(store: Checkpointer, thread: str, scope: str = "") -> Operation[list[CheckpointEntry]]:
    """Return the checkpoints of all branches of a thread, newest first."""
    branches, frames, _ = yield from read_thread(store, Codec(), thread, scope)
    found: list[tuple[int, int, CheckpointEntry]] = []
    told: dict[tuple[int, int], dict[str, Any]] = {}
    for branch in branches:
        for frame in frames[branch.id]:
            parent = parent_of(branches, branch, frame)
            added = frame.metadata
            if added is None:
                added = told.get((parent.id, frame.parent), {})
            told[branch.id, frame.seq] = dict(added)
            before = (
                config_of(thread, scope, parent.ordinal, frame.parent)
                if frame.parent >= 0
                else None
            )
            config = config_of(thread, scope, branch.ordinal, frame.seq)
            entry = CheckpointEntry(config, metadata_of(frame, added), before)
            found.append((frame.seq, branch.ordinal, entry))
    return [entry for *_, entry in sorted(found, key=lambda item: item[:2], reverse=True)]
