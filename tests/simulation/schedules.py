"""Schedules: a world in one thread, with one store and processes that want to run one thread of it.

Everything that decides is the real thing: `Run` opens, the machine decides, `Saver` and `Recorder`
say what is stored when, `Claim` takes and loses the branch. Only who carries them is simulated: a
process is a generator that stops before everything that takes time, and the world draws from its
seed who goes on, and what becomes of it.

    unit        what the store does at once: a verb, or what lies between `begin` and `end`
    process     runs the thread to its end, as a program would: reads, gives input or an answer or
                nothing, runs, begins again when it was refused or told that the store failed
    fate        what becomes of a unit: crashes before and after it, acknowledgements that are
                lost, units that are carried out twice, or later than everybody thinks
    clock       the store's; it jumps. Processes that sleep too long lose their lease

`Ledger` is told of all that the store has carried out and of all that was acknowledged, and knows
what may not be.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, NamedTuple

from pydantic import ValidationError

from graphflow import Command, Interrupt, MemoryCheckpointer
from graphflow.checkpoint.check import check_thread
from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.frames import unpack_row
from graphflow.checkpoint.history import Checkpoint, load
from graphflow.checkpoint.indexing import tags_in
from graphflow.checkpoint.leases import BEATS, Claim
from graphflow.checkpoint.protocol import Lease, Operation
from graphflow.checkpoint.records import Commit, RowKind
from graphflow.drivers.call import failed, perform
from graphflow.drivers.calling import Caller
from graphflow.drivers.driver import Driver
from graphflow.drivers.saving import Saver, _claims_an_answer
from graphflow.engine.superstep import open_questions
from graphflow.engine.turn import Outcome, Status, Task
from graphflow.errors import (
    AlreadyAnswered,
    CheckpointError,
    Fenced,
    HeadMoved,
    StoreUnavailableError,
    ThreadBusy,
)
from graphflow.nesting import nest
from graphflow.running import Run
from graphflow.runtime import TaskContext, enter_task, leave_task
from graphflow.testing.simulation import Crash
from graphflow.types import Durability

from .scheduled_graphs import ANSWERS, FITTING, Scheduled, given_inside, taken_outside

THREAD = "t"
TAGS = ("customer",)
CONFIG = {"configurable": {"thread_id": THREAD}, "metadata": {"customer": "ada"}}
INPUT = {"log": ["input"], "turns": 0}
GO_ON = object()
ENDED = object()
LEASE = 30.0
"""Seconds that a lease lasts."""
JUMP = 3600.0
"""Seconds that the store's clock may jump, either way."""
PATIENCE = 6_000
"""Steps after which a schedule must have ended; the longest undisturbed one takes 250."""
Steps = Generator[Any, None, Any]
"""Yields before everything that takes time: what is about to happen."""


class Violation(BaseException):
    """Something happened that must never happen; no code of the product catches it."""


class Withdrawn(Exception):
    """A program has found that its input is not wanted any more."""


# -- the store, as a process sees it ---------------------------------------------------------------


class Call(NamedTuple):
    """One verb, as it goes to the store."""

    verb: str
    args: tuple[Any, ...]
    named: dict[str, Any]


def _verb(name: str) -> Any:
    def verb(self: Wire, *args: Any, **named: Any) -> Operation[Any]:
        return (yield Call(name, args, named))

    return verb


class Wire(Checkpointer):
    """One process's way to the store: every verb asks the world to be carried out."""

    lease_seconds = LEASE
    tags = TAGS

    def __init__(self, process: Process) -> None:
        self.process = process

    def run(self, operation: Operation[Any]) -> Any:
        steps = self.process.carried(operation)
        try:
            while True:
                next(steps)
        except StopIteration as stop:
            return stop.value

    async def arun(self, operation: Operation[Any]) -> Any:
        return self.run(operation)


for _name in (
    "begin",
    "end",
    "put_tags",
    *sorted(Checkpointer.__abstractmethods__ - {"run", "arun"}),
):
    setattr(Wire, _name, _verb(_name))
Wire.__abstractmethods__ = frozenset()

WRITES = frozenset({"append", "put_rows", "claim", "renew", "release", "put_snapshot"})


class Fate(Enum):
    """What becomes of a unit."""

    FINE = "is carried out"
    CRASH_BEFORE = "the process dies before"
    CRASH_AFTER = "the process dies after"
    CRASH_ON_THE_WAY = "the process dies; carried out later"
    FAILED = "is not carried out: told so"
    LOST = "is carried out; told that it failed"
    LATE = "told that it failed; carried out later"
    TWICE = "is carried out twice at once; told of the first"
    RESENT = "is carried out twice at once; told of the second"
    AGAIN = "is carried out, and again later"


CRASHES = frozenset({Fate.CRASH_BEFORE, Fate.CRASH_AFTER, Fate.CRASH_ON_THE_WAY})
NOT_DONE = frozenset({Fate.CRASH_BEFORE, Fate.FAILED})
LATER = frozenset({Fate.CRASH_ON_THE_WAY, Fate.LATE})
OF_WRITES = (*(fate for fate in Fate if fate is not Fate.FINE), Fate.CRASH_AFTER, Fate.LOST)
OF_READS = (Fate.CRASH_BEFORE, Fate.FAILED)


TWO = frozenset({Fate.TWICE, Fate.RESENT, Fate.AGAIN})
SAID_TO_FAIL = frozenset({Fate.FAILED, Fate.LOST, Fate.LATE})
Done = tuple[Call, Any]
"""A verb that was carried out, and its result."""


class _Undone(Exception):
    """Makes the store take back what has not arrived yet."""


# -- what may never be -----------------------------------------------------------------------------


class Ledger:
    """Knows what the store has carried out and acknowledged, and what may not be."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tick = 0
        self.holders: dict[tuple[str, str], tuple[str, float]] = {}
        """By thread and branch: the owner, and until when by the store's clock."""
        self.claimed: dict[str, int] = {}
        """By owner: when it had its lease first, in ticks."""
        self.scopes: dict[int, str] = {}
        self.heads: dict[int, int] = {}
        self.acknowledged: dict[int, int] = {}
        """By branch: the newest frame that somebody was told of."""
        self.bodies: dict[tuple[int, int], bytes] = {}
        """By branch and seq: the frames that somebody was told of."""
        self.rows: dict[tuple[int, int], set[tuple[int, int, int]]] = {}
        """By branch and head: the rows that somebody was told of."""
        self.closed: dict[tuple[str, int], tuple[str, int]] = {}
        """By scope and head: who was told, and when, that the superstep is closed."""
        self.results: dict[tuple[str, int, int], tuple[str, int]] = {}
        """By scope, head and place: who was told, and when, that the task's result is kept."""
        self.answered: set[tuple[int, int, int, int]] = set()
        self.answers: dict[str, str] = {}
        """By question: the answer that the store took."""
        self.noting: dict[str, Callable[..., None]] = {
            "claim": self._claim,
            "renew": self._renew,
            "release": self._release,
            "create_branch": self._create_branch,
            "append": self._append,
            "put_rows": self._put_rows,
            "branches": self._branches,
            "rows": self._rows,
        }
        """By verb: what is noted when the store has carried it out; given its result first."""

    def _claim(self, result: Any, lease: Lease, seconds: float, over: str = "") -> None:
        if result is not None:
            return
        owner, until = self.holders.get(lease[:2], ("", 0.0))
        if owner not in ("", lease.owner) and until > self.world.now and self._is_live(owner):
            raise Violation(f"{lease.branch!r} has two holders: {self.world.name_of(owner)} too")
        self.holders[lease[:2]] = (lease.owner, self.world.now + seconds)
        self.claimed.setdefault(lease.owner, self.tick)

    def _is_live(self, owner: str) -> bool:
        place, _, fence = owner.rpartition("/")
        process = self.world.processes_by_place[place]
        return not process.is_dead and int(fence, 16) in process.held

    def _renew(self, result: bool, lease: Lease, seconds: float) -> None:
        is_holder = self.holders.get(lease[:2], ("",))[0] == lease.owner
        if result is not is_holder:
            raise Violation(f"renewed is {result} for a holder: {is_holder}")
        if result:
            self.holders[lease[:2]] = (lease.owner, self.world.now + seconds)

    def _release(self, result: None, lease: Lease) -> None:
        if self.holders.get(lease[:2], ("",))[0] == lease.owner:
            del self.holders[lease[:2]]

    def _create_branch(self, made: Any, thread: str, scope: str, *_: Any) -> None:
        if scope in self.scopes.values():
            raise Violation(f"a branch was made that nobody asked for: {made.name!r} in {scope!r}")
        if scope and not self.has_frames(scope.rpartition("|")[0]):
            raise Violation(f"{scope!r} is stored before the graph around it")
        self.scopes[made.id] = scope
        self.heads[made.id] = made.head

    def has_frames(self, scope: str) -> bool:
        """Whether anything is stored in a scope."""
        return any(self.heads[branch] >= 0 for branch, each in self.scopes.items() if each == scope)

    def _check_holder(self, lease: Lease | None, what: str) -> None:
        if lease is None:
            raise Violation(f"{what} without a lease")
        if self.holders.get(lease[:2], ("",))[0] != lease.owner:
            raise Violation(f"{what} of {self.world.name_of(lease.owner)} without its lease")

    def _append(
        self, _: Any, branch: int, head: int, frames: Any, *, drop_rows: bool, lease: Any = None
    ) -> None:
        self._check_holder(lease, f"frames behind {head}")
        if self.heads[branch] != head:
            raise Violation(f"frames behind {head}, but the head was {self.heads[branch]}")
        self.heads[branch] = frames[-1].seq

    def _put_rows(
        self, _: Any, branch: int, head: int, rows: Any, withdrawn: Any, *, lease: Any = None
    ) -> None:
        self._check_holder(lease, f"rows at {head}")
        if self.heads[branch] != head:
            raise Violation(f"rows at {head}, but the head was {self.heads[branch]}")
        for row in rows:
            if row.kind == RowKind.ANSWER:
                self._note_answer(branch, head, row)
        for row in withdrawn:
            self.rows.get((branch, head), set()).discard(row[:3])
            if row.kind == RowKind.ANSWER:
                self._note_refusal(branch, head, row)

    def _note_answer(self, branch: int, head: int, row: Any) -> None:
        place = (branch, head, row.place, row.number)
        if place in self.answered:
            raise Violation(f"a question was answered twice: {place}")
        self.answered.add(place)
        if self.scopes[branch] == "":
            asked, answer = self._asked(branch, row)
            self.answers[asked.value] = said(answer)

    def _note_refusal(self, branch: int, head: int, row: Any) -> None:
        asked, answer = self._asked(branch, row)
        if asked.response_schema is None or said(answer) in FITTING:
            raise Violation(f"an answer was taken back that fits: {answer}")
        self.answered.discard((branch, head, row.place, row.number))

    def _asked(self, branch: int, row: Any) -> tuple[Interrupt, Any]:
        codec, stored = self.world.codec, self.world.memory._lines[branch].rows
        asked = unpack_row(codec, stored[row.place, RowKind.QUESTION, row.number]).value
        return asked, unpack_row(codec, row).value

    def _branches(self, found: Any, *_: Any) -> None:
        for branch in found:
            if branch.head < self.acknowledged.get(branch.id, -1):
                raise Violation(f"frame {self.acknowledged[branch.id]} is lost: {branch}")

    def _rows(self, found: Any, branch: int, head: int) -> None:
        kept = self.rows.get((branch, head))
        if kept is None:
            return
        if head == self.heads[branch] and (lost := kept.difference(row[:3] for row in found)):
            raise Violation(f"rows at {head} are lost: {lost}")

    def acknowledge(self, call: Call) -> None:
        """Note that somebody was told that this has been done."""
        lease: Lease | None = call.named.get("lease")
        owner = "" if lease is None else lease.owner
        if call.verb == "append":
            branch, head, frames = call.args
            self.acknowledged[branch] = frames[-1].seq
            self.closed[self.scopes[branch], head] = (owner, self.tick)
            for frame in frames:
                self.bodies[branch, frame.seq] = frame.body
                if frame is not frames[-1]:
                    self.closed[self.scopes[branch], frame.seq] = (owner, self.tick)
        else:
            branch, head, rows, withdrawn = call.args
            kept = self.rows.setdefault((branch, head), set())
            kept.update(row[:3] for row in rows)
            kept.difference_update(row[:3] for row in withdrawn)
            for row in rows:
                if row.kind == RowKind.RESULT:
                    self.results[self.scopes[branch], head, row.place] = (owner, self.tick)

    def executing(self, owner: str, scope: str, head: int, place: int) -> None:
        """Note that a node is about to be run."""
        since = self.claimed.get(owner)
        if since is None:
            raise Violation(f"task {place} of {scope!r} at {head} is run without a lease")
        for told in (self.closed.get((scope, head)), self.results.get((scope, head, place))):
            if told is not None and (told[0] == owner or told[1] < since):
                raise Violation(f"task {place} of {scope!r} at {head} is run again")

    def check_frames(self) -> None:
        """Check that all that was acknowledged is there."""
        lines = self.world.memory._lines
        stored = {
            (branch, frame.seq): frame.body
            for branch, line in lines.items()
            for frame in line.frames
        }
        for place, body in self.bodies.items():
            if stored.get(place) != body:
                raise Violation(f"frame {place[1]} of {self.scopes[place[0]]!r} is lost")

    def check_tags(self) -> None:
        """Check that the thread has the tags that its frames tell of."""
        memory = self.world.memory
        lines = [memory._lines[number] for number in memory._threads.get(THREAD, {}).get("", ())]
        told = tags_in(
            TAGS, ((line.branch.ordinal, each) for line in lines for each in line.frames)
        )
        if dict(told) != memory._tags.get(THREAD, {}):
            raise Violation("the tags of the thread are not those of its frames")


# -- a process -------------------------------------------------------------------------------------


class SimulatedClaim(Claim):
    """A claim of a simulated process."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.wire)
        self.process = process

    def place(self) -> str:
        return self.process.place

    def is_over(self, owner: str) -> bool:
        place, _, fence = owner.rpartition("/")
        if place == self.process.place:
            return int(fence, 16) not in self.process.held
        return place in self.process.world.known_dead

    def hold(self, lease: Lease) -> None:
        self.process.held[lease.fence] = self
        self.due = self.process.world.elapsed + LEASE / BEATS

    def let_go(self, lease: Lease) -> None:
        self.process.held.pop(lease.fence, None)

    def beat(self) -> None:
        """Renew, as the thread does that renews."""
        self.renew()
        self.due = self.process.world.elapsed + LEASE / BEATS


def said(answer: Any) -> str:
    """Return what a person said."""
    text: str = answer["said"] if isinstance(answer, dict) else answer
    return text


class Process:
    """A program that wants the thread to be run to its end."""

    def __init__(self, world: World, slot: int, number: int) -> None:
        self.world = world
        self.name = f"{'ABC'[slot]}{number}"
        self.slot = slot
        self.place = f"machine/{self.name}/"
        self.wire = Wire(self)
        self.held: dict[int, SimulatedClaim] = {}
        self.is_dead = False
        self.is_done = False
        self.wakes = 0.0
        """When it goes on, in elapsed seconds."""
        self.sleeps_until = 0.0
        """Until when it is stopped altogether, and renews no lease."""
        self.flights: list[Flight] = []
        """What is being stored in the background."""
        self.steps = self.program()

    def step(self) -> None:
        """Go on up to the next moment that takes time."""
        flights = self.flights
        try:
            if flights and self.world.dice.random() < 0.5:
                flights[-1].step()
                return
            next(self.steps)
        except StopIteration:
            self.is_done = True
        except Crash:
            self.world.bury(self)

    def program(self) -> Steps:
        world, given = self.world, None
        while given is not ENDED:
            try:
                if given is None:  # it does not know where the thread stands
                    found = yield from self.carried(load(self.wire, world.codec, THREAD))
                    given = world.given(found)
                if given is not ENDED:
                    asked = yield from self.run(given)
                    given = world.answering(asked) if asked else None
            except ThreadBusy as busy:
                world.note(self, "finds the branch busy")
                world.check_busy(busy)
                given = None
                self.wakes = world.elapsed + world.nap(busy.retry_after)
            except (Fenced, HeadMoved, AlreadyAnswered, StoreUnavailableError, Withdrawn) as error:
                world.note(self, f"stops: {type(error).__name__}")
                given = None
                self.wakes = world.elapsed + world.nap(1.0)
            except ValidationError:
                world.note(self, "hears that an answer does not fit")
                given = None
            yield "begins again"

    def run(self, given: Any) -> Steps:
        world = self.world
        app, call = world.graph.app, world.call
        given = None if given is GO_ON else given
        run = Run(app.plan, self.wire, app.codec, None, None, given, call, None)
        run.clock = lambda: world.elapsed
        run.claim = claim = SimulatedClaim(self)
        try:
            opened = yield from self.carried(self._opening(run, given))
        except Exception:
            if (release := claim.release()) is not None:
                yield from self._suppressed(release)
            raise
        yield from Carriage(self, run, opened, world.graph).carry()
        return opened.machine.raised()

    def _opening(self, run: Run, given: Any) -> Operation[Any]:
        """Open; a program that began the thread gives its input back if it comes too late."""
        operation = run._opening()
        result = None
        while True:
            try:
                call = operation.send(result)
            except StopIteration as stop:
                return stop.value
            try:
                result = yield call
            except BaseException as error:
                operation.throw(error)
                raise AssertionError("a failure of the store was ignored") from error
            if call.verb == "claim" and result is None and given is INPUT and self.world.has_begun:
                operation.throw(Withdrawn())

    def carried(self, operation: Operation[Any]) -> Steps:
        """Carry out an operation, unit by unit."""
        world = self.world
        try:
            call = next(operation)
            while True:
                yield call
                try:
                    result = world.unit(self, operation, call)
                except CheckpointError as error:
                    call = operation.throw(error)
                else:
                    call = operation.send(result)
        except StopIteration as stop:
            return stop.value

    def _suppressed(self, operation: Operation[Any]) -> Steps:
        with suppress(CheckpointError):
            yield from self.carried(operation)


class Flight:
    """Something that is stored in the background."""

    def __init__(self, process: Process, steps: Steps) -> None:
        self.process = process
        self.steps = steps
        self.is_over = False
        self.error: CheckpointError | None = None
        process.flights.append(self)

    def step(self) -> None:
        try:
            next(self.steps)
        except StopIteration:
            self._end()
        except CheckpointError as error:
            self.error = error
            self._end()

    def _end(self) -> None:
        self.is_over = True
        self.process.flights.remove(self)

    def settle(self) -> Steps:
        while not self.is_over:
            yield "waits for what is stored in the background"
            if not self.is_over:
                self.step()
        if self.error is not None:
            raise self.error


class Carriage(Caller):
    """Carries one run of a process, and saves its commits as the drivers do."""

    def __init__(self, process: Process, run: Run, opened: Any, graph: Scheduled) -> None:
        self.process = process
        self.world = process.world
        self.graph = graph
        self.machine = run.machine = opened.machine
        self.turn = opened.turn
        self.context = run.context(opened)
        self.context.caller = self
        around = None if run.nested is None else run.nested.task.run.caller
        durability = self.context.durability
        self.saver = Saver(opened.recorder, durability, run._is_kept, around, run.claim)
        self.flight: Flight | None = None
        self.scope = "|".join(self.context.scope)

    # -- driving -------------------------------------------------------------------------------

    def carry(self) -> Steps:
        """Run to the end."""
        try:
            try:
                yield from self._turns()
            except Exception:
                self.context.caller = None
                with suppress(CheckpointError):
                    yield from self.finish()
                raise
            self.context.caller = None
            yield from self.finish()
        except CheckpointError as lost:
            raise Driver.blamed(self, lost)  # noqa: B904  # it has its cause
        if self.machine.error is not None:
            raise self.machine.error

    def _turns(self) -> Steps:
        turn, world = self.turn, self.world
        working: list[Generator[Any, None, Outcome]] = []
        while True:
            if turn.commit is not None:
                yield from self.save(turn.commit)
            if turn.status is Status.RUNNING:
                working += [self.perform(task) for task in turn.tasks]
            elif self.machine.error is None or not working:
                return
            outcomes: list[Outcome] = []
            together = 1 + int(world.dice.random() ** 2 * len(working))
            while not outcomes or (working and len(outcomes) < together):
                steps = working[int(world.dice.random() * len(working))]
                try:
                    yield next(steps)
                except StopIteration as stop:
                    working.remove(steps)
                    outcomes.append(stop.value)
            turn = self.machine.complete(outcomes, world.elapsed)

    def perform(self, task: Task) -> Steps:
        """Perform a task; yields before it is begun."""
        context = TaskContext(self.context, task)
        yield task
        try:
            lease = self.context.lease
            owner = "" if lease is None else lease.owner
            self.world.ledger.executing(owner, self.scope, task.head, task.index)
            self.world.note(self.process, f"runs {task.name} of {self.graph.name}")
            if task.name in self.graph.inner:
                returned = yield from self._called(self.graph.inner[task.name], context)
                steps = perform(self.machine, context, task, False, returned)
            else:
                steps = perform(self.machine, context, task, False)
            return _ended(steps, context)
        except BaseException as error:
            if isinstance(error, (Violation, Crash, GeneratorExit)):
                raise
            return failed(task, error)

    def _called(self, graph: Scheduled, context: TaskContext) -> Steps:
        app, wire = graph.app, self.process.wire
        nested = nest(app.checkpointer, None, context)
        assert nested is not None
        call = app._call(None, nested=nested, modes=())
        given = given_inside(context.task.values)
        run = Run(app.plan, wire, app.codec, None, None, given, call, nested)
        run.clock = lambda: self.world.elapsed
        opened = yield from self.process.carried(run._opening())
        yield from Carriage(self.process, run, opened, graph).carry()
        run._pass_on_pause(nested)
        return taken_outside(run.result("v1"))

    # -- saving, as `Saver` does -----------------------------------------------------------------

    def save(self, commit: Commit) -> Steps:
        work = self.saver._work(commit)
        if work is None:
            return
        yield from self._prepare()
        if self.saver.in_background and not _claims_an_answer(commit):
            self.flight = Flight(self.process, self._store(work))
        else:
            yield from self._store(work)

    def _prepare(self) -> Steps:
        saver = self.saver
        if saver.around is not None:
            yield from saver.around.anchored()  # type: ignore[attr-defined]  # one of these
            saver.around = None
        yield from self._settle()
        saver._check()

    def _settle(self) -> Steps:
        flight, self.flight = self.flight, None
        if flight is not None:
            yield from flight.settle()

    def anchored(self) -> Steps:
        yield from self._prepare()
        self.saver.is_anchored = True
        work = self.saver._rest()
        if work is not None:
            yield from self._store(work)

    def _store(self, work: Any) -> Steps:
        operation, compaction = work
        try:
            yield from self.process.carried(operation)
        except Exception as error:
            self.saver.failure = error
            raise
        if compaction is not None:
            yield from self.process._suppressed(compaction)

    def finish(self) -> Steps:
        try:
            yield from self._settle()
            work = self.saver._rest()
            if work is not None:
                yield from self._prepare()
                yield from self._store(work)
        except Exception:
            yield from self._released()
            raise
        yield from self._released()

    def _released(self) -> Steps:
        release = self.saver._release()
        if release is not None:
            yield from self.process._suppressed(release)

    # -- calls of tasks: these graphs make none --------------------------------------------------

    def begin_in_thread(self, future: Any) -> None:
        raise NotImplementedError

    def note(self, ended: Any) -> None:
        raise NotImplementedError

    async def anote(self, ended: Any) -> None:
        raise NotImplementedError

    def anchor(self) -> None:
        raise NotImplementedError

    async def aanchor(self) -> None:
        raise NotImplementedError


def _ended(steps: Any, context: TaskContext) -> Outcome:
    token = enter_task(context)
    try:
        next(steps)
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome
    finally:
        leave_task(token)
    raise AssertionError("these nodes wait for nothing")


# -- the world -------------------------------------------------------------------------------------


class Script(NamedTuple):
    """An undisturbed run: one process, and these answers; `seed` decides the rest."""

    durability: Durability
    answers: tuple[tuple[str, str], ...]


class World:
    """Plays one schedule.

    Args:
        seed: Decides everything.
        graphs: Which of them is run depends on the seed, too.
        memory: Makes the store.
        script: Plays an undisturbed run of this instead.
    """

    def __init__(
        self,
        seed: int,
        graphs: Sequence[Scheduled],
        memory: Callable[[], MemoryCheckpointer] = MemoryCheckpointer,
        script: Script | None = None,
    ) -> None:
        self.seed = seed
        self.dice = dice = random.Random(seed)
        self.graph = dice.choice(graphs)
        self.durability: Durability = dice.choice(("sync", "sync", "async", "async", "exit"))
        self.codec: Codec = self.graph.app.codec
        self.memory = memory()
        self.memory.clock = lambda: self.now
        self.elapsed = 1000.0
        """Seconds that have really gone by."""
        self.skew = JUMP * 20
        """By how much the store's clock is ahead of that."""
        self.jumped = 0.0
        """By how many seconds that has gone back at most."""
        self.pace = dice.choice((0.01, 0.5, 4.0))
        """How many seconds a step takes at most."""
        self.hurry = dice.choice((0.1, 0.4))
        """How probable it is that who was refused tries again at once."""
        self.faults = dice.choice((0, 1, 1, 2, 3, 4, 6))
        """How many are left."""
        self.rate = dice.choice((0.03, 0.1, 0.3))
        """How probable one is, at each unit."""
        self.script = script
        self.log: list[tuple[float, str, Any]] = []
        self.late: list[list[Call]] = []
        """What is on its way to the store."""
        self.known_dead: set[str] = set()
        """Processes of which everybody knows that they are dead."""
        self.processes_by_place: dict[str, Process] = {}
        self.started = 0
        self.ledger = Ledger(self)
        count = dice.choice((2, 2, 2, 3))
        if script is not None:
            count, self.faults, self.durability = 1, 0, script.durability
        self.call = _call_of(self.graph, self.durability)
        self.processes = [self.begin(slot) for slot in range(count)]

    @property
    def now(self) -> float:
        """The time by the store's clock."""
        return self.elapsed + self.skew

    # -- playing -------------------------------------------------------------------------------

    def play(self) -> World:
        """Play to the end.

        Raises:
            AssertionError: Something happened that must never happen; with the steps up to there.
        """
        try:
            self._play()
        except Violation as violation:
            raise AssertionError(f"{violation}\n{self.describe()}") from violation
        except Exception as error:
            raise AssertionError(f"{error!r}\n{self.describe()}") from error
        for process in self.processes_by_place.values():  # else the collector has to find all this
            process.held.clear()
            del process.steps
        return self

    def _play(self) -> None:
        for _ in range(PATIENCE):
            able = [process for process in self.processes if not process.is_done]
            if not able:
                break
            self._step(able)
        else:
            raise Violation("the schedule does not end")
        while self.late:
            self._deliver(self.late.pop(0))
        self.ledger.check_frames()
        self.ledger.check_tags()
        if self.script is None:
            self.check_end()

    def _step(self, able: list[Process]) -> None:
        dice = self.dice
        self.elapsed += dice.random() * self.pace
        if self.faults and dice.random() < 0.02:
            self._disturb(able)
        if self.late and dice.random() < 0.1:
            self._deliver(self.late.pop(int(dice.random() * len(self.late))))
        elapsed = self.elapsed
        ready = []
        for process in able:
            if process.sleeps_until <= elapsed:
                for claim in [*process.held.values()] if process.held else ():
                    if claim.due <= elapsed:
                        self._renew(process, claim)
                if process.wakes <= elapsed:
                    ready.append(process)
        if not ready:
            self.elapsed = min(max(each.wakes, each.sleeps_until) for each in able)
            return
        process = ready[int(dice.random() * len(ready))]
        if not process.is_dead:
            process.step()

    def _renew(self, process: Process, claim: SimulatedClaim) -> None:
        try:
            claim.beat()
        except Crash:
            self.bury(process)

    def _disturb(self, able: list[Process]) -> None:
        self.faults -= 1
        if self.dice.random() < 0.5:
            process = self.dice.choice(able)
            process.sleeps_until = self.elapsed + self.dice.uniform(0.5, 4.0) * LEASE
            self.note(process, f"sleeps until {process.sleeps_until:.1f}")
            if self.dice.random() < 0.5:  # many steps of the others, or none
                self.pace = 4.0
            return
        jump = self.dice.uniform(-JUMP, JUMP)
        self.skew += jump
        self.jumped += max(0.0, -jump)
        self.note(None, f"the clock jumps by {jump:.0f} s")

    def begin(self, slot: int) -> Process:
        """Start a process."""
        self.started += 1
        process = Process(self, slot, self.started)
        self.processes_by_place[process.place] = process
        return process

    def bury(self, process: Process) -> None:
        """Note that a process has died, and start the next one in its place."""
        process.is_dead = True
        process.flights.clear()
        if self.dice.random() < 0.5:
            self.known_dead.add(process.place)
        following = self.processes[process.slot] = self.begin(process.slot)
        following.wakes = self.elapsed + self.dice.random() * 20.0
        is_known = "as everybody knows" if process.place in self.known_dead else "and nobody knows"
        self.note(process, f"is dead, {is_known}")

    def nap(self, seconds: float) -> float:
        """Draw how long a process waits until it tries again: about so long, or not at all."""
        share = self.dice.random()
        return 0.0 if share < self.hurry else seconds * (0.3 + share)

    # -- what programs do ----------------------------------------------------------------------

    @property
    def has_begun(self) -> bool:
        """Whether the thread has anything."""
        return self.ledger.has_frames("")

    def given(self, found: Checkpoint | None) -> Any:
        """Return what a program gives that has found this; `ENDED`: nothing is left to do."""
        if found is None:
            return INPUT
        questions = open_questions(found.rows)
        if questions:
            return self.answering(questions)
        return GO_ON if found.frame.pending else ENDED

    def answering(self, questions: Sequence[Interrupt]) -> Any:
        """Return what answers some questions, or all."""
        count = 1 + int(self.dice.random() * len(questions))
        return Command(resume={q.id: self._answer(q) for q in questions[:count]})

    def _answer(self, question: Interrupt) -> Any:
        if self.script is not None:
            text = dict(self.script.answers)[question.value]
        else:
            text = ANSWERS[int(self.dice.random() * len(ANSWERS))]
        return text if question.response_schema is None else {"said": text}

    def check_busy(self, busy: ThreadBusy) -> None:
        """Check that nobody has to wait for longer than a lease lasts."""
        if not 0 < busy.retry_after <= LEASE + self.jumped + 1e-6:
            raise Violation(f"a branch is to be busy for another {busy.retry_after} s")

    # -- units ---------------------------------------------------------------------------------

    def unit(self, process: Process, operation: Operation[Any], call: Call) -> Any:
        """Carry out what the store does at once, and return what the operation is told.

        Raises:
            CheckpointError: The store refuses it, or is said to have failed.
            Crash: The process dies.
        """
        fate = self._fate(call) if self.faults else Fate.FINE
        self.log.append((self.elapsed, process.name, (call, fate)))
        if fate is not Fate.FINE:
            return self._disturbed(operation, call, fate)
        done: list[Done] = []
        result = self.memory.run(self._carrying(operation, call, done))
        self._observe(done)
        self._acknowledge(done)
        return result

    def _disturbed(self, operation: Operation[Any], call: Call, fate: Fate) -> Any:
        done: list[Done] = []
        result = error = None
        if fate in LATER and call.verb != "begin":
            self.late.append([(call, None)])
        elif fate not in NOT_DONE:
            try:
                result = self.memory.run(self._carrying(operation, call, done, fate in LATER))
            except _Undone:
                self.late.append(done)
            except CheckpointError as refused:
                error = refused
            else:
                self._observe(done)
                if fate in TWO:
                    result, error = self._again(done, result, fate)
        if fate in CRASHES:
            raise Crash
        if fate in SAID_TO_FAIL:
            raise StoreUnavailableError("the store does not answer")
        if error is not None:
            raise error
        self._acknowledge(done)
        return result

    def _fate(self, call: Call) -> Fate:
        dice = self.dice
        if dice.random() >= self.rate:
            return Fate.FINE
        if call.verb in WRITES or call.named:
            self.faults -= 1
            return OF_WRITES[int(dice.random() * len(OF_WRITES))]
        if dice.random() < 0.9:
            return Fate.FINE
        self.faults -= 1
        return OF_READS[int(dice.random() * len(OF_READS))]

    def _carrying(
        self, operation: Operation[Any], call: Call, done: list[Done], is_late: bool = False
    ) -> Operation[Any]:
        """Carry out a verb, or all from `begin` to `end`; the last result is not told yet."""
        memory = self.memory
        is_alone = call.verb != "begin"
        if not is_alone:
            call = operation.send(None)
        result = None
        while call.verb != "end":
            result = yield from getattr(memory, call.verb)(*call.args, **call.named)
            done.append((call, result))
            if is_alone:
                return result
            call = operation.send(result)
        if is_late:
            raise _Undone
        return None

    def _again(self, done: list[Done], result: Any, fate: Fate) -> tuple[Any, Any]:
        """Carry out a second time what has been done; return what the process is told."""
        if fate is Fate.AGAIN and not any(map(_may_not_be_late, done)):
            self.late.append(done)
            return result, None
        before = self.contents()
        again = self._deliver(done)
        if self.contents() != before:
            raise Violation("what was sent twice was stored twice")
        return again if fate is Fate.RESENT else (result, None)

    def _deliver(self, done: list[Done]) -> tuple[Any, CheckpointError | None]:
        """Carry out what arrives at the store without being waited for."""
        calls: list[Done] = []
        error = None
        try:
            self.memory.run(self._replayed(done, calls))
        except CheckpointError as refused:
            error = refused
        else:
            self._observe(calls)
        self.log.append((self.elapsed, "", (done, error)))
        return (calls[-1][1] if calls else None), error

    def _replayed(self, done: list[Done], calls: list[Done]) -> Operation[None]:
        made: dict[Any, Any] = {}
        for (verb, args, named), result in done:
            if verb in ("append", "put_rows"):
                args = (made.get(args[0], args[0]), *args[1:])
            found = yield from getattr(self.memory, verb)(*args, **named)
            if verb == "create_branch":
                made[result.id] = found.id
            calls.append((Call(verb, args, named), found))

    def _observe(self, done: list[Done]) -> None:
        noting = self.ledger.noting
        for call, result in done:
            noted = noting.get(call.verb)
            if noted is not None:
                self.ledger.tick += 1
                noted(result, *call.args, **call.named)

    def _acknowledge(self, done: list[Done]) -> None:
        for call, _ in done:
            if call.verb in ("append", "put_rows"):
                self.ledger.acknowledge(call)

    # -- the end -------------------------------------------------------------------------------

    def contents(self) -> Any:
        """Return all that is stored, but for times and the store's own numbers."""
        lines = self.memory._lines.values()
        scopes = self.ledger.scopes
        return sorted(
            (
                scopes.get(line.branch.id, ""),
                line.branch.ordinal,
                line.branch.name,
                [(frame.seq, frame.body) for frame in line.frames],
                sorted(line.rows.values()),
                sorted(line.snapshots.items()),
            )
            for line in lines
        )

    def values(self) -> Any:
        """Return the thread's state."""
        found = self.memory.run(load(self.memory, self.codec, THREAD))
        return None if found is None else found.values

    def check_end(self) -> None:
        """Check that what is stored in the end is what it would be had nothing happened."""
        durability: Durability = "exit" if self.durability == "exit" else "sync"
        script = Script(durability, tuple(sorted(self.ledger.answers.items())))
        expected = undisturbed(self.graph, script)
        if expected.stored == self.contents():  # of that it is known that it can be read
            return
        problems = self.memory.run(check_thread(self.memory, self.codec, THREAD))
        if problems:
            raise Violation(f"the thread is not whole: {problems}")
        if self.values() != expected.values:
            raise Violation(f"the state is {self.values()} instead of {expected.values}")
        if durability != "exit":
            raise Violation("the history is another than that of an undisturbed run")

    def note(self, process: Process | None, what: str) -> None:
        """Add to the list of steps."""
        self.log.append((self.elapsed, "" if process is None else process.name, what))

    def name_of(self, owner: str) -> str:
        """Return which process an owner of a lease belongs to."""
        return self.processes_by_place[owner.rpartition("/")[0]].name

    def describe(self) -> str:
        """Return the schedule as a list of steps."""
        head = (
            f"schedule {self.seed}: graph {self.graph.name!r}, durability {self.durability!r}, "
            f"{len(self.processes)} processes"
        )
        return "\n".join([head, *(_line(self, *entry) for entry in self.log)])


def _may_not_be_late(done: Done) -> bool:
    """Whether a verb must not be carried out again when others have followed it.

    A claim would take back what was given back, or lost, and an answer what was taken back because
    it did not fit: stores keep no memory of those. Connections keep the order.
    """
    call = done[0]
    if call.verb == "put_rows":
        return any(row.kind == RowKind.ANSWER for row in call.args[2])
    return call.verb == "claim"


def _line(world: World, elapsed: float, who: str, what: Any) -> str:
    if isinstance(what, str):
        told = what
    elif isinstance(what[0], Call):
        call, fate = what
        told = _told(world, call) + ("" if fate is Fate.FINE else f"  <- {fate.value}")
    else:
        done, error = what
        verbs = ", ".join(_told(world, call) for call, _ in done)
        outcome = "is carried out" if error is None else f"is refused: {type(error).__name__}"
        told = f"{verbs} arrives again or late, and {outcome}"
    return f"{elapsed - 1000.0:9.2f}  {who:4} {told}"


def _told(world: World, call: Call) -> str:
    scopes = world.ledger.scopes
    if call.verb in ("append", "put_rows", "rows", "frames", "snapshot"):
        inside = scopes.get(call.args[0]) or "main"
        detail = f" at {call.args[1]} of {inside.rpartition('|')[2].partition(':')[0]}"
        if call.verb == "append":
            detail += f": {[frame.seq for frame in call.args[2]]}"
        if call.verb == "put_rows":
            detail += f": {[f'{RowKind(row.kind).name} {row.place}' for row in call.args[2]]}"
        return call.verb + detail
    return call.verb


class Ending(NamedTuple):
    """What an undisturbed run comes to."""

    stored: Any
    values: Any


_endings: dict[tuple[str, Script], Ending] = {}


def undisturbed(graph: Scheduled, script: Script) -> Ending:
    """Return what a thread comes to with these answers, if nothing happens."""
    known = _endings.get((graph.name, script))
    if known is None:
        world = World(0, [graph], script=script).play()
        problems = world.memory.run(check_thread(world.memory, world.codec, THREAD))
        assert problems == [], problems
        assert tuple(sorted(world.ledger.answers.items())) == script.answers
        known = _endings[graph.name, script] = Ending(world.contents(), world.values())
    return known


_calls: dict[tuple[str, Durability], Any] = {}


def _call_of(graph: Scheduled, durability: Durability) -> Any:
    known = _calls.get((graph.name, durability))
    if known is None:
        known = graph.app._call(CONFIG, modes=(), durability=durability)
        _calls[graph.name, durability] = known
    return known
