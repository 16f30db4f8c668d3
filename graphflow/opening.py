"""Opening a run: from an input and a place in a thread to a machine and its first turn.

Decides between new input, an answer, going on, and a replay that forks (contract §5, §14, §15).
Written as an operation, so that blocking and asyncio callers share it; without a checkpointer it
yields nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.frames import pack_frame
from graphflow.checkpoint.history import Checkpoint, load, pick, read_thread
from graphflow.checkpoint.leases import Claim
from graphflow.checkpoint.protocol import MAIN, Operation
from graphflow.checkpoint.recorder import Recorder
from graphflow.checkpoint.records import Frame, RowKind, Source
from graphflow.checkpoint.tags import carried, tags_of
from graphflow.engine.machine import Machine
from graphflow.engine.returns import as_writes, prepared, read_input, read_targets
from graphflow.engine.superstep import open_questions
from graphflow.engine.turn import Options, Start, Turn
from graphflow.errors import (
    AlreadyAnswered,
    EmptyInputError,
    InvalidUpdateError,
    UnknownInterruptError,
)
from graphflow.graph.plan import Plan
from graphflow.ids import run_identity
from graphflow.places import Place
from graphflow.state.channels import AppendChannel, MessagesChannel
from graphflow.travel import Level, Travel, travel_from, way_to
from graphflow.types import START, Command, Interrupt, interrupt_map
from graphflow.upgrading import adopted


class Opened(NamedTuple):
    """A run that is ready to be driven."""

    machine: Machine
    turn: Turn
    recorder: Recorder | None
    place: Place | None
    travel: Travel | None = None
    """Where a graph inside goes on instead of beginning anew."""


def compared_keys(plan: Plan) -> frozenset[str]:
    """Return the keys whose channel does not know what changed."""
    exact = (AppendChannel, MessagesChannel)
    return frozenset(
        key for key, channel in plan.channels.items() if not isinstance(channel, exact)
    )


def open_run(
    plan: Plan,
    options: Options,
    given: Any,
    store: Checkpointer | None,
    codec: Codec,
    place: Place | None,
    claim: Claim | None = None,
    *,
    on_fork: bool = False,
) -> Operation[Opened]:
    """Make a run of `given` ready.

    Args:
        plan: The graph.
        options: How the run goes; its identity is filled in here.
        given: The input, a `Command`, or None to go on.
        store: Where the thread is; None: nowhere.
        codec: How its values are encoded.
        place: Which checkpoint of the thread; None without store.
        claim: Takes the branch for the run before it is loaded; None: nobody needs to.
        on_fork: Whether the run gets a branch of its own, because somebody has the other.

    Raises:
        ThreadBusy: Somebody else is running on the branch.
        EmptyInputError: There is nothing to go on with.
        RuntimeError: A plain answer while several questions are open, or no store to resume from.
        AlreadyAnswered: The question has its answer.
        UnknownInterruptError: Nobody asked the question.
        TypeError: The run's metadata has a tag of a type that it cannot have.
    """
    if store is None or place is None:
        return _open_without_store(plan, options, given)
    tags_of(store.tags, options.metadata)
    way: Sequence[Level] = ()
    if place.scope:
        _check_way_in(given)
        way = yield from way_to(store, codec, place)
        place = Place(place.thread, at=way[0].at)
    if claim is not None and not (way or on_fork):
        base = yield from load_claimed(store, codec, place, claim)
    else:
        base = yield from load(store, codec, place.thread, at=place.at, branch=place.branch)
    base = adopted(plan, base)
    if base is not None and store.tags:
        told = {**carried(store.tags, base.metadata), **options.metadata}
        options = options._replace(metadata=told)
    writes = _input_writes(plan, given, base is None)
    is_replay = base is not None and (is_past(place, base) or bool(way) or on_fork)
    if base is not None and writes is None:
        _check_going_on(plan, base, given, is_replay)
    travel = None
    if base is not None and is_replay:
        step, name = base.frame.step, f"fork-{base.newest_seq + 1}"
        base = yield from fork(store, codec, place, base, name, with_frame=writes is None)
        if way:
            frame = base.frame
            travel = travel_from(place.thread, way[0], frame.pending, step, frame.seq, way[1:])
    new = f"fork-{place.branch or MAIN}" if on_fork else MAIN
    if claim is not None and claim.lease is None:
        yield from claim.take(place.thread, new if base is None else base.branch.name)
    answers: Mapping[str, Any] = {}
    if isinstance(given, Command) and given.resume is not None and base is not None:
        answers = yield from _answers(store, codec, place, base, given.resume)
    recorder = recorder_for(plan, store, codec, place, base, new)
    ordinal = base.branch.ordinal if base else 0
    options = placed(options, place, ordinal)
    machine = Machine(plan, options, start_at(plan, base))
    return Opened(machine, turn_of(machine, given, writes, answers), recorder, place, travel)


def load_claimed(
    store: Checkpointer, codec: Codec, place: Place, claim: Claim
) -> Operation[Checkpoint | None]:
    """Load a checkpoint; its branch is claimed before, unless what comes begins one of its own.

    Of a graph inside, the newest branch of the thread is claimed: a run of that may be in it.

    Raises:
        ThreadBusy: Somebody else is running on the branch.
    """
    while True:
        branches = yield from store.branches(place.thread)
        if place.scope:
            branch = pick(place.thread, branches, None, None)
            yield from claim.take(place.thread, MAIN if branch is None else branch.name)
            return (
                yield from load(
                    store, codec, place.thread, place.scope, at=place.at, branch=place.branch
                )
            )
        branch = pick(place.thread, branches, place.at, place.branch)
        newest = max((known.head for known in branches), default=-1)
        if place.at is None or place.at[0] >= newest:
            yield from claim.take(place.thread, MAIN if branch is None else branch.name)
        base = yield from load(store, codec, place.thread, at=place.at, branch=place.branch)
        if claim.lease is None or base is None or base.branch.name == claim.lease.branch:
            return base
        release = claim.release()  # the thread has another newest branch by now
        assert release is not None
        yield from release


def _check_way_in(given: Any) -> None:
    if given is not None:
        raise InvalidUpdateError(
            "A config with checkpoint_ns addresses a checkpoint inside a graph, from which a run "
            "can only go on: invoke(None, config). Give input and answers to the thread itself."
        )


def _open_without_store(plan: Plan, options: Options, given: Any) -> Opened:
    if isinstance(given, Command) and given.resume is not None:
        raise RuntimeError("Cannot use Command(resume=...) without checkpointer")
    writes = _input_writes(plan, given, True)
    machine = Machine(plan, options._replace(identity=os.urandom(8).hex()), Start(plan.initial()))
    return Opened(machine, turn_of(machine, given, writes, {}), None, None)


def _input_writes(plan: Plan, given: Any, is_fresh: bool) -> Any:
    """Return what new input writes; None when the run goes on with an open superstep."""
    if given is None or isinstance(given, Command):
        if isinstance(given, Command) and given.graph is not None:
            raise InvalidUpdateError("There is no parent graph")
        if not is_fresh:
            return None
        if given is None or (given.update is None and not given.goto):
            raise EmptyInputError(
                "Received no input for __start__: the thread has no checkpoint yet, so there is "
                "nothing to go on with. Give an input."
            )
        return () if given.update is None else read_input(plan, given.update)
    if isinstance(given, (list, tuple)) and not plan.is_root:
        raise InvalidUpdateError(f"Expected dict, got {given!r}")
    return read_input(plan, given)


def placed(options: Options, place: Place, ordinal: int) -> Options:
    """Return options that say where the run stands."""
    return options._replace(
        identity=run_identity(place.thread, place.scope, ordinal),
        place=(place.thread, place.scope, ordinal),
    )


def recorder_for(
    plan: Plan,
    store: Checkpointer,
    codec: Codec,
    place: Place,
    base: Checkpoint | None,
    name: str = MAIN,
) -> Recorder:
    """Return what records a run that starts from `base`, or on a new branch called `name`."""
    keys = compared_keys(plan)
    return Recorder(store, codec, place.thread, place.scope, base, keys, name)


def turn_of(machine: Machine, given: Any, writes: Any, answers: Mapping[str, Any]) -> Turn:
    """Return the first turn: of new input (`writes`), or of going on (None)."""
    plan, now = machine.plan, machine.options.began
    command = given if isinstance(given, Command) else None
    targets = read_targets(plan, command.goto) if command else ()
    if writes is not None:
        return machine.start(writes, now, targets)
    update = () if command is None or command.update is None else as_writes(plan, command.update)
    return machine.resume(now, answers=answers, writes=prepared(plan, update), targets=targets)


def start_at(plan: Plan, base: Checkpoint | None) -> Start:
    if base is None:
        return Start(plan.initial())
    frame = base.frame
    return Start(
        {**plan.initial(), **base.values},
        frame.seq,
        base.newest_seq + 1,
        frame.step,
        frame.pending,
        frame.joins,
        frame.deferred,
        base.rows,
        base.metadata,
        frame,
        _ordinals(base),
    )


def _ordinals(base: Checkpoint) -> tuple[int, int]:
    """Return the numbers of the branches that a checkpoint and the one before it lie on."""
    own, before = base.branch, base.parent_branch.ordinal
    if own.parent is None or base.frame.seq > own.parent_seq:
        return own.ordinal, before
    return before, before  # the branch begins with the next frame


def _check_going_on(plan: Plan, base: Checkpoint, given: Any, is_replay: bool) -> None:
    """Refuse what cannot go on, before anything is written."""
    command = given if isinstance(given, Command) else None
    if command is not None:
        read_targets(plan, command.goto)
        if is_replay and command.resume is not None:
            raise InvalidUpdateError(
                "Command(resume=...) addresses an old checkpoint, whose questions are closed. "
                "Replay it first with invoke(None, config), then answer what it asks."
            )
    names = (*(task.name for task in base.frame.pending), *base.frame.deferred)
    if missing := [name for name in names if name not in plan.nodes]:
        known = ", ".join(name for name in plan.nodes if name != START)
        raise InvalidUpdateError(
            f"The thread waits to run {', '.join(map(repr, missing))}, which this graph does not "
            f"have (it has {known}). If it has another name now, say so with "
            'compile(upgrade=Upgrade(renamed={"old": "new"})); else move the thread on with '
            "update_state(config, values, as_node=...)."
        )


def is_past(place: Place, base: Checkpoint) -> bool:
    return place.at is not None and base.frame.seq < base.newest_seq


def fork(
    store: Checkpointer,
    codec: Codec,
    place: Place,
    base: Checkpoint,
    name: str,
    *,
    with_frame: bool,
) -> Operation[Checkpoint]:
    """Add a branch that continues `base`; one row, and one frame if wanted.

    Raises:
        HeadMoved: The thread has a branch of that name.
    """
    old = base.frame
    yield from store.begin(write=True)
    branch = yield from store.create_branch(
        place.thread, place.scope, name, base.branch.id, old.seq
    )
    seq, newest = old.seq, base.newest_seq
    frame = old
    if with_frame:
        seq = newest = base.newest_seq + 1
        frame = fork_frame(old, seq)
        yield from store.append(branch.id, old.seq, [pack_frame(codec, frame)], drop_rows=False)
    yield from store.end()
    return base._replace(
        branch=branch._replace(head=seq),
        frame=frame,
        rows=(),
        parent_branch=base.branch,
        newest_seq=newest,
    )


def fork_frame(old: Frame, seq: int) -> Frame:
    """Return the frame that opens a replay of `old`: same state, same tasks, no answers."""
    return Frame(
        seq, Source.FORK, old.step + 1, {}, old.pending, old.joins, old.deferred, (), None,
        old.seq, time.time(),
    )  # fmt: skip


def _answers(
    store: Checkpointer, codec: Codec, place: Place, base: Checkpoint, resume: Any
) -> Operation[Mapping[str, Any]]:
    questions = open_questions(base.rows)
    if not questions and not base.frame.pending and interrupt_map(resume) is None:
        raise AlreadyAnswered(
            f"Thread {place.thread!r} has ended and asks nothing; the answer was not used and no "
            "node was run."
        )
    by_id = interrupt_map(resume)
    if by_id is None:
        return _plain_answer(questions, resume)
    known = {question.id for question in questions}
    for identity in by_id:
        if identity not in known:
            yield from _refuse(store, codec, place, identity)
    return by_id


def _plain_answer(questions: tuple[Interrupt, ...], resume: Any) -> Mapping[str, Any]:
    if len(questions) > 1:
        ids = ", ".join(question.id for question in questions)
        raise RuntimeError(
            "When there are multiple pending interrupts, you must specify the interrupt id when "
            f"resuming: Command(resume={{id: answer}}). Open: {ids}."
        )
    return {question.id: resume for question in questions}


def _refuse(store: Checkpointer, codec: Codec, place: Place, identity: str) -> Operation[None]:
    _, frames, rows = yield from read_thread(store, codec, place.thread, place.scope)
    asked = {
        question.id
        for line in frames.values()
        for frame in line
        for task in frame.settled
        for question in task.interrupts
    }
    asked |= {
        row.value.id for line in rows.values() for row in line if row.kind is RowKind.QUESTION
    }
    if identity in asked:
        raise AlreadyAnswered(
            f"Interrupt {identity} of thread {place.thread!r} has been answered or dropped; "
            "no node was run. Look at get_state(config).interrupts for what is open."
        )
    raise UnknownInterruptError(
        f"Thread {place.thread!r} never asked {identity}. "
        "Look at get_state(config).interrupts for what is open."
    )
