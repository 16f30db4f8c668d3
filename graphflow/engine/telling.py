"""Telling: which events a run has for its listeners, and when (contract §9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphflow.engine import chunks
from graphflow.engine.turn import Options, Outcome
from graphflow.events import Event
from graphflow.graph.plan import Plan
from graphflow.types import INTERRUPT, START

Events = tuple[Event, ...]


class Teller:
    """Makes the events of one run; none for modes to which nobody listens."""

    __slots__ = ("keys", "ns", "plan", "updates", "values")

    def __init__(self, plan: Plan, options: Options) -> None:
        self.plan = plan
        self.ns = options.ns
        self.keys = options.output_keys
        self.updates = "updates" in options.modes
        self.values = "values" in options.modes

    def outcome(self, outcome: Outcome, values: Mapping[str, Any]) -> Events:
        """Tell how a task ended."""
        if outcome.error is not None:
            return ()
        if outcome.interrupts is None:
            return self.update(outcome)
        asked: Events = ()
        if self.updates:
            asked = (Event("updates", {INTERRUPT: outcome.interrupts}, self.ns),)
        if self.values:
            shown = chunks.asking(chunks.visible(self.plan, values, self.keys), outcome.interrupts)
            asked = (*asked, Event("values", shown, self.ns))
        return asked

    def update(self, outcome: Outcome, *, is_restored: bool = False) -> Events:
        """Tell what a finished task wrote."""
        task = outcome.task
        if not self.updates or task.name == START:
            return ()
        data = {task.name: chunks.written(self.plan, outcome.writes)}
        if is_restored:
            data["__metadata__"] = {"cached": True}
        return (Event("updates", data, self.ns),)

    def breakpoint(self) -> Events:
        """Tell that the run stops at a breakpoint."""
        return (Event("updates", {INTERRUPT: ()}, self.ns),) if self.updates else ()

    def state(self, values: Mapping[str, Any]) -> Events:
        """Tell the state."""
        if not self.values:
            return ()
        return (Event("values", chunks.visible(self.plan, values, self.keys), self.ns),)

    def change(self, values: Mapping[str, Any], changed: Mapping[str, Any]) -> Events:
        """Tell the state, if a key that is shown has changed."""
        if not self.values or not changed:
            return ()
        if self.keys is not None and changed.keys().isdisjoint(self.keys):
            return ()
        return self.state(values)
