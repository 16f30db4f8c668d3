"""Reading: a thread's state, history and picture, as operations on its store (contract §13)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.history import load, path_to, read_thread
from graphflow.checkpoint.pages import read_pages
from graphflow.checkpoint.protocol import Operation
from graphflow.checkpoint.records import RowKind
from graphflow.errors import UnknownCheckpointError
from graphflow.graph.diagram import Diagram, Overlay
from graphflow.graph.picture import overlay_of
from graphflow.graph.plan import Plan
from graphflow.ids import checkpoint_id
from graphflow.places import Place, place_of
from graphflow.snapshots import Shots, newest_first, unknown_thread
from graphflow.types import Config, PregelTask, StateSnapshot


class Reader:
    """Reads the threads of one graph.

    Args:
        plan: The graph.
        store: Where its threads are.
        codec: How their values are encoded.
    """

    def __init__(self, plan: Plan, store: Checkpointer, codec: Codec) -> None:
        self.plan = plan
        self.store = store
        self.codec = codec

    def state(self, config: Config, *, subgraphs: bool = False) -> Operation[StateSnapshot]:
        """Return the live state at a head, or a checkpoint as a record."""
        place = place_of(config)
        plan = self.plan_of(place.scope)
        shots = Shots(plan, place.thread, place.scope)
        if place.at is None:
            found = yield from load(
                self.store, self.codec, place.thread, place.scope, branch=place.branch
            )
            if found is None:
                return unknown_thread(config)
            shot = shots.live(
                found.branch, found.parent_branch, found.frame, found.values, found.rows,
                found.metadata,
            )  # fmt: skip
        else:
            record = next((yield from self.history(place, at=place.at)), None)
            if record is None:
                raise UnknownCheckpointError(
                    f"Thread {place.thread!r} has no checkpoint {checkpoint_id(*place.at)}."
                )
            shot = record
        if not subgraphs:
            return shot
        tasks: tuple[PregelTask, ...] = ()
        for task in shot.tasks:
            tasks = (*tasks, (yield from self._with_state(task)))
        return shot._replace(tasks=tasks)

    def _with_state(self, task: PregelTask) -> Operation[PregelTask]:
        if task.state is None:
            return task
        inner = yield from self.state(task.state, subgraphs=True)
        return task if inner.metadata is None else task._replace(state=inner)

    def history(self, place: Place, **wanted: Any) -> Operation[Iterator[StateSnapshot]]:
        """Return the checkpoints of all branches as records, newest first; see `read_pages`."""
        found = yield from read_pages(self.store, self.codec, place.thread, place.scope, **wanted)
        plan = self.plan_of(place.scope)
        return newest_first(Shots(plan, place.thread, place.scope), *found)

    def chosen(
        self,
        config: Config,
        filter: Mapping[str, Any] | None,
        before: Config | None,
        limit: int | None,
    ) -> Operation[Iterator[StateSnapshot]]:
        """Return the snapshots that `get_state_history` was asked for."""
        place = place_of(config)
        bound = place_of(before).at if before else None
        count = None if filter or limit is None else max(limit, 1)
        shots = yield from self.history(place, count=count, before=bound, at=place.at)
        matching = (shot for shot in shots if not filter or _has(shot.metadata or {}, filter))
        return islice(matching, None if limit is None else max(limit, 0))

    def overlay(self, diagram: Diagram, place: Place) -> Operation[Overlay]:
        """Return where a thread's run stands, to be drawn over the graph."""
        thread = yield from read_thread(self.store, self.codec, place.thread, place.scope)
        path, rows = path_to(*thread, place.at)
        steps = [([t.name for t in f.settled], [t.name for t in f.pending]) for f in path]
        pending = path[-1].pending if path else ()
        failed = frozenset(pending[row.place].name for row in rows if row.kind is RowKind.ERROR)
        ended = {row.place for row in rows if row.kind is RowKind.RESULT}
        waiting = frozenset(t.name for i, t in enumerate(pending) if i not in ended) - failed
        return overlay_of(diagram, steps, waiting, failed)

    def plan_of(self, scope: str) -> Plan:
        """Return the plan of the subgraph that a scope names; of the graph itself, if none."""
        return self.declared(scope) or self.plan

    def declared(self, scope: str) -> Plan | None:
        """Return the plan of the subgraph that a scope names; None: no node is one of that name."""
        plan = self.plan
        for part in scope.split("|") if scope else ():
            node = plan.nodes.get(part.partition(":")[0])
            if part.isdecimal():  # which call of the node it is
                continue
            if node is None or node.subgraph is None:
                return None
            plan = node.subgraph.plan
        return plan


def name_of_scope(scope: str) -> str:
    """Return the names of the nodes in a scope, without the ids of their tasks."""
    return "|".join(part.partition(":")[0] for part in scope.split("|"))


def _has(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(metadata.get(key) == value for key, value in wanted.items())
