"""Folding: how the writes of a superstep become the next state.

The order is fixed and independent of who finished first (contract §2.16): edge-triggered tasks by
node name, then Sends by their number; within a task the order in which it wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from graphflow.checkpoint.records import Writes
from graphflow.engine.turn import Outcome, Task
from graphflow.graph.plan import Plan
from graphflow.state.channels import MISSING
from graphflow.state.deltas import CLEAR, SET, Op


class Folded(NamedTuple):
    """The effect of some writes on a state."""

    changed: dict[str, Any]
    """Next values of the keys that were written."""
    delta: dict[str, Sequence[Op]]
    """How they came from the values before."""


def in_order(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return the outcomes in the order in which their writes are applied."""
    return sorted(outcomes, key=lambda outcome: _rank(outcome.task))


def _rank(task: Task) -> tuple[bool, int, str]:
    name = task.node.name if task.failure is None else task.failure.node
    return (task.is_send, task.place if task.is_send else 0, name)


def fold(plan: Plan, values: dict[str, Any], writes: Iterable[Writes], memo: Any) -> Folded:
    """Fold writes, given task by task in order, without changing `values`.

    Raises:
        InvalidUpdateError: A key got writes that its channel cannot combine.
        pydantic.ValidationError: The state's model refuses a new value.
    """
    channels = plan.channels
    grouped: dict[str, list[Any]] = {}
    for written in writes:
        for key, value in written:
            if key in grouped:
                grouped[key].append(value)
            elif key in channels:
                grouped[key] = [value]
    changed: dict[str, Any] = {}
    delta: dict[str, Sequence[Op]] = {}
    for key, parts in grouped.items():
        try:
            value, ops = channels[key].fold(key, values.get(key, MISSING), parts, memo)
        except Exception as error:
            error.add_note(f"At key '{key}', when {parts!r:.500} was written to it.")
            raise
        changed[key] = value
        delta[key] = ((SET, value),) if ops is None else ops
    if plan.state.kind == "pydantic":
        plan.state.check(values, changed)
    return Folded(changed, delta)


def expire(plan: Plan, values: dict[str, Any], folded: Folded) -> None:
    """Remove the keys that live for one superstep and were not written again."""
    for key in plan.fleeting:
        if key in values and key not in folded.changed:
            del values[key]
            folded.delta[key] = ((CLEAR,),)


def joined(first: dict[str, Sequence[Op]], then: dict[str, Sequence[Op]]) -> dict[str, Any]:
    """Return one delta that has the effect of two, one after the other."""
    if not first:
        return then
    delta = dict(first)
    for key, ops in then.items():
        replaces = ops and ops[0][0] in (SET, CLEAR)
        delta[key] = ops if replaces else (*delta.get(key, ()), *ops)
    return delta
