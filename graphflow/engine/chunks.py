"""Chunks: what listeners of a stream mode are told, exactly as contract §9 states it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphflow.checkpoint.records import Pending, Writes, kept_place
from graphflow.graph.plan import Plan
from graphflow.types import INTERRUPT, ROOT, Config, Interrupt

Keys = tuple[str, ...] | str | None
"""Which keys are shown: these, just the value of this one, or all."""


def visible(plan: Plan, values: Mapping[str, Any], keys: Keys) -> Any:
    """Return the state as users see it: a dict, a value, or the root value."""
    if plan.is_root:
        return values.get(ROOT)
    if keys is None:
        return dict(values)
    if isinstance(keys, str):
        return values.get(keys)
    return {key: values[key] for key in keys if key in values}


def written(plan: Plan, writes: Writes, shown: Keys = None) -> Any:
    """Return what a task wrote: a dict, a list of dicts where a key came twice, or None."""
    known = [(key, value) for key, value in writes if key in plan.channels]
    if isinstance(shown, str):
        values = [value for key, value in known if key == shown]
        return values[-1] if values else None
    if shown is not None and not plan.is_root:
        known = [(key, value) for key, value in known if key in shown]
    if plan.is_root:
        roots = [value for key, value in known if key == ROOT]
        return roots[-1] if roots else None
    keys = {key for key, _ in known}
    if not known:
        return None
    return dict(known) if len(keys) == len(known) else [{key: value} for key, value in known]


def result(writes: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return what a snapshot shows as a task's result: key to value, or to `$writes`."""
    once = dict(writes)
    if len(once) == len(writes):
        return once
    shown: dict[str, Any] = {}
    for key, value in writes:
        if key in shown:
            earlier = shown[key]
            several = isinstance(earlier, dict) and set(earlier) == {"$writes"}
            shown[key] = {"$writes": [*(earlier["$writes"] if several else [earlier]), value]}
        else:
            shown[key] = value
    return shown


def result_of(plan: Plan, writes: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return what a `tasks` chunk shows as a task's result."""
    if plan.entry is None:
        return result(writes)
    returned = dict(writes)
    return {"__end__": returned[ROOT]} if ROOT in returned else {}


def question(asked: Interrupt) -> dict[str, Any]:
    """Return how `tasks` and `checkpoints` chunks show a question."""
    return {"value": asked.value, "id": asked.id, "response_schema": asked.response_schema}


def asking(values: Any, interrupts: tuple[Interrupt, ...]) -> dict[str, Any]:
    """Return a `values` chunk of a state in which a task waits for a person."""
    shown = values if isinstance(values, dict) else {}
    return {**shown, INTERRUPT: interrupts}


def inner_config(
    plan: Plan, thread: str, scope: str, pending: Sequence[Pending], at: int, task: str
) -> Config | None:
    """Return the config of the graph that a task is, if it is one that keeps checkpoints.

    Args:
        plan: The graph around it.
        thread: The thread's id.
        scope: Which graph of the thread that is.
        pending: The superstep.
        at: The task's place in it.
        task: The task's id.
    """
    name = pending[at].name
    node = plan.nodes.get(name)
    if node is None or node.subgraph is None or node.subgraph.checkpointer is False:
        return None
    place = kept_place(pending, at) if node.subgraph.checkpointer is True else f"{name}:{task}"
    inner = f"{scope}|{place}" if scope else place
    return {"configurable": {"thread_id": thread, "checkpoint_ns": inner}}
