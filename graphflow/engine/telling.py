"""Telling: which events a run has for its listeners, and when (contract §9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from graphflow.checkpoint.listing import config_of, metadata_of
from graphflow.checkpoint.records import Frame, RowKind, Source
from graphflow.engine import chunks
from graphflow.engine.superstep import Superstep
from graphflow.engine.turn import Options, Outcome, Start, Task
from graphflow.events import Event
from graphflow.graph.plan import Plan
from graphflow.ids import task_id
from graphflow.runtime import TaskView
from graphflow.types import INTERRUPT, ROOT, START

Events = tuple[Event, ...]


class Teller:
    """Makes the events of one run; none for modes to which nobody listens.

    Args:
        plan: The graph.
        options: Which modes are listened to, and where the run stands.
    """

    def __init__(self, plan: Plan, options: Options) -> None:
        self.plan = plan
        self.options = options
        self.ns = options.ns
        self.keys = options.output_keys
        modes = options.modes
        self.updates = "updates" in modes
        self.values = "values" in modes
        self.tasks = "tasks" in modes or "debug" in modes
        self.checkpoints = options.records and ("checkpoints" in modes or "debug" in modes)
        self.of_tasks = self.updates or self.tasks
        """Whether anybody wants to hear of single tasks."""

    # -- tasks ---------------------------------------------------------------------------------

    def starts(self, tasks: Sequence[Task], now: float) -> Events:
        """Tell which tasks begin."""
        if not self.tasks:
            return ()
        listed = sorted(tasks, key=_rank)
        return tuple(
            event for task in listed if task.name != START for event in self._start(task, now)
        )

    def _start(self, task: Task, now: float) -> Events:
        given = task.arg if task.is_send else task.node.read(task.values)
        if not task.is_send and task.node.schema.kind == "root":
            given = given.get(ROOT)
        shown = {"id": task.id, "name": task.name, "input": given, "triggers": task.triggers}
        told = {"metadata": dict(self.options.told)} if self.options.told else {}
        return self._both("tasks", "task", {**shown, **told}, task.step, now)

    def outcome(self, outcome: Outcome, values: Mapping[str, Any], now: float) -> Events:
        """Tell how a task ended."""
        asked: Events = ()
        if outcome.interrupts is not None:
            asked = self._asking(outcome, values)
        elif outcome.error is None:
            asked = self.update(outcome, is_restored=outcome.is_restored)
        return asked if outcome.is_restored else (*asked, *self._end(outcome, now))

    def _asking(self, outcome: Outcome, values: Mapping[str, Any]) -> Events:
        asked: Events = ()
        interrupts = outcome.interrupts or ()
        if self.updates:
            asked = (Event("updates", {INTERRUPT: interrupts}, self.ns),)
        if self.values:
            shown = chunks.asking(chunks.visible(self.plan, values, self.keys), interrupts)
            asked = (*asked, Event("values", shown, self.ns, self.plan.output))
        return asked

    def _end(self, outcome: Outcome, now: float) -> Events:
        task = outcome.task
        if not self.tasks or task.name == START:
            return ()
        known = [pair for pair in outcome.writes if pair[0] in self.plan.channels]
        asked = list(map(chunks.question, outcome.interrupts or ()))
        shown = {"id": task.id, "name": task.name, "error": outcome.error,
                 "result": chunks.result_of(self.plan, known), "interrupts": asked}  # fmt: skip
        return self._both("tasks", "task_result", shown, task.step, now)

    def update(self, outcome: Outcome, *, is_restored: bool = False) -> Events:
        """Tell what a finished task wrote."""
        task = outcome.task
        if not self.updates or task.name == START:
            return ()
        data = {task.name: chunks.written(self.plan, outcome.writes, self.keys)}
        if is_restored:
            data["__metadata__"] = {"cached": True}
        return (Event("updates", data, self.ns),)

    # -- calls of tasks ------------------------------------------------------------------------

    def call_starts(self, call: TaskView, given: tuple[Any, Any], now: float) -> Events:
        """Tell that a call of a task begins; `given` are its arguments."""
        if not self.tasks:
            return ()
        shown = {"id": call.id, "name": call.name, "input": given, "triggers": call.triggers}
        told = {"metadata": dict(self.options.told)} if self.options.told else {}
        return self._both("tasks", "task", {**shown, **told}, call.step, now)

    def call_ends(
        self, call: TaskView, error: BaseException | None, returned: Any, now: float
    ) -> Events:
        """Tell how a call of a task ended."""
        told: Events = ()
        if self.updates and error is None:
            told = (Event("updates", {call.name: returned}, self.ns),)
        if not self.tasks:
            return told
        result = {} if error is not None else {"__return__": returned}
        shown: Any = {"id": call.id, "name": call.name, "error": error, "result": result,
                 "interrupts": []}  # fmt: skip
        return (*told, *self._both("tasks", "task_result", shown, call.step, now))

    def call_recalled(self, call: TaskView, returned: Any) -> Events:
        """Tell that a call took its result from the cache."""
        if not self.updates:
            return ()
        data = {call.name: returned, "__metadata__": {"cached": True}}
        return (Event("updates", data, self.ns),)

    # -- the state -----------------------------------------------------------------------------

    def breakpoint(self) -> Events:
        """Tell that the run stops at a breakpoint."""
        return (Event("updates", {INTERRUPT: ()}, self.ns),) if self.updates else ()

    def state(self, values: Mapping[str, Any]) -> Events:
        """Tell the state."""
        if not self.values:
            return ()
        shown = chunks.visible(self.plan, values, self.keys)
        return (Event("values", shown, self.ns, self.plan.output),)

    def change(self, values: Mapping[str, Any], changed: Mapping[str, Any]) -> Events:
        """Tell the state, if a key that is shown has changed."""
        if not self.values or not changed:
            return ()
        keys = (self.keys,) if isinstance(self.keys, str) else self.keys
        if keys is not None and changed.keys().isdisjoint(keys):
            return ()
        return self.state(values)

    # -- checkpoints ---------------------------------------------------------------------------

    def frames(self, frames: Sequence[Frame], values: Mapping[str, Any], origin: Start) -> Events:
        """Tell of new checkpoints; all lead to `values`."""
        events: Events = ()
        own = self.options.place[2]
        for frame in frames if self.checkpoints else ():
            if self.options.saves_at_exit:
                frame = frame._replace(parent=origin.seq)
            follows = frame.parent == origin.seq
            before = origin.ordinals[0] if follows else own
            added = (origin.metadata or {}) if follows else self.options.metadata
            tasks = self._tasks(frame)
            events = (*events, *self._frame(frame, values, tasks, (own, before), added))
        return events

    def resumed(self, origin: Start, values: Mapping[str, Any], superstep: Superstep) -> Events:
        """Tell of the checkpoint that a run goes on from, with what is known of its tasks."""
        frame = origin.frame
        assert frame is not None
        tasks = self._tasks(frame)
        for shown, task in zip(tasks, superstep.tasks, strict=False):
            shown["interrupts"] = tuple(map(chunks.question, task.asked.values()))
            if task.index in superstep.finished:
                writes = superstep.finished[task.index].writes
                shown["result"] = chunks.result_of(self.plan, writes)
        for row in origin.rows:
            if row.kind is RowKind.ERROR and row.place not in superstep.finished:
                tasks[row.place]["error"] = row.value
        return self._frame(frame, values, tasks, origin.ordinals, origin.metadata or {})

    def _tasks(self, frame: Frame) -> list[dict[str, Any]]:
        thread, scope, _ = self.options.place
        tasks = []
        for place, (name, is_send, *_) in enumerate(frame.pending):
            identity = self.options.identity
            own = task_id(identity, frame.seq, frame.step + 1, name, is_send, place)
            inner = chunks.inner_config(self.plan, thread, scope, frame.pending, place, own)
            tasks.append({"id": own, "name": name, "interrupts": (), "state": inner})
        return tasks

    def _frame(
        self,
        frame: Frame,
        values: Mapping[str, Any],
        tasks: list[dict[str, Any]],
        ordinals: tuple[int, int],
        added_before: Mapping[str, Any],
    ) -> Events:
        """Tell of a checkpoint.

        Args:
            frame: The checkpoint.
            values: The state it leads to.
            tasks: What is known of the tasks of its superstep.
            ordinals: Numbers of its branch, and of that of the checkpoint before it.
            added_before: Metadata of the checkpoint before it.
        """
        thread, scope, _ = self.options.place
        parents = self.options.metadata.get("parents")
        own, before = ordinals
        parent = None
        if frame.parent >= 0:
            around = added_before.get("parents")
            parent = config_of(thread, scope, before, frame.parent, around)
        shown = {
            "config": config_of(thread, scope, own, frame.seq, parents),
            "parent_config": parent,
            "values": chunks.visible(self.plan, values, None),
            "metadata": metadata_of(frame, self.options.metadata),
            "next": [task.name for task in frame.pending],
            "tasks": tasks,
        }
        schema = None if frame.source is Source.INPUT else self.plan.state
        return self._both("checkpoints", "checkpoint", shown, frame.step, frame.created, schema)

    def _both(
        self, mode: str, kind: str, payload: Any, step: int, now: float, schema: Any = None
    ) -> Events:
        """Tell in a mode of its own and, wrapped, in `debug`."""
        told: Events = ()
        if mode in self.options.modes:
            told = (Event(mode, payload, self.ns, schema),)
        if "debug" in self.options.modes:
            when = datetime.fromtimestamp(now, UTC).isoformat()
            data = {"step": step, "timestamp": when, "type": kind, "payload": payload}
            told = (*told, Event("debug", data, self.ns, schema))
        return told


def _rank(task: Task) -> tuple[bool, int, str]:
    """Sends first, in their order, then nodes by name."""
    return (not task.is_send, task.place if task.is_send else 0, task.name)
