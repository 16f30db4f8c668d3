"""Nesting: a run that a task of another run starts.

A graph called inside a node, or standing as one, finds the task around it in the context. It takes
over the caller's config, context, store and durability, and keeps its checkpoints in a line of its
own in the caller's thread, named by its scope:

    node:task_id       made for one execution of the task; goes on when the task runs again
    node               with `compile(checkpointer=True)`: one line for all of the thread (`node:1`,
                       … for the second and later of several Sends to it)

`parents` in a line's metadata tells which checkpoint of the graph around it a run belongs to: that
decides whether a call goes on or begins anew, also after the thread was forked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.history import Checkpoint, lineage, load, read_thread
from graphflow.checkpoint.protocol import Operation
from graphflow.engine.machine import Machine
from graphflow.engine.returns import read_input
from graphflow.engine.superstep import open_questions
from graphflow.engine.turn import Options, Start
from graphflow.graph.plan import Plan
from graphflow.ids import checkpoint_id, parse_checkpoint_id
from graphflow.opening import Opened, fork, placed, recorder_for, start_at, turn_of
from graphflow.places import Place
from graphflow.runtime import TaskContext
from graphflow.travel import Level, Travel, arrive, travel_from
from graphflow.types import Config, Durability
from graphflow.upgrading import adopted


class Nested(NamedTuple):
    """Where a nested run belongs."""

    task: TaskContext
    """The task that started it."""
    scope: tuple[str, ...]
    """The graphs around its nodes; also its namespace in streams."""
    store: Checkpointer | None
    is_kept: bool
    """Whether its line serves all runs of the thread."""
    parents: Mapping[str, str]
    """Scope to checkpoint id, for every graph around it."""
    durability: Durability
    levels: tuple[Level, ...] = ()
    """Checkpoints from which it, and graphs inside it, go on instead of beginning anew."""

    @property
    def identity(self) -> str:
        """What makes its tasks' ids its own where it keeps nothing."""
        return "\x1f".join((self.task.run.thread, *self.scope))


def nest(checkpointer: Any, config: Config | None, task: TaskContext | None) -> Nested | None:
    """Return where a call belongs; None: it is no part of the run around it.

    Args:
        checkpointer: What the called graph was compiled with.
        config: What the call was given. A `thread_id` other than the caller's makes it a run of
            its own, if the graph has a checkpointer of its own.
        task: The task that is running here.
    """
    if task is None:
        return None
    around = task.run
    thread = str(((config or {}).get("configurable") or {}).get("thread_id", around.thread))
    if isinstance(checkpointer, Checkpointer) and thread != around.thread:
        return None
    is_kept = checkpointer is True and around.checkpoints is not None
    place = _kept_place(task) if is_kept else f"{task.task.name}:{task.task.id}"
    call, task.calls = task.calls, task.calls + 1
    scope = (*around.scope, place, *((str(call),) if call else ()))
    store = None if checkpointer is False else around.checkpoints
    parents: Mapping[str, str] = {}
    if store is not None:
        own = checkpoint_id(task.task.head, around.ordinal)
        parents = {**around.parents, "|".join(around.scope): own}
    levels = _levels(around.travel, task, call)
    return Nested(task, scope, store, is_kept, parents, around.durability, levels)


def _levels(travel: Travel | None, task: TaskContext, call: int) -> tuple[Level, ...]:
    if travel is None or (travel.task, travel.call) != (getattr(task.task, "index", -1), call):
        return ()
    return travel.levels if travel.seq == task.task.head else ()


def _kept_place(task: TaskContext) -> str:
    """Return the name of a kept line; tasks of one node that run side by side have one each."""
    root = task.root.task
    name = ".".join((root.name, *map(str, task.place)))
    number = task.run.caller.number_of(root)
    return f"{name}:{number}" if number else name


def open_nested(
    plan: Plan, options: Options, given: Any, codec: Codec, nested: Nested
) -> Operation[Opened]:
    """Make a nested run ready: go on with an unfinished or finished one, or take new input."""
    store, around = nested.store, nested.task.run
    if store is None:
        machine = Machine(plan, options, Start(plan.initial()))
        return Opened(machine, turn_of(machine, None, read_input(plan, given), {}), None, None)
    options = options._replace(metadata={**options.metadata, "parents": dict(nested.parents)})
    place = Place(around.thread, "|".join(nested.scope))
    newest = adopted(plan, (yield from load(store, codec, place.thread, place.scope)))
    if newest is not None and (not nested.is_kept or _parents(newest) == nested.parents):
        return _going_on(plan, options, store, codec, place, newest, around.answers)
    if nested.levels:
        begun, found = yield from arrive(store, codec, place, nested.levels[0], nested.parents)
        opened = _going_on(plan, options, store, codec, place, begun, {})
        pending, step = found.frame.pending, found.frame.step
        return opened._replace(
            travel=travel_from(
                place.thread, nested.levels[0], pending, step, begun.frame.seq, nested.levels[1:]
            )
        )
    base, next_seq, ordinal = yield from _base(store, codec, place, newest, nested)
    if base is not newest:
        base = adopted(plan, base)
    writes = read_input(plan, given)
    options = placed(options, place, ordinal)
    machine = Machine(plan, options, start_at(plan, base)._replace(next_seq=next_seq))
    name = "main" if newest is None else f"fork-{next_seq}"
    recorder = recorder_for(plan, store, codec, place, base, name)
    return Opened(machine, turn_of(machine, None, writes, {}), recorder, place)


def _going_on(
    plan: Plan,
    options: Options,
    store: Checkpointer,
    codec: Codec,
    place: Place,
    base: Checkpoint,
    given: Mapping[str, Any],
) -> Opened:
    asked = {question.id for question in open_questions(base.rows)}
    answers = {identity: answer for identity, answer in given.items() if identity in asked}
    machine = Machine(plan, placed(options, place, base.branch.ordinal), start_at(plan, base))
    recorder = recorder_for(plan, store, codec, place, base)
    return Opened(machine, turn_of(machine, None, None, answers), recorder, place)


def _parents(checkpoint: Checkpoint) -> Mapping[str, str]:
    parents: Mapping[str, str] = checkpoint.metadata.get("parents", {})
    return parents


def _base(
    store: Checkpointer, codec: Codec, place: Place, newest: Checkpoint | None, nested: Nested
) -> Operation[tuple[Checkpoint | None, int, int]]:
    """Return what a kept line goes on from, the next seq, and the branch's ordinal.

    That is its newest checkpoint among those that belong to the past of the checkpoint around it:
    after a fork of the thread, the state as it was there.
    """
    if newest is None:
        return None, 0, 0
    outer, past = _outer(nested.parents)
    branches = yield from store.branches(place.thread, outer)
    branch = next((known for known in branches if known.ordinal == past[1]), None)
    line = {past[1]: past[0]}  # a new branch may be about to be stored, and continues none
    if branch is not None:
        line = {known.ordinal: upto for known, upto in lineage(branches, branch, past[0])}
    if _is_before(_parents(newest), outer, line):
        return newest, newest.newest_seq + 1, newest.branch.ordinal
    found = yield from _newest_before(store, codec, place, outer, line)
    if found is None:
        own = yield from store.branches(place.thread, place.scope)
        return None, newest.newest_seq + 1, len(own)
    base = yield from load(store, codec, place.thread, place.scope, at=found)
    assert base is not None
    name = f"fork-{base.newest_seq + 1}"
    base = yield from fork(store, codec, place, base, name, with_frame=False)
    return base, base.newest_seq + 1, base.branch.ordinal


def _outer(parents: Mapping[str, str]) -> tuple[str, tuple[int, int]]:
    scope, identity = list(parents.items())[-1]
    parsed = parse_checkpoint_id(identity)
    assert parsed is not None
    return scope, parsed


def _is_before(parents: Mapping[str, str], outer: str, line: Mapping[int, int]) -> bool:
    """Whether a run belongs to a superstep that lies behind the checkpoint at the line's end.

    The superstep at which the thread was forked does not: it is run again on the new branch.
    """
    parsed = parse_checkpoint_id(parents.get(outer, ""))
    return parsed is not None and parsed[0] < line.get(parsed[1], -2)


def _newest_before(
    store: Checkpointer, codec: Codec, place: Place, outer: str, line: Mapping[int, int]
) -> Operation[tuple[int, int] | None]:
    branches, frames, _ = yield from read_thread(store, codec, place.thread, place.scope)
    found: list[tuple[int, int]] = []
    for branch in branches:
        parents: Mapping[str, str] = {}
        for frame in frames[branch.id]:
            parents = (frame.metadata or {}).get("parents", parents)
            if _is_before(parents, outer, line):
                found.append((frame.seq, branch.ordinal))
    return max(found, default=None)
