"""Running: one call of a graph, from its arguments to its result.

Opens the run where it belongs (a thread, nowhere, or a task of another run), gives it to a driver,
and reads the result off the machine. The blocking and the asyncio side differ only in the waiting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from time import sleep, time
from typing import Any, TypeVar

from graphflow.calls import Call, shaped
from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.leases import Claim, Patience, nap
from graphflow.checkpoint.protocol import Operation
from graphflow.drivers.saving import Saver
from graphflow.drivers.threads import ThreadDriver
from graphflow.engine import chunks
from graphflow.engine.turn import Status
from graphflow.errors import CheckpointError, GraphInterrupt, ThreadBusy
from graphflow.events import Event
from graphflow.graph.plan import Plan
from graphflow.nesting import Nested, open_nested
from graphflow.opening import Opened, open_run
from graphflow.places import place_of
from graphflow.runtime import RunContext
from graphflow.types import INTERRUPT, GraphOutput

T = TypeVar("T")


class Run:
    """One call on its way.

    Args:
        plan: The graph.
        store: Where its checkpoints go; None: nowhere.
        codec: How its values are encoded.
        memory: The store that nodes may ask (`store=` of compile).
        cache: Where results of nodes are kept (`cache=` of compile).
        given: The input.
        call: The other arguments.
        nested: The task that it is part of; None: it stands alone.
    """

    clock: Callable[[], float] = staticmethod(time)
    """Tells when the run begins; the simulation has one of its own."""

    def __init__(
        self,
        plan: Plan,
        store: Checkpointer | None,
        codec: Codec,
        memory: Any,
        cache: Any,
        given: Any,
        call: Call,
        nested: Nested | None,
    ) -> None:
        self.plan = plan
        self.store = store if nested is None else nested.store
        self.codec = codec
        self.memory = memory
        self.cache = cache
        self.given = given
        self.call = call
        self.nested = nested
        self.claim = None if nested is not None or store is None else Claim(store)
        self.on_fork = False
        """Whether the run gets a branch of its own, because somebody has the other."""

    # -- opening -------------------------------------------------------------------------------

    def _opening(self) -> Operation[Opened]:
        nested = self.nested
        if nested is not None:
            forwarded = nested.task.run.forwarded
            options = self.call.options(
                self.store is not None, self.clock(), nested.identity, forwarded
            )
            return open_nested(self.plan, options, self.given, self.codec, nested)
        options = self.call.options(self.store is not None, self.clock())
        place = None if self.store is None else place_of(self.call.config)
        return open_run(
            self.plan, options, self.given, self.store, self.codec, place, self.claim,
            on_fork=self.on_fork,
        )  # fmt: skip

    def open(self) -> Opened:
        """Load, decide, and make ready.

        Raises:
            ThreadBusy: Somebody else is running on the branch.
        """
        if self.store is None:
            return at_once(self._opening())
        patience = Patience(self.call.on_busy)
        while True:
            try:
                return self.store.run(self._opening())
            except ThreadBusy as busy:
                pause = self._pause(patience, busy)
            except BaseException:
                if (release := self._release()) is not None:
                    with suppress(CheckpointError):  # it ends by itself
                        self.store.run(release)
                raise
            sleep(pause)

    async def aopen(self) -> Opened:
        """As `open`, on an event loop."""
        if self.store is None:
            return at_once(self._opening())
        patience = Patience(self.call.on_busy, on_loop=True)
        while True:
            try:
                return await self.store.arun(self._opening())
            except ThreadBusy as busy:
                pause = self._pause(patience, busy)
            except BaseException:
                if (release := self._release()) is not None:
                    with suppress(CheckpointError):  # it ends by itself
                        await self.store.arun(release)
                raise
            await nap(pause)

    def _release(self) -> Operation[None] | None:
        return None if self.claim is None else self.claim.release()

    def _pause(self, patience: Patience, busy: ThreadBusy) -> float:
        """Return how many seconds to wait until the branch is asked for again.

        Raises:
            ThreadBusy: The call does not wait, or not any longer.
        """
        pause = patience.pause(busy)
        self.on_fork = pause is None
        return pause or 0.0

    # -- driving -------------------------------------------------------------------------------

    def _carriage(self, opened: Opened) -> tuple[Any, ...]:
        self.machine = opened.machine
        context = self.context(opened)
        saver = None
        if opened.recorder is not None:
            around = None if self.nested is None else self.nested.task.run.caller
            saver = Saver(opened.recorder, context.durability, self._is_kept, around, self.claim)
        return opened.machine, context, saver, self.call.config.get("max_concurrency")

    def context(self, opened: Opened) -> RunContext:
        """Return what the run's tasks share."""
        call, nested = self.call, self.nested
        heard = frozenset((*call.modes, *call.printed))
        context = RunContext(
            call.config,
            context=call.context,
            control=call.control,
            store=self.memory,
            cache=self.cache,
            wanted=heard,
            forwarded=heard if call.subgraphs else frozenset(),
            checkpoints=self.store,
            thread="" if opened.place is None else opened.place.thread,
            ordinal=opened.machine.options.place[2],
            durability=call.durability,
            answers=opened.machine.passed,
        )
        context.travel = opened.travel
        context.lease = None if self.claim is None else self.claim.lease
        if nested is not None:
            _inherit(context, nested)
        if opened.recorder is not None:
            opened.recorder.lease = context.lease
        return context

    def _is_kept(self) -> bool:
        """Whether durability `exit` stores this run: a part of another only when unfinished."""
        if self.nested is None or self.nested.is_kept:
            return True
        return self.machine.status is not Status.DONE

    def events(self) -> Iterator[Event]:
        """Run to the end and yield events as they come."""
        opened = self.open()
        events = ThreadDriver(*self._carriage(opened)).run(opened.turn)
        return events if self.nested is None else self._forwarded(events, self.nested)

    def _forwarded(self, events: Iterator[Event], nested: Nested) -> Iterator[Event]:
        for event in events:
            _forward(event, nested)
            yield event
        self._pass_on_pause(nested)

    async def aevents(self) -> AsyncIterator[Event]:
        """As `events`, on an event loop."""
        from graphflow.drivers.event_loop import LoopDriver  # here: it brings asyncio

        opened = await self.aopen()
        events = LoopDriver(*self._carriage(opened)).run(opened.turn)
        try:
            async for event in events:
                if self.nested is not None:
                    _forward(event, self.nested)
                yield event
        finally:
            await events.aclose()  # type: ignore[attr-defined]  # it is an async generator
        if self.nested is not None:
            self._pass_on_pause(self.nested)

    def _pass_on_pause(self, nested: Nested) -> None:
        """Stop the task around this run where this run stopped.

        Raises:
            GraphInterrupt: This run waits for a person.
        """
        if self.machine.status is Status.WAITING:
            signal: GraphInterrupt = nested.task.stop(self.machine.raised())
            raise signal

    # -- the result ----------------------------------------------------------------------------

    def result(self, version: str) -> Any:
        """Return the output keys of the state, with what the run waits on."""
        value = chunks.visible(self.plan, self.machine.output(), self.call.output_keys)
        interrupts = self.machine.raised()
        if version == "v2":
            return GraphOutput(shaped(self.plan.output, value), interrupts)
        if not interrupts:
            return value
        shown = value if isinstance(value, dict) and not self.plan.is_root else {}
        return {**shown, INTERRUPT: list(interrupts)}


def _inherit(context: RunContext, nested: Nested) -> None:
    around = nested.task.run
    context.around = nested.task
    context.run_id = around.run_id
    context.scope = nested.scope
    context.parents = nested.parents
    context.thread = around.thread
    context.durability = around.durability
    context.lease = around.lease
    context.forwarded |= around.forwarded
    context.wanted |= around.wanted & around.forwarded
    context.answers = {**around.answers, **context.answers}
    context.store = around.store if context.store is None else context.store
    context.cache = around.cache if context.cache is None else context.cache
    context.context = around.context if context.context is None else context.context


def _forward(event: Event, nested: Nested) -> None:
    around = nested.task.run
    if event.mode in around.forwarded and around.sink is not None:
        around.sink(event)


def at_once(operation: Operation[T]) -> T:
    """Return the result of an operation that asks for no store."""
    try:
        next(operation)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # what the operation returned
    raise AssertionError("an operation without store must not ask for one")
