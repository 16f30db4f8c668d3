"""The records of a thread's history.

A **frame** is one committed superstep: what changed, and what runs next. The frontier is stored,
not derived, so no frame needs the code that made it. A **row** is what is known of a superstep
that is not finished: results of tasks that ended before their siblings, questions, answers,
errors. The commit of the next frame removes the rows and keeps their content in the frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

from graphflow.state.deltas import Delta
from graphflow.types import Interrupt, TimeoutPolicy

Writes = tuple[tuple[str, Any], ...]
"""What a task wrote, in order: `(key, value)` pairs."""


class Source(IntEnum):
    """Why a frame was committed."""

    INPUT = 0
    LOOP = 1
    UPDATE = 2
    FORK = 3


class Pending(NamedTuple):
    """A task of the next superstep."""

    name: str
    is_send: bool = False
    arg: Any = None
    """The whole input of a `Send`; for `__start__` the input's writes."""
    timeout: TimeoutPolicy | None = None
    """Of a `Send` that overrides its node's."""


def kept_place(pending: Sequence[Pending], place: int) -> str:
    """Return where a graph that keeps its state keeps it, as a task of a superstep.

    Args:
        pending: The superstep.
        place: The task's place in it; tasks of one node that run side by side have one each.
    """
    name = pending[place].name
    number = sum(task.name == name for task in pending[:place])
    return f"{name}:{number}" if number else name


class Settled(NamedTuple):
    """How a task of the superstep ended that a frame closes."""

    place: int
    """Its place in the `pending` of the frame before."""
    name: str
    writes: Writes
    interrupts: tuple[Interrupt, ...] = ()
    """Every question it asked."""


class Unsettled(NamedTuple):
    """What was known of a task that did not end: a frame gave its superstep up, or it failed and
    another took its place. For the history only.
    """

    place: int
    """Its place in the `pending` of the frame before."""
    writes: Writes | None = None
    """What it wrote, if it had ended by itself."""
    interrupts: tuple[Interrupt, ...] = ()
    error: str | None = None


class Frame(NamedTuple):
    """One committed superstep."""

    seq: int
    source: Source
    step: int
    delta: Delta
    pending: tuple[Pending, ...]
    """The next superstep; empty: nothing is left to do."""
    joins: Mapping[str, tuple[str, ...]]
    """Which sources of which open joins have arrived."""
    deferred: tuple[str, ...]
    """Nodes that were triggered and are held back."""
    settled: tuple[Settled, ...]
    metadata: Mapping[str, Any] | None
    """What the run's config added; None: as in the frame before."""
    parent: int
    """The frame before, on this branch or the one it continues; -1: none."""
    created: float = 0.0
    """Seconds since the epoch, for people only."""
    unsettled: tuple[Unsettled, ...] = ()


class RowKind(IntEnum):
    """What a row tells of its task."""

    RESULT = 0
    QUESTION = 1
    ANSWER = 2
    ERROR = 3
    CALL = 4


class Row(NamedTuple):
    """One fact about a task of the open superstep."""

    place: int
    """The task's place in `pending`."""
    kind: RowKind
    number: int
    """Which question or call of the task, for questions, answers and calls."""
    value: Any
    """RESULT: `(writes, targets)`; QUESTION: an `Interrupt`; ANSWER: anything; ERROR: text;
    CALL: `(path, name, what it returned)`."""


class Commit(NamedTuple):
    """What a driver makes durable before it goes on. Atomic as a whole.

    Either frames, which follow `head` and end the superstep that is open there, or rows of it.
    """

    head: int
    """The seq that the branch must be at."""
    frames: tuple[Frame, ...] = ()
    rows: tuple[Row, ...] = ()
    withdrawn: tuple[Row, ...] = ()
    """Answers that did not fit their question: removed, so that it can be answered again."""
    closes_rows: bool = False
    """Whether the superstep that `frames` end has rows in the store."""


NOTHING: Final[Mapping[str, Any]] = {}
METADATA_EVERY: Final = 64
"""Frames after which one repeats the metadata, so that nobody has to go far back for it."""
