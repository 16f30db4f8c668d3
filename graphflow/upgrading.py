"""Upgrading: threads of an earlier version of a program, and what they find in this one.

A key that is new has its start value; one that is gone stays in the thread, where its history shows
it. A node that has another name, or a value of another form, needs to be told:

    graph.compile(checkpointer, upgrade=Upgrade(renamed={"draft": "write"}, values=in_euros))

What cannot go on is refused before any node runs; `differences` tells it beforehand, for every
thread of a store (`graphflow check-upgrade`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.codec_errors import CodecError
from graphflow.checkpoint.history import Checkpoint, load
from graphflow.checkpoint.protocol import Branch, Operation
from graphflow.checkpoint.records import Frame
from graphflow.graph.plan import Plan
from graphflow.state.schema import Schema, key_annotations
from graphflow.types import START

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """How what an earlier version of the program stored becomes what this one expects.

    Args:
        renamed: Nodes' old names and their new ones, for supersteps that are still open.
        values: Is given the stored values of a thread that goes on, and returns those to go on
            with: the same object for a key where nothing changes, a new one where something does.
            It is called whenever a run begins, so it must know what it has done already. Its
            changes are stored with the run's first superstep; the history before stays as it was.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    values: Callable[[Values], Mapping[str, Any]] | None = None

    def applied(self, base: Checkpoint) -> Checkpoint:
        """Return a checkpoint as this version of the program has it."""
        if self.renamed:
            base = base._replace(frame=self._renamed(base.frame))
        if self.values is None:
            return base
        try:
            values = dict(self.values(dict(base.values)))
        except Exception as error:
            error.add_note("This was raised by upgrade.values; no node was run.")
            raise
        changed = {
            key: value
            for key, value in values.items()
            if key not in base.values or base.values[key] is not value
        }
        return base._replace(values=values, upgraded=changed)

    def _renamed(self, frame: Frame) -> Frame:
        name = self.name_of
        return frame._replace(
            pending=tuple(task._replace(name=name(task.name)) for task in frame.pending),
            deferred=tuple(map(name, frame.deferred)),
            joins={
                self._join(join): tuple(map(name, arrived)) for join, arrived in frame.joins.items()
            },
        )

    def _join(self, join: str) -> str:
        kind, _, rest = join.partition(":")
        sources, _, target = rest.rpartition(":")
        return f"{kind}:{'+'.join(map(self.name_of, sources.split('+')))}:{self.name_of(target)}"

    def name_of(self, node: str) -> str:
        """Return what a node is called now."""
        return self.renamed.get(node, node)


def adopted(plan: Plan, base: Checkpoint | None) -> Checkpoint | None:
    """Return a checkpoint as this version of the program has it."""
    return base if base is None or plan.upgrade is None else plan.upgrade.applied(base)


class Difference(NamedTuple):
    """Something in which a thread differs from what the program expects."""

    thread: str
    scope: str
    branch: str
    what: str
    is_problem: bool
    """Whether the thread cannot go on so; else it is worth knowing."""


def differences(
    plan_of: Callable[[str], Plan | None], store: Checkpointer, codec: Codec, thread: str
) -> Operation[list[Difference]]:
    """Return how the heads of a thread differ from what a program expects. Runs no node.

    Args:
        plan_of: Returns the plan of a scope; None: it is not known before it runs.
        store: Where the thread is.
        codec: How its values are decoded, with the program's classes.
        thread: Its id.
    """
    found: list[Difference] = []
    for scope in (yield from store.scopes(thread)):
        plan = plan_of(scope)
        for branch in (yield from store.branches(thread, scope)):
            for what, is_problem in (
                yield from _of_branch(plan, store, codec, thread, scope, branch)
            ):
                found.append(Difference(thread, scope, branch.name, what, is_problem))
    return found


def _of_branch(
    plan: Plan | None, store: Checkpointer, codec: Codec, thread: str, scope: str, branch: Branch
) -> Operation[list[tuple[str, bool]]]:
    try:
        base = yield from load(store, codec, thread, scope, branch=branch.name)
    except CodecError as error:
        return [(str(error), True)]
    if base is None or plan is None:
        return []
    try:
        base = adopted(plan, base)
    except Exception as error:  # the program's own
        return [(f"upgrade.values raised {error!r}", True)]
    assert base is not None
    told = [(f"waits to run {name!r}, which is no node", True) for name in _missing(plan, base)]
    known = plan.channels
    told += [(f"key {key!r} is gone", False) for key in base.values if key not in known]
    told += [(f"key {key!r} is new", False) for key in plan.starts if key not in base.values]
    misfits = _misfits(plan.state, base.values)
    return [*told, *((f"key {key!r}: {why}", True) for key, why in misfits.items())]


def _missing(plan: Plan, base: Checkpoint) -> list[str]:
    names = (*(task.name for task in base.frame.pending), *base.frame.deferred)
    return [name for name in dict.fromkeys(names) if name not in plan.nodes and name != START]


def _misfits(schema: Schema, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the values that are not what their key's annotation says, and why."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    found: dict[str, str] = {}
    config = ConfigDict(arbitrary_types_allowed=True, strict=True)
    for key, annotation in key_annotations(schema.declared).items():
        if key not in values:
            continue
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=config)
        except PydanticUserError:  # a model has a config of its own
            adapter = TypeAdapter(annotation)
        try:
            adapter.validate_python(values[key])
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"[{part!r}]" for part in first["loc"])
            found[key] = f"{first['msg']}{f' at {where}' if where else ''}"
    return found
