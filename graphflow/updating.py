"""Updating a thread by hand: `update_state` and `bulk_update_state` (contract §16).

An update acts as if a node had returned its values: reducers apply and the node's edges and
conditional edges decide what is next. It closes the open superstep.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

from graphflow.calls import run_metadata
from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.frames import pack_frame
from graphflow.checkpoint.history import (
    Checkpoint,
    load,
    load_frame,
    place_of_step,
    read_thread,
)
from graphflow.checkpoint.leases import Claim
from graphflow.checkpoint.listing import config_of
from graphflow.checkpoint.protocol import Branch, Operation
from graphflow.checkpoint.recorder import Recorder
from graphflow.checkpoint.records import Pending, Row, RowKind, Source
from graphflow.checkpoint.tags import carried
from graphflow.drivers.call import perform
from graphflow.engine.edits import Editor
from graphflow.engine.returns import read_input, start_writes
from graphflow.engine.turn import Options, Outcome, Turn
from graphflow.errors import InvalidUpdateError, UnknownCheckpointError
from graphflow.graph.plan import Plan
from graphflow.ids import run_identity, task_id
from graphflow.opening import fork, fork_frame, is_past, load_claimed, recorder_for, start_at
from graphflow.places import Place, check_branch
from graphflow.runtime import RunContext, TaskContext
from graphflow.types import COPY, END, INPUT, START, Config, Final, StateUpdate
from graphflow.upgrading import adopted

ALONE = (END, INPUT, COPY)
"""What `as_node` may be only by itself in a superstep."""


class Editing(NamedTuple):
    """A superstep of updates that is ready to be worked out."""

    machine: Editor
    recorder: Recorder
    base: Checkpoint | None
    place: Place
    updates: Sequence[StateUpdate]


def check_supersteps(supersteps: Sequence[Sequence[StateUpdate]]) -> None:
    """Refuse an update that says nothing.

    Raises:
        ValueError: There are no supersteps, or one is empty.
        InvalidUpdateError: One of several updates does not say `as_node`, or must be alone.
    """
    if not supersteps:
        raise ValueError("No supersteps provided")
    for updates in supersteps:
        if not updates:
            raise ValueError("No updates provided")
        if len(updates) > 1 and any(update.as_node is None for update in updates):
            raise InvalidUpdateError("Each of several updates in a superstep needs as_node.")
        if len(updates) > 1 and any(update.as_node in ALONE for update in updates):
            raise InvalidUpdateError(f"as_node {ALONE} must be alone in its superstep.")


def open_edit(
    plan: Plan,
    store: Checkpointer,
    codec: Codec,
    place: Place,
    updates: Sequence[StateUpdate],
    claim: Claim,
) -> Operation[Editing]:
    """Load what an update is based on.

    Raises:
        ThreadBusy: Somebody is running on the branch.
        InvalidUpdateError: The node does not exist, or it is not clear which is meant.
    """
    base = adopted(plan, (yield from load_claimed(store, codec, place, claim)))
    if updates[0].as_node is None and plan.entry is not None:
        saved = Final(updates[0].values, updates[0].values)
        updates = [StateUpdate(saved, plan.entry)]
    elif updates[0].as_node is None:
        name = yield from _last_writer(store, codec, place, base)
        updates = [updates[0]._replace(as_node=name)]
    for update in updates:
        if update.as_node not in plan.nodes and update.as_node not in ALONE:
            raise InvalidUpdateError(f"Node {update.as_node} does not exist")
    if updates[0].as_node == COPY:
        base = yield from _copied(store, codec, place, base)
        updates = [
            StateUpdate(*entry) if isinstance(entry, tuple) else entry
            for entry in updates[0].values or ()
        ]
    elif base is not None and is_past(place, base):
        name = f"fork-{base.newest_seq + 1}"
        base = yield from fork(store, codec, place, base, name, with_frame=False)
    identity = run_identity(place.thread, place.scope, base.branch.ordinal if base else 0)
    options = Options(identity, records=True)
    machine = Editor(plan, options, start_at(plan, base))
    recorder = recorder_for(plan, store, codec, place, base)
    recorder.lease = claim.lease
    return Editing(machine, recorder, base, place, updates)


def _last_writer(
    store: Checkpointer, codec: Codec, place: Place, base: Checkpoint | None
) -> Operation[str]:
    while base is not None:
        names = list(dict.fromkeys(task.name for task in base.frame.settled))
        if len(names) > 1:
            raise InvalidUpdateError(
                f"Ambiguous update, specify as_node: {', '.join(names)} all ran last."
            )
        if names:
            return names[0]
        if base.frame.source is Source.INPUT or base.frame.parent < 0:
            break
        at = (base.frame.parent, base.parent_branch.ordinal)
        base = yield from load(store, codec, place.thread, place.scope, at=at)
    return START


def _copied(
    store: Checkpointer, codec: Codec, place: Place, base: Checkpoint | None
) -> Operation[Checkpoint]:
    """Make a sibling of a checkpoint: same parent, same state, same tasks, no answers."""
    if base is None:
        raise InvalidUpdateError("as_node='__copy__' needs a checkpoint to copy.")
    old = base.frame
    seq = base.newest_seq + 1
    frame = fork_frame(old, seq)._replace(delta=old.delta, parent=old.parent)
    yield from store.begin(write=True)
    branch = yield from store.create_branch(
        place.thread, place.scope, f"copy-{seq}", *_origin(base)
    )
    yield from store.append(branch.id, branch.head, [pack_frame(codec, frame)], drop_rows=False)
    yield from store.end()
    return base._replace(branch=branch._replace(head=seq), frame=frame, rows=(), newest_seq=seq)


def _origin(base: Checkpoint) -> tuple[int | None, int]:
    if base.frame.parent < 0:
        return None, -1
    return base.parent_branch.id, base.frame.parent


Working = Generator[Any, Any, Turn]


def work_out(editing: Editing, config: Config) -> Working:
    """Work out the frame of an update. Yields coroutines of asynchronous path functions."""
    machine, updates, now = editing.machine, editing.updates, time.time()
    machine.ledger.metadata = _metadata(editing, config)
    only = updates[0].as_node if updates else None
    if not updates:
        return Turn(None, (), (), None)  # type: ignore[arg-type]  # a copy: nothing more to commit
    if only == END:
        if updates[0].values is not None:
            raise InvalidUpdateError(
                "An update as END clears what is pending; its values must be None."
            )
        return machine.rewrite(Source.UPDATE, (), now, _stored_writes(editing.base))
    if only == INPUT:
        writes = read_input(machine.plan, updates[0].values)
        return machine.rewrite(Source.INPUT, (Pending(START, False, writes),), now)
    context = RunContext(config)
    outcomes: list[Outcome] = []
    for update, index in zip(updates, _places(editing), strict=True):
        assert update.as_node is not None
        arg = start_writes(machine.plan, update.values) if update.as_node == START else None
        task = machine.task_for(update.as_node, index, arg)
        place = TaskContext(context, task)
        outcome = yield from perform(machine, place, task, False, update.values)
        outcomes.append(outcome)
    return machine.update(outcomes, now)


def _metadata(editing: Editing, config: Config) -> dict[str, Any]:
    """Return what an edit's checkpoint says: where it belongs, and what its own config adds."""
    before = editing.base.metadata if editing.base else {}
    parents = before.get("parents")
    told = {**carried(editing.recorder.tags, before), **run_metadata(config)}
    return {**told, **({"parents": parents} if parents else {})}


def _stored_writes(base: Checkpoint | None) -> list[Any]:
    rows: Sequence[Row] = base.rows if base else ()
    return [row.value[0] for row in rows if row.kind is RowKind.RESULT]


def _places(editing: Editing) -> list[int]:
    """Return which pending task each update is the result of; -1: of none.

    Raises:
        InvalidUpdateError: It names a task that the node does not have.
    """
    pending = editing.base.frame.pending if editing.base else ()
    # As START an update replaces the input, so it is not what the pending START would write.
    free = {index: task.name for index, task in enumerate(pending) if task.name != START}
    places = []
    for update in editing.updates:
        assert update.as_node is not None
        fitting = [index for index, name in free.items() if name == update.as_node]
        if update.task_id is not None:
            fitting = [i for i in fitting if _id_of(editing, update.as_node, i) == update.task_id]
            if not fitting:
                raise InvalidUpdateError(
                    f"Node {update.as_node} has no pending task {update.task_id}: get_state(config)"
                    ".tasks shows those it has."
                )
        place = fitting[0] if fitting else -1
        free.pop(place, None)
        places.append(place)
    return places


def _id_of(editing: Editing, name: str, index: int) -> str:
    machine, base = editing.machine, editing.base
    assert base is not None
    task = base.frame.pending[index]
    identity = machine.options.identity
    return task_id(identity, base.frame.seq, base.frame.step + 1, name, task.is_send, index)


def edit(
    plan: Plan,
    store: Checkpointer,
    codec: Codec,
    place: Place,
    config: Config,
    values: Mapping[str, Any],
    claim: Claim,
) -> Operation[Config]:
    """Replace values of a thread and leave what is to run next as it is.

    Raises:
        ThreadBusy: Somebody is running on the branch.
        InvalidUpdateError: A key is none of the state's, or there is nothing to edit.
    """
    if unknown := [key for key in values if key not in plan.channels]:
        known = ", ".join(plan.channels)
        raise InvalidUpdateError(f"{unknown[0]!r} is no key of the state. Its keys: {known}.")
    editing = yield from open_edit(plan, store, codec, place, [StateUpdate(None, END)], claim)
    base, machine = editing.base, editing.machine
    if base is None:
        raise InvalidUpdateError(f"Thread {place.thread!r} has no checkpoint to edit.")
    plan.state.check(base.values, values)
    machine.ledger.metadata = _metadata(editing, config)
    turn = machine.replace(values, time.time())
    assert turn.commit is not None
    yield from editing.recorder.record(turn.commit)
    return edited_config(editing, turn)


def begin_branch(
    store: Checkpointer, codec: Codec, place: Place, step: int | None, name: str | None
) -> Operation[str]:
    """Begin a branch at a checkpoint, with a `fork` checkpoint of its own; return its name.

    Args:
        store: Where the thread is.
        codec: How its values are encoded.
        place: Which checkpoint; with a `step` the head from which it is looked for.
        step: The newest checkpoint of this step on the way to `place`; None: `place` itself.
        name: The branch's name; None: one is made up.

    Raises:
        ValueError: No branch can be called that.
    """
    if name is not None:
        check_branch(name)
    if step is not None:
        thread = yield from read_thread(store, codec, place.thread, place.scope)
        place = place._replace(at=place_of_step(*thread[:2], place.branch, step), branch=None)
    base = yield from load_frame(
        store, codec, place.thread, place.scope, at=place.at, branch=place.branch
    )
    if base is None:
        raise UnknownCheckpointError(f"Thread {place.thread!r} has no checkpoint to fork from.")
    name = f"fork-{base.newest_seq + 1}" if name is None else name
    yield from fork(store, codec, place, base, name, with_frame=True)
    return name


def edited_config(editing: Editing, turn: Turn) -> Config:
    """Return the config of the checkpoint that an update made."""
    branch = editing.recorder.branch or Branch(0, 0, "main", None, -1, -1)
    seq = turn.commit.frames[-1].seq if turn.commit else branch.head
    return config_of(editing.place.thread, editing.place.scope, branch.ordinal, seq)
