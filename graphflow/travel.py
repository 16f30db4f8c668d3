"""Travel: going back to a checkpoint inside a graph that another graph runs (contract §15.10).

Such a checkpoint says in its metadata which checkpoints of the graphs around it it belongs to. The
root graph is replayed from the one of its own; when the replay comes to the task that ran the inner
graph, that graph does not begin anew but goes on from the checkpoint that was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.frames import pack_frame
from graphflow.checkpoint.history import Checkpoint, load
from graphflow.checkpoint.protocol import MAIN, Operation
from graphflow.checkpoint.records import Frame, Pending, Source, kept_place
from graphflow.errors import InvalidUpdateError, UnknownCheckpointError
from graphflow.ids import parse_checkpoint_id, run_identity, task_id
from graphflow.places import Place
from graphflow.state.deltas import SET


class Level(NamedTuple):
    """A checkpoint on the way in."""

    scope: str
    at: tuple[int, int]
    """`(seq, ordinal)`."""


class Travel(NamedTuple):
    """Where a run's task goes on instead of beginning anew."""

    task: int
    """The task's place in the superstep that is replayed."""
    call: int
    """Which of the graphs that it calls."""
    seq: int
    """The checkpoint whose superstep that is."""
    levels: tuple[Level, ...]
    """The checkpoint of that graph, then those of the graphs inside it."""


def way_to(store: Checkpointer, codec: Codec, place: Place) -> Operation[tuple[Level, ...]]:
    """Return the checkpoints that lead to `place`, that of the root graph first.

    Raises:
        UnknownCheckpointError: There is no such checkpoint, or it belongs to no other graph's.
    """
    found = yield from load(store, codec, place.thread, place.scope, at=place.at)
    parents = {} if found is None else found.metadata.get("parents", {})
    if found is None or "" not in parents:
        raise UnknownCheckpointError(
            f"Thread {place.thread!r} has no checkpoint of a graph inside it at "
            f"checkpoint_ns={place.scope!r}."
        )
    at = (found.frame.seq, _ordinal(found))
    return (*(Level(scope, _parsed(parents[scope])) for scope in parents), Level(place.scope, at))


def _parsed(identity: str) -> tuple[int, int]:
    at = parse_checkpoint_id(identity)
    assert at is not None
    return at


def _ordinal(found: Checkpoint) -> int:
    return found.branch.ordinal


def travel_from(
    thread: str, before: Level, pending: Sequence[Pending], step: int, seq: int,
    inner: Sequence[Level],
) -> Travel | None:  # fmt: skip
    """Return which task of a replayed superstep goes on, and where; None: no graph lies inside.

    Args:
        thread: Its id.
        before: The checkpoint whose superstep is replayed.
        pending: That superstep.
        step: Its checkpoint's step.
        seq: The number of the checkpoint that stands for it in the replay.
        inner: The way in from there.

    Raises:
        InvalidUpdateError: The inner graph was not run by a task of this superstep itself.
    """
    if not inner:
        return None
    own = inner[0].scope.removeprefix(before.scope).removeprefix("|")
    name, *call = own.split("|")
    identity = run_identity(thread, before.scope, before.at[1])
    for place, task in enumerate(pending):
        made = task_id(identity, before.at[0], step + 1, task.name, task.is_send, place)
        if name in (f"{task.name}:{made}", kept_place(pending, place)):
            return Travel(place, int(call[0]) if call else 0, seq, tuple(inner))
    raise InvalidUpdateError(
        f"checkpoint_ns={inner[0].scope!r} cannot be gone back to: the graph was not called by a "
        "node of that superstep itself. Go back to the checkpoint of the graph around it."
    )


def arrive(
    store: Checkpointer, codec: Codec, place: Place, level: Level, parents: Mapping[str, str]
) -> Operation[tuple[Checkpoint, Checkpoint]]:
    """Begin a line at `place` with the state of a checkpoint elsewhere; return both.

    The new line has one checkpoint of its own, with source `fork`: same state, same tasks, no
    answers. It belongs to `parents`.
    """
    found = yield from load(store, codec, place.thread, level.scope, at=level.at)
    assert found is not None
    yield from store.begin(write=True)
    own = yield from store.branches(place.thread, place.scope)
    newest = max((branch.head for branch in own), default=-1)
    name = MAIN if not own else f"fork-{newest + 1}"
    branch = yield from store.create_branch(place.thread, place.scope, name, None, -1)
    frame = _same(found, newest + 1, {**found.metadata, "parents": dict(parents)})
    yield from store.append(branch.id, -1, [pack_frame(codec, frame)], drop_rows=False)
    yield from store.end()
    begun = found._replace(
        branch=branch._replace(head=frame.seq),
        frame=frame,
        metadata=dict(frame.metadata or {}),
        rows=(),
        parent_branch=branch,
        chain_cost=0,
        newest_seq=frame.seq,
    )
    return begun, found


def _same(found: Checkpoint, seq: int, metadata: Mapping[str, object]) -> Frame:
    old = found.frame
    delta = {key: ((SET, value),) for key, value in found.values.items()}
    return Frame(
        seq, Source.FORK, old.step + 1, delta, old.pending, old.joins, old.deferred, (), metadata,
        -1, time.time(),
    )  # fmt: skip
